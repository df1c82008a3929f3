"""Forms drawn from JSON schemas: which widgets there are, what they give, and what stays as it was."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field
from streamlit.testing.v1 import AppTest

from pages.parts.forms.schema_fields import fits, read_field


class Inner(BaseModel):
    city: str
    is_home: bool


class Everything(BaseModel):
    name: str = Field(description="Who *it* is", title="Full [name]")
    count: int = Field(3, ge=1, le=9)
    share: float | None = None
    is_sure: bool = False
    may_be: bool | None = None
    kind: Literal["note", "order"] = "note"
    several: list[Literal["a", "b", "c"]] = []
    words: list[str] = []
    day: str = Field("2026-01-31", json_schema_extra={"format": "date"})
    where: Inner | None = None
    anything: dict[str, Any] = {}


SCHEMA = Everything.model_json_schema()


def _script(schema, value, inside):
    import streamlit as st

    from pages.parts.forms.schema_form import draw_fields

    if inside:
        with st.form("form"):
            filled = draw_fields(schema, key="t", value=value)
            st.form_submit_button("Send", key="send")
    else:
        filled = draw_fields(schema, key="t", value=value)
    st.session_state["held"] = filled.value
    st.session_state["problems"] = filled.problems


def drawn(schema: Any, value: Any = None, *, inside: bool = False) -> AppTest:
    at = AppTest.from_function(_script, kwargs={"schema": schema, "value": value, "inside": inside}).run()
    assert at.exception.values == []
    return at


def held(at: AppTest) -> Any:
    assert at.exception.values == []
    return at.session_state["held"]


def problems(at: AppTest) -> list[str]:
    return at.session_state["problems"]


def of(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


class TestWhatNobodyTouches:
    @pytest.mark.parametrize(
        "value",
        [
            {"name": "Ada"},
            {"name": "Ada", "share": None, "count": 4, "unknown": {"a": [1]}, "words": ["x", "y"]},
            {"name": "two\nlines", "where": {"city": "Turin", "is_home": False, "zip": 1}},
            {"name": 5, "count": "many", "kind": "poem", "several": "a", "words": ["x", "x"], "where": 1},
            {"name": "", "count": 99, "share": 3, "may_be": True, "day": "some day", "several": ["b", "a"]},
        ],
    )
    @pytest.mark.parametrize("inside", [True, False])
    def test_stays_exactly_as_it_was(self, value: Any, inside: bool):
        after = held(drawn(SCHEMA, value, inside=inside))
        assert (after, repr(after)) == (value, repr(value))

    def test_is_given_when_it_must_be_and_has_a_default(self):
        schema = of({"type": "string", "default": "on"}) | {"required": ["x"]}
        assert held(drawn(schema)) == {"x": "on"}

    def test_an_optional_object_stays_absent(self):
        assert held(drawn(SCHEMA, {"name": "Ada"})) == {"name": "Ada"}

    def test_what_is_required_is_asked_for(self):
        at = drawn(SCHEMA, {})
        assert (held(at), problems(at)) == ({}, ["name is missing."])


class TestWhatIsTyped:
    def test_each_kind_of_field_gives_its_own_kind_of_value(self):
        at = drawn(SCHEMA, {"name": "Ada"})
        at.text_input(key="t.name").set_value("Grace")
        at.number_input(key="t.count").set_value(7)
        at.number_input(key="t.share").set_value(0.125)
        at.checkbox(key="t.is_sure").check()
        at.selectbox(key="t.may_be").set_value(False)
        at.selectbox(key="t.kind").set_value("order")
        at.multiselect(key="t.several").set_value(["a", "c"])
        at.text_input(key="t.where.city").set_value("Turin")
        at.text_area(key="t.anything").set_value('{"deep": [1, null]}')
        assert held(at.run()) == {
            "name": "Grace",
            "count": 7,
            "share": 0.125,
            "is_sure": True,
            "may_be": False,
            "kind": "order",
            "several": ["a", "c"],
            "where": {"city": "Turin", "is_home": False},
            "anything": {"deep": [1, None]},
        }
        assert (problems(at), type(held(at)["count"])) == ([], int)

    def test_inside_a_form_it_counts_when_the_form_is_sent(self):
        at = drawn(SCHEMA, {"name": "Ada"}, inside=True)
        at.text_input(key="t.name").set_value("Grace")
        at.button(key="send").click()
        assert held(at.run()) == {"name": "Grace"}

    def test_a_field_that_is_emptied_is_left_out(self):
        at = drawn(of({"anyOf": [{"type": "number"}, {"type": "null"}]}), {"x": 1.5})
        at.number_input(key="t.x").set_value(None)
        assert held(at.run()) == {}

    def test_an_emptied_field_with_a_default_says_so(self):
        at = drawn(of({"type": ["integer", "null"], "default": 5}))
        at.number_input(key="t.x").set_value(None)
        assert held(at.run()) == {"x": None}

    def test_a_text_that_must_be_there_may_be_emptied(self):
        at = drawn(SCHEMA, {"name": "Ada"})
        at.text_input(key="t.name").set_value("")
        assert held(at.run()) == {"name": ""}

    def test_what_the_schema_does_not_name_can_be_edited_as_json(self):
        at = drawn(SCHEMA, {"name": "Ada", "more": 1})
        at.text_area(key="t.~more").set_value('{"more": 2}')
        assert held(at.run()) == {"name": "Ada", "more": 2}

    @pytest.mark.parametrize("text", ["[1]", "{broken"])
    def test_what_is_no_object_there_is_said_and_changes_nothing(self, text: str):
        at = drawn(SCHEMA, {"name": "Ada", "more": 1})
        at.text_area(key="t.~more").set_value(text).run()
        assert (held(at), len(problems(at))) == ({"name": "Ada", "more": 1}, 1)

    @pytest.mark.parametrize("text", ["{broken", "NaN", "[" * 100_000, "1" * 5_000])
    def test_what_is_no_json_is_said_in_one_sentence(self, text: str):
        at = drawn(of({}), {"x": [1]})
        at.text_area(key="t.x").set_value(text).run()
        assert held(at) == {"x": [1]}
        assert problems(at)[0].startswith("x is not JSON")

    def test_what_does_not_fit_the_schema_is_said(self):
        at = drawn(SCHEMA, {"name": "Ada", "count": 99})
        assert problems(at) == ["count must be at most 9."]


class TestAValueThatIsNoObject:
    def test_is_asked_for_with_its_own_widget(self):
        at = drawn({"type": "string", "title": "Answer", "enum": ["yes", "no"]})
        at.selectbox(key="t.").set_value("no")
        assert held(at.run()) == "no"

    @pytest.mark.parametrize("schema", [None, {}, {"type": "nonsense"}, [1]])
    def test_without_a_schema_it_is_json(self, schema: Any):
        at = drawn(schema, [1])
        at.text_area(key="t.").set_value("[1, 2]")
        assert held(at.run()) == [1, 2]

    def test_nothing_given_is_none(self):
        assert held(drawn({"type": "string"})) is None


class TestWordsOfOthers:
    def test_are_shown_as_they_were_written(self):
        name = drawn(SCHEMA).text_input(key="t.name")
        assert (name.label, name.help) == (r"Full \[name\]", r"Who \*it\* is")

    def test_of_any_length_are_shortened(self):
        schema = of({"type": "string", "title": "x" * 1_000_000, "description": "y" * 1_000_000})
        field = drawn(schema).text_input(key="t.x")
        assert (len(field.label), len(field.help)) == (120, 2_000)

    def test_of_several_lines_stand_in_one(self):
        field = drawn(of({"type": "string", "title": "one\n\n# two"})).text_input(key="t.x")
        assert field.label == r"one \# two"


class TestHowASchemaIsRead:
    @pytest.mark.parametrize(
        ("schema", "kind"),
        [
            ({"type": "string"}, "text"),
            ({"type": ["string", "null"]}, "text"),
            ({"type": ["string", "integer"]}, "json"),
            ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "json"),
            ({"anyOf": [{"$ref": "#/$defs/k"}, {"type": "null"}]}, "choice"),
            ({"allOf": [{"$ref": "#/$defs/k"}], "default": "a"}, "choice"),
            ({"type": "array", "items": {"$ref": "#/$defs/k"}}, "choices"),
            ({"type": "array", "items": {"type": "integer"}}, "json"),
            ({"type": "array"}, "json"),
            ({"type": "object"}, "json"),
            ({"const": 1}, "choice"),
            ({"$ref": "#"}, "object"),
            ({"$ref": "http://127.0.0.1/k"}, "json"),
            ({"$ref": "#/$defs/loop"}, "json"),
            ({"enum": "abc"}, "json"),
            ({"properties": 5, "type": "object"}, "json"),
            ("nonsense", "json"),
            (True, "json"),
        ],
    )
    def test_each_property_has_a_kind(self, schema: Any, kind: str):
        defs = {"k": {"enum": ["a", "b"], "type": "string"}, "loop": {"$ref": "#/$defs/loop"}}
        (field,) = read_field({**of(schema), "$defs": defs}).fields
        assert field.kind == kind

    def test_too_many_fields_are_one_of_json(self):
        many = {"type": "object", "properties": {f"x{n}": {"$ref": "#"} for n in range(60)}}
        assert read_field(many).kind == "json"
        assert read_field({"type": "object", "properties": {f"x{n}": {} for n in range(20_000)}}).kind == "json"

    def test_a_schema_that_holds_itself_is_read_to_an_end(self):
        tree = {"type": "object", "properties": {"left": {"$ref": "#"}}}
        assert read_field(tree).fields[0].fields[0].fields[0].fields[0].kind == "json"

    def test_bounds_that_no_widget_takes_are_left_to_the_check(self):
        at = drawn(of({"type": "integer", "minimum": 9, "maximum": 1}), {"x": 5})
        assert at.number_input(key="t.x").value == 5
        drawn(of({"type": "integer", "minimum": -(10**40), "maximum": 1e400}), {"x": 5})
        drawn(of({"type": "number", "minimum": "0", "maximum": [], "maxLength": "x"}), {"x": 5})
        drawn(of({"type": "string", "maxLength": -4, "title": 5, "description": [], "format": {}}), {"x": "5"})

    def test_numbers_that_a_browser_cannot_hold_are_json(self):
        (field,) = read_field(of({"type": "integer"})).fields
        assert (fits(field, 2**53), fits(field, 2**53 - 1), fits(field, True)) == (False, True, False)
        assert held(drawn(of({"type": "integer"}), {"x": 2**60})) == {"x": 2**60}

    def test_choices_that_look_alike_are_told_apart(self):
        at = drawn(of({"enum": [1, True, "1", None, {"a": [1]}]}), {"x": True})
        at.selectbox(key="t.x").set_value({"a": [1]})
        assert held(at.run()) == {"x": {"a": [1]}}
