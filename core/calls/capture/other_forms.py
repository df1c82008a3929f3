"""How Anthropic's, Google's and Ollama's own interfaces are asked and answer.

Invariant: what has another shape than it should is left out, and never raises.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from core.calls.capture.answer import Answer, as_message, list_of, object_of, objects_of, texts_of, tool_call
from core.calls.chunks import split_blocks

_ANY_IMAGE = "image/unknown"
_TOOL_BLOCKS = {"tool_use", "server_tool_use"}

# --- Anthropic ---------------------------------------------------------------------------------------------------


def ask_anthropic(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages, with what is told the model first."""
    if body.get("system"):
        yield {"role": "system", "content": body["system"]}
    for message in list_of(body.get("messages")):
        yield as_message(message)


def take_anthropic(answer: Answer, body: Mapping[str, Any]) -> None:
    """A whole message."""
    answer.note(body)
    blocks = objects_of(body.get("content"))
    tools = [block for block in blocks if block.get("type") in _TOOL_BLOCKS]
    calls = [tool_call(tool.get("name"), tool.get("input"), tool.get("id")) for tool in tools]
    content, thoughts = split_blocks(list(blocks))
    answer.reply(content, thoughts, calls)
    answer.metadata["finish_reason"] = body.get("stop_reason")
    answer.is_whole = isinstance(body.get("content"), list)


def take_anthropic_event(answer: Answer, at: float, data: Mapping[str, Any]) -> None:
    """One event of a streamed message."""
    kind, index = data.get("type"), data.get("index")
    delta = object_of(data.get("delta"))
    if kind == "message_start":
        answer.note(object_of(data.get("message")))
    elif kind == "content_block_start":
        block = object_of(data.get("content_block"))
        if block.get("type") in _TOOL_BLOCKS:
            part = {"index": index, "id": block.get("id"), "name": block.get("name"), "args": ""}
            answer.say(at, "", "", [part])
        else:
            answer.say(at, str(block.get("text") or ""), str(block.get("thinking") or ""))
    elif kind == "content_block_delta":
        parts = [{"index": index, "args": delta["partial_json"]}] if delta.get("partial_json") else []
        answer.say(at, str(delta.get("text") or ""), str(delta.get("thinking") or ""), parts)
    elif kind == "message_delta":
        answer.note_usage(data.get("usage"))
        if delta.get("stop_reason"):
            answer.metadata["finish_reason"] = delta["stop_reason"]
    elif kind == "message_stop":
        answer.is_whole = True


# --- Gemini ------------------------------------------------------------------------------------------------------


def ask_gemini(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The contents, with the system's instruction first."""
    system = object_of(body.get("systemInstruction") or body.get("system_instruction"))
    if system:
        yield {"role": "system", "content": _gemini_content(system)}
    for content in objects_of(body.get("contents")):
        role = "assistant" if content.get("role") == "model" else content.get("role") or "user"
        yield {"role": role, "content": _gemini_content(content)}


def ask_gemini_texts(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The texts to be embedded, one or several."""
    asked = objects_of(body.get("requests")) or [body]
    for one in asked:
        yield {"role": "user", "content": _gemini_content(object_of(one.get("content")))}


def take_gemini(answer: Answer, body: Mapping[str, Any]) -> None:
    """A whole answer, which is the only piece of one."""
    take_gemini_chunk(answer, 0.0, body)
    answer.first_at = None


def take_gemini_chunk(answer: Answer, at: float, data: Mapping[str, Any]) -> None:
    """One piece of an answer."""
    if data.get("modelVersion"):
        answer.metadata["model_name"] = data["modelVersion"]
    if data.get("responseId"):
        answer.metadata["id"] = data["responseId"]
    answer.note_usage(data.get("usageMetadata"))
    for candidate in objects_of(data.get("candidates")):
        for part in objects_of(object_of(candidate.get("content")).get("parts")):
            text = str(part.get("text") or "")
            parts = []
            if isinstance(call := part.get("functionCall"), Mapping):
                arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
                place = len(answer.tool_parts)
                parts = [{"index": place, "id": call.get("id"), "name": call.get("name"), "args": arguments}]
            answer.say(at, "" if part.get("thought") else text, text if part.get("thought") else "", parts)
        answer.finish(candidate.get("finishReason"))
    answer.finish(object_of(data.get("promptFeedback")).get("blockReason"))


def take_gemini_vectors(answer: Answer, body: Mapping[str, Any]) -> None:
    """The answer to what was embedded."""
    answer.is_whole = "embedding" in body or "embeddings" in body
    answer.note_usage(body.get("usageMetadata"))


def _gemini_content(content: Mapping[str, Any]) -> Any:
    """A content's parts; as a text where they are nothing else."""
    parts = objects_of(content.get("parts"))
    if all(set(part) == {"text"} for part in parts):
        return "".join(str(part["text"]) for part in parts)
    return [_with_types(part) for part in parts]


def _with_types(part: Mapping[str, Any]) -> dict[str, Any]:
    """A part whose file names its type as other providers' do, so that its bytes are kept out of the record."""
    plain = dict(part)
    for name in ("inlineData", "inline_data"):
        if isinstance(file := plain.get(name), Mapping):
            plain[name] = {"mime_type": file.get("mimeType") or file.get("mime_type"), **file}
    return plain


# --- Ollama ------------------------------------------------------------------------------------------------------


def ask_ollama(body: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The messages; or the one text to go on from, or to be embedded."""
    if body.get("system"):
        yield {"role": "system", "content": body["system"]}
    for message in list_of(body.get("messages")):
        plain = as_message(message)
        if isinstance(plain.get("images"), list):
            # In a form whose bytes are kept out of the record.
            plain["images"] = [{"mime_type": _ANY_IMAGE, "data": image} for image in plain["images"]]
        yield plain
    for text in texts_of(body.get("input", body.get("prompt"))):
        yield {"role": "user", "content": text}


def take_ollama(answer: Answer, body: Mapping[str, Any]) -> None:
    """A whole answer, which is the only piece of one."""
    take_ollama_chunk(answer, 0.0, body)
    answer.first_at = None


def take_ollama_chunk(answer: Answer, at: float, data: Mapping[str, Any]) -> None:
    """One piece of an answer."""
    if data.get("model"):
        answer.metadata["model_name"] = data["model"]
    message = object_of(data.get("message"))
    parts: list[dict[str, Any]] = []
    for call in objects_of(message.get("tool_calls")):
        function = object_of(call.get("function"))
        arguments = json.dumps(function.get("arguments") or {}, ensure_ascii=False)
        place = len(answer.tool_parts) + len(parts)
        parts.append({"index": place, "id": call.get("id"), "name": function.get("name"), "args": arguments})
    words = str(message.get("content") or data.get("response") or "")
    thoughts = str(message.get("thinking") or data.get("thinking") or "")
    answer.say(at, words, thoughts, parts)
    if data.get("done"):
        answer.finish(data.get("done_reason") or "stop")
        answer.note_usage({name: data.get(name) for name in ("prompt_eval_count", "eval_count")})


def take_ollama_vectors(answer: Answer, body: Mapping[str, Any]) -> None:
    """The answer to what was embedded."""
    answer.is_whole = "embeddings" in body or "embedding" in body
    if body.get("model"):
        answer.metadata["model_name"] = body["model"]
    if "prompt_eval_count" in body:
        answer.note_usage({"prompt_eval_count": body["prompt_eval_count"], "eval_count": 0})
