"""From a call as it was seen to its row and body, as the tables hold them.

Invariant: nothing goes into a row that could hold a key: parameters come from a list of known ones, all else goes
through ``masking`` or ``core.outside``. What the model was shown and said is kept whole, or not at all; of a file
inside it, the hash.
"""

import hmac
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from core.calls.capture.inline_files import NOTE, without_files
from core.calls.capture.masking import hide_credentials, without_credentials
from core.calls.capture.observed import ObservedCall, partial_response
from core.calls.context import COMPACTED_KEY, KEY_SOURCE_KEY, CallContext
from core.calls.panels.rollups import CACHED_BY
from core.calls.pricing.prices import Cost
from core.calls.pricing.usage import USAGE_COLUMNS, Usage, estimate_tokens
from core.calls.proof.seals import hash_body
from core.database import table_of
from core.outside import fit_text, read_failure
from core.tables import LlmCall

# What is a part of the rollups' keys: an index of PostgreSQL holds 2,700 bytes.
_LONGEST_KEY = 120
_INLINE_FILE = re.compile(r"[A-Za-z0-9+/=_-]{1000,}")
_TOKENS_OF_A_FILE = 800
_NOT_REACHED = {"APIConnectionError", "ConnectError", "ConnectTimeout", "PoolTimeout"}
_PARAMS = (
    "stop",
    "seed",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "response_format",
    "tool_choice",
    "parallel_tool_calls",
    "reasoning",
    "reasoning_effort",
    "service_tier",
    "logprobs",
    "top_logprobs",
    "top_k",
    "verbosity",
)
# A salt per call, unknown outside this process, without asking the system for randomness each time.
_PROCESS_SECRET = secrets.token_bytes(32)
_EMPTY_ROW: dict[str, Any] = {column.name: None for column in table_of(LlmCall).columns}


def start_row(call: ObservedCall, context: CallContext | None) -> dict[str, Any]:
    """The row of a call that has begun."""
    params, metadata = call.params, call.metadata
    namespace = _text(metadata.get("langgraph_checkpoint_ns")) or ""
    agent_id = context.agent_id if context else None
    provider = metadata.get("ls_provider")
    return _EMPTY_ROW | {
        "call_id": call.call_id,
        "run_id": str(call.run_id),
        "parent_run_id": str(call.parent_run_id) if call.parent_run_id else None,
        "created_at": call.created_at,
        **_ids(call, context),
        "checkpoint_ns": namespace or None,
        "agent_id": agent_id,
        "agent_key": _text(metadata.get("lc_agent_name"), _LONGEST_KEY) or _outer_agent(namespace) or agent_id,
        "node": _text(metadata.get("langgraph_node"), _LONGEST_KEY),
        "step": _whole(metadata.get("langgraph_step")),
        "operation": call.operation,
        "provider": _text(provider),
        "base_url": _server_of(_text(_base_url(call.serialized)), call.sent_to) or _from_environment(provider),
        "model": _text(
            params.get("model") or params.get("model_name") or metadata.get("ls_model_name"), _LONGEST_KEY
        ),
        "temperature": _number(params.get("temperature", metadata.get("ls_temperature"))),
        "top_p": _number(params.get("top_p")),
        "max_tokens": _whole(
            params.get("max_completion_tokens") or params.get("max_tokens") or metadata.get("ls_max_tokens")
        ),
        "params": {name: plain for name in _PARAMS if (plain := _plain(params.get(name))) is not None},
        "streamed": False,
        "status": "started",
        "attempt": call.requests,
        "key_source": _text(metadata.get(KEY_SOURCE_KEY)),
        "context_compacted": bool(metadata.get(COMPACTED_KEY)) or _has_summary(call.prompt),
        "attributed": context is not None and context.user_id is not None,
        "tags": [tag for tag in call.tags if not tag.startswith("seq:step:")],
    }


def start_body(call: ObservedCall) -> dict[str, Any]:
    """What the model was shown, as JSON text."""
    tools = call.params.get("tools") or call.params.get("functions")
    return {
        "call_id": call.call_id,
        "prompt": to_json(without_files(call.prompt)),
        "response": None,
        "tools": to_json(hide_credentials(_plain(tools))) if tools else None,
        "salt": hmac.digest(_PROCESS_SECRET, call.call_id.encode(), "sha256")[:16].hex(),
    }


def end_row(row: dict[str, Any], call: ObservedCall) -> dict[str, Any]:
    """The row of a call that has ended, without what it cost."""
    ended_at = call.ended_at if call.ended_at is not None else call.began
    metadata = call.response_metadata
    seconds = ended_at - call.began
    return row | {
        "ended_at": call.created_at + timedelta(seconds=seconds),
        "base_url": _server_of(row["base_url"], call.sent_to),
        "response_model": _text(metadata.get("model_name") or metadata.get("model")),
        "response_id": _text(metadata.get("id")),
        "request_id": _text(read_failure(call.request_id or getattr(call.error, "request_id", None) or "")),
        "streamed": call.first_token_at is not None,
        "status": call.status,
        "http_status": _whole(getattr(call.error, "status_code", None) or call.http_status),
        "finish_reason": _text(metadata.get("finish_reason") or metadata.get("stop_reason")),
        "attempt": _attempt(call, str(row["provider"])),
        "queue_ms": _ms(call.began, call.first_request_at),
        "ttft_ms": _ms(call.began, call.first_token_at),
        "duration_ms": _ms(call.began, ended_at),
    }


def end_body(call: ObservedCall) -> str | None:
    """What the model said, as JSON text; of a call that was cut, what was heard of it."""
    said = call.response
    if said is None:
        said = partial_response(call.tokens, call.tool_parts, call.thoughts)
    return to_json(without_files(said)) if said else None


def measure(
    row: dict[str, Any],
    body: Mapping[str, Any],
    usage: Usage | None,
    *,
    refused: bool,
    is_counted_elsewhere: bool = False,
) -> None:
    """Write the usage into the row: what the model reported, else an estimate; nothing for what used nothing."""
    if row["cost_source"] != CACHED_BY and usage is not None and _is_whole(usage, body):
        row["usage_source"] = "model"
    elif refused:
        usage = Usage(0, 0)
        row["usage_source"] = "none"
    elif row["cost_source"] == CACHED_BY:
        usage, row["usage_source"] = None, "cache"
    elif is_counted_elsewhere:
        usage = Usage(0, 0)
        row["usage_source"] = "batch"
    elif row["status"] == "ok" and body.get("response") is None and row["operation"] != "embeddings":
        row["usage_source"] = None
    else:
        usage = _completed(usage, body)
        row["usage_source"] = "estimated"
    if usage is not None and row["usage_source"] is not None:
        row.update({name: getattr(usage, name) for name in USAGE_COLUMNS})
        if usage.billed:
            row["params"] = {**row["params"], "billed": usage.billed}


def _is_whole(usage: Usage, body: Mapping[str, Any]) -> bool:
    """Whether a usage tells all: who was asked something has read something, and who answers has said something.

    What a server leaves out, its client may hand on as nothing.
    """
    if usage.input_tokens is None or usage.output_tokens is None:
        return False
    return bool(
        (usage.input_tokens or not body.get("prompt")) and (usage.output_tokens or not body.get("response"))
    )


def _completed(usage: Usage | None, body: Mapping[str, Any]) -> Usage:
    """What was reported of a usage, with an estimate in the place of what was not, or is nothing."""
    told = usage or Usage(None, None)
    taken = told.input_tokens or _estimate(body.get("prompt"), body.get("tools"))
    return replace(told, input_tokens=taken, output_tokens=told.output_tokens or _estimate(body.get("response")))


def was_refused(call: ObservedCall) -> bool:
    """Whether no model saw the call: it was answered with an error, or never reached a server."""
    if call.error is None or call.tokens or call.thoughts or call.tool_parts:
        return False
    names = {kind.__name__ for kind in type(call.error).__mro__}
    status = getattr(call.error, "status_code", None) or 0
    return status >= 400 or bool(names & _NOT_REACHED and "APITimeoutError" not in names)


def why_uncharged(call: ObservedCall, *, refused: bool) -> str | None:
    """Why a call cost nothing, whatever its model's price: it was refused, or a cache of ours answered."""
    if refused:
        return "refused"
    usage = getattr(call.message, "usage_metadata", None) or {}
    return "cache" if usage.get("total_cost") == 0 else None


def is_counted_elsewhere(call: ObservedCall) -> bool:
    """Whether the usage stands at another call of the same batch, as text models report it."""
    return call.operation == "text_completion" and (call.llm_output or {}).get("token_usage") == {}


def set_error(row: dict[str, Any], error: BaseException | None, *, policy: str) -> None:
    """Write type and text of an error into the row, without secrets; without text where none is to be kept."""
    if error is None or row["status"] == "cancelled":
        return
    row["error_type"] = type(error).__name__[:_LONGEST_KEY]
    if policy == "full":
        row["error_message"] = read_failure(error)


def set_cost(row: dict[str, Any], cost: Cost) -> None:
    row["cost_usd"], row["price_id"], row["cost_source"] = cost.cost_usd, cost.price_id, cost.cost_source


def keep_text(row: dict[str, Any], body: dict[str, Any], policy: str) -> dict[str, Any] | None:
    """Set the row's hash of the body, and give as much of the body as is to be kept."""
    row["body_hash"] = None
    if policy == "none":
        return None
    row["body_hash"] = hash_body(body["salt"], body["prompt"], body["response"], body["tools"])
    return body if policy == "full" else body | {"prompt": None, "response": None, "tools": None}


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode


def to_json(value: Any) -> str:
    """JSON text in any language; what JSON cannot hold is shown as text."""
    try:
        return fit_text(_to_json(value))
    except TypeError:
        return fit_text(_to_json(_with_text_keys(value)))


def _ids(call: ObservedCall, context: CallContext | None) -> dict[str, Any]:
    if context is None:
        return {"thread_id": _text(call.thread_id)}
    return {
        "user_id": context.user_id,
        "session_id": context.session_id,
        "conversation_id": context.conversation_id,
        "message_id": context.message_id,
        "thread_id": context.thread_id,
    }


def _outer_agent(namespace: str) -> str | None:
    """The node whose subgraph the call was made in; None at the top."""
    places = [place.split(":")[0] for place in namespace.split("|") if place]
    return places[0] if len(places) > 1 else None


def _base_url(serialized: Mapping[str, Any]) -> str | None:
    given = serialized.get("kwargs") or {}
    names = ("openai_api_base", "base_url", "api_base", "azure_endpoint", "endpoint_url", "anthropic_api_url")
    return next((without_credentials(given[name]) for name in names if isinstance(given.get(name), str)), None)


def _from_environment(provider: object) -> str | None:
    """The address that a client of OpenAI's takes where it was given none, until the real one is seen."""
    named = os.environ.get("OPENAI_API_BASE") or os.environ.get("OPENAI_BASE_URL")
    return _text(without_credentials(named)) if named and provider == "openai" else None


def _server_of(configured: str | None, sent_to: str) -> str | None:
    """The server that a call was really sent to; in the words of its settings where these name the same one."""
    sent = without_credentials(sent_to) if sent_to else None
    if sent is None or (configured and urlsplit(configured).netloc.lower() == urlsplit(sent).netloc.lower()):
        return configured
    return _text(sent)


def _attempt(call: ObservedCall, provider: str) -> int:
    """How many requests were sent; a client that cannot be watched is taken to have sent one."""
    if call.requests or (call.watched and "openai" in provider):
        return call.requests
    return 1


def _has_summary(prompt: list[dict[str, Any]]) -> bool:
    return any(message.get("summary") for message in prompt[:3])


def _estimate(*texts: str | None) -> int:
    """A file that is sent inside a prompt counts as an image does, not as text."""
    files = sum(len(pattern.findall(text)) for text in texts if text for pattern in (_INLINE_FILE, NOTE))
    return files * _TOKENS_OF_A_FILE + sum(estimate_tokens(_INLINE_FILE.sub("", text)) for text in texts if text)


def _ms(began: float, then: float | None) -> float | None:
    return None if then is None else round(max(then - began, 0.0) * 1000, 3)


def _text(value: object, most: int = 500) -> str | None:
    return None if value is None or value == "" else fit_text(str(value)[: 2 * most])[:most]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e300 else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**31 else None


def _plain(value: Any) -> Any:
    """The value as JSON holds it; a schema given as a class is shown by its schema."""
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return json.loads(json.dumps(_with_text_keys(value), ensure_ascii=False, default=_describe))


def _describe(value: Any) -> Any:
    schema: Callable[[], Any] | None = getattr(value, "model_json_schema", None)
    try:
        return schema() if callable(schema) else str(value)
    except Exception:  # noqa: BLE001 - a schema of a strange make is shown by its name
        return repr(value)


def _with_text_keys(value: Any) -> Any:
    """The same with every key as text, as JSON wants it."""
    if isinstance(value, Mapping):
        return {str(key): _with_text_keys(item) for key, item in value.items()}
    return [_with_text_keys(item) for item in value] if isinstance(value, (list, tuple)) else value
