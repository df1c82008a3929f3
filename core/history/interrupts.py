"""What an interrupt asks of a person, and what its graph is given for their decision.

Three forms are known: LangChain's approval of one tool call, its approval of several at once, and any other value,
which is a question. A pause is a stop that the graph was compiled with (``interrupt_before``), and asks nothing.
Invariant: a decision is turned into a response only when it fits what the interrupt allows and its schema.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from pydantic_core import to_jsonable_python

from core.errors import BadInputError
from core.json_schema import find_mismatches
from core.tables import canonical_json, clean_text

DecisionKind = Literal["approve", "edit", "answer", "refuse"]
ApprovalKind = Literal["tool", "question", "pause"]
LONGEST_REASON = 2_000
LARGEST_VALUE = 5_000_000
# In the value of an interrupt: a rule had this asked, not the graph.
ASKED_BY_RULE = "asked_by_rule"
_THEIR_NAMES: dict[str, DecisionKind] = {
    "approve": "approve",
    "edit": "edit",
    "reject": "refuse",
    "respond": "answer",
}
_OUR_NAMES: dict[str, str] = {ours: theirs for theirs, ours in _THEIR_NAMES.items()}


@dataclass(frozen=True)
class Action:
    """One thing to decide about; ``schema`` is the JSON schema of the arguments, None when it is not known."""

    tool: str
    arguments: dict[str, Any]
    description: str = ""
    allowed: tuple[DecisionKind, ...] = ("approve", "refuse")
    schema: dict[str, Any] | None = None


@dataclass(frozen=True)
class Decision:
    """What was decided about one action: an edit's ``arguments``, the ``answer``, the ``reason`` of a refusal."""

    kind: DecisionKind
    arguments: dict[str, Any] | None = None
    answer: Any = None
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """One interrupt as LangGraph tells of it: plain ``value`` and ``response_schema`` (JSON schema)."""

    interrupt_id: str
    node: str
    value: Any
    response_schema: dict[str, Any] | None = None
    is_pause: bool = False


def exactly(value: Any) -> Any:
    """A value as plain data, whole, for what is decided about is never shortened; BadInputError when too large."""
    try:
        data = json.loads(canonical_json(to_jsonable_python(value, fallback=repr, inf_nan_mode="null")))
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInputError(
            f"What the agent asks about is no plain data ({type(error).__name__}), so nobody can decide it."
        ) from None
    size = len(canonical_json(data))
    if size > LARGEST_VALUE:
        raise BadInputError(
            f"What the agent asks about has {size:,} characters; at most {LARGEST_VALUE:,} can be decided."
        )
    return data


def kind_of(asked: Asked) -> ApprovalKind:
    if asked.is_pause:
        return "pause"
    return "tool" if read_actions(asked.value, asked.response_schema) else "question"


def read_actions(value: Any, response_schema: Mapping[str, Any] | None) -> tuple[Action, ...]:
    """The tool calls that an interrupt asks about; none when it asks something else."""
    if not isinstance(value, Mapping):
        return ()
    try:
        if value.get("type") == "tool_approval":
            return (_one_call(value, response_schema or {}),)
        if isinstance(value.get("action_requests"), list) and isinstance(value.get("review_configs"), list):
            return tuple(_several(value))
    except (KeyError, TypeError, ValueError):
        # It only looks like LangChain's form: then it is a question, with a value of its own.
        return ()
    return ()


def _one_call(value: Mapping[str, Any], response_schema: Mapping[str, Any]) -> Action:
    name = str(value["name"])
    takes = {kind: branch for branch in _branches(response_schema) for kind in _kinds_of(branch)}
    allowed = tuple(ours for theirs, ours in _THEIR_NAMES.items() if theirs in takes)
    schema = _edited_arguments(takes.get("edit"), response_schema)
    return Action(name, dict(value["args"]), str(value.get("description") or ""), allowed or ("approve",), schema)


def _several(value: Mapping[str, Any]) -> Iterator[Action]:
    configs = {config["action_name"]: config for config in value["review_configs"]}
    for request in value["action_requests"]:
        name = str(request["name"])
        config = configs.get(name, {})
        allowed = tuple(_THEIR_NAMES[kind] for kind in config.get("allowed_decisions", ()) if kind in _THEIR_NAMES)
        yield Action(
            name,
            dict(request["args"]),
            str(request.get("description") or ""),
            allowed or ("approve", "refuse"),
            config.get("args_schema"),
        )


def with_schemas(value: Any, schemas: Mapping[str, dict[str, Any]]) -> Any:
    """The same value, with the JSON schema of the arguments where it asks about several tools without saying it."""
    if not isinstance(value, Mapping) or not isinstance(value.get("review_configs"), list):
        return value
    return {**value, "review_configs": [_with_schema(config, schemas) for config in value["review_configs"]]}


def _with_schema(config: Any, schemas: Mapping[str, dict[str, Any]]) -> Any:
    if not isinstance(config, Mapping) or "args_schema" in config:
        return config
    schema = schemas.get(str(config.get("action_name")))
    return {**config, "args_schema": schema} if schema else config


def _branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The objects that an answer may be, each with a ``type`` of its own."""
    options = schema.get("oneOf") or schema.get("anyOf") or [schema]
    for option in options:
        yield _followed(option, schema)


def _followed(part: Any, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a schema, or what it refers to inside of that."""
    reference = part.get("$ref", "") if isinstance(part, Mapping) else ""
    if reference.startswith("#/$defs/"):
        return schema.get("$defs", {}).get(reference.removeprefix("#/$defs/"), {})  # type: ignore[no-any-return]
    return part if isinstance(part, Mapping) else {}


def _kinds_of(branch: Mapping[str, Any]) -> tuple[str, ...]:
    kind = branch.get("properties", {}).get("type", {})
    return tuple(kind.get("enum") or ([kind["const"]] if "const" in kind else []))


def _edited_arguments(branch: Mapping[str, Any] | None, schema: Mapping[str, Any]) -> dict[str, Any] | None:
    if branch is None:
        return None
    action = _followed(branch.get("properties", {}).get("edited_action", {}), schema)
    arguments = _followed(action.get("properties", {}).get("args", {}), schema)
    if not arguments.get("properties"):
        return None
    return {**arguments, "$defs": schema["$defs"]} if "$defs" in schema else dict(arguments)


def tool_and_arguments(asked: Asked) -> tuple[str, Any]:
    """What of an interrupt stands in the columns ``tool`` and ``arguments``: one dict, or a list for several."""
    actions = read_actions(asked.value, asked.response_schema)
    if not actions:
        return "", asked.value
    arguments = [action.arguments for action in actions]
    return ", ".join(action.tool for action in actions), arguments[0] if len(arguments) == 1 else arguments


def as_list(arguments: Any) -> list[Any]:
    """What stands in a column of arguments, one for each action."""
    return arguments if isinstance(arguments, list) else [arguments]


def arguments_hash(tool: str, arguments: Any) -> str:
    """SHA-256 of what is asked, so that a decision is known to be about just that."""
    return hashlib.sha256(canonical_json([tool, arguments]).encode()).hexdigest()


def check_decisions(actions: Sequence[Action], decisions: Sequence[Decision]) -> None:
    """BadInputError says which decision does not fit what is asked."""
    if len(decisions) != len(actions):
        raise BadInputError(f"This asks about {len(actions)} tool calls; please decide about each of them.")
    for action, decision in zip(actions, decisions, strict=True):
        _check(action, decision)


def _check(action: Action, decision: Decision) -> None:
    if decision.kind not in get_args(DecisionKind) or decision.kind not in action.allowed:
        allowed = ", ".join(action.allowed)
        raise BadInputError(f"{action.tool} does not allow to {decision.kind} here; choose one of: {allowed}.")
    if decision.kind == "edit":
        if decision.arguments is None:
            raise BadInputError(f"The edited arguments of {action.tool} are missing; please give them.")
        problems = find_mismatches(action.schema, decision.arguments) if action.schema else []
        if problems:
            raise BadInputError(f"The edited arguments do not fit {action.tool}: {'; '.join(problems)}")
    if decision.kind == "answer" and not str(decision.answer or "").strip():
        raise BadInputError("The answer is empty; please type something.")


def respond(value: Any, actions: Sequence[Action], decisions: Sequence[Decision]) -> Any:
    """What the graph is given for these decisions about its tool calls."""
    answers = [_to_langchain(action, decision) for action, decision in zip(actions, decisions, strict=True)]
    is_single = isinstance(value, Mapping) and value.get("type") == "tool_approval"
    return answers[0] if is_single else {"decisions": answers}


def _to_langchain(action: Action, decision: Decision) -> dict[str, Any]:
    answer: dict[str, Any] = {"type": _OUR_NAMES[decision.kind]}
    if decision.kind == "edit":
        answer["edited_action"] = {"name": action.tool, "args": decision.arguments}
    elif decision.kind == "answer":
        answer["message"] = clean_text(str(decision.answer))
    elif decision.kind == "refuse" and decision.reason:
        answer["message"] = decision.reason
    return answer


def check_answer(response_schema: Mapping[str, Any] | None, answer: Any) -> None:
    """BadInputError says where an answer to a question does not fit the schema that came with it."""
    problems = find_mismatches(dict(response_schema), answer) if response_schema else []
    if problems:
        raise BadInputError(f"The answer does not fit what is asked: {'; '.join(problems)}")
