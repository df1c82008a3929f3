"""The shipped assistant graph, compiled with a saver and asked turn by turn."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk
from langgraph.checkpoint.memory import InMemorySaver

from core.agents.assistant import AssistantContext, find_cut, graph
from core.agents.demo import DemoChatModel
from core.agents.models import ChatModels
from core.settings import Settings

_CLASSES = {"h": HumanMessage, "a": AIMessage}


class _Models(ChatModels):
    """The demo models, which also keep what they were asked."""

    def __init__(self) -> None:
        super().__init__(Settings(_env_file=None, model="demo", demo_tokens_per_second=0))
        self.asked: list[list[Any]] = []
        self.wanted: list[tuple[str, float | None]] = []

    def get(self, name: str = "", *, temperature: float | None = None) -> DemoChatModel:
        self.wanted.append((name, temperature))
        return _Listening(asked=self.asked, tokens_per_second=0)


class _Listening(DemoChatModel):
    asked: Any

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(list(messages))
        async for chunk in super()._astream(messages, *args, **kwargs):
            yield chunk

    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        self.asked.append(list(messages))
        return await super()._agenerate(messages, *args, **kwargs)


class Talk:
    """One thread of the assistant."""

    def __init__(self, **context: Any) -> None:
        self.models = _Models()
        self.context = AssistantContext(chat_models=self.models, **context)
        self.config: Any = {"configurable": {"thread_id": "one"}}
        self.graph = graph.compile(checkpointer=InMemorySaver())

    async def say(self, *texts: str) -> dict[str, Any]:
        for text in texts:
            await self.graph.ainvoke({"messages": [HumanMessage(text)]}, self.config, context=self.context)
        return await self.state()

    async def state(self) -> dict[str, Any]:
        return (await self.graph.aget_state(self.config)).values


def history(kinds: str) -> list[AnyMessage]:
    """Build messages from letters: h(uman), a(nswer), c(all of a tool), t(ool's result)."""
    made: list[AnyMessage] = []
    for index, kind in enumerate(kinds):
        if kind == "c":
            made.append(AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": f"call{index}"}]))
        elif kind == "t":
            made.append(ToolMessage("r", tool_call_id=f"call{index - 1}"))
        else:
            made.append(_CLASSES[kind](f"{kind}{index}"))
    return made


class TestAnswering:
    async def test_an_answer_is_added_to_the_messages(self) -> None:
        state = await Talk().say("hello")
        assert [message.type for message in state["messages"]] == ["human", "ai"]
        assert state["messages"][1].text.startswith("I am Skein's offline demo model")

    async def test_the_model_and_temperature_of_the_context_are_asked_for(self) -> None:
        talk = Talk(model="demo", temperature=0.7)
        await talk.say("hello")
        assert talk.models.wanted == [("demo", 0.7)]

    async def test_each_turn_sees_the_ones_before(self) -> None:
        state = await Talk().say("my first words", "what did I say first")
        assert "“my first words”" in state["messages"][-1].text


class TestSummary:
    async def test_six_messages_are_left_alone(self) -> None:
        state = await Talk().say("one", "two", "three")
        assert len(state["messages"]) == 6
        assert "summary" not in state

    async def test_more_than_six_are_summed_up_and_the_last_two_kept(self) -> None:
        state = await Talk().say("one", "two", "three", "four")
        assert [m.text for m in state["messages"] if m.type == "human"] == ["four"]
        assert len(state["messages"]) == 2
        assert "“one”, “two”, “three”" in state["summary"]
        assert "four" not in state["summary"]

    async def test_the_summary_is_put_in_front(self) -> None:
        talk = Talk()
        summary = (await talk.say("one", "two", "three", "four"))["summary"]
        await talk.say("five")
        first, *rest = talk.models.asked[-1]
        assert isinstance(first, SystemMessage)
        assert summary in first.text
        assert [m.type for m in rest] == ["human", "ai", "human"]

    async def test_the_next_round_extends_it(self) -> None:
        talk = Talk()
        first = (await talk.say("one", "two", "three", "four"))["summary"]
        second = (await talk.say("five", "six", "seven"))["summary"]
        assert second.startswith(first)
        assert "“four”, “five”, “six”" in second

    async def test_other_limits_are_kept_to(self) -> None:
        state = await Talk(max_messages=2, keep_last=1).say("one", "two")
        assert "“one”" in state["summary"]
        assert [m.type for m in state["messages"]] == ["human", "ai"]

    async def test_without_anything_to_cut_the_model_is_asked_once(self) -> None:
        talk = Talk(max_messages=2)
        await talk.graph.aupdate_state(talk.config, {"messages": history("hctcta")})
        talk.context = AssistantContext(chat_models=talk.models, max_messages=2, keep_last=8)
        state = await talk.say("next")
        assert len(talk.models.asked) == 1
        assert len(state["messages"]) == 8

    async def test_tool_results_stay_with_their_calls(self) -> None:
        talk = Talk(max_messages=3, keep_last=3)
        await talk.graph.aupdate_state(talk.config, {"messages": history("hahcta")})
        state = await talk.say("next")
        assert [m.type for m in state["messages"]] == ["human", "ai"]

    async def test_only_answers_reach_the_message_stream(self) -> None:
        talk = Talk()
        await talk.say("one", "two", "three")
        text, nodes = "", set()
        async for message, metadata in talk.graph.astream(
            {"messages": [HumanMessage("4 tokens")]},
            talk.config,
            context=talk.context,
            stream_mode="messages",
        ):
            text += message.text if message.type == "AIMessageChunk" else ""
            nodes.add(metadata["langgraph_node"])
        assert text == "w1 w2 w3 w4"
        assert nodes == {"conversation"}
        assert (await talk.state())["summary"]

    async def test_an_empty_summary_removes_nothing(self) -> None:
        talk = Talk()
        await talk.say("one", "two", "three")
        talk.models.get = lambda *a, **k: _Silent(asked=[], tokens_per_second=0)  # type: ignore[method-assign]
        state = await talk.say("four")
        assert len(state["messages"]) == 8
        assert "summary" not in state


class _Silent(_Listening):
    async def _agenerate(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        result = await super()._agenerate(messages, *args, **kwargs)
        result.generations[0].message.content = "  "
        return result

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        async for chunk in super()._astream(messages, *args, **kwargs):
            chunk.message.content = " "
            yield ChatGenerationChunk(message=chunk.message)


def _turns(parts: Sequence[int]) -> str:
    return "".join("h" + "ct" * tools + "a" for tools in parts)


class TestTheCut:
    def test_it_moves_on_to_the_next_message_of_a_person(self) -> None:
        assert find_cut(history("hahctaha"), keep_last=4) == 6

    def test_it_goes_back_when_none_follows(self) -> None:
        assert find_cut(history("hahctcta"), keep_last=2) == 2

    def test_there_may_be_nothing_to_cut(self) -> None:
        assert [find_cut(history(kinds), keep_last=2) for kinds in ("", "a", "aaaa", "hctctcta")] == [0] * 4

    @given(st.lists(st.integers(0, 3), max_size=8).map(_turns), st.integers(0, 12))
    def test_no_tool_result_is_left_without_its_call(self, kinds: str, keep_last: int) -> None:
        messages = history(kinds)
        cut = find_cut(messages, keep_last=keep_last)
        kept = messages[cut:]
        assert 0 <= cut <= len(messages)
        assert not messages or isinstance(kept[0], HumanMessage)
        called = {call["id"] for m in kept if isinstance(m, AIMessage) for call in m.tool_calls}
        assert {m.tool_call_id for m in kept if isinstance(m, ToolMessage)} <= called

    @given(st.lists(st.integers(0, 3), min_size=1, max_size=8).map(_turns), st.integers(1, 12))
    def test_without_tools_it_keeps_whole_turns(self, kinds: str, keep_last: int) -> None:
        plain = history(kinds.replace("ct", ""))
        kept = len(plain) - find_cut(plain, keep_last=keep_last)
        assert kept == min(len(plain), max(keep_last - keep_last % 2, 2))
