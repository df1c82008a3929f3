"""Schemas that are unusual, or none: each gives a field that can be used, or a text area for JSON."""

from typing import Any

import pytest

from core.json_schema import find_mismatches, find_mismatches_by_place
from pages.parts.forms.schema_fields import read_field
from pages.parts.forms.schema_form import say_at_fields
from tests.pages.test_schema_form import drawn, held

_DEEP: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
for _ in range(40):
    _DEEP = {"type": "object", "properties": {"a": _DEEP}}
_CIRCLE: dict[str, Any] = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
_TREE = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}}}}}

# By what is unusual: the schema, and the kind of field that it gives.
SCHEMAS: dict[str, tuple[Any, str]] = {
    "an object or a text": ({"type": ["object", "string"], "properties": {"a": {"type": "string"}}}, "json"),
    "an object or null": ({"type": ["object", "null"], "properties": {"a": {"type": "string"}}}, "object"),
    "a text or null": ({"type": ["string", "null"]}, "text"),
    "a text or a number": ({"type": ["string", "number"]}, "json"),
    "one type in a list": ({"type": ["integer"]}, "integer"),
    "no type in a list": ({"type": []}, "json"),
    "null alone in a list": ({"type": ["null"]}, "json"),
    "types that are no texts": ({"type": [{"a": 1}, ["string"], 7]}, "json"),
    "a type that is an object": ({"type": {"type": "string"}}, "json"),
    "a type that is a number": ({"type": 7, "properties": {"a": {}}}, "json"),
    "a type that nobody knows": ({"type": "robot"}, "json"),
    "a list of types that is an array or null": ({"type": ["array", "null"], "items": {"type": "string"}}, "words"),
    "an array or a text": ({"type": ["array", "string"], "items": {"type": "string"}}, "json"),
    "null": ({"type": "null"}, "json"),
    "true": (True, "json"),
    "false": (False, "json"),
    "none": (None, "json"),
    "a list": ([{"type": "string"}], "json"),
    "a text": ("string", "json"),
    "a number": (7, "json"),
    "nothing": ({}, "json"),
    "a circle of references": (_CIRCLE, "json"),
    "a reference to itself": ({"$ref": "#"}, "json"),
    "a tree": (_TREE, "object"),
    "a reference to nowhere": ({"$ref": "#/$defs/none"}, "json"),
    "a reference to another place": ({"$ref": "https://example.org/x"}, "json"),
    "a reference that is a number": ({"$ref": 7, "type": "string"}, "text"),
    "a reference to a true": ({"$ref": "#/$defs/a", "$defs": {"a": True}}, "json"),
    "definitions that are a list": ({"$ref": "#/$defs/a", "$defs": ["a"]}, "json"),
    "a form or null": ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer"),
    "null alone of forms": ({"anyOf": [{"type": "null"}]}, "json"),
    "no form": ({"anyOf": []}, "json"),
    "forms that are an object": ({"anyOf": {"a": {"type": "string"}}}, "json"),
    "forms that are true": ({"anyOf": [True, {"type": "null"}]}, "json"),
    "two forms": ({"oneOf": [{"type": "string"}, {"type": "integer"}]}, "json"),
    "a form of types and null": ({"anyOf": [{"type": ["string", "integer"]}, {"type": "null"}]}, "json"),
    "all of one": ({"allOf": [{"type": "string"}]}, "text"),
    "all of two": ({"allOf": [{"type": "string"}, {"minLength": 2}]}, "json"),
    "a constant": ({"const": "x"}, "choice"),
    "a constant that is null": ({"const": None}, "json"),
    "a constant that is an object": ({"const": {"a": [1]}}, "choice"),
    "choices of mixed types": ({"enum": ["1", 1, 1.0, True, None, {"a": 1}, [1], ""]}, "choice"),
    "choices that are a text": ({"enum": "ab", "type": "string"}, "text"),
    "choices that are an object": ({"enum": {"a": 1}}, "json"),
    "no choice": ({"enum": [], "type": "string"}, "text"),
    "null as the only choice": ({"enum": [None]}, "json"),
    "items by place": ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, "json"),
    "items by place, as it was written": ({"type": "array", "items": [{"type": "string"}]}, "json"),
    "items that are true": ({"type": "array", "items": True}, "json"),
    "items that are choices of mixed types": ({"type": "array", "items": {"enum": [1, "1", None]}}, "choices"),
    "items that are missing": ({"type": "array"}, "json"),
    "items of types": ({"type": "array", "items": {"type": ["string", "integer"]}}, "json"),
    "properties that are missing": ({"type": "object"}, "json"),
    "properties that are none": ({"type": "object", "properties": {}}, "json"),
    "properties that are a list": ({"type": "object", "properties": ["a"]}, "json"),
    "properties that are true": ({"type": "object", "properties": {"a": True, "b": False, "c": None}}, "object"),
    "properties of odd names": ({"properties": {"": {}, "a.b": {}, "~": {}, "a\0": {}, "\ud800": {}}}, "object"),
    "properties whose names are numbers": ({"properties": {1: {"type": "string"}, None: {}}}, "object"),
    "required that is a text": ({"type": "object", "properties": {"a": {}}, "required": "a"}, "object"),
    "required that is true": ({"properties": {"a": {"type": "string"}}, "required": True}, "object"),
    "required that names others": ({"properties": {"a": {"type": "string"}}, "required": ["b", 7, None]}, "object"),
    "a title that is a number": ({"type": "string", "title": 7, "description": ["x"]}, "text"),
    "a default of another type": ({"type": "integer", "default": "x"}, "integer"),
    "a default that is no JSON": ({"type": "object", "default": {1, 2}}, "json"),
    "a default that is NaN": ({"type": "number", "default": float("nan")}, "number"),
    "bounds that are texts": ({"type": "integer", "minimum": "1", "maximum": [2]}, "integer"),
    "bounds that cross": ({"type": "number", "minimum": 5, "maximum": 1, "default": 3}, "number"),
    "bounds that are infinite": ({"type": "number", "minimum": float("-inf"), "maximum": float("nan")}, "number"),
    "bounds that are huge": ({"type": "integer", "minimum": -(10**30), "maximum": 10**30}, "integer"),
    "bounds of a fraction": ({"type": "integer", "minimum": 0.5, "exclusiveMaximum": 2.5}, "integer"),
    "a length that is a text": ({"type": "string", "maxLength": "x", "format": 7}, "text"),
    "a length that is true": ({"type": "string", "maxLength": True}, "text"),
    "a date by default that is none": ({"type": "string", "format": "date", "default": "soon"}, "date"),
    "a deep one": (_DEEP, "object"),
    "a wide one": ({"properties": {f"p{number}": {"type": "string"} for number in range(500)}}, "json"),
    "if and then": ({"if": {"type": "string"}, "then": {"minLength": 1}, "else": True}, "json"),
    "not": ({"not": {"type": "string"}}, "json"),
    "another dialect": ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "string", "id": 7}, "text"),
}
VALUES = (None, "x", 7, 1.5, True, [], ["x"], [1, None], {}, {"a": "x"}, {"a": {"a": None}, "z": [1]})


@pytest.mark.parametrize("name", SCHEMAS)
class TestAnOddSchema:
    def test_is_read(self, name: str) -> None:
        schema, kind = SCHEMAS[name]
        assert read_field(schema).kind == kind

    def test_is_drawn_and_keeps_what_was_there(self, name: str) -> None:
        schema, _ = SCHEMAS[name]
        held(drawn(schema))
        value = {"a": {"z": 1}, "b": None}
        assert held(drawn(schema, value)) == value

    def test_takes_whatever_was_there(self, name: str) -> None:
        schema, _ = SCHEMAS[name]
        for value in VALUES:
            find_mismatches(schema, value)
            say_at_fields(schema, find_mismatches_by_place(schema, value), key="t")


def test_all_are_drawn_as_the_properties_of_one() -> None:
    names = [name for name in SCHEMAS if name not in {"a deep one", "a wide one", "a reference to itself"}]
    for first in range(0, len(names), 25):
        group = {name: SCHEMAS[name][0] for name in names[first : first + 25]}
        at = drawn({"type": "object", "properties": {**group, "also": {"type": "string"}}})
        held(at)
        assert "also" in [one.label for one in at.text_input]
