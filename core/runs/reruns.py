"""Which tools run a second time when a step that was interrupted goes on: LangGraph begins the whole step anew.

A step's tools are those that it has begun, and of a ToolNode all that it was given: it hands them to threads at
once, where they run to their end whatever one of them asks. Invariant: what asks is not among them.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from core.history.interrupts import ASKED_BY_RULE
from core.runs.gate import calls_in


class Reruns:
    """The tools of one run's steps, by the step's place; ``by_interrupt`` is what it comes to."""

    def __init__(self, tool_nodes: Collection[str]) -> None:
        self.by_interrupt: defaultdict[str, list[str]] = defaultdict(list)
        self._tool_nodes = tool_nodes
        self._given: dict[str, list[str]] = {}
        self._begun: defaultdict[str, dict[UUID, str]] = defaultdict(dict)
        self._asking: defaultdict[str, list[str]] = defaultdict(list)

    def start(self, ns: tuple[str, ...], task: Mapping[str, Any]) -> None:
        """A task of a graph begins."""
        if task["name"] in self._tool_nodes:
            self._given[_place_of(ns, task)] = [call.tool for call in calls_in(task["input"])]

    def begin_tool(self, run_id: UUID, name: str, place: str) -> None:
        self._begun[place][run_id] = name

    def tool_asks(self, run_id: UUID) -> None:
        """This one is what has interrupted its step."""
        for place, begun in self._begun.items():
            if run_id in begun:
                self._asking[place].append(begun.pop(run_id))

    def end(self, ns: tuple[str, ...], task: Mapping[str, Any]) -> None:
        """A task is over; what interrupted it is told by the innermost graph first, and by those around it too."""
        place = _place_of(ns, task)
        begun = list(self._begun.pop(place, {}).values())
        given = Counter(self._given.pop(place, ())) - Counter(self._asking.pop(place, ()))
        for interrupt in task.get("interrupts") or ():
            # Where a rule has asked, nothing that the step was given runs before it is decided.
            by_rule = isinstance(interrupt["value"], Mapping) and interrupt["value"].get(ASKED_BY_RULE)
            self.by_interrupt[interrupt["id"]] += begun if by_rule else [*begun, *given]


def _place_of(ns: tuple[str, ...], task: Mapping[str, Any]) -> str:
    return "|".join((*ns, f"{task['name']}:{task['id']}"))
