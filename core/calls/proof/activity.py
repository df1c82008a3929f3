"""Seals for what people did: activity is put on the chain a moment after it was recorded.

Invariant: a row of activity either waits in ``activity_to_seal`` or stands on the chain exactly once; the step from
one to the other is a transaction.
"""

from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlmodel import Session as Db

from core.calls.proof.seals import ACTIVITY, lock_chain, raw_columns, seal_values
from core.database import Database, table_of
from core.tables import ActivityToSeal

_MOST = 500
_to_seal = table_of(ActivityToSeal)


def seal_activity(database: Database) -> int:
    """Put activity that waits under one seal, the oldest first, 500 rows at most; gives how many rows."""
    with database.read() as db:
        if db.connection().execute(_ANY).first() is None:
            return 0
    return database.write(_seal)


def _seal(db: Db) -> int:
    # First of all: whoever else seals the same rows waits here, and finds them sealed.
    lock_chain(db)
    rows: list[Any] = list(db.connection().execute(_WAITING))
    if rows:
        seal_values(db, ACTIVITY, rows)
        db.connection().execute(_DONE, {"ids": [row[0] for row in rows]})
    return len(rows)


_ANY = select(_to_seal.c.activity_id).limit(1)
_WAITING = (
    select(*raw_columns(ACTIVITY.table))
    .join(_to_seal, _to_seal.c.activity_id == ACTIVITY.table.c.activity_id)
    .order_by(ACTIVITY.table.c.activity_id)
    .limit(_MOST)
)
_DONE = delete(_to_seal).where(_to_seal.c.activity_id.in_(bindparam("ids", expanding=True)))
