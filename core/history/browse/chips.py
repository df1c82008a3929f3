"""A query's terms as chips, and widgets that add and take away terms.

Invariant: what else was typed stays as it was typed; what a widget adds is read back as what it meant.
"""

from collections.abc import Callable
from dataclasses import dataclass

from core.history.browse.keys import COMPARED
from core.history.browse.syntax import Part, quoted, read_parts

_SIGNS = ("<=", ">=", "<", ">", "=")
_DIRECTIONS = {">": "low", ">=": "low", "<": "high", "<=": "high"}
_OPPOSITES = {"reviewed": "unreviewed", "unreviewed": "reviewed", "archived": "active", "active": "archived"}
_ONE_VALUE = ("after", "before", "created-after", "created-before", *COMPARED)


@dataclass(frozen=True)
class Typed:
    """A term as typed, ``text``; words have the key "". A compared value has its sign: ("cost", ">0.5")."""

    key: str
    value: str
    excluded: bool
    text: str


def read_terms(text: str) -> list[Typed]:
    """The terms of a query, one for each value, and its words; BadInputError where it cannot be read."""
    return [typed for part in read_parts(text) for typed in _typed(part)]


def with_term(text: str, key: str, value: str, *, excluded: bool = False) -> str:
    """The query with one more term; what it cannot stand beside gives way to it."""
    new = Typed(key, value, excluded, "")
    if any(_same(one, new) and one.excluded == excluded for one in read_terms(text)):
        return text
    kept = _without(text, lambda one: _gives_way(one, new))
    sign = "" if value.startswith(_SIGNS) and key in COMPARED else ":"
    written = value if key in COMPARED or key in _ONE_VALUE else quoted(value)
    return f"{kept} {'-' if excluded else ''}{key}{sign}{written}".strip()


def without_term(text: str, key: str, value: str | None = None) -> str:
    """The query without this term, or without all of this key."""
    return _without(text, lambda one: one.key == key and value in {None, one.value})


def _typed(part: Part) -> list[Typed]:
    if not part.key:
        return [Typed("", part.text, False, part.text)]
    sign = "" if part.sign == ":" else part.sign
    values = [part.whole()] if part.key in {"title", *_ONE_VALUE} else part.values()
    return [Typed(part.key, sign + value, part.excluded, part.text) for value in values]


def _without(text: str, goes: Callable[[Typed], bool]) -> str:
    """The query without the terms that go; of a term with several values the others stay."""
    found = text
    for part in reversed(list(read_parts(text))):
        typed = _typed(part)
        stay = [one for one in typed if not goes(one)]
        if len(stay) == len(typed):
            continue
        rest = ",".join(quoted(one.value) for one in stay)
        shorter = f"{'-' if part.excluded else ''}{part.key}:{rest}" if rest else ""
        before, after = found[: part.start], found[part.end :]
        found = before + shorter + after if shorter else f"{before.rstrip()} {after.lstrip()}".strip()
    return found


def _same(one: Typed, new: Typed) -> bool:
    return (one.key, one.value) == (new.key, new.value)


def _gives_way(one: Typed, new: Typed) -> bool:
    if one.key != new.key:
        return False
    if new.key in COMPARED:
        return _direction(one.value) == _direction(new.value) or "both" in (
            _direction(one.value),
            _direction(new.value),
        )
    if new.key in _ONE_VALUE or _same(one, new):
        return True
    return new.key == "is" and _OPPOSITES.get(one.value) == new.value


def _direction(value: str) -> str:
    sign = next((sign for sign in _SIGNS if value.startswith(sign)), "=")
    return _DIRECTIONS.get(sign, "both")
