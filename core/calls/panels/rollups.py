"""What is counted of ended calls: by the hour for *what ran*, by day and session for *who ran it*.

A call is counted in the transaction that stores its end, under the moment it began; a missing text counts as "".
An answer from a cache counts under a status of its own, with neither time nor tokens.
How long calls took is kept in histograms (``histograms``). Invariant: the rollups equal what their calls, with the
newest correction of each cost, would count anew; ``find_disagreements`` says where they do not.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Column, Connection, Float, Table, and_, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlmodel import Session as Db

from core.calls.panels.histograms import bucket_of, pack, unpack
from core.database import table_of
from core.tables import CostCorrection, LlmCall, LlmCallDay, LlmCallHour

Row = Mapping[str, Any]
Key = tuple[Any, ...]
Times = dict[int, int]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The status here of what a cache answered, and what says so in a call's ``cost_source``.
CACHED, CACHED_BY = "cached", "cache"
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
_SUMS = ("calls", "unpriced", "estimated", *_TOKENS, "duration_ms", "cost_usd")
_HISTOGRAMS = ("durations", "ttfts")


class _Grain(NamedTuple):
    """One rollup: its table, and the names of its key."""

    table: Table
    names: tuple[str, ...]

    @property
    def step(self) -> Column[int]:
        """The first column of the key: hours or days since 1970."""
        return self.table.c[self.names[0]]

    @property
    def per_day(self) -> int:
        return 24 if self.names[0] == "hour" else 1


def _grain(table: Table) -> _Grain:
    return _Grain(table, tuple(column.name for column in table.primary_key))


_HOUR, _DAY = _grain(table_of(LlmCallHour)), _grain(table_of(LlmCallDay))
_TEXTS = tuple(name for name in _DAY.names if name not in ("day", "hour", "attributed"))
# A key of the days has more in it than one of the hours: here is where the latter's parts are in the former.
_PLACES = [_DAY.names.index(name) for name in _HOUR.names]


def count_calls(db: Db, rows: Sequence[Row]) -> None:
    """Add these calls, those of them that have ended, to both rollups, inside the caller's transaction.

    Of all processes only one may count at a time, because histograms are read, changed and written back.
    """
    days = _count(row for row in rows if row["status"] != "started")
    if not days:
        return
    hours = _by_hour(days)
    connection = db.connection()
    for grain, counted in ((_HOUR, hours), (_DAY, days)):
        _add_stored_times(connection, grain, counted)
        connection.execute(_adding(grain, connection.dialect.name), [*_as_rows(grain, counted)])


def count_corrections(db: Db, corrections: Iterable[tuple[Row, float, int]]) -> None:
    """Add to the cost of counted calls: ``(row, dollars more or less, 1 if it was unpriced until now)``.

    The last number is -1 for a call that had a price and has none any more.
    """
    days: dict[Key, tuple[float, int]] = {}
    hours: dict[Key, tuple[float, int]] = {}
    for row, more, priced in corrections:
        key = _key(row)
        for changes, its_key in ((days, key), (hours, _hour_key(key))):
            have = changes.get(its_key, (0.0, 0))
            changes[its_key] = (have[0] + more, have[1] + priced)
    for grain, changes in ((_HOUR, hours), (_DAY, days)):
        names = ["key_" + name for name in grain.names] + ["more", "priced"]
        values = [dict(zip(names, (*key, *change), strict=True)) for key, change in changes.items()]
        if values:
            db.connection().execute(_correcting(grain), values)


def step_of(moment: datetime, seconds: int) -> int:
    """How many whole steps of so many seconds lie between 1970 and the moment."""
    return (moment - EPOCH) // timedelta(seconds=seconds)


class _Counted:
    """What one row of a rollup gains, and then holds."""

    __slots__ = ("durations", "sums", "ttfts")

    def __init__(self) -> None:
        self.sums: list[float] = [0] * len(_SUMS)
        self.durations: Times = {}
        self.ttfts: Times = {}

    def add(self, sums: Iterable[float], durations: Times, ttfts: Times) -> None:
        self.sums = [have + more for have, more in zip(self.sums, sums, strict=True)]
        _add(self.durations, durations)
        _add(self.ttfts, ttfts)


def _add(times: Times, more: Times) -> None:
    for bucket, count in more.items():
        times[bucket] = times.get(bucket, 0) + count


def _key(row: Row) -> Key:
    """Where a call counts in ``llm_call_day``, in the order of ``_DAY.names``."""
    hour = step_of(row["created_at"], 3600)
    status = CACHED if row["cost_source"] == CACHED_BY else row["status"]
    session, user, *rest = [(status if name == "status" else row[name]) or "" for name in _TEXTS]
    return (hour // 24, session, user, hour, *rest, bool(row["attributed"]))


def _hour_key(key: Key) -> Key:
    return tuple([key[place] for place in _PLACES])


def _count(rows: Iterable[Row]) -> dict[Key, _Counted]:
    counted: defaultdict[Key, _Counted] = defaultdict(_Counted)
    for row in rows:
        is_cached = row["cost_source"] == CACHED_BY
        times = [{} if is_cached else _time(row[name]) for name in ("duration_ms", "ttft_ms")]
        counted[_key(row)].add(_measures(row), *times)
    return counted


def _by_hour(days: Mapping[Key, _Counted]) -> dict[Key, _Counted]:
    counted: defaultdict[Key, _Counted] = defaultdict(_Counted)
    for key, one in days.items():
        counted[_hour_key(key)].add(one.sums, one.durations, one.ttfts)
    return counted


def _measures(row: Row) -> tuple[float, ...]:
    """What one call adds to each of ``_SUMS``."""
    if row["cost_source"] == CACHED_BY:
        return (1, *[0] * (len(_SUMS) - 1))
    cost = row["cost_usd"]
    return (
        1,
        1 if cost is None else 0,
        1 if row["usage_source"] == "estimated" else 0,
        *[row[name] or 0 for name in _TOKENS],
        row["duration_ms"] or 0.0,
        cost or 0.0,
    )


def _time(ms: float | None) -> Times:
    return {} if ms is None else {bucket_of(ms): 1}


def _add_stored_times(connection: Connection, grain: _Grain, counted: Mapping[Key, _Counted]) -> None:
    """Add the histograms that are stored already, because the sums of both will take their place."""
    keys = sorted(counted)
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        which = {name: list({key[grain.names.index(name)] for key in some}) for name in _FOUND_BY[grain]}
        for row in connection.execute(_TIMES[grain], which):
            into = counted.get(tuple(row[2:]))
            if into is not None:
                _add(into.durations, unpack(row[0]))
                _add(into.ttfts, unpack(row[1]))


def _as_rows(grain: _Grain, counted: Mapping[Key, _Counted]) -> Iterator[dict[str, Any]]:
    names = (*grain.names, *_SUMS, *_HISTOGRAMS)
    for key, one in sorted(counted.items()):
        yield dict(zip(names, (*key, *one.sums, pack(one.durations), pack(one.ttfts)), strict=True))


@lru_cache(maxsize=8)
def _adding(grain: _Grain, dialect: str) -> Any:
    insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
    statement = insert(grain.table)
    table, new = grain.table.c, statement.excluded
    changes = {name: table[name] + new[name] for name in _SUMS} | {name: new[name] for name in _HISTOGRAMS}
    return statement.on_conflict_do_update(index_elements=grain.names, set_=changes)


@lru_cache(maxsize=8)
def _correcting(grain: _Grain) -> Any:
    table = grain.table.c
    keys = [table[name] == bindparam("key_" + name) for name in grain.names]
    cost = table.cost_usd + bindparam("more", type_=Float)
    unpriced = table.unpriced - bindparam("priced", type_=BigInteger)
    return grain.table.update().where(*keys).values(cost_usd=cost, unpriced=unpriced)


def _times(grain: _Grain) -> Any:
    table = grain.table.c
    found = [table[name].in_(bindparam(name, expanding=True)) for name in _FOUND_BY[grain]]
    return select(table.durations, table.ttfts, *[table[name] for name in grain.names]).where(*found)


_FOUND_BY = {_HOUR: ("hour",), _DAY: ("day", "session_id", "hour")}
_TIMES = {grain: _times(grain) for grain in _FOUND_BY}

# --- counting anew ----------------------------------------------------------------------------------------------

_CALL = table_of(LlmCall)
_FIX = table_of(CostCorrection)
_NEEDED = (
    "call_id",
    "created_at",
    *_TEXTS,
    "attributed",
    "usage_source",
    "cost_usd",
    "cost_source",
    "duration_ms",
    "ttft_ms",
    *_TOKENS,
)


def find_disagreements(db: Db, *, since: datetime | None = None, until: datetime | None = None) -> list[str]:
    """One sentence for each row of the rollups that differs from its calls, of the days of ``[since, until)``."""
    first, last = _days(db, since, until)
    return [sentence for day in range(first, last) for sentence in _differences(db, day)]


def find_wrong_days(db: Db) -> list[int]:
    """The days, since 1970, of which a row of the rollups differs from its calls."""
    return [day for day in range(*_days(db, None, None)) if next(_differences(db, day), None)]


def recount_day(db: Db, day: int) -> None:
    """Count a day's calls anew, inside the caller's transaction, which keeps others from counting meanwhile."""
    days = _count(_calls_of(db, day))
    for grain, counted in ((_HOUR, _by_hour(days)), (_DAY, days)):
        first = day * grain.per_day
        db.connection().execute(grain.table.delete().where(grain.step >= first, grain.step < first + grain.per_day))
        if counted:
            db.connection().execute(grain.table.insert(), [*_as_rows(grain, counted)])


def _days(db: Db, since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """The days to look at, by default all that have a call or are counted."""
    calls = db.connection().execute(select(func.min(_CALL.c.created_at), func.max(_CALL.c.created_at))).one()
    days = [step_of(moment, 86400) for moment in calls if moment is not None]
    for grain in (_HOUR, _DAY):
        steps = db.connection().execute(select(func.min(grain.step), func.max(grain.step))).one()
        days += [step // grain.per_day for step in steps if step is not None]
    first = step_of(since, 86400) if since else min(days, default=0)
    return first, -step_of(EPOCH - (until - EPOCH), 86400) if until else max(days, default=-1) + 1


def _differences(db: Db, day: int) -> Iterator[str]:
    days = _count(_calls_of(db, day))
    for grain, counted in ((_HOUR, _by_hour(days)), (_DAY, days)):
        stored = _stored(db, grain, day)
        wanted = {tuple(row[name] for name in grain.names): row for row in _as_rows(grain, counted)}
        for key in sorted({*wanted, *stored}):
            wrong = [*_wrong(wanted.get(key, {}), stored.get(key, {}))]
            if wrong:
                names = dict(zip(grain.names, key, strict=True))
                yield f"{grain.table.name} {names} disagrees with its calls: {', '.join(wrong)}."


def _wrong(wanted: Row, stored: Row) -> Iterator[str]:
    if not stored or not wanted:
        yield "it is missing" if wanted else "there are no such calls"
        return
    for name in _SUMS:
        if not math.isclose(wanted[name], stored[name], rel_tol=1e-9, abs_tol=1e-6):
            yield f"{name} is {stored[name]}, but should be {wanted[name]}"
    for name in _HISTOGRAMS:
        if wanted[name] != bytes(stored[name]):
            yield f"its histogram {name} differs"


def _stored(db: Db, grain: _Grain, day: int) -> dict[Key, Row]:
    first = day * grain.per_day
    query = grain.table.select().where(grain.step >= first, grain.step < first + grain.per_day)
    rows = (row._asdict() for row in db.connection().execute(query))
    return {tuple(row[name] for name in grain.names): row for row in rows}


def _calls_of(db: Db, day: int) -> Iterator[dict[str, Any]]:
    """The ended calls that began on a day, each with its cost as the newest correction has it."""
    start = EPOCH + timedelta(days=day)
    within = and_(_CALL.c.created_at >= start, _CALL.c.created_at < start + timedelta(days=1))
    fixes = select(_FIX.c.call_id, _FIX.c.cost_usd).join(_CALL, _CALL.c.call_id == _FIX.c.call_id).where(within)
    newest = {row.call_id: row.cost_usd for row in db.connection().execute(fixes.order_by(_FIX.c.correction_id))}
    calls = select(*[_CALL.c[name] for name in _NEEDED]).where(within, _CALL.c.status != "started")
    for row in db.connection().execute(calls):
        found = row._asdict()
        yield {**found, "cost_usd": newest.get(row.call_id, found["cost_usd"])}
