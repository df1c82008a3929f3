"""Graphs for tests that ask people: LangChain's two forms of approval, questions, pauses, and tools without any.

The tool ``send`` writes a line into the file that it is told, so that it can be counted across processes.
"""

import asyncio
import json
import operator
from pathlib import Path
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send, interrupt
from pydantic import BaseModel, Field

from core.agents.demo import DemoChatModel


@tool
def send(to: str, file: str, copies: int = 1) -> str:
    """Send something to somebody."""
    with Path(file).open("a", encoding="utf-8") as out:
        out.write(f"{to} {copies}\n")
    return f"sent to {to}"


@tool
def look(file: str) -> str:
    """Look something up."""
    with Path(file).open("a", encoding="utf-8") as out:
        out.write("looked\n")
    return "looked"


_model = DemoChatModel(tokens_per_second=0)
_gated = {"send": True}
per_call = create_agent(
    _model, [send, look], middleware=[HumanInTheLoopMiddleware(_gated, interrupt_mode="per_call")]
)
batched = create_agent(_model, [send, look], middleware=[HumanInTheLoopMiddleware(_gated)])


def _said(state: Any) -> str:
    return next(m.text for m in reversed(state["messages"]) if isinstance(m, HumanMessage))


def _call_all(state: MessagesState) -> dict[str, Any]:
    """Calls the tools that the message lists as JSON: [[name, arguments], ...], all at once."""
    if isinstance(state["messages"][-1], ToolMessage):
        results = [m.text for m in state["messages"] if isinstance(m, ToolMessage)]
        return {"messages": [AIMessage(" / ".join(results))]}
    calls = [
        {"name": name, "args": args, "id": f"call_{place}"}
        for place, (name, args) in enumerate(json.loads(_said(state)))
    ]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def _next(state: MessagesState) -> str:
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


_ungated = (
    StateGraph(MessagesState)
    .add_node("model", _call_all)
    .add_node("tools", ToolNode([send, look]))
    .add_edge(START, "model")
    .add_conditional_edges("model", _next)
    .add_edge("tools", "model")
)
ungated = _ungated
paused = _ungated.compile(interrupt_before=["tools"])


class Wish(BaseModel):
    """What somebody wishes."""

    name: str
    count: int = Field(ge=1)


def _question(state: MessagesState) -> dict[str, Any]:
    answer = interrupt({"question": f"Which one, for {_said(state)}?", "options": ["red", "green"]})
    return {"messages": [AIMessage(f"You chose {answer}.")]}


def _wish(state: MessagesState) -> dict[str, Any]:
    wish = interrupt("What do you wish?", response_schema=Wish)
    return {"messages": [AIMessage(f"{wish.count} of {wish.name}.")]}


question = StateGraph(MessagesState).add_node("ask", _question).add_edge(START, "ask").add_edge("ask", END)
wish = StateGraph(MessagesState).add_node("ask", _wish).add_edge(START, "ask").add_edge("ask", END)


class Several(MessagesState):
    answers: Annotated[list[str], operator.add]


def _one(state: dict[str, Any]) -> dict[str, Any]:
    return {"answers": [f"{state['of']}={interrupt({'question': state['of']})}"]}


def _sum_up(state: Several) -> dict[str, Any]:
    return {"messages": [AIMessage(", ".join(sorted(state["answers"])))]}


several = (
    StateGraph(Several)
    .add_node("one", _one)
    .add_node("sum_up", _sum_up)
    .add_conditional_edges(START, lambda _: [Send("one", {"of": name}) for name in ("a", "b", "c")], ["one"])
    .add_edge("one", "sum_up")
    .add_edge("sum_up", END)
)


def _first(state: MessagesState) -> dict[str, Any]:
    name = interrupt({"question": "your name?"})
    age = interrupt({"question": f"your age, {name}?"})
    return {"messages": [AIMessage(f"{name} is {age}.")]}


twice = StateGraph(MessagesState).add_node("first", _first).add_edge(START, "first").add_edge("first", END)


_inner = StateGraph(MessagesState).add_node("inner_ask", _question).add_edge(START, "inner_ask").compile()
nested = StateGraph(MessagesState).add_node("inner", _inner).add_edge(START, "inner").add_edge("inner", END)


_TOOLS = {"send": send, "look": look}


def _loop(state: MessagesState) -> dict[str, Any]:
    """Calls tools by itself, one after the other, as graphs without a ToolNode do."""
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return {
        "messages": [
            ToolMessage(_TOOLS[call["name"]].invoke(call["args"]), tool_call_id=call["id"]) for call in calls
        ]
    }


def _begun_before(file: str) -> bool:
    marker = Path(f"{file}.begun")
    known = marker.exists()
    marker.touch()
    return known


async def _side_by_side(state: MessagesState) -> dict[str, Any]:
    """Calls its tools at once, in another order each time that it begins anew."""
    last = state["messages"][-1]
    calls = list(last.tool_calls) if isinstance(last, AIMessage) else []
    if _begun_before(calls[0]["args"]["file"]):
        calls.reverse()

    async def call(one: Any) -> ToolMessage:
        return ToolMessage(await _TOOLS[one["name"]].ainvoke(one["args"]), tool_call_id=one["id"])

    # All have ended by then: one that is refused takes no other with it.
    said = await asyncio.gather(*(call(one) for one in calls), return_exceptions=True)
    for one in said:
        if isinstance(one, BaseException):
            raise one
    return {"messages": said}


def _same_id(state: MessagesState) -> dict[str, Any]:
    update = _call_all(state)
    for message in update["messages"]:
        for call in message.tool_calls:
            call["id"] = "same"
    return update


def _with_tools(tools: Any, model: Any = _call_all) -> Any:
    return (
        StateGraph(MessagesState)
        .add_node("model", model)
        .add_node("tools", tools)
        .add_edge(START, "model")
        .add_conditional_edges("model", _next)
        .add_edge("tools", "model")
    )


looping = _with_tools(_loop)
side_by_side = _with_tools(_side_by_side)
same_id = _with_tools(ToolNode([send, look]), _same_id)


class Odd(MessagesState):
    tool_call: dict[str, Any]


odd = (
    StateGraph(Odd)
    .add_node("one", lambda _: {"tool_call": {"id": "1", "name": "send", "args": '{"x": 1}'}})
    .add_node("two", lambda _: {"messages": [AIMessage("fine")]})
    .add_edge(START, "one")
    .add_edge("one", "two")
    .add_edge("two", END)
)
