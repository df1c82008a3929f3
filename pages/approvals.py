"""Approvals: the desk of what waits for a person, what was decided, and the rules that decide without one.

The address says all: ``?approval=`` opens one alone, ``?tab=`` what is seen, ``?who=all`` everybody's (for admins),
``?find=``, ``?agent=``, ``?tool=`` and ``?person=`` narrow it.
"""

from collections.abc import Sequence

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.approvals import ApprovalRow, count_waiting, get_approval, list_approvals
from core.ids import to_approval_id
from core.skein import Skein
from pages.parts.approvals.approval_form import holds_typing
from pages.parts.approvals.approval_outcome import draw_said
from pages.parts.approvals.approval_texts import matches
from pages.parts.approvals.approval_url import (
    TABS,
    WHOSE,
    Place,
    draw_choice,
    draw_filter,
    draw_words,
    leave,
    read_place,
)
from pages.parts.approvals.approval_view import draw_anew, draw_approval, draw_decided
from pages.parts.approvals.rule_list import draw_pages, draw_rules
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain_lines
from pages.parts.ui.watch import look_every

viewer = require_viewer()

_MOST, _CARDS, _LINES = 1_000, 10, 50
_POLL_SECONDS = 4.0


def main(skein: Skein, viewer: Viewer) -> None:
    place = read_place(is_admin=viewer.is_admin)
    st.markdown("### Approvals")
    draw_said()
    if place.approval:
        _draw_alone(skein, viewer, place.approval)
        return
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        draw_choice("tab", TABS, place.tab)
        if viewer.is_admin and place.tab != "rules":
            draw_choice("who", WHOSE, "all" if place.everyone else "mine")
    if place.tab == "rules":
        draw_rules(skein, viewer)
        return
    is_waiting = place.tab == "waiting"
    with skein.database.read() as db:
        rows = list_approvals(viewer, db, everyone=place.everyone, waiting=is_waiting, limit=_MOST)
    if is_waiting:
        _draw_waiting(skein, viewer, rows, place)
    else:
        _draw_decided(rows, place)


# -- what waits ---------------------------------------------------------------------------------------------


def _draw_waiting(skein: Skein, viewer: Viewer, rows: Sequence[ApprovalRow], place: Place) -> None:
    if not place.everyone:
        _watch(skein, viewer, rows)
    if not rows:
        st.info(
            "Nothing waits for a decision. When an agent wants to use a tool that asks first, or asks a question, "
            "it is listed here.",
            icon=":material/done_all:",
        )
        return
    found = _draw_filters(rows, place)
    if not found:
        st.info("Nothing that waits fits this filter.", icon=":material/filter_alt:")
        return
    _say_most(rows)
    for row in found[draw_pages(len(found), _CARDS, key="approvals.page.waiting")]:
        draw_approval(skein, viewer, row)


def _watch(skein: Skein, viewer: Viewer, rows: Sequence[ApprovalRow]) -> None:
    """Looks whether more or less waits than is shown: decided in another tab, or asked just now."""
    typing = any(holds_typing(row) for row in rows)

    def look() -> None:
        with skein.database.read() as db:
            waiting = count_waiting(viewer, db)
        if waiting != len(rows) < _MOST:
            draw_anew(is_typing=typing)

    look_every(_POLL_SECONDS, look)


def _draw_filters(rows: Sequence[ApprovalRow], place: Place) -> list[ApprovalRow]:
    """Those that fit what the address says, and the widgets to say something else."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="approvals_filters"):
        draw_words(place.find)
        draw_filter("agent", "Agent", [row.agent_id for row in rows], place.agent)
        draw_filter("tool", "Tool", [row.tool for row in rows], place.tool)
        draw_filter("person", "Person", [row.user_name for row in rows], place.person)
    return [
        row
        for row in rows
        if place.agent in {"", row.agent_id}
        and place.tool in {"", row.tool}
        and place.person in {"", row.user_name}
        and matches(row, place.find)
    ]


def _say_most(rows: Sequence[ApprovalRow]) -> None:
    if len(rows) == _MOST:
        st.caption(f"These are the first {_MOST:,}; there are more.")


# -- what was decided ---------------------------------------------------------------------------------------


def _draw_decided(rows: Sequence[ApprovalRow], place: Place) -> None:
    if not rows:
        st.info("Nothing was decided yet; each decision will be kept here.", icon=":material/history:")
        return
    found = _draw_filters(rows, place)
    if not found:
        st.info("No decision fits this filter.", icon=":material/filter_alt:")
        return
    _say_most(rows)
    page = draw_pages(len(found), _LINES, key="approvals.page.decided")
    with st.container(gap=None, key="approvals_decided"):
        for row in found[page]:
            draw_decided(row)


# -- one alone ----------------------------------------------------------------------------------------------


def _draw_alone(skein: Skein, viewer: Viewer, named: str) -> None:
    # A button: a link to the page that is open changes what it shows, but not its address.
    st.button(
        "All approvals",
        icon=":material/arrow_back:",
        type="tertiary",
        key="approvals.all",
        on_click=leave,
        args=("approval",),
    )
    try:
        with skein.database.read() as db:
            row = get_approval(viewer, db, to_approval_id(named))
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    if row.is_waiting:
        draw_approval(skein, viewer, row)
    else:
        draw_decided(row, is_open=True)


main(get_skein(), viewer)
