"""A session as a page to read: who asked what, what was answered on which branch, what it took, who did what.

The page is told once, as a series of parts, and written down twice: as Markdown and as HTML (``layout.py``).
Invariant: nothing of what people or models wrote can become a part of the page's own outline.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_, select
from sqlmodel import Session as Db

from core.access.deeds import sentence_of
from core.access.viewer import Viewer
from core.calls.listing.sums import ThreadCalls, summarize_threads
from core.database import table_of
from core.history.approvals import ApprovalRow, list_of_threads
from core.history.artifact_rows import VersionRow, list_artifacts, list_versions
from core.history.conversations import get_conversation
from core.history.tree import Node, Tree
from core.history.turns import Turn, list_turns
from core.ids import ConversationId, MessageId, SessionId, ThreadId
from core.records.branch_export import read_models
from core.records.compare import total_of
from core.records.export.layout import Entry, Facts, Heading, Link, Note, Outline, Part, Quote, to_html, to_markdown
from core.records.export.rows import SHARED_KINDS, file_of
from core.records.telling import NOTES, amounts, counted, joined, moment
from core.tables import Activity, Annotation, Branch, Conversation, Session, User

_LONGEST_EXCERPT = 70
_session, _user, _conversation = table_of(Session), table_of(User), table_of(Conversation)
_activity, _annotation, _branch = table_of(Activity), table_of(Annotation), table_of(Branch)


def write_pages(viewer: Viewer, db: Db, session_id: SessionId, made_at: datetime) -> Iterator[tuple[str, str]]:
    """The session's pages with their names in the export."""
    parts = list(_tell(viewer, db, session_id, made_at))
    yield f"readable/{session_id}.md", to_markdown(parts)
    yield f"readable/{session_id}.html", to_html(parts)


@dataclass(frozen=True)
class _Told:
    """What is known of a conversation besides its messages."""

    owner: str
    numbers: Mapping[MessageId, int]
    calls: dict[str, ThreadCalls]
    models: dict[str, list[str]]
    approvals: Mapping[ThreadId, list[ApprovalRow]]
    branches: Mapping[str, list[str]]
    marks: Mapping[str, list[str]]


def _tell(viewer: Viewer, db: Db, session_id: SessionId, made_at: datetime) -> Iterator[Part]:
    given = {"session": session_id, "who": viewer.user_id, "all": viewer.reads_all}
    row = db.connection().execute(_SESSION, given).one()
    marks = _read_marks(db, given)
    yield Heading(1, row.title or "Session")
    yield Facts(
        (
            f"Session {session_id} of {row.name}, {row.status}",
            f"Begun {moment(row.created_at)}, last changed {moment(row.updated_at)}",
            f"Exported by {viewer.name} at {moment(made_at)}",
            *marks.get(session_id, ()),
        )
    )
    for conversation_id in db.connection().execute(_CONVERSATIONS, given).scalars():
        yield from _tell_conversation(viewer, db, conversation_id, row.name, marks)
    yield from _tell_artifacts(viewer, db, session_id)
    yield from _tell_activity(db, given)


# -- a conversation -------------------------------------------------------------------------------------


def _tell_conversation(
    viewer: Viewer, db: Db, conversation_id: ConversationId, owner: str, marks: Mapping[str, list[str]]
) -> Iterator[Part]:
    turns = {turn.message_id: turn for turn in list_turns(viewer, db, conversation_id)}
    tree = Tree.of(_to_node(turn) for turn in turns.values())
    order = [one for root in tree.children(None) for one in tree.subtree(root)]
    threads = [turn.thread_id for turn in turns.values()]
    told = _Told(
        owner,
        {message_id: number for number, message_id in enumerate(order, start=1)},
        summarize_threads(viewer, db, threads),
        read_models(viewer, db, threads),
        list_of_threads(viewer, db, threads),
        _read_branches(db, conversation_id),
        marks,
    )
    yield Heading(2, get_conversation(viewer, db, conversation_id).title or "Conversation")
    yield Facts((f"Conversation {conversation_id}", joined(amounts(total_of(list(turns.values()), told.calls)))))
    yield Outline(tuple(_outline(tree, turns, told, conversation_id)))
    for message_id in order:
        yield from _tell_turn(turns[message_id], told, conversation_id)


def _to_node(turn: Turn) -> Node:
    return Node(
        turn.message_id,
        turn.parent_message_id,
        turn.depth,
        turn.created_at,
        turn.thread_id,
        turn.user_id,  # type: ignore[arg-type]
        turn.kind,
        turn.name,
        turn.agent_id,
        None,
        turn.status,
    )


def _outline(tree: Tree, turns: Mapping[MessageId, Turn], told: _Told, where: str) -> Iterator[Entry]:
    """Each message once; what goes on in a line stays in its column, and what parts from it stands further in."""
    columns: dict[MessageId | None, int] = {None: 0}
    for message_id in told.numbers:
        parent = tree.nodes[message_id].parent_message_id
        parent = parent if parent in tree.nodes else None
        columns[message_id] = columns[parent] + (len(tree.children(parent)) > 1)
        turn, number = turns[message_id], told.numbers[message_id]
        names = told.branches.get(message_id)
        label = joined([_excerpt(turn.content), turn.status, f"branch {', '.join(names)}" if names else ""])
        yield Entry(columns[message_id], Link(f"{number}.", f"{where}-{number}"), label)


def _tell_turn(turn: Turn, told: _Told, where: str) -> Iterator[Part]:
    number, parent = told.numbers[turn.message_id], told.numbers.get(turn.parent_message_id or MessageId(""))
    kind = turn.kind.replace("_", " ")
    after = f"{kind} after {parent}" if parent else kind
    yield Heading(3, f"{number}. {told.owner}, {moment(turn.created_at)} ({after})", f"{where}-{number}")
    yield Quote(turn.content)
    yield Heading(4, f"Answer {number}")
    if turn.answer:
        yield Quote(turn.answer)
    if turn.status in NOTES:
        yield Note(turn.status.capitalize(), joined([NOTES[turn.status], turn.error_message or ""]))
    elif not turn.answer:
        yield Note("Nothing", "The agent ended without saying anything.")
    for approval in told.approvals.get(turn.thread_id, ()):
        yield Note("Approval", _say_approval(approval))
    models = ", ".join(told.models.get(turn.thread_id, []))
    took = list(amounts(total_of([turn], told.calls)))[1:]
    yield Facts(
        (
            f"Message {turn.message_id}, thread {turn.thread_id}",
            joined([turn.agent_id, models, turn.status, *took]),
            *told.marks.get(turn.message_id, ()),
        )
    )


_ASKED = {"question": "a question"}


def _say_approval(row: ApprovalRow) -> str:
    what = f"the tool {row.tool}" if row.tool else _ASKED.get(row.kind, "a pause")
    asked = f"{what} at {row.node}, {moment(row.waiting_since)}"
    if row.decided_at is None:
        return f"{asked}: {row.status}"
    who = row.decided_by_name or ("a rule" if row.rule_id else "Skein")
    decided = f"{row.decision or row.status} by {who} at {moment(row.decided_at)}"
    return f"{asked}: {decided}" + (f", because: {row.reason}" if row.reason else "")


# -- the rest -------------------------------------------------------------------------------------------


def _tell_artifacts(viewer: Viewer, db: Db, session_id: SessionId) -> Iterator[Part]:
    found = list_artifacts(viewer, db, session_id)
    if not found:
        return
    yield Heading(2, "Artifacts")
    for artifact in found:
        yield Heading(3, f"{artifact.name} ({artifact.kind.replace('_', ' ')})")
        yield Facts(tuple(_say_version(one) for one in list_versions(viewer, db, artifact.artifact_id)))


def _say_version(one: VersionRow) -> str:
    made = f"Version {one.version} by {'hand' if one.by_hand else 'the agent'}, {moment(one.created_at)}"
    path = file_of(one.artifact_id, one.version, one.media_type)
    return joined([made, one.status, counted(one.size, "byte"), path])


def _tell_activity(db: Db, given: Mapping[str, object]) -> Iterator[Part]:
    rows = db.connection().execute(_DEEDS, given).all()
    if rows:
        yield Heading(2, "Who did what")
        yield Facts(tuple(_say_deed(row) for row in rows))


def _say_deed(row: Any) -> str:
    who = row.name or row.user_id
    return joined([moment(row.created_at), who, sentence_of(row.kind, row.detail), row.target_id or ""])


def _read_marks(db: Db, given: Mapping[str, object]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for target_id, name, kind, content, score in db.connection().execute(_MARKS, given):
        said = joined([f"{kind} by {name}", "" if score is None else f"{score} of 5", content])
        found.setdefault(target_id, []).append(said)
    return found


def _read_branches(db: Db, conversation_id: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for head, name in db.connection().execute(_BRANCHES, {"conversation": conversation_id}):
        found.setdefault(head, []).append(name)
    return found


def _excerpt(text: str) -> str:
    line = " ".join(text[: _LONGEST_EXCERPT * 4].split())
    return line if len(line) <= _LONGEST_EXCERPT else line[:_LONGEST_EXCERPT] + "…"


_SESSION = (
    select(_session.c.title, _session.c.status, _session.c.created_at, _session.c.updated_at, _user.c.name)
    .join(_user, _user.c.user_id == _session.c.user_id)
    .where(_session.c.session_id == bindparam("session"))
)
_CONVERSATIONS = (
    select(_conversation.c.conversation_id)
    .where(_conversation.c.session_id == bindparam("session"), _conversation.c.deleted_at.is_(None))
    .order_by(_conversation.c.conversation_id)
)
_DEEDS = (
    select(*(_activity.c[n] for n in ("created_at", "user_id", "kind", "target_id", "detail")), _user.c.name)
    .outerjoin(_user, _user.c.user_id == _activity.c.user_id)
    .where(_activity.c.session_id == bindparam("session"))
    .order_by(_activity.c.activity_id)
)
_MARKS = (
    select(_annotation.c.target_id, _user.c.name, _annotation.c.kind, _annotation.c.content, _annotation.c.score)
    .join(_user, _user.c.user_id == _annotation.c.user_id)
    .where(_annotation.c.session_id == bindparam("session"))
    .where(
        or_(
            _annotation.c.user_id == bindparam("who"),
            bindparam("all") & _annotation.c.kind.in_(SHARED_KINDS),
        )
    )
    .order_by(_annotation.c.annotation_id)
)
_BRANCHES = (
    select(_branch.c.head_message_id, _branch.c.name)
    .where(_branch.c.conversation_id == bindparam("conversation"), _branch.c.deleted_at.is_(None))
    .order_by(_branch.c.branch_id)
)
