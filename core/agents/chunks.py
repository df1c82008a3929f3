"""What a model says in one piece of its message: words for people, and what it thought before them.

Providers differ: a text, a list of content blocks (thinking, reasoning, text), or ``reasoning_content`` beside the
text. Invariant: words and thoughts never mix, and what is neither (a tool call, a signature) is none of the two.
"""

from collections.abc import Iterator, Mapping
from typing import Any

REASONING = "reasoning_content"


def split_content(content: Any, beside: Mapping[str, Any] | None = None) -> tuple[str, str]:
    """The words and the thoughts in a message's content; ``beside`` are its additional arguments."""
    words: list[str] = []
    thoughts: list[str] = []
    reasoning = (beside or {}).get(REASONING)
    if isinstance(reasoning, str):
        thoughts.append(reasoning)
    if isinstance(content, str):
        return content, "".join(thoughts)
    for block in content if isinstance(content, list) else ():
        if isinstance(block, str):
            words.append(block)
        elif isinstance(block, Mapping):
            words += _texts(block, "text") if block.get("type") in {"text", "output_text"} else ()
            thoughts += _thoughts(block)
    return "".join(words), "".join(thoughts)


def _thoughts(block: Mapping[str, Any]) -> Iterator[str]:
    kind = block.get("type")
    if kind == "thinking":
        yield from _texts(block, "thinking")
    elif kind == "reasoning":
        yield from _texts(block, "reasoning")
        for part in block.get("summary") or ():
            if isinstance(part, Mapping):
                yield from _texts(part, "text")
    elif kind == REASONING:
        inner = block.get(REASONING)
        yield from _texts(inner if isinstance(inner, Mapping) else block, "text")


def _texts(block: Mapping[str, Any], name: str) -> Iterator[str]:
    text = block.get(name)
    if isinstance(text, str):
        yield text
