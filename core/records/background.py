"""What was changed is counted, indexed and sealed about a second later, on a thread of its own.

Invariant: whatever fails, the next round comes, and nothing is lost by it, for what is to be done waits in the
database; several processes may be at it.
"""

import threading
import time
from collections.abc import Callable, Sequence

import structlog

from core.calls.proof.activity import seal_activity
from core.database import Database
from core.history.browse.counting import count_changed
from core.history.search import index_messages
from core.outside import read_failure

_ROUND_SECONDS = 1.0
_WITHIN = 0.2  # what a round begins with may wait for others to be written with
_LONGEST_SECONDS = 0.5  # of one chore in a round: while many talk at once there is always more of it
log = structlog.get_logger("skein.records")

Chore = Callable[[Database], int]
"""Does a part of what waits, in one short transaction, and says how much that was; 0 when nothing waits."""

CHORES: tuple[Chore, ...] = (count_changed, index_messages, seal_activity)


class Background:
    """Does the chores of one open Skein; ``close`` stops after the part that is in hand."""

    def __init__(self, database: Database, *, chores: Sequence[Chore] = CHORES) -> None:
        self._database, self._chores = database, chores
        self._patient = database.patient(_WITHIN)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="skein-background", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(_ROUND_SECONDS):
            for chore in self._chores:
                self._do(chore)

    def _do(self, chore: Chore) -> None:
        try:
            end, before = time.monotonic() + _LONGEST_SECONDS, 0
            done = chore(self._patient)
            # A part that is much smaller than the one before is only what has come meanwhile: that can wait.
            while done and done * 2 >= before and not self._closing.is_set() and time.monotonic() < end:
                before, done = done, chore(self._database)
        except Exception as error:  # noqa: BLE001 - whatever it was, the other chores and the next round must come
            log.warning(
                "chore_failed", chore=chore.__name__, error=type(error).__name__, text=read_failure(error, 300)
            )
