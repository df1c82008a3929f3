"""Every way of going on from a message, as people do it, with reloads in between."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Hold, OpenTab, ask, bubbles, numbered, open_chat, wait_answer, wait_quiet
from tests.browser.live_server import LiveServer

pytestmark = pytest.mark.browser

_LANES = "[class*=st-key-chat_lane_]"


def choose(page: Page, way: str, *, at: int = -1) -> None:
    """Choose a way to go on at the n-th question."""
    menus = page.get_by_role("button", name="More ways to go on")
    (menus.last if at < 0 else menus.nth(at)).click()
    page.get_by_role("menuitem", name=way, exact=True).or_(page.get_by_text(way, exact=True)).last.click()


def edit(page: Page, text: str) -> None:
    choose(page, "Ask in other words")
    dialog = page.get_by_test_id("stDialog")
    dialog.get_by_role("textbox").fill(text)
    dialog.get_by_role("button", name="Send").click()
    expect(dialog).to_have_count(0)


def lane_words(lane: Locator) -> list[str]:
    return re.findall(r"\bw\d+\b", lane.inner_text())


def branch_of(page: Page) -> str:
    found = re.search(r"branch=(branch_\w+)", page.url)
    assert found, page.url
    return found[1]


class TestAskingInOtherWords:
    def test_ten_times_and_the_place_among_them_holds_after_a_reload(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "editor")
        ask(page, "Write 3 tokens")
        wait_answer(page, 3)
        for number in range(4, 14):
            edit(page, f"Write {number} tokens")
            assert wait_answer(page, number) == numbered(number)
        expect(page.get_by_text("11 / 11")).to_be_visible()
        page.keyboard.press("Alt+j")
        expect(page.get_by_text("10 / 11")).to_be_visible()
        page.reload()
        expect(page.get_by_text("10 / 11")).to_be_visible()
        assert wait_answer(page, 12) == numbered(12)

    def test_keeps_what_came_after_and_each_link_opens_its_branch(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "linker")
        ask(page, "Write 5 tokens")
        wait_answer(page, 5)
        ask(page, "Write 7 tokens")
        wait_answer(page, 7)
        wait_quiet(page)
        old = page.url
        edit(page, "写九个词 9 tokens")
        wait_answer(page, 9)
        expect(page.get_by_text("edit 2")).to_be_visible()
        another = open_chat(page.context, old)
        assert (wait_answer(another, 7), wait_answer(page, 9)) == (numbered(7), numbered(9))
        page.reload()
        assert wait_answer(page, 9) == numbered(9)
        page.locator(".st-key-chat_crumbs").get_by_role("button", name="main").click()
        expect(page.get_by_text("edit 2")).to_have_count(0)
        assert wait_answer(page, 7) == numbered(7)
        page.reload()
        assert (wait_answer(page, 7), page.url) == (numbered(7), old)


class TestBranchingFromHere:
    def test_goes_another_way_and_opens_there_next_time(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "brancher")
        ask(page, "Write 5 tokens")
        wait_answer(page, 5)
        ask(page, "Write 6 tokens")
        wait_answer(page, 6)
        wait_quiet(page)
        main = branch_of(page)
        choose(page, "Branch from here", at=0)
        expect(bubbles(page)).to_have_count(2)
        page.reload()
        expect(bubbles(page)).to_have_count(2)
        wait_quiet(page)
        ask(page, "Write 8 tokens")
        assert wait_answer(page, 8) == numbered(8)
        wait_quiet(page)
        assert branch_of(page) != main
        again = open_chat(page.context, server.base_url)
        again.get_by_role("button", name="Write 5 tokens").click()
        assert wait_answer(again, 8) == numbered(8)


class TestAskingSeveralAtOnce:
    def test_stream_side_by_side_survive_a_reload_and_one_is_picked(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "chooser")
        ask(page, "Write 5 tokens")
        wait_answer(page, 5)
        choose(page, "Ask several at once")
        dialog = page.get_by_test_id("stDialog")
        for temperature in ("0.2", "1.0"):
            dialog.get_by_role("combobox", name="Temperatures").click()
            page.get_by_role("option", name=temperature).click()
        expect(dialog.get_by_text("2 answers side by side")).to_be_visible()
        page.keyboard.press("Escape")
        dialog.get_by_role("button", name="Send").click()
        lanes = page.locator(_LANES)
        expect(lanes).to_have_count(2)
        page.reload()
        expect(lanes).to_have_count(2)
        expect(page.get_by_role("button", name="Go on from this one")).to_have_count(1)
        wait_quiet(page)
        assert [lane_words(lane) for lane in lanes.all()] == [numbered(5)] * 2
        first = branch_of(page)
        page.get_by_role("button", name="Go on from this one").click()
        expect(lanes.nth(1).get_by_role("button", name="You go on from here")).to_be_visible()
        ask(page, "Write 6 tokens")
        assert wait_answer(page, 6) == numbered(6)
        wait_quiet(page)
        assert branch_of(page) != first
        expect(lanes).to_have_count(0)

    def test_stream_at_the_same_time_and_stop_together(self, model_server, enter: OpenTab, hold: Hold) -> None:
        hold("400 tokens", after=12)
        page = enter(model_server, "halter")
        ask(page, "Write 400 tokens")
        page.get_by_role("button", name="Stop", exact=True).click()
        wait_quiet(page)
        choose(page, "Ask several at once")
        dialog = page.get_by_test_id("stDialog")
        for temperature in ("0.2", "1.0"):
            dialog.get_by_role("combobox", name="Temperatures").click()
            page.get_by_role("option", name=temperature).click()
        expect(dialog.get_by_text("2 answers side by side")).to_be_visible()
        page.keyboard.press("Escape")
        dialog.get_by_role("button", name="Send").click()
        lanes = page.locator(_LANES)
        for lane in (lanes.nth(0), lanes.nth(1)):
            expect(lane).to_contain_text("w12")
        page.get_by_role("button", name="Stop all").click()
        expect(page.get_by_text("Stopped; what had been said is kept.")).to_have_count(2)
        assert [lane_words(lane) for lane in lanes.all()] == [numbered(12)] * 2
