"""The lists of conversations and threads of the sessions that are wanted.

They are met session by session, in the order of the sessions' own times: a session begins before all that is in it,
and was last active after all that. So as soon as a page is full of what is newer than the next session's last
activity, nothing that is still to come belongs on it. Where few of many fit, a page ends early, at the time up to
which all was looked at. With a text, what is looked at is where the newest ``MOST_HITS`` texts stand.

Invariant: a page holds only what its viewer may read, and pages neither skip nor repeat a row; a session's newest
rows may be seconds late, as its counts are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, FromClause, case, literal, select, tuple_
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.browse.filters import SessionFilter
from core.history.browse.hits import show_hits
from core.history.browse.lines import ConversationLine, Page, ThreadLine
from core.history.browse.orders import ListName, Order, Place, cursors
from core.history.browse.places import Search, search_for
from core.history.browse.rows import read_conversations, read_threads
from core.history.browse.where import STAT, Condition, of_thread, shelf_of, user_ids_of, within
from core.history.search import Hit, matching
from core.tables import Conversation, Message, Session, SessionStat, Thread

MOST_HITS = 2_000
MOST_SESSIONS = 2_000
_AT_ONCE = 100
_BEHIND_ALL = "~"
_LAST_ACTIVE, _BEGUN = Order("active", descending=True), Order("created", descending=False)
_NEWEST_CONVERSATIONS, _NEWEST_THREADS = Order("active"), Order("created")
_session, _conversation, _stat = table_of(Session), table_of(Conversation), table_of(SessionStat)
_message, _thread = table_of(Message), table_of(Thread)


def list_conversations_of(
    viewer: Viewer,
    db: Db,
    wanted: SessionFilter,
    order: Order = _NEWEST_CONVERSATIONS,
    *,
    after: str | None = None,
    limit: int = 50,
) -> Page[ConversationLine]:
    """A page of the conversations in sessions that are wanted; the dates asked for are the conversation's."""
    page, hits = _list(viewer, db, _CONVERSATIONS, wanted, order, after=after, limit=limit)
    lines = read_conversations(db, page.rows)
    shown = show_hits(
        viewer, db, wanted.text, {line.conversation_id: hits.get(line.conversation_id) for line in lines}
    )
    return Page([replace(line, hit=shown.get(line.conversation_id)) for line in lines], page.next, page.previous)


def list_threads(
    viewer: Viewer,
    db: Db,
    wanted: SessionFilter,
    order: Order = _NEWEST_THREADS,
    *,
    after: str | None = None,
    limit: int = 50,
) -> Page[ThreadLine]:
    """A page of the threads in sessions that are wanted; dates, status, agent and model are the thread's."""
    page, hits = _list(viewer, db, _THREADS, wanted, order, after=after, limit=limit)
    lines = read_threads(db, page.rows)
    shown = show_hits(viewer, db, wanted.text, {line.message_id: hits.get(line.message_id) for line in lines})
    return Page([replace(line, hit=shown.get(line.message_id)) for line in lines], page.next, page.previous)


@dataclass(frozen=True)
class _Kind:
    """What one of the two lists is made of; ``found_by`` is the column that ``name_of_hit`` of a hit is about."""

    name: ListName
    source: FromClause
    row_id: ColumnElement[str]
    times: dict[str, ColumnElement[datetime]]
    found_by: ColumnElement[str]
    name_of_hit: str
    conditions: Callable[[SessionFilter], list[Condition]]


@dataclass(frozen=True)
class _Walk:
    """One page's way through the rows of sessions, from a place on."""

    db: Db
    kind: _Kind
    time: ColumnElement[datetime]
    conditions: Sequence[Condition]
    descending: bool
    start: Place | None
    limit: int

    def among(self, where: Condition) -> list[Place]:
        """The next rows among some."""
        row_id = self.kind.row_id
        found = select(self.time, row_id).select_from(self.kind.source).where(where, *self.conditions)
        if self.start is not None:
            here = tuple_(self.time, row_id)
            there = tuple_(literal(self.start.value, self.time.type), literal(self.start.row_id, row_id.type))
            found = found.where(here < there if self.descending else here > there)
        keys = [key.desc() if self.descending else key.asc() for key in (self.time, row_id)]
        return [Place(*row) for row in self.db.connection().execute(found.order_by(*keys).limit(self.limit))]

    def first(self, places: list[Place]) -> list[Place]:
        return sorted(places, key=lambda place: place[:2], reverse=self.descending)[: self.limit]

    def is_before(self, place: Place | None, bound: datetime) -> bool:
        """Whether a place is certainly met before all that is of this time, or comes later on the way."""
        return place is not None and (place.value > bound if self.descending else place.value < bound)

    def by_session(self, search: Search) -> tuple[list[Place], Place | None]:
        """The next rows; and where to go on, if it was stopped before there were enough of them."""
        found: list[Place] = []
        for looked, (session_ids, bound) in enumerate(_stretches(search, descending=self.descending), start=1):
            found = self.first([*found, *self.among(_conversation.c.session_id.in_(session_ids))])
            if bound is None or (len(found) == self.limit and self.is_before(found[-1], bound)):
                break
            if looked * _AT_ONCE >= MOST_SESSIONS and (self.start is None or self.is_before(self.start, bound)):
                sure = [place for place in found if self.is_before(place, bound)]
                return sure, Place(bound, _BEHIND_ALL if self.descending else "")
        return found, None


def _list(
    viewer: Viewer, db: Db, kind: _Kind, wanted: SessionFilter, order: Order, *, after: str | None, limit: int
) -> tuple[Page[str], dict[str, Hit]]:
    """The ids on a page, and where a text was found, by message or conversation."""
    order.require_for(kind.name)
    start = order.place_at(after) if after else None
    backwards = start is not None and start.before
    conditions = [shelf_of(_session.c.status, wanted), *kind.conditions(wanted)]
    walk = _Walk(db, kind, kind.times[order.sort], conditions, order.descending != backwards, start, limit + 1)
    hits: dict[str, Hit] = {}
    if wanted.text.strip():
        hits = _find_hits(viewer, db, kind, wanted)
        sessions = search_for(viewer, db, _of_sessions(wanted, walk)).joined()
        walk = replace(walk, conditions=[*conditions, *sessions])
        found, edge = walk.among(kind.found_by.in_(list(hits))), None
    else:
        found, edge = walk.by_session(search_for(viewer, db, _of_sessions(wanted, walk)))
    page = found[:limit]
    edge = found[limit - 1] if len(found) > limit else edge
    following, previous = cursors(order, start, page[0] if page else edge, edge)
    if backwards:
        page.reverse()
    return Page([place.row_id for place in page], following, previous), hits


def _of_sessions(wanted: SessionFilter, walk: _Walk) -> SessionFilter:
    """What sessions must meet so that rows that are wanted may be in them, behind where the page begins."""
    since = [moment for moment in (wanted.since, wanted.created_since) if moment is not None]
    until = [moment for moment in (wanted.until, wanted.created_until) if moment is not None]
    if walk.start is not None and walk.descending:
        until.append(walk.start.value + timedelta(microseconds=1))
    elif walk.start is not None:
        since.append(walk.start.value)
    rest = replace(wanted, text="", until=None, created_since=None, not_statuses=(), not_agents=(), not_models=())
    rest = replace(rest, since=max(since, default=None), created_until=min(until, default=None))
    if walk.kind.name == "threads":
        return replace(rest, has_errors=wanted.has_errors or None, waits=wanted.waits or None)
    return replace(
        rest, not_statuses=wanted.not_statuses, not_agents=wanted.not_agents, not_models=wanted.not_models
    )


def _stretches(search: Search, *, descending: bool) -> Iterator[tuple[list[str], datetime | None]]:
    """The sessions in the order of their times, some at once, each time with the time of the next one."""
    order, start = _LAST_ACTIVE if descending else _BEGUN, None
    while True:
        found = search.find(order, after=start, limit=MOST_SESSIONS + 1)
        for at in range(0, min(len(found), MOST_SESSIONS), _AT_ONCE):
            following = found[at + _AT_ONCE : at + _AT_ONCE + 1]
            yield [place.row_id for place in found[at : at + _AT_ONCE]], following[0].value if following else None
        if len(found) <= MOST_SESSIONS:
            return
        start = found[MOST_SESSIONS - 1]


def _find_hits(viewer: Viewer, db: Db, kind: _Kind, wanted: SessionFilter) -> dict[str, Hit]:
    """Where the text was said last in each message or conversation."""
    users = user_ids_of(viewer, db, wanted.users) or ()
    hits = matching(viewer, db, wanted.text, session_ids=wanted.sessions, user_ids=users, limit=MOST_HITS)
    return {getattr(hit, kind.name_of_hit): hit for hit in reversed(hits)}


def _said_between(
    column: ColumnElement[Any], created: ColumnElement[Any], wanted: SessionFilter
) -> list[Condition]:
    active = within(column, wanted.since, wanted.until)
    return [*active, *within(created, wanted.created_since, wanted.created_until)]


def _of_conversation(wanted: SessionFilter) -> list[Condition]:
    within_times = _said_between(_conversation.c.updated_at, _conversation.c.created_at, wanted)
    return [_conversation.c.deleted_at.is_(None), *within_times]


def _of_thread(wanted: SessionFilter) -> list[Condition]:
    within_times = _said_between(_thread.c.created_at, _thread.c.created_at, wanted)
    kept = [_conversation.c.deleted_at.is_(None), _message.c.deleted_at.is_(None)]
    return [*kept, *within_times, *of_thread(wanted)]


def _in_session(time: ColumnElement[datetime]) -> ColumnElement[datetime]:
    """A time, but never after what the session counts as its last: by that its rows are met."""
    return case((time > STAT.last_active_at, STAT.last_active_at), else_=time)


_sessions = _session.join(_stat, STAT.session_id == _session.c.session_id)
_conversations = _conversation.join(_sessions, _session.c.session_id == _conversation.c.session_id)
_threads = _thread.join(_message, _message.c.message_id == _thread.c.message_id).join(
    _conversations, _conversation.c.conversation_id == _message.c.conversation_id
)
_CONVERSATIONS = _Kind(
    name="conversations",
    source=_conversations,
    row_id=_conversation.c.conversation_id,
    times={
        "active": _in_session(_conversation.c.updated_at),
        "created": _in_session(_conversation.c.created_at),
    },
    found_by=_conversation.c.conversation_id,
    name_of_hit="conversation_id",
    conditions=_of_conversation,
)
_THREADS = _Kind(
    name="threads",
    source=_threads,
    row_id=_thread.c.thread_id,
    times={"created": _in_session(_thread.c.created_at)},
    found_by=_message.c.message_id,
    name_of_hit="message_id",
    conditions=_of_thread,
)
