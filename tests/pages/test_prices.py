"""The page of prices: a table, a form, an end, and pricing past calls anew after a preview."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from core.calls.capture.store import Ended, write_calls
from core.calls.pricing.own_prices import add_price, end_price
from core.calls.pricing.prices import prices_of
from core.calls.pricing.repricing import ModelRepricing, Repricing
from core.calls.pricing.usage import Usage
from core.database import table_of
from core.ids import new_call_id
from core.tables import CostCorrection, LlmCall, ModelPrice, utc_now
from pages.parts.admin.price_tables import change_rows, conditions, price_rows
from tests.pages.conftest import has_button, person_named, texts

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def log_calls(opened, count: int, **changes: Any) -> None:
    """Calls of a million tokens in and none out, an hour ago."""
    empty = {column.name: None for column in table_of(LlmCall).columns}
    rows = [
        empty
        | {
            "call_id": new_call_id(),
            "run_id": "run",
            "created_at": utc_now() - timedelta(hours=1),
            "operation": "chat",
            "model": "qwen",
            "params": {},
            "streamed": True,
            "status": "ok",
            "attempt": 1,
            "input_tokens": 1_000_000,
            "output_tokens": 0,
            "cost_source": "unpriced",
            "context_compacted": False,
            "attributed": False,
            "tags": [],
        }
        | changes
        for _ in range(count)
    ]
    ends = [Ended(row, None, started=False) for row in rows]
    opened.database.write(lambda db: write_calls(db, [], ends, again=False))


def enter(opened, model: str = "qwen", **given: Any) -> str:
    root = person_named(opened, "root", "admin")
    wanted = {"valid_from": LONG_AGO, "input_usd": 2.0, "output_usd": 4.0, **given}
    return add_price(root, opened.database, model=model, **wanted)


def corrected(opened) -> list[float | None]:
    with opened.database.read() as db:
        return list(db.exec(select(CostCorrection.cost_usd)).all())


@pytest.fixture
def show(tab):
    """Opens the page as an admin."""
    return lambda: tab("root", role="admin").switch_page("prices.py").run()


class TestWhoMayOpenIt:
    def test_an_admin_may(self, show):
        at = show()
        assert at.exception.values == []
        assert [title.value for title in at.title] == ["Prices"]

    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_for_anybody_else_it_is_no_page(self, tab, role):
        at = tab("ada", role=role)
        with pytest.raises(ValueError, match="Could not find a navigation page"):
            at.switch_page("prices.py")


class TestTheTable:
    def test_without_any_it_says_so(self, show):
        assert "No price is in use yet" in texts(show())

    def test_own_prices_stand_before_the_lists(self, show, opened):
        usage, server = Usage(10, 10), "https://api.openai.com/v1"
        prices_of(opened.database).cost_of(
            provider="openai", base_url=server, model="gpt-4o", at=utc_now(), usage=usage
        )
        enter(opened, base_url="http://gpu.example.org/v1", note="ours")
        table = show().dataframe[0].value
        assert table[["Model", "Server", "Input", "Output", "Source", "Note"]].values.tolist() == [
            ["qwen", "http://gpu.example.org/v1", 2.0, 4.0, "own", "ours"],
            ["gpt-4o", "openai", 2.5, 10.0, "genai-prices 0.2.3", ""],
        ]
        assert table["Valid from"].isna().tolist() == [False, True]

    def test_tiers_and_hours_are_said_in_words(self):
        rates = {
            "input_mtok": {"base": 1.25, "tiers": [{"start": 200_000, "price": 2.5}]},
            "daily": "01:00-04:00 UTC",
        }
        [row] = price_rows([ModelPrice(price_id="p", model="m", valid_from=LONG_AGO, rates=rates, source="list")])
        assert (row["Input"], row["Output"]) == (1.25, None)
        assert row["Note"] == conditions(rates) == "$2.5 in above 200,000 tokens, 01:00-04:00 UTC"


class TestEnteringAPrice:
    def fill(self, at, **typed):
        for name in ("model", "base_url", "provider", "note"):
            at.text_input(key=f"prices.{name}").set_value(typed.get(name, ""))
        for name in ("input_usd", "output_usd", "cache_read_usd"):
            at.number_input(key=f"prices.{name}").set_value(typed.get(name))
        return at.button(key="prices.add").click().run()

    def test_it_is_listed_and_the_form_emptied(self, show, opened):
        at = self.fill(show(), model=" qwen* ", input_usd=0.5, output_usd=1.5, cache_read_usd=0.05)
        assert at.exception.values == []
        assert at.dataframe[0].value[["Model", "Server", "Input", "Output", "Cache read"]].values.tolist() == [
            ["qwen*", "any", 0.5, 1.5, 0.05]
        ]
        assert [note.value[:29] for note in at.success] == ["The price of qwen\\* counts fr"]
        assert at.text_input(key="prices.model").value == ""
        assert at.number_input(key="prices.input_usd").value is None

    def test_it_counts_at_once_from_the_day_that_was_chosen(self, show, opened):
        at = show()
        at.date_input(key="prices.valid_from").set_value(LONG_AGO.date())
        self.fill(at, model="qwen", input_usd=3.0, output_usd=0.0)
        asked = {"provider": "openai", "base_url": None, "model": "qwen", "usage": Usage(1_000_000, 0)}
        found = [
            prices_of(opened.database).cost_of(at=LONG_AGO + timedelta(seconds=seconds), **asked).cost_usd
            for seconds in (-1, 0)
        ]
        assert found == [None, 3.0]

    def test_a_mistake_is_said_and_what_was_typed_stays(self, show):
        at = self.fill(show(), model="qwen", base_url="gpu", input_usd=1.0)
        assert [error.value[:26] for error in at.error] == ["The server's address must "]
        assert at.text_input(key="prices.model").value == "qwen"
        assert at.number_input(key="prices.input_usd").value == 1.0


class TestEndingAPrice:
    def test_it_ends_and_is_no_longer_offered(self, show, opened):
        price_id = enter(opened)
        at = show().button(key=f"prices.end.{price_id}").click().run()
        assert [note.value for note in at.success] == ["The price of qwen has ended."]
        assert at.dataframe[0].value["Ended"].notna().tolist() == [True]
        assert not has_button(at, "End price")

    def test_one_that_another_admin_ended_meanwhile_ends_no_other(self, show, opened):
        price_id = enter(opened)
        at = show()
        end_price(person_named(opened, "root", "admin"), opened.database, price_id)
        other = enter(opened, "other")
        at.button(key=f"prices.end.{price_id}").click().run()
        assert at.exception.values == []
        assert at.selectbox(key="prices.ending").value == other
        assert at.dataframe[0].value["Ended"].notna().tolist() == [False, True]


class TestPricingAnew:
    def preview(self, at):
        return at.button(key="prices.preview_button").click().run()

    def test_a_preview_shows_what_would_change_and_changes_nothing(self, show, opened):
        log_calls(opened, 3)
        log_calls(opened, 2, cost_usd=2.0, cost_source="own")
        enter(opened)
        at = self.preview(show())
        assert at.exception.values == []
        said = "**3 calls** of 5 calls would cost something else: \\$6.00 instead of \\$0.00, and 3 of them had no"
        assert said in texts(at)
        assert at.dataframe[1].value.values.tolist() == [["qwen", 3, 3, 0.0, 6.0, 6.0]]
        assert corrected(opened) == []

    def test_the_button_appends_what_was_shown(self, show, opened):
        log_calls(opened, 3)
        enter(opened)
        at = self.preview(show()).button(key="prices.append").click().run()
        assert at.exception.values == []
        assert [note.value for note in at.success] == ["3 corrections appended."]
        assert corrected(opened) == [2.0] * 3
        assert "all of them cost what they would cost now" in texts(self.preview(at))

    def test_the_chosen_models_and_days_narrow_it(self, show, opened):
        log_calls(opened, 3)
        log_calls(opened, 2, model="other")
        enter(opened)
        enter(opened, "other")
        at = show()
        at.multiselect(key="prices.models").set_value(["other"])
        assert "**2 calls** of 2 calls" in texts(self.preview(at))
        at.multiselect(key="prices.models").set_value([])
        at.date_input(key="prices.until").set_value(utc_now().date() - timedelta(days=3))
        assert "0 calls looked at" in texts(self.preview(at))

    def test_a_price_entered_since_the_preview_is_said_and_nothing_appended(self, show, opened):
        log_calls(opened, 3)
        enter(opened)
        at = self.preview(show())
        enter(opened, input_usd=9.0)
        at.button(key="prices.append").click().run()
        assert [error.value[:34] for error in at.error] == ["What would change is no longer wha"]
        assert corrected(opened) == []
        assert not has_button(at, "Append 3 corrections")

    def test_rows_of_the_changes(self):
        models = (ModelRepricing("", 2, 1, 1.0, 3.0),)
        found = Repricing(utc_now(), 9, 2, 1, 1.0, 3.0, models, "digest")
        assert [list(row.values()) for row in change_rows(found)] == [["(no name)", 2, 1, 1.0, 3.0, 2.0]]
