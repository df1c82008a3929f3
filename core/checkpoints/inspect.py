"""What is stored of a thread's checkpoints, told as plain data: as a line of a list, and as a whole state.

Pure functions over rows of LangGraph's tables, for our own store and for a stranger's file alike: nothing here
opens a database, knows a graph, or runs what a checkpoint holds. Invariant: a row that is not as it should be
gives a marked place, never an error.

Nothing names a node but a task's path (``~__pregel_pull, talk``); of a task begun by a ``Send`` it tells the place
in the list of those sent, which is in the state. What is next follows from the channels that start a node and that
it has not seen.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, TASKS

_SPECIAL = frozenset({ERROR, INTERRUPT, RESUME, "__scheduled__", "__return__", "__no_writes__", TASKS})
_COUNTERS = "counters_since_delta_snapshot"
_PULLED, _PUSHED = "~__pregel_pull, ", "~__pregel_push, "
# The first moment of the calendar that ids of version 6 count from, in steps of 100 ns.
_CALENDAR = datetime(1582, 10, 15, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Task:
    """What one task wrote beside a checkpoint; ``node`` is empty where only the state can tell it."""

    task_id: str
    node: str
    writes: int
    size_bytes: int
    asked: bool = False
    failed: bool = False
    path: str = ""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One stored checkpoint, told without its values; ``ns`` is "" for the graph itself, else the subgraph's."""

    ns: str
    checkpoint_id: str
    parent_checkpoint_id: str | None
    created_at: datetime | None
    step: int | None
    source: str
    size_bytes: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tasks: tuple[Task, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Who ran from here, or asks, or failed, each once."""
        return tuple(dict.fromkeys(task.node for task in self.tasks if task.node))

    @property
    def asks(self) -> bool:
        return any(task.asked for task in self.tasks)

    @property
    def failed(self) -> bool:
        return any(task.failed for task in self.tasks)

    @property
    def deltas(self) -> tuple[str, ...]:
        """The channels whose values are not stored here, but replayed from what was written before."""
        found = self.metadata.get(_COUNTERS)
        return tuple(map(str, found)) if isinstance(found, dict) else ()


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel's value as plain JSON data, with the size of that; ``replayed`` tells that it was not stored.

    ``is_edge`` marks one that early versions of LangGraph named like the node that writes it, to start others.
    """

    name: str
    version: str
    size_bytes: int
    value: Any
    replayed: bool = False
    is_edge: bool = False

    @property
    def is_inner(self) -> bool:
        """Whether LangGraph keeps it for itself: what starts nodes, what was sent, the input."""
        return self.is_edge or self.name.startswith(("__", "branch:", "join:", "start:"))


@dataclass(frozen=True, slots=True)
class Write:
    """What one task wrote to one channel, as plain JSON data."""

    task_id: str
    node: str
    channel: str
    size_bytes: int
    value: Any

    @property
    def is_special(self) -> bool:
        """Whether it tells of the task itself (a question, an error, an answer), not of the state."""
        return self.channel in _SPECIAL


@dataclass(frozen=True, slots=True)
class Question:
    """An interrupt that a task stands at; ``answered`` when an answer is stored beside it."""

    interrupt_id: str
    node: str
    value: Any
    answered: bool = False
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """A checkpoint with all its values: what every channel holds, what is next, and what was written then.

    ``is_next_known`` is false where an early version of LangGraph stored nothing that tells what is next.
    """

    checkpoint: Checkpoint
    channels: tuple[Channel, ...]
    next: tuple[str, ...]
    writes: tuple[Write, ...] = ()
    questions: tuple[Question, ...] = ()
    problem: str = ""
    is_next_known: bool = True

    @property
    def values(self) -> dict[str, Any]:
        """The graph's own channels, without those that LangGraph keeps for itself."""
        return {channel.name: channel.value for channel in self.channels if not channel.is_inner}


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """A row of ``writes``, its value still as it is stored."""

    task_id: str
    path: str
    idx: int
    channel: str
    type: str | None
    blob: bytes | None


def to_checkpoint(
    ns: Any, checkpoint_id: Any, parent: Any, *, metadata: Any, size_bytes: Any, tasks: Sequence[Task] = ()
) -> Checkpoint:
    """A row of ``checkpoints``, its metadata as it is stored: JSON text, bytes of it, or an object."""
    about = read_metadata(metadata)
    step, source = about.get("step"), about.get("source")
    return Checkpoint(
        str(ns or ""),
        str(checkpoint_id),
        str(parent) if parent else None,
        time_of(str(checkpoint_id)),
        step if isinstance(step, int) else None,
        source if isinstance(source, str) else "",
        size_bytes if isinstance(size_bytes, int) else 0,
        about,
        tuple(sorted(tasks, key=lambda task: (task.path, task.task_id))),
    )


def to_task(task_id: Any, path: Any, writes: int, size_bytes: int, *, asked: bool, failed: bool) -> Task:
    """The writes of one task, counted."""
    return Task(str(task_id), node_of(path), writes, size_bytes, asked, failed, str(path or ""))


def read_metadata(stored: Any) -> dict[str, Any]:
    """A checkpoint's metadata as an object; empty for what is none."""
    if isinstance(stored, bytes | str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError):
            return {}
    return stored if isinstance(stored, dict) else {}


def time_of(checkpoint_id: str) -> datetime | None:
    """When a checkpoint was made, as its id tells; None for an id that has no time in it."""
    try:
        number = UUID(checkpoint_id)
        if number.version != 6:
            return None
        ticks = (number.int >> 96) << 28 | (number.int >> 80 & 0xFFFF) << 12 | (number.int >> 64 & 0xFFF)
        return _CALENDAR + timedelta(microseconds=ticks // 10)
    except (ValueError, OverflowError):
        return None


def node_of(path: Any, sent: Sequence[Any] = ()) -> str:
    """The node of a task, by its path; ``sent`` is what stands in the state's list of those to be begun."""
    text = str(path or "")
    if text.startswith(_PULLED):
        return text.removeprefix(_PULLED)
    place = text.removeprefix(_PUSHED).partition(",")[0]
    if text.startswith(_PUSHED) and place.isdecimal() and int(place) < len(sent):
        return str(getattr(sent[int(place)], "node", "") or "")
    return ""
