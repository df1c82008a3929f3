"""Where a growing Markdown text can be cut in two without changing what either half shows.

Streamlit sends an element's whole text for every change, so a long answer is drawn as several elements, each
closed where a block of Markdown ends. Pure functions and one small object; nothing here draws.
"""

import re
from collections.abc import Callable, Iterator

SEGMENT = 500
_LONGEST = 600
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ENDS = (re.compile(r"[.!?]\s|[。！？]"), re.compile(r"\s"))
_STRUCTURE = re.compile(r"\s*([|>#*+-]|\d+[.)]|`{3}|~{3}|\$\$)|\s{4}")


def find_cut(text: str, *, after: int = 0) -> int | None:
    """The last place, not before ``after``, at which a block ends and another begins; None where there is none yet.

    A long paragraph is cut after a sentence, or a word."""
    cut, offset, fence, in_math, after_blank = None, 0, "", False, False
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if after_blank and bare and not line[0].isspace() and not fence and not in_math and offset >= after:
            cut = offset or None
        mark = _FENCE.match(line)
        if mark and not fence:
            fence = mark[1]
        elif mark and bare.startswith(fence) and not bare.strip(fence[0]):
            fence = ""
        elif not fence and bare.count("$$") % 2:
            in_math = not in_math
        after_blank = not bare
        offset += len(line)
    if cut is None and len(text) > _LONGEST and not fence and not in_math:
        return _inside_a_line(text, after)
    return cut


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
