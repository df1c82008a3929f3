"""Seals: the chain that makes a changed, deleted, swapped or slipped-in row of call log and activity show.

Each batch of ended calls gets one seal in the transaction that stores it; what people did gets seals of its own a
moment later (``core/calls/proof/activity.py``). A seal's *manifest* lists the ids of its rows, each with a digest
of the row; its hash covers the manifest and the hash of the seal before it. A call's texts are covered through
``llm_call.body_hash``, so that they may be deleted later and the chain still holds.

Invariant: one chain per database, and every ended call, every correction and all activity that does not wait for
its seal stands on it exactly once. There is no secret in a seal: who may write to the database could make the whole
chain anew. That shows against a head that was exported before and kept elsewhere (``core/calls/proof/verify.py``).

A row's digest is the SHA-256 of its values as a JSON list in the table's order, without the missing ones at the
list's end: a column that is added later, last and nullable, leaves old digests as they are. Moments are
microseconds since 1970, floats are written by ``repr`` (-0.0 as 0.0, NaN as missing: SQLite keeps neither),
booleans as 0 and 1, JSON as its canonical text, and text without what a database cannot hold.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Float, Integer, Table, select, text, type_coerce
from sqlalchemy.types import NullType
from sqlmodel import Session as Db

from core.database import insert_rows, table_of
from core.errors import BadInputError
from core.ids import SealId, new_seal_id
from core.outside import fit_text, holds_known
from core.prepared import Prepared
from core.tables import (
    Activity,
    CostCorrection,
    JsonText,
    LlmCall,
    LogSeal,
    UtcTime,
    canonical_json,
    utc_now,
)

ID_BYTES = 31
ENTRY_BYTES = ID_BYTES + hashlib.sha256().digest_size
NO_HASH = "0" * 64
_CHAIN_LOCK = 4_781_220_252
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_WITHOUT_ZONE = _EPOCH.replace(tzinfo=None)
_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode

Row = Mapping[str, Any]


def _micros(value: datetime | str) -> int:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    since = moment - (_EPOCH if moment.tzinfo else _EPOCH_WITHOUT_ZONE)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _number(value: Any) -> Any:
    if isinstance(value, (str, bytes)):  # a database that is lax about types may hold these; they are no numbers
        return value
    number = value if type(value) is float else float(value)
    return number + 0.0 if number == number else None  # noqa: PLR0124 - as NaN is not; quicker than to ask for it


def _whole(value: Any) -> Any:
    number = int(value)
    return number if number == value else value


def _json_text(value: Any) -> str:
    return _settle(value if isinstance(value, str) else canonical_json(value))


@lru_cache(maxsize=1_000)
def _settle(text: str) -> str:
    """The canonical text once it was read back: cleaning can put keys out of order, or make two of them one."""
    return canonical_json(json.loads(text))


class RowForm:
    """How the rows of one table are written down to be digested, whether kept by SQLite, PostgreSQL or Python."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names = [column.name for column in table.columns]
        self._pick = itemgetter(*self.names)
        self._fixes = [(at, *found) for at, column in enumerate(table.columns) if (found := _fix_for(column.type))]

    def digest(self, row: Row) -> bytes:
        """The digest of a row of Python values."""
        values = self._pick(row)
        written = self.write(values)
        if b"\\u0000" in written or holds_known(written):
            written = self.write([fit_text(value) if isinstance(value, str) else value for value in values])
        return hashlib.sha256(written).digest()

    def digest_values(self, values: Sequence[Any]) -> bytes:
        """The digest of a kept row's values in the table's order, as the database's driver gives them."""
        return hashlib.sha256(self.write(values)).digest()

    def write(self, values: Sequence[Any]) -> bytes:
        fixed = list(values)
        for index, fix, plain in self._fixes:
            value = fixed[index]
            if value is not None and type(value) is not plain:
                fixed[index] = fix(value)
        while fixed and fixed[-1] is None:
            fixed.pop()
        return _to_json(fixed).encode("utf-8", "ignore")


_Fix = Callable[[Any], Any]
_FIXES: list[tuple[type, _Fix, type | None]] = [
    (UtcTime, _micros, None),
    (Float, _number, None),
    (Boolean, _whole, int),
    (Integer, _whole, int),
    (JsonText, _json_text, None),
]


def _fix_for(kind: object) -> tuple[_Fix, type | None] | None:
    """What makes a column's values one, and the Python type that needs nothing done."""
    return next(((fix, plain) for of, fix, plain in _FIXES if isinstance(kind, of)), None)


CALLS = RowForm(table_of(LlmCall))
CORRECTIONS = RowForm(table_of(CostCorrection))
ACTIVITY = RowForm(table_of(Activity))
SEALS = table_of(LogSeal)


def raw_columns(table: Table) -> list[ColumnElement[Any]]:
    """The table's columns, to be read as the database's driver gives them."""
    return [type_coerce(column, NullType()).label(column.name) for column in table.columns]


def digest_of(row: Row) -> bytes:
    """The digest of a row of llm_call: the same before it is inserted and read back from either database."""
    return CALLS.digest(row)


def hash_body(salt: str, prompt: str | None, response: str | None, tools: str | None) -> str:
    """What ``llm_call.body_hash`` keeps of a call's texts, in hex; a missing text differs from an empty one."""
    digest = hashlib.sha256()
    for part in (salt, prompt, response, tools):
        if part is None:
            digest.update(b"-")
            continue
        kept = part.encode("utf-8", "ignore").replace(b"\0", b"")
        digest.update(b"%d:" % len(kept))
        digest.update(kept)
    return digest.hexdigest()


def hash_seal(
    *,
    prev_hash: str,
    seal_id: str,
    rows_hash: str,
    first_call_id: str,
    last_call_id: str,
    sealed_at: datetime | str,
) -> str:
    """The hash of a seal, in hex: over the one before it, and all that it says itself."""
    parts = (prev_hash, seal_id, rows_hash, first_call_id, last_call_id, str(_micros(sealed_at)))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "ignore")).hexdigest()


_NEWEST = Prepared(select(SEALS.c.seal_id, SEALS.c.hash).order_by(SEALS.c.seal_id.desc()).limit(1))
_LOCK = text("SELECT pg_advisory_xact_lock(:key)")


def lock_chain(db: Db) -> None:
    """Let no other process extend the chain until the caller's transaction ends; a second time is free."""
    connection = db.connection()
    if connection.dialect.name != "sqlite":  # SQLite's writer holds the whole database already
        connection.execute(_LOCK, {"key": _CHAIN_LOCK})


def seal(db: Db, rows: Collection[Row], corrections: Collection[Row] = ()) -> SealId:
    """Extend the chain by one seal over ended calls and corrections, inside the caller's transaction.

    It locks the chain, so seal before you take other locks.
    """
    return _extend(db, _list(rows, corrections))


def seal_values(db: Db, form: RowForm, rows: Iterable[Sequence[Any]]) -> SealId:
    """The same over rows of one table as they are kept: their values in the table's order (``raw_columns``)."""
    return _extend(db, sorted(_entry(values[0], form.digest_values(values)) for values in rows))


def _extend(db: Db, entries: list[bytes]) -> SealId:
    lock_chain(db)
    last_id, last_hash = _NEWEST.first(db, {}) or (None, NO_HASH)
    seal_id = new_seal_id(after=last_id)
    insert_rows(db, LogSeal, [_make_seal(seal_id, last_hash, entries)])
    return seal_id


def _list(rows: Collection[Row], corrections: Collection[Row]) -> list[bytes]:
    """The manifest's entries: an id padded to 31 bytes, then the row's digest."""
    entries = [_entry(row["call_id"], CALLS.digest(row)) for row in rows]
    entries += [_entry(row["correction_id"], CORRECTIONS.digest(row)) for row in corrections]
    return sorted(entries)


def _entry(key: str, digest: bytes) -> bytes:
    entry = key.encode("ascii").ljust(ID_BYTES) + digest
    if len(entry) != ENTRY_BYTES:
        raise BadInputError(f"The id {key!r} is too long to be sealed; use the ids that core/ids.py makes.")
    return entry


def _make_seal(seal_id: SealId, prev_hash: str, entries: list[bytes]) -> dict[str, Any]:
    if not entries:
        raise BadInputError("A seal needs at least one row.")
    manifest = b"".join(entries)
    said: dict[str, Any] = {
        "seal_id": seal_id,
        "prev_hash": prev_hash,
        "rows_hash": hashlib.sha256(manifest).hexdigest(),
        "first_call_id": id_in(entries[0]),
        "last_call_id": id_in(entries[-1]),
        "sealed_at": utc_now(),
    }
    return {**said, "hash": hash_seal(**said), "manifest": manifest}


def split_manifest(manifest: bytes) -> list[bytes]:
    """The entries of a manifest: each an id (``id_in``) and the digest of its row (``digest_in``)."""
    return [manifest[at : at + ENTRY_BYTES] for at in range(0, len(manifest), ENTRY_BYTES)]


def digest_in(entry: bytes) -> bytes:
    return entry[ID_BYTES:]


def id_in(entry: bytes) -> str:
    return entry[:ID_BYTES].decode("ascii", "replace").rstrip()
