"""The tables of the Browse page: one page of rows after the other, in the chosen order.

A click on a row opens it, a click on the head of a column orders by it, and the boxes at the left choose sessions,
on as many pages as one likes. Invariant: what is chosen is kept by its id, never by its place in the table, so that
rows that move meanwhile are not taken for others.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Any

import streamlit as st
from pandas.io.formats.style import Styler
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.browse.lines import Hit, Page
from core.history.browse.listing import list_conversations_of, list_sessions, list_threads
from core.history.browse.orders import SORTS
from core.skein import Skein
from pages.parts.browse.browse_query import go, look_for
from pages.parts.browse.browse_rows import conversation_rows, session_rows, thread_rows
from pages.parts.browse.browse_selection import chosen_ids, is_every, keep_chosen
from pages.parts.browse.browse_url import SORT_WORDS, Place, default_way
from pages.parts.ui import state
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain_lines

_PAGE = 50
_ROW = 35
_RIGHT = ("Cost", "Messages", "Branches", "Failed", "Tokens", "Took")
_WIDTHS = {
    "Title": 290,
    "Message": 300,
    "Found": 340,
    "Threads": 185,
    "Status": 90,
    "Error": 290,
    "Cost": 125,
    "Last active": 130,
    "Created": 130,
    "User": 90,
    "Messages": 90,
    "Branches": 85,
    "Failed": 70,
    "Tokens": 90,
    "Took": 90,
    "Agents": 120,
    "Agent": 100,
    "Model": 140,
    "Kind": 100,
    "Session": 200,
    "Marks": 180,
}
_HELP = {
    "Threads": "Each message's run, by how it went",
    "Activity": "Messages from its creation to its last activity, in 24 equal parts",
    "Marks": "Review, mean score and tags, as far as you see them",
    "Found": "The newest place where it was said; choose it to open the chat there",
}
_SORT_OF = {
    "Title": "title",
    "User": "user",
    "Cost": "cost",
    "Last active": "active",
    "Created": "created",
    "Messages": "messages",
    "Branches": "branches",
    "Failed": "failed",
    "Threads": "failed",
    "Tokens": "tokens",
}


@dataclass(frozen=True)
class Shown:
    """A page of rows as a table, and for each row where it leads: the name of a parameter, and its value."""

    rows: Styler
    ids: list[str]
    leads: list[tuple[str, str]]
    hits: list[Hit | None]
    next: str | None
    previous: str | None


def read_shown(skein: Skein, viewer: Viewer, place: Place) -> Shown:
    """The page of rows that the address says."""
    list_lines, to_rows, key, lead = _LISTS[place.table]
    with skein.database.read() as db:
        page = list_lines(viewer, db, place.wanted, place.order, after=place.after, limit=_PAGE)
    return Shown(
        to_rows(page.rows, place.tz, names=viewer.reads_all),
        [getattr(line, key) for line in page.rows],
        [(lead.removesuffix("_id"), getattr(line, lead)) for line in page.rows],
        [line.hit for line in page.rows],
        page.next,
        page.previous,
    )


# For each list how it is read and shown, the id of a row, and the id that a row leads to.
_LISTS: dict[str, tuple[Callable[..., Page[Any]], Callable[..., Styler], str, str]] = {
    "sessions": (list_sessions, session_rows, "session_id", "session_id"),
    "conversations": (list_conversations_of, conversation_rows, "conversation_id", "session_id"),
    "threads": (list_threads, thread_rows, "thread_id", "thread_id"),
}


def draw_table(skein: Skein, viewer: Viewer, place: Place, above: DeltaGenerator) -> None:
    """The rows, the way to those before and behind them (also ``above``), or what to do when there are none."""
    try:
        shown = read_shown(skein, viewer, place)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        st.button("To the first page", key="browse.restart", on_click=go, args=({"after": []},))
        return
    if shown.ids:
        _draw_rows(shown, place)
    elif not (shown.next or shown.previous):
        _draw_none(place)
    _draw_ways(shown, place, above)


def _draw_none(place: Place) -> None:
    if not place.query:
        st.info(
            f"No {place.table[:-1]} is here yet. Ask something in a chat, or begin a session under New; it will be "
            "listed here.",
            icon=":material/inbox:",
        )
        return
    st.info("Nothing fits this. Take something of it away, or look in another list.", icon=":material/search_off:")
    st.button("Clear the filter", icon=":material/filter_list_off:", key="browse.unfilter", on_click=look_for,
              args=("",))  # fmt: skip


def _draw_rows(shown: Shown, place: Place) -> None:
    key = _key_of(shown, place)
    is_choosing = place.table == "sessions"
    columns = list(shown.rows.columns)
    chosen = chosen_ids()
    ticked = [line for line, row_id in enumerate(shown.ids) if is_every(place) or row_id in chosen]
    st.dataframe(
        shown.rows,
        key=key,
        hide_index=True,
        height="content",
        row_height=_ROW,
        alt=f"{place.table.capitalize()} that fit the filter",
        on_select=partial(_choose, key, shown, place),
        # With columns to choose, the browser does not put only the rows it has into another order.
        selection_mode=["single-cell", "single-column", *(["multi-row"] if is_choosing else [])],
        selection_default={"selection": {"rows": ticked}} if is_choosing and ticked else None,
        column_config={name: _column(name) for name in columns},
    )


def _key_of(shown: Shown, place: Place) -> str:
    digest = blake2b(" ".join(shown.ids).encode(), digest_size=6).hexdigest()
    return f"{state.BROWSE_PICK}{place.table}.{digest}.{state.get(state.BROWSE_ROUND) or 0}"


def _column(name: str) -> object:
    if name == "Activity":
        return st.column_config.BarChartColumn(width=110, y_min=0, help=_HELP[name])
    return st.column_config.TextColumn(
        width=_WIDTHS.get(name), help=_HELP.get(name), alignment="right" if name in _RIGHT else None
    )


def _choose(key: str, shown: Shown, place: Place) -> None:
    """Open the row that was clicked, order by the column whose head was, or keep which boxes are ticked."""
    if key != _key_of(shown, place):
        return  # a table of before: the browser had not yet seen that it is gone
    chosen = state.get(key)["selection"]
    cells = [(line, column) for line, column in chosen["cells"] if line < len(shown.ids)]
    if not (cells or chosen["columns"]):
        keep_chosen(shown.ids, [shown.ids[line] for line in chosen["rows"] if line < len(shown.ids)])
        return
    state.put(state.BROWSE_ROUND, (state.get(state.BROWSE_ROUND) or 0) + 1)
    for column in chosen["columns"]:
        order_by(place, _SORT_OF.get(column, ""))
    for line, column in cells:
        hit = shown.hits[line]
        if column == "Found" and hit is not None:
            st.switch_page(CHAT, query_params={"message": hit.message_id})
        else:
            name, value = shown.leads[line]
            go({name: [value]})


def order_by(place: Place, sort: str) -> None:
    """Order the list by this; once more, the other way round. What the list is not sorted by changes nothing."""
    if sort not in SORTS[place.table]:
        return
    down = default_way(sort)
    if sort == place.order.sort:
        down = "0" if place.order.descending else "1"
    go({"sort": [sort], "down": [down], "after": []})


def draw_order(place: Place) -> None:
    """What the list is sorted by, and which way."""
    names = {f"{sort}.{way}": SORT_WORDS[sort][1 - int(way)] for sort in SORTS[place.table] for way in ("1", "0")}
    key = f"{state.BROWSE_WIDGET}order"
    state.put(key, f"{place.order.sort}.{int(place.order.descending)}")
    st.selectbox(
        "Order",
        list(names),
        format_func=names.__getitem__,
        key=key,
        label_visibility="collapsed",
        width=190,
        on_change=lambda: _set_order(state.get(key)),
    )


def _set_order(chosen: str) -> None:
    sort, _, down = chosen.partition(".")
    go({"sort": [sort], "down": [down], "after": []})


def _draw_ways(shown: Shown, place: Place, above: DeltaGenerator) -> None:
    if shown.next is None and shown.previous is None and place.after is None:
        return
    with above:
        _draw_way("", "previous", shown.previous, name="above")
        _draw_way("", "next", shown.next, name="above")
    with st.container(horizontal=True, horizontal_alignment="right", key="browse_ways"):
        if place.after is not None:
            st.button("First", icon=":material/first_page:", key="browse.first", on_click=go, args=({"after": []},))
        _draw_way("Previous", "previous", shown.previous)
        _draw_way("Next", "next", shown.next)


def _draw_way(label: str, way: str, after: str | None, *, name: str = "") -> None:
    st.button(
        label,
        icon=":material/chevron_left:" if way == "previous" else ":material/chevron_right:",
        icon_position="left" if way == "previous" else "right",
        key=".".join(part for part in ("browse", name, way) if part),
        help=None if label else f"{way.capitalize()} page",
        type="secondary" if label else "tertiary",
        disabled=after is None,
        on_click=go,
        args=({"after": [after or ""]},),
    )
