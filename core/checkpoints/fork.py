# ruff: noqa: S608 - the SQL here is put together from constants only
"""Start a thread from a checkpoint of another thread, whatever the saver.

Invariant: the new thread stands exactly where the source stood at that checkpoint (values, `next`, open
questions, memories of subgraphs), and no row of the source is changed. What to carry follows from how
LangGraph reads:

* *The newest root checkpoint* is where LangGraph would go on. It reads each namespace's newest checkpoint,
  and gives the writes of finished tasks back to them; so exactly these are carried. A namespace with a
  ``:`` belongs to one call, whose task id is derived from the root checkpoint (``metadata["parents"][""]``)
  that it ran under: a call of another root checkpoint can never be read again, and stays behind.
* *An older root checkpoint* was left behind: its tasks' output belongs to what came after, so they are to
  run again, as in LangGraph's time travel. Carried are the updates that belong to no task, the questions
  that were asked, and for a subgraph that asked, the checkpoint at which it last did. Any other subgraph
  with a memory gives its newest checkpoint that ran under a proper ancestor of the root checkpoint: descent
  decides, not the ids' time order, since ids of two processes, or of two branches in one thread, do not
  sort by descent. Only one whose root is not in the thread (it came by an earlier fork, or its root was
  compacted away) goes by time: it has to be older than the root checkpoint.
* *A step that begins anew* (``anew``: the state is going to be edited) has its root checkpoint treated as an older
  one, and without its questions: what its tasks did and remembered since rests on the state before the edit.
* *A DeltaChannel* stores no value, but is replayed from the ancestors' writes. A checkpoint that depends on
  them names its channels in ``counters_since_delta_snapshot``; the name is absent where the value itself is
  stored. So ancestors are carried, whole, until no such name is left.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import WRITES_IDX_MAP, BaseCheckpointSaver, CheckpointTuple, PendingWrite
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME

from core.checkpoints.order import keep_thread_in_order
from core.errors import BadInputError, ConflictError, NotFoundError

NO_TASK = "00000000-0000-0000-0000-000000000000"
_Writes = list[tuple[str, Any]]
_COUNTERS = "counters_since_delta_snapshot"

FORK_ROWS = f"""
SELECT c.checkpoint_ns, c.checkpoint_id, c.parent_checkpoint_id, c.metadata, EXISTS (
    SELECT 1 FROM writes w
    WHERE w.thread_id = c.thread_id AND w.checkpoint_ns = c.checkpoint_ns
    AND w.checkpoint_id = c.checkpoint_id AND w.channel = '{INTERRUPT}'
) FROM checkpoints c WHERE c.thread_id = ?"""
_ROOT_IDS = "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
_AT = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_COPY = f"""
INSERT OR IGNORE INTO checkpoints (
    thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
)
SELECT ?, checkpoint_ns, checkpoint_id, ?, type, checkpoint, metadata FROM checkpoints {_AT}"""
_COPY_WRITES = f"""
INSERT OR IGNORE INTO writes (
    thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value
)
SELECT ?, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, value FROM writes {_AT}"""
FORGET_ANSWERS = f"DELETE FROM writes WHERE thread_id = ? AND channel = '{RESUME}'"
WAS_BEFORE = f" AND (channel = '{INTERRUPT}' OR (task_id = '{NO_TASK}' AND channel <> '{RESUME}'))"


@dataclass(frozen=True, slots=True)
class Row:
    """What a plan has to know of one stored checkpoint."""

    ns: str
    id: str
    parent: str | None
    metadata: Mapping[str, Any]
    asked: bool

    @property
    def root(self) -> str | None:
        return (self.metadata.get("parents") or {}).get("")

    @property
    def deltas(self) -> set[str]:
        return set(self.metadata.get(_COUNTERS) or ())


@dataclass(frozen=True, slots=True)
class Copy:
    """One checkpoint to carry; `parent` is None where the target's history begins."""

    ns: str
    id: str
    parent: str | None
    all_writes: bool


@runtime_checkable
class Forks(Protocol):
    """A saver that forks by itself, faster than through its public methods."""

    async def afork(
        self, *, source_thread: str, source_checkpoint: str | None, target_thread: str, anew: bool = False
    ) -> str | None: ...


async def fork(
    saver: BaseCheckpointSaver[Any],
    *,
    source_thread: str,
    source_checkpoint: str | None,
    target_thread: str,
    anew: bool = False,
) -> str | None:
    """Start a thread from another one's checkpoint (None: its newest); None when the source has none.

    Gives the id of the checkpoint that the new thread begins at, which is the source's. Asking again for the
    same fork changes nothing. With `anew` the step begins from its start, which is what an edit goes on from.
    ConflictError when the target already has a state of its own.
    """
    if source_thread == target_thread:
        raise BadInputError("A thread cannot be forked into itself; give the new thread an id of its own.")
    fork_with = saver.afork if isinstance(saver, Forks) else _Generic(saver).afork
    begun = await fork_with(
        source_thread=source_thread, source_checkpoint=source_checkpoint, target_thread=target_thread, anew=anew
    )
    if begun is not None:
        await keep_thread_in_order(saver, target_thread)
    return begun


@runtime_checkable
class Forgets(Protocol):
    """A saver that can forget what people have answered."""

    async def aforget_answers(self, thread_id: str) -> None: ...


async def forget_answers(saver: BaseCheckpointSaver[Any], thread_id: str) -> None:
    """Have the unfinished steps of a thread ask their questions anew: an answer was for the run that got it."""
    if isinstance(saver, Forgets):
        await saver.aforget_answers(thread_id)


async def newest_checkpoint(saver: BaseCheckpointSaver[Any], thread_id: str) -> str | None:
    """The id of a thread's newest checkpoint, or None when it has none."""
    found = await saver.aget_tuple(_config(thread_id, ""))
    return None if found is None else found.checkpoint["id"]


def plan_fork(rows: Iterable[Row], *, at: str | None, anew: bool = False) -> list[Copy]:
    """What to carry from a thread with these checkpoints, root last; nothing if it has none."""
    by_ns: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        by_ns[row.ns][row.id] = row
    roots = by_ns.pop("", {})
    if at is not None and at not in roots:
        raise NotFoundError("That checkpoint is not in the thread; choose one from its history.")
    if not roots:
        return []
    head = roots[at or max(roots)]
    pick = _remembered if anew else belonging
    found = [(pick(lane, head, roots), lane) for lane in by_ns.values()]
    heads = [(row, lane) for row, lane in found if row is not None]
    copies = [copy for row, lane in heads for copy in _with_history(row, lane, row.id == max(lane))]
    return [*copies, *_with_history(head, roots, head.id == max(roots) and not anew)]


def check_target(target: Iterable[str], plan: Sequence[Copy]) -> bool:
    """Whether the target, of which these root checkpoints are stored, already stands where the plan ends."""
    stored = set(target)
    if stored - {copy.id for copy in plan if copy.ns == ""}:
        raise ConflictError("The new thread already has a state of its own; fork into a thread that is empty.")
    return plan[-1].id in stored


def belonging(lane: Mapping[str, Row], head: Row, roots: Mapping[str, Row]) -> Row | None:
    """The checkpoint of another namespace that belongs to the state at a root checkpoint."""
    newest = lane[max(lane)]
    is_call = ":" in newest.ns
    if head.id == max(roots):
        return None if is_call and newest.root not in {None, head.id} else newest
    asking = [row.id for row in lane.values() if row.asked and row.root == head.id]
    if asking:
        return lane[max(asking)]
    return _remembered(lane, head, roots)


def _remembered(lane: Mapping[str, Row], head: Row, roots: Mapping[str, Row]) -> Row | None:
    """What a lasting namespace held when the step of this root checkpoint began; none is that of one call."""
    if ":" in next(iter(lane.values())).ns:
        return None
    nearness: dict[str | None, int] = {row.id: -n for n, row in enumerate(ancestors(head, roots))}
    ranked = [
        (nearness.get(row.root, -len(roots)), row.id)
        for row in lane.values()
        if row.root in nearness or (row.root not in roots and row.id < head.id)
    ]
    return lane[max(ranked)[1]] if ranked else None


def ancestors(row: Row, lane: Mapping[str, Row]) -> list[Row]:
    """The ancestors that are stored, nearest first."""
    line: list[Row] = []
    seen = {row.id}
    while row.parent is not None and row.parent in lane and row.parent not in seen:
        row = lane[row.parent]
        seen.add(row.id)
        line.append(row)
    return line


def _with_history(head: Row, lane: Mapping[str, Row], all_writes: bool) -> list[Copy]:
    """A checkpoint behind the ancestors that its delta channels are replayed from, oldest first."""
    line = [head]
    needed = head.deltas
    for row in ancestors(head, lane):
        if not needed:
            break
        line.append(row)
        needed &= row.deltas
    parents: list[str | None] = [*(row.id for row in line[1:]), None]
    whole = [all_writes, *(True for _ in line[1:])]
    copies = [Copy(row.ns, row.id, up, all_) for row, up, all_ in zip(line, parents, whole, strict=True)]
    return copies[::-1]


def fork_in_sqlite(
    connection: sqlite3.Connection, source: str, at: str | None, target: str, anew: bool = False
) -> str | None:
    """What `fork` promises, inside the caller's transaction: rows are copied, nothing is deserialized."""
    stored = connection.execute(FORK_ROWS, (source,)).fetchall()
    rows = (Row(ns, own, up, json.loads(about or "{}"), asked == 1) for ns, own, up, about, asked in stored)
    plan = plan_fork(rows, at=at, anew=anew)
    if not plan:
        return None
    begun = [own for (own,) in connection.execute(_ROOT_IDS, (target,)).fetchall()]
    if not check_target(begun, plan):
        for copy in plan:
            key = (source, copy.ns, copy.id)
            connection.execute(_COPY, (target, copy.parent, *key))
            connection.execute(_COPY_WRITES + ("" if copy.all_writes else WAS_BEFORE), (target, *key))
    return plan[-1].id


class _Generic:
    """Forks through the methods that every saver has."""

    def __init__(self, saver: BaseCheckpointSaver[Any]) -> None:
        self._saver = saver

    async def afork(
        self, *, source_thread: str, source_checkpoint: str | None, target_thread: str, anew: bool = False
    ) -> str | None:
        stored = {_key(found): found async for found in self._saver.alist(_thread(source_thread))}
        plan = plan_fork(map(_row, stored.values()), at=source_checkpoint, anew=anew)
        if not plan:
            return None
        target = [found.checkpoint["id"] async for found in self._saver.alist(_config(target_thread, ""))]
        if not check_target(target, plan):
            # The root checkpoint comes last: a fork cut off half-way is seen as unfinished, and done again.
            for copy in plan:
                await self._put(stored[copy.ns, copy.id], copy, target_thread)
        return plan[-1].id

    async def _put(self, found: CheckpointTuple, copy: Copy, target_thread: str) -> None:
        at = _config(target_thread, copy.ns, copy.id)
        writes = [w for w in found.pending_writes or () if copy.all_writes or _was_before(w)]
        for place, (task, own) in enumerate(_by_task(writes).items()):
            for part in own:
                if part:
                    # The place keeps the order of the tasks, whose paths the public interface does not give.
                    await self._saver.aput_writes(at, part, task, f"{place:06d}")
        checkpoint = found.checkpoint
        under = _config(target_thread, copy.ns, copy.parent)
        await self._saver.aput(under, checkpoint, found.metadata, checkpoint["channel_versions"])


def _was_before(write: PendingWrite) -> bool:
    task, channel, _ = write
    return channel == INTERRUPT or (task == NO_TASK and channel != RESUME)


def _by_task(
    writes: Sequence[PendingWrite],
) -> dict[str, tuple[list[tuple[str, Any]], list[tuple[str, Any]]]]:
    """Each task's plain and special writes, apart: savers number plain ones by their place in the list."""
    tasks: dict[str, tuple[list[tuple[str, Any]], list[tuple[str, Any]]]] = {}
    for task, channel, value in writes:
        tasks.setdefault(task, ([], []))[channel in WRITES_IDX_MAP].append((channel, value))
    return tasks


def _row(found: CheckpointTuple) -> Row:
    up = found.parent_config
    parent = None if up is None else up["configurable"].get("checkpoint_id")
    asked = any(channel == INTERRUPT for _, channel, _ in found.pending_writes or ())
    return Row(*_key(found), parent, cast("Mapping[str, Any]", found.metadata), asked)


def _key(found: CheckpointTuple) -> tuple[str, str]:
    return found.config["configurable"]["checkpoint_ns"], found.checkpoint["id"]


def _thread(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id}}


def _config(thread_id: str, ns: str, checkpoint_id: str | None = None) -> RunnableConfig:
    at = {} if checkpoint_id is None else {"checkpoint_id": checkpoint_id}
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, **at}}
