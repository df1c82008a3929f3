"""Which sessions are chosen on the Browse page: some by their ids, or every one that a query finds.

Invariant: "every one" holds for the query it was said of; another query has nothing chosen.
"""

from collections.abc import Iterable, Sequence

from core.history.browse.filters import SessionFilter
from core.ids import SessionId
from pages.parts.browse.browse_url import Place
from pages.parts.ui import state

MOST = 1_000
"""How many can be ticked one by one; more are chosen by a query."""


def chosen_ids() -> tuple[str, ...]:
    return state.get(state.BROWSE_CHOSEN) or ()


def keep_chosen(on_page: Sequence[str], ticked: Iterable[str]) -> None:
    """Of the rows on this page these are ticked; what is ticked on other pages stays so."""
    state.take(state.BROWSE_EVERY)
    others = [row_id for row_id in chosen_ids() if row_id not in set(on_page)]
    state.put(state.BROWSE_CHOSEN, tuple([*others, *ticked][:MOST]))


def choose_every(place: Place) -> None:
    """Choose all that the query finds now."""
    choose_none()
    state.put(state.BROWSE_EVERY, place.query)


def choose_none() -> None:
    state.take(state.BROWSE_CHOSEN)
    state.take(state.BROWSE_EVERY)
    # The table's boxes stay as they are ticked: a new table begins with what is chosen now.
    state.put(state.BROWSE_ROUND, (state.get(state.BROWSE_ROUND) or 0) + 1)


def is_every(place: Place) -> bool:
    return state.get(state.BROWSE_EVERY) == place.query


def chosen(place: Place) -> SessionFilter | list[SessionId] | None:
    """What is chosen: a filter, ids, or nothing."""
    if is_every(place):
        return place.wanted
    return [SessionId(row_id) for row_id in chosen_ids()] or None
