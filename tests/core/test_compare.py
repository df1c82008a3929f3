"""Two branches side by side: where they part, and what each has said, taken and left since."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import BadInputError, NotFoundError
from core.history.differences import Piece
from core.history.turns import ThreadKind, Turn
from core.ids import MessageId, new_message_id
from core.records.compare import Comparison, Totals, compare
from core.settings import Settings
from core.skein import Skein
from core.tables import LlmCall, Message, Thread
from tests.core.support import answered, ask, graph_settings, wait_until
from tests.core.test_call_queries import a_call, put
from tests.core.test_tree import beside
from tests.graphs import showcase

Person = Callable[..., Viewer]
START = datetime(2026, 10, 24, 21, tzinfo=UTC)
NOTHING = Totals(0, 0.0, 0, 0, 0, 0, 0, 0, 0.0, 0)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


def said(skein: Skein, viewer: Viewer, text: str, under: Turn | None = None, agent: str = "echo") -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, under=under, agent=agent).thread_id)


def compared(skein: Skein, viewer: Viewer, one: MessageId, other: MessageId) -> Comparison:
    return compare(viewer, one, other, database=skein.database, engine=skein.engine)


def ids(turns: tuple[Turn, ...]) -> list[MessageId]:
    return [turn.message_id for turn in turns]


def change(skein: Skein, model: Any, key: str, **values: Any) -> None:
    table = table_of(model)
    skein.database.write(
        lambda db: db.connection().execute(update(table).where(table.c.message_id == key).values(**values))
    )


class TestTheParting:
    def test_is_the_last_message_that_both_have(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "one")
        second = said(opened, alice, "two", first)
        third = said(opened, alice, "three", second)
        edited = beside(opened, alice, second, ThreadKind.EDIT, "two, in other words")
        found = compared(opened, alice, third.message_id, edited.message_id)
        assert found.fork == first
        assert (found.one.head, found.other.head) == (third, edited)
        assert ids(found.one.turns) == [second.message_id, third.message_id]
        assert ids(found.other.turns) == [edited.message_id]

    def test_of_two_beginnings_there_is_none(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "one")
        again = beside(opened, alice, first, ThreadKind.EDIT, "another beginning")
        found = compared(opened, alice, first.message_id, again.message_id)
        assert (found.fork, ids(found.one.turns), ids(found.other.turns)) == (
            None,
            [first.message_id],
            [again.message_id],
        )

    def test_of_an_ancestor_is_itself(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "one")
        second = said(opened, alice, "two", first)
        found = compared(opened, alice, first.message_id, second.message_id)
        assert (found.fork, found.one.turns, ids(found.other.turns)) == (first, (), [second.message_id])
        assert (found.one.head, found.one.totals) == (first, NOTHING)
        back = compared(opened, alice, second.message_id, first.message_id)
        assert (back.fork, ids(back.one.turns), back.other.turns) == (first, [second.message_id], ())

    def test_of_one_message_with_itself_shows_no_difference(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        found = compared(opened, alice, turn.message_id, turn.message_id)
        assert (found.fork, found.one, found.other) == (turn, found.other, found.one)
        assert found.questions == (Piece("same", "one"),)
        assert found.answers == (Piece("same", turn.answer),)
        assert found.state == ()


class TestDifferences:
    def test_of_words_are_those_of_the_heads_in_any_script(self, opened: Skein, alice: Viewer) -> None:
        one = said(opened, alice, "我喜欢红苹果")
        other = beside(opened, alice, one, ThreadKind.EDIT, "我喜欢绿苹果")
        change(opened, Message, one.message_id, answer="it is red")
        change(opened, Message, other.message_id, answer="")
        found = compared(opened, alice, one.message_id, other.message_id)
        assert found.questions == (
            Piece("same", "我喜欢"),
            Piece("gone", "红"),
            Piece("new", "绿"),
            Piece("same", "苹果"),
        )
        assert found.answers == (Piece("gone", "it is red"),)

    def test_of_states_name_what_each_side_has(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "one")
        second = said(opened, alice, "two", first)
        found = compared(opened, alice, first.message_id, second.message_id)
        assert found.state is not None
        assert [(change.path, change.kind) for change in found.state] == [
            ("messages[2]", "new"),
            ("messages[3]", "new"),
        ]
        assert [change.after["content"] for change in found.state] == ["two", second.answer]

    def test_of_states_are_those_of_siblings_too(self, opened: Skein, alice: Viewer) -> None:
        one = said(opened, alice, "one")
        other = beside(opened, alice, one, ThreadKind.EDIT, "other")
        found = compared(opened, alice, one.message_id, other.message_id)
        assert found.state is not None
        gone = [change.before["content"] for change in found.state if change.kind == "gone"]
        new = [change.after["content"] for change in found.state if change.kind == "new"]
        assert (gone, new) == (["one", one.answer], ["other", other.answer])

    def test_of_states_are_not_told_where_one_has_none(self, opened: Skein, alice: Viewer) -> None:
        one = said(opened, alice, "one")
        # Words of its own: the gates of an earlier test, which had others, are open.
        texts = [new_message_id() for _ in range(opened.settings.max_runs_per_user)]
        held = [ask(opened, alice, text, under=one, agent="held") for text in texts]
        wait_until(lambda: all(text in showcase.ENTERED for text in texts))
        # As many as may run at once do; the next is stopped before it has any state.
        queued = ask(opened, alice, "queued", under=one, agent="held")
        opened.engine.stop(alice, queued.thread_id)
        stopped = answered(opened, alice, queued.thread_id)
        for turn in held:
            showcase.GATES.setdefault(turn.content, threading.Event()).set()
        assert compared(opened, alice, one.message_id, stopped.message_id).state is None
        assert compared(opened, alice, stopped.message_id, stopped.message_id).state is None

    def test_of_states_are_not_told_where_the_agent_is_gone(self, opened: Skein, alice: Viewer) -> None:
        one = said(opened, alice, "one")
        change(opened, Thread, one.message_id, agent_id="retired")
        found = compared(opened, alice, one.message_id, one.message_id)
        assert (found.state, found.answers) == (None, (Piece("same", one.answer),))

    def test_of_states_tell_of_a_key_that_is_too_large_by_its_size(self, opened: Skein, alice: Viewer) -> None:
        one = said(opened, alice, "长" * 30_000)
        other = beside(opened, alice, one, ThreadKind.EDIT, "short")
        state = compared(opened, alice, one.message_id, other.message_id).state
        assert {change.path.split("[")[0].split(".")[0] for change in state or ()} == {"messages"}


class TestTotals:
    def test_are_those_behind_the_parting_and_say_what_is_unknown(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "one", agent="once")
        one = said(opened, alice, "two", first, agent="once")
        below = said(opened, alice, "three", one, agent="once")
        other = beside(opened, alice, one, ThreadKind.REGENERATE, "two")
        for turn, seconds in ((first, 100), (one, 2), (below, 1.5)):
            change(opened, Thread, turn.message_id, started_at=START, ended_at=START + timedelta(seconds=seconds))
        change(opened, Thread, other.message_id, started_at=START, ended_at=None)
        unknown = {"cost_usd": None, "input_tokens": None, "output_tokens": None, "usage_source": None}
        put(
            opened.database,
            LlmCall,
            a_call(user_id=alice.user_id, thread_id=first.thread_id, cost_usd=50.0),
            a_call(user_id=alice.user_id, thread_id=one.thread_id, usage_source="estimated"),
            a_call(user_id=alice.user_id, thread_id=below.thread_id, cost_usd=0.5),
            a_call(user_id=alice.user_id, thread_id=below.thread_id, status="error", **unknown),
            a_call(user_id=alice.user_id, thread_id=other.thread_id, cost_usd=None),
            a_call(user_id=alice.user_id, thread_id=other.thread_id, status="started", **unknown),
        )
        found = compared(opened, alice, below.message_id, other.message_id)
        assert found.one.totals == Totals(2, 3.5, 3, 0, 1, 200, 20, 1, 0.75, 1)
        assert found.other.totals == Totals(1, 0.0, 2, 1, 0, 100, 10, 0, None, 1)

    def test_of_the_demo_model_are_free_not_unpriced(self, opened: Skein, alice: Viewer) -> None:
        one = said(opened, alice, "one")
        other = beside(opened, alice, one, ThreadKind.REGENERATE, "one")
        assert opened.call_log.flush()
        found = compared(opened, alice, one.message_id, other.message_id)
        both = [
            (side.totals.calls, side.totals.cost_usd, side.totals.unpriced) for side in (found.one, found.other)
        ]
        assert both == [(1, 0.0, 0)] * 2
        assert all(side.totals.output_tokens > 0 and side.totals.seconds > 0 for side in (found.one, found.other))


class TestWhoMay:
    def test_another_member_finds_neither_an_analyst_both(
        self, opened: Skein, alice: Viewer, person: Person
    ) -> None:
        mallory, ann = person("mallory"), person("ann", role="analyst")
        hers, own = said(opened, alice, "hers"), said(opened, mallory, "own")
        for pair in ((hers, hers), (hers, own), (own, hers)):
            with pytest.raises(NotFoundError):
                compared(opened, mallory, *[turn.message_id for turn in pair])
        with pytest.raises(NotFoundError):
            compared(opened, alice, hers.message_id, new_message_id())
        assert compared(opened, ann, hers.message_id, hers.message_id).one.head == hers

    def test_messages_of_two_conversations_are_refused(self, opened: Skein, alice: Viewer) -> None:
        one, other = said(opened, alice, "one"), said(opened, alice, "other")
        with pytest.raises(
            BadInputError, match=r"^These messages are of two conversations; [a-z ]+ the same one\.$"
        ):
            compared(opened, alice, one.message_id, other.message_id)
