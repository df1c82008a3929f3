"""Snapshots: a name for one checkpoint of one thread, as a tag in git.

Invariant: a snapshot never moves, and the checkpoint that it names is kept for as long as it is there.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import BadInputError, ConflictError, NotFoundError
from core.history.activity import record
from core.history.clearing import require_unclaimed
from core.history.conversations import get_conversation, hold_conversation, require_own_conversation
from core.history.heads import LONGEST_NAME, free_name, tidy_name
from core.history.turns import get_turn_of_thread
from core.ids import ConversationId, MessageId, SnapshotId, ThreadId, UserId, new_snapshot_id
from core.tables import Message, Snapshot, Thread, utc_now

_snapshot, _thread, _message = table_of(Snapshot), table_of(Thread), table_of(Message)


@dataclass(frozen=True)
class SnapshotRow:
    """A snapshot, and the message whose thread it is of."""

    snapshot_id: SnapshotId
    conversation_id: ConversationId
    message_id: MessageId
    thread_id: ThreadId
    checkpoint_id: str
    user_id: UserId
    name: str
    created_at: datetime


def list_snapshots(viewer: Viewer, db: Db, conversation_id: ConversationId) -> list[SnapshotRow]:
    """All snapshots of a conversation, oldest first."""
    get_conversation(viewer, db, conversation_id)
    rows = db.connection().execute(_OF_CONVERSATION, {"conversation": conversation_id})
    return [SnapshotRow(*row) for row in rows]


def get_snapshot(viewer: Viewer, db: Db, snapshot_id: SnapshotId) -> SnapshotRow:
    """One snapshot; NotFoundError when it is not there for this viewer."""
    row = db.connection().execute(_BY_ID, {"key": snapshot_id}).first()
    if row is None:
        raise NotFoundError("There is no such snapshot here; it may have been deleted, or the link is wrong.")
    get_conversation(viewer, db, row.conversation_id)
    return SnapshotRow(*row)


def create_snapshot(viewer: Viewer, db: Db, thread_id: ThreadId, checkpoint_id: str, name: str) -> SnapshotRow:
    """Name a checkpoint that the caller has seen in the thread; a name is used once in a conversation."""
    turn = get_turn_of_thread(viewer, db, thread_id)
    require_own_conversation(viewer, db, turn.conversation_id)
    hold_conversation(db, turn.conversation_id)
    # Once more: while this waited, somebody may have deleted it.
    get_turn_of_thread(viewer, db, thread_id)
    require_unclaimed(db, thread_id)
    name = tidy_name(name)
    if not name or len(name) > LONGEST_NAME:
        raise BadInputError(f"A snapshot needs a name of 1 to {LONGEST_NAME} characters; please type one.")
    _take_name(db, turn.conversation_id, name)
    snapshot_id = new_snapshot_id()
    row: dict[str, Any] = {
        "snapshot_id": snapshot_id,
        "conversation_id": turn.conversation_id,
        "thread_id": thread_id,
        "checkpoint_id": checkpoint_id,
        "user_id": viewer.user_id,
        "name": name,
        "created_at": utc_now(),
    }
    db.connection().execute(insert(_snapshot), row)
    taken = get_snapshot(viewer, db, snapshot_id)
    _tell(viewer, db, "snapshot.create", taken)
    return taken


def _take_name(db: Db, conversation_id: ConversationId, name: str) -> None:
    """See that nobody has the name; one whose message was deleted gets another, by which it may come back."""
    names = {row.name: row for row in db.connection().execute(_NAMES, {"conversation": conversation_id})}
    if (known := names.get(name)) is None:
        return
    if known.deleted_at is None:
        raise ConflictError(
            f"Another snapshot of this conversation is called {name!r}; please choose another name."
        )
    renamed = update(_snapshot).where(_snapshot.c.snapshot_id == known.snapshot_id)
    db.connection().execute(renamed.values(name=free_name(name, names)))


def delete_snapshot(viewer: Viewer, db: Db, snapshot_id: SnapshotId) -> None:
    """Forget the name; the checkpoint stays until the thread is compacted."""
    snapshot = get_snapshot(viewer, db, snapshot_id)
    require_own_conversation(viewer, db, snapshot.conversation_id)
    db.connection().execute(delete(_snapshot).where(_snapshot.c.snapshot_id == snapshot_id))
    _tell(viewer, db, "snapshot.delete", snapshot)


def _tell(viewer: Viewer, db: Db, kind: str, snapshot: SnapshotRow) -> None:
    session_id = get_conversation(viewer, db, snapshot.conversation_id).session_id
    detail = {"thread_id": snapshot.thread_id}
    record(db, viewer, kind, target_id=snapshot.snapshot_id, session_id=session_id, detail=detail)


_rows = select(
    _snapshot.c.snapshot_id,
    _snapshot.c.conversation_id,
    _thread.c.message_id,
    _snapshot.c.thread_id,
    _snapshot.c.checkpoint_id,
    _snapshot.c.user_id,
    _snapshot.c.name,
    _snapshot.c.created_at,
)
_rows = (
    _rows.join(_thread, _thread.c.thread_id == _snapshot.c.thread_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .where(_message.c.deleted_at.is_(None))
)
_BY_ID = _rows.where(_snapshot.c.snapshot_id == bindparam("key"))
_OF_CONVERSATION = _rows.where(_snapshot.c.conversation_id == bindparam("conversation")).order_by(
    _snapshot.c.snapshot_id
)
# Those of deleted messages too, for their names are in the table as well.
_NAMES = (
    select(_snapshot.c.snapshot_id, _snapshot.c.name, _message.c.deleted_at)
    .join(_thread, _thread.c.thread_id == _snapshot.c.thread_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .where(_snapshot.c.conversation_id == bindparam("conversation"))
)
