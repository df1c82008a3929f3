"""What stands in a cell of a stranger's table, as what it should be; any type can stand anywhere.

Invariant: nothing here raises, whatever the cell holds.
"""

from typing import Any

from core.checkpoints.foreign.unpacking import Bounds
from core.checkpoints.foreign.values import load
from core.checkpoints.values import UNREADABLE


def kind_of(kind: Any, blob: Any) -> str:
    """The kind of a value as text; what is no value at all is nothing."""
    if blob is None:
        return "null"
    return word(kind) if isinstance(blob, bytes | str) else type(blob).__name__


def bytes_of(blob: Any) -> bytes:
    """A value as bytes, whatever stands in its place."""
    if isinstance(blob, bytes):
        return blob
    return b"" if blob is None else str(blob).encode("utf-8", "replace")


def metadata_of(stored: Any) -> dict[str, Any]:
    """A checkpoint's metadata as an object; empty for what is none."""
    if not isinstance(stored, bytes | str):
        return {}
    found = load(None, stored, Bounds(values=2_000))
    if isinstance(found, dict) and UNREADABLE in found:
        return {}
    return found if isinstance(found, dict) else {}


def cut(column: str) -> str:
    """A column of names, in SQL: one that is longer than any name is cut, so that a page of them stays small."""
    return f"substr({column}, 1, 1000)"


def word(value: Any) -> str:
    """An id, a namespace, a channel as text, whatever stands in its place."""
    if isinstance(value, bytes):
        return value[:200].hex()
    return "" if value is None else str(value)
