"""A model server that answers by a script, for trying a graph without a provider: OpenAI's and Anthropic's forms.

It speaks real HTTP on a loopback port, streams when asked to, and is as strict about tool calls and their results
as OpenAI's own. Invariant: the same request gets the same answer: each tool that is offered is called once for a
question, with the plainest arguments that its schema allows, and then something is said.
"""

import json
import os
import re
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

_MOST_CALLS = 2
_LONGEST_QUOTE = 40
_DIMS = 1536


@dataclass(frozen=True)
class Reply:
    """What the model says, or the tools that it calls: (id, name, arguments)."""

    text: str = ""
    calls: Sequence[tuple[str, str, Any]] = ()


class ScriptedModel:
    """The server; ``requests`` counts what it was asked."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        routes = [
            Route("/v1/chat/completions", self._openai, methods=["POST"]),
            Route("/v1/embeddings", self._embed, methods=["POST"]),
            Route("/v1/messages", self._anthropic, methods=["POST"]),
        ]
        config = uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", timeout_keep_alive=120)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def start(self) -> None:
        # The socket listens already: what is asked before the server has begun waits for it.
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._socket.close()

    async def _openai(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        if wrong := find_open_call(body["messages"]):
            self.refused.append(wrong)
            return JSONResponse({"error": {"message": wrong, "type": "invalid_request_error"}}, status_code=400)
        form = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
        functions = [one["function"] for one in body.get("tools") or ()]
        tools = [(one["name"], one.get("parameters") or {}) for one in functions]
        reply = choose(_from_openai(body["messages"]), tools, form, forced=_forced(body.get("tool_choice")))
        if body.get("stream"):
            return StreamingResponse(_openai_events(reply), media_type="text/event-stream")
        return JSONResponse(_openai_whole(reply))

    async def _anthropic(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        tools = [(one["name"], one.get("input_schema") or {}) for one in body.get("tools") or ()]
        choice = body.get("tool_choice") or {}
        reply = choose(_from_anthropic(body["messages"]), tools, None, forced=choice.get("name", ""))
        if body.get("stream"):
            return StreamingResponse(_anthropic_events(reply), media_type="text/event-stream")
        return JSONResponse(_anthropic_whole(reply))

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        data = [{"object": "embedding", "index": n, "embedding": _vector(str(one))} for n, one in enumerate(texts)]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        return JSONResponse({"object": "list", "model": body.get("model"), "data": data, "usage": usage})


@contextmanager
def scripted_model() -> Iterator[ScriptedModel]:
    """A server in whose block the usual clients of this process ask it, and nobody else."""
    server = ScriptedModel()
    server.start()
    given = {
        "OPENAI_BASE_URL": f"{server.url}/v1",
        "OPENAI_API_BASE": f"{server.url}/v1",
        "OPENAI_API_KEY": "scripted",
        "ANTHROPIC_BASE_URL": server.url,
        "ANTHROPIC_API_URL": server.url,
        "ANTHROPIC_API_KEY": "scripted",
    }
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    try:
        yield server
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        server.close()


# -- what is answered -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """A message of a request: who speaks, what, and whether it is a tool's result."""

    role: str
    text: str


def choose(lines: Sequence[Line], tools: Sequence[tuple[str, Any]], form: Any, *, forced: str = "") -> Reply:
    """The answer to these messages: data of the form that is asked for, tool calls, or words."""
    if form is not None:
        return Reply(json.dumps(fill(form)))
    asked = max((place for place, line in enumerate(lines) if line.role == "user"), default=0)
    results = [line for line in lines[asked:] if line.role == "tool"]
    if forced:
        return Reply(calls=_calls([one for one in tools if one[0] == forced] or tools[:1], len(lines)))
    if tools and not results:
        return Reply(calls=_calls(tools[:_MOST_CALLS], len(lines)))
    question = lines[asked].text[:_LONGEST_QUOTE] if lines else ""
    with_results = f", after {len(results)} results" if results else ""
    return Reply(f"This is the scripted answer to: {question}{with_results}.")


def fill(schema: Any, definitions: Any = None) -> Any:
    """The plainest value that a JSON schema allows."""
    definitions = definitions or {**schema.get("$defs", {}), **schema.get("definitions", {})}
    if "$ref" in schema:
        return fill(definitions.get(schema["$ref"].rpartition("/")[2], {}), definitions)
    if "const" in schema or "enum" in schema:
        return schema.get("const", (schema.get("enum") or [None])[0])
    for choice in ("anyOf", "oneOf", "allOf"):
        if schema.get(choice):
            return fill(schema[choice][0], definitions)
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        return {name: fill(inner, definitions) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [fill(schema.get("items") or {"type": "string"}, definitions)]
    return {"integer": 2, "number": 2, "boolean": True, "null": None}.get(str(kind), "word")


def find_open_call(messages: Sequence[Mapping[str, Any]]) -> str:
    """What OpenAI's server would refuse of these messages; "" when nothing."""
    waiting: set[str] = set()
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                return "messages with role 'tool' must be a response to a preceding message with 'tool_calls'"
            waiting.discard(message["tool_call_id"])
        elif waiting:
            break
        else:
            waiting = {call["id"] for call in message.get("tool_calls") or ()}
    return f"tool_call_ids did not have response messages: {', '.join(sorted(waiting))}" if waiting else ""


def _calls(tools: Sequence[tuple[str, Any]], place: int) -> list[tuple[str, str, Any]]:
    return [(f"call_{place}_{number}", name, fill(schema)) for number, (name, schema) in enumerate(tools)]


def _forced(choice: Any) -> str:
    """The tool that has to be called; "any" of them where that is all that is said."""
    if isinstance(choice, Mapping):
        return str((choice.get("function") or {}).get("name", ""))
    return "any" if choice in ("required", "any") else ""


def _vector(text: str) -> list[float]:
    """A vector that is alike for texts that share letters."""
    vector = [0.0] * _DIMS
    for letter in text:
        vector[ord(letter) % _DIMS] += 1.0
    return vector


# -- OpenAI's form --------------------------------------------------------------------------------------


def _from_openai(messages: Sequence[Mapping[str, Any]]) -> list[Line]:
    return [Line(one["role"], _text_of(one.get("content"))) for one in messages]


def _text_of(content: Any) -> str:
    if isinstance(content, list):
        return " ".join(str(block.get("text", "")) for block in content if isinstance(block, Mapping))
    return str(content or "")


def _openai_call(number: int, call: tuple[str, str, Any]) -> dict[str, Any]:
    own, name, arguments = call
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"index": number, "id": own, "type": "function", "function": function}


def _openai_whole(reply: Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.calls:
        message["tool_calls"] = [_openai_call(number, call) for number, call in enumerate(reply.calls)]
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if reply.calls else "stop"}
    return {
        "id": "scripted",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [choice],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _openai_events(reply: Reply) -> Iterator[str]:
    def event(delta: Any, finish: str | None = None, **more: Any) -> str:
        choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
        data = {"id": "scripted", "object": "chat.completion.chunk", "created": 0, "model": "scripted"}
        return f"data: {json.dumps({**data, 'choices': choices, **more})}\n\n"

    yield event({"role": "assistant", "content": ""})
    for word in re.findall(r"\S+\s*", reply.text):
        yield event({"content": word})
    for number, call in enumerate(reply.calls):
        yield event({"tool_calls": [_openai_call(number, call)]})
    yield event({}, "tool_calls" if reply.calls else "stop")
    yield event(None, usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
    yield "data: [DONE]\n\n"


# -- Anthropic's form -----------------------------------------------------------------------------------


def _from_anthropic(messages: Sequence[Mapping[str, Any]]) -> list[Line]:
    lines = []
    for one in messages:
        blocks = one["content"] if isinstance(one["content"], list) else []
        is_result = any(block.get("type") == "tool_result" for block in blocks)
        lines.append(Line("tool" if is_result else one["role"], _text_of(one["content"])))
    return lines


def _anthropic_blocks(reply: Reply) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    for own, name, given in reply.calls:
        blocks.append({"type": "tool_use", "id": own, "name": name, "input": given})
    return blocks


def _anthropic_whole(reply: Reply) -> dict[str, Any]:
    return {
        "id": "scripted",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": _anthropic_blocks(reply),
        "stop_reason": "tool_use" if reply.calls else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }


def _anthropic_events(reply: Reply) -> Iterator[str]:
    def event(kind: str, **more: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n"

    whole = _anthropic_whole(reply)
    yield event("message_start", message={**whole, "content": [], "stop_reason": None})
    for index, block in enumerate(whole["content"]):
        empty: dict[str, Any]
        if block["type"] == "text":
            empty, delta = {"text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            empty, delta = {"input": {}}, {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        yield event("content_block_start", index=index, content_block={**block, **empty})
        yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    stop = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    yield event("message_delta", delta=stop, usage={"output_tokens": 5})
    yield event("message_stop")
