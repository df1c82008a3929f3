"""Search in calls: found by what a call added, newest first, by whom may see it, and nothing lost on the way."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import func, insert, select, text, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.text.said import said_texts
from core.calls.text.search import index_calls, matches, matching, pending, remove_calls
from core.calls.where import where_of
from core.database import Database, table_of
from core.errors import BadInputError
from core.ids import UserId, new_call_id
from core.tables import LlmCall, LlmCallBody, LlmCallSearch, LlmCallToIndex

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BOB = Viewer(UserId("user_ann"), "ann"), Viewer(UserId("user_bob"), "bob")
AUDITOR = Viewer(UserId("user_eve"), "eve", "analyst")
CALL, BODY = table_of(LlmCall), table_of(LlmCallBody)
Message = dict[str, Any]


def human(content: Any) -> Message:
    return {"role": "user", "content": content}


def answer(content: Any, **more: Any) -> Message:
    return {"role": "assistant", "content": content, **more}


@pytest.fixture
def add(database: Database) -> Callable[..., str]:
    """Logs a call, each a minute after the one before, and gives its id."""
    begun: list[datetime] = []

    def add(
        *prompt: str | Message, says: str | Message = "", at: datetime | None = None, index: bool = True, **row: Any
    ) -> str:
        begun.append(NOON + timedelta(minutes=len(begun)))
        call_id = new_call_id()
        call = {"call_id": call_id, "created_at": at or begun[-1], "user_id": ANN.user_id, "status": "ok", **row}
        asked = [human(one) if isinstance(one, str) else one for one in prompt]
        said = [answer(says) if isinstance(says, str) else says]
        log(database, call, asked, said)
        while index and index_calls(database):
            pass
        return call_id

    return add


def log(database: Database, call: dict[str, Any], prompt: Sequence[Message], response: Sequence[Message]) -> None:
    full = LlmCall(run_id="", **call).model_dump()
    body = {
        "call_id": call["call_id"],
        "prompt": json.dumps(prompt, ensure_ascii=False),
        "response": json.dumps(response),
        "tools": None,
        "salt": "",
    }

    def job(db: Db) -> None:
        db.connection().execute(insert(CALL), full)
        db.connection().execute(insert(BODY), body)

    database.write(job)


def found(database: Database, query: str, viewer: Viewer = AUDITOR, **more: Any) -> list[str]:
    with database.read() as db:
        return matching(viewer, db, query, **more)


def count(database: Database, table: Any) -> int:
    with database.read() as db:
        return db.connection().execute(select(func.count()).select_from(table_of(table))).scalar_one()


class TestWordsAreFound:
    @pytest.fixture
    def call_id(self, add: Callable[..., str]) -> str:
        add("something else entirely", says="别的内容")
        return add(
            "Please compare get_user_name in 我们的测试代码 (mail ann@example.com)",
            "call_1763680000000_0A1B2C3D4E5F",
            says="Naïve Überblick：搜索功能很快，用GPT模型。",
        )

    def test_by_word_phrase_prefix_and_part_of_a_sentence(self, database: Database, call_id: str) -> None:
        queries = [
            "compare",
            "COMPARE please",
            '"please compare"',
            "get_user_name",
            "user_name",
            "ann@example.com",
            "call_1763680000000_0A1B2C3D4E5F",
            "测试",
            "我们的测试",
            "试",
            "搜",
            "功能 compare",
            '"GPT模型"',
            "用gpt",
            "naive uberblick",
            "comp*",
            '"please com"*',
            "compare -banana",
            'compare -"compare please"',
        ]
        assert {query: found(database, query) for query in queries} == {query: [call_id] for query in queries}

    def test_but_not_what_is_not_there(self, database: Database, call_id: str) -> None:
        queries = [
            '"compare please"',
            "compare banana",
            "compar",
            "compare -please",
            "compare -测试",
            "试测",
            "测代",
            "模型GPT",
            "代码mail_x",
            # From the end of the response into the beginning of the prompt.
            '"模型 please"',
        ]
        assert {query: found(database, query) for query in queries} == {query: [] for query in queries}

    def test_and_nothing_in_a_query_is_syntax(self, database: Database, add: Callable[..., str]) -> None:
        queries = ["AND", "NEAR(a b)", "words:x", "c'd", "e\\f", "x\0y", "= =ac", "a:*&!b2", "👍 z"]
        ids = {query: [add(f"it says {query} here", index=False)] for query in queries}
        index_calls(database)
        assert {query: found(database, query) for query in queries} == ids

    def test_and_an_unusable_query_is_refused(self, database: Database) -> None:
        with pytest.raises(BadInputError, match="quotation mark"):
            found(database, 'say "hello')


class TestWhatIsSearched:
    def test_is_what_a_call_added(self) -> None:
        prompt = [
            {"role": "system", "content": "rules"},
            human("first question"),
            answer("first answer"),
            human("second question"),
            answer("", tool_calls=[{"name": "look_up", "args": {"city": "Ulm"}, "id": "1"}]),
            {"role": "tool", "content": "tool result", "tool_call_id": "1"},
        ]
        response = [answer("second answer", tool_calls=[{"name": "save", "args": {"days": [3]}}])]
        assert said_texts(json.dumps(prompt), json.dumps(response)) == [
            "second answer",
            "save",
            "days",
            "3",
            "tool result",
            "second question",
            "rules",
        ]

    def test_is_all_of_a_prompt_without_an_earlier_answer(self) -> None:
        prompt = [
            {"type": "system", "content": "rules"},
            human("one"),
            human("two"),
            {"type": "ai", "content": "so"},
        ]
        assert said_texts(json.dumps(prompt), None) == ["so", "two", "one", "rules"]

    def test_is_text_and_no_picture_or_json(self) -> None:
        blocks = [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            "plain",
            {"type": "tool_use", "name": "paint", "input": {"color": "red"}},
        ]
        assert said_texts(json.dumps([human(blocks)]), "[]") == ["look", "plain", "paint", "color", "red"]

    @pytest.mark.parametrize("stored", ["no json", "[" * 100_000])
    def test_is_the_whole_of_what_cannot_be_read(self, stored: str) -> None:
        assert said_texts(stored, None) == [stored]

    def test_is_the_beginning_of_something_huge(self, database: Database, add: Callable[..., str]) -> None:
        words = " ".join(f"w{number}" for number in range(30_000))
        call_id = add("find me", words, says="and me")
        assert [found(database, query) for query in ("me", "w29999", "w3")] == [[call_id], [], [call_id]]


class TestTheOrder:
    def test_is_newest_first_whatever_ended_first(self, database: Database, add: Callable[..., str]) -> None:
        late, early = add("cost", at=NOON), add("cost", at=NOON - timedelta(days=3))
        middle = add("cost", at=NOON - timedelta(days=1))
        assert found(database, "cost") == [late, middle, early]

    def test_goes_on_page_by_page(self, database: Database, add: Callable[..., str]) -> None:
        # All in one millisecond, so that each needs a position of its own.
        ids = [add("cost", at=NOON, index=number % 3 == 0) for number in range(10)]
        index_calls(database)
        pages = [found(database, "cost", limit=4)]
        while pages[-1]:
            pages.append(found(database, "cost", limit=4, before=pages[-1][-1]))
        assert [len(page) for page in pages] == [4, 4, 2, 0]
        assert sorted(chain(*pages)) == ids


class TestTheChoice:
    def test_of_a_member_is_among_their_own(self, database: Database, add: Callable[..., str]) -> None:
        anns, bobs = add("cost"), add("cost", user_id=BOB.user_id)
        nobodys = add("cost", user_id=None)
        assert found(database, "cost", ANN) == [anns]
        assert found(database, "cost", BOB) == [bobs]
        assert found(database, "cost", ANN, wanted=CallFilter(users=(BOB.user_id,))) == []
        assert found(database, "cost", AUDITOR) == [nobodys, bobs, anns]

    def test_narrows_by_values_and_by_none(self, database: Database, add: Callable[..., str]) -> None:
        one = add("cost", model="m'1", node='plan: "x" 计划', status="error", error_type="E")
        two = add("cost", model="m2", user_id=None, thread_id="thread_1")
        assert found(database, "cost", wanted=CallFilter(models=("m'1",), statuses=("error", "lost"))) == [one]
        assert found(database, "cost", wanted=CallFilter(nodes=('plan: "x" 计划',))) == [one]
        assert found(database, "cost", wanted=CallFilter(users=("",))) == [two]
        assert found(database, "cost", wanted=CallFilter(models=("m'1", "m2"))) == [two, one]
        assert found(database, "cost", wanted=CallFilter(thread="thread_1")) == [two]
        assert found(database, "cost", wanted=CallFilter(models=("m2",), thread="thread_2")) == []

    def test_narrows_by_time_to_the_microsecond(self, database: Database, add: Callable[..., str]) -> None:
        ids = [add("cost", at=NOON + timedelta(microseconds=step)) for step in (0, 400, 900)]
        since, until = NOON + timedelta(microseconds=400), NOON + timedelta(microseconds=900)
        assert found(database, "cost", wanted=CallFilter(since=since, until=until)) == [ids[1]]
        assert found(database, "cost", wanted=CallFilter(until=until)) == [ids[1], ids[0]]

    def test_narrows_by_any_condition_on_calls(self, database: Database, add: Callable[..., str]) -> None:
        ids = [add("cost", duration_ms=float(ms)) for ms in (5, 50, 500)]
        assert found(database, "cost", conditions=[CALL.c.duration_ms >= 50]) == [ids[2], ids[1]]

    @pytest.mark.parametrize(
        ("low", "high", "hits"), [(50, None, 3), (None, 60, 2), (50, 500, 1), (1e300, None, 0)]
    )
    def test_narrows_by_duration(
        self, database: Database, add: Callable[..., str], low: float | None, high: float | None, hits: int
    ) -> None:
        for ms in (5.0, 50.0, 500.0, 5e14, None):
            add("cost", duration_ms=ms)
        wanted = CallFilter(min_ms=low, max_ms=high)
        conditions = where_of(wanted, AUDITOR, ZoneInfo("UTC"))
        assert len(found(database, "cost", wanted=wanted, conditions=conditions)) == hits

    def test_is_a_condition_too(self, database: Database, add: Callable[..., str]) -> None:
        for ms in (5, 50, 500):
            add("cost", duration_ms=float(ms))
        add("report", duration_ms=5000.0)
        add("cost", user_id=BOB.user_id, duration_ms=50_000.0)
        with database.read() as db:
            total = select(func.sum(CALL.c.duration_ms)).where(CALL.c.duration_ms > 5, matches(ANN, db, "cost"))
            assert db.connection().execute(total).scalar_one() == 550.0


class TestIndexing:
    def test_goes_in_batches_and_says_what_waits(self, database: Database, add: Callable[..., str]) -> None:
        for _ in range(5):
            add("cost", index=False)
        with database.read() as db:
            assert [pending(AUDITOR, db), pending(AUDITOR, db, most=3)] == [5, 3]
            assert pending(Viewer(UserId("user_of_nothing"), "mallory"), db) == 0
        assert [index_calls(database, most=2) for _ in range(4)] == [2, 2, 1, 0]
        assert len(found(database, "cost")) == 5

    def test_waits_for_the_end_of_a_call_and_passes_it_by_till_then(
        self, database: Database, add: Callable[..., str]
    ) -> None:
        running = add("cost", status="started", index=False)
        ended = add("cost", index=False)
        assert [index_calls(database, most=1), index_calls(database, most=1)] == [1, 0]
        assert found(database, "cost") == [ended]
        database.write(lambda db: db.execute(update(CALL).values(status="lost").where(CALL.c.call_id == running)))
        assert index_calls(database) == 1
        assert found(database, "cost") == [ended, running]

    def test_that_breaks_off_loses_and_doubles_nothing(
        self, database: Database, add: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ids = [add("cost", index=False) for _ in range(4)]
        assert index_calls(database, most=2) == 2

        def break_off(database: Database, job: Callable[[Db], Any]) -> Any:
            def broken(db: Db) -> None:
                job(db)
                raise OSError("the machine went down")

            return database.submit(broken).result()

        monkeypatch.setattr(Database, "write", break_off)
        with pytest.raises(OSError, match="went down"):
            index_calls(database)
        monkeypatch.undo()
        assert sorted(found(database, "cost")) == ids[:2]
        reopened = Database(database.url)
        assert [index_calls(reopened), index_calls(reopened)] == [2, 0]
        reopened.close()
        assert sorted(found(database, "cost")) == ids

    def test_by_two_processes_indexes_each_call_once(self, database: Database, add: Callable[..., str]) -> None:
        ids = [add("cost", index=False) for _ in range(4)]
        other = Database(database.url)
        other_found: list[int] = []
        written = database.write

        def late(job: Callable[[Db], Any]) -> Any:
            # The other one reads the same calls, and is done, before this one writes.
            other_found.append(index_calls(other))
            return written(job)

        database.write = late  # type: ignore[method-assign]
        assert index_calls(database) == 0
        other.close()
        assert other_found == [4]
        assert sorted(found(database, "cost")) == ids

    def test_is_not_held_up_by_a_body_without_text_or_call(
        self, database: Database, add: Callable[..., str]
    ) -> None:
        empty = {"prompt": None, "response": None, "tools": None, "salt": ""}
        add("cost", index=False)
        database.write(lambda db: db.execute(update(BODY).values(prompt=None, response=None)) and None)
        database.write(lambda db: db.execute(insert(BODY), {"call_id": "call_0", **empty}) and None)
        assert [index_calls(database, most=1) for _ in range(3)] == [1, 1, 0]
        assert count(database, LlmCallSearch) == 0


class TestRemoving:
    def test_leaves_no_trace_of_a_call_and_all_of_the_others(
        self, database: Database, add: Callable[..., str]
    ) -> None:
        gone, kept = add("cost secret 秘密文件"), add("cost report")
        waiting = add("cost secret", index=False)

        def remove(db: Db) -> None:
            remove_calls(db, [gone, waiting])
            db.execute(BODY.delete().where(BODY.c.call_id.in_([gone, waiting])))

        database.write(remove)
        assert index_calls(database) == 0
        assert found(database, "cost") == [kept]
        assert [found(database, query) for query in ("secret", "秘密", "sec*")] == [[], [], []]
        assert [count(database, LlmCallSearch), count(database, LlmCallToIndex)] == [1, 0]
        assert self.words_in_the_index(database) & {"secret", "秘密", "cost", "report"} == {"cost", "report"}

    def words_in_the_index(self, database: Database) -> set[str]:
        """What the index itself still knows, below all that the search asks."""
        if not database.is_sqlite:
            with database.read() as db:
                words = text("SELECT word FROM ts_stat('SELECT words FROM llm_call_words')")
                return set(db.connection().execute(words).scalars())

        def read(db: Db) -> set[str]:
            db.execute(text("INSERT INTO llm_call_words (llm_call_words) VALUES ('integrity-check')"))
            db.execute(text("CREATE VIRTUAL TABLE temp.vocabulary USING fts5vocab(main, llm_call_words, 'row')"))
            return set(db.connection().execute(text("SELECT term FROM temp.vocabulary")).scalars())

        return database.write(read)
