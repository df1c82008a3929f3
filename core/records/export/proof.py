"""The seals that cover an export's rows, and the chain from the first of them to the head.

Invariant: whoever has these lines and the rows can recompute all that the chain says of them; of rows that are not
in the export they learn an id and a digest, from which nothing can be read.
"""

import base64
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import structlog
from sqlalchemy import bindparam, select

from core.calls.proof.activity import seal_activity
from core.calls.proof.seals import SEALS, id_in, raw_columns, split_manifest
from core.database import Database
from core.outside import read_failure
from core.records.export.rows import Row, plain_time

log = structlog.get_logger("skein.records")
_SEALS_AT_ONCE = 100
_DAY_MS = 86_400_000
_MOMENT = re.compile(r"[a-z]+_(\d{13})_")
_HEADER = ("seal_id", "prev_hash", "rows_hash", "hash", "first_call_id", "last_call_id")


@dataclass(frozen=True)
class Proof:
    """How many seals were written, the last of them, and which rows no seal has."""

    count: int
    head: Row | None
    without: frozenset[str]


def write_seals(database: Database, row_ids: Collection[str], write: Callable[[Row], object]) -> Proof:
    """Write every seal from the first that covers one of these rows to the chain's head, as plain rows.

    ``manifest`` is there, in base64, where a seal covers any of the rows, and ``rows`` names those.
    """
    _seal_what_waits(database)
    wanted, found = frozenset(row_ids), set[str]()
    count, last = 0, None
    for seal in _read_seals(database, _begin(wanted)):
        rows = [one for entry in split_manifest(seal.manifest) if (one := id_in(entry)) in wanted]
        if not rows and not count:
            continue
        last = {name: getattr(seal, name) for name in _HEADER} | {"sealed_at": plain_time(seal.sealed_at)}
        manifest = base64.b64encode(seal.manifest).decode() if rows else None
        write(last | {"manifest": manifest, "rows": rows})
        found.update(rows)
        count += 1
    head = None if last is None else {name: last[name] for name in ("seal_id", "hash", "sealed_at")}
    return Proof(count, head, wanted - found)


def _seal_what_waits(database: Database) -> None:
    try:
        while seal_activity(database):
            pass
    except Exception as error:  # noqa: BLE001 - whatever it was: rows without a seal are named as such in the export
        log.warning("export_could_not_seal", error=type(error).__name__, text=read_failure(error, 300))


def _begin(row_ids: Collection[str]) -> str:
    """An id that is surely less than that of the first seal over any of these: a row is made before its seal."""
    made = [int(match[1]) for one in row_ids if (match := _MOMENT.match(one))]
    if not made:
        return "seal_~"
    return "" if len(made) < len(row_ids) else f"seal_{max(min(made) - _DAY_MS, 0):013d}"


def _read_seals(database: Database, after: str) -> Iterator[Any]:
    while True:
        with database.read() as db:
            some = db.connection().execute(_NEXT, {"after": after}).all()
        yield from some
        if len(some) < _SEALS_AT_ONCE:
            return
        after = some[-1].seal_id


_NEXT = (
    select(*raw_columns(SEALS))
    .where(SEALS.c.seal_id > bindparam("after"))
    .order_by(SEALS.c.seal_id)
    .limit(_SEALS_AT_ONCE)
)
