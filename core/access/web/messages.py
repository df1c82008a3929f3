"""What the door says where it shows no form: one sentence on a plain page, or as plain text for a program.

Invariant: a failure that nobody foresaw tells no more than its reference, under which the log has the rest.
"""

import secrets
from pathlib import Path

import structlog
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.templating import Jinja2Templates
from starlette.types import Scope

from core.errors import (
    BusyError,
    ConflictError,
    DamageError,
    ForbiddenError,
    NoRoomError,
    NotFoundError,
    OutageError,
    SignInError,
    SkeinError,
)
from core.outages import explain

PAGES = Path(__file__).parent / "html"
templates = Jinja2Templates(directory=PAGES)
_STATUS = (
    (SignInError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (NoRoomError, 507),
    (OutageError, 503),
    (BusyError, 429),
    (DamageError, 500),
    (SkeinError, 400),
)
_RETRY_AFTER = {"Retry-After": "5"}
log = structlog.get_logger("skein.web")


def status_of(error: SkeinError) -> int:
    return next(status for kind, status in _STATUS if isinstance(error, kind))


def headers_of(status: int) -> dict[str, str]:
    """Nothing that is said here is kept by a browser, and what may pass says when to ask again."""
    return {"Cache-Control": "no-store"} | (_RETRY_AFTER if status in {503, 507} else {})


def wants_page(scope: Scope) -> bool:
    return scope["type"] == "http" and "text/html" in Headers(scope=scope).get("accept", "")


def message(scope: Scope, status: int, title: str, text: str) -> Response:
    """One sentence, as a page or as text."""
    if not wants_page(scope):
        return PlainTextResponse(f"{title}. {text}", status, headers_of(status))
    shown = {"title": title, "text": text}
    return templates.TemplateResponse(Request(scope), "message.html", shown, status, headers_of(status))


def failure(scope: Scope, error: Exception) -> Response:
    """What is said of an error that nothing inside has answered."""
    if (explained := explain(error)) is not None:
        return message(scope, status_of(explained), "This cannot be done just now", str(explained))
    reference = secrets.token_hex(4)
    log.error("request_failed", reference=reference, path=scope["path"], error=type(error).__name__, exc_info=error)
    text = f"Something went wrong here. Please try again; Skein's operator finds it in the log as {reference}."
    return message(scope, 500, "Something went wrong", text)
