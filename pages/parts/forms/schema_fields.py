"""How a JSON schema is read as a form: one field for each property, and the kind of widget that can hold it.

Invariant: pure, and total: whatever a schema says, it is read within a bounded number of fields, and what has no
widget of its own is a field of kind ``json``, which holds anything.
"""

import datetime
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "integer", "number", "checkbox", "date", "choice", "choices", "words", "object", "json"]
MISSING: Any = object()
_MOST_FIELDS, _DEEPEST, _MOST_HOPS = 100, 3, 20
_SAFE = 2**53 - 1  # the largest whole number a browser can hold
_KINDS: dict[Any, Kind] = {"string": "text", "integer": "integer", "number": "number", "boolean": "checkbox"}


@dataclass(frozen=True)
class Field:
    """One property; ``fields`` are those of an object, ``choices`` those of an enum."""

    name: str
    kind: Kind
    schema: Mapping[str, Any]
    is_required: bool = True
    is_nullable: bool = False
    choices: tuple[Any, ...] = ()
    fields: "tuple[Field, ...]" = ()

    @property
    def title(self) -> str:
        title = self.schema.get("title")
        return (title if isinstance(title, str) and title.strip() else self.name) or "Value"

    @property
    def description(self) -> str:
        description = self.schema.get("description")
        return description if isinstance(description, str) else ""

    @property
    def default(self) -> Any:
        """What is meant when nothing is given, as far as the field can hold it; else MISSING."""
        default = self.schema.get("default", MISSING)
        return default if default is not MISSING and default is not None and fits(self, default) else MISSING

    def bound(self, name: str, exclusive: str) -> float | None:
        """The least or most it may be, as a number of the field's own type."""
        bound = self.schema.get(name)
        if bound is None and self.kind == "integer" and is_number(self.schema.get(exclusive)):
            bound = self.schema[exclusive] + (1 if name == "minimum" else -1)
        if not is_number(bound):
            return None
        return int(bound) if self.kind == "integer" else float(bound)


def read_field(schema: Any) -> Field:
    """The schema as one field, an object's with the fields in it; too many of them, and it is of kind ``json``."""
    if not isinstance(schema, Mapping):
        return Field("", "json", {})
    reading = _Reading(schema)
    field = reading.read("", schema, depth=0)
    return Field("", "json", field.schema) if reading.count > _MOST_FIELDS else field


def fits(field: Field, value: Any) -> bool:
    """Whether the field's widget can show this value as it is."""
    check = _FITTING.get(field.kind)
    return check is not None and check(field, value)


def _are_choices(field: Field, value: Any) -> bool:
    places = [place_of(field, each) for each in value] if isinstance(value, list) else [None]
    return None not in places and len(set(places)) == len(places)


def _are_words(_field: Field, value: Any) -> bool:
    words = isinstance(value, list) and all(isinstance(each, str) and each.strip() for each in value)
    return words and len(set(value)) == len(value)


_FITTING: dict[Kind, Callable[[Field, Any], bool]] = {
    "text": lambda _, value: isinstance(value, str),
    "integer": lambda _, value: isinstance(value, int) and is_number(value),
    "number": lambda _, value: is_number(value),
    "checkbox": lambda _, value: isinstance(value, bool),
    "date": lambda _, value: isinstance(value, str) and _is_date(value),
    "choice": lambda field, value: place_of(field, value) is not None,
    "choices": _are_choices,
    "words": _are_words,
    "object": lambda _, value: isinstance(value, dict),
}


def place_of(field: Field, value: Any) -> int | None:
    """Where the value stands among the choices; ``1``, ``1.0`` and ``true`` are three things."""
    wanted = spelled(value)
    return next((place for place, choice in enumerate(field.choices) if spelled(choice) == wanted), None)


def spelled(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, default=str)


def is_number(value: Any) -> bool:
    """Whether it is a number that a browser's field can hold."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_SAFE <= value <= _SAFE


def is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_date(text: str) -> bool:
    try:
        return datetime.date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


class _Reading:
    """One schema being read: where its ``$ref`` point into, and how many fields there are so far."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self.root = root
        self.count = 0

    def read(self, name: str, schema: Any, *, depth: int, is_required: bool = True) -> Field:
        self.count += 1
        resolved, is_nullable = self._resolve(schema)
        kind, choices = self._kind(resolved, depth)
        if (
            kind == "checkbox"
            and not isinstance(resolved.get("default"), bool)
            and (is_nullable or not is_required)
        ):
            kind, choices = "choice", (True, False)  # a box has no third state for "not set"
        fields = self._fields(resolved, depth + 1) if kind == "object" else ()
        return Field(name, kind, resolved, is_required, is_nullable, choices, fields)

    def _fields(self, schema: Mapping[str, Any], depth: int) -> tuple[Field, ...]:
        required = schema.get("required")
        needed = set(map(str, required)) if isinstance(required, list) else set()
        fields = []
        for name, inner in schema["properties"].items():
            if self.count > _MOST_FIELDS:
                break
            fields.append(self.read(str(name), inner, depth=depth, is_required=name in needed))
        return tuple(fields)

    def _kind(self, schema: Mapping[str, Any], depth: int) -> tuple[Kind, tuple[Any, ...]]:
        if choices := _choices(schema):
            return "choice", choices
        type_ = schema.get("type")
        if isinstance(type_, list):
            return "json", ()  # one of several, which no widget can tell apart
        if type_ == "array":
            return self._kind_of_list(schema)
        if isinstance(properties := schema.get("properties"), Mapping) and type_ in (None, "object"):
            return ("object" if properties and depth <= _DEEPEST else "json"), ()
        if type_ == "string" and schema.get("format") == "date":
            return "date", ()
        return (_KINDS.get(type_, "json") if isinstance(type_, str) else "json"), ()

    def _kind_of_list(self, schema: Mapping[str, Any]) -> tuple[Kind, tuple[Any, ...]]:
        items, is_nullable = self._resolve(schema.get("items"))
        if is_nullable or "prefixItems" in schema:
            return "json", ()
        if choices := _choices(items):
            return "choices", choices
        return ("words" if items.get("type") == "string" else "json"), ()

    def _resolve(self, schema: Any) -> tuple[Mapping[str, Any], bool]:
        """The schema with references followed and the only form of a choice taken; and whether it may be null."""
        is_nullable = False
        for _ in range(_MOST_HOPS):
            if not isinstance(schema, Mapping):
                return {}, is_nullable
            key, inner, may_be_null = self._step(schema)
            is_nullable = is_nullable or may_be_null
            if key is None:
                type_, nullable = _without_null(schema.get("type"))
                return {**schema, "type": type_} if "type" in schema else schema, is_nullable or nullable
            if not isinstance(inner, Mapping):
                return {}, is_nullable
            # What stands beside a reference says more about this place than what it points to.
            schema = {**inner, **{name: value for name, value in schema.items() if name != key}}
        return {}, is_nullable

    def _step(self, schema: Mapping[str, Any]) -> tuple[str | None, Any, bool]:
        if isinstance(ref := schema.get("$ref"), str):
            return "$ref", self._point(ref), False
        for key in ("anyOf", "oneOf", "allOf"):
            if isinstance(forms := schema.get(key), list):
                real = [form for form in forms if form != {"type": "null"}]
                if len(real) == 1:
                    return key, real[0], len(real) < len(forms)
        return None, None, False

    def _point(self, ref: str) -> Any:
        """What a reference inside this schema points to; None for any other."""
        if not ref.startswith("#/"):
            return self.root if ref == "#" else None
        found: Any = self.root
        for part in ref[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            found = found.get(name) if isinstance(found, Mapping) else None
        return found


def _without_null(type_: Any) -> tuple[Any, bool]:
    if not isinstance(type_, list):
        return type_, False
    real = [name for name in type_ if name != "null"]
    return (real[0] if len(real) == 1 else real), len(real) < len(type_)


def _choices(schema: Mapping[str, Any]) -> tuple[Any, ...]:
    if "const" in schema:
        return () if schema["const"] is None else (schema["const"],)
    enum = schema.get("enum")
    if isinstance(enum, list):
        return tuple({spelled(value): value for value in enum if value is not None}.values())
    return ()


def _allows_none(schema: Mapping[str, Any]) -> bool:
    enum = schema.get("enum")
    return isinstance(enum, list) and any(value is None for value in enum)
