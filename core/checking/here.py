"""A conversation with an agent in Skein, step by step, and what each step comes to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from langgraph.types import StateSnapshot

from core.access.viewer import Viewer
from core.checking.bare import Answer, Say
from core.checking.outcomes import Normal, Outcome
from core.history.approvals import ApprovalRow, list_of_thread
from core.history.messages import NewMessage
from core.history.turns import Turn, get_turn_of_thread
from core.ids import ThreadId
from core.runs.decisions import Decision, decide
from core.skein import Skein


@dataclass
class RunHere:
    """A conversation of this person's with one agent."""

    skein: Skein
    viewer: Viewer
    agent_id: str
    turns: list[Turn] = field(default_factory=list)
    resumed_with: list[Any] = field(default_factory=list)
    _normal: Normal = field(default_factory=Normal)
    _seen: set[str] = field(default_factory=set)

    def run(self, steps: Sequence[Say | Answer]) -> list[Outcome]:
        """What each step comes to."""
        return [self._step(step) for step in steps]

    def say(self, text: str) -> Turn:
        """Begin the next turn."""
        head = self.turns[-1] if self.turns else None
        new = NewMessage(
            text,
            conversation_id=head.conversation_id if head else None,
            parent_message_id=head.message_id if head else None,
            agent_id=self.agent_id,
        )
        return self._read(self.skein.engine.start(self.viewer, new).thread_id)

    def wait(self, thread_id: ThreadId) -> Turn:
        """The turn once its run has ended, or waits for a person."""
        for _ in self.skein.engine.attach(self.viewer, thread_id):
            pass
        return self._read(thread_id)

    def fails_alone(self, text: str) -> bool:
        """Whether this message fails in a conversation of its own, too."""
        other = RunHere(self.skein, self.viewer, self.agent_id)
        return other.wait(other.say(text).thread_id).status == "failed"

    def find_asked(self) -> ApprovalRow:
        """The oldest open question of the newest turn."""
        with self.skein.database.read() as db:
            rows = list_of_thread(self.viewer, db, self.turns[-1].thread_id)
        return next(row for row in rows if row.is_waiting)

    def decide(self, row: ApprovalRow, value: Any) -> None:
        """Answer a question with this; approve whatever else is asked."""
        decisions = [Decision("answer", answer=value)]
        if row.kind != "question":
            decisions = [Decision("approve") for _ in row.actions] or [Decision("approve")]
        settled = decide(
            self.skein.engine, self.viewer, row.approval_id, decisions, arguments_hash=row.arguments_hash
        )
        self.resumed_with.append(settled.response)

    def _step(self, step: Say | Answer) -> Outcome:
        if isinstance(step, Say):
            self.turns.append(self.wait(self.say(step.text).thread_id))
        else:
            self.decide(self.find_asked(), step.value)
            self.turns[-1] = self.wait(self.turns[-1].thread_id)
        turn = self.turns[-1]
        states = self.skein.run_on_loop(self._states(turn))
        return self._normal.outcome(states, turn.error_type or "")

    async def _states(self, turn: Turn) -> list[StateSnapshot]:
        graph = self.skein.agents.compiled(self.agent_id, self.skein.saver)
        config: Any = {"configurable": {"thread_id": turn.thread_id}}
        states = [one async for one in graph.aget_state_history(config)][::-1]
        fresh = [one for one in states if _id_of(one) not in self._seen]
        self._seen.update(map(_id_of, fresh))
        newest = await graph.aget_state(config)
        return [*fresh[:-1], newest] if fresh and _id_of(fresh[-1]) == _id_of(newest) else fresh

    def _read(self, thread_id: ThreadId) -> Turn:
        with self.skein.database.read() as db:
            return get_turn_of_thread(self.viewer, db, thread_id)


def _id_of(state: StateSnapshot) -> str:
    return str(state.config["configurable"]["checkpoint_id"])
