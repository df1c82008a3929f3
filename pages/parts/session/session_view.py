"""One session, opened: whose it is, how it went, and what is in it, each part behind a tab of the address.

``?session=`` says which, ``&tab=`` which part. Invariant: the figures are counted from the rows when it is drawn,
so that they are never behind what stands below them.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from core.access.accounts import find_name
from core.access.activity import record_look
from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.annotations import Mark, find_marks
from core.history.browse.counting import compute
from core.history.sessions import SessionRow, get_session
from core.ids import to_session_id
from core.skein import Skein
from core.tables import THREAD_STATUSES
from pages.parts.browse.browse_rows import describe_threads, moment
from pages.parts.browse.browse_url import OF_ONE
from pages.parts.session.session_marks import draw_marks, draw_star
from pages.parts.session.session_menu import draw_menu
from pages.parts.session.session_tables import draw_artifacts, draw_conversations, draw_threads
from pages.parts.session.session_timeline import draw_timeline
from pages.parts.ui import state
from pages.parts.ui.address import change
from pages.parts.ui.days import zone
from pages.parts.ui.format import count, total_cost
from pages.parts.ui.page_paths import CALLS, CHAT
from pages.parts.ui.text import plain, plain_lines

TABS = {
    "conversations": "Conversations",
    "timeline": "Timeline",
    "threads": "Threads",
    "artifacts": "Artifacts",
}
_STYLE = """<style>
.st-key-session_figures [data-testid="stMetricValue"] { font-size: 1.25rem; }
.st-key-session_figures > div { min-width: 7rem; }
@media (max-width: 640px) { .st-key-session_head > div:first-child { min-width: 100%; } }
</style>"""


@dataclass(frozen=True)
class OpenSession:
    """The session with what the page says about it; ``stat`` are its columns of ``session_stat``, counted now."""

    row: SessionRow
    owner: str
    is_own: bool
    stat: dict[str, object]
    mark: Mark

    def number(self, name: str) -> int:
        value = self.stat.get(name)
        return value if isinstance(value, int) else 0


def draw_session(skein: Skein, viewer: Viewer, session_id: str) -> None:
    """The page of a session; one sentence where there is none for this viewer."""
    st.html(_STYLE)
    st.button("All sessions", icon=":material/arrow_back:", key="session.back", type="tertiary", on_click=_close)
    try:
        opened = _open(skein, viewer, session_id)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    record_look(
        viewer,
        skein.database,
        "session.read",
        target_id=opened.row.session_id,
        owner_id=opened.row.user_id,
        session_id=opened.row.session_id,
    )
    tz = zone()
    _draw_head(skein, viewer, opened, tz)
    if notice := state.take(state.SESSION_NOTICE):
        st.warning(plain_lines(notice), icon=":material/info:")
    _draw_figures(opened, tz)
    draw_marks(skein, viewer, opened.row.session_id, opened.mark)
    match _chosen_tab():
        case "timeline":
            draw_timeline(skein, viewer, opened.row.session_id, tz)
        case "threads":
            draw_threads(skein, viewer, opened.row.session_id, tz)
        case "artifacts":
            draw_artifacts(skein, viewer, opened.row.session_id, tz)
        case _:
            draw_conversations(skein, viewer, opened.row.session_id, tz)


def _open(skein: Skein, viewer: Viewer, session_id: str) -> OpenSession:
    with skein.database.read() as db:
        row = get_session(viewer, db, to_session_id(session_id))
        counted = compute(db, [row.session_id]).get(row.session_id)
        return OpenSession(
            row,
            find_name(db, row.user_id),
            viewer.may_change(row.user_id),
            counted.stat if counted else {},
            find_marks(viewer, db, [row.session_id]).get(row.session_id, Mark()),
        )


def _draw_head(skein: Skein, viewer: Viewer, opened: OpenSession, tz: ZoneInfo) -> None:
    row = opened.row
    with st.container(horizontal=True, vertical_alignment="center", key="session_head"):
        with st.container(width="stretch", gap=None):
            badge = " :gray-badge[archived]" if row.status == "archived" else ""
            st.markdown(f"### {plain(row.title) or 'Untitled'}{badge}")
            whose = "yours" if opened.is_own else plain(opened.owner)
            st.caption(f"{whose} · begun {moment(row.created_at, tz)} · `{row.session_id}`")
        if opened.is_own:
            st.button(
                "New conversation",
                icon=":material/add_comment:",
                key="session.chat",
                on_click=partial(st.switch_page, CHAT, query_params={"session": row.session_id}),
            )
        st.page_link(CALLS, label="Calls", icon=":material/analytics:", query_params={"sessions": row.session_id})
        draw_star(skein, viewer, row.session_id, opened.mark)
        draw_menu(skein, viewer, row)


def _draw_figures(opened: OpenSession, tz: ZoneInfo) -> None:
    threads = {name: opened.number(name) for name in THREAD_STATUSES}
    cost, last = opened.stat.get("cost_usd"), opened.stat.get("last_active_at")
    calls, unpriced = opened.number("calls"), opened.number("unpriced")
    spent = total_cost(cost if isinstance(cost, float) else 0.0, calls=calls, unpriced=unpriced)
    figures = {
        "Messages": count(opened.number("messages")),
        "Branches": count(opened.number("branches")),
        "Calls": count(calls),
        "Tokens": count(opened.number("tokens")),
        "Cost": spent,
        "Last active": moment(last, tz) if isinstance(last, datetime) else "–",
    }
    with st.container(horizontal=True, gap="medium", key="session_figures"):
        for name, value in figures.items():
            st.metric(name, value, width="content")
    if said := describe_threads(threads):
        st.caption(f"Threads: {said}")


def _chosen_tab() -> str:
    key = f"{state.SESSION_WIDGET}tab"
    named = st.query_params.get("tab", "")
    tab = named if named in TABS else next(iter(TABS))
    state.put(key, tab)
    st.segmented_control(
        "Part",
        list(TABS),
        format_func=TABS.__getitem__,
        key=key,
        required=True,
        label_visibility="collapsed",
        on_change=lambda: change({"tab": [state.get(key)]}, without=("before", "about")),
    )
    return tab


_close = partial(change, {}, without=OF_ONE)
