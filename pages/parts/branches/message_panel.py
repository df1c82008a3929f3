"""The panel of the chosen message: what was said, by whom, at what cost, and where its state came from."""

from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from core.access.viewer import Viewer
from core.history.annotations import set_star
from core.history.tree import Node
from core.history.turns import Turn, get_turn
from core.skein import Skein
from pages.parts.branches.message_actions import draw_thread_snapshots, draw_tools, draw_ways
from pages.parts.branches.tree_data import Shown, cost_of
from pages.parts.branches.tree_url import LAST, open_machine
from pages.parts.ui import state
from pages.parts.ui.answer_text import as_markdown
from pages.parts.ui.format import count, counted, milliseconds
from pages.parts.ui.page_paths import CALLS
from pages.parts.ui.text import as_written, plain, plain_lines, shortened

_LONG, _HEIGHT = 700, 300
_KINDS = {
    "first": "the beginning",
    "continue": "went on",
    "edit": "asked in other words",
    "regenerate": "answered again",
    "fork": "forked from a state",
    "retry": "tried again",
    "fan_out": "one of several answers",
}
_STATUS_COLORS = {"done": "green", "failed": "red", "lost": "violet", "stopped": "orange", "waiting": "yellow"}


def draw_panel(skein: Skein, viewer: Viewer, shown: Shown, tz: ZoneInfo) -> None:
    """All of the chosen message."""
    with skein.database.read() as db:
        turn = get_turn(viewer, db, shown.node.message_id)
    with st.container(border=True, key="branches_panel"):
        _draw_head(skein, viewer, shown, turn)
        _draw_texts(turn)
        _draw_figures(skein, shown, turn, tz)
        _draw_source(shown, turn)
        draw_ways(skein, viewer, shown, turn)
        draw_tools(skein, viewer, shown, turn)
        draw_thread_snapshots(skein, viewer, shown, turn)
        _draw_ids(turn)


def _draw_head(skein: Skein, viewer: Viewer, shown: Shown, turn: Turn) -> None:
    mark = shown.mark(turn.message_id)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", wrap=False):
        color = _STATUS_COLORS.get(turn.status, "blue")
        kind = plain(_KINDS.get(turn.kind, turn.kind))
        st.markdown(f":{color}-badge[{turn.status}] :small[{kind}]", width="stretch")
        st.button(
            "Starred" if mark.starred else "Star",
            key="branches.star",
            icon=":material/star:" if mark.starred else ":material/star_outline:",
            type="tertiary",
            help="Only you see it",
            on_click=partial(_star, skein, viewer, turn, starred=not mark.starred),
        )
    if mark.note:
        st.info(plain_lines(mark.note), icon=":material/sticky_note_2:")


def _star(skein: Skein, viewer: Viewer, turn: Turn, *, starred: bool) -> None:
    with state.problems(state.BRANCHES_PROBLEM):
        skein.database.write(lambda db: set_star(viewer, db, turn.message_id, starred=starred))


def _draw_texts(turn: Turn) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        _draw_text(turn, "question")
    with st.chat_message("assistant", avatar=":material/hub:"):
        if turn.answer:
            _draw_text(turn, "answer")
        elif turn.is_live:
            st.caption("The answer is being written; open it in the chat to follow it.")
        elif turn.status in {"done", "waiting"}:
            st.caption("The agent ended without saying anything.")
        if turn.error_message:
            (st.error if turn.status == "failed" else st.info)(plain_lines(turn.error_message))


def _draw_text(turn: Turn, name: str) -> None:
    text = turn.content if name == "question" else turn.answer
    is_long = len(text) > _LONG or text.count("\n") > 14
    with st.container(height=_HEIGHT if is_long else "content", border=False, key=f"branches_{name}"):
        if name == "question":
            st.html(as_written(text))
        else:
            st.markdown(as_markdown(text))


def figures_of(shown: Shown, node: Node, model: str, tz: ZoneInfo) -> list[tuple[str, str]]:
    """What is to be known of a message, each with its name; what is not known is left out."""
    calls, below = shown.sum_calls([node.message_id]), list(shown.tree.subtree(node.message_id))
    about = "about " if calls.estimated else ""
    tokens = f"{about}{count(calls.input_tokens)} in, {count(calls.output_tokens)} out"
    is_counted = calls.input_tokens + calls.output_tokens > 0
    rows = [
        ("Agent", node.agent_id),
        ("Model", model),
        ("By", shown.facts_of(node).author),
        ("Asked", f"{node.created_at.astimezone(tz):%d %b, %H:%M}"),
        ("Took", "" if node.seconds is None else milliseconds(node.seconds * 1_000)),
        ("Cost", cost_of(calls) if is_counted or calls.cost_usd else ""),
        ("Tokens", tokens if is_counted else ""),
        ("Errors", count(calls.errors) if calls.errors else ""),
        (f"Cost with the {len(below) - 1:,} below", cost_of(shown.sum_calls(below)) if len(below) > 1 else ""),
    ]
    return [(name, value) for name, value in rows if value]


def _draw_figures(skein: Skein, shown: Shown, turn: Turn, tz: ZoneInfo) -> None:
    calls = shown.sum_calls([turn.message_id])
    model = calls.models or skein.agents.model_of(turn.agent_id, turn.config) or ""
    labels = {offered.name: offered.label for offered in skein.chat_models.offered()}
    with st.container(horizontal=True, gap="medium", key="branches_figures"):
        for name, value in figures_of(shown, shown.node, labels.get(model, model), tz):
            with st.container(width="content", gap=None):
                st.caption(name)
                st.markdown(f"**{plain(value)}**")
    if calls.calls:
        st.page_link(
            CALLS,
            label=counted(calls.calls, "LLM call"),
            icon=":material/analytics:",
            query_params={"thread": turn.thread_id, "window": "all"},
        )


def _draw_source(shown: Shown, turn: Turn) -> None:
    """Where the state came from that it began with."""
    source = next((node for node in shown.tree.nodes.values() if node.thread_id == turn.parent_thread_id), None)
    if source is None:
        came_from = turn.parent_thread_id or turn.source_checkpoint_id
        words = "Its state came from a message that is gone." if came_from else "It began with nothing."
        st.caption(words)
        return
    label = shortened(shown.excerpts.get(source.message_id, ""), 40) or "another message"
    st.button(
        f"State from “{plain(label)}”",
        icon=":material/subdirectory_arrow_right:",
        key="branches.source",
        type="tertiary",
        wrap=False,
        width="stretch",
        help="The message whose state this began with, at the very checkpoint",
        on_click=partial(open_machine, turn.source_checkpoint_id or LAST, node=source.message_id),
    )


def _draw_ids(turn: Turn) -> None:
    with st.expander("Ids", type="compact", icon=":material/tag:"):
        for value in (turn.conversation_id, turn.message_id, turn.thread_id, turn.source_checkpoint_id):
            if value:
                st.code(value, language=None)
