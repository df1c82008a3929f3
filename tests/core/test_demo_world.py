"""The demo world: really run, spread over the past, whole on both databases, and never among what people said."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import func, select

from core.access.viewer import Viewer
from core.calls.proof.verify import verify
from core.demo_world.making import PEOPLE, make_world
from core.errors import BusyError, ConflictError
from core.history.messages import NewMessage
from core.settings import Settings
from core.skein import Skein
from core.tables import (
    THREAD_STATUSES,
    Annotation,
    Approval,
    ArtifactVersion,
    Branch,
    LlmCall,
    Message,
    Session,
    SessionStat,
    Thread,
    User,
)
from tests.conftest import make_settings
from tests.core.support import ROOT, another_skein

_SESSIONS = 26


@pytest.fixture
def world(empty_database_url: str, tmp_path: Path) -> Iterator[Skein]:
    # A process of its own, as it is for whoever makes one: its clock is set back before it makes any id.
    settings = make_settings(tmp_path, database_url=empty_database_url)
    said = {"SKEIN_DATA_DIR": str(settings.data_dir), "SKEIN_DATABASE_URL": empty_database_url}
    made = subprocess.run(
        [sys.executable, "-m", "core.cli", "demo", "--sessions", str(_SESSIONS)],
        cwd=ROOT,
        env=os.environ | said,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f"{name} ({role})" in made.stdout for name, role in PEOPLE.items())
    with another_skein(settings) as skein:
        yield skein


def test_it_is_whole_in_the_past_and_proven(world: Skein) -> None:
    """One test of one world, as it takes seconds to make."""
    _has_everything_that_there_is_to_see(world)
    _lies_in_the_past_weeks_and_in_order(world)
    verdict = verify(world.database)
    assert verdict.ok, verdict.problem
    assert verdict.calls > 0


def _has_everything_that_there_is_to_see(world: Skein) -> None:
    with world.database.read() as db:
        statuses = dict(db.exec(select(Thread.status, func.count()).group_by(Thread.status)).all())
        kinds = set(db.exec(select(Thread.kind)))
        marks = set(db.exec(select(Annotation.kind)))
        counts = [
            db.exec(select(func.count()).select_from(table)).one()
            for table in (Message, LlmCall, Approval, Branch, ArtifactVersion)
        ]
        words = " ".join(db.exec(select(Message.content)))
        stats = db.exec(select(func.count()).select_from(SessionStat)).one()
        names = dict(db.exec(select(User.name, User.role)).all())
    assert names == PEOPLE
    assert {"done", "failed", "stopped", "waiting"} <= statuses.keys() <= set(THREAD_STATUSES)
    assert statuses["done"] > sum(count for status, count in statuses.items() if status != "done")
    assert {"first", "continue", "edit", "fork", "fan_out"} <= kinds
    assert {"tag", "star", "score"} <= marks
    assert all(counts)
    assert "refund" in words
    assert "退款" in words
    assert stats == _SESSIONS


def _lies_in_the_past_weeks_and_in_order(world: Skein) -> None:
    now = datetime.now(UTC)
    with world.database.read() as db:
        sessions = db.exec(select(Session.session_id, Session.created_at).order_by(Session.session_id)).all()
        threads = db.exec(select(Thread.thread_id, Thread.created_at, Thread.ended_at)).all()
    moments = [at for _, at in sessions]
    assert moments == sorted(moments)
    assert now - timedelta(days=31) < moments[0] < now - timedelta(days=15)
    assert max(end for _, _, end in threads if end) <= now
    viewer = Viewer("user_nobody", "auditor", "admin")
    for thread_id, began, ended in threads[:20]:
        # The first ones may be copies of the parent's.
        made = datetime.fromisoformat(world.engine.read_states(viewer, thread_id)[-1].created_at)
        assert began <= made <= (ended or now)


def test_it_is_not_made_where_somebody_has_said_something(
    opened: Skein, person: object, settings: Settings, tmp_path: Path
) -> None:
    opened.engine.start(person("alice"), NewMessage("mine"))
    with pytest.raises(ConflictError, match="SKEIN_DATA_DIR"):
        make_world(settings.model_copy(update={"data_dir": tmp_path / "elsewhere"}), sessions=2)
    with opened.database.read() as db:
        assert db.exec(select(func.count()).select_from(Session)).one() == 1


def test_it_is_not_made_while_a_skein_is_open_whose_leases_it_would_end(opened: Skein, settings: Settings) -> None:
    with pytest.raises(BusyError, match="please stop it first"):
        make_world(settings, sessions=2)
    with opened.database.read() as db:
        assert db.exec(select(func.count()).select_from(User)).one() == 0
