"""A graph whose nodes ask models without LangChain, in the way that the message names; and with it, to compare."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, MessagesState, StateGraph
from openai import AsyncOpenAI, DefaultAsyncHttpxClient, OpenAI

RECEIVED = threading.Event()
"""Set by a test once its server has the request that is to be given up."""
ASKED = [{"role": "user", "content": "asked raw"}]


def _client() -> AsyncOpenAI:
    return AsyncOpenAI(api_key="sk-raw-secret-0123456789", max_retries=1)


def _sync_client() -> OpenAI:
    return OpenAI(api_key="sk-raw-secret-0123456789", max_retries=1)


def _chat_model(**more: Any) -> Any:
    return ChatOpenAI(model="gpt-4o", api_key="k", max_retries=1, stream_usage=True, **more)  # type: ignore[arg-type]


async def whole(client: AsyncOpenAI) -> str:
    found = await client.chat.completions.create(model="gpt-4o", messages=ASKED, temperature=0.5)  # type: ignore[arg-type]
    return found.choices[0].message.content or ""


async def streamed(client: AsyncOpenAI) -> str:
    options = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="gpt-4o",
        messages=ASKED,  # type: ignore[arg-type]
        stream=True,
        stream_options=options,  # type: ignore[arg-type]
    )
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


async def left_early(client: AsyncOpenAI) -> str:
    """Read the first words, and no more."""
    async with await client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True) as stream:  # type: ignore[arg-type]
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
    return "left"


async def responses(client: AsyncOpenAI) -> str:
    found = await client.responses.create(model="gpt-5", input="asked raw", instructions="be brief")
    stream = await client.responses.create(model="gpt-5", input="asked raw", stream=True)
    async for _ in stream:
        pass
    return found.output_text


async def embedded(client: AsyncOpenAI) -> str:
    await client.embeddings.create(model="text-embedding-3-small", input=["one text", "another"])
    async with DefaultAsyncHttpxClient() as http:
        model = OpenAIEmbeddings(api_key="k", check_embedding_ctx_length=False, http_async_client=http)  # type: ignore[arg-type]
        await model.aembed_query("a third")
    return "embedded"


async def caught(client: AsyncOpenAI) -> str:
    with contextlib.suppress(Exception):
        await client.chat.completions.create(model="gpt-4o", messages=ASKED)  # type: ignore[arg-type]
    return "went on"


async def mixed(client: AsyncOpenAI) -> str:
    """LangChain's own calls, and raw ones before, beside, amid and after them."""
    model = _chat_model()
    before = await whole(client)
    await asyncio.gather(model.ainvoke("langchain beside"), whole(client))
    async for _ in model.astream("langchain amid"):
        await whole(client)
        break
    await model.abatch(["langchain one", "langchain two"])
    return before + await whole(client)


async def amid_another(client: AsyncOpenAI) -> str:
    """Ask while a model answers whose requests cannot be seen."""
    async for _ in FakeListChatModel(responses=["ab"]).astream("langchain fake"):
        answer = await whole(client)
        break
    return answer


async def after_a_timeout(client: AsyncOpenAI) -> str:
    """LangChain is given up once its request is there, in the same context that then asks another way."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(None) as limit:
            giving_up = asyncio.create_task(_give_up(limit))
            await _chat_model(disable_streaming=True).ainvoke("langchain slow")
    await giving_up
    return await whole(client)


async def _give_up(limit: asyncio.Timeout) -> None:
    await asyncio.to_thread(RECEIVED.wait, 10)
    limit.reschedule(asyncio.get_running_loop().time())


async def in_a_thread(_: AsyncOpenAI) -> str:
    def ask() -> str:
        client = _sync_client()
        found = client.chat.completions.create(model="gpt-4o", messages=ASKED)  # type: ignore[arg-type]
        stream = client.chat.completions.create(model="gpt-4o", messages=ASKED, stream=True)  # type: ignore[arg-type]
        words = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        return f"{found.choices[0].message.content} {''.join(words)}"

    return await asyncio.to_thread(ask)


WAYS: dict[str, Callable[[AsyncOpenAI], Awaitable[str]]] = {
    one.__name__: one
    for one in (
        whole,
        streamed,
        left_early,
        responses,
        embedded,
        caught,
        mixed,
        amid_another,
        after_a_timeout,
        in_a_thread,
    )
}


async def ask(state: MessagesState) -> dict[str, Any]:
    async with _client() as client:
        return {"messages": [AIMessage(await WAYS[str(state["messages"][-1].content)](client))]}


def ask_plainly(state: MessagesState) -> dict[str, Any]:
    """A plain function, which runs on a thread."""
    found = _sync_client().chat.completions.create(model="gpt-4o", messages=ASKED)  # type: ignore[arg-type]
    return {"messages": [AIMessage(found.choices[0].message.content or "")]}


raw = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
plainly = StateGraph(MessagesState).add_node("ask", ask_plainly).add_edge(START, "ask").compile()
