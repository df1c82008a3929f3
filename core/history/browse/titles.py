"""What titles are compared by: the same for both databases, which fold letters each in their own way.

Invariant: two titles that people would call the same have one key; it is kept with what is counted of a session.
"""

import unicodedata

from core.tables import clean_text

_LONGEST = 200


def to_title_key(title: str) -> str:
    """The title without case, width and doubled spaces; its first 200 characters."""
    folded = unicodedata.normalize("NFKC", clean_text(title)).casefold()
    return " ".join(folded.split())[:_LONGEST]
