"""One approval drawn: what is asked, of whom, since when, with which arguments, and what became of it.

Invariant: what tools, models and people wrote is shown as bounded text or code, never as their Markdown or HTML.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.history.approvals import ApprovalRow, list_of_threads
from core.history.differences import state_differences
from core.history.interrupts import Action
from core.ids import ThreadId
from core.skein import Skein
from core.tables import utc_now
from pages.parts.approvals.approval_form import draw_form, holds_typing
from pages.parts.approvals.approval_outcome import draw_said
from pages.parts.approvals.approval_texts import (
    LONG,
    ahead,
    arguments_html,
    as_json,
    asking,
    bounded,
    decided,
    edits_of,
    is_whole,
    question_of,
    rest_of,
    since,
    visible,
)
from pages.parts.branches.branch_list import ago
from pages.parts.ui import state
from pages.parts.ui.days import zone
from pages.parts.ui.diff_view import draw_changes
from pages.parts.ui.page_paths import APPROVALS, CHAT
from pages.parts.ui.text import as_written, plain, shortened
from pages.parts.ui.wake import wake_when

_STYLE = """<style>
dl.skein-arguments.skein-arguments {
  display: grid; grid-template-columns: minmax(6rem, max-content) 1fr; gap: 0.3rem 1rem; margin: 0; padding: 0;
}
.skein-arguments dt { opacity: 0.7; overflow-wrap: anywhere; margin: 0; padding: 0; }
.skein-arguments dd { margin: 0; padding: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
@media (max-width: 640px) { dl.skein-arguments.skein-arguments { grid-template-columns: 1fr; gap: 0.1rem; }
  .skein-arguments dd { margin-bottom: 0.5rem; } }
</style>"""
_HEIGHT = 320
_CONTEXT = 3_000
_ICONS = {"approve": "check", "edit": "edit", "answer": "reply", "refuse": "block", "withdrawn": "stop"}


def draw_approval(skein: Skein, viewer: Viewer, row: ApprovalRow, *, in_chat: bool = False) -> None:
    """An approval that waits, with what can be done about it; outside of the chat with what led there."""
    with st.container(border=True, key=f"approval_{row.approval_id}"):
        _draw_head(viewer, row, in_chat=in_chat)
        if not in_chat:
            draw_context(row)
        draw_asked(row)
        draw_form(skein, viewer, row)


def draw_decided(row: ApprovalRow, *, in_chat: bool = False, is_open: bool = False) -> None:
    """What became of one that waits no longer: a line, and all of it when that is opened."""
    label = f"{plain(decided(row))}, {since(row, utc_now())}"
    if not in_chat:
        label += f" · {plain(shortened(visible(row.title, 80), 60) or 'Untitled')}"
    with st.expander(
        label,
        icon=f":material/{_ICONS.get(row.decision or row.status, 'undo')}:",
        type="compact",
        expanded=is_open,
        on_change="rerun",
        key=f"approval.decided.{row.approval_id}",
    ) as fold:
        if fold.open:
            _draw_record(row, in_chat=in_chat)


def _draw_head(viewer: Viewer, row: ApprovalRow, *, in_chat: bool) -> None:
    now = utc_now()
    parts = [
        f"asked by {plain(row.user_name)}" if row.user_id != viewer.user_id else "",
        f"{ago(row.waiting_since, now)} ({_exact(row.waiting_since)})",
        f"at node {plain(visible(row.node, 80))}" if row.node else "",
        f"expires {ahead(row.expires_at, now)} ({_exact(row.expires_at)})" if row.expires_at else "",
    ]
    said = " · ".join(part for part in parts if part)
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(width="stretch", gap=None):
            st.markdown(f":material/front_hand: **{plain(asking(row))}**")
            st.caption(said)
        draw_link(row, in_chat=in_chat)


def draw_link(row: ApprovalRow, *, in_chat: bool) -> None:
    """The way to the other place where it stands."""
    if in_chat:
        st.page_link(
            APPROVALS,
            label="Open",
            icon=":material/open_in_new:",
            query_params={"approval": row.approval_id},
            help="This approval alone, with an address to pass on",
        )
    else:
        st.page_link(CHAT, label="Chat", icon=":material/forum:", query_params={"message": row.message_id})


def draw_context(row: ApprovalRow) -> None:
    """What led there: the question in short, and folded the whole of it with the answer so far."""
    title = shortened(visible(row.title, 120), 80).rstrip("…")
    place = f"In “{plain(title)}”, " if title and title not in row.question[:120] else ""
    st.caption(f"{place}{plain(row.user_name)} said:")
    st.html(as_written(shortened(visible(row.question, 400), 240)))
    if len(row.question) <= 240 and not row.answer:
        return
    with st.expander("What led here", type="compact", icon=":material/forum:"):
        for name, text in (("The message", row.question), ("The answer so far", row.answer)):
            if text:
                st.caption(name)
                draw_text(text, most=_CONTEXT)


def draw_asked(row: ApprovalRow) -> None:
    """What is asked: each tool call with its arguments, the question, or that it is a pause."""
    st.html(_STYLE)
    actions = row.actions
    for number, action in enumerate(actions):
        if len(actions) > 1:
            st.markdown(f"**{number + 1}. {plain(visible(action.tool, 120))}**")
        draw_action(action, key=f"{row.approval_id}.{number}")
    if row.kind == "pause" and row.said is not None:
        _draw_question(row, row.said)
    elif row.kind == "pause":
        st.caption(f"It was built to stop here, before {plain(visible(row.node, 80)) or 'its next step'}.")
    elif not actions and row.kind == "tool":
        draw_data(row.arguments, key=f"approval.arguments.{row.approval_id}")
    elif not actions:
        _draw_question(row, row.value)


def draw_action(action: Action, *, key: str) -> None:
    """One tool call: what its author says of it, and its arguments."""
    if action.description and not _tells_nothing_new(action):
        draw_text(action.description, most=LONG)
    draw_data(action.arguments, key=f"approval.arguments.{key}")


def _tells_nothing_new(action: Action) -> bool:
    """LangChain's own description only repeats the tool's name and arguments."""
    return action.description.startswith("Tool execution requires approval\n\nTool: ")


def draw_data(data: Any, *, key: str) -> None:
    """Arguments as names and values; what is too long for that stands folded below, bounded."""
    if not isinstance(data, dict):
        text = as_json(data)
        st.code(text, language="json", wrap_lines=True, height=_HEIGHT if _is_long(text) else "content")
        return
    if not data:
        st.caption("Without arguments.")
        return
    st.html(arguments_html(data))
    if is_whole(data):
        return
    with st.expander("All of it", type="compact", on_change="rerun", key=key) as fold:
        if fold.open:
            st.code(as_json(data), language="json", wrap_lines=True, height=_HEIGHT)
            st.download_button(
                "Download",
                lambda: json.dumps(data, ensure_ascii=False, indent=2, default=str),
                "arguments.json",
                "application/json",
                icon=":material/download:",
                key=f"{key}.file",
                on_click="ignore",
            )


def _is_long(text: str) -> bool:
    return len(text) > 600 or text.count("\n") > 12


def draw_text(text: str, *, most: int) -> None:
    """Somebody's text as it is, never longer than that; a long one scrolls."""
    with st.container(height=_HEIGHT if _is_long(text) else "content", border=False):
        st.html(as_written(visible(text, most)))


def _draw_question(row: ApprovalRow, value: Any) -> None:
    if said := question_of(value):
        draw_text(said, most=_CONTEXT)
    rest = rest_of(value)
    if rest is not None:
        draw_data(rest, key=f"approval.value.{row.approval_id}")


# -- what became of it --------------------------------------------------------------------------------------


def _draw_record(row: ApprovalRow, *, in_chat: bool) -> None:
    """Who, when, what before, what after, why, and by which rule."""
    by = row.decided_by_name or ("a rule" if row.rule_id else "nobody: its time was over")
    lines = [
        f"Decided {_exact(row.decided_at)} by {plain(by)}" if row.decided_at else "Nobody decided it",
        f"asked {_exact(row.waiting_since)} in the name of {plain(row.user_name)}",
        f"by {plain(visible(row.agent_id, 80))}" + (f" at node {plain(visible(row.node, 80))}" if row.node else ""),
    ]
    with st.container(horizontal=True, vertical_alignment="top"):
        with st.container(width="stretch"):
            st.caption(" · ".join(lines))
        draw_link(row, in_chat=in_chat)
    if row.reason:
        st.caption("Reason")
        draw_text(row.reason, most=_CONTEXT)
    draw_asked(row)
    _draw_after(row)
    for name in (row.approval_id, row.rule_id):
        if name:
            st.code(name, language=None)


def _draw_after(row: ApprovalRow) -> None:
    key = f"approval.after.{row.approval_id}"
    if edited := edits_of(row):
        st.caption("What was changed before it went on")
        draw_changes(state_differences(*(bounded(one) for one in edited)), key=key)
    if row.response is not None and (row.kind == "question" or row.decision == "answer" or len(row.actions) > 1):
        st.caption("What the agent was given")
        draw_response(row.response, key=key)


def draw_response(response: Any, *, key: str) -> None:
    if isinstance(response, str):
        draw_text(response, most=_CONTEXT)
    else:
        draw_data(response, key=key)


def _exact(moment: datetime) -> str:
    """The moment by the clock of the person's browser."""
    return f"{moment.astimezone(zone()):%d %b %Y, %H:%M}"


def draw_of_turn(skein: Skein, viewer: Viewer, rows: Sequence[ApprovalRow]) -> None:
    """The approvals of one answer in the chat: what was decided as lines, what waits with its form."""
    if rows:
        draw_said(thread_id=rows[0].thread_id)
    for row in rows:
        if row.is_waiting:
            draw_approval(skein, viewer, row, in_chat=True)
        else:
            draw_decided(row, in_chat=True)


def waiting_of(rows: Iterable[ApprovalRow]) -> set[str]:
    """The ids of those that wait."""
    return {row.approval_id for row in rows if row.is_waiting}


def draw_watch(skein: Skein, viewer: Viewer, approvals: Mapping[ThreadId, Sequence[ApprovalRow]]) -> None:
    """Have the chat drawn anew when what waits in these threads has been decided elsewhere.

    Where somebody may be typing it stays: what is sent too late is said then, and what was typed is kept.
    """
    shown = {thread_id: waiting_of(rows) for thread_id, rows in approvals.items()}
    shown = {thread_id: ids for thread_id, ids in shown.items() if ids}
    typing = any(row.is_waiting and holds_typing(row) for rows in approvals.values() for row in rows)

    def is_new() -> bool:
        with skein.database.read() as db:
            found = list_of_threads(viewer, db, list(shown))
        return any(waiting_of(found.get(thread_id, [])) != ids for thread_id, ids in shown.items())

    wake_when(is_new if shown and not typing else None)


def draw_anew(*, is_typing: bool) -> None:
    """Draw the page anew; where that could lose what is being typed, offer it instead."""
    if not is_typing:
        st.rerun(scope="app")
    st.info("What waits here has changed since you see it.", icon=":material/sync:")
    st.button("Show what it is now", key=f"{state.APPROVALS_WIDGET}anew", on_click=st.rerun)
