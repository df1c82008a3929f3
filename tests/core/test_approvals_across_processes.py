"""A decision is taken up once, whichever processes give it, and whichever of them are killed around it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from core.access.viewer import Viewer
from core.history.approvals import ApprovalRow, list_approvals
from core.ids import ThreadId
from core.settings import Settings
from core.skein import Skein
from tests.conftest import make_person
from tests.core.mains import decide_approvals
from tests.core.processes import AnotherProcess
from tests.core.support import (
    another_skein,
    answered,
    ask,
    follow,
    graph_settings,
    status_of,
    wait_until,
)

LEASE = 4.0


class Decider:
    """Another process that decides what it is told to."""

    def __init__(self, settings: Settings, folder: Path, *, dies: bool = False) -> None:
        told = {"folder": folder, "database_url": settings.app_database_url, "lease_seconds": LEASE}
        self.process = AnotherProcess(partial(decide_approvals, dies=dies), told)
        assert self.process.hear() == "ready"

    def ask(self, viewer: Viewer, text: str) -> ThreadId:
        """Have it run a message until that waits for a person."""
        self.send({"user_id": viewer.user_id, "text": text, "agent_id": "per_call"})
        return ThreadId(self.process.hear()["paused"])

    def tell(self, viewer: Viewer, row: ApprovalRow) -> None:
        """Have it approve."""
        self.send({"user_id": viewer.user_id, "approval_id": row.approval_id, "arguments_hash": row.arguments_hash})

    def send(self, wanted: dict[str, str]) -> None:
        self.process.tell(wanted)


@contextmanager
def deciders(settings: Settings, folder: Path, count: int, *, dies: bool = False) -> Iterator[list[Decider]]:
    found: list[Decider] = []
    try:
        for _ in range(count):
            found += [Decider(settings, folder, dies=dies)]
        yield found
    finally:
        for one in found:
            one.process.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url, lease_seconds=LEASE)


def waiting(skein: Skein, viewer: Viewer, file: Path) -> ApprovalRow:
    turn = ask(skein, viewer, text_for(file), agent="per_call")
    follow(skein, viewer, turn.thread_id)
    with skein.database.read() as db:
        return next(row for row in list_approvals(viewer, db) if row.thread_id == turn.thread_id)


def text_for(file: Path) -> str:
    return "send " + json.dumps({"to": "bob", "file": str(file)})


class TestTwoProcesses:
    def test_that_decide_at_once_decide_once(self, settings: Settings, tmp_path: Path) -> None:
        with another_skein(settings) as skein, deciders(settings, tmp_path, 2) as others:
            alice = make_person(skein, "alice")
            for number in range(4):
                file = tmp_path / f"sent{number}.txt"
                row = waiting(skein, alice, file)
                for other in others:
                    other.tell(alice, row)
                told = [other.process.hear() for other in others]
                assert sorted(key for one in told for key in one) == ["decided", "refused"]
                assert file.read_text() == "bob 1\n"
                assert status_of(skein, alice, row.thread_id) == "done"


class TestAKill:
    def test_between_interrupt_and_decision_loses_nothing(self, settings: Settings, tmp_path: Path) -> None:
        file = tmp_path / "sent.txt"
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            with deciders(settings, tmp_path, 1) as [other]:
                thread_id = other.ask(alice, text_for(file))
                other.process.kill()
        with another_skein(settings) as skein, deciders(settings, tmp_path, 1) as [other]:
            assert status_of(skein, alice, thread_id) == "waiting"
            with skein.database.read() as db:
                [row] = list_approvals(alice, db)
            other.tell(alice, row)
            assert other.process.hear() == {"decided": row.approval_id}
            assert file.read_text() == "bob 1\n"

    def test_between_decision_and_its_run_is_made_good_by_another_process(
        self, settings: Settings, tmp_path: Path
    ) -> None:
        file = tmp_path / "sent.txt"
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            row = waiting(skein, alice, file)
            with deciders(settings, tmp_path, 1, dies=True) as [other]:
                other.tell(alice, row)
                other.process.wait()
                wait_until(lambda: status_of(skein, alice, row.thread_id) == "done")
            assert file.read_text() == "bob 1\n"
            assert "sent to bob" in answered(skein, alice, row.thread_id).answer
