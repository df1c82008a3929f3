"""What agents ask people: in the chat, on the desk, in two tabs at once, and across the end of the server."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import OpenTab, ask, bubbles, open_chat, wait_answer, wait_quiet
from tests.browser.live_server import LiveServer, wait_until

pytestmark = pytest.mark.browser

_PUBLISHED = "published/"


def ask_agent(page: Page, name: str, text: str) -> None:
    """A message to this agent, chosen on its page."""
    page.get_by_role("link", name="Agents").click()
    button(page.locator(f".st-key-agents_card_{name}"), "Chat with it").click()
    expect(page.get_by_test_id("stChatInput")).to_be_visible()
    wait_quiet(page)
    ask(page, text)


def button(page: Page | Locator, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def wait_for_card(page: Page) -> None:
    """Until the agent has asked, and the page is drawn to its end."""
    expect(page.get_by_text("planner wants to use publish_result")).to_be_visible()
    wait_quiet(page)


def warning(page: Page, sentence: str) -> Locator:
    return page.get_by_test_id("stAlertContentWarning").filter(has_text=sentence)


def open_desk(page: Page, server: LiveServer) -> Page:
    desk = page.context.new_page()
    desk.goto(f"{server.base_url}/approvals")
    expect(desk.get_by_text("planner wants to use publish_result")).to_be_visible()
    return desk


def open_artifacts(page: Page) -> Locator:
    page.get_by_role("button", name=re.compile(r"Artifacts \(\d+\)")).click()
    panel = page.locator(".st-key-chat_artifacts")
    expect(panel).to_be_visible()
    return panel


def line_of(panel: Locator, name: str) -> Locator:
    """The lines of the artifacts of that name in the panel's list."""
    named = panel.page.get_by_role("button", name=name)
    return panel.locator("[class*=st-key-chat_artifact_line_]").filter(has=named)


def open_record(page: Page, sentence: str) -> Locator:
    """Unfold what became of an approval."""
    record = page.get_by_test_id("stExpander").filter(has_text=sentence)
    record.locator("summary").click()
    return record


class TestWhatWaits:
    def test_outlives_the_server_and_is_edited_and_approved_from_another_tab(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "publisher")
        ask_agent(page, "planner", "Plan a fair")
        wait_for_card(page)
        expect(page.get_by_role("link", name="Approvals (1)")).to_be_visible()
        expect(bubbles(page).last).to_contain_text("publish_result · waits for a person")
        place = page.url
        server.restart()

        desk = open_chat(page.context, server.base_url)
        desk.get_by_role("link", name="Approvals (1)").click()
        wait_for_card(desk)
        expect(desk.get_by_text("Plan a fair", exact=True).first).to_be_visible()
        button(desk, "Edit").click()
        desk.get_by_role("textbox", name="Title").fill("Fair 2027")
        button(desk, "Approve with these arguments").click()
        expect(desk.get_by_text("Nothing waits for a decision.")).to_be_visible()
        expect(desk.get_by_role("link", name="Approvals", exact=True)).to_be_visible()

        expect(page.get_by_text("publisher approved publish_result with other arguments")).to_be_visible()
        expect(bubbles(page).last).to_contain_text(f"is published as “{_PUBLISHED}Fair 2027”")
        wait_quiet(page)
        assert page.url == place
        panel = open_artifacts(page)
        expect(line_of(panel, _PUBLISHED)).to_have_count(1)
        expect(line_of(panel, f"{_PUBLISHED}Fair 2027")).to_contain_text("Version 1 ")

        desk.get_by_role("radio", name="Decided").or_(button(desk, "Decided")).click()
        record = open_record(desk, "publisher approved publish_result with other arguments")
        expect(record.get_by_text(re.compile(r"^Decided .* by publisher · asked"))).to_be_visible()
        expect(record).to_contain_text("changed title")
        expect(record).to_contain_text("Fair 2027")

    def test_is_decided_once_however_many_tabs_click(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "doubler")
        ask_agent(page, "planner", "Plan a race")
        wait_for_card(page)
        desk = open_desk(page, server)
        wait_quiet(desk)
        buttons = [button(tab, "Approve").element_handle() for tab in (desk, page)]
        for found in buttons:
            found.evaluate("button => button.click()")
        too_late = [warning(tab, "This was approved already, by doubler.") for tab in (desk, page)]
        wait_until(lambda: any(told.is_visible() for told in too_late))
        expect(page.get_by_text("doubler approved publish_result")).to_be_visible()
        wait_quiet(page)
        assert sum(told.is_visible() for told in too_late) == 1
        expect(bubbles(page).last.get_by_test_id("stExpander").filter(has_text="publish_result ·")).to_have_count(1)
        published = line_of(open_artifacts(page), _PUBLISHED)
        expect(published).to_have_count(1)
        expect(published).to_contain_text("Version 1 ")


class TestRefusing:
    def test_tells_the_agent_why_and_stands_in_the_record(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "refuser")
        ask_agent(page, "planner", "Plan a concert")
        wait_for_card(page)
        button(page, "Refuse").click()
        page.get_by_role("textbox", name="Why? The agent is told.").fill("The hall is not booked yet")
        button(page, "Refuse").click()
        sentence = "refuser refused publish_result"
        expect(page.get_by_text(sentence)).to_be_visible()
        expect(bubbles(page).last).to_contain_text("The hall is not booked yet")
        wait_quiet(page)
        expect(line_of(open_artifacts(page), _PUBLISHED)).to_have_count(0)
        desk = page.context.new_page()
        desk.goto(f"{server.base_url}/approvals?tab=decided")
        record = open_record(desk, sentence)
        expect(record.get_by_text("The hall is not booked yet")).to_be_visible()
        expect(record.get_by_text(re.compile(r"^Decided .* by refuser · asked"))).to_be_visible()


class TestAskingBack:
    def test_a_button_answers_and_the_agent_that_was_meant_goes_on(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "wanderer")
        ask_agent(page, "router", "Hmm, can you help me with something?")
        expect(page.get_by_text("router asks")).to_be_visible()
        wait_quiet(page)
        button(page, "Plan it and carry it out").click()
        expect(page.get_by_text("wanderer answered the question")).to_be_visible()
        expect(bubbles(page).last).to_contain_text("make_task_plan")
        expect(page.get_by_text("router wants to use publish_result")).to_be_visible()


class TestArtifactsOfASession:
    def test_are_seen_from_its_second_conversation_which_edits_its_own_version(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "sharer")
        ask_agent(page, "planner", "Plan a market")
        wait_for_card(page)
        button(page, "Approve").click()
        expect(page.get_by_text("sharer approved publish_result")).to_be_visible()
        wait_quiet(page)
        first = page.url
        begin_in_session(page)
        expect(page.get_by_text("New conversation in “Plan a market”")).to_be_visible()
        panel = open_artifacts(page)
        expect(panel.get_by_text("Shared by the session")).to_be_visible()
        expect(line_of(panel, "Plan a market")).to_have_count(3)
        ask(page, "Write 3 tokens")
        wait_answer(page, 3)
        button(panel, f"{_PUBLISHED}Plan a market").click()
        button(panel, "Edit").click()
        panel.get_by_role("textbox", name="The next version").fill("Rain or shine")
        button(panel, "Save").click()
        button(panel, "All artifacts").click()
        expect(line_of(panel, _PUBLISHED)).to_contain_text("Version 2 · by sharer")
        button(panel, f"{_PUBLISHED}Plan a market").click()
        expect(panel.get_by_text("Rain or shine").first).to_be_visible()
        page.goto(first)
        expect(line_of(open_artifacts(page), _PUBLISHED)).to_contain_text("Version 1 · in a run of sharer")


def begin_in_session(page: Page) -> None:
    button(page, "More").click()
    page.get_by_role("menuitem", name="New in this session").click()
