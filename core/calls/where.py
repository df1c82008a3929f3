"""A CallFilter as conditions on ``llm_call``: the one place that says which calls a viewer's choice means.

Invariant: a viewer who does not read all gets only calls that were attributed to themselves. What the texts of the
calls must hold (``CallFilter.text``) is not asked here: ``core/calls/text/search.py`` finds those.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from sqlalchemy import and_, extract, or_
from sqlalchemy.sql.elements import ColumnElement

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.database import table_of
from core.tables import LlmCall, utc_now

Columns = Mapping[str, ColumnElement[Any]]

_CALL = table_of(LlmCall).c
COLUMN_OF = {
    "users": "user_id",
    "sessions": "session_id",
    "agents": "agent_id",
    "agent_keys": "agent_key",
    "nodes": "node",
    "models": "model",
    "statuses": "status",
    "error_types": "error_type",
}
_EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)


def where_of(wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> list[ColumnElement[bool]]:
    """Conditions on ``llm_call`` that together mean the filter, but for its text, as this viewer may see it."""
    conditions = [*narrowed(wanted, viewer, dict(_CALL.items())), *_exact(wanted)]
    if wanted.statuses and "ok" not in wanted.statuses:
        conditions.append(_CALL.status != "ok")  # said in the words of a partial index
    if wanted.weekday is not None or wanted.hour is not None:
        conditions.append(at_local_time(wanted, tz, start_of_quarter()))
    return conditions


def narrowed(wanted: CallFilter, viewer: Viewer, columns: Columns) -> Iterator[ColumnElement[bool]]:
    """What the filter's lists and the viewer's rights mean for these columns, of ``llm_call`` or of a rollup."""
    for name, column in COLUMN_OF.items():
        if values := getattr(wanted, name):
            yield one_of(columns[column], values)
    if not viewer.reads_all:
        yield columns["user_id"] == viewer.user_id
    if wanted.attributed is not None:
        yield columns["attributed"].is_(wanted.attributed)


def one_of(column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
    """That the column has one of the values; "" stands for a missing one too."""
    if "" not in values:
        return column.in_(values) if len(values) > 1 else column == values[0]
    return or_(column.in_(values), column.is_(None))


def start_of_quarter() -> ColumnElement[int]:
    """When the quarter of an hour began in which a call of ``llm_call`` did, in seconds since 1970.

    All zones are whole quarters ahead of UTC or behind.
    """
    seconds: ColumnElement[int] = extract("epoch", _CALL.created_at)
    return seconds - seconds % 900


def has_whole_hours(wanted: CallFilter, tz: ZoneInfo) -> bool:
    """Whether an hour of UTC lies within one of the zone's, at all times that the filter means."""
    return all(offset.seconds % 3600 == 0 for offset in _offsets(wanted, tz))


def _offsets(wanted: CallFilter, tz: ZoneInfo) -> "list[Offset]":
    until = wanted.until or utc_now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=2)
    return offsets_between(tz, min(wanted.since or _EARLIEST, until), until)


def at_local_time(wanted: CallFilter, tz: ZoneInfo, start: ColumnElement[int]) -> ColumnElement[bool]:
    """That what began so many seconds after 1970 began in the filter's weekday and hour of the zone."""
    offsets = _offsets(wanted, tz)
    ends = [int(offset.since.timestamp()) for offset in offsets[1:]]
    parts = []
    for number, offset in enumerate(offsets):
        part = _local(wanted, start + offset.seconds)
        part += [start >= ends[number - 1]] if number else []
        part += [start < ends[number]] if number < len(ends) else []
        parts.append(and_(*part))
    return or_(*parts)


def _local(wanted: CallFilter, local: ColumnElement[int]) -> list[ColumnElement[bool]]:
    conditions = []
    if wanted.hour is not None:
        conditions += _within(local % 86400, wanted.hour * 3600, 3600)
    if wanted.weekday is not None:  # 1970 began on a Thursday
        conditions += _within((local + 3 * 86400) % 604800, wanted.weekday * 86400, 86400)
    return conditions


def _within(value: ColumnElement[int], low: int, length: int) -> list[ColumnElement[bool]]:
    return [value >= low, value < low + length]


def _exact(wanted: CallFilter) -> Iterator[ColumnElement[bool]]:
    if wanted.since is not None:
        yield _CALL.created_at >= wanted.since
    if wanted.until is not None:
        yield _CALL.created_at < wanted.until
    if wanted.thread:
        yield _CALL.thread_id == wanted.thread
    if wanted.message:
        yield _CALL.message_id == wanted.message
    if wanted.min_ms is not None:
        yield _CALL.duration_ms >= wanted.min_ms
    if wanted.max_ms is not None:
        yield _CALL.duration_ms < wanted.max_ms


class Offset(NamedTuple):
    """From a moment on (UTC), how far the local time is ahead of UTC, in seconds."""

    since: datetime
    seconds: int


@lru_cache(maxsize=64)
def offsets_between(tz: ZoneInfo, since: datetime, until: datetime) -> list[Offset]:
    """The zone's offsets from UTC between two moments: the one at first, then each change."""
    found = [Offset(since, _offset(tz, since))]
    at = since
    while at < until:
        following = min(at + timedelta(days=1), until)
        if _offset(tz, following) != found[-1].seconds:
            change = _first_with(tz, at, following)
            found.append(Offset(change, _offset(tz, change)))
        at = following
    return found


def _offset(tz: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(tz).utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _first_with(tz: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The moment, to the second, from which on the offset is that of ``high``, and not yet at ``low``."""
    wanted = _offset(tz, high)
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        low, high = (low, middle) if _offset(tz, middle) == wanted else (middle, high)
    return high.replace(microsecond=0)
