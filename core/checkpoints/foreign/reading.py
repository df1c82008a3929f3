# ruff: noqa: S608 - the SQL here is put together from constants only
"""The threads of a stranger's file, their checkpoints and states: one page at a time, without running any of it.

Invariant: nothing is changed; every statement goes by the file's own index, has a deadline and a number of rows it
may give; a row that is not as it should be is a marked place.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from langgraph.checkpoint.serde.types import TASKS

from core.checkpoints.foreign.branches import Stretch, to_stretches
from core.checkpoints.foreign.cells import bytes_of, cut, kind_of, metadata_of, word
from core.checkpoints.foreign.early import (
    Parts,
    keeps_sent_apart,
    nodes_that_asked,
    to_parts,
    with_next,
    with_nodes,
    with_sent,
)
from core.checkpoints.foreign.opening import Clock, connect, sentences
from core.checkpoints.foreign.schema import Schema, find_schema
from core.checkpoints.foreign.unpacking import Bounds
from core.checkpoints.foreign.values import load
from core.checkpoints.inspect import Checkpoint, State, StoredWrite, Task, to_checkpoint, to_task
from core.checkpoints.replaying import empty_for, replay
from core.checkpoints.stored import Namespace
from core.checkpoints.values import UNREADABLE, replay_order, to_state
from core.errors import ConflictError, NotFoundError

MOST_STEPS = 5_000
_LONGEST_METADATA, _LARGEST_VALUE, _MOST_WRITES, _LONGEST_LINE = 100_000, 64_000_000, 500, 1_000
_TOO_LARGE = "(too large)"
_SAMPLES, _LARGEST_SAMPLE = 50, 100_000
# Where checkpoints come from that follow a run: its steps, or the input of the next one.
_RUN = frozenset({"loop", "input"})


@dataclass(frozen=True, slots=True)
class Summary:
    """A file in a line: its name, its size with what waits in its log, and whether it is of an early saver."""

    name: str
    size_bytes: int
    is_old: bool
    is_open_elsewhere: bool


class Foreign:
    """An open file of a LangGraph program; open it with `open_foreign`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Clock, schema: Schema) -> None:
        self.path, self.connection, self.clock, self.schema = path, connection, clock, schema
        self._stamp = _stamp(path)
        self.at = f"thread_id = CAST(:thread AS TEXT) AND {schema.ns} = CAST(:ns AS TEXT)"

    def about(self) -> Summary:
        """What can be said of the file as a whole."""
        log, shared = (self.path.with_name(self.path.name + end) for end in ("-wal", "-shm"))
        waiting = log.stat().st_size if log.exists() else 0
        return Summary(self.path.name, self.path.stat().st_size + waiting, self.schema.is_old, shared.exists())

    def list_namespaces(self, thread_id: str) -> list[Namespace]:
        """The graph itself ("") and its subgraphs in a thread; NotFoundError when there is no such thread."""
        rows = self.rows(
            f"SELECT {cut(self.schema.ns)}, count(*), max({self.schema.checkpoint_id}) FROM checkpoints "
            f"WHERE thread_id = CAST(:thread AS TEXT) GROUP BY {self.schema.ns} ORDER BY 1 LIMIT 500",
            thread=thread_id,
        )
        if not rows:
            raise NotFoundError(f"There is no thread {thread_id[:80]!r} in {self.path.name}; go back to the list.")
        return [Namespace(word(ns), count, word(newest)) for ns, count, newest in rows]

    def list_checkpoints(
        self, thread_id: str, ns: str = "", *, before: str | None = None, limit: int = 100
    ) -> list[Checkpoint]:
        """Checkpoints without their values, newest first; ``before`` is the id of the last one already seen."""
        own = self.schema.checkpoint_id
        only = f"AND {own} < CAST(:before AS TEXT)" if before is not None else ""
        rows = self.rows(
            f"SELECT {self._line} FROM checkpoints WHERE {self.at} {only} ORDER BY {own} DESC LIMIT {int(limit)}",
            thread=thread_id,
            ns=ns,
            **({"before": before} if before is not None else {}),
        )
        tasks = self._tasks(thread_id, ns, [word(row[0]) for row in rows])
        return [self._to_checkpoint(ns, row, tasks) for row in rows]

    def read_state(self, thread_id: str, ns: str, checkpoint_id: str, *, bounds: Bounds | None = None) -> State:
        """A checkpoint with its values as plain data; NotFoundError when it is not there."""
        bounds = bounds or Bounds()
        row = self._find(thread_id, ns, checkpoint_id)
        if row is None:
            raise NotFoundError(f"There is no checkpoint {checkpoint_id[:80]!r} in this thread; choose another.")
        tasks = self._tasks(thread_id, ns, [checkpoint_id])
        checkpoint = self._to_checkpoint(ns, row, tasks)
        stored = self._load(row, bounds)
        if keeps_sent_apart(stored):
            stored = with_sent(stored, self._sent(thread_id, checkpoint, bounds))
        parts = to_parts(stored)
        replayed = self._replay(thread_id, checkpoint, parts.held, bounds)
        writes = self._writes(thread_id, ns, checkpoint_id)
        asked: dict[str, str] = {}

        def loads(typed: tuple[str, bytes]) -> Any:
            value = _load_write(typed, bounds)
            asked.update(nodes_that_asked(value))
            return value

        state = to_state(checkpoint, stored, writes, loads, replayed=replayed)
        if parts.edges:
            state = with_next(state, parts, self._following(thread_id, checkpoint), asked.values())
        return _with_problem(_with_sizes(with_nodes(state, asked), writes), stored)

    def _sent(self, thread_id: str, at: Checkpoint, bounds: Bounds) -> list[Any]:
        """What the step before a checkpoint sent to nodes."""
        if not at.parent_checkpoint_id:
            return []
        written = self._writes(thread_id, at.ns, at.parent_checkpoint_id, TASKS)
        return [_load_write((str(one.type), one.blob or b""), bounds) for one in sorted(written, key=replay_order)]

    def _following(self, thread_id: str, at: Checkpoint) -> Parts | None:
        """The parts of the checkpoint that a run from this one came to; None at the end of a branch."""
        own = self.schema.checkpoint_id
        rows = self.rows(
            f"SELECT {cut(own)} FROM checkpoints WHERE {self.at} "
            f"AND {self.schema.parent} = CAST(:id AS TEXT) ORDER BY {own} LIMIT 20",
            thread=thread_id,
            ns=at.ns,
            id=at.checkpoint_id,
        )
        for (found,) in rows:
            row = self._find(thread_id, at.ns, word(found))
            if row is not None and self._to_checkpoint(at.ns, row, {}).source in _RUN:
                parts = to_parts(self._load(row, Bounds()))
                return parts if parts.seen else None
        return None

    def list_stretches(self, thread_id: str, ns: str = "") -> list[Stretch]:
        """The ways that the newest checkpoints of a thread took, at most 5,000 of them."""
        own = self.schema.checkpoint_id
        rows = self.rows(
            f"SELECT {cut(own)}, {cut(self.schema.parent)} FROM checkpoints WHERE {self.at} "
            f"ORDER BY {own} DESC LIMIT {MOST_STEPS}",
            thread=thread_id,
            ns=ns,
        )
        return to_stretches((word(own), word(parent) or None) for own, parent in rows)

    def rows(self, sql: str, **given: str | bytes) -> list[Any]:
        """What a statement gives, within its deadline; texts are given as bytes, and cast in SQL."""
        return list(self.stream(sql, **given))

    def stream(self, sql: str, **given: str | bytes) -> Iterator[Any]:
        """The same row by row, for rows that are large."""
        self.clock.start()
        with self._sentences():
            yield from self.connection.execute(sql, {name: _given(value) for name, value in given.items()})

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        with sentences(self.path):
            yield
        if _stamp(self.path) != self._stamp:
            raise ConflictError(f"{self.path.name} was changed while it was read; load the page again.")

    @property
    def _line(self) -> str:
        schema = self.schema
        about = f"CASE WHEN length({schema.metadata}) <= {_LONGEST_METADATA} THEN {schema.metadata} END"
        return f"{cut(schema.checkpoint_id)}, {cut(schema.parent)}, {about}, length(checkpoint)"

    def _to_checkpoint(self, ns: str, row: Sequence[Any], tasks: dict[str, list[Task]]) -> Checkpoint:
        own, parent, about, size = row[:4]
        return to_checkpoint(
            ns,
            word(own),
            word(parent),
            metadata=metadata_of(about),
            size_bytes=size,
            tasks=tasks.get(word(own), ()),
        )

    def _find(self, thread_id: str, ns: str, checkpoint_id: str) -> Sequence[Any] | None:
        found = self.rows(
            f"SELECT {self._line}, {cut(self.schema.kind)}, "
            f"CASE WHEN length(checkpoint) <= {_LARGEST_VALUE} THEN checkpoint END "
            f"FROM checkpoints WHERE {self.at} AND {self.schema.checkpoint_id} = CAST(:id AS TEXT) LIMIT 1",
            thread=thread_id,
            ns=ns,
            id=checkpoint_id,
        )
        return found[0] if found else None

    def _load(self, row: Sequence[Any], bounds: Bounds) -> Any:
        size, kind, blob = row[3:6]
        if blob is None and isinstance(size, int) and size > _LARGEST_VALUE:
            return {UNREADABLE: f"This checkpoint is not shown: it is too large ({size:,} bytes)."}
        return load(kind, blob, bounds)

    def _tasks(self, thread_id: str, ns: str, ids: Sequence[str]) -> dict[str, list[Task]]:
        """The tasks beside these checkpoints, which are neighbours."""
        if not (ids and self.schema.has_writes):
            return {}
        rows = self.rows(
            f"""SELECT {cut("checkpoint_id")}, {cut("task_id")}, {cut(self.schema.path)},
                count(*), sum(length(value)),
                max(channel = '__interrupt__'), max(channel = '__error__')
            FROM writes WHERE {self.at} AND checkpoint_id >= CAST(:first AS TEXT)
                AND checkpoint_id <= CAST(:last AS TEXT)
            GROUP BY checkpoint_id, task_id LIMIT {20 * _MOST_WRITES}""",
            thread=thread_id,
            ns=ns,
            first=min(ids),
            last=max(ids),
        )
        found: dict[str, list[Task]] = {}
        for own, task, path, writes, size, asked, failed in rows:
            told = to_task(word(task), word(path), writes, int(size or 0), asked=bool(asked), failed=bool(failed))
            found.setdefault(word(own), []).append(told)
        return found

    def _writes(self, thread_id: str, ns: str, checkpoint_id: str, channel: str | None = None) -> list[StoredWrite]:
        """What was written beside a checkpoint; of what is too large, or too much together, only its size."""
        if not self.schema.has_writes:
            return []
        only = "AND channel = CAST(:channel AS TEXT)" if channel is not None else ""
        given = {"thread": thread_id, "ns": ns, "id": checkpoint_id}
        rows = self.stream(
            f"SELECT {cut('task_id')}, {cut(self.schema.path)}, idx, {cut('channel')}, {cut('type')}, "
            f"length(value), CASE WHEN length(value) <= {_LARGEST_VALUE} THEN value END FROM writes "
            f"WHERE {self.at} AND checkpoint_id = CAST(:id AS TEXT) {only} "
            f"ORDER BY task_id, idx LIMIT {_MOST_WRITES}",
            **given,
            **({"channel": channel} if channel is not None else {}),
        )
        left = _LARGEST_VALUE
        writes: list[StoredWrite] = []
        for *row, size, blob in rows:
            left -= size if isinstance(size, int) else 0
            writes.append(_to_write(row, blob, size, whole=left >= 0))
        return writes

    def _replay(self, thread_id: str, at: Checkpoint, held: Mapping[str, Any], bounds: Bounds) -> dict[str, Any]:
        """The values of channels that are stored as what was written to them, by the line of ancestors."""
        return {name: self._replay_one(thread_id, at, name, bounds) for name in at.deltas[:50] if name not in held}

    def _replay_one(self, thread_id: str, at: Checkpoint, name: str, bounds: Bounds) -> Any:
        updates: list[list[Any]] = []
        seed: Any = None
        seen = {at.checkpoint_id}
        up = at.parent_checkpoint_id
        while up and up not in seen and len(seen) <= _LONGEST_LINE and not bounds.spent:
            seen.add(up)
            row = self._find(thread_id, at.ns, up)
            if row is None:
                break
            writes = sorted(self._writes(thread_id, at.ns, up, name), key=replay_order)
            updates.append([_load_write((str(one.type), one.blob or b""), bounds) for one in writes])
            ancestor = self._to_checkpoint(at.ns, row, {})
            stored = self._load(row, bounds) if name not in ancestor.deltas else None
            values = stored.get("channel_values") if isinstance(stored, dict) else None
            if isinstance(values, dict) and name in values:
                seed = values[name]
                break
            up = ancestor.parent_checkpoint_id
        flat = [update for step in reversed(updates) for update in step]
        if seed is None:
            seed = empty_for(self._samples(thread_id, at.ns, name))
        return replay(seed, flat)

    def _samples(self, thread_id: str, ns: str, channel: str) -> list[Any]:
        """Some of what was ever written to a channel, so that each of its states is told by the same."""
        rows = self.rows(
            f"SELECT {cut('type')}, CASE WHEN length(value) <= {_LARGEST_SAMPLE} THEN value END FROM writes "
            f"WHERE {self.at} AND channel = CAST(:channel AS TEXT) LIMIT {_SAMPLES}",
            thread=thread_id,
            ns=ns,
            channel=channel,
        )
        bounds = Bounds(values=20_000, text=100)
        return [_load_write((kind_of(*row), bytes_of(row[1])), bounds) for row in rows if row[1] is not None]


def _to_write(row: Sequence[Any], blob: Any, size: Any, *, whole: bool) -> StoredWrite:
    task, path, idx, channel, kind = row
    if not whole:
        kind, blob = _TOO_LARGE, str(size).encode()
    number = idx if isinstance(idx, int) else 0
    return StoredWrite(word(task), word(path), number, word(channel), kind_of(kind, blob), bytes_of(blob))


def _with_sizes(state: State, stored: Sequence[StoredWrite]) -> State:
    """The state with the true sizes of what was too large to be read."""
    sizes = {(one.task_id, one.channel): int(one.blob or b"0") for one in stored if one.type == _TOO_LARGE}
    told = (replace(one, size_bytes=sizes.get((one.task_id, one.channel), one.size_bytes)) for one in state.writes)
    return replace(state, writes=tuple(told))


def _with_problem(state: State, stored: Any) -> State:
    why = stored.get(UNREADABLE) if isinstance(stored, dict) and "channel_values" not in stored else None
    return replace(state, problem=str(why)) if why else state


def _load_write(typed: tuple[str, bytes], bounds: Bounds) -> Any:
    kind, blob = typed
    if kind == _TOO_LARGE:
        return {UNREADABLE: f"This value is not shown: it is too large ({int(blob):,} bytes)."}
    return load(kind, blob, bounds)


def _given(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "replace")


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes with the file, where nothing but this tells that it does."""
    if path.with_name(path.name + "-wal").exists():
        return None
    about = path.stat()
    return about.st_mtime_ns, about.st_size


@contextmanager
def open_foreign(path: Path) -> Iterator[Foreign]:
    """The file of another LangGraph program, to be read; one sentence when it cannot be."""
    clock = Clock()
    with connect(path, clock) as (file, connection):
        with sentences(file):
            schema = find_schema(connection, file.name)
        yield Foreign(file, connection, clock, schema)
