"""Requests to model servers of any make, by any client of HTTP and from any thread: each is one row, and is read.

Where ``aiohttp`` is installed it is one of the clients.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.access.viewer import Viewer
from core.calls.capture.exchange import OTHER, recognize
from core.skein import Skein, open_skein
from core.tables import LlmCall
from tests.conftest import make_person, make_settings
from tests.core.support import OnSqlite
from tests.core.test_attribution import calls_of
from tests.core.test_raw_calls import assert_is_of, bodies_of, say
from tests.graphs import any_client
from tests.provider_server import ProviderServer

PICTURE = base64.b64encode(bytes(300)).decode()
GEMINI = "/v1beta/models/gemini-2.5-flash"
ASKED = [{"role": "user", "content": "asked"}]
OF_GEMINI = {
    "systemInstruction": {"parts": [{"text": "be brief"}]},
    "contents": [{"role": "user", "parts": [{"text": "asked"}]}],
    "generationConfig": {"temperature": 0.5, "maxOutputTokens": 9},
}
OF_ANTHROPIC = {"model": "claude-x", "max_tokens": 9, "temperature": 0.5, "system": "be brief", "messages": ASKED}
OF_OLLAMA = {
    "model": "qwen",
    "messages": [{"role": "system", "content": "be brief"}, *ASKED],
    "options": {"temperature": 0.5, "num_predict": 9},
}
CALL = {"name": "look_up", "args": {"query": "tea"}}
WAYS = {
    "anthropic": ("/v1/messages", OF_ANTHROPIC, "claude-x", (1209, 9, 1000, 188)),
    "anthropic streamed": ("/v1/messages", {**OF_ANTHROPIC, "stream": True}, "claude-x", (1209, 9, 1000, 188)),
    "gemini": (f"{GEMINI}:generateContent", OF_GEMINI, "gemini-2.5-flash", (11, 5, None, None)),
    "gemini streamed": (
        f"{GEMINI}:streamGenerateContent?alt=sse",
        OF_GEMINI,
        "gemini-2.5-flash",
        (11, 5, None, None),
    ),
    "gemini in a list": (f"{GEMINI}:streamGenerateContent", OF_GEMINI, "gemini-2.5-flash", (11, 5, None, None)),
    "ollama": ("/api/chat", {**OF_OLLAMA, "stream": False}, "qwen", (6, 3, None, None)),
    "ollama streamed": ("/api/chat", OF_OLLAMA, "qwen", (6, 3, None, None)),
}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ProviderServer]:
    with ProviderServer() as opened:
        monkeypatch.setenv("TEST_PROVIDER_URL", opened.url)
        yield opened


@pytest.fixture
def skein(tmp_path: Path, database_url: str, server: ProviderServer) -> Iterator[Skein]:
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"any_client": f"{Path(any_client.__file__)}:graph"}}))
    opened = open_skein(make_settings(tmp_path, database_url=database_url, langgraph_json=file))
    yield opened
    opened.close()


@pytest.fixture
def ada(skein: Skein) -> Viewer:
    return make_person(skein, "ada")


def asked(client: str, place: str, path: str, body: dict[str, Any]) -> str:
    return f"{client} {place} {path} {json.dumps(body)}"


def tokens_of(call: LlmCall) -> tuple[int | None, ...]:
    return call.input_tokens, call.output_tokens, call.cache_read_tokens, call.cache_write_tokens


class TestARequestInAnyForm(OnSqlite):
    @pytest.mark.parametrize("client", [*any_client.CLIENTS])
    @pytest.mark.parametrize("way", [*WAYS])
    def test_is_one_row_with_ids_text_and_usage(
        self, skein: Skein, ada: Viewer, server: ProviderServer, client: str, way: str
    ) -> None:
        path, body, model, tokens = WAYS[way]
        turn = say(skein, ada, asked(client, "here", path, body), "any_client")
        assert turn.status == "done", turn.error_message
        assert len(server.paths) == 1
        [call] = calls_of(skein)
        assert_is_of(turn, skein, ada, call)
        assert (call.status, call.operation, call.http_status) == ("ok", "chat", 200)
        assert (call.model, call.response_model, tokens_of(call)) == (model, model, tokens)
        assert (call.usage_source, call.temperature, call.max_tokens) == ("model", 0.5, 9)
        [(prompt, [message])] = bodies_of(skein, [call])
        assert [(one["role"], one["content"]) for one in prompt] == [("system", "be brief"), ("user", "asked")]
        assert (message["content"], message["reasoning"]) == ("said so", "hm")
        [made] = message["tool_calls"]
        arguments = made["args"] if isinstance(made["args"], dict) else json.loads(made["args"])
        assert {"name": made["name"], "args": arguments} == CALL
        assert call.streamed == ("streamed" in way)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/api/chat", {"model": "q", "messages": [{"role": "user", "content": "see", "images": [PICTURE]}]}),
            (
                f"{GEMINI}:generateContent",
                {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": PICTURE}}]}]},
            ),
            (
                "/v1/messages",
                {
                    "model": "c",
                    "messages": [
                        {
                            "role": "user",
                            "content": [
                                {
                                    "type": "image",
                                    "source": {"type": "base64", "media_type": "image/png", "data": PICTURE},
                                }
                            ],
                        }
                    ],
                },
            ),
        ],
    )
    def test_keeps_of_a_picture_its_hash(self, skein: Skein, ada: Viewer, path: str, body: dict[str, Any]) -> None:
        say(skein, ada, asked("httpx", "here", path, body), "any_client")
        [(prompt, _)] = bodies_of(skein, calls_of(skein))
        assert (PICTURE in json.dumps(prompt), "300 bytes, sha256 " in json.dumps(prompt)) == (False, True)


class TestARequestFromAnyThread:
    @pytest.mark.parametrize("client", ["httpx", "requests"])
    @pytest.mark.parametrize("place", ["here", "to_thread", "executor", "executor_of_its_own"])
    def test_that_is_given_its_context_has_its_ids(
        self, skein: Skein, ada: Viewer, server: ProviderServer, client: str, place: str
    ) -> None:
        text = asked(client, place, "/v1/chat/completions", {"model": "m", "messages": ASKED})
        turns = [say(skein, ada, text, "any_client") for _ in range(3)]
        calls = calls_of(skein)
        assert len(calls) == len(server.paths) == 3
        for turn, call in zip(turns, calls, strict=True):
            assert_is_of(turn, skein, ada, call)

    @pytest.mark.parametrize("place", ["pool", "thread"])
    def test_that_has_none_is_a_row_of_nobodys(
        self, skein: Skein, ada: Viewer, server: ProviderServer, place: str
    ) -> None:
        body = {"model": "m", "messages": ASKED}
        say(skein, ada, asked("requests", place, "/v1/chat/completions", body), "any_client")
        [call] = calls_of(skein)
        assert (len(server.paths), call.attributed, call.user_id, call.thread_id) == (1, False, None, None)
        assert (call.status, call.input_tokens, call.output_tokens) == ("ok", 5, 2)


class TestARequestForNoChat(OnSqlite):
    @pytest.mark.parametrize(
        ("path", "body", "usage"),
        [
            ("/api/embed", {"model": "nomic", "input": ["one", "two"]}, ("model", 4, 0)),
            (f"{GEMINI}:embedContent", {"content": {"parts": [{"text": "one"}]}}, ("estimated", 9, 0)),
        ],
    )
    def test_for_vectors_has_its_own_operation(
        self, skein: Skein, ada: Viewer, path: str, body: dict[str, Any], usage: tuple[str, int, int]
    ) -> None:
        say(skein, ada, asked("httpx", "here", path, body), "any_client")
        [call] = calls_of(skein)
        [(prompt, response)] = bodies_of(skein, [call])
        assert (call.operation, call.status, prompt[0]["content"], response) == ("embeddings", "ok", "one", None)
        assert (call.usage_source, call.input_tokens, call.output_tokens) == usage

    @pytest.mark.parametrize("client", [*any_client.CLIENTS])
    def test_that_cannot_be_read_is_a_row_without_usage_or_price(
        self, skein: Skein, ada: Viewer, server: ProviderServer, client: str
    ) -> None:
        body = {"model": "painter", "prompt": "a boat"}
        turn = say(skein, ada, asked(client, "here", "/v1/images/generations", body), "any_client")
        [call] = calls_of(skein)
        assert_is_of(turn, skein, ada, call)
        assert (call.operation, call.model, call.status) == ("request", "painter", "ok")
        assert (call.usage_source, call.input_tokens, call.cost_usd, call.cost_source) == (
            None,
            None,
            None,
            "unpriced",
        )

    @pytest.mark.parametrize("client", [*any_client.CLIENTS])
    def test_that_is_no_models_business_is_no_row(
        self, skein: Skein, ada: Viewer, server: ProviderServer, client: str
    ) -> None:
        for path in ("/api/responses", "/v1/messages", "/tickets"):
            say(skein, ada, asked(client, "here", path, {"stars": 5}), "any_client")
        assert (len(server.paths), calls_of(skein)) == (3, [])

    def test_that_is_refused_is_an_error_that_costs_nothing(self, skein: Skein, ada: Viewer) -> None:
        body = {"model": "m", "input": "words"}
        say(skein, ada, asked("requests", "here", "/v1/responses", body), "any_client")
        [call] = calls_of(skein)
        assert (call.status, call.http_status, call.error_message) == ("error", 404, "no such path")
        assert (call.cost_usd, call.cost_source) == (0.0, "refused")


class TestWhatIsAModelServer:
    @pytest.mark.parametrize(
        ("url", "operation", "server"),
        [
            ("https://api.openai.com/v1/chat/completions", "chat", "https://api.openai.com/v1"),
            ("https://me.openai.azure.com/openai/deployments/d/chat/completions?api-version=1", "chat", None),
            ("https://api.anthropic.com/v1/messages", "chat", "https://api.anthropic.com"),
            ("https://api.cohere.com/v2/chat", "request", "https://api.cohere.com"),
            ("https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse", "request", None),
            ("https://api.openai.com/v1/audio/speech", "request", "https://api.openai.com/v1"),
        ],
    )
    def test_its_requests_are_known(self, url: str, operation: str, server: str | None) -> None:
        found = recognize(url, b"{}")
        assert found is not None
        assert found[0].operation == operation
        assert found[1] == server or server is None

    @pytest.mark.parametrize(
        "url",
        [
            "https://api.openai.com/v1/files",
            "https://api.anthropic.com/v1/messages/count_tokens",
            "https://example.org/v1/things",
            "https://api.openai.com.example.org/v1/things",
        ],
    )
    def test_what_asks_nothing_of_a_model_is_not(self, url: str) -> None:
        assert recognize(url, b"{}") is None

    def test_what_is_not_read_is_named_by_its_path(self) -> None:
        found = recognize("https://bedrock-runtime.eu-west-1.amazonaws.com/model/anthropic.claude/converse", b"")
        assert found is not None
        assert (found[0], found[2]) == (OTHER, "/model/anthropic.claude/converse")
