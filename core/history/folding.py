"""What a text is compared by when somebody looks for it: what people write alike is alike.

Invariant: both databases find the same, since the text is folded here and never by them. Case, width, and the marks
of scripts that are also written without them (Latin, Greek, Cyrillic, Hebrew, Arabic) do not count; those that make
another letter of one (й, the vowels of Indian scripts, the voiced signs of Japanese) do.
"""

import re
import unicodedata

_INVISIBLE = re.compile("[\u00ad\u061c\u0640\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]+")
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]+")
# The letter й is и with a mark, and another letter all the same.
_SHORT_I = "\u0438\u0306"


def fold(text: str) -> str:
    """The text without case, width, accents and points, its words one space apart."""
    if text.isascii():
        return " ".join(text.lower().split())
    folded = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    parted = unicodedata.normalize("NFD", folded).replace(_SHORT_I, "\u0439")
    bare = unicodedata.normalize("NFC", _MARKS.sub("", parted))
    return " ".join(bare.casefold().split())
