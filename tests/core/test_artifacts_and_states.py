"""What a run wrote and what its state names agree, however the run ends."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import select

from core.access.viewer import Viewer
from core.history.artifacts import find_named, list_artifacts
from core.history.conversations import get_conversation
from core.history.turns import Turn
from core.ids import ThreadId
from core.runs.branching import retry
from core.settings import Settings
from core.skein import Skein
from core.tables import Artifact, ArtifactVersion
from tests.conftest import make_person
from tests.core.support import another_skein, answered, ask, graph_settings, status_of, wait_until
from tests.core.test_approvals_across_processes import deciders

Person = Callable[..., Viewer]
LEASE = 1.0


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url, lease_seconds=LEASE)


def versions(skein: Skein, thread_id: ThreadId) -> dict[str, str]:
    """The status of each version that a thread wrote, by the artifact's name."""
    query = (
        select(Artifact.name, ArtifactVersion.status)
        .join(ArtifactVersion, ArtifactVersion.artifact_id == Artifact.artifact_id)  # type: ignore[arg-type]
        .where(ArtifactVersion.thread_id == thread_id)
    )
    with skein.database.read() as db:
        return dict(db.exec(query).all())


def named(skein: Skein, viewer: Viewer, turn: Turn) -> int:
    return len(find_named(skein.engine.get_state(viewer, turn.thread_id).values))


class TestBothStores:
    def test_agree_when_a_run_is_done(self, opened: Skein, person: Person, tmp_path: Path) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, str(tmp_path / "told"), agent="making").thread_id)
        assert turn.status == "done"
        assert versions(opened, turn.thread_id) == {"first": "kept", "second": "kept"}
        assert named(opened, alice, turn) == 2

    def test_agree_when_it_fails_between_an_artifact_and_its_checkpoint(
        self, opened: Skein, person: Person, tmp_path: Path
    ) -> None:
        alice, told = person("alice"), tmp_path / "told"
        told.write_text("fail")
        turn = answered(opened, alice, ask(opened, alice, str(told), agent="making").thread_id)
        assert turn.status == "failed"
        assert versions(opened, turn.thread_id) == {"first": "kept", "second": "dropped"}
        assert named(opened, alice, turn) == 1
        told.unlink()
        again = answered(opened, alice, retry(opened.engine, alice, turn.thread_id).thread_id)
        assert (again.status, versions(opened, again.thread_id)) == ("done", {"second": "kept"})
        assert named(opened, alice, again) == 2
        with opened.database.read() as db:
            session_id = get_conversation(alice, db, turn.conversation_id).session_id
            assert sorted(row.name for row in list_artifacts(alice, db, session_id)) == ["first", "second"]

    def test_agree_when_its_process_is_killed_between_the_two(self, settings: Settings, tmp_path: Path) -> None:
        told = tmp_path / "told"
        told.write_text("die")
        with another_skein(settings) as skein:
            alice = make_person(skein, "alice")
            with deciders(settings, tmp_path, 1) as [other]:
                other.send({"user_id": alice.user_id, "text": str(told), "agent_id": "making"})
                wait_until(lambda: _thread(skein) is not None)
                thread_id = ThreadId(str(_thread(skein)))
                wait_until(lambda: len(find_named(skein.engine.get_state(alice, thread_id).values)) == 1)
                wait_until(lambda: set(versions(skein, thread_id)) == {"first", "second"})
                (tmp_path / "now").touch()
                other.process.wait()
                wait_until(lambda: status_of(skein, alice, thread_id) == "lost")
            wait_until(lambda: "pending" not in versions(skein, thread_id).values())
            assert versions(skein, thread_id) == {"first": "kept", "second": "dropped"}
            told.unlink()
            again = answered(skein, alice, retry(skein.engine, alice, thread_id).thread_id)
            assert (again.status, versions(skein, again.thread_id)) == ("done", {"second": "kept"})


def _thread(skein: Skein) -> str | None:
    """The thread that wrote something."""
    with skein.database.read() as db:
        return db.exec(select(ArtifactVersion.thread_id)).first()
