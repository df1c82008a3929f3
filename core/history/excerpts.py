"""What a tree shows of its messages' words: how each begins, and in which of them a text stands.

Invariant: words are folded here and not by the database, so that both databases find the same.
"""

from typing import Any

from sqlalchemy import Select, bindparam, func, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.conversations import get_conversation
from core.history.folding import fold
from core.ids import ConversationId, MessageId
from core.tables import Message

LONGEST = 80
_message = table_of(Message)


def read_excerpts(viewer: Viewer, db: Db, conversation_id: ConversationId) -> dict[MessageId, str]:
    """The first 80 characters of every message of a conversation, in one line each."""
    get_conversation(viewer, db, conversation_id)
    rows = db.connection().execute(_BEGINNINGS, {"conversation": conversation_id})
    return {MessageId(message_id): " ".join(text.split())[:LONGEST] for message_id, text in rows}


def find_messages(viewer: Viewer, db: Db, conversation_id: ConversationId, text: str) -> list[MessageId]:
    """The messages of a conversation in whose words or answer a text stands, in the order they were made."""
    get_conversation(viewer, db, conversation_id)
    wanted = fold(text)
    if not wanted:
        return []
    rows = db.connection().execute(_WORDS, {"conversation": conversation_id})
    return [MessageId(message_id) for message_id, *words in rows if any(wanted in fold(said) for said in words)]


def _of_conversation(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .where(_message.c.conversation_id == bindparam("conversation"), _message.c.deleted_at.is_(None))
        .order_by(_message.c.message_id)
    )


# A line may begin with spaces, which do not count.
_BEGINNINGS = _of_conversation(_message.c.message_id, func.substr(_message.c.content, 1, 2 * LONGEST))
_WORDS = _of_conversation(_message.c.message_id, _message.c.content, _message.c.answer)
