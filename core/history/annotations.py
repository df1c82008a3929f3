"""Annotations: what people put on sessions, messages, branches and calls.

A star and a note are for their author alone. Tags, scores and reviews are for the house: whoever reads everybody's
rows sees all of them, everybody else their own.

Invariant: an annotation is its author's, can be put on whatever the author may see, and changes nothing of it.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, or_, select, union_all
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import in_parts, table_of, upsert
from core.errors import BadInputError, NotFoundError
from core.history.activity import record
from core.history.branches import get_branch
from core.history.conversations import get_conversation, hold_conversation
from core.history.sessions import get_session, hold_session, is_there
from core.history.turns import find_turn
from core.ids import (
    BranchId,
    CallId,
    ConversationId,
    MessageId,
    SessionId,
    new_annotation_id,
    parse_id,
)
from core.tables import Annotation, Branch, LlmCall, Message, User, clean_text, utc_now

LONGEST_NOTE = 2_000
LONGEST_TAG = 40
MOST_TAGS = 50
VERDICTS = ("good", "bad")
SCORES = range(1, 6)
Target = SessionId | MessageId | BranchId | CallId
_SHARED = ("tag", "score", "review")
_annotation, _message, _branch, _user = table_of(Annotation), table_of(Message), table_of(Branch), table_of(User)
_call = table_of(LlmCall)


@dataclass(frozen=True)
class Tag:
    """A tag that somebody put on a thing; ``own`` ones are the viewer's."""

    name: str
    user_name: str
    own: bool


@dataclass(frozen=True)
class Score:
    """What somebody thinks of a thing, from 1 to 5, and why."""

    score: int
    comment: str
    user_name: str
    own: bool


@dataclass(frozen=True)
class Review:
    """Somebody's verdict on a session, ``good`` or ``bad``, and why."""

    verdict: str
    comment: str
    user_name: str
    own: bool


@dataclass(frozen=True)
class Mark:
    """What stands on one thing, as far as the viewer sees it; star and note are their own."""

    starred: bool = False
    note: str = ""
    tags: tuple[Tag, ...] = ()
    scores: tuple[Score, ...] = ()
    reviews: tuple[Review, ...] = ()


def set_star(viewer: Viewer, db: Db, target_id: Target, *, starred: bool) -> None:
    """Put a star on it, or take it off; doing so twice changes nothing."""
    _set(viewer, db, target_id, "star", "" if starred else None)


def set_note(viewer: Viewer, db: Db, target_id: Target, note: str) -> None:
    """Keep a note of at most 2,000 characters with it; an empty one takes the note away."""
    _set(viewer, db, target_id, "note", _checked(note, "note") or None)


def set_score(viewer: Viewer, db: Db, target_id: Target, score: int | None, comment: str = "") -> None:
    """Score it from 1 to 5, with a comment of at most 2,000 characters; None takes the score away."""
    if score is not None and score not in SCORES:
        raise BadInputError("A score is a whole number from 1 to 5; please choose one of these.")
    _set(viewer, db, target_id, "score", None if score is None else _checked(comment, "comment"), score=score)


def set_review(viewer: Viewer, db: Db, session_id: SessionId, verdict: str, comment: str = "") -> None:
    """Say that the session was looked through, ``good`` or ``bad``; an empty verdict takes that back."""
    if verdict and verdict not in VERDICTS:
        raise BadInputError(f"A review says {' or '.join(VERDICTS)}; please choose one of these.")
    if parse_id(session_id).kind != "session":
        raise BadInputError("Only sessions are reviewed; please choose one.")
    text = f"{verdict}\n{_checked(comment, 'comment')}" if verdict else None
    _set(viewer, db, session_id, "review", text)


def add_tag(viewer: Viewer, db: Db, target_id: Target, tag: str) -> str:
    """Put a tag of at most 40 characters on it, and return that as it is kept; twice changes nothing."""
    name, session_id = clean_tag(tag), _require_visible(viewer, db, target_id)
    given = {"who": viewer.user_id, "target": target_id, "tag": name}
    if db.connection().execute(_ONE_TAG, given).first() is not None:
        return name
    if db.connection().execute(_COUNT_TAGS, given).scalar_one() >= MOST_TAGS:
        raise BadInputError(f"You have put {MOST_TAGS} tags on this, which is the most; please remove one first.")
    _put(viewer, db, _row(viewer, target_id, "tag", name, session_id))
    return name


def remove_tag(viewer: Viewer, db: Db, target_id: Target, tag: str) -> None:
    """Take the viewer's own tag off it; one that is not there is no error."""
    session_id = _require_visible(viewer, db, target_id)
    given = {"who": viewer.user_id, "target": target_id, "tag": clean_tag(tag)}
    if db.connection().execute(_DROP_TAG, given).rowcount:
        _tell(db, viewer, target_id, "tag", session_id, removed=True)


def clean_tag(tag: str) -> str:
    """A tag as it is kept: lower case, one space between words; BadInputError for one that is none."""
    name = " ".join(clean_text(tag).lower().split())
    if not name:
        raise BadInputError("A tag needs at least one character; please type one.")
    if len(name) > LONGEST_TAG:
        raise BadInputError(f"A tag has at most {LONGEST_TAG} characters; this one has {len(name)}.")
    if set(name) & set(',"“”'):
        raise BadInputError("A tag has no commas or quotes; please leave them out.")
    return name


def list_tags(viewer: Viewer, db: Db, *, most: int = 200) -> dict[str, int]:
    """The tags that the viewer sees, with how many things have each; those that are used most come first."""
    rows = db.connection().execute(_TAGS, {"who": viewer.user_id, "all": viewer.reads_all, "most": most})
    return {row.content: row.uses for row in rows}


def find_marks(viewer: Viewer, db: Db, targets: Collection[str]) -> dict[str, Mark]:
    """What the viewer sees on these, by what it is on; the viewer has to be one who may see those."""
    found: dict[str, Mark] = {}
    for some in in_parts(targets):
        given = {"who": viewer.user_id, "all": viewer.reads_all, "targets": some}
        found |= _read(viewer, db, _FIND, given)
    return found


def find_marks_in(viewer: Viewer, db: Db, conversation_id: ConversationId) -> dict[str, Mark]:
    """The viewer's own stars and notes on a conversation's messages and branches, by what they are on."""
    return _read(viewer, db, _FIND_IN, {"who": viewer.user_id, "conversation": conversation_id})


def _read(viewer: Viewer, db: Db, statement: Any, given: dict[str, Any]) -> dict[str, Mark]:
    found: dict[str, list[Any]] = {}
    for row in db.connection().execute(statement, given):
        found.setdefault(row.target_id, []).append(row)
    return {target: _to_mark(viewer, rows) for target, rows in found.items()}


def _to_mark(viewer: Viewer, rows: list[Any]) -> Mark:
    own = {row.kind: row.content for row in rows if row.user_id == viewer.user_id}
    whose = [(row, row.user_name, row.user_id == viewer.user_id) for row in rows]
    return Mark(
        "star" in own,
        own.get("note", ""),
        tuple(Tag(row.content, name, mine) for row, name, mine in whose if row.kind == "tag"),
        tuple(Score(row.score, row.content, name, mine) for row, name, mine in whose if row.kind == "score"),
        tuple(_to_review(row, mine) for row, _, mine in whose if row.kind == "review"),
    )


def _to_review(row: Any, own: bool) -> Review:
    verdict, _, comment = row.content.partition("\n")
    return Review(verdict, comment, row.user_name, own)


def _checked(text: str, what: str) -> str:
    text = clean_text(text).strip()
    if len(text) > LONGEST_NOTE:
        raise BadInputError(f"A {what} has at most {LONGEST_NOTE:,} characters; this one has {len(text):,}.")
    return text


def _require_visible(viewer: Viewer, db: Db, target_id: Target) -> SessionId | None:
    """The session that it stands in (a call may have none), held; NotFoundError when the viewer may not see it."""
    session_id, conversation_id = _place_of(viewer, db, target_id)
    if session_id is not None:
        hold_session(db, session_id)
    if conversation_id is not None:
        hold_conversation(db, conversation_id)
        # Once more: while this waited, somebody may have deleted it.
        get_conversation(viewer, db, conversation_id)
    return session_id


def _place_of(viewer: Viewer, db: Db, target_id: Target) -> tuple[SessionId | None, ConversationId | None]:
    match parse_id(target_id).kind:
        case "session":
            return get_session(viewer, db, SessionId(target_id)).session_id, None
        case "msg":
            turn, session_id, _ = find_turn(viewer, db, MessageId(target_id))
            return session_id, turn.conversation_id
        case "branch":
            conversation_id = get_branch(viewer, db, BranchId(target_id)).conversation_id
            return get_conversation(viewer, db, conversation_id).session_id, conversation_id
        case "call":
            return _session_of_call(viewer, db, CallId(target_id)), None
        case _:
            raise BadInputError("Annotations go on sessions, messages, branches and calls; choose one of those.")


def _session_of_call(viewer: Viewer, db: Db, call_id: CallId) -> SessionId | None:
    row = db.connection().execute(_CALL, {"call": call_id}).first()
    if row is None or not (viewer.reads_all or row.user_id == viewer.user_id):
        raise NotFoundError("There is no such call here; the link may be wrong.")
    return None if row.session_id is None else SessionId(row.session_id)


def _set(
    viewer: Viewer, db: Db, target_id: Target, kind: str, content: str | None, *, score: int | None = None
) -> None:
    """Keep the viewer's one annotation of this kind, or take it away when there is no content."""
    session_id = _require_visible(viewer, db, target_id)
    given = {"who": viewer.user_id, "target": target_id, "kind": kind}
    if content is not None:
        known = db.connection().execute(_ONE, given).first()
        row = _row(viewer, target_id, kind, content, session_id) | {"score": score}
        _put(viewer, db, row | (dict(known._mapping) if known else {}))
    elif db.connection().execute(_DELETE, given).rowcount:
        _tell(db, viewer, target_id, kind, session_id, removed=True)


def _row(
    viewer: Viewer, target_id: Target, kind: str, content: str, session_id: SessionId | None
) -> dict[str, Any]:
    now = utc_now()
    return {
        "annotation_id": new_annotation_id(),
        "user_id": viewer.user_id,
        "target_id": target_id,
        "kind": kind,
        "content": content,
        "created_at": now,
        "updated_at": now,
        "score": None,
        "session_id": session_id,
    }


def _put(viewer: Viewer, db: Db, row: dict[str, Any]) -> None:
    upsert(db, Annotation, [row])
    _tell(db, viewer, row["target_id"], row["kind"], row["session_id"])


def _tell(
    db: Db, viewer: Viewer, target_id: Target, kind: str, session_id: SessionId | None, *, removed: bool = False
) -> None:
    detail = {"kind": kind, "removed": removed}
    record(db, viewer, "annotation.set", target_id=target_id, session_id=session_id, detail=detail)


_is_it = (
    _annotation.c.target_id == bindparam("target"),
    _annotation.c.user_id == bindparam("who"),
    _annotation.c.kind == bindparam("kind"),
)
_ONE = select(_annotation.c.annotation_id, _annotation.c.created_at).where(*_is_it)
_DELETE = delete(_annotation).where(*_is_it)
_own_tags = (
    _annotation.c.target_id == bindparam("target"),
    _annotation.c.user_id == bindparam("who"),
    _annotation.c.kind == "tag",
)
_ONE_TAG = select(_annotation.c.annotation_id).where(*_own_tags, _annotation.c.content == bindparam("tag"))
_DROP_TAG = delete(_annotation).where(*_own_tags, _annotation.c.content == bindparam("tag"))
_COUNT_TAGS = select(func.count()).select_from(_annotation).where(*_own_tags)
_CALL = select(_call.c.user_id, _call.c.session_id).where(_call.c.call_id == bindparam("call"))
_marks = select(
    _annotation.c.target_id,
    _annotation.c.user_id,
    _user.c.name.label("user_name"),
    _annotation.c.kind,
    _annotation.c.content,
    _annotation.c.score,
).join(_user, _user.c.user_id == _annotation.c.user_id)
_is_shown = or_(_annotation.c.user_id == bindparam("who"), and_(bindparam("all"), _annotation.c.kind.in_(_SHARED)))
_is_kept = is_there(_annotation.c.session_id)
_FIND = _marks.where(
    _annotation.c.target_id.in_(bindparam("targets", expanding=True)), _is_shown, _is_kept
).order_by(_annotation.c.annotation_id)
_own = _marks.where(_annotation.c.user_id == bindparam("who"), _annotation.c.kind.in_(("star", "note")))
_FIND_IN = union_all(
    *(
        _own.join(table, key == _annotation.c.target_id).where(
            table.c.conversation_id == bindparam("conversation"), table.c.deleted_at.is_(None)
        )
        for table, key in ((_message, _message.c.message_id), (_branch, _branch.c.branch_id))
    )
)
_TAGS = (
    select(_annotation.c.content, func.count().label("uses"))
    .where(_annotation.c.kind == "tag", _is_shown, _is_kept)
    .group_by(_annotation.c.content)
    .order_by(func.count().desc(), _annotation.c.content)
    .limit(bindparam("most"))
)
