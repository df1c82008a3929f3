"""Graphs that need more than a text have a form, and what is filled in reaches them as if it were given bare."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from langgraph.graph import START, StateGraph
from pydantic import create_model
from pydantic_core import core_schema

from core.access.viewer import Viewer
from core.agents.input_form import find_form, find_more, find_problems, read_text, write_text
from core.history.conversations import default_title
from core.history.messages import NewMessage
from core.history.turns import INPUTS
from core.runs.branching import Variant, edit, fan_out, fork, regenerate, retry
from core.settings import Settings
from core.skein import Skein
from tests.conftest import make_settings
from tests.core.support import ROOT, answered, ask, turn_at
from tests.graphs import filling

NAMES = ("order", "trip", "numbers", "area", "plain", "doubled", "failing")
ORDER = {"messages": "please", "customer": "Ada", "copies": 2}


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    listed = {name: f"{ROOT / 'tests' / 'graphs' / 'filling.py'}:{name}" for name in NAMES}
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": listed}))
    return make_settings(tmp_path, database_url=database_url, langgraph_json=path)


@pytest.fixture
def alice(person: Callable[..., Viewer]) -> Viewer:
    return person("alice")


def graph_of(name: str) -> Any:
    made = getattr(filling, name)
    return made.compile() if hasattr(made, "compile") else made


def say(skein: Skein, viewer: Viewer, value: Any, agent: str, **more: Any) -> Any:
    turn = ask(skein, viewer, write_text(value), agent=agent, **more)
    return answered(skein, viewer, turn.thread_id)


class TestWhoHasAForm:
    def test_a_text_beside_required_fields(self) -> None:
        form = find_form(graph_of("order"))
        assert form is not None
        assert (form.text_key, form.schema["required"]) == ("messages", ["messages", "customer", "copies"])
        fields = form.schema["properties"]
        assert list(fields) == ["messages", "customer", "copies", "size", "is_gift"]
        assert fields["messages"] == {"type": "string", "format": "textarea", "title": "Message"}
        assert fields["customer"]["description"] == "Who it is for"
        assert (fields["size"]["enum"], fields["size"]["default"]) == (["small", "large"], "small")
        assert (fields["copies"]["minimum"], fields["copies"]["maximum"]) == (1, 9)

    def test_a_dataclass_with_its_defaults(self) -> None:
        form = find_form(graph_of("trip"))
        assert form is not None
        assert form.schema["required"] == ["start", "nights"]
        assert form.schema["properties"]["via"]["default"] == []

    def test_no_text_among_the_keys(self) -> None:
        numbers, area = find_form(graph_of("numbers")), find_form(graph_of("area"))
        assert numbers is not None
        assert area is not None
        # A state's keys may be the graph's own to fill; an input schema's are asked for.
        assert (numbers.schema["required"], numbers.text_key) == ([], None)
        assert (area.schema["required"], list(area.schema["properties"])) == (
            ["width", "height"],
            ["width", "height"],
        )

    def test_one_value_that_is_no_text(self) -> None:
        form = find_form(graph_of("doubled"))
        assert form is not None
        assert form.schema == {"type": "integer"}

    def test_nobody_else(self, opened: Skein) -> None:
        assert find_form(graph_of("plain")) is None
        assert opened.agents.input_form("plain") is None
        assert opened.agents.input_form("not there") is None


class TestWhatIsFilledIn:
    @pytest.mark.parametrize(
        ("agent", "value", "answer"),
        [
            ("order", ORDER, "2 small for Ada: please"),
            ("order", {**ORDER, "size": "large", "is_gift": True}, "2 large for Ada as a gift: please"),
            ("trip", {"start": "Ulm", "nights": 3, "via": ["Rom"]}, "from Ulm, 3 nights via Rom"),
            ("numbers", {"numbers": [1, 2, 3]}, "6"),
            ("area", {"width": 2, "height": 1.5}, "3.0"),
            ("doubled", 21, "42"),
        ],
    )
    def test_reaches_the_graph(self, opened: Skein, alice: Viewer, agent: str, value: Any, answer: str) -> None:
        assert opened.agents.input_problems(agent, value) == ()
        turn = say(opened, alice, value, agent)
        assert (turn.status, turn.error_message, answer in turn.answer) == ("done", None, True), turn.answer

    def test_is_gone_on_with_edited_and_asked_again(self, opened: Skein, alice: Viewer) -> None:
        first = say(opened, alice, ORDER, "order")
        second = say(opened, alice, {**ORDER, "messages": "more"}, "order", under=first)
        assert second.answer == f"2 small for Ada: please / {first.answer} / more"
        changed = edit(opened.engine, alice, second.message_id, write_text({**ORDER, "messages": "less"}))
        again = regenerate(opened.engine, alice, second.message_id)
        for added, last in ((changed, "less"), (again, "more")):
            answered(opened, alice, added.thread_id)
            assert turn_at(opened, alice, added.message_id).answer.endswith(f" / {last}")

    @pytest.mark.parametrize(
        ("agent", "value", "path", "sentence"),
        [
            ("order", {**ORDER, "copies": 12}, ("copies",), "must be at most 9"),
            ("order", {"messages": "x", "copies": 1}, ("customer",), "is missing"),
            ("order", {**ORDER, "customer": "nobody"}, ("customer",), "nobody is no customer of ours"),
            ("order", {**ORDER, "size": "huge"}, ("size",), 'must be one of "small", "large"'),
            ("trip", {"start": "Ulm", "nights": "x"}, ("nights",), "must be a whole number"),
            ("numbers", {"numbers": [1, "x"]}, ("numbers", 1), "must be a whole number"),
            ("numbers", {}, (), "is empty: fill in at least one field"),
            ("area", {"width": 1}, ("height",), "is missing"),
        ],
    )
    def test_what_does_not_fit_is_named_at_its_place(
        self, agent: str, value: Any, path: tuple[Any, ...], sentence: str
    ) -> None:
        graph = graph_of(agent)
        form = find_form(graph)
        assert form is not None
        assert (path, sentence) in find_problems(graph, form, value)

    def test_the_next_form_begins_with_it_but_for_what_was_said(self) -> None:
        form = find_form(graph_of("order"))
        assert form is not None
        assert read_text(form, write_text(ORDER)) == {"customer": "Ada", "copies": 2}
        assert read_text(form, "a text") is None
        assert read_text(form, '{"other": 1}') is None

    def test_a_conversation_is_called_by_it(self) -> None:
        assert (
            default_title(write_text({"start": "Ulm\nor so", "nights": 3, "via": ["Rom"]}))
            == 'Ulm or so · 3 · ["Rom"]'
        )
        assert [default_title(text) for text in ("{", "{1}\nx", "[1]", "")] == ["{", "{1}", "[1]", ""]


MORE = {"language": "French", "notes": ["a", "b"]}


class TestMoreInputs:
    def start(self, skein: Skein, viewer: Viewer, text: str, inputs: dict[str, Any], agent: str = "plain") -> Any:
        new = NewMessage(text, agent_id=agent, config={INPUTS: inputs} if inputs else {})
        return answered(skein, viewer, skein.engine.start(viewer, new).thread_id)

    def test_are_the_optional_fields_beside_the_messages(self) -> None:
        schema = find_more(graph_of("plain"))
        assert schema is not None
        assert list(schema["properties"]) == ["language", "notes"]
        assert not schema.get("required")

    def test_are_none_where_there_is_nothing_more_or_a_form_asks_for_all(self, opened: Skein) -> None:
        for name in ("order", "trip", "numbers", "area", "doubled"):
            assert find_more(graph_of(name)) is None
        assert opened.agents.more_inputs("nobody") is None

    def test_of_shipped_agents_are_none(self, opened: Skein) -> None:
        from core.agents import analyst, assistant, planner, router

        for agent in (analyst, assistant, planner, router):
            graph = agent.graph
            assert find_more(graph.compile() if hasattr(graph, "compile") else graph) is None

    def test_reach_the_graph_and_stay_with_the_message(self, opened: Skein, alice: Viewer) -> None:
        turn = self.start(opened, alice, "hi", MORE)
        assert (turn.answer, turn.inputs) == ("French: hi", MORE)
        assert opened.engine.get_state(alice, turn.thread_id).values["notes"] == ["a", "b"]
        assert INPUTS not in turn.settings

    def test_go_along_when_it_is_asked_again_in_any_way(self, opened: Skein, alice: Viewer) -> None:
        turn = self.start(opened, alice, "hi", MORE)
        again = [
            regenerate(opened.engine, alice, turn.message_id),
            edit(opened.engine, alice, turn.message_id, "hi"),
        ]
        for added in again:
            done = answered(opened, alice, added.thread_id)
            assert (done.answer, done.inputs) == ("French: hi", MORE)
            # They were given once, not added up.
            assert opened.engine.get_state(alice, done.thread_id).values["notes"] == ["a", "b"]

    def test_of_a_failed_answer_are_those_of_its_retry(self, opened: Skein, alice: Viewer) -> None:
        failed = self.start(opened, alice, "fail", {"language": "French"}, agent="failing")
        assert failed.status == "failed"
        done = answered(opened, alice, retry(opened.engine, alice, failed.thread_id).thread_id)
        assert (done.status, done.answer, done.inputs) == ("done", "French: fail", {"language": "French"})

    def test_are_not_said_again_with_the_next_message(self, opened: Skein, alice: Viewer) -> None:
        turn = self.start(opened, alice, "hi", MORE)
        following = fork(opened.engine, alice, turn.thread_id, text="more")
        done = answered(opened, alice, following.thread_id)
        # What the graph keeps of them in its state is its own.
        assert (done.answer, done.inputs) == ("French: more", {})
        assert opened.engine.get_state(alice, done.thread_id).values["notes"] == ["a", "b"]

    def test_do_not_go_to_another_agent(self, opened: Skein, alice: Viewer) -> None:
        new = NewMessage("hi", agent_id="plain", config={INPUTS: MORE})
        both = {"one": Variant(), "other": Variant(agent_id="failing")}
        added = fan_out(opened.engine, alice, new, both)
        assert [answered(opened, alice, one.thread_id).inputs for one in added.values()] == [MORE, {}]

    def test_that_the_agent_does_not_take_are_one_sentence(self, opened: Skein, alice: Viewer) -> None:
        turn = self.start(opened, alice, "hi", {"colour": "red"})
        assert (turn.status, turn.error_message) == (
            "failed",
            "This agent takes no input 'colour'; its inputs are messages, language, notes.",
        )


class Strange:
    """A type that tells pydantic what it is, and then raises, or says what is no schema."""

    said: Any = ValueError("no schema today")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return core_schema.any_schema()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        if isinstance(cls.said, Exception):
            raise cls.said
        return cls.said


class OddlySaid(Strange):
    said = True


class OfManyTypes(Strange):
    said: ClassVar[Any] = {"type": ["object", "string"], "properties": {"a": True}}


class TestTypesThatDescribeThemselves:
    @pytest.mark.parametrize("kind", [Strange, OddlySaid, OfManyTypes, list[Strange], Annotated[OddlySaid, "what"]])
    def test_have_a_field_whatever_they_say(self, kind: Any) -> None:
        taken: Any = create_model("Taken", messages=(str, ...), odd=(kind, ...), count=(int, ...))
        made = StateGraph(taken).add_node("say", lambda _: {}).add_edge(START, "say").compile()
        form = find_form(made)
        assert form is not None
        assert list(form.schema["properties"]) == ["messages", "odd", "count"]
        assert all(isinstance(one, dict) for one in form.schema["properties"].values())
        find_problems(made, form, {"messages": "x", "odd": 1, "count": 2})
