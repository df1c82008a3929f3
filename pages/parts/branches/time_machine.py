"""The time machine: a thread's states step by step, what changed at each, and a start from any of them.

The address names the state (``?checkpoint=``). Invariant: looking changes nothing.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.activity import record_look
from core.history.differences import state_differences
from core.history.turns import Turn, get_turn
from core.runs.execute import MOST_STATES, StateStep
from core.skein import Skein
from pages.parts.branches.message_actions import ask_for_snapshot
from pages.parts.branches.tree_data import Shown
from pages.parts.branches.tree_url import LAST, address, go, read_place
from pages.parts.forms.fork_form import draw_fork, next_words
from pages.parts.ui import state
from pages.parts.ui.dialogs import want, wanted
from pages.parts.ui.diff_view import draw_changes
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain, plain_lines, shortened

_SNAPSHOT = "branches.machine.snapshot"
_SOURCES = {"input": "the message came in", "loop": "after", "update": "edited", "fork": "forked"}


def draw_time_machine(skein: Skein, viewer: Viewer, shown: Shown, tz: ZoneInfo) -> None:
    """The states of the chosen message; stepping through them draws only this anew."""
    with st.container(border=True, key="branches_machine"):
        with st.container(horizontal=True, vertical_alignment="center"):
            label = plain(shortened(shown.excerpts.get(shown.node.message_id, ""), 60))
            st.markdown(f"##### :material/history: Time machine · {label}", width="stretch")
            st.button(
                "Close",
                icon=":material/close:",
                key="branches.machine.close",
                type="tertiary",
                on_click=partial(go, checkpoint=None),
            )
        st.fragment(_draw)(skein, viewer, shown, tz)


def _draw(skein: Skein, viewer: Viewer, shown: Shown, tz: ZoneInfo) -> None:
    wanted = read_place(address()).checkpoint
    if not wanted:
        st.rerun()
    try:
        with skein.database.read() as db:
            turn = get_turn(viewer, db, shown.node.message_id)
        steps = skein.engine.read_states(viewer, turn.thread_id)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    where = shown.conversation
    record_look(
        viewer,
        skein.database,
        "thread.read",
        target_id=turn.thread_id,
        owner_id=where.user_id,
        session_id=where.session_id,
    )
    if not steps:
        st.info(_why_none(turn), icon=":material/history_toggle_off:")
        return
    at = find_step(steps, wanted)
    if at is None:
        _say_not_kept(skein, viewer, turn, wanted)
        at = len(steps) - 1
    _draw_choice(steps, at, tz)
    _draw_kept(skein, viewer, turn, steps)
    _draw_step(steps, at, _before(skein, viewer, turn, steps, at))
    if shown.is_own:
        _draw_ways(skein, viewer, turn, steps[at])


def _why_none(turn: Turn) -> str:
    if turn.is_live:
        return "No state was written yet; the run has just begun."
    return "No state of this message is kept: its run ended before the first step, or its states were cleared away."


def find_step(steps: Sequence[StateStep], checkpoint_id: str) -> int | None:
    """The place of a checkpoint among the steps; the last one for "last"."""
    if checkpoint_id == LAST:
        return len(steps) - 1
    return next((at for at, step in enumerate(steps) if step.checkpoint_id == checkpoint_id), None)


def _say_not_kept(skein: Skein, viewer: Viewer, turn: Turn, checkpoint_id: str) -> None:
    """Why the state that the address names is not among the steps; the last one is shown instead."""
    try:
        skein.engine.get_state(viewer, turn.thread_id, checkpoint_id)
    except SkeinError as error:
        st.warning(f"{plain(str(error))} This is the last state.", icon=":material/info:")
    else:
        st.warning(f"That state is older than the newest {MOST_STATES}; this is the last one.")


def _draw_choice(steps: Sequence[StateStep], at: int, tz: ZoneInfo) -> None:
    """Previous, next, which of them, and what was the state as of a time."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="branches_steps"):
        _draw_neighbour("Previous state", "chevron_left", steps[at - 1] if at else None)
        _draw_neighbour("Next state", "chevron_right", steps[at + 1] if at + 1 < len(steps) else None)
        names = {step.checkpoint_id: describe_step(number, step) for number, step in enumerate(steps, start=1)}
        key = f"{state.BRANCHES_WIDGET}step"
        state.put(key, steps[at].checkpoint_id)
        st.selectbox(
            f"State (of {len(steps)})",
            list(names),
            format_func=lambda checkpoint_id: names.get(checkpoint_id, checkpoint_id),
            key=key,
            width=340,
            on_change=lambda: go(checkpoint=state.get(key)),
        )
        _draw_clock(steps, at, tz)


def _draw_neighbour(label: str, icon: str, step: StateStep | None) -> None:
    st.button(
        label,
        icon=f":material/{icon}:",
        key=f"branches.machine.{icon}",
        disabled=step is None,
        on_click=partial(go, checkpoint=step.checkpoint_id) if step else None,
    )


def _draw_clock(steps: Sequence[StateStep], at: int, tz: ZoneInfo) -> None:
    times = [moment_of(step, tz) for step in steps]
    if None in times or times[0] == times[-1]:
        return
    key = f"{state.BRANCHES_WIDGET}clock"
    state.put(key, times[at])
    st.slider(
        f"As of a time ({tz.key})",
        min_value=times[0],
        max_value=times[-1],
        step=timedelta(milliseconds=1),
        format="HH:mm:ss.SSS",
        key=key,
        width="stretch",
        on_change=lambda: go(checkpoint=steps[step_at(times, state.get(key))].checkpoint_id),
    )


def moment_of(step: StateStep, tz: ZoneInfo) -> datetime | None:
    """When a state was written, as a wall clock there shows it, to the millisecond that is over by then."""
    if not step.created_at:
        return None
    moment = datetime.fromisoformat(step.created_at).astimezone(tz).replace(tzinfo=None)
    whole = timedelta(microseconds=-moment.microsecond % 1_000)
    return moment + whole


def step_at(times: Sequence[datetime | None], moment: datetime) -> int:
    """The place of the state that held at a moment: the last one that had been written by then."""
    return max((at for at, time in enumerate(times) if time is not None and time <= moment), default=0)


def describe_step(number: int, step: StateStep) -> str:
    """A state in a line: its number, how it came to be, and what is to run next."""
    came = _SOURCES.get(step.source, step.source or "state")
    came = f"after step {step.step}" if step.source == "loop" and step.step is not None else came
    return f"{number} · {came} · {'next: ' + next_words(step) if step.next else 'the end'}"


def _draw_kept(skein: Skein, viewer: Viewer, turn: Turn, steps: Sequence[StateStep]) -> None:
    """Whether there were more states than these."""
    if len(steps) >= MOST_STATES:
        st.caption(f"These are the newest {MOST_STATES} states.")
        return
    if turn.is_live:
        return
    told = count_told(skein, viewer, turn)
    if told > len(steps):
        st.caption(
            f":material/inventory: {counted(len(steps), 'state')} of {told:,} {'is' if len(steps) == 1 else 'are'} "
            "kept; the others were cleared away some time after the answer."
        )


def count_told(skein: Skein, viewer: Viewer, turn: Turn) -> int:
    """How many states of its own, not of subgraphs, the run's log tells of."""
    events = (event for batch in skein.engine.attach(viewer, turn.thread_id) for event in batch)
    found = [event.payload for event in events if event.kind == "state"]
    return len({payload.get("checkpoint_id") for payload in found if not payload.get("ns")})


def _before(skein: Skein, viewer: Viewer, turn: Turn, steps: Sequence[StateStep], at: int) -> StateStep | None:
    """The state before a step: for the first one that which the thread began with, while it is kept."""
    if at:
        return steps[at - 1]
    if turn.source_checkpoint_id is None:
        return None
    try:
        return skein.engine.get_state(viewer, turn.thread_id, turn.source_checkpoint_id)
    except SkeinError:
        return None


def _draw_step(steps: Sequence[StateStep], at: int, before: StateStep | None) -> None:
    step = steps[at]
    changed, whole, after = st.tabs(["What changed", "Whole state", "What came next"])
    with changed:
        changes = state_differences(before.values if before else {}, step.values)
        if before is None:
            st.caption("The first state that is kept; all of it is new here.")
        elif not changes:
            st.caption("Nothing of the state changed with this step.")
        draw_changes(changes, key=f"branches.change.{step.checkpoint_id}")
    with whole:
        st.json(step.values, expanded=1)
    with after:
        if step.updates:
            st.json(step.updates, expanded=2)
        else:
            st.caption("Nothing was written after this state." if step.next else "The run ended with this state.")
    st.caption(f"Checkpoint `{step.checkpoint_id}`")


def _draw_ways(skein: Skein, viewer: Viewer, turn: Turn, step: StateStep) -> None:
    if turn.is_live:
        st.caption("While it runs, no branch can start here; wait for its end, or stop it.")
        return
    st.button(
        "Snapshot this state",
        icon=":material/bookmark_add:",
        key=_SNAPSHOT,
        on_click=want,
        args=(_SNAPSHOT, step.checkpoint_id),
    )
    if wanted(_SNAPSHOT) == step.checkpoint_id:
        ask_for_snapshot(skein, viewer, turn, step.checkpoint_id)
    draw_fork(skein, viewer, turn, step)
