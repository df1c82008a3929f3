"""The graph of an answer's agent, with its nodes lit: while they work, and afterwards those that ran.

Invariant: it is drawn from the events that are read anyway, and only where the fold is open; it is drawn again only
when another node works. That a graph cannot be drawn never keeps an answer from being read.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.errors import SkeinError
from core.history.turns import Turn
from core.runs.events import Event
from core.skein import Skein
from pages.parts.graph.graph_picture import Graph, draw_graph
from pages.parts.ui.text import plain


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


class GraphFold:
    """A fold for the graph of an answer that is being written; while it is open, the events that pass light it."""

    def __init__(self, skein: Skein, turn: Turn) -> None:
        self._skein, self._turn = skein, turn
        self._lit = Lit()
        self._graph: Graph | None = None
        self._place: DeltaGenerator | None = None

    def draw(self) -> None:
        """Draw the fold, with the graph as it is by now when it is open."""
        key = f"chat.graph.{self._turn.thread_id}"
        fold = st.expander("Graph", key=key, on_change="rerun", icon=":material/account_tree:", type="compact")
        if fold.open:
            with fold:
                self._graph = _find_graph(self._skein, self._turn)
                self._place = st.empty()
            self._light()

    def add(self, events: Iterable[Event]) -> None:
        if self._lit.add(events):
            self._light()

    def _light(self) -> None:
        if self._graph is not None and self._place is not None:
            with self._place.container():
                draw_graph(self._graph, working=self._lit.working, done=self._lit.done, key=None)


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
