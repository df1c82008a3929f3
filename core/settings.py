"""All settings, in one place, read once from the environment (and a ``.env`` file) when the app opens.

Invariant: nothing else in core reads the environment; a wrong value stops the start with one sentence.
"""

import os
import re
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from core.errors import SettingsError
from core.outside import find_secrets

DEMO_MODEL = "demo"
CallText = Literal["full", "hash", "none"]
_ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """What an operator can choose; every field is described in the README's table."""

    model_config = SettingsConfigDict(
        env_prefix="SKEIN_", env_file=".env", extra="ignore", frozen=True, populate_by_name=True
    )

    data_dir: Path = _ROOT / "data"
    database_url: str = ""
    secret_key: SecretStr | None = None

    public_url: str = ""
    allowed_hosts: Annotated[list[str], NoDecode] = ["localhost", "127.0.0.1", "[::1]"]
    trusted_proxies: Annotated[list[str], NoDecode] = ["127.0.0.1", "::1"]
    sign_in_days: float = Field(default=30, gt=0, allow_inf_nan=False)

    openai_api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("OPENAI_API_KEY"))
    openai_base_url: str | None = Field(default=None, validation_alias=AliasChoices("OPENAI_BASE_URL"))
    model: str = ""
    models: Annotated[list[str], NoDecode] = []
    temperature: float = Field(default=0.0, ge=0, le=2)
    model_timeout_seconds: float = Field(default=120, gt=0, allow_inf_nan=False)
    model_max_retries: int = Field(default=2, ge=0)
    echo_reasoning: bool = False
    demo_tokens_per_second: float = Field(default=50, ge=0, allow_inf_nan=False)

    langgraph_json: Annotated[tuple[Path, ...], NoDecode] = (_ROOT / "langgraph.json",)
    open: Path | None = None
    max_messages: int = Field(default=6, ge=2)
    keep_last: int = Field(default=2, ge=1)

    max_runs: int = Field(default=100, ge=1)
    max_runs_per_user: int = Field(default=4, ge=1)
    max_queued_per_user: int = Field(default=50, ge=1)
    lease_seconds: float = Field(default=15, ge=0.2, allow_inf_nan=False)
    flush_seconds: float = Field(default=0.3, gt=0, le=0.4, allow_inf_nan=False)
    drain_seconds: float = Field(default=10, ge=0, allow_inf_nan=False)
    approval_days: float = Field(default=30, ge=0, le=36_500, allow_inf_nan=False)
    compact_after_days: float = Field(default=7, ge=0, le=36_500, allow_inf_nan=False)
    call_text: CallText = "full"
    call_log_bound: int = Field(default=10_000, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("allowed_hosts", "trusted_proxies", "models", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("langgraph_json", mode="before")
    @classmethod
    def _split_paths(cls, value: object) -> object:
        """Several files, separated as the system does it or by commas; a path that has such a sign in it is one."""
        if not isinstance(value, (str, Path)):
            return value
        if Path(value).is_file():
            return (value,)
        parts = [part.strip() for part in re.split(f"[,{re.escape(os.pathsep)}]", str(value)) if part.strip()]
        return parts or (_ROOT / "langgraph.json",)

    @field_validator("openai_api_key", "openai_base_url", "secret_key", "open", mode="before")
    @classmethod
    def _blank_is_unset(cls, value: object) -> object:
        return None if value == "" else value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: list[str]) -> list[str]:
        for one in value:
            try:
                ip_network(one, strict=False)
            except ValueError:
                raise ValueError("each must be an address, or a network such as 10.0.0.0/8") from None
        return value

    @field_validator("data_dir", "langgraph_json", "open")
    @classmethod
    def _whole_paths(cls, value: Path | tuple[Path, ...] | None) -> Path | tuple[Path, ...] | None:
        """The paths as they are meant now: where the process works may change later."""
        if isinstance(value, tuple):
            return tuple(path.absolute() for path in value)
        return None if value is None else value.absolute()

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: str) -> str:
        if not value:
            return value
        try:
            backend = make_url(value).drivername
        except (ArgumentError, ValueError):  # its own words could show a password that stands in the wrong place
            backend = ""
        if backend not in {"sqlite", "postgresql+psycopg"}:
            raise ValueError("it must begin with sqlite:/// or postgresql+psycopg://")
        return _with_whole_path(value) if backend == "sqlite" else value

    @model_validator(mode="after")
    def _fitting(self) -> "Settings":
        if self.keep_last >= self.max_messages:
            raise ValueError("SKEIN_KEEP_LAST must be smaller than SKEIN_MAX_MESSAGES")
        if self.secret_key is not None and len(self.secret_key.get_secret_value()) < 32:
            raise ValueError("SKEIN_SECRET_KEY must have at least 32 characters")
        return self

    @property
    def app_database_url(self) -> str:
        """Where our own tables are; by default a SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{self.data_dir / 'skein.db'}"

    @property
    def app_database_path(self) -> Path | None:
        """The file of our own tables; None on PostgreSQL."""
        url = make_url(self.app_database_url)
        return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None

    @property
    def checkpoints_path(self) -> Path:
        """The SQLite file of LangGraph's checkpoints: apart from ours, so that neither waits for the other."""
        database = make_url(self.app_database_url).database
        return Path(database).with_name("checkpoints.db") if database else self.data_dir / "checkpoints.db"

    @property
    def store_path(self) -> Path:
        """The SQLite file of what graphs remember across threads."""
        return self.checkpoints_path.with_name("store.db")

    @property
    def default_model(self) -> str:
        """The chosen model; without one, a common one if a server is configured, else the offline demo."""
        if self.model:
            return self.model
        return "gpt-4o-mini" if self.openai_api_key or self.openai_base_url else DEMO_MODEL


def _with_whole_path(url: str) -> str:
    """The address of a SQLite file, which may be named from where the process works."""
    named = make_url(url)
    if not named.database or named.database == ":memory:" or named.database.startswith("file:"):
        return url
    return named.set(database=str(Path(named.database).absolute())).render_as_string(hide_password=False)


def share_model_server(env_file: Path = Path(".env")) -> None:
    """Put the model server that ``.env`` names into the environment, where a graph's own client looks for it.

    Only for a process that is Skein; what is set there already stays.
    """
    if not env_file.is_file():
        return
    named = dotenv_values(env_file)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        if value := named.get(name):
            os.environ.setdefault(name, value)


def load_settings(**overrides: object) -> Settings:
    """Read the settings; SettingsError names each one that is wrong, in one sentence, and never its value."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        problems = "; ".join(_problem(item["loc"], item["msg"]) for item in error.errors())
        raise SettingsError(f"Please correct the settings: {problems}.") from None


def _problem(place: tuple[int | str, ...], message: str) -> str:
    text = message.removeprefix("Value error, ")
    if not place:
        return text
    name = str(place[0]).upper()
    return f"{name if name.startswith('OPENAI_') else f'SKEIN_{name}'}: {text[0].lower()}{text[1:]}"


def secrets_of(settings: Settings) -> list[str]:
    """What of the settings must never be shown: keys, and passwords in addresses."""
    fields = {name: getattr(settings, name) for name in Settings.model_fields}
    keys = [value.get_secret_value() for value in fields.values() if isinstance(value, SecretStr)]
    return keys + find_secrets({name: value for name, value in fields.items() if isinstance(value, str)})
