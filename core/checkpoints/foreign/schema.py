"""What the tables of a LangGraph file look like, by the version of the saver that wrote it.

Invariant: only real tables with stored columns are read; of anything else one sentence says what was found.
"""

import sqlite3
from dataclasses import dataclass

from core.errors import BadInputError

_LISTED = "SELECT name, type, rootpage FROM sqlite_master WHERE type IN ('table', 'view') LIMIT 1000"


@dataclass(frozen=True, slots=True)
class Schema:
    """What stands for a column in SQL: its name, or a constant where files of that age have none."""

    ns: str
    checkpoint_id: str
    parent: str
    kind: str
    metadata: str
    path: str
    has_writes: bool

    @property
    def is_old(self) -> bool:
        """Whether it was written before subgraphs had checkpoints of their own."""
        return self.ns == "''"


def find_schema(connection: sqlite3.Connection, name: str) -> Schema:
    """How this file's tables are to be read; BadInputError when they are not LangGraph's."""
    [(encoding,)] = connection.execute("PRAGMA encoding")
    if encoding != "UTF-8":
        raise BadInputError(f"{name} keeps its text as {encoding}, as no LangGraph saver does; it is not opened.")
    listed = {str(row[0]).lower(): (row[1], row[2]) for row in connection.execute(_LISTED)}
    if "checkpoints" not in listed:
        raise BadInputError(_foreign(name, [key for key in listed if not key.startswith("sqlite_")]))
    columns = _columns(connection, name, "checkpoints", listed)
    if not {"thread_id", "checkpoint"} <= columns or not columns & {"checkpoint_id", "thread_ts"}:
        raise BadInputError(f"{name} has a table checkpoints, but not LangGraph's; another program wrote it.")
    writes = _columns(connection, name, "writes", listed) if "writes" in listed else set()
    return _schema(columns, writes)


def _schema(columns: set[str], writes: set[str]) -> Schema:
    is_new = "checkpoint_id" in columns
    parent = "parent_checkpoint_id" if is_new else "parent_ts"
    needed = {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "value"}
    return Schema(
        ns="checkpoint_ns" if "checkpoint_ns" in columns else "''",
        checkpoint_id="checkpoint_id" if is_new else "thread_ts",
        parent=parent if parent in columns else "NULL",
        kind="type" if "type" in columns else "NULL",
        metadata="metadata" if "metadata" in columns else "NULL",
        path="task_path" if "task_path" in writes else "''",
        has_writes=needed <= writes and "checkpoint_ns" in columns,
    )


def _columns(connection: sqlite3.Connection, name: str, table: str, listed: dict[str, tuple[str, int]]) -> set[str]:
    kind, page = listed[table]
    if kind != "table" or not page:
        raise BadInputError(f"In {name}, {table} is no table of rows but something that computes them: not opened.")
    rows = connection.execute(f"PRAGMA table_xinfo({table})").fetchall()
    if any(row[6] for row in rows):
        raise BadInputError(f"In {name}, the table {table} computes columns when it is read: not opened.")
    return {str(row[1]).lower() for row in rows}


def _foreign(name: str, tables: list[str]) -> str:
    if not tables:
        return f"{name} is a SQLite database without any tables; a LangGraph program has not written to it yet."
    some = ", ".join(repr(table[:40]) for table in sorted(tables)[:5])
    return f"{name} is not a LangGraph database: it has no table checkpoints, but {some}."
