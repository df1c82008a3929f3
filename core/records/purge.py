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
from sqlalchemy import bindparam, delete, select, update
from sqlmodel import Session as Db

from core.database import Database, table_of
from core.history.branches import UNDO
from core.ids import BranchId, MessageId, ThreadId
from core.records.removal import delete_messages, portions, remove_events, size_of_message
from core.tables import (
    Annotation,
    Branch,
    Message,
    Thread,
    utc_now,
)

T = TypeVar("T")
GRACE = timedelta(seconds=5)
# So that no transaction is long, however much is deleted.
_MESSAGES_AT_ONCE = 25
log = structlog.get_logger("skein.records")
_branch, _message, _thread = table_of(Branch), table_of(Message), table_of(Thread)


@dataclass(frozen=True)
class _Gone:
    """A deleted branch with the messages that went with it: their ids, threads and sizes, the deepest first."""

    branch_id: BranchId
    messages: Sequence[Any]

    @property
    def threads(self) -> list[ThreadId]:
        return [ThreadId(row.thread_id) for row in self.messages]


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
    for some in _in_parts(gone.threads, 500):
        remove_events(database, some)
    parts = list(portions(gone.messages, at_once=_MESSAGES_AT_ONCE)) or [[]]
    for place, part in enumerate(parts, start=1):
        rest = MessageId(parts[place][0].message_id) if place < len(parts) else None
        database.write(partial(_delete, branch_id=gone.branch_id, part=part, rest=rest))


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
    return _Gone(BranchId(row.branch_id), found)


def _in_parts(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _delete(db: Db, branch_id: BranchId, part: Sequence[Any], rest: MessageId | None) -> None:
    """Delete these messages with all of theirs; the branch itself ends with the ``rest`` until nothing is left."""
    messages = [MessageId(row.message_id) for row in part]
    threads = [ThreadId(row.thread_id) for row in part]
    connection = db.connection()
    connection.execute(delete(table_of(Annotation)).where(table_of(Annotation).c.target_id == branch_id))
    if rest is not None:
        connection.execute(update(_branch).where(_branch.c.branch_id == branch_id).values(head_message_id=rest))
    else:
        connection.execute(delete(_branch).where(_branch.c.branch_id == branch_id))
    delete_messages(db, messages, threads)


_LIVE = ("queued", "running")
_DELETED = (
    select(_branch.c.branch_id, _branch.c.conversation_id, _branch.c.deleted_at)
    .where(_branch.c.deleted_at < bindparam("before"))
    .order_by(_branch.c.deleted_at)
)
_WITH_IT = (
    select(_message.c.message_id, _thread.c.thread_id, _thread.c.status, size_of_message.label("size"))
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
