"""The tree of a conversation as people use it: the picture, the time machine, comparing, keeping and deleting."""

import io
import json
import re
from contextlib import suppress

import pytest
from PIL import Image
from playwright.sync_api import Error, Page, expect

from tests.browser.conftest import OpenTab, ask, numbered, wait_answer, wait_quiet
from tests.browser.live_server import LiveServer
from tests.browser.test_branching_in_browser import edit

pytestmark = pytest.mark.browser


def grow(page: Page) -> None:
    """Two messages, and the second one also in other words."""
    ask(page, "Write 5 tokens")
    wait_answer(page, 5)
    ask(page, "Write 6 tokens")
    wait_answer(page, 6)
    expect(page.get_by_role("button", name="More ways to go on")).to_have_count(2)
    edit(page, "写七个词 7 tokens")
    wait_answer(page, 7)
    wait_quiet(page)


def open_tree(page: Page) -> None:
    page.locator(".st-key-chat_crumbs").get_by_role("link", name="Branches").click()
    page.wait_for_selector("canvas")
    wait_quiet(page)


def as_list(page: Page) -> None:
    page.get_by_role("radio", name="List").or_(page.get_by_role("button", name="List", exact=True)).first.click()
    page.wait_for_url(re.compile("view=list"))
    wait_quiet(page)


def choose_row(page: Page, text: str) -> None:
    page.locator(".st-key-branches_rows").get_by_role("button", name=re.compile(text)).click()
    wait_quiet(page)


def marks_in(page: Page) -> list[tuple[float, float]]:
    """The middles of the marks in the picture, by their colour, in pixels of the page."""
    canvas = page.locator("canvas").first
    box = canvas.bounding_box()
    assert box is not None
    shot = Image.open(io.BytesIO(canvas.screenshot())).convert("RGB")
    found: list[tuple[float, float]] = []
    for y in range(0, shot.height - 60, 3):
        for x in range(0, shot.width, 3):
            point = shot.getpixel((x, y))
            assert isinstance(point, tuple)
            red, green, blue = point
            # The colour of what is done, on the current path and off it.
            is_mark = green > red + 60 and blue > red + 50 and abs(green - blue) < 40
            if is_mark and all(abs(x - a) + abs(y - b) > 30 for a, b in found):
                found.append((x + 3, y + 3))
    return [(box["x"] + x, box["y"] + y) for x, y in found]


def node_of(page: Page) -> str:
    found = re.search(r"node=(msg_\w+)", page.url)
    return found[1] if found else ""


class TestThePicture:
    def test_a_click_on_a_mark_chooses_its_message_and_a_reload_keeps_it(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "looker")
        grow(page)
        open_tree(page)
        marks = marks_in(page)
        assert len(marks) >= 3
        chosen = set()
        for x, y in marks:
            before = page.url
            page.mouse.click(x, y)
            # A click on the one that is chosen already, or in the legend, changes nothing.
            with suppress(Error):
                page.wait_for_url(lambda url, before=before: url != before, timeout=2_000)
            wait_quiet(page)
            chosen.add(node_of(page))
        assert len(chosen - {""}) >= 2
        last = node_of(page)
        page.reload()
        page.wait_for_selector("canvas")
        wait_quiet(page)
        assert node_of(page) == last

    def test_finds_what_was_said_in_chinese_too(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "finder")
        grow(page)
        open_tree(page)
        page.get_by_label("Find in the messages").fill("七个")
        page.keyboard.press("Enter")
        expect(page.get_by_text(re.compile(r"1 (of 1|found)"))).to_be_visible()


class TestTheTimeMachine:
    def test_starts_a_branch_in_the_middle_of_a_run_with_another_state(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "traveller")
        grow(page)
        open_tree(page)
        as_list(page)
        choose_row(page, "Write 6 tokens")
        page.get_by_role("button", name="Time machine").click()
        expect(page.get_by_text("Fork from this state")).to_be_visible()
        page.get_by_role("button", name="Previous state").click()
        expect(page.get_by_text("next: conversation.", exact=False).first).to_be_visible()
        wait_quiet(page)
        page.get_by_text("Edit the state", exact=True).click()
        page.get_by_role("combobox", name="Parts to edit").click()
        page.get_by_role("option", name="messages").click()
        page.keyboard.press("Escape")
        field = page.get_by_label(re.compile(r"messages \(JSON"))
        field.fill("[nonsense")
        page.get_by_role("button", name="Fork", exact=True).click()
        expect(page.get_by_text(re.compile("is no JSON"))).to_be_visible()
        expect(field).to_have_value("[nonsense")
        field.fill(json.dumps([{"type": "human", "content": "Write 9 tokens"}]))
        page.get_by_role("button", name="Fork", exact=True).click()
        page.wait_for_url(re.compile(r"/\?branch=branch_"))
        assert wait_answer(page, 9) == numbered(9)
        expect(page.get_by_text("Write 6 tokens").first).to_be_visible(timeout=20_000)
        page.reload()
        assert wait_answer(page, 9) == numbered(9)
        expect(page.get_by_text("3 / 3")).to_be_visible()

    def test_a_snapshot_is_there_after_a_restart_and_a_branch_starts_at_it(
        self, server: LiveServer, enter: OpenTab
    ) -> None:
        page = enter(server, "keeper")
        grow(page)
        open_tree(page)
        as_list(page)
        choose_row(page, "Write 5 tokens")
        page.get_by_role("button", name="Snapshot", exact=True).click()
        page.get_by_test_id("stDialog").get_by_label("Name").fill("午饭之前")
        page.get_by_test_id("stDialog").get_by_role("button", name="Save").click()
        expect(page.get_by_text("The state is kept as")).to_be_visible()
        server.restart()
        page.reload()
        page.locator(".st-key-branches_snapshots").get_by_role("button", name="午饭之前").click()
        page.get_by_label("What to say next").fill("Write 8 tokens")
        page.get_by_label("Name of the branch").fill("from lunch")
        page.get_by_role("button", name="Fork", exact=True).click()
        page.wait_for_url(re.compile(r"/\?branch=branch_"))
        assert wait_answer(page, 8) == numbered(8)
        expect(page.locator(".st-key-chat_crumbs").get_by_text("from lunch")).to_be_visible()


class TestComparing:
    def test_two_messages_side_by_side_by_a_link(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "comparer")
        grow(page)
        open_tree(page)
        as_list(page)
        choose_row(page, "Write 6 tokens")
        page.get_by_role("button", name="Compare with").click()
        choose_row(page, "写七个词")
        expect(page.get_by_role("button", name="They part after")).to_be_visible()
        expect(page.get_by_text("Side by side")).to_be_visible()
        page.reload()
        expect(page.get_by_role("button", name="They part after")).to_be_visible()
        expect(page.locator(".st-key-branches_compare")).to_contain_text("w7")


class TestWhatIsKept:
    def test_a_branch_is_deleted_and_brought_back(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "deleter")
        grow(page)
        open_tree(page)
        expect(page.get_by_text("2 branches")).to_have_count(2)
        row = page.locator("[class*=st-key-branches-open-]").filter(has_text="edit 2")
        expect(row).to_have_count(1)
        row.locator("xpath=following-sibling::*").get_by_role("button", name="More").click()
        page.get_by_role("menuitem", name="Delete").or_(page.get_by_text("Delete", exact=True)).last.click()
        expect(page.get_by_text("Deleted “edit 2”")).to_be_visible()
        expect(row).to_have_count(0)
        page.get_by_role("button", name="Undo").click()
        expect(row).to_have_count(1)

    def test_a_branch_is_taken_along_as_a_file(self, server: LiveServer, enter: OpenTab) -> None:
        page = enter(server, "packer")
        grow(page)
        open_tree(page)
        page.get_by_role("button", name="Export").click()
        for name, ending in (("JSON", "json"), ("Markdown", "md")):
            with page.expect_download() as download:
                page.get_by_role("button", name=name, exact=True).click()
            path = download.value.path()
            assert download.value.suggested_filename.endswith(f".{ending}")
            assert "写七个词" in path.read_text(encoding="utf-8")


class TestSomebodyElses:
    def test_tree_is_not_there(self, server: LiveServer, enter: OpenTab) -> None:
        ann, ben = enter(server, "ann"), enter(server, "ben")
        grow(ann)
        open_tree(ann)
        ben.goto(ann.url)
        expect(ben.get_by_text("There is no such conversation here")).to_be_visible()
        assert "写七个词" not in ben.inner_text("body")
