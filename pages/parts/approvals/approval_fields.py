"""The fields of a decision: edited arguments, an answer, a reason, and whether it is to hold from now on.

What they hold is read by itself, with a sentence for each thing that is wrong with it, so that it can be read
before anything is drawn; nothing here decides anything.
"""

import json
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.history.approvals import ApprovalRow
from core.history.interrupts import LONGEST_REASON, Action, Decision
from pages.parts.forms.schema_form import draw_fields, read_fields
from pages.parts.ui import state

SCOPES = {"session": "in this session", "user": "for me", "everyone": "for everyone"}
_LARGEST_EDIT = 200_000
_TOO_LARGE = "These arguments are too large to be edited here; approve or refuse them as they are."
_EMPTY = "The answer is empty; please type one."


def widget_key(row: ApprovalRow, name: str) -> str:
    """The key of a widget of this approval."""
    return f"{state.APPROVALS_WIDGET}{row.approval_id}.{name}"


def draw_decision(row: ApprovalRow, action: Action | None, kind: str, *, number: int = 0) -> None:
    """The fields of one kind of decision about one tool call, or about what is no tool call."""
    key = _field_key(row, kind, number)
    if kind == "edit" and action is not None:
        if _is_too_large(action):
            st.caption(_TOO_LARGE)
        else:
            draw_fields(action.schema, key=key, value=action.arguments)
    elif kind == "answer":
        is_inbox = action is not None and action.is_inbox
        st.text_area("Your response" if is_inbox else "Your answer, in place of the tool's result", key=key)
    elif kind == "refuse":
        st.text_area(_why(action), key=key, max_chars=LONGEST_REASON, height=90)


def _why(action: Action | None) -> str:
    if action is None:
        return "Why?"
    # The older form has no place for a reason.
    return "Why? It is kept here; the agent is not told." if action.is_inbox else "Why? The agent is told."


def read_decision(
    row: ApprovalRow, action: Action | None, kind: str, *, number: int = 0
) -> tuple[Decision, list[str]]:
    """What these fields hold, and what is wrong with it."""
    key = _field_key(row, kind, number)
    if kind == "edit" and action is not None:
        return _read_edit(action, key)
    text = str(state.get(key) or "")
    if kind == "answer":
        return Decision("answer", answer=text), [] if text.strip() else [_EMPTY]
    if kind == "refuse":
        return Decision("refuse", reason=text.strip()), []
    return Decision("approve"), []


def _field_key(row: ApprovalRow, kind: str, number: int) -> str:
    return widget_key(row, f"{kind}.{number}.field")


def _is_too_large(action: Action) -> bool:
    return len(json.dumps(action.arguments, default=str)) > _LARGEST_EDIT


def _read_edit(action: Action, key: str) -> tuple[Decision, list[str]]:
    if _is_too_large(action):
        return Decision("edit"), [_TOO_LARGE]
    filled = read_fields(action.schema, key=key, value=action.arguments)
    problems = list(filled.problems)
    if not problems and not isinstance(filled.value, dict):
        problems = ["The arguments of a tool are an object of names and values; please write one, like {}."]
    return Decision("edit", arguments=filled.value), problems


def draw_answer(row: ApprovalRow, label: str) -> None:
    """The field of an answer to a question: by its schema, or as text, or as data where that is chosen."""
    if row.response_schema:
        draw_fields(row.response_schema, key=_answer_key(row))
        return
    st.text_area(label, key=_answer_key(row), height=100)
    st.toggle("as JSON", key=widget_key(row, "answer.json"), help="Give the agent data instead of text")


def read_answer(row: ApprovalRow) -> tuple[Any, list[str]]:
    """What it holds, and what is wrong with it."""
    if row.response_schema:
        filled = read_fields(row.response_schema, key=_answer_key(row))
        return filled.value, list(filled.problems)
    text = str(state.get(_answer_key(row)) or "")
    if not state.get(widget_key(row, "answer.json")):
        return text, [] if text.strip() else [_EMPTY]
    try:
        return json.loads(text), []
    except (ValueError, RecursionError) as error:
        return text, [f"This is no JSON: {error}. Correct it, or send it as text."]


def _answer_key(row: ApprovalRow) -> str:
    return widget_key(row, "answer.field")


def scopes_for(viewer: Viewer, row: ApprovalRow) -> list[str]:
    """For whom this person can make a rule here."""
    own = ["user"] if row.user_id == viewer.user_id else []
    return ["session", *own, *(["everyone"] if viewer.is_admin else [])]


def draw_scope(viewer: Viewer, row: ApprovalRow, always: str) -> None:
    """Whether the decision is to hold from now on, and for whom; None for this once."""
    st.selectbox(
        "From now on",
        [None, *scopes_for(viewer, row)],
        format_func=lambda scope: f"{always} {SCOPES[scope]}" if scope else "Ask again",
        key=widget_key(row, "scope"),
    )


def read_scope(row: ApprovalRow) -> str | None:
    return state.get(widget_key(row, "scope"))
