"""Set parts of the state that a thread stands at, by hand, before it goes on.

Invariant: after an edit the thread stands where it stood (the same nodes are next; all other keys and the
memories of subgraphs are untouched), and each edited key holds exactly what the person wrote. LangGraph's own
``update_state`` cannot promise that: it acts as a node, so it takes away what starts the next nodes, starts that
node's successors instead, and puts values through reducers. So here a checkpoint is written:

* *Edited keys* get their value and a new version, and who had seen the old version is noted as having seen the
  new one: an edit starts no node. (Nodes of a StateGraph are started by channels of their own; nodes of a bare
  Pregel may subscribe to a key.)
* *A DeltaChannel* is stored whole, edited or not: replayed from the ancestors' writes, it would also be given
  those of the step that now begins anew. So the metadata names no ``counters_since_delta_snapshot``.
* *The step begins anew.* A waiting node asks again, and a finished sibling of an unfinished node runs again, for
  both may depend on what was edited. Updates that belong to no task are kept, except those of edited keys.
* *Before the first step* (`next` is ``__start__``) the input is yet to come, and goes on top of what was edited.

To go on, run the graph with ``None`` and the new checkpoint's id in its config. Without the id LangGraph takes
the run for an answer to a question, and a subgraph that has a memory resumes it instead of reading its input.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NotRequired, Required, Union, get_args, get_origin, get_type_hints
from uuid import uuid4

from langchain_core.messages import AnyMessage, BaseMessage, convert_to_messages
from langchain_core.runnables import RunnableConfig
from langgraph.channels import AnyValue, BinaryOperatorAggregate, DeltaChannel, EphemeralValue, LastValue, Topic
from langgraph.channels.base import BaseChannel
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint, CheckpointTuple, copy_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, _DeltaSnapshot
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from langgraph.pregel._checkpoint import achannels_from_checkpoint
from pydantic import BaseModel, BeforeValidator, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter
from pydantic import ValidationError as Mismatch
from pydantic_core import to_json
from typing_extensions import ReadOnly, TypedDict, is_typeddict

from core.checkpoints.fork import NO_TASK
from core.checkpoints.plain import require_storable
from core.errors import BadInputError, BusyError, NotFoundError

Graph = Pregel[Any, Any, Any, Any]
_SETTABLE = (LastValue, AnyValue, EphemeralValue, BinaryOperatorAggregate, DeltaChannel, Topic)
_QUALIFIERS = (Required, NotRequired, ReadOnly)
_WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    NoneType: "null",
    Any: "anything",
}
_HINT = 'write each message like {"type": "human", "content": "..."}'


async def edit_state(
    graph: Graph,
    saver: BaseCheckpointSaver[Any],
    *,
    thread_id: str,
    values: Mapping[str, Any],
    noted: Mapping[str, str] | None = None,
) -> str:
    """Set these keys of the state that a thread stands at; gives the id of the new checkpoint, to go on from.

    The values are as `check_values` takes or gives them, and its BadInputError comes before anything is written.
    ``noted`` stands in the new checkpoint's metadata.
    """
    checked = check_values(graph, values)
    allowlist = getattr(graph, "_serde_allowlist", None)
    known = saver.with_allowlist(allowlist) if allowlist else saver
    saved = await known.aget_tuple(_config(thread_id))
    if saved is None:
        raise NotFoundError("The thread has no state yet, so there is none to edit; start it from a checkpoint.")
    return await _write(graph, known, saved, checked, noted or {})


async def _write(
    graph: Graph,
    saver: BaseCheckpointSaver[Any],
    saved: CheckpointTuple,
    values: Mapping[str, Any],
    noted: Mapping[str, str],
) -> str:
    step = saved.metadata.get("step", -1) + 1
    checkpoint = await _edited(graph, saver, saved, values)
    checkpoint["ts"] = datetime.now(UTC).isoformat()
    checkpoint["id"] = str(uuid6(clock_seq=step))
    if checkpoint["id"] <= saved.checkpoint["id"]:
        raise BusyError("The state comes from a machine whose clock is ahead of this one's; try again in a moment.")
    thread_id = saved.config["configurable"]["thread_id"]
    kept = [
        (channel, value)
        for task, channel, value in saved.pending_writes or ()
        if task == NO_TASK and channel != RESUME and channel not in values
    ]
    # The checkpoint comes last: an edit cut off half-way is none.
    if kept:
        await saver.aput_writes(_config(thread_id, checkpoint["id"]), kept, NO_TASK)
    old = saved.checkpoint["channel_versions"]
    changed = {key: own for key, own in checkpoint["channel_versions"].items() if own != old.get(key)}
    metadata: Any = {"source": "update", "step": step, "parents": saved.metadata.get("parents", {}), **noted}
    await saver.aput(_config(thread_id, saved.checkpoint["id"]), checkpoint, metadata, changed)
    return checkpoint["id"]


async def _edited(
    graph: Graph, saver: BaseCheckpointSaver[Any], saved: CheckpointTuple, values: Mapping[str, Any]
) -> Checkpoint:
    """The checkpoint with these values, and with all that had to be replayed from its ancestors."""
    checkpoint = copy_checkpoint(saved.checkpoint)
    versions, stored = checkpoint["channel_versions"], checkpoint["channel_values"]
    channels, _ = await achannels_from_checkpoint(
        graph.channels, saved.checkpoint, saver=saver, config=saved.config
    )
    full = {key for key, channel in channels.items() if channel.is_available()}
    replayed = {key: channels[key].get() for key in full if key in versions and key not in stored}
    version = saver.get_next_version(max(versions.values(), default=None), None)
    for key, value in {**replayed, **values}.items():
        _mark_seen(graph, checkpoint, key, version, could_start=key in full)
        stored[key] = _as_stored(channels[key], value)
        versions[key] = version
    return checkpoint


def _as_stored(channel: BaseChannel[Any, Any, Any], value: Any) -> Any:
    if isinstance(channel, DeltaChannel):
        return _DeltaSnapshot(value)
    return list(value) if isinstance(channel, Topic) else value


def _mark_seen(graph: Graph, checkpoint: Checkpoint, key: str, version: Any, *, could_start: bool) -> None:
    """Let the key's new version start only those whom its old one was about to start."""
    none = type(version)()
    old = checkpoint["channel_versions"].get(key, none)
    for node in (*graph.trigger_to_nodes.get(key, ()), INTERRUPT):
        seen = checkpoint["versions_seen"].get(node)
        is_due = could_start and (seen is None or old > seen.get(key, none))
        if not is_due:
            checkpoint["versions_seen"].setdefault(node, {})[key] = version


def editable_keys(graph: Graph) -> list[str]:
    """The keys of the state that a person may edit, in the schema's order."""
    return [key for key, annotation in _annotations(graph).items() if _adapter(annotation) is not None]


def json_schema(graph: Graph) -> dict[str, str]:
    """What each editable key takes, in a few words, as a hint beside the form."""
    annotations = _annotations(graph)
    return {key: _describe(annotations[key]) for key in editable_keys(graph)}


def check_values(graph: Graph, values: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON data as values of the graph's state; BadInputError names the first key that does not fit."""
    if not isinstance(values, Mapping):
        raise BadInputError('The edited state has to be an object with its keys, like {"key": "value"}.')
    if not values:
        raise BadInputError("There is nothing to change; give at least one key of the state a new value.")
    annotations = _annotations(graph)
    return {key: _check(graph, annotations, key, value) for key, value in values.items()}


def _check(graph: Graph, annotations: Mapping[str, Any], key: str, value: Any) -> Any:
    adapter = _adapter(annotations[key]) if key in annotations else None
    if adapter is None:
        names = ", ".join(editable_keys(graph)) or "none"
        raise BadInputError(f"The key {str(key)[:80]!r} {_why_not(graph, key)}; keys that can be edited: {names}.")
    takes = f"it takes {_describe(annotations[key])}"
    try:  # by way of JSON, so that a list may become a set, but no text a number
        data = to_json(value)
        require_storable(json.loads(data), f"The value of {key!r}")
        return adapter.validate_json(data, strict=True)
    except BadInputError:
        raise
    except Mismatch as error:
        raise BadInputError(f"The value of {key!r} does not fit{_problem(error)}; {takes}.") from None
    except Exception:  # noqa: BLE001 - the validators of an agent's own types may raise anything
        raise BadInputError(f"The value of {key!r} cannot be read as plain JSON data; {takes}.") from None


def _problem(error: Mismatch) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = " → ".join(map(str, first["loc"]))
    said = first["msg"].removeprefix("Value error, ").removesuffix(".")
    return f" (at {place}): {said}" if place else f": {said}"


def _why_not(graph: Graph, key: str) -> str:
    channel = graph.channels.get(key)
    if channel is None:
        return "is not in this agent's state"
    if key in _own_channels(graph):
        return "belongs to LangGraph itself"
    if not isinstance(channel, BaseChannel):
        return "is worked out anew for each step and cannot be set"
    if isinstance(channel, UntrackedValue):
        return "is never stored, so that an edit of it would be lost"
    return "holds values that cannot be written as JSON"


def _own_channels(graph: Graph) -> set[str]:
    """The channels that LangGraph keeps for itself."""
    if not isinstance(graph, CompiledStateGraph):
        return {key for key in graph.channels if key.startswith("__")}
    ours = {*graph.builder.channels, *graph.builder.managed}
    return {key for key in graph.channels if key not in ours or key.startswith("__")}


def _annotations(graph: Graph) -> dict[str, Any]:
    """The type of each key that can be set, as the state's schema, or else another one of the graph, gives it."""
    hints: dict[str, Any] = {}
    if isinstance(graph, CompiledStateGraph):
        for schema in (graph.builder.state_schema, *graph.builder.schemas):
            hints = {**_hints(schema), **hints}
    own = _own_channels(graph)
    return {
        key: hints.get(key, channel.ValueType)
        for key, channel in graph.channels.items()
        if isinstance(channel, _SETTABLE) and key not in own
    }


def _hints(schema: Any) -> dict[str, Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return {key: field.rebuild_annotation() for key, field in schema.model_fields.items()}
    return get_type_hints(schema, include_extras=True) if hasattr(schema, "__annotations__") else {}


def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    """What checks and makes values of this type; None for Python objects that JSON data cannot describe."""
    try:
        adapter = TypeAdapter(_readable(annotation))
    except (PydanticUserError, PydanticUndefinedAnnotation, RecursionError):
        return None
    return adapter if adapter.pydantic_complete else None


def _readable(annotation: Any) -> Any:
    """The type as pydantic has to know it: messages in all forms, no qualifiers, its own kind of TypedDict."""
    if _is_message(annotation):
        wanted = AnyMessage if annotation is BaseMessage else annotation
        return Annotated[wanted, BeforeValidator(_to_message)]
    if is_typeddict(annotation):
        hints = {key: _readable(hint) for key, hint in get_type_hints(annotation, include_extras=True).items()}
        needed = annotation.__required_keys__
        fields = {key: hint if key in needed else NotRequired[hint] for key, hint in hints.items()}
        return TypedDict(annotation.__name__, fields)  # type: ignore[operator]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in _QUALIFIERS:
        return _readable(args[0])
    if origin is Annotated:
        return Annotated[_readable(args[0]), *annotation.__metadata__]
    inner = tuple(map(_readable, args))
    if inner == args:
        return annotation
    return Union[inner] if origin in (Union, UnionType) else origin[inner]  # noqa: UP007


def _is_message(annotation: Any) -> bool:
    is_class = isinstance(annotation, type) and issubclass(annotation, BaseMessage)
    return is_class or bool(annotation == AnyMessage)


_any_message: TypeAdapter[BaseMessage] = TypeAdapter(AnyMessage)


def _to_message(value: Any) -> BaseMessage:
    """A message from its own form (with a type) or OpenAI's (with a role); it gets an id if it has none."""
    kind = value.get("role", value.get("type")) if isinstance(value, dict) else None
    if not isinstance(kind, str) or "content" not in value or kind == "remove":
        raise ValueError(f"a message needs a type and a content; {_HINT}, and leave out those that are to go")
    try:
        message = convert_to_messages([value])[0] if "role" in value else _any_message.validate_python(value)
    except (ValueError, NotImplementedError, TypeError, KeyError, AttributeError) as error:
        why = f": it needs {error}" if isinstance(error, KeyError) else ""
        why = _problem(error) if isinstance(error, Mismatch) else why
        raise ValueError(f"this {kind[:40]!r} message cannot be read{why}; {_HINT}") from None
    message.id = message.id or str(uuid4())
    return message


def _describe(annotation: Any) -> str:
    if _is_message(annotation):
        return "a message"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated or origin in _QUALIFIERS:
        return _describe(args[0])
    if origin is Literal:
        return " or ".join(map(repr, args))
    if origin in (Union, UnionType):
        return " or ".join(map(_describe, args))
    name = _WORDS.get(origin or annotation) or f"a {getattr(origin or annotation, '__name__', annotation)}".lower()
    return f"{name} (each {', '.join(map(_describe, args))})" if args and origin is not None else name


def _config(thread_id: str, checkpoint_id: str | None = None) -> RunnableConfig:
    at = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **at}}
