"""What people did, one row each: interaction history and audit trail at once.

A row says who, when, what and to what, in ids, names of kinds and numbers: never in words that somebody wrote, so
that a person's words can be taken away while the record, and the chain that seals it, stay whole.

Invariant: rows are only ever added, in the transaction of what they tell of, so that neither is there without the
other; and each waits in ``activity_to_seal`` until a seal has it (``core/calls/proof/activity.py``).
"""

from typing import Any

from sqlalchemy import bindparam, select
from sqlmodel import Session as Db

from core.access.deeds import DEEDS
from core.access.viewer import Viewer
from core.database import Database, insert_into, table_of
from core.errors import BadInputError
from core.ids import UserId, new_activity_id
from core.prepared import Prepared
from core.tables import Activity, ActivityToSeal, utc_now

HOUSE = Viewer(UserId("skein"), "Skein", "admin")
"""Who did what nobody is signed in for: the housekeeper, and commands at the keyboard of the server."""

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
    """Add that the viewer did this (one of ``DEEDS``), to be kept if the caller's transaction is."""
    if kind not in DEEDS:
        raise BadInputError(f"There is no deed {kind!r}; please add it to core/access/deeds.py.")
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
    _ADD.run(db, row)
    _ADD_TO_SEAL.run(db, row)


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


def record_look(
    viewer: Viewer, database: Database, kind: str, *, target_id: str, owner_id: str | None, session_id: str | None
) -> None:
    """Record that the viewer looks at what is somebody else's: once per sign-in and target."""
    if owner_id == viewer.user_id:
        return
    with database.read() as db:
        if is_recorded(db, viewer, kind, target_id=target_id):
            return
    database.write(lambda db: record_once(db, viewer, kind, target_id=target_id, session_id=session_id))


def is_recorded(db: Db, viewer: Viewer, kind: str, *, target_id: str) -> bool:
    """Whether this sign-in of the viewer (all that came without one count as one) has done this to this target."""
    who = {"who": viewer.user_id, "login": viewer.login_id, "kind": kind, "target": target_id}
    return _FIND.first(db, who) is not None


_ADD = insert_into(Activity)
_ADD_TO_SEAL = insert_into(ActivityToSeal)
_FIND = Prepared(
    select(_TABLE.c.activity_id)
    .where(
        _TABLE.c.target_id == bindparam("target"),
        _TABLE.c.kind == bindparam("kind"),
        _TABLE.c.user_id == bindparam("who"),
        _TABLE.c.login_id.is_not_distinct_from(bindparam("login")),
    )
    .limit(1)
)
