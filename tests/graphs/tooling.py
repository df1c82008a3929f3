"""A graph whose model streams tool calls, and tools that show things, fail, say hostile things, or ask a person.

The message says which tools are called: ``look_up`` or ``picture hostile``; ``beside`` has others speak as well.
"""

import base64
import operator
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Annotated, Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.runtime import Runtime
from langgraph.types import Send, interrupt
from PIL import Image

HOSTILE = (
    "<script>alert(1)</script><img src=x onerror=alert(1)> ![](https://evil.example/a.png)\x1b[31m\0\x07\ud800"
)
ARGS = '{"query": "tea and more"}'


class Scripted(BaseChatModel):
    """Says a sentence and calls the tools that the last person's message names, then says what is left to say."""

    slices: int = 4

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        raise NotImplementedError

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._chunks(messages):
            yield ChatGenerationChunk(message=chunk)

    def _chunks(self, messages: list[BaseMessage]) -> list[AIMessageChunk]:
        asked = next(m.text for m in reversed(messages) if isinstance(m, HumanMessage)).split()
        if isinstance(messages[-1], ToolMessage):
            return [AIMessageChunk(text) for text in ("So ", "it is.")]
        chunks = [AIMessageChunk(text) for text in ("Let me ", "look.")]
        for index, name in enumerate(word for word in asked if word in TOOLS):
            named = tool_call_chunk(name=name, args="", id=f"call-{index}", index=index)
            chunks.append(AIMessageChunk("", tool_call_chunks=[named]))
            for start in range(0, len(ARGS), self.slices):
                piece = tool_call_chunk(name=None, args=ARGS[start : start + self.slices], id=None, index=index)
                chunks.append(AIMessageChunk("", tool_call_chunks=[piece]))
        return chunks


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


@tool
async def failing(query: str) -> str:
    """Fail."""
    raise ValueError(f"no {query}")


@tool
async def hostile(query: str) -> str:
    """Say hostile things, and much of them."""
    return HOSTILE + "x" * 10_000_000


@tool
def asking(query: str) -> str:
    """Ask a person first."""
    return f"they said {interrupt({'question': query})}"


@tool(response_format="content_and_artifact")
async def showing(query: str) -> tuple[str, dict[str, Any]]:
    """Show a table and a chart."""
    table = {
        "type": "table",
        "title": "Counted",
        "columns": ["what", "how many"],
        "rows": [["tea", 3], ["milk", 4]],
    }
    spec = {
        "data": {"values": [{"a": "x", "b": 1}, {"a": "y", "b": 2}]},
        "mark": "bar",
        "encoding": {"x": {"field": "a"}, "y": {"field": "b"}},
    }
    return "shown", {"shows": [table, {"type": "chart", "spec": spec}]}


@tool
def picture(query: str) -> list[dict[str, Any]]:
    """Show a picture."""
    content = BytesIO()
    Image.new("RGB", (40, 20), "teal").save(content, "PNG")
    return [
        {"type": "text", "text": "a picture"},
        {"type": "image", "base64": base64.b64encode(content.getvalue()).decode(), "mime_type": "image/png"},
    ]


TOOLS = {one.name: one for one in (look_up, failing, hostile, asking, showing, picture)}
MODEL = Scripted()


class State(MessagesState):
    notes: Annotated[list[str], operator.add]


async def _model(state: State) -> dict[str, Any]:
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


async def _aside(state: dict[str, str], runtime: Runtime[Any]) -> dict[str, Any]:
    runtime.stream_writer({"done": 1, "total": 4, "name": state["what"]})
    answer = await MODEL.ainvoke([HumanMessage(state["what"])])
    return {"notes": [answer.text]}


def _fan_out(state: State) -> list[Send | str]:
    text = state["messages"][-1].text
    return [*(Send("aside", {"what": what}) for what in ("one", "two") if "beside" in text), "model"]


tooling = (
    StateGraph(State)
    .add_node("model", _model)
    .add_node("tools", ToolNode(list(TOOLS.values()), handle_tool_errors=True))
    .add_node("aside", _aside)
    .add_conditional_edges(START, _fan_out, ["model", "aside"])
    .add_conditional_edges("model", tools_condition)
    .add_edge("tools", "model")
)
