"""The agents offered, as ``langgraph.json`` names them, loaded once and compiled with Skein's saver.

Invariant: a graph that cannot be loaded is kept as such, with the reason, and harms no other.
"""

import dataclasses
import hashlib
import importlib
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, get_args, get_type_hints

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from core.agents.models import ChatModels
from core.errors import BadInputError, NotFoundError
from core.settings import CallText, Settings


@dataclass(frozen=True)
class Agent:
    """One agent: its graph, or the ``problem`` that kept it from loading.

    ``answer_nodes`` are the nodes whose text is the answer; None means every node but tools. ``call_text`` says how
    much of its calls' text is kept; None is what the settings say.
    """

    agent_id: str
    description: str
    version: str = ""
    graph: "StateGraph[Any, Any, Any, Any] | Pregel[Any, Any, Any, Any] | None" = None
    answer_nodes: tuple[str, ...] | None = None
    call_text: CallText | None = None
    problem: str | None = None


class Agents:
    """All agents of one ``langgraph.json``."""

    def __init__(self, settings: Settings, chat_models: ChatModels) -> None:
        self._settings = settings
        self._chat_models = chat_models
        self._agents = {agent.agent_id: agent for agent in _load_all(settings.langgraph_json)}
        self._compiled: dict[str, Pregel[Any, Any, Any, Any]] = {}

    def list(self) -> list[Agent]:
        return list(self._agents.values())

    @property
    def default(self) -> str:
        """The agent that answers when none is chosen: the first one that could be loaded."""
        return next((agent.agent_id for agent in self._agents.values() if agent.graph is not None), "assistant")

    def get(self, agent_id: str) -> Agent:
        """The agent; NotFoundError when none has this id, BadInputError when it could not be loaded."""
        agent = self._agents.get(agent_id)
        if agent is None:
            raise NotFoundError(f"There is no agent named {agent_id[:80]!r} in langgraph.json.")
        if agent.graph is None:
            raise BadInputError(f"The agent {agent_id!r} could not be loaded: {agent.problem}")
        return agent

    def answer_nodes(self, agent_id: str) -> tuple[str, ...] | None:
        agent = self._agents.get(agent_id)
        return agent.answer_nodes if agent else None

    def call_text(self, agent_id: str | None) -> CallText:
        """How much of the text of this agent's LLM calls is kept in the log."""
        agent = self._agents.get(agent_id or "")
        return (agent.call_text if agent else None) or self._settings.call_text

    def compiled(self, agent_id: str, saver: BaseCheckpointSaver[Any]) -> "Pregel[Any, Any, Any, Any]":
        """The agent's graph with this saver, ready to run; compiled once."""
        if agent_id not in self._compiled:
            self._compiled[agent_id] = _with_saver(self.get(agent_id).graph, saver)
        return self._compiled[agent_id]

    def context_for(self, graph: "Pregel[Any, Any, Any, Any]", config: dict[str, Any]) -> Any:
        """What the graph is given from outside: of what its context schema asks for, what Skein has.

        It is built anew for each run and never stored, so a secret may be reached through it.
        """
        schema = graph.context_schema
        if schema is None:
            return None
        offered = {
            "chat_models": self._chat_models,
            "max_messages": self._settings.max_messages,
            "keep_last": self._settings.keep_last,
            **config,
        }
        given = {name: offered[name] for name in _field_names(schema) if name in offered}
        return schema(**given)


def _field_names(schema: Any) -> list[str]:
    if dataclasses.is_dataclass(schema):
        return [field.name for field in dataclasses.fields(schema) if field.init]
    return list(getattr(schema, "model_fields", None) or get_type_hints(schema))


def _with_saver(graph: Any, saver: BaseCheckpointSaver[Any]) -> "Pregel[Any, Any, Any, Any]":
    if isinstance(graph, StateGraph):
        return graph.compile(checkpointer=saver)
    allowlist = getattr(graph, "_serde_allowlist", None)
    chosen = saver.with_allowlist(allowlist) if allowlist else saver
    return graph.copy(update={"checkpointer": chosen})  # type: ignore[no-any-return]


def _load_all(path: Path) -> list[Agent]:
    try:
        graphs = json.loads(path.read_text(encoding="utf-8"))["graphs"]
        entries = list(graphs.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInputError(
            f"{path} cannot be read as a langgraph.json ({type(error).__name__}: {error}); it needs an object "
            f'like {{"graphs": {{"id": "path/file.py:variable"}}}}.'
        ) from None
    return [_load(agent_id, entry, path.parent) for agent_id, entry in entries]


def _load(agent_id: str, entry: Any, folder: Path) -> Agent:
    described = entry if isinstance(entry, dict) else {"path": entry}
    description = str(described.get("description", ""))
    nodes, call_text = described.get("answer_nodes"), described.get("call_text")
    try:
        if call_text not in {None, *get_args(CallText)}:
            raise BadInputError(f"call_text is {call_text!r}; it must be full, hash or none.")
        module, graph = _find(str(described["path"]), folder)
    except Exception as error:  # noqa: BLE001 - a team's module may raise anything while it is imported
        return Agent(agent_id, description, problem=f"{type(error).__name__}: {error}")
    return Agent(
        agent_id, description, _version(module), graph, tuple(nodes) if nodes else None, call_text=call_text
    )


def _find(reference: str, folder: Path) -> tuple[ModuleType, Any]:
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise BadInputError(f"{reference!r} should be path/file.py:variable or package.module:variable.")
    module = _import_file(folder / place) if place.endswith(".py") else importlib.import_module(place)
    graph = getattr(module, name, None)
    if not isinstance(graph, (StateGraph, Pregel)):
        raise BadInputError(f"{name!r} in {place} is not a StateGraph or a compiled graph.")
    return module, graph


def _import_file(path: Path) -> ModuleType:
    """Import a file under its package's name where it has one, so that it is the same module for all."""
    path = path.resolve()
    for root in sys.path:
        base = Path(root or ".").resolve()
        if path.is_relative_to(base) and (path.parent == base or (path.parent / "__init__.py").exists()):
            return importlib.import_module(".".join(path.relative_to(base).with_suffix("").parts))
    name = f"skein_agent_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInputError(f"{path} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _version(module: ModuleType) -> str:
    """A short fingerprint of the source, so that a thread tells which text of its agent ran."""
    source = Path(module.__file__) if module.__file__ else None
    return hashlib.sha256(source.read_bytes()).hexdigest()[:12] if source and source.exists() else ""
