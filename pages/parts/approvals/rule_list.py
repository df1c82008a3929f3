"""Rules about tools: what is allowed, asked about or denied, for whom, and how often that was of use."""

from functools import partial
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.conversations import list_conversations
from core.history.rules import ANY, LONGEST_NAME, LONGEST_WAIT_HOURS, RuleRow, add_rule, list_rules, revoke_rule
from core.skein import Skein
from core.tables import utc_now
from pages.parts.approvals.approval_texts import visible
from pages.parts.branches.branch_list import ago
from pages.parts.ui import state
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain, plain_lines, shortened

_FIELDS = ("scope", "effect", "tool", "agent", "hours", "session")
_PAGE = 50
_SESSIONS = 100
_COLORS = {"allow": "green", "ask": "yellow", "deny": "red"}
_EFFECTS = {"allow": "Allow", "ask": "Ask", "deny": "Deny"}
_EXPLAINED = (
    "A rule says what happens when an agent wants to use a tool. **Deny** wins over **ask**, and ask over "
    "**allow**, whoever made them; where no rule fits, the agent itself says what it asks about."
)


def draw_rules(skein: Skein, viewer: Viewer) -> None:
    """All rules that concern the viewer, the newest first, and a form for another one."""
    st.markdown(_EXPLAINED)
    if notice := state.take(state.APPROVALS_NOTICE):
        st.success(plain_lines(notice), icon=":material/check:")
    if problem := state.take(state.APPROVALS_PROBLEM):
        st.warning(plain_lines(problem), icon=":material/info:")
    with skein.database.read() as db:
        conversations = list_conversations(viewer, db, limit=_SESSIONS)
    sessions = {row.session_id: shortened(visible(row.title, 120), 50) or "Untitled" for row in conversations}
    with st.expander("Add a rule", icon=":material/add:", key="approvals.add"):
        _draw_new(skein, viewer, sessions)
    revoked = st.toggle("Revoked ones too", key="approvals.revoked")
    with skein.database.read() as db:
        rows = list_rules(viewer, db, revoked=revoked)
    _draw_list(skein, viewer, rows, sessions)


def _draw_list(skein: Skein, viewer: Viewer, rows: list[RuleRow], sessions: dict[Any, str]) -> None:
    if not rows:
        st.info(
            "There is no rule yet: each agent asks about the tools that it was built to ask about.",
            icon=":material/rule:",
        )
        return
    page = draw_pages(len(rows), _PAGE, key="approvals.page.rules")
    with st.container(gap="small", key="approvals_rules"):
        for row in rows[page]:
            _draw_rule(skein, viewer, row, sessions)


def draw_pages(count: int, size: int, *, key: str) -> slice:
    """Which of so many rows are shown; says how many there are, and lets one turn the page."""
    pages = -(-count // size)
    if pages <= 1:
        return slice(0, size)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        number = st.pagination(pages, key=key)
        st.caption(f"{(number - 1) * size + 1:,}–{min(number * size, count):,} of {count:,}", width="content")
    return slice((number - 1) * size, number * size)


def _draw_rule(skein: Skein, viewer: Viewer, row: RuleRow, sessions: dict[Any, str]) -> None:
    now = utc_now()
    tool = "every tool" if row.tool == ANY else visible(row.tool, 120)
    agent = "every agent" if row.agent_id == ANY else visible(row.agent_id, 80)
    used = (
        f"used {counted(row.uses, 'time')}, last {ago(row.last_used_at, now)}" if row.last_used_at else "not used"
    )
    parts = [
        f"by {row.created_by_name}, {ago(row.created_at, now)}",
        used,
        f"waits at most {row.expires_after_hours:,} h" if row.expires_after_hours else "",
        f"revoked {ago(row.revoked_at, now)}" if row.revoked_at else "",
    ]
    with st.container(horizontal=True, vertical_alignment="center", border=True, key=f"rule_{row.rule_id}"):
        with st.container(width="stretch", gap=None):
            st.markdown(
                f":{_COLORS[row.effect]}-badge[{row.effect}] **{plain(tool)}** for {plain(agent)}, "
                f"{plain(_whom(viewer, row, sessions))}"
            )
            st.caption(plain(" · ".join(part for part in parts if part)))
        if row.revoked_at is None and (viewer.is_admin or row.created_by == viewer.user_id):
            st.button(
                "Revoke",
                icon=":material/undo:",
                key=f"approvals.revoke.{row.rule_id}",
                on_click=partial(_revoke, skein, viewer, row),
            )


def _whom(viewer: Viewer, row: RuleRow, sessions: dict[Any, str]) -> str:
    """For whom a rule is."""
    if row.scope == "everyone":
        return "for everyone"
    if row.scope == "session":
        return f"in the session “{sessions.get(row.session_id) or row.session_id}”"
    return "for me" if row.user_id == viewer.user_id else f"for {row.created_by_name}"


def _revoke(skein: Skein, viewer: Viewer, row: RuleRow) -> None:
    with state.problems(state.APPROVALS_PROBLEM):
        skein.database.write(lambda db: revoke_rule(viewer, db, row.rule_id))
        state.put(state.APPROVALS_NOTICE, f"The rule about {_named(row.tool)} is revoked.")


def _named(tool: str) -> str:
    return "every tool" if tool == ANY else visible(tool, 120)


# -- another one ----------------------------------------------------------------------------------------------


def known_tools(skein: Skein) -> list[str]:
    """The tools of all agents that could be loaded, by name."""
    names: set[str] = set()
    for agent in skein.agents.list():
        try:
            names |= skein.agents.tools(agent.agent_id).keys()
        except SkeinError:
            continue
    return sorted(names)


def _draw_new(skein: Skein, viewer: Viewer, sessions: dict[Any, str]) -> None:
    scopes = ["user", *(["session"] if sessions else []), *(["everyone"] if viewer.is_admin else [])]
    words = {"user": "me", "session": "one session", "everyone": "everyone"}
    scope = st.segmented_control(
        "For whom", scopes, default="user", required=True, format_func=words.__getitem__, key="approvals.new.scope"
    )
    with st.form("approvals.new", border=False):
        st.segmented_control(
            "What happens",
            list(_EFFECTS),
            default="ask",
            required=True,
            format_func=_EFFECTS.__getitem__,
            key="approvals.new.effect",
        )
        _draw_what(skein)
        if scope == "session":
            _draw_where(sessions)
        st.form_submit_button(
            "Add the rule", type="primary", key="approvals.new.add", on_click=_add, args=(skein, viewer)
        )
        if refused := state.take(state.APPROVALS_RULE_REFUSED):
            st.error(plain_lines(refused), icon=":material/error:")


def _draw_what(skein: Skein) -> None:
    """Which tool, of which agent, and how long is waited for an answer."""
    left, middle, right = st.columns([2, 2, 1])
    left.selectbox(
        "Tool",
        [ANY, *known_tools(skein)],
        format_func=lambda name: "Every tool" if name == ANY else name,
        accept_new_options=True,
        key="approvals.new.tool",
        help=f"Choose one, or type its name (at most {LONGEST_NAME} characters)",
    )
    middle.selectbox(
        "Agent",
        [ANY, *(agent.agent_id for agent in skein.agents.list())],
        format_func=lambda name: "Every agent" if name == ANY else name,
        key="approvals.new.agent",
    )
    right.number_input(
        "Wait (hours)",
        min_value=1,
        max_value=LONGEST_WAIT_HOURS,
        value=None,
        placeholder="default",
        key="approvals.new.hours",
        help="Of a rule that asks: after so long without a decision the call is refused",
    )


def _draw_where(sessions: dict[Any, str]) -> None:
    st.selectbox(
        "Session", list(sessions), format_func=lambda one: sessions.get(one, one), key="approvals.new.session"
    )


def _add(skein: Skein, viewer: Viewer) -> None:
    """Make the rule that the fields say."""
    scope, effect, tool, agent_id, hours, session_id = (state.get(f"approvals.new.{name}") for name in _FIELDS)
    with state.problems(state.APPROVALS_RULE_REFUSED):
        rule = {
            "scope": scope,
            "effect": effect,
            "tool": tool or "",
            "agent_id": agent_id,
            "expires_after_hours": hours if effect == "ask" else None,
            "session_id": session_id if scope == "session" else None,
        }
        skein.database.write(lambda db: add_rule(viewer, db, **rule))
        state.put(state.APPROVALS_NOTICE, f"From now on: {effect} {_named(tool)}.")
