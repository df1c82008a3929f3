"""What is stored of a thread is told as it is: lists without values, whole states, what is next, and who asks."""

import operator
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.types import Overwrite, Send, interrupt

from core.access.viewer import Viewer
from core.checkpoints.fork import fork
from core.checkpoints.inspect import node_of, read_metadata, time_of, to_checkpoint
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.replaying import replay
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.checkpoints.stored import StoredCheckpoints, open_stored
from core.checkpoints.values import next_nodes, to_plain
from core.database import Database
from core.errors import NotFoundError
from core.ids import new_thread_id
from core.runs.inspecting import Inspector, count_events, count_told, describe_thread, list_events
from core.settings import Settings
from core.skein import Skein
from tests.core.support import answered, ask, follow, graph_settings

Person = Callable[..., Viewer]


class Inner(TypedDict, total=False):
    number: int
    deep: str


class Outer(TypedDict, total=False):
    number: int
    seen: Annotated[list[int], operator.add]
    told: Annotated[list[int], DeltaChannel(lambda base, updates: [*base, *chain(*updates)], list)]
    big: str


_inner = (
    StateGraph(Inner)
    .add_node("dive", lambda state: {"deep": "blue"})
    .add_node("ask", lambda state: {"deep": interrupt({"question": "go on?"})})
    .add_edge(START, "dive")
    .add_edge("dive", "ask")
)


def _spread(state: Outer) -> list[Any]:
    return [Send("one", {"number": 3}), Send("one", {"number": 4}), "left", "right"]


_outer = (
    StateGraph(Outer)
    .add_node("begin", lambda state: {"seen": [1], "told": [1], "big": "x" * 200_000})
    .add_node("one", lambda state: {"seen": [state["number"]], "told": [state["number"]]})
    .add_node("left", lambda state: {"told": [7]})
    .add_node("right", lambda state: {"told": [8]})
    .add_node("join", lambda state: {"told": [9]})
    .add_node("child", _inner.compile())
    .add_edge(START, "begin")
    .add_conditional_edges("begin", _spread, ["one", "left", "right"])
    .add_edge(["left", "right"], "join")
    .add_edge("join", "child")
    .add_edge("child", END)
)


@pytest.fixture
async def saver(database: Database, tmp_path: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    opening = (
        open_sqlite_saver(tmp_path / "checkpoints.db") if database.is_sqlite else open_postgres_saver(database.url)
    )
    async with opening as opened:
        yield opened


@pytest.fixture
async def graph(saver: BaseCheckpointSaver[Any]) -> Any:
    """The graph, run in the thread "t" until its subgraph asks."""
    compiled = _outer.compile(checkpointer=saver)
    await compiled.ainvoke({"number": 1, "seen": []}, {"configurable": {"thread_id": "t"}})
    return compiled


@pytest.fixture
def stored(graph: Any, database: Database, tmp_path: Path) -> Any:
    with open_stored(database, tmp_path / "checkpoints.db") as opened:
        yield opened


def state_of(stored: StoredCheckpoints, graph: Any, place: int, ns: str = "", **more: Any) -> Any:
    loads = graph.checkpointer.serde.loads_typed
    return stored.read_state("t", ns, stored.list_ids("t", ns)[place], loads=loads, **more)


def child_of(stored: StoredCheckpoints) -> str:
    return stored.list_namespaces("t")[1].ns


def filled(values: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: LangGraph also tells of a list that nothing was ever stored of."""
    return {name: value for name, value in values.items() if value}


class TestAList:
    def test_has_the_graphs_of_a_thread_with_their_checkpoints(self, stored: StoredCheckpoints) -> None:
        own, child = stored.list_namespaces("t")
        assert (own.ns, own.checkpoints, own.newest) == ("", 5, stored.list_ids("t")[-1])
        assert (child.ns.partition(":")[0], child.checkpoints) == ("child", 3)

    def test_is_in_the_order_of_time_and_tells_step_source_and_parent(self, stored: StoredCheckpoints) -> None:
        ids = stored.list_ids("t")
        lines = stored.read_checkpoints("t", "", ids)
        assert [line.checkpoint_id for line in lines] == ids == sorted(ids)
        assert [line.parent_checkpoint_id for line in lines] == [None, *ids[:-1]]
        assert [(line.step, line.source) for line in lines] == [
            (-1, "input"),
            *((step, "loop") for step in range(4)),
        ]
        now = datetime.now(UTC)
        assert all(now - timedelta(minutes=1) < line.created_at <= now for line in lines if line.created_at)

    def test_tells_who_wrote_who_was_sent_and_who_asks(self, stored: StoredCheckpoints) -> None:
        lines = stored.read_checkpoints("t", "", stored.list_ids("t"))
        assert [line.nodes for line in lines] == [
            ("__start__",),
            ("begin",),
            ("left", "right"),
            ("join",),
            ("child",),
        ]
        assert [len(line.tasks) for line in lines] == [1, 1, 4, 1, 1]
        assert [line.asks for line in lines] == [False, False, False, False, True]

    def test_names_those_sent_too_when_it_may_load_what_is_small(
        self, stored: StoredCheckpoints, graph: Any
    ) -> None:
        loads = graph.checkpointer.serde.loads_typed
        lines = stored.read_checkpoints("t", "", stored.list_ids("t")[2:3], loads=loads)
        assert [line.nodes for line in lines] == [("left", "right", "one")]

    def test_tells_sizes_without_reading_values(self, stored: StoredCheckpoints) -> None:
        lines = stored.read_checkpoints("t", "", stored.list_ids("t"))
        assert lines[1].size_bytes < 2_000
        assert all(200_000 < line.size_bytes < 210_000 for line in lines[2:])
        assert lines[1].tasks[0].size_bytes > 200_000

    def test_leaves_out_what_is_not_there(self, stored: StoredCheckpoints) -> None:
        first = stored.list_ids("t")[0]
        found = stored.read_checkpoints("t", "", [first, "nothing"])
        assert [line.checkpoint_id for line in found] == [first]
        assert (stored.list_ids("other"), stored.list_namespaces("other")) == ([], [])


class TestAState:
    async def test_has_what_langgraph_itself_reads(self, stored: StoredCheckpoints, graph: Any) -> None:
        config = {"configurable": {"thread_id": "t"}}
        history = [snapshot async for snapshot in graph.aget_state_history(config)][::-1]
        found = [state_of(stored, graph, place) for place in range(5)]
        assert [filled(state.values) for state in found] == [filled(snapshot.values) for snapshot in history]
        assert [set(state.next) for state in found] == [set(snapshot.next) for snapshot in history]
        assert [state.checkpoint.created_at.isoformat() for state in found] == [s.created_at for s in history]

    def test_replays_a_delta_channel(self, stored: StoredCheckpoints, graph: Any) -> None:
        newest = next(channel for channel in state_of(stored, graph, -1).channels if channel.name == "told")
        assert (newest.value, newest.replayed) == ([1, 7, 8, 3, 4, 9], True)

    def test_of_a_subgraph_is_read_the_same_way(self, stored: StoredCheckpoints, graph: Any) -> None:
        found = state_of(stored, graph, -1, child_of(stored))
        assert (found.values, found.next) == ({"number": 1, "deep": "blue"}, ("ask",))
        assert [(one.node, one.value, one.answered) for one in found.questions] == [
            ("ask", {"question": "go on?"}, False)
        ]

    def test_names_the_nodes_that_were_sent(self, stored: StoredCheckpoints, graph: Any) -> None:
        found = state_of(stored, graph, 2)
        assert found.next == ("left", "right", "one")
        assert [task.node for task in found.checkpoint.tasks] == ["left", "right", "one", "one"]
        assert [(w.node, w.channel, w.value) for w in found.writes if w.channel == "seen"] == [
            ("one", "seen", [3]),
            ("one", "seen", [4]),
        ]

    def test_marks_a_value_that_cannot_be_read_and_shows_the_others(
        self, stored: StoredCheckpoints, graph: Any
    ) -> None:
        serde = graph.checkpointer.serde

        def loads(typed: tuple[str, bytes]) -> Any:
            if len(typed[1]) == 1 or b"\x07" in typed[1][-1:]:
                raise ValueError("not this one")
            return serde.loads_typed(typed)

        ids = stored.list_ids("t")
        found = stored.read_state("t", "", ids[2], loads=loads)
        assert found is not None
        wrong = [write for write in found.writes if "unreadable" in str(write.value)]
        right = [write for write in found.writes if "unreadable" not in str(write.value)]
        assert {write.value["unreadable"] for write in wrong} == {"This value cannot be read (ValueError)."}
        assert right

    def test_of_a_checkpoint_that_cannot_be_read_says_so(self, stored: StoredCheckpoints, graph: Any) -> None:
        def refuse(typed: tuple[str, bytes]) -> Any:
            raise NotImplementedError

        found = stored.read_state("t", "", stored.list_ids("t")[0], loads=refuse)
        assert found is not None
        assert found.checkpoint.source == "input"
        assert all("unreadable" in str(write.value) for write in found.writes)

    async def test_of_a_fork_is_that_of_its_source(
        self, graph: Any, saver: BaseCheckpointSaver[Any], database: Database, tmp_path: Path
    ) -> None:
        with open_stored(database, tmp_path / "checkpoints.db") as stored:
            ids = stored.list_ids("t")
        await fork(saver, source_thread="t", source_checkpoint=ids[3], target_thread="u")
        loads = saver.serde.loads_typed
        with open_stored(database, tmp_path / "checkpoints.db") as stored:
            one, other = (stored.read_state(thread, "", ids[3], loads=loads) for thread in ("t", "u"))
        assert one is not None
        assert other is not None
        assert (one.values, one.next) == (other.values, other.next)


class TestWhatIsNotAsItShouldBe:
    def test_is_told_without_an_error(self) -> None:
        found = to_checkpoint(None, 7, b"", metadata=b"\xff{", size_bytes="many", tasks=())
        assert (found.ns, found.checkpoint_id, found.parent_checkpoint_id) == ("", "7", None)
        assert (found.step, found.source, found.size_bytes, found.metadata) == (None, "", 0, {})
        assert (found.created_at, found.deltas, found.nodes) == (None, (), ())

    @pytest.mark.parametrize("metadata", [None, "[1]", "7", '{"step": "x", "source": 3}', "{" * 100_000, 3.5])
    def test_metadata_is_an_object_or_empty(self, metadata: Any) -> None:
        found = to_checkpoint("", "a", None, metadata=metadata, size_bytes=1)
        assert (found.step, found.source) == (None, "")
        assert isinstance(read_metadata(metadata), dict)

    @pytest.mark.parametrize(
        "own", ["", "x", "ffffffff-ffff-6fff-bfff-ffffffffffff", "1ef4f797-8335-4428-8001-8a1503f9b875"]
    )
    def test_an_id_without_a_time_has_none_or_one_of_the_calendar(self, own: str) -> None:
        assert time_of(own) is None or time_of(own).year > 5000  # type: ignore[union-attr]

    @pytest.mark.parametrize("path", [None, "", 7, "~__pregel_push, 99, 0", "~__pregel_push, x", "__pregel_pull"])
    def test_a_path_that_names_no_node_gives_none(self, path: Any) -> None:
        assert node_of(path, [Send("one", {})]) == ""

    def test_a_checkpoint_of_other_shapes_has_nothing_next(self) -> None:
        for data in ({}, {"channel_values": 3}, {"channel_values": {"branch:to:x": None}, "channel_versions": []}):
            assert next_nodes(data) in {(), ("x",)}
        seen = {"x": {"branch:to:x": "9"}}
        held = {"channel_values": {"branch:to:x": None}, "channel_versions": {"branch:to:x": 3}}
        assert next_nodes({**held, "versions_seen": seen}) == ()

    def test_plain_data_has_no_strange_characters_numbers_or_objects(self) -> None:
        class Odd:
            def __repr__(self) -> str:
                raise ValueError

        assert to_plain({"a\0": float("nan"), 3: b"\xff"})[0] == {"a": "NaN", "3": "_w=="}
        assert to_plain(Odd())[0] == {"unreadable": "Odd cannot be shown (ValueError)"}
        deep: list[Any] = []
        for _ in range(100_000):
            deep = [deep]
        assert "unreadable" in to_plain(deep)[0]


class TestUpdatesWithoutTheirReducer:
    def test_join_messages_by_their_ids(self) -> None:
        one, two = HumanMessage("a", id="1"), AIMessage("b", id="2")
        later = AIMessage("c", id="2")
        assert replay([one], [[two], later]) == [one, later]
        assert replay([one, two], [RemoveMessage(id="1")]) == [two]

    def test_join_lists_and_objects_and_else_keep_the_last(self) -> None:
        assert replay(None, [[1], [2]]) == [1, 2]
        assert replay({"a": 1}, [{"b": 2}]) == {"a": 1, "b": 2}
        assert replay("x", ["y", "z"]) == "z"
        assert replay([1], [[2], Overwrite([5]), [6]]) == [5, 6]


class TestLookingIn:
    @pytest.fixture
    def settings(self, database_url: str, tmp_path: Path) -> Settings:
        return graph_settings(tmp_path, database_url)

    @pytest.fixture
    def inspector(self, opened: Skein) -> Inspector:
        return Inspector(opened.database, opened.saver, opened.agents, opened.settings.checkpoints_path)

    def test_an_owner_and_an_analyst_see_the_same(
        self, opened: Skein, person: Person, inspector: Inspector
    ) -> None:
        alice, ann = person("alice"), person("ann", role="analyst")
        turn = answered(opened, alice, ask(opened, alice, "hello", agent="showcase").thread_id)
        seen = []
        for viewer in (alice, ann):
            ids = inspector.list_ids(viewer, turn.thread_id)
            lines = inspector.read_checkpoints(viewer, turn.thread_id, "", ids)
            states = [inspector.read_state(viewer, turn.thread_id, "", own) for own in ids]
            seen.append((inspector.list_namespaces(viewer, turn.thread_id), lines, states))
        assert seen[0] == seen[1]
        states = opened.engine.read_states(alice, turn.thread_id)
        assert [set(state.next) for state in seen[0][2]] == [set(step.next) for step in states]
        assert [filled(state.values) for state in seen[0][2]] == [filled(step.values) for step in states]

    def test_another_member_finds_nothing(self, opened: Skein, person: Person, inspector: Inspector) -> None:
        alice, mallory = person("alice"), person("mallory")
        thread_id = answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id).thread_id
        own = inspector.list_ids(alice, thread_id)[-1]
        for tried in (
            lambda: inspector.list_namespaces(mallory, thread_id),
            lambda: inspector.list_ids(mallory, thread_id),
            lambda: inspector.read_checkpoints(mallory, thread_id, "", [own]),
            lambda: inspector.read_state(mallory, thread_id, "", own),
            lambda: _events(opened, mallory, thread_id),
            lambda: _counted(opened, mallory, thread_id),
            lambda: inspector.list_ids(alice, new_thread_id()),
        ):
            with pytest.raises(NotFoundError):
                tried()

    def test_a_failed_step_shows_who_failed(self, opened: Skein, person: Person, inspector: Inspector) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "fail please", agent="showcase").thread_id)
        ids = inspector.list_ids(alice, turn.thread_id)
        [*_, last] = inspector.read_checkpoints(alice, turn.thread_id, "", ids)
        assert (last.nodes, last.failed) == (("break",), True)
        state = inspector.read_state(alice, turn.thread_id, "", ids[-1])
        assert state.next == ("break",)
        assert any("this was meant to break" in str(write.value) for write in state.writes if write.is_special)

    def test_a_question_shows_until_it_is_answered(
        self, opened: Skein, person: Person, inspector: Inspector
    ) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "ask me", agent="showcase").thread_id)
        assert turn.status == "waiting"
        state = inspector.read_state(alice, turn.thread_id, "", inspector.list_ids(alice, turn.thread_id)[-1])
        assert [(one.node, one.value, one.answered) for one in state.questions] == [
            ("ask", {"question": "may I?"}, False)
        ]

    def test_a_state_that_is_not_there_says_why(self, opened: Skein, person: Person, inspector: Inspector) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id)
        with pytest.raises(NotFoundError, match="no such checkpoint"):
            inspector.read_state(alice, turn.thread_id, "", "nothing")
        with pytest.raises(NotFoundError, match="no such checkpoint"):
            inspector.read_state(alice, turn.thread_id, "n\0s", "\0")

    def test_an_agent_that_is_gone_hides_nothing(self, opened: Skein, person: Person, inspector: Inspector) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id)
        own = inspector.list_ids(alice, turn.thread_id)[-1]
        before = inspector.read_state(alice, turn.thread_id, "", own)
        opened.agents._agents.pop("echo")
        opened.agents._compiled.clear()
        assert inspector.read_state(alice, turn.thread_id, "", own) == before

    def test_events_come_in_pages_without_gaps(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "30 tokens", agent="showcase").thread_id)
        every = follow(opened, alice, turn.thread_id)
        paged: list[Any] = []
        while page := _events(opened, alice, turn.thread_id, after=paged[-1].seq if paged else 0, limit=7):
            paged += page
        texts = {"token", "aside"}
        assert [one for one in paged if one.kind not in texts] == [one for one in every if one.kind not in texts]
        assert [_said(paged, kind) for kind in texts] == [_said(every, kind) for kind in texts]
        nodes = _events(opened, alice, turn.thread_id, kinds=["node", "state"], limit=1_000)
        assert nodes == [event for event in every if event.kind in {"node", "state"}]
        counted = _counted(opened, alice, turn.thread_id)
        assert (counted["end"], sum(counted.values())) == (1, len(paged))

    def test_it_is_told_what_stands_around_a_thread(self, opened: Skein, person: Person) -> None:
        alice, mallory = person("alice"), person("mallory")
        turn = answered(opened, alice, ask(opened, alice, "hello", agent="showcase").thread_id)
        with opened.database.read() as db:
            found = describe_thread(alice, db, turn.thread_id)
            told = count_told(alice, db, turn.thread_id)
            with pytest.raises(NotFoundError):
                describe_thread(mallory, db, turn.thread_id)
        assert (found.turn, found.owner_id, found.started_by) == (turn, alice.user_id, "alice")
        assert told == len(opened.engine.read_states(alice, turn.thread_id))


def _said(events: list[Any], kind: str) -> str:
    return "".join(event.payload for event in events if event.kind == kind)


def _events(skein: Skein, viewer: Viewer, thread_id: Any, **more: Any) -> Any:
    with skein.database.read() as db:
        return list_events(viewer, db, thread_id, **more)


def _counted(skein: Skein, viewer: Viewer, thread_id: Any) -> Any:
    with skein.database.read() as db:
        return count_events(viewer, db, thread_id)
