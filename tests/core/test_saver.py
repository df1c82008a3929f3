"""The SQLite saver keeps LangGraph's contract, isolates errors, and shares its file."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

from core.checkpoints.sqlite_saver import GroupCommitSaver, open_sqlite_saver
from core.errors import BadInputError, BusyError
from tests.core.mains import put_checkpoints
from tests.core.processes import run_at_once

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoints.db"


@pytest.fixture
async def saver(path):
    async with open_sqlite_saver(path) as opened:
        yield opened


def at(thread: str, ns: str = "") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ns}}


async def put(saver: AsyncSqliteSaver, thread: str, note: Any = "note") -> dict[str, Any]:
    checkpoint = {**empty_checkpoint(), "channel_values": {"note": note}}
    return await saver.aput(at(thread), checkpoint, {"source": "input", "step": -1, "parents": {}}, {})


async def note_of(saver: AsyncSqliteSaver, thread: str) -> Any:
    found = await saver.aget_tuple(at(thread))
    return found and found.checkpoint["channel_values"]["note"]


class TestLangGraphsContract:
    async def test_is_kept_in_all_base_capabilities(self, tmp_path):
        @checkpointer_test(name="GroupCommitSaver")
        async def ours():
            async with open_sqlite_saver(tmp_path / "conformance.db") as opened:
                yield opened

        report = await validate(ours)
        failures = [text for result in report.results.values() for text in result.failures]
        assert failures == []
        assert report.passed_all_base()

    async def test_holds_for_a_stock_saver_that_reads_the_file(self, path):
        class Talk(TypedDict):
            messages: Annotated[list[Any], add_messages]

        def build(saver: Any) -> Any:
            builder = StateGraph(Talk).add_node("reply", lambda _: {"messages": [("ai", "hello")]})
            return builder.add_edge(START, "reply").compile(checkpointer=saver)

        async with open_sqlite_saver(path) as ours:
            await build(ours).ainvoke({"messages": [("human", "hi")]}, at("t"))
            expected = [state async for state in build(ours).aget_state_history(at("t"))]
        async with AsyncSqliteSaver.from_conn_string(str(path)) as stock:
            assert [state async for state in build(stock).aget_state_history(at("t"))] == expected
            await build(stock).ainvoke({"messages": [("human", "again")]}, at("t"))
        async with open_sqlite_saver(path) as ours:
            texts = [m.content for m in (await build(ours).aget_state(at("t"))).values["messages"]]
        assert texts == ["hi", "hello", "again", "hello"]

    async def test_holds_for_the_sync_methods_from_another_thread(self, saver):
        def use() -> Any:
            under = saver.put(at("t"), empty_checkpoint(), {"source": "input", "step": -1, "parents": {}}, {})
            saver.put_writes(under, [("note", 1)], "task")
            found = saver.get_tuple(under)
            listed = list(saver.list(at("t")))
            saver.delete_thread("t")
            return found.pending_writes, len(listed), saver.get_tuple(at("t"))

        assert await asyncio.to_thread(use) == ([("task", "note", 1)], 1, None)


class TestTheFile:
    async def test_is_made_able_to_shrink_and_to_be_read_while_written(self, saver, path):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    async def test_that_is_no_database_is_told_in_one_sentence(self, path):
        path.write_bytes(b"a letter to my aunt, long enough to be no header" * 50)
        with pytest.raises(BadInputError, match=r"checkpoints\.db cannot be opened"):
            async with open_sqlite_saver(path):
                pass

    async def test_in_a_missing_folder_is_told_in_one_sentence(self, tmp_path):
        with pytest.raises(BadInputError, match="check its folder"):
            async with open_sqlite_saver(tmp_path / "nowhere" / "checkpoints.db"):
                pass

    def test_is_set_up_and_written_by_several_processes_at_once(self, path):
        run_at_once(put_checkpoints, *((path, str(number)) for number in range(3)))
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (150,)

    async def test_is_shared_by_two_savers_of_one_process_in_two_threads(self, path):
        async def write(name: str) -> None:
            async with open_sqlite_saver(path) as own:
                await asyncio.gather(*(put(own, f"{name}-{n}") for n in range(100)))

        await asyncio.gather(*(asyncio.to_thread(asyncio.run, write(name)) for name in "ab"))
        async with open_sqlite_saver(path) as saver:
            assert len([c async for c in saver.alist(None)]) == 200


class TestAWrite:
    async def test_is_seen_by_a_read_as_soon_as_it_returns(self, saver):
        async def write_and_read(number: int) -> Any:
            await put(saver, f"t{number}", number)
            return await note_of(saver, f"t{number}")

        assert await asyncio.gather(*map(write_and_read, range(200))) == list(range(200))

    async def test_is_committed_together_with_others_that_wait(self, saver, path):
        commits = []
        commit = saver._writer._commit
        saver._writer._commit = lambda batch: commits.append(len(batch)) or commit(batch)
        await asyncio.gather(*(put(saver, f"t{n}") for n in range(200)))
        assert sum(commits) == 200
        assert len(commits) < 50

    async def test_whose_caller_was_cancelled_is_kept_and_harms_nobody(self, saver):
        task = asyncio.create_task(put(saver, "cancelled"))
        await asyncio.sleep(0)
        task.cancel()
        await put(saver, "next")
        assert (task.cancelled(), await note_of(saver, "cancelled")) == (True, "note")

    async def test_that_is_queued_is_committed_when_the_saver_closes(self, path):
        async with open_sqlite_saver(path) as saver:
            waiting = [asyncio.create_task(put(saver, f"t{n}")) for n in range(50)]
            await asyncio.sleep(0)
        await asyncio.gather(*waiting)
        async with open_sqlite_saver(path) as saver:
            assert len([c async for c in saver.alist(None)]) == 50

    async def test_after_the_end_is_refused(self, path):
        async with open_sqlite_saver(path) as saver:
            pass
        with pytest.raises(BusyError, match="closed"):
            await put(saver, "late")


class TestAnError:
    async def test_of_one_row_does_not_sink_its_batch(self, saver):
        nameless = {**empty_checkpoint(), "id": None}
        bad = saver.aput(at("bad"), nameless, {"source": "input", "step": -1, "parents": {}}, {})
        outcomes = await asyncio.gather(
            *(put(saver, f"t{n}", n) for n in range(20)),
            bad,
            *(put(saver, f"t{n}", n) for n in range(20, 40)),
            return_exceptions=True,
        )
        failed = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        assert [type(error) for error in failed] == [sqlite3.IntegrityError]
        assert [await note_of(saver, f"t{n}") for n in range(40)] == list(range(40))

    async def test_of_a_value_that_cannot_be_serialized_reaches_its_caller_only(self, saver):
        outcomes = await asyncio.gather(put(saver, "a", object()), put(saver, "b"), return_exceptions=True)
        assert isinstance(outcomes[0], TypeError)
        assert await note_of(saver, "b") == "note"

    async def test_of_a_full_disk_reaches_the_caller_and_the_writer_lives_on(self, saver, monkeypatch):
        monkeypatch.setattr("core.outages.PATIENCE_SECONDS", 0.1)
        pages = "PRAGMA max_page_count = {}"
        await saver._writer.submit(lambda c: c.execute(pages.format(20)).fetchall())
        outcomes = await asyncio.gather(
            put(saver, "large", "x" * 1_000_000), put(saver, "small"), return_exceptions=True
        )
        assert "full" in str(outcomes[0])
        assert (await note_of(saver, "large"), await note_of(saver, "small")) == (None, "note")
        await saver._writer.submit(lambda c: c.execute(pages.format(1_000_000)).fetchall())
        await put(saver, "large", "x" * 1_000_000)
        assert len(await note_of(saver, "large")) == 1_000_000

    async def test_of_a_locked_file_reaches_all_who_wait_and_passes_with_the_lock(self, saver, path, monkeypatch):
        monkeypatch.setattr("core.outages.PATIENCE_SECONDS", 0.1)
        await saver._writer.submit(lambda c: c.execute("PRAGMA busy_timeout = 50").fetchall())
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            outcomes = await asyncio.gather(*(put(saver, f"t{n}") for n in range(3)), return_exceptions=True)
            assert [str(outcome).split(";")[0] for outcome in outcomes] == ["The database is busy"] * 3
            assert await note_of(saver, "t0") is None
        await put(saver, "t0")
        assert await note_of(saver, "t0") == "note"


def test_a_saver_with_an_allowlist_of_its_own_writes_with_the_same_thread(path):
    async def use() -> tuple[bool, Any]:
        async with open_sqlite_saver(path) as saver:
            clone = saver.with_allowlist([("core.ids", "ParsedId")])
            await put(clone, "t")
            return isinstance(clone, GroupCommitSaver), await note_of(saver, "t")

    assert asyncio.run(use()) == (True, "note")
