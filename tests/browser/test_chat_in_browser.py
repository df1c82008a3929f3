"""What people see when they chat: answers arrive, survive what happens to a page, and can be stopped."""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import (
    Hold,
    OpenTab,
    ask,
    bubbles,
    numbered,
    open_chat,
    wait_answer,
    wait_quiet,
    wait_words,
    words,
)
from tests.browser.live_server import PASSWORD, CuttableLine, LiveServer, wait_until

pytestmark = pytest.mark.browser


class TestTheFirstMinute:
    def test_the_set_up_link_makes_the_first_admin_who_chats_at_once(self, own_server, contexts):
        page = contexts().new_page()
        page.goto(own_server.setup_link)
        page.fill("[name=name]", "Ada")
        page.fill("[name=password]", PASSWORD)
        page.fill("[name=again]", PASSWORD)
        page.click("[type=submit]")
        page.wait_for_selector("[data-testid=stChatInput]")
        expect(page.get_by_role("button", name="ada · admin")).to_be_visible()
        ask(page, "Write 60 tokens")
        early = wait_words(page, 3)
        assert early == numbered(len(early))
        assert wait_answer(page, 60) == numbered(60)
        expect(page.get_by_text("Offline demo · no language model")).to_be_visible()


class TestAnAnswerOutlivesItsPage:
    def test_a_reload_in_the_middle_goes_on_and_ends_whole(self, model_server, enter: OpenTab, hold: Hold):
        go = hold("100 tokens", after=10)
        page = enter(model_server, "reloader")
        ask(page, "Write 100 tokens")
        wait_words(page, 10)
        page.reload()
        assert wait_words(page, 10) == numbered(10)
        go.set()
        assert wait_answer(page, 100) == numbered(100)

    def test_going_to_running_now_and_back_loses_nothing(self, model_server, enter: OpenTab, hold: Hold):
        go = hold("160 tokens", after=10)
        page = enter(model_server, "walker")
        ask(page, "Write 160 tokens")
        wait_words(page, 10)
        page.get_by_role("link", name="Running now").click()
        expect(page.get_by_text(re.compile(r"at work · .* tokens/s"))).to_be_visible()
        page.get_by_test_id("stMainBlockContainer").get_by_role("link", name="Open").click()
        assert wait_words(page, 10) == numbered(10)
        go.set()
        assert wait_answer(page, 160) == numbered(160)

    def test_two_tabs_on_one_conversation_both_see_it_all(self, model_server, enter: OpenTab, hold: Hold):
        go = hold("100 tokens", after=10)
        first = enter(model_server, "twice")
        ask(first, "Write 100 tokens")
        wait_words(first, 5)
        second = open_chat(first.context, first.url)
        assert wait_words(second, 10) == numbered(10)
        go.set()
        assert (wait_answer(first, 100), wait_answer(second, 100)) == (numbered(100), numbered(100))

    def test_a_line_that_drops_is_taken_up_again_without_a_reload(self, model_server, enter: OpenTab, hold: Hold):
        go = hold("200 tokens", after=10)
        line = CuttableLine(model_server.port)
        page = enter(model_server, "dropper", base_url=line.base_url)
        page.evaluate("window.neverReloaded = true")
        ask(page, "Write 200 tokens")
        wait_words(page, 10)
        line.cut()
        go.set()
        answer = wait_answer(page, 200)
        kept = page.evaluate("window.neverReloaded")
        line.close()
        assert (answer, kept) == (numbered(200), True)

    def test_a_killed_server_leaves_what_was_said_and_the_answer_can_be_had_again(self, model_server, enter, hold):
        go = hold("120 tokens", after=45)
        page = enter(model_server, "survivor")
        ask(page, "Write 120 tokens")
        wait_words(page, 45)
        wait_until(lambda: model_server.has_stored("w45"))
        model_server.restart()
        go.set()
        page.reload()
        retry = page.get_by_role("button", name="Try again")
        retry.wait_for()
        assert words(page) == numbered(45)
        retry.click()
        assert wait_answer(page, 120) == numbered(120)


class TestManyPeople:
    def test_two_people_at_once_see_only_their_own(self, server: LiveServer, enter: OpenTab):
        ann, ben = enter(server, "ann"), enter(server, "ben")
        ask(ann, "Apricots please, 80 tokens")
        ask(ben, "Blueberries please, 90 tokens")
        assert (wait_answer(ann, 80), wait_answer(ben, 90)) == (numbered(80), numbered(90))
        assert ("Blueberries" in ann.inner_text("body"), "Apricots" in ben.inner_text("body")) == (False, False)

    def test_a_link_to_somebody_elses_conversation_leads_nowhere(self, server: LiveServer, enter: OpenTab):
        ann, ben = enter(server, "ann"), enter(server, "ben")
        ask(ann, "A secret of 20 tokens")
        wait_answer(ann, 20)
        wait_quiet(ann)
        assert "conversation=" in ann.url
        ben.goto(ann.url)
        expect(ben.get_by_text("There is no such conversation here")).to_be_visible()
        assert "secret" not in ben.inner_text("body")

    def test_signing_out_in_one_tab_ends_the_other_on_its_next_rerun(self, server: LiveServer, enter: OpenTab):
        first = enter(server, "leaver")
        second = open_chat(first.context, server.base_url)
        first.get_by_role("button", name="leaver · member").click()
        first.get_by_text("Sign out", exact=True).click()
        expect(first.get_by_role("heading", name="You are signed out")).to_be_visible()
        ask(second, "Am I still here?")
        expect(second.get_by_role("heading", name="You are signed out")).to_be_visible()
        expect(bubbles(second)).to_have_count(0)


class TestTheListOfConversations:
    def test_a_new_title_is_asked_for_until_it_has_a_letter_and_then_shown(self, server, enter):
        page = enter(server, "namer")
        ask(page, "Write 10 tokens")
        wait_answer(page, 10)
        page.locator(".st-key-chat-menu button:visible").click()  # its help draws it twice
        page.get_by_text("Rename", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Title").fill("  ")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog.get_by_text("A title needs at least one character; please type one.")).to_be_visible()
        dialog.get_by_label("Title").fill("Counting to ten")
        dialog.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", name="Counting to ten")).to_be_visible()
        expect(page.get_by_test_id("stSidebar").get_by_role("button", name="Counting to ten")).to_be_visible()


class TestInTheMiddleOfAnAnswer:
    def test_stop_keeps_the_text_and_offers_another_try(self, model_server, enter: OpenTab, hold: Hold):
        hold("400 tokens", after=15)
        page = enter(model_server, "quitter")
        ask(page, "Write 400 tokens")
        wait_words(page, 15)
        page.get_by_role("button", name="Stop", exact=True).click()
        retry = page.get_by_role("button", name="Try again")
        retry.wait_for()
        wait_quiet(page)
        assert words(page) == numbered(15)
        expect(retry).to_be_visible()

    def test_what_is_typed_meanwhile_is_kept_and_sent_after_it(self, model_server, enter: OpenTab, hold: Hold):
        go = hold("120 tokens", after=10)
        page = enter(model_server, "hasty")
        ask(page, "Write 120 tokens")
        wait_words(page, 5)
        ask(page, "Then 7 tokens")
        expect(page.get_by_text("Your message is kept:")).to_be_visible()
        expect(page.get_by_text("Then 7 tokens", exact=True)).to_be_visible()
        page.get_by_role("button", name="Send after it").click()
        go.set()
        expect(bubbles(page)).to_have_count(4)
        expect(page.get_by_text("Your message is kept:")).to_have_count(0)
        page.wait_for_function(
            r"""() => {
                const said = [...document.querySelectorAll("[data-testid=stChatMessage]")].map(b => b.innerText);
                return said.length === 4 && /\bw120\b/.test(said[1]) && /\bw7\b/.test(said[3]);
            }"""
        )
        wait_quiet(page)
        assert words(page) == numbered(7)
