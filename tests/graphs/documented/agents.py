"""Agents that call tools, graphs within graphs, several agents that hand over, and graphs that ask or remember."""

import uuid
from typing import Annotated, Literal

from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, ToolNode, create_react_agent, tools_condition
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from core.agents.demo import DemoChatModel

llm = DemoChatModel(tokens_per_second=0)


@tool
def multiply(a: int, b: int) -> int:
    """Multiply a and b."""
    return a * b


@tool
def get_weather(city: str, state: Annotated[dict, InjectedState]) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city} ({len(state['messages'])} messages so far)."


tools = [multiply]
tools_by_name = {one.name: one for one in tools}
llm_with_tools = llm.bind_tools(tools)


def think(state: MessagesState) -> dict:
    return {"messages": [llm_with_tools.invoke([SystemMessage("You do arithmetic."), *state["messages"]])]}


def use_tools(state: MessagesState) -> dict:
    results = []
    for call in state["messages"][-1].tool_calls:
        observation = tools_by_name[call["name"]].invoke(call["args"])
        results.append(ToolMessage(content=str(observation), tool_call_id=call["id"]))
    return {"messages": results}


def goes_on(state: MessagesState) -> Literal["use_tools", "__end__"]:
    return "use_tools" if state["messages"][-1].tool_calls else END


react_by_hand = (
    StateGraph(MessagesState)
    .add_node("think", think)
    .add_node("use_tools", use_tools)
    .add_edge(START, "think")
    .add_conditional_edges("think", goes_on, ["use_tools", END])
    .add_edge("use_tools", "think")
    .compile()
)

react_with_tool_node = (
    StateGraph(MessagesState)
    .add_node("think", think)
    .add_node("tools", ToolNode(tools))
    .add_edge(START, "think")
    .add_conditional_edges("think", tools_condition)
    .add_edge("tools", "think")
)

created = create_agent(llm, tools=[multiply, get_weather], system_prompt="You are helpful.")


class Contact(BaseModel):
    name: str
    email: str


structured = create_agent(llm, tools=[], response_format=ToolStrategy(Contact))


def make_prebuilt():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return create_react_agent(llm, tools=[multiply])


prebuilt = make_prebuilt()


class Outer(TypedDict):
    question: str
    answer: str


class Inner(TypedDict):
    words: list[str]
    said: str


def say(state: Inner) -> dict:
    return {"said": llm.invoke(" ".join(state["words"])).text}


inner = StateGraph(Inner).add_node(say).add_edge(START, "say").compile()


def ask_inner(state: Outer) -> dict:
    return {"answer": inner.invoke({"words": state["question"].split()})["said"]}


subgraph_of_other_state = StateGraph(Outer).add_node(ask_inner).add_edge(START, "ask_inner").compile()

subgraph_of_same_state = (
    StateGraph(MessagesState).add_node("agent", created).add_edge(START, "agent").add_edge("agent", END).compile()
)


def supervise(state: MessagesState) -> Command[Literal["researcher", "writer", "__end__"]]:
    names = [message.name for message in state["messages"] if isinstance(message, AIMessage)]
    following = next((name for name in ("researcher", "writer") if name not in names), END)
    return Command(goto=following)


def research(state: MessagesState) -> Command[Literal["supervisor"]]:
    found = llm.invoke([SystemMessage("You look things up."), *state["messages"]])
    return Command(goto="supervisor", update={"messages": [AIMessage(found.text, name="researcher")]})


def write(state: MessagesState) -> Command[Literal["supervisor"]]:
    text = llm.invoke([SystemMessage("You write."), *state["messages"]])
    return Command(goto="supervisor", update={"messages": [AIMessage(text.text, name="writer")]})


supervisor = (
    StateGraph(MessagesState)
    .add_node("supervisor", supervise)
    .add_node("researcher", research)
    .add_node("writer", write)
    .add_edge(START, "supervisor")
)


class Draft(TypedDict):
    request: str
    draft: str
    result: str


def draft_reply(state: Draft) -> dict:
    return {"draft": llm.invoke(state["request"]).text}


def review(state: Draft) -> Command[Literal["__end__"]]:
    decision = interrupt({"question": "Shall this be sent?", "draft": state["draft"]})
    return Command(goto=END, update={"result": f"Decided: {decision}"})


interrupted = (
    StateGraph(Draft)
    .add_node(draft_reply)
    .add_node(review)
    .add_edge(START, "draft_reply")
    .add_edge("draft_reply", "review")
    .compile()
)


def remember(state: MessagesState, config: RunnableConfig, *, store: BaseStore) -> dict:
    namespace = ("memories", config["configurable"].get("user_id", "everybody"))
    known = [item.value["text"] for item in store.search(namespace)]
    store.put(namespace, str(uuid.uuid4()), {"text": state["messages"][-1].text})
    asked = [SystemMessage("Known: " + "; ".join(known)), HumanMessage(state["messages"][-1].text)]
    return {"messages": [llm.invoke(asked)]}


memory = StateGraph(MessagesState).add_node(remember).add_edge(START, "remember").compile(store=InMemoryStore())
memory_from_outside = StateGraph(MessagesState).add_node(remember).add_edge(START, "remember")
