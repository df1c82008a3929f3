"""Graphs for tests of pages: several tool calls at once, hostile arguments, and a question like no other."""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

_SCHEMA = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "title": "Query", "minLength": 3},
        "limit": {"type": "integer", "title": "Limit", "maximum": 100},
    },
    "required": ["query"],
}


def _review(state: MessagesState) -> dict[str, Any]:
    """Asks about as many calls as the message says, and tells what was decided about each."""
    many = int(state["messages"][-1].text.split()[-1])
    answer = interrupt(
        {
            "action_requests": [
                {"name": f"look_up_{n}", "args": {"query": f"tea {n}", "limit": n}} for n in range(many)
            ],
            "review_configs": [
                {
                    "action_name": f"look_up_{n}",
                    "allowed_decisions": ["approve", "edit", "reject"],
                    "args_schema": _SCHEMA,
                }
                for n in range(many)
            ],
        }
    )
    told = [": ".join(filter(None, (one["type"], one.get("message")))) for one in answer["decisions"]]
    return {"messages": [AIMessage(", ".join(told))]}


HOSTILE = {
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "markdown": "![pixel](https://example.org/p.png) [click](javascript:alert(1)) :red[done] $x$",
    "<b>name</b>": "</dd></dl><script>alert(2)</script>",
    "control": "bell \x07 reversed \u202egnp.exe hidden \u200b end",
    "long": "x" * 2_000_000,
    "many": list(range(50_000)),
}


def _hostile(state: MessagesState) -> dict[str, Any]:
    request = {"name": "run_<b>it</b>", "args": HOSTILE, "description": "<script>alert(3)</script> ![pixel](x)"}
    config = {"action_name": "run_<b>it</b>", "allowed_decisions": ["approve", "edit", "reject"]}
    interrupt({"action_requests": [request], "review_configs": [config]})
    return {"messages": [AIMessage("done")]}


def _odd(state: MessagesState) -> dict[str, Any]:
    return {"messages": [AIMessage(str(interrupt([{"depth": 1}, ["of", "anything"]])))]}


def _graph(node: Any) -> Any:
    return StateGraph(MessagesState).add_node("ask", node).add_edge(START, "ask").add_edge("ask", END)


reviewed, hostile, odd = _graph(_review), _graph(_hostile), _graph(_odd)
