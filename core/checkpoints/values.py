"""Values that a checkpoint holds, as plain JSON data: a whole state, what is next, what was written.

Whoever reads gives the function that loads a value, so that a stranger's file is read by a careful one. Invariant:
a value that cannot be loaded or shown is a marked place, ``{"unreadable": why}``, and hides no other.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS, _DeltaSnapshot
from pydantic_core import to_json, to_jsonable_python

from core.checkpoints.inspect import Channel, Checkpoint, Question, State, StoredWrite, Write, node_of
from core.outside import clean_text, fit_data

UNREADABLE = "unreadable"
_TO, _JOIN, _START = "branch:to:", "join:", "__start__"
# As LangGraph named them before 0.3: `start:node`, and `branch:from:condition:node`.
_EARLY_START, _EARLY_BRANCH = "start:", "branch:"
Loads = Callable[[tuple[str, bytes]], Any]


def to_state(
    checkpoint: Checkpoint,
    stored: Any,
    writes: Iterable[StoredWrite],
    loads: Loads,
    *,
    replayed: Mapping[str, Any] | None = None,
) -> State:
    """A state from a loaded checkpoint (a dict, or whatever was found in its place) and its writes.

    ``replayed`` are the values of channels that the checkpoint does not hold itself.
    """
    data: dict[str, Any] = stored if isinstance(stored, dict) else {}
    held, versions = _mapping(data, "channel_values"), _mapping(data, "channel_versions")
    sent = held.get(TASKS)
    sent = sent if isinstance(sent, list | tuple) else ()
    names = dict.fromkeys([*map(str, held), *(replayed or ())])
    channels = [_to_channel(name, versions, held, replayed or {}) for name in names]
    written = [_to_write(row, sent, loads) for row in sorted(writes, key=replay_order)]
    moment = _moment(data.get("ts")) or checkpoint.created_at
    return State(
        replace(with_sent(checkpoint, sent), created_at=moment),
        tuple(sorted(channels, key=lambda channel: channel.is_inner)),
        next_nodes(data),
        tuple(write for write, _ in written),
        tuple(_questions(written)),
        "" if isinstance(stored, dict) else "This checkpoint cannot be read; what is stored is not one.",
    )


def replay_order(write: StoredWrite) -> tuple[str, str, int]:
    """The order in which LangGraph applies the writes of one step."""
    return write.path, write.task_id, write.idx


def next_nodes(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The nodes that a loaded checkpoint is about to run, by the channels that start them."""
    held, versions = _mapping(data, "channel_values"), _mapping(data, "channel_versions")
    seen = _mapping(data, "versions_seen")
    found = sorted(
        node
        for name, value in held.items()
        for node in _started(str(name), value)
        if is_new(str(name), node, versions, seen)
    )
    sent = held.get(TASKS)
    found += [str(getattr(one, "node", "?")) for one in sent] if isinstance(sent, list | tuple) else []
    return tuple(dict.fromkeys(found))


def _started(name: str, value: Any) -> list[str]:
    if name == _START:
        return [_START]
    if name.startswith(_TO):
        return [name.removeprefix(_TO)]
    if name.startswith(_EARLY_START):
        return [name.removeprefix(_EARLY_START)]
    if name.startswith(_EARLY_BRANCH) and name.count(":") == 3:
        return [name.rpartition(":")[2]]
    if name.startswith(_JOIN) and isinstance(value, set | frozenset | list | tuple):
        awaited, _, node = name.removeprefix(_JOIN).rpartition(":")
        return [node] if set(map(str, value)) >= set(awaited.split("+")) else []
    return []


def is_new(name: str, node: str, versions: Mapping[str, Any], seen: Mapping[str, Any]) -> bool:
    """Whether a channel was written to since this node last ran."""
    before = seen.get(node)
    before = before.get(name) if isinstance(before, dict) else None
    now = versions.get(name)
    try:
        if now is None:
            # Where the versions are missing altogether nothing tells against it.
            return not versions
        return before is None or bool(now > before)
    except TypeError:
        return False


def _to_channel(
    name: str, versions: Mapping[str, Any], held: Mapping[str, Any], replayed: Mapping[str, Any]
) -> Channel:
    value, size = to_plain(replayed[name] if name in replayed else held.get(name))
    return Channel(clean_text(name), str(versions.get(name, "")), size, value, name in replayed)


def _to_write(row: StoredWrite, sent: Sequence[Any], loads: Loads) -> tuple[Write, Any]:
    loaded = load_value(loads, row.type, row.blob)
    value, _ = to_plain(loaded)
    return Write(row.task_id, node_of(row.path, sent), clean_text(row.channel), len(row.blob or b""), value), loaded


def load_value(loads: Loads, type_: Any, blob: Any) -> Any:
    """A stored value, loaded; a note in its place where it cannot be."""
    try:
        return loads((str(type_), bytes(blob or b"")))
    except Exception as error:  # noqa: BLE001 - whatever a value is made of, it must not hide the others
        return {UNREADABLE: f"This value cannot be read ({type(error).__name__})."}


def _questions(written: Iterable[tuple[Write, Any]]) -> list[Question]:
    pairs = list(written)
    answered = {write.task_id for write, _ in pairs if write.channel == RESUME}
    return [
        Question(
            str(getattr(one, "id", "")),
            write.node,
            to_plain(getattr(one, "value", one))[0],
            write.task_id in answered,
            write.task_id,
        )
        for write, loaded in pairs
        if write.channel == INTERRUPT
        for one in (loaded if isinstance(loaded, list | tuple) else [loaded])
    ]


def with_sent(checkpoint: Checkpoint, sent: Sequence[Any]) -> Checkpoint:
    """The checkpoint with the nodes of those of its tasks that stand in what was sent."""
    return replace(
        checkpoint, tasks=tuple(replace(task, node=node_of(task.path, sent)) for task in checkpoint.tasks)
    )


def to_plain(value: Any) -> tuple[Any, int]:
    """A loaded value as plain JSON data, and how many bytes of JSON that is; a note where it cannot be."""
    if isinstance(value, _DeltaSnapshot):
        value = value.value
    try:
        data = fit_data(
            to_jsonable_python(
                value, fallback=repr, serialize_unknown=True, inf_nan_mode="constants", bytes_mode="base64"
            )
        )
        return data, len(to_json(data))
    except Exception as error:  # noqa: BLE001 - an object of a stranger's making may fail in any way
        return {UNREADABLE: f"{type(value).__name__} cannot be shown ({type(error).__name__})"}, 0


def _mapping(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = data.get(name)
    return found if isinstance(found, dict) else {}


def _moment(text: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
