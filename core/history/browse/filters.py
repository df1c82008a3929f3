"""Which sessions somebody looks for: one value, the same for list, counts, bulk acts, review queue and address.

Invariant: a filter says all of it. Two equal filters, asked by the same viewer at the same moment, give the same
sessions; what is not said does not narrow, but for archived sessions, which must be asked for.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Operator = Literal["<", "<=", "=", ">=", ">"]
Measure = Literal["cost", "tokens", "messages", "branches", "conversations", "failed", "score"]

OPERATORS: tuple[Operator, ...] = ("<", "<=", "=", ">=", ">")
MEASURES: tuple[Measure, ...] = ("cost", "tokens", "messages", "branches", "conversations", "failed", "score")
SHELVES = ("active", "archived")
VERDICTS = ("good", "bad")
EXPENSIVE_USD = 0.5


@dataclass(frozen=True)
class Limit:
    """A bound on something counted: ``Limit("cost", ">", 0.5)``. Cost is in US dollars, a score from 1 to 5."""

    measure: Measure
    operator: Operator
    value: float


@dataclass(frozen=True)
class SessionFilter:
    """Sessions that have one of each list's values, none of the ``not_`` ones, and meet all else that is said.

    ``text`` is looked for in what was said, in the form of ``core.history.words.find_words``. ``users`` are names,
    or ids; ``me`` is the viewer. ``shelves`` are states of the session itself (empty: active), ``statuses`` those
    of its threads. An agent or model that ends in ``*`` is the beginning of one; a title is a part of one.
    ``since <= last active < until`` (UTC), the same for ``created_``. ``has_errors``: a thread failed or was lost;
    ``waits``: one waits for an approval; ``worrying``: errors, or a cost from ``EXPENSIVE_USD``. Tags and scores
    count on the session and on everything in it, a star on the session alone, and each only if the viewer may see
    it. ``starred`` to ``worrying``: yes, no, or None for either.
    """

    text: str = ""
    sessions: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    not_users: tuple[str, ...] = ()
    shelves: tuple[str, ...] = ()
    statuses: tuple[str, ...] = ()
    not_statuses: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    not_agents: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    not_models: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    titles: tuple[str, ...] = ()
    not_titles: tuple[str, ...] = ()
    verdicts: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    created_since: datetime | None = None
    created_until: datetime | None = None
    starred: bool | None = None
    tagged: bool | None = None
    reviewed: bool | None = None
    has_errors: bool | None = None
    waits: bool | None = None
    worrying: bool | None = None
    limits: tuple[Limit, ...] = ()


ALL = SessionFilter()
