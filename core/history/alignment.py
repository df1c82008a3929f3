"""What two rows of items have in common, in order: the ground of every comparison.

A longest common subsequence is found by the bit-parallel method of Hyyrö (2004): a row of the table is one whole
number, so that its time depends on the lengths alone, never on what the items are. What is too long for one table
is first cut where a stretch of items begins that occurs once in each.

Invariant: the blocks found are the same in both and rise in both; the work grows with the length of the two.
"""

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

_LARGEST_TABLE = 9_000_000
_STRETCH = 6
_SPARSE = 16
_WEIGHTS = np.array([pow(0x9E3779B97F4A7C15, power, 1 << 63) for power in range(_STRETCH)], dtype=np.int64)

Numbers = npt.NDArray[np.int64]
Block = tuple[int, int, int]
Rectangle = tuple[int, int, int, int]
Cut = Callable[[Sequence[str], Sequence[str]], Iterator[Rectangle]]


def align(one: Sequence[str], other: Sequence[str]) -> list[Block]:
    """Where the two have the same: ``(place, place in the other, length)``, in order."""
    return [block for block in _blocks(one, other, (_at_anchors, _evenly)) if block[2]]


def _blocks(one: Sequence[str], other: Sequence[str], ways: Sequence[Cut]) -> Iterator[Block]:
    """Take away what both begin and end with; compare the rest by a table, or cut it first by the next way."""
    head = common_start(one, other)
    tail = common_start(one[head:][::-1], other[head:][::-1])
    left, right = one[head : len(one) - tail], other[head : len(other) - tail]
    yield 0, 0, head
    if len(left) * len(right) <= _LARGEST_TABLE:
        yield from ((head + i, head + j, size) for i, j, size in _common_subsequence(left, right))
    else:
        for i, end, j, other_end in ways[0](left, right):
            for at, other_at, size in _blocks(left[i:end], right[j:other_end], ways[1:]):
                yield head + i + at, head + j + other_at, size
    yield len(one) - tail, len(other) - tail, tail


def common_start(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items both begin with."""
    return next(
        (at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def _common_subsequence(one: Sequence[str], other: Sequence[str]) -> list[Block]:
    """A longest common subsequence.

    Bit i of a row is 0 where the subsequence with the other's first items grows by ``one[i]``: where that bit
    turned, going back through the rows, the two items are matched.
    """
    if len(one) > len(other):
        return [(i, j, size) for j, i, size in _common_subsequence(other, one)]
    masks: dict[str, int] = {}
    for i, item in enumerate(one):
        masks[item] = masks.get(item, 0) | 1 << i
    full = (1 << len(one)) - 1
    rows = [full]
    for item in other:
        row = rows[-1]
        if hits := row & masks.get(item, 0):
            row = ((row + hits) | (row - hits)) & full
        rows.append(row)
    return _trace(rows, len(one) - 1)


def _trace(rows: Sequence[int], i: int) -> list[Block]:
    blocks: list[Block] = []
    j, size = len(rows) - 1, 0
    while i >= 0 and j > 0:
        turned = not rows[j] >> i & 1 and rows[j - 1] >> i & 1
        if size and not turned:
            blocks.append((i + 1, j, size))
            size = 0
        if turned:
            i, j, size = i - 1, j - 1, size + 1
        elif rows[j] >> i & 1:
            i -= 1
        else:
            j -= 1
    return [*([(i + 1, j, size)] if size else []), *blocks[::-1]]


def _at_anchors(one: Sequence[str], other: Sequence[str]) -> Iterator[Rectangle]:
    """Cut where a stretch begins that each has once, as far as those come in the same order in both."""
    numbers: dict[str, int] = {}
    keys, places = _unique_stretches(one, numbers)
    other_keys, other_places = _unique_stretches(other, numbers)
    _, found, other_found = np.intersect1d(keys, other_keys, assume_unique=True, return_indices=True)
    pairs = sorted(zip(places[found].tolist(), other_places[other_found].tolist(), strict=True))
    anchors = [(0, 0), *_rising(list(_sparse(pairs))), (len(one), len(other))]
    return ((i, end, j, other_end) for (i, j), (end, other_end) in pairwise(anchors))


def _unique_stretches(items: Sequence[str], numbers: dict[str, int]) -> tuple[Numbers, Numbers]:
    """The stretches of a few items that occur once, each as a number, and where they begin.

    Should two have the same number, the texts are cut in a worse place, and nothing else.
    """
    row = np.array([numbers.setdefault(item, len(numbers)) for item in items], dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(row, _STRETCH) if len(row) >= _STRETCH else row[:0]
    keys = windows @ _WEIGHTS if len(windows) else row[:0]
    values, places, counts = np.unique(keys, return_index=True, return_counts=True)
    return values[counts == 1], places[counts == 1]


def _sparse(pairs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Of pairs that follow one another directly only some: the rest is found from there."""
    last, since = (-1, -1), 0
    for i, j in pairs:
        since = since + 1 if (i - 1, j - 1) == last else 0
        last = (i, j)
        if since % _SPARSE == 0:
            yield last


def _rising(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The longest choice of these pairs, which rise in the first place, that rises in the second too."""
    ends: list[int] = []
    tops: list[int] = []
    before: list[int] = []
    for place, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(tops[length - 1] if length else -1)
        ends[length : length + 1] = [j]
        tops[length : length + 1] = [place]
    chosen = []
    place = tops[-1] if tops else -1
    while place >= 0:
        chosen.append(pairs[place])
        place = before[place]
    return chosen[::-1]


def _evenly(one: Sequence[str], other: Sequence[str]) -> Iterator[Rectangle]:
    """Cut both into equally many parts, small enough for a table each: for what has no anchor."""
    parts = math.ceil(math.sqrt(len(one) * len(other) / _LARGEST_TABLE)) + 1
    cuts = [(len(one) * part // parts, len(other) * part // parts) for part in range(parts + 1)]
    return ((i, end, j, other_end) for (i, j), (end, other_end) in pairwise(cuts))
