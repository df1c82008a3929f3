"""What the Branches page shows of a conversation, read in one go: its tree, branches, costs, stars and beginnings.

Invariant: all of it is what core gave to this viewer; nothing here is shown that core did not hand out.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.listing.sums import ThreadCalls, add_up, summarize_conversation
from core.history.annotations import Mark, find_marks_in
from core.history.branches import BranchRow, get_branch, list_branches
from core.history.conversations import ConversationRow, get_conversation, get_headings
from core.history.excerpts import find_messages, read_excerpts
from core.history.positions import get_branch_to_open
from core.history.snapshots import SnapshotRow, list_snapshots
from core.history.tree import Node, Tree, get_tree
from core.history.turns import get_turn
from core.ids import ConversationId, MessageId
from core.skein import Skein
from core.tables import utc_now
from pages.parts.branches.tree_summary import Facts
from pages.parts.branches.tree_url import Place
from pages.parts.ui.format import total_cost

_JUST_NOW = timedelta(minutes=1)
_FLUSH_SECONDS = 0.5
_NO_MARK, _NO_CALLS = Mark(), ThreadCalls()


@dataclass(frozen=True)
class Shown:
    """A conversation's tree with all that is said about it; ``found`` are the messages that a search found."""

    conversation: ConversationRow
    owner: str
    tree: Tree
    branches: list[BranchRow]
    current: BranchRow
    path: frozenset[MessageId]
    node: Node
    compare: Node | None
    calls: dict[str, ThreadCalls]
    marks: dict[str, Mark]
    excerpts: dict[MessageId, str]
    found: list[MessageId]
    snapshots: list[SnapshotRow]
    is_own: bool
    problems: tuple[str, ...] = ()

    @property
    def live(self) -> frozenset[tuple[str, str]]:
        return live_of(self.tree)

    def mark(self, target_id: str) -> Mark:
        return self.marks.get(target_id, _NO_MARK)

    def sum_calls(self, messages: Iterable[MessageId]) -> ThreadCalls:
        """The calls of these messages in sum."""
        return add_up(
            self.calls[thread] for one in messages if (thread := self.tree.nodes[one].thread_id) in self.calls
        )

    @property
    def abandoned(self) -> list[MessageId]:
        """The messages that are not on the current path."""
        return [one for one in self.tree.nodes if one not in self.path]

    @cached_property
    def facts(self) -> dict[MessageId, Facts]:
        return {one: self.facts_of(node) for one, node in self.tree.nodes.items()}

    def facts_of(self, node: Node) -> Facts:
        calls = self.calls.get(node.thread_id, _NO_CALLS)
        author = self.owner if node.user_id == self.conversation.user_id else "somebody else"
        return Facts(self.excerpts.get(node.message_id, ""), None if calls.unpriced else calls.cost_usd, author)


def load(skein: Skein, viewer: Viewer, place: Place) -> Shown:
    """What the address names; NotFoundError when the conversation is not there for this viewer."""
    with skein.database.read() as db:
        tree = get_tree(viewer, db, _conversation_of(viewer, db, place))
    just_now = utc_now() - _JUST_NOW
    if any(node.created_at > just_now for node in tree.nodes.values()):
        skein.call_log.flush(_FLUSH_SECONDS)
    with skein.database.read() as db:
        branches = list_branches(viewer, db, _conversation_of(viewer, db, place))
        if not {branch.head_message_id for branch in branches} <= tree.nodes.keys():
            # Somebody has gone on meanwhile.
            tree = get_tree(viewer, db, _conversation_of(viewer, db, place))
        return _read(viewer, db, place, tree)


def _conversation_of(viewer: Viewer, db: Db, place: Place) -> ConversationId:
    if place.conversation_id is not None:
        return place.conversation_id
    if place.branch_id is not None:
        return get_branch(viewer, db, place.branch_id).conversation_id
    assert place.node is not None  # noqa: S101 - asked for by the caller
    return get_turn(viewer, db, place.node).conversation_id


def _read(viewer: Viewer, db: Db, place: Place, tree: Tree) -> Shown:
    key = _conversation_of(viewer, db, place)
    conversation = get_conversation(viewer, db, key)
    problems: list[str] = []
    branches = list_branches(viewer, db, key)
    last = get_branch_to_open(viewer, db, key)
    by_id = {branch.branch_id: branch for branch in branches}
    current = by_id.get(place.branch_id or last.branch_id, last)
    if place.branch_id and place.branch_id not in by_id:
        problems.append("There is no such branch here; this is the one you looked at last.")
    node, compare = (_find(tree, named, problems) for named in (place.node, place.compare))
    heading = get_headings(viewer, db, [key]).get(key)
    return Shown(
        conversation=conversation,
        owner=heading.user_name if heading else "",
        tree=tree,
        branches=branches,
        current=current,
        path=frozenset(tree.path(current.head_message_id)),
        node=node or tree.nodes.get(current.head_message_id) or next(reversed(tree.nodes.values())),
        compare=compare,
        calls=summarize_conversation(viewer, db, conversation.session_id, key),
        marks=find_marks_in(viewer, db, key),
        excerpts=read_excerpts(viewer, db, key),
        found=find_messages(viewer, db, key, place.find),
        snapshots=list_snapshots(viewer, db, key),
        is_own=viewer.may_change(conversation.user_id),
        problems=tuple(problems),
    )


def _find(tree: Tree, message_id: MessageId | None, problems: list[str]) -> Node | None:
    if message_id is not None and message_id not in tree.nodes:
        problems.append("There is no such message in this conversation; it may have been deleted.")
    return tree.nodes.get(message_id) if message_id else None


def live_of(tree: Tree) -> frozenset[tuple[str, str]]:
    """What of a tree is queued or running: when it changes, there is something new to see."""
    return frozenset((node.message_id, node.status) for node in tree.nodes.values() if node.is_live)


def cost_of(calls: ThreadCalls) -> str:
    """What calls cost, as far as they have ended."""
    if not calls.calls:
        return "no calls"
    if calls.unpriced and not calls.cost_usd:
        return "unpriced"
    return total_cost(calls.cost_usd, calls=calls.calls - calls.running, unpriced=calls.unpriced)


def count_forks(tree: Tree) -> int:
    """At how many messages (or before the first) a tree goes several ways."""
    return sum(len(below) > 1 for below in tree.below.values())


def deepest(tree: Tree) -> int:
    """How many messages the longest path has."""
    return max((node.depth for node in tree.nodes.values()), default=-1) + 1
