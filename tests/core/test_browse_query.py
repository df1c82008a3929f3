"""The search box's language: what it means, what it says of mistakes, and that chips leave the rest alone."""

import random
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from core.errors import BadInputError
from core.history.browse.filters import Limit, SessionFilter
from core.history.browse.query import KEYS, Typed, parse, read_terms, to_text, with_term, without_term
from core.history.browse.terms import FLAGS

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 21, 10, 30, tzinfo=UTC)


def read(text: str) -> SessionFilter:
    return parse(text, zone=SHANGHAI, now=NOW)


def refusal(text: str) -> str:
    with pytest.raises(BadInputError) as caught:
        read(text)
    return str(caught.value)


def day(year: int, month: int, date: int) -> datetime:
    return datetime(year, month, date, tzinfo=SHANGHAI).astimezone(UTC)


class TestMeaning:
    def test_the_example_of_the_issue(self) -> None:
        expected = SessionFilter(
            text='"refund"',
            users=("alice",),
            statuses=("failed",),
            limits=(Limit("cost", ">", 0.5),),
            since=day(2026, 11, 1),
        )
        assert read('user:alice status:failed cost>0.5 after:2026-11-01 "refund"') == expected

    def test_nothing_typed_asks_for_nothing(self) -> None:
        assert read("  ") == SessionFilter()

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ("user:alice,bob user:alice", {"users": ("alice", "bob")}),
            ("-user:alice", {"not_users": ("alice",)}),
            ('tag:"to check",keep', {"tags": ("to check", "keep")}),
            ('tag:"a \\"b\\" \\\\"', {"tags": ('a "b" \\',)}),
            ("title:a,b", {"titles": ("a,b",)}),
            ("status:archived,failed", {"shelves": ("archived",), "statuses": ("failed",)}),
            ("-status:archived", {"shelves": ("active",)}),
            ("-status:lost", {"not_statuses": ("lost",)}),
            ("is:starred,unreviewed has:errors", {"starred": True, "reviewed": False, "has_errors": True}),
            ("-is:starred -has:tags", {"starred": False, "tagged": False}),
            ("is:archived", {"shelves": ("archived",)}),
            ("review:good", {"verdicts": ("good",)}),
            ("MODEL:gpt-4*", {"models": ("gpt-4*",)}),
        ],
    )
    def test_lists_and_flags(self, typed: str, expected: dict[str, object]) -> None:
        assert read(typed) == SessionFilter(**expected)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("typed", "expected"),
        [
            ("cost > 0.5", (Limit("cost", ">", 0.5),)),
            ("cost:>=$2", (Limit("cost", ">=", 2),)),
            ("tokens>10k", (Limit("tokens", ">", 10_000),)),
            ("length:3..10", (Limit("messages", ">=", 3), Limit("messages", "<=", 10))),
            ("score:..3", (Limit("score", "<=", 3),)),
            ("errors=2", (Limit("failed", "=", 2),)),
            ("branches≥4", (Limit("branches", ">=", 4),)),
        ],
    )
    def test_numbers(self, typed: str, expected: tuple[Limit, ...]) -> None:
        assert read(typed).limits == expected

    @pytest.mark.parametrize(
        ("typed", "since", "until"),
        [
            ("after:2026-11-01", day(2026, 11, 1), None),
            ("before:2026-11", None, day(2026, 11, 1)),
            ("active:2026-12", day(2026, 12, 1), day(2027, 1, 1)),
            ("active>2026-11-01", day(2026, 11, 2), None),
            ("active<=2026-11-01", None, day(2026, 11, 2)),
            ("active:2026-10..2026/11/05", day(2026, 10, 1), day(2026, 11, 6)),
            ("active:today", day(2026, 11, 21), day(2026, 11, 22)),
            ("after:yesterday", day(2026, 11, 20), None),
            ("after:7d", datetime(2026, 11, 14, 10, 30, tzinfo=UTC), None),
            ("active:2h", datetime(2026, 11, 21, 8, 30, tzinfo=UTC), None),
            ("after:2026-11-01T08:00Z", datetime(2026, 11, 1, 8, tzinfo=UTC), None),
            ("after:2026 after:2026-02 before:now", day(2026, 2, 1), NOW),
        ],
    )
    def test_dates_are_those_of_the_zone(self, typed: str, since: datetime | None, until: datetime | None) -> None:
        assert read(typed) == SessionFilter(since=since, until=until)

    def test_what_only_looks_like_a_term_is_words(self) -> None:
        typed = "https://a.b/c 12:30 错误：超时 x=1 a>b"
        assert read(typed) == SessionFilter(text=typed)

    def test_full_width_signs_and_quotes_do_as_well(self) -> None:
        assert read("user：小明 cost＞0.5 “发货 延迟”") == read('user:小明 cost>0.5 "发货 延迟"')

    def test_a_quoted_term_is_looked_for_as_words(self) -> None:
        assert read('"user:alice" -"cost>3"') == SessionFilter(text='"user:alice" -"cost>3"')


class TestMistakes:
    @pytest.mark.parametrize(
        ("typed", "quoted", "hint"),
        [
            ("cost>abc", "“cost>abc”", "a number from 0 up"),
            ("cost>-1", "“cost>-1”", "a number from 0 up"),
            ("cost>nan", "“cost>nan”", "a number from 0 up"),
            ("stats:failed", "“stats:failed”", "did you mean status:?"),
            ("costs>3", "“costs>3”", "did you mean cost:?"),
            ("zebra:x", "“zebra:x”", "the keys are user, status"),
            ("after:2026-13-01", "“after:2026-13-01”", "write a date like 2026-11-01"),
            ("after:99999y", "“after:99999y”", "write a date"),
            ("created:0001", "“created:0001”", "write a date"),
            ("status:faild", "“status:faild”", "did you mean failed?"),
            ("is:nice", "“is:nice”", "is: can be starred"),
            ("user:", "“user:”", "user:alice"),
            ('user:"al', "“al”", "never closed"),
            ('say "refund po', "“refund po”", "never closed"),
            ("-cost>3", "“-cost>3”", "cannot have a - before it"),
            ("user>3", "“user>3”", "write user: and the value"),
            ("cost<>3", "“cost<>3”", "where one of"),
            ("is:starred -is:starred", "“-is:starred”", "contradicts"),
            ("session:session_1", "'session_1'", "not an id"),
        ],
    )
    def test_the_sentence_quotes_what_is_wrong_and_says_what_is_possible(
        self, typed: str, quoted: str, hint: str
    ) -> None:
        said = refusal(typed)
        assert quoted in said
        assert hint in said

    def test_words_that_cannot_be_searched_are_refused_at_once(self) -> None:
        assert "at least one word" in refusal("user:alice -refund")

    def test_too_much_is_refused(self) -> None:
        assert "please shorten it" in refusal("a" * 4_001)
        assert "more than 50 values" in refusal("user:" + ",".join(map(str, range(60))))

    def test_junk_gives_a_filter_or_a_sentence(self) -> None:
        pick = random.Random(6)
        pieces = [
            *KEYS,
            *':<>=：＞-,"“”\\ *\t',
            "..",
            "2026",
            "7d",
            "退款",
            "\ud800",
            "\0",
            "1e999",
            "９",
            "k",
            "$",
        ]
        given, sentences = 0, set()
        for _ in range(5_000):
            typed = "".join(pick.choices(pieces, k=pick.randrange(1, 9)))
            try:
                wanted = read(typed)
            except BadInputError as error:
                sentences.add(str(error)[-1])
            else:
                given += 1
                assert read(to_text(wanted)) == wanted
        assert sentences - {"?"} == {"."}
        assert given > 500


class TestCanonicalText:
    def test_it_is_read_back_as_the_same(self) -> None:
        pick = random.Random(7)
        for _ in range(500):
            wanted = read(" ".join([*pick.sample(_TERMS, k=pick.randrange(1, 8)), "refund"]))
            assert read(to_text(wanted)) == wanted

    def test_it_has_one_form(self) -> None:
        assert to_text(read('cost:>0.50  has:error tag:"a b" refund user:b,a')) == (
            'user:b user:a tag:"a b" has:errors cost>0.5 refund'
        )


class TestChips:
    def test_each_value_is_one(self) -> None:
        assert read_terms('user:a,"b c" -tag:x cost>0.5 "two words"') == [
            Typed("user", "a", False, 'user:a,"b c"'),
            Typed("user", "b c", False, 'user:a,"b c"'),
            Typed("tag", "x", True, "-tag:x"),
            Typed("cost", ">0.5", False, "cost>0.5"),
            Typed("", '"two words"', False, '"two words"'),
        ]

    def test_taking_one_away_keeps_the_rest_as_typed(self) -> None:
        assert without_term('x  user:a,"b c"  after:7d', "user", "a") == 'x  user:"b c"  after:7d'
        assert without_term("x user:a -user:b  after:7d", "user") == "x after:7d"
        assert without_term("x user:a", "tag") == "x user:a"

    @pytest.mark.parametrize(
        ("typed", "term", "expected"),
        [
            ("refund  after:7d", ("user", "al ice"), 'refund  after:7d user:"al ice"'),
            ("user:a", ("user", "a"), "user:a"),
            ("user:a", ("user", "b"), "user:a user:b"),
            ("after:7d x", ("after", "2026-11-01"), "x after:2026-11-01"),
            ("cost>1 cost<5", ("cost", ">2"), "cost<5 cost>2"),
            ("cost>1 cost<5", ("cost", "2..3"), "cost:2..3"),
            ("-is:starred", ("is", "starred"), "is:starred"),
            ("is:unreviewed", ("is", "reviewed"), "is:reviewed"),
            ("", ("tag", "-x:y"), 'tag:"-x:y"'),
        ],
    )
    def test_adding_one(self, typed: str, term: tuple[str, str], expected: str) -> None:
        assert with_term(typed, *term) == expected
        assert read(expected)

    def test_every_key_is_explained(self) -> None:
        assert {"user", "status", "agent", "model", "tag", "title", "cost", "after", "before"} <= set(KEYS)
        assert all(f"{key}:{word}" in KEYS[key] or key == "is" or word in {"error", "tag"}
                   for key, words in FLAGS.items() for word in words)  # fmt: skip


_TERMS = [
    *("user:alice", "-user:bob", "status:failed,archived", "-status:lost", "agent:plan*", "-model:gpt-4o"),
    *(
        'tag:"to check"',
        "-tag:退款",
        "title:a,b",
        'title:"say \\"hi\\""',
        "review:bad",
        "is:starred",
        "-has:errors",
    ),
    *("cost>0.5", "cost < 3", "tokens:1k..2m", "score>=2.5", "failed=0", "after:7d", "before:2026-11-01"),
    *("created:2026-10", "created-after:3h", "refund", '"two words"', "begin*", "-without", "x=1", "a>b", "退款"),
    *("http://x.y/z", '"user:alice"', "＞5", "cost", "session:session_1790000000000_0123456789AB", "is:worrying"),
]
