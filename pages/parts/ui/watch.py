"""Looking by a clock, in a fragment, whether a page is still as it was drawn.

Invariant: no page loses its end by that. A timer of the page before may fire while the last of a new page is
still on its way, and Streamlit then drops that; such a tick comes too early, and has the whole page drawn anew.
A page that can show an answer while it is written has no clock at all.
"""

import time
from collections.abc import Callable

import streamlit as st

_MARGIN = 0.8


def look_every(seconds: float, look: Callable[[], None]) -> None:
    """Call ``look`` that often, for the first time when the page has stood for so long."""
    _begin(seconds, look, at_once=False)


def draw_every(seconds: float | None, draw: Callable[[], None]) -> None:
    """Draw this now, and, unless that is None, that often."""
    _begin(seconds, draw, at_once=True)


def _begin(seconds: float | None, do: Callable[[], None], *, at_once: bool) -> None:
    begun, is_first = time.monotonic(), True

    def tick() -> None:
        nonlocal is_first
        if not is_first and seconds is not None and time.monotonic() - begun < _MARGIN * seconds:
            st.rerun(scope="app")
        if at_once or not is_first:
            is_first = False
            do()
        is_first = False

    st.fragment(tick, run_every=seconds)()
