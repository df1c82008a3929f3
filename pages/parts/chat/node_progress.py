"""Bars for what nodes report of their progress: one for each node, as long as the run goes on."""

import math
from collections.abc import Iterable
from typing import Any

from streamlit.delta_generator import DeltaGenerator

from core.runs.events import Event
from pages.parts.ui.text import plain, shortened

MOST_BARS = 8
_LONGEST = 120


def read_share(payload: Any) -> float | None:
    """How much is done, 0 to 1: of ``progress``, or ``done`` of ``total``; None where neither is a number."""
    if not isinstance(payload, dict):
        return None
    share = _number(payload.get("progress"))
    if share is None:
        done, total = _number(payload.get("done")), _number(payload.get("total"))
        share = done / total if done is not None and total else None
    return None if share is None else min(max(share, 0.0), 1.0)


def read_text(payload: Any) -> str:
    """What the report says, in a line."""
    if isinstance(payload, dict):
        said = payload.get("text") or payload.get("message")
        if said is None and read_share(payload) is not None:
            done, total = payload.get("done"), payload.get("total")
            return f"{done:,} of {total:,}" if _number(payload.get("progress")) is None else ""
        payload = said or payload.get("progress") or payload
    return plain(shortened(" ".join(str(payload).split()), _LONGEST))


def _number(value: Any) -> float | None:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if is_number else None


class Bars:
    """The bars of one run, drawn at their place; what has no share is the latest ``text`` instead."""

    def __init__(self, place: DeltaGenerator) -> None:
        self._place = place
        self._bars: dict[str, DeltaGenerator] = {}
        self.text = ""

    def add(self, events: Iterable[Event]) -> None:
        """Draw the newest report of each node."""
        newest: dict[str, Event] = {}
        for event in events:
            if event.kind != "progress":
                continue
            if read_share(event.payload) is None:
                self.text = f" · {read_text(event.payload)}"
            else:
                newest[_name(event)] = event
        for name, event in newest.items():
            self._draw(name, event.payload)

    def _draw(self, name: str, payload: Any) -> None:
        if name not in self._bars:
            if len(self._bars) >= MOST_BARS:
                return
            self._bars[name] = self._place.empty()
        text = " · ".join(part for part in (plain(name), read_text(payload)) if part)
        self._bars[name].progress(read_share(payload) or 0.0, text=text or None)

    def clear(self) -> None:
        for bar in self._bars.values():
            bar.empty()


def _name(event: Event) -> str:
    """Whose bar it is: a report may name itself, for several at once in one node."""
    named = event.payload.get("name")
    return shortened(named, 60) if isinstance(named, str) else event.node or ""
