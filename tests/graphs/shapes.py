"""Graphs of every shape whose state a fork or an edit has to carry; none calls a model.

Each takes the saver, and a list in which its own nodes leave their names when they run.
"""

import itertools
import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langgraph.channels import DeltaChannel, EphemeralValue, LastValue
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.managed import RemainingSteps
from langgraph.pregel import NodeBuilder, Pregel
from langgraph.types import Send, interrupt
from pydantic import BaseModel, Field

Ran = list[str]


def append(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *itertools.chain.from_iterable(writes)]


def keep_largest(old: int, new: int) -> int:
    return max(old, new)


class Memory(TypedDict):
    calls: Annotated[int, operator.add]
    asked: str


def remembering() -> Any:
    """A subgraph that counts its calls over all turns, around another one that does so too."""
    deep = StateGraph(Memory).add_node("count", lambda _: {"calls": 1}).add_edge(START, "count")
    middle = StateGraph(Memory).add_node("count", lambda _: {"calls": 10}).add_edge(START, "count")
    middle.add_node("deep", deep.compile(checkpointer=True)).add_edge("count", "deep")
    return middle.compile(checkpointer=True)


class Mixed(TypedDict):
    said: Annotated[list[str], operator.add]
    best: Annotated[int, keep_largest]
    long: Annotated[list[str], DeltaChannel(append, snapshot_frequency=3)]
    topic: str


class Hint(TypedDict):
    hint: str


class Part(TypedDict):
    number: int
    topic: str


def mixed(saver: Any, ran: Ran) -> Any:
    """A private channel, reducers, a memory in a memory, parallel nodes, Sends, and a DeltaChannel."""
    memory = remembering()

    def begin(state: Mixed) -> Hint:
        ran.append("begin")
        return {"hint": f"of {state['topic']}", "long": [f"begin {len(state['long'])}"]}  # type: ignore[typeddict-unknown-key]

    def whisper(state: Hint) -> dict[str, Any]:
        ran.append("whisper")
        return {"said": [f"hint {state['hint']}"], "long": ["whisper"]}

    async def recall(state: Mixed) -> dict[str, Any]:
        ran.append("recall")
        found = await memory.ainvoke({"calls": 0, "asked": state["topic"]})
        return {"said": [f"call {found['calls']} about {found['asked']}"], "best": found["calls"]}

    def spread(state: Mixed) -> list[Send]:
        return [Send("part", {"number": n, "topic": state["topic"]}) for n in range(3)]

    def part(state: Part) -> dict[str, Any]:
        ran.append("part")
        return {"said": [f"part {state['number']} of {state['topic']}"], "best": state["number"]}

    def gather(state: Mixed) -> dict[str, Any]:
        ran.append("gather")
        return {"said": [f"{len(state['said'])} said, best {state['best']}"], "long": [str(len(state["long"]))]}

    builder = StateGraph(Mixed).add_node("begin", begin).add_node("whisper", whisper).add_node("recall", recall)
    builder.add_node("plan", lambda _: ran.append("plan")).add_node("part", part).add_node("gather", gather)
    builder.add_edge(START, "begin").add_edge("begin", "whisper").add_edge("begin", "recall")
    builder.add_edge(["whisper", "recall"], "plan").add_conditional_edges("plan", spread, ["part"])
    return builder.add_edge("part", "gather").compile(checkpointer=saver)


def inner(saver: Any, ran: Ran) -> Any:
    """Subgraphs as nodes: one of a call, in one with a memory, both on the same state."""
    low = StateGraph(Mixed).add_node("low", lambda state: {"said": [f"low {state['topic']}"], "long": ["low"]})
    high = StateGraph(Mixed).add_node("low graph", low.add_edge(START, "low").compile())
    high.add_edge(START, "low graph")
    builder = StateGraph(Mixed).add_node("before", lambda _: ran.append("before"))
    builder.add_node("high", high.compile(checkpointer=True))
    builder.add_node("after", lambda state: ran.append("after") or {"best": len(state["said"])})
    builder.add_edge(START, "before").add_edge("before", "high").add_edge("high", "after")
    return builder.compile(checkpointer=saver)


def waiting(saver: Any, ran: Ran) -> Any:
    """One node asks while its sibling finishes; what was answered is said at the end."""

    def ask(state: Mixed) -> dict[str, Any]:
        return {"said": [f"{state['topic']}: {interrupt(state['topic'])}"]}

    def quick(state: Mixed) -> dict[str, Any]:
        ran.append("quick")
        return {"said": ["quick"], "long": [f"quick {state['topic']}"]}

    builder = StateGraph(Mixed).add_node("ask", ask).add_node("quick", quick)
    builder.add_node("end", lambda state: {"said": [f"end of {state['topic']}"]})
    builder.add_edge(START, "ask").add_edge(START, "quick").add_edge(["ask", "quick"], "end")
    return builder.compile(checkpointer=saver)


def asking_inside(saver: Any, ran: Ran) -> Any:
    """A subgraph with a memory that asks from its second call on."""

    def think(state: Memory) -> dict[str, Any]:
        if state["calls"]:
            interrupt(state["asked"])
        return {"calls": 1}

    inside = StateGraph(Memory).add_node("think", think).add_edge(START, "think").compile(checkpointer=True)

    async def call(state: Mixed) -> dict[str, Any]:
        found = await inside.ainvoke({"calls": 0, "asked": state["topic"]})
        return {"said": [f"call {found['calls']} about {found['asked']}"]}

    return StateGraph(Mixed).add_node("call", call).add_edge(START, "call").compile(checkpointer=saver)


class Talk(MessagesState):
    topic: str


def talking(saver: Any, ran: Ran) -> Any:
    """Two answers in two steps; each tells what it was given."""

    def answer(name: str) -> Any:
        def say(state: Talk) -> dict[str, Any]:
            ran.append(name)
            heard = ", ".join(message.text for message in state["messages"])
            return {
                "messages": [
                    AIMessage(f"{name} on {state.get('topic')}: {heard}", id=f"{name} {len(state['messages'])}")
                ]
            }

        return say

    builder = StateGraph(Talk).add_sequence([("first", answer("first")), ("second", answer("second"))])
    return builder.add_edge(START, "first").compile(checkpointer=saver)


def bare(saver: Any, ran: Ran) -> Any:
    """No StateGraph: nodes that start when a key changes, one of them never, since nobody writes its key."""

    def named(name: str, change: Any) -> Any:
        return lambda value: ran.append(name) or change(value)

    nodes = {
        "one": NodeBuilder().subscribe_only("a").do(named("one", lambda v: v + "1")).write_to("b"),
        "two": NodeBuilder().subscribe_only("b").do(named("two", lambda v: v + "2")).write_to("c"),
        "never": NodeBuilder().subscribe_only("d").do(named("never", str)).write_to("c"),
        "passing": NodeBuilder().subscribe_only("e").do(named("passing", str)).write_to("c"),
    }
    channels = {**{key: LastValue(str, key) for key in "abcd"}, "e": EphemeralValue(str)}
    return Pregel(
        nodes=nodes, channels=channels, input_channels=["a"], output_channels=["b", "c"], checkpointer=saver
    )


class Step(TypedDict):
    title: str
    done: NotRequired[bool]


class Task(BaseModel):
    name: str
    weight: int = Field(default=1, gt=0)


@dataclass
class Place:
    city: str
    tags: set[str] = field(default_factory=set)


class Unknown:
    """What pydantic knows nothing of."""


class Wide(TypedDict):
    """A key of every kind."""

    messages: Annotated[list[AnyMessage], operator.add]
    plain: NotRequired[list[BaseMessage]]
    last: HumanMessage | None
    count: Annotated[int, operator.add]
    price: float
    flag: bool
    mode: Literal["fast", "slow"]
    steps: list[Step]
    task: Task
    place: Place
    tags: set[str]
    anything: Any
    tool: Unknown
    gone: Annotated[str, UntrackedValue]
    left: RemainingSteps


def wide(saver: Any = None) -> Any:
    def private(_: Hint) -> None:
        """Brings in a key that is in no other schema."""

    builder = StateGraph(Wide).add_node("private", private, input_schema=Hint)
    return builder.add_edge(START, "private").compile(checkpointer=saver)


class Form(BaseModel):
    age: int = Field(default=0, ge=0)
    names: Annotated[list[str], operator.add] = []


@dataclass
class Sheet:
    title: str
    rows: Annotated[list[int], operator.add] = field(default_factory=list)


def of_schema(schema: Any, saver: Any = None) -> Any:
    """One node that does nothing, on a state of any schema."""
    return StateGraph(schema).add_node("idle", lambda _: None).add_edge(START, "idle").compile(checkpointer=saver)
