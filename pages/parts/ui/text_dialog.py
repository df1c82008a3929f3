"""Asking for one text in a dialog. Invariant: what cannot be done is said there, and nothing typed is lost."""

from collections.abc import Callable

import streamlit as st

from pages.parts.ui import state
from pages.parts.ui.dialogs import draw_problem, finish, open_dialog

_KEY = "branches.asked"


def ask(
    title: str,
    label: str,
    do: Callable[[str], object],
    *,
    value: str = "",
    hint: str = "",
    button: str = "Save",
    is_long: bool = False,
) -> None:
    """Open a dialog for a text; ``do`` is called with it, and the page is drawn anew when that went well."""

    def draw() -> None:
        if hint:
            st.caption(hint)
        with st.form("branches.ask", border=False):
            if is_long:
                st.text_area(label, value=value, height=180, key=_KEY)
            else:
                st.text_input(label, value=value, key=_KEY)
            st.form_submit_button(
                button, type="primary", on_click=lambda: finish(lambda: do(state.get(_KEY) or ""))
            )
        draw_problem()

    open_dialog(title, draw)
