"""``check-graph`` says of a graph what is safe in Skein and what is not, and why."""

import json
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.checking.apart import check_apart
from core.cli import app
from core.errors import ForbiddenError
from core.skein import open_skein
from tests.conftest import make_person, make_settings

GOOD = """
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware
    from langchain_core.tools import tool

    @tool
    def pay(to: str, amount: int) -> str:
        "Pay somebody."
        return f"paid {amount} to {to}"

    def asks():
        return create_agent("openai:some-model", [pay], middleware=[HumanInTheLoopMiddleware({"pay": True})])
"""
BAD = """
    import random
    import time
    from langchain.chat_models import init_chat_model
    from langchain_core.messages import AIMessage
    from langgraph.graph import START, MessagesState, StateGraph
    from langgraph.store.base import BaseStore

    async def blocks(state):
        time.sleep(1)
        return {"messages": [AIMessage(f"a number: {random.random()}")]}

    def by_thread(state, config):
        return {"messages": [AIMessage(config["configurable"]["thread_id"][:4])]}

    graph = StateGraph(MessagesState).add_node("blocks", blocks).add_edge(START, "blocks")
    threads = StateGraph(MessagesState).add_node("by_thread", by_thread).add_edge(START, "by_thread")
    async def remember(state, *, store: BaseStore):
        found = await store.asearch(("people",), query="Who?")
        await store.aput(("people",), str(len(found)), {"text": state["messages"][-1].text})
        print('{"found": ' + str(len(found)) + "}")
        return {"messages": [AIMessage(f"{len(found)} by meaning, {[one.score is not None for one in found]}")]}

    def embed(texts):
        return [[float(len(text)), 1.0] for text in texts]

    async def leave_open(state):
        model = init_chat_model("openai:some-model").bind_tools([embed_word])
        asked = await model.ainvoke(state["messages"])
        return {"messages": [await model.ainvoke([*state["messages"], asked])]}

    def embed_word(word: str) -> str:
        "Embed a word."
        return word

    refused = StateGraph(MessagesState).add_node("leave_open", leave_open).add_edge(START, "leave_open")
    remembers = StateGraph(MessagesState).add_node("remember", remember).add_edge(START, "remember")
    broken = "no graph"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "good.py").write_text(textwrap.dedent(GOOD))
    (tmp_path / "bad.py").write_text(textwrap.dedent(BAD))
    (tmp_path / "langgraph.json").write_text('{"dependencies": ["."], "graphs": {"bad": "./bad.py:graph"}}')
    return tmp_path


def said(folder: Path, graph: str) -> tuple[int, dict[str, str], str]:
    """The exit code, how each trial went by what was tried, and the whole text."""
    result = CliRunner().invoke(app, ["check-graph", graph, "--folder", str(folder)])
    lines = [line.strip() for line in result.stdout.splitlines()]
    safety = {}
    for line in lines:
        for word in ("NOT SAFE", "NOT TRIED", "SAFE"):
            if line.startswith(word):
                safety[line.removeprefix(word).strip().partition(".")[0]] = word
                break
    return result.exit_code, safety, result.output


def test_an_agent_that_asks_is_safe_in_every_way(folder: Path) -> None:
    code, safety, text = said(folder, "good.py:asks")
    assert (code, set(safety.values()), len(safety)) == (0, {"SAFE"}, 8), text


def test_what_is_not_safe_is_said_with_the_reason(folder: Path) -> None:
    code, safety, text = said(folder, "bad")
    assert code == 1
    assert safety["It leaves the loop that runs share to others"] == "NOT SAFE"
    assert "make that a plain function" in text
    assert safety["It does the same as outside Skein"] == "NOT TRIED"
    assert "it comes to something else each time" in text
    assert safety["A decision is taken up once"] == "NOT TRIED"


def test_what_comes_out_differently_in_skein_is_said_with_both(folder: Path) -> None:
    code, safety, text = said(folder, "bad.py:threads")
    assert (code, safety["It does the same as outside Skein"]) == (1, "NOT SAFE")
    assert ("('bare', [])" in text, "('thre', [])" in text) == (True, True)


def test_what_the_model_server_refuses_by_itself_is_no_fault_of_a_stop(folder: Path) -> None:
    code, safety, text = said(folder, "bad.py:refused")
    assert (code, set(safety.values())) == (0, {"SAFE", "NOT TRIED"}), text
    assert "outside Skein too: The model server refused the request" in text


def test_one_that_prints_and_searches_by_meaning_does_so_outside_too(folder: Path) -> None:
    manifest = json.loads((folder / "langgraph.json").read_text())
    manifest["store"] = {"index": {"dims": 2, "embed": "./bad.py:embed"}}
    (folder / "langgraph.json").write_text(json.dumps(manifest))
    result = CliRunner().invoke(app, ["check-graph", "bad.py:remembers", "--folder", str(folder), "--json"])
    found = {told["what"]: told for told in map(json.loads, result.stdout.splitlines())}
    same = found["It does the same as outside Skein"]
    assert (same["safety"], "1 by meaning, [True]" in same["why"]) == ("safe", True)
    # It prints before it comes to its end in the process that is killed, too.
    assert found["A killed process loses nothing that was said"]["safety"] in {"safe", "not tried"}
    assert (result.exit_code, len(found)) == (0, 8)


@pytest.mark.parametrize(
    ("graph", "sentence"),
    [
        ("bad.py:broken", "It is a str, and neither a graph"),
        ("nowhere.py:graph", "There is no file"),
        ("nobody", "has no graph 'nobody'; it has: bad."),
    ],
)
def test_what_cannot_be_loaded_is_said_in_a_sentence(folder: Path, graph: str, sentence: str) -> None:
    code, _, text = said(folder, graph)
    assert (code, sentence in text) == (2, True), text


def test_only_an_admin_can_try_an_agent_of_a_running_skein(tmp_path: Path) -> None:
    skein = open_skein(make_settings(tmp_path))
    try:
        for role in ("member", "analyst"):
            with pytest.raises(ForbiddenError, match="Only an admin"):
                list(check_apart(skein, make_person(skein, role, role), "assistant"))
    finally:
        skein.close()
