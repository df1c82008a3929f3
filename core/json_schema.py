"""Whether a value is what a JSON schema asks for, in sentences for the person who wrote it.

Invariant: schemas come from other people's tools, so a schema is only ever read. Nothing is fetched for it, no
regular expression of its own is run, the steps taken are bounded; one that is broken counts as none.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from jsonschema.exceptions import SchemaError, ValidationError  # type: ignore[import-untyped]
from jsonschema.validators import create  # type: ignore[import-untyped]
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

MOST_SENTENCES = 5
# The path to a place in a value, and what is wrong there.
Mismatch = tuple[tuple[str | int, ...], str]
_LARGEST_SCHEMA, _MOST_STEPS = 200_000, 50_000
_DEEPEST, _MOST_PARTS, _MOST_BITS = 50, 100_000, 1_024
_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "an object",
    "array": "a list",
    "null": "empty",
}
_BOUNDS = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be more than {}",
    "exclusiveMaximum": "must be less than {}",
    "multipleOf": "must be a multiple of {}",
    "minLength": "must have at least {} characters",
    "maxLength": "must have at most {} characters",
    "minItems": "must have at least {} entries",
    "maxItems": "must have at most {} entries",
    "minProperties": "must have at least {} fields",
    "maxProperties": "must have at most {} fields",
    "const": "must be {}",
}
_OTHERS = {
    "required": "is missing",
    "additionalProperties": "is not known here",
    "uniqueItems": "must not have the same entry twice",
    "contains": "has too few or too many of the entries that are asked for",
    "items": "has too many entries",
    "not": "has a value that is not allowed",
}
_steps_left: ContextVar[list[int]] = ContextVar("steps_left")


class _TooLongError(Exception):
    """More steps than a schema is worth."""


def find_mismatches(schema: dict[str, Any] | None, value: Any) -> list[str]:
    """What in the value the schema does not allow: at most five sentences, each beginning with the place.

    A place is ``to.0.address``. Empty when all fits, and when the schema is none, broken or too large to check.
    """
    sentences = []
    for path, problem in find_mismatches_by_place(schema, value, most=MOST_SENTENCES):
        place = _short(".".join(map(str, path))) if path else "The value"
        sentences.append(f"{place} {problem}.")
    return sentences


def find_mismatches_by_place(schema: dict[str, Any] | None, value: Any, *, most: int = 100) -> list[Mismatch]:
    """The same, each as the path to the place and what is wrong there: ``(("to", 0), "must be text")``."""
    if problem := _find_unfit(value):
        return [((), problem)]
    validator = _ensure_validator(schema)
    if validator is None:
        return []
    _steps_left.set([_MOST_STEPS])
    found: dict[Mismatch, None] = {}
    try:
        for error in validator.iter_errors(value):
            found.update(dict.fromkeys(_mismatches(error)))
            if len(found) >= most:
                break
    except (_TooLongError, RecursionError, Unresolvable, ArithmeticError):
        pass  # the schema's fault; what was found so far holds
    return list(found)[:most]


def _find_unfit(value: Any) -> str | None:
    """Why a value is none that JSON, a page or a checkpoint can hold."""
    level, parts, depth = [value], 0, 0
    while level:
        parts, depth = parts + len(level), depth + 1
        if parts > _MOST_PARTS:
            return f"is too large: it has more than {_MOST_PARTS:,} parts"
        if depth > _DEEPEST:
            return f"is nested more than {_DEEPEST} levels deep"
        if any(_is_no_number(part) for part in level):
            return "holds a number that is infinite, undefined or far too large"
        level = [inner for part in level for inner in _inside(part)]
    return None


def _is_no_number(part: Any) -> bool:
    if isinstance(part, float):
        return not math.isfinite(part)
    return isinstance(part, int) and part.bit_length() > _MOST_BITS


def _inside(part: Any) -> list[Any]:
    if isinstance(part, dict):
        return list(part.values())
    return part if isinstance(part, list) else []


def _ensure_validator(schema: Any) -> Any:
    try:
        text = json.dumps(schema, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None
    return _validator(text) if len(text) <= _LARGEST_SCHEMA else None


@lru_cache(maxsize=128)
def _validator(text: str) -> Any:
    """A validator that asks no one; ``$schema`` is left out, it would choose another with keywords of its own."""
    try:
        schema = json.loads(text, object_pairs_hook=_without_dialect)
        if not isinstance(schema, dict):
            return None
        Draft202012Validator.check_schema(schema, format_checker=None)
        return _Careful(schema, registry=Registry())
    except (SchemaError, ValueError, RecursionError, Unresolvable):
        return None


def _without_dialect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if not (name == "$schema" and isinstance(value, str))}


def _counted(check: Any) -> Any:
    """The keyword's check, which counts as as many steps as it has values to compare with."""

    def checked(validator: Any, expected: Any, value: Any, schema: Any) -> Any:
        left = _steps_left.get()
        left[0] -= 1 + (len(expected) if isinstance(expected, (list, dict)) else 0)
        if left[0] < 0:
            raise _TooLongError
        return check(validator, expected, value, schema)

    return checked


def _properties(validator: Any, expected: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    for name in [name for name in expected if isinstance(value, dict) and name in value]:
        if expected[name] is False:
            yield ValidationError("", path=[name])
        else:
            yield from validator.descend(value[name], expected[name], path=name, schema_path=name)


def _required(_validator: Any, names: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(value, dict):
        yield from (ValidationError("", path=[name]) for name in names if name not in value)


def _additional(validator: Any, expected: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    if not isinstance(value, dict) or "patternProperties" in schema:
        return
    for name in [name for name in value if name not in schema.get("properties", {})]:
        if expected is False:
            yield ValidationError("", path=[name])
        else:
            yield from validator.descend(value[name], expected, path=name)


def _unique(_validator: Any, expected: Any, value: Any, _schema: Any) -> Iterator[ValidationError]:
    if not expected or not isinstance(value, list):
        return
    if len({json.dumps(each, sort_keys=True, default=str) for each in value}) < len(value):
        yield ValidationError("")


# Regular expressions may take forever, and what is not evaluated cannot be known without them.
_UNHEARD = {"pattern", "patternProperties", "unevaluatedItems", "unevaluatedProperties", "format"}
_OWN = {
    "properties": _properties,
    "required": _required,
    "additionalProperties": _additional,
    "uniqueItems": _unique,
}
_Careful = create(
    meta_schema=Draft202012Validator.META_SCHEMA,
    validators={
        name: _counted(_OWN.get(name, check))
        for name, check in Draft202012Validator.VALIDATORS.items()
        if name not in _UNHEARD
    },
    type_checker=Draft202012Validator.TYPE_CHECKER,
    id_of=DRAFT202012.id_of,
)


def _mismatches(error: ValidationError) -> list[Mismatch]:
    """What the error says; of a choice between forms, what those of the only form say that was meant."""
    meant = _meant(error)
    if meant:
        return [mismatch for inner in meant for mismatch in _mismatches(inner)]
    return [(tuple(error.absolute_path), _problem(error))]


def _meant(error: ValidationError) -> list[ValidationError]:
    forms: dict[Any, list[ValidationError]] = defaultdict(list)
    for inner in error.context or ():
        forms[inner.schema_path[0]].append(inner)
    fitting = [errors for errors in forms.values() if not any(_is_other_kind(inner) for inner in errors)]
    return fitting[0] if len(fitting) == 1 else []


def _is_other_kind(error: ValidationError) -> bool:
    return not error.path and error.validator in {"type", "const", "enum", None}


def _problem(error: ValidationError) -> str:
    expected: Any = error.validator_value
    match error.validator:
        case "type":
            return f"must be {_either(expected)}"
        case "enum":
            return f"must be one of {_listed(expected)}"
        case "anyOf" | "oneOf":
            return _problem_of_forms(error)
        case str(name) if name in _BOUNDS:
            said = _BOUNDS[name].format(_shown(expected))
            return said.replace("entries", "entry").removesuffix("s") if expected == 1 else said
        case name:
            return _OTHERS.get(str(name), "is not allowed here")


def _problem_of_forms(error: ValidationError) -> str:
    if not error.context:
        return "fits more than one of the forms it can have"
    kinds = [inner.validator_value for inner in error.context if inner.validator == "type" and not inner.path]
    return f"must be {_either(kinds)}" if len(kinds) == len(error.context) else "fits none of the forms it can have"


def _either(types: Any) -> str:
    names = [types] if isinstance(types, str) else types
    said = [_TYPES.get(str(name)) or _either(name) for name in names]
    return " or ".join(dict.fromkeys(said))


def _listed(values: list[Any]) -> str:
    shown = ", ".join(_shown(value) for value in values[:8])
    return f"{shown}, …" if len(values) > 8 else shown


def _shown(value: Any) -> str:
    return _short(json.dumps(value, ensure_ascii=False))


def _short(text: str) -> str:
    line = " ".join("".join(char if char.isprintable() else " " for char in text[:400]).split())
    return line if len(line) <= 80 else line[:79] + "…"
