"""Turns per second: the engine against the bare graph, in one run, round after round in turn.

A bare turn is ``graph.astream`` (modes messages and updates) on one loop, continuing a conversation on its thread.
An engine's turn is what a page causes: ``start`` (message, thread and lease committed), fork, run, events, end, and
``attach`` to the end from a thread per conversation, as Streamlit has one per tab. Everything that these threads
cost is counted for the engine; opening files, accounts and one turn to warm up are counted for nobody.

    python -m bench.turns --turns 4 --rounds 3 --at 1,10,50,100
"""

import argparse
import asyncio
import gc
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from core.access.viewer import Viewer
from core.ids import new_thread_id, new_user_id
from core.settings import DEMO_MODEL, Settings, load_settings
from core.skein import Skein, open_skein  # before langgraph: it sets how checkpoints are read

from langchain_core.messages import HumanMessage  # isort: skip
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver  # isort: skip

from core.agents.assistant import AssistantContext, build_graph  # isort: skip
from core.agents.models import ChatModels  # isort: skip
from core.checkpoints.sqlite_saver import open_sqlite_saver  # isort: skip
from core.history.messages import NewMessage  # isort: skip
from core.runs.engine import Engine  # isort: skip

PACE = 0.1
TARGETS = {"stock": 0.6, "normal": 0.7}
OpenSaver = Callable[[Path], AbstractAsyncContextManager[Any]]


@dataclass(frozen=True)
class Load:
    """How much is asked: so many conversations at once, each of so many turns."""

    at_once: int
    turns: int
    tokens: int
    loop: str

    @property
    def text(self) -> str:
        return f"{self.tokens} tokens"


@dataclass
class Measured:
    """One round; times in seconds."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    cpu: float = 0.0
    driver_cpu: float = 0.0

    @property
    def turn(self) -> float:
        return self.seconds / len(self.latencies)


class Clock:
    """Wall and CPU time of what happens inside it."""

    def __init__(self, into: Measured) -> None:
        self._into = into

    def __enter__(self) -> None:
        gc.collect()
        self._began, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self._into.seconds += time.perf_counter() - self._began
        self._into.cpu += time.process_time() - self._cpu


# -- the bare graph -------------------------------------------------------------------------------------


@asynccontextmanager
async def open_normal(path: Path) -> Any:
    """LangGraph's saver with ``synchronous=NORMAL``."""
    async with AsyncSqliteSaver.from_conn_string(str(path)) as saver:
        await saver.setup()
        await saver.conn.execute("PRAGMA synchronous=NORMAL")
        yield saver


def measure_bare(open_saver: OpenSaver, load: Load, folder: Path) -> Measured:
    """The graph alone on this saver."""
    run(_bare(open_saver, load, folder / "checkpoints.db", _settings(folder)), load.loop)
    return _measured.pop()


_measured: list[Measured] = []


async def _bare(open_saver: OpenSaver, load: Load, path: Path, settings: Settings) -> None:
    measured, context = Measured(), AssistantContext(ChatModels(settings), DEMO_MODEL)
    async with open_saver(path) as saver:
        graph = build_graph().compile(checkpointer=saver)
        await _converse(graph, context, load.text, 1, [])
        with Clock(measured):
            talks = [
                _converse(graph, context, load.text, load.turns, measured.latencies) for _ in range(load.at_once)
            ]
            await asyncio.gather(*talks)
    _measured.append(measured)


async def _converse(graph: Any, context: Any, text: str, turns: int, latencies: list[float]) -> None:
    config = {"configurable": {"thread_id": new_thread_id()}}
    for _ in range(turns):
        began = time.perf_counter()
        given = {"messages": [HumanMessage(text)]}
        async for _part in graph.astream(given, config, context=context, stream_mode=["messages", "updates"]):
            pass
        latencies.append(time.perf_counter() - began)


def run(work: Coroutine[Any, Any, None], loop: str) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as runner:
        runner.run(work)


# -- the engine -----------------------------------------------------------------------------------------


def measure_engine(load: Load, folder: Path) -> Measured:
    """The same conversations as Skein carries them, from a thread each."""
    skein = open_skein(_settings(folder, at_once=load.at_once))
    try:
        return drive_engine(skein, load)
    finally:
        skein.close()


def drive_engine(skein: Skein, load: Load) -> Measured:
    """Let everybody talk at once; one account per conversation."""
    measured, lock = Measured(), threading.Lock()
    people = make_people(skein, load.at_once)
    _Talk(skein.engine, people[0], load.text, 1, Measured(), lock).run()
    talks = [_Talk(skein.engine, person, load.text, load.turns, measured, lock) for person in people]
    threads = [threading.Thread(target=talk.run) for talk in talks]
    with Clock(measured):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return measured


def make_people(skein: Skein, count: int) -> list[Viewer]:
    from core.tables import User

    people = [Viewer(new_user_id(), f"person {number}", "member") for number in range(count)]
    rows = [{"user_id": person.user_id, "name": person.name, "role": "member"} for person in people]
    skein.database.write(lambda db: db.add_all([User(**row) for row in rows]))
    return people


@dataclass
class _Talk:
    engine: Engine
    person: Viewer
    text: str
    turns: int
    measured: Measured
    lock: threading.Lock

    def run(self) -> None:
        latencies, parent, conversation = [], None, None
        for _ in range(self.turns):
            began = time.perf_counter()
            new = NewMessage(
                self.text, conversation_id=conversation, parent_message_id=parent, config={"model": DEMO_MODEL}
            )
            added = self.engine.start(self.person, new)
            for _events in self.engine.attach(self.person, added.thread_id, pace=PACE):
                pass
            latencies.append(time.perf_counter() - began)
            parent, conversation = added.message_id, added.conversation_id
        with self.lock:
            self.measured.latencies += latencies
            self.measured.driver_cpu += time.thread_time()


# -- rounds and the table -------------------------------------------------------------------------------

CASES: dict[str, Callable[[Load, Path], Measured]] = {
    "stock": lambda load, folder: measure_bare(
        lambda path: AsyncSqliteSaver.from_conn_string(str(path)), load, folder
    ),
    "normal": lambda load, folder: measure_bare(open_normal, load, folder),
    "saver": lambda load, folder: measure_bare(open_sqlite_saver, load, folder),
    "engine": measure_engine,
}
NAMES = {
    "stock": "bare, AsyncSqliteSaver as it comes",
    "normal": "bare, synchronous=NORMAL",
    "saver": "bare, Skein's saver",
    "engine": "engine",
}


def compare(load: Load, rounds: int, cases: list[str]) -> dict[str, list[Measured]]:
    """Each case once per round, so that whatever else the machine does falls on all alike."""
    seen: dict[str, list[Measured]] = {case: [] for case in cases}
    for _ in range(rounds):
        for case in cases:
            with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder:
                seen[case].append(CASES[case](load, Path(folder)))
    return seen


def show(load: Load, seen: dict[str, list[Measured]]) -> None:
    """Medians over the rounds; ``x`` is the engine's time per turn as a part of this case's."""
    print(f"\n{load.at_once} at once, {load.turns} turns each, {load.tokens} tokens per answer")
    print(f"  {'':36}{'turns/s':>8}{'p50 ms':>8}{'p95 ms':>8}{'CPU ms/turn':>12}{'engine x':>10}  target")
    engine = [one.turn for one in seen.get("engine", [])]
    for case, rounds in seen.items():
        every = sorted(value for one in rounds for value in one.latencies)
        cpu = statistics.median(one.cpu / len(one.latencies) for one in rounds)
        line = f"  {NAMES[case]:36}{1 / statistics.median(one.turn for one in rounds):8.0f}"
        line += f"{_at(every, 0.5):8.0f}{_at(every, 0.95):8.0f}{cpu * 1000:12.1f}"
        if case == "engine":
            drivers = statistics.median(one.driver_cpu / len(one.latencies) for one in rounds)
            line += f"    ({drivers * 1000:.1f} of it in the pages' threads)"
        elif engine:
            ratios = [mine / one.turn for mine, one in zip(engine, rounds, strict=True)]
            line += f"{statistics.median(ratios):9.2f}x  {TARGETS.get(case, '')}"
        print(line, flush=True)


def _at(values: list[float], part: float) -> float:
    return values[min(int(len(values) * part), len(values) - 1)] * 1000


def _settings(folder: Path, at_once: int = 1) -> Settings:
    chosen: dict[str, object] = {
        "data_dir": folder,
        "demo_tokens_per_second": 0,
        "log_level": "ERROR",
        "max_runs": max(100, at_once),
        "_env_file": None,
    }
    return load_settings(**chosen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=10)
    parser.add_argument("--at", default="1,10,50,100", help="how many conversations at once")
    parser.add_argument("--cases", default=",".join(CASES), help="some of: %(default)s")
    parser.add_argument("--bare-loop", choices=["asyncio", "uvloop"], default="asyncio")
    given = parser.parse_args()
    gc.freeze()
    gc.set_threshold(50_000, 50, 50)  # as app.py does; the bare graph has it too
    for at_once in map(int, given.at.split(",")):
        # A single conversation alone is over too soon to be measured.
        turns = max(given.turns, 20 // at_once)
        load = Load(at_once, turns, given.tokens, given.bare_loop)
        show(load, compare(load, given.rounds, given.cases.split(",")))


if __name__ == "__main__":
    main()
