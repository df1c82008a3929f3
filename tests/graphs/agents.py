"""LangChain's create_agent with each of its middlewares, and teams of agents, for comparing bare and in Skein."""

import os
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain.agents import middleware as ready
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import InjectedToolCallId, tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState
from langgraph.types import Command
from pydantic import BaseModel

from tests.graphs.all_shapes import TOOLS, fails


class Weather(BaseModel):
    """The weather somewhere."""

    city: str
    degrees: int = 20


def _model(**more: Any) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=os.environ["MODEL_URL"], api_key="k", max_retries=0, **more)


def _agent(*middleware: Any, tools: Any = TOOLS, **more: Any) -> Any:
    return create_agent(_model(), tools, middleware=middleware, system_prompt="Help.", **more)


def plain() -> Any:
    return _agent()


def by_tool() -> Any:
    return _agent(response_format=ToolStrategy(Weather))


def by_provider() -> Any:
    return _agent(response_format=ProviderStrategy(Weather))


def failing_tool() -> Any:
    return _agent(ready.ToolRetryMiddleware(max_retries=1, initial_delay=0.01, jitter=False), tools=[fails])


def summarizing() -> Any:
    return _agent(ready.SummarizationMiddleware(_model(), trigger=("messages", 4), keep=("messages", 2)))


def to_do() -> Any:
    return _agent(ready.TodoListMiddleware())


def model_limit() -> Any:
    return _agent(ready.ModelCallLimitMiddleware(run_limit=1, exit_behavior="end"))


def tool_limit() -> Any:
    return _agent(ready.ToolCallLimitMiddleware(run_limit=1))


def fallback() -> Any:
    return _agent(ready.ModelFallbackMiddleware(_model(temperature=0.5)))


def pii() -> Any:
    return _agent(ready.PIIMiddleware("email", strategy="redact"))


def editing() -> Any:
    return _agent(ready.ContextEditingMiddleware())


def selecting() -> Any:
    return _agent(ready.LLMToolSelectorMiddleware(model=_model(), max_tools=1))


def model_retry() -> Any:
    return _agent(ready.ModelRetryMiddleware(max_retries=1, initial_delay=0.01, jitter=False))


@ready.before_model
def counts(state: Any, runtime: Any) -> dict[str, Any] | None:
    return None


@ready.wrap_model_call
async def shorter(request: Any, handler: Any) -> Any:
    return await handler(request.override(messages=request.messages[-3:]))


def hooked() -> Any:
    return _agent(counts, shorter)


def asking_first() -> Any:
    return _agent(ready.HumanInTheLoopMiddleware({"add": True}))


def _hand_to(name: str) -> Any:
    @tool(f"transfer_to_{name}")
    def hand(state: Annotated[Any, InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]) -> Command:
        """Hand the conversation over."""
        done = ToolMessage(f"Now {name} answers.", tool_call_id=tool_call_id, name=f"transfer_to_{name}")
        update = {"messages": [*state["messages"], done], "active": name}
        return Command(goto=name, graph=Command.PARENT, update=update)

    return hand


class Team(MessagesState):
    active: str


def team() -> Any:
    graph = StateGraph(Team)
    graph.add_node("alice", _agent(tools=[_hand_to("bob")]), destinations=("bob",))
    graph.add_node("bob", _agent(tools=TOOLS))
    graph.add_edge(START, "alice")
    return graph.compile()


def supervisor() -> Any:
    worker = _agent(tools=TOOLS)

    @tool
    async def ask_worker(question: str) -> str:
        """Let the worker answer."""
        state = await worker.ainvoke({"messages": [HumanMessage(question)]})
        return str(state["messages"][-1].text)

    return _agent(tools=[ask_worker])


async def _wraps(state: MessagesState) -> dict[str, Any]:
    inner = await _agent().ainvoke({"messages": state["messages"]})
    return {"messages": [AIMessage(inner["messages"][-1].text, name="researcher")]}


def wrapped() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("wraps", _wraps)
    graph.add_edge(START, "wraps")
    return graph.compile()
