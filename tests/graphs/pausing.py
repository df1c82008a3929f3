"""Graphs that ask in the older form, pause by themselves or as they were compiled, or ask beside other tools."""

import operator
import warnings
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.errors import NodeInterrupt
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt

_ALL = ("allow_ignore", "allow_respond", "allow_edit", "allow_accept")


def request(action: str, *allowed: str, **args: Any) -> dict[str, Any]:
    """One request in the older form."""
    return {
        "action_request": {"action": action, "args": args},
        "config": {name: name in allowed for name in _ALL},
        "description": "# Send this?\n\nIt goes to **everybody**: <b>look</b> twice.",
    }


def _one_by_one(*nodes: Any, state: Any = MessagesState) -> StateGraph[Any]:
    """A graph of these nodes in a row, each named by its function."""
    graph: StateGraph[Any] = StateGraph(state)
    names = [node.__name__ for node in nodes]
    for name, node in zip(names, nodes, strict=True):
        graph.add_node(name, node)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph


def _ask_one(state: MessagesState) -> dict[str, Any]:
    given = interrupt(request("send_mail", *_ALL, to="a@example.org", copies=1))
    return {"messages": [AIMessage(repr(given))]}


def _ask_two(state: MessagesState) -> dict[str, Any]:
    given = interrupt([request("send_mail", *_ALL, to="a@example.org"), request("delete_mail", *_ALL, number=7)])
    return {"messages": [AIMessage(repr(given))]}


def _ask_narrowly(state: MessagesState) -> dict[str, Any]:
    given = interrupt([request("send_mail", "allow_accept", "allow_respond", to="a@example.org")])
    return {"messages": [AIMessage(repr(given))]}


inbox_one = _one_by_one(_ask_one)
inbox_two = _one_by_one(_ask_two)
inbox_narrow = _one_by_one(_ask_narrowly)


class Notes(MessagesState):
    topic: str
    count: int
    log: Annotated[list[str], operator.add]


def choose(state: Notes) -> dict[str, Any]:
    return {"topic": state["messages"][-1].text, "count": 1, "log": ["chose"]}


def write(state: Notes) -> dict[str, Any]:
    return {"messages": [AIMessage(f"{state['count']} of {state['topic']}")], "log": [f"wrote {state['topic']}"]}


before = _one_by_one(choose, write, state=Notes).compile(interrupt_before=["write"])
after = _one_by_one(choose, write, state=Notes).compile(interrupt_after=["choose"])


def require_short(state: Notes) -> dict[str, Any]:
    """Pauses by itself, as graphs did before there was `interrupt`."""
    if len(state["topic"]) > 5:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raise NodeInterrupt(f"The topic has {len(state['topic'])} letters.")
    return {"log": ["was short"]}


node_interrupt = _one_by_one(choose, require_short, write, state=Notes)


def _lamed(name: str) -> Any:
    def node(state: Notes) -> dict[str, Any]:
        if state["count"] == 1:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                raise NodeInterrupt({"question": f"{name} is stuck"})
        return {"log": [name]}

    return node


two_node_interrupts = (
    StateGraph(Notes)
    .add_node("choose", choose)
    .add_node("left", _lamed("left"))
    .add_node("right", _lamed("right"))
    .add_node("write", write)
    .add_edge(START, "choose")
    .add_edge("choose", "left")
    .add_edge("choose", "right")
    .add_edge(["left", "right"], "write")
    .add_edge("write", END)
)


@tool
def count(file: str) -> str:
    """Write a line into a file."""
    with Path(file).open("a", encoding="utf-8") as out:
        out.write("counted\n")
    return "counted"


@tool
def confirm(file: str) -> str:
    """Ask a person, once the others have begun."""
    return f"confirmed: {interrupt({'question': 'Go on?'})}"


def call_both(state: MessagesState) -> dict[str, Any]:
    if isinstance(state["messages"][-1], ToolMessage):
        return {
            "messages": [AIMessage(" / ".join(m.text for m in state["messages"] if isinstance(m, ToolMessage)))]
        }
    file = {"file": state["messages"][-1].text}
    calls = [{"name": name, "args": file, "id": f"call_{name}"} for name in ("count", "confirm")]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def _next(state: MessagesState) -> str:
    last = state["messages"][-1]
    return "tools" if isinstance(last, AIMessage) and last.tool_calls else END


def _calling(tools: Any) -> StateGraph[Any]:
    return (
        StateGraph(MessagesState)
        .add_node("call_both", call_both)
        .add_node("tools", tools)
        .add_edge(START, "call_both")
        .add_conditional_edges("call_both", _next)
        .add_edge("tools", "call_both")
    )


def each_in_turn(state: MessagesState) -> dict[str, Any]:
    """Calls the tools by itself, one after the other."""
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    tools = {"count": count, "confirm": confirm}
    return {"messages": [ToolMessage(tools[c["name"]].invoke(c["args"]), tool_call_id=c["id"]) for c in calls]}


siblings = _calling(each_in_turn)
tool_node = _calling(ToolNode([count, confirm]))
inner_tools = StateGraph(MessagesState).add_node("inner", _calling(ToolNode([count, confirm])).compile())
inner_tools.add_edge(START, "inner").add_edge("inner", END)
