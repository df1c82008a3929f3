"""A graph that writes two artifacts, a step each, and may fail or die between an artifact and its checkpoint.

What happens is told by a file: ``fail`` and ``die`` happen at the second step until it is gone, ``die`` as soon as
there is one named ``now`` beside it.
"""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from core.agents.workspace import Workspace
from core.history.artifacts import write_version


@dataclass(frozen=True)
class Context:
    workspace: Workspace


class State(MessagesState):
    task_plan_id: str
    result_artifact_ids: list[str]


async def _write(workspace: Workspace, name: str) -> str:
    ref = await workspace.write(
        lambda db: write_version(
            workspace.viewer,
            db,
            session_id=workspace.session_id,
            kind="result",
            name=name,
            content=name.encode(),
            media_type="text/markdown",
            thread_id=workspace.thread_id,
        )
    )
    return str(ref)


async def _first(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    return {"result_artifact_ids": [await _write(runtime.context.workspace, "first")]}


def _file(state: State) -> Path:
    return Path(next(m.text for m in state["messages"] if isinstance(m, HumanMessage)))


def _told(state: State) -> str:
    told = _file(state)
    return told.read_text() if told.exists() else ""


async def _second(state: State, runtime: Runtime[Context]) -> dict[str, Any]:
    ref = await _write(runtime.context.workspace, "second")
    what = _told(state)
    if what == "fail":
        raise RuntimeError("between an artifact and its checkpoint")
    if what == "die":
        while not _file(state).with_name("now").exists():
            await asyncio.sleep(0.01)
        os._exit(9)
    return {"result_artifact_ids": [*state["result_artifact_ids"], ref], "messages": [AIMessage("Made.")]}


making = (
    StateGraph(State, context_schema=Context)
    .add_node("first", _first)
    .add_node("second", _second)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", END)
)
