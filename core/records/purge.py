"""What was deleted is taken away for good, once it cannot be brought back any more.

Invariant: checkpoints go first and rows last, from the leaves up and the branch with the last of them, so that
whatever is cut short is found and finished the next time; the log of calls is never touched.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import bindparam, delete, or_, select, update
from sqlmodel import Session as Db

from core.database import Database, table_of
from core.history.branches import UNDO
from core.ids import BranchId, MessageId, ThreadId
from core.tables import (
    Annotation,
    Approval,
    ArtifactVersion,
    Branch,
    Message,
    RunEvent,
    Snapshot,
    Thread,
    utc_now,
)

T = TypeVar("T")
GRACE = timedelta(seconds=5)
# So that no transaction is long, however much is deleted.
_MESSAGES_AT_ONCE = 25
log = structlog.get_logger("skein.records")
_branch, _message, _thread = table_of(Branch), table_of(Message), table_of(Thread)
_version = table_of(ArtifactVersion)


@dataclass(frozen=True)
class _Gone:
    """A deleted branch with the messages and threads that went with it, the deepest first."""

    branch_id: BranchId
    messages: list[MessageId]
    threads: list[ThreadId]


def purge_branches(
    database: Database, forget_thread: Callable[[ThreadId], None], *, now: datetime | None = None
) -> int:
    """Take away the branches that were deleted more than a minute ago, with all that only they had; gives how many.

    ``forget_thread`` deletes a thread's checkpoints. A branch with a run that has not ended, or that another run is
    about to start from, is left for later, with what it grew from.
    """
    before, count = (now or utc_now()) - UNDO - GRACE, 0
    for gone in _find_gone(database, before):
        try:
            _purge(database, forget_thread, gone)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not keep the others
            log.warning("purge_failed", branch_id=gone.branch_id, error=type(error).__name__)
        else:
            count += 1
    return count


def _purge(database: Database, forget_thread: Callable[[ThreadId], None], gone: _Gone) -> None:
    for thread_id in gone.threads:
        forget_thread(thread_id)
    pairs = list(zip(gone.messages, gone.threads, strict=True))
    parts = [pairs[start : start + _MESSAGES_AT_ONCE] for start in range(0, len(pairs), _MESSAGES_AT_ONCE)] or [[]]
    for place, part in enumerate(parts, start=1):
        rest = parts[place][0][0] if place < len(parts) else None
        database.write(partial(_delete, branch_id=gone.branch_id, pairs=part, rest=rest))


def _find_gone(database: Database, before: datetime) -> list[_Gone]:
    with database.read() as db:
        rows = db.connection().execute(_DELETED, {"before": before}).all()
        return [gone for row in rows if (gone := _read_gone(db, row)) is not None]


def _read_gone(db: Db, row: Any) -> _Gone | None:
    found = db.connection().execute(_WITH_IT, {"conversation": row.conversation_id, "at": row.deleted_at}).all()
    threads = [ThreadId(item.thread_id) for item in found]
    if any(item.status in _LIVE for item in found):
        return None
    if db.connection().execute(_BELOW, {"conversation": row.conversation_id, "at": row.deleted_at}).first():
        return None
    if any(db.connection().execute(_AWAITED, {"threads": list(some)}).first() for some in _in_parts(threads, 500)):
        return None
    return _Gone(BranchId(row.branch_id), [MessageId(item.message_id) for item in found], threads)


def _in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _delete(
    db: Db, branch_id: BranchId, pairs: Sequence[tuple[MessageId, ThreadId]], rest: MessageId | None
) -> None:
    """Delete these messages with all of theirs; the branch itself ends with the ``rest`` until nothing is left."""
    messages, threads = [message for message, _ in pairs], [thread for _, thread in pairs]
    connection = db.connection()
    if rest is not None:
        connection.execute(update(_branch).where(_branch.c.branch_id == branch_id).values(head_message_id=rest))
    else:
        connection.execute(delete(_branch).where(_branch.c.branch_id == branch_id))
    for table, column, ids in (
        (RunEvent, "thread_id", threads),
        (Snapshot, "thread_id", threads),
        (Approval, "thread_id", threads),
        (Annotation, "target_id", [*messages, branch_id]),
        (Branch, "head_message_id", messages),
    ):
        connection.execute(delete(table_of(table)).where(table_of(table).c[column].in_(ids)))
    for statement in (_DROP_VERSIONS, _KEEP_VERSIONS, _ORPHAN):
        connection.execute(statement, {"threads": threads})
    connection.execute(delete(_thread).where(_thread.c.thread_id.in_(threads)))
    connection.execute(delete(_message).where(_message.c.message_id.in_(messages)))


_LIVE = ("queued", "running")
_DELETED = (
    select(_branch.c.branch_id, _branch.c.conversation_id, _branch.c.deleted_at)
    .where(_branch.c.deleted_at < bindparam("before"))
    .order_by(_branch.c.deleted_at)
)
_WITH_IT = (
    select(_message.c.message_id, _thread.c.thread_id, _thread.c.status)
    .join(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_message.c.conversation_id == bindparam("conversation"), _message.c.deleted_at == bindparam("at"))
    .order_by(_message.c.depth.desc())
)
# What was deleted before, and could not go yet.
_child = _message.alias("child")
_BELOW = (
    select(_child.c.message_id)
    .join(_message, _message.c.message_id == _child.c.parent_message_id)
    .where(
        _message.c.conversation_id == bindparam("conversation"),
        _message.c.deleted_at == bindparam("at"),
        _child.c.deleted_at.is_distinct_from(bindparam("at")),
    )
)
_AWAITED = select(_thread.c.thread_id).where(
    _thread.c.parent_thread_id.in_(bindparam("threads", expanding=True)), _thread.c.status == "queued"
)
# Where a thread came from is not known any more when that is gone.
_ORPHAN = (
    update(_thread)
    .where(_thread.c.parent_thread_id.in_(bindparam("threads", expanding=True)))
    .values(parent_thread_id=None)
)
# What a run wrote and its state named is the session's; all else was of that thread alone.
_of_threads = update(_version).where(_version.c.thread_id.in_(bindparam("threads", expanding=True)))
_DROP_VERSIONS = _of_threads.where(or_(_version.c.by_hand, _version.c.status == "pending")).values(
    thread_id=None, status="dropped"
)
_KEEP_VERSIONS = _of_threads.values(thread_id=None)
