"""The functional API: entrypoints that take a text, a dict, messages or nothing said about it, with memory."""

from typing import Any

from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph.message import add_messages
from langgraph.types import interrupt
from pydantic import BaseModel

from core.agents.demo import DemoChatModel

llm = DemoChatModel(tokens_per_second=0)


@task
def write_essay(topic: str) -> str:
    return llm.invoke(f"An essay about {topic}").text


@entrypoint()
def essay(topic: str) -> str:
    return write_essay(topic).result()


@task
async def double(number: int) -> int:
    return 2 * number


@entrypoint()
async def of_a_dict(inputs: dict) -> dict:
    text = inputs["text"]
    return {"text": text, "letters": await double(len(text)), "summary": f"{len(text)} letters, twice"}


@entrypoint()
def of_messages(messages: list[BaseMessage], *, previous: list[BaseMessage] | None = None) -> Any:
    everything = add_messages(previous or [], messages)
    answer = llm.invoke(everything)
    return entrypoint.final(value=answer, save=add_messages(everything, [answer]))


@entrypoint(checkpointer=InMemorySaver())
def remembering(word: str, *, previous: str | None = None) -> str:
    return f"{previous} {word}" if previous else word


@entrypoint()
def untyped(question):
    return f"You asked: {question}"


@task
def call_model(messages: list[AnyMessage]) -> BaseMessage:
    return llm.invoke(messages)


@entrypoint()
def agent(messages: list[AnyMessage]) -> list[AnyMessage]:
    answer = call_model(messages).result()
    return add_messages(messages, answer)


@entrypoint()
def reviewed(topic: str) -> dict:
    draft = write_essay(topic).result()
    approved = interrupt({"essay": draft, "action": "Please approve or reject the essay"})
    return {"essay": draft, "is_approved": approved}


@entrypoint()
def of_one_message(message: HumanMessage) -> str:
    return f"{message.text}!"


class TwoParts(BaseModel):
    question: str
    year: int


@entrypoint()
def two_parts(asked: TwoParts) -> str:
    return f"{asked.question} in {asked.year}"
