"""One call, opened: what the model saw and said beside what people saw, and all that is on record about it.

Invariant: texts of people, models and tools are drawn as they are, never as Markdown or HTML.
"""

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.calls.listing.queries import CallDetail, CallRow, get_call
from core.errors import SkeinError
from core.skein import Skein
from pages.parts.calls import charts
from pages.parts.calls.call_filters import go
from pages.parts.calls.call_texts import (
    Said,
    figures_of,
    price_of,
    read_messages,
    status_of,
    times_of,
    why_no_texts,
)
from pages.parts.calls.call_url import FILTER_NAMES, Place
from pages.parts.ui.format import call_cost
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain, plain_lines, shortened

_ICONS = {
    "user": ":material/person:",
    "assistant": ":material/smart_toy:",
    "system": ":material/settings:",
    "tool": ":material/build:",
}
_LONGEST = 20_000
_OF_ALL_TIME: dict[str, list[str]] = {"call": [], "window": ["all"]}
_IDS = (
    "call_id",
    "message_id",
    "conversation_id",
    "session_id",
    "thread_id",
    "user_id",
    "run_id",
    "parent_run_id",
    "checkpoint_ns",
    "request_id",
    "response_id",
    "price_id",
    "body_hash",
)
_PARAMS = (
    "temperature",
    "top_p",
    "max_tokens",
    "streamed",
    "operation",
    "provider",
    "base_url",
    "model",
    "response_model",
    "finish_reason",
    "http_status",
    "attempt",
    "step",
    "usage_source",
    "key_source",
    "context_compacted",
    "tags",
)


def draw_call(skein: Skein, viewer: Viewer, place: Place) -> None:
    """The call that the address names; one that is not there for this viewer is one sentence."""
    try:
        detail = get_call(viewer, skein.database, place.call)
    except SkeinError as error:
        _draw_way_back()
        st.warning(plain_lines(str(error)), icon=":material/search_off:")
        return
    _draw_way_back(detail)
    _draw_head(detail, place)
    _draw_figures(detail)
    _draw_texts(detail)
    _draw_record(detail)


def _draw_way_back(detail: CallDetail | None = None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="calls_way"):
        st.button("All calls", icon=":material/arrow_back:", key="calls.back", on_click=partial(go, {"call": []}))
        if detail is None:
            return
        st.space("stretch")
        _draw_step("Previous", "chevron_left", detail.previous_id)
        _draw_step("Next", "chevron_right", detail.next_id)


def _draw_step(label: str, icon: str, call_id: str | None) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"calls.{label.lower()}",
        disabled=call_id is None,
        help=f"{label} call of the same thread",
        on_click=go,
        args=({"call": [call_id or ""]},),
    )


def _draw_head(detail: CallDetail, place: Place) -> None:
    row = detail.row
    icon, words, color = status_of(row)
    st.markdown(f"#### {plain(row.model or charts.NO_MODEL)} :{color}-badge[:material/{icon}: {plain(words)}]")
    where = " · ".join(plain(name) for name in dict.fromkeys((row.agent_id, row.agent_key, row.node)) if name)
    who = plain(row.user_name or ("unattributed" if not row.attributed else row.user_id or "?"))
    began = row.created_at.astimezone(place.tz)
    st.caption(f"{began:%a %d %b %Y, %H:%M:%S} {began.tzname()} · {who}" + (f" · {where}" if where else ""))
    if row.error_message:
        st.error(plain_lines(row.error_message), icon=":material/error:")
    with st.container(horizontal=True, vertical_alignment="center", key="calls_links"):
        _draw_links(row)


def _draw_links(row: CallRow) -> None:
    if row.message_id:
        st.page_link(
            CHAT,
            label=f"In the chat: {plain(shortened(row.session_title or 'Untitled', 60))}",
            icon=":material/forum:",
            query_params={"message": row.message_id},
            help="The message that this call belongs to",
        )
    if row.thread_id:
        st.button(
            "Its thread",
            icon=":material/account_tree:",
            key="calls.thread",
            type="tertiary",
            help="All calls of the same run",
            on_click=go,
            args=({**dict.fromkeys(FILTER_NAMES, ()), **_OF_ALL_TIME, "thread": [row.thread_id]},),
        )


def _draw_figures(detail: CallDetail) -> None:
    with st.container(horizontal=True, gap="medium", key="calls_figures"):
        for name, value in figures_of(detail):
            with st.container(width="content", gap=None):
                st.caption(name)
                st.markdown(f"**{plain(value)}**")
    if stretches := times_of(detail):
        st.altair_chart(charts.timing(stretches), key="calls.timing", alt="How the time of this call was spent")


def _draw_texts(detail: CallDetail) -> None:
    model, people = st.columns([3, 2], gap="medium")
    with model:
        st.markdown("##### What the model saw and said")
        if sentence := why_no_texts(detail):
            st.info(sentence, icon=":material/visibility_off:")
        elif detail.body is not None:
            _draw_messages(detail)
    with people:
        st.markdown("##### What people saw")
        if detail.said is None and detail.answer is None:
            st.caption("This call belongs to no message that is still there.")
        else:
            _draw_message(Said("user", detail.said or ""))
            _draw_message(Said("assistant", detail.answer or ""))


def _draw_messages(detail: CallDetail) -> None:
    body = detail.body
    assert body is not None  # noqa: S101 - asked for by the caller
    for message in read_messages(body.prompt):
        _draw_message(message)
    answers = read_messages(body.response)
    nothing = "…" if detail.row.status == "started" else "It answered nothing."
    st.caption("Its answer" if answers else nothing)
    for message in answers:
        _draw_message(message)


def _draw_message(message: Said) -> None:
    with st.container(border=True, gap="small"):
        note = f" · {plain(message.note)}" if message.note else ""
        st.caption(f"{_ICONS.get(message.role, ':material/chat:')} {plain(message.role)}{note}")
        _draw_text(message.text)


def _draw_text(text: str) -> None:
    if not text:
        st.caption("(nothing)")
        return
    st.code(text[:_LONGEST], language=None, wrap_lines=True)
    if len(text) > _LONGEST:
        st.caption(f"… and {len(text) - _LONGEST:,} more characters; the raw row has them all.")


def _draw_record(detail: CallDetail) -> None:
    tools, parameters, cost, ids, raw = st.tabs(["Tools", "Parameters", "Cost", "Ids", "Raw"])
    with tools:
        _draw_tools(detail)
    with parameters:
        known = {name: detail.call.get(name) for name in _PARAMS}
        _draw_values([*known.items(), *(detail.call.get("params") or {}).items()])
    with cost:
        _draw_cost(detail)
    with ids:
        _draw_values((name, detail.call.get(name)) for name in _IDS)
    with raw:
        body = detail.body
        texts = {"prompt": body.prompt, "response": body.response, "tools": body.tools} if body else None
        values = {name: _plain(value) for name, value in detail.call.items()}
        st.json({**values, "body": texts}, expanded=1)


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def _draw_tools(detail: CallDetail) -> None:
    if detail.body is None or not detail.body.tools:
        st.caption("The model was offered no tools." if detail.body else "What tools it was offered is not kept.")
        return
    st.json(detail.body.tools, expanded=2)


def _draw_values(values: Iterable[tuple[str, Any]]) -> None:
    """One line for each; what is not known is left out."""
    rows = [{"what": name, "value": str(value)} for name, value in values if value not in (None, "", [], {})]
    st.dataframe(
        rows,
        hide_index=True,
        height="content",
        column_config={
            "what": st.column_config.TextColumn("", width=160),
            "value": st.column_config.TextColumn("", width="large"),
        },
    )


def _draw_cost(detail: CallDetail) -> None:
    st.markdown(f"**{plain(call_cost(detail.row.cost_usd, detail.row.cost_source))}**")
    if sentence := price_of(detail):
        st.caption(plain(sentence))
    if not detail.corrections:
        return
    st.caption("Corrections, oldest first; the call's own row does not move, the last one counts.")
    st.dataframe(
        [
            {
                "When": correction["created_at"],
                "Before": call_cost(correction["cost_before"], None),
                "After": call_cost(correction["cost_usd"], correction["cost_source"]),
                "Why": correction["reason"],
            }
            for correction in detail.corrections
        ],
        hide_index=True,
    )
