"""Sees the requests of ``aiohttp``, where it is installed, by its own tracing, which every session is opened with.

Tracing tells of the request and its response; what is read of a stream is listened to. Invariant: what is read is
given on as it is, and a failure in here breaks nothing.
"""

import functools
from types import SimpleNamespace
from typing import Any

from core.calls.capture.requests import Listener, Seen, harmless, see


def watch_aiohttp(aiohttp: Any, listener: Listener) -> None:
    """Begin to look at every session that is opened from now on; once."""
    make: Any = aiohttp.ClientSession.__init__

    @functools.wraps(make)
    def watched(session: Any, *args: Any, **options: Any) -> None:
        configs = [*(options.pop("trace_configs", None) or ()), _trace(aiohttp, listener)]
        make(session, *args, trace_configs=configs, **options)

    aiohttp.ClientSession.__init__ = watched


def _trace(aiohttp: Any, listener: Listener) -> Any:
    @harmless
    def see_it(request: SimpleNamespace, params: Any, body: bytes) -> None:
        if not hasattr(request, "seen"):
            tries = params.headers.get("x-stainless-retry-count", "0") if hasattr(params, "headers") else "0"
            request.seen = see(params.method, str(params.url), tries, body, listener)

    async def on_chunk_sent(_session: Any, request: SimpleNamespace, params: Any) -> None:
        see_it(request, params, params.chunk)

    async def on_end(_session: Any, request: SimpleNamespace, params: Any) -> None:
        see_it(request, params, b"")
        if (seen := request.seen) is not None:
            _answer(params.response, seen)

    async def on_exception(_session: Any, request: SimpleNamespace, params: Any) -> None:
        see_it(request, params, b"")
        if (seen := request.seen) is not None:
            seen.fail(params.exception)

    trace = aiohttp.TraceConfig()
    trace.on_request_chunk_sent.append(on_chunk_sent)
    trace.on_request_end.append(on_end)
    trace.on_request_exception.append(on_exception)
    return trace


@harmless
def _answer(response: Any, seen: Seen) -> None:
    plain = _Response(response)
    seen.answer(plain, _TappedReader)
    if plain.stream is not response.content:
        response.content = plain.stream


class _Response:
    """A response as those of httpx look, as far as who watches a request asks; its stream is decoded already."""

    def __init__(self, response: Any) -> None:
        self.status_code: int = response.status
        self.headers = {name.lower(): value for name, value in response.headers.items()}
        self.headers.pop("content-encoding", None)
        self.is_closed, self.content = False, b""
        self.stream: Any = response.content


class _TappedReader:
    """The reader of a response; whoever listens hears what is read of it."""

    def __init__(self, reader: Any, seen: Seen) -> None:
        self._reader, self._seen = reader, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def read(self, *args: Any) -> Any:
        return await self._heard(self._reader.read(*args))

    async def readany(self) -> Any:
        return await self._heard(self._reader.readany())

    async def readexactly(self, count: int) -> Any:
        return await self._heard(self._reader.readexactly(count))

    async def readline(self, *args: Any, **options: Any) -> Any:
        return await self._heard(self._reader.readline(*args, **options))

    async def readuntil(self, *args: Any, **options: Any) -> Any:
        return await self._heard(self._reader.readuntil(*args, **options))

    async def readchunk(self) -> Any:
        return await self._heard(self._reader.readchunk())

    def read_nowait(self, *args: Any) -> Any:
        data = self._reader.read_nowait(*args)
        self._hear(data)
        return data

    def __aiter__(self) -> Any:
        return type(self._reader).__aiter__(self)

    def iter_chunked(self, size: int) -> Any:
        return type(self._reader).iter_chunked(self, size)

    def iter_any(self) -> Any:
        return type(self._reader).iter_any(self)

    def iter_chunks(self) -> Any:
        return type(self._reader).iter_chunks(self)

    async def _heard(self, reading: Any) -> Any:
        try:
            data = await reading
        except Exception as error:
            self._seen.end(error, came_whole=False)
            raise
        self._hear(data[0] if isinstance(data, tuple) else data)
        return data

    @harmless
    def _hear(self, data: bytes) -> None:
        if data:
            self._seen.hear(data)
        if self._reader.at_eof():
            self._seen.end(None, came_whole=True)
