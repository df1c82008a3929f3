"""Deleting sessions: nobody finds one any more, a minute of undo, and a purge that leaves no word of it behind."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, LargeBinary, Table, event, func, select, update

from core.access.viewer import Viewer
from core.calls.listing.queries import get_call
from core.calls.text.search import index_calls
from core.calls.text.search import matching as matching_calls
from core.database import Database, table_of
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.history import annotations, approvals, artifacts, branches, conversations, rules, search, sessions, turns
from core.history.artifacts import write_version
from core.history.browse import listing
from core.history.browse.counting import count_changed
from core.history.browse.filters import SessionFilter
from core.history.files import Attachment
from core.history.messages import NewMessage
from core.history.snapshots import get_snapshot
from core.history.turns import Turn
from core.ids import CallId, SessionId, ThreadId, new_session_id
from core.records import bulk, removal
from core.records.deletion import delete_session, purge_conversations, purge_sessions, restore_session
from core.runs import branching
from core.settings import Settings
from core.skein import Skein
from core.tables import (
    Activity,
    Annotation,
    Conversation,
    LlmCall,
    Session,
    Thread,
    utc_now,
)
from core.tables import (
    Table as Tables,
)
from tests.core.support import answered, ask, graph_settings, in_the_midst, wait_until

Person = Callable[..., Viewer]
SECRET = "zanzibarquux"
LATER = timedelta(minutes=2)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


class Place:
    """A session with two conversations, a fork, artifacts, a file, marks, a rule and something that waits."""

    def __init__(self, skein: Skein, owner: Viewer, word: str = SECRET) -> None:
        self.skein, self.owner, self.word = skein, owner, word
        file = Attachment(f"{word}.txt", "text/plain", word.encode())
        first = NewMessage(f"tell me of {word}", files=(file,))
        self.added = skein.engine.start(owner, first)
        self.session_id = self.added.session_id
        self.turn = answered(skein, owner, self.added.thread_id)
        self.fork = answered(skein, owner, ask(skein, owner, f"more {word}", under=self.turn).thread_id)
        other = NewMessage(f"apart {word}", session_id=self.session_id, agent_id="question")
        self.waits = answered(skein, owner, skein.engine.start(owner, other).thread_id)
        assert self.waits.status == "waiting"
        branching.edit(skein.engine, owner, self.fork.message_id, f"rather {word}")
        assert skein.call_log.flush()
        skein.database.write(self._mark)
        self.snapshot = branching.snapshot(skein.engine, owner, self.turn.thread_id, f"at {word}")
        assert skein.call_log.flush()
        wait_until(lambda: not skein.engine.active(owner))
        while search.index_messages(skein.database):
            pass

    def _mark(self, db: Any) -> None:
        self.artifact = write_version(
            self.owner,
            db,
            session_id=self.session_id,
            kind="result",
            name=f"on {self.word}",
            content=self.word.encode(),
            media_type="text/markdown",
        )
        branch = branches.get_branch_below(self.owner, db, self.turn.message_id)
        calls = table_of(LlmCall).c
        own = select(calls.call_id).where(calls.session_id == self.session_id)
        [call, *_] = db.connection().execute(own).scalars()
        for target in (self.session_id, self.turn.message_id, branch.branch_id, call):
            annotations.set_note(self.owner, db, target, f"about {self.word}")
        rules.add_rule(self.owner, db, effect="ask", tool="send", scope="session", session_id=self.session_id)

    @property
    def later(self) -> Any:
        return utc_now() + LATER

    def purge(self, database: Any = None, forget: Any = None) -> int:
        keeper = self.skein.housekeeper
        return purge_sessions(database or self.skein.database, forget or keeper.forget_thread, now=self.later)


@pytest.fixture
def place(opened: Skein, alice: Viewer) -> Place:
    return Place(opened, alice)


def reads(place: Place, viewer: Viewer) -> dict[str, Callable[[Any], Any]]:
    """Everything that could give something of the session."""
    turn, ref = place.turn, place.artifact
    return {
        "session": lambda db: sessions.get_session(viewer, db, place.session_id),
        "conversation": lambda db: conversations.get_conversation(viewer, db, turn.conversation_id),
        "headings": lambda db: conversations.get_headings(viewer, db, [turn.conversation_id]),
        "turn": lambda db: turns.get_turn(viewer, db, turn.message_id),
        "turns": lambda db: turns.list_turns(viewer, db, turn.conversation_id),
        "branches": lambda db: branches.list_branches(viewer, db, turn.conversation_id),
        "snapshot": lambda db: get_snapshot(viewer, db, place.snapshot.snapshot_id),
        "artifacts": lambda db: artifacts.list_artifacts(viewer, db, place.session_id),
        "versions": lambda db: artifacts.list_versions(viewer, db, ref.artifact_id),
        "named": lambda db: artifacts.list_named(viewer, db, [ref]),
        "content": lambda db: artifacts.read_content(viewer, db, ref),
        "shared": lambda db: artifacts.find_shared(viewer, db, place.session_id, None),
        "any": lambda db: artifacts.has_artifacts(viewer, db, place.session_id),
        "rules": lambda db: rules.list_rules(viewer, db),
        "approvals": lambda db: approvals.list_approvals(viewer, db, waiting=True),
        "search": lambda db: search.matching(viewer, db, place.word),
    }


def found(place: Place, viewer: Viewer) -> set[str]:
    """By name, what still gives something."""
    given = set()
    for name, read in reads(place, viewer).items():
        with place.skein.database.read() as db:
            try:
                if read(db):
                    given.add(name)
            except NotFoundError:
                pass
    return given


def begun(skein: Skein, viewer: Viewer) -> tuple[SessionId, Turn]:
    added = skein.engine.start(viewer, NewMessage("hello", agent_id="echo"))
    return added.session_id, answered(skein, viewer, added.thread_id)


class TestADeletedSession:
    def test_is_found_by_nobody_in_any_way(self, place: Place, person: Person) -> None:
        everybody = [place.owner, person("ann", role="analyst"), person("root", role="admin")]
        assert found(place, place.owner) == set(reads(place, place.owner))
        delete_session(place.owner, place.skein.engine, place.session_id)
        assert [found(place, viewer) for viewer in everybody] == [set(), set(), set()]

    def test_keeps_its_calls_in_the_log_but_not_their_texts(self, place: Place) -> None:
        with place.skein.database.read() as db:
            call_id = str(db.connection().execute(select(table_of(LlmCall).c.call_id).limit(1)).scalar_one())
        before = get_call(place.owner, place.skein.database, call_id)
        delete_session(place.owner, place.skein.engine, place.session_id)
        after = get_call(place.owner, place.skein.database, call_id)
        assert (before.body_state, after.body_state) == ("kept", "deleted")
        assert (before.row.session_title is not None, after.row.session_title) == (True, None)
        assert after.row.input_tokens == before.row.input_tokens

    def test_lets_nothing_be_begun_in_it(self, place: Place) -> None:
        skein, alice = place.skein, place.owner
        delete_session(alice, skein.engine, place.session_id)
        for new in (
            NewMessage("more", session_id=place.session_id),
            NewMessage("more", conversation_id=place.turn.conversation_id),
            NewMessage("m", conversation_id=place.turn.conversation_id, parent_message_id=place.turn.message_id),
        ):
            with pytest.raises(NotFoundError):
                skein.engine.start(alice, new)
        for deed in (
            lambda db: sessions.rename_session(alice, db, place.session_id, "new"),
            lambda db: sessions.archive_session(alice, db, place.session_id),
            lambda db: sessions.mark_deleted(alice, db, place.session_id),
            lambda db: conversations.restore_conversation(alice, db, place.turn.conversation_id),
            lambda db: rules.add_rule(
                alice, db, effect="ask", tool="x", scope="session", session_id=place.session_id
            ),
            place._mark,
        ):
            with pytest.raises(NotFoundError):
                skein.database.write(deed)

    def test_is_in_no_count_and_no_choice_at_once(self, place: Place, person: Person) -> None:
        skein, ann = place.skein, person("ann", role="analyst")
        skein.background.close()
        skein.database.write(lambda db: annotations.add_tag(place.owner, db, place.session_id, place.word))
        while count_changed(skein.database):
            pass

        def shown() -> list[Any]:
            with skein.database.read() as db:
                offered = listing.facets(ann, db)
                marks = annotations.find_marks(ann, db, [place.session_id])
                count = listing.count_sessions(ann, db, SessionFilter())
                return [count, bool(offered.agents), offered.tags, len(marks), annotations.list_tags(ann, db)]

        assert shown() == [1, True, (place.word,), 1, {place.word: 1}]
        delete_session(place.owner, skein.engine, place.session_id)
        assert shown() == [0, False, (), 0, {}]

    def test_has_no_calls_that_a_search_finds(self, place: Place, person: Person) -> None:
        skein, who = place.skein, [place.owner, person("ann", role="analyst")]
        while index_calls(skein.database):
            pass

        def hits() -> list[bool]:
            with skein.database.read() as db:
                return [bool(matching_calls(viewer, db, place.word)) for viewer in who]

        assert hits() == [True, True]
        delete_session(place.owner, skein.engine, place.session_id)
        assert hits() == [False, False]

    def test_takes_no_notes_on_its_calls_not_when_it_is_purged_either(self, place: Place) -> None:
        skein, alice = place.skein, place.owner
        with skein.database.read() as db:
            call_id = db.connection().execute(select(table_of(LlmCall).c.call_id).limit(1)).scalar_one()

        def set_note(db: Any) -> None:
            annotations.set_note(alice, db, CallId(call_id), "words")

        skein.database.write(set_note)
        delete_session(alice, skein.engine, place.session_id)
        for _ in ("deleted", "purged"):
            with pytest.raises(NotFoundError):
                skein.database.write(set_note)
            place.purge()
        assert count(skein.database, Annotation) == 0

    def test_hides_what_is_just_being_brought_back_in_it(self, opened: Skein, alice: Viewer) -> None:
        if opened.database.is_sqlite:
            pytest.skip("SQLite has one writer")
        session_id, turn = begun(opened, alice)
        other = Database(opened.database.url)
        other.write(lambda db: conversations.delete_conversation(alice, db, turn.conversation_id))
        with in_the_midst(opened.database, lambda: delete_session(alice, opened.engine, session_id)) as delete:

            def restore(db: Any) -> None:
                conversations.restore_conversation(alice, db, turn.conversation_id)
                delete()

            other.write(restore)
        other.close()
        hidden = select(table_of(Conversation).c.deleted_at.is_not(None))
        with opened.database.read() as db:
            assert db.connection().execute(hidden).scalars().all() == [True]

    def test_gives_nothing_of_a_conversation_that_is_not_hidden(self, opened: Skein, alice: Viewer) -> None:
        session_id, turn = begun(opened, alice)
        delete_session(alice, opened.engine, session_id)
        shown = update(table_of(Conversation)).values(deleted_at=None)
        opened.database.write(lambda db: db.connection().execute(shown))
        for read in (
            lambda db: conversations.get_conversation(alice, db, turn.conversation_id),
            lambda db: turns.get_turn(alice, db, turn.message_id),
        ):
            with pytest.raises(NotFoundError), opened.database.read() as db:
                read(db)
        with pytest.raises(NotFoundError):
            opened.engine.start(alice, NewMessage("more", conversation_id=turn.conversation_id))
        with opened.database.read() as db:
            assert conversations.list_conversations(alice, db) == []
            assert conversations.get_headings(alice, db, [turn.conversation_id]) == {}

    def test_leaves_no_note_that_was_just_being_written(self, opened: Skein, alice: Viewer, person: Person) -> None:
        if opened.database.is_sqlite:
            pytest.skip("SQLite has one writer")
        (session_id, _), ann = begun(opened, alice), person("ann", role="analyst")
        other = Database(opened.database.url)

        def delete_and_purge() -> None:
            delete_session(alice, opened.engine, session_id)
            purge_sessions(opened.database, opened.housekeeper.forget_thread, now=utc_now() + LATER)

        with in_the_midst(opened.database, delete_and_purge) as delete:

            def note(db: Any) -> None:
                annotations.set_note(ann, db, session_id, "words")
                delete()

            other.write(note)
        other.close()
        assert [count(opened.database, table) for table in (Session, Annotation)] == [0, 0]

    def test_comes_back_within_a_minute_as_it_was(self, place: Place) -> None:
        skein, alice = place.skein, place.owner
        skein.database.write(lambda db: sessions.archive_session(alice, db, place.session_id))
        skein.database.write(lambda db: conversations.delete_conversation(alice, db, place.waits.conversation_id))
        before = found(place, alice)
        delete_session(alice, skein.engine, place.session_id)
        restore_session(alice, skein.database, place.session_id)
        assert found(place, alice) == before
        with skein.database.read() as db:
            assert sessions.get_session(alice, db, place.session_id).status == "archived"
            with pytest.raises(NotFoundError):
                turns.get_turn(alice, db, place.waits.message_id)

    def test_does_not_come_back_once_its_purge_has_begun_or_the_minute_is_over(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        skein, alice = place.skein, place.owner
        delete_session(alice, skein.engine, place.session_id)
        with monkeypatch.context() as patched:
            patched.setattr(sessions, "UNDO", timedelta(0))
            with pytest.raises(NotFoundError):
                restore_session(alice, skein.database, place.session_id)
        with pytest.raises(Cut):
            place.purge(CutShort(skein.database, 2))
        with pytest.raises(NotFoundError):
            restore_session(alice, skein.database, place.session_id)

    def test_is_stopped_in_what_it_runs(self, opened: Skein, alice: Viewer, person: Person) -> None:
        for viewer in (alice, person("root", role="admin")):
            runs = ask(opened, alice, "runs", agent="held")
            with opened.database.read() as db:
                session_id = conversations.get_conversation(alice, db, runs.conversation_id).session_id
            delete_session(viewer, opened.engine, session_id)
            wait_until(lambda: not opened.engine.active(alice))
            assert status(opened, runs.thread_id) == "stopped"


class TestWhoMayDelete:
    def test_the_owner_and_an_admin_and_nobody_else(self, place: Place, person: Person) -> None:
        skein = place.skein
        for viewer, error in ((person("mallory"), NotFoundError), (person("ann", role="analyst"), ForbiddenError)):
            with pytest.raises(error):
                delete_session(viewer, skein.engine, place.session_id)
            with pytest.raises(error):
                skein.database.write(lambda db, v=viewer: sessions.archive_session(v, db, place.session_id))
        assert found(place, place.owner) == set(reads(place, place.owner))
        root = person("root", role="admin")
        with pytest.raises(ForbiddenError):
            skein.database.write(lambda db: sessions.rename_session(root, db, place.session_id, "mine"))
        delete_session(root, skein.engine, place.session_id)
        restore_session(root, skein.database, place.session_id)
        assert deeds(skein.database, place.session_id, root) == ["session.delete", "session.restore"]


class TestNamesAndShelves:
    def test_a_session_is_made_renamed_and_put_aside(self, opened: Skein, alice: Viewer) -> None:
        write = opened.database.write
        session_id = write(lambda db: sessions.create_session(alice, db, "  Refunds \n in May "))
        with opened.database.read() as db:
            made = sessions.get_session(alice, db, session_id)
        assert (made.title, made.status, made.user_id) == ("Refunds in May", "active", alice.user_id)
        assert write(lambda db: sessions.rename_session(alice, db, session_id, "退款")) == "退款"
        write(lambda db: sessions.archive_session(alice, db, session_id))
        write(lambda db: sessions.archive_session(alice, db, session_id))
        with opened.database.read() as db:
            assert sessions.get_own_session(alice, db, session_id).status == "archived"
        started = opened.engine.start(alice, NewMessage("hello", session_id=session_id, agent_id="echo"))
        assert answered(opened, alice, started.thread_id).status == "done"
        write(lambda db: sessions.archive_session(alice, db, session_id, archived=False))
        assert deeds(opened.database, session_id, alice)[:4] == [
            "session.create",
            "session.rename",
            "session.archive",
            *["session.unarchive"],
        ]

    @pytest.mark.parametrize("title", ["", " \n ", "x" * 201])
    def test_a_title_that_is_none_is_refused(self, opened: Skein, alice: Viewer, title: str) -> None:
        with pytest.raises(BadInputError, match="title"):
            opened.database.write(lambda db: sessions.create_session(alice, db, title))

    @pytest.mark.parametrize("session_id", ["session_1795259505121_2WZ1PQF3BC93", "session_", "\0", ""])
    def test_what_is_no_session_is_not_found(self, opened: Skein, alice: Viewer, session_id: str) -> None:
        with opened.database.read() as db, pytest.raises(NotFoundError):
            sessions.get_session(alice, db, SessionId(session_id))


class TestAPurge:
    def test_leaves_no_word_of_it_in_either_store(self, place: Place) -> None:
        skein = place.skein
        threads = threads_of(place)
        assert words_left(skein, SECRET) != {}
        delete_session(place.owner, skein.engine, place.session_id)
        assert place.purge() == 1
        assert words_left(skein, SECRET) == {}
        assert skein.housekeeper._count(threads) == dict.fromkeys(threads, 0)
        assert place.purge() == 0

    def test_leaves_the_measures_of_its_calls(self, place: Place) -> None:
        before = rows_of(place.skein.database, LlmCall, place.session_id)
        assert before != []
        delete_session(place.owner, place.skein.engine, place.session_id)
        place.purge()
        assert rows_of(place.skein.database, LlmCall, place.session_id) == before

    def test_leaves_a_tombstone_that_counts_and_names_nothing(self, place: Place) -> None:
        delete_session(place.owner, place.skein.engine, place.session_id)
        place.purge()
        [tombstone] = rows_of(place.skein.database, Activity, place.session_id)[-1:]
        calls = len(rows_of(place.skein.database, LlmCall, place.session_id))
        counts = {"conversations": 2, "messages": 4, "artifacts": 2, "calls": calls}
        assert (tombstone["kind"], tombstone["target_id"]) == ("session.purge", place.session_id)
        assert tombstone["detail"] == counts

    def test_touches_nothing_of_anybody_else(self, place: Place, person: Person) -> None:
        other = Place(place.skein, person("bob"), word="bobswords")
        same = Place(place.skein, place.owner, word="otherwords")
        before = [words_left(place.skein, word) for word in ("bobswords", "otherwords")]
        delete_session(place.owner, place.skein.engine, place.session_id)
        assert place.purge() == 1
        after = [words_left(place.skein, word) for word in ("bobswords", "otherwords")]
        # Counts and index may have caught up meanwhile.
        for was, left in zip(before, after, strict=True):
            assert {table: min(count, left.get(table, 0)) for table, count in was.items()} == was
        assert found(other, other.owner) == set(reads(other, other.owner))
        assert found(same, same.owner) == set(reads(same, same.owner))

    def test_waits_for_the_minute_and_for_what_runs(self, opened: Skein, alice: Viewer) -> None:
        runs = ask(opened, alice, "runs", agent="held")
        opened.database.write(lambda db: sessions.mark_deleted(alice, db, session_of(opened, runs)))
        forget = opened.housekeeper.forget_thread
        assert purge_sessions(opened.database, forget) == 0
        assert purge_sessions(opened.database, forget, now=utc_now() + LATER) == 0
        wait_until(lambda: status(opened, runs.thread_id) == "stopped")
        wait_until(lambda: purge_sessions(opened.database, forget, now=utc_now() + LATER) == 1)
        assert count(opened.database, Thread) == 0

    def test_cut_short_before_any_of_its_steps_is_finished_the_next_time(
        self, opened: Skein, alice: Viewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(removal, "_AT_ONCE", 2)
        monkeypatch.setattr(removal, "_TEXT_AT_ONCE", 1)
        steps, done = 0, 0
        while not done:
            place = Place(opened, alice, word=f"word{steps}word")
            delete_session(alice, opened.engine, place.session_id)
            short = CutShort(opened.database, steps, opened.housekeeper.forget_thread)
            with suppress(Cut):
                done = place.purge(short, short.forget_thread)
            finished = 0 if done else place.purge()
            assert (done, finished) in {(0, 1), (1, 0)}
            assert words_left(opened, place.word) == {}
            assert purge_counts(opened.database, place.session_id) == 1
            steps += 1
        assert steps > 12

    def test_keeps_each_write_short(self, opened: Skein, alice: Viewer) -> None:
        place = Place(opened, alice)
        long = "many words are here, 很多的字在这里。 " * 4_000
        turn = place.turn
        for _ in range(3):
            turn = answered(opened, alice, ask(opened, alice, long, under=turn, agent="echo").thread_id)
        while search.index_messages(opened.database):
            pass
        delete_session(alice, opened.engine, place.session_id)
        counted = Counted(opened.database)
        assert place.purge(counted) == 1
        assert (counted.writes > 20, counted.most < 40) == (True, True), (counted.writes, counted.most)


class TestAConversationDeletedAlone:
    def test_is_purged_when_it_cannot_come_back(self, place: Place) -> None:
        skein, alice = place.skein, place.owner
        gone = place.turn.conversation_id
        skein.database.write(lambda db: conversations.delete_conversation(alice, db, gone))
        forget = skein.housekeeper.forget_thread
        assert purge_conversations(skein.database, forget) == 0
        assert purge_conversations(skein.database, forget, now=utc_now() + timedelta(minutes=11)) == 1
        kept = conversation_rows(skein.database, place.session_id)
        assert kept == [place.waits.conversation_id]
        left = words_left(skein, f"more {SECRET}") | words_left(skein, f"rather {SECRET}")
        assert left == {}
        with skein.database.read() as db:
            assert artifacts.read_content(alice, db, place.artifact) == SECRET.encode()
            assert turns.get_turn(alice, db, place.waits.message_id).status == "waiting"


class TestManyAtOnce:
    def test_a_preview_counts_what_the_deed_will_touch(self, place: Place, person: Person) -> None:
        skein, bob = place.skein, person("bob")
        theirs = Place(skein, bob, word="bobs")
        root, ann = person("root", role="admin"), person("ann", role="analyst")
        both = [place.session_id, theirs.session_id, new_session_id()]

        def shown(viewer: Viewer, action: Any) -> tuple[int, int]:
            made = bulk.preview(viewer, skein.database, both, action)
            return made.sessions, made.not_allowed

        assert [shown(viewer, "delete") for viewer in (bob, ann, root)] == [(1, 0), (0, 2), (2, 0)]
        assert [shown(viewer, "tag") for viewer in (bob, ann, root)] == [(1, 0), (2, 0), (2, 0)]
        made = bulk.preview(bob, skein.database, both, "delete")
        counted = (made.ids, made.conversations, made.messages, made.threads, made.running, made.waiting)
        assert counted == ((theirs.session_id,), 2, 4, 4, 0, 1)
        assert (made.artifacts, made.calls > 0, made.bytes > 0) == (2, True, True)

    def test_deeds_are_done_one_by_one_and_what_is_refused_is_told(self, place: Place, person: Person) -> None:
        skein, bob = place.skein, person("bob")
        theirs = Place(skein, bob, word="bobs")
        both, seen = [theirs.session_id, place.session_id], list[tuple[int, int]]()
        done = bulk.archive(bob, skein.database, both, progress=lambda at, of: seen.append((at, of)))
        assert (done.ids, list(done.refused.values()), seen) == ((theirs.session_id,), [1], [(1, 2), (2, 2)])
        assert bulk.tag(bob, skein.database, both, " Odd  ones ").ids == (theirs.session_id,)
        with skein.database.read() as db:
            assert annotations.list_tags(bob, db) == {"odd ones": 1}
        bulk.tag(bob, skein.database, both, "odd ones", remove=True)
        deleted = bulk.delete(bob, skein.engine, both)
        assert deleted.ids == (theirs.session_id,)
        assert found(theirs, bob) == set()
        assert bulk.restore(bob, skein.database, deleted.ids).ids == (theirs.session_id,)
        with skein.database.read() as db:
            assert annotations.list_tags(bob, db) == {}
            assert sessions.get_session(bob, db, theirs.session_id).status == "archived"


class Cut(BaseException):
    """As a kill: nothing of ours catches it."""


class CutShort:
    """A database and a checkpoint store that are gone after so many writes."""

    def __init__(self, database: Database, writes: int, forget: Callable[[ThreadId], None] | None = None) -> None:
        self._database, self._left, self._forget = database, writes, forget

    def read(self) -> Any:
        return self._database.read()

    def write(self, job: Any) -> Any:
        self._step()
        return self._database.write(job)

    def forget_thread(self, thread_id: ThreadId) -> None:
        self._step()
        assert self._forget is not None
        self._forget(thread_id)

    def _step(self) -> None:
        if self._left == 0:
            raise Cut
        self._left -= 1


class Counted:
    """A database that remembers how many writes there were, and how many rows the largest of them changed."""

    def __init__(self, database: Database) -> None:
        self._database, self.writes, self.most = database, 0, 0

    def read(self) -> Any:
        return self._database.read()

    def write(self, job: Any) -> Any:
        def counted(db: Any) -> Any:
            changed: list[int] = []

            def count(connection: Any, cursor: Any, *_: Any) -> None:
                changed.append(max(cursor.rowcount, 0))

            connection = db.connection()
            event.listen(connection, "after_cursor_execute", count)
            try:
                value = job(db)
            finally:
                event.remove(connection, "after_cursor_execute", count)
            self.writes, self.most = self.writes + 1, max(self.most, sum(changed))
            return value

        return self._database.write(counted)


def text_columns(table: Table) -> Iterator[Column[Any]]:
    return (
        column for column in table.columns if not isinstance(column.type, LargeBinary) or column.name == "content"
    )


def words_left(skein: Skein, word: str) -> dict[str, int]:
    """In which tables the word stands, and in how many rows; the words' index and the checkpoints too."""
    left = {}
    with skein.database.read() as db:
        connection = db.connection()
        for table in Tables.metadata.sorted_tables:
            rows = connection.execute(select(*text_columns(table))).all()
            number = sum(any(word in _as_text(value) for value in row) for row in rows)
            left |= {table.name: number} if number else {}
        for name in ("message_words", "llm_call_words"):
            match = (
                f"SELECT count(*) FROM {name} WHERE {name} MATCH '\"{word}\"'"
                if skein.database.is_sqlite
                else f"SELECT count(*) FROM {name} WHERE words @@ CAST('''{word}''' AS tsquery)"
            )
            number = connection.exec_driver_sql(match).scalar_one() if " " not in word else 0
            left |= {name: number} if number else {}
    return left


def _as_text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def threads_of(place: Place) -> list[str]:
    with place.skein.database.read() as db:
        return list(db.connection().execute(select(table_of(Thread).c.thread_id)).scalars())


def rows_of(database: Database, table: Any, session_id: str) -> list[dict[str, Any]]:
    plain = table_of(table)
    query = select(plain).where(plain.c.session_id == session_id).order_by(plain.c.created_at)
    with database.read() as db:
        return [dict(row._mapping) for row in db.connection().execute(query)]


def conversation_rows(database: Database, session_id: str) -> list[str]:
    return [row["conversation_id"] for row in rows_of(database, Conversation, session_id)]


def deeds(database: Database, target_id: str, viewer: Viewer) -> list[str]:
    rows = rows_of(database, Activity, target_id)
    return [row["kind"] for row in rows if row["target_id"] == target_id and row["user_id"] == viewer.user_id]


def purge_counts(database: Database, session_id: str) -> int:
    return sum(row["kind"] == "session.purge" for row in rows_of(database, Activity, session_id))


def count(database: Database, table: Any) -> int:
    with database.read() as db:
        return db.connection().execute(select(func.count()).select_from(table_of(table))).scalar_one()


def status(skein: Skein, thread_id: str) -> str:
    with skein.database.read() as db:
        query = select(table_of(Thread).c.status).where(table_of(Thread).c.thread_id == thread_id)
        return str(db.connection().execute(query).scalar_one())


def session_of(skein: Skein, turn: Turn) -> SessionId:
    query = select(table_of(Conversation).c.session_id).where(
        table_of(Conversation).c.conversation_id == turn.conversation_id
    )
    with skein.database.read() as db:
        return SessionId(db.connection().execute(query).scalar_one())
