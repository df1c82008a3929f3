"""Seals for what people did: activity is put on the chain a moment after it was recorded.

Invariant: a row of activity either waits in ``activity_to_seal`` or stands on the chain exactly once; the step from
one to the other is a transaction. What Skein cannot have written waits for ever, and keeps nothing else from its
seal: ``core/calls/proof/verify.py`` names it.
"""

from typing import Any

from sqlalchemy import bindparam, delete, select
from sqlmodel import Session as Db

from core.calls.proof.beside import find_sealed, is_sealable
from core.calls.proof.chain import read_rows
from core.calls.proof.reading import read_all
from core.calls.proof.seals import ACTIVITY, lock_chain, seal_values
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
    after = ""
    while ids := [row[0] for row in read_all(db, _WAITING, {"after": after})]:
        if count := _seal_these(db, ids):
            return count
        after = ids[-1]
    return 0


def _seal_these(db: Db, ids: list[str]) -> int:
    """Seal those that can be; one that a seal has already is only taken off the queue."""
    rows: dict[str, Any] = {key: row for key, row in read_rows(db, "activity", ids).items() if is_sealable(row)}
    if not rows:
        return 0
    sealed = find_sealed(db, rows)
    fresh = [row for key, row in rows.items() if key not in sealed]
    if fresh:
        seal_values(db, ACTIVITY, fresh)
    db.connection().execute(_DONE, {"ids": list(rows)})
    return len(fresh)


_ANY = select(_to_seal.c.activity_id).limit(1)
_WAITING = (
    select(_to_seal.c.activity_id)
    .where(_to_seal.c.activity_id > bindparam("after"))
    .order_by(_to_seal.c.activity_id)
    .limit(_MOST)
)
_DONE = delete(_to_seal).where(_to_seal.c.activity_id.in_(bindparam("ids", expanding=True)))
