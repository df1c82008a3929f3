"""Chat: one branch of a conversation, answered by an agent whose run outlives this page.

``?branch=`` opens one, ``?message=`` the newest one through a message, ``?conversation=`` the one last looked at;
``?show=`` chooses what is seen of an answer while it is written.
"""

import streamlit as st

from core.access.viewer import Viewer
from core.errors import BusyError, SkeinError
from core.history.conversations import ConversationRow, delete_conversation, rename_conversation
from core.history.messages import Added, NewMessage
from core.runs.branching import Variant, fan_out
from core.skein import Skein
from pages.parts import state
from pages.parts.agent_options import chosen_agent, chosen_config, draw_agent_options, draw_agents
from pages.parts.answer import Show
from pages.parts.artifact_edit import save_asked
from pages.parts.artifact_panel import draw_artifacts, draw_artifacts_button
from pages.parts.artifact_shelf import Shelf, read_shelf
from pages.parts.attached import Given, draw_input, draw_problem
from pages.parts.conversation_list import draw_conversation_list
from pages.parts.crumbs import draw_crumbs
from pages.parts.guard import require_viewer
from pages.parts.held_back import draw_held_back
from pages.parts.opened import Opened, go_to, load, open_new_in, point_at
from pages.parts.resources import get_skein
from pages.parts.text import plain
from pages.parts.transcript import draw_transcript
from pages.parts.variants import chosen_variants, draw_chosen, draw_variants, forget_variants

viewer = require_viewer()

_WATCH_SECONDS = 1.5
_EXAMPLES = ("Write a table", "Show me some code", "写一首长诗", "Write 300 tokens")


def main(skein: Skein, viewer: Viewer) -> None:
    opened = load(skein, viewer)
    is_own = opened.conversation is None or opened.conversation.user_id == viewer.user_id
    dock = st.bottom.container(key="chat_dock")
    given = draw_input(opened.conversation_id) if is_own else None
    with dock:
        draw_problem(opened.conversation_id)
        given = given or draw_held_back(skein, viewer, opened)
        if not given:
            draw_chosen(state.FAN)
    if given:
        opened = _send(skein, viewer, opened, given)
    header, beside = st.container(key="chat_header_place"), st.container(key="chat_beside")

    def draw_around() -> None:
        draw_conversation_list(skein, viewer, opened.conversation_id)
        shelf = read_shelf(skein, viewer, opened)
        save_asked(skein, viewer, shelf)
        with header:
            _draw_header(skein, viewer, opened, shelf, is_own=is_own)
        with beside:
            draw_artifacts(skein, viewer, opened, shelf)

    if problem := state.take(state.PROBLEM):
        st.warning(plain(problem), icon=":material/info:")
    if any(turn.is_live for turn in (*opened.turns, *opened.fan)):
        state.take(state.WATCHED)
        st.fragment(_watch, run_every=_WATCH_SECONDS)()
    show = Show(state.get(state.SHOW) or Show.TOKENS)
    draw_transcript(skein, viewer, opened, show=show, dock=dock, meanwhile=draw_around)
    # While something is held back no example is on offer: the chosen one would be sent again with each rerun.
    if not opened.turns and not state.held_back(None) and (example := _draw_welcome(skein, opened)):
        _send(skein, viewer, opened, Given(example))
        st.rerun()


def _draw_header(skein: Skein, viewer: Viewer, opened: Opened, shelf: Shelf, *, is_own: bool) -> None:
    conversation = opened.conversation
    with st.container(horizontal=True, vertical_alignment="center", key="chat_header"):
        title = conversation.title if conversation else _new_title(opened)
        with st.container(width="stretch"):
            st.markdown(f"#### {plain(title)}")
        draw_artifacts_button(shelf)
        if conversation is not None and is_own:
            chosen = st.menu_button(
                "More",
                ["New in this session", "Rename", "Delete"],
                key="chat.menu",
                icon=":material/more_horiz:",
                type="tertiary",
                help="Begin another conversation that shares this one's artifacts, rename or delete this one",
            )
            if chosen == "New in this session":
                open_new_in(conversation.session_id)
                st.rerun()
            elif chosen == "Rename":
                _rename(skein, viewer, conversation)
            elif chosen == "Delete":
                _delete(skein, viewer, conversation)
        _draw_options(skein, opened)
    draw_crumbs(opened)


def _new_title(opened: Opened) -> str:
    return f"New conversation in “{opened.session.title}”" if opened.session else "New conversation"


def _draw_options(skein: Skein, opened: Opened) -> None:
    with st.popover("Options", icon=":material/tune:", type="tertiary", help="Model, agent, and what is shown"):
        agent_id = draw_agents(skein, opened)
        models = {model.name: model.label for model in skein.chat_models.offered()}
        st.selectbox("Model", list(models), key=state.MODEL, format_func=models.__getitem__)
        st.slider("Temperature", 0.0, 2.0, skein.settings.temperature, 0.1, key=state.TEMPERATURE)
        draw_agent_options(skein, agent_id)
        with st.expander("Ask several at once", icon=":material/splitscreen_right:"):
            st.caption("The next message goes to each of them; the answers stand side by side.")
            draw_variants(skein, key=state.FAN)
        st.segmented_control(
            "While an answer is written, show",
            [show.value for show in Show],
            default=Show.TOKENS.value,
            required=True,
            key=state.SHOW,
            bind="query-params",
        )


def _draw_welcome(skein: Skein, opened: Opened) -> str | None:
    st.markdown("##### What would you like to talk about?")
    agent_id = chosen_agent(skein, opened)
    told = next((agent.description for agent in skein.agents.list() if agent.agent_id == agent_id), "")
    st.caption(f":material/smart_toy: **{plain(agent_id)}** · {plain(told)}")
    if skein.chat_models.is_offline(state.get(state.MODEL) or ""):
        st.info(
            "The offline demo model answers here: no key, no network, no language model. "
            "Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` for a real one.",
            icon=":material/cloud_off:",
        )
    return st.pills("Try", _EXAMPLES, key="chat.example", label_visibility="collapsed")


def _send(skein: Skein, viewer: Viewer, opened: Opened, given: Given) -> Opened:
    """Start the run, and give the conversation as it is now; what cannot be sent is held back, never lost."""
    variants, head = chosen_variants(state.FAN), opened.head
    try:
        added = _start(skein, viewer, _message(skein, opened, given), variants)
    except SkeinError as error:
        if not (isinstance(error, BusyError) and head is not None and head.is_live):
            state.put(state.PROBLEM, str(error))
        state.hold_back(opened.conversation_id, given.text, given.files)
        st.rerun()
    go_to(added)
    return load(skein, viewer)


def _start(skein: Skein, viewer: Viewer, new: NewMessage, variants: dict[str, Variant]) -> Added:
    if not variants:
        return skein.engine.start(viewer, new)
    begun = fan_out(skein.engine, viewer, new, variants)
    forget_variants(state.FAN)
    return next(iter(begun.values()))


def _message(skein: Skein, opened: Opened, given: Given) -> NewMessage:
    chosen = {"model": state.get(state.MODEL), "temperature": state.get(state.TEMPERATURE)}
    head, agent_id = opened.head, chosen_agent(skein, opened)
    return NewMessage(
        given.text,
        conversation_id=opened.conversation_id,
        session_id=opened.session_id,
        parent_message_id=head.message_id if head else None,
        branch_id=opened.branch.branch_id if opened.branch else None,
        agent_id=agent_id,
        config={name: value for name, value in chosen.items() if value is not None} | chosen_config(agent_id),
        files=given.files,
    )


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
                st.error(plain(str(error)))
            else:
                st.rerun()


def _delete(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    for run in skein.engine.active(viewer):
        if run.conversation_id == conversation.conversation_id:
            skein.engine.stop(viewer, run.thread_id)
    with state.problems():
        skein.database.write(lambda db: delete_conversation(viewer, db, conversation.conversation_id))
        state.put(state.DELETED, (conversation.conversation_id, conversation.title))
        point_at(None, None)
    st.rerun()


def _watch() -> None:
    """Runs only while no script does: then this tab has lost its stream (a dropped line), and takes it up again.

    The first time it is drawn as a part of the page itself.
    """
    if state.take(state.WATCHED):
        st.rerun(scope="app")
    state.put(state.WATCHED, value=True)


main(get_skein(), viewer)
