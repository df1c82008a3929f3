"""A graph run as anybody would run it outside Skein: ``ainvoke`` on one thread, with savers in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, StateSnapshot

from core.agents.inputs import to_input
from core.agents.limits import copy_graph
from core.checking.outcomes import Normal, Outcome

Graph = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True)
class Say:
    """A message of a person."""

    text: str


@dataclass(frozen=True)
class Answer:
    """An answer to the oldest open interrupt."""

    value: Any


@dataclass
class BareRun:
    """A conversation with a graph outside Skein; ``index`` is how its store searches by meaning, if it does."""

    graph: Graph
    context: Any = None
    configurable: Mapping[str, Any] = field(default_factory=dict)
    input_key: str | None = None
    index: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        # As it comes outside: every class comes back from a checkpoint.
        saver = InMemorySaver(serde=JsonPlusSerializer(allowed_msgpack_modules=True))
        own = self.graph.store or InMemoryStore(index=_named(self.index))
        self.graph = copy_graph(self.graph, checkpointer=saver, store=own)
        self._normal = Normal()
        self._seen: set[str] = set()

    async def run(self, steps: Sequence[Say | Answer]) -> list[Outcome]:
        """What each step comes to."""
        return [await self._step(step) for step in steps]

    async def _step(self, step: Say | Answer) -> Outcome:
        config: Any = {"configurable": {**self.configurable, "thread_id": "bare"}}
        error = ""
        try:
            await self.graph.ainvoke(await self._given(step, config), config, context=self.context)
        except Exception as raised:  # noqa: BLE001 - what a graph raises is part of what it comes to
            error = type(raised).__name__
        states = [one async for one in self.graph.aget_state_history(config)][::-1]
        fresh = [one for one in states if _id_of(one) not in self._seen]
        self._seen.update(map(_id_of, fresh))
        return self._normal.outcome(await self._with_newest(fresh, config), error)

    async def _given(self, step: Say | Answer, config: Any) -> Any:
        if isinstance(step, Say):
            return to_input(self.graph, [HumanMessage(step.text)], key=self.input_key)
        state = await self.graph.aget_state(config)
        return Command(resume={state.interrupts[0].id: step.value})

    async def _with_newest(self, states: list[StateSnapshot], config: Any) -> list[StateSnapshot]:
        """The newest state as a resume sees it: with its open questions."""
        newest = await self.graph.aget_state(config)
        return [*states[:-1], newest] if states and _id_of(states[-1]) == _id_of(newest) else states


def _named(index: Mapping[str, Any] | None) -> Any:
    """An index as a store is asked for it, without what it has worked out for itself."""
    return {name: value for name, value in index.items() if not name.startswith("_")} if index else None


def _id_of(state: StateSnapshot) -> str:
    return str(state.config["configurable"]["checkpoint_id"])
