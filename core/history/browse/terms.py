"""What the terms of the language mean: lists of names, yes or no, numbers, times.

Invariant: a value that is none of those possible is refused with a sentence that quotes it and says what is.
"""

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn, cast

from core.errors import BadInputError
from core.history.browse.filters import SHELVES, VERDICTS, Limit, Measure, Operator
from core.history.browse.keys import KEYS
from core.history.browse.moments import Clock, Period, read_period
from core.history.browse.syntax import Part, nearest, shown
from core.ids import to_session_id
from core.tables import THREAD_STATUSES

__all__ = ["FLAGS", "KEYS", "LISTS", "MOMENTS", "number_text", "read_flag", "read_limits", "read_list"]

Bounds = tuple[datetime | None, datetime | None]
LISTS = {
    "session": "sessions",
    "user": "users",
    "status": "statuses",
    "agent": "agents",
    "model": "models",
    "tag": "tags",
    "title": "titles",
    "review": "verdicts",
}
_ONLY_WANTED = ("sessions", "verdicts")
# key: the words behind it, each with what it sets; the first word of each is the canonical one.
FLAGS: dict[str, dict[str, tuple[str, Any]]] = {
    "is": {
        "starred": ("starred", True),
        "reviewed": ("reviewed", True),
        "unreviewed": ("reviewed", False),
        "waiting": ("waits", True),
        "worrying": ("worrying", True),
        "archived": ("shelves", "archived"),
        "active": ("shelves", "active"),
    },
    "has": {
        "errors": ("has_errors", True),
        "error": ("has_errors", True),
        "tags": ("tagged", True),
        "tag": ("tagged", True),
    },
}
_OTHER_SHELF = {"active": "archived", "archived": "active"}
_LARGEST = 1e15
_SIZES = {"k": 1e3, "m": 1e6}


def read_list(part: Part) -> dict[str, list[str]]:
    """The names that a term asks for, by the filter's list they go to."""
    _require_sign(part, ":")
    values = [part.whole()] if part.key == "title" else part.values()
    if not any(values):
        raise BadInputError(
            f"{shown(part.text)} has nothing behind it; write it without a space: {_example(part.key)}."
        )
    name = LISTS[part.key]
    if part.excluded and name in _ONLY_WANTED:
        _refuse_minus(part)
    if part.key == "status":
        return _read_statuses(part, values)
    if part.key == "review":
        values = [_known(part, value, VERDICTS) for value in values]
    if part.key == "session":
        values = [to_session_id(value) for value in values]
    return {f"not_{name}" if part.excluded else name: values}


def read_flag(part: Part) -> list[tuple[str, Any]]:
    """What a term says yes or no to: names of the filter's fields, with their values."""
    _require_sign(part, ":")
    words = FLAGS[part.key]
    known = [_known(part, value, tuple(words)) for value in part.values() or [""]]
    return [_with_minus(*words[value], excluded=part.excluded) for value in known]


def read_limits(part: Part) -> list[Limit]:
    """The bounds on something counted that a term names."""
    if part.excluded:
        _refuse_minus(part)
    low, dots, high = part.whole().partition("..")
    if dots and part.sign in {":", "="} and (low or high):
        return [_limit(part, sign, text) for sign, text in ((">=", low), ("<=", high)) if text]
    return [_limit(part, "=" if part.sign == ":" else part.sign, part.whole())]


def number_text(value: float) -> str:
    """A number as a query has it."""
    return repr(int(value)) if value.is_integer() else repr(value)


def _with_minus(name: str, value: Any, *, excluded: bool) -> tuple[str, Any]:
    if not excluded:
        return name, value
    return name, _OTHER_SHELF[value] if name == "shelves" else not value


def _read_statuses(part: Part, values: list[str]) -> dict[str, list[str]]:
    known = [_known(part, value, (*SHELVES, *THREAD_STATUSES)) for value in values]
    shelves = [value for value in known if value in SHELVES]
    shelves = [_OTHER_SHELF[value] for value in shelves] if part.excluded else shelves
    found = {"not_statuses" if part.excluded else "statuses": [value for value in known if value not in SHELVES]}
    return {**found, "shelves": shelves}


def _known(part: Part, value: str, known: tuple[str, ...]) -> str:
    word = value.lower()
    if word in known:
        return word
    near = nearest(word, known)
    hint = f"did you mean {near}?" if near else f"{part.key}: can be " + ", ".join(known) + "."
    raise BadInputError(f"{shown(part.text)} cannot be understood; {hint}")


def _limit(part: Part, sign: str, text: str) -> Limit:
    return Limit(cast(Measure, part.key), cast(Operator, sign), _number(part, text))


def _number(part: Part, text: str) -> float:
    plain = text.strip().lower().removeprefix("$")
    size = _SIZES.get(plain[-1:], 1.0)
    try:
        number = float(plain[:-1] if size > 1 else plain) * size
    except ValueError:
        number = math.nan
    if not 0 <= number < _LARGEST:
        raise BadInputError(
            f"{shown(part.text)} needs a number from 0 up behind it; write {_example(part.key)}, for instance."
        )
    return number


def _example(key: str) -> str:
    """The first example of the key's explanation."""
    words = (word.rstrip(",;") for word in KEYS[key].split())
    return next((word for word in words if word.startswith(key) and len(word) > len(key) + 1), f"{key}:…")


def _require_sign(part: Part, sign: str) -> None:
    if part.sign != sign:
        raise BadInputError(
            f"{shown(part.text)} cannot be compared by {part.sign}; write {part.key}: and the value."
        )


def _refuse_minus(part: Part) -> NoReturn:
    raise BadInputError(f"{shown(part.text)} cannot have a - before it; please say what is wanted instead.")


def _period(part: Part, clock: Clock) -> Period:
    """From the start of the first date to the end of the last, of one or two with ``..`` between them."""
    low, dots, high = part.whole().partition("..")
    first = read_period(clock, shown(part.text), low)
    return first if not dots else (first[0], read_period(clock, shown(part.text), high)[1])


def _since(part: Part, clock: Clock) -> Bounds:
    _require_plain(part)
    return _period(part, clock)[0], None


def _until(part: Part, clock: Clock) -> Bounds:
    _require_plain(part)
    return None, _period(part, clock)[0]


def _compared(part: Part, clock: Clock) -> Bounds:
    if part.excluded:
        _refuse_minus(part)
    start, end = _period(part, clock)
    match part.sign:
        case ">":
            return end, None
        case ">=":
            return start, None
        case "<":
            return None, start
        case "<=":
            return None, end
    return start, None if start == end else end


def _require_plain(part: Part) -> None:
    if part.excluded:
        _refuse_minus(part)
    _require_sign(part, ":")


MOMENTS: dict[str, tuple[str, str, Callable[[Part, Clock], Bounds]]] = {
    "after": ("since", "until", _since),
    "before": ("since", "until", _until),
    "active": ("since", "until", _compared),
    "created-after": ("created_since", "created_until", _since),
    "created-before": ("created_since", "created_until", _until),
    "created": ("created_since", "created_until", _compared),
}
