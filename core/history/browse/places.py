"""Which sessions stand on a page of the list, in any order: pages that begin behind, or end before, a place.

What is counted of a session is so little that one pass over all 100,000 answers every filter in any order in a few
tens of milliseconds, and no index is needed for most. Two make it less: sessions by when they were last active,
which is the usual order, and a person's sessions. SQLite keeps no statistics to choose by, so it is left no other
index than the one that is chosen here. Invariant: an order is total, so that no session is skipped or given twice.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Column, ColumnElement, UnaryExpression, collate, func, literal, select, tuple_
from sqlalchemy.sql.operators import custom_op
from sqlalchemy.sql.visitors import replacement_traverse
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.browse.filters import SessionFilter
from core.history.browse.orders import Order, Place
from core.history.browse.where import FAILED, STAT, Condition, user_ids_of, where_of
from core.tables import SessionStat, User

FEW = 20_000
_stat, _user = table_of(SessionStat), table_of(User)
_VALUES: dict[str, ColumnElement[Any]] = {
    "active": STAT.last_active_at,
    "created": STAT.created_at,
    "cost": STAT.cost_usd,
    "tokens": STAT.tokens,
    "messages": STAT.messages,
    "branches": STAT.branches,
    "failed": FAILED,
    "title": STAT.title_key,
    "user": _user.c.name,
}
_NO_INDEX: Any = custom_op("+")


@dataclass(frozen=True)
class Search:
    """The sessions that are wanted; ``by_person`` and ``by_id`` where those indexes are the way to them.

    ``is_plain``: nothing is asked for by which most of the index of times might have to be passed over.
    """

    db: Db
    conditions: Sequence[Condition]
    by_person: bool
    by_id: bool
    is_plain: bool

    def find(self, order: Order, *, after: Place | None, limit: int) -> list[Place]:
        """The next places in this order, or, when ``after`` says so, those before it, nearest first."""
        descending = order.descending != (after is not None and after.before)
        walks = self.is_plain and order.sort == "active"
        value, session_id = self._value(order, walks), self._way(STAT.session_id, walks)
        found = select(value.label("value"), STAT.session_id).select_from(self._source(order))
        found = found.where(*[self._way(condition, walks) for condition in self.conditions])
        if after is not None:
            there = tuple_(literal(after.value, value.type), literal(after.row_id, STAT.session_id.type))
            compare = operator.lt if descending else operator.gt
            found = found.where(compare(tuple_(value, session_id), there))
        keys = [key.desc() if descending else key.asc() for key in (value, session_id)]
        if not self._is_sqlite and not walks:  # PostgreSQL walks no index so ordered; no value is ever missing
            keys[0] = keys[0].nulls_last() if descending else keys[0].nulls_first()
        return [Place(*row) for row in self.db.connection().execute(found.order_by(*keys).limit(limit))]

    def count(self, most: int) -> int:
        """How many are wanted, but no more than ``most``."""
        found = select(literal(1)).select_from(_stat)
        found = found.where(*[self._way(condition, self.is_plain) for condition in self.conditions]).limit(most)
        return self.db.connection().execute(select(func.count()).select_from(found.subquery())).scalar_one()

    def joined(self) -> list[Condition]:
        """The conditions, for sessions that are come to by what is in them, and not by any index of their own."""
        search = replace(self, by_person=False, by_id=False)
        return [search._way(condition, walks=False) for condition in self.conditions]

    @property
    def _is_sqlite(self) -> bool:
        return self.db.get_bind().dialect.name == "sqlite"

    def _source(self, order: Order) -> Any:
        return _stat.join(_user, _user.c.user_id == STAT.user_id) if order.sort == "user" else _stat

    def _value(self, order: Order, walks: bool) -> ColumnElement[Any]:
        value = _VALUES[order.sort]
        if order.sort == "user":
            return value if self._is_sqlite else collate(value, "C")
        return self._way(value, walks)  # type: ignore[no-any-return]

    def _way(self, element: Any, walks: bool) -> Any:
        """The same, so written that SQLite chooses no index by it (it uses none for ``+column``) but the best."""
        return element if walks or not self._is_sqlite else replacement_traverse(element, {}, self._plus)

    def _plus(self, element: Any, **_: object) -> Any:
        if not isinstance(element, Column) or element.table is not _stat:
            return None
        if (self.by_person and element is STAT.user_id) or (self.by_id and element is STAT.session_id):
            return None
        return UnaryExpression(element, operator=_NO_INDEX, type_=element.type)


def search_for(viewer: Viewer, db: Db, wanted: SessionFilter) -> Search:
    """A search for these sessions, by the way that suits them."""
    conditions = where_of(viewer, db, wanted)
    is_plain = len(wanted.shelves) < 2 and len(wanted.users) < 2 and _without_plain(wanted) == _PLAIN
    people = [viewer.user_id] if not viewer.reads_all else user_ids_of(viewer, db, wanted.users)
    by_person = people is not None and _has_few(db, people)
    return Search(db, conditions, by_person, bool(wanted.text or wanted.sessions), is_plain)


def _has_few(db: Db, people: Sequence[str]) -> bool:
    found = select(literal(1)).select_from(_stat).where(STAT.user_id.in_(people)).limit(FEW)
    return db.connection().execute(select(func.count()).select_from(found.subquery())).scalar_one() < FEW


def _without_plain(wanted: SessionFilter) -> SessionFilter:
    """The filter without what the index of times, or a person's, answers by itself."""
    return replace(wanted, shelves=(), users=(), since=None, until=None)


_PLAIN = SessionFilter()
