"""What the chat's address names: ``?branch=`` a branch, ``?message=`` the newest branch through a message,
``?conversation=`` the branch that the viewer looked at last; ``?session=`` a conversation yet to begin in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.activity import record_look
from core.history.branches import BranchRow, get_branch, get_branch_below, list_branches
from core.history.conversations import ConversationRow, get_conversation
from core.history.messages import Added
from core.history.positions import find_position, get_branch_to_open, remember_position
from core.history.sessions import SessionRow, get_own_session
from core.history.stretches import Stretch, get_stretches
from core.history.turns import ThreadKind, Turn, get_path, list_fan
from core.ids import (
    ConversationId,
    MessageId,
    SessionId,
    to_branch_id,
    to_conversation_id,
    to_message_id,
    to_session_id,
)
from core.skein import Skein
from pages.parts import state


@dataclass(frozen=True)
class Opened:
    """One branch of a conversation with its turns; nothing of it for a conversation that is yet to begin.

    ``fan`` are the answers that were asked for together with the last one, when there are several.
    """

    conversation: ConversationRow | None = None
    branch: BranchRow | None = None
    turns: Sequence[Turn] = ()
    stretches: Sequence[Stretch] = ()
    fan: Sequence[Turn] = ()
    session: SessionRow | None = None

    @property
    def session_id(self) -> SessionId | None:
        """The session that this is in, or is to begin in; None where a new one is to begin too."""
        if self.conversation is not None:
            return self.conversation.session_id
        return self.session.session_id if self.session is not None else None

    @property
    def head(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    @property
    def conversation_id(self) -> ConversationId | None:
        return self.conversation.conversation_id if self.conversation else None


def load(skein: Skein, viewer: Viewer) -> Opened:
    """What the address names; a link that leads nowhere is said, and opens a new conversation."""
    try:
        with skein.database.read() as db:
            branch = _named(viewer, db)
            if branch is None:
                return Opened(session=_named_session(viewer, db))
            opened = _read(viewer, db, branch)
            is_known = find_position(viewer, db, branch.conversation_id) == branch.branch_id
    except SkeinError as error:
        state.put(state.PROBLEM, str(error))
        return Opened()
    if not is_known:
        skein.database.submit(lambda db: remember_position(viewer, db, branch))
    if opened.conversation is not None:
        record_conversation_look(skein, viewer, opened.conversation)
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


def point_at(conversation_id: str | None, branch_id: str | None) -> None:
    names = {"session": None, "message": None, "conversation": conversation_id, "branch": branch_id}
    for name, value in names.items():
        if value is not None:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


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


def _named(viewer: Viewer, db: Db) -> BranchRow | None:
    params = st.query_params
    if "branch" in params:
        return get_branch(viewer, db, to_branch_id(params["branch"]))
    if "message" in params:
        return get_branch_below(viewer, db, to_message_id(params["message"]))
    if "conversation" in params:
        return get_branch_to_open(viewer, db, to_conversation_id(params["conversation"]))
    return None


def _named_session(viewer: Viewer, db: Db) -> SessionRow | None:
    named = st.query_params.get("session")
    return get_own_session(viewer, db, to_session_id(named)) if named else None


def _read(viewer: Viewer, db: Db, branch: BranchRow) -> Opened:
    conversation = get_conversation(viewer, db, branch.conversation_id)
    turns = get_path(viewer, db, branch.head_message_id)
    is_alone = len(list_branches(viewer, db, branch.conversation_id)) == 1
    stretches = [] if is_alone else get_stretches(viewer, db, branch.branch_id)
    fan = list_fan(viewer, db, turns[-1].message_id) if turns[-1].kind == ThreadKind.FAN_OUT else []
    return Opened(conversation, branch, turns, stretches, fan if len(fan) > 1 else [])
