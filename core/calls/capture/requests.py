"""Sees the requests that are sent to model servers: whose tries they are, or that nobody else tells of them.

The ``openai`` client, and others like it, sends through ``httpx2`` or ``httpx``: the ``send`` of their clients is
wrapped once, and whatever is no request to a model passes by. A request is a try of the call that LangChain has
begun in its context, or else a call of its own. Invariants: each request counts once; what is sent, what comes back
and when is the same as without this; and a failure in here is logged and breaks nothing.
"""

import functools
import re
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any, ParamSpec, Protocol, TypeVar

import structlog

from core.calls.capture.exchange import KINDS, Exchange, RefusedRequestError
from core.calls.capture.observed import ObservedCall
from core.calls.stream_end import StreamEnd, is_readable_stream
from core.outside import read_failure

P = ParamSpec("P")
T = TypeVar("T")
_CLIENTS = ("httpx2", "httpx")
_TRY = "x-stainless-retry-count"
# A longer answer's text is kept so far; an answer that comes whole is in memory anyway.
_MOST_KEPT = 32_000_000
_THOUGHT = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"(?!")')
_lock = threading.Lock()
_wrapped: set[str] = set()
log = structlog.get_logger("skein.calls")

current_call: ContextVar[ObservedCall | None] = ContextVar("skein_current_call", default=None)


class Listener(Protocol):
    """Who is told of calls that are made without LangChain."""

    def begin_raw(self, exchange: Exchange) -> ObservedCall | None: ...

    def end_raw(self, call: ObservedCall, status: str, error: BaseException | None) -> None: ...


def watch_requests(listener: Listener) -> bool:
    """Begin to look, as soon as there is a client to look at; say whether requests are seen."""
    for name in _CLIENTS:
        if name not in _wrapped and (http := sys.modules.get(name)) is not None and hasattr(http, "AsyncClient"):
            with _lock:
                if name not in _wrapped:
                    http.AsyncClient.send = _watched_async(http.AsyncClient.send, http, listener)
                    http.Client.send = _watched(http.Client.send, http, listener)
                    _wrapped.add(name)
    return bool(_wrapped)


def _watched_async(send: Callable[..., Any], http: Any, listener: Listener) -> Callable[..., Any]:
    tap = type("_TappedAsync", (_TapAsync, http.AsyncByteStream), {})

    @functools.wraps(send)
    async def watched(client: Any, request: Any, **options: Any) -> Any:
        seen = _see(request, listener)
        if seen is None:
            return await send(client, request, **options)
        try:
            response = await send(client, request, **options)
        except BaseException as error:
            seen.fail(error)
            raise
        seen.answer(response, tap)
        return response

    return watched


def _watched(send: Callable[..., Any], http: Any, listener: Listener) -> Callable[..., Any]:
    tap = type("_Tapped", (_Tap, http.SyncByteStream), {})

    @functools.wraps(send)
    def watched(client: Any, request: Any, **options: Any) -> Any:
        seen = _see(request, listener)
        if seen is None:
            return send(client, request, **options)
        try:
            response = send(client, request, **options)
        except BaseException as error:
            seen.fail(error)
            raise
        seen.answer(response, tap)
        return response

    return watched


def _harmless(function: Callable[P, T]) -> Callable[P, T | None]:
    """Let no failure of ours get into somebody's request."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
            log.warning(
                "request_not_seen",
                where=function.__name__,
                error=type(error).__name__,
                text=read_failure(error, 300),
            )
            return None

    return guarded


@_harmless
def _see(request: Any, listener: Listener) -> "_Seen | None":
    """Look at a request that is about to be sent; None where it asks no model, or nobody listens."""
    if request.method != "POST":
        return None
    path = request.url.path
    ending = next((ending for ending in KINDS if path.endswith(ending)), None)
    if ending is None:
        return None
    kind = KINDS[ending]
    if kind != "embeddings":
        call = _sender(is_first=request.headers.get(_TRY, "0") == "0")
        if call is not None:
            return _Try(call, kind)
    url = str(request.url).partition("?")[0].removesuffix(ending)
    exchange = Exchange(kind, url, request.content)
    call = listener.begin_raw(exchange)
    return _RawCall(call, exchange, listener) if call is not None else None


def _sender(*, is_first: bool) -> ObservedCall | None:
    """The open call of this context that has sent nothing yet, or whose last try has failed.

    One ``generate`` may have started several, and each is sent in its turn.
    """
    call, failed = current_call.get(), None
    while call is not None:
        # What answers already has sent its own request, also where that cannot be seen.
        if call.is_open and is_first and not call.requests and call.first_token_at is None:
            return call
        if call.is_open and call.last_try == "failed" and failed is None:
            failed = call
        call = call.previous
    return failed


class _Seen(Protocol):
    def fail(self, error: BaseException) -> None: ...

    def answer(self, response: Any, tap: Callable[..., Any]) -> None: ...

    def hear(self, part: bytes) -> None: ...

    def end(self, error: BaseException | None, *, came_whole: bool) -> None: ...


class _Try:
    """A request of a call that LangChain tells of."""

    def __init__(self, call: ObservedCall, kind: str) -> None:
        self._call, self._kind = call, kind
        self._end: StreamEnd | None = None
        call.requests += 1
        call.last_try = "sent"
        call.first_request_at = call.first_request_at or time.monotonic()

    def fail(self, error: BaseException) -> None:
        # Who was cancelled will not try again.
        self._call.last_try = "failed" if isinstance(error, Exception) else "left"

    @_harmless
    def answer(self, response: Any, tap: Callable[..., Any]) -> None:
        call = self._call
        call.http_status = response.status_code
        call.request_id = response.headers.get("x-request-id") or call.request_id
        call.last_try = "failed" if response.status_code >= 400 else "answered"
        if self._kind != "chat" or response.status_code >= 400:
            return
        if response.is_closed:
            self.hear(response.content)
        elif is_readable_stream(response.headers):
            self._end = StreamEnd()
            response.stream = tap(response.stream, self)

    @_harmless
    def hear(self, part: bytes) -> None:
        if self._end is not None:
            self._end.hear(part)
        if b'"reasoning' in part and _THOUGHT.search(part):
            # The client may drop these: what they say is looked for when the call is written.
            self._call.overheard.append((time.monotonic(), part))

    @_harmless
    def end(self, error: BaseException | None, *, came_whole: bool) -> None:
        if came_whole and self._end is not None and not self._end.is_whole():
            self._call.is_unfinished = True


class _RawCall:
    """A request that is a call of its own."""

    def __init__(self, call: ObservedCall, exchange: Exchange, listener: Listener) -> None:
        self._call, self._exchange, self._listener = call, exchange, listener
        self._size = 0
        call.requests, call.watched, call.first_request_at = 1, True, call.began

    @_harmless
    def fail(self, error: BaseException) -> None:
        self._listener.end_raw(self._call, "error" if isinstance(error, Exception) else "cancelled", error)

    @_harmless
    def answer(self, response: Any, tap: Callable[..., Any]) -> None:
        call, exchange = self._call, self._exchange
        call.http_status = response.status_code
        call.request_id = response.headers.get("x-request-id")
        exchange.content_type = response.headers.get("content-type", "")
        if response.is_closed:
            exchange.parts.append((time.monotonic(), response.content))
            self.end(None, came_whole=True)
            return
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            make = type(response)
            exchange.decode = lambda content: (
                make(200, headers={"content-encoding": encoding}, content=content).content
            )
        response.stream = tap(response.stream, self)

    @_harmless
    def hear(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= _MOST_KEPT:
            self._exchange.parts.append((time.monotonic(), part))

    @_harmless
    def end(self, error: BaseException | None, *, came_whole: bool) -> None:
        status = self._call.http_status or 0
        if status >= 400:
            self._listener.end_raw(self._call, "error", RefusedRequestError(status))
        elif error is not None:
            self._listener.end_raw(self._call, "error", error)
        else:
            self._listener.end_raw(self._call, "ok" if came_whole else "cancelled", None)


class _TapAsync:
    """A response's bytes, given on as they come; whoever listens hears them too."""

    def __init__(self, stream: Any, seen: _Seen) -> None:
        self._stream, self._seen = stream, seen
        self._error: Exception | None = None
        self._came_whole = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for part in self._stream:
                self._seen.hear(part)
                yield part
        except Exception as error:
            self._error = error
            raise
        self._came_whole = True
        self._seen.end(None, came_whole=True)

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            self._seen.end(self._error, came_whole=self._came_whole)


class _Tap:
    def __init__(self, stream: Any, seen: _Seen) -> None:
        self._stream, self._seen = stream, seen
        self._error: Exception | None = None
        self._came_whole = False

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in self._stream:
                self._seen.hear(part)
                yield part
        except Exception as error:
            self._error = error
            raise
        self._came_whole = True
        self._seen.end(None, came_whole=True)

    def close(self) -> None:
        try:
            self._stream.close()
        finally:
            self._seen.end(self._error, came_whole=self._came_whole)
