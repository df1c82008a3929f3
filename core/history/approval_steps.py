"""What the engine does with approvals, each a step of a transaction of its own: ask, decide, take up, withdraw.

Invariant: what waits is decided once, and a decision is taken up by one run, whoever else tries at the same time.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, func, insert, or_, select, update
from sqlalchemy.engine import CursorResult
from sqlmodel import Session as Db

from core.database import table_of
from core.errors import BadInputError, ConflictError
from core.history.approvals import ALL, OF_THREADS, OLDEST, THERE, ApprovalRow, read_rows
from core.history.interrupts import Asked, arguments_hash, exactly, kind_of, tool_and_arguments
from core.ids import ApprovalId, RuleId, ThreadId, UserId, new_approval_id
from core.tables import Approval, clean_text, utc_now

_approval = table_of(Approval)
_DENIED = "denied:"


@dataclass(frozen=True)
class Decided:
    """What is written into an approval: by a person, a rule, or (neither) because its time was over."""

    decision: str
    response: Any
    arguments_after: Any = None
    reason: str = ""
    decided_by: str | None = None
    rule_id: str | None = None


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
    known = {row.interrupt_id: row for row in read_rows(db, _OPEN_OF, {"thread": thread_id})}
    fresh = []
    for one in asked:
        told = arguments_hash(*tool_and_arguments(one))
        before = known.pop(one.interrupt_id, None)
        if before is not None and before.arguments_hash == told:
            continue
        if before is not None and before.is_waiting:
            _settle(db, [before.approval_id], "superseded")
        fresh.append({"thread_id": thread_id, "user_id": user_id, **_row(one, told, expires_after(one))})
    _settle(db, [row.approval_id for row in known.values() if row.is_waiting], "gone")
    if not fresh:
        return []
    db.connection().execute(_INSERT, fresh)
    new = {row["approval_id"] for row in fresh}
    return [row for row in read_rows(db, _WAITING_OF, {"thread": thread_id}) if row.approval_id in new]


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
        "runs_again": [clean_text(tool) for tool in asked.runs_again],
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
    known = {row.interrupt_id for row in read_rows(db, OF_THREADS, {"threads": [thread_id]})}
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
            "arguments": (told := _as_told(arguments)),
            "arguments_hash": arguments_hash(tool, told),
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


def _as_told(arguments: Any) -> Any:
    """Arguments for the record, where nothing hangs on them: what cannot be kept is named by why not."""
    try:
        return exactly(arguments)
    except BadInputError as error:
        return {"not_kept": str(error)}


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
    rows = read_rows(db, _UNAPPLIED, {"thread": thread_id})
    return rows[0] if rows else None


def withdraw_waiting(db: Db, thread_id: ThreadId, *, by: UserId | None, reason: str = "") -> None:
    """Let nobody decide any more what a thread asked; decisions that no run will take up stay as given."""
    change = {"thread": thread_id, "new_by": by, "new_reason": reason, "new_at": utc_now()}
    db.connection().execute(_WITHDRAW, change)
    db.connection().execute(_DROP, {"thread": thread_id})


def withdraw(db: Db, approval_id: ApprovalId, *, reason: str) -> bool:
    """Let nobody decide any more what waits; False when it does not wait."""
    change = {"key": approval_id, "new_reason": reason, "new_at": utc_now()}
    return bool(_count(db.connection().execute(_WITHDRAW_ONE, change)))


def count_decided_by_rules(db: Db, thread_id: ThreadId) -> int:
    """How often rules have let a thread go on."""
    return int(db.connection().execute(_BY_RULES, {"thread": thread_id}).scalar_one())


def list_expired(db: Db, now: datetime, *, limit: int = 100) -> list[ApprovalRow]:
    """What waits though its time is over."""
    return read_rows(db, _EXPIRED.limit(limit), {"now": now})


def list_decided(db: Db, thread_id: str) -> list[ApprovalRow]:
    """What was decided about tool calls of a thread."""
    return read_rows(db, _DECIDED_OF, {"thread": thread_id})


def settle_gone(db: Db, approval_id: ApprovalId) -> None:
    _settle(db, [approval_id], "gone")


def _settle(db: Db, ids: Collection[ApprovalId], status: str) -> None:
    if ids:
        db.connection().execute(_SETTLE, {"keys": list(ids), "new_status": status})


def _count(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0


_IS_WAITING = _approval.c.status == "waiting"
_WAITING_OF = ALL.where(_approval.c.thread_id == bindparam("thread"), _IS_WAITING).order_by(*OLDEST)
_UNAPPLIED = (
    ALL.where(
        _approval.c.thread_id == bindparam("thread"),
        _approval.c.status == "decided",
        _approval.c.applied_at.is_(None),
    )
    .order_by(_approval.c.decided_at, _approval.c.approval_id)
    .limit(1)
)
_EXPIRED = ALL.where(_IS_WAITING, *THERE, _approval.c.expires_at < bindparam("now")).order_by(
    _approval.c.expires_at
)
_DECIDED_OF = ALL.where(
    _approval.c.thread_id == bindparam("thread"),
    _approval.c.kind == "tool",
    _approval.c.status == "decided",
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
_WITHDRAWN = {
    "status": "withdrawn",
    "decided_at": bindparam("new_at"),
    "reason": bindparam("new_reason"),
}
_WITHDRAW = (
    update(_approval)
    .where(_approval.c.thread_id == bindparam("thread"), _IS_WAITING)
    .values(**_WITHDRAWN, decided_by=bindparam("new_by"))
)
_WITHDRAW_ONE = (
    update(_approval).where(_approval.c.approval_id == bindparam("key"), _IS_WAITING).values(**_WITHDRAWN)
)
_DROP = (
    update(_approval)
    .where(
        _approval.c.thread_id == bindparam("thread"),
        _approval.c.status == "decided",
        _approval.c.applied_at.is_(None),
    )
    .values(status="withdrawn")
)
_BY_RULES = (
    select(func.count())
    .select_from(_approval)
    .where(_approval.c.thread_id == bindparam("thread"), _approval.c.rule_id.is_not(None))
)
_OPEN_OF = ALL.where(
    _approval.c.thread_id == bindparam("thread"),
    or_(_IS_WAITING, and_(_approval.c.status == "decided", _approval.c.applied_at.is_(None))),
).order_by(*OLDEST)
_SETTLE = (
    update(_approval)
    .where(_approval.c.approval_id.in_(bindparam("keys", expanding=True)))
    .values(status=bindparam("new_status"))
)
