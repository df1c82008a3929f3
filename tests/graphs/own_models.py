"""A graph with a ChatOpenAI of its own, of the kind that the message names."""

from typing import Any

from langchain_core.caches import InMemoryCache
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from openai import DefaultAsyncHttpxClient

KINDS: dict[str, dict[str, Any]] = {
    "chat": {"stream_usage": True},
    "responses": {"use_responses_api": True},
    "responses v0": {"use_responses_api": True, "output_version": "v0"},
    "responses v1": {"use_responses_api": True, "output_version": "v1"},
    "whole": {"disable_streaming": True},
    "whole responses": {"use_responses_api": True, "disable_streaming": True},
    "cached": {"cache": InMemoryCache(), "disable_streaming": True},
}


async def say(state: MessagesState) -> dict[str, Any]:
    kind = str(state["messages"][-1].content)
    async with DefaultAsyncHttpxClient() as http:
        model = ChatOpenAI(
            model="gpt-4o",
            api_key="k",  # type: ignore[arg-type]
            http_async_client=http,
            max_retries=0,
            **KINDS[kind],
        )
        answers = [await model.ainvoke("asked") for _ in range(2 if kind == "cached" else 1)]
    return {"messages": answers[-1:]}


own = StateGraph(MessagesState).add_node("say", say).add_edge(START, "say").add_edge("say", END).compile()
