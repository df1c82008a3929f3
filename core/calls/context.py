"""Whose call it is: from a ``thread_id`` to all the ids that a call's row carries.

An id never changes what it means, so what was found once is kept for a while. Invariant: a thread that exists is
always found, a thread that does not is never made up.
"""

import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import structlog
from cachetools import TTLCache
from sqlalchemy import bindparam, select

from core.database import Database, table_of
from core.tables import Conversation, Message, Thread

THREAD_KEY = "skein_thread_id"
"""Where a run's ``thread_id`` travels in callback metadata; LangGraph's own key may be overwritten by a graph."""
KEY_SOURCE_KEY = "skein_key_source"
COMPACTED_KEY = "skein_context_compacted"

run_thread: ContextVar[str | None] = ContextVar("skein_run_thread", default=None)
"""The thread of the run around the caller: for calls whose own configuration has left the metadata behind."""

_KEPT, _KEPT_SECONDS = 10_000, 3_600.0
_MOST_AT_ONCE = 500
log = structlog.get_logger("skein.calls")


@dataclass(frozen=True)
class CallContext:
    """The ids that a call is attributed with; ``agent_id`` is the agent that answers the thread."""

    user_id: str | None = None
    session_id: str | None = None
    conversation_id: str | None = None
    message_id: str | None = None
    thread_id: str | None = None
    agent_id: str | None = None


_given: ContextVar[CallContext | None] = ContextVar("skein_call_context", default=None)


@contextmanager
def attribute_calls(context: CallContext) -> Iterator[None]:
    """Attribute every call made inside to this context: for calls outside runs; it goes before all else."""
    token = _given.set(context)
    try:
        yield
    finally:
        _given.reset(token)


def given_context() -> CallContext | None:
    """The context of ``attribute_calls`` around the caller, if there is one."""
    return _given.get()


_thread, _message, _conversation = table_of(Thread), table_of(Message), table_of(Conversation)
_FIND = (
    select(
        _thread.c.user_id,
        _conversation.c.session_id,
        _message.c.conversation_id,
        _message.c.message_id,
        _thread.c.thread_id,
        _thread.c.agent_id,
    )
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .where(_thread.c.thread_id.in_(bindparam("threads", expanding=True)))
)


class ContextStore:
    """Finds the contexts of threads; asked from any thread, bounded, and never wrong for long."""

    def __init__(self, database: Database, *, kept: int = _KEPT, seconds: float = _KEPT_SECONDS) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: TTLCache[str, CallContext] = TTLCache(kept, seconds)

    def put(self, context: CallContext) -> None:
        """Remember a thread that was just begun, so that nobody has to look for it."""
        if context.thread_id is not None:
            with self._lock:
                self._known[context.thread_id] = context

    def find(self, thread_ids: Collection[str]) -> dict[str, CallContext]:
        """The contexts of these threads; one that no thread has is left out, with a warning."""
        with self._lock:
            found = {one: context for one in thread_ids if (context := self._known.get(one)) is not None}
        missing = [one for one in set(thread_ids) if one not in found]
        for place in range(0, len(missing), _MOST_AT_ONCE):
            found |= self._read(missing[place : place + _MOST_AT_ONCE])
        for one in missing:
            if one not in found:
                log.warning("call_of_unknown_thread", thread_id=one[:80])
        return found

    def _read(self, thread_ids: list[str]) -> dict[str, CallContext]:
        with self._database.read() as db:
            rows = db.connection().execute(_FIND, {"threads": thread_ids}).all()
        contexts = [CallContext(*row) for row in rows]
        with self._lock:
            self._known.update((str(context.thread_id), context) for context in contexts)
        return {str(context.thread_id): context for context in contexts}
