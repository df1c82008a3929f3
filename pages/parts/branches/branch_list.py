"""The branches of a conversation as a list, each with what can be done with it; a deletion can be taken back."""

from datetime import datetime
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.history.annotations import set_note, set_star
from core.history.branches import (
    UNDO,
    BranchRow,
    archive_branch,
    rename_branch,
    restore_branch,
)
from core.ids import BranchId
from core.runs.branching import delete
from core.skein import Skein
from core.tables import utc_now
from pages.parts.branches.tree_data import Shown
from pages.parts.branches.tree_url import CHOOSE, choose, go, open_machine
from pages.parts.ui import state
from pages.parts.ui.dialogs import want, wanted
from pages.parts.ui.format import counted
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain, plain_lines, shortened
from pages.parts.ui.text_dialog import ask

OPEN, RENAME, STAR, UNSTAR, NOTE = "Open in chat", "Rename", "Star", "Take the star off", "Note"
ARCHIVE, UNARCHIVE, DELETE = "Archive", "Take out of the archive", "Delete"
_ROOM, _PAGE = 8, 20


def draw_branches(skein: Skein, viewer: Viewer, shown: Shown) -> None:
    """The list, last changed first, with the archived ones at its end."""
    st.markdown(f"##### {counted(len(shown.branches), 'branch', 'branches')}")
    _draw_undo(skein, viewer)
    branches = sorted(shown.branches, key=lambda branch: branch.updated_at, reverse=True)
    branches.sort(key=lambda branch: branch.archived_at is not None)
    # The one that is looked at comes first where it would not be listed.
    most = state.get(state.BRANCHES_MOST) or _PAGE
    if shown.current not in branches[:most]:
        branches.remove(shown.current)
        branches.insert(0, shown.current)
    height = 46 * _ROOM if len(branches) > _ROOM else "content"
    with st.container(height=height, border=len(branches) > _ROOM, gap=None, key="branches_list"):
        for branch in branches[:most]:
            _draw_branch(skein, viewer, shown, branch)
        if len(branches) > most:
            st.button(
                f"Show more ({len(branches) - most:,} left)",
                key="branches.more_branches",
                type="tertiary",
                on_click=partial(state.put, state.BRANCHES_MOST, most + 5 * _PAGE),
            )


def draw_snapshots(shown: Shown) -> None:
    """All states of the conversation that have a name; one opens in the time machine."""
    if not shown.snapshots:
        return
    st.markdown(f"##### {counted(len(shown.snapshots), 'snapshot')}")
    with st.container(horizontal=True, gap="small", key="branches_snapshots"):
        for row in shown.snapshots:
            if row.message_id in shown.tree.nodes:
                st.button(
                    plain(row.name),
                    icon=":material/bookmark:",
                    key=f"branches.snapshot.{row.snapshot_id}",
                    help="Open this state in the time machine, to look at it or to start a branch there",
                    on_click=partial(open_machine, row.checkpoint_id, node=row.message_id),
                )


def _draw_branch(skein: Skein, viewer: Viewer, shown: Shown, branch: BranchRow) -> None:
    is_current = branch.branch_id == shown.current.branch_id
    mark = shown.mark(branch.branch_id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        st.button(
            describe(shown, branch, now=utc_now()),
            key=f"branches.open.{branch.branch_id}",
            type="secondary" if is_current else "tertiary",
            icon=icon(shown, branch),
            width="stretch",
            wrap=False,
            help=plain_lines(mark.note) or None,
            on_click=partial(_choose, branch, is_choosing=st.query_params.get("compare") == CHOOSE),
        )
        menu = f"branches.menu.{branch.branch_id}"
        st.menu_button(
            "More",
            ways(shown, branch),
            key=menu,
            icon=":material/more_horiz:",
            type="tertiary",
            on_click=_do,
            args=(skein, viewer, branch, menu),
        )
    if way := wanted(menu):
        _ask(skein, viewer, branch, way, note=mark.note)


def describe(shown: Shown, branch: BranchRow, *, now: datetime) -> str:
    """A branch in a line: its name, how many messages lead to its head, and when it last changed."""
    head = shown.tree.nodes.get(branch.head_message_id)
    mark = shown.mark(branch.branch_id)
    parts = [
        f"**{plain(shortened(branch.name, 40))}**" + (" ★" if mark.starred else "") + (" ✎" if mark.note else ""),
        counted(head.depth + 1, "message") if head else "",
        ago(branch.updated_at, now),
        "running" if head is not None and head.is_live else "",
        "archived" if branch.archived_at else "",
    ]
    return " · ".join(part for part in parts if part)


def ago(moment: datetime, now: datetime) -> str:
    """How long ago that was, in its largest unit."""
    seconds = (now - moment).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size:,.0f} {unit} ago"
    return "just now"


def icon(shown: Shown, branch: BranchRow) -> str:
    head = shown.tree.nodes.get(branch.head_message_id)
    if head is not None and head.is_live:
        return "spinner"
    return ":material/inventory_2:" if branch.archived_at else ":material/alt_route:"


def ways(shown: Shown, branch: BranchRow) -> list[str]:
    """What this viewer may do with a branch: stars and notes are everybody's own, the rest is its owner's."""
    star = UNSTAR if shown.mark(branch.branch_id).starred else STAR
    if not shown.is_own:
        return [OPEN, star, NOTE]
    return [OPEN, RENAME, star, NOTE, UNARCHIVE if branch.archived_at else ARCHIVE, DELETE]


def _choose(branch: BranchRow, *, is_choosing: bool) -> None:
    if is_choosing:
        choose(branch.head_message_id, is_choosing=True)
    else:
        go(branch=branch.branch_id, node=None, compare=None)


def _do(skein: Skein, viewer: Viewer, branch: BranchRow, menu: str) -> None:
    key, way, write = branch.branch_id, state.get(menu), skein.database.write
    with state.problems(state.BRANCHES_PROBLEM):
        if way == OPEN:
            st.switch_page(CHAT, query_params={"branch": key})
        elif way in {RENAME, NOTE}:
            want(menu, way)
        elif way in {STAR, UNSTAR}:
            write(lambda db: set_star(viewer, db, key, starred=way == STAR))
        elif way in {ARCHIVE, UNARCHIVE}:
            write(lambda db: archive_branch(viewer, db, key, archived=way == ARCHIVE))
        elif way == DELETE:
            _delete(skein, viewer, branch)


def _ask(skein: Skein, viewer: Viewer, branch: BranchRow, way: str, *, note: str) -> None:
    """Open the dialog for its name, or for a note on it."""
    key, write = branch.branch_id, skein.database.write
    if way == RENAME:
        ask(
            "Rename the branch",
            "Name",
            lambda name: write(lambda db: rename_branch(viewer, db, key, name)),
            value=branch.name,
        )
    else:
        ask(
            "Note on the branch",
            "Only you see it",
            lambda text: write(lambda db: set_note(viewer, db, key, text)),
            value=note,
            is_long=True,
        )


def _delete(skein: Skein, viewer: Viewer, branch: BranchRow) -> None:
    """Take it out of sight, with what only it has."""
    delete(skein.engine, viewer, branch.branch_id)
    state.put(state.BRANCHES_DELETED, (branch.branch_id, branch.name, utc_now()))
    go(branch=None, node=None, compare=None, conversation=branch.conversation_id)


def _draw_undo(skein: Skein, viewer: Viewer) -> None:
    deleted = state.get(state.BRANCHES_DELETED)
    if not deleted or utc_now() - deleted[2] > UNDO:
        return
    branch_id, name, _ = deleted
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.caption(f"Deleted “{plain(shortened(name, 40))}”; for a minute it can be brought back.", width="stretch")
        st.button(
            "Undo", icon=":material/undo:", key="branches.undo", on_click=partial(_undo, skein, viewer, branch_id)
        )


def _undo(skein: Skein, viewer: Viewer, branch_id: BranchId) -> None:
    state.take(state.BRANCHES_DELETED)
    with state.problems(state.BRANCHES_PROBLEM):
        branch = skein.database.write(lambda db: restore_branch(viewer, db, branch_id))
        go(branch=branch.branch_id)
