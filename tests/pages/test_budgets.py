"""What it costs to open each page: statements that read the database, and messages to the browser.

One line for each page. Whoever needs more edits that line, and says why. Invariant: a world with five times as
much in it costs the same; only where each row of a list is drawn by itself is a number for each row allowed.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import streamlit as st
from sqlalchemy import event
from sqlmodel import select
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner.script_runner import ScriptRunner
from streamlit.testing.v1 import AppTest

from core.access.viewer import Viewer
from core.history.approvals import count_waiting
from core.history.branches import create_branch
from core.history.rules import add_rule
from core.history.saved_views import save_view
from core.history.templates import Draft, save_template
from core.history.turns import Turn
from core.runs.branching import snapshot
from core.skein import Skein
from core.tables import Conversation, LlmCall
from tests.core.support import ask, wait_until
from tests.pages.conftest import person_named
from tests.pages.test_browse import settle

SMALL, LARGE = 2, 10


@dataclass(frozen=True)
class Budget:
    """How much one page may cost for a person of a role; ``each`` is how many frames a row of its list takes."""

    name: str
    page: str
    reads: int
    frames: int
    each: int = 0
    role: str = "member"
    query: dict[str, str] = field(default_factory=dict)


BUDGETS = [
    Budget("account", "account", 4, 19),
    Budget("agents", "agents", 3, 32),
    Budget("an agent", "agents", 4, 41, query={"agent": "planner"}),
    Budget("approvals", "approvals", 4, 51, each=19),
    Budget("approvals, decided", "approvals", 4, 10, query={"tab": "decided"}),
    Budget("approvals, rules", "approvals", 5, 34, each=5, query={"tab": "rules"}),
    Budget("branches, choice", "branches", 4, 16, each=2),
    Budget("branches", "branches", 22, 89, each=3, query={"conversation": "{conversation}"}),
    Budget(
        "time machine", "branches", 27, 118, each=3, query={"conversation": "{conversation}", "checkpoint": "last"}
    ),
    Budget("browse", "browse", 9, 34),
    Budget("browse, everybody's", "browse", 7, 34, role="admin"),
    Budget("browse, conversations", "browse", 10, 33, query={"list": "conversations"}),
    Budget("browse, threads", "browse", 8, 33, query={"list": "threads"}),
    Budget("browse, review", "browse", 7, 28, query={"list": "review"}),
    Budget("browse, activity", "browse", 8, 26, query={"list": "activity"}),
    Budget("session", "browse", 20, 36, query={"session": "{session}"}),
    Budget("session, timeline", "browse", 20, 37, query={"session": "{session}", "tab": "timeline"}),
    Budget("session, threads", "browse", 18, 36, query={"session": "{session}", "tab": "threads"}),
    Budget("session, artifacts", "browse", 15, 36, query={"session": "{session}", "tab": "artifacts"}),
    Budget("inspector", "browse", 12, 77, query={"thread": "{thread}"}),
    Budget("inspector, events", "browse", 14, 50, query={"thread": "{thread}", "look": "events"}),
    Budget("calls", "calls", 21, 81, query={"window": "all"}),
    Budget("calls, everybody's", "calls", 19, 83, role="admin", query={"window": "all"}),
    Budget("call", "calls", 14, 69, query={"call": "{call}"}),
    # One read more than what this process runs: other processes run too.
    Budget("running now", "live", 5, 11),
    Budget("databases", "databases", 3, 21, role="admin"),
    Budget("accounts", "admin", 4, 25, role="admin"),
    Budget("prices", "prices", 4, 42, role="admin"),
    Budget("retention", "retention", 4, 23, role="admin"),
]


class World:
    """What ada and root have: conversations, branches, what waits, templates, views and rules, so many of each."""

    def __init__(self, skein: Skein) -> None:
        self.skein = skein
        self.people = [person_named(skein, "ada"), person_named(skein, "root", "admin")]
        self.size = 0
        ada = self.people[0]
        self.turn = self._answered(ada, "What is first?")
        with skein.database.read() as db:
            found = select(Conversation.session_id).where(Conversation.conversation_id == self.turn.conversation_id)
            self.session_id = db.exec(found).one()
        snapshot(skein.engine, ada, self.turn.thread_id, "Kept")

    def grow(self, size: int) -> None:
        """Let there be so many of each."""
        for number in range(self.size, size):
            for viewer in self.people:
                self._add(viewer, number)
        self.size = size
        settle(self.skein)

    def _add(self, viewer: Viewer, number: int) -> None:
        self._answered(viewer, f"What is {number}?")
        write = self.skein.database.write
        write(lambda db: add_rule(viewer, db, effect="ask", tool=f"tool_{number}"))
        write(
            lambda db: save_template(viewer, db, name=f"Template {number}", draft=Draft("T", "assistant", {}, []))
        )
        save_view(viewer, self.skein.database, "browse", f"View {number}", "q=a")
        save_view(viewer, self.skein.database, "calls", f"View {number}", "window=all")
        ask(self.skein, viewer, "Plan a fair", agent="planner")
        wait_until(lambda: self._waiting(viewer) == number + 1)
        if viewer == self.people[0]:
            write(lambda db: create_branch(viewer, db, self.turn.message_id))

    def _waiting(self, viewer: Viewer) -> int:
        with self.skein.database.read() as db:
            return count_waiting(viewer, db)

    def _answered(self, viewer: Viewer, text: str) -> Turn:
        turn = ask(self.skein, viewer, text)
        wait_until(lambda: turn.thread_id not in {run.thread_id for run in self.skein.engine.active(viewer)})
        return turn

    def query(self, budget: Budget) -> dict[str, str]:
        """The address of a page in this world."""
        known = {
            "{conversation}": self.turn.conversation_id,
            "{session}": self.session_id,
            "{thread}": self.turn.thread_id,
            "{call}": self._call(),
        }
        return {name: known.get(value, value) for name, value in budget.query.items()}

    def _call(self) -> str:
        with self.skein.database.read() as db:
            return db.exec(select(LlmCall.call_id).where(LlmCall.thread_id == self.turn.thread_id)).first() or ""


@dataclass
class Cost:
    """What was counted."""

    statements: list[str] = field(default_factory=list)
    frames: int = 0


@contextmanager
def counted(skein: Skein, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cost]:
    """Count what scripts read of the database, also past SQLAlchemy, and what they send to the browser."""
    cost = Cost()

    def read(statement: str) -> None:
        if get_script_run_ctx(suppress_warning=True) is not None and statement.lstrip()[:6].upper() in {
            "SELECT",
            "WITH",
        }:
            cost.statements.append(statement)

    def hear(connection: sqlite3.Connection, *_: Any) -> None:
        connection.set_trace_callback(read)

    enqueue = ScriptRunner._enqueue_forward_msg

    def count(runner: ScriptRunner, message: Any) -> None:
        cost.frames += 1
        enqueue(runner, message)

    engine = skein.database._reading
    event.listen(engine, "checkout", hear)
    with monkeypatch.context() as patch:
        patch.setattr(ScriptRunner, "_enqueue_forward_msg", count)
        yield cost
    event.remove(engine, "checkout", hear)


Measure = Callable[[Budget], Cost]


@pytest.fixture
def world(opened: Skein) -> World:
    return World(opened)


@pytest.fixture
def measure(opened: Skein, world: World, tab: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Opens a page from another one, and tells what that costs."""
    tabs: dict[str, AppTest] = {}

    def open_page(budget: Budget) -> Cost:
        name = "root" if budget.role == "admin" else "ada"
        if name not in tabs:
            tabs[name] = tab(name, role=budget.role)
        at = tabs[name].switch_page("account.py" if budget.page != "account" else "agents.py")
        at.query_params.clear()
        at.run()
        at.switch_page(f"{budget.page}.py")
        for key, value in world.query(budget).items():
            at.query_params[key] = value
        st.cache_data.clear()
        with counted(opened, monkeypatch) as cost:
            at.run()
        assert at.exception.values == []
        return cost

    return open_page


def test_opening_a_page_costs_no_more_than_it_may_however_much_there_is(world: World, measure: Measure):
    over = []
    for size in (SMALL, LARGE):
        world.grow(size)
        for budget in BUDGETS:
            cost = measure(budget)
            frames = budget.frames + budget.each * (size - SMALL)
            if len(cost.statements) > budget.reads or cost.frames > frames:
                over.append((budget.name, size, len(cost.statements), budget.reads, cost.frames, frames))
    assert over == []
