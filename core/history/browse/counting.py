"""What ``session_stat`` and ``session_facet`` hold is counted here, from the rows they are about.

Triggers add a session to ``session_to_count`` in the transaction that changes something of it; ``count_changed``
takes those that wait, counts them anew from one view of the database, and stores that in one short transaction.
What a session cost is what the call log says of it, so calls under messages that were deleted since count on.

Invariant: what is stored is what ``compute`` gives, or the session waits. A count is stored only by whoever still
finds one of the waiting rows it was read with: so neither is a change lost that came meanwhile, nor does an older
count take the place of a newer one, however many processes count.
"""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import accumulate, chain, islice
from math import isclose
from typing import Any

from sqlalchemy import BindParameter, Row, Select, bindparam, case, delete, exists, extract, func, insert, select
from sqlmodel import Session as Db

from core.database import Database, in_parts, table_of, upsert
from core.errors import BusyError
from core.history.browse.titles import to_title_key
from core.history.waiting import do_all_or_each
from core.tables import (
    THREAD_STATUSES,
    Branch,
    Conversation,
    CostCorrection,
    LlmCall,
    Message,
    Session,
    SessionFacet,
    SessionStat,
    SessionToCount,
    Thread,
)

SPARKS = 24
FAILED_CALLS = ("error", "lost")
_ROWS_AT_ONCE = 2_000
_COUNTER_LOCK = 4_781_220_254
_session, _conversation, _message = table_of(Session), table_of(Conversation), table_of(Message)
_thread, _branch, _call, _fix = table_of(Thread), table_of(Branch), table_of(LlmCall), table_of(CostCorrection)
_queue, _stat, _facet = table_of(SessionToCount), table_of(SessionStat), table_of(SessionFacet)
Facets = frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Counted:
    """What is counted of one session: its row of ``session_stat``, and ``(kind, value)`` of its facets."""

    stat: dict[str, Any]
    facets: Facets


# -- keeping count --------------------------------------------------------------------------------------


def count_changed(database: Database, most: int = 200) -> int:
    """Count the sessions that have waited longest; how many those were, 0 when none waits or another is at them."""
    with database.read() as db:
        waiting = _take(db, most)
    return do_all_or_each(list(waiting), partial(_count, database, waiting), partial(_put_off, database, waiting))


def count_waiting(database: Database, *, within_seconds: float = 10.0) -> None:
    """Count all sessions that wait at this moment, here or in another process; BusyError when that takes too long.

    Whoever is about to do something with all that a filter finds must not miss what was changed just before.
    """
    end = time.monotonic() + within_seconds
    with database.read() as db:
        last = db.connection().execute(_LAST).scalar()
    while last is not None:
        counted = count_changed(database)
        with database.read() as db:
            if db.connection().execute(_UP_TO, {"last": last}).first() is None:
                return
        if not counted:
            if time.monotonic() >= end:
                raise BusyError("What was changed just now is still being counted; please try again in a moment.")
            time.sleep(0.05)


def _count(database: Database, waiting: Mapping[str, Sequence[int]], session_ids: Collection[str]) -> int:
    if not session_ids:
        return 0
    with database.read() as db:
        counted = compute(db, session_ids)
    return database.write(lambda db: _store(db, {of: waiting[of] for of in session_ids}, counted))


def _put_off(database: Database, waiting: Mapping[str, Sequence[int]], session_id: str) -> None:
    """Let a session that cannot be counted wait at the end of the queue."""
    database.write(lambda db: _queue_again(db, [session_id] if _unqueue(db, waiting[session_id]) else []))


def _take(db: Db, most: int) -> dict[str, list[int]]:
    """The sessions that come next, each with all its rows of the queue as of this moment; not too many rows."""
    connection = db.connection()
    first = connection.execute(_FIRST, {"most": _ROWS_AT_ONCE}).scalars()
    chosen = list(dict.fromkeys(first))[:most]
    waiting: dict[str, list[int]] = {session_id: [] for session_id in chosen}
    for session_id, position in connection.execute(_ROWS_OF, {"sessions": chosen}):
        waiting[session_id].append(position)
    sizes = accumulate(len(positions) for positions in waiting.values())
    within = sum(size <= _ROWS_AT_ONCE for size in sizes)
    return dict(islice(waiting.items(), max(within, 1)))


def _store(db: Db, waiting: Mapping[str, Sequence[int]], counted: Mapping[str, Counted]) -> int:
    connection = db.connection()
    if connection.dialect.name == "postgresql" and not connection.execute(_LOCK).scalar_one():
        return 0  # another process is at them
    mine = _unqueue(db, list(chain.from_iterable(waiting.values())))
    # Who deletes a session takes its counts away at once: they must not come back with what was read before.
    kept = set(connection.execute(_KEPT, {"sessions": list(mine)}).scalars())
    _put(db, {of: counted[of] for of in sorted(kept & counted.keys())})
    forget(db, mine - counted.keys())
    again = sorted((mine & counted.keys()) - kept)
    _queue_again(db, again)
    return len(waiting) - len(again)


def _unqueue(db: Db, positions: Sequence[int]) -> set[str]:
    found: set[str] = set()
    for some in in_parts(positions):
        found.update(db.connection().execute(_UNQUEUE, {"positions": some}).scalars())
    return found


def _queue_again(db: Db, session_ids: Sequence[str]) -> None:
    if session_ids:
        db.connection().execute(insert(_queue), [{"session_id": of} for of in session_ids])


def _put(db: Db, counted: Mapping[str, Counted]) -> None:
    """Store what was counted; a facet that stays is not touched."""
    upsert(db, SessionStat, [one.stat for one in counted.values()])
    stored = _stored_facets(db, counted)
    gone = [(of, facet) for of, facets in stored.items() for facet in facets - counted[of].facets]
    new = [(of, facet) for of, one in counted.items() for facet in one.facets - stored.get(of, frozenset())]
    for rows, statement in ((gone, _DROP_FACET), (sorted(new), insert(_facet))):
        if rows:
            values = [{"kind": kind, "value": value, "session_id": of} for of, (kind, value) in rows]
            db.connection().execute(statement, values)


def forget(db: Db, session_ids: Collection[str]) -> None:
    """Take the counts of sessions away, inside the transaction of the caller who deletes them."""
    for some in in_parts(session_ids):
        for statement in (_DROP_STAT, _DROP_FACETS):
            db.connection().execute(statement, {"sessions": some})


def _stored_facets(db: Db, session_ids: Iterable[str]) -> dict[str, Facets]:
    found: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    for of, kind, value in db.connection().execute(_FACETS_OF, {"sessions": list(session_ids)}):
        found[of].add((kind, value))
    return {of: frozenset(facets) for of, facets in found.items()}


# -- counting -------------------------------------------------------------------------------------------


def compute(db: Db, session_ids: Collection[str]) -> dict[str, Counted]:
    """What the rows say of these sessions now; deleted ones, and those that are not there, are left out."""
    tallies: dict[str, _Tally] = {}
    for some in in_parts(session_ids):
        given = {"sessions": some}
        tallies |= {row.session_id: _Tally(row) for row in db.connection().execute(_SESSIONS, given)}
        for statement, add in _COUNTS:
            for row in db.connection().execute(statement, given):
                if row.session_id in tallies:
                    add(tallies[row.session_id], row)
    return {of: tally.counted() for of, tally in tallies.items()}


def find_wrong(db: Db, session_ids: Collection[str]) -> dict[str, list[str]]:
    """Those of these sessions whose stored counts differ from ``compute``, though they do not wait: in what."""
    given = {"sessions": list(session_ids)}
    waiting = {row.session_id for row in db.connection().execute(_ROWS_OF, given)}
    stats = {row.session_id: row._asdict() for row in db.connection().execute(_STATS_OF, given)}
    facets, counted = _stored_facets(db, session_ids), compute(db, session_ids)
    found: dict[str, list[str]] = {}
    for of in sorted({*stats, *facets, *counted} - waiting):
        stored = Counted(stats.get(of, {}), facets.get(of, frozenset()))
        if wrong := _differences(stored, counted.get(of, Counted({}, frozenset()))):
            found[of] = wrong
    return found


def _differences(stored: Counted, wanted: Counted) -> list[str]:
    names = list(dict.fromkeys([*wanted.stat, *stored.stat]))
    wrong = [name for name in names if not _is_same(stored.stat.get(name), wanted.stat.get(name))]
    return wrong + (["facets"] if stored.facets != wanted.facets else [])


def _is_same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    return bool(one == other)


class _Tally:
    """What has been counted of one session so far."""

    def __init__(self, session: Row[Any]) -> None:
        self._session = dict(session._mapping)
        self._numbers = dict.fromkeys(("conversations", "messages", "branches", *THREAD_STATUSES, *_OF_CALLS), 0)
        self._cost = 0.0
        self._agents: set[str] = set()
        self._models: set[str] = set()
        self._last: datetime = session.created_at
        self._said_at: list[int] = []

    def add_conversations(self, row: Row[Any]) -> None:
        self._numbers["conversations"] += row.number

    def add_branches(self, row: Row[Any]) -> None:
        self._numbers["branches"] += row.number

    def add_messages(self, row: Row[Any]) -> None:
        self._numbers["messages"] += row.number
        if row.status is not None:
            self._numbers[row.status] += row.number
            self._agents.add(row.agent_id)
        self._last = max(self._last, *(at for at in (row.said, row.started, row.ended) if at is not None))

    def add_moments(self, row: Row[Any]) -> None:
        self._said_at.append(int(row.second))

    def add_calls(self, row: Row[Any]) -> None:
        for name in _OF_CALLS:
            self._numbers[name] += int(getattr(row, name) or 0)
        self._cost += row.cost or 0.0
        if row.model:
            self._models.add(row.model)

    def counted(self) -> Counted:
        named = {"agents": sorted(self._agents), "models": sorted(self._models)}
        summed = {"last_active_at": self._last, "cost_usd": self._cost, "spark": self._spark()}
        facets = {("agent", one) for one in self._agents} | {("model", one) for one in self._models}
        copied = {**self._session, "title_key": to_title_key(self._session["title"])}
        return Counted({**copied, **self._numbers, **named, **summed}, frozenset(facets))

    def _spark(self) -> list[int]:
        first, last = (int(moment.timestamp()) for moment in (self._session["created_at"], self._last))
        parts = [0] * SPARKS
        for second in self._said_at:
            # SQLite rounds to the next second what was said in the last half millisecond of one.
            parts[(min(max(second, first), last) - first) * SPARKS // (last - first + 1)] += 1
        return parts


_OF_CALLS = ("calls", "failed_calls", "unpriced", "tokens")
_SOME: BindParameter[Any] = bindparam("sessions", expanding=True)
_said = _conversation.join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
_is_kept = _conversation.c.deleted_at.is_(None) & _conversation.c.session_id.in_(_SOME)
_is_said = _is_kept & _message.c.deleted_at.is_(None)
_of = _conversation.c.session_id
_COPIED = ("session_id", "user_id", "status", "title", "created_at")
_SESSIONS = select(*[_session.c[name] for name in _COPIED]).where(
    _session.c.session_id.in_(_SOME), _session.c.status != "deleted"
)
_CONVERSATIONS = select(_of, func.count().label("number")).where(_is_kept).group_by(_of)
_BRANCHES = (
    select(_of, func.count().label("number"))
    .join_from(_conversation, _branch, _branch.c.conversation_id == _conversation.c.conversation_id)
    .where(_is_kept, _branch.c.deleted_at.is_(None))
    .group_by(_of)
)
_MESSAGES = (
    select(
        _of,
        _thread.c.status,
        _thread.c.agent_id,
        func.count().label("number"),
        func.max(_message.c.created_at).label("said"),
        func.max(_thread.c.started_at).label("started"),
        func.max(_thread.c.ended_at).label("ended"),
    )
    .select_from(_said.outerjoin(_thread, _thread.c.message_id == _message.c.message_id))
    .where(_is_said)
    .group_by(_of, _thread.c.status, _thread.c.agent_id)
)
_MOMENTS = select(_of, extract("epoch", _message.c.created_at).label("second")).select_from(_said).where(_is_said)


def _calls() -> Select[Any]:
    newer = _fix.alias("newer")
    is_newest = ~exists().where(newer.c.call_id == _fix.c.call_id, newer.c.correction_id > _fix.c.correction_id)
    cost = case((_fix.c.call_id.is_not(None), _fix.c.cost_usd), else_=_call.c.cost_usd)
    tokens = func.coalesce(_call.c.input_tokens, 0) + func.coalesce(_call.c.output_tokens, 0)
    return (
        select(
            _call.c.session_id,
            _call.c.model,
            func.count().label("calls"),
            func.sum(case((_call.c.status.in_(FAILED_CALLS), 1), else_=0)).label("failed_calls"),
            func.sum(case((cost.is_(None), 1), else_=0)).label("unpriced"),
            func.sum(tokens).label("tokens"),
            func.sum(cost).label("cost"),
        )
        .select_from(_call.outerjoin(_fix, (_fix.c.call_id == _call.c.call_id) & is_newest))
        .where(_call.c.session_id.in_(_SOME), _call.c.status != "started")
        .group_by(_call.c.session_id, _call.c.model)
    )


_COUNTS = (
    (_CONVERSATIONS, _Tally.add_conversations),
    (_BRANCHES, _Tally.add_branches),
    (_MESSAGES, _Tally.add_messages),
    (_MOMENTS, _Tally.add_moments),
    (_calls(), _Tally.add_calls),
)
_FIRST = select(_queue.c.session_id).order_by(_queue.c.position).limit(bindparam("most"))
_LAST = select(func.max(_queue.c.position))
_UP_TO = select(_queue.c.position).where(_queue.c.position <= bindparam("last")).limit(1)
_ROWS_OF = select(_queue.c.session_id, _queue.c.position).where(_queue.c.session_id.in_(_SOME))
_UNQUEUE = (
    delete(_queue)
    .where(_queue.c.position.in_(bindparam("positions", expanding=True)))
    .returning(_queue.c.session_id)
)
_KEPT = (
    select(_session.c.session_id)
    .where(_session.c.session_id.in_(_SOME), _session.c.status != "deleted")
    .with_for_update(read=True, skip_locked=True)
)
_STATS_OF = select(_stat).where(_stat.c.session_id.in_(_SOME))
_FACETS_OF = select(_facet.c.session_id, _facet.c.kind, _facet.c.value).where(_facet.c.session_id.in_(_SOME))
_DROP_STAT = delete(_stat).where(_stat.c.session_id.in_(_SOME))
_DROP_FACETS = delete(_facet).where(_facet.c.session_id.in_(_SOME))
_DROP_FACET = delete(_facet).where(*[_facet.c[name] == bindparam(name) for name in ("kind", "value", "session_id")])
_LOCK = select(func.pg_try_advisory_xact_lock(_COUNTER_LOCK))
