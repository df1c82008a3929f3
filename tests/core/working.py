"""A shipped agent at work on a real database: a person, a message of theirs, and the graph that answers it."""

from typing import Any

from langchain_core.messages import HumanMessage, ToolMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph
from langgraph.types import Command, Interrupt
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.agents.models import ChatModels
from core.agents.workspace import WorkContext, Workspace
from core.calls.panels.rollups import count_calls
from core.database import Database, table_of
from core.history.messages import Added, NewMessage, add_message
from core.ids import new_call_id, new_user_id
from core.settings import Settings
from core.tables import LlmCall, User, utc_now

DEMO = Settings(_env_file=None, model="demo", demo_tokens_per_second=0)


def add_person(database: Database, name: str, role: str = "member") -> Viewer:
    viewer = Viewer(new_user_id(), name, role)
    database.write(lambda db: db.add(User(user_id=viewer.user_id, name=name, role=role)))
    return viewer


def say(database: Database, viewer: Viewer, text: str, **new: Any) -> Added:
    """Write a message as the engine would, without running anything."""
    message = NewMessage(text, **new)
    return database.write(lambda db: add_message(viewer, db, message, worker="none", lease_until=utc_now()))


def workspace_of(database: Database, viewer: Viewer, added: Added, **changes: Any) -> Workspace:
    given: dict[str, Any] = {
        "session_id": added.session_id,
        "conversation_id": added.conversation_id,
        "message_id": added.message_id,
        "thread_id": added.thread_id,
        "threads": (added.thread_id,),
    }
    member = Viewer(viewer.user_id, viewer.name, "member")
    return Workspace(database=database, viewer=member, **(given | changes))


def add_calls(database: Database, *calls: dict[str, Any]) -> None:
    """Ended calls of the log, counted as the log counts them."""
    table = table_of(LlmCall)
    given = {"operation": "chat", "status": "ok", "attempt": 1, "streamed": True, "context_compacted": False}
    given |= {"params": {}, "tags": [], "attributed": True, "duration_ms": 5.0, "agent_id": "assistant"}
    empty = dict.fromkeys(column.name for column in table.columns)
    rows = [
        empty | given | {"call_id": new_call_id(), "run_id": "run", "created_at": utc_now(), **call}
        for call in calls
    ]

    def job(db: Db) -> None:
        db.connection().execute(table.insert(), rows)
        count_calls(db, rows)

    database.write(job)


class Work:
    """One thread of an agent with tools."""

    def __init__(
        self, graph: Any, database: Database, viewer: Viewer, text: str, *, settings: Settings = DEMO, **new: Any
    ) -> None:
        self.added = say(database, viewer, text, **new)
        self.text = text
        self.workspace = workspace_of(database, viewer, self.added)
        self.use(settings)
        self.config: Any = {"configurable": {"thread_id": self.added.thread_id}}
        saver = InMemorySaver()
        self.graph = (
            graph.compile(checkpointer=saver)
            if isinstance(graph, StateGraph)
            else graph.copy(update={"checkpointer": saver})
        )

    def use(self, settings: Settings) -> None:
        """Take the models from these settings from now on."""
        self.models = ChatModels(settings)
        self.context = WorkContext(chat_models=self.models, workspace=self.workspace)

    async def begin(self) -> dict[str, Any]:
        message = HumanMessage(self.text, id=self.added.message_id)
        return await self._go({"messages": [message]})

    async def say(self, text: str) -> dict[str, Any]:
        """One more message on the same thread."""
        return await self._go({"messages": [HumanMessage(text)]})

    async def resume(self, answer: Any) -> dict[str, Any]:
        (waiting,) = await self.waiting()
        return await self._go(Command(resume={waiting.id: answer}))

    async def _go(self, given: Any) -> dict[str, Any]:
        await self.graph.ainvoke(given, self.config, context=self.context)
        return await self.state()

    async def state(self) -> dict[str, Any]:
        return (await self.graph.aget_state(self.config)).values

    async def waiting(self) -> list[Interrupt]:
        return list((await self.graph.aget_state(self.config)).interrupts)


def tools_called(state: dict[str, Any]) -> list[str]:
    return [call["name"] for message in state["messages"] for call in getattr(message, "tool_calls", ())]


def result_of(state: dict[str, Any], tool: str) -> ToolMessage:
    return next(one for one in state["messages"] if isinstance(one, ToolMessage) and one.name == tool)
