"""Finding, judging, handing over and taking away what was said: whole walks over the Browse page and from it."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Locator, Page, expect
from sqlalchemy import func, select

from core.access.accounts import create_account, create_first_admin
from core.access.viewer import Viewer
from core.database import Database, table_of
from core.demo_world.teller import Teller
from core.records.export.sessions import CHECKER
from core.skein import Skein, open_skein
from core.tables import ActivityToSeal, MessageToIndex, SessionToCount
from tests.browser.conftest import PACE, OpenTab, ask, numbered, wait_answer, wait_quiet
from tests.browser.live_server import ADMIN, PASSWORD, ROOT, LiveServer, wait_until
from tests.conftest import make_settings

pytestmark = pytest.mark.browser

_HEAD, _ROW = 18, 35
"""How high the table's head is to its middle, and each row, in pixels: it is drawn on a canvas."""
_QUEUES = (table_of(SessionToCount), table_of(MessageToIndex), table_of(ActivityToSeal))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("browse")


@pytest.fixture(scope="module")
def told(chromium: str, folder: Path) -> Iterator[LiveServer]:
    """A server on which maya's three runs failed, and vera said something and had an answer."""
    skein = open_skein(make_settings(folder))
    try:
        _tell(skein)
    finally:
        skein.close()
    with LiveServer(folder, tokens_per_second=PACE) as server:
        settle(folder)
        yield server


def _tell(skein: Skein) -> None:
    admin = create_first_admin(skein.database, name=ADMIN, password=PASSWORD)
    make = partial(create_account, admin, skein.database, password=PASSWORD, role="member")
    maya, vera = (Viewer((made := make(name=name)).user_id, made.name, made.role) for name in ("maya", "vera"))
    for about in ("invoices", "parcels", "vouchers"):
        Teller(skein, maya, lambda: None).fail(f"Plan the {about}: read, sort, answer")
    Teller(skein, vera, lambda: None).say("Where is the plum cake?")


def settle(folder: Path) -> None:
    """Until all that was said and done is counted, can be found and is sealed."""
    database = Database(make_settings(folder).app_database_url)
    try:
        wait_until(lambda: not _waiting(database))
    finally:
        database.close()


def _waiting(database: Database) -> int:
    with database.read() as db:
        return sum(
            db.connection().execute(select(func.count()).select_from(queue)).scalar_one() for queue in _QUEUES
        )


def browse(page: Page, server: LiveServer, query: str = "") -> None:
    page.goto(f"{server.base_url}/browse{query}")
    expect(page.get_by_role("heading", name="Browse")).to_be_visible()
    wait_quiet(page)


def look_for(page: Page, query: str) -> None:
    box = page.get_by_role("textbox", name="Search")
    box.fill(query)
    box.press("Enter")
    page.wait_for_url(lambda url: parse_qs(urlsplit(url).query).get("q") == [query])
    wait_quiet(page)


def table(page: Page) -> Locator:
    return page.get_by_test_id("stDataFrame").last


def cells(page: Page, text: str | re.Pattern[str]) -> Locator:
    """Those of the table's cells that say so; a canvas has them for those who cannot see it."""
    return table(page).locator("canvas td", has_text=text)


def titles(page: Page) -> list[str]:
    return table(page).locator('canvas td[aria-colindex="1"]').all_inner_texts()


def click_row(page: Page, row: int = 1, *, at: int = 120) -> None:
    """Click into the table's row of this number, so far from its left edge."""
    wait_quiet(page)
    table(page).scroll_into_view_if_needed()
    box = table(page).bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + at, box["y"] + _HEAD + row * _ROW)


def open_tab(page: Page, name: str) -> None:
    """Open what this radio is for; the address says the last word of its name."""
    page.get_by_role("radio", name=name, exact=True).click()
    page.wait_for_url(re.compile(f"={name.split()[-1].lower()[:6]}"))
    wait_quiet(page)


def open_threads(page: Page) -> None:
    """Open the threads of a session, which is done when their own table stands where another stood."""
    open_tab(page, "Threads")
    expect(page.locator("[class*=st-key-session-pick-threads]").get_by_test_id("stDataFrame")).to_be_attached()
    wait_quiet(page)


def choose_way(page: Page, menu: str, way: str) -> None:
    page.get_by_role("button", name=menu, exact=True).click()
    page.get_by_role("menuitem", name=way, exact=True).or_(page.get_by_role("option", name=way, exact=True)).click()


def dialog(page: Page) -> Locator:
    return page.get_by_test_id("stDialog")


class TestFindingWhatWasSaid:
    def test_from_a_chinese_word_to_the_states_of_its_run_and_to_the_chat_and_back(
        self, told: LiveServer, folder: Path, enter: OpenTab
    ) -> None:
        page = enter(told, "mia")
        ask(page, "Bake a cake in 5 tokens")
        wait_answer(page, 5)
        page.goto(told.base_url)
        ask(page, "客户要退款怎么办? 6 tokens")
        wait_answer(page, 6)
        settle(folder)
        page.get_by_role("link", name="Browse").click()
        expect(page.get_by_text("2 sessions")).to_be_visible()

        box = page.get_by_role("textbox", name="Search")
        look_for(page, "退款")
        expect(cells(page, "asked: 客户要«退款»怎么办")).to_be_attached()
        expect(page.get_by_text("1 session", exact=True)).to_be_visible()
        look_for(page, "退款 has:errors")
        expect(page.get_by_text("Nothing fits this")).to_be_visible()
        look_for(page, "退款 stats:done")
        expect(page.get_by_text(re.compile("stats:done.*did you mean status"))).to_be_visible()
        expect(box).to_have_value("退款 stats:done")
        look_for(page, "退款 status:done")
        expect(cells(page, "«退款»")).to_be_attached()
        page.get_by_role("button", name="Filters").click()
        page.get_by_role("button", name="Unreviewed").click()
        expect(box).to_have_value("退款 status:done is:unreviewed")
        page.keyboard.press("Escape")
        page.get_by_role("button", name="退款", exact=False).first.click()
        expect(box).to_have_value("status:done is:unreviewed")

        page.get_by_role("combobox", name="Order").click()
        page.get_by_role("option", name="Title A to Z").click()
        page.wait_for_url(re.compile("sort=title"))
        wait_quiet(page)
        sorted_titles = ["Bake a cake in 5 tokens", "客户要退款怎么办? 6 tokens"]
        expect(cells(page, sorted_titles[1])).to_be_attached()
        assert titles(page) == sorted_titles
        page.reload()
        expect(cells(page, sorted_titles[1])).to_be_attached()
        assert titles(page) == sorted_titles
        expect(box).to_have_value("status:done is:unreviewed")
        wait_quiet(page)

        click_row(page, 2)
        expect(page.get_by_role("heading", name="客户要退款")).to_be_visible()
        open_tab(page, "Timeline")
        expect(cells(page, "Began")).to_be_attached()
        open_threads(page)
        expect(cells(page, "客户要退款怎么办")).to_be_attached()
        click_row(page)
        page.wait_for_url(re.compile("thread=thread_"))
        shown = walk_back_through_states(page)
        assert shown > 1
        page.get_by_role("link", name="In the chat").click()
        assert wait_answer(page, 6) == numbered(6)
        page.go_back()
        expect(page.get_by_role("heading", name=f"State 1 of {shown}")).to_be_visible()


def walk_back_through_states(page: Page) -> int:
    """From the newest state of the inspector to the first, by the keyboard; gives how many there are."""
    head = page.get_by_role("heading", name=re.compile(r"^State \d+ of \d+"))
    expect(head).to_be_visible()
    number, of = map(int, re.findall(r"\d+", head.inner_text()))
    assert number == of
    for earlier in range(of - 1, 0, -1):
        wait_quiet(page)
        page.keyboard.press("ArrowLeft")
        expect(head).to_have_text(f"State {earlier} of {of}")
    expect(page.get_by_role("button", name="Earlier")).to_be_disabled()
    return of


class TestJudgingAndHandingOver:
    def test_from_the_review_to_a_bundle_that_its_checker_holds_and_a_changed_one_it_names(
        self, told: LiveServer, enter: OpenTab, tmp_path: Path
    ) -> None:
        page = enter(told, "grace", role="analyst")
        browse(page, told)
        open_tab(page, "Review")
        expect(page.get_by_text("3 to review")).to_be_visible()
        expect(page.get_by_role("heading", name="Plan the vouchers")).to_be_visible()
        expect(page.get_by_text(re.compile("took more steps than its limit"))).to_be_visible()
        wait_quiet(page)
        page.keyboard.press("2")
        page.keyboard.press("b")
        expect(page.get_by_text("2 to review")).to_be_visible()
        expect(page.get_by_role("heading", name="Plan the parcels")).to_be_visible()

        open_tab(page, "Sessions")
        look_for(page, "review:bad score:2")
        expect(cells(page, "Plan the vouchers")).to_be_attached()
        expect(page.get_by_text("1 session", exact=True)).to_be_visible()
        look_for(page, "user:maya")
        expect(page.get_by_text("3 sessions", exact=True)).to_be_visible()
        choose_rows(page, 1, 3)
        choose_way(page, "With these", "Tag")
        expect(dialog(page).get_by_text("2 sessions with 2 conversations, 2 messages, 2 threads")).to_be_visible()
        dialog(page).get_by_role("combobox", name="Tag").fill("to hand over")
        page.keyboard.press("Enter")
        dialog(page).get_by_role("button", name="Tag (2 sessions)").click()
        expect(page.get_by_text("Tagged 2 sessions.")).to_be_visible()
        look_for(page, 'tag:"to hand over"')
        expect(page.get_by_text("2 sessions", exact=True)).to_be_visible()
        page.get_by_role("button", name="Views").click()
        page.get_by_role("textbox", name="Name").fill("For the auditor")
        page.get_by_role("button", name="Save this view").click()
        expect(page.get_by_role("button", name="For the auditor")).to_be_visible()

        second = page.context.new_page()
        browse(second, told)
        second.get_by_role("button", name="Views").click()
        second.get_by_role("button", name="For the auditor").click()
        expect(second.get_by_role("textbox", name="Search")).to_have_value('tag:"to hand over"')
        expect(second.get_by_text("2 sessions", exact=True)).to_be_visible()
        second.keyboard.press("Escape")
        expect(second.get_by_role("button", name="Save this view")).to_be_hidden()
        wait_quiet(second)
        bundle, sha256 = export_all(second, tmp_path)

        checker, said = CHECKER, ("--sha256", sha256)
        with zipfile.ZipFile(bundle) as archive:
            archive.extractall(tmp_path / "opened")
        assert check(checker, bundle, *said)[0] == 0
        (changed,) = (tmp_path / "opened").rglob("message.jsonl")
        changed.write_bytes(changed.read_bytes().replace(b"Plan the", b"Plan thy", 1))
        code, words = check(checker, tmp_path / "opened", *said)
        assert (code, "message.jsonl" in words) == (1, True), words

        maya = enter(told, "maya")
        browse(maya, told, "?list=activity")
        expect(cells(maya, "Looked at somebody else's session").first).to_be_attached()
        expect(cells(maya, "grace").first).to_be_attached()


def choose_rows(page: Page, *rows: int) -> None:
    """Tick the boxes of these rows, one after the other."""
    for number, row in enumerate(rows, start=1):
        click_row(page, row, at=16)
        expect(page.get_by_text(f"{number} chosen", exact=True)).to_be_visible()
        wait_quiet(page)


def export_all(page: Page, folder: Path) -> tuple[Path, str]:
    """Export every session that the list has; gives the file and the SHA-256 that is told with it."""
    page.get_by_role("button", name="Choose all").click()
    expect(page.get_by_text(re.compile("^All .* chosen$"))).to_be_visible()
    wait_quiet(page)
    choose_way(page, "With these", "Export")
    dialog(page).get_by_role("button", name=re.compile("^Export ")).click()
    command = dialog(page).locator("code")
    expect(command).to_contain_text(re.compile(r"--sha256 [0-9a-f]{64}"))
    wait_quiet(page)
    with page.expect_download() as download:
        dialog(page).get_by_role("button", name=re.compile("^Download ")).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    sha256 = command.inner_text().split()[-1]
    dialog(page).get_by_role("button", name="Close").click()
    expect(dialog(page)).to_have_count(0)
    return path, sha256


def check(checker: Path, export: Path, *more: str) -> tuple[int, str]:
    """What the checker says, with nothing but Python."""
    command = [sys.executable, "-I", "-S", str(checker), str(export), *more]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=checker.parent)
    return done.returncode, done.stdout + done.stderr


class TestTakingAway:
    def test_an_admin_deletes_undoes_and_deletes_and_nobody_else_ever_sees_it(
        self, told: LiveServer, enter: OpenTab, tmp_path: Path
    ) -> None:
        vera, tom = enter(told, "vera"), enter(told, "tom")
        browse(vera, told)
        bundle, _ = export_all(vera, tmp_path)
        assert bundle.stat().st_size > 1_000
        click_row(vera)
        vera.wait_for_url(re.compile("session=session_"))
        session_id = re.findall(r"session_\w+", vera.url)[0]
        open_threads(vera)
        expect(cells(vera, "plum")).to_be_attached()
        click_row(vera)
        vera.wait_for_url(re.compile("thread=thread_"))
        links = [vera.url, f"{told.base_url}/browse?session={session_id}"]
        for link in links:
            expect_nothing(tom, link)
        browse(tom, told, f"?q=session:{session_id}")
        expect(tom.get_by_text("Nothing fits this")).to_be_visible()
        expect(tom.get_by_role("button", name="Exports")).to_have_count(0)

        olga = enter(told, "olga", role="admin")
        delete(olga, links[1])
        expect_nothing(vera, links[1])
        olga.get_by_role("button", name="Undo").click()
        expect(olga.get_by_text("Brought back 1 session.")).to_be_visible()
        vera.reload()
        expect(vera.get_by_role("heading", name="Where is the plum cake?")).to_be_visible()
        delete(olga, links[1])
        for link in links:
            expect_nothing(vera, link)


def expect_nothing(page: Page, link: str) -> None:
    """A deep link leads to one sentence, and not to what was said."""
    page.goto(link)
    expect(page.get_by_text(re.compile("^There is no such (session|message|thread) here"))).to_be_visible()
    assert "plum" not in page.inner_text("body")


def delete(page: Page, link: str) -> None:
    page.goto(link)
    expect(page.get_by_role("heading", name="Where is the plum cake?")).to_be_visible()
    wait_quiet(page)
    choose_way(page, "More", "Delete")
    expect(dialog(page).get_by_text("1 session with 1 conversation, 1 message, 1 thread")).to_be_visible()
    dialog(page).get_by_role("button", name="Delete (1 session)").click()
    expect(page.get_by_text("1 session deleted.")).to_be_visible()
    wait_quiet(page)


class TestOtherDatabases:
    def test_an_admin_reads_a_file_that_another_program_wrote(
        self, told: LiveServer, enter: OpenTab, tmp_path: Path
    ) -> None:
        path = tmp_path / "theirs.sqlite"
        program = ROOT / "tests" / "core" / "foreign_program.py"
        subprocess.run([sys.executable, str(program), str(path)], check=True)
        page = enter(told, "olga", role="admin")
        page.get_by_role("link", name="Other databases").click()
        page.get_by_label("Path of the file").fill(str(path))
        page.get_by_test_id("stForm").get_by_role("button", name="Open").click()
        expect(page.get_by_role("heading", name="theirs.sqlite")).to_be_visible()
        expect(page.get_by_text("3 threads")).to_be_visible()
        page.get_by_placeholder("Part of a thread's id").fill("chat")
        page.keyboard.press("Enter")
        expect(page.get_by_text("1 thread,")).to_be_visible()
        wait_quiet(page)
        click_row(page)
        expect(page.get_by_text("Checkpoints, newest first")).to_be_visible()
        expect(page.get_by_text("2 branches")).to_be_visible()
        expect(page.get_by_text("May I?")).to_be_visible()
        open_tab(page, "Messages")
        expect(page.get_by_text("You said: 你好")).to_be_visible()
        page.reload()
        expect(page.get_by_text("You said: 你好")).to_be_visible()


class TestOnAPhone:
    def test_no_part_of_it_is_wider_than_the_screen(self, told: LiveServer, enter: OpenTab) -> None:
        page = enter(told, "grace", role="analyst")
        page.set_viewport_size({"width": 390, "height": 844})
        for query in ("", "?q=status:failed&list=threads", "?list=conversations", "?list=review", "?list=activity"):
            browse(page, told, query)
            assert overflow(page) == 0, query
        browse(page, told, "?q=user:maya")
        click_row(page)
        expect(page.get_by_role("heading", name=re.compile("^Plan the"))).to_be_visible()
        for part in ("Timeline", "Threads"):
            open_tab(page, part)
            assert overflow(page) == 0, part
        click_row(page)
        expect(page.get_by_role("heading", name=re.compile("^State"))).to_be_visible()
        for view in ("What changed", "Writes", "JSON", "Events"):
            open_tab(page, view)
            assert overflow(page) == 0, view


def overflow(page: Page) -> int:
    """By how many pixels the page, without what scrolls in itself, is wider than the window."""
    wide = "() => ['stMain', 'stApp'].map(id => document.querySelector(`[data-testid=${id}]`).scrollWidth)"
    widths = [*page.evaluate(wide), page.evaluate("() => document.scrollingElement.scrollWidth")]
    return int(max(widths) - page.evaluate("() => innerWidth"))
