"""From what LangGraph says while it runs to the few plain events of the log.

Text comes from a callback handler (cheaper per token than stream mode ``messages``), all else from the parts of
one ``astream`` pass. Invariant: only the answering node's text becomes ``token``; two models that speak at the
same time never mix in one answer, the later one is an ``aside``.
"""

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langgraph.constants import TAG_NOSTREAM

from core.runs.events import EventKind, plain
from core.runs.log import RunLog
from core.tables import clean_text

TOOL_NODE = "tools"
LONGEST_RESULT = 4_000
PARAGRAPH = "\n\n"


@dataclass
class _Speaker:
    """One model call that is being listened to."""

    node: str
    answers: bool
    spoke: bool = False


@dataclass
class _Working:
    """A node or tool at work, and since when (monotonic seconds)."""

    name: str
    since: float = field(default_factory=time.monotonic)


class Recorder(BaseCallbackHandler, _StreamingCallbackHandler[Any]):
    """Writes one run's events to its log, and keeps what its end needs: answer, usage, finish reason."""

    run_inline = True
    raise_error = False

    def __init__(self, log: RunLog, *, answer_nodes: Iterable[str] | None = None) -> None:
        self.log = log
        self.answer: list[str] = []
        self.usage = {"input_tokens": 0, "output_tokens": 0}
        self.has_usage = False
        self.finish_reason: str | None = None
        self.model: str | None = None
        self.interrupts: list[Any] = []
        self._answer_nodes = frozenset(answer_nodes) if answer_nodes is not None else None
        self._speakers: dict[UUID, _Speaker] = {}
        self._speaking: UUID | None = None
        self._last_spoken: UUID | None = None
        self._seen: set[str] = set()
        self._tasks: dict[str, _Working] = {}
        self._tools: dict[UUID, _Working] = {}

    @property
    def working_node(self) -> str | None:
        """The node that began last and has not ended."""
        return next((task.name for task in reversed(list(self._tasks.values()))), None)

    def carry(self, said: Iterable[str]) -> None:
        """Begin the answer with what the thread that is retried had said before the point it goes on from."""
        for text in said:
            self._say("", text, apart=bool(self.answer))

    # -- the parts of astream ---------------------------------------------------------------------------

    def take(self, part: Mapping[str, Any]) -> None:
        """One part of ``astream(version="v2")``."""
        match part["type"]:
            case "tasks":
                self._task(part["ns"], part["data"])
            case "updates":
                self._update(part["data"])
            case "custom":
                node = part["ns"][-1].split(":")[0] if part["ns"] else None
                self._write("progress", node, plain(part["data"]))
            case "checkpoints":
                self._checkpoint(part["data"])

    def _task(self, ns: tuple[str, ...], data: Mapping[str, Any]) -> None:
        if "triggers" in data:
            self._tasks[data["id"]] = _Working(data["name"])
            if not ns:
                self._seen.update(message.id for message in _messages_in(data["input"]) if message.id)
            self._write("node", data["name"], {"phase": "start", "task": data["id"], "ns": list(ns)})
            return
        if not ns:
            self._unstreamed_answer(data["name"], data["result"])
        payload = {
            "phase": "end",
            "task": data["id"],
            "ns": list(ns),
            "ms": _ms(self._tasks.pop(data["id"], None)),
        }
        if data.get("error"):
            payload["error"] = clean_text(str(data["error"]))[:LONGEST_RESULT]
        self._write("node", data["name"], payload)

    def _update(self, data: Any) -> None:
        interrupts = data.get("__interrupt__") if isinstance(data, Mapping) else None
        for interrupt in interrupts or ():
            if all(interrupt.id != known["id"] for known in self.interrupts):
                self.interrupts.append({"id": interrupt.id, "value": plain(interrupt.value)})

    def edited(self, checkpoint_id: str) -> None:
        """The state was edited before the first step."""
        self._write("state", None, {"checkpoint_id": checkpoint_id, "ns": "", "step": None, "next": []})

    def _checkpoint(self, data: Mapping[str, Any]) -> None:
        where = (data.get("config") or {}).get("configurable", {})
        payload = {
            "checkpoint_id": where.get("checkpoint_id"),
            "ns": where.get("checkpoint_ns", ""),
            "step": (data.get("metadata") or {}).get("step"),
            "next": list(data.get("next") or ()),
        }
        self._write("state", None, payload)

    def _unstreamed_answer(self, node: str, result: Any) -> None:
        """A node's own AIMessage that no model streamed is part of the answer too."""
        if not self._may_answer(node, (node,)):
            return
        for message in _messages_in(result):
            if isinstance(message, AIMessage) and message.id not in self._seen and message.text:
                if message.id:
                    self._seen.add(message.id)
                self._say(node, message.text, apart=bool(self.answer))

    # LangChain streams a call only where a handler like this one listens.
    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        return output

    # -- callbacks: models ------------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if tags and TAG_NOSTREAM in tags:
            return
        node = str((metadata or {}).get("langgraph_node") or "")
        places = tuple(
            place.split(":")[0] for place in str((metadata or {}).get("langgraph_checkpoint_ns", "")).split("|")
        )
        self._speakers[run_id] = _Speaker(node, self._may_answer(node, places))

    def on_llm_new_token(self, token: str | list[str | dict[str, Any]], *, run_id: UUID, **kwargs: Any) -> None:
        if token and isinstance(token, str) and (speaker := self._speakers.get(run_id)) is not None:
            self._hear(run_id, speaker, token)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        speaker = self._speakers.pop(run_id, None)
        for generations in response.generations:
            for generation in generations:
                if speaker is not None and isinstance(generation, ChatGeneration):
                    self._conclude(run_id, speaker, generation.message)
        self._fall_silent(run_id)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._speakers.pop(run_id, None)
        self._fall_silent(run_id)

    def _conclude(self, run_id: UUID, speaker: _Speaker, message: BaseMessage) -> None:
        if not speaker.spoke and message.text:
            self._hear(run_id, speaker, message.text)
        if message.id:
            self._seen.add(message.id)
        if not speaker.answers:
            return
        self.finish_reason = message.response_metadata.get("finish_reason") or self.finish_reason
        self.model = message.response_metadata.get("model_name") or self.model
        usage = getattr(message, "usage_metadata", None)
        if usage:
            self.has_usage = True
            self.usage["input_tokens"] += usage["input_tokens"]
            self.usage["output_tokens"] += usage["output_tokens"]

    def _hear(self, run_id: UUID, speaker: _Speaker, text: str) -> None:
        speaker.spoke = True
        if not speaker.answers or self._speaking not in {None, run_id}:
            self._write("aside", speaker.node, clean_text(text))
            return
        apart = bool(self.answer) and self._last_spoken != run_id
        self._speaking = self._last_spoken = run_id
        self._say(speaker.node, text, apart=apart)

    def _say(self, node: str, text: str, *, apart: bool) -> None:
        text = clean_text(PARAGRAPH + text if apart else text)
        if text:
            self.answer.append(text)
            self._write("token", node or None, text)

    def _fall_silent(self, run_id: UUID) -> None:
        if self._speaking == run_id:
            self._speaking = None

    def _may_answer(self, node: str, places: tuple[str, ...]) -> bool:
        if self._answer_nodes is not None:
            return node in self._answer_nodes
        return TOOL_NODE not in places

    # -- callbacks: tools -------------------------------------------------------------------------------

    def on_tool_start(
        self,
        serialized: dict[str, Any],
        input_str: str,
        *,
        run_id: UUID,
        inputs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        name = str(kwargs.get("name") or (serialized or {}).get("name") or "tool")
        self._tools[run_id] = _Working(name)
        args = plain(inputs) if inputs is not None else clean_text(input_str)
        self._write("tool", name, {"phase": "start", "id": str(run_id), "args": args})

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> None:
        text = output.text if isinstance(output, ToolMessage) else str(output)
        self._tool_ended(run_id, {"result": clean_text(text)[:LONGEST_RESULT]})

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        if type(error).__name__ == "GraphInterrupt":
            self._tool_ended(run_id, {"result": "waits for a person"})
        else:
            self._tool_ended(run_id, {"error": clean_text(f"{type(error).__name__}: {error}")[:LONGEST_RESULT]})

    def _tool_ended(self, run_id: UUID, outcome: dict[str, Any]) -> None:
        tool = self._tools.pop(run_id, None)
        payload = {"phase": "end", "id": str(run_id), "ms": _ms(tool), **outcome}
        self._write("tool", tool.name if tool else "tool", payload)

    def _write(self, kind: EventKind, node: str | None, payload: Any) -> None:
        self.log.append(kind, node, payload)


def _ms(working: _Working | None) -> int | None:
    return None if working is None else int((time.monotonic() - working.since) * 1000)


def _messages_in(state: Any) -> list[BaseMessage]:
    """The messages right inside a node's input or result, whatever shape that has."""
    if isinstance(state, BaseMessage):
        return [state]
    if isinstance(state, Mapping):
        state = [item for value in state.values() for item in (value if isinstance(value, list) else [value])]
    elif not isinstance(state, (list, tuple)):
        state = list(vars(state).values()) if hasattr(state, "__dict__") else []
        state = [item for value in state for item in (value if isinstance(value, list) else [value])]
    return [item for item in state if isinstance(item, BaseMessage)]
