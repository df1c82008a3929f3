"""A real server that is asked to end while somebody is answered."""

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlmodel import select

from bench.tabs import Tab
from core.database import Database
from core.tables import Message, Thread
from tests.browser.live_server import LiveServer, wait_until
from tests.conftest import make_settings


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LiveServer]:
    with LiveServer(tmp_path, tokens_per_second=50, SKEIN_DRAIN_SECONDS="60") as server:
        yield server


def read(folder: Path) -> list[tuple[str, str]]:
    database = Database(make_settings(folder).app_database_url)
    try:
        with database.read() as db:
            query = select(Thread.status, Message.answer).join(Message, Message.message_id == Thread.message_id)
            return [tuple(row) for row in db.exec(query)]
    finally:
        database.close()


def process_of(server: LiveServer) -> "subprocess.Popen[bytes]":
    assert server._process is not None
    return server._process


@asynccontextmanager
async def open_tab(server: LiveServer, name: str) -> AsyncIterator[Tab]:
    cookie = server.cookie_of(name)
    tab = Tab(server.port, f"{cookie['name']}={cookie['value']}")
    await tab.open()
    try:
        yield tab
    finally:
        await tab.close()


async def test_what_runs_comes_to_its_end_and_is_seen_to_while_nothing_new_begins(
    server: LiveServer, tmp_path: Path
) -> None:
    async with open_tab(server, "alice") as tab, open_tab(server, "bob") as late:
        await tab.say("write 150 tokens")
        wait_until(lambda: server.has_stored("w10"))
        process_of(server).send_signal(signal.SIGTERM)
        wait_until(lambda: "waits for what runs" in server.output)
        await late.say("hello")
        answer = await tab.watch()
    assert (answer.problems, answer.final[-1:]) == ([], ["w150"])
    assert process_of(server).wait(60) in {0, -signal.SIGTERM}
    [(status, text)] = read(tmp_path)
    assert (status, len(text.split())) == ("done", 150)


async def test_a_second_signal_ends_it_at_once_and_keeps_what_was_said(server: LiveServer, tmp_path: Path) -> None:
    async with open_tab(server, "alice") as tab:
        await tab.say("write 5000 tokens")
        wait_until(lambda: server.has_stored("w10"))
        process_of(server).send_signal(signal.SIGTERM)
        wait_until(lambda: "waits for what runs" in server.output)
        process_of(server).send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process_of(server).wait, 60) in {0, -signal.SIGTERM}
    [(status, text)] = read(tmp_path)
    assert status == "stopped"
    assert 10 <= len(text.split()) < 4_000
