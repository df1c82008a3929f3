"""Other databases: SQLite files of LangGraph programs outside Skein, read as they are and never changed.

The address says which file (``?file=``), thread, graph and checkpoint. Whoever reads everything may look at the
file that ``SKEIN_OPEN`` names; only admins open others.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.checkpoints.foreign.reading import Foreign
from core.errors import SkeinError
from core.records.others import SETTING, open_other
from core.skein import Skein
from pages.parts.databases.foreign_head import draw_head
from pages.parts.databases.foreign_start import draw_start
from pages.parts.databases.foreign_thread import draw_thread
from pages.parts.databases.foreign_threads import draw_threads
from pages.parts.databases.foreign_url import Place, go, read_place
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain_lines

_STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 80rem; }
.st-key-foreign_list button, .st-key-foreign_branches button {
  justify-content: flex-start; min-height: 2rem; padding: 0.1rem 0.6rem;
}
.st-key-foreign_list button > div, .st-key-foreign_branches button > div {
  justify-content: flex-start; overflow: hidden;
}
.st-key-foreign_state [data-testid="stCode"] pre { max-height: 24rem; }
@media (max-width: 640px) {
  /* On a phone what is chosen comes first, and the list of the others below it. */
  [data-testid="stColumn"]:has(.st-key-foreign_chosen) { order: -1; }
}
</style>"""


def main() -> None:
    viewer = require_viewer()
    skein = get_skein()
    st.html(_STYLE)
    place = read_place(address())
    if not viewer.reads_all or not (viewer.is_admin or skein.settings.open):
        st.title("Only for admins")
        st.write("Your role does not open this page; an admin can change that.")
        return
    if not place.file and viewer.is_admin:
        draw_start(skein, viewer)
        return
    if problem := state.take(state.FOREIGN_PROBLEM):
        st.warning(plain_lines(problem), icon=":material/error:")
    _draw_file(skein, viewer, place if place.file else Place(SETTING))


def _draw_file(skein: Skein, viewer: Viewer, place: Place) -> None:
    try:
        with open_other(viewer, skein.database, skein.settings, place.file) as foreign:
            draw_head(skein, viewer, foreign, place)
            _draw_inside(skein, viewer, foreign, place)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/error:")
        if viewer.is_admin:
            st.button(
                "Another file", icon=":material/folder_open:", key="databases.choose", on_click=partial(go, file="")
            )


def _draw_inside(skein: Skein, viewer: Viewer, foreign: Foreign, place: Place) -> None:
    """The list or a thread; what cannot be shown leaves the file open."""
    try:
        if place.thread is None:
            draw_threads(foreign, place)
        else:
            draw_thread(skein, viewer, foreign, place)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/error:")
        if place.thread is not None:
            st.button(
                "All threads", icon=":material/arrow_back:", key="databases.all", on_click=partial(go, thread="")
            )


main()
