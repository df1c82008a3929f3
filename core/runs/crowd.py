"""A crowd of synthetic people who talk at once through the engine, and a count of what went wrong.

Each keeps a conversation of its own, signed with a word that nobody else has, and asks for numbered words: so a
token that is lost, doubled or another person's cannot go unseen. It asks of the engine only what a page does.
"""

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from core.access.viewer import Viewer
from core.errors import NotFoundError, SkeinError
from core.history.messages import NewMessage
from core.ids import MessageId, ThreadId
from core.runs.engine import Engine
from core.settings import DEMO_MODEL


@dataclass
class Report:
    """What a crowd saw; times in seconds."""

    turns: int = 0
    tokens: int = 0
    lost: int = 0
    doubled: int = 0
    disordered: int = 0
    crossings: int = 0
    failures: list[str] = field(default_factory=list)
    first_token: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    seconds: float = 0.0
    threads: dict[str, ThreadId] = field(default_factory=dict)


def run_crowd(
    engine: Engine,
    people: list[Viewer],
    *,
    turns: int = 3,
    tokens: int = 60,
    on_turn: Callable[[], None] = lambda: None,
) -> Report:
    """Let everybody talk at once; the demo model answers."""
    report, lock = Report(), threading.Lock()
    began = time.monotonic()
    talks = [_Talk(engine, person, turns, tokens, report, lock, on_turn) for person in people]
    workers = [threading.Thread(target=talk.run, daemon=True) for talk in talks]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    report.seconds = time.monotonic() - began
    report.crossings += _try_to_look_across(engine, people, report)
    return report


@dataclass
class _Talk:
    engine: Engine
    person: Viewer
    turns: int
    tokens: int
    report: Report
    lock: threading.Lock
    on_turn: Callable[[], None]
    sign: str = field(default_factory=lambda: secrets.token_hex(6))

    def run(self) -> None:
        parent: MessageId | None = None
        conversation = None
        for number in range(self.turns):
            message = NewMessage(
                f"{self.sign} turn {number}: {self.tokens} tokens",
                conversation_id=conversation,
                parent_message_id=parent,
                config={"model": DEMO_MODEL},
            )
            try:
                asked = time.monotonic()
                added = self.engine.start(self.person, message)
                self._listen(added.thread_id, asked)
            except SkeinError as error:
                with self.lock:
                    self.report.failures.append(str(error))
                return
            parent, conversation = added.message_id, added.conversation_id
            self.on_turn()

    def _listen(self, thread_id: ThreadId, asked: float) -> None:
        words: list[str] = []
        first: float | None = None
        for events in self.engine.attach(self.person, thread_id):
            tokens = [event.payload for event in events if event.kind == "token"]
            if tokens and first is None:
                first = time.monotonic() - asked
            words.extend("".join(tokens).split())
        states = self.engine.read_states(self.person, thread_id)
        with self.lock:
            self._judge(words, str(states[-1].values) if states else "")
            self.report.threads[self.person.user_id] = thread_id
            self.report.whole.append(time.monotonic() - asked)
            if first is not None:
                self.report.first_token.append(first)

    def _judge(self, words: list[str], state: str) -> None:
        expected = [f"w{number}" for number in range(1, self.tokens + 1)]
        self.report.turns += 1
        self.report.tokens += len(words)
        self.report.lost += len(set(expected) - set(words))
        self.report.doubled += len(words) - len(set(words))
        others = [word for word in words if word not in expected]
        self.report.crossings += bool(others) or self.sign not in state
        self.report.disordered += words != sorted(words, key=lambda word: int(word[1:]) if word in expected else 0)


def _try_to_look_across(engine: Engine, people: list[Viewer], report: Report) -> int:
    """How many could attach to their neighbour's thread: none should."""
    seen = 0
    for person, neighbour in zip(people, people[1:] + people[:1], strict=True):
        thread_id = report.threads.get(neighbour.user_id)
        if thread_id is None or person == neighbour:
            continue
        try:
            engine.attach(person, thread_id)
        except NotFoundError:
            continue
        seen += 1
    return seen
