"""Search in what was said: found at its place, newest first, by whom may see it, and nothing lost on the way."""

import random
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError
from core.history import search
from core.history.search import Hit, excerpts, index_messages, matching, matching_sessions, newest_hits, pending
from core.history.words import mark_words
from core.ids import UserId
from core.records.purge import purge_branches
from core.skein import Skein
from core.tables import THREAD_STATUSES, MessageSearch, MessageToIndex
from tests.core.rows import ANN, AUDITOR, BOB, BRANCH, CONVERSATION, MESSAGE, NOON, SESSION, THREAD, Rows
from tests.core.support import answered, ask, wait_until

OVER = ("done", "stopped", "failed", "lost")


class World(Rows):
    """The rows, and what is found in them."""

    def begin(self, of: Viewer = ANN) -> str:
        """A conversation in a session of its own."""
        return self.conversation(self.session(of=of))

    def index(self) -> None:
        while index_messages(self.database):
            pass

    def hits(self, query: str, viewer: Viewer = AUDITOR, **more: Any) -> list[Hit]:
        with self.database.read() as db:
            return matching(viewer, db, query, **more)

    def found(self, query: str, viewer: Viewer = AUDITOR, **more: Any) -> list[tuple[str, str]]:
        return [(hit.message_id, hit.part) for hit in self.hits(query, viewer, **more)]

    def sessions(self, query: str, viewer: Viewer = AUDITOR, **more: Any) -> list[str]:
        with self.database.read() as db:
            return sorted(db.connection().execute(matching_sessions(viewer, db, query, **more)).scalars())

    def count_rows(self, table: Any) -> int:
        with self.database.read() as db:
            return db.connection().execute(select(func.count()).select_from(table_of(table))).scalar_one()

    def pending(self, viewer: Viewer = AUDITOR) -> int:
        with self.database.read() as db:
            return pending(viewer, db)

    def remove(self, *message_ids: str) -> None:
        self.write(lambda db: search.remove_messages(db, message_ids))

    def check(self) -> None:
        """That SQLite's index is whole: contentless, it cannot say which words it holds."""
        if self.database.is_sqlite:
            check = text("INSERT INTO message_words (message_words) VALUES ('integrity-check')")
            self.write(lambda db: db.connection().execute(check))

    def words_left(self) -> int:
        """How many words the index knows of."""
        if not self.database.is_sqlite:
            with self.database.read() as db:
                return db.connection().execute(text("SELECT count(*) FROM message_words")).scalar_one()
        vocabulary = "CREATE VIRTUAL TABLE temp.known USING fts5vocab('main', 'message_words', 'row')"

        def count(db: Db) -> int:
            db.connection().execute(text(vocabulary))
            found = db.connection().execute(text("SELECT count(*) FROM temp.known")).scalar_one()
            db.connection().execute(text("DROP TABLE temp.known"))
            return int(found)

        return int(self.write(count))


@pytest.fixture
def world(database: Database) -> World:
    return World(database)


@pytest.fixture
def other(database: Database) -> Iterator[Database]:
    """The same database, as another process has it open."""
    opened = Database(database.url)
    yield opened
    opened.close()


class TestWhatWasSaid:
    def test_is_found_in_question_and_answer(self, world: World) -> None:
        conversation_id = world.begin()
        one = world.message(conversation_id, "What does get_user_name cost?", "Nothing: 搜索功能很快，用GPT模型。")
        two = world.message(conversation_id, "And the refund for 我们的测试代码?", "Naïve Überblick", minute=1)
        world.index()
        assert world.found("cost") == [(one, "question")]
        assert world.found("搜索") == world.found("索功") == world.found('"GPT模型"') == [(one, "answer")]
        assert world.found("测试") == world.found("REFUND for") == [(two, "question")]
        assert world.found("uberblick") == world.found("naiv*") == [(two, "answer")]
        # Question and answer are two texts: neither words of both together, nor a phrase across them.
        assert world.found("cost nothing") == world.found('"cost nothing"') == world.found("搜引") == []

    def test_is_given_with_its_place_newest_first(self, world: World) -> None:
        session_id = world.session()
        conversation_id = world.conversation(session_id)
        old = world.message(conversation_id, "refund", "refund")
        new = world.message(conversation_id, "refund", minute=1)
        world.index()
        hits = world.hits("refund")
        found = [(hit.message_id, hit.part) for hit in hits]
        assert found == [(new, "question"), (old, "answer"), (old, "question")]
        assert {(hit.conversation_id, hit.session_id) for hit in hits} == {(conversation_id, session_id)}
        assert [hit.created_at for hit in hits] == [NOON + timedelta(minutes=1), NOON, NOON]

    def test_goes_on_page_by_page(self, world: World) -> None:
        conversation_id = world.begin()
        ids = [world.message(conversation_id, "refund") for _ in range(10)]
        world.index()
        pages = [world.hits("refund", limit=4)]
        while pages[-1]:
            pages.append(world.hits("refund", limit=4, before=pages[-1][-1].position))
        assert [len(page) for page in pages] == [4, 4, 2, 0]
        assert sorted(hit.message_id for page in pages for hit in page) == ids

    def test_is_not_found_by_an_unusable_query(self, world: World) -> None:
        with pytest.raises(BadInputError, match="quotation mark"):
            world.found('say "hello')
        with pytest.raises(BadInputError, match="at least one word"):
            world.sessions("-refund")

    def test_can_be_searched_in_some_sessions_and_of_some_users(self, world: World) -> None:
        anns, bobs = world.session(), world.session(of=BOB)
        one, two = (world.message(world.conversation(of), "refund") for of in (anns, bobs))
        world.index()
        assert world.found("refund", session_ids=[anns]) == [(one, "question")]
        assert world.found("refund", session_ids=[anns, *map(str, range(200))]) == [(one, "question")]
        assert world.found("refund", user_ids=[BOB.user_id]) == [(two, "question")]
        assert world.found("refund", user_ids=[BOB.user_id], session_ids=[anns]) == []
        assert world.sessions("refund", user_ids=[BOB.user_id]) == [bobs]


class TestSessions:
    def test_are_those_of_the_newest_matches(self, world: World) -> None:
        sessions = [world.session() for _ in range(4)]
        for minute, session_id in enumerate([*sessions[:3], *sessions[:2]]):
            world.message(world.conversation(session_id), "refund", "no", minute=minute)
        world.message(world.conversation(sessions[3]), "something else")
        world.index()
        assert world.sessions("refund") == sessions[:3]
        assert world.sessions("refund", most=2) == sessions[:2]

    def test_have_each_their_newest_hit(self, world: World) -> None:
        sessions = [world.session() for _ in range(3)]
        first, second, third = (world.conversation(session_id) for session_id in sessions)
        world.message(first, "refund")
        newest = world.message(first, "no", "refund", minute=1)
        only = world.message(second, "refund")
        world.message(third, "else")
        world.index()
        gone = world.message(first, "refund", minute=3)
        world.index()
        world.change(MESSAGE, gone, deleted_at=NOON)
        with world.database.read() as db:
            hits = newest_hits(AUDITOR, db, "refund", sessions)
        assert {of: (hit.message_id, hit.part) for of, hit in hits.items()} == {
            sessions[0]: (newest, "answer"),
            sessions[1]: (only, "question"),
        }


class TestWhoMaySee:
    def test_is_the_owner_and_who_reads_all(self, world: World) -> None:
        anns, bobs = world.session(), world.session(of=BOB)
        one, two = (world.message(world.conversation(of), "refund") for of in (anns, bobs))
        world.index()
        mallory = Viewer(UserId("user_of_nothing"), "mallory")
        assert world.found("refund", ANN) == [(one, "question")]
        assert world.found("refund", BOB) == [(two, "question")]
        assert world.found("refund") == [(two, "question"), (one, "question")]
        assert world.found("refund", mallory) == world.sessions("refund", mallory) == []
        assert world.found("refund", ANN, user_ids=[BOB.user_id]) == []
        assert world.found("refund", ANN, session_ids=[bobs]) == []
        assert world.sessions("refund", ANN) == [anns]
        hits = world.hits("refund")
        with world.database.read() as db:
            assert list(newest_hits(ANN, db, "refund", [anns, bobs])) == [anns]
            assert list(excerpts(ANN, db, "refund", hits)) == [(one, "question")]
            assert len(excerpts(AUDITOR, db, "refund", hits)) == 2

    @pytest.mark.parametrize("what", ["message", "conversation", "session"])
    def test_is_nobody_once_it_is_deleted(self, world: World, what: str) -> None:
        session_id = world.session()
        conversation_id = world.conversation(session_id)
        message_id = world.message(conversation_id, "refund")
        world.index()
        hits = world.hits("refund")
        change: dict[str, tuple[Any, str, dict[str, Any], dict[str, Any]]] = {
            "message": (MESSAGE, message_id, {"deleted_at": NOON}, {"deleted_at": None}),
            "conversation": (CONVERSATION, conversation_id, {"deleted_at": NOON}, {"deleted_at": None}),
            "session": (SESSION, session_id, {"status": "deleted"}, {"status": "archived"}),
        }
        table, key, deleted, restored = change[what]
        world.change(table, key, **deleted)
        with world.database.read() as db:
            assert [newest_hits(ANN, db, "refund", [session_id]), excerpts(ANN, db, "refund", hits)] == [{}, {}]
        assert [world.found("refund"), world.sessions("refund"), world.found("refund", ANN)] == [[], [], []]
        world.change(table, key, **restored)
        assert [world.found("refund"), world.sessions("refund")] == [[(message_id, "question")], [session_id]]


class TestIndexing:
    def test_takes_a_question_at_once_and_an_answer_when_it_is_over(self, world: World) -> None:
        conversation_id = world.begin()
        for status in OVER:
            message_id = world.message(conversation_id, "ask refund", "begun", status="queued")
            world.index()
            assert [world.found("ask", limit=1), world.found("begun")] == [[(message_id, "question")], []]
            for going_on in ("running", "waiting", "queued", "running"):
                world.change(THREAD, message_id, status=going_on)
                world.index()
                assert world.found("begun") == []
            world.change(MESSAGE, message_id, answer="ended well")
            world.change(THREAD, message_id, status=status)
            world.index()
            assert world.found("ended") == [(message_id, "answer")]
            assert world.found("ask", limit=1) == [(message_id, "question")]
            world.remove(message_id)

    def test_goes_in_batches_newest_first_and_says_what_waits(self, world: World) -> None:
        conversation_id = world.begin()
        ids = [world.message(conversation_id, "refund") for _ in range(5)]
        assert [world.pending(), world.pending(ANN), world.pending(BOB)] == [5, 5, 0]
        assert index_messages(world.database, most=2) == 2
        assert sorted(world.found("refund")) == [(message_id, "question") for message_id in ids[3:]]
        assert [index_messages(world.database, most=2) for _ in range(3)] == [2, 1, 0]
        assert [len(world.found("refund")), world.pending()] == [5, 0]

    def test_is_not_held_up_by_what_is_empty_odd_or_gone(self, world: World) -> None:
        conversation_id = world.begin()
        world.message(conversation_id)
        bare = world.message(conversation_id, "bare", "answered")
        world.write(lambda db: db.connection().execute(delete(THREAD).where(THREAD.c.message_id == bare)))
        queued = insert(table_of(MessageToIndex)).values(message_id="msg_gone")
        world.write(lambda db: db.connection().execute(queued))
        world.index()
        assert [world.pending(), world.found("answered")] == [0, [(bare, "answer")]]

    def test_of_something_huge_takes_its_beginning_in_a_short_transaction(self, world: World) -> None:
        conversation_id = world.begin()
        words = " ".join(f"w{number}" for number in range(30_000))
        for _ in range(4):
            world.message(conversation_id, f"find me {words}", f"and me {words}")
        assert index_messages(world.database) == 1
        world.index()
        assert [len(world.found(query)) for query in ("me", "w3", "w29999")] == [8, 8, 0]

    def test_loses_no_answer_that_ends_while_it_indexes(self, world: World) -> None:
        message_id = world.message(world.begin(), "ask", "the end", status="running")
        written = world.database.write

        def late(job: Callable[[Db], Any]) -> Any:
            # The thread ends after it was read; its message waits already, so that nothing new is queued.
            world.database.write = written  # type: ignore[method-assign]
            world.change(THREAD, message_id, status="done")
            return written(job)

        world.database.write = late  # type: ignore[method-assign]
        assert [index_messages(world.database), world.found("end")] == [0, []]
        world.index()
        assert world.found("end") == [(message_id, "answer")]

    def test_loses_no_answer_whose_end_is_not_committed_yet(self, world: World, other: Database) -> None:
        if other.is_sqlite:
            pytest.skip("SQLite has one writer")
        message_id = world.message(world.begin(), "ask", "the end", status="running")
        with other._writing.begin() as connection:
            end = update(THREAD).where(THREAD.c.message_id == message_id).values(status="done")
            connection.execute(end)
            assert index_messages(world.database) == 0
        world.index()
        assert world.found("end") == [(message_id, "answer")]

    def test_by_two_processes_indexes_each_text_once(self, world: World, other: Database) -> None:
        conversation_id = world.begin()
        ids = [world.message(conversation_id, "refund") for _ in range(4)]
        written = world.database.write

        def late(job: Callable[[Db], Any]) -> Any:
            world.database.write = written  # type: ignore[method-assign]
            assert index_messages(other) == 4
            return written(job)

        world.database.write = late  # type: ignore[method-assign]
        assert index_messages(world.database) == 0
        assert sorted(world.found("refund")) == [(message_id, "question") for message_id in ids]

    def test_that_breaks_off_loses_and_doubles_nothing(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        conversation_id = world.begin()
        ids = [world.message(conversation_id, "refund") for _ in range(4)]
        written = Database.write

        def broken(database: Database, job: Callable[[Db], Any]) -> Any:
            def job_and_crash(db: Db) -> None:
                job(db)
                raise OSError("the machine went down")

            return written(database, job_and_crash)

        monkeypatch.setattr(Database, "write", broken)
        with pytest.raises(OSError, match="went down"):
            index_messages(world.database)
        monkeypatch.undo()
        assert [world.found("refund"), world.pending()] == [[], 4]
        world.index()
        assert sorted(world.found("refund")) == [(message_id, "question") for message_id in ids]
        world.check()

    def test_goes_on_with_the_others_when_one_cannot_be_indexed(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        conversation_id = world.begin()
        good, bad = (world.message(conversation_id, text) for text in ("refund", "refund poison"))
        words_of = search.words_of

        def failing(texts: list[str]) -> Any:
            if "poison" in texts[0]:
                raise ValueError("not this one")
            return words_of(texts)

        monkeypatch.setattr(search, "words_of", failing)
        assert [index_messages(world.database) for _ in range(2)] == [1, 0]
        assert [world.found("refund"), world.pending()] == [[(good, "question")], 1]
        monkeypatch.undo()
        world.index()
        assert world.found("poison") == [(bad, "question")]

    def test_of_random_changes_finds_what_is_there(self, world: World) -> None:
        chance = random.Random(11)
        conversation_id = world.begin()
        statuses: dict[str, str] = {}
        for step in range(120):
            open_ones = [message_id for message_id, status in statuses.items() if status not in OVER]
            if not open_ones or chance.random() < 0.4:
                status = chance.choice(THREAD_STATUSES)
                message_id = world.message(conversation_id, "question", f"answer n{step}", status=status)
                statuses[message_id] = status
            else:
                message_id = chance.choice(open_ones)
                statuses[message_id] = chance.choice(THREAD_STATUSES)
                world.change(THREAD, message_id, status=statuses[message_id])
            if chance.random() < 0.5:
                index_messages(world.database, most=chance.choice([1, 3, 200]))
        world.index()
        assert sorted(world.found("question", limit=1000)) == [(one, "question") for one in sorted(statuses)]
        over = sorted(one for one, status in statuses.items() if status in OVER)
        assert sorted(world.found("answer", limit=1000)) == [(one, "answer") for one in over]


class TestRemoving:
    def test_leaves_no_word_behind(self, world: World) -> None:
        conversation_id = world.begin()
        ids = [world.message(conversation_id, f"refund n{n} 测试", f"Überblick {n}", minute=n) for n in range(6)]
        waiting = world.message(conversation_id, "refund", status="running")
        world.index()
        fresh = world.message(conversation_id, "refund")
        world.remove(*ids[:3], fresh)
        assert len(world.found("refund")) == 4
        world.index()
        assert [len(world.found("refund")), world.found("n1"), len(world.found("uberblick"))] == [4, [], 3]
        world.remove(*ids, waiting)
        assert [world.words_left(), world.count_rows(MessageSearch), world.found("refund")] == [0, 0, []]
        world.check()

    def test_is_part_of_the_callers_transaction(self, world: World) -> None:
        message_id = world.message(world.begin(), "refund")
        world.index()

        def job(db: Db) -> None:
            search.remove_messages(db, [message_id])
            raise OSError("not today")

        with pytest.raises(OSError, match="not today"):
            world.write(job)
        assert world.found("refund") == [(message_id, "question")]

    def test_comes_with_the_purge_of_a_branch(self, world: World) -> None:
        conversation_id = world.begin()
        kept, gone = (world.message(conversation_id, "refund", "yes") for _ in range(2))
        branch_id = world.branch(conversation_id, gone)
        world.index()
        long_ago = NOON - timedelta(days=300)
        world.change(BRANCH, branch_id, deleted_at=long_ago)
        world.change(MESSAGE, gone, deleted_at=long_ago)
        assert purge_branches(world.database, lambda _thread_id: None) == 1
        assert [world.found("refund"), world.count_rows(MessageSearch)] == [[(kept, "question")], 2]


class TestExcerpts:
    def test_mark_the_found_words(self, world: World) -> None:
        long = "before " * 40 + "the Refund came, and a refund again " + "after " * 40
        message_id = world.message(world.begin(), "where is my refund?", long)
        world.index()
        hits = world.hits("refund")
        with world.database.read() as db:
            found = excerpts(AUDITOR, db, "refund", hits, around=20)
        assert found[hits[-1].message_id, "question"] == [("where is my ", False), ("refund", True), ("?", False)]
        assert found[message_id, "answer"] == [  # type: ignore[index]
            ("…e before before the ", False),
            ("Refund", True),
            (" came, and a ", False),
            ("refund", True),
            (" …", False),
        ]

    @pytest.mark.parametrize(
        ("said", "query", "marked"),
        [
            ("我的搜索引擎，引擎", "搜索 引擎", [("我的", 0), ("搜索引擎", 1), ("，", 0), ("引擎", 1)]),
            ("用ＧＰＴ模型", "gpt模型", [("用", 0), ("ＧＰＴ模型", 1)]),
            ("one two\n three", '"two three" one', [("one", 1), (" ", 0), ("two three", 1)]),
            ("begin beginning", "begin* -x", [("begin", 1), (" ", 0), ("beginning", 1)]),
            ("nothing of it", "refund", [("nothing of it", 0)]),
            ("", "refund", []),
            ("Überblick", "uber*", [("Überblick", 1)]),
        ],
    )
    def test_mark_words_in_any_script(self, said: str, query: str, marked: list[tuple[str, int]]) -> None:
        assert mark_words(said, query) == [(piece, bool(is_found)) for piece, is_found in marked]

    def test_hold_all_of_the_text_however_it_is_cut(self) -> None:
        chance = random.Random(3)
        letters = "ab 搜索引擎\n,é"
        for _ in range(300):
            said = "".join(chance.choice(letters) for _ in range(chance.randrange(60)))
            pieces = mark_words(said, chance.choice(["a", "ab*", "索引 a", "搜 b"]), around=1000)
            assert "".join(piece for piece, _ in pieces).split() == said.split()


class TestInTheBackground:
    def test_what_a_person_said_is_found_soon(self, opened: Skein, person: Callable[..., Viewer]) -> None:
        ann, bob = person("ann"), person("bob")
        turn = ask(opened, ann, "Tell me about Ulm and 测试.")
        done = answered(opened, ann, turn.thread_id)

        def found(viewer: Viewer, query: str) -> list[tuple[str, str]]:
            with opened.database.read() as db:
                return [(hit.message_id, hit.part) for hit in matching(viewer, db, query)]

        word = max(done.answer.split(), key=len)
        wait_until(lambda: found(ann, "测试")[-1:] == [(turn.message_id, "question")])
        wait_until(lambda: (turn.message_id, "answer") in found(ann, f'"{word}"'))
        assert [found(bob, "测试"), found(bob, f'"{word}"')] == [[], []]


def work_of(world: World, query: str, viewer: Viewer) -> int:
    """How many hundreds of steps SQLite took to search."""
    steps = 0

    def stepped() -> None:
        nonlocal steps
        steps += 1

    with world.database.read() as db:
        found = db.connection()
        statement = matching_sessions(viewer, db, query)
        driver = found.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.set_progress_handler(stepped, 100)
        found.execute(statement).all()
        driver.set_progress_handler(None, 0)
    return steps


class TestItsWork:
    def test_for_a_members_common_word_does_not_hang_on_what_others_said(self, world: World) -> None:
        anns, bobs = world.begin(), world.begin(BOB)
        mine = world.message(anns, "refund")
        rows = [
            {**dict.fromkeys(("answer",), ""), "message_id": f"msg_{n:013d}_000000000000", "conversation_id": bobs}
            | {"content": "refund", "depth": 0, "created_at": NOON + timedelta(seconds=n)}
            for n in range(6000)
        ]
        world.write(lambda db: db.connection().execute(insert(MESSAGE), rows))
        world.index()
        assert world.found("refund", ANN) == [(mine, "question")]
        assert len(world.sessions("refund", ANN)) == 1
        if world.database.is_sqlite:
            assert work_of(world, "refund", ANN) < work_of(world, "refund", AUDITOR) / 2
