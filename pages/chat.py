"""Chat: one conversation, answered by an agent whose run outlives this page.

``?conversation=`` opens one, ``?message=`` the branch on which that message lies, ``?show=`` chooses what is
seen of an answer while it is written.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import BusyError, SkeinError
from core.history.conversations import (
    ConversationRow,
    delete_conversation,
    get_conversation,
    rename_conversation,
)
from core.history.messages import NewMessage, Turn, find_newest_below, find_newest_message, get_path, get_turn
from core.ids import to_conversation_id, to_message_id
from core.skein import Skein
from pages.parts import state
from pages.parts.answer import Show
from pages.parts.conversation_list import draw_conversation_list
from pages.parts.guard import require_viewer
from pages.parts.resources import get_skein
from pages.parts.text import plain
from pages.parts.transcript import draw_transcript

viewer = require_viewer()

_WATCH_SECONDS = 1.5
_EXAMPLES = ("Write a table", "Show me some code", "写一首长诗", "Write 300 tokens")


def main(skein: Skein, viewer: Viewer) -> None:
    conversation, turns = _load(skein, viewer)
    is_own = conversation is None or conversation.user_id == viewer.user_id
    dock = st.bottom.container(key="chat_dock")
    text = st.chat_input("Message the agent", key="chat.input") if is_own else None
    with dock:
        text = text or _draw_held_back(skein, viewer, turns)
    if text:
        conversation, turns = _send(skein, viewer, conversation, turns, text)
    header = st.container(key="chat_header_place")

    def draw_around() -> None:
        draw_conversation_list(skein, viewer, conversation.conversation_id if conversation else None)
        with header:
            _draw_header(skein, viewer, conversation, is_own=is_own)

    if problem := state.take(state.PROBLEM):
        st.warning(problem, icon=":material/info:")
    if turns and turns[-1].is_live:
        state.take(state.WATCHED)
        st.fragment(_watch, run_every=_WATCH_SECONDS)()
    show = Show(state.get(state.SHOW) or Show.TOKENS)
    draw_transcript(skein, viewer, turns, show=show, dock=dock, meanwhile=draw_around)
    # While something is held back no example is on offer: the chosen one would be sent again with each rerun.
    if not turns and not state.held_back(None) and (example := _draw_welcome(skein)):
        _send(skein, viewer, conversation, turns, example)
        st.rerun()


def _load(skein: Skein, viewer: Viewer) -> tuple[ConversationRow | None, list[Turn]]:
    """What the address names; a link that leads nowhere is said, and opens a new conversation."""
    params = st.query_params
    try:
        with skein.database.read() as db:
            if "message" in params:
                named = get_turn(viewer, db, to_message_id(params["message"]))
                head = find_newest_below(viewer, db, named.message_id)
                conversation = get_conversation(viewer, db, named.conversation_id)
            elif "conversation" in params:
                conversation = get_conversation(viewer, db, to_conversation_id(params["conversation"]))
                head = find_newest_message(viewer, db, conversation.conversation_id)
            else:
                return None, []
            return conversation, get_path(viewer, db, head) if head else []
    except SkeinError as error:
        state.put(state.PROBLEM, str(error))
        return None, []


def _draw_header(skein: Skein, viewer: Viewer, conversation: ConversationRow | None, *, is_own: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="chat_header"):
        title = conversation.title if conversation else "New conversation"
        with st.container(width="stretch"):
            st.markdown(f"#### {plain(title)}")
        if conversation is not None and is_own:
            chosen = st.menu_button(
                "More",
                ["Rename", "Delete"],
                key="chat.menu",
                icon=":material/more_horiz:",
                type="tertiary",
                help="Rename or delete this conversation",
            )
            if chosen == "Rename":
                _rename(skein, viewer, conversation)
            elif chosen == "Delete":
                _delete(skein, viewer, conversation)
        _draw_options(skein)


def _draw_options(skein: Skein) -> None:
    with st.popover("Options", icon=":material/tune:", type="tertiary", help="Model, agent, and what is shown"):
        agents = {agent.agent_id: agent for agent in skein.agents.list()}
        if len(agents) > 1:
            st.selectbox("Agent", list(agents), key=state.AGENT, format_func=lambda name: name)
        models = {model.name: model.label for model in skein.chat_models.offered()}
        st.selectbox("Model", list(models), key=state.MODEL, format_func=models.__getitem__)
        st.slider("Temperature", 0.0, 2.0, skein.settings.temperature, 0.1, key=state.TEMPERATURE)
        st.segmented_control(
            "While an answer is written, show",
            [show.value for show in Show],
            default=Show.TOKENS.value,
            required=True,
            key=state.SHOW,
            bind="query-params",
        )


def _draw_welcome(skein: Skein) -> str | None:
    st.markdown("##### What would you like to talk about?")
    if skein.chat_models.is_offline(state.get(state.MODEL) or ""):
        st.info(
            "The offline demo model answers here: no key, no network, no language model. "
            "Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` for a real one.",
            icon=":material/cloud_off:",
        )
    return st.pills("Try", _EXAMPLES, key="chat.example", label_visibility="collapsed")


def _send(
    skein: Skein, viewer: Viewer, conversation: ConversationRow | None, turns: list[Turn], text: str
) -> tuple[ConversationRow | None, list[Turn]]:
    """Start the run, and give the conversation as it is now; what cannot be sent is held back, never lost."""
    head = turns[-1] if turns else None
    try:
        added = skein.engine.start(viewer, _message(skein, conversation, head, text))
    except SkeinError as error:
        if not (isinstance(error, BusyError) and head is not None and head.is_live):
            state.put(state.PROBLEM, str(error))
        state.hold_back(conversation.conversation_id if conversation else None, text)
        st.rerun()
    _go_to(added.conversation_id, added.message_id if "message" in st.query_params else None)
    return _load(skein, viewer)


def _message(skein: Skein, conversation: ConversationRow | None, parent: Turn | None, text: str) -> NewMessage:
    chosen = {"model": state.get(state.MODEL), "temperature": state.get(state.TEMPERATURE)}
    return NewMessage(
        text,
        conversation_id=conversation.conversation_id if conversation else None,
        parent_message_id=parent.message_id if parent else None,
        agent_id=state.get(state.AGENT) or (parent.agent_id if parent else skein.agents.default),
        config={name: value for name, value in chosen.items() if value is not None},
    )


def _draw_held_back(skein: Skein, viewer: Viewer, turns: list[Turn]) -> str | None:
    """What was typed while the answer above is still being written: three ways to go on, and none loses it."""
    here = turns[-1].conversation_id if turns else None
    text = state.held_back(here)
    if not text:
        return None
    head = turns[-1] if turns else None
    with st.container(border=True, key="chat_held_back"):
        is_live = head is not None and head.is_live
        st.caption("The answer is still being written. Your message is kept:" if is_live else "Not sent yet:")
        st.text(text)
        with st.container(horizontal=True):
            if not is_live:
                if st.button("Send it", icon=":material/send:", key="chat.held.send", type="primary"):
                    return state.release(here)
            elif head is not None:
                _draw_choices(skein, viewer, head, text)
            if st.button("Discard", key="chat.held.drop", type="tertiary"):
                state.release(here)
                st.rerun()
    return None


def _draw_choices(skein: Skein, viewer: Viewer, head: Turn, text: str) -> None:
    start = partial(_start_held, skein, viewer, head, text)
    st.button("Send after it", icon=":material/schedule:", key="chat.held.wait", on_click=start, args=("wait",))
    st.button("Stop it and send", icon=":material/stop:", key="chat.held.stop", on_click=start, args=("stop",))
    st.button(
        "Ask beside it", icon=":material/call_split:", key="chat.held.beside", on_click=start, args=("beside",)
    )


def _start_held(skein: Skein, viewer: Viewer, head: Turn, text: str, way: str) -> None:
    with state.problems():
        if way == "stop":
            skein.engine.stop(viewer, head.thread_id)
        message = NewMessage(
            text,
            conversation_id=head.conversation_id,
            parent_message_id=head.parent_message_id if way == "beside" else head.message_id,
            agent_id=head.agent_id,
            config=head.config,
        )
        added = skein.engine.start(viewer, message, when_busy="wait")
        state.release(head.conversation_id)
        st.query_params["message"] = added.message_id


@st.dialog("Rename the conversation")
def _rename(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    with st.form("chat.rename", border=False):
        title = st.text_input("Title", value=conversation.title, max_chars=200)
        if st.form_submit_button("Save", type="primary"):
            try:
                skein.database.write(
                    lambda db: rename_conversation(viewer, db, conversation.conversation_id, title)
                )
            except SkeinError as error:
                st.error(str(error))
            else:
                st.rerun()


def _delete(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    for run in skein.engine.active(viewer):
        if run.conversation_id == conversation.conversation_id:
            skein.engine.stop(viewer, run.thread_id)
    with state.problems():
        skein.database.write(lambda db: delete_conversation(viewer, db, conversation.conversation_id))
        state.put(state.DELETED, (conversation.conversation_id, conversation.title))
        _go_to(None, None)
    st.rerun()


def _go_to(conversation_id: str | None, message_id: str | None) -> None:
    st.query_params.pop("conversation", None)
    st.query_params.pop("message", None)
    if conversation_id is not None:
        st.query_params["conversation"] = conversation_id
    if message_id is not None:
        st.query_params["message"] = message_id


def _watch() -> None:
    """Runs only while no script does: then this tab has lost its stream (a dropped line), and takes it up again.

    The first time it is drawn as a part of the page itself.
    """
    if state.take(state.WATCHED):
        st.rerun(scope="app")
    state.put(state.WATCHED, value=True)


main(get_skein(), viewer)
