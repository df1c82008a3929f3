"""Verify the chain of seals (``seals.py``) against the rows, and name the first that does not hold.

Invariant: a log holds only if every seal follows from the one before it, every sealed row and every text that is
still there has the digest it was sealed with, none is sealed twice, and no ended call, no correction and no
activity stands outside the chain, but for activity that waits for its seal. Only a head that was exported before
can tell whether the chain's end was cut off, or the whole of it made anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.access.viewer import Viewer
from core.calls.proof.beside import Marks, find_beside, find_twice
from core.calls.proof.chain import (
    BODY_HASH,
    FORMS,
    Entry,
    Texts,
    digest_or_none,
    entries_of,
    fault_in,
    find_owner,
    hash_texts,
    read_rows,
    read_seals,
)
from core.calls.proof.heads import Head, survey
from core.calls.proof.seals import NO_HASH
from core.database import Database
from core.errors import ForbiddenError
from core.history.activity import record

Progress = Callable[[int, int], None]
_ROWS_AT_ONCE = 500


@dataclass(frozen=True)
class Verdict:
    """What was found: counts of what held, and the first that does not, in one sentence ("": all of it holds).

    ``bodies`` are the calls whose texts are there and were checked, ``bodies_absent`` those whose texts were
    deleted or never kept. ``call_id`` is the id of a correction or of activity where it is that which does not
    hold. ``waiting`` activity has no seal yet. ``head`` is that of the log when the check began.
    """

    head: Head | None
    seals: int
    calls: int
    corrections: int
    bodies: int
    bodies_absent: int
    problem: str = ""
    seal_id: str | None = None
    call_id: str | None = None
    activity: int = 0
    waiting: int = 0

    @property
    def ok(self) -> bool:
        return not self.problem


def verify_log(
    viewer: Viewer, database: Database, *, expected_head: Head | None = None, progress: Progress | None = None
) -> Verdict:
    """``verify`` for a person, who is recorded: ForbiddenError for all but analysts and admins."""
    if not viewer.reads_all:
        raise ForbiddenError("Only an analyst or admin can verify the log; please ask one.")
    verdict = verify(database, expected_head=expected_head, progress=progress)
    detail = {"holds": verdict.ok, "seals": verdict.seals, "with_head": expected_head is not None}
    database.write(lambda db: record(db, viewer, "log.verify", target_id=verdict.seal_id, detail=detail))
    return verdict


def verify(database: Database, *, expected_head: Head | None = None, progress: Progress | None = None) -> Verdict:
    """Check the log up to its present head, while it may grow on; ``progress`` hears (rows done, rows in all)."""
    walk = _Walk(database, expected_head, progress or (lambda _done, _all: None))
    try:
        walk.follow_the_chain()
        walk.look_beside_the_chain()
    except _BrokenError as broken:
        return replace(walk.verdict(), problem=str(broken), seal_id=broken.seal_id, call_id=broken.call_id)
    return walk.verdict()


class _BrokenError(Exception):
    """The first that does not hold."""

    def __init__(self, problem: str, *, seal_id: str | None = None, call_id: str | None = None) -> None:
        super().__init__(problem)
        # What is not text has no other name than how Python writes it.
        self.seal_id = None if seal_id is None else str(seal_id)
        self.call_id = None if call_id is None else str(call_id)

    @classmethod
    def at(cls, entry: Entry, problem: str) -> "_BrokenError":
        return cls(problem, seal_id=entry.seal_id, call_id=entry.row_id)


class _Walk:
    """One walk along the chain: how far it has come, and what it has counted."""

    def __init__(self, database: Database, expected: Head | None, progress: Progress) -> None:
        self._database = database
        self._expected = expected
        self._progress = progress
        with database.read() as db:
            self._log = survey(db)
        self._marks = Marks()
        self._last_id, self._last_hash = "", NO_HASH
        self._seals = self._bodies = self._absent = 0
        self._rows = dict.fromkeys(FORMS, 0)

    def verdict(self) -> Verdict:
        calls, corrections, activity = self._rows.values()
        counts = (self._seals, calls, corrections, self._bodies, self._absent)
        return Verdict(self._log.head, *counts, activity=activity, waiting=self._log.waiting)

    def follow_the_chain(self) -> None:
        """Every seal in order, and after each group of them its rows."""
        for group in read_seals(self._database, self._log.head):
            entries, fault = self._take(group)
            for at in range(0, len(entries), _ROWS_AT_ONCE):
                self._check_rows(entries[at : at + _ROWS_AT_ONCE])
            if fault is not None:
                raise fault
        if self._expected is not None and self._last_id < self._expected.seal_id:
            raise self._cut_off(self._expected)

    def _take(self, group: Sequence[Any]) -> tuple[list[Entry], _BrokenError | None]:
        """The entries of the group's seals up to the first that does not hold, and what is wrong with that."""
        entries: list[Entry] = []
        for seal in group:
            problem = fault_in(seal) or self._fault_in_link(seal) or self._fault_in_head(seal)
            if problem:
                return entries, _BrokenError(problem, seal_id=seal.seal_id)
            entries += entries_of(seal)
            self._last_id, self._last_hash = seal.seal_id, seal.hash
            self._seals += 1
        return entries, None

    def _fault_in_link(self, seal: Any) -> str:
        if seal.prev_hash == self._last_hash:
            return ""
        after = f"seal {self._last_id}" if self._last_id else "the beginning"
        return (
            f"The chain is broken between {after} and seal {seal.seal_id}: a seal was removed there, or put there."
        )

    def _fault_in_head(self, seal: Any) -> str:
        """Whether the chain passes by the expected head."""
        expected = self._expected
        if expected is None or self._last_id >= expected.seal_id or seal.seal_id < expected.seal_id:
            return ""
        if seal.seal_id == expected.seal_id and seal.hash == expected.hash:
            return ""
        return f"The chain was made anew: seal {expected.seal_id}, the exported head, is not on it as it was."

    def _cut_off(self, expected: Head) -> _BrokenError:
        return _BrokenError(
            f"The log was cut off: seal {expected.seal_id} of {expected.sealed_at:%Y-%m-%d %H:%M:%S} UTC, the "
            f"exported head, is gone; it had {expected.seals:,} seals, and {self._seals:,} are left.",
            seal_id=expected.seal_id,
        )

    def _check_rows(self, entries: list[Entry]) -> None:
        ids = {noun: [entry.row_id for entry in entries if entry.noun == noun] for noun in FORMS}
        with self._database.read() as db:
            rows = {key: row for noun, some in ids.items() for key, row in read_rows(db, noun, some).items()}
            texts = hash_texts(db, ids["call"])
        for entry in entries:
            self._marks.add(entry.row_id)
            self._check_row(entry, rows.get(entry.row_id))
            if entry.noun == "call":
                self._check_texts(entry, rows[entry.row_id][BODY_HASH], texts.get(entry.row_id))
        for noun, some in ids.items():
            self._rows[noun] += len(some)
        self._progress(sum(self._rows.values()), self._log.sealed)

    def _check_row(self, entry: Entry, values: Sequence[Any] | None) -> None:
        form = FORMS[entry.noun]
        if values is None:
            problem = f"The row of {entry.name} was deleted: seal {entry.seal_id} has it, the log has not."
            raise _BrokenError.at(entry, problem)
        if digest_or_none(form, values) == entry.digest:
            return
        problem = f"The row of {entry.name} was changed after seal {entry.seal_id} was made."
        if other := find_owner(self._database, self._log.head, form, values):
            problem = (
                f"The row of {entry.name} holds what seal {other.seal_id} has for {other.name}: the two were "
                "swapped, or one was copied over the other."
            )
        raise _BrokenError.at(entry, problem)

    def _check_texts(self, entry: Entry, body_hash: Any, texts: Texts | None) -> None:
        if texts is None or (texts.are_empty and texts.hash != body_hash):
            self._absent += body_hash is not None
            return
        if texts.hash == body_hash:
            self._bodies += 1
            return
        done = "changed" if body_hash is not None else "added"
        problem = f"The texts of {entry.name} were {done} after seal {entry.seal_id} was made."
        raise _BrokenError.at(entry, problem)

    def look_beside_the_chain(self) -> None:
        """Every sealed row is there as it was; now whether any is sealed twice, or not at all."""
        self._marks.settle()
        if twice := find_twice(self._database, self._log.head, self._marks):
            raise _BrokenError.at(twice, f"{twice.name} is sealed twice: seal {twice.seal_id} has it once more.")
        with self._database.read() as db:
            misplaced = find_beside(db, self._log.head, self._marks)
        if misplaced is not None:
            raise _BrokenError(misplaced.problem, call_id=misplaced.row_id)
