"""Sessions as places to work in: their conversations share artifacts.

Invariant: a session is *not found* for whoever may not read it, and only its owner begins something in it.
"""

from dataclasses import dataclass

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import ForbiddenError, NotFoundError
from core.ids import SessionId, UserId
from core.tables import Session


@dataclass(frozen=True)
class SessionRow:
    """A session, and whose it is."""

    session_id: SessionId
    user_id: UserId
    title: str


def get_session(viewer: Viewer, db: Db, session_id: SessionId) -> SessionRow:
    """One session; NotFoundError when it is not there for this viewer."""
    found = db.get(Session, session_id)
    if found is None or not viewer.may_read(found.user_id):
        raise NotFoundError("There is no such session here; it may have been deleted, or the link is wrong.")
    return SessionRow(session_id, UserId(found.user_id), found.title)


def get_own_session(viewer: Viewer, db: Db, session_id: SessionId) -> SessionRow:
    """The same, for beginning something in it; ForbiddenError when it is somebody else's."""
    found = get_session(viewer, db, session_id)
    if not viewer.may_change(found.user_id):
        raise ForbiddenError("This session is somebody else's; you can read it, but not begin anything in it.")
    return found
