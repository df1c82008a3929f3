"""The record of what people did: added once, in the transaction of what it tells of, and never changed."""

from collections.abc import Callable

import pytest
from sqlalchemy import select

from core.access.viewer import Viewer
from core.database import table_of
from core.history.activity import is_recorded, record, record_once
from core.ids import new_call_id, new_login_id, new_session_id, new_user_id
from core.skein import Skein
from core.tables import Activity

Person = Callable[..., Viewer]


def rows_of(skein: Skein) -> list[dict[str, object]]:
    table = table_of(Activity)
    with skein.database.read() as db:
        found = db.connection().execute(select(table).order_by(table.c.activity_id))
        return [dict(row._mapping) for row in found]


def signed_in(viewer: Viewer) -> Viewer:
    return Viewer(viewer.user_id, viewer.name, viewer.role, new_login_id())


class TestRecord:
    def test_who_did_what_to_what_and_by_which_sign_in_is_kept(self, opened: Skein, person: Person) -> None:
        alice, target, session = signed_in(person("alice")), new_call_id(), new_session_id()
        opened.database.write(
            lambda db: record(db, alice, "call.read", target_id=target, session_id=session, detail={"calls": 3})
        )
        row = rows_of(opened)[0]
        kept = {name: row[name] for name in ("user_id", "login_id", "kind", "target_id", "session_id", "detail")}
        assert kept == {
            "user_id": alice.user_id,
            "login_id": alice.login_id,
            "kind": "call.read",
            "target_id": target,
            "session_id": session,
            "detail": {"calls": 3},
        }

    def test_every_time_is_a_row_of_its_own(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        for _ in range(3):
            opened.database.write(lambda db: record(db, alice, "call.export"))
        assert [row["kind"] for row in rows_of(opened)] == ["call.export"] * 3

    def test_nothing_is_kept_when_the_callers_transaction_fails(self, opened: Skein, person: Person) -> None:
        alice = person("alice")

        def fails(db: object) -> None:
            record(db, alice, "call.read", target_id="call_1")  # type: ignore[arg-type]
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            opened.database.write(fails)
        assert rows_of(opened) == []


class TestRecordOnce:
    def test_a_sign_in_is_recorded_once_per_target(self, opened: Skein, person: Person) -> None:
        alice, one, other = signed_in(person("alice")), new_call_id(), new_call_id()
        added = [
            opened.database.write(lambda db, t=target: record_once(db, alice, "call.read", target_id=t))
            for target in (one, one, other, one)
        ]
        assert added == [True, False, True, False]
        assert [row["target_id"] for row in rows_of(opened)] == [one, other]

    def test_the_next_sign_in_is_recorded_again(self, opened: Skein, person: Person) -> None:
        alice, target = person("alice"), new_call_id()
        signed = [signed_in(alice), signed_in(alice)]
        for viewer in (*signed, alice, alice):
            opened.database.write(lambda db, v=viewer: record_once(db, v, "call.read", target_id=target))
        assert [row["login_id"] for row in rows_of(opened)] == [signed[0].login_id, signed[1].login_id, None]

    def test_another_kind_of_deed_is_recorded_apart(self, opened: Skein, person: Person) -> None:
        alice, target = signed_in(person("alice")), new_call_id()
        for kind in ("call.read", "annotation.set", "call.read"):
            opened.database.write(lambda db, k=kind: record_once(db, alice, k, target_id=target))
        assert [row["kind"] for row in rows_of(opened)] == ["call.read", "annotation.set"]

    def test_two_people_without_a_sign_in_are_not_taken_for_one(self, opened: Skein, person: Person) -> None:
        alice, bob, target = person("alice"), person("bob"), new_call_id()
        for viewer in (alice, bob):
            opened.database.write(lambda db, v=viewer: record_once(db, v, "call.read", target_id=target))
        assert [row["user_id"] for row in rows_of(opened)] == [alice.user_id, bob.user_id]

    def test_twice_in_one_transaction_is_still_once(self, opened: Skein, person: Person) -> None:
        alice, target = signed_in(person("alice")), new_call_id()

        def twice(db: object) -> list[bool]:
            return [record_once(db, alice, "call.read", target_id=target) for _ in range(2)]  # type: ignore[arg-type]

        assert opened.database.write(twice) == [True, False]

    def test_somebody_elses_deed_is_not_mine(self, opened: Skein, person: Person) -> None:
        alice, target = signed_in(person("alice")), new_call_id()
        opened.database.write(lambda db: record_once(db, alice, "call.read", target_id=target))
        stranger = Viewer(new_user_id(), "mallory", login_id=alice.login_id)
        with opened.database.read() as db:
            seen = [is_recorded(db, who, "call.read", target_id=target) for who in (alice, stranger)]
        assert seen == [True, False]
