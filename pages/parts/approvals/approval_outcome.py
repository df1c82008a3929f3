"""What happened to a decision, told once; what was typed for one that came too late stays until it is dismissed."""

from dataclasses import dataclass

import streamlit as st

from core.history.approvals import ApprovalRow
from pages.parts.approvals.approval_texts import visible
from pages.parts.ui import state
from pages.parts.ui.text import plain_lines

_MOST_SENT = 50
_LONGEST_DRAFT = 20_000


@dataclass(frozen=True)
class Said:
    """A sentence about a decision; ``draft`` is what was typed for one that could not be taken."""

    approval_id: str
    thread_id: str
    sentence: str
    is_problem: bool = False
    draft: str = ""
    is_announced: bool = False


def tell(row: ApprovalRow, sentence: str, *, is_problem: bool = False, draft: str = "") -> None:
    """Have this said where the approval stands, or stood."""
    said = Said(row.approval_id, row.thread_id, sentence, is_problem, draft[:_LONGEST_DRAFT])
    state.put(state.APPROVALS_SAID, said)


def is_sent(row: ApprovalRow) -> bool:
    """Whether this tab has decided it: a second click says nothing new."""
    return row.approval_id in (state.get(state.APPROVALS_SENT) or [])


def mark_sent(row: ApprovalRow) -> None:
    state.put(state.APPROVALS_SENT, [*(state.get(state.APPROVALS_SENT) or []), row.approval_id][-_MOST_SENT:])


def announce() -> None:
    """In the chat: a passing word at once, since the resumed answer is followed first."""
    said = state.get(state.APPROVALS_SAID)
    if said is None or said.is_announced:
        return
    st.toast(plain_lines(said.sentence), icon=":material/info:" if said.is_problem else ":material/check:")
    if said.is_problem:
        kept = Said(said.approval_id, said.thread_id, said.sentence, True, said.draft, is_announced=True)
        state.put(state.APPROVALS_SAID, kept)
    else:
        state.take(state.APPROVALS_SAID)


def draw_said(*, thread_id: str | None = None) -> None:
    """The sentence, of one thread or of any; a problem stays, with what was typed, until it is dismissed."""
    said = state.get(state.APPROVALS_SAID)
    if said is None or (thread_id is not None and said.thread_id != thread_id):
        return
    if not said.is_problem:
        state.take(state.APPROVALS_SAID)
        st.success(plain_lines(said.sentence), icon=":material/check:")
        return
    st.warning(plain_lines(said.sentence), icon=":material/info:")
    if said.draft:
        st.caption("What you had typed:")
        st.code(visible(said.draft), language=None, wrap_lines=True)
    st.button("Dismiss", key=f"{state.APPROVALS_WIDGET}dismiss", on_click=state.take, args=(state.APPROVALS_SAID,))
