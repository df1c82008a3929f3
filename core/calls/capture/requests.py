"""Sees the requests that are sent to model servers: whose tries they are, or that nobody else tells of them.

Most providers' packages send through ``httpx2`` or ``httpx``: the ``send`` of their clients is wrapped once. Others
go through Python's own ``http.client`` (``plain_http``) or ``aiohttp`` (``aiohttp_client``). Whatever is no request
to a model passes by. A request is a try of the call that LangChain has begun in its context, or else a call of its
own. Invariants: each request counts once; what is sent, what comes back and when is the same as without this; and a
failure in here is logged, breaks nothing, and leaves a row that says no more than that a request was sent.
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

from core.calls.capture.exchange import OTHER, Exchange, Form, RefusedRequestError, recognize
from core.calls.capture.observed import ObservedCall
from core.calls.stream_end import StreamEnd, is_readable_stream
from core.outside import read_failure

P = ParamSpec("P")
T = TypeVar("T")
_HTTPX = ("httpx2", "httpx")
_TRY = "x-stainless-retry-count"
# A longer answer's text is kept so far; an answer that comes whole is in memory anyway.
_MOST_KEPT = 32_000_000
_THOUGHT = re.compile(rb'"reasoning(?:_content)?"\s*:\s*"(?!")')
_lock = threading.Lock()
_wrapped: set[str] = set()
log = structlog.get_logger("skein.calls")

_is_sending: ContextVar[bool] = ContextVar("skein_is_sending", default=False)
"""Whether a request is just being sent: what it sends through another client is the same one."""
current_call: ContextVar[ObservedCall | None] = ContextVar("skein_current_call", default=None)


class Listener(Protocol):
    """Who is told of calls that are made without LangChain."""

    def begin_raw(self, exchange: Exchange | None) -> ObservedCall | None: ...

    def end_raw(self, call: ObservedCall, status: str, error: BaseException | None) -> None: ...


def watch_requests(listener: Listener) -> bool:
    """Begin to look, as soon as there is a client to look at; say whether requests are seen."""
    for name in _HTTPX:
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
        tries = request.headers.get(_TRY, "0")
        seen = see(request.method, str(request.url), tries, _content_of(request), listener)
        if seen is None:
            return await send(client, request, **options)
        sending = _is_sending.set(True)
        try:
            response = await send(client, request, **options)
        except BaseException as error:
            seen.fail(error)
            raise
        finally:
            _is_sending.reset(sending)
        seen.answer(response, tap)
        return response

    return watched


def _watched(send: Callable[..., Any], http: Any, listener: Listener) -> Callable[..., Any]:
    tap = type("_Tapped", (_Tap, http.SyncByteStream), {})

    @functools.wraps(send)
    def watched(client: Any, request: Any, **options: Any) -> Any:
        tries = request.headers.get(_TRY, "0")
        seen = see(request.method, str(request.url), tries, _content_of(request), listener)
        if seen is None:
            return send(client, request, **options)
        sending = _is_sending.set(True)
        try:
            response = send(client, request, **options)
        except BaseException as error:
            seen.fail(error)
            raise
        finally:
            _is_sending.reset(sending)
        seen.answer(response, tap)
        return response

    return watched


def _warn(where: str, error: Exception) -> None:
    log.warning("request_not_seen", where=where, error=type(error).__name__, text=read_failure(error, 300))


def harmless(function: Callable[P, T]) -> Callable[P, T | None]:
    """Let no failure of ours get into somebody's request."""

    @functools.wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T | None:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
            _warn(function.__name__, error)
            return None

    return guarded


def see(method: str, url: str, tries: str, content: bytes, listener: Listener) -> "Seen | None":
    """Look at a request that is about to be sent; None where it asks no model, or nobody listens.

    ``tries`` is how often its client has sent it before, as far as it says so.
    """
    if method != "POST" or _is_sending.get():
        return None
    try:
        known = recognize(url, content)
        if known is None:
            return None
        form, server, path = known
        if form.operation != "embeddings":
            call = _sender(is_first=tries == "0")
            if call is not None:
                return _Try(call, form, server)
        exchange = Exchange(form, server, path, content)
        call = listener.begin_raw(exchange)
        return _RawCall(call, exchange, listener) if call is not None else None
    except Exception as error:  # noqa: BLE001 - whatever it is, the request goes on
        _warn("see", error)
        return _only_request(listener)


def _content_of(request: Any) -> bytes:
    """What a request of httpx sends; nothing where it is read from somewhere while it is sent."""
    try:
        content: bytes = request.content
    except Exception:  # noqa: BLE001 - each of the two packages has an error of its own for it
        return b""
    return content


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


class Seen(Protocol):
    """A request on its way: who watches it tells what becomes of it."""

    def fail(self, error: BaseException) -> None: ...

    def answer(self, response: Any, tap: Callable[..., Any]) -> None: ...

    def hear(self, part: bytes) -> None: ...

    def end(self, error: BaseException | None, *, came_whole: bool) -> None: ...


class _Try:
    """A request of a call that LangChain tells of."""

    def __init__(self, call: ObservedCall, form: Form, server: str) -> None:
        self._call, self._form = call, form
        self._end: StreamEnd | None = None
        call.sent_to = server
        call.requests += 1
        call.last_try = "sent"
        call.first_request_at = call.first_request_at or time.monotonic()

    def fail(self, error: BaseException) -> None:
        # Who was cancelled will not try again.
        self._call.last_try = "failed" if isinstance(error, Exception) else "left"

    @harmless
    def answer(self, response: Any, tap: Callable[..., Any]) -> None:
        call = self._call
        call.http_status = response.status_code
        call.request_id = response.headers.get("x-request-id") or call.request_id
        call.last_try = "failed" if response.status_code >= 400 else "answered"
        if not self._form.is_chat_completion or response.status_code >= 400:
            return
        if response.is_closed:
            self.hear(response.content)
        elif is_readable_stream(response.headers):
            self._end = StreamEnd()
            response.stream = tap(response.stream, self)

    @harmless
    def hear(self, part: bytes) -> None:
        if self._end is not None:
            self._end.hear(part)
        if b'"reasoning' in part and _THOUGHT.search(part):
            # The client may drop these: what they say is looked for when the call is written.
            self._call.overheard.append((time.monotonic(), part))

    @harmless
    def end(self, error: BaseException | None, *, came_whole: bool) -> None:
        if not came_whole or self._end is None:
            return
        if self._end.is_whole():
            self._call.usage_event = self._end.usage()
        else:
            self._call.is_unfinished = True


@harmless
def _only_request(listener: Listener) -> "Seen | None":
    """A row that says no more than that a request was sent; it is nobody's, and so is seen to be missing."""
    call = listener.begin_raw(None)
    return _OnlyRequest(call, listener) if call is not None else None


class _OnlyRequest:
    """A request of which nothing could be read."""

    def __init__(self, call: ObservedCall, listener: Listener) -> None:
        self._call, self._listener = call, listener
        call.requests, call.watched, call.first_request_at = 1, True, call.began

    @harmless
    def fail(self, error: BaseException) -> None:
        self._listener.end_raw(self._call, "error" if isinstance(error, Exception) else "cancelled", error)

    @harmless
    def answer(self, response: Any, tap: Callable[..., Any]) -> None:
        self._call.http_status = response.status_code
        refused = RefusedRequestError(response.status_code) if response.status_code >= 400 else None
        self._listener.end_raw(self._call, "error" if refused else "ok", refused)

    def hear(self, part: bytes) -> None:
        pass

    def end(self, error: BaseException | None, *, came_whole: bool) -> None:
        pass


class _RawCall:
    """A request that is a call of its own."""

    def __init__(self, call: ObservedCall, exchange: Exchange, listener: Listener) -> None:
        self._call, self._exchange, self._listener = call, exchange, listener
        self._size = 0
        self._most = _MOST_KEPT
        call.requests, call.watched, call.first_request_at = 1, True, call.began

    @harmless
    def fail(self, error: BaseException) -> None:
        self._listener.end_raw(self._call, "error" if isinstance(error, Exception) else "cancelled", error)

    @harmless
    def answer(self, response: Any, tap: Callable[..., Any]) -> None:
        call, exchange = self._call, self._exchange
        call.http_status = response.status_code
        call.request_id = response.headers.get("x-request-id")
        exchange.content_type = response.headers.get("content-type", "")
        if exchange.form is OTHER and "json" not in exchange.content_type:
            self._most = 0  # a picture, or speech: nothing of it is read
        if response.is_closed:
            exchange.parts.append((time.monotonic(), response.content))
            self.end(None, came_whole=True)
            return
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            make = getattr(response, "decoder", type(response))
            exchange.decode = lambda content: (
                make(200, headers={"content-encoding": encoding}, content=content).content
            )
        response.stream = tap(response.stream, self)

    @harmless
    def hear(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= self._most:
            self._exchange.parts.append((time.monotonic(), part))

    @harmless
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

    def __init__(self, stream: Any, seen: Seen) -> None:
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
    def __init__(self, stream: Any, seen: Seen) -> None:
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
