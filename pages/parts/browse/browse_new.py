"""Beginning a session: an empty one with a title, or from a template; and the way to the templates themselves.

Invariant: what cannot be begun is said in the dialog, and nothing typed there is lost.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.sessions import create_session
from core.history.templates import TemplateRow, list_templates
from core.ids import TemplateId
from core.runs.templates import begin_session
from core.skein import Skein
from pages.parts.browse.browse_templates import draw_templates
from pages.parts.ui import state
from pages.parts.ui.dialogs import draw_problem, finish, open_dialog, want_chosen, wanted
from pages.parts.ui.format import counted
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain, shortened

_EMPTY, _FROM, _TEMPLATES = "Empty session", "From a template", "Templates"
_MENU, _TITLE = "browse.new", f"{state.BROWSE_DRAFT}empty"
_LONGEST = 200


def draw_new(skein: Skein, viewer: Viewer) -> None:
    """The menu of ways to begin a session."""
    st.menu_button(
        "New",
        [_EMPTY, _FROM, _TEMPLATES],
        key=_MENU,
        icon=":material/add:",
        type="primary",
        on_click=want_chosen,
        args=(_MENU,),
    )
    way = wanted(_MENU)
    if way == _EMPTY:
        open_dialog("New session", _draw_empty, skein, viewer)
    elif way == _FROM:
        open_dialog("New session from a template", _draw_from, skein, viewer, width="medium")
    elif way == _TEMPLATES:
        open_dialog("Templates", draw_templates, skein, viewer, width="large")


def _draw_empty(skein: Skein, viewer: Viewer) -> None:
    st.caption("A session is a place to work in: its conversations share plans, results and files.")
    with st.form("browse.empty", border=False):
        st.text_input("Title", max_chars=_LONGEST, key=_TITLE)
        st.form_submit_button(
            "Create and open",
            key="browse.empty.do",
            type="primary",
            on_click=finish,
            args=(partial(_create, skein, viewer),),
        )
        draw_problem()


def _create(skein: Skein, viewer: Viewer) -> None:
    title = state.get(_TITLE) or ""
    session_id = skein.database.write(lambda db: create_session(viewer, db, title))
    st.switch_page(CHAT, query_params={"session": session_id})


def _draw_from(skein: Skein, viewer: Viewer) -> None:
    with skein.database.read() as db:
        templates = {row.template_id: row for row in list_templates(viewer, db)}
    if not templates:
        st.info(
            "There is no template yet. Choose one session in the list and make a template of it, or write one "
            "under New, Templates.",
            icon=":material/article:",
        )
        return
    chosen = st.selectbox(
        "Template",
        list(templates),
        format_func=lambda key: name_of(templates[key], viewer),
        key=f"{state.BROWSE_DRAFT}from",
    )
    _draw_start(skein, viewer, templates[TemplateId(str(chosen))])


def _draw_start(skein: Skein, viewer: Viewer, template: TemplateRow) -> None:
    st.caption(f":material/smart_toy: {plain(template.agent_id)} · {counted(len(template.messages), 'message')}")
    for text in template.messages:
        st.markdown(f"> {plain(shortened(' '.join(text.split()), _LONGEST))}")
    key = f"{state.BROWSE_DRAFT}title.{template.template_id}"
    st.text_input("Title", placeholder=template.title or template.name, max_chars=_LONGEST, key=key)
    st.button(
        "Start",
        key="browse.from.do",
        type="primary",
        icon=":material/play_arrow:",
        on_click=finish,
        args=(partial(_start, skein, viewer, template.template_id, key),),
    )
    draw_problem()


def _start(skein: Skein, viewer: Viewer, template_id: TemplateId, key: str) -> None:
    begun = begin_session(skein.engine, viewer, template_id, title=state.get(key) or "")
    if begun.left:
        sentence = f"{counted(begun.left, 'message')} of the template could not be sent: {begun.problem}"
        state.put(state.PROBLEM, sentence)
    if begun.added is None:
        st.switch_page(CHAT, query_params={"session": begun.session_id})
    st.switch_page(CHAT, query_params={"message": begun.added.message_id})


def name_of(template: TemplateRow, viewer: Viewer) -> str:
    """What it is called, and whose it is where it is somebody else's."""
    return template.name if template.user_id == viewer.user_id else f"{template.name} ({template.user_name})"
