# ruff: noqa: S608 - the SQL here is put together from constants only
"""Drop from a finished thread the checkpoints that nobody will ask for any more.

Invariant: every root checkpoint that stays is whole: its state in every namespace, and a fork from it, are what
they were before. So what stays is found by following, from the newest root checkpoint and from those to keep:

* *What a fork from a root checkpoint carries* from other namespaces, by the rules of `fork`; and the newest
  checkpoint of each call that ran under it, which its state shows.
* *The parent of whatever a DeltaChannel has to be replayed for*, and so on up to where the value is stored.
* *Its nearest ancestor that stays* becomes a checkpoint's parent, so that descent still decides.

Which memory belongs to an older root checkpoint is decided by descent, and by the ids' time order where the root
it ran under is gone. Time nearly always decides alike; if it would not, the root checkpoints that the memories
ran under stay too, and are whole as well.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from langgraph.checkpoint.base import BaseCheckpointSaver

from core.checkpoints.fork import FORK_ROWS, Row, ancestors, belonging
from core.errors import BadInputError

# So few pages that nobody who wants to write has to wait for long.
_PIECE = 256

ROWS_IN_SQLITE = FORK_ROWS
_AT = "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
_COUNT = """
SELECT thread_id, count(*) FROM checkpoints
WHERE checkpoint_ns = '' AND thread_id IN (SELECT value FROM json_each(?)) GROUP BY thread_id"""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Compaction:
    """What to delete, as (namespace, checkpoint id), and the new parents of some that stay."""

    gone: list[Key]
    parents: dict[Key, str | None]


@runtime_checkable
class Compacts(Protocol):
    """A saver whose threads can be compacted."""

    async def acompact(self, *, thread_id: str, keep: Collection[str]) -> int: ...

    async def acount_checkpoints(self, thread_ids: Sequence[str]) -> dict[str, int]: ...

    async def avacuum(self, pages: int) -> int:
        """Give so many unused pages back at most, and say how many there were to give."""
        ...


async def compact(saver: BaseCheckpointSaver[Any], *, thread_id: str, keep: Collection[str] = ()) -> int:
    """Drop what a finished thread no longer needs, and say how many checkpoints went.

    Its newest root checkpoint stays, and those of `keep`: an id that is not in the thread is ignored.
    """
    return await _compacting(saver).acompact(thread_id=thread_id, keep=keep)


async def count_checkpoints(saver: BaseCheckpointSaver[Any], thread_ids: Sequence[str]) -> dict[str, int]:
    """How many root checkpoints each of these threads has; 0 for one that has no state."""
    found = await _compacting(saver).acount_checkpoints(thread_ids)
    return {thread_id: found.get(thread_id, 0) for thread_id in thread_ids}


async def incremental_vacuum(saver: BaseCheckpointSaver[Any], pages: int) -> None:
    """Give at most so many unused pages of the file back to the disk, a few in each transaction."""
    store = _compacting(saver)
    while pages > 0 and await store.avacuum(min(pages, _PIECE)) > _PIECE:
        pages -= _PIECE


def _compacting(saver: BaseCheckpointSaver[Any]) -> Compacts:
    if not isinstance(saver, Compacts):
        raise BadInputError("These checkpoints cannot be compacted; open them with one of Skein's own savers.")
    return saver


class _History:
    """A thread's checkpoints by namespace, and where to look for what belongs to one."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.lanes: defaultdict[str, dict[str, Row]] = defaultdict(dict)
        self._called: defaultdict[str | None, set[str]] = defaultdict(set)
        for row in rows:
            self.lanes[row.ns][row.id] = row
            if ":" in row.ns:
                self._called[row.root].add(row.ns)
        self.roots = self.lanes[""]
        self._lasting = [ns for ns in self.lanes if ns and ":" not in ns]

    def belonging(self, root: str) -> set[Key]:
        """What a fork from a root checkpoint takes from the other namespaces, without its ancestors."""
        namespaces = {*self._lasting, *self._called[root], *self._called[None]}
        found = (belonging(self.lanes[ns], self.roots[root], self.roots) for ns in namespaces)
        return {(row.ns, row.id) for row in found if row is not None}

    def needs(self, row: Row, *, memory_roots: bool) -> Iterator[Key]:
        """What a checkpoint that stays cannot do without."""
        if row.deltas and row.parent is not None:
            yield row.ns, row.parent
        if row.ns == "":
            yield from self.belonging(row.id)
            yield from ((ns, max(self.lanes[ns])) for ns in self._called[row.id])
        elif memory_roots and row.root is not None:
            yield "", row.root

    def only(self, staying: set[Key]) -> "_History":
        """Those that stay, each under its nearest ancestor that does."""
        rows = (row for lane in self.lanes.values() for row in lane.values() if (row.ns, row.id) in staying)
        return _History(self._relinked(row, staying) for row in rows)

    def _relinked(self, row: Row, staying: set[Key]) -> Row:
        lane = self.lanes[row.ns]
        if row.parent not in lane or (row.ns, row.parent) in staying:
            return row
        nearest = next((up.id for up in ancestors(row, lane) if (up.ns, up.id) in staying), None)
        return replace(row, parent=nearest)


def plan_compaction(rows: Iterable[Row], *, keep: Collection[str]) -> Compaction:
    """What can go from a thread with these checkpoints."""
    before = _History(rows)
    if not before.roots:
        return Compaction([], {})
    points = {max(before.roots), *keep}
    after = before.only(_following(before, points, memory_roots=False))
    if any(after.belonging(root) != before.belonging(root) for root in after.roots):
        after = before.only(_following(before, points, memory_roots=True))
    gone: list[Key] = []
    parents: dict[Key, str | None] = {}
    for row in (row for lane in before.lanes.values() for row in lane.values()):
        kept = after.lanes[row.ns].get(row.id)
        if kept is None:
            gone.append((row.ns, row.id))
        elif kept.parent != row.parent:
            parents[row.ns, row.id] = kept.parent
    return Compaction(gone, parents)


def _following(history: _History, points: Iterable[str], *, memory_roots: bool) -> set[Key]:
    """Everything that these root checkpoints lead to."""
    found: set[Key] = set()
    ahead: list[Key] = [("", point) for point in points]
    while ahead:
        ns, own = key = ahead.pop()
        row = history.lanes[ns].get(own)
        if row is not None and key not in found:
            found.add(key)
            ahead += history.needs(row, memory_roots=memory_roots)
    return found


def plan_in_sqlite(stored: Iterable[sqlite3.Row], keep: Collection[str]) -> Compaction:
    """The plan for a thread of which `ROWS_IN_SQLITE` gives this."""
    rows = (Row(ns, own, up, json.loads(about or "{}"), asked == 1) for ns, own, up, about, asked in stored)
    return plan_compaction(rows, keep=keep)


def compact_in_sqlite(connection: sqlite3.Connection, thread_id: str, plan: Compaction) -> int:
    """Carry a plan out, inside the caller's transaction, and say how many checkpoints went."""
    gone = [(thread_id, *key) for key in plan.gone]
    connection.executemany(f"DELETE FROM writes {_AT}", gone)
    went = connection.executemany(f"DELETE FROM checkpoints {_AT}", gone).rowcount if gone else 0
    parents = [(up, thread_id, *key) for key, up in plan.parents.items()]
    connection.executemany(f"UPDATE checkpoints SET parent_checkpoint_id = ? {_AT}", parents)
    return went


def count_in_sqlite(connection: sqlite3.Connection, thread_ids: Sequence[str]) -> dict[str, int]:
    """Root checkpoints per thread that has any."""
    return dict(connection.execute(_COUNT, (json.dumps(list(thread_ids)),)).fetchall())


def vacuum_in_sqlite(connection: sqlite3.Connection, pages: int) -> int:
    """Give back unused pages, and say how many there were; the file shrinks when the log is written back."""
    unused: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
    for _ in range(min(pages, unused)):
        # Python runs this statement for one step only, which gives one page back, whatever number it names.
        connection.execute("PRAGMA incremental_vacuum(1)")
    return unused
