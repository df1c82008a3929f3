"""Which calls stand on a page of the table: keyset pages in any order, by the cheapest way through the indexes.

Either an index of who, what or when finds few enough to sort them all. Or the index of the order itself is walked
for a stretch, since among many wanted calls some are soon met; when too few are met (they may all stand at the
other end), what the narrowest index finds is sorted after all. PostgreSQL also has statistics to go by; SQLite
keeps none, so it is left no other index than the one that was chosen. Invariant: an order is total (calls without a
value last, then by id), so that a page begins exactly behind the last call of the page before.
"""

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Column, ColumnElement, FromClause, Select, and_, exists, func, literal, or_, select, tuple_
from sqlalchemy.sql.elements import UnaryExpression
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.visitors import replacement_traverse
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing.orders import Order, Place
from core.calls.text.search import matching
from core.calls.where import one_of, where_of
from core.database import table_of
from core.tables import CALL_STATUSES, CostCorrection, LlmCall

Conditions = Sequence[ColumnElement[bool]]

FEW = 20_000
_MANY = 1_000_000
_STRETCH = 5_000
_LLM_CALL = table_of(LlmCall)
_CALL = _LLM_CALL.c
_FIX = table_of(CostCorrection)
_NEWER = _FIX.alias("newer")
_VALUES: dict[str, ColumnElement[Any]] = {
    "time": _CALL.created_at,
    "duration": _CALL.duration_ms,
    "cost": _CALL.cost_usd,
    "tokens": _CALL.input_tokens + _CALL.output_tokens,
}
_NOT_OK = tuple(status for status in CALL_STATUSES if status != "ok")
_NO_INDEX: Any = custom_op("+")
_HAS_CORRECTIONS = select(_FIX.c.call_id).limit(1)
IS_NEWEST = ~exists().where(_NEWER.c.call_id == _FIX.c.call_id, _NEWER.c.correction_id > _FIX.c.correction_id)


def find_places(
    viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, order: Order, *, after: Place | None, limit: int
) -> list[Place]:
    """The next calls in this order behind a place, or the first."""
    conditions = where_of(wanted, viewer, tz)
    if order.sort == "text":
        before = after.call_id if after else None
        ids = matching(viewer, db, wanted.text, wanted=wanted, conditions=conditions, before=before, limit=limit)
        return [Place(None, call_id) for call_id in ids]
    search = _Search(db, conditions, order, _window_of(wanted), partial(_way_of, viewer, db, wanted))
    return search.run(after, limit)


def count_up_to(viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, most: int) -> int:
    """How many calls are wanted, but no more than ``most``."""
    conditions = where_of(wanted, viewer, tz)
    if wanted.text.strip():
        return len(matching(viewer, db, wanted.text, wanted=wanted, conditions=conditions, limit=most))
    way = _way_of(viewer, db, wanted, FEW)
    window = way or _window_of(wanted)
    return _count(db, [*_without_index(db, conditions), *window], most)


def _window_of(wanted: CallFilter) -> list[ColumnElement[bool]]:
    since = [_CALL.created_at >= wanted.since] if wanted.since is not None else []
    return since if wanted.until is None else [*since, _CALL.created_at < wanted.until]


def _way_of(viewer: Viewer, db: Db, wanted: CallFilter, most: int) -> Conditions | None:
    """The conditions, on one index, that leave the fewest calls to look at; None when each leaves over ``most``."""
    fewest, best = most + 1, None
    for conditions in _ways(viewer, wanted):
        found = _count(db, conditions, fewest) if conditions else fewest
        if found < fewest:
            fewest, best = found, conditions
        if fewest < 200:
            break
    return best


def _ways(viewer: Viewer, wanted: CallFilter) -> Iterator[Conditions]:
    """What is wanted, by each index that narrows it; likely the narrowest first, the window alone last."""
    window = _window_of(wanted)
    if wanted.thread:
        yield [_CALL.thread_id == wanted.thread]
    if wanted.message:
        yield [_CALL.message_id == wanted.message]
    if wanted.sessions:
        yield [one_of(_CALL.session_id, wanted.sessions), *window]
    if not viewer.reads_all:
        yield [_CALL.user_id == viewer.user_id, *window]
    elif wanted.attributed is False:
        yield [_CALL.user_id.is_(None), *window]
    elif wanted.users:
        yield [one_of(_CALL.user_id, wanted.users), *window]
    if (wanted.statuses and "ok" not in wanted.statuses) or (wanted.error_types and "" not in wanted.error_types):
        not_ok = _CALL.status != literal("ok", literal_execute=True)
        yield [not_ok, one_of(_CALL.status, wanted.statuses or _NOT_OK), *window]
    if wanted.models:
        yield [one_of(_CALL.model, wanted.models), *window]
    if wanted.min_ms is not None:
        slow = _CALL.duration_ms >= wanted.min_ms
        yield [slow] if wanted.max_ms is None else [slow, _CALL.duration_ms < wanted.max_ms]
    yield window


def _count(db: Db, conditions: Conditions, most: int) -> int:
    found = select(literal(1)).select_from(_LLM_CALL).where(*conditions).limit(most)
    return db.connection().execute(select(func.count()).select_from(found.subquery())).scalar_one()


def _without_index(db: Db, conditions: Conditions) -> Conditions:
    """The same conditions, so written that SQLite chooses no index by them (it uses none for ``+column``)."""
    if db.get_bind().dialect.name != "sqlite":
        return conditions
    return [replacement_traverse(condition, {}, _plus) for condition in conditions]


def _plus(element: Any, **_: object) -> Any:
    is_column = getattr(element, "table", None) is _LLM_CALL
    return UnaryExpression(element, operator=_NO_INDEX, type_=element.type) if is_column else None


@dataclass(frozen=True)
class _Values:
    """Where values to sort by come from: calls' own rows, or rows of corrections that stand for them."""

    source: FromClause
    value: ColumnElement[Any]
    call_id: ColumnElement[str]
    conditions: Conditions = ()


_OWN = {name: _Values(_LLM_CALL, value, _CALL.call_id) for name, value in _VALUES.items()}
_UNCORRECTED = _Values(_LLM_CALL, _CALL.cost_usd, _CALL.call_id, [~exists().where(_FIX.c.call_id == _CALL.call_id)])
_CORRECTED = _Values(
    _FIX.join(_LLM_CALL, _CALL.call_id == _FIX.c.call_id), _FIX.c.cost_usd, _FIX.c.call_id, [IS_NEWEST]
)


@dataclass(frozen=True)
class _Search:
    """Pages, in one order, of what fulfils the conditions."""

    db: Db
    conditions: Conditions
    order: Order
    window: Conditions
    way_of: Callable[[int], Conditions | None]

    def run(self, after: Place | None, limit: int) -> list[Place]:
        way = self.way_of(FEW)
        found = [place for values in self._values() for place in self._page(values, way, after, limit)]
        return sorted(found, key=self.order.rank, reverse=self.order.descending)[:limit]

    def _values(self) -> list[_Values]:
        if self.order.sort != "cost" or self.db.connection().execute(_HAS_CORRECTIONS).first() is None:
            return [_OWN[self.order.sort]]
        return [_UNCORRECTED, _CORRECTED]

    def _page(self, values: _Values, way: Conditions | None, after: Place | None, limit: int) -> list[Place]:
        if way is None:
            found = self._walk(values, after, limit)
            if len(found) == limit or self.order.sort == "time":
                return found
            way = self.way_of(_MANY) or []
        return self._sort(values, way, after, limit)

    def _walk(self, values: _Values, after: Place | None, limit: int) -> list[Place]:
        """What is met on a stretch of the order's index; the index of time is walked to the window's end."""
        missing = after is not None and after.value is None
        value, call_id = values.value, values.call_id
        stretch = [value.is_(None) if missing else value.is_not(None), *self._behind(value, call_id, after)]
        keys = self._keys([call_id] if missing else [value, call_id])
        if self.order.sort == "time":
            stretch += self.window
        else:
            end = select(value, call_id).where(*stretch).order_by(*keys).offset(_STRETCH).limit(1)
            last = self.db.connection().execute(end).first()
            stretch += [] if last is None else self._up_to(value, call_id, Place(*last))
        return self._places(self._select(values, value, call_id, stretch).order_by(*keys).limit(limit))

    def _sort(self, values: _Values, way: Conditions, after: Place | None, limit: int) -> list[Place]:
        """The first of all that are found by a way; what is computed is not looked for in another index."""
        if self.order.sort == "time":
            value, call_id, keys = values.value, values.call_id, [values.value, values.call_id]
        else:
            value, call_id = values.value + 0, values.call_id.concat("")
            keys = [value, call_id]
        behind = self._behind(value, call_id, after)
        if after is not None and after.value is not None and self.order.sort != "time":
            behind = [or_(and_(*behind), value.is_(None))]
        missing_last = [] if self.order.sort == "time" else [value.is_(None)]
        page = self._select(values, value, call_id, [*behind, *way])
        return self._places(page.order_by(*missing_last, *self._keys(keys)).limit(limit))

    def _select(
        self, values: _Values, value: ColumnElement[Any], call_id: ColumnElement[str], more: Conditions
    ) -> Select[Any]:
        page = select(value.label("value"), call_id.label("id")).select_from(values.source)
        return page.where(*values.conditions, *_without_index(self.db, self.conditions), *more)

    def _keys(self, keys: list[Any]) -> list[Any]:
        return [key.desc() if self.order.descending else key.asc() for key in keys]

    def _behind(
        self, value: ColumnElement[Any], call_id: ColumnElement[str], after: Place | None
    ) -> list[ColumnElement[bool]]:
        """That a call stands behind a place, among those that have a value, or those that have none, as it has."""
        if after is None:
            return []
        strict, edge = (operator.lt, operator.le) if self.order.descending else (operator.gt, operator.ge)
        return _compared(value, call_id, after, strict, edge)

    def _up_to(
        self, value: ColumnElement[Any], call_id: ColumnElement[str], last: Place
    ) -> list[ColumnElement[bool]]:
        edge = operator.ge if self.order.descending else operator.le
        return _compared(value, call_id, last, edge, edge)

    def _places(self, statement: Select[Any]) -> list[Place]:
        return [Place(*row) for row in self.db.connection().execute(statement)]


def _compared(
    value: ColumnElement[Any], call_id: ColumnElement[str], place: Place, compare: Any, edge: Any
) -> list[ColumnElement[bool]]:
    there = literal(place.call_id, call_id.type)
    if place.value is None:
        return [value.is_(None), compare(call_id, there)]
    given = literal(place.value, value.type)
    both = compare(tuple_(value, call_id), tuple_(given, there))
    # SQLite does not look up a pair in an index on an expression; the value alone it does.
    return [both] if isinstance(value, Column) else [edge(value, given), both]
