"""The run engine: what a run says, who hears it, who may stop it, and when it is its turn."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.errors import BusyError, ConflictError, CreationError
from core.history.messages import NewMessage
from core.history.turns import Turn
from core.runs.branching import retry
from core.runs.events import Event
from core.settings import Settings
from core.skein import Skein, open_skein
from core.tables import RunEvent, Thread
from tests.conftest import make_person
from tests.core.support import (
    another_skein,
    answered,
    ask,
    follow,
    graph_settings,
    status_of,
    turn_at,
    wait_for_tokens,
    wait_until,
)
from tests.graphs import showcase

Person = Callable[..., Viewer]
KINDS = {"token", "aside", "node", "tool", "progress", "state", "waiting", "error", "end"}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def slow(database_url: str, tmp_path: Path) -> Iterator[Skein]:
    """On both databases, with a model that takes its time."""
    with another_skein(graph_settings(tmp_path, database_url, demo_tokens_per_second=100)) as skein:
        yield skein


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'skein.db'}"


@pytest.fixture(autouse=True)
def gates() -> Iterator[None]:
    """What one test left in the graphs' hands is nothing to the next."""
    yield
    for gate in showcase.GATES.values():
        gate.set()
    for shared in (showcase.GATES, showcase.ENTERED, showcase.RAN, showcase.SEEN):
        shared.clear()


def hold(skein: Skein, viewer: Viewer, text: str, *, under: Turn | None = None, agent: str = "held") -> Turn:
    """A run that does nothing until ``let_go(text)``."""
    showcase.ENTERED[text], showcase.GATES[text] = threading.Event(), threading.Event()
    return ask(skein, viewer, text, under=under, agent=agent)


def entered(text: str) -> None:
    assert showcase.ENTERED[text].wait(10)


def let_go(text: str) -> None:
    showcase.GATES[text].set()


def nodes_of(events: list[Event], kind: str) -> set[str | None]:
    return {event.node for event in events if event.kind == kind}


def seqs(events: list[Event]) -> list[int]:
    return [event.seq for event in events]


class TestWhatARunSays:
    def test_every_kind_of_event_appears(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        asks, fails = (ask(opened, alice, text, agent="showcase") for text in ("ask 4 tokens", "fail 4 tokens"))
        events = [*follow(opened, alice, asks.thread_id), *follow(opened, alice, fails.thread_id)]
        assert {event.kind for event in events} == KINDS
        assert [e.payload["status"] for e in events if e.kind == "end"] == ["waiting", "failed"]

    def test_only_the_answering_nodes_words_are_the_answer(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = ask(opened, alice, "please 4 tokens", agent="showcase")
        events = follow(opened, alice, turn.thread_id)
        said = "w1 w2 w3 w4\n\nSaid without a model."
        assert nodes_of(events, "token") == {"talk", "announce"}
        assert nodes_of(events, "aside") == {"inner"}
        assert "".join(event.payload for event in events if event.kind == "token") == said
        assert answered(opened, alice, turn.thread_id).answer == said

    def test_nodes_and_tools_begin_and_end(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        events = follow(opened, alice, ask(opened, alice, "2 tokens", agent="showcase").thread_id)
        for kind in ("node", "tool"):
            phases = [(event.node, event.payload["phase"]) for event in events if event.kind == kind]
            begun = sorted(str(node) for node, phase in phases if phase == "start")
            assert begun == sorted(str(node) for node, phase in phases if phase == "end")
            assert begun
        [call, result] = [event.payload for event in events if event.kind == "tool"]
        assert (call["args"], result["result"]) == ({"query": "tea"}, "found tea")

    def test_progress_may_hold_what_no_database_can(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        live = follow(opened, alice, ask(opened, alice, "2 tokens", agent="showcase").thread_id)
        thread_id = ask(opened, alice, "2 tokens", agent="showcase").thread_id
        follow(opened, alice, thread_id)
        stored = follow(opened, alice, thread_id)
        told = [[e.payload for e in events if e.kind == "progress"] for events in (live, stored)]
        for progress in told:
            assert {"inner": "halfway", "odd": "NaN", "raw": "_w=="} in progress
            assert "beside" in progress

    def test_an_interrupt_is_told_with_its_question(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        events = follow(opened, alice, ask(opened, alice, "ask 2 tokens", agent="showcase").thread_id)
        [waiting] = [event.payload for event in events if event.kind == "waiting"]
        assert [item["value"] for item in waiting["interrupts"]] == [{"question": "may I?"}]

    def test_a_failure_is_told_in_one_sentence_and_keeps_what_was_said(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "fail 2 tokens", agent="showcase").thread_id)
        assert (turn.status, turn.error_type) == ("failed", "BrokenError")
        assert turn.answer == "w1 w2\n\nSaid without a model."
        assert turn.error_message == "The agent failed with BrokenError: this was meant to break"

    def test_two_models_at_once_do_not_mix(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = ask(opened, alice, "go", agent="voices")
        events = follow(opened, alice, turn.thread_id)
        answer = "".join(event.payload for event in events if event.kind == "token")
        assert " ".join(f"w{n}" for n in range(1, 21)) in answer.split("\n\n") or "w1" not in answer
        assert nodes_of(events, "aside") == {"both"}

    def test_a_node_that_calls_exit_fails_alone(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        assert answered(opened, alice, ask(opened, alice, "go", agent="exiting").thread_id).status == "failed"
        assert answered(opened, alice, ask(opened, alice, "3 tokens").thread_id).answer == "w1 w2 w3"


class TestReaders:
    def test_two_at_once_and_a_late_one_hear_all_once_and_in_order(self, slow: Skein) -> None:
        alice = make_person(slow, "alice")
        turn = ask(slow, alice, "write 60 tokens")
        with ThreadPoolExecutor() as pool:
            readers = [pool.submit(follow, slow, alice, turn.thread_id) for _ in range(2)]
            wait_for_tokens(slow, alice, turn.thread_id, 20)
            readers.append(pool.submit(follow, slow, alice, turn.thread_id))
            heard = [reader.result() for reader in readers]
        stored = follow(slow, alice, turn.thread_id)
        assert heard == [stored] * 3
        assert seqs(stored) == list(range(1, len(stored) + 1))

    def test_one_who_leaves_and_comes_back_misses_nothing(self, slow: Skein) -> None:
        alice = make_person(slow, "alice")
        turn = ask(slow, alice, "write 50 tokens")
        heard: list[Event] = []
        while not heard or heard[-1].kind != "end":
            for events in slow.engine.attach(alice, turn.thread_id, after=len(heard)):
                heard += events
                if events:
                    break
        assert heard == follow(slow, alice, turn.thread_id)

    def test_an_offset_below_zero_means_from_the_beginning(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = ask(opened, alice, "write 5 tokens")
        live = follow(opened, alice, turn.thread_id, after=-3)
        assert seqs(live) == list(range(1, len(live) + 1))

    def test_every_offset_means_the_same_live_and_stored(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = hold(opened, alice, "offsets")
        entered("offsets")
        log = opened.engine._scheduler.runs[turn.thread_id].log
        let_go("offsets")
        whole = follow(opened, alice, turn.thread_id)
        for after in range(len(whole) + 2):
            assert log.after(after) == follow(opened, alice, turn.thread_id, after=after) == whole[after:]

    def test_another_process_reads_it_live_from_the_rows_and_can_stop_it(
        self, slow: Skein, tmp_path: Path, database_url: str
    ) -> None:
        alice = make_person(slow, "alice")
        turn = ask(slow, alice, "write 2000 tokens")
        with another_skein(graph_settings(tmp_path / "other", database_url)) as other:
            seen = wait_for_tokens(other, alice, turn.thread_id, 5)
            assert status_of(other, alice, turn.thread_id) == "running"
            assert other.engine.stop(alice, turn.thread_id)
            ended = answered(other, alice, turn.thread_id)
            assert follow(other, alice, turn.thread_id) == follow(slow, alice, turn.thread_id)
        assert ended.status == "stopped"
        assert ended.answer.startswith(seen)


class TestStop:
    def test_it_is_quick_and_keeps_what_was_said(self, slow: Skein) -> None:
        alice = make_person(slow, "alice")
        turn = ask(slow, alice, "write 2000 tokens")
        seen = wait_for_tokens(slow, alice, turn.thread_id, 10)
        assert slow.engine.stop(alice, turn.thread_id)
        ended = answered(slow, alice, turn.thread_id)
        assert len(ended.answer.split()) < 1_000
        assert (ended.status, ended.finish_reason) == ("stopped", "stopped")
        assert ended.answer.startswith(seen)
        stored = follow(slow, alice, turn.thread_id)
        assert "".join(event.payload for event in stored if event.kind == "token") == ended.answer
        assert stored[-1].payload["status"] == "stopped"

    def test_a_run_that_swallows_its_cancellation_and_speaks_on_is_stopped_all_the_same(self, slow: Skein) -> None:
        alice = make_person(slow, "alice")
        turn = ask(slow, alice, "stubborn words", agent="stubborn")
        wait_for_tokens(slow, alice, turn.thread_id, 5)
        slow.engine.stop(alice, turn.thread_id)
        assert answered(slow, alice, turn.thread_id).status == "stopped"
        assert showcase.RAN.pop(("stubborn words", "swallowed")) == 1

    def test_one_that_is_over_is_not_stopped_again(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "3 tokens").thread_id)
        assert opened.engine.stop(alice, turn.thread_id) is False
        assert status_of(opened, alice, turn.thread_id) == "done"

    def test_it_may_come_before_the_first_step(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        loop, ready, go = opened.engine._loop, threading.Event(), threading.Event()

        def busy() -> None:
            ready.set()
            assert go.wait(10)

        loop.call(busy)
        assert ready.wait(10)
        turn = hold(opened, alice, "first step")
        assert opened.engine.stop(alice, turn.thread_id)
        go.set()
        assert answered(opened, alice, turn.thread_id).status == "stopped"
        assert showcase.RAN["first step", "held"] == 0
        wait_until(lambda: not opened.engine._scheduler._at_work)

    def test_a_queued_one_never_runs(self, tmp_path: Path, sqlite_url: str) -> None:
        with another_skein(graph_settings(tmp_path, sqlite_url, max_runs=1)) as skein:
            alice = make_person(skein, "alice")
            hold(skein, alice, "first")
            entered("first")
            second = hold(skein, alice, "second")
            skein.engine.stop(alice, second.thread_id)
            assert answered(skein, alice, second.thread_id).status == "stopped"
            let_go("first")
            assert showcase.RAN["second", "held"] == 0


class TestUnderARunningParent:
    def test_it_is_refused_and_nothing_is_written(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        parent = hold(opened, alice, "parent")
        with pytest.raises(BusyError, match="still being written"):
            ask(opened, alice, "child", under=parent)
        with opened.database.read() as db:
            assert len(db.exec(select(Thread)).all()) == 1
        let_go("parent")

    def test_it_waits_when_asked_to(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        parent = hold(opened, alice, "parent")
        entered("parent")
        new = NewMessage(
            "child",
            conversation_id=parent.conversation_id,
            parent_message_id=parent.message_id,
            agent_id="echo",
        )
        child = opened.engine.start(alice, new, when_busy="wait")
        assert status_of(opened, alice, child.thread_id) == "queued"
        let_go("parent")
        assert answered(opened, alice, child.thread_id).status == "done"
        assert [m.text for m in showcase.SEEN["child"]] == ["parent", "through parent", "child"]

    def test_it_begins_at_once_although_the_parent_ended_meanwhile(
        self, opened: Skein, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice = person("alice")
        parent = hold(opened, alice, "parent")
        entered("parent")
        write = opened.engine._write

        def write_and_let_the_parent_end(job: Callable[..., object]) -> object:
            result = write(job)
            let_go("parent")
            wait_until(lambda: parent.thread_id not in opened.engine._scheduler.runs)
            return result

        monkeypatch.setattr(opened.engine, "_write", write_and_let_the_parent_end)
        new = NewMessage(
            "child",
            conversation_id=parent.conversation_id,
            parent_message_id=parent.message_id,
            agent_id="echo",
        )
        # The heart would find it when its lease has run out; this is about the one who does not wait for that.
        monkeypatch.setattr(opened.engine._heart, "_beat", lambda: None)
        child = opened.engine.start(alice, new, when_busy="wait")
        assert answered(opened, alice, child.thread_id).status == "done"


class TestRetry:
    def test_it_goes_on_from_the_last_checkpoint(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        failed = answered(opened, alice, ask(opened, alice, "again", agent="once").thread_id)
        assert failed.status == "failed"
        retried = retry(opened.engine, alice, failed.thread_id)
        turn = answered(opened, alice, retried.thread_id)
        assert (turn.status, turn.answer, turn.kind) == ("done", "better now", "retry")
        assert turn.parent_thread_id == failed.thread_id
        assert showcase.RAN == {("again", "sibling"): 1, ("again", "fails_once"): 2}

    def test_it_keeps_what_had_been_said_before_the_point_it_goes_on_from(
        self, opened: Skein, person: Person
    ) -> None:
        alice = person("alice")
        failed = answered(opened, alice, ask(opened, alice, "half", agent="halves").thread_id)
        assert (failed.status, failed.answer) == ("failed", "the first half")
        retried = answered(opened, alice, retry(opened.engine, alice, failed.thread_id).thread_id)
        assert (retried.status, retried.answer) == ("done", "the first half\n\nthe second half")

    def test_twice_gives_two_siblings(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        root = answered(opened, alice, ask(opened, alice, "root", agent="echo").thread_id)
        failed = answered(opened, alice, ask(opened, alice, "again", agent="once", under=root).thread_id)
        retries = [retry(opened.engine, alice, failed.thread_id) for _ in range(2)]
        turns = [answered(opened, alice, retry.thread_id) for retry in retries]
        assert [turn.parent_message_id for turn in turns] == [root.message_id] * 2
        assert [turn.content for turn in turns] == ["again"] * 2
        assert turns[0].message_id != turns[1].message_id
        assert status_of(opened, alice, failed.thread_id) == "failed"

    def test_a_good_answer_has_nothing_to_retry(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        done = answered(opened, alice, ask(opened, alice, "2 tokens").thread_id)
        with pytest.raises(ConflictError, match="stopped, failed or lost"):
            retry(opened.engine, alice, done.thread_id)

    def test_one_that_was_lost_with_its_work_done_asks_once_only(self, opened: Skein, person: Person) -> None:
        """A process can die between the graph's last checkpoint and the end that is written down."""
        alice = person("alice")
        root = answered(opened, alice, ask(opened, alice, "root", agent="echo").thread_id)
        turn = answered(opened, alice, ask(opened, alice, "child", agent="echo", under=root).thread_id)
        lost = update(Thread).where(col(Thread.thread_id) == turn.thread_id).values(status="lost")
        opened.database.write(lambda db: db.execute(lost))
        answered(opened, alice, retry(opened.engine, alice, turn.thread_id).thread_id)
        assert [m.text for m in showcase.SEEN["child"] if m.type == "human"] == ["root", "child"]


class TestTheQueue:
    def test_limits_per_person_and_in_total(self, tmp_path: Path, sqlite_url: str) -> None:
        with another_skein(graph_settings(tmp_path, sqlite_url, max_runs=3, max_runs_per_user=2)) as skein:
            alice, bob = make_person(skein, "alice"), make_person(skein, "bob")
            hers = [hold(skein, alice, f"a{n}") for n in range(3)]
            entered("a0")
            entered("a1")
            his = [hold(skein, bob, f"b{n}") for n in range(2)]
            entered("b0")
            assert [skein.engine.place_of(alice, turn.thread_id) for turn in hers] == [None, None, 2]
            assert [skein.engine.place_of(bob, turn.thread_id) for turn in his] == [None, 1]
            assert [run.place for run in skein.engine.active(bob)] == [None, 1]
            let_go("a0")
            entered("a2")  # both have one running now, and she was served longest ago
            assert skein.engine.place_of(bob, his[1].thread_id) == 1
            assert showcase.RAN["b1", "held"] == 0
            let_go("b0")
            entered("b1")
            for text in ("a1", "a2", "b1"):
                let_go(text)
            for turn in hers:
                assert answered(skein, alice, turn.thread_id).status == "done"

    def test_no_more_may_wait_than_allowed(self, tmp_path: Path, sqlite_url: str) -> None:
        with another_skein(graph_settings(tmp_path, sqlite_url, max_runs=1, max_queued_per_user=2)) as skein:
            alice = make_person(skein, "alice")
            hold(skein, alice, "runs")
            entered("runs")
            queued = [hold(skein, alice, f"waits {n}") for n in range(2)]
            with pytest.raises(BusyError, match="2 of your messages are waiting"):
                hold(skein, alice, "too many")
            for turn in queued:
                skein.engine.stop(alice, turn.thread_id)
            let_go("runs")

    def test_many_starts_at_once_disturb_nothing(self, opened: Skein, person: Person) -> None:
        people = [person(f"p{n}") for n in range(8)]
        with ThreadPoolExecutor(8) as pool:
            turns = list(pool.map(lambda who: [ask(opened, who, "5 tokens") for _ in range(5)], people))
        ends = {
            answered(opened, who, t.thread_id).answer for who, own in zip(people, turns, strict=True) for t in own
        }
        assert ends == {"w1 w2 w3 w4 w5"}


class TestClose:
    def test_it_lets_runs_end_stops_the_rest_and_hands_over_what_waits(
        self, tmp_path: Path, database_url: str
    ) -> None:
        settings = graph_settings(tmp_path, database_url, max_runs=2, drain_seconds=0.4)
        skein = open_skein(settings)
        alice = make_person(skein, "alice")
        ends, hangs = hold(skein, alice, "ends"), hold(skein, alice, "hangs")
        entered("ends")
        entered("hangs")
        waits = hold(skein, alice, "waits")
        child = skein.engine.start(
            alice,
            NewMessage(
                "child", conversation_id=waits.conversation_id, parent_message_id=waits.message_id, agent_id="echo"
            ),
            when_busy="wait",
        )
        closing = threading.Thread(target=skein.close)
        closing.start()
        wait_until(skein.engine._scheduler.closing.is_set)
        let_go("ends")
        closing.join(10)
        assert showcase.RAN["waits", "held"] == 0
        with another_skein(settings) as after:
            entered("waits")
            assert showcase.RAN["child", "echo"] == 0
            assert [status_of(after, alice, t.thread_id) for t in (ends, hangs)] == ["done", "stopped"]
            assert status_of(after, alice, child.thread_id) == "queued"
            let_go("waits")
            assert answered(after, alice, child.thread_id).status == "done"
        assert [m.text for m in showcase.SEEN["child"]] == ["waits", "through waits", "child"]

    def test_a_run_of_several_steps_comes_to_its_end_meanwhile_and_new_ones_are_refused(
        self, tmp_path: Path, database_url: str
    ) -> None:
        settings = graph_settings(tmp_path, database_url, drain_seconds=60)
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            turn = hold(skein, alice, "steps", agent="onward")
            entered("steps")
            draining = threading.Thread(target=skein.drain)
            draining.start()
            wait_until(skein.engine._scheduler.closing.is_set)
            with pytest.raises(BusyError, match="shutting down"):
                ask(skein, alice, "too late")
            let_go("steps")
            assert (ended := answered(skein, alice, turn.thread_id)).status == "done"
            assert "and onward" in ended.answer
            draining.join()

    def test_who_hurries_waits_for_nothing(self, tmp_path: Path, database_url: str) -> None:
        settings = graph_settings(tmp_path, database_url, drain_seconds=600)
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            turn = hold(skein, alice, "hangs on")
            entered("hangs on")
            draining = threading.Thread(target=skein.drain)
            draining.start()
            wait_until(skein.engine._scheduler.closing.is_set)
            skein.hurry()
            draining.join()
        with another_skein(settings) as after:
            assert status_of(after, alice, turn.thread_id) == "stopped"

    def test_what_comes_after_is_refused(self, settings: Settings) -> None:
        skein = open_skein(settings)
        alice = make_person(skein, "alice")
        skein.close()
        with pytest.raises(BusyError, match="shutting down"):
            ask(skein, alice, "too late")

    def test_a_failed_opening_says_why_and_leaves_nothing_open(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise ConflictError("this was meant to break")

        monkeypatch.setattr("core.runs.store.recover", fail)
        with pytest.raises(ConflictError, match="meant to break"):
            open_skein(settings)
        assert {"skein-writer", "skein-loop", "skein-heartbeat"} & {t.name for t in threading.enumerate()} == set()


class TestLeases:
    def test_a_node_that_blocks_does_not_lose_its_lease(self, tmp_path: Path, database_url: str) -> None:
        settings = graph_settings(tmp_path, database_url, lease_seconds=0.6)
        with (
            another_skein(settings) as skein,
            another_skein(graph_settings(tmp_path / "other", database_url, lease_seconds=0.6)),
        ):
            alice = make_person(skein, "alice")
            turn = answered(skein, alice, ask(skein, alice, "1.5", agent="blocking").thread_id)
        assert (turn.status, turn.answer) == ("done", "woke up")

    def test_a_zombie_is_cancelled_and_writes_nothing(self, tmp_path: Path, database_url: str) -> None:
        settings = graph_settings(tmp_path, database_url, lease_seconds=60, demo_tokens_per_second=100)
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            turn = ask(skein, alice, "write 2000 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            taken = (
                update(Thread)
                .where(col(Thread.thread_id) == turn.thread_id)
                .values(lease_epoch=2, worker="somebody else")
            )
            rows = select(RunEvent).where(RunEvent.thread_id == turn.thread_id)

            def take(db: object) -> int:
                db.execute(taken)  # type: ignore[attr-defined]
                return len(db.exec(rows).all())  # type: ignore[attr-defined]

            before = skein.database.write(take)
            wait_until(lambda: turn.thread_id not in skein.engine._scheduler.runs)
            with skein.database.read() as db:
                assert len(db.exec(rows).all()) == before
            now = turn_at(skein, alice, turn.message_id)
            assert (now.status, now.answer) == ("running", "")

    def test_a_run_whose_end_could_not_be_written_is_settled_by_its_own_process(
        self, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: object, **kwargs: object) -> None:
            raise ConflictError("this was meant to break")

        with another_skein(graph_settings(tmp_path, database_url, lease_seconds=0.4)) as skein:
            alice = make_person(skein, "alice")
            monkeypatch.setattr("core.runs.store.end_run", fail)
            turn = hold(skein, alice, "end")
            entered("end")
            wait_until(lambda: status_of(skein, alice, turn.thread_id) == "running")
            let_go("end")
            assert answered(skein, alice, turn.thread_id).status == "lost"

    def test_a_run_whose_beginning_could_not_be_written_is_run_in_the_end(
        self, tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from core.runs import store

        begin, failures = store.begin_run, [ConflictError("this was meant to break")]

        def fail_once(*args: object, **kwargs: object) -> None:
            if failures:
                raise failures.pop()
            begin(*args, **kwargs)  # type: ignore[arg-type]

        with another_skein(graph_settings(tmp_path, database_url, lease_seconds=0.4)) as skein:
            alice = make_person(skein, "alice")
            monkeypatch.setattr(store, "begin_run", fail_once)
            turn = hold(skein, alice, "begin")
            let_go("begin")
            assert answered(skein, alice, turn.thread_id).status == "done"

    def test_the_heart_and_the_log_survive_any_error(
        self, tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from core.runs import store

        failed: dict[str, int] = {}

        def failing(name: str) -> Callable[..., object]:
            real = getattr(store, name)

            def call(*args: object, **kwargs: object) -> object:
                failed[name] = failed.get(name, 0) + 1
                if failed[name] == 1:
                    raise RuntimeError("this was meant to break")
                return real(*args, **kwargs)

            return call

        settings = graph_settings(tmp_path, sqlite_url, lease_seconds=0.4, demo_tokens_per_second=100)
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            for name in ("renew_leases", "append_events"):
                monkeypatch.setattr(store, name, failing(name))
            turn = ask(skein, alice, "write 100 tokens")
            wait_until(lambda: failed.get("renew_leases", 0) > 2 and failed.get("append_events", 0) > 2)
            assert answered(skein, alice, turn.thread_id).status == "done"


class TestCreationFails:
    def test_with_creation_error_when_the_database_does(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        with pytest.raises(CreationError, match="nothing was sent"):
            opened.engine.start(alice, NewMessage("hello", kind="nonsense"))  # type: ignore[arg-type]
        assert opened.engine.active(alice) == []
