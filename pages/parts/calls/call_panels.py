"""The panels of the Calls page: totals and charts of what the filter wants; choosing in a chart narrows the page.

Invariant: a choice is taken once. It goes into the address, and the chart begins a new round with nothing chosen,
so that taking the chip away is enough to undo it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st
from altair.utils.schemapi import debug_mode

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels import analytics
from core.calls.panels.analytics import Totals
from core.calls.text.search import matching
from core.calls.where import where_of
from core.errors import SkeinError
from core.skein import Skein
from pages.parts.calls import charts
from pages.parts.calls.call_filters import go
from pages.parts.calls.call_totals import draw_totals
from pages.parts.calls.call_url import BY, DEFAULT_WINDOW, TIMES, TOPS, Place, before, narrowed_by
from pages.parts.ui import state
from pages.parts.ui.chart_parts import PICK
from pages.parts.ui.format import count
from pages.parts.ui.text import plain_lines

_MEASURES = {"cost": "cost_usd", "calls": "calls", "errors": "errors"}
_TOP_ROWS = 8
_MOST_FOUND = 10_000


@dataclass(frozen=True)
class _Figures:
    """All that the panels show, read in one session; ``found`` is how many calls a search gave, None without."""

    totals: Totals
    earlier: Totals | None
    series: pd.DataFrame
    latency: pd.DataFrame
    histogram: pd.DataFrame
    errors: pd.DataFrame
    top: pd.DataFrame
    heat: pd.DataFrame
    found: int | None


def _read(skein: Skein, viewer: Viewer, place: Place) -> _Figures:
    wanted, tz, earlier = place.wanted, place.tz, before(place)
    with skein.database.read() as db:
        ids = None
        if wanted.text:
            ids = matching(
                viewer, db, wanted.text, wanted=wanted, conditions=where_of(wanted, viewer, tz), limit=_MOST_FOUND
            )
            earlier = None
        series = analytics.read_series(
            viewer, db, wanted, tz, "hour" if place.step.days < 1 else "day", call_ids=ids
        )
        which = "ttft" if place.times == "first-token" else "duration"
        return _Figures(
            totals=analytics.read_totals(viewer, db, wanted, tz, call_ids=ids),
            earlier=analytics.read_totals(viewer, db, earlier, tz) if earlier else None,
            series=series,
            latency=analytics.read_latency(viewer, db, wanted, tz, call_ids=ids),
            histogram=analytics.read_histogram(viewer, db, wanted, tz, which, call_ids=ids),
            errors=analytics.read_errors(viewer, db, wanted, tz, call_ids=ids),
            top=analytics.read_top(
                viewer, db, wanted, tz, _TOP_BY[_tops(viewer, place)[0]], limit=_TOP_ROWS, call_ids=ids
            ),
            heat=analytics.read_heat(viewer, db, wanted, tz, call_ids=ids),
            found=None if ids is None else len(ids),
        )


_TOP_BY: dict[str, analytics.TopBy] = {"users": "user", "sessions": "session", "models": "model", "nodes": "node"}


def draw_panels(skein: Skein, viewer: Viewer, place: Place) -> bool:
    """Totals and charts; without a call, what to do about that. True when there is any."""
    try:
        figures = _read(skein, viewer, place)
    except SkeinError as error:
        st.warning(plain_lines(str(error)), icon=":material/info:")
        return False
    if not figures.totals.calls + figures.totals.running:
        _draw_nothing(place)
        return False
    draw_totals(figures.totals, figures.earlier, place)
    _draw_found(figures)
    if figures.totals.calls:
        # The tests check the charts against Vega-Lite's schema; to do so for each viewer doubles what they cost.
        with debug_mode(False):
            _draw_charts(figures, viewer, place)
    return True


def _draw_charts(figures: _Figures, viewer: Viewer, place: Place) -> None:
    _draw_over_time(figures, place)
    left, right = st.columns(2, gap="small")
    with left:
        _draw_tokens(figures, place)
        _draw_latency(figures, place)
        _draw_top(figures, viewer, place)
    with right:
        _draw_errors(figures)
        _draw_histogram(figures, place)
        _draw_heat(figures, place)


def _draw_found(figures: _Figures) -> None:
    if figures.found == _MOST_FOUND:
        st.caption(f"The panels are about the newest {count(_MOST_FOUND)} calls with this text.")


def _draw_nothing(place: Place) -> None:
    if place.narrowed != CallFilter():
        sentence = "No call is like that in this window. Widen the window, or take a filter away."
    elif place.window in {"all", DEFAULT_WINDOW}:
        sentence = "No calls yet. Ask something in a chat, and each call to a model will be counted here."
    else:
        sentence = "No calls in this window. Choose a longer one."
    st.info(sentence, icon=":material/analytics:")


@contextmanager
def _card(title: str, options: tuple[str, ...] = (), name: str = "", value: str = "") -> Iterator[None]:
    """A panel with its title and, at the right of it, what can be chosen about it."""
    with st.container(border=True, gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            with st.container(width="stretch"):
                st.markdown(f"**{title}**")
            if options:
                key = f"{state.CALLS_WIDGET}{name}"
                state.put(key, value)
                st.segmented_control(
                    title,
                    options,
                    format_func=lambda option: option.replace("-", " ").capitalize(),
                    key=key,
                    required=True,
                    label_visibility="collapsed",
                    on_change=lambda: go({name: [state.get(key)]}),
                )
        yield


def _draw_chart(name: str, chart: alt.TopLevelMixin, alt_text: str, **how: Any) -> None:
    key = f"{state.CALLS_PICK}{name}.{state.get(state.CALLS_ROUND) or 0}"
    st.altair_chart(chart, key=key, on_select=partial(_narrow, key, how), selection_mode=PICK, alt=alt_text)  # type: ignore[call-overload]


def _narrow(key: str, how: dict[str, Any]) -> None:
    """Take what was chosen into the address, once."""
    chosen = state.get(key)["selection"].get(PICK) or []
    state.put(state.CALLS_ROUND, (state.get(state.CALLS_ROUND) or 0) + 1)
    if chosen:
        go(narrowed_by(chosen[0], **how))


def _draw_over_time(figures: _Figures, place: Place) -> None:
    measure = _MEASURES[place.by]
    with _card("Over time, by model", BY, "by", place.by):
        if not figures.series[measure].any():
            st.caption(_NOTHING_OVER_TIME[place.by])
            return
        chart = charts.over_time(figures.series, measure=measure, step=place.step, tz=place.tz, span=place.span)
        _draw_chart("series", chart, f"{place.by} over time by model")


_NOTHING_OVER_TIME = {
    "cost": "Nothing was to pay: the calls in this window are free or have no price. An admin can enter prices.",
    "calls": "No call has ended in this window.",
    "errors": "No call failed in this window.",
}


def _draw_tokens(figures: _Figures, place: Place) -> None:
    with _card("Tokens over time"):
        if not figures.series[["input_tokens", "output_tokens"]].any(axis=None):
            st.caption("No tokens were counted in this window.")
            return
        chart = charts.tokens_over_time(figures.series, step=place.step, tz=place.tz, span=place.span)
        _draw_chart("tokens", chart, "Tokens read, cached and written over time")


def _draw_errors(figures: _Figures) -> None:
    with _card("Errors, by class and node"):
        if figures.errors.empty:
            st.caption(":material/check_circle: No call failed in this window.")
            return
        _draw_chart("errors", charts.errors(figures.errors), "Failed calls by class and node")


def _draw_latency(figures: _Figures, place: Place) -> None:
    first_token = place.times == "first-token"
    column = "ttft_p50_ms" if first_token else "p50_ms"
    with _card("Latency, by model", TIMES, "times", place.times):
        if not figures.latency[column].notna().any():
            st.caption("No call was streamed in this window." if first_token else "No call has ended yet.")
            return
        chart = charts.latency(figures.latency, first_token=first_token)
        _draw_chart(f"latency.{place.times}", chart, "p50, p95 and p99 by model")
        st.caption("Half, 95 and 99 of 100 calls took no longer; within 2%.")


def _draw_histogram(figures: _Figures, place: Place) -> None:
    first_token = place.times == "first-token"
    with _card("How long the first token took" if first_token else "How long calls took"):
        if figures.histogram.empty:
            st.caption("No call has ended in this window.")
            return
        chart = charts.histogram(figures.histogram)
        if first_token:  # the filter knows no such time
            st.altair_chart(chart, key="calls.first_tokens", alt="How many first tokens took how long")
        else:
            _draw_chart("histogram", chart, "How many calls took how long")


def _tops(viewer: Viewer, place: Place) -> tuple[str, tuple[str, ...]]:
    """What leads is shown, and what else could be; who sees only their own calls is not asked which user's."""
    options = TOPS if viewer.reads_all else TOPS[1:]
    return (place.top if place.top in options else options[0]), options


def _draw_top(figures: _Figures, viewer: Viewer, place: Place) -> None:
    shown, options = _tops(viewer, place)
    measure = "cost_usd" if figures.top["cost_usd"].any() else "calls"
    with _card("Top by cost" if measure == "cost_usd" else "Top by calls", options, "top", shown):
        if figures.top.empty:
            st.caption("No calls in this window.")
            return
        chart = charts.top(figures.top, measure=measure)
        _draw_chart(f"top.{shown}", chart, f"{shown} by cost", top=shown)


def _draw_heat(figures: _Figures, place: Place) -> None:
    with _card("When, by weekday and hour"):
        _draw_chart("heat", charts.heat(figures.heat), "Calls by weekday and hour")
        st.caption(f"Calls in each hour of the week, {place.tz.key}.")
