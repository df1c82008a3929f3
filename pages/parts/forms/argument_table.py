"""The properties of a JSON schema as rows to read: what each is called, what it may be, what it is for.

Pure functions over what a schema says; it is other people's text, so each cell is plain and bounded.
"""

from typing import Any

from pages.parts.forms.schema_fields import Field, read_field, spelled
from pages.parts.ui.text import shortened

_MOST_ROWS, _LONGEST = 100, 500
_KINDS = {
    "text": "text",
    "integer": "whole number",
    "number": "number",
    "checkbox": "yes or no",
    "date": "date",
    "words": "list of texts",
    "object": "object",
    "json": "JSON",
}


def argument_rows(schema: dict[str, Any]) -> list[dict[str, str]]:
    """One row for each property; those of an object in it stand behind it, named ``outer.inner``."""
    root = read_field(schema)
    properties = schema.get("properties")
    if root.kind == "json" and isinstance(properties, dict):
        return [{"Name": shortened(str(name), _LONGEST), "Kind": "JSON"} for name in list(properties)[:_MOST_ROWS]]
    return [_row(path, field) for path, field in _walk(root, "")][:_MOST_ROWS]


def _walk(field: Field, path: str) -> list[tuple[str, Field]]:
    found = []
    for inner in field.fields:
        here = f"{path}.{inner.name}" if path else inner.name
        found += [(here, inner), *_walk(inner, here)]
    return found


def _row(path: str, field: Field) -> dict[str, str]:
    default = field.schema.get("default")
    return {
        "Name": shortened(path, _LONGEST),
        "Kind": shortened(kind_of(field), _LONGEST),
        "Needed": "yes" if field.is_required else "",
        "Usually": "" if default is None else shortened(spelled(default), _LONGEST),
        "Description": shortened(" ".join(field.description[: 2 * _LONGEST].split()), _LONGEST),
    }


def kind_of(field: Field) -> str:
    """What may be given, in words."""
    if field.kind in {"choice", "choices"}:
        named = " or ".join(map(spelled, field.choices[:12]))
        named = "yes or no" if field.choices == (True, False) else named
        return f"some of {named}" if field.kind == "choices" else named
    low, high = field.bound("minimum", "exclusiveMinimum"), field.bound("maximum", "exclusiveMaximum")
    if field.kind in {"integer", "number"} and (low is not None or high is not None):
        ends = [f"{sign} {bound:g}" for sign, bound in (("≥", low), ("≤", high)) if bound is not None]
        return f"{_KINDS[field.kind]}, {' and '.join(ends)}"
    return _KINDS[field.kind]
