"""Where on the Browse page somebody is: everything that its address says, read once per rerun.

What is looked for has one form, the text of ``q``: whoever types changes it, and so do the widgets and chips.
Invariant: the address is the one state of the page; a part of it that cannot be understood costs one sentence, and
the rest still holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from zoneinfo import ZoneInfo

from core.errors import BadInputError
from core.history.browse.filters import ALL, SessionFilter
from core.history.browse.orders import SORTS, ListName, Order, Sort
from core.history.browse.query import parse

TABS = {
    "sessions": "Sessions",
    "conversations": "Conversations",
    "threads": "Threads",
    "review": "Review",
    "activity": "Activity",
}
TABLES: tuple[ListName, ...] = ("sessions", "conversations", "threads")
SORT_WORDS: dict[Sort, tuple[str, str]] = {
    "active": ("Last active first", "Longest idle first"),
    "created": ("Newest first", "Oldest first"),
    "cost": ("Most expensive", "Cheapest"),
    "tokens": ("Most tokens", "Fewest tokens"),
    "messages": ("Most messages", "Fewest messages"),
    "branches": ("Most branches", "Fewest branches"),
    "failed": ("Most failed", "Fewest failed"),
    "title": ("Title Z to A", "Title A to Z"),
    "user": ("User Z to A", "User A to Z"),
}
"""For each sort its name downwards and upwards."""
OF_ONE = ("session", "tab", "before", "about", "thread", "checkpoint", "ns", "look", "event")
"""What of the address is about the one session or thread that is open, not about the list."""


@dataclass(frozen=True)
class Place:
    """``query`` is what was typed, ``wanted`` what it means; ``unclear`` is why it means nothing, else ""."""

    tab: str
    query: str
    wanted: SessionFilter
    unclear: str
    order: Order
    after: str | None
    tz: ZoneInfo
    now: datetime
    problems: tuple[str, ...] = ()

    @property
    def table(self) -> ListName:
        """Which list the page's order is for; the review and the activity have none of their own."""
        return cast(ListName, self.tab) if self.tab in TABLES else "sessions"


def read_place(query: Mapping[str, list[str]], *, now: datetime, zone: str | None) -> Place:
    """What an address means at this moment to somebody whose browser is in that time zone."""
    problems: list[str] = []
    tab = _one_of(query, "list", tuple(TABS), "sessions", problems)
    table = cast(ListName, tab) if tab in TABLES else "sessions"
    tz, text = _zone(zone), _first(query, "q")
    wanted, unclear = _read_query(text, tz, now)
    return Place(
        tab=tab,
        query=text,
        wanted=wanted,
        unclear=unclear,
        order=_read_order(query, table, problems),
        after=_first(query, "after") or None,
        tz=tz,
        now=now,
        problems=tuple(problems),
    )


def _read_query(text: str, tz: ZoneInfo, now: datetime) -> tuple[SessionFilter, str]:
    try:
        return parse(text, zone=tz, now=now), ""
    except BadInputError as error:
        return ALL, str(error)


def _read_order(query: Mapping[str, list[str]], table: ListName, problems: list[str]) -> Order:
    """A sort that another list knows is no mistake: the address keeps it while one looks at this one."""
    known = SORTS[table]
    sort = _one_of(query, "sort", tuple(SORT_WORDS), known[0], problems)
    if sort not in known:
        return Order(known[0])
    down = _one_of(query, "down", ("1", "0"), default_way(sort), problems)
    return Order(cast(Sort, sort), descending=down == "1")


def default_way(sort: str) -> str:
    """Which way a sort goes at first: words from A to Z, all else from the largest down."""
    return "0" if sort in {"title", "user"} else "1"


def _one_of(
    query: Mapping[str, list[str]], name: str, known: tuple[str, ...], default: str, problems: list[str]
) -> str:
    value = _first(query, name) or default
    if value in known:
        return value
    problems.append(f"The address has {name}={value[:40]!r}, which is not known; write one of {', '.join(known)}.")
    return default


def _first(query: Mapping[str, list[str]], name: str) -> str:
    return (query.get(name) or [""])[0]


def _zone(zone: str | None) -> ZoneInfo:
    try:
        return ZoneInfo(zone or "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")
