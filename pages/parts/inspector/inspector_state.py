"""The state that is chosen: its place among the others, what is next, who asks and who failed, and its views."""

from functools import partial

import streamlit as st

from core.checkpoints.inspect import State
from core.errors import SkeinError
from pages.parts.inspector.inspector_actions import draw_state_ways
from pages.parts.inspector.inspector_lines import moment, named, names
from pages.parts.inspector.inspector_selection import OpenThread
from pages.parts.inspector.inspector_url import VIEWS, go, read_place
from pages.parts.inspector.inspector_values import as_text, cut, size
from pages.parts.inspector.inspector_views import draw_view, read_state
from pages.parts.ui import state
from pages.parts.ui.address import address
from pages.parts.ui.page_paths import APPROVALS
from pages.parts.ui.text import plain, plain_lines, shortened

_ERROR = "__error__"
_MOST_NEXT = 12


def draw_state(opened: OpenThread, chosen: int | None) -> None:
    """The chosen state in the view that the address names; None says that it is not there."""
    checkpoint_id = opened.place.checkpoint if chosen is None else opened.ids[chosen]
    if chosen is not None:
        _draw_steps(opened, chosen)
    draw_views()
    try:
        found = read_state(opened, checkpoint_id)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/search_off:")
        return
    with st.container(key="inspector_state"):
        _draw_about(opened, found)
        draw_view(opened, found)
        _draw_metadata(found)
    if opened.place.ns:
        _draw_why_not(opened, found)
    else:
        draw_state_ways(opened, found)


def _draw_why_not(opened: OpenThread, found: State) -> None:
    """Why no branch starts at a subgraph's state, and the way to the state that its step began from."""
    if not opened.is_own:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            "A branch starts from a state of the whole graph; this one is inside a subgraph, within one step.",
            width="stretch",
        )
        before = (found.checkpoint.metadata.get("parents") or {}).get("")
        if isinstance(before, str):
            st.button(
                "The state before that step",
                icon=":material/arrow_upward:",
                key="inspector.above",
                type="tertiary",
                on_click=partial(go, ns="", checkpoint=before),
            )


def _draw_steps(opened: OpenThread, chosen: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False, key="inspector_steps"):
        st.markdown(f"##### State {chosen + 1:,} of {len(opened.ids):,}", width="stretch")
        for label, icon, place, key in (
            ("Earlier", "chevron_left", chosen - 1, "Left"),
            ("Later", "chevron_right", chosen + 1, "Right"),
        ):
            is_there = 0 <= place < len(opened.ids)
            st.button(
                label,
                icon=f":material/{icon}:",
                key=f"inspector.{icon}",
                disabled=not is_there,
                shortcut=key,
                on_click=partial(go, checkpoint=opened.ids[place]) if is_there else None,
            )


def draw_views() -> None:
    key = f"{state.INSPECTOR_WIDGET}view"
    state.put(key, read_place(address()).view)
    st.segmented_control(
        "View",
        list(VIEWS),
        format_func=lambda view: VIEWS[view],
        key=key,
        label_visibility="collapsed",
        required=True,
        on_change=lambda: go(look=state.get(key) or ""),
    )


def _draw_about(opened: OpenThread, found: State) -> None:
    line = found.checkpoint
    parts = [moment(line.created_at, opened.tz), size(line.size_bytes) + " stored"]
    parts += [f"step {line.step}"] if line.step is not None else []
    st.caption(" · ".join(parts))
    _draw_next(found)
    if found.problem:
        st.warning(plain_lines(found.problem), icon=":material/broken_image:")
    for write in found.writes:
        if write.channel == _ERROR:
            st.error(f"{plain(write.node or 'A task')} failed: {plain(shortened(as_text(write.value), 600))}")
    for question in found.questions:
        words = "asked, and was answered" if question.answered else "asks a person"
        with st.container(border=True):
            st.markdown(f":material/front_hand: **{plain(question.node or 'A task')}** {words}")
            st.json(
                cut(question.value)[0] if isinstance(question.value, dict | list) else {"asked": question.value}
            )
            if not question.answered and opened.turn.status == "waiting" and line.checkpoint_id == opened.ids[-1]:
                st.page_link(APPROVALS, label="Decide it", icon=":material/arrow_forward:")


def _draw_next(found: State) -> None:
    if not found.next:
        st.markdown(":gray-badge[:material/flag: the end]")
        return
    badges = [f":blue-badge[:material/arrow_forward: {plain(named(node))}]" for node in found.next[:_MOST_NEXT]]
    more = f" and {len(found.next) - _MOST_NEXT} more" if len(found.next) > _MOST_NEXT else ""
    st.markdown(f"next {' '.join(badges)}{more}")


def _draw_metadata(found: State) -> None:
    line = found.checkpoint
    with st.expander("About this checkpoint", type="compact", icon=":material/tag:"):
        st.code(line.checkpoint_id, language=None)
        if line.parent_checkpoint_id:
            st.caption(f"follows `{line.parent_checkpoint_id}`")
        st.caption(f"ran from here: {plain(names(line.nodes)) or 'nothing yet'}")
        st.json(cut(dict(line.metadata))[0], expanded=1)
