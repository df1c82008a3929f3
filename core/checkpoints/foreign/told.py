"""Messages, wherever a stranger's state has them.

Everything here is plain data already. Invariant: what does not look like a message is never told as one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from core.checkpoints.replaying import ROLES, is_pair


@dataclass(frozen=True, slots=True)
class Said:
    """A message: who said it (`user`, `assistant`, `tool`, ...), its text, and the tools that it asks for."""

    role: str
    text: str
    name: str = ""
    calls: tuple[str, ...] = ()


def find_messages(values: Mapping[str, Any]) -> list[Said]:
    """The messages of a state: those of the channel `messages`, else those of where the most are."""
    found = [said for name, value in _places(values) if name == "messages" and (said := _all_said(value))]
    if not found:
        found = [_all_said(value) for _, value in _places(values)]
    return max(found, key=len, default=[])


def _places(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Where messages may stand: in channels, and in what a channel holds, as the input and a whole state do."""
    yield from values.items()
    for value in values.values():
        if isinstance(value, dict) and _said(value) is None:
            yield from value.items()


def _all_said(value: Any) -> list[Said]:
    found = [_said(item) for item in value] if isinstance(value, list) else [_said(value)]
    return [said for said in found if said is not None]


def _said(item: Any) -> Said | None:
    if is_pair(item):
        item = {"role": item[0], "content": item[1]}  # ("user", "hello"), as an input may have it
    if not isinstance(item, dict):
        return None
    if item.get("type") == "constructor" and isinstance(item.get("kwargs"), dict):
        item = item["kwargs"]  # LangChain's own JSON, kept as it is
    elif item.get("type") in ROLES and isinstance(item.get("data"), dict):
        item = {"type": item["type"], **item["data"]}  # as LangChain's `message_to_dict` makes it
    calls = (*_calls(item.get("tool_calls")), *_calls(item.get("content"), "tool_use"))
    if not ("content" in item or calls):
        return None
    role = next((ROLES[name] for name in (item.get("type"), item.get("role")) if _is_role(name)), None)
    if role is None:
        return None
    return Said(role, _text(item.get("content")), str(item.get("name") or ""), tuple(dict.fromkeys(calls)))


def _is_role(name: Any) -> bool:
    return isinstance(name, str) and name in ROLES


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if content is None:
        return ""
    blocks = content if isinstance(content, list) else [content]
    return "\n".join(text for text in map(_block, blocks) if text)


def _block(block: Any) -> str:
    if isinstance(block, str):
        return block
    if not isinstance(block, dict):
        return str(block)[:200]
    text = block.get("text", block.get("refusal"))
    if isinstance(text, dict):
        text = text.get("value")  # as an assistant of OpenAI's has it
    if isinstance(text, str):
        return text
    return "" if block.get("type") == "tool_use" else f"[{str(block.get('type', 'data'))[:40]}]"


def _calls(calls: Any, kind: str = "") -> tuple[str, ...]:
    """The names of the tools in these calls, LangChain's or OpenAI's, or in the blocks of a kind."""
    names: list[Any] = []
    for one in calls if isinstance(calls, list) else ():
        if isinstance(one, dict) and (not kind or one.get("type") == kind):
            inner = one.get("function")
            names.append(inner.get("name") if isinstance(inner, dict) else one.get("name"))
    return tuple(name for name in names if isinstance(name, str))
