"""The form for a graph that needs more than a text, and what is wrong with what was filled in.

What is filled in becomes the message as a JSON object, which is what a person could write by hand too, so that all
else (edit, regenerate, compare) knows one kind of message.

Invariant: a graph that a plain text reaches has no form.
"""

import json
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.graph.state import CompiledStateGraph
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, ValidationError

from core.agents.field_schemas import describe_fields, find_adapter, is_asked
from core.agents.inputs import find_key, to_fields, to_input
from core.agents.shapes import NOTHING, Shape, fit, read_input, takes_messages
from core.errors import BadInputError
from core.json_schema import Mismatch, find_mismatches_by_place

Graph = Pregel[Any, Any, Any, Any]
_SAMPLE = (HumanMessage("text"),)
_TEXT = {"type": "string", "format": "textarea"}


@dataclass(frozen=True)
class InputForm:
    """The JSON schema of what a graph takes; ``text_key`` is the field for what is said, None where there is none.

    It is of an object with the graph's own keys, the field for what is said first, or of one value.
    """

    schema: dict[str, Any]
    text_key: str | None = None


def find_form(graph: Graph, *, key: str | None = None) -> InputForm | None:
    """The form for what the graph takes; None where a text is enough. ``key`` is as for `to_input`."""
    shape = read_input(graph)
    if shape.fields is None:
        if key is not None or fit(shape.whole, _SAMPLE, name=shape.name) is not NOTHING:
            return None
        adapter = find_adapter(shape.whole)
        return InputForm(adapter.json_schema() if adapter else {})
    chosen = key or find_key(shape)
    if not shape.fields or _takes_text(shape, chosen):
        return None
    return _of_fields(graph, shape, chosen)


def find_more(graph: Graph, *, key: str | None = None) -> dict[str, Any] | None:
    """The JSON schema of what else can be given with a text, where that is enough; None when there is nothing."""
    shape = read_input(graph)
    chosen = key or find_key(shape)
    if not shape.fields or not _takes_text(shape, chosen):
        return None
    others = {
        name: hint
        for name, hint in shape.fields.items()
        if name != chosen and not takes_messages(hint, name) and is_asked(hint)
    }
    return describe_fields(shape.whole, others, required=(), name="Inputs")


def _takes_text(shape: Shape, chosen: str | None) -> bool:
    """Whether a text in that field is all that the graph needs."""
    fields = shape.fields or {}
    if chosen is None or fit(fields.get(chosen, Any), _SAMPLE, name=chosen) is NOTHING:
        return False
    return not shape.is_checked or all(name == chosen for name in shape.required)


def _of_fields(graph: Graph, shape: Shape, chosen: str | None) -> InputForm:
    fields = dict(shape.fields or {})
    required = [name for name in shape.required if shape.is_checked or _has_own_input(graph)]
    said = chosen if chosen in fields and fit(fields[chosen], _SAMPLE, name=chosen) is not NOTHING else None
    others = {name: hint for name, hint in fields.items() if name != said or not takes_messages(hint, name)}
    described = describe_fields(shape.whole, others, required=required, name="Input") or {}
    names = sorted(fields, key=lambda name: name != said)
    known = {name: one for name, one in described.get("properties", {}).items() if isinstance(one, dict)}
    properties = {name: known.get(name, {}) for name in names}
    if said is not None:
        properties[said] = _spoken(fields[said], said, properties[said])
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    if "$defs" in described:
        schema["$defs"] = described["$defs"]
    return InputForm(schema, said)


def _has_own_input(graph: Graph) -> bool:
    """Whether the input has a schema of its own: the keys of a state may be filled by the graph itself."""
    if not isinstance(graph, CompiledStateGraph):
        return False
    return graph.builder.input_schema is not graph.builder.state_schema


def _spoken(hint: Any, name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The field for what is said, as a text; messages are made of it when it is sent."""
    if takes_messages(hint, name):
        return {**_TEXT, "title": "Message"}
    return {**schema, **_TEXT} if schema.get("type") == "string" and "enum" not in schema else schema


def find_problems(graph: Graph, form: InputForm, value: Any, *, key: str | None = None) -> list[Mismatch]:
    """What of a filled form the graph does not take, each with the path to the field; none when all fits."""
    if problems := find_mismatches_by_place(form.schema, value):
        return problems
    if value in (None, {}):
        return [((), "is empty: fill in at least one field")]
    shape, message = read_input(graph), HumanMessage(write_text(value))
    try:
        if shape.fields is None:
            to_input(graph, [message], key=key)
        elif shape.is_checked:
            TypeAdapter(shape.whole).validate_python(to_fields(shape, [message], key))
    except BadInputError as error:
        return [((), str(error))]
    except ValidationError as error:
        return _mismatches(error)
    except Exception:  # noqa: BLE001 - a team's own types may raise anything; the graph itself then says what is wrong
        return []
    return []


def _mismatches(error: ValidationError) -> list[Mismatch]:
    return [
        (tuple(one["loc"]), one["msg"].removeprefix("Value error, ").removesuffix("."))
        for one in error.errors(include_url=False, include_input=False, include_context=False)
    ]


def write_text(value: Any) -> str:
    """What was filled in as the message's text."""
    return json.dumps(value, ensure_ascii=False, indent=2)


def read_text(form: InputForm, text: str) -> Any:
    """What an earlier message had filled in, but for what it said; None when it was no such message."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if form.schema.get("type") != "object" or "properties" not in form.schema:
        return value
    if not isinstance(value, dict) or not value.keys() <= form.schema["properties"].keys():
        return None
    return {name: inner for name, inner in value.items() if name != form.text_key}
