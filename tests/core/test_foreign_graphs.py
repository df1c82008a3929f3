"""Graphs of the kinds that other people write, run unchanged: the same state, the same answer, nothing lost.

Each stands for a kind of program that had given another result in Skein than bare. The model, where there is one,
is asked over HTTP, from a server that is as strict as OpenAI's about tool calls and their results.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import time_machine
from langgraph.checkpoint.base import id as checkpoint_ids

from core.access.viewer import Viewer
from core.errors import NotFoundError
from core.history.messages import NewMessage
from core.history.turns import Turn
from core.runs.branching import edit, fork, regenerate, retry, snapshot
from core.skein import Skein, open_skein
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask, follow, turn_at, wait_until
from tests.model_server import Behaviour, ModelServer

FOREIGN = Path(__file__).resolve().parents[1] / "graphs" / "foreign" / "langgraph.json"


def calls_both(body: dict[str, Any], _: dict[str, str]) -> Behaviour:
    """A model that asks for two tools at the first question, and answers every other with what it was given."""
    messages = body["messages"]
    humans = [message for message in messages if message["role"] == "user"]
    if len(humans) == 1 and messages[-1]["role"] == "user":
        names = [tool["function"]["name"] for tool in body["tools"]]
        return Behaviour(tool_calls=tuple((name, {"word": "x"}) for name in names))
    return Behaviour(text=f"answer to {humans[-1]['content']}")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with ModelServer(behave=calls_both, strict=True) as opened:
        monkeypatch.setenv("MODEL_URL", opened.base_url)
        monkeypatch.setenv("OPENAI_BASE_URL", opened.base_url)
        yield opened


@pytest.fixture
def skein(tmp_path: Path, database_url: str, server: ModelServer) -> Iterator[Skein]:
    opened = open_skein(make_settings(tmp_path, database_url=database_url, langgraph_json=FOREIGN))
    yield opened
    opened.close()


@pytest.fixture
def viewer(skein: Skein) -> Viewer:
    return make_person(skein, "ada")


def say(skein: Skein, viewer: Viewer, text: str, agent: str, under: Turn | None = None) -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, agent=agent, under=under).thread_id)


def stop_when(skein: Skein, viewer: Viewer, turn: Turn, *, ended: str = "", begun: str = "") -> Turn:
    """Stop the run once a tool or node of this name has ended, or has begun."""
    for events in skein.engine.attach(viewer, turn.thread_id):
        if any(
            event.node == (ended or begun) and event.payload["phase"] == ("end" if ended else "start")
            for event in events
            if event.kind in {"tool", "node"}
        ):
            break
    skein.engine.stop(viewer, turn.thread_id)
    return answered(skein, viewer, turn.thread_id)


def values_of(skein: Skein, viewer: Viewer, turn: Turn) -> Any:
    return skein.engine.get_state(viewer, turn.thread_id).values


def sent_tools(server: ModelServer) -> dict[str, str]:
    """The tool results of the newest request, by the tool's name."""
    messages = server.requests[-1].body["messages"]
    names = {call["id"]: call["function"]["name"] for one in messages for call in one.get("tool_calls") or ()}
    return {names[one["tool_call_id"]]: one["content"] for one in messages if one["role"] == "tool"}


@contextmanager
def a_clock_behind() -> Iterator[None]:
    """The clock an hour behind, in a process that has just started."""
    with time_machine.travel(time.time() - 3_600):
        kept, checkpoint_ids._last_v6_timestamp = checkpoint_ids._last_v6_timestamp, None
        yield
        checkpoint_ids._last_v6_timestamp = max(kept, checkpoint_ids._last_v6_timestamp)


class TestToolsThatDidNotComeToAnEnd:
    @pytest.mark.parametrize("agent", ["agent", "node"])
    def test_what_finished_counts_with_its_result_and_what_did_not_is_closed(
        self, skein: Skein, viewer: Viewer, server: ModelServer, agent: str
    ) -> None:
        stopped = stop_when(skein, viewer, ask(skein, viewer, "one", agent=agent), ended="fast")
        second = say(skein, viewer, "two", agent, under=stopped)

        assert (stopped.status, second.status, second.answer) == ("stopped", "done", "answer to two")
        assert sent_tools(server) == {"fast": "REAL-RESULT-42", "slow": "[interrupted]"}

    @pytest.mark.parametrize("agent", ["agent", "node"])
    def test_every_way_on_from_there_is_answered(
        self, skein: Skein, viewer: Viewer, server: ModelServer, agent: str
    ) -> None:
        stopped = stop_when(skein, viewer, ask(skein, viewer, "one", agent=agent), ended="fast")
        second = say(skein, viewer, "two", agent, under=stopped)

        edited = edit(skein.engine, viewer, second.message_id, "three")
        again = regenerate(skein.engine, viewer, second.message_id)
        for added in (edited, again):
            answered(skein, viewer, added.thread_id)
            assert turn_at(skein, viewer, added.message_id).status == "done"
        third = say(skein, viewer, "four", agent, under=turn_at(skein, viewer, edited.message_id))
        assert third.status == "done"
        assert all(request.ended != "refused" for request in server.requests)

    def test_a_tool_that_raised_leaves_a_conversation_that_goes_on(
        self, skein: Skein, viewer: Viewer, server: ModelServer
    ) -> None:
        failed = say(skein, viewer, "one", "failing")
        second = say(skein, viewer, "two", "failing", under=failed)
        third = say(skein, viewer, "three", "failing", under=second)

        assert [failed.status, second.status, third.status] == ["failed", "done", "done"]
        assert sent_tools(server)["fast"] == "REAL-RESULT-42"

    def test_a_retry_runs_only_what_is_left(self, skein: Skein, viewer: Viewer, server: ModelServer) -> None:
        failed = say(skein, viewer, "one", "failing")
        again = retry(skein.engine, viewer, failed.thread_id)
        answered(skein, viewer, again.thread_id)
        second = say(skein, viewer, "two", "failing", under=turn_at(skein, viewer, again.message_id))

        assert second.status == "done"
        assert sent_tools(server)["fast"] == "REAL-RESULT-42"


class TestNodesSideBySide:
    def test_what_the_quick_one_said_stays_in_the_state(self, skein: Skein, viewer: Viewer) -> None:
        stopped = stop_when(skein, viewer, ask(skein, viewer, "one", agent="nodes"), ended="quick")
        second = say(skein, viewer, "two", "nodes", under=stopped)

        said = [message["content"] for message in values_of(skein, viewer, second)["messages"]]
        assert stopped.answer == "QUICK SAID THIS"
        assert said[:2] == ["one", "QUICK SAID THIS"]
        assert said[-2:] == ["QUICK SAID THIS", "LONG"] or said[-2:] == ["LONG", "QUICK SAID THIS"]


class TestOwnSettings:
    def test_the_graphs_own_default_reaches_it(self, skein: Skein, viewer: Viewer) -> None:
        assert say(skein, viewer, "hi", "own_context").answer == "anthropic claude-sonnet"

    def test_each_person_is_themselves(self, skein: Skein, viewer: Viewer) -> None:
        bob = make_person(skein, "bob")
        for person in (viewer, bob):
            assert say(skein, person, "hi", "whoami").answer == f"{person.user_id} {person.user_id}"

    def test_nobody_can_be_another(self, skein: Skein, viewer: Viewer) -> None:
        config = {"user_id": "user_of_another", "settings": {"user_id": "user_of_another"}}
        added = skein.engine.start(viewer, NewMessage("hi", agent_id="whoami", config=config))
        turn = answered(skein, viewer, added.thread_id)

        assert turn.answer == f"{viewer.user_id} {viewer.user_id}"
        assert "user_id" not in (skein.agents.settings_schema("whoami") or {})["properties"]

    def test_a_recursion_limit_of_its_own_holds(self, skein: Skein, viewer: Viewer) -> None:
        assert say(skein, viewer, "hi", "long_loop").answer == "done after 60"


class TestOwnNames:
    def test_a_package_of_its_own_called_core_is_found(self, skein: Skein, viewer: Viewer) -> None:
        assert say(skein, viewer, "hi", "own_core").answer == "from a package called core"


class TestAnswers:
    @pytest.mark.parametrize(
        ("agent", "answer"),
        [
            ("same_key", "echo: hi"),
            ("wrapped", "the sentence"),
            ("inner", "final"),
            ("private_subgraph", "secret=OUTER log=['outer']"),
        ],
    )
    def test_it_is_what_the_graph_came_to(self, skein: Skein, viewer: Viewer, agent: str, answer: str) -> None:
        assert [say(skein, viewer, "hi", agent).answer for _ in range(2)] == [answer] * 2

    def test_what_was_streamed_is_kept_beside(self, skein: Skein, viewer: Viewer) -> None:
        turn = ask(skein, viewer, "hi", agent="inner")
        events = follow(skein, viewer, turn.thread_id)
        assert "inner words" in "".join(event.payload for event in events if event.kind in {"token", "aside"})


class TestContentBlocks:
    def test_words_come_one_by_one_and_thoughts_apart(self, skein: Skein, viewer: Viewer) -> None:
        turn = ask(skein, viewer, "hi", agent="content_blocks")
        events = follow(skein, viewer, turn.thread_id)

        assert [event.payload for event in events if event.kind == "token"] == [f"word{i} " for i in range(30)]
        assert "".join(event.payload for event in events if event.kind == "thought") == "hmm hmm "
        assert answered(skein, viewer, turn.thread_id).answer.split() == [f"word{i}" for i in range(30)]

    def test_stop_keeps_what_was_said(self, skein: Skein, viewer: Viewer) -> None:
        turn = ask(skein, viewer, "hi", agent="content_blocks")
        for events in skein.engine.attach(viewer, turn.thread_id):
            if any(event.kind == "token" for event in events):
                break
        skein.engine.stop(viewer, turn.thread_id)
        assert answered(skein, viewer, turn.thread_id).answer.startswith("word0 ")


class TestPlainFunctionsAfterAStop:
    def test_nothing_more_is_done_and_what_was_refused_is_in_the_log(self, skein: Skein, viewer: Viewer) -> None:
        turn = ask(skein, viewer, "charge", agent="tools_after_stop")
        charged = 0
        for events in skein.engine.attach(viewer, turn.thread_id):
            charged += sum(event.kind == "tool" and event.payload["phase"] == "end" for event in events)
            if charged >= 2:
                break
        skein.engine.stop(viewer, turn.thread_id)
        stopped = answered(skein, viewer, turn.thread_id)

        def tools() -> list[dict[str, Any]]:
            return [event.payload for event in follow(skein, viewer, turn.thread_id) if event.kind == "tool"]

        wait_until(lambda: any("stopped" in str(told.get("error")) for told in tools()))
        done = [told for told in tools() if told["phase"] == "end" and "result" in told]
        assert (stopped.status, len(done)) == ("stopped", charged)


class TestOrderOfStates:
    def test_a_clock_that_was_set_back_makes_no_old_state_the_newest(self, skein: Skein, viewer: Viewer) -> None:
        first = say(skein, viewer, "one", "delta_channel")
        with a_clock_behind():
            second = say(skein, viewer, "two", "delta_channel", under=first)
            third = say(skein, viewer, "three", "delta_channel", under=second)

        said = [message["content"] for message in values_of(skein, viewer, third)["messages"]]
        assert said == ["one", "one:one", "two:2", "two", "one:two", "two:5", "three", "one:three", "two:8"]
        assert third.ended_at >= third.started_at >= third.created_at

    def test_those_of_a_delta_channel_are_the_threads_own(self, skein: Skein, viewer: Viewer) -> None:
        turns: list[Turn] = []
        for text in ("one", "two", "three"):
            turns.append(say(skein, viewer, text, "delta_channel", under=turns[-1] if turns else None))
        states = [skein.engine.read_states(viewer, turn.thread_id) for turn in turns]
        assert [len(own) for own in states] == [4, 4, 4]
        assert len({state.checkpoint_id for own in states for state in own}) == 12

        forked = fork(skein.engine, viewer, turns[2].thread_id, states[2][0].checkpoint_id)
        answered(skein, viewer, forked.thread_id)
        made = turn_at(skein, viewer, forked.message_id)
        assert (made.status, made.content, made.parent_message_id) == ("done", "three", turns[1].message_id)

    def test_a_state_that_came_from_above_is_forked_where_it_was_made(self, skein: Skein, viewer: Viewer) -> None:
        turns: list[Turn] = []
        for text in ("one", "two", "three"):
            turns.append(say(skein, viewer, text, "delta_channel", under=turns[-1] if turns else None))
        state = skein.engine.read_states(viewer, turns[0].thread_id)[1]

        forked = fork(skein.engine, viewer, turns[2].thread_id, state.checkpoint_id)
        answered(skein, viewer, forked.thread_id)
        made = turn_at(skein, viewer, forked.message_id)
        assert (made.status, made.content, made.parent_message_id) == ("done", "one", None)


@pytest.fixture
def failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file: as often as it has a letter, a graph of subgraph_fails.py fails."""
    path = tmp_path / "failures"
    monkeypatch.setenv("FAILURES", str(path))
    return path


class TestARunThatFailsInASubgraph:
    AGENTS = ("subgraph_fails", "subgraph_remembers", "steps_fail", "beside_fails")

    @pytest.mark.parametrize("agent", AGENTS)
    def test_keeps_what_was_said_there_through_every_retry(
        self, skein: Skein, viewer: Viewer, failures: Path, agent: str
    ) -> None:
        failures.write_text("xx")
        failed = say(skein, viewer, "go", agent)
        again = answered(skein, viewer, retry(skein.engine, viewer, failed.thread_id).thread_id)
        whole = answered(skein, viewer, retry(skein.engine, viewer, again.thread_id).thread_id)

        assert [(turn.status, turn.answer) for turn in (failed, again, whole)] == [
            ("failed", "Found three papers."),
            ("failed", "Found three papers."),
            ("done", "Found three papers.\n\nHere is the report."),
        ]
        # It was never shown another way round, to be set right at the end.
        assert [event for event in follow(skein, viewer, whole.thread_id) if event.kind == "answer"] == []

    @pytest.mark.parametrize("agent", AGENTS)
    def test_keeps_it_where_it_was_stopped_too(
        self, skein: Skein, viewer: Viewer, failures: Path, agent: str
    ) -> None:
        failures.write_text("hold")
        stopped = stop_when(skein, viewer, ask(skein, viewer, "go", agent=agent), ended="research")
        again = retry(skein.engine, viewer, stopped.thread_id)
        once_more = stop_when(skein, viewer, turn_at(skein, viewer, again.message_id), begun="write")
        failures.write_text("")
        whole = answered(skein, viewer, retry(skein.engine, viewer, once_more.thread_id).thread_id)

        assert [(turn.status, turn.answer) for turn in (stopped, once_more, whole)] == [
            ("stopped", "Found three papers."),
            ("stopped", "Found three papers."),
            ("done", "Found three papers.\n\nHere is the report."),
        ]

    @pytest.mark.parametrize("agent", AGENTS)
    def test_gives_on_what_was_said_once(self, skein: Skein, viewer: Viewer, failures: Path, agent: str) -> None:
        failures.write_text("xx")
        failed = say(skein, viewer, "go", agent)
        again = answered(skein, viewer, retry(skein.engine, viewer, failed.thread_id).thread_id)
        after = say(skein, viewer, "next", agent, under=again)

        said = [message["content"] for message in values_of(skein, viewer, after)["messages"]]
        assert said[:3] == ["go", "Found three papers.", "next"]
        assert sorted(said[3:]) == ["Found three papers.", "Here is the report."]

    def test_a_state_of_the_subgraph_says_why_it_cannot_be_forked(
        self, skein: Skein, viewer: Viewer, failures: Path
    ) -> None:
        failures.write_text("")
        turn = say(skein, viewer, "go", "subgraph_fails")
        states = [event.payload for event in follow(skein, viewer, turn.thread_id) if event.kind == "state"]
        inner = [told["checkpoint_id"] for told in states if told["ns"]]
        assert inner
        for way in (
            lambda: fork(skein.engine, viewer, turn.thread_id, inner[-1]),
            lambda: snapshot(skein.engine, viewer, turn.thread_id, "mine", inner[-1]),
        ):
            with pytest.raises(NotFoundError, match=r"inside the subgraph 'team', .* choose a state of the whole"):
                way()

        before = next(told["checkpoint_id"] for told in states if told["next"] == ["team"])
        forked = fork(skein.engine, viewer, turn.thread_id, before)
        assert answered(skein, viewer, forked.thread_id).answer == turn.answer


class TestOddValues:
    @pytest.mark.parametrize("word", ["nul", "half", "nan", "inf"])
    def test_a_run_that_keeps_one_is_done_and_its_state_can_be_read(
        self, skein: Skein, viewer: Viewer, word: str
    ) -> None:
        turn = say(skein, viewer, word, "odd_values")
        after = say(skein, viewer, "inf", "odd_values", under=turn)

        assert (turn.status, turn.answer, after.status) == ("done", "ok", "done")
        assert values_of(skein, viewer, turn)["question"] == word

    @pytest.mark.parametrize("word", ["error-nul", "error-half"])
    def test_an_error_with_one_is_the_graphs_own(self, skein: Skein, viewer: Viewer, word: str) -> None:
        turn = say(skein, viewer, word, "odd_values")
        after = say(skein, viewer, "inf", "odd_values", under=turn)

        assert (turn.status, turn.error_type, after.status) == ("failed", "ValueError", "done")
