"""Exports of sessions: ask for one, see how far it is, take the file.

Invariant: an export is made by core, whatever becomes of this page; here is only shown how far it is.
"""

from collections.abc import Collection
from contextlib import suppress
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.ids import SessionId
from core.records.export.jobs import Job
from core.records.export.sessions import CHECKER, sha256_of_checker
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.format import count, counted, milliseconds, size
from pages.parts.ui.text import plain_lines
from pages.parts.ui.watch import draw_every

_FOLLOW_SECONDS = 1.0
_SHOWN = 5


def draw_export(skein: Skein, viewer: Viewer, session_ids: Collection[SessionId], *, key: str = "export") -> None:
    """The way to an export of these sessions, and the exports that this person has asked for before."""
    st.fragment(_draw)(skein, viewer, tuple(session_ids), key)


def draw_exports(skein: Skein, viewer: Viewer) -> None:
    """The person's exports behind one button, on any page; nothing while there are none."""
    jobs = skein.exports.list_exports(viewer)
    if jobs:
        busy = sum(not job.is_over for job in jobs)
        label = f"Exports ({count(busy)} being made)" if busy else "Exports"
        with st.popover(label, icon=":material/folder_zip:", type="tertiary"):
            st.fragment(_draw_jobs)(skein, viewer, "exports")


def _draw(skein: Skein, viewer: Viewer, session_ids: tuple[SessionId, ...], key: str) -> None:
    st.caption(
        "One zip with all of these sessions that you may read: messages, states, calls, artifacts, approvals and "
        "who did what, as rows and as pages to read, with the seals that prove it and a program that checks it."
    )
    label = f"Export {counted(len(session_ids), 'session')}"
    st.button(
        label,
        key=f"{key}.start",
        type="primary",
        icon=":material/folder_zip:",
        on_click=_start,
        args=(skein, viewer, session_ids),
    )
    if problem := state.take(state.EXPORT_PROBLEM):
        st.error(plain_lines(problem))
    _draw_jobs(skein, viewer, key)


def _start(skein: Skein, viewer: Viewer, session_ids: tuple[SessionId, ...]) -> None:
    with state.problems(state.EXPORT_PROBLEM):
        skein.exports.start(viewer, session_ids)


def _draw_jobs(skein: Skein, viewer: Viewer, key: str) -> None:
    is_busy = any(not job.is_over for job in skein.exports.list_exports(viewer))
    draw_every(_FOLLOW_SECONDS if is_busy else None, partial(_draw_list, skein, viewer, key))


def _draw_list(skein: Skein, viewer: Viewer, key: str) -> None:
    jobs = skein.exports.list_exports(viewer)
    for job in jobs[:_SHOWN]:
        with st.container(border=True, key=f"{key}.{job.export_id}"):
            _draw_job(skein, viewer, job, f"{key}.{job.export_id}")
            st.button(
                "Remove" if job.is_over else "Stop",
                key=f"{key}.{job.export_id}.forget",
                type="tertiary",
                on_click=_forget,
                args=(skein, viewer, job),
            )
    if len(jobs) > _SHOWN:
        st.caption(f"And {counted(len(jobs) - _SHOWN, 'older export')}.")


def _draw_job(skein: Skein, viewer: Viewer, job: Job, key: str) -> None:
    if job.state == "ready" and job.summary is not None and job.path is not None:
        _draw_ready(skein, viewer, job, key)
    elif job.state == "failed":
        st.error(plain_lines(job.error), icon=":material/error:")
    else:
        st.progress(job.done / job.of if job.of else 0.0, say_progress(job))


def say_progress(job: Job) -> str:
    """How far an export is, in one line."""
    if job.state == "waiting":
        return f"{job.step} · {counted(job.of, 'session')}"
    return f"{job.step} · {count(job.done)} of {counted(job.of, 'session')} · {milliseconds(job.seconds * 1000)}"


def _draw_ready(skein: Skein, viewer: Viewer, job: Job, key: str) -> None:
    made, path = job.summary, job.path
    if made is None or path is None or not path.is_file():
        st.caption("This file is gone; please make the export anew.")
        return
    st.download_button(
        f"Download {counted(made.sessions, 'session')} ({size(made.bytes)})",
        partial(skein.exports.read_file, viewer, job.export_id),
        file_name=path.name,
        mime="application/zip",
        icon=":material/download:",
        key=f"{key}.load",
        on_click="ignore",
    )
    rows = sum(made.rows.values())
    st.caption(
        f"{counted(rows, 'row')} and {counted(made.checkpoints, 'state')}, made in "
        f"{milliseconds(job.seconds * 1000)}; kept here for a day. Keep this SHA-256 elsewhere: with it the check "
        "proves that nothing was changed since."
    )
    st.code(f"python -I -S check_export.py {path.name} --sha256 {made.sha256}", language="bash", wrap_lines=True)
    st.download_button(
        "The program that checks it",
        CHECKER.read_bytes,
        file_name=CHECKER.name,
        mime="text/x-python",
        icon=":material/verified:",
        key=f"{key}.checker",
        on_click="ignore",
        help=f"It needs Python alone. Its own SHA-256 is {sha256_of_checker()}.",
    )
    if made.gone:
        st.caption(f"{counted(len(made.gone), 'session')} of them went away meanwhile.")


def _forget(skein: Skein, viewer: Viewer, job: Job) -> None:
    with suppress(SkeinError):  # it was taken away already, which is what is wanted
        skein.exports.forget(viewer, job.export_id)
