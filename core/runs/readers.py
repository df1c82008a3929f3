"""Who follows the runs of this process, each at a pace.

Each list of events is drawn as a frame, and all of them by one process. Invariant: all readers together take at
most so many lists in a second, so that where very many read, each is a little slower, and none is left behind.
"""

import random
from collections.abc import Generator

from core.runs.events import Event
from core.runs.log import RunLog

HEARTBEAT_SECONDS = 0.25
MOST_FRAMES = 750


class Readers:
    """Those who follow live runs just now."""

    def __init__(self) -> None:
        self._paced: set[object] = set()

    def follow(self, run_log: RunLog, after: int, pace: float) -> Generator[list[Event], None, int]:
        """Yield a live log's events beyond ``after``, with ``pace`` seconds between; gives the last one's place."""
        reader = object()
        if pace:
            self._paced.add(reader)
        try:
            return (yield from self._follow(run_log, after, pace))
        finally:
            self._paced.discard(reader)

    def _follow(self, run_log: RunLog, after: int, pace: float) -> Generator[list[Event], None, int]:
        # The first pause is a part of the pace, so that readers do not move in step.
        part = random.uniform(0.5, 1.0)  # noqa: S311
        while True:
            closed = run_log.is_closed
            events = run_log.after(after) if closed else run_log.wait(after, HEARTBEAT_SECONDS)
            yield events
            if events:
                after = events[-1].seq
                run_log.pause(self.pace(pace) * part)
                part = 1.0
            elif closed:
                return after

    def pace(self, wanted: float) -> float:
        """The pace of a reader who wants this one; none at all is for who draws nothing."""
        return max(wanted, len(self._paced) / MOST_FRAMES) if wanted else 0.0
