"""A conversation as a tree: its shape without its words, and what stands beside what.

Invariant: the shape holds every message of the conversation that is not deleted, each below its parent, siblings in
the order they were made; it carries no content, so that ten thousand messages are a small thing to load.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import DateTime, bindparam, select, type_coerce, union_all
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import in_parts, table_of
from core.history.conversations import get_conversation
from core.history.turns import get_turn
from core.ids import ConversationId, MessageId, ThreadId, UserId
from core.tables import Message, Thread

_message, _thread = table_of(Message), table_of(Thread)


@dataclass(frozen=True, slots=True)
class Node:
    """One message with its thread, without the words; ``seconds`` is how long the run took, once it is over."""

    message_id: MessageId
    parent_message_id: MessageId | None
    depth: int
    created_at: datetime
    thread_id: ThreadId
    user_id: UserId
    kind: str
    name: str
    agent_id: str
    model: str | None
    status: str
    seconds: float | None = None

    @property
    def is_live(self) -> bool:
        return self.status in {"queued", "running"}


@dataclass(frozen=True)
class Tree:
    """The messages of one conversation by id, parents before children, and what hangs below each (None: roots)."""

    nodes: dict[MessageId, Node]
    below: dict[MessageId | None, list[MessageId]] = field(default_factory=dict)

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> "Tree":
        """From nodes in any order; one whose parent is not among them becomes a root."""
        by_id = {node.message_id: node for node in sorted(nodes, key=attrgetter("depth", "message_id"))}
        below: defaultdict[MessageId | None, list[MessageId]] = defaultdict(list)
        for node in by_id.values():
            below[node.parent_message_id if node.parent_message_id in by_id else None].append(node.message_id)
        return cls(by_id, dict(below))

    def children(self, message_id: MessageId | None) -> list[MessageId]:
        return self.below.get(message_id, [])

    def path(self, message_id: MessageId) -> list[MessageId]:
        """From the root down to this message."""
        path: list[MessageId] = []
        at: MessageId | None = message_id
        while at is not None and at in self.nodes:
            path.append(at)
            at = self.nodes[at].parent_message_id
        return path[::-1]

    def subtree(self, message_id: MessageId) -> Iterator[MessageId]:
        """This message and all below it, each before what hangs below it."""
        waiting = [message_id]
        while waiting:
            at = waiting.pop()
            yield at
            waiting.extend(reversed(self.children(at)))

    def fork_of(self, one: MessageId, other: MessageId) -> MessageId | None:
        """The last message that two paths have in common; None when they part at the very beginning."""
        common = [a for a, b in zip(self.path(one), self.path(other), strict=False) if a == b]
        return common[-1] if common else None


def get_tree(viewer: Viewer, db: Db, conversation_id: ConversationId) -> Tree:
    """The whole tree of a conversation; NotFoundError when the viewer may not see it."""
    get_conversation(viewer, db, conversation_id)
    return Tree.of(_to_node(row) for row in db.connection().execute(_TREE, {"conversation": conversation_id}))


def find_siblings(viewer: Viewer, db: Db, path: Sequence[MessageId]) -> dict[MessageId, list[MessageId]]:
    """For each message of a path those beside it, itself included; NotFoundError when the viewer may not see it."""
    if not path:
        return {}
    head = get_turn(viewer, db, path[-1])
    return find_siblings_in(db, head.conversation_id, path)


def find_siblings_in(
    db: Db, conversation_id: ConversationId, path: Sequence[MessageId]
) -> dict[MessageId, list[MessageId]]:
    """The same of a conversation that the caller has read already for this viewer."""
    found: dict[MessageId, list[MessageId]] = {}
    for some in in_parts(path):
        given = {"messages": some, "conversation": conversation_id}
        for own, sibling in db.connection().execute(_SIBLINGS, given):
            found.setdefault(MessageId(own), []).append(MessageId(sibling))
    return found


def _to_node(row: Any) -> Node:
    started, ended = row[-2:]
    seconds = (ended - started).total_seconds() if started and ended else None
    return Node(*(*row[:-2], seconds))


_own = _message.alias("own")
_pairs = select(_own.c.message_id.label("own_id"), _message.c.message_id.label("sibling_id")).where(
    _own.c.message_id.in_(bindparam("messages", expanding=True)),
    _own.c.conversation_id == bindparam("conversation"),
    _message.c.deleted_at.is_(None),
)
_below = _pairs.join(_message, _message.c.parent_message_id == _own.c.parent_message_id)
_roots = _pairs.join(_message, _message.c.conversation_id == _own.c.conversation_id).where(
    _own.c.parent_message_id.is_(None), _message.c.parent_message_id.is_(None)
)
_SIBLINGS = union_all(_below, _roots).order_by("sibling_id")
_TREE = (
    select(
        _message.c.message_id,
        _message.c.parent_message_id,
        _message.c.depth,
        _message.c.created_at,
        _thread.c.thread_id,
        _thread.c.user_id,
        _thread.c.kind,
        _thread.c.name,
        _thread.c.agent_id,
        _thread.c.config["model"].as_string(),
        _thread.c.status,
        # Only their difference is wanted, which needs no time zone: for ten thousand rows that is worth it.
        type_coerce(_thread.c.started_at, DateTime()),
        type_coerce(_thread.c.ended_at, DateTime()),
    )
    .join(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_message.c.conversation_id == bindparam("conversation"), _message.c.deleted_at.is_(None))
)
