"""What the tools of a run may reach: the database as the person the run is for, and where in the tree it works.

Invariant: a tool sees what that person may see as a member, whatever their role, and nothing of it is ever stored
with a run's state: it is built anew for each run and given from outside.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.agents.assistant import AssistantContext
from core.database import Database
from core.ids import ConversationId, MessageId, SessionId, ThreadId

T = TypeVar("T")


@dataclass(frozen=True)
class Workspace:
    """Where a run works, and for whom; ``threads`` are those of the path above, its own included."""

    database: Database = field(repr=False)
    viewer: Viewer
    session_id: SessionId
    conversation_id: ConversationId
    message_id: MessageId
    thread_id: ThreadId
    threads: tuple[ThreadId, ...]

    async def read(self, job: Callable[[Db], T]) -> T:
        """What the job reads, in one consistent view, without holding up the loop."""

        def work() -> T:
            with self.database.read() as db:
                return job(db)

        return await asyncio.to_thread(work)

    async def write(self, job: Callable[[Db], T]) -> T:
        """What the job gives, once that is committed; it may be run again, so it uses nothing but its session."""
        return await asyncio.to_thread(self.database.write, job)


@dataclass(frozen=True, kw_only=True)
class WorkContext(AssistantContext):
    """What a run of an agent with tools is given from outside, never stored."""

    workspace: Workspace
