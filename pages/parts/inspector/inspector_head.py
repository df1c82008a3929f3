"""The head of the inspector: which run this is, how it went, what it cost, and where else to look at it."""

from functools import partial

import streamlit as st

from core.calls.listing.sums import ThreadCalls, summarize_thread
from core.history.turns import ENDED, Turn
from pages.parts.inspector.inspector_actions import draw_thread_ways
from pages.parts.inspector.inspector_selection import OpenThread
from pages.parts.inspector.inspector_url import open_session, open_thread
from pages.parts.ui.format import count, counted, milliseconds, total_cost
from pages.parts.ui.page_paths import APPROVALS, BRANCHES, CALLS, CHAT
from pages.parts.ui.text import plain, plain_lines, shortened

_KINDS = {
    "first": "the beginning",
    "continue": "went on",
    "edit": "asked in other words",
    "regenerate": "answered again",
    "fork": "forked from a state",
    "retry": "tried again",
    "fan_out": "one of several answers",
}
_COLORS = {"done": "green", "failed": "red", "lost": "violet", "stopped": "orange", "waiting": "yellow"}


def draw_head(opened: OpenThread) -> None:
    """Everything about the run itself."""
    turn = opened.turn
    with st.container(horizontal=True, vertical_alignment="center", key="inspector_head"):
        with st.container(width="stretch", gap=None):
            said = plain(shortened(" ".join(turn.content.split()), 90)) or "(no words)"
            color = _COLORS.get(turn.status, "blue")
            st.markdown(f"#### {said} :{color}-badge[{turn.status}]")
            st.caption(_whose(opened))
        draw_thread_ways(opened)
    if turn.error_message:
        (st.error if turn.status == "failed" else st.info)(plain_lines(turn.error_message), icon=":material/error:")
    _draw_figures(opened)


def _whose(opened: OpenThread) -> str:
    facts, turn = opened.facts, opened.turn
    whose = "" if turn.user_id == opened.viewer.user_id else f"by {plain(facts.started_by)} · "
    kind = plain(_KINDS.get(turn.kind, turn.kind))
    return f"{whose}{kind} · in “{plain(shortened(facts.session_title or 'Untitled', 60))}” · `{turn.thread_id}`"


def figures_of(opened: OpenThread, calls: ThreadCalls, model: str) -> list[tuple[str, str]]:
    """What is to be known of a run, each with its name; what is not known is left out."""
    turn, tz = opened.turn, opened.tz
    began = turn.started_at or turn.created_at
    tokens = f"{count(calls.input_tokens)} in, {count(calls.output_tokens)} out"
    cost = total_cost(calls.cost_usd, calls=calls.calls, unpriced=calls.unpriced)
    graphs = len(opened.namespaces) - 1
    rows = [
        ("Agent", turn.agent_id),
        ("Model", model),
        ("Began", f"{began.astimezone(tz):%d %b %Y, %H:%M:%S}"),
        ("Took", _took(turn)),
        ("Ended", (turn.finish_reason or "") if turn.status in ENDED else ""),
        ("States", count(sum(one.checkpoints for one in opened.namespaces))),
        ("Subgraph runs", count(graphs) if graphs > 0 else ""),
        ("Cost", cost if calls.calls else ""),
        ("Tokens", tokens if calls.input_tokens + calls.output_tokens else ""),
        ("Failed calls", count(calls.errors) if calls.errors else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _took(turn: Turn) -> str:
    if turn.started_at is None or turn.ended_at is None or turn.status not in ENDED:
        return ""
    return milliseconds((turn.ended_at - turn.started_at).total_seconds() * 1_000)


def _draw_figures(opened: OpenThread) -> None:
    skein, turn = opened.skein, opened.turn
    with skein.database.read() as db:
        calls = summarize_thread(opened.viewer, db, turn.thread_id)
    model = calls.models or skein.agents.model_of(turn.agent_id, turn.config) or ""
    labels = {offered.name: offered.label for offered in skein.chat_models.offered()}
    with st.container(horizontal=True, gap="medium", key="inspector_figures"):
        for name, value in figures_of(opened, calls, labels.get(model, model)):
            with st.container(width="content", gap=None):
                st.caption(name)
                st.markdown(f"**{plain(value)}**")
    _draw_links(opened, calls)


def _draw_links(opened: OpenThread, calls: ThreadCalls) -> None:
    turn, facts = opened.turn, opened.facts
    with st.container(horizontal=True, vertical_alignment="center", key="inspector_links"):
        st.page_link(CHAT, label="In the chat", icon=":material/forum:", query_params={"message": turn.message_id})
        st.page_link(
            BRANCHES,
            label="In the tree",
            icon=":material/account_tree:",
            query_params={"conversation": turn.conversation_id, "node": turn.message_id},
        )
        if calls.calls:
            st.page_link(
                CALLS,
                label=counted(calls.calls, "LLM call"),
                icon=":material/analytics:",
                query_params={"thread": turn.thread_id, "window": "all"},
            )
        if turn.status == "waiting":
            st.page_link(APPROVALS, label="Its approvals", icon=":material/front_hand:")
        # Buttons: a link to the page that is open already would leave the address as it is.
        _draw_way("Its session", "folder_open", partial(open_session, facts.session_id))
        if turn.parent_thread_id:
            _draw_way("Where its state came from", "subdirectory_arrow_right", _source_of(turn))


def _source_of(turn: Turn) -> "partial[None]":
    return partial(open_thread, turn.parent_thread_id, turn.source_checkpoint_id or "")


def _draw_way(label: str, icon: str, go_there: "partial[None]") -> None:
    key = f"inspector.way.{icon}"
    st.button(label, icon=f":material/{icon}:", key=key, type="tertiary", on_click=go_there)
