"""The threads of another program's file as a table: a click on a row opens the thread."""

from functools import partial
from hashlib import blake2b
from typing import Any

import streamlit as st

from core.checkpoints.foreign.reading import Foreign
from core.checkpoints.foreign.threads import ThreadLine, ThreadPage, list_threads
from pages.parts.databases.foreign_url import Place, go
from pages.parts.inspector.inspector_values import size
from pages.parts.ui import state
from pages.parts.ui.format import count, counted
from pages.parts.ui.text import plain, shortened

_PAGE, _ROW = 50, 35


def draw_threads(foreign: Foreign, place: Place) -> None:
    """Search, a page of threads, and the way to the next."""
    key = f"{state.FOREIGN_WIDGET}q"
    state.put(key, place.search)
    st.text_input(
        "Search by id",
        key=key,
        placeholder="Part of a thread's id",
        icon=":material/search:",
        label_visibility="collapsed",
        on_change=lambda: go(q=(state.get(key) or "").strip()),
    )
    page = list_threads(foreign, after=place.after, limit=_PAGE, search=place.search)
    st.caption(describe(page, place.search))
    if page.lines:
        _draw_table(page, place)
    _draw_paging(page, place)


def describe(page: ThreadPage, search: str) -> str:
    """How many threads there are, and in which order they stand."""
    if not page.lines:
        return (
            f"No thread has “{plain(shortened(search, 60))}” in its id."
            if search
            else "There are no threads in this file."
        )
    known = f"{counted(page.known, 'thread')}" if page.known is not None else "Very many threads"
    return f"{known}, {'newest first' if page.order == 'newest' else 'in the order of their ids'}"


def to_row(line: ThreadLine) -> dict[str, Any]:
    """A thread as a row of the table."""
    more = "+" if line.is_partial else ""
    return {
        "Thread": shortened(line.thread_id, 200) or "(an empty id)",
        "Begins with": line.words,
        "Last": line.last_at,
        "Messages": "–" if line.messages is None else count(line.messages),
        "Checkpoints": count(line.checkpoints) + more,
        "Branches": count(line.branches) + more,
        "Subgraphs": count(line.subgraphs),
        "Size": size(line.size_bytes) + more,
        "First": line.first_at,
    }


def _draw_table(page: ThreadPage, place: Place) -> None:
    name = blake2b(repr((place.file, place.search, place.after)).encode(), digest_size=6).hexdigest()
    key = f"{state.FOREIGN_PICK}{name}.{state.get(state.FOREIGN_ROUND) or 0}"
    times = {at: st.column_config.DatetimeColumn(format="localized", width=150) for at in ("Last", "First")}
    numbers = {n: st.column_config.Column(width=w, alignment="right") for n, w in _NUMBERS.items()}
    st.dataframe(
        [to_row(line) for line in page.lines],
        hide_index=True,
        column_config={
            "Thread": st.column_config.TextColumn(width=190),
            "Begins with": st.column_config.TextColumn(width=210),
            **times,
            **numbers,
        },
        height=_ROW * (len(page.lines) + 1) + 3,
        key=key,
        on_select=partial(_open, key, [line.thread_id for line in page.lines]),
        selection_mode="single-cell",
    )


_NUMBERS = {"Messages": 80, "Checkpoints": 95, "Branches": 80, "Subgraphs": 85, "Size": 80}


def _open(key: str, thread_ids: list[str]) -> None:
    chosen = state.get(key)
    cells = chosen["selection"]["cells"] if chosen else []
    if cells and cells[0][0] < len(thread_ids):
        state.put(state.FOREIGN_ROUND, (state.get(state.FOREIGN_ROUND) or 0) + 1)
        go(thread=thread_ids[cells[0][0]])


def _draw_paging(page: ThreadPage, place: Place) -> None:
    with st.container(horizontal=True):
        if place.after is not None:
            st.button(
                "First page", icon=":material/first_page:", key="databases.first", on_click=partial(go, after="")
            )
        if page.next is not None:
            st.button(
                "Next page",
                icon=":material/chevron_right:",
                key="databases.next",
                on_click=partial(go, after=page.next),
            )
