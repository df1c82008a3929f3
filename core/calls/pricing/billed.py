"""What a provider reports beside its tokens that changes what a call costs: its tier, other tokens, searches.

The names of counts are those of the public list. Invariant: only what was reported, and is not nothing, is told.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

Reported = Mapping[str, Any]

STANDARD_TIERS = frozenset({"", "default", "standard", "auto", "on_demand"})
_MODALITIES = {"AUDIO": "audio", "IMAGE": "image", "DOCUMENT": "image"}
# By the provider's own place, in an object within its usage.
_PLACES = {
    ("prompt_tokens_details", "audio_tokens"): "input_audio_tokens",
    ("prompt_tokens_details", "image_tokens"): "input_image_tokens",
    ("completion_tokens_details", "audio_tokens"): "output_audio_tokens",
    ("completion_tokens_details", "image_tokens"): "output_image_tokens",
    ("input_tokens_details", "audio_tokens"): "input_audio_tokens",
    ("input_tokens_details", "image_tokens"): "input_image_tokens",
    ("output_tokens_details", "audio_tokens"): "output_audio_tokens",
    ("output_tokens_details", "image_tokens"): "output_image_tokens",
    ("input_token_details", "audio"): "input_audio_tokens",
    ("input_token_details", "image"): "input_image_tokens",
    ("input_token_details", "ephemeral_1h_input_tokens"): "cache_write_1h_tokens",
    ("output_token_details", "audio"): "output_audio_tokens",
    ("output_token_details", "image"): "output_image_tokens",
    ("cache_creation", "ephemeral_1h_input_tokens"): "cache_write_1h_tokens",
    ("server_tool_use", "web_search_requests"): "web_searches",
}
# Lists of tokens by modality, as Google's servers tell them, and as its packages do.
_LISTS = {
    "promptTokensDetails": "input_{}_tokens",
    "prompt_tokens_details": "input_{}_tokens",
    "candidatesTokensDetails": "output_{}_tokens",
    "candidates_tokens_details": "output_{}_tokens",
    "cacheTokensDetails": "cache_{}_read_tokens",
    "cache_tokens_details": "cache_{}_read_tokens",
}


def read_billed(
    reports: Sequence[Reported],
    around: Sequence[Reported],
    message: BaseMessage | None,
    count: Callable[[object], int | None],
) -> dict[str, Any]:
    """What these reports of a usage tell, and what stands around them; of each thing what was told first.

    ``count`` gives a value that is a count, and else None.
    """
    found: dict[str, Any] = {}
    for reported in reports:
        for name, value in _counts_in(reported):
            if number := count(value):
                found.setdefault(name, number)
    if searches := _searches_in(message):
        found.setdefault("web_searches", searches)
    for name, value in _served_as(reports, around):
        if isinstance(value, str) and value:
            found.setdefault(name, value.lower()[:40])
    return found


def _served_as(reports: Sequence[Reported], around: Sequence[Reported]) -> Iterator[tuple[str, object]]:
    for reported in (*around, *reports):
        yield "service_tier", reported.get("service_tier") or reported.get("serviceTier")
    for reported in reports:
        if reported.get("speed") not in STANDARD_TIERS:
            yield "speed", reported.get("speed")
        details = reported.get("input_token_details")
        for tier in ("priority", "flex"):
            if isinstance(details, Mapping) and details.get(tier) is not None:
                yield "service_tier", tier


def _counts_in(reported: Reported) -> Iterator[tuple[str, object]]:
    for (outer, inner), name in _PLACES.items():
        place = reported.get(outer)
        if isinstance(place, Mapping):
            yield name, place.get(inner)
    yield "web_searches", reported.get("web_search_calls")
    for key, form in _LISTS.items():
        sums: dict[str, int] = {}
        entries = reported.get(key)
        for entry in entries if isinstance(entries, list) else ():
            modality = _MODALITIES.get(str(entry.get("modality"))) if isinstance(entry, Mapping) else None
            tokens = entry.get("tokenCount", entry.get("token_count")) if modality else None
            if modality and isinstance(tokens, int):
                sums[modality] = sums.get(modality, 0) + tokens
        for modality, tokens in sums.items():
            yield form.format(modality), tokens


def _searches_in(message: BaseMessage | None) -> int:
    """How often a message says that its server searched the web, where its usage does not."""
    content = getattr(message, "content", None)
    searches = 0
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            is_tool = block.get("type") == "server_tool_use" and block.get("name") == "web_search"
            searches += is_tool or block.get("type") == "web_search_call"
    return searches
