"""What the updates of a channel come to where its own rule is not known: the program's code, which a file lacks.

Messages are put together by their ids, lists joined, mappings merged. Invariant: an update is either in the value
or replaced by a later one, as LangGraph's own channels would do it; the work grows with what the updates hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Any

from langchain_core.messages import BaseMessage, RemoveMessage
from langgraph.checkpoint.serde.types import _DeltaSnapshot
from langgraph.types import Overwrite

# Who speaks, by the names that messages' types and roles have.
ROLES = {role: role for role in ("user", "assistant", "system", "tool", "function", "developer")}
ROLES |= {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_OVERWRITE, _PLAIN_OVERWRITE = "__overwrite__", "langgraph.types.Overwrite"


def replay(seed: Any, updates: Iterable[Any]) -> Any:
    """The value that these updates, oldest first, make of another; ``seed`` is None where nothing was stored."""
    updates = list(updates)
    value = seed.value if isinstance(seed, _DeltaSnapshot) else seed
    if value is None:
        value = empty_for(updates)
    rows = _Rows(value) if isinstance(value, list) else None
    mapping = dict(value) if isinstance(value, dict) else None
    for update in updates:
        is_new, new = _overwritten(update)
        if is_new or (rows is None and not (mapping is not None and isinstance(update, dict))):
            value = new
            rows = _Rows(value) if isinstance(value, list) else None
            mapping = dict(value) if isinstance(value, dict) else None
        elif rows is not None:
            rows.add(update)
        elif mapping is not None:
            mapping.update(update)
    if rows is not None:
        return rows.to_list()
    return mapping if mapping is not None else value


def empty_for(updates: Sequence[Any]) -> Any:
    """What a channel of such updates begins with: None, a mapping, or a list.

    Mappings are merged, unless each has the same fields as every other: those are records, in a list.
    """
    if not updates:
        return None
    if not all(isinstance(update, dict) and not is_message(update) for update in updates):
        return []
    fields = {tuple(update) for update in updates}
    are_records = len(updates) > 1 and len(fields) == 1 and all(str(name).isidentifier() for name in fields.pop())
    return [] if are_records else {}


def is_message(item: Any) -> bool:
    """Whether this is a message: an object, a mapping with a role and a content, or a pair of both."""
    if isinstance(item, BaseMessage):
        return True
    if isinstance(item, Mapping):
        return item.get("type") == "remove" or (
            "content" in item and (_is_role(item.get("type")) or _is_role(item.get("role")))
        )
    return is_pair(item)


def is_pair(item: Any) -> bool:
    """Whether this is a message as a role and a text."""
    return (
        isinstance(item, list | tuple)
        and len(item) == 2
        and all(isinstance(part, str) for part in item)
        and _is_role(item[0])
    )


def _is_role(name: Any) -> bool:
    return isinstance(name, str) and name in ROLES


def _overwritten(update: Any) -> tuple[bool, Any]:
    """Whether an update is to stand in place of all before it, and what it holds."""
    if isinstance(update, Overwrite):
        return True, update.value
    if isinstance(update, dict):
        if len(update) == 1 and _OVERWRITE in update:
            return True, update[_OVERWRITE]
        if update.get("type") == _OVERWRITE or update.get("(class)") == _PLAIN_OVERWRITE:
            return True, update.get("value")
    return False, update


class _Rows:
    """A list that grows: messages stand in it under their ids."""

    def __init__(self, items: list[Any]) -> None:
        self._places = count()
        self._items: dict[Any, Any] = {}
        for item in items:
            self._put(item)

    def add(self, update: Any) -> None:
        for item in update if isinstance(update, list) and not is_pair(update) else [update]:
            own, removes = _marks(item)
            if removes:
                self._items.pop(own, None)
            else:
                self._put(item)

    def _put(self, item: Any) -> None:
        own, _ = _marks(item)
        self._items[own or next(self._places)] = item

    def to_list(self) -> list[Any]:
        return list(self._items.values())


def _marks(item: Any) -> tuple[str, bool]:
    """The id of a message, empty for anything else, and whether it only removes another."""
    if isinstance(item, BaseMessage):
        return item.id or "", isinstance(item, RemoveMessage)
    if isinstance(item, dict) and is_message(item):
        own = item.get("id")
        return own if isinstance(own, str) else "", item.get("type") == "remove"
    return "", False
