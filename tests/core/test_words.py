"""Words: one reading of texts and queries, in every script, and nothing of a query becomes syntax."""

import sqlite3
from contextlib import closing

import pytest

from core.errors import BadInputError
from core.history.words import (
    MOST_ASKED,
    MOST_WORDS,
    Snippet,
    Term,
    find_words,
    snippet,
    to_fts5,
    to_tsquery,
    to_tsvector,
    to_words,
)


class TestATextBecomesWords:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("", ""),
            ("Hello, World!", "hello world"),
            ("it's 3.14", "it s 3 14"),
            ("foo_bar camelCase C3PO", "foo bar camelcase c3po"),
            ("ann@example.com", "ann example com"),
            ("call_1763680000000_0A1B2C3D4E5F", "call 1763680000000 0a1b2c3d4e5f"),
            ("Ёлка, мой ДОМ", "ёлка мой дом"),
            ("a\0b\ud800c", "a b c"),
        ],
    )
    def test_at_whatever_is_no_letter_or_digit(self, text: str, words: str) -> None:
        assert to_words(text) == words.split()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("Café NAÏVE İstanbul", "cafe naive istanbul"),
            ("Cafe\u0301", "cafe"),
            ("Straße STRASSE", "strasse strasse"),
            ("ＡＢＣ１２３", "abc123"),
            ("ﬁne", "fine"),
            ("ta\u00adble zero\u200bwidth", "table zerowidth"),
            ("हिन्दी", "हिन्दी"),
        ],
    )
    def test_without_regard_to_case_width_and_latin_accents(self, text: str, words: str) -> None:
        assert to_words(text) == words.split()

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("搜索引擎", "搜索 索引 引擎 擎"),
            ("好", "好"),
            ("用GPT模型。好", "用 gpt 模型 型 好"),
            ("カタカナ ｶﾀｶﾅ", "カタ タカ カナ ナ カタ タカ カナ ナ"),
            ("서울시", "서울 울시 시"),
            ("𠀀𠀁", "𠀀𠀁 𠀁"),
        ],
    )
    def test_and_pairs_where_a_script_has_no_spaces(self, text: str, words: str) -> None:
        assert to_words(text) == words.split()

    def test_up_to_a_number_and_a_length(self) -> None:
        assert len(to_words("a " * 20_000)) == MOST_WORDS
        assert to_words("x" * 70) == ["x" * 64]


class TestAQuery:
    @pytest.mark.parametrize(
        ("query", "terms"),
        [
            ("cost Report", [Term(("cost",)), Term(("report",))]),
            ('"cost report"', [Term(("cost", "report"))]),
            ("“cost report”", [Term(("cost", "report"))]),
            ("foo_bar", [Term(("foo", "bar"))]),
            ("rep*", [Term(("rep",), is_prefix=True)]),
            ('"cost rep"*', [Term(("cost", "rep"), is_prefix=True)]),
            ("cost -report", [Term(("cost",)), Term(("report",), is_excluded=True)]),
            ('cost -"old report"', [Term(("cost",)), Term(("old", "report"), is_excluded=True)]),
            ("cost cost", [Term(("cost",))]),
            ("搜索引擎", [Term(("搜索", "索引", "引擎"))]),
            ("搜索*", [Term(("搜索",))]),
            ("搜", [Term(("搜",), is_prefix=True)]),
            ("GPT模", [Term(("gpt", "模"), is_prefix=True)]),
            ("模型GPT", [Term(("模型", "型", "gpt"))]),
            ("成本　report", [Term(("成本",)), Term(("report",))]),
        ],
    )
    def test_is_read_as_a_person_means_it(self, query: str, terms: list[Term]) -> None:
        assert list(find_words(query)) == terms

    @pytest.mark.parametrize("query", ["", "  ", "*", "-", "'", "\\", "👍", "\0", '""', "-report", ":: ++"])
    def test_without_a_word_to_look_for_is_refused(self, query: str) -> None:
        with pytest.raises(BadInputError, match="at least one word"):
            find_words(query)

    @pytest.mark.parametrize("query", ['"', 'cost "report', '"a" "b', "“cost"])
    def test_with_an_open_quotation_is_refused(self, query: str) -> None:
        with pytest.raises(BadInputError, match="quotation mark"):
            find_words(query)

    def test_that_is_too_long_is_refused(self) -> None:
        with pytest.raises(BadInputError, match=f"more than {MOST_ASKED} words"):
            find_words("搜" * (MOST_ASKED + 2))

    def test_is_written_for_each_database(self) -> None:
        terms = find_words('cost "old rep"* -draft')
        assert to_fts5(terms, '"=1"') == '("cost" AND "old rep" * AND "=1") NOT ("draft")'
        assert to_tsquery(terms, "'=1'") == "('cost') & ('old' <-> 'rep':*) & '=1' & !('draft')"

    def test_leaves_gaps_where_no_phrase_may_reach_over(self) -> None:
        assert to_tsvector(["a", "b", "=", "a"], gap="=", also=["=1"]) == "'a':1,4 'b':2 '=1'"

    @pytest.mark.parametrize(
        "query",
        [
            "AND",
            "a OR",
            "NOT b",
            "NEAR(a b, 2)",
            "words:a",
            "^a",
            "a + b",
            "{a b}:c",
            "a'b",
            "a\\b",
            "a\0b",
            "a*b*",
            "👍a",
        ],
    )
    def test_never_becomes_syntax(self, query: str) -> None:
        with closing(sqlite3.connect(":memory:")) as database:
            database.execute("CREATE VIRTUAL TABLE t USING fts5(words, tokenize=\"ascii tokenchars '='\")")
            database.execute("INSERT INTO t VALUES (?)", [" ".join(to_words(query))])
            found = database.execute("SELECT count(*) FROM t WHERE t MATCH ?", [to_fts5(find_words(query))])
            assert found.fetchone() == (1,)


class TestASnippet:
    @pytest.mark.parametrize(
        ("text", "query", "found"),
        [
            ("the cost report", "cost", Snippet("the ", "cost", " report")),
            ("the cost report", '"cost rep"*', Snippet("the ", "cost report", "")),
            ("我们在测试搜索功能", "搜索", Snippet("我们在测试", "搜索", "功能")),
            ("我们在测试搜索功能", "搜索功", Snippet("我们在测试", "搜索功", "能")),
            ("我们在测试", "测", Snippet("我们在", "测", "试")),
            ("½ Ｃafe\u0301 au lait", "CAFE", Snippet("½ ", "Ｃafe\u0301", " au lait")),
            ("用GPT模型", "gpt模", Snippet("用", "GPT模", "型")),
            ("see call_12_AB.", "call_12_ab", Snippet("see ", "call_12_AB", ".")),
        ],
    )
    def test_shows_what_was_found_as_it_was_written(self, text: str, query: str, found: Snippet) -> None:
        assert snippet([text], query) == found

    def test_is_cut_on_both_sides_and_in_one_line(self) -> None:
        assert snippet(["a " * 50 + "cost\n\nreport" + " b" * 50], "cost", around=6) == Snippet(
            "…a a a ", "cost", " repo…"
        )

    def test_comes_from_the_first_text_that_has_one_of_the_words(self) -> None:
        assert snippet(["nothing", "a report"], "cost report -a") == Snippet("a ", "report", "")
        assert snippet(["nothing"], "cost") is None
