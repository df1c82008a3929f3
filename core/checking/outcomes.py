"""What a graph came to, in a form that two runs of it can be compared by.

Ids differ from run to run, and what streams reports other usage than what does not: both are left out. Invariant:
everything else counts, the classes of values included.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.types import StateSnapshot
from pydantic import BaseModel

# What a message carries beside its words that differs between a call that streams and one that does not.
_OF_THE_CALL = frozenset({"refusal", "reasoning_content", "parsed"})
# Blocks of a message's content that are its words, or stand among its tool calls too.
_SEEN_ELSEWHERE = frozenset({"text", "output_text", "tool_use", "tool_call", "function_call", "input_json_delta"})


@dataclass(frozen=True)
class Outcome:
    """One turn: each state as (its source, what comes next, its values), what it asks, what it failed with."""

    states: Sequence[tuple[str, tuple[str, ...], Any]] = ()
    asked: Sequence[Any] = ()
    error: str = ""


@dataclass
class Normal:
    """Makes values comparable; one for each run, since tool calls are named by the order they come in."""

    _calls: dict[str, str] = field(default_factory=dict)

    def outcome(self, states: Iterable[StateSnapshot], error: str) -> Outcome:
        """A turn of these states, oldest first; ``error`` is the class of what it failed with, or ""."""
        found = list(states)
        told = [(str((one.metadata or {}).get("source")), one.next, self.value(one.values)) for one in found]
        asked = [self.value(interrupt.value) for one in found[-1:] for interrupt in one.interrupts]
        return Outcome(told, asked, error)

    def value(self, value: Any) -> Any:
        """The value with the name of its class where that is not a plain one."""
        if value is None or type(value) in (str, int, float, bool, bytes):
            return value if value == value else "nan"  # noqa: PLR0124 - nothing but nan differs from itself
        kind = type(value).__name__
        if isinstance(value, BaseMessage):
            return self._message(value)
        if isinstance(value, Mapping):
            return {self.value(name): self.value(inner) for name, inner in value.items()}
        return kind, self._inside(value)

    def _inside(self, value: Any) -> Any:
        """What makes up a value of a class."""
        if isinstance(value, Enum):
            return value.name
        if isinstance(value, BaseModel):
            return {name: self.value(getattr(value, name)) for name in type(value).model_fields}
        if dataclasses.is_dataclass(value):
            return {one.name: self.value(getattr(value, one.name)) for one in dataclasses.fields(value)}
        if isinstance(value, (set, frozenset)):
            return sorted(map(repr, value))
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        return str(value)

    def _message(self, message: BaseMessage) -> Any:
        extra = {
            name: self.value(one) for name, one in message.additional_kwargs.items() if name not in _OF_THE_CALL
        }
        told: dict[str, Any] = {"content": self._content(message.content), "name": message.name, "extra": extra}
        if isinstance(message, AIMessage):
            told["calls"] = [(call["name"], call["args"], self._call(call["id"])) for call in message.tool_calls]
        if isinstance(message, ToolMessage):
            told |= {"call": self._call(message.tool_call_id), "status": message.status}
        return type(message).__name__.removesuffix("Chunk"), told

    def _content(self, content: Any) -> Any:
        """The words, and the other blocks: what streams may have the same words in more or fewer blocks."""
        if isinstance(content, str):
            return content, []
        blocks = [block for block in content if isinstance(block, Mapping)]
        words = "".join(block if isinstance(block, str) else str(block.get("text") or "") for block in content)
        others = [block for block in blocks if block.get("type") not in _SEEN_ELSEWHERE]
        return words, [
            self.value({k: v for k, v in block.items() if v is not None and k != "index"}) for block in others
        ]

    def _call(self, call_id: str | None) -> str:
        return self._calls.setdefault(str(call_id), f"call {len(self._calls) + 1}")


def find_differences(bare: Sequence[Outcome], here: Sequence[Outcome]) -> list[str]:
    """In sentences what of two runs of the same turns is not the same; none when all is."""
    found: list[str] = []
    for number, (one, other) in enumerate(zip(bare, here, strict=True), start=1):
        if one.error != other.error:
            found.append(
                f"turn {number} ended with {one.error or 'no error'} bare, and {other.error or 'none'} here"
            )
        if one.asked != other.asked:
            found.append(f"turn {number} asked {one.asked} bare, and {other.asked} here")
        if len(one.states) != len(other.states):
            found.append(f"turn {number} made {len(one.states)} states bare, and {len(other.states)} here")
        for place, (left, right) in enumerate(zip(one.states, other.states, strict=False), start=1):
            for name, was, is_now in zip(("source", "next", "values"), left, right, strict=True):
                if was != is_now:
                    found.append(f"state {place} of turn {number}: its {name} is {was} bare, and {is_now} here")
    return found
