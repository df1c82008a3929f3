"""Going another way at a message: other words, another answer, several at once, a branch from here."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.annotations import set_star
from core.history.branches import create_branch
from core.history.turns import Turn
from core.ids import MessageId
from core.runs.branching import edit, fan_out, regenerate, sibling
from core.skein import Skein
from pages.parts.chat.variants import chosen_variants, draw_variants, forget_variants
from pages.parts.ui import state
from pages.parts.ui.dialogs import draw_problem, finish, open_dialog, want, wanted
from pages.parts.ui.open_branch import go_to, open_at, point_at
from pages.parts.ui.page_paths import BRANCHES

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
        case "Show in the tree":
            query = {"conversation": turn.conversation_id, "node": turn.message_id}
            st.switch_page(BRANCHES, query_params=query)
        case _:
            want(str(chosen), turn.message_id)


def _draw_asked(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    """The dialog that was asked for here, as long as nobody has closed it."""
    if wanted(EDIT) == turn.message_id:
        open_dialog(EDIT, _edit, skein, viewer, turn)
    elif wanted(SEVERAL) == turn.message_id:
        open_dialog(SEVERAL, _ask_several, skein, viewer, turn)
    elif wanted(COPY) == turn.message_id:
        open_dialog(COPY, _copy, turn)


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


def _edit(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The new words stand beside the old ones, which stay with all that came after them.")
    if turn.attached:
        st.caption("The files of this message go along.")
    if turn.inputs:
        st.caption("What else it was given goes along.")
    with st.form("chat.edit", border=False):
        st.text_area("Message", value=turn.content, height=160, key=state.EDITED)
        st.form_submit_button(
            "Send",
            type="primary",
            icon=":material/send:",
            on_click=partial(finish, partial(_send_edited, skein, viewer, turn)),
        )
    draw_problem()


def _send_edited(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    go_to(edit(skein.engine, viewer, turn.message_id, state.get(state.EDITED) or ""))


def _ask_several(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    st.caption("The same question goes to each of them; the answers stand beside this one.")
    draw_variants(skein, key=_SEVERAL)
    st.button(
        "Send",
        type="primary",
        icon=":material/send:",
        disabled=not chosen_variants(_SEVERAL),
        key=f"{_SEVERAL}.send",
        on_click=partial(finish, partial(_send_several, skein, viewer, turn)),
    )
    draw_problem()


def _send_several(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    new = sibling(skein.engine, viewer, turn.message_id)
    begun = fan_out(skein.engine, viewer, new, chosen_variants(_SEVERAL))
    forget_variants(_SEVERAL)
    go_to(next(iter(begun.values())))


def _copy(turn: Turn) -> None:
    st.caption("The button in the corner of each text copies it.")
    for title, text in (("Question", turn.content), ("Answer", turn.answer)):
        if text:
            st.markdown(f"**{title}**")
            st.code(text, language=None, wrap_lines=True, height=220)
