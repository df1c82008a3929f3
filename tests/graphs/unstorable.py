"""A graph whose state, errors, tools and models hold what PostgreSQL's JSON or text cannot."""

from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode

ODD = "a\0b\ud800c"


class State(TypedDict, total=False):
    messages: Annotated[list[BaseMessage], add_messages]
    text: str
    number: float
    least: float
    deep: dict[str, Any]
    many: list[Any]


class OddModel(BaseChatModel):
    """Says odd things about itself, as a provider may."""

    @property
    def _llm_type(self) -> str:
        return ODD

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        calls = (
            [{"name": "echo", "args": {"text": ODD, ODD: 1}, "id": f"call{ODD}"}]
            if "call" in messages[-1].text
            else []
        )
        about = {"finish_reason": ODD, "model_name": ODD, "id": ODD, "system_fingerprint": ODD}
        message = AIMessage(f"said {ODD}", tool_calls=calls, response_metadata=about)
        return ChatResult(generations=[ChatGeneration(message=message)])


@tool
def echo(text: str) -> str:
    """Give the text back."""
    return text


def values(state: State) -> dict[str, Any]:
    return {
        "text": ODD,
        "number": float("nan"),
        "least": float("-inf"),
        "deep": {ODD: {"x": ODD, "n": float("nan")}},
        "many": [ODD, float("inf"), (ODD,)],
        "messages": [AIMessage(f"values {ODD}", additional_kwargs={ODD: ODD})],
    }


def fail(state: State) -> dict[str, Any]:
    raise RuntimeError(f"failed with {ODD}")


def ask(state: State) -> dict[str, Any]:
    return {"messages": [OddModel().invoke(state["messages"])]}


def route(state: State) -> str:
    said = state["messages"][-1].text
    return {"values": "values", "fail": "fail", "ask": "ask", "call": "ask"}[said.split()[0]]


def after(state: State) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else "__end__"


builder = StateGraph(State)
builder.add_node("values", values)
builder.add_node("fail", fail)
builder.add_node("ask", ask)
builder.add_node("tools", ToolNode([echo]))
builder.add_conditional_edges(START, route, ["values", "fail", "ask"])
builder.add_conditional_edges("ask", after, ["tools", "__end__"])
graph = builder.compile().with_config({"metadata": {"odd": ODD, f"key{ODD}": "x", "nan": float("nan")}})
