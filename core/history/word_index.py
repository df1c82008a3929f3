"""A full-text index as each of the two databases has it: where words stand in texts, and which text is where.

On SQLite the words are in a contentless FTS5 table, which must be given the same words again to forget them; on
PostgreSQL in a tsvector with GIN. A table beside it says which text a position is. A position is the millisecond
a text is of, or the next free one: so the newest come first and a window of time is a range of positions. A text
has *facets* beside its words (whose it is, for instance), so that a common word in few texts of one person is found
as quickly. Invariant: a position is given to one text only, and is never before the text's millisecond.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from hashlib import blake2b
from math import floor
from typing import Any

from sqlalchemy import (
    BigInteger,
    Executable,
    Select,
    bindparam,
    cast,
    column,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    table,
)
from sqlalchemy import Table as SqlTable
from sqlalchemy.dialects.postgresql import TSQUERY, TSVECTOR
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause
from sqlmodel import Session as Db
from sqlmodel import SQLModel

from core.database import table_of
from core.history.words import LONGEST_TEXT, MOST_WORDS, Term, to_fts5, to_tsquery, to_tsvector, to_words

# Between two texts stands a word that nobody can type, so that no phrase reaches from one into the other.
GAP = "="


@dataclass(frozen=True)
class Entry:
    """What is indexed of one text: ``key`` as in the table of positions, ``moment`` in ms since 1970.

    The first part of the key is the id of what the text is of.
    """

    key: tuple[str, ...]
    moment: int = 0
    words: Sequence[str] = ()
    facets: Sequence[str] = ()


@dataclass(frozen=True)
class WordIndex:
    """One index in one of the databases; ``words`` and ``position`` are for joining it to its ``places``."""

    places: SqlTable
    words: FromClause
    position: ColumnElement[int]
    match: Callable[[Sequence[Term], list[list[str]]], ColumnElement[bool]]
    _add: Executable
    _remove: Executable
    _clear: Executable
    _lock: Executable | None
    _text: Callable[[Entry], str]

    @property
    def place(self) -> ColumnElement[int]:
        """The position in the table that says which text it is."""
        found: ColumnElement[int] = self.places.c.position
        return found

    def claim(self, db: Db) -> bool:
        """Be the only one to add until the transaction ends; False when another process is at it."""
        return self._lock is None or bool(db.connection().execute(self._lock).scalar_one())

    def add(self, db: Db, entries: Iterable[Entry]) -> None:
        """Index these texts, those of one thing in the order given; one without words is left out."""
        new = sorted((one for one in entries if one.words), key=_order)
        if not new:
            return
        rows = list(zip(self._free_positions(db, [entry.moment for entry in new]), new, strict=True))
        names = [named.name for named in self.places.columns if not named.primary_key]
        known = [{"position": at, **dict(zip(names, entry.key, strict=True))} for at, entry in rows]
        db.connection().execute(insert(self.places), known)
        db.connection().execute(self._add, self._texts(rows))

    def remove(self, db: Db, entries: Sequence[tuple[int, Entry]]) -> None:
        """Forget the texts at these positions, each given as it was when it was added."""
        if not entries:
            return
        db.connection().execute(self._remove, self._texts(entries))
        gone = delete(self.places).where(self.place == bindparam("at"))
        db.connection().execute(gone, [{"at": at} for at, _ in entries])

    def clear(self, db: Db) -> None:
        """Forget all texts."""
        db.connection().execute(self._clear)
        db.connection().execute(delete(self.places))

    def _texts(self, entries: Iterable[tuple[int, Entry]]) -> list[dict[str, Any]]:
        return [{"at": at, "text": self._text(entry)} for at, entry in entries]

    def _free_positions(self, db: Db, moments: Sequence[int]) -> list[int]:
        """For each moment, of which none is before the last, the first position from there on that is still free.

        Where many begin at once all positions are taken far beyond their moment: such a row is leapt over.
        """
        behind: dict[int, int] = {}
        while True:
            places = _spread(moments, behind)
            taken = db.connection().execute(_taken(self.places), {"places": places}).scalars()
            free = 0
            for at in sorted(taken):
                if at >= free:
                    free = behind[at] = self._end_of_row(db, at)
            if not free:
                return places

    def _end_of_row(self, db: Db, at: int) -> int:
        """The first position that is free, from one on that is taken; found in steps that double, then halve."""
        step = 1
        while self._is_full(db, at, step):
            at += step
            step *= 2
        while step > 1:
            step //= 2
            if self._is_full(db, at, step):
                at += step
        return at

    def _is_full(self, db: Db, first: int, count: int) -> bool:
        """Whether so many positions from here on are all taken: then as many stand below the last of them."""
        last = db.connection().execute(_nth_place(self.places), {"first": first, "skip": count - 1}).scalar()
        return last == first + count - 1


@dataclass(frozen=True)
class WordIndexes:
    """The same index in both databases: ``name`` is its table of words; ``lock`` is no other's number."""

    name: str
    places: type[SQLModel]
    lock: int

    def of(self, db: Db) -> WordIndex:
        """The index of this session's database."""
        build = _in_sqlite if db.get_bind().dialect.name == "sqlite" else _in_postgresql
        return build(self.name, table_of(self.places), self.lock)


@lru_cache(maxsize=8)
def _in_sqlite(name: str, places: SqlTable, _no_lock: int) -> WordIndex:
    words = table(name, column(name), column("rowid", BigInteger), column("words"))
    values: dict[str, Any] = {"rowid": bindparam("at"), "words": bindparam("text")}

    def match(terms: Sequence[Term], facets: list[list[str]]) -> ColumnElement[bool]:
        also = ["(" + " OR ".join(f'"{one}"' for one in values) + ")" for values in facets]
        return literal_column(name).op("MATCH", is_comparison=True)(literal(to_fts5(terms, *also)))

    return WordIndex(
        places=places,
        words=words,
        position=words.c.rowid,
        match=match,
        _add=insert(words).values(values),
        _remove=insert(words).values({name: literal("delete"), **values}),
        _clear=insert(words).values({name: literal("delete-all")}),
        _lock=None,
        _text=lambda entry: " ".join([*entry.facets, *entry.words]),
    )


@lru_cache(maxsize=8)
def _in_postgresql(name: str, places: SqlTable, lock: int) -> WordIndex:
    words = table(name, column("position", BigInteger), column("words", TSVECTOR))
    values: dict[str, Any] = {"position": bindparam("at"), "words": cast(bindparam("text"), TSVECTOR)}

    def match(terms: Sequence[Term], facets: list[list[str]]) -> ColumnElement[bool]:
        also = ["(" + " | ".join(f"'{one}'" for one in values) + ")" for values in facets]
        return words.c.words.op("@@", is_comparison=True)(cast(literal(to_tsquery(terms, *also)), TSQUERY))

    return WordIndex(
        places=places,
        words=words,
        position=words.c.position,
        match=match,
        _add=insert(words).values(values),
        _remove=delete(words).where(words.c.position == bindparam("at")),
        _clear=delete(words),
        _lock=select(func.pg_try_advisory_xact_lock(lock)),
        _text=lambda entry: to_tsvector(entry.words, gap=GAP, also=entry.facets),
    )


def words_of(texts: Iterable[str]) -> list[str]:
    """The words of the beginning of these texts, with a gap behind each; as many as can be indexed of one."""
    words: list[str] = []
    room = LONGEST_TEXT
    for said in texts:
        words += to_words(said[:room])
        words.append(GAP)
        room -= len(said)
        if room <= 0 or len(words) > MOST_WORDS:
            break
    return words[:MOST_WORDS]


@lru_cache(maxsize=4096)
def facet(name: str, value: str | int | None) -> str:
    """A word that nobody can type, for one value of a column; none is the same as ""."""
    return (
        "="
        + blake2b(f"{name}={'' if value is None else value}".encode("utf-8", "replace"), digest_size=5).hexdigest()
    )


def to_ms(moment: datetime) -> int:
    """The millisecond since 1970 that a moment is in."""
    return floor(moment.timestamp() * 1000)


def _order(entry: Entry) -> tuple[int, str]:
    return entry.moment, entry.key[0]


def _spread(moments: Iterable[int], behind: Mapping[int, int]) -> list[int]:
    """A position of its own for each moment; ``behind`` says of some that are taken which one follows their row."""
    places: list[int] = []
    free = 0
    for moment in moments:
        at = max(moment, free)
        while at in behind:
            at = behind[at]
        places.append(at)
        free = at + 1
    return places


@lru_cache(maxsize=8)
def _taken(places: SqlTable) -> Select[Any]:
    return select(places.c.position).where(places.c.position.in_(bindparam("places", expanding=True)))


@lru_cache(maxsize=8)
def _nth_place(places: SqlTable) -> Select[Any]:
    at = places.c.position
    return select(at).where(at >= bindparam("first")).order_by(at).limit(1).offset(bindparam("skip"))
