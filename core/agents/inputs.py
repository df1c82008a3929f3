"""How a chat's message gets into a graph of whatever shape, and an answer out of its final state.

A graph that keeps messages is given messages; any other is given the text where its input's schema wants it, or,
when a person writes a JSON object with the input's own keys, that object. Invariant: nothing here knows a graph;
all is read from its schemas (and of an entrypoint without any, from the keys that its function reads).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage
from langgraph.pregel import Pregel
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import to_json

from core.agents.shapes import NOTHING, Shape, fit, read_input, read_output, takes_messages
from core.errors import BadInputError

Graph = Pregel[Any, Any, Any, Any]
MESSAGES = "messages"
# Where LangChain's create_agent puts what it was told to give in a form.
_STRUCTURED = "structured_response"
# The names under which people keep what is asked, and what comes of it, the most telling first.
_ASKED = (
    *("input", "question", "query", "topic", "prompt", "text", "request", "task", "user_input", "user_query"),
    *("user_message", "message", "content", "instruction", "instructions", "user_request", "subject", "goal"),
)
_ANSWERED = (
    *("answer", "output", "response", "final", "reply", "result", "combined", "report", "summary", "completion"),
    *("generation", "improved", "solution"),
)
_SAMPLE = (HumanMessage("text"),)


def to_input(graph: Graph, messages: Sequence[AnyMessage], *, key: str | None = None) -> Any:
    """What the graph is given for these messages, the last of which is the newest.

    ``key`` is the input's key that takes the text, where the schema alone does not tell; BadInputError says what a
    graph takes whose input no text fits.
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
    given = _written_out(shape, messages) or _placed(shape, messages, key)
    return _made(shape, given)


def find_answer(graph: Graph, values: Any, *, key: str | None = None) -> str:
    """The text of an answer in the final values, for a graph whose nodes said nothing; "" when there is none."""
    fields = _as_fields(values)
    if fields is None:
        return _text(values)
    if key is not None:
        return _text(fields.get(key)) or _as_json(fields.get(key))
    shape = read_input(graph)
    asked = _find_key(shape)
    about = asked is not None and takes_messages((shape.fields or {})[asked], asked)
    others = {name: value for name, value in fields.items() if about or name != asked}
    told = {name: text for name, value in others.items() if (text := _text(value))}
    return _choose(told, read_output(graph)) or _as_json(fields.get(_STRUCTURED))


def _choose(told: Mapping[str, str], output: Sequence[str]) -> str:
    """Of several texts: the messages', then the most telling name's, then the output's own, then the longest."""
    if told.get(MESSAGES):
        return told[MESSAGES]
    for word in _ANSWERED:
        named = [name for name in told if word in name.lower().split("_")]
        if named:
            return told[named[-1]]
    own = [told[name] for name in output if name in told]
    return own[-1] if own else max(told.values(), key=len, default="")


def _written_out(shape: Shape, messages: list[AnyMessage]) -> dict[str, Any] | None:
    """The input as a JSON object, when the person wrote one with keys of the input, and no others."""
    text = messages[-1].text.strip() if messages else ""
    if not text.startswith("{") or not shape.fields:
        return None
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return written if written and isinstance(written, dict) and written.keys() <= shape.fields.keys() else None


def _placed(shape: Shape, messages: list[AnyMessage], key: str | None) -> dict[str, Any]:
    chosen = key or _find_key(shape) or _find_key(shape, messages)
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


def _find_key(shape: Shape, messages: Sequence[AnyMessage] = _SAMPLE) -> str | None:
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


def _as_fields(values: Any) -> Mapping[str, Any] | None:
    if isinstance(values, Mapping):
        return values
    if isinstance(values, BaseMessage):
        return None
    if isinstance(values, BaseModel) or (is_dataclass(values) and not isinstance(values, type)):
        return vars(values)
    return None


def _text(value: Any) -> str:
    """The text that a value is or holds; of messages, the newest that a model wrote since a person spoke last."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, BaseMessage):
        return "" if isinstance(value, HumanMessage) else str(value.text).strip()
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, list | tuple):
        return _text_of_list(value)
    return ""


def _text_of_list(values: Sequence[Any]) -> str:
    if any(isinstance(value, BaseMessage) for value in values):
        spoken = [index for index, value in enumerate(values) if isinstance(value, HumanMessage)]
        since = values[spoken[-1] + 1 :] if spoken else values
        texts = [str(one.text).strip() for one in since if isinstance(one, AIMessage)]
        return next((text for text in reversed(texts) if text), "")
    texts = [value for value in values if isinstance(value, str)]
    return "\n\n".join(texts) if len(texts) == len(values) else ""


def _as_json(value: Any) -> str:
    if value is None:
        return ""
    text = to_json(value, indent=2, fallback=repr, inf_nan_mode="null").decode()
    return f"```json\n{text}\n```"


def _words(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint)
