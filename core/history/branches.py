"""The branches of a conversation: list, name, put aside, delete and take back.

Invariant: a deleted branch takes with it only the messages that no other branch has; for a minute all of it can be
brought back, and until it is purged nothing is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, text, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import in_parts, table_of
from core.errors import BadInputError, ConflictError, NotFoundError
from core.history.activity import record
from core.history.conversations import get_conversation, hold_conversation, require_own_conversation
from core.history.heads import LONGEST_NAME, begin_branch, free_name, tidy_name
from core.history.turns import get_turn
from core.ids import BranchId, ConversationId, MessageId, UserId
from core.tables import Branch, Message, UtcTime, utc_now

UNDO = timedelta(minutes=1)
_branch, _message = table_of(Branch), table_of(Message)


@dataclass(frozen=True)
class BranchRow:
    """A branch as people see it: its name, and the message that it ends with."""

    branch_id: BranchId
    conversation_id: ConversationId
    head_message_id: MessageId
    user_id: UserId
    name: str
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None


def list_branches(viewer: Viewer, db: Db, conversation_id: ConversationId) -> list[BranchRow]:
    """All branches of a conversation, archived ones too, in the order they were begun."""
    get_conversation(viewer, db, conversation_id)
    return read_branches(db, conversation_id)


def read_branches(db: Db, conversation_id: ConversationId) -> list[BranchRow]:
    """The same of a conversation that the caller has read already for this viewer."""
    rows = db.connection().execute(_OF_CONVERSATION, {"conversation": conversation_id})
    return [BranchRow(*row) for row in rows]


def get_branch(viewer: Viewer, db: Db, branch_id: BranchId) -> BranchRow:
    """One branch; NotFoundError when it is not there for this viewer."""
    row = db.connection().execute(_BY_ID, {"key": branch_id}).first()
    if row is None:
        raise _not_found()
    get_conversation(viewer, db, row.conversation_id)
    return BranchRow(*row)


def get_branch_below(viewer: Viewer, db: Db, message_id: MessageId) -> BranchRow:
    """The branch to open for a message: of those through it the one with the newest end, archived ones last."""
    get_turn(viewer, db, message_id)
    return _only(db, _BELOW, {"from": message_id})


def get_newest_branch(viewer: Viewer, db: Db, conversation_id: ConversationId) -> BranchRow:
    """The branch of a conversation with the newest end, archived ones last."""
    get_conversation(viewer, db, conversation_id)
    return _only(db, _NEWEST, {"conversation": conversation_id})


def _only(db: Db, statement: Any, given: dict[str, Any]) -> BranchRow:
    row = db.connection().execute(statement, given).first()
    if row is None:
        raise _not_found()
    return BranchRow(*row)


def create_branch(viewer: Viewer, db: Db, message_id: MessageId, *, name: str = "") -> BranchRow:
    """A new branch that ends with this message, so that what is said next goes another way than before."""
    turn = get_turn(viewer, db, message_id)
    require_own_conversation(viewer, db, turn.conversation_id)
    hold_conversation(db, turn.conversation_id)
    # Once more: while this waited, somebody may have deleted it.
    get_turn(viewer, db, message_id)
    branch_id = begin_branch(
        db,
        conversation_id=turn.conversation_id,
        message_id=message_id,
        user_id=UserId(viewer.user_id),
        kind="continue",
        name=_checked(name) if name else "",
        now=utc_now(),
    )
    _tell(viewer, db, "branch.create", branch_id, turn.conversation_id)
    return get_branch(viewer, db, branch_id)


def rename_branch(viewer: Viewer, db: Db, branch_id: BranchId, name: str) -> str:
    """Give it a name of 1 to 100 characters that no other branch here has, and return that as it is kept."""
    branch, name = _own(viewer, db, branch_id), _checked(name)
    taken = {row.name for row in list_branches(viewer, db, branch.conversation_id) if row.branch_id != branch_id}
    if name in taken:
        raise ConflictError(f"Another branch of this conversation is called {name!r}; please choose another name.")
    _change(db, branch_id, name=name)
    _tell(viewer, db, "branch.rename", branch_id, branch.conversation_id)
    return name


def archive_branch(viewer: Viewer, db: Db, branch_id: BranchId, *, archived: bool) -> None:
    """Put a branch aside, or take it up again; its messages stay where they are."""
    branch = _own(viewer, db, branch_id)
    _change(db, branch_id, archived_at=utc_now() if archived else None)
    _tell(viewer, db, "branch.archive" if archived else "branch.unarchive", branch_id, branch.conversation_id)


def delete_branch(viewer: Viewer, db: Db, branch_id: BranchId) -> list[MessageId]:
    """Take a branch out of sight with what only it has, and give those messages; ``restore_branch`` undoes it.

    ConflictError when it is the only one: then the conversation is what is to be deleted.
    """
    branch, now = _own(viewer, db, branch_id), utc_now()
    if len(list_branches(viewer, db, branch.conversation_id)) == 1:
        raise ConflictError("This is the conversation's only branch; delete the conversation instead.")
    messages = own_messages(db, branch)
    for some in in_parts(messages):
        db.connection().execute(_MARK_MESSAGES, {"ids": some, "at": now})
    _change(db, branch_id, deleted_at=now)
    _tell(viewer, db, "branch.delete", branch_id, branch.conversation_id, messages=len(messages))
    return messages


def restore_branch(viewer: Viewer, db: Db, branch_id: BranchId) -> BranchRow:
    """Undo a deletion of the last minute; a name that was taken meanwhile gets a number."""
    branch, _ = _deleted(db, branch_id)
    require_own_conversation(viewer, db, branch.conversation_id)
    hold_conversation(db, branch.conversation_id)
    branch, deleted_at = _deleted(db, branch_id)
    if deleted_at is None or utc_now() - deleted_at > UNDO:
        raise NotFoundError("It was deleted more than a minute ago and cannot be brought back.")
    if db.connection().execute(_UPROOTED, {"head": branch.head_message_id, "at": deleted_at}).first():
        raise ConflictError("What this branch grew from was deleted after it; bring that back first.")
    taken = {other.name for other in list_branches(viewer, db, branch.conversation_id)}
    db.connection().execute(_UNMARK_MESSAGES, {"conversation": branch.conversation_id, "at": deleted_at})
    _change(db, branch_id, deleted_at=None, name=free_name(branch.name, taken))
    _tell(viewer, db, "branch.restore", branch_id, branch.conversation_id)
    return get_branch(viewer, db, branch_id)


def _deleted(db: Db, branch_id: BranchId) -> tuple[BranchRow, datetime | None]:
    row = db.connection().execute(_DELETED, {"key": branch_id}).first()
    if row is None:
        raise _not_found()
    return BranchRow(*row[:-1]), row[-1]


def own_messages(db: Db, branch: BranchRow) -> list[MessageId]:
    """The messages that only this branch has, its head first."""
    given = {"branch": branch.branch_id, "head": branch.head_message_id}
    return [MessageId(found) for found in db.connection().execute(_OWN_MESSAGES, given).scalars()]


def _checked(name: str) -> str:
    name = tidy_name(name)
    if not name:
        raise BadInputError("A branch needs a name of at least one character; please type one.")
    if len(name) > LONGEST_NAME:
        raise BadInputError(f"A branch's name has at most {LONGEST_NAME} characters; please shorten it.")
    return name


def _own(viewer: Viewer, db: Db, branch_id: BranchId) -> BranchRow:
    """A branch to change, which nobody else changes meanwhile."""
    branch = get_branch(viewer, db, branch_id)
    require_own_conversation(viewer, db, branch.conversation_id)
    hold_conversation(db, branch.conversation_id)
    # As it is by now: while this waited, it may have gone on, or be gone.
    return get_branch(viewer, db, branch_id)


def _tell(
    viewer: Viewer, db: Db, kind: str, branch_id: str, conversation_id: ConversationId, **detail: int
) -> None:
    session_id = get_conversation(viewer, db, conversation_id).session_id
    record(db, viewer, kind, target_id=branch_id, session_id=session_id, detail=detail)


def _change(db: Db, branch_id: BranchId, **values: Any) -> None:
    db.connection().execute(update(_branch).where(_branch.c.branch_id == branch_id).values(**values))


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such branch here; it may have been deleted, or the link is wrong.")


BRANCH_COLUMNS: Sequence[Any] = (
    _branch.c.branch_id,
    _branch.c.conversation_id,
    _branch.c.head_message_id,
    _branch.c.user_id,
    _branch.c.name,
    _branch.c.created_at,
    _branch.c.updated_at,
    _branch.c.archived_at,
)
_kept = select(*BRANCH_COLUMNS).where(_branch.c.deleted_at.is_(None))
_BY_ID = _kept.where(_branch.c.branch_id == bindparam("key"))
_newest_first = (_branch.c.archived_at.is_not(None), _branch.c.head_message_id.desc(), _branch.c.branch_id)
_NEWEST = _kept.where(_branch.c.conversation_id == bindparam("conversation")).order_by(*_newest_first).limit(1)
_subtree = (
    select(_message.c.message_id).where(_message.c.message_id == bindparam("from")).cte("subtree", recursive=True)
)
_child = _message.alias("child")
_subtree = _subtree.union_all(
    select(_child.c.message_id)
    .join(_subtree, _child.c.parent_message_id == _subtree.c.message_id)
    .where(_child.c.deleted_at.is_(None))
)
_BELOW = _kept.join(_subtree, _subtree.c.message_id == _branch.c.head_message_id).order_by(*_newest_first).limit(1)
_OF_CONVERSATION = _kept.where(_branch.c.conversation_id == bindparam("conversation")).order_by(_branch.c.branch_id)
_DELETED = select(*BRANCH_COLUMNS, _branch.c.deleted_at).where(_branch.c.branch_id == bindparam("key"))
# From the head upwards, as long as no other branch ends there and nothing else hangs there.
_OWN_MESSAGES = text("""
WITH RECURSIVE own (message_id, parent_id, step) AS (
    SELECT message_id, parent_message_id, 0 FROM message m WHERE message_id = :head
    AND NOT EXISTS (SELECT 1 FROM message b WHERE b.parent_message_id = m.message_id AND b.deleted_at IS NULL)
    AND NOT EXISTS (
        SELECT 1 FROM branch o
        WHERE o.head_message_id = m.message_id AND o.branch_id <> :branch AND o.deleted_at IS NULL
    )
    UNION ALL
    SELECT m.message_id, m.parent_message_id, own.step + 1
    FROM own JOIN message m ON m.message_id = own.parent_id
    WHERE NOT EXISTS (
        SELECT 1 FROM message b
        WHERE b.parent_message_id = m.message_id AND b.message_id <> own.message_id AND b.deleted_at IS NULL
    )
    AND NOT EXISTS (
        SELECT 1 FROM branch o
        WHERE o.head_message_id = m.message_id AND o.branch_id <> :branch AND o.deleted_at IS NULL
    )
)
SELECT message_id FROM own ORDER BY step""")
# Whether the place where a deleted branch grew was deleted too, later, with another one.
_UPROOTED = text("""
WITH RECURSIVE up (message_id, parent_id, deleted_at) AS (
    SELECT message_id, parent_message_id, deleted_at FROM message WHERE message_id = :head
    UNION ALL
    SELECT m.message_id, m.parent_message_id, m.deleted_at
    FROM up JOIN message m ON m.message_id = up.parent_id WHERE up.deleted_at = :at
)
SELECT 1 FROM up WHERE deleted_at <> :at""").bindparams(bindparam("at", type_=UtcTime()))
_MARK_MESSAGES = (
    update(_message)
    .where(_message.c.message_id.in_(bindparam("ids", expanding=True)))
    .values(deleted_at=bindparam("at"))
)
_UNMARK_MESSAGES = (
    update(_message)
    .where(_message.c.conversation_id == bindparam("conversation"), _message.c.deleted_at == bindparam("at"))
    .values(deleted_at=None)
)
