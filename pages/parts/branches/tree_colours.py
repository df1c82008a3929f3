"""What the colours of a conversation's tree say: a name and a colour for each kind of mark.

Pure functions. Invariant: a status, agent or author has the same colour in every tree; costs and times are a scale
whose steps say their unit, and what has no cost or time is outside of it.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import floor, log10

from pages.parts.branches.tree_summary import STATUSES, Summary
from pages.parts.ui.chart_parts import GRAY, colors_of
from pages.parts.ui.format import dollars

STATUS_COLORS = {
    "done": "#14a394",
    "queued": "#8fb6dc",
    "running": "#4f8fd0",
    "waiting": "#f0a330",
    "stopped": "#b5835a",
    "failed": "#e04f5f",
    "lost": "#9a7fd1",
}
# From little to much.
SCALE = ("#ecc95f", "#e99c3c", "#d96a45", "#b5446a", "#86409a")
NOBODY, NO_AGENT, NO_TIME, FREE, UNPRICED = "(nobody)", "(no agent)", "not over", "free", "unpriced"
_FREE_COLOR = "#7fb7ad"
_MOST = 7


class ColourBy(StrEnum):
    """What a mark's colour says."""

    STATUS = "status"
    AGENT = "agent"
    AUTHOR = "author"
    COST = "cost"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Colours:
    """Names with their colours, as the legend lists them, and for each mark the place of its own among them."""

    names: list[str]
    colors: list[str]
    places: list[int]


def colour(said: Sequence[Summary], by: ColourBy) -> Colours:
    """What colour each mark has, and what it says."""
    match by:
        case ColourBy.STATUS:
            names = [about.status for about in said]
            used = [status for status in reversed(STATUSES) if status in set(names)]
            return _placed(names, used, [STATUS_COLORS[status] for status in used])
        case ColourBy.AGENT:
            return _named([next(iter(about.agents), NO_AGENT) for about in said])
        case ColourBy.AUTHOR:
            return _named([next(iter(about.authors), NOBODY) for about in said])
        case ColourBy.COST:
            return _scaled([about.cost_usd for about in said], UNPRICED, dollars, zero=FREE)
        case ColourBy.TIME:
            return _scaled([about.seconds for about in said], NO_TIME, _seconds)


def _placed(names: Sequence[str], used: list[str], colors: list[str]) -> Colours:
    places = {name: place for place, name in enumerate(used)}
    return Colours(used, colors, [places[name] for name in names])


def _named(names: list[str]) -> Colours:
    """The most used ones, each with its own colour; the rest, if there are too many, are one."""
    used = [name for name, _ in Counter(names).most_common()]
    if len(used) <= _MOST + 1:
        return _placed(names, used, colors_of(used))
    kept, rest = used[:_MOST], f"{len(used) - _MOST} others"
    folded = [name if name in set(kept) else rest for name in names]
    return _placed(folded, [*kept, rest], [*colors_of(kept), GRAY])


def _scaled(values: Sequence[float | None], unknown: str, says: Callable[[float], str], zero: str = "") -> Colours:
    """Steps from little to much, about as many marks in each; ``zero`` names what costs nothing."""
    known = [value for value in values if value or (value is not None and not zero)]
    bounds = _bounds(known)
    steps = _step_names(bounds, max(known, default=0), says)

    def name_of(value: float | None) -> str:
        if value is None:
            return unknown
        return steps[bisect_left(bounds, value)] if value or not zero else zero

    names = [name_of(value) for value in values]
    colors = dict(zip(steps, _spread(len(steps)), strict=True)) | {zero: _FREE_COLOR, unknown: GRAY}
    used = [name for name in (zero, *steps, unknown) if name in set(names)]
    return _placed(names, used, [colors[name] for name in used])


def _bounds(values: Sequence[float]) -> list[float]:
    """At most four round numbers that part the values into steps of about the same size."""
    ordered = sorted(values)
    found = {_rounded_up(ordered[len(ordered) * part // 5]) for part in range(1, 5)} if ordered else set()
    return sorted(bound for bound in found if 0 < bound < ordered[-1])


def _rounded_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 and so on."""
    if value <= 0:
        return 0.0
    power = 10.0 ** floor(log10(value))
    return next(float(f"{times * power:.1g}") for times in (1, 2, 5, 10) if value <= times * power * 1.000001)


def _step_names(bounds: Sequence[float], most: float, says: Callable[[float], str]) -> list[str]:
    if not bounds:
        return [f"up to {says(_rounded_up(most))}"]
    between = [f"{says(low)} to {says(high)}" for low, high in pairwise(bounds)]
    return [f"up to {says(bounds[0])}", *between, f"over {says(bounds[-1])}"]


def _spread(count: int) -> list[str]:
    return [SCALE[place * (len(SCALE) - 1) // max(count - 1, 1)] for place in range(count)]


def _seconds(seconds: float) -> str:
    return f"{seconds:,g} s"
