"""LangGraph's PostgreSQL saver, with its tables in a schema of their own.

Invariant: LangGraph alone owns the schema `skein_checkpoints`, and one process at a time sets it up.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool
from sqlalchemy.engine import make_url

SCHEMA = "skein_checkpoints"
# Any number will do, as long as all our processes use the same one.
_SET_UP_LOCK = 0x5C4E1A00
# The saver does one thing at a time; the second connection stands in while a broken one is replaced.
_CONNECTIONS = 2


@asynccontextmanager
async def open_postgres_saver(url: str) -> AsyncIterator[AsyncPostgresSaver]:
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
        open=False,
    )
    async with pool:
        yield AsyncPostgresSaver(pool)


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
