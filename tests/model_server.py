"""A real Chat Completions server for the tests: real HTTP on a loopback port, an answer known beforehand.

Each request takes the next Behaviour of the script, or the default one. What came in and what was really sent
are kept, so that a test can prove whose answer it saw. Three dialects speak as the servers of that name do.
Run it alone: ``python -m tests.model_server --port 8001 --tokens-per-second 50``.
"""

import argparse
import asyncio
import gzip
import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

Dialect = Literal["openai", "ollama", "vllm"]
_KEPT_HEADERS = ("authorization", "content-type", "user-agent", "x-stainless-retry-count")


class _CutError(Exception):
    """Raised inside a stream: uvicorn then closes the connection without ending the response."""


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered; `text` or `tokens` say what, else the request does."""

    text: str | None = None
    tokens: int | None = None
    tool_calls: tuple[tuple[str, dict[str, Any]], ...] = ()
    tokens_per_second: float | None = None
    """None takes the server's own pace; 0 means without delay."""
    dialect: Dialect | None = None
    usage: bool = True
    usage_is: dict[str, Any] | None = None
    """What is told as the usage, in place of what was used."""
    usage_in_each: bool = False
    """Tell the usage so far in every chunk of a stream, also unasked."""
    reasoning: str = ""
    """What is thought before the answer."""
    reasoning_key: str = "reasoning_content"
    refusal: str = ""
    finish: bool = True
    """Whether a finish reason is told."""
    done: bool = True
    """Whether a stream ends with [DONE]."""
    page: str | None = None
    """Send this body, of `page_type`, in place of an answer."""
    page_type: str = "text/html"
    raw: bytes | None = None
    """Send these bytes, of `page_type`, in place of an answer."""
    gzip: bool = False
    """Compress an answer that is not streamed."""
    headers: tuple[tuple[str, str], ...] = ()
    """What stands in the head of the answer, beside the usual."""
    status: int = 200
    error: str = "The server failed."
    error_code: str | None = None
    error_param: str | None = None
    retry_after: float | None = None
    cut_after: int | None = None
    """Abort the connection after this many tokens."""
    error_after: int | None = None
    """Send an error in the middle of the stream after this many tokens."""
    error_event: str | None = None
    """Send the error as an `event: error` with this data."""
    wait_for: threading.Event | None = None
    """Send no more than the first `wait_after` tokens before this is set."""
    wait_after: int = 0


@dataclass
class Recorded:
    """One request as it arrived, and the tokens handed to its connection: (monotonic time, text)."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    sent: list[tuple[float, str]] = field(default_factory=list)
    ended: Literal["", "whole", "cut", "left", "refused"] = ""
    """How it ended; "left" means that the client went away first."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class ModelServer:
    """The server, running in a thread of its own for as long as the ``with`` block."""

    def __init__(
        self,
        *,
        dialect: Dialect = "openai",
        tokens_per_second: float = 0,
        default_tokens: int = 40,
        port: int = 0,
        behave: Callable[[dict[str, Any], dict[str, str]], Behaviour | None] | None = None,
        strict: bool = False,
        takes_stream_options: bool = True,
    ) -> None:
        """``behave`` chooses by a request's body and headers; None from it takes the script's next.

        ``strict``: as OpenAI's, it refuses a tool call without its result, and a result without its call.
        """
        self._behave = behave
        self._strict = strict
        self._takes_stream_options = takes_stream_options
        self.dialect: Dialect = dialect
        self.tokens_per_second = tokens_per_second
        self.default_tokens = default_tokens
        self.requests: list[Recorded] = []
        self._script: deque[Behaviour] = deque()
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self._port: int = self._socket.getsockname()[1]
        # A connection that is closed just while it is used again would look like a request that was never sent.
        config = uvicorn.Config(
            self._app(), log_config=None, lifespan="off", timeout_graceful_shutdown=1, timeout_keep_alive=120
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    def __enter__(self) -> "ModelServer":
        self._thread.start()
        if not self._server.ready.wait(10):
            raise RuntimeError("The tests' model server did not start.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def base_url(self) -> str:
        """What to give as OPENAI_BASE_URL."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def sent(self) -> list[list[tuple[float, str]]]:
        """Per request, in the order they came, the tokens really sent and when."""
        return [request.sent for request in self.requests]

    def script(self, *behaviours: Behaviour) -> None:
        """Append behaviours; each is used for one chat request."""
        self._script.extend(behaviours)

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/chat/completions", self._chat, methods=["POST"]),
                Route("/v1/embeddings", self._embeddings, methods=["POST"]),
                Route("/v1/responses", self._responses, methods=["POST"]),
                Route("/v1/models", self._models),
                Route("/{path:path}", self._unknown, methods=["GET", "POST"]),
            ]
        )

    async def _record(self, request: Request) -> Recorded:
        headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
        body = json.loads(await request.body() or b"{}")
        recorded = Recorded(request.url.path, headers, body, time.monotonic())
        self.requests.append(recorded)
        return recorded

    async def _models(self, request: Request) -> Response:
        await self._record(request)
        model = {"id": "test-model", "object": "model", "created": 0, "owned_by": "tests"}
        return JSONResponse({"object": "list", "data": [model]})

    async def _embeddings(self, request: Request) -> Response:
        recorded = await self._record(request)
        given = recorded.body["input"]
        texts = given if isinstance(given, list) else [given]
        vectors = [{"object": "embedding", "index": at, "embedding": [0.5, 0.25]} for at, _ in enumerate(texts)]
        recorded.ended = "whole"
        usage = {"prompt_tokens": 7, "total_tokens": 7}
        return JSONResponse({"object": "list", "data": vectors, "model": recorded.body["model"], "usage": usage})

    async def _responses(self, request: Request) -> Response:
        recorded = await self._record(request)
        behaviour = self._script.popleft() if self._script else Behaviour()
        answer = _ResponsesAnswer(behaviour, recorded)
        if recorded.body.get("stream"):
            return StreamingResponse(answer.stream(), media_type="text/event-stream")
        recorded.ended = "whole"
        return JSONResponse(answer.whole())

    async def _unknown(self, request: Request) -> Response:
        recorded = await self._record(request)
        recorded.ended = "refused"
        return _refuse(Behaviour(status=404, error=f"No such path: {recorded.path}"), self.dialect)

    async def _chat(self, request: Request) -> Response:
        recorded = await self._record(request)
        if self._strict and (wrong := find_wrong_order(recorded.body.get("messages", []))):
            recorded.ended = "refused"
            return _refuse(Behaviour(status=400, error=wrong), self.dialect)
        if not self._takes_stream_options and "stream_options" in recorded.body:
            recorded.ended = "refused"
            return _refuse(Behaviour(status=400, error="Unknown field: stream_options"), self.dialect)
        behaviour = self._behave(recorded.body, recorded.headers) if self._behave else None
        if behaviour is None:
            behaviour = self._script.popleft() if self._script else Behaviour()
        response = await self._respond(recorded, behaviour)
        response.headers.update(dict(behaviour.headers))
        return response

    async def _respond(self, recorded: Recorded, behaviour: Behaviour) -> Response:
        if behaviour.raw is not None:
            recorded.ended = "whole"
            return Response(behaviour.raw, behaviour.status, media_type=behaviour.page_type)
        if behaviour.page is not None:
            recorded.ended = "refused"
            return Response(behaviour.page, behaviour.status, media_type=behaviour.page_type)
        if behaviour.status != 200:
            recorded.ended = "refused"
            return _refuse(behaviour, behaviour.dialect or self.dialect)
        answer = _Answer(self, behaviour, recorded, place=len(self.requests))
        if recorded.body.get("stream"):
            return StreamingResponse(answer.stream(), media_type="text/event-stream")
        whole = await answer.whole()
        if behaviour.gzip:
            packed = gzip.compress(json.dumps(whole).encode())
            return Response(packed, media_type="application/json", headers={"content-encoding": "gzip"})
        return JSONResponse(whole)


def find_wrong_order(messages: list[dict[str, Any]]) -> str:
    """What OpenAI's server would refuse of these messages; "" when nothing."""
    open_calls: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            open_calls.discard(message["tool_call_id"])
            continue
        if open_calls:
            break
        open_calls = {call["id"] for call in message.get("tool_calls") or ()}
    if open_calls:
        return f"tool_call_ids did not have response messages: {', '.join(sorted(open_calls))}"
    return ""


class _Answer:
    """One answer on its way: what is said, in which dialect, and at what pace."""

    def __init__(self, server: ModelServer, behaviour: Behaviour, recorded: Recorded, *, place: int) -> None:
        self._behaviour, self._recorded, self._place = behaviour, recorded, place
        self._dialect = behaviour.dialect or server.dialect
        pace = behaviour.tokens_per_second
        self._pace = server.tokens_per_second if pace is None else pace
        self._tokens = _choose_tokens(behaviour, recorded.body, server.default_tokens)

    async def whole(self) -> dict[str, Any]:
        await self._wait()
        if self._pace:
            await asyncio.sleep(len(self._tokens) / self._pace)
        self._recorded.sent += [(time.monotonic(), token) for token in self._tokens]
        self._recorded.ended = "whole"
        wanted = enumerate(self._behaviour.tool_calls)
        calls = [_call(self._place, index, name, json.dumps(args)) for index, (name, args) in wanted]
        message = {"role": "assistant", "content": None if calls else "".join(self._tokens)}
        if self._behaviour.reasoning:
            message[self._behaviour.reasoning_key] = self._behaviour.reasoning
        if self._behaviour.refusal:
            message |= {"content": None, "refusal": self._behaviour.refusal}
        choice = {"index": 0, "message": message | ({"tool_calls": calls} if calls else {})}
        choice["finish_reason"] = self._finish
        usage = {"usage": self._usage()} if self._behaviour.usage else {}
        return self._frame("chat.completion", [choice]) | usage

    async def stream(self) -> AsyncIterator[bytes]:
        try:
            async for event in self._events():
                yield event if isinstance(event, bytes) else _event(event)
            if self._behaviour.done:
                yield b"data: [DONE]\n\n"
            self._recorded.ended = "whole"
        except _CutError:
            self._recorded.ended = "cut"
            raise
        finally:
            self._recorded.ended = self._recorded.ended or "left"

    async def _events(self) -> AsyncIterator[dict[str, Any] | bytes]:
        if not self._behaviour.wait_after:
            await self._wait()
        if self._dialect != "ollama":
            yield self._chunk({"role": "assistant", "content": ""})
        for delta in self._deltas_before():
            yield self._chunk(delta)
        async for token in self._paced():
            yield self._chunk({"content": token})
        for event in self._failure():
            yield event
            return
        if self._behaviour.finish:
            yield self._last()
        if (self._recorded.body.get("stream_options") or {}).get("include_usage") and self._behaviour.usage:
            yield self._frame("chat.completion.chunk", []) | {"usage": self._usage()}

    def _deltas_before(self) -> Iterator[dict[str, Any]]:
        """What is told before the words: thoughts, a refusal, calls of tools."""
        for word in re.findall(r"\s*\S+", self._behaviour.reasoning):
            yield {self._behaviour.reasoning_key: word, "content": ""}
        for word in re.findall(r"\s*\S+", self._behaviour.refusal):
            yield {"refusal": word}
        yield from self._call_deltas()

    def _failure(self) -> Iterator[dict[str, Any] | bytes]:
        if self._behaviour.error_event is not None:
            yield f"event: error\ndata: {self._behaviour.error_event}\n\n".encode()
        elif self._behaviour.error_after is not None:
            yield _error_body(self._behaviour, self._dialect)

    async def _paced(self) -> AsyncIterator[str]:
        begun = time.monotonic()
        for index, token in enumerate(self._tokens):
            if index == self._behaviour.cut_after:
                raise _CutError
            if index == self._behaviour.error_after:
                return
            if index and index == self._behaviour.wait_after:
                await self._wait()
            ahead = begun + index / self._pace - time.monotonic() if self._pace else 0
            await asyncio.sleep(max(ahead, 0))
            self._recorded.sent.append((time.monotonic(), token))
            yield token

    async def _wait(self) -> None:
        if self._behaviour.wait_for is not None:
            await asyncio.to_thread(self._behaviour.wait_for.wait, 100)

    @property
    def _finish(self) -> str:
        return "tool_calls" if self._behaviour.tool_calls else "stop"

    def _frame(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        model = self._recorded.body.get("model", "")
        frame = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": model, "choices": choices}
        return frame | ({"system_fingerprint": "fp_ollama"} if self._dialect == "ollama" else {})

    def _chunk(self, delta: dict[str, Any], **more: Any) -> dict[str, Any]:
        if self._dialect == "ollama":
            delta = {"role": "assistant", "content": ""} | delta
        choice = {"index": 0, "delta": delta, "finish_reason": None} | more
        if self._dialect != "ollama":
            choice["logprobs"] = None
        usage = {"usage": self._usage()} if self._behaviour.usage_in_each else {}
        return self._frame("chat.completion.chunk", [choice]) | usage

    def _last(self) -> dict[str, Any]:
        more = {"finish_reason": self._finish} | ({"stop_reason": None} if self._dialect == "vllm" else {})
        return self._chunk({"content": ""} if self._dialect == "vllm" else {}, **more)

    def _call_deltas(self) -> Iterator[dict[str, Any]]:
        for index, (name, args) in enumerate(self._behaviour.tool_calls):
            text = json.dumps(args)
            if self._dialect == "ollama":
                # Ollama sends each call whole; the others send the name first, then the arguments in pieces.
                yield {"tool_calls": [_call(self._place, index, name, text)]}
                continue
            yield {"tool_calls": [_call(self._place, index, name, "")]}
            for piece in re.findall(r".{1,5}", text):
                yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}

    def _usage(self) -> dict[str, Any]:
        if self._behaviour.usage_is is not None:
            return self._behaviour.usage_is
        given = sum(len(_text(message).split()) for message in self._recorded.body.get("messages", ()))
        said = len(self._recorded.sent)
        usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": said}
        usage["total_tokens"] = given + said
        if self._dialect == "openai":
            usage["prompt_tokens_details"] = {"cached_tokens": 0, "audio_tokens": 0}
            usage["completion_tokens_details"] = {"reasoning_tokens": 0, "audio_tokens": 0}
        return usage | ({"prompt_tokens_details": None} if self._dialect == "vllm" else {})


class _ResponsesAnswer:
    """An answer in the form of OpenAI's Responses API: thoughts as a summary, then words, or a refusal."""

    def __init__(self, behaviour: Behaviour, recorded: Recorded) -> None:
        self._behaviour, self._recorded = behaviour, recorded
        self._words = re.findall(r"\s*\S+", behaviour.text or "w1 w2")
        self._thoughts = re.findall(r"\s*\S+", behaviour.reasoning)

    def whole(self) -> dict[str, Any]:
        output = [self._reasoning("".join(self._thoughts))] if self._thoughts else []
        return self._frame("completed", [*output, self._message()]) | {"usage": self._usage()}

    async def stream(self) -> AsyncIterator[bytes]:
        events = [{"type": "response.created", "response": self._frame("in_progress", [])}]
        events += [*self._reasoning_events(), *self._word_events()]
        if self._behaviour.finish:
            events.append({"type": "response.completed", "response": self.whole()})
        for number, event in enumerate(events):
            if event["type"].endswith(".delta"):
                self._recorded.sent.append((time.monotonic(), event["delta"]))
            yield f"event: {event['type']}\n".encode() + _event(event | {"sequence_number": number})
        self._recorded.ended = "whole"

    def _reasoning_events(self) -> Iterator[dict[str, Any]]:
        if not self._thoughts:
            return
        at = {"output_index": 0, "item_id": "rs_1", "summary_index": 0}
        yield {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": self._reasoning("") | {"summary": []},
        }
        part = {"type": "summary_text", "text": ""}
        yield {"type": "response.reasoning_summary_part.added", **at, "part": part}
        for word in self._thoughts:
            yield {"type": "response.reasoning_summary_text.delta", **at, "delta": word}

    def _word_events(self) -> Iterator[dict[str, Any]]:
        place = int(bool(self._thoughts))
        at = {"output_index": place, "item_id": "msg_1", "content_index": 0}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
        yield {"type": "response.output_item.added", "output_index": place, "item": item}
        if self._behaviour.refusal:
            yield {"type": "response.refusal.done", **at, "refusal": self._behaviour.refusal}
            return
        for word in self._words:
            yield {"type": "response.output_text.delta", **at, "delta": word, "logprobs": []}

    def _message(self) -> dict[str, Any]:
        content = {"type": "output_text", "text": "".join(self._words), "annotations": []}
        if self._behaviour.refusal:
            content = {"type": "refusal", "refusal": self._behaviour.refusal}
        return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [content]}

    def _reasoning(self, text: str) -> dict[str, Any]:
        return {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": text}]}

    def _frame(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        model = self._recorded.body["model"]
        known = {"id": "resp_1", "object": "response", "created_at": 1, "status": status, "model": model}
        return known | {"output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}

    def _usage(self) -> dict[str, Any]:
        said = len(self._words)
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 1}}
        return {"input_tokens": 4, "output_tokens": said, "total_tokens": 4 + said, **details}


def _choose_tokens(behaviour: Behaviour, body: dict[str, Any], default: int) -> list[str]:
    if behaviour.tool_calls and behaviour.text is None:
        return []
    if behaviour.text is not None:
        return re.findall(r"\s*\S+|\s+", behaviour.text)
    asked = question_of(body)
    count, nonce = re.search(r"(\d+) tokens", asked), re.search(r"nonce:\w+", asked)
    number = behaviour.tokens or (int(count[1]) if count else default)
    words = [f"w{index}" for index in range(1, number + 1)]
    if nonce:
        words[0] = nonce[0]
    return [words[0], *(f" {word}" for word in words[1:])]


def question_of(body: dict[str, Any]) -> str:
    """What the user said last in a request."""
    return next((_text(message) for message in reversed(body.get("messages", [])) if message["role"] == "user"), "")


def _text(message: dict[str, Any]) -> str:
    content = message.get("content") or ""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def _call(place: int, index: int, name: str, arguments: str) -> dict[str, Any]:
    """A call whose id no other one of this server has, as a conversation with several needs it."""
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": f"call_{place}_{index}", "type": "function", "function": function}


def _event(data: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def _error_body(behaviour: Behaviour, dialect: Dialect) -> dict[str, Any]:
    kind = "invalid_request_error" if behaviour.status < 500 else "api_error"
    code: Any = behaviour.status if dialect == "vllm" else behaviour.error_code
    return {"error": {"message": behaviour.error, "type": kind, "param": behaviour.error_param, "code": code}}


def _refuse(behaviour: Behaviour, dialect: Dialect) -> Response:
    after = {} if behaviour.retry_after is None else {"Retry-After": f"{behaviour.retry_after:g}"}
    return JSONResponse(_error_body(behaviour, dialect), status_code=behaviour.status, headers=after)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--tokens-per-second", type=float, default=50)
    parser.add_argument("--dialect", choices=["openai", "ollama", "vllm"], default="openai")
    given = parser.parse_args()
    server = ModelServer(dialect=given.dialect, tokens_per_second=given.tokens_per_second, port=given.port)
    with server:
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
