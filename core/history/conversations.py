"""Conversations as a person lists them: find, rename, delete and take back.

Invariant: a conversation belongs to the owner of its session, and is *not found* for whoever may not read it.
"""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Row, Select, bindparam, exists
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session as Db
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.history.activity import record
from core.history.folding import fold
from core.ids import ConversationId, SessionId
from core.tables import Conversation, Message, Session, Thread, User, clean_text, utc_now

LONGEST_TITLE = 200
UNDO = timedelta(minutes=10)
_LIVE = ("queued", "running")


@dataclass(frozen=True)
class ConversationRow:
    """A line of the list of conversations; ``is_live`` while an answer of it is queued or running."""

    conversation_id: ConversationId
    session_id: SessionId
    user_id: str
    title: str
    updated_at: datetime
    is_live: bool = False
    is_waiting: bool = False


def list_conversations(
    viewer: Viewer, db: Db, *, search: str = "", limit: int = 30, before: datetime | None = None
) -> list[ConversationRow]:
    """The viewer's own conversations, last active first; ``before`` an ``updated_at`` gives the next page."""
    query = _RECENT
    if before is not None:
        query = query.where(col(Conversation.updated_at) < before)
    if wanted := fold(search):
        query = query.where(col(Conversation.conversation_id).in_(_called(viewer, db, wanted, limit, before)))
    rows = db.connection().execute(query, {"owner": viewer.user_id, "most": limit})
    return [_to_row(row) for row in rows]


def _called(viewer: Viewer, db: Db, wanted: str, limit: int, before: datetime | None) -> list[str]:
    """The ids of the viewer's conversations with this, folded, in their titles."""
    titles = _TITLES if before is None else _TITLES.where(col(Conversation.updated_at) < before)
    rows = db.connection().execute(titles, {"owner": viewer.user_id})
    return list(islice((row_id for row_id, title in rows if wanted in fold(title)), limit))


def get_conversation(viewer: Viewer, db: Db, conversation_id: ConversationId) -> ConversationRow:
    """One conversation that the viewer may read; NotFoundError otherwise, also when it is deleted."""
    row = db.connection().execute(_BY_ID, {"key": conversation_id}).first()
    if row is None or not viewer.may_read(row.user_id):
        raise _not_found()
    return _to_row(row)


@dataclass(frozen=True)
class Heading:
    """What a conversation is called, and whose it is."""

    title: str
    user_name: str


def get_headings(viewer: Viewer, db: Db, ids: Collection[str]) -> dict[str, Heading]:
    """Title and owner's name of those of these conversations that the viewer may read."""
    query = (
        select(Conversation.conversation_id, Conversation.title, User.name, User.user_id)
        .join(Session, col(Session.session_id) == Conversation.session_id)
        .join(User, col(User.user_id) == Session.user_id)
        .where(col(Conversation.conversation_id).in_(list(ids)), *_is_there)
    )
    return {row[0]: Heading(row[1], row[2]) for row in db.execute(query) if viewer.may_read(row[3])}


def rename_conversation(viewer: Viewer, db: Db, conversation_id: ConversationId, title: str) -> str:
    """Give it a title of 1 to 200 characters, and return that as it is kept."""
    title = " ".join(clean_text(title).split())
    if not title:
        raise BadInputError("A title needs at least one character; please type one.")
    if len(title) > LONGEST_TITLE:
        raise BadInputError(f"A title has at most {LONGEST_TITLE} characters; please shorten it.")
    found = _own(viewer, db, conversation_id)
    found.title = title
    _tell(viewer, db, "conversation.rename", found)
    return title


def delete_conversation(viewer: Viewer, db: Db, conversation_id: ConversationId) -> None:
    """Take it out of every list; for ten minutes ``restore_conversation`` brings it back."""
    found = _own(viewer, db, conversation_id)
    found.deleted_at = utc_now()
    _tell(viewer, db, "conversation.delete", found)


def restore_conversation(viewer: Viewer, db: Db, conversation_id: ConversationId) -> None:
    """Undo a deletion of the last ten minutes."""
    found = _own(viewer, db, conversation_id, deleted=True)
    if found.deleted_at is None or utc_now() - found.deleted_at > UNDO:
        raise NotFoundError("It was deleted more than ten minutes ago and cannot be brought back here.")
    found.deleted_at = None
    _tell(viewer, db, "conversation.restore", found)


def _tell(viewer: Viewer, db: Db, kind: str, of: Conversation) -> None:
    record(db, viewer, kind, target_id=of.conversation_id, session_id=of.session_id)


def require_own_conversation(viewer: Viewer, db: Db, conversation_id: ConversationId) -> None:
    """NotFoundError when the viewer may not see it, ForbiddenError when they may, but not change it."""
    _own(viewer, db, conversation_id)


def hold_conversation(db: Db, conversation_id: ConversationId) -> None:
    """Let others who change the conversation wait until the caller is done; SQLite has one writer anyway."""
    db.connection().execute(_HOLD, {"key": conversation_id})


def default_title(text: str) -> str:
    """The first line of what was said, shortened at a word where there is one; of a JSON object its values."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    if line.startswith("{"):
        line = _values_in_a_line(text) or line
    if len(line) <= 60:
        return line
    head = line[:60].rsplit(" ", 1)[0] if " " in line[30:60] else line[:60]
    return head.rstrip() + "…"


def _values_in_a_line(text: str) -> str:
    """The values of a JSON object, as a form fills one in; "" when it is none."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(values, dict):
        return ""
    told = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values.values())
    return " · ".join(" ".join(one.split()) for one in told if one.strip())


def _rows() -> Select[Any]:
    return select(  # type: ignore[call-overload, no-any-return]
        Conversation.conversation_id,
        Conversation.session_id,
        Session.user_id,
        Conversation.title,
        Conversation.updated_at,
        _has_thread(_LIVE).label("is_live"),
        _has_thread(("waiting",)).label("is_waiting"),
    ).join(Session, col(Session.session_id) == Conversation.session_id)


def _has_thread(statuses: tuple[str, ...]) -> ColumnElement[bool]:
    return exists().where(
        col(Message.conversation_id) == Conversation.conversation_id,
        col(Thread.message_id) == Message.message_id,
        col(Thread.status).in_(statuses),
    )


def _to_row(row: Row[Any]) -> ConversationRow:
    return ConversationRow(**row._mapping)


def _own(viewer: Viewer, db: Db, conversation_id: ConversationId, *, deleted: bool = False) -> Conversation:
    """The row itself, for changing it: only by its owner."""
    found = db.get(Conversation, conversation_id)
    owner = _held(db, found) if found is not None else None
    if found is None or owner is None or owner.status == "deleted" or not viewer.may_read(owner.user_id):
        raise _not_found()
    if not viewer.may_change(owner.user_id):
        raise ForbiddenError("This conversation is somebody else's; you can read it, but not change it.")
    if found.deleted_at is not None and not deleted:
        raise _not_found()
    return found


def _held(db: Db, found: Conversation) -> Session | None:
    """The session of a conversation, as both are once nobody else is deleting either or bringing it back."""
    owner = db.get(Session, found.session_id, with_for_update={"read": True}, populate_existing=True)
    db.refresh(found, with_for_update=True)
    return owner


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such conversation here; it may have been deleted, or the link is wrong.")


# Built once: to build a statement costs more than to run it.
_is_there = (col(Conversation.deleted_at).is_(None), col(Session.status) != "deleted")
_BY_ID = _rows().where(col(Conversation.conversation_id) == bindparam("key"), *_is_there)
_RECENT = (
    _rows()
    .where(col(Session.user_id) == bindparam("owner"), *_is_there)
    .order_by(col(Conversation.updated_at).desc())
    .limit(bindparam("most"))
)
_TITLES = (
    select(col(Conversation.conversation_id), col(Conversation.title))
    .join(Session, col(Session.session_id) == Conversation.session_id)
    .where(col(Session.user_id) == bindparam("owner"), *_is_there)
    .order_by(col(Conversation.updated_at).desc())
)
_HOLD = select(Conversation.updated_at).where(Conversation.conversation_id == bindparam("key")).with_for_update()
