"""A browser's tab without a browser: it speaks Streamlit's protocol over a websocket and watches an answer grow.

It sends what the front end sends (a first run, the text of the chat input, clicks, the timers of fragments) and
keeps the page as the front end does: blocks and elements by place, from which each run that ends takes away what it
has not drawn again. Invariant: it takes for the answer only the numbered words ``w1 w2 ...`` that stand on the page
and did not stand there before it asked, so a word that is lost, doubled or somebody else's shows.
"""

import asyncio
import re
import time
from dataclasses import dataclass, field
from html import unescape
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

_WORD = re.compile(r"\bw\d+\b")
_WRITTEN = 'class="skein-written"'
_PATIENCE = 60.0
_WHOLE = ForwardMsg.FINISHED_SUCCESSFULLY
_FRAGMENT = ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY
Path = tuple[int, ...]


@dataclass
class Answer:
    """What one tab saw of one answer; times in seconds since it was sent.

    ``runs`` are the script runs that it took, each with the fragments that it ran (none: the whole page).
    """

    first: float | None = None
    whole: float = 0.0
    gaps: list[float] = field(default_factory=list)
    wire_bytes: int = 0
    text_bytes: int = 0
    frames: int = 0
    frames_to_first: int = 0
    text_frames: int = 0
    runs: list[tuple[str, ...]] = field(default_factory=list)
    streamed: list[str] = field(default_factory=list)
    final: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lost(self, tokens: int) -> int:
        """How many words are missing from the page when all is over."""
        return len(set(_expected(tokens)) - set(self.final))

    def streamed_whole(self, tokens: int) -> bool:
        """Whether all words came, in order, while it was written."""
        return self.streamed == _expected(tokens)

    def doubled(self, tokens: int) -> int:
        """How many words stood where they should not, while it was written or afterwards."""
        wrong = len(self.final) - len(set(self.final))
        in_order = self.streamed == _expected(len(self.streamed)) and self.final == _expected(len(self.final))
        return wrong + (not in_order) + len(set(self.final) - set(_expected(tokens)))


@dataclass
class _Node:
    run: str
    fragment: str
    block: str = ""
    element: Any = None


class Page:
    """What is on the screen, by place, as the front end keeps it."""

    def __init__(self) -> None:
        self._nodes: dict[Path, _Node] = {}
        self._run = ""
        # Numbered words by place: to look through all of the page for each frame would cost more than the server.
        self._numbered: dict[Path, str] = {}

    def begin(self, run: str) -> None:
        self._run = run

    def draw(self, path: Path, delta: Any) -> None:
        """Put an element or a block at its place; a block of the same kind keeps what is in it."""
        node, there = _Node(self._run, delta.fragment_id), self._nodes.get(path)
        if delta.HasField("add_block"):
            node.block = delta.add_block.WhichOneof("type") or "container"
        else:
            node.element = delta.new_element
        if there is not None and there.block and there.block != node.block:
            self._drop_below(path)
        self._nodes[path] = node
        self._numbered.pop(path, None)
        is_text = node.element is not None and node.element.WhichOneof("type") == "markdown"
        if is_text and _WORD.search(node.element.markdown.body):
            self._numbered[path] = node.element.markdown.body

    def end(self, run: str, fragments: tuple[str, ...]) -> None:
        """Take away what this run should have drawn again, and has not."""
        for path, node in list(self._nodes.items()):
            if node.run != run and (not fragments or self._is_inside(path, run, fragments)):
                self._nodes.pop(path, None)
                self._numbered.pop(path, None)
                self._drop_below(path)

    def _is_inside(self, path: Path, run: str, fragments: tuple[str, ...]) -> bool:
        node = self._nodes.get(path)
        if node is None or not (node.block or node.fragment):
            return False
        above = (self._nodes.get(path[:length]) for length in range(1, len(path)))
        return any(one is not None and one.run == run and one.fragment in fragments for one in above)

    def _drop_below(self, path: Path) -> None:
        for other in [other for other in self._nodes if len(other) > len(path) and other[: len(path)] == path]:
            del self._nodes[other]
            self._numbered.pop(other, None)

    def elements(self) -> list[Any]:
        """All elements in their order on the screen."""
        return [self._nodes[path].element for path in sorted(self._nodes) if self._nodes[path].element is not None]

    def texts(self) -> list[str]:
        """What stands on the page as Markdown, and what people wrote, in order."""
        return [text for text in map(_text_of, self.elements()) if text is not None]

    def count_numbered(self) -> int:
        """How many numbered words there are, or a few more: cheap enough for each frame."""
        return sum(text.count("w") for text in self._numbered.values())

    def numbered(self) -> list[str]:
        """The numbered words, in their order on the screen."""
        return [word for path in sorted(self._numbered) for word in _WORD.findall(self._numbered[path])]

    def count(self) -> int:
        """How many blocks and elements there are."""
        return len(self._nodes)


class Tab:
    """One tab; ``open`` it, ``ask`` once or more, ``click``, ``close`` it.

    ``port`` is where it connects to; ``page`` and ``query`` what it opens.
    """

    def __init__(self, port: int, cookie: str = "", *, page: str = "", query: str = "") -> None:
        self._port = port
        self._cookie = cookie
        self._page_name, self._query, self._page_hash = page, query, ""
        self._session = ""
        self.page = Page()
        self._is_running = False
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._finished = asyncio.Event()
        self._grown, self._pong = asyncio.Event(), asyncio.Event()
        self._answer: Answer | None = None
        self._asked = self._last = 0.0
        self._before = self._most = 0
        self._problems: list[str] = []
        self.timers_seen: set[str] = set()
        self.frames = 0

    async def open(self) -> None:
        """Connect, and wait until the page is drawn."""
        await self._connect()
        await self._rerun()
        await self.wait_until_drawn()

    async def wait_until_drawn(self, patience: float = _PATIENCE) -> None:
        await asyncio.wait_for(self._finished.wait(), patience)

    async def _connect(self) -> None:
        self._socket: ClientConnection = await connect(
            f"ws://127.0.0.1:{self._port}/_stcore/stream",
            subprotocols=["streamlit", *(["no-token", self._session] if self._session else [])],  # type: ignore[list-item]
            additional_headers={"Cookie": self._cookie} if self._cookie else {},
            compression=None,
            max_size=None,
        )
        self._reading = asyncio.create_task(self._read())

    async def reconnect(self) -> None:
        """Lose the line at once, and come back as the front end does: it asks for a run when one was going on."""
        was_running = self._is_running
        self._stop_timers()
        self._reading.cancel()
        self._socket.transport.abort()
        await self._connect()
        if was_running:
            await self._rerun()

    async def ask(self, text: str, *, patience: float = _PATIENCE) -> Answer:
        """Send a message, and watch until its answer stands on the finished page."""
        await self.say(text)
        return await self.watch(patience=patience)

    async def say(self, text: str) -> None:
        """Send a message; ``watch`` looks at what comes of it."""
        self._answer, self._before = Answer(), len(self._words())
        self._most = self._before
        self._finished.clear()
        self._asked = self._last = time.perf_counter()
        await self._rerun(text)

    async def watch(self, *, patience: float = _PATIENCE) -> Answer:
        try:
            await asyncio.wait_for(self._finished.wait(), patience)
        except TimeoutError:
            self._problems.append("the answer did not come to an end")
        answer, self._answer = self._answer, None
        assert answer is not None
        answer.whole = time.perf_counter() - self._asked
        answer.final = self._words()[self._before :]
        answer.problems = self._problems
        return answer

    async def watch_no_longer(self) -> Answer:
        """What has come of the answer by now."""
        answer, self._answer = self._answer, None
        assert answer is not None
        answer.streamed, answer.problems = self._words()[self._before :], self._problems
        return answer

    async def ping(self) -> None:
        """Ask whether the server is there; its answer comes behind all that it has sent before."""
        self._pong.clear()
        message = BackMsg()
        message.app_heartbeat = True
        await self._socket.send(message.SerializeToString())
        await self._pong.wait()

    async def go(self, page: str) -> None:
        """Open another page, as a click in the menu does."""
        self._answer = None
        self._finished.clear()
        self._query, self._page_hash, self._page_name = "", "", page
        await self._rerun()

    @property
    def query(self) -> str:
        """What stands behind the page's address."""
        return self._query

    async def words_seen(self, count: int, *, patience: float = _PATIENCE) -> None:
        """Wait until so many words of the answer stand there."""
        async with asyncio.timeout(patience):
            while len(self._words()) - self._before < count:
                self._grown.clear()
                await self._grown.wait()

    async def click(self, label: str) -> None:
        """Click the button with this label."""
        for element in self.page.elements():
            if element.WhichOneof("type") == "button" and element.button.label == label:
                self._finished.clear()
                await self._rerun(button=element.button.id)
                return
        raise LookupError(f"There is no button {label!r} on the page.")

    def has(self, kind: str) -> bool:
        """Whether an element of this kind is on the page."""
        return any(element.WhichOneof("type") == kind for element in self.page.elements())

    async def closed(self, patience: float = _PATIENCE) -> int:
        """Wait until the server closes the connection; gives its close code."""
        await asyncio.wait_for(self._socket.wait_closed(), patience)
        return self._socket.close_code or 0

    async def close(self) -> None:
        self._stop_timers()
        self._reading.cancel()
        await self._socket.close()

    async def _rerun(self, text: str = "", fragment: str = "", button: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_script_hash = self._query, self._page_hash
        if not self._page_hash:
            state.page_name = self._page_name
        if text:
            widget = state.widget_states.widgets.add()
            widget.id, widget.chat_input_value.data = self._chat_input(), text
        if button:
            widget = state.widget_states.widgets.add()
            widget.id, widget.trigger_value = button, True
        if fragment:
            state.fragment_id, state.is_auto_rerun = fragment, True
        await self._socket.send(message.SerializeToString())

    def _chat_input(self) -> str:
        for element in self.page.elements():
            if element.WhichOneof("type") == "chat_input":
                return str(element.chat_input.id)
        raise LookupError(f"The page has no chat input: {self._problems or 'it was drawn without one'}")

    async def _read(self) -> None:
        async for frame in self._socket:
            at, message = time.perf_counter(), ForwardMsg()
            message.ParseFromString(frame)  # type: ignore[arg-type]
            self.frames += 1
            if self._answer is not None:
                self._answer.wire_bytes += len(frame)
                self._answer.frames += 1
            self._take(message, at, len(frame))
        self._problems.append("the server closed the connection")
        self._finished.set()

    def _take(self, message: Any, at: float, size: int) -> None:
        match message.WhichOneof("type"):
            case "delta":
                self._take_delta(message, at, size)
            case "new_session":
                self._begin(message)
            case "page_info_changed":
                self._query = message.page_info_changed.query_string
            case "auto_rerun":
                self._start_timer(message.auto_rerun.fragment_id, message.auto_rerun.interval)
            case "script_finished":
                self._end(message)
            case "heartbeat_ack":
                self._pong.set()

    def _begin(self, message: Any) -> None:
        run = message.metadata.run
        self._is_running = True
        self._session = message.new_session.initialize.session_id
        self._page_hash = message.new_session.page_script_hash
        self.page.begin(run.script_run_id)
        if not run.fragment_ids:
            self._stop_timers()
        if self._answer is not None:
            self._answer.runs.append(tuple(run.fragment_ids))

    def _end(self, message: Any) -> None:
        if message.script_finished not in {_WHOLE, _FRAGMENT}:
            return
        self._is_running = False
        answer = self._answer
        if answer is not None and not answer.streamed:
            answer.streamed = self._words()[self._before :]
        self.page.end(message.metadata.run.script_run_id, tuple(message.metadata.run.fragment_ids))
        if answer is None or self._most > self._before:
            self._finished.set()

    def _take_delta(self, message: Any, at: float, size: int) -> None:
        self.page.draw(tuple(message.metadata.delta_path), message.delta)
        element = message.delta.new_element if message.delta.HasField("new_element") else None
        kind = element.WhichOneof("type") if element is not None else None
        if kind == "exception":
            self._problems.append(element.exception.message)
        elif kind == "markdown" and _WORD.search(element.markdown.body):
            self._see_text(at, size)

    def _see_text(self, at: float, size: int) -> None:
        answer, words = self._answer, self.page.count_numbered()
        if answer is None:
            return
        answer.text_frames += 1
        self._grown.set()
        if words <= self._most:
            return
        if answer.first is None:
            answer.first, answer.frames_to_first = at - self._asked, answer.frames
        else:
            answer.gaps.append(at - self._last)
        answer.text_bytes += size
        self._most, self._last = words, at

    def _words(self) -> list[str]:
        return self.page.numbered()

    def _start_timer(self, fragment: str, interval: float) -> None:
        self.timers_seen.add(fragment)
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


def _text_of(element: Any) -> str | None:
    match element.WhichOneof("type"):
        case "markdown":
            return str(element.markdown.body)
        case "html" if _WRITTEN in element.html.body:
            return unescape(re.sub("<[^>]*>", "", element.html.body))
    return None


def _expected(tokens: int) -> list[str]:
    return [f"w{number}" for number in range(1, tokens + 1)]
