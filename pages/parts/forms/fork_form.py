"""The form that starts a branch from a state, as it was or with parts of it written anew.

Invariant: what cannot be used is said beside the form, which keeps all that was typed.
"""

from collections.abc import Sequence
from functools import partial

import streamlit as st
from langgraph.constants import START

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.turns import Turn
from core.ids import ThreadId
from core.runs.branching import fork
from core.runs.execute import StateStep
from core.skein import Skein
from pages.parts.forms.state_edits import draw_edits, read_edits, typed_edits
from pages.parts.ui import state
from pages.parts.ui.page_paths import CHAT
from pages.parts.ui.text import plain, plain_lines


def draw_fork(skein: Skein, viewer: Viewer, turn: Turn, step: StateStep) -> None:
    """In the middle of a run it goes on with the same message; at its end one says what comes next."""
    key = f"branches.fork.{step.checkpoint_id}"
    with st.container(border=True, key="branches_fork"):
        st.markdown("**Fork from this state**")
        if step.next:
            st.caption(f"The run goes on from here with the same message; next: {plain(next_words(step))}.")
        else:
            st.text_area("What to say next", key=f"{key}.text", height=100, persist_state="session")
        parts = _draw_edits(skein, turn, step, key)
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.text_input(
                "Name of the branch",
                key=f"{key}.name",
                placeholder="Named by itself if left empty",
                max_chars=100,
                width=300,
                persist_state="session",
            )
            st.button(
                "Fork",
                key=f"{key}.go",
                icon=":material/fork_right:",
                type="primary",
                on_click=partial(_fork, skein, viewer, turn.thread_id, step, parts=parts),
            )
        for problem in state.take(state.BRANCHES_REFUSED) or ():
            st.error(plain_lines(problem), icon=":material/error:")


def next_words(step: StateStep) -> str:
    """What is to run next."""
    return ", ".join("the first node" if name == START else name for name in step.next)


def _draw_edits(skein: Skein, turn: Turn, step: StateStep, key: str) -> list[str]:
    if not st.toggle("Edit the state", key=f"{key}.edit", help="Change parts of the state before it goes on"):
        return []
    return draw_edits(skein, turn.agent_id, step, key=key)


def _fork(skein: Skein, viewer: Viewer, thread_id: ThreadId, step: StateStep, *, parts: Sequence[str]) -> None:
    """Start the branch with what the fields hold, and go there."""
    key = f"branches.fork.{step.checkpoint_id}"
    text = "" if step.next else state.get(f"{key}.text") or ""
    name = state.get(f"{key}.name") or ""
    edits, problems = read_edits(typed_edits(parts, key=key), step.values)
    if not problems:
        try:
            added = fork(skein.engine, viewer, thread_id, step.checkpoint_id, text=text, edits=edits, name=name)
            for field in ("text", "name"):
                state.take(f"{key}.{field}")
            st.switch_page(CHAT, query_params={"branch": added.branch_id})
        except SkeinError as error:
            problems = [str(error)]
    state.put(state.BRANCHES_REFUSED, problems)
