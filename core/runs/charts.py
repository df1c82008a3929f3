"""Charts that a tool gives: Vega-Lite with its rows inside, and nothing in it that loads, links or computes.

Invariant: what is let through holds no address, no expression and no more rows and numbers than a browser draws
at once; so a chart can show only what the tool gave with it.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from pydantic_core import to_json

from core.errors import BadInputError
from core.runs.events import plain, readable

MOST_CHART_ROWS = 5_000
LARGEST_SPEC = 30_000
LARGEST_ROWS = 300_000
_MOST_FIELDS = 30
_LONGEST_CELL = 200
_LONGEST_TEXT = 1_000
_LARGEST_NUMBER = 2**53
_DEEPEST = 16
_WIDEST = 2_000
_MOST_STEPS = 1_000
_MOST_PARTS = 20_000
# Each loads something, leads somewhere, is evaluated as an expression, or reaches out of the chart.
_REFUSED = frozenset(
    "url href src loader usermeta embedOptions patch cursor expr signal signals calculate labelExpr tickExpr "
    "on clear element update test lookup sphere graticule sequence keyvals".lower().split()
)
_SIZES = frozenset({"width", "height", "step", "size", "padding", "offset"})
_COUNTS = frozenset({"maxbins", "maxsteps", "steps", "tickcount", "count", "resolution", "columns", "levels"})
_ADDRESS = re.compile(r"^\s*//|://|\burl\s*\(|^\s*javascript\s*:", re.IGNORECASE)
_PARTS = ("mark", "layer", "hconcat", "vconcat", "concat", "facet", "repeat", "spec")


@dataclass
class _Cleaning:
    """One chart being cleaned: what was left out of it, and how many rows it may still have."""

    left_out: set[str] = field(default_factory=set)
    rows: int = MOST_CHART_ROWS
    parts: int = _MOST_PARTS


def safe_chart(spec: Any) -> dict[str, Any]:
    """``spec``, safe and bounded, and a ``note`` where something was left out; BadInputError for no chart."""
    if not isinstance(spec, Mapping) or not any(part in spec for part in _PARTS):
        raise BadInputError("A chart was left out: it is no Vega-Lite with a mark.")
    cleaning = _Cleaning()
    safe = _clean(spec, "", cleaning, depth=0)
    size = len(to_json(_without_rows(safe)))
    if size > LARGEST_SPEC:
        raise BadInputError(f"A chart was left out: beside its rows it is larger than {LARGEST_SPEC:,} bytes.")
    if len(to_json(safe)) > LARGEST_SPEC + LARGEST_ROWS:
        raise BadInputError(f"A chart was left out: its rows are larger than {LARGEST_ROWS:,} bytes.")
    if not cleaning.left_out:
        return {"spec": safe}
    return {"spec": safe, "note": f"Left out of this chart: {', '.join(sorted(cleaning.left_out))}."}


def _clean(value: Any, name: str, cleaning: _Cleaning, *, depth: int) -> Any:
    cleaning.parts -= 1
    if depth > _DEEPEST or cleaning.parts < 0:
        raise BadInputError("A chart was left out: it is nested too deep, or has too many parts.")
    if isinstance(value, Mapping):
        return _clean_mapping(value, cleaning, depth)
    if isinstance(value, (list, tuple)):
        return [_clean(item, name, cleaning, depth=depth + 1) for item in value]
    if isinstance(value, str):
        return _clean_text(value, cleaning)
    return _clean_number(value, name.lower())


def _clean_mapping(value: Mapping[Any, Any], cleaning: _Cleaning, depth: int) -> dict[str, Any]:
    safe: dict[str, Any] = {}
    for key, item in value.items():
        name = readable(str(key), _LONGEST_CELL)
        if name == "$schema":
            continue
        if name == "data":
            safe[name] = _clean_data(item, cleaning)
        elif name == "datasets" and isinstance(item, Mapping):
            safe[name] = {readable(str(one), _LONGEST_CELL): _rows(rows, cleaning) for one, rows in item.items()}
        elif _is_refused(name.lower(), item):
            cleaning.left_out.add("what loads, links or computes")
        else:
            safe[name] = _clean(item, name, cleaning, depth=depth + 1)
    return safe


def _is_refused(name: str, item: Any) -> bool:
    """A filter may compare a field, and scales and the legend may be bound; anything else would be evaluated."""
    if name == "filter":
        return not isinstance(item, Mapping) or not {"field", "param"} & item.keys()
    if name == "bind":
        return item not in ("scales", "legend")
    return name in _REFUSED


def _clean_data(data: Any, cleaning: _Cleaning) -> dict[str, Any] | None:
    """Rows that are there, or the name of a data set that is."""
    if data is None:
        return None
    if isinstance(data, Mapping) and isinstance(data.get("values"), (list, tuple)):
        return {"values": _rows(data["values"], cleaning)}
    if isinstance(data, Mapping) and data.keys() == {"name"}:
        return {"name": readable(str(data["name"]), _LONGEST_CELL)}
    cleaning.left_out.add("data that is not inside it")
    return {"values": []}


def _rows(rows: Any, cleaning: _Cleaning) -> list[Any]:
    if not isinstance(rows, (list, tuple)):
        cleaning.left_out.add("data that is not inside it")
        return []
    kept = [_row(row) for row in rows[: cleaning.rows]]
    cleaning.rows -= len(kept)
    if len(kept) < len(rows):
        cleaning.left_out.add(f"rows beyond the first {MOST_CHART_ROWS:,}")
    return kept


def _row(row: Any) -> Any:
    if not isinstance(row, Mapping):
        return safe_cell(row, _LONGEST_CELL)
    cells = {
        readable(str(name), _LONGEST_CELL): safe_cell(cell, _LONGEST_CELL)
        for name, cell in islice(row.items(), _MOST_FIELDS)
    }
    # A tooltip takes a field of this name for the address of a picture.
    return {name: cell for name, cell in cells.items() if name != "image"}


def safe_cell(cell: Any, longest: int) -> str | int | float | bool | None:
    """A value as a scalar that JSON, a table and a browser can hold."""
    if cell is None or isinstance(cell, bool):
        return cell
    if isinstance(cell, (int, float)) and abs(cell) <= _LARGEST_NUMBER:
        return cell
    if isinstance(cell, float) and not math.isfinite(cell):
        return None  # in a column or an axis of numbers a word has no place
    if not isinstance(cell, str):
        cell = plain(cell)
        if isinstance(cell, (list, dict)):
            cell = to_json(cell).decode()
    return None if cell is None else readable(str(cell), longest)


def _clean_text(text: str, cleaning: _Cleaning) -> str:
    if _ADDRESS.search(text):
        cleaning.left_out.add("addresses")
        return ""
    return readable(text, _LONGEST_TEXT)


def _clean_number(value: Any, name: str) -> Any:
    value = None if isinstance(value, float) and not math.isfinite(value) else plain(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if name in _SIZES:
            return min(max(value, -_WIDEST), _WIDEST)
        if name in _COUNTS:
            return min(max(value, 0), _MOST_STEPS)
    return value


def _without_rows(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_rows(item) for name, item in value.items() if name not in {"values", "datasets"}}
    return [_without_rows(item) for item in value] if isinstance(value, list) else value
