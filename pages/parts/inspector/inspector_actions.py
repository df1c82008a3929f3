"""What can be done with a run and with one of its states; offered to its owner, and stopping to admins as well.

Invariant: what cannot be done is one sentence, and what was deleted can be brought back for a minute.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.checkpoints.inspect import State
from core.errors import SkeinError
from core.history.branches import UNDO, BranchRow, get_branch_below, own_messages, restore_branch
from core.history.turns import UNFINISHED
from core.runs.branching import delete, retry, snapshot
from core.skein import Skein
from core.tables import utc_now
from pages.parts.forms.fork_form import draw_fork
from pages.parts.inspector.inspector_selection import OpenThread
from pages.parts.inspector.inspector_url import open_thread
from pages.parts.ui import state
from pages.parts.ui.dialogs import want, wanted
from pages.parts.ui.format import counted
from pages.parts.ui.popovers import draw_popover
from pages.parts.ui.text import plain, plain_lines, shortened
from pages.parts.ui.text_dialog import ask

_SNAPSHOT = "inspector.snapshot"
_LIVE = ("queued", "running", "waiting")


def draw_thread_ways(opened: OpenThread) -> None:
    """Stop it, try it again, delete its branch: whichever of them is possible."""
    turn, viewer = opened.turn, opened.viewer
    if turn.status in _LIVE and (turn.user_id == viewer.user_id or viewer.is_admin):
        st.button("Stop", icon=":material/stop:", key="inspector.stop", on_click=partial(_stop, opened))
    if not opened.is_own:
        return
    if turn.status in UNFINISHED:
        st.button(
            "Try again",
            icon=":material/refresh:",
            key="inspector.retry",
            type="primary",
            help="A new answer that goes on from the last state of this one",
            on_click=partial(_retry, opened),
        )
    draw_popover(
        "Delete its branch", partial(_draw_delete, opened), icon=":material/delete:", key="inspector.deleting"
    )


def _stop(opened: OpenThread) -> None:
    with state.problems(state.INSPECTOR_PROBLEM):
        stopped = opened.skein.engine.stop(opened.viewer, opened.turn.thread_id)
        said = "The run is being stopped; what was said is kept." if stopped else "The run was over already."
        state.put(state.INSPECTOR_NOTICE, said)


def _retry(opened: OpenThread) -> None:
    with state.problems(state.INSPECTOR_PROBLEM):
        added = retry(opened.skein.engine, opened.viewer, opened.turn.thread_id)
        state.put(state.INSPECTOR_NOTICE, "This is the new run; it goes on from the last state of the one before.")
        open_thread(added.thread_id)


def _draw_delete(opened: OpenThread) -> None:
    """What would go, and the button that does it."""
    skein, viewer = opened.skein, opened.viewer
    try:
        with skein.database.read() as db:
            branch = get_branch_below(viewer, db, opened.turn.message_id)
            messages = len(own_messages(db, branch))
    except SkeinError as error:
        st.warning(plain_lines(str(error)))
        return
    st.markdown(
        f"The branch “{plain(shortened(branch.name, 60))}” goes, with {counted(messages, 'message')} that only it "
        "has. What runs there is stopped. For a minute it can be brought back."
    )
    st.button(
        "Delete",
        icon=":material/delete:",
        key="inspector.delete",
        type="primary",
        on_click=partial(_delete, skein, viewer, branch),
    )


def _delete(skein: Skein, viewer: Viewer, branch: BranchRow) -> None:
    with state.problems(state.INSPECTOR_PROBLEM):
        delete(skein.engine, viewer, branch.branch_id)
        state.put(state.INSPECTOR_DELETED, (branch.branch_id, branch.name, utc_now()))
    st.rerun()


def draw_undo(skein: Skein, viewer: Viewer) -> None:
    """For a minute after a deletion, the way to take it back."""
    deleted = state.get(state.INSPECTOR_DELETED)
    if not deleted or utc_now() - deleted[2] > UNDO:
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        name = plain(shortened(deleted[1], 40))
        st.caption(f"Deleted “{name}”; for a minute it can be brought back.", width="stretch")
        st.button("Undo", icon=":material/undo:", key="inspector.undo", on_click=partial(_undo, skein, viewer))


def _undo(skein: Skein, viewer: Viewer) -> None:
    branch_id, name, _ = state.take(state.INSPECTOR_DELETED)
    with state.problems(state.INSPECTOR_PROBLEM):
        skein.database.write(lambda db: restore_branch(viewer, db, branch_id))
        state.put(state.INSPECTOR_NOTICE, f"The branch “{name}” is back.")


def draw_state_ways(opened: OpenThread, found: State) -> None:
    """Keep this state under a name, or start a branch from it."""
    if not opened.is_own:
        return
    if opened.turn.is_live:
        st.caption("While it runs, no branch can start here; wait for its end, or stop it.")
        return
    own = found.checkpoint.checkpoint_id
    st.button(
        "Snapshot this state",
        icon=":material/bookmark_add:",
        key=_SNAPSHOT,
        on_click=want,
        args=(_SNAPSHOT, own),
    )
    if wanted(_SNAPSHOT) == own:
        ask(
            "Snapshot",
            "Name",
            partial(_keep, opened, own),
            hint="A snapshot keeps this state for as long as it has a name; a new branch can start there.",
        )
    with st.expander(
        "Fork from this state", icon=":material/fork_right:", key=f"inspector.fork.{own}", on_change="rerun"
    ) as fold:
        if fold.open:
            _draw_fork(opened, own)


def _draw_fork(opened: OpenThread, checkpoint_id: str) -> None:
    try:
        step = opened.skein.engine.get_state(opened.viewer, opened.turn.thread_id, checkpoint_id)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return
    draw_fork(opened.skein, opened.viewer, opened.turn, step)


def _keep(opened: OpenThread, checkpoint_id: str, name: str) -> None:
    kept = snapshot(opened.skein.engine, opened.viewer, opened.turn.thread_id, name, checkpoint_id)
    state.put(state.INSPECTOR_NOTICE, f"The state is kept as “{kept.name}”.")
