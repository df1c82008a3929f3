"""A deed that takes its time, done in a callback, with a bar that tells how much of it is done.

Invariant: it is done to its end, whatever becomes of the page meanwhile: one that was left only has no bar.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.scriptrunner import StopException
from streamlit.runtime.scriptrunner_utils.script_run_context import suppress_fragment_callback_warning

from pages.parts.ui.format import count, counted

T = TypeVar("T")
Report = Callable[[int, int], None]
"""Hears how much is done of how much."""
_PACE = 0.1


def do_with_bar(place: DeltaGenerator, deed: Callable[[Report], T], *, noun: str, begin: str) -> T:
    """Do it, and tell in this place (an ``st.empty()`` of the page) a few times per second how far it is."""
    drawn = 0.0
    is_seen = True

    def draw(share: float, text: str) -> None:
        nonlocal drawn, is_seen
        if not is_seen or time.monotonic() - drawn < _PACE:
            return
        drawn = time.monotonic()
        try:
            # It warns that elements of a callback come to stand at the page's top: this one has its place.
            with suppress_fragment_callback_warning():
                place.progress(share, text)
        except StopException:
            is_seen = False

    draw(0.0, begin)
    return deed(lambda done, of: draw(min(done / of, 1.0) if of else 0.0, f"{count(done)} of {counted(of, noun)}"))
