"""What the calls of a thread come to in sum: how many, how much, how many tokens.

Invariant: a member sums only own calls; what has no price is counted as such, and never as 0.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, case, func, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.listing.paging import IS_NEWEST
from core.calls.panels.rollups import CACHED_BY
from core.database import in_parts, table_of
from core.ids import ConversationId, SessionId
from core.tables import CostCorrection, LlmCall

_LLM_CALL = table_of(LlmCall)
_CALL = _LLM_CALL.c
_FIX = table_of(CostCorrection)


@dataclass(frozen=True)
class ThreadCalls:
    """The calls of one thread in sum; ``unpriced`` > 0 means "at least ``cost_usd``", ``running`` go on.

    ``models`` names the models that were asked, or says how many there were.
    """

    calls: int = 0
    errors: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    estimated: int = 0
    running: int = 0
    models: str = ""


def add_up(calls: Iterable[ThreadCalls]) -> ThreadCalls:
    """The calls of several threads in sum."""
    total = ThreadCalls()
    for one in calls:
        models = total.models
        if one.models not in models:
            models = f"{models}, {one.models}".removeprefix(", ")
        total = ThreadCalls(
            calls=total.calls + one.calls,
            errors=total.errors + one.errors,
            cost_usd=total.cost_usd + one.cost_usd,
            unpriced=total.unpriced + one.unpriced,
            input_tokens=total.input_tokens + one.input_tokens,
            output_tokens=total.output_tokens + one.output_tokens,
            estimated=total.estimated + one.estimated,
            running=total.running + one.running,
            models=total.models
            if one.models in total.models
            else ", ".join(filter(None, [total.models, one.models])),
        )
    return total


def summarize_thread(viewer: Viewer, db: Db, thread_id: str) -> ThreadCalls:
    """The calls of one thread in sum; all zero where there are none for this viewer."""
    return summarize_threads(viewer, db, [thread_id]).get(thread_id, ThreadCalls())


def summarize_threads(viewer: Viewer, db: Db, thread_ids: Collection[str]) -> dict[str, ThreadCalls]:
    """The same for many threads at once; those without calls are left out."""
    found: dict[str, ThreadCalls] = {}
    for some in in_parts(thread_ids):
        found |= _read(db, _OF_THREADS, {"ids": some, "all": viewer.reads_all, "owner": viewer.user_id})
    return found


def summarize_conversation(
    viewer: Viewer, db: Db, session_id: SessionId, conversation_id: ConversationId
) -> dict[str, ThreadCalls]:
    """The same for all threads of a conversation, however many it has."""
    given = {
        "session": session_id,
        "conversation": conversation_id,
        "all": viewer.reads_all,
        "owner": viewer.user_id,
    }
    return _read(db, _OF_CONVERSATION, given)


def _read(db: Db, statement: Any, given: dict[str, Any]) -> dict[str, ThreadCalls]:
    rows = db.connection().execute(statement, given)
    found: dict[str, ThreadCalls] = {}
    for thread_id, *sums, count, first, last in rows:
        values: list[Any] = [*(value or 0 for value in sums), _name_models(count, first, last)]
        found[thread_id] = ThreadCalls(*values)
    return found


def _name_models(count: int, first: str | None, last: str | None) -> str:
    if count > 2:
        return f"{count} models"
    return ", ".join(dict.fromkeys(name for name in (first, last) if name))


def _prepared(*which: Any) -> Any:
    fixed = _LLM_CALL.outerjoin(_FIX, (_FIX.c.call_id == _CALL.call_id) & IS_NEWEST)
    cost = case((_FIX.c.call_id.is_not(None), _FIX.c.cost_usd), else_=_CALL.cost_usd)
    ended = _CALL.status != "started"
    is_cached = func.coalesce(_CALL.cost_source, "") == CACHED_BY
    return (
        select(
            _CALL.thread_id,
            _how_many(~is_cached),
            _how_many(_CALL.status == "error"),
            func.sum(cost),
            _how_many(ended & cost.is_(None)),
            func.sum(_CALL.input_tokens),
            func.sum(_CALL.output_tokens),
            _how_many(_CALL.usage_source == "estimated"),
            _how_many(~ended),
            func.count(_CALL.model.distinct()),
            func.min(_CALL.model),
            func.max(_CALL.model),
        )
        .select_from(fixed)
        .where(*which)
        .where(or_(bindparam("all"), _CALL.user_id == bindparam("owner")))
        .group_by(_CALL.thread_id)
    )


def _how_many(condition: Any) -> Any:
    return func.sum(case((condition, 1), else_=0))


_OF_THREADS = _prepared(_CALL.thread_id.in_(bindparam("ids", expanding=True)))
_OF_CONVERSATION = _prepared(
    _CALL.session_id == bindparam("session"),
    _CALL.conversation_id == bindparam("conversation"),
    _CALL.thread_id.is_not(None),
)
