"""The Branches page: the tree as it is told, what can be done with a message, its states, and a comparison."""

import json
from datetime import datetime

import pytest
from streamlit.testing.v1 import AppTest

from core.access.viewer import Viewer
from core.calls.listing.sums import ThreadCalls
from core.history.branches import list_branches
from core.history.differences import Piece
from core.history.messages import Added, NewMessage
from core.history.snapshots import list_snapshots
from core.history.tree import get_tree
from core.history.turns import Turn, get_turn
from core.ids import MessageId, new_conversation_id, new_message_id
from core.records.compare import Totals
from core.runs.branching import edit, regenerate, snapshot
from core.runs.execute import StateStep
from core.skein import Skein
from pages.parts.branches.compare_view import totals_rows
from pages.parts.branches.message_actions import file_stem
from pages.parts.branches.time_machine import describe_step, find_step, step_at
from pages.parts.branches.tree_colours import ColourBy
from pages.parts.branches.tree_data import cost_of
from pages.parts.branches.tree_url import read_place
from pages.parts.branches.tree_view import found_words, jump
from pages.parts.forms.state_edits import read_edits
from pages.parts.ui.diff_view import in_words, words_html
from pages.parts.ui.page_paths import BRANCHES
from tests.conftest import make_settings
from tests.pages.conftest import FRAME, button_named, has_button, person_named, said, texts

MOMENT = datetime(2026, 11, 21, 3, 42)  # noqa: DTZ001 - a wall clock
TEN = "Write 10 tokens"
TWO = [MessageId(f"msg_179523255000{number}_FGBG6P1Q0KP5") for number in (1, 2)]


class Grown:
    """A conversation of ada's: three messages in a row, the second one asked in other words, the last again."""

    def __init__(self, skein: Skein) -> None:
        self.skein, self.ada = skein, person_named(skein, "ada")
        self.first = self._say(TEN)
        self.second = self._say("苹果和梨, 5 tokens", self.first)
        self.third = self._say("And plums, 5 tokens", self.second)
        self.edited = self._wait(edit(skein.engine, self.ada, self.second.message_id, "Cherries, 5 tokens"))
        self.again = self._wait(regenerate(skein.engine, self.ada, self.third.message_id))

    @property
    def conversation(self) -> str:
        return self.first.conversation_id

    @property
    def names(self) -> list[str]:
        with self.skein.database.read() as db:
            return [branch.name for branch in list_branches(self.ada, db, self.first.conversation_id)]

    @property
    def size(self) -> int:
        with self.skein.database.read() as db:
            return len(get_tree(self.ada, db, self.first.conversation_id).nodes)

    @property
    def snapshots(self) -> list[str]:
        with self.skein.database.read() as db:
            return [row.name for row in list_snapshots(self.ada, db, self.first.conversation_id)]

    def turn(self, message_id: MessageId) -> Turn:
        with self.skein.database.read() as db:
            return get_turn(self.ada, db, message_id)

    def _say(self, text: str, above: Added | None = None) -> Added:
        place = {"conversation_id": above.conversation_id, "parent_message_id": above.message_id} if above else {}
        return self._wait(self.skein.engine.start(self.ada, NewMessage(text, **place)))

    def _wait(self, added: Added) -> Added:
        follow(self.skein, self.ada, added)
        return added


def follow(skein: Skein, viewer: Viewer, added: Added) -> None:
    for _ in skein.engine.attach(viewer, added.thread_id):
        pass


@pytest.fixture
def grown(opened: Skein) -> Grown:
    return Grown(opened)


@pytest.fixture
def branches(tab):
    """Opens the page: ``branches("ada", conversation=...)``."""

    def open_page(name: str, *, role: str = "member", **query: str) -> AppTest:
        at = tab(name, role=role)
        at.switch_page(str(BRANCHES.relative_to(FRAME.parent)))
        for key, value in query.items():
            at.query_params[key] = value
        return at.run()

    return open_page


def menu(at: AppTest, key: str):
    return at.menu_button(key=key)


def options_of(at: AppTest, key: str) -> list[str]:
    return list(menu(at, key).options)


class TestTheTree:
    def test_it_is_told_in_figures_and_the_head_of_the_path_is_chosen(self, branches, grown):
        at = branches("ada", conversation=grown.conversation)
        assert at.exception.values == []
        assert "5 messages · 3 branches · 2 forks · 3 deep · free" in texts(at)
        assert "And plums, 5 tokens" in texts(at)

    def test_the_list_has_every_message_and_a_line_chooses_it(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, view="list")
        rows = [button for button in at.button if (button.key or "").startswith("branches.row.")]
        assert len(rows) == 5
        at.button(key=f"branches.row.{grown.edited.message_id}").click().run()
        assert at.query_params["node"] == grown.edited.message_id
        assert "asked in other words" in texts(at)

    def test_a_search_finds_chinese_words_and_jumps_there(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=grown.third.message_id)
        at.text_input(key="branches.widget.find").set_value("苹果").run()
        assert at.query_params["find"] == "苹果"
        button_named(at, "Next find").click().run()
        assert at.query_params["node"] == grown.second.message_id

    def test_without_a_conversation_the_recent_ones_are_offered(self, branches, grown):
        at = branches("ada")
        assert "Which conversation would you like to see as a tree?" in texts(at)
        at.button(key=f"branches.choose.{grown.conversation}").click().run()
        assert at.query_params["conversation"] == grown.conversation
        assert "5 messages" in texts(at)
        assert "Begin one in the chat." in texts(branches("ben"))


class TestLinksThatLeadNowhere:
    @pytest.mark.parametrize("key", ["conversation", "branch", "node", "compare"])
    @pytest.mark.parametrize("value", ["' OR 1=1 --", "对话" * 300])
    def test_a_bad_one_is_one_sentence_and_the_rest_is_left(self, branches, grown, key, value):
        at = branches("ada", **{"conversation": grown.conversation, key: value})
        assert at.exception.values == []
        assert len(at.warning) == 1

    @pytest.mark.parametrize(("key", "value"), [("colour", "mood"), ("view", "spiral"), ("checkpoint", "never")])
    def test_so_is_a_way_of_showing_it_that_there_is_not(self, branches, grown, key, value):
        at = branches("ada", conversation=grown.conversation, **{key: value})
        assert at.exception.values == []
        assert len(at.warning) == 1
        assert "5 messages" in texts(at)

    def test_a_message_of_nowhere_leaves_the_tree(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=new_message_id())
        assert [warning.value for warning in at.warning] == [
            "There is no such message in this conversation; it may have been deleted."
        ]
        assert "5 messages" in texts(at)


class TestSomebodyElses:
    def test_it_is_not_there_for_another_member(self, branches, grown):
        his = branches("ben", conversation=grown.conversation)
        missing = branches("ben", conversation=new_conversation_id())
        assert [warning.value for warning in his.warning] == [warning.value for warning in missing.warning]
        assert "tokens" not in texts(his)

    @pytest.mark.parametrize("key", ["branch", "node"])
    def test_nor_by_what_is_in_it(self, branches, grown, key):
        value = {"branch": grown.first.branch_id, "node": grown.first.message_id}[key]
        assert "tokens" not in texts(branches("ben", **{key: value}))

    @pytest.mark.parametrize("role", ["analyst", "admin"])
    def test_an_analyst_reads_all_of_it_and_changes_nothing(self, branches, grown, role):
        at = branches(
            "ann", role=role, conversation=grown.conversation, node=grown.second.message_id, checkpoint="last"
        )
        assert "by ada" in texts(at)
        assert "Time machine" in texts(at)
        keys = {element.key for element in [*at.button, *at.menu_button] if element.key}
        assert keys & {"branches.ways", "branches.snapshot", "branches.machine.snapshot"} == set()
        assert not has_button(at, "Fork")
        assert options_of(at, f"branches.menu.{grown.first.branch_id}") == ["Open in chat", "Star", "Note"]

    def test_their_star_is_their_own(self, branches, grown):
        where = {"conversation": grown.conversation, "node": grown.second.message_id}
        at = branches("ann", role="analyst", **where)
        at.button(key="branches.star").click().run()
        assert has_button(at, "Starred")
        assert not has_button(branches("ada", **where), "Starred")


class TestTheBranches:
    def test_its_new_name_is_asked_for(self, branches, grown):
        at = branches("ada", conversation=grown.conversation)
        menu(at, f"branches.menu.{grown.edited.branch_id}").click("Rename").run()
        assert at.text_input(key="branches.asked").value == "edit 2"

    def test_one_is_put_aside_and_taken_up_again(self, branches, grown):
        at = branches("ada", conversation=grown.conversation)
        key = f"branches.menu.{grown.edited.branch_id}"
        menu(at, key).click("Archive").run()
        assert "archived" in at.button(key=f"branches.open.{grown.edited.branch_id}").label
        menu(at, key).click("Take out of the archive").run()
        assert "archived" not in at.button(key=f"branches.open.{grown.edited.branch_id}").label

    def test_a_deletion_can_be_taken_back(self, branches, grown):
        at = branches("ada", conversation=grown.conversation)
        menu(at, f"branches.menu.{grown.edited.branch_id}").click("Delete").run()
        assert (grown.size, "edit 2" in grown.names) == (4, False)
        at.button(key="branches.undo").click().run()
        assert (grown.size, "edit 2" in grown.names) == (5, True)

    def test_the_only_one_stays_and_that_is_said(self, branches, opened):
        ada = person_named(opened, "ada")
        added = opened.engine.start(ada, NewMessage(TEN))
        follow(opened, ada, added)
        at = branches("ada", conversation=added.conversation_id)
        menu(at, f"branches.menu.{added.branch_id}").click("Delete").run()
        assert "This is the conversation's only branch" in at.warning[0].value


class TestAMessage:
    def test_it_is_answered_again_beside_itself(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=grown.second.message_id)
        menu(at, "branches.ways").click("Answer again").run()
        new = at.query_params["node"]
        assert (grown.turn(new).kind, grown.turn(new).parent_message_id) == ("regenerate", grown.first.message_id)

    def test_its_words_are_there_to_be_changed(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=grown.second.message_id)
        menu(at, "branches.ways").click("Ask in other words").run()
        assert at.text_area(key="branches.asked").value == "苹果和梨, 5 tokens"

    def test_a_state_with_a_name_is_opened_by_it_until_that_is_forgotten(self, branches, grown):
        snapshot(grown.skein.engine, grown.ada, grown.second.thread_id, "ripe")
        at = branches("ada", conversation=grown.conversation, node=grown.second.message_id)
        button_named(at, "ripe").click().run()
        assert "Time machine" in texts(at)
        button_named(at, "Delete").click().run()
        assert grown.snapshots == []

    def test_a_branch_from_it_opens_in_the_chat(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=grown.first.message_id)
        menu(at, "branches.ways").click("Branch from here").run()
        assert len(grown.names) == 4
        assert [message.name for message in at.chat_message] == ["user", "assistant"]

    def test_where_its_state_came_from_leads_there(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=grown.third.message_id)
        at.button(key="branches.source").click().run()
        assert at.query_params["node"] == grown.second.message_id
        assert "Time machine" in texts(at)


class TestADialog:
    def test_what_cannot_be_done_is_said_there_and_nothing_typed_is_lost(self):
        def script():
            from core.errors import BadInputError
            from pages.parts.ui import state
            from pages.parts.ui.text_dialog import ask

            def keep(name: str) -> None:
                if name == "taken":
                    raise BadInputError("This name is taken.")
                state.put("tests.kept", name)

            ask("Name it", "Name", keep, value="first", hint="What people call it")

        at = AppTest.from_function(script).run()
        at.text_input(key="branches.asked").set_value("taken")
        button_named(at, "Save").click().run()
        assert ([error.value for error in at.error], at.text_input[0].value) == (["This name is taken."], "taken")
        at.text_input(key="branches.asked").set_value("free")
        button_named(at, "Save").click().run()
        assert (at.session_state["tests.kept"], at.error.values) == ("free", [])


class TestTheTimeMachine:
    def open(self, branches, grown, **query):
        where = {"conversation": grown.conversation, "node": grown.second.message_id, "checkpoint": "last"}
        return branches("ada", **(where | query))

    def test_it_steps_back_and_tells_what_changed(self, branches, grown):
        at = self.open(branches, grown)
        assert "**messages\\[3\\]**" in texts(at)
        button_named(at, "Previous state").click().run()
        assert at.query_params["checkpoint"] != "last"
        assert "**messages\\[2\\]**" in texts(at)
        assert at.exception.values == []

    def test_at_the_end_of_a_run_something_has_to_be_said(self, branches, grown):
        at = self.open(branches, grown)
        button_named(at, "Fork").click().run()
        assert "type what to say next" in at.error[0].value
        text = next(area for area in at.text_area if area.label == "What to say next")
        text.set_value("Pears only, 5 tokens")
        button_named(at, "Fork").click().run()
        assert len(grown.names) == 4
        assert said(at)[-2:][0][1] == "Pears only, 5 tokens"

    def test_in_the_middle_of_a_run_an_edited_state_goes_on_with_the_same_message(self, branches, grown):
        at = self.open(branches, grown)
        for _ in range(2):
            button_named(at, "Previous state").click().run()
        at.toggle[0].set_value(True).run()
        at.multiselect[0].select("messages").run()
        area = next(area for area in at.text_area if area.label.startswith("messages"))
        written = json.loads(area.value)
        area.set_value(area.value[:-2])
        button_named(at, "Fork").click().run()
        assert "The new value of 'messages' is no JSON" in at.error[0].value
        area = next(area for area in at.text_area if area.label.startswith("messages"))
        written[0]["content"] = "Write 99 tokens"
        area.set_value(json.dumps(written))
        button_named(at, "Fork").click().run()
        assert len(grown.names) == 4
        assert grown.size == 6

    def test_a_state_that_never_was_is_said_and_the_last_one_shown(self, branches, grown):
        at = self.open(branches, grown, checkpoint="1f1e55d9-58c6-619f-8009-d652801348b9")
        assert at.warning[0].value.endswith("This is the last state.")
        assert "**messages\\[3\\]**" in texts(at)


class TestWhatWasClearedAway:
    @pytest.fixture
    def settings(self, tmp_path):
        return make_settings(tmp_path, compact_after_days=0)

    def test_the_states_that_are_left_are_shown_and_it_is_said_that_there_were_more(self, branches, grown):
        first = grown.skein.engine.read_states(grown.ada, grown.third.thread_id)[1].checkpoint_id
        grown.skein.housekeeper.compact()
        where = {"conversation": grown.conversation, "node": grown.third.message_id}
        at = branches("ada", **where, checkpoint="last")
        assert "1 state of 3 is kept; the others were cleared away some time after the answer." in texts(at)
        gone = branches("ada", **where, checkpoint=first)
        assert "That state was cleared away some time after the answer" in gone.warning[0].value
        assert "This is the last state." in gone.warning[0].value


class TestComparing:
    def test_the_second_one_is_chosen_after_the_first(self, branches, grown):
        at = branches("ada", conversation=grown.conversation, node=grown.second.message_id, view="list")
        at.button(key="branches.compare").click().run()
        assert "Choose the second message" in texts(at)
        at.button(key=f"branches.row.{grown.edited.message_id}").click().run()
        assert at.query_params["compare"] == grown.edited.message_id
        assert "Side by side" in texts(at)
        assert button_named(at, "They part after “Write 10 tokens”")

    def test_a_message_with_itself_is_said(self, branches, grown):
        one = grown.second.message_id
        at = branches("ada", conversation=grown.conversation, node=one, compare=one)
        assert "This is the same message twice" in texts(at)

    def test_totals_say_by_how_much_they_differ(self):
        one = Totals(1, 2.0, 3, 0, 0, 10, 20, 0, 0.5, 0)
        other = Totals(2, 2.0, 3, 0, 1, 30, 5, 0, None, 3)
        rows = {row["Since they part"]: row["Difference"] for row in totals_rows(one, other)}
        assert rows == {
            "Messages": "+1",
            "Tokens in": "+20",
            "Tokens out": "−15",
            "Cost": "–",
            "Time": "same",
            "LLM calls": "same",
            "Errors": "+1",
        }


class TestWhatDiffers:
    def test_text_is_never_html(self):
        pieces = [Piece("same", "<b>"), Piece("gone", "<script>"), Piece("new", "& more")]
        assert words_html(pieces) == "&lt;b&gt;<del>&lt;script&gt;</del><ins>&amp; more</ins>"
        assert words_html(pieces, without="gone") == "&lt;b&gt;<ins>&amp; more</ins>"

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("", "(empty text)"),
            ({"type": "human", "content": "Hello"}, "human: Hello"),
            ({"a": 1, "b": 2}, "{ a, b }"),
            ([1, 2], "2 items"),
            (None, "None"),
        ],
    )
    def test_a_value_is_told_in_a_line(self, value, words):
        assert in_words(value) == words


class TestTheAddress:
    def test_what_is_not_understood_costs_a_sentence_each(self):
        place = read_place({"colour": ["mood"], "node": ["x"], "view": ["list"]})
        assert (place.colour, place.node, place.view, len(place.problems)) == (ColourBy.STATUS, None, "list", 2)

    def test_a_second_message_may_be_yet_to_be_chosen(self):
        assert read_place({"compare": ["choose"]}).is_choosing
        assert read_place({"compare": [TWO[0]]}).compare == TWO[0]

    def test_jumps_go_round(self):
        assert jump([*TWO], TWO[1], 1) == TWO[0]
        assert jump([*TWO], TWO[0], -1) == TWO[1]
        assert jump([TWO[1]], TWO[0], 1) == TWO[1]
        assert jump([TWO[0]], TWO[1], -1) == TWO[0]
        assert jump([TWO[0]], TWO[0], 1) is None
        assert (found_words([], TWO[0]), found_words([*TWO], TWO[1])) == ("Not found", "2 of 2")


def step(checkpoint_id: str, *, source: str = "loop", number: int = 1, then: tuple[str, ...] = ()) -> StateStep:
    return StateStep(checkpoint_id, number, source, None, then, {"a": 1, "b": "two"}, {})


class TestSmallThings:
    def test_steps_are_found_and_told(self):
        steps = [step("one", source="input", number=-1, then=("work",)), step("two")]
        assert [find_step(steps, wanted) for wanted in ("one", "last", "none")] == [0, 1, None]
        told = [describe_step(number, each) for number, each in enumerate(steps, start=1)]
        assert told == ["1 · the message came in · next: work", "2 · after step 1 · the end"]

    def test_the_state_as_of_a_time_is_the_last_one_written_by_then(self):
        times = [MOMENT, MOMENT.replace(second=10), MOMENT.replace(second=20)]
        asked = [MOMENT, MOMENT.replace(second=19), MOMENT.replace(second=59)]
        assert [step_at(times, moment) for moment in asked] == [0, 1, 2]

    def test_edits_leave_out_what_is_as_before(self):
        edits, problems = read_edits({"a": "1", "b": '"three"', "c": "[1"}, step("one").values)
        assert edits == {"b": "three"}
        assert problems == ["The new value of 'c' is no JSON: expecting ',' delimiter, at line 1, column 3."]

    def test_edits_leave_alone_what_was_not_written_and_say_what_is_too_deep(self):
        deep = "[" * 100_000 + "]" * 100_000
        edits, problems = read_edits({"a": "", "b": deep}, {"a": {"too_large": "60,000 bytes"}, "b": 1})
        assert (edits, problems) == ({}, ["The new value of 'b' is nested too deeply."])

    def test_costs_are_never_nothing_when_they_are_not_known(self):
        assert cost_of(ThreadCalls(calls=3, unpriced=2)) == "unpriced"
        assert cost_of(ThreadCalls(calls=3, unpriced=2, cost_usd=0.5)) == "at least $0.50"
        assert cost_of(ThreadCalls(calls=1)) == "free"

    @pytest.mark.parametrize(
        ("title", "stem"), [("A/B: *test*", "A-B-test"), ("河流 与 山", "河流-与-山"), ("…", "branch")]
    )
    def test_a_title_becomes_a_file_name(self, title, stem):
        assert file_stem(title) == stem
