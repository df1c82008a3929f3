"""Pricing past calls anew: first a preview of what would change, then corrections that say so.

A call's own row never moves; what it costs is said by its newest ``cost_correction``, if it has one. Invariant: a
correction is stored, sealed and counted in one transaction, and only what a preview has shown is ever appended. A
call for which no price is found now keeps the cost it has.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import bindparam, func, insert, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels import rollups
from core.calls.pricing.prices import Cost, prices_of
from core.calls.pricing.usage import USAGE_COLUMNS
from core.calls.proof import seals
from core.calls.where import where_of
from core.database import Database, table_of
from core.errors import BadInputError, ConflictError
from core.history.activity import record
from core.ids import new_correction_id
from core.tables import CostCorrection, LlmCall, utc_now

BATCH = 250
_PAGE = 1_000
_SAME_USD = 5e-11
_LLM_CALL, _CORRECTION = table_of(LlmCall), table_of(CostCorrection)
_CALL, _FIX = _LLM_CALL.c, _CORRECTION.c
_NEEDED = (
    "call_id",
    "created_at",
    "provider",
    "base_url",
    "model",
    "response_model",
    "params",
    "cost_usd",
    "cost_source",
    *USAGE_COLUMNS,
)


@dataclass(frozen=True)
class ModelRepricing:
    """What would change of one model's calls; costs in US dollars, of the calls that would change."""

    model: str
    calls: int = 0
    newly_priced: int = 0
    cost_before: float = 0.0
    cost_after: float = 0.0


@dataclass(frozen=True)
class Repricing:
    """What pricing anew would change of the calls that began before ``until``.

    ``looked_at`` counts all calls that were priced anew, ``changing`` those that would cost something else;
    ``cost_before`` and ``cost_after`` are what these cost in US dollars, an unpriced one nothing. ``digest`` stands
    for each change one by one.
    """

    until: datetime
    looked_at: int
    changing: int
    newly_priced: int
    cost_before: float
    cost_after: float
    models: tuple[ModelRepricing, ...]
    digest: str


class _Change(NamedTuple):
    """A call that would cost something else; ``correction_id`` is the newest one it has now."""

    call_id: str
    model: str
    correction_id: str | None
    before: float | None
    after: float
    cost: Cost


def preview_repricing(viewer: Viewer, database: Database, wanted: CallFilter) -> Repricing:
    """Price these calls anew, by the prices as they stand now, and say what would change."""
    return _survey(viewer, database, wanted)[0]


def reprice(
    viewer: Viewer,
    database: Database,
    wanted: CallFilter,
    *,
    expected: Repricing,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Append the corrections that the preview has shown, and say how many; ConflictError if it no longer fits."""
    wanted = replace(wanted, until=expected.until)
    found, marks = _survey(viewer, database, wanted)
    if found.digest != expected.digest:
        raise ConflictError("What would change is no longer what the preview showed; please look at a new preview.")
    done = 0
    for batch in _batches(viewer, database, wanted):
        job = _appending(viewer, batch, first_of=None if done else expected)
        try:
            _expect([_mark(change) for change in batch] == marks[done : done + len(batch)].tolist())
            database.write(job)
        except ConflictError as error:
            raise ConflictError(f"{error} {done:,} corrections were appended before.") from None
        done += len(batch)
        if progress is not None:
            progress(done, expected.changing)
    return done


def _survey(viewer: Viewer, database: Database, wanted: CallFilter) -> tuple[Repricing, "array[int]"]:
    """What would change, and a mark for each change by which it is known again in this process."""
    viewer.require_admin()
    if wanted.text:
        raise BadInputError("Calls that are found by their text cannot be priced anew; please clear the search.")
    now = utc_now()
    until = min(wanted.until or now, now)
    prices_of(database).refresh()
    digest, marks = hashlib.sha256(), array("q")
    models, looked_at = dict[str, ModelRepricing](), 0
    for seen, changes in _read_changes(viewer, database, replace(wanted, until=until)):
        looked_at += seen
        for change in changes:
            digest.update(repr(_known_by(change)).encode())
            marks.append(_mark(change))
            models[change.model] = _add(models.get(change.model) or ModelRepricing(change.model), change)
    return _summed(until, looked_at, list(models.values()), digest.hexdigest()), marks


def _known_by(change: _Change) -> tuple[object, ...]:
    return change.call_id, change.before, change.after, change.cost.cost_source


def _mark(change: _Change) -> int:
    return hash(_known_by(change))


def _expect(as_shown: bool) -> None:
    if not as_shown:
        raise ConflictError("Somebody else changed prices or costs just now; please look at a new preview.")


def _add(so_far: ModelRepricing, change: _Change) -> ModelRepricing:
    return ModelRepricing(
        so_far.model,
        so_far.calls + 1,
        so_far.newly_priced + (change.before is None),
        so_far.cost_before + (change.before or 0.0),
        so_far.cost_after + change.after,
    )


def _summed(until: datetime, looked_at: int, models: Sequence[ModelRepricing], digest: str) -> Repricing:
    return Repricing(
        until=until,
        looked_at=looked_at,
        changing=sum(one.calls for one in models),
        newly_priced=sum(one.newly_priced for one in models),
        cost_before=sum(one.cost_before for one in models),
        cost_after=sum(one.cost_after for one in models),
        models=tuple(sorted(models, key=lambda one: (-abs(one.cost_after - one.cost_before), one.model))),
        digest=digest,
    )


def _batches(viewer: Viewer, database: Database, wanted: CallFilter) -> Iterator[list[_Change]]:
    waiting: list[_Change] = []
    for _, changes in _read_changes(viewer, database, wanted):
        waiting += changes
        while len(waiting) >= BATCH:
            yield waiting[:BATCH]
            waiting = waiting[BATCH:]
    if waiting:
        yield waiting


def _read_changes(viewer: Viewer, database: Database, wanted: CallFilter) -> Iterator[tuple[int, list[_Change]]]:
    """Page by page, how many calls were looked at, and which of them would change; oldest first."""
    prices = prices_of(database)
    statement = _calls(viewer, wanted)
    place: tuple[datetime, str] | None = None
    while True:
        page = statement if place is None else statement.where(*_behind(*place))
        with database.read() as db:
            rows = [row._asdict() for row in db.connection().execute(page)]
        changes = [change for row in rows if (change := _change(row, prices.cost_of_call(row))) is not None]
        yield len(rows), changes
        if len(rows) < _PAGE:
            return
        place = (rows[-1]["created_at"], rows[-1]["call_id"])


def _change(row: dict[str, Any], cost: Cost) -> _Change | None:
    before = row["cost_usd"] if row["correction_id"] is None else row["corrected_usd"]
    after = cost.cost_usd
    if after is None or (before is not None and abs(after - before) < _SAME_USD):
        return None
    return _Change(row["call_id"], row["model"] or "", row["correction_id"], before, after, cost)


def _correction(viewer: Viewer, change: _Change) -> dict[str, Any]:
    return {
        "correction_id": new_correction_id(),
        "call_id": change.call_id,
        "created_at": utc_now(),
        "created_by": viewer.user_id,
        "cost_before": change.before,
        "cost_usd": change.after,
        "price_id": change.cost.price_id,
        "cost_source": change.cost.cost_source,
        "reason": "priced anew",
    }


def _appending(viewer: Viewer, batch: list[_Change], *, first_of: Repricing | None) -> Callable[[Db], None]:
    """The transaction that stores, seals and counts a batch; the first one also tells who priced anew."""
    corrections = [_correction(viewer, change) for change in batch]

    def job(db: Db) -> None:
        seals.lock_chain(db)  # from here on no other process adds corrections
        rows = _rows_as_seen(db, batch)
        seals.seal(db, [], corrections)
        db.connection().execute(_APPEND, corrections)
        more = [(row, one.after - (one.before or 0.0), int(one.before is None)) for row, one in rows]
        rollups.count_corrections(db, more)
        if first_of is not None:
            record(db, viewer, "call.reprice", detail=_detail(first_of))

    return job


def _rows_as_seen(db: Db, batch: list[_Change]) -> list[tuple[dict[str, Any], _Change]]:
    """The calls' rows; ConflictError when one of them is gone or has got another correction meanwhile."""
    wanted = {"ids": [change.call_id for change in batch]}
    rows = {row.call_id: row._asdict() for row in db.connection().execute(_ROWS, wanted)}
    newest = {row.call_id: row.newest for row in db.connection().execute(_NEWEST, wanted)}
    _expect(all(one.call_id in rows and newest.get(one.call_id) == one.correction_id for one in batch))
    return [(rows[one.call_id], one) for one in batch]


def _detail(expected: Repricing) -> dict[str, Any]:
    return {
        "calls": expected.changing,
        "newly_priced": expected.newly_priced,
        "cost_before": round(expected.cost_before, 10),
        "cost_after": round(expected.cost_after, 10),
    }


def _calls(viewer: Viewer, wanted: CallFilter) -> Any:
    """A page of the calls that can be priced, with their newest corrections; in the order of time."""
    other = _CORRECTION.alias()
    newest = select(func.max(other.c.correction_id)).where(other.c.call_id == _CALL.call_id).scalar_subquery()
    return (
        select(
            *[_CALL[name] for name in _NEEDED],
            _FIX.correction_id,
            _FIX.cost_usd.label("corrected_usd"),
        )
        .select_from(_LLM_CALL.outerjoin(_CORRECTION, _FIX.correction_id == newest))
        .where(*where_of(wanted, viewer, ZoneInfo("UTC")), _CALL.status != "started")
        .where(_CALL.input_tokens.is_not(None), _CALL.output_tokens.is_not(None))
        .order_by(_CALL.created_at, _CALL.call_id)
        .limit(_PAGE)
        .with_hint(_LLM_CALL, "INDEXED BY llm_call_by_time", "sqlite")  # else it sorts anew for every page
    )


def _behind(created_at: datetime, call_id: str) -> tuple[Any, Any]:
    later = or_(_CALL.created_at > created_at, _CALL.call_id > call_id)
    return _CALL.created_at >= created_at, later


_APPEND = insert(_CORRECTION)
_IDS: Any = bindparam("ids", expanding=True)
_ROWS = select(_LLM_CALL).where(_CALL.call_id.in_(_IDS))
_NEWEST = (
    select(_FIX.call_id, func.max(_FIX.correction_id).label("newest"))
    .where(_FIX.call_id.in_(_IDS))
    .group_by(_FIX.call_id)
)
