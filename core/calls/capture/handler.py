"""Hears every LLM call of this process, whoever makes it, and tells the log whose run it belongs to.

LangChain attaches the one handler to every call: with callbacks or without, in tools, subgraphs, batches and bare
threads. Of calls without LangChain it is told by ``requests``. Invariant: what it does on a call's way takes
microseconds and cannot fail the call; who a call belongs to is read from the call and its own context (a given one,
the thread in its metadata, the run it is made in), never from what runs beside it.
"""

import asyncio
import copy
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from langchain_core.runnables.config import var_child_runnable_config
from langchain_core.tracers.context import register_configure_hook

from core.calls.capture.aiohttp_client import watch_aiohttp
from core.calls.capture.exchange import Exchange, UnfinishedAnswerError
from core.calls.capture.observed import ObservedCall, plain_answer, plain_message
from core.calls.capture.plain_http import watch_plain_http
from core.calls.capture.requests import current_call, watch_requests
from core.calls.context import THREAD_KEY, given_context, run_thread
from core.ids import new_call_id
from core.tables import utc_now

_ENDED_KEPT = 5_000
_LEFT = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt)


class Sink(Protocol):
    """Who takes what was heard: a call when it starts and, once more, when it has ended."""

    def put(self, call: ObservedCall) -> None: ...


class CallHandler(BaseCallbackHandler):
    """The one handler of the process; all its state is who listens and which calls are open."""

    run_inline = True
    raise_error = False
    ignore_chain = ignore_agent = ignore_retriever = ignore_retry = ignore_custom_event = True

    def __init__(self) -> None:
        self._sinks: list[Sink] = []
        self._sink_of_run: dict[str, Sink] = {}
        self._ended_runs: deque[str] = deque()
        self._open: dict[UUID, tuple[ObservedCall, Sink]] = {}

    # -- who listens ------------------------------------------------------------------------------------

    def add_sink(self, sink: Sink) -> None:
        self._sinks = [*self._sinks, sink]
        watch_requests(self)

    def remove_sink(self, sink: Sink) -> None:
        self._sinks = [one for one in self._sinks if one is not sink]
        self._sink_of_run = {thread: one for thread, one in self._sink_of_run.items() if one is not sink}

    def begin_run(self, thread_id: str, sink: Sink) -> None:
        """Let this sink have the calls of a run that begins."""
        self._sink_of_run[thread_id] = sink
        watch_requests(self)

    def end_run(self, thread_id: str) -> None:
        """Remember a while whose it was: what it left behind in threads may still call."""
        self._ended_runs.append(thread_id)
        while len(self._ended_runs) > _ENDED_KEPT:
            self._sink_of_run.pop(self._ended_runs.popleft(), None)

    def open_calls(self, sink: Sink) -> list[ObservedCall]:
        """The calls of this sink that have started and not ended."""
        return [call for call, owner in list(self._open.values()) if owner is sink]

    def abandon(self, call: ObservedCall, status: str) -> None:
        """End a call that will not report its end itself."""
        self._finish(call.run_id, status)

    # -- what LangChain says ----------------------------------------------------------------------------

    def on_chat_model_start(
        self, serialized: dict[str, Any] | None, messages: list[list[BaseMessage]], *, run_id: UUID, **kwargs: Any
    ) -> None:
        prompt = [plain_message(message) for message in messages[0]] if messages else []
        self._start("chat", serialized, prompt, run_id, kwargs)

    def on_llm_start(
        self, serialized: dict[str, Any] | None, prompts: list[str], *, run_id: UUID, **kwargs: Any
    ) -> None:
        prompt = [{"role": "user", "content": text} for text in prompts]
        self._start("text_completion", serialized, prompt, run_id, kwargs)

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **kwargs: Any) -> None:
        if (found := self._open.get(run_id)) is not None:
            found[0].hear(token, chunk)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **kwargs: Any) -> None:
        if (found := self._open.get(run_id)) is not None:
            try:
                _take_response(found[0], response)
            finally:
                if found[0].is_unfinished:
                    self._finish(run_id, "error", UnfinishedAnswerError())
                else:
                    self._finish(run_id, "ok")

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> None:
        self._finish(run_id, "cancelled" if isinstance(error, _LEFT) else "error", error)

    # -- what goes over the wire without LangChain ------------------------------------------------------

    def begin_raw(self, exchange: Exchange | None) -> ObservedCall | None:
        """Begin a call that nobody else tells of; what it asks is read by the writer. None where nobody listens.

        Without an exchange it is a request of which nothing is known, also not whose it is.
        """
        if exchange is None:
            return self._begin(uuid4(), {}, parent_run_id=None, operation="request")
        metadata = {"ls_provider": exchange.form.provider, **_metadata_around()}
        return self._begin(uuid4(), metadata, parent_run_id=_run_around(), wire=exchange)

    def end_raw(self, call: ObservedCall, status: str, error: BaseException | None) -> None:
        """End it; one that has ended stays as it is."""
        self._finish(call.run_id, status, error)

    # -- both -------------------------------------------------------------------------------------------

    def _start(
        self,
        operation: str,
        serialized: Mapping[str, Any] | None,
        prompt: list[dict[str, Any]],
        run_id: UUID,
        more: Mapping[str, Any],
    ) -> None:
        metadata = dict(more.get("metadata") or {})
        if given_context() is None and THREAD_KEY not in metadata:
            metadata = _metadata_around() | metadata
        self._finish(run_id, "cancelled")  # an id that is used again belongs to a new call
        before = current_call.get()
        call = self._begin(
            run_id,
            metadata,
            parent_run_id=more.get("parent_run_id"),
            operation=operation,
            prompt=prompt,
            params=_own(more.get("invocation_params") or {}),
            serialized=serialized or {},
            tags=list(more.get("tags") or ()),
            previous=before if before is not None and before.is_open else None,
            watched=watch_requests(self),
        )
        if call is not None:
            current_call.set(call)

    def _begin(self, run_id: UUID, metadata: dict[str, Any], **known: Any) -> ObservedCall | None:
        """Open a call and tell whoever has it; None where nobody listens."""
        context = given_context()
        thread_id = context.thread_id if context else metadata.get(THREAD_KEY) or metadata.get("thread_id")
        sink = self._sink_for(str(thread_id) if thread_id else None)
        if sink is None:
            return None
        call = ObservedCall(
            call_id=new_call_id(),
            run_id=run_id,
            created_at=utc_now(),
            began=time.monotonic(),
            os_thread=threading.get_ident(),
            context=context,
            thread_id=str(thread_id) if thread_id else None,
            metadata=metadata,
            **known,
        )
        self._open[run_id] = (call, sink)
        sink.put(call)
        return call

    def _sink_for(self, thread_id: str | None) -> Sink | None:
        if thread_id is not None and (sink := self._sink_of_run.get(thread_id)) is not None:
            return sink
        return self._sinks[-1] if self._sinks else None

    def _finish(self, run_id: UUID, status: str, error: BaseException | None = None) -> None:
        call, sink = self._open.pop(run_id, (None, None))
        if call is not None and sink is not None and call.end(status, error):
            sink.put(call)


def _metadata_around() -> dict[str, Any]:
    """What the run around a call says of it, where the call was given callbacks and metadata of its own."""
    thread_id = run_thread.get()
    if thread_id is None:
        return {}
    around = (var_child_runnable_config.get() or {}).get("metadata") or {}
    return {**around, THREAD_KEY: thread_id}


def _run_around() -> UUID | None:
    """The LangChain run that a call without LangChain is made in."""
    callbacks = (var_child_runnable_config.get() or {}).get("callbacks")
    found = getattr(callbacks, "parent_run_id", None)
    return found if isinstance(found, UUID) else None


def _own(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """The parameters with lists of their own, which the caller may go on to change."""
    return {name: _copied(value) if isinstance(value, (list, dict)) else value for name, value in params.items()}


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception:  # noqa: BLE001 - what cannot be copied must not keep its call out of the log
        return value


def _take_response(call: ObservedCall, response: LLMResult) -> None:
    found = [one for generations in response.generations for one in generations]
    messages = [one.message for one in found if isinstance(one, ChatGeneration)]
    call.response = [plain_answer(message) for message in messages] or [
        {"role": "assistant", "content": one.text} for one in found
    ]
    call.message, call.llm_output = messages[0] if messages else None, response.llm_output


handler = CallHandler()
watch_plain_http(handler)
if find_spec("aiohttp") is not None:
    watch_aiohttp(import_module("aiohttp"), handler)
# A variable whose default is the handler is seen in every thread and context, also in bare ones.
_everywhere: ContextVar[CallHandler | None] = ContextVar("skein_call_handler", default=handler)
register_configure_hook(_everywhere, inheritable=False)
