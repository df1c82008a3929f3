"""From an answer to its calls and back, and a log that grows while somebody looks at it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab, ask, numbered, wait_answer, wait_quiet
from tests.browser.live_server import LiveServer

pytestmark = pytest.mark.browser

_HEAD, _FIRST_ROW = 18, 55
"""Where the table's head and first row are, in pixels below its top."""


def click_table(page: Page, below: int) -> None:
    """Click so far below the table's top, in its first column: it is drawn on a canvas."""
    table = page.get_by_test_id("stDataFrame").last
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 100, box["y"] + below)


def open_first_call(page: Page) -> None:
    click_table(page, _FIRST_ROW)
    page.wait_for_url(re.compile(r"call=call_"))


class TestFromAnAnswerToItsCalls:
    def test_and_back_and_the_link_holds_after_a_reload(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "auditor")
        ask(page, "Write 12 tokens")
        assert wait_answer(page, 12) == numbered(12)
        link = page.get_by_role("link", name=re.compile(r"1 call · free · \d+ tokens"))
        expect(link).to_be_visible()
        link.click()
        expect(page.get_by_test_id("stMetric").first).to_contain_text("1")
        click_table(page, _HEAD)
        page.wait_for_url(re.compile(r"sort=oldest"))
        wait_quiet(page)
        open_first_call(page)
        page.reload()
        expect(page.get_by_text("What the model saw and said")).to_be_visible()
        expect(page.get_by_text("Write 12 tokens").first).to_be_visible()
        page.get_by_role("link", name=re.compile("In the chat")).click()
        assert wait_answer(page, 12) == numbered(12)

    def test_a_new_call_appears_without_a_reload(self, server: LiveServer, enter: OpenTab) -> None:
        page, looking = enter(server, "talker"), enter(server, "talker")
        ask(page, "Write 5 tokens")
        wait_answer(page, 5)
        looking.get_by_role("link", name="Calls").click()
        expect(looking.get_by_test_id("stMetric").first).to_contain_text("1")
        wait_quiet(page)
        ask(page, "Write 6 tokens")
        wait_answer(page, 6)
        # The page looks again after ten times as long as it took to draw, which the first time may be seconds.
        expect(looking.get_by_test_id("stMetric").first).to_contain_text("2", timeout=80_000)
