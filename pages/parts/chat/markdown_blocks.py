"""Where a growing Markdown text can be cut in two without changing what either half shows.

Streamlit sends an element's whole text for every change, so a long answer is drawn as several elements, each
closed where a block of Markdown ends. Pure functions and one small object; nothing here draws.
"""

import re
from collections.abc import Callable, Iterator

SEGMENT = 380
_LONGEST = 480
_PARAGRAPH = "\n\n"
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ENDS = (re.compile(r"[.!?]\s|[。！？]"), re.compile(r"\s"))
_STRUCTURE = re.compile(r"\s*([|>#*+-]|\d+[.)]|`{3}|~{3}|\$\$)|\s{4}")


def find_cut(text: str, *, after: int = 0) -> int | None:
    """The last place, not before ``after``, at which a block ends and another begins; None where there is none yet.

    A long paragraph is cut after a sentence, or a word."""
    cut, offset, after_blank, open_block = None, 0, False, _OpenBlock()
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if after_blank and bare and not line[0].isspace() and not open_block and offset >= after:
            cut = offset or None
        open_block.read(line)
        after_blank = not bare
        offset += len(line)
    if cut is None and len(text) > _LONGEST and not open_block:
        return _inside_a_line(text, after)
    return cut


def is_open(text: str) -> bool:
    """Whether the text ends inside a fence or a formula, where nothing else can come between."""
    open_block = _OpenBlock()
    for line in text.splitlines():
        open_block.read(line)
    return bool(open_block)


def next_break(text: str, at: int) -> int:
    """The first end of a paragraph from ``at`` on that is in no fence or formula, else the end of the text."""
    place = text.find(_PARAGRAPH, at) if at else 0
    while place >= 0:
        if not is_open(text[:place]):
            return place
        place = text.find(_PARAGRAPH, place + 1)
    return len(text)


class _OpenBlock:
    """The fence or formula that the lines read so far have opened and not closed; true while there is one."""

    def __init__(self) -> None:
        self._fence = ""
        self._in_math = False

    def __bool__(self) -> bool:
        return bool(self._fence) or self._in_math

    def read(self, line: str) -> None:
        mark, bare = _FENCE.match(line), line.strip()
        if mark and not self._fence:
            self._fence = mark[1]
        elif mark and bare.startswith(self._fence) and not bare.strip(self._fence[0]):
            self._fence = ""
        elif not self._fence and bare.count("$$") % 2:
            self._in_math = not self._in_math


def _inside_a_line(text: str, after: int) -> int | None:
    """A place in the last line, when that is plain words: a table or a fence cannot be cut anywhere."""
    begin = text.rstrip("\n").rfind("\n") + 1
    if _STRUCTURE.match(text, begin):
        return None
    for end in _ENDS:
        places = [match.end() for match in end.finditer(text, max(begin, after, len(text) // 2))]
        if places:
            return places[-1]
    return None


class Segments:
    """Turns new text into chunks for ``st.write_stream``; ``close`` between them begins a new element."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._text = ""
        self._sent = 0

    def add(self, text: str) -> Iterator[str | Callable[[], None]]:
        self._text += text
        # What an element already shows cannot be taken back from it: the cut has to come after that.
        cut = find_cut(self._text, after=self._sent) if len(self._text) > SEGMENT else None
        if cut is not None:
            if cut > self._sent:
                yield self._text[self._sent : cut]
            yield self._close
            self._text, self._sent = self._text[cut:], 0
        if len(self._text) > self._sent:
            yield self._text[self._sent :]
            self._sent = len(self._text)

    @property
    def is_open(self) -> bool:
        return is_open(self._text)

    def end(self) -> None:
        """What comes next begins an element of its own, since something else stands between."""
        self._text, self._sent = "", 0
