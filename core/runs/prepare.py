"""What a thread starts from: the state of another thread, as it was at one checkpoint, and what is new to it.

Invariant: the source thread is only read; all that people saw stands in the state before the first step.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.constants import END, START
from langgraph.pregel import Pregel
from langgraph.types import Command, StateSnapshot
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.agents.file_blocks import with_files
from core.agents.inputs import MESSAGES, messages_key
from core.checkpoints.edit import edit_state
from core.checkpoints.fork import forget_answers, fork
from core.database import Database
from core.history.files import attached_refs
from core.history.turns import EDITS, Turn, get_path
from core.ids import MessageId
from core.runs.lineage import (
    as_messages,
    messages_of,
    missing_messages,
    nested_messages,
    read_kept,
    read_results,
    read_seen,
)
from core.runs.store import Spec
from core.runs.tool_events import messages_in

Graph = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True)
class Start:
    """Where a thread begins: the source of its state, and what its graph is given (None: go on from there).

    ``said`` is the part of the answer that stands in that state already. Where the run goes on in its midst,
    ``known`` are the ids of the messages there, and ``goes_on_at`` the checkpoint whose step begins anew (None: it
    simply goes on); ``edited_at`` is the one that holds what was edited.
    """

    parent_thread_id: str | None
    checkpoint_id: str | None
    messages: list[AnyMessage] | None
    said: tuple[str, ...] = ()
    goes_on_at: str | None = None
    edited_at: str | None = None
    resume: Command[Any] | None = None
    known: frozenset[str] = frozenset()


def message_ids(state: StateSnapshot) -> frozenset[str]:
    """The ids of all messages in a state, and in those of its subgraphs where they were asked for."""
    ids = {message.id for message in messages_in(state.values) if message.id}
    for task in state.tasks:
        if isinstance(task.state, StateSnapshot):
            ids |= message_ids(task.state)
    return frozenset(ids)


def at(thread_id: str, checkpoint_id: str | None = None) -> Any:
    """LangGraph's config of a thread; with a checkpoint it goes on from there anew, and does not resume."""
    where = {"checkpoint_ns": "", "checkpoint_id": checkpoint_id} if checkpoint_id else {}
    return {"configurable": {"thread_id": thread_id, **where}}


@dataclass(frozen=True)
class Preparer:
    """Gives threads the state that they start from."""

    database: Database
    saver: BaseCheckpointSaver[Any]

    async def prepare(self, spec: Spec, graph: Graph, *, parent_is_done: bool) -> Start:
        """Fork what the thread starts from, and give each message the files that came with it."""
        start = await self._prepare(spec, graph, parent_is_done=parent_is_done)
        if start.messages and (len(start.messages) > 1 or attached_refs(spec.config)):
            return replace(start, messages=await asyncio.to_thread(self._with_files, spec, start.messages))
        return start

    async def _prepare(self, spec: Spec, graph: Graph, *, parent_is_done: bool) -> Start:
        """The common case is the newest checkpoint of a finished parent."""
        new = HumanMessage(spec.content, id=spec.message_id)
        if spec.epoch > 1:
            # Taken over from a process that may have begun it without writing that down: nobody has seen any of it.
            await self.saver.adelete_thread(spec.thread_id)
        if spec.source_checkpoint_id:
            return await self._fork_at(spec, graph, new)
        if spec.kind == "retry" and (start := await self._resume(spec, graph)) is not None:
            return start
        if spec.parent_message_id is None:
            return Start(None, None, [new])
        # A retry with nothing left to do begins anew: its own thread may hold the whole turn already.
        if spec.kind != "retry" and parent_is_done:
            checkpoint = await self._fork(spec, spec.parent_thread_id, None)
            if checkpoint is not None:
                return Start(spec.parent_thread_id, checkpoint, [new])
        path = await asyncio.to_thread(self._path, spec, spec.parent_message_id)
        return await self._catch_up(spec, graph, path, new)

    async def _resume(self, spec: Spec, graph: Graph) -> Start | None:
        """Go on from the last checkpoint of the thread that is retried, when there is something left to do."""
        state = await graph.aget_state(at(str(spec.parent_thread_id)), subgraphs=True)
        if not state.next:
            return None
        checkpoint = await self._fork(spec, spec.parent_thread_id, None)
        await forget_answers(self.saver, spec.thread_id)
        said = await self._said_by(str(spec.parent_thread_id), state, read_kept)
        return Start(spec.parent_thread_id, checkpoint, None, said, known=message_ids(state))

    async def _fork_at(self, spec: Spec, graph: Graph, new: HumanMessage) -> Start:
        """Start from one checkpoint, perhaps with edits: in the middle of a run its step begins anew."""
        source, checkpoint = str(spec.parent_thread_id), str(spec.source_checkpoint_id)
        state = await graph.aget_state(at(source, checkpoint))
        await fork(
            self.saver,
            source_thread=source,
            source_checkpoint=checkpoint,
            target_thread=spec.thread_id,
            anew=bool(state.next),
        )
        edited_at = None
        if edits := spec.config.get(EDITS):
            # The graph's own saver, which knows its project's types: what is not edited is written anew as well.
            saver = graph.checkpointer if isinstance(graph.checkpointer, BaseCheckpointSaver) else self.saver
            edited_at = await edit_state(graph, saver, thread_id=spec.thread_id, values=edits)
        if state.next:
            begins_at = edited_at or checkpoint
            said = await self._said_by(source, state)
            known = message_ids(state)
            return Start(source, checkpoint, None, said, goes_on_at=begins_at, edited_at=edited_at, known=known)
        return Start(source, checkpoint, [new], edited_at=edited_at)

    async def _said_by(
        self, thread_id: str, state: StateSnapshot, read: Callable[[Db, str, str], str] = read_seen
    ) -> tuple[str, ...]:
        """What people had seen of a thread's answer when a state was written; nothing before its first step."""
        if START in state.next:
            return ()
        checkpoint_id = state.config["configurable"]["checkpoint_id"]
        seen = await asyncio.to_thread(self._seen_by, thread_id, checkpoint_id, read)
        return (seen,) if seen else ()

    def _seen_by(self, thread_id: str, checkpoint_id: str, read: Callable[[Db, str, str], str]) -> str:
        with self.database.read() as db:
            return read(db, thread_id, checkpoint_id)

    async def _catch_up(self, spec: Spec, graph: Graph, path: list[Turn], new: HumanMessage) -> Start:
        """Start from the nearest turn above that left a checkpoint, and add what was said since."""
        for place in range(len(path) - 1, -1, -1):
            base, after = path[place], path[place + 1 :]
            if base.agent_id != spec.agent_id:
                continue
            checkpoint = await self._fork(spec, base.thread_id, None)
            if checkpoint is not None:
                above = path[place - 1].thread_id if place else None
                # A thread that went on from elsewhere keeps where from, but not whom from, when that is purged.
                parent = base.parent_thread_id
                elsewhere = base.source_checkpoint_id is not None and (parent is None or parent != above)
                missing = await self._missing(spec, graph, base, after, elsewhere)
                return Start(base.thread_id, checkpoint, [*missing, new])
        return Start(None, None, [*as_messages(path), new])

    async def _missing(
        self, spec: Spec, graph: Graph, base: Turn, after: list[Turn], base_elsewhere: bool
    ) -> list[AnyMessage]:
        """What was said since; of a turn that did not come to its end, what finished stays in the state."""
        if base.status == "done":
            return as_messages(after)
        left = state = await graph.aget_state(at(spec.thread_id), subgraphs=True)
        if any(task.result is not None for task in left.tasks):
            # LangGraph's own way to say: what finished counts, and what did not is dropped.
            await graph.aupdate_state(at(spec.thread_id), None, as_node=END)
            state = await graph.aget_state(at(spec.thread_id))
        key = messages_key(graph) or MESSAGES
        return missing_messages(
            messages_of(state, key),
            base,
            resumed=base.kind in {"retry", "fork"} and base_elsewhere,
            after=after,
            nested=nested_messages(graph, left, key),
            results=await asyncio.to_thread(self._results, base.thread_id),
            is_taken_up=START not in left.next
            and left.config["configurable"]["checkpoint_id"] != base.source_checkpoint_id,
        )

    def _results(self, thread_id: str) -> dict[str, ToolMessage]:
        with self.database.read() as db:
            return read_results(db, thread_id)

    async def _fork(self, spec: Spec, source: str | None, checkpoint: str | None) -> str | None:
        if source is None:
            return None
        return await fork(
            self.saver, source_thread=source, source_checkpoint=checkpoint, target_thread=spec.thread_id
        )

    def _with_files(self, spec: Spec, messages: list[AnyMessage]) -> list[AnyMessage]:
        above = self._path(spec, spec.parent_message_id) if spec.parent_message_id and len(messages) > 1 else []
        refs = {str(turn.message_id): attached_refs(turn.config) for turn in above}
        refs[spec.message_id] = attached_refs(spec.config)
        with self.database.read() as db:
            return with_files(Viewer(spec.user_id, ""), db, messages, refs)

    def _path(self, spec: Spec, message_id: MessageId) -> list[Turn]:
        with self.database.read() as db:
            return get_path(Viewer(spec.user_id, ""), db, message_id)
