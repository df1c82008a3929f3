"""The database: a job happens whole or not at all, alone; a result in hand is committed; set-up is safe."""

import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlmodel import Session as Db
from sqlmodel import select

from core.access.viewer import Viewer
from core.database import Database, in_parts
from core.errors import BadInputError, BusyError, NotFoundError, SettingsError, SkeinError
from core.history.activity_list import ActivityFilter, list_activity
from core.history.annotations import find_marks
from core.history.browse.filters import SessionFilter
from core.history.browse.listing import list_sessions
from core.history.conversations import get_conversation
from core.history.search import matching
from core.ids import ConversationId, RetentionId, SessionId, new_login_id, new_user_id
from core.records import bulk
from core.records.retention import get_rule
from core.tables import Login, Table, User, is_modelled
from tests.core.mains import migrate
from tests.core.processes import run_at_once


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "skein.db"


@pytest.fixture
def in_sqlite(path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{path}")
    opened.migrate()
    yield opened
    opened.close()


def add(name: str) -> Callable[[Db], str]:
    def job(db: Db) -> str:
        db.add(User(user_id=new_user_id(), name=name))
        return name

    return job


def names(database: Database) -> list[str]:
    with database.read() as db:
        return sorted(db.exec(select(User.name)))


def together(database: Database, *jobs: Callable[[Db], Any]) -> list[Any]:
    """Let the writer find all the jobs in one batch; give their results or errors."""
    gate = threading.Event()
    database.submit(lambda _: gate.wait(10))
    futures: list[Future[Any]] = [database.submit(job) for job in jobs]
    gate.set()
    return [future.exception(10) or future.result() for future in futures]


class TestAJob:
    def test_fails_alone_in_its_batch(self, database: Database) -> None:
        def fail(db: Db) -> None:
            add("half-made")(db)
            db.flush()
            raise ValueError("this was meant to break")

        outcomes = together(database, add("a"), fail, add("a"), add("b"))
        assert [outcomes[0], outcomes[3]] == ["a", "b"]
        assert [type(error) for error in outcomes[1:3]] == [ValueError, IntegrityError]
        assert names(database) == ["a", "b"]

    def test_whose_result_is_in_hand_is_committed(self, database: Database) -> None:
        elsewhere = create_engine(database.url)
        with closing(elsewhere.connect()) as connection:
            for number in range(20):
                database.write(add(f"n{number}"))
                assert connection.scalar(text('SELECT count(*) FROM "user"')) == number + 1
                connection.rollback()
        elsewhere.dispose()

    def test_sees_what_the_one_before_it_wrote(self, database: Database) -> None:
        assert together(database, add("a"), lambda db: list(db.exec(select(User.name)))) == ["a", ["a"]]

    def test_that_can_wait_is_committed_with_the_next_that_cannot(self, database: Database) -> None:
        commits: list[int] = []
        event.listen(database._writing, "commit", lambda _: commits.append(1))
        waiting = [database.submit(add(f"n{number}"), within=1_000) for number in range(3)]
        assert database.write(lambda db: list(db.exec(select(User.name).order_by(User.name)))) == ["n0", "n1", "n2"]
        assert [future.result(0) for future in waiting] == ["n0", "n1", "n2"]
        assert len(commits) == 1

    def test_that_can_wait_is_written_at_the_end_at_the_latest(self, in_sqlite: Database, path: Path) -> None:
        future = in_sqlite.submit(add("late"), within=1_000)
        in_sqlite.close()
        assert future.result(0) == "late"

    def test_finds_nothing_in_its_session_of_the_one_before(self, database: Database) -> None:
        def change(db: Db) -> None:
            db.exec(select(User)).one().name = "changed"

        def read(db: Db) -> str:
            assert not list(db)
            return db.exec(select(User)).one().name

        assert together(database, add("a"), change, read)[2] == "changed"

    def test_may_be_given_up_by_whoever_waited_for_it(self, database: Database) -> None:
        gate = threading.Event()
        database.submit(lambda _: gate.wait(10))
        given_up = [database.submit(add(f"n{number}")) for number in range(50)]
        cancelling = threading.Thread(target=lambda: [future.cancel() for future in given_up])
        cancelling.start()
        gate.set()
        cancelling.join()
        assert database.write(add("next")) == "next"

    def test_given_after_the_end_is_refused_and_none_is_left_waiting(self, path: Path) -> None:
        database = Database(f"sqlite:///{path}")
        database.migrate()
        futures: list[Future[str]] = []
        refused = threading.Event()

        def write_until_refused() -> None:
            try:
                while True:
                    futures.append(database.submit(add(f"n{len(futures)}")))
            except BusyError:
                refused.set()

        writing = threading.Thread(target=write_until_refused)
        writing.start()
        while len(futures) < 20:
            time.sleep(0.001)
        database.close()
        writing.join(10)
        assert refused.is_set()
        assert [future.result(0) for future in futures] == [f"n{number}" for number in range(len(futures))]

    @pytest.mark.parametrize("name", ["nul\0nul", "lone\ud800surrogate", "中文 👍 עברית"])
    def test_with_characters_that_no_database_holds_loses_nothing_else(self, database: Database, name: str) -> None:
        database.write(add(name))
        assert names(database) == [name.replace("\0", "").replace("\ud800", "")]


class TestAPassingFault:
    def test_of_a_locked_file_is_waited_out(self, in_sqlite: Database, path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            future = in_sqlite.submit(add("patient"))
            time.sleep(0.5)
            assert not future.done()
            other.execute("ROLLBACK")
        assert future.result(10) == "patient"

    def test_of_a_locked_file_is_tried_again_beyond_the_drivers_patience(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.database.BUSY_SECONDS", 0.02)
        database = Database(f"sqlite:///{path}")
        database.migrate()
        monkeypatch.setattr("core.database.BUSY_SECONDS", 5.0)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            future = database.submit(add("patient"))
            time.sleep(0.1)
            other.execute("ROLLBACK")
        assert future.result(10) == "patient"
        database.close()

    def test_of_a_full_disk_undoes_the_whole_batch_or_nothing(self, in_sqlite: Database) -> None:
        """SQLite rolls the whole transaction back by itself; no neighbour may be told that it was saved."""
        in_sqlite.write(lambda db: db.execute(text("PRAGMA max_page_count = 60")).all())
        outcomes = together(in_sqlite, add("before"), add("x" * 2_000_000), add("behind"))
        assert [outcome for outcome in outcomes if isinstance(outcome, str)] == ["before", "behind"]
        assert "full" in str(outcomes[1])
        assert names(in_sqlite) == ["before", "behind"]

    def test_while_committing_does_not_run_the_work_twice(self, database: Database) -> None:
        """A connection that breaks in the commit leaves it open whether the work is there."""
        runs: list[str] = []

        def job(name: str) -> Callable[[Db], None]:
            return lambda db: runs.append(add(name)(db))

        broken: list[Connection] = []

        def break_once(connection: Connection) -> None:
            if "a" in runs and not broken:
                broken.append(connection)
                connection.connection.dbapi_connection.close()

        event.listen(database._writing, "commit", break_once)
        outcomes = together(database, job("a"), job("b"))
        assert sorted(runs) == ["a", "b"]
        assert all(isinstance(outcome, SkeinError) and "went away" in str(outcome) for outcome in outcomes)
        assert database.write(add("c")) == "c"

    def test_of_a_commit_that_fails_does_not_reach_the_next_job(self, in_sqlite: Database) -> None:
        def orphan(db: Db) -> None:
            db.execute(text("PRAGMA defer_foreign_keys = ON"))
            db.add(Login(login_id=new_login_id(), user_id="nobody"))

        assert [type(one) for one in together(in_sqlite, add("a"), orphan, add("b"))] == [str, IntegrityError, str]
        assert in_sqlite.write(add("c")) == "c"
        assert names(in_sqlite) == ["a", "b", "c"]

    def test_of_a_killed_connection_is_overcome(self, database: Database) -> None:
        if database.is_sqlite:
            pytest.skip("a SQLite file has no server that could end a connection")
        database.write(add("before"))
        end = text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")
        elsewhere = create_engine(database.url)
        with elsewhere.begin() as connection:
            connection.execute(end)
        elsewhere.dispose()
        assert database.write(add("after")) == "after"
        assert names(database) == ["after", "before"]


class TestMigration:
    @pytest.mark.filterwarnings("ignore:.*expression-based index")
    def test_makes_exactly_the_tables(self, database: Database) -> None:
        with database._writing.connect() as connection:
            context = MigrationContext.configure(
                connection,
                opts={"compare_type": True, "compare_server_default": True, "include_name": is_modelled},
            )
            assert compare_metadata(context, Table.metadata) == []

    def test_a_second_time_changes_nothing(self, database: Database) -> None:
        database.write(add("kept"))
        database.migrate()
        assert names(database) == ["kept"]

    def test_by_several_processes_at_the_same_moment(self, empty_database_url: str) -> None:
        run_at_once(migrate, *[(empty_database_url,)] * 3)
        database = Database(empty_database_url)
        assert names(database) == []
        database.close()

    def test_puts_ids_in_the_order_of_their_bytes(self, database: Database) -> None:
        for name in ("b", "A", "a", "_"):
            database.write(lambda db, name=name: db.add(User(user_id=name, name=name)))
        with database.read() as db:
            assert list(db.exec(select(User.user_id).order_by(User.user_id))) == ["A", "_", "a", "b"]


class TestAnUnusableDatabase:
    def test_file_is_told_in_one_sentence(self, path: Path) -> None:
        path.write_bytes(b"a letter to my aunt, long enough to be no header" * 50)
        self.refused(f"sqlite:///{path}", r"cannot be opened \(file is not a database\)")

    def test_folder_is_told_in_one_sentence(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("not a folder")
        self.refused(f"sqlite:///{tmp_path / 'file' / 'skein.db'}", "check SKEIN_DATA_DIR")

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
    def test_name_is_told_in_one_sentence(self, url: str) -> None:
        self.refused(url, "must name a file")

    def test_server_is_told_without_its_password(self) -> None:
        url = "postgresql+psycopg://skein:hunter2@127.0.0.1:1/skein?connect_timeout=2"
        assert "hunter2" not in self.refused(url, "cannot be opened")

    def test_version_of_the_future_is_told_in_one_sentence(self, database: Database) -> None:
        database.write(lambda db: db.execute(text("UPDATE alembic_version SET version_num = '9999'")))
        with pytest.raises(SettingsError, match="another version of Skein"):
            database.migrate()

    def refused(self, url: str, sentence: str) -> str:
        with pytest.raises(SettingsError, match=sentence) as caught:
            self.open_and_migrate(url)
        assert not re.search(r"\n|Traceback", str(caught.value))
        return str(caught.value)

    def open_and_migrate(self, url: str) -> None:
        database = Database(url)
        try:
            database.migrate()
        finally:
            database.close()


class TestReading:
    def test_one_view_stays_as_it_was(self, database: Database) -> None:
        database.write(add("a"))
        with database.read() as db:
            assert len(db.exec(select(User)).all()) == 1
            database.write(add("b"))
            assert len(db.exec(select(User.name)).all()) == 1
        assert names(database) == ["a", "b"]

    def test_cannot_write(self, database: Database) -> None:
        with database.read() as db, pytest.raises(SQLAlchemyError, match=r"read-?only"):
            db.execute(text('DELETE FROM "user"'))
        assert database.write(add("a")) == "a"

    @pytest.mark.parametrize("key", ["nul\0nul", "\0"])
    def test_by_what_no_database_holds_finds_nothing(self, database: Database, key: str) -> None:
        boss = Viewer(new_user_id(), "boss", "admin")
        assert bulk.preview(boss, database, [SessionId(key)], "delete").sessions == 0
        with database.read() as db:
            assert find_marks(boss, db, [key]) == {}
            assert matching(boss, db, "word", session_ids=[key]) == []
            assert list_sessions(boss, db, SessionFilter(users=(key,), agents=(key,), tags=(key,))).rows == []
            assert list_activity(boss, db, ActivityFilter(session=key, users=(key,))).rows == []
            with pytest.raises(BadInputError):
                list_activity(boss, db, ActivityFilter(), after=key)
            for get, one in ((get_conversation, ConversationId(key)), (get_rule, RetentionId(key))):
                with pytest.raises(NotFoundError):
                    get(boss, db, one)

    def test_of_more_ids_than_a_statement_takes_is_done_in_parts(self) -> None:
        ids = [f"{number}" for number in range(70_000)]
        parts = list(in_parts(ids))
        assert ([one for part in parts for one in part], max(map(len, parts)) < 32_767) == (ids, True)
        assert list(in_parts([])) == []

    def test_does_not_wait_for_a_writer(self, in_sqlite: Database, path: Path) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert names(in_sqlite) == []
