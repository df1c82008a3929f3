"""Dates as people type them: a year, a month, a day, a minute, ``7d`` ago, ``yesterday``.

Invariant: a date is a period, from its first moment to the first one after it, in the zone of whoever typed it;
``7d`` and ``now`` are periods without length.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from core.errors import BadInputError

Period = tuple[datetime, datetime]
EXAMPLES = "write a date like 2026-11-01 or 2026-11, or 7d, 2w, 3h, today or yesterday"
_AGO = re.compile(r"(\d{1,6})\s*(min|mo|h|d|w|y)", re.ASCII | re.IGNORECASE)
_PARTS = re.compile(r"(\d{4})(?:[-/.](0?[1-9]|1[0-2])(?:[-/.](0?[1-9]|[12]\d|3[01]))?)?", re.ASCII)
_UNITS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "mo": timedelta(days=30),
    "y": timedelta(days=365),
}
_DAY = timedelta(days=1)
_FIRST, _LAST = 2000, 2199


@dataclass(frozen=True)
class Clock:
    """Where and when a query is read."""

    zone: ZoneInfo
    now: datetime

    def period(self, text: str) -> Period:
        """The period, in UTC, that a text names; ValueError when it names none from 2000 to 2199."""
        start, end = self._named(text.strip().lower())
        if not _FIRST <= start.year <= _LAST:
            raise ValueError(text)
        return start.astimezone(UTC), end.astimezone(UTC)

    def _named(self, text: str) -> Period:
        if text == "now":
            return self.now, self.now
        if text in {"today", "yesterday"}:
            day = self.now.astimezone(self.zone).date() - (_DAY if text == "yesterday" else timedelta())
            return self._start(day.year, day.month, day.day), self._after_day(day.year, day.month, day.day)
        if match := _AGO.fullmatch(text):
            moment = self.now - int(match[1]) * _UNITS[match[2]]
            return moment, moment
        if match := _PARTS.fullmatch(text):
            return self._date(int(match[1]), int(match[2] or 0), int(match[3] or 0))
        return self._moment(text)

    def _date(self, year: int, month: int, day: int) -> Period:
        if not month:
            return self._start(year, 1, 1), self._start(year + 1, 1, 1)
        if not day:
            return self._start(year, month, 1), self._start(year + month // 12, month % 12 + 1, 1)
        return self._start(year, month, day), self._after_day(year, month, day)

    def _moment(self, text: str) -> Period:
        moment = datetime.fromisoformat(text.upper().replace("/", "-"))
        moment = moment.replace(tzinfo=self.zone) if moment.tzinfo is None else moment
        exact = moment.second or moment.microsecond or text.count(":") > 1
        return moment, moment if exact else moment + timedelta(minutes=1)

    def _start(self, year: int, month: int, day: int) -> datetime:
        return datetime(year, month, day, tzinfo=self.zone)

    def _after_day(self, year: int, month: int, day: int) -> datetime:
        following = datetime(year, month, day) + _DAY  # noqa: DTZ001 - a day of the calendar, not a moment
        return self._start(following.year, following.month, following.day)


def read_period(clock: Clock, typed: str, text: str) -> Period:
    """The period a text names; BadInputError quotes ``typed`` when it names none."""
    try:
        return clock.period(text)
    except (ValueError, OverflowError):
        raise BadInputError(f"{typed} has no date that can be understood; {EXAMPLES}.") from None
