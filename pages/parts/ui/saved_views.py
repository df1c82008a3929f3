"""Saved views of a page: an address under a name, to open again and to share."""

from dataclasses import dataclass
from functools import partial
from urllib.parse import parse_qs, urlencode, urlsplit

import streamlit as st

from core.access.viewer import Viewer
from core.history.saved_views import View, delete_view, get_view, list_views, save_view
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.popovers import draw_popover
from pages.parts.ui.text import plain, shortened


@dataclass(frozen=True)
class ViewsOf:
    """The views of one page, of whose address ``left_out`` is no part; ``keeps`` and ``shows`` tell what is."""

    page: str
    left_out: frozenset[str]
    notice_key: str
    name_key: str
    keeps: str
    shows: str


def open_shared(skein: Skein, viewer: Viewer, views: ViewsOf) -> None:
    """Go where the address's ``view`` leads; a view that is not there costs one sentence."""
    view_id = st.query_params.get("view")
    if not view_id:
        return
    with state.problems(views.notice_key):
        with skein.database.read() as db:
            view = get_view(viewer, db, view_id)
        _open(view.query)
        return
    st.query_params.pop("view", None)


def draw_views(skein: Skein, viewer: Viewer, views: ViewsOf) -> None:
    """The views behind one button."""
    draw_popover(
        "Views",
        partial(_draw_views, skein, viewer, views),
        icon=":material/bookmarks:",
        key=f"{views.page}.views",
    )


def _draw_views(skein: Skein, viewer: Viewer, views: ViewsOf) -> None:
    with skein.database.read() as db:
        kept = list_views(viewer, db, views.page)
    if not kept:
        st.caption(f"A view keeps {views.keeps} under a name. Save what you see now:")
    for view in kept:
        _draw_view(skein, viewer, views, view)
    with st.form(f"{views.page}.save", border=False, clear_on_submit=True):
        st.text_input("Name", key=views.name_key, max_chars=80, placeholder="Name of what you see now")
        st.form_submit_button(
            "Save this view",
            key=f"{views.page}.save.do",
            icon=":material/bookmark_add:",
            on_click=_save,
            args=(skein, viewer, views),
        )


def _draw_view(skein: Skein, viewer: Viewer, views: ViewsOf, view: View) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            plain(shortened(view.name, 40)),
            key=f"{views.page}.view.{view.view_id}",
            type="tertiary",
            icon=":material/bookmark:",
            on_click=_open_chosen,
            args=(view.query,),
        )
        st.space("stretch")
        with st.popover("", icon=":material/link:", type="tertiary", help="Its link"):
            st.caption(f"Whoever opens this link sees {views.shows}.")
            st.code(link_to(view.view_id, st.context.url or ""), language=None, wrap_lines=True)
        st.button(
            "",
            key=f"{views.page}.view.drop.{view.view_id}",
            type="tertiary",
            icon=":material/delete:",
            help="Delete this view",
            on_click=_drop,
            args=(skein, viewer, views, view.view_id),
        )


def link_to(view_id: str, url: str) -> str:
    """The whole address of a view, on the server this page came from."""
    here = urlsplit(url)
    return f"{here.scheme}://{here.netloc}{here.path}?view={view_id}" if here.netloc else f"?view={view_id}"


def _open(query: str) -> None:
    st.query_params.from_dict(parse_qs(query, keep_blank_values=True))


def _open_chosen(query: str) -> None:
    _open(query)
    st.rerun()


def _save(skein: Skein, viewer: Viewer, views: ViewsOf) -> None:
    query = {name: values for name, values in address().items() if name not in views.left_out}
    with state.problems(views.notice_key):
        name = str(state.get(views.name_key) or "")
        save_view(viewer, skein.database, views.page, name, urlencode(query, doseq=True))
        return
    st.rerun()


def _drop(skein: Skein, viewer: Viewer, views: ViewsOf, view_id: str) -> None:
    with state.problems(views.notice_key):
        delete_view(viewer, skein.database, view_id)
        return
    st.rerun()
