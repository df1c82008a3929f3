"""The pieces of an answer as a server sent them, made such that the client can read them.

Servers leave out what they have not, and send null, a number or a text where OpenAI's API has a list or an object.
What is harmless is put right or left out; what would lose a part of the answer is the server's fault, and said so.
Invariant: what passes here has the types that langchain-openai expects.
"""

import json
from collections.abc import Mapping
from typing import Any

from langchain_core.exceptions import ModelAPIError

_LARGEST = 2**53
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")
_SHORT = ("id", "model", "object", "service_tier", "system_fingerprint")


class UnreadableAnswerError(ModelAPIError):
    """A server sent a piece of an answer that is none."""


class ReportedFailureError(ModelAPIError):
    """A server sent, in place of a piece of an answer, that it failed."""


def read_piece(piece: Mapping[str, Any]) -> dict[str, Any]:
    """A piece of a streamed answer; UnreadableAnswerError or ReportedFailureError where it is none."""
    found = dict(piece)
    choices = found.get("choices")
    says_why = isinstance(found.get("message") or found.get("detail"), str)
    if found.get("object") == "error" or (says_why and not choices):
        raise ReportedFailureError("The server reported a failure while it was answering.")
    for name in _SHORT:
        if name in found and not isinstance(found[name], str):
            found[name] = None
    found["usage"] = _read_usage(found.get("usage"))
    if choices is not None or "choices" in found:
        _require(choices is None or isinstance(choices, list), "choices")
        found["choices"] = [_read_choice(choice) for choice in (choices or ())[:1]]
    return found


def _read_choice(choice: Any) -> dict[str, Any]:
    _require(isinstance(choice, Mapping), "a choice")
    found = dict(choice)
    # One that does not stream sends the message as a whole.
    delta = found.get("delta") or found.get("message") or {}
    _require(isinstance(delta, Mapping), "a delta")
    found["delta"] = _read_delta(delta)
    reason = found.get("finish_reason")
    found["finish_reason"] = str(reason) if isinstance(reason, str | int | float) and reason else None
    if not isinstance(found.get("logprobs"), Mapping):
        found["logprobs"] = None
    return found


def _read_delta(delta: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(delta)
    content = found.get("content")
    is_text = content is None or isinstance(content, str)
    is_blocks = isinstance(content, list) and all(isinstance(block, str | dict) for block in content)
    _require(is_text or is_blocks, "the content")
    # Whoever a server says that it is, it answers.
    found["role"] = "assistant"
    if not isinstance(found.get("id"), str):
        found["id"] = None
    if not isinstance(found.get("function_call"), Mapping):
        found["function_call"] = None
    calls = found.get("tool_calls")
    _require(calls is None or isinstance(calls, list), "the tool calls")
    found["tool_calls"] = [_read_call(call, place) for place, call in enumerate(calls or ())] or None
    return found


def _read_call(call: Any, place: int) -> dict[str, Any]:
    _require(isinstance(call, Mapping), "a tool call")
    function, index, call_id = call.get("function"), call.get("index"), call.get("id")
    _require(isinstance(function, Mapping), "the function of a tool call")
    if index is None:
        index = place
    elif isinstance(index, str) and index.isascii() and index.isdigit() and len(index) < 10:
        index = int(index)
    _require(isinstance(index, int), "the index of a tool call")
    name, arguments = function.get("name"), function.get("arguments")
    if isinstance(arguments, Mapping):
        arguments = json.dumps(arguments, ensure_ascii=False)
    _require(name is None or isinstance(name, str), "the name of a tool call")
    _require(arguments is None or isinstance(arguments, str), "the arguments of a tool call")
    if call_id is not None and not isinstance(call_id, str):
        _require(isinstance(call_id, int), "the id of a tool call")
        call_id = str(call_id)
    return {**call, "index": index, "id": call_id, "function": {**function, "name": name, "arguments": arguments}}


def _read_usage(usage: Any) -> dict[str, Any] | None:
    """What was used, where all that counts is a count; None where one of them is not."""
    if not isinstance(usage, Mapping):
        return None
    found = dict(usage)
    for name in _COUNTS:
        count = found.get(name)
        if count is not None and not _is_count(count):
            return None
    for name in _DETAILS:
        details = found.get(name)
        if isinstance(details, Mapping):
            found[name] = {key: value for key, value in details.items() if value is None or _is_count(value)}
        else:
            found[name] = None
    return found


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LARGEST


def _require(is_so: bool, what: str) -> None:
    if not is_so:
        raise UnreadableAnswerError(f"The server sent {what} in a form that no answer has.")
