"""Where a person last looked in a conversation, so that it opens there again."""

from sqlalchemy import bindparam, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of, upsert
from core.errors import NotFoundError
from core.history.branches import BranchRow, get_branch, get_newest_branch
from core.history.conversations import get_conversation
from core.ids import BranchId, ConversationId
from core.tables import ViewPosition, utc_now

_position = table_of(ViewPosition)


def remember_position(viewer: Viewer, db: Db, branch: BranchRow) -> None:
    """Keep that this branch is what the viewer looks at, if it is another than before."""
    get_conversation(viewer, db, branch.conversation_id)
    row = {
        "user_id": viewer.user_id,
        "conversation_id": branch.conversation_id,
        "branch_id": branch.branch_id,
        "message_id": branch.head_message_id,
        "updated_at": utc_now(),
    }
    upsert(db, ViewPosition, [row])


def find_position(viewer: Viewer, db: Db, conversation_id: ConversationId) -> BranchId | None:
    """The branch that the viewer looked at last in this conversation, which may be gone since."""
    given = {"who": viewer.user_id, "conversation": conversation_id}
    return BranchId(found) if (found := db.connection().execute(_FIND, given).scalar()) else None


def get_branch_to_open(viewer: Viewer, db: Db, conversation_id: ConversationId) -> BranchRow:
    """Where a conversation opens for this viewer: the branch last looked at, else the newest one."""
    last = find_position(viewer, db, conversation_id)
    if last is not None:
        try:
            return get_branch(viewer, db, last)
        except NotFoundError:
            pass
    return get_newest_branch(viewer, db, conversation_id)


_FIND = select(_position.c.branch_id).where(
    _position.c.user_id == bindparam("who"), _position.c.conversation_id == bindparam("conversation")
)
