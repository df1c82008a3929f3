"""Telling one session of the demo world: each act goes through the engine, as if a person did it on a page.

Invariant: time moves on only while nothing runs, so that every row and checkpoint of a run has the run's own time.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.agents.limits import LIMITS
from core.history.annotations import add_tag, set_note, set_review, set_score, set_star
from core.history.approvals import ApprovalRow, list_of_thread
from core.history.messages import Added, NewMessage
from core.history.turns import Turn, get_turn
from core.ids import SessionId
from core.runs import branching
from core.runs.branching import Variant
from core.runs.decisions import Decision, decide
from core.skein import Skein

PassTime = Callable[[], None]


@dataclass
class Teller:
    """One person's session: what was said last, and where; ``think`` lets time pass between two acts."""

    skein: Skein
    person: Viewer
    think: PassTime
    agent: str = "assistant"
    last: Turn | None = None
    session_id: SessionId | None = None
    said: list[Turn] = field(default_factory=list)

    def say(self, text: str, *, agent: str | None = None, config: Mapping[str, Any] | None = None) -> Turn:
        """Say something after what was said last, and wait for the answer."""
        return self._wait(self._start(text, agent, config))

    def say_elsewhere(self, text: str, *, agent: str | None = None) -> Turn:
        """Begin another conversation in the same session, which shares its artifacts."""
        self.last = None
        return self.say(text, agent=agent)

    def fail(self, text: str) -> Turn:
        """Ask for more than the run's limits allow, so that it fails."""
        return self.say(text, agent="planner", config={LIMITS: {"recursion_limit": 2}})

    def stop_in(self, text: str) -> Turn:
        """Stop the answer once something of it was said."""
        self.think()
        added = self._start(text, None, None)
        for events in self.skein.engine.attach(self.person, added.thread_id):
            if any(event.kind == "token" for event in events):
                break
        self.skein.engine.stop(self.person, added.thread_id)
        return self._wait(added)

    def edit(self, turn: Turn, text: str) -> Turn:
        """Ask an earlier message in other words: the tree gets another branch."""
        self.think()
        return self._wait(branching.edit(self.skein.engine, self.person, turn.message_id, text))

    def ask_again(self, turn: Turn) -> Turn:
        self.think()
        return self._wait(branching.regenerate(self.skein.engine, self.person, turn.message_id))

    def fork(self, turn: Turn, text: str) -> Turn:
        """Say something else from the state that a turn ended with."""
        self.think()
        return self._wait(branching.fork(self.skein.engine, self.person, turn.thread_id, text=text))

    def ask_several(self, text: str, agents: tuple[str, ...]) -> list[Turn]:
        """Ask several agents side by side."""
        self.think()
        new = self._new(text, None, None)
        variants = {name: Variant(agent_id=name) for name in agents}
        added = branching.fan_out(self.skein.engine, self.person, new, variants)
        return [self._wait(one) for one in added.values()]

    def decide(self, turn: Turn, kind: str, *, by: Viewer | None = None, **given: Any) -> None:
        """Decide what the turn waits for, and wait for how it goes on."""
        self.think()
        row = self._asked(turn)
        decision = Decision(kind, **given)  # type: ignore[arg-type]
        decide(self.skein.engine, by or self.person, row.approval_id, [decision], arguments_hash=row.arguments_hash)
        self._follow(turn)

    def name_state(self, turn: Turn, name: str) -> None:
        branching.snapshot(self.skein.engine, self.person, turn.thread_id, name)

    def star(self, turn: Turn) -> None:
        self._write(lambda db: set_star(self.person, db, turn.message_id, starred=True))

    def note(self, turn: Turn, text: str) -> None:
        self._write(lambda db: set_note(self.person, db, turn.message_id, text))

    def tag(self, *tags: str, by: Viewer | None = None) -> None:
        """Put tags on the session."""
        for tag in tags:
            self._write(partial(_tag, by or self.person, self._session(), tag))

    def score(self, turn: Turn, score: int, comment: str = "", *, by: Viewer | None = None) -> None:
        self._write(lambda db: set_score(by or self.person, db, turn.message_id, score, comment))

    def review(self, verdict: str, comment: str = "", *, by: Viewer) -> None:
        self._write(lambda db: set_review(by, db, self._session(), verdict, comment))

    def _asked(self, turn: Turn) -> ApprovalRow:
        with self.skein.database.read() as db:
            rows = list_of_thread(self.person, db, turn.thread_id)
        return next(row for row in rows if row.status == "waiting")

    def _session(self) -> SessionId:
        if self.session_id is None:
            raise ValueError("nothing was said yet")
        return self.session_id

    def _write(self, job: Callable[[Any], object]) -> None:
        self.skein.database.write(job)

    def _start(self, text: str, agent: str | None, config: Mapping[str, Any] | None) -> Added:
        self.think()
        return self.skein.engine.start(self.person, self._new(text, agent, config))

    def _new(self, text: str, agent: str | None, config: Mapping[str, Any] | None) -> NewMessage:
        above = self.last
        return NewMessage(
            text,
            conversation_id=above.conversation_id if above else None,
            parent_message_id=above.message_id if above else None,
            session_id=self.session_id if above is None else None,
            agent_id=agent or self.agent,
            config=dict(config or {}),
        )

    def _wait(self, added: Added) -> Turn:
        for _ in self.skein.engine.attach(self.person, added.thread_id):
            pass
        self.session_id = added.session_id
        with self.skein.database.read() as db:
            self.last = get_turn(self.person, db, added.message_id)
        self.said.append(self.last)
        return self.last

    def _follow(self, turn: Turn) -> None:
        for _ in self.skein.engine.attach(self.person, turn.thread_id):
            pass


def _tag(viewer: Viewer, session_id: SessionId, tag: str, db: Db) -> None:
    add_tag(viewer, db, session_id, tag)
