"""What stands in a checkpoint for an object, told without making it: its fields, and the name of its class.

Invariant: nothing is imported and nothing called by a name that the data gives; only LangGraph's own question
(`Asked`) and order (`Sent`) become records of ours, which `core.checkpoints.inspect` reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

CLASS = "(class)"
_MESSAGES = "langchain_core.messages"
_AS_TEXT = frozenset({"uuid", "datetime", "decimal", "ipaddress", "zoneinfo"})
_ROWS = frozenset({("builtins", "set"), ("builtins", "frozenset"), ("collections", "deque")})


@dataclass(frozen=True, slots=True)
class Asked:
    """An interrupt: what was asked, its id, and in early versions its place, ``node:task``."""

    value: Any
    id: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Sent:
    """What a node is to be begun with."""

    node: str
    arg: Any


def to_object(stored: Any) -> Any:
    """An object from what LangGraph's MessagePack holds of it: module, name, and what it is made of."""
    if not (isinstance(stored, list) and len(stored) >= 3 and all(isinstance(part, str) for part in stored[:2])):
        return {CLASS: "?", "value": stored}
    return make_plain(stored[0], stored[1], stored[2])


def make_plain(module: str, name: str, made_of: Any) -> Any:
    """The object of this class as plain data: well-known values as text or list, others as their fields."""
    if module == "pydantic.types" and name.startswith("Secret"):
        return "(a secret; it is not shown)"
    if isinstance(made_of, str) and module in _AS_TEXT:
        return made_of
    if isinstance(made_of, list) and (module, name) in _ROWS:
        return made_of
    known = _KNOWN.get((module, name))
    if known is not None and (found := known(made_of)) is not None:
        return found
    return _fields(f"{module}.{name}", made_of)


def _fields(name: str, made_of: Any) -> Any:
    if isinstance(made_of, dict):
        # A message says what it is by its type.
        return made_of if is_message_class(name) and "type" in made_of else {CLASS: name, **made_of}
    return {CLASS: name, "values" if isinstance(made_of, list) else "value": made_of}


def is_message_class(name: str) -> bool:
    """Whether a class is one of LangChain's messages, by its full name, old or new."""
    return name.startswith((_MESSAGES, "langchain.schema.messages")) and name.endswith(("Message", "MessageChunk"))


def _to_date(parts: Any) -> str | None:
    if isinstance(parts, list) and len(parts) == 3 and all(isinstance(part, int) for part in parts):
        return f"{parts[0]:04}-{parts[1]:02}-{parts[2]:02}"
    return None


def _to_path(parts: Any) -> str | None:
    if not (isinstance(parts, list) and all(isinstance(part, str) for part in parts)):
        return None
    return "/".join(part.rstrip("/") for part in parts) or "/"


def _to_asked(made_of: Any) -> Asked | None:
    if not isinstance(made_of, dict):
        return None
    places = made_of.get("ns")
    place = places[-1] if isinstance(places, list) and places else ""
    return Asked(made_of.get("value"), str(made_of.get("id", ""))[:200], place if isinstance(place, str) else "")


def _to_sent(made_of: Any) -> Sent | None:
    if isinstance(made_of, dict):
        made_of = [made_of.get("node"), made_of.get("arg")]
    if not (isinstance(made_of, list) and len(made_of) >= 2 and isinstance(made_of[0], str)):
        return None
    return Sent(made_of[0], made_of[1])


_KNOWN: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("datetime", "date"): _to_date,
    **{
        ("pathlib", f"{kind}Path"): _to_path
        for kind in ("", "Posix", "Windows", "Pure", "PurePosix", "PureWindows")
    },
    ("pathlib._local", "PosixPath"): _to_path,
    **{(f"langgraph.{place}", "Interrupt"): _to_asked for place in ("types", "constants")},
    **{(f"langgraph.{place}", "Send"): _to_sent for place in ("types", "constants")},
}
