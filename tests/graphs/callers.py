"""A graph that calls models in every way a graph can: nested, in parallel, in tools, threads, batches, fallbacks.

Each prompt carries the ``nonce:...`` of the message it answers, so that a test can say whose call it must be.
"""

import asyncio
import contextlib
import contextvars
import operator
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, TypedDict

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import get_runtime
from langgraph.types import Send

from core.agents.models import ChatModels

BARE = ThreadPoolExecutor(4, thread_name_prefix="bare")


@dataclass(frozen=True)
class Context:
    chat_models: ChatModels


class State(MessagesState):
    notes: Annotated[list[str], operator.add]


class Part(TypedDict):
    nonce: str
    number: int


def nonce_of(state: Any) -> str:
    text = next(m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage))
    return (re.search(r"nonce:\w+", text) or [""])[0]


def _model() -> Any:
    return get_runtime(Context).context.chat_models.get()


async def _plan(state: State) -> dict[str, Any]:
    await _model().ainvoke(f"plan {nonce_of(state)}")
    call = {"name": "consult", "args": {"question": nonce_of(state)}, "id": f"call-{len(state['messages'])}"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


@tool
def consult(question: str) -> str:
    """Ask a model from inside a synchronous tool, which runs in a thread."""
    return str(_model().invoke(f"tool {question}").text)


def _split(state: State) -> list[Send]:
    return [Send("work", {"nonce": nonce_of(state), "number": number}) for number in range(3)]


async def _work(part: Part) -> dict[str, Any]:
    prompt = f"work {part['number']} {part['nonce']}"
    answers = await _model().abatch([prompt + " a", prompt + " b"])
    return {"notes": [answer.text for answer in answers]}


async def _deepest(state: State) -> dict[str, Any]:
    async for _chunk in _model().astream(f"deepest {nonce_of(state)}"):
        pass
    return {}


def _threads(state: State) -> dict[str, Any]:
    """A sync node: LangChain's batch threads keep the context, a bare pool loses it, a copied one keeps it."""
    model, nonce = _model(), nonce_of(state)
    model.batch([f"batch 1 {nonce}", f"batch 2 {nonce}"])
    copied = contextvars.copy_context()
    BARE.submit(copied.run, model.invoke, f"copied {nonce}").result()
    BARE.submit(model.invoke, f"bare {nonce}").result()
    return {}


async def _fall_back(state: State) -> dict[str, Any]:
    model, nonce = _model(), nonce_of(state)
    failing = model.bind(stop=["refuse-me"])
    await failing.with_fallbacks([model]).ainvoke(f"fallback {nonce}")
    await model.with_retry(stop_after_attempt=3, wait_exponential_jitter=False).ainvoke(f"retry {nonce}")
    await asyncio.to_thread(model.invoke, f"to_thread {nonce}")
    return {}


async def _answer(state: State) -> dict[str, Any]:
    # A graph may write what it likes into LangGraph's own key: ours goes before it.
    config: Any = {"metadata": {"thread_id": "thread_0000000000000_000000000000"}}
    return {"messages": [await _model().ainvoke(f"answer {nonce_of(state)}", config)]}


_inner = StateGraph(State, context_schema=Context).add_node("deepest", _deepest).add_edge(START, "deepest")
_outer = StateGraph(State, context_schema=Context).add_node("inner", _inner.compile()).add_edge(START, "inner")

callers = (
    StateGraph(State, context_schema=Context)
    .add_node("plan", _plan)
    .add_node("tools", ToolNode([consult]))
    .add_node("work", _work)
    .add_node("researcher", _outer.compile())
    .add_node("threads", _threads)
    .add_node("fall_back", _fall_back)
    .add_node("answer", _answer)
    .add_edge(START, "plan")
    .add_edge("plan", "tools")
    .add_conditional_edges("tools", _split, ["work"])
    .add_edge("work", "researcher")
    .add_edge("researcher", "threads")
    .add_edge("threads", "fall_back")
    .add_edge("fall_back", "answer")
    .add_edge("answer", END)
)

# What a run of ``callers`` calls when nothing fails: prompts by their first words, with the node they come from.
CALLS = {
    "plan": "plan",
    "tool": "tools",
    "work 0": "work",
    "work 1": "work",
    "work 2": "work",
    "deepest": "deepest",
    "batch 1": "threads",
    "batch 2": "threads",
    "copied": "threads",
    "bare": None,
    "fallback": "fall_back",
    "retry": "fall_back",
    "to_thread": "fall_back",
    "answer": "answer",
}


def _left_behind(state: State) -> dict[str, Any]:
    """A sync node whose run is stopped: its call goes on in its thread, and reports its end itself."""
    _model().invoke(f"left behind {nonce_of(state)}")
    return {"messages": [AIMessage("never shown")]}


left_behind = StateGraph(State, context_schema=Context).add_node("slow", _left_behind).add_edge(START, "slow")


async def _given_up(state: State) -> dict[str, Any]:
    """A call that its own node gives up: neither its end nor an error is ever reported."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(_model().ainvoke(f"given up {nonce_of(state)}"), 0.05)
    return {"messages": [AIMessage("went on without it")]}


given_up = StateGraph(State, context_schema=Context).add_node("hasty", _given_up).add_edge(START, "hasty")


class _Listener(BaseCallbackHandler):
    """What a tracing integration brings along."""


async def _traced(state: State) -> dict[str, Any]:
    """Callbacks and metadata of its own, in both ways in which a graph can give them."""
    model, nonce = _model(), nonce_of(state)
    await model.ainvoke(f"own config {nonce}", {"callbacks": [_Listener()], "metadata": {"a": 1}})
    bound = model.with_config(callbacks=[_Listener()], metadata={"b": 2})
    return {"messages": [await bound.ainvoke(f"bound config {nonce}")]}


traced = StateGraph(State, context_schema=Context).add_node("trace", _traced).add_edge(START, "trace")
