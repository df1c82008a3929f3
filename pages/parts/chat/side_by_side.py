"""Answers that were asked for at once, side by side, each streaming in its own lane; one is picked to go on from.

Each lane that is live is a fragment on a thread of its own, so that none waits for another.
"""

from collections.abc import Callable, Sequence
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.history.turns import Turn
from core.skein import Skein
from pages.parts.chat.answer import Show, draw_answer, follow_run
from pages.parts.ui import state
from pages.parts.ui.open_branch import open_at
from pages.parts.ui.text import plain

_MOST_IN_A_ROW = 3


def draw_side_by_side(
    skein: Skein,
    viewer: Viewer,
    picked: Turn,
    fan: Sequence[Turn],
    *,
    show: Show,
    stop: DeltaGenerator,
    draw_ended: Callable[[Turn], None],
) -> None:
    """The lanes in rows of up to three; what is said next goes on from the ``picked`` one."""
    live = [turn for turn in fan if turn.is_live]
    if live and viewer.user_id == picked.user_id:
        stop.button(
            "Stop all" if len(live) > 1 else "Stop",
            icon=":material/stop:",
            key=f"chat.stop.{picked.thread_id}",
            help="Ends the runs; what has been said is kept",
            on_click=partial(_stop, skein, viewer, live),
        )
    for row in in_rows(fan, _MOST_IN_A_ROW):
        for column, turn in zip(st.columns(len(row)), row, strict=True):
            with column, st.container(border=True, key=f"chat_lane_{turn.thread_id}"):
                _draw_head(skein, viewer, turn, is_picked=turn.thread_id == picked.thread_id)
                if turn.is_live:
                    st.fragment(_draw_live, key=f"chat.lane.{turn.thread_id}", parallel=True)(
                        skein, viewer, turn, show
                    )
                else:
                    draw_ended(turn)


def in_rows(fan: Sequence[Turn], most: int) -> list[Sequence[Turn]]:
    """As few rows as will do, as even as they can be: four in rows of three are two and two."""
    rows = -(-len(fan) // most)
    size = -(-len(fan) // rows)
    return [fan[start : start + size] for start in range(0, len(fan), size)]


def _draw_head(skein: Skein, viewer: Viewer, turn: Turn, *, is_picked: bool) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(turn.name or turn.agent_id)}**", width="stretch")
        st.button(
            "You go on from here" if is_picked else "Go on from this one",
            icon=":material/check:" if is_picked else None,
            key=f"chat.pick.{turn.thread_id}",
            type="tertiary",
            disabled=is_picked,
            on_click=partial(_pick, skein, viewer, turn),
        )


def _pick(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    """Open its branch, and let its model and temperature answer what is said next."""
    open_at(skein, viewer, turn.message_id)
    if turn.config.get("model") in {model.name for model in skein.chat_models.offered()}:
        state.put(state.MODEL, turn.config["model"])
    if "temperature" in turn.config:
        state.put(state.TEMPERATURE, turn.config["temperature"])


def _draw_live(skein: Skein, viewer: Viewer, turn: Turn, show: Show) -> None:
    draw_answer(
        follow_run(skein, viewer, turn.thread_id),
        show=show,
        place_of=lambda: skein.engine.place_of(viewer, turn.thread_id),
        problem=lambda: skein.engine.problem,
    )
    st.rerun()


def _stop(skein: Skein, viewer: Viewer, live: Sequence[Turn]) -> None:
    for turn in live:
        # Each by itself: one that is gone by now must not keep the others from being stopped.
        with state.problems():
            skein.engine.stop(viewer, turn.thread_id)
