"""Whatever was under way when a run was cut, the next request is one that the strictest server takes.

Agents of several forms are asked for random tools at once, and stopped at a random moment. Then what had finished
is given to the model with its real result, what had not is closed, and every later message is answered.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from langchain_openai.chat_models import _client_utils

from core.access.viewer import Viewer
from core.history.turns import Turn
from core.runs.branching import edit, regenerate, retry
from core.skein import Skein, open_skein
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask, follow, turn_at
from tests.model_server import Behaviour, ModelServer

MANIFEST = Path(__file__).resolve().parents[1] / "graphs" / "cut.json"
Scenario = list[str]


class Script:
    """The model: it asks for the tools of the scenario at the first question, and answers all others."""

    def __init__(self) -> None:
        self.tools: Scenario = []

    def __call__(self, body: dict[str, Any], _: dict[str, str]) -> Behaviour:
        people = [one for one in body["messages"] if one["role"] == "user"]
        if len(people) == 1 and body["messages"][-1]["role"] == "user" and self.tools:
            calls = tuple((name, {"word": f"{name} {place}"}) for place, name in enumerate(self.tools))
            return Behaviour(tool_calls=calls)
        return Behaviour(text=f"answer to {people[-1]['content']}")


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def server(script: Script, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    _client_utils._cached_async_httpx_client.cache_clear()
    with ModelServer(behave=script, strict=True) as opened:
        monkeypatch.setenv("MODEL_URL", opened.base_url)
        yield opened


@pytest.fixture
def skein(tmp_path: Path, database_url: str, server: ModelServer) -> Iterator[Skein]:
    settings = make_settings(tmp_path, database_url=database_url, langgraph_json=MANIFEST)
    opened = open_skein(settings)
    yield opened
    opened.close()


@pytest.fixture
def viewer(skein: Skein) -> Viewer:
    return make_person(skein, "ada")


def results_in(server: ModelServer) -> dict[str, str]:
    """What the newest request says of each call that it holds, by the call's word."""
    messages = server.requests[-1].body["messages"]
    words = {}
    for message in messages:
        for call in message.get("tool_calls") or ():
            words[call["id"]] = call["function"]["arguments"]
    return {words[one["tool_call_id"]]: one["content"] for one in messages if one["role"] == "tool"}


def ended_in(skein: Skein, viewer: Viewer, turn: Turn) -> set[str]:
    """The results of the tools that had ended when the run did; what a thread does later is nobody's any more."""
    results = set()
    for event in follow(skein, viewer, turn.thread_id):
        if event.kind == "end":
            break
        if event.kind == "tool" and "result" in event.payload:
            results.add(event.payload["result"])
    return results


@given(
    agent=st.sampled_from(["agent", "node", "nested", "nested_node"]),
    tools=st.lists(st.sampled_from(["fast", "slow", "broken", "plain"]), max_size=4),
    after=st.integers(min_value=0, max_value=12),
    way=st.sampled_from(["say", "edit", "regenerate", "retry"]),
)
@hypothesis_settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_next_request_is_whole(
    skein: Skein,
    viewer: Viewer,
    server: ModelServer,
    script: Script,
    agent: str,
    tools: Scenario,
    after: int,
    way: str,
) -> None:
    script.tools = tools
    refused = sum(request.ended == "refused" for request in server.requests)
    turn = ask(skein, viewer, "one", agent=agent)
    seen = 0
    for events in skein.engine.attach(viewer, turn.thread_id):
        seen += sum(event.kind in {"tool", "node"} for event in events)
        if seen >= after:
            break
    skein.engine.stop(viewer, turn.thread_id)
    cut = answered(skein, viewer, turn.thread_id)

    second = answered(skein, viewer, ask(skein, viewer, "two", agent=agent, under=cut).thread_id)
    assert (second.status, second.answer) == ("done", "answer to two")
    given_back = results_in(server)
    if given_back:
        assert set(given_back.values()) >= ended_in(skein, viewer, cut)

    if way == "retry" and cut.status in {"stopped", "failed"}:
        script.tools = []
        added = retry(skein.engine, viewer, cut.thread_id)
        skein.engine.stop(viewer, added.thread_id)
        last = answered(skein, viewer, added.thread_id)
        third = answered(skein, viewer, ask(skein, viewer, "three", agent=agent, under=last).thread_id)
    elif way in {"edit", "regenerate"}:
        again = regenerate if way == "regenerate" else edit
        words = () if way == "regenerate" else ("other words",)
        third = turn_at(skein, viewer, again(skein.engine, viewer, second.message_id, *words).message_id)
        third = answered(skein, viewer, third.thread_id)
    else:
        third = answered(skein, viewer, ask(skein, viewer, "three", agent=agent, under=second).thread_id)
    assert third.status == "done"
    assert sum(request.ended == "refused" for request in server.requests) == refused
