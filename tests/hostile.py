"""Texts that make a regular expression slow, made from the expression itself."""

import importlib
import pkgutil
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any

_METHODS = {"search", "match", "fullmatch", "finditer", "findall", "sub", "split"}
_USUAL = ("a", "1", " ", "\n", "\\", '"', "`", "a-", "a b", "<a ", "é", "词", "=", "((", "\r", "-")
_MOST = 24


@dataclass(frozen=True)
class Found:
    """A compiled expression, where it stands, and how it is asked there."""

    place: str
    pattern: "re.Pattern[Any]"
    methods: tuple[str, ...]


def find_patterns(package: ModuleType) -> Iterator[Found]:
    """Each compiled expression that stands in a module of the package."""
    for module in _modules_of(package):
        source = Path(str(module.__file__)).read_text()
        for name, value in vars(module).items():
            if not re.search(rf"^ *{name}\b[^=\n]*=[^=]", source, re.MULTILINE):
                continue  # another module's
            for place, pattern in _patterns_in(value):
                yield Found(f"{module.__name__}.{name}{place}", pattern, _methods_in(name, source))


def _modules_of(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if ".migrations." not in found.name:
            yield importlib.import_module(found.name)


def _methods_in(name: str, source: str) -> tuple[str, ...]:
    """Those that a module calls on an expression; all where that cannot be read from it."""
    called = {found for found in re.findall(rf"\b{name}\.(\w+)\(", source) if found in _METHODS}
    is_passed_on = len(re.findall(rf"\b{name}\b", source)) > 1 + len(re.findall(rf"\b{name}\.\w+\(", source))
    return tuple(sorted(_METHODS)) if is_passed_on or not called else tuple(sorted(called))


def _patterns_in(value: Any) -> Iterator[tuple[str, "re.Pattern[Any]"]]:
    if isinstance(value, re.Pattern):
        yield "", value
    elif isinstance(value, (tuple, list)):
        for number, one in enumerate(value):
            yield from ((f"[{number}]{place}", found) for place, found in _patterns_in(one))
    elif isinstance(value, dict):
        for key, one in value.items():
            yield from ((f"[{key!r}]{place}", found) for place, found in _patterns_in(one))


def fragments(pattern: "re.Pattern[Any]") -> list[str]:
    """What to repeat: beginnings of what the expression matches, and what is usual."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(text, pattern.flags & ~re.UNICODE)
    own = dict.fromkeys(filter(None, islice(_beginnings(tree), 400)))
    return [*list(own)[:_MOST], *_USUAL]


def _beginnings(tree: Any) -> Iterator[str]:
    """For each place in the expression, a text that leads to it."""
    before = [""]
    for node in tree:
        more: list[str] = []
        for text in before[:6]:
            for piece in islice(_pieces(node), 12):
                yield text + piece
                more.append(text + piece)
        before = more or before


def _pieces(node: Any) -> Iterator[str]:
    kind, given = node
    if kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
        yield from _characters(kind, given)
    elif kind in (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT):
        yield from _repeats(*given)
    elif kind is op.SUBPATTERN:
        yield from _beginnings(given[3])
    elif kind is op.BRANCH:
        for branch in given[1]:
            yield from islice(_beginnings(branch), 6)
    elif kind is op.ATOMIC_GROUP:
        yield from _beginnings(given)
    else:
        yield ""


def _repeats(least: int, most: int, inner: Any) -> Iterator[str]:
    for text in islice(_beginnings(inner), 6):
        yield text * max(least, 1)
        if most > 1:
            yield text * min(max(least, 1) + 3, most)
    if least == 0:
        yield ""


def _characters(kind: Any, given: Any) -> Iterator[str]:
    if kind is op.LITERAL:
        yield chr(given)
    elif kind is op.NOT_LITERAL:
        yield "a" if given != ord("a") else "b"
    elif kind is op.ANY:
        yield "a"
    else:
        yield from _of_class(given)


def _of_class(members: Any) -> Iterator[str]:
    if members[0][0] is op.NEGATE:
        yield from (one for one in "a1 ." if not any(_is_in(one, member) for member in members[1:]))
        return
    for kind, given in members[:4]:
        if kind is op.LITERAL:
            yield chr(given)
        elif kind is op.RANGE:
            yield chr(given[0])
        elif kind is op.CATEGORY:
            yield {op.CATEGORY_DIGIT: "1", op.CATEGORY_SPACE: " ", op.CATEGORY_WORD: "a"}.get(given, "-")


def _is_in(char: str, member: Any) -> bool:
    kind, given = member
    if kind is op.LITERAL:
        return ord(char) == given
    if kind is op.RANGE:
        return given[0] <= ord(char) <= given[1]
    if kind is op.CATEGORY:
        known = {op.CATEGORY_DIGIT: str.isdigit, op.CATEGORY_SPACE: str.isspace, op.CATEGORY_WORD: str.isalnum}
        return known[given](char) if given in known else False
    return False


def try_out(found: Found, text: Any) -> None:
    """Ask the expression as its module does, of the whole of the text."""
    for method in found.methods:
        if method == "sub":
            found.pattern.sub(lambda match: match[0], text)
        elif method == "finditer":
            deque(found.pattern.finditer(text), maxlen=0)
        else:
            getattr(found.pattern, method)(text)


def repeated(fragment: str, size: int, pattern: "re.Pattern[Any]") -> Any:
    text = (fragment * (size // len(fragment) + 1))[:size]
    return text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")
