"""A LangGraph program of any age: ``program.py FOLDER`` keeps there what the LangGraph that runs it stores.

That is VERSION.zip, with a SQLite file as SQL, and what its own ``get_state_history`` says of each thread. Those
beside this file were written so, each in a virtual environment with nothing else in it:

    langgraph==0.1.19
    langgraph==0.2.0 langgraph-checkpoint-sqlite==1.0.0
    langgraph==0.2.76 langgraph-checkpoint-sqlite==2.0.11
    langgraph==1.0.10 langgraph-checkpoint-sqlite==3.0.3
"""

import json
import operator
import sqlite3
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

try:
    from langgraph.types import Send, interrupt
except ImportError:
    from langgraph.constants import Send

    interrupt = None


class Chat(TypedDict, total=False):
    dialogue: Annotated[list, operator.add]
    done: Annotated[list, operator.add]


def say(state: Chat) -> Chat:
    return {"dialogue": [AIMessage("Hello."), {"role": "assistant", "content": [{"type": "text", "text": "And?"}]}]}


def fan(state: Chat) -> list[Any]:
    return [Send("work", {"done": [number]}) for number in range(2)]


def mark(name: str) -> Any:
    return lambda state: {"done": [name]}


def ask(state: Chat) -> Chat:
    return {"done": [interrupt({"question": "May I?"})]}


def graph_of(nodes: dict[str, Any], edges: list[tuple[Any, str]], saver: Any, **more: Any) -> Any:
    graph = StateGraph(Chat)
    for name, node in nodes.items():
        graph.add_node(name, node)
    for start, end in edges:
        graph.add_edge(start, end)
    if "work" in nodes:
        graph.add_conditional_edges("say", fan, ["work"])
    return graph.compile(checkpointer=saver, **more)


def plain(value: Any) -> Any:
    if isinstance(value, BaseMessage):
        return {"type": value.type, "content": value.content}
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else value


def history(graph: Any, thread_id: str) -> list[dict[str, Any]]:
    states = []
    for state in graph.get_state_history({"configurable": {"thread_id": thread_id}}):
        own = state.config["configurable"]
        metadata = state.metadata or {}
        states.append(
            {
                "id": own.get("checkpoint_id") or own["thread_ts"],
                "values": plain(state.values),
                "next": sorted(set(state.next)),
                "step": metadata.get("step"),
                "source": metadata.get("source"),
                "asks": [task.name for task in getattr(state, "tasks", ()) if task.interrupts],
            }
        )
    return states


def main(folder: Path) -> None:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    saver = SqliteSaver(connection)
    names = ("work", "a", "b", "join")
    nodes = {"say": say, **{name: mark(name) for name in names}}
    edges = [(START, "say"), ("work", "a"), ("work", "b"), (["a", "b"], "join"), ("join", END)]
    chat = graph_of(nodes, edges, saver)
    told = {}
    for text in ("one", "two"):
        given = {"dialogue": [("user", text)]}
        chat.invoke(given, {"configurable": {"thread_id": "chat"}})
    told["chat"] = history(chat, "chat")
    line = [(START, "say"), ("say", "last"), ("last", END)]
    stopped = graph_of({"say": say, "last": mark("last")}, line, saver, interrupt_before=["last"])
    stopped.invoke({"dialogue": [("user", "stop")]}, {"configurable": {"thread_id": "stopped"}})
    told["stopped"] = history(stopped, "stopped")
    if interrupt:
        line = [(START, "say"), ("say", "ask"), ("ask", END)]
        asking = graph_of({"say": say, "ask": ask}, line, saver)
        asking.invoke({"dialogue": [("user", "ask")]}, {"configurable": {"thread_id": "asks"}})
        told["asks"] = history(asking, "asks")
    with zipfile.ZipFile(
        folder / f"{version('langgraph')}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9
    ) as kept:
        kept.writestr("history.json", json.dumps(told))
        kept.writestr("file.sql", "\n".join(connection.iterdump()))


main(Path(sys.argv[1]))
