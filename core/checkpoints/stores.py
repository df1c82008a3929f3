"""LangGraph's store: what graphs remember across threads, kept as long as the database.

On SQLite it is a file of its own, on PostgreSQL it stands in the schema of LangGraph's tables. Graphs call it from
plain functions and from coroutines alike, as they would LangGraph's store in memory. Invariant: what is put is
committed when the call returns, and seen by every thread, run and process.
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
from langgraph.store.base import BaseStore, Op, Result
from langgraph.store.postgres import PostgresStore
from langgraph.store.sqlite import SqliteStore
from numpy.typing import NDArray
from psycopg import Connection, sql
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool
from sqlalchemy.engine import make_url

from core.checkpoints.postgres_saver import RECONNECT_SECONDS, SCHEMA
from core.database import Database
from core.errors import BadInputError
from core.outages import MEND, first_line, in_sentences, is_damage
from core.outside import read_failure

_BUSY_SECONDS = 10.0
_CONNECTIONS = 4
_SET_UP_LOCK = 7_334_002
_SCHEMA = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA))
Pool = ConnectionPool[Connection[DictRow]]


def open_store(
    stack: ExitStack, database: Database, path: Path, index: Mapping[str, Any] | None = None
) -> BaseStore:
    """The store of this database, which ``stack`` closes; ``path`` is its file, where the database is SQLite.

    Its tables are made when it is first used. ``index`` is LangGraph's configuration for search by meaning;
    BadInputError says why it cannot be had.
    """
    given: Any = index
    try:
        return _open_file(stack, path, given) if database.is_sqlite else _open_schema(stack, database, given)
    except sqlite3.DatabaseError as error:
        what = MEND if is_damage(error) else "check its folder, or move it away."
        raise BadInputError(f"The store {path.name} cannot be opened ({first_line(error)}); {what}") from error
    except (ValueError, TypeError, KeyError, ImportError) as error:
        raise BadInputError(
            f"The store cannot be opened ({type(error).__name__}: {read_failure(error, 200)}); check its index."
        ) from error


class FileStore(SqliteStore):
    """LangGraph's store in a SQLite file, for coroutines too."""

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry the operations out; OutageError or DamageError say what is the matter with the file."""
        with in_sentences():
            return super().batch(ops)

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry the operations out on another thread."""
        return await asyncio.to_thread(self.batch, list(ops))


class _Connection(sqlite3.Connection):
    """A connection that brings the distances of vectors with it: not every Python can load SQLite's extensions."""

    def enable_load_extension(self, enabled: bool, /) -> None:
        """Do nothing: nothing is loaded."""

    def load_extension(self, name: str, /, *, entrypoint: str | None = None) -> None:
        """Offer the functions of the extension that LangGraph asks for."""
        for function, measure in _DISTANCES.items():
            self.create_function(function, 2, measure, deterministic=True)


class SchemaStore(PostgresStore):
    """LangGraph's store in the schema of its other tables on PostgreSQL."""

    def __init__(self, pool: Pool, *, index: Any) -> None:
        super().__init__(pool, index=index)
        self._pool = pool
        self._index = index
        self._set_up = threading.Lock()
        self._is_set_up = False

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry the operations out, once the tables are there."""
        with self._set_up:
            if not self._is_set_up:
                self._make_tables()
                self._is_set_up = True
        return super().batch(ops)

    def _make_tables(self) -> None:
        with self._pool.connection() as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", (_SET_UP_LOCK,))
            try:
                connection.execute(_SCHEMA)
                PostgresStore(connection, index=self._index).setup()
            finally:
                connection.execute("SELECT pg_advisory_unlock(%s)", (_SET_UP_LOCK,))


def _open_file(stack: ExitStack, path: Path, index: Any) -> BaseStore:
    connection = sqlite3.connect(
        path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, factory=_Connection
    )
    stack.enter_context(closing(connection))
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    return FileStore(connection, index=index)


def _open_schema(stack: ExitStack, database: Database, index: Any) -> BaseStore:
    conninfo = make_url(database.url).set(drivername="postgresql").render_as_string(hide_password=False)
    kwargs = {
        "autocommit": True,
        "prepare_threshold": 0,
        "row_factory": dict_row,
        "options": f"-c search_path={SCHEMA},public",
    }
    pool: Pool = ConnectionPool(
        conninfo,
        kwargs=kwargs,
        min_size=0,
        max_size=_CONNECTIONS,
        reconnect_timeout=RECONNECT_SECONDS,
        check=ConnectionPool.check_connection,
        open=True,
    )
    stack.callback(pool.close)
    return SchemaStore(pool, index=index)


def _numbers(blob: bytes) -> NDArray[np.float32]:
    return np.frombuffer(blob, dtype="<f4")


def _cosine(left: bytes, right: bytes) -> float:
    a, b = _numbers(left), _numbers(right)
    size = float(np.linalg.norm(a) * np.linalg.norm(b))
    return 1.0 - float(a @ b) / size if size else 1.0


def _straight(left: bytes, right: bytes) -> float:
    return float(np.linalg.norm(_numbers(left) - _numbers(right)))


def _by_blocks(left: bytes, right: bytes) -> float:
    return float(np.abs(_numbers(left) - _numbers(right)).sum())


_DISTANCES: dict[str, Callable[[bytes, bytes], float]] = {
    "vec_distance_cosine": _cosine,
    "vec_distance_L2": _straight,
    "vec_distance_L1": _by_blocks,
}
