"""The query of the Browse page as something to rewrite: what widgets and chips change in what was typed.

Invariant: a term that a change is not about stays as it was typed.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import reduce

from core.history.browse.chips import Typed, read_terms, with_term, without_term
from core.history.browse.filters import ALL, SessionFilter
from core.history.browse.query import parse
from pages.parts.browse.browse_selection import choose_none
from pages.parts.browse.browse_url import Place
from pages.parts.ui.address import address, change

_SAME_ROWS = {"after", "session", "thread", "tab"}
_NAMES = tuple(field.name for field in fields(SessionFilter))


@dataclass(frozen=True)
class Chip:
    """One thing that narrows, as it was typed, and the query without it."""

    text: str
    without: str


def go(changes: Mapping[str, Iterable[str]]) -> None:
    """Change the address; another query or list begins at its first page, with nothing chosen."""
    here = address()
    changes = {name: list(values) for name, values in changes.items() if list(values) != here.get(name, [])}
    if changes.keys() & {"q", "list"}:
        choose_none()
    change(changes, without=() if changes.keys() <= _SAME_ROWS else ("after",))


def look_for(query: str) -> None:
    """Let the address ask this."""
    go({"q": [query.strip()] if query.strip() else []})


def chips(place: Place) -> list[Chip]:
    """The terms of the query, one for each value; its words are one of them."""
    if place.unclear:
        return []
    typed = read_terms(place.query)
    found = [Chip(_text(one), without_term(place.query, one.key, one.value)) for one in typed if one.key]
    words = [one.value for one in typed if not one.key]
    if words:
        rest = reduce(lambda query, word: without_term(query, "", word), words, place.query)
        found.append(Chip(" ".join(words), rest))
    return found


def rewritten(place: Place, about: Collection[str], terms: Iterable[tuple[str, str]]) -> str:
    """The query with these terms instead of what it said about some fields (of limits: about their measures)."""
    query = place.query
    for one in read_terms(query):
        if one.key and _about(one, place) & set(about):
            query = without_term(query, one.key, one.value)
    return reduce(lambda query, term: with_term(query, *term), terms, query)


def _about(one: Typed, place: Place) -> set[str]:
    """What of a filter a term is about: names of fields, and for a limit what it limits."""
    said = parse(_text(one), zone=place.tz, now=place.now)
    names = {name for name in _NAMES if getattr(said, name) != getattr(ALL, name)}
    return names | {limit.measure for limit in said.limits}


def _text(one: Typed) -> str:
    return with_term("", one.key, one.value, excluded=one.excluded)
