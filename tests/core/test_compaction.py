"""Compaction of finished threads while somebody names a state of one: what was named is kept, or was refused."""

import threading
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text, update

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError, BusyError
from core.history.clearing import claim_states, release_states
from core.history.messages import NewMessage
from core.history.snapshots import create_snapshot, delete_snapshot
from core.history.turns import Turn
from core.ids import ThreadId
from core.records.compaction import Compacted, compact_threads
from core.runs import branching
from core.runs.execute import StateStep
from core.settings import Settings
from core.skein import Skein
from core.tables import Thread, utc_now
from tests.core.support import answered, ask, graph_settings, wait_until

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


@pytest.fixture
def done(opened: Skein, alice: Viewer) -> Turn:
    return answered(opened, alice, ask(opened, alice, "q", agent="showcase").thread_id)


@pytest.fixture
def middle(opened: Skein, alice: Viewer, done: Turn) -> StateStep:
    """A state in the middle of what was done, which nobody has named."""
    return next(step for step in opened.engine.read_states(alice, done.thread_id) if "talk" in step.next)


def compacting(skein: Skein, while_at_it: Callable[[], Any]) -> Compacted:
    """Compact everything; between reading what is needed and dropping the rest, something happens."""

    def compact(thread_id: str, keep: Collection[str]) -> int:
        while_at_it()
        return skein.housekeeper._compact_one(thread_id, keep)

    later = utc_now() + timedelta(hours=1)
    return compact_threads(skein.database, skein.housekeeper._count, compact, before=later)


def count_states(skein: Skein, thread_id: ThreadId) -> int:
    return skein.housekeeper._count([thread_id])[thread_id]


class TestWhileAThreadIsCompacted:
    def test_no_snapshot_is_made_of_it(self, opened: Skein, alice: Viewer, done: Turn, middle: StateStep) -> None:
        def name() -> None:
            with pytest.raises(BusyError, match="try again in a moment"):
                branching.snapshot(opened.engine, alice, done.thread_id, "precious", middle.checkpoint_id)

        assert compacting(opened, name).threads == 1
        newest = branching.snapshot(opened.engine, alice, done.thread_id, "precious")
        assert opened.engine.get_state(alice, done.thread_id, newest.checkpoint_id).values["messages"]

    def test_nothing_is_started_from_it(self, opened: Skein, alice: Viewer, done: Turn, middle: StateStep) -> None:
        def fork() -> None:
            with pytest.raises(BusyError, match="try again in a moment"):
                branching.fork(opened.engine, alice, done.thread_id, middle.checkpoint_id)

        assert compacting(opened, fork).threads == 1
        assert answered(opened, alice, ask(opened, alice, "more", under=done).thread_id).status == "done"

    def test_what_was_said_next_goes_on(self, opened: Skein, alice: Viewer, done: Turn) -> None:
        more: list[Turn] = []
        compacting(opened, lambda: more.append(ask(opened, alice, "more", under=done, agent="echo")))
        assert answered(opened, alice, more[0].thread_id).status == "done"

    def test_another_process_leaves_it_alone(self, opened: Skein, done: Turn) -> None:
        seen: list[Compacted] = []
        first = compacting(opened, lambda: seen.append(opened.housekeeper.compact()))
        assert (first.threads, seen) == (1, [Compacted()])


class TestWhatWasNamedBefore:
    def test_is_kept(self, opened: Skein, alice: Viewer, done: Turn, middle: StateStep) -> None:
        branching.snapshot(opened.engine, alice, done.thread_id, "precious", middle.checkpoint_id)
        assert compacting(opened, lambda: None).threads == 1
        assert count_states(opened, done.thread_id) == 2
        forked = branching.fork(opened.engine, alice, done.thread_id, middle.checkpoint_id)
        assert answered(opened, alice, forked.thread_id).status == "done"

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_and_not_committed_yet_is_waited_for(
        self, opened: Skein, alice: Viewer, done: Turn, middle: StateStep, another: Database
    ) -> None:
        is_named = threading.Event()

        def name(db: Any) -> None:
            create_snapshot(alice, db, done.thread_id, middle.checkpoint_id, "precious")
            is_named.set()
            wait_until(lambda: _is_somebody_waiting(another))

        naming = opened.database.submit(name)
        assert is_named.wait(10)
        later = utc_now() + timedelta(hours=1)
        compact_threads(another, opened.housekeeper._count, opened.housekeeper._compact_one, before=later)
        naming.result(10)
        assert opened.engine.get_state(alice, done.thread_id, middle.checkpoint_id) == middle


class TestAClaim:
    def test_is_let_go_also_when_compacting_fails(
        self, opened: Skein, alice: Viewer, done: Turn, middle: StateStep
    ) -> None:
        def fail() -> None:
            raise OSError("no room on the disk")

        assert compacting(opened, fail) == Compacted()
        assert branching.snapshot(opened.engine, alice, done.thread_id, "precious", middle.checkpoint_id)

    def test_of_a_dead_process_runs_out(self, opened: Skein, alice: Viewer, done: Turn) -> None:
        claim = lambda db: claim_states(db, done.thread_id)  # noqa: E731
        assert [opened.database.write(claim) for _ in range(2)] == [True, False]
        thread = table_of(Thread)
        over = update(thread).where(thread.c.thread_id == done.thread_id).values(lease_until=utc_now())
        opened.database.write(lambda db: db.connection().execute(over))
        assert branching.snapshot(opened.engine, alice, done.thread_id, "mine").thread_id == done.thread_id
        assert opened.database.write(claim)

    def test_is_made_of_what_is_done_only(self, opened: Skein, alice: Viewer) -> None:
        waits = ask(opened, alice, "never-claimed", agent="held")
        assert not opened.database.write(lambda db: claim_states(db, waits.thread_id))
        opened.database.write(lambda db: release_states(db, waits.thread_id))
        opened.engine.stop(alice, waits.thread_id)
        assert answered(opened, alice, waits.thread_id).status == "stopped"


class TestAState:
    def test_cannot_be_named_without_its_thread(self, opened: Skein, alice: Viewer, middle: StateStep) -> None:
        new = NewMessage("from nowhere", agent_id="echo", source_checkpoint_id=middle.checkpoint_id)
        with pytest.raises(BadInputError, match="needs the thread that it is of"):
            opened.engine.start(alice, new)

    def test_whose_snapshot_is_deleted_goes_with_the_others(
        self, opened: Skein, alice: Viewer, done: Turn, middle: StateStep
    ) -> None:
        taken = branching.snapshot(opened.engine, alice, done.thread_id, "precious", middle.checkpoint_id)
        opened.database.write(lambda db: delete_snapshot(alice, db, taken.snapshot_id))
        compacting(opened, lambda: None)
        assert count_states(opened, done.thread_id) == 1


@pytest.fixture
def another(settings: Settings) -> Iterator[Database]:
    """The database as another process has it open."""
    database = Database(settings.app_database_url)
    yield database
    database.close()


def _is_somebody_waiting(database: Database) -> bool:
    waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    with database.read() as db:
        return bool(db.connection().execute(waiting).scalar_one())
