"""The list of a thread's states in order, a page of them at a time, and the choice of a subgraph's."""

from functools import partial

import streamlit as st

from core.checkpoints.inspect import Checkpoint
from pages.parts.inspector.inspector_lines import graph_labels, hint_of, icon_of, label_of
from pages.parts.inspector.inspector_selection import OpenThread
from pages.parts.inspector.inspector_url import go
from pages.parts.ui import state
from pages.parts.ui.format import counted

PAGE = 25


def draw_list(opened: OpenThread, chosen: int | None) -> None:
    """The states, each a button; the page that is shown follows what is chosen."""
    _draw_graphs(opened)
    total = len(opened.ids)
    pages = -(-total // PAGE)
    page = (chosen if chosen is not None else total - 1) // PAGE + 1
    if pages > 1:
        # Another choice is another widget, which begins with the page of that.
        key = f"{state.INSPECTOR_WIDGET}page.{opened.turn.thread_id}.{opened.place.ns}.{chosen}"
        page = st.pagination(pages, default=page, max_visible_pages=5, key=key)
    first = (page - 1) * PAGE
    lines = _read(opened, first)
    st.caption(f"{counted(total, 'state')}, oldest first")
    with st.container(gap=None, key="inspector_list"):
        for number, own in enumerate(opened.ids[first : first + PAGE], start=first + 1):
            if own in lines:
                _draw_line(opened, number, lines, is_chosen=number - 1 == chosen)


def _read(opened: OpenThread, first: int) -> dict[str, Checkpoint]:
    """The lines of a page, and the one before them, which tells how the first came about."""
    ids = opened.ids[max(first - 1, 0) : first + PAGE]
    found = opened.inspector.read_checkpoints(opened.viewer, opened.turn.thread_id, opened.place.ns, ids)
    return {line.checkpoint_id: line for line in found}


def _draw_line(opened: OpenThread, number: int, lines: dict[str, Checkpoint], *, is_chosen: bool) -> None:
    line = lines[opened.ids[number - 1]]
    before, carried = lines.get(line.parent_checkpoint_id or ""), is_carried(opened, line)
    st.button(
        label_of(number, line, before, is_carried=carried),
        icon=icon_of(line, is_carried=carried),
        key=f"inspector.at.{line.checkpoint_id}",
        type="secondary" if is_chosen else "tertiary",
        width="stretch",
        wrap=False,
        help=hint_of(line, opened.tz),
        on_click=partial(go, checkpoint=line.checkpoint_id),
    )


def is_carried(opened: OpenThread, line: Checkpoint) -> bool:
    """Whether a state is older than the run: it was carried over from where the run began."""
    return line.created_at is not None and line.created_at < opened.turn.created_at


def _draw_graphs(opened: OpenThread) -> None:
    if len(opened.namespaces) < 2 and not opened.place.ns:
        return
    labels = graph_labels(opened.namespaces)
    key = f"{state.INSPECTOR_WIDGET}graph"
    state.put(key, opened.place.ns if opened.place.ns in labels else "")
    st.selectbox(
        "Graph",
        list(labels),
        format_func=lambda ns: labels.get(ns, ns),
        key=key,
        on_change=lambda: go(ns=state.get(key) or ""),
    )
