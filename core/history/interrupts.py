"""What an interrupt asks of a person, and what its graph is given for their decision.

Four forms are known: LangChain's approval of one tool call, its approval of several at once, the older form of
LangGraph's Agent Inbox (one request, or a list of them), and any other value, which is a question. A pause asks
nothing: it is a stop that the graph was compiled with (``interrupt_before``), or a `NodeInterrupt`, which takes no
answer.

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
from core.tables import canonical_json, clean_text, ordered_json

DecisionKind = Literal["approve", "edit", "answer", "refuse"]
ApprovalKind = Literal["tool", "question", "pause"]
LONGEST_REASON = 2_000
LARGEST_VALUE = 5_000_000
# In the value of an interrupt: a rule had this asked, not the graph.
ASKED_BY_RULE = "asked_by_rule"
# In the value of a pause: what the graph said when it paused by itself.
SAID = "said"
_THEIR_NAMES: dict[str, DecisionKind] = {
    "approve": "approve",
    "edit": "edit",
    "reject": "refuse",
    "respond": "answer",
}
_OUR_NAMES: dict[str, str] = {ours: theirs for theirs, ours in _THEIR_NAMES.items()}
# The older form: what its config may allow, and what each is called in its responses.
_INBOX_ALLOWS: dict[str, DecisionKind] = {
    "allow_accept": "approve",
    "allow_edit": "edit",
    "allow_respond": "answer",
    "allow_ignore": "refuse",
}
_INBOX_NAMES: dict[str, str] = {"approve": "accept", "edit": "edit", "answer": "response", "refuse": "ignore"}


@dataclass(frozen=True)
class Action:
    """One thing to decide about; ``schema`` is the JSON schema of the arguments, None when it is not known.

    ``is_inbox``: it was asked in the older form, in which a refusal gives no reason.
    """

    tool: str
    arguments: dict[str, Any]
    description: str = ""
    allowed: tuple[DecisionKind, ...] = ("approve", "refuse")
    schema: dict[str, Any] | None = None
    is_inbox: bool = False


@dataclass(frozen=True)
class Decision:
    """What was decided about one action: an edit's ``arguments``, the ``answer``, the ``reason`` of a refusal."""

    kind: DecisionKind
    arguments: dict[str, Any] | None = None
    answer: Any = None
    reason: str = ""


@dataclass(frozen=True)
class Asked:
    """One interrupt as LangGraph tells of it: plain ``value`` and ``response_schema`` (JSON schema).

    ``runs_again`` are the tools that its step has run, and runs a second time when it goes on.
    """

    interrupt_id: str
    node: str
    value: Any
    response_schema: dict[str, Any] | None = None
    is_pause: bool = False
    runs_again: tuple[str, ...] = ()


def exactly(value: Any) -> Any:
    """A value as plain data, whole, for what is decided about is never shortened; BadInputError when too large."""
    try:
        text = ordered_json(to_jsonable_python(value, fallback=repr, inf_nan_mode="null"))
        data = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadInputError(
            f"What the agent asks about is no plain data ({type(error).__name__}), so nobody can decide it."
        ) from None
    if len(text) > LARGEST_VALUE:
        raise BadInputError(
            f"What the agent asks about has {len(text):,} characters; at most {LARGEST_VALUE:,} can be decided."
        )
    return data


def kind_of(asked: Asked) -> ApprovalKind:
    if asked.is_pause:
        return "pause"
    return "tool" if read_actions(asked.value, asked.response_schema) else "question"


def read_actions(value: Any, response_schema: Mapping[str, Any] | None) -> tuple[Action, ...]:
    """The tool calls that an interrupt asks about; none when it asks something else."""
    try:
        if requests := _inbox_requests(value):
            return tuple(_from_inbox(request) for request in requests)
        if not isinstance(value, Mapping):
            return ()
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


def _inbox_requests(value: Any) -> list[Mapping[str, Any]]:
    """The requests of the older form, which come in a list or one alone; none when it is not that form."""
    requests = value if isinstance(value, list) else [value]
    return requests if requests and all(map(_is_inbox_request, requests)) else []


def _is_inbox_request(request: Any) -> bool:
    if not isinstance(request, Mapping):
        return False
    action, config = request.get("action_request"), request.get("config")
    if not isinstance(action, Mapping) or not isinstance(config, Mapping) or "action" not in action:
        return False
    return isinstance(action.get("args") or {}, Mapping)


def _from_inbox(request: Mapping[str, Any]) -> Action:
    action, config = request["action_request"], request["config"]
    return Action(
        str(action["action"]),
        dict(action.get("args") or {}),
        str(request.get("description") or ""),
        tuple(kind for name, kind in _INBOX_ALLOWS.items() if config.get(name)),
        request.get("args_schema"),
        is_inbox=True,
    )


def with_schemas(value: Any, schemas: Mapping[str, dict[str, Any]]) -> Any:
    """The same value, with the JSON schema of the arguments where it asks about tools without saying it."""
    if requests := _inbox_requests(value):
        named = [_with_fitting_schema(one, schemas) for one in requests]
        return named if isinstance(value, list) else named[0]
    if not isinstance(value, Mapping) or not isinstance(value.get("review_configs"), list):
        return value
    configs = [
        _with_schema(config, str(config.get("action_name")), schemas) if isinstance(config, Mapping) else config
        for config in value["review_configs"]
    ]
    return {**value, "review_configs": configs}


def _with_fitting_schema(request: Mapping[str, Any], schemas: Mapping[str, dict[str, Any]]) -> Mapping[str, Any]:
    """A graph asks in the older form by itself, perhaps with other arguments than the tool of that name takes."""
    action = request["action_request"]
    tool = str(action["action"])
    if tool not in schemas or find_mismatches(schemas[tool], dict(action.get("args") or {})):
        return request
    return _with_schema(request, tool, schemas)


def _with_schema(said: Mapping[str, Any], tool: str, schemas: Mapping[str, dict[str, Any]]) -> Mapping[str, Any]:
    if "args_schema" in said or tool not in schemas:
        return said
    return {**said, "args_schema": schemas[tool]}


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
        allowed = ", ".join(action.allowed) or "none, only stop the run"
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
    if _inbox_requests(value):
        given = [_to_inbox(action, decision) for action, decision in zip(actions, decisions, strict=True)]
        return given if isinstance(value, list) else given[0]
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


def _to_inbox(action: Action, decision: Decision) -> dict[str, Any]:
    """As `langgraph.prebuilt.interrupt.HumanResponse` has it."""
    arguments: Any = None
    if decision.kind == "edit":
        arguments = {"action": action.tool, "args": decision.arguments}
    elif decision.kind == "answer":
        arguments = clean_text(str(decision.answer))
    return {"type": _INBOX_NAMES[decision.kind], "args": arguments}


def check_answer(response_schema: Mapping[str, Any] | None, answer: Any) -> None:
    """BadInputError says where an answer to a question does not fit the schema that came with it."""
    problems = find_mismatches(dict(response_schema), answer) if response_schema else []
    if problems:
        raise BadInputError(f"The answer does not fit what is asked: {'; '.join(problems)}")
