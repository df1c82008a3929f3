"""What the address of the Approvals page says, and the widgets that show it and write it.

Invariant: the address is the state, so that reload, Back and a shared link give the same view; what in it is not
known counts as not said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from pages.parts.ui import state

TABS = {"waiting": "Waiting", "decided": "Decided", "rules": "Rules"}
WHOSE = {"mine": "Mine", "all": "Everyone's"}
FILTERS = ("find", "agent", "tool", "person")


@dataclass(frozen=True)
class Place:
    """``approval`` opens one alone; ``everyone`` only for whom that is allowed."""

    approval: str
    tab: str
    everyone: bool
    find: str
    agent: str
    tool: str
    person: str


def read_place(*, is_admin: bool) -> Place:
    """What the address says now."""
    said = st.query_params
    tab = said.get("tab", "")
    return Place(
        said.get("approval", ""),
        tab if tab in TABS else "waiting",
        is_admin and said.get("who") == "all",
        *(said.get(name, "") for name in FILTERS),
    )


def draw_choice(name: str, options: dict[str, str], value: str) -> None:
    """One of several, in a row; the first is what is meant when nothing is said."""
    st.segmented_control(
        name,
        list(options),
        required=True,
        format_func=options.__getitem__,
        label_visibility="collapsed",
        **_bound(name, value),
    )


def draw_filter(name: str, label: str, values: Sequence[str], value: str) -> None:
    """One of the values that there are; nothing where there is nothing to choose."""
    options = sorted({*values, value} - {""})
    if len(options) > 1 or value:
        st.selectbox(label, options, index=None, placeholder="Any", width=180, **_bound(name, value or None))


def draw_words(value: str) -> None:
    st.text_input(
        "Find",
        placeholder="Tool, title, message, reason",
        icon=":material/search:",
        **_bound("find", value),
    )


def leave(name: str) -> None:
    """Take a parameter out of the address."""
    st.query_params.pop(name, None)


def _bound(name: str, value: Any) -> dict[str, Any]:
    """A widget that shows the value and writes what is chosen into the address."""
    key = f"{state.APPROVALS_PLACE}{name}"
    state.put(key, value)
    return {"key": key, "on_change": _write, "args": (name, key)}


def _write(name: str, key: str) -> None:
    value = state.get(key)
    if value and value not in {next(iter(TABS)), next(iter(WHOSE))}:
        st.query_params[name] = value
    else:
        leave(name)
