"""How a branch came about: which branch each part of its path was first on.

Invariant: a message belongs to the oldest of the branches that it is on.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from sqlalchemy import bindparam, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.branches import BranchRow, get_branch, read_branches
from core.ids import BranchId, MessageId
from core.tables import Message

_message = table_of(Message)


@dataclass(frozen=True)
class Stretch:
    """A part of a path: the messages that first belonged to this branch."""

    branch: BranchRow
    first_message_id: MessageId
    messages: int


def get_stretches(viewer: Viewer, db: Db, branch_id: BranchId) -> list[Stretch]:
    """How a branch came about, from the root down: which branch each part of its path was first on."""
    return read_stretches(db, get_branch(viewer, db, branch_id))


def read_stretches(db: Db, branch: BranchRow) -> list[Stretch]:
    """The same of a branch that the caller has read already for this viewer."""
    branches = read_branches(db, branch.conversation_id)
    rows = db.connection().execute(_PARENTS, {"conversation": branch.conversation_id})
    parents = {row.message_id: row.parent_message_id for row in rows}
    owners = find_owners(parents, branches)
    path = [*_upwards(parents, branch.head_message_id)][::-1]
    stretches = [(owner, list(ids)) for owner, ids in groupby(path, key=owners.__getitem__)]
    return [Stretch(owner, ids[0], len(ids)) for owner, ids in stretches]


def find_owners(
    parents: Mapping[MessageId, MessageId | None], branches: Iterable[BranchRow]
) -> dict[MessageId, BranchRow]:
    """The oldest branch that each message is on, given what each hangs below."""
    owners: dict[MessageId, BranchRow] = {}
    for branch in sorted(branches, key=lambda branch: branch.branch_id):
        for message_id in _upwards(parents, branch.head_message_id):
            if message_id in owners:
                break
            owners[message_id] = branch
    return owners


def _upwards(parents: Mapping[MessageId, MessageId | None], at: MessageId | None) -> Iterator[MessageId]:
    while at is not None and at in parents:
        yield at
        at = parents[at]


_PARENTS = select(_message.c.message_id, _message.c.parent_message_id).where(
    _message.c.conversation_id == bindparam("conversation"), _message.c.deleted_at.is_(None)
)
