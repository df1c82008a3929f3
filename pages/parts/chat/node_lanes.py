"""What other nodes say beside the answer: each has its lane while the run goes on, and a fold afterwards.

Invariant: a lane sends only its newest piece, and shows no more than the last of what was said.
"""

from collections.abc import Iterable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.history.turns import Turn
from core.runs.events import VOICE, Event
from core.runs.history import read_asides
from core.skein import Skein
from pages.parts.chat.markdown_blocks import Segments
from pages.parts.ui.answer_text import AnswerText, as_markdown
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain

# What is said beside an answer: by other nodes, by a model that thinks, or in its place until it was set right.
BESIDE = frozenset({"aside", "thought", "answer"})
MOST_LANES = 6
_LIVE_TAIL = 2_000
_MOST_ELEMENTS = 4
_WIDTH, _HEIGHT = 300, 220


class Lanes:
    """The lanes of one run, drawn at their place as soon as somebody speaks."""

    def __init__(self, place: DeltaGenerator) -> None:
        self._place = place
        self._row: DeltaGenerator | None = None
        self._lanes: dict[str, _Lane | None] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Draw what was said since, each voice in its own lane."""
        said: dict[str, list[str]] = {}
        for event in events:
            if event.kind == "aside":
                said.setdefault(event.node or "", []).append(event.payload)
            elif event.kind == "thought":
                said.setdefault(f"{event.node or ''}{VOICE}thinking", []).append(event.payload)
        for voice, texts in said.items():
            if voice not in self._lanes:
                self._lanes[voice] = self._begin(voice)
            if lane := self._lanes[voice]:
                lane.add("".join(texts))

    def _begin(self, voice: str) -> "_Lane | None":
        if len(self._lanes) >= MOST_LANES:
            return None
        if self._row is None:
            self._row = self._place.container(horizontal=True, gap="small")
        return _Lane(self._row.container(width=_WIDTH, gap="xxsmall"), voice)


class _Lane:
    """One voice: a few elements below each other, of which only the last one grows."""

    def __init__(self, place: DeltaGenerator, voice: str) -> None:
        place.caption(f":material/record_voice_over: {plain(voice) or 'aside'}")
        self._place = place.container(border=True, height=_HEIGHT, autoscroll=True)
        self._answer = AnswerText()
        self._segments = Segments(_nothing)
        self._elements: list[DeltaGenerator] = []
        self._text = ""

    def add(self, text: str) -> None:
        changed = False
        for chunk in self._segments.add(self._answer.add(text)):
            if isinstance(chunk, str):
                self._text += chunk
                changed = True
                continue
            self._draw()
            self._text, changed = "", False
            self._elements.append(self._place.empty())
            if len(self._elements) > _MOST_ELEMENTS:
                self._elements.pop(0).empty()
        if changed:
            self._draw()

    def _draw(self) -> None:
        if not self._elements:
            self._elements.append(self._place.empty())
        self._elements[-1].markdown(self._text[-_LIVE_TAIL:])


def _nothing() -> None:
    """Stands between two elements."""


def draw_asides(skein: Skein, viewer: Viewer, turn: Turn, voices: int) -> None:
    """A closed fold costs nothing; what was said beside the answer is read when it is opened."""
    fold = st.expander(
        f"Said beside the answer: {counted(voices, 'voice')}",
        key=f"chat.asides.{turn.thread_id}",
        on_change="rerun",
        icon=":material/record_voice_over:",
        type="compact",
    )
    if not fold.open:
        return
    with skein.database.read() as db:
        said = read_asides(viewer, db, turn.thread_id)
    with fold:
        for tab, text in zip(st.tabs([plain(voice) or "aside" for voice in said]), said.values(), strict=True):
            with tab:
                st.markdown(as_markdown(text))
