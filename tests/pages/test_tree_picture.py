"""The picture of a conversation's tree: where its marks stand, what they say, and what a click on one means."""

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from streamlit.elements.echarts_chart import EChartsChartSelectionSerde, _serialize_option

from core.history.tree import Node, Tree
from core.ids import MessageId, ThreadId, UserId
from pages.parts.branches.tree_colours import STATUS_COLORS, ColourBy
from pages.parts.branches.tree_layout import DENSE, FEW, ROOMY, Layout, Mark, corners_of, lay_out
from pages.parts.branches.tree_picture import Marked, chosen_mark, draw_tree
from pages.parts.branches.tree_summary import Facts, rows_of, summarise
from pages.parts.ui.chart_parts import COLORS, GRAY

BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
NONE: frozenset[MessageId] = frozenset()


def msg(number: int) -> MessageId:
    return MessageId(f"msg_{number:05d}")


def node(number: int, parent: int | None, depth: int, **changes: Any) -> Node:
    made = Node(
        message_id=msg(number),
        parent_message_id=None if parent is None else msg(parent),
        depth=depth,
        created_at=BEGIN + timedelta(minutes=number),
        thread_id=ThreadId(f"thread_{number}"),
        user_id=UserId("user_ada"),
        kind="continue",
        name="",
        agent_id="assistant",
        model="demo",
        status="done",
        seconds=1.5,
    )
    return replace(made, **changes)


def tree_of(parents: Iterable[int | None], **status: str) -> Tree:
    """The tree in which message n hangs below ``parents[n]``; ``m3="running"`` gives number 3 a status."""
    depths: list[int] = []
    nodes = []
    for number, parent in enumerate(parents):
        depths.append(0 if parent is None else depths[parent] + 1)
        nodes.append(node(number, parent, depths[-1], status=status.get(f"m{number}", "done")))
    return Tree.of(nodes)


def chain(count: int) -> list[int | None]:
    return [None, *range(count - 1)]


def random_parents(seed: int, count: int) -> list[int | None]:
    """Mostly lines, with forks anywhere, and now and then a second root."""
    chance = random.Random(seed)
    often = chance.choice((0.05, 0.3, 0.9))
    parents: list[int | None] = [None]
    for number in range(1, count):
        branches = chance.random() < often
        parents.append(chance.choice([None, *range(number)]) if branches else number - 1)
    return parents


SHAPES: dict[str, Callable[[], list[int | None]]] = {
    "nothing": list,
    "one": lambda: [None],
    "two roots": lambda: [None, None],
    "chain of 10,000": lambda: chain(10_000),
    "star of 500": lambda: [None] + [0] * 500,
    "caterpillar": lambda: [
        None,
        *(number - 1 if number % 2 else max(number - 2, 0) for number in range(1, 3_000)),
    ],
    "comb of long teeth": lambda: (
        chain(50) + [at for tooth in range(50) for at in (tooth, *range(50 + tooth * 20, 69 + tooth * 20))]
    ),
    "5,000 at random": lambda: random_parents(99, 5_000),
    **{f"random {seed}": lambda seed=seed: random_parents(seed, 20 + seed * 7) for seed in range(25)},
}


@cache
def shaped(shape: str) -> Tree:
    return tree_of(SHAPES[shape]())


def laid(tree: Tree, current: int | None = None, opened: Iterable[int] = (), kept: Iterable[int] = ()) -> Layout:
    return lay_out(
        tree,
        current=None if current is None else msg(current),
        opened={msg(one) for one in opened},
        never_collapse={msg(one) for one in kept},
    )


def option_of(
    tree: Tree, layout: Layout, facts: dict[MessageId, Facts] | None = None, **more: Any
) -> dict[str, Any]:
    return draw_tree(tree, layout, facts or {}, **more)


def items(option: dict[str, Any], layout: Layout) -> dict[int, dict[str, Any]]:
    """What is drawn for each mark, by the number of its first message."""
    data = option["series"][0]["data"][: len(layout.marks)]
    return {int(mark.key[-5:]): item for mark, item in zip(layout.marks, data, strict=True)}


def numbers(marks: Iterable[Mark]) -> list[list[int]]:
    return [[int(one[-5:]) for one in mark.ids] for mark in marks]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("is_open", [False, True], ids=["runs", "each message"])
class TestEveryLayout:
    @pytest.fixture
    def tree(self, shape: str) -> Tree:
        return shaped(shape)

    @pytest.fixture
    def current(self, tree: Tree) -> int | None:
        return len(tree.nodes) - 1 if tree.nodes else None

    @pytest.fixture
    def layout(self, tree: Tree, current: int | None, is_open: bool) -> Layout:
        return laid(tree, current, kept=range(len(tree.nodes)) if is_open else ())

    def test_has_each_message_in_exactly_one_mark(self, tree: Tree, layout: Layout):
        assert sorted(one for mark in layout.marks for one in mark.ids) == sorted(tree.nodes)

    def test_links_what_hangs_together_in_the_tree(self, tree: Tree, layout: Layout):
        drawn = {(layout.marks[above].ids[-1], layout.marks[below].key) for above, below in layout.links}
        inside = {pair for mark in layout.marks for pair in zip(mark.ids, mark.ids[1:], strict=False)}
        assert drawn | inside == {
            (node.parent_message_id, node.message_id) for node in tree.nodes.values() if node.parent_message_id
        }

    def test_lets_no_two_marks_or_labels_overlap(self, layout: Layout):
        places = [(mark.x, mark.y) for mark in layout.marks]
        step, pitch = ROOMY if layout.has_room else DENSE
        assert len(set(places)) == len(places)
        assert all(x % step == 0 and y % pitch == 0 for x, y in places)

    def test_stands_in_its_box(self, layout: Layout):
        corner = (max((m.x for m in layout.marks), default=0), max((m.y for m in layout.marks), default=0))
        assert (layout.width, layout.height) == corner
        assert all(mark.x >= 0 and mark.y >= 0 for mark in layout.marks)

    def test_keeps_the_current_path_straight_in_the_first_lane(
        self, tree: Tree, current: int | None, layout: Layout
    ):
        path = [mark for mark in layout.marks if mark.on_path]
        expected = tree.path(msg(current)) if current is not None else []
        assert [one for mark in path for one in mark.ids] == expected
        assert [(mark.x, mark.y) for mark in path] == [(place * layout.step, 0) for place in range(len(path))]

    def test_lets_no_line_cross_a_mark_or_another_line(self, layout: Layout):
        taken = {(mark.x, mark.y) for mark in layout.marks}
        pitch = (ROOMY if layout.has_room else DENSE)[1]
        straight = {
            (layout.marks[a].x, layout.marks[a].y)
            for a, b in layout.links
            if layout.marks[a].y == layout.marks[b].y
        }
        points, segments = corners_of(layout)
        places = [*((mark.x, mark.y) for mark in layout.marks), *points]
        for (left, top), (right, bottom) in ((places[a], places[b]) for a, b in segments):
            if left == right:
                column = left // layout.step * layout.step
                between = range(top + pitch, bottom, pitch)
                assert not any((column, y) in straight for y in between)
            else:
                assert top == bottom
                assert (right, bottom) in taken


class TestRuns:
    def test_a_line_without_a_fork_is_one_mark_between_its_ends(self):
        layout = laid(tree_of(chain(6)), 5)
        assert numbers(layout.marks) == [[0], [1, 2, 3, 4], [5]]
        assert [mark.count for mark in layout.marks] == [1, 4, 1]

    def test_it_ends_at_forks_live_messages_and_what_is_to_be_seen(self):
        tree = tree_of([*chain(12), 3], m6="running")
        assert numbers(laid(tree, 9, kept=[8]).marks) == [
            [0],
            [1, 2],
            [3],
            [4, 5],
            [6],
            [7],
            [8],
            [9],
            [10],
            [11],
            [12],
        ]

    def test_a_run_of_one_is_a_message(self):
        assert numbers(laid(tree_of(chain(3)), 2).marks) == [[0], [1], [2]]

    def test_an_opened_one_shows_its_messages_and_the_others_stay(self):
        tree = tree_of([*chain(10), 4, 10, 11, 12])
        assert numbers(laid(tree, 9, opened=[5]).marks) == [
            [0], [1, 2, 3], [4], [5], [6], [7], [8], [9], [10, 11, 12], [13],
        ]  # fmt: skip

    def test_only_the_first_message_of_a_run_opens_it(self):
        assert numbers(laid(tree_of(chain(6)), 5, opened=[2, 99]).marks) == [[0], [1, 2, 3, 4], [5]]

    def test_one_that_is_opened_keeps_its_place_so_that_a_click_stays_where_it_was(self):
        tree = tree_of([*chain(8), 3])
        closed, opened = laid(tree, 7), laid(tree, 7, opened=[1])
        assert [mark.key for mark in closed.marks].index(msg(1)) == [mark.key for mark in opened.marks].index(
            msg(1)
        )
        assert closed.identity != opened.identity

    def test_the_mark_of_a_message_inside_of_a_run_is_found(self):
        layout = laid(tree_of(chain(6)), 5)
        assert layout.find(msg(3)) == layout.marks[1]
        assert layout.find(msg(77)) is None

    def test_labels_have_room_only_where_marks_are_few(self):
        assert laid(tree_of([None] + [0] * (FEW - 1))).has_room is True
        assert laid(tree_of([None] + [0] * FEW)).has_room is False

    def test_a_current_message_that_is_gone_leaves_the_longest_line_straight(self):
        layout = laid(tree_of([None, 0, 0, 2, 3]), 77)
        assert [mark.on_path for mark in layout.marks] == [False] * 4
        assert {one for mark in layout.marks if mark.y == 0 for one in numbers([mark])[0]} == {0, 2, 3, 4}


class TestClicks:
    @pytest.fixture
    def layout(self) -> Layout:
        return laid(tree_of([None, 0, 0]), 1)

    def clicked(self, kind: str, place: int, name: str | None) -> Any:
        """What Streamlit makes of a click in the browser."""
        group = {
            "series_index": 0,
            "series_id": name,
            "series_name": None,
            "data_type": kind,
            "data_indices": [place],
        }
        return EChartsChartSelectionSerde().deserialize(
            json.dumps({"selection": {"selected": [group], "areas": []}})
        )

    def test_on_a_node_choose_its_mark(self, layout: Layout):
        event = self.clicked("node", 2, layout.identity)
        assert chosen_mark(event, layout) == layout.marks[2]
        assert chosen_mark(event.selection, layout) == layout.marks[2]

    def test_on_a_line_choose_nothing(self, layout: Layout):
        assert chosen_mark(self.clicked("edge", 1, layout.identity), layout) is None

    def test_that_did_not_happen_choose_nothing(self, layout: Layout):
        assert chosen_mark(EChartsChartSelectionSerde().deserialize(None), layout) is None
        assert chosen_mark({}, layout) is None

    def test_in_a_picture_of_another_layout_choose_nothing(self, layout: Layout):
        assert chosen_mark(self.clicked("node", 1, laid(tree_of([None, 0])).identity), layout) is None

    def test_beyond_the_marks_choose_nothing(self, layout: Layout):
        assert chosen_mark(self.clicked("node", 3, layout.identity), layout) is None

    def test_are_about_the_rows_of_the_option(self, layout: Layout):
        series = option_of(tree_of([None, 0, 0]), layout)["series"][0]
        assert series["id"] == layout.identity
        assert [(item["x"], item["y"]) for item in series["data"][:3]] == [
            (mark.x, mark.y) for mark in layout.marks
        ]


COSTS = [(0.0, "ada"), (0.003, "林"), (0.04, "ada"), (None, "ada")]
FACTS = {msg(number): Facts(f"m{number}", *known) for number, known in enumerate(COSTS)}


class TestColours:
    def said(
        self, tree: Tree, by: ColourBy, facts: dict[MessageId, Facts] | None = None
    ) -> dict[int, tuple[str, str]]:
        """The legend's name and the colour of each mark."""
        layout = laid(tree)
        option = option_of(tree, layout, FACTS if facts is None else facts, colour_by=by)
        kinds = option["series"][0]["categories"]
        assert [kind["name"] for kind in kinds] == option["legend"]["data"]
        return {
            number: (kinds[item["category"]]["name"], kinds[item["category"]]["itemStyle"]["color"])
            for number, item in items(option, layout).items()
        }

    def test_of_a_status_are_the_same_in_every_tree(self):
        tree = tree_of([None, 0, 0], m1="failed", m2="running")
        assert self.said(tree, ColourBy.STATUS) == {
            0: ("done", STATUS_COLORS["done"]),
            1: ("failed", STATUS_COLORS["failed"]),
            2: ("running", STATUS_COLORS["running"]),
        }

    def test_of_an_author_stay_with_the_name(self):
        both, alone = tree_of([None, 0, 0, 0]), tree_of([None])
        assert self.said(both, ColourBy.AUTHOR)[0] == self.said(alone, ColourBy.AUTHOR)[0]
        assert self.said(both, ColourBy.AUTHOR)[1][0] == "林"
        assert len({color for _, color in self.said(both, ColourBy.AUTHOR).values()}) == 2

    def test_beyond_the_palette_are_one(self):
        nodes = [node(0, None, 0, agent_id="a0"), *(node(n, 0, 1, agent_id=f"a{n}") for n in range(1, 12))]
        said = self.said(Tree.of(nodes), ColourBy.AGENT)
        assert said[11] == ("5 others", GRAY)
        assert {color for _, color in said.values()} <= {*COLORS, GRAY}

    def test_of_costs_say_dollars_and_never_zero_for_what_is_unpriced(self):
        said = {number: name for number, (name, _) in self.said(tree_of([None, 0, 0, 0]), ColourBy.COST).items()}
        assert said == {0: "free", 1: "up to $0.005", 2: "over $0.005", 3: "unpriced"}

    def test_of_times_say_seconds(self):
        times = [0.4, 3.0, 12.0, 100.0, 900.0, None]
        tree = Tree.of(node(n, None if n == 0 else 0, int(n > 0), seconds=taken) for n, taken in enumerate(times))
        assert [name for name, _ in self.said(tree, ColourBy.TIME).values()] == [
            "up to 5 s", "up to 5 s", "5 s to 20 s", "20 s to 100 s", "over 100 s", "not over",
        ]  # fmt: skip

    def test_go_from_little_to_much_in_order(self):
        facts = {msg(n): Facts("", 0.001 * 3**n) for n in range(9)}
        tree = tree_of([None] + [0] * 8)
        option = option_of(tree, laid(tree), facts, colour_by=ColourBy.COST)
        assert option["legend"]["data"] == [
            "up to $0.005",
            "$0.005 to $0.05",
            "$0.05 to $0.50",
            "$0.50 to $5.00",
            "over $5.00",
        ]

    @pytest.mark.parametrize("by", list(ColourBy))
    def test_of_nothing_are_none(self, by: ColourBy):
        assert self.said(tree_of([]), by) == {}

    @pytest.mark.parametrize("by", list(ColourBy))
    def test_of_messages_of_which_nothing_is_known_are_told_too(self, by: ColourBy):
        assert len(self.said(tree_of([None, 0, 0]), by, {})) == 3


class TestSummaries:
    def test_a_run_has_the_worst_status_and_the_sum_of_costs_and_times(self):
        tree = tree_of(chain(5), m2="lost", m3="stopped")
        facts = {msg(1): Facts("one", 0.25, "ada"), msg(2): Facts("two", 0.5, "ada"), msg(3): Facts("three", 0.0)}
        said = summarise(laid(tree).marks[1], tree, facts)
        assert (said.status, said.cost, said.took) == ("lost", "$0.75", "4.5 s")
        assert said.label == "3 messages: one"

    def test_a_sum_with_something_unpriced_says_so(self):
        tree = tree_of(chain(4))
        assert summarise(laid(tree).marks[1], tree, {msg(1): Facts("", 0.25)}).cost == "at least $0.25"
        assert summarise(laid(tree).marks[1], tree, {}).cost == "unpriced"

    def test_what_costs_nothing_is_free_and_what_is_not_over_took_no_time(self):
        tree = Tree.of([node(0, None, 0, seconds=None)])
        said = summarise(laid(tree).marks[0], tree, {msg(0): Facts("", 0.0)})
        assert (said.cost, said.took) == ("free", "–")


PARENTS = [*chain(6), 2, 6, 7]


class TestLabels:
    def texts(self, tree: Tree, layout: Layout, *, focus: MessageId | None = None, **marked: Any) -> dict[int, str]:
        facts = {one: Facts(f"m{int(one[-5:])}") for one in tree.nodes}
        drawn = items(option_of(tree, layout, facts, marked=Marked(**marked), focus=focus), layout)
        return {number: item["label"]["formatter"] for number, item in drawn.items() if "label" in item}

    def test_name_the_current_path_and_the_beginnings_of_branches_in_a_small_tree(self):
        tree = tree_of(PARENTS)
        assert self.texts(tree, laid(tree, 5, kept=[6])) == {0: "m0", 1: "m1", 2: "m2", 3: "2", 5: "m5", 6: "m6"}

    def test_name_only_what_one_looks_for_in_a_large_tree(self):
        tree = tree_of([None] + [0] * 500)
        marked = {"selected": msg(8), "starred": {msg(9)}, "heads": {msg(10): "draft"}}
        from_afar = {7: "m7", 8: "m8", 9: "★"}
        assert self.texts(tree, laid(tree, 7), **marked) == from_afar
        assert self.texts(tree, laid(tree, 7), focus=msg(7), **marked) == from_afar | {10: "draft"}

    def test_say_branches_names_and_stars_also_of_runs(self):
        tree = tree_of(PARENTS)
        texts = self.texts(tree, laid(tree, 5), heads={msg(5): "main", msg(8): "draft"}, starred={msg(5), msg(7)})
        assert (texts[5], texts[6], texts[8]) == ("★ main", "★2", "draft")

    def test_are_large_enough_to_read(self):
        tree = tree_of(PARENTS)
        option = option_of(tree, laid(tree, 5))
        series = option["series"][0]
        sizes = [item["label"].get("fontSize", 12) for item in series["data"] if "label" in item]
        assert min([series["label"]["fontSize"], *sizes]) >= 11
        assert series["labelLayout"] == {"hideOverlap": True}


class TestPlainText:
    EVIL = "<img src=x onerror=alert(1)>\n{b} {a|x} \"&' " + "long " * 90

    @pytest.fixture
    def item(self) -> dict[str, Any]:
        tree = Tree.of([node(0, None, 0, agent_id="<b>", model="<i>")])
        layout = laid(tree, 0)
        facts = {msg(0): Facts(self.EVIL, None, "<script>")}
        return items(option_of(tree, layout, facts), layout)[0]

    def test_no_markup_of_others_reaches_a_tooltip(self, item: dict[str, Any]):
        tip = item["tooltip"]["formatter"]
        ours = tip.replace("<b>", "").replace("</b>", "").replace("<br>", "")
        assert "<" not in ours
        assert "&lt;img src=x onerror=alert(1)&gt;" in tip
        assert "Agent: &lt;b&gt;" in tip
        assert "By: &lt;script&gt;" in tip

    def test_nothing_is_filled_in_by_a_template(self, item: dict[str, Any]):
        for text in (item["tooltip"]["formatter"], item["label"]["formatter"]):
            assert not [name for name in "abcdefg" if f"{{{name}" in text]

    def test_a_long_one_is_cut_and_stays_on_its_line(self, item: dict[str, Any]):
        assert "\n" not in item["label"]["formatter"]
        assert len(item["label"]["formatter"]) <= 60
        assert len(item["tooltip"]["formatter"]) <= 500

    def test_a_tooltip_says_all_with_units(self):
        tree = tree_of([None])
        layout = laid(tree, 0)
        option = option_of(tree, layout, {msg(0): Facts("Why?", 0.0123, "ada")}, tz=ZoneInfo("Asia/Shanghai"))
        assert items(option, layout)[0]["tooltip"]["formatter"].split("<br>") == [
            "<b>Why?</b>",
            "Status: done",
            "Agent: assistant",
            "Model: demo",
            "Took: 1.5 s",
            "Cost: $0.0123",
            "By: ada",
            "At: Mon 02 Mar 2026, 17:00",
        ]


class TestPicture:
    def test_the_current_path_is_thicker_and_brighter_than_the_rest(self):
        tree = tree_of([*chain(4), 1, 4])
        layout = laid(tree, 3)
        series = option_of(tree, layout)["series"][0]
        on_path = [link for link in series["links"] if "lineStyle" in link]
        assert [(link["source"], link["target"]) for link in on_path] == [(0, 1), (1, 2), (2, 3)]
        assert all(link["lineStyle"]["width"] > series["lineStyle"]["width"] for link in on_path)
        assert all(link["lineStyle"]["opacity"] > series["lineStyle"]["opacity"] for link in on_path)
        assert items({"series": [series]}, layout)[2]["itemStyle"]["opacity"] > series["itemStyle"]["opacity"]

    def test_what_runs_was_found_or_is_selected_stands_out(self):
        tree = tree_of([None, 0, 0, 0, 0], m1="running", m2="queued")
        layout = laid(tree, 4)
        drawn = items(option_of(tree, layout, marked=Marked(selected=msg(3), matched={msg(3)})), layout)
        assert drawn[1]["symbol"] != drawn[2]["symbol"]
        assert all(drawn[live]["symbol"].startswith("path://") for live in (1, 2))
        assert drawn[3]["itemStyle"]["shadowBlur"] > 0
        assert [number for number, item in drawn.items() if item.get("selected")] == [3]
        assert "symbol" not in drawn[4]

    def test_a_run_with_a_find_inside_is_lit(self):
        tree = tree_of(chain(5))
        layout = laid(tree, 4)
        assert (
            "shadowBlur" in items(option_of(tree, layout, marked=Marked(matched={msg(2)})), layout)[1]["itemStyle"]
        )

    def test_the_same_tree_gives_the_same_option_and_streamlit_can_send_it(self):
        parents = random_parents(5, 300)
        first, again = (option_of(tree_of(parents), laid(tree_of(parents), 299)) for _ in range(2))
        assert _serialize_option(first) == _serialize_option(again)

    def test_marks_are_lean_in_a_large_tree(self):
        tree = tree_of(random_parents(5, 5_000))
        layout = laid(tree, kept=range(5_000))
        data = option_of(tree, layout)["series"][0]["data"]
        assert {key for item in data[:5_000] for key in item} == {"x", "y", "category", "tooltip"}

    def test_nothing_is_drawn_of_nothing(self):
        series = option_of(tree_of([]), laid(tree_of([])))["series"][0]
        assert (series["data"], series["links"]) == ([], [])


SIZE = {"width": 900, "height": 560}


class TestView:
    def seen(self, layout: Layout, option: dict[str, Any]) -> Callable[[Mark], tuple[float, float]]:
        """Where a mark stands in the chart, in pixels from its top left, as ECharts places it."""
        series = option["series"][0]
        scale = series["zoom"] * SIZE["height"] / (layout.height or 2)
        across, down = series["center"]
        return lambda mark: (450 + (mark.x - across) * scale, 280 + (mark.y - down) * scale)

    def is_in_sight(self, place: tuple[float, float]) -> bool:
        return 0 < place[0] < SIZE["width"] and 0 < place[1] < SIZE["height"]

    @pytest.mark.parametrize("shape", SHAPES)
    def test_the_focus_is_in_sight(self, shape: str):
        tree = shaped(shape)
        layout = laid(tree, len(tree.nodes) - 1)
        for number in range(len(tree.nodes))[:: max(len(tree.nodes) // 2, 1)]:
            where = self.seen(layout, option_of(tree, layout, focus=msg(number), **SIZE))
            mark = layout.find(msg(number))
            assert mark is not None
            assert self.is_in_sight(where(mark))

    @pytest.mark.parametrize("shape", SHAPES)
    def test_without_a_focus_all_is_in_sight(self, shape: str):
        tree = shaped(shape)
        layout = laid(tree, 0)
        option = option_of(tree, layout, **SIZE)
        where = self.seen(layout, option)
        assert [mark for mark in layout.marks if not self.is_in_sight(where(mark))] == []
        assert option["thumbnail"]["show"] is False

    def test_a_small_tree_is_seen_whole_wherever_one_looks(self):
        tree = tree_of([*chain(5), 1, 5, 2])
        layout = laid(tree, 4)
        where = self.seen(layout, option_of(tree, layout, focus=msg(4), **SIZE))
        assert all(self.is_in_sight(where(mark)) for mark in layout.marks)

    @pytest.mark.parametrize("count", [4, 300])
    def test_a_mark_has_its_size_where_it_can_be_read(self, count: int):
        tree = tree_of([None] + [0] * count)
        layout = laid(tree, 1)
        series = option_of(tree, layout, focus=msg(1), **SIZE)["series"][0]
        drawn = series["symbolSize"] * ((series["zoom"] - 1) * series["nodeScaleRatio"] + 1)
        scale = series["zoom"] * SIZE["height"] / layout.height
        assert scale == pytest.approx(1.0)
        assert drawn == pytest.approx(13)

    def test_a_mark_is_still_a_dot_when_all_of_a_large_tree_is_seen(self):
        tree = tree_of([None] + [0] * 5_000)
        series = option_of(tree, laid(tree, 1), **SIZE)["series"][0]
        drawn = series["symbolSize"] * ((series["zoom"] - 1) * series["nodeScaleRatio"] + 1)
        assert 2 <= drawn <= 4

    def test_a_tree_larger_than_the_chart_has_a_thumbnail(self):
        tree = tree_of([None] + [0] * 500)
        assert option_of(tree, laid(tree, 1), focus=msg(1), **SIZE)["thumbnail"]["show"] is True


class TestRows:
    def test_stand_below_their_fork_and_the_line_goes_on_at_its_own_indent(self):
        #     0 - 1 - 2 - 3      the current path
        #         |- 4 - 5
        #         |      `- 7
        #         `- 6
        tree = tree_of([None, 0, 1, 2, 1, 4, 1, 4])
        rows = rows_of(tree, laid(tree, 3), {})
        assert [(numbers([row.mark])[0][0], row.indent, row.on_path) for row in rows] == [
            (0, 0, True), (1, 0, True), (4, 1, False), (7, 2, False), (5, 1, False), (6, 1, False),
            (2, 0, True), (3, 0, True),
        ]  # fmt: skip

    def test_say_what_the_picture_says(self):
        tree = tree_of(chain(4), m2="failed")
        facts = {msg(1): Facts("Why?", 0.5, "ada"), msg(2): Facts("How?", 0.25, "林")}
        row = rows_of(tree, laid(tree, 3), facts)[1]
        assert (row.label, row.status, row.agent, row.cost) == ("2 messages: Why?", "failed", "assistant", "$0.75")
        assert (row.seconds, row.author) == (3.0, "ada, 林")

    @pytest.mark.parametrize("shape", SHAPES)
    def test_have_each_mark_once_and_hardly_any_indent(self, shape: str):
        tree = shaped(shape)
        layout = laid(tree, 0)
        rows = rows_of(tree, layout, {})
        assert sorted(row.mark.key for row in rows) == sorted(mark.key for mark in layout.marks)
        assert max((row.indent for row in rows), default=0) <= len(tree.nodes).bit_length()
