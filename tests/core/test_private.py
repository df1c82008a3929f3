"""What Skein stores is its own user's alone, and how many files it may open."""

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from core.cli import app
from core.private import list_open_to_others, mend_rights, raise_file_limit, tabs_for
from core.settings import Settings
from tests.conftest import make_person, make_settings
from tests.core.support import another_skein, answered, ask

pytestmark = pytest.mark.skipif(os.name != "posix", reason="rights are of another kind there")


@pytest.fixture(autouse=True)
def _generous_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def use(settings: Settings, folder: Path) -> None:
    """Have Skein store what it can."""
    with another_skein(settings) as skein:
        ada = make_person(skein, "ada", "admin")
        answered(skein, ada, ask(skein, ada, "hello").thread_id)
        skein.agents._store.put(("things",), "key", {"a": 1})
        assert_private(settings.data_dir)  # with the logs of all databases
    environment = {"SKEIN_DATA_DIR": str(settings.data_dir)}
    os.umask(0o022)
    for command in (["backup", str(folder / "backup")], ["export", str(folder / "bundle")]):
        CliRunner().invoke(app, command, env=environment)


def assert_private(folder: Path) -> None:
    found = [folder, *folder.rglob("*")]
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in found} == {
        path.name: "0o700" if path.is_dir() else "0o600" for path in found
    }


class TestRights:
    def test_of_all_that_is_made_are_its_users_alone(self, tmp_path: Path) -> None:
        settings = make_settings(tmp_path)
        use(settings, tmp_path)
        assert {"skein.db", "checkpoints.db", "store.db", "secret.key"} <= {
            path.name for path in settings.data_dir.iterdir()
        }
        for folder in (settings.data_dir, tmp_path / "backup"):
            assert_private(folder)

    def test_of_what_was_there_before_are_mended_at_start(self, tmp_path: Path) -> None:
        settings = make_settings(tmp_path)
        use(settings, tmp_path)
        (settings.data_dir / "exports" / "old").mkdir(parents=True)
        (settings.data_dir / "exports" / "old" / "calls.csv").write_text("a,b")
        for path in [settings.data_dir, *settings.data_dir.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        assert settings.data_dir / "skein.db" in list_open_to_others(settings)
        with another_skein(settings):
            assert_private(settings.data_dir)

    def test_of_what_is_anothers_are_left_alone_and_said(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        settings = make_settings(tmp_path)
        settings.data_dir.mkdir()
        key = settings.data_dir / "secret.key"
        key.write_text("x" * 64)
        monkeypatch.setattr(os, "geteuid", lambda: 4_711)
        structlog.reset_defaults()
        mend_rights(settings)
        assert stat.S_IMODE(key.stat().st_mode) == 0o644
        assert "belongs to another user" in capsys.readouterr().out

    def test_of_a_folder_that_is_shared_on_purpose_and_of_links_are_left_alone(self, tmp_path: Path) -> None:
        settings = make_settings(tmp_path)
        elsewhere = tmp_path / "elsewhere.txt"
        elsewhere.write_text("somebody's")
        (settings.data_dir / "exports").mkdir(parents=True)
        (settings.data_dir / "exports" / "link").symlink_to(elsewhere)
        settings.data_dir.chmod(0o1777)
        mend_rights(settings)
        assert stat.S_IMODE(settings.data_dir.stat().st_mode) == 0o1777
        assert stat.S_IMODE(elsewhere.stat().st_mode) == 0o644


class TestFiles:
    def test_as_many_as_the_system_allows_may_be_open(self) -> None:
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
            assert raise_file_limit() == resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)

    def test_the_doctor_says_for_how_many_tabs_that_is_enough(self, tmp_path: Path) -> None:
        settings = make_settings(tmp_path)
        use(settings, tmp_path)
        (settings.data_dir / "secret.key").chmod(0o644)
        said = CliRunner().invoke(app, ["doctor"], env={"SKEIN_DATA_DIR": str(settings.data_dir)}).output
        assert f"about {tabs_for(raise_file_limit() or 0):,} tabs" in said
        assert f"Others may read {settings.data_dir / 'secret.key'}" in said.replace("\n", "")
