"""The offline demo model: a proper chat model that asks no language model and needs no network.

It streams at a given pace, calls tools, counts tokens and speaks English or Chinese. Invariants: the same
messages get the same answer, and the tokens streamed are, joined, exactly its text.
"""

import asyncio
import json
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from core.agents.demo.calls import find_call
from core.agents.demo.words import TOKEN, answer
from core.settings import DEMO_MODEL

_BREATH = 32
_MOMENT = 0.02

_Stop = list[str] | None
_Sync = CallbackManagerForLLMRun | None
_Async = AsyncCallbackManagerForLLMRun | None


@dataclass(frozen=True)
class _Reply:
    """What is said, or the arguments of the tool that is called, in tokens; and what it cost."""

    tokens: list[str]
    usage: UsageMetadata
    tool: str = ""
    call_id: str = ""

    @property
    def metadata(self) -> dict[str, Any]:
        return {"model_name": DEMO_MODEL, "finish_reason": "tool_calls" if self.tool else "stop"}


class DemoChatModel(BaseChatModel):
    """A deterministic stand-in for a language model; `tokens_per_second` 0 means without delay."""

    model_name: str = DEMO_MODEL
    temperature: float | None = None
    tokens_per_second: float = Field(default=50, ge=0)

    @property
    def _llm_type(self) -> str:
        return "skein-demo"

    def _get_ls_params(self, stop: _Stop = None, **kwargs: Any) -> LangSmithParams:
        return super()._get_ls_params(stop=stop, **kwargs) | LangSmithParams(ls_provider="skein-demo")

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Offer tools; ``demo_calls`` says which of them is called, and when."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    def _stream(
        self, messages: list[BaseMessage], stop: _Stop = None, run_manager: _Sync = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        begun = time.monotonic()
        for index, chunk in enumerate(_chunks(_plan(messages, stop, kwargs))):
            if ahead := self._ahead(index, begun):
                time.sleep(ahead)
            if run_manager:
                run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    async def _astream(
        self, messages: list[BaseMessage], stop: _Stop = None, run_manager: _Async = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        begun = time.monotonic()
        for index, chunk in enumerate(_chunks(_plan(messages, stop, kwargs))):
            if ahead := self._ahead(index, begun):
                await asyncio.sleep(ahead)
            elif index % _BREATH == 0:
                # Also without a pace the loop must get its turn, or nobody could stop this stream.
                await asyncio.sleep(0)
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk

    def _generate(
        self, messages: list[BaseMessage], stop: _Stop = None, run_manager: _Sync = None, **kwargs: Any
    ) -> ChatResult:
        reply = _plan(messages, stop, kwargs)
        time.sleep(self._ahead(len(reply.tokens), time.monotonic()))
        return _result(reply)

    async def _agenerate(
        self, messages: list[BaseMessage], stop: _Stop = None, run_manager: _Async = None, **kwargs: Any
    ) -> ChatResult:
        reply = _plan(messages, stop, kwargs)
        await asyncio.sleep(self._ahead(len(reply.tokens), time.monotonic()))
        return _result(reply)

    def _ahead(self, index: int, begun: float) -> float:
        """Seconds until this token is due, by the clock, so that a late stream catches up.

        All streams speak at the same moments, so that many of them are one thing to wake up for.
        """
        pace = self.tokens_per_second
        if not pace or not index:
            return 0
        due = math.ceil((begun + index / pace) / _MOMENT) * _MOMENT
        return max(due - time.monotonic(), 0)


def _chunks(reply: _Reply) -> Iterator[ChatGenerationChunk]:
    if reply.tool:
        head = tool_call_chunk(name=reply.tool, args="", id=reply.call_id, index=0)
        yield ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=[head]))
    for token in reply.tokens:
        part: Any = {"tool_call_chunks": [tool_call_chunk(args=token, index=0)]} if reply.tool else {}
        yield ChatGenerationChunk(message=AIMessageChunk(content="" if part else token, **part))
    last = AIMessageChunk(content="", usage_metadata=reply.usage, chunk_position="last")
    yield ChatGenerationChunk(message=last, generation_info=reply.metadata)


def _result(reply: _Reply) -> ChatResult:
    text = "".join(reply.tokens)
    calls = [{"name": reply.tool, "args": json.loads(text), "id": reply.call_id}] if reply.tool else []
    message = AIMessage(content="" if calls else text, tool_calls=calls, usage_metadata=reply.usage)
    return ChatResult(generations=[ChatGeneration(message=message, generation_info=reply.metadata)])


def _plan(messages: list[BaseMessage], stop: list[str] | None, options: dict[str, Any]) -> _Reply:
    tool, text, call_id = find_call(messages, options) or ("", answer(messages), "")
    for word in () if tool else stop or ():
        text = text.partition(word)[0]
    tokens = TOKEN.findall(text)
    given = sum(len(TOKEN.findall(message.text)) for message in messages)
    usage = UsageMetadata(input_tokens=given, output_tokens=len(tokens), total_tokens=given + len(tokens))
    return _Reply(tokens, usage, tool, call_id)
