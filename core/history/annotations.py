"""Stars and notes: what a person thinks of a message or a branch, for themselves.

Invariant: they are their author's own, can be put on whatever the author may see, and change nothing of it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, select, union_all
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import in_parts, table_of, upsert
from core.errors import BadInputError
from core.history.branches import get_branch
from core.history.conversations import hold_conversation
from core.history.turns import get_turn
from core.ids import BranchId, ConversationId, MessageId, new_annotation_id, parse_id
from core.tables import Annotation, Branch, Message, clean_text, utc_now

LONGEST_NOTE = 2_000
_annotation, _message, _branch = table_of(Annotation), table_of(Message), table_of(Branch)


@dataclass(frozen=True)
class Mark:
    """What a person has put on one thing."""

    starred: bool = False
    note: str = ""


def set_star(viewer: Viewer, db: Db, target_id: MessageId | BranchId, *, starred: bool) -> None:
    """Put a star on it, or take it off; doing so twice changes nothing."""
    _require_visible(viewer, db, target_id)
    _put(viewer, db, target_id, "star", "") if starred else _drop(viewer, db, target_id, "star")


def set_note(viewer: Viewer, db: Db, target_id: MessageId | BranchId, note: str) -> None:
    """Keep a note of at most 2,000 characters with it; an empty one takes the note away."""
    _require_visible(viewer, db, target_id)
    note = clean_text(note).strip()
    if len(note) > LONGEST_NOTE:
        raise BadInputError(f"A note has at most {LONGEST_NOTE:,} characters; this one has {len(note):,}.")
    _put(viewer, db, target_id, "note", note) if note else _drop(viewer, db, target_id, "note")


def find_marks(viewer: Viewer, db: Db, targets: Collection[str]) -> dict[str, Mark]:
    """The viewer's own stars and notes on these, by what they are on."""
    found: dict[str, Mark] = {}
    for some in in_parts(targets):
        found |= _read(db, _FIND, {"who": viewer.user_id, "targets": some})
    return found


def find_marks_in(viewer: Viewer, db: Db, conversation_id: ConversationId) -> dict[str, Mark]:
    """The viewer's own stars and notes on a conversation's messages and branches, by what they are on."""
    return _read(db, _FIND_IN, {"who": viewer.user_id, "conversation": conversation_id})


def _read(db: Db, statement: Any, given: dict[str, Any]) -> dict[str, Mark]:
    found: dict[str, dict[str, str]] = {}
    for target_id, kind, content in db.connection().execute(statement, given):
        found.setdefault(target_id, {})[kind] = content
    return {target: Mark("star" in kinds, kinds.get("note", "")) for target, kinds in found.items()}


def _require_visible(viewer: Viewer, db: Db, target_id: MessageId | BranchId) -> None:
    match parse_id(target_id).kind:
        case "msg":
            hold_conversation(db, get_turn(viewer, db, MessageId(target_id)).conversation_id)
        case "branch":
            hold_conversation(db, get_branch(viewer, db, BranchId(target_id)).conversation_id)
        case _:
            raise BadInputError("Stars and notes go on messages and branches; choose one of those.")


def _put(viewer: Viewer, db: Db, target_id: str, kind: str, content: str) -> None:
    now, given = utc_now(), _key(viewer, target_id, kind)
    known = db.connection().execute(_ONE, given).first()
    row = {
        "annotation_id": known.annotation_id if known else new_annotation_id(),
        "user_id": viewer.user_id,
        "target_id": target_id,
        "kind": kind,
        "content": content,
        "created_at": known.created_at if known else now,
        "updated_at": now,
    }
    upsert(db, Annotation, [row])


def _drop(viewer: Viewer, db: Db, target_id: str, kind: str) -> None:
    db.connection().execute(_DELETE, _key(viewer, target_id, kind))


def _key(viewer: Viewer, target_id: str, kind: str) -> dict[str, Any]:
    return {"who": viewer.user_id, "target": target_id, "kind": kind}


_is_it = (
    _annotation.c.target_id == bindparam("target"),
    _annotation.c.user_id == bindparam("who"),
    _annotation.c.kind == bindparam("kind"),
)
_ONE = select(_annotation.c.annotation_id, _annotation.c.created_at).where(*_is_it)
_DELETE = delete(_annotation).where(*_is_it)
_FIND = select(_annotation.c.target_id, _annotation.c.kind, _annotation.c.content).where(
    _annotation.c.user_id == bindparam("who"),
    _annotation.c.target_id.in_(bindparam("targets", expanding=True)),
)
_own = select(_annotation.c.target_id, _annotation.c.kind, _annotation.c.content).where(
    _annotation.c.user_id == bindparam("who")
)
_FIND_IN = union_all(
    *(
        _own.join(table, key == _annotation.c.target_id).where(
            table.c.conversation_id == bindparam("conversation"), table.c.deleted_at.is_(None)
        )
        for table, key in ((_message, _message.c.message_id), (_branch, _branch.c.branch_id))
    )
)
