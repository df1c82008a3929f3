"""How OpenAI's servers, and the many that speak like them, are asked and answer: completions, responses, vectors.

Invariant: what has another shape than it should is left out, and never raises.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.calls.capture.answer import Answer, as_message, list_of, object_of, objects_of, texts_of, tool_call
from core.calls.chunks import REASONING, split_blocks, split_content

_ENDED = {"response.completed", "response.incomplete", "response.failed"}
_THOUGHT_DELTAS = {"response.reasoning_summary_text.delta", "response.reasoning_text.delta"}
_WORD_DELTAS = {"response.output_text.delta", "response.refusal.delta"}


def ask_chat(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages of a chat completion."""
    for message in list_of(body.get("messages")):
        yield as_message(message)


def ask_texts(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The texts to be completed or embedded."""
    for text in texts_of(body.get("input", body.get("prompt"))):
        yield {"role": "user", "content": text}


def ask_responses(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The input of a response."""
    if body.get("instructions"):
        yield {"role": "system", "content": body["instructions"]}
    given = body.get("input")
    for item in [given] if isinstance(given, str) else list_of(given):
        if not isinstance(item, Mapping) or "role" in item:
            yield as_message(item)
        elif item.get("type") == "function_call":
            call = tool_call(item.get("name"), item.get("arguments") or "", item.get("call_id"))
            yield {"role": "assistant", "content": "", "tool_calls": [call]}
        elif item.get("type") == "function_call_output":
            yield {"role": "tool", "tool_call_id": item.get("call_id"), "content": item.get("output")}
        else:
            yield {"role": "assistant", "content": [item]}


def take_completion(answer: Answer, body: Mapping[str, Any]) -> None:
    """A whole chat or text completion."""
    answer.note(body)
    choices = objects_of(body.get("choices"))
    answer.is_whole = bool(choices)
    for choice in choices:
        message = object_of(choice.get("message")) or {"content": choice.get("text")}
        words, thoughts = split_content(message.get("content") or "", _beside(message))
        calls = []
        for call in objects_of(message.get("tool_calls")):
            function = object_of(call.get("function"))
            calls.append(tool_call(function.get("name"), function.get("arguments") or "", call.get("id")))
        answer.reply(words, thoughts, calls)
        answer.metadata["finish_reason"] = choice.get("finish_reason")


def take_chunk(answer: Answer, at: float, data: Mapping[str, Any]) -> None:
    """One piece of a streamed completion."""
    answer.note(data)
    for choice in objects_of(data.get("choices")):
        delta = object_of(choice.get("delta"))
        words, thoughts = split_content(delta.get("content") or choice.get("text") or "", _beside(delta))
        answer.say(at, words, thoughts, [_call_part(call) for call in objects_of(delta.get("tool_calls"))])
        answer.finish(choice.get("finish_reason"))


def take_vectors(answer: Answer, body: Mapping[str, Any]) -> None:
    """The answer to what was embedded."""
    answer.note(body)
    answer.is_whole = isinstance(body.get("data"), list)
    if "token_usage" in answer.metadata:
        answer.metadata["token_usage"].setdefault("completion_tokens", 0)


def take_response(answer: Answer, body: Mapping[str, Any]) -> None:
    """A whole response of the Responses API."""
    answer.note(body)
    blocks: list[Any] = []
    calls = []
    for item in objects_of(body.get("output")):
        if item.get("type") == "message":
            blocks += list_of(item.get("content"))
        elif item.get("type") == "function_call":
            calls.append(tool_call(item.get("name"), item.get("arguments") or "", item.get("call_id")))
        else:
            blocks.append(item)
    content, thoughts = split_blocks(blocks)
    answer.messages = []
    answer.reply(content, thoughts, calls)
    answer.metadata["finish_reason"] = body.get("status")
    answer.is_whole = isinstance(body.get("output"), list)
    searches = sum(item.get("type") == "web_search_call" for item in objects_of(body.get("output")))
    if searches:
        answer.note_usage({"web_search_calls": searches})


def take_event(answer: Answer, at: float, data: Mapping[str, Any]) -> None:
    """One event of a streamed response."""
    kind = data.get("type")
    delta = str(data.get("delta") or "")
    answer.say(at, delta if kind in _WORD_DELTAS else "", delta if kind in _THOUGHT_DELTAS else "")
    if kind in _ENDED and isinstance(response := data.get("response"), Mapping):
        take_response(answer, response)


def thought_in(message: Mapping[str, Any]) -> Any:
    """What a message holds of the model's thoughts beside its content."""
    return message.get(REASONING) or message.get("reasoning")


def _beside(message: Mapping[str, Any]) -> dict[str, Any]:
    return {REASONING: thought_in(message), "refusal": message.get("refusal")}


def _call_part(call: Mapping[str, Any]) -> dict[str, Any]:
    function = object_of(call.get("function"))
    name, args, index = function.get("name"), function.get("arguments"), call.get("index")
    if isinstance(args, (Mapping, list)):
        args = json.dumps(args, ensure_ascii=False)
    return {
        "index": index if isinstance(index, int | str) else None,
        "id": call.get("id"),
        "name": name if isinstance(name, str) else None,
        "args": args if isinstance(args, str) else None,
    }
