"""The arguments that the offline demo model gives a tool: made from the tool's schema and the person's words.

Invariant: they depend on nothing else, so that two tools with a ``name`` are given the same one.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.agents.demo.terms import most_alike, terms_of, without
from core.agents.demo.words import first_words, texts_for

UNCLEAR = "unclear"
_SHORT = 300
_MOST_PARTS = 8
_LONGEST_PART = 120
_QUOTED = re.compile(r"[\"“「『《]([^\"“「『《”」』》]{1,200})[\"”」』》]")
# "7 days" says how many, and chooses nothing.
_MEASURED = re.compile(r"(?<!\d)\d++\s*+[a-z]+", re.IGNORECASE)
_LISTED = re.compile(r"[,;，；、\n]+|\band\b|\bthen\b|然后|以及", re.IGNORECASE)
_LISTS = re.compile(r"[;；、\n]+")


@dataclass(frozen=True)
class Question:
    """What a person asked, the system prompt it was asked under, and the words that are the tools' own."""

    text: str
    system: str = ""
    known: frozenset[str] = frozenset()

    @property
    def topic(self) -> str:
        """A few words of it: what is quoted, else what stands before a colon and is no word of the tools' own."""
        if quoted := _QUOTED.search(self.text):
            return quoted[1]
        head = re.split(r"[:\uff1a\n]", self.text.strip())[0]
        return first_words(without(head, self.known) if self.known else head) or first_words(self.text)

    @property
    def parts(self) -> list[str]:
        """What of it is listed, at least two things; else the steps that every piece of work has."""
        _, colon, listed = self.text.replace("\uff1a", ":").partition(":")
        split = (_LISTED if colon else _LISTS).split(listed if colon else self.text)
        parts = [part.strip(" .。!?！？-*")[:_LONGEST_PART] for part in split]
        parts = [part for part in parts if part][:_MOST_PARTS]
        return parts if len(parts) > 1 else list(texts_for(self.text).parts)

    @property
    def draft(self) -> str:
        """A text about it that says who wrote it."""
        texts = texts_for(self.text)
        parts = "\n".join(f"{number}. {part}" for number, part in enumerate(self.parts, start=1))
        return texts.draft.format(words=first_words(self.text), parts=parts)


def object_in(text: str) -> dict[str, Any] | None:
    """The JSON object that stands in a text, if there is one."""
    try:
        found, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def default_of(schema: dict[str, Any], question: Question | None = None) -> Any:
    """The simplest value that fits; of an enum, the one that answers the question, if there is one."""
    if question is not None and "enum" in schema and (chosen := choose(schema, question)) is not None:
        return chosen
    for given in (schema.get("default"), schema.get("const"), *schema.get("enum", ())[:1]):
        if given is not None:
            return given
    if choices := schema.get("anyOf"):
        return default_of(next((one for one in choices if one.get("type") != "null"), {}), question)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: default_of(properties.get(name, {}), question) for name in schema.get("required", ())}
    simple: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": []}
    return simple.get(str(schema.get("type")), "demo")


def choose(schema: dict[str, Any], question: Question) -> Any:
    """The value of an enum whose line shares the most words with the question; None when none is offered for it."""
    values = [value for value in schema["enum"] if isinstance(value, str)]
    where = f"{question.system}\n{schema.get('description', '')}"
    lines = [terms_of(f"{value} {_line_of(value, where)}") for value in values if value != UNCLEAR]
    best = most_alike(terms_of(_MEASURED.sub(" ", question.text)), lines)
    if best and (len(best) == 1 or UNCLEAR not in values):
        return [value for value in values if value != UNCLEAR][best[0]]
    return UNCLEAR if UNCLEAR in values else None


def _line_of(value: str, where: str) -> str:
    found = re.search(rf"(?:^-?\s*|;\s*){re.escape(value)}:\s*([^;\n]+)", where, re.MULTILINE)
    return found[1] if found else ""


def fill(schema: dict[str, Any], question: Question) -> dict[str, Any]:
    """Arguments made from the question: what is required, and the choices that the question makes."""
    if (given := object_in(question.text)) is not None:
        return given
    properties, required = schema.get("properties", {}), schema.get("required", ())
    needed = {name: _value(properties.get(name, {}), question) for name in required}
    return needed | dict(_chosen({n: one for n, one in properties.items() if n not in needed}, question))


def _chosen(optional: dict[str, dict[str, Any]], question: Question) -> Iterator[tuple[str, Any]]:
    for name, schema in optional.items():
        options = [one for one in (schema, *schema.get("anyOf", ())) if "enum" in one]
        described = [{"description": schema.get("description", "")} | one for one in options]
        value = next((found for one in described if (found := choose(one, question)) is not None), None)
        number = re.search(rf"(\d{{1,4}})\s*{re.escape(name)}\b", question.text, re.IGNORECASE)
        if value is not None:
            yield name, value
        elif number:
            yield name, int(number[1])


def _value(schema: dict[str, Any], question: Question) -> Any:
    if "enum" in schema or "const" in schema:
        return default_of(schema, question)
    if schema.get("type") == "string":
        return question.topic if schema.get("maxLength", _SHORT + 1) <= _SHORT else question.draft
    if schema.get("type") == "array":
        kind = schema.get("items", {}).get("type")
        if kind == "integer":
            return list(range(1, len(question.parts) + 1))
        return question.parts if kind == "string" else []
    if schema.get("type") == "object" and schema.get("properties"):
        return fill(schema, question)
    return default_of(schema, question)
