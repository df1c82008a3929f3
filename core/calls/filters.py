"""What part of the call log somebody looks at: one value, the same for panels, table, search, export and address.

Invariant: ``CallFilter.from_query(filter.to_query()) == filter``, so that every state of the page can be shared.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from core.errors import BadInputError
from core.tables import clean_text

_Reader = Callable[[str], Any]
_LISTS = ("users", "sessions", "agents", "agent_keys", "nodes", "models", "statuses", "error_types")


@dataclass(frozen=True)
class CallFilter:
    """Calls that began in ``[since, until)`` (UTC; None: without bound) and have one of each list's values.

    An empty list does not narrow; "" in a list means calls without that value. ``weekday`` (0 is Monday) and
    ``hour`` (0 to 23) are those of the viewer's time zone. ``min_ms <= duration < max_ms``. ``text`` is searched in
    what the model saw and said.
    """

    since: datetime | None = None
    until: datetime | None = None
    users: tuple[str, ...] = ()
    sessions: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    agent_keys: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    error_types: tuple[str, ...] = ()
    attributed: bool | None = None
    thread: str = ""
    message: str = ""
    weekday: int | None = None
    hour: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    text: str = ""

    def to_query(self) -> dict[str, list[str]]:
        """The filter as an address's parameters; what does not narrow is left out."""
        return {field.name: shown for field in fields(self) if (shown := _shown(getattr(self, field.name)))}

    @classmethod
    def from_query(cls, query: dict[str, list[str]]) -> "CallFilter":
        """The filter of an address; BadInputError names a parameter that cannot be understood."""
        known = {field.name for field in fields(cls)}
        return cls(
            **{
                name: _read(name, [clean_text(value) for value in values])
                for name, values in query.items()
                if name in known and values
            }
        )


def _shown(value: object) -> list[str]:
    if value is None or value in ("", ()):
        return []
    if isinstance(value, tuple):
        return [str(item) for item in value]
    if isinstance(value, datetime):
        return [value.astimezone(UTC).isoformat().replace("+00:00", "Z")]
    if isinstance(value, bool):
        return ["yes" if value else "no"]
    return [str(value)]


def _read(name: str, values: list[str]) -> Any:
    if name in _LISTS:
        return tuple(values)
    text = values[0]
    try:
        return _READERS.get(name, str)(text)
    except (ValueError, KeyError, OverflowError):
        raise BadInputError(
            f"The address has {name}={text[:40]!r}, which cannot be understood; {_HINTS[name]}."
        ) from None


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if not 2000 <= moment.year < 2200:
        raise ValueError(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _within(low: int, high: int) -> _Reader:
    def read(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise ValueError(text)
        return number

    return read


def _positive(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise ValueError(text)
    return number


_READERS: dict[str, _Reader] = {
    "since": _moment,
    "until": _moment,
    "attributed": lambda text: {"yes": True, "no": False}[text],
    "weekday": _within(0, 6),
    "hour": _within(0, 23),
    "min_ms": _positive,
    "max_ms": _positive,
}
_MOMENT_HINT = "write a moment from 2000 to 2199, like 2026-11-01T08:00Z"
_HINTS = {
    "since": _MOMENT_HINT,
    "until": _MOMENT_HINT,
    "attributed": "write yes or no",
    "weekday": "write a number from 0 (Monday) to 6",
    "hour": "write a number from 0 to 23",
    "min_ms": "write a number of milliseconds",
    "max_ms": "write a number of milliseconds",
}
