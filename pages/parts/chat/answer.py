"""The one renderer of a run's events: live, afterwards, and replayed. Drawing never writes.

It reads lists of events as ``Engine.attach`` yields them and draws the answer with ``st.write_stream``, each tool
call at its place between the text; above it a line that says what works and since when, bars for what nodes report,
and a lane for each node that speaks beside the answer.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.errors import NotFoundError, SignInError
from core.ids import ThreadId
from core.runs.events import Event
from core.skein import Skein
from pages.parts.chat.markdown_blocks import Segments
from pages.parts.chat.node_lanes import Lanes
from pages.parts.chat.node_progress import Bars
from pages.parts.chat.run_summary import RunSummary, Span, ordinal
from pages.parts.chat.tool_call_view import MOST_BLOCKS, CallBlock
from pages.parts.chat.tool_calls import ToolCall, ToolCalls
from pages.parts.ui import draw_throttle
from pages.parts.ui.answer_text import AnswerText
from pages.parts.ui.format import milliseconds
from pages.parts.ui.text import plain

_PACE = 0.1
_SILENCE = 1.5
_CURSOR = "▍"
_Chunk = str | Callable[[], None]


class Show(StrEnum):
    """What a viewer wants to see of an answer that is being written."""

    TOKENS = "tokens"
    STEPS = "steps"
    RESULT = "result"


def follow_run(skein: Skein, viewer: Viewer, thread_id: ThreadId) -> Iterator[list[Event]]:
    """What a live run does, for ``draw_answer``; the page anew where the viewer may not see it any more."""
    lists = skein.engine.attach(viewer, thread_id, pace=_PACE)
    try:
        yield from lists
    except (NotFoundError, SignInError):
        st.rerun()


def draw_answer(
    batches: Iterable[list[Event]],
    *,
    show: Show,
    place_of: Callable[[], int | None] = lambda: None,
    meanwhile: Callable[[], None] = lambda: None,
    above: DeltaGenerator | None = None,
    problem: Callable[[], str | None] = lambda: None,
) -> RunSummary:
    """Draw the events as they come, until they end; gives what they add up to.

    ``meanwhile`` is called once, after the first token or heartbeat: for what can be drawn later than that.
    What is no part of the answer goes ``above`` it, also a ``problem`` for as long as there is one.
    """
    draw_throttle.leave()
    return _Drawing(show, place_of, meanwhile, above or st.container(), problem).run(batches)


class _Drawing:
    def __init__(
        self,
        show: Show,
        place_of: Callable[[], int | None],
        meanwhile: Callable[[], None],
        above: DeltaGenerator,
        problem: Callable[[], str | None],
    ) -> None:
        self._show = show
        self._problem = problem
        self._place_of = place_of
        self._meanwhile: Callable[[], None] | None = meanwhile
        self._summary = RunSummary()
        self._status, self._steps = _Line(above), _Line(above)
        self._bars, self._lanes = Bars(above), Lanes(above)
        self._calls = ToolCalls()
        self._blocks: dict[ToolCall, CallBlock] = {}
        self._to_open: list[ToolCall] = []
        self._answer = AnswerText()
        self._segments = Segments(_nothing)
        self._held: list[str] = []
        self._began = time.monotonic()
        self._last_text = 0.0

    def run(self, batches: Iterable[list[Event]]) -> RunSummary:
        st.write_stream(self._chunks(batches), cursor=_CURSOR)
        self._status.write("")
        self._bars.clear()
        return self._summary

    def _chunks(self, batches: Iterable[list[Event]]) -> Iterator[_Chunk]:
        for events in batches:
            self._take(events)
            yield from self._draw(events)
            if self._meanwhile is not None and (self._last_text or not events):
                self._meanwhile()
                self._meanwhile = None
        if self._meanwhile is not None:
            self._meanwhile()
        yield from self._segments.add(self._answer.add("".join(self._held)) + self._answer.end())
        yield from self._open_blocks()

    def _draw(self, events: list[Event]) -> Iterator[_Chunk]:
        """Text and tool calls in the order in which they came; blocks that stand already are brought up to date."""
        texts: list[str] = []
        changed: dict[ToolCall, None] = {}
        for event in events:
            if event.kind == "token":
                texts.append(event.payload)
            elif (call := self._calls.add(event)) is not None:
                changed[call] = None
                if self._is_new(call):
                    yield from self._say(texts)
                    self._to_open.append(call)
                    yield from self._open_blocks(unless_inside=True)
        yield from self._say(texts)
        for call in changed:
            if call in self._blocks:
                self._blocks[call].update()

    def _is_new(self, call: ToolCall) -> bool:
        is_seen = call in self._blocks or call in self._to_open
        return self._show is not Show.RESULT and not is_seen and len(self._blocks) < MOST_BLOCKS

    def _say(self, texts: list[str]) -> Iterator[_Chunk]:
        text = "".join(texts)
        texts.clear()
        if self._show is not Show.TOKENS:
            self._held.append(text)
        elif text:
            yield from self._segments.add(self._answer.add(text))
            yield from self._open_blocks(unless_inside=True)

    def _open_blocks(self, *, unless_inside: bool = False) -> Iterator[_Chunk]:
        """Blocks stand between texts, but never inside a fence or a formula that is still being written."""
        if not self._to_open or (unless_inside and self._segments.is_open):
            return
        yield from self._segments.add(self._answer.end())
        self._segments.end()
        for call in self._to_open:
            yield partial(self._open, call)
        self._to_open.clear()

    def _open(self, call: ToolCall) -> None:
        self._blocks[call] = CallBlock(call)

    def _take(self, events: list[Event]) -> None:
        self._summary.add(events)
        if any(event.kind == "token" for event in events):
            self._last_text = time.monotonic()
        if self._show is not Show.RESULT:
            self._bars.add(events)
            self._lanes.add(events)
        if self._show is Show.STEPS:
            self._steps.write("  \n".join(_step(span) for span in self._summary.spans if span.kind == "node"))
        self._status.write(self._describe())

    def _describe(self) -> str:
        """What is the matter, or which node works and since when; nothing while text is flowing."""
        if problem := self._problem():
            return f":material/sync_problem: {plain(problem)}"
        if time.monotonic() - self._last_text < _SILENCE and self._show is Show.TOKENS:
            return ""
        seconds = int(time.monotonic() - self._began)
        since = f" · {seconds} s" if seconds else ""
        span = self._summary.working
        if span is not None:
            return f":material/hourglass_top: **{plain(span.name)}** is at work{since}{self._bars.text}"
        place = self._place_of() if not self._summary.spans else None
        if place is not None:
            return f":material/schedule: Queued, {ordinal(place)}{since}"
        return f":material/hourglass_top: Starting{since}"


class _Line:
    """A caption that changes; it takes no place, and costs nothing, before it has something to say."""

    def __init__(self, above: DeltaGenerator) -> None:
        self._above = above
        self._place: DeltaGenerator | None = None
        self._text = ""

    def write(self, text: str) -> None:
        if text == self._text:
            return
        self._text = text
        self._place = self._place or self._above.empty()
        if text:
            self._place.caption(text)
        else:
            self._place.empty()


def _nothing() -> None:
    """Given to ``st.write_stream`` between two texts, it closes the element of the first."""


def _step(span: Span) -> str:
    if span.took_ms is None:
        return f":material/arrow_right: {plain(span.name)} …"
    mark = ":red[:material/close:]" if span.failed else ":material/check:"
    return f":material/arrow_right: {plain(span.name)} {mark} {milliseconds(span.took_ms)}"
