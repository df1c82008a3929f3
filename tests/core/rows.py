"""Rows of sessions for the tests of what is derived from them: as the engine writes them, and changed at will."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.ids import (
    UserId,
    new_branch_id,
    new_call_id,
    new_conversation_id,
    new_correction_id,
    new_message_id,
    new_session_id,
    new_thread_id,
)
from core.tables import Branch, Conversation, CostCorrection, LlmCall, Message, Session, Thread, User

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BOB = Viewer(UserId("user_ann"), "ann"), Viewer(UserId("user_bob"), "bob")
AUDITOR = Viewer(UserId("user_eve"), "eve", "analyst")
SESSION, CONVERSATION, MESSAGE = table_of(Session), table_of(Conversation), table_of(Message)
THREAD, BRANCH, CALL = table_of(Thread), table_of(Branch), table_of(LlmCall)


class Rows:
    """Makes the rows of sessions, as the engine would, and changes them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        for viewer in (ANN, BOB):
            self.write(lambda db, viewer=viewer: db.add(User(user_id=viewer.user_id, name=viewer.name)))

    def write(self, job: Callable[[Db], Any]) -> Any:
        return self.database.write(job)

    def session(self, title: str = "A session", of: Viewer = ANN) -> str:
        session_id = new_session_id()
        row = Session(session_id=session_id, user_id=of.user_id, title=title, created_at=NOON)
        self.write(lambda db: db.add(row))
        return session_id

    def conversation(self, session_id: str) -> str:
        conversation_id = new_conversation_id()
        self.write(lambda db: db.add(Conversation(conversation_id=conversation_id, session_id=session_id)))
        return conversation_id

    def message(
        self,
        conversation_id: str,
        content: str = "",
        answer: str = "",
        *,
        minute: float = 0,
        status: str = "done",
        **more: Any,
    ) -> str:
        message_id, at = new_message_id(), NOON + timedelta(minutes=minute)
        message = Message(
            message_id=message_id, conversation_id=conversation_id, content=content, answer=answer, created_at=at
        )
        thread = Thread(thread_id=new_thread_id(), message_id=message_id, user_id=ANN.user_id, **more)
        thread.status, thread.created_at = status, at

        def job(db: Db) -> None:
            db.add(message)
            db.flush()
            db.add(thread)

        self.write(job)
        return message_id

    def branch(self, conversation_id: str, head: str) -> str:
        row = Branch(
            branch_id=new_branch_id(),
            conversation_id=conversation_id,
            head_message_id=head,
            user_id=ANN.user_id,
            name=head,
        )
        self.write(lambda db: db.add(row))
        return row.branch_id

    def call(self, session_id: str | None, status: str = "ok", **more: Any) -> str:
        row = LlmCall(call_id=new_call_id(), run_id="", created_at=NOON, session_id=session_id, **more)
        row.status = status
        self.write(lambda db: db.add(row))
        return row.call_id

    def correct(self, call_id: str, cost: float | None) -> None:
        row = CostCorrection(correction_id=new_correction_id(), call_id=call_id, created_at=NOON, cost_usd=cost)
        self.write(lambda db: db.add(row))

    def change(self, table: Any, key: str, **values: Any) -> None:
        column = next(iter(table.primary_key)) if table is not THREAD else THREAD.c.message_id
        self.write(lambda db: db.connection().execute(update(table).where(column == key).values(**values)))
