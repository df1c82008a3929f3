"""Analytics: every panel, under any filter, is what plain pandas says over all rows."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels import analytics
from core.calls.panels.rollups import find_disagreements
from core.calls.where import offsets_between, where_of
from core.database import Database
from core.ids import UserId
from core.tables import Session, User
from tests.core.test_rollups import CALL, START, a_call, correct, some_calls, store

ANALYST = Viewer(UserId("user_z"), "zoe", "analyst")
MEMBER = Viewer(UserId("user_a"), "ann", "member")
STRANGER = Viewer(UserId("user_x"), "max", "member")
ZONES = [
    ZoneInfo(name)
    for name in ("UTC", "Europe/Berlin", "Asia/Shanghai", "Asia/Kolkata", "Asia/Kathmandu", "America/St_Johns")
]
SUMS = ["calls", "errors", "cost_usd", "unpriced", "input_tokens", "output_tokens", "cache_read_tokens"]


@dataclass(frozen=True)
class Log:
    """A log and the same rows as a table, whose costs are as corrected."""

    database: Database
    rows: pd.DataFrame = field(repr=False)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Log]:
    database = Database(_url(request, tmp_path_factory.mktemp("analytics")))
    database.migrate()
    people = [User(user_id="user_a", name="ann"), User(user_id="user_b", name="bob")]
    database.write(lambda db: db.add_all(people))
    database.write(lambda db: db.add(Session(session_id="user_a_1", user_id="user_a", title="First")))
    rows = some_calls(5, 900)  # begins an evening before Europe's clocks go back
    store(database, rows[:500])
    store(database, rows[500:])
    for number, row in enumerate(row for row in rows[:200] if row["status"] != "started"):
        correct(database, row, None if number % 7 == 0 else number / 9)
    yield Log(database, _table(rows))
    database.close()


def _url(request: pytest.FixtureRequest, folder: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{folder / 'skein.db'}"
    uri = request.getfixturevalue("postgres")
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("CREATE DATABASE analytics")
    return make_url(uri).set(drivername="postgresql+psycopg", database="analytics").render_as_string(False)


def _table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame([{**row, **_plain(row)} for row in rows])


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    texts = ("user_id", "session_id", "thread_id", "agent_id", "agent_key", "node", "model", "error_type")
    counts = ("input_tokens", "output_tokens", "cache_read_tokens", "reasoning_tokens")
    return {
        **{name: row[name] or "" for name in texts},
        **{name: row[name] or 0 for name in counts},
        "unpriced": int(row["cost_usd"] is None),
        "cost_usd": float(row["cost_usd"] or 0),
        "errors": int(row["status"] in ("error", "lost")),
        "calls": 1,
        "tokens": (row["input_tokens"] or 0) + (row["output_tokens"] or 0),
    }


LISTS = {
    "users": ("user_id", ["user_a", "user_b", "", "user_q"]),
    "sessions": ("session_id", ["user_a_1", "user_b_2", ""]),
    "agents": ("agent_id", ["assistant", "writer", ""]),
    "agent_keys": ("agent_key", ["writer", ""]),
    "nodes": ("node", ["talk", "结点", ""]),
    "models": ("model", ["gpt", "qwen", ""]),
    "statuses": ("status", ["ok", "error", "cancelled", "lost"]),
    "error_types": ("error_type", ["Timeout", "RateLimit", ""]),
}


def meant(log: Log, viewer: Viewer, wanted: CallFilter, tz: ZoneInfo, *, ended: bool = True) -> pd.DataFrame:
    """The rows that a filter means, read from its description and nothing else."""
    rows = log.rows
    local = rows["created_at"].dt.tz_convert(tz).dt
    chosen = {column: rows[column].isin(getattr(wanted, name)) for name, (column, _) in LISTS.items()}
    conditions = [
        (True, (rows["status"] != "started") == ended),
        (viewer.role == "member", rows["user_id"] == viewer.user_id),
        *[(getattr(wanted, name), chosen[column]) for name, (column, _) in LISTS.items()],
        (wanted.since, rows["created_at"] >= (wanted.since or START)),
        (wanted.until, rows["created_at"] < (wanted.until or START)),
        (wanted.attributed is not None, rows["attributed"] == wanted.attributed),
        (wanted.thread, rows["thread_id"] == wanted.thread),
        (wanted.message, rows["message_id"] == wanted.message),
        (wanted.min_ms is not None, rows["duration_ms"] >= (wanted.min_ms or 0)),
        (wanted.max_ms is not None, rows["duration_ms"] < (wanted.max_ms or 0)),
        (wanted.weekday is not None, local.day_of_week == wanted.weekday),
        (wanted.hour is not None, local.hour == wanted.hour),
    ]
    return rows[np.all([keep for asked, keep in conditions if asked], axis=0)]


@st.composite
def filters(draw: st.DrawFn) -> CallFilter:
    """Any filter, mostly of few things at once."""
    moments = st.none() | st.integers(0, 4 * 86_400_000).map(lambda ms: START + timedelta(milliseconds=ms))
    lists = draw(st.sets(st.sampled_from(sorted(LISTS)), max_size=2))
    rare = st.sampled_from([None] * 5 + [True])
    changes: dict[str, Any] = {
        name: tuple(draw(st.lists(st.sampled_from(LISTS[name][1]), min_size=1, max_size=2, unique=True)))
        for name in sorted(lists)
    }
    if draw(rare):
        changes["attributed"] = draw(st.booleans())
    if draw(rare):
        changes |= draw(st.sampled_from([{"thread": "user_a_t"}, {"message": "user_b_m"}]))
    if draw(rare):
        changes |= {"min_ms": draw(st.floats(0, 5_000)), "max_ms": draw(st.none() | st.floats(100, 90_000))}
    if draw(rare):
        changes |= {"weekday": draw(st.none() | st.integers(0, 6)), "hour": draw(st.none() | st.integers(0, 23))}
    return CallFilter(since=draw(moments), until=draw(moments), **changes)


any_filter = given(wanted=filters(), viewer=st.sampled_from([ANALYST, MEMBER, STRANGER]), tz=st.sampled_from(ZONES))
often = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


def exact(times: "pd.Series[float]", share: float) -> Any:
    known = times.dropna().to_numpy(dtype=float)
    return float(np.quantile(known, share, method="inverted_cdf")) if len(known) else None


def about(times: "pd.Series[float]", share: float) -> Any:
    """The exact percentile as it may be shown; what takes less than a millisecond shows as one."""
    value = exact(times, share)
    return None if value is None else pytest.approx(max(value, 1.0), rel=0.025)


def same(found: pd.DataFrame, expected: pd.DataFrame, keys: list[str]) -> None:
    """Both have the same rows, in whatever order."""
    names = list(found.columns)
    left = found.sort_values(keys)[names].to_dict("records")
    right = expected.sort_values(keys)[names].to_dict("records")
    assert left == [
        {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}
        for row in right
    ]


class TestEveryFilter:
    @often
    @any_filter
    def test_totals(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        with log.database.read() as db:
            found = analytics.read_totals(viewer, db, wanted, tz)
        rows = meant(log, viewer, wanted, tz)
        assert found == analytics.Totals(
            calls=len(rows),
            errors=int(rows["errors"].sum()),
            cancelled=int((rows["status"] == "cancelled").sum()),
            cost_usd=pytest.approx(rows["cost_usd"].sum()),
            unpriced=int(rows["unpriced"].sum()),
            estimated=int((rows["usage_source"] == "estimated").sum()),
            input_tokens=int(rows["input_tokens"].sum()),
            output_tokens=int(rows["output_tokens"].sum()),
            cache_read_tokens=int(rows["cache_read_tokens"].sum()),
            reasoning_tokens=int(rows["reasoning_tokens"].sum()),
            attributed=int(rows["attributed"].sum()),
            cache_hits=0,
            running=len(meant(log, viewer, wanted, tz, ended=False)),
            p50_ms=about(rows["duration_ms"], 0.5),
            p95_ms=about(rows["duration_ms"], 0.95),
            p99_ms=about(rows["duration_ms"], 0.99),
            ttft_p50_ms=about(rows["ttft_ms"], 0.5),
            ttft_p95_ms=about(rows["ttft_ms"], 0.95),
        )

    @often
    @any_filter
    def test_series(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        rows = meant(log, viewer, wanted, tz)
        local = rows["created_at"].dt.tz_convert(tz)
        past = pd.to_timedelta(local.dt.minute * 60 + local.dt.second, unit="s")
        hours = (rows["created_at"].dt.floor("s") - past).dt.tz_convert(tz)
        for step, at in (("hour", hours), ("day", local.dt.normalize())):
            with log.database.read() as db:
                found = analytics.read_series(viewer, db, wanted, tz, step)
            expected = rows.assign(at=at).groupby(["at", "model"], as_index=False)[SUMS].sum()
            same(found, expected, ["at", "model"])

    @often
    @any_filter
    def test_latency(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        with log.database.read() as db:
            found = analytics.read_latency(viewer, db, wanted, tz)
        rows = meant(log, viewer, wanted, tz)
        assert {row.model: _times_of(row) for row in found.itertuples()} == {
            model: [group["duration_ms"].count()]
            + [about(group[name], share) for name in ("duration_ms", "ttft_ms") for share in (0.5, 0.95, 0.99)]
            for model, group in rows.groupby("model")
        }

    @often
    @any_filter
    def test_histogram(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        rows = meant(log, viewer, wanted, tz)
        for which, column in (("duration", "duration_ms"), ("ttft", "ttft_ms")):
            with log.database.read() as db:
                found = analytics.read_histogram(viewer, db, wanted, tz, which)
            times = rows[column].dropna().astype(float)
            bars = zip(found["from_ms"], found["to_ms"], strict=True)
            expected = [int(((times >= low) & (times < high)).sum()) for low, high in bars]
            assert list(found["calls"]) == expected
            assert (sum(expected), len(found) <= 40) == (len(times), True)

    @often
    @any_filter
    def test_errors(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        with log.database.read() as db:
            found = analytics.read_errors(viewer, db, wanted, tz)
        rows = meant(log, viewer, wanted, tz)
        failed = rows[rows["errors"] == 1]
        same(found, failed.groupby(["error_type", "node"], as_index=False)[["calls"]].sum(), ["error_type", "node"])

    @often
    @given(data=st.data(), limit=st.sampled_from([1, 2, 20]), by=st.sampled_from(sorted(analytics._TOP_BY)))
    def test_top(self, log: Log, data: st.DataObject, limit: int, by: Any) -> None:
        wanted, viewer = data.draw(filters()), data.draw(st.sampled_from([ANALYST, MEMBER, STRANGER]))
        tz, column = ZONES[1], analytics._TOP_BY[by]
        with log.database.read() as db:
            found = analytics.read_top(viewer, db, wanted, tz, by, limit=limit)
        sums = ["calls", "errors", "cost_usd", "unpriced", "tokens"]
        rows = meant(log, viewer, wanted, tz).groupby(column, as_index=False)[sums].sum()
        rows = rows.sort_values(["cost_usd", "calls", column], ascending=[False, False, True]).head(limit)
        labels = {"user_a": "ann", "user_b": "bob", "user_a_1": "First"}
        rows.insert(1, "label", [labels.get(key, key) for key in rows[column]])
        same(found, rows.rename(columns={column: "key"}), ["key"])

    @often
    @any_filter
    def test_heat(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        with log.database.read() as db:
            found = analytics.read_heat(viewer, db, wanted, tz)
        rows = meant(log, viewer, wanted, tz)
        local = rows["created_at"].dt.tz_convert(tz).dt
        rows = rows.assign(weekday=local.day_of_week, hour=local.hour)
        expected = rows.groupby(["weekday", "hour"], as_index=False)[["calls", "cost_usd", "errors"]].sum()
        same(found, expected, ["weekday", "hour"])

    @often
    @any_filter
    def test_conditions_on_the_calls_themselves(
        self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo
    ) -> None:
        query = CALL.select().where(*where_of(wanted, viewer, tz), CALL.c.status != "started")
        with log.database.read() as db:
            found = {row.call_id for row in db.connection().execute(query)}
        assert found == {*meant(log, viewer, wanted, tz)["call_id"]}

    @often
    @any_filter
    def test_calls_whose_text_was_found(self, log: Log, wanted: CallFilter, viewer: Viewer, tz: ZoneInfo) -> None:
        ids = list(log.rows["call_id"].iloc[::3])
        with log.database.read() as db:
            totals = analytics.read_totals(viewer, db, wanted, tz, call_ids=ids)
            top = analytics.read_top(viewer, db, wanted, tz, "user", call_ids=ids)
        rows = meant(log, viewer, wanted, tz)
        rows = rows[rows["call_id"].isin(ids)]
        assert (totals.calls, totals.p95_ms) == (len(rows), about(rows["duration_ms"], 0.95))
        assert top["calls"].sum() == len(rows)


def _times_of(row: Any) -> list[Any]:
    times = [row.calls, row.p50_ms, row.p95_ms, row.p99_ms, row.ttft_p50_ms, row.ttft_p95_ms, row.ttft_p99_ms]
    return [None if value is None or pd.isna(value) else value for value in times]


class TestWhoSeesWhat:
    def test_a_stranger_sees_nothing_whatever_they_ask_for(self, log: Log) -> None:
        for wanted in (CallFilter(), CallFilter(users=("user_a",)), CallFilter(thread="user_a_t")):
            with log.database.read() as db:
                assert analytics.read_totals(STRANGER, db, wanted, ZONES[0]).calls == 0
                assert len(analytics.read_series(STRANGER, db, wanted, ZONES[0])) == 0
                assert len(analytics.read_top(STRANGER, db, wanted, ZONES[0], "session")) == 0
        ids = list(log.rows["call_id"])
        with log.database.read() as db:
            assert analytics.read_totals(STRANGER, db, CallFilter(), ZONES[0], call_ids=ids).calls == 0

    def test_choices_are_what_the_viewer_may_see(self, log: Log) -> None:
        with log.database.read() as db:
            everything = analytics.read_choices(ANALYST, db, CallFilter())
            own = analytics.read_choices(MEMBER, db, CallFilter())
            nothing = analytics.read_choices(STRANGER, db, CallFilter())
        assert everything == analytics.Choices(
            users={"user_a": "ann", "user_b": "bob"},
            agents=["assistant", "writer"],
            agent_keys=["writer"],
            nodes=["talk", "结点"],
            models=["gpt", "qwen"],
            error_types=["RateLimit", "Timeout"],
        )
        assert own.users == {"user_a": "ann"}
        assert nothing == analytics.Choices({}, [], [], [], [], [])

    def test_choices_do_not_shrink_when_one_is_made(self, log: Log) -> None:
        with log.database.read() as db:
            chosen = analytics.read_choices(ANALYST, db, CallFilter(models=("gpt",)))
            assert chosen == analytics.read_choices(ANALYST, db, CallFilter())


class TestDaysAndHours:
    def test_a_day_on_which_the_clocks_go_back_has_25_hours(self, database: Database) -> None:
        berlin = ZoneInfo("Europe/Berlin")
        first = datetime(2026, 10, 25, tzinfo=berlin).astimezone(UTC)
        store(database, [a_call(created_at=first + timedelta(hours=hour)) for hour in range(25)])

        with database.read() as db:
            days = analytics.read_series(ANALYST, db, CallFilter(), berlin, "day")
            hours = analytics.read_series(ANALYST, db, CallFilter(), berlin, "hour")
            heat = analytics.read_heat(ANALYST, db, CallFilter(), berlin)
            twos = analytics.read_totals(ANALYST, db, CallFilter(hour=2, weekday=6), berlin)
        assert [(row.at.isoformat(), row.calls) for row in days.itertuples()] == [("2026-10-25T00:00:00+02:00", 25)]
        assert [row.at.isoformat()[11:] for row in hours.itertuples()][2:4] == ["02:00:00+02:00", "02:00:00+01:00"]
        assert dict(zip(heat["hour"], heat["calls"], strict=True))[2] == twos.calls == 2

    def test_a_day_without_a_midnight_begins_with_its_first_moment(self, database: Database) -> None:
        beirut = ZoneInfo("Asia/Beirut")  # 2026-03-29 begins at 01:00
        store(database, [a_call(created_at=datetime(2026, 3, 29, hour, tzinfo=beirut)) for hour in (5, 9)])

        with database.read() as db:
            (row,) = analytics.read_series(ANALYST, db, CallFilter(), beirut, "day").itertuples()
        assert (row.at.isoformat(), row.calls) == ("2026-03-29T01:00:00+03:00", 2)

    @pytest.mark.parametrize("zone", ["Asia/Kolkata", "Asia/Kathmandu", "Australia/Adelaide"])
    def test_a_zone_of_half_or_quarter_hours_has_its_own_hours_and_days(
        self, database: Database, zone: str
    ) -> None:
        tz = ZoneInfo(zone)
        moments = [(1, 23, 55), (2, 0, 5), (2, 0, 20), (2, 9, 40), (2, 9, 59), (2, 10, 0)]
        store(database, [a_call(created_at=datetime(2026, 11, *moment, tzinfo=tz)) for moment in moments])

        with database.read() as db:
            hours = analytics.read_series(ANALYST, db, CallFilter(), tz, "hour")
            days = analytics.read_series(ANALYST, db, CallFilter(), tz, "day")
            heat = analytics.read_heat(ANALYST, db, CallFilter(), tz)
            for bars, length in ((hours, timedelta(hours=1)), (days, timedelta(days=1))):
                for bar in bars.itertuples():
                    window = CallFilter(since=bar.at, until=bar.at + length)
                    assert analytics.read_totals(ANALYST, db, window, tz).calls == bar.calls
            for cell in heat.itertuples():
                wanted = CallFilter(weekday=int(cell.weekday), hour=int(cell.hour))
                assert analytics.read_totals(ANALYST, db, wanted, tz).calls == cell.calls
                table = CALL.select().where(*where_of(wanted, ANALYST, tz))
                assert len(db.connection().execute(table).all()) == cell.calls
        assert [(bar.at.strftime("%d %H:%M"), bar.calls) for bar in hours.itertuples()] == [
            ("01 23:00", 1),
            ("02 00:00", 2),
            ("02 09:00", 2),
            ("02 10:00", 1),
        ]
        assert [(bar.at.strftime("%d %H:%M"), bar.calls) for bar in days.itertuples()] == [
            ("01 00:00", 1),
            ("02 00:00", 5),
        ]

    def test_answers_from_a_cache_are_counted_apart(self, database: Database) -> None:
        at = START + timedelta(minutes=20)
        hit = {"cost_source": "cache", "cost_usd": 0.0, "usage_source": "cache", "model": "gpt"}
        rows = [a_call(created_at=at, model="gpt"), a_call(created_at=at, **hit), a_call(created_at=at, **hit)]
        store(database, rows)
        windows = [CallFilter(), CallFilter(until=at + timedelta(minutes=1)), CallFilter(statuses=("ok",))]
        with database.read() as db:
            assert find_disagreements(db) == []
            for wanted in windows:
                totals = analytics.read_totals(ANALYST, db, wanted, ZONES[0])
                assert (totals.calls, totals.cache_hits) == (1, 2)
                latency = analytics.read_latency(ANALYST, db, wanted, ZONES[0])
                assert list(latency["calls"]) == [1]
                assert analytics.read_top(ANALYST, db, wanted, ZONES[0], "model")["calls"].sum() == 1

    def test_a_window_cuts_to_the_millisecond(self, database: Database) -> None:
        at = START + timedelta(minutes=20)
        step = timedelta(milliseconds=1)
        store(database, [a_call(created_at=at + step * number) for number in range(-2, 3)])

        for hours in (0, 5):
            window = CallFilter(since=at, until=at + timedelta(hours=hours) + 2 * step)
            with database.read() as db:
                assert analytics.read_totals(ANALYST, db, window, ZONES[0]).calls == (3 if hours else 2)

    def test_offsets_change_when_the_clocks_do(self) -> None:
        year = [datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)]
        changes = [
            (datetime(2026, 1, 1, tzinfo=UTC), 3600),
            (datetime(2026, 3, 29, 1, tzinfo=UTC), 7200),
            (datetime(2026, 10, 25, 1, tzinfo=UTC), 3600),
        ]
        assert [tuple(offset) for offset in offsets_between(ZoneInfo("Europe/Berlin"), *year)] == changes


class TestTheLogItself:
    def test_an_empty_log_has_empty_panels(self, database: Database) -> None:
        wanted = CallFilter(since=START, until=START + timedelta(days=2, minutes=5))
        look = (ANALYST, wanted, ZONES[1])
        with database.read() as db:
            viewer, _, tz = look
            totals = analytics.read_totals(viewer, db, wanted, tz)
            frames = [
                analytics.read_series(viewer, db, wanted, tz, "hour"),
                analytics.read_latency(viewer, db, wanted, tz),
                analytics.read_histogram(viewer, db, wanted, tz, "ttft"),
                analytics.read_errors(viewer, db, wanted, tz),
                analytics.read_top(viewer, db, wanted, tz, "user"),
                analytics.read_heat(viewer, db, wanted, tz),
            ]
            choices = analytics.read_choices(viewer, db, wanted)
            nothing_found = analytics.read_totals(viewer, db, wanted, tz, call_ids=[])
        assert totals == nothing_found
        assert (totals.calls, totals.cost_usd, totals.p50_ms, totals.running) == (0, 0.0, None, 0)
        assert [len(frame) for frame in frames] == [0] * 6
        assert choices.models == []

    def test_it_is_seen_to_change_when_a_call_begins_or_is_corrected(self, database: Database) -> None:
        seen = []

        def look() -> None:
            with database.read() as db:
                seen.append(analytics.newest_change(ANALYST, db))

        row = a_call()
        look()
        look()
        store(database, [row])
        look()
        correct(database, row, 3.0)
        look()
        assert [seen.index(value) for value in seen] == [0, 0, 2, 3]

    def test_top_counts_whole_hours_and_edges_together(self, database: Database) -> None:
        pick = random.Random(3)
        moments = [START + timedelta(minutes=pick.randrange(600)) for _ in range(300)]
        rows = [
            a_call(created_at=at, session_id=f"s{pick.randrange(40)}", cost_usd=pick.random()) for at in moments
        ]
        store(database, rows)
        window = CallFilter(since=START + timedelta(minutes=7), until=START + timedelta(minutes=590))
        costs: dict[str, float] = {}
        for row in rows:
            if START + timedelta(minutes=7) <= row["created_at"] < START + timedelta(minutes=590):
                costs[row["session_id"]] = costs.get(row["session_id"], 0) + row["cost_usd"]

        with database.read() as db:
            found = analytics.read_top(ANALYST, db, window, ZONES[0], "session", limit=3)
            all_day = analytics.read_top(ANALYST, db, replace(window, since=None), ZONES[0], "session", limit=50)
        assert list(found["key"]) == sorted(costs, key=lambda key: -costs[key])[:3]
        assert len(all_day) == 40
