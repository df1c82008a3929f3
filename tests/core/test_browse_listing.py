"""The browse page's lists: each order and filter as worked out in Python, pages, search, and who sees what."""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import select, update

from bench.made_sessions import generate
from core.access.viewer import Viewer
from core.database import Database, insert_rows, table_of
from core.errors import BadInputError
from core.history.browse import facets as browse_facets
from core.history.browse import items, listing, places
from core.history.browse.counting import count_changed
from core.history.browse.filters import SessionFilter
from core.history.browse.lines import Page
from core.history.browse.listing import (
    count_sessions,
    facets,
    find_sessions,
    list_conversations_of,
    list_sessions,
    list_threads,
)
from core.history.browse.orders import SORTS, Order, Place
from core.history.browse.query import parse
from core.history.search import index_messages
from core.ids import UserId, new_annotation_id
from core.tables import THREAD_STATUSES, Annotation, Conversation, Message, Session, SessionStat, Thread, User

UNTIL = datetime(2026, 11, 20, tzinfo=UTC)
SESSIONS = 150
Row = dict[str, Any]


@pytest.fixture
def made(database: Database) -> Database:
    generate(database, SESSIONS, UNTIL)
    return database


@pytest.fixture
def analyst(made: Database) -> Viewer:
    return person(made, "person001", "analyst")


@pytest.fixture
def member(made: Database) -> Viewer:
    return person(made, "person000", "member")


def person(database: Database, name: str, role: str) -> Viewer:
    with database.read() as db:
        found = db.connection().execute(select(table_of(User).c.user_id).where(table_of(User).c.name == name))
        return Viewer(UserId(found.scalar_one()), name, role)


def asked(query: str) -> SessionFilter:
    return parse(query, zone=ZoneInfo("UTC"), now=UNTIL)


def reading(database: Database, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    viewer, *rest = args
    with database.read() as db:
        return function(viewer, db, *rest, **named)


def walked(database: Database, function: Callable[..., Page[Any]], *args: Any, limit: int = 7) -> list[Any]:
    """The rows of all pages, one after the other."""
    found, after = [], None
    while True:
        page = reading(database, function, *args, after=after, limit=limit)
        found += page.rows
        if page.next is None:
            return found
        after = page.next


def ids_of(rows: list[Any]) -> list[str]:
    return [row.session_id for row in rows]


def stats(database: Database) -> list[Row]:
    with database.read() as db:
        named = select(table_of(SessionStat), table_of(User).c.name.label("user_name")).join_from(
            SessionStat, User, table_of(User).c.user_id == table_of(SessionStat).c.user_id
        )
        return [dict(row) for row in db.connection().execute(named).mappings()]


def notes(database: Database, kind: str) -> list[Row]:
    with database.read() as db:
        found = select(table_of(Annotation)).where(table_of(Annotation).c.kind == kind)
        return [dict(row) for row in db.connection().execute(found).mappings()]


def put_note(database: Database, viewer: Viewer, target: str, session: str, kind: str, **more: Any) -> None:
    row = {
        "annotation_id": new_annotation_id(),
        "user_id": viewer.user_id,
        "target_id": target,
        "kind": kind,
        "content": "",
        "created_at": UNTIL,
        "updated_at": UNTIL,
        "score": None,
        "session_id": session,
    }
    database.write(lambda db: insert_rows(db, Annotation, [row | more]))


VALUES: dict[str, Callable[[Row], Any]] = {
    "active": lambda row: row["last_active_at"],
    "created": lambda row: row["created_at"],
    "cost": lambda row: row["cost_usd"],
    "tokens": lambda row: row["tokens"],
    "messages": lambda row: row["messages"],
    "branches": lambda row: row["branches"],
    "failed": lambda row: row["failed"] + row["lost"],
    "title": lambda row: row["title_key"],
    "user": lambda row: row["user_name"],
}
# What each query means, in Python; on sessions that are not archived.
MEANINGS: dict[str, Callable[[Row], bool]] = {
    "user:person000,person003": lambda row: row["user_name"] in {"person000", "person003"},
    "-user:person000": lambda row: row["user_name"] != "person000",
    "user:nobody": lambda row: False,
    "status:failed,lost": lambda row: row["failed"] + row["lost"] > 0,
    "-status:failed": lambda row: row["failed"] == 0,
    "agent:assistant": lambda row: "assistant" in row["agents"],
    "agent:re*": lambda row: any(name.startswith("re") for name in row["agents"]),
    "agent:assist": lambda row: False,
    "-model:gpt-4o": lambda row: "gpt-4o" not in row["models"],
    "model:gpt-4*,demo": lambda row: any(name == "demo" or name.startswith("gpt-4") for name in row["models"]),
    "title:REFUND": lambda row: "refund" in row["title"].lower(),
    "title:退款 -title:客户": lambda row: "退款" in row["title"] and "客户" not in row["title"],
    "after:2026-09-01": lambda row: row["last_active_at"] >= datetime(2026, 9, 1, tzinfo=UTC),
    "created:2026-05": lambda row: (row["created_at"].year, row["created_at"].month) == (2026, 5),
    "has:errors": lambda row: row["failed"] + row["lost"] > 0,
    "-has:errors": lambda row: row["failed"] + row["lost"] == 0,
    "is:waiting": lambda row: row["waiting"] > 0,
    "is:worrying": lambda row: row["failed"] + row["lost"] > 0 or row["cost_usd"] >= 0.5,
    "cost>0.01 cost<0.1": lambda row: 0.01 < row["cost_usd"] < 0.1,
    "tokens:5k..20k": lambda row: 5_000 <= row["tokens"] <= 20_000,
    "messages=5": lambda row: row["messages"] == 5,
    "branches>2.5": lambda row: row["branches"] > 2,
    "conversations>=2 failed<1": lambda row: row["conversations"] >= 2 and row["failed"] + row["lost"] < 1,
}


class TestOrders:
    @pytest.mark.parametrize("descending", [True, False])
    def test_every_order_gives_each_session_once(self, made: Database, analyst: Viewer, descending: bool) -> None:
        rows = [row for row in stats(made) if row["status"] == "active"]
        for sort in SORTS["sessions"]:
            expected = sorted(
                rows, key=lambda row, of=VALUES[sort]: (of(row), row["session_id"]), reverse=descending
            )
            found = walked(made, list_sessions, analyst, SessionFilter(), Order(sort, descending), limit=40)
            assert ids_of(found) == [row["session_id"] for row in expected]

    def test_pages_go_back_as_they_went_forth(self, made: Database, analyst: Viewer) -> None:
        for order in (Order("cost"), Order("title", descending=False), Order()):
            first = reading(made, list_sessions, analyst, SessionFilter(), order, limit=10)
            second = reading(made, list_sessions, analyst, SessionFilter(), order, after=first.next, limit=10)
            back = reading(made, list_sessions, analyst, SessionFilter(), order, after=second.previous, limit=10)
            assert first.previous is None
            assert ids_of(back.rows) == ids_of(first.rows)
            assert (back.previous, back.next) == (None, first.next)

    def test_what_is_added_meanwhile_neither_skips_nor_repeats(self, made: Database, analyst: Viewer) -> None:
        before = ids_of(walked(made, list_sessions, analyst, SessionFilter()))
        first = reading(made, list_sessions, analyst, SessionFilter(), limit=10)
        newest = table_of(SessionStat).c.session_id == before[30]
        later = update(SessionStat).where(newest).values(last_active_at=UNTIL + timedelta(days=1))
        made.write(lambda db: db.connection().execute(later))
        second = reading(made, list_sessions, analyst, SessionFilter(), after=first.next, limit=30)
        assert ids_of(first.rows) + ids_of(second.rows) == before[:30] + before[31:41]

    def test_an_address_that_names_no_page_is_refused(self, made: Database, analyst: Viewer) -> None:
        far = Order("cost").cursor_at(Place(float("1e9"), "session_9"))
        for after in ("nonsense", far, Order().cursor_at(Place(UNTIL, "x\0"))):
            with pytest.raises(BadInputError, match="start from the first page"):
                reading(made, list_sessions, analyst, SessionFilter(), after=after)
        for year in ("9999-12-31T23:59:59.999999", "0001-01-01T00:00:00"):
            edge = Order("created").cursor_at(Place(datetime.fromisoformat(year).replace(tzinfo=UTC), "thread_9"))
            with pytest.raises(BadInputError, match="start from the first page"):
                reading(made, list_threads, analyst, SessionFilter(), Order("created"), after=edge)
        with pytest.raises(BadInputError, match="not sorted by 'cost'"):
            reading(made, list_threads, analyst, SessionFilter(), Order("cost"))


class TestFilters:
    @pytest.mark.parametrize("few", [places.FEW, 1])
    def test_each_gives_what_it_says(
        self, made: Database, analyst: Viewer, few: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(places, "FEW", few)
        rows = [row for row in stats(made) if row["status"] == "active"]
        for query, fits in MEANINGS.items():
            expected = {row["session_id"] for row in rows if fits(row)}
            for order in (Order(), Order("user", descending=False)):
                assert set(ids_of(walked(made, list_sessions, analyst, asked(query), order, limit=60))) == expected
            assert reading(made, count_sessions, analyst, asked(query)) == len(expected)
            assert set(reading(made, find_sessions, analyst, asked(query))) == expected

    def test_most_of_them_find_some_and_not_all(self, made: Database, analyst: Viewer) -> None:
        found = [reading(made, count_sessions, analyst, asked(query)) for query in MEANINGS]
        assert sum(0 < number < SESSIONS * 0.9 for number in found) >= len(MEANINGS) - 5

    def test_archived_ones_must_be_asked_for(self, made: Database, analyst: Viewer) -> None:
        shelves = {shelf: {row["session_id"] for row in stats(made) if row["status"] == shelf}
                   for shelf in ("active", "archived")}  # fmt: skip
        assert set(find(made, analyst, "")) == shelves["active"]
        assert set(find(made, analyst, "is:archived")) == shelves["archived"]
        assert set(find(made, analyst, "status:active,archived")) == shelves["active"] | shelves["archived"]

    def test_a_count_stops_where_it_is_told_to(self, made: Database, analyst: Viewer) -> None:
        assert reading(made, count_sessions, analyst, SessionFilter(), most=12) == 12

    def test_what_people_put_on_sessions(self, made: Database, analyst: Viewer, member: Viewer) -> None:
        every = set(find(made, analyst, ""))
        tagged = {row["session_id"] for row in notes(made, "tag")} & every
        refund = {row["session_id"] for row in notes(made, "tag") if row["content"] == "refund"} & every
        good = {row["session_id"] for row in notes(made, "review") if row["content"].startswith("good\n")} & every
        low = {row["session_id"] for row in notes(made, "score") if row["score"] < 3} & every
        reviewed = {row["session_id"] for row in notes(made, "review")} & every
        assert set(find(made, analyst, "tag:refund")) == refund
        assert set(find(made, analyst, "-tag:refund")) == every - refund
        assert set(find(made, analyst, "has:tags")) == tagged
        assert set(find(made, analyst, "review:good")) == good
        assert set(find(made, analyst, "is:unreviewed")) == every - reviewed
        assert set(find(made, analyst, "score<3")) == low
        assert find(made, analyst, "is:starred") == []
        stars = {row["session_id"] for row in notes(made, "star")}
        assert set(find(made, member, "is:starred")) == stars & set(find(made, member, ""))

    def test_the_mean_of_scores_on_all_that_is_in_a_session_counts(self, made: Database, analyst: Viewer) -> None:
        session = find(made, analyst, "-has:tags is:unreviewed")[0]
        put_note(made, analyst, session, session, "score", score=1)
        put_note(made, analyst, "msg_1", session, "score", score=4)
        put_note(made, analyst, "msg_1", session, "tag", content="odd")
        line = reading(made, list_sessions, analyst, asked(f"session:{session}")).rows[0]
        assert (line.score, line.tags, line.starred) == (2.5, ("odd",), False)
        assert session in find(made, analyst, "score:2.4..2.6 tag:odd")


def find(database: Database, viewer: Viewer, query: str) -> list[str]:
    return reading(database, find_sessions, viewer, asked(query))  # type: ignore[no-any-return]


class TestLines:
    def test_a_row_shows_what_is_counted(self, made: Database, analyst: Viewer) -> None:
        lines = {line.session_id: line for line in walked(made, list_sessions, analyst, SessionFilter(), limit=100)}
        for row in stats(made):
            if row["status"] == "active":
                line = lines[row["session_id"]]
                assert line.threads == {status: row[status] for status in THREAD_STATUSES if row[status]}
                assert (line.title, line.user_name, line.tokens) == (row["title"], row["user_name"], row["tokens"])
                assert (line.agents, line.spark) == (tuple(row["agents"]), tuple(row["spark"]))

    def test_what_was_just_changed_is_shown_at_once(self, made: Database, analyst: Viewer) -> None:
        renamed, archived, deleted, *_ = find(made, analyst, "")
        changes = {renamed: {"title": "Anew"}, archived: {"status": "archived"}, deleted: {"status": "deleted"}}
        for session_id, values in changes.items():
            statement = update(Session).where(table_of(Session).c.session_id == session_id).values(**values)
            made.write(lambda db, statement=statement: db.connection().execute(statement))
        lines = reading(made, list_sessions, analyst, SessionFilter(), limit=10).rows
        assert lines[0].title == "Anew"
        assert {archived, deleted} & set(ids_of(lines)) == set()
        assert {archived, deleted} & set(find(made, analyst, "")) == set()
        while count_changed(made):
            pass
        assert archived in find(made, analyst, "is:archived")


class TestWhoSeesWhat:
    def test_every_list_is_tried_here(self) -> None:
        takers = {
            name
            for module in (listing, items, browse_facets)
            for name, found in vars(module).items()
            if inspect.isfunction(found)
            and not name.startswith("_")
            and "viewer" in inspect.signature(found).parameters
            if found.__module__ == module.__name__
        }
        tried = {list_sessions, count_sessions, find_sessions, list_threads, list_conversations_of, facets}
        assert takers == {function.__name__ for function in tried}

    def test_a_member_finds_own_sessions_only(self, made: Database, member: Viewer) -> None:
        own = {row["session_id"] for row in stats(made) if row["user_id"] == member.user_id}
        queries = [
            "",
            "status:active,archived",
            "-user:person000",
            "user:person001",
            "has:tags",
            "cost>0",
            "is:unreviewed",
        ]
        for query in queries:
            for order in (Order(), Order("user"), Order("cost", descending=False)):
                found = set(ids_of(walked(made, list_sessions, member, asked(query), order, limit=50)))
                assert found <= own
                assert reading(made, count_sessions, member, asked(query)) == len(found)
        assert set(find(made, member, "status:active,archived")) == own
        for function in (list_threads, list_conversations_of):
            shown = walked(made, function, member, asked("status:active,archived"), limit=500)
            assert {row.session_id for row in shown} == own

    def test_a_member_neither_sees_nor_finds_by_what_others_put_there(
        self, made: Database, member: Viewer, analyst: Viewer
    ) -> None:
        session = find(made, member, "-has:tags is:unreviewed")[0]
        put_note(made, analyst, session, session, "tag", content="secret")
        put_note(made, analyst, session, session, "score", score=1)
        put_note(made, analyst, session, session, "review", content="bad\nvery")
        put_note(made, analyst, session, session, "star")
        assert find(made, member, "tag:secret") == []
        assert session in find(made, member, "is:unreviewed -has:tags -tag:secret -is:starred")
        assert session not in find(made, member, "score<3")
        line = reading(made, list_sessions, member, asked(f"session:{session}")).rows[0]
        assert (line.tags, line.score, line.verdict, line.starred) == ((), None, "", False)
        assert "secret" not in reading(made, facets, member).tags
        assert find(made, analyst, "tag:secret review:bad is:starred") == [session]

    def test_facets_are_those_of_what_may_be_read(self, made: Database, member: Viewer, analyst: Viewer) -> None:
        rows, own = stats(made), [row for row in stats(made) if row["user_id"] == member.user_id]
        every, mine = reading(made, facets, analyst), reading(made, facets, member)
        assert set(every.users) == {row["user_name"] for row in rows}
        assert every.users[0] == "person000"
        assert set(every.agents) == {name for row in rows for name in row["agents"]}
        assert mine.users == ("person000",)
        assert set(mine.models) == {name for row in own for name in row["models"]}

    def test_me_is_whoever_asks(self, made: Database, analyst: Viewer) -> None:
        own = {row["session_id"] for row in stats(made) if row["user_id"] == analyst.user_id}
        assert set(find(made, analyst, "user:me status:active,archived")) == own


def rows_of(database: Database, model: Any) -> list[Row]:
    """Threads or conversations with what they belong to, of sessions that are not archived."""
    said = table_of(Conversation).join(
        Session, table_of(Session).c.session_id == table_of(Conversation).c.session_id
    )
    if model is not Conversation:
        said = said.join(Message, table_of(Message).c.conversation_id == table_of(Conversation).c.conversation_id)
    if model is Thread:
        said = said.join(Thread, table_of(Thread).c.message_id == table_of(Message).c.message_id)
    found = select(table_of(model), table_of(Session).c.session_id.label("of")).select_from(said)
    with database.read() as db:
        rows = db.connection().execute(found.where(table_of(Session).c.status == "active")).mappings()
        return [dict(row) for row in rows]


@pytest.fixture(params=[2_000, 10])
def stretch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many sessions a page may look at: all there are, or so few that pages must end early."""
    monkeypatch.setattr(items, "MOST_SESSIONS", request.param)
    monkeypatch.setattr(items, "_AT_ONCE", min(request.param, 5))
    return int(request.param)


@pytest.mark.usefixtures("stretch")
class TestThreadsAndConversations:
    @pytest.mark.parametrize("descending", [True, False])
    def test_every_thread_once_in_order(self, made: Database, analyst: Viewer, descending: bool) -> None:
        expected = sorted(
            rows_of(made, Thread), key=lambda row: (row["created_at"], row["thread_id"]), reverse=descending
        )
        found = walked(made, list_threads, analyst, SessionFilter(), Order("created", descending), limit=90)
        assert [row.thread_id for row in found] == [row["thread_id"] for row in expected]

    @pytest.mark.parametrize("sort", ["active", "created"])
    def test_every_conversation_once_in_order(self, made: Database, analyst: Viewer, sort: Any) -> None:
        time = {"active": "updated_at", "created": "created_at"}[sort]
        expected = sorted(
            rows_of(made, Conversation), key=lambda row: (row[time], row["conversation_id"]), reverse=True
        )
        found = walked(made, list_conversations_of, analyst, SessionFilter(), Order(sort), limit=40)
        assert [row.conversation_id for row in found] == [row["conversation_id"] for row in expected]

    def test_what_is_asked_of_threads_is_asked_of_each(self, made: Database, analyst: Viewer) -> None:
        rows = rows_of(made, Thread)
        since = datetime(2026, 6, 1, tzinfo=UTC)
        meanings: dict[str, Callable[[Row], bool]] = {
            "status:failed,stopped": lambda row: row["status"] in {"failed", "stopped"},
            "-has:errors agent:analyst": lambda row: (
                row["agent_id"] == "analyst" and row["status"] not in {"failed", "lost"}
            ),
            "model:gpt-4* after:2026-06-01": lambda row: (
                row["config"]["model"].startswith("gpt-4") and row["created_at"] >= since
            ),
            "created<2026-06-01 -agent:assistant": lambda row: (
                row["created_at"] < since and row["agent_id"] != "assistant"
            ),
            "status:failed status:done has:errors": lambda row: row["status"] == "failed",
        }
        for query, fits in meanings.items():
            expected = {row["thread_id"] for row in rows if fits(row)}
            for order in (Order("created"), Order("created", descending=False)):
                found = walked(made, list_threads, analyst, asked(query), order)
                assert [len(found), {row.thread_id for row in found}] == [len(expected), expected]

    def test_pages_go_back(self, made: Database, analyst: Viewer) -> None:
        wanted, order = asked("messages>3"), Order("created")
        forth = walked(made, list_threads, analyst, wanted, order, limit=25)
        after, back = order.cursor_at(Place(forth[70].created_at, forth[70].thread_id, before=True)), []
        while after is not None:
            page = reading(made, list_threads, analyst, wanted, order, after=after, limit=25)
            back, after = [*page.rows, *back], page.previous
        assert [row.thread_id for row in back] == [row.thread_id for row in forth[:70]]


@pytest.fixture
def indexed(made: Database) -> Database:
    while index_messages(made, most=1_000):
        pass
    return made


class TestSearch:
    def test_a_word_is_found_in_every_list_and_shown_where_it_stands(
        self, indexed: Database, analyst: Viewer
    ) -> None:
        over = {row["message_id"] for row in rows_of(indexed, Thread) if row["ended_at"] is not None}
        for query, word in (("invoice", "invoice"), ("退款", "退款")):
            said = {
                row["message_id"]: row
                for row in rows_of(indexed, Message)
                if word in row["content"] or (word in row["answer"] and row["message_id"] in over)
            }
            lines = walked(indexed, list_sessions, analyst, asked(query), Order("cost"), limit=60)
            assert set(ids_of(lines)) == {row["of"] for row in said.values()}
            assert all(line.hit is not None and line.hit.message_id in said for line in lines)
            assert all(
                (word, True) in [(part.lower(), is_hit) for part, is_hit in line.hit.excerpt] for line in lines
            )
            threads = walked(indexed, list_threads, analyst, asked(query), limit=200)
            assert {line.message_id for line in threads} == set(said)
            talks = walked(indexed, list_conversations_of, analyst, asked(query), limit=200)
            assert {line.conversation_id for line in talks} == {row["conversation_id"] for row in said.values()}

    def test_a_search_is_narrowed_by_the_rest(self, indexed: Database, analyst: Viewer) -> None:
        found = find(indexed, analyst, "invoice")
        some = find(indexed, analyst, "invoice user:person000 cost>0.001")
        rows = {row["session_id"]: row for row in stats(indexed)}
        assert some == [
            one for one in found if rows[one]["user_name"] == "person000" and rows[one]["cost_usd"] > 0.001
        ]
        assert 0 < len(some) < len(found) == reading(indexed, count_sessions, analyst, asked("invoice"))

    def test_a_member_searches_own_words_only(self, indexed: Database, member: Viewer) -> None:
        own = {row["session_id"] for row in stats(indexed) if row["user_id"] == member.user_id}
        for function in (list_sessions, list_threads, list_conversations_of):
            found = {line.session_id for line in walked(indexed, function, member, asked("invoice"), limit=300)}
            assert found
            assert found <= own
