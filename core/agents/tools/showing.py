"""What a tool shows to a person, beside the text that it gives to the model: tables and charts of plain data.

Invariant: what is shown has at most ``MOST_ROWS`` rows of short cells, and fetches nothing from anywhere.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

MOST_ROWS = 200
_TOLD_ROWS = 50
_LONGEST_CELL = 200

Cell = str | int | float | bool | None
Shown = tuple[str, dict[str, Any]]


def show_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Shown:
    """A table for people, and the same as Markdown for the model."""
    cells = [[_cell(value) for value in row] for row in rows[:MOST_ROWS]]
    table = {"type": "table", "title": title, "columns": list(columns), "rows": cells}
    return _told(title, columns, cells, more=len(rows) - _TOLD_ROWS), {"shows": [table]}


def show_chart(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Shown:
    """Bars of the last column over the first, as a Vega-Lite chart that holds its values; told as a table."""
    cells = [[_cell(value) for value in row] for row in rows[:MOST_ROWS]]
    over, measure = columns[0], columns[-1]
    spec = {
        "title": title,
        "mark": {"type": "bar", "tooltip": True},
        "encoding": {
            "x": {"field": over, "type": "ordinal", "sort": None, "title": over},
            "y": {"field": measure, "type": "quantitative", "title": measure},
        },
        "data": {"values": [dict(zip(columns, row, strict=True)) for row in cells]},
    }
    return _told(title, columns, cells, more=len(rows) - _TOLD_ROWS), {"shows": [{"type": "chart", "spec": spec}]}


def _told(title: str, columns: Sequence[str], cells: Sequence[Sequence[Cell]], *, more: int) -> str:
    if not cells:
        return f"{title}: there is nothing to show."
    lines = [columns, ["---"] * len(columns), *cells[:_TOLD_ROWS]]
    table = "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)
    return f"{title}\n\n{table}" + (f"\n\n[{more:,} more rows]" if more > 0 else "")


def _escaped(cell: Cell) -> str:
    if cell is None:
        return ""
    text = f"{cell:.6g}" if isinstance(cell, float) else str(cell)
    return " ".join(text.split()).replace("|", "\\|")


def _cell(value: Any) -> Cell:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    if isinstance(value, date):
        return value.isoformat()
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    return text if len(text) <= _LONGEST_CELL else text[: _LONGEST_CELL - 1] + "…"
