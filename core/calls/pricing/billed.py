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
_IN_DETAILS = {"audio_tokens": "{}_audio_tokens", "image_tokens": "{}_image_tokens"}
_IN_LANGCHAINS = {"audio": "{}_audio_tokens", "image": "{}_image_tokens"}
_FOR_AN_HOUR = {"ephemeral_1h_input_tokens": "cache_write_1h_tokens"}
_PLACES = {
    "prompt_tokens_details": {key: name.format("input") for key, name in _IN_DETAILS.items()},
    "completion_tokens_details": {key: name.format("output") for key, name in _IN_DETAILS.items()},
    "input_tokens_details": {key: name.format("input") for key, name in _IN_DETAILS.items()},
    "output_tokens_details": {key: name.format("output") for key, name in _IN_DETAILS.items()},
    "input_token_details": {key: name.format("input") for key, name in _IN_LANGCHAINS.items()} | _FOR_AN_HOUR,
    "output_token_details": {key: name.format("output") for key, name in _IN_LANGCHAINS.items()},
    "cache_creation": _FOR_AN_HOUR,
    "server_tool_use": {"web_search_requests": "web_searches"},
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
_TOLD_IN = _PLACES.keys() | _LISTS.keys() | {"web_search_calls"}
_USUAL_SPEEDS = {None, *STANDARD_TIERS}


def read_billed(
    reports: Sequence[Reported],
    around: Sequence[Reported],
    message: BaseMessage | None,
    count: Callable[[object], int | None],
) -> dict[str, Any]:
    """What these reports of a usage tell, and what stands around them; of each thing what was told first.

    ``count`` gives a value that is a count, and else None. This is asked of every call, and so looks only where
    there is something.
    """
    found: dict[str, Any] = {}
    for reported in reports:
        for outer in _TOLD_IN & reported.keys():
            for name, value in _counts_in(outer, reported[outer]):
                if number := count(value):
                    found.setdefault(name, number)
    if searches := _searches_in(message):
        found.setdefault("web_searches", searches)
    for name, value in _served_as(reports, around):
        if isinstance(value, str) and value:
            found.setdefault(name, value.lower()[:40])
    return found


def _counts_in(outer: str, told: Any) -> Iterator[tuple[str, object]]:
    """What stands in one place of a usage, by the names of the list."""
    if outer == "web_search_calls":
        yield "web_searches", told
    elif isinstance(told, dict):
        for inner, name in _PLACES.get(outer, {}).items():
            if inner in told:
                yield name, told[inner]
    elif isinstance(told, list) and outer in _LISTS:
        sums: dict[str, int] = {}
        for entry in told:
            modality = _MODALITIES.get(str(entry.get("modality"))) if isinstance(entry, dict) else None
            tokens = entry.get("tokenCount", entry.get("token_count")) if modality else None
            if modality and isinstance(tokens, int):
                sums[modality] = sums.get(modality, 0) + tokens
        for modality, tokens in sums.items():
            yield _LISTS[outer].format(modality), tokens


def _served_as(reports: Sequence[Reported], around: Sequence[Reported]) -> Iterator[tuple[str, object]]:
    for reported in (*around, *reports):
        yield "service_tier", reported.get("service_tier") or reported.get("serviceTier")
    for reported in reports:
        if reported.get("speed") not in _USUAL_SPEEDS:
            yield "speed", reported.get("speed")
        details = reported.get("input_token_details")
        if isinstance(details, dict):
            for tier in ("priority", "flex"):
                if details.get(tier) is not None:
                    yield "service_tier", tier


def _searches_in(message: BaseMessage | None) -> int:
    """How often a message says that its server searched the web, where its usage does not."""
    content = getattr(message, "content", None)
    searches = 0
    for block in content if isinstance(content, list) else ():
        if isinstance(block, Mapping):
            is_tool = block.get("type") == "server_tool_use" and block.get("name") == "web_search"
            searches += is_tool or block.get("type") == "web_search_call"
    return searches
