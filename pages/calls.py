"""Calls: every LLM call on record, as figures, as charts, as a table, and each one whole.

The address says all: window, filters, order, page of the table, and ``?call=`` the call that is open.
"""

import time
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.calls.panels.analytics import newest_change
from core.calls.text.search import pending
from core.skein import Skein
from core.tables import utc_now
from pages.parts.calls.call_filters import draw_chips, draw_filters, draw_window, read_names
from pages.parts.calls.call_panels import draw_panels
from pages.parts.calls.call_table import draw_table
from pages.parts.calls.call_tools import draw_export, draw_verify, draw_writer
from pages.parts.calls.call_url import Place, read_place
from pages.parts.calls.call_view import draw_call
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.format import counted
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.resources import get_skein
from pages.parts.ui.saved_views import ViewsOf, draw_views, open_shared
from pages.parts.ui.text import plain_lines
from pages.parts.ui.watch import look_every

viewer = require_viewer()

_VIEWS = ViewsOf(
    page="calls",
    left_out=frozenset({"view", "call", "after"}),
    notice_key=state.CALLS_NOTICE,
    name_key=state.CALLS_NAME,
    keeps="the window, filters and order",
    shows="the same view of the calls they may see",
)
_POLL_SECONDS = 2.0
# What a page costs is spent again for new calls only after this many times as long.
_REST = 10.0
_STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 88rem; padding-top: 4.25rem; }
.st-key-calls_totals [data-testid="stMetricValue"] { font-size: 1.3rem; }
.st-key-calls_totals > div { min-width: 8rem; }
@media (max-width: 640px) { .st-key-calls_head > div:first-child { min-width: 100%; } }
.st-key-calls_chips button { min-height: 1.9rem; padding: 0.1rem 0.7rem; }
</style>"""


def main(skein: Skein, viewer: Viewer) -> None:
    st.html(_STYLE)
    open_shared(skein, viewer, _VIEWS)
    began = time.monotonic()
    place = _here()
    with skein.database.read() as db:
        newest = newest_change(viewer, db)
    for problem in (*place.problems, state.take(state.CALLS_NOTICE)):
        if problem:
            st.warning(plain_lines(problem), icon=":material/info:")
    if place.call:
        draw_call(skein, viewer, place)
    else:
        _draw_all(skein, viewer, place)
    state.put(state.CALLS_SEEN, (newest, time.monotonic(), time.monotonic() - began))
    if place.is_open_ended:
        look_every(_POLL_SECONDS, partial(_watch, skein, viewer))


def _here() -> Place:
    return read_place(address(), now=utc_now(), zone=st.context.timezone)


def _draw_all(skein: Skein, viewer: Viewer, place: Place) -> None:
    names = read_names(skein, viewer, place)
    _draw_head(skein, viewer, place)
    draw_writer(skein, viewer)
    draw_window(place)
    draw_filters(skein, viewer, place, names)
    draw_chips(place, names)
    _draw_search_note(skein, viewer, place)
    if draw_panels(skein, viewer, place):
        st.fragment(_draw_table)(skein, viewer)


def _draw_head(skein: Skein, viewer: Viewer, place: Place) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="calls_head"):
        with st.container(width="stretch", gap=None):
            st.markdown("### Calls")
            whose = "Everybody's LLM calls" if viewer.reads_all else "Your LLM calls"
            st.caption(f"{whose} · times in {place.tz.key}")
        draw_views(skein, viewer, _VIEWS)
        draw_export(skein, viewer, place)
        draw_verify(skein, viewer)


def _draw_search_note(skein: Skein, viewer: Viewer, place: Place) -> None:
    if not place.narrowed.text:
        return
    with skein.database.read() as db:
        waiting = pending(viewer, db)
    if waiting:
        st.caption(f"The newest {counted(waiting, 'call')} cannot be found by their text yet.")


def _draw_table(skein: Skein, viewer: Viewer) -> None:
    """Paging and ordering draw only this anew; what else changes the address is for the whole page."""
    place = _here()
    if place.call:
        st.rerun()
    draw_table(skein, viewer, place)


def _watch(skein: Skein, viewer: Viewer) -> None:
    """Draws the page anew when there is something new, the less often the longer that takes."""
    newest, drawn, took = state.get(state.CALLS_SEEN)
    if time.monotonic() - drawn < max(_POLL_SECONDS / 2, _REST * took):
        return
    with skein.database.read() as db:
        changed = newest_change(viewer, db) != newest
    if changed:
        st.rerun(scope="app")


main(get_skein(), viewer)
