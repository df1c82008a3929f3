"""The tool calls of a run, put together from its events: what was asked, given and found. Nothing draws here."""

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from core.runs.events import Event
from pages.parts.chat.markdown_blocks import next_break


class CallState(StrEnum):
    """How far a call has come."""

    ASKED = "asked"
    RUNNING = "running"
    WAITS = "waits"
    DONE = "done"
    FAILED = "failed"


@dataclass(eq=False)
class ToolCall:
    """One tool call; ``at`` says how long the answer was then, ``written`` is its arguments as they stream in.

    ``args`` are those that it was really given, which may differ: None until it runs.
    """

    name: str
    at: int = 0
    state: CallState = CallState.ASKED
    written: str = ""
    args: Any = None
    result: str = ""
    ms: int | None = None
    shows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def args_text(self) -> str:
        """The arguments, as JSON where they are whole."""
        if self.args is None:
            return self.written
        return self.args if isinstance(self.args, str) else json.dumps(self.args, ensure_ascii=False, indent=2)

    @property
    def is_over(self) -> bool:
        return self.state in {CallState.DONE, CallState.FAILED}


class ToolCalls:
    """The calls of one run, in the order in which they were asked."""

    def __init__(self) -> None:
        self.all: list[ToolCall] = []
        self._by_id: dict[str, ToolCall] = {}

    def add(self, event: Event) -> ToolCall | None:
        """Take one event; gives the call that it tells of."""
        if event.kind != "tool":
            return None
        told = event.payload
        match told["phase"]:
            case "call":
                return self._begin(event, told["id"])
            case "args":
                return self._write(told)
            case "start":
                return self._start(event)
            case _:
                return self._end(told)

    def _begin(self, event: Event, call_id: str) -> ToolCall:
        call = ToolCall(event.node or "tool", event.payload.get("at", 0))
        self.all.append(call)
        self._by_id[call_id] = call
        return call

    def _write(self, told: dict[str, Any]) -> ToolCall | None:
        call = self._by_id.get(told["id"])
        if call is not None:
            call.written += told["text"]
        return call

    def _start(self, event: Event) -> ToolCall:
        told = event.payload
        call_id = told.get("call_id") or told["id"]
        call = self._by_id.get(call_id)
        if call is None or call.is_over:
            call = self._begin(event, call_id)
        self._by_id[told["id"]] = call
        call.name, call.args, call.state = event.node or call.name, told.get("args"), CallState.RUNNING
        return call

    def _end(self, told: dict[str, Any]) -> ToolCall | None:
        call = self._by_id.get(told["id"])
        if call is None:
            return None
        failed = told.get("error") is not None
        call.state = CallState.WAITS if told.get("waits") else CallState.DONE
        if failed:
            call.state = CallState.FAILED
        call.result, call.ms = str(told.get("error" if failed else "result") or ""), told.get("ms")
        call.shows = told.get("shows") or []
        return call


def collect(events: Iterable[Event], *, asked: Collection[str] = ()) -> list[ToolCall]:
    """The calls that these events tell of; those not yet run of tools that a person is ``asked`` about wait."""
    calls = ToolCalls()
    is_set_right = False
    for event in events:
        calls.add(event)
        is_set_right = is_set_right or event.kind == "answer"
    for call in calls.all:
        if is_set_right:
            # Its place was in what had been streamed, which the answer is not.
            call.at = 0
        if call.state is CallState.ASKED and call.name in asked:
            call.state = CallState.WAITS
    return calls.all


def in_order(answer: str, calls: Sequence[ToolCall]) -> list[str | ToolCall]:
    """The answer, parted where its calls come between, each at the next end of a paragraph."""
    parts: list[str | ToolCall] = []
    done = 0
    for call in sorted(calls, key=lambda call: call.at):
        place = max(next_break(answer, call.at), done)
        if text := answer[done:place].strip("\n"):
            parts.append(text)
        parts.append(call)
        done = place
    if text := answer[done:].strip("\n") if calls else answer:
        parts.append(text)
    return parts
