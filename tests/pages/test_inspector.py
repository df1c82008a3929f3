"""The inspector shows what a thread's states hold, to whoever may see it, and does what its owner asks."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select
from streamlit.testing.v1 import AppTest

from core.checkpoints.compact import compact
from core.checkpoints.inspect import Checkpoint, Write
from core.checkpoints.stored import Namespace
from core.history.differences import Change
from core.history.messages import NewMessage
from core.history.turns import Turn
from core.runs.events import Event
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity
from pages.parts.inspector.inspector_lines import describe_event, graph_labels, label_of
from pages.parts.inspector.inspector_url import Place, read_place
from pages.parts.inspector.inspector_values import by_task, cut, is_messages, message_text, narrowed, size
from tests.conftest import copy_sqlite
from tests.core.support import answered, ask, graph_settings
from tests.pages.conftest import button_named, has_button, opened_popover, person_named, texts

Look = Callable[..., AppTest]


class TestSizes:
    @pytest.mark.parametrize(
        ("number", "said"), [(0, "0 B"), (999, "999 B"), (4_100, "4.1 KB"), (4_200_000, "4.2 MB")]
    )
    def test_are_said_in_their_unit(self, number: int, said: str) -> None:
        assert size(number) == said


class TestCutting:
    def test_leaves_what_is_small_as_it_is(self) -> None:
        value = {"a": [1, 2.5, None, True, "text"], "b": {"c": []}}
        assert cut(value) == (value, False)

    def test_says_how_much_there_was(self) -> None:
        text, items, deep = cut("x" * 5_000)[0], cut(list(range(150)))[0], _nested(20)
        assert text == "x" * 4_000 + "… (5,000 characters in all)"
        assert (len(items), items[-1]) == (100, "… 51 more items")
        assert cut({str(n): n for n in range(120)})[0]["…"] == "21 more keys"
        assert "deeper" in json.dumps(cut(deep)[0], ensure_ascii=False)
        assert cut("x" * 5_000)[1] is True

    def test_keeps_whatever_it_is_given_small(self) -> None:
        huge = {str(a): [{"text": "词语" * 500, "n": b} for b in range(500)] for a in range(50)}
        assert len(json.dumps(cut(huge)[0], ensure_ascii=False)) < 60_000


def asked(at: AppTest, name: str) -> str:
    """What the address says, which Streamlit gives as a text or as a list of them."""
    value = at.query_params[name]
    return value if isinstance(value, str) else value[0]


def _nested(depth: int) -> Any:
    return [_nested(depth - 1)] if depth else ["end"]


class TestChanges:
    def test_of_long_texts_show_where_they_differ(self) -> None:
        before = "a" * 1_000_000
        after = before[:500_000] + "NEW" + before[500_000:]
        found = narrowed(Change("text", "changed", before, after))
        assert "NEW" in found.after
        assert "NEW" not in found.before
        assert len(found.before) + len(found.after) < 10_000

    def test_of_short_texts_are_left_alone(self) -> None:
        change = Change("text", "changed", "one", "two")
        assert narrowed(change) == change


class TestLines:
    def line(self, own: str, parent: str | None = None, **more: Any) -> Checkpoint:
        return Checkpoint("", own, parent, None, more.pop("step", 1), more.pop("source", "loop"), 4_100, **more)

    def test_tell_how_a_state_came_about(self) -> None:
        first = self.line("1", source="input")
        assert label_of(1, first, None) == "**1** · the message came in · 4.1 KB"
        assert label_of(2, self.line("2", "0"), None) == "**2** · after step 1 · 4.1 KB"
        assert label_of(3, self.line("3"), None, is_carried=True) == "**3** · carried over · 4.1 KB"

    def test_number_the_subgraphs_that_ran_often(self) -> None:
        graphs = [
            Namespace("", 4, "d"),
            Namespace("a:1", 1, "a"),
            Namespace("a:2|b:3", 2, "b"),
            Namespace("a:4", 3, "c"),
        ]
        assert list(graph_labels(graphs).values()) == [
            "The agent itself · 4 states",
            "a #1 · 1 state",
            "a › b · 2 states",
            "a #2 · 3 states",
        ]

    @pytest.mark.parametrize(
        ("kind", "payload", "said"),
        [
            ("token", "words", "words"),
            ("node", {"phase": "end", "ms": 12}, "end after 12 ms"),
            ("state", {"checkpoint_id": "c", "next": []}, "checkpoint c, next nothing"),
            ("error", {"type": "E", "message": "broke"}, "E: broke"),
            ("end", {"status": "done", "model": "m"}, "done · m"),
            ("progress", {"a": 1}, '{"a": 1}'),
        ],
    )
    def test_say_what_an_event_was(self, kind: Any, payload: Any, said: str) -> None:
        assert describe_event(Event(1, 0, kind, None, payload)) == said

    def test_writes_are_put_together_by_their_task(self) -> None:
        writes = tuple(Write(task, "n", channel, 1, None) for task, channel in (("1", "a"), ("2", "a"), ("1", "b")))
        assert {task: [w.channel for w in found] for task, found in by_task(writes).items()} == {
            "1": ["a", "b"],
            "2": ["a"],
        }

    def test_messages_are_known_by_what_they_have(self) -> None:
        parts = {"type": "ai", "content": [{"type": "text", "text": "one"}, "two", {"type": "image"}]}
        assert is_messages([parts])
        assert not is_messages([])
        assert not is_messages([parts, 3])
        assert message_text(parts) == "one\ntwo"


class TestTheAddress:
    def test_says_what_is_shown(self) -> None:
        found = read_place({"checkpoint": ["c"], "ns": ["a:1"], "look": ["writes"], "event": ["7"]})
        assert found == Place("c", "a:1", "writes", 7)

    def test_that_cannot_be_understood_costs_a_sentence(self) -> None:
        found = read_place({"look": ["nothing"], "event": ["x" * 100]})
        assert (found.view, found.after, len(found.problems)) == ("state", 0, 2)


class TestAThread:
    @pytest.fixture
    def settings(self, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
        return graph_settings(tmp_path, copy_sqlite(request, tmp_path / "data"))

    @pytest.fixture
    def said(self, opened: Skein) -> Callable[..., Turn]:
        def say(text: str, *, agent: str = "showcase", by: str = "ada") -> Turn:
            viewer = person_named(opened, by)
            return answered(opened, viewer, ask(opened, viewer, text, agent=agent).thread_id)

        return say

    @pytest.fixture
    def look(self, tab: Any) -> Look:
        """Looks into a thread: ``look("ada", turn, look="writes")``."""

        def open_tab(name: str, turn: Turn, *, role: str = "member", **query: str) -> AppTest:
            at = tab(name, role=role, thread=turn.thread_id, **query)
            at.switch_page("browse.py").run()
            assert not at.exception
            return at

        return open_tab

    def test_shows_its_newest_state_and_the_list_of_all(self, said: Any, look: Look, opened: Skein) -> None:
        turn = said("tell me 3 tokens")
        at = look("ada", turn)
        steps = opened.engine.read_states(person_named(opened, "ada"), turn.thread_id)
        assert f"State {len(steps)} of {len(steps)}" in texts(at)
        listed = [button.label for button in at.button if (button.key or "").startswith("inspector.at.")]
        assert len(listed) == len(steps)
        assert listed[0].startswith("**1** · the message came in")
        assert "Said without a model." in "\n".join(code.value for code in at.code)

    def test_goes_to_the_state_that_is_chosen(self, said: Any, look: Look) -> None:
        at = look("ada", said("tell me 3 tokens"))
        chosen = next(button for button in at.button if "the run began" in button.label)
        at = chosen.click().run()
        assert asked(at, "checkpoint") == chosen.key.removeprefix("inspector.at.")
        assert "State 2 of" in texts(at)
        at = button_named(at, "Later").click().run()
        assert "State 3 of" in texts(at)

    @pytest.mark.parametrize("view", ["state", "changes", "writes", "json", "events"])
    def test_has_all_its_views(self, said: Any, look: Look, view: str) -> None:
        at = look("ada", said("fail please"), look=view)
        assert asked(at, "look") == view
        assert "this was meant to break" in texts(at)

    def test_shows_who_failed_and_lets_its_owner_try_again(self, said: Any, look: Look, opened: Skein) -> None:
        turn = said("fail please")
        at = look("ada", turn)
        assert "break failed" in texts(at)
        at = button_named(at, "Try again").click().run()
        new = asked(at, "thread")
        assert new != turn.thread_id
        assert answered(opened, person_named(opened, "ada"), new).parent_thread_id == turn.thread_id

    def test_that_waits_shows_its_question_and_can_be_stopped(self, said: Any, look: Look, opened: Skein) -> None:
        turn = said("ask me")
        at = look("ada", turn)
        assert "asks a person" in texts(at)
        assert any("may I?" in element.value for element in at.json)
        button_named(at, "Stop").click().run()
        assert answered(opened, person_named(opened, "ada"), turn.thread_id).status == "stopped"

    def test_leads_into_its_subgraphs(self, said: Any, look: Look) -> None:
        at = look("ada", said("tell me 3 tokens"))
        graphs = next(box for box in at.selectbox if box.label == "Graph")
        assert [option.partition(" ·")[0] for option in graphs.options] == ["The agent itself", "nested"]
        at = graphs.select(graphs.options[1]).run()
        assert asked(at, "ns").startswith("nested:")
        assert "checkpoint" not in at.query_params
        assert "Fork from this state" not in str(at.expander)
        assert "A branch starts from a state of the whole graph" in texts(at)
        button_named(at, "The state before that step").click().run()
        assert "ns" not in at.query_params
        assert "Fork from this state" in str(at.expander)
        assert "nested" in texts(at)

    def test_pages_through_its_log(self, said: Any, look: Look) -> None:
        at = look("ada", said("300 tokens"), look="events")
        total = len(at.dataframe[0].value)
        assert 0 < total <= 100
        at = look("ada", said("fail please"), look="events", event="3")
        assert at.dataframe[0].value["#"].min() > 3

    def test_of_another_is_shown_to_an_analyst_on_record_and_can_only_be_read(
        self, said: Any, look: Look, opened: Skein
    ) -> None:
        turn = said("fail please")
        at = look("ann", turn, role="analyst")
        assert "by ada" in texts(at)
        for label in ("Try again", "Snapshot this state", "Delete", "Stop"):
            assert not has_button(at, label)
        with opened.database.read() as db:
            looks = db.exec(select(Activity).where(Activity.kind == "thread.read")).all()
        assert [look.target_id for look in looks] == [turn.thread_id]

    def test_of_another_is_not_there_for_a_member(self, said: Any, look: Look) -> None:
        at = look("eve", said("tell me"))
        assert "no such" in texts(at)
        assert "tell me" not in texts(at)

    @pytest.mark.parametrize("thread", ["nothing", "thread_1795259511687_DEQ1S693NEA6"])
    def test_that_is_not_there_is_one_sentence(self, tab: Any, thread: str) -> None:
        at = tab("ada", thread=thread)
        at.switch_page("browse.py").run()
        assert not at.exception
        assert len(at.warning) == 1
        at = button_named(at, "Back to the list").click().run()
        assert "thread" not in at.query_params

    def test_a_state_that_is_not_there_says_so(self, said: Any, look: Look) -> None:
        at = look("ada", said("tell me"), checkpoint="nothing")
        assert "no such checkpoint" in texts(at)

    def test_asks_under_which_name_a_state_is_to_be_kept(self, said: Any, look: Look) -> None:
        at = button_named(look("ada", said("tell me")), "Snapshot this state").click().run()
        assert at.text_input(key="branches.asked").label == "Name"

    def test_that_was_compacted_says_how_many_states_there_were(self, said: Any, look: Look, opened: Skein) -> None:
        turn = said("tell me")
        told = len(opened.engine.read_states(person_named(opened, "ada"), turn.thread_id))
        opened._loop.run(compact(opened.saver, thread_id=turn.thread_id))
        assert f"1 state of {told} is kept" in texts(look("ada", turn))

    def test_its_branch_can_be_deleted_and_brought_back(self, said: Any, look: Look, opened: Skein) -> None:
        ada = person_named(opened, "ada")
        first = said("tell me")
        new = NewMessage("otherwise", conversation_id=first.conversation_id, agent_id="echo")
        other = answered(opened, ada, opened.engine.start(ada, new).thread_id)
        at = opened_popover(look("ada", other), "inspector.deleting")
        assert "1 message" in texts(at)
        at = button_named(at, "Delete").click().run()
        assert "no such" in texts(at)
        at = button_named(at, "Undo").click().run()
        assert "otherwise" in texts(at)

    def test_the_only_branch_says_why_it_stays(self, said: Any, look: Look) -> None:
        at = opened_popover(look("ada", said("tell me")), "inspector.deleting")
        at = button_named(at, "Delete").click().run()
        assert "only branch" in texts(at)
