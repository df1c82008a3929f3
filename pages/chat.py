"""Chat: one branch of a conversation, answered by an agent whose run outlives this page.

``?branch=`` opens one, ``?message=`` the newest one through a message, ``?conversation=`` the one last looked at;
``?show=`` chooses what is seen of an answer while it is written.
"""

import streamlit as st

from core.access.viewer import Viewer
from core.skein import Skein
from pages.parts.artifacts.artifact_list import read_shelf
from pages.parts.artifacts.artifact_panel import draw_artifacts
from pages.parts.chat.agent_options import chosen_agent
from pages.parts.chat.ask import Places, Talk
from pages.parts.chat.attachments import draw_input, draw_problem
from pages.parts.chat.chat_header import Header, chosen_show
from pages.parts.chat.conversation_list import OwnRow, draw_conversation_list
from pages.parts.chat.input_form import draw_input_form
from pages.parts.chat.more_inputs import find_more_inputs
from pages.parts.chat.transcript import draw_transcript
from pages.parts.chat.unsent import draw_held_back
from pages.parts.chat.variants import draw_chosen
from pages.parts.ui import state
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.open_branch import load
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain, plain_lines

viewer = require_viewer()

_EXAMPLES = ("Write a table", "Show me some code", "写一首长诗", "Write 300 tokens")


def main(skein: Skein, viewer: Viewer) -> None:
    opened, show = load(skein, viewer), chosen_show()
    is_own = opened.conversation is None or opened.conversation.user_id == viewer.user_id
    dock = st.bottom.container(key="chat_dock")
    agent_id = chosen_agent(skein, opened)
    more = find_more_inputs(skein, opened, agent_id, is_own=is_own)
    talk = Talk(skein, opened, more, show=show)
    form = skein.agents.input_form(agent_id)
    if is_own and form is None:
        draw_input(talk.take_sent)
    with dock:
        stop = st.empty()
        draw_problem(opened.conversation_id)
        is_held = draw_held_back(skein, viewer, opened, more, send=talk.send)
        draw_chosen(state.FAN)
        more.draw()
        if is_own and form is not None:
            draw_input_form(skein, opened, agent_id, form, send=talk.send_filled)
    at_top, beside = st.container(key="chat_header_place"), st.container(key="chat_beside")
    around: list[tuple[Header, OwnRow]] = []

    def draw_around() -> None:
        row = draw_conversation_list(skein, viewer, opened.conversation_id)
        shelf = read_shelf(skein, viewer, opened)
        with at_top:
            around.append((Header(skein, viewer, opened, shelf), row))
        with beside:
            draw_artifacts(skein, viewer, opened, shelf)

    if problem := state.take(state.PROBLEM):
        st.warning(plain_lines(problem), icon=":material/info:")
    welcome, drawn = st.empty(), opened
    if opened.turns:
        drawn = draw_transcript(skein, viewer, opened, show=show, stop=stop, meanwhile=draw_around)
    else:
        draw_around()
        if not is_held:
            with welcome.container():
                _draw_welcome(skein, agent_id, talk, has_form=form is not None)
    if is_held and opened.head is not None and opened.head.is_live:
        st.rerun()  # what is held back can simply be sent now
    header, row = around[0]
    if drawn.head is None or not drawn.head.is_live:
        row.draw_ended()
    if is_own and not (drawn.head is not None and drawn.head.is_live):
        places = Places(st.container(key="chat_slots"), stop, welcome, header, row)
        talk.stand_below(drawn, places)


def _draw_welcome(skein: Skein, agent_id: str, talk: Talk, *, has_form: bool) -> None:
    st.markdown("##### What would you like to talk about?")
    described = next((agent.description for agent in skein.agents.list() if agent.agent_id == agent_id), "")
    about = f" · {plain(described)}" if described else ""
    st.caption(f":material/smart_toy: **{plain(agent_id)}**{about}")
    if "model" in skein.agents.takes(agent_id) and skein.chat_models.is_offline(state.get(state.MODEL) or ""):
        st.info(
            "The offline demo model answers here: no key, no network, no language model. "
            "Set `OPENAI_API_KEY` or `OPENAI_BASE_URL` for a real one.",
            icon=":material/cloud_off:",
        )
    if not has_form:
        st.pills("Try", _EXAMPLES, key=state.EXAMPLE, label_visibility="collapsed", on_change=talk.take_example)


main(get_skein(), viewer)
