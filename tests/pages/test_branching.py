"""Going another way in the chat: the same question again, or in other words, and changing between the versions."""

import pytest

from pages.parts.chat.side_by_side import in_rows
from pages.parts.chat.variants import to_variants
from tests.pages.conftest import opened_popover, said, say, texts

TEN = " ".join(f"w{number}" for number in range(1, 11))
AGAIN, EDIT = "Answer again", "Ask in other words"


def ways(at, number: int = 0):
    """The menu below the n-th question."""
    keys = [menu.key for menu in at.menu_button if (menu.key or "").startswith("chat.ways.")]
    return at.menu_button(key=keys[number])


def switch(at, way: str):
    keys = [button.key for button in at.button if (button.key or "").startswith(f"chat.chevron_{way}.")]
    return at.button(key=keys[-1])


class TestAnswerAgain:
    def test_the_new_answer_stands_beside_the_old_one_and_one_can_change_between_them(self, tab) -> None:
        at = say(tab("ada"), "Write 10 tokens")
        ways(at).click(AGAIN).run()
        assert said(at) == [("user", "Write 10 tokens"), ("assistant", TEN)]
        assert "2 / 2" in texts(at)
        newest = at.query_params["branch"]
        switch(at, "left").click().run()
        assert "1 / 2" in texts(at)
        assert at.query_params["branch"] != newest
        again = tab("ada", branch=at.query_params["branch"])
        assert ("1 / 2" in texts(again), said(again)) == (True, said(at))

    def test_what_came_after_stays_with_the_old_version(self, tab) -> None:
        at = say(say(tab("ada"), "Write 10 tokens"), "What did I say first?")
        ways(at, 0).click(AGAIN).run()
        assert len(said(at)) == 2
        switch(at, "left").click().run()
        assert len(said(at)) == 4


class TestSomebodyElses:
    def test_can_be_looked_at_by_an_analyst_but_not_asked_anew(self, tab) -> None:
        at = say(tab("ada"), "Write 10 tokens")
        ways(at).click(AGAIN).run()
        ann = tab("ann", role="analyst", branch=at.query_params["branch"])
        assert "2 / 2" in texts(ann)
        assert ways(ann).options == ["Copy", "Star", "Show in the tree"]

    def test_is_not_there_for_another_member(self, tab) -> None:
        at = say(tab("ada"), "Write 10 tokens")
        ways(at).click(AGAIN).run()
        ben = tab("ben", branch=at.query_params["branch"])
        assert (said(ben), "2 / 2" in texts(ben)) == ([], False)


class TestBranchFromHere:
    def test_ends_there_and_goes_another_way(self, tab) -> None:
        at = say(say(tab("ada"), "Write 10 tokens"), "What did I say first?")
        main = at.query_params["branch"]
        ways(at, 0).click("Branch from here").run()
        assert (len(said(at)), at.query_params["branch"] == main) == (2, False)
        assert "**beside 2**" in texts(at)
        say(at, "Write 10 tokens")
        assert (len(said(at)), len(said(tab("ada", branch=main)))) == (4, 4)
        assert at.query_params["branch"] != main

    def test_opens_again_where_one_looked_last(self, tab) -> None:
        at = say(say(tab("ada"), "Write 10 tokens"), "What did I say first?")
        conversation = at.query_params["conversation"]
        ways(at, 0).click("Branch from here").run()
        assert len(said(tab("ada", conversation=conversation))) == 2


class TestStars:
    def test_are_put_on_and_taken_off(self, tab) -> None:
        at = say(tab("ada"), "Write 10 tokens")
        assert ":material/star:" not in texts(at)
        ways(at).click("Star").run()
        assert ":material/star:" in texts(at)
        ways(at).click("Take the star off").run()
        assert ":material/star:" not in texts(at)


class TestSeveralAtOnce:
    def test_are_sent_to_each_once_and_one_is_picked(self, tab) -> None:
        at = opened_popover(say(tab("ada"), "Write 10 tokens"), "chat.options")
        at.multiselect(key="chat.fan.temperatures").set_value([0.0, 1.0]).run()
        assert "The next message goes to 0, 1" in texts(at)
        say(at, "Write 10 tokens")
        lanes = [button for button in at.button if (button.key or "").startswith("chat.pick.")]
        assert [(lane.label, lane.disabled) for lane in lanes] == [
            ("You go on from here", True),
            ("Go on from this one", False),
        ]
        first = at.query_params["branch"]
        lanes[1].click().run()
        assert at.query_params["branch"] != first
        assert at.slider(key="chat.temperature").value == 1.0
        say(at, "What did I say first?")
        assert (len(said(at)), at.query_params["branch"] == first) == (6, False)

    @pytest.mark.parametrize("stays_open", [True, False])
    def test_are_asked_for_one_message_alone(self, tab, stays_open: bool) -> None:
        at = opened_popover(tab("ada"), "chat.options")
        at.multiselect(key="chat.fan.temperatures").set_value([0.0, 1.0]).run()
        at.session_state["chat.options"] = stays_open
        say(at, "Write 10 tokens")
        at.run()
        assert ":material/splitscreen_right: The next" not in texts(at)
        say(at, "Write 5 tokens")
        assert [button.key for button in at.button if (button.key or "").startswith("chat.pick.")] == []
        at = opened_popover(at, "chat.options")
        chosen = [box.value for box in at.multiselect if (box.key or "").startswith("chat.fan.temperatures")]
        assert chosen == [[]]

    def test_can_be_taken_back(self, tab) -> None:
        at = opened_popover(say(tab("ada"), "Write 10 tokens"), "chat.options")
        at.multiselect(key="chat.fan.temperatures").set_value([0.0, 1.0]).run()
        at.button(key="chat.fan.forget").click().run()
        say(at, "Write 10 tokens")
        assert len(said(at)) == 4

    def test_have_names_that_tell_them_apart(self) -> None:
        assert list(to_variants(["a", "b"], [0.0, 0.5], [])) == ["a · 0", "a · 0.5", "b · 0", "b · 0.5"]
        assert list(to_variants(["a"], [0.0, 0.5], [])) == ["0", "0.5"]
        assert list(to_variants([], [], ["x", "y"])) == ["x", "y"]

    def test_stand_in_rows_that_are_even(self) -> None:
        assert [[len(row) for row in in_rows(list(range(n)), 3)] for n in (2, 3, 4, 5, 8)] == [  # type: ignore[arg-type]
            [2],
            [3],
            [2, 2],
            [3, 2],
            [3, 3, 2],
        ]
