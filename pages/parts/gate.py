"""Few pages draw at the same moment, so that those who came first are served first.

Drawing is work for the processor, and Python does one such thing at a time: fifty pages drawn together are all
late, two at a time only the last ones are. Invariant: nobody waits here for long, and nobody holds on while a
run is followed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_AT_ONCE = 2
_PATIENCE_SECONDS = 2.0
_places = threading.BoundedSemaphore(_AT_ONCE)
_here = threading.local()


@contextmanager
def drawing() -> Iterator[None]:
    """Wait for a place, and give it back at the end."""
    _here.held = _places.acquire(timeout=_PATIENCE_SECONDS)
    try:
        yield
    finally:
        leave()


def leave() -> None:
    """Give the place of this page back already: from here on it only waits."""
    if getattr(_here, "held", False):
        _here.held = False
        _places.release()
