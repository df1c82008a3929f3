"""One turn of a conversation: its question, and its answer finished, or followed to its end.

Invariant: an answer that is followed is drawn to its end in place: what was only text stays as it was streamed, and
anything else is drawn again as it is stored.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.calls.listing.sums import ThreadCalls, summarize_threads
from core.history.annotations import Mark, find_marks
from core.history.approvals import ApprovalRow, list_of_threads
from core.history.artifacts import Ref, VersionRow, has_made_artifacts
from core.history.files import attached_refs, list_files
from core.history.tree import find_siblings_in
from core.history.turns import UNFINISHED, Turn, get_turn
from core.ids import MessageId, ThreadId
from core.runs.branching import retry
from core.runs.events import Event, EventKind
from core.runs.history import read_tools
from core.skein import Skein
from core.tables import utc_now
from pages.parts.approvals.approval_view import draw_of_turn, waiting_of
from pages.parts.chat.answer import Show, draw_answer, follow_run
from pages.parts.chat.attachments import draw_files
from pages.parts.chat.details import draw_details
from pages.parts.chat.more_inputs import draw_given
from pages.parts.chat.node_lanes import BESIDE, draw_asides
from pages.parts.chat.run_summary import RunSummary
from pages.parts.chat.tool_call_view import draw_said
from pages.parts.chat.tool_calls import collect
from pages.parts.chat.turn_actions import draw_ways
from pages.parts.graph.graph_lit import GraphFold
from pages.parts.ui import draw_throttle, state
from pages.parts.ui.format import counted, total_cost
from pages.parts.ui.open_branch import go_to
from pages.parts.ui.page_paths import CALLS
from pages.parts.ui.resources import forget_waiting
from pages.parts.ui.text import as_written, plain, plain_lines

_ON_ITS_WAY = timedelta(seconds=1)
_PLAIN_KINDS: frozenset[EventKind] = frozenset({"token", "node", "state", "end"})
_ENDINGS = {
    "stopped": (":material/stop_circle:", "Stopped; what had been said is kept."),
    "failed": (":material/error:", "The answer could not be completed."),
    "lost": (":material/link_off:", "The process that wrote this was ended; what had been said is kept."),
    "waiting": (":material/front_hand:", "The agent waits for a person's decision."),
}


@dataclass(frozen=True)
class About:
    """What is known about turns beyond their words."""

    calls: dict[str, ThreadCalls] = field(default_factory=dict)
    beside: dict[MessageId, list[MessageId]] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    approvals: dict[ThreadId, list[ApprovalRow]] = field(default_factory=dict)
    tools: dict[ThreadId, list[Event]] = field(default_factory=dict)
    files: dict[Ref, VersionRow] = field(default_factory=dict)


def read_about(skein: Skein, viewer: Viewer, turns: Sequence[Turn], *, is_alone: bool = False) -> About:
    """What is known about these turns of one conversation, which the viewer has read.

    ``is_alone``: it has one branch, so that nothing stands beside them.
    """
    if not turns:
        return About()
    just_now = utc_now() - _ON_ITS_WAY
    if any(turn.ended_at is not None and turn.ended_at > just_now for turn in turns):
        _wait_for_calls(skein)
    ids, threads = [turn.message_id for turn in turns], [turn.thread_id for turn in turns]
    with skein.database.read() as db:
        return About(
            summarize_threads(viewer, db, threads),
            {} if is_alone else find_siblings_in(db, turns[0].conversation_id, ids),
            find_marks(viewer, db, ids),
            list_of_threads(viewer, db, threads),
            read_tools(viewer, db, [turn.thread_id for turn in turns if not turn.is_live]),
            list_files(viewer, db, [ref for turn in turns for ref in attached_refs(turn.config)]),
        )


def _wait_for_calls(skein: Skein) -> None:
    """The calls of a run that has just ended may still be on their way to the log."""
    skein.call_log.flush(_ON_ITS_WAY.total_seconds() / 2)


# -- the question ---------------------------------------------------------------------------------------


def draw_question(skein: Skein, viewer: Viewer, turn: Turn, about: About) -> DeltaGenerator:
    """The question; gives the place below it for the ways to go on from there."""
    with st.chat_message("user", avatar=":material/person:"):
        st.html(as_written(turn.content))
        draw_files(skein, viewer, turn, about.files)
        draw_given(turn.inputs)
    return st.empty()


def draw_ways_of(
    skein: Skein, viewer: Viewer, turn: Turn, about: About, place: DeltaGenerator, *, is_last: bool
) -> None:
    """What else can be done with a question, at its place."""
    beside = about.beside.get(turn.message_id, [])
    is_starred = about.marks.get(turn.message_id, Mark()).starred
    with place:
        draw_ways(skein, viewer, turn, beside, is_last=is_last, is_starred=is_starred)


# -- the answer, finished -------------------------------------------------------------------------------


def draw_ended(skein: Skein, viewer: Viewer, about: About, turn: Turn) -> None:
    """The answer with its tool calls and approvals, and what is known about it."""
    events, approvals = about.tools.get(turn.thread_id, []), about.approvals.get(turn.thread_id, [])
    asked = {action.tool for row in approvals if row.is_waiting for action in row.actions}
    draw_said(turn.answer, collect(events, asked=asked))
    if voices := {(event.node, event.kind) for event in events if event.kind in BESIDE}:
        draw_asides(skein, viewer, turn, len(voices))
    if not turn.answer and turn.status == "done":
        st.caption("The agent ended without saying anything.")
    draw_of_turn(skein, viewer, approvals)
    # What waits says itself that it does.
    if turn.status in _ENDINGS and not waiting_of(approvals):
        _draw_ending(skein, viewer, turn)
    _draw_calls(skein, turn, about.calls.get(turn.thread_id), _draw_label(skein, turn))
    draw_details(skein, viewer, turn)


def _draw_ending(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    icon, sentence = _ENDINGS[turn.status]
    text = turn.error_message or sentence
    (st.error if turn.status == "failed" else st.info)(plain_lines(text), icon=icon)
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


def _is_offline(skein: Skein, turn: Turn) -> bool:
    """Whether the offline demo answers."""
    model = skein.agents.model_of(turn.agent_id, turn.config)
    return model is not None and skein.chat_models.is_offline(model)


def _draw_label(skein: Skein, turn: Turn) -> DeltaGenerator:
    """Who answers: the offline demo is named as such everywhere; gives the place for the calls behind it."""
    line = st.container(horizontal=True, vertical_alignment="center", gap="small")
    if _is_offline(skein, turn):
        line.badge("Offline demo · no language model", icon=":material/cloud_off:", color="orange")
        return line
    name = line.empty()
    model = skein.agents.model_of(turn.agent_id, turn.config)
    name.caption(f":material/smart_toy: {plain(model or turn.agent_id)}")
    return name


def _draw_calls(skein: Skein, turn: Turn, calls: ThreadCalls | None, place: DeltaGenerator) -> None:
    """The way to the calls that the answer took, with what they come to, and the models that really ran."""
    if not calls:
        return
    is_offline = _is_offline(skein, turn)
    place.page_link(
        CALLS,
        label=plain(describe_calls(calls, "" if is_offline else calls.models)),
        icon=":material/analytics:" if is_offline else ":material/smart_toy:",
        query_params={"thread": turn.thread_id, "window": "all"},
        help="The LLM calls of this answer",
    )


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


# -- the answer, while it is written --------------------------------------------------------------------


@dataclass(frozen=True)
class _Places:
    """The places of an answer that is followed; what stands in ``live`` can be taken away at once."""

    live: DeltaGenerator
    bubble: DeltaGenerator
    graph: DeltaGenerator
    label: DeltaGenerator
    ways: DeltaGenerator


@dataclass
class _Heard:
    """What a run has said while it was followed."""

    kinds: set[str] = field(default_factory=set)
    texts: list[str] = field(default_factory=list)

    def listen(self, batches: Iterable[list[Event]], graph: GraphFold) -> Iterator[list[Event]]:
        for events in batches:
            for event in events:
                self.kinds.add(event.kind)
                if event.kind == "token":
                    self.texts.append(event.payload)
            graph.add(events)
            yield events


def follow(
    skein: Skein,
    viewer: Viewer,
    turn: Turn,
    about: About,
    *,
    show: Show,
    stop: DeltaGenerator,
    ways: DeltaGenerator,
    meanwhile: Callable[[], None],
) -> Turn:
    """Draw an answer while it is written, and finish it in place; gives the turn as it has ended.

    Before its first word only what carries it is drawn; ``meanwhile`` draws the rest of the page then.
    """
    heard, graph = _Heard(), GraphFold(skein, turn)
    live = st.empty()
    # In a block of another kind than a finished answer's: else that would take over, for a while, what was in it.
    bubble = live.container().chat_message("assistant", avatar=":material/hub:")
    above, said = bubble.container(), bubble.container()
    places: list[_Places] = []

    def draw_around() -> None:
        with bubble:
            places.append(_Places(live, bubble, above.empty(), _draw_label(skein, turn), ways))
        with places[0].graph:
            graph.draw()
        _draw_stop(skein, viewer, turn, stop)
        meanwhile()

    with said:
        summary = draw_answer(
            heard.listen(follow_run(skein, viewer, turn.thread_id), graph),
            show=show,
            place_of=lambda: skein.engine.place_of(viewer, turn.thread_id),
            problem=lambda: skein.engine.problem,
            meanwhile=draw_around,
            above=above,
        )
    stop.empty()
    ended = _as_ended(turn, summary, "".join(heard.texts))
    if ended.status == "waiting" or _has_made_artifacts(skein, viewer, turn):
        # What waits is counted in the menu, and what was made stands beside the chat: all of the page changes.
        forget_waiting(viewer)
        st.rerun()
    is_plain = ended.status == "done" and heard.texts and heard.kinds <= _PLAIN_KINDS
    if is_plain and show is Show.TOKENS:
        _finish(skein, viewer, ended, about, places[0])
        return ended
    return _draw_stored(skein, viewer, ended, places[0])


def _has_made_artifacts(skein: Skein, viewer: Viewer, turn: Turn) -> bool:
    if not skein.engine.may_write_artifacts(turn.agent_id):
        return False
    with skein.database.read() as db:
        return has_made_artifacts(viewer, db, turn.thread_id)


def _draw_stop(skein: Skein, viewer: Viewer, turn: Turn, place: DeltaGenerator) -> None:
    if turn.user_id == viewer.user_id or viewer.is_admin:
        place.button(
            "Stop",
            icon=":material/stop:",
            key=f"chat.stop.{turn.thread_id}",
            help="Ends the run; what has been said is kept",
            on_click=partial(_stop, skein, viewer, turn),
        )


def _stop(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with state.problems():
        skein.engine.stop(viewer, turn.thread_id)


def _as_ended(turn: Turn, summary: RunSummary, answer: str) -> Turn:
    end = summary.end or {}
    return replace(
        turn,
        answer=answer,
        status=end.get("status", turn.status),
        finish_reason=end.get("finish_reason"),
        ended_at=utc_now(),
    )


def _finish(skein: Skein, viewer: Viewer, turn: Turn, about: About, places: _Places) -> None:
    """Leave the text as it was streamed, and draw what stands around a finished answer."""
    _wait_for_calls(skein)
    with skein.database.read() as db:
        calls = summarize_threads(viewer, db, [turn.thread_id]).get(turn.thread_id)
    with draw_throttle.drawing(is_new=False):
        places.graph.empty()
        _draw_calls(skein, turn, calls, places.label)
        with places.bubble:
            draw_details(skein, viewer, turn)
        draw_ways_of(skein, viewer, turn, about, places.ways, is_last=True)


def _draw_stored(skein: Skein, viewer: Viewer, turn: Turn, places: _Places) -> Turn:
    """Draw the answer again as it is stored, in the place of what was streamed."""
    with skein.database.read() as db:
        stored = get_turn(viewer, db, turn.message_id)
    about = read_about(skein, viewer, [stored])
    with draw_throttle.drawing(is_new=False):
        places.live.empty()
        with st.chat_message("assistant", avatar=":material/hub:"):
            draw_ended(skein, viewer, about, stored)
        draw_ways_of(skein, viewer, stored, about, places.ways, is_last=True)
    return stored
