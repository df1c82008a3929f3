"""How many tokens a call used, read from what its provider reported, in one convention for all of them.

The convention is OpenAI's: ``input_tokens`` include those read from a cache and those written to one, and
``output_tokens`` include reasoning. Providers that report such tokens beside the others have them added, so that
each token is counted once. Invariant: every number was reported; what was not is None, and nothing is guessed.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from langchain_core.messages import BaseMessage

from core.calls.pricing.billed import read_billed

Reported = Mapping[str, Any]


@dataclass(frozen=True)
class Usage:
    """Token counts of one call; cached tokens are a part of the input, reasoning is a part of the output.

    ``billed`` is what else changes its price, as ``read_billed`` names it.
    """

    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    billed: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> "Usage":
        """The usage that a call's row tells."""
        counts = {name: row[name] for name in USAGE_COLUMNS}
        return cls(**counts, billed=(row["params"] or {}).get("billed") or {})


@dataclass(frozen=True)
class _Shape:
    """Where one family of providers puts its counts: keys, with dots into nested objects.

    Of ``cache_read``, ``cache_write`` and ``reasoning`` the first that is there counts. ``more_input`` and
    ``more_output`` are what the provider counts beside its input and output.
    """

    input: str
    output: str
    cache_read: tuple[str, ...] = ()
    cache_write: tuple[str, ...] = ()
    reasoning: tuple[str, ...] = ()
    more_input: tuple[str, ...] = ()
    more_output: tuple[str, ...] = ()


USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
_ANTHROPIC_CACHE = ("cache_read_input_tokens", "cache_creation_input_tokens")
_STANDARD = _Shape(
    "input_tokens",
    "output_tokens",
    tuple(f"input_token_details.{tier}cache_read" for tier in ("", "priority_", "flex_")),
    tuple(f"input_token_details.{tier}cache_creation" for tier in ("", "priority_", "flex_")),
    tuple(f"output_token_details.{tier}reasoning" for tier in ("", "priority_", "flex_")),
)
_ANTHROPIC = _Shape(
    "input_tokens",
    "output_tokens",
    _ANTHROPIC_CACHE[:1],
    _ANTHROPIC_CACHE[1:],
    ("output_tokens_details.thinking_tokens",),
    more_input=_ANTHROPIC_CACHE,
)
_RESPONSES = _Shape(
    "input_tokens",
    "output_tokens",
    ("input_tokens_details.cached_tokens",),
    (
        "input_tokens_details.cache_write_tokens",
        "input_tokens_details.cache_creation_tokens",
        "input_tokens_details.cache_creation",
        "cache_creation",
    ),
    ("output_tokens_details.reasoning_tokens",),
)
_CHAT_COMPLETIONS = _Shape(
    "prompt_tokens",
    "completion_tokens",
    (
        "prompt_tokens_details.cached_tokens",
        "prompt_cache_hit_tokens",
        "cached_tokens",
        "cache_read_input_tokens",
    ),
    (
        "prompt_tokens_details.cache_write_tokens",
        "prompt_tokens_details.cache_creation_tokens",
        "prompt_tokens_details.cache_creation",
        "cache_creation_input_tokens",
        "cache_creation_tokens",
        "cache_creation",
    ),
    ("completion_tokens_details.reasoning_tokens", "reasoning_tokens"),
)
_GEMINI = _Shape(
    "promptTokenCount",
    "candidatesTokenCount",
    ("cachedContentTokenCount",),
    reasoning=("thoughtsTokenCount",),
    more_input=("toolUsePromptTokenCount",),
    more_output=("thoughtsTokenCount",),
)
_GEMINI_SNAKE = _Shape(
    "prompt_token_count",
    "candidates_token_count",
    ("cached_content_token_count",),
    reasoning=("thoughts_token_count",),
    more_input=("tool_use_prompt_token_count",),
    more_output=("thoughts_token_count",),
)
_CONVERSE_CACHE = ("cacheReadInputTokens", "cacheWriteInputTokens")
_CONVERSE = _Shape(
    "inputTokens", "outputTokens", _CONVERSE_CACHE[:1], _CONVERSE_CACHE[1:], more_input=_CONVERSE_CACHE
)
_BEDROCK_CACHE = ("cacheReadInputTokenCount", "cacheWriteInputTokenCount")
_BEDROCK = _Shape(
    "inputTokenCount", "outputTokenCount", _BEDROCK_CACHE[:1], _BEDROCK_CACHE[1:], more_input=_BEDROCK_CACHE
)
_OLLAMA = _Shape("prompt_eval_count", "eval_count")
_OTHERS = (_CHAT_COMPLETIONS, _GEMINI, _GEMINI_SNAKE, _CONVERSE, _BEDROCK, _OLLAMA)

_PLACES = (
    "token_usage",
    "usage",
    "usage_metadata",
    "usageMetadata",
    "x_groq.usage",
    "amazon-bedrock-invocationMetrics",
)
_TOTALS = ("total_tokens", "totalTokenCount", "total_token_count", "totalTokens")
_WRITTEN_BY_AGE = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")


def read_usage(
    message: BaseMessage | None, llm_output: Reported | None, *, whole: Reported | None = None
) -> Usage | None:
    """What the provider reported for a call; None when it reported nothing that can be used.

    ``whole`` is what it repeated while it answered, which the message then holds added up.
    """
    standard = whole or getattr(message, "usage_metadata", None)
    usage = _read_counts(standard, message, llm_output)
    if usage is None:
        return None
    around = [one for one in (getattr(message, "response_metadata", None), llm_output) if isinstance(one, dict)]
    reports = [standard] if isinstance(standard, dict) else []
    for source in around:
        reports += [report for place in _PLACES if isinstance(report := _at(source, place), dict)]
        reports.append(source)
    billed = read_billed(reports, around, message, _count)
    return replace(usage, billed=billed) if billed else usage


def _read_counts(standard: object, message: BaseMessage | None, llm_output: Reported | None) -> Usage | None:
    usage = _read_standard(standard) if isinstance(standard, Mapping) else None
    if usage is not None and None not in (usage.cache_read_tokens, usage.reasoning_tokens):
        written = usage.cache_write_tokens or _written_by_raw(message, llm_output)
        return usage if written is None else replace(usage, cache_write_tokens=written)
    raw = _read_raw(message, llm_output)
    if usage is None or raw is None:
        return usage or raw
    if not usage.input_tokens and not usage.output_tokens:
        return raw
    return _with_details(usage, raw)


_CJK = re.compile("[\u2e80-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]+")


def estimate_tokens(text: str) -> int:
    """About how many tokens a text is: one for four characters, or for one Chinese, Japanese or Korean one.

    It knows no model's vocabulary: prose is usually met within a third, code and other scripts may be off by half.
    """
    wide = 0 if text.isascii() else sum(map(len, _CJK.findall(text)))
    return wide + (len(text) - wide + 3) // 4


def _read_standard(reported: Reported) -> Usage | None:
    """LangChain's own shape; some providers' cache writes stand there by how long they are kept."""
    usage = _read_shape(reported, _STANDARD)
    if usage is None or usage.cache_write_tokens:
        return usage
    by_age = _written_by_age({"cache_creation": reported.get("input_token_details")})
    return usage if by_age is None else replace(usage, cache_write_tokens=by_age)


def _written_by_age(reported: Reported) -> int | None:
    """What was written to a cache, where that is told by how long it is kept."""
    details = reported.get("cache_creation")
    if not isinstance(details, Mapping):
        return None
    by_age = [count for key in _WRITTEN_BY_AGE if (count := _count(details.get(key))) is not None]
    return sum(by_age) if by_age else None


def _read_raw(message: BaseMessage | None, llm_output: Reported | None) -> Usage | None:
    for source in (getattr(message, "response_metadata", None), llm_output):
        for reported in _reports(source):
            if usage := _read_report(reported):
                return usage
    return None


def _reports(source: object) -> Iterator[Reported]:
    """Where a report may stand in what a provider sent along, the likeliest place first."""
    if isinstance(source, Mapping):
        found = [*(_at(source, place) for place in _PLACES), source]
        yield from (reported for reported in found if isinstance(reported, Mapping))


def _read_report(reported: Reported) -> Usage | None:
    """Tell the shape by its keys: three families call their counts ``input_tokens``, and mean different things."""
    if "input_tokens" not in reported and "output_tokens" not in reported:
        return next((usage for shape in _OTHERS if (usage := _read_shape(reported, shape))), None)
    if any(key in reported for key in _ANTHROPIC_CACHE):
        return _read_shape(reported, _ANTHROPIC)
    if "input_token_details" in reported or "output_token_details" in reported:
        return _read_standard(reported)
    return _read_shape(reported, _RESPONSES)


def _read_shape(reported: Reported, shape: _Shape) -> Usage | None:
    read = _first(reported, shape.cache_read)
    reasoning = _first(reported, shape.reasoning)
    taken = _count(_at(reported, shape.input))
    said = _count(_at(reported, shape.output))
    more_said = sum(_count(_at(reported, key)) or 0 for key in shape.more_output)
    if taken is not None:
        taken += sum(_count(_at(reported, key)) or 0 for key in shape.more_input)
    if said is not None or more_said:
        said = (said or 0) + more_said
    if taken is None and said is None:
        return None
    if _is_beside(reported, taken, said, reasoning):
        said = (said or 0) + (reasoning or 0)
    written = _first(reported, shape.cache_write)
    return Usage(taken, said, read, _written_by_age(reported) if written is None else written, reasoning)


def _is_beside(reported: Reported, taken: int | None, said: int | None, reasoning: int | None) -> bool:
    """Whether reasoning is not in the output, by the provider's own total: xAI counts it apart."""
    total = _first(reported, _TOTALS)
    return bool(reasoning) and total is not None and total == (taken or 0) + (said or 0) + (reasoning or 0)


def _written_by_raw(message: BaseMessage | None, llm_output: Reported | None) -> int | None:
    """What a report in OpenAI's form says was written to a cache, which LangChain leaves out."""
    for source in (getattr(message, "response_metadata", None), llm_output):
        report = source.get("token_usage") if isinstance(source, dict) else None
        if isinstance(report, dict):
            written = _first(report, _CHAT_COMPLETIONS.cache_write)
            return _written_by_age(report) if written is None else written
    return None


def _with_details(usage: Usage, raw: Usage) -> Usage:
    """Fill in the details that LangChain left out, where both tell of the same tokens."""
    if (usage.input_tokens, usage.output_tokens) != (raw.input_tokens, raw.output_tokens):
        return usage
    names = ("cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
    return replace(usage, **{name: getattr(raw, name) for name in names if getattr(usage, name) is None})


def _first(reported: Reported, paths: tuple[str, ...]) -> int | None:
    return next((count for path in paths if (count := _count(_at(reported, path))) is not None), None)


def _at(reported: Reported, path: str) -> object:
    found: object = reported
    for key in _keys_of(path):
        if not isinstance(found, (dict, Mapping)):  # a dict is told at once, which an abstract class is not
            return None
        found = found.get(key)
        if found is None:
            return None
    return found


@lru_cache(maxsize=1_000)
def _keys_of(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _count(value: object) -> int | None:
    """The value if it is a count; booleans, fractions, texts, negative and impossibly large numbers are none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**30 else None
