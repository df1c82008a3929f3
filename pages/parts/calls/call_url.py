"""Where on the Calls page somebody is: everything that its address says, read once per rerun.

Invariant: the address is the one state of the page. Widgets show it and write it, so that reload, Back and a shared
link give the same view; a parameter that cannot be understood costs one sentence, and the rest still holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from core.calls.filters import CallFilter
from core.calls.panels.parts import FAILED
from core.errors import BadInputError

CUSTOM = "custom"
DEFAULT_WINDOW = "7d"
WINDOWS = {
    "1h": ("Hour", timedelta(hours=1)),
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
    "90d": ("90 days", timedelta(days=90)),
    "all": ("All", None),
    CUSTOM: ("Custom", None),
}
SORTS = {
    "newest": ("Newest", "time", True),
    "oldest": ("Oldest", "time", False),
    "slowest": ("Slowest", "duration", True),
    "fastest": ("Fastest", "duration", False),
    "dearest": ("Most expensive", "cost", True),
    "cheapest": ("Cheapest", "cost", False),
    "largest": ("Most tokens", "tokens", True),
    "smallest": ("Fewest tokens", "tokens", False),
}
BY, TOPS = ("cost", "calls", "errors"), ("users", "sessions", "models", "nodes")
TIMES = ("duration", "first-token")
FILTER_NAMES = tuple(field.name for field in fields(CallFilter))
NARROWING = tuple(name for name in FILTER_NAMES if name not in {"since", "until"})
_LISTS = tuple(field.name for field in fields(CallFilter) if field.default == ())
_DAY = timedelta(days=1)
_MOST_BY_HOUR = timedelta(days=8)


@dataclass(frozen=True)
class Place:
    """``wanted`` is what the page shows, with the window's moments; ``narrowed`` is the same without them."""

    wanted: CallFilter
    narrowed: CallFilter
    window: str
    tz: ZoneInfo
    now: datetime
    sort: str = "newest"
    after: str | None = None
    call: str = ""
    by: str = "cost"
    top: str = "users"
    times: str = "duration"
    problems: tuple[str, ...] = ()

    @property
    def is_open_ended(self) -> bool:
        """Whether calls that begin from now on belong to it."""
        return self.wanted.until is None or self.wanted.until > self.now

    @property
    def step(self) -> timedelta:
        """How long a bar of its charts is."""
        span = self.span
        return timedelta(hours=1) if span and span[1] - span[0] <= _MOST_BY_HOUR else _DAY

    @property
    def span(self) -> tuple[datetime, datetime] | None:
        """From when to when it reaches; None for a window without beginning."""
        since, until = self.wanted.since, self.wanted.until or self.now
        return (since, until) if since is not None and since < until else None


def read_place(query: Mapping[str, list[str]], *, now: datetime, zone: str | None) -> Place:
    """What an address means at this moment to somebody whose browser is in that time zone."""
    problems: list[str] = []
    found = _read_filter(query, problems)
    chosen = _Chosen(query, problems)
    tz = _read_zone(query, zone, problems)
    if found.since and found.until and found.since >= found.until:
        problems.append("The window ends before it begins; it is left out.")
        found = replace(found, since=None, until=None)
    is_custom = found.since is not None or found.until is not None
    window = CUSTOM if is_custom else chosen.one_of("window", WINDOWS, DEFAULT_WINDOW)
    window = DEFAULT_WINDOW if window == CUSTOM and not is_custom else window
    since = found.since if is_custom else _begin(window, now, tz)
    return Place(
        wanted=replace(found, since=since),
        narrowed=replace(found, since=None, until=None),
        window=window,
        tz=tz,
        now=now,
        sort=chosen.one_of("sort", SORTS, "newest"),
        after=(query.get("after") or [None])[0],
        call=(query.get("call") or [""])[0],
        by=chosen.one_of("by", BY, "cost"),
        top=chosen.one_of("top", TOPS, "users"),
        times=chosen.one_of("times", TIMES, "duration"),
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _Chosen:
    query: Mapping[str, list[str]]
    problems: list[str]

    def one_of(self, name: str, known: Any, default: str) -> str:
        value = (self.query.get(name) or [default])[0]
        if value in known:
            return value
        names = ", ".join(known)
        self.problems.append(f"The address has {name}={value[:40]!r}, which is not known; write one of {names}.")
        return default


def _read_filter(query: Mapping[str, list[str]], problems: list[str]) -> CallFilter:
    """The filter, with each parameter read by itself so that one bad one does not take the others along."""
    found = CallFilter()
    for name in FILTER_NAMES:
        if values := [value for value in query.get(name, []) if value or name in _LISTS]:
            try:
                read = CallFilter.from_query({name: values})
            except BadInputError as error:
                problems.append(str(error))
            else:
                found = replace(found, **{name: getattr(read, name)})
    return found


def _read_zone(query: Mapping[str, list[str]], zone: str | None, problems: list[str]) -> ZoneInfo:
    wanted = (query.get("tz") or [""])[0]
    if wanted:
        try:
            return ZoneInfo(wanted)
        except (ValueError, OSError, KeyError):
            problems.append(
                f"The address has tz={wanted[:40]!r}, which is no time zone; write one like Asia/Shanghai."
            )
    try:
        return ZoneInfo(zone or "UTC")
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def _begin(window: str, now: datetime, tz: ZoneInfo) -> datetime | None:
    """Where a preset begins: at a whole minute, hour or day, so that what is counted by the hour fits it."""
    length = WINDOWS[window][1]
    if length is None:
        return None
    local = (now - length).astimezone(tz).replace(second=0, microsecond=0)
    if length >= _DAY:
        local = local.replace(minute=0)
    if length >= 30 * _DAY:
        local = local.replace(hour=0)
    return local.astimezone(UTC)


def before(place: Place) -> CallFilter | None:
    """The same for the window just before this one, as long; None where there is none."""
    if place.span is None:
        return None
    since, until = place.span
    return replace(place.wanted, since=since - (until - since), until=since)


def narrowed_by(chosen: Mapping[str, Any], *, top: str = "") -> dict[str, list[str]]:
    """What to put into the address for what was chosen in a chart; names as the charts' selections have them."""
    put = {}
    for picked, value in chosen.items():
        name = top if picked == "key" else _PICKED.get(picked, "")
        if name and value is not None:
            put[name] = [_number(value) if picked in _NUMBERS else str(value).replace("+00:00", "Z")]
    if "error_type" in chosen:  # calls that went well have no class either
        put["statuses"] = list(FAILED)
    return put


_PICKED = {
    "slot": "since",
    "until": "until",
    "model": "models",
    "node": "nodes",
    "error_type": "error_types",
    "from_ms": "min_ms",
    "to_ms": "max_ms",
    "weekday": "weekday",
    "hour": "hour",
}
_NUMBERS = {"from_ms", "to_ms", "weekday", "hour"}


def _number(value: Any) -> str:
    number = round(float(value), 3)
    return str(int(number)) if number.is_integer() else repr(number)
