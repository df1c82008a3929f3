"""What the chain says and what the tables hold, read as the driver gives it, for ``core/calls/proof/verify.py``.

Raw values are fast to read, and whoever changed them may have put anything there: nothing here trusts a type.
"""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Select, Table, bindparam, select
from sqlmodel import Session as Db

from core.calls.proof.heads import Head
from core.calls.proof.reading import read_all
from core.calls.proof.seals import (
    ACTIVITY,
    CALLS,
    CORRECTIONS,
    ENTRY_BYTES,
    SEALS,
    RowForm,
    digest_in,
    hash_body,
    hash_seal,
    id_in,
    raw_columns,
    split_manifest,
)
from core.database import Database, table_of
from core.tables import LlmCallBody

UNREADABLE = (ValueError, TypeError, AttributeError, OverflowError, RecursionError)
_SEALS_AT_ONCE = 100


class Entry(NamedTuple):
    """A line of a manifest: what a row was when it was sealed."""

    seal_id: str
    row_id: str
    digest: bytes
    noun: str

    @property
    def name(self) -> str:
        return f"{self.noun} {self.row_id}"


def fault_in(seal: Any) -> str:
    """What is wrong with a seal by itself; "" when nothing is."""
    try:
        said = {name: getattr(seal, name) for name in _SAID}
        if hash_seal(**said) != seal.hash:
            return f"Seal {seal.seal_id} was changed: its hash does not fit what it says."
        manifest = seal.manifest
        intact = hashlib.sha256(manifest).hexdigest() == seal.rows_hash and len(manifest) % ENTRY_BYTES == 0
    except UNREADABLE:
        intact = False
    return "" if intact else f"Seal {seal.seal_id} was changed: its list of rows is not the one it was made with."


_SAID = ("prev_hash", "seal_id", "rows_hash", "first_call_id", "last_call_id", "sealed_at")


def entries_of(seal: Any) -> list[Entry]:
    entries = split_manifest(seal.manifest)
    return [Entry(seal.seal_id, id_in(one), digest_in(one), _NOUNS.get(one[:4], "call")) for one in entries]


_NOUNS = {b"fix_": "correction", b"act_": "activity"}
FORMS = {"call": CALLS, "correction": CORRECTIONS, "activity": ACTIVITY}


def digest_or_none(form: RowForm, values: Sequence[Any]) -> bytes | None:
    """A row's digest; None when its values are of no kind that Skein writes."""
    try:
        return form.digest_values(values)
    except UNREADABLE:
        return None


class Texts(NamedTuple):
    """What is kept of a call's texts; emptied ones count as deleted."""

    hash: str
    are_empty: bool


def _by_id(table: Table) -> Select[Any]:
    (key,) = table.primary_key
    return select(*raw_columns(table)).where(key.in_(bindparam("ids", expanding=True)))


_BY_ID = {noun: _by_id(form.table) for noun, form in FORMS.items()}
_TEXTS_BY_ID = _by_id(table_of(LlmCallBody))
BODY_HASH = CALLS.names.index("body_hash")
_NEXT_SEALS = (
    select(*raw_columns(SEALS))
    .where(SEALS.c.seal_id > bindparam("after"), SEALS.c.seal_id <= bindparam("last"))
    .order_by(SEALS.c.seal_id)
    .limit(_SEALS_AT_ONCE)
)


def read_seals(database: Database, head: Head | None) -> Iterator[Sequence[Any]]:
    """The seals up to the head in order, some at a time."""
    after = ""
    while head is not None:
        with database.read() as db:
            group = read_all(db, _NEXT_SEALS, {"after": after, "last": head.seal_id})
        if not group:
            return
        yield group
        after = group[-1].seal_id


def find_owner(database: Database, head: Head | None, form: RowForm, values: Sequence[Any]) -> Entry | None:
    """The entry that a row's values were sealed under, when that is not the row's own."""
    try:
        rest = form.write(values)[len(f'["{values[0]}"') :]
    except UNREADABLE:
        return None
    for seal in (seal for group in read_seals(database, head) for seal in group):
        for entry in entries_of(seal):
            if hashlib.sha256(b'["%b"' % entry.row_id.encode() + rest).digest() == entry.digest:
                return entry
    return None


def read_rows(db: Db, noun: str, ids: list[str]) -> dict[str, Sequence[Any]]:
    return {row[0]: row for row in read_all(db, _BY_ID[noun], {"ids": ids})} if ids else {}


def hash_texts(db: Db, ids: list[str]) -> dict[str, Texts]:
    return {row.call_id: _hash(row) for row in read_all(db, _TEXTS_BY_ID, {"ids": ids})} if ids else {}


def _hash(row: Any) -> Texts:
    texts = (row.prompt, row.response, row.tools)
    try:
        # A NUL would not count in the hash, but no text that Skein wrote has one.
        found = "" if any(text and "\0" in text for text in texts) else hash_body(row.salt, *texts)
    except UNREADABLE:
        found = ""
    return Texts(found, texts == (None, None, None))
