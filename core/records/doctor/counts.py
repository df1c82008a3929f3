"""What is derived for speed, rollups, counts of sessions and indexes of words, against what it is derived from.

Invariant: what waits to be counted or indexed is not wrong; mending lets it wait, and does it at once.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sqlalchemy import Table, insert, select
from sqlmodel import Session as Db

from core.calls.panels.rollups import EPOCH, find_wrong_days, recount_day
from core.calls.proof.seals import lock_chain
from core.calls.text import search as calls
from core.database import Database, table_of
from core.history import search as messages
from core.history.browse import counting
from core.history.word_index import GAP, Entry, WordIndex
from core.history.words import Term
from core.records.doctor.house import Check, House, in_parts
from core.tables import (
    LlmCall,
    LlmCallBody,
    LlmCallToIndex,
    Message,
    MessageToIndex,
    Session,
    SessionStat,
    SessionToCount,
    Thread,
)

_session, _stat, _to_count = table_of(Session), table_of(SessionStat), table_of(SessionToCount)
_message, _thread, _messages_waiting = table_of(Message), table_of(Thread), table_of(MessageToIndex)
_call, _body, _calls_waiting = table_of(LlmCall), table_of(LlmCallBody), table_of(LlmCallToIndex)
_OVER = ("done", "stopped", "failed", "lost")
# So many of a text's first and last words are looked for in the index.
_PROBE = 30


def _wrong_days(house: House) -> list[str]:
    with house.database.read() as db:
        return [str(day) for day in find_wrong_days(db)]


def _recount_days(house: House, ids: Sequence[str]) -> None:
    for day in ids:
        house.database.write(partial(_recount, day=int(day)))


def _recount(db: Db, day: int) -> None:
    lock_chain(db)
    recount_day(db, day)


def _wrong_sessions(house: House) -> list[str]:
    found: list[str] = []
    for some in in_parts(house.ids(_SESSIONS)):
        with house.database.read() as db:
            found += counting.find_wrong(db, some)
    return found


def _count_sessions(house: House, ids: Sequence[str]) -> None:
    for some in in_parts(ids):
        rows = [{"session_id": session_id} for session_id in some]
        house.write(insert(_to_count).values(rows))
    _work_off(house.database, counting.count_changed)


@dataclass(frozen=True)
class _Words:
    """One index of words: where its entries come from, which must be there, and how it is made anew."""

    index_of: Callable[[Db], WordIndex]
    read: Callable[[Db, Collection[str]], Mapping[tuple[str, ...], Entry]]
    wanted: Any
    waiting: Table
    work: Callable[[Database], int]

    @property
    def key(self) -> Any:
        return next(iter(self.waiting.primary_key))


_MESSAGES = _Words(
    messages.index_of,
    messages.read_entries,
    select(_message.c.message_id).order_by(_message.c.message_id),
    _messages_waiting,
    messages.index_messages,
)
_CALLS = _Words(
    calls.index_of,
    calls.read_entries,
    select(_body.c.call_id)
    .join(_call, _call.c.call_id == _body.c.call_id)
    .where(_call.c.status != "started")
    .order_by(_body.c.call_id),
    _calls_waiting,
    calls.index_calls,
)


def _wrong_words(house: House, words: _Words) -> list[str]:
    """What cannot be found by its words, or by others, and what the index has of rows that are not there."""
    found = list(_look(house, words))
    with house.database.read() as db:
        of = words.index_of(db).places.c[words.key.name]
        gone = select(of).where(of.not_in(words.wanted.order_by(None)))
        return list(dict.fromkeys([*found, *db.connection().execute(gone).scalars()]))


def _look(house: House, words: _Words) -> Iterator[str]:
    """Each text that does not wait, and that the index does not have, or has with other words."""
    for some in in_parts(house.ids(words.wanted)):
        with house.database.read() as db:
            waiting = set(db.connection().execute(select(words.key).where(words.key.in_(some))).scalars())
            entries = words.read(db, [key for key in some if key not in waiting])
            places = _places(db, words, list(entries))
            index = words.index_of(db)
            for key, entry in entries.items():
                if entry.words and not (key in places and _is_found(db, index, entry, places[key])):
                    yield key[0]


def _places(db: Db, words: _Words, keys: list[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    places = words.index_of(db).places
    names = [column for column in places.columns if not column.primary_key]
    found = select(places.c.position, *names).where(places.c[words.key.name].in_({key[0] for key in keys}))
    return {tuple(row[1:]): row[0] for row in db.connection().execute(found)}


def _is_found(db: Db, index: WordIndex, entry: Entry, position: int) -> bool:
    """Whether the index has at this place the facets, and what the text begins and ends with."""
    words = list(dict.fromkeys(word for word in entry.words if word != GAP))
    terms = [Term((word,)) for word in dict.fromkeys([*words[:_PROBE], *words[-_PROBE:]])]
    query = select(index.position).where(
        index.position == position, index.match(terms, [[facet] for facet in entry.facets])
    )
    return db.connection().execute(query).first() is not None


def _rebuild(house: House, _ids: Sequence[str], words: _Words) -> None:
    """Empty the index and fill it anew: what it has wrong, nobody knows the words of, to take them out again."""
    house.database.write(partial(_empty, words=words))
    for some in in_parts(house.ids(words.wanted)):
        house.database.write(partial(_let_wait, words=words, ids=some))
    _work_off(house.database, words.work)


def _let_wait(db: Db, words: _Words, ids: list[str]) -> None:
    known = set(db.connection().execute(select(words.key).where(words.key.in_(ids))).scalars())
    rows = [{words.key.name: key} for key in ids if key not in known]
    if rows:
        db.connection().execute(insert(words.waiting), rows)


def _empty(db: Db, words: _Words) -> None:
    words.index_of(db).clear(db)


def _work_off(database: Database, work: Callable[[Database], int]) -> None:
    while work(database):
        pass


_SESSIONS = select(_session.c.session_id).union(select(_stat.c.session_id))
CHECKS = (
    Check(
        "rollup-differs",
        f"The rollups of a day (since {EPOCH:%Y-%m-%d}) differ from its calls",
        _wrong_days,
        _recount_days,
        "count the day anew",
    ),
    Check(
        "session-count-differs",
        "What is counted of a session differs from its rows",
        _wrong_sessions,
        _count_sessions,
        "count it anew",
    ),
    Check(
        "message-index-differs",
        "What was said and the index of its words differ",
        partial(_wrong_words, words=_MESSAGES),
        partial(_rebuild, words=_MESSAGES),
        "make the index anew",
    ),
    Check(
        "call-index-differs",
        "The texts of calls and the index of their words differ",
        partial(_wrong_words, words=_CALLS),
        partial(_rebuild, words=_CALLS),
        "make the index anew",
    ),
)
