"""Browse: every session, conversation and thread as a table, found by a query, and what waits for a review.

The address says all: ``?q=`` what is looked for, ``?list=`` which list, its ``sort``, way (``down``) and page
(``after``). ``?session=`` opens one session, ``?thread=`` looks into one thread.
"""

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.browse.listing import count_sessions
from core.skein import Skein
from core.tables import utc_now
from pages.parts.browse.activity_view import draw_activity
from pages.parts.browse.browse_bulk import MOST, draw_bar, draw_undo
from pages.parts.browse.browse_filters import draw_chips, draw_search
from pages.parts.browse.browse_new import draw_new
from pages.parts.browse.browse_query import go
from pages.parts.browse.browse_review import draw_review
from pages.parts.browse.browse_table import draw_order, draw_table
from pages.parts.browse.browse_url import OF_ONE, TABS, Place, read_place
from pages.parts.browse.export_view import draw_exports
from pages.parts.inspector.inspector import draw_inspector
from pages.parts.session.session_view import draw_session
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.resources import get_skein
from pages.parts.ui.saved_views import ViewsOf, draw_views, open_shared
from pages.parts.ui.text import plain_lines

viewer = require_viewer()

_VIEWS = ViewsOf(
    page="browse",
    left_out=frozenset({"view", "after", *OF_ONE}),
    notice_key=state.BROWSE_NOTICE,
    name_key=state.BROWSE_NAME,
    keeps="what is looked for, the list and its order",
    shows="the same view of what they may see",
)
_STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 100rem; padding-top: 4.25rem; }
.st-key-browse_chips button { min-height: 1.9rem; padding: 0.1rem 0.7rem; }
.st-key-browse_scores kbd { display: none; }
.st-key-browse_bar > div:first-child { min-height: 2.5rem; }
@media (min-width: 641px) { [data-testid="stMainBlockContainer"] { padding-left: 2.5rem; padding-right: 2.5rem; } }
@media (max-width: 640px) {
  .st-key-browse_search > div:first-child, .st-key-browse_bar > div:first-child { min-width: 100%; }
  .st-key-browse_head [data-testid="stCaptionContainer"] { display: none; }
  .st-key-browse_chips { flex-wrap: nowrap; overflow-x: auto; }
  .st-key-browse_chips > * { flex-shrink: 0; }
  .st-key-browse_tabs button { padding: 0 0.45rem; }
  [data-testid="stLayoutWrapper"]:has(> .st-key-browse_above) { display: none; }
}
</style>"""


def main(skein: Skein, viewer: Viewer) -> None:
    st.html(_STYLE)
    thread_id, session_id = (st.query_params.get(name) for name in ("thread", "session"))
    if not (thread_id or session_id):
        open_shared(skein, viewer, _VIEWS)
    place = read_place(address(), now=utc_now(), zone=st.context.timezone)
    if thread_id or session_id:
        _draw_notices(skein, viewer, place)
        draw_inspector(skein, viewer, thread_id) if thread_id else draw_session(skein, viewer, session_id)
        return
    _draw_head(skein, viewer)
    _draw_notices(skein, viewer, place)
    if place.tab == "activity":
        _draw_tabs(place)
        draw_activity(skein, viewer)
        return
    draw_search(skein, viewer, place)
    draw_chips(place)
    _draw_tabs(place)
    if not place.unclear:
        _draw_list(skein, viewer, place)


def _draw_head(skein: Skein, viewer: Viewer) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="browse_head"):
        with st.container(width="stretch", gap=None):
            st.markdown("### Browse")
            whose = "Everybody's sessions" if viewer.reads_all else "Your sessions"
            st.caption(f"{whose}, and all that was said and run in them")
        draw_exports(skein, viewer)
        draw_views(skein, viewer, _VIEWS)
        draw_new(skein, viewer)


def _draw_notices(skein: Skein, viewer: Viewer, place: Place) -> None:
    for problem in (*place.problems, state.take(state.BROWSE_NOTICE)):
        if problem:
            st.warning(plain_lines(problem), icon=":material/info:")
    if done := state.take(state.BROWSE_DONE):
        st.toast(plain_lines(done), icon=":material/check:")
    draw_undo(skein, viewer)


def _draw_tabs(place: Place) -> None:
    key = f"{state.BROWSE_WIDGET}list"
    state.put(key, place.tab)
    with st.container(key="browse_tabs"):
        st.segmented_control(
            "List",
            list(TABS),
            format_func=TABS.__getitem__,
            key=key,
            required=True,
            label_visibility="collapsed",
            on_change=lambda: go({"list": [str(state.get(key))]}),
        )


def _draw_list(skein: Skein, viewer: Viewer, place: Place) -> None:
    if place.tab == "review":
        draw_review(skein, viewer, place)
        return
    with st.container(horizontal=True, vertical_alignment="center", key="browse_bar"):
        if place.tab == "sessions":
            try:
                with skein.database.read() as db:
                    total = count_sessions(viewer, db, place.wanted, most=MOST)
            except SkeinError as error:
                st.warning(plain_lines(str(error)), icon=":material/info:")
                return
            draw_bar(skein, viewer, place, total)
        else:
            with st.container(width="stretch"):
                st.markdown(f"##### {TABS[place.tab]}")
        above = st.container(horizontal=True, width="content", gap=None, key="browse_above")
        draw_order(place)
    draw_table(skein, viewer, place, above)


main(get_skein(), viewer)
