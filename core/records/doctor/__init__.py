"""The doctor: finds what the two stores, and what is derived from them, disagree on, and, asked, mends it.

A *check* knows one thing that must hold, how to find what breaks it, and how that is mended. Invariant: finding
changes nothing, also beside a Skein that is at work; mending finds anew first, leaves alone what has become well
meanwhile, and takes no words of a person away that anybody could still have read.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from core.access.viewer import Viewer
from core.history.activity import HOUSE, record
from core.records.doctor.counts import CHECKS as COUNTS
from core.records.doctor.house import Check, House
from core.records.doctor.references import CHECKS as REFERENCES
from core.records.doctor.rows import CHECKS as ROWS
from core.records.doctor.states import CHECKS as STATES

__all__ = ["CHECKS", "Check", "Finding", "House", "examine", "mend"]

# In the order in which they are mended: rows that belong together first, then states, then what is derived.
CHECKS: Sequence[Check] = (*REFERENCES, *ROWS, *STATES, *COUNTS)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Finding:
    """Something that does not hold: ``ids`` are what it is about, ``mending`` what the doctor would do ("": no)."""

    kind: str
    what: str
    ids: tuple[str, ...]
    mending: str

    @property
    def mendable(self) -> bool:
        return bool(self.mending)


def examine(house: House, *, kinds: Iterable[str] = (), progress: Progress | None = None) -> list[Finding]:
    """Everything that does not hold; of these kinds only, when some are named."""
    wanted = [check for check in CHECKS if not kinds or check.kind in set(kinds)]
    found = []
    for place, check in enumerate(wanted, start=1):
        if ids := tuple(check.find(house)):
            found.append(Finding(check.kind, check.what, ids, check.mending))
        if progress is not None:
            progress(place, len(wanted))
    return found


def mend(house: House, *, viewer: Viewer = HOUSE, kinds: Iterable[str] = ()) -> list[Finding]:
    """Mend what can be, and give what was found; what could not be mended is found again by ``examine``."""
    found = []
    for check in CHECKS:
        if kinds and check.kind not in set(kinds):
            continue
        if ids := tuple(check.find(house)):
            found.append(Finding(check.kind, check.what, ids, check.mending))
            if check.mend is not None:
                check.mend(house, ids)
                _tell(house, viewer, check.kind, len(ids))
    return found


def _tell(house: House, viewer: Viewer, kind: str, count: int) -> None:
    house.database.write(lambda db: record(db, viewer, "doctor.mend", detail={"kind": kind, "count": count}))
