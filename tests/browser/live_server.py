"""Skein as people run it: ``streamlit run app.py`` in a process of its own, and a line to it that can be cut.

Accounts are made through core on the server's own database, beside the running server; their cookies are then
signed with the server's own key, so that a test need not go through the door each time.
"""

import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import httpx
from sqlalchemy import func
from sqlmodel import select

from core.access.accounts import create_account, create_first_admin, has_accounts
from core.access.secret_key import load_secret_key
from core.access.sign_in import sign_in
from core.access.viewer import Viewer
from core.access.web.tokens import COOKIE, sign_login
from core.database import Database
from core.tables import RunEvent, Thread, User
from tests.conftest import make_settings

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "correct horse battery"
ADMIN = "the-admin"


class LiveServer:
    """One server on a port and a data folder of its own, which a restart keeps."""

    def __init__(self, folder: Path, *, tokens_per_second: float = 50, **environment: str) -> None:
        self._folder = folder
        self._port = free_port()
        self._environment = environment | {"SKEIN_DEMO_TOKENS_PER_SECOND": str(tokens_per_second)}
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "LiveServer":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill9()

    @property
    def port(self) -> int:
        return self._port

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self._port}"

    @property
    def output(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def setup_link(self) -> str:
        """The link it printed when it found no account."""
        found = re.search(r"http://\S+/setup\?token=\S+", self.output)
        assert found, self.output
        return found[0]

    def start(self) -> None:
        """Start it and return when it says that it is well."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SKEIN_", "OPENAI_"))}
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(self._port)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=kept | {"SKEIN_DATA_DIR": str(self._folder / "data")} | self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_until(self._is_well, what=lambda: self.output)

    def kill9(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()

    def restart(self) -> None:
        self.kill9()
        self.start()

    def cookie_of(self, name: str, role: str = "member") -> dict[str, str]:
        """A fresh login of this account, which is made when it is not there, as a browser's cookie."""
        settings = make_settings(self._folder)
        database = Database(settings.app_database_url)
        try:
            _ensure_account(database, name, role)
            viewer = _sign_in(database, name)
        finally:
            database.close()
        value = sign_login(str(viewer.login_id), secret_key=load_secret_key(settings))
        return {"name": COOKIE, "value": value, "domain": "localhost", "path": "/"}

    def has_stored(self, word: str) -> bool:
        """Whether the stored part of the newest answer has this word in it."""
        newest = select(func.max(Thread.thread_id)).scalar_subquery()
        database = Database(make_settings(self._folder).app_database_url)
        try:
            with database.read() as db:
                payloads = db.exec(select(RunEvent.payload).where(RunEvent.thread_id == newest))
                return any(word in str(payload) for payload in payloads)
        finally:
            database.close()

    @property
    def _log(self) -> Path:
        return self._folder / "server.log"

    def _is_well(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self.output
        with suppress(httpx.TransportError):
            return httpx.get(f"{self.base_url}/_stcore/health").status_code == 200
        return False


class CuttableLine:
    """A TCP proxy before a server; ``cut`` aborts every connection as a lost network does."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def base_url(self) -> str:
        return f"http://localhost:{self._listener.getsockname()[1]}"

    def cut(self) -> None:
        for connection in self._open:
            _abort(connection)
        self._open.clear()

    def close(self) -> None:
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inner, _ = self._listener.accept()
                outer = socket.create_connection(self._target)
                self._open += [inner, outer]
                threading.Thread(target=_pump, args=(inner, outer), daemon=True).start()
                threading.Thread(target=_pump, args=(outer, inner), daemon=True).start()


def _abort(connection: socket.socket) -> None:
    with connection, suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Only a shutdown wakes the thread that reads from it; the close then sends a reset.
        connection.shutdown(socket.SHUT_RD)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(condition: Callable[[], bool], *, seconds: float = 30, what: Callable[[], str] = lambda: "") -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"it did not come about in time {what()}"
        time.sleep(0.05)


def _ensure_account(database: Database, name: str, role: str) -> None:
    if not has_accounts(database):
        create_first_admin(database, name=ADMIN, password=PASSWORD)
    admin = _sign_in(database, ADMIN)
    if _find_user(database, name) is None:
        create_account(admin, database, name=name, password=PASSWORD, role=role)


def _find_user(database: Database, name: str) -> str | None:
    with database.read() as db:
        return db.exec(select(User.user_id).where(User.name == name)).first()


def _sign_in(database: Database, name: str) -> Viewer:
    return sign_in(database, name=name, password=PASSWORD, address="127.0.0.1", browser="tests", days=1)
