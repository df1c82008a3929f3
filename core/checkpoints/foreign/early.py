"""What early versions of LangGraph (before 0.3) stored otherwise: edges, and what was sent to nodes.

Then an edge from a node was a channel of the node's own name, which held that name; which nodes it starts stands in
no file. They are known from the nodes that have run: from what the checkpoint behind this one has seen, or from
what was seen before. Invariant: what nothing stored tells is said to be unknown, never guessed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from langgraph.checkpoint.serde.types import TASKS

from core.checkpoints.foreign.objects import Asked, Sent
from core.checkpoints.inspect import State, Task
from core.checkpoints.values import is_new

# The first forms of checkpoints that name an edge by the node it starts, and that keep what was sent in a channel.
_EDGES_BY_TARGET, _SENT_IN_A_CHANNEL = 3, 4
_BEGIN = "__start__"


@dataclass(frozen=True, slots=True)
class Parts:
    """What a loaded checkpoint holds, the versions of that, and which of them each node has seen."""

    held: Mapping[str, Any]
    versions: Mapping[str, Any]
    seen: Mapping[str, Mapping[str, Any]]
    form: int

    @property
    def edges(self) -> frozenset[str]:
        """The channels that are edges from the node of their name."""
        if self.form >= _EDGES_BY_TARGET:
            return frozenset()
        return frozenset(name for name, value in self.held.items() if value == name and name in self.seen)


def to_parts(stored: Any) -> Parts:
    """The parts of a checkpoint; empty where something else stands in its place."""
    data = stored if isinstance(stored, dict) else {}
    seen = {node: one for node, one in _mapping(data, "versions_seen").items() if isinstance(one, dict)}
    form = data.get("v")
    form = form if isinstance(form, int) else _SENT_IN_A_CHANNEL
    return Parts(_mapping(data, "channel_values"), _mapping(data, "channel_versions"), seen, form)


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def keeps_sent_apart(stored: Any) -> bool:
    """Whether what was sent to nodes stands outside of the checkpoint's channels."""
    parts = to_parts(stored)
    return parts.form < _SENT_IN_A_CHANNEL and TASKS not in parts.held


def with_sent(stored: dict[str, Any], written: Iterable[Any]) -> dict[str, Any]:
    """The checkpoint with what was sent in a channel, as it is today: from itself, or from the writes before it."""
    own = stored.get("pending_sends")
    sent = [one for one in (own if isinstance(own, list) and own else written) if isinstance(one, Sent)]
    return {**stored, "channel_values": {**_mapping(stored, "channel_values"), TASKS: sent}} if sent else stored


def with_next(state: State, parts: Parts, following: Parts | None, asking: Iterable[str]) -> State:
    """The state with the nodes that its edges start, and those that ask a person.

    ``following`` is the checkpoint that came of it, if any.
    """
    edges = parts.edges
    if not edges:
        return state
    channels = tuple(replace(one, is_edge=one.name in edges) for one in state.channels)
    if following is not None:
        started = [node for node, seen in following.seen.items() if seen != parts.seen.get(node)]
    else:
        started = [node for node, seen in parts.seen.items() if _is_started(node, edges & set(seen), parts)]
    found = [*state.next, *asking, *(node for node in started if node == _BEGIN or not node.startswith("__"))]
    known = bool(found) or following is not None
    return replace(state, channels=channels, next=tuple(dict.fromkeys(found)), is_next_known=known)


def _is_started(node: str, edges: Iterable[str], parts: Parts) -> bool:
    return any(is_new(edge, node, parts.versions, parts.seen) for edge in edges)


def nodes_that_asked(value: Any) -> dict[str, str]:
    """Tasks' ids with their nodes, from the interrupts of versions that named them there."""
    found: dict[str, str] = {}
    for one in value if isinstance(value, list) else [value]:
        if isinstance(one, Asked) and one.place:
            node, _, task_id = one.place.rpartition(":")
            found[task_id] = node
    return found


def with_nodes(state: State, known: Mapping[str, str]) -> State:
    """The state with the nodes of tasks without a path: by what they asked, or where only one is next."""
    only = state.next[0] if len(state.next) == 1 else ""
    if not only and not known:
        return state

    def node_of(task_id: str, node: str) -> str:
        return node or known.get(task_id, only)

    def named(task: Task) -> Task:
        return replace(task, node=node_of(task.task_id, task.node))

    writes = tuple(replace(one, node=node_of(one.task_id, one.node)) for one in state.writes)
    questions = tuple(replace(one, node=node_of(one.task_id, one.node)) for one in state.questions)
    checkpoint = replace(state.checkpoint, tasks=tuple(map(named, state.checkpoint.tasks)))
    return replace(state, checkpoint=checkpoint, writes=writes, questions=questions)
