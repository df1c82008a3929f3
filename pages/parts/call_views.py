"""Saved views of the Calls page: an address under a name, to open again and to share."""

from urllib.parse import parse_qs, urlencode, urlsplit

import streamlit as st

from core.access.viewer import Viewer
from core.history.saved_views import View, delete_view, get_view, list_views, save_view
from core.skein import Skein
from pages.parts import state
from pages.parts.call_filters import address
from pages.parts.text import plain, shortened

_PAGE = "calls"
_LEFT_OUT = {"view", "call", "after"}


def open_shared(skein: Skein, viewer: Viewer) -> None:
    """Go where the address's ``view`` leads; a view that is not there costs one sentence."""
    view_id = st.query_params.get("view")
    if not view_id:
        return
    with state.problems(state.CALLS_NOTICE):
        with skein.database.read() as db:
            view = get_view(viewer, db, view_id)
        _open(view.query)
        return
    st.query_params.pop("view", None)


def draw_views(skein: Skein, viewer: Viewer) -> None:
    with st.popover("Views", icon=":material/bookmarks:", type="tertiary"):
        with skein.database.read() as db:
            views = list_views(viewer, db, _PAGE)
        if not views:
            st.caption("A view keeps the window, filters and order under a name. Save what you see now:")
        for view in views:
            _draw_view(skein, viewer, view)
        with st.form("calls.save", border=False, clear_on_submit=True):
            st.text_input("Name", key=state.CALLS_NAME, max_chars=80, placeholder="Name of what you see now")
            st.form_submit_button(
                "Save this view",
                key="calls.save.do",
                icon=":material/bookmark_add:",
                on_click=_save,
                args=(skein, viewer),
            )


def _draw_view(skein: Skein, viewer: Viewer, view: View) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            plain(shortened(view.name, 40)),
            key=f"calls.view.{view.view_id}",
            type="tertiary",
            icon=":material/bookmark:",
            on_click=_open,
            args=(view.query,),
        )
        st.space("stretch")
        with st.popover("", icon=":material/link:", type="tertiary", help="Its link"):
            st.caption("Whoever opens this link sees the same view of the calls they may see.")
            st.code(link_to(view.view_id, st.context.url or ""), language=None, wrap_lines=True)
        st.button(
            "",
            key=f"calls.view.drop.{view.view_id}",
            type="tertiary",
            icon=":material/delete:",
            help="Delete this view",
            on_click=_drop,
            args=(skein, viewer, view.view_id),
        )


def link_to(view_id: str, url: str) -> str:
    """The whole address of a view, on the server this page came from."""
    here = urlsplit(url)
    return f"{here.scheme}://{here.netloc}{here.path}?view={view_id}" if here.netloc else f"?view={view_id}"


def _open(query: str) -> None:
    st.query_params.from_dict(parse_qs(query, keep_blank_values=True))


def _save(skein: Skein, viewer: Viewer) -> None:
    query = {name: values for name, values in address().items() if name not in _LEFT_OUT}
    with state.problems(state.CALLS_NOTICE):
        name = str(state.get(state.CALLS_NAME) or "")
        save_view(viewer, skein.database, _PAGE, name, urlencode(query, doseq=True))


def _drop(skein: Skein, viewer: Viewer, view_id: str) -> None:
    with state.problems(state.CALLS_NOTICE):
        delete_view(viewer, skein.database, view_id)
