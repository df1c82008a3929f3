"""What a graph is given from outside for one run: the settings people chose, and what Skein has.

Invariant: of the two, what Skein gives always wins, so that no setting can put something else in the place of a
model or a workspace; it is made anew for each run and never stored, so a secret may be reached through it.
"""

import dataclasses
from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, PydanticUndefinedAnnotation, PydanticUserError, TypeAdapter, ValidationError
from pydantic import create_model as make_model

from core.agents.limits import LIMITS
from core.agents.shapes import read_fields, required_fields
from core.errors import BadInputError
from core.history.turns import ATTACHMENTS, EDITS

# Not for people to choose: Skein gives them.
GIVEN = frozenset({"chat_models", "workspace", "max_messages", "keep_last"})
_OURS = frozenset({LIMITS, EDITS, ATTACHMENTS})
# What LangGraph itself reads of a config; a setting may not pass for it.
_RESERVED = frozenset({"thread_id", "user_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map"})
_RESERVED_STARTS = ("__", "langgraph_")


def make_context(schema: Any, config: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """What a graph with this context schema is given; None without one. Keys it does not know are left out.

    BadInputError names the setting that is missing or does not fit.
    """
    if schema is None:
        return None
    names, required = _fields_of(schema)
    chosen = {name: config[name] for name in names if name in config and name not in given}
    checked = {name: _check(schema, name, value) for name, value in chosen.items()}
    values = checked | {name: given[name] for name in names if name in given}
    for name in required:
        if name not in values:
            raise BadInputError(f"This agent needs the setting {name!r}: choose it in the agent's settings.")
    try:
        return schema(**values)
    except ValidationError as error:
        raise BadInputError(_problem(error)) from None
    except (ValueError, TypeError) as error:
        raise BadInputError(f"The agent's settings do not fit together: {str(error)[:300]}") from None


@lru_cache(maxsize=64)
def _fields_of(schema: Any) -> tuple[dict[str, Any], list[str]]:
    return read_fields(schema) or {}, required_fields(schema)


def make_configurable(config: Mapping[str, Any], *, thread_id: str, user_id: str) -> dict[str, Any]:
    """The settings as LangGraph's ``configurable``, for factories and nodes that read them there.

    Whose run it is, is not for a setting to say.
    """
    settings = {name: value for name, value in config.items() if name not in _OURS | _RESERVED}
    chosen = {name: value for name, value in settings.items() if not name.startswith(_RESERVED_STARTS)}
    return {**chosen, "thread_id": thread_id, "user_id": user_id}


def describe_settings(schema: Any, given: Collection[str] = GIVEN) -> dict[str, Any] | None:
    """The JSON schema of the settings that a person may choose; None when there are none."""
    fields: dict[str, Any] = {
        name: (hint, _describe(schema, name, hint))
        for name, hint in (read_fields(schema) or {}).items()
        if name not in given and _adapter(hint) is not None
    }
    if not fields:
        return None
    try:
        described: dict[str, Any] = make_model("Settings", **fields).model_json_schema()
    except (PydanticUserError, TypeError, ValueError, NameError):
        return None
    return described


def _check(schema: Any, name: str, value: Any) -> Any:
    adapter = _adapter_of(schema, name)
    if adapter is None:
        return value
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise BadInputError(_problem(error, name)) from None


@lru_cache(maxsize=256)
def _adapter_of(schema: Any, name: str) -> TypeAdapter[Any] | None:
    """What checks a field; to make it takes longer than all else that comes before a run's first step."""
    return _adapter(_fields_of(schema)[0][name])


def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What checks values of this type; None for Python objects that JSON data cannot describe."""
    try:
        adapter = TypeAdapter(hint)
        adapter.json_schema()
    except (PydanticUserError, PydanticUndefinedAnnotation, RecursionError, TypeError, NameError):
        return None
    return adapter


def _describe(schema: Any, name: str, hint: Any) -> Any:
    """The field as pydantic describes it: its default, and what is said about it."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return schema.model_fields[name]
    said: dict[str, Any] = {"description": _description(hint)}
    if not dataclasses.is_dataclass(schema):
        needed = name in getattr(schema, "__required_keys__", ())
        # A factory says "not required" without naming a default that nobody wrote.
        return Field(**said) if needed else Field(default_factory=lambda: None, **said)
    field = next(one for one in dataclasses.fields(schema) if one.name == name)
    said["description"] = field.metadata.get("description") or said["description"]
    if field.default is not dataclasses.MISSING:
        return Field(default=field.default, **said)
    if field.default_factory is not dataclasses.MISSING:
        return Field(default=field.default_factory(), **said)
    return Field(**said)


def _problem(error: ValidationError, name: str = "") -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, (*((name,) if name else ()), *first["loc"])))
    said = first["msg"].removeprefix("Value error, ")
    return f"The setting {place!r} cannot be used: {said[0].lower()}{said[1:]}."


def _description(hint: Any) -> str | None:
    """A text written beside a type, as ``Annotated[str, "what it is"]``."""
    tags = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((tag for tag in tags if isinstance(tag, str)), None)
