"""Pricing past calls anew on the page of prices: what would change is shown before anything is appended."""

from datetime import timedelta

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.pricing.repricing import Repricing, preview_repricing, reprice
from core.skein import Skein
from core.tables import ModelPrice
from pages.parts.admin.price_tables import change_rows, model_names
from pages.parts.ui import state
from pages.parts.ui.days import midnight, today
from pages.parts.ui.format import counted, dollars
from pages.parts.ui.long_action import do_with_bar
from pages.parts.ui.text import plain_lines

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
        first.date_input("From", value=today() - timedelta(days=30), format="YYYY-MM-DD", key="prices.since")
        last.date_input("Up to and including", value=today(), format="YYYY-MM-DD", key="prices.until")
        names.multiselect(
            "Models",
            model_names(prices),
            accept_new_options=True,
            placeholder="All models",
            key="prices.models",
        )
        st.form_submit_button("Preview", key="prices.preview_button", on_click=_preview, args=(viewer, skein))
    if notice := state.take(APPENDED):
        st.success(plain_lines(notice))
    if problem := state.take(CONFLICT):
        st.error(plain_lines(problem))
    if shown := state.get(PREVIEW):
        _draw_preview(viewer, skein, shown)


def _preview(viewer: Viewer, skein: Skein) -> None:
    wanted = _wanted()
    forget_preview()
    with state.problems(CONFLICT):
        state.put(PREVIEW, (wanted, preview_repricing(viewer, skein.database, wanted)))


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
    bar = st.empty()
    st.button(
        f"Append {counted(found.changing, 'correction')}",
        key="prices.append",
        type="primary",
        on_click=_append,
        args=(viewer, skein, shown, bar),
    )


def _append(viewer: Viewer, skein: Skein, shown: _Shown, bar: DeltaGenerator) -> None:
    """Append what was previewed; a new preview shows what is left, if anything is."""
    wanted, found = shown
    forget_preview()
    with state.problems(CONFLICT):
        done = do_with_bar(
            bar,
            lambda report: reprice(viewer, skein.database, wanted, expected=found, progress=report),
            noun="correction",
            begin="Checking that the preview still fits…",
        )
        state.put(APPENDED, f"{counted(done, 'correction')} appended.")


def _wanted() -> CallFilter:
    """The calls that the form says."""
    since, until = state.get("prices.since"), state.get("prices.until")
    return CallFilter(
        since=midnight(since) if since else None,
        until=midnight(until + timedelta(days=1)) if until else None,
        models=tuple(state.get("prices.models") or ()),
    )
