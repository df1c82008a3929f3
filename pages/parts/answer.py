"""The one renderer of a run's events: live, afterwards, and replayed. Drawing never writes.

It reads lists of events as ``Engine.attach`` yields them and draws the answer with ``st.write_stream``, with a
line above it that says what works and since when, and what nodes, tools and progress reports have to say.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum

import streamlit as st

from core.runs.events import Event
from pages.parts import gate
from pages.parts.blocks import Segments
from pages.parts.figures import milliseconds
from pages.parts.run_summary import RunSummary, Span, ordinal
from pages.parts.text import plain

PACE = 0.1
_SILENCE = 1.5
_CURSOR = "▍"


class Show(StrEnum):
    """What a viewer wants to see of an answer that is being written."""

    TOKENS = "tokens"
    STEPS = "steps"
    RESULT = "result"


def draw_answer(
    batches: Iterable[list[Event]],
    *,
    show: Show,
    place_of: Callable[[], int | None] = lambda: None,
    meanwhile: Callable[[], None] = lambda: None,
) -> RunSummary:
    """Draw the events as they come, until they end; gives what they add up to.

    ``meanwhile`` is called once, after the first token or heartbeat: for what can be drawn later than that.
    """
    gate.leave()
    return _Drawing(show, place_of, meanwhile).run(batches)


class _Drawing:
    def __init__(self, show: Show, place_of: Callable[[], int | None], meanwhile: Callable[[], None]) -> None:
        self._show = show
        self._place_of = place_of
        self._meanwhile: Callable[[], None] | None = meanwhile
        self._summary = RunSummary()
        self._status, self._steps = st.empty(), st.empty()
        self._status_text = self._steps_text = ""
        self._progress = ""
        self._began = time.monotonic()
        self._last_text = 0.0

    def run(self, batches: Iterable[list[Event]]) -> RunSummary:
        st.write_stream(self._chunks(batches), cursor=_CURSOR)
        self._write_status("")
        return self._summary

    def _chunks(self, batches: Iterable[list[Event]]) -> Iterator[str | Callable[[], None]]:
        segments, held = Segments(_nothing), []
        self._write_status(self._describe())
        for events in batches:
            self._take(events)
            text = "".join(event.payload for event in events if event.kind == "token")
            if self._show is Show.TOKENS and text:
                yield from segments.add(text)
            else:
                held.append(text)
            if self._meanwhile is not None and (text or not events):
                self._meanwhile()
                self._meanwhile = None
        if self._meanwhile is not None:
            self._meanwhile()
        yield from segments.add("".join(held))

    def _take(self, events: list[Event]) -> None:
        self._summary.add(events)
        if any(event.kind == "token" for event in events):
            self._last_text = time.monotonic()
        for event in events:
            if event.kind == "progress":
                self._progress = _progress_text(event.payload)
        if self._show is not Show.RESULT:
            self._write_steps()
        self._write_status(self._describe())

    def _describe(self) -> str:
        """Which node works and since when; nothing while text is flowing."""
        if time.monotonic() - self._last_text < _SILENCE and self._show is Show.TOKENS:
            return ""
        seconds = int(time.monotonic() - self._began)
        since = f" · {seconds} s" if seconds else ""
        span = self._summary.working
        if span is not None:
            return f":material/hourglass_top: **{plain(span.name)}** is at work{since}{self._progress}"
        place = self._place_of() if not self._summary.spans else None
        if place is not None:
            return f":material/schedule: Queued, {ordinal(place)}{since}"
        return f":material/hourglass_top: Starting{since}"

    def _write_status(self, text: str) -> None:
        if text != self._status_text:
            self._status_text = text
            if text:
                self._status.caption(text)
            else:
                self._status.empty()

    def _write_steps(self) -> None:
        spans = self._summary.spans
        if self._show is Show.TOKENS:
            spans = [span for span in spans if span.kind == "tool"]
        text = "  \n".join(_step(span) for span in spans)
        if text != self._steps_text:
            self._steps_text = text
            self._steps.caption(text)


def _nothing() -> None:
    """Given to ``st.write_stream`` between two texts, it closes the element of the first."""


def _step(span: Span) -> str:
    icon = "build" if span.kind == "tool" else "arrow_right"
    if span.took_ms is None:
        return f":material/{icon}: {plain(span.name)} …"
    mark = ":red[:material/close:]" if span.failed else ":material/check:"
    return f":material/{icon}: {plain(span.name)} {mark} {milliseconds(span.took_ms)}"


def _progress_text(payload: object) -> str:
    if isinstance(payload, dict):
        payload = payload.get("text") or payload.get("message") or payload.get("progress") or payload
    return f" · {plain(str(payload))[:120]}"
