"""What the rows of the lists of conversations and threads show, read for those that are shown and no others.

For whoever has made sure that the viewer may see them. Costs are what the call log says of them now: the newest
correction of a call, else its own.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, case, exists, func, select
from sqlmodel import Session as Db

from core.database import table_of
from core.history.browse.lines import ConversationLine, ThreadLine
from core.tables import Branch, Conversation, CostCorrection, LlmCall, Message, Session, Thread, User

LONGEST_EXCERPT = 120
_session, _user, _conversation = table_of(Session).c, table_of(User).c, table_of(Conversation).c
_message, _thread, _branch = table_of(Message).c, table_of(Thread).c, table_of(Branch).c
_call, _fix = table_of(LlmCall), table_of(CostCorrection)


@dataclass
class _Calls:
    """The calls of one row in sum."""

    calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    model: str = ""


def read_threads(db: Db, ids: Sequence[str]) -> list[ThreadLine]:
    """The lines of these threads, in this order."""
    if not ids:
        return []
    rows = {row["thread_id"]: row for row in db.connection().execute(_THREADS, {"ids": ids}).mappings()}
    calls = _read_calls(db, _CALLS_OF_THREADS, ids)
    return [_to_thread(rows[one], calls.get(one, _Calls())) for one in ids if one in rows]


def read_conversations(db: Db, ids: Sequence[str]) -> list[ConversationLine]:
    """The lines of these conversations, in this order."""
    if not ids:
        return []
    rows = {row["conversation_id"]: row for row in db.connection().execute(_CONVERSATIONS, {"ids": ids}).mappings()}
    threads: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for of, status, number in db.connection().execute(_STATUSES, {"ids": ids}):
        threads[of][status] = number
    branches = {row[0]: row[1] for row in db.connection().execute(_BRANCHES, {"ids": ids})}
    sessions = list({row["session_id"] for row in rows.values()})
    calls = _read_calls(db, _CALLS_OF_CONVERSATIONS, ids, sessions=sessions)
    return [
        _to_conversation(rows[one], threads[one], branches.get(one, 0), calls.get(one, _Calls()))
        for one in ids
        if one in rows
    ]


def _to_thread(row: Any, calls: _Calls) -> ThreadLine:
    known = {name: row[name] for name in row if name not in {"config", "words"}}
    started, ended = row["started_at"], row["ended_at"]
    return ThreadLine(
        **known,
        model=str(row["config"].get("model") or calls.model),
        seconds=(ended - started).total_seconds() if started and ended else None,
        excerpt=" ".join(row["words"].split())[:LONGEST_EXCERPT],
        calls=calls.calls,
        tokens=calls.tokens,
        cost_usd=calls.cost_usd,
        unpriced=calls.unpriced,
    )


def _to_conversation(row: Any, threads: dict[str, int], branches: int, calls: _Calls) -> ConversationLine:
    return ConversationLine(
        **row,
        messages=sum(threads.values()),
        branches=branches,
        threads=threads,
        tokens=calls.tokens,
        cost_usd=calls.cost_usd,
        unpriced=calls.unpriced,
    )


def _read_calls(db: Db, statement: Select[Any], ids: Sequence[str], **more: Any) -> dict[str, _Calls]:
    found: defaultdict[str, _Calls] = defaultdict(_Calls)
    for of, model, calls, tokens, cost, unpriced in db.connection().execute(statement, {"ids": ids, **more}):
        one = found[of]
        one.calls, one.tokens = one.calls + calls, one.tokens + int(tokens or 0)
        one.cost_usd, one.unpriced = one.cost_usd + (cost or 0.0), one.unpriced + unpriced
        one.model = min(filter(None, (one.model, model)), default="")
    return found


def _calls_by(key: ColumnElement[Any]) -> Select[Any]:
    newer = _fix.alias("newer")
    is_newest = ~exists().where(newer.c.call_id == _fix.c.call_id, newer.c.correction_id > _fix.c.correction_id)
    cost = case((_fix.c.call_id.is_not(None), _fix.c.cost_usd), else_=_call.c.cost_usd)
    tokens = func.coalesce(_call.c.input_tokens, 0) + func.coalesce(_call.c.output_tokens, 0)
    return (
        select(
            key,
            _call.c.model,
            func.count(),
            func.sum(tokens),
            func.sum(cost),
            func.sum(case((cost.is_(None), 1), else_=0)),
        )
        .select_from(_call.outerjoin(_fix, (_fix.c.call_id == _call.c.call_id) & is_newest))
        .where(_call.c.status != "started", key.in_(_IDS))
        .group_by(key, _call.c.model)
    )


_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_names = (
    _session.session_id,
    _session.title.label("session_title"),
    _session.user_id,
    _user.name.label("user_name"),
)
_THREADS = (
    select(
        *(_thread[name] for name in ("thread_id", "message_id", "agent_id", "kind", "status", "error_message")),
        *(_thread[name] for name in ("created_at", "started_at", "ended_at", "config")),
        func.substr(_message.content, 1, 2 * LONGEST_EXCERPT).label("words"),
        _conversation.conversation_id,
        *_names,
    )
    .join_from(Thread, Message, _message.message_id == _thread.message_id)
    .join(Conversation, _conversation.conversation_id == _message.conversation_id)
    .join(Session, _session.session_id == _conversation.session_id)
    .join(User, _user.user_id == _session.user_id)
    .where(_thread.thread_id.in_(_IDS))
)
_CONVERSATIONS = (
    select(
        _conversation.conversation_id,
        _conversation.title,
        _conversation.created_at,
        _conversation.updated_at.label("last_active_at"),
        *_names,
    )
    .join_from(Conversation, Session, _session.session_id == _conversation.session_id)
    .join(User, _user.user_id == _session.user_id)
    .where(_conversation.conversation_id.in_(_IDS))
)
_STATUSES = (
    select(_message.conversation_id, _thread.status, func.count())
    .join_from(Message, Thread, _thread.message_id == _message.message_id)
    .where(_message.conversation_id.in_(_IDS), _message.deleted_at.is_(None))
    .group_by(_message.conversation_id, _thread.status)
)
_BRANCHES = (
    select(_branch.conversation_id, func.count())
    .where(_branch.conversation_id.in_(_IDS), _branch.deleted_at.is_(None))
    .group_by(_branch.conversation_id)
)
_CALLS_OF_THREADS = _calls_by(_call.c.thread_id)
# By the session's index: there is none of conversations.
_CALLS_OF_CONVERSATIONS = _calls_by(_call.c.conversation_id).where(
    _call.c.session_id.in_(bindparam("sessions", expanding=True))
)
