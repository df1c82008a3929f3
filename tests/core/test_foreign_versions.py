"""Files of other LangGraph programs are shown as their own LangGraph tells of them, whatever its version."""

import json
import sqlite3
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any, TypedDict

import ormsgpack
import pytest
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph

from core.checkpoints.foreign.reading import open_foreign
from core.checkpoints.foreign.threads import list_threads
from core.checkpoints.foreign.told import find_messages
from core.checkpoints.inspect import State
from core.checkpoints.replaying import replay

EARLY = Path(__file__).with_name("early")
VERSIONS = sorted(path.stem for path in EARLY.glob("*.zip"))


@pytest.fixture(params=VERSIONS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A file as an early LangGraph wrote it, and what that said of it (see early/program.py)."""
    with zipfile.ZipFile(EARLY / f"{request.param}.zip") as archive:
        history = json.loads(archive.read("history.json"))
        sql = archive.read("file.sql").decode()
    path = tmp_path / f"{request.param}.sqlite"
    with closing(sqlite3.connect(path)) as file:
        file.executescript(sql)
    return path, history


def as_told(value: Any) -> Any:
    """A value without what only one of both sides has of a message."""
    if isinstance(value, dict) and value.get("type") == "ai":
        return {"type": "ai", "content": value["content"]}
    return [as_told(one) for one in value] if isinstance(value, list) else value


def values_of(state: State) -> dict[str, Any]:
    return {name: as_told(value) for name, value in state.values.items() if value}


class TestEarlyVersions:
    def test_all_that_are_kept_are_looked_at(self) -> None:
        assert VERSIONS == ["0.1.19", "0.2.0", "0.2.76", "1.0.10"]

    def test_each_state_is_what_its_own_history_says(self, kept: tuple[Path, dict[str, Any]]) -> None:
        path, history = kept
        with open_foreign(path) as foreign:
            for thread_id, states in history.items():
                for told in states:
                    found = foreign.read_state(thread_id, "", told["id"])
                    expected = {name: value for name, value in told["values"].items() if value}
                    assert values_of(found) == expected
                    assert (found.checkpoint.step, found.checkpoint.source) == (told["step"], told["source"])
                    if found.is_next_known:
                        assert sorted(set(found.next)) == told["next"]

    def test_what_is_next_is_unknown_only_at_an_end_that_nothing_tells_of(
        self, kept: tuple[Path, dict[str, Any]]
    ) -> None:
        path, history = kept
        unknown: list[tuple[str, str]] = []
        with open_foreign(path) as foreign:
            for thread_id, states in history.items():
                found = [foreign.read_state(thread_id, "", told["id"]) for told in states]
                unknown += [(thread_id, one.checkpoint.checkpoint_id) for one in found if not one.is_next_known]
        assert unknown in ([], [(name, history[name][0]["id"]) for name in ("chat", "stopped")])
        assert unknown == [] or path.stem < "1.0"

    def test_a_question_names_its_node(self, kept: tuple[Path, dict[str, Any]]) -> None:
        path, history = kept
        for told in history.get("asks", ()):
            with open_foreign(path) as foreign:
                found = foreign.read_state("asks", "", told["id"])
            assert [(one.node, one.value) for one in found.questions] == [
                (node, {"question": "May I?"}) for node in told["asks"]
            ]

    def test_a_line_tells_of_all_messages(self, kept: tuple[Path, dict[str, Any]]) -> None:
        path, _ = kept
        with open_foreign(path) as foreign:
            [line] = list_threads(foreign, search="chat").lines
            newest = foreign.list_checkpoints("chat", limit=1)[0].checkpoint_id
            said = find_messages(foreign.read_state("chat", "", newest).values)
        assert (line.words, line.messages) == ("one", 6)
        assert [(one.role, one.text) for one in said] == [
            ("user", "one"),
            ("assistant", "Hello."),
            ("assistant", "And?"),
            ("user", "two"),
            ("assistant", "Hello."),
            ("assistant", "And?"),
        ]

    @pytest.mark.parametrize("kind", ["msgpack", "json", None, ""])
    def test_values_and_metadata_are_read_as_what_they_are(self, tmp_path: Path, kind: str | None) -> None:
        state = {"v": 1, "channel_values": {"a": 1}, "channel_versions": {"a": 1}, "versions_seen": {}}
        about = {"source": "loop", "step": 3, "writes": {"work": {"a": 1}}}
        dumps = [ormsgpack.packb] if kind == "msgpack" else [lambda one: json.dumps(one).encode()]
        for number, dump in enumerate(dumps if kind else [ormsgpack.packb, *dumps]):
            path = tmp_path / f"{number}.sqlite"
            with closing(sqlite3.connect(path)) as file:
                file.execute(
                    "CREATE TABLE checkpoints (thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT, "
                    "parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB)"
                )
                row = ("t", "", "1", None, kind, dump(state), dump(about))
                file.execute("INSERT INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", row)
                file.commit()
            with open_foreign(path) as foreign:
                found = foreign.read_state("t", "", "1")
            assert (found.values, found.problem) == ({"a": 1}, "")
            assert (found.checkpoint.step, found.checkpoint.metadata["writes"]) == (3, {"work": {"a": 1}})


def extend(rows: list[Any], updates: list[list[Any]]) -> list[Any]:
    return [*rows, *(row for update in updates for row in update)]


def merge(mapping: dict[str, Any], updates: list[dict[str, Any]]) -> dict[str, Any]:
    for update in updates:
        mapping = {**mapping, **update}
    return mapping


class Kinds(TypedDict, total=False):
    events: Annotated[list[dict[str, Any]], DeltaChannel(extend, snapshot_frequency=5)]
    files: Annotated[dict[str, Any], DeltaChannel(merge)]
    records: Annotated[list[dict[str, Any]], DeltaChannel(lambda rows, updates: [*rows, *updates])]
    number: int


def work(state: Kinds) -> Kinds:
    number = state.get("number", 0)
    return {
        "events": [{"id": "same", "number": number}],
        "files": {f"/{number}.md": {"content": str(number)}, "/plan.md": {"content": str(number)}},
        "records": {"step": number},
        "number": number + 1,
    }


class TestDeltaChannels:
    @pytest.fixture
    def program(self, tmp_path: Path) -> Iterator[tuple[Any, Path]]:
        path = tmp_path / "delta.sqlite"
        with closing(sqlite3.connect(path, check_same_thread=False)) as connection:
            graph = StateGraph(Kinds).add_node("first", work).add_node("second", work)
            graph.add_edge(START, "first").add_edge("first", "second").add_edge("second", END)
            yield graph.compile(checkpointer=SqliteSaver(connection)), path

    def test_each_state_of_each_turn_and_fork_is_what_its_own_history_says(self, program: tuple[Any, Path]) -> None:
        graph, path = program
        config = {"configurable": {"thread_id": "t"}}
        for turn in range(4):
            graph.invoke({"events": [{"id": "in", "turn": turn}], "files": {"/in.md": {"content": turn}}}, config)
        middle = [state for state in graph.get_state_history(config) if state.next == ("second",)][1]
        forked = graph.update_state(middle.config, {"events": [{"forked": True}], "files": {"/fork.md": {}}})
        graph.invoke(None, forked)

        with open_foreign(path) as foreign:
            for told in graph.get_state_history(config):
                found = foreign.read_state("t", "", told.config["configurable"]["checkpoint_id"])
                assert found.values == told.values
                assert found.next == told.next

    def test_a_line_says_nothing_of_messages_that_it_did_not_read(self, program: tuple[Any, Path]) -> None:
        graph, path = program
        graph.invoke({"events": [{"role": "user", "content": "hi"}]}, {"configurable": {"thread_id": "t"}})
        with open_foreign(path) as foreign:
            [line] = list_threads(foreign).lines
        assert (line.messages, line.words) == (None, "hi")


class TestWhatUpdatesComeTo:
    @pytest.mark.parametrize(
        ("seed", "updates", "value"),
        [
            (None, [], None),
            (None, [{"a": 1}, {"b": 2}], {"a": 1, "b": 2}),
            (None, [{"/a": 1}, {"/a": 2}], {"/a": 2}),
            (None, [{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 2}]),
            ([{"id": "x"}], [[{"id": "x", "n": 1}]], [{"id": "x"}, {"id": "x", "n": 1}]),
            (None, [("user", "a"), ["user", "b"]], [("user", "a"), ["user", "b"]]),
            ([1], [{"__overwrite__": [2]}, [3]], [2, 3]),
            ([1], [{"(class)": "langgraph.types.Overwrite", "value": [2]}], [2]),
            ([1, 2], [[{"type": "remove", "id": "none", "content": ""}], [3]], [1, 2, 3]),
        ],
    )
    def test_by_their_kind(self, seed: Any, updates: list[Any], value: Any) -> None:
        assert replay(seed, updates) == value

    def test_messages_are_replaced_and_removed_by_their_ids(self) -> None:
        first = {"type": "human", "id": "1", "content": "a"}
        second = {"role": "assistant", "id": "2", "content": "b"}
        changed = {"type": "human", "id": "1", "content": "c"}
        removed = {"type": "remove", "id": "2", "content": ""}
        assert replay([first], [second, [changed], removed, ["x"]]) == [changed, "x"]

    def test_the_work_grows_with_what_there_is(self) -> None:
        updates = [[{"role": "user", "id": str(number), "content": ""}] for number in range(100_000)]
        assert len(replay(None, updates)) == 100_000


def said(values: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.role, one.text, one.calls) for one in find_messages(values)]


class TestMessagesOfAnyForm:
    @pytest.mark.parametrize(
        ("item", "expected"),
        [
            (["user", "hi"], ("user", "hi", ())),
            ({"role": "user", "content": [{"type": "input_text", "text": "hi"}]}, ("user", "hi", ())),
            (
                {"role": "user", "content": [{"type": "text", "text": "see"}, {"type": "image_url"}]},
                ("user", "see\n[image_url]", ()),
            ),
            ({"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, ("assistant", "no", ())),
            (
                {"role": "assistant", "content": [{"type": "text", "text": {"value": "yes"}}]},
                ("assistant", "yes", ()),
            ),
            (
                {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "look"}}]},
                ("assistant", "", ("look",)),
            ),
            ({"role": "assistant", "tool_calls": [{"name": "look"}]}, ("assistant", "", ("look",))),
            (
                {"type": "ai", "content": [{"type": "tool_use", "name": "look"}], "tool_calls": [{"name": "look"}]},
                ("assistant", "", ("look",)),
            ),
            ({"type": "message", "role": "user", "content": "hi"}, ("user", "hi", ())),
            ({"type": "human", "data": {"content": "hi"}}, ("user", "hi", ())),
            (
                {"lc": 1, "type": "constructor", "kwargs": {"type": "human", "content": "hi"}},
                ("user", "hi", ()),
            ),
        ],
    )
    def test_is_told_by_who_said_what(self, item: Any, expected: tuple[str, str, tuple[str, ...]]) -> None:
        assert said({"dialogue": [item]}) == [expected]

    def test_the_channel_with_the_most_is_the_conversation(self) -> None:
        history = [["user", "one"], ["ai", "two"]]
        assert [text for _, text, _ in said({"last": {"role": "ai", "content": "two"}, "history": history})] == [
            "one",
            "two",
        ]
        assert said({"history": history, "messages": [["user", "only"]]}) == [("user", "only", ())]
        assert len(said({"__root__": {"messages": history}})) == 2

    def test_what_is_no_message_is_none(self) -> None:
        odd = [{"role": "user"}, {"content": "x"}, {"role": 7, "content": "x"}, ["user", 7], ["x", "y"], 5, None]
        assert said({"a": odd, "b": {"kwargs": 3, "type": "constructor"}, "c": ["user", "admin", "guest"]}) == []
