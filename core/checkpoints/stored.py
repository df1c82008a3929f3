# ruff: noqa: S608 - the SQL here is put together from constants only
"""Read what is stored of a thread's checkpoints, beside the saver and off the engine's loop.

Lists are read without any value: ids from the index alone, lines with sizes only. A value is loaded when its state
is asked for, and a DeltaChannel's is replayed from its ancestors. Invariant: one open reader has one consistent
view, and changes nothing.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, TASKS
from sqlalchemy import text

from core.checkpoints.inspect import (
    Checkpoint,
    State,
    StoredWrite,
    Task,
    to_checkpoint,
    to_task,
)
from core.checkpoints.postgres_saver import SCHEMA
from core.checkpoints.replaying import replay
from core.checkpoints.values import Loads, load_value, replay_order, to_state, with_sent
from core.database import Database

_BUSY_SECONDS = 5.0
# What was sent may hold a whole state, which a list has no time to load.
_SMALL = 50_000
_AT = "thread_id = :thread AND checkpoint_ns = :ns"
Query = Callable[[str, Mapping[str, Any]], Sequence[Any]]
# What a channel's updates come to: its name, whether there is a value to begin with, that value, the updates.
Replays = Callable[[str, bool, Any, list[Any]], Any]


@dataclass(frozen=True, slots=True)
class Namespace:
    """The checkpoints of a graph ("") or of one subgraph in a thread, by their number and the newest's id."""

    ns: str
    checkpoints: int
    newest: str


@dataclass(frozen=True, slots=True)
class _Sql:
    """The statements of one database; ``among`` says that a column is one of a list."""

    checkpoints: str
    writes: str
    value: str
    size: str
    among: str


_SQLITE = _Sql("checkpoints", "writes", "value", "length(checkpoint)", "IN (SELECT value FROM json_each({}))")
_POSTGRES = _Sql(
    f"{SCHEMA}.checkpoints c",
    f"{SCHEMA}.checkpoint_writes",
    "blob",
    f"""octet_length(CAST(checkpoint AS text)) + coalesce((
        SELECT sum(octet_length(b.blob)) FROM jsonb_each_text(c.checkpoint -> 'channel_versions') used
        JOIN {SCHEMA}.checkpoint_blobs b ON (b.thread_id, b.checkpoint_ns, b.channel, b.version)
            = (c.thread_id, c.checkpoint_ns, used.key, used.value)
    ), 0)""",
    "= ANY({})",
)
_BLOBS = f"""
SELECT b.channel, b.type, b.blob FROM {SCHEMA}.checkpoints c
CROSS JOIN LATERAL jsonb_each_text(c.checkpoint -> 'channel_versions') used
JOIN {SCHEMA}.checkpoint_blobs b ON (b.thread_id, b.checkpoint_ns, b.channel, b.version)
    = (c.thread_id, c.checkpoint_ns, used.key, used.value)
WHERE c.thread_id = :thread AND c.checkpoint_ns = :ns AND c.checkpoint_id = :id"""


class StoredCheckpoints:
    """The checkpoints of threads as they are stored; open it with `open_stored`."""

    def __init__(self, query: Query, *, is_sqlite: bool) -> None:
        self._query = query
        self._is_sqlite = is_sqlite
        self._sql = _SQLITE if is_sqlite else _POSTGRES

    def list_namespaces(self, thread_id: str) -> list[Namespace]:
        """Whatever graphs of a thread have checkpoints, the graph itself first, then by their time."""
        rows = self._run(
            f"SELECT checkpoint_ns, count(*), max(checkpoint_id) FROM {self._sql.checkpoints} "
            "WHERE thread_id = :thread GROUP BY checkpoint_ns",
            thread=thread_id,
        )
        return sorted((Namespace(*row) for row in rows), key=lambda one: (one.ns != "", one.newest))

    def list_ids(self, thread_id: str, ns: str = "") -> list[str]:
        """The ids of a graph's checkpoints, oldest first."""
        rows = self._run(
            f"SELECT checkpoint_id FROM {self._sql.checkpoints} WHERE {_AT} ORDER BY checkpoint_id",
            thread=thread_id,
            ns=ns,
        )
        return [row[0] for row in rows]

    def list_ancestors(self, thread_id: str, ns: str, checkpoint_id: str) -> list[str]:
        """The ids of a checkpoint's ancestors that are stored in the thread, nearest first."""
        rows = self._run(
            f"SELECT checkpoint_id, parent_checkpoint_id FROM {self._sql.checkpoints} WHERE {_AT}",
            thread=thread_id,
            ns=ns,
        )
        parents = {row[0]: row[1] for row in rows}
        found: list[str] = []
        up = parents.pop(checkpoint_id, None)
        while up in parents:
            found.append(up)
            up = parents.pop(up)
        return found

    def read_checkpoints(
        self, thread_id: str, ns: str, ids: Collection[str], *, loads: Loads | None = None
    ) -> list[Checkpoint]:
        """These checkpoints as lines of a list, oldest first; those that are not there are left out.

        With ``loads`` the nodes that were begun by a ``Send`` are named too, as far as what was sent is small.
        """
        rows = self._run(
            "SELECT checkpoint_id, parent_checkpoint_id, metadata, "
            f"{self._sql.size} FROM {self._sql.checkpoints} WHERE {_AT} AND checkpoint_id {self._among('ids')} "
            "ORDER BY checkpoint_id",
            thread=thread_id,
            ns=ns,
            ids=ids,
        )
        tasks = self._tasks(thread_id, ns, ids)
        lines = [
            to_checkpoint(ns, own, parent, metadata=about, size_bytes=int(size or 0), tasks=tasks[own])
            for own, parent, about, size in rows
        ]
        return lines if loads is None else self._with_sent(thread_id, ns, lines, loads)

    def _with_sent(self, thread_id: str, ns: str, lines: list[Checkpoint], loads: Loads) -> list[Checkpoint]:
        """The lines with the nodes of sent tasks, as the step before wrote them down."""
        parents = {line.parent_checkpoint_id for line in lines if any(not task.node for task in line.tasks)}
        writes = self._writes(thread_id, ns, [up for up in parents if up], [TASKS], most=_SMALL)
        sent = {
            up: [load_value(loads, write.type, write.blob) for write in sorted(found, key=replay_order)]
            for up, found in writes.items()
        }
        return [with_sent(line, sent.get(line.parent_checkpoint_id or "", ())) for line in lines]

    def read_state(
        self, thread_id: str, ns: str, checkpoint_id: str, *, loads: Loads, replays: Replays | None = None
    ) -> State | None:
        """A checkpoint with all its values, as plain data; None when it is not there."""
        found = self.read_checkpoints(thread_id, ns, [checkpoint_id])
        if not found:
            return None
        stored = self._load(thread_id, ns, checkpoint_id, loads)
        held = stored.get("channel_values") if isinstance(stored, dict) else None
        missing = [name for name in found[0].deltas if name not in (held or {})]
        replayed = self._replay(thread_id, found[0], missing, loads, replays or _plainly) if missing else {}
        writes = self._writes(thread_id, ns, [checkpoint_id])[checkpoint_id]
        return to_state(found[0], stored, writes, loads, replayed=replayed)

    def _load(self, thread_id: str, ns: str, checkpoint_id: str, loads: Loads) -> Any:
        """A checkpoint with its values, or whatever stands in its place."""
        where = f"WHERE {_AT} AND checkpoint_id = :id"
        at = {"thread": thread_id, "ns": ns, "id": checkpoint_id}
        if self._is_sqlite:
            [(type_, blob)] = self._run(f"SELECT type, checkpoint FROM checkpoints {where}", **at)
            return load_value(loads, type_, blob)
        [(stored,)] = self._run(f"SELECT checkpoint FROM {self._sql.checkpoints} {where}", **at)
        blobs = {
            name: load_value(loads, kind, blob) for name, kind, blob in self._run(_BLOBS, **at) if kind != "empty"
        }
        return {**stored, "channel_values": {**(stored.get("channel_values") or {}), **blobs}}

    def _tasks(self, thread_id: str, ns: str, ids: Collection[str]) -> defaultdict[str, list[Task]]:
        rows = self._run(
            f"""SELECT checkpoint_id, task_id, task_path, count(*), sum(length({self._sql.value})),
                max(CASE WHEN channel = '{INTERRUPT}' THEN 1 ELSE 0 END),
                max(CASE WHEN channel = '{ERROR}' THEN 1 ELSE 0 END)
            FROM {self._sql.writes} WHERE {_AT} AND checkpoint_id {self._among("ids")}
            GROUP BY checkpoint_id, task_id, task_path""",
            thread=thread_id,
            ns=ns,
            ids=ids,
        )
        found: defaultdict[str, list[Task]] = defaultdict(list)
        for own, task, path, writes, size, asked, failed in rows:
            told = to_task(task, path, writes, int(size or 0), asked=bool(asked), failed=bool(failed))
            found[own].append(told)
        return found

    def _writes(
        self, thread_id: str, ns: str, ids: Collection[str], channels: Collection[str] = (), *, most: int = 0
    ) -> defaultdict[str, list[StoredWrite]]:
        """The writes beside these checkpoints; those larger than ``most`` bytes come without their value."""
        only = f"AND channel {self._among('channels')}" if channels else ""
        value, kind = self._sql.value, "type"
        if most:
            small = f"CASE WHEN length({value}) <= {most} THEN {{}} END"
            value, kind = small.format(value), small.format(kind)
        rows = self._run(
            f"SELECT checkpoint_id, task_id, task_path, idx, channel, {kind}, {value} "
            f"FROM {self._sql.writes} WHERE {_AT} AND checkpoint_id {self._among('ids')} {only}",
            thread=thread_id,
            ns=ns,
            ids=ids,
            **({"channels": channels} if channels else {}),
        )
        found: defaultdict[str, list[StoredWrite]] = defaultdict(list)
        for own, *rest in rows:
            found[own].append(StoredWrite(*rest))
        return found

    def _replay(
        self, thread_id: str, at: Checkpoint, channels: list[str], loads: Loads, replays: Replays
    ) -> dict[str, Any]:
        """The values of channels that are stored as what was written to them, by the line of ancestors."""
        ns, line = at.ns, self._line(thread_id, at)
        seeds, lines = self._seeds(thread_id, line, channels, loads)
        writes = self._writes(thread_id, ns, [one.checkpoint_id for one in line], channels)
        values: dict[str, Any] = {}
        for name in channels:
            updates = [
                load_value(loads, write.type, write.blob)
                for own in lines[name][::-1]
                for write in sorted(writes[own], key=replay_order)
                if write.channel == name
            ]
            values[name] = replays(name, name in seeds, seeds.get(name), updates)
        return values

    def _seeds(
        self, thread_id: str, line: Sequence[Checkpoint], channels: Collection[str], loads: Loads
    ) -> tuple[dict[str, Any], dict[str, list[str]]]:
        """The stored values to begin with, and for each channel the ancestors up to there, nearest first."""
        seeds: dict[str, Any] = {}
        lines: dict[str, list[str]] = {name: [] for name in channels}
        for one in line:
            open_ = [name for name in channels if name not in seeds]
            for name in open_:
                lines[name].append(one.checkpoint_id)
            stored = [name for name in open_ if name not in one.deltas]
            if stored:
                values = self._load(thread_id, one.ns, one.checkpoint_id, loads)["channel_values"]
                seeds |= {name: values[name] for name in stored if name in values}
        return seeds, lines

    def _line(self, thread_id: str, at: Checkpoint) -> list[Checkpoint]:
        """The ancestors of a checkpoint, nearest first."""
        rows = self._run(
            f"SELECT checkpoint_id, parent_checkpoint_id, metadata FROM {self._sql.checkpoints} WHERE {_AT}",
            thread=thread_id,
            ns=at.ns,
        )
        known = {row[0]: row for row in rows}
        line: list[Checkpoint] = []
        up = at.parent_checkpoint_id
        while up in known:
            own, parent, about = known.pop(up)
            line.append(to_checkpoint(at.ns, own, parent, metadata=about, size_bytes=0))
            up = parent
        return line

    def _among(self, name: str) -> str:
        return self._sql.among.format(f":{name}")

    def _run(self, sql: str, **given: Any) -> Sequence[Any]:
        many = {name: list(value) for name, value in given.items() if not isinstance(value, str)}
        return self._query(sql, given | ({n: json.dumps(v) for n, v in many.items()} if self._is_sqlite else many))


@contextmanager
def open_stored(database: Database, path: Path) -> Iterator[StoredCheckpoints]:
    """A reader of the checkpoints of this database's threads; ``path`` is their file, where it is SQLite."""
    if not database.is_sqlite:
        with database.read() as db:
            connection = db.connection()
            yield StoredCheckpoints(lambda sql, given: connection.execute(text(sql), given).all(), is_sqlite=False)
        return
    uri = f"{path.resolve().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)) as file:
        file.execute("BEGIN")
        yield StoredCheckpoints(lambda sql, given: file.execute(sql, given).fetchall(), is_sqlite=True)


def _plainly(name: str, has_seed: bool, seed: Any, updates: list[Any]) -> Any:  # noqa: ARG001
    return replay(seed, updates)
