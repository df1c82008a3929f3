"""What is in a session, as tables: conversations, threads, artifacts; a click on a row opens it.

Invariant: what is opened is found by its id, never by its place in the table, which may have moved meanwhile.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st
from pandas.io.formats.style import Styler

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.artifacts import ArtifactRow, list_artifacts
from core.history.browse.filters import SessionFilter
from core.history.browse.lines import Page
from core.history.browse.listing import list_conversations_of, list_threads
from core.history.browse.orders import Order
from core.ids import SessionId
from core.skein import Skein
from pages.parts.browse.browse_rows import conversation_rows, moment, thread_rows
from pages.parts.ui import state
from pages.parts.ui.address import change
from pages.parts.ui.format import size
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain_lines

Lead = tuple[Path | None, dict[str, str]]
"""Where a row leads: a page with its parameters, or, without a page, a change of this one's address."""

T = TypeVar("T")
_MOST = 100
_RIGHT = ("Cost", "Messages", "Branches", "Tokens", "Took", "Size", "Version")
_WIDTHS = {"Title": 320, "Message": 320, "Name": 320, "Error": 240}
_KINDS = {"task_plan": "plan", "result": "result", "file": "file"}


def draw_conversations(skein: Skein, viewer: Viewer, session_id: SessionId, zone: ZoneInfo) -> None:
    """The conversations of the session, each leading to the chat."""
    page = _read_page(skein, viewer, session_id, list_conversations_of, Order("active"))
    if page is None:
        return
    if not page.rows:
        st.info("Nothing has been said in this session yet.", icon=":material/forum:")
    else:
        leads: list[Lead] = [(CHAT, {"conversation": line.conversation_id}) for line in page.rows]
        draw_rows("conversations", conversation_rows(page.rows, zone, names=False), leads)
    _draw_ways(page.previous, page.next)


def draw_threads(skein: Skein, viewer: Viewer, session_id: SessionId, zone: ZoneInfo) -> None:
    """The threads of the session, newest first, each leading to its inspector."""
    page = _read_page(skein, viewer, session_id, list_threads, Order("created"))
    if page is None:
        return
    if not page.rows:
        st.info("No thread has begun in this session yet.", icon=":material/account_tree:")
    else:
        leads: list[Lead] = [(None, {"thread": line.thread_id}) for line in page.rows]
        draw_rows("threads", thread_rows(page.rows, zone, names=False), leads)
    _draw_ways(page.previous, page.next)


def _read_page(
    skein: Skein, viewer: Viewer, session_id: SessionId, read: Callable[..., Page[T]], order: Order
) -> Page[T] | None:
    """The page of the session's items that the address asks for; where it asks for none, that is said."""
    wanted = SessionFilter(sessions=(session_id,), shelves=("active", "archived"))
    try:
        with skein.database.read() as db:
            return read(viewer, db, wanted, order, after=st.query_params.get("before"), limit=_MOST)
    except SkeinError as error:
        draw_problem(error)
        return None


def draw_artifacts(skein: Skein, viewer: Viewer, session_id: SessionId, zone: ZoneInfo) -> None:
    """The artifacts that the session's conversations share, each leading to the chat where it was made."""
    with skein.database.read() as db:
        rows = list_artifacts(viewer, db, session_id)
    if not rows:
        st.info("No artifact was made or attached in this session.", icon=":material/inventory_2:")
        return
    rows = rows[::-1]
    frame = pd.DataFrame([_artifact_row(row, zone) for row in rows])
    draw_rows("artifacts", frame.style, [(CHAT, {"artifact": row.artifact_id}) for row in rows])


def draw_rows(name: str, rows: Styler, leads: Sequence[Lead], *, widths: Mapping[str, int] | None = None) -> None:
    """A table of which a clicked row leads somewhere."""
    key = f"{state.SESSION_PICK}{name}.{state.get(state.SESSION_ROUND) or 0}"
    st.dataframe(
        rows,
        key=key,
        hide_index=True,
        height="content",
        on_select=partial(_choose, key, leads),
        selection_mode=["single-row", "single-cell"],
        column_config={name: _column(name, widths or _WIDTHS) for name in rows.columns},
    )


def _choose(key: str, leads: Sequence[Lead]) -> None:
    """Go where the row leads that was clicked."""
    chosen = state.get(key)["selection"]
    picked = [*chosen["rows"], *(line for line, _ in chosen["cells"])]
    if picked and picked[0] < len(leads):
        state.put(state.SESSION_ROUND, (state.get(state.SESSION_ROUND) or 0) + 1)
        _follow(leads[picked[0]])


def _column(name: str, widths: Mapping[str, int]) -> object:
    if name == "Session":  # it is the one that is open
        return None
    return st.column_config.TextColumn(width=widths.get(name), alignment="right" if name in _RIGHT else None)


def _follow(lead: Lead) -> None:
    page, query = lead
    if page is not None:
        st.switch_page(page, query_params=query)
    if query:
        change({name: [value] for name, value in query.items()}, without=("before", "about"))


def draw_problem(error: SkeinError) -> None:
    """Why these rows are not shown, and the way to where they begin."""
    st.warning(plain_lines(str(error)), icon=":material/info:")
    draw_ways(("To the first page", ":material/first_page:", ""))


def draw_ways(*ways: tuple[str, str, str | None]) -> None:
    """The ways to other rows than those that are shown: (label, icon, ``before`` in the address, None: no way)."""
    if all(place is None for _, _, place in ways):
        return
    with st.container(horizontal=True, horizontal_alignment="right", key="session_ways"):
        for label, icon, place in ways:
            to = partial(change, {"before": [place] if place else []})
            st.button(label, icon=icon, key=f"session.ways.{label}", disabled=place is None, on_click=to)


def _draw_ways(previous: str | None, following: str | None) -> None:
    draw_ways(("Previous", ":material/chevron_left:", previous), ("Next", ":material/chevron_right:", following))


def _artifact_row(row: ArtifactRow, zone: ZoneInfo) -> dict[str, Any]:
    newest = row.newest
    return {
        "Name": row.name,
        "Kind": _KINDS.get(row.kind, row.kind),
        "Version": f"{newest.version:,}",
        "Size": size(newest.size),
        "By": newest.user_name if newest.by_hand else "agent",
        "Changed": moment(newest.created_at, zone),
    }
