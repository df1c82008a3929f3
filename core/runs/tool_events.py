"""What a run's tools are asked, what they are given and what they give back, as events of kind ``tool``.

Invariant: whatever a model or a tool gives, its events are bounded and clean, and the arguments that stream in make
at most ten of them a second for each call.
"""

import asyncio
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langgraph.types import Command
from pydantic_core import to_json

from core.outside import TextInPieces, as_text, clean_text, read_failure
from core.runs.events import Event, plain, readable
from core.runs.shows import has_shows, safe_shows

PIECE_SECONDS = 0.1
LONGEST_ARGS = 20_000
LONGEST_RESULT = 4_000
_LONGEST_NAME = 100
_Write = Callable[[str, dict[str, Any]], None]


@dataclass
class Working:
    """A node or tool at work, and since when (monotonic seconds)."""

    name: str
    call_id: str | None = None
    since: float = field(default_factory=time.monotonic)

    @property
    def ms(self) -> int:
        return int((time.monotonic() - self.since) * 1000)


@dataclass
class _Call:
    """A call that a model is writing: what of its arguments was gathered, and how much more is kept."""

    call_id: str
    name: str = ""
    gathered: list[str] = field(default_factory=list)
    shown: TextInPieces = field(default_factory=TextInPieces)
    room: int = LONGEST_ARGS
    since: float = 0.0


class ToolEvents:
    """The tool calls of one run; ``write`` takes (tool, payload), ``place`` says how long the answer is by now."""

    def __init__(self, write: _Write, place: Callable[[], int]) -> None:
        self._write = write
        self._place = place
        self._calls: dict[UUID, dict[Hashable, _Call]] = {}
        self._asked: dict[str, str] = {}
        self._working: dict[UUID, Working] = {}

    # -- a model writes its calls -----------------------------------------------------------------------

    def hear(self, run_id: UUID, chunks: Iterable[Mapping[str, Any]]) -> None:
        """Pieces of calls, as they stream in from one model."""
        for chunk in chunks:
            call = self._find_call(run_id, chunk)
            if chunk.get("name") and not call.name:
                call.name = self._asks(call.call_id, str(chunk["name"]))
                call.since = time.monotonic()
            call.gathered.append(chunk.get("args") or "")
            if time.monotonic() - call.since >= PIECE_SECONDS:
                self._flush(call, is_whole=False)

    def conclude(self, run_id: UUID, message: BaseMessage | None = None) -> None:
        """A model has ended: write what is left, and the calls that it did not stream."""
        calls = self._calls.pop(run_id, {})
        for call in calls.values():
            self._flush(call)
        known = {call.call_id for call in calls.values()}
        for asked in message.tool_calls if isinstance(message, AIMessage) else ():
            call_id = asked.get("id")
            if call_id and clean_text(call_id) not in known:
                call = _Call(clean_text(call_id))
                call.name = self._asks(call.call_id, asked["name"])
                call.gathered.append(to_json(plain(asked["args"])).decode())
                self._flush(call)

    def _find_call(self, run_id: UUID, chunk: Mapping[str, Any]) -> _Call:
        calls = self._calls.setdefault(run_id, {})
        call_id, key = clean_text(chunk.get("id") or ""), chunk.get("index")
        if key is None:
            key = call_id or next(reversed(calls), None)
        known = calls.get(key)
        if known is None or (call_id and call_id != known.call_id):
            if known is not None:
                self._flush(known)
            known = calls[key] = _Call(call_id or f"{run_id}:{len(calls)}")
        return known

    def _asks(self, call_id: str, name: str) -> str:
        name = readable(name, _LONGEST_NAME)
        self._asked[call_id] = name
        self._write(name, {"phase": "call", "id": call_id, "name": name, "at": self._place()})
        return name

    def _flush(self, call: _Call, *, is_whole: bool = True) -> None:
        if not call.name:
            return
        text = call.shown.take("".join(call.gathered))
        if is_whole:
            text += call.shown.rest()
        text = text[: call.room]
        call.gathered.clear()
        call.since = time.monotonic()
        call.room -= len(text)
        if text := readable(text, LONGEST_ARGS):
            self._write(call.name, {"phase": "args", "id": call.call_id, "text": text})

    # -- tools at work ----------------------------------------------------------------------------------

    def start(self, run_id: UUID, name: str, args: Any, call_id: str | None) -> None:
        name, call_id = readable(name, _LONGEST_NAME), clean_text(call_id) if call_id else None
        self._asked.pop(call_id or "", None)
        self._working[run_id] = Working(name, call_id)
        args = readable(args, LONGEST_ARGS) if isinstance(args, str) else plain(args)
        told = {"phase": "start", "id": str(run_id), "call_id": call_id, "args": args, "at": self._place()}
        self._write(name, told)

    def end(self, run_id: UUID, outcome: Mapping[str, Any]) -> None:
        """A tool that ran has ended: with result, error or waits, and perhaps shows."""
        tool = self._working.pop(run_id, None)
        told = {
            "phase": "end",
            "id": str(run_id),
            "call_id": tool.call_id if tool else None,
            "ms": tool.ms if tool else None,
        }
        self._write(tool.name if tool else "tool", {**told, **outcome})

    def answered(self, messages: Iterable[BaseMessage]) -> None:
        """Calls that were answered though nothing ran: refused ones, or those of a tool that is not there."""
        if not self._asked:
            return
        for message in messages:
            call_id = clean_text(message.tool_call_id) if isinstance(message, ToolMessage) else ""
            if (name := self._asked.pop(call_id, None)) is not None:
                told = {"phase": "end", "id": call_id, "call_id": call_id, "ms": None}
                self._write(name, {**told, **read_outcome(message)})

    def resume(self, event: Event) -> None:
        """An event of the part of the log that was before."""
        match event.payload["phase"]:
            case "call":
                self._asked[event.payload["id"]] = event.node or ""
            case "start" | "end":
                self._asked.pop(event.payload.get("call_id") or "", None)


def find_message(output: Any) -> ToolMessage | None:
    """The first message in what a tool gave, be it that itself, a command or a list of these."""
    for item in output if isinstance(output, (list, tuple)) else (output,):
        if isinstance(item, Command):
            messages = item.update.get("messages") if isinstance(item.update, Mapping) else None
            found = next((one for one in messages_in(messages) if isinstance(one, ToolMessage)), None)
        else:
            found = item if isinstance(item, ToolMessage) else None
        if found is not None:
            return found
    return None


def messages_in(state: Any) -> list[BaseMessage]:
    """The messages right inside a node's input or result, whatever shape that has."""
    if isinstance(state, BaseMessage):
        return [state]
    if isinstance(state, Mapping):
        state = [item for value in state.values() for item in (value if isinstance(value, list) else [value])]
    elif not isinstance(state, (list, tuple)):
        state = list(vars(state).values()) if hasattr(state, "__dict__") else []
        state = [item for value in state for item in (value if isinstance(value, list) else [value])]
    return [item for item in state if isinstance(item, BaseMessage)]


async def read_end(output: Any) -> dict[str, Any]:
    """What a tool gave: its outcome, and what it shows, where there is anything."""
    outcome, message = read_outcome(output), find_message(output)
    if message is not None and has_shows(message):
        # Pictures are drawn anew, which takes its time: not on the loop that all runs share.
        outcome["shows"] = await asyncio.to_thread(safe_shows, message)
    return outcome


def read_outcome(output: Any) -> dict[str, Any]:
    """What a tool gave, as a text that can be shown: its result, or its error."""
    message = find_message(output)
    text = _text_of(output if message is None else message)
    if message is not None and message.status == "error":
        return {"error": _read_error(text)}
    return {"result": readable(text, LONGEST_RESULT)}


def read_error(error: BaseException) -> dict[str, Any]:
    """What a tool failed with."""
    return {"error": _read_error(f"{type(error).__name__}: {as_text(error)}")}


def _read_error(text: str) -> str:
    size = len(text)
    return readable(read_failure(text, 2 * LONGEST_RESULT), LONGEST_RESULT, of=size)


def _text_of(output: Any) -> str:
    if not isinstance(output, ToolMessage):
        return as_text(output)
    if output.text or not isinstance(output.content, list):
        return output.text
    others = [block for block in output.content if not _is_picture(block)]
    return as_text(plain(others)) if others else ""


def _is_picture(block: Any) -> bool:
    return isinstance(block, Mapping) and block.get("type") in {"image", "image_url"}
