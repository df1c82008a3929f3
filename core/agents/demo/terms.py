"""Words as the offline demo model compares them: English words without endings and small words, Chinese in pairs.

Invariant: the same text has the same terms, whatever its case.
"""

import re
from collections.abc import Sequence

from core.agents.demo.words import CJK

_ENGLISH = re.compile(r"[a-z0-9]+")
_CHINESE = re.compile(f"[{CJK}]+")
_SMALL = frozenset(
    re.findall(
        r"\w+",
        "a an and are as at be by can could did do does for from give had has have how i if in is it its me my no "
        "not of on one or our please s show so t than that the their them then there these they this to us use "
        "want was we were what when where which who why will with would you your all every last",
    )
)
_JOINING = frozenset("的了在是我你他她它们里中有和与及请把给关于对吗呢吧哪些个所")


def terms_of(text: str) -> set[str]:
    """What of a text is compared."""
    low = text.lower()
    english = {_stem(word) for word in _ENGLISH.findall(low) if word not in _SMALL}
    return english | {pair for run in _CHINESE.findall(low) for pair in _pairs(run)}


def most_alike(terms: set[str], others: Sequence[set[str]]) -> list[int]:
    """The places of those that share the most terms; none where nothing is shared."""
    shared = [len(terms & other) for other in others]
    most = max(shared, default=0)
    return [place for place, count in enumerate(shared) if count == most] if most else []


def without(text: str, known: frozenset[str]) -> str:
    """What is left of a text without small words and the terms that are known."""
    kept = []
    for run in re.findall(rf"[{CJK}]+|[^\s{CJK}]+", text):
        if _CHINESE.fullmatch(run):
            kept.append(_unknown(run, known))
        elif not (terms := terms_of(run)) <= known and terms:
            kept.append(run.strip(".,;:!?，。；：！？"))
    return " ".join(word for word in kept if word)


def _stem(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _pairs(run: str) -> set[str]:
    return {run[place : place + 2] for place in range(len(run) - 1)} or {run}


def _unknown(run: str, known: frozenset[str]) -> str:
    """A run of characters without those that stand in a known pair, or join words."""
    covered = {at + step for at in range(len(run) - 1) if run[at : at + 2] in known for step in (0, 1)}
    left = (" " if at in covered or one in _JOINING else one for at, one in enumerate(run))
    return " ".join("".join(left).split())
