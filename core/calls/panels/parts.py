"""Where the calls that a filter means are: each stretch of them in the cheapest table that knows them exactly.

What ran is asked of ``llm_call_hour``, who ran it of ``llm_call_day``, both for whole hours; what is left at the
edges of the window, and whatever no rollup can tell (one thread, a time taken, found texts, hours of a zone that is
half an hour off), of ``llm_call``. An answer from a cache is no call: it is counted apart, without time or tokens.
Invariant: the parts together are the ended calls that ``where_of`` means, each once, to the microsecond of the
window's edges.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BigInteger, Float, Integer, Table, case, cast, exists, func, literal, select
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels.rollups import CACHED, CACHED_BY, EPOCH, step_of
from core.calls.where import at_local_time, has_whole_hours, narrowed, start_of_quarter, where_of
from core.database import table_of
from core.tables import CostCorrection, LlmCall, LlmCallDay, LlmCallHour

FAILED = ("error", "lost")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
OWNERS = frozenset({"user_id", "session_id"})
_TEXTS = ("user_id", "session_id", "model", "agent_id", "agent_key", "node", "status", "error_type")
_MOST_IDS = 5000  # in one statement
_FEW = 30_000

_CALL, _HOUR, _DAY, _FIX = (table_of(model) for model in (LlmCall, LlmCallHour, LlmCallDay, CostCorrection))


@dataclass(frozen=True)
class Look:
    """Who looks at which calls: what every panel is asked. ``call_ids`` are those whose text matched, if asked."""

    viewer: Viewer
    wanted: CallFilter
    tz: ZoneInfo
    call_ids: Sequence[str] | None = None


@dataclass(frozen=True)
class Part:
    """A stretch of the calls in one table: what to group by, what to add up, and which rows."""

    table: Table
    columns: Mapping[str, ColumnElement[Any]]
    sums: Mapping[str, ColumnElement[Any]]
    where: list[ColumnElement[bool]]

    @property
    def is_rollup(self) -> bool:
        return self.table is not _CALL

    @property
    def has_owners(self) -> bool:
        """Whether it is the rollup that tells who ran the calls."""
        return self.table is _DAY


def parts_of(db: Db, look: Look, by: Sequence[str] = ()) -> list[Part]:
    """The parts that together are all ended calls of the look, able to tell apart what ``by`` names."""
    wanted = look.wanted
    if look.call_ids is not None:
        return [_calls(db, look, wanted, ids) for ids in in_pieces(look.call_ids)]
    if wanted.thread or wanted.message or wanted.min_ms is not None or wanted.max_ms is not None:
        return [_calls(db, look, wanted)]
    if wanted.sessions and "" not in wanted.sessions:
        return [_calls(db, look, wanted)]  # a session has few calls, and an index that finds them
    is_local = "start" in by or wanted.weekday is not None or wanted.hour is not None
    if is_local and not has_whole_hours(wanted, look.tz):
        return [_calls(db, look, wanted)]
    first, last = _whole_hours(wanted)
    if first is not None and last is not None and first >= last:
        return [_calls(db, look, wanted)]
    owned = OWNERS & {*by} or wanted.users or wanted.sessions or not look.viewer.reads_all
    rollup = _rollup(_DAY if owned else _HOUR, look, first, last)
    return [rollup, *(_calls(db, look, edge) for edge in _edges(wanted, first, last))]


def in_pieces(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in pieces that one statement can name; one empty piece of none."""
    for start in range(0, max(len(ids), 1), _MOST_IDS):
        yield ids[start : start + _MOST_IDS]


def _whole_hours(wanted: CallFilter) -> tuple[int | None, int | None]:
    """The first hour that is whole inside the window, and the one after the last; None where it is open."""
    first = None if wanted.since is None else -((EPOCH - wanted.since) // timedelta(hours=1))
    return first, None if wanted.until is None else step_of(wanted.until, 3600)


def _edges(wanted: CallFilter, first: int | None, last: int | None) -> Iterator[CallFilter]:
    """What the window has before and after its whole hours."""
    if wanted.since is not None and first is not None and wanted.since < _moment(first):
        yield replace(wanted, until=_moment(first))
    if wanted.until is not None and last is not None and _moment(last) < wanted.until:
        yield replace(wanted, since=_moment(last))


def _moment(hour: int) -> datetime:
    return EPOCH + timedelta(hours=hour)


def _rollup(table: Table, look: Look, first: int | None, last: int | None) -> Part:
    wanted = look.wanted
    if "ok" in wanted.statuses:
        wanted = replace(wanted, statuses=(*wanted.statuses, CACHED))
    where = [*narrowed(wanted, look.viewer, dict(table.c.items()))]
    where += [] if first is None else [table.c.hour >= first]
    where += [] if last is None else [table.c.hour < last]
    if table is _DAY:
        where += [] if first is None else [table.c.day >= first // 24]
        where += [] if last is None else [table.c.day <= (last - 1) // 24]
    if look.wanted.weekday is not None or look.wanted.hour is not None:
        where.append(at_local_time(look.wanted, look.tz, table.c.hour * 3600))
    columns = {**dict(table.c.items()), "start": table.c.hour * 3600}
    return Part(table, columns, _sums(columns, columns), where)


def _calls(db: Db, look: Look, wanted: CallFilter, ids: Sequence[str] | None = None) -> Part:
    call = _CALL.c
    where = [*where_of(wanted, look.viewer, look.tz), call.status != "started"]
    where += [] if ids is None else [call.call_id.in_(ids)]
    where += _found_by_duration(db, wanted)
    texts: dict[str, ColumnElement[Any]] = {name: func.coalesce(call[name], "") for name in _TEXTS}
    is_cached = func.coalesce(call.cost_source, "") == CACHED_BY
    texts["status"] = case((is_cached, CACHED), else_=call.status)
    times = {name: case((is_cached, None), else_=call[name]) for name in ("duration_ms", "ttft_ms")}
    columns = {**dict(call.items()), **texts, **times, "start": cast(start_of_quarter(), Integer)}
    return Part(_CALL, columns, _sums(columns, _measures(_cost(db))), where)


def _found_by_duration(db: Db, wanted: CallFilter) -> list[ColumnElement[bool]]:
    """Where few calls took so long, begin with those: a planner may think that few fall into the window."""
    its = _CALL.alias().c
    bounds = [] if wanted.min_ms is None else [its.duration_ms >= wanted.min_ms]
    bounds += [] if wanted.max_ms is None else [its.duration_ms < wanted.max_ms]
    if not bounds:
        return []
    found = select(its.call_id).where(*bounds)
    count = select(func.count()).select_from(found.limit(_FEW + 1).subquery())
    return [_CALL.c.call_id.in_(found)] if db.connection().execute(count).scalar_one() <= _FEW else []


def _measures(cost: ColumnElement[Any]) -> dict[str, ColumnElement[Any]]:
    """What a call of ``llm_call`` adds to the columns that the rollups have."""
    one = literal(1, Integer)
    return {
        "calls": one,
        "unpriced": case((cost.is_(None), one), else_=0),
        "estimated": case((_CALL.c.usage_source == "estimated", one), else_=0),
        "cost_usd": func.coalesce(cost, 0.0),
        **{name: func.coalesce(_CALL.c[name], 0) for name in TOKENS},
    }


def _cost(db: Db) -> ColumnElement[Any]:
    """What a call cost, as its newest correction has it; looked up only where there are any corrections."""
    if db.connection().execute(_ANY_CORRECTION).first() is None:
        return _CALL.c.cost_usd
    its = _FIX.c.call_id == _CALL.c.call_id
    newest = select(_FIX.c.cost_usd).where(its).order_by(_FIX.c.correction_id.desc()).limit(1).scalar_subquery()
    return case((exists().where(its), newest), else_=_CALL.c.cost_usd)


def _sums(
    columns: Mapping[str, ColumnElement[Any]], measures: Mapping[str, ColumnElement[Any]]
) -> dict[str, ColumnElement[Any]]:
    status = columns["status"]
    calls = case((status != CACHED, measures["calls"]), else_=0)
    counted = {
        "calls": calls,
        "cache_hits": case((status == CACHED, measures["calls"]), else_=0),
        "errors": case((status.in_(FAILED), calls), else_=0),
        "cancelled": case((status == "cancelled", calls), else_=0),
        "attributed": case((columns["attributed"], calls), else_=0),
        "tokens": measures["input_tokens"] + measures["output_tokens"],
        **{name: measures[name] for name in ("unpriced", "estimated", *TOKENS)},
    }
    whole: dict[str, ColumnElement[Any]] = {name: cast(func.sum(one), BigInteger) for name, one in counted.items()}
    return {**whole, "cost_usd": cast(func.sum(measures["cost_usd"]), Float)}


_ANY_CORRECTION = select(_FIX.c.correction_id).limit(1)
