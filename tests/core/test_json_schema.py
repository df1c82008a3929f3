"""What a value has that its schema does not allow, in sentences; and schemas that mean harm."""

import socket
import threading
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from core.json_schema import MOST_SENTENCES, find_mismatches


class Person(BaseModel):
    address: str = Field(min_length=3)
    age: int | None = None


class Letter(BaseModel):
    model_config = {"extra": "forbid"}
    to: list[Person]
    kind: Literal["note", "order"] = "note"
    weight: float = Field(0, ge=0, le=1)
    cover: Person | list[int] | None = None


LETTER = Letter.model_json_schema()
EVIL = "(a+)+$"
TRAP = "a" * 60 + "!"


def letter(**changes: Any) -> dict[str, Any]:
    return {"to": [{"address": "ada@example.org"}], **changes}


def nested(depth: int, inner: Any = None) -> Any:
    for _ in range(depth):
        inner = {"a": inner}
    return inner


class TestAValueThatFits:
    @pytest.mark.parametrize(
        "value",
        [
            letter(),
            letter(kind="order", weight=1, cover=None),
            letter(cover=[1, 2]),
            letter(cover={"address": "abc"}),
        ],
    )
    def test_has_no_mismatch(self, value: Any):
        assert find_mismatches(LETTER, value) == []


class TestTheSentences:
    @pytest.mark.parametrize(
        ("value", "sentence"),
        [
            ({}, "to is missing."),
            ([], "The value must be an object."),
            (letter(to=[{"address": 3}]), "to.0.address must be text."),
            (letter(to=[{"address": "a"}]), "to.0.address must have at least 3 characters."),
            (letter(to=[{"address": "abc", "age": "x"}]), "to.0.age must be a whole number or empty."),
            (letter(to=[{"address": "abc"}, {}]), "to.1.address is missing."),
            (letter(kind="poem"), 'kind must be one of "note", "order".'),
            (letter(weight=2), "weight must be at most 1."),
            (letter(weight=True), "weight must be a number."),
            (letter(colour="red"), "colour is not known here."),
            (letter(cover={"address": 1}), "cover.address must be text."),
            (letter(cover=[1, "x"]), "cover.1 must be a whole number."),
            (letter(cover="x"), "cover must be an object or a list or empty."),
        ],
    )
    def test_name_the_place_and_what_is_wrong(self, value: Any, sentence: str):
        assert find_mismatches(LETTER, value) == [sentence]

    @pytest.mark.parametrize(
        ("schema", "value", "sentence"),
        [
            ({"minItems": 1}, [], "The value must have at least 1 entry."),
            ({"minItems": 2}, [], "The value must have at least 2 entries."),
            ({"maxLength": 1}, "ab", "The value must have at most 1 character."),
            ({"const": "yes"}, "no", 'The value must be "yes".'),
            ({"uniqueItems": True}, [{"a": 1}, {"a": 1}], "The value must not have the same entry twice."),
            ({"prefixItems": [{}], "items": False}, [1, 2], "The value has too many entries."),
            (
                {"oneOf": [{"minimum": 1}, {"maximum": 9}]},
                5,
                "The value fits more than one of the forms it can have.",
            ),
            ({"not": {}}, 5, "The value has a value that is not allowed."),
            ({"properties": {"a": False}}, {"a": 1}, "a is not allowed here."),
            ({"properties": {"pattern": {"type": "string"}}}, {"pattern": 1}, "pattern must be text."),
            ({"properties": {"$schema": {"type": "string"}}}, {"$schema": 1}, "$schema must be text."),
        ],
    )
    def test_say_it_in_plain_words(self, schema: dict[str, Any], value: Any, sentence: str):
        assert find_mismatches(schema, value) == [sentence]

    def test_are_at_most_five(self):
        found = find_mismatches({"items": {"type": "string"}}, list(range(90_000)))
        assert found == [f"{place} must be text." for place in range(MOST_SENTENCES)]

    def test_stay_short_and_printable_whatever_a_name_is(self):
        (sentence,) = find_mismatches({"additionalProperties": False}, {"\ud800<b>\n\x00" * 1_000: 1})
        assert len(sentence) < 120
        assert sentence.isprintable()

    def test_never_tell_the_value(self):
        schema = {"properties": {"key": {"type": "integer"}}}
        assert find_mismatches(schema, {"key": "sk-not-to-be-seen"}) == ["key must be a whole number."]


class TestABrokenSchema:
    @pytest.mark.parametrize(
        "schema",
        [
            None,
            {},
            [1],
            {"type": "strin"},
            {"required": 5},
            {"$ref": "#/nowhere"},
            {"$ref": "#"},
            {"type": {1, 2}},
            nested(5_000),
            {"enum": ["x" * 300_000]},
        ],
    )
    def test_counts_as_none(self, schema: Any):
        assert find_mismatches(schema, 1) == []


@pytest.mark.timeout(20)
class TestAHostileSchema:
    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ({"pattern": EVIL}, TRAP),
            ({"patternProperties": {EVIL: False}, "additionalProperties": False}, {TRAP: 1}),
            ({"propertyNames": {"pattern": EVIL}}, {TRAP: 1}),
            ({"$schema": "http://json-schema.org/draft-07/schema#", "pattern": EVIL}, TRAP),
            (
                {"properties": {"a": {"$schema": "http://json-schema.org/draft-03/schema#", "pattern": EVIL}}},
                {"a": TRAP},
            ),
        ],
    )
    def test_cannot_make_us_run_its_expressions(self, schema: dict[str, Any], value: Any):
        assert find_mismatches(schema, value) == []

    def test_cannot_keep_us_busy(self):
        doubled = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(60)}
        assert find_mismatches({"$ref": "#/$defs/a0", "$defs": {**doubled, "a60": {"type": "string"}}}, "x") == []

    def test_cannot_make_us_compare_forever(self):
        assert find_mismatches({"items": {"enum": list(range(20_000))}}, ["x"] * 50_000) != []

    @pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
    def test_cannot_make_us_fetch_anything(self, keyword: str):
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(0.3)
            came: list[Any] = []
            listening = threading.Thread(target=_accept, args=(server, came))
            listening.start()
            address = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
            assert find_mismatches({keyword: address}, 1) == []
            assert find_mismatches({"$id": address, "properties": {"a": {keyword: "other.json"}}}, {"a": 1}) == []
            listening.join()
        assert came == []

    def test_cannot_read_a_file(self, tmp_path):
        file = tmp_path / "schema.json"
        file.write_text('{"type": "string"}')
        assert find_mismatches({"$ref": file.as_uri()}, 1) == []


@pytest.mark.timeout(20)
class TestAHostileValue:
    def test_that_is_nested_too_deeply_is_refused(self):
        assert find_mismatches({}, nested(5_000)) == ["The value is nested more than 50 levels deep."]

    def test_that_holds_itself_is_refused(self):
        value: dict[str, Any] = {}
        value["a"] = value
        assert find_mismatches({}, value) == ["The value is nested more than 50 levels deep."]

    def test_as_deep_as_may_be_is_checked(self):
        tree = {"$ref": "#/$defs/t", "$defs": {"t": {"anyOf": [{"$ref": "#/$defs/o"}, {"type": "null"}]}}}
        tree["$defs"]["o"] = {"type": "object", "properties": {"a": {"$ref": "#/$defs/t"}}}
        assert find_mismatches(tree, nested(45)) == []
        assert find_mismatches(tree, nested(20, 5)) == [f"{'.'.join('a' * 20)} must be an object or empty."]

    def test_of_too_many_parts_is_refused(self):
        assert find_mismatches({}, [0] * 200_000) == ["The value is too large: it has more than 100,000 parts."]

    def test_that_is_no_number_is_refused(self):
        schema = {"properties": {"n": {"multipleOf": 0.1, "maximum": 3}}}
        refusal = "The value holds a number that is infinite, undefined or far too large."
        for number in (float("nan"), float("inf"), 10**6_000):
            assert find_mismatches(schema, {"n": number}) == [refusal]

    def test_of_ten_megabytes_is_measured(self):
        assert find_mismatches({"maxLength": 3}, "x" * 10_000_000) == ["The value must have at most 3 characters."]


def _accept(server: socket.socket, came: list[Any]) -> None:
    try:
        came.append(server.accept())
    except TimeoutError:
        return
