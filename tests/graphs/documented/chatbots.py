"""Chatbots of the plain kinds: messages alone, messages and more, and state as a model or a dataclass."""

from dataclasses import dataclass, field
from typing import Annotated

from langchain_core.messages import AnyMessage, SystemMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import add_messages
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from core.agents.demo import DemoChatModel

llm = DemoChatModel(tokens_per_second=0)


def reply(state: MessagesState) -> dict:
    return {"messages": [llm.invoke(state["messages"])]}


basic = StateGraph(MessagesState).add_node("reply", reply).add_edge(START, "reply").add_edge("reply", END).compile()


class Counted(TypedDict):
    messages: Annotated[list, add_messages]
    turns: int


async def count_and_reply(state: Counted) -> dict:
    answer = await llm.ainvoke([SystemMessage("Be brief."), *state["messages"]])
    return {"messages": answer, "turns": state.get("turns", 0) + 1}


counted = StateGraph(Counted).add_node(count_and_reply).add_edge(START, "count_and_reply")


class Validated(BaseModel):
    messages: Annotated[list[AnyMessage], add_messages] = Field(default_factory=list)
    mood: str = "calm"


def reply_validated(state: Validated) -> dict:
    return {"messages": [llm.invoke(state.messages)], "mood": state.mood}


pydantic_state = StateGraph(Validated).add_node(reply_validated).add_edge(START, "reply_validated").compile()


@dataclass
class Plain:
    question: str
    facts: list[str] = field(default_factory=list)
    answer: str = ""


def gather(state: Plain) -> dict:
    return {"facts": [f"{state.question} has {len(state.question)} characters"]}


def conclude(state: Plain) -> dict:
    return {"answer": f"What is known: {'; '.join(state.facts)}."}


dataclass_state = (
    StateGraph(Plain)
    .add_node(gather)
    .add_node(conclude)
    .add_edge(START, "gather")
    .add_edge("gather", "conclude")
    .compile()
)


class Asked(TypedDict):
    user_input: str


class Told(TypedDict):
    graph_output: str


class Everything(TypedDict):
    foo: str
    user_input: str
    graph_output: str


class Hidden(TypedDict):
    bar: str


def first(state: Asked) -> Everything:
    return {"foo": state["user_input"] + " name"}


def second(state: Everything) -> Hidden:
    return {"bar": state["foo"] + " is"}


def third(state: Hidden) -> Told:
    return {"graph_output": state["bar"] + " Lance"}


separate_schemas = (
    StateGraph(Everything, input_schema=Asked, output_schema=Told)
    .add_node("first", first)
    .add_node("second", second)
    .add_node("third", third)
    .add_edge(START, "first")
    .add_edge("first", "second")
    .add_edge("second", "third")
    .add_edge("third", END)
    .compile()
)


class Sum(TypedDict):
    amount: int


numbers = (
    StateGraph(Sum).add_node("add", lambda state: {"amount": state["amount"] + 1}).add_edge(START, "add").compile()
)
