"""What is read of a model server's answer, and the small parts that all forms of answers are read with.

Invariant: what has another shape than it should is left out, and never raises.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    """What was read of an answer; ``first_at`` is when its first word or thought came, by ``time.monotonic()``."""

    words: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    tool_parts: list[dict[str, Any]] = field(default_factory=list)
    messages: list[dict[str, Any]] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    first_at: float | None = None
    is_whole: bool = False
    error: str = ""

    def say(self, at: float, words: str, thoughts: str, parts: Iterable[dict[str, Any]] = ()) -> None:
        """Take what one piece of a stream says, thinks and asks for."""
        self.words += [words] if words else []
        self.thoughts += [thoughts] if thoughts else []
        self.tool_parts += (parts := list(parts))
        if self.first_at is None and (words or thoughts or parts):
            self.first_at = at

    def note(self, data: Mapping[str, Any]) -> None:
        """Take what stands around an answer: the model, the usage, the tier."""
        for name, known in (("model", "model_name"), ("id", "id"), ("service_tier", "service_tier")):
            if data.get(name):
                self.metadata[known] = data[name]
        self.note_usage(data.get("usage"))

    def note_usage(self, usage: Any) -> None:
        """Take a usage; what a later one says goes before what an earlier one did."""
        if isinstance(usage, Mapping) and usage:
            said = {name: value for name, value in usage.items() if value is not None}
            self.metadata["token_usage"] = {**self.metadata.get("token_usage", {}), **said}

    def finish(self, reason: Any) -> None:
        """Take why the answer ended, which says that it is whole."""
        if reason:
            self.metadata["finish_reason"] = reason
            self.is_whole = True

    def reply(self, content: Any, thoughts: str, calls: list[dict[str, Any]]) -> None:
        """Take a whole message."""
        message: dict[str, Any] = {"role": "assistant", "content": content}
        if thoughts:
            message["reasoning"] = thoughts
        if calls:
            message["tool_calls"] = calls
        self.messages.append(message)


def tool_call(name: Any, arguments: Any, call_id: Any) -> dict[str, Any]:
    """A tool call in the form that LangChain gives one."""
    return {"name": name, "args": read_object(arguments) or arguments, "id": call_id}


def list_of(value: Any) -> list[Any]:
    """The value where it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def objects_of(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [one for one in list_of(value) if isinstance(one, Mapping)]


def object_of(value: Any) -> Mapping[str, Any]:
    """The value where it is an object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def as_message(message: Any) -> dict[str, Any]:
    """A message of a prompt, which may be no more than a text."""
    return dict(message) if isinstance(message, Mapping) else {"role": "user", "content": message}


def texts_of(given: Any) -> list[str]:
    """What is completed or embedded; of a text that is given as the numbers of its tokens, how many there are."""
    if isinstance(given, str):
        return [given]
    found = list_of(given)
    if found and all(isinstance(one, int) for one in found):
        return [f"[{len(found):,} tokens]"]
    return [one if isinstance(one, str) else f"[{len(list_of(one)):,} tokens]" for one in found]


def read_json(text: bytes | str) -> Any:
    """What a JSON text holds; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def read_object(text: Any) -> dict[str, Any]:
    """The object that a JSON text holds; empty where it holds none."""
    found = read_json(text) if isinstance(text, (str, bytes)) else None
    return found if isinstance(found, dict) else {}


def error_in(body: Any) -> str:
    """What a server says went wrong, in whichever of the usual forms; "" where it says nothing."""
    error = body.get("error", body) if isinstance(body, Mapping) else None
    said = error.get("message") if isinstance(error, Mapping) else error
    return said if isinstance(said, str) else ""
