"""An edit sets keys of the state a forked thread stands at, and nothing else, on both databases; and a fork from
every checkpoint of a run, of graphs of every shape, goes on to where its source went."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command, StateSnapshot
from sqlalchemy.engine import make_url

from core.checkpoints.edit import check_values, edit_state, editable_keys, json_schema
from core.checkpoints.fork import fork, newest_checkpoint
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.errors import BadInputError, BusyError, NotFoundError
from tests.core.test_fork import rows_of
from tests.graphs import shapes

_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Of one PostgreSQL database for all tests here, in which each makes its own threads; or none."""
    if request.param == "sqlite":
        return ""
    uri = make_url(request.getfixturevalue("postgres")).set(drivername="postgresql+psycopg")
    return uri.render_as_string(hide_password=False)


@pytest.fixture
async def saver(url: str, tmp_path: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    opening = open_postgres_saver(url) if url else open_sqlite_saver(tmp_path / "checkpoints.db")
    async with opening as opened:
        yield opened


def new_thread() -> str:
    return f"t{next(_numbers)}"


def at(thread: str, checkpoint: str | None = None) -> Any:
    where = {} if checkpoint is None else {"checkpoint_ns": "", "checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": thread, **where}}


def id_of(state: StateSnapshot) -> str:
    return state.config["configurable"]["checkpoint_id"]


def id_of_parent(state: StateSnapshot) -> str:
    return state.parent_config["configurable"]["checkpoint_id"]


async def forked(saver: Any, source: str, checkpoint: str | None = None) -> str:
    target = new_thread()
    await fork(saver, source_thread=source, source_checkpoint=checkpoint, target_thread=target)
    return target


async def edited(graph: Any, saver: Any, source: str, checkpoint: str | None, **values: Any) -> tuple[str, str]:
    """A fork with these values edited, and the checkpoint to go on from."""
    target = new_thread()
    await fork(saver, source_thread=source, source_checkpoint=checkpoint, target_thread=target, anew=True)
    return target, await edit_state(graph, saver, thread_id=target, values=values)


async def moment(graph: Any, thread: str, *nodes: str) -> str:
    """The newest checkpoint of a thread at which these nodes were next."""
    async for state in graph.aget_state_history(at(thread)):
        if set(state.next) == set(nodes):
            return id_of(state)
    raise AssertionError(f"{nodes} were never next")


TURNS = {
    shapes.mixed: [{"topic": "tea", "said": ["hi"], "best": 2, "long": ["a"]}, {"topic": "rain", "long": ["b"]}],
    shapes.inner: [{"topic": "tea", "said": ["hi"], "long": ["a"]}, {"topic": "rain", "said": ["ho"]}],
    shapes.talking: [
        {"topic": "tea", "messages": [HumanMessage("hi", id="q1")]},
        {"topic": "rain", "messages": [HumanMessage("ho", id="q2")]},
    ],
}
every_shape = pytest.mark.parametrize("shape", TURNS, ids=lambda shape: shape.__name__)


@dataclass(frozen=True)
class Moment:
    """A checkpoint of a source: its state, the nodes that ran from there on in its turn, what it was given to go
    on (None in the middle of a turn), and where it came."""

    state: StateSnapshot
    rest: list[str]
    given: Any
    end: Any


async def moments_of(graph: Any, source: str, ran: list[str], inputs: list[Any]) -> list[Moment]:
    """Run the turns, and give each moment of them from which there was a way on."""
    ends, logs = [], []
    for one in inputs:
        ran.clear()
        ends.append(await graph.ainvoke(one, at(source)))
        logs.append(list(ran))
    states = [state async for state in graph.aget_state_history(at(source))][::-1]
    turn, found = -1, []
    for place, state in enumerate(states):
        turn += state.next == ("__start__",)
        # No node of these graphs runs in two steps of a turn.
        to_come = {name for own in itertools.takewhile(lambda own: own.next, states[place:]) for name in own.next}
        if state.next:
            found.append(Moment(state, [name for name in logs[turn] if name in to_come], None, ends[turn]))
        elif turn + 1 < len(inputs):
            found.append(Moment(state, logs[turn + 1], inputs[turn + 1], ends[turn + 1]))
    return found


async def go_on(graph: Any, thread: str, old: Moment, checkpoint: str | None = None) -> Any:
    where = at(thread) if old.given else at(thread, checkpoint or id_of(old.state))
    return await graph.ainvoke(old.given, where)


async def checkpoints_of(saver: Any, thread: str) -> dict[tuple[str, str], Any]:
    """Each checkpoint of a thread, by namespace and id."""
    return {
        (found.config["configurable"]["checkpoint_ns"], found.checkpoint["id"]): found.checkpoint
        async for found in saver.alist(at(thread))
    }


class TestAForkFromEveryCheckpoint:
    @every_shape
    async def test_is_equal_and_comes_to_the_same_end_without_running_anything_twice(self, saver, url, shape):
        ran: list[str] = []
        graph, source = shape(saver, ran), new_thread()
        moments = await moments_of(graph, source, ran, TURNS[shape])
        before = await rows_of(saver, url, source)
        for old in moments:
            target = await forked(saver, source, id_of(old.state))
            new = await graph.aget_state(at(target))
            assert (new.values, new.next) == (old.state.values, old.state.next)
            assert [(t.id, t.name, t.path) for t in new.tasks] == [(t.id, t.name, t.path) for t in old.state.tasks]
            ran.clear()
            assert await go_on(graph, target, old) == old.end
            assert sorted(ran) == sorted(old.rest)
        assert await rows_of(saver, url, source) == before
        assert len(moments) > 6

    @every_shape
    async def test_carries_each_namespaces_checkpoint_unchanged(self, saver, shape):
        graph, source = shape(saver, []), new_thread()
        moments = await moments_of(graph, source, [], TURNS[shape])
        stored = await checkpoints_of(saver, source)
        for old in moments:
            carried = await checkpoints_of(saver, await forked(saver, source, id_of(old.state)))
            assert carried == {key: stored[key] for key in carried}

    async def test_keeps_the_objects_of_an_agents_own_classes(self, saver):
        graph, source = shapes.wide(saver), new_thread()
        await graph.ainvoke({"messages": [], **OBJECTS}, at(source))
        target = await forked(saver, source)
        assert (await graph.aget_state(at(target))).values == (await graph.aget_state(at(source))).values

    async def test_twenty_at_once_in_the_middle_of_a_run_leave_the_source_byte_identical(self, saver, url):
        graph, source = shapes.mixed(saver, []), new_thread()
        moments = await moments_of(graph, source, [], TURNS[shapes.mixed])
        middle = next(own for own in moments[::-1] if "recall" in own.state.next)
        before = await rows_of(saver, url, source)

        async def child(number: int) -> Any:
            target, begin = await edited(graph, saver, source, id_of(middle.state), topic=f"topic {number}")
            return await graph.ainvoke(None, at(target, begin))

        ends = await asyncio.gather(*map(child, range(20)))
        assert [end["said"][-2] for end in ends] == [f"part 2 of topic {number}" for number in range(20)]
        assert [end["said"][-1] for end in ends] == [middle.end["said"][-1]] * 20
        assert await rows_of(saver, url, source) == before


OBJECTS = {"task": shapes.Task(name="wash"), "place": shapes.Place("Ulm", {"old"}), "tags": {"a"}}
EDITS = [
    (shapes.mixed, {"topic": "snow"}),
    (shapes.mixed, {"said": ["only this"], "best": -5, "hint": "of mine"}),
    (shapes.mixed, {"long": ["x", "y"]}),
    (shapes.inner, {"said": [], "topic": "snow", "long": ["x"]}),
    (shapes.talking, {"topic": "snow"}),
]
every_edit = pytest.mark.parametrize(
    ("shape", "values"), EDITS, ids=[f"{shape.__name__}-{'-'.join(values)}" for shape, values in EDITS]
)


class TestAnEditAtEveryCheckpoint:
    @every_edit
    async def test_sets_these_keys_and_nothing_else(self, saver, shape, values):
        ran: list[str] = []
        graph, source = shape(saver, ran), new_thread()
        for old in await moments_of(graph, source, ran, TURNS[shape]):
            target = await forked(saver, source, id_of(old.state))
            carried = await checkpoints_of(saver, target)
            begin = await edit_state(graph, saver, thread_id=target, values=values)
            new = await graph.aget_state(at(target))
            assert new.values == {**old.state.values, **values}
            assert new.next == old.state.next
            assert [(t.name, t.path) for t in new.tasks] == [(t.name, t.path) for t in old.state.tasks]
            assert (id_of(new), id_of_parent(new)) == (begin, id_of(old.state))
            assert (new.metadata["source"], new.metadata["step"]) == ("update", old.state.metadata["step"] + 1)
            stored = await checkpoints_of(saver, target)
            assert {key: own for key, own in stored.items() if key != ("", begin)} == carried
            ran.clear()
            await go_on(graph, target, old, begin)
            assert sorted(ran) == sorted(old.rest)

    @every_edit
    async def test_that_changes_nothing_leads_to_the_same_end(self, saver, shape, values):
        ran: list[str] = []
        graph, source = shape(saver, ran), new_thread()
        for old in await moments_of(graph, source, ran, TURNS[shape]):
            same = {key: old.state.values[key] for key in values if key in old.state.values}
            if same:
                target, begin = await edited(graph, saver, source, id_of(old.state), **same)
                assert await go_on(graph, target, old, begin) == old.end


class TestAnEditInTheMiddleOfARun:
    async def test_is_seen_by_the_nodes_to_come_and_leaves_memories_alone(self, saver):
        ran: list[str] = []
        graph, source = shapes.mixed(saver, ran), new_thread()
        for turn in TURNS[shapes.mixed]:
            end = await graph.ainvoke(turn, at(source))
        (called,) = [own for own in end["said"] if own.startswith("call") and own.endswith("rain")]
        middle = await moment(graph, source, "whisper", "recall")
        target, begin = await edited(graph, saver, source, middle, topic="snow", hint="of mine", said=["new"])
        ran.clear()
        end = await graph.ainvoke(None, at(target, begin))
        assert end["said"] == [
            "new",
            called.replace("rain", "snow"),
            "hint of mine",
            "part 0 of snow",
            "part 1 of snow",
            "part 2 of snow",
            f"6 said, best {end['best']}",
        ]
        assert sorted(ran) == ["gather", "part", "part", "part", "plan", "recall", "whisper"]

    async def test_keeps_sends_in_flight(self, saver):
        ran: list[str] = []
        graph, source = shapes.mixed(saver, ran), new_thread()
        await graph.ainvoke(TURNS[shapes.mixed][0], at(source))
        flying = await moment(graph, source, "part")
        target, begin = await edited(graph, saver, source, flying, best=100, topic="snow", said=[])
        assert (await graph.aget_state(at(target))).next == ("part", "part", "part")
        ran.clear()
        end = await graph.ainvoke(None, at(target, begin))
        # What was sent was sent before the edit.
        assert end["said"] == ["part 0 of tea", "part 1 of tea", "part 2 of tea", "3 said, best 100"]
        assert ran == ["part", "part", "part", "gather"]

    async def test_can_be_made_again_and_forked(self, saver):
        graph, source = shapes.mixed(saver, []), new_thread()
        await graph.ainvoke(TURNS[shapes.mixed][0], at(source))
        middle = await moment(graph, source, "whisper", "recall")
        target, first = await edited(graph, saver, source, middle, topic="snow", long=["x"])
        second = await edit_state(graph, saver, thread_id=target, values={"best": 50})
        state = await graph.aget_state(at(target))
        assert (id_of(state), id_of_parent(state)) == (second, first)
        fork_of_it = await forked(saver, target)
        assert (await graph.aget_state(at(fork_of_it))).values == state.values
        expected = await graph.ainvoke(None, at(target, second))
        assert (expected["topic"], expected["best"], expected["long"][0]) == ("snow", 50, "x")
        assert await graph.ainvoke(None, at(fork_of_it, second)) == expected
        older = await forked(saver, target, second)
        assert await graph.ainvoke(None, at(older, second)) == expected

    async def test_before_the_first_step_has_the_input_on_top(self, saver):
        graph, source = shapes.mixed(saver, []), new_thread()
        await graph.ainvoke({"topic": "tea", "said": ["hi"]}, at(source))
        start = await moment(graph, source, "__start__")
        target, begin = await edited(graph, saver, source, start, said=["before"], topic="lost")
        end = await graph.ainvoke(None, at(target, begin))
        assert (end["said"][:2], end["topic"]) == (["before", "hi"], "tea")

    async def test_of_a_finished_run_is_there_for_the_next_turn(self, saver):
        graph, source = shapes.talking(saver, []), new_thread()
        await graph.ainvoke(TURNS[shapes.talking][0], at(source))
        target, _ = await edited(graph, saver, source, None, messages=[{"role": "user", "content": "new"}])
        end = await graph.ainvoke({"messages": [HumanMessage("more")]}, at(target))
        assert [m.text for m in end["messages"]][2] == "first on tea: new, more"

    async def test_keeps_the_objects_of_the_keys_that_were_not_edited(self, saver):
        graph, thread = shapes.wide(saver), new_thread()
        await graph.ainvoke({"messages": [], **OBJECTS}, at(thread))
        await edit_state(graph, saver, thread_id=thread, values={"count": 3, "steps": [{"title": "one"}]})
        values = (await graph.aget_state(at(thread))).values
        assert values == {"messages": [], "count": 3, "steps": [{"title": "one"}], **OBJECTS}


TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": 1}'}}


class TestEditedMessages:
    async def test_are_exactly_the_list_that_was_written(self, saver):
        graph, source = shapes.talking(saver, []), new_thread()
        said = [SystemMessage("sys", id="s"), HumanMessage("drop", id="d"), HumanMessage("hi", id="h")]
        await graph.ainvoke({"messages": said}, at(source))
        middle = await moment(graph, source, "second")
        before = (await graph.aget_state(at(source, middle))).values["messages"]
        written = [
            before[3].model_dump(mode="json") | {"content": "changed answer"},
            before[2].model_dump(mode="json") | {"content": "changed question"},
            {"role": "assistant", "content": "called", "tool_calls": [TOOL_CALL], "id": "added"},
            {"type": "tool", "content": "found", "tool_call_id": "c1", "id": "result"},
        ]
        target, begin = await edited(graph, saver, source, middle, messages=written)
        expected = [
            AIMessage("changed answer", id=before[3].id),
            HumanMessage("changed question", id="h"),
            AIMessage("called", id="added", tool_calls=[{"name": "look", "args": {"at": 1}, "id": "c1"}]),
            ToolMessage("found", tool_call_id="c1", id="result"),
        ]
        state = await graph.aget_state(at(target))
        assert state.values["messages"] == expected
        assert state.next == ("second",)
        end = await graph.ainvoke(None, at(target, begin))
        assert end["messages"][:-1] == expected
        assert end["messages"][-1].text == "second on None: changed answer, changed question, called, found"

    async def test_may_be_none_at_all_and_new_ones_get_ids_that_stay(self, saver):
        graph, source = shapes.talking(saver, []), new_thread()
        await graph.ainvoke(TURNS[shapes.talking][0], at(source))
        emptied, _ = await edited(graph, saver, source, None, messages=[])
        assert (await graph.aget_state(at(emptied))).values["messages"] == []
        target, _ = await edited(graph, saver, source, None, messages=[{"type": "human", "content": "new"}])
        (new,) = (await graph.aget_state(at(target))).values["messages"]
        end = await graph.ainvoke({"topic": "tea"}, at(target))
        assert (end["messages"][0], bool(new.id)) == (new, True)


class TestAnEditOfAWaitingThread:
    async def test_lets_the_step_begin_anew(self, saver):
        ran: list[str] = []
        graph, source = shapes.waiting(saver, ran), new_thread()
        await graph.ainvoke({"topic": "tea", "long": ["a"]}, at(source))
        target, begin = await edited(graph, saver, source, None, topic="snow")
        state = await graph.aget_state(at(target))
        assert (state.next, state.interrupts) == (("ask", "quick"), ())
        assert state.values == {"topic": "snow", "said": [], "long": ["a"], "best": 0}
        ran.clear()
        await graph.ainvoke(None, at(target, begin))
        asked = await graph.aget_state(at(target))
        assert ([one.value for one in asked.interrupts], asked.next, ran) == (["snow"], ("ask",), ["quick"])
        end = await graph.ainvoke(Command(resume="yes"), at(target))
        assert end["said"] == ["snow: yes", "quick", "end of snow"]
        assert end["long"] == ["a", "quick snow"]

    async def test_keeps_an_update_that_no_task_made_but_not_of_the_edited_key(self, saver):
        graph, source = shapes.waiting(saver, []), new_thread()
        await graph.ainvoke({"topic": "tea", "long": ["a"], "said": ["hi"]}, at(source))
        by_hand = {"topic": "lost", "best": 7, "long": ["by hand"], "said": ["by hand"]}
        await graph.ainvoke(Command(update=by_hand), at(source))
        target, begin = await edited(graph, saver, source, None, topic="snow", said=["mine"])
        expected = {"topic": "snow", "best": 7, "long": ["a", "by hand"], "said": ["mine"]}
        assert (await graph.aget_state(at(target))).values == expected
        await graph.ainvoke(None, at(target, begin))
        end = await graph.ainvoke(Command(resume="yes"), at(target))
        assert end["long"] == ["a", "by hand", "quick snow"]
        assert (end["best"], end["said"]) == (7, ["mine", "snow: yes", "quick", "end of snow"])

    async def test_lets_a_subgraph_with_a_memory_ask_about_what_was_edited(self, saver):
        graph, source = shapes.asking_inside(saver, []), new_thread()
        assert (await graph.ainvoke({"topic": "tea"}, at(source)))["said"] == ["call 1 about tea"]
        await graph.ainvoke({"topic": "rain"}, at(source))
        target, begin = await edited(graph, saver, source, None, topic="snow")
        await graph.ainvoke(None, at(target, begin))
        assert [one.value for one in (await graph.aget_state(at(target))).interrupts] == ["snow"]
        end = await graph.ainvoke(Command(resume="yes"), at(target))
        assert end["said"] == ["call 1 about tea", "call 2 about snow"]


class TestADeltaChannel:
    async def test_goes_on_from_the_edit_over_many_turns_and_forks(self, saver):
        graph, source = shapes.mixed(saver, []), new_thread()
        for turn in TURNS[shapes.mixed]:
            await graph.ainvoke(turn, at(source))
        middle = await moment(graph, source, "whisper", "recall")
        target, begin = await edited(graph, saver, source, middle, long=["x"])
        first = await graph.ainvoke(None, at(target, begin))
        assert first["long"] == ["x", "whisper", "2"]
        for number in range(4):
            end = await graph.ainvoke({"topic": "t", "long": [f"q{number}"]}, at(target))
        assert end["long"][:6] == ["x", "whisper", "2", "q0", "begin 4", "whisper"]
        assert len(end["long"]) == 3 + 4 * 4
        assert (await graph.aget_state(at(await forked(saver, target)))).values["long"] == end["long"]
        again = await forked(saver, target, begin)
        assert await graph.ainvoke(None, at(again, begin)) == first

    async def test_depends_on_no_ancestor_after_an_edit_of_another_key(self, saver):
        graph, source = shapes.mixed(saver, []), new_thread()
        await graph.ainvoke(TURNS[shapes.mixed][0], at(source))
        middle = await moment(graph, source, "whisper", "recall")
        target, begin = await edited(graph, saver, source, middle, topic="snow")
        alone = await forked(saver, target, begin)
        assert [own for ns, own in await checkpoints_of(saver, alone) if ns == ""] == [begin]
        assert (await graph.aget_state(at(alone))).values["long"] == ["a", "begin 1"]


class TestAGraphWhoseNodesStartOnAKey:
    async def test_has_the_same_nodes_next_whichever_key_is_edited(self, saver):
        ran: list[str] = []
        graph, source = shapes.bare(saver, ran), new_thread()
        await graph.ainvoke({"a": "x"}, at(source))
        assert ran == ["one", "two"]
        middle = await moment(graph, source, "two")
        target, begin = await edited(
            graph, saver, source, middle, a="seen", b="due", c="of none", d="new", e="gone"
        )
        assert (await graph.aget_state(at(target))).next == ("two",)
        ran.clear()
        assert await graph.ainvoke(None, at(target, begin)) == {"b": "due", "c": "due2"}
        assert ran == ["two"]

    async def test_has_none_next_after_its_end_but_takes_new_input(self, saver):
        ran: list[str] = []
        graph, source = shapes.bare(saver, ran), new_thread()
        await graph.ainvoke({"a": "x"}, at(source))
        target, _ = await edited(graph, saver, source, None, a="1", b="2", d="3")
        assert (await graph.aget_state(at(target))).next == ()
        ran.clear()
        assert await graph.ainvoke({"a": "y"}, at(target)) == {"b": "y1", "c": "y12"}
        assert ran == ["one", "two"]


class TestWhatCannotBeEdited:
    async def test_is_a_thread_without_a_state(self, saver):
        graph = shapes.talking(saver, [])
        with pytest.raises(NotFoundError, match="no state yet"):
            await edit_state(graph, saver, thread_id=new_thread(), values={"topic": "snow"})

    async def test_is_a_key_that_does_not_fit_and_then_nothing_is_written(self, saver, url):
        graph, source = shapes.talking(saver, []), new_thread()
        await graph.ainvoke(TURNS[shapes.talking][0], at(source))
        before = await rows_of(saver, url, source)
        with pytest.raises(BadInputError, match="'topic' does not fit"):
            await edit_state(graph, saver, thread_id=source, values={"messages": [], "topic": 5})
        assert await rows_of(saver, url, source) == before

    async def test_is_a_state_from_the_future(self, saver):
        graph, source = shapes.talking(saver, []), new_thread()
        await graph.ainvoke(TURNS[shapes.talking][0], at(source))
        newest = await saver.aget_tuple(at(source))
        checkpoint = {**newest.checkpoint, "id": "ffffffff-ffff-6fff-bfff-ffffffffffff"}
        await saver.aput(newest.config, checkpoint, newest.metadata, {})
        with pytest.raises(BusyError, match="clock is ahead"):
            await edit_state(graph, saver, thread_id=source, values={"topic": "snow"})
        assert await newest_checkpoint(saver, source) == checkpoint["id"]


def checked(key: str, value: Any) -> Any:
    return check_values(shapes.wide(), {key: value})[key]


def refusal(values: Any, graph: Any = None) -> str:
    with pytest.raises(BadInputError) as raised:
        check_values(graph or shapes.wide(), values)
    assert "\n" not in str(raised.value)
    return str(raised.value)


class TestWhichKeysCanBeEdited:
    def test_are_those_of_the_state_in_its_order_and_private_ones(self):
        assert editable_keys(shapes.wide()) == [
            *["messages", "plain", "last", "count", "price", "flag", "mode", "steps", "task", "place", "tags"],
            *["anything", "hint"],
        ]

    def test_are_those_of_any_kind_of_schema(self):
        assert editable_keys(shapes.of_schema(shapes.Form)) == ["age", "names"]
        assert editable_keys(shapes.of_schema(shapes.Sheet)) == ["title", "rows"]
        assert editable_keys(shapes.bare(None, [])) == ["a", "b", "c", "d", "e"]

    def test_are_described_in_a_few_words(self):
        hints = json_schema(shapes.wide())
        assert list(hints) == editable_keys(shapes.wide())
        assert hints["messages"] == "a list (each a message)"
        assert hints["last"] == "a message or null"
        assert (hints["count"], hints["mode"]) == ("a whole number", "'fast' or 'slow'")

    @pytest.mark.parametrize(
        ("key", "why"),
        [
            ("nope", "is not in this agent's state"),
            ("__start__", "belongs to LangGraph itself"),
            ("branch:to:private", "belongs to LangGraph itself"),
            ("__pregel_tasks", "belongs to LangGraph itself"),
            ("left", "is worked out anew for each step"),
            ("gone", "is never stored"),
            ("tool", "holds values that cannot be written as JSON"),
        ],
    )
    def test_are_not_others_and_the_sentence_lists_those_there_are(self, key, why):
        assert refusal({key: 1}).startswith(f"The key {key!r} {why}")
        assert "keys that can be edited: messages, plain, last" in refusal({key: 1})


class TestValues:
    @pytest.mark.parametrize(
        ("key", "value", "expected"),
        [
            ("count", 5, 5),
            ("price", 3, 3.0),
            ("flag", False, False),
            ("mode", "fast", "fast"),
            ("last", None, None),
            (
                "steps",
                [{"title": "a"}, {"title": "b", "done": True}],
                [{"title": "a"}, {"title": "b", "done": True}],
            ),
            ("task", {"name": "wash"}, shapes.Task(name="wash")),
            ("place", {"city": "Ulm", "tags": ["old"]}, shapes.Place("Ulm", {"old"})),
            ("tags", ["a", "b"], {"a", "b"}),
            ("anything", {"deep": [1, None, "你好"]}, {"deep": [1, None, "你好"]}),
            ("count", 2**63 - 1, 2**63 - 1),
            ("count", -(2**63), -(2**63)),
            ("hint", "a backslash \\u0000", "a backslash \\u0000"),
        ],
    )
    def test_become_those_of_the_schema_and_stay_so_when_checked_again(self, key, value, expected):
        assert checked(key, value) == expected
        assert checked(key, checked(key, value)) == expected

    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("count", "5", "a valid integer; it takes a whole number"),
            ("count", None, "a valid integer"),
            ("count", 3.5, "a valid integer"),
            ("flag", "yes", "a valid boolean; it takes true or false"),
            ("mode", "medium", "'fast' or 'slow'"),
            ("steps", [{"done": True}], "(at 0 → title): Field required"),
            ("task", {"name": "wash", "weight": 0}, "(at weight): Input should be greater than 0"),
            ("messages", "hi", "it takes a list (each a message)"),
            ("messages", ["hi"], '(at 0): a message needs a type and a content; write each message like {"type"'),
            ("messages", [{"type": "human"}], "needs a type and a content"),
            ("messages", [{"type": "remove", "id": "x", "content": ""}], "leave out those that are to go"),
            ("messages", [{"type": "wizard", "content": "x"}], "this 'wizard' message cannot be read"),
            ("messages", [{"role": "wizard", "content": "x"}], "this 'wizard' message cannot be read"),
            (
                "messages",
                [{"type": "tool", "content": "x"}],
                "this 'tool' message cannot be read: it needs 'tool_call_id'; write",
            ),
            ("last", {"type": "ai", "content": "x"}, "'last' does not fit"),
            ("hint", "\0", "holds a NUL character"),
            ("hint", "\ud800", "cannot be read as plain JSON data; it takes text"),
            ("anything", object(), "cannot be read as plain JSON data"),
            ("anything", {"deep": ["a\0b"]}, "holds a NUL character"),
            ("anything", {"a\0b": 1}, "holds a NUL character"),
            ("messages", [{"type": "human", "content": "a\0b"}], "holds a NUL character"),
            ("anything", [math.nan], "holds a number that is infinite or none"),
            ("price", math.inf, "holds a number that is infinite or none"),
            ("anything", {"deep": 2**63}, "holds a whole number of more than 64 bits"),
            ("count", -(10**30), "holds a whole number of more than 64 bits"),
        ],
    )
    def test_that_do_not_fit_are_refused_in_one_sentence(self, key, value, said):
        sentence = refusal({"flag": True, key: value})
        assert said in sentence
        assert sentence.startswith(f"The value of {key!r} ")

    def test_have_to_be_some(self):
        assert refusal({}).startswith("There is nothing to change")
        assert refusal([1]).startswith("The edited state has to be an object")

    def test_have_the_limits_of_a_pydantic_schema(self):
        assert "greater than or equal to 0" in refusal({"age": -1}, shapes.of_schema(shapes.Form))

    def test_are_messages_of_their_own_class_from_either_form(self):
        for form in ({"type": "human"}, {"role": "user"}):
            for key in ("messages", "plain"):
                assert checked(key, [{**form, "content": "hi", "id": "1"}]) == [HumanMessage("hi", id="1")]
            assert checked("last", {**form, "content": "hi", "id": "1"}) == HumanMessage("hi", id="1")
