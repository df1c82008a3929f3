"""The shipped router on both databases: whom it lets answer, how it asks back, and what it leaves in the state."""

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langgraph.constants import TAG_NOSTREAM

from core.access.viewer import Viewer
from core.agents.router import build_graph
from core.database import Database
from core.settings import Settings
from tests.core.working import Work, add_person, tools_called
from tests.model_server import Behaviour, ModelServer

NUMBERS, NUMBERS_ZH = "Look up numbers of my sessions and calls", "查看我的会话和调用数据"


@pytest.fixture
def alice(database: Database) -> Viewer:
    return add_person(database, "alice")


class Listener(BaseCallbackHandler):
    """Keeps where each model was called: node, agent, and whether its tokens are for people."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str | None, bool]] = []

    def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
        metadata = kwargs["metadata"]
        places = [place.split(":")[0] for place in metadata["langgraph_checkpoint_ns"].split("|")]
        agent = metadata.get("lc_agent_name") or (places[0] if len(places) > 1 else None)
        self.calls.append((metadata["langgraph_node"], agent, TAG_NOSTREAM not in (kwargs["tags"] or ())))


def routed(database: Database, viewer: Viewer, text: str, **given: Any) -> tuple[Work, Listener]:
    work, listener = Work(build_graph(), database, viewer, text, **given), Listener()
    work.config["callbacks"] = [listener]
    return work, listener


class TestWhoAnswers:
    @pytest.mark.parametrize(
        ("text", "intent", "call"),
        [
            ("Hello!", "chat", ("conversation", "assistant", True)),
            ("你好", "chat", ("conversation", "assistant", True)),
            ("How many messages did I write?", "data", ("model", "analyst", True)),
            ("我的费用是多少?", "data", ("model", "analyst", True)),
            ("Plan a tea party", "plan", ("model", "planner", True)),
            ("安排一个茶会", "plan", ("model", "planner", True)),
        ],
    )
    async def test_a_clear_question_is_answered_by_the_one_for_it(
        self, database: Database, alice: Viewer, text: str, intent: str, call: tuple[str, str, bool]
    ) -> None:
        work, listener = routed(database, alice, text)
        state = await work.begin()
        assert state["intent"] == intent
        assert listener.calls[0] == ("route", None, False)
        assert set(listener.calls[1:]) == {call}

    async def test_what_the_planner_made_is_in_the_routers_state(self, database: Database, alice: Viewer) -> None:
        work, _ = routed(database, alice, "Plan a tea party")
        await work.begin()
        state = await work.resume({"type": "approve"})
        assert state["task_plan_id"].endswith("@2")
        assert len(state["result_artifact_ids"]) == 2
        assert tools_called(state)[-1] == "publish_result"
        assert "no language model was asked" in str(state["messages"][-1].text)

    async def test_one_agent_sees_what_another_left(self, database: Database, alice: Viewer) -> None:
        work, _ = routed(database, alice, "Plan a tea party")
        await work.begin()
        await work.resume({"type": "approve"})
        state = await work.say("Please list my artifacts")
        assert str(state["messages"][-2].text).count("published/") == 1

    async def test_the_assistants_summary_shortens_the_routers_messages(
        self, database: Database, alice: Viewer
    ) -> None:
        work, _ = routed(database, alice, "Hello one")
        await work.begin()
        for text in ("hello two", "hello three", "hello four"):
            state = await work.say(text)
        assert [one.type for one in state["messages"]] == ["human", "ai"]
        assert "“Hello one”" in state["summary"]


class TestAskingBack:
    @pytest.mark.parametrize(
        ("text", "question", "option"),
        [("Hm.", "What would you like me to do?", NUMBERS), ("唔", "你想让我做什么?", NUMBERS_ZH)],
    )
    async def test_an_unclear_question_is_asked_about_in_its_language(
        self, database: Database, alice: Viewer, text: str, question: str, option: str
    ) -> None:
        work, listener = routed(database, alice, text)
        await work.begin()
        (asked,) = await work.waiting()
        assert asked.value["question"] == question
        assert option in asked.value["options"]
        assert listener.calls == [("route", None, False)]

    @pytest.mark.parametrize(
        ("answer", "agent"),
        [("Talk it over with me", "assistant"), (NUMBERS, "analyst"), ("Plan it and carry it out", "planner")],
    )
    async def test_an_option_decides(self, database: Database, alice: Viewer, answer: str, agent: str) -> None:
        work, listener = routed(database, alice, "Hm.")
        await work.begin()
        state = await work.resume(answer)
        assert {call[1] for call in listener.calls[1:]} == {agent}
        assert [one.text for one in state["messages"] if one.type == "human"] == ["Hm."]

    async def test_other_words_are_routed_anew(self, database: Database, alice: Viewer) -> None:
        work, listener = routed(database, alice, "Hm.")
        await work.begin()
        state = await work.resume("count my messages")
        assert [call[:2] for call in listener.calls[:3]] == [("route", None), ("route", None), ("model", "analyst")]
        assert tools_called(state) == ["count_messages"]
        assert [one.text for one in state["messages"] if one.type == "human"] == ["Hm.", "count my messages"]

    async def test_words_that_are_unclear_too_are_asked_about_again(
        self, database: Database, alice: Viewer
    ) -> None:
        work, _ = routed(database, alice, "Hm.")
        await work.begin()
        first = await work.waiting()
        await work.resume("Hmm?")
        second = await work.waiting()
        assert len(second) == 1
        assert second[0].id != first[0].id

    async def test_what_belongs_to_two_agents_is_asked_about(self, database: Database, alice: Viewer) -> None:
        work, _ = routed(database, alice, "Plan my costs")
        await work.begin()
        assert len(await work.waiting()) == 1


class TestOverHttp:
    @pytest.mark.parametrize(
        ("route", "question"),
        [
            ({"intent": "unclear", "confidence": 0.9, "question": "Numbers or a plan?"}, "Numbers or a plan?"),
            ({"intent": "data", "confidence": 0.2}, "What would you like me to do?"),
            ({"intent": "dinner", "confidence": 1}, "What would you like me to do?"),
            ({"intent": "data", "confidence": 80}, "What would you like me to do?"),
        ],
    )
    async def test_a_model_that_is_unsure_or_wrong_makes_it_ask(
        self, database: Database, alice: Viewer, route: dict[str, Any], question: str
    ) -> None:
        with ModelServer() as server:
            server.script(Behaviour(tool_calls=(("Route", route),)))
            work, _ = over_http(database, alice, server)
            await work.begin()
            await work.models.aclose()
        (asked,) = await work.waiting()
        assert asked.value["question"] == question

    async def test_a_model_that_calls_no_tool_makes_it_ask(self, database: Database, alice: Viewer) -> None:
        with ModelServer() as server:
            server.script(Behaviour(text="I would say data."))
            work, _ = over_http(database, alice, server)
            await work.begin()
            await work.models.aclose()
        assert len(await work.waiting()) == 1

    async def test_a_whole_turn_goes_to_the_analyst_and_its_tools(self, database: Database, alice: Viewer) -> None:
        with ModelServer() as server:
            server.script(
                Behaviour(tool_calls=(("Route", {"intent": "data", "confidence": 1.0}),)),
                Behaviour(tool_calls=(("count_messages", {"by": "agent"}),)),
                Behaviour(text="One message."),
            )
            work, listener = over_http(database, alice, server)
            state = await work.begin()
            await work.models.aclose()
            asked = [request.body for request in server.requests]
        assert str(state["messages"][-1].text) == "One message."
        assert [call[:2] for call in listener.calls] == [
            ("route", None),
            ("model", "analyst"),
            ("model", "analyst"),
        ]
        assert asked[0]["tool_choice"] == {"type": "function", "function": {"name": "Route"}}
        assert "tool_choice" not in asked[1]


def over_http(database: Database, viewer: Viewer, server: ModelServer) -> tuple[Work, Listener]:
    settings = Settings(_env_file=None, model="test-model", openai_base_url=server.base_url)
    return routed(database, viewer, "Do it", settings=settings)
