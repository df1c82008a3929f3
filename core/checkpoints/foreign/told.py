"""Messages, wherever a stranger's state has them, and values put together from what was written to them.

Everything here is plain data already. Invariant: what does not look like a message is never told as one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_ROLES = {role: role for role in ("user", "assistant", "system", "tool", "function", "developer")}
_ROLES |= {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_INPUT = "__start__"


@dataclass(frozen=True, slots=True)
class Said:
    """A message: who said it (`user`, `assistant`, `tool`, ...), its text, and the tools that it asks for."""

    role: str
    text: str
    name: str = ""
    calls: tuple[str, ...] = ()


def find_messages(values: Mapping[str, Any]) -> list[Said]:
    """The messages of a state, from the channel of that name or the first that holds any; none when none does."""
    given = values.get(_INPUT)
    places = [values.get("messages"), *values.values(), *(given.values() if isinstance(given, dict) else ())]
    return next((said for place in places if (said := _all_said(place))), [])


def _all_said(value: Any) -> list[Said]:
    found = [_said(item) for item in value] if isinstance(value, list) else [_said(value)]
    return [said for said in found if said is not None]


def _said(item: Any) -> Said | None:
    if isinstance(item, list) and len(item) == 2 and all(isinstance(part, str) for part in item):
        item = {"role": item[0], "content": item[1]}  # ("user", "hello"), as an input may have it
    if not (isinstance(item, dict) and "content" in item):
        return None
    role = item.get("type") if item.get("type") in _ROLES else item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        return None
    return Said(_ROLES[role], _text(item["content"]), str(item.get("name") or ""), _calls(item.get("tool_calls")))


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else [content]
    return "\n".join(_block(block) for block in blocks)


def _block(block: Any) -> str:
    if isinstance(block, str):
        return block
    if isinstance(block, dict):
        return block["text"] if isinstance(block.get("text"), str) else f"[{str(block.get('type', 'data'))[:40]}]"
    return str(block)[:200]


def _calls(calls: Any) -> tuple[str, ...]:
    named = [one.get("name") for one in calls if isinstance(one, dict)] if isinstance(calls, list) else []
    return tuple(name for name in named if isinstance(name, str))


def replay(seed: Any, updates: Iterable[Any]) -> Any:
    """What updates come to where no reducer is known: messages by their ids, lists joined, or else the last."""
    value = seed
    for update in updates:
        value = _joined(value, update)
    return value


def _joined(value: Any, update: Any) -> Any:
    if isinstance(update, dict) and isinstance(value, dict):
        return {**value, **update}
    if not isinstance(value, list | None):
        return update
    items = {_identity(item, place): item for place, item in enumerate(value or [])}
    for item in update if isinstance(update, list) else [update]:
        key = _identity(item, len(items))
        if isinstance(item, dict) and item.get("type") == "remove":
            items.pop(key, None)
        else:
            items[key] = item
    return list(items.values())


def _identity(item: Any, place: int) -> Any:
    own = item.get("id") if isinstance(item, dict) else None
    return own if isinstance(own, str) and own else ("at", place)
