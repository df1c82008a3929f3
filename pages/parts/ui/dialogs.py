"""Dialogs that stand from the moment in which somebody asks for one until it is done with.

Invariant: what is asked for is put down in a callback, and the page opens the dialog while that stands, so that no
rerun loses it; at another address it is forgotten.
"""

from collections.abc import Callable
from typing import Any, Literal

import streamlit as st

from core.errors import SkeinError
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.text import plain_lines


def want(name: str, what: str = "") -> None:
    """Ask for the dialog of this name; ``what`` says more about it. For use in callbacks."""
    state.take(state.DIALOG_PROBLEM)
    state.put(state.DIALOG, (name, what, address()))


def want_chosen(key: str) -> None:
    """Ask for the dialog of what was chosen in the menu of this key."""
    want(key, str(state.get(key)))


def wanted(name: str) -> str | None:
    """What is asked of the dialog of this name, None when it is not to be open."""
    held = state.get(state.DIALOG)
    if held is None:
        return None
    asked, what, where = held
    if where != address():
        forget()
        return None
    return what if asked == name else None


def forget() -> None:
    """Let no dialog stand any more."""
    state.take(state.DIALOG)


def open_dialog(
    title: str, draw: Callable[..., None], *args: Any, width: Literal["small", "medium", "large"] = "small"
) -> None:
    """Draw the dialog that is wanted; to close it forgets it."""
    # Whoever draws the page anew by a clock asks for this first.
    state.put(state.BRANCHES_ASKING, value=True)
    st.dialog(title, width=width, on_dismiss=forget)(draw)(*args)


def finish(do: Callable[[], object]) -> None:
    """Do what the dialog is about, and close it; what cannot be done is said in it. For use in its callbacks."""
    asked = state.take(state.DIALOG)
    try:
        do()
    except SkeinError as error:
        state.put(state.DIALOG, asked)
        state.put(state.DIALOG_PROBLEM, str(error))
        return
    st.rerun()


def draw_problem() -> None:
    """Say in the dialog what could not be done."""
    if problem := state.take(state.DIALOG_PROBLEM):
        st.error(plain_lines(problem))
