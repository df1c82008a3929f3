"""Plain functions of graphs run on threads that count as their run's, and that nobody waits for at the end."""

import subprocess
import sys
import threading
from concurrent.futures import wait
from pathlib import Path

import pytest

from core.calls.context import run_thread
from core.runs.node_threads import NodeThreads
from core.skein import open_skein
from tests.conftest import make_person
from tests.core.support import answered, ask, graph_settings, status_of, wait_until
from tests.graphs import showcase

_ENDS = """
import threading, time
from core.runs.node_threads import NodeThreads
threads = NodeThreads(2)
begun = threading.Event()
threads.submit(lambda: (begun.set(), time.sleep(600)))
begun.wait()
threads.shutdown()
print("ended")
"""


@pytest.fixture
def threads():
    opened = NodeThreads(4)
    yield opened
    opened.shutdown()


class TestThreads:
    def test_more_than_there_are_wait_for_one(self, threads: NodeThreads) -> None:
        go, names = threading.Event(), set()

        def work(number: int) -> int:
            names.add(threading.current_thread().name)
            go.wait(10)
            return number

        futures = [threads.submit(work, number) for number in range(12)]
        wait_until(lambda: len(names) == 4)
        go.set()
        assert [future.result(10) for future in futures] == list(range(12))
        assert len(names) == 4

    def test_an_error_is_given_to_whoever_waits(self, threads: NodeThreads) -> None:
        with pytest.raises(ZeroDivisionError):
            threads.submit(lambda: 1 / 0).result(10)

    def test_a_run_is_busy_until_its_last_function_is_over(self, threads: NodeThreads) -> None:
        go, free = threading.Event(), threading.Event()
        token = run_thread.set("thread_1")
        futures = [threads.submit(go.wait, 10) for _ in range(2)]
        run_thread.reset(token)
        threads.when_free("thread_1", free.set)

        assert (threads.is_busy("thread_1"), threads.is_busy("thread_2"), free.is_set()) == (True, False, False)
        go.set()
        wait(futures, 10)
        assert free.wait(10)
        assert threads.is_busy("thread_1") is False

    def test_a_process_does_not_wait_for_what_never_ends(self) -> None:
        root = Path(__file__).resolve().parents[2]
        command = [sys.executable, "-c", _ENDS]
        ended = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60, check=False)
        assert (ended.returncode, ended.stdout.strip()) == (0, "ended"), ended.stderr


def test_what_a_stopped_run_left_on_a_thread_counts_as_its_users(tmp_path: Path, database_url: str) -> None:
    skein = open_skein(graph_settings(tmp_path, database_url, max_runs_per_user=1))
    words = f"holds on {tmp_path.name}"
    go = showcase.HOLDING.setdefault(words, threading.Event())
    try:
        ada, bob = make_person(skein, "ada"), make_person(skein, "bob")
        held = ask(skein, ada, words, agent="holding")
        wait_until(lambda: words in showcase.HELD)
        skein.engine.stop(ada, held.thread_id)
        assert answered(skein, ada, held.thread_id).status == "stopped"

        waits = ask(skein, ada, "once", agent="echo")
        assert answered(skein, bob, ask(skein, bob, "once", agent="echo").thread_id).status == "done"
        assert status_of(skein, ada, waits.thread_id) == "queued"
        go.set()
        assert answered(skein, ada, waits.thread_id).status == "done"
    finally:
        go.set()
        skein.close()
