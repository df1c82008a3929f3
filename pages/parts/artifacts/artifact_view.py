"""What a version of an artifact holds, drawn: Markdown, code, a table, a picture, a plan with its steps.

Invariant: what it holds is taken for text, figures or a picture, never for HTML; it is shown as far as a browser
bears it, and whatever cannot be shown can still be downloaded.
"""

import csv
import io
import json
import re
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

import pandas as pd
import streamlit as st
from pandas.api.types import is_numeric_dtype
from PIL import Image

from core.errors import BadInputError
from core.history.artifact_content import is_text
from core.history.artifacts import VersionRow
from core.history.differences import word_differences
from core.history.heads import free_name
from core.history.task_plan import TaskPlan, plan_to_text, read_plan
from pages.parts.ui.answer_text import as_markdown
from pages.parts.ui.diff_view import draw_words
from pages.parts.ui.text import plain

LONGEST_TEXT = 200_000
_MOST_ROWS, _MOST_COLUMNS, _LONGEST_CELL = 5_000, 100, 2_000
_MOST_PIXELS = 40_000_000
_LARGEST_TREE = 500_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_STEPS = {
    "open": (":material/radio_button_unchecked:", ""),
    "doing": (":orange[:material/pending:]", "in progress"),
    "done": (":green[:material/check_circle:]", "done"),
    "failed": (":red[:material/error:]", "failed"),
}
_LANGUAGES = {
    "py": "python",
    "js": "javascript",
    "ts": "typescript",
    "sql": "sql",
    "sh": "bash",
    "html": "html",
    "css": "css",
    "yaml": "yaml",
    "yml": "yaml",
    "toml": "toml",
    "xml": "xml",
    "json": "json",
}
ICONS = {"task_plan": ":material/checklist:", "result": ":material/article:", "file": ":material/attach_file:"}


def icon_of(row: VersionRow) -> str:
    return ":material/image:" if row.media_type.startswith("image/") else ICONS[row.kind]


def draw_content(row: VersionRow, content: bytes) -> None:
    """The whole of it, as its kind and type ask for."""
    if row.kind == "task_plan":
        _draw_plan(content)
    elif row.media_type.startswith("image/"):
        _draw_picture(content, row.name)
    elif not is_text(row.media_type):
        st.caption(f"{plain(row.media_type)}: download it to look at it.")
    elif not content:
        st.caption("It is empty.")
    elif row.media_type == "text/csv":
        _draw_csv(to_text(content))
    elif row.media_type == "application/json":
        _draw_json(to_text(content))
    else:
        _draw_text(row, to_text(content))


def draw_difference(before: VersionRow, old: bytes, after: VersionRow, new: bytes) -> None:
    """What differs between two versions, word by word; two pictures stand one above the other."""
    if old == new:
        st.caption("The two versions hold the same.")
    elif all(row.media_type.startswith("image/") for row in (before, after)):
        for row, content in ((before, old), (after, new)):
            _draw_picture(content, f"Version {row.version}")
    elif not all(is_text(row.media_type) for row in (before, after)):
        st.caption(
            f"{before.size:,} bytes before, {after.size:,} bytes after; these types cannot be compared here."
        )
    else:
        texts = [comparable(row, content) for row, content in ((before, old), (after, new))]
        if max(map(len, texts)) > LONGEST_TEXT:
            st.caption(f"Compared up to character {LONGEST_TEXT:,}.")
        draw_words(word_differences(*(text[:LONGEST_TEXT] for text in texts)))


def comparable(row: VersionRow, content: bytes) -> str:
    """A version as text to read and compare: a plan as people write one."""
    if row.kind == "task_plan":
        try:
            return plan_to_text(read_plan(content))
        except BadInputError:
            pass
    return to_text(content)


def to_text(content: bytes) -> str:
    """The content as text without characters that control a terminal."""
    text = content.decode("utf-8", "replace").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text)


def _draw_text(row: VersionRow, text: str) -> None:
    shown = _cut(text)
    ending = PurePosixPath(row.name.lower()).suffix.removeprefix(".")
    if ending in _LANGUAGES:
        st.code(shown, language=_LANGUAGES[ending], wrap_lines=True)
    elif row.media_type == "text/markdown":
        with st.container(key="chat_artifact_markdown"):
            st.markdown(as_markdown(shown))
    else:
        st.code(shown, language=None, wrap_lines=True)


def _cut(text: str) -> str:
    if len(text) > LONGEST_TEXT:
        st.caption(f"The first {LONGEST_TEXT:,} of {len(text):,} characters; download it to see the rest.")
    return text[:LONGEST_TEXT]


def _draw_plan(content: bytes) -> None:
    try:
        plan = read_plan(content)
    except BadInputError:
        st.code(_cut(to_text(content)), language="json", wrap_lines=True)
        return
    st.markdown(f"**{plain(plan.title)}**  \n{describe_progress(plan)}")
    for line in plan_lines(plan):
        st.markdown(line)


def describe_progress(plan: TaskPlan) -> str:
    done, failed = (sum(step.status == status for step in plan.steps) for status in ("done", "failed"))
    return f"{done} of {len(plan.steps)} done" + (f", {failed} failed" if failed else "")


def plan_lines(plan: TaskPlan) -> list[str]:
    """A line of Markdown for each step: an icon, its text, and its status in words where it is not open."""
    lines = []
    for step in plan.steps:
        icon, word = _STEPS[step.status]
        lines.append(f"{icon} {plain(step.text)}" + (f" :gray[· {word}]" if word else ""))
    return lines


def _draw_csv(text: str) -> None:
    table, is_whole = read_table(text)
    if table is None:
        st.code(_cut(text), language=None, wrap_lines=True)
        return
    st.dataframe(table, hide_index=True, width="stretch")
    if not is_whole:
        st.caption("A part of it; download it to see all.")


def read_table(text: str) -> tuple[pd.DataFrame | None, bool]:
    """The rows of a CSV text with its first line as header, as many as can be shown, and whether that is all."""
    try:
        rows = list(islice(csv.reader(io.StringIO(text), _dialect(text)), _MOST_ROWS + 2))
    except csv.Error:
        return None, False
    if not rows:
        return None, False
    widest = max(map(len, rows))
    width = min(widest, _MOST_COLUMNS)
    header, *body = ([cell[:_LONGEST_CELL] for cell in row[:width]] + [""] * (width - len(row)) for row in rows)
    table = pd.DataFrame(body[:_MOST_ROWS], columns=_distinct(header))
    return _with_numbers(table), len(body) <= _MOST_ROWS and widest == width


def _dialect(text: str) -> Any:
    try:
        return csv.Sniffer().sniff(text[:4_096], delimiters=",;\t|")
    except csv.Error:
        return csv.excel


def _distinct(names: list[str]) -> list[str]:
    """Names for columns, each one of its own."""
    found: list[str] = []
    for place, name in enumerate(names, start=1):
        found.append(free_name(name.strip()[:100] or f"column {place}", set(found)))
    return found


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Columns of numbers as numbers, so that they sort as such; what begins with a 0 is a name, not a number."""
    for name in table.columns:
        if not table[name].str.match(r"0\d").any():
            numbers = pd.to_numeric(table[name].replace("", None), errors="coerce")
            if numbers.notna().sum() == (table[name] != "").sum() and numbers.notna().any():
                table[name] = numbers
    return table


def _draw_json(text: str) -> None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        st.code(_cut(text), language="json", wrap_lines=True)
        return
    if is_table(value):
        st.dataframe(records_table(value[:_MOST_ROWS]), hide_index=True, width="stretch")
        if len(value) > _MOST_ROWS:
            st.caption(f"The first {_MOST_ROWS:,} of {len(value):,} rows; download it to see all.")
    elif len(text) > _LARGEST_TREE:
        st.code(_cut(text), language="json", wrap_lines=True)
    else:
        st.json(value, expanded=2)


def is_table(value: Any) -> bool:
    """Whether a value is a list of records that a table can show."""
    if not isinstance(value, list) or not value or not all(isinstance(item, dict) and item for item in value):
        return False
    return len({name for item in value[:_MOST_ROWS] for name in item}) <= _MOST_COLUMNS


def records_table(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Records as a table; what is neither a number nor text stands there as JSON."""
    table = pd.DataFrame(records)
    for name in table.columns:
        if not is_numeric_dtype(table[name]):
            table[name] = table[name].map(_cell)
    return table


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - not a number
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text[:_LONGEST_CELL]


def _draw_picture(content: bytes, caption: str) -> None:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                st.caption(f"{picture.width:,} × {picture.height:,} pixels are too many to show; download it.")
                return
            picture.verify()
        st.image(content, caption=plain(caption))
    except Exception:  # noqa: BLE001 - a library for pictures fails in many ways on a broken one
        st.warning("This picture is broken and cannot be shown; you can still download it.", icon=":material/info:")
