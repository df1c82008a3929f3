"""Pricing past calls anew: a preview, then corrections, and nothing that the preview did not show."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlmodel import select

from core.access.viewer import Viewer
from core.calls.capture.store import Ended, write_calls
from core.calls.filters import CallFilter
from core.calls.panels.rollups import find_disagreements
from core.calls.pricing.own_prices import add_price, end_price
from core.calls.pricing.repricing import ModelRepricing, Repricing, preview_repricing, reprice
from core.calls.proof.seals import seal
from core.calls.proof.verify import verify
from core.database import Database, table_of
from core.errors import BadInputError, ConflictError, ForbiddenError
from core.ids import new_call_id, new_user_id
from core.tables import Activity, CostCorrection, LlmCall, LlmCallDay, LlmCallHour
from tests.core.support import OnSqlite

ADMIN = Viewer(new_user_id(), "root", "admin")
SERVER = "http://gpu.example.org/v1"
START = datetime(2026, 3, 2, 12, tzinfo=UTC)
ALL = CallFilter()
_EMPTY = {column.name: None for column in table_of(LlmCall).columns}

Log = Callable[..., list[str]]
Enter = Callable[..., str]


@pytest.fixture
def log(database: Database) -> Log:
    """Logs calls as their writer does: ``log(3, model="m")``; each of a million tokens in and none out."""

    def write(count: int = 1, **changes: Any) -> list[str]:
        rows = [_row(number, changes) for number in range(count)]
        ends = [Ended(row, None, started=False) for row in rows]
        database.write(lambda db: write_calls(db, [], ends, again=False))
        return [row["call_id"] for row in rows]

    return write


def _row(number: int, changes: dict[str, Any]) -> dict[str, Any]:
    return {
        **_EMPTY,
        "call_id": new_call_id(),
        "run_id": "run",
        "created_at": START + timedelta(minutes=number),
        "operation": "chat",
        "provider": "openai",
        "base_url": SERVER,
        "model": "m",
        "params": {},
        "streamed": True,
        "status": "ok",
        "attempt": 1,
        "duration_ms": 900.0,
        "input_tokens": 1_000_000,
        "output_tokens": 0,
        "usage_source": "model",
        "cost_source": "unpriced",
        "context_compacted": False,
        "attributed": False,
        "tags": [],
        **changes,
    }


@pytest.fixture
def enter(database: Database) -> Enter:
    def add(model: str = "m", **given: Any) -> str:
        wanted = {"valid_from": datetime(2026, 1, 1, tzinfo=UTC), "input_usd": 1.0, "output_usd": 2.0, **given}
        return add_price(ADMIN, database, model=model, **wanted)

    return add


def look(database: Database, wanted: CallFilter = ALL) -> Repricing:
    return preview_repricing(ADMIN, database, wanted)


def carry_out(database: Database, wanted: CallFilter = ALL, **more: Any) -> int:
    return reprice(ADMIN, database, wanted, expected=look(database, wanted), **more)


def corrections(database: Database) -> list[CostCorrection]:
    with database.read() as db:
        return list(db.exec(select(CostCorrection).order_by(CostCorrection.correction_id)).all())


def stored(database: Database) -> list[Any]:
    with database.read() as db:
        return list(db.connection().execute(table_of(LlmCall).select().order_by("call_id")).all())


class TestThePreview(OnSqlite):
    def test_it_says_what_would_change_and_changes_nothing(self, database, log, enter):
        log(3)
        log(2, cost_usd=4.0, cost_source="own")
        log(2, cost_usd=1.0, cost_source="own")
        log(1, model="other")
        enter()
        found = look(database)
        assert (found.looked_at, found.changing, found.newly_priced) == (8, 5, 3)
        assert (found.cost_before, found.cost_after) == (8.0, 5.0)
        assert found.models == (ModelRepricing("m", 5, 3, 8.0, 5.0),)
        assert corrections(database) == []

    def test_models_stand_in_the_order_of_what_they_change(self, database, log, enter):
        for model, usd in (("a", 1.0), ("b", 9.0), ("c", 4.0)):
            log(1, model=model)
            enter(model, input_usd=usd)
        assert [one.model for one in look(database).models] == ["b", "c", "a"]

    def test_the_filter_narrows_it(self, database, log, enter):
        log(10)
        log(5, model="other", user_id="user_1")
        enter("*")
        part = CallFilter(since=START + timedelta(minutes=2), until=START + timedelta(minutes=7))
        found = [
            look(database, wanted).looked_at
            for wanted in (part, CallFilter(models=("other",)), CallFilter(users=("user_1",)), CallFilter())
        ]
        assert found == [8, 5, 5, 15]

    @pytest.mark.parametrize(
        ("changes", "looked_at"),
        [
            ({"status": "cancelled", "usage_source": "estimated"}, 1),
            ({"status": "lost"}, 1),
            ({"status": "error"}, 1),
            ({"status": "started", "ended_at": None}, 0),
            ({"input_tokens": None, "output_tokens": None}, 0),
        ],
    )
    def test_it_looks_at_ended_calls_with_usage(self, database, log, enter, changes, looked_at):
        log(1, **changes)
        enter()
        assert look(database).looked_at == looked_at

    def test_many_pages_of_the_same_moment_are_each_read_once(self, database, log, enter):
        log(2_300, created_at=START)
        enter()
        found = look(database)
        assert (found.looked_at, found.changing) == (2_300, 2_300)

    def test_a_call_that_begins_after_the_preview_is_not_in_it(self, database, log, enter):
        log(1)
        enter()
        shown = look(database)
        log(1, created_at=shown.until)
        assert look(database, replace(ALL, until=shown.until)).looked_at == 1

    def test_a_call_keeps_its_cost_when_nothing_prices_it_now(self, database, log):
        log(1, cost_usd=4.0, cost_source="own")
        assert look(database).changing == 0

    def test_demo_calls_stay_free(self, database, log, enter):
        log(1, provider="skein-demo", base_url=None, model="demo", cost_usd=0.0, cost_source="free")
        enter("*")
        assert look(database).changing == 0

    @pytest.mark.parametrize("reason", ["cache", "refused"])
    def test_what_cost_nothing_stays_so(self, database, log, enter, reason):
        log(cost_usd=0.0, cost_source=reason)
        enter()
        assert (look(database).looked_at, look(database).changing) == (1, 0)

    def test_what_was_billed_beside_tokens_counts_as_when_it_was_logged(self, database, log, enter):
        log(params={"billed": {"service_tier": "priority"}})
        log(params={"billed": {"service_tier": "default"}})
        enter()
        assert (look(database).looked_at, look(database).changing) == (2, 1)

    def test_the_model_that_answered_is_the_one_that_is_priced(self, database, log, enter):
        log(1, response_model="m-2026-01-01")
        enter("m", input_usd=1.0)
        enter("m-2026-01-01", input_usd=7.0)
        assert look(database).cost_after == 7.0

    def test_text_cannot_choose_calls_to_be_priced_anew(self, database):
        with pytest.raises(BadInputError, match="found by their text"):
            look(database, CallFilter(text="pears"))

    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_only_admins_may(self, database, log, enter, role):
        viewer = Viewer(new_user_id(), "ada", role)
        log(1)
        enter()
        with pytest.raises(ForbiddenError):
            preview_repricing(viewer, database, ALL)
        with pytest.raises(ForbiddenError):
            reprice(viewer, database, ALL, expected=look(database))
        assert corrections(database) == []


class TestPricingAnew:
    def test_corrections_are_appended_sealed_and_counted_and_no_call_moves(self, database, log, enter):
        log(600)
        log(3, cost_usd=4.0, cost_source="own", user_id="user_1", session_id="session_1", attributed=True)
        price_id = enter()
        before, steps = stored(database), []
        done = carry_out(database, progress=lambda step, total: steps.append((step, total)))
        assert (done, steps) == (603, [(250, 603), (500, 603), (603, 603)])
        assert stored(database) == before
        found = corrections(database)
        assert {(one.cost_usd, one.price_id, one.cost_source, one.created_by) for one in found} == {
            (1.0, price_id, "own", ADMIN.user_id)
        }
        assert sorted(one.cost_before or 0 for one in found) == [0.0] * 600 + [4.0] * 3
        self.assert_sound(database, cost=603.0, unpriced=0)

    def test_a_second_time_nothing_is_left_to_do(self, database, log, enter):
        log(5)
        enter()
        carry_out(database)
        assert (look(database).changing, carry_out(database), len(corrections(database))) == (0, 0, 5)

    def test_the_newest_correction_is_what_a_call_costs(self, database, log, enter):
        log(4)
        enter(input_usd=1.0)
        carry_out(database)
        enter(input_usd=3.0)
        assert (look(database).cost_before, look(database).cost_after) == (4.0, 12.0)
        carry_out(database)
        assert [(one.cost_before, one.cost_usd) for one in corrections(database)][4:] == [(1.0, 3.0)] * 4
        self.assert_sound(database, cost=12.0, unpriced=0)

    def test_the_public_list_prices_what_was_unpriced(self, database, log):
        log(2, model="gpt-4o", base_url="https://api.openai.com/v1")
        carry_out(database)
        assert {(one.cost_usd, one.cost_source) for one in corrections(database)} == {(2.5, "genai-prices 0.2.3")}

    def test_who_did_it_is_kept(self, database, log, enter):
        log(2)
        enter()
        carry_out(database)
        with database.read() as db:
            [kept] = db.exec(select(Activity).where(Activity.kind == "call.reprice")).all()
        assert kept.user_id == ADMIN.user_id
        assert kept.detail == {"calls": 2, "newly_priced": 2, "cost_before": 0.0, "cost_after": 2.0}

    def assert_sound(self, database: Database, *, cost: float, unpriced: int) -> None:
        """The rollups agree with the calls and hold these sums, and the chain of seals holds."""
        with database.read() as db:
            assert find_disagreements(db) == []
            for rollup in (LlmCallHour, LlmCallDay):
                rows = db.exec(select(rollup)).all()
                assert (sum(row.cost_usd for row in rows), sum(row.unpriced for row in rows)) == (cost, unpriced)
        assert verify(database).ok


class TestWhatThePreviewDidNotShow(OnSqlite):
    def test_a_price_entered_meanwhile_is_refused(self, database, log, enter):
        log(2)
        enter(input_usd=1.0)
        shown = look(database)
        enter(input_usd=2.0)
        with pytest.raises(ConflictError, match="no longer what the preview showed"):
            reprice(ADMIN, database, ALL, expected=shown)
        assert corrections(database) == []

    def test_a_price_that_ended_meanwhile_is_refused(self, database, log, enter):
        log(1, created_at=datetime.now(UTC))
        price_id = enter(valid_from=START)
        shown = look(database)
        end_price(ADMIN, database, price_id)
        database.write(lambda db: db.connection().exec_driver_sql("UPDATE model_price SET ended_at = valid_from"))
        with pytest.raises(ConflictError):
            reprice(ADMIN, database, ALL, expected=shown)

    def test_other_calls_than_those_shown_are_refused(self, database, log, enter):
        log(2)
        log(2, model="other")
        enter("*")
        with pytest.raises(ConflictError):
            reprice(ADMIN, database, ALL, expected=look(database, CallFilter(models=("m",))))
        assert corrections(database) == []

    def test_a_price_entered_in_the_middle_stops_it(self, database, log, enter):
        log(1_600)
        enter(input_usd=1.0)
        shown = look(database)
        with pytest.raises(ConflictError, match=r"Somebody else changed prices"):
            reprice(
                ADMIN, database, ALL, expected=shown, progress=lambda done, _: done == 250 and enter(input_usd=2.0)
            )
        assert {one.cost_usd for one in corrections(database)} == {1.0}

    def test_calls_that_were_logged_since_do_not_matter(self, database, log, enter):
        log(2)
        enter()
        shown = look(database)
        log(2, created_at=datetime.now(UTC))
        assert reprice(ADMIN, database, ALL, expected=shown) == 2

    @pytest.mark.parametrize(("meddled", "appended"), [(550, 500), (1_550, 1_500)])
    def test_a_correction_by_somebody_else_in_the_middle_stops_it_and_nothing_is_done_twice(
        self, database, log, enter, meddled, appended
    ):
        ids = log(1_600)
        enter()
        shown = look(database)

        def progress(done: int, _total: int) -> None:
            if done == 250:
                _correct(database, ids[meddled])

        with pytest.raises(
            ConflictError, match=rf"Somebody else .* {appended:,} corrections were appended before\."
        ):
            reprice(ADMIN, database, ALL, expected=shown, progress=progress)
        found = [one.call_id for one in corrections(database)]
        assert sorted(found) == sorted([*ids[:appended], ids[meddled]])
        assert verify(database).ok


def _correct(database: Database, call_id: str) -> None:
    """Another process's correction of one call."""
    row = CostCorrection(correction_id="fix_1795214478774_4CW9G9F475EY", call_id=call_id, cost_usd=9.0)

    def job(db) -> None:
        values = row.model_dump()
        seal(db, [], [values])
        db.connection().execute(table_of(CostCorrection).insert(), values)

    database.write(job)
