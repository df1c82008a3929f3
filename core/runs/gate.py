"""The gate that every tool call of a run goes through, in any graph: rules may deny it, or have it asked about.

It is a callback, so that a team's own graph needs no change for it. Invariant: of the tool calls that one step
makes together none runs before all of those that have to be asked are decided, so that an approved tool runs once,
though LangGraph runs the step anew when it is resumed.
"""

import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt.tool_node import ToolInvocationError
from langgraph.types import interrupt

from core.history.interrupts import arguments_hash, exactly
from core.history.rules import Rule, strongest
from core.ids import RuleId

ASKED_BY_RULE = "asked_by_rule"


class ToolRefusedError(ToolInvocationError):
    """A rule or a person refused a tool call; a ToolNode tells the model so, as it does of wrong arguments."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.message = message


@dataclass(frozen=True)
class Call:
    """A tool call: its id (None where code calls the tool itself), the tool, and its arguments."""

    call_id: str | None
    tool: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Denied:
    """A tool call that a rule denied."""

    rule_id: RuleId
    call: Call


@dataclass
class _Step:
    """One task of a graph: the tool calls it was given, and what was decided about those that were asked."""

    calls: list[Call] = field(default_factory=list)
    interrupted: GraphInterrupt | None = None
    decisions: dict[Any, Mapping[str, Any]] | None = None


class Gate(BaseCallbackHandler):
    """One run's gate; ``load_rules`` is called when the first tool is, ``granted`` what a person has approved."""

    run_inline = True
    raise_error = True

    def __init__(
        self, load_rules: Callable[[], Sequence[Rule]], *, granted: Collection[tuple[str, str]] = ()
    ) -> None:
        self.denied: list[Denied] = []
        self._load_rules = load_rules
        self._rules: Sequence[Rule] | None = None
        self._granted = frozenset(granted)
        self._steps: dict[str, _Step] = {}
        self._lock = threading.RLock()

    def on_chain_start(
        self,
        serialized: dict[str, Any] | None,
        inputs: Any,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """A node begins: remember which tool calls it was given."""
        place = _place_of(metadata)
        if place and kwargs.get("name") == (metadata or {}).get("langgraph_node") and place not in self._steps:
            self._steps[place] = _Step(list(_calls_in(inputs)))

    def on_tool_start(
        self,
        serialized: dict[str, Any] | None,
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        tool_call_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        """ToolRefusedError when the call is denied or was refused, GraphInterrupt when somebody has to be asked."""
        arguments = inputs if inputs is not None else {"input": input_str}
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        self._pass(Call(tool_call_id, name, arguments), _place_of(metadata))

    def _pass(self, call: Call, place: str) -> None:
        with self._lock:
            rule = self._rule_for(call)
            if rule is not None and rule.effect == "deny":
                self.denied.append(Denied(rule.rule_id, call))
                raise ToolRefusedError(f"A rule denies the tool {call.tool!r}; it was not run.")
            step = self._steps.setdefault(place, _Step())
            if call.call_id is None or all(known.call_id != call.call_id for known in step.calls):
                # Not given to the step, but called by its code: it is asked about when it comes to it.
                step = _Step([call])
            self._decide(step)
            decision = (step.decisions or {}).get(call.call_id)
        if decision is not None and decision.get("type") != "approve":
            reason = str(decision.get("message") or "").strip()
            raise ToolRefusedError(
                f"A person refused the tool {call.tool!r}; it was not run."
                + (f" Their reason: {reason}" if reason else " Do not try it again unless they ask for it.")
            )

    def _decide(self, step: _Step) -> None:
        if step.interrupted is not None:
            raise step.interrupted
        asked = [call for call in step.calls if self._is_asked(call)]
        if step.decisions is not None or not asked:
            return
        try:
            answer = interrupt(_request(asked))
        except GraphInterrupt as stop:
            step.interrupted = stop
            raise
        decisions = answer.get("decisions") if isinstance(answer, Mapping) else None
        if not isinstance(decisions, list) or len(decisions) != len(asked):
            raise ToolRefusedError("The decision does not fit the tool calls it was asked about; none was run.")
        step.decisions = {call.call_id: decision for call, decision in zip(asked, decisions, strict=True)}

    def _is_asked(self, call: Call) -> bool:
        rule = self._rule_for(call)
        if rule is None or rule.effect != "ask":
            return False
        return (call.tool, arguments_hash(call.tool, exactly(call.arguments))) not in self._granted

    def _rule_for(self, call: Call) -> Rule | None:
        if self._rules is None:
            self._rules = self._load_rules()
        return strongest(self._rules, call.tool)


def _request(calls: Sequence[Call]) -> dict[str, Any]:
    """What the interrupt says: LangChain's form for several tool calls at once."""
    return {
        "action_requests": [
            {"name": call.tool, "args": exactly(call.arguments), "description": "A rule has this tool asked about."}
            for call in calls
        ],
        "review_configs": [
            {"action_name": name, "allowed_decisions": ["approve", "reject"]}
            for name in dict.fromkeys(call.tool for call in calls)
        ],
        ASKED_BY_RULE: True,
    }


def _place_of(metadata: Mapping[str, Any] | None) -> str:
    return str((metadata or {}).get("langgraph_checkpoint_ns") or "")


def _calls_in(inputs: Any) -> Iterator[Call]:
    """The tool calls that a node is given: one of its own, or those of the last message of an AI."""
    if isinstance(inputs, Mapping) and isinstance(inputs.get("tool_call"), Mapping):
        yield _to_call(inputs["tool_call"])
        return
    if isinstance(inputs, Mapping):
        messages = inputs.get("messages")
    else:
        messages = inputs if isinstance(inputs, list) else getattr(inputs, "messages", None)
    last = messages[-1] if isinstance(messages, list) and messages else None
    if isinstance(last, AIMessage):
        yield from (_to_call(call) for call in last.tool_calls)


def _to_call(call: Mapping[str, Any]) -> Call:
    return Call(call.get("id"), str(call.get("name")), dict(call.get("args") or {}))
