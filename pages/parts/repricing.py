"""Pricing past calls anew on the page of prices: what would change is shown before anything is appended."""

from datetime import date, timedelta

import streamlit as st

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.pricing.repricing import Repricing, preview_repricing, reprice
from core.errors import SkeinError
from core.skein import Skein
from core.tables import ModelPrice
from pages.parts import gate, state
from pages.parts.days import midnight, today
from pages.parts.figures import counted, dollars
from pages.parts.price_tables import change_rows, model_names
from pages.parts.text import plain

APPENDED = "prices.appended"  # one sentence about the corrections just made
CONFLICT = "prices.conflict"  # one sentence about why calls could not be priced anew
PREVIEW = "prices.preview"  # what was chosen to be priced anew, and what that would change
_MONEY = st.column_config.NumberColumn(format="$%.6g")
_Shown = tuple[CallFilter, Repricing]


def forget_preview() -> None:
    """Let the page show no preview: it would no longer fit."""
    state.take(PREVIEW)


def draw_repricing(viewer: Viewer, skein: Skein, prices: list[ModelPrice]) -> None:
    """Choose calls, see what they would cost by the prices of now, and append the corrections."""
    st.subheader("Price past calls anew")
    st.caption(
        "What a call's row says never changes: a correction is appended, with who made it and when. A call that "
        "nothing prices now keeps its cost."
    )
    with st.form("prices.repricing"):
        first, last, names = st.columns([1, 1, 2])
        since = first.date_input(
            "From", value=today() - timedelta(days=30), format="YYYY-MM-DD", key="prices.since"
        )
        until = last.date_input("Up to and including", value=today(), format="YYYY-MM-DD", key="prices.until")
        models = names.multiselect(
            "Models",
            model_names(prices),
            accept_new_options=True,
            placeholder="All models",
            key="prices.models",
        )
        if st.form_submit_button("Preview", key="prices.preview_button"):
            _preview(viewer, skein, _wanted(since, until, models))
    if notice := state.take(APPENDED):
        st.success(notice)
    if problem := state.take(CONFLICT):
        st.error(plain(problem))
    if shown := state.get(PREVIEW):
        _draw_preview(viewer, skein, shown)


def _preview(viewer: Viewer, skein: Skein, wanted: CallFilter) -> None:
    gate.leave()
    try:
        with st.spinner("Pricing the calls of that time…"):
            state.put(PREVIEW, (wanted, preview_repricing(viewer, skein.database, wanted)))
    except SkeinError as error:
        forget_preview()
        state.put(CONFLICT, str(error))


def _draw_preview(viewer: Viewer, skein: Skein, shown: _Shown) -> None:
    _, found = shown
    looked_at = counted(found.looked_at, "call")
    if not found.changing:
        st.info(f"{looked_at} looked at: all of them cost what they would cost now.")
        return
    st.markdown(
        f"**{counted(found.changing, 'call')}** of {looked_at} would cost something else: "
        f"{dollars(found.cost_after)} instead of {dollars(found.cost_before)}".replace("$", r"\$")
        + (f", and {found.newly_priced:,} of them had no price before." if found.newly_priced else ".")
    )
    money = dict.fromkeys(("Cost before", "Cost after", "Change"), _MONEY)
    st.dataframe(change_rows(found), hide_index=True, column_config=money, key="prices.changes")
    if st.button(f"Append {counted(found.changing, 'correction')}", key="prices.append", type="primary"):
        _append(viewer, skein, shown)


def _append(viewer: Viewer, skein: Skein, shown: _Shown) -> None:
    """Whoever leaves the page stops it between two batches; a new preview shows what is left."""
    wanted, found = shown
    gate.leave()
    forget_preview()
    bar = st.progress(0.0, "Checking that the preview still fits…")

    def progress(done: int, total: int) -> None:
        bar.progress(min(done / total, 1.0), f"{done:,} of {total:,} corrections appended")

    try:
        done = reprice(viewer, skein.database, wanted, expected=found, progress=progress)
    except SkeinError as error:
        state.put(CONFLICT, str(error))
        st.rerun()
    state.put(APPENDED, f"{counted(done, 'correction')} appended.")
    st.rerun()


def _wanted(since: date | None, until: date | None, models: list[str]) -> CallFilter:
    return CallFilter(
        since=midnight(since) if since else None,
        until=midnight(until + timedelta(days=1)) if until else None,
        models=tuple(models),
    )
