"""Full-text search in what models saw and said.

A body that is written waits in ``llm_call_to_index`` (a trigger sees to that, whoever writes it) until its call has
ended and ``index_calls`` takes it. Its words go into ``llm_call_words``: a contentless FTS5 table on SQLite, a
tsvector with GIN on PostgreSQL. Its position there is the millisecond in which the call began, or the next free
one, so that the newest come first and a window of time is a range of positions, in whatever order calls end.
Who called what is indexed beside the words, so that a common word in few calls of one person is found as quickly.

Invariant: a body is waiting or indexed, never both or neither, as both change in one transaction; and whatever the
index says, a call is given only if its own row meets the conditions.
"""

from collections.abc import Collection, Iterator, Sequence
from math import ceil
from typing import Any

from sqlalchemy import BindParameter, RowMapping, Select, bindparam, delete, exists, func, literal, select, text
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.text.said import said_texts
from core.calls.where import COLUMN_OF
from core.database import Database, table_of
from core.history.word_index import Entry, WordIndex, WordIndexes, facet, to_ms, words_of
from core.history.words import find_words
from core.ids import parse_id
from core.tables import LlmCall, LlmCallBody, LlmCallSearch, LlmCallToIndex, Session

_call, _body, _session = table_of(LlmCall), table_of(LlmCallBody), table_of(Session)
_search, _queue = table_of(LlmCallSearch), table_of(LlmCallToIndex)
_WORDS = WordIndexes("llm_call_words", LlmCallSearch, lock=4_781_220_253)

# By which filters a search is narrowed in the index itself, and the columns they are about.
_FACETS = COLUMN_OF | {"thread": "thread_id", "message": "message_id"}
_MOST_VALUES = 20
_MOST_AT_ONCE = 30_000
_LONGEST_MS = 2.0**32
# How far a call may stand behind its millisecond, when so many began in it.
_SLACK = 60_000


# -- the index ------------------------------------------------------------------------------------------


def index_calls(database: Database, most: int = 200) -> int:
    """Index the calls that have waited longest, in one short transaction; how many those are, 0 when none waits."""
    with database.read() as db:
        entries = list(_take(db, most))
    return database.write(lambda db: _add(db, entries)) if entries else 0


def remove_calls(db: Db, call_ids: Collection[str]) -> None:
    """Take calls out of the index, inside the caller's transaction; to be done before their bodies are deleted."""
    connection = db.connection()
    ids = {"calls": list(call_ids)}
    connection.execute(_UNQUEUE, ids)
    rows = connection.execute(_INDEXED, ids).mappings()
    _WORDS.of(db).remove(db, [(row["position"], _to_entry(row)) for row in rows])


def index_of(db: Db) -> WordIndex:
    """The index itself, of this session's database."""
    return _WORDS.of(db)


def read_entries(db: Db, call_ids: Collection[str]) -> dict[tuple[str, ...], Entry]:
    """What should be in the index of these calls, by call."""
    rows = db.connection().execute(_TO_INDEX, {"calls": list(call_ids)}).mappings()
    return {entry.key: entry for entry in map(_to_entry, rows)}


def pending(viewer: Viewer, db: Db, most: int = 1000) -> int:
    """How many ended calls of the viewer's cannot be found yet; counted up to ``most``."""
    waiting = _WAITING
    if not viewer.reads_all:
        waiting = waiting.join(_call, _call.c.call_id == _queue.c.call_id).where(_call.c.user_id == viewer.user_id)
    return (
        db.connection().execute(select(func.count()).select_from(waiting.subquery()), {"most": most}).scalar_one()
    )


def _take(db: Db, most: int) -> Iterator[Entry]:
    """The entries of the calls that come next, as many as one transaction can take."""
    connection = db.connection()
    ids = connection.execute(_WAITING, {"most": most}).scalars().all()
    rows = {row["call_id"]: row for row in connection.execute(_TO_INDEX, {"calls": ids}).mappings()}
    size = 0
    for call_id in ids:
        # A body that is gone by now, with its call or without, is an entry too, so that it waits no longer.
        entry = _to_entry(rows[call_id]) if call_id in rows else Entry((call_id,))
        yield entry
        size += len(entry.words)
        if size > _MOST_AT_ONCE:
            return


def _to_entry(row: RowMapping) -> Entry:
    facets = {facet(name, row[name]) for name in _FACETS.values()}
    facets.add(facet("duration_ms", _size(row["duration_ms"])))
    words = words_of(said_texts(row["prompt"], row["response"]))
    return Entry((row["call_id"],), to_ms(row["created_at"]), words, sorted(facets))


def _size(ms: float | None) -> int:
    """How long a duration is, roughly: it doubles from one size to the next."""
    return int(min(ms or 0.0, _LONGEST_MS)).bit_length()


def _add(db: Db, entries: Sequence[Entry]) -> int:
    """Index those that still wait; whoever takes a call from the queue has it to himself."""
    index, connection = _WORDS.of(db), db.connection()
    if not index.claim(db):
        return len(entries)  # they still wait, as far as is known here
    ids = {"calls": [entry.key[0] for entry in entries]}
    mine = set(connection.execute(_UNQUEUE, ids).scalars())
    known = set(connection.execute(_KNOWN, ids).scalars())
    index.add(db, [entry for entry in entries if entry.key[0] in mine - known])
    return len(mine)


# -- the search -----------------------------------------------------------------------------------------


def matching(
    viewer: Viewer,
    db: Db,
    query: str,
    *,
    wanted: CallFilter | None = None,
    conditions: Sequence[ColumnElement[bool]] = (),
    before: str | None = None,
    limit: int = 50,
) -> list[str]:
    """Ids of calls that answer the query and that the viewer may read, those that began last first.

    ``conditions`` on ``llm_call`` (see ``where_of``) say which; ``wanted`` is the same choice, by which the index
    is narrowed. ``before``, a call of an earlier list, continues after it. BadInputError for an unusable query.
    """
    found = _found(viewer, db, query, wanted or CallFilter(), conditions)
    if before is not None:
        found = found.where(_search.c.position < _position_of(db, before))
    found = found.order_by(_WORDS.of(db).position.desc()).limit(limit)
    return list(db.connection().execute(found).scalars())


def matches(viewer: Viewer, db: Db, query: str, *, wanted: CallFilter | None = None) -> ColumnElement[bool]:
    """The search as a condition on ``llm_call``, for counts, sums and other orders."""
    return _call.c.call_id.in_(_found(viewer, db, query, wanted or CallFilter(), ()))


def _found(
    viewer: Viewer, db: Db, query: str, wanted: CallFilter, conditions: Sequence[ColumnElement[bool]]
) -> Select[Any]:
    index = _WORDS.of(db)
    terms, facets = find_words(query), _facets_of(viewer, wanted)
    found = select(_search.c.call_id).join_from(index.words, _search, _search.c.position == index.position)
    found = found.where(index.match(terms, facets), *_bounds(index.position, wanted))
    found = found.where(_search.c.call_id.not_in(_OF_DELETED))
    exact = [*conditions, *_exact(viewer, wanted)]
    if not exact:
        return found
    return found.where(exists().where(_call.c.call_id == _search.c.call_id, *exact).correlate(_search))


def _facets_of(viewer: Viewer, wanted: CallFilter) -> list[list[str]]:
    """Words of which each call must have one of each list."""
    chosen = {name: _values(getattr(wanted, name)) for name in _FACETS}
    found = [
        [facet(column, value) for value in chosen[name]]
        for name, column in _FACETS.items()
        if 0 < len(chosen[name]) <= _MOST_VALUES
    ]
    if wanted.min_ms is not None or wanted.max_ms is not None:
        sizes = range(_size(wanted.min_ms), _size(wanted.max_ms or _LONGEST_MS) + 1)
        found.append([facet("duration_ms", size) for size in sizes])
    return found if viewer.reads_all else [*found, [facet("user_id", viewer.user_id)]]


def _values(chosen: str | tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(chosen, tuple):
        return chosen
    return (chosen,) if chosen else ()


def _bounds(position: ColumnElement[int], wanted: CallFilter) -> list[ColumnElement[bool]]:
    found = []
    if wanted.since is not None:
        found.append(position >= to_ms(wanted.since))
    if wanted.until is not None:
        found.append(position < ceil(wanted.until.timestamp() * 1000) + _SLACK)
    return found


def _exact(viewer: Viewer, wanted: CallFilter) -> list[ColumnElement[bool]]:
    found = [] if viewer.reads_all else [_call.c.user_id == viewer.user_id]
    if wanted.since is not None:
        found.append(_call.c.created_at >= wanted.since)
    if wanted.until is not None:
        found.append(_call.c.created_at < wanted.until)
    return found


def _position_of(db: Db, call_id: str) -> int:
    place = db.connection().execute(_KNOWN_PLACE, {"call": call_id}).scalar_one_or_none()
    return to_ms(parse_id(call_id).made_at) if place is None else place


# The few that wait for their purge, by the partial index; so its condition stands in the statement as it is.
_OF_DELETED = (
    select(_call.c.call_id)
    .join(_session, _session.c.session_id == _call.c.session_id)
    .where(_session.c.status == literal("deleted", literal_execute=True))
)
_INDEX_ON = [_call.c[name] for name in ("call_id", "created_at", "duration_ms", *_FACETS.values())] + [
    _body.c.prompt,
    _body.c.response,
]
_CALLS: BindParameter[Any] = bindparam("calls", expanding=True)
# Asked apart from the bodies: else a database may walk over all calls to find the few that wait. The condition has
# the words of the partial index, as words and not as parameters, so that the index is taken.
_RUNNING = select(_call.c.call_id).where(text("llm_call.status <> 'ok' AND llm_call.status = 'started'"))
_WAITING = (
    select(_queue.c.call_id)
    .where(_queue.c.call_id.not_in(_RUNNING))
    .order_by(_queue.c.call_id)
    .limit(bindparam("most"))
)
_TO_INDEX = (
    select(*_INDEX_ON)
    .join_from(_call, _body, _body.c.call_id == _call.c.call_id)
    .where(_call.c.call_id.in_(_CALLS))
)
_UNQUEUE = delete(_queue).where(_queue.c.call_id.in_(_CALLS)).returning(_queue.c.call_id)
_INDEXED = (
    select(_search.c.position, *_INDEX_ON)
    .join_from(_search, _call, _call.c.call_id == _search.c.call_id)
    .join(_body, _body.c.call_id == _search.c.call_id, isouter=True)
    .where(_search.c.call_id.in_(_CALLS))
)
_KNOWN = select(_search.c.call_id).where(_search.c.call_id.in_(_CALLS))
_KNOWN_PLACE = select(_search.c.position).where(_search.c.call_id == bindparam("call"))
