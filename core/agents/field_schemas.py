"""The fields of a context or an input as a JSON schema, for a form that people fill.

Invariant: what pydantic cannot describe is left to the caller, never an error.
"""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Annotated, Any, get_args, get_origin

from langchain.agents.middleware.types import OmitFromSchema
from pydantic import BaseModel, Field, TypeAdapter
from pydantic import create_model as make_model

# Marks a field of a state, in its ``Annotated``, that no form asks people for; so does LangChain's `OmitFromInput`.
FILLED_BY_THE_GRAPH = "filled by the graph"


def is_asked(hint: Any) -> bool:
    """Whether a field is one that people may fill in."""
    marks = getattr(hint, "__metadata__", ())
    return not any(
        mark is FILLED_BY_THE_GRAPH or (isinstance(mark, OmitFromSchema) and mark.input) for mark in marks
    )


def find_adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What checks values of this type; None for Python objects that JSON data cannot describe."""
    try:
        adapter = TypeAdapter(hint)
        schema: Any = adapter.json_schema()
    except Exception:  # noqa: BLE001 - a team's own types describe themselves, and may raise anything
        return None
    return adapter if isinstance(schema, dict) else None


def describe_fields(
    schema: Any, fields: Mapping[str, Any], *, required: Collection[str], name: str
) -> dict[str, Any] | None:
    """The JSON schema of these fields of a type, with their defaults and descriptions; None when there is none.

    ``fields`` are names and types; those that cannot be described are left out.
    """
    described: dict[str, Any] = {
        field: (hint, _describe(schema, field, hint, is_required=field in required))
        for field, hint in fields.items()
        if find_adapter(hint) is not None
    }
    if not described:
        return None
    try:
        made: dict[str, Any] = make_model(name, **described).model_json_schema()
    except Exception:  # noqa: BLE001 - as above; together they may fail where each alone does not
        return None
    return made


def _describe(schema: Any, name: str, hint: Any, *, is_required: bool) -> Any:
    """The field as pydantic describes it: its default, and what is said about it."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_fields[name]
    said: dict[str, Any] = {"description": _description(hint)}
    if not dataclasses.is_dataclass(schema):
        # A factory says "not required" without naming a default that nobody wrote.
        return Field(**said) if is_required else Field(default_factory=lambda: None, **said)
    field = next(one for one in dataclasses.fields(schema) if one.name == name)
    said["description"] = field.metadata.get("description") or said["description"]
    if field.default is not dataclasses.MISSING:
        return Field(default=field.default, **said)
    if field.default_factory is not dataclasses.MISSING:
        return Field(default=field.default_factory(), **said)
    return Field(**said)


def _description(hint: Any) -> str | None:
    """A text written beside a type, as ``Annotated[str, "what it is"]``."""
    tags = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((tag for tag in tags if isinstance(tag, str)), None)
