"""What is looked at first in a review, and sessions begun from a template."""

import pytest
from sqlmodel import select

from core.errors import NotFoundError, SkeinError
from core.history.browse.review import list_telling_turns
from core.history.messages import NewMessage
from core.history.sessions import get_session, mark_deleted
from core.history.templates import Draft, save_template
from core.history.turns import list_turns
from core.ids import SessionId
from core.runs.templates import begin_session
from core.tables import Session, Thread
from tests.core.support import wait_until


@pytest.fixture
def say(opened):
    """Says something, in a new session or below what was said before, and waits for the answer."""

    def say(viewer, text: str, *, under=None):
        place = {"conversation_id": under.conversation_id, "parent_message_id": under.message_id} if under else {}
        added = opened.engine.start(viewer, NewMessage(text, **place))
        wait_until(lambda: opened.engine.active(viewer) == [])
        return added

    return say


def telling(skein, viewer, session_id) -> list[str]:
    with skein.database.read() as db:
        return [turn.content for turn in list_telling_turns(viewer, db, session_id)]


class TestTellingTurns:
    def test_the_last_one_alone_when_nothing_failed(self, opened, person, say):
        ada = person("ada")
        first = say(ada, "Pears")
        say(ada, "Plums", under=first)
        assert telling(opened, ada, first.session_id) == ["Plums"]

    def test_the_last_failure_comes_before_the_last_one(self, opened, person, say):
        ada = person("ada")
        first = say(ada, "Pears")
        say(ada, "Plums", under=first)
        opened.database.write(lambda db: setattr(db.get(Thread, first.thread_id), "status", "failed"))
        assert telling(opened, ada, first.session_id) == ["Pears", "Plums"]

    def test_analysts_read_them_and_other_members_find_none(self, opened, person, say):
        first = say(person("ada"), "Pears")
        assert telling(opened, person("ana", "analyst"), first.session_id) == ["Pears"]
        with pytest.raises(NotFoundError):
            telling(opened, person("ben"), first.session_id)

    def test_a_deleted_session_has_none(self, opened, person, say):
        ada = person("ada")
        first = say(ada, "Pears")
        opened.database.write(lambda db: mark_deleted(ada, db, first.session_id))
        with pytest.raises(NotFoundError):
            telling(opened, ada, first.session_id)


class TestBeginningFromATemplate:
    def keep(self, skein, viewer, *messages: str, agent: str = "assistant", shared: bool = False):
        draft = Draft("季度报告", agent, messages=messages)
        return skein.database.write(lambda db: save_template(viewer, db, name="T", draft=draft, shared=shared))

    def sessions(self, skein) -> list[str]:
        with skein.database.read() as db:
            return list(db.exec(select(Session.status)).all())

    def test_its_messages_follow_each_other_in_one_conversation(self, opened, person):
        ada = person("ada")
        begun = begin_session(opened.engine, ada, self.keep(opened, ada, "First", "Second", "Third"))
        wait_until(lambda: opened.engine.active(ada) == [])
        with opened.database.read() as db:
            row = get_session(ada, db, begun.session_id)
            turns = list_turns(ada, db, begun.added.conversation_id)
        assert (row.title, row.template is not None, begun.left) == ("季度报告", True, 0)
        assert [(turn.content, turn.depth, turn.status) for turn in turns] == [
            ("First", 0, "done"),
            ("Second", 1, "done"),
            ("Third", 2, "done"),
        ]
        assert [turn.parent_message_id for turn in turns] == [None, turns[0].message_id, turns[1].message_id]

    def test_without_messages_it_is_an_empty_session(self, opened, person):
        ada = person("ada")
        begun = begin_session(opened.engine, ada, self.keep(opened, ada), title="My own title")
        with opened.database.read() as db:
            assert get_session(ada, db, SessionId(begun.session_id)).title == "My own title"
        assert begun.added is None

    def test_where_nothing_can_be_sent_no_session_is_left(self, opened, person):
        ada = person("ada")
        template_id = self.keep(opened, ada, "First", agent="nobody")
        with pytest.raises(SkeinError):
            begin_session(opened.engine, ada, template_id)
        assert self.sessions(opened) == ["deleted"]

    def test_a_shared_one_is_for_everyone_and_another_for_its_author(self, opened, person):
        ada, ben = person("ada"), person("ben")
        own = self.keep(opened, ada, "First")
        with pytest.raises(NotFoundError):
            begin_session(opened.engine, ben, own)
        begun = begin_session(opened.engine, ben, self.keep(opened, ada, shared=True))
        with opened.database.read() as db:
            assert get_session(ben, db, begun.session_id).user_id == ben.user_id
