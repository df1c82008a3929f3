"""Graphs for tests: one that shows every kind of event, and small ones that fail, block, exit or count."""

import asyncio
import operator
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import interrupt

from core.agents.models import ChatModels

# What the graphs did and wait for, by the text of the message; the tests run in the same process.
RAN: Counter[tuple[str, str]] = Counter()
SEEN: dict[str, list[AnyMessage]] = {}
GATES: dict[str, threading.Event] = {}
ENTERED: dict[str, threading.Event] = {}


class BrokenError(Exception):
    """What the graphs here fail with."""


@dataclass(frozen=True)
class Context:
    chat_models: ChatModels


class State(MessagesState):
    notes: Annotated[list[str], operator.add]


def _text(state: Any) -> str:
    return next(m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage))


async def _say(state: Any, runtime: Runtime[Context]) -> dict[str, Any]:
    SEEN[_text(state)] = list(state["messages"])
    return {"messages": [await runtime.context.chat_models.get().ainvoke(state["messages"])]}


async def _talk(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    return {"messages": [await runtime.context.chat_models.get().ainvoke(_text(state))]}


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


async def _call(state: State) -> dict[str, Any]:
    call = {"name": "look_up", "args": {"query": "tea"}, "id": f"call-{len(state['messages'])}"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


async def _inner(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    runtime.stream_writer({"inner": "half\0way", "odd": float("nan"), "raw": b"\xff"})
    await runtime.context.chat_models.get().ainvoke([HumanMessage("3 tokens")])
    return {"notes": ["inner"]}


async def _beside(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    runtime.stream_writer("beside")
    return {"notes": ["beside"]}


def _announce(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("Said without a model.")]}


def _ask(state: State) -> dict[str, Any]:
    return {"notes": [str(interrupt({"question": "may I?"}))]} if "ask" in _text(state) else {}


def _fail(state: State) -> dict[str, Any]:
    if "fail" in _text(state):
        raise BrokenError("this was meant to break")
    return {}


_nested = StateGraph(State, context_schema=Context).add_node("inner", _inner).add_edge(START, "inner")

showcase = (
    StateGraph(State, context_schema=Context)
    .add_node("call", _call)
    .add_node("tools", ToolNode([look_up]))
    .add_node("nested", _nested.compile())
    .add_node("beside", _beside)
    .add_node("talk", _talk)
    .add_node("announce", _announce)
    .add_node("ask", _ask)
    .add_node("break", _fail)
    .add_edge(START, "call")
    .add_edge("call", "tools")
    .add_edge("tools", "nested")
    .add_edge("tools", "beside")
    .add_edge(["nested", "beside"], "talk")
    .add_edge("talk", "announce")
    .add_edge("announce", "ask")
    .add_edge("ask", "break")
    .add_edge("break", END)
)

echo = StateGraph(State, context_schema=Context).add_node("say", _say).add_edge(START, "say")


def _sibling(state: State) -> dict[str, Any]:
    RAN[_text(state), "sibling"] += 1
    return {"notes": ["sibling"]}


async def _fails_once(state: State) -> dict[str, Any]:
    text = _text(state)
    RAN[text, "fails_once"] += 1
    while not RAN[text, "sibling"]:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    if RAN[text, "fails_once"] == 1:
        raise BrokenError("only the first time")
    return {"messages": [AIMessage("better now")]}


once = (
    StateGraph(State)
    .add_node("sibling", _sibling)
    .add_node("fails_once", _fails_once)
    .add_edge(START, "sibling")
    .add_edge(START, "fails_once")
)


def _first_half(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("the first half")]}


def _second_half(state: State) -> dict[str, Any]:
    RAN[_text(state), "second_half"] += 1
    if RAN[_text(state), "second_half"] == 1:
        raise BrokenError("only the first time")
    return {"messages": [AIMessage("the second half")]}


halves = (
    StateGraph(State)
    .add_node("first_half", _first_half)
    .add_node("second_half", _second_half)
    .add_edge(START, "first_half")
    .add_edge("first_half", "second_half")
)


def _block(state: State) -> dict[str, Any]:
    time.sleep(float(_text(state)))
    return {"messages": [AIMessage("woke up")]}


blocking = StateGraph(State).add_node("block", _block).add_edge(START, "block")


async def _held(state: State) -> dict[str, Any]:
    """Waits, silently, until the test opens the gate that is named by the message."""
    text = _text(state)
    RAN[text, "held"] += 1
    ENTERED.setdefault(text, threading.Event()).set()
    while not GATES.setdefault(text, threading.Event()).is_set():
        await asyncio.sleep(0.005)
    return {"messages": [AIMessage(f"through {text}")]}


def _onward(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("and onward")]}


onward = (
    StateGraph(State)
    .add_node("held", _held)
    .add_node("onward", _onward)
    .add_edge(START, "held")
    .add_edge("held", "onward")
)

held = StateGraph(State).add_node("held", _held).add_edge(START, "held")


async def _exit(state: State) -> dict[str, Any]:
    raise SystemExit(3)


exiting = StateGraph(State).add_node("exit", _exit).add_edge(START, "exit")


async def _open_call(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("Let me look.", tool_calls=[{"name": "slow", "args": {}, "id": "open-call"}])]}


async def _slow_tool(state: State) -> dict[str, Any]:
    ENTERED.setdefault(_text(state), threading.Event()).set()
    await asyncio.sleep(60)
    return {}


dangling = (
    StateGraph(State)
    .add_node("open_call", _open_call)
    .add_node("tools", _slow_tool)
    .add_edge(START, "open_call")
    .add_edge("open_call", "tools")
)


async def _two_voices(state: State, runtime: Runtime[Context], config: RunnableConfig) -> dict[str, Any]:
    model = runtime.context.chat_models.get()
    return {"messages": list(await asyncio.gather(model.ainvoke("20 tokens"), model.ainvoke("长回答")))}


voices = StateGraph(State, context_schema=Context).add_node("both", _two_voices).add_edge(START, "both")


async def _speak(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Do what the message's first word says, but only the first time that it is said."""
    text = _text(state)
    what = text.split()[0] if not RAN[text, "speak"] else "done"
    RAN[text, "speak"] += 1
    SEEN[text] = list(state["messages"])
    if what == "early":
        raise BrokenError(what)
    answer = await runtime.context.chat_models.get().ainvoke("3 tokens")
    if what == "half":
        raise BrokenError(what)
    if what == "hangs":
        await asyncio.sleep(60)
    if what == "calls":
        answer = answer.model_copy(update={"tool_calls": [{"name": "look_up", "args": {}, "id": f"call {text}"}]})
    return {"messages": [answer]}


async def _after_speaking(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    text = _text(state)
    if text.split()[0] in {"late", "calls", "later"} and not RAN[text, "after"]:
        RAN[text, "after"] += 1
        if text.startswith("later"):
            await runtime.context.chat_models.get().ainvoke("2 tokens")
        raise BrokenError("after")
    if text.startswith("calls"):
        return {"messages": [ToolMessage("found", tool_call_id=f"call {text}"), AIMessage("So it was found.")]}
    return {}


script = (
    StateGraph(State, context_schema=Context)
    .add_node("speak", _speak)
    .add_node("after", _after_speaking)
    .add_edge(START, "speak")
    .add_edge("speak", "after")
)


async def _stubborn(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    """Swallows one cancellation and goes on to speak, as ``asyncio.wait_for`` of Python 3.11 may do."""
    model = runtime.context.chat_models.get()
    try:
        await model.ainvoke("write 2000 tokens")
    except asyncio.CancelledError:
        RAN[_text(state), "swallowed"] += 1
    return {"messages": [await model.ainvoke("write 2000 tokens")]}


stubborn = StateGraph(State, context_schema=Context).add_node("speak", _stubborn).add_edge(START, "speak")


async def _remember(state: MessagesState, runtime: Runtime) -> dict[str, Any]:
    """Keeps what was said in the store, for all threads, and says all of it."""
    text = state["messages"][-1].text
    await runtime.store.aput(("said",), text, {"text": text})
    kept = await runtime.store.asearch(("said",))
    return {"messages": [AIMessage(str(sorted(item.key for item in kept)))]}


remembers = StateGraph(MessagesState).add_node("remember", _remember).add_edge(START, "remember")


HOLDING: dict[str, threading.Event] = {}
HELD: set[str] = set()


def _hold_on(state: MessagesState) -> dict[str, Any]:
    """A plain function that goes on until the test lets it end, whatever becomes of its run."""
    text = state["messages"][-1].text
    HELD.add(text)
    HOLDING[text].wait(30)
    return {"messages": [AIMessage("held")]}


holding = StateGraph(MessagesState).add_node("hold", _hold_on).add_edge(START, "hold")
