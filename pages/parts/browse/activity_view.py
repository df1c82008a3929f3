"""The record of activity as a table: who did what, when and on what; a row leads to what it was done to.

The address says all: ``who`` and ``did`` (each any number of times), ``on`` an id, ``days`` back, ``after`` a page.
Invariant: a part of the address that cannot be understood costs one sentence, and the rest still holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from core.access.deeds import DEEDS
from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.activity_list import (
    ActivityFilter,
    ActivityPage,
    ActivityRow,
    export_activity,
    list_activity,
    list_doers,
)
from core.skein import Skein
from core.tables import utc_now
from pages.parts.ui import state
from pages.parts.ui.address import address, change
from pages.parts.ui.days import zone
from pages.parts.ui.page_paths import BROWSE, CALLS, CHAT
from pages.parts.ui.text import plain_lines, shortened

Lead = tuple[Path, dict[str, str]]
DAYS = {"1": "Day", "7": "7 days", "30": "30 days", "all": "All"}
_ROWS = 50
_LONGEST = 60
_WIDTHS = {"When": 160, "Who": 110, "What": 240, "To": 220, "Session": 200}
# By what an id begins with: the page that shows it, and its parameter there.
_PAGES = {
    "session": (BROWSE, "session"),
    "conv": (CHAT, "conversation"),
    "msg": (CHAT, "message"),
    "branch": (CHAT, "branch"),
    "thread": (BROWSE, "thread"),
    "call": (CALLS, "call"),
}


@dataclass(frozen=True)
class Place:
    """What of the record is looked at; ``days`` is how far back, ``on`` the id that it is narrowed to."""

    wanted: ActivityFilter
    days: str
    on: str
    after: str | None
    problems: tuple[str, ...] = ()


def read_place(query: Mapping[str, list[str]], *, now: datetime) -> Place:
    """What an address means at this moment."""
    did, days = query.get("did", []), _first(query, "days") or "all"
    problems = [f"There is no deed {kind[:40]!r}; choose one of the list." for kind in did if kind not in DEEDS]
    if days not in DAYS:
        problems.append(f"The address has days={days[:40]!r}, which is not known; write one of {', '.join(DAYS)}.")
        days = "all"
    on = _first(query, "on").strip()
    wanted = ActivityFilter(
        users=tuple(query.get("who", [])),
        kinds=tuple(kind for kind in did if kind in DEEDS),
        session=on if on.startswith("session_") else "",
        target="" if on.startswith("session_") else on,
        since=None if days == "all" else now - timedelta(days=int(days)),
    )
    return Place(wanted, days, on, _first(query, "after") or None, tuple(problems))


def _first(query: Mapping[str, list[str]], name: str) -> str:
    return (query.get(name) or [""])[0]


def draw_activity(skein: Skein, viewer: Viewer) -> None:
    """The filters, a page of the record, and the ways to the next one and into a file."""
    place = read_place(address(), now=utc_now())
    tz = zone()
    with skein.database.read() as db:
        doers = list_doers(viewer, db)
    _draw_filters(place, doers)
    try:
        with skein.database.read() as db:
            page = list_activity(viewer, db, place.wanted, after=place.after, limit=_ROWS)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        page = ActivityPage([], None)
    for problem in place.problems:
        st.warning(plain_lines(problem), icon=":material/info:")
    if page.rows:
        _draw_rows(page.rows, tz)
    else:
        st.info(
            "Nobody did anything like that. Take a filter away, or look further back.", icon=":material/history:"
        )
    _draw_ways(skein, viewer, place, page)


def _draw_filters(place: Place, doers: Mapping[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", key="activity_filters"):
        _draw_list("who", "Who", doers, place.wanted.users)
        _draw_list("did", "What", DEEDS, place.wanted.kinds)
        _put("on", place.on)
        st.text_input(
            "On",
            key=_key("on"),
            placeholder="Id of a session, message, thread …",
            max_chars=80,
            on_change=lambda: _go("on", [state.get(_key("on")).strip()]),
        )
        _put("days", place.days)
        st.segmented_control(
            "How far back",
            list(DAYS),
            format_func=DAYS.__getitem__,
            key=_key("days"),
            required=True,
            on_change=lambda: _go("days", [] if state.get(_key("days")) == "all" else [state.get(_key("days"))]),
        )


def _draw_list(name: str, label: str, known: Mapping[str, str], chosen: Sequence[str]) -> None:
    _put(name, list(chosen))
    st.multiselect(
        label,
        [*known, *(value for value in chosen if value not in known)],
        key=_key(name),
        format_func=lambda value: known.get(value, value),
        placeholder="Any",
        select_all=False,
        on_change=lambda: _go(name, state.get(_key(name))),
    )


def _go(name: str, values: Sequence[str]) -> None:
    """Narrow otherwise; that has a first page of its own."""
    change({name: [value for value in values if value]}, without=("after",))


def _draw_rows(rows: Sequence[ActivityRow], tz: ZoneInfo) -> None:
    key = f"{state.ACTIVITY_PICK}{state.get(state.ACTIVITY_ROUND) or 0}"
    st.dataframe(
        pd.DataFrame([describe(row, tz) for row in rows]),
        key=key,
        hide_index=True,
        height="content",
        on_select=partial(_choose, key, rows),
        selection_mode=["single-row", "single-cell"],
        column_config={name: st.column_config.TextColumn(width=width) for name, width in _WIDTHS.items()},
    )
    st.caption(f"Choose a row to go to what it was done to. Times are in {tz.key}.")


def _choose(key: str, rows: Sequence[ActivityRow]) -> None:
    """Go to what was done in the row that was clicked."""
    chosen = state.get(key)["selection"]
    picked = [*chosen["rows"], *(line for line, _ in chosen["cells"])]
    if picked and picked[0] < len(rows):
        state.put(state.ACTIVITY_ROUND, (state.get(state.ACTIVITY_ROUND) or 0) + 1)
        _follow(lead_of(rows[picked[0]]))


def _follow(lead: Lead | None) -> None:
    if lead is None:
        st.toast("What this was done to is not there any more, or has no page of its own.", icon=":material/info:")
    elif lead[0] == BROWSE:
        change({name: [value] for name, value in lead[1].items()})
    else:
        st.switch_page(lead[0], query_params=lead[1])


def describe(row: ActivityRow, tz: ZoneInfo) -> dict[str, str]:
    """A row as people read it."""
    return {
        "When": f"{row.created_at.astimezone(tz):%Y-%m-%d %H:%M:%S}",
        "Who": row.user_name or "somebody who is gone",
        "What": row.sentence,
        "To": shortened(row.target_name or row.target_id or "", _LONGEST),
        "Session": shortened(row.session_title or ("(gone)" if row.session_id else ""), _LONGEST),
        "More": _told(row.detail),
    }


def _told(detail: Mapping[str, Any]) -> str:
    return " · ".join(
        f"{name.replace('_', ' ')} {value}" for name, value in detail.items() if value not in ("", None)
    )


def lead_of(row: ActivityRow) -> Lead | None:
    """Where a row leads: to what it was done to, else to its session; None when that is gone."""
    if row.session_id and row.session_title is None:
        return None
    target = row.target_id or ""
    page, name = _PAGES.get(target.split("_")[0], (None, ""))
    if page is not None and not (name == "message" and row.conversation_id is None):
        return page, {name: target}
    thread_id = row.detail.get("thread_id")
    if isinstance(thread_id, str) and row.session_id:
        return BROWSE, {"thread": thread_id}
    return (BROWSE, {"session": row.session_id}) if row.session_id else None


def _draw_ways(skein: Skein, viewer: Viewer, place: Place, page: ActivityPage) -> None:
    with st.container(horizontal=True, horizontal_alignment="right", key="activity_ways"):
        st.download_button(
            "Download as CSV",
            data=partial(export_activity, viewer, skein.database, place.wanted),
            file_name="skein-activity.csv",
            mime="text/csv",
            icon=":material/download:",
            key="activity.load",
            type="tertiary",
            on_click="ignore",
            disabled=not page.rows,
        )
        if place.after is not None:
            st.button(
                "Newest", icon=":material/first_page:", key="activity.first", on_click=_go, args=("after", [])
            )
        if place.after is not None or page.next is not None:
            st.button(
                "Next",
                icon=":material/chevron_right:",
                icon_position="right",
                key="activity.next",
                disabled=page.next is None,
                on_click=change,
                args=({"after": [page.next or ""]},),
            )


def _key(name: str) -> str:
    return f"{state.ACTIVITY_WIDGET}{name}"


def _put(name: str, value: object) -> None:
    state.put(_key(name), value)
