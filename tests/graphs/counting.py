"""A graph that needs no server, whose state tells its whole lineage, for tests of the tree of messages.

``trail`` and ``messages`` are reducers, ``count`` is plain, and ``hint`` is private to the two nodes; each answer
is made of what they found there, so that nothing that was inherited wrongly, or not at all, goes unseen. What a
node does besides is said by the first word of the message: it fails ``early`` or ``late``, ``asks`` a person,
``hangs``, or ``calls`` a model; when the text is among the ``MENDED`` it simply answers.
"""

import asyncio
import operator
import threading
from typing import Annotated, Any

from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

MENDED: set[str] = set()
ENTERED: dict[str, threading.Event] = {}


class BrokenError(Exception):
    """What the nodes fail with."""


class State(MessagesState):
    trail: Annotated[list[str], operator.add]
    count: int


class Private(State):
    hint: str


def _asked(state: Private) -> tuple[str, str]:
    """The message to answer, and what to do about it."""
    text = next(m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
    return text, "" if text in MENDED else text.split()[0]


async def _one(state: Private) -> dict[str, Any]:
    text, what = _asked(state)
    if what == "early":
        raise BrokenError(what)
    count = state.get("count", 0) + 1
    hint = f"{state.get('hint', '')}<{text}"
    return {"trail": [f"one {text}"], "count": count, "hint": hint, "messages": [AIMessage(f"one {count}")]}


async def _two(state: Private) -> dict[str, Any]:
    text, what = _asked(state)
    answer = f"two {state['trail']} {state['count']} {state['hint']}"
    if what == "late":
        raise BrokenError(what)
    if what == "asks":
        interrupt("may I?")
    if what == "hangs":
        ENTERED.setdefault(text, threading.Event()).set()
        await asyncio.sleep(60)
    said = AIMessage(answer)
    if what == "calls":
        said = await FakeListChatModel(responses=[answer]).ainvoke(state["messages"])
    return {"trail": [f"two {text}"], "messages": [said]}


counting = (
    StateGraph(State)
    .add_node("one", _one, input_schema=Private)
    .add_node("two", _two, input_schema=Private)
    .add_edge(START, "one")
    .add_edge("one", "two")
)
