"""What tokens cost: the arithmetic of one price, and the list of public prices that comes with Skein.

Rates are US dollars per million tokens. A rate may have tiers, by the size of the input: once it is longer than a
tier's start, all tokens have that tier's rate. Invariant: what has no rate is not counted as nothing: a call that
used it has no price. The list is the installed ``genai-prices``; nothing is ever asked over the network.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache, lru_cache
from importlib.metadata import version
from re import match
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from core.calls.pricing.billed import STANDARD_TIERS
from core.calls.pricing.usage import Usage
from core.tables import canonical_json

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_MODELS_KEPT = 1024
_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
_MILLION = 1_000_000
# How LangChain names providers where that is not the list's own name. A name that merely resembles one is no match.
_LANGCHAIN_NAMES = {
    "amazon_bedrock": "aws",
    "anthropic_bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "azure_openai": "azure",
    "google_anthropic_vertex": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "together_ai": "together",
    "xai": "x-ai",
}


# What is billed at rates of its own, and how the list names these.
BILLED_APART = {
    "input_audio_tokens": "input_audio_mtok",
    "output_audio_tokens": "output_audio_mtok",
    "cache_audio_read_tokens": "cache_audio_read_mtok",
    "input_image_tokens": "input_image_mtok",
    "output_image_tokens": "output_image_mtok",
    "cache_write_1h_tokens": "cache_write_1h_mtok",
    "web_searches": "web_searches_kcount",
}


@dataclass(frozen=True)
class Rate:
    """Dollars per million tokens; ``tiers`` are ``(input longer than, dollars)``, the shortest first."""

    usd: float
    tiers: tuple[tuple[int, float], ...] = ()

    def of(self, input_tokens: int) -> float:
        """The rate that holds for an input of this length."""
        usd = self.usd
        for start, tier in self.tiers:
            usd = tier if input_tokens > start else usd
        return usd


@dataclass(frozen=True)
class Rates:
    """The rates of one price; cached tokens and reasoning without a rate of their own are as input and output."""

    input: Rate | None = None
    output: Rate | None = None
    cache_read: Rate | None = None
    cache_write: Rate | None = None
    reasoning: Rate | None = None
    request_usd: float = 0.0
    more: Mapping[str, Rate] = field(default_factory=dict)
    """Of what a usage bills beside its tokens, by its name: dollars for a million of each."""

    def cost_of(self, usage: Usage) -> float | None:
        """Dollars, rounded to ten decimals; None where a count is missing or something used has no rate."""
        taken, said = usage.input_tokens, usage.output_tokens
        if taken is None or said is None:
            return None
        total = 0.0
        for tokens, rate in self._parts(usage, taken, said):
            if tokens < 0 or (tokens and rate is None):
                return None
            if rate is not None:
                total += tokens * rate.of(taken)
        return round(total / _MILLION + self.request_usd, 10)

    def _parts(self, usage: Usage, taken: int, said: int) -> list[tuple[int, Rate | None]]:
        """Each token once, and all else that is billed, with the rate it has."""
        read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
        thought = (usage.reasoning_tokens or 0) if self.reasoning else 0
        parts: list[tuple[int, Rate | None]] = []
        plain, said_plainly = taken - read - written, said - thought
        if usage.billed:
            billed = {name: usage.billed.get(name) or 0 for name in BILLED_APART}
            if "input_image_tokens" not in self.more:
                billed["input_image_tokens"] = 0  # a picture is then read at the rate of words
            billed["input_audio_tokens"] -= billed["cache_audio_read_tokens"]
            plain -= billed["input_audio_tokens"] + billed["input_image_tokens"]
            read -= billed["cache_audio_read_tokens"]
            written -= billed["cache_write_1h_tokens"]
            said_plainly -= billed["output_audio_tokens"] + billed["output_image_tokens"]
            parts = [(count, self.more.get(name)) for name, count in billed.items()]
        return [
            (plain, self.input),
            (read, self.cache_read or self.input),
            (written, self.cache_write or self.input),
            (said_plainly, self.output),
            (thought, self.reasoning),
            *parts,
        ]


@dataclass(frozen=True)
class ListPrice:
    """A price of the list: whose it is, since when, its rates to reckon with and as the list has them."""

    provider: str
    model: str
    valid_from: datetime
    rates: Rates
    listed: dict[str, Any] = field(hash=False, compare=False)
    as_json: str


@dataclass(frozen=True, eq=False)
class ListedModel:
    """A model that is in the list, with its prices of all times; ``is_own``: of its provider's own list."""

    provider: str
    info: "ModelInfo"
    is_own: bool
    _prices: dict[int, ListPrice] = field(default_factory=dict)

    def at(self, moment: datetime, billed: Mapping[str, Any] | None = None) -> ListPrice | None:
        """The price that holds at this moment for what was billed; None where the list has none for such a tier."""
        standard = self.info.get_prices(moment)
        found = self._prices.get(id(standard))  # the list keeps its prices, so an id is never another one's
        if found is None:
            found = self._prices[id(standard)] = self._read(standard)
        context = served_as(billed) if billed else {}
        return found if not context else self._variant(found, moment, context)

    def _read(self, price: "ModelPrice") -> ListPrice:
        listed, valid_from = _plain(price), _ALWAYS
        for one in self.info.prices if isinstance(self.info.prices, list) else ():
            if one.prices is price and one.constraint is not None:
                valid_from = _first_moment(one.constraint)
                listed |= _daily(one.constraint)
        return ListPrice(self.provider, self.info.id, valid_from, _rates(price), listed, canonical_json(listed))

    def _variant(self, standard: ListPrice, moment: datetime, context: dict[str, str]) -> ListPrice | None:
        """The price of a tier: each thing that the context says must be known to the list."""
        known: set[str] = set()
        valid_from = standard.valid_from
        for variant in (self.info.price_variants or ()) if self.is_own else ():
            holds = variant.constraint is None or variant.constraint.active(moment)
            if holds and variant.when.items() <= context.items():
                known |= variant.when.keys()
                if variant.constraint is not None:
                    valid_from = max(valid_from, _first_moment(variant.constraint))
        if known != context.keys():
            return None
        price = self.info.get_prices(moment, context)
        listed = _plain(price) | {"when": context}
        return ListPrice(self.provider, self.info.id, valid_from, _rates(price), listed, canonical_json(listed))


@cache
def list_name() -> str:
    """The list's name and version, as a call's ``cost_source`` has it."""
    return f"genai-prices {version('genai-prices')}"


@lru_cache(maxsize=_MODELS_KEPT)
def find_listed(provider: str, base_url: str, model: str) -> ListedModel | None:
    """The model as the list has it for this server or, without a server's address, for this provider."""
    seller = _by_address(base_url) if base_url else _by_name(provider)
    info = seller and seller.find_model(model, all_providers=_providers())
    if not seller or not info:
        return None
    return ListedModel(seller.id, info, any(info is model for model in seller.models))


@cache
def _providers() -> "list[Provider]":
    # Here, not at the top: reading the list takes a third of a second, and the demo model needs none of it.
    from genai_prices.data import providers  # noqa: PLC0415

    return providers


def _by_name(provider: str) -> "Provider | None":
    wanted = provider.strip().lower()
    wanted = _LANGCHAIN_NAMES.get(wanted, wanted)
    return next((seller for seller in _providers() if seller.id == wanted), None)


def _by_address(base_url: str) -> "Provider | None":
    address = plain_address(base_url)
    return next((seller for seller in _providers() if _is_at(seller.api_pattern, address)), None)


def _is_at(pattern: str, address: str) -> bool:
    """Whether the pattern matches whole parts of the address: api.openai.com.example.org is somebody else's."""
    found = match(pattern, address)
    if found is None:
        return False
    rest = address[found.end() :]
    return not rest or rest[0] in "/:?" or found[0].endswith(("/", "."))


def plain_address(base_url: str) -> str:
    """An address as addresses are compared here: its host in small letters, no slash at its end; "" for none."""
    try:
        parts = urlsplit(base_url.strip())
    except ValueError:
        return ""
    return f"{parts.scheme.lower()}://{parts.netloc.lower()}{parts.path.rstrip('/')}" if parts.netloc else ""


def _rates(price: "ModelPrice") -> Rates:
    per_thousand = price.requests_kcount
    return Rates(
        _rate(price.input_mtok),
        _rate(price.output_mtok),
        _rate(price.cache_read_mtok),
        _rate(price.cache_write_mtok),
        _rate(price.output_reasoning_mtok),
        float(per_thousand) / 1000 if isinstance(per_thousand, Decimal) else 0.0,
        {name: rate for name, key in BILLED_APART.items() if (rate := _more_rate(price, key)) is not None},
    )


def _more_rate(price: "ModelPrice", key: str) -> Rate | None:
    """The rate for a million; the list tells that of searches by the thousand."""
    rate = _rate(getattr(price, key))
    return Rate(rate.usd * 1000) if rate is not None and key.endswith("_kcount") else rate


def served_as(billed: Mapping[str, Any]) -> dict[str, str]:
    """What the list must know of how a call was served, in its own words; empty where it was served as usual."""
    context = {}
    tier = billed.get("service_tier") or ""
    if tier == "batch":
        context["processing"] = "batch"
    elif tier not in STANDARD_TIERS:
        context["service_tier"] = tier
    if billed.get("speed"):
        context["speed"] = billed["speed"]
    return context


def _rate(listed: Any) -> Rate | None:
    if listed is None or isinstance(listed, Decimal):
        return None if listed is None else Rate(float(listed))
    return Rate(float(listed.base), tuple((tier.start, float(tier.price)) for tier in listed.tiers))


def _plain(price: "ModelPrice") -> dict[str, Any]:
    """The list's entry as JSON holds it: its own keys, numbers, and tiers."""
    return {key: _plain_rate(listed) for key, listed in sorted(vars(price).items()) if listed is not None}


def _plain_rate(listed: Any) -> Any:
    if isinstance(listed, Decimal):
        return float(listed)
    tiers = [{"start": tier.start, "price": float(tier.price)} for tier in listed.tiers]
    return {"base": float(listed.base), "tiers": tiers}


def _first_moment(constraint: Any) -> datetime:
    day = getattr(constraint, "start_date", None)
    return _ALWAYS if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC)


def _daily(constraint: Any) -> dict[str, str]:
    """The hours of each day in which a price holds, if it is such a one."""
    start, end = getattr(constraint, "start_time", None), getattr(constraint, "end_time", None)
    return {} if start is None or end is None else {"daily": f"{start:%H:%M}-{end:%H:%M} UTC"}
