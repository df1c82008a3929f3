"""Approvals: what waits for a person's decision, and the record of what was decided.

A row is one interrupt of one thread. Invariant: it is decided once, by whoever comes first; what was asked is never
changed, and what was decided stands beside it: who, when, what before, what after, why.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import ForbiddenError, NotFoundError
from core.history.interrupts import SAID, Action, read_actions
from core.ids import (
    ApprovalId,
    ConversationId,
    MessageId,
    RuleId,
    SessionId,
    ThreadId,
    UserId,
)
from core.tables import Approval, Conversation, Message, Thread, User

_approval, _thread, _message = table_of(Approval), table_of(Thread), table_of(Message)
_conversation, _user = table_of(Conversation), table_of(User)
_decider = _user.alias("decider")
_MOST_IDS = 500


@dataclass(frozen=True)
class ApprovalRow:
    """An approval with what led to it: ``question`` is the message, ``answer`` what was said until now.

    ``runs_again`` are the tools that the step has run by then, and runs a second time when it goes on.
    """

    approval_id: ApprovalId
    thread_id: ThreadId
    message_id: MessageId
    conversation_id: ConversationId
    session_id: SessionId
    user_id: UserId
    user_name: str
    agent_id: str
    title: str
    question: str
    answer: str
    interrupt_id: str
    node: str
    kind: str
    tool: str
    arguments: Any
    arguments_hash: str
    value: Any
    response_schema: dict[str, Any] | None
    runs_again: list[str] | None
    status: str
    waiting_since: datetime
    expires_at: datetime | None
    decision: str | None
    arguments_after: Any
    response: Any
    reason: str
    rule_id: RuleId | None
    decided_by: UserId | None
    decided_by_name: str | None
    decided_at: datetime | None
    applied_at: datetime | None

    @property
    def actions(self) -> tuple[Action, ...]:
        """The tool calls it asks about; none where it asks something else."""
        return read_actions(self.value, self.response_schema) if self.kind == "tool" else ()

    @property
    def said(self) -> Any:
        """What the graph said when it paused by itself; None where it was built to stop."""
        return self.value.get(SAID) if self.kind == "pause" and isinstance(self.value, dict) else None

    @property
    def is_waiting(self) -> bool:
        return self.status == "waiting"


def list_approvals(
    viewer: Viewer, db: Db, *, everyone: bool = False, waiting: bool = True, limit: int = 200
) -> list[ApprovalRow]:
    """What waits for the viewer, the oldest first; else what was decided, newest first. For all: admins only."""
    if everyone:
        viewer.require_admin()
    query = _WAITING if waiting else _DECIDED
    if not everyone:
        query = query.where(_approval.c.user_id == viewer.user_id)
    return read_rows(db, query.limit(limit), {})


def list_of_thread(viewer: Viewer, db: Db, thread_id: ThreadId) -> list[ApprovalRow]:
    """All approvals of a thread that the viewer may read, the oldest first."""
    return list_of_threads(viewer, db, [thread_id]).get(thread_id, [])


def list_of_threads(viewer: Viewer, db: Db, thread_ids: Collection[ThreadId]) -> dict[ThreadId, list[ApprovalRow]]:
    """The same of several threads at once; a thread without any is left out."""
    found: dict[ThreadId, list[ApprovalRow]] = {}
    ids = list(thread_ids)
    for start in range(0, len(ids), _MOST_IDS):
        for row in read_rows(db, OF_THREADS, {"threads": ids[start : start + _MOST_IDS]}):
            if viewer.may_read(row.user_id):
                found.setdefault(row.thread_id, []).append(row)
    return found


def get_approval(viewer: Viewer, db: Db, approval_id: ApprovalId) -> ApprovalRow:
    """One approval; NotFoundError when it is not there for this viewer."""
    rows = read_rows(db, _BY_ID, {"key": approval_id})
    if not rows or not viewer.may_read(rows[0].user_id):
        raise NotFoundError("There is no such approval here; it may have been deleted, or the link is wrong.")
    return rows[0]


def count_waiting(viewer: Viewer, db: Db) -> int:
    """How many approvals wait for the viewer."""
    return db.connection().execute(_COUNT, {"who": viewer.user_id}).scalar_one()


def require_decider(viewer: Viewer, row: ApprovalRow) -> None:
    """ForbiddenError for all but the person whose run it is, and admins."""
    if row.user_id != viewer.user_id and not viewer.is_admin:
        raise ForbiddenError("Only the person who started this run, or an admin, can decide this.")


def read_rows(db: Db, query: Select[Any], given: dict[str, Any]) -> list[ApprovalRow]:
    return [_to_row(row) for row in db.connection().execute(query, given)]


def _to_row(row: Row[Any]) -> ApprovalRow:
    return ApprovalRow(**row._mapping)


ALL = (
    select(
        _approval.c.approval_id,
        _approval.c.thread_id,
        _thread.c.message_id,
        _message.c.conversation_id,
        _conversation.c.session_id,
        _approval.c.user_id,
        _user.c.name.label("user_name"),
        _thread.c.agent_id,
        _conversation.c.title,
        _message.c.content.label("question"),
        _message.c.answer,
        *(
            _approval.c[name]
            for name in (
                "interrupt_id",
                "node",
                "kind",
                "tool",
                "arguments",
                "arguments_hash",
                "value",
                "response_schema",
                "runs_again",
                "status",
                "waiting_since",
                "expires_at",
                "decision",
                "arguments_after",
                "response",
                "reason",
                "rule_id",
                "decided_by",
                "decided_at",
                "applied_at",
            )
        ),
        _decider.c.name.label("decided_by_name"),
    )
    .join(_thread, _thread.c.thread_id == _approval.c.thread_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .join(_user, _user.c.user_id == _approval.c.user_id)
    .outerjoin(_decider, _decider.c.user_id == _approval.c.decided_by)
)
OLDEST = (_approval.c.waiting_since, _approval.c.approval_id)
THERE = (_message.c.deleted_at.is_(None), _conversation.c.deleted_at.is_(None))
_IS_WAITING = _approval.c.status == "waiting"
_BY_ID = ALL.where(_approval.c.approval_id == bindparam("key"), *THERE)
_WAITING = ALL.where(_IS_WAITING, *THERE).order_by(*OLDEST)
_DECIDED = ALL.where(_approval.c.decided_at.is_not(None), *THERE).order_by(
    _approval.c.decided_at.desc(), _approval.c.approval_id.desc()
)
OF_THREADS = ALL.where(_approval.c.thread_id.in_(bindparam("threads", expanding=True))).order_by(*OLDEST)
_COUNT = (
    select(func.count())
    .select_from(_approval)
    .join(_thread, _thread.c.thread_id == _approval.c.thread_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .where(_IS_WAITING, _approval.c.user_id == bindparam("who"), *THERE)
)
