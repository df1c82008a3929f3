"""The index of words itself: ``llm_call_words``, as each of the two databases has it.

On SQLite it is a contentless FTS5 table, which must be given the same words again to forget them; on PostgreSQL a
tsvector with GIN. Invariant: a position is given to one call only, and is never before the millisecond it began in.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import BigInteger, TextClause, bindparam, cast, column, literal, literal_column, select, table, text
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause
from sqlmodel import Session as Db

from core.database import table_of
from core.history.words import Term, to_fts5, to_tsquery, to_tsvector
from core.tables import LlmCallSearch

# Between two texts stands a word that nobody can type, so that no phrase reaches from one into the other.
GAP = "="
_BLOCK = 4096
_INDEXER_LOCK = 4_781_220_253
_search = table_of(LlmCallSearch)


@dataclass(frozen=True)
class Entry:
    """What is indexed of one call; ``moment`` is the millisecond it began in (since 1970, UTC)."""

    call_id: str
    moment: int = 0
    words: Sequence[str] = ()
    facets: Sequence[str] = ()


@dataclass(frozen=True)
class WordIndex:
    """How one of the databases keeps and asks for words; ``lock`` is False when another process is indexing."""

    add: TextClause
    remove: TextClause
    lock: TextClause | None
    text: Callable[[Entry], str]
    words: FromClause
    position: ColumnElement[int]
    match: Callable[[Sequence[Term], list[list[str]]], ColumnElement[bool]]


def _match_fts5(terms: Sequence[Term], facets: list[list[str]]) -> ColumnElement[bool]:
    also = ["(" + " OR ".join(f'"{one}"' for one in values) + ")" for values in facets]
    return literal_column("llm_call_words").op("MATCH", is_comparison=True)(literal(to_fts5(terms, *also)))


def _match_tsquery(terms: Sequence[Term], facets: list[list[str]]) -> ColumnElement[bool]:
    also = ["(" + " | ".join(f"'{one}'" for one in values) + ")" for values in facets]
    asked = cast(literal(to_tsquery(terms, *also)), TSQUERY)
    return _in_postgresql.c.words.op("@@", is_comparison=True)(asked)


def index_of(db: Db) -> WordIndex:
    """The index of this session's database."""
    return _SQLITE if db.get_bind().dialect.name == "sqlite" else _POSTGRESQL


_in_sqlite = table("llm_call_words", column("rowid", BigInteger))
_in_postgresql = table("llm_call_words", column("position", BigInteger), column("words"))
_SQLITE = WordIndex(
    add=text("INSERT INTO llm_call_words (rowid, words) VALUES (:position, :words)"),
    remove=text("INSERT INTO llm_call_words (llm_call_words, rowid, words) VALUES ('delete', :position, :words)"),
    lock=None,
    text=lambda entry: " ".join([*entry.facets, *entry.words]),
    words=_in_sqlite,
    position=_in_sqlite.c.rowid,
    match=_match_fts5,
)
_POSTGRESQL = WordIndex(
    add=text("INSERT INTO llm_call_words (position, words) VALUES (:position, CAST(:words AS tsvector))"),
    remove=text("DELETE FROM llm_call_words WHERE position = :position"),
    lock=text(f"SELECT pg_try_advisory_xact_lock({_INDEXER_LOCK})"),
    text=lambda entry: to_tsvector(entry.words, gap=GAP, also=entry.facets),
    words=_in_postgresql,
    position=_in_postgresql.c.position,
    match=_match_tsquery,
)


def free_positions(db: Db, moments: Sequence[int]) -> list[int]:
    """For each moment, in order, the first position from there on that is still free."""
    used: set[int] = set()
    while True:
        places = _spread(moments, used)
        clashes = db.connection().execute(_TAKEN, {"places": places}).scalars().all()
        if not clashes:
            return places
        for block in {at // _BLOCK for at in clashes}:
            bounds = {"low": block * _BLOCK, "high": (block + 2) * _BLOCK}
            used.update(db.connection().execute(_TAKEN_BETWEEN, bounds).scalars())


def _spread(moments: Iterable[int], used: Collection[int]) -> list[int]:
    places: list[int] = []
    taken = set(used)
    for moment in moments:
        at = moment
        while at in taken:
            at += 1
        taken.add(at)
        places.append(at)
    return places


_TAKEN = select(_search.c.position).where(_search.c.position.in_(bindparam("places", expanding=True)))
_TAKEN_BETWEEN = select(_search.c.position).where(
    _search.c.position >= bindparam("low"), _search.c.position < bindparam("high")
)
