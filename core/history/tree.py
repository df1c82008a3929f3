"""The tree around a path: which messages stand beside one another, to change from one to the next.

Invariant: siblings are messages of one conversation under the same parent (or roots), in the order they were made.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, select, union_all
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.messages import get_turn
from core.ids import MessageId
from core.tables import Message

_message = table_of(Message)
_own = _message.alias("own")
_pairs = select(_own.c.message_id.label("own_id"), _message.c.message_id.label("sibling_id")).where(
    _own.c.message_id.in_(bindparam("messages", expanding=True)),
    _own.c.conversation_id == bindparam("conversation"),
    _message.c.deleted_at.is_(None),
)
_below = _pairs.join(_message, _message.c.parent_message_id == _own.c.parent_message_id)
_roots = _pairs.join(_message, _message.c.conversation_id == _own.c.conversation_id).where(
    _own.c.parent_message_id.is_(None), _message.c.parent_message_id.is_(None)
)
_SIBLINGS = union_all(_below, _roots).order_by("sibling_id")


def find_siblings(viewer: Viewer, db: Db, path: Sequence[MessageId]) -> dict[MessageId, list[MessageId]]:
    """For each message of a path those beside it, itself included; NotFoundError when the viewer may not see it."""
    if not path:
        return {}
    head = get_turn(viewer, db, path[-1])
    given = {"messages": list(path), "conversation": head.conversation_id}
    found: dict[MessageId, list[MessageId]] = {}
    for own, sibling in db.connection().execute(_SIBLINGS, given):
        found.setdefault(MessageId(own), []).append(MessageId(sibling))
    return found
