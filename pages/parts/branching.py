"""Going another way at a message: other words, another answer, several at once, a branch from here."""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.annotations import set_star
from core.history.branches import create_branch
from core.history.messages import Added, NewMessage
from core.history.turns import Turn
from core.ids import MessageId
from core.runs.branching import edit, fan_out, regenerate, sibling
from core.skein import Skein
from pages.parts import state
from pages.parts.opened import go_to, open_at, point_at
from pages.parts.places import BRANCHES
from pages.parts.text import plain
from pages.parts.variants import chosen_variants, draw_variants

EDIT, AGAIN, SEVERAL, BRANCH = "Ask in other words", "Answer again", "Ask several at once", "Branch from here"
COPY, STAR, UNSTAR, SHOW = "Copy", "Star", "Take the star off", "Show in the tree"


def draw_ways(
    skein: Skein,
    viewer: Viewer,
    turn: Turn,
    beside: Sequence[MessageId],
    *,
    is_last: bool,
    is_starred: bool,
) -> None:
    """Below a question: its place among its siblings, its star, and what else can be done with it."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"chat_ways_{turn.thread_id}"):
        if len(beside) > 1:
            _draw_switch(skein, viewer, turn, beside, is_last=is_last)
        if is_starred:
            st.markdown(":material/star:", width="content", help="You have starred this message")
        own = [EDIT, AGAIN, SEVERAL, BRANCH] if turn.user_id == viewer.user_id else []
        chosen = st.menu_button(
            "More ways to go on",
            [*own, COPY, UNSTAR if is_starred else STAR, SHOW],
            key=f"chat.ways.{turn.thread_id}",
            icon=":material/alt_route:",
            type="tertiary",
            help="Go another way from here, copy or star this; what is here stays",
        )
        if chosen:
            _do(skein, viewer, turn, chosen)


def _do(skein: Skein, viewer: Viewer, turn: Turn, chosen: str) -> None:
    match chosen:
        case "Ask in other words":
            _edit(skein, viewer, turn)
        case "Answer again":
            _begin(partial(regenerate, skein.engine, viewer, turn.message_id))
        case "Ask several at once":
            _ask_several(skein, viewer, turn)
        case "Branch from here":
            _branch(skein, viewer, turn)
        case "Copy":
            _copy(turn)
        case "Show in the tree":
            query = {"conversation": turn.conversation_id, "node": turn.message_id}
            st.switch_page(BRANCHES, query_params=query)
        case _:
            with state.problems():
                skein.database.write(lambda db: set_star(viewer, db, turn.message_id, starred=chosen == STAR))
            st.rerun()


def _draw_switch(skein: Skein, viewer: Viewer, turn: Turn, beside: Sequence[MessageId], *, is_last: bool) -> None:
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
            on_click=partial(open_at, skein, viewer, beside[other]) if there else None,
        )


@st.dialog("Ask in other words")
def _edit(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The new words stand beside the old ones, which stay with all that came after them.")
    if turn.attached:
        st.caption("The files of this message go along.")
    with st.form("chat.edit", border=False):
        text = st.text_area("Message", value=turn.content, height=160)
        if st.form_submit_button("Send", type="primary", icon=":material/send:"):
            _begin(partial(edit, skein.engine, viewer, turn.message_id, text), in_dialog=True)


@st.dialog("Ask several at once")
def _ask_several(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The same question goes to each of them; the answers stand beside this one.")
    key = "chat.several"
    draw_variants(skein, key=key)
    variants = chosen_variants(key)
    if st.button("Send", type="primary", icon=":material/send:", disabled=not variants, key="chat.several.send"):

        def start() -> Added:
            new: NewMessage = sibling(skein.engine, viewer, turn.message_id)
            return next(iter(fan_out(skein.engine, viewer, new, variants).values()))

        _begin(start, in_dialog=True)


@st.dialog("Copy")
def _copy(turn: Turn) -> None:
    st.caption("The button in the corner of each text copies it.")
    for title, text in (("Question", turn.content), ("Answer", turn.answer)):
        if text:
            st.markdown(f"**{title}**")
            st.code(text, language=None, wrap_lines=True, height=220)


def _branch(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with state.problems():
        branch = skein.database.write(lambda db: create_branch(viewer, db, turn.message_id))
        point_at(branch.conversation_id, branch.branch_id)
    st.rerun()


def _begin(start: Callable[[], Added], *, in_dialog: bool = False) -> None:
    """Begin it and show it; what keeps it from beginning is said where one is, and nothing typed is lost."""
    try:
        added = start()
    except SkeinError as error:
        if in_dialog:
            st.error(plain(str(error)))
            return
        state.put(state.PROBLEM, str(error))
    else:
        go_to(added)
    st.rerun()
