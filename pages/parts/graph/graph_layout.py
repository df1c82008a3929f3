"""Where the nodes of an agent's graph stand in a picture, and along which points the edges between them go.

Invariant: pure, and the same places for the same graph. Edges go downwards, from row to row; those that lead back
go upwards, and a long edge passes other rows at places of its own, which edges to the same node share.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

BOX, _PASSAGE, ROW = 150.0, 30.0, 68.0
# How many nodes of a layer may stand in a row, from the best; the first is taken that is no wider than this.
_IN_ROW, _WIDEST = (3, 2, 4), 380.0
_SWEEPS = 6
Point = tuple[float, float]
Edge = tuple[int, int]


@dataclass(frozen=True)
class Laid:
    """Each node's centre in pixels, and for each edge the points between its ends, in its own direction."""

    places: list[Point]
    routes: list[list[Point]]
    width: float
    height: float


@dataclass
class _Rows:
    """Items (first the nodes, then passages) in rows, and which stand below which."""

    rows: list[list[int]]
    below: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))
    above: dict[int, set[int]] = field(default_factory=lambda: defaultdict(set))

    def link(self, upper: int, lower: int) -> None:
        self.below[upper].add(lower)
        self.above[lower].add(upper)


def lay_out(count: int, edges: Sequence[Edge], *, last: int | None = None) -> Laid:
    """Places for ``count`` nodes, of which the first is where the graph begins, and ``last`` where it ends."""
    back = _find_back(count, edges)
    down = [(end, start) if (start, end) in back else (start, end) for start, end in edges]
    layers = _layers(count, [edge for edge in down if edge[0] != edge[1]], last)
    tried = [_lay_out(edges, down, _fold(layers, most)) for most in _IN_ROW]
    return next((laid for laid in tried if laid.width <= _WIDEST), min(tried, key=lambda laid: laid.width))


def _lay_out(edges: Sequence[Edge], down: Sequence[Edge], row_of: list[int]) -> Laid:
    count = len(row_of)
    rows = _Rows([[] for _ in range(max(row_of, default=0) + 1)])
    for node, row in enumerate(row_of):
        rows.rows[row].append(node)
    chains = _pass_rows(count, edges, down, row_of, rows)
    _order(rows)
    x_of = _place(rows, count)
    left, right = min(x_of.values(), default=0.0), max(x_of.values(), default=0.0)
    points = {item: (x_of[item] - left, place * ROW) for place, row in enumerate(rows.rows) for item in row}
    routes = [
        [points[item] for item in (chain if edge == way else reversed(chain))]
        for edge, way, chain in zip(edges, down, chains, strict=True)
    ]
    return Laid([points[node] for node in range(count)], routes, right - left, (len(rows.rows) - 1) * ROW)


def _find_back(count: int, edges: Sequence[Edge]) -> set[Edge]:
    """The edges that lead to where one comes from, walking from the first node."""
    targets: dict[int, list[int]] = defaultdict(list)
    for start, end in edges:
        targets[start].append(end)
    back: set[Edge] = set()
    done: set[int] = set()
    for root in range(count):
        path: list[tuple[int, int]] = [] if root in done else [(root, 0)]
        on_path = {root} if path else set()
        while path:
            node, turn = path.pop()
            if turn == len(targets[node]):
                done.add(node)
                on_path.discard(node)
                continue
            path.append((node, turn + 1))
            target = targets[node][turn]
            if target in on_path:
                back.add((node, target))
            elif target not in done:
                path.append((target, 0))
                on_path.add(target)
    return back


def _layers(count: int, down: Sequence[Edge], last: int | None) -> list[int]:
    """How many steps each node is from the beginning, by the longest way; the last one is below all others."""
    ways_in = [0] * count
    targets: dict[int, list[int]] = defaultdict(list)
    for start, end in down:
        targets[start].append(end)
        ways_in[end] += 1
    layer = [0] * count
    ready = [node for node in range(count) if ways_in[node] == 0]
    while ready:
        node = ready.pop()
        for target in targets[node]:
            layer[target] = max(layer[target], layer[node] + 1)
            ways_in[target] -= 1
            if ways_in[target] == 0:
                ready.append(target)
    if last is not None:
        layer[last] = max(layer[last], *(layer[node] + 1 for node in range(count) if node != last))
    return layer


def _fold(layers: list[int], most: int) -> list[int]:
    """The same layers, those of many nodes in several rows."""
    members: dict[int, list[int]] = defaultdict(list)
    for node, layer in enumerate(layers):
        members[layer].append(node)
    rows, row = [0] * len(layers), 0
    for layer in sorted(members):
        for at, node in enumerate(members[layer]):
            rows[node] = row + at // most
        row += -(-len(members[layer]) // most)
    return rows


def _pass_rows(
    count: int, edges: Sequence[Edge], down: Sequence[Edge], row_of: list[int], rows: _Rows
) -> list[list[int]]:
    """For each edge the passages through the rows between its ends, from the top; they are added to the rows."""
    passages: dict[tuple[bool, int, int], int] = {}
    chains = []
    for edge, (upper, lower) in zip(edges, down, strict=True):
        is_back, chain = edge != (upper, lower), []
        for row in range(row_of[upper] + 1, row_of[lower]):
            key = (is_back, upper if is_back else lower, row)
            if key not in passages:
                passages[key] = count + len(passages)
                rows.rows[row].append(passages[key])
            chain.append(passages[key])
        if upper != lower:
            for one, other in pairwise([upper, *chain, lower]):
                rows.link(one, other)
        chains.append(chain)
    return chains


def _order(rows: _Rows) -> None:
    """Let each stand near those it is linked with, sweeping down and up."""
    for sweep in range(_SWEEPS):
        is_down = sweep % 2 == 0
        near = rows.above if is_down else rows.below
        order = rows.rows if is_down else rows.rows[::-1]
        at = {item: place / max(1, len(row) - 1) for row in rows.rows for place, item in enumerate(row)}
        for row in order:
            wanted = {item: _mean([at[one] for one in near[item]], at[item]) for item in row}
            row.sort(key=wanted.__getitem__)
            at |= {item: place / max(1, len(row) - 1) for place, item in enumerate(row)}


def _place(rows: _Rows, count: int) -> dict[int, float]:
    """Where each stands from left to right: in the middle of its neighbours, as far as there is room."""
    x_of = {item: x for row in rows.rows for item, x in _spread(row, [0.0] * len(row), count).items()}
    for sweep in range(_SWEEPS):
        for row in rows.rows if sweep % 2 == 0 else rows.rows[::-1]:
            wanted = [
                _mean([x_of[one] for one in (*rows.above[item], *rows.below[item])], x_of[item]) for item in row
            ]
            x_of |= _spread(row, wanted, count)
    return x_of


def _spread(row: list[int], wanted: list[float], count: int) -> dict[int, float]:
    """As near to what is wanted as can be without one standing in another."""
    found: list[float] = []
    for place, want in enumerate(wanted):
        free = found[-1] + _apart(row[place - 1], row[place], count) if found else want
        found.append(max(want, free))
    shift = _mean([want - x for want, x in zip(wanted, found, strict=True)], 0.0)
    return {item: x + shift for item, x in zip(row, found, strict=True)}


def _apart(one: int, other: int, count: int) -> float:
    return sum(BOX if item < count else _PASSAGE for item in (one, other)) / 2


def _mean(values: list[float], otherwise: float) -> float:
    return sum(values) / len(values) if values else otherwise
