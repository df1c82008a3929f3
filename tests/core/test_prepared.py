"""Prepared statements: the driver runs them, and nobody who uses SQLAlchemy can tell."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import bindparam, event, insert, literal, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, StatementError
from sqlmodel import Session as Db

from core.database import Database, insert_into, is_passing, table_of, upsert_into
from core.prepared import Prepared
from core.tables import Session, User

NOON = datetime(2026, 1, 2, 12, 0, 0, 250, tzinfo=UTC)
_user, _session = table_of(User), table_of(Session)
ADD_USER = Prepared(insert(_user), ("user_id", "name", "password_hash", "role", "created_at"))
ADD_SESSION = insert_into(Session, ("session_id", "user_id", "title", "status", "meta", "created_at", "updated_at"))
RENAME = Prepared(update(_user).where(_user.c.user_id == bindparam("of")).values(name=bindparam("new_name")))
NAMES = Prepared(select(_user.c.user_id, _user.c.name).order_by(_user.c.user_id))


def user(name: str) -> dict[str, Any]:
    return {"user_id": f"user_{name}", "name": name, "password_hash": "", "role": "member", "created_at": NOON}


def session(owner: str, **more: Any) -> dict[str, Any]:
    row = {"session_id": "session_1", "user_id": f"user_{owner}", "title": "100 % of 季度", "status": "active"}
    return {**row, "meta": {"a": [1, None, "ü"]}, "created_at": NOON, "updated_at": NOON, **more}


@contextmanager
def heard(database: Database) -> Iterator[list[str]]:
    """What SQLAlchemy tells of the statements of the writer."""
    told: list[str] = []

    def hear(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        told.append(statement)

    event.listen(database._writing, "before_cursor_execute", hear)
    yield told
    event.remove(database._writing, "before_cursor_execute", hear)


class TestAStatement:
    def test_gives_what_sqlalchemy_would(self, database: Database) -> None:
        database.write(lambda db: ADD_USER.run(db, user("ann")))
        database.write(lambda db: ADD_SESSION.run(db, session("ann")))
        prepared = Prepared(select(_session).where(_session.c.session_id == bindparam("of")))
        plain = select(_session).where(_session.c.session_id == "session_1")
        with database.read() as db:
            expected = tuple(db.connection().execute(plain).one())
            assert prepared.first(db, {"of": "session_1"}) == expected
            assert prepared.all(db, {"of": "session_1"}) == [expected]
            assert (prepared.first(db, {"of": "none"}), prepared.all(db, {"of": "none"})) == (None, [])
        assert (session("ann")["meta"] in expected, NOON in expected) == (True, True)

    def test_says_how_many_rows_it_changed(self, database: Database) -> None:
        assert database.write(lambda db: ADD_USER.run(db, user("ann"))) == 1
        assert database.write(lambda db: RENAME.run(db, {"of": "user_ann", "new_name": "Anna"})) == 1
        assert database.write(lambda db: RENAME.run(db, {"of": "nobody", "new_name": "x"})) == 0

    def test_is_run_for_many_at_once(self, database: Database) -> None:
        people = [user("ann"), user("bob")]
        database.write(lambda db: ADD_USER.run_many(db, people))
        database.write(lambda db: ADD_USER.run_many(db, []))
        put = upsert_into(User, ("user_id", "name", "password_hash", "role", "created_at"))
        database.write(lambda db: put.run_many(db, [{**user("bob"), "name": "Rob"}, user("cem")]))
        with database.read() as db:
            assert NAMES.all(db, {}) == [("user_ann", "ann"), ("user_bob", "Rob"), ("user_cem", "cem")]

    def test_may_have_values_that_are_always_the_same(self, database: Database) -> None:
        database.write(lambda db: ADD_USER.run_many(db, [user("ann"), user("bob")]))
        among = _user.c.name.in_([literal(name) for name in ("bob", "%(cem)s")])
        found = Prepared(select(_user.c.name).where(among, _user.c.role == bindparam("role")).limit(1))
        with database.read() as db:
            assert found.all(db, {"role": "member"}) == [("bob",)]

    def test_that_gives_back_what_it_changed(self, database: Database) -> None:
        database.write(lambda db: ADD_USER.run(db, user("ann")))
        renamed = Prepared(update(_user).values(name=bindparam("new_name")).returning(_user.c.created_at))
        assert database.write(lambda db: renamed.first(db, {"new_name": "Anna"})) == (NOON,)
        with database.read() as db:
            assert NAMES.all(db, {}) == [("user_ann", "Anna")]

    def test_sees_what_its_transaction_wrote_and_goes_with_it(self, database: Database) -> None:
        def job(db: Db) -> None:
            db.add(User(user_id="user_ann", name="ann"))
            db.flush()
            assert NAMES.all(db, {}) == [("user_ann", "ann")]
            ADD_USER.run(db, user("bob"))
            raise ValueError("this was meant to break")

        with pytest.raises(ValueError, match="meant to break"):
            database.write(job)
        with database.read() as db:
            assert NAMES.all(db, {}) == []

    @pytest.mark.parametrize(
        "statement",
        [
            select(_user.c.name).where(_user.c.name.in_(["ann"])),
            select(_user.c.name).where(_user.c.name.in_(bindparam("names", expanding=True))),
        ],
    )
    def test_whose_number_of_values_changes_is_refused(self, database: Database, statement: Any) -> None:
        with database.read() as db, pytest.raises(ValueError, match="cannot be prepared"):
            Prepared(statement).all(db, {})

    def test_is_run_for_more_than_fit_into_one(self, database: Database) -> None:
        put = upsert_into(User, ("user_id", "name", "password_hash", "role", "created_at"))
        people = [user(f"{number:03d}") for number in range(120)]
        with heard(database) as told:
            database.write(lambda db: ADD_USER.run_many(db, people))
            database.write(lambda db: put.run_many(db, [{**one, "name": one["name"] + "x"} for one in people]))
        inserts = [one for one in told if one.startswith("INSERT")]
        assert len(inserts) == (6 if database.is_sqlite else 2)
        with database.read() as db:
            assert NAMES.all(db, {}) == [(one["user_id"], one["name"] + "x") for one in people]

    def test_of_many_happens_for_all_or_none(self, database: Database) -> None:
        people = [user(f"{number:03d}") for number in range(120)]
        for wrong in (3, 110):
            with pytest.raises(IntegrityError):
                database.write(lambda db, at=wrong: ADD_USER.run_many(db, [*people[:at], people[0], *people[at:]]))
        with database.read() as db:
            assert NAMES.all(db, {}) == []


class TestAListener:
    def test_hears_of_it(self, database: Database) -> None:
        with heard(database) as told:
            database.write(lambda db: ADD_USER.run_many(db, [user("ann"), user("bob")]))
            assert database.write(lambda db: RENAME.run(db, {"of": "user_ann", "new_name": "Anna"})) == 1
            assert database.write(lambda db: NAMES.first(db, {})) == ("user_ann", "Anna")
        assert [one.split()[0] for one in told if one.split()[0] != "BEGIN"] == ["INSERT", "UPDATE", "SELECT"]


class TestAnError:
    def test_is_sqlalchemys(self, database: Database) -> None:
        database.write(lambda db: ADD_USER.run(db, user("ann")))
        with pytest.raises(IntegrityError):
            database.write(lambda db: ADD_USER.run(db, user("ann")))
        with pytest.raises(IntegrityError):
            database.write(lambda db: ADD_USER.run_many(db, [user("bob"), user("bob")]))
        with pytest.raises(StatementError, match="a moment needs a time zone"):
            database.write(lambda db: ADD_USER.run(db, {**user("cem"), "created_at": datetime(2026, 1, 1)}))  # noqa: DTZ001
        with pytest.raises(DBAPIError):
            database.write(lambda db: Prepared(text("SELECT nothing FROM nowhere")).all(db, {}))
        with database.read() as db:
            assert NAMES.all(db, {}) == [("user_ann", "ann")]

    def test_of_a_broken_connection_lets_the_job_run_again(self, database: Database) -> None:
        if database.is_sqlite:
            pytest.skip("a SQLite file has no server that could end a connection")
        tried: list[BaseException | None] = []

        def job(db: Db) -> int:
            if not tried:
                tried.append(None)
                driver: Any = db.connection().connection.driver_connection
                driver.pgconn.finish()
            try:
                return ADD_USER.run(db, user("ann"))
            except OperationalError as error:
                tried.append(error)
                raise

        assert database.write(job) == 1
        assert [error is not None and is_passing(error) for error in tried] == [False, True]
