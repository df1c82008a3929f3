"""The app's database: many readers, one writer, on SQLite or PostgreSQL. The only place that knows which.

Writes are jobs: functions of a database session, run by one writer thread that commits what has gathered
together. What nobody waits for says how long it may wait, and goes along with what somebody does.
Invariant: a job either happens whole or not at all, whatever its neighbours do; when its result is in
your hands, it is committed. Because a job may be run again (a neighbour failed, a fault passed), it must do
nothing but use its session.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from copy import copy
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

import stamina
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from psycopg import IsolationLevel
from psycopg.types.string import StrDumperUnknown
from sqlalchemy import Connection, Engine, Table, create_engine, event, inspect, text
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlmodel import Session, SQLModel

from core.errors import BusyError, SettingsError
from core.jobs import JobQueue, Queued
from core.outages import MEND, CommitUnknownError, first_line, in_sentences, is_damage, is_passing
from core.prepared import Prepared, run_plain
from core.tables import clean_text, to_json

T = TypeVar("T")
Job = Callable[[Session], T]

BUSY_SECONDS = 5.0
_MOST_PARAMETERS = 10_000
_MIGRATION_LOCK = 4_781_220_251


class _Lent:
    """A connection, for one statement."""

    def __init__(self, connection: Connection) -> None:
        self.info: dict[Any, Any] = {}
        self._connection = connection

    def connection(self) -> Connection:
        return self._connection


class Database:
    """Readers and the writer of one database; close it when done."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        engine = _sqlite_engine if self.is_sqlite else _postgres_engine
        self._reading, self._writing = engine(url, writer=False), engine(url, writer=True)
        self._jobs: JobQueue[Job[Any]] = JobQueue()
        self._held: Connection | None = None
        self._within = 0.0
        self._writer = threading.Thread(target=self._write_forever, name="skein-writer", daemon=True)
        self._writer.start()

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session for reading one consistent view; it never waits for a writer. Errors are those of ``write``."""
        with in_sentences(), Session(self._reading, expire_on_commit=False) as session:
            yield session

    def find(self, statement: Prepared, given: Mapping[str, Any]) -> tuple[Any, ...] | None:
        """The first row of a single statement; for who asks nothing else, at a fifth of the cost of ``read``."""
        with in_sentences(), self._reading.connect() as connection:
            return statement.first(_Lent(connection), given)

    def write(self, job: Job[T]) -> T:
        """Run the job in a transaction and return its result once that is committed.

        OutageError says what is the matter where it is away, full or busy; DamageError that it is damaged.
        """
        with in_sentences():
            return self.submit(job, within=self._within).result()

    def patient(self, seconds: float) -> "Database":
        """The same database, where whoever writes waits up to so long for others to be committed with."""
        other = copy(self)
        other._within = seconds
        return other

    def submit(self, job: Job[T], *, within: float = 0.0) -> "Future[T]":
        """Queue the job for the writer; the future is done when its transaction is committed, or failed.

        ``within`` is for what nobody waits for: so many seconds it may wait for others to be committed with. A kill
        before then finds it not done. Jobs happen in the order they were given, whatever they say of this.
        """
        queued = self._jobs.put(job, within=within)
        if queued is None:
            raise BusyError("Skein is shutting down; nothing more can be saved. Please try again in a moment.")
        return queued.result

    def migrate(self) -> None:
        """Bring the schema to the newest version; a second time, or process at once, is a no-op."""
        try:
            self._upgrade()
        except DBAPIError as error:
            what = "please check SKEIN_DATABASE_URL and SKEIN_DATA_DIR."
            raise SettingsError(
                f"The database {self._shown_url} cannot be opened ({first_line(error)}); "
                f"{MEND if is_damage(error) else what}"
            ) from None
        except CommandError as error:
            raise SettingsError(
                f"The database {self._shown_url} is of another version of Skein ({error}); please update Skein."
            ) from None

    def _upgrade(self) -> None:
        config = _migrations()
        for attempt in _attempts():
            with attempt, self._writing.begin() as connection:
                if not self.is_sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
                if MigrationContext.configure(connection).get_current_revision() != _newest_version():
                    config.attributes["connection"] = connection
                    command.upgrade(config, "head")

    @property
    def _shown_url(self) -> str:
        return make_url(self.url).render_as_string(hide_password=True)

    def close(self) -> None:
        """Finish what is queued, then let go of all connections."""
        self._jobs.close()
        self._writer.join()
        self._writing.dispose()
        self._reading.dispose()

    def _write_forever(self) -> None:
        while batch := self._jobs.take():
            self._commit(batch)
        self._let_go()

    def _commit(self, batch: list[Queued[Job[Any]]]) -> None:
        """Commit the jobs together; when one of them fails, or the commit, each has a transaction of its own."""
        try:
            values = self._attempt(batch)
        except Exception as error:  # noqa: BLE001 - whatever went wrong belongs to whoever waits for the job
            if len(batch) == 1 or isinstance(error, CommitUnknownError):
                for queued in batch:
                    _settle(queued, error=error)
                return
            for queued in batch:
                self._commit([queued])
            return
        for queued, value in zip(batch, values, strict=True):
            _settle(queued, value)

    def _attempt(self, batch: list[Queued[Job[Any]]]) -> list[Any]:
        """Run them in one transaction, and again where a fault is likely to pass."""
        jobs = [queued.job for queued in batch]
        try:
            return self._run(jobs)
        except Exception as error:
            if not is_passing(error):
                raise
        for attempt in _attempts():
            with attempt:
                values = self._run(jobs)
        return values

    def _run(self, jobs: Sequence[Job[Any]]) -> list[Any]:
        if self._held is None:
            self._held = self._writing.connect()
        try:
            self._held.begin()
            values = _run_jobs(jobs, self._held)
            _commit_once(self._held)
        except BaseException:
            self._let_go()
            raise
        return values

    def _let_go(self) -> None:
        """Give the writer's connection back, with whatever it has not committed undone."""
        if self._held is not None:
            held, self._held = self._held, None
            held.close()


def _migrations() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


@lru_cache(maxsize=1)
def _newest_version() -> str | None:
    """The schema's newest version; to ask Alembic for it takes longer than all else of opening a database."""
    return ScriptDirectory.from_config(_migrations()).get_current_head()


def _attempts() -> Iterable[stamina.Attempt]:
    return stamina.retry_context(
        on=is_passing, attempts=5, timeout=BUSY_SECONDS * 3, wait_initial=0.02, wait_max=0.5
    )


def _run_jobs(jobs: Iterable[Job[Any]], connection: Connection) -> list[Any]:
    """What the jobs give, one after the other; each finds nothing in its session of the one before."""
    values = []
    with Session(connection, expire_on_commit=False, join_transaction_mode="rollback_only") as session:
        for job in jobs:
            values.append(job(session))
            session.flush()
            session.expunge_all()
    return values


def _settle(queued: Queued[Any], value: Any = None, *, error: Exception | None = None) -> None:
    if not queued.result.set_running_or_notify_cancel():
        return
    if error is not None:
        queued.result.set_exception(error)
    else:
        queued.result.set_result(value)


def _commit_once(connection: Connection) -> None:
    try:
        connection.commit()
    except SQLAlchemyError as error:
        # SQLite keeps a transaction open whose commit failed; it must not be left to the next job.
        connection.invalidate(error)
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise CommitUnknownError(
                "The database went away while this was being saved; please reload to see whether it was kept."
            ) from error
        raise


class _CleanText(StrDumperUnknown):
    """Text without what PostgreSQL cannot hold: who asks for an id with a NUL finds none, instead of an error."""

    def dump(self, obj: str) -> bytes:
        return clean_text(obj).encode()


def _postgres_engine(url: str, *, writer: bool) -> Engine:
    """An engine whose transactions, but the writer's, read all as of one moment, and cannot write."""
    # The writer keeps one, another is for migrating.
    size = {"pool_size": 1, "max_overflow": 1} if writer else {"pool_size": 10, "max_overflow": 20}
    engine = create_engine(
        url, pool_pre_ping=True, pool_timeout=BUSY_SECONDS, hide_parameters=True, json_serializer=to_json, **size
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.adapters.register_dumper(str, _CleanText)
        if not writer:  # the driver says so with BEGIN, so that it costs nothing
            connection.isolation_level, connection.read_only = IsolationLevel.REPEATABLE_READ, True

    return engine


def _sqlite_engine(url: str, *, writer: bool) -> Engine:
    """An engine that begins transactions itself: ``IMMEDIATE`` for the writer, read-only for all others."""
    path = make_url(url).database
    if not path or path == ":memory:":
        raise SettingsError("SKEIN_DATABASE_URL must name a file: sqlite:///path/to/skein.db.")
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"The folder of the database {path} cannot be made ({error.strerror}); please check SKEIN_DATA_DIR."
        ) from None
    # The writer keeps one, another is for migrating.
    size = {"pool_size": 1, "max_overflow": 1} if writer else {"pool_size": 20, "max_overflow": 200}
    opening = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=opening, hide_parameters=True, json_serializer=to_json, **size)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None
        pragmas = ["auto_vacuum=INCREMENTAL", "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON"]
        # What a statement needs to be taken back is kept in memory: else much of it is written to a file each time.
        for pragma in [*pragmas, "temp_store=MEMORY"] if writer else ["query_only=ON"]:
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        run_plain(connection, "BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine


def in_parts(items: Collection[T]) -> Iterator[list[T]]:
    """The items in lists that are short enough for an ``IN``: databases take only so many parameters at once."""
    listed = list(items)
    return (listed[start : start + _MOST_PARAMETERS] for start in range(0, len(listed), _MOST_PARAMETERS))


def upsert(db: Session, table: type[SQLModel], rows: list[dict[str, Any]]) -> None:
    """Insert the rows; where one with the same primary key is there, put the new one in its place."""
    if rows:
        upsert_into(table, tuple(rows[0])).run_many(db, rows)


@lru_cache(maxsize=32)
def upsert_into(table: type[SQLModel], columns: tuple[str, ...]) -> Prepared:
    """The statement that inserts a row with these columns, or puts it in the place of the one with the same key."""
    keys = [column.name for column in table_of(table).primary_key]

    def build(dialect: str) -> Any:
        insert = sqlite_insert if dialect == "sqlite" else postgresql_insert
        statement = insert(table_of(table))
        changes = {name: statement.excluded[name] for name in columns if name not in keys}
        return statement.on_conflict_do_update(index_elements=keys, set_=changes)

    return Prepared(build, columns)


def insert_rows(db: Session, table: type[SQLModel], rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that name every column, handing them to the driver at once."""
    insert_into(table).run_many(db, rows)


@lru_cache(maxsize=64)
def insert_into(table: type[SQLModel], columns: tuple[str, ...] | None = None) -> Prepared:
    """The statement that inserts a row with these columns; None for all."""
    found = table_of(table)
    return Prepared(found.insert(), columns or tuple(column.name for column in found.columns))


def table_of(model: type[SQLModel]) -> Table:
    """The plain table behind a model: for statements that need no objects, at a third of the cost."""
    return cast(Table, inspect(model).local_table)
