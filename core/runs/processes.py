"""Processes of projects: one for each that asks for it, which carries out its agents' runs and nothing else.

Such a process opens Skein on the same database, with an engine whose share is that project's agents. It is told
over its standard input what to open, then to look for what was left for it; when that is closed, it ends.
Invariant: a process that ended is begun anew until this one closes, and none outlives this one.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import structlog
from pydantic import SecretStr

from core.settings import Settings, load_settings

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = (sys.executable, "-P", "-m", "core.cli", "serve-project")
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_MARGIN = 5.0
OPENED = "opened"
log = structlog.get_logger("skein.runs")


@dataclass(frozen=True)
class Standing:
    """How a project's process stands, why it did not open (``reason``), and how often it was begun anew."""

    state: Literal["starting", "running", "failing"]
    restarts: int = 0
    reason: str = ""

    def describe(self) -> str:
        """A sentence without its beginning, which is the project's name."""
        now = {"starting": "is starting", "running": "is running", "failing": "does not start"}[self.state]
        reason = f" ({self.reason})" if self.reason else ""
        again = {0: "", 1: "; it was begun anew once"}.get(
            self.restarts, f"; it was begun anew {self.restarts} times"
        )
        return f"has a process of its own, which {now}{reason}{again}."


class ProjectProcess:
    """Keeps the process of one ``langgraph.json`` alive from ``open`` to ``close``."""

    def __init__(self, file: Path, settings: Settings, environment: Mapping[str, str]) -> None:
        self.standing = Standing("starting")
        self._told = json.dumps({"file": str(file), "settings": _to_plain(settings)})
        self._patience = settings.drain_seconds + _MARGIN
        paths = [str(_ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        self._environment = {**environment, "PYTHONPATH": os.pathsep.join(paths)}
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="skein-process", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def look(self) -> None:
        """Let it look for what was left for it; one that is not there looks when it begins."""
        with self._lock:
            self._write("look")

    def stop(self) -> None:
        """Let it finish what runs, as at a shutdown, and then end."""
        with self._lock:
            self._closing.set()
            if self._process is not None and self._process.stdin is not None:
                with suppress(OSError):
                    self._process.stdin.close()

    def close(self) -> None:
        """Wait until it has ended, and end it where it does not by itself."""
        self.stop()
        process = self._process
        if process is not None:
            try:
                process.wait(self._patience)
            except subprocess.TimeoutExpired:
                process.kill()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def _keep(self) -> None:
        pause = _FIRST_PAUSE
        while not self._closing.is_set():
            try:
                reason = self._run_once()
            except OSError as error:
                reason = str(error)
            if self._closing.is_set():
                return
            was_open = self.standing.state == "running"
            log.warning("project_process_ended", was_open=was_open, reason=reason)
            restarts = self.standing.restarts + 1
            self.standing = Standing("starting" if was_open else "failing", restarts, "" if was_open else reason)
            pause = _FIRST_PAUSE if was_open else min(pause * 2, _LONGEST_PAUSE)
            self._closing.wait(pause)

    def _run_once(self) -> str:
        """Begin the process, and come back when it has ended; gives why, as far as it said so."""
        with self._lock:
            if self._closing.is_set():
                return ""
            # A session of its own: what is typed at the terminal is for this process, which then tells it.
            process = self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                start_new_session=True,
            )
            self._write(self._told)
        said = self._hear(process)
        code = process.wait()
        with self._lock:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        return said or f"it ended with code {code}"

    def _hear(self, process: "subprocess.Popen[bytes]") -> str:
        """Wait until it has opened, or says why it does not."""
        said = process.stdout.readline().decode("utf-8", "replace").strip() if process.stdout is not None else ""
        if said != OPENED:
            return said
        self.standing = Standing("running", self.standing.restarts)
        return ""

    def _write(self, what: str) -> None:
        process = self._process
        if process is None or process.stdin is None or process.stdin.closed:
            return
        with suppress(OSError):  # it has just ended, and looks when it is begun anew; or so much waits already
            process.stdin.write(f"{what}\n".encode())
            os.set_blocking(process.stdin.fileno(), False)


def read_told(line: str) -> tuple[Path, Settings]:
    """What a process of a project is told first: its file, and the settings of the one that began it."""
    told = json.loads(line)
    return Path(told["file"]), load_settings(**told["settings"], _env_file=None)


def _to_plain(settings: Settings) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        elif isinstance(value, Path):
            value = str(value)
        elif isinstance(value, tuple):
            value = [str(one) for one in value]
        plain[name] = value
    return plain
