"""Retention rules: what they touch and spare, that a preview says so first, and that each is run once a day."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from core.access.viewer import Viewer
from core.calls.text.search import index_calls
from core.calls.text.search import matching as matching_calls
from core.database import Database, table_of
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.history import annotations, sessions
from core.history.artifacts import write_version
from core.history.messages import NewMessage, add_message
from core.history.sessions import archive_session
from core.ids import RetentionId, SessionId
from core.records import retention
from core.records.retention import Rule
from core.skein import Skein
from core.tables import Activity, Conversation, LlmCallBody, RetentionRule, Session, utc_now
from tests.core.support import answered, ask, in_the_midst
from tests.core.test_deletion import count
from tests.core.working import add_person, say

Person = Callable[..., Viewer]
OLD = Rule("old", "archive", 30)


@pytest.fixture
def root(database: Database) -> Viewer:
    return add_person(database, "root", "admin")


def a_session(
    database: Database, viewer: Viewer, *, days: float = 40, tag: str = "", status: str = "done"
) -> SessionId:
    """A session that was used so many days ago."""
    added = say(database, viewer, "hello")
    at = utc_now() - timedelta(days=days)

    def job(db: Any) -> None:
        for table, key in ((Session, added.session_id), (Conversation, added.conversation_id)):
            plain = table_of(table)
            db.connection().execute(update(plain).where(next(iter(plain.primary_key)) == key).values(updated_at=at))
        db.connection().exec_driver_sql(
            f"UPDATE thread SET status = '{status}' WHERE thread_id = '{added.thread_id}'"
        )
        if tag:
            annotations.add_tag(viewer, db, added.session_id, tag)

    database.write(job)
    return added.session_id


def touched(database: Database, root: Viewer, rule: Rule) -> set[str]:
    return set(retention.preview(root, database, rule).first)


def added(database: Database, root: Viewer, rule: Rule) -> RetentionId:
    return database.write(lambda db: retention.add_rule(root, db, rule))


def statuses(database: Database) -> dict[str, str]:
    plain = table_of(Session)
    with database.read() as db:
        return dict(list(db.connection().execute(select(plain.c.session_id, plain.c.status))))


class TestWhatARuleIsAbout:
    def test_sessions_that_nobody_used_for_so_long(self, database: Database, root: Viewer) -> None:
        old, _new = a_session(database, root), a_session(database, root, days=29)
        assert touched(database, root, OLD) == {old}
        assert touched(database, root, Rule("all", "archive", 1)) == {old, _new}
        say(database, root, "back again", session_id=old)
        assert touched(database, root, OLD) == set()

    def test_never_one_in_which_somebody_wrote_by_hand(self, database: Database, root: Viewer) -> None:
        old, written = a_session(database, root), a_session(database, root)
        text = {"kind": "result", "name": "r", "content": b"# mine", "media_type": "text/markdown"}
        database.write(lambda db: write_version(root, db, session_id=written, **text))
        assert touched(database, root, OLD) == {old}

    @pytest.mark.parametrize("status", ["queued", "running", "waiting"])
    def test_never_what_is_at_work_or_waits(self, database: Database, root: Viewer, status: str) -> None:
        a_session(database, root, status=status)
        assert touched(database, root, Rule("all", "delete", 1)) == set()

    def test_by_tag_and_never_with_the_tag_that_keeps(self, database: Database, root: Viewer) -> None:
        test, kept, plain = (a_session(database, root, tag=tag) for tag in ("Test", "keep", ""))
        assert touched(database, root, Rule("x", "delete", 30)) == {test, plain}
        assert touched(database, root, Rule("x", "delete", 30, tag="test")) == {test}
        assert touched(database, root, Rule("x", "delete", 30, keep_tag="")) == {test, kept, plain}
        assert touched(database, root, Rule("x", "delete", 30, tag="keep")) == set()
        assert touched(database, root, Rule("x", "delete", 30, keep_tag="test")) == {kept, plain}

    def test_by_what_a_session_is(self, database: Database, root: Viewer) -> None:
        active, shelved = a_session(database, root), a_session(database, root)
        database.write(lambda db: archive_session(root, db, shelved))
        later = utc_now() + timedelta(days=40)

        def found(rule: Rule) -> set[str]:
            return set(retention.preview(root, database, rule, now=later).first)

        assert found(Rule("x", "delete", 30)) == {active, shelved}
        assert found(Rule("x", "delete", 30, status="archived")) == {shelved}
        assert found(Rule("x", "archive", 30)) == {active}
        assert found(Rule("x", "archive", 30, status="archived")) == set()


class TestRunningARule:
    def test_does_what_its_preview_says(self, database: Database, root: Viewer) -> None:
        old, new = a_session(database, root), a_session(database, root, days=2)
        rule_id = added(database, root, OLD)
        seen = retention.preview(root, database, OLD)
        assert (seen.sessions, seen.messages, seen.texts, seen.first) == (1, 1, 0, (old,))
        assert statuses(database) == {old: "active", new: "active"}
        assert retention.run_rule(root, database, rule_id) == 1
        assert statuses(database) == {old: "archived", new: "active"}
        assert retention.run_rule(root, database, rule_id) == 0

    def test_deletes_as_a_person_would(self, database: Database, root: Viewer) -> None:
        old = a_session(database, root)
        rule_id = added(database, root, Rule("old", "delete", 30))
        assert retention.run_rule(root, database, rule_id) == 1
        with database.read() as db, pytest.raises(NotFoundError):
            sessions.get_session(root, db, old)
        assert told(database, old) == [("skein", "session.delete", {"retention_id": rule_id})]
        assert told(database, rule_id)[-1] == (
            root.user_id,
            "retention.run",
            {"action": "delete", "sessions": 1},
        )
        database.write(lambda db: sessions.restore_session(root, db, old))

    def test_spares_what_somebody_comes_back_to_meanwhile(
        self, database: Database, root: Viewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = a_session(database, root)
        rule_id = added(database, root, Rule("old", "delete", 30))
        chosen = retention._next

        def late(*args: Any) -> Any:
            found = chosen(*args)
            if found:
                say(database, root, "back again", session_id=old)
            return found

        monkeypatch.setattr(retention, "_next", late)
        assert retention.run_rule(root, database, rule_id) == 0
        assert statuses(database) == {old: "active"}

    def test_spares_what_somebody_is_just_coming_back_to(self, database: Database, root: Viewer) -> None:
        if database.is_sqlite:
            pytest.skip("SQLite has one writer")
        old = a_session(database, root)
        with database.read() as db:
            [conversation_id] = db.connection().execute(select(table_of(Conversation).c.conversation_id)).scalars()
        rule_id = added(database, root, Rule("old", "delete", 30))
        other, new = Database(database.url), NewMessage("back again", conversation_id=conversation_id)
        with in_the_midst(database, lambda: retention.run_rule(root, database, rule_id)) as run:

            def say_meanwhile(db: Any) -> None:
                add_message(root, db, new, worker="none", lease_until=utc_now())
                run()

            other.write(say_meanwhile)
        other.close()
        assert statuses(database) == {old: "active"}

    def test_goes_on_beyond_one_page(
        self, database: Database, root: Viewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "_PAGE", 2)
        for _ in range(5):
            a_session(database, root)
        assert retention.run_rule(root, database, added(database, root, OLD)) == 5


class TestOnceADay:
    def test_a_rule_runs_when_it_is_enabled_and_due(self, database: Database, root: Viewer) -> None:
        a_session(database, root)
        rule_id = added(database, root, OLD)
        assert retention.run_due(database) == 0
        enabled = Rule("old", "archive", 30, enabled=True)
        database.write(lambda db: retention.change_rule(root, db, rule_id, enabled))
        assert retention.run_due(database) == 1
        a_session(database, root)
        assert retention.run_due(database) == 0
        assert retention.run_due(database, now=utc_now() + timedelta(hours=24)) == 1
        with database.read() as db:
            assert retention.get_rule(root, db, rule_id).last_count == 1

    def test_one_of_many_processes_runs_it(self, database: Database, root: Viewer) -> None:
        for _ in range(3):
            a_session(database, root)
        rule_id = added(database, root, Rule("old", "archive", 30, enabled=True))
        others = [Database(database.url) for _ in range(4)]
        counts = list[int]()
        threads = [
            threading.Thread(target=lambda one=one: counts.append(retention.run_due(one)))  # type: ignore[misc]
            for one in others
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for one in others:
            one.close()
        assert sorted(counts) == [0, 0, 0, 3]
        assert [kind for _, kind, _ in told(database, rule_id)].count("retention.run") == 1


class TestForgettingTexts:
    def test_takes_texts_from_the_log_and_its_index_and_leaves_the_session(
        self, opened: Skein, person: Person
    ) -> None:
        root = person("root", role="admin")
        turn = answered(opened, root, ask(opened, root, "zanzibarquux").thread_id)
        assert opened.call_log.flush()
        while index_calls(opened.database):
            pass
        rule = Rule("texts", "forget_texts", 30)
        later = utc_now() + timedelta(days=40)
        seen = retention.preview(root, opened.database, rule, now=later)
        assert (seen.sessions, seen.texts > 0) == (1, True)
        rule_id = added(opened.database, root, rule)
        assert retention.run_rule(root, opened.database, rule_id, now=later) == 1
        assert count(opened.database, LlmCallBody) == 0
        with opened.database.read() as db:
            assert matching_calls(root, db, "zanzibarquux") == []
        assert answered(opened, root, turn.thread_id).content == "zanzibarquux"
        assert retention.run_rule(root, opened.database, rule_id, now=later) == 0


class TestTheHousekeeper:
    def test_runs_what_is_due(self, opened: Skein, person: Person) -> None:
        root = person("root", role="admin")
        old = a_session(opened.database, root)
        added(opened.database, root, Rule("old", "archive", 30, enabled=True))
        assert opened.housekeeper.keep_rules() == 1
        assert statuses(opened.database)[old] == "archived"


class TestWhoMakesRules:
    @pytest.mark.parametrize("role", ["member", "analyst"])
    def test_admins_and_nobody_else(self, database: Database, root: Viewer, role: str) -> None:
        viewer, rule_id = add_person(database, "other", role), added(database, root, OLD)
        for deed in (
            lambda db: retention.add_rule(viewer, db, OLD),
            lambda db: retention.list_rules(viewer, db),
            lambda db: retention.change_rule(viewer, db, rule_id, OLD),
            lambda db: retention.delete_rule(viewer, db, rule_id),
            lambda db: retention.get_rule(viewer, db, rule_id),
        ):
            with pytest.raises(ForbiddenError):
                database.write(deed)
        for deed in (
            lambda: retention.preview(viewer, database, OLD),
            lambda: retention.run_rule(viewer, database, rule_id),
        ):
            with pytest.raises(ForbiddenError):
                deed()

    def test_a_rule_is_kept_changed_and_forgotten(self, database: Database, root: Viewer) -> None:
        rule_id = added(database, root, Rule("  Old \n ones", "delete", 30, tag=" Odd  One "))
        with database.read() as db:
            [row] = retention.list_rules(root, db)
        assert row.rule == Rule("Old ones", "delete", 30, tag="odd one")
        assert (row.retention_id, row.created_by_name, row.last_run_at) == (rule_id, "root", None)
        database.write(lambda db: retention.delete_rule(root, db, rule_id))
        assert count(database, RetentionRule) == 0
        with pytest.raises(NotFoundError):
            database.write(lambda db: retention.delete_rule(root, db, rule_id))

    @pytest.mark.parametrize(
        ("rule", "sentence"),
        [
            (Rule("", "delete", 30), "needs a name"),
            (Rule("x" * 81, "delete", 30), "needs a name"),
            (Rule("x", "burn", 30), "can archive"),  # type: ignore[arg-type]
            (Rule("x", "delete", 0), "1 to 36,500 days"),
            (Rule("x", "delete", 30, status="deleted"), "active sessions"),
            (Rule("x", "delete", 30, tag="a,b"), "no commas"),
        ],
    )
    def test_a_rule_that_makes_no_sense_is_refused(
        self, database: Database, root: Viewer, rule: Rule, sentence: str
    ) -> None:
        with pytest.raises(BadInputError, match=sentence):
            added(database, root, rule)
        with pytest.raises(BadInputError, match=sentence):
            retention.preview(root, database, rule)


def told(database: Database, target_id: str) -> list[tuple[str, str, Any]]:
    plain = table_of(Activity)
    query = select(plain.c.user_id, plain.c.kind, plain.c.detail).where(plain.c.target_id == target_id)
    with database.read() as db:
        rows = db.connection().execute(query.order_by(plain.c.activity_id)).all()
    return [tuple(row) for row in rows if row.kind not in {"annotation.set", "session.create"}]
