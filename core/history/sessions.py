"""Sessions as places to work in: their conversations share artifacts.

A session is active, archived (put aside, still read and used) or deleted: then it and its conversations are hidden
from everybody at once, for a minute it can be brought back, and after that ``core/records/deletion.py`` takes it
away. Invariant: a session is *not found* for whoever may not read it, and only its owner begins something in it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, exists, select, update
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.history.activity import record
from core.history.browse import counting
from core.history.conversations import LONGEST_TITLE
from core.ids import SessionId, TemplateId, UserId, new_session_id
from core.tables import Activity, Conversation, Session, clean_text, utc_now

UNDO = timedelta(minutes=1)
# What a deleted session was before, in its ``meta``.
_BEFORE = "status_before"
_session, _conversation, _activity = table_of(Session), table_of(Conversation), table_of(Activity)


@dataclass(frozen=True)
class SessionRow:
    """A session, and whose it is; ``status`` is active or archived."""

    session_id: SessionId
    user_id: UserId
    title: str
    status: str
    template: str | None
    created_at: datetime
    updated_at: datetime


def get_session(viewer: Viewer, db: Db, session_id: SessionId) -> SessionRow:
    """One session; NotFoundError when it is not there for this viewer, also when it is deleted."""
    found = db.get(Session, clean_text(session_id))
    if found is None or found.status == "deleted" or not viewer.may_read(found.user_id):
        raise _not_found()
    return _to_row(found)


def get_own_session(viewer: Viewer, db: Db, session_id: SessionId) -> SessionRow:
    """The same, for beginning something in it; ForbiddenError when it is somebody else's."""
    found = get_session(viewer, db, session_id)
    if not viewer.may_change(found.user_id):
        raise ForbiddenError("This session is somebody else's; you can read it, but not begin anything in it.")
    return found


def create_session(viewer: Viewer, db: Db, title: str, template: TemplateId | None = None) -> SessionId:
    """Make an empty session with a title of 1 to 200 characters; ``template`` is what it is begun from."""
    session_id, now, kept = new_session_id(), utc_now(), _checked(title)
    row = Session(session_id=session_id, user_id=viewer.user_id, title=kept, created_at=now, updated_at=now)
    row.template = template
    db.add(row)
    db.flush()
    record(db, viewer, "session.create", target_id=session_id, session_id=session_id)
    return session_id


def rename_session(viewer: Viewer, db: Db, session_id: SessionId, title: str) -> str:
    """Give it a title of 1 to 200 characters, and return that as it is kept; only its owner does."""
    title = _checked(title)
    found = _to_change(viewer, db, session_id)
    if not viewer.may_change(found.user_id):
        raise ForbiddenError("This session is somebody else's; only they can rename it.")
    found.title = title
    record(db, viewer, "session.rename", target_id=session_id, session_id=session_id)
    return title


def archive_session(viewer: Viewer, db: Db, session_id: SessionId, *, archived: bool = True) -> None:
    """Put it aside, or take it up again; its owner or an admin does, and a second time changes nothing."""
    found = _to_change(viewer, db, session_id)
    status = "archived" if archived else "active"
    if found.status == status:
        return
    found.status, found.updated_at = status, utc_now()
    kind = "session.archive" if archived else "session.unarchive"
    record(db, viewer, kind, target_id=session_id, session_id=session_id)


def mark_deleted(viewer: Viewer, db: Db, session_id: SessionId, *, detail: dict[str, Any] | None = None) -> None:
    """Hide it with its conversations from everybody; its owner or an admin does. What runs in it runs on."""
    found, now = _to_change(viewer, db, session_id), utc_now()
    found.meta = {**(found.meta or {}), _BEFORE: found.status}
    found.status, found.updated_at = "deleted", now
    db.flush()
    db.connection().execute(_HIDE, {"of": session_id, "at": now})
    counting.forget(db, [session_id])
    record(db, viewer, "session.delete", target_id=session_id, session_id=session_id, detail=detail)


def restore_session(viewer: Viewer, db: Db, session_id: SessionId) -> SessionRow:
    """Undo a deletion of the last minute; who may delete it may do so."""
    found = _to_change(viewer, db, session_id, deleted=True)
    at = found.updated_at
    if found.status != "deleted" or utc_now() - at > UNDO or is_being_purged(db, session_id):
        raise NotFoundError("It was deleted more than a minute ago and cannot be brought back.")
    meta = dict(found.meta or {})
    found.status, found.meta, found.updated_at = meta.pop(_BEFORE, "active"), meta, utc_now()
    db.flush()
    db.connection().execute(_SHOW, {"of": session_id, "at": at})
    record(db, viewer, "session.restore", target_id=session_id, session_id=session_id)
    return _to_row(found)


def is_being_purged(db: Db, session_id: SessionId) -> bool:
    """Whether its purge has begun, which is told in the record of activity for ever."""
    return db.connection().execute(_PURGED, {"of": session_id}).first() is not None


def hold_session(db: Db, session_id: SessionId) -> None:
    """Let who deletes the session wait until the caller is done; NotFoundError when somebody has deleted it."""
    status = db.connection().execute(_HOLD, {"of": session_id}).scalar()
    if status is None or status == "deleted":
        raise _not_found()


def is_there(session_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """The condition that a column does not name a deleted session."""
    # Under a name of its own, for whoever asks may read from the table too.
    other = _session.alias()
    return ~exists().where(other.c.session_id == session_id, other.c.status == "deleted")


def _to_change(viewer: Viewer, db: Db, session_id: SessionId, *, deleted: bool = False) -> Session:
    """The row itself, which nobody else changes meanwhile: for its owner or an admin."""
    found = db.get(Session, clean_text(session_id), with_for_update=True, populate_existing=True)
    if found is None or (found.status == "deleted" and not deleted) or not viewer.may_read(found.user_id):
        raise _not_found()
    if not (viewer.may_change(found.user_id) or viewer.is_admin):
        raise ForbiddenError("This session is somebody else's; you can read it, but not change it.")
    return found


def _checked(title: str) -> str:
    title = " ".join(clean_text(title).split())
    if not title:
        raise BadInputError("A title needs at least one character; please type one.")
    if len(title) > LONGEST_TITLE:
        raise BadInputError(f"A title has at most {LONGEST_TITLE} characters; please shorten it.")
    return title


def _to_row(found: Session) -> SessionRow:
    owner = UserId(found.user_id)
    times = found.created_at, found.updated_at
    return SessionRow(SessionId(found.session_id), owner, found.title, found.status, found.template, *times)


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such session here; it may have been deleted, or the link is wrong.")


_of_session = update(_conversation).where(_conversation.c.session_id == bindparam("of"))
_HIDE = _of_session.where(_conversation.c.deleted_at.is_(None)).values(deleted_at=bindparam("at"))
_SHOW = _of_session.where(_conversation.c.deleted_at == bindparam("at")).values(deleted_at=None)
_PURGED = select(_activity.c.activity_id).where(
    _activity.c.target_id == bindparam("of"), _activity.c.kind == "session.purge"
)
_HOLD = select(_session.c.status).where(_session.c.session_id == bindparam("of")).with_for_update(read=True)
