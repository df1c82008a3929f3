"""The orders of the browse page's lists, and places in them: what an address says about where a page begins.

Invariant: an order is total (the id decides between equal values), so that there is exactly one place behind each
row; ``order.place_at(order.cursor_at(place)) == place``.
"""

import base64
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

from core.errors import BadInputError

Sort = Literal["active", "created", "cost", "tokens", "messages", "branches", "failed", "title", "user"]
ListName = Literal["sessions", "conversations", "threads"]

SORTS: dict[ListName, tuple[Sort, ...]] = {
    "sessions": get_args(Sort),
    "conversations": ("active", "created"),
    "threads": ("created",),
}
_MOMENTS = ("active", "created")
_WORDS = ("title", "user")
_LARGEST = 2**63
_YEARS = range(2000, 2200)


class Place(NamedTuple):
    """Where a row stands in an order, and whether the page ends before it instead of beginning behind it."""

    value: Any
    row_id: str
    before: bool = False


@dataclass(frozen=True)
class Order:
    """What a list is sorted by; ``SORTS`` says which list knows which sort."""

    sort: Sort = "active"
    descending: bool = True

    def __post_init__(self) -> None:
        if self.sort not in get_args(Sort):
            raise BadInputError(
                f"Nothing is sorted by {str(self.sort)!r:.40}; {' or '.join(get_args(Sort))} will do."
            )

    def require_for(self, name: ListName) -> None:
        """BadInputError where this list cannot be sorted so."""
        if self.sort not in SORTS[name]:
            raise BadInputError(f"The {name} are not sorted by {self.sort!r}; {' or '.join(SORTS[name])} will do.")

    def cursor_at(self, place: Place) -> str:
        """The place as a word for an address."""
        value = place.value.isoformat() if isinstance(place.value, datetime) else place.value
        known = [self.sort, self.descending, place.before, value, place.row_id]
        text = json.dumps(known, separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def place_at(self, cursor: str) -> Place:
        """The place that a word of an address means; BadInputError when it is none of this order."""
        try:
            text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            sort, descending, before, value, row_id = json.loads(text)
            if (sort, descending) != (self.sort, self.descending) or type(before) is not bool:
                raise ValueError(cursor)
            return Place(self._value(value), _word(row_id), before)
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise BadInputError(
                "The address names a page of the list that is not there; please start from the first page."
            ) from None

    def _value(self, value: Any) -> Any:
        if self.sort in _MOMENTS:
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo and moment.year in _YEARS else _refuse(value)
        if self.sort in _WORDS:
            return _word(value)
        if self.sort == "cost":
            number = float(value) if type(value) in {int, float} else math.nan
            return number if math.isfinite(number) else _refuse(value)
        return value if type(value) is int and abs(value) < _LARGEST else _refuse(value)


def cursors(
    order: Order, start: Place | None, near: Place | None, edge: Place | None
) -> tuple[str | None, str | None]:
    """The ``next`` and ``previous`` of a page that was reached from ``start`` (None: the first page).

    ``near`` is its row nearest to ``start``, ``edge`` where what follows on the way begins, if anything does.
    """

    def at(place: Place | None, *, before: bool) -> str | None:
        return None if place is None else order.cursor_at(place._replace(before=before))

    if start is not None and start.before:
        return at(near or start, before=False), at(edge, before=True)
    return at(edge, before=False), at(near, before=True) if start is not None else None


def _word(value: Any) -> str:
    """Text that a database can hold, or ValueError."""
    if not isinstance(value, str):
        raise TypeError(value)
    return value.encode().decode() if "\0" not in value else _refuse(value)


def _refuse(value: object) -> Any:
    raise ValueError(value)
