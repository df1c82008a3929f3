"""Session templates: a title, an agent with settings, and first messages to start from.

Invariant: a template holds what to say, never what was answered; a shared one is for everybody to use, and for its
author alone to change.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, bindparam, delete, func, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of, upsert
from core.errors import BadInputError, NotFoundError
from core.history.activity import record
from core.history.sessions import get_session
from core.history.turns import settings_of
from core.ids import SessionId, TemplateId, new_template_id
from core.tables import Conversation, Message, SessionTemplate, Thread, User, clean_text, utc_now

LONGEST_NAME = 80
LONGEST_TITLE = 200
LONGEST_MESSAGE = 20_000
MOST_MESSAGES = 20
MOST_TEMPLATES = 100
_template, _user = table_of(SessionTemplate), table_of(User)


@dataclass(frozen=True)
class Draft:
    """What a session starts from; ``settings`` are a thread's (model, temperature, the agent's own)."""

    title: str = ""
    agent_id: str = "assistant"
    settings: Mapping[str, Any] | None = None
    messages: Sequence[str] = ()


@dataclass(frozen=True)
class TemplateRow:
    """A template, and whose it is."""

    template_id: TemplateId
    user_id: str
    user_name: str
    name: str
    title: str
    agent_id: str
    settings: dict[str, Any]
    messages: list[str]
    shared: bool
    updated_at: datetime


def list_templates(viewer: Viewer, db: Db) -> list[TemplateRow]:
    """The viewer's own templates and the shared ones, by name."""
    rows = db.connection().execute(_LIST, {"who": viewer.user_id})
    return [_to_row(row) for row in rows]


def get_template(viewer: Viewer, db: Db, template_id: TemplateId) -> TemplateRow:
    """One template that the viewer may use; NotFoundError otherwise."""
    row = db.connection().execute(_ONE, {"who": viewer.user_id, "key": clean_text(template_id)}).first()
    if row is None:
        raise _not_found()
    return _to_row(row)


def save_template(viewer: Viewer, db: Db, *, name: str, draft: Draft, shared: bool = False) -> TemplateId:
    """Keep a template under a name, in place of what the viewer kept under the same name."""
    name, kept = " ".join(clean_text(name).split()), _checked(draft)
    if not name:
        raise BadInputError("A template needs a name; please type one.")
    if len(name) > LONGEST_NAME:
        raise BadInputError(f"The name of a template has at most {LONGEST_NAME} characters; please shorten it.")
    now, known = utc_now(), db.connection().execute(_BY_NAME, {"who": viewer.user_id, "name": name}).first()
    if known is None and db.connection().execute(_COUNT, {"who": viewer.user_id}).scalar_one() >= MOST_TEMPLATES:
        raise BadInputError(f"You have {MOST_TEMPLATES} templates, which is the most; please delete one first.")
    row = {
        "template_id": known.template_id if known else new_template_id(),
        "user_id": viewer.user_id,
        "name": name,
        **kept,
        "shared": shared,
        "created_at": known.created_at if known else now,
        "updated_at": now,
    }
    upsert(db, SessionTemplate, [row])
    record(db, viewer, "template.save", target_id=row["template_id"], detail={"shared": shared})
    return TemplateId(row["template_id"])


def delete_template(viewer: Viewer, db: Db, template_id: TemplateId) -> None:
    """Delete one of the viewer's own templates; NotFoundError for any other."""
    given = {"who": viewer.user_id, "key": clean_text(template_id)}
    if db.connection().execute(_DELETE, given).rowcount == 0:
        raise _not_found()
    record(db, viewer, "template.delete", target_id=template_id)


def draft_of_session(viewer: Viewer, db: Db, session_id: SessionId) -> Draft:
    """A draft of what was said first in a session: the line that its first conversation began with."""
    title = get_session(viewer, db, session_id).title
    rows = db.connection().execute(_FIRST_SAID, {"session": session_id, "most": MOST_MESSAGES}).all()
    if not rows:
        return Draft(title)
    agent_id, settings = rows[0].agent_id, settings_of(rows[0].config or {})
    line, above = list[str](), None
    for row in rows:
        if row.conversation_id == rows[0].conversation_id and row.parent_message_id == above:
            line.append(row.content[:LONGEST_MESSAGE])
            above = row.message_id
    return Draft(title, agent_id, settings, line)


def _checked(draft: Draft) -> dict[str, Any]:
    title = " ".join(clean_text(draft.title).split())
    messages = [clean_text(text).strip() for text in draft.messages]
    messages = [text for text in messages if text]
    if len(title) > LONGEST_TITLE:
        raise BadInputError(f"A title has at most {LONGEST_TITLE} characters; please shorten it.")
    if len(messages) > MOST_MESSAGES:
        raise BadInputError(f"A template has at most {MOST_MESSAGES} messages; this one has {len(messages)}.")
    if any(len(text) > LONGEST_MESSAGE for text in messages):
        raise BadInputError(f"A template's message has at most {LONGEST_MESSAGE:,} characters; please shorten it.")
    return {
        "title": title,
        "agent_id": clean_text(draft.agent_id),
        "settings": dict(draft.settings or {}),
        "messages": messages,
    }


def _to_row(row: Any) -> TemplateRow:
    return TemplateRow(**row._mapping)


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such template here; it may have been deleted, or the link is wrong.")


def _rows() -> Select[Any]:
    of = _template.c
    shown = (of.template_id, of.user_id, _user.c.name.label("user_name"), of.name, of.title, of.agent_id)
    return (
        select(*shown, of.settings, of.messages, of.shared, of.updated_at)
        .join_from(_template, _user, _user.c.user_id == of.user_id)
        .where(or_(of.user_id == bindparam("who"), of.shared))
    )


_LIST = _rows().order_by(_template.c.name, _template.c.template_id)
_ONE = _rows().where(_template.c.template_id == bindparam("key"))
_BY_NAME = select(_template.c.template_id, _template.c.created_at).where(
    _template.c.user_id == bindparam("who"), _template.c.name == bindparam("name")
)
_COUNT = select(func.count()).select_from(_template).where(_template.c.user_id == bindparam("who"))
_DELETE = delete(_template).where(
    _template.c.user_id == bindparam("who"), _template.c.template_id == bindparam("key")
)
_message, _conversation, _thread = table_of(Message), table_of(Conversation), table_of(Thread)
_FIRST_SAID = (
    select(
        _message.c.message_id,
        _message.c.conversation_id,
        _message.c.parent_message_id,
        _message.c.content,
        _thread.c.agent_id,
        _thread.c.config,
    )
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .join(_thread, _thread.c.message_id == _message.c.message_id)
    .where(
        _conversation.c.session_id == bindparam("session"),
        _conversation.c.deleted_at.is_(None),
        _message.c.deleted_at.is_(None),
    )
    .order_by(_conversation.c.conversation_id, _message.c.message_id)
    .limit(bindparam("most"))
)
