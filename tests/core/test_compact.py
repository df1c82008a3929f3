"""Compaction drops what nobody asks for any more, and what stays is as it was, on both databases."""

import asyncio
import itertools
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command

from core.checkpoints.compact import (
    Compacts,
    compact,
    count_checkpoints,
    incremental_vacuum,
    plan_compaction,
)
from core.checkpoints.fork import Row, fork, newest_checkpoint, plan_fork
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.errors import BadInputError, BusyError, NotFoundError
from tests.core.test_fork import (
    answer_all,
    asking_graph,
    at,
    delta_graph,
    line_graph,
    memory_graph,
    new_thread,
    plain,
    rows_of,
    totals,
)


@pytest.fixture
async def saver(database_url, tmp_path):
    if database_url.startswith("sqlite"):
        async with open_sqlite_saver(tmp_path / "checkpoints.db") as opened:
            yield opened
    else:
        async with open_postgres_saver(database_url) as opened:
            yield opened


async def forked(saver, source: str, checkpoint: str | None) -> str:
    target = new_thread()
    await fork(saver, source_thread=source, source_checkpoint=checkpoint, target_thread=target)
    return target


async def roots(saver, thread: str) -> list[str]:
    """The ids of a thread's root checkpoints, newest first."""
    where = {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}
    return [found.checkpoint["id"] async for found in saver.alist(where)]


async def stored(saver, thread: str) -> list[Any]:
    """All that is stored of a thread, without its name."""
    found = []
    async for one in saver.alist({"configurable": {"thread_id": thread}}):
        up = one.parent_config and one.parent_config["configurable"]["checkpoint_id"]
        ns = one.config["configurable"]["checkpoint_ns"]
        found.append((ns, one.checkpoint, up, one.metadata, sorted(map(repr, one.pending_writes))))
    return sorted(found, key=lambda one: (one[0], one[1]["id"]))


async def go_on(graph, thread: str, more: Any) -> Any:
    """What comes next: answers to open questions, then the steps that are left, then one more turn."""
    if (await graph.aget_state(at(thread))).interrupts:
        await answer_all(graph, thread)
    if (await graph.aget_state(at(thread))).next:
        await graph.ainvoke(None, at(thread))
    await graph.ainvoke(more, at(thread))
    state = await graph.aget_state(at(thread))
    return state.values, state.next, [question.value for question in state.interrupts]


async def seen(saver, graph, thread: str, points: list[str | None]) -> dict[str | None, Any]:
    """What can be seen of a thread at some points (None: the newest), and what a fork from each carries."""
    found: dict[str | None, Any] = {}
    for point in points:
        state = plain(await graph.aget_state(at(thread, point), subgraphs=True))
        found[point] = (state, await stored(saver, await forked(saver, thread, point)))
    return found


async def check_step_by_step(saver, graph, thread: str, more: Any) -> None:
    """Give up more and more points, and find the others unchanged each time, and at the end going on alike."""
    points = await roots(saver, thread)
    before = await seen(saver, graph, thread, [None, *points])
    twins = {point: await forked(saver, thread, point) for point in points[1::4]}
    newest = await forked(saver, thread, None)
    for keep in (points, points[1::2], points[1::4]):
        await compact(saver, thread_id=thread, keep=[*keep, "not there"])
        left = await roots(saver, thread)
        assert set(left) >= {points[0], *keep}
        # Also those that nobody asked to keep: what stays is whole.
        assert await seen(saver, graph, thread, left) == {point: before[point] for point in left}
    for point, twin in twins.items():
        here = await forked(saver, thread, point)
        assert await go_on(graph, here, more) == await go_on(graph, twin, more)
    await compact(saver, thread_id=thread)
    assert await seen(saver, graph, thread, [None]) == {None: before[None]}
    assert await go_on(graph, thread, more) == await go_on(graph, newest, more)


class TestWhatStaysIsAsItWas:
    async def test_with_private_channels_and_reducers(self, saver):
        graph, thread = line_graph(saver), new_thread()
        for _ in range(2):
            await graph.ainvoke({"said": ["hi"], "total": 1}, at(thread))
        await check_step_by_step(saver, graph, thread, {"said": ["more"], "total": 5})

    async def test_with_subgraphs_that_have_a_memory(self, saver):
        graph, thread = memory_graph(saver), new_thread()
        await totals(graph, thread, 4)
        await check_step_by_step(saver, graph, thread, {"said": [], "total": 0})

    async def test_with_a_memory_that_an_earlier_fork_brought_along(self, saver):
        graph, source = memory_graph(saver), new_thread()
        await totals(graph, source, 2)
        thread = await forked(saver, source, None)
        await totals(graph, thread, 2)
        await check_step_by_step(saver, graph, thread, {"said": [], "total": 0})

    async def test_with_two_branches_in_one_thread_that_remember_different_things(self, saver):
        graph, thread = memory_graph(saver), new_thread()
        await totals(graph, thread, 1)
        then = await newest_checkpoint(saver, thread)
        await totals(graph, thread, 2)
        await graph.aupdate_state(at(thread, then), {"said": ["branch"]}, as_node="after")
        await totals(graph, thread, 2)
        await check_step_by_step(saver, graph, thread, {"said": [], "total": 0})

    @pytest.mark.parametrize("answered", [False, True])
    async def test_with_questions_inside_a_subgraph_and_outside(self, saver, answered):
        graph, thread = asking_graph(saver, []), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(thread))
        if answered:
            await answer_all(graph, thread)
        await check_step_by_step(saver, graph, thread, {"said": ["more"], "total": 0})

    async def test_with_a_memory_that_waits_for_an_answer(self, saver):
        graph, thread = memory_graph(saver, ask=True), new_thread()
        await totals(graph, thread, 1)
        await graph.ainvoke({"said": [], "total": 0}, at(thread))
        twin = await forked(saver, thread, None)
        before = await seen(saver, graph, thread, [None])
        assert await compact(saver, thread_id=thread) > 0
        assert await seen(saver, graph, thread, [None]) == before
        resumed = await graph.ainvoke(Command(resume="no"), at(thread))
        assert resumed == await graph.ainvoke(Command(resume="no"), at(twin))

    @pytest.mark.parametrize("every", [1, 4, 1000])
    async def test_with_a_delta_channel(self, saver, every):
        graph, thread = delta_graph(saver, every), new_thread()
        for turn in range(3):
            await graph.ainvoke({"said": [f"q{turn}"]}, at(thread))
        await check_step_by_step(saver, graph, thread, {"said": ["more"]})


class TestWhatGoes:
    async def test_is_all_but_the_newest_and_its_memories(self, saver):
        graph, thread = memory_graph(saver), new_thread()
        await totals(graph, thread, 3)
        before = len(await stored(saver, thread))
        went = await compact(saver, thread_id=thread)
        left = await stored(saver, thread)
        assert [ns for ns, *_ in left] == ["", "call", "call|deep"]
        assert went == before - 3
        assert await compact(saver, thread_id=thread) == 0

    async def test_cannot_be_forked_any_more(self, saver):
        graph, thread = line_graph(saver), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(thread))
        oldest = (await roots(saver, thread))[-1]
        await compact(saver, thread_id=thread)
        with pytest.raises(NotFoundError, match="not in the thread"):
            await forked(saver, thread, oldest)

    async def test_takes_its_writes_and_blobs_with_it_and_leaves_other_threads_alone(self, saver, database_url):
        graph, thread, other = line_graph(saver), new_thread(), new_thread()
        for turn in (thread, other):
            await graph.ainvoke({"said": ["hi"], "total": 1}, at(turn))
        untouched = await rows_of(saver, database_url, other)
        before = await rows_of(saver, database_url, thread)
        alone = await rows_of(saver, database_url, await forked(saver, thread, None))
        await compact(saver, thread_id=thread, keep=await roots(saver, other))
        after = await rows_of(saver, database_url, thread)
        # The same number of rows in each table as a thread that never had more.
        assert list(map(len, after)) == list(map(len, alone))
        assert list(map(len, after)) < list(map(len, before))
        assert await rows_of(saver, database_url, other) == untouched

    async def test_is_nothing_in_a_thread_without_a_state(self, saver):
        assert await compact(saver, thread_id=new_thread(), keep=["nowhere"]) == 0

    async def test_goes_once_when_several_ask_at_the_same_moment(self, saver):
        graph, thread = line_graph(saver), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(thread))
        before = len(await roots(saver, thread))
        went = await asyncio.gather(*(compact(saver, thread_id=thread) for _ in range(5)))
        assert sum(went) == before - 1
        assert await count_checkpoints(saver, [thread]) == {thread: 1}


class TestCounting:
    async def test_says_for_each_thread_how_many_root_checkpoints_it_has(self, saver):
        memories, lines = memory_graph(saver), line_graph(saver)
        one, two, none = new_thread(), new_thread(), new_thread()
        await totals(memories, one, 1)
        await lines.ainvoke({"said": [], "total": 0}, at(two))
        await compact(saver, thread_id=two)
        expected = {one: len(await roots(saver, one)), two: 1, none: 0}
        assert await count_checkpoints(saver, [one, two, none]) == expected
        assert await count_checkpoints(saver, []) == {}


class TestGivingSpaceBack:
    async def test_shrinks_the_file_by_as_many_pages_as_asked(self, tmp_path):
        path = tmp_path / "checkpoints.db"

        def unused() -> int:
            with closing(sqlite3.connect(path)) as connection:
                return connection.execute("PRAGMA freelist_count").fetchone()[0]

        async with open_sqlite_saver(path) as saver:
            graph, thread = line_graph(saver), new_thread()
            await graph.ainvoke({"said": ["x" * 1_000_000], "total": 0}, at(thread))
            twin = await forked(saver, thread, None)
            before = await stored(saver, twin)
            await compact(saver, thread_id=thread)
            free = unused()
            assert free > 1_000
            await incremental_vacuum(saver, 300)
            assert unused() == free - 300
            await incremental_vacuum(saver, 0)
            assert unused() == free - 300
            large = path.stat().st_size
            await incremental_vacuum(saver, 1_000_000)
            assert unused() == 0
            assert await stored(saver, twin) == before
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert path.stat().st_size < large - (free - 300) * 4096 + 8192

    async def test_is_for_postgres_to_do_by_itself(self, postgres):
        async with open_postgres_saver(postgres.replace("postgresql:", "postgresql+psycopg:")) as saver:
            assert await incremental_vacuum(saver, 100) is None


class TestWhatCannotBeCompacted:
    async def test_a_store_that_is_not_ours(self, tmp_path):
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as stock:
            assert not isinstance(stock, Compacts)
            with pytest.raises(BadInputError, match="cannot be compacted"):
                await compact(stock, thread_id="t")

    async def test_a_thread_that_another_process_compacts_at_the_moment(self, postgres):
        url = postgres.replace("postgresql:", "postgresql+psycopg:")
        async with open_postgres_saver(url) as saver:
            graph, thread = line_graph(saver), f"both {new_thread()}"
            await graph.ainvoke({"said": [], "total": 0}, at(thread))
            async with await psycopg.AsyncConnection.connect(postgres) as other:
                await other.execute("DELETE FROM skein_checkpoints.checkpoints WHERE thread_id = %s", (thread,))
                waiting = asyncio.create_task(compact(saver, thread_id=thread))
                async with await psycopg.AsyncConnection.connect(postgres, autocommit=True) as third:
                    while not await blocked(third):
                        assert not waiting.done()
                await other.commit()
            with pytest.raises(BusyError, match="Another process"):
                await waiting


async def blocked(connection) -> bool:
    found = await connection.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
    return (await found.fetchone())[0] > 0


_COUNTERS = "counters_since_delta_snapshot"


@st.composite
def threads(draw) -> list[Row]:
    """Threads stranger than real ones: ids against descent, branches, calls and memories in any order."""
    own = draw(st.lists(st.integers(0, 30), min_size=1, max_size=9, unique=True))
    ids = [f"{number:02d}" for number in (sorted(own) if draw(st.booleans()) else own)]
    counters = st.sampled_from([{}, {}, {_COUNTERS: {"x": 1}}, {_COUNTERS: {"x": 1, "y": 1}}])
    rows = [Row("", one, up, draw(counters), draw(st.booleans())) for one, up in lineage(draw, ids)]
    for ns in draw(st.sets(st.sampled_from(["memory", "memory|deep", "call:1", "call:2", "call:3"]))):
        made = draw(st.lists(st.integers(0, 30), min_size=1, max_size=5, unique=True))
        under = st.sampled_from([*ids, "elsewhere"])
        if ":" in ns:
            under = st.just(draw(under))
        for one, up in lineage(draw, [f"{number:02d}m" for number in made]):
            about = {"parents": {"": draw(under)}} | draw(counters)
            rows.append(Row(ns, one, up, about, draw(st.booleans())))
    return rows


def lineage(draw, ids: list[str]) -> list[tuple[str, str | None]]:
    parents = (draw(st.sampled_from([*ids[max(0, place - 2) : place], None])) for place in range(len(ids)))
    return list(zip(ids, parents, strict=True))


def compacted(rows: list[Row], keep: list[str]) -> list[Row]:
    plan = plan_compaction(rows, keep=keep)
    left = [row for row in rows if (row.ns, row.id) not in set(plan.gone)]
    return [replace(row, parent=plan.parents.get((row.ns, row.id), row.parent)) for row in left]


def forks(rows: list[Row], points: list[str]) -> list[set[Any]]:
    return [set(plan_fork(rows, at=point)) for point in points]


class TestThePlan:
    @settings(max_examples=500, deadline=None)
    @given(threads(), st.data())
    def test_leaves_every_root_checkpoint_that_stays_with_the_fork_it_had(self, rows, data):
        own = [row.id for row in rows if row.ns == ""]
        for keep in itertools.accumulate([own, own, own], lambda some, _: data.draw(subset(some))):
            left = compacted(rows, keep)
            points = [row.id for row in left if row.ns == ""]
            assert {max(own), *keep} <= set(points)
            assert forks(left, points) == forks(rows, points)
            rows = left

    def test_keeps_the_root_that_a_memory_ran_under_only_where_time_would_decide_otherwise(self):
        def ran_under(root: str) -> dict[str, Any]:
            return {"parents": {"": root}}

        chain = [Row("", str(n), str(n - 1) if n > 1 else None, {}, False) for n in range(1, 7)]
        usual = [Row("sub", "2b", None, ran_under("2"), False), Row("sub", "5b", "2b", ran_under("5"), False)]
        ahead = [Row("sub", "5a", None, ran_under("2"), False), Row("sub", "5b", "5a", ran_under("5"), False)]
        assert [row.id for row in compacted([*chain, *usual], ["4"])] == ["4", "6", "2b", "5b"]
        assert [row.id for row in compacted([*chain, *ahead], ["4"])] == ["2", "4", "5", "6", "5a", "5b"]


def subset(items: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(items), unique=True) if items else st.just([])
