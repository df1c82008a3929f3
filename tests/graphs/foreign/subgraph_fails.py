"""A subgraph whose first node has spoken when its second one fails, as often as the file FAILURES has a letter.

While the file says "hold" it waits instead.
"""

import asyncio
import os
from pathlib import Path

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph


async def _say(words):
    return {"messages": [await GenericFakeChatModel(messages=iter([AIMessage(words)])).ainvoke("")]}


async def research(state):
    return await _say("Found three papers.")


def _is_held():
    return Path(os.environ["FAILURES"]).read_text() == "hold"


def _fails():
    file = Path(os.environ["FAILURES"])
    left = file.read_text()
    file.write_text(left[1:])
    return bool(left)


async def write(state):
    while _is_held():
        await asyncio.sleep(0.02)
    if _fails():
        raise RuntimeError("broken")
    return await _say("Here is the report.")


def _build(checkpointer=None, **nodes):
    graph, before = StateGraph(MessagesState), START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph.compile(checkpointer=checkpointer)


graph = _build(team=_build(research=research, write=write))
remembering = _build(team=_build(checkpointer=True, research=research, write=write))
flat = _build(research=research, write=write)


FOUND: list[bool] = []


async def research_first(state):
    FOUND.clear()
    found = await research(state)
    # Once this node has come to its end, as the loop gets to that first.
    asyncio.get_running_loop().call_later(0.2, FOUND.append, True)
    return found


async def write_beside(state):
    while not FOUND:
        await asyncio.sleep(0.01)
    return await write(state)


_beside = StateGraph(MessagesState)
for name, node in {"research": research_first, "write": write_beside}.items():
    _beside.add_node(name, node)
    _beside.add_edge(START, name)
beside = _beside.compile()
