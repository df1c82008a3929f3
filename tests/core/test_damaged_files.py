"""Files that are not what they should be: each is one sentence, at start, for a command and where it is read."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from core.agents.manifest import LARGEST, MOST_GRAPHS
from core.agents.models import ChatModels
from core.agents.registry import Agents
from core.cli import app
from core.errors import BadInputError, DamageError, SkeinError
from core.skein import open_skein
from tests.conftest import make_person, make_settings
from tests.core.support import another_skein, answered, ask

Damage = Callable[[Path], object]


def rewrite_schema(change: str) -> Damage:
    def damage(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(f"UPDATE sqlite_master SET {change} WHERE type = 'table'")

    return damage


def overwrite(begin: int, end: int) -> Damage:
    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        content[begin:end] = b"\xa5" * (min(end, len(content)) - begin)
        path.write_bytes(content)

    return damage


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


DAMAGES: dict[str, Damage] = {
    "text": lambda path: path.write_bytes(b"a letter to my aunt " * 500),
    "folder": make_folder,
    "a link to itself": link_to_itself,
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "no sense in its schema": rewrite_schema("sql = 'CREATE TABLE nonsense ((('"),
    "bytes in its schema": rewrite_schema("sql = x'ff00fe'"),
    "pages beyond its end": rewrite_schema("rootpage = 999999"),
    "a first page of another": overwrite(100, 4_000),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which somebody was answered, and something remembered."""
    folder = tmp_path_factory.mktemp("whole")
    with another_skein(make_settings(folder)) as skein:
        ada = make_person(skein, "ada", "admin")
        answered(skein, ada, ask(skein, ada, "hello").thread_id)
        skein.agents._store.put(("things",), "key", {"a": "b" * 5_000})
    return folder


@pytest.fixture
def copied(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def assert_one_sentence(text: str) -> None:
    assert "\n" not in text.strip(), text
    assert "Traceback" not in text
    assert "sqlite3." not in text
    assert text.strip().endswith((".", ")"))


class TestOurOwn:
    @pytest.mark.parametrize("name", ["skein.db", "checkpoints.db", "store.db"])
    @pytest.mark.parametrize("damage", DAMAGES)
    def test_is_a_sentence_at_start_or_when_it_is_used(self, copied: Path, name: str, damage: str) -> None:
        DAMAGES[damage](copied / "data" / name)
        with pytest.raises(SkeinError) as caught:  # noqa: PT012 - some damage shows only where it is
            skein = open_skein(make_settings(copied))
            try:
                skein.agents._store.put(("things",), "key", {"a": 2})
            finally:
                skein.close()
        assert_one_sentence(str(caught.value))
        assert not isinstance(caught.value, DamageError) or "docs/backup.md" in str(caught.value)

    @pytest.mark.parametrize("name", ["skein.db", "checkpoints.db", "store.db"])
    def test_that_is_empty_is_made_anew(self, copied: Path, name: str) -> None:
        for end in ("", "-wal", "-shm"):
            (copied / "data" / f"{name}{end}").unlink(missing_ok=True)
        (copied / "data" / name).write_bytes(b"")
        open_skein(make_settings(copied)).close()

    @pytest.mark.parametrize("damage", DAMAGES)
    @pytest.mark.parametrize(
        "command",
        [
            ["verify-log"],
            ["doctor"],
            ["backup", "{out}"],
            ["log-head"],
            ["retention"],
            ["export", "{out}"],
            ["crowd"],
        ],
        ids=lambda command: command[0],
    )
    def test_is_a_sentence_of_every_command(
        self, copied: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], damage: str
    ) -> None:
        DAMAGES[damage](copied / "data" / "skein.db")
        monkeypatch.chdir(copied)
        monkeypatch.setenv("SKEIN_DATA_DIR", str(copied / "data"))
        out = str(copied / "out")
        result = CliRunner().invoke(app, [part.format(out=out) for part in command])
        assert result.exit_code in {1, 2}
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output

    def test_in_its_midst_is_a_sentence_where_it_is_read(self, copied: Path) -> None:
        with another_skein(make_settings(copied)) as skein:
            with skein.database.read() as db:
                threads = [row[0] for row in db.connection().exec_driver_sql("SELECT thread_id FROM thread")]
            viewer = make_person(skein, "boss", "admin")
        overwrite(4_096, 10_000_000)(copied / "data" / "checkpoints.db")
        with another_skein(make_settings(copied)) as skein, pytest.raises(SkeinError) as caught:
            skein.engine.read_states(viewer, threads[0])
        assert_one_sentence(str(caught.value))


DEEP = '{"graphs": ' + '{"a": ' * 100_000 + "1" + "}" * 100_000 + "}"
ONE = {"graphs": {"one": "one.py:graph"}}
MANIFESTS: dict[str, tuple[str | bytes | dict[str, Any], str]] = {
    "deep": (DEEP, "nested too deeply"),
    "large": (json.dumps(ONE) + " " * LARGEST, "larger than 1,000,000 bytes"),
    "many": ({"graphs": dict.fromkeys(map(str, range(MOST_GRAPHS + 1)), "one.py:graph")}, "names 1,001 graphs"),
    "list": ("[]", "no object of graphs"),
    "null": ("null", "no object of graphs"),
    "number": ("1", "no object of graphs"),
    "list of graphs": ({"graphs": [1]}, "no object of graphs"),
    "twice": ('{"graphs": {"a": "x.py:g"}, "graphs": 5}', "no object of graphs"),
    "empty": ("", "no JSON: expecting value in line 1, column 1"),
    "cut": ('{"graphs":\n {"a', "no JSON: unterminated string starting at in line 2"),
    "bytes": (b"\xff\xfe\x00", "no text in UTF-8"),
    "half a character": ('{"graphs": {"\\ud800": "x.py:g"}}', "no text in UTF-8"),
    "long number": ('{"graphs": {"a": ' + "9" * 5_000 + "}}", "number that is too long"),
}
ODD: dict[str, dict[str, Any]] = {
    "path with NUL": {"graphs": {"one": "x\0.py:graph"}},
    "path too long": {"graphs": {"one": "x" * 100_000 + ".py:graph"}},
    "path of a number": {"graphs": {"one": {"path": 5}}},
    "entry of a list": {"graphs": {"one": [1]}},
    "dependencies of a number": ONE | {"dependencies": 5},
    "dependencies with NUL": ONE | {"dependencies": ["\0"]},
    "dependencies too long": ONE | {"dependencies": ["y" * 100_000]},
    "env too long": ONE | {"env": "z" * 100_000},
    "env of a folder": ONE | {"env": "."},
    "env of a list": ONE | {"env": [1]},
    "store of a list": ONE | {"store": {"index": [1]}},
    "store of nonsense": ONE | {"store": {"index": {"dims": "x", "embed": 5}}},
    "skein of a list": ONE | {"skein": [1]},
}


class TestAManifest:
    @pytest.mark.parametrize("name", MANIFESTS)
    def test_that_cannot_be_read_says_why_in_a_sentence(self, tmp_path: Path, name: str) -> None:
        content, sentence = MANIFESTS[name]
        listed = tmp_path / "langgraph.json"
        if isinstance(content, dict):
            content = json.dumps(content)
        listed.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.refused(tmp_path, listed, sentence)

    def test_that_is_no_file_says_so(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path, tmp_path / "missing.json", tmp_path / "pipe"):
            self.refused(tmp_path, path, "there is no such file")

    @pytest.mark.parametrize("name", ODD)
    def test_with_one_odd_thing_opens_with_a_sentence_about_it(self, tmp_path: Path, name: str) -> None:
        listed = tmp_path / "langgraph.json"
        listed.write_text(json.dumps(ODD[name]))
        settings = make_settings(tmp_path, langgraph_json=(listed,))
        agents = Agents(settings, ChatModels(settings))
        [agent] = agents.list()
        assert agent.problem
        for sentence in (agent.problem, *agents.problems):
            assert_one_sentence(sentence)

    def test_with_a_mark_of_its_encoding_is_read(self, tmp_path: Path) -> None:
        listed = tmp_path / "langgraph.json"
        listed.write_bytes(b"\xef\xbb\xbf" + json.dumps(ONE).encode())
        settings = make_settings(tmp_path, langgraph_json=(listed,))
        assert [one.agent_id for one in Agents(settings, ChatModels(settings)).list()] == ["one"]

    def refused(self, folder: Path, listed: Path, sentence: str) -> None:
        settings = make_settings(folder, langgraph_json=(listed,))
        with pytest.raises(BadInputError, match=sentence) as caught:
            Agents(settings, ChatModels(settings))
        assert_one_sentence(str(caught.value))
