"""Agents in several forms whose tools end at once, never, or by an error, as the model asks: for cutting them."""

import asyncio
import os
from typing import Any

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition


@tool
async def fast(word: str) -> str:
    """End at once."""
    return f"RESULT OF {word}"


@tool
async def slow(word: str) -> str:
    """Never end."""
    await asyncio.sleep(60)
    return f"LATE {word}"


@tool
async def broken(word: str) -> str:
    """Raise."""
    await asyncio.sleep(0)
    raise RuntimeError(f"no {word}")


@tool
def plain(word: str) -> str:
    """End at once, on a thread."""
    return f"RESULT OF {word}"


TOOLS = [fast, slow, broken, plain]


def _model() -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=os.environ["MODEL_URL"], api_key="k", max_retries=0)


def agent() -> Any:
    return create_agent(_model(), TOOLS)


def node() -> Any:
    async def ask(state: MessagesState) -> dict:
        return {"messages": [await _model().bind_tools(TOOLS).ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode(TOOLS, handle_tool_errors=False))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile()


def _around(inner: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    return graph.compile()


def nested() -> Any:
    return _around(agent())


def nested_node() -> Any:
    return _around(_around(node()))
