"""The call table: pages without gap or double in every order, and a call with all that is known of it."""

import base64
import json
import random
import threading
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import insert, select, update

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing import paging
from core.calls.listing.queries import CallDetail, CallRow, count_calls, get_call, list_calls
from core.calls.listing.sums import ThreadCalls, summarize_thread, summarize_threads
from core.calls.text.search import index_calls
from core.database import Database, table_of
from core.errors import BadInputError, NotFoundError
from core.history.messages import NewMessage, add_message
from core.ids import (
    new_call_id,
    new_correction_id,
    new_login_id,
    new_price_id,
    new_session_id,
    new_thread_id,
    new_user_id,
)
from core.tables import (
    Activity,
    Conversation,
    CostCorrection,
    LlmCall,
    LlmCallBody,
    Message,
    ModelPrice,
    Session,
    User,
    utc_now,
)

START = datetime(2026, 10, 24, 21, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
ALL = CallFilter()
SORTS = ("time", "duration", "cost", "tokens")
_EMPTY = {column.name: None for column in table_of(LlmCall).columns}


def a_call(**changes: Any) -> dict[str, Any]:
    """A row of ``llm_call``: an ordinary call that ended well."""
    usual = {
        "call_id": new_call_id(),
        "run_id": "run",
        "created_at": START,
        "ended_at": START,
        "operation": "chat",
        "model": "gpt",
        "params": {},
        "streamed": True,
        "status": "ok",
        "attempt": 1,
        "duration_ms": 120.0,
        "input_tokens": 100,
        "output_tokens": 10,
        "usage_source": "model",
        "cost_usd": 0.25,
        "cost_source": "own",
        "context_compacted": False,
        "attributed": True,
        "tags": [],
    }
    return {**_EMPTY, **usual, **changes}


def put(database: Database, model: Any, *rows: dict[str, Any]) -> None:
    """Insert the rows in one transaction."""
    database.write(lambda db: db.connection().execute(insert(table_of(model)), list(rows)))


def put_correction(database: Database, call_id: str, cost_usd: float | None, **changes: Any) -> None:
    row = {"correction_id": new_correction_id(), "call_id": call_id, "created_at": START, "cost_source": "own"}
    put(database, CostCorrection, row | {"cost_usd": cost_usd, "reason": "", **changes})


def a_person(database: Database, name: str, role: str = "member") -> Viewer:
    viewer = Viewer(new_user_id(), name, role, new_login_id())
    database.write(lambda db: db.add(User(user_id=viewer.user_id, name=name, role=role)))
    return viewer


@pytest.fixture
def alice(database: Database) -> Viewer:
    return a_person(database, "alice")


@pytest.fixture
def boss(database: Database) -> Viewer:
    return a_person(database, "boss", "analyst")


@pytest.fixture(params=["few", "many"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to a page: what is wanted is sorted, or the index of the order is walked a stretch."""
    if request.param == "many":
        monkeypatch.setattr(paging, "FEW", 20)
        monkeypatch.setattr(paging, "_STRETCH", 150)


def page(database: Database, viewer: Viewer, wanted: CallFilter = ALL, **named: Any) -> list[CallRow]:
    with database.read() as db:
        return list_calls(viewer, db, wanted, SHANGHAI, **named).rows


def ids_of(database: Database, viewer: Viewer, wanted: CallFilter = ALL, **named: Any) -> list[str]:
    return [row.call_id for row in page(database, viewer, wanted, **named)]


def walked(database: Database, viewer: Viewer, wanted: CallFilter = ALL, **named: Any) -> list[str]:
    """The ids on all pages, one after the other."""
    found: list[str] = []
    after: str | None = None
    while True:
        with database.read() as db:
            here = list_calls(viewer, db, wanted, SHANGHAI, after=after, **named)
        found += [row.call_id for row in here.rows]
        if here.next is None:
            return found
        after = here.next


def encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def many_calls(count: int, users: list[str]) -> list[dict[str, Any]]:
    """Calls with many equal values, some missing, among them some that still run."""
    pick = random.Random(3)
    made = []
    for number in range(count):
        runs = number % 100 == 99
        made.append(
            a_call(
                created_at=START + timedelta(seconds=number // 3),
                user_id=pick.choice(users),
                status="started" if runs else pick.choice(["ok", "ok", "ok", "error"]),
                model=pick.choice(["gpt", "qwen"]),
                duration_ms=None if runs else float(pick.randrange(40)),
                cost_usd=None if runs or pick.random() < 0.3 else pick.randrange(30) / 10,
                input_tokens=None if runs else pick.randrange(20),
            )
        )
    return made


def sorted_ids(rows: list[dict[str, Any]], sort: str, *, descending: bool) -> list[str]:
    """What the order should be, worked out in Python: values first, then what has none, then the id."""

    def value(row: dict[str, Any]) -> Any:
        if sort == "tokens":
            return None if row["input_tokens"] is None else row["input_tokens"] + row["output_tokens"]
        return row[{"time": "created_at", "duration": "duration_ms", "cost": "cost_usd"}[sort]]

    some = [row for row in rows if value(row) is not None]
    none = [row for row in rows if value(row) is None]
    some.sort(key=lambda row: (value(row), row["call_id"]), reverse=descending)
    none.sort(key=lambda row: row["call_id"], reverse=descending)
    return [row["call_id"] for row in some + none]


@pytest.mark.usefixtures("either_way")
class TestPages:
    @pytest.mark.parametrize("descending", [True, False])
    def test_every_order_gives_each_call_once_and_those_without_a_value_last(
        self, database: Database, boss: Viewer, descending: bool
    ) -> None:
        rows = many_calls(400, ["user_a", "user_b"])
        put(database, LlmCall, *rows)
        for sort in SORTS:
            expected = sorted_ids(rows, sort, descending=descending)
            assert walked(database, boss, sort=sort, descending=descending, limit=37) == expected

    def test_a_filtered_order_gives_the_filtered_calls(self, database: Database, boss: Viewer) -> None:
        rows = many_calls(400, ["user_a", "user_b"])
        put(database, LlmCall, *rows)
        since, until = START + timedelta(seconds=20), START + timedelta(seconds=100)
        choices: dict[CallFilter, Any] = {
            CallFilter(since=since, until=until): lambda row: since <= row["created_at"] < until,
            CallFilter(users=("user_a",), models=("qwen",)): lambda row: (
                row["user_id"] == "user_a" and row["model"] == "qwen"
            ),
            CallFilter(statuses=("error", "started")): lambda row: row["status"] in {"error", "started"},
            CallFilter(min_ms=10, max_ms=12, since=since): lambda row: (
                row["duration_ms"] in {10.0, 11.0} and row["created_at"] >= since
            ),
            CallFilter(nodes=("nowhere",)): lambda row: False,
        }
        for wanted, fits in choices.items():
            for sort in SORTS:
                expected = sorted_ids([row for row in rows if fits(row)], sort, descending=True)
                assert walked(database, boss, wanted, sort=sort, limit=23) == expected

    def test_1200_calls_are_paged_without_gap_or_double_while_more_come_in(
        self, database: Database, boss: Viewer
    ) -> None:
        rows = many_calls(1200, ["user_a"])
        put(database, LlmCall, *rows)
        known, done = {row["call_id"] for row in rows}, threading.Event()

        def add_more() -> None:
            while not done.is_set():
                later = START + timedelta(hours=1)
                put(database, LlmCall, *[a_call(created_at=later, cost_usd=1.0) for _ in range(5)])

        adding = threading.Thread(target=add_more)
        adding.start()
        try:
            found = {sort: walked(database, boss, sort=sort, limit=100) for sort in ("time", "cost")}
        finally:
            done.set()
            adding.join()
        for sort, ids in found.items():
            assert len(ids) == len(set(ids))
            assert [one for one in ids if one in known] == sorted_ids(rows, sort, descending=True)

    def test_costs_are_sorted_as_they_were_corrected(self, database: Database, boss: Viewer) -> None:
        rows = many_calls(200, ["user_a"])
        put(database, LlmCall, *rows)
        pick = random.Random(5)
        for row in pick.sample(rows, 60):
            for cost in (99.0, pick.choice([None, 0.5, 1.0, 7.0])):
                put_correction(database, row["call_id"], cost)
                row["cost_usd"] = cost
        for descending in (True, False):
            expected = sorted_ids(rows, "cost", descending=descending)
            assert walked(database, boss, sort="cost", descending=descending, limit=17) == expected


class TestRows:
    def test_a_line_has_names_titles_and_all_that_the_table_shows(self, database: Database, boss: Viewer) -> None:
        owner, session_id = a_person(database, "王小明"), new_session_id()
        database.write(lambda db: db.add(Session(session_id=session_id, user_id=owner.user_id, title="季度报告")))
        call = a_call(
            user_id=owner.user_id, session_id=session_id, node="写作", error_message="😀\n=1", ttft_ms=1.5
        )
        put(database, LlmCall, call)
        names = {"user_name": "王小明", "session_title": "季度报告"}
        expected = CallRow(**{key: call.get(key) for key in CallRow.__annotations__} | names)
        assert page(database, boss) == [expected]

    def test_a_call_of_nobody_and_of_a_session_that_is_gone_is_shown_without_names(
        self, database: Database, boss: Viewer
    ) -> None:
        put(database, LlmCall, a_call(attributed=False), a_call(user_id="user_gone", session_id="session_gone"))
        shown = [(row.user_id, row.user_name, row.session_title) for row in page(database, boss)]
        assert shown == [("user_gone", None, None), (None, None, None)]

    def test_running_calls_stand_where_they_began(self, database: Database, boss: Viewer) -> None:
        rows = [a_call(created_at=START + timedelta(seconds=at)) for at in range(3)]
        rows[1] |= {"status": "started", "duration_ms": None, "ended_at": None}
        put(database, LlmCall, *rows)
        assert [row.status for row in page(database, boss)] == ["ok", "started", "ok"]

    def test_the_newest_correction_is_what_a_call_costs(self, database: Database, boss: Viewer) -> None:
        calls = [a_call(cost_usd=None, cost_source="unpriced"), a_call(), a_call()]
        put(database, LlmCall, *calls)
        put_correction(database, calls[0]["call_id"], 2.0, cost_source="genai-prices 9")
        put_correction(database, calls[0]["call_id"], 3.0, cost_source="own")
        put_correction(database, calls[1]["call_id"], None, cost_source="unpriced")
        shown = [(row.cost_usd, row.cost_source) for row in page(database, boss, descending=False)]
        assert shown == [(3.0, "own"), (None, "unpriced"), (0.25, "own")]

    def test_what_was_searched_for_comes_newest_first_in_pages(self, database: Database, boss: Viewer) -> None:
        calls = [a_call(created_at=START + timedelta(seconds=at), cost_usd=float(-at)) for at in range(30)]
        bodies = [
            {
                "call_id": call["call_id"],
                "prompt": json.dumps(
                    [{"type": "human", "content": f"请问天气怎么样 {'apple' if at % 2 else 'pear'}"}]
                ),
                "response": None,
                "tools": None,
                "salt": "s",
            }
            for at, call in enumerate(calls)
        ]
        put(database, LlmCall, *calls)
        put(database, LlmCallBody, *bodies)
        while index_calls(database):
            pass
        wanted = CallFilter(text="天气 apple", since=START + timedelta(seconds=5))
        expected = [call["call_id"] for call in calls[5::2]][::-1]
        assert walked(database, boss, wanted, limit=4, sort="cost") == expected
        with database.read() as db:
            counts = [count_calls(boss, db, wanted, SHANGHAI, most=most) for most in (12, 13, 1000)]
        assert counts == [(12, True), (13, False), (13, False)]


class TestCursors:
    @pytest.fixture(autouse=True)
    def _calls(self, database: Database) -> None:
        put(database, LlmCall, *[a_call(cost_usd=None if at < 2 else float(at)) for at in range(5)])

    def refused(self, database: Database, viewer: Viewer, cursors: list[str], **named: Any) -> int:
        for after in cursors:
            with pytest.raises(BadInputError, match="start from the first page"):
                page(database, viewer, after=after, **named)
        return len(cursors)

    def test_one_that_fits_no_page_of_this_order_is_refused(self, database: Database, boss: Viewer) -> None:
        parts: list[Any] = [
            ["time", True, "2026-01-01T00:00:00", "call_1"],
            ["time", True, None, "call_1"],
            ["time", True, 5, "call_1"],
            ["time", False, "2026-01-01T00:00:00+00:00", "call_1"],
            ["time", True, "0001-01-01T00:00:00+23:00", "call_1"],
            ["cost", True, 1.0, "call_1"],
            ["text", True, None, "call_1"],
            ["time", True, "2026-01-01T00:00:00+00:00", None],
            ["time", True, "2026-01-01T00:00:00+00:00"],
            {"time": 1},
            7,
        ]
        assert self.refused(database, boss, [encoded(json.dumps(part)) for part in parts]) == 11

    def test_one_whose_value_is_no_number_is_refused(self, database: Database, boss: Viewer) -> None:
        values = ["NaN", "Infinity", "1e999", '"1"', "true", "[]", "1" + "0" * 400]
        for sort in ("cost", "tokens"):
            cursors = [encoded(f'["{sort}",true,{value},"call_1"]') for value in values]
            assert self.refused(database, boss, cursors, sort=sort) == 7

    def test_one_that_is_damaged_is_refused(self, database: Database, boss: Viewer) -> None:
        damaged = ["x", "!!!", "ab=c", "中文", "[" * 5000, encoded("[" * 100_000), "A" * 10_000, "////"]
        assert self.refused(database, boss, damaged) == 8

    def test_one_with_a_strange_id_begins_somewhere_or_is_refused(self, database: Database, boss: Viewer) -> None:
        for call_id in ("", "nobody", "\0", "'; --", "x" * 5000):
            after = encoded(json.dumps(["cost", True, 3.0, call_id]))
            costs = [row.cost_usd for row in page(database, boss, sort="cost", after=after)]
            assert costs[-3:] == [2.0, None, None]
        assert self.refused(database, boss, [encoded(r'["cost",true,3.0,"\ud800"]')], sort="cost") == 1

    def test_an_order_that_there_is_not_is_refused(self, database: Database, boss: Viewer) -> None:
        with pytest.raises(BadInputError, match="time or duration or cost or tokens"):
            page(database, boss, sort="beauty")

    def test_the_last_page_has_no_next_even_when_it_is_full(self, database: Database, boss: Viewer) -> None:
        with database.read() as db:
            pages = [list_calls(boss, db, ALL, SHANGHAI, limit=limit) for limit in (4, 5)]
        assert [(len(one.rows), one.next is None) for one in pages] == [(4, False), (5, True)]


class TestCounting:
    @pytest.mark.usefixtures("either_way")
    def test_the_count_stops_at_its_bound(self, database: Database, boss: Viewer) -> None:
        put(database, LlmCall, *[a_call(model="qwen" if at % 3 else "gpt") for at in range(60)])
        wanted = CallFilter(models=("qwen",))
        with database.read() as db:
            counts = [count_calls(boss, db, wanted, SHANGHAI, most=most) for most in (39, 40, 1000)]
        assert counts == [(39, True), (40, False), (40, False)]


def a_body(call: dict[str, Any], **changes: Any) -> dict[str, Any]:
    texts = {"prompt": '[{"type":"human","content":"你好"}]', "response": '{"content":"hi"}', "tools": None}
    return {"call_id": call["call_id"], "salt": "s", **texts, **changes}


def recorded(database: Database) -> list[tuple[Any, ...]]:
    """The activity rows: who, by which sign-in, did what to what, in which session."""
    table = table_of(Activity).c
    columns = (table.user_id, table.login_id, table.kind, table.target_id, table.session_id)
    with database.read() as db:
        found = db.connection().execute(select(*columns).order_by(table.activity_id))
        return [tuple(row) for row in found]


class TestOneCall:
    def test_it_comes_with_every_column_body_price_and_corrections(self, database: Database, alice: Viewer) -> None:
        price_id, second = new_price_id(), new_price_id()
        for key in (price_id, second):
            put(database, ModelPrice, {
                "price_id": key, "provider": "openai", "base_url": "", "model": "gpt", "valid_from": START,
                "rates": {"tier": 1}, "source": "own", "note": "合同价", "created_at": START,
            })  # fmt: skip
        call = a_call(user_id=alice.user_id, params={"stop": ["停"]}, tags=["x"], price_id=price_id, body_hash="h")
        put(database, LlmCall, call)
        put(database, LlmCallBody, a_body(call, tools='[{"name":"search"}]'))
        first = get_call(alice, database, call["call_id"])
        put_correction(database, call["call_id"], 9.0, price_id=second, reason="wrong tier")
        detail = get_call(alice, database, call["call_id"])
        assert first.call == detail.call == call
        assert detail.body is not None
        parts = (detail.body.prompt, detail.body.response, detail.body.tools, detail.body_state)
        assert parts == (
            [{"type": "human", "content": "你好"}],
            {"content": "hi"},
            [{"name": "search"}],
            "kept",
        )
        prices = [
            (one.price["price_id"], one.price["note"], one.row.cost_usd) for one in (first, detail) if one.price
        ]
        assert prices == [(price_id, "合同价", 0.25), (second, "合同价", 9.0)]
        assert [(fix["cost_usd"], fix["reason"]) for fix in detail.corrections] == [(9.0, "wrong tier")]

    def test_why_there_is_no_body_is_said(self, database: Database, boss: Viewer) -> None:
        hashed, none, deleted = a_call(body_hash="h"), a_call(), a_call(body_hash="h")
        pending = a_call(status="started")
        put(database, LlmCall, hashed, none, deleted, pending)
        put(database, LlmCallBody, a_body(hashed, prompt=None, response=None))
        details = [get_call(boss, database, call["call_id"]) for call in (hashed, none, deleted, pending)]
        assert [(one.body, one.body_state) for one in details] == [
            (None, "hash"),
            (None, "none"),
            (None, "deleted"),
            (None, "pending"),
        ]
        assert recorded(database) == []

    def test_a_body_that_is_no_json_any_more_is_shown_as_it_is(self, database: Database, alice: Viewer) -> None:
        call = a_call(user_id=alice.user_id)
        put(database, LlmCall, call)
        put(database, LlmCallBody, a_body(call, prompt="[tampered", response="[" * 100_000))
        body = get_call(alice, database, call["call_id"]).body
        assert body is not None
        assert (body.prompt, body.response) == ("[tampered", "[" * 100_000)

    def test_what_people_saw_stands_beside_it_until_it_is_deleted(self, database: Database, alice: Viewer) -> None:
        added = database.write(
            lambda db: add_message(alice, db, NewMessage("问题"), worker="w", lease_until=utc_now())
        )
        message, key = table_of(Message), added.message_id
        database.write(
            lambda db: db.connection().execute(
                update(message).where(message.c.message_id == key).values(answer="回答")
            )
        )
        call = a_call(user_id=alice.user_id, message_id=key, thread_id=added.thread_id)
        put(database, LlmCall, call)

        def seen() -> tuple[str | None, str | None]:
            detail = get_call(alice, database, call["call_id"])
            return detail.said, detail.answer

        before = seen()
        database.write(
            lambda db: db.connection().execute(update(table_of(Conversation)).values(deleted_at=utc_now()))
        )
        assert (before, seen()) == (("问题", "回答"), (None, None))

    def test_its_neighbours_are_those_of_its_thread(self, database: Database, boss: Viewer) -> None:
        threads = [new_thread_id(), new_thread_id()]
        calls = [
            a_call(thread_id=threads[at % 2], created_at=START + timedelta(seconds=at // 4)) for at in range(8)
        ]
        put(database, LlmCall, *calls)
        own = [call["call_id"] for call in calls[::2]]
        found = [get_call(boss, database, call_id) for call_id in own]
        assert [(one.previous_id, one.next_id) for one in found] == [
            (None, own[1]),
            (own[0], own[2]),
            (own[1], own[3]),
            (own[2], None),
        ]

    def test_a_call_without_a_thread_has_no_neighbours(self, database: Database, boss: Viewer) -> None:
        calls = [a_call() for _ in range(3)]
        put(database, LlmCall, *calls)
        detail = get_call(boss, database, calls[1]["call_id"])
        assert (detail.previous_id, detail.next_id) == (None, None)


class TestReadingAnothersBody:
    def test_it_is_recorded_once_per_sign_in_and_call(
        self, database: Database, alice: Viewer, boss: Viewer
    ) -> None:
        calls = [a_call(user_id=alice.user_id, session_id=f"session_{at}") for at in range(2)] + [a_call()]
        put(database, LlmCall, *calls)
        put(database, LlmCallBody, *[a_body(call) for call in calls])
        again = Viewer(boss.user_id, boss.name, boss.role, new_login_id())
        for viewer, at in ((boss, 0), (boss, 0), (boss, 1), (boss, 0), (again, 0), (alice, 0), (boss, 2)):
            get_call(viewer, database, calls[at]["call_id"])
        expected = [(boss, 0), (boss, 1), (again, 0), (boss, 2)]
        assert recorded(database) == [
            (who.user_id, who.login_id, "call.read", calls[at]["call_id"], calls[at]["session_id"])
            for who, at in expected
        ]

    def test_nothing_is_given_out_when_it_cannot_be_recorded(
        self, database_url: str, alice: Viewer, boss: Viewer, database: Database
    ) -> None:
        call = a_call(user_id=alice.user_id)
        put(database, LlmCall, call)
        put(database, LlmCallBody, a_body(call))
        closed = Database(database_url)
        closed.close()
        with pytest.raises(Exception, match="shutting down"):
            get_call(boss, closed, call["call_id"])
        closed.close()


class TestWhoMayRead:
    @pytest.fixture
    def hers(self, database: Database, alice: Viewer) -> dict[str, Any]:
        call = a_call(user_id=alice.user_id, thread_id=new_thread_id(), session_id="session_a", message_id="msg_a")
        put(database, LlmCall, call)
        return call

    def test_a_member_sees_own_calls_and_those_who_read_all_see_all(
        self, database: Database, alice: Viewer, hers: dict[str, Any]
    ) -> None:
        nobodys = a_call(attributed=False, thread_id=hers["thread_id"])
        put(database, LlmCall, nobodys)
        both, own, none = {hers["call_id"], nobodys["call_id"]}, {hers["call_id"]}, set()
        viewers = [
            alice,
            a_person(database, "bob"),
            *(a_person(database, role, role) for role in ("analyst", "admin")),
        ]
        for sort in SORTS:
            seen = [set(ids_of(database, viewer, sort=sort)) for viewer in viewers]
            assert seen == [own, none, both, both]
        with database.read() as db:
            counts = [count_calls(viewer, db, ALL, SHANGHAI)[0] for viewer in viewers]
            sums = [summarize_thread(viewer, db, hers["thread_id"]).calls for viewer in viewers]
        assert (counts, sums) == ([1, 0, 2, 2], [1, 0, 2, 2])

    def test_no_filter_brings_another_persons_calls(
        self, database: Database, alice: Viewer, hers: dict[str, Any]
    ) -> None:
        bob = a_person(database, "bob")
        asked = [
            CallFilter(users=(alice.user_id,)),
            CallFilter(users=("",)),
            CallFilter(sessions=("session_a",)),
            CallFilter(thread=hers["thread_id"]),
            CallFilter(message="msg_a"),
            CallFilter(attributed=False),
        ]
        assert [ids_of(database, bob, wanted, sort=sort) for wanted in asked for sort in SORTS] == [[]] * 24

    def test_anothers_call_is_not_found_in_the_same_words_as_a_missing_one(
        self, database: Database, hers: dict[str, Any]
    ) -> None:
        bob, nobodys = a_person(database, "bob"), a_call(attributed=False)
        put(database, LlmCall, nobodys)
        said = []
        for call_id in (hers["call_id"], nobodys["call_id"], new_call_id(), "", "nonsense"):
            with pytest.raises(NotFoundError) as raised:
                get_call(bob, database, call_id)
            said.append(str(raised.value))
        assert said == ["There is no such call here; it may have been deleted, or the link is wrong."] * 5

    def test_a_member_is_not_told_of_neighbours_that_are_not_theirs(
        self, database: Database, alice: Viewer, hers: dict[str, Any]
    ) -> None:
        put(
            database,
            LlmCall,
            a_call(thread_id=hers["thread_id"]),
            a_call(thread_id=hers["thread_id"], user_id="user_b"),
        )
        detail: CallDetail = get_call(alice, database, hers["call_id"])
        assert (detail.previous_id, detail.next_id) == (None, None)


class TestSummaries:
    def test_a_thread_is_summed_with_what_is_unknown_said(self, database: Database, alice: Viewer) -> None:
        one, other, empty = new_thread_id(), new_thread_id(), new_thread_id()
        of_one = {"thread_id": one, "user_id": alice.user_id}
        nothing = {"cost_usd": None, "input_tokens": None, "output_tokens": None, "usage_source": None}
        calls = [
            a_call(**of_one),
            a_call(**of_one, usage_source="estimated", status="cancelled"),
            a_call(**of_one, status="error", **nothing),
            a_call(**of_one, status="started", **nothing),
            a_call(thread_id=other, user_id=alice.user_id, cost_usd=None),
        ]
        put(database, LlmCall, *calls)
        for cost in (5.0, 2.0):
            put_correction(database, calls[0]["call_id"], cost)
        put_correction(database, calls[4]["call_id"], None)
        with database.read() as db:
            found = summarize_threads(alice, db, [one, other, empty])
            alone = summarize_thread(alice, db, empty)
        assert found == {
            one: ThreadCalls(4, 1, 2.25, 1, 200, 20, 1, 1, "gpt"),
            other: ThreadCalls(1, 0, 0.0, 1, 100, 10, 0, 0, "gpt"),
        }
        assert alone == ThreadCalls()

    def test_no_threads_have_no_sums(self, database: Database, alice: Viewer) -> None:
        with database.read() as db:
            assert summarize_threads(alice, db, []) == {}
