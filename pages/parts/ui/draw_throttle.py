"""One page draws at a moment, so that those who came first are served first.

Drawing is work for the processor, and Python does one such thing at a time: fifty pages drawn together are all
late, one at a time only the last ones are. Invariant: nobody waits here for long, and nobody holds on while
something is waited for: a commit, a token, a file.
"""

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

_AT_ONCE = 1
_PATIENCE_SECONDS = 2.0
_Waiting = tuple[bool, int, threading.Event]


class Gate:
    """So many places to draw at, given in the order in which they are asked for; those who go on come first."""

    def __init__(self, places: int) -> None:
        self._lock = threading.Lock()
        self._free = places
        self._waiting: list[_Waiting] = []
        self._order = count()

    def enter(self, *, is_new: bool) -> bool:
        """Wait for a place; False when patience ends first, and one draws without."""
        with self._lock:
            if self._free > 0:
                self._free -= 1
                return True
            waiting = (is_new, next(self._order), threading.Event())
            heapq.heappush(self._waiting, waiting)
        return waiting[2].wait(_PATIENCE_SECONDS) or self._was_given(waiting)

    def _was_given(self, waiting: _Waiting) -> bool:
        with self._lock:
            if waiting[2].is_set():
                return True
            self._waiting.remove(waiting)
            heapq.heapify(self._waiting)
            return False

    def leave(self) -> None:
        """Give the place to whoever waits for one."""
        with self._lock:
            if self._waiting:
                heapq.heappop(self._waiting)[2].set()
            else:
                self._free += 1


_gate = Gate(_AT_ONCE)
_here = threading.local()


@contextmanager
def drawing(*, is_new: bool = True) -> Iterator[None]:
    """Wait for a place, and give it back at the end; ``is_new``: behind those who only go on."""
    _here.held = _gate.enter(is_new=is_new)
    try:
        yield
    finally:
        leave()


def leave() -> None:
    """Give the place of this page back already: from here on it only waits."""
    if getattr(_here, "held", False):
        _here.held = False
        _gate.leave()
