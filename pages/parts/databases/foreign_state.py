"""A state of another program's thread: its values, messages, what changed, what was written, and all as JSON.

Invariant: what is drawn is a stranger's: text and data, never Markdown or HTML.
"""

from collections.abc import Callable
from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st
from pydantic_core import to_json

from core.access.viewer import Viewer
from core.checkpoints.foreign.reading import Foreign
from core.checkpoints.foreign.told import Said, find_messages
from core.checkpoints.foreign.unpacking import Bounds
from core.checkpoints.inspect import State
from core.errors import NotFoundError
from core.history.differences import state_differences
from core.records.others import open_other
from core.skein import Skein
from pages.parts.databases.foreign_url import CHANGES, JSON, MESSAGES, STATE, VIEWS, WRITES, Place, go
from pages.parts.inspector.inspector_lines import moment, named, names
from pages.parts.inspector.inspector_values import as_text, by_task, cut, narrowed, size
from pages.parts.inspector.inspector_views import draw_value
from pages.parts.ui import state
from pages.parts.ui.diff_view import draw_changes
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain, plain_lines

_MOST_SAID, _SHORT = 100, 80
_ICONS = {"user": "person", "assistant": "smart_toy", "tool": "build"}


def draw_state(
    skein: Skein, viewer: Viewer, foreign: Foreign, place: Place, *, checkpoint_id: str, tz: ZoneInfo
) -> None:
    """The state at a checkpoint, in the view that the address names."""
    found = foreign.read_state(place.thread or "", place.ns, checkpoint_id)
    line = found.checkpoint
    step = [f"step {line.step}"] if line.step is not None else []
    st.caption(" · ".join([moment(line.created_at, tz), f"{size(line.size_bytes)} stored", *step]))
    st.markdown(_next_line(found))
    if found.problem:
        st.warning(plain_lines(found.problem), icon=":material/broken_image:")
    for question in found.questions:
        said = "asked, and was answered" if question.answered else "asks a person"
        with st.container(border=True):
            st.markdown(f":material/front_hand: **{plain(question.node or 'A task')}** {said}")
            draw_value(question.value)
    _draw_views(place)
    _draw_view(skein, viewer, foreign, place, found)
    _draw_about(found)


def _next_line(found: State) -> str:
    if found.next:
        return "next: " + ", ".join(plain(named(node)) for node in found.next[:10])
    if found.is_next_known:
        return ":gray-badge[:material/flag: the end]"
    return ":gray-badge[:material/question_mark: the end, or a node that this early version did not store]"


def _draw_views(place: Place) -> None:
    key = f"{state.FOREIGN_WIDGET}view"
    state.put(key, place.view)
    st.segmented_control(
        "View",
        list(VIEWS),
        format_func=lambda view: VIEWS[view],
        key=key,
        label_visibility="collapsed",
        required=True,
        on_change=lambda: go(view=state.get(key) or STATE),
    )


def _draw_view(skein: Skein, viewer: Viewer, foreign: Foreign, place: Place, found: State) -> None:
    views: dict[str, Callable[[], None]] = {
        STATE: partial(_draw_values, found),
        MESSAGES: partial(_draw_messages, found),
        CHANGES: partial(_draw_changes, foreign, place, found),
        WRITES: partial(_draw_writes, found),
        JSON: partial(_draw_json, skein, viewer, place, found),
    }
    views[place.view]()


def _draw_values(found: State) -> None:
    own = [channel for channel in found.channels if not channel.is_inner]
    if not own and not found.problem:
        st.caption("No value of the state is stored yet." if found.next else "The state holds no values.")
    for channel in own:
        note = " · put together from what was written, without the program's own rule" if channel.replayed else ""
        with st.container(gap="xxsmall"):
            st.markdown(f"**{plain(channel.name)}** :small[:gray[{size(channel.size_bytes)}{note}]]")
            draw_value(channel.value)
    inner = [channel for channel in found.channels if channel.is_inner]
    if inner:
        with st.expander(f"{counted(len(inner), 'value')} that LangGraph keeps for itself", type="compact"):
            st.json({channel.name: cut(channel.value)[0] for channel in inner}, expanded=1)


def _draw_messages(found: State) -> None:
    said = find_messages({channel.name: channel.value for channel in found.channels})
    if not said:
        st.caption("There are no messages in this state.")
    if len(said) > _MOST_SAID:
        st.caption(f"{counted(len(said) - _MOST_SAID, 'earlier message')}; the JSON has all of them")
    for one in said[-_MOST_SAID:]:
        _draw_said(one)


def _draw_said(one: Said) -> None:
    with st.container(border=True, gap="xxsmall"):
        name = f" · {plain(one.name[:80])}" if one.name else ""
        st.caption(f":material/{_ICONS.get(one.role, 'chat')}: {plain(one.role)}{name}")
        if one.text:
            st.code(cut(one.text)[0], language=None, wrap_lines=True)
        if one.calls:
            st.caption(f":material/build: asks for {plain(', '.join(one.calls)[:300])}")


def _draw_changes(foreign: Foreign, place: Place, found: State) -> None:
    parent = found.checkpoint.parent_checkpoint_id
    before: State | None = None
    try:
        before = foreign.read_state(place.thread or "", place.ns, parent) if parent else None
    except NotFoundError:
        st.caption("The state before this one is not in the file.")
    changes = state_differences(before.values if before else {}, found.values)
    if not changes:
        st.caption("Nothing of the state changed with this step.")
    draw_changes([narrowed(change) for change in changes], key="databases.change")


def _draw_writes(found: State) -> None:
    if not found.writes:
        st.caption("Nothing was written from this state.")
    for task_id, writes in by_task(found.writes).items():
        with st.container(border=True, gap="xsmall"):
            st.markdown(f"**{plain(named(writes[0].node)) or 'A task'}** :small[:gray[{plain(task_id[:60])}]]")
            for write in writes:
                color = "orange" if write.is_special else "gray"
                line = f":{color}-badge[{plain(write.channel[:80])}] :small[:gray[{size(write.size_bytes)}]]"
                text = as_text(write.value)
                is_long = len(text) > _SHORT
                st.markdown(line if is_long or write.value is None else f"{line} {plain(text)}")
                if is_long:
                    draw_value(write.value)


def _draw_json(skein: Skein, viewer: Viewer, place: Place, found: State) -> None:
    shown, is_cut = cut({channel.name: channel.value for channel in found.channels})
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption("large values are cut here; the file has more" if is_cut else "all values", width="stretch")
        own = found.checkpoint.checkpoint_id
        st.download_button(
            "Download",
            data=partial(_as_file, skein, viewer, place, own),
            file_name="state.json",
            mime="application/json",
            icon=":material/download:",
            key="databases.download",
            on_click="ignore",
        )
    st.json(shown, expanded=2)


def _as_file(skein: Skein, viewer: Viewer, place: Place, checkpoint_id: str) -> bytes:
    """A state whole, up to a million values, read anew when it is asked for."""
    bounds = Bounds(values=1_000_000, text=64_000_000)
    with open_other(viewer, skein.database, skein.settings, place.file) as foreign:
        found = foreign.read_state(place.thread or "", place.ns, checkpoint_id, bounds=bounds)
    line = found.checkpoint
    about = {
        "thread_id": place.thread,
        "checkpoint_ns": line.ns,
        "checkpoint_id": line.checkpoint_id,
        "parent_checkpoint_id": line.parent_checkpoint_id,
        "created_at": line.created_at,
        "metadata": dict(line.metadata),
        "values": {channel.name: channel.value for channel in found.channels},
        "writes": [{"task_id": one.task_id, "channel": one.channel, "value": one.value} for one in found.writes],
    }
    return to_json(about, indent=2)


def _draw_about(found: State) -> None:
    line = found.checkpoint
    with st.expander("About this checkpoint", type="compact", icon=":material/tag:"):
        st.code(line.checkpoint_id, language=None)
        if line.parent_checkpoint_id:
            st.caption(f"follows {plain(line.parent_checkpoint_id)}")
        st.caption(f"ran from here: {plain(names(line.nodes)) or 'nothing yet'}")
        st.json(cut(dict(line.metadata))[0], expanded=1)
