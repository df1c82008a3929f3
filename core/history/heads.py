"""Which branch a new message belongs to: a branch is a name for the head of a line of messages, as in git.

Invariant: every message that nothing hangs below is the head of a branch. Going on from a head moves its branch
by compare-and-set; whoever comes second, and every edit, new answer, fork and fan-out, begins a branch of its own.
"""

import unicodedata
from collections.abc import Collection
from datetime import datetime
from itertools import count

from sqlalchemy import bindparam, select, update
from sqlmodel import Session as Db

from core.database import insert_into, table_of
from core.ids import BranchId, ConversationId, MessageId, UserId, new_branch_id
from core.prepared import Prepared
from core.tables import Branch, clean_text

LONGEST_NAME = 100
# Controls, and formats such as those that turn the direction of what follows.
_UNSEEN = {"Cc", "Cf"}
_branch = table_of(Branch)
_WORDS = {
    "first": "beginning",
    "continue": "beside",
    "edit": "edit",
    "regenerate": "again",
    "retry": "retry",
    "fork": "fork",
    "fan_out": "answer",
}


def move_branch(
    db: Db, *, parent_id: MessageId, message_id: MessageId, wanted: BranchId | None, now: datetime
) -> BranchId | None:
    """Let a branch whose head the parent is go on to the message; None when the parent is no head any more.

    ``wanted`` is the branch that somebody is looking at: it goes before others with the same head.
    """
    change = {"parent": parent_id, "message": message_id, "wanted": wanted, "now": now}
    moved = _MOVE.first(db, change)
    return BranchId(moved[0]) if moved is not None else None


def begin_branch(
    db: Db,
    *,
    conversation_id: ConversationId,
    message_id: MessageId,
    user_id: UserId,
    kind: str,
    name: str,
    now: datetime,
    is_first: bool = False,
) -> BranchId:
    """Make the message the head of a new branch, named as asked, or after how it came to be.

    ``is_first``: the conversation has just been made, and has no other.
    """
    known = [] if is_first else _NAMES.all(db, {"conversation": conversation_id})
    taken = {name for (name,) in known}
    branch_id = new_branch_id()
    row = {
        "branch_id": branch_id,
        "conversation_id": conversation_id,
        "head_message_id": message_id,
        "user_id": user_id,
        "name": _name_of(name, kind, taken),
        "created_at": now,
        "updated_at": now,
    }
    _INSERT.run(db, row)
    return branch_id


def tidy_name(text: str) -> str:
    """A name as it is kept: one line, of characters that show, and the same bytes for what looks the same."""
    shown = (char for char in clean_text(text) if char.isspace() or unicodedata.category(char) not in _UNSEEN)
    return " ".join(unicodedata.normalize("NFC", "".join(shown)).split())


def free_name(wanted: str, taken: Collection[str], *, first: int = 1) -> str:
    """The name with the first number, from ``first`` on, that makes it one of its own; a 1 is not written."""
    names = (wanted if number == 1 else f"{wanted} {number}" for number in count(first))
    return next(name for name in names if name not in taken)


def _name_of(wanted: str, kind: str, taken: Collection[str]) -> str:
    wanted = tidy_name(wanted)[:LONGEST_NAME]
    if wanted or not taken:
        return free_name(wanted or "main", taken)
    return free_name(_WORDS[kind], taken, first=len(taken) + 1)


_at_head = (
    select(_branch.c.branch_id)
    .where(_branch.c.head_message_id == bindparam("parent"), _branch.c.deleted_at.is_(None))
    .order_by(
        (_branch.c.branch_id == bindparam("wanted")).desc(), _branch.c.archived_at.is_not(None), _branch.c.branch_id
    )
    .limit(1)
    .scalar_subquery()
)
_MOVE = Prepared(
    update(_branch)
    .where(_branch.c.branch_id == _at_head)
    .values(head_message_id=bindparam("message"), updated_at=bindparam("now"), archived_at=None)
    .returning(_branch.c.branch_id)
)
_INSERT = insert_into(
    Branch, ("branch_id", "conversation_id", "head_message_id", "user_id", "name", "created_at", "updated_at")
)
_NAMES = Prepared(
    select(_branch.c.name).where(
        _branch.c.conversation_id == bindparam("conversation"), _branch.c.deleted_at.is_(None)
    )
)
