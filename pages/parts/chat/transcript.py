"""The transcript of a conversation: the turns that are shown of its branch, in order, as people see them."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.history.turns import Turn
from core.skein import Skein
from pages.parts.approvals.approval_outcome import announce
from pages.parts.approvals.approval_view import draw_watch
from pages.parts.chat.answer import Show, draw_answer
from pages.parts.chat.run_summary import replay
from pages.parts.chat.side_by_side import draw_side_by_side
from pages.parts.chat.turn import About, draw_ended, draw_question, draw_ways_of, follow, read_about
from pages.parts.ui import state
from pages.parts.ui.format import counted
from pages.parts.ui.open_branch import TURNS_AT_ONCE, Opened, show_later, show_more


def draw_transcript(
    skein: Skein,
    viewer: Viewer,
    opened: Opened,
    *,
    show: Show,
    stop: DeltaGenerator,
    meanwhile: Callable[[], None],
) -> Opened:
    """Draw the turns; one that is still being answered is followed to its end. Gives what is there then.

    Its Stop stands in the dock, which is always in sight. ``meanwhile`` draws the rest of the page, once: before
    the turns, or, when one is followed, after its first token. Answers that were asked for together stand side by
    side as long as the branch ends with them.
    """
    turns, fan = opened.turns, opened.fan
    beside = [turn for turn in fan if turn.thread_id != turns[-1].thread_id]
    about = read_about(skein, viewer, [*turns, *beside], is_alone=opened.is_alone)
    announce()
    draw_rest = _Once(meanwhile)
    if not any(turn.is_live for turn in (turns[:-1] if fan else turns)):
        draw_rest()
    if opened.earlier:
        _draw_earlier(opened)
    drawn: list[Turn] = []
    for turn in turns[:-1] if fan else turns:
        ended = _draw_turn(skein, viewer, opened, turn, about, show=show, stop=stop, meanwhile=draw_rest)
        drawn.append(ended)
    if fan:
        picked = turns[-1]
        ways = draw_question(skein, viewer, picked, about)
        draw_ways_of(skein, viewer, picked, about, ways, is_last=True)
        draw_lane = partial(draw_ended, skein, viewer, about)
        draw_side_by_side(skein, viewer, picked, fan, show=show, stop=stop, draw_ended=draw_lane)
        drawn.append(picked)
    if opened.later:
        _draw_later(skein, viewer, opened)
    draw_watch(skein, viewer, about.approvals)
    is_head_drawn = bool(drawn) and opened.later == 0
    return replace(opened, turns=drawn, head=drawn[-1] if is_head_drawn else opened.head)


class _Once:
    def __init__(self, draw: Callable[[], None]) -> None:
        self._draw: Callable[[], None] | None = draw

    def __call__(self) -> None:
        draw, self._draw = self._draw, None
        if draw is not None:
            draw()


def _draw_turn(
    skein: Skein,
    viewer: Viewer,
    opened: Opened,
    turn: Turn,
    about: About,
    *,
    show: Show,
    stop: DeltaGenerator,
    meanwhile: Callable[[], None],
) -> Turn:
    ways = draw_question(skein, viewer, turn, about)
    if turn.is_live:
        return follow(skein, viewer, turn, about, show=show, stop=stop, ways=ways, meanwhile=meanwhile)
    draw_ways_of(skein, viewer, turn, about, ways, is_last=turn is opened.turns[-1])
    with st.chat_message("assistant", avatar=":material/hub:"):
        thread_id, speed = state.get(state.REPLAY) or ("", 0.0)
        if thread_id == turn.thread_id:
            state.take(state.REPLAY)
            _replay(skein, viewer, turn, speed, show)
        else:
            draw_ended(skein, viewer, about, turn)
    return turn


def _draw_earlier(opened: Opened) -> None:
    more = min(opened.earlier, TURNS_AT_ONCE)
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        st.button(
            f"Show {more} earlier",
            icon=":material/expand_less:",
            key="chat.show_earlier",
            type="tertiary",
            on_click=partial(show_more, opened),
        )
        st.caption(f"{counted(opened.earlier, 'earlier message')}", width="content")


def _draw_later(skein: Skein, viewer: Viewer, opened: Opened) -> None:
    more = min(opened.later, TURNS_AT_ONCE)
    with st.container(horizontal=True, horizontal_alignment="center", vertical_alignment="center"):
        st.button(
            f"Show the next {more}",
            icon=":material/expand_more:",
            key="chat.show_later",
            type="tertiary",
            on_click=partial(show_later, skein, viewer, opened),
        )
        st.caption(f"{counted(opened.later, 'later message')}", width="content")


def _replay(skein: Skein, viewer: Viewer, turn: Turn, speed: float, show: Show) -> None:
    events = [event for batch in skein.engine.attach(viewer, turn.thread_id) for event in batch]
    st.caption(f":material/replay: Replaying at {speed:g}× of its own pace")
    draw_answer(replay(events, speed=speed), show=show)
    st.rerun()
