"""Plain data, as JSON has it, that can be kept: in a column of either database, and in a checkpoint.

JSON itself allows more: a NUL character and a number without bounds are refused by PostgreSQL or by the
serializer, and then a run fails that was begun already. Invariant: what passes here can be stored by all of them.
"""

import math
from collections.abc import Mapping
from typing import Any

from core.errors import BadInputError

_MOST = 2**63


def require_storable(data: Any, what: str) -> None:
    """BadInputError says what in the data cannot be kept; ``what`` begins the sentence."""
    waiting = [data]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
        elif (found := _hindrance(one)) is not None:
            raise BadInputError(f"{what} holds {found}.")


def _hindrance(one: Any) -> str | None:
    if isinstance(one, str):
        return _hindrance_in_text(one)
    if isinstance(one, float) and not math.isfinite(one):
        return "a number that is infinite or none at all (NaN), which cannot be stored; write another"
    if isinstance(one, int) and not -_MOST <= one < _MOST:
        return "a whole number of more than 64 bits, which cannot be stored; write it as text"
    return None


def _hindrance_in_text(text: str) -> str | None:
    if "\0" in text:
        return "a NUL character, which cannot be stored; delete it"
    if not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text):
        return "half a character (a lone surrogate), which cannot be stored; delete it"
    return None
