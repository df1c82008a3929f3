"""The transcript of a conversation: every turn from the root to the head, whole, as people see it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.calls.listing.sums import ThreadCalls, summarize_threads
from core.history.annotations import Mark, find_marks
from core.history.approvals import ApprovalRow, list_of_threads
from core.history.artifacts import Ref, VersionRow
from core.history.files import attached_refs, list_files
from core.history.tree import find_siblings
from core.history.turns import UNFINISHED, Turn
from core.ids import MessageId, ThreadId
from core.runs.branching import retry
from core.runs.events import Event
from core.runs.history import read_tools
from core.skein import Skein
from core.tables import utc_now
from pages.parts import state
from pages.parts.answer import PACE, Show, draw_answer
from pages.parts.approval_said import announce
from pages.parts.approval_sending import rescue
from pages.parts.approval_view import draw_of_turn, draw_watch, waiting_of
from pages.parts.attached import draw_files
from pages.parts.branching import draw_ways
from pages.parts.details import draw_details
from pages.parts.figures import counted, total_cost
from pages.parts.graph_lit import light_up
from pages.parts.lanes import draw_asides
from pages.parts.opened import Opened, go_to
from pages.parts.places import CALLS
from pages.parts.resources import forget_waiting
from pages.parts.run_summary import replay
from pages.parts.shown import draw_said
from pages.parts.side_by_side import draw_side_by_side
from pages.parts.text import plain
from pages.parts.tool_calls import collect

_ON_ITS_WAY = timedelta(seconds=1)
_ENDINGS = {
    "stopped": (":material/stop_circle:", "Stopped; what had been said is kept."),
    "failed": (":material/error:", "The answer could not be completed."),
    "lost": (":material/link_off:", "The process that wrote this was ended; what had been said is kept."),
    "waiting": (":material/front_hand:", "The agent waits for a person's decision."),
}


def draw_transcript(
    skein: Skein,
    viewer: Viewer,
    opened: Opened,
    *,
    show: Show,
    dock: DeltaGenerator,
    meanwhile: Callable[[], None],
) -> None:
    """All turns; one that is still being answered is followed to its end, and then the page is drawn anew.

    Its Stop stands in the dock, which is always in sight. ``meanwhile`` draws the rest of the page, once: before
    the turns, or, when one is followed, after its first token. Answers that were asked for together stand side by
    side as long as the branch ends with them.
    """
    turns, fan = opened.turns, opened.fan
    is_followed = any(turn.is_live for turn in (turns[:-1] if fan else turns))
    about = _read_about(skein, viewer, [*turns, *fan])
    rescue(skein, viewer)
    announce()
    if not is_followed:
        meanwhile()
    again = state.take(state.REPLAY)
    for turn in turns:
        _draw_question(skein, viewer, turn, about)
        if not turn.is_live:
            draw_ways(
                skein,
                viewer,
                turn,
                about.beside.get(turn.message_id, []),
                is_last=turn is turns[-1],
                is_starred=about.is_starred(turn),
            )
        if fan and turn is turns[-1]:
            ended = partial(_draw_ended, skein, viewer, about)
            draw_side_by_side(skein, viewer, turn, fan, show=show, dock=dock, draw_ended=ended)
            continue
        with st.chat_message("assistant", avatar=":material/hub:"):
            if turn.is_live:
                _follow(skein, viewer, turn, show=show, dock=dock, meanwhile=meanwhile)
            elif again and again[0] == turn.thread_id:
                _replay(skein, viewer, turn, again[1], show)
            else:
                _draw_ended(skein, viewer, about, turn)
    if is_followed:
        forget_waiting(viewer)
        st.rerun()
    draw_watch(skein, viewer, about.approvals)


@dataclass(frozen=True)
class _About:
    """What is known about the turns beyond their words."""

    calls: dict[str, ThreadCalls]
    beside: dict[MessageId, list[MessageId]]
    marks: dict[str, Mark]
    approvals: dict[ThreadId, list[ApprovalRow]]
    tools: dict[ThreadId, list[Event]]
    files: dict[Ref, VersionRow]

    def is_starred(self, turn: Turn) -> bool:
        return self.marks.get(turn.message_id, Mark()).starred


def _read_about(skein: Skein, viewer: Viewer, turns: list[Turn]) -> _About:
    """The calls of a run that has just ended may still be on their way to the log."""
    just_now = utc_now() - _ON_ITS_WAY
    if any(turn.ended_at is not None and turn.ended_at > just_now for turn in turns):
        skein.call_log.flush(_ON_ITS_WAY.total_seconds() / 2)
    ids = [turn.message_id for turn in turns]
    with skein.database.read() as db:
        return _About(
            summarize_threads(viewer, db, [turn.thread_id for turn in turns]),
            find_siblings(viewer, db, ids),
            find_marks(viewer, db, ids),
            list_of_threads(viewer, db, [turn.thread_id for turn in turns]),
            read_tools(viewer, db, [turn.thread_id for turn in turns if not turn.is_live]),
            list_files(viewer, db, [ref for turn in turns for ref in attached_refs(turn.config)]),
        )


def _draw_question(skein: Skein, viewer: Viewer, turn: Turn, about: _About) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        st.markdown(turn.content)
        draw_files(skein, viewer, turn, about.files)


def _draw_ended(skein: Skein, viewer: Viewer, about: _About, turn: Turn) -> None:
    approvals = about.approvals.get(turn.thread_id, [])
    _draw_said(skein, viewer, turn, about.tools.get(turn.thread_id, []), approvals)
    _draw_answer(skein, viewer, turn, about.calls.get(turn.thread_id), approvals)


def _draw_said(
    skein: Skein, viewer: Viewer, turn: Turn, events: Sequence[Event], approvals: Sequence[ApprovalRow]
) -> None:
    """The answer with its tool calls, and a fold of what other nodes said beside it."""
    asked = {action.tool for row in approvals if row.is_waiting for action in row.actions}
    draw_said(turn.answer, collect(events, asked=asked))
    if voices := {event.node for event in events if event.kind == "aside"}:
        draw_asides(skein, viewer, turn, len(voices))


def _draw_answer(
    skein: Skein, viewer: Viewer, turn: Turn, calls: ThreadCalls | None, approvals: Sequence[ApprovalRow]
) -> None:
    if not turn.answer and turn.status == "done":
        st.caption("The agent ended without saying anything.")
    draw_of_turn(skein, viewer, approvals)
    # What waits says itself that it does.
    if turn.status in _ENDINGS and not waiting_of(approvals):
        _draw_ending(skein, viewer, turn)
    _draw_label(skein, turn, calls)
    draw_details(skein, viewer, turn)


def _draw_ending(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    icon, sentence = _ENDINGS[turn.status]
    text = turn.error_message or sentence
    (st.error if turn.status == "failed" else st.info)(plain(text), icon=icon)
    if turn.status in UNFINISHED and turn.user_id == viewer.user_id:
        st.button(
            "Try again",
            icon=":material/refresh:",
            key=f"chat.retry.{turn.thread_id}",
            on_click=partial(_retry, skein, viewer, turn),
        )


def _retry(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with state.problems():
        go_to(retry(skein.engine, viewer, turn.thread_id))


def _draw_label(skein: Skein, turn: Turn, calls: ThreadCalls | None = None) -> None:
    """Who answered, and the way to the calls that it took: the offline demo is named as such everywhere."""
    model = turn.config.get("model") or skein.settings.default_model
    is_offline = skein.chat_models.is_offline(model)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if is_offline:
            st.badge("Offline demo · no language model", icon=":material/cloud_off:", color="orange")
        if calls:
            st.page_link(
                CALLS,
                label=plain(describe_calls(calls, "" if is_offline else model)),
                icon=":material/analytics:" if is_offline else ":material/smart_toy:",
                query_params={"thread": turn.thread_id, "window": "all"},
                help="The LLM calls of this answer",
            )
        elif not is_offline:
            st.caption(f":material/smart_toy: {plain(model)}")


def describe_calls(calls: ThreadCalls, model: str = "") -> str:
    """The calls of one answer in a line: gpt-4o-mini · 2 calls · $0.0012 · 340 tokens."""
    tokens, ended = calls.input_tokens + calls.output_tokens, calls.calls - calls.running
    parts = [
        model,
        counted(calls.calls, "call"),
        f"{calls.running} running" if calls.running else "",
        total_cost(calls.cost_usd, calls=ended, unpriced=calls.unpriced) if ended else "",
        f"{'about ' if calls.estimated else ''}{counted(tokens, 'token')}" if ended else "",
        counted(calls.errors, "error") if calls.errors else "",
    ]
    return " · ".join(part for part in parts if part)


def _follow(
    skein: Skein,
    viewer: Viewer,
    turn: Turn,
    *,
    show: Show,
    dock: DeltaGenerator,
    meanwhile: Callable[[], None],
) -> None:
    _draw_label(skein, turn)
    if turn.user_id == viewer.user_id or viewer.is_admin:
        dock.button(
            "Stop",
            icon=":material/stop:",
            key=f"chat.stop.{turn.thread_id}",
            help="Ends the run; what has been said is kept",
            on_click=partial(_stop, skein, viewer, turn),
        )
    draw_answer(
        light_up(skein, turn, skein.engine.attach(viewer, turn.thread_id, pace=PACE)),
        show=show,
        place_of=lambda: skein.engine.place_of(viewer, turn.thread_id),
        meanwhile=meanwhile,
    )


def _stop(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with state.problems():
        skein.engine.stop(viewer, turn.thread_id)


def _replay(skein: Skein, viewer: Viewer, turn: Turn, speed: float, show: Show) -> None:
    events = [event for batch in skein.engine.attach(viewer, turn.thread_id) for event in batch]
    st.caption(f":material/replay: Replaying at {speed:g}× of its own pace")
    draw_answer(replay(events, speed=speed), show=show)
    st.rerun()
