"""The orders of the call table, and places in them: what a page's address says about where the page begins.

Invariant: an order is total (calls without a value stand last, then the id decides), so that there is exactly one
place behind each call; ``order.place_at(order.cursor_at(place)) == place``.
"""

import base64
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, get_args

from core.errors import BadInputError

Sort = Literal["time", "duration", "cost", "tokens"]


class Place(NamedTuple):
    """Where a call stands in an order: by its value there; one without a value stands behind all others."""

    value: Any
    call_id: str


@dataclass(frozen=True)
class Order:
    """What the table is sorted by; what was searched for by a text has an order of its own, newest first."""

    sort: Sort | Literal["text"] = "time"
    descending: bool = True

    def __post_init__(self) -> None:
        if self.sort not in {*get_args(Sort), "text"}:
            raise BadInputError(
                f"Calls cannot be sorted by {self.sort!r:.40}; {' or '.join(get_args(Sort))} will do."
            )

    def cursor_at(self, place: Place) -> str:
        """The place as a word for an address."""
        value = place.value.isoformat() if isinstance(place.value, datetime) else place.value
        text = json.dumps([self.sort, self.descending, value, place.call_id], separators=(",", ":"))
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def place_at(self, cursor: str) -> Place:
        """The place that a word of an address means; BadInputError when it is none of this order."""
        try:
            sort, descending, value, call_id = json.loads(
                base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
            )
            if (sort, descending) != (self.sort, self.descending) or not isinstance(call_id, str):
                raise ValueError(cursor)
            return Place(self._value(value), call_id.encode().decode().replace("\0", ""))
        except (ValueError, TypeError, OverflowError, RecursionError):
            raise BadInputError(
                "The address names a page of the call table that is not there; please start from the first page."
            ) from None

    def _value(self, value: Any) -> Any:
        if self.sort == "time":
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else _refuse(value)
        if value is None or self.sort == "text":
            return None
        if self.sort == "tokens":
            return value if type(value) is int and abs(value) < 2**31 else _refuse(value)
        number = float(value) if type(value) in {int, float} else math.nan
        return number if math.isfinite(number) else _refuse(value)

    def rank(self, place: Place) -> tuple[bool, Any, str]:
        """What places are sorted by, from high to low when ``descending``."""
        missing = place.value is None
        return missing is not self.descending, 0 if missing else place.value, place.call_id


def _refuse(value: object) -> Any:
    raise ValueError(value)
