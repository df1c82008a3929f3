"""Graphs of the kinds that LangGraph's documentation teaches, loaded as they are and asked in a chat."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from core.agents.answers import find_answer
from core.agents.inputs import to_input
from core.agents.models import ChatModels
from core.agents.registry import Agents
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.errors import BadInputError
from tests.conftest import make_settings

DOCUMENTED = Path(__file__).resolve().parents[1] / "graphs" / "documented" / "langgraph.json"
IDS = list(json.loads(DOCUMENTED.read_text())["graphs"])
ASKING = {"interrupted", "reviewed"}
NOT_OF_A_TEXT = {"numbers", "two_parts", "structured"}
WHO = "I am Skein's offline demo model"


@pytest.fixture(scope="module")
def agents(tmp_path_factory: pytest.TempPathFactory) -> Agents:
    settings = make_settings(tmp_path_factory.mktemp("documented"), langgraph_json=DOCUMENTED)
    return Agents(settings, ChatModels(settings))


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    async with open_sqlite_saver(tmp_path / "checkpoints.db") as opened:
        yield opened


async def say(agents: Agents, saver: BaseCheckpointSaver[Any], agent_id: str, given: Any) -> tuple[str, Any]:
    """Give one thread a text, or a command; what it answers, and the state it stands at."""
    config: Any = {"configurable": {"thread_id": "thread_1"}}
    async with agents.running(agent_id, saver, {}, {"thread_id": "thread_1"}) as graph:
        command = isinstance(given, Command)
        await graph.ainvoke(given if command else to_input(graph, [HumanMessage(given)]), config)
        state = await graph.aget_state(config)
        return find_answer(graph, state.values), state


class TestDocumentedGraphs:
    def test_all_are_loaded(self, agents: Agents) -> None:
        assert {agent.agent_id: agent.problem for agent in agents.list()} == dict.fromkeys(IDS)

    @pytest.mark.parametrize("agent_id", [one for one in IDS if one not in ASKING | NOT_OF_A_TEXT])
    async def test_each_answers_what_was_said_in_a_chat(
        self, agents: Agents, saver: BaseCheckpointSaver[Any], agent_id: str
    ) -> None:
        answer, state = await say(agents, saver, agent_id, "seven otters")

        assert state.next == ()
        assert "seven otters" in answer.lower() or answer == "12 letters, twice" or WHO in answer

    @pytest.mark.parametrize(
        ("agent_id", "decided"), [("interrupted", "Decided: send it"), ("reviewed", "reviewed")]
    )
    async def test_one_that_asks_a_person_waits_and_goes_on(
        self, agents: Agents, saver: BaseCheckpointSaver[Any], agent_id: str, decided: str
    ) -> None:
        _, waiting = await say(agents, saver, agent_id, "otters")
        answer, state = await say(agents, saver, agent_id, Command(resume="send it"))

        assert len(waiting.interrupts) == 1
        assert state.next == ()
        assert answer == decided if agent_id == "interrupted" else WHO in answer


class TestMemoryOfDocumentedGraphs:
    async def test_an_entrypoint_is_given_what_it_returned_before(
        self, agents: Agents, saver: BaseCheckpointSaver[Any]
    ) -> None:
        answers = [(await say(agents, saver, "remembering", word))[0] for word in ("one", "two", "three")]

        assert answers == ["one", "one two", "one two three"]

    async def test_a_chatbot_keeps_its_messages(self, agents: Agents, saver: BaseCheckpointSaver[Any]) -> None:
        await say(agents, saver, "counted", "one")
        _, state = await say(agents, saver, "counted", "two")

        kinds = [message.type for message in state.values["messages"]]
        assert (kinds, state.values["turns"]) == (["human", "ai", "human", "ai"], 2)

    async def test_a_graph_without_a_store_is_given_one(
        self, agents: Agents, saver: BaseCheckpointSaver[Any]
    ) -> None:
        await say(agents, saver, "memory_from_outside", "I like otters")
        agent = agents.compiled("memory_from_outside", saver)

        assert agent.store is not None
        kept = await agent.store.asearch(("memories", "everybody"))
        assert "I like otters" in [item.value["text"] for item in kept]

    async def test_a_type_of_the_team_s_own_comes_back_from_a_checkpoint_as_itself(
        self, agents: Agents, saver: BaseCheckpointSaver[Any]
    ) -> None:
        _, state = await say(agents, saver, "orchestrator", "otters")

        assert {type(section).__name__ for section in state.values["sections"]} == {"Section"}

    async def test_an_answer_in_a_form_is_shown_as_json(
        self, agents: Agents, saver: BaseCheckpointSaver[Any]
    ) -> None:
        answer, _ = await say(agents, saver, "structured", "otters")

        assert json.loads(answer.removeprefix("```json\n").removesuffix("\n```")).keys() == {"name", "email"}


class TestInput:
    """What a graph is given for a message."""

    def given(self, agents: Agents, agent_id: str, text: str, **more: Any) -> Any:
        graph = agents.get(agent_id).graph
        assert graph is not None
        return to_input(graph, [HumanMessage("earlier"), AIMessage("yes"), HumanMessage(text)], **more)

    @pytest.mark.parametrize(
        "agent_id", ["basic", "counted", "pydantic_state", "created", "prebuilt", "supervisor"]
    )
    def test_messages_go_where_a_graph_keeps_messages(self, agents: Agents, agent_id: str) -> None:
        [(key, messages)] = self.given(agents, agent_id, "otters").items()

        assert (key, [message.text for message in messages]) == ("messages", ["earlier", "yes", "otters"])

    @pytest.mark.parametrize(
        ("agent_id", "expected"),
        [
            ("chain", {"topic": "otters"}),
            ("evaluator", {"topic": "otters"}),
            ("routing", {"input": "otters"}),
            ("orchestrator", {"topic": "otters"}),
            ("separate_schemas", {"user_input": "otters"}),
            ("dataclass_state", {"question": "otters"}),
            ("essay", "otters"),
            ("untyped", "otters"),
            ("of_a_dict", {"text": "otters"}),
        ],
    )
    def test_a_text_goes_where_the_schema_wants_it(self, agents: Agents, agent_id: str, expected: Any) -> None:
        assert self.given(agents, agent_id, "otters") == expected

    def test_an_entrypoint_takes_messages_or_the_last_of_them(self, agents: Agents) -> None:
        assert len(self.given(agents, "of_messages", "otters")) == 3
        assert self.given(agents, "of_one_message", "otters").text == "otters"

    def test_a_json_object_with_the_keys_of_the_input_is_the_input(self, agents: Agents) -> None:
        written = '{"topic": "otters", "joke": "one"}'

        assert self.given(agents, "chain", written) == {"topic": "otters", "joke": "one"}

    def test_any_other_json_is_a_text(self, agents: Agents) -> None:
        assert self.given(agents, "chain", '{"weather": "fine"}') == {"topic": '{"weather": "fine"}'}
        assert self.given(agents, "chain", '{"topic": ') == {"topic": '{"topic": '}

    def test_a_key_named_by_the_operator_takes_the_text(self, agents: Agents) -> None:
        assert self.given(agents, "chain", "otters", key="joke") == {"joke": "otters"}

    def test_what_no_text_fits_is_said_with_what_would(self, agents: Agents) -> None:
        with pytest.raises(BadInputError, match="'amount' takes int"):
            self.given(agents, "numbers", "otters", key="amount")
        with pytest.raises(BadInputError, match=r"write a JSON object with these keys"):
            self.given(agents, "numbers", "otters")
        assert self.given(agents, "numbers", "12") == {"amount": 12}

    def test_a_part_that_is_missing_is_named(self, agents: Agents) -> None:
        with pytest.raises(BadInputError, match=r'"question": \.\.\., "year": \.\.\.'):
            self.given(agents, "two_parts", "otters")
        assert self.given(agents, "two_parts", '{"question": "otters", "year": 1}').year == 1


class TestAnswer:
    """The text found in the final values of a graph whose nodes said nothing."""

    @pytest.mark.parametrize(
        ("agent_id", "values", "expected"),
        [
            ("basic", {"messages": [HumanMessage("a"), AIMessage("b"), HumanMessage("c")]}, ""),
            ("basic", {"messages": [HumanMessage("a"), AIMessage("b")]}, "b"),
            ("chain", {"topic": "otters", "joke": "1", "improved_joke": "2", "final_joke": "3"}, "3"),
            ("chain", {"topic": "a topic much longer than the joke", "joke": "1"}, "1"),
            ("evaluator", {"topic": "otters", "joke": "a long joke", "funny_or_not": "funny"}, "a long joke"),
            ("separate_schemas", {"user_input": "a", "foo": "a very long one", "graph_output": "c"}, "c"),
            ("essay", "text", "text"),
            ("essay", 7, "7"),
            ("essay", None, ""),
            ("essay", AIMessage("said"), "said"),
            ("agent", [HumanMessage("a"), AIMessage("b")], "b"),
            ("chain", {}, ""),
        ],
    )
    def test_it_is_the_most_telling_one(self, agents: Agents, agent_id: str, values: Any, expected: str) -> None:
        graph = agents.get(agent_id).graph
        assert graph is not None
        assert find_answer(graph, values) == expected

    def test_the_operator_s_key_decides(self, agents: Agents) -> None:
        graph = agents.get("chain").graph
        assert graph is not None
        values = {"topic": "otters", "joke": "1", "final_joke": "2", "facts": {"legs": 4}}

        assert find_answer(graph, values, key="joke") == "1"
        assert find_answer(graph, values, key="facts") == '```json\n{\n  "legs": 4\n}\n```'
