"""The examples in docs/agents.md: written into a folder as they stand there, loaded, and run on the demo model."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest

from core.access.viewer import Viewer
from core.agents.context import IDS, WITH_MODELS
from core.agents.manifest import Entry
from core.history.approvals import ApprovalRow, list_of_thread
from core.history.artifacts import ArtifactRow, list_artifacts, read_content
from core.history.turns import Turn
from core.runs.decisions import Decision, decide
from core.settings import CallText, Settings
from core.skein import Skein
from tests.conftest import make_settings
from tests.core.support import ROOT, OnSqlite, answered, ask, follow

GUIDE = (ROOT / "docs" / "agents.md").read_text(encoding="utf-8")
NOTE = 'Write it down: {"name": "Otters", "text": "They hold hands."}'
Person = Callable[..., Viewer]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def files() -> Iterator[tuple[str, str]]:
    """Each example with the path that its first line gives it."""
    for code in blocks("python"):
        named = re.match(r"# (\S+\.py)\n", code)
        assert named, "an example begins with the path of its file"
        yield named[1], code


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Skein with the guide's own ``langgraph.json``, and its files beside it."""
    [manifest] = blocks("json")
    place = tmp_path / "langgraph.json"
    place.write_text(manifest)
    for path, code in files():
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    return make_settings(tmp_path, database_url=database_url, langgraph_json=place)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


def asked(skein: Skein, viewer: Viewer, text: str, agent: str) -> tuple[Turn, ApprovalRow]:
    """Ask, and give the turn and the one thing that it waits for."""
    turn = ask(skein, viewer, text, agent=agent)
    follow(skein, viewer, turn.thread_id)
    with skein.database.read() as db:
        [row] = list_of_thread(viewer, db, turn.thread_id)
    assert row.is_waiting
    return turn, row


def settle(skein: Skein, viewer: Viewer, row: ApprovalRow, decision: Decision) -> Turn:
    decide(skein.engine, viewer, row.approval_id, [decision], arguments_hash=row.arguments_hash)
    return answered(skein, viewer, row.thread_id)


def kept(skein: Skein, viewer: Viewer, row: ApprovalRow) -> list[tuple[ArtifactRow, str]]:
    with skein.database.read() as db:
        found = list_artifacts(viewer, db, row.session_id)
        return [(one, read_content(viewer, db, one.newest.ref).decode()) for one in found]


class TestTheNotes(OnSqlite):
    def test_all_examples_are_agents_that_load(self, opened: Skein) -> None:
        paths = {path.rsplit("/")[-1].removesuffix(".py") for path, _ in files()}
        assert {agent.agent_id: agent.problem for agent in opened.agents.list()} == dict.fromkeys(paths)

    def test_wait_with_the_arguments_and_their_schema(self, opened: Skein, alice: Viewer) -> None:
        _, row = asked(opened, alice, NOTE, "notes")
        [action] = row.actions
        assert (action.tool, action.arguments) == ("keep_note", {"name": "Otters", "text": "They hold hands."})
        assert set(action.allowed) == {"approve", "edit", "answer", "refuse"}
        assert set((action.schema or {})["properties"]) == {"name", "text"}
        assert kept(opened, alice, row) == []

    def test_are_an_artifact_once_approved_and_are_shown(self, opened: Skein, alice: Viewer) -> None:
        turn, row = asked(opened, alice, NOTE, "notes")
        done = settle(opened, alice, row, Decision("approve"))
        [(artifact, text)] = kept(opened, alice, row)
        assert (done.status, artifact.name, text) == ("done", "Otters", "They hold hands.")
        state = opened.engine.get_state(alice, turn.thread_id).values
        assert state["result_artifact_ids"] == [str(artifact.newest.ref)]
        ends = [event.payload for event in follow(opened, alice, turn.thread_id) if event.kind == "tool"]
        assert [show["rows"] for end in ends for show in end.get("shows", ())] == [[["Otters", 16]]]

    def test_are_kept_as_they_were_edited(self, opened: Skein, alice: Viewer) -> None:
        _, row = asked(opened, alice, NOTE, "notes")
        settle(opened, alice, row, Decision("edit", arguments={"name": "Sea otters", "text": "They do."}))
        assert [(one.name, text) for one, text in kept(opened, alice, row)] == [("Sea otters", "They do.")]

    def test_are_not_kept_when_refused(self, opened: Skein, alice: Viewer) -> None:
        _, row = asked(opened, alice, NOTE, "notes")
        assert settle(opened, alice, row, Decision("refuse", reason="not that")).status == "done"
        assert kept(opened, alice, row) == []

    def test_also_take_plain_words(self, opened: Skein, alice: Viewer) -> None:
        _, row = asked(opened, alice, "Note that otters hold hands", "notes")
        assert settle(opened, alice, row, Decision("approve")).status == "done"
        assert len(kept(opened, alice, row)) == 1

    def test_with_an_error_of_ours_the_run_goes_on(self, opened: Skein, alice: Viewer) -> None:
        turn, row = asked(opened, alice, '{"name": " ", "text": "nameless"}', "notes")
        assert settle(opened, alice, row, Decision("approve")).status == "done"
        ends = [event.payload for event in follow(opened, alice, turn.thread_id) if event.kind == "tool"]
        assert any("needs a name" in str(end.get("error")) for end in ends)


class TestTheColours(OnSqlite):
    def test_ask_and_take_the_answer(self, opened: Skein, alice: Viewer) -> None:
        _, row = asked(opened, alice, "Paint the wall", "colours")
        assert (row.kind, row.value["options"]) == ("question", ["red", "green"])
        assert settle(opened, alice, row, Decision("answer", answer="green")).answer == "It will be green."


class TestWhatIsListed:
    def test_every_key_of_an_entry(self) -> None:
        described = {name for name in Entry.model_fields if f"`{name}`" in GUIDE}
        assert described == set(Entry.model_fields)
        assert all(f"`{value}`" in GUIDE for value in get_args(CallText))

    def test_every_field_of_a_context(self) -> None:
        given = {*IDS, *WITH_MODELS}
        assert {name for name in given if f"`{name}`" in GUIDE} == given

    def test_the_manifest_uses_only_known_keys(self) -> None:
        [manifest] = blocks("json")
        entries = [one for one in json.loads(manifest)["graphs"].values() if isinstance(one, dict)]
        assert [set(entry) - set(Entry.model_fields) for entry in entries] == [set()]

    def test_every_link_within_and_to_other_files_leads_somewhere(self) -> None:
        headings = {
            re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", GUIDE, re.MULTILINE)
        }
        links = re.findall(r"\]\(([^)]+)\)", GUIDE)
        assert {link[1:] for link in links if link.startswith("#")} <= headings
        outside = [link.split("#")[0] for link in links if not link.startswith("#")]
        assert [link for link in outside if not (ROOT / "docs" / link).exists()] == []
