"""Which rows a session's export has, and how they are written down.

A row is an object by its columns' names: moments as ISO 8601 in UTC, JSON as it is, flags as true and false. The
rows of the sealed tables are read as the database's driver gives them, so that what somebody changed there is shown
as it is, and not refused. Invariant: a row is exported only if the viewer may read it, and nothing that was deleted
is; nor is a column that says how to get in, or where something ran.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from sqlalchemy import JSON, BindParameter, Boolean, Float, Integer, Select, Table, and_, bindparam, or_, select
from sqlalchemy.types import TypeEngine
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.capture.masking import hide_credentials
from core.calls.proof.seals import ACTIVITY, CALLS, CORRECTIONS, raw_columns
from core.database import in_parts, table_of
from core.tables import (
    Annotation,
    Approval,
    Artifact,
    ArtifactVersion,
    Branch,
    Conversation,
    JsonText,
    LlmCallBody,
    Message,
    RunEvent,
    Session,
    Snapshot,
    Thread,
    User,
    UtcTime,
)

Row = dict[str, Any]
_ROWS_AT_ONCE = 500
_LARGE_AT_ONCE = 20
SHARED_KINDS = ("tag", "score", "review")

_session, _conversation, _message = table_of(Session), table_of(Conversation), table_of(Message)
_thread, _branch, _snapshot, _approval = table_of(Thread), table_of(Branch), table_of(Snapshot), table_of(Approval)
_artifact, _version, _annotation = table_of(Artifact), table_of(ArtifactVersion), table_of(Annotation)
_event, _body, _user = table_of(RunEvent), table_of(LlmCallBody), table_of(User)
_call, _fix, _activity = CALLS.table, CORRECTIONS.table, ACTIVITY.table


@dataclass(frozen=True)
class Form:
    """One table of an export: its columns with their kinds, and the rows of a session that belong in it."""

    name: str
    table: Table
    query: Select[Any]
    leave_out: tuple[str, ...] = ()
    is_sealed: bool = False
    texts: tuple[str, ...] = ()
    """Columns that a seal has as one; they are there as they were, or not at all."""
    at_once: int = _ROWS_AT_ONCE
    more: tuple[tuple[str, str], ...] = ()
    change: Callable[[Row], Row] = field(default=lambda row: row)

    @cached_property
    def columns(self) -> list[tuple[str, str]]:
        """The columns' names, each with its kind."""
        own = [(c.name, kind_of(c.type)) for c in self.table.columns if c.name not in self.leave_out]
        return [*own, *self.more]

    def read(self, viewer: Viewer, db: Db, session_id: str) -> Iterator[Row]:
        """The session's rows, some at a time in memory."""
        given = {"session": session_id, "who": viewer.user_id, "all": viewer.reads_all}
        kinds = dict(self.columns)
        options = {"yield_per": self.at_once}
        for row in db.connection().execute(self.query, given, execution_options=options).mappings():
            yield self.change({name: _FIXES[kinds[name]](value) for name, value in row.items()})


def kind_of(column_type: TypeEngine[Any]) -> str:
    """The kind of a column's values, by which they are written, and digested by the checker."""
    return next((kind for known, kind in _KINDS if isinstance(column_type, known)), "text")


def plain_time(value: Any) -> Any:
    """A moment in ISO 8601, however it is kept; what is none stays as it is."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment.isoformat().replace("+00:00", "Z")
    except (ValueError, TypeError, AttributeError, OverflowError):
        return _plain_text(value)


def _plain_text(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def _plain_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _plain_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else _plain_text(value)


def _plain_flag(value: Any) -> Any:
    return bool(value) if value in (0, 1) else _plain_text(value)


_KINDS: list[tuple[type, str]] = [
    (UtcTime, "time"),
    (Float, "number"),
    (Boolean, "flag"),
    (Integer, "whole"),
    (JsonText, "json"),
    (JSON, "json"),
]
_FIXES: Mapping[str, Callable[[Any], Any]] = {
    "time": plain_time,
    "number": _plain_number,
    "flag": _plain_flag,
    "whole": _plain_text,
    "json": _plain_json,
    "text": _plain_text,
}


def list_people(db: Db, user_ids: set[str]) -> list[Row]:
    """Who these are: id and name."""
    query = select(_user.c.user_id, _user.c.name).where(_user.c.user_id.in_(bindparam("ids", expanding=True)))
    parts = (db.connection().execute(query, {"ids": some}) for some in in_parts(sorted(user_ids)))
    return [row._asdict() for part in parts for row in part]


def _without_credentials(row: Row) -> Row:
    return {**row, "config": hide_credentials(row["config"])}


def file_of(artifact_id: str, version: int, media_type: str) -> str:
    """Where in an export the content of a version is."""
    return f"files/{artifact_id}@{version}{_ENDINGS.get(media_type, '.bin')}"


_ENDINGS = {
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "application/json": ".json",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
}


def _with_file(row: Row) -> Row:
    return {**row, "file": file_of(row["artifact_id"], row["version"], row["media_type"])}


# -- which rows belong to a session ---------------------------------------------------------------------


def _of(table: Table, *leave_out: str) -> Select[Any]:
    columns = [column for column in table.columns if column.name not in leave_out]
    return select(*columns).order_by(*table.primary_key)


_IT: BindParameter[Any] = bindparam("session")
_OWN = or_(bindparam("all"), _call.c.user_id == bindparam("who"))
_conversations = select(_conversation.c.conversation_id).where(
    _conversation.c.session_id == _IT, _conversation.c.deleted_at.is_(None)
)
_messages = select(_message.c.message_id).where(
    _message.c.conversation_id.in_(_conversations), _message.c.deleted_at.is_(None)
)
_threads = select(_thread.c.thread_id).where(_thread.c.message_id.in_(_messages))
_artifacts = select(_artifact.c.artifact_id).where(_artifact.c.session_id == _IT)
_calls = select(_call.c.call_id).where(_call.c.session_id == _IT, _OWN)
_WHERE_IT_RAN = ("worker", "lease_epoch", "lease_until")
_shown = or_(
    _annotation.c.user_id == bindparam("who"), and_(bindparam("all"), _annotation.c.kind.in_(SHARED_KINDS))
)
THREAD_IDS = _threads.order_by(_thread.c.thread_id)
CONTENTS = (
    select(_version.c.artifact_id, _version.c.version, _version.c.media_type, _version.c.content)
    .where(_version.c.artifact_id.in_(_artifacts))
    .order_by(_version.c.artifact_id, _version.c.version)
    .execution_options(yield_per=1)
)


def _raw(table: Table) -> Select[Any]:
    return select(*raw_columns(table)).order_by(*table.primary_key)


FORMS: tuple[Form, ...] = (
    Form("session", _session, _of(_session).where(_session.c.session_id == _IT)),
    Form(
        "conversation",
        _conversation,
        _of(_conversation).where(_conversation.c.conversation_id.in_(_conversations)),
    ),
    Form("message", _message, _of(_message).where(_message.c.message_id.in_(_messages))),
    Form(
        "thread",
        _thread,
        _of(_thread, *_WHERE_IT_RAN).where(_thread.c.message_id.in_(_messages)),
        leave_out=_WHERE_IT_RAN,
        change=_without_credentials,
    ),
    Form(
        "branch",
        _branch,
        _of(_branch).where(_branch.c.conversation_id.in_(_conversations), _branch.c.deleted_at.is_(None)),
    ),
    Form("snapshot", _snapshot, _of(_snapshot).where(_snapshot.c.thread_id.in_(_threads))),
    Form("artifact", _artifact, _of(_artifact).where(_artifact.c.session_id == _IT)),
    Form(
        "artifact_version",
        _version,
        _of(_version, "content").where(_version.c.artifact_id.in_(_artifacts)),
        leave_out=("content",),
        more=(("file", "text"),),
        change=_with_file,
    ),
    Form("approval", _approval, _of(_approval).where(_approval.c.thread_id.in_(_threads))),
    Form("annotation", _annotation, _of(_annotation).where(_annotation.c.session_id == _IT, _shown)),
    Form("llm_call", _call, _raw(_call).where(_call.c.session_id == _IT, _OWN), is_sealed=True),
    Form(
        "llm_call_body",
        _body,
        _of(_body)
        .join(_call, _call.c.call_id == _body.c.call_id)
        .where(_call.c.session_id == _IT, _OWN)
        .where(or_(_call.c.message_id.is_(None), _call.c.message_id.in_(_messages))),
        texts=("prompt", "response", "tools"),
        at_once=_LARGE_AT_ONCE,
    ),
    Form("cost_correction", _fix, _raw(_fix).where(_fix.c.call_id.in_(_calls)), is_sealed=True),
    Form("activity", _activity, _raw(_activity).where(_activity.c.session_id == _IT), is_sealed=True),
    Form("run_event", _event, _of(_event).where(_event.c.thread_id.in_(_threads))),
)
PEOPLE = Form("user", _user, _of(_user), leave_out=("password_hash", "role", "created_at", "disabled_at"))
PERSON_COLUMNS = ("user_id", "decided_by", "created_by")
