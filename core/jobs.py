"""Jobs that wait for a writer: in the order they came, each with the time by which it has to be begun.

What nobody waits for may wait for company: it goes along with the next job that is urgent, or with others of its
kind when its time has come. Invariant: jobs are taken in the order in which they were put, and none is kept longer
than it said, but for the work before it.
"""

import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")
_LARGEST_BATCH = 200


@dataclass(frozen=True)
class Queued(Generic[T]):
    """A job, the moment (of the monotonic clock) by which it has to be begun, and who waits for it."""

    job: T
    due: float = 0.0
    result: "Future[Any]" = field(default_factory=Future)


class JobQueue(Generic[T]):
    """Jobs of any number of threads for the one that takes them."""

    def __init__(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._waiting: deque[Queued[T]] = deque()
        self._due = math.inf
        self._closed = False

    def put(self, job: T, *, within: float = 0.0) -> Queued[T] | None:
        """Queue a job that has to be begun within so many seconds; None when the queue is closed."""
        queued = Queued(job, time.monotonic() + within if within else 0.0)
        with self._changed:
            if self._closed:
                return None
            self._waiting.append(queued)
            if queued.due < self._due:
                # The taker is woken for no other reason: until then it lets more come.
                self._due = queued.due
                self._changed.notify()
        return queued

    def take(self) -> list[Queued[T]]:
        """Wait until a job is due, then give all that are there; none when the queue is closed and empty."""
        with self._changed:
            while not self._closed and (seconds := self._due - time.monotonic()) > 0:
                self._changed.wait(None if seconds == math.inf else seconds)
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), _LARGEST_BATCH))]
            self._due = min((one.due for one in self._waiting), default=math.inf)
        return taken

    def close(self) -> None:
        """Take no more jobs; those that wait are due now."""
        with self._changed:
            self._closed = True
            self._changed.notify()
