"""The record of activity as people read it: whose rows they get, how it is narrowed, and its pages."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import insert

from core.access.activity import HOUSE, record
from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError
from core.history.activity_list import ActivityFilter, ActivityPage, list_activity, list_doers
from core.ids import new_activity_id, new_conversation_id, new_message_id, new_session_id, new_user_id
from core.tables import Activity, Conversation, Message, Session, User

AT = datetime(2026, 11, 1, 8, tzinfo=UTC)
ALL = ActivityFilter()
List = Callable[..., ActivityPage]


@pytest.fixture
def people(database: Database) -> dict[str, Viewer]:
    roles = {"alice": "member", "bob": "member", "ana": "analyst", "ada": "admin"}
    found = {name: Viewer(new_user_id(), name, role) for name, role in roles.items()}
    users = [User(user_id=one.user_id, name=one.name, role=one.role) for one in found.values()]
    database.write(lambda db: db.add_all(users))
    return found


@pytest.fixture
def session_of(database: Database) -> Callable[..., str]:
    def make(owner: Viewer, title: str, status: str = "active") -> str:
        session_id = new_session_id()
        row = Session(session_id=session_id, user_id=owner.user_id, title=title, status=status)
        database.write(lambda db: db.add(row))
        return session_id

    return make


@pytest.fixture
def listed(database: Database) -> List:
    def read(viewer: Viewer, wanted: ActivityFilter = ALL, **named: Any) -> ActivityPage:
        with database.read() as db:
            return list_activity(viewer, db, wanted, **named)

    return read


def add(database: Database, viewer: Viewer, kind: str, **named: Any) -> None:
    database.write(lambda db: record(db, viewer, kind, **named))


def add_at(database: Database, viewer: Viewer, moments: list[datetime], kind: str = "view.save") -> list[str]:
    """Rows of these moments; gives their ids."""
    rows = [
        {"activity_id": new_activity_id(), "created_at": at, "user_id": viewer.user_id, "kind": kind, "detail": {}}
        for at in moments
    ]
    database.write(lambda db: db.connection().execute(insert(table_of(Activity)), rows))
    return [row["activity_id"] for row in rows]


def kinds(page: ActivityPage) -> list[str]:
    return [row.kind for row in page.rows]


class TestWhoSeesWhat:
    def test_a_member_sees_own_deeds_and_what_others_did_to_their_sessions_and_account(
        self, database: Database, people: dict[str, Viewer], session_of: Any, listed: List
    ) -> None:
        alice, bob, ana, ada = people.values()
        hers, his = session_of(alice, "Hers"), session_of(bob, "His")
        add(database, alice, "login.start")
        add(database, ana, "session.read", target_id=hers, session_id=hers)
        add(database, ana, "session.read", target_id=his, session_id=his)
        add(database, ada, "account.role", target_id=alice.user_id)
        add(database, ada, "account.role", target_id=bob.user_id)
        add(database, bob, "message.send", session_id=his)
        add(database, ada, "price.add")
        assert kinds(listed(alice)) == ["account.role", "session.read", "login.start"]
        assert kinds(listed(bob)) == ["message.send", "account.role", "session.read"]
        assert [len(listed(who).rows) for who in (ana, ada)] == [7, 7]

    def test_what_fits_twice_is_given_once(
        self, database: Database, people: dict[str, Viewer], session_of: Any, listed: List
    ) -> None:
        alice = people["alice"]
        hers = session_of(alice, "Hers")
        add(database, alice, "session.rename", target_id=alice.user_id, session_id=hers)
        assert kinds(listed(alice)) == ["session.rename"]

    def test_a_filter_for_somebody_else_gives_a_member_no_more(
        self, database: Database, people: dict[str, Viewer], session_of: Any, listed: List
    ) -> None:
        alice, bob, ana, _ = people.values()
        his = session_of(bob, "His")
        add(database, bob, "message.send", target_id=his, session_id=his)
        tried = [ActivityFilter(users=(bob.user_id,)), ActivityFilter(session=his), ActivityFilter(target=his)]
        assert [listed(alice, wanted).rows for wanted in tried] == [[], [], []]
        assert [len(listed(ana, wanted).rows) for wanted in tried] == [1, 1, 1]

    def test_a_title_that_one_may_not_read_any_more_is_not_told(
        self, database: Database, people: dict[str, Viewer], session_of: Any, listed: List
    ) -> None:
        _, bob, ana, ada = people.values()
        his, gone = session_of(bob, "Secret plans"), session_of(bob, "Deleted", "deleted")
        for session_id in (his, gone):
            add(database, ana, "session.read", target_id=session_id, session_id=session_id)
        demoted = Viewer(ana.user_id, ana.name, "member")
        assert [row.session_title for row in listed(demoted).rows] == [None, None]
        assert [row.session_title for row in listed(ada).rows] == [None, "Secret plans"]

    def test_people_to_narrow_to_are_everybody_only_for_who_reads_all(
        self, database: Database, people: dict[str, Viewer]
    ) -> None:
        alice, *_, ada = people.values()
        with database.read() as db:
            assert list_doers(alice, db) == {alice.user_id: "alice"}
            assert list(list_doers(ada, db).values()) == ["ada", "alice", "ana", "bob", "Skein"]


class TestALine:
    def test_says_who_what_when_and_where_in_words(
        self, database: Database, people: dict[str, Viewer], session_of: Any, listed: List
    ) -> None:
        alice = people["alice"]
        session_id, conversation_id, message_id = session_of(alice, "退款"), new_conversation_id(), new_message_id()
        place = Conversation(conversation_id=conversation_id, session_id=session_id, title="Talk")
        message = Message(message_id=message_id, conversation_id=conversation_id, content="secret words")
        database.write(lambda db: db.add(place))
        database.write(lambda db: db.add(message))
        add(database, alice, "message.send", target_id=message_id, session_id=session_id, detail={"kind": "first"})
        add(database, alice, "conversation.rename", target_id=conversation_id, session_id=session_id)
        renamed, sent = listed(alice).rows
        assert (sent.user_name, sent.sentence, sent.detail) == ("alice", "Sent a message", {"kind": "first"})
        assert (sent.session_title, sent.conversation_id, sent.target_name) == ("退款", conversation_id, None)
        assert (renamed.target_name, renamed.target_id) == ("Talk", conversation_id)

    def test_what_nobody_was_signed_in_for_is_skeins(
        self, database: Database, people: dict[str, Viewer], listed: List
    ) -> None:
        add(database, HOUSE, "retention.run", detail={"sessions": 3})
        assert [row.user_name for row in listed(people["ada"]).rows] == ["Skein"]


class TestNarrowing:
    def test_by_each_of_its_parts_and_by_several(
        self, database: Database, people: dict[str, Viewer], session_of: Any, listed: List
    ) -> None:
        alice, bob, ana, _ = people.values()
        hers = session_of(alice, "Hers")
        old, new = add_at(database, bob, [AT, AT + timedelta(days=2)])
        add(database, alice, "session.rename", target_id=hers, session_id=hers)
        add(database, alice, "login.end")
        tried = {
            ActivityFilter(users=(bob.user_id,)): ["view.save", "view.save"],
            ActivityFilter(kinds=("login.end", "session.rename")): ["login.end", "session.rename"],
            ActivityFilter(session=hers): ["session.rename"],
            ActivityFilter(target=hers): ["session.rename"],
            ActivityFilter(until=AT + timedelta(days=3)): ["view.save", "view.save"],
            ActivityFilter(users=(alice.user_id,), kinds=("login.end",)): ["login.end"],
            ActivityFilter(users=(bob.user_id,), kinds=("login.end",)): [],
        }
        assert [kinds(listed(ana, wanted)) for wanted in tried] == list(tried.values())
        between = ActivityFilter(since=AT, until=AT + timedelta(days=2))
        assert [row.activity_id for row in listed(ana, between).rows] == [old]
        assert new != old

    def test_by_a_deed_that_there_is_not_is_refused(self, people: dict[str, Viewer], listed: List) -> None:
        with pytest.raises(BadInputError, match="There is no deed 'shout'"):
            listed(people["ana"], ActivityFilter(kinds=("shout",)))


class TestPages:
    @pytest.mark.parametrize("name", ["bob", "ana"])
    def test_give_every_row_once_newest_first_also_of_one_moment(
        self, database: Database, people: dict[str, Viewer], listed: List, name: str
    ) -> None:
        bob, viewer = people["bob"], people[name]
        moments = [AT + timedelta(seconds=number // 3) for number in range(25)]
        ids = add_at(database, bob, moments)
        pages, after = [], None
        while True:
            pages.append(listed(viewer, ALL, after=after, limit=4))
            add(database, bob, "login.start")
            after = pages[-1].next
            if after is None:
                break
        found = [(row.created_at, row.activity_id) for page in pages for row in page.rows]
        assert [activity_id for _, activity_id in found] == sorted(ids, reverse=True)
        assert all(one > other for one, other in pairwise(found))
        assert [len(page.rows) for page in pages] == [4, 4, 4, 4, 4, 4, 1]

    def test_the_last_one_says_so_also_when_it_is_full(
        self, database: Database, people: dict[str, Viewer], listed: List
    ) -> None:
        add_at(database, people["bob"], [AT] * 4)
        first = listed(people["ana"], limit=2)
        assert (first.next is None, listed(people["ana"], after=first.next, limit=2).next) == (False, None)

    def test_one_of_no_address_is_refused(self, people: dict[str, Viewer], listed: List) -> None:
        with pytest.raises(BadInputError, match="names no page"):
            listed(people["ana"], after="act_1795219200000_0123456789AB")
