"""Model servers that do not speak as OpenAI's do, on a loopback port: real HTTP, an answer known beforehand.

Anthropic's ``/v1/messages``, Gemini's ``generateContent`` and ``embedContent``, Ollama's ``/api/...``, whole and
streamed; and some paths of which no more is known than that a model was asked. Each POST is counted.
"""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

_ANTHROPIC_USAGE = {"input_tokens": 21, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 188}
_GEMINI_USAGE = {"promptTokenCount": 11, "candidatesTokenCount": 3, "thoughtsTokenCount": 2, "totalTokenCount": 16}


class ProviderServer:
    """The server, running in threads of its own for as long as the ``with`` block."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        """Of each POST that came in, its path."""
        server = self

        class Handler(_Handler):
            paths = server.paths

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "ProviderServer":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    paths: list[str]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        path = self.path.partition("?")[0]
        self.paths.append(path)
        body.setdefault("model", "none")
        if path.endswith("/v1/messages"):
            self._give(_anthropic_events(body["model"]) if body.get("stream") else _anthropic(body["model"]))
        elif path.endswith(":generateContent"):
            self._give(_gemini([*_GEMINI_PARTS], finish="STOP"))
        elif path.endswith(":streamGenerateContent"):
            pieces = [_gemini([part]) for part in _GEMINI_PARTS[:-1]] + [_gemini(_GEMINI_PARTS[-1:], finish="STOP")]
            self._give([_sse(piece) for piece in pieces] if "alt=sse" in self.path else pieces)
        elif path.endswith(":embedContent"):
            self._give({"embedding": {"values": [0.5]}})
        elif path.endswith(("/api/chat", "/api/generate")):
            is_chat = path.endswith("/api/chat")
            lines = _ollama_lines(body["model"], is_chat=is_chat)
            self._give(_ollama(body["model"], is_chat=is_chat) if body.get("stream") is False else lines)
        elif path.endswith("/api/embed"):
            self._give({"model": body["model"], "embeddings": [[0.5]], "prompt_eval_count": 4})
        elif path.endswith("/images/generations"):
            self._give({"created": 1, "data": [{"b64_json": "AAAA"}]})
        elif path.endswith("/chat/completions"):
            self._give(_completion(body["model"]))
        else:
            self._give({"error": {"message": "no such path"}}, status=404)

    def _give(self, answer: Any, *, status: int = 200) -> None:
        """A whole answer; or, of a list of bytes, a stream of them."""
        self.send_response(status)
        is_stream = isinstance(answer, list) and isinstance(answer[0], bytes)
        if is_stream:
            kind = "application/x-ndjson" if answer[0].startswith(b"{") else "text/event-stream"
            self.send_header("content-type", kind)
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for part in [*answer, b""]:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            return
        content = json.dumps(answer).encode()
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args: Any) -> None:
        """Say nothing."""


def _sse(data: dict[str, Any]) -> bytes:
    name = f"event: {data['type']}\n" if "type" in data else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


def _completion(model: str) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": "said so"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    known = {"id": "c1", "object": "chat.completion", "created": 1, "model": model}
    return known | {"choices": [choice], "usage": usage}


def _anthropic(model: str) -> dict[str, Any]:
    content = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "text", "text": "said so"},
        {"type": "tool_use", "id": "tu_1", "name": "look_up", "input": {"query": "tea"}},
    ]
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": model, "content": content}
    return message | {"stop_reason": "tool_use", "usage": {**_ANTHROPIC_USAGE, "output_tokens": 9}}


def _anthropic_events(model: str) -> list[bytes]:
    start = {**_anthropic(model), "content": [], "stop_reason": None}
    start["usage"] = {**_ANTHROPIC_USAGE, "output_tokens": 1}
    blocks: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"type": "thinking", "thinking": ""}, [{"type": "thinking_delta", "thinking": "hm"}]),
        (
            {"type": "text", "text": ""},
            [{"type": "text_delta", "text": "said"}, {"type": "text_delta", "text": " so"}],
        ),
        (
            {"type": "tool_use", "id": "tu_1", "name": "look_up", "input": {}},
            [
                {"type": "input_json_delta", "partial_json": '{"query": '},
                {"type": "input_json_delta", "partial_json": '"tea"}'},
            ],
        ),
    ]
    events: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, (block, deltas) in enumerate(blocks):
        events.append({"type": "content_block_start", "index": index, "content_block": block})
        events += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        events.append({"type": "content_block_stop", "index": index})
    events.append(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use"},
            "usage": {**_ANTHROPIC_USAGE, "output_tokens": 9},
        }
    )
    events.append({"type": "message_stop"})
    return [_sse(event) for event in events]


_GEMINI_PARTS: list[dict[str, Any]] = [
    {"text": "hm", "thought": True},
    {"text": "said"},
    {"text": " so"},
    {"functionCall": {"name": "look_up", "args": {"query": "tea"}}},
]


def _gemini(parts: list[dict[str, Any]], finish: str = "") -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    known = {"modelVersion": "gemini-2.5-flash", "responseId": "r1", "usageMetadata": _GEMINI_USAGE}
    return {"candidates": [candidate | ({"finishReason": finish} if finish else {})], **known}


def _ollama(model: str, *, is_chat: bool) -> dict[str, Any]:
    call = {"function": {"name": "look_up", "arguments": {"query": "tea"}}}
    message = {"role": "assistant", "content": "said so", "thinking": "hm", "tool_calls": [call]}
    said = {"message": message} if is_chat else {"response": "said so"}
    return {"model": model, **said, **_OLLAMA_END}


_OLLAMA_END = {"done": True, "done_reason": "stop", "prompt_eval_count": 6, "eval_count": 3}


def _ollama_lines(model: str, *, is_chat: bool) -> list[bytes]:
    return [json.dumps(line).encode() + b"\n" for line in _ollama_pieces(model, is_chat=is_chat)]


def _ollama_pieces(model: str, *, is_chat: bool) -> Iterator[dict[str, Any]]:
    words = ["said", " so"]
    if is_chat:
        call = {"function": {"name": "look_up", "arguments": {"query": "tea"}}}
        yield {"model": model, "message": {"role": "assistant", "content": "", "thinking": "hm"}, "done": False}
        for word in words:
            yield {"model": model, "message": {"role": "assistant", "content": word}, "done": False}
        yield {"model": model, "message": {"role": "assistant", "content": "", "tool_calls": [call]}, "done": False}
        yield {"model": model, "message": {"role": "assistant", "content": ""}, **_OLLAMA_END}
        return
    for word in words:
        yield {"model": model, "response": word, "done": False}
    yield {"model": model, "response": "", **_OLLAMA_END}
