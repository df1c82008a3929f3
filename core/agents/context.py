"""What a graph is given from outside for one run: the settings people chose, and what Skein has.

The context and ``configurable`` mirror each other, as LangGraph's own server has it. Invariants: what Skein gives
always wins, so that no setting can put something else in the place of a model, a workspace or a user's id; the
model chosen in Skein reaches only graphs that ask for it; the context is made anew for each run and never stored,
so a secret may be reached through it.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, Required, get_origin

from pydantic import TypeAdapter, ValidationError
from typing_extensions import is_typeddict

from core.agents.field_schemas import describe_fields, find_adapter
from core.agents.limits import LIMITS
from core.agents.shapes import read_fields, required_fields
from core.errors import BadInputError
from core.history.turns import ATTACHMENTS, EDITS, INPUTS
from core.outside import read_failure

# What a person chooses in Skein's own options; a graph's own setting of such a name stands in SETTINGS instead.
CHOSEN_IN_SKEIN = ("model", "temperature")
SETTINGS = "settings"
# What says whose run it is, and where it belongs.
IDS = ("user_id", "session_id", "conversation_id", "message_id")
# What graphs that ask for ``chat_models`` are given with them.
WITH_MODELS = ("chat_models", "workspace", "max_messages", "keep_last")
_OURS = frozenset({LIMITS, EDITS, ATTACHMENTS, INPUTS, SETTINGS, *CHOSEN_IN_SKEIN})
# What LangGraph and its servers read of a config; a setting may not pass for it.
_RESERVED = frozenset({"thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id", *IDS})
_RESERVED_STARTS = ("__", "langgraph_")


def given_names(schema: Any) -> frozenset[str]:
    """The fields of a context that Skein gives, and nobody chooses.

    Names as usual as ``max_messages`` are a graph's own unless it asks for ``chat_models`` too.
    """
    names, _ = _fields_of(schema)
    given = {name for name in IDS if name in names}
    if "chat_models" in names:
        given |= {name for name in WITH_MODELS if name in names}
    if "workspace" in names and "Workspace" in str(names["workspace"]):
        given.add("workspace")
    return frozenset(given)


def takes_from_skein(schema: Any, left: Collection[str] = ()) -> tuple[str, ...]:
    """Which of Skein's own options a graph takes.

    All of them where its context asks for ``chat_models``, else those that are ``left``.

    ``left`` are the settings that an operator leaves to Skein.
    """
    names, _ = _fields_of(schema)
    return tuple(name for name in CHOSEN_IN_SKEIN if "chat_models" in names or name in left)


def chosen_settings(config: Mapping[str, Any], left: Collection[str]) -> dict[str, Any]:
    """What a thread's config has chosen for its graph: its own settings, and those options of Skein's it takes."""
    own = {name: value for name, value in config.items() if name not in _OURS or name in left}
    beside = config.get(SETTINGS)
    own |= beside if isinstance(beside, Mapping) else {}
    return {
        name: value
        for name, value in own.items()
        if name not in _RESERVED and not name.startswith(_RESERVED_STARTS)
    }


def make_context(schema: Any, chosen: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """What a graph with this context schema is given; None without one. Keys it does not know are left out.

    BadInputError names the setting that is missing or does not fit.
    """
    if schema is None:
        return None
    names, required = _fields_of(schema)
    ours = given_names(schema)
    values = {name: given[name] for name in ours if name in given}
    for name in names:
        if name in chosen and name not in ours:
            values[name] = _check(schema, name, chosen[name])
    for name in required:
        if name not in values:
            raise BadInputError(f"This agent needs the setting {name!r}: choose it in the agent's settings.")
    try:
        return schema(**values)
    except ValidationError as error:
        raise BadInputError(_problem(error)) from None
    except (ValueError, TypeError) as error:
        raise BadInputError(f"The agent's settings do not fit together: {read_failure(error, 300)}") from None


@lru_cache(maxsize=64)
def _fields_of(schema: Any) -> tuple[dict[str, Any], list[str]]:
    return read_fields(schema) or {}, _required(schema)


def _required(schema: Any) -> list[str]:
    """The settings without which no run can be; those of a TypedDict are optional unless marked ``Required``."""
    if not is_typeddict(schema):
        return required_fields(schema)
    hints = getattr(schema, "__annotations__", {})
    return [name for name, hint in hints.items() if _is_marked(hint)]


def _is_marked(hint: Any) -> bool:
    text = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", "")
    return get_origin(hint) is Required or text.replace("typing.", "").startswith("Required[")


def make_configurable(chosen: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """The settings as LangGraph's ``configurable``, for factories and nodes that read them there.

    ``ids`` are the thread's and those of ``IDS``: whose run it is, is not for a setting to say.
    """
    user = ids.get("user_id", "")
    return {**chosen, **ids, "langgraph_user_id": user, "langgraph_auth_user_id": user}


def describe_settings(schema: Any, left: Collection[str] = ()) -> dict[str, Any] | None:
    """The JSON schema of the settings that a person may choose; None when there are none.

    Those that Skein gives, or that are ``left`` to its own options, are not among them.
    """
    given = {*given_names(schema), *left}
    fields = {name: hint for name, hint in (read_fields(schema) or {}).items() if name not in given}
    required = _required(schema) if fields else ()
    return describe_fields(schema, fields, required=required, name="Settings")


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
    return find_adapter(_fields_of(schema)[0][name])


def _problem(error: ValidationError, name: str = "") -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, (*((name,) if name else ()), *first["loc"])))
    said = first["msg"].removeprefix("Value error, ")
    return f"The setting {place!r} cannot be used: {said[0].lower()}{said[1:]}."
