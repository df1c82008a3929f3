"""A checkpoint saver for SQLite that commits in groups, in LangGraph's own tables and serialization.

One thread owns the one connection that writes: it takes all that has gathered in its queue, commits it as
one transaction, and then wakes all who wait for it at once. Reads that every run makes go over a second
connection, right on the loop; rare ones are LangGraph's own, over a third.

Invariant: who awaits a write is told its own outcome, after the commit; an error reaches only those it
concerns, and the writer lives on. What a full disk refuses is written when there is room again.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.checkpoint.sqlite.utils import load_pending_writes, pending_writes_sql

from core.checkpoints import compact
from core.checkpoints.fork import FORGET_ANSWERS, fork_in_sqlite
from core.checkpoints.kept import KeptSerializer, keep_metadata, keep_writes
from core.errors import BadInputError, BusyError
from core.outages import MEND, first_line, in_sentences, is_damage, repeated

_BUSY_SECONDS = 5.0
# So that one transaction stays short for the other processes that want to write.
_LARGEST_BATCH = 256

_CHECKPOINT = "thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata"
_WRITE = "thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value"
_PUT = f"INSERT OR REPLACE INTO checkpoints ({_CHECKPOINT}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_PUT_WRITE = f"INTO writes ({_WRITE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_GET = (
    "SELECT checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata FROM checkpoints "
    "WHERE thread_id = ? AND checkpoint_ns = ? "
)


class _Item(NamedTuple):
    """What one caller wants done in the transaction; what `work` returns is the answer to `told`."""

    work: Callable[[sqlite3.Connection], Any]
    told: asyncio.Future[Any]


_GREATEST = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?"
_Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]


class _Writer:
    """The thread that commits, and its queue; `submit` and `close` belong to the loop."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._queue: SimpleQueue[_Item | None] = SimpleQueue()
        self._ended: asyncio.Future[None] | None = None
        self._done = self._loop.create_future()
        Thread(target=self._run, name="checkpoint-writer", daemon=True).start()

    def submit(self, work: Callable[[sqlite3.Connection], Any]) -> asyncio.Future[Any]:
        """Do this in the next transaction; the answer comes after its commit."""
        if self._ended is not None:
            raise BusyError("The checkpoint store is closed; try again when Skein has started anew.")
        told: asyncio.Future[Any] = self._loop.create_future()
        self._queue.put(_Item(work, told))
        return told

    async def close(self) -> None:
        """Take nothing more, commit what is queued, and close the connection."""
        if self._ended is None:
            self._ended = self._done
            self._queue.put(None)
        await self._ended

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._gather()
            # A loop that is gone took with it all who waited.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_tell, self._commit(batch))
        self._connection.close()
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._done.set_result, None)

    def _gather(self) -> tuple[list[_Item], bool]:
        """All that waits, or the first that comes; and whether more may follow."""
        batch: list[_Item] = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            if len(batch) == _LARGEST_BATCH:
                return batch, True
            try:
                item = self._queue.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[_Item]) -> list[_Outcome]:
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return [(item.told, None, error) for item in batch]
        try:
            answers = [item.work(self._connection) for item in batch]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, it goes to who asked for it
            self._roll_back()
            if len(batch) == 1:
                return [(batch[0].told, None, error)]
            # Who is to blame shows when each is alone.
            return [outcome for item in batch for outcome in self._commit([item])]
        return [(item.told, answer, None) for item, answer in zip(batch, answers, strict=True)]

    def _roll_back(self) -> None:
        # A full disk makes SQLite roll back by itself.
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")


def _tell(outcomes: list[_Outcome]) -> None:
    for told, answer, error in outcomes:
        if told.done():
            continue
        if error is None:
            told.set_result(answer)
        else:
            told.set_exception(error)


class GroupCommitSaver(AsyncSqliteSaver):
    """LangGraph's AsyncSqliteSaver with group commit; open it with `open_sqlite_saver`."""

    def __init__(self, conn: aiosqlite.Connection, reader: sqlite3.Connection, writer: _Writer) -> None:
        super().__init__(conn, serde=KeptSerializer())
        self.is_setup = True
        self._reader = reader
        self._writer = writer

    async def _write(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        """Do it in the next transaction, or in a later one while the disk is full; it may be done twice."""

        async def write() -> Any:
            return await self._writer.submit(work)

        with in_sentences():
            return await repeated(write)

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - as LangGraph names it
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints of a thread, newest first, as LangGraph's own saver lists them."""
        with in_sentences():
            async for found in super().alist(config, filter=filter, before=before, limit=limit):
                yield found

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The addressed checkpoint with its pending writes, or the newest, or None."""
        # Right on the loop: a lookup by primary key takes less time than a hop to another thread and back.
        with in_sentences():
            return self._get_tuple(config)

    def _get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        at = config["configurable"]
        thread_id, ns, wanted = str(at["thread_id"]), at.get("checkpoint_ns", ""), get_checkpoint_id(config)
        if wanted:
            rows = self._reader.execute(_GET + "AND checkpoint_id = ?", (thread_id, ns, wanted)).fetchall()
        else:
            rows = self._reader.execute(_GET + "ORDER BY checkpoint_id DESC LIMIT 1", (thread_id, ns)).fetchall()
        if not rows:
            return None
        checkpoint_id, parent_id, type_, checkpoint, metadata = rows[0]
        writes = self._reader.execute(pending_writes_sql(True), (thread_id, ns, checkpoint_id)).fetchall()
        return CheckpointTuple(
            config if wanted else _config(thread_id, ns, checkpoint_id),
            self.serde.loads_typed((type_, checkpoint)),
            _load_metadata(metadata),
            _config(thread_id, ns, parent_id) if parent_id else None,
            load_pending_writes(writes, self.serde),
        )

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint; it is committed when this returns."""
        at = config["configurable"]
        thread_id, ns, parent_id = at["thread_id"], at["checkpoint_ns"], at.get("checkpoint_id")
        type_, blob = self.serde.dumps_typed(checkpoint)
        about = json.dumps(keep_metadata(get_checkpoint_metadata(config, metadata)), ensure_ascii=False)
        row = (str(thread_id), ns, checkpoint["id"], parent_id, type_, blob, about.encode("utf-8", "ignore"))
        await self._write(lambda connection: connection.execute(_PUT, row) and None)
        return _config(thread_id, ns, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes beside its checkpoint; they are committed when this returns."""
        if not writes:
            return
        at = config["configurable"]
        under = (str(at["thread_id"]), str(at["checkpoint_ns"]), str(at["checkpoint_id"]), task_id, task_path)
        rows = [
            (*under, WRITES_IDX_MAP.get(channel, place), channel, *self.serde.dumps_typed(value))
            for place, (channel, value) in enumerate(keep_writes(writes))
        ]
        special = all(channel in WRITES_IDX_MAP for channel, _ in writes)
        sql = f"INSERT OR {'REPLACE' if special else 'IGNORE'} {_PUT_WRITE}"
        await self._write(lambda connection: connection.executemany(sql, rows) and None)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all that is stored of a thread."""
        await self._write(lambda connection: _delete(connection, str(thread_id)))

    async def afork(
        self, *, source_thread: str, source_checkpoint: str | None, target_thread: str, anew: bool = False
    ) -> str | None:
        """What `fork` promises, as rows copied inside one transaction and never deserialized."""
        begun: str | None = await self._write(
            lambda connection: fork_in_sqlite(connection, source_thread, source_checkpoint, target_thread, anew)
        )
        return begun

    async def agreatest_id(self, thread_id: str) -> str | None:
        """The greatest id of all that a thread has; None when it has nothing."""
        greatest: str | None = self._reader.execute(_GREATEST, (thread_id,)).fetchone()[0]
        return greatest

    async def aforget_answers(self, thread_id: str) -> None:
        """What `forget_answers` promises."""
        await self._write(lambda connection: connection.execute(FORGET_ANSWERS, (thread_id,)))

    async def acompact(self, *, thread_id: str, keep: Collection[str]) -> int:
        """What `compact` promises; planned before the transaction, since a finished thread's rows stand still."""
        stored = await self.conn.execute_fetchall(compact.ROWS_IN_SQLITE, (thread_id,))
        plan = await asyncio.to_thread(compact.plan_in_sqlite, stored, keep)
        went: int = await self._write(lambda db: compact.compact_in_sqlite(db, thread_id, plan))
        return went

    async def acount_checkpoints(self, thread_ids: Sequence[str]) -> dict[str, int]:
        """Root checkpoints per thread that has any."""
        return compact.count_in_sqlite(self._reader, thread_ids)

    async def avacuum(self, pages: int) -> int:
        """Give unused pages back, and say how many there were."""
        unused: int = await self._write(lambda connection: compact.vacuum_in_sqlite(connection, pages))
        return unused


@asynccontextmanager
async def open_sqlite_saver(path: Path) -> AsyncIterator[GroupCommitSaver]:
    """A saver for this file, made when missing, of the loop that opens it; closing commits what is queued."""
    try:
        await asyncio.to_thread(_prepare, path)
    except sqlite3.DatabaseError as error:
        what = MEND if is_damage(error) else "check its folder, or move it away."
        raise BadInputError(
            f"The checkpoint file {path.name} cannot be opened ({first_line(error)}); {what}"
        ) from error
    async with aiosqlite.connect(path, timeout=_BUSY_SECONDS) as rare:
        await AsyncSqliteSaver(rare).setup()
        await rare.execute("PRAGMA query_only = ON")
        with closing(_connect(path)) as reader:
            reader.execute("PRAGMA query_only = ON")
            writer = _Writer(_connect(path))
            try:
                yield GroupCommitSaver(rare, reader, writer)
            finally:
                await writer.close()


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _prepare(path: Path) -> None:
    """Make the file what it cannot become later: able to shrink (before its first page), and in WAL mode."""
    deadline = time.monotonic() + _BUSY_SECONDS
    with closing(_connect(path)) as connection:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        while not _switch_to_wal(connection):
            if time.monotonic() > deadline:
                raise BusyError(f"Another program keeps {path.name} locked; close it and start again.")
            time.sleep(0.01)


def _switch_to_wal(connection: sqlite3.Connection) -> bool:
    # SQLite does not use its busy timeout here: two who both want to switch could wait for each other.
    try:
        return bool(connection.execute("PRAGMA journal_mode = WAL").fetchall() == [("wal",)])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            raise
        return False


def _delete(connection: sqlite3.Connection, thread_id: str) -> None:
    connection.execute("DELETE FROM checkpoints WHERE thread_id = ?", (thread_id,))
    connection.execute("DELETE FROM writes WHERE thread_id = ?", (thread_id,))


def _load_metadata(metadata: bytes | str | None) -> CheckpointMetadata:
    loaded: CheckpointMetadata = json.loads(metadata) if metadata is not None else {}
    return loaded


def _config(thread_id: str, ns: str, checkpoint_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": checkpoint_id}}
