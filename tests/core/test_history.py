"""History: a message comes into being whole or not at all, and the tree and the lists tell what is there."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.exc import DatabaseError
from sqlmodel import SQLModel, col, func, select

from core.access.viewer import Viewer
from core.errors import BadInputError, CreationError, NotFoundError
from core.history.branches import get_branch_below, get_newest_branch
from core.history.conversations import (
    default_title,
    delete_conversation,
    get_conversation,
    list_conversations,
    rename_conversation,
    restore_conversation,
)
from core.history.messages import LONGEST_MESSAGE, NewMessage
from core.history.turns import Turn, get_path
from core.settings import Settings
from core.skein import Skein
from core.tables import Conversation, Message, Session, Thread
from tests.core.support import answered, ask, follow, graph_settings, turn_at
from tests.graphs import showcase

Person = Callable[..., Viewer]
TABLES: tuple[type[SQLModel], ...] = (Session, Conversation, Message, Thread)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url, lease_seconds=60)


def counts(skein: Skein) -> list[int]:
    with skein.database.read() as db:
        return [db.exec(select(func.count()).select_from(table)).one() for table in TABLES]


@contextmanager
def fault_at(skein: Skein, step: int | str) -> Iterator[list[str]]:
    """Fail the n-th statement that creates something, or the commit; gives the statements that were tried."""
    engine, tried = skein.database._writing, list[str]()

    def fail() -> None:
        raise DatabaseError("this was meant to break", {}, Exception("the disk is gone"))

    def on_statement(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if re.match(r"INSERT INTO (session|conversation|message|thread)\b|UPDATE conversation\b", statement):
            tried.append(statement)
            if isinstance(step, int) and len(tried) >= step:  # also when it is tried again without its neighbours
                fail()

    def on_commit(_connection: Any) -> None:
        if step == "commit":
            fail()

    event.listen(engine, "before_cursor_execute", on_statement)
    event.listen(engine, "commit", on_commit)
    try:
        yield tried
    finally:
        event.remove(engine, "before_cursor_execute", on_statement)
        event.remove(engine, "commit", on_commit)


class TestCreation:
    @pytest.mark.parametrize("is_first", [True, False])
    def test_that_fails_at_any_step_leaves_nothing_and_can_be_sent_again(
        self, opened: Skein, person: Person, is_first: bool
    ) -> None:
        alice = person("alice")
        above = None if is_first else answered(opened, alice, ask(opened, alice, "root", agent="echo").thread_id)
        before, step = counts(opened), 0
        while self.fails(opened, alice, above, step := step + 1):
            assert counts(opened) == before
        assert step > (4 if is_first else 2)  # it is the first step that there is not
        before = counts(opened)
        assert self.fails(opened, alice, above, "commit")
        assert counts(opened) == before
        again = answered(opened, alice, ask(opened, alice, "hello", under=above, agent="echo").thread_id)
        assert again.status == "done"

    def fails(self, skein: Skein, viewer: Viewer, above: Turn | None, step: int | str) -> bool:
        """Whether a message that is sent while this step is broken is refused, with nothing left running."""
        showcase.GATES["hello"] = threading.Event()
        with fault_at(skein, step):
            try:
                turn = ask(skein, viewer, "hello", under=above, agent="held")
            except CreationError:
                return skein.engine.active(viewer) == []
        showcase.GATES["hello"].set()
        return answered(skein, viewer, turn.thread_id).status != "done"

    def test_of_bad_input_leaves_nothing(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        one = answered(opened, alice, ask(opened, alice, "one", agent="echo").thread_id)
        other = answered(opened, alice, ask(opened, alice, "other", agent="echo").thread_id)
        before = counts(opened)
        for text in ("", " \n\t", "\0", "x" * (LONGEST_MESSAGE + 1)):
            with pytest.raises(BadInputError, match="The message"):
                ask(opened, alice, text, agent="echo")
        for conversation in (other.conversation_id, None):
            with pytest.raises(BadInputError, match="another conversation"):
                opened.engine.start(
                    alice,
                    NewMessage(
                        "x", conversation_id=conversation, parent_message_id=one.message_id, agent_id="echo"
                    ),
                )
        with pytest.raises(NotFoundError, match="no agent"):
            ask(opened, alice, "hello", agent="nobody")
        assert counts(opened) == before

    def test_keeps_the_text_but_what_no_database_holds(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = ask(opened, alice, "  a\0b\ud800c 中文\n", agent="echo")
        follow(opened, alice, turn.thread_id)
        kept = "  abc 中文\n"
        assert turn.content == kept
        assert [message.content for message in showcase.SEEN[kept]] == [kept]

    def test_of_a_first_message_makes_a_session_and_a_title(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "\nhello there\nand more", agent="echo").thread_id)
        with opened.database.read() as db:
            row = get_conversation(alice, db, turn.conversation_id)
        assert (row.title, row.user_id) == ("hello there", alice.user_id)
        assert counts(opened) == [1, 1, 1, 1]

    def test_inside_a_session_makes_no_other_one(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        first = opened.engine.start(alice, NewMessage("one", agent_id="echo"))
        second = opened.engine.start(alice, NewMessage("two", session_id=first.session_id, agent_id="echo"))
        assert second.session_id == first.session_id
        assert second.conversation_id != first.conversation_id
        assert counts(opened) == [1, 2, 2, 2]


class TestTheTree:
    def test_a_path_is_whole_and_in_order_and_goes_on_at_the_newest(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        root = answered(opened, alice, ask(opened, alice, "root", agent="echo").thread_id)
        left = answered(opened, alice, ask(opened, alice, "left", under=root, agent="echo").thread_id)
        right = answered(opened, alice, ask(opened, alice, "right", under=root, agent="echo").thread_id)
        leaf = answered(opened, alice, ask(opened, alice, "leaf", under=left, agent="echo").thread_id)
        with opened.database.read() as db:
            assert get_path(alice, db, leaf.message_id) == [root, left, leaf]
            assert [turn.depth for turn in get_path(alice, db, leaf.message_id)] == [0, 1, 2]
            for at, head in ((root, leaf), (left, leaf), (right, right)):
                assert get_branch_below(alice, db, at.message_id).head_message_id == head.message_id
            newest = get_newest_branch(alice, db, root.conversation_id)
            assert newest.head_message_id == leaf.message_id

    def test_a_second_root_may_stand_beside_the_first(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        root = answered(opened, alice, ask(opened, alice, "root", agent="echo").thread_id)
        new = NewMessage("edited", conversation_id=root.conversation_id, agent_id="echo")
        second = turn_at(opened, alice, opened.engine.start(alice, new).message_id)
        assert (second.parent_message_id, second.depth) == (None, 0)
        assert second.conversation_id == root.conversation_id


class TestTheList:
    def test_shows_the_last_active_first_page_by_page(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turns = [answered(opened, alice, ask(opened, alice, f"n{n}", agent="echo").thread_id) for n in range(3)]
        answered(opened, alice, ask(opened, alice, "again", under=turns[0], agent="echo").thread_id)
        with opened.database.read() as db:
            first = list_conversations(alice, db, limit=2)
            rest = list_conversations(alice, db, limit=2, before=first[-1].updated_at)
        assert [row.title for row in [*first, *rest]] == ["n0", "n2", "n1"]

    def test_is_searched_by_title(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        for text in ("说中文吧", "100% sure", "100 tokens"):
            answered(opened, alice, ask(opened, alice, text, agent="echo").thread_id)
        found = {}
        with opened.database.read() as db:
            for search in ("中文", "100%", "_", "SURE"):
                found[search] = [row.title for row in list_conversations(alice, db, search=search)]
        assert found == {"中文": ["说中文吧"], "100%": ["100% sure"], "_": [], "SURE": ["100% sure"]}

    def test_is_searched_by_what_people_take_for_the_same(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        for text in ("ЕЩЁ раз", "A Straße in Évora", "ＡＢＣ"):
            answered(opened, alice, ask(opened, alice, text, agent="echo").thread_id)
        with opened.database.read() as db:
            found = [
                [row.title for row in list_conversations(alice, db, search=search, limit=1)]
                for search in ("еще", "STRASSE IN EVORA", "abc")
            ]
        assert found == [["ЕЩЁ раз"], ["A Straße in Évora"], ["ＡＢＣ"]]


class TestAConversation:
    def test_is_renamed_deleted_and_taken_back(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id)
        of = turn.conversation_id
        write = opened.database.write
        assert write(lambda db: rename_conversation(alice, db, of, " new \0 title ")) == "new title"
        write(lambda db: delete_conversation(alice, db, of))
        with opened.database.read() as db:
            assert list_conversations(alice, db) == []
            with pytest.raises(NotFoundError):
                get_conversation(alice, db, of)
        with pytest.raises(NotFoundError):
            turn_at(opened, alice, turn.message_id)
        with pytest.raises(NotFoundError):
            ask(opened, alice, "more", under=turn, agent="echo")
        write(lambda db: restore_conversation(alice, db, of))
        with opened.database.read() as db:
            assert get_conversation(alice, db, of).title == "new title"

    def test_is_not_taken_back_after_ten_minutes(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        of = answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id).conversation_id
        opened.database.write(lambda db: delete_conversation(alice, db, of))
        earlier = update(Conversation).values(deleted_at=_earlier(opened, of))
        opened.database.write(lambda db: db.execute(earlier.where(col(Conversation.conversation_id) == of)))
        with pytest.raises(NotFoundError, match="ten minutes"):
            opened.database.write(lambda db: restore_conversation(alice, db, of))

    def test_needs_a_title_of_a_fair_length(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        of = answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id).conversation_id
        for title in ("", "  ", "\0", "x" * 201):
            with pytest.raises(BadInputError, match="A title"):
                opened.database.write(lambda db, title=title: rename_conversation(alice, db, of, title))


def _earlier(skein: Skein, conversation_id: str) -> Any:
    with skein.database.read() as db:
        deleted = db.get_one(Conversation, conversation_id).deleted_at
    assert deleted is not None
    return deleted - timedelta(minutes=11)


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("short", "short"),
        ("\n  second line \n third", "second line"),
        ("word " * 20, "word word word word word word word word word word word word…"),
        ("字" * 80, "字" * 60 + "…"),
        ("a" * 60, "a" * 60),
    ],
)
def test_a_default_title_is_the_first_line_cut_at_a_word(text: str, title: str) -> None:
    assert default_title(text) == title
