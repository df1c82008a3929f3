"""Sees requests that go through Python's own ``http.client``, as those of ``requests``, ``urllib3``, ``boto3``.

What a connection sends is kept from the start of a POST until its response is awaited, and the file that the
response is read from is listened to. Invariant: all is given on as it is, and a failure in here breaks nothing.
"""

import functools
import http.client
from collections.abc import Callable
from typing import Any

import httpx

from core.calls.capture.exchange import UnfinishedAnswerError
from core.calls.capture.requests import Listener, Seen, harmless, see

_MOST_SENT = 32_000_000


def watch_plain_http(listener: Listener) -> None:
    """Begin to look; once."""
    connection: Any = http.client.HTTPConnection
    connection.putrequest = _begun(connection.putrequest)
    connection.send = _sent(connection.send, listener)
    connection.getresponse = _answered(connection.getresponse, listener)


class _Outgoing:
    """A POST on its way out: its address, and all that was sent for it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.parts: list[bytes] = []
        self.size = 0

    def keep(self, data: Any) -> None:
        if isinstance(data, (bytes, bytearray, memoryview)) and self.size + len(data) <= _MOST_SENT:
            self.parts.append(bytes(data))
            self.size += len(data)

    def read(self) -> tuple[bytes, str]:
        """The body, and how often the client says that it has sent it before."""
        head, _, body = b"".join(self.parts).partition(b"\r\n\r\n")
        fields = head.lower()
        if b"\r\ntransfer-encoding: chunked" in fields:
            body = _without_chunks(body)
        _, found, rest = fields.partition(b"\r\nx-stainless-retry-count:")
        return body, rest.split(b"\r\n")[0].strip().decode("latin-1") if found else "0"


def _without_chunks(body: bytes) -> bytes:
    parts = []
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size.split(b";")[0] or b"0", 16)
        if not length:
            break
        parts.append(body[:length])
        body = body[length + 2 :]
    return b"".join(parts)


def _begun(putrequest: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(putrequest)
    def watched(connection: Any, method: str, url: str, *args: Any, **options: Any) -> Any:
        connection.skein_outgoing = _outgoing(connection, url) if method == "POST" else None
        return putrequest(connection, method, url, *args, **options)

    return watched


@harmless
def _outgoing(connection: Any, url: str) -> _Outgoing:
    if "://" in url:
        return _Outgoing(url)
    host = connection._tunnel_host or connection.host
    port = connection._tunnel_port or connection.port
    scheme = "https" if isinstance(connection, http.client.HTTPSConnection) else "http"
    usual = 443 if scheme == "https" else 80
    shown = f"[{host}]" if ":" in host else host
    return _Outgoing(f"{scheme}://{shown}{'' if port == usual else f':{port}'}{url}")


def _sent(send: Callable[..., Any], listener: Listener) -> Callable[..., Any]:
    @functools.wraps(send)
    def watched(connection: Any, data: Any) -> Any:
        outgoing = getattr(connection, "skein_outgoing", None)
        if outgoing is None:
            return send(connection, data)
        outgoing.keep(data)
        # What is sent meanwhile opens the way through a proxy.
        connection.skein_outgoing = None
        try:
            return send(connection, data)
        except BaseException as error:
            # It is sent no more, and so nobody awaits its response.
            if (seen := _see(outgoing, listener)) is not None:
                seen.fail(error)
            outgoing = None
            raise
        finally:
            connection.skein_outgoing = outgoing

    return watched


def _answered(getresponse: Callable[..., Any], listener: Listener) -> Callable[..., Any]:
    @functools.wraps(getresponse)
    def watched(connection: Any, *args: Any, **options: Any) -> Any:
        outgoing = getattr(connection, "skein_outgoing", None)
        connection.skein_outgoing = None
        seen = _see(outgoing, listener) if outgoing is not None else None
        if seen is None:
            return getresponse(connection, *args, **options)
        try:
            response = getresponse(connection, *args, **options)
        except BaseException as error:
            seen.fail(error)
            raise
        _hear(response, seen)
        return response

    return watched


@harmless
def _see(outgoing: _Outgoing, listener: Listener) -> Seen | None:
    body, tries = outgoing.read()
    return see("POST", outgoing.url, tries, body, listener)


@harmless
def _hear(response: Any, seen: Seen) -> None:
    file, response_seen = response.fp, _Response(response)
    seen.answer(response_seen, lambda _, seen: _TappedFile(response, seen))
    if response_seen.stream is not None and file is not None:
        response.fp = response_seen.stream


class _Response:
    """A response as those of httpx look, as far as who watches a request asks."""

    decoder = httpx.Response

    def __init__(self, response: Any) -> None:
        self.status_code: int = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.is_closed = response.fp is None
        self.content = b""
        self.stream: Any = None


class _TappedFile:
    """The file that a response is read from; without the sizes of chunks, whoever listens hears what is read."""

    def __init__(self, response: Any, seen: Seen) -> None:
        self._file, self._seen = response.fp, seen
        self._is_chunked = bool(response.chunked)
        self._left: int | None = 0 if self._is_chunked else response.length
        self._came_whole = False
        self._error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, *args: Any) -> Any:
        data = self._read(self._file.read, *args)
        self._hear(data)
        return data

    def read1(self, *args: Any) -> Any:
        data = self._read(self._file.read1, *args)
        self._hear(data)
        return data

    def readinto(self, buffer: Any) -> Any:
        count = self._read(self._file.readinto, buffer)
        self._hear(bytes(memoryview(buffer)[:count]))
        return count

    def readline(self, *args: Any) -> Any:
        data = self._read(self._file.readline, *args)
        if self._is_chunked and not self._left:
            self._begin_chunk(data)
        else:
            self._hear(data)
        return data

    def _read(self, read: Callable[..., Any], *args: Any) -> Any:
        try:
            return read(*args)
        except Exception as error:
            self._error = error
            raise

    def close(self) -> None:
        try:
            self._file.close()
        finally:
            self._seen.end(self._error, came_whole=self._came_whole)

    @harmless
    def _begin_chunk(self, line: bytes) -> None:
        """A line between chunks: the size of the next one, or what ends them."""
        size = line.split(b";")[0].strip()
        if not line and not self._came_whole:
            self._error = UnfinishedAnswerError()
        elif size and not self._came_whole:
            self._left = int(size, 16)
            self._came_whole = self._left == 0

    @harmless
    def _hear(self, data: bytes) -> None:
        if self._left is None:
            # It ends where the connection does.
            self._came_whole = not data
        elif self._left > 0 and not data:
            self._error = UnfinishedAnswerError()
        elif self._is_chunked:
            data = data[: self._left]
            self._left -= len(data)
        else:
            self._left -= len(data)
            self._came_whole = self._left <= 0
        if data:
            self._seen.hear(data)
