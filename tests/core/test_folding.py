"""Folding: what people take for the same word is found by it."""

import pytest

from core.history.folding import fold


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Straße", "STRASSE"),
        ("ſtill", "still"),
        ("ΟΔΟΣ", "οδος"),
        ("Ὀδός", "οδος"),
        ("İstanbul", "istanbul"),
        ("ÉVORA", "evora"),
        ("ещё", "ЕЩЕ"),
        ("ＡＢＣ", "abc"),
        ("שָׁלוֹם", "שלום"),
        ("مُحَمَّد", "محمد"),
        ("ﬁne", "FINE"),
        ("two  \n words", "two words"),
        ("🍐", "🍐\ufe0f"),
    ],
)
def test_is_the_same(one: str, other: str) -> None:
    assert fold(one) == fold(other)


@pytest.mark.parametrize(("one", "other"), [("мой", "мои"), ("か", "が"), ("कि", "की"), ("a", "b")])
def test_is_another(one: str, other: str) -> None:
    assert fold(one) != fold(other)


@pytest.mark.parametrize("text", ["ÉVORA", "ещё", "Straße", "İ", "ｶﾞ", "Ά", "ᾳ"])
def test_folded_once_is_folded(text: str) -> None:
    assert fold(fold(text)) == fold(text)
