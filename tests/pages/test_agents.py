"""The page of the agents, and choosing one in the chat with its settings and limits."""

import json
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from streamlit.testing.v1 import AppTest

from core.agents.limits import Limits
from core.history.rules import add_rule
from core.settings import Settings
from core.skein import Skein
from core.tables import Thread
from pages.parts.forms.argument_table import argument_rows
from tests.conftest import make_settings
from tests.pages.conftest import FRAME, opened_popover, person_named, said, say, texts

OWN = '''
from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict
import operator

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime


class State(TypedDict):
    messages: Annotated[list[AnyMessage], operator.add]


@dataclass
class Context:
    tone: Literal["dry", "warm"] = "dry"
    words: int = 3
    model: str = ""


@tool
def send_letter(to: str, copies: int = 1) -> str:
    """Send a *letter* to somebody."""
    return to


def speak(state: State, runtime: Runtime[Context]) -> dict:
    return {"messages": [AIMessage(f"tone={runtime.context.tone} words={runtime.context.words}")]}


def build():
    graph = StateGraph(State, context_schema=Context)
    graph.add_node("speak", speak)
    graph.add_node("tools", ToolNode([send_letter]))
    graph.add_edge(START, "speak")
    return graph


graph = build()
'''
BROKEN = "raise RuntimeError('the *vault* is shut')\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "broken.py").write_text(BROKEN)
    graphs = {
        "own": {"path": "./own.py:graph", "description": "A graph of [one's] own", "from_skein": ["model"]},
        "other": {"path": "./own.py:graph", "description": "The same again"},
        "broken": "./broken.py:graph",
    }
    manifest = tmp_path / "langgraph.json"
    manifest.write_text(json.dumps({"graphs": graphs}))
    return make_settings(tmp_path, langgraph_json=manifest)


@pytest.fixture
def page(tab, opened: Skein):
    def open_page(name: str = "ada", *, role: str = "member", **query: str) -> AppTest:
        at = tab(name, role=role)
        for key, value in query.items():
            at.query_params[key] = value
        at.switch_page(str(FRAME.with_name("agents.py"))).run()
        assert at.exception.values == []
        return at

    return open_page


def config_of(skein: Skein) -> tuple[str, dict[str, Any]]:
    """The agent and the config of the newest thread."""
    with skein.database.read() as db:
        thread = db.exec(select(Thread).order_by(Thread.thread_id.desc())).first()  # type: ignore[attr-defined]
        return thread.agent_id, thread.config


def chosen_alone(config: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in {"model", "temperature"}}


class TestTheList:
    def test_names_every_agent_with_what_it_is(self, page):
        shown = texts(page())
        assert "**own**" in shown
        assert r"A graph of \[one's\] own" in shown
        assert "**other**" in shown

    @pytest.mark.parametrize("role", ["member", "analyst", "admin"])
    def test_tells_everybody_why_one_could_not_be_loaded(self, page, role: str):
        at = page("ann", role=role)
        assert r"the \*vault\* is shut" in texts(at)
        assert at.button(key="agents.chat.broken").disabled is True

    def test_an_unknown_agent_is_said_and_the_list_is_there(self, page):
        at = page(agent="*nobody*")
        assert [r"\*nobody\*" in warning.value for warning in at.warning] == [True]
        assert "**own**" in texts(at)

    def test_nobody_sees_it_without_signing_in(self, tab):
        at = tab().switch_page(str(FRAME.with_name("agents.py"))).run()
        assert "own" not in texts(at)


class TestSeveralFiles:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        listed = [tmp_path / name / "langgraph.json" for name in ("left", "right")]
        for file in listed:
            file.parent.mkdir()
            (file.parent / "own.py").write_text(OWN)
            file.write_text(json.dumps({"graphs": {"own": "./own.py:graph"}, "http": {"app": "x"}}))
        return make_settings(tmp_path, langgraph_json=[tmp_path / "*no.json", *listed])

    def test_each_agent_says_where_it_is_named_and_what_is_amiss_is_said_once(self, page):
        at = page()
        shown = texts(at)
        assert "Named in right/langgraph.json." in shown
        assert r"\*no.json cannot be read as a langgraph.json" in at.warning[0].value
        assert [one.value for one in at.warning[1:]] == [
            rf"{name}/langgraph.json\: Skein does not support http." for name in ("left", "right")
        ]

    def test_a_name_that_was_taken_opens_by_its_address(self, page):
        at = page(agent="right/own")
        assert "**right/own**" in texts(at)
        assert at.warning.values == []


class TestAProcessOfItsOwn:
    @pytest.fixture
    def settings(self, tmp_path: Path) -> Settings:
        (tmp_path / "own.py").write_text(OWN)
        file = tmp_path / "langgraph.json"
        file.write_text(json.dumps({"graphs": {"own": "./own.py:graph"}, "skein": {"process": True}}))
        return make_settings(tmp_path, langgraph_json=file)

    def test_is_told_of_with_how_it_stands(self, page):
        assert "langgraph.json has a process of its own, which is " in texts(page())


class TestOneAgent:
    def test_details_are_opened_and_closed_by_the_address(self, page):
        at = page()
        at.button(key="agents.open.own").click().run()
        assert at.query_params["agent"] == "own" or at.query_params["agent"] == ["own"]
        at.button(key="agents.all").click().run()
        assert "agent" not in at.query_params

    def test_settings_limits_and_tools_are_shown(self, page):
        at = page(agent="own")
        settings, arguments = (table.value for table in at.dataframe)
        assert settings["Name"].tolist() == ["tone", "words"]
        assert arguments["Name"].tolist() == ["to", "copies"]
        shown = texts(at)
        assert r"**send\_letter**" in shown
        assert r"Send a \*letter\* to somebody." in shown
        assert f"at most {Limits().recursion_limit:,} steps" in shown

    def test_the_rules_about_its_tools_are_shown(self, page, opened: Skein):
        viewer = person_named(opened, "ada")
        opened.database.write(lambda db: add_rule(viewer, db, effect="deny", tool="send_letter", agent_id="own"))
        assert ":red-badge[deny]" in texts(page(agent="own"))
        assert ":red-badge[deny]" not in texts(page(agent="other"))

    def test_somebody_elses_rules_are_not(self, page, opened: Skein):
        viewer = person_named(opened, "ben")
        opened.database.write(lambda db: add_rule(viewer, db, effect="deny", tool="send_letter"))
        assert ":red-badge[deny]" not in texts(page(agent="own"))

    def test_one_that_could_not_be_loaded_has_its_reason_and_no_more(self, page):
        at = page(agent="broken")
        assert r"the \*vault\* is shut" in texts(at)
        assert len(at.dataframe) == 0

    def test_a_chat_with_it_begins_with_it(self, page):
        at = page(agent="other")
        at.button(key="agents.chat.other").click().run()
        assert at.exception.values == []
        assert ":material/smart_toy: **other**" in texts(at)


class TestChoosingInTheChat:
    def test_the_first_that_could_be_loaded_answers(self, tab, opened: Skein):
        at = say(tab("ada"), "Hello")
        assert (said(at)[1][1], config_of(opened)[0]) == ("tone=dry words=3", "own")
        assert chosen_alone(config_of(opened)[1]) == {}

    def test_broken_ones_cannot_be_chosen_and_say_why(self, tab):
        at = opened_popover(tab("ada"), "chat.options")
        assert at.selectbox(key="chat.agent.new").options == ["own", "other"]
        assert r"**broken** is unavailable: " in texts(at)

    def test_settings_go_along_with_the_message(self, tab, opened: Skein):
        at = opened_popover(tab("ada"), "chat.options")
        at.selectbox(key="chat.agent_widget.own.tone").set_value("warm").run()
        say(at, "Hello")
        assert said(at)[1][1] == "tone=warm words=3"
        assert chosen_alone(config_of(opened)[1]) == {"tone": "warm"}

    def test_settings_are_still_chosen_after_another_page(self, tab, opened: Skein):
        at = opened_popover(tab("ada"), "chat.options")
        at.selectbox(key="chat.agent_widget.own.tone").set_value("warm").run()
        at.number_input(key="chat.agent_widget.own.words").set_value(5).run()
        at.switch_page(str(FRAME.with_name("agents.py"))).run()
        at = opened_popover(at.switch_page(str(FRAME.with_name("chat.py"))).run(), "chat.options")
        assert at.selectbox(key="chat.agent_widget.own.tone").value == "warm"
        say(at, "Hello")
        assert chosen_alone(config_of(opened)[1]) == {"tone": "warm", "words": 5}

    def test_what_has_a_widget_already_has_no_second_one(self, tab):
        keys = [field.key for field in opened_popover(tab("ada"), "chat.options").text_input]
        assert "chat.agent_widget.own.model" not in keys

    def test_limits_go_along_as_far_as_they_differ(self, tab, opened: Skein):
        at = opened_popover(tab("ada"), "chat.options")
        at.number_input(key="chat.agent_widget.own.limits.recursion_limit").set_value(50)
        at.number_input(key="chat.agent_widget.own.limits.attempts").set_value(2).run()
        at.number_input(key="chat.agent_widget.own.limits.attempts").set_value(1).run()
        say(at, "Hello")
        assert chosen_alone(config_of(opened)[1]) == {"limits": {"recursion_limit": 50}}

    def test_each_agent_has_settings_of_its_own(self, tab, opened: Skein):
        at = opened_popover(tab("ada"), "chat.options")
        at.number_input(key="chat.agent_widget.own.words").set_value(9).run()
        at.selectbox(key="chat.agent.new").set_value("other").run()
        say(at, "Hello")
        agent, config = config_of(opened)
        assert (agent, chosen_alone(config)) == ("other", {})

    def test_a_conversation_goes_on_with_the_agent_that_answered_last(self, tab, opened: Skein):
        at = opened_popover(tab("ada"), "chat.options")
        at.selectbox(key="chat.agent.new").set_value("other").run()
        say(at, "Hello")
        query = at.query_params["conversation"]
        again = tab("ada", conversation=query if isinstance(query, str) else query[0])
        say(again, "And on")
        assert config_of(opened)[0] == "other"

    def test_a_bad_value_is_one_sentence_and_the_text_is_kept(self, tab, opened: Skein):
        at = opened_popover(tab("ada"), "chat.options")
        at.number_input(key="chat.agent_widget.own.limits.node_timeout").set_value(-5.0).run()
        assert any("node\\_timeout must be more than 0." in warning.value for warning in at.warning)
        say(at, "Hello")
        assert said(at) == []
        shown = " ".join(warning.value for warning in at.warning)
        assert "need a change" in shown


class TestArgumentRows:
    def test_each_property_is_a_row_in_plain_words(self):
        schema = {
            "type": "object",
            "required": ["to"],
            "properties": {
                "to": {"type": "string", "description": "Who\ngets it"},
                "copies": {"type": "integer", "minimum": 1, "maximum": 9, "default": 1},
                "kind": {"enum": ["note", "order"]},
                "place": {"type": "object", "properties": {"city": {"type": "string"}}},
            },
        }
        rows = argument_rows(schema)
        assert [(row["Name"], row["Kind"], row["Needed"], row["Usually"]) for row in rows] == [
            ("to", "text", "yes", ""),
            ("copies", "whole number, ≥ 1 and ≤ 9", "", "1"),
            ("kind", '"note" or "order"', "", ""),
            ("place", "object", "", ""),
            ("place.city", "text", "", ""),
        ]
        assert rows[0]["Description"] == "Who gets it"

    @pytest.mark.parametrize("schema", [{}, {"properties": 5}, {"type": "object"}, {"properties": {"x": 5}}])
    def test_odd_schemas_are_read_all_the_same(self, schema: dict[str, Any]):
        assert len(argument_rows(schema)) <= 1

    def test_no_cell_is_longer_than_can_be_read(self):
        many = {f"x{n}" * 1_000: {"enum": ["y" * 5_000], "description": "z" * 9_000} for n in range(300)}
        rows = argument_rows({"properties": many, "type": "object"})
        assert len(rows) == 100


class TestTrial:
    def test_only_an_admin_can_try_an_agent(self, page):
        member = page("ada", agent="own")
        assert not [button for button in member.button if button.key == "agents.try"]

    def test_what_was_found_is_a_table(self, page):
        at = page("olga", role="admin", agent="own").button(key="agents.try").click().run(timeout=120)
        found = at.table[-1].value
        assert list(found.index)[:2] == ["It loads", "It does the same as outside Skein"]
        assert set(found["Result"]) <= {"✓ safe", "– not tried"}
        assert at.exception.values == []
