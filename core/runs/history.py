"""What stored runs did besides answering, for showing many finished answers at once.

Invariant: one query for all of them, however many; who may not see a thread gets nothing of it.
"""

from collections.abc import Collection

from sqlalchemy import bindparam, case, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.turns import Turn, get_turn_of_thread
from core.ids import ThreadId
from core.runs.events import VOICE, Event, expand
from core.runs.store import find_subgraph
from core.tables import Conversation, Message, RunEvent, Session, Thread

_event, _thread, _message = table_of(RunEvent), table_of(Thread), table_of(Message)
_conversation, _session = table_of(Conversation), table_of(Session)


def why_no_state(db: Db, turn: Turn, checkpoint_id: str | None) -> str:
    """Why no state of a thread's graph is found under an id, in one sentence that says what to do instead."""
    was_there = find_subgraph(db, turn.thread_id, checkpoint_id) if checkpoint_id else None
    if was_there:
        names = " › ".join(part.partition(":")[0] for part in was_there.split("|") if not part.isdigit())
        return (
            f"That state is inside the subgraph {names!r}, which lives within one step of the run; "
            "choose a state of the whole graph, such as the one before that step."
        )
    if was_there is not None or (checkpoint_id and checkpoint_id == turn.source_checkpoint_id):
        return "That state was cleared away some time after the answer; choose its last state or a snapshot."
    return "There is no such checkpoint in this thread; choose one from its history."


def read_tools(viewer: Viewer, db: Db, thread_ids: Collection[ThreadId]) -> dict[ThreadId, list[Event]]:
    """The tool events of these threads, in order, and an event without its text for each stretch of what was said
    beside the answer (``aside``, ``thought``), and where an ``answer`` was set right at the end.
    """
    statement, given = (_TOOLS, {}) if viewer.reads_all else (_OWN_TOOLS, {"who": viewer.user_id})
    found: dict[ThreadId, list[Event]] = {}
    for row in db.connection().execute(statement, {**given, "threads": list(thread_ids)}):
        event = Event(row.seq, row.at_ms, row.kind, row.node, row.payload if row.kind == "tool" else "")
        found.setdefault(ThreadId(row.thread_id), []).append(event)
    return found


def read_asides(viewer: Viewer, db: Db, thread_id: ThreadId) -> dict[str, str]:
    """What was said beside the answer of a thread, by voice; NotFoundError when the viewer may not see it.

    Where the answer was set right at the end, what had been streamed in its place is a voice too.
    """
    get_turn_of_thread(viewer, db, thread_id)
    said: dict[str, list[str]] = {}
    streamed: dict[str, list[str]] = {}
    is_set_right = False
    for event in expand(db.connection().execute(_ASIDES, {"thread": thread_id})):
        voice = event.node or ""
        if event.kind == "thought":
            said.setdefault(f"{voice}{VOICE}thinking", []).append(event.payload)
        elif event.kind == "aside":
            said.setdefault(voice, []).append(event.payload)
        elif event.kind == "token":
            streamed.setdefault(f"{voice}{VOICE}streamed", []).append(event.payload)
        else:
            is_set_right = True
    if is_set_right:
        said |= streamed
    return {voice: "".join(texts) for voice, texts in said.items()}


_COLUMNS = (_event.c.thread_id, _event.c.seq, _event.c.at_ms, _event.c.kind, _event.c.node)
_TOOLS = (
    select(*_COLUMNS, case((_event.c.kind == "tool", _event.c.payload), else_=None).label("payload"))
    .join(_thread, _thread.c.thread_id == _event.c.thread_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .join(_session, _session.c.session_id == _conversation.c.session_id)
    .where(
        _event.c.thread_id.in_(bindparam("threads", expanding=True)),
        _event.c.kind.in_(("tool", "aside", "thought", "answer")),
        _message.c.deleted_at.is_(None),
        _conversation.c.deleted_at.is_(None),
    )
    .order_by(_event.c.thread_id, _event.c.seq)
)
_OWN_TOOLS = _TOOLS.where(_session.c.user_id == bindparam("who"))
_ASIDES = (
    select(*_COLUMNS, _event.c.payload)
    .where(_event.c.thread_id == bindparam("thread"), _event.c.kind.in_(("aside", "thought", "token", "answer")))
    .order_by(_event.c.seq)
)
