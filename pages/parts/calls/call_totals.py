"""The totals above the charts of the Calls page, and how they changed against the window before.

Invariant: what is not known is said to be so: without all prices a cost is "at least", a share of
nothing is none.
"""

from dataclasses import dataclass

import streamlit as st

from core.calls.panels.analytics import Totals
from pages.parts.calls.call_url import CUSTOM, WINDOWS, Place
from pages.parts.ui.format import change, count, counted, milliseconds, share, total_cost


def draw_totals(totals: Totals, earlier: Totals | None, place: Place) -> None:
    with st.container(horizontal=True, gap="small", key="calls_totals"):
        for figure in figures_of(totals, earlier):
            st.metric(
                figure.label,
                figure.value,
                delta=figure.change,
                delta_color=figure.color,  # type: ignore[arg-type]
                border=True,
                width="stretch",
                height="stretch",
                help=figure.help,
            )
    before_it = "time as long" if place.window == CUSTOM else WINDOWS[place.window][0].lower()
    notes = [f"Changes are against the {before_it} before."] if earlier and earlier.calls else []
    if totals.unpriced:
        notes.append(f"{counted(totals.unpriced, 'call')} without a price: the cost is at least this much.")
    if totals.running:
        notes.append(f"{counted(totals.running, 'call')} running now.")
    if totals.cache_hits:
        notes.append(f"{counted(totals.cache_hits, 'answer')} from a cache, in no other figure.")
    if totals.estimated:
        notes.append(f"{counted(totals.estimated, 'call')} without usage from the model, with estimated tokens.")
    if notes:
        st.caption(" ".join(notes))


@dataclass(frozen=True)
class Figure:
    """A total with its unit, and its change against the window before."""

    label: str
    value: str
    change: str | None
    color: str
    help: str


def figures_of(totals: Totals, earlier: Totals | None) -> list[Figure]:
    """The totals in words; more of what is bad is red, more of what is neither is gray."""
    rate, coverage = _ratio(totals.errors, totals.calls), _ratio(totals.attributed, totals.calls)
    tokens = totals.input_tokens + totals.output_tokens
    before = earlier if earlier and earlier.calls else None
    return [
        Figure(
            "Calls",
            count(totals.calls),
            change(totals.calls, before and before.calls),
            "off",
            "LLM calls that have ended",
        ),
        Figure(
            "Cost",
            total_cost(totals.cost_usd, calls=totals.calls, unpriced=totals.unpriced),
            change(totals.cost_usd, before and before.cost_usd),
            "inverse",
            "US dollars, by the prices that held when each call was made",
        ),
        Figure(
            "Tokens",
            count(tokens),
            change(tokens, before and before.input_tokens + before.output_tokens),
            "off",
            f"{count(totals.input_tokens)} read, {count(totals.cache_read_tokens)} of them from a cache; "
            f"{count(totals.output_tokens)} written",
        ),
        Figure(
            "Errors",
            share(totals.errors, totals.calls),
            _points(rate, before and _ratio(before.errors, before.calls)),
            "inverse",
            f"{count(totals.errors)} calls failed",
        ),
        Figure(
            "p95 duration",
            milliseconds(totals.p95_ms),
            change(totals.p95_ms, before and before.p95_ms),
            "inverse",
            "95 of 100 calls took no longer; within 2%",
        ),
        Figure(
            "Coverage",
            share(totals.attributed, totals.calls),
            _points(coverage, before and _ratio(before.attributed, before.calls)),
            "normal",
            f"{count(totals.calls - totals.attributed)} calls could not be attributed to a run. Each request to a "
            "model server that Skein saw leave counts, by LangChain or without it",
        ),
    ]


def _ratio(part: float, whole: float) -> float:
    return 100 * part / whole if whole else 0.0


def _points(now: float, before: float | None) -> str | None:
    """A change of a percentage, in points; None for none."""
    return None if before is None or abs(now - before) < 0.05 else f"{now - before:+.1f} pts"
