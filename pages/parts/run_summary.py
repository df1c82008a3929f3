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
    """A node or tool at work: when it began and how long it took, in ms since the run began."""

    name: str
    kind: str
    began_ms: int
    key: str
    depth: int = 0
    took_ms: int | None = None
    detail: Any = None
    failed: bool = False


@dataclass
class RunSummary:
    """The figures of one run; a rate is in tokens per second, from the first token to the last."""

    spans: list[Span] = field(default_factory=list)
    tokens: int = 0
    first_token_ms: int | None = None
    last_token_ms: int | None = None
    end: dict[str, Any] | None = None
    end_ms: int | None = None

    @property
    def tokens_per_second(self) -> float | None:
        if self.first_token_ms is None or self.last_token_ms is None or self.tokens < 2:
            return None
        seconds = (self.last_token_ms - self.first_token_ms) / 1000
        return (self.tokens - 1) / seconds if seconds > 0 else None

    @property
    def working(self) -> Span | None:
        """What began last and has not ended."""
        return next((span for span in reversed(self.spans) if span.took_ms is None), None)

    def add(self, events: Sequence[Event]) -> None:
        for event in events:
            self._add(event)

    def _add(self, event: Event) -> None:
        match event.kind:
            case "token":
                self.tokens += 1
                self.first_token_ms = event.at_ms if self.first_token_ms is None else self.first_token_ms
                self.last_token_ms = event.at_ms
            case "node" | "tool":
                self._add_span(event)
            case "end":
                self.end, self.end_ms = event.payload, event.at_ms
                self._close_open_spans(event.at_ms)

    def _add_span(self, event: Event) -> None:
        key = str(event.payload.get("task") or event.payload.get("id"))
        if event.payload["phase"] == "start":
            depth = len(event.payload.get("ns") or ()) + (1 if event.kind == "tool" else 0)
            span = Span(event.node or "", event.kind, event.at_ms, key, depth, detail=event.payload.get("args"))
            self.spans.append(span)
            return
        span = next((span for span in self.spans if span.key == key), Span(event.node or "", event.kind, 0, key))
        span.took_ms = event.at_ms - span.began_ms
        span.failed = bool(event.payload.get("error"))
        span.detail = event.payload.get("error") or event.payload.get("result") or span.detail

    def _close_open_spans(self, at_ms: int) -> None:
        for span in self.spans:
            if span.took_ms is None:
                span.took_ms, span.failed = at_ms - span.began_ms, True


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
