"""Answers of a server that are none, or broken: its fault, said in one sentence, and nothing that came is lost."""

import json
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr
from sqlmodel import select

from core.access.viewer import Viewer
from core.agents.models import explain_model_error
from core.calls.capture.exchange import Exchange, _read, recognize
from core.calls.capture.observed import partial_response
from core.skein import Skein, open_skein
from core.tables import LlmCall
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask
from tests.model_server import Behaviour, ModelServer

SSE, JSON, HTML = "text/event-stream", "application/json", "text/html"
STOP = {"index": 0, "delta": {}, "finish_reason": "stop"}


def chunk(*choices: Any, **more: Any) -> dict[str, Any]:
    frame = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**frame, "choices": list(choices), **more}


def says(text: Any, **more: Any) -> dict[str, Any]:
    return {"index": 0, "delta": {"role": "assistant", "content": text, **more}, "finish_reason": None}


def calls(*given: Any) -> dict[str, Any]:
    return chunk({"index": 0, "delta": {"tool_calls": list(given)}, "finish_reason": None})


def sse(*events: Any, done: bool = True) -> bytes:
    """The stream with these events, each an object, or bytes as they are."""
    lines = [one if isinstance(one, bytes) else b"data: " + json.dumps(one).encode() + b"\n\n" for one in events]
    return b"".join(lines) + (b"data: [DONE]\n\n" if done else b"")


HELLO = chunk(says("hello"))
END = chunk(STOP)
WHOLE = {
    "id": "c1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
}
FUNCTION = {"name": "f", "arguments": "{}"}

# By what is wrong with them.
STREAMS: dict[str, bytes] = {
    "choices are null": (sse(HELLO, chunk() | {"choices": None}, END)),
    "choices are missing": (sse(HELLO, {"id": "c1", "model": "m"}, END)),
    "choices are a dict": (sse(HELLO, chunk() | {"choices": {"0": says("x")}}, END)),
    "choices are a text": (sse(HELLO, chunk() | {"choices": "hello"}, END)),
    "a choice is null": (sse(HELLO, chunk(None), END)),
    "a choice is a text": (sse(HELLO, chunk("x"), END)),
    "no delta": (sse(HELLO, chunk({"index": 0, "finish_reason": None}), END)),
    "delta is null": (sse(HELLO, chunk({"index": 0, "delta": None, "finish_reason": None}), END)),
    "delta is a list": (sse(HELLO, chunk({"index": 0, "delta": ["x"], "finish_reason": None}), END)),
    "delta is a text": (sse(HELLO, chunk({"index": 0, "delta": "x", "finish_reason": None}), END)),
    "content is a number": (sse(HELLO, chunk(says(7)), END)),
    "content is a list": (sse(HELLO, chunk(says([{"type": "text", "text": "x"}])), END)),
    "content is a list of numbers": (sse(HELLO, chunk(says([1, None])), END)),
    "content is a dict": (sse(HELLO, chunk(says({"text": "x"})), END)),
    "content is true": (sse(HELLO, chunk(says(True)), END)),
    "role is a number": (sse(HELLO, chunk(says("x", role=7)), END)),
    "role is unknown": (sse(HELLO, chunk(says("x", role="robot")), END)),
    "role is tool": (sse(HELLO, chunk(says("x", role="tool")), END)),
    "role is function": (sse(HELLO, chunk(says("x", role="function")), END)),
    "tool calls are null": (sse(HELLO, chunk(says("x", tool_calls=None)), END)),
    "tool calls are a dict": (sse(HELLO, chunk(says("x", tool_calls={"a": 1})), END)),
    "tool calls are a text": (sse(HELLO, chunk(says("x", tool_calls="f()")), END)),
    "a tool call is null": (sse(HELLO, calls(None), END)),
    "a tool call without index": (sse(HELLO, calls({"id": "a", "function": FUNCTION}), END)),
    "a tool call with an index that is a text": (sse(HELLO, calls({"index": "0", "function": FUNCTION}), END)),
    "a tool call with an index that is a list": (sse(HELLO, calls({"index": [0], "function": FUNCTION}), END)),
    "a tool call without function": (sse(HELLO, calls({"index": 0, "id": "a"}), END)),
    "a tool call whose function is null": (sse(HELLO, calls({"index": 0, "id": "a", "function": None}), END)),
    "a tool call whose function is a text": (sse(HELLO, calls({"index": 0, "id": "a", "function": "f"}), END)),
    "a tool call whose arguments are an object": (
        sse(HELLO, calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": {"x": 1}}}), END)
    ),
    "a tool call whose arguments are a number": (
        sse(HELLO, calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": 7}}), END)
    ),
    "a tool call whose arguments are null": (
        sse(HELLO, calls({"index": 0, "id": "a", "function": {"name": "f", "arguments": None}}), END)
    ),
    "a tool call whose name is a number": (
        sse(HELLO, calls({"index": 0, "id": "a", "function": {"name": 7, "arguments": "{}"}}), END)
    ),
    "a tool call whose id is a number": (sse(HELLO, calls({"index": 0, "id": 7, "function": FUNCTION}), END)),
    "a function call of old that is a text": (sse(HELLO, chunk(says("x", function_call="f")), END)),
    "usage is a text": (sse(HELLO, chunk(says("x"), usage="much"), END)),
    "usage is a list": (sse(HELLO, chunk(says("x"), usage=[1]), END)),
    "usage is a number": (sse(HELLO, chunk(usage=7), END)),
    "usage is empty": (sse(HELLO, chunk(usage={}), END)),
    "usage is negative": (
        sse(HELLO, chunk(usage={"prompt_tokens": -5, "completion_tokens": -1, "total_tokens": -6}), END)
    ),
    "usage has texts": (sse(HELLO, chunk(usage={"prompt_tokens": "5", "completion_tokens": "x"}), END)),
    "usage has fractions": (sse(HELLO, chunk(usage={"prompt_tokens": 1.5, "completion_tokens": 2.5}), END)),
    "usage has nulls": (
        sse(HELLO, chunk(usage={"prompt_tokens": None, "completion_tokens": None, "total_tokens": None}), END)
    ),
    "usage has details that are a text": (
        sse(
            HELLO,
            chunk(
                usage={
                    "prompt_tokens": 1,
                    "completion_tokens": 1,
                    "total_tokens": 2,
                    "prompt_tokens_details": "x",
                    "completion_tokens_details": [1],
                }
            ),
            END,
        )
    ),
    "usage is huge": (
        sse(HELLO, chunk(usage={"prompt_tokens": 10**30, "completion_tokens": 1, "total_tokens": 1}), END)
    ),
    "id is missing": (sse({**HELLO, "id": None}, END)),
    "id is a number": (sse({**HELLO, "id": 7}, {**END, "id": 7})),
    "id is a list": (sse({**HELLO, "id": [1]}, {**END, "id": [1]})),
    "model is null": (sse({**HELLO, "model": None}, {**END, "model": None})),
    "model is a dict": (sse({**HELLO, "model": {"a": 1}}, {**END, "model": {"a": 1}})),
    "model is a number": (sse({**HELLO, "model": 7}, {**END, "model": 7})),
    "finish reason is a number": (sse(HELLO, chunk({"index": 0, "delta": {}, "finish_reason": 7}))),
    "finish reason is a dict": (sse(HELLO, chunk({"index": 0, "delta": {}, "finish_reason": {"a": 1}}))),
    "service tier is a dict": (sse(HELLO, {**END, "service_tier": {"a": 1}, "system_fingerprint": [1]})),
    "logprobs are a text": (sse(HELLO, chunk(says("x") | {"logprobs": "x"}), END)),
    "a line of data that is no JSON": (sse(HELLO, b"data: {broken\n\n", END)),
    "a line of data that is cut": (sse(HELLO, done=False) + b'data: {"id": "c1", "choi'),
    "a line of data that is null": (sse(HELLO, None, END)),
    "a line of data that is a number": (sse(HELLO, 7, END)),
    "a line of data that is a list": (sse(HELLO, [HELLO], END)),
    "a line of data that is a text": (sse(HELLO, "hello", END)),
    "a line of data that is empty": (sse(HELLO, b"data:\n\n", END)),
    "a page among the data": (sse(HELLO, b"<html>502</html>\n\n", END)),
    "an error as an event": (sse(HELLO, b'event: error\ndata: {"error": {"message": "no"}}\n\n')),
    "an error as an event that is a text": (sse(HELLO, b"event: error\ndata: no\n\n")),
    "an error in the data": (sse(HELLO, {"error": {"message": "no", "code": 500}})),
    "an error in the data that is a text": (sse(HELLO, {"error": "no"})),
    "an error in the data that is a list": (sse(HELLO, {"error": ["no"]})),
    "an error in the data that is a number": (sse(HELLO, {"error": 500})),
    "an error in the data that is true": (sse(HELLO, {"error": True})),
    "an error without a message": (sse(HELLO, {"error": {}}, done=False)),
    "an error whose message is a dict": (sse(HELLO, {"error": {"message": {"a": 1}}})),
    "an object called error": (sse(HELLO, {"object": "error", "message": "no", "code": 400})),
    "an error beside detail": (sse(HELLO, {"detail": "no"})),
    "an error beside choices": (sse(HELLO, chunk(says("x"), error={"message": "no"}), END)),
    "DONE twice": (sse(HELLO, END, b"data: [DONE]\n\n")),
    "words after DONE": (sse(HELLO, END, b"data: [DONE]\n\n", chunk(says("x")))),
    "DONE at once": (sse()),
    "nothing but an end": (sse(END)),
    "a byte order mark": (b"\xef\xbb\xbf" + sse(HELLO, END)),
    "a huge line": (sse(chunk(says("x" * 3_000_000)), END)),
    "a deep line": (sse(HELLO, b"data: " + b"[" * 100_000 + b"\n\n", END)),
    "invalid UTF-8": (
        sse(HELLO, b'data: {"id": "c1", "choices": [{"index": 0, "delta": {"content": "\xff"}}]}\n\n', END)
    ),
    "half a character": (
        sse(HELLO, b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"\\ud800"}}]}\n\n', END)
    ),
    "NUL": (sse(HELLO, chunk(says("\0")), END)),
    "NaN": (sse(HELLO, b'data: {"id":"c1","choices":[{"index":0,"delta":{"content":"x"},"score":NaN}]}\n\n', END)),
    "line breaks of Windows": (sse(HELLO, END).replace(b"\n", b"\r\n")),
    "comments between": (sse(b": ping\n\n", HELLO, b": ping\n\n", END)),
    "neither DONE nor a reason": (sse(HELLO, done=False)),
    "nothing at all": (b""),
    "nothing but comments": (b": ping\n\n"),
    "a page that says it is a stream": (b"<html><h1>502</h1></html>"),
    "a whole answer that says it is a stream": (json.dumps(WHOLE).encode()),
    "a whole answer as the only event": (sse(WHOLE)),
}
BODIES: dict[str, Behaviour] = {
    "a page": (Behaviour(raw=b"<html>502</html>", page_type=HTML)),
    "a page in JSON's name": (Behaviour(raw=b"<html>502</html>", page_type=JSON)),
    "a whole answer": (Behaviour(raw=json.dumps(WHOLE).encode(), page_type=JSON)),
    "an error with status 200": (Behaviour(raw=b'{"error": {"message": "no"}}', page_type=JSON)),
    "an error that is a text with status 200": (Behaviour(raw=b'{"error": "no"}', page_type=JSON)),
    "null": (Behaviour(raw=b"null", page_type=JSON)),
    "a list": (Behaviour(raw=b"[]", page_type=JSON)),
    "a text": (Behaviour(raw=b'"x"', page_type=JSON)),
    "nothing": (Behaviour(raw=b"", page_type=JSON)),
    "nothing, with status 204": (Behaviour(raw=b"", status=204, page_type=JSON)),
    "cut JSON": (Behaviour(raw=b'{"id": "c1", "cho', page_type=JSON)),
    "a stream in the name of text": (Behaviour(raw=sse(HELLO, END), page_type="text/plain")),
    "a stream in no name": (Behaviour(raw=sse(HELLO, END), page_type="")),
    "what is said to be compressed": (
        Behaviour(raw=sse(HELLO, END), page_type=SSE, headers=(("content-encoding", "gzip"),))
    ),
    "what is said to be compressed otherwise": (
        Behaviour(raw=sse(HELLO, END), page_type=SSE, headers=(("content-encoding", "zz"),))
    ),
    "a redirect to nowhere": (Behaviour(raw=b"", status=302, headers=(("location", "/v1/nowhere"),))),
    "a redirect to itself": (Behaviour(raw=b"", status=307, headers=(("location", "/v1/chat/completions"),))),
    "a redirect without a place": (Behaviour(raw=b"", status=302)),
    "an error that is no JSON": (Behaviour(raw=b"no", status=500)),
    "an error that is a list": (Behaviour(raw=b"[1]", status=400, page_type=JSON)),
    "an error whose error is a list": (Behaviour(raw=b'{"error": [1]}', status=400, page_type=JSON)),
    "an error whose error is a text": (Behaviour(raw=b'{"error": "x"}', status=400, page_type=JSON)),
    "an error with broken bytes": (Behaviour(raw=b'{"error": "\xff"}', status=400, page_type=JSON)),
}
CASES = {name: Behaviour(raw=body, page_type=SSE) for name, body in STREAMS.items()} | BODIES

BROKEN = "The model server answered with something that is no completion"
REPORTED = "The model server reported a failure"
CUT = "The connection to the model server broke"
REFUSED = "The model server refused the request"
# What people read of those that are no answer; all others are read as what they mean.
FAILED = (
    dict.fromkeys(
        (
            *(
                "choices are a dict",
                "choices are a text",
                "a choice is null",
                "a choice is a text",
                "delta is a list",
            ),
            *("delta is a text", "content is a number", "content is a list of numbers", "content is a dict"),
            *("content is true", "tool calls are a dict", "tool calls are a text", "a tool call is null"),
            *("a tool call with an index that is a list", "a tool call without function", "a deep line"),
            *("a tool call whose function is null", "a tool call whose function is a text", "invalid UTF-8"),
            *("a tool call whose arguments are a number", "a tool call whose name is a number", "DONE at once"),
            *("a line of data that is no JSON", "a line of data that is null", "a line of data that is a number"),
            *("a line of data that is a list", "a line of data that is a text", "a line of data that is empty"),
            *("an error as an event that is a text", "a whole answer that says it is a stream", "a page"),
            *("a page in JSON's name", "a whole answer", "an error with status 200", "null", "a list", "a text"),
            *("an error that is a text with status 200", "nothing", "nothing, with status 204", "cut JSON"),
            *("what is said to be compressed",),
        ),
        BROKEN,
    )
    | dict.fromkeys(
        (
            *("an error as an event", "an error in the data", "an error in the data that is a text"),
            *("an error in the data that is a list", "an error in the data that is a number"),
            *("an error in the data that is true", "an error whose message is a dict", "an object called error"),
            *("an error beside detail", "an error beside choices"),
        ),
        REPORTED,
    )
    | dict.fromkeys(
        (
            *("a line of data that is cut", "an error without a message", "neither DONE nor a reason"),
            *("nothing at all", "nothing but comments", "a page that says it is a stream"),
        ),
        CUT,
    )
    | dict.fromkeys(
        (
            *("a redirect without a place", "an error that is a list", "an error whose error is a list"),
            *("an error whose error is a text", "an error with broken bytes"),
        ),
        REFUSED,
    )
    | {
        "a redirect to nowhere": "The model server does not know this model",
        "an error that is no JSON": "The model server had a failure of its own",
    }
)
SAYS_NOTHING = {"nothing but an end", "DONE at once", "a whole answer that says it is a stream"}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as opened:
        yield opened


@pytest.fixture(scope="module")
def skein(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Skein]:
    settings = make_settings(
        tmp_path_factory.mktemp("malformed"),
        openai_api_key="sk-abc123def456",
        openai_base_url=server.base_url,
        model="m",
        model_max_retries=0,
    )
    opened = open_skein(settings)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def alice(skein: Skein) -> Viewer:
    return make_person(skein, "alice")


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
class TestWhatIsNoAnswer:
    def test_all_that_fail_are_tried(self) -> None:
        assert FAILED.keys() - CASES.keys() == set()

    @pytest.mark.parametrize("name", CASES)
    def test_is_the_servers_fault_or_harmless(
        self, skein: Skein, alice: Viewer, server: ModelServer, name: str
    ) -> None:
        server.script(CASES[name])
        turn = ask(skein, alice, "a question")
        done = answered(skein, alice, turn.thread_id)
        assert (done.status, (done.error_message or "")[: len(FAILED.get(name, ""))]) == (
            "failed" if name in FAILED else "done",
            FAILED.get(name, ""),
        )
        if name in STREAMS and b"hello" in STREAMS[name] and name not in SAYS_NOTHING:
            assert (done.answer or "").startswith("hello")
        assert skein.call_log.flush()
        with skein.database.read() as db:
            [call] = db.exec(select(LlmCall).where(LlmCall.thread_id == turn.thread_id))
        assert call.status == ("error" if name in FAILED else "ok")
        assert call.error_type not in {"AttributeError", "TypeError", "KeyError", "ValidationError"}

    @pytest.mark.parametrize("name", CASES)
    def test_is_the_servers_fault_for_a_client_of_a_teams_own_too(self, server: ModelServer, name: str) -> None:
        client = ChatOpenAI(
            model="m", base_url=server.base_url, api_key=SecretStr("x"), max_retries=0, stream_usage=True
        )
        server.script(CASES[name])
        said = None
        try:
            deque(client.stream("a question"), maxlen=0)
        except Exception as error:
            said = explain_model_error(error)
            assert said is not None
        assert said is not None or FAILED.get(name) != REFUSED


# One for each way of asking and answering that the log knows.
PATHS = (
    *("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/v1/messages", "/api/chat"),
    "/v1beta/models/m:streamGenerateContent",
)
ASKED = b'{"model": "m", "prompt": "x", "input": "x"}'


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("path", PATHS)
def test_the_call_log_reads_it_as_it_went_over_the_wire(name: str, path: str) -> None:
    """Of a call that was made without LangChain."""
    for content_type, body in (
        (SSE, STREAMS[name]),
        (JSON, STREAMS[name].partition(b"data: ")[2].partition(b"\n")[0]),
    ):
        form, url, _ = recognize(f"http://x{path}", ASKED) or pytest.fail("it is not known as a model server")
        answer = _read(Exchange(form, url, path, ASKED, content_type, [(0.0, body)]))
        assert isinstance(partial_response(answer.words, answer.tool_parts, answer.thoughts), list)
