"""Every LLM call is logged once, with the ids, agent and node of the run that made it, however deep."""

import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from core.access.viewer import Viewer
from core.calls.context import CallContext, ContextStore, attribute_calls
from core.history.turns import Turn
from core.runs.branching import retry
from core.settings import Settings
from core.skein import Skein, open_skein
from core.tables import Conversation, LlmCall, LlmCallBody
from tests.conftest import make_person
from tests.core.support import answered, ask, graph_settings, turn_at, wait_until
from tests.graphs.callers import CALLS
from tests.model_server import Behaviour, ModelServer


def behave(body: dict[str, Any], headers: dict[str, str]) -> Behaviour | None:
    return Behaviour(status=400, error="refused") if body.get("stop") == ["refuse-me"] else None


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(default_tokens=3, behave=behave) as server:
        yield server


@pytest.fixture
def settings(database_url: str, tmp_path: Path, server: ModelServer) -> Settings:
    return graph_settings(
        tmp_path, database_url, openai_base_url=server.base_url, openai_api_key="sk-the-tests-key-0123456789"
    )


@pytest.fixture
def skein(settings: Settings) -> Iterator[Skein]:
    skein = open_skein(settings)
    yield skein
    skein.close()


def calls_of(skein: Skein, **values: object) -> list[LlmCall]:
    assert skein.call_log.flush()
    with skein.database.read() as db:
        return list(db.exec(select(LlmCall).filter_by(**values).order_by(LlmCall.call_id)))


def prompts_of(skein: Skein) -> dict[str, str]:
    with skein.database.read() as db:
        bodies = list(db.exec(select(LlmCallBody)))
    return {body.call_id: json.loads(body.prompt or "[]")[-1]["content"] for body in bodies}


def session_of(skein: Skein, turn: Turn) -> str:
    with skein.database.read() as db:
        return db.get_one(Conversation, turn.conversation_id).session_id


def kind_of(prompt: str) -> str:
    """What a prompt of the graph ``callers`` begins with: the words before its nonce."""
    return re.split(r" nonce:", prompt)[0]


class TestACallMadeUnderARun:
    def test_carries_all_ids_of_its_thread_and_the_node_that_made_it(self, skein: Skein) -> None:
        alice = make_person(skein, "alice")
        turn = answered(skein, alice, ask(skein, alice, "nonce:abc", agent="callers").thread_id)
        assert turn.status == "done", turn.error_message
        calls, prompts = calls_of(skein), prompts_of(skein)
        made = [(kind_of(prompts[call.call_id]), call) for call in calls]
        assert sorted({kind for kind, _ in made}) == sorted(CALLS)
        for kind, call in made:
            assert call.status == ("error" if call.http_status == 400 else "ok"), kind
            if kind == "bare":
                ids = (call.user_id, call.session_id, call.conversation_id, call.message_id, call.thread_id)
                assert (ids, call.attributed, call.node) == ((None,) * 5, False, None)
                continue
            assert (call.user_id, call.session_id, call.conversation_id, call.message_id, call.thread_id) == (
                alice.user_id,
                session_of(skein, turn),
                turn.conversation_id,
                turn.message_id,
                turn.thread_id,
            ), kind
            assert (call.attributed, call.node, call.agent_id) == (True, CALLS[kind], "callers"), kind

    def test_is_logged_once_each_also_in_batches_fallbacks_and_parallel_sends(
        self, skein: Skein, server: ModelServer
    ) -> None:
        alice = make_person(skein, "alice")
        answered(skein, alice, ask(skein, alice, "nonce:abc", agent="callers").thread_id)
        assert len(calls_of(skein)) == len(server.requests) == 18
        assert sum(call.attempt for call in calls_of(skein)) == len(server.requests)

    def test_inside_a_subgraph_says_which_agent_of_the_graph_it_was(self, skein: Skein) -> None:
        alice = make_person(skein, "alice")
        answered(skein, alice, ask(skein, alice, "nonce:abc", agent="callers").thread_id)
        keys = {call.node: call.agent_key for call in calls_of(skein, attributed=True)}
        assert keys == {
            "plan": "callers",
            "tools": "callers",
            "work": "callers",
            "deepest": "researcher",
            "threads": "callers",
            "fall_back": "callers",
            "answer": "callers",
        }

    def test_with_callbacks_and_metadata_of_its_own_is_attributed_all_the_same(self, skein: Skein) -> None:
        alice = make_person(skein, "alice")
        turn = answered(skein, alice, ask(skein, alice, "nonce:abc", agent="traced").thread_id)
        assert [(call.thread_id, call.node, call.user_id) for call in calls_of(skein)] == [
            (turn.thread_id, "trace", alice.user_id)
        ] * 2

    def test_is_not_given_to_whoever_started_another_run(self, database_url: str, tmp_path: Path) -> None:
        skein = open_skein(graph_settings(tmp_path, database_url, max_runs=1))
        try:
            alice, bob = make_person(skein, "alice"), make_person(skein, "bob")
            with attribute_calls(CallContext(user_id=alice.user_id, thread_id="thread_of_a_title")):
                first = ask(skein, alice, "write 30 tokens")
            second = ask(skein, bob, "a secret of bob")
            answered(skein, alice, first.thread_id)
            answered(skein, bob, second.thread_id)
            owners = [(call.user_id, call.thread_id) for call in calls_of(skein)]
            assert owners == [(alice.user_id, first.thread_id), (bob.user_id, second.thread_id)]
        finally:
            skein.close()

    def test_of_the_assistant_is_attributed_also_when_it_summarizes(self, skein: Skein) -> None:
        alice, turn = make_person(skein, "alice"), None
        for number in range(5):
            asked = ask(skein, alice, f"turn {number}", under=turn)
            turn = answered(skein, alice, asked.thread_id)
        calls = calls_of(skein)
        assert {call.attributed for call in calls} == {True}
        summaries = [call for call in calls if call.node == "summarize_conversation"]
        assert len(summaries) >= 1
        after = [call for call in calls if call.call_id > summaries[0].call_id and call.node == "conversation"]
        assert {call.context_compacted for call in after} == {True}

    def test_belongs_to_whoever_started_the_run_when_many_talk_at_once(self, skein: Skein) -> None:
        people = [make_person(skein, f"person {number}") for number in range(8)]
        turns = [
            (person, ask(skein, person, f"nonce:{number}x{place}", agent="callers"))
            for place in range(2)
            for number, person in enumerate(people)
        ]
        owners = {answered(skein, person, turn.thread_id).content: (person, turn) for person, turn in turns}
        calls, prompts = calls_of(skein, attributed=True), prompts_of(skein)
        assert len(calls) == 16 * (len(CALLS) + 3)
        for call in calls:
            nonce = re.search(r"nonce:\w+", prompts[call.call_id])
            assert nonce is not None
            person, turn = owners[nonce[0]]
            assert (call.user_id, call.thread_id) == (person.user_id, turn.thread_id)


class TestACallThatItsRunLeftOpen:
    def test_by_stop_is_cancelled_with_what_was_said_and_an_estimate(
        self, skein: Skein, server: ModelServer
    ) -> None:
        alice = make_person(skein, "alice")
        server.script(Behaviour(tokens=500, tokens_per_second=50))
        turn = ask(skein, alice, "hello")
        wait_until(lambda: len(server.sent[0]) >= 5 if server.requests else False)
        skein.engine.stop(alice, turn.thread_id)
        turn = answered(skein, alice, turn.thread_id)
        [call] = calls_of(skein)
        assert (call.status, call.usage_source, call.attributed) == ("cancelled", "estimated", True)
        with skein.database.read() as db:
            [said] = json.loads(db.get_one(LlmCallBody, call.call_id).response or "[]")
        assert said["content"] == turn.answer
        assert (call.output_tokens or 0) > 0

    def test_in_a_thread_that_cannot_be_stopped_ends_with_what_the_model_reports(
        self, skein: Skein, server: ModelServer
    ) -> None:
        alice, go = make_person(skein, "alice"), threading.Event()
        server.script(Behaviour(tokens=4, wait_for=go))
        turn = ask(skein, alice, "nonce:abc", agent="left_behind")
        wait_until(lambda: bool(server.requests))
        skein.engine.stop(alice, turn.thread_id)
        assert answered(skein, alice, turn.thread_id).status == "stopped"
        assert [call.status for call in calls_of(skein)] == ["started"]
        go.set()
        wait_until(lambda: [call.status for call in calls_of(skein)] == ["ok"])
        [call] = calls_of(skein)
        assert (call.thread_id, call.output_tokens, call.usage_source) == (turn.thread_id, 4, "model")

    def test_because_its_node_gave_it_up_is_cancelled_soon(
        self, skein: Skein, server: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.calls.capture.log._GRACE_ON_LOOP", 0.1)
        alice = make_person(skein, "alice")
        server.script(Behaviour(tokens=50, tokens_per_second=20))
        turn = ask(skein, alice, "nonce:abc", agent="given_up")
        assert answered(skein, alice, turn.thread_id).status == "done"
        wait_until(lambda: [call.status for call in calls_of(skein)] == ["cancelled"])


class TestACallOutsideRuns:
    def test_without_a_context_is_kept_as_unattributed(self, skein: Skein) -> None:
        skein.chat_models.get().invoke("nobody's")
        [call] = calls_of(skein)
        assert (call.attributed, call.user_id, call.thread_id, call.status) == (False, None, None, "ok")

    def test_is_attributed_by_the_context_it_is_given(self, skein: Skein) -> None:
        alice = make_person(skein, "alice")
        with attribute_calls(CallContext(user_id=alice.user_id, session_id="session_x")):
            skein.chat_models.get().invoke("a title, please")
        skein.chat_models.get().invoke("after it")
        first, second = calls_of(skein)
        assert (first.attributed, first.user_id, first.session_id) == (True, alice.user_id, "session_x")
        assert (second.attributed, second.user_id) == (False, None)

    def test_under_a_thread_that_does_not_exist_is_kept_as_unattributed(self, skein: Skein) -> None:
        thread = "thread_1700000000000_000000000000"
        skein.chat_models.get().invoke("whose?", {"metadata": {"thread_id": thread}})
        [call] = calls_of(skein)
        assert (call.attributed, call.user_id, call.thread_id) == (False, None, thread)

    def test_under_a_thread_of_ours_is_found_in_the_database(self, skein: Skein) -> None:
        alice = make_person(skein, "alice")
        turn = answered(skein, alice, ask(skein, alice, "hello").thread_id)
        store = ContextStore(skein.database)
        assert store.find([turn.thread_id]) == {
            turn.thread_id: CallContext(
                alice.user_id,
                session_of(skein, turn),
                turn.conversation_id,
                turn.message_id,
                turn.thread_id,
                "assistant",
            )
        }
        assert store.find(["thread_1700000000000_000000000000"]) == {}


class TestTheContextStore:
    def test_forgets_the_oldest_and_finds_it_again(self, skein: Skein, person_and_turns: Any) -> None:
        alice, turns = person_and_turns
        store = ContextStore(skein.database, kept=2)
        for _ in range(2):
            for turn in turns:
                found = store.find([turn.thread_id])[turn.thread_id]
                assert (found.message_id, found.user_id) == (turn.message_id, alice.user_id)

    def test_answers_many_threads_at_once_each_with_its_own(self, skein: Skein, person_and_turns: Any) -> None:
        _, turns = person_and_turns
        store, found = ContextStore(skein.database, kept=3), []

        def look(turn: Turn) -> None:
            contexts = [store.find([turn.thread_id])[turn.thread_id] for _ in range(30)]
            found.extend(context.message_id == turn.message_id for context in contexts)

        threads = [threading.Thread(target=look, args=(turn,)) for turn in turns]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [True] * 30 * len(turns)


@pytest.fixture
def person_and_turns(skein: Skein) -> tuple[Viewer, list[Turn]]:
    alice = make_person(skein, "alice")
    return alice, [answered(skein, alice, ask(skein, alice, f"number {n}").thread_id) for n in range(5)]


class TestWhatIsKept:
    def test_is_what_was_sent_and_said_and_measured(self, skein: Skein, server: ModelServer) -> None:
        alice = make_person(skein, "alice")
        turn = answered(skein, alice, ask(skein, alice, "你好, hello").thread_id)
        [call] = calls_of(skein)
        assert (call.provider, call.base_url, call.model, call.streamed) == (
            "openai",
            server.base_url,
            "gpt-4o-mini",
            True,
        )
        assert (call.input_tokens, call.output_tokens, call.usage_source) == (2, 3, "model")
        assert (call.attempt, call.http_status, call.finish_reason, call.key_source) == (1, 200, "stop", "settings")
        assert 0 <= (call.queue_ms or 0) <= (call.ttft_ms or 0) <= (call.duration_ms or 0)
        with skein.database.read() as db:
            body = db.get_one(LlmCallBody, call.call_id)
        assert json.loads(body.prompt or "") == [{"role": "user", "content": "你好, hello"}]
        assert [message["content"] for message in json.loads(body.response or "")] == [turn.answer]

    def test_never_holds_the_key(self, skein: Skein, server: ModelServer, tmp_path: Path) -> None:
        alice = make_person(skein, "alice")
        server.script(Behaviour(status=401, error="Incorrect API key: sk-the-tests-key-0123456789"))
        assert answered(skein, alice, ask(skein, alice, "hello").thread_id).status == "failed"
        [call] = calls_of(skein)
        assert (call.status, call.error_type, call.http_status) == ("error", "OpenAIAuthenticationError", 401)
        assert "sk-the-tests-key" not in repr(call.model_dump())
        assert "***" in (call.error_message or "")

    def test_holds_no_credentials_of_tools_or_in_errors(self, skein: Skein, server: ModelServer) -> None:
        tool = {
            "type": "mcp",
            "server_url": "https://user:hunter2secret@mcp.example.org",
            "authorization": "tok-SECRET123",
            "headers": {"Authorization": "Bearer sk-proj-SECRET123"},
        }
        takes_token = {
            "type": "function",
            "function": {
                "name": "f",
                "description": "password: required; see key_performance_indicators. Bearer authentication.",
                "parameters": {"properties": {"token": {"type": "string"}}},
            },
        }
        server.script(Behaviour(status=400, error="GET https://x.org/?key=AIzaSECRET12345678 xai-SECRET123456789"))
        with pytest.raises(Exception, match="SECRET"):
            skein.chat_models.get().bind(tools=[tool, takes_token]).invoke("hello")
        [call] = calls_of(skein)
        with skein.database.read() as db:
            body = db.get_one(LlmCallBody, call.call_id)
        assert "SECRET" not in f"{body.tools}{call.error_message}"
        assert "hunter2secret" not in (body.tools or "")
        assert '"token":{"type":"string"}' in (body.tools or "")
        assert takes_token["function"]["description"] in (body.tools or "")  # type: ignore[index]
        assert (call.cost_usd, call.cost_source) == (0.0, "refused")

    def test_counts_the_requests_that_the_client_repeated(self, skein: Skein, server: ModelServer) -> None:
        alice = make_person(skein, "alice")
        server.script(Behaviour(status=429, retry_after=0.01), Behaviour(status=500, retry_after=0.01))
        assert answered(skein, alice, ask(skein, alice, "hello").thread_id).status == "done"
        [call] = calls_of(skein)
        assert (call.attempt, call.status, len(server.requests)) == (3, "ok", 3)


class TestHowMuchTextIsKept:
    @pytest.mark.parametrize("policy", ["hash", "none"])
    def test_is_a_setting(self, database_url: str, tmp_path: Path, server: ModelServer, policy: str) -> None:
        settings = graph_settings(tmp_path, database_url, openai_base_url=server.base_url, call_text=policy)
        skein = open_skein(settings)
        try:
            alice = make_person(skein, "alice")
            answered(skein, alice, ask(skein, alice, "secret words").thread_id)
            [call] = calls_of(skein)
            with skein.database.read() as db:
                body = db.get(LlmCallBody, call.call_id)
            assert (call.body_hash is not None) == (policy == "hash")
            assert (body is not None) == (policy == "hash")
            assert body is None or (body.prompt, body.response, body.tools) == (None, None, None)
        finally:
            skein.close()

    def test_is_a_setting_of_an_agent_too(self, settings: Settings, tmp_path: Path) -> None:
        [path] = settings.langgraph_json
        graphs = json.loads(path.read_text())
        graphs["graphs"]["echo"]["call_text"] = "none"
        path.write_text(json.dumps(graphs))
        skein = open_skein(settings)
        try:
            assert [skein.agents.call_text(agent) for agent in ("echo", "assistant", None)] == [
                "none",
                "full",
                "full",
            ]
        finally:
            skein.close()


def test_a_retry_of_a_lost_run_is_attributed_to_its_own_thread(skein: Skein, server: ModelServer) -> None:
    alice = make_person(skein, "alice")
    server.script(Behaviour(status=400, error="no"))
    first = answered(skein, alice, ask(skein, alice, "hello").thread_id)
    added = retry(skein.engine, alice, first.thread_id)
    second = answered(skein, alice, added.thread_id)
    assert [call.thread_id for call in calls_of(skein)] == [first.thread_id, second.thread_id]
    assert turn_at(skein, alice, added.message_id).status == "done"
