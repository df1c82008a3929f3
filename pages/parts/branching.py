"""Going another way at a message: ask it in other words, have it answered again, change to one beside it."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.messages import NewMessage, ThreadKind, Turn
from core.history.tree import find_siblings
from core.ids import MessageId
from core.skein import Skein
from pages.parts import state

_EDIT, _AGAIN = "Ask in other words", "Answer again"
Siblings = dict[MessageId, list[MessageId]]


def read_siblings(skein: Skein, viewer: Viewer, turns: Sequence[Turn]) -> Siblings:
    """What stands beside each message of the transcript."""
    with skein.database.read() as db:
        return find_siblings(viewer, db, [turn.message_id for turn in turns])


def draw_ways(skein: Skein, viewer: Viewer, turn: Turn, beside: Sequence[MessageId], *, is_last: bool) -> None:
    """Below a question: its place among its siblings, and what else can be done with it."""
    may_ask = turn.user_id == viewer.user_id
    if len(beside) < 2 and not may_ask:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"chat_ways_{turn.thread_id}"):
        if len(beside) > 1:
            _draw_switch(turn, beside, is_last=is_last)
        if may_ask:
            chosen = st.menu_button(
                "More ways to go on",
                [_EDIT, _AGAIN],
                key=f"chat.ways.{turn.thread_id}",
                icon=":material/alt_route:",
                type="tertiary",
                help="Ask this in other words, or have it answered again; what is here stays",
            )
            if chosen == _EDIT:
                _edit(skein, viewer, turn)
            elif chosen == _AGAIN:
                _ask_beside(skein, viewer, turn, turn.content, ThreadKind.REGENERATE)


def _draw_switch(turn: Turn, beside: Sequence[MessageId], *, is_last: bool) -> None:
    place = beside.index(turn.message_id)
    for label, icon, other, key in (
        ("Previous", "chevron_left", place - 1, "Alt+J"),
        ("Next", "chevron_right", place + 1, "Alt+K"),
    ):
        if other > place:
            st.caption(f"{place + 1} / {len(beside)}", width="content")
        there = 0 <= other < len(beside)
        st.button(
            label,
            icon=f":material/{icon}:",
            key=f"chat.{icon}.{turn.thread_id}",
            type="tertiary",
            disabled=not there,
            help=f"{label} version of this question and what follows it",
            shortcut=key if is_last and there else None,
            on_click=partial(_show, beside[other]) if there else None,
        )


def _show(message_id: MessageId) -> None:
    st.query_params["message"] = message_id


@st.dialog("Ask in other words")
def _edit(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The new words stand beside the old ones, which stay with all that came after them.")
    with st.form("chat.edit", border=False):
        text = st.text_area("Message", value=turn.content, height=160)
        if st.form_submit_button("Send", type="primary", icon=":material/send:"):
            _ask_beside(skein, viewer, turn, text, ThreadKind.EDIT)


def _ask_beside(skein: Skein, viewer: Viewer, turn: Turn, text: str, kind: ThreadKind) -> None:
    new = NewMessage(
        text,
        conversation_id=turn.conversation_id,
        parent_message_id=turn.parent_message_id,
        kind=kind,
        agent_id=turn.agent_id,
        config=turn.config,
    )
    try:
        added = skein.engine.start(viewer, new)
    except SkeinError as error:
        if kind is ThreadKind.EDIT:
            st.error(str(error))
            return
        state.put(state.PROBLEM, str(error))
    else:
        st.query_params["message"] = added.message_id
    st.rerun()
