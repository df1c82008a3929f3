"""Rollups: whatever calls come in whatever batches, what is counted is what a recount of the calls gives."""

import itertools
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, select, update

from core.calls.panels.histograms import bucket_of, edge_of, merge, middle_of, pack, percentile, to_counts, unpack
from core.calls.panels.rollups import count_calls, count_corrections, find_disagreements
from core.database import Database, table_of
from core.ids import new_call_id, new_correction_id
from core.tables import CostCorrection, LlmCall, LlmCallDay, LlmCallHour

START = datetime(2026, 10, 24, 21, tzinfo=UTC)
CALL, HOUR, DAY, FIX = (table_of(model) for model in (LlmCall, LlmCallHour, LlmCallDay, CostCorrection))
_EMPTY = {column.name: None for column in CALL.columns}


def a_call(**changes: Any) -> dict[str, Any]:
    """A row of ``llm_call``: an ordinary call that ended well."""
    usual = {
        "call_id": new_call_id(),
        "run_id": "run",
        "created_at": START,
        "ended_at": START,
        "user_id": "user_a",
        "session_id": "session_a",
        "agent_id": "assistant",
        "agent_key": "assistant",
        "node": "talk",
        "operation": "chat",
        "model": "gpt",
        "params": {},
        "streamed": True,
        "status": "ok",
        "attempt": 1,
        "cost_source": None,
        "duration_ms": 120.0,
        "ttft_ms": 20.0,
        "input_tokens": 100,
        "output_tokens": 10,
        "usage_source": "model",
        "cost_usd": 0.25,
        "context_compacted": False,
        "attributed": True,
        "tags": [],
    }
    return {**_EMPTY, **usual, **changes}


def some_calls(seed: int, count: int, *, days: float = 3) -> list[dict[str, Any]]:
    """Calls of all kinds, with much missing, over these days."""
    pick = random.Random(seed)
    return [_some_call(pick, days) for _ in range(count)]


def _some_call(pick: random.Random, days: float) -> dict[str, Any]:
    status = pick.choice(["ok", "ok", "ok", "error", "cancelled", "lost", "started"])
    user = pick.choice([None, "user_a", "user_a", "user_b"])
    ended = status != "started"
    numbers = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
    return a_call(
        created_at=START + timedelta(microseconds=pick.randrange(int(days * 86_400_000_000))),
        user_id=user,
        session_id=user and pick.choice([f"{user}_1", f"{user}_2", None]),
        thread_id=user and pick.choice([f"{user}_t", None]),
        message_id=user and pick.choice([f"{user}_m", None]),
        attributed=user is not None,
        agent_id=pick.choice([None, "assistant", "writer"]),
        agent_key=pick.choice([None, "", "writer"]),
        node=pick.choice([None, "talk", "结点"]),
        model=pick.choice([None, "gpt", "qwen"]),
        status=status,
        error_type=pick.choice(["Timeout", "RateLimit", None]) if status == "error" else None,
        duration_ms=pick.choice([None, 0.0, pick.uniform(0.1, 90_000)]) if ended else None,
        ttft_ms=pick.choice([None, pick.uniform(0.1, 3_000)]) if ended else None,
        usage_source=pick.choice([None, "model", "estimated"]),
        cost_usd=pick.choice([None, 0.0, pick.random()]) if ended else None,
        **{name: pick.choice([None, pick.randrange(10_000)]) for name in numbers},
    )


def store(database: Database, rows: list[dict[str, Any]]) -> None:
    """What the log's writer does with a batch: the rows and their counts in one transaction."""

    def job(db: Any) -> None:
        if rows:
            db.connection().execute(CALL.insert(), rows)
        count_calls(db, rows)

    database.write(job)


def correct(database: Database, row: dict[str, Any], cost_usd: float | None) -> None:
    """What re-pricing does: a correction, and its difference counted."""
    before = row["cost_usd"]
    fix = {"correction_id": new_correction_id(), "call_id": row["call_id"], "created_at": START, "reason": ""}

    def job(db: Any) -> None:
        db.connection().execute(
            FIX.insert(), [{**fix, "cost_before": before, "cost_usd": cost_usd, "cost_source": "own"}]
        )
        count_corrections(db, [(row, (cost_usd or 0) - (before or 0), (before is None) - (cost_usd is None))])

    database.write(job)
    row["cost_usd"] = cost_usd


def disagreements(database: Database, **window: datetime) -> list[str]:
    with database.read() as db:
        return find_disagreements(db, **window)


def total(database: Database, column: Any) -> Any:
    with database.read() as db:
        return db.connection().execute(select(func.sum(column))).scalar()


class TestCounting:
    def test_any_sequence_of_batches_counts_the_same_as_a_recount(self, database: Database) -> None:
        pick = random.Random(7)
        rows = some_calls(7, 600)
        while rows:
            size = pick.randrange(1, 90)
            store(database, rows[:size])
            rows = rows[size:]

        assert disagreements(database) == []
        assert total(database, HOUR.c.calls) == total(database, DAY.c.calls) > 400

    @settings(max_examples=15, deadline=None)
    @given(cuts=st.lists(st.integers(0, 80), max_size=6), seed=st.integers(0, 10_000))
    def test_how_calls_are_cut_into_batches_changes_nothing(
        self, cuts: list[int], seed: int, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        database = Database(f"sqlite:///{tmp_path_factory.mktemp('cuts') / 'skein.db'}")
        database.migrate()
        rows = some_calls(seed, 80)
        edges = [0, *sorted(cuts), 80]
        for start, end in itertools.pairwise(edges):
            store(database, rows[start:end])

        found = disagreements(database)
        database.close()
        assert found == []

    def test_calls_that_only_began_are_not_counted(self, database: Database) -> None:
        store(database, [a_call(status="started")])

        assert total(database, HOUR.c.calls) is None
        assert disagreements(database) == []

    def test_a_call_counts_where_it_began_however_late_it_ends(self, database: Database) -> None:
        store(database, [a_call(ended_at=START + timedelta(hours=30))])

        with database.read() as db:
            hour, day = (db.connection().execute(select(c)).scalar_one() for c in (HOUR.c.hour, DAY.c.day))
        assert (hour, day) == (int(START.timestamp()) // 3600, int(START.timestamp()) // 86400)

    def test_a_missing_text_counts_as_an_empty_one(self, database: Database) -> None:
        store(database, [a_call(node=None), a_call(node="")])

        with database.read() as db:
            rows = db.connection().execute(select(HOUR.c.node, HOUR.c.calls)).all()
        assert [tuple(row) for row in rows] == [("", 2)]

    def test_the_sums_are_those_of_the_calls(self, database: Database) -> None:
        estimated = a_call(usage_source="estimated", cost_usd=None, input_tokens=7)
        store(database, [a_call(), a_call(), estimated])

        with database.read() as db:
            row = db.connection().execute(select(DAY)).mappings().one()
        names = ("calls", "unpriced", "estimated", "input_tokens", "cost_usd", "duration_ms")
        assert [row[name] for name in names] == [3, 1, 1, 207, 0.5, 360.0]

    def test_calls_that_nobody_answers_for_count_apart(self, database: Database) -> None:
        store(database, [a_call(), a_call(attributed=False), a_call()])

        with database.read() as db:
            rows = db.connection().execute(select(HOUR.c.attributed, HOUR.c.calls).order_by(HOUR.c.calls)).all()
        assert [tuple(row) for row in rows] == [(False, 1), (True, 2)]


class TestCorrections:
    def test_corrected_costs_are_counted_also_when_corrected_twice(self, database: Database) -> None:
        rows = [row for row in some_calls(3, 120) if row["status"] != "started"]
        store(database, rows)
        for number, row in enumerate(rows[:40]):
            correct(database, row, None if number % 5 == 0 else number / 7)
        for row in rows[:10]:
            correct(database, row, 2.0)

        assert disagreements(database) == []

    def test_a_call_that_became_priced_is_no_longer_unpriced(self, database: Database) -> None:
        row = a_call(cost_usd=None)
        store(database, [row])
        correct(database, row, 0.75)

        assert [total(database, DAY.c.unpriced), total(database, HOUR.c.cost_usd)] == [0, 0.75]


class TestDisagreements:
    def test_a_changed_count_is_named(self, database: Database) -> None:
        store(database, [a_call()])
        database.write(lambda db: db.connection().execute(update(DAY).values(calls=5)) and None)

        (sentence,) = disagreements(database)
        assert sentence.startswith("llm_call_day {'day': ")
        assert sentence.endswith("disagrees with its calls: calls is 5, but should be 1.")

    def test_missing_and_needless_rows_are_named(self, database: Database) -> None:
        store(database, [a_call()])
        database.write(lambda db: db.connection().execute(delete(HOUR)) and None)
        database.write(lambda db: db.connection().execute(update(DAY).values(model="other")) and None)

        endings = sorted(sentence.rsplit(": ", 1)[1] for sentence in disagreements(database))
        assert endings == ["it is missing.", "it is missing.", "there are no such calls."]

    def test_a_changed_histogram_is_named(self, database: Database) -> None:
        store(database, [a_call()])
        database.write(lambda db: db.connection().execute(update(HOUR).values(ttfts=b"")) and None)

        assert [s.rsplit(": ", 1)[1] for s in disagreements(database)] == ["its histogram ttfts differs."]

    def test_only_the_asked_days_are_looked_at(self, database: Database) -> None:
        store(database, [a_call()])
        database.write(lambda db: db.connection().execute(update(DAY).values(calls=5)) and None)

        assert disagreements(database, since=START + timedelta(days=1)) == []
        assert disagreements(database, until=START - timedelta(days=1)) == []
        assert len(disagreements(database, since=START, until=START + timedelta(hours=1))) == 1


class TestHistograms:
    @given(ms=st.floats(min_value=1, max_value=1e9))
    def test_a_bucket_is_at_most_2_percent_off(self, ms: float) -> None:
        bucket = bucket_of(ms)

        assert abs(middle_of(bucket) / ms - 1) < 0.0201
        assert edge_of(bucket) <= ms * (1 + 1e-9)
        assert ms <= edge_of(bucket + 1) * (1 + 1e-9)

    @settings(deadline=None)
    @given(
        times=st.lists(st.floats(min_value=1, max_value=1e7), min_size=1, max_size=300),
        share=st.sampled_from([0.01, 0.5, 0.95, 0.99, 1.0]),
    )
    def test_a_percentile_is_that_of_the_times(self, times: list[float], share: float) -> None:
        exact = float(np.quantile(times, share, method="inverted_cdf"))

        assert percentile(to_counts(np.array(times)), share) == pytest.approx(exact, rel=0.0201)

    def test_merged_histograms_are_those_of_all_times(self, database: Database) -> None:
        rows = some_calls(11, 500)
        store(database, rows[:200])
        store(database, rows[200:])

        with database.read() as db:
            merged = merge(db.connection().execute(select(HOUR.c.durations)).scalars())
        times = [row["duration_ms"] for row in rows if row["duration_ms"] is not None]
        assert merged.tolist() == to_counts(np.array(times)).tolist()

    @given(times=st.dictionaries(st.integers(0, 1000), st.integers(1, 2**32 - 1)))
    def test_a_stored_histogram_is_read_back(self, times: dict[int, int]) -> None:
        assert unpack(pack(times)) == times

    def test_no_times_have_no_percentile(self) -> None:
        assert percentile(merge([]), 0.5) is None
        assert percentile(to_counts(np.array([np.nan])), 0.5) is None
