"""The assistant that ships with Skein: it answers, and folds old turns into a summary that the model sees.

Invariant: what stays in the state begins with a person's message, so that no tool result is ever left without
the call it answers. The transcript that people see is kept elsewhere and is not shortened by this.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from langchain_core.messages import AnyMessage, HumanMessage, RemoveMessage, SystemMessage
from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_NOSTREAM
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime

from core.agents.field_schemas import FILLED_BY_THE_GRAPH
from core.agents.models import ChatModels
from core.calls.context import COMPACTED_KEY

_SUMMARY_HEADING = "Summary of the conversation so far:"
_CREATE = "Write a summary of the conversation above, in its own language, in at most ten sentences."
_EXTEND = (
    "Extend the summary above with what was said since, in the language of the conversation; "
    "give the whole summary, in at most fifteen sentences."
)
# LangGraph leaves calls with this tag out of its message stream, and so do we: a summary is not an answer.
_SILENT: RunnableConfig = {"tags": [TAG_NOSTREAM]}


class AssistantState(MessagesState):
    """The messages the model still sees word for word, and a summary of those before them."""

    summary: Annotated[str, FILLED_BY_THE_GRAPH]


@dataclass(frozen=True)
class AssistantContext:
    """What a run is given from outside, never stored: where models come from, and how to use them."""

    chat_models: ChatModels
    model: str = ""
    temperature: float | None = None
    max_messages: int = 6
    keep_last: int = 2


def find_cut(messages: Sequence[AnyMessage], *, keep_last: int) -> int:
    """Say how many of the oldest messages can go, so that what is kept begins with a person's message."""
    wanted = max(len(messages) - keep_last, 0)
    later = range(wanted, len(messages))
    earlier = range(min(wanted, len(messages)) - 1, -1, -1)
    return next((i for i in (*later, *earlier) if isinstance(messages[i], HumanMessage)), 0)


def _with_summary(summary: str, messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    front = [SystemMessage(f"{_SUMMARY_HEADING}\n\n{summary}")] if summary else []
    return [*front, *messages]


async def _conversation(state: AssistantState, runtime: Runtime[AssistantContext]) -> dict[str, Any]:
    context = runtime.context
    model = context.chat_models.get(context.model, temperature=context.temperature)
    summary = state.get("summary", "")
    compacted: RunnableConfig = {"metadata": {COMPACTED_KEY: bool(summary)}}
    answer = await model.ainvoke(_with_summary(summary, state["messages"]), compacted)
    return {"messages": [answer]}


async def _summarize_conversation(state: AssistantState, runtime: Runtime[AssistantContext]) -> dict[str, Any]:
    context, summary = runtime.context, state.get("summary", "")
    old = state["messages"][: find_cut(state["messages"], keep_last=context.keep_last)]
    request = HumanMessage(_EXTEND if summary else _CREATE)
    model = context.chat_models.get(context.model, temperature=context.temperature)
    silent = _SILENT | {"metadata": {COMPACTED_KEY: bool(summary)}}
    answer = await model.ainvoke([*_with_summary(summary, old), request], silent)
    if not answer.text.strip():
        # An empty summary would lose what it was meant to keep; the next turn tries again.
        return {}
    return {"summary": answer.text, "messages": [RemoveMessage(id=str(message.id)) for message in old]}


async def _after_answer(
    state: AssistantState, runtime: Runtime[AssistantContext]
) -> Literal["summarize_conversation", "__end__"]:
    messages, context = state["messages"], runtime.context
    if len(messages) > context.max_messages and find_cut(messages, keep_last=context.keep_last):
        return "summarize_conversation"
    return "__end__"


def build_graph() -> StateGraph[AssistantState, AssistantContext, AssistantState, AssistantState]:
    """Build the assistant's graph, not yet compiled."""
    builder = StateGraph(AssistantState, context_schema=AssistantContext)
    builder.add_node("conversation", _conversation)
    builder.add_node("summarize_conversation", _summarize_conversation)
    builder.add_edge(START, "conversation")
    builder.add_conditional_edges("conversation", _after_answer)
    builder.add_edge("summarize_conversation", END)
    return builder


graph = build_graph()
