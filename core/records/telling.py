"""Telling a record in words: what turns took, and texts of anybody's inside of our own Markdown.

What people and models wrote is Markdown itself and may be hostile. Invariant: ``quoted`` keeps a text inside a
block quote of its own, and no heading, fence, list or tag of it goes beyond; ``inline`` keeps one inside a line.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from core.records.compare import Totals

NOTES = {
    "queued": "It waits for its turn.",
    "running": "It is still being written.",
    "waiting": "It waits for a person's decision.",
    "stopped": "It was stopped; this is what had been said.",
    "failed": "It failed; this is what had been said.",
    "lost": "Its process ended; this is what had been said.",
}
_LONGEST_LINE = 2_000
_LINE_END = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_DOUBTFUL_FENCE = re.compile(r"[ \t>*+\-\d.)]+(?:`{3}|~{3})|(?:`{3}|~{3}).*\|")
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~#$]")


def amounts(totals: Totals) -> Iterator[str]:
    """What turns took, each amount with its unit, first how many they are; "" for what there is none of."""
    yield counted(totals.messages, "message")
    yield f"{totals.seconds:,.1f} s" if totals.seconds else ""
    yield counted(totals.calls, "call") if totals.calls else ""
    yield f"{totals.running} running" if totals.running else ""
    yield counted(totals.errors, "error") if totals.errors else ""
    if totals.calls:
        about = "about " if totals.estimated else ""
        yield f"{about}{totals.input_tokens:,} tokens in, {totals.output_tokens:,} out"
        yield _cost(totals)


def _cost(totals: Totals) -> str:
    if totals.cost_usd is None:
        return "unpriced" if totals.unpriced else ""
    amount = f"${f'{totals.cost_usd:,.9f}'.rstrip('0').rstrip('.')}"
    return f"at least {amount} ({counted(totals.unpriced, 'call')} unpriced)" if totals.unpriced else amount


def counted(number: int, noun: str) -> str:
    """1 call, 2 calls."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def joined(parts: Iterable[str]) -> str:
    """The parts in one line, without those that are empty."""
    return " · ".join(part for part in parts if part)


def moment(at: datetime) -> str:
    """A moment to the second, in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def inline(text: str) -> str:
    """The text as words of one line: nothing in it is taken for Markdown."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def quoted(text: str) -> str:
    """The text as a block quote; it reads as the Markdown that it is, but for its HTML."""
    return "\n".join(f"> {line}" if line else ">" for line in _without_html(text))


def _without_html(text: str) -> Iterator[str]:
    """The lines of a Markdown text whose tags are plain text; code in fences stays as it is.

    A fence at the very beginning of a line surely begins code, until there is one that may belong to a list or a
    table: what that does to those behind it depends on where the list ends.
    """
    fence, is_sure = "", True
    block: list[str] = []
    for line in _LINE_END.split(text):
        is_sure = is_sure and (bool(fence) or not _DOUBTFUL_FENCE.match(line))
        opening = _FENCE.match(line) if is_sure and not fence else None
        if not fence and not opening and line.strip(" \t"):
            block.append(line)
            continue
        yield from _plain_tags(block)
        yield line
        block = []
        if opening:
            fence = opening[1] or opening[2]
        elif _closes(fence, line):
            fence = ""
    yield from _plain_tags(block)


def _closes(fence: str, line: str) -> bool:
    mark = line.lstrip(" ").rstrip(" \t")
    return len(line) - len(line.lstrip(" ")) < 4 and len(mark) >= len(fence) > 0 and set(mark) == {fence[0]}


def _plain_tags(block: list[str]) -> Iterator[str]:
    """The lines of a paragraph; code inside of them is kept where each line opens and closes its own.

    Otherwise what is code depends on where the paragraph, or a cell of a table, really begins.
    """
    keeps_code = all(_is_balanced(line) for line in block)
    for line in block:
        spans = [*_CODE.finditer(line)] if keeps_code else []
        done, parts = 0, []
        for span in spans:
            parts += [_TAG.sub("&lt;", line[done : span.start()]), span[0]]
            done = span.end()
        yield "".join([*parts, _TAG.sub("&lt;", line[done:])])


def _is_balanced(line: str) -> bool:
    if len(line) > _LONGEST_LINE or "|" in line or "\\`" in line:
        return False
    return "`" not in _CODE.sub("", line)
