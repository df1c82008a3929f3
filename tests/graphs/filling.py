"""Graphs that need more than a text, and some that only could be given more."""

import operator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypedDict

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.func import entrypoint
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel, Field, field_validator


class Order(BaseModel):
    """Messages and what has to be known beside them."""

    messages: Annotated[list[AnyMessage], add_messages]
    customer: str = Field(description="Who it is for", min_length=2)
    copies: int = Field(ge=1, le=9)
    size: Literal["small", "large"] = "small"
    is_gift: bool = False

    @field_validator("customer")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "nobody":
            raise ValueError("nobody is no customer of ours")
        return value


def take(state: Order) -> dict[str, Any]:
    said = [message.text for message in state.messages]
    gift = " as a gift" if state.is_gift else ""
    return {"messages": [AIMessage(f"{state.copies} {state.size} for {state.customer}{gift}: {' / '.join(said)}")]}


order = StateGraph(Order).add_node("take", take).add_edge(START, "take").add_edge("take", END)


@dataclass
class Trip:
    start: str
    nights: int
    via: list[str] = field(default_factory=list)
    said: str = ""


def travel(state: Trip) -> dict[str, Any]:
    return {"said": f"from {state.start}, {state.nights} nights via {', '.join(state.via) or 'nowhere'}"}


trip = StateGraph(Trip).add_node("travel", travel).add_edge(START, "travel").add_edge("travel", END)


class Numbers(TypedDict):
    numbers: list[int]
    total: int


numbers = (
    StateGraph(Numbers)
    .add_node("add", lambda state: {"total": sum(state["numbers"])})
    .add_edge(START, "add")
    .add_edge("add", END)
)


class Box(TypedDict):
    width: float
    height: float


class Area(Box):
    area: float


area = (
    StateGraph(Area, input_schema=Box)
    .add_node("measure", lambda state: {"area": state["width"] * state["height"]})
    .add_edge(START, "measure")
    .add_edge("measure", END)
)


class Wide(MessagesState):
    """Everything but the messages can be left out."""

    language: str
    notes: Annotated[list[str], operator.add]


plain = (
    StateGraph(Wide)
    .add_node(
        "say", lambda state: {"messages": [AIMessage(f"{state.get('language')}: {state['messages'][-1].text}")]}
    )
    .add_edge(START, "say")
    .add_edge("say", END)
)


class Noted(MessagesState):
    about: dict[str, Any]


noted = (
    StateGraph(Noted)
    .add_node("say", lambda state: {"messages": [AIMessage(str(state.get("about")))]})
    .add_edge(START, "say")
    .add_edge("say", END)
)
FAILURES = ["once"]


def fail_once(state: Wide) -> dict[str, Any]:
    if state["messages"][-1].text == "fail" and FAILURES:
        raise RuntimeError(FAILURES.pop())
    FAILURES.append("once")
    return {"messages": [AIMessage(f"{state.get('language')}: {state['messages'][-1].text}")]}


failing = StateGraph(Wide).add_node("say", fail_once).add_edge(START, "say").add_edge("say", END)


@entrypoint()
async def doubled(number: int) -> str:
    return str(number * 2)
