"""Counts of sessions: equal to their rows, whoever changed those; no change lost, none too old, no long writes."""

import random
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, func, insert, select, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.history.browse import counting
from core.history.browse.counting import compute, count_changed, find_wrong, forget
from core.history.conversations import delete_conversation, restore_conversation
from core.ids import ConversationId
from core.records.background import Background
from core.skein import Skein
from core.tables import THREAD_STATUSES, Session, SessionFacet, SessionStat, SessionToCount
from tests.core.rows import ANN, BRANCH, CALL, CONVERSATION, MESSAGE, NOON, SESSION, THREAD, Rows
from tests.core.support import answered, ask, wait_until

STAT, FACET, QUEUE = table_of(SessionStat), table_of(SessionFacet), table_of(SessionToCount)


class World(Rows):
    """The rows, and what is counted of them."""

    def count(self) -> None:
        while count_changed(self.database):
            pass

    def stat(self, session_id: str) -> dict[str, Any]:
        with self.database.read() as db:
            row = db.connection().execute(select(STAT).where(STAT.c.session_id == session_id)).first()
        return dict(row._mapping) if row else {}

    def counted(self, session_id: str, *names: str) -> list[Any]:
        self.count()
        stat = self.stat(session_id)
        return [stat[name] for name in names]

    def facets(self, session_id: str) -> list[tuple[str, str]]:
        query = select(FACET.c.kind, FACET.c.value).where(FACET.c.session_id == session_id)
        with self.database.read() as db:
            return sorted(tuple(row) for row in db.connection().execute(query))

    def waiting(self) -> int:
        with self.database.read() as db:
            return db.connection().execute(select(func.count()).select_from(QUEUE)).scalar_one()

    def wrong(self, *session_ids: str) -> dict[str, list[str]]:
        with self.database.read() as db:
            return find_wrong(db, session_ids)


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def other(database: Database) -> Iterator[Database]:
    """The same database, as another process has it open."""
    opened = Database(database.url)
    yield opened
    opened.close()


class TestWhatIsCounted:
    def test_is_the_session_with_its_messages_threads_and_branches(self, world: World) -> None:
        session_id = world.session("Ｕlm  and the Rest")
        one, two = world.conversation(session_id), world.conversation(session_id)
        heads = [world.message(one, status=status, agent_id="assistant") for status in ("done", "done", "failed")]
        world.message(two, status="waiting", agent_id="planner", minute=24)
        world.branch(one, heads[1])
        world.branch(one, heads[2])
        names = ("user_id", "status", "title", "title_key", "created_at", "last_active_at", "agents")
        assert world.counted(session_id, *names) == [
            ANN.user_id,
            "active",
            "Ｕlm  and the Rest",
            "ulm and the rest",
            NOON,
            NOON + timedelta(minutes=24),
            ["assistant", "planner"],
        ]
        assert world.counted(session_id, "conversations", "messages", "branches") == [2, 4, 2]
        assert world.counted(session_id, *THREAD_STATUSES) == [0, 0, 1, 2, 0, 1, 0]
        assert world.facets(session_id) == [("agent", "assistant"), ("agent", "planner")]

    def test_is_what_calls_took_with_the_newest_cost(self, world: World) -> None:
        session_id, other = world.session(), world.session()
        spent = {"input_tokens": 100, "output_tokens": 20}
        corrected = world.call(session_id, model="m1", cost_usd=5.0, **spent)
        world.correct(corrected, 3.0)
        world.correct(corrected, 0.5)
        world.correct(world.call(session_id, model="m2", cost_usd=1.0), None)
        world.call(session_id, "error", model="m2", cost_usd=0.25)
        world.call(session_id, "lost", input_tokens=7)
        world.call(session_id, "started", model="m3", cost_usd=9.0, **spent)
        world.call(other, model="m4", cost_usd=100.0)
        world.call(None, model="m5", cost_usd=100.0)
        names = ("calls", "failed_calls", "unpriced", "tokens", "cost_usd", "models")
        assert world.counted(session_id, *names) == [4, 2, 2, 127, 0.75, ["m1", "m2"]]
        assert world.facets(session_id) == [("model", "m1"), ("model", "m2")]

    def test_is_not_what_was_deleted_but_what_it_cost(self, world: World) -> None:
        session_id = world.session()
        kept, gone = world.conversation(session_id), world.conversation(session_id)
        head = world.message(kept)
        world.branch(kept, head)
        lost = world.message(kept, agent_id="planner", minute=5)
        branch = world.branch(kept, lost)
        world.branch(gone, world.message(gone, status="failed", minute=9))
        world.call(session_id, message_id=lost, cost_usd=2.0)
        world.change(MESSAGE, lost, deleted_at=NOON)
        world.change(BRANCH, branch, deleted_at=NOON)
        world.change(CONVERSATION, gone, deleted_at=NOON)
        names = ("conversations", "messages", "branches", "failed", "agents", "last_active_at", "cost_usd")
        assert world.counted(session_id, *names) == [1, 1, 1, 0, ["assistant"], NOON, 2.0]
        assert world.facets(session_id) == [("agent", "assistant")]

    def test_is_nothing_of_a_deleted_session(self, world: World) -> None:
        session_id, kept = world.session(), world.session()
        world.message(world.conversation(session_id))
        world.count()
        world.change(SESSION, session_id, status="deleted")
        world.count()
        assert [bool(world.stat(session_id)), bool(world.stat(kept)), world.facets(session_id)] == [False, True, []]
        world.change(SESSION, session_id, status="active")
        assert world.counted(session_id, "messages") == [1]

    def test_takes_what_was_said_at_the_very_end_of_a_second(self, world: World) -> None:
        session_id = world.session()
        world.message(world.conversation(session_id), minute=0.9997 / 60)
        assert world.counted(session_id, "messages", "spark") == [1, [1] + [0] * 23]

    def test_has_a_spark_of_the_messages_over_its_time(self, world: World) -> None:
        session_id = world.session()
        conversation_id = world.conversation(session_id)
        for minute in (-1, 0, 1, 119, 119, 240):
            world.message(conversation_id, minute=minute)
        spark = [3] + [0] * 10 + [2] + [0] * 11 + [1]
        assert world.counted(session_id, "spark") == [spark]

    def test_counts_until_its_threads_end(self, world: World) -> None:
        session_id = world.session()
        message_id = world.message(world.conversation(session_id), status="running")
        assert world.counted(session_id, "running", "last_active_at") == [1, NOON]
        ended = NOON + timedelta(seconds=42)
        world.change(THREAD, message_id, status="stopped", ended_at=ended)
        assert world.counted(session_id, "running", "stopped", "last_active_at") == [0, 1, ended]

    def test_is_nothing_where_nothing_was_said(self, world: World) -> None:
        session_id = world.session()
        assert world.counted(session_id, "messages", "last_active_at", "spark") == [0, NOON, [0] * 24]


class TestEveryChange:
    def test_makes_its_session_wait(self, world: World) -> None:
        session_id = world.session()
        world.count()
        conversation_id = world.conversation(session_id)
        message_id = world.message(conversation_id, status="running")
        branch_id = world.branch(conversation_id, message_id)
        call_id = world.call(session_id, "started", cost_usd=1.0)
        world.count()
        changes: list[Callable[[], None]] = [
            lambda: world.change(SESSION, session_id, title="Another"),
            lambda: world.change(SESSION, session_id, status="archived"),
            lambda: world.change(THREAD, message_id, status="done"),
            lambda: world.change(CALL, call_id, status="ok"),
            lambda: world.correct(call_id, 2.0),
            lambda: world.change(BRANCH, branch_id, deleted_at=NOON),
            lambda: world.change(MESSAGE, message_id, deleted_at=NOON),
            lambda: world.change(CONVERSATION, conversation_id, deleted_at=NOON),
        ]
        seen = [world.stat(session_id)]
        for change in changes:
            change()
            world.count()
            seen.append(world.stat(session_id))
            assert seen[-1] != seen[-2], len(seen)
        assert world.wrong(session_id) == {}

    def test_of_random_ones_is_counted_as_if_anew(self, world: World) -> None:
        chance = random.Random(7)
        sessions = [world.session(str(number)) for number in range(4)]
        conversations = [world.conversation(chance.choice(sessions)) for _ in range(8)]
        messages = [world.message(chance.choice(conversations), status="queued") for _ in range(20)]
        calls = [world.call(chance.choice(sessions), "started", model="m") for _ in range(5)]
        moments = [None, NOON]
        for step in range(80):
            match chance.randrange(6):
                case 0:
                    messages.append(world.message(chance.choice(conversations), minute=chance.randrange(100)))
                case 1:
                    world.change(THREAD, chance.choice(messages), status=chance.choice(THREAD_STATUSES))
                case 2:
                    world.change(MESSAGE, chance.choice(messages), deleted_at=chance.choice(moments))
                case 3:
                    world.change(CONVERSATION, chance.choice(conversations), deleted_at=chance.choice(moments))
                case 4:
                    world.change(CALL, chance.choice(calls), status="ok", cost_usd=chance.choice([None, 0.1]))
                case _:
                    world.change(SESSION, chance.choice(sessions), status=chance.choice(["active", "deleted"]))
            if step % 5 == 0:
                count_changed(world.database, most=chance.choice([1, 200]))
        world.count()
        assert world.wrong(*sessions) == {}
        assert {of for of in sessions if world.stat(of)} == self.kept(world, sessions)

    def kept(self, world: World, sessions: list[str]) -> set[str]:
        with world.database.read() as db:
            return {of for of in sessions if db.get_one(Session, of).status != "deleted"}


class TestNothingIsLost:
    def test_when_something_changes_while_it_counts(self, world: World, other: Database) -> None:
        session_id = world.session()
        conversation_id = world.conversation(session_id)
        written = world.database.write

        def late(job: Callable[[Db], Any]) -> Any:
            world.database.write = written  # type: ignore[method-assign]
            world.message(conversation_id)
            return written(job)

        world.database.write = late  # type: ignore[method-assign]
        assert count_changed(world.database) == 1
        assert [world.stat(session_id)["messages"], world.waiting()] == [0, 1]
        assert world.counted(session_id, "messages") == [1]

    def test_nor_put_back_by_an_older_count_of_another_process(self, world: World, other: Database) -> None:
        session_id = world.session()
        conversation_id = world.conversation(session_id)
        written = world.database.write

        def late(job: Callable[[Db], Any]) -> Any:
            # Between this one's reading and its writing the other one counts a later state.
            world.database.write = written  # type: ignore[method-assign]
            world.message(conversation_id)
            assert count_changed(other) == 1
            return written(job)

        world.database.write = late  # type: ignore[method-assign]
        count_changed(world.database)
        assert [world.stat(session_id)["messages"], world.waiting()] == [1, 0]

    def test_nor_does_a_deleted_session_come_back(self, world: World) -> None:
        session_id = world.session()
        world.count()
        world.change(SESSION, session_id, title="Renamed")
        written = world.database.write

        def delete_session(db: Db) -> None:
            change = update(SESSION).where(SESSION.c.session_id == session_id)
            db.connection().execute(change.values(status="deleted"))
            forget(db, [session_id])

        def late(job: Callable[[Db], Any]) -> Any:
            world.database.write = written  # type: ignore[method-assign]
            written(delete_session)
            return written(job)

        world.database.write = late  # type: ignore[method-assign]
        count_changed(world.database)
        assert world.stat(session_id) == {}
        world.count()
        assert [world.stat(session_id), world.waiting()] == [{}, 0]

    def test_when_the_machine_goes_down(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        session_id = world.session()
        written = Database.write

        def broken(database: Database, job: Callable[[Db], Any]) -> Any:
            def job_and_crash(db: Db) -> None:
                job(db)
                raise OSError("the machine went down")

            return written(database, job_and_crash)

        monkeypatch.setattr(Database, "write", broken)
        with pytest.raises(OSError, match="went down"):
            count_changed(world.database)
        monkeypatch.undo()
        assert [world.stat(session_id), world.waiting()] == [{}, 1]
        assert world.counted(session_id, "title") == ["A session"]

    def test_when_a_session_is_just_being_changed(self, world: World, other: Database) -> None:
        if other.is_sqlite:
            pytest.skip("SQLite has one writer")
        session_id = world.session()
        with other._writing.begin() as connection:
            change = update(SESSION).where(SESSION.c.session_id == session_id)
            connection.execute(change.values(title="Changing"))
            assert [count_changed(world.database), world.stat(session_id)] == [0, {}]
        assert world.counted(session_id, "title") == ["Changing"]

    def test_and_each_batch_is_as_large_as_asked(self, world: World) -> None:
        sessions = [world.session() for _ in range(5)]
        assert [count_changed(world.database, most=2) for _ in range(4)] == [2, 2, 1, 0]
        assert [bool(world.stat(session_id)) for session_id in sessions] == [True] * 5

    def test_and_a_long_queue_of_one_session_is_one_count(self, world: World) -> None:
        session_id = world.session()
        rows = [{"session_id": session_id}] * 12_000
        world.write(lambda db: db.connection().execute(insert(QUEUE), rows))
        assert [count_changed(world.database), count_changed(world.database), world.waiting()] == [1, 0, 0]

    def test_when_one_session_cannot_be_counted(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        bad, good = world.session(), world.session()
        tally = counting._Tally.counted

        def failing(one: Any) -> Any:
            if one._session["session_id"] == bad:
                raise IndexError("not this one")
            return tally(one)

        monkeypatch.setattr(counting._Tally, "counted", failing)
        assert [count_changed(world.database) for _ in range(2)] == [1, 0]
        assert [world.stat(good)["title"], world.stat(bad), world.waiting()] == ["A session", {}, 1]
        later = world.session()
        assert [count_changed(world.database, most=1) for _ in range(2)] == [0, 1]
        assert [bool(world.stat(later)), world.waiting()] == [True, 1]
        monkeypatch.undo()
        assert world.counted(bad, "title") == ["A session"]


class TestDisagreements:
    def test_are_found_but_for_what_waits(self, world: World) -> None:
        sessions = [world.session() for _ in range(4)]
        world.count()
        stat = update(STAT).where(STAT.c.session_id == sessions[0])
        world.write(lambda db: db.connection().execute(stat.values(messages=7, cost_usd=1.0)))
        world.write(lambda db: db.connection().execute(insert(FACET), self.facet(sessions[1])))
        gone = delete(STAT).where(STAT.c.session_id == sessions[2])
        world.write(lambda db: db.connection().execute(gone))
        found = world.wrong(*sessions)
        assert found[sessions[0]] == ["messages", "cost_usd"]
        assert found[sessions[1]] == ["facets"]
        assert "title" in found[sessions[2]]
        assert sorted(found) == sessions[:3]
        for session_id in sessions[:3]:
            world.change(SESSION, session_id, title="Waits")
        assert world.wrong(*sessions) == {}
        world.count()
        assert [world.wrong(*sessions), world.facets(sessions[1])] == [{}, []]

    def facet(self, session_id: str) -> dict[str, str]:
        return {"kind": "agent", "value": "nobody", "session_id": session_id}

    def test_computing_writes_nothing(self, world: World) -> None:
        session_id = world.session()
        with world.database.read() as db:
            assert compute(db, [session_id, "session_of_nothing"])[session_id].stat["title"] == "A session"
        assert [world.stat(session_id), world.waiting()] == [{}, 1]


class TestTransactions:
    def test_count_many_sessions_with_few_statements(self, world: World) -> None:
        sessions = [world.session() for _ in range(200)]
        for session_id in sessions:
            world.message(world.conversation(session_id))
            world.call(session_id, model="m", cost_usd=0.1)
        statements: list[int] = []
        written = world.database.write

        def write(job: Callable[[Db], Any]) -> Any:
            def counted(db: Db) -> Any:
                statements.append(0)

                def count(*_: object) -> None:
                    statements[-1] += 1

                connection = db.connection()
                event.listen(connection, "before_cursor_execute", count)
                try:
                    return job(db)
                finally:
                    event.remove(connection, "before_cursor_execute", count)

            return written(counted)

        world.database.write = write  # type: ignore[method-assign]
        assert count_changed(world.database) == 200
        assert [count < 30 for count in statements] == [True], statements


class TestInTheBackground:
    def test_a_session_is_counted_soon_after_a_person_did_something(
        self, opened: Skein, person: Callable[..., Viewer]
    ) -> None:
        ann = person("ann")
        turn = ask(opened, ann, "Tell me about Ulm.")
        answered(opened, ann, turn.thread_id)
        world_stat = select(STAT.c.session_id, STAT.c.done, STAT.c.calls)

        def rows() -> list[Any]:
            with opened.database.read() as db:
                return list(db.connection().execute(world_stat))

        wait_until(lambda: [row.done for row in rows()] == [1] and rows()[0].calls > 0)
        conversation_id = ConversationId(turn.conversation_id)
        opened.database.write(lambda db: delete_conversation(ann, db, conversation_id))
        wait_until(lambda: [row.done for row in rows()] == [0])
        opened.database.write(lambda db: restore_conversation(ann, db, conversation_id))
        wait_until(lambda: [row.done for row in rows()] == [1])
        with opened.database.read() as db:
            assert find_wrong(db, [row.session_id for row in rows()]) == {}

    def test_a_chore_that_fails_keeps_neither_the_others_nor_its_next_round(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.records.background._ROUND_SECONDS", 0.01)
        done: list[str] = []

        def failing(_database: Database) -> int:
            done.append("failing")
            raise OSError("no such luck")

        def working(_database: Database) -> int:
            done.append("working")
            return 0 if len(done) % 2 else 1

        background = Background(database, chores=[failing, working])
        background.open()
        wait_until(lambda: done.count("failing") > 1 and done.count("working") > 2)
        background.close()
        assert _is_over()

    def test_a_chore_that_always_has_more_lets_the_others_do_theirs(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("_ROUND_SECONDS", "_LONGEST_SECONDS"):
            monkeypatch.setattr(f"core.records.background.{name}", 0.01)
        done: list[str] = []

        def endless(_database: Database) -> int:
            done.append("endless")
            return 1

        def other(_database: Database) -> int:
            done.append("other")
            return 0

        background = Background(database, chores=[endless, other])
        background.open()
        wait_until(lambda: done.count("other") > 1)
        background.close()
        assert _is_over()


def _is_over() -> bool:
    return "skein-background" not in {thread.name for thread in threading.enumerate()}
