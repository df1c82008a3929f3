"""One run of this process while it lives, and how others see it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from langgraph.runtime import RunControl

from core.access.viewer import Viewer
from core.history.interrupts import Asked
from core.history.messages import Added, NewMessage
from core.ids import ThreadId
from core.runs.gate import Gate
from core.runs.log import RunLog
from core.runs.recorder import Recorder
from core.runs.store import Outcome, Spec
from core.tables import Thread, utc_now


@dataclass
class Run:
    """One run of this process, from queued to written down."""

    spec: Spec
    log: RunLog
    recorder: Recorder
    gate: Gate
    after: ThreadId | None = None
    parent_is_done: bool = False
    held_until: float = 0.0
    flushed: int = 0
    control: RunControl = field(default_factory=RunControl)
    work: "asyncio.Task[None] | None" = None
    beginning: "asyncio.Task[None] | None" = None
    began_at: float | None = None
    asked: list[Asked] = field(default_factory=list)
    has_pending: bool = False
    ending: bool = False
    lost: bool = False
    stopped_for: str | None = None


@dataclass(frozen=True)
class ActiveRun:
    """A run that is queued (with its place, 1 is next) or running (with what it is doing).

    Of one in the process of a project it is not known what it is doing, and a place of 0 says that it is queued.
    """

    thread_id: ThreadId
    user_id: str
    conversation_id: str
    message_id: str
    agent_id: str
    place: int | None
    node: str | None
    seconds: float
    tokens: int
    tokens_per_second: float
    is_elsewhere: bool = False


def describe_elsewhere(thread: Thread, conversation_id: str) -> ActiveRun:
    began = thread.started_at
    return ActiveRun(
        ThreadId(thread.thread_id),
        thread.user_id,
        conversation_id,
        thread.message_id,
        thread.agent_id,
        0 if thread.status == "queued" else None,
        None,
        (utc_now() - began).total_seconds() if began is not None else 0.0,
        0,
        0.0,
        is_elsewhere=True,
    )


def to_spec(viewer: Viewer, new: NewMessage, added: Added) -> Spec:
    return Spec(
        added.thread_id,
        1,
        viewer.user_id,
        added.session_id,
        added.conversation_id,
        added.message_id,
        new.parent_message_id,
        new.text,
        added.kind,
        new.parent_thread_id or (added.parent.thread_id if added.parent else None),
        new.source_checkpoint_id,
        new.agent_id,
        added.config,
        awaited(added),
    )


def awaited(added: Added) -> ThreadId | None:
    """The thread whose end a message waits for: that of the answer above it, while that is being written."""
    return added.parent.thread_id if added.parent is not None and added.parent.is_live else None


def end_payload(outcome: Outcome, recorder: Recorder) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "finish_reason": outcome.finish_reason,
        "model": recorder.model,
        "usage": dict(recorder.usage) if recorder.has_usage else None,
    }
