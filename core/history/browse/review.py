"""What to look at first of a session that is to be reviewed.

Invariant: it is read as everything else that was said is, whole, and only for who may see the session.
"""

from typing import Any

from sqlalchemy import Select, bindparam, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.sessions import get_session
from core.history.turns import Turn, get_turn
from core.ids import MessageId, SessionId
from core.tables import Conversation, Message, Thread

_FAILED = ("failed", "lost")
_conversation, _message, _thread = table_of(Conversation), table_of(Message), table_of(Thread)


def list_telling_turns(viewer: Viewer, db: Db, session_id: SessionId) -> list[Turn]:
    """The newest turn of a session, and before it the newest that failed or was lost, if that is another."""
    get_session(viewer, db, session_id)
    given = {"of": session_id}
    found = [db.connection().execute(statement, given).scalar() for statement in (_LAST_FAILED, _LAST)]
    ids = dict.fromkeys(MessageId(message_id) for message_id in found if message_id is not None)
    return [get_turn(viewer, db, message_id) for message_id in ids]


def _last() -> Select[Any]:
    return (
        select(_message.c.message_id)
        .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
        .where(
            _conversation.c.session_id == bindparam("of"),
            _conversation.c.deleted_at.is_(None),
            _message.c.deleted_at.is_(None),
        )
        .order_by(_message.c.message_id.desc())
        .limit(1)
    )


_LAST = _last()
_LAST_FAILED = (
    _last().join(_thread, _thread.c.message_id == _message.c.message_id).where(_thread.c.status.in_(_FAILED))
)
