"""The fold-out "what happened" below an answer: times, states, updates, raw events, ids. Drawn only when open."""

from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from core.access.viewer import Viewer
from core.history.turns import Turn
from core.runs.events import Event
from core.skein import Skein
from pages.parts.chat.run_summary import RunSummary, summarize
from pages.parts.graph.graph_lit import draw_ran
from pages.parts.ui import state
from pages.parts.ui.format import milliseconds
from pages.parts.ui.text import plain

SPEEDS = {"1×": 1.0, "2×": 2.0, "5×": 5.0, "20×": 20.0}


def draw_details(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    """A closed fold costs nothing; what is inside is read when it is opened."""
    key = f"chat.details.{turn.thread_id}"
    with st.expander(
        "What happened", key=key, on_change="rerun", icon=":material/timeline:", type="compact"
    ) as fold:
        if not fold.open:
            return
        events = [event for batch in skein.engine.attach(viewer, turn.thread_id) for event in batch]
        summary = summarize(events)
        _draw_figures(summary, turn)
        steps, graph, states, raw, ids = st.tabs(["Steps", "Graph", "State", "Events", "Ids"])
        with steps:
            _draw_steps(summary)
        with graph:
            draw_ran(skein, turn, events)
        with states:
            _draw_states(skein, viewer, turn)
        with raw:
            _draw_events(events)
        with ids:
            _draw_ids(turn)
        _draw_replay(turn, events)


def figures(summary: RunSummary, turn: Turn) -> list[tuple[str, str]]:
    """The run's figures, each with its unit; what is not known is left out."""
    end = summary.end or {}
    usage = end.get("usage")
    rows: list[tuple[str, str | None]] = [
        ("First token", None if summary.first_token_ms is None else milliseconds(summary.first_token_ms)),
        ("Whole run", None if summary.end_ms is None else milliseconds(summary.end_ms)),
        ("Waited for people", milliseconds(summary.waited_ms) if summary.waited_ms else None),
        ("Pace", f"{summary.tokens_per_second:,.0f} tokens/s" if summary.tokens_per_second else None),
        ("Read", f"{usage['input_tokens']:,} tokens" if usage else None),
        ("Written", f"{usage['output_tokens']:,} tokens" if usage else f"{summary.tokens:,} pieces"),
        ("Ended", turn.finish_reason or ("without a reason" if turn.status == "done" else turn.status)),
        ("Model", end.get("model")),
    ]
    return [(name, value) for name, value in rows if value]


def step_table(summary: RunSummary) -> pd.DataFrame:
    """One row for each node and tool, indented by depth, times in ms."""
    return pd.DataFrame(
        [
            {
                "step": "\u2003" * span.depth + span.name,
                "kind": span.kind,
                "began (ms)": span.began_ms,
                "took (ms)": span.took_ms,
                "result": "failed" if span.failed else "",
                "detail": "" if span.detail is None else str(span.detail)[:2_000],
            }
            for span in summary.spans
        ],
        columns=["step", "kind", "began (ms)", "took (ms)", "result", "detail"],
    )


def _draw_figures(summary: RunSummary, turn: Turn) -> None:
    with st.container(horizontal=True, gap="medium"):
        for name, value in figures(summary, turn):
            with st.container(width="content", gap=None):
                st.caption(name)
                st.markdown(f"**{plain(value)}**")


def _draw_steps(summary: RunSummary) -> None:
    if summary.spans:
        st.dataframe(step_table(summary), hide_index=True, width="stretch")
    else:
        st.caption("No node began.")


def _draw_states(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    steps = skein.engine.read_states(viewer, turn.thread_id)
    if not steps:
        st.caption("No checkpoint was made.")
        return
    names = {
        step.checkpoint_id: f"{number}. {step.source} → {', '.join(step.next) or 'end'}"
        for number, step in enumerate(steps, start=1)
    }
    chosen = st.selectbox(
        "After step",
        [step.checkpoint_id for step in steps],
        index=len(steps) - 1,
        format_func=lambda checkpoint_id: names[checkpoint_id],
        key=f"chat.step.{turn.thread_id}",
    )
    step = next(step for step in steps if step.checkpoint_id == chosen)
    st.caption(f"Checkpoint `{step.checkpoint_id}` · {step.created_at or ''}")
    values, updates = st.tabs(["Full state", "Updates that came next"])
    with values:
        st.json(step.values, expanded=1)
    with updates:
        if step.updates:
            st.json(step.updates, expanded=2)
        else:
            st.caption("Nothing was written after this checkpoint.")


def _draw_events(events: list[Event]) -> None:
    rows = [
        {"seq": event.seq, "ms": event.at_ms, "kind": event.kind, "node": event.node, "payload": _short(event)}
        for event in events
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, width="stretch", height=300)


def _short(event: Event) -> str:
    payload: Any = event.payload
    return (payload if isinstance(payload, str) else str(payload))[:500]


def _draw_ids(turn: Turn) -> None:
    for value in (turn.conversation_id, turn.message_id, turn.thread_id, turn.source_checkpoint_id):
        if value:
            st.code(value, language=None)


def _draw_replay(turn: Turn, events: list[Event]) -> None:
    if not any(event.kind == "token" for event in events):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        speed = st.segmented_control(
            "Speed",
            list(SPEEDS),
            default="1×",
            key=f"chat.speed.{turn.thread_id}",
            label_visibility="collapsed",
        )
        st.button(
            "Replay",
            icon=":material/replay:",
            key=f"chat.replay.{turn.thread_id}",
            on_click=partial(state.put, state.REPLAY, (turn.thread_id, SPEEDS[speed or "1×"])),
        )
