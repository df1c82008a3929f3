"""A retried or forked answer begins with what people saw of its source's, up to the state that it goes on from."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from sqlalchemy import delete
from sqlmodel import col

from core.access.viewer import Viewer
from core.history.branches import get_branch_below
from core.history.turns import Turn
from core.ids import ThreadId
from core.records.purge import purge_branches
from core.runs import branching
from core.runs.execute import StateStep
from core.runs.store import read_events
from core.settings import Settings
from core.skein import Skein
from core.tables import RunEvent, utc_now
from tests.conftest import make_settings
from tests.core.support import answered, ask

MENDED = {"hint": "mended"}


class BrokenError(Exception):
    """What the last node fails with until it is given a hint."""


class State(MessagesState):
    hint: str


def plan(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("a plan that nobody is shown")]}


def draft(state: State) -> dict[str, Any]:
    return {"messages": [AIMessage("draft")]}


def finish(state: State) -> dict[str, Any]:
    if state.get("hint") != "mended":
        raise BrokenError
    return {"messages": [AIMessage("final")]}


planned = (
    StateGraph(State)
    .add_node(plan)
    .add_node(draft)
    .add_node(finish)
    .add_edge(START, "plan")
    .add_edge("plan", "draft")
    .add_edge("draft", "finish")
)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    graph = {"path": f"{Path(__file__)}:planned", "answer_nodes": ["draft", "finish"]}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {"planned": graph}}))
    return make_settings(tmp_path, database_url=database_url, langgraph_json=tmp_path / "langgraph.json")


@pytest.fixture
def alice(person: Callable[..., Viewer]) -> Viewer:
    return person("alice")


@pytest.fixture
def failed(opened: Skein, alice: Viewer) -> Turn:
    """A hidden plan, a draft that was seen, and then a failure."""
    return answered(opened, alice, ask(opened, alice, "a question", agent="planned").thread_id)


@pytest.fixture
def retry(opened: Skein, alice: Viewer) -> Callable[[Turn], tuple[str, str]]:
    """Retry a thread; gives status and answer."""

    def do(turn: Turn) -> tuple[str, str]:
        again = answered(opened, alice, branching.retry(opened.engine, alice, turn.thread_id).thread_id)
        return again.status, again.answer

    return do


@pytest.fixture
def fork(opened: Skein, alice: Viewer) -> Callable[..., Turn]:
    """Fork a thread from a state in the middle of its run."""

    def do(turn: Turn, step: StateStep, **edits: str) -> Turn:
        added = branching.fork(opened.engine, alice, turn.thread_id, step.checkpoint_id, edits=edits)
        return answered(opened, alice, added.thread_id)

    return do


def states_before(skein: Skein, viewer: Viewer, turn: Turn, node: str) -> list[StateStep]:
    return [step for step in skein.engine.read_states(viewer, turn.thread_id) if step.next == (node,)]


def forget_events(skein: Skein, thread_id: ThreadId, *, first: str, payload: str = "") -> None:
    """As if the process had been killed before it wrote this event, and those after it, down."""
    with skein.database.read() as db:
        events = read_events(db, thread_id)
    at = next(event.seq for event in events if event.kind == first and payload in json.dumps(event.payload))
    gone = delete(RunEvent).where(col(RunEvent.thread_id) == thread_id, col(RunEvent.seq) >= at)
    skein.database.write(lambda db: db.execute(gone))


def purge(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with skein.database.read() as db:
        branch = get_branch_below(viewer, db, turn.message_id)
    branching.delete(skein.engine, viewer, branch.branch_id)
    purge_branches(skein.database, skein.housekeeper.forget_thread, now=utc_now() + timedelta(minutes=2))


class TestARetriedAnswer:
    def test_begins_with_what_was_seen_and_only_once(
        self, opened: Skein, alice: Viewer, failed: Turn, retry: Callable[[Turn], tuple[str, str]]
    ) -> None:
        once = answered(opened, alice, branching.retry(opened.engine, alice, failed.thread_id).thread_id)
        assert [failed.answer, once.answer, *retry(once)] == ["draft", "draft", "failed", "draft"]

    @pytest.mark.parametrize(("first", "seen"), [("state", "draft"), ("token", "")])
    def test_begins_with_what_was_written_down_when_the_process_was_killed(
        self,
        opened: Skein,
        alice: Viewer,
        failed: Turn,
        retry: Callable[[Turn], tuple[str, str]],
        first: str,
        seen: str,
    ) -> None:
        (step,) = states_before(opened, alice, failed, "finish")
        forget_events(opened, failed.thread_id, first=first, payload=step.checkpoint_id if seen else "draft")
        assert retry(failed) == ("failed", seen)


class TestAForkedAnswer:
    def test_has_nothing_before_what_was_shown(
        self, opened: Skein, alice: Viewer, failed: Turn, fork: Callable[..., Turn]
    ) -> None:
        (step,) = states_before(opened, alice, failed, "draft")
        assert fork(failed, step).answer == "draft"

    def test_goes_on_from_the_edited_state_and_from_the_one_before_it(
        self, opened: Skein, alice: Viewer, failed: Turn, fork: Callable[..., Turn]
    ) -> None:
        (step,) = states_before(opened, alice, failed, "finish")
        forked = fork(failed, step, **MENDED)
        given, edited = states_before(opened, alice, forked, "finish")
        assert given == step
        assert forked.answer == fork(forked, edited).answer == "draft\n\nfinal"
        assert fork(forked, given).answer == "draft"
        assert fork(forked, given, **MENDED).answer == "draft\n\nfinal"

    def test_of_what_a_fork_was_given_is_the_same_when_its_source_is_purged(
        self, opened: Skein, alice: Viewer, failed: Turn, fork: Callable[..., Turn]
    ) -> None:
        (step,) = states_before(opened, alice, failed, "finish")
        forked = fork(failed, step, **MENDED)
        purge(opened, alice, failed)
        assert fork(forked, step).answer == "draft"

    def test_of_what_a_fork_was_given_is_the_same_when_it_wrote_nothing_down(
        self, opened: Skein, alice: Viewer, failed: Turn, fork: Callable[..., Turn]
    ) -> None:
        (step,) = states_before(opened, alice, failed, "finish")
        forked = fork(failed, step, **MENDED)
        forget_events(opened, forked.thread_id, first="token")
        assert fork(forked, step).answer == "draft"
