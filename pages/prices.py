"""Prices: what models cost, own prices over the public list, and pricing past calls anew."""

from typing import Any

import streamlit as st

from core.access.viewer import Viewer
from core.calls.pricing.own_prices import add_price, end_price, list_prices
from core.calls.pricing.rates import list_name
from core.errors import SkeinError
from core.skein import Skein
from core.tables import ModelPrice
from pages.parts.admin.price_tables import open_own, price_label, price_rows
from pages.parts.admin.repricing import draw_repricing, forget_preview
from pages.parts.ui import state
from pages.parts.ui.days import midnight, today
from pages.parts.ui.guard import require_admin
from pages.parts.ui.resources import get_skein
from pages.parts.ui.text import plain_lines

NOTICE = "prices.notice"  # one sentence about what was just done
REFUSED = "prices.refused"  # one sentence about why a price could not be entered
NOT_ENDED = "prices.not_ended"  # one sentence about why a price could not be ended
FIELDS = ("model", "base_url", "provider", "note")
RATES = ("input_usd", "output_usd", "cache_read_usd", "cache_write_usd")
_LABELS = ("Input", "Output", "Cache read", "Cache write")


def main() -> None:
    viewer = require_admin()
    skein = get_skein()
    st.title("Prices")
    st.caption(
        "US dollars per million tokens. Own prices count before those of the public list "
        f"({list_name()}, kept on this machine); a call that neither prices stays unpriced."
    )
    if notice := state.take(NOTICE):
        st.success(plain_lines(notice))
    with skein.database.read() as db:
        prices = list_prices(viewer, db)
    _draw_table(prices)
    enter, end = st.columns([3, 2], gap="large")
    with enter:
        _draw_enter(viewer, skein)
    with end:
        _draw_end(viewer, skein, prices)
    draw_repricing(viewer, skein, prices)


def _draw_table(prices: list[ModelPrice]) -> None:
    if not prices:
        st.info("No price is in use yet: list prices appear here once a call was billed by them.")
        return
    money = st.column_config.NumberColumn(format="$%.6g")
    moment = st.column_config.DatetimeColumn(format="localized")
    st.dataframe(
        price_rows(prices),
        hide_index=True,
        column_config={**dict.fromkeys(_LABELS, money), "Valid from": moment, "Ended": moment},
        placeholder="–",
        key="prices.table",
    )


def _draw_enter(viewer: Viewer, skein: Skein) -> None:
    st.subheader("Enter a price")
    with st.form("prices.enter"):
        st.text_input(
            "Model", key="prices.model", max_chars=300, help="A name may end in *, for all that begin so."
        )
        st.text_input(
            "Server's address",
            key="prices.base_url",
            max_chars=300,
            placeholder="Any server",
            help="The base URL of the models' server, like https://models.example.org/v1.",
        )
        st.text_input("Provider", key="prices.provider", max_chars=300, placeholder="Any provider")
        for column, name, label in zip(st.columns(4), RATES, _LABELS, strict=True):
            column.number_input(label, key=f"prices.{name}", value=None, min_value=0.0, step=0.01, format="%.6g")
        st.date_input("Valid from", key="prices.valid_from", value=today(), format="YYYY-MM-DD")
        st.text_input("Note", key="prices.note", max_chars=300)
        st.form_submit_button(
            "Enter price", key="prices.add", type="primary", on_click=_enter, args=(viewer, skein)
        )
        if problem := state.take(REFUSED):
            st.error(plain_lines(problem))


def _enter(viewer: Viewer, skein: Skein) -> None:
    """Only before the rerun can the fields be emptied: after a success they are, else all typed stays."""
    typed: dict[str, Any] = {name: state.get(f"prices.{name}") or "" for name in FIELDS}
    typed |= {name: state.get(f"prices.{name}") for name in RATES}
    day = state.get("prices.valid_from") or today()
    try:
        add_price(viewer, skein.database, valid_from=midnight(day), **typed)
    except SkeinError as error:
        state.put(REFUSED, str(error))
        return
    for name in FIELDS:
        state.put(f"prices.{name}", "")
    for name in RATES:
        state.put(f"prices.{name}", None)
    forget_preview()
    state.put(NOTICE, f"The price of {typed['model'].strip()} counts from now on; past calls keep their cost.")


def _draw_end(viewer: Viewer, skein: Skein, prices: list[ModelPrice]) -> None:
    st.subheader("End a price")
    ending = open_own(prices)
    if not ending:
        st.caption("There is no own price that could end.")
        return
    st.caption("Calls that begin from now on are no longer billed by it.")
    price_id = st.selectbox(
        "Own price", list(ending), format_func=lambda key: price_label(ending[key]), key="prices.ending"
    )
    # The button is the chosen price's own: a choice that went away meanwhile must not end another price.
    st.button("End price", key=f"prices.end.{price_id}", on_click=_end, args=(viewer, skein, ending[price_id]))
    if problem := state.take(NOT_ENDED):
        st.error(plain_lines(problem))


def _end(viewer: Viewer, skein: Skein, price: ModelPrice) -> None:
    with state.problems(NOT_ENDED):
        end_price(viewer, skein.database, price.price_id)
        forget_preview()
        state.put(NOTICE, f"The price of {price.model} has ended.")


main()
