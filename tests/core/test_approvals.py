"""A run that asks a person waits, outlives the process, and goes on once, with what was decided and by whom."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError
from core.history.approvals import (
    ApprovalRow,
    count_waiting,
    get_approval,
    list_approvals,
    list_of_thread,
)
from core.history.rules import add_rule, list_rules, revoke_rule
from core.history.turns import Turn
from core.runs.branching import fork, retry
from core.runs.decisions import Decision, decide, find_obstacle
from core.runs.events import Event
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity, Approval, utc_now
from tests.conftest import make_person
from tests.core.support import (
    another_skein,
    answered,
    ask,
    follow,
    graph_settings,
    status_of,
    wait_until,
)

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sent.txt"


def sent(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def waiting(skein: Skein, viewer: Viewer, text: str, agent: str) -> tuple[Turn, list[ApprovalRow]]:
    """Ask, and give the turn and what waits when its run has paused."""
    turn = ask(skein, viewer, text, agent=agent)
    follow(skein, viewer, turn.thread_id)
    assert status_of(skein, viewer, turn.thread_id) == "waiting"
    return turn, open_of(skein, viewer, turn)


def open_of(skein: Skein, viewer: Viewer, turn: Turn) -> list[ApprovalRow]:
    with skein.database.read() as db:
        return [row for row in list_of_thread(viewer, db, turn.thread_id) if row.is_waiting]


def of_thread(skein: Skein, viewer: Viewer, turn: Turn) -> list[ApprovalRow]:
    with skein.database.read() as db:
        return list_of_thread(viewer, db, turn.thread_id)


def settle(skein: Skein, viewer: Viewer, row: ApprovalRow, *decisions: Decision) -> Turn:
    """Decide, and give the turn when its run has paused again or is over."""
    decide(skein.engine, viewer, row.approval_id, decisions, arguments_hash=row.arguments_hash)
    return over(skein, viewer, row)


def over(skein: Skein, viewer: Viewer, row: ApprovalRow) -> Turn:
    follow(skein, viewer, row.thread_id)
    return answered(skein, viewer, row.thread_id)


def sending(file: Path, to: str = "bob") -> str:
    return "send " + json.dumps({"to": to, "file": str(file)})


class TestWhatWaits:
    def test_is_a_row_with_tool_arguments_their_hash_and_since_when(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        turn, [row] = waiting(opened, alice, sending(file), "per_call")
        assert (row.kind, row.tool, row.status) == ("tool", "send", "waiting")
        assert row.arguments == {"to": "bob", "file": str(file)}
        assert len(row.arguments_hash) == 64
        assert utc_now() - row.waiting_since < timedelta(seconds=30)
        assert (row.user_name, row.agent_id, row.question) == ("alice", "per_call", turn.content)
        assert sent(file) == []

    def test_says_what_may_be_decided_and_what_the_arguments_must_be(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        for agent in ("per_call", "batched"):
            _, [row] = waiting(opened, alice, sending(file), agent)
            [action] = row.actions
            assert set(action.allowed) == {"approve", "edit", "answer", "refuse"}
            assert action.schema is not None
            assert set(action.schema["properties"]) == {"to", "file", "copies"}

    def test_stands_on_the_desk_the_oldest_first(self, opened: Skein, alice: Viewer, file: Path) -> None:
        turns = [waiting(opened, alice, sending(file, to=name), "per_call")[0] for name in ("ann", "bea", "cid")]
        with opened.database.read() as db:
            desk = list_approvals(alice, db)
            assert count_waiting(alice, db) == 3
        assert [row.thread_id for row in desk] == [turn.thread_id for turn in turns]

    def test_expires_when_the_settings_say(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        assert row.expires_at is not None
        assert row.expires_at - row.waiting_since == timedelta(days=30)


class TestEveryOutcome:
    @pytest.mark.parametrize("agent", ["per_call", "batched"])
    def test_approved_it_runs_once_on_the_same_thread(
        self, opened: Skein, alice: Viewer, file: Path, agent: str
    ) -> None:
        turn, [row] = waiting(opened, alice, sending(file), agent)
        done = settle(opened, alice, row, Decision("approve"))
        assert (done.status, done.thread_id) == ("done", turn.thread_id)
        assert sent(file) == ["bob 1"]
        assert "sent to bob" in done.answer

    @pytest.mark.parametrize("agent", ["per_call", "batched"])
    def test_edited_it_runs_with_the_new_arguments(
        self, opened: Skein, alice: Viewer, file: Path, agent: str
    ) -> None:
        turn, [row] = waiting(opened, alice, sending(file), agent)
        edited = {"to": "陈", "file": str(file), "copies": 3}
        done = settle(opened, alice, row, Decision("edit", arguments=edited))
        assert (done.status, sent(file)) == ("done", ["陈 3"])
        [record] = of_thread(opened, alice, turn)
        assert (record.decision, record.arguments["to"], record.arguments_after) == ("edit", "bob", edited)

    @pytest.mark.parametrize("agent", ["per_call", "batched"])
    def test_refused_it_does_not_run_and_the_agent_hears_why(
        self, opened: Skein, alice: Viewer, file: Path, agent: str
    ) -> None:
        _, [row] = waiting(opened, alice, sending(file), agent)
        done = settle(opened, alice, row, Decision("refuse", reason="Bob has left."))
        assert (done.status, sent(file)) == ("done", [])
        assert "Bob has left." in done.answer

    @pytest.mark.parametrize("agent", ["per_call", "batched"])
    def test_answered_a_person_speaks_for_the_tool(
        self, opened: Skein, alice: Viewer, file: Path, agent: str
    ) -> None:
        _, [row] = waiting(opened, alice, sending(file), agent)
        done = settle(opened, alice, row, Decision("answer", answer="I gave it to him myself."))
        assert (done.status, sent(file)) == ("done", [])
        assert "I gave it to him myself." in done.answer

    def test_a_question_is_answered(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "the wall", "question")
        assert (row.kind, row.value["options"]) == ("question", ["red", "green"])
        assert settle(opened, alice, row, Decision("answer", answer="green")).answer == "You chose green."

    def test_a_question_inside_a_subgraph_too(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "the door", "nested")
        assert settle(opened, alice, row, Decision("answer", answer="red")).answer == "You chose red."

    def test_an_answer_with_a_schema_is_checked_and_comes_typed(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "anything", "wish")
        with pytest.raises(BadInputError, match="count"):
            settle(opened, alice, row, Decision("answer", answer={"name": "tea", "count": 0}))
        done = settle(opened, alice, row, Decision("answer", answer={"name": "tea", "count": 2}))
        assert (done.status, done.answer) == ("done", "2 of tea.")

    def test_a_question_refused_ends_the_run(self, opened: Skein, alice: Viewer) -> None:
        turn, [row] = waiting(opened, alice, "the wall", "question")
        done = settle(opened, alice, row, Decision("refuse", reason="Not now."))
        assert (done.status, done.error_message) == ("stopped", "Not now.")
        [record] = of_thread(opened, alice, turn)
        assert (record.status, record.decision, record.reason) == ("decided", "refuse", "Not now.")

    def test_a_pause_goes_on(self, opened: Skein, alice: Viewer, file: Path) -> None:
        text = json.dumps([["send", {"to": "bob", "file": str(file)}]])
        _, [row] = waiting(opened, alice, text, "paused")
        assert (row.kind, row.node, sent(file)) == ("pause", "tools", [])
        assert settle(opened, alice, row, Decision("approve")).answer == "sent to bob"
        assert sent(file) == ["bob 1"]

    def test_a_pause_refused_ends_the_run(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, json.dumps([["look", {"file": str(file)}]]), "paused")
        assert settle(opened, alice, row, Decision("refuse")).status == "stopped"
        assert sent(file) == []

    def test_stop_withdraws_what_waits(self, opened: Skein, alice: Viewer, file: Path) -> None:
        turn, _ = waiting(opened, alice, sending(file), "per_call")
        assert opened.engine.stop(alice, turn.thread_id)
        assert status_of(opened, alice, turn.thread_id) == "stopped"
        assert [row.status for row in of_thread(opened, alice, turn)] == ["withdrawn"]


class TestSeveralOfOneThread:
    def test_are_answered_one_by_one_by_id(self, opened: Skein, alice: Viewer) -> None:
        turn, rows = waiting(opened, alice, "go", "several")
        assert sorted(row.value["question"] for row in rows) == ["a", "b", "c"]
        for number, row in enumerate(sorted(rows, key=lambda row: row.value["question"], reverse=True), start=1):
            done = settle(opened, alice, row, Decision("answer", answer=str(number)))
        assert (done.status, done.answer) == ("done", "a=3, b=2, c=1")
        assert len(of_thread(opened, alice, turn)) == 3

    def test_decided_all_at_once_all_count(self, opened: Skein, alice: Viewer) -> None:
        turn, rows = waiting(opened, alice, "go", "several")
        with ThreadPoolExecutor(3) as pool:
            list(
                pool.map(
                    lambda row: decide(
                        opened.engine,
                        alice,
                        row.approval_id,
                        [Decision("answer", answer=row.value["question"].upper())],
                        arguments_hash=row.arguments_hash,
                    ),
                    rows,
                )
            )
        wait_until(lambda: status_of(opened, alice, turn.thread_id) == "done")
        assert answered(opened, alice, turn.thread_id).answer == "a=A, b=B, c=C"

    def test_two_in_one_node_come_one_after_the_other(self, opened: Skein, alice: Viewer) -> None:
        turn, [first] = waiting(opened, alice, "hello", "twice")
        settle(opened, alice, first, Decision("answer", answer="Ann"))
        [second] = open_of(opened, alice, turn)
        assert second.value == {"question": "your age, Ann?"}
        assert settle(opened, alice, second, Decision("answer", answer=40)).answer == "Ann is 40."


class TestOnce:
    def test_however_many_tabs_click(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")

        def click(_: int) -> str:
            try:
                settle(opened, alice, row, Decision("approve"))
            except ConflictError as error:
                return str(error)
            return "decided"

        with ThreadPoolExecutor(8) as pool:
            told = list(pool.map(click, range(8)))
        assert told.count("decided") == 1
        assert sent(file) == ["bob 1"]

    def test_the_second_is_told_who_was_first(
        self, opened: Skein, alice: Viewer, file: Path, person: Person
    ) -> None:
        boss = person("boss", "admin")
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        settle(opened, boss, row, Decision("refuse"))
        with pytest.raises(ConflictError, match="refused already, by boss"):
            settle(opened, alice, row, Decision("approve"))

    def test_stale_arguments_are_refused(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        with pytest.raises(ConflictError, match="has changed since you saw it"):
            decide(opened.engine, alice, row.approval_id, [Decision("approve")], arguments_hash="0" * 64)
        assert sent(file) == []

    def test_a_bad_edit_loses_nothing(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        with pytest.raises(BadInputError, match="copies"):
            settle(opened, alice, row, Decision("edit", arguments={"to": "x", "file": str(file), "copies": "many"}))
        assert settle(opened, alice, row, Decision("approve")).status == "done"

    def test_in_another_engine_on_the_same_database(
        self, opened: Skein, settings: Settings, alice: Viewer, file: Path
    ) -> None:
        turn, [row] = waiting(opened, alice, sending(file), "per_call")
        with another_skein(settings) as other:
            done = settle(other, alice, row, Decision("approve"))
        assert (done.status, sent(file)) == ("done", ["bob 1"])
        assert answered(opened, alice, turn.thread_id).status == "done"

    def test_after_a_restart(self, settings: Settings, file: Path) -> None:
        with another_skein(settings) as before:
            viewer = make_person(before, "ann")
            turn, [row] = waiting(before, viewer, sending(file), "batched")
        with another_skein(settings) as after:
            assert status_of(after, viewer, turn.thread_id) == "waiting"
            assert settle(after, viewer, row, Decision("approve")).status == "done"
        assert sent(file) == ["bob 1"]


class TestTheLog:
    def test_goes_on_where_it_was(self, opened: Skein, alice: Viewer, file: Path) -> None:
        turn, [row] = waiting(opened, alice, sending(file), "per_call")
        before = follow(opened, alice, turn.thread_id)
        settle(opened, alice, row, Decision("approve"))
        events = follow(opened, alice, turn.thread_id)
        assert events[: len(before)] == before
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
        kinds = [event.kind for event in events]
        assert kinds[len(before)] == "resumed"
        assert events[len(before)].payload["by"] == "alice"
        assert (kinds[-1], events[-1].payload["status"]) == ("end", "done")
        assert [event.at_ms for event in events] == sorted(event.at_ms for event in events)

    def test_is_heard_live_by_who_attaches_after_the_decision(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        turn, [row] = waiting(opened, alice, sending(file), "per_call")
        heard = len(follow(opened, alice, turn.thread_id))
        decide(opened.engine, alice, row.approval_id, [Decision("approve")], arguments_hash=row.arguments_hash)
        rest: list[Event] = follow(opened, alice, turn.thread_id, after=heard)
        assert (rest[0].kind, rest[-1].payload["status"]) == ("resumed", "done")

    def test_a_decision_is_an_activity(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        settle(opened, alice, row, Decision("refuse", reason="No."))
        with opened.database.read() as db:
            [done] = db.exec(select(Activity).where(Activity.target_id == row.approval_id)).all()
        assert (done.kind, done.user_id, done.detail["decision"]) == ("approval.decide", alice.user_id, "refuse")


class TestWhoDecides:
    def test_nobody_else(self, opened: Skein, alice: Viewer, person: Person, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        with pytest.raises(NotFoundError):
            settle(opened, person("mallory"), row, Decision("approve"))
        with pytest.raises(ForbiddenError):
            settle(opened, person("ana", "analyst"), row, Decision("approve"))
        with opened.database.read() as db:
            assert list_approvals(person("eve"), db) == []
            with pytest.raises(ForbiddenError):
                list_approvals(person("ed", "analyst"), db, everyone=True)
        assert sent(file) == []

    def test_an_admin_may_and_is_named(self, opened: Skein, alice: Viewer, person: Person, file: Path) -> None:
        boss = person("boss", "admin")
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        with opened.database.read() as db:
            assert [one.user_name for one in list_approvals(boss, db, everyone=True)] == ["alice"]
        settle(opened, boss, row, Decision("approve"))
        with opened.database.read() as db:
            assert get_approval(alice, db, row.approval_id).decided_by_name == "boss"


class TestTime:
    def test_refuses_a_tool_that_nobody_decided(self, database_url: str, tmp_path: Path, file: Path) -> None:
        with another_skein(graph_settings(tmp_path, database_url, lease_seconds=0.4)) as skein:
            alice = make_person(skein, "ann")
            turn, [row] = waiting(skein, alice, sending(file), "per_call")
            run_out(skein, row)
            wait_until(lambda: status_of(skein, alice, turn.thread_id) == "done")
            [record] = of_thread(skein, alice, turn)
            assert (record.decision, record.decided_by, sent(file)) == ("refuse", None, [])
            assert "Nobody decided this in time." in answered(skein, alice, turn.thread_id).answer

    def test_ends_a_run_whose_question_nobody_answered(self, database_url: str, tmp_path: Path) -> None:
        with another_skein(graph_settings(tmp_path, database_url, lease_seconds=0.4)) as skein:
            alice = make_person(skein, "ann")
            turn, [row] = waiting(skein, alice, "the wall", "question")
            run_out(skein, row)
            wait_until(lambda: status_of(skein, alice, turn.thread_id) == "stopped")
            assert [one.status for one in of_thread(skein, alice, turn)] == ["withdrawn"]


def run_out(skein: Skein, row: ApprovalRow) -> None:
    def job(db: Any) -> None:
        change = {"expires_at": utc_now() - timedelta(seconds=1)}
        db.execute(update(Approval).where(col(Approval.approval_id) == row.approval_id).values(**change))

    skein.database.write(job)


class TestRules:
    def test_an_allowed_tool_is_not_waited_for_and_the_use_is_on_record(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        rule = opened.database.write(lambda db: add_rule(alice, db, effect="allow", tool="send"))
        turn = ask(opened, alice, sending(file), agent="per_call")
        wait_until(lambda: status_of(opened, alice, turn.thread_id) == "done")
        assert sent(file) == ["bob 1"]
        [record] = of_thread(opened, alice, turn)
        assert (record.decision, record.rule_id, record.decided_by) == ("approve", rule, None)
        with opened.database.read() as db:
            [told] = list_rules(alice, db)
        assert (told.uses, told.effect) == (1, "allow")

    def test_always_allow_in_this_session_only(self, opened: Skein, alice: Viewer, file: Path) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        opened.database.write(
            lambda db: add_rule(alice, db, effect="allow", tool="send", scope="session", session_id=row.session_id)
        )
        settle(opened, alice, row, Decision("approve"))
        waiting(opened, alice, sending(file), "per_call")

    def test_deny_wins_over_allow(self, opened: Skein, alice: Viewer, person: Person, file: Path) -> None:
        boss = person("boss", "admin")
        opened.database.write(lambda db: add_rule(alice, db, effect="allow", tool="send"))
        opened.database.write(lambda db: add_rule(boss, db, effect="deny", tool="send", scope="everyone"))
        turn = ask(opened, alice, sending(file), agent="per_call")
        wait_until(lambda: status_of(opened, alice, turn.thread_id) == "done")
        assert sent(file) == []
        assert {row.decision for row in of_thread(opened, alice, turn)} == {"refuse"}

    def test_what_is_denied_meanwhile_cannot_be_approved(
        self, opened: Skein, alice: Viewer, person: Person, file: Path
    ) -> None:
        _, [row] = waiting(opened, alice, sending(file), "per_call")
        boss = person("boss", "admin")
        rule = opened.database.write(lambda db: add_rule(boss, db, effect="deny", tool="*", scope="everyone"))
        with pytest.raises(ConflictError, match="A rule denies"):
            settle(opened, alice, row, Decision("approve"))
        opened.database.write(lambda db: revoke_rule(boss, db, rule))
        assert settle(opened, alice, row, Decision("approve")).status == "done"

    def test_a_denied_tool_of_a_graph_that_asks_nobody_does_not_run(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        rule = opened.database.write(lambda db: add_rule(alice, db, effect="deny", tool="send"))
        calls = [["send", {"to": "bob", "file": str(file)}], ["look", {"file": str(file)}]]
        turn = ask(opened, alice, json.dumps(calls), agent="ungated")
        done = over(opened, alice, of_turn(turn))
        assert (done.status, sent(file)) == ("done", ["looked"])
        assert "A rule denies the tool 'send'" in done.answer
        [record] = of_thread(opened, alice, turn)
        assert (record.rule_id, record.decision, record.arguments["to"]) == (rule, "refuse", "bob")

    def test_a_tool_is_asked_about_though_its_graph_does_not(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        """And what stands beside it runs once, though LangGraph runs the step anew."""
        opened.database.write(lambda db: add_rule(alice, db, effect="ask", tool="send", expires_after_hours=2))
        calls = [
            ["look", {"file": str(file)}],
            ["send", {"to": "ann", "file": str(file)}],
            ["send", {"to": "bob", "file": str(file)}],
        ]
        _, [row] = waiting(opened, alice, json.dumps(calls), "ungated")
        assert sent(file) == []
        assert [action.arguments["to"] for action in row.actions] == ["ann", "bob"]
        assert row.expires_at is not None
        assert row.expires_at - row.waiting_since == timedelta(hours=2)
        done = settle(opened, alice, row, Decision("approve"), Decision("refuse", reason="Not bob."))
        assert (done.status, sorted(sent(file))) == ("done", ["ann 1", "looked"])
        assert "Not bob." in done.answer

    def test_what_the_graph_asked_is_not_asked_again_by_a_rule(
        self, opened: Skein, alice: Viewer, file: Path
    ) -> None:
        opened.database.write(lambda db: add_rule(alice, db, effect="ask", tool="send"))
        for agent in ("per_call", "batched"):
            _, [row] = waiting(opened, alice, sending(file), agent)
            assert settle(opened, alice, row, Decision("approve")).status == "done"

    def test_somebody_elses_rule_is_not_theirs_to_make_or_revoke(
        self, opened: Skein, alice: Viewer, person: Person
    ) -> None:
        mallory, ana = person("mallory"), person("ana", "analyst")
        rule = opened.database.write(lambda db: add_rule(alice, db, effect="allow", tool="send"))
        for viewer, refused in ((mallory, NotFoundError), (ana, ForbiddenError)):
            with pytest.raises(refused):
                opened.database.write(lambda db, viewer=viewer: revoke_rule(viewer, db, rule))
            with pytest.raises(ForbiddenError):
                opened.database.write(
                    lambda db, viewer=viewer: add_rule(viewer, db, effect="allow", tool="x", scope="everyone")
                )
        with opened.database.read() as db:
            assert list_rules(mallory, db) == []
            assert [row.rule_id for row in list_rules(ana, db)] == [rule]


class TestWhatIsNoMore:
    def test_a_node_that_is_gone_is_found_and_said(self, settings: Settings, tmp_path: Path, file: Path) -> None:
        with another_skein(settings) as before:
            alice = make_person(before, "ann")
            turn, [row] = waiting(before, alice, "the wall", "question")
        [listed] = settings.langgraph_json
        graphs = json.loads(listed.read_text())
        graphs["graphs"]["question"] = graphs["graphs"]["wish"] | {}
        graphs["graphs"]["question"]["path"] = graphs["graphs"]["ungated"]["path"]
        listed.write_text(json.dumps(graphs))
        with another_skein(settings) as after:
            assert "no step 'ask' any more" in str(find_obstacle(after.engine, row))
            with pytest.raises(ConflictError, match="not there any more"):
                settle(after, alice, row, Decision("answer", answer="red"))
            assert [one.status for one in of_thread(after, alice, turn)] == ["gone"]

    def test_going_on_without_a_decision_leaves_it_open(self, opened: Skein, alice: Viewer, file: Path) -> None:
        turn, [row] = waiting(opened, alice, sending(file), "per_call")
        below = ask(opened, alice, "something else", agent="per_call", under=turn)
        assert over(opened, alice, of_turn(below)).status == "done"
        assert settle(opened, alice, row, Decision("approve")).status == "done"
        assert sent(file) == ["bob 1"]

    def test_a_fork_of_a_waiting_thread_asks_for_itself(self, opened: Skein, alice: Viewer, file: Path) -> None:
        turn, [row] = waiting(opened, alice, sending(file), "per_call")
        added = fork(opened.engine, alice, turn.thread_id)
        follow(opened, alice, added.thread_id)
        with opened.database.read() as db:
            [copy] = list_of_thread(alice, db, added.thread_id)
        settle(opened, alice, copy, Decision("refuse"))
        assert settle(opened, alice, row, Decision("approve")).status == "done"
        assert sent(file) == ["bob 1"]

    def test_stopped_it_can_be_retried_and_asks_again(self, opened: Skein, alice: Viewer, file: Path) -> None:
        turn, _ = waiting(opened, alice, sending(file), "per_call")
        opened.engine.stop(alice, turn.thread_id)
        again = retry(opened.engine, alice, turn.thread_id)
        follow(opened, alice, again.thread_id)
        with opened.database.read() as db:
            [row] = list_of_thread(alice, db, again.thread_id)
        assert settle(opened, alice, row, Decision("approve")).status == "done"
        assert sent(file) == ["bob 1"]


def of_turn(turn: Turn) -> Any:
    """For ``over``: any thread, with an approval or not."""
    return turn
