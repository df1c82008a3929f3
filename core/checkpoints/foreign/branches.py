"""The ways that a thread's checkpoints took: rows of checkpoints without a fork, and where each grew from.

A fork is a checkpoint that more than one other names as its parent. Invariant: every checkpoint is in exactly one
stretch, also where a parent is missing or parents go round in a circle; the work grows with their number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stretch:
    """Checkpoints in a row, oldest first; ``parent`` is the place of the stretch that they grew from, if any."""

    checkpoint_ids: tuple[str, ...]
    parent: int | None
    depth: int
    problem: str = ""

    @property
    def newest(self) -> str:
        return self.checkpoint_ids[-1]


def to_stretches(checkpoints: Iterable[tuple[str, str | None]]) -> list[Stretch]:
    """The stretches of these (id, parent's id), each behind the one that it grew from."""
    parents = dict(sorted(checkpoints))
    children: dict[str, list[str]] = {}
    for own, parent in parents.items():
        if parent in parents:
            children.setdefault(str(parent), []).append(own)
    stretches: list[Stretch] = []
    seen: set[str] = set()
    for root, problem in _roots(parents, seen):
        _follow(root, problem, children, stretches, seen)
    return stretches


def _roots(parents: dict[str, str | None], seen: set[str]) -> Iterator[tuple[str, str]]:
    """Where to begin: what has no parent here, and then one of each circle that nothing led to."""
    for own, parent in parents.items():
        if parent not in parents:
            yield own, "its parent is not in the file" if parent else ""
    for own in parents:
        if own not in seen:
            yield own, "its parents go round in a circle"


def _follow(
    root: str, problem: str, children: dict[str, list[str]], stretches: list[Stretch], seen: set[str]
) -> None:
    waiting: list[tuple[str, int | None, int, str]] = [(root, None, 0, problem)]
    while waiting:
        first, parent, depth, said = waiting.pop()
        row = _row(first, children, seen)
        if not row:
            continue
        stretches.append(Stretch(tuple(row), parent, depth, said))
        place = len(stretches) - 1
        waiting += [(one, place, depth + 1, "") for one in reversed(children.get(row[-1], ()))]


def _row(first: str, children: dict[str, list[str]], seen: set[str]) -> list[str]:
    row: list[str] = []
    following: Sequence[str] = (first,)
    while len(following) == 1 and following[0] not in seen:
        row.append(following[0])
        seen.add(following[0])
        following = children.get(following[0], ())
    return row


def count_branches(checkpoints: Iterable[tuple[str, str | None]]) -> int:
    """How many ends there are: checkpoints that no other grew from."""
    rows = list(checkpoints)
    grown = {parent for _, parent in rows}
    return sum(own not in grown for own, _ in rows)
