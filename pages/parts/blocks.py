"""Where a growing Markdown text can be cut in two without changing what either half shows.

Streamlit sends an element's whole text for every change, so a long answer is drawn as several elements, each
closed where a block of Markdown ends. Pure functions and one small object; nothing here draws.
"""

import re
from collections.abc import Callable, Iterator

SEGMENT = 800
_LONGEST = 4 * SEGMENT
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SENTENCE_END = re.compile(r"[.!?]\s|[。！？]|\s")


def find_cut(text: str) -> int | None:
    """The last place at which a block ends and another begins; None where there is none yet."""
    cut, offset, fence, in_math, after_blank = None, 0, "", False, False
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if after_blank and bare and not line[0].isspace() and not fence and not in_math:
            cut = offset
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
        return _inside_a_paragraph(text)
    return cut


def _inside_a_paragraph(text: str) -> int | None:
    ends = [match.end() for match in _SENTENCE_END.finditer(text, len(text) // 2)]
    return ends[-1] if ends else None


class Segments:
    """Turns new text into chunks for ``st.write_stream``; ``close`` between them begins a new element."""

    def __init__(self, close: Callable[[], None]) -> None:
        self._close = close
        self._text = ""
        self._sent = 0

    def add(self, text: str) -> Iterator[str | Callable[[], None]]:
        self._text += text
        if len(self._text) > SEGMENT and (cut := find_cut(self._text)):
            if cut > self._sent:
                yield self._text[self._sent : cut]
            yield self._close
            self._text, self._sent = self._text[cut:], 0
        if len(self._text) > self._sent:
            yield self._text[self._sent :]
            self._sent = len(self._text)
