"""Graphs of every shape that LangGraph has, for comparing what each does bare and in Skein.

What their nodes do besides is listed in ``DEEDS``, which both ways of running must leave alike.
"""

import asyncio
import operator
import os
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Annotated, Any, Literal, NamedTuple, NotRequired

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, RemoveMessage, SystemMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableConfig, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.cache.memory import InMemoryCache
from langgraph.channels import EphemeralValue, UntrackedValue
from langgraph.config import get_store, get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES, add_messages
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime
from langgraph.types import CachePolicy, Command, Overwrite, RetryPolicy, Send, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from tests.graphs.deeds import DEEDS


def _model(**more: Any) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=os.environ["MODEL_URL"], api_key="k", max_retries=0, **more)


class Text(TypedDict):
    text: str


class Log(TypedDict):
    text: str
    log: Annotated[list[str], operator.add]


class Secret(TypedDict):
    text: str
    secret: str
    log: Annotated[list[str], operator.add]


def _line(schema: Any, *nodes: Any, **more: Any) -> StateGraph:
    graph, before = StateGraph(schema, **more), START
    for node in nodes:
        name = getattr(node, "__name__", None) or node.name
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    return graph


# -- subgraphs and schemas ------------------------------------------------------------------------------


def _inner(state: Secret) -> dict:
    return {"text": f"inner {state['text']}", "secret": "INNER", "log": ["inner"]}


def _outer(state: Secret) -> dict:
    return {"secret": "OUTER", "log": ["outer"]}


def _tell(state: Secret) -> dict:
    return {"text": f"secret={state['secret']} log={state['log']}"}


def _sub(**schemas: Any) -> Any:
    graph = StateGraph(Secret, **schemas)
    graph.add_node("inner", _inner)
    graph.add_edge(START, "inner")
    graph.add_edge("inner", END)
    return graph


def _with(sub: Any) -> Any:
    graph = StateGraph(Secret)
    for name, node in (("outer", _outer), ("sub", sub), ("tell", _tell)):
        graph.add_node(name, node)
    graph.add_edge(START, "outer")
    graph.add_edge("outer", "sub")
    graph.add_edge("sub", "tell")
    graph.add_edge("tell", END)
    return graph.compile()


subgraph_output = _with(_sub(output_schema=Text).compile())
subgraph_input = _with(_sub(input_schema=Text, output_schema=Text).compile())
subgraph_memory = _with(_sub().compile(checkpointer=True))
subgraph_whole = _with(_sub().compile())


def _calls_subgraph(state: Secret) -> dict:
    return {"text": _sub(output_schema=Text).compile().invoke({"text": state["text"]})["text"]}


async def _calls_subgraph_async(state: Secret) -> dict:
    return {"log": [str(await _sub().compile().ainvoke({"text": state["text"], "log": []}))]}


subgraph_called = _line(Secret, _calls_subgraph, _calls_subgraph_async).compile()


class Private(TypedDict):
    text: str
    hidden: str


def _hide(state: Text) -> Private:
    return {"hidden": f"hidden {state['text']}"}


def _show(state: Private) -> dict:
    return {"text": f"shown {state['hidden']}"}


private_state = _line(Text, _hide, _show).compile()


class In(TypedDict):
    question: str


class Out(TypedDict):
    reply: str


class InOut(In, Out):
    notes: list[str]


def _reply(state: InOut) -> dict:
    return {"reply": f"to {state['question']}", "notes": ["kept inside"]}


schemas = _line(InOut, _reply, input_schema=In, output_schema=Out).compile()


# -- fan out --------------------------------------------------------------------------------------------


def _spread(state: Log) -> list[Send]:
    return [Send("work", {"text": f"{state['text']} {n}", "log": []}) for n in range(4)]


async def _work(state: Log) -> dict:
    await asyncio.sleep(0)
    return {"log": [f"worked {state['text']}"]}


def _sum(state: Log) -> dict:
    return {"text": f"{len(state['log'])} pieces"}


def _sends() -> Any:
    graph = StateGraph(Log)
    graph.add_node("work", _work)
    graph.add_node("sum", _sum)
    graph.add_conditional_edges(START, _spread, ["work"])
    graph.add_edge("work", "sum")
    graph.add_edge("sum", END)
    return graph.compile()


sends = _sends()


def _says(word: str) -> Any:
    def say(state: Log) -> dict:
        DEEDS.append(word)
        return {"log": [word]}

    return say


def _deferred() -> Any:
    graph = StateGraph(Log)
    for name in ("a", "b", "b2"):
        graph.add_node(name, _says(name))
    graph.add_node("last", _sum, defer=True)
    graph.add_edge(START, "a")
    graph.add_edge(START, "b")
    graph.add_edge("b", "b2")
    graph.add_edge("a", "last")
    graph.add_edge("b2", "last")
    graph.add_edge("last", END)
    return graph.compile()


deferred = _deferred()


def _once(state: Text) -> dict:
    DEEDS.append(f"computed {state['text']}")
    return {"text": state["text"].upper()}


def cached() -> Any:
    graph = StateGraph(Text)
    graph.add_node("once", _once, cache_policy=CachePolicy())
    graph.add_edge(START, "once")
    graph.add_edge("once", END)
    return graph.compile(cache=InMemoryCache())


_FAILS: dict[str, int] = {}


def _fails_once(state: Text, config: RunnableConfig) -> dict:
    key = f"{config['configurable']['thread_id']} {state['text']}"
    _FAILS[key] = _FAILS.get(key, 0) + 1
    if _FAILS[key] == 1:
        raise ConnectionError("not yet")
    return {"text": f"at the second try: {state['text']}"}


def _retried() -> Any:
    graph = StateGraph(Text)
    graph.add_node("fails", _fails_once, retry_policy=RetryPolicy(initial_interval=0.01, max_attempts=3))
    graph.add_edge(START, "fails")
    return graph.compile()


retried = _retried()


def _raises(state: Log) -> dict:
    raise ValueError("a node's own error")


def _error() -> Any:
    graph = StateGraph(Log)
    graph.add_node("first", _says("first"))
    graph.add_node("raises", _raises)
    graph.add_edge(START, "first")
    graph.add_edge("first", "raises")
    return graph.compile()


error = _error()


# -- commands -------------------------------------------------------------------------------------------


def _goes(state: Log) -> Command[Literal["there"]]:
    return Command(goto="there", update={"log": ["went"]})


def _there(state: Log) -> dict:
    return {"text": "there", "log": ["there"]}


def _goto() -> Any:
    graph = StateGraph(Log)
    graph.add_node("goes", _goes)
    graph.add_node("there", _there)
    graph.add_edge(START, "goes")
    return graph.compile()


goto = _goto()


def _to_parent(state: Log) -> Command:
    return Command(goto="other", update={"log": ["from below"]}, graph=Command.PARENT)


def _other(state: Log) -> dict:
    return {"text": f"other {len(state['log'])}"}


def _parent() -> Any:
    sub = StateGraph(Log)
    sub.add_node("up", _to_parent)
    sub.add_edge(START, "up")
    graph = StateGraph(Log)
    graph.add_node("sub", sub.compile(), destinations=("other",))
    graph.add_node("other", _other)
    graph.add_edge(START, "sub")
    graph.add_edge("other", END)
    return graph.compile()


parent = _parent()


# -- functional -----------------------------------------------------------------------------------------


@task
def _double(text: str) -> str:
    DEEDS.append(f"doubled {text}")
    return text * 2


@task
async def _later(text: str) -> str:
    await asyncio.sleep(0)
    return f"later {text}"


@entrypoint()
async def functional(text: str) -> str:
    both = await asyncio.gather(_later(text), _later("again"))
    return f"{await _double(text)} {both}"


@entrypoint()
def remembering(text: str, *, previous: Any = None) -> Any:
    words = [*(previous or []), text]
    return entrypoint.final(value=f"{len(words)} so far", save=words)


@entrypoint()
def structured_return(given: dict) -> dict:
    return {"given": given["question"], "length": len(given["question"])}


# -- chains and runnables -------------------------------------------------------------------------------

_chain = (
    RunnablePassthrough.assign(length=lambda state: len(state["text"]))
    | RunnableParallel(text=lambda state: f"{state['text']} has {state['length']}", log=lambda state: ["chained"])
).with_config(run_name="chain")


async def _in_pieces(state: Any) -> Any:
    for word in ("one ", "two ", "three"):
        yield {"text": word}


def _chains() -> Any:
    graph = StateGraph(Log)
    graph.add_node("chain", _chain)
    graph.add_node("piece", RunnableLambda(lambda state: {"log": [state["text"]]}, name="piece"))
    graph.add_edge(START, "chain")
    graph.add_edge("chain", "piece")
    return graph.compile()


chains = _chains()


def _generator() -> Any:
    graph = StateGraph(Log)
    graph.add_node("pieces", RunnableLambda(_in_pieces, name="pieces"))
    graph.add_edge(START, "pieces")
    return graph.compile()


generator = _generator()


def prompted() -> Any:
    prompt = ChatPromptTemplate.from_messages([("system", "Be short."), ("user", "{text}")])
    graph = StateGraph(Log)
    graph.add_node("ask", prompt | _model() | StrOutputParser() | (lambda said: {"text": said, "log": [said]}))
    graph.add_edge(START, "ask")
    return graph.compile()


# -- questions ------------------------------------------------------------------------------------------


def _asks(name: str) -> Any:
    def ask(state: Log) -> dict:
        return {"log": [f"{name} got {interrupt({'question': name})}"]}

    return ask


def _questions() -> Any:
    graph = StateGraph(Log)
    for name in ("left", "right"):
        graph.add_node(name, _asks(name))
        graph.add_edge(START, name)
        graph.add_edge(name, END)
    return graph.compile()


questions = _questions()


def _nested_question() -> Any:
    sub = StateGraph(Log)
    sub.add_node("before", _says("before"))
    sub.add_node("ask", _asks("below"))
    sub.add_edge(START, "before")
    sub.add_edge("before", "ask")
    graph = StateGraph(Log)
    graph.add_node("sub", sub.compile())
    graph.add_node("sum", _sum)
    graph.add_edge(START, "sub")
    graph.add_edge("sub", "sum")
    return graph.compile()


nested_question = _nested_question()


def _asks_twice(state: Log) -> dict:
    DEEDS.append("asking")
    return {"log": [f"{interrupt('first?')} and {interrupt('second?')}"]}


asks_twice = _line(Log, _asks_twice).compile()


# -- states of all kinds --------------------------------------------------------------------------------


class Colour(Enum):
    RED = "red"


class Tone(StrEnum):
    LOW = "low"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Thing:
    name: str
    parts: list[int] = field(default_factory=list)


class Model(BaseModel):
    name: str
    size: float = 1.5


class Anything(TypedDict):
    text: str
    any: Any
    tone: Any
    odd: Any
    things: Annotated[list[Any], operator.add]
    maybe: NotRequired[Thing]


def _keeps(state: Anything) -> dict:
    found = state.get("any")
    kind = type(found).__name__
    size = found.size if isinstance(found, Model) else 0
    odd = {"tone": Tone.LOW, "odd": float("nan") if state.get("odd") == "a\x00b" else "a\x00b"}
    made = [Thing("a", [1]), Model(name="b"), Colour.RED, Point(1, 2), {"plain": {1, 2}}, b"bytes", float("inf")]
    return {"text": f"{kind} {size}", "any": Model(name="c", size=2), "things": made, "maybe": Thing("m"), **odd}


kept_types = _line(Anything, _keeps).compile()


class PydanticState(BaseModel):
    question: str
    answer: str = ""
    steps: Annotated[list[str], operator.add] = []


def _validated(state: PydanticState) -> dict:
    return {"answer": state.question.upper(), "steps": [type(state).__name__]}


pydantic_state = _line(PydanticState, _validated).compile()


@dataclass
class DataState:
    question: str = ""
    answer: str = ""


def _of_dataclass(state: DataState) -> dict:
    return {"answer": f"{state.question}!"}


dataclass_state = _line(DataState, _of_dataclass).compile()


class Channels(TypedDict):
    text: str
    fleeting: Annotated[str, EphemeralValue]
    untracked: Annotated[Any, UntrackedValue]


def _writes_channels(state: Channels) -> dict:
    return {"fleeting": "only here", "untracked": object()}


def _reads_channels(state: Channels) -> dict:
    return {"text": f"{state.get('fleeting')} {type(state.get('untracked')).__name__}"}


channels = _line(Channels, _writes_channels, _reads_channels).compile()


def _overwrites(state: Log) -> dict:
    return {"log": Overwrite([f"only {state['text']}"])}


overwrite = _line(Log, _overwrites).compile()


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def _forgets(state: Chat) -> dict:
    return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), *state["messages"][-1:], AIMessage("forgotten")]}


forgetting = _line(Chat, _forgets).compile()


def _adds_people(state: Chat) -> dict:
    return {
        "messages": [AIMessage("a draft"), HumanMessage("the critic: better", name="critic"), AIMessage("final")]
    }


critic = _line(Chat, _adds_people).compile()


# -- runtime --------------------------------------------------------------------------------------------


@dataclass
class Context:
    style: str = "plain"
    count: int = 2


def _in_style(state: Log, runtime: Runtime[Context], config: RunnableConfig) -> dict:
    get_stream_writer()({"progress": 0.5})
    return {"log": [f"{runtime.context.style} {runtime.context.count} {config.get('recursion_limit')}"]}


with_context = _line(Log, _in_style, context_schema=Context).compile()


def _remembers(state: Log, runtime: Runtime) -> dict:
    runtime.store.put(("words",), state["text"], {"text": state["text"]})
    return {"log": [str(sorted(item.key for item in runtime.store.search(("words",))))]}


async def _remembers_async(state: Log) -> dict:
    store = get_store()
    await store.aput(("words",), "fixed", {"n": 1})
    inside = store.get(("words",), "fixed")
    return {"log": [str(inside.value), str(len(await store.asearch(("words",))))]}


def stored() -> Any:
    return _line(Log, _remembers, _remembers_async).compile()


def _loops(state: Log) -> Command[Literal["loops", "__end__"]]:
    done = len(state["log"]) % 130 == 129
    return Command(goto=END if done else "loops", update={"log": ["x"]})


def _loop() -> Any:
    graph = StateGraph(Log)
    graph.add_node("loops", _loops)
    graph.add_edge(START, "loops")
    return graph.compile()


long_loop = _loop()


# -- models and tools -----------------------------------------------------------------------------------


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    DEEDS.append(f"add {a} {b}")
    return a + b


@tool
async def shout(text: str) -> str:
    """Say it louder."""
    DEEDS.append(f"shout {text}")
    return text.upper()


@tool
def fails(text: str) -> str:
    """Fail."""
    raise ValueError(f"cannot {text}")


TOOLS = [add, shout]


def _asking_node(state: MessagesState) -> dict:
    return {"messages": [_model().bind_tools(TOOLS).invoke(state["messages"])]}


async def _asking_node_async(state: MessagesState) -> dict:
    return {"messages": [await _model().bind_tools(TOOLS).ainvoke(state["messages"])]}


def _react(node: Any) -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("ask", node)
    graph.add_node("tools", ToolNode(TOOLS))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile()


def react_sync() -> Any:
    return _react(_asking_node)


def react_async() -> Any:
    return _react(_asking_node_async)


async def _streams_itself(state: MessagesState) -> dict:
    said = [chunk async for chunk in _model().astream([SystemMessage("Be brief."), *state["messages"]])]
    return {"messages": [AIMessage("".join(chunk.text for chunk in said))]}


def self_streaming() -> Any:
    return _line(MessagesState, _streams_itself).compile()


async def _asks_many(state: MessagesState) -> dict:
    model = _model()
    answers = await asyncio.gather(*(model.ainvoke(f"{n}: {state['messages'][-1].text}") for n in range(3)))
    return {"messages": [AIMessage(" | ".join(sorted(answer.text for answer in answers)))]}


def many_at_once() -> Any:
    return _line(MessagesState, _asks_many).compile()
