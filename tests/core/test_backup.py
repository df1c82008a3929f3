"""Backup while Skein runs, checked, and brought back where it may be; nothing is ever half there."""

import json
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from core.access.viewer import Viewer
from core.errors import BadInputError, BusyError, ConflictError, NotFoundError, SkeinError
from core.records import backup, doctor
from core.records.backup import back_up, check_backup, restore
from core.records.doctor.house import open_house
from core.settings import Settings
from core.skein import open_skein
from tests.conftest import make_person
from tests.core.support import OnSqlite, answered, ask, graph_settings

Person = Callable[..., Viewer]


class TestOnSqlite(OnSqlite):
    @pytest.fixture
    def settings(self, database_url: str, tmp_path: Path) -> Settings:
        return graph_settings(tmp_path, database_url)

    @pytest.fixture
    def elsewhere(self, tmp_path: Path) -> Settings:
        url = f"sqlite:///{tmp_path / 'other' / 'skein.db'}"
        return graph_settings(tmp_path / "other", url)

    @pytest.fixture
    def made(self, settings: Settings, tmp_path: Path) -> Path:
        """A backup of a Skein with one answer in it, which is closed again."""
        skein = open_skein(settings)
        try:
            alice = make_person(skein, "alice")
            answered(skein, alice, ask(skein, alice, "remember me", agent="echo").thread_id)
        finally:
            skein.close()
        return back_up(settings, tmp_path / "backup").folder

    def test_what_was_backed_up_while_runs_wrote_on_can_be_gone_on_with(
        self, settings: Settings, elsewhere: Settings, tmp_path: Path
    ) -> None:
        skein = open_skein(settings)
        try:
            alice = make_person(skein, "alice")
            turn = answered(skein, alice, ask(skein, alice, "remember me", agent="echo").thread_id)
            stop, said = threading.Event(), []

            def talk() -> None:
                while not stop.is_set():
                    said.append(answered(skein, alice, ask(skein, alice, "more", agent="echo").thread_id))

            talking = threading.Thread(target=talk)
            talking.start()
            held = ask(skein, alice, "runs", agent="held")
            backups = [back_up(settings, tmp_path / f"backup{number}") for number in range(3)]
            stop.set()
            talking.join()
            assert all(one.status == "done" for one in said)
            skein.engine.stop(alice, held.thread_id)
            answered(skein, alice, held.thread_id)
        finally:
            skein.close()
        check_backup(backups[-1].folder)
        restore(elsewhere, backups[-1].folder)
        with open_house(elsewhere) as house:
            left = {found.kind for found in doctor.examine(house)}
        assert left <= {"stuck-run", "session-count-differs"}
        again = open_skein(elsewhere)
        try:
            assert answered(again, alice, held.thread_id).status in {"lost", "stopped"}
            below = ask(again, alice, "and now", under=turn, agent="echo")
            assert answered(again, alice, below.thread_id).status == "done"
        finally:
            again.close()

    def test_a_backup_has_no_key_and_no_exports_and_knows_its_files(self, settings: Settings, made: Path) -> None:
        assert {path.name for path in made.iterdir()} == {"skein.db", "checkpoints.db", "store.db", "manifest.json"}
        key = (settings.data_dir / "secret.key").read_bytes()
        assert not any(key.strip() in path.read_bytes() for path in made.iterdir())
        assert [file.name for file in check_backup(made).files] == ["skein.db", "checkpoints.db", "store.db"]
        assert not list(made.parent.glob(".*draft"))

    def test_a_changed_byte_is_found(self, made: Path, elsewhere: Settings) -> None:
        for name in ("skein.db", "checkpoints.db"):
            whole = (made / name).read_bytes()
            (made / name).write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])
            with pytest.raises(BadInputError, match="not whole"):
                restore(elsewhere, made)
            (made / name).write_bytes(whole)
        assert not elsewhere.checkpoints_path.exists()

    @pytest.mark.parametrize(
        ("manifest", "error"),
        [
            ("{", BadInputError),
            ("[]", BadInputError),
            ('{"files": 3, "made_at": ""}', BadInputError),
            ('{"format": "skein.backup", "version": 99, "made_at": "", "files": []}', BadInputError),
            (
                '{"format": "skein.backup", "version": 1, "made_at": "", "files": [{"name": "../x", "bytes": 0}]}',
                BadInputError,
            ),
            (None, NotFoundError),
        ],
    )
    def test_what_is_no_backup_is_refused_in_a_sentence(
        self, made: Path, manifest: str | None, error: type[SkeinError]
    ) -> None:
        path = made / "manifest.json"
        path.unlink() if manifest is None else path.write_text(manifest)
        with pytest.raises(error):
            check_backup(made)

    def test_a_damaged_database_is_not_backed_up(self, settings: Settings, tmp_path: Path) -> None:
        open_skein(settings).close()
        path = settings.checkpoints_path
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
            connection.executemany(
                "INSERT INTO writes (thread_id, checkpoint_id, task_id, idx, channel, value) "
                "VALUES (?, 'c', 't', ?, 'x', ?)",
                [(f"thread{number}", number, b"x" * 900) for number in range(200)],
            )
            connection.commit()
        whole = bytearray(path.read_bytes())
        whole[4096 * 8 : 4096 * 12] = b"\xff" * 4096 * 4
        path.write_bytes(whole)
        with pytest.raises(BadInputError):
            back_up(settings, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()

    def test_nothing_is_written_over(self, settings: Settings, made: Path) -> None:
        with pytest.raises(ConflictError, match="already"):
            back_up(settings, made)
        with pytest.raises(ConflictError, match="--replace"):
            restore(settings, made)

    def test_a_database_that_is_replaced_is_kept_beside(self, settings: Settings, made: Path) -> None:
        with closing(sqlite3.connect(settings.data_dir.parent / "skein.db")) as connection:
            connection.execute("UPDATE conversation SET title = 'since then'")
            connection.commit()
        restored = restore(settings, made, replace=True)
        titles = []
        for path in (settings.data_dir.parent / "skein.db", restored.kept[0]):
            with closing(sqlite3.connect(path)) as connection:
                titles.append(connection.execute("SELECT title FROM conversation").fetchall())
        assert titles == [[("remember me",)], [("since then",)]]

    def test_none_is_brought_back_under_an_open_skein(self, settings: Settings, made: Path) -> None:
        skein = open_skein(settings)
        try:
            with pytest.raises(BusyError, match="stop it first"):
                restore(settings, made, replace=True)
        finally:
            skein.close()
        restore(settings, made, replace=True)

    def test_the_doctor_mends_what_the_files_disagree_on(
        self, settings: Settings, made: Path, elsewhere: Settings
    ) -> None:
        """As when a thread begins between the copies of the two files."""
        with closing(sqlite3.connect(made / "checkpoints.db")) as connection:
            connection.execute(
                "INSERT INTO writes (thread_id, checkpoint_id, task_id, idx, channel, value) "
                "VALUES ('thread_later', 'c', 't', 0, 'x', NULL)"
            )
            connection.commit()
        manifest = json.loads((made / "manifest.json").read_text())
        path = made / "checkpoints.db"
        manifest["files"][1] |= {"bytes": path.stat().st_size, "sha256": backup._digest(path)}
        (made / "manifest.json").write_text(json.dumps(manifest))
        restored = restore(elsewhere, made)
        assert [(one.kind, one.ids) for one in restored.findings] == [
            ("checkpoints-without-thread", ("thread_later",))
        ]


def test_postgresql_is_told_where_to_read_on(tmp_path: Path) -> None:
    settings = graph_settings(tmp_path, "postgresql+psycopg://nobody@localhost/none")
    for deed in (lambda: back_up(settings, tmp_path / "x"), lambda: restore(settings, tmp_path / "x")):
        with pytest.raises(SkeinError):
            deed()
