"""The form that starts a branch from a state, as it was or with parts of it written anew.

Invariant: what cannot be used is said beside the form, which keeps all that was typed.
"""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st
from langgraph.constants import START

from core.access.viewer import Viewer
from core.checkpoints.edit import editable_keys, json_schema
from core.errors import SkeinError
from core.history.turns import Turn
from core.ids import ThreadId
from core.runs.branching import fork
from core.runs.events import is_too_large
from core.runs.execute import StateStep
from core.skein import Skein
from pages.parts import state
from pages.parts.places import CHAT
from pages.parts.text import plain

_TALLEST, _LINE = 320, 24


def draw_fork(skein: Skein, viewer: Viewer, turn: Turn, step: StateStep) -> None:
    """In the middle of a run it goes on with the same message; at its end one says what comes next."""
    key = f"branches.fork.{step.checkpoint_id}"
    with st.container(border=True, key="branches_fork"):
        st.markdown("**Fork from this state**")
        if step.next:
            st.caption(f"The run goes on from here with the same message; next: {plain(next_words(step))}.")
        else:
            st.text_area("What to say next", key=f"{key}.text", height=100, persist_state="session")
        parts = _draw_edits(skein, turn, step, key)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(
                "Name of the branch",
                key=f"{key}.name",
                placeholder="Named by itself if left empty",
                max_chars=100,
                width=300,
                persist_state="session",
            )
            st.button(
                "Fork",
                key=f"{key}.go",
                icon=":material/fork_right:",
                type="primary",
                on_click=partial(_fork, skein, viewer, turn.thread_id, step, parts=parts),
            )
        for problem in state.take(state.BRANCHES_REFUSED) or ():
            st.error(plain(problem), icon=":material/error:")


def next_words(step: StateStep) -> str:
    """What is to run next."""
    return ", ".join("the first node" if name == START else name for name in step.next)


def _draw_edits(skein: Skein, turn: Turn, step: StateStep, key: str) -> list[str]:
    """The fields of the parts of the state that are to be edited; gives these parts."""
    if not st.toggle("Edit the state", key=f"{key}.edit", help="Change parts of the state before it goes on"):
        return []
    try:
        graph = skein.agents.compiled(turn.agent_id, skein.saver)
        keys, takes = editable_keys(graph), json_schema(graph)
    except SkeinError as error:
        st.warning(plain(str(error)), icon=":material/info:")
        return []
    if not keys:
        st.caption("This agent's state has no part that can be written by hand.")
        return []
    chosen = st.multiselect("Parts to edit", keys, key=f"{key}.keys", persist_state="session")
    for part in chosen:
        _draw_edit(part, takes.get(part, ""), current(step, part), key)
    return chosen


def _draw_edit(part: str, takes: str, value: Any, key: str) -> None:
    text = "" if is_too_large(value) else as_json(value)
    hint = f" · takes {plain(takes)}" if takes else ""
    st.text_area(
        f"{plain(part)} (JSON{hint})",
        value=text,
        key=f"{key}.part.{part}",
        height=min(max(text.count("\n") + 2, 3) * _LINE, _TALLEST),
        placeholder="Too large to be shown here; it stays as it is unless you write another value",
        persist_state="session",
    )


def current(step: StateStep, part: str) -> Any:
    return step.values.get(part) if isinstance(step.values, dict) else None


def as_json(value: Any) -> str:
    """A value as a person can edit it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def read_edits(texts: Mapping[str, str], values: Any) -> tuple[dict[str, Any], list[str]]:
    """The values that were written, without those that are as before, and a sentence for each that is no JSON.

    Where nothing was written, as below a value that is too large to be shown, all stays as it is.
    """
    before = values if isinstance(values, dict) else {}
    edits: dict[str, Any] = {}
    problems: list[str] = []
    for part, text in texts.items():
        if not text.strip():
            continue
        try:
            value = json.loads(text)
        except RecursionError:
            problems.append(f"The new value of {part!r} is nested too deeply.")
            continue
        except ValueError as error:
            problems.append(f"The new value of {part!r} is no JSON: {_where(error)}.")
            continue
        if part not in before or value != before[part]:
            edits[part] = value
    return edits, problems


def _where(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.lower()}, at line {error.lineno}, column {error.colno}"
    return str(error)


def _fork(skein: Skein, viewer: Viewer, thread_id: ThreadId, step: StateStep, *, parts: Sequence[str]) -> None:
    """Start the branch with what the fields hold, and go there."""
    key = f"branches.fork.{step.checkpoint_id}"
    edited = {part: state.get(f"{key}.part.{part}") or "" for part in parts}
    text = "" if step.next else state.get(f"{key}.text") or ""
    name = state.get(f"{key}.name") or ""
    edits, problems = read_edits(edited, step.values)
    if not problems:
        try:
            added = fork(skein.engine, viewer, thread_id, step.checkpoint_id, text=text, edits=edits, name=name)
            st.switch_page(CHAT, query_params={"branch": added.branch_id})
        except SkeinError as error:
            problems = [str(error)]
    state.put(state.BRANCHES_REFUSED, problems)
