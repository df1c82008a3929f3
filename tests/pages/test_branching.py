"""Going another way in the chat: the same question again, or in other words, and changing between the versions."""

from tests.pages.conftest import said, say, texts

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
    def test_can_be_changed_between_by_an_analyst_but_not_asked_anew(self, tab) -> None:
        at = say(tab("ada"), "Write 10 tokens")
        ways(at).click(AGAIN).run()
        ann = tab("ann", role="analyst", branch=at.query_params["branch"])
        assert "2 / 2" in texts(ann)
        assert [menu.key for menu in ann.menu_button if (menu.key or "").startswith("chat.ways.")] == []

    def test_is_not_there_for_another_member(self, tab) -> None:
        at = say(tab("ada"), "Write 10 tokens")
        ways(at).click(AGAIN).run()
        ben = tab("ben", branch=at.query_params["branch"])
        assert (said(ben), "2 / 2" in texts(ben)) == ([], False)
