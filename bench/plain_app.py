"""What Skein is measured against: the shortest Streamlit chat over a graph, with the same demo model and pace.

Nothing outlives the script here: no accounts, no log of events, no run apart from the page.
"""

import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import streamlit as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, MessagesState, StateGraph

from core.agents.demo import DemoChatModel


@st.cache_resource
def open_graph() -> Any:
    """One graph with one saver for everybody, as Streamlit's guides have it."""
    model = DemoChatModel(tokens_per_second=float(os.environ["SKEIN_DEMO_TOKENS_PER_SECOND"]))
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "answer")
    return builder.compile(checkpointer=_open_saver(os.environ["PLAIN_SAVER"]))


def _open_saver(kind: str) -> Any:
    if kind == "memory":
        return InMemorySaver()
    path = Path(os.environ["SKEIN_DATA_DIR"]) / "plain.db"
    return SqliteSaver(sqlite3.connect(path, check_same_thread=False))


def stream(text: str) -> Iterator[str]:
    config = {"configurable": {"thread_id": st.session_state.setdefault("thread", str(uuid4()))}}
    given = {"messages": [HumanMessage(text)]}
    for chunk, _about in open_graph().stream(given, config, stream_mode="messages"):
        yield chunk.text


text = st.chat_input("Message")
if text:
    with st.chat_message("user"):
        st.markdown(text)
    with st.chat_message("assistant"):
        st.write_stream(stream(text))
