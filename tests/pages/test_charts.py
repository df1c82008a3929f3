"""The charts of the Calls page as pure functions: what is drawn, what can be chosen, and nothing from nothing."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import pytest

from pages.parts.calls import charts
from pages.parts.ui.chart_parts import slots, spanned

HOUR = timedelta(hours=1)
BEGIN = datetime(2026, 11, 1, 23, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def series(*models: str, hours: int = 2) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "at": BEGIN + number * HOUR,
                "model": model,
                "calls": 10 - place,
                "errors": 1,
                "cost_usd": 0.5,
                "unpriced": 0,
                "input_tokens": 100,
                "output_tokens": 10,
                "cache_read_tokens": 40,
            }
            for number in range(hours)
            for place, model in enumerate(models)
        ]
    )


LATENCY = pd.DataFrame(
    [
        {
            "model": model,
            "calls": calls,
            "p50_ms": 100.0,
            "p95_ms": 900.0,
            "p99_ms": 4_000.0,
            "ttft_p50_ms": 20.0,
            "ttft_p95_ms": None,
            "ttft_p99_ms": None,
        }
        for model, calls in (("small", 3), ("big", 9))
    ]
)
HISTOGRAM = pd.DataFrame([{"from_ms": 100.0, "to_ms": 104.0, "calls": 7}])
ERRORS = pd.DataFrame(
    [
        {"error_type": "RateLimitError", "node": "agent", "calls": 3},
        {"error_type": "RateLimitError", "node": "", "calls": 1},
        {"error_type": "APITimeoutError", "node": "agent", "calls": 9},
    ]
)
TOP = pd.DataFrame(
    [
        {
            "key": f"user_{number}",
            "label": label,
            "calls": 10,
            "errors": 1,
            "cost_usd": cost,
            "unpriced": unpriced,
            "tokens": 99,
        }
        for number, (label, cost, unpriced) in enumerate([("ada", 1.0, 0), ("ada", 3.0, 4), ("", 0.0, 10)])
    ]
)
HEAT = pd.DataFrame([{"weekday": 2, "hour": 9, "calls": 5, "cost_usd": 0.25, "errors": 1}])
Draw = Callable[[pd.DataFrame], Any]
ALL: dict[str, tuple[Draw, pd.DataFrame, set[str]]] = {
    "cost over time": (
        lambda frame: charts.over_time(frame, measure="cost_usd", step=HOUR, tz=SHANGHAI),
        series("big", "small"),
        {"slot", "until", "model"},
    ),
    "tokens over time": (
        lambda frame: charts.tokens_over_time(frame, step=HOUR, tz=SHANGHAI),
        series("big", "small"),
        {"slot", "until"},
    ),
    "latency": (charts.latency, LATENCY, {"model"}),
    "histogram": (charts.histogram, HISTOGRAM, {"from_ms", "to_ms"}),
    "errors": (charts.errors, ERRORS, {"error_type", "node"}),
    "top": (charts.top, TOP, {"key"}),
    "heat": (charts.heat, HEAT, {"weekday", "hour"}),
}


def spec(chart: Any) -> dict[str, Any]:
    return chart.to_dict()


def rows(chart: Any) -> list[dict[str, Any]]:
    return [row for data in spec(chart)["datasets"].values() for row in data]


class TestEveryChart:
    @pytest.mark.parametrize("name", ALL)
    def test_what_can_be_chosen_is_in_its_rows(self, name: str):
        draw, frame, fields = ALL[name]
        chart = draw(frame)
        picks = [param for param in spec(chart)["params"] if param["name"] == "pick"]
        assert [set(pick["select"]["fields"]) for pick in picks] == [fields]
        assert all(fields <= row.keys() for row in rows(chart))

    @pytest.mark.parametrize("name", ALL)
    def test_a_frame_without_rows_makes_a_chart_without_rows(self, name: str):
        draw, frame, _ = ALL[name]
        assert [row for row in rows(draw(frame.head(0))) if row] == []

    @pytest.mark.parametrize("name", ALL)
    def test_the_frame_it_was_given_stays_as_it_was(self, name: str):
        draw, frame, _ = ALL[name]
        before = frame.copy(deep=True)
        draw(frame)
        pd.testing.assert_frame_equal(frame, before)


class TestOverTime:
    def test_a_bar_stands_where_the_viewers_clock_says(self):
        shown = slots(series("big", hours=1), SHANGHAI, HOUR)
        assert shown["at"].tolist() == [pd.Timestamp("2026-11-02 07:00")]
        assert shown["ends"].tolist() == [pd.Timestamp("2026-11-02 08:00")]
        assert shown["when"].tolist() == ["Mon 02 Nov, 07:00"]

    def test_its_slot_is_the_moment_in_utc(self):
        assert slots(series("big", hours=1), SHANGHAI, HOUR)["slot"].tolist() == ["2026-11-01T23:00:00+00:00"]

    def test_an_hour_that_the_clocks_show_twice_is_one_bar_of_both(self):
        berlin = ZoneInfo("Europe/Berlin")
        at = pd.date_range("2026-10-24T23:00Z", periods=4, freq="h").tz_convert(berlin)
        shown = slots(pd.DataFrame({"at": at, "calls": 1}), berlin, HOUR)
        assert shown["at"].dt.hour.tolist() == [1, 2, 2, 3]
        assert (shown["ends"] - shown["at"] == HOUR).all()
        assert [moment[11:16] for moment in shown["slot"]] == ["23:00", "00:00", "00:00", "02:00"]
        assert [moment[11:16] for moment in shown["until"]] == ["00:00", "02:00", "02:00", "03:00"]

    def test_a_day_ends_at_the_viewers_midnight_also_when_clocks_are_changed(self):
        berlin = ZoneInfo("Europe/Berlin")
        frame = series("big", hours=1).assign(at=[datetime(2026, 10, 24, 22, tzinfo=UTC)])
        shown = slots(frame, berlin, timedelta(days=1))
        assert shown["until"].tolist() == ["2026-10-25T23:00:00+00:00"]
        assert shown["when"].tolist() == ["Sun 25 Oct 2026"]

    def test_the_axis_shows_the_whole_window_though_nothing_happened_at_its_ends(self):
        span = (BEGIN - 5 * HOUR, BEGIN + 5 * HOUR)
        shown = spanned(series("big", hours=1), span, HOUR)
        assert sorted(shown["at"]) == [BEGIN - 5 * HOUR, BEGIN, BEGIN + 4 * HOUR]
        assert shown["calls"].sum() == 10

    def test_models_beyond_the_colours_are_taken_together_and_cannot_be_chosen(self):
        frame = series(*(f"m{number}" for number in range(10)), hours=1)
        folded, names = charts.fold_models(frame)
        assert names == ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "3 other models"]
        assert folded["cost_usd"].sum() == frame["cost_usd"].sum()
        assert folded[folded["name"] == "3 other models"]["model"].isna().tolist() == [True]

    def test_a_call_without_a_model_is_named_so(self):
        assert charts.fold_models(series("big", ""))[1] == ["big", "(no model)"]

    def test_tokens_from_a_cache_are_counted_once(self):
        shown = rows(charts.tokens_over_time(series("big", hours=1), step=HOUR, tz=SHANGHAI))
        assert {row["kind"]: row["tokens"] for row in shown} == {"Read": 60, "Cached": 40, "Written": 10}


class TestTheOthers:
    def test_the_most_used_model_stands_first(self):
        layers = spec(charts.latency(LATENCY))["layer"]
        assert layers[0]["encoding"]["y"]["sort"] == ["big", "small"]

    def test_a_percentile_that_is_not_known_is_not_drawn(self):
        shown = rows(charts.latency(LATENCY, first_token=True))
        assert [(row["model"], row["of"]) for row in shown] == [("big", "p50"), ("small", "p50")]

    def test_errors_stand_by_how_often_they_came(self):
        assert spec(charts.errors(ERRORS))["encoding"]["y"]["sort"] == ["APITimeoutError", "RateLimitError"]

    def test_nodes_beyond_the_colours_are_taken_together_and_cannot_be_chosen(self):
        many = pd.DataFrame([{"error_type": "Error", "node": f"n{n}", "calls": 20 - n} for n in range(10)])
        shown = {row["of"]: (row["node"], row["calls"]) for row in rows(charts.errors(many))}
        assert (len(shown), shown["n0"], shown["other nodes"]) == (8, ("n0", 20), (None, 13 + 12 + 11))

    def test_two_of_one_name_are_told_apart_and_unknown_cost_is_no_zero(self):
        shown = rows(charts.top(TOP))
        assert [(row["name"], row["cost"]) for row in shown] == [
            ("ada (er_1)", "at least $3.00"),
            ("ada (er_0)", "$1.00"),
            ("(none)", "unpriced"),
        ]

    def test_a_cell_says_when_it_is(self):
        assert [(row["at"], row["said"]) for row in rows(charts.heat(HEAT, measure="cost_usd"))] == [
            ("Wed 09:00", "$0.25")
        ]
