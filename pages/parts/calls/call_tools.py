"""What can be done with the calls besides looking: export them, verify the log, and see how its writer is doing.

Invariant: an export and a check read the log, and never hold up the page: each is drawn by a fragment of its own.
"""

import tempfile
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import cast

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.calls.listing.export import Kind, export_calls
from core.calls.panels.analytics import read_totals
from core.calls.proof.heads import Head, export_head, read_head
from core.calls.proof.verify import Verdict, verify_log
from core.errors import SkeinError
from core.skein import Skein
from pages.parts.calls.call_url import Place
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.format import count, counted
from pages.parts.ui.long_action import Report, do_with_bar
from pages.parts.ui.popovers import draw_popover
from pages.parts.ui.text import plain, plain_lines

_KINDS = {"csv": "CSV", "jsonl": "JSONL", "parquet": "Parquet"}
_MIMES = {"csv": "text/csv", "jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
_FOLDER = "exports"
_KEPT_SECONDS = 3600.0
_LATE_SECONDS = 2.0


def draw_writer(skein: Skein, viewer: Viewer) -> None:
    """One line when the log is behind, for those who look after it."""
    if not viewer.reads_all:
        return
    writer = skein.call_log.state()
    if writer.problem:
        st.warning(
            f"The call log cannot be written just now: {plain(writer.problem)}. {count(writer.pending)} of at most "
            f"{count(writer.bound)} entries wait; none is lost meanwhile.",
            icon=":material/warning:",
        )
    elif writer.oldest_seconds > _LATE_SECONDS:
        st.caption(
            f":material/hourglass_top: The call log is {writer.oldest_seconds:,.0f} s behind; "
            f"{count(writer.pending)} of at most {count(writer.bound)} entries wait."
        )


def draw_export(skein: Skein, viewer: Viewer, place: Place) -> None:
    draw_popover(
        "Export", partial(_draw_export, skein, viewer, place), icon=":material/download:", key="calls.export"
    )


def _draw_export(skein: Skein, viewer: Viewer, place: Place) -> None:
    st.caption("All calls that the page is about now, newest first.")
    kind = st.segmented_control(
        "As",
        list(_KINDS),
        default="csv",
        format_func=_KINDS.__getitem__,
        required=True,
        key="calls.export.kind",
        persist_state="session",
    )
    with_bodies = viewer.reads_all and st.checkbox(
        "With prompts and answers", key="calls.export.bodies", persist_state="session"
    )
    bar = st.empty()
    st.button(
        "Prepare the file",
        key="calls.export.make",
        type="primary",
        on_click=_make_file,
        args=(skein, viewer, place, bar),
    )
    if problem := state.take(state.CALLS_FILE_PROBLEM):
        st.error(plain_lines(problem))
    made = state.get(state.CALLS_FILE)
    if made and made[0] == _asked(str(kind), with_bodies=with_bodies) and Path(made[1]).exists():
        _draw_download(Path(made[1]), str(kind), made[2])


def _asked(kind: str, *, with_bodies: bool) -> str:
    """What a file is the answer to: another filter or form needs another one."""
    return repr((kind, with_bodies, sorted(address().items())))


def _make_file(skein: Skein, viewer: Viewer, place: Place, bar: DeltaGenerator) -> None:
    kind = str(state.get("calls.export.kind"))
    with_bodies = viewer.reads_all and bool(state.get("calls.export.bodies"))
    asked, path = _asked(kind, with_bodies=with_bodies), _new_path(skein, kind)

    def export(report: Report) -> int:
        total = _count(skein, viewer, place)
        return export_calls(
            viewer,
            skein.database,
            place.wanted,
            place.tz,
            kind=cast(Kind, kind),
            path=path,
            with_bodies=with_bodies,
            progress=lambda done: report(done, max(total, done)),
        )

    try:
        number = do_with_bar(bar, export, noun="call", begin="Looking for the calls …")
    except SkeinError as error:
        path.unlink(missing_ok=True)
        state.put(state.CALLS_FILE_PROBLEM, str(error))
    else:
        state.put(state.CALLS_FILE, (asked, str(path), number))


def _count(skein: Skein, viewer: Viewer, place: Place) -> int:
    """How many calls there will be, for the progress; 0 where counting them would take as long as writing them."""
    if place.wanted.text:
        return 0
    with skein.database.read() as db:
        totals = read_totals(viewer, db, place.wanted, place.tz)
    return totals.calls + totals.running


def _new_path(skein: Skein, kind: str) -> Path:
    """A new file among Skein's own; those nobody came for any more are removed."""
    folder = skein.settings.data_dir / _FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    for old in folder.iterdir():
        with suppress(OSError):  # another tab may be tidying up too
            if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
                old.unlink()
    with tempfile.NamedTemporaryFile(dir=folder, suffix=f".{kind}", delete=False) as file:
        return Path(file.name)


def _draw_download(path: Path, kind: str, number: int) -> None:
    size = path.stat().st_size
    shown = f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} KB"
    st.download_button(
        f"Download {counted(number, 'call')} ({shown})",
        path.read_bytes,
        file_name=f"skein-calls.{kind}",
        mime=_MIMES[kind],
        icon=":material/download:",
        key="calls.export.load",
        on_click="ignore",
    )


def draw_verify(skein: Skein, viewer: Viewer) -> None:
    """The check that nothing in the log was changed, for analysts and admins."""
    if not viewer.reads_all:
        return
    draw_popover(
        "Verify the log",
        partial(_draw_verify, skein, viewer),
        icon=":material/verified_user:",
        key="calls.verifying",
    )


def _draw_verify(skein: Skein, viewer: Viewer) -> None:
    st.caption(
        "Every ended call and all that people did stands on a chain of seals. This checks each against its seal, "
        "and names the first that does not hold. Only a head kept elsewhere shows that the end was cut off."
    )
    st.file_uploader("A head kept before (optional)", type="json", key="calls.verify.head")
    bar = st.empty()
    st.button("Verify the log", key="calls.verify", type="primary", on_click=_verify, args=(skein, viewer, bar))
    if verdict := state.get(state.CALLS_VERDICT):
        holds, sentence = verdict
        icon = ":material/verified:" if holds else ":material/gpp_bad:"
        (st.success if holds else st.error)(sentence, icon=icon)
    head = read_head(skein.database)
    if head is not None:
        st.download_button(
            "Download the log's head",
            partial(export_head, viewer, skein.database, head),
            file_name=f"skein-log-head-{head.seals}.json",
            mime="application/json",
            icon=":material/download:",
            key="calls.verify.load",
            on_click="ignore",
        )


def _verify(skein: Skein, viewer: Viewer, bar: DeltaGenerator) -> None:
    kept = state.get("calls.verify.head")
    try:
        expected = Head.from_json(kept.getvalue().decode("utf-8", "replace")) if kept else None
        verdict = do_with_bar(
            bar,
            lambda report: verify_log(viewer, skein.database, expected_head=expected, progress=report),
            noun="row",
            begin="Reading the log …",
        )
    except SkeinError as error:
        state.put(state.CALLS_VERDICT, (False, plain_lines(str(error))))
    else:
        state.put(state.CALLS_VERDICT, (verdict.ok, _say(verdict)))


def _say(verdict: Verdict) -> str:
    if not verdict.ok:
        return plain(verdict.problem)
    return (
        f"The log holds: {counted(verdict.calls, 'call')}, {counted(verdict.corrections, 'correction')} and "
        f"{counted(verdict.activity, 'act of a person', 'acts of people')} in {counted(verdict.seals, 'seal')} are "
        f"as they were sealed; the texts of {count(verdict.bodies)} calls are there, unchanged."
    )
