"""What can be done with the chosen message: go another way, compare, keep a state, take it along as a file.

Invariant: what is somebody else's can be read, starred and taken along; only its owner is offered the rest.
"""

from collections.abc import Callable
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.annotations import set_note
from core.history.branches import create_branch
from core.history.messages import Added
from core.history.snapshots import SnapshotRow, delete_snapshot
from core.history.turns import UNFINISHED, Turn
from core.records.branch_export import branch_json, branch_markdown
from core.runs.branching import edit, regenerate, retry, snapshot
from core.skein import Skein
from pages.parts.branches.tree_data import Shown
from pages.parts.branches.tree_url import CHOOSE, go, open_machine
from pages.parts.ui import state
from pages.parts.ui.dialogs import want, wanted
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain
from pages.parts.ui.text_dialog import ask

_WAYS, _NOTE, _SNAPSHOT = "branches.ways", "branches.note", "branches.snapshot"
AGAIN, EDIT, BRANCH, RETRY = "Answer again", "Ask in other words", "Branch from here", "Try again"


def ways(turn: Turn, *, is_own: bool) -> list[str]:
    """How this viewer may go on from a message."""
    if not is_own:
        return []
    again = [RETRY] if turn.status in UNFINISHED else []
    return [*again, AGAIN, EDIT, *([] if turn.is_live else [BRANCH])]


def draw_ways(skein: Skein, viewer: Viewer, shown: Shown, turn: Turn) -> None:
    """The ways to go on from a message: in the chat, or beside what is there."""
    with st.container(horizontal=True, vertical_alignment="center", key="branches_ways"):
        st.page_link(
            CHAT,
            label="Open in chat",
            icon=":material/forum:",
            query_params=chat_address(shown, turn),
        )
        if turn.is_live and (shown.is_own or viewer.is_admin):
            st.button(
                "Stop",
                icon=":material/stop:",
                key="branches.stop",
                help="Ends the run; what has been said is kept",
                on_click=partial(_stop, skein, viewer, turn),
            )
        if options := ways(turn, is_own=shown.is_own):
            st.menu_button(
                "Go another way",
                options,
                key=_WAYS,
                icon=":material/alt_route:",
                type="primary",
                on_click=_go_another_way,
                args=(skein, viewer, turn),
            )
    if wanted(_WAYS) == turn.message_id:
        ask(
            EDIT,
            "Message",
            lambda text: _show(edit(skein.engine, viewer, turn.message_id, text)),
            value=turn.content,
            hint="The new words stand beside the old ones, which stay with all that came after them.",
            button="Send",
            is_long=True,
        )


def _go_another_way(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    chosen = state.get(_WAYS)
    if chosen == EDIT:
        want(_WAYS, turn.message_id)
        return
    with state.problems(state.BRANCHES_PROBLEM):
        if chosen == BRANCH:
            branch = skein.database.write(lambda db: create_branch(viewer, db, turn.message_id))
            st.switch_page(CHAT, query_params={"branch": branch.branch_id})
        elif chosen == AGAIN:
            _show(regenerate(skein.engine, viewer, turn.message_id))
        elif chosen == RETRY:
            _show(retry(skein.engine, viewer, turn.thread_id))


def _stop(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with state.problems(state.BRANCHES_PROBLEM):
        skein.engine.stop(viewer, turn.thread_id)


def chat_address(shown: Shown, turn: Turn) -> dict[str, str]:
    """What the chat is asked to open: the branch that is looked at if the message is on it, else its newest."""
    on_path = turn.message_id in shown.path
    return {"branch": shown.current.branch_id} if on_path else {"message": turn.message_id}


def _show(added: Added) -> None:
    go(branch=added.branch_id, node=added.message_id)


def draw_tools(skein: Skein, viewer: Viewer, shown: Shown, turn: Turn) -> None:
    """What else can be done with a message."""
    with st.container(horizontal=True, vertical_alignment="center", key="branches_tools"):
        st.button(
            "Time machine",
            icon=":material/history:",
            key="branches.machine",
            help="Its states step by step: what changed, and a fork from any of them",
            on_click=open_machine,
        )
        st.button(
            "Compare with …",
            icon=":material/compare_arrows:",
            key="branches.compare",
            help="Choose a second message next",
            on_click=partial(go, compare=CHOOSE),
        )
        st.button(
            "Note",
            icon=":material/sticky_note_2:",
            key=_NOTE,
            on_click=want,
            args=(_NOTE, turn.message_id),
        )
        if wanted(_NOTE) == turn.message_id:
            ask(
                "Note on this message",
                "Only you see it",
                lambda note: skein.database.write(lambda db: set_note(viewer, db, turn.message_id, note)),
                value=shown.mark(turn.message_id).note,
                is_long=True,
            )
        if shown.is_own and not turn.is_live:
            st.button(
                "Snapshot",
                icon=":material/bookmark_add:",
                key=_SNAPSHOT,
                help="Name its last state, to keep it",
                on_click=want,
                args=(_SNAPSHOT, turn.thread_id),
            )
            if wanted(_SNAPSHOT) == turn.thread_id:
                ask_for_snapshot(skein, viewer, turn, None)
        _draw_export(skein, viewer, shown, turn)


def ask_for_snapshot(skein: Skein, viewer: Viewer, turn: Turn, checkpoint_id: str | None) -> None:
    """Ask for the name of a snapshot of one state (None: the newest)."""
    ask(
        "Snapshot",
        "Name",
        lambda name: _keep(skein, viewer, turn, name, checkpoint_id),
        hint="A snapshot keeps this state for as long as it has a name; a new branch can start there at any time.",
    )


def _keep(skein: Skein, viewer: Viewer, turn: Turn, name: str, checkpoint_id: str | None) -> None:
    kept = snapshot(skein.engine, viewer, turn.thread_id, name, checkpoint_id)
    state.put(state.BRANCHES_NOTICE, f"The state is kept as “{kept.name}”.")


def _draw_export(skein: Skein, viewer: Viewer, shown: Shown, turn: Turn) -> None:
    """The path from the root to this message as a file, made when it is asked for."""
    with st.popover("Export", icon=":material/download:", help="The path from the first message to this one"):
        for label, ending, mime, make in (
            ("Markdown", "md", "text/markdown", branch_markdown),
            ("JSON", "json", "application/json", branch_json),
        ):
            st.download_button(
                label,
                data=partial(_export, skein, viewer, turn, make),
                file_name=f"{file_stem(shown.conversation.title)}.{ending}",
                mime=mime,
                key=f"branches.export.{ending}",
                on_click="ignore",
                width="stretch",
            )


def _export(skein: Skein, viewer: Viewer, turn: Turn, make: Callable[..., str]) -> bytes:
    return make(viewer, skein.database, turn.message_id).encode()


def file_stem(title: str) -> str:
    """A title as the name of a file."""
    kept = "".join(letter if letter.isalnum() else " " for letter in title)
    return "-".join(kept.split())[:60] or "branch"


def draw_thread_snapshots(skein: Skein, viewer: Viewer, shown: Shown, turn: Turn) -> None:
    """The states of a message's thread that have a name."""
    rows = [row for row in shown.snapshots if row.thread_id == turn.thread_id]
    if not rows:
        return
    st.caption("Snapshots of its states")
    for row in rows:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.button(
                plain(row.name),
                icon=":material/bookmark:",
                key=f"branches.snap.{row.snapshot_id}",
                type="tertiary",
                width="stretch",
                wrap=False,
                help="Open this state in the time machine, to look at it or to start a branch there",
                on_click=partial(open_machine, row.checkpoint_id),
            )
            if shown.is_own:
                st.button(
                    "Delete",
                    icon=":material/delete:",
                    key=f"branches.unsnap.{row.snapshot_id}",
                    type="tertiary",
                    on_click=partial(_forget, skein, viewer, row),
                )


def _forget(skein: Skein, viewer: Viewer, row: SnapshotRow) -> None:
    with state.problems(state.BRANCHES_PROBLEM):
        skein.database.write(lambda db: delete_snapshot(viewer, db, row.snapshot_id))
