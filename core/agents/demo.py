"""The offline demo model: a proper chat model that asks no language model and needs no network.

It streams at a given pace, calls tools, counts tokens and speaks English or Chinese. Invariants: the same
messages get the same answer, and the tokens streamed are, joined, exactly its text.
"""

import asyncio
import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LangSmithParams, LanguageModelInput
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import Field

from core.settings import DEMO_MODEL

_MOST_TOKENS, _LONGEST_SUMMARY, _BREATH = 20_000, 1_200, 32
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAS_CJK = re.compile(f"[{_CJK}]")
_TOKEN = re.compile(rf"\s*(?:[{_CJK}]|[^\s{_CJK}]+)|\s+")
_COUNT = re.compile(r"(?<![\d.])(\d{1,9})\s*个?\s*(?:tokens?(?![a-z])|词)", re.IGNORECASE)
_FIRST = re.compile(r"did i (say|write|ask) first|my first message|第一句|最先说", re.IGNORECASE)
_SUMMARY_ASKED = re.compile(r"summari[sz]e|(create|write|extend)\b.*\bsummary|总结|概括|摘要", re.IGNORECASE)
_SUMMARY_GIVEN = re.compile(r"[^\n]*(?:summary|摘要)[^\n]*[:\uff1a]\s*", re.IGNORECASE)

# What brings up which exhibit; the Chinese key words leave out the commonest words they are a part of.
_SHOWS = {
    r"\btables?\b|(?<!代)表(?![示达现明白情演扬面态])": "| | tokens | kept |\n| --- | ---: | :---: |\n"
    "| message | 8 | ✓ |\n| answer | 40 | ✓ |",
    r"\bcode\b|代码": "```python\ndef double(number: int) -> int:\n    return 2 * number\n```",
    r"\bmath\b|\bformulas?\b|公式": "$$\n\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}\n$$",
}
_LONG = re.compile(r"\blong\b|(?<![成校队部市增擅])长(?![大辈城])", re.IGNORECASE)

_Stop = list[str] | None
_Sync = CallbackManagerForLLMRun | None
_Async = AsyncCallbackManagerForLLMRun | None


@dataclass(frozen=True)
class _Texts:
    who: str
    seen: str
    first: str
    tool: str
    summary: str
    long: tuple[str, ...]
    hint: str
    space: str


_ENGLISH = _Texts(
    who="I am Skein's offline demo model, and no language model was asked. "
    "You wrote “{words}”. Earlier turns of this conversation that I was given: {count}.",
    seen="I was also given a summary of what came before.",
    first="The first thing you said, as far as I can see, was “{words}”.",
    tool="I am Skein's offline demo model, and no language model was asked. The tool answered:\n\n{result}",
    summary="(Summary by the offline demo model.) The person said: {words}.",
    long=(
        "Watch this arrive piece by piece, or leave the page and come back: a run goes on when nobody looks.",
        "Press Stop at any moment, and what was already said stays here, word for word, and can be retried.",
    )
    * 8,
    hint="Try the words **table**, **code**, **formula** or **long**, or ask what you said first.",
    space=" ",
)
_CHINESE = _Texts(
    who="我是 Skein 的离线演示模型,没有调用任何语言模型。你写的是“{words}”。我看到了这个对话里之前的 {count} 轮。",
    seen="我还看到了更早内容的摘要。",
    first="在我能看到的内容里,你说的第一句是“{words}”。",
    tool="这是 Skein 的离线演示模型,没有调用任何语言模型。工具的结果:\n\n{result}",
    summary="(离线演示模型的摘要)对方说过:{words}。",
    long=(
        "看着它一点一点出现,或者离开页面再回来:没有人看的时候运行也会继续。",
        "随时可以按下停止,已经说出的话会一字不差地留在这里,也可以重试。",
    )
    * 5,
    hint="可以试试这些词:**表格**、**代码**、**公式**、**长**,或者问我你第一句说了什么。",
    space="",
)


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
        """Offer tools; one is called when the last message names it, or `tool_choice` demands it."""
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
        """Seconds until this token is due, by the clock, so that a late stream catches up."""
        pace = self.tokens_per_second
        return max(begun + index / pace - time.monotonic(), 0) if pace else 0


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
    tool, text, call_id = _find_call(messages, options) or ("", _answer(messages), "")
    for word in () if tool else stop or ():
        text = text.partition(word)[0]
    tokens = _TOKEN.findall(text)
    given = sum(len(_TOKEN.findall(message.text)) for message in messages)
    usage = UsageMetadata(input_tokens=given, output_tokens=len(tokens), total_tokens=given + len(tokens))
    return _Reply(tokens, usage, tool, call_id)


def _answer(messages: list[BaseMessage]) -> str:
    said = [str(message.text) for message in messages if isinstance(message, HumanMessage)] or [""]
    texts = _CHINESE if _HAS_CJK.search(said[-1]) else _ENGLISH
    if messages and isinstance(messages[-1], ToolMessage):
        return texts.tool.format(result=messages[-1].text)
    system = [str(message.text) for message in messages if isinstance(message, SystemMessage)]
    # Only the first line of a system message can ask: the rest may be a summary that quotes people.
    # Nor can a first message: there is nothing yet to sum up.
    asked = [*said[1:][-1:], *(one.partition("\n")[0] for one in system)]
    if any(_SUMMARY_ASKED.search(text) for text in asked):
        return _summarise(said, system)
    if match := _COUNT.search(said[-1]):
        return " ".join(f"w{number}" for number in range(1, min(int(match[1]), _MOST_TOKENS) + 1))
    return "\n\n".join([_introduce(said, system, texts), *_exhibits(said[-1], texts)])


def _introduce(said: list[str], system: list[str], texts: _Texts) -> str:
    parts = [texts.who.format(words=_first_words(said[-1]), count=len(said) - 1)]
    parts += [texts.seen] if _earlier_summary(system) else []
    if _FIRST.search(said[-1]):
        parts.append(texts.first.format(words=" ".join(said[0].split())[:400]))
    return texts.space.join(parts)


def _exhibits(question: str, texts: _Texts) -> list[str]:
    shown = [text for key, text in _SHOWS.items() if re.search(key, question, re.IGNORECASE)]
    if _LONG.search(question):
        shown += [f"{number}. {text}" for number, text in enumerate(texts.long, start=1)]
    return shown or [texts.hint]


def _first_words(text: str) -> str:
    tokens = _TOKEN.findall(" ".join(text.split()))
    count = 16 if _HAS_CJK.search(text) else 8
    return "".join(tokens[:count])[:80] + ("…" if len(tokens) > count else "")


def _earlier_summary(system: list[str]) -> str:
    heads = ((text, _SUMMARY_GIVEN.match(text)) for text in system)
    return next((text[head.end() :].strip() for text, head in heads if head), "")


def _summarise(said: list[str], system: list[str]) -> str:
    people = said[:-1] if _SUMMARY_ASKED.search(said[-1]) else said
    texts = _CHINESE if _HAS_CJK.search("".join(people)) else _ENGLISH
    new = texts.summary.format(words=", ".join(f"“{_first_words(one)}”" for one in people) or "…")
    text = texts.space.join(part for part in (_earlier_summary(system), new) if part)
    return text if len(text) <= _LONGEST_SUMMARY else "…" + text[-_LONGEST_SUMMARY:]


def _find_call(messages: list[BaseMessage], options: dict[str, Any]) -> tuple[str, str, str] | None:
    """Find the tool to call: its name, its arguments as JSON, and the call's id."""
    tools = [tool["function"] for tool in options.get("tools") or () if "function" in tool]
    if not tools or not messages or isinstance(messages[-1], ToolMessage):
        return None
    question = next((m.text for m in reversed(messages) if isinstance(m, HumanMessage)), "")
    chosen = next((t for t in tools if _wanted(t["name"], question, options.get("tool_choice"))), None)
    if chosen is None:
        return None
    args = _json_object(question) or _default(chosen.get("parameters") or {})
    text = json.dumps(args, ensure_ascii=False)
    seen = "\0".join([chosen["name"], *(f"{message.type}:{message.text}" for message in messages)])
    return chosen["name"], text, "call_" + hashlib.sha256(seen.encode(errors="replace")).hexdigest()[:16]


def _wanted(name: str, question: str, choice: object) -> bool:
    if isinstance(choice, dict):
        choice = choice.get("function", {}).get("name")
    if choice and choice not in ("auto", "none"):
        return choice is True or choice in ("any", "required", name)
    pattern = rf"(?<![A-Za-z0-9_]){re.escape(name)}(?![A-Za-z0-9_])"
    return choice != "none" and re.search(pattern, question, re.IGNORECASE) is not None


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found, _ = json.JSONDecoder().raw_decode(text, text.index("{"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _default(schema: dict[str, Any]) -> Any:
    for given in (schema.get("default"), schema.get("const"), *schema.get("enum", ())[:1]):
        if given is not None:
            return given
    if choices := schema.get("anyOf"):
        return _default(next((one for one in choices if one.get("type") != "null"), {}))
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: _default(properties.get(name, {})) for name in schema.get("required", ())}
    simple: dict[str, Any] = {"integer": 1, "number": 1.0, "boolean": True, "array": []}
    return simple.get(str(schema.get("type")), "demo")
