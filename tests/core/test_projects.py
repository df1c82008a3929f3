"""Projects: packages of any name load beside Skein's own and beside each other's, and Python's tools work."""

import importlib
import json
import pickle
import sys
import textwrap
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver

import core
from core.agents.middleware import use_run_model
from core.agents.models import ChatModels
from core.agents.projects import Project, open_project
from core.agents.registry import Agents
from core.history.approvals import list_of_thread
from core.ids import ThreadId
from core.runs.decisions import Decision, decide
from core.skein import open_skein
from tests.conftest import make_person, make_settings
from tests.core.mains import run_listed
from tests.core.processes import another_process
from tests.core.support import ROOT, OnSqlite, answered

# A graph that says TEXT, which each project brings in in its own way.
SAYING = """
from typing import TypedDict
from langgraph.graph import START, StateGraph

class State(TypedDict):
    text: str

def say(state):
    {lazily}
    return {{"text": TEXT}}

graph = StateGraph(State).add_node(say).add_edge(START, "say").compile()
"""
Open = Callable[..., Agents]


def saying(bring_in: str, *, lazily: str = "pass") -> str:
    return f"{bring_in}\n{SAYING.format(lazily=lazily)}"


def write(folder: Path, files: dict[str, str]) -> None:
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))


def write_project(folder: Path, graphs: dict[str, Any], files: dict[str, str], **more: Any) -> Path:
    """A project with its ``langgraph.json``; gives that file."""
    write(folder, files)
    listed = folder / "langgraph.json"
    listed.write_text(json.dumps({"dependencies": ["."], "graphs": graphs, **more}))
    return listed


def open_agents(folder: Path, *listed: Path) -> Agents:
    settings = make_settings(folder, langgraph_json=listed)
    return Agents(settings, ChatModels(settings))


async def ask(agents: Agents, agent_id: str, saver: BaseCheckpointSaver[Any] | None = None) -> Any:
    assert agents.list() != []
    assert [agent.problem for agent in agents.list() if agent.agent_id == agent_id] == [None]
    async with agents.running(agent_id, saver or InMemorySaver(), {}, {}) as graph:
        return await graph.ainvoke({"text": "?"}, {"configurable": {"thread_id": "thread_1"}})


LAYOUTS: dict[str, tuple[str, dict[str, str], dict[str, Any]]] = {
    "src": (
        "./src/agent/graph.py:graph",
        {
            "pyproject.toml": "[project]\nname = 'agent'",
            "src/agent/__init__.py": "",
            "src/agent/prompts.py": "TEXT = 'here'",
            "src/agent/graph.py": saying("from agent.prompts import TEXT"),
        },
        {},
    ),
    "another folder that pyproject names": (
        "./lib/agent/graph.py:graph",
        {
            "pyproject.toml": '[tool.setuptools.package-dir]\n"" = "lib"',
            "lib/agent/__init__.py": "",
            "lib/agent/prompts.py": "TEXT = 'here'",
            "lib/agent/graph.py": saying("from agent.prompts import TEXT"),
        },
        {},
    ),
    "agents": (
        "./agents/graph.py:graph",
        {
            "agents/__init__.py": "",
            "agents/prompts.py": "TEXT = 'here'",
            "agents/graph.py": saying("from agents.prompts import TEXT"),
        },
        {},
    ),
    "core": (
        "./core/graph.py:graph",
        {
            "core/__init__.py": "",
            "core/deep/__init__.py": "from core.prompts import TEXT",
            "core/prompts.py": "TEXT = 'here'",
            "core/graph.py": saying("from .deep import TEXT"),
        },
        {},
    ),
    "core by its name": (
        "core.graph:graph",
        {"core/prompts.py": "TEXT = 'here'", "core/graph.py": saying("from core.prompts import TEXT")},
        {},
    ),
    "app, imported in a node": (
        "./app/graph.py:graph",
        {
            "app/__init__.py": "",
            "app/agents/__init__.py": "from app.settings import *",
            "app/settings.py": "TEXT = 'here'",
            "app/graph.py": saying("", lazily="from app.agents import TEXT"),
        },
        {},
    ),
    "a folder without __init__.py": (
        "./core/agents/graph.py:graph",
        {
            "core/agents/prompts.py": "TEXT = 'here'",
            "core/agents/graph.py": saying("import core.agents.prompts as prompts\nTEXT = prompts.TEXT"),
        },
        {},
    ),
    "tests and pages": (
        "./tests/graph.py:graph",
        {
            "pages/__init__.py": "",
            "pages/chat.py": "from tests.conftest import TEXT",
            "tests/__init__.py": "",
            "tests/conftest.py": "TEXT = 'here'",
            "tests/graph.py": saying("import pages.chat\nTEXT = pages.chat.TEXT"),
        },
        {},
    ),
    "a hyphen in the folder's name": (
        "./my-agent/graph.py:graph",
        {
            "my-agent/prompts.py": "TEXT = 'here'",
            "my-agent/utils.py": "from prompts import TEXT",
            "my-agent/graph.py": saying("from utils import TEXT"),
        },
        {"dependencies": ["./my-agent"]},
    ),
    "a hyphen in every name": (
        "./my-agent/my-graph.py:graph",
        {"my-agent/my-graph.py": saying("from utils import TEXT"), "utils.py": "TEXT = 'here'"},
        {},
    ),
    "a file that imports what lies beside it, as when it is run": (
        "./my-agent/src/graph.py:graph",
        {
            "my-agent/src/openai.py": "raise AssertionError('the installed one is meant')",
            "my-agent/src/pages.py": "TEXT = 'here'",
            "my-agent/src/graph.py": saying("from pages import TEXT\nfrom openai import OpenAI"),
        },
        {},
    ),
    "a dot in the folder's name": (
        "./v1.2/graph.py:graph",
        {"v1.2/graph.py": saying("from utils import TEXT"), "utils.py": "TEXT = 'here'"},
        {},
    ),
    "the folder is a package itself": (
        "./graph.py:graph",
        {
            "__init__.py": "",
            "graph.py": saying("from project.utils import TEXT\nfrom .utils import TEXT as again"),
            "utils.py": "TEXT = 'here'",
        },
        {},
    ),
    "a dependency beside it": (
        "./graph.py:graph",
        {"graph.py": saying("from utils.words import TEXT"), "../shared/utils/words.py": "TEXT = 'here'"},
        {"dependencies": [".", "../shared", "langchain_openai"]},
    ),
    "by name as text": (
        "./graph.py:graph",
        {
            "core/__init__.py": "",
            "core/words.py": "TEXT = 'he'",
            "core/more.py": "TEXT = 're'",
            "graph.py": saying(
                "import importlib, importlib.util as util\n"
                "assert util.find_spec('core.words') and util.find_spec('core.nothing') is None\n"
                "from importlib import import_module\n"
                "TEXT = importlib.import_module('core.words').TEXT + import_module('.more', package='core').TEXT"
            ),
        },
        {},
    ),
    "files beside the modules": (
        "./core/graph.py:graph",
        {
            "core/__init__.py": "",
            "core/text.txt": "here",
            "core/graph.py": saying(
                "import pkgutil\nfrom importlib import resources\nfrom pathlib import Path\nimport core\n"
                "TEXT = resources.files('core').joinpath('text.txt').read_text()\n"
                "assert TEXT == resources.files(__package__).joinpath('text.txt').read_text()\n"
                "assert TEXT == pkgutil.get_data('core', 'text.txt').decode()\n"
                "assert TEXT == (Path(__file__).parent / 'text.txt').read_text()\n"
                "assert [one.name for one in pkgutil.iter_modules(core.__path__)] == ['graph']"
            ),
        },
        {},
    ),
    "modules that import each other": (
        "./core/graph.py:graph",
        {
            "core/__init__.py": "",
            "core/one.py": "import core.two\nTEXT = 'here'\ndef tell(): return core.two.TEXT",
            "core/two.py": "from core import one\nfrom core.one import __name__ as other\nTEXT = 'here'",
            "core/graph.py": saying("from core.one import tell\nTEXT = tell()"),
        },
        {},
    ),
    "on a thread": (
        "./core/graph.py:graph",
        {
            "core/__init__.py": "",
            "core/late.py": "TEXT = 'here'",
            "core/graph.py": saying(
                "from concurrent.futures import ThreadPoolExecutor\n"
                "def find():\n    import core.late\n    return core.late.TEXT\n",
                lazily="TEXT = ThreadPoolExecutor(1).submit(find).result()",
            ),
        },
        {},
    ),
    "code made at run time": (
        "./core/graph.py:graph",
        {
            "core/__init__.py": "",
            "core/late.py": "TEXT = 'here'",
            "core/graph.py": saying(
                "", lazily="made = {}; exec('from core.late import TEXT', made); TEXT = made['TEXT']"
            ),
        },
        {},
    ),
}


class TestEveryLayout:
    @pytest.mark.parametrize("layout", LAYOUTS)
    async def test_loads_and_runs(self, tmp_path: Path, layout: str) -> None:
        place, files, more = LAYOUTS[layout]
        before = list(sys.path)
        agents = open_agents(tmp_path, write_project(tmp_path / "project", {"one": place}, files, **more))

        assert await ask(agents, "one") == {"text": "here"}
        assert sys.path == before
        assert sys.modules["core"] is core

    async def test_two_projects_have_modules_of_the_same_names(self, tmp_path: Path) -> None:
        listed = [
            write_project(
                tmp_path / name,
                {name: "./agents/graph.py:graph"},
                {
                    "utils.py": f"WORD = '{name}'",
                    "agents/__init__.py": "",
                    "agents/words.py": "def tell():\n    from utils import WORD\n    return WORD",
                    "agents/graph.py": saying("from agents.words import tell", lazily="TEXT = tell()"),
                },
            )
            for name in ("left", "right")
        ]
        agents = open_agents(tmp_path, *listed)

        assert [await ask(agents, name) for name in ("left", "right")] == [{"text": "left"}, {"text": "right"}]
        assert "utils" not in sys.modules


def project_of(folder: Path, files: dict[str, str]) -> Project:
    write(folder, files)
    return open_project(folder / "langgraph.json", [folder], [])


class TestWhoseAModuleIs:
    def test_skeins_own_stay_skeins_own(self, tmp_path: Path) -> None:
        project = project_of(
            tmp_path, {"utils.py": "from core.agents.middleware import use_run_model\nimport core as house"}
        )
        module = importlib.import_module(project.full_name("utils"))

        assert module.use_run_model is use_run_model
        assert module.house is core

    def test_the_shipped_agents_are_no_copies(self, tmp_path: Path) -> None:
        place = f"{ROOT / 'core' / 'agents' / 'assistant.py'}:graph"
        listed = write_project(tmp_path / "project", {"one": place}, {"core/agents/assistant.py": "graph = None"})
        for agents in (open_agents(tmp_path, listed), open_agents(tmp_path, ROOT / "langgraph.json")):
            assert agents.list()[0].problem is None
        assert [name for name in sys.modules if name.endswith(".agents.assistant")] == ["core.agents.assistant"]

    def test_what_comes_with_python_is_never_replaced(self, tmp_path: Path) -> None:
        files = {"types.py": "x = 1", "email/__init__.py": "x = 1", "utils.py": "import types, email.message"}
        module = importlib.import_module(project_of(tmp_path, files).full_name("utils"))

        assert (module.types, module.email) == (sys.modules["types"], sys.modules["email"])

    def test_a_folder_that_is_no_package_hides_nothing_that_is_installed(self, tmp_path: Path) -> None:
        files = {
            "langgraph/notes.py": "",
            "langchain_core/notes.py": "",
            "data/words.py": "x = 1",
            "utils.py": "from langgraph.graph import StateGraph\nimport langchain_core.tools\nimport data.words",
        }
        module = importlib.import_module(project_of(tmp_path, files).full_name("utils"))

        assert module.langchain_core is sys.modules["langchain_core"]
        assert module.data.words.x == 1

    def test_a_project_is_named_alike_wherever_it_is(self, tmp_path: Path) -> None:
        one = project_of(tmp_path / "releases" / "1" / "otter-desk", {})
        other = project_of(tmp_path / "releases" / "2" / "otter-desk", {})

        assert one.name == "skein_project_otter_desk"
        assert other.name.startswith("skein_project_otter_desk_")
        assert project_of(tmp_path / "releases" / "1" / "otter-desk", {}) is one


TYPES = """
    from __future__ import annotations
    import inspect
    from collections import deque
    from dataclasses import dataclass, field
    from enum import Enum
    from typing import NamedTuple
    from pydantic import BaseModel

    class Colour(Enum):
        RED = "red"

    class Point(NamedTuple):
        x: int

    @dataclass
    class Note:
        colour: Colour
        inner: Note | None = None

    class Box(BaseModel):
        notes: list[Note]
        next: Box | None = None

    class Tags(set):
        pass

    class Plain:
        def __init__(self, *args, **named):
            raise AssertionError("nobody makes this of a checkpoint")

    def act(*args, **named):
        raise AssertionError("nobody calls this for a checkpoint")

    source = inspect.getsource(Note)
"""


class TestPythonsOwnTools:
    @pytest.fixture
    def module(self, tmp_path: Path) -> Any:
        project = project_of(tmp_path, {"core/__init__.py": "", "core/types.py": TYPES})
        return importlib.import_module(project.full_name("core.types"))

    def test_annotations_are_read(self, module: Any) -> None:
        assert typing.get_type_hints(module.Note) == {"colour": module.Colour, "inner": module.Note | None}
        box = module.Box.model_validate({"notes": [{"colour": "red"}], "next": {"notes": []}})
        assert box.notes == [module.Note(module.Colour.RED)]

    def test_a_type_is_found_again_by_its_modules_name(self, module: Any) -> None:
        note = module.Note(module.Colour.RED)

        assert pickle.loads(pickle.dumps(note)) == note
        assert importlib.import_module(module.Note.__module__).Note is module.Note

    def test_the_source_is_read(self, module: Any) -> None:
        assert module.source.startswith("@dataclass\nclass Note:")

    @pytest.mark.parametrize(
        ("source", "message", "name"),
        [
            ("import nothing_here", "No module named 'nothing_here'", "nothing_here"),
            ("import core.nothing", "No module named 'core.nothing'", "core.nothing"),
            ("from core.nothing import x", "No module named 'core.nothing'", "core.nothing"),
            ("from .core import x", "attempted relative import with no known parent package", None),
            ("import core.climbing", "attempted relative import beyond top-level package", None),
            (
                "__import__('importlib').import_module('core.nothing')",
                "No module named 'core.nothing'",
                "core.nothing",
            ),
        ],
    )
    def test_an_error_speaks_of_the_projects_own_names(
        self, tmp_path: Path, source: str, message: str, name: str | None
    ) -> None:
        files = {"core/__init__.py": "", "core/climbing.py": "from .. import utils", "utils.py": source}
        project = project_of(tmp_path, files)
        with pytest.raises(ImportError) as caught:
            importlib.import_module(project.full_name("utils"))

        assert (str(caught.value), caught.value.name) == (message, name)

    def test_what_a_module_lacks_is_said_in_its_own_words(self, tmp_path: Path) -> None:
        files = {"core/__init__.py": "", "graph.py": "from core import nothing"}
        agents = open_agents(tmp_path, write_project(tmp_path / "team", {"one": "./graph.py:graph"}, files))

        said = agents.list()[0].problem or ""
        assert said.startswith("ImportError (graph.py, line 1): cannot import name 'nothing' from 'core' (")


KEEPING = """
    from typing import Any, TypedDict
    from langgraph.graph import START, StateGraph
    from langgraph.types import interrupt

    class State(TypedDict, total=False):
        text: str
        kept: Any
        answer: str

    def keep(state):
        from core.types import Box, Colour, Note, Point, Tags
        note = Note(Colour.RED, Note(Colour.RED))
        return {"kept": [Colour.RED, Point(3), note, Box(notes=[note]), Tags([1])]}

    def wait(state):
        return {"text": interrupt("go on?")}

    def tell(state):
        return {"answer": " ".join(f"{type(one).__module__}.{type(one).__name__}" for one in state["kept"])}

    inner = StateGraph(State).add_node(wait).add_edge(START, "wait").compile()
    graph = StateGraph(State).add_node(keep).add_node("inner", inner).add_node(tell)
    graph.add_edge(START, "keep").add_edge("keep", "inner").add_edge("inner", "tell")
    graph = graph.compile()
"""


class TestTypesInCheckpoints(OnSqlite):
    def test_come_back_in_another_process_also_where_the_state_declares_none(
        self, tmp_path: Path, database_url: str
    ) -> None:
        files = {"core/__init__.py": "", "core/types.py": TYPES, "graph.py": KEEPING}
        listed = write_project(tmp_path / "otter-works", {"keeping": "./graph.py:graph"}, files)
        told = {"folder": tmp_path, "database_url": database_url, "langgraph_json": listed}
        with another_process(run_listed, told, "keeping") as other:
            user_id, thread_id = other.hear()
            assert other.wait() == 0
        assert not [name for name in sys.modules if name.startswith("skein_project_otter_works.core")]
        skein = open_skein(make_settings(tmp_path, database_url=database_url, langgraph_json=listed))
        try:
            viewer = make_person(skein, "bob", "admin")
            with skein.database.read() as db:
                [row] = list_of_thread(viewer, db, thread_id)
            decide(
                skein.engine,
                viewer,
                row.approval_id,
                [Decision("answer", answer="yes")],
                arguments_hash=row.arguments_hash,
            )
            turn = answered(skein, viewer, ThreadId(thread_id))
        finally:
            skein.close()

        names = ("Colour", "Point", "Note", "Box", "Tags")
        assert turn.answer == " ".join(f"skein_project_otter_works.core.types.{name}" for name in names)
        assert turn.user_id == user_id

    @pytest.mark.parametrize(
        ("module", "name", "is_own"),
        [
            ("core.types", "Note", True),
            ("core.types", "Plain", False),
            ("core.types", "act", False),
            ("core.types", "deque", False),
            ("core.types", "BaseModel", False),
            ("core.types", "nothing", False),
            ("core.bad", "Note", False),
            ("core.nothing", "Note", False),
            ("nothing", "Note", False),
        ],
    )
    def test_nothing_else_of_a_project_is_made_or_called(
        self, tmp_path: Path, module: str, name: str, is_own: bool
    ) -> None:
        files = {
            "core/__init__.py": "",
            "core/types.py": TYPES,
            "core/bad.py": "raise AssertionError('nobody imports this for a checkpoint')",
        }
        project = project_of(tmp_path / "team", files)

        assert project.is_own_type(f"{project.name}.{module}", name) is is_own
        assert project.is_own_type(f"skein_project_of_others.{module}", name) is False
        assert project.is_own_type("subprocess", "Popen") is False


class TestAFileNamedAsItsFolder:
    def test_is_imported_beside_what_lies_there(self, tmp_path: Path) -> None:
        folder = tmp_path / "src" / "agent"
        folder.mkdir(parents=True)
        (folder / "words.py").write_text("TEXT = 'beside'")
        (folder / "agent.py").write_text(
            "from words import TEXT\n"
            "from langgraph.graph import START, StateGraph\n"
            "graph = StateGraph(dict).add_node('say', lambda state: {'text': TEXT}).add_edge(START, 'say')\n"
        )
        (tmp_path / "pyproject.toml").write_text("[project]\nname = 'named'\nversion = '1'\n")
        file = tmp_path / "langgraph.json"
        file.write_text(json.dumps({"dependencies": ["."], "graphs": {"one": "./src/agent/agent.py:graph"}}))
        settings = make_settings(tmp_path, langgraph_json=file)
        [agent] = Agents(settings, ChatModels(settings)).list()
        assert agent.problem is None
