"""What a model says in one piece of its message: words for people, what it thought before them, and its usage.

Providers differ: a text, a list of content blocks (thinking, reasoning, text, refusal), or ``reasoning_content``
beside the text. Invariant: words and thoughts never mix, and what is neither (a tool call, a signature) is none of
the two.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

REASONING = "reasoning_content"
_WORDS = {"text": "text", "output_text": "text", "refusal": "refusal"}
_THOUGHTS = {"thinking", "reasoning", REASONING}
_CALLS = {"tool_use", "tool_call", "tool_call_chunk", "invalid_tool_call", "function_call", "input_json_delta"}


def split_content(content: Any, beside: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """The words and the thoughts in a message's content; ``beside`` are its additional arguments.

    What stands beside counts only where the content has none of its kind: LangChain may hold it in both places.
    """
    if isinstance(content, str):
        words, thoughts = content, ""
    else:
        blocks = content if isinstance(content, list) else ()
        words = "".join(text for block in blocks for text in _words(block))
        thoughts = "".join(text for block in blocks for text in _thoughts(block))
    if beside:
        refusal = beside.get("refusal")
        if not words and isinstance(refusal, str):
            words = refusal
        thoughts = thoughts or "".join(_thoughts_beside(beside))
    return words, thoughts


def split_blocks(blocks: list[Any]) -> tuple[str | list[Any], str]:
    """What content blocks say without their thoughts, and the thoughts; nothing but words is given as a text.

    Tool calls are left out where all else is words: a message tells them beside its content.
    """
    words, thoughts = split_content(blocks)
    blocks = [_standard(block) for block in blocks]
    others = [block for block in blocks if _kind(block) not in _CALLS and not _is_spoken(block)]
    if not others:
        return words, thoughts
    return [block for block in blocks if _kind(block) not in _THOUGHTS], thoughts


@dataclass(slots=True)
class ChunkUsage:
    """Tells when a server repeats an answer's whole usage in its chunks, which LangChain then adds up.

    Where chunks tell parts, one of them names the input; the whole, told again, names the same input each time, and
    an output that never falls.
    """

    last: Mapping[str, Any] | None = None
    times: int = 0
    is_repeated: bool = True

    def hear(self, usage: Mapping[str, Any]) -> None:
        """Take what one chunk reports, in LangChain's form."""
        taken, said = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
        if not taken and not said:
            return
        if self.last is not None:
            same = taken == self.last.get("input_tokens") and taken > 0
            self.is_repeated = self.is_repeated and same and said >= (self.last.get("output_tokens") or 0)
        self.last, self.times = usage, self.times + 1

    @property
    def whole(self) -> Mapping[str, Any] | None:
        """The usage that was told several times; None where chunks told parts, or told it once."""
        return self.last if self.times > 1 and self.is_repeated else None


def _standard(block: Any) -> Any:
    """A provider's own block, out of what LangChain wraps it in."""
    is_wrapped = _kind(block) == "non_standard" and isinstance(block.get("value"), Mapping)
    return block["value"] if is_wrapped else block


def _kind(block: Any) -> str:
    return str(block.get("type")) if isinstance(block, Mapping) else "text"


def _is_spoken(block: Any) -> bool:
    """Whether words or thoughts are all that a block holds; a text with sources holds more."""
    if _kind(block) in _THOUGHTS:
        return True
    return _kind(block) in _WORDS and not (isinstance(block, Mapping) and block.get("annotations"))


def _words(block: Any) -> Iterator[str]:
    if isinstance(block, str):
        yield block
    elif isinstance(block, Mapping):
        block = _standard(block)
        if (kind := _kind(block)) in _WORDS:
            yield from _texts(block, _WORDS[kind])


def _thoughts(block: Any) -> Iterator[str]:
    if not isinstance(block, Mapping):
        return
    block = _standard(block)
    kind = _kind(block)
    if kind == "thinking":
        yield from _texts(block, "thinking")
    elif kind == "reasoning":
        yield from _texts(block, "reasoning")
        for part in (*_parts(block, "summary"), *_parts(block, "content")):
            yield from _texts(part, "text")
    elif kind == REASONING:
        inner = block.get(REASONING)
        yield from _texts(inner if isinstance(inner, Mapping) else block, "text")


def _thoughts_beside(beside: Mapping[str, Any]) -> Iterator[str]:
    yield from _texts(beside, REASONING)
    if isinstance(reasoning := beside.get("reasoning"), Mapping):
        yield from _thoughts({**reasoning, "type": "reasoning"})


def _parts(block: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = block.get(name)
    return [part for part in found if isinstance(part, Mapping)] if isinstance(found, list) else []


def _texts(block: Mapping[str, Any], name: str) -> Iterator[str]:
    text = block.get(name)
    if isinstance(text, str):
        yield text
