"""A process for a project: it carries out that project's runs, as this one would, for as long as this one lives."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.access.viewer import Viewer
from core.errors import BusyError
from core.history.approvals import list_of_thread
from core.history.turns import Turn
from core.runs.decisions import Decision, decide
from core.runs.processes import ProjectProcess, Standing
from core.runs.worker import require_closed
from core.settings import Settings
from core.skein import Skein, open_skein
from tests.conftest import make_person, make_settings
from tests.core.mains import run_listed
from tests.core.processes import another_process
from tests.core.support import OnSqlite, another_skein, answered, ask, status_of, wait_until

GRAPHS = """
import asyncio, os, time
from pathlib import Path
from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from core.words import HELLO

def one(node):
    graph = StateGraph(MessagesState).add_node(node).add_edge(START, node.__name__)
    return graph.compile()

def where(state):
    colour = os.environ.get("OTTER_COLOUR")
    return {"messages": [AIMessage(f"{HELLO} {colour} {os.getpid()} {len(state['messages'])}")]}

async def block(state):
    while not Path(os.environ["OTTER_GO"]).exists():
        time.sleep(0.01)
    return {"messages": [AIMessage("unblocked")]}

async def last(state):
    await asyncio.sleep(60)

def wish(state):
    return {"messages": [AIMessage(f"it will be {interrupt('which?')} in {os.getpid()}")]}

where, block, last, wish = one(where), one(block), one(last), one(wish)
print("a module may print what it likes")
"""
NAMES = ("where", "block", "last", "wish")


def write_project(folder: Path, **more: object) -> Path:
    (folder / "core").mkdir(parents=True)
    (folder / "core" / "words.py").write_text("HELLO = 'hello'")
    (folder / "graphs.py").write_text(GRAPHS)
    listed = folder / "langgraph.json"
    graphs = dict.fromkeys(NAMES)
    listed.write_text(json.dumps({"graphs": {name: f"./graphs.py:{name}" for name in graphs}, **more}))
    return listed


@pytest.fixture
def skein(tmp_path: Path, database_url: str) -> Iterator[Skein]:
    """One project beside this process, and the same once more within it."""
    env = {"OTTER_COLOUR": "red", "OTTER_GO": str(tmp_path / "go")}
    listed = [
        write_project(tmp_path / "near", env=env | {"OTTER_COLOUR": "green"}),
        write_project(tmp_path / "apart", env=env, skein={"process": True}),
    ]
    before = dict(os.environ)
    opened = open_skein(
        make_settings(tmp_path, database_url=database_url, langgraph_json=listed, lease_seconds=2, drain_seconds=1)
    )
    yield opened
    opened.close()
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


@pytest.fixture
def alice(skein: Skein) -> Viewer:
    return make_person(skein, "alice", "admin")


def process_of(skein: Skein) -> ProjectProcess:
    [process] = skein.processes.values()
    return process


def say(skein: Skein, viewer: Viewer, agent: str, under: Turn | None = None) -> Turn:
    return answered(skein, viewer, ask(skein, viewer, "hi", agent=agent, under=under).thread_id)


class TestAProjectApart:
    def test_its_runs_are_as_here_but_elsewhere_and_with_its_own_environment(
        self, skein: Skein, alice: Viewer
    ) -> None:
        first = say(skein, alice, "apart/where")
        second = say(skein, alice, "apart/where", under=first)
        here = say(skein, alice, "where", under=second)

        pid = process_of(skein).pid
        assert [turn.status for turn in (first, second, here)] == ["done"] * 3
        assert (first.answer, second.answer) == (f"hello red {pid} 1", f"hello red {pid} 3")
        assert here.answer == f"hello green {os.getpid()} 5"
        assert skein.agents.problems == []

    def test_a_node_that_blocks_its_loop_holds_up_nobody_elses_run(
        self, skein: Skein, alice: Viewer, tmp_path: Path
    ) -> None:
        blocking = ask(skein, alice, "hi", agent="apart/block")
        wait_until(lambda: status_of(skein, alice, blocking.thread_id) == "running", seconds=30)
        assert say(skein, alice, "where").status == "done"
        assert [run.thread_id for run in skein.engine.active(alice)] == [blocking.thread_id]
        (tmp_path / "go").touch()

        turn = answered(skein, alice, blocking.thread_id)
        assert (turn.status, turn.answer) == ("done", "unblocked")
        assert skein.engine.active(alice) == []

    def test_what_it_asks_is_decided_here_and_goes_on_there(self, skein: Skein, alice: Viewer) -> None:
        asked = say(skein, alice, "apart/wish")
        with skein.database.read() as db:
            [row] = list_of_thread(alice, db, asked.thread_id)
        decision = Decision("answer", answer="green")
        decide(skein.engine, alice, row.approval_id, [decision], arguments_hash=row.arguments_hash)
        turn = answered(skein, alice, asked.thread_id)

        assert (asked.status, turn.status) == ("waiting", "done")
        assert turn.answer == f"it will be green in {process_of(skein).pid}"

    def test_stop_reaches_it(self, skein: Skein, alice: Viewer) -> None:
        turn = ask(skein, alice, "hi", agent="apart/last")
        wait_until(lambda: status_of(skein, alice, turn.thread_id) == "running", seconds=30)
        assert skein.engine.stop(alice, turn.thread_id)
        assert answered(skein, alice, turn.thread_id).status == "stopped"

    def test_when_it_is_killed_its_run_is_lost_and_what_waits_is_answered_by_the_next(
        self, skein: Skein, alice: Viewer
    ) -> None:
        turn = ask(skein, alice, "hi", agent="apart/last")
        wait_until(lambda: status_of(skein, alice, turn.thread_id) == "running", seconds=30)
        first = process_of(skein).pid
        os.kill(first or 0, signal.SIGKILL)
        waiting = ask(skein, alice, "hi", agent="apart/where")
        answer = answered(skein, alice, waiting.thread_id)

        assert answered(skein, alice, turn.thread_id).status == "lost"
        assert answer.answer == f"hello red {process_of(skein).pid} 1"
        assert process_of(skein).pid != first
        wait_until(lambda: process_of(skein).standing.state == "running")
        assert process_of(skein).standing.restarts == 1

    def test_it_ends_with_this_one_and_stops_what_it_ran(self, skein: Skein, alice: Viewer) -> None:
        say(skein, alice, "apart/where")
        turn = ask(skein, alice, "hi", agent="apart/last")
        wait_until(lambda: status_of(skein, alice, turn.thread_id) == "running", seconds=30)
        process = process_of(skein)._process
        skein.close()
        with another_skein(skein.settings) as after:
            stopped = answered(after, alice, turn.thread_id)

        assert process is not None
        assert process.poll() == 0
        assert stopped.status == "stopped"


class TestWithoutTheOneThatBeganIt(OnSqlite):
    def test_it_ends_by_itself(self, tmp_path: Path, database_url: str) -> None:
        env = {"OTTER_GO": str(tmp_path / "go")}
        listed = write_project(tmp_path / "apart", env=env, skein={"process": True})
        settings = make_settings(tmp_path, database_url=database_url, langgraph_json=listed)
        told = {"folder": tmp_path, "database_url": database_url, "langgraph_json": listed}
        with another_process(run_listed, told | {"drain_seconds": 0}, "last", False) as other:
            other.hear()
            with pytest.raises(BusyError):
                require_closed(settings)
            other.kill()
            wait_until(lambda: is_closed(settings), seconds=30)


def is_closed(settings: Settings) -> bool:
    try:
        require_closed(settings)
    except BusyError:
        return False
    return True


class TestWhatIsSaidOfIt:
    @pytest.mark.parametrize(
        ("standing", "said"),
        [
            (Standing("running"), "has a process of its own, which is running."),
            (Standing("starting", 2), "has a process of its own, which is starting; it was begun anew 2 times."),
            (
                Standing("failing", 1, "no database"),
                "has a process of its own, which does not start (no database); it was begun anew once.",
            ),
        ],
    )
    def test_how_it_stands_is_one_sentence(self, standing: Standing, said: str) -> None:
        assert standing.describe() == said

    def test_one_that_does_not_open_says_why_and_is_tried_again(self, tmp_path: Path) -> None:
        (tmp_path / "no.db").write_text("this is no database " * 100)
        settings = make_settings(tmp_path, database_url=f"sqlite:///{tmp_path / 'no.db'}")
        process = ProjectProcess(tmp_path / "langgraph.json", settings, os.environ)
        process.open()
        try:
            wait_until(lambda: process.standing.restarts >= 1, seconds=40)
            assert process.standing.state == "failing"
            assert "cannot be opened" in process.standing.reason
        finally:
            process.close()

    @pytest.mark.parametrize("said", [True, {"process": "yes"}, {"proces": True}])
    def test_what_cannot_be_meant_is_a_sentence_and_harms_no_graph(self, tmp_path: Path, said: object) -> None:
        opened = open_skein(make_settings(tmp_path, langgraph_json=write_project(tmp_path / "near", skein=said)))
        try:
            [problem] = opened.agents.problems
            assert problem == 'near/langgraph.json: skein should be an object like {"process": true}.'
            assert [agent.problem for agent in opened.agents.list()] == [None] * 4
            assert opened.processes == {}
        finally:
            opened.close()
