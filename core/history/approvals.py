"""Approvals: what waits for a person's decision, and the record of what was decided.

A row is one interrupt of one thread. Invariant: it is decided once, by whoever comes first; what was asked is never
changed, and what was decided stands beside it: who, when, what before, what after, why.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, bindparam, func, insert, select, update
from sqlalchemy.engine import CursorResult
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import ConflictError, ForbiddenError, NotFoundError
from core.history.interrupts import (
    Action,
    Asked,
    arguments_hash,
    exactly,
    kind_of,
    read_actions,
    tool_and_arguments,
)
from core.ids import (
    ApprovalId,
    ConversationId,
    MessageId,
    RuleId,
    SessionId,
    ThreadId,
    UserId,
    new_approval_id,
)
from core.tables import Approval, Conversation, Message, Thread, User, clean_text, utc_now

_approval, _thread, _message = table_of(Approval), table_of(Thread), table_of(Message)
_conversation, _user = table_of(Conversation), table_of(User)
_decider = _user.alias("decider")
_MOST_IDS = 500
_DENIED = "denied:"


@dataclass(frozen=True)
class ApprovalRow:
    """An approval with what led to it: ``question`` is the message, ``answer`` what was said until now."""

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
    def is_waiting(self) -> bool:
        return self.status == "waiting"


@dataclass(frozen=True)
class Decided:
    """What is written into an approval: by a person, a rule, or (neither) because its time was over."""

    decision: str
    response: Any
    arguments_after: Any = None
    reason: str = ""
    decided_by: str | None = None
    rule_id: str | None = None


def list_approvals(
    viewer: Viewer, db: Db, *, everyone: bool = False, waiting: bool = True, limit: int = 200
) -> list[ApprovalRow]:
    """What waits for the viewer, the oldest first; else what was decided, newest first. For all: admins only."""
    if everyone:
        viewer.require_admin()
    query = _WAITING if waiting else _DECIDED
    if not everyone:
        query = query.where(_approval.c.user_id == viewer.user_id)
    return _rows(db, query.limit(limit), {})


def list_of_thread(viewer: Viewer, db: Db, thread_id: ThreadId) -> list[ApprovalRow]:
    """All approvals of a thread that the viewer may read, the oldest first."""
    return list_of_threads(viewer, db, [thread_id]).get(thread_id, [])


def list_of_threads(viewer: Viewer, db: Db, thread_ids: Collection[ThreadId]) -> dict[ThreadId, list[ApprovalRow]]:
    """The same of several threads at once; a thread without any is left out."""
    found: dict[ThreadId, list[ApprovalRow]] = {}
    ids = list(thread_ids)
    for start in range(0, len(ids), _MOST_IDS):
        for row in _rows(db, _OF_THREADS, {"threads": ids[start : start + _MOST_IDS]}):
            if viewer.may_read(row.user_id):
                found.setdefault(row.thread_id, []).append(row)
    return found


def get_approval(viewer: Viewer, db: Db, approval_id: ApprovalId) -> ApprovalRow:
    """One approval; NotFoundError when it is not there for this viewer."""
    rows = _rows(db, _BY_ID, {"key": approval_id})
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


# -- steps of the engine's transactions -------------------------------------------------------------------


def write_asked(
    db: Db,
    thread_id: ThreadId,
    user_id: UserId,
    asked: Iterable[Asked],
    *,
    expires_after: Callable[[Asked], timedelta | None],
) -> list[ApprovalRow]:
    """Make what a thread waits for agree with its open interrupts; gives what is new and waits.

    What asked the same before stays as it is, another question of the same interrupt takes the old one's place, and
    what is not asked any more is ``gone``.
    """
    known = {row.interrupt_id: row for row in _rows(db, _WAITING_OF, {"thread": thread_id})}
    fresh = []
    for one in asked:
        told = arguments_hash(*tool_and_arguments(one))
        before = known.pop(one.interrupt_id, None)
        if before is not None and before.arguments_hash == told:
            continue
        if before is not None:
            _settle(db, [before.approval_id], "superseded")
        fresh.append({"thread_id": thread_id, "user_id": user_id, **_row(one, told, expires_after(one))})
    _settle(db, [row.approval_id for row in known.values()], "gone")
    if not fresh:
        return []
    db.connection().execute(_INSERT, fresh)
    new = {row["approval_id"] for row in fresh}
    return [row for row in _rows(db, _WAITING_OF, {"thread": thread_id}) if row.approval_id in new]


def _row(asked: Asked, told: str, expires_after: timedelta | None) -> dict[str, Any]:
    now, (tool, arguments) = utc_now(), tool_and_arguments(asked)
    return {
        "approval_id": new_approval_id(),
        "interrupt_id": asked.interrupt_id,
        "node": clean_text(asked.node),
        "kind": kind_of(asked),
        "tool": clean_text(tool),
        "arguments": arguments,
        "arguments_hash": told,
        "value": asked.value,
        "response_schema": asked.response_schema,
        "status": "waiting",
        "reason": "",
        "waiting_since": now,
        "expires_at": now + expires_after if expires_after is not None else None,
    }


def write_denied(
    db: Db,
    thread_id: ThreadId,
    user_id: UserId,
    uses: Sequence[tuple[RuleId, str | None, str, Any]],
) -> None:
    """Note which tool calls (rule, id of the call, tool, arguments) rules have denied in a thread, each once."""
    known = {row.interrupt_id for row in _rows(db, _OF_THREADS, {"threads": [thread_id]})}
    now = utc_now()
    rows: dict[str, dict[str, Any]] = {}
    for place, (rule_id, call_id, tool, arguments) in enumerate(uses):
        key = f"{_DENIED}{call_id or f'{now.timestamp()}.{place}'}"
        if key in known:
            continue
        rows[key] = {
            "approval_id": new_approval_id(),
            "thread_id": thread_id,
            "user_id": user_id,
            "interrupt_id": key,
            "node": "",
            "kind": "tool",
            "tool": clean_text(tool),
            "arguments": exactly(arguments),
            "arguments_hash": arguments_hash(tool, exactly(arguments)),
            "status": "decided",
            "decision": "refuse",
            "reason": "A rule denies this tool.",
            "rule_id": rule_id,
            "waiting_since": now,
            "decided_at": now,
            "applied_at": now,
        }
    if rows:
        db.connection().execute(_INSERT, list(rows.values()))


def write_decision(db: Db, approval_id: ApprovalId, decided: Decided, *, told: str) -> None:
    """Decide what waits, once; ConflictError when somebody was first, or when what is asked has changed."""
    change = {
        "key": approval_id,
        "told": told,
        "new_decision": decided.decision,
        "new_response": decided.response,
        "new_arguments": decided.arguments_after,
        "new_reason": decided.reason,
        "new_by": decided.decided_by,
        "new_rule": decided.rule_id,
        "new_at": utc_now(),
    }
    if not _count(db.connection().execute(_DECIDE, change)):
        raise ConflictError("This was decided or has changed in the meantime; look at what it asks now.")


def mark_applied(db: Db, approval_id: ApprovalId) -> None:
    """Note that a run has taken a decision up; ConflictError when one had before."""
    if not _count(db.connection().execute(_APPLY, {"key": approval_id, "now": utc_now()})):
        raise ConflictError("Another run has taken this decision up.")


def find_unapplied(db: Db, thread_id: str) -> ApprovalRow | None:
    """The oldest decision of a thread that no run has taken up."""
    rows = _rows(db, _UNAPPLIED, {"thread": thread_id})
    return rows[0] if rows else None


def withdraw_waiting(db: Db, thread_id: ThreadId, *, by: UserId | None, reason: str = "") -> None:
    """Let nobody decide any more what a thread asked, and forget decisions that were not taken up."""
    change = {"thread": thread_id, "new_by": by, "new_reason": reason, "new_at": utc_now()}
    db.connection().execute(_WITHDRAW, change)


def list_expired(db: Db, now: datetime, *, limit: int = 100) -> list[ApprovalRow]:
    """What waits though its time is over."""
    return _rows(db, _EXPIRED.limit(limit), {"now": now})


def list_granted(db: Db, thread_id: str) -> list[ApprovalRow]:
    """What was approved in a thread."""
    return _rows(db, _GRANTED, {"thread": thread_id})


def settle_gone(db: Db, approval_id: ApprovalId) -> None:
    _settle(db, [approval_id], "gone")


def _settle(db: Db, ids: Collection[ApprovalId], status: str) -> None:
    if ids:
        db.connection().execute(_SETTLE, {"keys": list(ids), "new_status": status})


def _rows(db: Db, query: Select[Any], given: dict[str, Any]) -> list[ApprovalRow]:
    return [_to_row(row) for row in db.connection().execute(query, given)]


def _to_row(row: Row[Any]) -> ApprovalRow:
    return ApprovalRow(**row._mapping)


def _count(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0


_ALL = (
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
_OLDEST = (_approval.c.waiting_since, _approval.c.approval_id)
_THERE = (_message.c.deleted_at.is_(None), _conversation.c.deleted_at.is_(None))
_IS_WAITING = _approval.c.status == "waiting"
_BY_ID = _ALL.where(_approval.c.approval_id == bindparam("key"), *_THERE)
_WAITING = _ALL.where(_IS_WAITING, *_THERE).order_by(*_OLDEST)
_DECIDED = _ALL.where(_approval.c.decided_at.is_not(None), *_THERE).order_by(
    _approval.c.decided_at.desc(), _approval.c.approval_id.desc()
)
_OF_THREADS = _ALL.where(_approval.c.thread_id.in_(bindparam("threads", expanding=True))).order_by(*_OLDEST)
_WAITING_OF = _ALL.where(_approval.c.thread_id == bindparam("thread"), _IS_WAITING).order_by(*_OLDEST)
_UNAPPLIED = (
    _ALL.where(
        _approval.c.thread_id == bindparam("thread"),
        _approval.c.status == "decided",
        _approval.c.applied_at.is_(None),
    )
    .order_by(_approval.c.decided_at, _approval.c.approval_id)
    .limit(1)
)
_EXPIRED = _ALL.where(_IS_WAITING, _approval.c.expires_at < bindparam("now")).order_by(_approval.c.expires_at)
_GRANTED = _ALL.where(
    _approval.c.thread_id == bindparam("thread"),
    _approval.c.kind == "tool",
    _approval.c.status == "decided",
    _approval.c.decision.in_(("approve", "edit")),
)
_COUNT = (
    select(func.count())
    .select_from(_approval)
    .join(_thread, _thread.c.thread_id == _approval.c.thread_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .where(_IS_WAITING, _approval.c.user_id == bindparam("who"), *_THERE)
)
_INSERT = insert(_approval)
_DECIDE = (
    update(_approval)
    .where(
        _approval.c.approval_id == bindparam("key"), _IS_WAITING, _approval.c.arguments_hash == bindparam("told")
    )
    .values(
        status="decided",
        decision=bindparam("new_decision"),
        response=bindparam("new_response"),
        arguments_after=bindparam("new_arguments"),
        reason=bindparam("new_reason"),
        decided_by=bindparam("new_by"),
        rule_id=bindparam("new_rule"),
        decided_at=bindparam("new_at"),
    )
)
_APPLY = (
    update(_approval)
    .where(
        _approval.c.approval_id == bindparam("key"),
        _approval.c.status == "decided",
        _approval.c.applied_at.is_(None),
    )
    .values(applied_at=bindparam("now"))
)
_WITHDRAW = (
    update(_approval)
    .where(
        _approval.c.thread_id == bindparam("thread"),
        _approval.c.applied_at.is_(None),
        _approval.c.status.in_(("waiting", "decided")),
    )
    .values(
        status="withdrawn",
        decided_by=bindparam("new_by"),
        decided_at=bindparam("new_at"),
        reason=bindparam("new_reason"),
    )
)
_SETTLE = (
    update(_approval)
    .where(_approval.c.approval_id.in_(bindparam("keys", expanding=True)))
    .values(status=bindparam("new_status"))
)
