"""The address of the Calls page, numbers in words, and a call's texts: pure functions."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from core.calls.filters import CallFilter
from pages.parts.calls.call_table import next_order
from pages.parts.calls.call_texts import Said, read_messages
from pages.parts.calls.call_url import before, narrowed_by, read_place
from pages.parts.ui import format as figures

NOW = datetime(2026, 11, 20, 10, 17, 30, tzinfo=UTC)


def read(zone: str | None = "Asia/Shanghai", **query: str | list[str]):
    lists = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    return read_place(lists, now=NOW, zone=zone)


class TestTheAddress:
    def test_without_anything_it_is_the_last_seven_days_from_a_whole_hour(self):
        place = read()
        assert (place.window, place.problems, place.is_open_ended) == ("7d", (), True)
        assert place.wanted == CallFilter(since=datetime(2026, 11, 13, 10, tzinfo=UTC))
        assert place.narrowed == CallFilter()

    @pytest.mark.parametrize(
        ("window", "since"),
        [
            ("1h", datetime(2026, 11, 20, 9, 17, tzinfo=UTC)),
            ("24h", datetime(2026, 11, 19, 10, tzinfo=UTC)),
            ("30d", datetime(2026, 10, 20, 16, tzinfo=UTC)),
            ("all", None),
        ],
    )
    def test_a_preset_begins_at_a_whole_minute_hour_or_day_of_the_viewers_zone(self, window, since):
        assert read(window=window).wanted.since == since

    def test_a_window_of_ones_own_is_closed(self):
        place = read(since="2026-11-01T00:00Z", until="2026-11-02T00:00Z", window="90d")
        assert (place.window, place.is_open_ended) == ("custom", False)
        assert place.span == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 2, tzinfo=UTC))

    def test_what_is_chosen_is_read_as_it_was_written(self):
        wanted = CallFilter(models=("gpt-4o", ""), users=("user_1",), attributed=False, hour=3, text="写诗")
        assert read(**wanted.to_query()).narrowed == wanted

    def test_a_bad_parameter_costs_a_sentence_and_the_rest_holds(self):
        place = read(models=["gpt-4o"], hour="25", window="2y", sort="best", tz="Mars/Base")
        assert [problem.split(",")[0] for problem in place.problems] == [
            "The address has hour='25'",
            "The address has tz='Mars/Base'",
            "The address has window='2y'",
            "The address has sort='best'",
        ]
        assert (place.narrowed, place.window, place.sort) == (CallFilter(models=("gpt-4o",)), "7d", "newest")

    def test_a_window_that_ends_before_it_begins_is_left_out(self):
        place = read(since="2026-11-02", until="2026-11-01")
        assert place.problems == ("The window ends before it begins; it is left out.",)
        assert place.window == "7d"

    @pytest.mark.parametrize(
        ("zone", "shown"), [(None, "UTC"), ("Nowhere/At_all", "UTC"), ("Asia/Tokyo", "Asia/Tokyo")]
    )
    def test_the_zone_is_the_browsers_as_far_as_it_is_known(self, zone, shown):
        assert read(zone).tz == ZoneInfo(shown)

    def test_the_address_names_another_zone(self):
        assert read(tz="Europe/Berlin").tz == ZoneInfo("Europe/Berlin")

    def test_the_window_before_is_as_long_and_ends_where_this_one_begins(self):
        place = read(since="2026-11-02", until="2026-11-04", models="gpt-4o")
        earlier = before(place)
        assert earlier == CallFilter(
            since=datetime(2026, 10, 31, tzinfo=UTC), until=datetime(2026, 11, 2, tzinfo=UTC), models=("gpt-4o",)
        )

    def test_all_time_has_no_window_before(self):
        assert before(read(window="all")) is None


class TestWhatIsChosenInAChart:
    def test_a_bar_is_its_time_and_its_model(self):
        chosen = {"slot": "2026-11-01T23:00:00+00:00", "until": "2026-11-02T00:00:00+00:00", "model": "gpt-4o"}
        assert narrowed_by(chosen) == {
            "since": ["2026-11-01T23:00:00Z"],
            "until": ["2026-11-02T00:00:00Z"],
            "models": ["gpt-4o"],
        }

    def test_several_models_together_narrow_only_the_time(self):
        chosen = {"slot": "2026-11-01T23:00:00+00:00", "until": "2026-11-02T00:00:00+00:00", "model": None}
        assert set(narrowed_by(chosen)) == {"since", "until"}

    def test_a_cell_is_its_weekday_and_hour(self):
        assert narrowed_by({"weekday": 2, "hour": 9.0}) == {"weekday": ["2"], "hour": ["9"]}

    def test_a_failure_without_a_class_is_still_a_failure(self):
        put = narrowed_by({"error_type": "", "node": "agent"})
        assert put == {"error_types": [""], "nodes": ["agent"], "statuses": ["error", "lost"]}

    def test_a_stretch_of_time_is_read_back_as_it_was(self):
        put = narrowed_by({"from_ms": 100.125, "to_ms": 104})
        assert put == {"min_ms": ["100.125"], "max_ms": ["104"]}
        assert CallFilter.from_query(put) == CallFilter(min_ms=100.125, max_ms=104.0)

    def test_a_leader_is_one_of_what_leads(self):
        assert narrowed_by({"key": "user_1"}, top="users") == {"users": ["user_1"]}

    def test_nobody_leads_too(self):
        assert narrowed_by({"key": ""}, top="users") == {"users": [""]}


class TestFigures:
    @pytest.mark.parametrize(
        ("usd", "shown"),
        [
            (0, "$0.00"),
            (0.000045, "$0.000045"),
            (0.0000001, "under $0.000001"),
            (0.0123, "$0.0123"),
            (0.25, "$0.25"),
            (12.345, "$12.35"),
            (1234.5, "$1,234"),
        ],
    )
    def test_dollars_have_the_places_their_size_asks_for(self, usd, shown):
        assert figures.dollars(usd) == shown

    @pytest.mark.parametrize(
        ("usd", "calls", "unpriced", "shown"),
        [(1.5, 3, 0, "$1.50"), (1.5, 3, 1, "at least $1.50"), (0, 3, 3, "unpriced"), (0, 3, 0, "free")],
    )
    def test_what_is_not_known_is_never_nothing(self, usd, calls, unpriced, shown):
        assert figures.total_cost(usd, calls=calls, unpriced=unpriced) == shown

    @pytest.mark.parametrize(
        ("usd", "source", "shown"),
        [
            (0.0, "free", "free"),
            (0.0, "cache", "from a cache"),
            (None, "unpriced", "unpriced"),
            (0.5, "own", "$0.50"),
        ],
    )
    def test_a_calls_cost_says_where_there_is_none(self, usd, source, shown):
        assert figures.call_cost(usd, source) == shown

    @pytest.mark.parametrize(
        ("now", "earlier", "shown"),
        [
            (110, 100, "+10.0%"),
            (50, 100, "-50.0%"),
            (100, 100, None),
            (5, 0, None),
            (5, None, None),
            (99, 1, "99×"),
        ],
    )
    def test_a_change_is_in_percent_of_before(self, now, earlier, shown):
        assert figures.change(now, earlier) == shown

    @pytest.mark.parametrize(
        ("number", "shown"), [(999_999, "999,999"), (1_234_567, "1.23 M"), (2_500_000_000, "2.50 B"), (None, "–")]
    )
    def test_large_counts_have_a_word(self, number, shown):
        assert figures.count(number) == shown

    @pytest.mark.parametrize(
        ("part", "whole", "shown"),
        [(1, 0, "–"), (1, 3, "33.3%"), (1, 10_000, "under 0.1%"), (9999, 10_000, "over 99.9%")],
    )
    def test_a_share_never_rounds_to_all_or_nothing(self, part, whole, shown):
        assert figures.share(part, whole) == shown


class TestTexts:
    def test_messages_are_read_as_chat_completions_have_them(self):
        recorded = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {}}]},
            {"role": "assistant", "content": "", "tool_calls": [{"name": "add", "args": {"a": 1}, "id": "1"}]},
            {"role": "tool", "content": "2", "tool_call_id": "1"},
        ]
        read_ = read_messages(recorded)
        assert [(message.role, message.note) for message in read_] == [
            ("system", ""),
            ("user", ""),
            ("assistant", ""),
            ("tool", "1"),
        ]
        assert read_[1].text.startswith("Look\n{")
        assert read_[2].text == '→ add({\n  "a": 1\n})'

    @pytest.mark.parametrize("recorded", ["plain", ["plain"], {"content": "plain"}])
    def test_what_was_recorded_in_another_form_is_shown_all_the_same(self, recorded):
        assert [message.text for message in read_messages(recorded)] == ["plain"]

    def test_nothing_is_no_message(self):
        assert read_messages(None) == []

    def test_langchains_own_names_are_understood(self):
        assert read_messages([{"type": "human", "content": "Hi"}]) == [Said("user", "Hi")]


class TestOrderingByAColumn:
    def test_a_click_on_a_head_orders_all_calls_and_another_the_other_way_round(self) -> None:
        assert [next_order("Cost", sort) for sort in ("newest", "dearest", "cheapest")] == [
            "dearest",
            "cheapest",
            "dearest",
        ]

    def test_a_column_without_an_order_changes_nothing(self) -> None:
        assert next_order("Model", "newest") is None
