"""The agents offered, as ``langgraph.json`` names them: each loaded once, and made ready for every run.

Invariant: a graph that cannot be loaded, or is not there yet, is kept as such with the reason, and harms no other.
"""

import asyncio
import weakref
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.pregel import Pregel
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore

from core.agents.context import (
    chosen_settings,
    describe_settings,
    given_names,
    make_configurable,
    make_context,
    takes_from_skein,
)
from core.agents.environment import set_environment
from core.agents.factories import Factory, build, for_running
from core.agents.input_form import InputForm, find_form, find_more, find_problems
from core.agents.limits import LIMITS, Limits, apply_limits, choose_limits, copy_graph, own_limits
from core.agents.loading import LOADING_SECONDS, explain_failure, find_embedding, load, load_each
from core.agents.manifest import (
    Manifest,
    find_description,
    find_places,
    find_unsupported,
    name_agents,
    read_entry,
    read_manifests,
    wants_process,
)
from core.agents.models import ChatModels
from core.agents.projects import Project, open_project
from core.agents.tool_schemas import list_tool_nodes, list_tools
from core.checkpoints.own_types import allow_own_types
from core.errors import BadInputError, BusyError, NotFoundError
from core.json_schema import Mismatch
from core.outside import know_secrets
from core.settings import CallText, Settings, secrets_of

Graph = Pregel[Any, Any, Any, Any]

_LOOK_AGAIN_SECONDS = 0.1


@dataclass(frozen=True)
class Agent:
    """One agent: its graph, or the ``problem`` that kept it from loading, or that it is still loading.

    ``answer_nodes`` are the nodes whose text is the answer; None means every node but tools. ``call_text`` says how
    much of its calls' text is kept; None is what the settings say. ``input_key`` and ``output_key`` name the parts
    of a state for what is asked and answered, where its schemas do not tell. ``takes`` names the options of Skein's
    (model, temperature) that reach it. A graph made by a ``factory`` is made anew for each run; ``graph`` is then
    the one for reading. ``origin`` is the file that names it, where there are several.
    """

    agent_id: str
    description: str
    version: str = ""
    graph: Graph | None = None
    answer_nodes: tuple[str, ...] | None = None
    call_text: CallText | None = None
    problem: str | None = None
    factory: Factory | None = None
    limits: Limits = field(default_factory=Limits)
    input_key: str | None = None
    output_key: str | None = None
    takes: tuple[str, ...] = ()
    is_loading: bool = False
    origin: str = ""


class Agents:
    """All agents of the ``langgraph.json`` files.

    ``store`` is what graphs without one of their own remember things in across threads; ``open_store`` opens it
    again for a project that wants an index (LangGraph's configuration) of it. ``problems`` are sentences about the
    files as a whole. ``apart`` are the agents, by their
    file, whose runs go to a process of their project's own; that process opens ``only`` this file.
    """

    def __init__(
        self,
        settings: Settings,
        chat_models: ChatModels,
        *,
        store: BaseStore | None = None,
        open_store: Callable[[Any], BaseStore] | None = None,
        patience: float = LOADING_SECONDS,
        only: Path | None = None,
    ) -> None:
        self._settings = settings
        self._chat_models = chat_models
        self._store = store or InMemoryStore()
        self._compiled: dict[str, tuple[BaseCheckpointSaver[Any], Graph]] = {}
        self._settings_schemas: dict[str, dict[str, Any] | None] = {}
        self._input_forms: dict[str, InputForm | None] = {}
        self._more_inputs: dict[str, dict[str, Any] | None] = {}
        self._tool_nodes: dict[str, frozenset[str]] = {}
        manifests, self.problems = read_manifests(settings.langgraph_json)
        # In their order and all of them, also where one alone is wanted: names depend on who came first.
        self._projects = {manifest.file: self._open_project(manifest) for manifest in manifests}
        self._named = name_agents(manifests)
        if only is not None:
            manifests = [manifest for manifest in manifests if manifest.file == only]
            self._named = {name: found for name, found in self._named.items() if found[0].file == only}
        self.apart = self._find_apart(manifests) if only is None else {}
        secrets, problems = set_environment(manifests, apart=self.apart)
        self.problems += problems
        weakref.finalize(self, know_secrets([*secrets_of(settings), *secrets]))
        self._indexed: dict[Path, BaseStore] = {}
        for manifest in manifests if open_store is not None else ():
            self._open_indexed(manifest, open_store)
        self._agents = {
            agent_id: Agent(
                agent_id,
                find_description(manifest.graphs[graph_id]),
                problem="It is still loading.",
                is_loading=True,
                origin=manifest.label if len(manifests) > 1 else "",
            )
            for agent_id, (manifest, graph_id) in self._named.items()
        }
        load_each(list(self._agents.values()), self._load, seconds=patience)

    def _find_apart(self, manifests: Sequence[Manifest]) -> dict[Path, frozenset[str]]:
        """The agents whose runs go to a process of their project's own, by its file."""
        apart = {}
        for manifest in manifests:
            try:
                if wants_process(manifest):
                    ids = (name for name, (of, _) in self._named.items() if of.file == manifest.file)
                    apart[manifest.file] = frozenset(ids)
            except BadInputError as error:
                self.problems.append(str(error))
        return apart

    def _open_project(self, manifest: Manifest) -> Project:
        places = find_places(manifest)
        self.problems += places.problems
        if unsupported := find_unsupported(manifest):
            self.problems.append(unsupported)
        return open_project(manifest.file, places.roots, places.packages, places.beside)

    def _open_indexed(self, manifest: Manifest, open_store: Callable[[Any], BaseStore] | None) -> None:
        """Open the store with the index that a project asks for; without it where that cannot be had."""
        asked = manifest.data.get("store")
        index = asked.get("index") if isinstance(asked, Mapping) else None
        if not index or open_store is None:
            return
        try:
            embed = find_embedding(index.get("embed"), self._projects[manifest.file])
            self._indexed[manifest.file] = open_store({**index, "embed": embed})
        except Exception as error:  # noqa: BLE001 - what a team's embedding, or its package, does while it is made
            why = explain_failure(error)
            self.problems.append(f"The store of {manifest.label} has no index: {why}")

    def _store_of(self, agent_id: str) -> BaseStore:
        return self._indexed.get(self._named[agent_id][0].file, self._store)

    def _load(self, agent: Agent) -> None:
        try:
            manifest, graph_id = self._named[agent.agent_id]
            entry = read_entry(manifest.graphs[graph_id])
            chosen = {
                "recursion_limit": entry.recursion_limit,
                "node_timeout": entry.node_timeout,
                "attempts": entry.retry,
            }
            loaded = load(entry.path, self._projects[manifest.file], self._store_of(agent.agent_id))
        except BaseException as error:  # noqa: BLE001 - a team's module may raise anything while it is imported
            problem = explain_failure(error)
            self._agents[agent.agent_id] = replace(agent, problem=problem, is_loading=False)
            return
        self._agents[agent.agent_id] = Agent(
            agent.agent_id,
            agent.description,
            loaded.version,
            loaded.graph,
            entry.answer_nodes or None,
            entry.call_text,
            factory=loaded.factory,
            limits=choose_limits(own_limits(loaded.graph), chosen),
            takes=takes_from_skein(loaded.graph.context_schema, entry.from_skein),
            input_key=entry.input_key,
            output_key=entry.output_key,
            origin=agent.origin,
        )

    def list(self) -> list[Agent]:
        return list(self._agents.values())

    @property
    def default(self) -> str:
        """The agent that answers when none is chosen: the first one that could be loaded."""
        return next((agent.agent_id for agent in self.list() if agent.graph is not None), "assistant")

    def get(self, agent_id: str) -> Agent:
        """The agent; NotFoundError: none has this id. BadInputError: it could not be loaded. BusyError: not yet."""
        agent = self._agents.get(agent_id)
        if agent is None:
            raise NotFoundError(f"There is no agent named {agent_id[:80]!r} in langgraph.json.")
        if agent.is_loading:
            raise BusyError(f"The agent {agent_id!r} is still loading: try again in a moment.")
        if agent.graph is None:
            raise BadInputError(f"The agent {agent_id!r} could not be loaded: {agent.problem}")
        return agent

    def find_source(self, agent_id: str) -> tuple[Path, str]:
        """The ``langgraph.json`` that names an agent, and its id there."""
        manifest, graph_id = self._named[self.get(agent_id).agent_id]
        return manifest.file, graph_id

    @property
    def is_loading(self) -> bool:
        """Whether any of them is still being loaded."""
        return any(agent.is_loading for agent in self.list())

    def answer_nodes(self, agent_id: str) -> tuple[str, ...] | None:
        agent = self._agents.get(agent_id)
        return agent.answer_nodes if agent else None

    def model_of(self, agent_id: str, config: Mapping[str, Any]) -> str | None:
        """The model that a thread with this config is answered with; None where its graph brings its own."""
        agent = self._agents.get(agent_id)
        if agent is None or (agent.graph is not None and "model" not in agent.takes):
            return None
        return str(config.get("model") or self._settings.default_model)

    def takes(self, agent_id: str) -> tuple[str, ...]:
        """Which of Skein's own options (model, temperature) reach this agent's graph."""
        agent = self._agents.get(agent_id)
        return agent.takes if agent else ()

    def call_text(self, agent_id: str | None) -> CallText:
        """How much of the text of this agent's LLM calls is kept in the log."""
        agent = self._agents.get(agent_id or "")
        return (agent.call_text if agent else None) or self._settings.call_text

    def compiled(self, agent_id: str, saver: BaseCheckpointSaver[Any]) -> Graph:
        """The agent's graph with this saver, for reading what its threads hold; made once."""
        made_with, graph = self._compiled.get(agent_id, (None, None))
        if graph is None or made_with is not saver:
            graph = self._ready(agent_id, _graph(self.get(agent_id)), saver)
            self._compiled[agent_id] = (saver, graph)
        return graph

    @asynccontextmanager
    async def running(
        self, agent_id: str, saver: BaseCheckpointSaver[Any], config: dict[str, Any], ids: Mapping[str, str]
    ) -> AsyncIterator[Graph]:
        """The agent's graph for one run, with its limits; a factory makes it anew, and closes it afterwards.

        ``ids`` are those of `make_configurable`.
        """
        while (found := self._agents.get(agent_id)) is not None and found.is_loading:  # noqa: ASYNC110 - a thread loads it
            # A run that another process left may be taken up before its agent is there.
            await asyncio.sleep(_LOOK_AGAIN_SECONDS)
        limits = self.limits(agent_id, config)
        if self.get(agent_id).factory is None:
            yield apply_limits(self.compiled(agent_id, saver), limits)
            return
        async with self.made(agent_id, config, ids) as graph:
            yield apply_limits(self._ready(agent_id, graph, saver), limits)

    @asynccontextmanager
    async def made(self, agent_id: str, config: Mapping[str, Any], ids: Mapping[str, str]) -> AsyncIterator[Graph]:
        """The agent's graph as its project has it, with nothing of ours; a factory makes it anew, and closes it."""
        agent = self.get(agent_id)
        if agent.factory is None:
            yield _graph(agent)
            return
        given = for_running(
            self._store_of(agent_id),
            self.configurable_for(agent_id, config, ids),
            user_id=ids.get("user_id", ""),
            context=self.context_for(agent_id, _graph(agent), config, ids),
        )
        async with build(agent.factory, given) as graph:
            yield graph

    def context_for(
        self, agent_id: str, graph: Graph, config: Mapping[str, Any], ids: Mapping[str, str], **given: Any
    ) -> Any:
        """What the graph is given from outside: of what its context schema asks for, what is chosen or given.

        BadInputError names a setting that is missing or does not fit.
        """
        ours = {
            "chat_models": self._chat_models,
            "max_messages": self._settings.max_messages,
            "keep_last": self._settings.keep_last,
            **ids,
            **given,
        }
        return make_context(graph.context_schema, chosen_settings(config, self.get(agent_id).takes), ours)

    def configurable_for(self, agent_id: str, config: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
        """LangGraph's ``configurable`` of a run: what is chosen for its graph, and whose run it is."""
        return make_configurable(chosen_settings(config, self.get(agent_id).takes), ids)

    def may_write_artifacts(self, agent_id: str) -> bool:
        """Whether a run of this agent is given what artifacts are written with."""
        agent = self._agents.get(agent_id)
        return agent is None or agent.graph is None or "workspace" in given_names(agent.graph.context_schema)

    def limits(self, agent_id: str, config: dict[str, Any]) -> Limits:
        """How far a run with this config may go; BadInputError names a limit that cannot be used."""
        return choose_limits(self.get(agent_id).limits, config.get(LIMITS))

    def settings_schema(self, agent_id: str) -> dict[str, Any] | None:
        """The JSON schema of the settings that a person may choose; None when there are none."""
        graph = _graph(self.get(agent_id))
        if agent_id not in self._settings_schemas:
            self._settings_schemas[agent_id] = describe_settings(graph.context_schema, self.get(agent_id).takes)
        return self._settings_schemas[agent_id]

    def input_form(self, agent_id: str) -> InputForm | None:
        """The form for what this agent takes; None where a text is enough, or while the agent is not there."""
        agent = self._agents.get(agent_id)
        if agent is None or agent.graph is None:
            return None
        if agent_id not in self._input_forms:
            self._input_forms[agent_id] = find_form(agent.graph, key=agent.input_key)
        return self._input_forms[agent_id]

    def more_inputs(self, agent_id: str) -> dict[str, Any] | None:
        """The JSON schema of what this agent can be given with a text; None when there is nothing of that kind."""
        agent = self._agents.get(agent_id)
        if agent is None or agent.graph is None:
            return None
        if agent_id not in self._more_inputs:
            self._more_inputs[agent_id] = find_more(agent.graph, key=agent.input_key)
        return self._more_inputs[agent_id]

    def input_problems(self, agent_id: str, value: Any) -> tuple[Mismatch, ...]:
        """What of its filled form this agent does not take, each with the path to the field."""
        agent, form = self.get(agent_id), self.input_form(agent_id)
        return tuple(find_problems(_graph(agent), form, value, key=agent.input_key)) if form is not None else ()

    def tools(self, agent_id: str) -> dict[str, dict[str, Any]]:
        """The JSON schema of each tool's arguments, by the tool's name."""
        return list_tools(_graph(self.get(agent_id)))

    def tool_nodes(self, agent_id: str) -> frozenset[str]:
        """The names of this agent's nodes that are a ToolNode; none while the agent is not there."""
        agent = self._agents.get(agent_id)
        if agent is None or agent.graph is None:
            return frozenset()
        if agent_id not in self._tool_nodes:
            self._tool_nodes[agent_id] = list_tool_nodes(agent.graph)
        return self._tool_nodes[agent_id]

    def _ready(self, agent_id: str, graph: Graph, saver: BaseCheckpointSaver[Any]) -> Graph:
        project = self._projects[self._named[agent_id][0].file]
        allowlist = getattr(graph, "_serde_allowlist", None)
        chosen = allow_own_types(saver.with_allowlist(allowlist) if allowlist else saver, project.is_own_type)
        return copy_graph(graph, checkpointer=chosen, store=graph.store or self._store_of(agent_id))


def _graph(agent: Agent) -> Graph:
    if agent.graph is None:
        raise BadInputError(f"The agent {agent.agent_id!r} could not be loaded: {agent.problem}")
    return agent.graph
