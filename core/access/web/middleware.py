"""Layers around all that the server says: failures, who connects, to which host, from whose page, and who it is.

Invariant: behind the last layer, ``x-skein-login`` is either absent or names a login that was good a moment
ago, and ``scope["viewer"]`` is whose it is.
"""

import base64
import hashlib
from functools import lru_cache
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.access import accounts, sign_in
from core.access.viewer import Viewer
from core.access.web.connections import POLICY_VIOLATION, Connections
from core.access.web.hosts import Network, client_address, is_allowed_host, is_own_origin, read_networks
from core.access.web.house import OpenHouse
from core.access.web.messages import failure, message
from core.access.web.tabs import LeadAnew, OwnTabs
from core.access.web.tokens import COOKIE, read_login

LOGIN_HEADER = b"x-skein-login"
TRY_AGAIN_LATER = 1013
FROM_ANOTHER_SITE = (
    "This came from another site",
    "Please open Skein itself and try again; behind a proxy, its operator sets SKEIN_PUBLIC_URL.",
)

_PUBLIC = {"/sign-in", "/sign-in.css", "/sign-in.svg", "/setup", "/sign-out", "/favicon.png"}
# What Streamlit's front end asks before it connects: the same for everybody.
_PUBLIC |= {"/_stcore/health", "/_stcore/host-config"}
# The front end itself: the same files for everybody, and nothing of ours in them.
_PUBLIC_FOLDERS = ("/static/",)
_ADMIN_PATHS = ("/_stcore/metrics", "/_stcore/agent")
"""What tells about everybody, or acts without a browser."""

_INLINE_SCRIPTS = ("\n      window.prerenderReady = false\n    ",)
"""The one script that stands inside Streamlit's page; any other inline script is refused."""


def build_middleware(
    open_house: OpenHouse, connections: Connections | None = None, *, lead_anew: bytes = b""
) -> list[Middleware]:
    """The layers, outermost first; ``connections`` are the websockets that this server will have open.

    ``lead_anew`` is what has a tab open its address anew.
    """
    return [
        Middleware(Failures),
        Middleware(ClientAddress, open_house=open_house),
        Middleware(AllowedHosts, open_house=open_house),
        Middleware(OwnOrigin, open_house=open_house),
        Middleware(SecurityHeaders),
        Middleware(LeadAnew, message=lead_anew),
        Middleware(Identity, open_house=open_house, connections=connections or Connections(open_house)),
        Middleware(OwnTabs, open_house=open_house),
    ]


class AllowedHosts:
    """Answer only to the names the operator allowed, so that no foreign name can point at this server."""

    def __init__(self, app: ASGIApp, open_house: OpenHouse) -> None:
        self.app = app
        self.open_house = open_house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._is_allowed(Headers(scope=scope)):
            await self.app(scope, receive, send)
        else:
            sentence = "This server does not answer to that host name; its operator can add it to "
            await _refuse(scope, receive, send, PlainTextResponse(f"{sentence}SKEIN_ALLOWED_HOSTS.", 400))

    def _is_allowed(self, headers: Headers) -> bool:
        settings = self.open_house().settings
        return is_allowed_host(headers.get("host", ""), settings.allowed_hosts, settings.public_url)


class Failures:
    """Answer what nothing inside has answered: one sentence, and never a bare 500."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, send_and_note)
        except Exception as error:
            if begun or scope["type"] not in {"http", "websocket"}:
                raise
            await _refuse(scope, receive, send, failure(scope, error), code=TRY_AGAIN_LATER)


class ClientAddress:
    """Say who connects: the visitor, also behind a proxy that the operator trusts."""

    def __init__(self, app: ASGIApp, open_house: OpenHouse) -> None:
        self.app = app
        self.open_house = open_house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in {"http", "websocket"} and scope.get("client"):
            host, port = scope["client"]
            forwarded = Headers(scope=scope).getlist("x-forwarded-for")
            trusted = _networks(tuple(self.open_house().settings.trusted_proxies))
            scope = {**scope, "client": (client_address(host, forwarded, trusted), port)}
        await self.app(scope, receive, send)


class OwnOrigin:
    """Serve our own pages only: no page of another site, nor of another port, reads or does anything here.

    Browsers name the page with each websocket and each form; a program that is no browser names none, and has no
    cookie but one that it was given.
    """

    def __init__(self, app: ASGIApp, open_house: OpenHouse) -> None:
        self.app = app
        self.open_house = open_house

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope) if scope["type"] in {"http", "websocket"} else Headers()
        origins = [origin for origin in headers.getlist("origin") if origin]
        if all(self._is_own(origin, scope, headers) for origin in origins):
            await self.app(_with_plain_origin(scope, headers) if origins else scope, receive, send)
        else:
            await _refuse(scope, receive, send, message(scope, 403, *FROM_ANOTHER_SITE))

    def _is_own(self, origin: str, scope: Scope, headers: Headers) -> bool:
        public_url = self.open_house().settings.public_url
        return is_own_origin(
            origin, host=headers.get("host", ""), scheme=known_scheme(scope), public_url=public_url
        )


class SecurityHeaders:
    """Tell the browser what our pages may load: nothing from elsewhere, so no text can carry data away."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = Headers(scope=scope).get("host", "")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["Content-Security-Policy"] = content_security_policy(host)
                headers["X-Content-Type-Options"] = "nosniff"
                headers["Referrer-Policy"] = "same-origin"
                if headers.get("content-type", "").startswith("text/html"):
                    # "Back" after signing out asks again, and is led to sign in.
                    headers["Cache-Control"] = "no-store"
            await send(message)

        await self.app(scope, receive, send_with_headers)


class Identity:
    """Find out who is there from the cookie, say so to what lies behind, and stop everybody else."""

    def __init__(self, app: ASGIApp, open_house: OpenHouse, connections: Connections) -> None:
        self.app = app
        self.open_house = open_house
        self.connections = connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        cookie = _cookie(Headers(scope=scope))
        scope = _without_identity(scope)
        if _is_front_end(scope["path"]):
            await self.app(scope, receive, send)
            return
        viewer = await run_in_threadpool(self._find_viewer, cookie) if cookie else None
        refusal = await self._refusal(scope, viewer)
        if refusal is not None:
            await _refuse(scope, receive, send, refusal)
        elif scope["type"] == "websocket" and viewer is not None:
            await self.connections.serve(self.app, _with_identity(scope, viewer), receive, send, viewer)
        else:
            await self.app(_with_identity(scope, viewer), receive, send)

    def _find_viewer(self, cookie: str) -> Viewer | None:
        house = self.open_house()
        login_id = read_login(cookie, secret_key=house.secret_key)
        return sign_in.find_viewer(house.database, login_id) if login_id else None

    async def _refusal(self, scope: Scope, viewer: Viewer | None) -> Response | None:
        """The answer to somebody who may not go on; None for whoever may."""
        path = scope["path"]
        if path.startswith(_ADMIN_PATHS) and not (viewer and viewer.is_admin):
            return PlainTextResponse("Not found.", 404)
        if viewer or path in _PUBLIC:
            return None
        if _wants_page(scope):
            return RedirectResponse(await self._way_in(scope), 303, {"Cache-Control": "no-store"})
        return PlainTextResponse("Please sign in.", 401)

    async def _way_in(self, scope: Scope) -> str:
        if not await run_in_threadpool(accounts.has_accounts, self.open_house().database):
            return "/setup"
        query = scope.get("query_string", b"").decode("latin-1")
        wanted = f"{quote(scope['path'])}?{query}" if query else quote(scope["path"])
        return "/sign-in" if wanted == "/" else f"/sign-in?next={quote(wanted, safe='/')}"


def known_scheme(scope: Scope) -> str:
    """``https`` where the connection, or that to the proxy before it, is; empty where that is not known."""
    forwarded = Headers(scope=scope).get("x-forwarded-proto", "").split(",")[0].strip().lower()
    return "https" if {scope.get("scheme"), forwarded} & {"https", "wss"} else ""


def content_security_policy(host: str) -> str:
    """What a page of this host may load; Streamlit needs inline styles, workers and WebAssembly, no more."""
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' 'wasm-unsafe-eval' {' '.join(map(_script_hash, _INLINE_SCRIPTS))}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "media-src 'self' data: blob:",
            "font-src 'self' data:",
            f"connect-src 'self' ws://{host} wss://{host}",
            "worker-src 'self' blob:",
            "frame-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        ]
    )


@lru_cache(maxsize=8)
def _networks(trusted: tuple[str, ...]) -> list[Network]:
    return read_networks(trusted)


def _with_plain_origin(scope: Scope, headers: Headers) -> Scope:
    """The Origin in the very words of the Host: where they differ Streamlit asks the world for its own address."""
    kept = [(name, value) for name, value in scope["headers"] if name.lower() != b"origin"]
    origin = f"{known_scheme(scope) or 'http'}://{headers.get('host', '')}"
    return {**scope, "headers": [*kept, (b"origin", origin.encode("latin-1"))]}


def _script_hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _cookie(headers: Headers) -> str | None:
    for line in headers.getlist("cookie"):
        for part in line.split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE:
                return value.strip('"')
    return None


def _is_front_end(path: str) -> bool:
    return path.startswith(_PUBLIC_FOLDERS)


def _wants_page(scope: Scope) -> bool:
    accepts = Headers(scope=scope).get("accept", "")
    return scope["type"] == "http" and scope["method"] in {"GET", "HEAD"} and "text/html" in accepts


def _without_identity(scope: Scope) -> Scope:
    headers = [(name, value) for name, value in scope["headers"] if name.lower() != LOGIN_HEADER]
    return {**scope, "headers": headers, "viewer": None}


def _with_identity(scope: Scope, viewer: Viewer | None) -> Scope:
    if viewer is None or viewer.login_id is None:
        return scope
    header = (LOGIN_HEADER, viewer.login_id.encode())
    return {**scope, "headers": [*scope["headers"], header], "viewer": viewer}


async def _refuse(
    scope: Scope, receive: Receive, send: Send, response: Response, *, code: int = POLICY_VIOLATION
) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": code})
    else:
        await response(scope, receive, send)
