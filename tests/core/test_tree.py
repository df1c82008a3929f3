"""Asking again in other words, or for another answer: siblings beside one another, each with its own thread."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from core import database
from core.access.viewer import Viewer
from core.calls.listing.sums import summarize_threads
from core.errors import NotFoundError
from core.history.annotations import find_marks, set_star
from core.history.messages import NewMessage
from core.history.tree import find_siblings
from core.history.turns import ThreadKind, Turn
from core.ids import MessageId, new_message_id
from core.records.branch_export import branch_json
from core.settings import Settings
from core.skein import Skein
from tests.core.support import answered, ask, graph_settings, turn_at
from tests.graphs import showcase

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


def beside(skein: Skein, viewer: Viewer, turn: Turn, kind: ThreadKind, text: str) -> Turn:
    """Another message under the same parent, answered."""
    new = NewMessage(
        text,
        conversation_id=turn.conversation_id,
        parent_message_id=turn.parent_message_id,
        kind=kind,
        agent_id=turn.agent_id,
    )
    added = skein.engine.start(viewer, new)
    answered(skein, viewer, added.thread_id)
    return turn_at(skein, viewer, added.message_id)


def siblings(skein: Skein, viewer: Viewer, *path: Turn) -> list[list[MessageId]]:
    with skein.database.read() as db:
        found = find_siblings(viewer, db, [turn.message_id for turn in path])
    return [found[turn.message_id] for turn in path]


class TestSiblings:
    def test_stand_beside_one_another_in_the_order_they_were_made(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        first = answered(opened, alice, ask(opened, alice, "one", agent="echo").thread_id)
        second = answered(opened, alice, ask(opened, alice, "two", under=first, agent="echo").thread_id)
        edited = beside(opened, alice, second, ThreadKind.EDIT, "two, in other words")
        again = beside(opened, alice, second, ThreadKind.REGENERATE, "two")
        root = beside(opened, alice, first, ThreadKind.EDIT, "another beginning")
        assert siblings(opened, alice, first, edited) == [
            [first.message_id, root.message_id],
            [second.message_id, edited.message_id, again.message_id],
        ]
        assert siblings(opened, alice, root) == [[first.message_id, root.message_id]]

    def test_see_what_was_said_above_and_nothing_of_one_another(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        first = answered(opened, alice, ask(opened, alice, "my name is Ada", agent="echo").thread_id)
        second = answered(opened, alice, ask(opened, alice, "a secret", under=first, agent="echo").thread_id)
        beside(opened, alice, second, ThreadKind.EDIT, "what did I say?")
        seen = [message.text for message in showcase.SEEN["what did I say?"]]
        assert ("my name is Ada" in seen, "a secret" in seen) == (True, False)

    def test_marks_and_sums_are_found_however_many_a_statement_takes(
        self, opened: Skein, person: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice, path = person("alice"), []
        for text in ("one", "two", "three"):
            above = path[-1] if path else None
            path.append(answered(opened, alice, ask(opened, alice, text, under=above, agent="assistant").thread_id))
        beside(opened, alice, path[1], ThreadKind.EDIT, "two, in other words")
        for turn in path[1:]:
            mark = partial(set_star, alice, target_id=turn.message_id, starred=True)
            opened.database.write(lambda db, mark=mark: mark(db))
        opened.call_log.flush(5)
        whole = self.found_for(opened, alice, path)
        monkeypatch.setattr(database, "_MOST_PARAMETERS", 1)
        assert self.found_for(opened, alice, path) == whole
        assert [len(found) for found in whole[:-1]] == [3, 2, 3]

    def found_for(self, skein: Skein, viewer: Viewer, path: list[Turn]) -> tuple[Any, ...]:
        messages, threads = [turn.message_id for turn in path], [turn.thread_id for turn in path]
        with skein.database.read() as db:
            found = find_siblings(viewer, db, messages), find_marks(viewer, db, messages)
            sums = summarize_threads(viewer, db, threads)
        turns = json.loads(branch_json(viewer, skein.database, messages[-1]))["turns"]
        return *found, sums, turns

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_and_sums_of_a_very_long_path_are_found(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        only = answered(opened, alice, ask(opened, alice, "one", agent="assistant").thread_id)
        opened.call_log.flush(5)
        messages = [*(new_message_id() for _ in range(70_000)), only.message_id]
        with opened.database.read() as db:
            assert find_siblings(alice, db, messages) == {only.message_id: [only.message_id]}
            assert find_marks(alice, db, messages) == {}
            assert list(summarize_threads(alice, db, [*messages, only.thread_id])) == [only.thread_id]

    def test_are_not_there_for_another_member(self, opened: Skein, person: Person) -> None:
        alice, mallory = person("alice"), person("mallory")
        first = answered(opened, alice, ask(opened, alice, "one", agent="echo").thread_id)
        with pytest.raises(NotFoundError):
            siblings(opened, mallory, first)
        own = answered(opened, mallory, ask(opened, mallory, "mine", agent="echo").thread_id)
        with opened.database.read() as db:
            found = find_siblings(mallory, db, [first.message_id, own.message_id])
        assert found == {own.message_id: [own.message_id]}
