"""What of stored values is fit to be drawn: large ones cut, with a mark where and how much.

Pure functions. Invariant: what is cut says how much there was, so that nobody takes a part for the whole.
"""

from dataclasses import replace
from typing import Any

from pydantic_core import to_json

from core.checkpoints.inspect import Write
from core.history.differences import Change
from pages.parts.ui.format import counted

MOST = 30_000
_LONGEST, _ITEMS, _DEEPEST, _AROUND = 4_000, 99, 12, 400


def size(number: int) -> str:
    """A number of bytes as people read it: 840 B, 4.1 KB, 12.3 MB."""
    if number < 1_000:
        return f"{number} B"
    return f"{number / 1_000:,.1f} KB" if number < 1_000_000 else f"{number / 1_000_000:,.1f} MB"


def cut(value: Any, most: int = MOST) -> tuple[Any, bool]:
    """Plain data with at most about so many characters, and whether that is less than all of it."""
    cutter = _Cutter(most)
    return cutter.cut(value, 0), cutter.is_cut


class _Cutter:
    def __init__(self, left: int) -> None:
        self._left = left
        self.is_cut = False

    def cut(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, dict | list) and value and depth >= _DEEPEST:
            self.is_cut = True
            return f"… ({counted(len(value), 'item')} deeper)"
        if isinstance(value, dict):
            return self._dict(value, depth)
        if isinstance(value, list):
            return self._list(value, depth)
        self._left -= 8
        return value

    def _text(self, text: str) -> str:
        longest = min(_LONGEST, max(self._left, 40))
        self._left -= min(len(text), longest)
        if len(text) <= longest:
            return text
        self.is_cut = True
        return f"{text[:longest]}… ({len(text):,} characters in all)"

    def _dict(self, value: dict[str, Any], depth: int) -> dict[str, Any]:
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            if self._is_full(len(kept)):
                kept["…"] = counted(len(value) - len(kept), "more key")
                break
            self._left -= len(name)
            kept[name] = self.cut(inner, depth + 1)
        return kept

    def _list(self, value: list[Any], depth: int) -> list[Any]:
        kept: list[Any] = []
        for inner in value:
            if self._is_full(len(kept)):
                kept.append(f"… {counted(len(value) - len(kept), 'more item')}")
                break
            kept.append(self.cut(inner, depth + 1))
        return kept

    def _is_full(self, items: int) -> bool:
        full = self._left <= 0 or items >= _ITEMS
        self.is_cut |= full
        return full


def as_text(value: Any) -> str:
    """A value as one text: text as it is, all else as JSON."""
    return value if isinstance(value, str) else to_json(value).decode()


def is_messages(value: Any) -> bool:
    """Whether this is a list of messages."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, dict) and "content" in one and ("type" in one or "role" in one) for one in value)
    )


def message_text(message: dict[str, Any]) -> str:
    """What a message says, as one text; of its parts those that are text."""
    content = message.get("content")
    if isinstance(content, list):
        parts = (part if isinstance(part, str) else part.get("text") for part in content if part)
        return "\n".join(str(part) for part in parts if part)
    return "" if content is None else str(content)


def call_text(call: Any) -> str:
    """A tool call of a message as a line: its name and what it was given."""
    if not isinstance(call, dict):
        return as_text(call)
    given = call.get("args", call.get("function", {}))
    return f"{call.get('name') or 'call'}({as_text(given) if given else ''})"


def narrowed(change: Change) -> Change:
    """A change fit to be drawn: of long texts what is around their first difference, of large values a part."""
    before, after = change.before, change.after
    if isinstance(before, str) and isinstance(after, str):
        before, after = _around(before, after)
    return replace(change, before=cut(before)[0], after=cut(after)[0])


def _around(before: str, after: str) -> tuple[str, str]:
    if max(len(before), len(after)) <= _LONGEST:
        return before, after
    start = max(_common(before, after) - _AROUND, 0)
    return _window(before, start), _window(after, start)


def _window(text: str, start: int) -> str:
    part = text[start : start + 2 * _AROUND]
    rest = len(text) - start - len(part)
    return ("… " if start else "") + part + (f" … ({rest:,} more characters)" if rest > 0 else "")


def _common(one: str, other: str) -> int:
    """How many characters both begin with; halving, for comparing stretches is quicker than characters."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def by_task(writes: tuple[Write, ...]) -> dict[str, list[Write]]:
    """Writes by the task that wrote them, in the order of the tasks."""
    tasks: dict[str, list[Write]] = {}
    for write in writes:
        tasks.setdefault(write.task_id, []).append(write)
    return tasks
