"""How a tool call is drawn, live and finished: a fold with its arguments and result, and below it what it shows.

What a tool gave is a stranger's: it is drawn as text and as data, never as Markdown or HTML. Invariant: a live
block sends only what has changed, and of arguments that stream in only their end.
"""

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.parts.chat.tool_calls import CallState, ToolCall, in_order
from pages.parts.ui.answer_text import as_markdown
from pages.parts.ui.format import counted, milliseconds
from pages.parts.ui.text import plain, shortened

MOST_BLOCKS = 50
_LIVE_TAIL = 400
_LONGEST_SHOWN = 6_000
_TALLEST = 300
_ICONS = {
    CallState.ASKED: ":material/do_not_disturb_on:",
    CallState.RUNNING: ":material/link_off:",
    CallState.WAITS: ":material/front_hand:",
    CallState.DONE: ":material/check_circle:",
    CallState.FAILED: ":material/error:",
}
_ENDED = {
    CallState.ASKED: "has not run",
    CallState.RUNNING: "was cut short",
    CallState.WAITS: "waits for a person",
    CallState.DONE: "",
    CallState.FAILED: ":red[failed]",
}


def draw_said(answer: str, calls: Sequence[ToolCall]) -> None:
    """A finished answer with its tool calls, in the order in which it came about."""
    drawn = 0
    for part in in_order(answer, calls):
        if isinstance(part, str):
            st.markdown(as_markdown(part))
            continue
        drawn += 1
        if drawn <= MOST_BLOCKS:
            _draw_call(part)
    if drawn > MOST_BLOCKS:
        st.caption(f"… and {counted(drawn - MOST_BLOCKS, 'more tool call')}.")


def _draw_call(call: ToolCall) -> None:
    with st.expander(_label(call, _ENDED[call.state]), icon=_ICONS[call.state], type="compact"):
        if call.args_text:
            _draw_code(call.args_text, "json")
        if call.result:
            _draw_code(call.result, None)
    draw_shows(call.shows)


def _label(call: ToolCall, ended: str = "") -> str:
    """The tool, what it was given in a few words, how it went and how long it took."""
    first = call.result.partition("\n")[0] if call.state is CallState.FAILED else ""
    parts = [
        f"**{plain(call.name)}**",
        plain(shortened(json.dumps(call.args, ensure_ascii=False), 60)) if call.args else "",
        ended,
        f":red[{plain(shortened(first, 80))}]" if first else "",
        milliseconds(call.ms) if call.ms is not None else "",
    ]
    return " · ".join(part for part in parts if part)


def _draw_code(text: str, language: str | None) -> None:
    long = text.count("\n") > 10 or len(text) > 1_000
    st.code(shortened(text, _LONGEST_SHOWN), language, wrap_lines=True, height=_TALLEST if long else "content")


class CallBlock:
    """The live block of one call, made where it stands; ``update`` draws what has changed since."""

    def __init__(self, call: ToolCall) -> None:
        self._call = call
        self._label, self._state = _label(call), call.state
        self._status = st.status(self._label, expanded=True, type="compact")
        self._args, self._result = self._status.empty(), self._status.empty()
        self._shows = st.container()
        self._args_text = ""
        self.update()

    def update(self) -> None:
        self._write_args()
        call = self._call
        if call.state is self._state:
            return
        self._state = call.state
        over = call.is_over or call.state is CallState.WAITS
        state = "complete" if over else "running"
        if call.state is CallState.FAILED:
            state = "error"
        self._status.update(label=_label(call, _ENDED[call.state] if over else ""), state=state, expanded=not over)
        if call.result:
            with self._result:
                _draw_code(call.result, None)
        with self._shows:
            draw_shows(call.shows)

    def _write_args(self) -> None:
        text = self._call.args_text
        if self._call.state is CallState.ASKED and len(text) > _LIVE_TAIL:
            text = f"…{text[-_LIVE_TAIL:]}"
        if text != self._args_text:
            self._args_text = text
            with self._args:
                _draw_code(text, "json")


def draw_shows(shows: Iterable[dict[str, Any]]) -> None:
    """Tables, charts and pictures, as core has made them safe."""
    for show in shows:
        if show.get("title"):
            st.caption(plain(show["title"]))
        match show["type"]:
            case "table":
                st.dataframe(_to_frame(show), hide_index=True)
            case "chart":
                st.vega_lite_chart(show["spec"], width="stretch")
            case "image":
                st.image(base64.b64decode(show["base64"]))
            case _:
                st.caption(f":material/hide_image: {plain(show.get('reason', ''))}")
        if show.get("note"):
            st.caption(plain(show["note"]))


def _to_frame(show: dict[str, Any]) -> pd.DataFrame:
    """A column that mixes kinds of values is one of texts."""
    frame = pd.DataFrame(show["rows"], columns=show["columns"], dtype=object)
    for name in frame.columns:
        kinds = {type(value) for value in frame[name] if value is not None}
        if len(kinds - {int, float}) > (1 if not kinds & {int, float} else 0):
            frame[name] = [None if value is None else str(value) for value in frame[name]]
    return frame.infer_objects()
