"""The registry: every form in which langgraph.json names a graph, what goes wrong, limits, settings and tools."""

import json
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.errors import GraphRecursionError, NodeTimeoutError

from core.agents import registry
from core.agents.limits import USUAL_STEPS
from core.agents.loading import load
from core.agents.models import ChatModels
from core.agents.registry import Agents
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.errors import BadInputError, BusyError, NotFoundError
from tests.conftest import make_settings
from tests.core.support import wait_until

ECHO = """
    from typing import TypedDict
    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        text: str

    def builder(said="echo"):
        graph = StateGraph(State).add_node("echo", lambda state: {"text": f"{said} {state['text']}"})
        return graph.add_edge(START, "echo")
"""
Open = Callable[..., Agents]


@pytest.fixture(autouse=True)
def _loads_each_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests keep what was loaded; these are about the loading."""
    monkeypatch.setattr(registry, "load", load)


@pytest.fixture
async def saver(tmp_path: Path) -> AsyncIterator[BaseCheckpointSaver[Any]]:
    async with open_sqlite_saver(tmp_path / "checkpoints.db") as opened:
        yield opened


@pytest.fixture
def open_agents(tmp_path: Path) -> Open:
    """Opens a langgraph.json with these graphs, beside these files."""

    def write(graphs: dict[str, Any], files: dict[str, str], *, patience: float = 20, **more: Any) -> Agents:
        dependencies = more.pop("dependencies", ["."])
        for name, source in files.items():
            path = tmp_path / "team" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        manifest = tmp_path / "team" / "langgraph.json"
        manifest.parent.mkdir(exist_ok=True)
        manifest.write_text(json.dumps({"dependencies": dependencies, "graphs": graphs}))
        settings = make_settings(tmp_path, langgraph_json=manifest, **more)
        return Agents(settings, ChatModels(settings), patience=patience)

    return write


def module_of(folder: Path, name: str) -> Any:
    """The one module that was imported from this file of the team's."""
    place = str(folder / "team" / name)
    [module] = [one for one in list(sys.modules.values()) if getattr(one, "__file__", None) == place]
    return module


IDS = {"thread_id": "thread_1", "user_id": "user_1"}


async def run(
    agents: Agents, saver: Any, agent_id: str, *, given: Any = None, config: Any = None, **settings: Any
) -> Any:
    """Run an agent once with these settings."""
    config = {**(config or {}), **settings}
    async with agents.running(agent_id, saver, config, IDS) as graph:
        limit = agents.limits(agent_id, config).recursion_limit
        where: Any = {"configurable": {"thread_id": "thread_1"}, "recursion_limit": limit}
        context = agents.context_for(agent_id, graph, config, IDS)
        return await graph.ainvoke(given or {"text": "hello"}, where, context=context)


FORMS = (
    ECHO
    + """
    import contextlib
    from langchain_core.runnables import RunnableConfig
    from langgraph.func import entrypoint
    from langgraph_sdk.runtime import ServerRuntime

    uncompiled = builder()
    compiled = builder().compile()
    calls = []

    @entrypoint()
    def functional(state: dict) -> dict:
        return {"text": "functional " + state["text"]}

    def nothing():
        return builder("nothing")

    async def asynchronous():
        return builder("asynchronous").compile()

    def configured(config: RunnableConfig):
        return builder(f"{config['configurable'].get('style')} for {config['configurable'].get('thread_id')}")

    def any_name(settings):
        return builder(str(settings["configurable"].get("style")))

    async def with_runtime(runtime: ServerRuntime):
        executing = runtime.execution_runtime is not None
        return builder(f"{runtime.ensure_user().identity} {runtime.access_context} {executing}")

    def with_both(config: "RunnableConfig", runtime: "ServerRuntime", style="plain"):
        return builder(f"{style} {config['configurable'].get('thread_id')} {runtime.user.identity}")

    @contextlib.asynccontextmanager
    async def managed(config):
        calls.append("open")
        yield builder("managed").compile()
        calls.append("close")

    @contextlib.contextmanager
    def managed_plainly():
        calls.append("open")
        try:
            yield builder("managed plainly")
        finally:
            calls.append("close")

    def functional_factory():
        return functional
"""
)


class TestForms:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("uncompiled", "echo hello"),
            ("compiled", "echo hello"),
            ("functional", "functional hello"),
            ("nothing", "nothing hello"),
            ("asynchronous", "asynchronous hello"),
            ("configured", "brief for thread_1 hello"),
            ("any_name", "brief hello"),
            ("with_runtime", "user_1 threads.create_run True hello"),
            ("with_both", "plain thread_1 user_1 hello"),
            ("managed", "managed hello"),
            ("managed_plainly", "managed plainly hello"),
            ("functional_factory", "functional hello"),
        ],
    )
    async def test_each_form_is_loaded_and_runs(self, open_agents: Open, saver: Any, name: str, said: str) -> None:
        agents = open_agents({"one": f"./forms_{name}.py:{name}"}, {f"forms_{name}.py": FORMS})

        assert agents.get("one").problem is None
        assert await run(agents, saver, "one", style="brief") == {"text": said}

    async def test_a_factory_is_called_for_each_run_and_what_it_opened_is_closed(
        self, open_agents: Open, saver: Any, tmp_path: Path
    ) -> None:
        agents = open_agents({"one": "./closing.py:managed"}, {"closing.py": FORMS})
        calls = module_of(tmp_path, "closing.py").calls
        while_loading = list(calls)
        calls.clear()
        await run(agents, saver, "one")
        await run(agents, saver, "one")

        assert while_loading == ["open", "close"]
        assert calls == ["open", "close"] * 2

    async def test_no_setting_can_say_whose_run_it_is(self, open_agents: Open, saver: Any) -> None:
        source = f"{FORMS}\n    def whose(config): return builder(repr(sorted(config['configurable'].items())))"
        agents = open_agents({"one": "./whose_run.py:whose"}, {"whose_run.py": source})
        forged = {"thread_id": "t", "user_id": "u", "__pregel_send": 1, "langgraph_auth_user": "u", "limits": {}}

        ids = {
            "thread_id": "thread_1",
            **dict.fromkeys(("langgraph_auth_user_id", "langgraph_user_id", "user_id"), "user_1"),
        }
        expected = sorted({"style": "brief", **ids}.items())
        assert await run(agents, saver, "one", config=forged | {"style": "brief"}) == {"text": f"{expected} hello"}

    async def test_a_run_that_fails_closes_what_its_factory_opened(
        self, open_agents: Open, saver: Any, tmp_path: Path
    ) -> None:
        agents = open_agents({"one": "./failing.py:managed_plainly"}, {"failing.py": FORMS})
        calls = module_of(tmp_path, "failing.py").calls
        calls.clear()
        with pytest.raises(KeyError):
            await run(agents, saver, "one", given={"text": _Unprintable()})

        assert calls == ["open", "close"]

    def test_what_is_given_in_a_dict_is_kept(self, open_agents: Open) -> None:
        entry = {
            "path": "./described.py:uncompiled",
            "description": "Says it again",
            "answer_nodes": ["echo"],
            "call_text": "hash",
            "input_key": "text",
            "output_key": "text",
            "recursion_limit": 7,
            "node_timeout": 3,
            "retry": 2,
        }
        agent = open_agents({"one": entry}, {"described.py": FORMS}).get("one")

        assert (agent.description, agent.answer_nodes, agent.call_text) == ("Says it again", ("echo",), "hash")
        assert (agent.input_key, agent.output_key) == ("text", "text")
        assert agent.limits.model_dump() == {"recursion_limit": 7, "node_timeout": 3.0, "attempts": 2}

    async def test_a_module_of_a_dependency_is_found_by_its_name(self, open_agents: Open, saver: Any) -> None:
        files = {
            "src/otters_pkg/__init__.py": "",
            "src/otters_pkg/parts.py": ECHO,
            "src/otters_pkg/agent.py": "from .parts import builder\ngraph = builder('packaged')",
        }
        graphs = {"by_name": "otters_pkg.agent:graph", "by_path": "./src/otters_pkg/agent.py:graph"}
        agents = open_agents(graphs, files, dependencies=["./src", "langchain_openai"])

        assert agents.get("by_name").graph is not None
        assert await run(agents, saver, "by_path") == {"text": "packaged hello"}
        assert agents.get("by_name").version == agents.get("by_path").version

    async def test_files_of_the_same_name_in_two_folders_are_two_modules(
        self, open_agents: Open, saver: Any
    ) -> None:
        files = {f"{one}/same_name.py": f"{ECHO}\n    graph = builder('{one}')" for one in ("left", "right")}
        graphs = {one: f"./{one}/same_name.py:graph" for one in ("left", "right")}
        agents = open_agents(graphs, files, dependencies=["./left", "./right"])

        assert [await run(agents, saver, one) for one in graphs] == [
            {"text": "left hello"},
            {"text": "right hello"},
        ]

    def test_two_graphs_of_one_file_share_its_module(self, open_agents: Open, tmp_path: Path) -> None:
        files = {"deep/down/shared_file.py": f"{ECHO}\n    one = builder()\n    two = one"}
        graphs = {name: f"./deep/down/shared_file.py:{name}" for name in ("one", "two")}
        agents = open_agents(graphs, files, dependencies=[])

        assert [agent.problem for agent in agents.list()] == [None, None]
        module = module_of(tmp_path, "deep/down/shared_file.py")
        assert module.one is module.two


class _Unprintable:
    def __format__(self, spec: str) -> str:
        raise KeyError("no format")


class TestFailures:
    """A graph that cannot be loaded is shown as such, and harms no other."""

    @pytest.mark.parametrize(
        ("source", "entry", "reason"),
        [
            (
                "raise RuntimeError('no database')",
                "./broken.py:graph",
                "RuntimeError (broken.py, line 1): no database",
            ),
            ("import sys\nsys.exit(3)", "./broken.py:graph", "It asked to end the whole process (SystemExit)"),
            ("graph = = 1", "./broken.py:graph", "There is a syntax error in broken.py, line 1: invalid syntax."),
            (
                "import not_there_xyz",
                "./broken.py:graph",
                "The module 'not_there_xyz' is not there (broken.py, line 1)",
            ),
            ("x = 1", "./broken.py:graph", "There is no 'graph' in ./broken.py."),
            ("graph = 'text'", "./broken.py:graph", "It is a str, and neither a graph"),
            ("graph = lambda: 3", "./broken.py:graph", "It is a int, and neither a graph"),
            ("def graph(a, b): ...", "./broken.py:graph", "Its factory takes 'a', which nobody can give it"),
            ("def graph(config): return config['configurable']['x']", "./broken.py:graph", "KeyError (broken.py"),
            ("raise KeyboardInterrupt", "./broken.py:graph", "KeyboardInterrupt (broken.py, line 1)."),
            ("", "./nowhere.py:graph", "There is no file ./nowhere.py."),
            ("", "./agent.ts:graph", "./agent.ts is not a Python file."),
            ("", "broken.py", "'broken.py' should be path/file.py:variable or package.module:variable."),
            ("", 17, "Its entry in langgraph.json is wrong"),
            ("", {"description": "no path"}, "Its entry in langgraph.json is wrong (path: field required)"),
            (
                "",
                {"path": "./broken.py:graph", "call_text": "some"},
                "Its entry in langgraph.json is wrong (call_text",
            ),
            ("", {"path": "./broken.py:graph", "retry": 0}, "Its entry in langgraph.json is wrong (retry"),
            (
                f"{textwrap.dedent(ECHO)}\ngraph = StateGraph(State).add_node('a', print)",
                "./broken.py:graph",
                "ValueError: Graph must have an entrypoint",
            ),
        ],
    )
    async def test_the_reason_is_one_clear_sentence(
        self, open_agents: Open, saver: Any, source: str, entry: Any, reason: str
    ) -> None:
        graphs = {"broken": entry, "fine": "./fine.py:graph"}
        agents = open_agents(graphs, {"broken.py": source, "fine.py": f"{ECHO}\n    graph = builder()"})
        shown = agents.list()[0]

        assert (shown.problem or "")[: len(reason)] == reason
        assert "\n" not in (shown.problem or "")
        assert agents.default == "fine"
        assert await run(agents, saver, "fine") == {"text": "echo hello"}
        with pytest.raises(BadInputError, match="could not be loaded"):
            agents.get("broken")

    @pytest.mark.parametrize(
        "said",
        [
            "cannot log in with key-of-the-server-123456",
            "postgresql://app:hunter2hunter2@db/x refused",
            "OPENAI_API_KEY=abcdef-hunter2hunter2 is wrong",
            "{'api_key': 'hunter2hunter2'}",
            "Authorization: Bearer hunter2hunter2",
            "unknown key sk-proj-hunter2hunter2",
        ],
    )
    def test_a_reason_holds_no_secret(self, open_agents: Open, said: str) -> None:
        files = {"leaking.py": f"raise RuntimeError({said!r})"}
        agents = open_agents({"one": "./leaking.py:graph"}, files, openai_api_key="key-of-the-server-123456")
        problem = agents.list()[0].problem or ""

        assert "***" in problem
        assert "hunter2" not in problem
        assert "123456" not in problem

    def test_a_long_reason_is_cut(self, open_agents: Open) -> None:
        agents = open_agents(
            {"one": "./wordy.py:graph"}, {"wordy.py": "raise RuntimeError('far too much ' * 10_000)"}
        )

        assert len(agents.list()[0].problem or "") == 300

    def test_one_that_hangs_is_still_loading_and_there_once_it_is_done(
        self, open_agents: Open, tmp_path: Path
    ) -> None:
        waiting = f"""
            import time
            from pathlib import Path
            while not Path({str(tmp_path / "go")!r}).exists():
                time.sleep(0.01)
            from quick_one import builder
            graph = builder()
        """
        files = {"slow_one.py": waiting, "quick_one.py": f"{ECHO}\n    graph = builder()"}
        graphs = {"slow": "./slow_one.py:graph", "again": "./slow_one.py:graph", "quick": "./quick_one.py:graph"}
        agents = open_agents(graphs, files, patience=1)
        shown = [(agent.problem, agent.is_loading) for agent in agents.list()]
        with pytest.raises(BusyError, match="still loading"):
            agents.get("slow")
        (tmp_path / "go").touch()
        wait_until(lambda: not any(agent.is_loading for agent in agents.list()))

        assert shown == [("It is still loading.", True), ("It is still loading.", True), (None, False)]
        assert [agent.problem for agent in agents.list()] == [None, None, None]
        assert agents.get("slow").graph is not None

    async def test_a_huge_graph_is_loaded_and_runs(self, open_agents: Open, saver: Any) -> None:
        source = f"""{ECHO}
    graph = builder()
    for number in range(1_000):
        graph.add_node(f"n{{number}}", lambda state: {{"text": state["text"]}})
    """
        agents = open_agents({"huge": "./huge_one.py:graph"}, {"huge_one.py": source})

        assert await run(agents, saver, "huge") == {"text": "echo hello"}

    def test_an_agent_that_nobody_named_is_not_found(self, open_agents: Open) -> None:
        with pytest.raises(NotFoundError, match="no agent named 'two'"):
            open_agents({}, {}).get("two")

    @pytest.mark.parametrize("text", ["", "[]", '{"graphs": []}', "{}", "[" * 100_000])
    def test_a_file_that_is_no_langgraph_json_is_said_so(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "langgraph.json"
        path.write_text(text)
        settings = make_settings(tmp_path, langgraph_json=path)
        with pytest.raises(BadInputError, match=r"cannot be read as a langgraph\.json"):
            Agents(settings, ChatModels(settings))


LIMITED = """
    import asyncio, threading
    from typing import TypedDict
    from langgraph.graph import START, StateGraph

    class State(TypedDict):
        text: str

    tries = []
    release = threading.Event()

    async def never(state):
        await asyncio.Event().wait()

    def never_plain(state):
        release.wait(10)
        return {"text": "too late"}

    async def second_time(state):
        tries.append(1)
        if len(tries) < 2:
            raise ConnectionError("try again")
        return {"text": f"after {len(tries)} tries"}

    def on(state):
        return {"text": state["text"] + "."}

    asynchronous = StateGraph(State).add_node(never).add_edge(START, "never")
    synchronous = StateGraph(State).add_node(never_plain).add_edge(START, "never_plain")
    failing = StateGraph(State).add_node(second_time).add_edge(START, "second_time").compile()
    endless = StateGraph(State).add_node(on).add_edge(START, "on").add_edge("on", "on")
"""


class TestLimits:
    @pytest.fixture
    def agents(self, open_agents: Open, tmp_path: Path) -> Iterator[Agents]:
        names = ("asynchronous", "synchronous", "failing", "endless")
        graphs: dict[str, Any] = {name: f"./limited.py:{name}" for name in names}
        graphs["set"] = {"path": "./limited.py:endless", "recursion_limit": 5, "node_timeout": 9, "retry": 4}
        yield open_agents(graphs, {"limited.py": LIMITED})
        module_of(tmp_path, "limited.py").release.set()

    def test_those_of_langgraph_json_hold_until_a_run_chooses_others(self, agents: Agents) -> None:
        plain, fixed = agents.limits("endless", {}), agents.limits("set", {})
        chosen = agents.limits("set", {"limits": {"recursion_limit": 8, "attempts": None}})

        assert plain.model_dump() == {"recursion_limit": USUAL_STEPS, "node_timeout": None, "attempts": 1}
        assert fixed.model_dump() == {"recursion_limit": 5, "node_timeout": 9.0, "attempts": 4}
        assert chosen.model_dump() == {"recursion_limit": 8, "node_timeout": 9.0, "attempts": 4}

    @pytest.mark.parametrize(
        ("limits", "sentence"),
        [
            ({"recursion_limit": 0}, "The limit 'recursion_limit' cannot be used: input should be greater"),
            ({"node_timeout": "soon"}, "The limit 'node_timeout' cannot be used: input should be a valid number"),
            ({"node_timeout": float("nan")}, "The limit 'node_timeout' cannot be used"),
            ({"attempts": 1000}, "The limit 'attempts' cannot be used"),
            ([1], "The limits of a run have to be an object"),
        ],
    )
    def test_one_that_cannot_be_used_is_named(self, agents: Agents, limits: Any, sentence: str) -> None:
        with pytest.raises(BadInputError, match=sentence):
            agents.limits("endless", {"limits": limits})

    @pytest.mark.parametrize(("name", "node"), [("asynchronous", "never"), ("synchronous", "never_plain")])
    async def test_a_node_that_takes_too_long_fails_in_time(
        self, agents: Agents, saver: Any, name: str, node: str, tmp_path: Path
    ) -> None:
        with pytest.raises(NodeTimeoutError, match=f"'{node}' exceeded its run timeout of 0.200s"):
            await run(agents, saver, name, limits={"node_timeout": 0.2})
        module_of(tmp_path, "limited.py").release.set()

    async def test_what_a_synchronous_node_writes_too_late_is_dropped(
        self, agents: Agents, saver: Any, tmp_path: Path
    ) -> None:
        with pytest.raises(NodeTimeoutError):
            await run(agents, saver, "synchronous", limits={"node_timeout": 0.2})
        module_of(tmp_path, "limited.py").release.set()
        graph = agents.compiled("synchronous", saver)
        state = await graph.aget_state({"configurable": {"thread_id": "thread_1"}})

        assert (state.values, state.next) == ({"text": "hello"}, ("never_plain",))

    async def test_a_node_that_fails_for_a_moment_is_tried_again(self, agents: Agents, saver: Any) -> None:
        assert await run(agents, saver, "failing", limits={"attempts": 2}) == {"text": "after 2 tries"}

    async def test_without_more_attempts_it_fails_at_once(self, agents: Agents, saver: Any, tmp_path: Path) -> None:
        with pytest.raises(ConnectionError):
            await run(agents, saver, "failing")
        assert module_of(tmp_path, "limited.py").tries == [1]

    async def test_a_run_without_end_is_stopped_after_so_many_steps(self, agents: Agents, saver: Any) -> None:
        with pytest.raises(GraphRecursionError, match="limit of 5"):
            await run(agents, saver, "set")

    async def test_the_limits_of_one_run_are_not_those_of_the_next(self, agents: Agents, saver: Any) -> None:
        timeouts = []
        for limits in ({"node_timeout": 1}, {}):
            async with agents.running("endless", saver, {"limits": limits}, IDS) as graph:
                timeouts.append(graph.nodes["on"].timeout is not None)

        assert timeouts == [True, False]


SETTINGS = """
    from dataclasses import dataclass, field
    from typing import Annotated, Any, Literal, Required, TypedDict
    from langgraph.graph import START, StateGraph
    from pydantic import BaseModel, Field, field_validator
    from core.agents.models import ChatModels

    class State(TypedDict):
        text: str

    @dataclass
    class Plain:
        chat_models: ChatModels
        workspace: Any = None
        max_messages: int = 3
        style: Literal["brief", "long"] = "brief"
        words: Annotated[int, "How many words"] = 10
        tags: list[str] = field(default_factory=list)
        handler: ChatModels | None = None

    class Model(BaseModel):
        city: str = Field(description="Where it is", min_length=2)
        degrees: float = Field(default=20.5, le=50)

        @field_validator("city")
        @classmethod
        def known(cls, value):
            if value == "Atlantis":
                raise ValueError("nobody knows where Atlantis is")
            return value

    class Typed(TypedDict):
        language: Required[str]
        tone: str

    def graph(schema):
        def tell(state, runtime):
            return {"text": repr(runtime.context)}
        return StateGraph(State, context_schema=schema).add_node("tell", tell).add_edge(START, "tell")

    plain, model, typed, none = graph(Plain), graph(Model), graph(Typed), graph(None)
"""


class TestSettings:
    @pytest.fixture
    def agents(self, open_agents: Open) -> Agents:
        names = ("plain", "model", "typed", "none")
        return open_agents(
            {name: f"./chosen_settings.py:{name}" for name in names}, {"chosen_settings.py": SETTINGS}
        )

    def context(self, agents: Agents, agent_id: str, config: dict[str, Any], **given: Any) -> Any:
        graph = agents.get(agent_id).graph
        assert graph is not None
        return agents.context_for(agent_id, graph, config, IDS, **given)

    def test_what_skein_gives_wins_over_what_was_chosen(self, agents: Agents) -> None:
        config = {"chat_models": "mine", "workspace": "mine", "max_messages": 99, "style": "long"}
        context = self.context(agents, "plain", config, workspace="given")

        assert (type(context.chat_models), context.workspace) == (ChatModels, "given")
        assert (context.max_messages, context.style) == (6, "long")

    def test_a_key_that_the_schema_does_not_know_is_left_out(self, agents: Agents) -> None:
        assert self.context(agents, "typed", {"language": "en", "limits": {}, "x": 1}) == {"language": "en"}
        assert self.context(agents, "none", {"x": 1}) is None

    @pytest.mark.parametrize(
        ("agent_id", "config", "sentence"),
        [
            ("plain", {"style": "rude"}, "The setting 'style' cannot be used: input should be 'brief' or 'long'."),
            ("plain", {"words": "many"}, "The setting 'words' cannot be used: input should be a valid integer"),
            ("plain", {"tags": [1]}, "The setting 'tags.0' cannot be used"),
            ("model", {"city": "Atlantis"}, "The setting 'city' cannot be used: nobody knows where Atlantis is."),
            ("model", {"city": "X"}, "The setting 'city' cannot be used: string should have at least 2"),
            ("model", {"city": "Rome", "degrees": 60}, "The setting 'degrees' cannot be used"),
            ("model", {}, "This agent needs the setting 'city'"),
            ("typed", {}, "This agent needs the setting 'language'"),
            ("typed", {"language": 3}, "The setting 'language' cannot be used"),
        ],
    )
    def test_one_that_does_not_fit_is_named(
        self, agents: Agents, agent_id: str, config: dict[str, Any], sentence: str
    ) -> None:
        with pytest.raises(BadInputError) as caught:
            self.context(agents, agent_id, config)
        assert str(caught.value)[: len(sentence)] == sentence

    def test_the_schema_names_what_a_person_may_choose(self, agents: Agents) -> None:
        plain, model = agents.settings_schema("plain"), agents.settings_schema("model")
        typed = agents.settings_schema("typed")

        assert plain is not None
        assert plain["properties"] == {
            "style": {"default": "brief", "enum": ["brief", "long"], "title": "Style", "type": "string"},
            "words": {"default": 10, "description": "How many words", "title": "Words", "type": "integer"},
            "tags": {"default": [], "items": {"type": "string"}, "title": "Tags", "type": "array"},
        }
        assert model is not None
        assert (list(model["properties"]), model["required"]) == (["city", "degrees"], ["city"])
        assert model["properties"]["city"]["description"] == "Where it is"
        assert typed is not None
        assert (list(typed["properties"]), typed["required"]) == (["language", "tone"], ["language"])
        assert agents.settings_schema("none") is None


TOOLS = """
    from typing import Annotated
    from langchain.agents import create_agent
    from langchain_core.tools import tool
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.prebuilt import InjectedState, ToolNode
    from core.agents.demo import DemoChatModel

    @tool
    def send_mail(to: str, body: str, state: Annotated[dict, InjectedState]) -> str:
        "Send a mail."
        return to

    @tool
    def add(a: int, b: int = 2) -> int:
        "Add two numbers."
        return a + b

    agent = create_agent(DemoChatModel(), tools=[send_mail])
    whole = StateGraph(MessagesState).add_node("agent", agent).add_node("tools", ToolNode([add]))
    whole.add_edge(START, "agent")
    chat = StateGraph(MessagesState).add_node("said", lambda state: {}).add_edge(START, "said")
"""


class TestTools:
    def test_tools_are_found_in_a_graph_and_the_graphs_within(self, open_agents: Open) -> None:
        graphs = {name: f"./with_tools.py:{name}" for name in ("agent", "whole", "chat")}
        agents = open_agents(graphs, {"with_tools.py": TOOLS})
        found = agents.tools("whole")

        assert sorted(found) == ["add", "send_mail"]
        assert (sorted(found["send_mail"]["properties"]), found["send_mail"]["required"]) == (
            ["body", "to"],
            ["to", "body"],
        )
        assert found["add"]["properties"]["b"] == {"default": 2, "title": "B", "type": "integer"}
        assert list(agents.tools("agent")) == ["send_mail"]
        assert agents.tools("chat") == {}
