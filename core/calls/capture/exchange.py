"""One request to a model server and what came back, as it went over the wire: kept now, and read by the writer.

A call that LangChain tells of has its texts from there. One that was made without it, with the ``openai`` client or
over ``httpx``, is read from here. Invariant: what cannot be read is an answer that failed, never an exception.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.calls.capture.observed import ObservedCall
from core.calls.chunks import REASONING, split_blocks, split_content

# By how the path of their address ends, the longest first.
KINDS = {
    "/chat/completions": "chat",
    "/completions": "text_completion",
    "/responses": "responses",
    "/embeddings": "embeddings",
}
_FAILED = {"error", "response.failed"}
_ENDED = {"response.completed", "response.incomplete", "response.failed"}
_THOUGHT_DELTAS = {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
_WORD_DELTAS = {"response.output_text.delta", "response.refusal.delta"}


class RefusedRequestError(Exception):
    """The server answered a request with an error."""

    def __init__(self, status_code: int, said: str = "") -> None:
        super().__init__(said or f"The model server answered with status {status_code}.")
        self.status_code = status_code


class UnfinishedAnswerError(Exception):
    """A server's answer ended early, or was none."""

    def __init__(self, said: str = "") -> None:
        super().__init__(said or "The answer ended before the model server had said that it was whole.")


@dataclass(slots=True, eq=False)
class Exchange:
    """What was sent, and the parts in which the answer came, each with its ``time.monotonic()``."""

    kind: str
    url: str
    request: bytes
    content_type: str = ""
    parts: list[tuple[float, bytes]] = field(default_factory=list)
    decode: Any = None
    """Gives a compressed answer's bytes as they were; None where they came so."""
    is_read: bool = False

    @property
    def is_stream(self) -> bool:
        return self.content_type.startswith("text/event-stream")

    def read_parts(self) -> list[tuple[float, bytes]]:
        """The parts, as they were before they were compressed: then as one, with the time of the first."""
        if self.decode is None or not self.parts:
            return self.parts
        return [(self.parts[0][0], self.decode(b"".join(part for _, part in self.parts)))]


@dataclass
class _Answer:
    """What was read of an answer."""

    words: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    tool_parts: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    first_at: float | None = None
    is_whole: bool = False
    error: str = ""

    def say(self, at: float, words: str, thoughts: str, parts: Iterable[dict[str, Any]] = ()) -> None:
        self.words += [words] if words else []
        self.thoughts += [thoughts] if thoughts else []
        self.tool_parts += (parts := list(parts))
        if self.first_at is None and (words or thoughts or parts):
            self.first_at = at

    def note(self, data: Mapping[str, Any]) -> None:
        """Take what stands around an answer: the model, the usage, the tier."""
        for name, known in (("model", "model_name"), ("id", "id"), ("service_tier", "service_tier")):
            if data.get(name):
                self.metadata[known] = data[name]
        if isinstance(usage := data.get("usage"), Mapping) and usage:
            self.metadata["token_usage"] = dict(usage)


def read_request(call: ObservedCall) -> None:
    """Fill in what a call without LangChain asks of which model."""
    wire: Exchange = call.wire
    body = _object(wire.request)
    call.operation = "chat" if wire.kind == "responses" else wire.kind
    call.serialized = {"kwargs": {"base_url": wire.url}}
    call.params = {name: value for name, value in body.items() if name not in {"messages", "input", "prompt"}}
    if wire.kind == "chat":
        call.prompt = [_as_message(message) for message in _list(body.get("messages"))]
    elif wire.kind == "responses":
        call.prompt = list(_asked_of_responses(body))
        call.params |= {"max_tokens": body.get("max_output_tokens")}
    else:
        call.prompt = [{"role": "user", "content": text} for text in _texts(body.get("input", body.get("prompt")))]


def read_response(call: ObservedCall) -> None:
    """Fill in what came back, and whether it was an answer; once."""
    wire: Exchange = call.wire
    if wire.is_read:
        return
    wire.is_read = True
    answer = _read(wire)
    call.llm_output = answer.metadata
    call.tokens, call.thoughts, call.tool_parts = answer.words, answer.thoughts, list(answer.tool_parts)
    call.first_token_at = answer.first_at
    call.response = answer.messages or None
    if isinstance(call.error, RefusedRequestError):
        call.error = RefusedRequestError(call.error.status_code, answer.error)
        return
    if call.error is not None:
        return
    # A client that is told of an error in a stream leaves it there.
    is_told = bool(answer.error) and wire.is_stream
    if answer.is_whole and not answer.error:
        call.status = "ok"
    elif call.status != "cancelled" or is_told:
        call.status, call.error = "error", UnfinishedAnswerError(answer.error)


def read_overheard(call: ObservedCall) -> None:
    """Add the thoughts that a call's client has dropped, where the server sent some."""
    parts, call.overheard = call.overheard, []
    if call.thoughts or not parts:
        return
    answer = _Answer()
    for at, _, data in _events(parts):
        if isinstance(data, Mapping):
            _take_chunk(answer, at, data)
    if not answer.thoughts:
        answer = _read_whole(b"".join(part for _, part in parts), "chat")
    call.thoughts = answer.thoughts or [str(one["reasoning"]) for one in answer.messages if one.get("reasoning")]
    if answer.first_at is not None and call.first_token_at is not None:
        call.first_token_at = min(call.first_token_at, answer.first_at)
    if call.thoughts and call.response:
        call.response[0].setdefault("reasoning", "".join(call.thoughts))


def _read(wire: Exchange) -> _Answer:
    parts = wire.read_parts()
    if wire.is_stream:
        return _read_stream(parts, wire.kind)
    if not parts:
        return _Answer()
    return _read_whole(b"".join(part for _, part in parts), wire.kind)


def _read_whole(content: bytes, kind: str) -> _Answer:
    answer, body = _Answer(), _object(content)
    if error := _error_in(body):
        answer.error = error
        return answer
    answer.note(body)
    if kind == "responses":
        _take_response(answer, body)
    elif kind == "embeddings":
        answer.is_whole = isinstance(body.get("data"), list)
        if "token_usage" in answer.metadata:
            answer.metadata["token_usage"].setdefault("completion_tokens", 0)
    else:
        choices = _objects(body.get("choices"))
        answer.is_whole = bool(choices)
        for choice in choices:
            answer.messages.append(_message_of(choice))
            answer.metadata["finish_reason"] = choice.get("finish_reason")
    if not answer.is_whole:
        answer.error = "The model server's answer was no completion."
    return answer


def _read_stream(parts: list[tuple[float, bytes]], kind: str) -> _Answer:
    answer = _Answer()
    for at, event, data in _events(parts):
        if data == "[DONE]":
            answer.is_whole = True
        elif not isinstance(data, Mapping):
            answer.error = answer.error or "The model server's answer could not be read."
        elif event in _FAILED or data.get("type") in _FAILED or data.get("error"):
            answer.error = (
                _error_in(data) or _error_in(data.get("response")) or "The model server reported a failure."
            )
        elif kind == "responses":
            _take_event(answer, at, data)
        else:
            _take_chunk(answer, at, data)
    return answer


def _events(parts: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str, Any]]:
    """The events of a stream: when each came, its name, and its data: an object, or a text where it is none.

    A line that is not at its end has been cut off, and is left out.
    """
    rest, event = b"", ""
    for at, part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            name, _, value = line.partition(b":")
            text = value.strip().decode(errors="replace")
            if name == b"event":
                event = text
            elif name == b"data":
                yield at, event, _object(text) or text
                event = ""


def _take_chunk(answer: _Answer, at: float, data: Mapping[str, Any]) -> None:
    answer.note(data)
    for choice in _objects(data.get("choices")):
        delta = _mapping(choice.get("delta"))
        beside = {REASONING: _thought_in(delta), "refusal": delta.get("refusal")}
        words, thoughts = split_content(delta.get("content") or choice.get("text") or "", beside)
        answer.say(at, words, thoughts, [_call_part(call) for call in _objects(delta.get("tool_calls"))])
        if choice.get("finish_reason"):
            answer.metadata["finish_reason"] = choice["finish_reason"]
            answer.is_whole = True


def _take_event(answer: _Answer, at: float, data: Mapping[str, Any]) -> None:
    """One event of a Responses API's stream."""
    kind = data.get("type")
    delta = str(data.get("delta") or "")
    answer.say(at, delta if kind in _WORD_DELTAS else "", delta if kind in _THOUGHT_DELTAS else "")
    if kind in _ENDED and isinstance(response := data.get("response"), Mapping):
        answer.note(response)
        _take_response(answer, response)


def _take_response(answer: _Answer, body: Mapping[str, Any]) -> None:
    """A whole response of the Responses API."""
    blocks: list[Any] = []
    calls = []
    for item in _objects(body.get("output")):
        if item.get("type") == "message":
            blocks += _list(item.get("content"))
        elif item.get("type") == "function_call":
            calls.append(_call(item, item.get("call_id")))
        else:
            blocks.append(item)
    content, thoughts = split_blocks(blocks)
    message = {"role": "assistant", "content": content}
    more = {"reasoning": thoughts, "tool_calls": calls}
    answer.messages = [message | {name: value for name, value in more.items() if value}]
    answer.metadata["finish_reason"] = body.get("status")
    answer.is_whole = isinstance(body.get("output"), list)


def _message_of(choice: Mapping[str, Any]) -> dict[str, Any]:
    message = _mapping(choice.get("message")) or {"role": "assistant", "content": choice.get("text")}
    beside = {REASONING: _thought_in(message), "refusal": message.get("refusal")}
    words, thoughts = split_content(message.get("content") or "", beside)
    calls = [_call(_mapping(call.get("function")), call.get("id")) for call in _objects(message.get("tool_calls"))]
    found = {"role": "assistant", "content": words}
    return found | ({"reasoning": thoughts} if thoughts else {}) | ({"tool_calls": calls} if calls else {})


def _asked_of_responses(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if body.get("instructions"):
        yield {"role": "system", "content": body["instructions"]}
    given = body.get("input")
    for item in [given] if isinstance(given, str) else _list(given):
        if not isinstance(item, Mapping) or "role" in item:
            yield _as_message(item)
        elif item.get("type") == "function_call":
            yield {"role": "assistant", "content": "", "tool_calls": [_call(item, item.get("call_id"))]}
        elif item.get("type") == "function_call_output":
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        else:
            yield {"role": "assistant", "content": [item]}


def _call(function: Mapping[str, Any], call_id: Any) -> dict[str, Any]:
    """A tool call in the form that LangChain gives one."""
    arguments = function.get("arguments") or ""
    args = _object(arguments) or arguments if isinstance(arguments, str) else arguments
    return {"name": function.get("name"), "args": args, "id": call_id}


def _call_part(call: Mapping[str, Any]) -> dict[str, Any]:
    function = _mapping(call.get("function"))
    name, args = function.get("name"), function.get("arguments")
    if isinstance(args, (Mapping, list)):
        args = json.dumps(args, ensure_ascii=False)
    index = call.get("index")
    return {
        "index": index if isinstance(index, int | str) else None,
        "id": call.get("id"),
        "name": name if isinstance(name, str) else None,
        "args": args if isinstance(args, str) else None,
    }


def _thought_in(message: Mapping[str, Any]) -> Any:
    return message.get(REASONING) or message.get("reasoning")


def _error_in(body: Any) -> str:
    """What a server says went wrong, in whichever of the usual forms; "" where it says nothing."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else error
    return said if isinstance(said, str) else ""


def _as_message(message: Any) -> dict[str, Any]:
    return dict(message) if isinstance(message, Mapping) else {"role": "user", "content": message}


def _texts(given: Any) -> list[str]:
    """What is completed or embedded; of a text that is given as the numbers of its tokens, how many there are."""
    if isinstance(given, str):
        return [given]
    found = _list(given)
    if found and all(isinstance(one, int) for one in found):
        return [f"[{len(found):,} tokens]"]
    return [one if isinstance(one, str) else f"[{len(_list(one)):,} tokens]" for one in found]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _objects(value: Any) -> list[Mapping[str, Any]]:
    """Of a list, what is an object; a server may send anything else in its place."""
    return [one for one in _list(value) if isinstance(one, Mapping)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _object(text: bytes | str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
