"""Two branches side by side from where they part: what was said, the words that differ, sums, and states."""

from collections.abc import Callable
from functools import partial

import streamlit as st

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.differences import Piece
from core.history.turns import Turn
from core.records.compare import Comparison, Side, Totals, compare
from core.skein import Skein
from pages.parts.branches.tree_data import Shown
from pages.parts.branches.tree_url import choose, go
from pages.parts.ui.answer_text import as_markdown
from pages.parts.ui.diff_view import draw_changes, draw_words
from pages.parts.ui.format import count, counted, dollars, milliseconds, total_cost
from pages.parts.ui.text import as_written, plain, plain_lines, shortened

_HEIGHT, _LONG = 460, 1_200


def draw_choosing(shown: Shown) -> None:
    """While the second message is being chosen: say so, and offer the branches' heads at once."""
    with st.container(border=True, key="branches_choosing"):
        label = plain(shortened(shown.excerpts.get(shown.node.message_id, ""), 60))
        st.markdown(f":material/compare_arrows: Compare “{label}” with …")
        st.caption("Choose the second message in the tree, in the list, or among the branches.")
        st.button("Cancel", key="branches.choosing.cancel", type="tertiary", on_click=partial(go, compare=None))


def draw_compare(skein: Skein, viewer: Viewer, shown: Shown) -> None:
    """The chosen message and the second one, as heads of their branches."""
    if shown.compare is None:
        return
    with st.container(border=True, key="branches_compare"):
        _draw_head(shown)
        try:
            found = compare(
                viewer,
                shown.node.message_id,
                shown.compare.message_id,
                database=skein.database,
                engine=skein.engine,
            )
        except SkeinError as error:
            st.warning(plain_lines(str(error)), icon=":material/info:")
            return
        _draw_fork(found)
        _draw_sides(shown, found)
        st.table(totals_rows(found.one.totals, found.other.totals), hide_index=True, border="horizontal")
        _draw_states(found)


def _draw_head(shown: Shown) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("##### :material/compare_arrows: Side by side", width="stretch")
        second = shown.compare.message_id if shown.compare else ""
        swap = partial(go, node=second, compare=shown.node.message_id)
        st.button("Swap", icon=":material/swap_horiz:", key="branches.compare.swap", type="tertiary", on_click=swap)
        st.button(
            "Close",
            icon=":material/close:",
            key="branches.compare.close",
            type="tertiary",
            on_click=partial(go, compare=None),
        )


def _draw_fork(found: Comparison) -> None:
    if found.one.head.message_id == found.other.head.message_id:
        st.info("This is the same message twice; choose another one to compare it with.", icon=":material/info:")
        return
    if found.fork is None:
        st.caption("They part at the very beginning.")
        return
    st.button(
        f"They part after “{plain(shortened(found.fork.content, 60))}”",
        icon=":material/call_split:",
        key="branches.compare.fork",
        type="tertiary",
        help="Go to the last message that they share",
        on_click=partial(choose, found.fork.message_id, is_choosing=False),
    )


def name_of(shown: Shown, turn: Turn) -> str:
    """What people call the branch that ends here, else how its message begins."""
    branches = (branch.name for branch in shown.branches if branch.head_message_id == turn.message_id)
    return next(branches, shortened(turn.content, 40))


def _draw_sides(shown: Shown, found: Comparison) -> None:
    columns = st.columns(2, gap="medium")
    height = _HEIGHT if max(map(_length, (found.one, found.other))) > _LONG else "content"
    for number, (column, side, without) in enumerate(
        zip(columns, (found.one, found.other), ("new", "gone"), strict=True), start=1
    ):
        with column:
            st.markdown(f"**{number}. {plain(name_of(shown, side.head))}**")
            with st.container(height=height, border=True, key=f"branches_side_{number}"):
                _draw_side(side, found, without)


def _length(side: Side) -> int:
    return sum(len(turn.content) + len(turn.answer) for turn in side.turns)


def _draw_side(side: Side, found: Comparison, without: str) -> None:
    if not side.turns:
        st.caption("Nothing was said here after they part: this is where the other one went on.")
    for turn in side.turns[:-1]:
        _say("user", turn.content)
        _say("assistant", turn.answer or f"({turn.status})")
    _draw_words("user", found.questions, side.head.content, without)
    _draw_words("assistant", found.answers, side.head.answer, without)
    if side.head.status != "done":
        st.caption(f"{side.head.status.capitalize()}. {plain(side.head.error_message or '')}")


def _say(who: str, text: str) -> None:
    with st.chat_message(who, avatar=_AVATARS[who]):
        if who == "user":
            st.html(as_written(text))
        else:
            st.markdown(as_markdown(text))


def _draw_words(who: str, pieces: tuple[Piece, ...], text: str, without: str) -> None:
    with st.chat_message(who, avatar=_AVATARS[who]):
        if text:
            draw_words(pieces, without=without)
        else:
            st.caption("(nothing)")


_AVATARS = {"user": ":material/person:", "assistant": ":material/hub:"}


def totals_rows(one: Totals, other: Totals) -> list[dict[str, str]]:
    """What each took since they part, and by how much the second differs from the first."""
    rows = [
        _row("Messages", one.messages, other.messages, count),
        _row("Tokens in", one.input_tokens, other.input_tokens, count),
        _row("Tokens out", one.output_tokens, other.output_tokens, count),
        _cost_row(one, other),
        _row("Time", one.seconds * 1_000, other.seconds * 1_000, milliseconds),
        _row("LLM calls", one.calls, other.calls, count),
        _row("Errors", one.errors, other.errors, count),
    ]
    return [dict(zip(("Since they part", "1", "2", "Difference"), row, strict=True)) for row in rows]


def _row(name: str, one: float, other: float, write: Callable[[float], str]) -> tuple[str, str, str, str]:
    return name, write(one), write(other), _signed(other - one, write)


def _cost_row(one: Totals, other: Totals) -> tuple[str, str, str, str]:
    is_known = not (one.unpriced or other.unpriced) and None not in (one.cost_usd, other.cost_usd)
    difference = _signed((other.cost_usd or 0) - (one.cost_usd or 0), dollars) if is_known else "–"
    return "Cost", *(plain(_cost(totals)) for totals in (one, other)), plain(difference)


def _cost(totals: Totals) -> str:
    if totals.unpriced and not totals.cost_usd:
        return "unpriced"
    return total_cost(totals.cost_usd or 0, calls=totals.calls - totals.running, unpriced=totals.unpriced)


def _signed(difference: float, write: Callable[[float], str]) -> str:
    if not difference:
        return "same"
    return f"{'+' if difference > 0 else '−'}{write(abs(difference))}"


def _draw_states(found: Comparison) -> None:
    st.markdown("**What differs in their states**")
    if found.state is None:
        st.caption("The states cannot be compared: one of them is not kept, or its agent is no longer there.")
    elif not found.state:
        st.caption("Their states are the same.")
    else:
        with st.expander(counted(len(found.state), "difference"), expanded=len(found.state) <= 6):
            draw_changes(found.state, key="branches.states")
