"""How a query falls into parts: ``key:value``, ``key>value``, each perhaps with a ``-`` before it, and words.

Values and words stand in quotes where they have spaces; in a value's straight quotes ``\\"`` is a quote. Quotes,
colons and signs may be of full width, as Chinese keyboards type them. What only looks like a term (an address, a
time of day, a key in another script) is a word.

Invariant: the parts, in their order, hold all that was typed; ``safe_words`` never reads as anything but words.
"""

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NoReturn

from core.errors import BadInputError
from core.history.browse.keys import COMPARED, KNOWN, SHORTENED

LONGEST_QUERY = 4_000
_LONGEST_SHOWN = 40
_QUOTES = '"“”„‟＂'
_SIGNS = {"＞": ">", "＜": "<", "＝": "=", "：": ":", "≥": ">=", "≤": "<="}
_SIGN = "[:<>=：＜＞＝≥≤]"
_VALUE = f'(?:"(?:\\\\.|[^"\\\\])*"|[{_QUOTES[1:]}][^{_QUOTES}]*[{_QUOTES}]|[^\\s{_QUOTES}])*'
_KEY = "[A-Za-z][A-Za-z-]+"
_TERM = re.compile(f"([-－]?)({_KEY})({_SIGN}+)({_VALUE})")
_SPACED = re.compile(f"()({'|'.join(COMPARED)})\\s*([<>=＜＞＝≥≤]+)\\s*({_VALUE})", re.IGNORECASE)
_WORD = re.compile(f"[-－]?(?:[{_QUOTES}][^{_QUOTES}]*[{_QUOTES}][*＊]?|[^\\s{_QUOTES}]+)")
_PIECE = re.compile(
    f'"((?:\\\\.|[^"\\\\])*+)(?:"|\\\\?\\Z)|[{_QUOTES[1:]}]([^{_QUOTES}]*)[{_QUOTES}]|([^{_QUOTES}]+)'
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN = re.compile(f"[^\\s,，\\\\{_QUOTES}:<>=：＜＞＝≥≤-][^\\s,，\\\\{_QUOTES}]*")
_SIGNS_KNOWN = (":", "<", "<=", ">", ">=", "=")


@dataclass(frozen=True)
class Part:
    """One part of a query as typed, from ``start`` to ``end``; words have no ``key``."""

    text: str
    start: int
    end: int
    key: str = ""
    sign: str = ""
    value: str = ""
    excluded: bool = False

    def values(self) -> list[str]:
        """The value, or several where commas stand between them, without quotes."""
        return [value for value in _split(self.value) if value]

    def whole(self) -> str:
        """The value without quotes, commas and all."""
        return "".join(_plain(match) for match in _PIECE.finditer(self.value))


def read_parts(text: str) -> Iterator[Part]:
    """The parts of a query, in their order; BadInputError for a key that is none, or a quote that stays open."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        part = _term_at(text, at) or _word_at(text, at)
        yield part
        at = part.end


def safe_words(text: str) -> str:
    """The words of a text so written that a query has them as words."""
    return " ".join(_safe(match[0]) for match in _WORD.finditer(text))


def quoted(value: str) -> str:
    """A value as it stands behind a key: in quotes where it needs them."""
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def shown(text: str) -> str:
    """What somebody typed, as a sentence quotes it."""
    return f"“{text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + '…'}”"


def nearest(word: str, known: tuple[str, ...]) -> str:
    """ " Did you mean …?", or nothing where no known word is near."""
    found = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return found[0] if found else ""


def _term_at(text: str, at: int) -> Part | None:
    match = _TERM.match(text, at) or _SPACED.match(text, at)
    if match is None:
        return None
    key, sign = match[2].lower(), "".join(_SIGNS.get(char, char) for char in match[3])
    if not _is_term(key, sign, match[4]):
        return None
    if match.end() < len(text) and text[match.end()] in _QUOTES:
        _refuse_quote(text, match.end())
    return Part(match[0], at, match.end(), _known(key, match[0]), _sign(sign, match[0]), match[4], bool(match[1]))


def _is_term(key: str, sign: str, value: str) -> bool:
    """Whether this is meant as a term; ``https://…``, ``a>b`` and ``x=1`` are words."""
    if key in KNOWN or key in SHORTENED:
        return True
    return (sign[0] == ":" and not value.startswith("//")) or bool(sign[0] != "=" and nearest(key, COMPARED))


def _known(key: str, typed: str) -> str:
    key = SHORTENED.get(key, key)
    if key in KNOWN:
        return key
    near = nearest(key, KNOWN)
    hint = f"did you mean {near}:?" if near else f"the keys are {', '.join(KNOWN)}."
    raise BadInputError(
        f"{shown(typed)} begins with no key that is known; {hint} To look for the words, quote them."
    )


def _sign(sign: str, typed: str) -> str:
    """The one sign that is meant: ``cost:>5`` is ``cost>5``."""
    sign = sign[1:] if len(sign) > 1 and sign[0] == ":" else sign
    if sign not in _SIGNS_KNOWN:
        raise BadInputError(f"{shown(typed)} has {sign} where one of {' '.join(_SIGNS_KNOWN)} can stand.")
    return sign


def _word_at(text: str, at: int) -> Part:
    match = _WORD.match(text, at)
    if match is None:
        _refuse_quote(text, at)
    return Part(match[0], at, match.end())


def _refuse_quote(text: str, at: int) -> NoReturn:
    raise BadInputError(
        f"The quotation mark before {shown(text[at + 1 :])} is never closed; close it or leave it out."
    )


def _split(value: str) -> list[str]:
    found = [""]
    for match in _PIECE.finditer(value):
        first, *more = re.split("[,，]", match[3]) if match[3] is not None else [_plain(match)]
        found[-1] += first
        found += more
    return found


def _plain(match: "re.Match[str]") -> str:
    if match[1] is not None:
        return _ESCAPED.sub(r"\1", match[1])
    return match[2] if match[2] is not None else match[3]


def _safe(word: str) -> str:
    """A word with straight quotes, and in quotes where it could be taken for a term or a part of one."""
    minus, rest = ("-", word[1:]) if word[0] in "-－" else ("", word)
    if rest and rest[0] in _QUOTES:
        star = "*" if rest[-1] in "*＊" else ""
        return f'{minus}"{rest.rstrip("*＊")[1:-1]}"{star}'
    match = _TERM.match(word)
    looks = match is not None and _is_term(match[2].lower(), _SIGNS.get(match[3][0], match[3][0]), match[4])
    if not looks and not re.match(_SIGN, rest):
        return word
    return f'{minus}"{rest.rstrip("*＊")}"{"*" if rest[-1] in "*＊" else ""}'
