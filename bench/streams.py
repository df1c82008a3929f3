"""Answers as tabs see them: a live server in a process of its own, and many websocket tabs that speak its protocol.

Every tab signs in as an account of its own, asks for so many numbered words, and checks that it got just those.
Counted for the server is its CPU time from the first message to the last answer, page drawing and all.
The tabs run here, in one process beside the server: on few cores they take a share of it, which is shown.

    python -m bench.streams --tabs 50 --arrive spread,burst
    python -m bench.streams --tabs 50 --arrive burst --baseline
    python -m bench.streams --tabs 20 --model http
    python -m bench.streams --wire
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import psutil
import uvloop

from bench.tabs import Answer, Tab
from core.access.secret_key import load_secret_key
from core.access.web.tokens import COOKIE, sign_login
from core.database import Database
from core.ids import new_login_id, new_user_id
from core.settings import Settings, load_settings
from core.tables import Login, User, utc_now

_ROOT = Path(__file__).resolve().parent.parent
_START_SECONDS = 60
SPREAD_SECONDS = 2.0
_OPENING_AT_ONCE = 4
_SETTLE_SECONDS = 1.0

# From docs: what each case is to reach; a case without one is only shown.
TARGETS = {
    ("skein", 50, "spread"): "first p50 <= 20, p95 <= 40",
    ("skein", 50, "burst"): "first p50 <= 250, p95 <= 450, and below plain over SQLite; CPU <= 0.18",
    ("skein", 100, "spread"): "first p95 <= 60; gap p95 <= 150",
    ("skein", 100, "burst"): "first p95 <= 800; gap p95 <= 150",
    ("skein", 200, "slow"): "first p95 <= 150; gap p95 <= 160; none lost",
}
ARRIVE = {"burst": 0.0, "spread": SPREAD_SECONDS, "slow": 8.0}


@dataclass(frozen=True)
class Case:
    """One measurement: who serves, how many tabs, how they arrive, what they ask."""

    app: str
    tabs: int
    arrive: str
    tokens: int
    pace: float
    model: str

    @property
    def name(self) -> str:
        return f"{self.app}/{self.model} {self.tabs} {self.arrive}"


@dataclass(frozen=True)
class Seen:
    """What all tabs saw, and what it cost; CPU in seconds."""

    answers: list[Answer]
    server_cpu: float
    tabs_cpu: float
    seconds: float


# -- the servers ----------------------------------------------------------------------------------------


@contextmanager
def serve(case: Case, settings: Settings, model_url: str, extra: list[str]) -> Iterator[tuple[int, psutil.Process]]:
    """The app on a free port; gives the port and the process."""
    port = _free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("SKEIN_", "OPENAI_"))},
        "PYTHONPATH": str(_ROOT),
        "SKEIN_DATA_DIR": str(settings.data_dir),
        "SKEIN_DEMO_TOKENS_PER_SECOND": str(case.pace),
        "SKEIN_MAX_RUNS": str(max(100, 2 * case.tabs)),
        "SKEIN_LOG_LEVEL": "WARNING",
        "OPENAI_BASE_URL": model_url,
        "OPENAI_API_KEY": "not-a-key" if model_url else "",
        "PLAIN_SAVER": case.app.removeprefix("plain-"),
    }
    script = "app.py" if case.app == "skein" else "bench/plain_app.py"
    command = [*extra, sys.executable, "-m", "streamlit", "run", script, "--server.port", str(port)]
    log = (settings.data_dir / "server.log").open("wb")
    process = subprocess.Popen(command, cwd=_ROOT, env=environment, stdout=log, stderr=log)
    try:
        _wait_until_healthy(port, process, settings.data_dir / "server.log")
        yield port, psutil.Process(process.pid)
    finally:
        _end(process)
        log.close()


@contextmanager
def serve_model(case: Case) -> Iterator[str]:
    """The Chat Completions server in a process of its own, when this case asks one; gives its address."""
    if case.model != "http":
        yield ""
        return
    command = [sys.executable, "-m", "tests.model_server", "--tokens-per-second", str(case.pace)]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        _end(process)


def _wait_until_healthy(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"The server did not start:\n{log.read_text()[-2_000:]}")


def _end(process: "subprocess.Popen[bytes] | subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def make_cookies(settings: Settings, count: int) -> list[str]:
    """So many accounts, each signed in once; gives the cookie of each."""
    database, key = Database(settings.app_database_url), load_secret_key(settings)
    database.migrate()
    people = [(new_user_id(), new_login_id()) for _ in range(count)]
    users = [User(user_id=user, name=f"person {at}", role="member") for at, (user, _) in enumerate(people)]
    until = utc_now() + timedelta(days=1)
    logins = [Login(login_id=login, user_id=user, expires_at=until) for user, login in people]
    database.write(lambda db: (db.add_all(users), db.flush(), db.add_all(logins)))
    database.close()
    return [f"{COOKIE}={sign_login(login, secret_key=key)}" for _, login in people]


# -- one case -------------------------------------------------------------------------------------------


def measure(case: Case, extra: list[str]) -> Seen:
    """Start the servers afresh, let all tabs ask once, and stop everything."""
    with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder, serve_model(case) as model_url:
        settings = load_settings(data_dir=Path(folder), _env_file=None)
        cookies = make_cookies(settings, case.tabs + 1) if case.app == "skein" else [""] * (case.tabs + 1)
        with serve(case, settings, model_url, extra) as (port, process):
            return uvloop.run(_ask_all(case, port, cookies, process))


async def _ask_all(case: Case, port: int, cookies: list[str], server: psutil.Process) -> Seen:
    await _warm_up(Tab(port, cookies[-1]))
    tabs = [Tab(port, cookie) for cookie in cookies[: case.tabs]]
    await _open_all(tabs)
    await asyncio.sleep(_SETTLE_SECONDS)
    began, before, own = time.perf_counter(), _cpu(server), time.process_time()
    step = ARRIVE[case.arrive] / case.tabs
    answers = await asyncio.gather(*(_ask(case, tab, at * step) for at, tab in enumerate(tabs)))
    seen = Seen(answers, _cpu(server) - before, time.process_time() - own, time.perf_counter() - began)
    await asyncio.gather(*(tab.close() for tab in tabs))
    return seen


async def _warm_up(tab: Tab) -> None:
    """One answer that is not counted: the first one imports half of what is installed."""
    await tab.open()
    await tab.ask("5 tokens")
    await tab.close()


async def _open_all(tabs: list[Tab]) -> None:
    few = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def open_one(tab: Tab) -> None:
        async with few:
            await tab.open()

    await asyncio.gather(*(open_one(tab) for tab in tabs))


async def _ask(case: Case, tab: Tab, delay: float) -> Answer:
    await asyncio.sleep(delay)
    expected = case.tokens / case.pace if case.pace else 0
    return await tab.ask(f"{case.tokens} tokens", patience=60 + 2 * expected)


def _cpu(process: psutil.Process) -> float:
    every = [process, *process.children(recursive=True)]
    return sum(sum(one.cpu_times()[:2]) for one in every)


# -- the table ------------------------------------------------------------------------------------------


def head() -> str:
    return (
        f"{'app/model tabs arrival':32}{'first p50':>10}{'p95 ms':>8}{'gap p50':>9}{'p95 ms':>8}{'max':>7}"
        f"{'KiB/answer':>12}{'of it text':>11}{'CPU s/1k':>10}{'lost':>6}{'wrong':>6}{'tabs CPU':>9}  target"
    )


def row(case: Case, seen: Seen) -> str:
    """One line of the table; ``wrong`` counts words doubled, out of order or foreign."""
    firsts = sorted(answer.first for answer in seen.answers if answer.first is not None)
    gaps = sorted(gap for answer in seen.answers for gap in answer.gaps)
    lost = sum(answer.lost(case.tokens) for answer in seen.answers)
    wrong = sum(answer.doubled(case.tokens) for answer in seen.answers)
    wire = sum(answer.wire_bytes for answer in seen.answers) / case.tabs / 1024
    text = sum(answer.text_bytes for answer in seen.answers) / case.tabs / 1024
    cpu = seen.server_cpu / (case.tabs * case.tokens / 1000)
    return (
        f"{case.name:32}{_at(firsts, 0.5):10.0f}{_at(firsts, 0.95):8.0f}{_at(gaps, 0.5):9.0f}{_at(gaps, 0.95):8.0f}"
        f"{_at(gaps, 1):7.0f}{wire:12.0f}{text:11.0f}{cpu:10.2f}{lost:6}{wrong:6}"
        f"{seen.tabs_cpu / seen.seconds:8.0%}  {TARGETS.get((case.app, case.tabs, case.arrive), '')}"
    )


def _at(values: list[float], part: float) -> float:
    return values[min(int(len(values) * part), len(values) - 1)] * 1000 if values else float("nan")


def show(case: Case, extra: list[str]) -> None:
    seen = measure(case, extra)
    print(row(case, seen), flush=True)
    problems = {problem for answer in seen.answers for problem in answer.problems}
    for problem in sorted(problems):
        print(f"    ! {problem}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tabs", default="1,50")
    parser.add_argument("--arrive", default="spread,burst", help=f"some of: {','.join(ARRIVE)}")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--pace", type=float, default=50, help="tokens per second of the model")
    parser.add_argument("--model", choices=["demo", "http"], default="demo")
    parser.add_argument(
        "--baseline", choices=["memory", "sqlite"], nargs="?", const="memory", help="plain Streamlit"
    )
    parser.add_argument(
        "--wire", action="store_true", help="only the bytes of a 4,000-token answer, at 50/s and 500/s"
    )
    parser.add_argument("--under", default="", help="a command to run the server under, such as a profiler's")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers are stopped then too
    app = f"plain-{given.baseline}" if given.baseline else "skein"
    print(head(), flush=True)
    if given.wire:
        for pace, target in ((500.0, "90 KiB"), (50.0, "300 KiB")):
            print(f"4,000 tokens at {pace:g}/s (target: at most {target} per answer)", flush=True)
            show(Case(app, 1, "burst", 4_000, pace, given.model), given.under.split())
        return
    for tabs in map(int, given.tabs.split(",")):
        for arrive in given.arrive.split(","):
            show(Case(app, tabs, arrive, given.tokens, given.pace, given.model), given.under.split())


if __name__ == "__main__":
    main()
