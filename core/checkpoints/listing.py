# ruff: noqa: S608 - the SQL here is put together from constants only
"""Which threads anything is stored of, or something is wrong with, whoever they belong to.

Invariant: a thread is named as long as one row of it is left, in whichever table of LangGraph's.
"""

from collections.abc import Sequence
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver

from core.checkpoints.postgres_saver import PostgresSaver
from core.checkpoints.sqlite_saver import GroupCommitSaver
from core.errors import BadInputError


def _ids_of(table: str) -> str:
    """All thread ids of a table, each found by the index from the one before: there are many rows to each."""
    return f"""
    WITH RECURSIVE found (id) AS (
        SELECT min(thread_id) FROM {table}
        UNION ALL
        SELECT (SELECT min(thread_id) FROM {table} WHERE thread_id > found.id) FROM found WHERE found.id IS NOT NULL
    )
    SELECT id FROM found WHERE id IS NOT NULL"""


_IN_SQLITE = " UNION ".join(f"SELECT id FROM ({_ids_of(table)})" for table in ("checkpoints", "writes"))
_IN_POSTGRES = " UNION ".join(
    f"SELECT id FROM ({_ids_of(table)}) AS of_{table}"
    for table in ("checkpoints", "checkpoint_writes", "checkpoint_blobs")
)


_BEHIND = "SELECT DISTINCT thread_id AS id FROM checkpoints WHERE parent_checkpoint_id > checkpoint_id"


async def list_threads(saver: BaseCheckpointSaver[Any]) -> list[str]:
    """The ids of all threads that something is stored of."""
    return await _list(saver, _IN_SQLITE, _IN_POSTGRES)


async def list_out_of_order(saver: BaseCheckpointSaver[Any]) -> list[str]:
    """The ids of threads with a checkpoint that was made after its parent, and has the smaller id."""
    return await _list(saver, _BEHIND, _BEHIND)


async def _list(saver: BaseCheckpointSaver[Any], in_sqlite: str, in_postgres: str) -> list[str]:
    rows: Sequence[Any]
    if isinstance(saver, GroupCommitSaver):
        rows = [row[0] for row in await saver.conn.execute_fetchall(in_sqlite)]
    elif isinstance(saver, PostgresSaver):
        async with saver._cursor() as cursor:
            await cursor.execute(in_postgres)
            rows = [row["id"] for row in await cursor.fetchall()]
    else:
        raise BadInputError("These checkpoints cannot be listed; open them with one of Skein's own savers.")
    return sorted(rows)
