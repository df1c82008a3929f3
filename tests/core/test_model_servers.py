"""What model servers really send, from the wire to what people see and what the call log holds."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels.analytics import read_totals
from core.history.turns import Turn
from core.runs.events import Event
from core.settings import Settings
from core.skein import Skein, open_skein
from core.tables import LlmCall, LlmCallBody
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask, follow, wait_until
from tests.core.test_attribution import calls_of
from tests.graphs import own_models
from tests.model_server import Behaviour, ModelServer

GRAPHS = Path(own_models.__file__).parent
ROOT = GRAPHS.parents[1]
WHOLE = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(default_tokens=3) as opened:
        monkeypatch.setenv("OPENAI_BASE_URL", opened.base_url)
        yield opened


@pytest.fixture
def settings(tmp_path: Path, database_url: str, server: ModelServer) -> Settings:
    graphs: dict[str, Any] = {"own": f"{GRAPHS / 'own_models.py'}:own"}
    graphs["content_blocks"] = f"{GRAPHS / 'foreign' / 'content_blocks.py'}:graph"
    assistant = f"{ROOT / 'core' / 'agents' / 'assistant.py'}:graph"
    graphs["assistant"] = {"path": assistant, "answer_nodes": ["conversation"]}
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": graphs}))
    return make_settings(
        tmp_path,
        database_url=database_url,
        langgraph_json=file,
        openai_base_url=server.base_url,
        model="served",
        model_max_retries=0,
    )


@pytest.fixture
def skein(settings: Settings) -> Iterator[Skein]:
    opened = open_skein(settings)
    yield opened
    opened.close()


@pytest.fixture
def ada(skein: Skein) -> Viewer:
    return make_person(skein, "ada")


def say(skein: Skein, viewer: Viewer, text: str, agent: str = "assistant", under: Turn | None = None) -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, agent=agent, under=under).thread_id)


def hear(skein: Skein, viewer: Viewer, text: str, agent: str = "assistant") -> tuple[Turn, list[Event]]:
    turn = ask(skein, viewer, text, agent=agent)
    events = follow(skein, viewer, turn.thread_id)
    return answered(skein, viewer, turn.thread_id), events


def told(events: list[Event], kind: str) -> str:
    return "".join(event.payload for event in events if event.kind == kind)


def end_usage(events: list[Event]) -> Any:
    [end] = [event.payload for event in events if event.kind == "end"]
    return end["usage"]


def response_of(skein: Skein, call: LlmCall) -> Any:
    with skein.database.read() as db:
        return json.loads(db.get_one(LlmCallBody, call.call_id).response or "null")


class TestThoughts:
    @pytest.mark.parametrize("key", ["reasoning_content", "reasoning"])
    def test_of_skeins_own_model_are_told_and_logged_apart(
        self, skein: Skein, ada: Viewer, server: ModelServer, key: str
    ) -> None:
        server.script(Behaviour(reasoning="let me think", reasoning_key=key))
        turn, events = hear(skein, ada, "hello")
        assert (turn.answer, told(events, "token"), told(events, "thought")) == (
            "w1 w2 w3",
            "w1 w2 w3",
            "let me think",
        )
        [call] = calls_of(skein)
        assert response_of(skein, call) == [
            {"role": "assistant", "content": "w1 w2 w3", "reasoning": "let me think"}
        ]

    def test_are_not_sent_back(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(reasoning="let me think"))
        say(skein, ada, "and then?", under=say(skein, ada, "hello"))
        assert len(server.requests) == 2
        assert "let me think" not in json.dumps(server.requests[1].body)

    def test_are_sent_back_where_a_setting_says_so(
        self, settings: Settings, server: ModelServer, tmp_path: Path
    ) -> None:
        opened = open_skein(settings.model_copy(update={"echo_reasoning": True}))
        try:
            ada = make_person(opened, "ada")
            server.script(Behaviour(reasoning="let me think"))
            say(opened, ada, "and then?", under=say(opened, ada, "hello"))
        finally:
            opened.close()
        [said] = [one for one in server.requests[1].body["messages"] if one["role"] == "assistant"]
        assert (said["content"], said["reasoning_content"]) == ("w1 w2 w3", "let me think")

    @pytest.mark.parametrize("kind", ["chat", "whole"])
    def test_that_a_graphs_own_client_drops_are_in_the_log_alone(
        self, skein: Skein, ada: Viewer, server: ModelServer, kind: str
    ) -> None:
        server.script(Behaviour(reasoning="let me think"))
        turn, events = hear(skein, ada, kind, "own")
        [call] = calls_of(skein)
        assert (turn.answer, told(events, "thought")) == ("w1 w2 w3", "")
        assert "let me think" not in str(skein.engine.get_state(ada, turn.thread_id).values)
        assert response_of(skein, call)[0]["reasoning"] == "let me think"

    @pytest.mark.parametrize("kind", ["responses", "responses v0", "responses v1", "whole responses"])
    def test_of_the_responses_api_are_told_and_logged_apart(
        self, skein: Skein, ada: Viewer, server: ModelServer, kind: str
    ) -> None:
        server.script(Behaviour(text="three words here", reasoning="let me think"))
        turn, events = hear(skein, ada, kind, "own")
        assert (turn.status, turn.answer, told(events, "token")) == ("done", *["three words here"] * 2)
        assert told(events, "thought") == "let me think"
        if not kind.startswith("whole"):
            words = [event.payload for event in events if event.kind == "token"]
            assert words == ["three", " words", " here"]
        [call] = calls_of(skein)
        [said] = response_of(skein, call)
        assert (said["content"], said["reasoning"]) == ("three words here", "let me think")
        assert (call.ttft_ms is None) == kind.startswith("whole")


class TestBlocks:
    def test_are_logged_as_words_and_thoughts(self, skein: Skein, ada: Viewer) -> None:
        say(skein, ada, "hi", "content_blocks")
        [call] = calls_of(skein)
        [said] = response_of(skein, call)
        assert (said["content"].split()[-1], said["reasoning"]) == ("word29", "hmm hmm ")
        # The first thought comes after a tenth of a second, the first word after three.
        assert 0 < (call.ttft_ms or 0) < 250

    def test_of_a_stopped_call_are_both_kept(self, skein: Skein, ada: Viewer) -> None:
        turn = ask(skein, ada, "hi", agent="content_blocks")
        for events in skein.engine.attach(ada, turn.thread_id):
            if any(event.kind == "token" for event in events):
                break
        skein.engine.stop(ada, turn.thread_id)
        answered(skein, ada, turn.thread_id)
        [call] = calls_of(skein)
        [said] = response_of(skein, call)
        assert (call.status, said["reasoning"], said["content"][:6]) == ("cancelled", "hmm hmm ", "word0 ")

    @pytest.mark.parametrize("kind", ["responses", "responses v0", "responses v1", "whole responses"])
    def test_a_refusal_is_what_people_read(self, skein: Skein, ada: Viewer, server: ModelServer, kind: str) -> None:
        server.script(Behaviour(refusal="I will not do that."))
        turn, events = hear(skein, ada, kind, "own")
        assert (turn.status, turn.answer, told(events, "token")) == ("done", *["I will not do that."] * 2)
        [call] = calls_of(skein)
        assert response_of(skein, call)[0]["content"] == "I will not do that."

    def test_a_refusal_of_skeins_own_model_is_too(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(refusal="I will not.", text=""))
        turn = say(skein, ada, "hello")
        assert (turn.status, turn.answer) == ("done", "I will not.")


class TestUsage:
    @pytest.mark.parametrize(("agent", "text"), [("assistant", "hello"), ("own", "chat")])
    @pytest.mark.parametrize("usage", [WHOLE, None])
    def test_that_is_repeated_in_every_chunk_counts_once(
        self, skein: Skein, ada: Viewer, server: ModelServer, agent: str, text: str, usage: Any
    ) -> None:
        server.script(Behaviour(tokens=5, usage_in_each=True, usage_is=usage))
        _, events = hear(skein, ada, text, agent)
        [call] = calls_of(skein)
        taken = 5 if usage else 1
        assert (call.input_tokens, call.output_tokens, call.usage_source) == (taken, 5, "model")
        assert end_usage(events) == {"input_tokens": taken, "output_tokens": 5}

    def test_of_a_graphs_own_client_stays_in_its_state_as_it_is_bare(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        server.script(Behaviour(tokens=5, usage_in_each=True, usage_is=WHOLE))
        turn = say(skein, ada, "chat", "own")
        [*_, said] = skein.engine.get_state(ada, turn.thread_id).values["messages"]
        assert said["usage_metadata"]["input_tokens"] > 5

    @pytest.mark.parametrize(("agent", "text"), [("assistant", "hello"), ("own", "chat"), ("own", "whole")])
    @pytest.mark.parametrize(
        "usage",
        [{}, ZEROS, {**WHOLE, "prompt_tokens": None}, {**WHOLE, "completion_tokens": None}, {"total_tokens": 10}],
    )
    def test_of_nothing_or_in_parts_is_estimated_and_marked(
        self, skein: Skein, ada: Viewer, server: ModelServer, agent: str, text: str, usage: Any
    ) -> None:
        server.script(Behaviour(text="some words to be counted", usage_is=usage))
        say(skein, ada, text, agent)
        [call] = calls_of(skein)
        assert (call.status, call.usage_source) == ("ok", "estimated")
        assert (call.input_tokens or 0) > 0
        assert (call.output_tokens or 0) > 0

    @pytest.mark.parametrize("usage", [True, False])
    def test_of_a_cached_answer_costs_nothing(
        self, skein: Skein, ada: Viewer, server: ModelServer, usage: bool, caplog: pytest.LogCaptureFixture
    ) -> None:
        own_models.KINDS["cached"]["cache"].clear()
        server.script(Behaviour(text="kept", usage=usage))
        turn, _ = hear(skein, ada, "cached", "own")
        _, cached = calls_of(skein)
        assert (turn.answer, len(server.requests)) == ("kept", 1)
        assert (cached.status, cached.cost_usd, cached.cost_source) == ("ok", 0.0, "cache")
        assert (cached.usage_source, cached.input_tokens, cached.output_tokens) == ("cache", None, None)
        with skein.database.read() as db:
            totals = read_totals(ada, db, CallFilter(), ZoneInfo("UTC"))
        assert (totals.calls, totals.cache_hits) == (1, 1)
        assert "Error in" not in caplog.text

    @pytest.mark.parametrize("kind", ["chat", "whole"])
    def test_keeps_what_else_is_billed_also_where_langchain_drops_it(
        self, skein: Skein, ada: Viewer, server: ModelServer, kind: str
    ) -> None:
        details = {"cached_tokens": 2, "audio_tokens": 3, "cache_creation_tokens": 1}
        usage = {**WHOLE, "prompt_tokens_details": details, "service_tier": "priority"}
        server.script(Behaviour(tokens=5, usage_is=usage))
        say(skein, ada, kind, "own")
        [call] = calls_of(skein)
        assert call.params["billed"] == {"input_audio_tokens": 3, "service_tier": "priority"}
        assert (call.input_tokens, call.cache_read_tokens, call.cache_write_tokens) == (5, 2, 1)
        assert (call.usage_source, call.cost_source) == ("model", "unpriced")

    def test_is_priced_by_the_address_that_the_environment_names(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        say(skein, ada, "chat", "own")
        [call] = calls_of(skein)
        assert (call.provider, call.model, call.base_url, call.cost_source) == (
            "openai",
            "gpt-4o",
            server.base_url,
            "unpriced",
        )

    def test_is_not_asked_for_where_that_is_refused(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ModelServer(default_tokens=3, takes_stream_options=False) as older:
            opened = open_skein(settings.model_copy(update={"openai_base_url": older.base_url}))
            try:
                ada = make_person(opened, "ada")
                turns = [say(opened, ada, "hello") for _ in range(2)]
                calls = calls_of(opened)
            finally:
                opened.close()
        assert [turn.answer for turn in turns] == ["w1 w2 w3"] * 2
        assert ["stream_options" in request.body for request in older.requests] == [True, False, False]
        assert [(call.status, call.attempt, call.http_status) for call in calls] == [("ok", 2, 200), ("ok", 1, 200)]
        assert {call.usage_source for call in calls} == {"estimated"}


BREAKING = [
    Behaviour(tokens=3, finish=False, done=False),
    Behaviour(tokens=3, error_after=3, error="sk-private 42"),
    Behaviour(tokens=3, error_event='{"message": "sk-private 42"}'),
    Behaviour(tokens=3, error_event='{"error": {"message": "sk-private 42"}}'),
    Behaviour(tokens=3, error_event="sk-private 42"),
]


class TestAnAnswerThatBreaksOff:
    @pytest.mark.parametrize("behaviour", BREAKING)
    def test_has_failed_and_keeps_its_text(
        self, skein: Skein, ada: Viewer, server: ModelServer, behaviour: Behaviour
    ) -> None:
        server.script(behaviour)
        turn = say(skein, ada, "hello")
        [call] = calls_of(skein)
        assert (turn.status, turn.answer, call.status) == ("failed", "w1 w2 w3", "error")
        assert (turn.error_message or "").startswith("The ")
        assert "sk-private" not in (turn.error_message or "")
        assert response_of(skein, call) == [{"role": "assistant", "content": "w1 w2 w3"}]

    def test_of_a_graphs_own_client_is_an_error_in_the_log_alone(
        self, skein: Skein, ada: Viewer, server: ModelServer
    ) -> None:
        server.script(Behaviour(tokens=3, finish=False, done=False, usage=False))
        turn = say(skein, ada, "chat", "own")
        [call] = calls_of(skein)
        assert (turn.status, turn.answer) == ("done", "w1 w2 w3")
        assert (call.status, call.error_type, call.usage_source) == ("error", "UnfinishedAnswerError", "estimated")
        assert response_of(skein, call)[0]["content"] == "w1 w2 w3"

    @pytest.mark.parametrize(("agent", "text"), [("assistant", "hello"), ("own", "chat")])
    @pytest.mark.parametrize(("finish", "done"), [(True, False), (False, True)])
    def test_it_is_whole_when_the_server_says_so_in_either_way(
        self, skein: Skein, ada: Viewer, server: ModelServer, agent: str, text: str, finish: bool, done: bool
    ) -> None:
        server.script(Behaviour(tokens=3, finish=finish, done=done))
        assert say(skein, ada, text, agent).status == "done"
        assert [call.status for call in calls_of(skein)] == ["ok"]


class TestWhatIsNoCompletion:
    @pytest.mark.parametrize(("agent", "text"), [("assistant", "hello"), ("own", "chat"), ("own", "whole")])
    @pytest.mark.parametrize(
        "behaviour",
        [
            Behaviour(page="<html>sk-private 42</html>"),
            Behaviour(page='{"id": "sk-private 42', page_type="application/json"),
            Behaviour(page='{"error": {"message": "sk-private 42"}}', page_type="application/json"),
            Behaviour(page='{"detail": "sk-private 42"}', page_type="application/json"),
        ],
    )
    def test_is_the_servers_fault_in_one_sentence(
        self, skein: Skein, ada: Viewer, server: ModelServer, agent: str, text: str, behaviour: Behaviour
    ) -> None:
        server.script(behaviour)
        turn = say(skein, ada, text, agent)
        assert turn.status == "failed"
        assert (turn.error_message or "").startswith(
            "The model server answered with something that is no completion"
        )
        assert "sk-private" not in (turn.error_message or "")
        assert [call.status for call in calls_of(skein)] == ["error"]

    def test_a_page_with_a_status_of_failure_is_too(self, skein: Skein, ada: Viewer, server: ModelServer) -> None:
        server.script(Behaviour(page="<html>sk-private 42</html>", status=502))
        turn = say(skein, ada, "hello")
        assert turn.error_message == "The model server had a failure of its own: retry in a moment."


def test_a_stop_keeps_what_was_thought(skein: Skein, ada: Viewer, server: ModelServer) -> None:
    server.script(Behaviour(reasoning="let me think", tokens=500, tokens_per_second=50))
    turn = ask(skein, ada, "hello")
    wait_until(lambda: bool(server.requests) and len(server.sent[0]) > 3)
    skein.engine.stop(ada, turn.thread_id)
    events = follow(skein, ada, turn.thread_id)
    [call] = calls_of(skein)
    [said] = response_of(skein, call)
    assert told(events, "thought") == said["reasoning"] == "let me think"
    assert (call.status, said["content"]) == ("cancelled", answered(skein, ada, turn.thread_id).answer)
