"""Asking for one text in a dialog. Invariant: what cannot be done is said there, and nothing typed is lost."""

from collections.abc import Callable

import streamlit as st

from core.errors import SkeinError
from pages.parts import state
from pages.parts.text import plain


def ask(
    title: str,
    label: str,
    do: Callable[[str], None],
    *,
    value: str = "",
    hint: str = "",
    button: str = "Save",
    is_long: bool = False,
) -> None:
    """Open a dialog for a text; ``do`` is called with it, and the page is drawn anew when that went well."""
    # Whoever draws the page anew by a clock asks for this first: a rerun would close the dialog.
    state.put(state.BRANCHES_ASKING, value=True)
    st.dialog(title, on_dismiss="rerun")(_ask)(label, do, value=value, hint=hint, button=button, is_long=is_long)


def _ask(label: str, do: Callable[[str], None], *, value: str, hint: str, button: str, is_long: bool) -> None:
    if hint:
        st.caption(hint)
    with st.form("branches.ask", border=False):
        text = (
            st.text_area(label, value=value, height=180, key="branches.asked")
            if is_long
            else st.text_input(label, value=value, key="branches.asked")
        )
        if st.form_submit_button(button, type="primary"):
            try:
                do(text or "")
            except SkeinError as error:
                st.error(plain(str(error)))
            else:
                st.rerun()
