"""A thread of another program's file: its checkpoints, the ways they took, and the state at the chosen one."""

from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from core.access.viewer import Viewer
from core.checkpoints.foreign.branches import Stretch
from core.checkpoints.foreign.reading import MOST_STEPS, Foreign
from core.checkpoints.foreign.threads import moment_of
from core.checkpoints.inspect import Checkpoint
from core.skein import Skein
from pages.parts.databases.foreign_state import draw_state
from pages.parts.databases.foreign_url import Place, go
from pages.parts.inspector.inspector_lines import came_about, graph_labels, hint_of, icon_of, moment
from pages.parts.inspector.inspector_values import size
from pages.parts.ui import state
from pages.parts.ui.days import zone
from pages.parts.ui.format import count, counted
from pages.parts.ui.text import plain, plain_lines, shortened

_PAGE, _MOST_BRANCHES = 25, 60


def draw_thread(skein: Skein, viewer: Viewer, foreign: Foreign, place: Place) -> None:
    """One thread; NotFoundError when the file has none of this id."""
    thread_id, tz = place.thread or "", zone()
    namespaces = foreign.list_namespaces(thread_id)
    lines = foreign.list_checkpoints(thread_id, place.ns, before=place.before, limit=_PAGE + 1)
    chosen = place.checkpoint or (lines[0].checkpoint_id if lines else "")
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "All threads",
            icon=":material/arrow_back:",
            key="databases.back",
            type="tertiary",
            on_click=partial(go, thread=""),
        )
        st.markdown(f"**{plain(shortened(thread_id, 120)) or '(an empty id)'}**", width="stretch")
    listed, shown = st.columns([1, 2], gap="medium")
    with listed.container(key="foreign_steps"):
        _draw_graphs(place, graph_labels(namespaces))
        _draw_branches(foreign.list_stretches(thread_id, place.ns), chosen, tz)
        _draw_checkpoints(lines, chosen, place, tz)
    with shown.container(key="foreign_chosen"), st.container(key="foreign_state"):
        if chosen:
            draw_state(skein, viewer, foreign, place, checkpoint_id=chosen, tz=tz)
        else:
            st.caption("There are no checkpoints of this graph here.")


def _draw_graphs(place: Place, labels: dict[str, str]) -> None:
    if len(labels) < 2 and not place.ns:
        return
    key = f"{state.FOREIGN_WIDGET}ns"
    state.put(key, place.ns if place.ns in labels else next(iter(labels)))
    st.selectbox(
        "Graph",
        list(labels),
        format_func=lambda ns: labels.get(ns, ns),
        key=key,
        on_change=lambda: go(ns=state.get(key) or ""),
    )


def _draw_branches(stretches: list[Stretch], chosen: str, tz: ZoneInfo) -> None:
    """The ways, where there is more than one: each a button that leads to its newest checkpoint."""
    if len(stretches) < 2:
        return
    ends = len(stretches) - len({stretch.parent for stretch in stretches} - {None})
    with st.expander(counted(ends, "branch", "branches"), icon=":material/account_tree:", expanded=True):
        with st.container(gap=None, key="foreign_branches"):
            for number, stretch in enumerate(stretches[:_MOST_BRANCHES]):
                _draw_branch(number, stretch, tz, is_chosen=chosen in stretch.checkpoint_ids)
        if len(stretches) > _MOST_BRANCHES:
            st.caption(f"… and {count(len(stretches) - _MOST_BRANCHES)} more")
        if sum(len(stretch.checkpoint_ids) for stretch in stretches) >= MOST_STEPS:
            st.caption(f"Of the newest {MOST_STEPS:,} checkpoints.")


def _draw_branch(number: int, stretch: Stretch, tz: ZoneInfo, *, is_chosen: bool) -> None:
    at = moment(moment_of(stretch.newest), tz)
    indent = "\u2003" * min(stretch.depth, 8)
    sign = ":material/alt_route:" if stretch.depth else ":material/trip_origin:"
    st.button(
        f"{indent}{sign} {counted(len(stretch.checkpoint_ids), 'checkpoint')} · {at}",
        key=f"databases.branch.{number}",
        type="secondary" if is_chosen else "tertiary",
        width="stretch",
        wrap=False,
        help=plain_lines(stretch.problem.capitalize()) or None,
        on_click=partial(go, checkpoint=stretch.newest),
    )
    if stretch.problem:
        st.caption(f":material/warning: {plain(stretch.problem)}")


def _draw_checkpoints(lines: list[Checkpoint], chosen: str, place: Place, tz: ZoneInfo) -> None:
    known = {line.checkpoint_id: line for line in lines}
    st.caption("Checkpoints, newest first")
    with st.container(gap=None, key="foreign_list"):
        for number, line in enumerate(lines[:_PAGE]):
            before = known.get(line.parent_checkpoint_id or "")
            st.button(
                f"{plain(shortened(came_about(line, before), 40))} · {size(line.size_bytes)}",
                icon=icon_of(line),
                key=f"databases.at.{number}",
                type="secondary" if line.checkpoint_id == chosen else "tertiary",
                width="stretch",
                wrap=False,
                help=hint_of(line, tz),
                on_click=partial(go, checkpoint=line.checkpoint_id),
            )
    with st.container(horizontal=True):
        if place.before is not None:
            st.button("Newest", icon=":material/first_page:", key="databases.newest", on_click=_to_newest)
        if len(lines) > _PAGE:
            older = partial(go, before=lines[_PAGE - 1].checkpoint_id, checkpoint="")
            st.button("Older", icon=":material/chevron_right:", key="databases.older", on_click=older)


def _to_newest() -> None:
    go(before="", checkpoint="")
