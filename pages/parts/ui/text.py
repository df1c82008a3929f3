"""Text of people and graphs, made fit for where Streamlit takes Markdown.

Invariant: what is read on the page, and what is copied from it, is the text itself; only what turns the direction
of a line is written out. Streamlit's Markdown has more in it than GitHub's: icons, emoji, arrows, colours; no
backslash helps against some of those, nor against what merely looks like a link.
"""

import re
from html import escape

from core.outside import clean_text

# Draws nothing and is not copied; but what stands on its two sides is no longer one text, in which Streamlit would
# look for icons, emoji, arrows and links.
SPLIT = ":small[]"
_MARK = "\0"
_ESCAPED = {ord(char): f"\\{char}" for char in "\\`*_[]<>$:#|~&"} | {ord(_MARK): SPLIT}
_TO_SPLIT = re.compile(
    r"(?<=:)(?=[\w+-]+:|material[/_]|//)"  # :material/x:  :emoji:  http://
    r"|(?<=www)(?=\.)|(?<=[\w.+-])(?=@)"  # www.example.com  a@example.com
    r"|(?<=(?<!\S)[-<>~])(?=[->=](?!\S))"  # ->  <-  --  >=  <=  ~=
    r"|(?<=(?<!\S)<)(?=->(?!\S))|(?<=(?<!\S)<-)(?=>(?!\S))",  # <->
    re.IGNORECASE,
)
_BEGINS_BLOCK = re.compile(r"[-+=]|(?<=\d)[.)]")
_NUMBER = re.compile(r"\d{1,9}")
_BREAKS = re.compile("[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
_TURNS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_STYLE = "white-space: pre-wrap; overflow-wrap: anywhere; tab-size: 4"


def plain(text: str) -> str:
    """The text in one line, for a label or inside a line of Markdown."""
    parted = _TO_SPLIT.sub(_MARK, _BREAKS.sub(" ", unturned(text).replace(_MARK, "")).strip())
    number = _NUMBER.match(parted)
    begin = _BEGINS_BLOCK.match(parted, number.end() if number else 0)
    if begin is None:
        return parted.translate(_ESCAPED)
    return f"{parted[: begin.start()]}\\{parted[begin.start()]}{parted[begin.end() :].translate(_ESCAPED)}"


def plain_lines(text: str) -> str:
    """The text with its lines, for a paragraph of Markdown of its own: a message, a note, a tip."""
    return "\\\n".join(_indented(line) for line in text.rstrip().lstrip("\r\n").splitlines())


def _indented(line: str) -> str:
    bare = line.lstrip()
    return "\u00a0" * (len(line) - len(bare)) + plain(bare)


def as_written(text: str) -> str:
    """HTML that shows the text exactly as it was written, with each space and line, for ``st.html``."""
    return f'<div class="skein-written" dir="auto" style="{_STYLE}">{escape(unturned(text))}</div>'


def unturned(text: str) -> str:
    """The text as a browser can be sent it, with what turns the direction of a line written out."""
    return _TURNS.sub(lambda found: f"\\u{ord(found[0]):04x}", clean_text(text))


def shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"
