"""Fields for parts of a state that are to be written anew by hand, each as JSON, and what they hold.

Invariant: what nobody has changed is left out, so that it stays exactly as it is.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from core.checkpoints.edit import editable_keys, json_schema
from core.errors import SkeinError
from core.runs.events import is_too_large
from core.runs.execute import StateStep
from core.skein import Skein
from pages.parts.ui import state
from pages.parts.ui.text import plain, plain_lines

_TALLEST, _LINE = 320, 24


def draw_edits(skein: Skein, agent_id: str, step: StateStep, *, key: str) -> list[str]:
    """The fields of the parts of the state that are to be edited; gives these parts.

    The widgets' keys are ``<key>.keys`` and ``<key>.part.<part>``.
    """
    try:
        graph = skein.agents.compiled(agent_id, skein.saver)
        keys, takes = editable_keys(graph), json_schema(graph)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
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


def typed_edits(parts: Sequence[str], *, key: str) -> dict[str, str]:
    """What is written in the fields of these parts."""
    return {part: state.get(f"{key}.part.{part}") or "" for part in parts}


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
