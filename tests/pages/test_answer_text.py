r"""What a model writes, made fit for Streamlit: formulas, sums of money, and what other Markdown does not have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pages.parts.ui.answer_text import AnswerText, as_markdown
from pages.parts.ui.text import SPLIT

_pieces = st.sampled_from(
    [
        *(
            "$",
            "$$",
            "`",
            "``",
            "```",
            "~~~",
            "\n",
            "\n\n",
            " ",
            "    ",
            "a",
            "5",
            "\\",
            "\\(",
            "\\)",
            "\\[",
            "\\]",
        ),
        *(":", "::", "smile", "material/", "->", "<-", "--", "<", ">", "b", "http://", "www.", "](", "]", "[", "x"),
        *("- ", "1. ", "|", "~", "=", "，", "中", "\t", ".", ",", ")"),
    ]
)
_texts = st.lists(_pieces, max_size=30).map("".join)


def in_pieces(text: str, size: int) -> str:
    answer = AnswerText()
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return "".join([*(answer.add(piece) for piece in pieces), answer.end()])


class TestAnAnswerThatStreams:
    @given(text=_texts, size=st.integers(1, 9))
    def test_comes_out_as_it_does_in_one_piece(self, text, size):
        assert in_pieces(text, size) == as_markdown(text)

    @pytest.mark.parametrize(
        "text", ["Words of a sentence, 中文, and more ", "```\nx = 1 # code\n", "A [link](http://a.b) "]
    )
    def test_is_given_on_at_once_where_nothing_is_open(self, text):
        assert AnswerText().add(text) == text

    @pytest.mark.parametrize(
        "opens", ["$", "`", "\\(", "\\[", "$$ ", "$x ", "<", ":a", "`` ` ", ">", "1.", "\n ", "-> "]
    )
    def test_costs_its_length_and_not_its_square(self, opens):
        text = opens * (400_000 // len(opens))
        assert len(in_pieces(text, 400)) >= len(text)


class TestFormulas:
    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            (r"so \(x^2\) is", "so $x^2$ is"),
            (r"so \( x^2 \)", "so $x^2$"),
            ("\\[\nE = mc^2\n\\]\nnext", "$$\nE = mc^2\n$$\nnext"),
            (r"\[E = mc^2\]", "$$\nE = mc^2\n$$"),
            (r"so \[E = mc^2\] is", "so $E = mc^2$ is"),
            ("- a\n\n  \\[\n  x\n  \\]\n", "- a\n\n  $$\n  x\n  $$\n"),
            ("$$x$$", "$$\nx\n$$"),
            ("$$\nx\n$$", "$$\nx\n$$"),
            ("其中$x$是$y$。", "其中$x$是$y$。"),
            (r"$2^n$, $10^6$ and $3 \times 4$", r"$2^n$, $10^6$ and $3 \times 4$"),
            (r"\\(x\\)", r"\\(x\\)"),
            (r"\(no end", r"\(no end"),
        ],
    )
    def test_are_written_as_streamlit_knows_them(self, written, shown):
        assert as_markdown(written) == shown


class TestSumsOfMoney:
    @pytest.mark.parametrize(
        "written",
        [
            *(
                "$5 and $6",
                "from $5 to $6.50",
                "$5/$6",
                "$5-$6",
                "**$5** and **$6**",
                "US$5 and US$6",
                "| $5 | $6 |",
            ),
            *("($5)–($6)", "$5和$6。", "$1,000 or $2k", "a $ and a $", "$5", "$5, $6", "5$ and 6$", "$5\nor $6"),
            *("echo $HOME:$PATH", "$$", "$$$ $$$"),
        ],
    )
    def test_are_no_formulas(self, written):
        assert as_markdown(written) == written.replace("$", "\\$")

    def test_are_none_beside_one_either(self):
        assert as_markdown("$x^2$ costs $5 and $6, $y$ too") == "$x^2$ costs \\$5 and \\$6, $y$ too"
        assert as_markdown("$5 and $6, and $$x$$ more") == "\\$5 and \\$6, and $x$ more"


class TestCodeAndAddresses:
    @pytest.mark.parametrize(
        "written",
        [
            "`$5 and $6`",
            r"`\(x\)`",
            "```\n$5 $6 a -> b :smile: \\(x\\)\n```\n",
            "~~~\n$5 $6\n```\n$7 $8\n~~~\n",
            "- ```sh\n  echo $A $B\n  ```\n",
            "    echo $A $B -> x\n\n    $C $D\n",
            "https://example.com/a:b:c?$x$",
            "[a](http://h/:id:/$x$)",
            "<https://example.com>",
            "| a | b |\n|:---:|--:|\n",
        ],
    )
    def test_stay_as_they_are(self, written):
        assert as_markdown(written) == written

    def test_what_follows_them_is_text_again(self):
        assert as_markdown("```\n$1 $2\n```\n$5 `$3` $6") == "```\n$1 $2\n```\n\\$5 `$3` \\$6"


class TestWhatOtherMarkdownDoesNotHave:
    @pytest.mark.parametrize(
        ("written", "shown"),
        [
            ("a -> b", f"a -{SPLIT}> b"),
            ("a <-> b", f"a <{SPLIT}-{SPLIT}> b"),
            ("x->y", "x->y"),
            ("Title\n--\n", "Title\n--\n"),
            (":smile:", f"\\:{SPLIT}smile:"),
            ("12:100:30", f"12\\:{SPLIT}100:30"),
            (":material/check:", f"\\:{SPLIT}material/check:"),
            (":red[x]", "\\:red[x]"),
            ("a[1:n[2]]", "a[1\\:n[2]]"),
            ("std::vector", "std\\:\\:vector"),
            ("Note: this", "Note: this"),
            ("<b>bold</b> a < b", "\\<b>bold\\</b> a < b"),
            ("invoice\u202egpj.exe", "invoice\\u202egpj.exe"),
        ],
    )
    def test_is_shown_as_it_was_written(self, written, shown):
        assert as_markdown(written) == shown
