"""Calls that graphs make without LangChain: one row for each request that the server saw, with whose it was."""

import gc
import json
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from core.access.viewer import Viewer
from core.calls.capture import exchange
from core.calls.context import CallContext, attribute_calls
from core.calls.panels.rollups import find_disagreements
from core.calls.proof.verify import verify
from core.history.turns import Turn
from core.skein import Skein, open_skein
from core.tables import LlmCall, LlmCallBody
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask, wait_until
from tests.core.test_attribution import calls_of, session_of
from tests.graphs import raw_calls
from tests.model_server import Behaviour, ModelServer

GRAPHS = Path(raw_calls.__file__)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(default_tokens=3) as opened:
        monkeypatch.setenv("OPENAI_BASE_URL", opened.base_url)
        yield opened


@pytest.fixture
def skein(tmp_path: Path, database_url: str, server: ModelServer) -> Iterator[Skein]:
    graphs = {name: f"{GRAPHS}:{name}" for name in ("raw", "plainly")}
    graphs["raw_client"] = f"{GRAPHS.parent / 'foreign' / 'raw_client.py'}:graph"
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": graphs}))
    opened = open_skein(make_settings(tmp_path, database_url=database_url, langgraph_json=file))
    yield opened
    with warnings.catch_warnings():
        # The program's own client is left open: its connections go with it.
        warnings.simplefilter("ignore", ResourceWarning)
        opened.close()
        gc.collect()


@pytest.fixture
def ada(skein: Skein) -> Viewer:
    return make_person(skein, "ada")


def say(skein: Skein, viewer: Viewer, text: str, agent: str = "raw") -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, agent=agent).thread_id)


def bodies_of(skein: Skein, calls: list[LlmCall]) -> list[tuple[Any, Any]]:
    """Of each call the prompt, and the response."""
    with skein.database.read() as db:
        bodies = [db.get_one(LlmCallBody, call.call_id) for call in calls]
    return [(json.loads(body.prompt or "null"), json.loads(body.response or "null")) for body in bodies]


def assert_is_of(turn: Turn, skein: Skein, viewer: Viewer, call: LlmCall) -> None:
    """The call has all ids of the turn, and the node that made it."""
    assert (call.user_id, call.session_id, call.conversation_id, call.message_id, call.thread_id) == (
        viewer.user_id,
        session_of(skein, turn),
        turn.conversation_id,
        turn.message_id,
        turn.thread_id,
    )
    assert (call.attributed, call.node, call.step) == (True, "ask", 1)


class TestARequestWithoutLangChain:
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it closes no client
    def test_of_a_foreign_graph_is_a_row_whole_and_streamed(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        turn = say(skein, ada, "hi", "raw_client")
        calls = calls_of(skein)
        assert (turn.status, turn.answer) == ("done", "w1 w2 w3 w1 w2 w3")
        assert len(calls) == len(server.requests) == 2
        for call, (prompt, response) in zip(calls, bodies_of(skein, calls), strict=True):
            assert_is_of(turn, skein, ada, call)
            assert (call.status, call.model, call.response_model, call.base_url) == (
                "ok",
                "gpt-4o",
                "gpt-4o",
                server.base_url,
            )
            assert (prompt[0]["content"], response) == ("hi", [{"role": "assistant", "content": "w1 w2 w3"}])
            assert (call.attempt, call.http_status, call.finish_reason, call.cost_source) == (
                1,
                200,
                "stop",
                "unpriced",
            )
        first, second = calls
        assert (first.streamed, first.ttft_ms, first.usage_source, first.output_tokens) == (False, None, "model", 3)
        assert (second.streamed, second.usage_source) == (True, "estimated")
        assert 0 <= (second.ttft_ms or -1) <= (second.duration_ms or 0)
        gc.collect()

    def test_keeps_its_parameters_and_never_its_key(self, skein: Skein, ada: Viewer) -> None:
        say(skein, ada, "whole")
        [call] = calls_of(skein)
        assert (call.temperature, call.provider, call.operation) == (0.5, "openai", "chat")
        assert "sk-raw-secret" not in repr(call.model_dump())

    def test_tells_the_tokens_that_its_stream_reports(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(text="five words in all now", reasoning="hm hm"))
        assert say(skein, ada, "streamed").answer == "five words in all now"
        [call] = calls_of(skein)
        [(_, response)] = bodies_of(skein, [call])
        assert (call.input_tokens, call.output_tokens, call.usage_source) == (2, 5, "model")
        assert response == [{"role": "assistant", "content": "five words in all now", "reasoning": "hm hm"}]

    def test_keeps_the_tools_it_asks_for(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        wanted = (("look_up", {"query": "tea"}),)
        server.script(Behaviour(tool_calls=wanted), Behaviour(tool_calls=wanted))
        say(skein, ada, "in_a_thread")
        for _, [message] in bodies_of(skein, calls_of(skein)):
            [call] = message["tool_calls"]
            args = call["args"] if isinstance(call["args"], dict) else json.loads(call["args"])
            assert (call["name"], args) == ("look_up", {"query": "tea"})

    @pytest.mark.parametrize("agent", ["raw", "plainly"])
    def test_from_a_thread_has_its_ids_too(
        self, skein: Skein, ada: Viewer, server: ModelServer, agent: str
    ) -> None:
        turn = say(skein, ada, "in_a_thread", agent)
        calls = calls_of(skein)
        assert len(calls) == len(server.requests) == (2 if agent == "raw" else 1)
        for call in calls:
            assert_is_of(turn, skein, ada, call)

    def test_for_vectors_is_a_row_with_its_texts(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        turn = say(skein, ada, "embedded")
        calls = calls_of(skein)
        assert len(calls) == len(server.requests) == 2
        assert {call.operation for call in calls} == {"embeddings"}
        assert [(call.status, call.input_tokens, call.output_tokens) for call in calls] == [("ok", 7, 0)] * 2
        texts = [[message["content"] for message in prompt] for prompt, _ in bodies_of(skein, calls)]
        assert texts == [["one text", "another"], ["a third"]]
        for call in calls:
            assert_is_of(turn, skein, ada, call)

    def test_to_the_responses_api_is_one_too(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(text="said so", reasoning="hm"), Behaviour(text="said so", reasoning="hm"))
        say(skein, ada, "responses")
        calls = calls_of(skein)
        answer = [{"role": "assistant", "content": "said so", "reasoning": "hm"}]
        assert [response for _, response in bodies_of(skein, calls)] == [answer, answer]
        assert [(call.input_tokens, call.output_tokens, call.reasoning_tokens) for call in calls] == [(4, 2, 1)] * 2
        assert [call.streamed for call in calls] == [False, True]
        (prompt, _), _ = bodies_of(skein, calls)
        assert [message["content"] for message in prompt] == ["be brief", "asked raw"]

    def test_that_is_refused_and_tried_again_is_two(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(status=429, retry_after=0.01, error="slow down, sk-raw-secret-0123456789"))
        assert say(skein, ada, "whole").answer == "w1 w2 w3"
        refused, taken = calls_of(skein)
        assert (refused.status, refused.http_status, refused.cost_usd, refused.cost_source) == (
            "error",
            429,
            0.0,
            "refused",
        )
        assert refused.error_message == "slow down, ***"
        assert (taken.status, len(server.requests)) == ("ok", 2)

    @pytest.mark.parametrize(
        "behaviour",
        [
            Behaviour(page="<html>gone</html>"),
            Behaviour(page='{"id": ', page_type="application/json"),
            Behaviour(page="<html>gone</html>", status=404),
        ],
    )
    def test_that_gets_no_completion_is_an_error(
        self, skein: Skein, ada: Viewer, server: ModelServer, behaviour: Behaviour
    ) -> None:
        server.script(behaviour)
        assert say(skein, ada, "caught").status == "done"
        [call] = calls_of(skein)
        assert (call.status, call.http_status) == ("error", behaviour.status)

    @pytest.mark.parametrize(
        "behaviour",
        [
            Behaviour(tokens=3, finish=False, done=False),
            Behaviour(tokens=3, cut_after=2),
            Behaviour(tokens=3, error_after=2),
            Behaviour(tokens=3, error_event='{"message": "boom"}'),
        ],
    )
    def test_whose_stream_breaks_off_is_an_error_with_its_text(
        self, skein: Skein, ada: Viewer, server: ModelServer, behaviour: Behaviour
    ) -> None:
        server.script(behaviour)
        say(skein, ada, "streamed")
        [call] = calls_of(skein)
        [(_, response)] = bodies_of(skein, [call])
        assert call.status == "error"
        assert response[0]["content"].startswith("w1 w2")

    def test_that_comes_compressed_is_read(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(gzip=True, text="packed"))
        say(skein, ada, "whole")
        assert bodies_of(skein, calls_of(skein))[0][1] == [{"role": "assistant", "content": "packed"}]

    def test_that_reaches_no_server_costs_nothing(
        self, skein: Skein, ada: Viewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
        say(skein, ada, "caught")
        calls = calls_of(skein)
        assert {(call.status, call.error_type, call.cost_source) for call in calls} == {
            ("error", "ConnectError", "refused")
        }

    def test_that_is_left_early_is_cancelled_with_what_came(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        server.script(Behaviour(tokens=500, tokens_per_second=50))
        say(skein, ada, "left_early")
        [call] = calls_of(skein)
        assert (call.status, call.usage_source) == ("cancelled", "estimated")
        assert bodies_of(skein, [call])[0][1][0]["content"].startswith("w1")

    def test_that_a_stop_cuts_off_is_cancelled_with_what_came(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        server.script(Behaviour(tokens=500, tokens_per_second=50))
        turn = ask(skein, ada, "streamed", agent="raw")
        wait_until(lambda: bool(server.requests) and len(server.sent[0]) > 3)
        skein.engine.stop(ada, turn.thread_id)
        assert answered(skein, ada, turn.thread_id).status == "stopped"
        [call] = calls_of(skein)
        assert (call.status, call.thread_id) == ("cancelled", turn.thread_id)
        assert bodies_of(skein, [call])[0][1][0]["content"].startswith("w1 w2 w3")


class TestBesideLangChain:
    def test_each_request_counts_once(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        turn = say(skein, ada, "mixed")
        calls = calls_of(skein)
        assert (turn.status, sum(call.attempt for call in calls)) == ("done", len(server.requests))
        sent = sorted(request.body["messages"][0]["content"] for request in server.requests)
        logged = sorted(prompt[0]["content"] for prompt, _ in bodies_of(skein, calls))
        assert (logged, len(logged)) == (sent, 8)
        for call in calls:
            assert_is_of(turn, skein, ada, call)

    def test_what_is_asked_while_another_model_answers_is_a_row_of_its_own(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        assert say(skein, ada, "amid_another").answer == "w1 w2 w3"
        assert sorted(call.model or "" for call in calls_of(skein)) == ["", "gpt-4o"]

    def test_what_is_asked_after_a_call_was_given_up_is_a_row_of_its_own(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        go = threading.Event()
        raw_calls.RECEIVED.clear()
        server.script(Behaviour(wait_for=go), Behaviour(text="the second"))
        turn = ask(skein, ada, "after_a_timeout", agent="raw")
        wait_until(lambda: bool(server.requests))
        raw_calls.RECEIVED.set()
        turn = answered(skein, ada, turn.thread_id)
        go.set()
        raw = [call for call in calls_of(skein) if call.base_url == server.base_url and call.status == "ok"]
        assert turn.answer == "the second"
        assert [response for _, response in bodies_of(skein, raw)] == [
            [{"role": "assistant", "content": "the second"}]
        ]

    def test_all_is_counted_and_sealed(self, skein: Skein, ada: Viewer) -> None:
        for way in ("whole", "streamed", "embedded", "mixed"):
            say(skein, ada, way)
        calls = calls_of(skein)
        with skein.database.read() as db:
            assert find_disagreements(db) == []
        assert (verify(skein.database).problem, verify(skein.database).calls) == ("", len(calls))


class TestOutsideOfRuns:
    def test_it_is_attributed_as_any_other(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        client = OpenAI(api_key="k")
        with attribute_calls(CallContext(user_id=ada.user_id, session_id="session_x")):
            client.chat.completions.create(model="gpt-4o", messages=raw_calls.ASKED)  # type: ignore[arg-type]
        client.chat.completions.create(model="gpt-4o", messages=raw_calls.ASKED)  # type: ignore[arg-type]
        known, nobodys = calls_of(skein)
        assert (known.attributed, known.user_id, known.session_id) == (True, ada.user_id, "session_x")
        assert (nobodys.attributed, nobodys.user_id) == (False, None)


class TestAFailureOfOurs:
    def test_breaks_no_request(self, skein: Skein, ada: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: object, **__: object) -> None:
            raise RuntimeError("a failure of ours")

        monkeypatch.setattr("core.calls.capture.requests.Exchange", fail)
        assert say(skein, ada, "streamed").answer == "w1 w2 w3"
        [call] = calls_of(skein)
        assert (call.operation, call.attributed, call.usage_source) == ("request", False, None)

    def test_while_it_is_read_leaves_a_row_without_text(
        self, skein: Skein, ada: Viewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError("cannot be read")

        monkeypatch.setattr(exchange, "_read", fail)
        assert say(skein, ada, "whole").answer == "w1 w2 w3"
        [call] = calls_of(skein)
        assert call.thread_id is not None
