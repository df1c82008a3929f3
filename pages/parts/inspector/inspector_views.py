"""The views of a state: its values, what changed with it, what was written from it, and all of it as JSON.

Invariant: values are a stranger's: drawn as text and as data, never as Markdown or HTML; of large ones a part,
which says how much there is.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st
from pydantic_core import to_json

from core.checkpoints.inspect import Channel, State, Write
from core.errors import NotFoundError
from core.history.differences import state_differences
from pages.parts.inspector.inspector_lines import named
from pages.parts.inspector.inspector_selection import OpenThread
from pages.parts.inspector.inspector_url import CHANGES, JSON, STATE, WRITES, go
from pages.parts.inspector.inspector_values import (
    as_text,
    by_task,
    call_text,
    cut,
    is_messages,
    message_text,
    narrowed,
    size,
)
from pages.parts.ui.diff_view import draw_changes
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain

_MESSAGES, _SHORT = 20, 80
_LONG, _LINES, _TALLEST = 1_500, 15, 320
_ICONS = {"human": "person", "user": "person", "ai": "smart_toy", "assistant": "smart_toy", "tool": "build"}


def read_state(opened: OpenThread, checkpoint_id: str) -> State:
    """A state of the graph that is looked at; NotFoundError says why it is not there."""
    return opened.inspector.read_state(opened.viewer, opened.turn.thread_id, opened.place.ns, checkpoint_id)


def draw_view(opened: OpenThread, found: State) -> None:
    """The view that the address names."""
    _VIEWS.get(opened.place.view, _draw_values)(opened, found)


def _draw_values(opened: OpenThread, found: State) -> None:  # noqa: ARG001 - as all views
    own = [channel for channel in found.channels if not channel.is_inner]
    if not own:
        st.caption("No value of the state is stored yet." if found.next else "The state holds no values.")
    for channel in own:
        _draw_channel(channel)
    inner = [channel for channel in found.channels if channel.is_inner]
    if inner:
        with st.expander(f"{counted(len(inner), 'value')} that LangGraph keeps for itself", type="compact"):
            st.json({channel.name: cut(channel.value)[0] for channel in inner}, expanded=1)


def _draw_channel(channel: Channel) -> None:
    value, note = channel.value, " · replayed from what was written" if channel.replayed else ""
    with st.container(gap="xxsmall"):
        kind = _kind(value)
        st.markdown(f"**{plain(channel.name)}** :small[:gray[{kind} · {size(channel.size_bytes)}{note}]]")
        draw_value(value)


def _kind(value: Any) -> str:
    if is_messages(value):
        return counted(len(value), "message")
    if isinstance(value, list):
        return counted(len(value), "item")
    if isinstance(value, dict):
        return counted(len(value), "key")
    return "text" if isinstance(value, str) else ""


def draw_value(value: Any) -> None:
    """One value, as what it is."""
    if is_messages(value):
        _draw_messages(value)
    elif isinstance(value, str):
        _draw_text(value or "(empty)")
    elif isinstance(value, dict | list) and value:
        st.json(cut(value)[0], expanded=len(value) <= _MESSAGES and 1)
    else:
        st.code(to_json(value).decode(), language=None)


def _draw_text(text: str) -> None:
    long = len(text) > _LONG or text.count("\n") > _LINES
    st.code(cut(text)[0], language=None, wrap_lines=True, height=_TALLEST if long else "content")


def _draw_messages(messages: list[dict[str, Any]]) -> None:
    if len(messages) > _MESSAGES:
        st.caption(f"{counted(len(messages) - _MESSAGES, 'earlier message')}; the JSON has all of them")
    for message in messages[-_MESSAGES:]:
        _draw_message(message)


def _draw_message(message: dict[str, Any]) -> None:
    role = str(message.get("type") or message.get("role"))
    with st.container(border=True, gap="xxsmall"):
        name = f" · {plain(str(message['name']))}" if message.get("name") else ""
        st.caption(f":material/{_ICONS.get(role, 'chat')}: {plain(role)}{name}")
        text = message_text(message)
        if text:
            _draw_text(text)
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            _draw_text(call_text(call))
        if not text and not calls:
            st.caption("(nothing)")


def _draw_changes(opened: OpenThread, found: State) -> None:
    parent = found.checkpoint.parent_checkpoint_id
    before = _before(opened, parent)
    if before is None:
        where = "the state before it is not kept in this thread" if parent else "there is none before it"
        st.caption(f"The first state that is stored here: {where}, and all of it is new.")
    changes = state_differences({} if before is None else before.values, found.values)
    if not changes:
        st.caption("Nothing of the state changed with this step.")
    draw_changes([narrowed(change) for change in changes], key=f"inspector.change.{found.checkpoint.checkpoint_id}")


def _before(opened: OpenThread, parent: str | None) -> State | None:
    try:
        return read_state(opened, parent) if parent else None
    except NotFoundError:
        return None


def _draw_writes(opened: OpenThread, found: State) -> None:
    """What the nodes that ran from here wrote, task by task."""
    if not found.writes:
        st.caption("Nothing was written from this state." if found.next else "The run ended with this state.")
    for task_id, writes in by_task(found.writes).items():
        with st.container(border=True, gap="xsmall"):
            total = size(sum(write.size_bytes for write in writes))
            with st.container(horizontal=True, vertical_alignment="center"):
                node = plain(named(writes[0].node)) or "A task"
                st.markdown(f"**{node}** :small[:gray[{counted(len(writes), 'write')} · {total}]]", width="stretch")
                _draw_subgraph(opened, writes[0])
            for write in writes:
                _draw_write(write)
            st.caption(f"task `{task_id}`")


def _draw_subgraph(opened: OpenThread, write: Write) -> None:
    """The way to the states of the subgraph that this task ran, where they are stored."""
    own = f"{write.node}:{write.task_id}"
    ns = f"{opened.place.ns}|{own}" if opened.place.ns else own
    found = next((one for one in opened.namespaces if one.ns == ns), None)
    if found is not None:
        st.button(
            f"Its {counted(found.checkpoints, 'state')}",
            icon=":material/login:",
            key=f"inspector.into.{write.task_id}",
            type="tertiary",
            help="Look into the subgraph that ran here",
            on_click=partial(go, ns=ns),
        )


def _draw_write(write: Write) -> None:
    color = "orange" if write.is_special else "gray"
    line = f":{color}-badge[{plain(write.channel)}] :small[:gray[{size(write.size_bytes)}]]"
    if isinstance(write.value, dict | list | str) and len(as_text(write.value)) > _SHORT:
        st.markdown(line)
        draw_value(write.value)
    else:
        st.markdown(f"{line} {plain(as_text(write.value)) if write.value is not None else ''}")


def _draw_json(opened: OpenThread, found: State) -> None:
    values = {channel.name: channel.value for channel in found.channels}
    shown, is_cut = cut(values)
    with st.container(horizontal=True, vertical_alignment="center"):
        said = "large values are cut here; the file has all of them" if is_cut else "all values of this state"
        st.caption(said, width="stretch")
        own = found.checkpoint.checkpoint_id
        st.download_button(
            "Download",
            data=partial(_as_file, opened, own),
            file_name=f"{opened.turn.thread_id}-{own}.json",
            mime="application/json",
            icon=":material/download:",
            key="inspector.download",
            on_click="ignore",
        )
    st.json(shown, expanded=2)


def _as_file(opened: OpenThread, checkpoint_id: str) -> bytes:
    """A state whole, with what is known of it, read anew when it is asked for."""
    found = read_state(opened, checkpoint_id)
    line = found.checkpoint
    about = {
        "thread_id": opened.turn.thread_id,
        "checkpoint_ns": line.ns,
        "checkpoint_id": line.checkpoint_id,
        "parent_checkpoint_id": line.parent_checkpoint_id,
        "created_at": line.created_at,
        "metadata": line.metadata,
        "next": found.next,
        "values": {channel.name: channel.value for channel in found.channels},
        "writes": [
            {"task_id": one.task_id, "node": one.node, "channel": one.channel, "value": one.value}
            for one in found.writes
        ],
    }
    return to_json(about, indent=2)


_VIEWS: dict[str, Callable[[OpenThread, State], None]] = {
    STATE: _draw_values,
    CHANGES: _draw_changes,
    WRITES: _draw_writes,
    JSON: _draw_json,
}
