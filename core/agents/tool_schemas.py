"""The tools of a graph, and what arguments each takes, as the model that calls them is told.

Invariant: a tool whose schema cannot be read is named all the same, with a schema that takes anything.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langgraph.prebuilt import ToolNode
from langgraph.pregel import Pregel

Graph = Pregel[Any, Any, Any, Any]


def list_tools(graph: Graph) -> dict[str, dict[str, Any]]:
    """The JSON schema of each tool's arguments, by name, of every ToolNode in the graph and the graphs within."""
    nodes = [node for _, node in _tool_nodes(graph, set())]
    return {name: _schema(tool) for node in nodes for name, tool in node.tools_by_name.items()}


def list_tool_nodes(graph: Graph) -> frozenset[str]:
    """The names of the nodes, in the graph and the graphs within, that are a ToolNode."""
    return frozenset(name for name, _ in _tool_nodes(graph, set()))


def _tool_nodes(graph: Graph, seen: set[int]) -> Iterator[tuple[str, ToolNode]]:
    if id(graph) in seen:
        return
    seen.add(id(graph))
    for name, node in graph.nodes.items():
        yield from _within(name, node.bound, seen)
        for inner in node.subgraphs or ():
            yield from _within(name, inner, seen)


def _within(name: str, runnable: Any, seen: set[int]) -> Iterator[tuple[str, ToolNode]]:
    if isinstance(runnable, ToolNode):
        yield name, runnable
    elif isinstance(runnable, Pregel):
        yield from _tool_nodes(runnable, seen)
    else:
        steps = getattr(runnable, "steps", None)
        parts = list(steps) if isinstance(steps, Sequence) else [getattr(runnable, "bound", None)]
        for part in parts:
            if part is not None:
                yield from _within(name, part, seen)


def _schema(tool: BaseTool) -> dict[str, Any]:
    try:
        told: Any = tool.tool_call_schema
        return dict(told if isinstance(told, dict) else told.model_json_schema())
    except Exception:  # noqa: BLE001 - a team's own schema may raise anything
        return {"type": "object"}
