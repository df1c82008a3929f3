"""What each page costs who comes first, and those after: a real server, and a tab that opens pages by address.

For each page a server is started afresh and the page is the first thing that anybody asks of it (*cold*); then the
same tab's page is opened a few times more (*warm*). In between a page of the chat is opened, warm, to compare with.
Before that stand a few turns of the demo model, so that there is a thread, a session and calls to look at. Frames
and bytes are those of one warm opening, CPU is the server's. How long the server takes until it answers at all is
measured with each.

    python -m bench.pages
    python -m bench.pages --pages browse,calls --rounds 3
"""

import argparse
import asyncio
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import connect

from bench.streams import Case, _cpu, serve
from core.access.secret_key import load_secret_key
from core.access.viewer import Viewer
from core.access.web.tokens import COOKIE, sign_login
from core.history.messages import NewMessage
from core.ids import new_login_id, new_user_id
from core.settings import Settings, load_settings
from core.skein import open_skein
from core.tables import Login, User, utc_now

TARGET = "target: cold <= 2.5 s"
CASE = Case("skein", 1, "burst", 0, 0, "demo")
TURNS = 12
_PATIENCE = 60.0
PAGES = {
    "chat": "",
    "conversation": "?conversation={conversation}",
    "browse": "browse",
    "session": "browse?session={session}",
    "inspector": "browse?thread={thread}",
    "branches": "branches?conversation={conversation}",
    "calls": "calls",
    "approvals": "approvals",
    "live": "live",
    "agents": "agents",
    "admin": "admin",
    "prices": "prices",
    "retention": "retention",
    "account": "account",
}


@dataclass(frozen=True)
class Visit:
    """One opening of a page: seconds until its script was finished, and what came over the wire."""

    seconds: float
    cpu: float
    frames: int
    size: int


@dataclass
class Seen:
    """A page as its first visitor saw it, and later ones; ``chat`` are openings of the chat beside those."""

    start: float
    cold: Visit
    warm: list[Visit] = field(default_factory=list)
    chat: list[Visit] = field(default_factory=list)


async def visit(port: int, cookie: str, address: str, server: psutil.Process) -> Visit:
    """Open a page in a new tab, by its address; RuntimeError when it shows an exception."""
    page, _, query = address.partition("?")
    message = BackMsg()
    message.rerun_script.page_name, message.rerun_script.query_string = page, query
    began, cpu, frames, size = time.perf_counter(), _cpu(server), 0, 0
    async with connect(
        f"ws://127.0.0.1:{port}/_stcore/stream",
        subprotocols=["streamlit"],  # type: ignore[list-item]
        additional_headers={"Cookie": cookie},
        compression=None,
        max_size=None,
    ) as socket:
        await socket.send(message.SerializeToString())
        while True:
            frame = await asyncio.wait_for(socket.recv(), _PATIENCE)
            told = ForwardMsg()
            told.ParseFromString(frame)  # type: ignore[arg-type]
            frames, size = frames + 1, size + len(frame)
            if told.WhichOneof("type") == "delta" and told.delta.new_element.WhichOneof("type") == "exception":
                raise RuntimeError(f"{address}: {told.delta.new_element.exception.message}")
            if told.WhichOneof("type") == "page_not_found":
                raise RuntimeError(f"There is no page {address}.")
            if (
                told.WhichOneof("type") == "script_finished"
                and told.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
            ):
                return Visit(time.perf_counter() - began, _cpu(server) - cpu, frames, size)


async def measure(settings: Settings, cookie: str, address: str, rounds: int, after: float) -> Seen:
    """The page on a server that started so many seconds ago, and then again."""
    began = time.perf_counter()
    with serve(CASE, settings, "", []) as (port, server):
        start = time.perf_counter() - began
        await asyncio.sleep(after)
        seen = Seen(start, await visit(port, cookie, address, server))
        await visit(port, cookie, PAGES["chat"], server)
        for _ in range(rounds):
            seen.warm.append(await visit(port, cookie, address, server))
            seen.chat.append(await visit(port, cookie, PAGES["chat"], server))
    return seen


def fill(settings: Settings) -> tuple[str, dict[str, str]]:
    """A house with an admin who has asked a few things; gives the cookie, and the ids that addresses need."""
    skein = open_skein(settings)
    viewer, login = Viewer(new_user_id(), "ada", "admin"), new_login_id()
    until = utc_now().replace(year=utc_now().year + 1)
    skein.database.write(
        lambda db: (
            db.add(User(user_id=viewer.user_id, name=viewer.name, role=viewer.role)),
            db.flush(),
            db.add(Login(login_id=login, user_id=viewer.user_id, expires_at=until)),
        )
    )
    conversation, parent = None, None
    for number in range(TURNS):
        started = skein.engine.start(
            viewer, NewMessage(f"Tell me about the weather, part {number}", conversation, parent_message_id=parent)
        )
        conversation, parent = started.conversation_id, started.message_id
        for _ in skein.engine.attach(viewer, started.thread_id):
            pass
    skein.close()
    key = load_secret_key(settings)
    ids = {"conversation": conversation, "session": started.session_id, "thread": started.thread_id}
    return f"{COOKIE}={sign_login(login, secret_key=key)}", {name: str(one) for name, one in ids.items()}


def row(name: str, all_seen: list[Seen]) -> str:
    warm = [one for seen in all_seen for one in seen.warm]
    chat = middle(one.seconds for seen in all_seen for one in seen.chat)
    return (
        f"{name:14}{middle(seen.start for seen in all_seen):8.1f}"
        f"{middle(seen.cold.seconds for seen in all_seen):9.2f}{middle(seen.cold.cpu for seen in all_seen):8.2f}"
        f"{middle(one.seconds for one in warm) * 1000:9.0f}{middle(one.cpu for one in warm) * 1000:8.0f}"
        f"{middle(one.seconds for one in warm) / chat:8.1f}x{warm[-1].frames:8}{warm[-1].size / 1024:9.1f}"
    )


def middle(values: Iterable[float]) -> float:
    return statistics.median(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", default=",".join(PAGES))
    parser.add_argument("--rounds", type=int, default=1, help="servers started for each page")
    parser.add_argument("--after", type=float, default=0.0, help="seconds from its start to the first visitor")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server is stopped then too
    with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder:
        settings = load_settings(data_dir=Path(folder), demo_tokens_per_second=0, _env_file=None)
        cookie, ids = fill(settings)
        print(TARGET)
        print(
            f"{'page':14}{'start s':>8}{'cold s':>9}{'CPU s':>8}{'warm ms':>9}{'CPU ms':>8}{'of chat':>9}"
            f"{'frames':>8}{'KiB':>9}",
            flush=True,
        )
        for name in given.pages.split(","):
            address = PAGES[name].format(**ids)
            seen = [asyncio.run(measure(settings, cookie, address, 3, given.after)) for _ in range(given.rounds)]
            print(row(name, seen), flush=True)


if __name__ == "__main__":
    main()
