"""A stored value by the kind that stands beside it, as plain data: never built, never run, within bounds.

Invariant: whatever the kind and the bytes are, what comes back is plain data; a value that cannot be told is a
marked place that says why.
"""

import json
import math
from typing import Any

from core.checkpoints.foreign.objects import CLASS, make_plain
from core.checkpoints.foreign.unpacking import CUT, Bounds, DamagedError, to_bytes, unpack
from core.checkpoints.values import UNREADABLE
from core.outside import read_failure

# JSON is read whole before it can be bounded, and takes up to some 25 times its size meanwhile.
_LONGEST_JSON = 4_000_000


def load(kind: Any, stored: Any, bounds: Bounds) -> Any:
    """The value; ``kind`` is None in files from before it was stored."""
    if isinstance(stored, str):
        stored = stored.encode("utf-8", "replace")
    if kind == "null" or (stored is None and kind is None):
        return None
    if not isinstance(stored, bytes) or not isinstance(kind, str | None):
        return _unreadable(f"there are no bytes here, but {type(stored).__name__}")
    return _load(kind or _guess(stored), stored, bounds)


def _load(kind: str, stored: bytes, bounds: Bounds) -> Any:
    try:
        if kind == "msgpack":
            return unpack(stored, bounds)
        if kind == "json":
            return load_json(stored, bounds)
    except DamagedError as error:
        return _unreadable(f"its bytes are damaged, {read_failure(error, 300)}")
    return to_bytes(len(stored), stored) if kind in {"bytes", "bytearray"} else _unreadable(_why_not(kind, stored))


def _why_not(kind: str, stored: bytes) -> str:
    size = f"{len(stored):,} bytes"
    if kind == "pickle":
        return f"it is pickled ({size}), and to open that could run code"
    if "+" in kind:
        return f"it is encrypted ({_short(kind)}, {size})"
    return f"it was stored in a way that Skein does not know ({_short(kind)}, {size})"


def load_json(stored: bytes | str, bounds: Bounds) -> Any:
    """JSON as plain data, with the objects that LangChain's form of it names as their fields."""
    if len(stored) > _LONGEST_JSON:
        return _unreadable(f"it is too large to be shown ({len(stored):,} bytes)")
    try:
        return _bounded(json.loads(stored), bounds, 0)
    except RecursionError:
        return _unreadable("it is nested too deeply")
    except ValueError as error:
        raise DamagedError("it is no JSON") from error


def _bounded(value: Any, bounds: Bounds, depth: int) -> Any:
    bounds.values -= 1
    if bounds.spent:
        return {CUT: "there is more here than is read at once"}
    if isinstance(value, str):
        return value if len(value) <= bounds.text else f"{value[: bounds.text]}… ({len(value):,} characters in all)"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict | list) and depth >= bounds.depth:
        return {CUT: "nested too deeply to be shown"}
    if isinstance(value, list):
        return _row(value, bounds, depth)
    return _mapping(value, bounds, depth) if isinstance(value, dict) else value


def _row(value: list[Any], bounds: Bounds, depth: int) -> list[Any]:
    items: list[Any] = []
    for item in value:
        items.append(_bounded(item, bounds, depth + 1))
        if bounds.spent:
            break
    return items


def _mapping(value: dict[str, Any], bounds: Bounds, depth: int) -> Any:
    items: dict[str, Any] = {}
    for name, item in value.items():
        items[name[:200]] = _bounded(item, bounds, depth + 1)
        if bounds.spent:
            break
    return _constructed(items) if "lc" in items and items.get("type") == "constructor" else items


def _constructed(items: dict[str, Any]) -> Any:
    """An object in LangChain's JSON: ``{"lc": ..., "type": "constructor", "id": [...], "kwargs": {...}}``."""
    path = items.get("id")
    if not (isinstance(path, list) and path and all(isinstance(part, str) for part in path)):
        return {CLASS: "?", **items}
    made_of = items.get("kwargs") or items.get("args")
    if isinstance(made_of, list) and len(made_of) == 1:
        made_of = made_of[0]
    return make_plain(".".join(path[:-1]), path[-1], made_of)


def _guess(stored: bytes) -> str:
    """The kind of bytes without one, by the first: a pickle's version, or MessagePack's size of a mapping."""
    first = stored[:1]
    if first == b"\x80":
        return "pickle"
    return "msgpack" if b"\x80" < first < b"\x90" or first in {b"\xde", b"\xdf"} else "json"


def _short(kind: str) -> str:
    return repr(kind[:40])


def _unreadable(why: str) -> dict[str, str]:
    return {UNREADABLE: f"This value is not shown: {why}."}
