"""The main job: a message becomes a thread, started from its parent's checkpoint."""

from collections.abc import Callable

from core.access.viewer import Viewer
from core.history.messages import NewMessage
from core.history.turns import get_path
from core.skein import Skein
from tests.core.support import follow


class TestTurns:
    def test_an_answer_streams_and_is_kept(self, opened: Skein, person: Callable[..., Viewer]) -> None:
        alice = person("alice")
        added = opened.engine.start(alice, NewMessage("please write 30 tokens"))
        events = follow(opened, alice, added.thread_id)
        streamed = "".join(event.payload for event in events if event.kind == "token")
        with opened.database.read() as db:
            [turn] = get_path(alice, db, added.message_id)
        assert turn.answer == streamed == " ".join(f"w{n}" for n in range(1, 31))
        assert (turn.status, turn.kind, turn.finish_reason) == ("done", "first", "stop")
        assert [event.seq for event in events] == list(range(1, len(events) + 1))

    def test_each_message_has_its_own_thread_begun_from_its_parents(
        self, opened: Skein, person: Callable[..., Viewer]
    ) -> None:
        alice = person("alice")
        first = opened.engine.start(alice, NewMessage("my name is Ada"))
        follow(opened, alice, first.thread_id)
        second = opened.engine.start(
            alice,
            NewMessage(
                "what did I say first?",
                conversation_id=first.conversation_id,
                parent_message_id=first.message_id,
            ),
        )
        follow(opened, alice, second.thread_id)
        with opened.database.read() as db:
            path = get_path(alice, db, second.message_id)
        assert [turn.thread_id for turn in path] == [first.thread_id, second.thread_id]
        assert path[1].parent_thread_id == first.thread_id
        assert path[1].source_checkpoint_id is not None
        assert "my name is Ada" in path[1].answer
