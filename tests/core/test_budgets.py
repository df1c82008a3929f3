"""What a turn may cost the app's database, counted and never timed: one line per case.

A change that needs more edits its line, and says why.
"""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from core.access.viewer import Viewer
from core.database import Database
from core.history.messages import Added, NewMessage
from core.runs import scheduler
from core.runs.decisions import Decision, decide
from core.settings import Settings
from core.skein import Skein
from tests.conftest import make_person
from tests.core.support import follow, graph_settings, wait_until
from tests.core.test_approvals import open_of, sending
from tests.core.test_approvals import waiting as ask_and_wait
from tests.counting import counting
from tests.graphs import showcase


class Budget(NamedTuple):
    """At most so many: ``statements`` that write (the rows of a run's events are one), of so many ``transactions``
    until the reader sees the end, and ``reads`` beside them."""

    statements: int
    transactions: int
    reads: int


BUDGETS = {
    "a first message": Budget(statements=11, transactions=2, reads=0),
    "a message that goes on": Budget(statements=11, transactions=2, reads=0),
    "an answer with one tool": Budget(statements=11, transactions=2, reads=1),  # the rules
    "an approval, until it waits": Budget(statements=18, transactions=2, reads=0),
    "an approval, decided and gone on": Budget(statements=20, transactions=3, reads=7),
    "a reader of a live run": Budget(statements=0, transactions=0, reads=0),
    "to stop a live run": Budget(statements=5, transactions=2, reads=0),
}
AT_ONCE, TRANSACTIONS_EACH, STATEMENTS_EACH = 50, 0.5, 12


@dataclass
class World:
    """A Skein, somebody in it, and a turn of theirs that is over."""

    skein: Skein
    alice: Viewer
    before: Added
    file: Path

    def say(self, text: str, *, under: Added | None = None, agent: str = "assistant") -> Added:
        return self.skein.engine.start(self.alice, message(text, under=under, agent=agent))

    def hear(self, added: Added) -> None:
        follow(self.skein, self.alice, added.thread_id)


def message(text: str, *, under: Added | None = None, agent: str = "assistant") -> NewMessage:
    return NewMessage(
        text,
        conversation_id=under.conversation_id if under else None,
        parent_message_id=under.message_id if under else None,
        agent_id=agent,
    )


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url, lease_seconds=600)


@pytest.fixture
def world(opened: Skein, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    # No clock decides what is written with what: who can wait does so until somebody cannot.
    for name in ("_BEGIN_WITHIN", "_END_WITHIN", "_FLUSH_WITHIN", "_HANDED_WITHIN"):
        monkeypatch.setattr(scheduler, name, 1_000.0)
    opened.engine._flusher.cancel()
    alice = make_person(opened, "alice")
    before = opened.engine.start(alice, message("hello"))
    follow(opened, alice, before.thread_id)
    return World(opened, alice, before, tmp_path / "sent.txt")


@contextmanager
def first_message(world: World) -> Iterator[Callable[[], object]]:
    yield lambda: world.hear(world.say("hello"))


@contextmanager
def message_that_goes_on(world: World) -> Iterator[Callable[[], object]]:
    yield lambda: world.hear(world.say("and then?", under=world.before))


@contextmanager
def answer_with_a_tool(world: World) -> Iterator[Callable[[], object]]:
    yield lambda: world.hear(world.say("2 tokens", agent="showcase"))


@contextmanager
def approval_until_it_waits(world: World) -> Iterator[Callable[[], object]]:
    yield lambda: world.hear(world.say(sending(world.file), agent="per_call"))


@contextmanager
def approval_decided(world: World) -> Iterator[Callable[[], object]]:
    turn, [row] = ask_and_wait(world.skein, world.alice, sending(world.file), "per_call")

    def deed() -> None:
        approve = [Decision("approve")]
        decide(world.skein.engine, world.alice, row.approval_id, approve, arguments_hash=row.arguments_hash)
        follow(world.skein, world.alice, row.thread_id)

    yield deed
    assert open_of(world.skein, world.alice, turn) == []


@contextmanager
def live(world: World, text: str) -> Iterator[Added]:
    """A run that waits for nothing but the end of the test."""
    showcase.ENTERED[text], showcase.GATES[text] = threading.Event(), threading.Event()
    added = world.say(text, agent="held")
    assert showcase.ENTERED[text].wait(10)
    yield added
    showcase.GATES[text].set()
    world.hear(added)


@contextmanager
def reader_of_a_live_run(world: World) -> Iterator[Callable[[], object]]:
    with live(world, "read") as added:
        yield lambda: next(iter(world.skein.engine.attach(world.alice, added.thread_id)))


@contextmanager
def stopping_a_live_run(world: World) -> Iterator[Callable[[], object]]:
    with live(world, "stop") as added:

        def deed() -> None:
            reading = world.skein.engine.attach(world.alice, added.thread_id)
            next(reading)
            world.skein.engine.stop(world.alice, added.thread_id)
            list(reading)

        yield deed


CASES = {
    "a first message": first_message,
    "a message that goes on": message_that_goes_on,
    "an answer with one tool": answer_with_a_tool,
    "an approval, until it waits": approval_until_it_waits,
    "an approval, decided and gone on": approval_decided,
    "a reader of a live run": reader_of_a_live_run,
    "to stop a live run": stopping_a_live_run,
}


@pytest.mark.parametrize("case", BUDGETS)
def test_it_costs_no_more_than(case: str, world: World) -> None:
    with CASES[case](world) as deed, counting(world.skein.database) as spent:
        deed()
    over = {name: (getattr(spent, name), most) for name, most in BUDGETS[case]._asdict().items()}
    assert all(cost <= most for cost, most in over.values()), f"cost, and budget: {json.dumps(over)}"


def test_fifty_at_once_share_their_transactions(world: World) -> None:
    database, people = world.skein.database, [make_person(world.skein, f"p{n}") for n in range(AT_ONCE)]
    showcase.GATES["together"] = threading.Event()
    with counting(database) as spent, ThreadPoolExecutor(AT_ONCE) as pool:
        with held(database):
            begun = [pool.submit(start_and_follow, world.skein, person) for person in people]
            wait_until(lambda: waiting_jobs(database) >= AT_ONCE)
        wait_until(lambda: showcase.RAN["together", "held"] == AT_ONCE, seconds=30)
        with held(database):
            showcase.GATES["together"].set()
            # Each one's beginning and end.
            wait_until(lambda: waiting_jobs(database) >= AT_ONCE, seconds=30)
        wait_until(lambda: world.skein.engine._runs() == [] or release(database), seconds=30)
        for one in begun:
            one.result(30)
    assert spent.transactions <= AT_ONCE * TRANSACTIONS_EACH, spent
    assert spent.statements <= AT_ONCE * STATEMENTS_EACH, spent


def start_and_follow(skein: Skein, person: Viewer) -> None:
    follow(skein, person, skein.engine.start(person, message("together", agent="held")).thread_id)


def waiting_jobs(database: Database) -> int:
    return len(database._jobs._waiting)


def release(database: Database) -> None:
    """Let what can wait be written."""
    database.write(lambda db: None)


@contextmanager
def held(database: Database) -> Iterator[None]:
    """A writer that has something else in hand."""
    begun, gate = threading.Event(), threading.Event()

    def job(_: object) -> None:
        begun.set()
        assert gate.wait(60)

    holding = database.submit(job)
    assert begun.wait(10)
    try:
        yield
    finally:
        gate.set()
        holding.result(60)
