"""Everything that a person does is recorded, on its session, and without a word that anybody wrote."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select

from core.access import accounts, sign_in
from core.access.activity import record_look
from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing.export import export_calls
from core.database import table_of
from core.errors import SkeinError
from core.history import branches, conversations, rules, saved_views, snapshots
from core.history.artifacts import Ref, download, write_version
from core.history.messages import NewMessage
from core.ids import new_login_id
from core.runs import branching
from core.runs.branching import Variant
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity
from tests.core.support import answered, follow, graph_settings

SECRET = "榴莲secretdurian"
PASSWORD = "correct horse battery"
Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


@pytest.fixture(autouse=True)
def no_words(opened: Skein) -> Iterator[None]:
    """Whatever a test did: nothing that was written in it is in the record."""
    yield
    assert [row.kind for row in rows_of(opened) if SECRET in str(row)] == []


def rows_of(skein: Skein) -> list[Any]:
    table = table_of(Activity)
    with skein.database.read() as db:
        return list(db.connection().execute(select(table).order_by(table.c.activity_id)))


def last(skein: Skein) -> Any:
    return rows_of(skein)[-1]


def told(skein: Skein) -> tuple[Any, ...]:
    row = last(skein)
    return row.kind, row.target_id, row.session_id, row.detail


def wrote(skein: Skein, function: Callable[..., Any], viewer: Viewer, *args: Any, **named: Any) -> Any:
    return skein.database.write(lambda db: function(viewer, db, *args, **named))


class TestMessages:
    def test_each_way_of_asking_is_a_deed_of_its_own(self, opened: Skein, alice: Viewer) -> None:
        engine = opened.engine
        first = engine.start(alice, NewMessage(SECRET, agent_id="echo"))
        done = answered(opened, alice, first.thread_id)
        assert told(opened) == (
            "message.send",
            first.message_id,
            first.session_id,
            {"thread_id": first.thread_id, "kind": "first"},
        )
        place = {
            "conversation_id": first.conversation_id,
            "parent_message_id": first.message_id,
            "agent_id": "echo",
        }
        said = [
            engine.start(alice, NewMessage(SECRET, **place)),
            branching.edit(engine, alice, first.message_id, SECRET),
            branching.regenerate(engine, alice, first.message_id),
            branching.fork(engine, alice, done.thread_id, text=SECRET),
            *branching.fan_out(
                engine, alice, NewMessage(SECRET, **place), {SECRET: Variant(), "b": Variant(temperature=1.0)}
            ).values(),
        ]
        for added in said:
            follow(opened, alice, added.thread_id)
        kinds = ["continue", "edit", "regenerate", "fork", "fan_out", "fan_out"]
        assert [(row.kind, row.target_id, row.detail["kind"]) for row in rows_of(opened)[1:]] == [
            (f"message.{'send' if kind == 'continue' else kind}", added.message_id, kind)
            for kind, added in zip(kinds, said, strict=True)
        ]
        assert {row.session_id for row in rows_of(opened)} == {first.session_id}

    def test_nothing_is_recorded_of_a_message_that_was_refused(self, opened: Skein, alice: Viewer) -> None:
        with pytest.raises(SkeinError):
            opened.engine.start(alice, NewMessage("  ", agent_id="echo"))
        assert rows_of(opened) == []

    def test_stopping_and_retrying_are_recorded_and_a_second_stop_is_not(
        self, opened: Skein, person: Person, alice: Viewer
    ) -> None:
        admin = person("ada", "admin")
        added = opened.engine.start(alice, NewMessage("Write 300 tokens", agent_id="held"))
        thread_id = added.thread_id
        assert opened.engine.stop(admin, thread_id)
        follow(opened, alice, thread_id)
        assert told(opened) == ("thread.stop", thread_id, added.session_id, {})
        assert last(opened).user_id == admin.user_id
        assert not opened.engine.stop(admin, thread_id)
        again = branching.retry(opened.engine, alice, thread_id)
        assert told(opened)[:2] == ("message.retry", again.message_id)
        opened.engine.stop(alice, again.thread_id)
        follow(opened, alice, again.thread_id)


class TestConversationsAndWhatStandsInThem:
    def test_are_recorded_on_their_session(self, opened: Skein, alice: Viewer) -> None:
        first = opened.engine.start(alice, NewMessage(SECRET, agent_id="echo"))
        done = answered(opened, alice, first.thread_id)
        conversation_id, session_id = first.conversation_id, first.session_id
        wrote(opened, conversations.rename_conversation, alice, conversation_id, SECRET)
        branch = wrote(opened, branches.create_branch, alice, done.message_id, name=SECRET)
        wrote(opened, branches.rename_branch, alice, branch.branch_id, f"{SECRET} 2")
        wrote(opened, branches.archive_branch, alice, branch.branch_id, archived=True)
        wrote(opened, branches.delete_branch, alice, branch.branch_id)
        wrote(opened, branches.restore_branch, alice, branch.branch_id)
        taken = branching.snapshot(opened.engine, alice, done.thread_id, SECRET)
        wrote(opened, snapshots.delete_snapshot, alice, taken.snapshot_id)
        wrote(opened, conversations.delete_conversation, alice, conversation_id)
        wrote(opened, conversations.restore_conversation, alice, conversation_id)
        found = [(row.kind, row.target_id) for row in rows_of(opened)[1:]]
        assert found == [
            ("conversation.rename", conversation_id),
            *(
                (f"branch.{deed}", branch.branch_id)
                for deed in ("create", "rename", "archive", "delete", "restore")
            ),
            ("snapshot.create", taken.snapshot_id),
            ("snapshot.delete", taken.snapshot_id),
            ("conversation.delete", conversation_id),
            ("conversation.restore", conversation_id),
        ]
        assert {row.session_id for row in rows_of(opened)} == {session_id}

    def test_so_are_rules_views_and_artifacts_by_hand_or_taken_away(self, opened: Skein, alice: Viewer) -> None:
        first = opened.engine.start(alice, NewMessage("hello", agent_id="echo"))
        follow(opened, alice, first.thread_id)
        rule_id = wrote(opened, rules.add_rule, alice, effect="ask", tool=SECRET)
        wrote(opened, rules.revoke_rule, alice, rule_id)
        view_id = saved_views.save_view(alice, opened.database, "calls", SECRET, f"text={SECRET}")
        saved_views.delete_view(alice, opened.database, view_id)
        ref: Ref = wrote(
            opened,
            write_version,
            alice,
            session_id=first.session_id,
            kind="result",
            name=SECRET,
            content=SECRET.encode(),
            media_type="text/plain",
        )
        assert download(alice, opened.database, ref) == SECRET.encode()
        assert [(row.kind, row.target_id) for row in rows_of(opened)[1:]] == [
            ("rule.add", rule_id),
            ("rule.revoke", rule_id),
            ("view.save", view_id),
            ("view.delete", view_id),
            ("artifact.write", ref.artifact_id),
            ("artifact.download", ref.artifact_id),
        ]


class TestAnExportOfCalls:
    def test_is_told_without_what_was_searched_for(self, opened: Skein, alice: Viewer, tmp_path: Path) -> None:
        wanted = CallFilter(text=SECRET, users=(alice.user_id,))
        export_calls(alice, opened.database, wanted, ZoneInfo("UTC"), path=tmp_path / "calls.csv")
        assert last(opened).detail["filter"] == {"text": True, "users": [alice.user_id]}


class TestSigningIn:
    @pytest.fixture
    def ada(self, opened: Skein) -> Viewer:
        return accounts.create_first_admin(opened.database, name="ada", password=PASSWORD)

    @staticmethod
    def enter(skein: Skein, password: str = PASSWORD, *, name: str = "ada") -> Viewer:
        place = {"address": "10.0.0.1", "browser": "a browser", "days": 1.0}
        return sign_in.sign_in(skein.database, name=name, password=password, **place)  # type: ignore[arg-type]

    def test_and_out_and_everywhere_is_recorded_with_the_sign_in(self, opened: Skein, ada: Viewer) -> None:
        viewer = self.enter(opened)
        sign_in.sign_out(viewer, opened.database)
        sign_in.sign_out(viewer, opened.database)
        other = self.enter(opened)
        sign_in.sign_out_everywhere(other, opened.database)
        assert [(row.kind, row.login_id, row.target_id) for row in rows_of(opened)] == [
            ("account.create", None, ada.user_id),
            ("login.start", viewer.login_id, viewer.login_id),
            ("login.end", viewer.login_id, viewer.login_id),
            ("login.start", other.login_id, other.login_id),
            ("login.end_all", other.login_id, ada.user_id),
        ]

    def test_too_often_in_vain_is_recorded_with_the_account_from_when_one_has_to_wait(
        self, opened: Skein, ada: Viewer
    ) -> None:
        for _ in range(sign_in.FREE_FAILURES):
            with pytest.raises(SkeinError):
                self.enter(opened, SECRET)
            with pytest.raises(SkeinError):
                self.enter(opened, SECRET, name=f"nobody {SECRET}")
        assert [(row.kind, row.user_id, row.detail) for row in rows_of(opened)[1:]] == [
            ("login.lock", ada.user_id, {"failures": sign_in.FREE_FAILURES})
        ]

    def test_what_admins_do_to_accounts_is_recorded_with_whose(self, opened: Skein, ada: Viewer) -> None:
        made = accounts.create_account(ada, opened.database, name=SECRET, password=PASSWORD, role="member")
        accounts.set_role(ada, opened.database, user_id=made.user_id, role="analyst")
        for disabled in (True, False):
            accounts.set_disabled(ada, opened.database, user_id=made.user_id, disabled=disabled)
        accounts.change_password(ada, opened.database, old=PASSWORD, new=f"{SECRET} is long enough")
        assert [(row.kind, row.target_id, row.detail) for row in rows_of(opened)[1:]] == [
            ("account.create", made.user_id, {"role": "member"}),
            ("account.role", made.user_id, {"before": "member", "role": "analyst"}),
            ("account.disable", made.user_id, {}),
            ("account.enable", made.user_id, {}),
            ("account.password", ada.user_id, {}),
        ]


class TestLooking:
    def test_at_others_is_recorded_once_per_sign_in_and_target_and_at_own_never(
        self, opened: Skein, person: Person, alice: Viewer
    ) -> None:
        ana = person("ana", "analyst")
        again = Viewer(ana.user_id, ana.name, ana.role, new_login_id())
        for viewer, target in (
            (ana, "conv_1"),
            (ana, "conv_1"),
            (again, "conv_1"),
            (ana, "conv_2"),
            (alice, "conv_1"),
        ):
            where = {"target_id": target, "owner_id": alice.user_id, "session_id": "session_1"}
            record_look(viewer, opened.database, "conversation.read", **where)
        assert [(row.login_id, row.target_id) for row in rows_of(opened)] == [
            (None, "conv_1"),
            (again.login_id, "conv_1"),
            (None, "conv_2"),
        ]
        assert {(row.kind, row.session_id) for row in rows_of(opened)} == {("conversation.read", "session_1")}
