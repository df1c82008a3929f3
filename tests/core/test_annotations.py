"""Tags, scores and reviews on sessions, messages and calls; who sees them, and who may put them there."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import BadInputError, NotFoundError
from core.history import annotations as marks
from core.history.annotations import Mark, Review, Score, Tag
from core.history.conversations import get_conversation
from core.history.messages import NewMessage
from core.history.templates import (
    Draft,
    delete_template,
    draft_of_session,
    get_template,
    list_templates,
    save_template,
)
from core.history.turns import Turn
from core.ids import SessionId, new_call_id
from core.settings import Settings
from core.skein import Skein
from core.tables import LlmCall, utc_now
from tests.core.support import answered, ask, graph_settings, reading, writing

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


@pytest.fixture
def ann(person: Person) -> Viewer:
    return person("ann", role="analyst")


@pytest.fixture
def turn(opened: Skein, alice: Viewer) -> Turn:
    return answered(opened, alice, ask(opened, alice, "hello", agent="echo").thread_id)


@pytest.fixture
def session_id(opened: Skein, alice: Viewer, turn: Turn) -> SessionId:
    return reading(opened, get_conversation, alice, turn.conversation_id).session_id


def mark(opened: Skein, viewer: Viewer, target: str) -> Mark:
    return reading(opened, marks.find_marks, viewer, [target]).get(target, Mark())


class TestTags:
    def test_are_seen_by_their_author_and_by_those_who_read_all(
        self, opened: Skein, person: Person, alice: Viewer, ann: Viewer, session_id: SessionId
    ) -> None:
        assert writing(opened, marks.add_tag, alice, session_id, "  To  Check ") == "to check"
        writing(opened, marks.add_tag, ann, session_id, "退款")
        writing(opened, marks.add_tag, ann, session_id, "退款")
        assert mark(opened, alice, session_id).tags == (Tag("to check", "alice", own=True),)
        assert mark(opened, ann, session_id).tags == (
            Tag("to check", "alice", own=False),
            Tag("退款", "ann", own=True),
        )
        assert reading(opened, marks.list_tags, ann) == {"to check": 1, "退款": 1}
        assert reading(opened, marks.list_tags, alice) == {"to check": 1}
        assert reading(opened, marks.list_tags, person("bob")) == {}

    def test_are_taken_away_by_their_author_alone(
        self, opened: Skein, alice: Viewer, ann: Viewer, session_id: SessionId
    ) -> None:
        writing(opened, marks.add_tag, alice, session_id, "mine")
        writing(opened, marks.remove_tag, ann, session_id, "mine")
        assert [tag.name for tag in mark(opened, alice, session_id).tags] == ["mine"]
        writing(opened, marks.remove_tag, alice, session_id, "MINE")
        writing(opened, marks.remove_tag, alice, session_id, "mine")
        assert mark(opened, alice, session_id) == Mark()

    @pytest.mark.parametrize("tag", ["", "  ", "a,b", 'say "this"', "x" * 41])
    def test_that_are_none_are_refused_with_a_sentence(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tag: str
    ) -> None:
        with pytest.raises(BadInputError, match="tag"):
            writing(opened, marks.add_tag, alice, session_id, tag)

    def test_have_an_end(self, opened: Skein, alice: Viewer, session_id: SessionId) -> None:
        def add_all(db: Db) -> None:
            for number in range(marks.MOST_TAGS):
                marks.add_tag(alice, db, session_id, f"tag {number}")

        opened.database.write(add_all)
        with pytest.raises(BadInputError, match="50 tags"):
            writing(opened, marks.add_tag, alice, session_id, "one more")


class TestScoresAndReviews:
    def test_one_of_each_person_is_kept_the_latest(
        self, opened: Skein, alice: Viewer, ann: Viewer, turn: Turn, session_id: SessionId
    ) -> None:
        writing(opened, marks.set_score, alice, turn.message_id, 2, "too short")
        writing(opened, marks.set_score, alice, turn.message_id, 4, "better")
        writing(opened, marks.set_score, ann, turn.message_id, 5)
        assert mark(opened, alice, turn.message_id).scores == (Score(4, "better", "alice", own=True),)
        assert [one.score for one in mark(opened, ann, turn.message_id).scores] == [4, 5]
        writing(opened, marks.set_review, ann, session_id, "bad", "refund\npromised")
        assert mark(opened, ann, session_id).reviews == (Review("bad", "refund\npromised", "ann", own=True),)
        assert mark(opened, alice, session_id).reviews == ()
        writing(opened, marks.set_review, ann, session_id, "")
        writing(opened, marks.set_score, ann, turn.message_id, None)
        assert mark(opened, ann, session_id).reviews == ()
        assert [one.score for one in mark(opened, ann, turn.message_id).scores] == [4]

    @pytest.mark.parametrize("score", [0, 6, -1])
    def test_a_score_is_one_to_five(self, opened: Skein, alice: Viewer, session_id: SessionId, score: int) -> None:
        with pytest.raises(BadInputError, match="from 1 to 5"):
            writing(opened, marks.set_score, alice, session_id, score)

    def test_a_review_has_two_verdicts_and_is_of_a_session(
        self, opened: Skein, alice: Viewer, turn: Turn, session_id: SessionId
    ) -> None:
        with pytest.raises(BadInputError, match="good or bad"):
            writing(opened, marks.set_review, alice, session_id, "fine")
        with pytest.raises(BadInputError, match="Only sessions"):
            writing(opened, marks.set_review, alice, turn.message_id, "good")


class TestTheWrongUser:
    def test_finds_nothing_to_put_anything_on(
        self, opened: Skein, person: Person, turn: Turn, session_id: SessionId
    ) -> None:
        mallory = person("mallory")
        for target in (turn.message_id, session_id):
            for function, given in (
                (marks.set_star, {"starred": True}),
                (marks.set_note, {"note": "x"}),
                (marks.set_score, {"score": 3}),
                (marks.add_tag, {"tag": "x"}),
                (marks.remove_tag, {"tag": "x"}),
            ):
                with pytest.raises(NotFoundError):
                    writing(opened, function, mallory, target, **given)
        with pytest.raises(NotFoundError):
            writing(opened, marks.set_review, mallory, session_id, "good")

    def test_cannot_mark_a_call_of_another_nor_one_of_nobody(
        self, opened: Skein, person: Person, alice: Viewer, ann: Viewer
    ) -> None:
        of_alice, of_nobody = new_call_id(), new_call_id()
        opened.database.write(
            lambda db: db.add_all(
                LlmCall(call_id=key, run_id=key, user_id=who, created_at=utc_now(), status="ok")
                for key, who in ((of_alice, alice.user_id), (of_nobody, None))
            )
        )
        writing(opened, marks.add_tag, alice, of_alice, "slow")
        writing(opened, marks.add_tag, ann, of_nobody, "slow")
        assert [tag.name for tag in mark(opened, ann, of_alice).tags] == ["slow"]
        for viewer, target in ((person("mallory"), of_alice), (alice, of_nobody), (ann, new_call_id())):
            with pytest.raises(NotFoundError):
                writing(opened, marks.add_tag, viewer, target, "slow")


class TestTemplates:
    def test_are_kept_under_a_name_and_shared_when_asked(
        self, opened: Skein, person: Person, alice: Viewer
    ) -> None:
        draft = Draft("Weekly report", "echo", {"temperature": 0.5}, ["first", "  ", "then"])
        key = writing(opened, save_template, alice, name=" weekly ", draft=draft)
        again = writing(opened, save_template, alice, name="weekly", draft=draft, shared=True)
        assert again == key
        bob = person("bob")
        row = reading(opened, get_template, bob, key)
        assert (row.name, row.title, row.agent_id) == ("weekly", "Weekly report", "echo")
        assert (row.settings, row.messages, row.user_name) == ({"temperature": 0.5}, ["first", "then"], "alice")
        assert [one.name for one in reading(opened, list_templates, bob)] == ["weekly"]
        with pytest.raises(NotFoundError):
            writing(opened, delete_template, bob, key)
        writing(opened, delete_template, alice, key)
        assert reading(opened, list_templates, alice) == []

    def test_that_are_not_shared_are_not_there_for_others(
        self, opened: Skein, person: Person, alice: Viewer
    ) -> None:
        key = writing(opened, save_template, alice, name="mine", draft=Draft("Mine"))
        for other in (person("bob"), person("ann", role="analyst")):
            assert reading(opened, list_templates, other) == []
            with pytest.raises(NotFoundError):
                reading(opened, get_template, other, key)

    def test_are_made_of_what_was_said_first_in_a_session(
        self, opened: Skein, person: Person, alice: Viewer, turn: Turn, session_id: SessionId
    ) -> None:
        second = answered(opened, alice, ask(opened, alice, "and then", under=turn, agent="echo").thread_id)
        edit = NewMessage("another way", turn.conversation_id, turn.message_id, agent_id="echo")
        answered(opened, alice, opened.engine.start(alice, edit).thread_id)
        draft = reading(opened, draft_of_session, alice, session_id)
        assert (draft.title, draft.agent_id, list(draft.messages)) == ("hello", "echo", ["hello", "and then"])
        assert second.parent_message_id == turn.message_id
        with pytest.raises(NotFoundError):
            reading(opened, draft_of_session, person("mallory"), session_id)

    @pytest.mark.parametrize(
        ("name", "draft"),
        [
            ("", Draft("t")),
            ("x" * 81, Draft("t")),
            ("n", Draft("x" * 201)),
            ("n", Draft("t", messages=["x"] * 21)),
            ("n", Draft("t", messages=["x" * 20_001])),
        ],
    )
    def test_that_are_too_long_are_refused_with_a_sentence(
        self, opened: Skein, alice: Viewer, name: str, draft: Draft
    ) -> None:
        with pytest.raises(BadInputError, match=r"template|title"):
            writing(opened, save_template, alice, name=name, draft=draft)
