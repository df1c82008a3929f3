"""The chat's header: what the conversation is called, what can be done with it, and what the next message goes to.

Invariant: a conversation that begins on the page gets its title, menu and way to the tree in their places, without
the page being drawn again.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.conversations import ConversationRow, delete_conversation, rename_conversation
from core.skein import Skein
from pages.parts.artifacts.artifact_list import Shelf
from pages.parts.artifacts.artifact_panel import draw_artifacts_button
from pages.parts.chat.agent_options import draw_agent_options, draw_agents
from pages.parts.chat.answer import Show
from pages.parts.chat.breadcrumbs import draw_crumbs
from pages.parts.chat.variants import draw_variants
from pages.parts.ui import state
from pages.parts.ui.dialogs import draw_problem, finish, open_dialog, want, wanted
from pages.parts.ui.open_branch import Opened, open_new_in, point_at
from pages.parts.ui.text import plain

_MENU, _OPTIONS = "chat.menu", "chat.options"
NEW, RENAME, DELETE = "New in this session", "Rename", "Delete"


class Header:
    """The header as it is drawn, with its places that change when a conversation begins."""

    def __init__(self, skein: Skein, viewer: Viewer, opened: Opened, shelf: Shelf) -> None:
        self._skein, self._viewer = skein, viewer
        with st.container(horizontal=True, vertical_alignment="center", key="chat_header"):
            self._title = st.container(width="stretch").empty()
            draw_artifacts_button(shelf)
            self._menu = st.empty()
            _draw_options(skein, opened)
        self._crumbs = st.empty()
        self.draw(opened)

    def draw(self, opened: Opened) -> None:
        """Draw what is particular to this conversation, in its places."""
        conversation = opened.conversation
        self._title.markdown(f"#### {plain(conversation.title if conversation else _new_title(opened))}")
        if conversation is not None and conversation.user_id == self._viewer.user_id:
            with self._menu:
                _draw_menu(self._skein, self._viewer, conversation)
        if conversation is not None:
            with self._crumbs:
                draw_crumbs(opened)


def _new_title(opened: Opened) -> str:
    return f"New conversation in “{opened.session.title}”" if opened.session else "New conversation"


def _draw_menu(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    st.menu_button(
        "More",
        [NEW, RENAME, DELETE],
        key=_MENU,
        icon=":material/more_horiz:",
        type="tertiary",
        help="Begin another conversation that shares this one's artifacts, rename or delete this one",
        on_click=partial(_do, skein, viewer, conversation),
    )
    if wanted(RENAME) == conversation.conversation_id:
        open_dialog("Rename the conversation", _rename, skein, viewer, conversation)


def _do(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    chosen = state.get(_MENU)
    if chosen == NEW:
        open_new_in(conversation.session_id)
    elif chosen == RENAME:
        want(RENAME, conversation.conversation_id)
    elif chosen == DELETE:
        _delete(skein, viewer, conversation)


def _rename(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    with st.form("chat.rename", border=False):
        st.text_input("Title", value=conversation.title, max_chars=200, key=state.TITLE)
        save = partial(finish, partial(_save_title, skein, viewer, conversation))
        st.form_submit_button("Save", type="primary", on_click=save)
    draw_problem()


def _save_title(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    title = state.get(state.TITLE) or ""
    skein.database.write(lambda db: rename_conversation(viewer, db, conversation.conversation_id, title))


def _delete(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    for run in skein.engine.active(viewer):
        if run.conversation_id == conversation.conversation_id:
            skein.engine.stop(viewer, run.thread_id)
    with state.problems():
        skein.database.write(lambda db: delete_conversation(viewer, db, conversation.conversation_id))
        state.put(state.DELETED, (conversation.conversation_id, conversation.title))
        point_at(None, None)


def _draw_options(skein: Skein, opened: Opened) -> None:
    """What the next message goes to; closed, it draws nothing, and what was chosen stays."""
    fold = st.popover(
        "Options",
        icon=":material/tune:",
        type="tertiary",
        help="Model, agent, and what is shown",
        key=_OPTIONS,
        on_change="rerun",
    )
    if fold.open:
        with fold:
            _draw_choices(skein, opened)


def _draw_choices(skein: Skein, opened: Opened) -> None:
    agent_id = draw_agents(skein, opened)
    takes = skein.agents.takes(agent_id)
    if "model" in takes:
        models = {model.name: model.label for model in skein.chat_models.offered()}
        st.selectbox(
            "Model", list(models), key=state.MODEL, format_func=models.__getitem__, persist_state="session"
        )
    if "temperature" in takes:
        usual = skein.settings.temperature
        st.slider("Temperature", 0.0, 2.0, usual, 0.1, key=state.TEMPERATURE, persist_state="session")
    if not takes:
        st.caption("This agent brings its own model.")
    draw_agent_options(skein, agent_id)
    with st.expander("Ask several at once", icon=":material/splitscreen_right:"):
        st.caption("The next message goes to each of them; the answers stand side by side.")
        draw_variants(skein, key=state.FAN)
    state.put(state.SHOW, chosen_show().value)
    st.segmented_control(
        "While an answer is written, show",
        [show.value for show in Show],
        required=True,
        key=state.SHOW,
        on_change=_keep_show,
    )


def chosen_show() -> Show:
    """What the address says is to be seen of an answer while it is written."""
    named = st.query_params.get("show")
    return Show(named) if named in set(Show) else Show.TOKENS


def _keep_show() -> None:
    st.query_params["show"] = state.get(state.SHOW)
