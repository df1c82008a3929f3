"""The open websockets of this process, by login: closed when it ends, and a changed role is passed on.

Invariant: at most ``SECONDS`` after a login was ended, has expired or lost its account, in whatever process,
nothing goes to or comes from a tab of it any more.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.access.sign_in import find_viewers
from core.access.viewer import Viewer
from core.access.web.house import OpenHouse
from core.ids import LoginId

SECONDS = 1.0
POLICY_VIOLATION = 1008

_log = logging.getLogger(__name__)


class Connections:
    """Serves websockets, each for as long as its login lasts."""

    def __init__(self, open_house: OpenHouse) -> None:
        self._open_house = open_house
        self._open: dict[LoginId, set[asyncio.Event]] = {}
        self._viewers: dict[LoginId, Viewer] = {}
        self._watching: asyncio.Task[None] | None = None
        # A thread of its own: however busy all others are, a login ends in time.
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="skein-logins")
        self.on_change: Callable[[LoginId, bool], object] = lambda *_: None
        """Called on the loop with a login that has ended, or whose rights are others now."""

    async def serve(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send, viewer: Viewer) -> None:
        """Run one websocket; where its login ends first, it is closed as one that is not allowed (1008)."""
        assert viewer.login_id is not None  # noqa: S101 - whoever comes by a cookie comes by a login
        ended = asyncio.Event()
        self._viewers.setdefault(viewer.login_id, viewer)
        self._open.setdefault(viewer.login_id, set()).add(ended)
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
        line = _Line(receive, send, ended)
        try:
            await app(scope, line.receive, line.send)
        finally:
            self._forget(viewer.login_id, ended)

    def _forget(self, login_id: LoginId, ended: asyncio.Event) -> None:
        here = self._open[login_id]
        here.discard(ended)
        if not here:
            del self._open[login_id], self._viewers[login_id]

    async def _watch(self) -> None:
        """Look for all of them every second, until there are none."""
        while self._open:
            await asyncio.sleep(SECONDS)
            await self._look()

    async def _look(self) -> None:
        known = dict(self._viewers)
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._looking, self._find, list(known))
        except Exception as error:  # noqa: BLE001 - a database that is away ends nobody's login
            _log.warning("Nobody could look whether logins have ended: %s", type(error).__name__)
            return
        for login_id, viewer in known.items():
            now = found.get(login_id)
            if now == viewer or login_id not in self._open:
                continue
            if now is None:
                for ended in self._open[login_id]:
                    ended.set()
            else:
                self._viewers[login_id] = now
            self.on_change(login_id, now is None)

    def _find(self, login_ids: list[LoginId]) -> dict[LoginId, Viewer]:
        return find_viewers(self._open_house().database, login_ids)


class _Line:
    """One websocket's two ends, which are cut when its login has ended."""

    def __init__(self, receive: Receive, send: Send, ended: asyncio.Event) -> None:
        self._receive, self._send, self._ended = receive, send, ended

    async def receive(self) -> Message:
        coming, ending = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait({coming, ending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ending.cancel()
        if not self._ended.is_set():
            return await coming
        coming.cancel()
        with suppress(Exception):
            await self._send({"type": "websocket.close", "code": POLICY_VIOLATION})
        return {"type": "websocket.disconnect", "code": POLICY_VIOLATION}

    async def send(self, message: Message) -> None:
        if self._ended.is_set():
            raise OSError("This login has ended.")
        await self._send(message)
