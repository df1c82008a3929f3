"""The small language of the search box: ``user:alice status:failed cost>0.5 after:2026-11-01 "refund"``.

``syntax`` reads a text into parts, ``terms`` says what each key means; here they become a filter, and a filter
becomes text again. Invariant: ``parse(to_text(wanted)) == wanted`` for whatever ``parse`` has given; and whatever
is typed gives a filter or one clear sentence.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from core.errors import BadInputError
from core.history.browse.chips import Typed, read_terms, with_term, without_term
from core.history.browse.filters import SessionFilter
from core.history.browse.moments import Clock
from core.history.browse.syntax import LONGEST_QUERY, Part, quoted, read_parts, safe_words, shown
from core.history.browse.terms import FLAGS, KEYS, LISTS, MOMENTS, number_text, read_flag, read_limits, read_list
from core.history.words import find_words
from core.tables import clean_text

__all__ = ["KEYS", "Typed", "parse", "read_terms", "to_text", "with_term", "without_term"]

_MOST_VALUES = 50


def parse(text: str, *, zone: ZoneInfo, now: datetime) -> SessionFilter:
    """What a query asks for; dates are those of ``zone``. BadInputError quotes what cannot be understood."""
    text = clean_text(text)
    if len(text) > LONGEST_QUERY:
        raise BadInputError(f"The search has more than {LONGEST_QUERY:,} characters; please shorten it.")
    wanted, words = SessionFilter(), []
    for part in read_parts(text):
        if part.key:
            wanted = _add(wanted, part, Clock(zone, now))
        else:
            words.append(part.text)
    said = safe_words(" ".join(words))
    if said:
        find_words(said)
    return replace(wanted, text=said)


def to_text(wanted: SessionFilter) -> str:
    """The filter as a query, in one canonical form."""
    found = [f"{minus}{key}:{quoted(value)}" for minus, key, name in _LISTED for value in getattr(wanted, name)]
    found += [f"{key}:{_moment_text(moment)}" for key, name in _MOMENTS_OF if (moment := getattr(wanted, name))]
    found += [_flag_text(name, value) for name in _FLAG_NAMES if (value := getattr(wanted, name)) is not None]
    found += [f"{limit.measure}{limit.operator}{number_text(limit.value)}" for limit in wanted.limits]
    return " ".join([*found, safe_words(wanted.text)]).strip()


def _add(wanted: SessionFilter, part: Part, clock: Clock) -> SessionFilter:
    """The filter, narrowed by one more term."""
    if part.key in MOMENTS:
        return _add_moments(wanted, part, clock)
    if part.key in LISTS:
        lists = read_list(part)
        return replace(wanted, **{name: _joined(part, getattr(wanted, name), more) for name, more in lists.items()})
    if part.key in FLAGS:
        return _add_flag(wanted, part)
    return replace(wanted, limits=_joined(part, wanted.limits, read_limits(part)))


def _joined(part: Part, have: tuple[Any, ...], more: Iterable[Any]) -> Any:
    found = tuple(dict.fromkeys([*have, *more]))
    if len(found) > _MOST_VALUES:
        raise BadInputError(
            f"The search has more than {_MOST_VALUES} values for {part.key}; please leave some out."
        )
    return found


def _add_flag(wanted: SessionFilter, part: Part) -> SessionFilter:
    changes: dict[str, Any] = {}
    for name, value in read_flag(part):
        before = getattr(wanted, name) if name not in changes else changes[name]
        if name == "shelves":
            changes[name] = _joined(part, before, [value])
        elif before in {None, value}:
            changes[name] = value
        else:
            raise BadInputError(
                f"{shown(part.text)} contradicts what stands before it; please leave out one of them."
            )
    return replace(wanted, **changes)


def _add_moments(wanted: SessionFilter, part: Part, clock: Clock) -> SessionFilter:
    """The time between all bounds that are named."""
    since_name, until_name, read = MOMENTS[part.key]
    since, until = read(part, clock)
    return replace(
        wanted,
        **{
            since_name: _outermost(max, getattr(wanted, since_name), since),
            until_name: _outermost(min, getattr(wanted, until_name), until),
        },
    )


def _outermost(choose: Callable[..., Any], *bounds: datetime | None) -> Any:
    return choose((bound for bound in bounds if bound is not None), default=None)


def _moment_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _flag_text(name: str, value: bool) -> str:
    return next(f"{'' if value == said else '-'}{key}:{word}" for key, words in FLAGS.items()
                for word, (about, said) in words.items() if about == name)  # fmt: skip


_LISTED = (
    ("", "session", "sessions"),
    ("", "user", "users"),
    ("-", "user", "not_users"),
    ("", "status", "shelves"),
    ("", "status", "statuses"),
    ("-", "status", "not_statuses"),
    ("", "agent", "agents"),
    ("-", "agent", "not_agents"),
    ("", "model", "models"),
    ("-", "model", "not_models"),
    ("", "tag", "tags"),
    ("-", "tag", "not_tags"),
    ("", "title", "titles"),
    ("-", "title", "not_titles"),
    ("", "review", "verdicts"),
)
_MOMENTS_OF = (
    ("after", "since"),
    ("before", "until"),
    ("created-after", "created_since"),
    ("created-before", "created_until"),
)
_FLAG_NAMES = ("starred", "tagged", "reviewed", "has_errors", "waits", "worrying")
