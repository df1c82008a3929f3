"""A second conversation of a session: begun from the first one's menu, by its owner, sharing what is made there."""

from sqlmodel import select

from core.history.artifacts import write_version
from core.history.conversations import get_conversation
from core.skein import Skein
from core.tables import Conversation
from tests.core.support import answered, ask
from tests.pages.conftest import OpenTab, person_named


def begun(skein: Skein) -> tuple[str, str]:
    """Ada's conversation with an artifact in its session: ids of the conversation and of the session."""
    ada = person_named(skein, "ada")
    turn = answered(skein, ada, ask(skein, ada, "hello 3 tokens").thread_id)
    with skein.database.read() as db:
        session_id = get_conversation(ada, db, turn.conversation_id).session_id
    skein.database.write(
        lambda db: write_version(
            ada,
            db,
            session_id=session_id,
            kind="result",
            name="the report",
            content=b"words",
            media_type="text/markdown",
        )
    )
    return turn.conversation_id, session_id


class TestAConversationInASession:
    def test_is_begun_where_the_address_says_and_sees_what_is_shared(self, opened: Skein, tab: OpenTab) -> None:
        first, session_id = begun(opened)
        at = tab("ada", session=session_id, artifact="all")
        assert any("New conversation in “hello 3 tokens”" in mark.value for mark in at.markdown)
        assert "the report" in " ".join(
            [*(mark.value for mark in at.markdown), *(button.label for button in at.button)]
        )
        at.chat_input[0].set_value("hello again 3 tokens").run()
        with opened.database.read() as db:
            found = db.exec(select(Conversation.conversation_id).where(Conversation.session_id == session_id)).all()
        assert len(found) == 2
        assert first in found
        assert "session" not in at.query_params

    def test_is_not_begun_in_a_session_of_somebody_else(self, opened: Skein, tab: OpenTab) -> None:
        _, session_id = begun(opened)
        person_named(opened, "mallory")
        for name, role in (("mallory", "member"), ("ana", "analyst")):
            at = tab(name, role=role, session=session_id)
            assert at.warning[0].value.startswith(("There is no such session", "This session is somebody else's"))
            assert not any("hello" in mark.value for mark in at.markdown)
