"""What a call costs, and by which price: own prices first, then the public list, else the call is unpriced.

An own price is for a server, or any, and for a model, or all whose names begin alike; of those that held when the
call began, the most specific one counts (the server first, then the name, then the provider), and of equally
specific ones the newest. The list is matched by the server's address, so that a model called gpt-4o on somebody's
own server is not billed as OpenAI's. Invariant: a call's ``price_id`` names the row of ``model_price`` that it was
billed by, and unknown is never zero.
"""

import re
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, cast
from weakref import WeakSet

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.calls.pricing.rates import (
    ListedModel,
    ListPrice,
    Rate,
    Rates,
    find_listed,
    list_name,
    plain_address,
    served_as,
)
from core.calls.pricing.usage import Usage
from core.database import Database, table_of, upsert
from core.errors import OutageError
from core.ids import new_price_id
from core.tables import ModelPrice, canonical_json, utc_now

DEMO_PROVIDER = "skein-demo"
OWN = "own"
REREAD_SECONDS = 30.0
USD_COLUMNS = ("input_usd", "output_usd", "cache_read_usd", "cache_write_usd")
_MODELS_KEPT = 1024
_PRICES = table_of(ModelPrice).select()
log = structlog.get_logger()


@dataclass(frozen=True)
class Cost:
    """What a call cost in US dollars, by which row of ``model_price``, and where that price came from."""

    cost_usd: float | None
    price_id: str | None
    cost_source: str


UNCHARGED = frozenset({"refused", "cache"})
"""Why a call cost nothing, whatever its model's price: no model saw it, or a cache of ours answered."""
FREE = Cost(0.0, None, "free")
UNPRICED = Cost(None, None, "unpriced")


class _OwnPrice(NamedTuple):
    price_id: str
    valid_from: datetime
    ended_at: datetime | None
    rates: Rates

    def holds(self, at: datetime) -> bool:
        return self.valid_from <= at and (self.ended_at is None or at < self.ended_at)


class _Book:
    """The own prices as they stood at one reading; ``find`` remembers which of them a model may fall under."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self._rows = sorted((row for row in rows if row.source == OWN), key=_specificity, reverse=True)
        self.find = lru_cache(maxsize=_MODELS_KEPT)(self._find)

    def _find(self, provider: str, base_url: str, model: str) -> tuple[list[_OwnPrice], ListedModel | None]:
        address = plain_address(base_url)
        own = [_own_price(row) for row in self._rows if _is_for(row, provider, address, model)]
        return own, find_listed(provider, base_url, model)


class Prices:
    """Prices of one database; safe to ask from any thread, and quick enough to ask for every call.

    What was entered elsewhere counts after at most ``REREAD_SECONDS``, what was entered in this process at once.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._book: _Book | None = None
        self._reread_at = 0.0
        self._list_ids: dict[tuple[Any, ...], str] = {}
        self._unsaved: dict[str, tuple[dict[str, Any], Future[None]]] = {}
        _open.add(self)

    def cost_of(
        self, *, provider: str | None, base_url: str | None, model: str | None, at: datetime, usage: Usage | None
    ) -> Cost:
        """What a call that began at this moment costs; unpriced unless all that it used has a price."""
        if provider == DEMO_PROVIDER and not base_url:
            return FREE
        if usage is None or not model:
            return UNPRICED
        own, listed = self._current_book().find(provider or "", base_url or "", model)
        for one in own:
            if one.holds(at):
                # What it is for is the usual service: that of another tier is not known.
                usd = None if served_as(usage.billed) else one.rates.cost_of(usage)
                return UNPRICED if usd is None else Cost(usd, one.price_id, OWN)
        price = None if listed is None else listed.at(at, usage.billed)
        return UNPRICED if price is None else self._listed_cost(price, usage)

    def cost_of_call(self, row: Mapping[str, Any]) -> Cost:
        """What the call of a row costs, whether it has just ended or is priced anew.

        It is priced by the model that answered, where that is known; in the name of the one that was asked for only
        where the answer's name is that one with a date. Nothing is billed that a row says cost nothing.
        """
        if row["cost_source"] in UNCHARGED:
            return Cost(0.0, None, row["cost_source"])
        asked, answered = row["model"], row["response_model"]
        usage = Usage.of_row(row)
        of_answered = self._cost_by(row, answered or asked, usage)
        if not answered or answered == asked or not asked:
            return of_answered
        if of_answered.cost_source == OWN:
            return of_answered
        if of_answered.cost_usd is None and not is_dated_name(answered, asked):
            return UNPRICED
        of_asked = self._cost_by(row, asked, usage)
        if of_asked.cost_source == OWN or of_answered.cost_usd is None:
            return of_asked
        return of_answered

    def _cost_by(self, row: Mapping[str, Any], model: str | None, usage: Usage) -> Cost:
        return self.cost_of(
            provider=row["provider"], base_url=row["base_url"], model=model, at=row["created_at"], usage=usage
        )

    def refresh(self) -> None:
        """Read the own prices again before the next call is priced."""
        self._reread_at = 0.0

    def uses(self, database: Database) -> bool:
        """Whether these are the prices of this database."""
        return self._database is database

    def _listed_cost(self, price: ListPrice, usage: Usage) -> Cost:
        usd = price.rates.cost_of(usage)
        return UNPRICED if usd is None else Cost(usd, self._id_of(price), list_name())

    def _current_book(self) -> _Book:
        book = self._book
        if book is None or time.monotonic() >= self._reread_at:
            with self._lock:
                if self._book is None or time.monotonic() >= self._reread_at:
                    self._read_book()
                book = self._book
        return cast(_Book, book)

    def _read_book(self) -> None:
        """Read all prices; when the database cannot be asked, those known already hold a while longer."""
        self._reread_at = time.monotonic() + REREAD_SECONDS
        try:
            with self._database.read() as db:
                rows = db.connection().execute(_PRICES).all()
        except (SQLAlchemyError, OutageError):
            if self._book is None:
                self._reread_at = 0.0
                raise
            log.warning("prices_not_read_again")
            return
        for row in rows:
            self._list_ids.setdefault(_list_key(row), row.price_id)
        self._book = _Book(rows)

    def _id_of(self, price: ListPrice) -> str:
        """The row that keeps this price of the list; it is added when there is none yet."""
        key = (list_name(), price.provider, price.model, price.valid_from, price.as_json)
        price_id = self._list_ids.get(key)
        if price_id is None or self._unsaved:
            with self._lock:
                self._save_again()
                price_id = self._list_ids.get(key)
                if price_id is None:
                    price_id = self._list_ids[key] = self._add(price)
        return price_id

    def _add(self, price: ListPrice) -> str:
        row = _list_row(price)
        self._save(row)
        return str(row["price_id"])

    def _save(self, row: dict[str, Any]) -> None:
        """Queue the row without waiting: it is committed before, or with, whatever is written after it."""
        self._unsaved[row["price_id"]] = (row, self._database.submit(lambda db: upsert(db, ModelPrice, [row])))

    def _save_again(self) -> None:
        """Forget the rows that are saved by now, and queue anew those that could not be."""
        for price_id, (row, saved) in list(self._unsaved.items()):
            if saved.done():
                del self._unsaved[price_id]
                if saved.exception() is not None:
                    self._save(row)


_open: "WeakSet[Prices]" = WeakSet()


def prices_of(database: Database) -> Prices:
    """The prices of this database that are open already, else new ones."""
    return next((prices for prices in list(_open) if prices.uses(database)), None) or Prices(database)


def refresh_prices(database: Database) -> None:
    """Let all prices of this database that are open in this process be read again before they are used."""
    for prices in list(_open):
        if prices.uses(database):
            prices.refresh()


_DATE = re.compile(r"[-@:_](?:\d{8}|\d{6}|\d{4}|\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{2}-\d{4}|\d{3}|latest)$")


def is_dated_name(answered: str, asked: str) -> bool:
    """Whether a model answered in the name of the one that was asked, with the date or number of its edition."""
    names = [name.lower().removeprefix("models/").removesuffix(":latest") for name in (answered, asked)]
    return names[0] == names[1] or _DATE.sub("", names[0]) == names[1]


def _specificity(row: Any) -> tuple[Any, ...]:
    exact = not row.model.endswith("*")
    return (bool(row.base_url), exact, len(row.model), bool(row.provider), row.valid_from, row.price_id)


def _is_for(row: Any, provider: str, address: str, model: str) -> bool:
    if row.base_url and row.base_url != address:
        return False
    if row.provider and row.provider != provider.lower():
        return False
    return bool(model.startswith(row.model[:-1]) if row.model.endswith("*") else model == row.model)


def _own_price(row: Any) -> _OwnPrice:
    usd = [getattr(row, name) for name in USD_COLUMNS]
    given = [None if number is None else Rate(number) for number in usd]
    return _OwnPrice(row.price_id, row.valid_from, row.ended_at, Rates(given[0], given[1], given[2], given[3]))


def _list_key(row: Any) -> tuple[Any, ...]:
    return (row.source, row.provider, row.model, row.valid_from, canonical_json(row.rates))


def _list_row(price: ListPrice) -> dict[str, Any]:
    kinds = ("input", "output", "cache_read", "cache_write")
    rates = [getattr(price.rates, kind) for kind in kinds]
    plain = [None if rate is None or rate.tiers else rate.usd for rate in rates]
    return {
        "price_id": new_price_id(),
        "provider": price.provider,
        "base_url": "",
        "model": price.model,
        "valid_from": price.valid_from,
        **dict(zip(USD_COLUMNS, plain, strict=True)),
        "rates": price.listed,
        "source": list_name(),
        "note": "",
        "created_by": None,
        "created_at": utc_now(),
        "ended_at": None,
    }
