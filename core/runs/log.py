"""A live run's events in memory, written from any thread and followed by any number of readers.

Invariant: readers see every event once and in order; a reader is never woken for a token while it is pacing, nor
for what is not worth it: so the first that it is given has words in it, or what a tool does.
"""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from core.outside import fit_data
from core.runs.events import Event, EventKind

# Not worth waking a reader for: it sees them with the next piece of text, or at its next heartbeat.
_QUIET = frozenset({"state", "node"})
_MOST_LATE = 100


class RunLog:
    """The growing log of one run: ``append`` while it runs, ``seal`` when it is over, ``close`` with its end."""

    def __init__(self, events: Sequence[Event] = (), *, on_late: Callable[[Event], object] | None = None) -> None:
        """``events`` are those of a run that paused, which now goes on.

        ``on_late`` is given what tools still do after the log was sealed, as events that stand behind its end.
        """
        self._on_late = on_late
        self._late = 0
        self._end_seq = 0
        self._events: list[Event] = list(events)
        self._changed = threading.Condition(threading.Lock())
        self._waiting = 0
        self._worth = len(self._events)  # the place of the last event that is worth waking for
        self._began = time.monotonic()
        self._sealed = False
        self._closed = threading.Event()

    def begin(self, ago: float = 0.0) -> None:
        """Start the clock of ``at_ms``: when the run begins, not when it was queued; ``ago`` seconds before now."""
        self._began = time.monotonic() - ago

    def append(self, kind: EventKind, node: str | None, payload: Any) -> None:
        """Add what happened; after the log was sealed (a late thread) only what tools do still counts.

        The payload may come from outside: no secret in it, nor what cannot be stored, is shown to a reader.
        """
        payload = fit_data(payload)
        at_ms = int((time.monotonic() - self._began) * 1000)
        with self._changed:
            if self._sealed:
                self._append_late(kind, at_ms, node, payload)
                return
            self._events.append(Event(len(self._events) + 1, at_ms, kind, node, payload))
            if kind not in _QUIET:
                self._worth = len(self._events)
                if self._waiting:
                    self._changed.notify_all()

    def _append_late(self, kind: EventKind, at_ms: int, node: str | None, payload: Any) -> None:
        if self._on_late is None or kind != "tool" or not self._end_seq or self._late >= _MOST_LATE:
            return
        self._late += 1
        self._on_late(Event(self._end_seq + self._late, at_ms, kind, node, payload))

    def seal(self, payload: Any) -> Event:
        """Take nothing more, and give the end event, which readers see once ``close`` is called with it."""
        with self._changed:
            self._sealed = True
            self._end_seq = len(self._events) + 1
            at_ms = int((time.monotonic() - self._began) * 1000)
            payload = fit_data(payload)
            return Event(self._end_seq, at_ms, "end", None, payload)

    def close(self, end: Event | None = None) -> None:
        """Let every reader finish, with this as the last event; without one, with what is there."""
        with self._changed:
            self._sealed = True
            if end is not None:
                self._events.append(end)
            self._closed.set()
            self._changed.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._closed.is_set()

    def __len__(self) -> int:
        return len(self._events)

    def after(self, seq: int) -> list[Event]:
        """The events beyond ``seq``, at once."""
        return self._events[seq:]

    def wait(self, seq: int, timeout: float) -> list[Event]:
        """The events beyond ``seq``, waiting up to ``timeout`` seconds for one that is worth waking for."""
        if self._worth > seq:
            return self._events[seq:]
        with self._changed:
            self._waiting += 1
            try:
                self._changed.wait_for(lambda: self._worth > seq or self._closed.is_set(), timeout)
            finally:
                self._waiting -= 1
        return self._events[seq:]

    def pause(self, seconds: float) -> None:
        """Sleep, but no longer than until the end of the run."""
        self._closed.wait(seconds)
