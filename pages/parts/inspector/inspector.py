"""The thread inspector: the checkpoints of a run in order, and all that each of them holds.

The address says what is shown: ``?thread=`` and ``checkpoint=``, ``ns=`` (a subgraph's), ``look=``, ``event=``.
Invariant: looking changes nothing, and what is somebody else's is looked at on record.
"""

from functools import partial

import streamlit as st

from core.access.activity import record_look
from core.access.viewer import Viewer
from core.errors import SkeinError
from core.ids import ThreadId, to_thread_id
from core.runs.inspecting import count_told, describe_thread
from core.skein import Skein
from pages.parts.inspector.inspector_actions import draw_undo
from pages.parts.inspector.inspector_events import draw_events
from pages.parts.inspector.inspector_head import draw_head
from pages.parts.inspector.inspector_list import draw_list
from pages.parts.inspector.inspector_selection import OpenThread, find_chosen, open_thread
from pages.parts.inspector.inspector_state import draw_state, draw_views
from pages.parts.inspector.inspector_url import EVENTS, leave, read_place
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain_lines
from pages.parts.ui.watch import look_every

_POLL_SECONDS = 2.0
_STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 96rem; padding-top: 4.25rem; }
.st-key-inspector_list button { justify-content: flex-start; min-height: 2rem; padding: 0.1rem 0.6rem; }
.st-key-inspector_list button > div { justify-content: flex-start; overflow: hidden; }
.st-key-inspector_figures { row-gap: 0.5rem; }
@media (max-width: 640px) {
  .st-key-inspector_head > div:first-child { min-width: 100%; }
  .st-key-inspector_steps button { padding: 0.25rem 0.5rem; }
  .st-key-inspector_steps h5 { font-size: 1rem; white-space: nowrap; }
  /* On a phone what is chosen comes first, and the list of the others below it. */
  [data-testid="stColumn"]:has(.st-key-inspector_chosen) { order: -1; }
}
</style>"""


def draw_inspector(skein: Skein, viewer: Viewer, thread_id: str) -> None:
    """The page of a thread; one sentence where there is none for this viewer."""
    st.html(_STYLE)
    # Drawing the page anew has closed any dialog.
    state.take(state.BRANCHES_ASKING)
    draw_undo(skein, viewer)
    place = read_place(address())
    try:
        opened = open_thread(skein, viewer, to_thread_id(thread_id), place)
    except SkeinError as error:
        _draw_way_back()
        _draw_notices(())
        st.warning(plain_lines(str(error)), icon=":material/search_off:")
        return
    record_look(
        viewer,
        skein.database,
        "thread.read",
        target_id=opened.turn.thread_id,
        owner_id=opened.facts.owner_id,
        session_id=opened.facts.session_id,
    )
    _draw_way_back()
    _draw_notices(place.problems)
    draw_head(opened)
    _draw_kept(opened)
    _draw_body(opened)
    if opened.turn.is_live:
        state.put(state.INSPECTOR_SEEN, _seen(opened))
        look_every(_POLL_SECONDS, partial(_watch, skein, viewer, opened.turn.thread_id))


def _draw_way_back() -> None:
    label = "Back to the session" if address().get("session") else "Back to the list"
    st.button(label, icon=":material/arrow_back:", key="inspector.back", type="tertiary", on_click=leave)


def _draw_notices(problems: tuple[str, ...]) -> None:
    if notice := state.take(state.INSPECTOR_NOTICE):
        st.toast(plain_lines(notice), icon=":material/check:")
    for problem in (*problems, state.take(state.INSPECTOR_PROBLEM)):
        if problem:
            st.warning(plain_lines(problem), icon=":material/info:")


def _draw_kept(opened: OpenThread) -> None:
    """Whether there were more states than are stored."""
    if opened.turn.is_live or opened.place.ns:
        return
    with opened.skein.database.read() as db:
        told = count_told(opened.viewer, db, opened.turn.thread_id)
    kept = len(opened.ids)
    if told > kept > 0:
        st.caption(
            f":material/inventory: {counted(kept, 'state')} of {told:,} {'is' if kept == 1 else 'are'} kept; the "
            "others were cleared away some time after the answer. The events still tell of them."
        )


def _draw_body(opened: OpenThread) -> None:
    if opened.place.view == EVENTS:
        draw_views()
        draw_events(opened)
        return
    if not opened.ids:
        st.info(_why_none(opened), icon=":material/history_toggle_off:")
        draw_events(opened)
        return
    chosen = find_chosen(opened)
    left, right = st.columns([2, 5], gap="medium")
    with left:
        draw_list(opened, chosen)
    with right, st.container(key="inspector_chosen"):
        draw_state(opened, chosen)


def _why_none(opened: OpenThread) -> str:
    if opened.place.ns:
        return "This subgraph has no states here; choose another graph, or go back to the agent itself."
    if opened.turn.is_live:
        return "No state was written yet; the run has just begun."
    return "No state of this run is kept: it ended before the first step, or its states were cleared away."


def _seen(opened: OpenThread) -> tuple[str, str, int]:
    return opened.turn.thread_id, opened.turn.status, len(opened.ids)


def _watch(skein: Skein, viewer: Viewer, thread_id: ThreadId) -> None:
    """While it runs: draws the page anew when there is more of it, but never under an open dialog."""
    if state.get(state.BRANCHES_ASKING):
        return
    try:
        with skein.database.read() as db:
            status = describe_thread(viewer, db, thread_id).turn.status
        opened = open_thread(skein, viewer, thread_id, read_place(address()))
    except SkeinError:
        st.rerun(scope="app")
    if (thread_id, status, len(opened.ids)) != state.get(state.INSPECTOR_SEEN):
        st.rerun(scope="app")
