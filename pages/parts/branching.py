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
_SEVERAL = "chat.several"


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
        key = f"chat.ways.{turn.thread_id}"
        st.menu_button(
            "More ways to go on",
            [*own, COPY, UNSTAR if is_starred else STAR, SHOW],
            key=key,
            icon=":material/alt_route:",
            type="tertiary",
            help="Go another way from here, copy or star this; what is here stays",
            on_click=partial(_do, skein, viewer, turn, key),
        )
        _draw_asked(skein, viewer, turn)


def _do(skein: Skein, viewer: Viewer, turn: Turn, key: str) -> None:
    """Do what was chosen; what needs a dialog, or another page, is drawn with the page."""
    match chosen := state.get(key):
        case "Answer again":
            with state.problems():
                go_to(regenerate(skein.engine, viewer, turn.message_id))
        case "Branch from here":
            with state.problems():
                branch = skein.database.write(lambda db: create_branch(viewer, db, turn.message_id))
                point_at(branch.conversation_id, branch.branch_id)
        case "Star" | "Take the star off":
            with state.problems():
                skein.database.write(lambda db: set_star(viewer, db, turn.message_id, starred=chosen == STAR))
        case _:
            state.put(state.DIALOG, (chosen, turn.message_id))


def _draw_asked(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    """The dialog that was asked for here, as long as nobody has closed it."""
    chosen, message_id = state.get(state.DIALOG) or ("", "")
    if message_id != turn.message_id:
        return
    match chosen:
        case "Ask in other words":
            _edit(skein, viewer, turn)
        case "Ask several at once":
            _ask_several(skein, viewer, turn)
        case "Copy":
            _copy(turn)
        case "Show in the tree":
            close_dialog()
            query = {"conversation": turn.conversation_id, "node": turn.message_id}
            st.switch_page(BRANCHES, query_params=query)


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


def close_dialog() -> None:
    """Let no dialog be drawn any more."""
    state.take(state.DIALOG)
    state.take(state.DIALOG_PROBLEM)


@st.dialog(EDIT, on_dismiss=close_dialog)
def _edit(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The new words stand beside the old ones, which stay with all that came after them.")
    if turn.attached:
        st.caption("The files of this message go along.")
    with st.form("chat.edit", border=False):
        st.text_area("Message", value=turn.content, height=160, key=state.EDITED)
        st.form_submit_button(
            "Send", type="primary", icon=":material/send:", on_click=partial(_send_edited, skein, viewer, turn)
        )
    _draw_problem()


def _send_edited(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    _begin(partial(edit, skein.engine, viewer, turn.message_id, state.get(state.EDITED) or ""))


@st.dialog(SEVERAL, on_dismiss=close_dialog)
def _ask_several(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The same question goes to each of them; the answers stand beside this one.")
    draw_variants(skein, key=_SEVERAL)
    st.button(
        "Send",
        type="primary",
        icon=":material/send:",
        disabled=not chosen_variants(_SEVERAL),
        key=f"{_SEVERAL}.send",
        on_click=partial(_send_several, skein, viewer, turn),
    )
    _draw_problem()


def _send_several(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    def start() -> Added:
        new: NewMessage = sibling(skein.engine, viewer, turn.message_id)
        return next(iter(fan_out(skein.engine, viewer, new, chosen_variants(_SEVERAL)).values()))

    _begin(start)


@st.dialog(COPY, on_dismiss=close_dialog)
def _copy(turn: Turn) -> None:
    st.caption("The button in the corner of each text copies it.")
    for title, text in (("Question", turn.content), ("Answer", turn.answer)):
        if text:
            st.markdown(f"**{title}**")
            st.code(text, language=None, wrap_lines=True, height=220)


def _draw_problem() -> None:
    if problem := state.take(state.DIALOG_PROBLEM):
        st.error(plain(problem))


def _begin(start: Callable[[], Added]) -> None:
    """Begin it and show it; what keeps it from beginning is said in the dialog, which keeps what was typed."""
    try:
        added = start()
    except SkeinError as error:
        state.put(state.DIALOG_PROBLEM, str(error))
        return
    close_dialog()
    go_to(added)
    st.rerun()
