"""Prices and what pricing anew would change, as rows of tables. Pure functions; nothing here draws."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from core.calls.pricing.prices import OWN
from core.calls.pricing.repricing import Repricing
from core.tables import ModelPrice

_ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
# A column of the table, the row's own rate, and how the public list calls that rate.
_RATES = (
    ("Input", "input_usd", "input_mtok"),
    ("Output", "output_usd", "output_mtok"),
    ("Cache read", "cache_read_usd", "cache_read_mtok"),
    ("Cache write", "cache_write_usd", "cache_write_mtok"),
)


def price_rows(prices: Sequence[ModelPrice]) -> list[dict[str, Any]]:
    """One row for each price; of rates with tiers the first, and the others in words."""
    return [
        {
            "Model": price.model,
            "Server": where_it_holds(price),
            **{column: _rate(price, own, listed) for column, own, listed in _RATES},
            "Valid from": None if price.valid_from == _ALWAYS else price.valid_from,
            "Ended": price.ended_at,
            "Source": price.source,
            "Note": price.note or conditions(price.rates),
        }
        for price in prices
    ]


def where_it_holds(price: ModelPrice) -> str:
    """The server a price is for, or the provider, or any."""
    return " · ".join(part for part in (price.provider, price.base_url) if part) or "any"


def conditions(rates: dict[str, Any]) -> str:
    """What else a listed price depends on: the length of the input, the hour of the day."""
    tiers = rates.get("input_mtok")
    parts = [
        f"${tier['price']:g} in above {tier['start']:,} tokens"
        for tier in (tiers["tiers"] if isinstance(tiers, dict) else [])
    ]
    return ", ".join([*parts, *([rates["daily"]] if "daily" in rates else [])])


def price_label(price: ModelPrice) -> str:
    """One own price among others, in a line."""
    usd = " / ".join("–" if usd is None else f"${usd:g}" for usd in (price.input_usd, price.output_usd))
    return f"{price.model} · {where_it_holds(price)} · {usd} · {price.valid_from:%Y-%m-%d}"


def open_own(prices: Sequence[ModelPrice]) -> dict[str, ModelPrice]:
    """The own prices that have not ended, by id."""
    return {price.price_id: price for price in prices if price.source == OWN and price.ended_at is None}


def model_names(prices: Sequence[ModelPrice]) -> list[str]:
    """The models that have a price of their own or in the list."""
    return sorted({price.model for price in prices if not price.model.endswith("*")})


def change_rows(found: Repricing) -> list[dict[str, Any]]:
    """One row for each model whose calls would cost something else."""
    return [
        {
            "Model": one.model or "(no name)",
            "Calls": one.calls,
            "Newly priced": one.newly_priced,
            "Cost before": one.cost_before,
            "Cost after": one.cost_after,
            "Change": one.cost_after - one.cost_before,
        }
        for one in found.models
    ]


def _rate(price: ModelPrice, own: str, listed: str) -> float | None:
    usd: float | None = getattr(price, own)
    tiers = price.rates.get(listed)
    return float(tiers["base"]) if usd is None and isinstance(tiers, dict) else usd
