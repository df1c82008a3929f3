"""What stands beside the chain, or on it twice: rows that no seal has, and a queue that does not say what is so.

Invariant: what is in order is told by id, never by numbers alone: one row too many on the chain must not make up
for one that it lacks. All is asked of one moment, and whoever seals takes rows off the queue as the seal is added.
"""

from array import array
from bisect import bisect_left
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from sqlalchemy import Select, bindparam, func, select
from sqlmodel import Session as Db

from core.calls.proof.chain import Entry, digest_or_none, entries_of, read_rows, read_seals
from core.calls.proof.heads import Head
from core.calls.proof.reading import read_all
from core.calls.proof.seals import ACTIVITY, CALLS, CORRECTIONS, SEALS, RowForm, id_in, split_manifest
from core.database import Database, table_of
from core.errors import BadInputError
from core.ids import ParsedId, parse_id
from core.tables import ActivityToSeal

_IDS_AT_ONCE = 5_000
_PATIENCE = timedelta(minutes=10)
# Clocks of several processes: a seal may seem to be older than its rows, but hardly by more.
_CLOCKS_APART = timedelta(hours=1)


class Misplaced(NamedTuple):
    """A row that is not where it belongs, and what is wrong with that."""

    row_id: str
    problem: str


class Marks:
    """The rows a chain has, at eight bytes each: hashes of their ids, which no two share but by a rare chance."""

    def __init__(self) -> None:
        self._marks = array("q")

    def add(self, row_id: str) -> None:
        self._marks.append(hash(row_id))

    def settle(self) -> None:
        """To be called once all are added: whatever is asked needs them in order."""
        self._marks = array("q", sorted(self._marks))

    def __contains__(self, row_id: object) -> bool:
        mark = hash(row_id)
        at = bisect_left(self._marks, mark)
        return at < len(self._marks) and self._marks[at] == mark

    def doubles(self) -> set[int]:
        marks = self._marks
        return {marks[at] for at in range(1, len(marks)) if marks[at] == marks[at - 1]}


def find_twice(database: Database, head: Head | None, marks: Marks) -> Entry | None:
    """The first entry whose row an earlier one has too."""
    doubles, seen = marks.doubles(), set[str]()
    if not doubles:
        return None
    for seal in (seal for group in read_seals(database, head) for seal in group):
        for entry in entries_of(seal):
            if entry.row_id in seen:
                return entry
            if hash(entry.row_id) in doubles:
                seen.add(entry.row_id)
    return None


def find_beside(db: Db, head: Head | None, marks: Marks) -> Misplaced | None:
    """The first row that no seal has and that does not wait for one, or that waits and should not."""
    for query in _MUST_BE_SEALED:
        after = ""
        while ids := _ids(db, query, after):
            if missing := _without_seal(db, ids, head, marks):
                return Misplaced(
                    str(missing[0]), f"{missing[0]} is in the log, but no seal has it: it was put there."
                )
            after = ids[-1]
    return _find_in_queue(db, head, marks)


def _find_in_queue(db: Db, head: Head | None, marks: Marks) -> Misplaced | None:
    after, newest = "", parse_or_none(db.connection().execute(_NEWEST_ACTIVITY).scalar())
    while ids := _ids(db, _QUEUE, after):
        rows, unsealed = read_rows(db, "activity", ids), set(_without_seal(db, ids, head, marks))
        for one in ids:
            if problem := _fault_in_waiting(one, rows.get(one), newest, is_sealed=one not in unsealed):
                return Misplaced(str(one), problem)
        after = ids[-1]
    return None


def _fault_in_waiting(
    row_id: str, values: Sequence[Any] | None, newest: ParsedId | None, *, is_sealed: bool
) -> str:
    if is_sealed:
        return f"Activity {row_id} waits for a seal, but a seal has it already: it was put into the queue."
    if values is None:
        return f"The row of activity {row_id} was deleted before a seal had it."
    made = parse_or_none(row_id)
    if made is None or not is_sealable(values):
        return f"Activity {row_id} waits for a seal, but none can take it: it was put there, or changed before."
    if newest is not None and made.made_at < newest.made_at - _PATIENCE:
        return f"Activity {row_id} waits for a seal, though what was done over ten minutes later has one."
    return ""


def is_sealable(values: Sequence[Any]) -> bool:
    """Whether a row of activity, as it is kept, is one that Skein can have written."""
    made = parse_or_none(values[0])
    return made is not None and made.kind == "act" and digest_or_none(ACTIVITY, values) is not None


def parse_or_none(row_id: Any) -> ParsedId | None:
    try:
        return parse_id(row_id) if isinstance(row_id, str) else None
    except BadInputError:
        return None


def find_sealed(db: Db, ids: Collection[str]) -> set[str]:
    """Which of these rows (their ids are whole) a seal has already."""
    if not ids:
        return set()
    since = min(parse_id(one).made_at for one in ids) - _CLOCKS_APART
    return _sealed_after(db, f"seal_{int(since.timestamp() * 1000):013d}", ids).intersection(ids)


def _without_seal(db: Db, ids: Collection[str], head: Head | None, marks: Marks) -> list[str]:
    """Those that neither the chain up to the head has, nor what has been sealed since."""
    unknown = [one for one in ids if one not in marks]
    if not unknown:
        return []
    sealed = _sealed_after(db, head.seal_id if head else "", unknown)
    return [one for one in unknown if one not in sealed]


def _sealed_after(db: Db, seal_id: str, ids: Collection[str]) -> set[str]:
    """What the seals after this one have, as far as they may have these rows."""
    named = [one for one in ids if isinstance(one, str)]
    if not named:
        return set()
    bounds = {"after": seal_id, "first": min(named), "last": max(named)}
    manifests = db.connection().execute(_SEALS_AFTER, bounds).scalars()
    whole = (manifest for manifest in manifests if isinstance(manifest, bytes))
    return {id_in(entry) for manifest in whole for entry in split_manifest(manifest)}


def _ids(db: Db, query: Select[Any], after: str) -> list[str]:
    return [row[0] for row in read_all(db, query, {"after": after})]


def _ids_after(form: RowForm) -> Select[Any]:
    key = form.table.c[form.names[0]]
    return select(key).where(key > bindparam("after")).order_by(key).limit(_IDS_AT_ONCE)


_waiting = table_of(ActivityToSeal)
_MUST_BE_SEALED = (
    _ids_after(CALLS).where(CALLS.table.c.status != "started"),
    _ids_after(CORRECTIONS),
    _ids_after(ACTIVITY).where(ACTIVITY.table.c.activity_id.not_in(select(_waiting.c.activity_id))),
)
_QUEUE = (
    select(_waiting.c.activity_id)
    .where(_waiting.c.activity_id > bindparam("after"))
    .order_by(_waiting.c.activity_id)
    .limit(_IDS_AT_ONCE)
)
# Ids of activity come before those of all else.
_NEWEST_ACTIVITY = select(func.max(SEALS.c.last_call_id)).where(SEALS.c.first_call_id < "call_")
_SEALS_AFTER = select(SEALS.c.manifest).where(
    SEALS.c.seal_id > bindparam("after"),
    SEALS.c.first_call_id <= bindparam("last"),
    SEALS.c.last_call_id >= bindparam("first"),
)
