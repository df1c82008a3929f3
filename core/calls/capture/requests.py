"""Counts the requests that a call really sends: a client's own retries are invisible to callbacks.

The OpenAI client (and others made the same way) sends through httpx2 and numbers its tries in a header. Its two
transports are wrapped once, when the first call is made after the client was imported; other traffic passes by.
"""

import functools
import sys
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from core.calls.capture.observed import ObservedCall

_TRY = "x-stainless-retry-count"
_lock = threading.Lock()
_wrapped = False

current_call: ContextVar[ObservedCall | None] = ContextVar("skein_current_call", default=None)


def watch_requests() -> bool:
    """Begin to count, when there is a client to count for; say whether requests are counted."""
    global _wrapped  # noqa: PLW0603 - the transports are wrapped once per process
    if not _wrapped and (httpx2 := sys.modules.get("httpx2")) is not None:
        with _lock:
            if not _wrapped:
                httpx2.AsyncHTTPTransport.handle_async_request = _watched_async(
                    httpx2.AsyncHTTPTransport.handle_async_request
                )
                httpx2.HTTPTransport.handle_request = _watched(httpx2.HTTPTransport.handle_request)
                _wrapped = True
    return _wrapped


def _watched_async(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def watched(transport: Any, request: Any) -> Any:
        call = _about_to_send(request)
        response = await send(transport, request)
        _answered(call, response)
        return response

    return watched


def _watched(send: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def watched(transport: Any, request: Any) -> Any:
        call = _about_to_send(request)
        response = send(transport, request)
        _answered(call, response)
        return response

    return watched


def _about_to_send(request: Any) -> ObservedCall | None:
    if _TRY not in request.headers or request.url.path.endswith("/embeddings"):
        return None
    call = _sender(is_first=request.headers[_TRY] == "0")
    if call is not None:
        call.requests += 1
        call.first_request_at = call.first_request_at or time.monotonic()
    return call


def _sender(*, is_first: bool) -> ObservedCall | None:
    """The open call of this context; where one ``generate`` has started several, the next that has not sent."""
    call = current_call.get()
    while call is not None and not call.is_open:
        call = call.previous
    unsent = call
    while is_first and unsent is not None and unsent.requests:
        unsent = unsent.previous
    return unsent or call


def _answered(call: ObservedCall | None, response: Any) -> None:
    if call is not None:
        call.http_status = response.status_code
        call.request_id = response.headers.get("x-request-id") or call.request_id
