"""What a recorder writes of a run: tool calls as they come about, voices beside the answer, pauses."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command
from pydantic import BaseModel

from core.access.viewer import Viewer
from core.errors import NotFoundError
from core.runs.events import Event
from core.runs.history import read_asides, read_tools
from core.runs.log import RunLog
from core.runs.recorder import Recorder
from core.runs.tool_events import LONGEST_ARGS, LONGEST_RESULT, PIECE_SECONDS, find_message, read_outcome
from core.settings import Settings
from core.skein import Skein
from tests.conftest import make_settings
from tests.core.support import OnSqlite, answered, ask, follow
from tests.graphs import tooling
from tests.graphs.tooling import ARGS

MODES = ["tasks", "updates", "custom", "checkpoints"]


def recorder(**options: Any) -> Recorder:
    return Recorder(RunLog(), answer_nodes=["model"], **options)


async def run(
    given: Any, into: Recorder, graph: Any = tooling.tooling, saver: Any = None, **compiling: Any
) -> list[Event]:
    compiled = graph.compile(checkpointer=saver or InMemorySaver(), **compiling)
    config = {"configurable": {"thread_id": "t"}, "callbacks": [into]}
    async for part in compiled.astream(given, config, stream_mode=MODES, subgraphs=True, version="v2"):
        into.take(part)
    return into.log.after(0)


async def said(text: str, into: Recorder | None = None) -> list[Event]:
    return await run({"messages": [HumanMessage(text)]}, into or recorder())


def tools(events: list[Event]) -> list[tuple[str | None, dict[str, Any]]]:
    return [(event.node, event.payload) for event in events if event.kind == "tool"]


def end_of(events: list[Event]) -> dict[str, Any]:
    return next(told for _, told in tools(events) if told["phase"] == "end")


class TestAToolCall:
    async def test_is_told_from_its_first_word_to_its_result(self) -> None:
        told = tools(await said("look_up"))
        assert {name for name, _ in told} == {"look_up"}
        phases = [payload["phase"] for _, payload in told]
        assert phases == ["call", "args", "start", "end"]
        call, args, start, end = (payload for _, payload in told)
        assert (call["id"], call["name"], call["at"]) == ("call-0", "look_up", len("Let me look."))
        assert args == {"phase": "args", "id": "call-0", "text": ARGS}
        assert (start["call_id"], start["args"]) == ("call-0", json.loads(ARGS))
        assert (end["id"], end["call_id"], end["result"]) == (start["id"], "call-0", "found tea and more")
        assert end["ms"] >= 0

    async def test_of_several_each_has_its_own_arguments(self) -> None:
        told = [payload for _, payload in tools(await said("look_up failing"))]
        texts = {payload["id"]: payload["text"] for payload in told if payload["phase"] == "args"}
        assert texts == {"call-0": ARGS, "call-1": ARGS}

    async def test_that_fails_says_why(self) -> None:
        end = end_of(await said("failing"))
        assert (end["error"], "result" in end) == ("ValueError: no tea and more", False)

    async def test_that_asks_a_person_waits(self) -> None:
        into = recorder()
        assert end_of(await said("asking", into))["waits"] is True
        assert [one["value"] for one in into.interrupts] == [{"question": "tea and more"}]
        assert not into.paused

    async def test_that_says_hostile_things_is_bounded_and_clean(self) -> None:
        result = end_of(await said("hostile"))["result"]
        assert result.startswith("<script>alert(1)</script>")
        assert result.endswith("characters in all)")
        assert len(result) < LONGEST_RESULT + 50
        assert [char for char in result if not char.isprintable()] == []

    async def test_shows_what_it_gives(self) -> None:
        shows = [end_of(await said(name))["shows"] for name in ("showing", "picture")]
        assert [[show["type"] for show in one] for one in shows] == [["table", "chart"], ["image"]]

    async def test_is_not_what_a_model_fills_a_form_with(self) -> None:
        class Form(BaseModel):
            query: str

        class Filling(MessagesState):
            query: str

        async def fill(state: Filling) -> dict[str, Any]:
            options = {"ls_structured_output_format": {"kwargs": {}, "schema": Form}}
            await tooling.MODEL.bind(**options).ainvoke(state["messages"])
            return {"query": "tea"}

        graph = StateGraph(Filling).add_node("model", fill).add_edge(START, "model")
        events = await run({"messages": [HumanMessage("look_up")]}, recorder(), graph)
        assert {event.kind for event in events} == {"node", "state", "aside"}

    async def test_that_no_tool_ran_for_is_told_by_its_answer(self) -> None:
        """A refusal, or the name of a tool that is not there."""

        def model(state: MessagesState) -> dict[str, Any]:
            return {"messages": [AIMessage("", tool_calls=[{"name": "gone", "args": {"a": 1}, "id": "x"}], id="m")]}

        def refuse(state: MessagesState) -> dict[str, Any]:
            return {"messages": [ToolMessage("Refused.", tool_call_id="x", status="error")]}

        graph = (
            StateGraph(MessagesState).add_sequence([("model", model), ("refuse", refuse)]).add_edge(START, "model")
        )
        into = recorder()
        into._tools.conclude(uuid4(), model({})["messages"][0])  # type: ignore[arg-type]
        told = [payload for _, payload in tools(await run({"messages": []}, into, graph))]
        assert [payload["phase"] for payload in told] == ["call", "args", "end"]
        assert (told[1]["text"], told[2]["error"]) == ('{"a":1}', "Refused.")


class TestArgumentsThatStreamIn:
    def pieces(self, chunks: list[dict[str, Any]], clock: list[float], monkeypatch: Any) -> list[dict[str, Any]]:
        into, run_id, times = recorder(), uuid4(), iter(clock)
        into.on_chat_model_start({}, [[]], run_id=run_id, metadata={"langgraph_node": "model"})
        now = [0.0]
        monkeypatch.setattr("core.runs.tool_events.time", SimpleNamespace(monotonic=lambda: now[0]))
        for chunk in chunks:
            now[0] = next(times)
            message = SimpleNamespace(tool_call_chunks=[chunk])
            into.on_llm_new_token("", chunk=SimpleNamespace(message=message), run_id=run_id)
        into.on_llm_error(RuntimeError(), run_id=run_id)
        return [payload for _, payload in tools(into.log.after(0))]

    def test_are_gathered_into_few_pieces(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [{"name": "t", "args": "", "id": "c", "index": 0}] + [
            {"name": None, "args": f"{n % 10}", "id": None, "index": 0} for n in range(100)
        ]
        told = self.pieces(chunks, [n / 100 for n in range(101)], monkeypatch)
        texts = [payload["text"] for payload in told[1:]]
        assert "".join(texts) == "0123456789" * 10
        assert len(texts) <= 1.0 / PIECE_SECONDS + 1

    def test_are_kept_up_to_a_length(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [{"name": "t", "args": "x" * 9_000, "id": "c", "index": 0} for _ in range(5)]
        texts = [payload["text"] for payload in self.pieces(chunks, [*range(5)], monkeypatch)[1:]]
        assert len("".join(texts)) == LONGEST_ARGS

    def test_belong_to_their_call_also_where_a_server_numbers_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [
            {"name": "a", "args": "1", "id": "c1", "index": None},
            {"name": None, "args": "2", "id": None, "index": None},
            {"name": "b", "args": "3", "id": "c2", "index": None},
            {"name": None, "args": "4", "id": None, "index": None},
        ]
        told = self.pieces(chunks, [0, 0, 0, 0], monkeypatch)
        assert {p["id"]: p["text"] for p in told if p["phase"] == "args"} == {"c1": "12", "c2": "34"}

    def test_of_two_calls_with_one_number_stay_apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [
            {"name": "a", "args": "1", "id": "c1", "index": 0},
            {"name": "b", "args": "2", "id": "c2", "index": 0},
        ]
        told = self.pieces(chunks, [0, 0], monkeypatch)
        assert [(p["id"], p.get("text")) for p in told] == [("c1", None), ("c1", "1"), ("c2", None), ("c2", "2")]


class TestWhatToolsGive:
    def test_is_found_wherever_the_message_is(self) -> None:
        message = ToolMessage("found", tool_call_id="x")
        command = Command(update={"messages": [message]})
        given = [message, command, [command], "text", Command(goto="a"), None]
        assert [find_message(one) is message for one in given] == [True, True, True, False, False, False]

    def test_is_text_whatever_it_is(self) -> None:
        class Broken:
            def __str__(self) -> str:
                raise RuntimeError

        deep: Any = []
        for _ in range(100_000):
            deep = [deep]
        texts = [read_outcome(one)["result"] for one in (Broken(), deep, None, "a\r\nb\x1b]0;title\x07c")]
        assert texts == [
            "Broken cannot be shown (RuntimeError)",
            "list cannot be shown (RecursionError)",
            "None",
            "a\nbc",
        ]
        blocks = ToolMessage([{"type": "json", "json": {"a": 1}}], tool_call_id="x")
        assert read_outcome(blocks) == {"result": "[{'type': 'json', 'json': {'a': 1}}]"}


class TestVoicesBesideTheAnswer:
    async def test_each_keep_to_themselves_though_they_are_of_one_node(self) -> None:
        into = recorder()
        first, second = uuid4(), uuid4()
        for run_id in (first, second):
            into.on_chat_model_start({}, [[]], run_id=run_id, metadata={"langgraph_node": "aside"})
        for text in ("a", "b"):
            into.on_llm_new_token(text, run_id=first)
            into.on_llm_new_token(text.upper(), run_id=second)
        into.on_llm_error(RuntimeError(), run_id=second)
        into.on_llm_error(RuntimeError(), run_id=first)
        third = uuid4()
        into.on_chat_model_start({}, [[]], run_id=third, metadata={"langgraph_node": "aside"})
        into.on_llm_new_token("c", run_id=third)
        heard = [(event.kind, event.node, event.payload) for event in into.log.after(0)]
        assert heard == [
            ("aside", "aside", "a"),
            ("aside", "aside · 2", "A"),
            ("aside", "aside", "b"),
            ("aside", "aside · 2", "B"),
            ("aside", "aside", "\n\nc"),
        ]

    async def test_do_not_turn_into_the_answer_when_that_has_ended(self) -> None:
        into = recorder()
        first, second = uuid4(), uuid4()
        for run_id in (first, second):
            into.on_chat_model_start({}, [[]], run_id=run_id, metadata={"langgraph_node": "model"})
        into.on_llm_new_token("one", run_id=first)
        into.on_llm_new_token("two", run_id=second)
        into.on_llm_error(RuntimeError(), run_id=first)
        into.on_llm_new_token("more of two", run_id=second)
        assert [(e.kind, e.payload) for e in into.log.after(0)] == [
            ("token", "one"),
            ("aside", "two"),
            ("aside", "more of two"),
        ]


class TestARunThatWaited:
    async def test_goes_on_with_its_answer_usage_and_calls(self) -> None:
        saver, first = InMemorySaver(), recorder()
        before = await run({"messages": [HumanMessage("asking")]}, first, saver=saver)
        usage = {"input_tokens": 5, "output_tokens": 7}
        told = {"status": "waiting", "finish_reason": "tool_calls", "model": "m", "usage": usage}
        end = Event(len(before) + 1, 99, "end", None, told)
        second = recorder()
        second.resume([*before, end])
        assert (second.usage, second.has_usage, second.finish_reason, second.model) == (
            usage,
            True,
            "tool_calls",
            "m",
        )
        after = await run(Command(resume="yes"), second, saver=saver)
        assert "".join(second.answer) == "Let me look.\n\nSo it is."
        assert next(event.payload for event in after if event.kind == "token") == "\n\nSo "
        start, ended = [payload for _, payload in tools(after)]
        assert (start["call_id"], ended["result"], start["at"]) == ("call-0", "they said yes", len("Let me look."))

    async def test_and_that_the_graph_itself_paused_asks_nothing(self) -> None:
        into = recorder()
        await run({"messages": [HumanMessage("look_up")]}, into, interrupt_before=["tools"])
        assert (into.paused, into.interrupts) == (True, [])


class TestStoredRuns(OnSqlite):
    @pytest.fixture
    def settings(self, database_url: str, tmp_path: Path) -> Settings:
        return tooling_settings(tmp_path, database_url)

    def test_are_read_many_at_once_and_by_nobody_else(self, opened: Skein, person: Callable[..., Viewer]) -> None:
        alice = person("alice")
        turns = [
            answered(opened, alice, ask(opened, alice, text, agent="tooling").thread_id)
            for text in ("look_up", "nothing", "beside")
        ]
        ids = [turn.thread_id for turn in turns]
        events = follow(opened, alice, ids[0])
        with opened.database.read() as db:
            found = read_tools(alice, db, ids)
            assert found[ids[0]] == [event for event in events if event.kind == "tool"]
            assert {event.node for event in found[ids[2]]} == {"aside", "aside · 2"}
            assert found.keys() == {ids[0], ids[2]}
            assert set(read_asides(alice, db, ids[2]).values()) == {"Let me look."}
            assert read_tools(person("ann", role="analyst"), db, ids) == found
            assert read_tools(person("mallory"), db, ids) == {}
            assert read_tools(alice, db, []) == {}
            with pytest.raises(NotFoundError):
                read_asides(person("eve"), db, ids[2])


def tooling_settings(folder: Path, database_url: str) -> Settings:
    path = Path(tooling.__file__)
    graphs = {"tooling": {"path": f"{path}:tooling", "answer_nodes": ["model"]}}
    listed = folder / "tooling.json"
    listed.write_text(json.dumps({"graphs": graphs}))
    return make_settings(folder, database_url=database_url, langgraph_json=listed)


class TestWhoAnswers:
    """Which nodes' words are the answer is learned from what graphs come to."""

    async def test_one_that_was_heard_once_answers_whatever_else_it_asks(self) -> None:
        async def speak(state: MessagesState) -> dict[str, Any]:
            answer = await FakeListChatModel(responses=["the answer"]).ainvoke(state["messages"])
            await FakeListChatModel(responses=["a note to itself"]).ainvoke(state["messages"])
            return {"messages": [answer]}

        inner: set[str] = set()
        into = Recorder(RunLog(), inner_nodes=inner)
        graph = StateGraph(MessagesState).add_node("speak", speak).add_edge(START, "speak")
        await run({"messages": [HumanMessage("hi")]}, into, graph)
        into.conclude("the answer")
        assert inner == set()

    async def test_one_that_was_never_heard_stands_beside_from_then_on(self) -> None:
        inner: set[str] = set()
        first = Recorder(RunLog(), inner_nodes=inner)
        await said("look_up", first)
        first.conclude("something else altogether")
        assert inner == {"model"}

        second = await said("look_up", Recorder(RunLog(), inner_nodes=inner))
        assert {event.kind for event in second if event.node == "model"} >= {"aside"}
        assert "Let me look." in "".join(event.payload for event in second if event.kind == "aside")
