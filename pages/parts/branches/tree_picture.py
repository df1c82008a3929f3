"""A conversation's tree as a picture: a layout in, the option of an ECharts chart out.

Invariant: pure functions, and the same option for the same tree: Streamlit draws anew, and forgets how far somebody
panned, only when the option differs. So the chart itself rings what is clicked. All text is plain: what people or
models wrote is neither markup nor a template here.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from html import escape
from typing import Any
from zoneinfo import ZoneInfo

from core.history.tree import Tree
from core.ids import MessageId
from pages.parts.branches.tree_colours import ColourBy, colour
from pages.parts.branches.tree_layout import Layout, Mark, corners_of
from pages.parts.branches.tree_summary import Facts, Summary, summarise
from pages.parts.ui.chart_parts import GRAY

# Seen on white and on black.
LIT, PATH = "#ffb000", "#14a394"
_DARK, _LIGHT = "#101917", "#ffffff"
# A dot in a ring: with a gap while it runs, in pieces while it is queued.
_DOT = "M12 7a5 5 0 1 1 0 10a5 5 0 1 1 0-10Z"
_RINGS = {
    "running": "path://" + _DOT + "M12 0A12 12 0 1 1 0 12L3.6 12A8.4 8.4 0 1 0 12 3.6Z",
    "queued": "path://" + _DOT + "M12 0A12 12 0 0 1 22.4 6L19.3 7.8A8.4 8.4 0 0 0 12 3.6Z"
    "M22.4 18A12 12 0 0 1 12 24L12 20.4A8.4 8.4 0 0 0 19.3 16.2Z"
    "M1.6 18A12 12 0 0 1 1.6 6L4.7 7.8A8.4 8.4 0 0 0 4.7 16.2Z",
}
# Pixels at 100 %: marks on the current path, off it, and at its head; a run's mark; the room around them all.
_ON, _OFF, _HEAD, _RUN = 17, 13, 22, (36, 19)
_LEFT, _RIGHT, _ABOVE, _BELOW = 40, 130, 48, 56
# How small a view may be for labels, and for counts in runs; marks never shrink below so many pixels.
_READABLE, _COUNTED, _SMALLEST = 0.85, 0.5, 3.0
_LABEL_WIDTH, _LONGEST_LABEL, _LONGEST_TIP = 134, 48, 140
_LEGEND = {
    "selectedMode": False,
    "icon": "circle",
    "bottom": 6,
    "left": 8,
    "itemWidth": 12,
    "itemHeight": 12,
    "itemGap": 18,
    "padding": [6, 10],
    "type": "scroll",
}
# Where one is, in a tree larger than the chart.
_THUMBNAIL = {"right": 8, "bottom": 8, "width": 200, "height": 110}
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class Marked:
    """Messages that stand out: ``heads`` are named branches' heads with the names, ``matched`` a search's finds."""

    selected: MessageId | None = None
    matched: Set[MessageId] = frozenset()
    starred: Set[MessageId] = frozenset()
    heads: Mapping[MessageId, str] = field(default_factory=dict)


NONE_MARKED = Marked()


@dataclass(frozen=True, slots=True)
class _View:
    """Where the chart opens, and what a pixel at 100 % is in its numbers."""

    center: tuple[float, float]
    scale: float
    shows_all: bool
    zoom: float
    nearest: float
    farthest: float
    pixel: float
    ratio: float


def draw_tree(
    tree: Tree,
    layout: Layout,
    facts: Mapping[MessageId, Facts],
    *,
    colour_by: ColourBy = ColourBy.STATUS,
    marked: Marked = NONE_MARKED,
    focus: MessageId | None = None,
    width: int = 900,
    height: int = 560,
    background: str = "transparent",
    tz: ZoneInfo = _UTC,
) -> dict[str, Any]:
    """The chart's option, for a chart of this size in pixels; it opens at ``focus``, or (None) shows all.

    ``marked.selected`` is what is chosen when the chart is first drawn; leave it as it is when another is clicked.
    ``background`` is the page's, for what stands before the tree.
    """
    said = [summarise(mark, tree, facts) for mark in layout.marks]
    colours = colour(said, colour_by)
    view = _view(layout, layout.find(focus), width, height)
    texts = _texts(layout, said, marked, counted=view.scale > _COUNTED)
    inks = [_ink(color) for color in colours.colors]
    nodes = [
        _node(mark, about, marked, view)
        | ({"label": _label(mark, text, marked, inks[place])} if text else {})
        | {"category": place, "tooltip": {"trigger": "item", "formatter": _tip(mark, about, tree, tz)}}
        for mark, about, place, text in zip(layout.marks, said, colours.places, texts, strict=True)
    ]
    if (head := layout.head) is not None and layout.marks[head].count == 1:
        nodes[head]["symbolSize"] = _HEAD * view.pixel
    points, links = _lines(layout)
    categories = [
        {"name": name, "itemStyle": {"color": color}}
        for name, color in zip(colours.names, colours.colors, strict=True)
    ]
    return {
        "animation": False,
        "tooltip": {"confine": True, "extraCssText": "max-width:24rem;white-space:normal;overflow-wrap:anywhere"},
        "legend": _LEGEND | {"data": colours.names, "backgroundColor": background},
        "thumbnail": _THUMBNAIL
        | {"show": not view.shows_all, "itemStyle": {"color": background, "borderColor": GRAY, "borderWidth": 1}},
        "series": [
            _series(layout, view)
            | {"height": height, "data": [*nodes, *points], "links": links, "categories": categories}
        ],
    }


def chosen_mark(event: Mapping[str, Any], layout: Layout) -> Mark | None:
    """The mark that was clicked, by the state of this layout's chart; None for a line, and for another layout's."""
    for group in event.get("selection", event).get("selected", []):
        if group["data_type"] == "node" and group["series_id"] == layout.identity:
            return next((layout.marks[at] for at in group["data_indices"] if at < len(layout.marks)), None)
    return None


def _series(layout: Layout, view: _View) -> dict[str, Any]:
    return {
        "id": layout.identity,
        "type": "graph",
        "layout": "none",
        "left": "center",
        "top": "center",
        "roam": True,
        "roamTrigger": "global",
        "center": view.center,
        "zoom": view.zoom,
        "scaleLimit": {"min": view.farthest, "max": view.nearest},
        "nodeScaleRatio": view.ratio,
        "selectedMode": "single",
        "symbolSize": _OFF * view.pixel,
        "itemStyle": {"opacity": 0.8},
        "lineStyle": {"color": GRAY, "width": 1.5, "opacity": 0.55},
        # A line has no tooltip; each mark brings its own.
        "tooltip": {"trigger": "none"},
        "label": {
            "position": "top",
            "align": "left",
            "offset": [-6, 0],
            "distance": 3,
            "fontSize": 12,
            "width": _LABEL_WIDTH,
            "overflow": "truncate",
        },
        "labelLayout": {"hideOverlap": True},
        "emphasis": {"scale": 1.15},
        "select": {"itemStyle": {"borderWidth": 4, "opacity": 1}},
    }


def _node(mark: Mark, said: Summary, marked: Marked, view: _View) -> dict[str, Any]:
    node: dict[str, Any] = {"x": mark.x, "y": mark.y}
    if mark.count > 1:
        node |= {"symbol": "roundRect", "symbolSize": [side * view.pixel for side in _RUN]}
    elif said.status in _RINGS:
        node |= {"symbol": _RINGS[said.status], "symbolSize": _HEAD * view.pixel}
    elif mark.on_path:
        node["symbolSize"] = _ON * view.pixel
    if style := _style(mark, marked):
        node["itemStyle"] = style
    if marked.selected in mark.ids:
        node["selected"] = True
    return node


def _style(mark: Mark, marked: Marked) -> dict[str, Any]:
    style: dict[str, Any] = {"opacity": 1} if mark.on_path else {}
    if not marked.matched.isdisjoint(mark.ids):
        style |= {"borderColor": LIT, "borderWidth": 4, "shadowColor": LIT, "shadowBlur": 18, "opacity": 1}
    return style


def _label(mark: Mark, text: str, marked: Marked, ink: str) -> dict[str, Any]:
    label: dict[str, Any] = {"show": True, "formatter": text}
    if mark.count > 1:
        inside = {"position": "inside", "align": "center", "offset": [0, 0], "fontSize": 11}
        return label | inside | {"color": ink, "opacity": 1}
    if mark.key in marked.heads:
        label["fontWeight"] = "bold"
    return label


def _ink(color: str) -> str:
    """What can be read on this colour."""
    red, green, blue = (int(color[at : at + 2], 16) for at in (1, 3, 5))
    return _DARK if 0.3 * red + 0.59 * green + 0.11 * blue > 105 else _LIGHT


def _texts(layout: Layout, said: Sequence[Summary], marked: Marked, *, counted: bool) -> list[str]:
    """Each mark's label, or nothing: where there is no room for all, only what one looks for has one."""
    beside, head = Counter(mark.parent for mark in layout.marks), layout.head
    return [
        _text(mark, about, marked, counted=counted, named=place == head or _has_room(layout, mark, beside))
        for place, (mark, about) in enumerate(zip(layout.marks, said, strict=True))
    ]


def _has_room(layout: Layout, mark: Mark, beside: Mapping[MessageId | None, int]) -> bool:
    return layout.has_room and (mark.on_path or beside[mark.parent] > 1)


def _text(mark: Mark, said: Summary, marked: Marked, *, counted: bool, named: bool) -> str:
    star = "" if marked.starred.isdisjoint(mark.ids) else "★"
    if mark.count > 1:
        return f"{star}{mark.count:,}" if counted else star
    # Of a tree that is seen from afar only the current path and what is chosen are named.
    name = marked.heads.get(mark.key, "") if counted or mark.on_path or mark.key == marked.selected else ""
    if not name and (named or mark.key == marked.selected):
        name = said.label
    return f"{star} {_plain(name, _LONGEST_LABEL)}".strip()


def _tip(mark: Mark, said: Summary, tree: Tree, tz: ZoneInfo) -> str:
    begun = tree.nodes[mark.key].created_at.astimezone(tz)
    lines = {
        "Status": said.status,
        "Agent": ", ".join(said.agents),
        "Model": ", ".join(said.models),
        "Took": said.took,
        "Cost": said.cost,
        "By": ", ".join(said.authors),
        "At": f"{begun:%a %d %b %Y, %H:%M}",
    }
    rest = "<br>".join(f"{name}: {_html(value)}" for name, value in lines.items() if value)
    return f"<b>{_html(said.label)}</b><br>{rest}"


def _html(text: str) -> str:
    return escape(_plain(text, _LONGEST_TIP))


def _plain(text: str, most: int) -> str:
    """One line of at most so many characters, in which ECharts finds nothing to fill in."""
    line = " ".join(text[: 2 * most].split())
    line = line if len(line) <= most else line[: most - 1] + "…"
    return line.replace("{", "{\u2060") if "{" in line else line


def _lines(layout: Layout) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The corners of bent lines as marks without a symbol, and all segments, those of the current path on top."""
    points, segments = corners_of(layout)
    links: list[dict[str, Any]] = [{"source": start, "target": end} for start, end in segments]
    straight = [(start, end) for start, end in layout.links if layout.marks[start].y == layout.marks[end].y]
    for start, end in sorted(straight, key=lambda link: layout.marks[link[1]].on_path):
        link: dict[str, Any] = {"source": start, "target": end}
        if layout.marks[end].on_path:
            link["lineStyle"] = {"width": 4, "opacity": 1, "color": PATH}
        links.append(link)
    return [{"x": x, "y": y, "symbol": "none"} for x, y in points], links


def _view(layout: Layout, focus: Mark | None, width: int, height: int) -> _View:
    """All of the tree where that is legible or asked for, else the part around a mark at 100 %.

    ECharts fits the marks' box to the chart's height at zoom 1, and lets marks grow with the zoom by one line.
    """
    unit = (layout.height or 2) / height
    room = (width - _LEFT - _RIGHT, height - _ABOVE - _BELOW)
    fits = min(1.0, room[0] / (layout.width or 1), room[1] / (layout.height or 1))
    scale = fits if focus is None or fits >= _READABLE else 1.0
    seen = (width / scale, height / scale)
    at = (focus.x - 0.15 * width, focus.y) if focus else (layout.width / 2, layout.height / 2)
    center = (
        _centre(at[0], layout.width, seen[0], _LEFT / scale, _RIGHT / scale),
        _centre(at[1], layout.height, seen[1], _ABOVE / scale, _BELOW / scale),
    )
    grows = (_ON - max(_ON * fits, _SMALLEST)) / (_ON * (1 - fits)) if fits < 1 else 1.0
    # A mark of p pixels at 100 % has p * (1 - grows) + p * grows * scale of them.
    pixel = 1 - grows + grows / unit
    return _View(
        center, scale, scale <= fits, scale * unit, 4 * unit, 0.5 * fits * unit, pixel, grows / unit / pixel
    )


def _centre(at: float, size: float, seen: float, before: float, after: float) -> float:
    """What to put in the middle so that ``at`` is seen, and as little emptiness as can be."""
    low, high = seen / 2 - before, size + after - seen / 2
    return (low + high) / 2 if low >= high else min(max(at, low), high)
