"""A graph as a picture: where its nodes stand, what is lit, and graphs that are too much for one."""

import json
import operator
import random
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import ToolNode

from core.runs.events import Event
from pages.parts.graph.graph_layout import BOX, ROW, Edge, lay_out
from pages.parts.graph.graph_lit import Lit
from pages.parts.graph.graph_picture import MOST_NODES, Graph, Picture, describe, make_option, match, picture_of


class Letters(TypedDict):
    said: Annotated[list[str], operator.add]


def nothing(_state: Letters) -> dict[str, Any]:
    return {"said": []}


def looping() -> Graph:
    graph = StateGraph(Letters)
    graph.add_node("agent", nothing)
    graph.add_node("tools", nothing)
    graph.add_edge(START, "agent")
    graph.add_conditional_edges("agent", lambda _: END, {"go on": "tools", "{b}": END})
    graph.add_edge("tools", "agent")
    return graph.compile()


def nested(inner: Graph) -> Graph:
    graph = StateGraph(Letters)
    graph.add_node("before", nothing)
    graph.add_node("inside", inner)
    graph.add_edge(START, "before")
    graph.add_edge("before", "inside")
    return graph.compile()


def chain(length: int) -> Graph:
    graph = StateGraph(Letters)
    graph.add_sequence([(f"n{number}", nothing) for number in range(length)])
    graph.add_edge(START, "n0")
    return graph.compile()


def dense(count: int) -> Graph:
    graph = StateGraph(Letters)
    names = [f"n{number}" for number in range(count)]
    for name in names:
        graph.add_node(name, nothing)
        graph.add_conditional_edges(name, lambda _: END, names)
    graph.add_edge(START, "n0")
    return graph.compile()


def random_edges(count: int, seed: int) -> list[Edge]:
    dice = random.Random(seed)
    return sorted({(dice.randrange(count), dice.randrange(count)) for _ in range(2 * count)})


def option(
    picture: Picture, *, working: set[str] = frozenset(), done: set[str] = frozenset(), is_dark: bool = False
):
    return make_option(picture, working=working, done=done, is_dark=is_dark)


def boxes(picture: Picture, **lit: Any) -> dict[str, dict[str, Any]]:
    data = option(picture, **lit)["series"][0]["data"]
    return {box.path: data[place] for place, box in enumerate(picture.boxes)}


class TestWhereNodesStand:
    def test_a_chain_stands_in_one_column(self):
        laid = lay_out(3, [(0, 1), (1, 2)], last=2)
        assert laid.places == [(0, 0), (0, ROW), (0, 2 * ROW)]
        assert (laid.routes, laid.width, laid.height) == ([[], []], 0, 2 * ROW)

    def test_a_loop_leads_back_upwards(self):
        laid = lay_out(3, [(0, 1), (1, 2), (2, 1)], last=None)
        assert [y for _, y in laid.places] == [0, ROW, 2 * ROW]

    def test_where_it_ends_is_below_all_others(self):
        laid = lay_out(4, [(0, 1), (0, 3), (1, 2)], last=3)
        assert max(laid.places, key=lambda place: place[1]) == laid.places[3]

    def test_a_long_edge_passes_the_rows_between(self):
        laid = lay_out(4, [(0, 1), (1, 2), (2, 3), (0, 3)], last=3)
        (route,) = [route for route in laid.routes if route]
        assert [y for _, y in route] == [ROW, 2 * ROW]
        beside = [abs(x - laid.places[1][0]) for x, _ in route]
        assert min(beside) >= 75

    def test_a_long_way_back_is_given_in_its_own_direction(self):
        laid = lay_out(4, [(0, 1), (1, 2), (2, 3), (3, 1)])
        assert [y for _, y in laid.routes[3]] == [2 * ROW]

    @pytest.mark.parametrize("seed", range(20))
    def test_no_two_stand_in_each_other_whatever_the_edges(self, seed: int):
        edges = random_edges(15, seed)
        laid = lay_out(15, edges, last=14)
        rows: dict[float, list[float]] = {}
        for x, y in laid.places:
            rows.setdefault(y, []).append(x)
        gaps = [
            right - left for row in rows.values() for left, right in zip(sorted(row), sorted(row)[1:], strict=False)
        ]
        assert min([BOX, *gaps]) >= BOX - 0.001
        assert min(x for x, _ in laid.places) >= 0
        assert laid == lay_out(15, edges, last=14)

    def test_none_at_all_is_a_picture_of_nothing(self):
        assert lay_out(0, []).places == []

    @pytest.mark.timeout(30)  # it takes a fraction of a second; without bounds it would be minutes
    def test_many_nodes_are_laid_out_in_a_moment(self):
        laid = lay_out(MOST_NODES, random_edges(MOST_NODES, 1), last=MOST_NODES - 1)
        assert len(laid.places) == MOST_NODES


class TestWhatIsShown:
    def test_nodes_and_edges_are_the_graphs_own(self):
        picture = picture_of(looping())
        assert [box.path for box in picture.boxes] == ["__start__", "agent", "tools", "__end__"]
        dashed = {edge for edge, is_dashed in zip(picture.edges, picture.dashed, strict=True) if is_dashed}
        assert (set(picture.edges), dashed) == ({(0, 1), (1, 2), (1, 3), (2, 1)}, {(1, 2), (1, 3)})

    def test_conditional_edges_are_dashed_and_all_have_one_arrow(self):
        links = option(picture_of(looping()))["series"][0]["links"]
        assert sum("symbol" in link for link in links) == 4
        assert any(link.get("lineStyle") == {"type": "dashed"} for link in links)

    def test_a_graph_inside_is_shown_with_its_nodes(self):
        picture = picture_of(nested(looping()))
        paths = {box.path for box in picture.boxes}
        assert {"before", "inside:agent", "inside:tools"} <= paths
        assert boxes(picture)["inside:agent"]["label"]["formatter"] == "agent\ninside"

    def test_what_is_too_much_inside_leaves_the_outer_level(self):
        picture = picture_of(nested(chain(MOST_NODES)))
        assert [box.path for box in picture.boxes] == ["__start__", "before", "inside", "__end__"]
        assert picture.note == f"With the graphs inside of it, it has {MOST_NODES + 4} nodes; these are its own."

    def test_what_is_too_much_altogether_is_said(self):
        picture = picture_of(chain(1_000))
        assert (picture.boxes, picture.note) == (
            (),
            f"This graph has 1,001 nodes; up to {MOST_NODES} fit into a picture.",
        )

    @pytest.mark.timeout(60)
    def test_where_all_leads_to_all_some_edges_are_left_out(self):
        picture = picture_of(dense(MOST_NODES - 2))
        assert len(picture.edges) == 300
        assert "of which 300 are drawn" in picture.note

    def test_a_graph_that_cannot_be_asked_costs_one_sentence(self):
        class Odd:
            nodes = ()

            def get_subgraphs(self) -> Any:
                raise RuntimeError("secret")

        assert picture_of(Odd()).note == "This graph does not say what it looks like (RuntimeError)."  # type: ignore[arg-type]

    def test_tools_and_ways_are_told(self):
        @tool
        def find(word: str) -> str:
            """Find it."""
            return word

        graph = StateGraph(Letters)
        graph.add_node("tools", ToolNode([find]))
        graph.add_edge(START, "tools")
        picture = picture_of(graph.compile())
        assert picture.boxes[1].about == ("Tools: find",)
        assert picture_of(looping()).boxes[1].about == ("One of: end ({b}), tools (go on)",)

    def test_names_are_neither_markup_nor_templates(self):
        name = "<img src=x onerror=alert(1)>{b}{@x}"
        graph = StateGraph(Letters)
        graph.add_node(name, nothing)
        graph.add_edge(START, name)
        node = boxes(picture_of(graph.compile()))[name]
        assert "<img" not in node["tooltip"]["formatter"]
        assert "{b}" not in node["label"]["formatter"]
        assert "{@" not in node["label"]["formatter"]

    @pytest.mark.parametrize("is_dark", [True, False])
    def test_the_option_is_plain_json(self, is_dark: bool):
        made = option(picture_of(nested(looping())), working={"before"}, is_dark=is_dark)
        assert json.loads(json.dumps(made)) == made


class TestWhatIsLit:
    def test_what_works_and_what_has_worked_differ_from_the_rest_in_sign_and_colour(self):
        shown = boxes(picture_of(looping()), working={"agent"}, done={"tools"})
        labels = [shown[name]["label"] for name in ("agent", "tools")]
        assert [label["formatter"] for label in labels] == ["▶ agent", "✓ tools"]
        rest = boxes(picture_of(looping()))["agent"]["label"]
        assert len({label["backgroundColor"] for label in (*labels, rest)}) == 3

    def test_a_node_deep_inside_lights_what_is_drawn_around_it(self):
        picture = picture_of(nested(looping()))
        assert match(picture, {"inside:agent:deeper:still", "before", "gone"}) == {"inside:agent", "before"}

    def test_it_is_said_for_who_does_not_see(self):
        said = describe(picture_of(looping()), working={"agent"}, done={"tools"})
        assert said == "The graph's nodes: agent, tools. At work: agent. Have run: tools."


def node_event(seq: int, name: str, phase: str, task: str, *ns: str) -> Event:
    return Event(seq, seq, "node", name, {"phase": phase, "task": task, "ns": list(ns)})


class TestWhatEventsLight:
    def test_a_node_is_lit_from_its_beginning_to_its_end(self):
        lit = Lit()
        assert lit.add([node_event(1, "agent", "start", "t1")]) is True
        assert (lit.working, lit.done) == ({"agent"}, set())
        assert lit.add([Event(2, 2, "token", "agent", "hello")]) is False
        assert lit.add([node_event(3, "agent", "end", "t1")]) is True
        assert (lit.working, lit.done) == (set(), {"agent"})

    def test_two_at_once_are_both_lit(self):
        lit = Lit()
        lit.add(
            [
                node_event(1, "a", "start", "t1"),
                node_event(2, "a", "start", "t2"),
                node_event(3, "b", "start", "t3"),
            ]
        )
        lit.add([node_event(4, "a", "end", "t1")])
        assert (lit.working, lit.done) == ({"a", "b"}, {"a"})

    def test_a_node_inside_is_named_behind_the_graphs_around_it(self):
        lit = Lit()
        lit.add([node_event(1, "agent", "start", "t1", "outer:0f-3a", "inner:99")])
        assert lit.working == {"outer:inner:agent"}

    def test_nothing_works_when_the_run_is_over(self):
        lit = Lit()
        lit.add([node_event(1, "agent", "start", "t1"), Event(2, 2, "end", None, {"status": "stopped"})])
        assert (lit.working, lit.done) == (set(), set())
