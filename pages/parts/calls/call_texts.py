"""A call's recorded messages and times made ready to be shown: plain functions over what was kept.

Nothing here draws, and nothing trusts what it reads: texts came from people, models and tools.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.calls.listing.queries import CallDetail, CallRow
from core.calls.pricing.billed import STANDARD_TIERS
from pages.parts.ui.format import call_cost, count, milliseconds

_ROLES = {"human": "user", "ai": "assistant", "function": "tool"}
_RATES = {
    "input_usd": "read",
    "cache_read_usd": "cached",
    "cache_write_usd": "written to the cache",
    "output_usd": "written",
}
_GONE = {
    "hash": "The setting keeps only a hash of the texts, so they cannot be shown.",
    "none": "The setting keeps no texts of calls.",
    "deleted": "The texts were deleted; their hash stays in the log.",
    "pending": "The texts are not written yet.",
}


@dataclass(frozen=True)
class Said:
    """One message: who said it, the text, and what it asks of tools (or is the result of)."""

    role: str
    text: str
    note: str = ""


def read_messages(messages: Any) -> list[Said]:
    """The messages of a prompt or a response, whatever form they were recorded in."""
    if messages is None:
        return []
    if isinstance(messages, (str, dict)):
        messages = [messages]
    if not isinstance(messages, list):
        return [Said("?", _as_text(messages))]
    return [_read_message(message) for message in messages]


def _read_message(message: Any) -> Said:
    if not isinstance(message, dict):
        return Said("assistant", _as_text(message))
    role = str(message.get("role") or message.get("type") or "?")
    thought = message.get("reasoning")
    parts = [f"(reasoning) {_as_text(thought)}" if thought else "", _read_content(message.get("content"))]
    parts += [_read_tool_call(call) for call in message.get("tool_calls") or []]
    name = message.get("name") or message.get("tool_call_id") or ("summary" if message.get("summary") else "")
    return Said(_ROLES.get(role, role), "\n".join(part for part in parts if part), str(name))


def _read_content(content: Any) -> str:
    """Text as it is; of a list of parts the texts, and of others what they are."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n".join(_read_part(part) for part in content)
    return _as_text(content)


def _read_part(part: Any) -> str:
    if isinstance(part, dict) and isinstance(part.get("text"), str):
        return str(part["text"])
    return part if isinstance(part, str) else _as_text(part)


def _read_tool_call(call: Any) -> str:
    if not isinstance(call, dict):
        return _as_text(call)
    asked = call.get("function") if isinstance(call.get("function"), dict) else call
    arguments = asked.get("args", asked.get("arguments", ""))
    return f"→ {asked.get('name') or 'tool'}({arguments if isinstance(arguments, str) else _as_text(arguments)})"


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)


def why_no_texts(detail: CallDetail) -> str:
    """The sentence for a call whose texts are not there; "" when they are."""
    return "" if detail.body is not None else _GONE.get(detail.body_state, "The texts are not there.")


def status_of(row: CallRow) -> tuple[str, str, str]:
    """An icon, the words and a colour for how a call ended, or that it has not."""
    if row.status == "ok":
        return "check_circle", "ok", "green"
    if row.status == "started":
        return "progress_activity", "running", "blue"
    if row.status == "error":
        return "error", row.error_type or "error", "red"
    return ("stop_circle", "cancelled", "orange") if row.status == "cancelled" else ("link_off", "lost", "orange")


def figures_of(detail: CallDetail) -> list[tuple[str, str]]:
    """A call's figures with their units; what is not known is left out."""
    row, call = detail.row, detail.call
    estimated = " (estimated)" if row.usage_source == "estimated" else ""
    found = [
        ("Cost", "" if row.status == "started" else call_cost(row.cost_usd, row.cost_source)),
        ("Duration", milliseconds(row.duration_ms) if row.duration_ms is not None else ""),
        ("First token", milliseconds(row.ttft_ms) if row.ttft_ms is not None else ""),
        ("Read", _tokens(row.input_tokens, estimated)),
        ("Cached", _tokens(row.cache_read_tokens)),
        ("Written", _tokens(row.output_tokens, estimated)),
        ("Reasoning", _tokens(row.reasoning_tokens)),
        ("Pace", _pace(row)),
        ("Also billed", _billed(call)),
        ("Attempts", str(row.attempt) if row.attempt > 1 else ""),
        ("Queued", milliseconds(call["queue_ms"]) if (call.get("queue_ms") or 0) >= 1 else ""),
    ]
    return [(name, value) for name, value in found if value]


def _billed(call: Mapping[str, Any]) -> str:
    """What changed the price beside the tokens; a usual tier does not."""
    billed = dict((call.get("params") or {}).get("billed") or {})
    tier = billed.pop("service_tier", "")
    found = [f"{tier} tier"] if tier not in STANDARD_TIERS else []
    found += [f"{value} {name.replace('_', ' ')}" for name, value in billed.items()]
    return ", ".join(found)


def _tokens(number: int | None, note: str = "") -> str:
    return f"{count(number)} tokens{note}" if number else ""


def _pace(row: CallRow) -> str:
    """Tokens per second from the first one to the end."""
    writing = (row.duration_ms or 0) - (row.ttft_ms or 0)
    if not row.streamed or not row.output_tokens or row.ttft_ms is None or writing <= 0:
        return ""
    return f"{row.output_tokens / writing * 1000:,.0f} tokens/s"


def times_of(detail: CallDetail) -> list[tuple[str, float, float]]:
    """The stretches of a call: (name, from ms, to ms), beginning where it was queued."""
    queue = float(detail.call.get("queue_ms") or 0)
    first, whole = detail.row.ttft_ms, detail.row.duration_ms
    if whole is None:
        return []
    stretches = [("Queue", 0.0, queue)] if queue >= 1 else []
    if first is None or first > whole:
        return [*stretches, ("Answer", queue, queue + whole)]
    return [*stretches, ("First token", queue, queue + first), ("Writing", queue + first, queue + whole)]


_UNCHARGED = {
    "free": "The offline demo model is free.",
    "cache": "A cache answered, and no model: that costs nothing, and counts in no other figure.",
    "refused": "No model saw this request, so it cost nothing.",
}
_UNPRICED = "No price was known for this model, or for all that was billed of it, so the call is unpriced."


def price_of(detail: CallDetail) -> str:
    """By which price the call was billed, in words."""
    row, price = detail.row, detail.price
    if row.cost_source in _UNCHARGED:
        return _UNCHARGED[row.cost_source]
    if row.cost_source in {None, "unpriced"} or row.cost_usd is None:
        return "" if row.status == "started" else _UNPRICED
    source = "An own price" if row.cost_source == "own" else f"The public list {row.cost_source}"
    if price is None:
        return f"{source}."
    rates = [f"${price[name]:g} {said}" for name, said in _RATES.items() if price.get(name) is not None]
    since = price["valid_from"]
    return f"{source}, valid from {since:%Y-%m-%d}: {', '.join(rates)} per million tokens."
