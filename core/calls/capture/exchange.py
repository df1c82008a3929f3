"""One request to a model server and what came back, as it went over the wire: kept now, and read by the writer.

A call that LangChain tells of has its texts from there. One that was made without it, with a provider's own package
or over plain HTTP, is read from here. Invariant: what cannot be read is an answer that failed, never an exception.
"""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from core.calls.capture import openai_form as openai
from core.calls.capture import other_forms as other
from core.calls.capture.answer import Answer, error_in, object_of, read_json, read_object
from core.calls.capture.observed import ObservedCall

Ask = Callable[[Mapping[str, Any]], Iterator[dict[str, Any]]]
TakeWhole = Callable[[Answer, Mapping[str, Any]], None]
TakePiece = Callable[[Answer, float, Mapping[str, Any]], None]


class Form(NamedTuple):
    """How one kind of request asks, and how its answer is read, whole and by the piece."""

    operation: str
    provider: str
    ask: Ask
    take_whole: TakeWhole
    take_piece: TakePiece

    @property
    def is_chat_completion(self) -> bool:
        """Whether it is a request for a chat completion in OpenAI's form."""
        return self is _CHAT


def _ask_nothing(_body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    return iter(())


def _take_other(answer: Answer, body: Mapping[str, Any]) -> None:
    """Take any answer as one, with its usage where it tells one in a usual form."""
    answer.note(body)
    answer.is_whole = True


def _take_no_piece(answer: Answer, at: float, data: Mapping[str, Any]) -> None:
    """A piece of an answer that comes whole."""


_CHAT = Form("chat", "openai", openai.ask_chat, openai.take_completion, openai.take_chunk)
_TEXT = Form("text_completion", "openai", openai.ask_texts, openai.take_completion, openai.take_chunk)
_RESPONSES = Form("chat", "openai", openai.ask_responses, openai.take_response, openai.take_event)
_VECTORS = Form("embeddings", "openai", openai.ask_texts, openai.take_vectors, _take_no_piece)
_ANTHROPIC = Form("chat", "anthropic", other.ask_anthropic, other.take_anthropic, other.take_anthropic_event)
_GEMINI = Form("chat", "google_genai", other.ask_gemini, other.take_gemini, other.take_gemini_chunk)
_GEMINI_VECTORS = Form(
    "embeddings", "google_genai", other.ask_gemini_texts, other.take_gemini_vectors, _take_no_piece
)
_OLLAMA = Form("chat", "ollama", other.ask_ollama, other.take_ollama, other.take_ollama_chunk)
_OLLAMA_TEXT = _OLLAMA._replace(operation="text_completion")
_OLLAMA_VECTORS = _OLLAMA._replace(operation="embeddings", take_whole=other.take_ollama_vectors)
# Seen as a request, and no more: what such interfaces are asked and answer is not read, but for a usage.
OTHER = Form("request", "", _ask_nothing, _take_other, _take_no_piece)

# By how the path of their address ends, the longest first; where such a path is common, by what the request holds.
_FORMS = {
    "/chat/completions": (_CHAT, b""),
    "/completions": (_TEXT, b'"prompt"'),
    "/responses": (_RESPONSES, b'"model"'),
    "/api/embeddings": (_OLLAMA_VECTORS, b'"model"'),
    "/embeddings": (_VECTORS, b'"input"'),
    "/v1/messages": (_ANTHROPIC, b'"model"'),
    ":generateContent": (_GEMINI, b""),
    ":streamGenerateContent": (_GEMINI, b""),
    ":embedContent": (_GEMINI_VECTORS, b""),
    ":batchEmbedContents": (_GEMINI_VECTORS, b""),
    "/api/chat": (_OLLAMA, b'"model"'),
    "/api/generate": (_OLLAMA_TEXT, b'"model"'),
    "/api/embed": (_OLLAMA_VECTORS, b'"model"'),
    "/images/generations": (OTHER, b""),
    "/images/edits": (OTHER, b""),
    "/images/variations": (OTHER, b""),
    "/audio/speech": (OTHER, b""),
    "/audio/transcriptions": (OTHER, b""),
    "/audio/translations": (OTHER, b""),
    "/moderations": (OTHER, b'"input"'),
    "/rerank": (OTHER, b'"documents"'),
    ":predict": (OTHER, b'"instances"'),
    ":rawPredict": (OTHER, b""),
    ":streamRawPredict": (OTHER, b""),
    "/converse": (OTHER, b'"messages"'),
    "/converse-stream": (OTHER, b'"messages"'),
    "/invoke": (OTHER, b'"anthropic_version"'),
    "/invoke-with-response-stream": (OTHER, b""),
}
_MODEL_IN_PATH = re.compile(r"/(?:models|model)/([^/:]+(?::\d+)?)[/:]")
_MODEL_AT_END = re.compile(r"/models/[^/]+$")
# Whose every POST asks for something of a model, or nearly.
_SERVERS = re.compile(
    r"(?:^|\.)(?:api\.openai\.com|openai\.azure\.com|services\.ai\.azure\.com|api\.anthropic\.com"
    r"|generativelanguage\.googleapis\.com|aiplatform\.googleapis\.com|bedrock-runtime\.[\w-]+\.amazonaws\.com"
    r"|api\.mistral\.ai|api\.cohere\.(?:com|ai)|api\.groq\.com|api\.x\.ai|api\.deepseek\.com|api\.together\.(?:xyz|ai)"
    r"|api\.fireworks\.ai|openrouter\.ai|api\.perplexity\.ai|api\.voyageai\.com|api\.cerebras\.ai"
    r"|router\.huggingface\.co|api\.moonshot\.(?:ai|cn)|dashscope(?:-intl)?\.aliyuncs\.com)$"
)
# What such servers are asked beside their models' work.
_BESIDE = re.compile(
    r"(?:/files|/uploads|/batches|/vector_stores|/fine_tuning|/count_tokens|:countTokens|/cancel|/input_items"
    r"|/input_tokens|/tokenize|/realtime/\w+|/organization|/assistants|/threads|/evals|/containers|/cachedContents"
    r"|/oauth|/api/(?:show|pull|push|create|copy|blobs))(?:[/:?]|$)"
)
# Settings that Gemini and Ollama are given apart, and what others call them.
_SETTINGS = {
    "temperature": "temperature",
    "top_p": "top_p",
    "topP": "top_p",
    "top_k": "top_k",
    "topK": "top_k",
    "seed": "seed",
    "maxOutputTokens": "max_tokens",
    "num_predict": "max_tokens",
}
_FAILED = {"error", "response.failed"}
_STREAMS = ("text/event-stream", "application/x-ndjson", "application/jsonl")


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

    form: Form
    url: str
    """The server's address: without what names the interface and the model."""
    path: str
    request: bytes
    content_type: str = ""
    parts: list[tuple[float, bytes]] = field(default_factory=list)
    decode: Callable[[bytes], bytes] | None = None
    """Gives a compressed answer's bytes as they were; None where they came so."""
    is_read: bool = False

    @property
    def is_stream(self) -> bool:
        return self.content_type.startswith(_STREAMS)

    def read_parts(self) -> list[tuple[float, bytes]]:
        """The parts, as they were before they were compressed: then as one, with the time of the first."""
        if self.decode is None or not self.parts:
            return self.parts
        return [(self.parts[0][0], self.decode(b"".join(part for _, part in self.parts)))]


def recognize(url: str, content: bytes) -> tuple[Form, str, str] | None:
    """How the model server at this address is asked, its address, and the path; None where it is no such server."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    server = f"{parts.scheme}://{parts.netloc}"
    for ending, (form, sign) in _FORMS.items():
        if path.endswith(ending):
            if sign and sign not in content and not _SERVERS.search(parts.hostname or ""):
                return None
            base = path.removesuffix(ending)
            return form, server + (_MODEL_AT_END.sub("", base) if ending.startswith(":") else base), path
    own = urlsplit(os.environ.get("OPENAI_BASE_URL") or "").netloc
    if (_SERVERS.search(parts.hostname or "") or parts.netloc == own) and not _BESIDE.search(path):
        return OTHER, server, path
    return None


def read_request(call: ObservedCall) -> None:
    """Fill in what a call without LangChain asks of which model."""
    wire: Exchange = call.wire
    body = read_object(wire.request)
    call.operation = wire.form.operation
    call.serialized = {"kwargs": {"base_url": wire.url}}
    settings = {**object_of(body.get("options")), **object_of(body.get("generationConfig"))}
    shown = {"messages", "input", "prompt", "contents", "requests", "content", "options"}
    params = {name: value for name, value in body.items() if name not in shown}
    for theirs, name in _SETTINGS.items():
        if settings.get(theirs) is not None:
            params[name] = settings[theirs]
    if body.get("max_output_tokens") is not None:
        params["max_tokens"] = body["max_output_tokens"]
    if not params.get("model") and (named := _MODEL_IN_PATH.search(wire.path)):
        params["model"] = unquote(named[1])
    call.params = params
    call.prompt = list(wire.form.ask(body))


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
    """Add what a call's client has dropped, where the server sent some: thoughts, and parts of the usage."""
    if call.usage_event:
        told = Answer()
        told.note(read_object(call.usage_event))
        call.llm_output = {**told.metadata, **(call.llm_output or {})}
        call.usage_event = b""
    parts, call.overheard = call.overheard, []
    if call.thoughts or not parts:
        return
    answer = Answer()
    for at, _, data in _events(parts):
        if isinstance(data, Mapping):
            openai.take_chunk(answer, at, data)
    if not answer.thoughts:
        answer = _read_whole(b"".join(part for _, part in parts), _CHAT)
    call.thoughts = answer.thoughts or [str(one["reasoning"]) for one in answer.messages if one.get("reasoning")]
    if answer.first_at is not None and call.first_token_at is not None:
        call.first_token_at = min(call.first_token_at, answer.first_at)
    if call.thoughts and call.response:
        call.response[0].setdefault("reasoning", "".join(call.thoughts))


def _read(wire: Exchange) -> Answer:
    parts = wire.read_parts()
    if wire.form is OTHER:
        answer = Answer()
        OTHER.take_whole(answer, read_object(b"".join(part for _, part in parts)))
        return answer
    if wire.is_stream:
        return _read_stream(parts, wire.form)
    if not parts:
        return Answer()
    return _read_whole(b"".join(part for _, part in parts), wire.form)


def _read_whole(content: bytes, form: Form) -> Answer:
    answer, found = Answer(), read_json(content)
    if isinstance(found, list):
        # Gemini streams its pieces as a list where no events are asked for.
        for piece in found:
            form.take_piece(answer, 0.0, object_of(piece))
        answer.first_at = None
        return answer
    body = object_of(found)
    if error := error_in(body):
        answer.error = error
        return answer
    form.take_whole(answer, body)
    if not answer.is_whole:
        answer.error = "The model server's answer was no completion."
    return answer


def _read_stream(parts: list[tuple[float, bytes]], form: Form) -> Answer:
    answer = Answer()
    for at, event, data in _events(parts):
        if data == "[DONE]":
            answer.is_whole = True
        elif not isinstance(data, Mapping):
            answer.error = answer.error or "The model server's answer could not be read."
        elif event in _FAILED or data.get("type") in _FAILED or data.get("error"):
            answer.error = (
                error_in(data) or error_in(data.get("response")) or "The model server reported a failure."
            )
        else:
            form.take_piece(answer, at, data)
    return answer


def _events(parts: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, str, Any]]:
    """The events of a stream: when each came, its name, and its data: an object, or a text where it is none.

    A stream of lines that are JSON is one of events without names. A line that is not at its end has been cut off,
    and is left out.
    """
    rest, event = b"", ""
    for at, part in parts:
        *lines, rest = (rest + part).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                yield at, "", read_object(line) or line.decode(errors="replace")
                continue
            name, _, value = line.partition(b":")
            text = value.strip().decode(errors="replace")
            if name == b"event":
                event = text
            elif name == b"data":
                yield at, event, read_object(text) or text
                event = ""
