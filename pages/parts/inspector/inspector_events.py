"""The log of a run, a page at a time: everything that happened, by its kind and node."""

from functools import partial

import pandas as pd
import streamlit as st

from core.runs.inspecting import count_events, list_events
from pages.parts.inspector.inspector_lines import event_row
from pages.parts.inspector.inspector_selection import OpenThread
from pages.parts.inspector.inspector_url import go
from pages.parts.inspector.inspector_values import cut
from pages.parts.ui import state
from pages.parts.ui.format import counted

PAGE = 100


def draw_events(opened: OpenThread) -> None:
    """A page of the log, of all kinds or of some; a row that is chosen is shown whole."""
    thread_id, after = opened.turn.thread_id, opened.place.after
    with opened.skein.database.read() as db:
        counts = count_events(opened.viewer, db, thread_id)
    if not counts:
        st.caption("Nothing was written down of this run.")
        return
    kinds = st.pills(
        "Kinds",
        list(counts),
        selection_mode="multi",
        format_func=lambda kind: f"{kind} {counts.get(kind, 0):,}",
        key=f"{state.INSPECTOR_WIDGET}kinds.{thread_id}",
        label_visibility="collapsed",
        on_change=partial(go, event=""),
    )
    with opened.skein.database.read() as db:
        events = list_events(opened.viewer, db, thread_id, after=after, kinds=kinds, limit=PAGE + 1)
    shown, total = events[:PAGE], sum(counts[kind] for kind in kinds or counts)
    picked = st.dataframe(
        pd.DataFrame([event_row(event) for event in shown], columns=["#", "ms", "kind", "node", "what"]),
        hide_index=True,
        height=min(38 + 35 * max(len(shown), 1), 560),
        column_config={
            "#": st.column_config.NumberColumn(width=60),
            "ms": st.column_config.NumberColumn("after", format="%d ms", width=90),
            "kind": st.column_config.TextColumn(width=80),
            "node": st.column_config.TextColumn(width=120),
            "what": st.column_config.TextColumn(width="large"),
        },
        on_select="rerun",
        selection_mode="single-row",
        key=f"{state.INSPECTOR_WIDGET}events.{thread_id}.{after}.{','.join(kinds)}",
    )
    _draw_paging(opened, shown[-1].seq if len(events) > PAGE else None, total)
    for row in picked.selection.rows[:1]:
        if row < len(shown):
            st.json(
                cut(shown[row].payload)[0] if isinstance(shown[row].payload, dict | list) else shown[row].payload
            )


def _draw_paging(opened: OpenThread, last: int | None, total: int) -> None:
    after = opened.place.after
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(f"{counted(total, 'event')} in all; choose one to see it whole", width="stretch")
        if after:
            st.button(
                "From the beginning",
                icon=":material/first_page:",
                key="inspector.first",
                on_click=partial(go, event=""),
            )
        if last is not None:
            label = f"Next {PAGE}"
            st.button(
                label, icon=":material/chevron_right:", key="inspector.next", on_click=partial(go, event=str(last))
            )
