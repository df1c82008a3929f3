"""What a browser does with a tab whose login is over, or is no more the browser's."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from sqlmodel import col, select, update

from core.access.secret_key import load_secret_key
from core.access.web.tokens import read_login
from core.database import Database
from core.tables import Login, Message, utc_now
from tests.browser.conftest import open_chat
from tests.browser.live_server import CuttableLine, LiveServer, wait_until
from tests.conftest import make_settings

pytestmark = pytest.mark.browser
INPUT = "[data-testid=stChatInput] textarea"


@pytest.fixture
def line(server: LiveServer) -> Iterator[CuttableLine]:
    line = CuttableLine(server.port)
    yield line
    line.close()


def end_login(server: LiveServer, cookie: dict[str, str]) -> None:
    settings = make_settings(server._folder)
    login_id = read_login(cookie["value"], secret_key=load_secret_key(settings))
    database = Database(settings.app_database_url)
    try:
        database.write(
            lambda db: (
                db.execute(update(Login).where(col(Login.login_id) == login_id).values(ended_at=utc_now())).rowcount
            )
        )
    finally:
        database.close()


def count_messages(server: LiveServer, text: str) -> int:
    database = Database(make_settings(server._folder).app_database_url)
    try:
        with database.read() as db:
            return len(db.exec(select(Message.message_id).where(Message.content == text)).all())
    finally:
        database.close()


def open_as(context: BrowserContext, cookie: dict[str, str], url: str) -> Page:
    context.add_cookies([cookie])
    return open_chat(context, url)


def test_whose_line_is_cut_after_signing_out_comes_to_where_one_signs_in(
    server: LiveServer, line: CuttableLine, contexts: Callable[[], BrowserContext]
) -> None:
    cookie = server.cookie_of("outgoing")
    page = open_as(contexts(), cookie, f"{line.base_url}/?show=steps")
    end_login(server, cookie)
    line.cut()
    page.wait_for_url(re.compile(r"/sign-in\?next="))
    expect(page.locator("input[name=next]")).to_have_value("/?show=steps")


def test_that_one_goes_back_to_after_signing_out_asks_to_sign_in(
    server: LiveServer, contexts: Callable[[], BrowserContext]
) -> None:
    cookie = server.cookie_of("returning")
    page = open_as(contexts(), cookie, server.base_url)
    page.goto(f"{server.base_url}/account")
    page.wait_for_selector("[data-testid=stApp]")
    end_login(server, cookie)
    page.goto(f"{server.base_url}/sign-in")
    page.go_back()
    page.wait_for_url(re.compile("/sign-in"))
    expect(page.locator("input[name=password]")).to_be_visible()


def test_of_one_person_sends_nothing_as_the_next_at_the_same_browser(
    server: LiveServer, line: CuttableLine, contexts: Callable[[], BrowserContext]
) -> None:
    context = contexts()
    page = open_as(context, server.cookie_of("before"), line.base_url)
    page.fill(INPUT, "for before's eyes only")
    context.add_cookies([server.cookie_of("behind")])
    line.cut()
    wait_until(lambda: "behind" in page.locator(".st-key-frame_menu").inner_text(timeout=60_000), seconds=60)
    expect(page.locator(INPUT)).to_have_value("")
    assert count_messages(server, "for before's eyes only") == 0
