"""The housekeeper: on a thread of its own it takes away, now and then, what nobody can come back to any more.

Invariant: whatever fails, the next round comes; several processes may keep one house.
"""

import threading
import time
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

import structlog
from langgraph.checkpoint.base import BaseCheckpointSaver

from core.checkpoints.compact import compact, count_checkpoints, incremental_vacuum
from core.database import Database
from core.errors import BusyError
from core.records.compaction import Compacted, compact_threads
from core.records.deletion import purge_conversations, purge_sessions
from core.records.purge import purge_branches
from core.records.retention import run_due
from core.runs.loop import LoopThread
from core.tables import utc_now

_ROUND_SECONDS = 15.0
_COMPACT_EVERY_SECONDS = 3600.0
_PAGES_AT_ONCE = 500
log = structlog.get_logger("skein.records")


class Housekeeper:
    """Purges what was deleted, runs the retention rules, and compacts threads ``compact_after`` their end."""

    def __init__(
        self,
        *,
        database: Database,
        saver: BaseCheckpointSaver[Any],
        loop: LoopThread,
        compact_after: timedelta,
    ) -> None:
        self._database, self._saver, self._loop = database, saver, loop
        self._compact_after = compact_after
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="skein-housekeeper", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def purge(self) -> int:
        """Take away the branches and sessions that were deleted more than a minute ago; gives how many."""
        branches = purge_branches(self._database, self.forget_thread)
        return branches + purge_sessions(self._database, self.forget_thread)

    def keep_rules(self) -> int:
        """Run the retention rules that are due, and take away conversations that were deleted alone."""
        purge_conversations(self._database, self.forget_thread)
        return run_due(self._database)

    def compact(self) -> Compacted:
        """Compact the threads that are due, and give the space back."""
        before = utc_now() - self._compact_after
        done = compact_threads(self._database, self._count, self._compact_one, before=before)
        if done.checkpoints:
            self._loop.run(incremental_vacuum(self._saver, _PAGES_AT_ONCE))
            log.info("compacted", threads=done.threads, checkpoints=done.checkpoints)
        return done

    def _run(self) -> None:
        compacted_at = 0.0
        while not self._closing.wait(_ROUND_SECONDS):
            try:
                self.purge()
                if not compacted_at or time.monotonic() - compacted_at > _COMPACT_EVERY_SECONDS:
                    compacted_at = time.monotonic()
                    self.keep_rules()
                    self.compact()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next round must come
                log.warning("housekeeping_failed", error=type(error).__name__)

    def forget_thread(self, thread_id: str) -> None:
        """Delete the checkpoints of a thread."""
        self._loop.run(self._saver.adelete_thread(thread_id))

    def _count(self, thread_ids: Sequence[str]) -> dict[str, int]:
        return self._loop.run(count_checkpoints(self._saver, thread_ids))

    def _compact_one(self, thread_id: str, keep: Collection[str]) -> int:
        try:
            return self._loop.run(compact(self._saver, thread_id=thread_id, keep=keep))
        except BusyError:  # another process is at it
            return 0
