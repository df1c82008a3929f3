"""The form of an agent that needs more than a text: drawn from its schema, sent as JSON, checked at the field."""

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from core.access.viewer import Viewer
from core.agents.input_form import write_text
from core.history.messages import NewMessage
from core.history.turns import INPUTS
from core.settings import Settings
from core.skein import Skein
from pages.parts.forms.schema_form import say_at_fields
from tests.conftest import make_settings
from tests.core.support import ROOT, answered, ask
from tests.pages.conftest import OpenTab, opened_popover, person_named, said, say, texts

ORDER = {"messages": "please", "customer": "Ada", "copies": 2}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    names = ("order", "doubled", "plain", "numbers", "noted")
    listed = {name: f"{ROOT / 'tests' / 'graphs' / 'filling.py'}:{name}" for name in names}
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": listed}))
    return make_settings(tmp_path, langgraph_json=path)


@pytest.fixture
def ada(opened: Skein) -> Viewer:
    return person_named(opened, "ada")


def key(name: str, agent: str = "order", below: str = "new") -> str:
    return f"chat.input_widget.{agent}.{below}.{name}"


def chat(tab: OpenTab, **query: Any) -> AppTest:
    at = tab("ada", **query)
    assert at.exception.values == []
    return at


def choose(at: AppTest, agent: str) -> AppTest:
    at.session_state["chat.agent.new"] = agent
    return at.run()


def fill(at: AppTest, **values: Any) -> AppTest:
    for kind in (at.text_area, at.text_input, at.number_input, at.selectbox, at.checkbox):
        for widget in kind:
            name = (widget.key or "").rsplit(".", 1)[-1]
            if (widget.key or "").startswith("chat.input_widget.") and name in values:
                widget.set_value(values.pop(name))
    assert values == {}
    return at


def send(at: AppTest) -> AppTest:
    [button] = [one for one in at.button if (one.key or "").endswith(".send") and "input_widget" in (one.key or "")]
    at = button.click().run()
    assert at.exception.values == []
    return at


class TestTheForm:
    def test_stands_in_the_place_of_the_field_to_type_in(self, tab: OpenTab) -> None:
        at = chat(tab)
        assert list(at.chat_input) == []
        assert at.text_area(key=key("messages")).label == "Message"
        assert at.text_input(key=key("customer")).help == "Who it is for"
        assert (at.number_input(key=key("copies")).min, at.number_input(key=key("copies")).max) == (1, 9)
        assert at.selectbox(key=key("size")).options == ["small", "large"]
        assert at.checkbox(key=key("is_gift")).value is False
        assert all("Write a table" not in pill.options for pill in at.pills)

    def test_what_is_filled_in_is_the_message_and_answered(self, tab: OpenTab) -> None:
        at = send(fill(chat(tab), messages="please", customer="Ada", copies=2))
        assert [who for who, _ in said(at)] == ["user", "assistant"]
        assert "2 small for Ada: please" in texts(at)
        assert '"customer": "Ada"' in texts(at)

    def test_the_next_begins_with_what_was_filled_in_but_for_what_was_said(
        self, tab: OpenTab, opened: Skein, ada: Viewer
    ) -> None:
        turn = ask(opened, ada, write_text(ORDER), agent="order")
        answered(opened, ada, turn.thread_id)
        at = chat(tab, conversation=turn.conversation_id)
        below = turn.message_id
        assert at.text_input(key=key("customer", below=below)).value == "Ada"
        assert at.text_area(key=key("messages", below=below)).value in {"", None}
        at = send(fill(at, messages="more"))
        assert "2 small for Ada: please" in texts(at)
        assert at.exception.values == []

    def test_what_does_not_fit_is_said_at_its_field_and_nothing_is_lost(self, tab: OpenTab) -> None:
        at = send(fill(chat(tab), messages="please", customer="nobody"))
        assert said(at) == []
        assert "Is missing." in texts(at)
        at = send(fill(at, copies=3))
        assert "Nobody is no customer of ours." in texts(at)
        assert at.text_area(key=key("messages")).value == "please"
        at = send(fill(at, customer="Ada"))
        assert "3 small for Ada: please" in texts(at)

    def test_one_value_is_a_form_of_one_field(self, tab: OpenTab) -> None:
        at = choose(chat(tab), "doubled")
        at.number_input(key=key("", "doubled")).set_value(21)
        assert "42" in texts(send(at))

    def test_what_is_no_json_is_said_at_its_field(self, tab: OpenTab) -> None:
        at = choose(chat(tab), "numbers")
        at.text_area(key=key("numbers", "numbers")).set_value("[1, 2")
        at = send(at)
        assert "is not JSON" in texts(at)
        at.text_area(key=key("numbers", "numbers")).set_value("[1, 2]")
        assert said(send(at))[0][0] == "user"

    def test_others_keep_the_field_to_type_in(self, tab: OpenTab) -> None:
        at = choose(chat(tab), "plain")
        assert [one.key for one in at.chat_input] == ["chat.input"]

    def test_a_stranger_sees_no_form(self, tab: OpenTab, opened: Skein, ada: Viewer) -> None:
        turn = ask(opened, ada, write_text(ORDER), agent="order")
        answered(opened, ada, turn.thread_id)
        at = tab("root", role="admin", conversation=turn.conversation_id)
        assert not [one for one in at.button if "input_widget" in (one.key or "")]


class TestMoreInputs:
    def fold(self, at: AppTest, conversation: str = "new") -> AppTest:
        return opened_popover(at, f"chat.more_inputs.plain.{conversation}.fold")

    def test_are_folded_beside_the_field_to_type_in(self, tab: OpenTab) -> None:
        at = choose(chat(tab), "plain")
        assert "Language" not in [one.label for one in at.text_input]
        at = self.fold(at)
        assert "Language" in [one.label for one in at.text_input]
        assert [one.key for one in at.chat_input] == ["chat.input"]

    def test_are_not_there_for_agents_without_any(self, tab: OpenTab) -> None:
        at = opened_popover(choose(chat(tab), "order"), "chat.more_inputs.order.new.fold")
        assert not [one for one in at.text_input if "more_inputs" in (one.key or "")]

    def test_go_along_with_the_message_and_are_shown_with_it(self, tab: OpenTab) -> None:
        at = self.fold(choose(chat(tab), "plain"))
        at.text_input(key="chat.more_inputs.plain.new.0.language").set_value("French")
        at = say(at.run(), "hi")
        assert at.exception.values == []
        assert "French: hi" in texts(at)
        assert ":material/list_alt: language: French" in texts(at)

    def test_begin_anew_below_it(self, tab: OpenTab, opened: Skein, ada: Viewer) -> None:
        new = NewMessage("hi", agent_id="plain", config={INPUTS: {"language": "French"}})
        turn = answered(opened, ada, opened.engine.start(ada, new).thread_id)
        at = self.fold(chat(tab, conversation=turn.conversation_id), turn.conversation_id)
        field = at.text_input(key=f"chat.more_inputs.plain.{turn.conversation_id}.0.language")
        assert field.value in {"", None}
        at = say(field.set_value("German").run(), "more")
        assert "German: more" in texts(at)
        assert at.text_input(key=f"chat.more_inputs.plain.{turn.conversation_id}.1.language").value in {"", None}

    def test_that_do_not_fit_are_said_and_the_words_are_kept(self, tab: OpenTab) -> None:
        at = self.fold(choose(chat(tab), "noted"))
        at = opened_popover(at, "chat.more_inputs.noted.new.fold")
        at.text_area(key="chat.more_inputs.noted.new.0.about").set_value("{")
        at = say(at.run(), "hi")
        assert "is not JSON" in texts(at)
        assert said(at) == []
        assert "hi" in texts(at)


NESTED = {
    "type": "object",
    "properties": {
        "who": {"type": "object", "properties": {"name": {"type": "string"}}},
        "rows": {"type": "array", "items": {"type": "object"}},
    },
}


class TestWhereAMismatchIsSaid:
    @pytest.mark.parametrize(
        ("path", "place", "sentence"),
        [
            (("who", "name"), "k.who.name", "Is wrong."),
            (("rows", 0, "x"), "k.rows", "0.x is wrong."),
            (("other",), "", "Other is wrong."),
            ((), "", "Is wrong."),
        ],
    )
    def test_is_the_nearest_field(self, path: tuple[Any, ...], place: str, sentence: str) -> None:
        assert say_at_fields(NESTED, [(path, "is wrong")], key="k") == {place: [sentence]}
