"""What differs between two texts and two states: all of it, readable, and in bounded time."""

import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.history import alignment
from core.history.alignment import align
from core.history.differences import MOST_CHANGES, Change, Piece, state_differences, word_differences

SHORT = {"same": "=", "gone": "-", "new": "+"}
WORDS = [
    *"我喜欢红苹果和梨。，",
    "the",
    "cat",
    "don't",
    "3.14",
    " ",
    "  ",
    "\n",
    "\n\n",
    "\t",
    "ก็",
    "é",
    "👩‍👩‍👧",
    "👍🏽",
    "|",
    "-",
    "`",
    "\r\n",
]
TEXTS = st.lists(st.sampled_from(WORDS), max_size=40).map("".join) | st.text(max_size=40)
ROWS = st.lists(st.sampled_from("abcd"), max_size=25)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from("ab"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "x", "y"]), inner, max_size=3)
    ),
    max_leaves=12,
)


def told(before: str, after: str) -> list[str]:
    """The pieces, checked: ``["=the ", "-red", "+blue"]``."""
    pieces = word_differences(before, after)
    assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
    assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after
    return [SHORT[piece.kind] + piece.text for piece in pieces]


def longest_common(one: list[str], other: list[str]) -> int:
    """How long the longest common subsequence is, by the textbook."""
    row = [0] * (len(other) + 1)
    for item in one:
        above = row[:]
        for place, there in enumerate(other):
            row[place + 1] = above[place] + 1 if item == there else max(above[place + 1], row[place])
    return row[-1]


class TestWords:
    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        [
            ("", "", []),
            ("same", "same", ["=same"]),
            ("", "new", ["+new"]),
            ("gone", "", ["-gone"]),
            ("the red cat sat", "the blue cat sat", ["=the ", "-red", "+blue", "= cat sat"]),
            ("the cat", "the black cat", ["=the ", "+black ", "=cat"]),
            ("hello world", "hello", ["=hello", "- world"]),
            ("it costs $3.14 now", "it costs $3.15 now", ["=it costs $", "-3.14", "+3.15", "= now"]),
            ("I don't", "I can't", ["=I ", "-don't", "+can't"]),
        ],
    )
    def test_are_told_whole(self, before: str, after: str, expected: list[str]) -> None:
        assert told(before, after) == expected

    def test_spaces_are_told_exactly(self) -> None:
        assert told("a  b\n", "a b\r\n") == ["=a", "- ", "= b", "+\r", "=\n"]
        assert told("  x", "\tx") == ["-  ", "+\t", "=x"]

    def test_characters_of_scripts_without_spaces_are_units_of_their_own(self) -> None:
        assert told("我喜欢红苹果和梨。", "我喜欢绿苹果和桃。") == [
            "=我喜欢",
            "-红",
            "+绿",
            "=苹果和",
            "-梨",
            "+桃",
            "=。",
        ]
        assert told("ラーメンを食べた", "うどんを食べた") == ["-ラーメン", "+うどん", "=を食べた"]
        assert told("한국어", "한글어") == ["=한", "-국", "+글", "=어"]
        assert told("用Python写", "用Rust写") == ["=用", "-Python", "+Rust", "=写"]

    def test_a_character_is_not_torn_from_its_marks(self) -> None:
        assert told("กี", "กู") == ["-กี", "+กู"]
        assert told("cafe\u0301", "cafe") == ["-cafe\u0301", "+cafe"]
        assert told("👍🏽", "👍") == ["-👍🏽", "+👍"]
        assert told("👩‍👩‍👧", "👩‍👩‍👦") == ["-👩‍👩‍👧", "+👩‍👩‍👦"]


class TestReadable:
    def test_what_is_replaced_is_not_broken_up_by_spaces_and_small_words(self) -> None:
        assert told("one two three", "four five six") == ["-one two three", "+four five six"]
        before, after = "We met old friends in the big city", "We met seven strangers in a small village"
        assert told(before, after) == [
            "=We met ",
            "-old friends in the big city",
            "+seven strangers in a small village",
        ]

    def test_a_word_between_small_changes_stays(self) -> None:
        assert told("one two three", "ONE two THREE") == ["-one", "+ONE", "= two ", "-three", "+THREE"]

    def test_lines_stay_lines(self) -> None:
        assert told("- tea\n- milk", "- beer\n- wine") == ["=- ", "-tea", "+beer", "=\n- ", "-milk", "+wine"]


class TestAnyTexts:
    @given(TEXTS, TEXTS)
    @settings(max_examples=300, deadline=None)
    def test_give_both_back_from_pieces_that_are_never_empty(self, before: str, after: str) -> None:
        pieces = told(before, after)
        kinds = [piece[0] for piece in pieces]
        assert all(len(piece) > 1 for piece in pieces)
        assert not {("=", "="), ("-", "-"), ("+", "+"), ("+", "-")} & set(pairwise(kinds))

    @pytest.mark.parametrize("seed", range(20))
    def test_give_both_back_when_they_are_cut_for_small_tables(
        self, seed: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(alignment, "_LARGEST_TABLE", 50)
        pick = random.Random(seed)
        before = [pick.choice(WORDS) for _ in range(pick.randrange(400))]
        after = [word for word in before if pick.random() > 0.1]
        for _ in range(pick.randrange(30)):
            after.insert(pick.randrange(len(after) + 1), pick.choice(WORDS))
        told("".join(before), "".join(after))

    @given(ROWS, ROWS)
    @settings(max_examples=300, deadline=None)
    def test_have_as_much_in_common_as_can_be(self, one: list[str], other: list[str]) -> None:
        blocks = align(one, other)
        common = [(one[i + n], other[j + n]) for i, j, size in blocks for n in range(size)]
        assert (all(a == b for a, b in common), len(common)) == (True, longest_common(one, other))


def in_words(pick: random.Random, vocabulary: str | list[str], length: int) -> str:
    return "".join(pick.choice(vocabulary) for _ in range(length))[:length]


HAN = [chr(code) for code in range(0x4E00, 0x5600)]
ENGLISH = [
    f"{word} " for word in ("the", "a", "of", "river", "house", "green", "walks", "slowly", "night", "paper")
]
LENGTH = 200_000
LONG: dict[str, Callable[[random.Random], tuple[str, str]]] = {
    "two Chinese texts": lambda p: (in_words(p, HAN, LENGTH), in_words(p, HAN, LENGTH)),
    "two English texts": lambda p: (in_words(p, ENGLISH, LENGTH), in_words(p, ENGLISH, LENGTH)),
    "two characters in any order": lambda p: (in_words(p, "甲乙", LENGTH), in_words(p, "甲乙", LENGTH)),
    "one word, over and over": lambda p: ("a " * (LENGTH // 2), "b" + "a " * (LENGTH // 2 - 9) + "b"),
    "two words, the other way round": lambda p: ("a b " * (LENGTH // 4), "b a " * (LENGTH // 4) + "c"),
    "line breaks": lambda p: ("\n" * LENGTH, "\n \n" * (LENGTH // 3)),
    "one long word": lambda p: ("x" * LENGTH, "x" * (LENGTH - 1)),
    "a long and a short one": lambda p: (in_words(p, HAN, LENGTH), HAN[0]),
    "marks": lambda p: ("e" + "\u0301" * LENGTH, "e\u0301" * (LENGTH // 2)),
    "joiners": lambda p: ("👩\u200d" * (LENGTH // 2), "1." * (LENGTH // 2)),
}


class TestLongTexts:
    @pytest.mark.timeout(60)  # 0.9 s at most on a quiet machine; a method of quadratic time takes minutes
    @pytest.mark.parametrize("name", LONG)
    def test_are_compared_in_a_moment_whatever_they_hold(self, name: str) -> None:
        before, after = LONG[name](random.Random(1))
        pieces = word_differences(before, after)
        assert "".join(piece.text for piece in pieces if piece.kind != "new") == before
        assert "".join(piece.text for piece in pieces if piece.kind != "gone") == after

    def test_small_changes_in_them_are_found_as_such(self) -> None:
        pick = random.Random(2)
        words = [f"w{pick.randrange(5_000)} " for _ in range(30_000)]
        places = range(500, 30_000, 1_000)
        changed = [f"new{place} " if place in places else word for place, word in enumerate(words)]
        pieces = word_differences("".join(words), "".join(changed))
        gone = [Piece("gone", words[place].strip()) for place in places]
        assert [piece for piece in pieces if piece.kind == "gone"] == gone
        assert [piece for piece in pieces if piece.kind == "new"] == [Piece("new", f"new{at}") for at in places]


def message(number: int, content: str = "") -> dict[str, Any]:
    return {"id": f"m{number}", "content": content or f"said {number}"}


class TestStates:
    def test_keys_come_go_and_change(self) -> None:
        before = {"same": [1], "gone": 1, "changed": {"a": 1, "b": {"c": 2}}}
        after = {"same": [1], "changed": {"a": 1, "b": {"c": 3}}, "new": None}
        assert state_differences(before, after) == [
            Change("gone", "gone", before=1),
            Change("changed.b.c", "changed", 2, 3),
            Change("new", "new", after=None),
        ]

    def test_equal_states_do_not_differ(self) -> None:
        assert state_differences({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}) == []

    @pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, "1"), (None, ""), ([], {}), (1, [1])])
    def test_values_of_another_kind_are_others(self, before: object, after: object) -> None:
        assert state_differences({"a": before}, {"a": after}) == [Change("a", "changed", before, after)]

    def test_a_message_that_was_added_is_told_as_one(self) -> None:
        before = {"messages": [message(1)]}
        after = {"messages": [message(1), message(2)]}
        assert state_differences(before, after) == [Change("messages[1]", "new", after=message(2))]

    def test_messages_are_known_by_their_ids(self) -> None:
        before = {"messages": [message(1), message(2), message(3)]}
        after = {"messages": [message(2, "edited"), message(3), message(4)]}
        assert state_differences(before, after) == [
            Change("messages[0]", "gone", before=message(1)),
            Change("messages[0].content", "changed", "said 2", "edited"),
            Change("messages[2]", "new", after=message(4)),
        ]

    def test_items_without_ids_are_known_by_what_they_are_then_by_their_place(self) -> None:
        assert state_differences([1, 2, 3], [1, 5, 3, 3]) == [
            Change("[1]", "changed", 2, 5),
            Change("[2]", "new", after=3),
        ]
        assert state_differences(["a", "b"], ["b"]) == [Change("[0]", "gone", before="a")]

    def test_very_many_differences_are_told_from_further_off(self) -> None:
        before = {"many": list(range(300)), "one": {"deep": {"deeper": 1}}}
        after = {"many": [-1 - number for number in range(300)], "one": {"deep": {"deeper": 2}}}
        assert state_differences(before, after) == [
            Change("many", "changed", before["many"], after["many"]),
            Change("one", "changed", before["one"], after["one"]),
        ]
        wide, wider = dict.fromkeys(map(str, range(300)), 1), dict.fromkeys(map(str, range(300)), 2)
        assert state_differences(wide, wider) == [Change("", "changed", wide, wider)]

    @given(JSON, JSON)
    @settings(max_examples=300, deadline=None)
    def test_any_two_differ_exactly_when_they_are_not_equal(self, before: Any, after: Any) -> None:
        changes = state_differences(before, after)
        assert bool(changes) == (repr_of(before) != repr_of(after))
        assert len(changes) <= MOST_CHANGES
        assert state_differences(before, before) == []


def repr_of(value: Any) -> str:
    """Plain data as text, whatever the order of its keys."""
    if isinstance(value, dict):
        return f"dict {sorted((name, repr_of(inner)) for name, inner in value.items())}"
    return repr([repr_of(item) for item in value]) if isinstance(value, list) else repr(value)
