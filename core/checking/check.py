"""Try a person's graph in Skein before people use it: what is safe with it, what is not, and why.

The graph runs unchanged, on a database of its own that is thrown away, against a model server that answers by a
script. Invariant: each finding is something that was tried; what could not be tried says so.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlmodel import select

from core.access.viewer import Viewer
from core.agents.input_form import find_form, write_text
from core.agents.manifest import read_manifest
from core.agents.registry import Agent
from core.calls.listing.sums import summarize_thread
from core.checking.bare import Answer, BareRun, Say
from core.checking.here import RunHere
from core.checking.outcomes import Outcome, find_differences
from core.checking.scripted_model import ScriptedModel, fill, scripted_model
from core.errors import BadInputError, ConflictError, SkeinError
from core.history.turns import Turn
from core.ids import ThreadId, UserId, new_user_id
from core.runs.branching import fork, retry
from core.settings import Settings, load_settings
from core.skein import Skein, open_skein
from core.tables import Conversation, User

AGENT = "checked"
_TWO_TURNS = (Say("Hello, what can you do?"), Say("And then?"))
_MOST_STEPS = 10
_LONGEST_WHY = 500
_BLOCKED_SECONDS = 0.5
_LOOK_EVERY = 0.02
_KILL_SECONDS = 60.0
_LOAD_SECONDS = 120.0
_OVER = {"done", "waiting"}
_NAME = "checker"


class Safety(StrEnum):
    """How a trial went."""

    SAFE = "safe"
    UNSAFE = "not safe"
    UNTRIED = "not tried"


@dataclass(frozen=True)
class Finding:
    """What was tried, how it went, and why."""

    what: str
    safety: Safety
    why: str


class _UnsafeError(Exception):
    """Ends a trial: what went wrong."""


class _UntriedError(Exception):
    """Ends a trial: why it cannot be tried."""


def check_graph(entry: str | Mapping[str, Any], file: Path) -> Iterator[Finding]:
    """Try a graph, given as this ``langgraph.json`` has it, or would if it were there, and yield what is found.

    BadInputError says why it cannot be loaded at all.
    """
    with tempfile.TemporaryDirectory(prefix="skein-check-") as place, scripted_model() as model:
        settings = _make_settings(Path(place), entry, file)
        with _opened(settings) as skein:
            agent = _wait_for(skein)
            kind = "A factory makes it anew for each run." if agent.factory else "One graph serves all runs."
            yield Finding("It loads", Safety.SAFE, kind)
            turns = _choose_turns(skein)
            trials = _Trials(skein, _make_person(skein), model, turns)
            yield _try("It does the same as outside Skein", trials.same)
            yield _try("Each call of a model is on record", trials.calls)
            yield _try("It leaves the loop that runs share to others", trials.blocking)
            yield _try("A stopped run leaves a conversation that goes on", trials.stopped)
            yield _try("It can be forked in its midst", trials.forked)
            yield _try("A decision is taken up once", trials.decided_twice)
        yield _try("A killed process loses nothing that was said", lambda: _kill_and_retry(settings, turns[0].text))


def find_entry(graph: str, file: Path) -> Any:
    """The entry of a graph that is named by its place, or by its id in this ``langgraph.json``."""
    if ":" in graph:
        return graph
    manifest = read_manifest(file)
    if graph not in manifest.graphs:
        known = ", ".join(manifest.graphs) or "none"
        raise BadInputError(f"{file} has no graph {graph[:80]!r}; it has: {known}.")
    return manifest.graphs[graph]


def _try(what: str, trial: Callable[[], str]) -> Finding:
    try:
        return Finding(what, Safety.SAFE, trial())
    except _UnsafeError as error:
        return Finding(what, Safety.UNSAFE, str(error)[:_LONGEST_WHY])
    except _UntriedError as error:
        return Finding(what, Safety.UNTRIED, str(error)[:_LONGEST_WHY])
    except SkeinError as error:
        return Finding(what, Safety.UNSAFE, f"Skein refuses it: {error}"[:_LONGEST_WHY])


@dataclass(frozen=True)
class _Trials:
    """What is tried on one open Skein; each gives what to say when it went well."""

    skein: Skein
    viewer: Viewer
    model: ScriptedModel
    turns: Sequence[Say]

    def same(self) -> str:
        """Two turns, with an answer wherever it asks, here and bare."""
        here = self._conversation()
        steps: list[Say | Answer] = []
        outcomes: list[Outcome] = []
        for step in self.turns:
            steps.append(step)
            outcomes += here.run([step])
            while outcomes[-1].asked and len(steps) < _MOST_STEPS:
                outcomes += here.run([Answer("yes")])
                steps.append(Answer(here.resumed_with[-1]))
            if outcomes[-1].error:
                # Below a failure Skein adds what people saw, which nobody does outside.
                break
        bare = self.skein.run_on_loop(self._run_bare(here.turns[-1], steps))
        differences = find_differences(bare, outcomes)
        if differences and find_differences(bare, self.skein.run_on_loop(self._run_bare(here.turns[-1], steps))):
            raise _UntriedError("Outside Skein, too, it comes to something else each time.")
        if differences:
            raise _UnsafeError(f"{len(differences)} differences; the first: {differences[0]}")
        if outcomes[-1].error:
            raise _UntriedError(f"It fails, outside Skein too: {here.turns[-1].error_message}")
        return f"The same states over two turns; it answered: {here.turns[-1].answer.strip()[:120] or '(nothing)'}"

    async def _run_bare(self, turn: Turn, steps: Sequence[Say | Answer]) -> list[Outcome]:
        ids, agents = self._ids_of(turn), self.skein.agents
        async with agents.made(AGENT, {}, ids) as graph:
            bare = BareRun(
                graph,
                context=agents.context_for(AGENT, graph, {}, ids),
                configurable=agents.configurable_for(AGENT, {}, ids),
                input_key=agents.get(AGENT).input_key,
                index=getattr(agents.compiled(AGENT, self.skein.saver).store, "index_config", None),
            )
            return await bare.run(steps)

    def calls(self) -> str:
        """As many calls on record as the server saw."""
        asked = len(self.model.requests)
        here = self._conversation()
        here.run(self.turns[:1])
        seen = len(self.model.requests) - asked
        self.skein.call_log.flush()
        with self.skein.database.read() as db:
            counted = summarize_thread(self.viewer, db, here.turns[-1].thread_id).calls
        if counted < seen:
            raise _UnsafeError(f"The model server was asked {seen} times, of which {counted} are on record.")
        return f"{counted} for one message; the model server saw {seen}."

    def blocking(self) -> str:
        """The longest time in which nothing else came to its turn on the loop."""
        longest = 0.0
        is_over = threading.Event()

        def watch() -> None:
            nonlocal longest
            while not is_over.wait(_LOOK_EVERY):
                begun = time.monotonic()
                self.skein.run_on_loop(_nothing())
                longest = max(longest, time.monotonic() - begun)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            self._conversation().run(self.turns[:1])
        finally:
            is_over.set()
            watcher.join()
        if longest > _BLOCKED_SECONDS:
            raise _UnsafeError(f"A coroutine of it held the loop for {longest:.1f} s: make that a plain function.")
        return f"It held the loop for {longest * 1_000:.0f} ms at most."

    def stopped(self) -> str:
        """Stop it as soon as a node works, then say something else."""
        here = self._conversation()
        turn = here.say(self.turns[0].text)
        for events in self.skein.engine.attach(self.viewer, turn.thread_id):
            if any(event.kind == "node" for event in events):
                break
        self.skein.engine.stop(self.viewer, turn.thread_id)
        stopped = here.wait(turn.thread_id)
        here.turns.append(stopped)
        refused = len(self.model.refused)
        after = here.wait(here.say(self.turns[1].text).thread_id)
        self._require_over(after)
        if len(self.model.refused) > refused:
            raise _UnsafeError(f"The model server refused what came next: {self.model.refused[-1]}")
        return f"It {_in_words(stopped)}, and the next message {_in_words(after)}."

    def forked(self) -> str:
        """Go on from the last state in the middle of a run."""
        here = self._conversation()
        here.run(self.turns[:1])
        turn = here.turns[-1]
        steps = [step for step in self.skein.engine.read_states(self.viewer, turn.thread_id) if step.next]
        if not steps:
            raise _UntriedError("It has no state in its midst.")
        added = fork(self.skein.engine, self.viewer, turn.thread_id, steps[-1].checkpoint_id)
        self._require_over(here.wait(added.thread_id))
        return f"From before {', '.join(steps[-1].next)} it came to its end."

    def decided_twice(self) -> str:
        """Decide one question twice."""
        here = self._conversation()
        here.run(self.turns[:1])
        if here.turns[-1].status != "waiting":
            raise _UntriedError("It asks nobody anything.")
        row = here.find_asked()
        here.decide(row, "yes")
        try:
            here.decide(row, "yes")
        except ConflictError:
            self._require_over(here.wait(here.turns[-1].thread_id))
            return "Whoever decided second was told so, and it went on once."
        raise _UnsafeError("It was taken up twice.")

    def _conversation(self) -> RunHere:
        return RunHere(self.skein, self.viewer, AGENT)

    def _require_over(self, turn: Turn) -> None:
        if turn.status in _OVER:
            return
        if self._conversation().fails_alone(self.turns[0].text):
            raise _UntriedError(f"It fails by itself: {turn.error_message}")
        raise _UnsafeError(f"It {_in_words(turn)}: {turn.error_message}")

    def _ids_of(self, turn: Turn) -> dict[str, str]:
        query = select(Conversation.session_id).where(Conversation.conversation_id == turn.conversation_id)
        with self.skein.database.read() as db:
            session_id = db.exec(query).one()
        return {
            "thread_id": turn.thread_id,
            "user_id": self.viewer.user_id,
            "session_id": session_id,
            "conversation_id": turn.conversation_id,
            "message_id": turn.message_id,
        }


def _in_words(turn: Turn) -> str:
    return {"done": "was answered", "waiting": "asks a person", "lost": "was lost"}.get(turn.status, turn.status)


async def _nothing() -> None:
    """Take a turn on the loop."""


# -- a process that is killed ---------------------------------------------------------------------------


def _kill_and_retry(settings: Settings, text: str) -> str:
    """Kill a process in the middle of a run; another one settles it and can go on."""
    command = [sys.executable, "-m", "core.checking.victim", settings.model_dump_json(include=_FOR_VICTIM), text]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=_ROOT) as victim:
        timer = threading.Timer(_KILL_SECONDS, victim.kill)
        timer.start()
        try:
            told = victim.stdout.readline() if victim.stdout else ""
        finally:
            timer.cancel()
            os.kill(victim.pid, signal.SIGKILL)
    if not told.strip():
        raise _UntriedError("The process ended before it was killed.")
    user_id, thread_id = json.loads(told)
    with _opened(settings) as skein:
        here = RunHere(skein, Viewer(UserId(user_id), _NAME), AGENT)
        lost = here.wait(ThreadId(thread_id))
        if lost.status in _OVER:
            raise _UntriedError("The run had come to its end before the process was killed.")
        again = here.wait(retry(skein.engine, here.viewer, lost.thread_id).thread_id)
        if again.status == "failed" and here.fails_alone(text):
            raise _UntriedError(f"It fails by itself: {again.error_message}")
        if again.status not in _OVER:
            raise _UnsafeError(f"Tried again, it {_in_words(again)}: {again.error_message}")
        return f"The run {_in_words(lost)}; tried again, it {_in_words(again)}."


_ROOT = Path(__file__).resolve().parents[2]
_FOR_VICTIM = {"data_dir", "database_url", "langgraph_json", "lease_seconds", "log_level"}


def _make_settings(place: Path, entry: str | Mapping[str, Any], own: Path) -> Settings:
    """A data folder of its own, with a ``langgraph.json`` of this graph and what its project's own says beside."""
    folder = own.parent
    data = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
    described = {"path": entry} if isinstance(entry, str) else dict(entry)
    described["path"] = _placed(str(described["path"]), folder)
    folders = [one for one in data.get("dependencies", ()) if str(one).startswith(".")]
    named = [str((folder / one).resolve()) for one in folders]
    manifest = {**data, "graphs": {AGENT: described}, "dependencies": [str(folder.resolve()), *named]}
    if isinstance(data.get("env"), str):
        manifest["env"] = str((folder / data["env"]).resolve())
    index = (data.get("store") or {}).get("index") or {}
    if isinstance(index.get("embed"), str):
        index["embed"] = _placed(index["embed"], folder)
    path = place / "langgraph.json"
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return load_settings(
        data_dir=place,
        database_url=f"sqlite:///{place / 'skein.db'}",
        langgraph_json=path,
        lease_seconds=2,
        log_level="ERROR",
    )


def _placed(source: str, folder: Path) -> str:
    """``file.py:name`` with the whole path of the file; a module or a model's name as it is."""
    file, colon, name = source.rpartition(":")
    return f"{(folder / file).resolve()}{colon}{name}" if file.endswith(".py") else source


def _wait_for(skein: Skein) -> Agent:
    """The agent once it is loaded, however long that takes."""
    deadline = time.monotonic() + _LOAD_SECONDS
    while skein.agents.is_loading and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY)
    return skein.agents.get(AGENT)


def _choose_turns(skein: Skein) -> Sequence[Say]:
    """Two things to say; for a graph that needs more than a text, its input filled in."""
    agent = skein.agents.get(AGENT)
    form = find_form(agent.graph, key=agent.input_key) if agent.graph else None
    if form is None:
        return _TWO_TURNS
    return (Say(write_text(fill(form.schema))),) * 2


def _make_person(skein: Skein) -> Viewer:
    viewer = Viewer(new_user_id(), _NAME)
    skein.database.write(lambda db: db.add(User(user_id=viewer.user_id, name=_NAME)))
    return viewer


@contextmanager
def _opened(settings: Settings) -> Iterator[Skein]:
    skein = open_skein(settings)
    try:
        yield skein
    finally:
        skein.close()
