"""The offline demo model: what it says, how it streams, and that it says what it is."""

import asyncio
import time
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from core.agents.demo import DemoChatModel

FAST = DemoChatModel(tokens_per_second=0)
ENGLISH_LABEL = "I am Skein's offline demo model, and no language model was asked."
CHINESE_LABEL = "我是 Skein 的离线演示模型,没有调用任何语言模型。"


@tool
def look_up(query: str, count: int, exact: bool, tags: list[str], limit: int | None = None) -> str:
    """Look something up."""
    return f"{count} x {query}"


@tool
def send(to: str) -> str:
    """Send something."""
    return to


def say(text: str, *before: Any) -> str:
    return FAST.invoke([*before, HumanMessage(text)]).text


def turns(*texts: str) -> list[Any]:
    return [message for text in texts for message in (HumanMessage(text), AIMessage("fine"))]


def joined(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


class TestWhatItSays:
    def test_its_first_sentence_says_what_it_is(self) -> None:
        assert say("hello").startswith(ENGLISH_LABEL)
        assert say("你好").startswith(CHINESE_LABEL)

    def test_it_quotes_the_question(self) -> None:
        assert "“how are you today”" in say("how are\n you   today")

    def test_it_tells_how_many_turns_came_before(self) -> None:
        assert "I was given: 2." in say("hello", *turns("a", "b"))
        assert "之前的 2 轮" in say("你好", *turns("a", "b"))

    @pytest.mark.parametrize("question", ["What did I say first?", "我第一句说了什么"])
    def test_it_recalls_the_first_message_it_can_see(self, question: str) -> None:
        assert "“my cat is called 年糕”" in say(question, *turns("my cat is called 年糕", "other"))

    @pytest.mark.parametrize(
        ("question", "shown"),
        [
            ("a table please", "| --- |"),
            ("给我一个表", "| --- |"),
            ("some code", "```python"),
            ("写代码", "```python"),
            ("a formula", "$$"),
            ("数学公式", "$$"),
        ],
    )
    def test_key_words_bring_up_markdown(self, question: str, shown: str) -> None:
        assert shown in say(question)
        assert shown not in say("nothing of the kind")

    @pytest.mark.parametrize("question", ["校长在这里", "代表团", "我想表达感谢", "along the stable"])
    def test_key_words_inside_other_words_do_not_count(self, question: str) -> None:
        assert "| --- |" not in say(question)
        assert "2. " not in say(question)

    @pytest.mark.parametrize("question", ["a long answer", "长回答"])
    def test_a_long_answer_has_about_four_hundred_tokens(self, question: str) -> None:
        usage = FAST.invoke(question).usage_metadata
        assert usage is not None
        assert 350 <= usage["output_tokens"] <= 470

    @pytest.mark.parametrize(
        ("question", "count"),
        [("write 5 tokens", 5), ("1 token", 1), ("写 300 个词", 300), ("99999999 tokens", 20_000)],
    )
    def test_a_number_of_tokens_is_kept_to(self, question: str, count: int) -> None:
        texts = [chunk.text for chunk in FAST.stream(question) if chunk.text]
        assert texts == ["w1", *(f" w{number}" for number in range(2, count + 1))]

    def test_a_stop_word_ends_the_answer(self) -> None:
        assert FAST.invoke("9 tokens", stop=["w4"]).text == "w1 w2 w3 "

    def test_the_same_messages_get_the_same_answer(self) -> None:
        assert say("a table", *turns("x")) == say("a table", *turns("x"))


class TestSummaries:
    def test_it_sums_up_what_people_said(self) -> None:
        text = say("Write a summary of the above.", *turns("first thing", "second thing"))
        assert "offline demo model" in text
        assert "“first thing”, “second thing”" in text
        assert "Write a summary" not in text

    def test_a_first_message_that_asks_for_one_is_answered_like_any_other(self) -> None:
        assert say("Please summarize the report.").startswith(ENGLISH_LABEL)

    def test_a_system_prompt_can_ask_for_it(self) -> None:
        assert "“first thing”" in say("last thing", SystemMessage("Summarize this."), *turns("first thing"))

    def test_it_extends_the_summary_it_is_given(self) -> None:
        given = SystemMessage("Summary of the conversation so far:\n\nThey like tea.")
        text = say("Extend the summary above.", given, *turns("and coffee"))
        assert text.startswith("They like tea.")
        assert "“and coffee”" in text

    def test_a_summary_that_quotes_such_a_request_asks_for_nothing(self) -> None:
        given = SystemMessage("Summary of the conversation so far:\n\nThey said: summarize this.")
        assert say("hello", given).startswith(ENGLISH_LABEL)
        assert "a summary of what came before" in say("hello", given)

    def test_it_does_not_grow_without_end(self) -> None:
        given = SystemMessage("Summary so far:\n" + "tea " * 2_000)
        assert len(say("Extend the summary.", given, *turns("more"))) <= 1_201


class TestStreaming:
    @given(st.text())
    def test_tokens_join_to_the_text_whatever_is_asked(self, question: str) -> None:
        assert "".join(chunk.text for chunk in FAST.stream(question)) == FAST.invoke(question).text

    async def test_all_four_ways_say_the_same(self) -> None:
        question = "a long table"
        answers = [FAST.invoke(question), joined(list(FAST.stream(question))), await FAST.ainvoke(question)]
        answers.append(joined([chunk async for chunk in FAST.astream(question)]))
        assert len({(a.text, str(a.usage_metadata), str(a.response_metadata)) for a in answers}) == 1

    def test_the_last_chunk_carries_the_usage(self) -> None:
        chunks = list(FAST.stream("write 7 tokens"))
        expected = {"input_tokens": 3, "output_tokens": 7, "total_tokens": 10}
        assert [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata] == [expected]
        assert chunks[-1].usage_metadata == expected
        assert chunks[-1].response_metadata == {"model_name": "demo", "finish_reason": "stop"}

    async def test_a_callback_hears_every_token_once(self) -> None:
        heard: list[str] = []

        class Listener(BaseCallbackHandler):
            def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
                heard.append(token)

        async for _ in FAST.astream("30 tokens", config={"callbacks": [Listener()]}):
            pass
        assert [token for token in heard if token] == ["w1", *(f" w{number}" for number in range(2, 31))]

    async def test_a_late_stream_catches_up_with_the_clock(self, monkeypatch: pytest.MonkeyPatch) -> None:
        paced, waits, count = DemoChatModel(tokens_per_second=100), 0, 0
        sleep = asyncio.sleep

        async def waiting(seconds: float) -> None:
            nonlocal waits
            waits += 1
            await sleep(seconds)

        monkeypatch.setattr(asyncio, "sleep", waiting)
        async for chunk in paced.astream("40 tokens"):
            count += bool(chunk.text)
            if count == 5:
                time.sleep(0.2)  # noqa: ASYNC251 - a reader that holds the loop up is what is tested
        # Those 20 tokens that were due meanwhile come at once; asyncio's own clock is coarser than ours.
        assert (count, waits <= 25) == (40, True)

    async def test_also_without_a_pace_it_can_be_stopped(self) -> None:
        seen, begun = 0, asyncio.Event()

        async def read() -> None:
            nonlocal seen
            async for _ in FAST.astream("20000 tokens"):
                seen += 1
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert seen < 20_000


class TestTools:
    def test_a_tool_that_is_named_is_called_with_simple_arguments(self) -> None:
        answer = FAST.bind_tools([send, look_up]).invoke("please use look_up")
        expected = {"query": "demo", "count": 1, "exact": True, "tags": []}
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("look_up", expected)]
        assert answer.response_metadata["finish_reason"] == "tool_calls"

    def test_a_json_object_in_the_message_gives_the_arguments(self) -> None:
        answer = FAST.bind_tools([send]).invoke('请用send发出 {"to": "茶"} 谢谢')
        assert [(call["name"], call["args"]) for call in answer.tool_calls] == [("send", {"to": "茶"})]

    def test_without_being_named_no_tool_is_called(self) -> None:
        assert FAST.bind_tools([send]).invoke("sending is fine").tool_calls == []

    def test_a_choice_demands_a_tool_or_forbids_it(self) -> None:
        def called(choice: str, text: str) -> list[str]:
            answer = FAST.bind_tools([send, look_up], tool_choice=choice).invoke(text)
            return [call["name"] for call in answer.tool_calls]

        assert called("any", "hi") == ["send"]
        assert called("look_up", "hi") == ["look_up"]
        assert called("none", "use send") == called("auto", "hi") == []

    def test_a_call_is_streamed_in_pieces_that_fit_together(self) -> None:
        chunks = list(FAST.bind_tools([send]).stream('send {"to": "a b c"}'))
        assert sum(bool(chunk.tool_call_chunks) for chunk in chunks) > 2
        whole = joined(chunks)
        assert [(call["name"], call["args"]) for call in whole.tool_calls] == [("send", {"to": "a b c"})]
        assert whole.tool_calls == FAST.bind_tools([send]).invoke('send {"to": "a b c"}').tool_calls

    def test_after_the_tool_it_answers_with_its_result(self) -> None:
        question = HumanMessage("use send")
        call = FAST.bind_tools([send]).invoke([question])
        result = ToolMessage("42 sent", tool_call_id=call.tool_calls[0]["id"])
        answer = FAST.bind_tools([send]).invoke([question, call, result])
        assert answer.tool_calls == []
        assert answer.text.startswith(ENGLISH_LABEL)
        assert "42 sent" in answer.text

    def test_structured_output_works_offline(self) -> None:
        class Place(BaseModel):
            """A place."""

            name: str
            height: int

        assert FAST.with_structured_output(Place).invoke("hello") == Place(name="demo", height=1)


@tool
def plan_work(title: Annotated[str, Field(max_length=80)], steps: list[str]) -> str:
    """Write a plan of the work."""
    return title


@tool
def finish_steps(done: list[int], kind: Literal["whole", "half"] = "whole") -> str:
    """Say which steps are done."""
    return str(done)


@tool
def keep_text(name: Annotated[str, Field(max_length=80)], content: str) -> str:
    """Keep a text."""
    return name


@tool
def look_for_words(query: Annotated[str, Field(max_length=80)], days: int | None = None) -> str:
    """Look for words in messages. 搜索 消息"""
    return query


class Wish(BaseModel):
    """What a person wants."""

    intent: Literal["talk", "numbers", "unclear"]
    confidence: float


WISHES = SystemMessage(
    "Find out what is wanted.\n- talk: hello, explain, 你好, 解释\n- numbers: count, cost, 费用, 多少"
)
ORDERED = SystemMessage(
    "You are careful.\nWork in this order: plan_work, keep_text, missing, finish_steps\nBe kind."
)
BY_WORDS = SystemMessage("You look things up.\nChoose tools by the words of the question.")


def carried_out(system: SystemMessage, text: str, *, status: str = "success", earlier: Any = ()) -> list[Any]:
    """All messages of a run with these tools, each answered, until the model speaks."""
    model = FAST.bind_tools([keep_text, finish_steps, plan_work, look_for_words])
    messages: list[Any] = [system, *earlier, HumanMessage(text)]
    while (answer := model.invoke(messages)).tool_calls:
        (call,) = answer.tool_calls
        given = f"{call['name']} gave it"
        messages += [answer, ToolMessage(given, name=call["name"], tool_call_id=call["id"], status=status)]
    return [*messages, answer]


def calls_in(messages: list[Any]) -> list[tuple[str, Any]]:
    return [(call["name"], call["args"]) for one in messages for call in getattr(one, "tool_calls", ())]


class TestWorkingInOrder:
    def test_each_tool_that_is_offered_is_called_once(self) -> None:
        messages = carried_out(ORDERED, "Bake a cake: mix it, and bake it")
        assert [name for name, _ in calls_in(messages)] == ["plan_work", "keep_text", "finish_steps"]
        assert "**finish_steps**\n\nfinish_steps gave it" in messages[-1].text

    def test_the_arguments_are_made_from_what_the_person_said(self) -> None:
        plan, keep, finish = (
            args for _, args in calls_in(carried_out(ORDERED, "Bake a cake: mix it, and bake it"))
        )
        assert plan == {"title": "Bake a cake", "steps": ["mix it", "bake it"]}
        assert keep["name"] == "Bake a cake"
        assert keep["content"].startswith("(Written by the offline demo model; no language model was asked.)")
        assert finish == {"done": [1, 2]}

    def test_without_a_list_it_takes_the_usual_steps(self) -> None:
        plan, _, finish = (args for _, args in calls_in(carried_out(ORDERED, "烤蛋糕")))
        assert plan == {"title": "烤蛋糕", "steps": ["弄清要做什么", "动手完成", "检查结果"]}
        assert finish == {"done": [1, 2, 3]}

    def test_a_choice_is_made_where_the_person_makes_it(self) -> None:
        assert calls_in(carried_out(ORDERED, "only half of it"))[-1][1]["kind"] == "half"

    def test_a_refusal_ends_it_politely(self) -> None:
        messages = carried_out(ORDERED, "Bake", status="error")
        assert len(calls_in(messages)) == 3
        assert messages[-1].text.endswith("What was not done I leave at that.")

    def test_the_next_question_begins_anew(self) -> None:
        before = carried_out(ORDERED, "Bake")[1:]
        assert len(calls_in(carried_out(ORDERED, "Bake again", earlier=before))) == 6

    def test_a_person_cannot_ask_for_an_order(self) -> None:
        assert calls_in(carried_out(BY_WORDS, "Work in this order: plan_work\nWork in this order: keep_text")) != []
        system = SystemMessage("You are kind.")
        assert calls_in(carried_out(system, "Work in this order: keep_text"))[0][0] == "keep_text"
        assert calls_in(carried_out(system, "Work in this order: all of them")) == []


class TestChoosingByWords:
    @pytest.mark.parametrize(
        ("text", "called"),
        [
            ("look for green tea in my messages", [("look_for_words", {"query": "green tea"})]),
            ("搜索关于绿茶的消息", [("look_for_words", {"query": "绿茶"})]),
            ("look for “for you” in 7 days", [("look_for_words", {"query": "for you", "days": 7})]),
            ("what is the weather", []),
            ("天气怎么样", []),
        ],
    )
    def test_the_tool_whose_words_the_question_has_is_called(self, text: str, called: list[Any]) -> None:
        assert calls_in(carried_out(BY_WORDS, text)) == called

    def test_all_tools_that_are_named_by_a_word_of_their_own_are_called(self) -> None:
        names = [name for name, _ in calls_in(carried_out(BY_WORDS, "plan it and keep it"))]
        assert names == ["keep_text", "plan_work"]


class TestChoosingAmongValues:
    @pytest.mark.parametrize(
        ("text", "intent"),
        [
            ("Hello!", "talk"),
            ("Explain it", "talk"),
            ("What are my costs?", "numbers"),
            ("numbers please", "numbers"),
            ("费用是多少", "numbers"),
            ("请解释一下", "talk"),
            ("Hm", "unclear"),
            ("explain my costs", "unclear"),
        ],
    )
    def test_the_value_whose_line_shares_words_is_chosen(self, text: str, intent: str) -> None:
        model = FAST.with_structured_output(Wish)
        assert model.invoke([WISHES, HumanMessage(text)]) == Wish(intent=intent, confidence=1.0)
