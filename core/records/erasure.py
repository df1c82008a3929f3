"""Erasing a person: their account, and everything that is theirs or in their words.

What stays is what others need to be sure of: the account's row, without a name and disabled; the record of what was
done, which never holds anybody's words; and the measures of calls, without their texts. Invariant: the account is
closed first, so that nothing new comes, and all after it can be done again, until nothing is left.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import bindparam, delete, func, select, update
from sqlmodel import Session as Db

from core.access.accounts import erase_account
from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import NotFoundError
from core.history.sessions import mark_deleted
from core.ids import SessionId
from core.records.deletion import purge_session
from core.records.removal import ForgetThread, remove_annotations, remove_texts_of_user
from core.tables import (
    Annotation,
    Approval,
    Conversation,
    LlmCall,
    LlmCallBody,
    Message,
    SavedView,
    Session,
    SessionTemplate,
    ToolRule,
    User,
    ViewPosition,
    utc_now,
)

Progress = Callable[[int, int], None]
_session, _conversation, _message = table_of(Session), table_of(Conversation), table_of(Message)
_note, _view, _template = table_of(Annotation), table_of(SavedView), table_of(SessionTemplate)
_rule, _position, _approval = table_of(ToolRule), table_of(ViewPosition), table_of(Approval)
_call, _body = table_of(LlmCall), table_of(LlmCallBody)


@dataclass(frozen=True)
class Own:
    """What a person has: what erasing takes away."""

    sessions: int
    messages: int
    texts: int
    annotations: int
    saved_views: int
    templates: int

    @property
    def is_nothing(self) -> bool:
        return not any(
            (self.sessions, self.messages, self.texts, self.annotations, self.saved_views, self.templates)
        )


def preview_erasure(viewer: Viewer, database: Database, user_id: str) -> Own:
    """What erasing this person would take away (admins only); NotFoundError when there is no such account."""
    viewer.require_admin()
    with database.read() as db:
        if db.get(User, user_id) is None:
            raise NotFoundError("There is no such account; please reload the list.")
        given = {"of": user_id}
        return Own(**{name: db.connection().execute(query, given).scalar_one() for name, query in _OWN.items()})


def erase_user(
    viewer: Viewer,
    database: Database,
    forget_thread: ForgetThread,
    user_id: str,
    *,
    progress: Progress | None = None,
) -> Own:
    """Erase a person, for ever (admins only, not oneself); gives what is left for a moment.

    ``forget_thread`` deletes a thread's checkpoints. A session in which something still runs is told to stop, and
    taken away by the housekeeper when it has. A second time finishes what was cut short.
    """
    erase_account(viewer, database, user_id=user_id)
    with database.read() as db:
        ids = [SessionId(key) for key in db.connection().execute(_SESSIONS, {"of": user_id}).scalars()]
    for place, session_id in enumerate(ids, start=1):
        database.write(partial(_hide, viewer=viewer, session_id=session_id))
        # There is no undo: who could have it is gone.
        purge_session(database, forget_thread, session_id, before=utc_now() + timedelta(seconds=1))
        if progress is not None:
            progress(place, len(ids))
    remove_texts_of_user(database, user_id)
    remove_annotations(database, "user_id", user_id)
    database.write(partial(_forget, user_id=user_id))
    return preview_erasure(viewer, database, user_id)


def _hide(db: Db, viewer: Viewer, session_id: SessionId) -> None:
    found = db.get(Session, session_id)
    if found is not None and found.status != "deleted":
        mark_deleted(viewer, db, session_id)


def _forget(db: Db, user_id: str) -> None:
    """Take away the few rows that are left, and the reasons that the person gave for decisions."""
    for statement in _REST:
        db.connection().execute(statement, {"of": user_id})


def _count(*conditions: Any, of: Any) -> Any:
    return select(func.count()).select_from(of).where(*conditions)


_OF: Any = bindparam("of")
_SESSIONS = select(_session.c.session_id).where(_session.c.user_id == _OF)
_said = _message.join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
_OWN = {
    "sessions": _count(_session.c.user_id == _OF, of=_session),
    "messages": _count(_conversation.c.session_id.in_(_SESSIONS), of=_said),
    "texts": _count(_call.c.user_id == _OF, of=_call.join(_body, _body.c.call_id == _call.c.call_id)),
    "annotations": _count(_note.c.user_id == _OF, of=_note),
    "saved_views": _count(_view.c.user_id == _OF, of=_view),
    "templates": _count(_template.c.user_id == _OF, of=_template),
}
_REST = (
    delete(_view).where(_view.c.user_id == _OF),
    delete(_template).where(_template.c.user_id == _OF),
    delete(_position).where(_position.c.user_id == _OF),
    delete(_rule).where(_rule.c.user_id == _OF),
    update(_approval).where(_approval.c.decided_by == _OF).values(reason=""),
)
