"""How the stream of a Chat Completions answer ended, read from its last bytes.

Invariant: an answer counts as whole when its server said so, by a finish reason or by ``[DONE]``, and told of no
error. What a model wrote can say neither: inside JSON its quotes and line breaks are escaped.
"""

import re
from collections import deque
from collections.abc import Mapping

_KEPT = 16_384
_FINISHED = re.compile(rb'(?<!\\)"finish_reason"\s*:\s*"')
_DONE = re.compile(rb"^data: ?\[DONE\]", re.MULTILINE)
_ERROR = re.compile(rb"^event: ?error\s*$", re.MULTILINE)
_USAGE = re.compile(rb'(?<!\\)"usage"\s*:\s*\{')
_END_OF_EVENT = re.compile(rb"\r?\n\r?\n")


class StreamEnd:
    """Keeps the end of a stream while it passes by."""

    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        self._size = 0

    def hear(self, part: bytes) -> None:
        """Take the next bytes."""
        self._parts.append(part)
        self._size += len(part)
        while self._size - len(self._parts[0]) > _KEPT:
            self._size -= len(self._parts.popleft())

    def is_whole(self) -> bool:
        """Whether the stream, now at its end, held a whole answer."""
        end = b"".join(self._parts)
        return not _ERROR.search(end) and bool(_FINISHED.search(end) or _DONE.search(end))

    def usage(self) -> bytes:
        """The data of the last event that tells a usage; b"" where none does."""
        end = b"".join(self._parts)
        at = end.rfind(b'"usage"')
        while at >= 0:
            start, stop = end.rfind(b"\n", 0, at) + 1, end.find(b"\n", at)
            line = end[start : stop if stop >= 0 else len(end)]
            if line.startswith(b"data:") and _USAGE.search(line):
                return line.removeprefix(b"data:")
            at = end.rfind(b'"usage"', 0, start)
        return b""


def until_error(part: bytes) -> bytes | None:
    """The bytes up to the end of an error event, if one begins in them; None where there is none."""
    error = _ERROR.search(part) if b"error" in part else None
    if error is None:
        return None
    end = _END_OF_EVENT.search(part, error.end())
    return part[: end.end()] if end else part


def is_readable_stream(headers: Mapping[str, str]) -> bool:
    """Whether a response is a stream of events, and not compressed."""
    is_stream = headers.get("content-type", "").startswith("text/event-stream")
    return is_stream and headers.get("content-encoding", "identity") == "identity"
