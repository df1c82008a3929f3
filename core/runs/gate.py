"""The gate that every tool call of a run goes through, in any graph: rules may deny it, or have it asked about.

It is a callback, so that a team's own graph needs no change for it, and it keeps its own account of what was
decided: it takes up none of the places that LangGraph counts a step's questions by. Invariants: a decision counts
for the tool and arguments that it was about, and for nothing else; of the tool calls that a step was given together
none runs before all that have to be asked are decided, so that each runs once, though LangGraph begins it anew.
"""

import asyncio
import hashlib
import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langgraph.errors import GraphInterrupt
from langgraph.prebuilt.tool_node import ToolInvocationError
from langgraph.types import Interrupt

from core.errors import BadInputError
from core.history.approvals import ApprovalRow
from core.history.interrupts import ASKED_BY_RULE, arguments_hash, as_list, exactly
from core.history.rules import Rule, strongest
from core.ids import RuleId
from core.runs.loop import is_on_loop


class RunStoppedError(asyncio.CancelledError):
    """The run was stopped: what a plain function of it still asks for is refused.

    No `Exception`, so that no graph takes it for an error that can be mended.
    """


class ToolRefusedError(ToolInvocationError):
    """A rule or a person refused a tool call; a ToolNode tells the model so, as it does of wrong arguments."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)
        self.message = message


@dataclass(frozen=True)
class Call:
    """A tool call: the tool, and its arguments as they are given to it."""

    tool: str
    arguments: dict[str, Any]

    @property
    def hash(self) -> str:
        return arguments_hash(self.tool, exactly(self.arguments))


@dataclass(frozen=True)
class Denied:
    """A tool call that a rule denied; ``call_id`` is None where code calls the tool itself."""

    rule_id: RuleId
    call_id: str | None
    call: Call


def quiet_callbacks() -> None:
    """Keep LangChain from warning, with all arguments, each time the gate does what it is for."""
    logging.getLogger("langchain_core.callbacks.manager").addFilter(
        lambda record: not record.getMessage().startswith(f"Error in {Gate.__name__}.")
    )


# A call of a step: the step, what is called, and how many times that had been called in the step before.
_Key = tuple[str, str, int]


@dataclass(frozen=True)
class Account:
    """What people have decided in a thread: of what rules had asked, by call, and of what graphs had, how often."""

    decided: Mapping[_Key, Mapping[str, Any]] = field(default_factory=dict)
    granted: Mapping[str, int] = field(default_factory=dict)


def account_of(rows: Sequence[ApprovalRow]) -> Account:
    """What these approvals of one thread come to."""
    decided: dict[_Key, Mapping[str, Any]] = {}
    granted: Counter[str] = Counter()
    for row in rows:
        if isinstance(row.value, dict) and row.value.get(ASKED_BY_RULE):
            answers = (row.response or {}).get("decisions", [])
            decided |= {tuple(key): answer for key, answer in zip(row.value["calls"], answers, strict=False)}
        elif row.decision in {"approve", "edit"}:
            pairs = zip(row.actions, as_list(row.arguments_after), strict=False)
            granted.update(arguments_hash(action.tool, arguments) for action, arguments in pairs)
    return Account(decided, granted)


@dataclass
class _Step:
    """One task of a graph: the tool calls it was given, what was called of them, and whether it has to wait."""

    calls: list[Call] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    interrupted: GraphInterrupt | None = None


class Gate(BaseCallbackHandler):
    """One run's gate; ``load_rules`` is called for each tool call, so that a new rule counts at once."""

    run_inline = True
    raise_error = True
    # Of no concern here; to be called for each token costs.
    ignore_llm = ignore_chat_model = ignore_retriever = ignore_retry = ignore_custom_event = True

    def __init__(self, load_rules: Callable[[], Sequence[Rule]], account: Account | None = None) -> None:
        self.denied: list[Denied] = []
        self.is_closed = False
        # Hears of what is refused because the run was stopped: (run id, tool, arguments, call id).
        self.on_refused: Callable[[UUID, str, Any, str | None], object] | None = None
        self._load_rules = load_rules
        self._account = account or Account()
        self._granted = Counter(self._account.granted)
        self._steps: defaultdict[str, _Step] = defaultdict(_Step)
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
            self._steps[place] = _Step(list(calls_in(inputs)))

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
        """ToolRefusedError when the call is denied or was refused, GraphInterrupt when somebody has to be asked.

        RunStoppedError when the run was stopped.
        """
        name = str((serialized or {}).get("name") or kwargs.get("name") or "tool")
        if self.is_closed and not is_on_loop():
            if self.on_refused is not None:
                self.on_refused(run_id, name, inputs if inputs is not None else input_str, tool_call_id)
            raise RunStoppedError(f"The run was stopped; the tool {name!r} was not run.")
        call = Call(name, inputs if inputs is not None else {"input": input_str})
        rules = self._load_rules()
        with self._lock:
            self._require_allowed(call, tool_call_id, rules)
            if self._account.decided or any(rule.effect == "ask" for rule in rules):
                self._decide(call, _place_of(metadata), rules)

    def _require_allowed(self, call: Call, call_id: str | None, rules: Sequence[Rule]) -> None:
        rule = _rule_for(call, rules)
        if rule is not None and rule.effect == "deny":
            self.denied.append(Denied(rule.rule_id, call_id, call))
            raise ToolRefusedError(f"A rule denies the tool {call.tool!r}; it was not run.")

    def _decide(self, call: Call, place: str, rules: Sequence[Rule]) -> None:
        step = self._steps[place]
        if step.interrupted is not None:
            raise step.interrupted
        told = call.hash
        key: _Key = (place, told, step.seen[told])
        given = [one.hash for one in step.calls].count(told) > step.seen[told]
        self._ask(step, place, step.calls if given else [call], rules, first=0 if given else step.seen[told])
        step.seen[told] += 1
        decision = self._account.decided.get(key)
        if decision is None and self._granted[told] > 0:
            # A person approved just this call because its graph had asked: each approval counts once in a run.
            self._granted[told] -= 1
        if decision is not None and decision.get("type") != "approve":
            raise ToolRefusedError(_refusal(call.tool, str(decision.get("message") or "").strip()))

    def _ask(self, step: _Step, place: str, calls: Sequence[Call], rules: Sequence[Rule], *, first: int) -> None:
        """GraphInterrupt when a rule has any of these asked about and nobody has decided it."""
        counts: Counter[str] = Counter()
        granted = Counter(self._granted)
        asked: list[tuple[Call, _Key]] = []
        for call in calls:
            told = call.hash
            key: _Key = (place, told, first + counts[told])
            counts[told] += 1
            if key[2] < step.seen[told] or key in self._account.decided or not _is_asked(call, rules):
                continue
            if granted[told] > 0:
                granted[told] -= 1
            else:
                asked.append((call, key))
        if asked:
            step.interrupted = GraphInterrupt((_interrupt(asked),))
            raise step.interrupted


def _is_asked(call: Call, rules: Sequence[Rule]) -> bool:
    rule = _rule_for(call, rules)
    return rule is not None and rule.effect == "ask"


def _rule_for(call: Call, rules: Sequence[Rule]) -> Rule | None:
    return strongest(rules, call.tool)


def _refusal(tool: str, reason: str) -> str:
    more = f" Their reason: {reason}" if reason else " Do not try it again unless they ask for it."
    return f"A person refused the tool {tool!r}; it was not run.{more}"


def _interrupt(asked: Sequence[tuple[Call, _Key]]) -> Interrupt[Any]:
    """What is asked, in LangChain's form for several tool calls at once, with the calls that it is about."""
    keys = [list(key) for _, key in asked]
    names = dict.fromkeys(call.tool for call, _ in asked)
    value = {
        "action_requests": [
            {
                "name": call.tool,
                "args": exactly(call.arguments),
                "description": "A rule has this tool asked about.",
            }
            for call, _ in asked
        ],
        "review_configs": [{"action_name": name, "allowed_decisions": ["approve", "reject"]} for name in names],
        "calls": keys,
        ASKED_BY_RULE: True,
    }
    return Interrupt(value, id=hashlib.sha256(repr(keys).encode()).hexdigest()[:32])


def _place_of(metadata: Mapping[str, Any] | None) -> str:
    return str((metadata or {}).get("langgraph_checkpoint_ns") or "")


def calls_in(inputs: Any) -> Iterator[Call]:
    """The tool calls that a node is given: one of its own, or those of the AI message that came last.

    What does not look like one is none: a graph's state may hold anything.
    """
    if isinstance(inputs, Mapping) and inputs.get("__type") == "tool_call_with_context":
        yield from _to_calls([inputs.get("tool_call")])
        return
    values = inputs.values() if isinstance(inputs, Mapping) else [inputs, *getattr(inputs, "__dict__", {}).values()]
    for value in values:
        last = value[-1] if isinstance(value, (list, tuple)) and value else value
        if isinstance(last, AIMessage):
            yield from _to_calls(last.tool_calls)


def _to_calls(calls: Sequence[Any]) -> Iterator[Call]:
    for call in calls:
        if isinstance(call, Mapping) and isinstance(call.get("args"), Mapping):
            try:
                found = Call(str(call.get("name")), dict(call["args"]))
                found.hash  # noqa: B018 - arguments that are no plain data are found by themselves when called
            except BadInputError:
                continue
            yield found
