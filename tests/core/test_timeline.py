"""What happened in a session, told in one line of time."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from core.access.viewer import Viewer
from core.errors import BadInputError, NotFoundError
from core.history.annotations import add_tag
from core.history.approvals import list_of_thread
from core.history.conversations import get_conversation
from core.history.timeline import GROUPS, Happening, Moment, list_happenings
from core.history.turns import Turn
from core.ids import SessionId
from core.runs import branching
from core.runs.decisions import Decision, decide
from core.settings import Settings
from core.skein import Skein
from core.tables import utc_now
from tests.core.support import answered, ask, follow, graph_settings, reading, writing

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


def say(skein: Skein, viewer: Viewer, text: str, under: Turn | None = None, agent: str = "echo") -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, under=under, agent=agent).thread_id)


def session_of(skein: Skein, viewer: Viewer, turn: Turn) -> SessionId:
    return reading(skein, get_conversation, viewer, turn.conversation_id).session_id


def told(rows: list[Happening]) -> list[tuple[str, str, str]]:
    return [(row.group, row.kind, row.text) for row in rows]


class TestALineOfTime:
    def test_tells_what_was_said_asked_decided_broken_and_done(
        self, opened: Skein, person: Person, alice: Viewer
    ) -> None:
        first = say(opened, alice, "hello")
        session_id = session_of(opened, alice, first)
        edited = branching.edit(opened.engine, alice, first.message_id, "hello again")
        answered(opened, alice, edited.thread_id)
        broken = say(opened, alice, "please fail", first, "showcase")
        asks = ask(opened, alice, "anything", under=first, agent="question")
        follow(opened, alice, asks.thread_id)
        [row] = reading(opened, list_of_thread, alice, asks.thread_id)
        answer = Decision("answer", answer="blue")
        decide(opened.engine, alice, row.approval_id, [answer], arguments_hash=row.arguments_hash)
        answered(opened, alice, asks.thread_id)
        ann = person("ann", role="analyst")
        writing(opened, add_tag, ann, session_id, "seen")
        rows = reading(opened, list_happenings, ann, session_id).rows
        assert [(row.group, row.kind) for row in reversed(rows)] == [
            ("messages", "first"),
            ("messages", "edit"),
            ("messages", "continue"),
            ("errors", "failed"),
            ("messages", "continue"),
            ("approvals", "asked"),
            ("approvals", "answer"),
            ("acts", "annotation.set"),
        ]
        by_kind = {row.kind: row for row in rows}
        assert by_kind["failed"].message_id == broken.message_id
        assert by_kind["failed"].text
        assert (by_kind["edit"].text, by_kind["edit"].user_name) == ("hello again", "alice")
        assert (by_kind["answer"].user_name, by_kind["asked"].user_name) == ("alice", None)
        assert by_kind["annotation.set"].user_name == "ann"
        assert by_kind["asked"].target_id == row.approval_id

    def test_is_paged_without_a_row_lost_or_twice(self, opened: Skein, alice: Viewer) -> None:
        turn = say(opened, alice, "one")
        for text in ("two", "please fail", "three"):
            say(opened, alice, text, turn, "showcase" if "fail" in text else "echo")
        session_id = session_of(opened, alice, turn)
        whole = reading(opened, list_happenings, alice, session_id)
        assert whole.next is None
        paged, place = list[Happening](), None
        for _ in range(len(whole.rows) + 1):
            page = reading(opened, list_happenings, alice, session_id, before=place, limit=1)
            paged += page.rows
            if page.next is None:
                break
            place = Moment.from_text(page.next.to_text())
        assert paged == whole.rows

    def test_is_narrowed_by_what_it_tells(self, opened: Skein, alice: Viewer) -> None:
        turn = say(opened, alice, "one")
        say(opened, alice, "please fail", turn, "showcase")
        session_id = session_of(opened, alice, turn)
        for group in GROUPS:
            rows = reading(opened, list_happenings, alice, session_id, groups=[group]).rows
            assert {row.group for row in rows} <= {group}
        errors = reading(opened, list_happenings, alice, session_id, groups=["errors"]).rows
        assert [row.kind for row in errors] == ["failed"]

    def test_is_not_there_for_another_member(self, opened: Skein, person: Person, alice: Viewer) -> None:
        session_id = session_of(opened, alice, say(opened, alice, "mine"))
        with pytest.raises(NotFoundError):
            reading(opened, list_happenings, person("mallory"), session_id)

    def test_has_nothing_of_another_session(self, opened: Skein, alice: Viewer) -> None:
        one, other = say(opened, alice, "one"), say(opened, alice, "other")
        rows = reading(opened, list_happenings, alice, session_of(opened, alice, one)).rows
        assert told(rows) == [("messages", "first", "one")]
        assert other.message_id not in {row.message_id for row in rows}


class TestAPlaceInIt:
    def test_comes_back_from_its_word(self) -> None:
        moment = Moment(utc_now() - timedelta(days=3), "msg_1~"[:-1])
        assert Moment.from_text(moment.to_text()) == moment

    @pytest.mark.parametrize("word", ["", "~", "soon~x", "2026-11-01T00:00:00", "2026-11-01~a~b"])
    def test_that_is_none_is_refused_with_a_sentence(self, word: str) -> None:
        with pytest.raises(BadInputError, match="timeline"):
            Moment.from_text(word)
