"""The older approval form, pauses with another state, and what runs again: as people see and decide them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from core.access.viewer import Viewer
from core.history.approvals import ApprovalRow
from core.history.turns import Turn
from core.settings import Settings
from core.skein import Skein
from tests.conftest import make_settings
from tests.core.support import ROOT, answered, ask, follow, status_of
from tests.pages.conftest import OpenTab, person_named, texts, written_in
from tests.pages.test_approvals import clean, desk, key, keys, now_of, press, rows_of

Waiting = Callable[..., tuple[Turn, ApprovalRow]]
NAMES = ("inbox_one", "inbox_two", "inbox_narrow", "before", "node_interrupt", "tool_node")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    graphs = ROOT / "tests" / "graphs"
    listed = {name: f"{graphs / 'pausing.py'}:{name}" for name in NAMES}
    listed["inbox"] = f"{graphs / 'foreign' / 'inbox.py'}:graph"
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": listed}))
    return make_settings(tmp_path, langgraph_json=path)


@pytest.fixture
def ada(opened: Skein) -> Viewer:
    return person_named(opened, "ada")


@pytest.fixture
def waiting(opened: Skein, ada: Viewer) -> Waiting:
    def wait(agent: str, text: str = "hi") -> tuple[Turn, ApprovalRow]:
        turn = ask(opened, ada, text, agent=agent)
        follow(opened, ada, turn.thread_id)
        assert status_of(opened, ada, turn.thread_id) == "waiting"
        return turn, rows_of(opened, ada, turn)[0]

    return wait


def done(skein: Skein, viewer: Viewer, row: ApprovalRow) -> Turn:
    follow(skein, viewer, row.thread_id)
    return answered(skein, viewer, row.thread_id)


class TestTheOlderForm:
    def test_has_its_own_words_and_what_its_config_allows(self, tab: OpenTab, waiting: Waiting) -> None:
        _, row = waiting("inbox")
        at = desk(tab)
        labels = {name: at.button(key=key(row, name)).label for name in ("approve", "edit", "answer", "refuse")}
        assert labels == {"approve": "Accept", "edit": "Edit arguments", "answer": "Respond", "refuse": "Ignore"}
        assert "Send this mail?" in texts(at)

    def test_offers_nothing_else(self, tab: OpenTab, waiting: Waiting) -> None:
        _, row = waiting("inbox_narrow")
        assert keys(desk(tab), row) == {"approve", "answer", "stop"}

    def test_its_description_is_text(self, tab: OpenTab, waiting: Waiting) -> None:
        waiting("inbox_one")
        at = desk(tab)
        assert any("# Send this?" in text and "<b>look</b>" in text for text in written_in(at))

    def test_accepted(self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer) -> None:
        _, row = waiting("inbox")
        at = press(desk(tab), row, "approve")
        assert "You approved send\\_mail" in texts(at)
        assert done(opened, ada, row).answer == "accept: None"

    def test_edited_with_before_and_after_on_record(
        self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer
    ) -> None:
        _, row = waiting("inbox_one")
        at = press(desk(tab), row, "edit")
        at.text_area[0].set_value('{"to": "b@example.org", "copies": 2}')
        press(at, row, "send.edit")
        assert "'copies': 2" in done(opened, ada, row).answer
        record = now_of(opened, ada, row)
        assert record.arguments_after == {"to": "b@example.org", "copies": 2}
        at = desk(tab, tab="decided")
        assert "ada approved send\\_mail with other arguments" in at.expander[0].label

    @pytest.mark.parametrize(
        ("name", "typed", "answer"), [("answer", "wait", "response: wait"), ("refuse", "spam", "ignore: None")]
    )
    def test_responded_and_ignored(
        self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer, name: str, typed: str, answer: str
    ) -> None:
        _, row = waiting("inbox")
        at = press(desk(tab), row, name)
        at.text_area(key=key(row, f"{name}.0.field")).set_value(typed)
        press(at, row, f"send.{name}")
        assert done(opened, ada, row).answer == answer

    def test_several_are_decided_together(self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer) -> None:
        _, row = waiting("inbox_two")
        press(desk(tab), row, "approve")
        assert done(opened, ada, row).answer.count("'accept'") == 2


class TestAPause:
    def test_goes_on_with_the_state_that_was_edited(
        self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer
    ) -> None:
        turn, row = waiting("before", "winter")
        at = press(desk(tab), row, "edit")
        at = clean(at.multiselect(key=key(row, "state.field.keys")).set_value(["topic"]).run())
        field = at.text_area(key=key(row, "state.field.part.topic"))
        assert field.value == '"winter"'
        field.set_value('"snow"')
        at = press(at, row, "send.state")
        assert "The run goes on with the edited state." in texts(at)
        ended = done(opened, ada, row)
        assert (ended.thread_id, ended.answer) == (turn.thread_id, "1 of snow")
        at = desk(tab, approval=row.approval_id)
        assert "What was changed before it went on" in texts(at)
        assert "ada let it go on with another state" in at.expander[0].label

    @pytest.mark.parametrize(
        ("part", "typed", "sentence"),
        [
            ("topic", "snow", "is no JSON"),
            ("count", '"many"', "'count' does not fit"),
            ("count", "1", "Nothing has been changed yet"),
        ],
    )
    def test_what_cannot_be_used_is_said_and_stays(
        self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer, part: str, typed: str, sentence: str
    ) -> None:
        _, row = waiting("before", "winter")
        at = press(desk(tab), row, "edit")
        at = clean(at.multiselect(key=key(row, "state.field.keys")).set_value([part]).run())
        at.text_area(key=key(row, f"state.field.part.{part}")).set_value(typed)
        at = press(at, row, "send.state")
        assert [sentence in error.value for error in at.error] == [True]
        assert at.text_area(key=key(row, f"state.field.part.{part}")).value == typed
        assert now_of(opened, ada, row).is_waiting

    def test_one_that_a_node_raised_says_why(
        self, tab: OpenTab, waiting: Waiting, opened: Skein, ada: Viewer
    ) -> None:
        turn, row = waiting("node_interrupt", "a long winter")
        at = clean(tab("ada", conversation=turn.conversation_id))
        assert "The topic has 13 letters." in texts(at)
        assert keys(at, row) == {"approve", "edit", "refuse"}
        at = press(at, row, "approve")
        done(opened, ada, row)
        [_, again] = rows_of(opened, ada, turn)
        at = press(clean(at.run()), again, "edit")
        at = clean(at.multiselect(key=key(again, "state.field.keys")).set_value(["topic"]).run())
        at.text_area(key=key(again, "state.field.part.topic")).set_value('"snow"')
        press(at, again, "send.state")
        assert done(opened, ada, again).answer == "1 of snow"


class TestWhatRunsAgain:
    def test_is_named_to_whoever_lets_it_go_on(self, tab: OpenTab, waiting: Waiting, tmp_path: Path) -> None:
        waiting("tool_node", str(tmp_path / "lines"))
        [warning] = desk(tab).warning
        assert "**count**" in warning.value
        assert "run a second time" in warning.value

    def test_others_say_nothing(self, tab: OpenTab, waiting: Waiting) -> None:
        waiting("inbox")
        assert len(desk(tab).warning) == 0
