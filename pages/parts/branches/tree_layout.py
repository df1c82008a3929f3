"""Where the messages of a conversation's tree stand: marks on columns (left to right) and lanes (top to bottom).

A line of messages runs straight along its lane; at a fork one child keeps the lane (the one on the current path,
else the one with most below it) and the others begin lanes of their own further down. Invariants: every message is
in exactly one mark, no two marks share a place, no line crosses another, and the current path runs along the first
lane. Nothing here recurses: a tree may be ten thousand messages deep.
"""

from collections.abc import Collection, Iterable, Set
from dataclasses import dataclass, field
from zlib import crc32

from core.history.tree import Node, Tree
from core.ids import MessageId

# Up to so many marks there is room for a label at each.
FEW = 150
# Pixels at 100 %, from column to column and from lane to lane: wide enough for a label, or for a mark alone.
ROOMY, DENSE = (150, 54), (58, 36)
_CALLS_FOR_AN_EYE = {"queued", "running", "waiting"}


@dataclass(frozen=True, slots=True)
class Mark:
    """One message, or a run of messages without a fork taken together, at a place in pixels at 100 %."""

    ids: tuple[MessageId, ...]
    x: int
    y: int
    parent: MessageId | None
    on_path: bool

    @property
    def key(self) -> MessageId:
        """The first of its messages; ``parent`` is such a key too."""
        return self.ids[0]

    @property
    def count(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Layout:
    """Marks, parents before children; links as places in ``marks``: (parent, child); the box they all stand in."""

    marks: tuple[Mark, ...]
    links: tuple[tuple[int, int], ...]
    width: int
    height: int
    step: int

    @property
    def has_room(self) -> bool:
        """Whether each mark may have a label."""
        return self.step == ROOMY[0]

    @property
    def identity(self) -> str:
        """The same for the same marks in the same order: whose place a click is about."""
        return f"tree-{crc32(' '.join(f'{mark.key}{mark.count}' for mark in self.marks).encode()):08x}"

    @property
    def head(self) -> int | None:
        """The place of the mark that the current path ends with."""
        return max((place for place, mark in enumerate(self.marks) if mark.on_path), default=None)

    def find(self, message_id: MessageId | None) -> Mark | None:
        """The mark that a message is in."""
        return next((mark for mark in self.marks if message_id in mark.ids), None)


@dataclass(slots=True)
class _Plan:
    """The tree, and its marks as they are placed: messages, column, lane, and the parent's place in the list."""

    tree: Tree
    path: Set[MessageId]
    sizes: dict[MessageId, int]
    inner: Set[MessageId]
    runs: list[tuple[MessageId, ...]] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    lanes: list[int] = field(default_factory=list)
    parents: list[int | None] = field(default_factory=list)
    # The lowest lane taken so far in each column.
    taken: list[int] = field(default_factory=list)


# The place of a mark (None: nothing), and what begins a lane of its own below it, the first one last.
_Beside = tuple[int | None, list[MessageId]]


def lay_out(
    tree: Tree, *, current: MessageId | None, opened: Set[MessageId], never_collapse: Collection[MessageId]
) -> Layout:
    """The tree's marks: runs are taken together, but for those whose first message is in ``opened``."""
    path = set(tree.path(current)) if current is not None else set()
    plan = _Plan(tree, path, _sizes(tree), _inner_of(tree, {current, *never_collapse}, opened))
    roots = _straight_first(plan, tree.children(None))
    # What is on top is placed with all that hangs below it before the next: so no two lines cross.
    waiting: list[_Beside] = [(None, roots[::-1])]
    while waiting:
        parent, beside = waiting[-1]
        if beside:
            waiting.extend(_place_line(plan, beside.pop(), parent))
        else:
            waiting.pop()
    return _to_layout(plan)


def _inner_of(tree: Tree, kept: Set[MessageId | None], opened: Set[MessageId]) -> set[MessageId]:
    """The messages that may be taken together with their neighbours."""
    inner = {
        one
        for one, below in tree.below.items()
        if one is not None and len(below) == 1 and one not in kept and _is_plain(tree.nodes[one])
    }
    inner.difference_update(tree.children(None))
    for first in opened & inner:
        at = first if tree.nodes[first].parent_message_id not in inner else None
        while at in inner:
            inner.discard(at)
            at = tree.below[at][0]
    return inner


def _is_plain(node: Node) -> bool:
    return node.status not in _CALLS_FOR_AN_EYE


def _sizes(tree: Tree) -> dict[MessageId, int]:
    """How many messages each one's subtree has."""
    sizes = dict.fromkeys(tree.nodes, 1)
    for node in reversed(tree.nodes.values()):
        if node.parent_message_id in sizes:
            sizes[node.parent_message_id] += sizes[node.message_id]
    return sizes


def _straight_first(plan: _Plan, beside: list[MessageId]) -> list[MessageId]:
    """The one that keeps the lane before the others, which stay in their order."""
    if len(beside) < 2:
        return beside
    straight = max(beside, key=lambda one: (one in plan.path, plan.sizes[one]))
    return [straight, *(one for one in beside if one != straight)]


def _place_line(plan: _Plan, start: MessageId, parent: int | None) -> list[_Beside]:
    """Put a line on the first free lane below its parent's; gives what branches off it, the rightmost fork last."""
    first = len(plan.runs)
    column = 0 if parent is None else plan.columns[parent] + 1
    branching: list[_Beside] = []
    below, above = [start], parent
    while below:
        if len(below) > 1:
            branching.append((above, below[:0:-1]))
        run = _run_from(plan, below[0])
        plan.columns.append(column + len(plan.runs) - first)
        plan.runs.append(run)
        plan.parents.append(above)
        above = len(plan.runs) - 1
        below = _straight_first(plan, plan.tree.children(run[-1]))
    _take_lane(plan, first)
    return branching


def _run_from(plan: _Plan, start: MessageId) -> tuple[MessageId, ...]:
    """The messages that stand in one mark with this one, which is the first of them."""
    run, below = [start], plan.tree.below
    while run[-1] in plan.inner and below[run[-1]][0] in plan.inner:
        run.append(below[run[-1]][0])
    return tuple(run)


def _take_lane(plan: _Plan, first: int) -> None:
    """Give the marks from ``first`` on the first lane below all that stands in their columns."""
    begin, end = plan.columns[first], plan.columns[-1] + 1
    plan.taken.extend([-1] * (end - len(plan.taken)))
    lane = max(plan.taken[begin:end]) + 1
    plan.taken[begin:end] = [lane] * (end - begin)
    plan.lanes.extend([lane] * (end - begin))


def _to_layout(plan: _Plan) -> Layout:
    step, pitch = ROOMY if len(plan.runs) <= FEW else DENSE
    marks = tuple(
        Mark(run, column * step, lane * pitch, None if above is None else plan.runs[above][0], run[0] in plan.path)
        for run, column, lane, above in zip(plan.runs, plan.columns, plan.lanes, plan.parents, strict=True)
    )
    links = tuple((above, place) for place, above in enumerate(plan.parents) if above is not None)
    width, height = max(plan.columns, default=0) * step, max(plan.lanes, default=0) * pitch
    return Layout(marks, links, width, height, step)


def corners_of(layout: Layout) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """The lines that leave their lane, as right angles: points besides the marks, and the segments between.

    Segments name marks by their place and points by their place after the last mark. Each such line begins on the
    straight one from the same mark.
    """
    points: list[tuple[int, int]] = []
    segments: list[tuple[int, int]] = []
    for parent, children in _bent(layout):
        start = layout.marks[parent]
        turn = start.x + layout.step * 2 // 5
        at = _add(points, layout, (turn, start.y))
        for child in sorted(children, key=lambda place: layout.marks[place].y):
            corner = _add(points, layout, (turn, layout.marks[child].y))
            segments += [(at, corner), (corner, child)]
            at = corner
    return points, segments


def _bent(layout: Layout) -> Iterable[tuple[int, list[int]]]:
    bent: dict[int, list[int]] = {}
    for parent, child in layout.links:
        if layout.marks[parent].y != layout.marks[child].y:
            bent.setdefault(parent, []).append(child)
    return bent.items()


def _add(points: list[tuple[int, int]], layout: Layout, point: tuple[int, int]) -> int:
    points.append(point)
    return len(layout.marks) + len(points) - 1
