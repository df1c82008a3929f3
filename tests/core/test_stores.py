"""What graphs remember across threads: kept after a restart, for plain functions and for coroutines."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import pytest

from core.checkpoints.stores import open_store
from core.database import Database
from core.skein import open_skein
from tests.conftest import make_person
from tests.core.support import answered, ask, graph_settings

WORDS = ("fox", "cat", "car", "bus")


def embed(texts: list[str]) -> list[list[float]]:
    return [[float(word in text) for word in WORDS] + [0.1] for text in texts]


@pytest.fixture
def database(database_url: str):
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


class TestStore:
    def test_what_was_put_is_there_after_it_was_closed(self, database: Database, tmp_path: Path) -> None:
        for expected in ([], ["one"]):
            with ExitStack() as stack:
                store = open_store(stack, database, tmp_path / "store.db")
                found = store.search(("user", "ada"))
                assert [item.key for item in found] == expected
                store.put(("user", "ada"), "one", {"text": "记住我"})
                assert store.get(("user", "ada"), "one").value == {"text": "记住我"}
                assert store.search(("user", "bob")) == []

    def test_coroutines_and_plain_functions_see_the_same(self, database: Database, tmp_path: Path) -> None:
        async def both(store) -> list:
            await asyncio.gather(*(store.aput(("many",), str(n), {"n": n}) for n in range(30)))
            store.put(("many",), "plain", {"n": -1})
            await store.adelete(("many",), "0")
            return await store.asearch(("many",), limit=100)

        with ExitStack() as stack:
            found = asyncio.run(both(open_store(stack, database, tmp_path / "store.db")))
        assert sorted(item.value["n"] for item in found) == [-1, *range(1, 30)]

    def test_it_finds_by_meaning_where_there_is_an_index(self, database: Database, tmp_path: Path) -> None:
        index = {"dims": 5, "embed": embed, "fields": ["text"]}
        with ExitStack() as stack:
            store = open_store(stack, database, tmp_path / "store.db", index)
            for word in WORDS:
                store.put(("things",), word, {"text": f"a {word}"})
            found = store.search(("things",), query="the cat", limit=1)
        assert [item.key for item in found] == ["cat"]


class TestGraphs:
    def test_remember_across_threads_and_restarts(self, tmp_path: Path, database_url: str) -> None:
        settings = graph_settings(tmp_path, database_url)
        for number in (1, 2):
            skein = open_skein(settings)
            try:
                ada = make_person(skein, f"ada {number}")
                turn = ask(skein, ada, f"word {number}", agent="remembers")
                assert answered(skein, ada, turn.thread_id).answer == str([f"word {n + 1}" for n in range(number)])
            finally:
                skein.close()
