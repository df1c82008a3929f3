r"""What a model writes, as Markdown that Streamlit shows the way other readers of Markdown would.

Models write formulas as ``\(..\)`` and ``\[..\]``, which Streamlit does not know, and sums as ``$5 and $6``, which
it takes for one. And it has more in its Markdown than others: arrows, icons, emoji, colours. Invariants: what is
written comes out the same in one piece and in many, as it streams; code and addresses stay as they are; a piece
costs its own length, since what is held back and what is looked for is bounded.
"""

import re

from pages.parts.ui.text import SPLIT, unturned

# A formula or code in a line that is longer is none: so long, at most, it is waited for its end.
_LONGEST = {"$": 600, "\\(": 600, "\\[": 4_000, "$$": 4_000, "`": 2_000}
_CLOSES = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_TOKEN = re.compile(
    r"\n|\\[^\n]?|`+|\$+|:+"
    r"|(?<![A-Za-z0-9])(?:https?://|www\.)|\]\("
    r"|(?<!\S)(?:<->|->|<-|--|>=|<=|~=)(?!\S)|<"
)
# What could become a mark, or another one, when more comes.
_UNDECIDED = re.compile(
    r"(?:(?<![A-Za-z0-9])(?:h|ht|htt|https?|https?:|https?:/|w|ww|www)|\]|(?<!\S)[-<>~=]{1,3}"
    r"|:+(?:[\w+-]{0,62}|material/)|<\w{0,6}|`+|\$+|\\)\Z"
)
_MOST_UNDECIDED = 70
_ICON = re.compile(r":(?=[\w+-]{1,60}:|material[/_])")
_DIRECTIVE = re.compile(r":(?=[A-Za-z][\w-]{0,59}[\[{])")
_TAG = re.compile(r"<(?!https?:|mailto:)(?=[A-Za-z/!?])")
_END_OF_ADDRESS = re.compile(r"[\s<>)\"'`|\]]")
_SUM = re.compile(
    r"\$\d[\d.,]*[A-Za-z]{0,2}(?:[.,;:!?)]*(?:\s+(?:[A-Za-z]{2}|[^\x00-\x7f])|\s*\n|\Z)|[^\x00-\x7f])"
)
_MAY_BE_SUM = re.compile(r"\$\d[\d.,]*[A-Za-z]{0,2}[.,;:!?)]*\s*[A-Za-z]?\Z")
_BLANK_LINE = re.compile(r"\n[ \t]*(?=\n)")
_REST_IS_BLANK = re.compile(r"[ \t]*(?:(?=\n)|\Z)")
# Lines
_IN_A_LIST = r"[ \t]*(?:(?:>|[-*+]|\d{1,9}[.)])[ \t]*)*"
_FENCE = re.compile(_IN_A_LIST + r"(`{3,}(?=[^`]*\Z)|~{3,})")
_MAY_BE_FENCE = re.compile(_IN_A_LIST + r"(?:\d{0,9}|`{0,2}|`{3,}[^`]*|~{0,2}|~{3,}.*)\Z")
_RULE = re.compile(r"[-|:= \t]+\Z")
_LIST = re.compile(r"[ \t]*(?:[-*+]|\d{1,9}[.)])(?:[ \t]|\Z)")
_MOST_SEEN = 200  # what kind of line it is shows in its first characters
_INDENTED = re.compile(r" {4}| {0,3}\t")


def as_markdown(text: str) -> str:
    """A whole answer, for ``st.markdown``."""
    answer = AnswerText()
    return answer.add(text) + answer.end()


class AnswerText:
    """An answer while it is written: ``add`` gives what can be shown by now, ``end`` what was held back."""

    def __init__(self) -> None:
        self._text, self._at = "", 0  # what stands before ``_at`` was given, but for its last character
        self._out: list[str] = []
        self._is_end = False
        self._is_line_begin, self._after_blank, self._in_list = True, True, False
        self._is_code_line, self._in_address = False, False
        self._fence = ""
        self._indent: str | None = ""  # None as soon as there is more in the line

    def add(self, text: str) -> str:
        self._text = self._text[max(self._at - 1, 0) :] + unturned(text)
        self._at = min(self._at, 1)
        return self._read()

    def end(self) -> str:
        self._is_end = True
        rest = self._read()
        self._is_end = False
        return rest

    def _read(self) -> str:
        while self._at < len(self._text) and self._step():
            pass
        given = "".join(self._out)
        self._out.clear()
        return given

    def _step(self) -> bool:
        """Read on by a piece; false where it has to wait for more."""
        if self._is_line_begin:
            return self._begin_line()
        if self._is_code_line:
            end = self._text.find("\n", self._at)
            return self._give(to=len(self._text) if end < 0 else end + 1)
        if self._in_address:
            found = _END_OF_ADDRESS.search(self._text, self._at)
            self._in_address = found is None
            return self._give(to=found.start() if found else len(self._text))
        mark = _TOKEN.search(self._text, self._at)
        last = max(self._at, len(self._text) - _MOST_UNDECIDED)
        is_far = self._is_end or (mark is not None and mark.start() < last)
        undecided = None if is_far else _UNDECIDED.search(self._text, last)
        if undecided and (mark is None or undecided.start() <= mark.start()):
            self._give(to=undecided.start())
            return False
        if mark is None:
            return self._give(to=len(self._text))
        self._give(to=mark.start())
        return self._read_mark(mark[0])

    def _give(self, shown: str | None = None, *, to: int) -> bool:
        """Give the text as it is up to there, or ``shown`` in its place."""
        written = self._text[self._at : to]
        self._out.append(written if shown is None else shown)
        self._at = to
        if self._indent is not None:
            self._indent = None if written.strip() else self._indent + written
        if written.endswith("\n"):
            self._is_line_begin, self._is_code_line, self._in_address, self._indent = True, False, False, ""
        return True

    # -- lines ------------------------------------------------------------------------------------------

    def _begin_line(self) -> bool:
        seen = self._text[self._at : self._at + _MOST_SEEN]
        line, newline, _ = seen.partition("\n")
        is_whole = bool(newline) or len(seen) == _MOST_SEEN or self._is_end
        if not is_whole and (_MAY_BE_FENCE.match(line) or _RULE.match(line)):
            return False
        is_blank = not line.strip()
        self._is_line_begin = False
        if self._fence:
            self._is_code_line = True
            bare = line.strip(" \t>")
            if bare.startswith(self._fence) and not bare.strip(self._fence[0]):
                self._fence = ""
        elif _INDENTED.match(line) and self._after_blank and not self._in_list:
            self._is_code_line = True
            return True
        elif fence := _FENCE.match(line):
            self._fence, self._is_code_line = fence[1], True
        elif _RULE.match(line):
            self._is_code_line = True
        if _LIST.match(line):
            self._in_list = True
        elif self._after_blank and not is_blank and not line[0].isspace():
            self._in_list = False
        self._after_blank = is_blank
        return True

    # -- what stands in a line --------------------------------------------------------------------------

    def _read_mark(self, mark: str) -> bool:
        shown = mark
        match mark[0]:
            case "`":
                return self._read_code(mark)
            case "$":
                return self._read_formula(mark) if mark == "$$" else self._read_dollars(mark)
            case "\\" if mark in _CLOSES:
                return self._read_formula(mark)
            case ":" if len(mark) > 1 or _DIRECTIVE.match(self._text, self._at):
                shown = "\\:" * len(mark)
            case ":" if _ICON.match(self._text, self._at):
                shown = f"\\:{SPLIT}"
            case "<" if _TAG.match(self._text, self._at):
                shown = "\\<"
            case ">" if self._indent is not None:
                pass  # a quotation
            case "-" | "<" | "~" | ">":
                shown = SPLIT.join(mark)
            case "h" | "w" | "]":
                self._in_address = True
        return self._give(shown, to=self._at + len(mark))

    def _read_code(self, mark: str) -> bool:
        begin = self._at + len(mark)
        until, is_known = self._paragraph(begin, _LONGEST["`"])
        found = re.compile(f"(?<!`)`{{{len(mark)}}}(?!`)").search(self._text, begin, until)
        if found and (found.end() < len(self._text) or self._is_end):
            return self._give(to=found.end())
        return is_known and self._give(to=begin)

    def _read_dollars(self, mark: str) -> bool:
        begin = self._at + len(mark)
        before, after = self._text[max(self._at - 1, 0) : self._at], self._text[begin : begin + 1]
        end: int | None = None
        if len(mark) == 1 and after.strip() and not _is_of_a_word(before):
            if not self._is_end and _MAY_BE_SUM.match(self._text, self._at):
                return False
            if not _SUM.match(self._text, self._at):
                newline = self._text.find("\n", begin, begin + _LONGEST["$"])
                until, is_known = self._within(begin, _LONGEST["$"], newline)
                end = self._text.find("$", begin, until)
                is_known = is_known if end < 0 else self._is_end or end + 1 < len(self._text)
                if not is_known:
                    return False
        if end is not None and end >= 0 and self._ends_formula(end):
            return self._give(to=end + 1)
        return self._give("\\$" * len(mark), to=begin)

    def _ends_formula(self, end: int) -> bool:
        before, after = self._text[end - 1], self._text[end + 1 : end + 2]
        return not before.isspace() and before != "\\" and after != "$" and not _is_of_a_word(after)

    def _read_formula(self, mark: str) -> bool:
        begin, close = self._at + len(mark), _CLOSES[mark]
        until, is_known = self._paragraph(begin, _LONGEST[mark])
        end = self._text.find(close, begin, until)
        formula = self._text[begin:end].strip() if end >= 0 else ""
        after = end + len(close)
        if not formula or "$" in formula:
            if end < 0 and not is_known:
                return False
            return self._give("\\$\\$" if mark == "$$" else mark, to=begin)
        if mark == "\\(" or self._indent is None:
            return self._give(f"${' '.join(formula.split())}$", to=after)
        rest = _REST_IS_BLANK.match(self._text, after)
        if rest and rest.end() == len(self._text) and not self._is_end:
            return False
        if rest is None:
            return self._give(f"${' '.join(formula.split())}$", to=after)
        lines = [f"{self._indent}{line.strip()}" for line in formula.splitlines()]
        return self._give("\n".join(["$$", *lines, f"{self._indent}$$"]), to=rest.end())

    def _paragraph(self, begin: int, most: int) -> tuple[int, bool]:
        blank = _BLANK_LINE.search(self._text, begin, begin + most)
        return self._within(begin, most, blank.start() if blank else -1)

    def _within(self, begin: int, most: int, end: int) -> tuple[int, bool]:
        """Where what begins there has to end, and whether nothing that comes can still change that."""
        if end >= 0:
            return end, True
        return min(begin + most, len(self._text)), self._is_end or len(self._text) >= begin + most


def _is_of_a_word(char: str) -> bool:
    return char.isascii() and char.isalnum()
