"""Tabs belong to the login that opened them: nothing of one reaches the next person at the same browser.

A tab that comes back names itself, in the second place behind the protocol that it asks for; its name was made for
its login. Invariant: a tab of another login, or of nobody, is sent to its address anew before anything of it is
heard, which leads to a page of its own, or to where one signs in.
"""

import hashlib
import hmac
import secrets

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.access.web.connections import POLICY_VIOLATION
from core.access.web.house import OpenHouse

_STREAM = "/_stcore/stream"
_NAME_LENGTH = 24


def new_tab_id(login_id: str, *, secret_key: str) -> str:
    """A name for a tab of this login, which nobody can make for another one."""
    name = secrets.token_hex(_NAME_LENGTH // 2)
    return f"{name}-{_sign(name, login_id, secret_key)}"


def is_tab_of(tab_id: str, login_id: str, *, secret_key: str) -> bool:
    """Whether this login has opened the tab, also before the server was started."""
    name, _, mark = tab_id.partition("-")
    return hmac.compare_digest(mark.encode(), _sign(name, login_id, secret_key).encode())


class OwnTabs:
    """Let a tab come back only to the login that opened it; what lies behind ``Identity``."""

    def __init__(self, app: ASGIApp, open_house: OpenHouse) -> None:
        self.app = app
        self.open_house = open_house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        tab_id, viewer = _tab_of(scope), scope.get("viewer")
        if tab_id and not (
            viewer and is_tab_of(tab_id, viewer.login_id or "", secret_key=self.open_house().secret_key)
        ):
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await self.app(scope, receive, send)


class LeadAnew:
    """Tell a tab that is refused to open its address anew; else it tries for ever, and says only a number.

    ``message`` is what does that in the words of its front end.
    """

    def __init__(self, app: ASGIApp, message: bytes) -> None:
        self.app = app
        self.message = message

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket" or scope["path"] != _STREAM or not self.message:
            await self.app(scope, receive, send)
            return
        is_accepted = False

        async def send_or_lead(message: Message) -> None:
            nonlocal is_accepted
            if message["type"] == "websocket.close" and not is_accepted and message.get("code") == POLICY_VIOLATION:
                await send({"type": "websocket.accept", "subprotocol": _protocols(scope)[0] or None})
                await send({"type": "websocket.send", "bytes": self.message})
            is_accepted = is_accepted or message["type"] == "websocket.accept"
            await send(message)

        await self.app(scope, receive, send_or_lead)


def _tab_of(scope: Scope) -> str:
    return _protocols(scope)[2] if scope["type"] == "websocket" and scope["path"] == _STREAM else ""


def _protocols(scope: Scope) -> list[str]:
    """The protocol, a token, and the tab's name; each "" where it is not there."""
    asked = Headers(scope=scope).get("sec-websocket-protocol", "")
    return ([one.strip() for one in asked.split(",")] + ["", "", ""])[:3]


def _sign(name: str, login_id: str, secret_key: str) -> str:
    signed = hmac.new(secret_key.encode(), f"skein.tab {name} {login_id}".encode(), hashlib.sha256)
    return signed.hexdigest()[:32]
