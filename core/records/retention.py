"""Retention: what becomes of sessions that nobody has used for some time, by rules that admins make.

A rule archives such sessions, deletes them (as a person would: there is a minute's undo, and a tombstone), or takes
the texts of their calls out of the log. Used is a session whenever something is said in it or written by hand, or
it is put aside or taken up. Invariant: nothing is touched that is still at work or waits for a person, or has the
rule's keeping tag; and a rule is run once a day, however many processes would.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Literal

import structlog
from sqlalchemy import ColumnElement, Select, and_, bindparam, delete, exists, func, insert, or_, select, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError, NotFoundError, SkeinError
from core.history.activity import HOUSE, record
from core.history.annotations import clean_tag
from core.history.sessions import archive_session, mark_deleted
from core.ids import RetentionId, SessionId, new_retention_id
from core.records.removal import remove_texts
from core.tables import (
    RETENTION_ACTIONS,
    Annotation,
    Artifact,
    ArtifactVersion,
    Conversation,
    LlmCall,
    LlmCallBody,
    Message,
    RetentionRule,
    Session,
    Thread,
    User,
    clean_text,
    utc_now,
)

Action = Literal["archive", "delete", "forget_texts"]
LONGEST_NAME = 80
MOST_DAYS = 36_500
# A rule that ran so long ago is due again.
EVERY = timedelta(hours=23)
_UNDECIDED = ("queued", "running", "waiting")
_PAGE = 500
log = structlog.get_logger("skein.records")
_rule, _session, _conversation = table_of(RetentionRule), table_of(Session), table_of(Conversation)
_message, _thread, _note = table_of(Message), table_of(Thread), table_of(Annotation)
_artifact, _version = table_of(Artifact), table_of(ArtifactVersion)
_call, _body, _user = table_of(LlmCall), table_of(LlmCallBody), table_of(User)


@dataclass(frozen=True)
class Rule:
    """What becomes of sessions unused for ``days``; ``status`` (active, archived) and ``tag`` narrow it, "" not.

    Sessions in which anything has ``keep_tag`` are spared; with "" none are.
    """

    name: str
    action: Action
    days: int
    status: str = ""
    tag: str = ""
    keep_tag: str = "keep"
    enabled: bool = False


@dataclass(frozen=True)
class RuleRow:
    """A rule as it is kept, who made it, and what it did last."""

    retention_id: RetentionId
    rule: Rule
    created_by_name: str
    created_at: datetime
    last_run_at: datetime | None
    last_count: int


@dataclass(frozen=True)
class Touched:
    """What a rule would touch now: how many sessions, with how many messages and texts of calls, and the first."""

    sessions: int
    messages: int
    texts: int
    first: tuple[SessionId, ...] = ()


def list_rules(viewer: Viewer, db: Db) -> list[RuleRow]:
    """All rules, oldest first (admins only)."""
    viewer.require_admin()
    return [_to_row(row) for row in db.connection().execute(_RULES)]


def get_rule(viewer: Viewer, db: Db, retention_id: RetentionId) -> RuleRow:
    """One rule (admins only)."""
    viewer.require_admin()
    row = db.connection().execute(_RULES.where(_rule.c.retention_id == retention_id)).first()
    if row is None:
        raise NotFoundError("There is no such retention rule; please reload the list.")
    return _to_row(row)


def add_rule(viewer: Viewer, db: Db, rule: Rule) -> RetentionId:
    """Make a rule (admins only); it does nothing before it is enabled."""
    viewer.require_admin()
    retention_id, values = new_retention_id(), _checked(rule)
    more = {"retention_id": retention_id, "created_by": viewer.user_id, "created_at": utc_now(), "last_count": 0}
    db.connection().execute(insert(_rule), values | more)
    record(db, viewer, "retention.add", target_id=retention_id, detail=_told(rule))
    return retention_id


def change_rule(viewer: Viewer, db: Db, retention_id: RetentionId, rule: Rule) -> None:
    """Give a rule other terms (admins only)."""
    get_rule(viewer, db, retention_id)
    db.connection().execute(update(_rule).where(_rule.c.retention_id == retention_id).values(_checked(rule)))
    record(db, viewer, "retention.change", target_id=retention_id, detail=_told(rule))


def delete_rule(viewer: Viewer, db: Db, retention_id: RetentionId) -> None:
    """Forget a rule (admins only); what it did stays done."""
    get_rule(viewer, db, retention_id)
    db.connection().execute(delete(_rule).where(_rule.c.retention_id == retention_id))
    record(db, viewer, "retention.delete", target_id=retention_id)


def _checked(rule: Rule) -> dict[str, Any]:
    name = " ".join(clean_text(rule.name).split())
    if not name or len(name) > LONGEST_NAME:
        raise BadInputError(f"A rule needs a name of 1 to {LONGEST_NAME} characters; please type one.")
    if rule.action not in RETENTION_ACTIONS:
        raise BadInputError(f"A rule can {', '.join(RETENTION_ACTIONS)}; please choose one of these.")
    if not 1 <= rule.days <= MOST_DAYS:
        raise BadInputError(f"A rule is about sessions unused for 1 to {MOST_DAYS:,} days; please change it.")
    if rule.status not in {"", "active", "archived"}:
        raise BadInputError("A rule is about active sessions, archived ones, or both; please choose one of these.")
    tags = {"tag": clean_tag(rule.tag) if rule.tag.strip() else ""}
    tags["keep_tag"] = clean_tag(rule.keep_tag) if rule.keep_tag.strip() else ""
    terms = {"action": rule.action, "days": rule.days, "status": rule.status, "enabled": rule.enabled}
    return {"name": name, **terms, **tags}


def _told(rule: Rule) -> dict[str, Any]:
    return {"action": rule.action, "days": rule.days, "status": rule.status, "enabled": rule.enabled}


def _to_row(row: Any) -> RuleRow:
    terms = (row.name, row.action, row.days, row.status, row.tag, row.keep_tag, row.enabled)
    whose = (row.created_by_name, row.created_at, row.last_run_at, row.last_count)
    return RuleRow(RetentionId(row.retention_id), Rule(*terms), *whose)


# --- what they do -----------------------------------------------------------------------------------------------


def preview(viewer: Viewer, database: Database, rule: Rule, *, now: datetime | None = None) -> Touched:
    """What the rule would touch if it were run now (admins only); nothing is changed."""
    viewer.require_admin()
    checked = Rule(**_checked(rule))
    with database.read() as db:
        touched = _touched(checked, now or utc_now()).subquery()
        sessions = db.connection().execute(select(func.count()).select_from(touched)).scalar_one()
        ids = select(touched.c.session_id)
        messages = db.connection().execute(_MESSAGES.where(_conversation.c.session_id.in_(ids))).scalar_one()
        texts = db.connection().execute(_TEXTS.where(_call.c.session_id.in_(ids))).scalar_one()
        first = db.connection().execute(ids.order_by(touched.c.session_id).limit(20)).scalars().all()
    return Touched(sessions, messages, texts, tuple(map(SessionId, first)))


def run_rule(viewer: Viewer, database: Database, retention_id: RetentionId, *, now: datetime | None = None) -> int:
    """Run a rule at once, enabled or not (admins only); gives how many sessions it touched."""
    with database.read() as db:
        row = get_rule(viewer, db, retention_id)
    database.write(lambda db: db.connection().execute(_claim, {"of": retention_id, "now": now or utc_now()}))
    return _run(viewer, database, row, now or utc_now())


def run_due(database: Database, *, now: datetime | None = None) -> int:
    """Run each rule that is enabled and due; another process that has just begun one has it to itself."""
    moment = now or utc_now()
    with database.read() as db:
        rows = [_to_row(row) for row in db.connection().execute(_RULES.where(_rule.c.enabled))]
    count = 0
    for row in rows:
        given = {"of": row.retention_id, "now": moment, "before": moment - EVERY}
        if database.write(lambda db, given=given: db.connection().execute(_CLAIM, given).rowcount):  # type: ignore[misc]
            count += _run(HOUSE, database, row, moment)
    return count


def _run(viewer: Viewer, database: Database, row: RuleRow, now: datetime) -> int:
    after, count = "", 0
    while ids := _next(database, row.rule, now, after):
        after = ids[-1]
        count += sum(_carry_out(database, row, session_id, now) for session_id in ids)
    database.write(partial(_finish, viewer=viewer, row=row, count=count))
    return count


def _next(database: Database, rule: Rule, now: datetime, after: str) -> Sequence[str]:
    found = _touched(rule, now).where(_session.c.session_id > after).order_by(_session.c.session_id).limit(_PAGE)
    with database.read() as db:
        return db.connection().execute(found).scalars().all()


def _carry_out(database: Database, row: RuleRow, session_id: str, now: datetime) -> bool:
    """Do what the rule says with one session, unless somebody has come back to it meanwhile."""
    key = SessionId(session_id)
    try:
        if not database.write(partial(_act, row=row, session_id=key, now=now)):
            return False
        if row.rule.action == "forget_texts":
            remove_texts(database, key)
    except SkeinError as error:
        log.warning("retention_failed", session_id=session_id, error=type(error).__name__)
        return False
    return True


def _act(db: Db, row: RuleRow, session_id: SessionId, now: datetime) -> bool:
    db.get(Session, session_id, with_for_update=True)
    # Who says something holds its conversation: it is used once they are done, or they find it deleted.
    db.connection().execute(_HOLD_CONVERSATIONS, {"of": session_id})
    still = _touched(row.rule, now).where(_session.c.session_id == session_id)
    if db.connection().execute(still).first() is None:
        return False
    by_rule = {"retention_id": row.retention_id}
    if row.rule.action == "archive":
        archive_session(HOUSE, db, session_id)
    elif row.rule.action == "delete":
        mark_deleted(HOUSE, db, session_id, detail=by_rule)
    else:
        record(db, HOUSE, "session.forget_texts", target_id=session_id, session_id=session_id, detail=by_rule)
    return True


def _finish(db: Db, viewer: Viewer, row: RuleRow, count: int) -> None:
    db.connection().execute(update(_rule).where(_rule.c.retention_id == row.retention_id).values(last_count=count))
    told = {"action": row.rule.action, "sessions": count}
    record(db, viewer, "retention.run", target_id=row.retention_id, detail=told)


def _touched(rule: Rule, now: datetime) -> Select[Any]:
    """The ids of the sessions that a rule is about, as of a moment."""
    before = now - timedelta(days=rule.days)
    said = and_(_conversation.c.session_id == _session.c.session_id, _conversation.c.updated_at >= before)
    conditions: list[ColumnElement[bool]] = [
        _session.c.updated_at < before,
        _session.c.status == rule.status if rule.status else _session.c.status != "deleted",
        ~exists().where(said),
        ~exists().where(*_written_by_hand, _version.c.created_at >= before),
        ~_has_undecided,
    ]
    if rule.action == "archive":
        conditions.append(_session.c.status == "active")
    if rule.action == "forget_texts":
        conditions.append(_has_texts)
    if rule.tag:
        on_it = and_(_note.c.target_id == _session.c.session_id, _note.c.kind == "tag")
        conditions.append(exists().where(on_it, _note.c.content == rule.tag))
    if rule.keep_tag:
        in_it = and_(_note.c.session_id == _session.c.session_id, _note.c.kind == "tag")
        conditions.append(~exists().where(in_it, _note.c.content == rule.keep_tag))
    return select(_session.c.session_id).where(*conditions)


_HOLD_CONVERSATIONS = (
    select(_conversation.c.conversation_id)
    .where(_conversation.c.session_id == bindparam("of"))
    .order_by(_conversation.c.conversation_id)
    .with_for_update()
)
_written_by_hand = (
    _artifact.c.session_id == _session.c.session_id,
    _version.c.artifact_id == _artifact.c.artifact_id,
    _version.c.by_hand,
)
_in_it = _conversation.join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
_in_it = _in_it.join(_thread, _thread.c.message_id == _message.c.message_id)
_has_undecided = (
    select(_thread.c.thread_id)
    .select_from(_in_it)
    .where(_conversation.c.session_id == _session.c.session_id, _thread.c.status.in_(_UNDECIDED))
    .correlate(_session)
    .exists()
)
_has_texts = (
    select(_body.c.call_id)
    .join(_call, _call.c.call_id == _body.c.call_id)
    .where(_call.c.session_id == _session.c.session_id)
    .correlate(_session)
    .exists()
)
_MESSAGES = (
    select(func.count())
    .select_from(_conversation)
    .join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
)
_TEXTS = select(func.count()).select_from(_call).join(_body, _body.c.call_id == _call.c.call_id)
_RULES = (
    select(_rule, _user.c.name.label("created_by_name"))
    .join(_user, _user.c.user_id == _rule.c.created_by)
    .order_by(_rule.c.created_at, _rule.c.retention_id)
)
_claim = update(_rule).where(_rule.c.retention_id == bindparam("of")).values(last_run_at=bindparam("now"))
_CLAIM = _claim.where(
    _rule.c.enabled, or_(_rule.c.last_run_at.is_(None), _rule.c.last_run_at < bindparam("before"))
)
