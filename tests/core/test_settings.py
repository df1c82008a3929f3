"""Settings: each wrong value stops the start with a sentence that names the setting and never the value."""

from pathlib import Path

import pytest

from core.errors import SettingsError
from core.settings import Settings, load_settings

BAD = {
    "SKEIN_DATABASE_URL": ["mysql://u:hunter2@h/db", "postgresql://u:hunter2@h/db", "hunter2"],
    "SKEIN_SECRET_KEY": ["hunter2"],
    "SKEIN_SIGN_IN_DAYS": ["0", "-1", "hunter2"],
    "SKEIN_TEMPERATURE": ["-0.1", "2.1", "nan", "hunter2"],
    "SKEIN_MODEL_TIMEOUT_SECONDS": ["0", "hunter2"],
    "SKEIN_MODEL_MAX_RETRIES": ["-1", "1.5", "hunter2"],
    "SKEIN_DEMO_TOKENS_PER_SECOND": ["-1", "hunter2"],
    "SKEIN_MAX_MESSAGES": ["1", "hunter2"],
    "SKEIN_KEEP_LAST": ["0", "7", "hunter2"],
    "SKEIN_MAX_RUNS": ["0", "hunter2"],
    "SKEIN_MAX_RUNS_PER_USER": ["0", "hunter2"],
    "SKEIN_MAX_QUEUED_PER_USER": ["0", "hunter2"],
    "SKEIN_LEASE_SECONDS": ["0.1", "nan", "hunter2"],
    "SKEIN_FLUSH_SECONDS": ["0", "0.41", "hunter2"],
    "SKEIN_DRAIN_SECONDS": ["-1", "hunter2"],
    "SKEIN_LOG_LEVEL": ["LOUD", "hunter2"],
}


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        *(f"SKEIN_{field.upper()}" for field in Settings.model_fields),
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
    ]:
        monkeypatch.delenv(name, raising=False)


def load(**changes: object) -> Settings:
    return load_settings(_env_file=None, **changes)


class TestAWrongValue:
    @pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
    def test_is_told_by_the_settings_name_and_not_shown(
        self, name: str, value: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, value)
        with pytest.raises(SettingsError, match=name) as caught:
            load()
        assert "hunter2" not in str(caught.value)
        assert str(caught.value).startswith("Please correct the settings: ")
        assert str(caught.value).count("\n") == 0
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__

    def test_of_a_database_address_does_not_show_a_password_taken_for_a_port(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SKEIN_DATABASE_URL", "postgresql+psycopg://h:hunter2@x:hunter2/db")
        with pytest.raises(SettingsError, match="SKEIN_DATABASE_URL") as caught:
            load()
        assert "hunter2" not in str(caught.value)

    @pytest.mark.parametrize("name", ["SKEIN_LEASE_SECONDS", "SKEIN_SIGN_IN_DAYS", "SKEIN_DRAIN_SECONDS"])
    def test_may_be_a_time_without_end(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(name, "inf")
        with pytest.raises(SettingsError, match=name):
            load()

    def test_is_told_together_with_all_others(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SKEIN_MAX_RUNS", "0")
        monkeypatch.setenv("SKEIN_LOG_LEVEL", "LOUD")
        with pytest.raises(SettingsError, match=r"SKEIN_MAX_RUNS: .*; SKEIN_LOG_LEVEL: "):
            load()


class TestWhatIsChosen:
    def test_is_read_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SKEIN_MAX_RUNS", "7")
        monkeypatch.setenv("SKEIN_ALLOWED_HOSTS", "a.example, b.example,")
        settings = load()
        assert (settings.max_runs, settings.allowed_hosts) == (7, ["a.example", "b.example"])

    def test_is_read_from_an_env_file(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("SKEIN_MAX_RUNS=8\nOPENAI_API_KEY=\n")
        settings = load_settings(_env_file=tmp_path / ".env")
        assert (settings.max_runs, settings.openai_api_key) == (8, None)

    def test_never_shows_a_secret(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_API_KEY", "hunter2")
        monkeypatch.setenv("SKEIN_SECRET_KEY", "hunter2" * 8)
        assert "hunter2" not in repr(load())

    @pytest.mark.parametrize(
        ("changes", "model"),
        [
            ({}, "demo"),
            ({"openai_api_key": "key"}, "gpt-4o-mini"),
            ({"openai_base_url": "http://localhost:1/v1"}, "gpt-4o-mini"),
            ({"openai_api_key": "key", "model": "mine"}, "mine"),
        ],
    )
    def test_decides_the_model(self, changes: dict[str, object], model: str) -> None:
        assert load(**changes).default_model == model

    def test_puts_both_sqlite_files_side_by_side(self, tmp_path: Path) -> None:
        here = load(data_dir=tmp_path)
        assert here.app_database_url == f"sqlite:///{tmp_path / 'skein.db'}"
        assert here.checkpoints_path == tmp_path / "checkpoints.db"
        there = load(database_url=f"sqlite:///{tmp_path / 'b' / 'app.db'}")
        assert there.checkpoints_path == tmp_path / "b" / "checkpoints.db"

    def test_means_the_same_place_wherever_the_process_works_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        settings = load(data_dir="here", open="other.db", langgraph_json="agents.json")
        other = load(database_url="sqlite:///app.db")
        monkeypatch.chdir("/")
        assert (settings.data_dir, settings.open, settings.langgraph_json) == (
            tmp_path / "here",
            tmp_path / "other.db",
            (tmp_path / "agents.json",),
        )
        assert other.app_database_url == f"sqlite:///{tmp_path / 'app.db'}"
        assert other.checkpoints_path == tmp_path / "checkpoints.db"
