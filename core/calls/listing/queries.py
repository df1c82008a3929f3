"""The call table and one call of it: who called which model, what it said, took and cost.

Invariant: a viewer is given only calls that ``where_of`` grants them, in pages that neither skip a call nor give
one twice, whatever is added meanwhile. Costs are what is known now: the newest correction of a call, else its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import BindParameter, and_, bindparam, select, tuple_
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing.orders import Order, Sort
from core.calls.listing.paging import IS_NEWEST, count_up_to, find_places
from core.database import Database, table_of
from core.errors import NotFoundError
from core.history.activity import record_look
from core.history.sessions import is_there
from core.history.turns import get_turn
from core.ids import MessageId
from core.tables import CostCorrection, LlmCall, LlmCallBody, ModelPrice, Session, User, clean_text

_LLM_CALL = table_of(LlmCall)
_CALL = _LLM_CALL.c
_BODY = table_of(LlmCallBody).c
_FIX = table_of(CostCorrection)
_PRICE = table_of(ModelPrice)
_AT: BindParameter[datetime] = bindparam("at", type_=_CALL.created_at.type)
_USER = table_of(User).c
_SESSION = table_of(Session).c


@dataclass(frozen=True)
class CallRow:
    """A line of the call table; ``cost_usd`` and ``cost_source`` are those of the newest correction, if any."""

    call_id: str
    created_at: datetime
    ended_at: datetime | None
    user_id: str | None
    user_name: str | None
    session_id: str | None
    session_title: str | None
    conversation_id: str | None
    message_id: str | None
    thread_id: str | None
    agent_id: str | None
    agent_key: str | None
    node: str | None
    provider: str | None
    model: str | None
    status: str
    error_type: str | None
    error_message: str | None
    http_status: int | None
    attempt: int
    ttft_ms: float | None
    duration_ms: float | None
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    reasoning_tokens: int | None
    usage_source: str | None
    cost_usd: float | None
    cost_source: str | None
    attributed: bool
    streamed: bool
    finish_reason: str | None


@dataclass(frozen=True)
class CallPage:
    """Some lines of the table; ``next`` is the ``after`` of the page that follows, None on the last one."""

    rows: list[CallRow]
    next: str | None


@dataclass(frozen=True)
class CallBody:
    """What the model saw and said, each part parsed: lists of messages, what was answered, a list of tools.

    None where a part was not kept; the text itself where it is no JSON, as after somebody tampered with it.
    """

    prompt: Any
    response: Any
    tools: Any


@dataclass(frozen=True)
class CallDetail:
    """One call, whole.

    ``call`` has every column of llm_call as written, ``row`` the same as the table shows it. ``body_state`` is
    "kept", or why there is no ``body``: "hash" (only its hash was kept), "none" (the setting keeps nothing),
    "deleted" (it was kept, and taken away later), "pending" (not written yet). ``price`` is the model_price row,
    ``corrections`` are cost_correction rows, oldest first. ``said`` and ``answer`` are what people saw, None when
    the message is gone. ``previous_id`` and ``next_id`` are the calls before and after in the same thread.
    """

    row: CallRow
    call: dict[str, Any]
    body: CallBody | None
    body_state: str
    price: dict[str, Any] | None
    corrections: list[dict[str, Any]]
    said: str | None
    answer: str | None
    previous_id: str | None
    next_id: str | None


def list_calls(
    viewer: Viewer,
    db: Db,
    wanted: CallFilter,
    tz: ZoneInfo,
    *,
    sort: Sort = "time",
    descending: bool = True,
    after: str | None = None,
    limit: int = 50,
) -> CallPage:
    """A page of the calls that are wanted; those without a value to sort by stand last.

    With a text to search for they come newest first, whatever ``sort`` says. BadInputError for an ``after`` that is
    not a ``next`` of this order.
    """
    order = Order("text") if wanted.text.strip() else Order(sort, descending)
    place = order.place_at(after) if after else None
    places = find_places(viewer, db, wanted, tz, order, after=place, limit=limit + 1)
    rows = read_rows(db, [place.call_id for place in places[:limit]])
    return CallPage(rows, order.cursor_at(places[limit - 1]) if len(places) > limit else None)


def count_calls(viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, *, most: int = 1000) -> tuple[int, bool]:
    """How many calls are wanted, up to ``most``, and whether there are more than that."""
    found = count_up_to(viewer, db, wanted, tz, most + 1)
    return min(found, most), found > most


def read_rows(db: Db, ids: Sequence[str]) -> list[CallRow]:
    """The lines of these calls, in this order, for whoever has made sure that they may be shown."""
    connection = db.connection()
    found = {row.call_id: dict(row._mapping) for row in connection.execute(_ROWS, {"ids": ids})} if ids else {}
    for fix in connection.execute(_NEWEST_FIXES, {"ids": ids}) if ids else ():
        found[fix.call_id] |= {"cost_usd": fix.cost_usd, "cost_source": fix.cost_source}
    return [CallRow(**found[call_id]) for call_id in ids if call_id in found]


def get_call(viewer: Viewer, database: Database, call_id: str) -> CallDetail:
    """One call with all that is known of it; NotFoundError when it is not there for this viewer.

    That somebody read what another person's call was shown and said is recorded, before it is given out.
    """
    call_id = clean_text(call_id)
    with database.read() as db:
        detail = _read_detail(viewer, db, call_id)
    if detail.body is not None:
        owner, session = detail.row.user_id, detail.row.session_id
        record_look(viewer, database, "call.read", target_id=call_id, owner_id=owner, session_id=session)
    return detail


def _read_detail(viewer: Viewer, db: Db, call_id: str) -> CallDetail:
    connection = db.connection()
    found = connection.execute(_WHOLE, {"key": call_id}).first()
    if found is None or not (viewer.reads_all or found.user_id == viewer.user_id):
        raise NotFoundError("There is no such call here; it may have been deleted, or the link is wrong.")
    call = dict(found._mapping)
    body, body_state = _read_body(db, call)
    said, answer = _read_message(viewer, db, call["message_id"])
    fixes = [dict(row._mapping) for row in connection.execute(_FIXES, {"key": call_id})]
    price_id = fixes[-1]["price_id"] if fixes else call["price_id"]
    price = connection.execute(_PRICE_BY_ID, {"key": price_id}).first() if price_id else None
    return CallDetail(
        row=read_rows(db, [call_id])[0],
        call=call,
        body=body,
        body_state=body_state,
        price=dict(price._mapping) if price else None,
        corrections=fixes,
        said=said,
        answer=answer,
        previous_id=_neighbour(db, call, _BEFORE),
        next_id=_neighbour(db, call, _BEHIND),
    )


def _read_body(db: Db, call: dict[str, Any]) -> tuple[CallBody | None, str]:
    row = db.connection().execute(_BODY_BY_ID, {"key": call["call_id"]}).first()
    if row is None and call["body_hash"] is not None:
        return None, "deleted"
    if row is None:
        return None, "pending" if call["status"] == "started" else "none"
    if (row.prompt, row.response, row.tools) == (None, None, None):
        return None, "hash"
    return CallBody(*[parse_part(part) for part in (row.prompt, row.response, row.tools)]), "kept"


def parse_part(part: str | None) -> Any:
    """A part of a body, which is kept as JSON; as it is when it cannot be parsed."""
    try:
        return None if part is None else json.loads(part)
    except (ValueError, RecursionError):
        return part


def _read_message(viewer: Viewer, db: Db, message_id: str | None) -> tuple[str | None, str | None]:
    """What people saw, where it is still there."""
    try:
        turn = get_turn(viewer, db, MessageId(message_id or ""))
    except NotFoundError:
        return None, None
    return turn.content, turn.answer


def _neighbour(db: Db, call: dict[str, Any], statement: Any) -> str | None:
    if call["thread_id"] is None:
        return None
    names = {"thread": "thread_id", "owner": "user_id", "at": "created_at", "key": "call_id"}
    return db.connection().execute(statement, {name: call[column] for name, column in names.items()}).scalar()


def _prepared_rows() -> Any:
    """Lines by their ids; built once, as are all below: to build a statement costs more than to run it."""
    named = {"user_name": _USER.name.label("user_name"), "session_title": _SESSION.title.label("session_title")}
    columns = [named[field.name] if field.name in named else _CALL[field.name] for field in fields(CallRow)]
    return (
        select(*columns)
        .select_from(_LLM_CALL)
        .outerjoin(User, _USER.user_id == _CALL.user_id)
        .outerjoin(Session, and_(_SESSION.session_id == _CALL.session_id, _SESSION.status != "deleted"))
        .where(_CALL.call_id.in_(bindparam("ids", expanding=True)))
    )


def _prepared_neighbour(*, before: bool) -> Any:
    here, there = tuple_(_CALL.created_at, _CALL.call_id), tuple_(_AT, bindparam("key"))
    keys = (_CALL.created_at, _CALL.call_id)
    return (
        select(_CALL.call_id)
        .where(_CALL.thread_id == bindparam("thread"), _CALL.user_id.is_not_distinct_from(bindparam("owner")))
        .where(here < there if before else here > there)
        .order_by(*[key.desc() if before else key.asc() for key in keys])
        .limit(1)
    )


_ROWS = _prepared_rows()
_WHOLE = select(_LLM_CALL).where(_CALL.call_id == bindparam("key"))
_BODY_BY_ID = select(_BODY.prompt, _BODY.response, _BODY.tools).where(
    _BODY.call_id == bindparam("key"),
    is_there(select(_CALL.session_id).where(_CALL.call_id == bindparam("key")).scalar_subquery()),
)
_PRICE_BY_ID = select(_PRICE).where(_PRICE.c.price_id == bindparam("key"))
_FIXES = select(_FIX).where(_FIX.c.call_id == bindparam("key")).order_by(_FIX.c.correction_id)
_NEWEST_FIXES = select(_FIX.c.call_id, _FIX.c.cost_usd, _FIX.c.cost_source).where(
    _FIX.c.call_id.in_(bindparam("ids", expanding=True)), IS_NEWEST
)
_BEFORE, _BEHIND = _prepared_neighbour(before=True), _prepared_neighbour(before=False)
