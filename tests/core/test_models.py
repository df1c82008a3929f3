"""Chat models through the real client, over real HTTP, against the tests' own model server."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from pydantic import BaseModel

from core.agents.demo import DemoChatModel
from core.agents.models import ChatModels, ModelInfo, explain_model_error
from core.errors import BadInputError, RunError
from core.settings import DEMO_MODEL, Settings
from tests.model_server import Behaviour, Dialect, ModelServer

KEY = "sk-a-secret-key-1234567890"
PROMPT = "a private prompt nobody may read"
DIALECTS: list[Dialect] = ["openai", "ollama", "vllm"]


def settings(**given: Any) -> Settings:
    clean: dict[str, Any] = {"openai_api_key": None, "openai_base_url": None, "model": "", "temperature": 0.0}
    return Settings(_env_file=None, **(clean | given))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@asynccontextmanager
async def opened(server: ModelServer, **given: Any) -> AsyncIterator[ChatModels]:
    defaults = {"openai_api_key": KEY, "openai_base_url": server.base_url, "model_max_retries": 0}
    chat_models = ChatModels(settings(**(defaults | given)))
    try:
        yield chat_models
    finally:
        await chat_models.aclose()


@pytest.fixture
async def model(server: ModelServer) -> AsyncIterator[BaseChatModel]:
    async with opened(server) as chat_models:
        yield chat_models.get("test-model")


async def ask(server: ModelServer, prompt: str, **given: Any) -> list[AIMessageChunk]:
    async with opened(server, **given) as chat_models:
        return await collect(chat_models.get("test-model"), prompt)


async def collect(model: Any, prompt: str) -> list[AIMessageChunk]:
    return [chunk async for chunk in model.astream(prompt)]


def joined(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    return whole


async def failure(server: ModelServer, *behaviours: Behaviour, **given: Any) -> BaseException:
    server.script(*behaviours)
    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the client raises
        await ask(server, PROMPT, **given)
    return caught.value


async def explained(server: ModelServer, *behaviours: Behaviour, **given: Any) -> str:
    sentence = explain_model_error(await failure(server, *behaviours, **given))
    assert sentence is not None
    assert KEY not in sentence
    assert PROMPT not in sentence
    return sentence


class TestChoosing:
    def test_without_anything_the_demo_model_is_the_only_and_default_one(self) -> None:
        chat_models = ChatModels(settings())
        assert [info.name for info in chat_models.offered()] == [DEMO_MODEL]
        assert isinstance(chat_models.get(), DemoChatModel)

    def test_a_configured_model_is_offered_before_the_demo(self) -> None:
        offered = ChatModels(settings(openai_api_key=KEY, model="my-model")).offered()
        assert offered[0] == ModelInfo("my-model", "my-model", offline=False)
        assert [(info.name, info.offline) for info in offered[1:]] == [(DEMO_MODEL, True)]

    def test_offline_is_what_asks_no_server(self) -> None:
        chat_models = ChatModels(settings(openai_api_key=KEY, model="my-model"))
        assert [chat_models.is_offline(name) for name in ("", "my-model", DEMO_MODEL)] == [False, False, True]

    def test_a_real_model_without_key_and_server_says_how_to_mend_it(self) -> None:
        with pytest.raises(BadInputError, match=r"OPENAI_API_KEY.*OPENAI_BASE_URL"):
            ChatModels(settings()).get("gpt-5")

    def test_the_same_name_and_temperature_give_the_same_object_in_every_thread(self) -> None:
        chat_models = ChatModels(settings())
        gate = threading.Barrier(8)

        def get(_: int) -> int:
            gate.wait(5)
            return id(chat_models.get(temperature=0.5))

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(get, range(8)))) == 1
        assert chat_models.get(temperature=0.5) is not chat_models.get(temperature=0.6)

    async def test_a_server_of_ones_own_needs_no_key(self, server: ModelServer) -> None:
        await ask(server, "3 tokens", openai_api_key=None)
        assert server.requests[0].headers["authorization"] == "Bearer no-key-needed"

    async def test_the_temperature_asked_for_is_sent(self, server: ModelServer) -> None:
        async with opened(server, temperature=0.25) as chat_models:
            await chat_models.get("test-model").ainvoke("3 tokens")
            await chat_models.get("test-model", temperature=1.5).ainvoke("3 tokens")
        assert [request.body["temperature"] for request in server.requests] == [0.25, 1.5]


class TestStreaming:
    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_tokens_come_whole_and_in_order(self, server: ModelServer, dialect: Dialect) -> None:
        server.script(Behaviour(dialect=dialect))
        chunks = await ask(server, "nonce:AB12 please, 100 tokens")
        words = ["nonce:AB12", *(f"w{number}" for number in range(2, 101))]
        assert joined(chunks).text == " ".join(words)
        assert [chunk.text for chunk in chunks if chunk.text] == [text for _, text in server.sent[0]]

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_usage_is_reported(self, server: ModelServer, dialect: Dialect) -> None:
        server.script(Behaviour(dialect=dialect))
        usage = joined(await ask(server, "five words and 7 tokens")).usage_metadata
        assert usage is not None
        assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (5, 7, 12)

    async def test_a_server_that_reports_no_usage_gives_none(self, server: ModelServer) -> None:
        server.script(Behaviour(usage=False))
        assert joined(await ask(server, "7 tokens")).usage_metadata is None

    async def test_a_stream_without_a_done_line_is_whole(self, server: ModelServer) -> None:
        server.script(Behaviour(done=False))
        whole = joined(await ask(server, "3 tokens"))
        assert (whole.text, whole.response_metadata["finish_reason"]) == ("w1 w2 w3", "stop")

    @pytest.mark.parametrize("dialect", DIALECTS)
    async def test_tool_calls_are_put_together(self, server: ModelServer, dialect: Dialect) -> None:
        wanted = (("look_up", {"query": "tea 茶", "count": 3}), ("send", {"to": "me"}))
        server.script(Behaviour(dialect=dialect, tool_calls=wanted))
        whole = joined(await ask(server, "go"))
        assert [(call["name"], call["args"]) for call in whole.tool_calls] == list(wanted)
        assert whole.response_metadata["finish_reason"] == "tool_calls"

    async def test_the_first_token_waits_for_no_other(self, server: ModelServer, model: BaseChatModel) -> None:
        server.script(Behaviour(tokens_per_second=20, tokens=40))
        async for chunk in model.astream("go"):
            if chunk.text:
                break
        assert len(server.sent[0]) < 40

    async def test_an_unstreamed_answer_is_the_same(self, server: ModelServer, model: BaseChatModel) -> None:
        answer: Any = await model.ainvoke("3 tokens")
        assert (answer.text, answer.usage_metadata["output_tokens"]) == ("w1 w2 w3", 3)
        assert not server.requests[0].body.get("stream")

    @pytest.mark.parametrize("name", ["gpt-5", "gpt-5-pro", "o3", "o3-pro", "codex-mini-latest", "gpt-6"])
    async def test_no_model_name_leads_to_the_responses_api(self, server: ModelServer, name: str) -> None:
        tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
        async with opened(server) as chat_models:
            await collect(chat_models.get(name).bind_tools(tools), "3 tokens")
            await chat_models.get(name).ainvoke("3 tokens")
        assert [request.path for request in server.requests] == ["/v1/chat/completions"] * 2

    def test_one_process_may_ask_from_one_loop_after_another(self, server: ModelServer) -> None:
        texts = [joined(asyncio.run(ask(server, "2 tokens"))).text for _ in range(3)]
        assert texts == ["w1 w2"] * 3

    async def test_closed_models_can_be_asked_again(self, server: ModelServer) -> None:
        async with opened(server) as chat_models:
            await collect(chat_models.get("test-model"), "2 tokens")
            await chat_models.aclose()
            assert joined(await collect(chat_models.get("test-model"), "2 tokens")).text == "w1 w2"


class TestServersOtherThanOpenAIs:
    @pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
    async def test_what_was_thought_stands_beside_the_answer(self, server: ModelServer, key: str) -> None:
        thinking = Behaviour(reasoning="let me think", reasoning_key=key)
        server.script(*[thinking] * 4)
        async with opened(server) as chat_models:
            model: Any = chat_models.get("test-model")
            answers = [
                joined(await collect(model, "3 tokens")),
                await model.ainvoke("3 tokens"),
                joined(await asyncio.to_thread(lambda: list(model.stream("3 tokens")))),
                await asyncio.to_thread(model.invoke, "3 tokens"),
            ]
        for answer in answers:
            assert (answer.text, answer.additional_kwargs["reasoning_content"]) == ("w1 w2 w3", "let me think")

    @pytest.mark.parametrize("echo", [False, True])
    async def test_it_is_sent_back_only_where_that_is_set(self, server: ModelServer, echo: bool) -> None:
        said = AIMessage("4", additional_kwargs={"reasoning_content": "2 and 2"})
        async with opened(server, echo_reasoning=echo) as chat_models:
            await chat_models.get("test-model").ainvoke([HumanMessage("2+2?"), said, HumanMessage("sure?")])
        assert [message.get("reasoning_content") for message in server.requests[0].body["messages"]] == [
            None,
            "2 and 2" if echo else None,
            None,
        ]

    @pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # langchain-openai's own
    async def test_a_form_is_filled_and_the_thoughts_told_once(self, server: ModelServer) -> None:
        class Form(BaseModel):
            number: int

        server.script(Behaviour(text='{"number": 4}', reasoning="let me think"))
        async with opened(server) as chat_models:
            model: Any = chat_models.get("test-model").bind(response_format=Form)
            answer = joined(await collect(model, "2+2?"))
        assert answer.additional_kwargs["parsed"] == Form(number=4)
        assert answer.additional_kwargs["reasoning_content"] == "let me think"

    @pytest.mark.parametrize("usage", [None, {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}])
    async def test_usage_in_every_chunk_is_no_more_than_told_once(self, server: ModelServer, usage: Any) -> None:
        server.script(Behaviour(tokens=5, usage_in_each=True, usage_is=usage))
        found = joined(await ask(server, "five words are in here")).usage_metadata
        assert found is not None
        assert (found["input_tokens"], found["output_tokens"], found["total_tokens"]) == (5, 5, 10)

    async def test_usage_of_nothing_is_none(self, server: ModelServer) -> None:
        zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        server.script(Behaviour(usage_in_each=True, usage_is=zeros))
        assert joined(await ask(server, "3 tokens")).usage_metadata is None

    @pytest.mark.parametrize("how", ["astream", "stream"])
    async def test_a_server_without_stream_options_is_asked_without_from_then_on(self, how: str) -> None:
        with ModelServer(takes_stream_options=False) as older:
            async with opened(older) as chat_models:
                for name in ("one-model", "another"):
                    model: Any = chat_models.get(name)
                    if how == "stream":
                        chunks = await asyncio.to_thread(lambda model=model: list(model.stream("3 tokens")))
                    else:
                        chunks = await collect(model, "3 tokens")
                    assert joined(chunks).text == "w1 w2 w3"
        assert ["stream_options" in request.body for request in older.requests] == [True, False, False]

    async def test_another_refusal_is_not_tried_again(self, server: ModelServer) -> None:
        assert "refused the request" in await explained(server, Behaviour(status=400, error="no such parameter"))
        assert len(server.requests) == 1


class TestFailures:
    @pytest.mark.parametrize("how", ["astream", "stream"])
    @pytest.mark.parametrize(
        "behaviour",
        [
            Behaviour(tokens=3, finish=False, done=False),
            Behaviour(tokens=3, error_event='{"message": "no"}'),
            Behaviour(tokens=3, error_event='{"message": "no"}', finish=False),
        ],
    )
    async def test_a_stream_that_ends_too_early_loses_nothing_that_came(
        self, server: ModelServer, model: Any, how: str, behaviour: Behaviour
    ) -> None:
        server.script(behaviour)
        seen: list[str] = []

        def read() -> None:
            seen.extend(chunk.text for chunk in model.stream("go"))

        async def read_async() -> None:
            async for chunk in model.astream("go"):
                seen.append(chunk.text)  # noqa: PERF401 - what came before the end counts

        with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the client raises
            await (asyncio.to_thread(read) if how == "stream" else read_async())
        why = "reported a failure" if behaviour.error_event else "broke before the answer was complete"
        assert why in str(explain_model_error(caught.value))
        assert how == "stream" or "".join(seen) == "w1 w2 w3"

    @pytest.mark.parametrize("how", ["ainvoke", "astream"])
    @pytest.mark.parametrize("kind", ["text/html", "application/json"])
    async def test_what_is_no_completion_is_called_so(self, server: ModelServer, how: str, kind: str) -> None:
        server.script(Behaviour(page=f"<html>{KEY} {PROMPT}</html>", page_type=kind))
        async with opened(server) as chat_models:
            model: Any = chat_models.get("test-model")
            with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever the client raises
                await (collect(model, PROMPT) if how == "astream" else model.ainvoke(PROMPT))
        sentence = str(explain_model_error(caught.value))
        assert "no completion" in sentence
        assert KEY not in sentence

    @pytest.mark.parametrize("text", ['{"number": "four"}', "not JSON"])
    async def test_what_a_model_wrote_into_a_form_is_not_the_servers_fault(
        self, server: ModelServer, text: str
    ) -> None:
        class Form(BaseModel):
            number: int

        server.script(Behaviour(text=text))
        async with opened(server) as chat_models:
            model: Any = chat_models.get("test-model").with_structured_output(Form, method="json_schema")
            with pytest.raises(ValueError, match=r"number|JSON|json") as caught:
                await model.ainvoke("2+2?")
        assert explain_model_error(caught.value) is None

    async def test_a_busy_server_is_asked_again_when_it_said(self, server: ModelServer) -> None:
        server.script(Behaviour(status=429, retry_after=1, error="Slow down."))
        chunks = await ask(server, "3 tokens", model_max_retries=1)
        first, second = server.requests
        assert joined(chunks).text == "w1 w2 w3"
        assert 1.0 <= second.at - first.at < 3.0
        assert second.headers["x-stainless-retry-count"] == "1"

    @pytest.mark.parametrize(
        ("status", "words"),
        [
            (400, "refused the request"),
            (401, "OPENAI_API_KEY"),
            (403, "may not use this model"),
            (404, "does not know this model"),
            (409, "refused the request"),
            (422, "refused the request"),
            (429, "asked too often"),
            (500, "failure of its own"),
            (503, "failure of its own"),
        ],
    )
    async def test_each_refusal_has_its_sentence(self, server: ModelServer, status: int, words: str) -> None:
        leaky = Behaviour(status=status, error=f"Wrong key {KEY} for {PROMPT}")
        assert words in await explained(server, leaky)

    @pytest.mark.parametrize(
        "error",
        [
            "This model's maximum context length is 4096 tokens.",
            "the request exceeds the available context size",
            "prompt is too long: 9999 tokens",
        ],
    )
    async def test_a_conversation_that_is_too_long_is_called_so(self, server: ModelServer, error: str) -> None:
        assert "longer than the model can read" in await explained(server, Behaviour(status=400, error=error))

    async def test_openais_own_code_for_too_long_is_known(self, server: ModelServer) -> None:
        behaviour = Behaviour(status=400, error="Too much.", error_code="context_length_exceeded")
        assert "longer than the model can read" in await explained(server, behaviour)

    async def test_an_empty_account_is_called_so(self, server: ModelServer) -> None:
        behaviour = Behaviour(status=429, error_code="insufficient_quota")
        assert "no credit left" in await explained(server, behaviour)

    async def test_the_parameter_that_was_refused_is_named(self, server: ModelServer) -> None:
        assert "'temperature'" in await explained(server, Behaviour(status=400, error_param="temperature"))

    async def test_what_is_no_parameter_name_is_not_passed_on(self, server: ModelServer) -> None:
        behaviour = Behaviour(status=400, error_param=f"{PROMPT} {KEY}")
        assert "because of" not in await explained(server, behaviour)

    async def test_a_cut_loses_nothing_that_came(self, server: ModelServer, model: BaseChatModel) -> None:
        server.script(Behaviour(tokens=20, cut_after=5))
        seen: list[str] = []
        with pytest.raises(Exception) as caught:  # noqa: PT011, PT012
            async for chunk in model.astream("go"):
                seen.append(chunk.text)  # noqa: PERF401 - what came before the cut counts
        assert "".join(seen) == "w1 w2 w3 w4 w5"
        assert "broke before the answer was complete" in str(explain_model_error(caught.value))
        assert server.requests[0].ended == "cut"

    async def test_an_error_inside_the_stream_has_its_sentence(self, server: ModelServer) -> None:
        sentence = await explained(server, Behaviour(tokens=9, error_after=3, error=f"{KEY} {PROMPT}"))
        assert sentence == "The model server reported a failure while it was answering: retry in a moment."

    async def test_a_server_that_is_not_there_is_called_so(self) -> None:
        with ModelServer() as gone:
            pass
        assert "cannot be reached" in await explained(gone)

    async def test_a_server_that_does_not_answer_is_called_so(self, server: ModelServer) -> None:
        release = threading.Event()
        try:
            silent = Behaviour(wait_for=release)
            sentence = await explained(server, silent, model_timeout_seconds=0.3)
        finally:
            release.set()
        assert "did not answer in time" in sentence or "stopped sending" in sentence

    async def test_the_cause_is_found_behind_an_error_of_ours(self, server: ModelServer) -> None:
        wrapped = RunError("The run failed.")
        wrapped.__cause__ = await failure(server, Behaviour(status=401))
        assert "OPENAI_API_KEY" in str(explain_model_error(wrapped))

    @pytest.mark.parametrize("error", [ValueError("no"), TimeoutError(), ConnectionError(), RunError("x")])
    def test_what_no_model_did_is_not_explained(self, error: Exception) -> None:
        assert explain_model_error(error) is None

    def test_causes_that_go_round_in_a_circle_end(self) -> None:
        first, second = ValueError("a"), ValueError("b")
        first.__cause__, second.__cause__ = second, first
        assert explain_model_error(first) is None


class TestSecrets:
    def test_the_key_is_not_shown_with_the_model(self) -> None:
        asked = ChatModels(settings(openai_api_key=KEY)).get("gpt-5")
        assert KEY not in f"{asked!r} {asked.model_dump(exclude={'client', 'async_client'})}"

    def test_the_environment_decides_nothing_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/elsewhere")
        asked: Any = ChatModels(settings(openai_api_key=KEY)).get("gpt-5")
        assert str(asked.root_async_client.base_url) == "https://api.openai.com/v1/"
