"""The table of calls: one page of rows after the other, in the chosen order; a row opens its call.

Invariant: pages follow each other by key, so that none is skipped or shown twice while calls are added.
"""

from functools import partial

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from core.access.viewer import Viewer
from core.calls.listing.queries import CallRow, count_calls, list_calls
from core.errors import SkeinError
from core.skein import Skein
from pages.parts.calls.call_filters import go
from pages.parts.calls.call_texts import status_of
from pages.parts.calls.call_url import SORTS, Place
from pages.parts.ui import state
from pages.parts.ui.format import call_cost, count, counted, milliseconds
from pages.parts.ui.text import plain_lines

_PAGE = 25
_MOST = 1_000
_MARKS = {"ok": "✓", "started": "…", "error": "✕", "cancelled": "■", "lost": "?"}
_COLORS = {"✕": "#d9485f", "■": "#d18616", "?": "#d18616", "…": "#4f8fd0", "✓": "#2f9e6e"}
_RIGHT = ("Took", "First token", "Read", "Written", "Cost")

_ORDERS_OF = {
    "Began": ("newest", "oldest"),
    "Took": ("slowest", "fastest"),
    "Cost": ("dearest", "cheapest"),
    "Read": ("largest", "smallest"),
    "Written": ("largest", "smallest"),
}


def draw_table(skein: Skein, viewer: Viewer, place: Place) -> None:
    """A page of the calls that the filter wants, and the way to the next."""
    _, by, descending = SORTS[place.sort]
    try:
        with skein.database.read() as db:
            page = list_calls(
                viewer,
                db,
                place.wanted,
                place.tz,
                sort=by,  # type: ignore[arg-type]
                descending=descending,
                after=place.after,
                limit=_PAGE,
            )
            number, more = count_calls(viewer, db, place.wanted, place.tz, most=_MOST)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    _draw_bar(place, number, more=more)
    if page.rows:
        _draw_rows(page.rows, place, names=viewer.reads_all)
    else:
        st.caption("No call is like that. Widen the window, or take a filter away.")
    _draw_ways(place, page.next)


def _draw_bar(place: Place, number: int, *, more: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="calls_table_bar"):
        with st.container(width="stretch"):
            st.markdown(f"##### {f'{count(number)}+ calls' if more else counted(number, 'call')}")
        state.put(f"{state.CALLS_WIDGET}sort", "newest" if place.wanted.text else place.sort)
        st.selectbox(
            "Order",
            list(SORTS),
            format_func=lambda name: SORTS[name][0],
            key=f"{state.CALLS_WIDGET}sort",
            label_visibility="collapsed",
            width=170,
            disabled=bool(place.wanted.text),
            help="What was found by its text stands newest first." if place.wanted.text else None,
            on_change=lambda: go({"sort": [state.get(f"{state.CALLS_WIDGET}sort")]}),
        )


def _draw_rows(rows: list[CallRow], place: Place, *, names: bool) -> None:
    key = f"{state.CALLS_PICK}table.{state.get(state.CALLS_ROUND) or 0}"
    st.dataframe(
        table_of_rows(rows, place, names=names),
        key=key,
        hide_index=True,
        height="content",
        on_select=partial(_choose, key, [row.call_id for row in rows], place.sort),
        # With columns to choose, the browser does not put only the rows it has into another order.
        selection_mode=["single-row", "single-cell", "single-column"],
        column_config={
            "Status": st.column_config.TextColumn(width=130),
            "Model": st.column_config.TextColumn(width=130),
            **{name: st.column_config.TextColumn(alignment="right") for name in _RIGHT},
            "Took": st.column_config.TextColumn(alignment="right", width=80),
        },
    )
    st.caption(
        "Choose a row to open its call, or the head of a column of times, costs or tokens to order by it. "
        f"Times are in {place.tz.key}."
    )


def table_of_rows(rows: list[CallRow], place: Place, *, names: bool) -> Styler:
    """The rows as people read them, with their units; the status in its colour."""
    frame = pd.DataFrame([_line(row, place) for row in rows])
    if not names:
        frame = frame.drop(columns="User")
    return frame.style.map(lambda text: f"color: {_COLORS.get(text[:1], 'inherit')}", subset=["Status"])


def _line(row: CallRow, place: Place) -> dict[str, str]:
    running = row.status == "started"
    return {
        "Began": f"{row.created_at.astimezone(place.tz):%Y-%m-%d %H:%M:%S}",
        "Status": f"{_MARKS.get(row.status, '')} {status_of(row)[1]}",
        "Model": row.model or "",
        "User": row.user_name or ("" if row.attributed else "unattributed"),
        "Cost": "" if running else call_cost(row.cost_usd, row.cost_source),
        "Took": "" if row.duration_ms is None else milliseconds(row.duration_ms),
        "First token": "" if row.ttft_ms is None else milliseconds(row.ttft_ms),
        "Read": "" if row.input_tokens is None else count(row.input_tokens),
        "Written": "" if row.output_tokens is None else count(row.output_tokens),
        "Node": " › ".join(name for name in (row.agent_key or row.agent_id, row.node) if name),
        "Session": row.session_title or "",
    }


def next_order(column: str, sort: str) -> str | None:
    """The order of the whole log that a click on a column asks for; on the same once more, the other way round."""
    orders = _ORDERS_OF.get(column)
    if orders is None:
        return None
    return orders[1] if sort == orders[0] else orders[0]


def _choose(key: str, call_ids: list[str], sort: str) -> None:
    """Open the chosen row's call, or order by the chosen column; the choice itself is over with that."""
    chosen = state.get(key)["selection"]
    for column in chosen["columns"]:
        if order := next_order(column, sort):
            go({"sort": [order], "after": []})
    lines = [*chosen["rows"], *(line for line, _ in chosen["cells"])]
    state.put(state.CALLS_ROUND, (state.get(state.CALLS_ROUND) or 0) + 1)
    if lines and lines[0] < len(call_ids):
        go({"call": [call_ids[lines[0]]]})


def _draw_ways(place: Place, following: str | None) -> None:
    if place.after is None and following is None:
        return
    with st.container(horizontal=True, horizontal_alignment="right", key="calls_ways"):
        if place.after is not None:
            st.button("First", icon=":material/first_page:", key="calls.first", on_click=go, args=({"after": []},))
        st.button(
            "Next",
            icon=":material/chevron_right:",
            icon_position="right",
            key="calls.more",
            disabled=following is None,
            on_click=go,
            args=({"after": [following or ""]},),
        )
