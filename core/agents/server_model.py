"""The chat model of Skein's own server: langchain-openai's, with what servers other than OpenAI's say or leave out.

It keeps what a model thought (``reasoning_content``) beside its answer, tells usage once however often the server
does, asks without ``stream_options`` where those are refused, and takes an answer that broke off for a failure.
Invariant: what was thought never becomes a part of the answer, and goes back to the server only where a setting
says so.
"""

from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any

import httpx2
from langchain_core.exceptions import ModelAPIError
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, subtract_usage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_openai import ChatOpenAI
from openai import APIStatusError, DefaultAsyncHttpxClient, DefaultHttpxClient
from pydantic import Field

from core.agents.answer_parts import UnreadableAnswerError, read_piece
from core.agents.models import READING_ERRORS, is_unreadable_answer
from core.calls.chunks import REASONING
from core.calls.stream_end import StreamEnd, is_readable_stream, until_error

# As DeepSeek and vLLM call it, and as Ollama, OpenRouter and newer vLLM do.
_REASONING_KEYS = (REASONING, "reasoning")
_BESIDE = (REASONING, "refusal")


class NoCompletionError(ModelAPIError):
    """The server's answer to a request for a stream was none, such as a proxy's page."""


class AnswerCutError(httpx2.RemoteProtocolError):
    """A stream ended before the server had said that the answer was whole, or told of an error."""


@dataclass
class ServerTraits:
    """What was learnt about a server, for all models that are asked from it."""

    takes_stream_options: bool = True


class ServerModel(ChatOpenAI):
    """A chat model of an OpenAI-compatible server, asked by Chat Completions."""

    echo_reasoning: bool = False
    traits: ServerTraits = Field(default_factory=ServerTraits, exclude=True)

    # -- what is sent -----------------------------------------------------------------------------------

    def _get_request_payload(self, input_: Any, *, stop: list[str] | None = None, **kwargs: Any) -> dict[str, Any]:
        payload: dict[str, Any] = super()._get_request_payload(input_, stop=stop, **kwargs)
        if self.echo_reasoning:
            messages = self._convert_input(input_).to_messages()
            for message, sent in zip(messages, payload["messages"], strict=True):
                if isinstance(message, AIMessage) and (thought := message.additional_kwargs.get(REASONING)):
                    sent[REASONING] = thought
        return payload

    def _should_stream_usage(self, stream_usage: bool | None = None, **kwargs: Any) -> bool:
        return self.traits.takes_stream_options and super()._should_stream_usage(stream_usage, **kwargs)

    # -- what comes back --------------------------------------------------------------------------------

    def _create_chat_result(self, response: Any, generation_info: dict[str, Any] | None = None) -> ChatResult:
        result = super()._create_chat_result(response, generation_info)
        choices = response["choices"] if isinstance(response, dict) else response.choices
        for generation, choice in zip(result.generations, choices, strict=True):
            # Of a message that the client has read, what it does not know stands apart.
            message = choice["message"] if isinstance(choice, dict) else choice.message.model_extra
            if thought := _thought_in(message or {}):
                generation.message.additional_kwargs[REASONING] = thought
        return result

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        if "chunk" not in chunk:  # as of a form that the client itself puts together
            chunk = read_piece(chunk)
        made = super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        choices = chunk.get("choices") or (chunk.get("chunk") or {}).get("choices")
        if made is not None and choices:
            delta = choices[0].get("delta") or {}
            if thought := _thought_in(delta):
                made.message.additional_kwargs[REASONING] = thought
            if isinstance(refusal := delta.get("refusal"), str) and refusal:
                made.message.additional_kwargs["refusal"] = refusal
        return made

    def _get_generation_chunk_from_completion(self, completion: Any) -> ChatGenerationChunk:
        made = super()._get_generation_chunk_from_completion(completion)
        for name in _BESIDE:
            # The chunks before have told it, piece by piece.
            made.message.additional_kwargs.pop(name, None)
        return made

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        heard, may_learn = _Heard(), True
        while may_learn:
            asked = self.traits.takes_stream_options
            try:
                with closing(super()._stream(*args, **kwargs)) as chunks:  # type: ignore[type-var]
                    for chunk in chunks:
                        yield heard.take(chunk)
                may_learn = False
            except APIStatusError as error:
                may_learn = asked and self._learn(error)
                if not may_learn:
                    raise
            except READING_ERRORS as error:
                if not is_unreadable_answer(error):
                    raise
                raise UnreadableAnswerError("The server's answer could not be read.") from error
        heard.require_something()

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        heard, may_learn = _Heard(), True
        while may_learn:
            asked = self.traits.takes_stream_options
            try:
                async with aclosing(super()._astream(*args, **kwargs)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        yield heard.take(chunk)
                may_learn = False
            except APIStatusError as error:
                may_learn = asked and self._learn(error)
                if not may_learn:
                    raise
            except READING_ERRORS as error:
                if not is_unreadable_answer(error):
                    raise
                raise UnreadableAnswerError("The server's answer could not be read.") from error
        heard.require_something()

    def _learn(self, error: APIStatusError) -> bool:
        """Whether the server refused to be asked for usage; it is not asked for it again."""
        is_it = (
            error.status_code in {400, 422} and "stream_options" in f"{error.param} {error.message} {error.body}"
        )
        if is_it:
            self.traits.takes_stream_options = False
        return is_it


class _Heard:
    """What the chunks of one answer have told so far."""

    def __init__(self) -> None:
        self._usage: UsageMetadata | None = None
        self._came = False

    def take(self, chunk: ChatGenerationChunk) -> ChatGenerationChunk:
        """Let a chunk's usage be what it adds to those before, since LangChain sums them up."""
        self._came = True
        message = chunk.message
        if not isinstance(message, AIMessageChunk) or message.usage_metadata is None:
            return chunk
        usage, message.usage_metadata = message.usage_metadata, None
        if usage["input_tokens"] or usage["output_tokens"]:
            message.usage_metadata = subtract_usage(usage, self._usage)
            self._usage = usage
        return chunk

    def require_something(self) -> None:
        """NoCompletionError where no chunk came at all."""
        if not self._came:
            raise NoCompletionError("The server answered with no piece of a completion.")


def _thought_in(message: Mapping[str, Any]) -> str:
    found = (message.get(name) for name in _REASONING_KEYS)
    return next((thought for thought in found if isinstance(thought, str) and thought), "")


# -- the connections to the server -------------------------------------------------------------------------


def open_async_client(timeout: float) -> httpx2.AsyncClient:
    """Make the connections for models that are awaited; close them in the loop that used them."""
    return DefaultAsyncHttpxClient(timeout=timeout, event_hooks={"response": [_check_async]})


def open_client(timeout: float) -> httpx2.Client:
    """Make the connections for models that are called from threads."""
    return DefaultHttpxClient(timeout=timeout, event_hooks={"response": [_check]})


async def _check_async(response: httpx2.Response) -> None:
    if is_readable_stream(response.headers) and isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _CheckedAsync(response.stream)


def _check(response: httpx2.Response) -> None:
    if is_readable_stream(response.headers) and isinstance(response.stream, httpx2.SyncByteStream):
        response.stream = _Checked(response.stream)


class _CheckedAsync(httpx2.AsyncByteStream):
    """A stream that breaks where it ends too early, as it does when the connection breaks."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream, self._end = stream, StreamEnd()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        is_first = True
        async for part in self._stream:
            if is_first:
                part, is_first = part.removeprefix(BOM_UTF8), False  # noqa: PLW2901
            self._end.hear(part)
            if (last := until_error(part)) is not None:
                yield last
                break
            yield part
        _require_whole(self._end)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Checked(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._stream, self._end = stream, StreamEnd()

    def __iter__(self) -> Iterator[bytes]:
        is_first = True
        for part in self._stream:
            if is_first:
                part, is_first = part.removeprefix(BOM_UTF8), False  # noqa: PLW2901
            self._end.hear(part)
            if (last := until_error(part)) is not None:
                yield last
                break
            yield part
        _require_whole(self._end)

    def close(self) -> None:
        self._stream.close()


def _require_whole(end: StreamEnd) -> None:
    if not end.is_whole():
        raise AnswerCutError("The stream ended before the answer was whole.")
