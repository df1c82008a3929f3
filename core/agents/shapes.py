"""What a graph takes and gives, read from its schemas: one value, or fields with names.

Invariant: a type that cannot be read is treated as one that takes anything, never as an error.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import lru_cache
from types import NoneType, UnionType
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from langchain_core.messages import AnyMessage, BaseMessage, convert_to_openai_messages
from langgraph.channels.base import BaseChannel
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import BaseModel, TypeAdapter, ValidationError
from typing_extensions import ReadOnly, is_typeddict

Graph = Pregel[Any, Any, Any, Any]
NOTHING: Any = object()
_ROOT = "__root__"
_ABOUT_MESSAGES = ("messages", "chat_history", "history", "conversation")
_LISTS = (list, tuple, Sequence)
_ANYTHING = (Any, object)


@dataclass(frozen=True)
class Shape:
    """A graph's input: of one type (``whole``), or with ``fields``, some of them ``required``.

    ``is_checked`` says that a missing one is an error, ``as_object`` that a dict will not do; ``name`` is what the
    whole is called in the code.
    """

    whole: Any
    fields: Mapping[str, Any] | None = None
    required: Sequence[str] = ()
    is_checked: bool = False
    as_object: bool = False
    name: str = ""


@lru_cache(maxsize=64)
def read_input(graph: Graph) -> Shape:
    """What the graph takes."""
    if isinstance(graph, CompiledStateGraph):
        return _of_schema(graph.builder.input_schema, graph.builder.schemas, graph.channels)
    if isinstance(graph.input_channels, str):
        return _of_entrypoint(graph, graph.input_channels)
    return Shape(dict, {name: _channel_type(graph, name) for name in graph.input_channels})


def read_output(graph: Graph) -> list[str]:
    """The keys that the graph gives back, in its own order; none when it gives one value."""
    if isinstance(graph, CompiledStateGraph) and graph.builder.output_schema is graph.builder.state_schema:
        return []
    return [] if isinstance(graph.output_channels, str) else list(graph.output_channels)


def takes_messages(hint: Any, name: str) -> bool:
    """Whether this holds the messages of a conversation."""
    if any(getattr(tag, "__name__", "") == "add_messages" for tag in getattr(hint, "__metadata__", ())):
        return True
    bare = _bare(hint)
    items = [_bare(item) for item in get_args(bare) if item is not Ellipsis]
    if get_origin(bare) in _LISTS and items:
        return all(map(_is_message, items)) or (name in _ABOUT_MESSAGES and _is_open(items[0]))
    return name in _ABOUT_MESSAGES and (bare in _LISTS or bare in _ANYTHING)


def fit(hint: Any, messages: Sequence[AnyMessage], *, name: str = "") -> Any:
    """A value of this type that says what the messages say; NOTHING when there is none."""
    if takes_messages(hint, name):
        return _messages_as(hint, messages)
    bare, text = _bare(hint), messages[-1].text if messages else ""
    if bare is str or bare in _ANYTHING:
        return str(text)
    if _is_message(bare):
        return messages[-1] if messages else NOTHING
    if get_origin(bare) in (Union, UnionType):
        fitting = (fit(one, messages, name=name) for one in get_args(bare) if one is not NoneType)
        return next((value for value in fitting if value is not NOTHING), NOTHING)
    if bare is list or (get_origin(bare) in _LISTS and get_args(bare)[0] in (str, *_ANYTHING)):
        return [str(text)]
    return _from_json(bare, str(text))


def _messages_as(hint: Any, messages: Sequence[AnyMessage]) -> Any:
    items = get_args(_bare(hint))
    wants_dicts = bool(items) and (get_origin(items[0]) or items[0]) is dict
    return convert_to_openai_messages(list(messages)) if wants_dicts else list(messages)


def _from_json(hint: Any, text: str) -> Any:
    try:
        return TypeAdapter(hint).validate_json(text)
    except ValidationError:
        return NOTHING
    except Exception:  # noqa: BLE001 - a team's own types may raise anything
        return NOTHING


def _is_message(hint: Any) -> bool:
    bare = _bare(hint)
    if get_origin(bare) in (Union, UnionType):
        return any(map(_is_message, get_args(bare)))
    return isinstance(bare, type) and issubclass(bare, BaseMessage)


def _is_open(item: Any) -> bool:
    return item in _ANYTHING or (get_origin(item) or item) is dict


def _bare(hint: Any) -> Any:
    while get_origin(hint) in (Annotated, Required, NotRequired):
        hint = get_args(hint)[0]
    return hint


def _of_schema(schema: Any, schemas: Mapping[Any, Mapping[str, Any]], channels: Mapping[str, Any]) -> Shape:
    known = [name for name, channel in schemas[schema].items() if isinstance(channel, BaseChannel)]
    if known == [_ROOT]:
        return Shape(schema, name="messages")
    hints = read_fields(schema) or {}
    typed = {name: hints.get(name, getattr(channels.get(name), "ValueType", Any)) for name in known}
    required = [name for name in required_fields(schema) if name in typed]
    return Shape(schema, typed, required, is_checked=not is_typeddict(schema))


def _of_entrypoint(graph: Graph, channel: str) -> Shape:
    function = next(filter(None, map(_function, graph.nodes.values())), None)
    name, hint = _first_parameter(function) if function else ("", None)
    whole = _channel_type(graph, channel) if hint is None else hint
    whole = Any if isinstance(whole, str) else whole  # an annotation that could not be read
    bare = _bare(whole)
    if (hints := read_fields(bare)) is not None and not _is_message(bare):
        return Shape(bare, hints, required_fields(bare), is_checked=True, as_object=not is_typeddict(bare))
    is_dict = (get_origin(bare) or bare) in (dict, Mapping)
    keys = dict.fromkeys(_keys_read(function, name)) if function and (is_dict or bare is Any) else {}
    if keys:
        inner = get_args(bare)[1] if len(get_args(bare)) == 2 else Any
        return Shape(dict, dict.fromkeys(keys, inner))
    return Shape(whole, name=name)


def _channel_type(graph: Graph, name: str) -> Any:
    channel = graph.channels.get(name)
    return channel.UpdateType if isinstance(channel, BaseChannel) else Any


def read_fields(schema: Any) -> dict[str, Any] | None:
    """The type of each field, with its annotations; None for a type that has no fields."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return {name: field.rebuild_annotation() for name, field in schema.model_fields.items()}
    if not (is_typeddict(schema) or (is_dataclass(schema) and isinstance(schema, type))):
        return None
    names = [one.name for one in fields(schema) if one.init] if is_dataclass(schema) else None
    try:
        hints = get_type_hints(schema, include_extras=True)
    except (NameError, TypeError, AttributeError):
        hints = dict.fromkeys(getattr(schema, "__annotations__", ()), Any)
    return {name: _unqualified(hints.get(name, Any)) for name in (hints if names is None else names)}


def _unqualified(hint: Any) -> Any:
    """The type without what only a TypedDict may say of it."""
    while get_origin(hint) in (Required, NotRequired, ReadOnly):
        hint = get_args(hint)[0]
    return hint


def required_fields(schema: Any) -> list[str]:
    """The fields without which no value of this type can be made, in their order."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return [name for name, field in schema.model_fields.items() if field.is_required()]
    if is_dataclass(schema):
        unset = [one for one in fields(schema) if one.init and one.default is MISSING]
        return [one.name for one in unset if one.default_factory is MISSING]
    needed: frozenset[str] = getattr(schema, "__required_keys__", frozenset())
    return [name for name in read_fields(schema) or () if name in needed]


def _function(node: Any) -> Callable[..., Any] | None:
    bound = getattr(node, "bound", None)
    found = getattr(bound, "func", None) or getattr(bound, "afunc", None)
    return found if inspect.isfunction(found) else None


def _first_parameter(function: Callable[..., Any]) -> tuple[str, Any]:
    name = next(iter(inspect.signature(function).parameters), "")
    try:
        return name, get_type_hints(function, include_extras=True).get(name)
    except (NameError, TypeError, AttributeError):
        return name, None


def _keys_read(function: Callable[..., Any], name: str) -> Iterator[str]:
    """The keys that a function reads of its argument, as its source tells: ``name["key"]``, ``name.get("key")``."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        match node:
            case ast.Subscript(value=ast.Name(id=read), slice=ast.Constant(value=str(key))) if read == name:
                yield key
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id=read), attr="get"), args=[ast.Constant(value=str(key)), *_]
            ) if read == name:
                yield key
