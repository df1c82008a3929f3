"""What a tab gets of its answers, over real websockets: all of it, once, in order, and its page to the end."""

import asyncio

import pytest

from bench.tabs import Answer, Tab
from core.access.viewer import Viewer
from core.history.conversations import list_conversations
from core.history.turns import list_turns
from core.skein import Skein
from tests.browser.live_server import wait_until
from tests.tabs.conftest import Served

MANY = 50


def is_right(answer: Answer, tokens: int) -> bool:
    return (answer.lost(tokens), answer.doubled(tokens), answer.problems) == (0, 0, [])


def is_one_fragment(answer: Answer) -> bool:
    """Whether the run of the page was given up for the fragment's in the callback, before its body."""
    return [len(run) for run in answer.runs] == [0, 1]


def what_was_asked(skein: Skein, viewer) -> list[str]:
    with skein.database.read() as db:
        found = [list_turns(viewer, db, row.conversation_id) for row in list_conversations(viewer, db, limit=500)]
    return [turn.content for turns in found for turn in turns]


class TestAnAsk:
    async def test_is_one_run_of_one_fragment_however_often(self, served: Served) -> None:
        _, cookie = served.make_person("asks once")
        async with served.tabs(1, cookie) as [tab]:
            for tokens in (30, 20, 10):
                answer = await tab.ask(f"{tokens} tokens")
                assert is_right(answer, tokens)
                assert is_one_fragment(answer)
                await served_whole(tab)

    async def test_leaves_the_page_as_it_would_be_drawn_anew(self, served: Served) -> None:
        _, cookie = served.make_person("compares")
        async with served.tabs(1, cookie) as [tab]:
            for tokens in (12, 8):
                await tab.ask(f"{tokens} tokens")
                await served_whole(tab)
            async with served.tabs(1, cookie, query=tab.query) as [again]:
                assert shown(tab) == shown(again)

    async def test_never_meets_a_clock(self, served: Served) -> None:
        _, cookie = served.make_person("has no clock")
        async with served.tabs(1, cookie) as [tab]:
            await tab.ask("20 tokens")
            assert tab.timers_seen == set()


class TestNothingIsLost:
    @pytest.mark.parametrize("count", [1, MANY])
    async def test_when_the_next_is_asked_while_the_page_of_the_last_is_ending(self, served, count: int) -> None:
        """The next message is sent as soon as the run is over, before the end of the page has come."""
        viewer, cookie = served.make_person(f"hurries {count}")

        async def converse(tab: Tab) -> list[bool]:
            right = []
            for tokens in (20, 15, 10):
                await tab.say(f"{tokens} tokens")
                await tab.words_seen(tokens)
                await run_is_over(served.skein, viewer, tab)
                answer = await tab.watch_no_longer()
                right.append(answer.streamed_whole(tokens))
            await tab.wait_until_drawn()
            return right

        async with served.tabs(count, cookie) as tabs:
            for rights in await asyncio.gather(*(converse(tab) for tab in tabs)):
                assert rights == [True, True, True]
            for tab in tabs:
                assert tab.page.numbered() == [f"w{n}" for tokens in (20, 15, 10) for n in range(1, tokens + 1)]
                assert tab.has("chat_input")

    async def test_when_the_line_is_cut_and_comes_back(self, served: Served) -> None:
        _, cookie = served.make_person("is cut off")
        async with served.tabs(1, cookie) as [tab]:
            await tab.say("300 tokens")
            await tab.words_seen(30)
            await tab.reconnect()
            answer = await tab.watch()
            assert (answer.lost(300), len(answer.final)) == (0, 300)

    async def test_when_it_is_stopped_by_a_click_while_it_is_drawn(self, served: Served) -> None:
        _, cookie = served.make_person("stops")
        async with served.tabs(1, cookie) as [tab]:
            await tab.say("4000 tokens")
            await tab.words_seen(20)
            await tab.click("Stop")
            await tab.wait_until_drawn()
            words = tab.page.numbered()
            assert words == [f"w{n}" for n in range(1, len(words) + 1)]
            assert 20 <= len(words) < 4000
            assert any("Stopped; what had been said is kept" in one.alert.body for one in tab.page.elements())


class TestWhatIsSentCounts:
    async def test_though_another_page_is_opened_at_once_on_a_busy_server(self, served: Served) -> None:
        """Six tabs keep the server busy; fifteen times somebody sends, and is on another page right away."""
        busy, other = served.make_person("busy"), served.make_person("leaves")
        async with served.tabs(6, busy[1]) as tabs, served.tabs(1, other[1]) as [tab]:
            talking = [asyncio.create_task(one.ask("3000 tokens")) for one in tabs]
            await asyncio.gather(*(one.words_seen(10) for one in tabs))
            for number in range(15):
                await tab.say(f"1 token, number {number}")
                await tab.go("agents")
                await tab.wait_until_drawn()
                await tab.go("chat")
                await tab.wait_until_drawn()
            for one, task in zip(tabs, talking, strict=True):
                task.cancel()
                await one.click("Stop")
        said = [f"1 token, number {number}" for number in range(15)]
        wait_until(lambda: sorted(what_was_asked(served.skein, other[0])) == sorted(said))


async def run_is_over(skein: Skein, viewer: Viewer, tab: Tab) -> None:
    while any(run.conversation_id in tab.query for run in skein.engine.active(viewer)):
        await asyncio.sleep(0)


async def served_whole(tab: Tab) -> None:
    """Wait until the tab has all of its page, and the server knows: what is asked sooner is drawn by the page."""
    await tab.wait_until_drawn()
    await tab.ping()


def shown(tab: Tab) -> list[str]:
    """The words and labels on the page, in their order."""
    return [words for one in tab.page.elements() if (words := _words_of(one, one.WhichOneof("type")))]


def _words_of(element, kind: str) -> str:
    if kind in {"markdown", "alert"}:
        return getattr(element, kind).body
    return getattr(element, kind).label if kind in {"button", "menu_button", "page_link"} else ""
