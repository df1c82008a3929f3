"""What differs between two texts, word by word, and between two states, key by key.

A text is read as units: a word, one character of a script that is written without spaces, a punctuation mark, a
line break; spaces belong to the unit before them and are compared apart.

Invariant: what is the same and what is gone make up the text before, what is the same and what is new the text
after, character by character; the work grows with the length of the two, whatever they hold.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import add
from typing import Any, Literal, NamedTuple

from core.history.alignment import align, common_start
from core.history.words import _MARKS, _PAIRED

MOST_CHANGES = 200
_DEEPEST = 20
_ISLAND = 3

_MELTING = f"{_MARKS}\u1160-\u11ff"
_LETTER = f"[^\\W_{_PAIRED}]"
_JOINT = f"['’](?={_LETTER})|(?<=\\d)[.,](?=\\d)"
# A row of characters that are a unit each; or a line break, a word, any other character; and the spaces behind.
_UNIT = re.compile(
    f"(?:([{_PAIRED}][{_PAIRED}{_MELTING}]*)"
    f"|(\\n+|{_LETTER}(?:{_LETTER}+|[{_MARKS}]+|{_JOINT})*|\\S(?:[{_MARKS}\U0001f3fb-\U0001f3ff]|\u200d\\S)*|))"
    "([^\\S\\n]*)"
)
_MELTED = re.compile(f"[{_MELTING}]")
_CHARACTER = re.compile(f".[{_MELTING}]*", re.DOTALL)


class Piece(NamedTuple):
    """A stretch of text that stands in both texts, only in the one before, or only in the one after."""

    kind: Literal["same", "gone", "new"]
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """What differs at one place of a state, like ``messages[2].content``; None stands for what is not there."""

    path: str
    kind: Literal["new", "gone", "changed"]
    before: Any = None
    after: Any = None


def word_differences(before: str, after: str) -> list[Piece]:
    """The two texts as one row of pieces; what was replaced comes as gone, then new."""
    one, other = _Text(before), _Text(after)
    pieces: list[Piece] = []
    done = 0
    for edit in _without_islands(one, _edits(one, other)):
        gone, new, spaces = _apart(before[edit.start : edit.end], after[edit.new_start : edit.new_end])
        pieces += _told(before[done : edit.start], gone, new)
        done = edit.end - spaces
    return [*pieces, *_told(before[done:], "", "")]


def state_differences(before: Any, after: Any) -> list[Change]:
    """What differs between two states of plain data; items of lists are known by their ``id``, or by what they are.

    At most 200 changes: where there would be more, less deep ones, down to the state as one.
    """
    told = (_differences("", before, after, depth) for depth in (_DEEPEST, 2, 1, 0))
    return next(changes for changes in told if len(changes) <= MOST_CHANGES)


# -- texts ----------------------------------------------------------------------------------------------


class _Text:
    """A text in units: what each is, the spaces behind it, where it begins, and how many words come before it."""

    def __init__(self, text: str) -> None:
        self.cores: list[str] = []
        self.spaces: list[str] = []
        for row, core, spaces in _UNIT.findall(text)[:-1]:  # the last match is the empty one at the end
            units = (_CHARACTER.findall(row) if _MELTED.search(row) else row) or (core,)
            self.cores.extend(units)
            self.spaces.extend([""] * (len(units) - 1) + [spaces])
        self.starts = [0, *accumulate(map(len, map(add, self.cores, self.spaces)))]
        self._words = [0, *accumulate(core[:1].isalnum() for core in self.cores)]

    def words(self, start: int, end: int) -> int:
        return self._words[end] - self._words[start]


@dataclass(slots=True)
class _Edit:
    """A stretch of the text before that gives way to one of the text after, by characters.

    ``unit`` and ``last_unit`` say the same in units of the text before; ``words`` is how many the larger one has.
    """

    start: int
    end: int
    new_start: int
    new_end: int
    unit: int
    last_unit: int
    words: int


def _edits(one: _Text, other: _Text) -> Iterator[_Edit]:
    i = j = 0
    for at, new_at, size in [*align(one.cores, other.cores), (len(one.cores), len(other.cores), 0)]:
        if at > i or new_at > j:
            words = max(one.words(i, at), other.words(j, new_at))
            yield _Edit(one.starts[i], one.starts[at], other.starts[j], other.starts[new_at], i, at, words)
        i, j = at + size, new_at + size
        if one.spaces[at:i] != other.spaces[new_at:j]:
            yield from _respaced(one, other, at, new_at, size)


def _respaced(one: _Text, other: _Text, at: int, new_at: int, size: int) -> Iterator[_Edit]:
    """Where the same units stand, but not the same spaces behind them."""
    for i, j in zip(range(at, at + size), range(new_at, new_at + size), strict=True):
        if one.spaces[i] != other.spaces[j]:
            end, new_end = one.starts[i + 1], other.starts[j + 1]
            start, new_start = end - len(one.spaces[i]), new_end - len(other.spaces[j])
            yield _Edit(start, end, new_start, new_end, i + 1, i + 1, 0)


def _without_islands(text: _Text, edits: Iterable[_Edit]) -> list[_Edit]:
    """The same with little that is the same between much that is not counted as replaced too."""
    joined: list[_Edit] = []
    for edit in edits:
        joined.append(edit)
        while len(joined) > 1 and _is_island(text, *joined[-2:]):
            right, left = joined.pop(), joined.pop()
            words = left.words + text.words(left.last_unit, right.unit) + right.words
            joined.append(replace(right, start=left.start, new_start=left.new_start, unit=left.unit, words=words))
    return joined


def _is_island(text: _Text, left: _Edit, right: _Edit) -> bool:
    """Whether a few units without a line break stand between two edits that are each twice as large in words."""
    start, end = left.last_unit, right.unit
    if end - start > _ISLAND or any(core[:1] == "\n" for core in text.cores[start:end]):
        return False
    return text.words(start, end) * 2 <= min(left.words, right.words)


def _told(same: str, gone: str, new: str) -> Iterator[Piece]:
    if same:
        yield Piece("same", same)
    if gone:
        yield Piece("gone", gone)
    if new:
        yield Piece("new", new)


def _apart(gone: str, new: str) -> tuple[str, str, int]:
    """The two without the spaces that both end with, and how many those are."""
    if not (gone[-1:].isspace() and new[-1:].isspace()):
        return gone, new, 0
    spaces = common_start(*[text[len(text.rstrip()) :][::-1] for text in (gone, new)])
    return gone[: len(gone) - spaces], new[: len(new) - spaces], spaces


# -- states ---------------------------------------------------------------------------------------------


def _differences(path: str, before: Any, after: Any, depth: int) -> list[Change]:
    if _key(before) == _key(after):
        return []
    if depth and isinstance(before, dict) and isinstance(after, dict):
        return _in_dict(path, before, after, depth - 1)
    if depth and isinstance(before, list) and isinstance(after, list):
        return _in_list(path, before, after, depth - 1)
    return [Change(path, "changed", before, after)]


def _in_dict(path: str, before: dict[str, Any], after: dict[str, Any], depth: int) -> list[Change]:
    changes: list[Change] = []
    for name in dict.fromkeys([*before, *after]):
        inner = f"{path}.{name}" if path else str(name)
        if name not in after:
            changes.append(Change(inner, "gone", before=before[name]))
        elif name not in before:
            changes.append(Change(inner, "new", after=after[name]))
        else:
            changes += _differences(inner, before[name], after[name], depth)
    return changes


def _in_list(path: str, before: list[Any], after: list[Any], depth: int) -> list[Change]:
    changes: list[Change] = []
    i = j = 0
    matched = align([_identity(item) for item in before], [_identity(item) for item in after])
    for at, new_at, size in [*matched, (len(before), len(after), 0)]:
        while i < at and j < new_at and not (_id_of(before[i]) or _id_of(after[j])):
            # Neither has a name: what stands at the same place is taken for the same thing, changed.
            changes += _differences(f"{path}[{j}]", before[i], after[j], depth)
            i, j = i + 1, j + 1
        changes += [Change(f"{path}[{place}]", "gone", before=before[place]) for place in range(i, at)]
        changes += [Change(f"{path}[{place}]", "new", after=after[place]) for place in range(j, new_at)]
        i, j = at + size, new_at + size
        for place, was, now in zip(range(new_at, j), before[at:i], after[new_at:j], strict=True):
            changes += _differences(f"{path}[{place}]", was, now, depth)
    return changes


def _identity(item: Any) -> str:
    return _id_of(item) or _key(item)


def _id_of(item: Any) -> str:
    return f"id {item['id']}" if isinstance(item, dict) and item.get("id") else ""


def _key(value: Any) -> str:
    """The value as one text, equal for equal values: True is not 1."""
    return json.dumps(value, sort_keys=True, default=repr)
