"""What a run's events say when they are looked at together: spans of nodes, rates, the first token.

Pure functions over events, the same for a live run, a finished one and a replay.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.runs.events import Event


@dataclass
class Span:
    """A node or tool at work: when it began and how long it took, in ms; the time that it waits is not counted."""

    name: str
    kind: str
    began_ms: int
    key: str
    depth: int = 0
    took_ms: int | None = None
    detail: Any = None
    failed: bool = False
    call_id: str | None = None
    waits: bool = False
    since_ms: int = 0
    spent_ms: int = 0

    def go_on(self, at_ms: int) -> None:
        self.waits, self.since_ms, self.took_ms = False, at_ms, None

    def rest(self, at_ms: int) -> None:
        """It waits for a person: what it has worked so far is kept."""
        self.waits, self.spent_ms = True, self.spent_ms + at_ms - self.since_ms

    def finish(self, at_ms: int) -> None:
        self.took_ms = self.spent_ms + (0 if self.waits else at_ms - self.since_ms)
        self.waits = False


@dataclass
class RunSummary:
    """The figures of one run; a rate is in tokens per second, from the first token to the last.

    Every time is one of work: how long the run waited for people (``waited_ms``) is taken out of those behind it.
    """

    spans: list[Span] = field(default_factory=list)
    tokens: int = 0
    first_token_ms: int | None = None
    last_token_ms: int | None = None
    end: dict[str, Any] | None = None
    end_ms: int | None = None
    waited_ms: int = 0

    @property
    def tokens_per_second(self) -> float | None:
        if self.first_token_ms is None or self.last_token_ms is None or self.tokens < 2:
            return None
        seconds = (self.last_token_ms - self.first_token_ms) / 1000
        return (self.tokens - 1) / seconds if seconds > 0 else None

    @property
    def working(self) -> Span | None:
        """What began last and has neither ended nor waits."""
        if self.end is not None:
            return None
        return next((span for span in reversed(self.spans) if span.took_ms is None and not span.waits), None)

    def add(self, events: Sequence[Event]) -> None:
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        at_ms = event.at_ms - self.waited_ms
        match event.kind:
            case "token":
                self.tokens += 1
                self.first_token_ms = at_ms if self.first_token_ms is None else self.first_token_ms
                self.last_token_ms = at_ms
            case "node" | "tool":
                self._add_span(event, at_ms)
            case "resumed":
                self._go_on(at_ms)
            case "end":
                self._end(event.payload, at_ms)

    def _end(self, payload: dict[str, Any], at_ms: int) -> None:
        self.end, self.end_ms = payload, at_ms
        for span in self.spans:
            if span.took_ms is not None:
                continue
            if payload.get("status") != "waiting":
                span.finish(at_ms)
                span.failed = True
            elif not span.waits:
                span.rest(at_ms)

    def _go_on(self, at_ms: int) -> None:
        """A person has decided: what waited goes on as soon as it begins again."""
        if self.end_ms is not None:
            self.waited_ms += max(at_ms - self.end_ms, 0)
        self.end = self.end_ms = None

    def _add_span(self, event: Event, at_ms: int) -> None:
        payload = event.payload
        match payload["phase"]:
            case "start":
                self._begin(event, at_ms)
            case "end":
                key = str(payload.get("task") or payload.get("id"))
                span = next((one for one in reversed(self.spans) if one.key == key), None)
                if span is not None:
                    _settle(span, payload, at_ms)

    def _begin(self, event: Event, at_ms: int) -> None:
        key = str(event.payload.get("task") or event.payload.get("id"))
        waiting = next((span for span in self.spans if span.waits and _is_same(span, key, event)), None)
        if waiting is not None:
            waiting.key = key
            waiting.go_on(at_ms)
            return
        depth = len(event.payload.get("ns") or ()) + (1 if event.kind == "tool" else 0)
        span = Span(event.node or "", event.kind, at_ms, key, depth, since_ms=at_ms)
        span.detail = event.payload.get("args")
        span.call_id = event.payload.get("call_id")
        self.spans.append(span)


def _is_same(span: Span, key: str, event: Event) -> bool:
    """A node that is begun again is the same task; a tool runs anew, for the same call."""
    call_id = event.payload.get("call_id")
    return span.key == key or (call_id is not None and span.call_id == call_id)


def _settle(span: Span, payload: dict[str, Any], at_ms: int) -> None:
    if payload.get("waits"):
        span.rest(at_ms)
        return
    span.finish(at_ms)
    span.failed = bool(payload.get("error"))
    span.detail = payload.get("error") or payload.get("result") or span.detail


def summarize(events: Sequence[Event]) -> RunSummary:
    summary = RunSummary()
    summary.add(events)
    return summary


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 11th."""
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def replay(events: Sequence[Event], *, speed: float, pace: float = 0.1) -> Iterator[list[Event]]:
    """A finished run's events as ``attach`` would have given them, ``speed`` times as fast (0: at once)."""
    if speed <= 0:
        yield list(events)
        return
    began, place = time.monotonic(), 0
    while place < len(events):
        now_ms = (time.monotonic() - began) * 1000 * speed
        due = place
        while due < len(events) and events[due].at_ms <= now_ms:
            due += 1
        yield list(events[place:due])
        place = due
        if place < len(events):
            wait_ms = events[place].at_ms - (time.monotonic() - began) * 1000 * speed
            time.sleep(min(max(wait_ms / 1000 / speed, pace), 0.25))
