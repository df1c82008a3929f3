"""Opening a branch to read it and go on with it: all that the chat has to know of it, in one statement.

Invariant: it costs the same however long the conversation is, and who may not see it finds none.
"""

from dataclasses import dataclass

from sqlalchemy import bindparam, exists, func, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import NotFoundError
from core.history.branches import BRANCH_COLUMNS, BranchRow
from core.history.conversations import ConversationRow
from core.ids import BranchId
from core.prepared import Prepared
from core.tables import Artifact, Branch, Conversation, Session, ViewPosition

_branch, _conversation, _session = table_of(Branch), table_of(Conversation), table_of(Session)
_position, _artifact = table_of(ViewPosition), table_of(Artifact)


@dataclass(frozen=True)
class OpenedBranch:
    """A branch with its conversation.

    ``is_alone``: the conversation has no other. ``is_where_last``: the viewer looked at this one last.
    """

    branch: BranchRow
    conversation: ConversationRow
    is_alone: bool
    is_where_last: bool
    has_artifacts: bool


def open_branch(viewer: Viewer, db: Db, branch_id: BranchId) -> OpenedBranch:
    """One branch with what stands around it; NotFoundError when it is not there for this viewer."""
    row = _OPEN.first(db, {"key": branch_id, "who": viewer.user_id})
    if row is None:
        raise NotFoundError("There is no such branch here; it may have been deleted, or the link is wrong.")
    branch = BranchRow(*row[: len(BRANCH_COLUMNS)])
    session_id, title, updated_at, owner_id, branches, last, has_artifacts = row[len(BRANCH_COLUMNS) :]
    if not viewer.may_read(owner_id):
        raise NotFoundError("There is no such conversation here; it may have been deleted, or the link is wrong.")
    conversation = ConversationRow(branch.conversation_id, session_id, owner_id, title, updated_at)
    return OpenedBranch(branch, conversation, branches == 1, last == branch_id, bool(has_artifacts))


_other = _branch.alias("other")
_branches = (
    select(func.count())
    .where(_other.c.conversation_id == _branch.c.conversation_id, _other.c.deleted_at.is_(None))
    .scalar_subquery()
)
_last = (
    select(_position.c.branch_id)
    .where(_position.c.user_id == bindparam("who"), _position.c.conversation_id == _branch.c.conversation_id)
    .scalar_subquery()
)
_OPEN = Prepared(
    select(
        *BRANCH_COLUMNS,
        _conversation.c.session_id,
        _conversation.c.title,
        _conversation.c.updated_at,
        _session.c.user_id,
        _branches,
        _last,
        exists().where(_artifact.c.session_id == _session.c.session_id),
    )
    .join(_conversation, _conversation.c.conversation_id == _branch.c.conversation_id)
    .join(_session, _session.c.session_id == _conversation.c.session_id)
    .where(
        _branch.c.branch_id == bindparam("key"),
        _branch.c.deleted_at.is_(None),
        _conversation.c.deleted_at.is_(None),
        _session.c.status != "deleted",
    )
)
