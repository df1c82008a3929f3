"""After ``kill -9`` and a new start: nothing runs that does not, nothing that was said is lost, all can go on."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from core.access.viewer import Viewer
from core.history.messages import NewMessage, add_message
from core.ids import ThreadId
from core.runs import scheduler
from core.runs.branching import retry
from core.runs.worker import Worker
from core.settings import Settings
from core.skein import Skein
from core.tables import LlmCall, LlmCallBody, Thread, utc_now
from tests.conftest import make_person
from tests.core.mains import be_a_worker, run_messages
from tests.core.processes import AnotherProcess, another_process
from tests.core.support import another_skein, answered, ask, follow, graph_settings, status_of, wait_until

KEPT_SECONDS = 0.5


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


class Other:
    """Another process that runs messages of a person."""

    def __init__(self, settings: Settings, folder: Path, viewer: Viewer, *texts: str, **changes: object) -> None:
        told = {
            "folder": folder,
            "database_url": settings.app_database_url,
            "demo_tokens_per_second": 50,
            **changes,
        }
        self.process = AnotherProcess(run_messages, told | changes, viewer.user_id, list(texts))
        self.started = [self.process.hear() for _ in texts]
        self.tokens: list[dict[str, Any]] = []

    def thread(self, number: int = 0) -> ThreadId:
        return ThreadId(self.started[number]["thread_id"])

    def hear(self, count: int) -> None:
        self.tokens += [self.process.hear() for _ in range(count)]

    def kill(self) -> float:
        """Kill it with all that it does; gives when, and hears what it had still said."""
        killed = time.time()
        self.process.kill()
        self.tokens += self.process.hear_rest()
        return killed


@contextmanager
def other_process(
    settings: Settings, folder: Path, viewer: Viewer, *texts: str, **changes: object
) -> Iterator[Other]:
    other = Other(settings, folder, viewer, *texts, **changes)
    try:
        yield other
    finally:
        other.process.close()


@pytest.fixture
def alice(settings: Settings) -> Viewer:
    with another_skein(settings) as skein:
        return make_person(skein, "alice")


def statuses(skein: Skein) -> set[str]:
    with skein.database.read() as db:
        return set(db.exec(select(Thread.status)))


def integrity(settings: Settings) -> list[str]:
    if not settings.app_database_url.startswith("sqlite"):
        return []
    checked = []
    for path in (settings.checkpoints_path.with_name("skein.db"), settings.checkpoints_path):
        with closing(sqlite3.connect(path)) as connection:
            checked.append(connection.execute("PRAGMA integrity_check").fetchone()[0])
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    return checked


def said_in_call(skein: Skein, thread_id: ThreadId) -> tuple[str, str | None, str]:
    """How the one call of a thread ended, where its usage is from, and what the log says it said."""
    assert skein.call_log.flush()
    with skein.database.read() as db:
        call = db.exec(select(LlmCall).where(LlmCall.thread_id == thread_id)).one()
        body = db.get_one(LlmCallBody, call.call_id)
    return call.status, call.usage_source, json.loads(body.response or "[]")[0]["content"]


def test_what_was_said_is_handed_over_with_time_to_commit_it_within_half_a_second() -> None:
    for flush_seconds in (0.01, Settings.model_fields["flush_seconds"].default, 0.35, 0.4):
        assert flush_seconds + scheduler.flush_within(flush_seconds) <= KEPT_SECONDS - 0.1 + 1e-9
    assert scheduler._BEGIN_WITHIN <= 0.02


class TestKilledWhileItSpoke:
    def test_what_was_said_is_kept_and_can_be_gone_on_with(
        self, settings: Settings, tmp_path: Path, alice: Viewer
    ) -> None:
        settings = settings.model_copy(update={"lease_seconds": 60.0})
        with other_process(settings, tmp_path, alice, "write 60 tokens", lease_seconds=60) as other:
            other.hear(45)
            killed = other.kill()
            thread_id = other.thread()
        said = "".join(token["text"] for token in other.tokens)
        kept = "".join(token["text"] for token in other.tokens if token["at"] < killed - KEPT_SECONDS)
        assert len(kept) > 30
        with another_skein(settings) as skein:
            # Its lease still holds: that its process is gone is known by its lock.
            assert statuses(skein) == {"lost"}
            lost = answered(skein, alice, thread_id)
            assert lost.answer.startswith(kept)
            assert said.startswith(lost.answer)
            events = follow(skein, alice, thread_id)
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
            assert "".join(event.payload for event in events if event.kind == "token") == lost.answer
            assert (events[-1].kind, events[-1].payload["status"]) == ("end", "lost")
            assert said_in_call(skein, thread_id) == ("lost", "estimated", lost.answer)
            retried = answered(skein, alice, retry(skein.engine, alice, thread_id).thread_id)
            assert (retried.status, retried.answer) == ("done", " ".join(f"w{n}" for n in range(1, 61)))
            under = answered(skein, alice, ask(skein, alice, "what did I say first?", under=lost).thread_id)
            assert (under.status, "write 60 tokens" in under.answer) == ("done", True)
        assert set(integrity(settings)) <= {"ok"}


class TestKilledWhileSomeWaited:
    def test_the_next_process_runs_them(self, settings: Settings, tmp_path: Path, alice: Viewer) -> None:
        texts = ("write 2000 tokens", "write 3 tokens", "write 4 tokens")
        with other_process(settings, tmp_path, alice, *texts, max_runs=1) as other:
            other.hear(1)
            other.kill()
            lost, *waited = (other.thread(number) for number in range(3))
        with another_skein(settings) as skein:
            assert status_of(skein, alice, lost) == "lost"
            assert [answered(skein, alice, one).answer for one in waited] == ["w1 w2 w3", "w1 w2 w3 w4"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
class TestBegunUnseen:
    def test_a_thread_that_is_taken_over_begins_from_its_start(self, settings: Settings, alice: Viewer) -> None:
        """Its process was killed after the first checkpoint, before it was written down that it runs."""
        with another_skein(settings) as first:
            root = answered(first, alice, ask(first, alice, "root", agent="echo").thread_id)
            new = NewMessage(
                "go on",
                conversation_id=root.conversation_id,
                parent_message_id=root.message_id,
                agent_id="echo",
            )
            over = utc_now() - timedelta(seconds=1)
            added = first.database.write(lambda db: add_message(alice, db, new, worker="gone", lease_until=over))
            graph = first.agents.compiled("echo", first.saver)
            at: Any = {"configurable": {"thread_id": added.thread_id}}
            first._loop.run(graph.aupdate_state(at, {"notes": ["unseen"]}))
        with another_skein(settings) as second:
            turn = answered(second, alice, added.thread_id)
            state = second.engine.get_state(alice, added.thread_id).values
        assert (turn.status, turn.error_message, state.get("notes", [])) == ("done", None, [])


class TestTwoProcesses:
    def test_one_takes_over_from_the_other_while_it_runs(
        self, settings: Settings, tmp_path: Path, alice: Viewer
    ) -> None:
        quick = graph_settings(tmp_path, settings.app_database_url, lease_seconds=0.8)
        with another_skein(quick) as skein, other_process(quick, tmp_path, alice, "write 2000 tokens") as other:
            other.hear(1)
            # Its first words may be heard before it is written down that it runs.
            wait_until(lambda: status_of(skein, alice, other.thread()) == "running")
            other.kill()
            assert answered(skein, alice, other.thread()).status == "lost"

    def test_on_another_machine_the_lease_decides(self, settings: Settings, tmp_path: Path, alice: Viewer) -> None:
        """A worker whose lock cannot be seen is dead when its lease has run out, and not before."""
        with other_process(settings, tmp_path, alice, "write 2000 tokens", lease_seconds=5) as other:
            other.hear(20)
            other.kill()
        elsewhere = graph_settings(tmp_path / "elsewhere", settings.app_database_url, lease_seconds=0.4)
        with another_skein(elsewhere) as skein:
            assert status_of(skein, alice, other.thread()) == "running"
            assert answered(skein, alice, other.thread()).status == "lost"

    def test_one_reads_what_the_other_says_and_stops_it(
        self, settings: Settings, tmp_path: Path, alice: Viewer
    ) -> None:
        with (
            other_process(settings, tmp_path, alice, "write 2000 tokens") as other,
            another_skein(settings) as skein,
        ):
            other.hear(5)
            assert skein.engine.stop(alice, other.thread())
            turn = answered(skein, alice, other.thread())
        assert turn.status == "stopped"
        assert turn.answer.startswith("".join(token["text"] for token in other.tokens))


class TestAWorker:
    def test_is_alive_for_others_until_it_ends(self, tmp_path: Path) -> None:
        one, two = Worker(tmp_path), Worker(tmp_path)
        assert (one.find_dead(), two.find_dead()) == ([], [])
        one.close()
        assert two.find_dead() == []
        two.close()

    def test_that_was_killed_is_found_dead_until_it_is_forgotten(self, tmp_path: Path) -> None:
        with another_process(be_a_worker, tmp_path) as other:
            name = other.hear()
        worker = Worker(tmp_path)
        assert worker.find_dead() == [name]
        worker.forget(worker.find_dead())
        assert worker.find_dead() == []
        worker.close()
