"""The tree of a conversation to look at: as a picture one can click, or as a list of the same, with its controls.

Invariant: a click changes the address and nothing else. While one only clicks, the picture's option stays the same,
so that it keeps the part that somebody panned to; it begins anew at what is chosen elsewhere.
"""

from collections.abc import Sequence
from functools import partial
from zoneinfo import ZoneInfo

import streamlit as st

from core.ids import MessageId
from pages.parts.branches.tree_colours import ColourBy
from pages.parts.branches.tree_data import Shown
from pages.parts.branches.tree_layout import Layout, lay_out
from pages.parts.branches.tree_picture import Marked, chosen_mark, draw_tree
from pages.parts.branches.tree_summary import Row, rows_of
from pages.parts.branches.tree_url import LIST, TREE, VIEWS, Place, choose, go, open_run
from pages.parts.ui import state
from pages.parts.ui.format import counted
from pages.parts.ui.text import plain, shortened

_WIDTH, _LOWEST, _HEIGHT = 640, 320, 520
# Room above and below the marks: labels, the legend, the map of a large tree.
_AROUND = 270
_ROWS, _LIST_HEIGHT, _UNSCROLLED = 60, 640, 30
_COLOURS = {
    ColourBy.STATUS: "Status",
    ColourBy.AGENT: "Agent",
    ColourBy.AUTHOR: "Author",
    ColourBy.COST: "Cost",
    ColourBy.TIME: "Time",
}
_ICONS = {
    "done": ":material/check_circle:",
    "queued": ":material/schedule:",
    "running": "spinner",
    "waiting": ":material/front_hand:",
    "stopped": ":material/stop_circle:",
    "failed": ":material/error:",
    "lost": ":material/link_off:",
}


def draw_controls(shown: Shown, place: Place) -> None:
    """How the tree is shown, what the colours say, and what is looked for in it."""
    with st.container(horizontal=True, vertical_alignment="bottom", key="branches_controls"):
        _put("view", place.view)
        st.segmented_control(
            "Show as",
            list(VIEWS),
            format_func=VIEWS.__getitem__,
            key=_key("view"),
            required=True,
            label_visibility="collapsed",
            on_change=partial(_write, "view", TREE),
        )
        _put("find", place.find)
        st.text_input(
            "Find in the messages",
            key=_key("find"),
            placeholder="Find in questions and answers",
            icon=":material/search:",
            label_visibility="collapsed",
            width=210,
            on_change=partial(_write, "find", ""),
        )
        if place.view == TREE:
            _draw_picture_controls(place)
        if place.find:
            _draw_jumps(shown)


def _draw_jumps(shown: Shown) -> None:
    st.caption(found_words(shown.found, shown.node.message_id), width="content")
    for label, icon, way in (("Previous find", "chevron_left", -1), ("Next find", "chevron_right", 1)):
        there = jump(shown.found, shown.node.message_id, way)
        st.button(
            label,
            icon=f":material/{icon}:",
            key=f"branches.{icon}",
            type="tertiary",
            disabled=there is None,
            on_click=partial(go, node=there),
        )


def found_words(found: list[MessageId], current: MessageId) -> str:
    """Which of the finds one is at: 2 of 5."""
    if not found:
        return "Not found"
    return f"{found.index(current) + 1} of {len(found)}" if current in found else f"{len(found)} found"


def jump(found: list[MessageId], current: MessageId, way: int) -> MessageId | None:
    """The next find after a message (-1: the one before), going round at the end."""
    if not found or found == [current]:
        return None
    if current in found:
        return found[(found.index(current) + way) % len(found)]
    later = [one for one in found if one > current]
    if way > 0:
        return later[0] if later else found[0]
    return found[len(found) - len(later) - 1]


def _draw_picture_controls(place: Place) -> None:
    _put("colour", place.colour.value)
    st.selectbox(
        "Colour by",
        [colour.value for colour in _COLOURS],
        format_func=lambda colour: f"Colour: {_COLOURS[ColourBy(colour)]}",
        key=_key("colour"),
        label_visibility="collapsed",
        width=150,
        on_change=partial(_write, "colour", ColourBy.STATUS.value),
    )
    st.button(
        "Fit",
        icon=":material/fit_screen:",
        key="branches.fit",
        help="Show the whole tree",
        on_click=partial(_look_at, None),
    )
    if place.opened:
        st.button("Fold runs", icon=":material/unfold_less:", key="branches.fold", on_click=partial(go, open=None))


def lay_out_shown(shown: Shown, place: Place, *, begin: MessageId | None = None) -> Layout:
    """The marks: what is chosen, compared or begun at stands by itself, never inside of a run."""
    kept = {one for one in (shown.node.message_id, shown.compare and shown.compare.message_id, begin) if one}
    opened = {one for one in place.opened if one in shown.tree.nodes}
    return lay_out(shown.tree, current=shown.current.head_message_id, opened=opened, never_collapse=kept)


def draw_picture(shown: Shown, place: Place, tz: ZoneInfo) -> None:
    """The picture; a click on a message chooses it, one on a run opens that and chooses its first."""
    turn, begin, seen = state.get(state.BRANCHES_VIEW) or (0, None, None)
    if seen != shown.node.message_id or begin not in shown.tree.nodes:
        begin = shown.node.message_id if seen != shown.node.message_id else None
    state.put(state.BRANCHES_VIEW, (turn, begin, shown.node.message_id))
    layout = lay_out_shown(shown, place, begin=begin)
    marked = Marked(
        selected=begin,
        matched=frozenset(shown.found),
        starred=frozenset(one for one in shown.tree.nodes if shown.mark(one).starred),
        heads={branch.head_message_id: branch.name for branch in reversed(shown.branches)},
    )
    height = min(max(layout.height + _AROUND, _LOWEST), _HEIGHT)
    option = draw_tree(
        shown.tree,
        layout,
        shown.facts,
        colour_by=place.colour,
        marked=marked,
        focus=begin,
        width=_WIDTH,
        height=height,
        background=st.get_option(f"theme.{st.context.theme.type or 'light'}.backgroundColor") or "transparent",
        tz=tz,
    )
    key = f"{state.BRANCHES_PICK}{turn}"
    st.echarts_chart(
        option,
        height=height,
        key=key,
        on_select=partial(_pick, key, layout, is_choosing=place.is_choosing),
        alt=f"The tree of this conversation: {counted(len(shown.tree.nodes), 'message')}; the list shows the same.",
    )


def _pick(key: str, layout: Layout, *, is_choosing: bool) -> None:
    mark = chosen_mark(state.get(key) or {}, layout)
    if mark is None:
        return
    turn, begin, seen = state.get(state.BRANCHES_VIEW)
    if mark.count > 1:
        open_run(mark.key)
        # A new chart: the old one would take its choice for that of the mark which now has that place.
        state.put(state.BRANCHES_VIEW, (turn + 1, begin, seen))
        if not is_choosing:
            go(node=mark.key)
        return
    state.put(state.BRANCHES_VIEW, (turn, begin, seen if is_choosing else mark.key))
    choose(mark.key, is_choosing=is_choosing)


def _look_at(begin: MessageId | None) -> None:
    """Draw the picture anew: around a message, or (None) all of the tree."""
    turn, _, seen = state.get(state.BRANCHES_VIEW) or (0, None, None)
    state.put(state.BRANCHES_VIEW, (turn + 1, begin, seen))


def draw_list(shown: Shown, place: Place) -> None:
    """The same as lines to read; what branches off stands indented below its fork."""
    layout = lay_out_shown(shown, place)
    rows = rows_of(shown.tree, layout, shown.facts)
    here = next((at for at, row in enumerate(rows) if shown.node.message_id in row.mark.ids), 0)
    most = max(state.get(state.BRANCHES_ROWS) or _ROWS, here + 10)
    with st.container(
        height=_LIST_HEIGHT if len(rows) > _UNSCROLLED else "content", border=True, gap=None, key="branches_rows"
    ):
        for row in rows[:most]:
            _draw_row(shown, place, row)
        if len(rows) > most:
            st.button(
                f"Show more ({len(rows) - most:,} left)",
                key="branches.more",
                type="tertiary",
                on_click=partial(state.put, state.BRANCHES_ROWS, most + _ROWS),
            )


def _draw_row(shown: Shown, place: Place, row: Row) -> None:
    is_run, key = row.mark.count > 1, row.mark.key
    is_here = shown.node.message_id in row.mark.ids
    st.button(
        describe_row(row, heads_in(shown, row), is_found=not set(shown.found).isdisjoint(row.mark.ids)),
        key=f"branches.row.{key}",
        type="secondary" if is_here else "tertiary",
        icon=":material/unfold_more:" if is_run else _ICONS.get(row.status),
        width="stretch",
        wrap=False,
        on_click=partial(open_run, key) if is_run else partial(choose, key, is_choosing=place.is_choosing),
    )


def heads_in(shown: Shown, row: Row) -> list[str]:
    """What people call the branches that end here."""
    return [branch.name for branch in shown.branches if branch.head_message_id in row.mark.ids]


def describe_row(row: Row, heads: Sequence[str] = (), *, is_found: bool = False) -> str:
    """A line of the list: bold on the current path, indented by its forks, with what is worth saying of it."""
    words = plain(shortened(row.label, 70)) or "…"
    words = f"**{words}**" if row.on_path else words
    words = f":orange-background[{words}]" if is_found else words
    rest = [row.status if row.status != "done" else "", plain(row.cost) if "$" in row.cost else ""]
    names = [f":gray-badge[{plain(shortened(name, 30))}]" for name in heads]
    line = "  ·  ".join([words, *(f":small[{part}]" for part in rest if part)])
    return "\u2003" * min(row.indent, 8) + " ".join([line, *names])


def draw(shown: Shown, place: Place, tz: ZoneInfo) -> None:
    """The tree in the way that the address asks for."""
    draw_controls(shown, place)
    if place.view == LIST:
        draw_list(shown, place)
    else:
        draw_picture(shown, place, tz)


def _key(name: str) -> str:
    return f"{state.BRANCHES_WIDGET}{name}"


def _put(name: str, value: str) -> None:
    state.put(_key(name), value)


def _write(name: str, default: str) -> None:
    value = state.get(_key(name)) or ""
    if name == "view":
        go(view=value)
    else:
        go(**{name: None if value == default else value})
