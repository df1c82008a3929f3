"""What can be done with the calls besides looking: export them, verify the log, and see how its writer is doing.

Invariant: an export and a check read the log, and never hold up the page: each is drawn by a fragment of its own.
"""

import tempfile
import time
from collections.abc import Callable
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
from pages.parts import state
from pages.parts.address import address
from pages.parts.call_place import Place
from pages.parts.figures import count, counted
from pages.parts.text import plain

_KINDS = {"csv": "CSV", "jsonl": "JSONL", "parquet": "Parquet"}
_MIMES = {"csv": "text/csv", "jsonl": "application/x-ndjson", "parquet": "application/vnd.apache.parquet"}
_FOLDER = "exports"
_KEPT_SECONDS = 3600.0
_LATE_SECONDS = 2.0
_PACE = 0.1


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
    with st.popover("Export", icon=":material/download:", type="tertiary"):
        st.fragment(_draw_export)(skein, viewer, place)


def _draw_export(skein: Skein, viewer: Viewer, place: Place) -> None:
    st.caption("All calls that the page is about now, newest first.")
    kind = st.segmented_control(
        "As", list(_KINDS), default="csv", format_func=_KINDS.__getitem__, required=True, key="calls.export.kind"
    )
    with_bodies = viewer.reads_all and st.checkbox("With prompts and answers", key="calls.export.bodies")
    if st.button("Prepare the file", key="calls.export.make", type="primary"):
        _make_file(skein, viewer, place, str(kind), with_bodies=with_bodies)
    made = state.get(state.CALLS_FILE)
    if made and made[0] == _asked(str(kind), with_bodies=with_bodies) and Path(made[1]).exists():
        _draw_download(Path(made[1]), str(kind), made[2])


def _asked(kind: str, *, with_bodies: bool) -> str:
    """What a file is the answer to: another filter or form needs another one."""
    return repr((kind, with_bodies, sorted(address().items())))


def _make_file(skein: Skein, viewer: Viewer, place: Place, kind: str, *, with_bodies: bool) -> None:
    path = _new_path(skein, kind)
    bar = st.progress(0.0, "Looking for the calls …")
    show = _reporter(bar, "call")
    try:
        total = _count(skein, viewer, place)
        number = export_calls(
            viewer,
            skein.database,
            place.wanted,
            place.tz,
            kind=cast(Kind, kind),
            path=path,
            with_bodies=with_bodies,
            progress=lambda done: show(done, max(total, done)),
        )
    except SkeinError as error:
        path.unlink(missing_ok=True)
        st.error(plain(str(error)))
    else:
        state.put(state.CALLS_FILE, (_asked(kind, with_bodies=with_bodies), str(path), number))
    bar.empty()


def _count(skein: Skein, viewer: Viewer, place: Place) -> int:
    """How many calls there will be, for the progress; 0 where counting them would take as long as writing them."""
    if place.wanted.text:
        return 0
    with skein.database.read() as db:
        totals = read_totals(viewer, db, place.wanted, place.tz)
    return totals.calls + totals.running


def _reporter(bar: DeltaGenerator, noun: str) -> Callable[[int, int], None]:
    """Hears how much of how much is done, and shows it a few times per second."""
    drawn = 0.0

    def report(done: int, of: int) -> None:
        nonlocal drawn
        if time.monotonic() - drawn > _PACE:
            drawn = time.monotonic()
            bar.progress(min(done / of, 1.0) if of else 0.0, f"{count(done)} of {counted(of, noun)}")

    return report


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
    with st.popover("Verify the log", icon=":material/verified_user:", type="tertiary"):
        st.fragment(_draw_verify)(skein, viewer)


def _draw_verify(skein: Skein, viewer: Viewer) -> None:
    st.caption(
        "Every ended call and all that people did stands on a chain of seals. This checks each against its seal, "
        "and names the first that does not hold. Only a head kept elsewhere shows that the end was cut off."
    )
    kept = st.file_uploader("A head kept before (optional)", type="json", key="calls.verify.head")
    if st.button("Verify the log", key="calls.verify", type="primary"):
        _verify(skein, viewer, kept.getvalue().decode("utf-8", "replace") if kept else "")
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


def _verify(skein: Skein, viewer: Viewer, kept: str) -> None:
    bar = st.progress(0.0, "Reading the log …")
    try:
        expected = Head.from_json(kept) if kept else None
        verdict = verify_log(viewer, skein.database, expected_head=expected, progress=_reporter(bar, "row"))
    except SkeinError as error:
        state.put(state.CALLS_VERDICT, (False, plain(str(error))))
    else:
        state.put(state.CALLS_VERDICT, (verdict.ok, _say(verdict)))
    bar.empty()


def _say(verdict: Verdict) -> str:
    if not verdict.ok:
        return plain(verdict.problem)
    return (
        f"The log holds: {counted(verdict.calls, 'call')}, {counted(verdict.corrections, 'correction')} and "
        f"{counted(verdict.activity, 'act of a person', 'acts of people')} in {counted(verdict.seals, 'seal')} are "
        f"as they were sealed; the texts of {count(verdict.bodies)} calls are there, unchanged."
    )
