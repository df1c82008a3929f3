"""Own prices: an admin enters them and lets them end.

A row of ``model_price`` is never changed but by saying when it ended, so that a call's ``price_id`` tells for ever
what it was billed by. A price that was wrong is mended by another one that holds from the same moment on, and by
re-pricing (``core/calls/pricing/repricing.py``). Invariant: each of these deeds leaves a row in ``activity``.
"""

import math
from datetime import datetime
from typing import Any

from sqlmodel import Session as Db
from sqlmodel import select

from core.access.viewer import Viewer
from core.calls.pricing.prices import OWN, USD_COLUMNS, refresh_prices
from core.calls.pricing.rates import plain_address
from core.database import Database, upsert
from core.errors import BadInputError, NotFoundError
from core.history.activity import record
from core.ids import PriceId, new_price_id
from core.settings import DEMO_MODEL
from core.tables import ModelPrice, utc_now

_LONGEST = 300
_DEAREST = 1_000_000.0


def list_prices(viewer: Viewer, db: Db) -> list[ModelPrice]:
    """All prices: own ones first, each kind by model and the newest first."""
    viewer.require_admin()
    rows = db.exec(select(ModelPrice)).all()
    newest_first = sorted(rows, key=lambda row: (row.valid_from, row.price_id), reverse=True)
    return sorted(newest_first, key=lambda row: (row.source != OWN, row.model, row.source))


def add_price(
    viewer: Viewer,
    database: Database,
    *,
    model: str,
    provider: str = "",
    base_url: str = "",
    valid_from: datetime,
    input_usd: float | None,
    output_usd: float | None,
    cache_read_usd: float | None = None,
    cache_write_usd: float | None = None,
    note: str = "",
) -> PriceId:
    """Enter an own price, in US dollars per million tokens; a model's name may end in ``*``."""
    viewer.require_admin()
    price_id = new_price_id()
    row: dict[str, Any] = {
        "price_id": price_id,
        "provider": _short("provider", provider).lower(),
        "base_url": _address(base_url),
        "model": _model(model),
        "valid_from": _moment(valid_from),
        **_usd(input_usd, output_usd, cache_read_usd, cache_write_usd),
        "rates": {},
        "source": OWN,
        "note": note.strip()[:_LONGEST],
        "created_by": viewer.user_id,
        "created_at": utc_now(),
        "ended_at": None,
    }

    def job(db: Db) -> None:
        upsert(db, ModelPrice, [row])
        record(db, viewer, "price.add", target_id=price_id)

    database.write(job)
    refresh_prices(database)
    return price_id


def end_price(viewer: Viewer, database: Database, price_id: str) -> None:
    """Let an own price hold no longer, from now on; calls that began before keep it."""
    viewer.require_admin()
    database.write(lambda db: _end(db, viewer, price_id))
    refresh_prices(database)


def _end(db: Db, viewer: Viewer, price_id: str) -> None:
    row = db.get(ModelPrice, price_id)
    if row is None:
        raise NotFoundError("There is no such price; it may be of another database.")
    if row.source != OWN:
        raise BadInputError("This price comes from the public list; add an own price, which counts before it.")
    if row.ended_at is not None:
        raise BadInputError("This price has ended already.")
    row.ended_at = utc_now()
    record(db, viewer, "price.end", target_id=price_id)


def _short(name: str, text: str) -> str:
    if len(text.strip()) > _LONGEST:
        raise BadInputError(f"The {name} is too long; {_LONGEST} characters are the most.")
    return text.strip()


def _model(text: str) -> str:
    model = _short("model's name", text)
    if not model:
        raise BadInputError("Please name the model that the price is for; a name may end in *.")
    if model == DEMO_MODEL:
        raise BadInputError("The offline demo model is always free: please name a model of a server.")
    if "*" in model[:-1]:
        raise BadInputError("A * can only stand at the end of a model's name, for all that begin like it.")
    return model


def _address(text: str) -> str:
    if not text.strip():
        return ""
    address = plain_address(_short("server's address", text))
    if not address.startswith(("http://", "https://")) or "@" in address:
        raise BadInputError(
            "The server's address must look like https://models.example.org/v1, without a password."
        )
    return address


def _moment(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise BadInputError("The moment from which a price holds needs a time zone.")
    return moment


def _usd(*given: float | None) -> dict[str, float | None]:
    """The four rates by their columns."""
    if given[0] is None and given[1] is None:
        raise BadInputError("Please give a price for input or output tokens, in dollars per million.")
    for number in given:
        if number is not None and not (math.isfinite(number) and 0 <= number <= _DEAREST):
            raise BadInputError(f"A price must be a number from 0 to {_DEAREST:,.0f} dollars per million tokens.")
    return dict(zip(USD_COLUMNS, given, strict=True))
