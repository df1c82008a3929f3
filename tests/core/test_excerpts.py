"""What a tree shows of its messages' words, on both databases."""

import pytest

from core.errors import NotFoundError
from core.history.excerpts import LONGEST, find_messages, read_excerpts
from core.history.messages import Added, NewMessage


@pytest.fixture
def ada(person):
    return person("ada")


@pytest.fixture
def said(opened, ada):
    """Three messages of one conversation, each answered."""

    def say(text: str, above: Added | None = None) -> Added:
        place = {"conversation_id": above.conversation_id, "parent_message_id": above.message_id} if above else {}
        added = opened.engine.start(ada, NewMessage(text, **place))
        for _ in opened.engine.attach(ada, added.thread_id):
            pass
        return added

    first = say("  A Straße\n\nin ÉVORA, 3 tokens")
    second = say("苹果和梨, 7 tokens", first)
    return [first, second, say("long " * 60 + "5 tokens", second)]


class TestExcerpts:
    def test_each_is_the_beginning_in_one_line(self, opened, ada, said):
        with opened.database.read() as db:
            found = read_excerpts(ada, db, said[0].conversation_id)
        assert found == {
            said[0].message_id: "A Straße in ÉVORA, 3 tokens",
            said[1].message_id: "苹果和梨, 7 tokens",
            said[2].message_id: ("long " * 60)[:LONGEST],
        }

    def test_they_are_not_there_for_somebody_else(self, opened, person, said):
        ben = person("ben")
        with opened.database.read() as db, pytest.raises(NotFoundError):
            read_excerpts(ben, db, said[0].conversation_id)
        with opened.database.read() as db, pytest.raises(NotFoundError):
            find_messages(ben, db, said[0].conversation_id, "tokens")


class TestFinding:
    @pytest.mark.parametrize(
        ("text", "places"),
        [
            ("strasse", [0]),
            ("in évora", [0]),
            ("果和", [1]),
            ("W5", [1, 2]),
            ("  5   TOKENS ", [2]),
            ("tokens", [0, 1, 2]),
            ("%", []),
            (" ", []),
        ],
    )
    def test_case_and_spaces_do_not_matter_and_answers_count(self, opened, ada, said, text, places):
        with opened.database.read() as db:
            found = find_messages(ada, db, said[0].conversation_id, text)
        assert found == [said[place].message_id for place in places]
