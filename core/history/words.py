"""Words as the full-text search knows them: one tokenizer for texts and queries, on SQLite and on PostgreSQL.

A text becomes plain words separated by spaces, so that each database only has to split at spaces. Letters and
digits in a row are a word; everything else separates. Scripts that are written without spaces (Chinese, Japanese,
Korean, Thai ...) become pairs: ``搜索引擎`` gives ``搜索 索引 引擎 擎``, the last character alone, so that
every character begins a word and a single one is found as a prefix. ``foo_bar``, an e-mail address or an id are
several words, and are found whole as what they are in a query: a phrase. Case, width and the accents of Latin
letters do not count.

Invariant: what a person types reaches a database only as words of letters, digits and their marks: nothing in a
query can be taken for syntax, and a text is found by each word and phrase that can be read in it.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, groupby
from operator import itemgetter
from typing import NamedTuple

from core.errors import BadInputError

LONGEST_TEXT = 100_000
MOST_WORDS = 16_000  # PostgreSQL knows positions up to 16,383 in one text
MOST_ASKED = 100
_LONGEST_WORD = 64

_PAIRED = (
    "\u0e01-\u0e3a\u0e40-\u0e4e\u0e81-\u0ece\u0edc-\u0edf\u1000-\u103f\u1050-\u109f\u1780-\u17d3"
    "\u1100-\u11ff\u2e80-\u2fd5\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303b\u3041-\u309f\u30a1-\u30fa"
    "\u30fc-\u30ff\u3105-\u312f\u3131-\u318e\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97c"
    "\uac00-\ud7fb\uf900-\ufad9\U0001b000-\U0001b16f\U00020000-\U000323af"
)


_MARKS = "".join(chr(code) for code in range(0x300, 0x1F000) if unicodedata.category(chr(code))[0] == "M")
_WORD = re.compile(f"([{_PAIRED}]+)|[^\\W_{_PAIRED}](?:[^\\W_{_PAIRED}]+|[{_MARKS}]+)*")
_ASCII_WORD = re.compile(r"[a-z0-9]+")
_PAIRS = re.compile(f"[{_PAIRED}]")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]+")
_LATIN = re.compile("[\u00c0-\u024f\u1e00-\u1eff]")
# A character with all that may melt into it: marks, and the parts of a Korean syllable.
_PIECE = re.compile(f".(?:[{_MARKS}\u1160-\u11ff])*", re.DOTALL)
_SPACES = re.compile(r"\s+")
_QUOTES = '"“”„‟＂'
_ASKED = re.compile(f"([-－]?)(?:[{_QUOTES}]([^{_QUOTES}]*)[{_QUOTES}]([*＊]?)|([^\\s{_QUOTES}]+))")


def to_words(text: str) -> list[str]:
    """The text's words; at most those of its first 100,000 characters, and 16,000."""
    normal = _normal(text[:LONGEST_TEXT])
    words = _ASCII_WORD.findall(normal) if normal.isascii() else [word for word, _, _ in _read(normal)]
    return [word[:_LONGEST_WORD] for word in words[:MOST_WORDS]]


@dataclass(frozen=True)
class Term:
    """Words that must stand one after another, the last one perhaps only begun; or must not, if excluded."""

    words: tuple[str, ...]
    is_prefix: bool = False
    is_excluded: bool = False


def find_words(query: str) -> tuple[Term, ...]:
    """What a person looks for: ``words`` that must all occur, a ``"quoted phrase"``, ``begin*``, ``-without``."""
    if sum(query.count(quote) for quote in _QUOTES) % 2:
        raise BadInputError("The search has a quotation mark without its partner; please close it or leave it out.")
    found = [term for match in _ASKED.finditer(query) if (term := _to_term(*match.groups())) is not None]
    if all(term.is_excluded for term in found):
        raise BadInputError("The search needs at least one word to look for; please type one.")
    if sum(len(term.words) for term in found) > MOST_ASKED:
        raise BadInputError(f"The search has more than {MOST_ASKED} words; please shorten it.")
    return tuple(dict.fromkeys(found))


def to_fts5(terms: Sequence[Term], *also: str) -> str:
    """The terms for MATCH of SQLite's FTS5; ``also`` are further conditions in its language."""
    wanted = " AND ".join([_fts5(term) for term in terms if not term.is_excluded] + list(also))
    unwanted = " OR ".join(_fts5(term) for term in terms if term.is_excluded)
    return f"({wanted}) NOT ({unwanted})" if unwanted else wanted


def to_tsquery(terms: Sequence[Term], *also: str) -> str:
    """The terms as the text of a tsquery of PostgreSQL; ``also`` are further conditions in its language."""
    wanted = [_tsquery(term) for term in terms if not term.is_excluded]
    unwanted = [f"!{_tsquery(term)}" for term in terms if term.is_excluded]
    return " & ".join([*wanted, *also, *unwanted])


def to_tsvector(words: Sequence[str], *, gap: str, also: Iterable[str] = ()) -> str:
    """The words as the text of a tsvector of PostgreSQL; a ``gap`` only takes a place, ``also`` have none."""
    places: dict[str, list[str]] = {}
    for position, word in enumerate(words, start=1):
        if word != gap:
            places.setdefault(word, []).append(str(position))
    placed = [f"'{word}':{','.join(positions)}" for word, positions in places.items()]
    return " ".join(placed + [f"'{word}'" for word in also])


class Snippet(NamedTuple):
    """A place in a text: what was found, and what stands around it."""

    before: str
    match: str
    after: str


def snippet(texts: Iterable[str], query: str, *, around: int = 60) -> Snippet | None:
    """The first place in the texts that answers the query, with so many characters around it; None without one."""
    terms = [term for term in find_words(query) if not term.is_excluded]
    for text in texts:
        if (place := _find_place(text, terms)) is not None:
            return _cut(text, *place, around)
    return None


Marked = list[tuple[str, bool]]
"""A text in pieces, each with whether it is what was looked for."""


def mark_words(text: str, query: str, *, around: int = 60) -> Marked:
    """The first place in the text that answers the query, with so much around it, and all found words in it marked.

    Of a text without such a place it is the beginning.
    """
    found = list(_find_places(text, [term for term in find_words(query) if not term.is_excluded]))
    first, last = found[0] if found else (0, around)
    low, high = max(first - around, 0), min(last + around, len(text))
    pieces, at = [("…" if low else "", False)], low
    for start, end in sorted(found):
        if start < high and end > at:
            pieces += [(text[at:start], False), (text[max(start, at) : min(end, high)], True)]
            at = min(end, high)
    pieces += [(text[at:high], False), ("…" if high < len(text) else "", False)]
    return _joined(pieces)


def _joined(pieces: Iterable[tuple[str, bool]]) -> Marked:
    """The pieces without empty ones, in one line, neighbours of one kind together."""
    return [
        (_SPACES.sub(" ", "".join(text for text, _ in group)), is_found)
        for is_found, group in groupby(filter(itemgetter(0), pieces), key=itemgetter(1))
    ]


def _normal(text: str) -> str:
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
    return _LATIN.sub(lambda match: _plain(match[0]), text).casefold()


@lru_cache(maxsize=2048)
def _plain(letter: str) -> str:
    """A Latin letter without its accents."""
    return "".join(char for char in unicodedata.normalize("NFKD", letter) if not unicodedata.combining(char))


def _read(normal: str) -> Iterator[tuple[str, int, int]]:
    """The words of a normal text, with where they begin and end in it."""
    for match in _WORD.finditer(normal):
        if match[1] is None:
            yield match[0], *match.span()
        else:
            last = match.end()
            for start in range(match.start(), last):
                end = min(start + 2, last)
                yield normal[start:end], start, end


def _to_term(minus: str, quoted: str | None, quoted_star: str | None, bare: str | None) -> Term | None:
    text = (bare if quoted is None else quoted) or ""
    read = list(_read(_normal(text)))
    if not read:
        return None
    is_prefix = bool(quoted_star) if quoted is not None else text.endswith(("*", "＊"))
    if _PAIRS.match(read[-1][0]):
        # The last character of a row stands alone at its end only; in a text another one may follow it.
        is_prefix = len(read) == 1 or read[-2][2] != read[-1][2]
        read = read if is_prefix else read[:-1]
    return Term(tuple(word[:_LONGEST_WORD] for word, _, _ in read), is_prefix, bool(minus))


def _fts5(term: Term) -> str:
    return f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}'


def _tsquery(term: Term) -> str:
    words = [f"'{word}'" for word in term.words]
    return f"({' <-> '.join(words)}{':*' if term.is_prefix else ''})"


def _find_place(text: str, terms: Sequence[Term]) -> tuple[int, int] | None:
    """Where the first of the terms that occurs begins and ends in the text."""
    return next(_find_places(text, terms), None)


def _find_places(text: str, terms: Sequence[Term]) -> Iterator[tuple[int, int]]:
    """Where the terms begin and end in the text, one term after another."""
    normal, origins = _normal_with_origins(text[:LONGEST_TEXT])
    read = list(_read(normal))
    words = [word[:_LONGEST_WORD] for word, _, _ in read]
    for term in terms:
        for at in _indexes_of(term, words):
            last, start, end = read[at + len(term.words) - 1]
            if term.is_prefix and _PAIRS.match(last):
                end = start + 1
            yield origins(read[at][1])[0], origins(end - 1)[1]


def _indexes_of(term: Term, words: Sequence[str]) -> Iterator[int]:
    head, last, size = list(term.words[:-1]), term.words[-1], len(term.words)
    for at in range(len(words) - size + 1):
        end = words[at + size - 1]
        if (end == last or (term.is_prefix and end.startswith(last))) and words[at : at + size - 1] == head:
            yield at


def _normal_with_origins(text: str) -> tuple[str, Callable[[int], tuple[int, int]]]:
    """The normal text, and for each character of it the start and end of what it comes from."""
    if text.isascii():
        return text.lower(), lambda at: (at, at + 1)
    pieces = _PIECE.findall(text)
    normal = [_normal_piece(piece) for piece in pieces]
    starts = [0, *accumulate(map(len, pieces))]
    ends = list(accumulate(map(len, normal)))

    def origin(at: int) -> tuple[int, int]:
        piece = bisect_right(ends, at)
        return starts[piece], starts[piece + 1]

    return "".join(normal), origin


_normal_piece = lru_cache(maxsize=8192)(_normal)


def _cut(text: str, start: int, end: int, around: int) -> Snippet:
    before, after = text[max(start - around, 0) : start], text[end : end + around]
    return Snippet(
        ("…" if start > around else "") + _SPACES.sub(" ", before).lstrip(),
        _SPACES.sub(" ", text[start:end]),
        _SPACES.sub(" ", after).rstrip() + ("…" if end + around < len(text) else ""),
    )
