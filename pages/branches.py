"""Branches: the tree of a conversation to look at and to steer, a message of it, its states, and a comparison.

The address says all: ``?conversation=``, ``?branch=`` the current path, ``?node=`` the chosen message,
``?compare=`` the second one, ``?checkpoint=`` the state in the time machine, and how the tree is shown.
"""

from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.conversations import list_conversations
from core.history.tree import get_tree
from core.ids import ConversationId
from core.skein import Skein
from pages.parts.branches.branch_list import draw_branches, draw_snapshots
from pages.parts.branches.compare_view import draw_choosing, draw_compare
from pages.parts.branches.message_panel import draw_panel
from pages.parts.branches.time_machine import draw_time_machine
from pages.parts.branches.tree_data import Shown, cost_of, count_forks, deepest, live_of, load
from pages.parts.branches.tree_url import LIST, TREE, Place, address, go, read_place
from pages.parts.branches.tree_view import draw
from pages.parts.chat.conversation_list import icon, label
from pages.parts.ui import state
from pages.parts.ui.days import zone
from pages.parts.ui.format import counted, dollars
from pages.parts.ui.guard import require_viewer
from pages.parts.ui.open_branch import record_conversation_look
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain, plain_lines
from pages.parts.ui.watch import look_every

viewer = require_viewer()

_POLL_SECONDS = 2.0
_RECENT = 20
_STYLE = """<style>
[data-testid="stMainBlockContainer"] { max-width: 96rem; padding-top: 4.25rem; }
.st-key-branches_list button, .st-key-branches_rows button, .st-key-branches_panel button[kind="tertiary"] {
  justify-content: flex-start; min-height: 2.2rem; padding: 0.15rem 0.6rem;
}
.st-key-branches_list button > div, .st-key-branches_rows button > div, .st-key-branches_panel button > div {
  justify-content: flex-start; overflow: hidden;
}
.st-key-branches_steps [data-testid="stSlider"] { padding: 0 3rem; }
/* What was just opened is seen without scrolling: above the tree, on a phone the states below the message. */
[data-testid="stMain"] { overflow-anchor: none; }
div:has(> .st-key-branches_notices), div:has(> .st-key-branches_head),
div:has(> .st-key-branches_choosing) { order: -2; }
div:has(> .st-key-branches_compare) { order: -1; }
@media (min-width: 641px) { div:has(> .st-key-branches_machine) { order: -1; } }
@media (max-width: 640px) { .st-key-branches_head > div:first-child { min-width: 100%; } }
</style>"""


def main(skein: Skein, viewer: Viewer) -> None:
    st.html(_STYLE)
    # Drawing the page anew has closed any dialog.
    state.take(state.BRANCHES_ASKING)
    place = read_place(address(), view=LIST if _is_small() else TREE)
    shown, problems = _load(skein, viewer, place)
    _draw_notices(problems)
    if shown is None:
        _draw_choice(skein, viewer)
        return
    _draw_all(skein, viewer, shown, place)
    if shown.live:
        state.put(state.BRANCHES_SEEN, shown.live)
        look_every(_POLL_SECONDS, partial(_watch, skein, viewer, shown.conversation.conversation_id))


def _is_small() -> bool:
    return "Mobi" in (st.context.headers.get("User-Agent") or "")


def _load(skein: Skein, viewer: Viewer, place: Place) -> tuple[Shown | None, list[str]]:
    problems = [*place.problems]
    if not place.names_anything:
        return None, problems
    try:
        shown = load(skein, viewer, place)
    except SkeinError as error:
        return None, [*problems, str(error)]
    record_conversation_look(skein, viewer, shown.conversation)
    return shown, [*problems, *shown.problems]


def _draw_notices(problems: list[str]) -> None:
    with st.container(key="branches_notices"):
        if notice := state.take(state.BRANCHES_NOTICE):
            st.success(plain_lines(notice), icon=":material/check:")
        for problem in (*problems, state.take(state.BRANCHES_PROBLEM)):
            if problem:
                st.warning(plain_lines(problem), icon=":material/info:")


def _draw_choice(skein: Skein, viewer: Viewer) -> None:
    """Without a conversation: the viewer's recent ones."""
    st.markdown("### Branches")
    with skein.database.read() as db:
        rows = list_conversations(viewer, db, limit=_RECENT)
    if not rows:
        st.info(
            "Here you will see your conversations as trees: every edit, new answer and fork is a branch. "
            "Begin one in the chat.",
            icon=":material/account_tree:",
        )
        st.page_link(CHAT, label="Open the chat", icon=":material/forum:")
        return
    st.caption("Which conversation would you like to see as a tree?")
    # No link: one to the page that is open already would leave the address as it is.
    with st.container(gap=None, key="branches_choice"):
        for row in rows:
            st.button(
                label(row),
                icon=icon(row) or ":material/account_tree:",
                key=f"branches.choose.{row.conversation_id}",
                type="tertiary",
                on_click=partial(go, conversation=row.conversation_id),
            )


def _draw_all(skein: Skein, viewer: Viewer, shown: Shown, place: Place) -> None:
    tz = zone()
    _draw_header(shown)
    if place.is_choosing:
        draw_choosing(shown)
    left, right = st.columns([2, 1], gap="medium")
    with left:
        draw(shown, place, tz)
        draw_branches(skein, viewer, shown)
        draw_snapshots(shown)
    with right:
        draw_panel(skein, viewer, shown, tz)
    draw_compare(skein, viewer, shown)
    if place.checkpoint:
        draw_time_machine(skein, viewer, shown, tz)


def _draw_header(shown: Shown) -> None:
    with st.container(horizontal=True, vertical_alignment="center", key="branches_head"):
        with st.container(width="stretch", gap=None):
            st.markdown(f"#### {plain(shown.conversation.title)}")
            st.caption(describe(shown))
        st.page_link(
            CHAT,
            label="Back to the chat",
            icon=":material/forum:",
            query_params={"branch": shown.current.branch_id},
        )


def describe(shown: Shown) -> str:
    """The tree in figures: its size and shape, what it cost, and how much of that was off the current path."""
    tree, off_path = shown.tree, cost_of(shown.sum_calls(shown.abandoned)) if shown.abandoned else ""
    parts = [
        "" if shown.is_own else f"by {plain(shown.owner)}",
        counted(len(tree.nodes), "message"),
        counted(len(shown.branches), "branch", "branches"),
        counted(count_forks(tree), "fork"),
        f"{deepest(tree):,} deep",
        in_words(cost_of(shown.sum_calls(tree.nodes))),
        f"{off_path} of it off the current path" if "$" in off_path and off_path != dollars(0) else "",
    ]
    return plain(" · ".join(part for part in parts if part))


def in_words(cost: str) -> str:
    """What something cost as a part of a sentence: cost $1.20, free."""
    return f"cost {cost}" if "$" in cost else cost


def _watch(skein: Skein, viewer: Viewer, conversation_id: ConversationId) -> None:
    """While something runs: draws the page anew when that has changed, but never under an open dialog."""
    if state.get(state.BRANCHES_ASKING):
        return
    try:
        with skein.database.read() as db:
            live = live_of(get_tree(viewer, db, conversation_id))
    except SkeinError:
        st.rerun(scope="app")
    if live != state.get(state.BRANCHES_SEEN):
        st.rerun(scope="app")


main(get_skein(), viewer)
