"""Every shape of graph gives in Skein what it gives bare: states, questions, errors, deeds, requests to models."""

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_openai.chat_models import _client_utils
from langgraph.pregel import Pregel

from core.agents.factories import as_graph
from core.checking.bare import Answer, BareRun, Say
from core.checking.here import RunHere
from core.checking.outcomes import find_differences
from core.skein import Skein, open_skein
from tests.conftest import make_person, make_settings
from tests.graphs import all_shapes
from tests.graphs.deeds import DEEDS
from tests.model_server import Behaviour, ModelServer

MANIFEST = Path(__file__).resolve().parents[1] / "graphs" / "every_shape.json"
TWO_TURNS = (Say("hello"), Say("once more"))
ASKING = {
    "questions": (Say("hello"), Answer("one"), Answer("two"), Say("again")),
    "nested_question": (Say("hello"), Answer("one"), Say("again"), Answer("two")),
    "asks_twice": (Say("hello"), Answer("one"), Answer("two")),
    "asking_first": (Say("hello"), Answer({"decisions": [{"type": "approve"}]})),
}
MODULES = {
    name: Path(path.partition(":")[0]).stem for name, path in json.loads(MANIFEST.read_text())["graphs"].items()
}


def fill(schema: dict[str, Any], definitions: dict[str, Any] | None = None) -> Any:
    """The plainest value that a JSON schema allows."""
    definitions = definitions or schema.get("$defs", {})
    if "$ref" in schema:
        return fill(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return fill(schema["anyOf"][0], definitions)
    match schema.get("type"):
        case "object":
            return {name: fill(inner, definitions) for name, inner in schema.get("properties", {}).items()}
        case "array":
            return [fill(schema.get("items", {"type": "string"}), definitions)]
        case "integer" | "number":
            return 2
        case "boolean":
            return True
    return "word"


def behave(body: dict[str, Any], _: dict[str, str]) -> Behaviour:
    """A model that calls each tool once per question, then says what came of it; the same for the same request."""
    if "response_format" in body:
        return Behaviour(text=json.dumps(fill(body["response_format"]["json_schema"]["schema"])))
    messages = body["messages"]
    asked = max((place for place, one in enumerate(messages) if one["role"] == "user"), default=0)
    results = [one["content"] for one in messages[asked:] if one["role"] == "tool"]
    tools = {one["function"]["name"]: one["function"] for one in body.get("tools", ())}
    form = tools.pop("Weather", None)
    if tools and not results:
        return Behaviour(tool_calls=tuple((name, fill(one["parameters"])) for name, one in list(tools.items())[:2]))
    if form is not None:
        return Behaviour(tool_calls=(("Weather", fill(form["parameters"])),))
    return Behaviour(text=f"answer to {str(messages[asked]['content'])[:20]} with {sorted(map(str, results))}")


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(behave=behave, strict=True) as opened, pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL_URL", opened.base_url)
        yield opened


@pytest.fixture(autouse=True)
def _a_client_for_each_loop() -> None:
    """LangChain keeps one client for the whole process, and each test has a loop of its own."""
    _client_utils._cached_async_httpx_client.cache_clear()


@pytest.fixture
def skein(tmp_path: Path, database_url: str, server: ModelServer) -> Iterator[Skein]:
    opened = open_skein(make_settings(tmp_path, database_url=database_url, langgraph_json=MANIFEST))
    yield opened
    opened.close()


def make(name: str) -> Pregel[Any, Any, Any, Any]:
    found = getattr(importlib.import_module(f"tests.graphs.{MODULES[name]}"), name)
    return as_graph(found() if not isinstance(found, Pregel) else found)


def requests_since(server: ModelServer, start: int) -> list[str]:
    """What was asked of the model since, but for how it was to be sent, and the ids of calls."""
    bodies = []
    for request in server.requests[start:]:
        body = {name: value for name, value in request.body.items() if name not in {"stream", "stream_options"}}
        text = json.dumps(body, sort_keys=True)
        ids = re.findall(r"call_\d+_\d+", text)
        for number, own in enumerate(dict.fromkeys(ids)):
            text = text.replace(own, f"call {number}")
        bodies.append(text)
    return sorted(bodies)


@pytest.mark.parametrize("name", MODULES)
def test_it_is_the_same_bare_and_here(skein: Skein, server: ModelServer, name: str) -> None:
    problem = next(agent.problem for agent in skein.agents.list() if agent.agent_id == name)
    assert problem is None
    steps = ASKING.get(name, TWO_TURNS)

    DEEDS.clear()
    begun = len(server.requests)
    context = all_shapes.Context() if name == "with_context" else None
    bare = skein.run_on_loop(BareRun(make(name), context=context).run(steps))
    bare_deeds, bare_requests = sorted(DEEDS), requests_since(server, begun)

    DEEDS.clear()
    begun = len(server.requests)
    here = RunHere(skein, make_person(skein, "ada"), name).run(steps)

    assert find_differences(bare, here) == []
    assert (sorted(DEEDS), requests_since(server, begun)) == (bare_deeds, bare_requests)
    assert len(here[0].states) > 1 or name == "error"
