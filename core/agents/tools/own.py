"""What a person has said, counted and searched: only in their own sessions, whatever their role.

Invariant: every row is of a session that the viewer owns, and of a conversation that is not deleted.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, Integer, Row, Select, cast, extract, func, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.tables import Conversation, Message, Session, Thread

CountedBy = Literal["day", "agent", "session", "status"]
_MOST_WORDS = 10
_message, _thread = table_of(Message).c, table_of(Thread).c
_conversation, _session = table_of(Conversation).c, table_of(Session).c
_seconds = cast(extract("epoch", _message.created_at), Integer)
_COUNTED: dict[str, ColumnElement[Any]] = {
    "day": _seconds - _seconds % 86_400,
    "agent": _thread.agent_id,
    "session": _session.title,
    "status": _thread.status,
}


def count_messages(viewer: Viewer, db: Db, by: CountedBy, *, since: datetime | None) -> list[tuple[Any, int]]:
    """How many messages there are of each kind; days in their order, else the most first."""
    key, count = _COUNTED[by], func.count()
    keys = (_session.session_id, key) if by == "session" else (key,)
    order = (key,) if by == "day" else (count.desc(), key)
    query = _own(viewer, since, key, count).group_by(*keys).order_by(*order)
    rows = db.connection().execute(query).all()
    return [(_day(row[0]) if by == "day" else row[0], row[1]) for row in rows]


def search_messages(viewer: Viewer, db: Db, text: str, *, since: datetime | None, limit: int) -> Sequence[Row[Any]]:
    """The newest messages that hold all the words, in what was said or answered: at, session, said, answer."""
    columns = (_message.created_at, _session.title, _message.content, _message.answer)
    query = _own(viewer, since, *columns)
    for word in text.split()[:_MOST_WORDS]:
        query = query.where(
            or_(
                _message.content.icontains(word, autoescape=True),
                _message.answer.icontains(word, autoescape=True),
            )
        )
    return db.connection().execute(query.order_by(_message.message_id.desc()).limit(limit)).all()


def list_sessions(viewer: Viewer, db: Db, *, limit: int) -> Sequence[Row[Any]]:
    """The sessions last written in first: title, conversations, messages, first_at, last_at."""
    last = func.max(_message.created_at)
    counts = (func.count(_conversation.conversation_id.distinct()), func.count())
    query = _own(viewer, None, _session.title, *counts, func.min(_message.created_at), last)
    query = query.group_by(_session.session_id, _session.title).order_by(last.desc()).limit(limit)
    return db.connection().execute(query).all()


def _own(viewer: Viewer, since: datetime | None, *columns: Any) -> Select[Any]:
    query = (
        select(*columns)
        .select_from(table_of(Message))
        .join(table_of(Thread), _thread.message_id == _message.message_id)
        .join(table_of(Conversation), _conversation.conversation_id == _message.conversation_id)
        .join(table_of(Session), _session.session_id == _conversation.session_id)
        .where(
            _session.user_id == viewer.user_id,
            _message.deleted_at.is_(None),
            _conversation.deleted_at.is_(None),
        )
    )
    return query if since is None else query.where(_message.created_at >= since)


def _day(seconds: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds))).date().isoformat()
