"""The commands for what is kept, each run as a person would, on a data folder of its own."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from core.access.accounts import create_first_admin
from core.database import Database
from core.ids import RetentionId
from core.records import retention
from core.records.commands import app
from core.records.retention import Rule
from core.settings import load_settings
from tests.core.working import add_person, say


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKEIN_DATA_DIR", str(tmp_path / "data"))
    opened = Database(load_settings().app_database_url)
    opened.migrate()
    return opened


def run(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def test_the_doctor_finds_and_mends(database: Database) -> None:
    added = say(database, add_person(database, "alice"), "hello")
    database.write(
        lambda db: db.connection().exec_driver_sql(f"DELETE FROM thread WHERE message_id = '{added.message_id}'")
    )
    found = run("doctor", "--kind", "message-without-thread")
    assert (
        found.exit_code,
        f"message-without-thread: A message has no thread, so that nobody can see it: "
        f"{added.message_id}" in found.output,
    ) == (1, True)
    mended = run("doctor", "--mend")
    assert "Mended: message-without-thread" in mended.output
    assert (run("doctor").exit_code, "Everything agrees." in run("doctor").output) == (0, True)


def test_a_backup_is_made_and_brought_back(database: Database, tmp_path: Path) -> None:
    say(database, add_person(database, "alice"), "hello")
    run("doctor")
    made = run("backup", str(tmp_path / "kept"))
    assert (made.exit_code, (tmp_path / "kept" / "skein.db").is_file()) == (0, True)
    refused = run("restore", str(tmp_path / "kept"))
    assert (refused.exit_code, "--replace" in refused.output) == (2, True)
    back = run("restore", str(tmp_path / "kept"), "--replace")
    assert (back.exit_code, "is back" in back.output) == (0, True)


def test_a_person_is_erased_when_that_is_confirmed(database: Database) -> None:
    create_first_admin(database, name="root", password="a long password")
    alice = add_person(database, "alice")
    added = say(database, alice, "hello")
    database.write(
        lambda db: db.connection().exec_driver_sql(
            f"UPDATE thread SET status = 'done' WHERE thread_id = '{added.thread_id}'"
        )
    )
    assert run("erase-user", "alice", "--by", "nobody").exit_code == 2
    assert run("erase-user", "alice", "--by", "alice").exit_code == 2
    asked = CliRunner().invoke(app, ["erase-user", "alice", "--by", "root"], input="n\n")
    assert (asked.exit_code, "1 sessions, 1 messages" in asked.output) == (1, True)
    done = run("erase-user", "alice", "--by", "root", "--yes")
    assert (done.exit_code, "Everything is gone." in done.output) == (0, True)
    assert run("erase-user", "alice", "--by", "root", "--yes").exit_code == 2


def test_a_retention_rule_is_listed_previewed_and_run(database: Database) -> None:
    root = add_person(database, "root", "admin")
    say(database, root, "hello")
    rule = database.write(lambda db: retention.add_rule(root, db, Rule("old ones", "archive", 1)))
    assert f"{rule}  off  old ones: archive after 1 days; last never, 0" in run("retention", "list").output
    assert "old ones (archive): 0 sessions" in run("retention", "preview", rule).output
    done = run("retention", "run", rule, "--yes")
    assert (done.exit_code, "0 sessions done" in done.output) == (0, True)
    assert run("retention", "run", RetentionId("keep_none"), "--yes").exit_code == 2
