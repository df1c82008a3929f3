"""What calls cost: the arithmetic, the public list, own prices over it, and who may enter them."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from genai_prices import Usage as ListUsage
from genai_prices.data import providers
from sqlalchemy.exc import SQLAlchemyError
from sqlmodel import select

from core.access.viewer import Viewer
from core.calls.pricing.own_prices import add_price, end_price, list_prices
from core.calls.pricing.prices import Cost, Prices, prices_of
from core.calls.pricing.rates import Rate, Rates, find_listed, list_name
from core.calls.pricing.usage import USAGE_COLUMNS, Usage
from core.database import Database
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.ids import new_user_id
from core.tables import Activity, ModelPrice
from tests.core.support import OnSqlite

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MILLION = Usage(1_000_000, 1_000_000)
OPENAI = "https://api.openai.com/v1"
VLLM = "http://gpu.example.org:8000/v1"
ADMIN = Viewer(new_user_id(), "root", "admin")


@pytest.fixture
def prices(database: Database) -> Prices:
    return Prices(database)


Enter = Callable[..., str]


@pytest.fixture
def enter(database: Database) -> Enter:
    """Enters an own price that holds since 2026 began, and costs 1 dollar in and 2 out if nothing else is said."""

    def add(model: str, **given) -> str:
        wanted = {"valid_from": datetime(2026, 1, 1, tzinfo=UTC), "input_usd": 1.0, "output_usd": 2.0, **given}
        return add_price(ADMIN, database, model=model, **wanted)

    return add


def ask(
    prices: Prices, model: str = "gpt-4o", *, base_url=OPENAI, provider="openai", at=NOON, usage=MILLION
) -> Cost:
    return prices.cost_of(provider=provider, base_url=base_url, model=model, at=at, usage=usage)


def rows(database: Database) -> list[ModelPrice]:
    """What is stored, once all that was queued is."""
    database.write(lambda _db: None)
    with database.read() as db:
        return list(db.exec(select(ModelPrice).order_by(ModelPrice.price_id)).all())


class TestRates:
    plain = Rates(Rate(3.0), Rate(15.0), Rate(0.3), Rate(3.75))

    @pytest.mark.parametrize(
        ("rates", "usage", "expected"),
        [
            (plain, Usage(1000, 200), 0.006),
            (plain, Usage(0, 0), 0.0),
            (plain, Usage(1000, 200, 400, 100), (500 * 3 + 400 * 0.3 + 100 * 3.75 + 200 * 15) / 1e6),
            (plain, Usage(1000, 200, None, None, 150), 0.006),
            (Rates(Rate(3.0), Rate(15.0)), Usage(1000, 200, 400, 100), 0.006),
            (Rates(Rate(1.0), Rate(2.0), reasoning=Rate(5.0)), Usage(0, 100, None, None, 60), 380 / 1e6),
            (Rates(Rate(1.0), Rate(1.0), request_usd=0.005), Usage(10, 10), 0.00502),
            (Rates(Rate(0.1), Rate(0.1)), Usage(1, 0), 0.0000001),
        ],
    )
    def test_each_token_is_billed_once(self, rates, usage, expected):
        assert rates.cost_of(usage) == pytest.approx(expected, abs=1e-10)

    @pytest.mark.parametrize(
        ("rates", "usage"),
        [
            (Rates(Rate(3.0)), Usage(10, 1)),
            (Rates(None, Rate(3.0)), Usage(1, 10)),
            (Rates(None, Rate(3.0)), Usage(10, 10, 10)),
            (Rates(), Usage(1, 0)),
            (plain, Usage(None, 5)),
            (plain, Usage(5, None)),
            (plain, Usage(5, 5, 6)),
        ],
    )
    def test_what_has_no_rate_or_no_count_has_no_price(self, rates, usage):
        assert rates.cost_of(usage) is None

    def test_what_was_not_used_needs_no_rate(self):
        assert Rates(Rate(3.0)).cost_of(Usage(1_000_000, 0)) == 3.0

    @pytest.mark.parametrize(("tokens", "usd"), [(200_000, 1.0), (200_001, 2.0), (900_000, 4.0)])
    def test_a_tier_holds_for_all_tokens_once_the_input_is_longer(self, tokens, usd):
        assert Rate(1.0, ((200_000, 2.0), (500_000, 4.0))).of(tokens) == usd


class TestTheList(OnSqlite):
    usages = (Usage(900, 80), Usage(260_000, 5_000, 120_000, 30_000, 700), Usage(1_200_000, 64_000, 0, 0, 9_000))

    def test_every_model_costs_what_the_list_itself_reckons(self):
        compared = [
            (seller.id, model.id, usage, ours, theirs)
            for seller in providers
            for model in seller.models
            for usage in self.usages
            if (ours := self.ours(seller, model, usage)) is not None
            and abs(ours - (theirs := self.theirs(seller, model, usage))) > 2e-10
        ]
        assert compared == []

    def test_most_models_of_the_list_can_be_billed(self):
        models = [(seller, model) for seller in providers for model in seller.models]
        billed = [1 for seller, model in models if self.ours(seller, model, self.usages[1]) is not None]
        assert len(billed) > 0.8 * len(models)

    def ours(self, seller, model, usage: Usage) -> float | None:
        found = find_listed(seller.id, "", model.id)
        return None if found is None or found.info is not model else found.at(NOON).rates.cost_of(usage)

    def theirs(self, seller, model, usage: Usage) -> float:
        given = ListUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens or 0,
            cache_write_tokens=usage.cache_write_tokens or 0,
            output_reasoning_tokens=usage.reasoning_tokens or 0,
        )
        total = model.calc_price(given, seller, genai_request_timestamp=NOON).total_price
        return float(total.quantize(Decimal("1e-10")))

    def test_a_call_is_billed_by_it_and_says_so(self, prices):
        cost = ask(prices, "gpt-4o", usage=Usage(1_000_000, 100_000, 400_000))
        assert (cost.cost_usd, cost.cost_source) == (0.6 * 2.5 + 0.4 * 1.25 + 0.1 * 10, "genai-prices 0.2.3")

    @pytest.mark.parametrize(
        ("base_url", "provider"),
        [
            (OPENAI, "openai"),
            ("https://API.OpenAI.com/v1/", "openai"),
            (OPENAI, "anything"),
            ("", "openai"),
            (None, "OpenAI"),
            ("https://acme.openai.azure.com", "azure"),
            (None, "azure_openai"),
        ],
    )
    def test_the_servers_address_decides_and_without_one_the_provider(self, prices, base_url, provider):
        assert ask(prices, base_url=base_url, provider=provider).cost_usd == 12.5

    @pytest.mark.parametrize(
        ("base_url", "provider"),
        [
            (VLLM, "openai"),
            ("http://localhost:11434", "openai"),
            ("https://api.openai.com.example.org/v1", "openai"),
            ("https://example.org/https://api.openai.com/v1", "openai"),
            ("localhost:8000/v1", "openai"),
            ("http://[broken", "openai"),
            (None, "vllm-openai"),
            (None, "ollama"),
            (None, None),
        ],
    )
    def test_the_same_name_on_somebodys_own_server_is_unpriced(self, prices, base_url, provider):
        assert ask(prices, base_url=base_url, provider=provider) == Cost(None, None, "unpriced")

    @pytest.mark.parametrize("model", ["no-such-model-9", "", None, "gpt-4o\x00"])
    def test_a_model_that_is_not_listed_is_unpriced(self, prices, model):
        assert ask(prices, model) == Cost(None, None, "unpriced")

    def test_a_call_without_usage_is_unpriced(self, prices):
        assert ask(prices, usage=None) == Cost(None, None, "unpriced")

    def test_the_price_is_that_of_the_moment(self, prices):
        server = "https://api.deepseek.com"
        noon = ask(prices, "deepseek-chat", base_url=server)
        night = ask(prices, "deepseek-chat", base_url=server, at=NOON.replace(hour=20))
        assert (noon.cost_usd, night.cost_usd) == (0.27 + 1.1, 0.135 + 0.55)
        assert noon.price_id != night.price_id

    def test_long_inputs_have_their_tier(self, prices):
        short, long = (
            ask(prices, "gemini-2.5-pro", base_url=None, provider="google_genai", usage=Usage(tokens, 0)).cost_usd
            for tokens in (200_000, 200_001)
        )
        assert (short, long) == (0.25, round(200_001 * 2.5 / 1e6, 10))


class TestTheRowOfAListPrice:
    def test_a_call_names_the_row_with_the_lists_rates(self, prices, database):
        price_id = ask(prices, "gpt-4o").price_id
        [row] = rows(database)
        assert (row.price_id, row.provider, row.model, row.source) == (price_id, "openai", "gpt-4o", list_name())
        assert (row.input_usd, row.output_usd, row.cache_read_usd) == (2.5, 10.0, 1.25)
        assert row.rates["input_mtok"] == 2.5

    def test_tiers_stand_in_the_rates_alone(self, prices, database):
        ask(prices, "gemini-2.5-pro", base_url=None, provider="google")
        [row] = rows(database)
        assert row.input_usd is None
        assert row.rates["input_mtok"] == {"base": 1.25, "tiers": [{"start": 200_000, "price": 2.5}]}

    def test_hours_of_the_day_stand_there_too(self, prices, database):
        ask(prices, "deepseek-chat", base_url="https://api.deepseek.com")
        assert [row.rates["daily"] for row in rows(database)] == ["00:30-16:30 UTC"]

    def test_it_is_added_once_for_all_calls_names_and_openings(self, database):
        first, second = Prices(database), Prices(database)
        asked = [ask(first, "gpt-4o").price_id, ask(first, "GPT-4o").price_id]
        assert [row.price_id for row in rows(database)] == [asked[0]]
        assert [*asked, ask(second, "gpt-4o").price_id] == [asked[0]] * 3
        assert len(rows(database)) == 1

    def test_it_is_added_once_by_many_threads(self, prices, database):
        found: list[str | None] = []
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            found.extend(ask(prices, "gpt-4o").price_id for _ in range(50))

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [row.price_id for row in rows(database)] == list(set(found))
        assert len(found) == 400

    def test_it_is_there_before_what_is_written_after_it(self, prices, database):
        price_id = ask(prices, "gpt-4o").price_id
        assert database.write(lambda db: db.get(ModelPrice, price_id)) is not None

    def test_a_job_of_the_writer_may_ask_too(self, prices, database):
        price_id = database.write(lambda _db: ask(prices, "gpt-4o").price_id)
        assert [row.price_id for row in rows(database)] == [price_id]

    def test_one_that_could_not_be_saved_is_saved_later(self, prices, database):
        ask(prices, "no-such-model")
        with _without_prices(database):
            lost = ask(prices, "gpt-4o").price_id
            database.write(lambda _db: None)
        assert ask(prices, "gpt-4o").price_id == lost
        assert [row.price_id for row in rows(database)] == [lost]


class _without_prices:  # noqa: N801 - reads as a phrase
    """While in it, the table of prices is not there."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def __enter__(self) -> None:
        self._rename("model_price", "hidden")

    def __exit__(self, *_: object) -> None:
        self._rename("hidden", "model_price")

    def _rename(self, old: str, new: str) -> None:
        self.database.write(lambda db: db.connection().exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}"))


class TestTheDemoModel(OnSqlite):
    @pytest.mark.parametrize("usage", [MILLION, None])
    def test_it_is_free(self, prices, database, usage):
        cost = ask(prices, "demo", base_url=None, provider="skein-demo", usage=usage)
        assert cost == Cost(0.0, None, "free")
        assert rows(database) == []

    @pytest.mark.parametrize(("base_url", "provider"), [(None, "openai"), (None, None), (VLLM, "skein-demo")])
    def test_nothing_else_of_that_name_is(self, prices, base_url, provider):
        assert ask(prices, "demo", base_url=base_url, provider=provider).cost_source == "unpriced"


class TestOwnPrices(OnSqlite):
    def test_they_count_before_the_list(self, prices, enter):
        price_id = enter("gpt-4o")
        assert ask(prices) == Cost(3.0, price_id, "own")

    def test_they_price_what_the_list_does_not_know(self, prices, enter):
        enter("qwen-72b", base_url=VLLM)
        assert ask(prices, "qwen-72b", base_url=VLLM).cost_usd == 3.0

    def test_cached_tokens_have_their_own_rate_or_that_of_input(self, prices, enter):
        enter("with", cache_read_usd=0.1, cache_write_usd=1.25)
        enter("without")
        usage = Usage(1_000_000, 0, 400_000, 200_000)
        found = [ask(prices, model, usage=usage).cost_usd for model in ("with", "without")]
        assert found == [pytest.approx(0.4 + 0.04 + 0.25), 1.0]

    def test_one_without_a_rate_for_what_was_used_is_unpriced_rather_than_half(self, prices, enter):
        enter("gpt-4o", output_usd=None)
        assert ask(prices) == Cost(None, None, "unpriced")
        assert ask(prices, usage=Usage(1_000_000, 0)).cost_usd == 1.0

    @pytest.mark.parametrize(
        ("model", "base_url", "provider", "expected"),
        [
            ("gpt-4o", VLLM, "openai", "exact name, this server"),
            ("gpt-4o-mini", VLLM, "openai", "any name, this server"),
            ("gpt-4o", OPENAI, "openai", "exact name, this provider"),
            ("gpt-4o", OPENAI, "azure", "exact name"),
            ("gpt-4o-mini", OPENAI, "openai", "longer beginning"),
            ("gpt-5", OPENAI, "openai", "shorter beginning"),
        ],
    )
    def test_the_most_specific_one_counts(self, prices, enter, model, base_url, provider, expected):
        entered = [
            ("shorter beginning", "gpt-*", "", ""),
            ("exact name, this server", "gpt-4o", VLLM, ""),
            ("longer beginning", "gpt-4o*", "", ""),
            ("exact name, this provider", "gpt-4o", "", "openai"),
            ("any name, this server", "*", VLLM, ""),
            ("exact name", "gpt-4o", "", ""),
        ]
        ids = {
            enter(name, base_url=server, provider=seller, note=note): note for note, name, server, seller in entered
        }
        assert ids[ask(prices, model, base_url=base_url, provider=provider).price_id] == expected

    def test_a_name_is_met_whole(self, prices, enter):
        enter("qwen")
        assert ask(prices, "qwen-72b").cost_source == "unpriced"

    def test_of_two_from_the_same_moment_the_later_entered_one_counts(self, prices, enter):
        enter("m", input_usd=1.0)
        assert ask(prices, "m").price_id != enter("m", input_usd=5.0)
        assert ask(prices, "m").cost_usd == 7.0

    def test_one_entered_in_this_process_counts_at_once(self, prices, enter):
        assert ask(prices, "m").cost_source == "unpriced"
        enter("m")
        assert ask(prices, "m").cost_source == "own"

    def test_a_database_has_one_set_of_open_prices(self, prices, database):
        assert prices_of(database) is prices


class TestOwnPricesInTheDatabase:
    def test_the_newest_that_held_at_the_calls_moment_counts(self, prices, enter):
        first, second, later = (
            enter("m", valid_from=NOON + timedelta(days=days), input_usd=float(usd))
            for days, usd in ((-9, 1), (-2, 5), (3, 7))
        )
        found = [
            ask(prices, "m", at=NOON + timedelta(days=days)).price_id for days in (-10, -9, -3, -2, 0, 2, 3, 90)
        ]
        assert found == [None, first, first, second, second, second, later, later]

    def test_an_ended_one_holds_for_the_calls_before_it_ended(self, prices, database, enter):
        price_id = enter("m")
        before = datetime.now(UTC)
        end_price(ADMIN, database, price_id)
        after = datetime.now(UTC) + timedelta(seconds=1)
        found = [ask(prices, "m", at=moment).cost_source for moment in (before, after)]
        assert found == ["own", "unpriced"]

    def test_one_entered_elsewhere_counts_after_a_refresh(self, prices, database):
        elsewhere = Database(database.url)
        try:
            assert ask(prices, "m").cost_source == "unpriced"
            add_price(ADMIN, elsewhere, model="m", valid_from=NOON, input_usd=1, output_usd=1)
            prices.refresh()
            assert ask(prices, "m").cost_source == "own"
        finally:
            elsewhere.close()

    def test_those_known_hold_while_the_database_cannot_be_asked(self, prices, database, enter):
        price_id = enter("m")
        ask(prices, "m")
        with _without_prices(database):
            prices.refresh()
            assert ask(prices, "m").price_id == price_id

    def test_nothing_is_called_unpriced_before_they_were_read(self, prices, database, enter):
        enter("m")
        with _without_prices(database), pytest.raises(SQLAlchemyError):
            ask(prices, "m")
        assert ask(prices, "m").cost_source == "own"


class TestTheCostOfARow(OnSqlite):
    def row(self, **changes) -> dict:
        return {
            "provider": "openai",
            "base_url": OPENAI,
            "model": "gpt-4o",
            "response_model": None,
            "created_at": NOON,
            "params": {},
            "cost_source": None,
            **{name: getattr(MILLION, name) for name in USAGE_COLUMNS},
            **changes,
        }

    def test_the_model_that_answered_decides(self, prices):
        mini = ask(prices, "gpt-4o-mini")
        assert prices.cost_of_call(self.row(response_model="gpt-4o-mini")) == mini

    @pytest.mark.parametrize("answered", ["gpt-4o-2099-01-31", "GPT-4o-20990131", "gpt-4o-latest", "gpt-4o:latest"])
    def test_that_model_with_a_date_is_the_one_that_was_asked_for(self, prices, answered):
        assert prices.cost_of_call(self.row(response_model=answered)) == ask(prices, "gpt-4o")

    @pytest.mark.parametrize("answered", ["some-snapshot", "gpt-4o-turbo-xl", "not-gpt-4o"])
    def test_one_that_nobody_knows_is_unpriced(self, prices, enter, answered):
        assert prices.cost_of_call(self.row(response_model=answered)).cost_source == "unpriced"
        enter("gpt-4o")
        assert prices.cost_of_call(self.row(response_model=answered)).cost_source == "unpriced"

    @pytest.mark.parametrize("reason", ["refused", "cache"])
    def test_what_cost_nothing_costs_nothing(self, prices, reason):
        cost = prices.cost_of_call(self.row(cost_source=reason))
        assert (cost.cost_usd, cost.price_id, cost.cost_source) == (0.0, None, reason)

    def test_an_own_price_of_either_counts_before_the_list(self, prices, enter):
        price_id = enter("gpt-4o")
        assert prices.cost_of_call(self.row(response_model="gpt-4o-mini")).price_id == price_id

    def test_without_a_model_it_is_unpriced(self, prices):
        assert prices.cost_of_call(self.row(model=None)).cost_source == "unpriced"


LATER = datetime(2026, 11, 20, 12, tzinfo=UTC)
GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
BILLED = [
    ("openai", OPENAI, "gpt-4.1", Usage(1000, 100, 200, billed={"service_tier": "priority"})),
    ("openai", OPENAI, "gpt-4.1", Usage(1000, 100, 200, billed={"service_tier": "default"})),
    ("openai", OPENAI, "gpt-5", Usage(1000, 100, 200, billed={"service_tier": "flex"})),
    ("openai", OPENAI, "gpt-4.1", Usage(1000, 100, 200, billed={"service_tier": "batch"})),
    (
        "openai",
        OPENAI,
        "gpt-audio",
        Usage(1000, 100, billed={"input_audio_tokens": 600, "output_audio_tokens": 40}),
    ),
    ("openai", OPENAI, "gpt-4.1", Usage(1000, 100, billed={"web_searches": 2})),
    (
        "anthropic",
        "https://api.anthropic.com",
        "claude-sonnet-5",
        Usage(1000, 100, 0, 300, billed={"cache_write_1h_tokens": 200, "web_searches": 3}),
    ),
    (
        "anthropic",
        "https://api.anthropic.com",
        "claude-sonnet-5",
        Usage(1000, 100, 0, 300, billed={"cache_write_1h_tokens": 200, "service_tier": "batch"}),
    ),
    (
        "google",
        GOOGLE,
        "gemini-2.5-flash",
        Usage(1000, 100, 200, billed={"input_audio_tokens": 500, "cache_audio_read_tokens": 100}),
    ),
    ("google", GOOGLE, "gemini-2.5-flash-image", Usage(1000, 1300, billed={"output_image_tokens": 1290})),
]


class TestWhatIsBilledBesideTokens(OnSqlite):
    @pytest.mark.parametrize(("seller", "base_url", "model", "usage"), BILLED)
    def test_costs_what_the_list_itself_reckons(self, prices, seller, base_url, model, usage):
        its = next(one for one in providers if one.id == seller)
        info = its.find_model(model)
        counts = {name: value for name, value in usage.billed.items() if isinstance(value, int)}
        given = ListUsage(
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cache_read_tokens=usage.cache_read_tokens or 0,
            cache_write_tokens=usage.cache_write_tokens or 0,
            **counts,
        )
        tier = usage.billed.get("service_tier")
        context = {"processing": "batch"} if tier == "batch" else {"service_tier": tier} if tier else None
        total = info.calc_price(given, its, genai_request_timestamp=LATER, price_context=context).total_price
        cost = ask(prices, model, base_url=base_url, provider=seller, at=LATER, usage=usage)
        assert cost.cost_usd == pytest.approx(float(total), abs=1e-10)
        plain = Usage(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, usage.cache_write_tokens)
        usual = ask(prices, model, base_url=base_url, provider=seller, at=LATER, usage=plain)
        assert (cost == usual) == (tier == "default")

    @pytest.mark.parametrize(
        "billed",
        [
            {"service_tier": "scale"},
            {"service_tier": "flex"},
            {"speed": "fast"},
            {"input_audio_tokens": 5},
            {"output_audio_tokens": 5},
            {"output_image_tokens": 5},
            {"cache_write_1h_tokens": 5},
        ],
    )
    def test_without_a_rate_for_it_a_call_is_unpriced(self, prices, billed):
        usage = Usage(100, 100, 0, 10, billed=billed)
        assert ask(prices, "gpt-4o", at=LATER, usage=usage).cost_source == "unpriced"

    def test_an_own_price_is_for_usual_tokens_at_the_usual_tier(self, prices, enter):
        enter("m")
        for billed in ({"service_tier": "priority"}, {"input_audio_tokens": 5}, {"web_searches": 1}):
            usage = Usage(10, 10, billed=billed)
            assert ask(prices, "m", base_url=VLLM, usage=usage).cost_source == "unpriced"
        assert ask(prices, "m", base_url=VLLM, usage=Usage(10, 10, billed={"service_tier": "default"})).cost_usd

    def test_before_a_tier_was_listed_it_has_no_price(self, prices):
        usage = Usage(1000, 100, billed={"service_tier": "priority"})
        assert ask(prices, "gpt-4.1", at=NOON, usage=usage).cost_source == "unpriced"


class TestEnteringPrices:
    def test_each_deed_leaves_a_trace(self, database, enter):
        price_id = enter("gpt-4o", base_url="HTTPS://GPU.example.org/v1/", note=" for tests ")
        end_price(ADMIN, database, price_id)
        [row] = rows(database)
        assert (row.base_url, row.note, row.created_by) == (
            "https://gpu.example.org/v1",
            "for tests",
            ADMIN.user_id,
        )
        with database.read() as db:
            kept = db.exec(select(Activity).order_by(Activity.activity_id)).all()
        assert [(one.kind, one.target_id, one.user_id) for one in kept] == [
            ("price.add", price_id, ADMIN.user_id),
            ("price.end", price_id, ADMIN.user_id),
        ]

    def test_only_an_own_price_that_still_holds_can_end(self, database, prices, enter):
        listed, ended = ask(prices).price_id, enter("m")
        end_price(ADMIN, database, ended)
        with pytest.raises(BadInputError, match="ended already"):
            end_price(ADMIN, database, ended)
        with pytest.raises(BadInputError, match="comes from the public list"):
            end_price(ADMIN, database, listed)
        with pytest.raises(NotFoundError):
            end_price(ADMIN, database, "price_1795214478774_4CW9G9F475EY")

    def test_own_ones_are_listed_first_and_the_newest_of_a_model_before(self, database, prices, enter):
        ask(prices, "gpt-4o")
        enter("z")
        enter("b", input_usd=1.0)
        enter("b", input_usd=5.0, valid_from=NOON)
        with database.read() as db:
            found = [(row.model, row.input_usd) for row in list_prices(ADMIN, db)]
        assert found == [("b", 5.0), ("b", 1.0), ("z", 1.0), ("gpt-4o", 2.5)]


class TestWhatCannotBeEntered(OnSqlite):
    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_by_anybody_but_an_admin_nothing_can(self, database, enter, role):
        price_id, viewer = enter("m"), Viewer(new_user_id(), "ada", role)
        with pytest.raises(ForbiddenError):
            add_price(viewer, database, model="m", valid_from=NOON, input_usd=1, output_usd=1)
        with pytest.raises(ForbiddenError):
            end_price(viewer, database, price_id)
        with database.read() as db, pytest.raises(ForbiddenError):
            list_prices(viewer, db)
        assert [row.ended_at for row in rows(database)] == [None]

    @pytest.mark.parametrize(
        ("changes", "sentence"),
        [
            ({"model": "  "}, "Please name the model"),
            ({"model": "gpt-*-mini"}, r"A \* can only stand at the end"),
            ({"model": "m" * 301}, "The model's name is too long"),
            ({"input_usd": None, "output_usd": None}, "Please give a price for input or output"),
            ({"input_usd": -0.1}, "A price must be a number from 0"),
            ({"output_usd": float("nan")}, "A price must be a number from 0"),
            ({"cache_read_usd": float("inf")}, "A price must be a number from 0"),
            ({"cache_write_usd": 2e6}, "A price must be a number from 0"),
            ({"base_url": "gpu.example.org"}, "The server's address must look like"),
            ({"base_url": "http://root:secret@gpu.example.org"}, "The server's address must look like"),
            ({"base_url": "http://[broken"}, "The server's address must look like"),
            ({"valid_from": datetime(2026, 1, 1)}, "The moment from which a price holds"),  # noqa: DTZ001
        ],
    )
    def test_what_cannot_be_is_said(self, database, enter, changes, sentence):
        with pytest.raises(BadInputError, match=sentence) as caught:
            enter(**{"model": "m", **changes})
        assert "secret" not in str(caught.value)
        assert rows(database) == []
