"""One LLM call as the handler saw it, made plain at once so that nobody can change it afterwards."""

import copy
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from core.calls.chunks import REASONING, ChunkUsage, split_blocks, split_content
from core.calls.context import CallContext

_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "system": "system", "tool": "tool"}


@dataclass(slots=True, eq=False)
class ObservedCall:
    """What is known of a call; the handler fills it in until ``ended_at`` is set, then it is only read.

    ``began`` and the other ``_at`` floats are ``time.monotonic()`` seconds. ``row``, ``body`` and ``stored`` are
    the writer's own: what it made of the call, and how much of that is committed.
    """

    call_id: str
    run_id: UUID
    parent_run_id: UUID | None
    created_at: datetime
    began: float
    os_thread: int
    context: CallContext | None
    thread_id: str | None
    metadata: Mapping[str, Any]
    operation: str = "chat"
    prompt: list[dict[str, Any]] = field(default_factory=list)
    params: Mapping[str, Any] = field(default_factory=dict)
    serialized: Mapping[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    previous: "ObservedCall | None" = None
    wire: Any = None
    """The Exchange of a call that was made without LangChain."""
    requests: int = 0
    sent_to: str = ""
    """The address of the server that its last request went to."""
    last_try: Literal["", "sent", "failed", "left", "answered"] = ""
    watched: bool = False
    first_request_at: float | None = None
    first_token_at: float | None = None
    http_status: int | None = None
    request_id: str | None = None
    tokens: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    usage: ChunkUsage = field(default_factory=ChunkUsage)
    tool_parts: list[Mapping[str, Any]] = field(default_factory=list)
    overheard: list[tuple[float, bytes]] = field(default_factory=list)
    """Parts of the server's answer that hold thoughts, and when they came."""
    usage_event: bytes = b""
    """The data of the event of a stream that told the usage: its client may drop parts of it."""
    is_unfinished: bool = False
    """Whether the server's stream ended without saying that the answer was whole."""
    response: list[dict[str, Any]] | None = None
    message: BaseMessage | None = None
    llm_output: Mapping[str, Any] | None = None
    status: str = "started"
    error: BaseException | None = None
    ended_at: float | None = None
    row: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    stored: Literal["", "start", "end"] = ""
    reduced: bool = False

    @property
    def response_metadata(self) -> dict[str, Any]:
        """What the server said about its answer."""
        return {**(self.llm_output or {}), **(self.message.response_metadata if self.message else {})}

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    def hear(self, token: object, chunk: Any) -> None:
        """Take a piece of the answer; the first one that says, thinks or asks for something is the first token."""
        message = getattr(chunk, "message", None)
        # Of a list of blocks, a model may tell no more than the text as its token.
        content = getattr(message, "content", token)
        words, thoughts = split_content(content, getattr(message, "additional_kwargs", None))
        if usage := getattr(message, "usage_metadata", None):
            self.usage.hear(usage)
        parts = getattr(message, "tool_call_chunks", None)
        if words:
            self.tokens.append(words)
        if thoughts:
            self.thoughts.append(thoughts)
        if parts:
            self.tool_parts.extend(parts)
        if self.first_token_at is None and (words or thoughts or parts):
            self.first_token_at = time.monotonic()

    def reduce(self) -> None:
        """Let go of what may be why this call cannot be stored; what is stored of its start stays as it is."""
        self.reduced = True
        self.tokens, self.thoughts, self.tool_parts, self.response = [], [], [], None
        self.message, self.llm_output, self.error, self.request_id = None, None, None, None
        self.wire, self.overheard = None, []
        if self.stored != "start":
            self.row, self.body, self.prompt, self.params, self.serialized = None, None, [], {}, {}
            known = ("skein_", "langgraph_node", "langgraph_checkpoint_ns", "ls_provider", "ls_model_name")
            self.metadata = {key: value for key, value in self.metadata.items() if key.startswith(known)}
            self.tags = [*self.tags, "skein:reduced"]

    def end(self, status: str, error: BaseException | None = None) -> bool:
        """Say how it ended; False when it had ended before."""
        if self.ended_at is not None:
            return False
        self.status, self.error = status, error
        self.ended_at = time.monotonic()
        return True


def plain_message(message: BaseMessage) -> dict[str, Any]:
    """A message as plain data in the shape of Chat Completions; nested data is copied, text is shared."""
    try:
        return _plain_message(message)
    except Exception:  # noqa: BLE001 - a message of a strange make must not keep its call out of the log
        return {"role": "unknown", "content": repr(message)}


def _plain_message(message: BaseMessage) -> dict[str, Any]:
    found: dict[str, Any] = {
        "role": _ROLES.get(message.type) or str(getattr(message, "role", message.type)),
        "content": message.content if isinstance(message.content, str) else copy.deepcopy(message.content),
    }
    if message.name:
        found["name"] = message.name
    if message.additional_kwargs.get("lc_source") == "summarization":
        found["summary"] = True
    if isinstance(message, AIMessage):
        if message.tool_calls:
            found["tool_calls"] = copy.deepcopy(message.tool_calls)
        if reasoning := message.additional_kwargs.get(REASONING):
            found["reasoning"] = reasoning
    elif isinstance(message, ToolMessage):
        found["tool_call_id"] = message.tool_call_id
    return found


def plain_answer(message: BaseMessage) -> dict[str, Any]:
    """A model's answer as ``plain_message`` gives it, with what was thought apart from what was said."""
    found = plain_message(message)
    content, thoughts = found["content"], ""
    if isinstance(content, list):
        content, thoughts = split_blocks(content)
    words_beside, thoughts_beside = split_content("", message.additional_kwargs)
    found["content"] = content or words_beside
    if thoughts := thoughts or thoughts_beside:
        found["reasoning"] = thoughts
    return found


def partial_response(
    tokens: Iterable[str], tool_parts: Iterable[Mapping[str, Any]] = (), thoughts: Iterable[str] = ()
) -> list[dict[str, Any]]:
    """What was said before the end came, as far as it was heard; nothing when nothing was."""
    found: dict[str, Any] = {"role": "assistant", "content": "".join(tokens)}
    if calls := _joined(tool_parts):
        found["tool_calls"] = calls
    if thought := "".join(thoughts):
        found["reasoning"] = thought
    return [found] if any(found[name] for name in found if name != "role") else []


def _joined(parts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    calls: dict[Any, dict[str, Any]] = {}
    for part in parts:
        call = calls.setdefault(part.get("index"), {"name": "", "args": "", "id": None})
        call["name"] += part.get("name") or ""
        call["args"] += part.get("args") or ""
        call["id"] = part.get("id") or call["id"]
    return list(calls.values())
