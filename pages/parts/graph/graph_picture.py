"""A graph as a picture: its nodes from the first to the last, its edges, and which nodes work or have worked.

Invariant: the picture of a graph is made once and only its colours change; a graph that is too large, or cannot say
what it looks like, costs one sentence. Names are other people's text: neither markup nor a template here.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape
from math import copysign
from typing import Any

import streamlit as st
from langgraph.pregel import Pregel

from pages.parts.branches.tree_picture import LIT, PATH
from pages.parts.graph.graph_layout import BOX, Laid, Point, lay_out
from pages.parts.ui.chart_parts import GRAY
from pages.parts.ui.text import plain, shortened

Graph = Pregel[Any, Any, Any, Any]
MOST_NODES, _MOST_EDGES = 60, 300
_START, _END = "__start__", "__end__"
_WIDE, _HIGH, _DOT, _ASIDE = 138, 32, 14, 14
# Below this many pixels the boxes are narrow: as far as it takes for those in a row to fit beside each other.
_SMALL, _SMALLEST = 470, 280
_MARGIN, _ABOVE = 76, 26
_LONGEST_NAME, _PAD = 60, 6


@dataclass(frozen=True)
class Box:
    """A node: ``path`` is its name behind those of the graphs that it is in, ``outer:inner``."""

    path: str
    about: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return _name(self.path)

    @property
    def outer(self) -> str:
        """The graph that it is in, if that is not the whole one."""
        return self.path.rpartition(":")[0]

    @property
    def is_end(self) -> bool:
        """Whether it is no node but where a graph begins or ends."""
        return self.path.rsplit(":", 1)[-1] in {_START, _END}


@dataclass(frozen=True)
class Picture:
    """What a graph looks like; ``note`` says what of it is not shown."""

    boxes: tuple[Box, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    dashed: tuple[bool, ...] = ()
    laid: Laid = field(default_factory=lambda: lay_out(0, []))
    note: str = ""


def draw_graph(graph: Graph, *, working: Set[str], done: Set[str], key: str | None) -> None:
    """Draw the graph with the nodes that work lit and those that have worked marked, both given as their paths.

    What is drawn several times in one run of a page cannot have a key.
    """
    picture = picture_of(graph)
    if picture.note:
        st.caption(plain(picture.note))
    if picture.boxes:
        st.echarts_chart(
            make_option(picture, working=working, done=done, is_dark=st.context.theme.type == "dark"),
            width=int(_span(picture)) + 2 * _MARGIN,
            height=int(picture.laid.height) + 2 * _ABOVE,
            key=key,
            alt=describe(picture, working=working, done=done),
        )


@lru_cache(maxsize=64)
def picture_of(graph: Graph) -> Picture:
    """What the graph looks like, one level into the graphs inside of it where that is not too much."""
    outer = len(graph.nodes)
    if outer > MOST_NODES:
        return Picture(note=f"This graph has {outer:,} nodes; up to {MOST_NODES} fit into a picture.")
    try:
        inside = sum(len(inner.nodes) for _, inner in graph.get_subgraphs() if isinstance(inner, Pregel))
        is_flat = outer + inside > MOST_NODES
        drawable = graph.get_graph(xray=False if is_flat else 1)
    except Exception as error:  # noqa: BLE001 - a team's graph may raise anything
        return Picture(note=f"This graph does not say what it looks like ({type(error).__name__}).")
    note = f"With the graphs inside of it, it has {outer + inside:,} nodes; these are its own." if is_flat else ""
    return _read(drawable, note)


def _read(drawable: Any, note: str) -> Picture:
    nodes = sorted(drawable.nodes.values(), key=lambda node: node.id != _START)
    at = {node.id: place for place, node in enumerate(nodes)}
    edges = {(at[edge.source], at[edge.target]): edge for edge in drawable.edges}
    if len(edges) > _MOST_EDGES:
        note = f"{note} It has {len(edges):,} edges, of which {_MOST_EDGES} are drawn.".strip()
    shown = sorted(edges)[:_MOST_EDGES]
    return Picture(
        tuple(Box(node.id, _about(node, drawable.edges)) for node in nodes),
        tuple(shown),
        tuple(bool(edges[edge].conditional) for edge in shown),
        lay_out(len(nodes), shown, last=at.get(_END)),
        note,
    )


def _about(node: Any, edges: Iterable[Any]) -> tuple[str, ...]:
    """What else is worth saying of a node: its tools, its pauses, and what may come next."""
    metadata = node.metadata or {}
    tools, pauses, said = metadata.get("__tools"), metadata.get("__interrupt"), []
    if isinstance(tools, Sequence) and not isinstance(tools, str):
        said.append(f"Tools: {', '.join(map(str, tools))}")
    if pauses:
        said.append(f"Waits for a person {pauses.replace(',', ' and ')} it")
    ways = [(_name(edge.target), edge.data) for edge in edges if edge.source == node.id and edge.conditional]
    if ways:
        said.append(f"One of: {', '.join(f'{name} ({data})' if data else name for name, data in ways)}")
    return tuple(said)


def _name(path: str) -> str:
    name = path.rsplit(":", 1)[-1]
    return {_START: "start", _END: "end"}.get(name, name)


def match(picture: Picture, paths: Iterable[str]) -> set[str]:
    """The boxes that these nodes are in: their own, or that of the innermost graph around them that is drawn."""
    drawn = {box.path for box in picture.boxes}
    found = set()
    for path in paths:
        parts = path.split(":")
        inner = (":".join(parts[:length]) for length in range(len(parts), 0, -1))
        found |= {next((one for one in inner if one in drawn), "")}
    return found - {""}


def describe(picture: Picture, *, working: Set[str], done: Set[str]) -> str:
    """The picture in words, for who does not see it."""
    at_work, over = match(picture, working), match(picture, done)
    names = [box.name for box in picture.boxes if not box.is_end]
    said = f"The graph's nodes: {', '.join(names)}."
    if at_work:
        said += f" At work: {', '.join(sorted(at_work))}."
    return f"{said} Have run: {', '.join(sorted(over))}." if over else said


def make_option(picture: Picture, *, working: Set[str], done: Set[str], is_dark: bool) -> dict[str, Any]:
    """The chart's option; boxes keep their size and move together on a narrow screen."""
    at_work, over = match(picture, working), match(picture, done)
    span = _span(picture)
    left = (picture.laid.width - span) / 2
    narrow = min(84, max(56, int(BOX * _SMALLEST / (span + BOX))))
    boxes = [
        _box(box, place, is_working=box.path in at_work, is_done=box.path in over, is_dark=is_dark)
        for box, place in zip(picture.boxes, picture.laid.places, strict=True)
    ]
    points, links = _lines(picture)
    return {
        "animation": False,
        "tooltip": {"confine": True, "extraCssText": "max-width:20rem;white-space:normal;overflow-wrap:anywhere"},
        "grid": {"left": _MARGIN, "right": _MARGIN, "top": _ABOVE, "bottom": _ABOVE},
        "xAxis": {"type": "value", "show": False, "min": left, "max": left + span},
        "yAxis": {"type": "value", "show": False, "min": 0, "max": picture.laid.height or 1, "inverse": True},
        "series": [
            {
                "type": "graph",
                "coordinateSystem": "cartesian2d",
                "symbol": "rect",
                "symbolSize": [_WIDE, _HIGH],
                "label": _label(12, _WIDE),
                "lineStyle": {"color": GRAY, "width": 1.4, "opacity": 0.9},
                "tooltip": {"trigger": "none"},
                "emphasis": {"disabled": True},
                "data": [*boxes, *points],
                "links": links,
            }
        ],
        "media": [
            {
                "query": {"maxWidth": _SMALL},
                "option": {
                    "grid": {"left": narrow // 2 + 4, "right": narrow // 2 + 4},
                    "series": [{"symbolSize": [narrow, _HIGH], "label": _label(10, narrow)}],
                },
            }
        ],
    }


def _span(picture: Picture) -> float:
    """As wide as the picture is, and never so narrow that it looks as on a small screen."""
    return max(picture.laid.width, _SMALL - 2 * _MARGIN + 10)


def _label(size: int, width: int) -> dict[str, Any]:
    return {"show": True, "fontSize": size, "width": width - 2 * _PAD, "overflow": "truncate"}


# A box is its label's own background: a symbol that is not square has no even border.
_BOX = {
    "lineHeight": 13,
    "height": _HIGH - 2,
    "padding": [1, _PAD],
    "borderRadius": 8,
    "borderWidth": 1.5,
    "align": "center",
    "verticalAlign": "middle",
}


def _box(box: Box, place: Point, *, is_working: bool, is_done: bool, is_dark: bool) -> dict[str, Any]:
    tip = "<br>".join(escape(_plain(line, 300)) for line in (box.path.replace(":", " › "), *box.about))
    node: dict[str, Any] = {"value": list(place), "tooltip": {"trigger": "item", "formatter": tip}}
    outer = _plain(box.outer.replace(":", " › "), _LONGEST_NAME)
    if box.is_end:
        words = f"{outer}: {box.name}" if outer else box.name
        beside = {
            "position": "right",
            "formatter": words,
            "color": GRAY,
            "fontSize": 11,
            "width": None,
            "padding": 2,
        }
        return node | {"symbol": "circle", "symbolSize": _DOT, "itemStyle": {"color": GRAY}, "label": beside}
    fill, line, ink = _colours(is_working=is_working, is_done=is_done, is_dark=is_dark)
    sign = "✓ " if is_done else ""
    if is_working:
        sign = "▶ "
    label: dict[str, Any] = _BOX | {
        "formatter": sign + _plain(box.name, _LONGEST_NAME) + (f"\n{outer}" if outer else ""),
        "color": ink,
        "backgroundColor": fill,
        "borderColor": line,
    }
    if is_working:
        label |= {"fontWeight": "bold", "shadowColor": LIT, "shadowBlur": 12}
    return node | {"itemStyle": {"color": "transparent"}, "label": label}


def _colours(*, is_working: bool, is_done: bool, is_dark: bool) -> tuple[str, str, str]:
    """What fills a box, what is around it, and what is written in it."""
    if is_working:
        return LIT, "#c07f00", "#101917"
    if is_done:
        return ("#12433e", PATH, "#e3f6f3") if is_dark else ("#d5f1ed", PATH, "#0c3a35")
    return ("#252d2b", GRAY, "#dfe6e4") if is_dark else ("#f4f7f6", GRAY, "#26302d")


def _lines(picture: Picture) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The edges as segments between points without a symbol; the last segment of each has its arrow."""
    points: list[dict[str, Any]] = []
    links: list[dict[str, Any]] = []
    both = set(picture.edges)
    for place, (start, end) in enumerate(picture.edges):
        way = _way(picture, place, is_doubled=(end, start) in both and start != end)
        style = {"lineStyle": {"type": "dashed"}} if picture.dashed[place] else {}
        first = len(picture.boxes) + len(points)
        points += [
            {"value": list(point), "symbol": "none", "symbolSize": 0, "label": {"show": False}} for point in way
        ]
        links += [{"source": first + at, "target": first + at + 1, **style} for at in range(len(way) - 1)]
        links[-1] |= {"symbol": ["none", "arrow"], "symbolSize": 8}
    return points, links


def _way(picture: Picture, place: int, *, is_doubled: bool) -> list[Point]:
    """An edge from the border of one box to that of the other; two that go to and fro stand apart."""
    start, end = picture.edges[place]
    (from_x, from_y), (to_x, to_y) = picture.laid.places[start], picture.laid.places[end]
    if start == end:
        return [
            (from_x + 20, from_y + _HIGH / 2),
            (from_x + 20, from_y + _HIGH / 2 + 12),
            (from_x - 20, from_y + _HIGH / 2 + 12),
            (from_x - 20, from_y + _HIGH / 2),
        ]
    down = 1 if to_y > from_y else -1
    route = picture.laid.routes[place]
    asides = [down * _ASIDE] * 2 if is_doubled else [0, 0]
    if is_doubled and route:
        asides = [copysign(_ASIDE, route[0][0] - from_x), copysign(_ASIDE, route[-1][0] - to_x)]
    begin = (from_x + asides[0], from_y + down * _half(picture.boxes[start]))
    return [begin, *route, (to_x + asides[1], to_y - down * _half(picture.boxes[end]))]


def _half(box: Box) -> float:
    return (_DOT if box.is_end else _HIGH) / 2


def _plain(text: str, most: int) -> str:
    """One line of at most so many characters, in which ECharts finds nothing to fill in."""
    return shortened(" ".join(text[: 2 * most].split()), most).replace("{", "{\u2060")
