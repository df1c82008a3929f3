"""Where texts stand in a full-text index: at their millisecond or the next free one, however many begin at once."""

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, insert, select
from sqlmodel import Session as Db

from core.calls.text.search import index_of
from core.database import Database, table_of
from core.history.word_index import Entry
from core.ids import new_call_id
from core.tables import LlmCallSearch

PLACES = table_of(LlmCallSearch)
FIRST = 1_760_000_000_000


def take(database: Database, positions: Iterable[int]) -> None:
    """Let these positions be taken already."""
    rows = [{"position": at, "call_id": new_call_id()} for at in positions]
    database.write(lambda db: db.connection().execute(insert(PLACES), rows))


def place(database: Database, moments: Iterable[int]) -> list[int]:
    """Index a text at each of these moments; gives where they stand, in the order of the moments."""
    entries = [Entry((new_call_id(),), moment, ["word"]) for moment in moments]
    database.write(lambda db: index_of(db).add(db, entries))
    ids = [entry.key[0] for entry in sorted(entries, key=lambda entry: (entry.moment, entry.key))]
    with database.read() as db:
        rows = db.connection().execute(select(PLACES.c.call_id, PLACES.c.position)).all()
    where = {row.call_id: row.position for row in rows}
    return [where[call_id] for call_id in ids]


def next_free(moments: Iterable[int], taken: Iterable[int]) -> list[int]:
    """What must come out, found in the plainest way."""
    used, found = set(taken), []
    for moment in sorted(moments):
        at = moment
        while at in used:
            at += 1
        used.add(at)
        found.append(at)
    return found


@contextmanager
def counted_statements() -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


class TestAText:
    @pytest.mark.parametrize("seed", range(4))
    def test_stands_at_the_next_free_place(self, database: Database, seed: int) -> None:
        chance = random.Random(seed)
        taken = sorted({FIRST + chance.randrange(300) for _ in range(chance.choice([20, 150, 600]))})
        moments = [FIRST + chance.randrange(-5, 250) for _ in range(120)]
        take(database, taken)
        assert place(database, moments) == next_free(moments, taken)

    def test_of_a_second_batch_leaps_over_the_first(self, database: Database) -> None:
        first = place(database, [FIRST] * 300)
        assert first == list(range(FIRST, FIRST + 300))
        assert place(database, [FIRST - 1, FIRST, FIRST + 100]) == [FIRST - 1, FIRST + 300, FIRST + 301]

    def test_behind_a_long_row_is_found_with_few_statements(self, database: Database) -> None:
        take(database, range(FIRST, FIRST + 20_000))

        def look(db: Db) -> list[int]:
            return index_of(db)._free_positions(db, [FIRST + step for step in range(200)])

        with counted_statements() as seen, database.read() as db:
            places = look(db)
        assert places == list(range(FIRST + 20_000, FIRST + 20_200))
        assert len(seen) < 40
