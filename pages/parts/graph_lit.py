"""The graph of an answer's agent, with its nodes lit: while they work, and afterwards those that ran.

Invariant: it is drawn from the events that are read anyway, and only where the fold is open; it is drawn again only
when another node works. That a graph cannot be drawn never keeps an answer from being read.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import SkeinError
from core.history.turns import Turn
from core.runs.events import Event
from core.skein import Skein
from pages.parts.graph_picture import Graph, draw_graph
from pages.parts.text import plain


@dataclass
class Lit:
    """Which nodes work and which have worked, as the events of a run tell one after the other."""

    tasks: dict[str, str] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)

    @property
    def working(self) -> set[str]:
        return set(self.tasks.values())

    def add(self, events: Iterable[Event]) -> bool:
        """Take these events in, and say whether there is anything new to see."""
        before = self.working, len(self.done)
        for event in events:
            if event.kind == "node":
                self._add(event)
            elif event.kind == "end":
                self.tasks.clear()
        return before != (self.working, len(self.done))

    def _add(self, event: Event) -> None:
        task, inside = str(event.payload.get("task")), event.payload.get("ns") or ()
        path = ":".join([*(str(part).split(":", 1)[0] for part in inside), event.node or ""])
        if event.payload.get("phase") == "start":
            self.tasks[task] = path
        else:
            self.done.add(self.tasks.pop(task, path))


def light_up(skein: Skein, turn: Turn, batches: Iterable[list[Event]]) -> Iterable[list[Event]]:
    """A fold for the graph, and the events as they are given; while it is open they light it as they pass."""
    key = f"chat.graph.{turn.thread_id}"
    with st.expander("Graph", key=key, on_change="rerun", icon=":material/account_tree:", type="compact") as fold:
        graph = _find_graph(skein, turn) if fold.open else None
        return batches if graph is None else _lighting(graph, batches, st.empty())


def _lighting(graph: Graph, batches: Iterable[list[Event]], place: DeltaGenerator) -> Iterator[list[Event]]:
    lit, is_drawn = Lit(), False
    for events in batches:
        if lit.add(events) or not is_drawn:
            is_drawn = True
            with place.container():
                draw_graph(graph, working=lit.working, done=lit.done, key=None)
        yield events


def draw_ran(skein: Skein, turn: Turn, events: Sequence[Event]) -> None:
    """The graph with the nodes that ran marked; one that was at work when the run ended is not among them."""
    lit = Lit()
    lit.add(events)
    graph = _find_graph(skein, turn)
    if graph is not None:
        draw_graph(graph, working=lit.working, done=lit.done, key=f"chat.ran.{turn.thread_id}")


def _find_graph(skein: Skein, turn: Turn) -> Graph | None:
    """The agent's graph as it is today; a sentence instead when it is gone or broken."""
    try:
        return skein.agents.compiled(turn.agent_id, skein.saver)
    except SkeinError as error:
        st.caption(plain(str(error)))
        return None
