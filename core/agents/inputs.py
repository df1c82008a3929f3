"""How a chat's message gets into a graph of whatever shape.

A graph that keeps messages is given messages; any other is given the text where its input's schema wants it, or,
when a person writes a JSON object with the input's own keys, that object. Invariant: nothing here knows a graph;
all is read from its schemas (and of an entrypoint without any, from the keys that its function reads).
"""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from langchain_core.messages import AnyMessage, HumanMessage
from langgraph.pregel import Pregel
from pydantic import TypeAdapter, ValidationError

from core.agents.shapes import NOTHING, Shape, fit, read_input, takes_messages
from core.errors import BadInputError

Graph = Pregel[Any, Any, Any, Any]
MESSAGES = "messages"
# The names under which people keep what is asked, the most telling first.
_ASKED = (
    *("input", "question", "query", "topic", "prompt", "text", "request", "task", "user_input", "user_query"),
    *("user_message", "message", "content", "instruction", "instructions", "user_request", "subject", "goal"),
)
_SAMPLE = (HumanMessage("text"),)


def to_input(
    graph: Graph,
    messages: Sequence[AnyMessage],
    *,
    key: str | None = None,
    more: Mapping[str, Any] = MappingProxyType({}),
) -> Any:
    """What the graph is given for these messages, the last of which is the newest.

    ``key`` is the input's key that takes the text, where the schema alone does not tell; ``more`` is given beside
    it, by the input's keys. BadInputError says what a graph takes whose input no text fits.
    """
    shape, messages = read_input(graph), list(messages)
    if shape.fields is None and key is not None:
        return {key: fit(Any, messages, name=key)}
    if shape.fields is None:
        value = fit(shape.whole, messages, name=shape.name)
        if value is NOTHING:
            raise BadInputError(
                f"This agent takes {_words(shape.whole)}, and what you wrote is not that: write it as JSON."
            )
        return value
    if unknown := more.keys() - shape.fields.keys():
        names = ", ".join(map(repr, sorted(unknown)))
        raise BadInputError(f"This agent takes no input {names[:200]}; its inputs are {', '.join(shape.fields)}.")
    return _made(shape, {**more, **to_fields(shape, messages, key)})


def to_fields(shape: Shape, messages: Sequence[AnyMessage], key: str | None = None) -> dict[str, Any]:
    """The fields of an input that these messages say, before it is looked at whether they fit."""
    return _written_out(shape, list(messages), key) or _placed(shape, list(messages), key)


def messages_key(graph: Graph) -> str | None:
    """The key of the state that holds a conversation's messages; None where the graph keeps none."""
    shape = read_input(graph)
    return next((name for name, hint in (shape.fields or {}).items() if takes_messages(hint, name)), None)


def _written_out(shape: Shape, messages: list[AnyMessage], key: str | None) -> dict[str, Any] | None:
    """The input as a JSON object, when the person wrote one with keys of the input, and no others.

    A text in the field for what is said becomes what the field takes, as if it had been written alone.
    """
    text = _words_of(messages[-1]) if messages else ""
    if not text.startswith("{") or not shape.fields:
        return None
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not written or not isinstance(written, dict) or not written.keys() <= shape.fields.keys():
        return None
    chosen = key or find_key(shape)
    if chosen is not None and isinstance(written.get(chosen), str):
        spoken = [*messages[:-1], _with_words(messages[-1], written[chosen])]
        value = fit(shape.fields[chosen], spoken, name=chosen)
        written[chosen] = written[chosen] if value is NOTHING else value
    return written


def _words_of(message: AnyMessage) -> str:
    """What was typed; the texts of attached files stand in blocks behind it."""
    content = message.content
    first = content[0] if isinstance(content, list) and content else content
    return str(first.get("text", "") if isinstance(first, dict) else first).strip()


def _with_words(message: AnyMessage, words: str) -> AnyMessage:
    content = message.content
    if isinstance(content, list):
        return message.model_copy(update={"content": [{"type": "text", "text": words}, *content[1:]]})
    return message.model_copy(update={"content": words})


def _placed(shape: Shape, messages: list[AnyMessage], key: str | None) -> dict[str, Any]:
    chosen = key or find_key(shape) or find_key(shape, messages)
    if chosen is None:
        names = ", ".join(shape.fields or ()) or "nothing"
        raise BadInputError(
            f"This agent takes {names}, none of which is a text: write a JSON object with these keys, or name "
            f"the key for the text as input_key in langgraph.json."
        )
    value = fit((shape.fields or {}).get(chosen, Any), messages, name=chosen)
    if value is NOTHING:
        takes = _words((shape.fields or {})[chosen])
        raise BadInputError(f"This agent's {chosen!r} takes {takes}, and what you wrote is not that.")
    return {chosen: value}


def find_key(shape: Shape, messages: Sequence[AnyMessage] = _SAMPLE) -> str | None:
    """The key for what a person says: messages, else a usual name, else the first that takes a text."""
    fields = shape.fields or {}
    about = next((name for name, hint in fields.items() if takes_messages(hint, name)), None)
    if about is not None:
        return about
    able = [name for name, hint in fields.items() if fit(hint, messages, name=name) is not NOTHING]
    needed = [name for name in able if name in shape.required] or able
    return next((name for name in _ASKED if name in needed), None) or next(iter(needed), None)


def _made(shape: Shape, given: dict[str, Any]) -> Any:
    """The input as the graph takes it: an object where it has to be one, and never with a part missing."""
    missing = [name for name in shape.required if name not in given] if shape.is_checked else []
    if missing:
        names = ", ".join(f'"{name}": ...' for name in (*given, *missing))
        raise BadInputError(f"This agent takes more than a text: write a JSON object like {{{names}}}.")
    if not shape.as_object:
        return given
    try:
        return TypeAdapter(shape.whole).validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise BadInputError(f"What you wrote does not fit the agent's input ({place}: {first['msg']}).") from None


def _words(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
