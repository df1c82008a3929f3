"""A graph whose state names artifacts: those that the message names, ``plan=`` before the one that is its plan."""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph


class State(MessagesState):
    task_plan_id: str
    result_artifact_ids: list[str]


def _name(state: State) -> dict[str, Any]:
    words = state["messages"][-1].text.split()
    plans = [word.removeprefix("plan=") for word in words if word.startswith("plan=")]
    named: dict[str, Any] = {"messages": [AIMessage("Named.")]}
    if plans:
        named["task_plan_id"] = plans[-1]
    if any(word.startswith("art_") for word in words):
        named["result_artifact_ids"] = [word for word in words if word.startswith("art_")]
    return named


graph = StateGraph(State).add_node("name", _name).add_edge(START, "name")
