"""A team's own graphs, plugged in by a langgraph.json of theirs: one that works, and one that does not."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PACE, OpenTab, ask, bubbles, wait_quiet
from tests.browser.live_server import LiveServer

pytestmark = pytest.mark.browser

_PRICES = '''
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import interrupt


class State(MessagesState):
    region: str


@tool(response_format="content_and_artifact")
def list_prices(region: str):
    """List the prices of a region."""
    rows = [["Tea", 3], ["Cake", 5]]
    table = {"type": "table", "title": f"{region} prices", "columns": ["item", "price"], "rows": rows}
    return str(rows), {"shows": [table]}


def ask_region(state):
    return {"region": interrupt({"question": "Which region?", "options": ["North", "South"]})}


def look(state):
    call = {"name": "list_prices", "args": {"region": state["region"]}, "id": "look-1"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


def say(state):
    return {"messages": [AIMessage(f"These are the prices of the {state['region']}.")]}


graph = StateGraph(State)
graph.add_sequence([ask_region, look, ("tools", ToolNode([list_prices])), say])
graph.add_edge(START, "ask_region")
'''
_BROKEN = 'raise RuntimeError("the price list is closed today")'


@pytest.fixture(scope="module")
def team_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server for the graphs of a team."""
    folder = tmp_path_factory.mktemp("team")
    graphs = {"prices": "./prices.py:graph", "closed": "./closed.py:graph"}
    (folder / "prices.py").write_text(_PRICES)
    (folder / "closed.py").write_text(_BROKEN)
    (folder / "langgraph.json").write_text(json.dumps({"dependencies": ["."], "graphs": graphs}))
    named = {"SKEIN_LANGGRAPH_JSON": str(folder / "langgraph.json")}
    with LiveServer(folder, tokens_per_second=PACE, **named) as server:
        yield server


class TestGraphsOfATeam:
    def test_one_asks_in_the_chat_and_answers_with_the_table_of_its_tool(
        self, team_server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(team_server, "buyer")
        page.get_by_role("link", name="Agents").click()
        page.locator(".st-key-agents_card_prices").get_by_role("button", name="Chat with it").click()
        expect(page.get_by_test_id("stChatInput")).to_be_visible()
        wait_quiet(page)
        ask(page, "What does it cost?")
        expect(page.get_by_text("Which region?")).to_be_visible()
        wait_quiet(page)
        page.get_by_role("button", name="South", exact=True).click()
        answer = bubbles(page).last
        expect(answer.get_by_text("These are the prices of the South.")).to_be_visible()
        expect(answer.get_by_text("buyer answered the question")).to_be_visible()
        expect(answer.get_by_text("list_prices")).to_be_visible()
        expect(answer.get_by_text("South prices", exact=True)).to_be_visible()
        expect(answer.get_by_test_id("stDataFrame").locator("canvas td", has_text="Cake")).to_be_attached()

    def test_one_that_cannot_be_loaded_is_shown_with_its_reason_and_cannot_be_chosen(
        self, team_server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(team_server, "reader")
        page.get_by_role("link", name="Agents").click()
        closed = page.locator(".st-key-agents_card_closed")
        expect(closed).to_contain_text("the price list is closed today")
        expect(closed.get_by_role("button", name="Chat with it")).to_be_disabled()
        prices = page.locator(".st-key-agents_card_prices")
        expect(prices.get_by_role("button", name="Chat with it")).to_be_enabled()
        prices.get_by_role("button", name="Details").click()
        expect(page.get_by_text("List the prices of a region.")).to_be_visible()
