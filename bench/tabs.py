"""A browser's tab without a browser: it speaks Streamlit's protocol over a websocket and watches an answer grow.

It sends what the front end sends (a first run, the text of the chat input, the timers of fragments) and reads every
delta. Invariant: it takes for the answer only the numbered words ``w1 w2 ...``, wherever on the page they stand, so
a word that is lost, doubled or somebody else's shows.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

_WORD = re.compile(r"\bw\d+\b")
_PATIENCE = 60.0


@dataclass
class Answer:
    """What one tab saw of one answer; times in seconds since it was sent."""

    first: float | None = None
    whole: float = 0.0
    gaps: list[float] = field(default_factory=list)
    wire_bytes: int = 0
    text_bytes: int = 0
    streamed: list[str] = field(default_factory=list)
    final: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lost(self, tokens: int) -> int:
        """How many words are missing from the page when all is over."""
        return len(set(_expected(tokens)) - set(self.final))

    def doubled(self, tokens: int) -> int:
        """How many words stood where they should not, while it was written or afterwards."""
        wrong = len(self.final) - len(set(self.final))
        in_order = self.streamed == _expected(len(self.streamed)) and self.final == _expected(len(self.final))
        return wrong + (not in_order) + len(set(self.final) - set(_expected(tokens)))


class Tab:
    """One tab; ``open`` it, ``ask`` once or more, ``close`` it."""

    def __init__(self, port: int, cookie: str = "") -> None:
        self._port = port
        self._cookie = cookie
        self._query = self._page = self._chat_input = ""
        self._texts: dict[tuple[int, ...], str] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._finished = asyncio.Event()
        self._answer: Answer | None = None
        self._asked = self._last = 0.0
        self._most = 0
        self._problems: list[str] = []

    async def open(self) -> None:
        """Connect, and wait until the page is drawn."""
        headers = {"Cookie": self._cookie} if self._cookie else {}
        self._socket: ClientConnection = await connect(
            f"ws://127.0.0.1:{self._port}/_stcore/stream",
            subprotocols=["streamlit"],  # type: ignore[list-item]
            additional_headers=headers,
            compression=None,
            max_size=None,
        )
        self._reading = asyncio.create_task(self._read())
        await self._rerun()
        await asyncio.wait_for(self._finished.wait(), _PATIENCE)
        if not self._chat_input:
            raise RuntimeError(f"The page has no chat input: {self._problems or 'it was drawn without one'}")

    async def ask(self, text: str, *, patience: float = _PATIENCE) -> Answer:
        """Send a message, and watch until its answer stands on the finished page."""
        self._answer, self._most = Answer(), 0
        self._finished.clear()
        self._asked = self._last = time.perf_counter()
        await self._rerun(text)
        try:
            await asyncio.wait_for(self._finished.wait(), patience)
        except TimeoutError:
            self._problems.append("the answer did not come to an end")
        answer, self._answer = self._answer, None
        answer.whole = time.perf_counter() - self._asked
        answer.final = self._words()
        answer.problems = self._problems
        return answer

    async def close(self) -> None:
        self._stop_timers()
        self._reading.cancel()
        await self._socket.close()

    async def _rerun(self, text: str = "", fragment: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self._query, self._page
        if text:
            widget = state.widget_states.widgets.add()
            widget.id, widget.chat_input_value.data = self._chat_input, text
        if fragment:
            state.fragment_id, state.is_auto_rerun = fragment, True
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        async for frame in self._socket:
            at, message = time.perf_counter(), ForwardMsg()
            message.ParseFromString(frame)  # type: ignore[arg-type]
            if self._answer is not None:
                self._answer.wire_bytes += len(frame)
            self._take(message, at, len(frame))
        self._problems.append("the server closed the connection")
        self._finished.set()

    def _take(self, message: Any, at: float, size: int) -> None:
        match message.WhichOneof("type"):
            case "delta":
                self._take_delta(message, at, size)
            case "new_session":
                self._page = message.new_session.page_script_hash
                if not message.metadata.run.fragment_ids:
                    self._begin_anew()
            case "page_info_changed":
                self._query = message.page_info_changed.query_string
            case "auto_rerun":
                self._start_timer(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            case "script_finished":
                done = message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY
                if done and (self._answer is None or self._most):
                    self._keep_streamed()
                    self._finished.set()

    def _take_delta(self, message: Any, at: float, size: int) -> None:
        path = tuple(message.metadata.delta_path)
        element = message.delta.new_element if message.delta.HasField("new_element") else None
        kind = element.WhichOneof("type") if element is not None else None
        self._texts.pop(path, None)
        if kind == "chat_input":
            self._chat_input = element.chat_input.id
        elif kind == "exception":
            self._problems.append(element.exception.message)
        elif kind == "markdown" and _WORD.search(element.markdown.body):
            self._texts[path] = element.markdown.body
            self._see_text(at, size)

    def _see_text(self, at: float, size: int) -> None:
        answer, words = self._answer, sum(text.count("w") for text in self._texts.values())
        if answer is None or words <= self._most:
            return
        if answer.first is None:
            answer.first = at - self._asked
        else:
            answer.gaps.append(at - self._last)
        answer.text_bytes += size
        self._most, self._last = words, at

    def _begin_anew(self) -> None:
        self._keep_streamed()
        self._texts.clear()
        self._stop_timers()

    def _keep_streamed(self) -> None:
        if self._answer is not None and not self._answer.streamed:
            self._answer.streamed = self._words()

    def _words(self) -> list[str]:
        return [word for path in sorted(self._texts) for word in _WORD.findall(self._texts[path])]

    def _start_timer(self, fragment: str, interval: float) -> None:
        if fragment not in self._timers:
            self._timers[fragment] = asyncio.create_task(self._tick(fragment, interval))

    async def _tick(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._rerun(fragment=fragment)

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def _expected(tokens: int) -> list[str]:
    return [f"w{number}" for number in range(1, tokens + 1)]
