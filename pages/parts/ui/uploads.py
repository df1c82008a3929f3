"""Bounds for what a browser sends up: how large a file is, and how much of them is kept in memory for a tab.

The front end drops a file that it refuses without a word to the server, and sends the message without it. So it is
told to refuse none. Invariant: of a file that is too much only its name and size reach Streamlit, as a file that
``refusal_of`` knows again; its bytes are thrown away as they come.
"""

import re
from secrets import token_bytes
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import runtime

from core.agents.attachments import LARGEST_FILE

MOST_HELD, MOST_HELD_FILES = 60_000_000, 20
NO_LIMIT_MB = 100_000
_PATH = "/_stcore/upload_file/"
# What stands around a file in the body of a request.
_AROUND = 2_000
_LONGEST_HEAD = 16_000
_BOUNDARY = re.compile(r"boundary=\"?([^\";,]+)")
# Nobody can send up such a file: it is another one in each process.
_MARK = token_bytes(32)


class UploadBounds:
    """Let through what is within the bounds, and of all else a note of its name and size."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._coming: dict[str, list[int]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "PUT" or not scope["path"].startswith(_PATH):
            await self.app(scope, receive, send)
            return
        tab = scope["path"].removeprefix(_PATH).partition("/")[0]
        length = Headers(scope=scope).get("content-length", "")
        size = int(length) if length.isdecimal() else None
        if size is None:
            await PlainTextResponse("A file comes with its length.", 411)(scope, receive, send)
            return
        coming = self._coming.setdefault(tab, [])
        why = _why_not(tab, size, coming)
        coming.append(0 if why else size)
        try:
            if why:
                await self._pass_note(why, size, scope, receive, send)
            else:
                await self.app(scope, receive, send)
        finally:
            coming.remove(0 if why else size)
            if not coming:
                self._coming.pop(tab, None)

    async def _pass_note(self, why: str, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        head = await _read_head(receive)
        boundary = _BOUNDARY.search(Headers(scope=scope).get("content-type", ""))
        if head is None or boundary is None:
            await PlainTextResponse("This is not a file.", 400)(scope, receive, send)
            return
        body = head + _MARK + f"{why} {size}".encode() + f"\r\n--{boundary[1]}--\r\n".encode()
        kept = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers = [*kept, (b"content-length", str(len(body)).encode())]

        async def note() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app({**scope, "headers": headers}, note, send)


def _why_not(tab: str, size: int, coming: list[int]) -> str:
    if size > LARGEST_FILE + _AROUND:
        return "large"
    held = _held(tab)
    if len(held) + len(coming) >= MOST_HELD_FILES or sum(held) + sum(coming) + size > MOST_HELD:
        return "many"
    return ""


def _held(tab: str) -> list[int]:
    """The sizes of the files that Streamlit keeps for a tab."""
    manager: Any = runtime.get_instance().uploaded_file_mgr
    return [len(file.data) for file in list(manager.file_storage.get(tab, {}).values())]


async def _read_head(receive: Receive) -> bytes | None:
    """What comes before the file's own bytes, which are thrown away; None where that cannot be told."""
    head, begin, more = b"", -1, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        if begin < 0 and len(head) < _LONGEST_HEAD:
            head += message.get("body", b"")
            begin = head.find(b"\r\n\r\n")
        more = message.get("more_body", False)
    return head[: begin + 4] if begin >= 0 else None


def refusal_of(name: str, data: bytes) -> str:
    """Why this file was not taken, in one sentence; "" when it was."""
    if not data.startswith(_MARK):
        return ""
    why, _, size = data.removeprefix(_MARK).decode().partition(" ")
    if why == "large":
        return f"“{name}” has {int(size) / 1_000_000:,.1f} MB; a file has at most {LARGEST_FILE // 1_000_000} MB."
    return f"“{name}” was left out: all at once that are too many files; please send fewer of them."
