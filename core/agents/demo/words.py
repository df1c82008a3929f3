"""What the offline demo model says: that it is one, what it saw, and a few exhibits by key word.

Invariant: every answer is made from the messages alone, and says that no language model was asked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage, ToolMessage

from core.agents.file_blocks import files_in, words_in

MOST_TOKENS = 20_000
_LONGEST_SUMMARY, _LONGEST_RESULT = 1_200, 4_000
CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
HAS_CJK = re.compile(f"[{CJK}]")
TOKEN = re.compile(rf"\s*(?:[{CJK}]|[^\s{CJK}]+)|\s+")
_COUNT = re.compile(r"(?<![\d.])(\d{1,9})\s*个?\s*(?:tokens?(?![a-z])|词)", re.IGNORECASE)
_FIRST = re.compile(r"did i (say|write|ask) first|my first message|第一句|最先说", re.IGNORECASE)
_SUMMARY_ASKED = re.compile(r"summari[sz]e|(create|write|extend)\b.*\bsummary|总结|概括|摘要", re.IGNORECASE)
# The first of the words decides: where no colon follows that one, none follows a later one.
_SUMMARY_GIVEN = re.compile(r"(?=(?>[^\n]*?(?:summary|摘要))[^\n]*[:\uff1a])[^\n]*[:\uff1a]\s*", re.IGNORECASE)

# What brings up which exhibit; the Chinese key words leave out the commonest words they are a part of.
_SHOWS = {
    r"\btables?\b|(?<!代)表(?![示达现明白情演扬面态])": "| | tokens | kept |\n| --- | ---: | :---: |\n"
    "| message | 8 | ✓ |\n| answer | 40 | ✓ |",
    r"\bcode\b|代码": "```python\ndef double(number: int) -> int:\n    return 2 * number\n```",
    r"\bmath\b|\bformulas?\b|公式": "$$\n\\sum_{k=1}^{n} k = \\frac{n(n+1)}{2}\n$$",
}
_LONG = re.compile(r"\blong\b|(?<![成校队部市增擅])长(?![大辈城])", re.IGNORECASE)


@dataclass(frozen=True)
class Texts:
    who: str
    seen: str
    files: str
    first: str
    tool: str
    tools: str
    left: str
    draft: str
    parts: tuple[str, ...]
    summary: str
    long: tuple[str, ...]
    hint: str
    space: str


_ENGLISH = Texts(
    who="I am Skein's offline demo model, and no language model was asked. "
    "You wrote “{words}”. Earlier turns of this conversation that I was given: {count}.",
    seen="I was also given a summary of what came before.",
    files="You attached {files}; I was given that, but I did not look into it.",
    first="The first thing you said, as far as I can see, was “{words}”.",
    tool="I am Skein's offline demo model, and no language model was asked. The tool answered:\n\n{result}",
    tools="I am Skein's offline demo model, and no language model was asked. The tools answered, one by one:",
    left="What was not done I leave at that.",
    draft="(Written by the offline demo model; no language model was asked.)\n\nAbout “{words}”:\n\n{parts}",
    parts=("See what is asked for", "Work it out", "Look it over"),
    summary="(Summary by the offline demo model.) The person said: {words}.",
    long=(
        "Watch this arrive piece by piece, or leave the page and come back: a run goes on when nobody looks.",
        "Press Stop at any moment, and what was already said stays here, word for word, and can be retried.",
    )
    * 8,
    hint="Try the words **table**, **code**, **formula** or **long**, or ask what you said first.",
    space=" ",
)
_CHINESE = Texts(
    who="我是 Skein 的离线演示模型,没有调用任何语言模型。你写的是“{words}”。我看到了这个对话里之前的 {count} 轮。",
    seen="我还看到了更早内容的摘要。",
    files="你附上了 {files};我收到了,但没有查看其中的内容。",
    first="在我能看到的内容里,你说的第一句是“{words}”。",
    tool="这是 Skein 的离线演示模型,没有调用任何语言模型。工具的结果:\n\n{result}",
    tools="这是 Skein 的离线演示模型,没有调用任何语言模型。各个工具的结果依次是:",
    left="没有做成的部分就到此为止。",
    draft="(由离线演示模型写成,没有调用任何语言模型。)\n\n关于“{words}”:\n\n{parts}",
    parts=("弄清要做什么", "动手完成", "检查结果"),
    summary="(离线演示模型的摘要)对方说过:{words}。",
    long=(
        "看着它一点一点出现,或者离开页面再回来:没有人看的时候运行也会继续。",
        "随时可以按下停止,已经说出的话会一字不差地留在这里,也可以重试。",
    )
    * 5,
    hint="可以试试这些词:**表格**、**代码**、**公式**、**长**,或者问我你第一句说了什么。",
    space="",
)


def answer(messages: Sequence[BaseMessage]) -> str:
    """What there is to say after these messages."""
    people = [message for message in messages if isinstance(message, HumanMessage)]
    said = [words_in(message) for message in people] or [""]
    texts = texts_for(said[-1])
    if messages and isinstance(messages[-1], ToolMessage):
        return _tell(results_of(messages), texts)
    system = [str(message.text) for message in messages if isinstance(message, SystemMessage)]
    # Only the first line of a system message can ask: the rest may be a summary that quotes people.
    # Nor can a first message: there is nothing yet to sum up.
    asked = [*said[1:][-1:], *(one.partition("\n")[0] for one in system)]
    if any(_SUMMARY_ASKED.search(text) for text in asked):
        return _summarise(said, system)
    if match := _COUNT.search(said[-1]):
        return " ".join(f"w{number}" for number in range(1, min(int(match[1]), MOST_TOKENS) + 1))
    files = files_in(people[-1]) if people else []
    return "\n\n".join([_introduce(said, system, texts), *_tell_files(files, texts), *_exhibits(said[-1], texts)])


def texts_for(said: str) -> Texts:
    """The demo model's sentences in the language of what was said."""
    return _CHINESE if HAS_CJK.search(said) else _ENGLISH


def since_question(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """What came after the last thing a person said."""
    last = max((place for place, one in enumerate(messages) if isinstance(one, HumanMessage)), default=-1)
    return messages[last + 1 :]


def results_of(messages: Sequence[BaseMessage]) -> list[ToolMessage]:
    """What tools gave since a person last said something."""
    return [message for message in since_question(messages) if isinstance(message, ToolMessage)]


def _tell(results: list[ToolMessage], texts: Texts) -> str:
    if len(results) == 1:
        told = texts.tool.format(result=str(results[0].text))
    else:
        each = [f"**{one.name or 'tool'}**\n\n{str(one.text)[:_LONGEST_RESULT]}" for one in results]
        told = "\n\n".join([texts.tools, *each])
    return f"{told}\n\n{texts.left}" if any(one.status == "error" for one in results) else told


def _introduce(said: list[str], system: list[str], texts: Texts) -> str:
    parts = [texts.who.format(words=first_words(said[-1]), count=len(said) - 1)]
    parts += [texts.seen] if _earlier_summary(system) else []
    if _FIRST.search(said[-1]):
        parts.append(texts.first.format(words=" ".join(said[0].split())[:400]))
    return texts.space.join(parts)


def _tell_files(files: list[tuple[str, str]], texts: Texts) -> list[str]:
    named = ", ".join(f"“{name}” ({media_type})" for name, media_type in files)
    return [texts.files.format(files=named)] if files else []


def _exhibits(question: str, texts: Texts) -> list[str]:
    shown = [text for key, text in _SHOWS.items() if re.search(key, question, re.IGNORECASE)]
    if _LONG.search(question):
        shown += [f"{number}. {text}" for number, text in enumerate(texts.long, start=1)]
    return shown or [texts.hint]


def first_words(text: str) -> str:
    tokens = TOKEN.findall(" ".join(text.split()))
    count = 16 if HAS_CJK.search(text) else 8
    return "".join(tokens[:count])[:80] + ("…" if len(tokens) > count else "")


def _earlier_summary(system: list[str]) -> str:
    heads = ((text, _SUMMARY_GIVEN.match(text)) for text in system)
    return next((text[head.end() :].strip() for text, head in heads if head), "")


def _summarise(said: list[str], system: list[str]) -> str:
    people = said[:-1] if _SUMMARY_ASKED.search(said[-1]) else said
    texts = _CHINESE if HAS_CJK.search("".join(people)) else _ENGLISH
    new = texts.summary.format(words=", ".join(f"“{first_words(one)}”" for one in people) or "…")
    text = texts.space.join(part for part in (_earlier_summary(system), new) if part)
    return text if len(text) <= _LONGEST_SUMMARY else "…" + text[-_LONGEST_SUMMARY:]
