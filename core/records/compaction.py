"""Finished threads keep only what can still be started from: their last state, snapshots and fork points.

Invariant: what is kept is exactly as it was, and is all that anybody has named, for each thread is claimed first. A
thread that waits for a person, or was cut short, is left whole: it may yet be taken up from any of its states.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy import bindparam, select, union

from core.database import Database, table_of
from core.history.clearing import claim_states, release_states
from core.ids import ThreadId
from core.tables import Snapshot, Thread

_THREADS_AT_ONCE = 200
log = structlog.get_logger("skein.records")
_thread, _snapshot = table_of(Thread), table_of(Snapshot)


@dataclass(frozen=True)
class Compacted:
    """What one round did."""

    threads: int = 0
    checkpoints: int = 0


Count = Callable[[Sequence[str]], dict[str, int]]
Compact = Callable[[str, Collection[str]], int]


def compact_threads(database: Database, count: Count, compact: Compact, *, before: datetime) -> Compacted:
    """Compact every thread that was done before then.

    ``count`` gives the root checkpoints of some threads, ``compact`` drops those of one thread that are not among
    the ones to keep, and gives how many went.
    """
    after, threads, checkpoints = "", 0, 0
    while done := _list_done(database, before, after):
        after = done[-1]
        for thread_id in [found for found, number in count(done).items() if number > 1]:
            try:
                gone = _compact_claimed(database, compact, ThreadId(thread_id))
            except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not keep the others
                log.warning("compaction_failed", thread_id=thread_id, error=type(error).__name__)
                continue
            threads, checkpoints = threads + (gone > 0), checkpoints + gone
    return Compacted(threads, checkpoints)


def _compact_claimed(database: Database, compact: Compact, thread_id: ThreadId) -> int:
    """What ``compact`` drops of one thread, while nobody can name a state of it; nothing when another is at it."""
    if not database.write(lambda db: claim_states(db, thread_id)):
        return 0
    try:
        return compact(thread_id, _read_kept(database, thread_id))
    finally:
        database.write(lambda db: release_states(db, thread_id))


def _list_done(database: Database, before: datetime, after: str) -> list[str]:
    with database.read() as db:
        given = {"before": before, "after": after}
        return list(db.connection().execute(_DONE, given).scalars())


def _read_kept(database: Database, thread_id: str) -> set[str]:
    """The checkpoints of a thread that a snapshot names, or that other threads started from."""
    with database.read() as db:
        found = db.connection().execute(_KEPT, {"thread": thread_id}).scalars()
        return {checkpoint for checkpoint in found if checkpoint}


_DONE = (
    select(_thread.c.thread_id)
    .where(
        _thread.c.thread_id > bindparam("after"),
        _thread.c.ended_at < bindparam("before"),
        _thread.c.status == "done",
    )
    .order_by(_thread.c.thread_id)
    .limit(_THREADS_AT_ONCE)
)
_KEPT = union(
    select(_snapshot.c.checkpoint_id).where(_snapshot.c.thread_id == bindparam("thread")),
    select(_thread.c.source_checkpoint_id).where(_thread.c.parent_thread_id == bindparam("thread")),
)
