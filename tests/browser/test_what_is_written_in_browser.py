"""What people and models write is read on the page as they wrote it, by the browser's own eyes."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import OpenTab, ask, bubbles, wait_quiet
from tests.model_server import Behaviour

pytestmark = pytest.mark.browser

LINE = (
    "2*3*4 __init__ # x :material/check: :red[x] :smile: a -> b <- c <-> d -- e >= <b>bold</b> $5 and $6 "
    "&amp; `x` ~~y~~ [z](http://a.b) www.a.b me@a.b 12:100:30"
)
QUESTION = f"{LINE}\n\n\n  - indented\t two  spaces\n1. one\n    four\n\nинвойс \u202egpj.exe end"
SEEN = QUESTION.replace("\u202e", "\\u202e")
TITLE = "-> :smile: :material/check: x -> y"


def copied(page: Page, selector: str) -> str:
    """What is taken along when that part of the page is selected."""
    return page.evaluate(
        """selector => {
            const found = [...document.querySelectorAll(selector)].at(-1);
            getSelection().selectAllChildren(found);
            return getSelection().toString();
        }""",
        selector,
    )


def test_a_question_of_many_lines_is_shown_and_copied_as_it_is(server, enter: OpenTab):
    page = enter(server, "writer")
    page.fill("[data-testid=stChatInput] textarea", QUESTION)
    page.keyboard.press("Enter")
    shown = bubbles(page).first.locator(".skein-written")
    expect(shown).to_have_count(1)
    wait_quiet(page)
    assert shown.inner_text() == SEEN
    assert copied(page, ".skein-written") == SEEN


def test_a_title_is_the_same_on_every_page(server, enter: OpenTab):
    page = enter(server, "titler")
    ask(page, TITLE)
    wait_quiet(page)
    listed = page.locator(".st-key-chat_list button", has_text="smile").first
    expect(listed).to_have_text(TITLE, use_inner_text=True)
    expect(page.locator("h4", has_text="smile").first).to_have_text(TITLE, use_inner_text=True)
    page.get_by_test_id("stMainBlockContainer").get_by_role("link", name="Branches").click()
    heading = page.get_by_test_id("stMainBlockContainer").locator("h4", has_text="smile").first
    expect(heading).to_have_text(TITLE, use_inner_text=True)


ANSWER = (
    "It costs $5 and $6, a -> b, :smile: and :red[x], <b>b</b>.\n\n"
    "So \\(x^2\\) holds, and\n\n\\[\nE = mc^2\n\\]\n\n`$5 and $6 \\(y\\)`\n\n```\na -> b $1 $2 :smile:\n```\n"
)


def test_an_answer_has_its_formulas_and_its_money(model_server, held, enter: OpenTab):
    held["formulas"] = Behaviour(text=ANSWER)
    page = enter(model_server, "counter")
    ask(page, "Write me formulas")
    expect(bubbles(page).last.locator(".katex").first).to_be_visible()
    wait_quiet(page)
    for _ in range(2):
        answer = bubbles(page).last
        expect(answer).to_contain_text("It costs $5 and $6, a -> b, :smile: and :red[x], <b>b</b>.")
        expect(answer.locator(".katex")).to_have_count(2)
        expect(answer.locator(".katex-display")).to_have_count(1)
        expect(answer.locator("code", has_text="$5 and $6 \\(y\\)")).to_have_count(1)
        expect(answer).to_contain_text("a -> b $1 $2 :smile:")
        page.reload()


def test_a_table_offers_no_download_of_its_own(server, enter: OpenTab):
    page = enter(server, "taker")
    ask(page, "=cmd()")
    wait_quiet(page)
    page.get_by_role("link", name="Calls").last.click()
    table = page.get_by_test_id("stDataFrame").first
    table.hover()
    expect(table.get_by_role("button", name="Search")).to_be_visible()
    assert table.get_by_role("button", name="Download as CSV").count() == 0


def test_a_refused_file_is_named_and_the_question_waits_for_it(server, enter: OpenTab):
    page = enter(server, "attacher")
    files = page.locator("[data-testid=stChatInput] input[type=file]").first
    page.fill("[data-testid=stChatInput] textarea", "What is in these?")
    large = {"name": "large.txt", "mimeType": "text/plain", "buffer": b"a" * 11_000_000}
    program = {"name": "run.exe", "mimeType": "application/octet-stream", "buffer": b"MZ\x00\x01" * 100}
    files.set_input_files([large, program])
    expect(page.get_by_test_id("stChatInput").get_by_text("run.exe")).to_be_visible()
    page.locator("[data-testid=stChatInputSubmitButton]:not([disabled])").click()
    expect(page.get_by_text("“large.txt” has 11.0 MB; a file has at most 10 MB.")).to_be_visible()
    expect(page.get_by_text("“run.exe” is not of a type that can be attached")).to_be_visible()
    expect(page.get_by_text("Not sent yet:")).to_be_visible()
    expect(page.locator(".skein-written")).to_have_text("What is in these?")
    expect(bubbles(page)).to_have_count(0)
    page.get_by_role("button", name="Send it").click()
    expect(bubbles(page).first.locator(".skein-written")).to_have_text("What is in these?")
