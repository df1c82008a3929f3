"""What people did, one row each: interaction history and audit trail at once.

Invariant: rows are only ever added, in the transaction of what they tell of, so that neither is there without the
other.
"""

from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.ids import new_activity_id
from core.tables import Activity, utc_now

_TABLE = table_of(Activity)


def record(
    db: Db,
    viewer: Viewer,
    kind: str,
    *,
    target_id: str | None = None,
    session_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Add that the viewer did this, to be kept if the caller's transaction is."""
    row = {
        "activity_id": new_activity_id(),
        "created_at": utc_now(),
        "user_id": viewer.user_id,
        "login_id": viewer.login_id,
        "kind": kind,
        "target_id": target_id,
        "session_id": session_id,
        "detail": detail or {},
    }
    db.connection().execute(_INSERT, row)


def record_once(
    db: Db,
    viewer: Viewer,
    kind: str,
    *,
    target_id: str,
    session_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> bool:
    """The same, unless this sign-in has already done this to this target; True when it was added."""
    if is_recorded(db, viewer, kind, target_id=target_id):
        return False
    record(db, viewer, kind, target_id=target_id, session_id=session_id, detail=detail)
    return True


def is_recorded(db: Db, viewer: Viewer, kind: str, *, target_id: str) -> bool:
    """Whether this sign-in of the viewer (all that came without one count as one) has done this to this target."""
    who = {"who": viewer.user_id, "login": viewer.login_id, "kind": kind, "target": target_id}
    return db.connection().execute(_FIND, who).first() is not None


_INSERT = insert(_TABLE)
_FIND = (
    select(_TABLE.c.activity_id)
    .where(
        _TABLE.c.target_id == bindparam("target"),
        _TABLE.c.kind == bindparam("kind"),
        _TABLE.c.user_id == bindparam("who"),
        _TABLE.c.login_id.is_not_distinct_from(bindparam("login")),
    )
    .limit(1)
)
