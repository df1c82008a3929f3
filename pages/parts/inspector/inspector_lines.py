"""What the inspector says of a checkpoint in a line, of a subgraph, and of an event. Pure functions."""

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.checkpoints.inspect import Checkpoint
from core.checkpoints.stored import Namespace
from core.runs.events import Event
from pages.parts.inspector.inspector_values import size
from pages.parts.ui.format import counted, milliseconds
from pages.parts.ui.text import plain, shortened

_MOST_NODES, _LONGEST = 3, 300
START = "__start__"
_SOURCES = {"input": "the message came in", "update": "edited", "fork": "forked"}


def came_about(line: Checkpoint, before: Checkpoint | None, *, is_carried: bool = False) -> str:
    """How a state came about: after which nodes, by the message, by an edit."""
    if is_carried:
        return "carried over"
    if line.source in _SOURCES:
        return "its input came in" if line.ns and line.source == "input" else _SOURCES[line.source]
    follows = before is not None and before.checkpoint_id == line.parent_checkpoint_id
    ran = before.nodes if before is not None and follows else ()
    if nodes := names(ran or _told_by_metadata(line)):
        return "the run began" if nodes == START else f"after {nodes}"
    if before is not None and follows and before.tasks:
        return f"after {counted(len(before.tasks), 'task')}"
    return f"after step {line.step}" if line.step is not None else "a state"


def _told_by_metadata(line: Checkpoint) -> list[str]:
    """The nodes whose writes made a checkpoint, as early versions of LangGraph noted them beside it."""
    written = line.metadata.get("writes")
    return [str(node) for node in written] if isinstance(written, dict) else []


def names(nodes: Sequence[str]) -> str:
    """Nodes by their names, few of many."""
    more = len(nodes) - _MOST_NODES
    return ", ".join(nodes[:_MOST_NODES]) + (f" and {more} more" if more > 0 else "")


def named(node: str) -> str:
    """A node as people read it."""
    return "the first node" if node == START else node


def icon_of(line: Checkpoint, *, is_carried: bool = False) -> str:
    """A checkpoint's sign: what went wrong or waits from there, or how it came about."""
    if line.failed:
        return ":material/error:"
    if line.asks:
        return ":material/front_hand:"
    if is_carried:
        return ":material/subdirectory_arrow_right:"
    known = {"input": ":material/login:", "update": ":material/edit:", "fork": ":material/alt_route:"}
    return known.get(line.source, ":material/radio_button_unchecked:")


def label_of(number: int, line: Checkpoint, before: Checkpoint | None, *, is_carried: bool = False) -> str:
    """A checkpoint in a line of the list."""
    said = came_about(line, before, is_carried=is_carried)
    return f"**{number:,}** · {plain(shortened(said, 30))} · {size(line.size_bytes)}"


def hint_of(line: Checkpoint, tz: ZoneInfo) -> str:
    """What else there is to say of a checkpoint in the list."""
    written = sum(task.writes for task in line.tasks)
    parts = [
        moment(line.created_at, tz),
        _ran_from(line),
        counted(written, "write") if written else "",
        "asks a person" if line.asks else "",
        "failed" if line.failed else "",
    ]
    return plain(" · ".join(part for part in parts if part))


def _ran_from(line: Checkpoint) -> str:
    if line.nodes:
        return f"ran from here: {names(line.nodes)}"
    is_silent = bool(line.tasks) or "writes" in line.metadata  # an early version names no nodes, or keeps no writes
    return "" if is_silent else "nothing was written from here"


def moment(at: datetime | None, tz: ZoneInfo) -> str:
    """A time of day to the millisecond, with its day."""
    if at is None:
        return "at an unknown time"
    local = at.astimezone(tz)
    return f"{local:%d %b, %H:%M:%S}.{local.microsecond // 1_000:03d}"


def graph_label(one: Namespace, number: int = 0) -> str:
    """A graph of a thread: its own, or a subgraph by the nodes that lead to it."""
    path = graph_name(one.ns)
    name = (path + (f" #{number}" if number else "")) if path else "The agent itself"
    return f"{name} · {counted(one.checkpoints, 'state')}"


def graph_name(ns: str) -> str:
    """The nodes that lead to a subgraph; "" for the graph itself."""
    return " › ".join(part.partition(":")[0] for part in str(ns).split("|") if not part.isdigit())


def graph_labels(namespaces: Sequence[Namespace]) -> dict[str, str]:
    """All graphs of a thread, by their namespace; those of one node that was called often have a number."""
    nodes = [graph_label(one).rpartition(" · ")[0] for one in namespaces]
    labels: dict[str, str] = {}
    for place, one in enumerate(namespaces):
        many = nodes.count(nodes[place]) > 1
        labels[one.ns] = graph_label(one, nodes[: place + 1].count(nodes[place]) if many else 0)
    return labels


def describe_event(event: Event) -> str:
    """What happened, in a line."""
    data = event.payload
    if not isinstance(data, dict):
        return str(data)
    describe = _DESCRIBED.get(event.kind)
    return describe(data) if describe else json.dumps(data, ensure_ascii=False)


def _node_line(data: dict[str, Any]) -> str:
    ms = data.get("ms")
    said = data.get("phase", "") + (f" after {milliseconds(ms)}" if isinstance(ms, int | float) else "")
    return said + (f": {data['error']}" if data.get("error") else "")


def _state_line(data: dict[str, Any]) -> str:
    follows = ", ".join(data.get("next") or ()) or "nothing"
    where = f"in {graph_name(data['ns'])}: " if data.get("ns") else ""
    return f"{where}checkpoint {data.get('checkpoint_id', '')}, next {follows}"


def _end_line(data: dict[str, Any]) -> str:
    return " · ".join(str(data[name]) for name in ("status", "finish_reason", "model") if data.get(name))


def _tool_line(data: dict[str, Any]) -> str:
    told = data.get("error") or data.get("result") or data.get("text") or data.get("args") or data.get("name") or ""
    phase = "waits for a person" if data.get("waits") else data.get("phase", "")
    if data.get("error"):
        phase = "failed"
    ms = f" after {milliseconds(data['ms'])}" if isinstance(data.get("ms"), int | float) else ""
    return f"{phase}{ms}: {told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)}"


_DESCRIBED: dict[str, Callable[[dict[str, Any]], str]] = {
    "node": _node_line,
    "state": _state_line,
    "tool": _tool_line,
    "error": lambda data: f"{data.get('type', '')}: {data.get('message', '')}",
    "end": _end_line,
}


def event_row(event: Event) -> dict[str, Any]:
    """An event as a row of the table."""
    return {
        "#": event.seq,
        "ms": event.at_ms,
        "kind": event.kind,
        "node": event.node or "",
        "what": shortened(describe_event(event), _LONGEST),
    }
