"""MessagePack as LangGraph stores it, read as plain data within bounds: so many values, so deep, texts so long.

LangGraph's own reader builds the objects that a checkpoint names and allots what a header claims. This one builds
nothing: an object becomes its fields with the name of its class. Invariant: time and memory are bounded by
`Bounds`, whatever the bytes are; where a bound is met, a marked place says so.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any

from core.checkpoints.foreign.objects import to_object

CUT = "(cut)"
_ENOUGH = {CUT: "there is more here than is read at once"}
_TOO_DEEP = {CUT: "nested too deeply to be shown"}
_OBJECTS, _ARRAY, _SNAPSHOT = range(6), 6, 7
_CONSTANTS = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = dict(enumerate((">f", ">d", ">B", ">H", ">I", ">Q", ">b", ">h", ">i", ">q"), 0xCA))
_SIZED = {
    **{0xC4 + place: ("bytes", size) for place, size in enumerate((">B", ">H", ">I"))},
    **{0xC7 + place: ("extension", size) for place, size in enumerate((">B", ">H", ">I"))},
    **{0xD9 + place: ("text", size) for place, size in enumerate((">B", ">H", ">I"))},
    **{0xDC + place: ("row", size) for place, size in enumerate((">H", ">I"))},
    **{0xDE + place: ("mapping", size) for place, size in enumerate((">H", ">I"))},
}


class DamagedError(ValueError):
    """The bytes are no MessagePack, or not all of it."""


@dataclass(slots=True)
class Bounds:
    """What may still be read: ``values`` goes down with each; several readings can share one."""

    values: int = 100_000
    depth: int = 40
    text: int = 20_000

    @property
    def spent(self) -> bool:
        return self.values <= 0


def unpack(data: bytes, bounds: Bounds) -> Any:
    """The value as plain data; DamagedError when the bytes are not one whole value."""
    reader = _Reader(memoryview(data), bounds)
    try:
        value = reader.read(0)
    except (IndexError, struct.error) as error:
        raise DamagedError("it ends too early") from error
    if not bounds.spent and not reader.is_at_end:
        raise DamagedError("there is more behind its end")
    return value


class _Reader:
    """A place in the bytes; a nested object is read by a reader of its own, within the same bounds."""

    def __init__(self, data: memoryview, bounds: Bounds) -> None:
        self._data, self._bounds, self._at = data, bounds, 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def read(self, depth: int) -> Any:
        self._bounds.values -= 1
        if self._bounds.spent:
            return _ENOUGH
        first = self._data[self._at]
        self._at += 1
        shape, size = self._header(first)
        if shape == "one":
            return self._one(first)
        if shape == "text":
            return self._text(size)
        if shape == "bytes":
            return to_bytes(size, self._take(size))
        if depth >= self._bounds.depth:
            return self._skip(shape, size)
        return _NESTED[shape](self, size, depth + 1)

    def _header(self, first: int) -> tuple[str, int]:
        """What begins with this byte, and its size: in bytes, or for a row or a mapping in items."""
        if first < 0x80 or first >= 0xE0:
            return "one", 0
        if first < 0x90:
            return "mapping", first & 15
        if first < 0xA0:
            return "row", first & 15
        if first < 0xC0:
            return "text", first & 31
        if first in _SIZED:
            shape, layout = _SIZED[first]
            return shape, int(self._number(layout))
        return ("extension", 1 << first - 0xD4) if 0xD4 <= first <= 0xD8 else ("one", 0)

    def _one(self, first: int) -> Any:
        if first in _NUMBERS:
            value = self._number(_NUMBERS[first])
            # JSON knows no NaN and no infinity.
            return value if math.isfinite(value) else str(value)
        if first == 0xC1:
            raise DamagedError("it holds a byte that is never used")
        if first in _CONSTANTS:
            return _CONSTANTS[first]
        return first if first < 0x80 else first - 0x100

    def _number(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return value

    def _take(self, size: int) -> memoryview:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise DamagedError("it ends too early")
        self._at += size
        return part

    def _text(self, size: int) -> str:
        part, longest = self._take(size), self._bounds.text
        text = bytes(part[: 4 * longest]).decode("utf-8", "replace")
        if len(text) <= longest and size <= 4 * longest:
            return text
        return f"{text[:longest]}… ({size:,} bytes in all)"

    def row(self, size: int, depth: int) -> Any:
        items: list[Any] = []
        for _ in range(size):
            items.append(self.read(depth))
            if self._bounds.spent:
                break
        return items

    def mapping(self, size: int, depth: int) -> Any:
        items: dict[str, Any] = {}
        for _ in range(size):
            name = to_name(self.read(depth))
            name = name if name not in items else f"{name} (again, {len(items)})"
            items[name] = self.read(depth)
            if self._bounds.spent:
                break
        return items

    def extension(self, size: int, depth: int) -> Any:
        code = self._number(">b")
        part = self._take(size)
        if code not in _OBJECTS and code not in (_SNAPSHOT, _ARRAY):
            return {f"(extension {code})": f"{size:,} bytes"}
        inner = _Reader(part, self._bounds).read(depth)
        if code == _SNAPSHOT:
            return inner
        return to_array(inner) if code == _ARRAY else to_object(inner)

    def _skip(self, shape: str, size: int) -> Any:
        """Pass over what is nested too deeply, without recursion and without keeping it."""
        waiting = self._inside(shape, size)
        while waiting > 0 and not self._bounds.spent:
            self._bounds.values -= 1
            first = self._data[self._at]
            self._at += 1
            waiting += self._inside(*self._header(first), first) - 1
        return _TOO_DEEP

    def _inside(self, shape: str, size: int, first: int = 0) -> int:
        """How many values are inside of what has just begun; what has none is passed over."""
        if shape == "one":
            self._one(first)
        elif shape in {"text", "bytes"}:
            self._take(size)
        elif shape == "extension":
            self._take(size + 1)
        if shape == "mapping":
            return 2 * size
        return size if shape == "row" else 0


_NESTED = {"row": _Reader.row, "mapping": _Reader.mapping, "extension": _Reader.extension}


def to_name(key: Any) -> str:
    """A key of a mapping as text."""
    return key if isinstance(key, str) else str(key)[:200]


def to_bytes(size: int, part: bytes | memoryview) -> dict[str, str]:
    """Bytes by their number and how they begin."""
    return {"(bytes)": f"{size:,}", "begins": bytes(part[:24]).hex(" ")}


def to_array(inner: Any) -> Any:
    """A numpy array by its type and shape."""
    if isinstance(inner, list) and len(inner) >= 2:
        return {"(array)": inner[0], "shape": inner[1]}
    return {"(array)": inner}
