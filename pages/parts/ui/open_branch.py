"""What the chat's address names: ``?branch=`` a branch, ``?message=`` the newest branch through a message (or with
``?branch=`` the part of that which ends with it), ``?conversation=`` the branch that the viewer looked at last;
``?session=`` a conversation yet to begin in it.

Invariant: a part of a branch is read, its newest turns or those before the message, whatever its length.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import NotFoundError, SkeinError
from core.history.activity import record_look
from core.history.branches import BranchRow, get_branch_below
from core.history.conversations import ConversationRow
from core.history.messages import Added
from core.history.opening import OpenedBranch, open_branch
from core.history.positions import get_branch_to_open, remember_position
from core.history.sessions import SessionRow, get_own_session
from core.history.stretches import Stretch, read_stretches
from core.history.turns import ThreadKind, Turn, get_ancestor, get_path_part, get_turn, list_fan
from core.ids import (
    BranchId,
    ConversationId,
    MessageId,
    SessionId,
    to_branch_id,
    to_conversation_id,
    to_message_id,
    to_session_id,
)
from core.skein import Skein
from pages.parts.ui import state

TURNS_AT_ONCE = 10


@dataclass(frozen=True)
class Opened:
    """A part of a branch of a conversation; nothing of it for a conversation that is yet to begin.

    ``turns`` are those to be shown, in order, ``head`` is the branch's last one, ``fan`` are the answers that were
    asked for together with it, when there are several and it is shown. ``is_alone``: it is the only branch.
    """

    conversation: ConversationRow | None = None
    branch: BranchRow | None = None
    turns: Sequence[Turn] = ()
    stretches: Sequence[Stretch] = ()
    fan: Sequence[Turn] = ()
    session: SessionRow | None = None
    head: Turn | None = None
    is_alone: bool = True
    has_artifacts: bool = False

    @property
    def earlier(self) -> int:
        """How many turns there are before those that are shown."""
        return self.turns[0].depth if self.turns else 0

    @property
    def later(self) -> int:
        """How many there are behind them."""
        return self.head.depth - self.turns[-1].depth if self.head and self.turns else 0

    @property
    def session_id(self) -> SessionId | None:
        """The session that this is in, or is to begin in; None where a new one is to begin too."""
        if self.conversation is not None:
            return self.conversation.session_id
        return self.session.session_id if self.session is not None else None

    @property
    def conversation_id(self) -> ConversationId | None:
        return self.conversation.conversation_id if self.conversation else None


def load(skein: Skein, viewer: Viewer) -> Opened:
    """What the address names; a link that leads nowhere is said, and opens a new conversation."""
    try:
        with skein.database.read() as db:
            branch_id, message_id = _named(viewer, db)
            if branch_id is None:
                return Opened(session=_named_session(viewer, db))
            found = open_branch(viewer, db, branch_id)
            opened = _read(viewer, db, found, message_id)
    except SkeinError as error:
        state.put(state.PROBLEM, str(error))
        return Opened()
    if not found.is_where_last:
        skein.database.submit(lambda db: remember_position(viewer, db, found.branch))
    record_conversation_look(skein, viewer, found.conversation)
    return opened


def record_conversation_look(skein: Skein, viewer: Viewer, conversation: ConversationRow) -> None:
    """Record that the viewer looks at it, if it is somebody else's."""
    record_look(
        viewer,
        skein.database,
        "conversation.read",
        target_id=conversation.conversation_id,
        owner_id=conversation.user_id,
        session_id=conversation.session_id,
    )


def go_to(added: Added) -> None:
    """Let the address name what was just begun."""
    point_at(added.conversation_id, added.branch_id)


def point_at(conversation_id: str | None, branch_id: str | None, message_id: str | None = None) -> None:
    """Let the address name this, all at once: each change alone would be a message of its own to the browser."""
    named = {"session": None, "conversation": conversation_id, "branch": branch_id, "message": message_id}
    others = {name: value for name, value in st.query_params.to_dict().items() if name not in named}
    st.query_params.from_dict(others | {name: value for name, value in named.items() if value is not None})


def show_more(opened: Opened) -> None:
    """Show as many turns again before those that are shown, on top of them."""
    if opened.branch is not None:
        state.put(state.EARLIER, (opened.branch.branch_id, len(opened.turns) + TURNS_AT_ONCE))


def show_later(skein: Skein, viewer: Viewer, opened: Opened) -> None:
    """Show the part of the branch that comes next."""
    branch, head = opened.branch, opened.head
    if branch is None or head is None:
        return
    with state.problems(), skein.database.read() as db:
        depth = opened.turns[-1].depth + TURNS_AT_ONCE
        last = get_ancestor(viewer, db, head.message_id, depth=min(depth, head.depth))
        is_end = last == head.message_id
        point_at(branch.conversation_id, branch.branch_id, None if is_end else last)


def open_new_in(session_id: SessionId) -> None:
    """Let the address name a conversation that is yet to begin in a session."""
    point_at(None, None)
    st.query_params["session"] = session_id


def open_at(skein: Skein, viewer: Viewer, message_id: MessageId) -> None:
    """Let the address name the newest branch through a message."""
    with state.problems(), skein.database.read() as db:
        branch = get_branch_below(viewer, db, message_id)
        point_at(branch.conversation_id, branch.branch_id)


def open_last(skein: Skein, viewer: Viewer, conversation_id: ConversationId) -> None:
    """Let the address name the branch of a conversation that the viewer looked at last."""
    with state.problems(), skein.database.read() as db:
        point_at(conversation_id, get_branch_to_open(viewer, db, conversation_id).branch_id)


def _named(viewer: Viewer, db: Db) -> tuple[BranchId | None, MessageId | None]:
    """The branch that the address names, and the message that is to be seen."""
    params = st.query_params
    message_id = to_message_id(params["message"]) if "message" in params else None
    if "branch" in params:
        return to_branch_id(params["branch"]), message_id
    if message_id is not None:
        return get_branch_below(viewer, db, message_id).branch_id, message_id
    if "conversation" in params:
        return get_branch_to_open(viewer, db, to_conversation_id(params["conversation"])).branch_id, None
    return None, None


def _named_session(viewer: Viewer, db: Db) -> SessionRow | None:
    named = st.query_params.get("session")
    return get_own_session(viewer, db, to_session_id(named)) if named else None


def _read(viewer: Viewer, db: Db, found: OpenedBranch, message_id: MessageId | None) -> Opened:
    branch = found.branch
    branch_shown, most = state.get(state.EARLIER) or (None, 0)
    most = most if branch_shown == branch.branch_id else TURNS_AT_ONCE
    turns = get_path_part(viewer, db, branch.head_message_id, most=most)
    head = turns[-1]
    if message_id is not None and message_id not in {turn.message_id for turn in turns}:
        turns = _part_with(viewer, db, head, message_id, most=most) or turns
    fan = list_fan(viewer, db, head.message_id) if head.kind == ThreadKind.FAN_OUT and turns[-1] is head else []
    return Opened(
        found.conversation,
        branch,
        turns,
        [] if found.is_alone else read_stretches(db, branch),
        fan if len(fan) > 1 else [],
        head=head,
        is_alone=found.is_alone,
        has_artifacts=found.has_artifacts,
    )


def _part_with(viewer: Viewer, db: Db, head: Turn, message_id: MessageId, *, most: int) -> list[Turn]:
    """The turns that end with a message further up on the branch; none when it is not on it."""
    try:
        depth = get_turn(viewer, db, message_id).depth
    except NotFoundError:
        return []
    if get_ancestor(viewer, db, head.message_id, depth=depth) != message_id:
        return []
    return get_path_part(viewer, db, message_id, most=most)
