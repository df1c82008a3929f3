"""The timeline of a session: what was said, asked, decided, broken, made and done, newest first, each with a link.

``&about=`` narrows it to kinds of things, ``&before=`` is where the page begins.
"""

from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.timeline import GROUPS, Happening, Moment, list_happenings
from core.ids import SessionId
from core.skein import Skein
from pages.parts.session.session_tables import Lead, draw_problem, draw_rows, draw_ways
from pages.parts.ui import state
from pages.parts.ui.address import address, change
from pages.parts.ui.page_paths import APPROVALS, BRANCHES, CALLS, CHAT
from pages.parts.ui.text import shortened

_WORDS = {
    "messages": "Messages",
    "approvals": "Approvals",
    "errors": "Errors and stops",
    "artifacts": "Artifacts",
    "acts": "Acts of people",
}
_SAID = {
    "first": "Began",
    "continue": "Said",
    "edit": "Edited",
    "regenerate": "Asked again",
    "fork": "Forked",
    "retry": "Retried",
    "fan_out": "Asked several",
    "asked": "Waits for approval",
    "approve": "Approved",
    "edit_arguments": "Changed and approved",
    "answer": "Answered",
    "refuse": "Refused",
    "withdrawn": "Withdrawn",
    "failed": "Failed",
    "lost": "Lost",
    "stopped": "Stopped",
    "task_plan": "Plan",
    "result": "Result",
    "file": "File",
}
_COLORS = {"errors": "#d9485f", "approvals": "#d18616"}
_LONGEST = 240
_WIDTHS = {"When": 150, "What": 190, "Who": 110, "About": 560}


def draw_timeline(skein: Skein, viewer: Viewer, session_id: SessionId, zone: ZoneInfo) -> None:
    """The line of time, a page of it."""
    groups = _chosen_groups()
    try:
        before = Moment.from_text(text) if (text := st.query_params.get("before")) else None
        with skein.database.read() as db:
            found = list_happenings(viewer, db, session_id, groups=groups, before=before)
    except SkeinError as error:
        draw_problem(error)
        return
    if not found.rows:
        st.info("Nothing of this kind happened here.", icon=":material/history:")
    else:
        frame = pd.DataFrame([_row(one, zone) for one in found.rows])
        colors = [f"color: {_COLORS[one.group]}" if one.group in _COLORS else "" for one in found.rows]
        rows = frame.style.apply(lambda _: colors, subset=["What"])
        draw_rows("timeline", rows, [_lead(one) for one in found.rows], widths=_WIDTHS)
    newest = "" if before else None
    following = found.next.to_text() if found.next else None
    if before is not None:
        st.button(
            "Newest", icon=":material/first_page:", key="session.newest", on_click=change, args=({"before": []},)
        )
    draw_ways(("Earlier", ":material/chevron_right:", following or newest))


def _chosen_groups() -> list[str]:
    key = f"{state.SESSION_WIDGET}about"
    named = [name for name in address().get("about", []) if name in GROUPS]
    state.put(key, named)
    st.pills(
        "About",
        list(_WORDS),
        format_func=_WORDS.__getitem__,
        selection_mode="multi",
        key=key,
        label_visibility="collapsed",
        on_change=lambda: change({"about": state.get(key) or []}, without=("before",)),
    )
    return named or list(GROUPS)


def _row(one: Happening, zone: ZoneInfo) -> dict[str, Any]:
    kind = "edit_arguments" if (one.group, one.kind) == ("approvals", "edit") else one.kind
    what = "Act" if one.group == "acts" else _SAID.get(kind, kind)
    return {
        "When": f"{one.at.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        "What": what,
        "Who": one.user_name or "",
        "About": shortened(" ".join(one.text.split()), _LONGEST),
    }


def _lead(one: Happening) -> Lead:
    """Where one looks further into it."""
    if one.group == "approvals" and one.target_id:
        return APPROVALS, {"approval": one.target_id}
    if one.group == "errors" and one.thread_id:
        return None, {"thread": one.thread_id}
    if one.group == "artifacts" and one.target_id:
        return CHAT, {"artifact": one.target_id}
    if one.message_id:
        return CHAT, {"message": one.message_id}
    return _lead_of_act(one.target_id or "")


def _lead_of_act(target_id: str) -> Lead:
    kind = target_id.partition("_")[0]
    pages: dict[str, Lead] = {
        "msg": (CHAT, {"message": target_id}),
        "conv": (CHAT, {"conversation": target_id}),
        "branch": (BRANCHES, {"branch": target_id}),
        "thread": (None, {"thread": target_id}),
        "call": (CALLS, {"call": target_id}),
        "art": (CHAT, {"artifact": target_id}),
    }
    return pages.get(kind, (None, {}))
