"""A LangGraph program that knows nothing of Skein: it writes a SQLite file and leaves (``<file> [crash]``).

Its own classes stand in its states: dataclass, pydantic, enum, and messages; a subgraph; a DeltaChannel; a fork by
``update_state``; a question that waits; and a thread whose values are pickled.
"""

import operator
import os
import sqlite3
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send, interrupt
from pydantic import BaseModel

# Whoever imports this program to read its data betrays itself here.
if len(sys.argv) < 2 or not sys.argv[0].endswith("foreign_program.py"):
    raise RuntimeError("a stranger's program was imported")


class Colour(Enum):
    RED = "red"


@dataclass
class Order:
    number: int
    items: list[str]
    placed_at: datetime


class Customer(BaseModel):
    name: str
    colour: Colour = Colour.RED


class Chat(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    order: Order
    customer: Customer
    done: Annotated[list[str], operator.add]


def join(lines: list[AnyMessage], added: list[list[AnyMessage]]) -> list[AnyMessage]:
    return [*lines, *(line for some in added for line in some)]


class Log(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], DeltaChannel(join, snapshot_frequency=100)]


def answer(state: Chat) -> Chat:
    said = state["messages"][-1].content
    return {
        "messages": [AIMessage(f"You said: {said}")],
        "order": Order(7, ["tea", "茶"], datetime(2026, 1, 2, tzinfo=UTC)),
        "customer": Customer(name="Ada"),
    }


def inner_step(state: Chat) -> Chat:
    return {"done": ["inner"]}


def fan(state: Chat) -> list[Send]:
    return [Send("work", {"done": [f"to do {number}"]}) for number in range(2)]


def work(state: Chat) -> Chat:
    return {"done": ["worked"]}


def ask(state: Chat) -> Chat:
    return {"done": [interrupt({"question": "May I?", "order": 7})]}


def append(state: Log) -> Log:
    return {"messages": [AIMessage(f"logged {len(state['messages'])}")]}


class Unpackable:
    """Nothing that MessagePack knows, so that it is pickled."""

    def __reduce__(self) -> Any:
        return (os.system, ("touch pickle-was-loaded",))


def hold(state: dict[str, Any]) -> dict[str, Any]:
    return {"thing": Unpackable()}


def of_chat(saver: SqliteSaver) -> Any:
    inner = StateGraph(Chat).add_node("inner_step", inner_step).add_edge(START, "inner_step").compile()
    graph = StateGraph(Chat)
    for name, node in {"answer": answer, "sub": inner, "work": work, "ask": ask}.items():
        graph.add_node(name, node)
    graph.add_edge(START, "answer").add_edge("answer", "sub")
    graph.add_conditional_edges("sub", fan, ["work"])
    graph.add_edge("work", "ask").add_edge("ask", END)
    return graph.compile(checkpointer=saver)


def write(connection: sqlite3.Connection) -> None:
    saver = SqliteSaver(connection)
    chat = of_chat(saver)
    config = {"configurable": {"thread_id": "chat-1", "user": "ada"}}
    chat.invoke({"messages": [HumanMessage("hello there", id="h1")]}, config)
    after_input = next(state for state in chat.get_state_history(config) if state.next == ("answer",))
    forked = chat.update_state(after_input.config, {"messages": [HumanMessage("你好", id="h1")]})
    chat.invoke(None, forked)

    log = StateGraph(Log).add_node("append", append).add_edge(START, "append").compile(checkpointer=saver)
    for number in range(3):
        log.invoke({"messages": [HumanMessage(f"line {number}")]}, {"configurable": {"thread_id": "delta/日志"}})

    pickling = SqliteSaver(connection, serde=JsonPlusSerializer(pickle_fallback=True))
    plain = StateGraph(dict).add_node("hold", hold).add_edge(START, "hold").compile(checkpointer=pickling)
    plain.invoke({"thing": 1}, {"configurable": {"thread_id": "pickled"}})


def main(path: Path, *, crash: bool) -> None:
    connection = sqlite3.connect(path, check_same_thread=False)
    write(connection)
    if crash:
        os._exit(0)  # what was written still waits in the log
    connection.close()


main(Path(sys.argv[1]), crash=len(sys.argv) > 2)
