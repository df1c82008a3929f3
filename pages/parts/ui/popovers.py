"""Popovers that cost nothing while they are closed: what is in them is drawn, and read, when they are opened.

Invariant: to open one draws nothing else of the page anew.
"""

from collections.abc import Callable

import streamlit as st


def draw_popover(label: str, draw: Callable[[], None], *, icon: str, key: str) -> None:
    """A popover that stands for itself; ``draw`` draws what is in it."""

    def draw_it() -> None:
        with st.popover(label, icon=icon, type="tertiary", key=key, on_change="rerun") as popover:
            if popover.open:
                draw()

    st.fragment(draw_it)()
