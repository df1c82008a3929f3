"""What goes to a saver, made fit to be kept there: without known secrets, and without what cannot be stored.

A graph's values are kept as they are but for that. Invariant: what one database takes, the other takes too, and
both give the same back; the text of an error that LangGraph notes passes as every other error's does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import ormsgpack
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import ERROR
from pydantic import BaseModel

from core.outside import clean_text, fit_data, fit_text, hide_known_in, read_failure


class KeptSerializer(JsonPlusSerializer):
    """LangGraph's serializer, whose bytes hold no known secret: asterisks of its length stand in its place."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        """Serialize a value; half a character, which no text in UTF-8 can hold, is left out."""
        try:
            kind, data = super().dumps_typed(obj)
        except (ormsgpack.MsgpackEncodeError, UnicodeEncodeError):
            kind, data = super().dumps_typed(_without_halves(obj))
        return kind, hide_known_in(data)


def keep_writes(writes: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """The writes of a task, with the error among them as a text that may be kept.

    The serializer makes the same text of an exception, by ``repr``.
    """
    kept = []
    for channel, value in writes:
        if channel == ERROR:
            value = read_failure(value if isinstance(value, str) else _as_text(value))  # noqa: PLW2901
        kept.append((channel, value))
    return kept


def keep_metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata of a checkpoint as both databases hold it."""
    return {fit_text(str(name)): fit_data(value) for name, value in metadata.items()}


def _as_text(error: Any) -> str:
    try:
        return repr(error)
    except Exception as failure:  # noqa: BLE001 - what a stranger's exception does when it is asked for its text
        return f"{type(error).__name__} cannot be shown ({type(failure).__name__})"


def _without_halves(value: Any) -> Any:
    """The same value with clean texts, however deep they stand."""
    if isinstance(value, str):
        # Also of a class of its own: its bytes are what cannot be written.
        return clean_text(value)
    if isinstance(value, dict):
        return {_without_halves(name): _without_halves(item) for name, item in value.items()}
    if type(value) in (list, tuple, set, frozenset):
        return type(value)(_without_halves(item) for item in value)
    if isinstance(value, BaseModel):
        return value.model_copy(update={name: _without_halves(item) for name, item in dict(value).items()})
    if is_dataclass(value) and not isinstance(value, type):
        return _copy_of_dataclass(value)
    return value


def _copy_of_dataclass(value: Any) -> Any:
    copied = object.__new__(type(value))
    for field in fields(value):
        object.__setattr__(copied, field.name, _without_halves(getattr(value, field.name)))
    return copied
