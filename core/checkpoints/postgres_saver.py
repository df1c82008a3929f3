"""LangGraph's PostgreSQL saver, with its tables in a schema of their own, and able to compact a thread.

Invariant: LangGraph alone owns the schema `skein_checkpoints`, and one process at a time sets it up.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME
from psycopg import AsyncConnection, AsyncCursor
from psycopg.errors import DeadlockDetected, SerializationFailure
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.engine import make_url

from core.checkpoints.compact import Compaction, plan_compaction
from core.checkpoints.fork import WAS_BEFORE, Row, check_target, plan_fork
from core.checkpoints.kept import KeptSerializer, keep_metadata, keep_writes
from core.errors import BusyError
from core.outages import repeated
from core.outside import fit_text

SCHEMA = "skein_checkpoints"
# Any number will do, as long as all our processes use the same one.
_SET_UP_LOCK = 0x5C4E1A00
# The saver does one thing at a time; the second connection stands in while a broken one is replaced.
_CONNECTIONS = 2
# A server that was away is found again within these: the pool itself would ask more and more rarely.
CONNECT_SECONDS = 5.0
RECONNECT_SECONDS = 3.0
_PLACE = ("thread_id", "checkpoint_ns", "checkpoint_id")

# What is stored meanwhile, such as a blob whose checkpoint is yet to come, is neither seen nor deleted.
_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
FORK_ROWS = """
SELECT c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.metadata, EXISTS (
    SELECT 1 FROM checkpoint_writes w
    WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns
    AND w.checkpoint_id = c.checkpoint_id AND w.channel = %s
) AS asked FROM checkpoints c WHERE c.thread_id = %s"""
_GONE = "WHERE thread_id = %s AND (checkpoint_ns, checkpoint_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
_DELETE = (f"DELETE FROM checkpoint_writes {_GONE}", f"DELETE FROM checkpoints {_GONE}")  # noqa: S608
_RELINK = """
UPDATE checkpoints SET parent_checkpoint_id = %s
WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s"""
_DELETE_BLOBS = """
DELETE FROM checkpoint_blobs WHERE thread_id = %s AND (checkpoint_ns, channel, version) NOT IN (
    SELECT c.checkpoint_ns, used.key, used.value
    FROM checkpoints c CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') used
    WHERE c.thread_id = %s AND used.value IS NOT NULL
)"""
_ROOT_IDS = "SELECT checkpoint_id FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
_AT = "WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s"
_COPY = f"""
INSERT INTO checkpoints (
    thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
)
SELECT %s, checkpoint_ns, checkpoint_id, %s, type, checkpoint, metadata FROM checkpoints {_AT}
ON CONFLICT DO NOTHING"""  # noqa: S608
_COPY_BLOBS = f"""
INSERT INTO checkpoint_blobs (thread_id, checkpoint_ns, channel, version, type, blob)
SELECT %s, b.checkpoint_ns, b.channel, b.version, b.type, b.blob
FROM (SELECT * FROM checkpoints {_AT}) c
CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') used
JOIN checkpoint_blobs b ON (b.thread_id, b.checkpoint_ns, b.channel, b.version)
    = (c.thread_id, c.checkpoint_ns, used.key, used.value)
ON CONFLICT DO NOTHING"""  # noqa: S608
_COPY_WRITES = f"""
INSERT INTO checkpoint_writes (
    thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
)
SELECT %s, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob
FROM checkpoint_writes {_AT} {{only}} ON CONFLICT DO NOTHING"""  # noqa: S608
_FORGET_ANSWERS = "DELETE FROM checkpoint_writes WHERE thread_id = %s AND channel = %s"
_GREATEST = "SELECT max(checkpoint_id) AS greatest FROM checkpoints WHERE thread_id = %s"
_COUNT = """
SELECT thread_id, count(*) AS many FROM checkpoints
WHERE checkpoint_ns = '' AND thread_id = ANY(%s) GROUP BY thread_id"""


@dataclass(frozen=True, slots=True)
class _Apart:
    """A plain value that is to be stored among the others: as JSON it would be refused, or come back as another."""

    value: Any


def _is_safe(value: Any) -> bool:
    """Whether PostgreSQL's JSON may hold a value as it is: no NUL, half character, NaN, secret or own class."""
    if type(value) is str:
        return fit_text(value) == value
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (int, bool) or not isinstance(value, (str, int, float))


class PostgresSaver(AsyncPostgresSaver):
    """LangGraph's AsyncPostgresSaver that can compact; open it with `open_postgres_saver`."""

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint, whatever values it has."""
        values = checkpoint["channel_values"]
        if not all(map(_is_safe, values.values())):
            apart = {name: value if _is_safe(value) else _Apart(value) for name, value in values.items()}
            checkpoint = {**checkpoint, "channel_values": apart}
        kept = cast(CheckpointMetadata, keep_metadata(get_serializable_checkpoint_metadata(config, metadata)))
        return await repeated(partial(super().aput, _place_in(config), checkpoint, kept, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store a task's writes beside its checkpoint; a second time changes nothing."""
        await repeated(partial(super().aput_writes, config, keep_writes(writes), task_id, task_path))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The addressed checkpoint with its pending writes, or the newest, or None."""
        return await repeated(partial(super().aget_tuple, config))

    def _dump_blobs(
        self, thread_id: str, checkpoint_ns: str, values: dict[str, Any], versions: ChannelVersions
    ) -> Any:
        whole = {name: one.value if isinstance(one, _Apart) else one for name, one in values.items()}
        return super()._dump_blobs(thread_id, checkpoint_ns, whole, versions)

    async def afork(
        self, *, source_thread: str, source_checkpoint: str | None, target_thread: str, anew: bool = False
    ) -> str | None:
        """What `fork` promises, as rows copied inside one transaction and never deserialized."""
        return await repeated(partial(self._fork, source_thread, source_checkpoint, target_thread, anew))

    async def _fork(
        self, source_thread: str, source_checkpoint: str | None, target_thread: str, anew: bool
    ) -> str | None:
        async with self._cursor() as cursor, cursor.connection.transaction():
            await cursor.execute(FORK_ROWS, (INTERRUPT, source_thread))
            rows = [Row(*row.values()) for row in await cursor.fetchall()]
            plan = plan_fork(rows, at=source_checkpoint, anew=anew)
            if not plan:
                return None
            await cursor.execute(_ROOT_IDS, (target_thread,))
            begun = [row["checkpoint_id"] for row in await cursor.fetchall()]
            for copy in () if check_target(begun, plan) else plan:
                key = (source_thread, copy.ns, copy.id)
                await cursor.execute(_COPY, (target_thread, copy.parent, *key))
                await cursor.execute(_COPY_BLOBS, (target_thread, *key))
                only = "" if copy.all_writes else WAS_BEFORE
                await cursor.execute(_COPY_WRITES.format(only=only), (target_thread, *key))
        return plan[-1].id

    async def agreatest_id(self, thread_id: str) -> str | None:
        """The greatest id of all that a thread has; None when it has nothing."""

        async def read() -> str | None:
            async with self._cursor() as cursor:
                await cursor.execute(_GREATEST, (thread_id,))
                row = await cursor.fetchone()
            return row["greatest"] if row else None

        return await repeated(read)

    async def aforget_answers(self, thread_id: str) -> None:
        """What `forget_answers` promises."""

        async def forget() -> None:
            async with self._cursor() as cursor:
                await cursor.execute(_FORGET_ANSWERS, (thread_id, RESUME))

        await repeated(forget)

    async def acompact(self, *, thread_id: str, keep: Collection[str]) -> int:
        """What `compact` promises."""
        try:
            async with self._cursor() as cursor, cursor.connection.transaction():
                await cursor.execute(_ONE_SNAPSHOT)
                await cursor.execute(FORK_ROWS, (INTERRUPT, thread_id))
                rows = [Row(*row.values()) for row in await cursor.fetchall()]
                plan = await asyncio.to_thread(plan_compaction, rows, keep=keep)
                await _carry_out(cursor, thread_id, plan)
        except (SerializationFailure, DeadlockDetected) as error:
            raise BusyError("Another process is compacting this thread; leave it to that one.") from error
        return len(plan.gone)

    async def acount_checkpoints(self, thread_ids: Sequence[str]) -> dict[str, int]:
        """Root checkpoints per thread that has any."""
        async with self._cursor() as cursor:
            await cursor.execute(_COUNT, (list(thread_ids),))
            return {row["thread_id"]: row["many"] for row in await cursor.fetchall()}

    async def avacuum(self, pages: int) -> int:
        """Nothing: PostgreSQL does so by itself."""
        return 0


def _place_in(config: RunnableConfig) -> RunnableConfig:
    """Where a config points to, without what else stands in it: that is in the metadata already, cleaned."""
    given = config["configurable"]
    return {"configurable": {name: given[name] for name in _PLACE if name in given}}


async def _carry_out(cursor: AsyncCursor[Any], thread_id: str, plan: Compaction) -> None:
    for statement in _DELETE if plan.gone else ():
        namespaces, ids = zip(*plan.gone, strict=True)
        await cursor.execute(statement, (thread_id, list(namespaces), list(ids)))
    if plan.parents:
        await cursor.executemany(_RELINK, [(up, thread_id, *key) for key, up in plan.parents.items()])
    if plan.gone:
        await cursor.execute(_DELETE_BLOBS, (thread_id, thread_id))


@asynccontextmanager
async def open_postgres_saver(url: str) -> AsyncIterator[PostgresSaver]:
    """A saver for a `postgresql+psycopg://` URL, set up and ready; it belongs to the loop that opens it."""
    conninfo = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    await _set_up(conninfo)
    pool: AsyncConnectionPool[AsyncConnection[DictRow]] = AsyncConnectionPool(
        conninfo,
        kwargs={
            "autocommit": True,
            "prepare_threshold": 0,
            "row_factory": dict_row,
            "options": f"-c search_path={SCHEMA}",
        },
        min_size=1,
        max_size=_CONNECTIONS,
        timeout=CONNECT_SECONDS,
        reconnect_timeout=RECONNECT_SECONDS,
        check=AsyncConnectionPool.check_connection,
        open=False,
    )
    async with pool:
        yield PostgresSaver(pool, serde=KeptSerializer())


async def _set_up(conninfo: str) -> None:
    connection = await AsyncConnection.connect(
        conninfo,
        autocommit=True,
        prepare_threshold=0,
        row_factory=dict_row,
        options=f"-c search_path={SCHEMA}",
    )
    async with connection:
        await _take_turn(connection)
        await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        await AsyncPostgresSaver(connection).setup()


async def _take_turn(connection: AsyncConnection[DictRow]) -> None:
    """Hold the set-up lock until this connection closes."""
    # Asked for again and again, never waited for in one statement: set-up builds indexes concurrently, which
    # waits until every open statement of the database is done, also one that waits for this lock.
    while True:
        answer = await connection.execute("SELECT pg_try_advisory_lock(%s) AS mine", (_SET_UP_LOCK,))
        row = await answer.fetchone()
        if row is not None and row["mine"]:
            return
        await asyncio.sleep(0.05)
