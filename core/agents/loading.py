"""Bringing in the graphs that ``langgraph.json`` names: each on a thread of its own, with an end to the waiting.

Under which names their modules are imported is a matter of `projects`.

Invariant: whatever a team's module does while it is imported (raises, exits, hangs, takes minutes), it costs the
others a moment at most, and ends as one sentence. What a module does to the whole process is out of our hands.
"""

import asyncio
import hashlib
import importlib
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from langgraph.store.base import BaseStore
from pydantic import ValidationError

from core.agents.factories import Factory, Graph, as_graph, build, for_reading, is_factory
from core.agents.manifest import is_there
from core.agents.projects import Project, as_written
from core.errors import BadInputError, SkeinError
from core.outside import as_text, read_failure

LOADING_SECONDS = 20.0
# One after the other while they are quick: packages with circular imports may break when two threads import them.
_HEAD_START = 2.0
_LONGEST_REASON = 300
_NOT_THEIRS = (str(Path(__file__).parent), sysconfig.get_paths()["stdlib"])
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Loaded:
    """What a reference leads to: the graph (of a factory: as made for nobody), and a fingerprint of its source."""

    graph: Graph
    factory: Factory | None
    version: str


def load_each(items: Iterable[_Item], load: Callable[[_Item], None], *, seconds: float) -> None:
    """Call ``load`` for each on a thread of its own; come back when all are done, or after so many seconds."""
    deadline = time.monotonic() + seconds
    threads = []
    for item in items:
        thread = threading.Thread(target=load, args=(item,), name="skein-load", daemon=True)
        thread.start()
        # A part of what is left, so that however many hang, some time is left for the others.
        thread.join(min(_HEAD_START, max(deadline - time.monotonic(), 0) / 4))
        threads.append(thread)
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))


def load(reference: str, project: Project, store: BaseStore) -> Loaded:
    """The graph at ``path/file.py:variable`` or ``package.module:variable`` of a project."""
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise BadInputError(f"{reference[:200]!r} should be path/file.py:variable or package.module:variable.")
    module = importlib.import_module(_name_of(place, project))
    if not hasattr(module, name):
        raise BadInputError(f"There is no {name!r} in {place}.")
    found = getattr(module, name)
    if not is_factory(found):
        return Loaded(as_graph(found), None, _version(module))
    return Loaded(asyncio.run(_build_once(found, store)), found, _version(module))


def find_embedding(named: Any, project: Project) -> Any:
    """What embeds texts for a store: a function of the project's, or a model's name as ``provider:model``."""
    place, _, name = str(named).rpartition(":")
    if not isinstance(named, str) or not place.endswith(".py"):
        return named
    return getattr(importlib.import_module(_name_of(place, project)), name)


async def _build_once(factory: Factory, store: BaseStore) -> Graph:
    async with build(factory, for_reading(store), aside=False) as graph:
        return graph


def _name_of(place: str, project: Project) -> str:
    """The name to import a module by, that is named by its path or its name."""
    if not place.endswith(".py"):
        if "/" in place or "\\" in place:
            raise BadInputError(f"{place} is not a Python file.")
        return project.full_name(place)
    if not is_there(project.folder / place):
        raise BadInputError(f"There is no file {place[:200]}.")
    path = (project.folder / place).resolve()
    return project.name_of_file(path)


def _version(module: ModuleType) -> str:
    """A short fingerprint of the source, so that a thread tells which text of its agent ran."""
    source = Path(module.__file__) if module.__file__ else None
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12] if source and source.exists() else ""


def explain_failure(error: BaseException) -> str:
    """Why a graph could not be loaded, in one sentence without secrets."""
    text = " ".join(as_written(read_failure(_say(error))).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"


def _say(error: BaseException) -> str:
    if isinstance(error, SkeinError):
        return str(error)
    if isinstance(error, SyntaxError):
        place = f"{Path(error.filename).name}, line {error.lineno}" if error.filename else f"line {error.lineno}"
        return f"There is a syntax error in {place}: {error.msg}."
    where = _where(error)
    if isinstance(error, ModuleNotFoundError):
        missing = as_written(error.name or "")
        return f"The module {missing!r} is not there{where}: install it, or name its folder in dependencies."
    if isinstance(error, SystemExit):
        return f"It asked to end the whole process (SystemExit){where} instead of defining a graph."
    if isinstance(error, ValidationError):
        first: Any = error.errors(include_url=False, include_input=False, include_context=False)[0]
        return f"{error.title} is not valid{where} ({'.'.join(map(str, first['loc']))}: {first['msg']})."
    return (
        f"{type(error).__name__}{where}: {text}" if (text := as_text(error)) else f"{type(error).__name__}{where}."
    )


def _where(error: BaseException) -> str:
    """The last line of a team's own that was at work; "" when the error came from elsewhere."""
    trace, found = error.__traceback__, ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.endswith(".py") and "site-packages" not in name and not name.startswith(_NOT_THEIRS):
            found = f" ({Path(name).name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found
