"""The Browse page's ways to say what is looked for: the search box, a menu of filters, chips, and help.

Invariant: all of them show and rewrite the one query in the address; a widget's value is put from there before it
is drawn.
"""

from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta
from functools import partial
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.history.browse.filters import Measure
from core.history.browse.keys import KEYS
from core.history.browse.lines import Facets
from core.history.browse.listing import facets
from core.skein import Skein
from core.tables import THREAD_STATUSES
from pages.parts.browse.browse_query import chips, look_for, rewritten
from pages.parts.browse.browse_url import Place
from pages.parts.ui import state
from pages.parts.ui.text import plain, shortened

Term = tuple[str, str]
_LONGEST_CHIP = 48
_LONGEST_QUERY = 4_000
_HINT = "Search what was said, or narrow it: user:alice status:failed cost>0.5"
_EXAMPLES = (
    ("Failed", "status:failed"),
    ("Waiting for approval", "is:waiting"),
    ("Starred", "is:starred"),
    ("Expensive", "cost>=0.5"),
    ("This week", "after:7d"),
)
_FLAGS: dict[str, tuple[str, bool, tuple[str, str]]] = {
    "Errors": ("has_errors", True, ("has", "errors")),
    "Waiting": ("waits", True, ("is", "waiting")),
    "Starred": ("starred", True, ("is", "starred")),
    "Unreviewed": ("reviewed", False, ("is", "unreviewed")),
    "Reviewed": ("reviewed", True, ("is", "reviewed")),
}
_SHELVES = {"active": "Active", "archived": "Archived"}
_MEASURES: tuple[tuple[Measure, str, float], ...] = (
    ("cost", "Cost at least ($)", 0.1),
    ("tokens", "Tokens at least", 1_000),
    ("messages", "Messages at least", 1),
    ("branches", "Branches at least", 1),
)
_LISTS = (
    ("users", "user", "User"),
    ("agents", "agent", "Agent"),
    ("models", "model", "Model"),
    ("tags", "tag", "Tag"),
)


def draw_search(skein: Skein, viewer: Viewer, place: Place) -> None:
    """The box to type in, the menu of filters, the help, and what cannot be understood."""
    key = f"{state.BROWSE_WIDGET}q"
    with st.container(horizontal=True, vertical_alignment="center", key="browse_search"):
        state.put(key, place.query)
        st.text_input(
            "Search",
            key=key,
            placeholder=_HINT,
            icon=":material/search:",
            label_visibility="collapsed",
            max_chars=_LONGEST_QUERY,
            width="stretch",
            autocomplete="off",
            on_change=lambda: look_for(state.get(key) or ""),
        )
        _draw_menu(skein, viewer, place)
        with st.popover("", icon=":material/help:", type="tertiary", help="What can be typed"):
            st.markdown(_help())
    if place.unclear:
        st.markdown(f":red[:material/error: {plain(place.unclear)}]")


def draw_chips(place: Place) -> None:
    """One button for each thing that narrows, which takes it away; without any, some to begin with."""
    found = chips(place)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="browse_chips"):
        for number, chip in enumerate(found):
            st.button(
                plain(shortened(chip.text, _LONGEST_CHIP)),
                key=f"browse.chip.{number}",
                icon=":material/close:",
                icon_position="right",
                help="No longer narrow by this",
                on_click=look_for,
                args=(chip.without,),
            )
        if found:
            st.button("Clear all", key="browse.clear", type="tertiary", on_click=look_for, args=("",))
        elif not place.query:
            for words, query in _EXAMPLES:
                st.button(
                    words,
                    key=f"browse.example.{words}",
                    type="tertiary",
                    help=f"`{query}`",
                    on_click=look_for,
                    args=(query,),
                )


def _draw_menu(skein: Skein, viewer: Viewer, place: Place) -> None:
    with st.popover(
        "Filters",
        icon=":material/filter_list:",
        width="content",
        key="browse.filters",
        on_change="rerun",
        disabled=bool(place.unclear),
        help="Correct what was typed first" if place.unclear else None,
    ) as menu:
        if menu.open:
            with skein.database.read() as db:
                known = facets(viewer, db)
            _draw_flags(place)
            _draw_days(place)
            _draw_lists(viewer, place, known)
            _draw_limits(place)


def _draw_flags(place: Place) -> None:
    on = [label for label, (name, value, _) in _FLAGS.items() if getattr(place.wanted, name) is value]
    _draw_widget(
        place,
        "flags",
        on,
        about={name for name, _, _ in _FLAGS.values()},
        to_terms=lambda chosen: [_FLAGS[label][2] for label in chosen],
        draw=lambda key, write: st.pills(
            "Only those that have", list(_FLAGS), selection_mode="multi", key=key, on_change=write
        ),
    )
    _draw_widget(
        place,
        "shelves",
        list(place.wanted.shelves),
        about={"shelves"},
        to_terms=lambda chosen: [("status", shelf) for shelf in chosen],
        draw=lambda key, write: st.pills(
            "Sessions",
            list(_SHELVES),
            format_func=_SHELVES.__getitem__,
            selection_mode="multi",
            key=key,
            help="Without a choice: active ones",
            on_change=write,
        ),
    )


def _draw_lists(viewer: Viewer, place: Place, known: Facets) -> None:
    _draw_list(place, "statuses", "status", "Threads", THREAD_STATUSES)
    lists = [it for it in _LISTS if it[0] != "users" or viewer.reads_all]
    for number, (name, key, label) in enumerate(lists):
        if number % 2 == 0:
            columns = st.columns(2)
        with columns[number % 2]:
            _draw_list(place, name, key, label, getattr(known, name))


def _draw_list(place: Place, name: str, term: str, label: str, options: Sequence[str]) -> None:
    chosen = list(getattr(place.wanted, name))
    _draw_widget(
        place,
        name,
        chosen,
        about={name},
        to_terms=lambda values: [(term, value) for value in values],
        draw=lambda key, write: st.multiselect(
            label,
            [*options, *(value for value in chosen if value not in options)],
            key=key,
            placeholder="Any",
            select_all=False,
            on_change=write,
        ),
    )


def _draw_days(place: Place) -> None:
    """How long ago something was last said in it: a few choices, or between two days."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        for name, label in (("since", "Active from"), ("until", "Active until")):
            at = getattr(place.wanted, name)
            day = at.astimezone(place.tz).date() if at else None
            # The last day is the one that ends where the filter does.
            shown = day - timedelta(days=1) if day and name == "until" and _is_midnight(place, name) else day
            _draw_widget(
                place,
                name,
                shown,
                about={name},
                to_terms=partial(_day_term, name),
                draw=lambda key, write, label=label: st.date_input(
                    label, value=None, format="YYYY-MM-DD", key=key, width=150, on_change=write
                ),
            )


def _is_midnight(place: Place, name: str) -> bool:
    at = getattr(place.wanted, name).astimezone(place.tz)
    return (at.hour, at.minute, at.second) == (0, 0, 0)


def _day_term(name: str, day: date | None) -> list[Term]:
    if day is None:
        return []
    return [("after", f"{day}") if name == "since" else ("before", f"{day + timedelta(days=1)}")]


def _draw_limits(place: Place) -> None:
    with st.container(horizontal=True, gap="small"):
        for measure, label, step in _MEASURES:
            least = _least(place, measure)
            _draw_widget(
                place,
                measure,
                None if least is None else type(step)(least),
                about={measure},
                to_terms=partial(_limit_term, measure),
                draw=lambda key, write, label=label, step=step: st.number_input(
                    label, min_value=type(step)(0), value=None, step=step, key=key, width=150, on_change=write
                ),
            )


def _least(place: Place, measure: Measure) -> float | None:
    """What the query says a measure is at least."""
    limits = [limit for limit in place.wanted.limits if limit.measure == measure and ">" in limit.operator]
    return limits[0].value if limits else None


def _limit_term(measure: Measure, least: float | None) -> list[Term]:
    return [(measure, f">={least:g}" if least < 1e6 else f">={least:.0f}")] if least else []


def _draw_widget(
    place: Place,
    name: str,
    value: Any,
    *,
    about: Collection[str],
    to_terms: Callable[[Any], list[Term]],
    draw: Callable[[str, Callable[[], None]], object],
) -> None:
    """Draw a widget that shows what the query says about some fields, and rewrites that when it is changed."""
    key = f"{state.BROWSE_WIDGET}{name}"
    state.put(key, value)
    draw(key, lambda: look_for(rewritten(place, about, to_terms(state.get(key)))))


def _help() -> str:
    """The keys of the language as a table, in the words of whoever reads it."""
    rows = "\n".join(f"| **{key}** | {plain(words)} |" for key, words in KEYS.items())
    return f"{_ABOUT_WORDS}\n\n| key | what it narrows by |\n| --- | --- |\n{rows}\n\n{_ABOUT_TERMS}"


_ABOUT_WORDS = """Words are looked for in what was asked and answered, in any language: `"in quotes"` they stand
together, `refund*` is how a word begins, and `-word` must not be there."""
_ABOUT_TERMS = """All that is said must hold; of several values of one key, one is enough. A - before a term
excludes it."""
