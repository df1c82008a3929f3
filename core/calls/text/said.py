"""What of a call's body is searched: the texts that people would look for, not the JSON around them.

A call is found by what it added: its response, the newest human message, the messages since the answer before that,
and system messages; a prompt without an earlier answer counts whole. Older messages are found in the calls that
brought them: to index them again in every later call of a conversation would let the index grow with its square.
"""

import json
from collections.abc import Iterator
from typing import Any

_ANSWERS = {"assistant", "ai", "AIMessageChunk"}
_HUMANS = {"user", "human"}
_SYSTEMS = {"system", "developer"}
_TEXTS = ("text", "thinking", "reasoning", "refusal", "content")
_ARGUMENTS = ("args", "arguments", "input", "function")


def said_texts(prompt: str | None, response: str | None) -> list[str]:
    """The searched texts of a body as it is stored, the newest first; of one that cannot be read, all as it is."""
    try:
        messages = _messages(response) + _news(_messages(prompt))
        return [text for message in messages for text in _texts(message)]
    except (ValueError, RecursionError):
        return [stored for stored in (response, prompt) if stored]


def _messages(stored: str | None) -> list[dict[str, Any]]:
    found = json.loads(stored) if stored else []
    found = found if isinstance(found, list) else [found]
    return [one if isinstance(one, dict) else {"content": one} for one in found]


def _news(prompt: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the prompt adds to those before it, newest first, and system messages last."""
    roles = [message.get("role") or message.get("type") for message in prompt]
    answered = max((at for at, role in enumerate(roles[:-1]) if role in _ANSWERS), default=-1)
    asked = max((at for at, role in enumerate(roles) if role in _HUMANS), default=-1)
    systems = [message for message, role in zip(prompt, roles, strict=True) if role in _SYSTEMS]
    others = [
        message for at, message in enumerate(prompt) if (at > answered or at == asked) and roles[at] not in _SYSTEMS
    ]
    return others[::-1] + systems


def _texts(message: dict[str, Any]) -> Iterator[str]:
    yield from _block_texts(message)
    for call in message.get("tool_calls") or ():
        yield from _block_texts(call)


def _block_texts(block: Any) -> Iterator[str]:
    """The texts of a message, of a block of its content, or of a tool call."""
    if isinstance(block, str):
        yield block
    elif isinstance(block, list):
        for part in block:
            yield from _block_texts(part)
    elif isinstance(block, dict):
        for key in _TEXTS:
            yield from _block_texts(block.get(key))
        yield from _argument_texts(block.get("name"))
        for key in _ARGUMENTS:
            yield from _argument_texts(block.get(key))


def _argument_texts(value: Any) -> Iterator[str]:
    """All names and plain values in the arguments of a tool call."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield str(name)
            yield from _argument_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _argument_texts(inner)
    elif value is not None and value != "":
        yield str(value)
