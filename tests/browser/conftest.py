"""A browser, and a live server for it to look at.

Most share one of two servers, which a test may restart: one with the demo model, and one whose model is a server of
ours, that stops in the middle of an answer for as long as the test wants it to. So what is asked of a page while an
answer is written does not depend on anybody's speed. These tests come first, and stay with one worker until others
have nothing left to do (``--dist worksteal``).
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from tests.browser.live_server import LiveServer
from tests.model_server import Behaviour, ModelServer, question_of

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_ARGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PACE = 100
QUIET = "[data-testid=stApp][data-test-script-state=notRunning]"
OpenTab = Callable[..., Page]
Hold = Callable[..., Event]
# A busy machine takes its time; a wait ends as soon as its condition holds.
_LONGEST_WAIT_MS = 60_000
expect.set_options(timeout=_LONGEST_WAIT_MS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A walk has many waits."""
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="package")
def chromium() -> str:
    """Where Chromium is; without one the test is skipped, or fails where a browser is required."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        sentence = "There is no Chromium here; install the package chromium to run the browser tests."
        (pytest.fail if os.environ.get("SKEIN_TEST_BROWSER") == "required" else pytest.skip)(sentence)
    return found


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=_ARGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """The server that most tests share, with the demo model; each has people of its own on it."""
    with LiveServer(tmp_path_factory.mktemp("live"), tokens_per_second=PACE) as server:
        yield server


@pytest.fixture(scope="package")
def held() -> dict[str, Behaviour]:
    """How the questions that have these words are answered."""
    return {}


@pytest.fixture(scope="package")
def model_server(
    chromium: str, held: dict[str, Behaviour], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LiveServer]:
    """A server whose model is one of ours over HTTP: what it says can be held, see `hold`."""

    def behave(body: dict[str, Any], _headers: dict[str, str]) -> Behaviour:
        asked = question_of(body)
        return next((behaviour for words, behaviour in held.items() if words in asked), Behaviour())

    with ModelServer(tokens_per_second=PACE, behave=behave) as model:
        named = {"OPENAI_BASE_URL": model.base_url, "OPENAI_API_KEY": "sk-of-the-tests"}
        with LiveServer(tmp_path_factory.mktemp("model"), **named) as server:
            yield server


@pytest.fixture
def hold(held: dict[str, Behaviour]) -> Iterator[Hold]:
    """Stops the answers to a question in the middle: ``go = hold("100 tokens", after=10)``, until ``go.set()``."""

    def hold(words: str, *, after: int) -> Event:
        go = Event()
        held[words] = Behaviour(wait_for=go, wait_after=after)
        return go

    yield hold
    for behaviour in held.values():
        assert behaviour.wait_for is not None
        behaviour.wait_for.set()
    held.clear()


@pytest.fixture
def own_server(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that nobody has used yet."""
    with LiveServer(tmp_path_factory.mktemp("own"), tokens_per_second=PACE) as server:
        yield server


@pytest.fixture
def contexts(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Makes fresh browser profiles: two of them are two people at two computers."""
    made: list[BrowserContext] = []

    def make() -> BrowserContext:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(_LONGEST_WAIT_MS)
        made.append(context)
        return context

    yield make
    for context in made:
        context.close()


@pytest.fixture
def enter(contexts: Callable[[], BrowserContext]) -> OpenTab:
    """Opens the chat as somebody: ``enter(server, "ada")``."""

    def enter(server: LiveServer, name: str, *, role: str = "member", base_url: str = "") -> Page:
        context = contexts()
        context.add_cookies([server.cookie_of(name, role)])
        return open_chat(context, base_url or server.base_url)

    return enter


def open_chat(context: BrowserContext, url: str) -> Page:
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("[data-testid=stChatInput]")
    return page


def ask(page: Page, text: str) -> None:
    page.fill("[data-testid=stChatInput] textarea", text)
    page.keyboard.press("Enter")


def wait_quiet(page: Page) -> None:
    """Until no script runs: the answer, if there is one, has been written to its end."""
    page.wait_for_selector(QUIET)


def bubbles(page: Page) -> Locator:
    return page.locator('[data-testid=stChatMessage]:not([data-stale="true"])')


def words(page: Page) -> list[str]:
    """The numbered words of the newest answer that is on the page, in the order they stand there."""
    parts = bubbles(page).last.locator("[data-testid=stMarkdownContainer]").all_inner_texts()
    return re.findall(r"\bw\d+\b", " ".join(parts))


def wait_words(page: Page, count: int) -> list[str]:
    """The newest answer's words, as soon as there are that many."""
    page.wait_for_function(
        r"""count => {
            const found = [...document.querySelectorAll("[data-testid=stChatMessage]")].at(-1);
            return found && (found.innerText.match(/\bw\d+\b/g) || []).length >= count;
        }""",
        arg=count,
    )
    return words(page)


def numbered(count: int) -> list[str]:
    """What the demo model answers to ``Write <count> tokens``, word for word."""
    return [f"w{number}" for number in range(1, count + 1)]


def wait_answer(page: Page, count: int) -> list[str]:
    wait_words(page, count)
    wait_quiet(page)
    return words(page)
