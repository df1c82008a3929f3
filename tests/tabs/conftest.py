"""A live server inside the tests' own process, so that what a tab costs can be counted, and tabs of it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location

import pytest
import uvicorn
from streamlit.runtime import Runtime
from streamlit.runtime.app_session import AppSession

from bench.tabs import Tab
from core.access.viewer import Viewer
from core.access.web.tokens import COOKIE, sign_login
from core.ids import new_login_id, new_user_id
from core.settings import load_settings
from core.skein import Skein, open_skein, use_skein
from core.tables import Login, utc_now
from tests.browser.live_server import ROOT, free_port, wait_until
from tests.conftest import copy_sqlite, make_person

PACE = 200
_SCRIPT = "ScriptRunner.scriptThread"
_ANYBODY = Viewer(new_user_id(), "looks on", "admin")
OpenTab = Callable[..., "asyncio.Future[Tab]"]


@dataclass(frozen=True)
class Served:
    """The Skein behind the server, and the port that the tabs connect to."""

    skein: Skein
    port: int

    def make_person(self, name: str) -> tuple[Viewer, str]:
        """An account with the cookie of a fresh login."""
        viewer = replace(make_person(self.skein, name), login_id=new_login_id())
        return viewer, self._open(viewer)

    def sign_in(self, viewer: Viewer) -> str:
        """The cookie of one more login of the same person."""
        return self._open(replace(viewer, login_id=new_login_id()))

    def _open(self, viewer: Viewer) -> str:
        expires_at = utc_now() + timedelta(days=1)
        login_id, user_id = str(viewer.login_id), viewer.user_id
        self.skein.database.write(
            lambda db: db.add(Login(login_id=login_id, user_id=user_id, expires_at=expires_at))
        )
        return f"{COOKIE}={sign_login(login_id, secret_key=self.skein.secret_key)}"

    async def quiet(self) -> None:
        """Wait until no page is drawn and no run goes on, so that what is counted next is nobody else's.

        A tab that is closed lets its page come to its end, and a run goes on without any tab.
        """
        while self.skein.agents.is_loading or self.is_drawing() or self.skein.engine.active(_ANYBODY):
            await asyncio.sleep(0.01)

    def sessions(self) -> list[AppSession]:
        """Those of tabs that are here, or have left and may come back."""
        return [one.session for one in Runtime.instance()._session_mgr.list_sessions()]

    def is_drawing(self) -> bool:
        """Whether the script of any tab runs."""
        return any(thread.name == _SCRIPT for thread in threading.enumerate())

    @asynccontextmanager
    async def tabs(self, count: int, cookie: str, **where: str) -> AsyncIterator[list[Tab]]:
        """So many tabs of one person, opened."""
        tabs = [Tab(self.port, cookie, **where) for _ in range(count)]
        for tab in tabs:
            await tab.open()
        try:
            yield tabs
        finally:
            for tab in tabs:
                await tab.close()


@pytest.fixture(scope="package")
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for all: each test has people of its own on it."""
    folder = tmp_path_factory.mktemp("tabs")
    copy_sqlite(request, folder / "data")
    skein = open_skein(
        load_settings(
            data_dir=folder / "data",
            demo_tokens_per_second=PACE,
            log_level="ERROR",
            max_runs=200,
            max_runs_per_user=200,
            _env_file=None,
        )
    )
    use_skein(skein)
    # Anew each time: a server that has stopped does not start again.
    spec = spec_from_file_location("app_of_the_tests", ROOT / "app.py")
    entry = module_from_spec(spec)
    spec.loader.exec_module(entry)
    app, port = entry.app, free_port()
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", ws="websockets-sansio")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    served = Served(skein, port)
    yield served
    # A page that is cut off leaves its loop open.
    wait_until(lambda: not any(session._scriptrunner for session in served.sessions()))
    server.should_exit = True
    thread.join()
    use_skein(None)
    Runtime._instance = None
