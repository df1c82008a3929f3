"""Carrying out one thread: give it the state it starts from, then run its graph once, listening.

Invariant: where a thread starts, and that a decision is taken up, is written down before its first step.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphRecursionError, NodeTimeoutError
from langgraph.pregel import Pregel
from langgraph.runtime import RunControl
from langgraph.types import Command, Interrupt, StateSnapshot, StreamMode

from core.access.viewer import Viewer
from core.agents.answers import Question, find_answer
from core.agents.inputs import to_input
from core.agents.limits import own_limits
from core.agents.models import explain_model_error
from core.agents.registry import Agents
from core.agents.workspace import Workspace
from core.calls.context import THREAD_KEY
from core.checkpoints.edit import check_values, edit_state
from core.checkpoints.order import keep_thread_in_order
from core.database import Database
from core.errors import RunError, SkeinError
from core.history.approval_steps import list_decided
from core.history.artifacts import Ref, find_named, settle_versions
from core.history.interrupts import SAID, Asked, exactly, with_schemas
from core.history.rules import Rule, find_rules
from core.history.turns import inputs_of, list_path_threads
from core.ids import ThreadId
from core.outside import as_text, read_failure
from core.runs.events import plain, plain_state
from core.runs.gate import Account, Gate, account_of
from core.runs.prepare import Preparer, Start, at, message_ids
from core.runs.recorder import Recorder
from core.runs.store import Spec

STREAM_MODES: tuple[StreamMode, ...] = ("tasks", "updates", "custom", "checkpoints")
MOST_STATES = 50
# In the metadata of a checkpoint: the approval with which a person edited the state at a pause.
EDITED_FOR = "edited_for"
Graph = Pregel[Any, Any, Any, Any]


@dataclass(frozen=True)
class StateStep:
    """The state at one checkpoint, as plain data: its values, what each node wrote next, and what is to come."""

    checkpoint_id: str
    step: int | None
    source: str
    created_at: str | None
    next: tuple[str, ...]
    values: Any
    updates: dict[str, Any]


@dataclass(frozen=True)
class Executor:
    """What every execution needs, opened once."""

    database: Database
    saver: BaseCheckpointSaver[Any]
    agents: Agents

    async def run(
        self,
        spec: Spec,
        recorder: Recorder,
        gate: Gate,
        control: RunControl,
        *,
        parent_is_done: bool,
        began: Callable[[Start], Awaitable[None]],
    ) -> list[Asked]:
        """Run the thread until it is over or waits for a person; gives what it then asks.

        ``began`` is awaited once its source is known, before its first step.
        """
        async with self.agents.running(spec.agent_id, self.saver, spec.config, _ids_of(spec)) as graph:
            start = await self._prepare(spec, graph, parent_is_done=parent_is_done)
            await began(start)
            recorder.carry(start.said, known=start.known)
            if start.edited_at is not None:
                recorder.edited(start.edited_at)
            async for part in self._stream(spec, graph, start, [gate, recorder], control):
                recorder.take(part)
            if recorder.interrupts or recorder.paused:
                denied = {one.call.tool for one in gate.denied}
                return await self._read_asked(spec, graph, recorder.runs_again, denied)
            await self._conclude(spec, graph, recorder)
            return []

    async def _prepare(self, spec: Spec, graph: Graph, *, parent_is_done: bool) -> Start:
        if spec.resume is None:
            preparer = Preparer(self.database, self.saver)
            return await preparer.prepare(spec, graph, parent_is_done=parent_is_done)
        await keep_thread_in_order(self.saver, spec.thread_id)
        state, resume = await graph.aget_state(at(spec.thread_id)), spec.resume
        known = message_ids(state)
        if resume.edits and (state.metadata or {}).get(EDITED_FOR) == resume.approval_id:
            # Another process had edited it, and was ended before it could go on.
            return _edited_at(state.config["configurable"]["checkpoint_id"], known)
        if resume.interrupt_id not in _open_interrupts(state):
            raise RunError(
                "What this decision was about is not asked any more: the agent has changed since; "
                "try again, and it starts from its last state."
            )
        if resume.edits:
            noted = {EDITED_FOR: resume.approval_id}
            edited = await edit_state(graph, self.saver, thread_id=spec.thread_id, values=resume.edits, noted=noted)
            return _edited_at(edited, message_ids(await graph.aget_state(at(spec.thread_id))))
        answer: Command[Any] | None = (
            Command(resume={resume.interrupt_id: resume.response}) if resume.is_answer else None
        )
        return Start(None, None, None, resume=answer, known=known)

    def _stream(
        self, spec: Spec, graph: Graph, start: Start, listeners: list[Any], control: RunControl
    ) -> AsyncIterator[Any]:
        ids = _ids_of(spec)
        configurable = self.agents.configurable_for(spec.agent_id, spec.config, ids)
        limit = self.agents.limits(spec.agent_id, spec.config).recursion_limit
        config: Any = {
            "configurable": configurable | at(spec.thread_id, start.goes_on_at)["configurable"],
            "metadata": {THREAD_KEY: spec.thread_id},
            "callbacks": listeners,
        }
        if limit != own_limits(graph).recursion_limit:
            config["recursion_limit"] = limit
        given: Any = start.resume
        if start.messages is not None:
            key = self.agents.get(spec.agent_id).input_key
            given = to_input(graph, start.messages, key=key, more=inputs_of(spec.config))
        return graph.astream(
            given,
            config,
            context=self.agents.context_for(spec.agent_id, graph, spec.config, ids, **self._given(spec)),
            stream_mode=STREAM_MODES,
            subgraphs=True,
            durability="async",
            control=control,
            version="v2",
        )

    def _given(self, spec: Spec) -> dict[str, Any]:
        """What a run's graph is given of Skein itself, when its context asks for it."""
        if not self.agents.may_write_artifacts(spec.agent_id):
            return {}
        with self.database.read() as db:
            threads = tuple(list_path_threads(Viewer(spec.user_id, ""), db, spec.message_id))
        viewer = Viewer(spec.user_id, "", "member")
        return {
            "workspace": Workspace(
                database=self.database,
                viewer=viewer,
                session_id=spec.session_id,
                conversation_id=spec.conversation_id,
                message_id=spec.message_id,
                thread_id=spec.thread_id,
                threads=threads,
            )
        }

    async def _conclude(self, spec: Spec, graph: Graph, recorder: Recorder) -> None:
        """The answer is what the graph came to, whatever was said on the way."""
        values = recorder.values if recorder.knows_values else (await graph.aget_state(at(spec.thread_id))).values
        asked = Question(spec.content, spec.message_id, recorder.is_of_answer, recorder.written)
        recorder.conclude(find_answer(graph, values, key=self.agents.get(spec.agent_id).output_key, asked=asked))

    async def settle_artifacts(self, thread_id: str) -> None:
        """Keep of the versions that a run wrote those that its state names, and drop the others.

        What a step has written counts, though a step beside it failed: a retry goes on with it.
        """
        named = await read_named(self.saver, thread_id)
        await asyncio.wrap_future(self.database.submit(lambda db: settle_versions(db, ThreadId(thread_id), named)))

    def gate(self, spec: Spec) -> Gate:
        """The gate for a run's tool calls, which knows what was decided in its thread before."""
        return Gate(lambda: self._read_rules(spec), self._read_account(spec) if spec.resume else None)

    def _read_rules(self, spec: Spec) -> list[Rule]:
        with self.database.read() as db:
            return find_rules(db, user_id=spec.user_id, session_id=spec.session_id, agent_id=spec.agent_id)

    def _read_account(self, spec: Spec) -> Account:
        with self.database.read() as db:
            return account_of(list_decided(db, spec.thread_id))

    async def _read_asked(
        self, spec: Spec, graph: Graph, runs_again: Mapping[str, Sequence[str]], denied: set[str]
    ) -> list[Asked]:
        """The open interrupts of a thread, or the pause that it stands at.

        ``runs_again`` are the tools that run a second time when it goes on, by the id of the interrupt; those that
        rules have ``denied`` did not run at all.
        """
        schemas = self.agents.tools(spec.agent_id)
        state = await graph.aget_state(at(spec.thread_id))
        asked = []
        for interrupt_id, (node, interrupt) in _open_interrupts(state).items():
            is_pause = interrupt is None or not _can_be_answered(interrupt)
            value: Any = {"next": list(state.next)}
            schema: Any = None
            again: Sequence[str] = ()
            if interrupt is not None:
                again = [tool for tool in runs_again.get(interrupt.id, ()) if tool not in denied]
                said = exactly(interrupt.value)
                value = {"next": [node], SAID: said} if is_pause else with_schemas(said, schemas)
                schema = interrupt.response_schema if isinstance(interrupt.response_schema, dict) else None
            asked.append(Asked(interrupt_id, node, value, schema, is_pause, tuple(dict.fromkeys(again))))
        return asked

    def find_missing(self, agent_id: str, node: str) -> str | None:
        """Why an agent cannot go on at a node, in one sentence; None when it can."""
        try:
            nodes = self.agents.compiled(agent_id, self.saver).nodes
        except SkeinError as error:
            return str(error)
        gone = [name for name in node.split(", ") if name and name not in nodes]
        return f"The agent {agent_id!r} has no step {gone[0]!r} any more, so this cannot go on." if gone else None

    async def find_asked(self, thread_id: str, agent_id: str) -> set[str]:
        """The ids of what a thread asks of people, as its agent's graph is now."""
        graph = self.agents.compiled(agent_id, self.saver)
        return set(_open_interrupts(await graph.aget_state(at(thread_id))))

    def check_edits(self, agent_id: str, edits: Mapping[str, Any]) -> None:
        """BadInputError says what of an edited state the agent's graph does not take."""
        check_values(self.agents.compiled(agent_id, self.saver), edits)

    async def read_state(self, thread_id: str, agent_id: str, checkpoint_id: str | None) -> StateStep | None:
        """The state of a thread at one checkpoint (None: its newest); None when that is not there."""
        graph = self.agents.compiled(agent_id, self.saver)
        state = await graph.aget_state(at(thread_id, checkpoint_id))
        return _to_step(state) if state.created_at is not None else None

    async def read_states(self, thread_id: str, agent_id: str, source: str | None) -> list[StateStep]:
        """The newest states of a thread, oldest first: that which it began with, at ``source``, and its own.

        Where states rest on those before them (a DeltaChannel) the thread has copies; only its own are given then.
        """
        graph = self.agents.compiled(agent_id, self.saver)
        steps: list[StateStep] = []
        own: list[StateStep] | None = None
        async for snapshot in graph.aget_state_history(at(thread_id), limit=MOST_STATES):
            if own is not None:
                return own[::-1]
            if snapshot.config["configurable"]["checkpoint_id"] == source:
                own = list(steps)
            steps.append(_to_step(snapshot))
        return steps[::-1]

    def explain(self, error: BaseException) -> str:
        """One sentence for people, without any of our secrets."""
        if isinstance(error, SkeinError):
            text = str(error)
        elif isinstance(error, GraphRecursionError):
            text = "The agent took more steps than its limit without coming to an end; it was stopped."
        elif isinstance(error, NodeTimeoutError):
            text = "A step of the agent took longer than its limit and was ended; try again, or raise the limit."
        else:
            text = explain_model_error(error) or f"The agent failed with {type(error).__name__}: {as_text(error)}"
        return read_failure(text)


def _ids_of(spec: Spec) -> dict[str, str]:
    """Whose run it is, and where it belongs, for ``configurable`` and a context that names them."""
    return {
        "thread_id": spec.thread_id,
        "user_id": spec.user_id,
        "session_id": spec.session_id,
        "conversation_id": spec.conversation_id,
        "message_id": spec.message_id,
    }


def _edited_at(checkpoint_id: str, known: frozenset[str]) -> Start:
    return Start(None, None, None, goes_on_at=checkpoint_id, edited_at=checkpoint_id, known=known)


def _open_interrupts(state: StateSnapshot) -> dict[str, tuple[str, Interrupt[Any] | None]]:
    """What a thread waits with, by its id: the node, and the interrupt; a pause that asks nothing has none.

    A `NodeInterrupt` has no id of its own, so it is named by its node and its place there.
    """
    found: dict[str, tuple[str, Interrupt[Any] | None]] = {}
    places: Counter[str] = Counter()
    for task in state.tasks:
        for one in task.interrupts:
            key = one.id if _can_be_answered(one) else f"{task.name}.{places[task.name]}"
            places[task.name] += 1
            found[key] = (task.name, one)
    if not found and state.next:
        found[state.config["configurable"]["checkpoint_id"]] = (", ".join(state.next), None)
    return found


def _can_be_answered(interrupt: Interrupt[Any]) -> bool:
    """Whether LangGraph takes an answer by this id: those of `interrupt` are 32 hexadecimal digits."""
    return re.fullmatch("[0-9a-f]{32}", interrupt.id) is not None


def _to_step(snapshot: StateSnapshot) -> StateStep:
    metadata = snapshot.metadata or {}
    return StateStep(
        snapshot.config["configurable"]["checkpoint_id"],
        metadata.get("step"),
        metadata.get("source", ""),
        snapshot.created_at,
        snapshot.next,
        plain_state(snapshot.values),
        {task.name: plain(task.result) for task in snapshot.tasks if task.result is not None},
    )


async def read_named(saver: BaseCheckpointSaver[Any], thread_id: str) -> set[Ref]:
    """The versions of artifacts that a thread's newest states, and what was written after them, name."""
    named, seen = set[Ref](), set[str]()
    async for saved in saver.alist({"configurable": {"thread_id": thread_id}}):
        place = saved.config["configurable"].get("checkpoint_ns", "")
        if place in seen:
            continue
        seen.add(place)
        named |= find_named(saved.checkpoint["channel_values"])
        for _, channel, value in saved.pending_writes or ():
            named |= find_named({channel: value})
    return named
