"""Several ``langgraph.json`` at once, and what they say beside their graphs: environment, keys that do nothing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.agents.models import ChatModels
from core.agents.registry import Agents
from core.errors import BadInputError
from core.outside import read_failure
from core.settings import load_settings, share_model_server
from tests.conftest import make_settings

GRAPH = """
import os
from typing import TypedDict
from langgraph.graph import START, StateGraph
seen = {name: value for name, value in os.environ.items() if name.startswith("OTTER_")}
graph = StateGraph(TypedDict("State", {"text": str})).add_node("say", lambda state: {}).add_edge(START, "say")
"""


@pytest.fixture(autouse=True)
def _environment_is_as_before() -> Iterator[None]:
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def write_project(folder: Path, *names: str, source: str = GRAPH, **more: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "graph.py").write_text(source)
    listed = folder / "langgraph.json"
    listed.write_text(json.dumps({"graphs": dict.fromkeys(names, "./graph.py:graph"), **more}))
    return listed


def open_agents(folder: Path, *listed: Path) -> Agents:
    settings = make_settings(folder, langgraph_json=listed)
    return Agents(settings, ChatModels(settings))


class TestSeveralFiles:
    def test_all_their_agents_are_offered_in_their_order(self, tmp_path: Path) -> None:
        agents = open_agents(
            tmp_path, write_project(tmp_path / "one", "a", "b"), write_project(tmp_path / "two", "c")
        )

        assert [(agent.agent_id, agent.problem, agent.origin) for agent in agents.list()] == [
            ("a", None, "one/langgraph.json"),
            ("b", None, "one/langgraph.json"),
            ("c", None, "two/langgraph.json"),
        ]

    def test_an_id_that_is_taken_has_the_folders_name_before_it(self, tmp_path: Path) -> None:
        listed = [write_project(tmp_path / name, "agent") for name in ("one", "two", "more/two", "three")]
        agents = open_agents(tmp_path, *listed)

        assert [agent.agent_id for agent in agents.list()] == ["agent", "two/agent", "two/agent-2", "three/agent"]
        assert [agent.problem for agent in agents.list()] == [None] * 4

    def test_one_that_cannot_be_read_harms_no_other(self, tmp_path: Path) -> None:
        broken = tmp_path / "broken.json"
        broken.write_text("{")
        agents = open_agents(tmp_path, broken, write_project(tmp_path / "two", "c"))

        assert [agent.problem for agent in agents.list()] == [None]
        assert ["broken.json cannot be read as a langgraph.json" in problem for problem in agents.problems] == [
            True
        ]

    def test_when_none_can_be_read_that_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(BadInputError, match=r"missing\.json cannot be read"):
            open_agents(tmp_path, tmp_path / "missing.json", tmp_path / "too.json")

    def test_one_that_is_named_twice_is_one(self, tmp_path: Path) -> None:
        listed = write_project(tmp_path / "one", "a")
        assert [agent.agent_id for agent in open_agents(tmp_path, listed, listed).list()] == ["a"]

    @pytest.mark.parametrize("sign", [os.pathsep, ",", ", "])
    def test_they_are_named_in_one_setting(self, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
        monkeypatch.setenv("SKEIN_LANGGRAPH_JSON", sign.join(["one/langgraph.json", "two/langgraph.json"]))
        assert load_settings(_env_file=None).langgraph_json == (
            Path("one/langgraph.json").absolute(),
            Path("two/langgraph.json").absolute(),
        )

    def test_a_path_with_a_comma_in_it_is_one_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        listed = write_project(tmp_path / "ours, and theirs", "a")
        monkeypatch.setenv("SKEIN_LANGGRAPH_JSON", str(listed))
        assert load_settings(_env_file=None).langgraph_json == (listed,)

    def test_nothing_is_the_usual_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SKEIN_LANGGRAPH_JSON", "")
        assert [path.is_file() for path in load_settings(_env_file=None).langgraph_json] == [True]


def raising(name: str) -> str:
    return f"import os\nraise RuntimeError('cannot log in with ' + os.environ[{name!r}])"


class TestTheEnvironment:
    def test_a_file_is_read_before_the_modules_are(self, tmp_path: Path) -> None:
        listed = write_project(tmp_path / "one", "a", source=raising("OTTER_COLOUR"), env=".env")
        (tmp_path / "one" / ".env").write_text("# ours\nexport OTTER_COLOUR='red'\nOTTER_EMPTY=\n")
        agents = open_agents(tmp_path, listed)

        assert (agents.list()[0].problem or "").endswith("cannot log in with red")
        assert (os.environ["OTTER_EMPTY"], agents.problems) == ("", [])

    def test_an_object_is_taken_as_it_is(self, tmp_path: Path) -> None:
        open_agents(tmp_path, write_project(tmp_path / "one", "a", env={"OTTER_COLOUR": "red", "OTTER_COUNT": 3}))
        assert (os.environ["OTTER_COLOUR"], os.environ["OTTER_COUNT"]) == ("red", "3")

    def test_what_is_set_already_stays(self, tmp_path: Path) -> None:
        os.environ["OTTER_COLOUR"] = "green"
        agents = open_agents(tmp_path, write_project(tmp_path / "one", "a", env={"OTTER_COLOUR": "red"}))

        assert os.environ["OTTER_COLOUR"] == "green"
        [problem] = agents.problems
        said = "one/langgraph.json: OTTER_COLOUR in its env is not used: it is set already"
        assert problem == f"{said} where Skein was started."

    def test_a_value_that_two_projects_want_differently_is_named(self, tmp_path: Path) -> None:
        listed = [
            write_project(tmp_path / name, name, env={"OTTER_COLOUR": colour, "OTTER_SIZE": "long-and-thin"})
            for name, colour in (("one", "red-as-a-rose"), ("two", "green-as-grass"))
        ]
        agents = open_agents(tmp_path, *listed)

        assert os.environ["OTTER_COLOUR"] == "red-as-a-rose"
        [problem] = agents.problems
        said = "two/langgraph.json: OTTER_COLOUR has another value in one/langgraph.json, which holds for both"
        assert problem == f"{said}; give one of them another name."

    @pytest.mark.parametrize(
        ("env", "problem"),
        [
            ("nowhere.env", "one/langgraph.json: there is no file nowhere.env that env names."),
            (["A"], "one/langgraph.json: env should be the path of a file, or an object."),
            (
                {"SKEIN_MODEL": "gpt-4o"},
                "one/langgraph.json: SKEIN_MODEL in its env is a setting of Skein's own, and left alone.",
            ),
            ({"OTTER=COLOUR": "red"}, "one/langgraph.json: OTTER=COLOUR in its env cannot be set."),
            ({"OTTER_COLOUR": "r\0d"}, "one/langgraph.json: OTTER_COLOUR in its env cannot be set."),
        ],
    )
    def test_what_cannot_be_used_is_one_sentence_and_harms_no_graph(
        self, tmp_path: Path, env: Any, problem: str
    ) -> None:
        agents = open_agents(tmp_path, write_project(tmp_path / "one", "a", env=env))

        assert (agents.problems, agents.list()[0].problem) == ([problem], None)
        assert "SKEIN_MODEL" not in os.environ

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            ("OTTER_PASSPHRASE", "h2ters", "***"),
            ("OTTER_API_KEY", "hunter-of-fish", "***"),
            ("OTTER_WORD", "sk-hunter2-of-fish", "***"),
            ("OTTER_DATABASE", "postgresql://u:hunter2@db/x", "postgresql://***@db/x"),
            ("OTTER_WORD", "hunter-of-fish", "hunter-of-fish"),
            ("OTTER_KEY_FILE", "/keys/otter.pem", "/keys/otter.pem"),
        ],
    )
    def test_errors_show_its_values_but_for_secrets(
        self, tmp_path: Path, name: str, value: str, shown: str
    ) -> None:
        agents = open_agents(
            tmp_path, write_project(tmp_path / "one", "a", source=raising(name), env={name: value})
        )

        assert (agents.list()[0].problem or "").endswith(f"cannot log in with {shown}")

    def test_a_password_in_an_address_is_hidden_alone_too(self, tmp_path: Path) -> None:
        env = {"OTTER_DATABASE": "postgresql://u:hunter2@db/x"}
        agents = open_agents(tmp_path, write_project(tmp_path / "one", "a", env=env))
        assert agents.problems == []
        assert read_failure("no such user as hunter2") == "no such user as ***"


class TestOtherKeys:
    def test_those_that_do_nothing_here_are_named_in_one_sentence(self, tmp_path: Path) -> None:
        listed = write_project(
            tmp_path / "one",
            "a",
            http={"app": "x"},
            auth={"path": "x"},
            ui={"a": "x"},
            webhooks={},
            store={"index": {}},
        )
        assert open_agents(tmp_path, listed).problems == [
            "one/langgraph.json: Skein does not support http, auth and ui."
        ]

    def test_those_about_an_image_are_of_no_concern(self, tmp_path: Path) -> None:
        listed = write_project(
            tmp_path / "one", "a", python_version="3.12", pip_config_file="x", image_distro="wolfi"
        )
        assert open_agents(tmp_path, listed).problems == []

    def test_a_pyproject_that_is_none_is_said_and_harms_no_graph(self, tmp_path: Path) -> None:
        listed = write_project(tmp_path / "one", "a")
        (tmp_path / "one" / "pyproject.toml").write_text("[tool")
        agents = open_agents(tmp_path, listed)

        assert agents.list()[0].problem is None
        assert ["one/pyproject.toml cannot be read" in problem for problem in agents.problems] == [True]


class TestTheModelServerOfSkeinsOwnFile:
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.chdir(tmp_path)
        (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-1\nOPENAI_BASE_URL=http://x/v1\nOTTER_COLOUR=red\n")

    def test_reaches_a_graphs_own_client_and_nothing_else_does(self) -> None:
        share_model_server()
        assert (os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"]) == ("sk-1", "http://x/v1")
        assert "OTTER_COLOUR" not in os.environ

    def test_is_not_put_over_what_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OPENAI_BASE_URL", "http://y/v1")
        share_model_server()
        assert os.environ["OPENAI_BASE_URL"] == "http://y/v1"

    def test_stays_in_the_file_where_settings_are_only_read(self) -> None:
        assert load_settings().openai_base_url == "http://x/v1"
        assert "OPENAI_BASE_URL" not in os.environ
