"""The pure helpers of pages: cutting a growing text, summing up a run, replaying it, and making text plain."""

import re
import time
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from streamlit.testing.v1 import AppTest

from core.runs.events import Event
from pages.parts.chat.markdown_blocks import SEGMENT, Segments, find_cut
from pages.parts.chat.run_summary import ordinal, replay, summarize
from pages.parts.ui.browsers import browser_name
from pages.parts.ui.format import milliseconds
from pages.parts.ui.text import SPLIT, as_written, plain, plain_lines, shortened, unturned


def close() -> None:
    """Stands between two segments."""


def segments_of(chunks: list[str]) -> list[str]:
    """What each element shows in the end, when the text comes in these chunks."""
    segments, shown = Segments(close), [""]
    for chunk in chunks:
        for part in segments.add(chunk):
            if callable(part):
                shown.append("")
            else:
                shown[-1] += part
    return shown


_blocks = st.sampled_from(
    [
        "Words of a paragraph. " * 12 + "\n\n",
        "```python\nx = 1\n\ny = 2\n```\n\n",
        "~~~~\n```\n\nnot the end\n\n~~~~\n\n",
        "$$\na\n\nb\n$$\n\n",
        "- a\n\n  still a\n- b\n\n",
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n\n",
        "没有空格的长句子。" * 40 + "\n\n",
        "one line\n",
        "\n",
    ]
)
_texts = st.one_of(st.text(max_size=3000), st.lists(_blocks, max_size=20).map("".join))


class TestCuttingAGrowingText:
    @given(text=_texts, size=st.integers(1, 500))
    def test_the_segments_joined_are_the_text(self, text, size):
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        assert "".join(segments_of(chunks)) == text

    def test_what_is_shown_already_is_not_said_twice_when_a_cut_is_found_too_late(self):
        chunks = ["words " * 40 + "\n\n" + "more " * 24, "and more " * 8]
        assert segments_of(chunks) == ["".join(chunks)]

    def test_the_end_of_a_very_long_fence_is_not_cut_off(self):
        code = "```\n" + "x = 1\n" * 1000 + "```"
        assert segments_of([code]) == [code]

    @given(blocks=st.lists(_blocks, min_size=1, max_size=25), size=st.integers(1, 300))
    def test_no_segment_but_the_last_ends_inside_a_fence_or_a_formula(self, blocks, size):
        text = "".join(blocks)
        chunks = [text[start : start + size] for start in range(0, len(text), size)]
        for segment in segments_of(chunks)[:-1]:
            assert _is_open(segment) is False
            assert segment.count("$$") % 2 == 0

    def test_a_fence_that_is_longer_than_a_segment_stays_in_one(self):
        code = "```\n" + "x = 1\n\n" * 1000 + "```\n"
        assert segments_of([code]) == [code]

    def test_a_long_answer_is_cut_where_a_block_ends(self):
        paragraph = "word " * 80 + "\n\n"
        shown = segments_of([paragraph] * 20)
        assert len(shown) > 3
        assert all(part.endswith("\n\n") for part in shown[:-1])
        assert max(map(len, shown)) <= SEGMENT + 3 * len(paragraph)

    def test_a_single_endless_paragraph_is_cut_after_a_sentence(self):
        shown = segments_of(["这是一句话。" * 10] * 100)
        assert len(shown) > 1
        assert all(part.endswith("。") for part in shown)

    @pytest.mark.parametrize(
        ("text", "cut"),
        [
            ("", None),
            ("a\n\n", None),
            ("a\n\nb", 3),
            ("a\n\n  b", None),
            ("```\na\n\nb", None),
            ("a\n\n$$\nb\n\nc", 3),
        ],
    )
    def test_a_cut_needs_a_block_that_has_begun(self, text, cut):
        assert find_cut(text) == cut


def _is_open(segment: str) -> bool:
    """Whether Markdown's own reader finds a fence in it that is never closed."""
    fences = [token for token in MarkdownIt().parse(segment) if token.type == "fence"]
    lines = segment.splitlines()
    return any(not lines[token.map[1] - 1].strip().startswith(token.markup) for token in fences if token.map)


def event(seq: int, at_ms: int, kind: str, payload: object, node: str | None = "talk") -> Event:
    return Event(seq, at_ms, kind, node, payload)  # type: ignore[arg-type]


RUN = [
    event(1, 0, "node", {"phase": "start", "task": "t1", "ns": []}),
    event(2, 100, "token", "Hello"),
    event(3, 150, "tool", {"phase": "start", "id": "c1", "args": {"q": 1}}, "look_up"),
    event(4, 250, "tool", {"phase": "end", "id": "c1", "result": "found", "ms": 100}, "look_up"),
    event(5, 600, "token", " you"),
    event(6, 1100, "token", " there"),
    event(7, 1200, "node", {"phase": "end", "task": "t1", "ns": [], "ms": 1200}),
    event(8, 1300, "end", {"status": "done", "finish_reason": "stop"}, None),
]


class TestARunSummedUp:
    def test_it_knows_its_tokens_times_and_rate(self):
        summary = summarize(RUN)
        assert (summary.tokens, summary.first_token_ms, summary.last_token_ms, summary.end_ms) == (
            3,
            100,
            1100,
            1300,
        )
        assert summary.tokens_per_second == 2.0

    def test_spans_have_begun_and_ended_and_tools_lie_deeper(self):
        spans = [(span.name, span.kind, span.began_ms, span.took_ms, span.depth) for span in summarize(RUN).spans]
        assert spans == [("talk", "node", 0, 1200, 0), ("look_up", "tool", 150, 100, 1)]

    def test_what_began_last_and_goes_on_is_at_work(self):
        names = [getattr(summarize(RUN[:count]).working, "name", None) for count in range(len(RUN) + 1)]
        assert names == [None, "talk", "talk", "look_up", "talk", "talk", "talk", None, None]

    def test_what_an_end_interrupts_has_failed(self):
        summary = summarize([RUN[0], event(2, 700, "end", {"status": "stopped"}, None)])
        assert [(span.took_ms, span.failed) for span in summary.spans] == [(700, True)]

    def test_a_node_that_failed_says_so(self):
        ended = event(2, 90, "node", {"phase": "end", "task": "t1", "error": "No.", "ms": 90})
        span = summarize([RUN[0], ended]).spans[0]
        assert (span.failed, span.detail) == (True, "No.")

    def test_one_token_has_no_rate(self):
        assert summarize(RUN[:2]).tokens_per_second is None


class TestAReplay:
    @pytest.mark.parametrize("speed", [0, 50.0, 1e6])
    def test_it_gives_every_event_once_and_in_order(self, speed):
        batches = list(replay(RUN, speed=speed, pace=0.001))
        assert [event for batch in batches for event in batch] == RUN

    def test_it_keeps_the_runs_own_pace(self):
        began = time.monotonic()
        list(replay(RUN, speed=10, pace=0.01))
        assert time.monotonic() - began >= 0.12

    def test_nothing_is_replayed_as_nothing(self):
        assert [event for batch in replay([], speed=1) for event in batch] == []


class TestDrawingARun:
    @pytest.mark.parametrize(
        ("show", "text", "nodes", "tools"),
        [
            ("tokens", ["Hello", "you there"], False, ["look\\_up"]),
            ("steps", ["Hello you there"], True, ["look\\_up"]),
            ("result", ["Hello you there"], False, []),
        ],
    )
    def test_each_way_shows_the_same_text_and_its_own_steps(self, show, text, nodes, tools):
        at = AppTest.from_function(_draw_run, args=(RUN, show), default_timeout=20).run()
        assert at.exception.values == []
        assert [markdown.value for markdown in at.markdown] == text
        assert any("talk" in caption.value for caption in at.caption) is nodes
        assert [status.label.split("**")[1] for status in at.status] == tools


def _draw_run(events, show):
    from pages.parts.chat.answer import Show, draw_answer

    draw_answer([events[:3], events[3:]], show=Show(show))


ARROW = re.compile(r"(^|\s)(<->|->|<-|--|>=|<=|~=)(\s|$)")


def parts(markdown: str) -> list[str]:
    """The texts that the browser looks for icons, arrows and links in: what stands between the empty directives."""
    return read(markdown).split("\u2060")


def read(markdown: str) -> str:
    """What is shown of a paragraph of Markdown; nothing in it may be anything but text."""
    blocks = MarkdownIt().enable("strikethrough").parse(markdown.replace(SPLIT, "\u2060"))
    assert [block.type for block in blocks] in ([], ["paragraph_open", "inline", "paragraph_close"])
    tokens = [token for block in blocks for token in block.children or ()]
    assert {token.type for token in tokens} <= {"text", "text_special", "hardbreak"}
    shown = ["\n" if token.type == "hardbreak" else token.content for token in tokens]
    return "".join(shown)


class TestText:
    @given(text=st.text(alphabet="ab*_`$[]<>#:|~\\/@w. -+=&1)\t", max_size=40))
    def test_plain_text_is_shown_as_it_was_typed(self, text):
        assert " ".join("".join(parts(plain(text))).split()) == " ".join(text.split())

    @given(text=st.text(alphabet="ab*_`$[]<>#:|~\\/@w. -+=&1)\n", max_size=60))
    def test_lines_are_shown_as_they_were_typed(self, text):
        lines = [" ".join(line.split()) for line in text.rstrip().lstrip("\n").split("\n")]
        shown = "".join(parts(plain_lines(text))).replace("\u00a0", " ").split("\n")
        assert [" ".join(line.split()) for line in shown] == lines

    # As the browser finds them in text that was read already.
    @pytest.mark.parametrize(
        "text", ["www.evil.example", "see WWW.evil.example", "https://evil.example/x", "a@b.de"]
    )
    def test_plain_text_has_no_links(self, text):
        link = re.compile(r"(https?://|www(?=\.))[-.\w]+|[-.\w+]+@[-\w]+(\.[-\w]+)+", re.IGNORECASE)
        assert (link.search(text) is None, any(map(link.search, parts(plain(text))))) == (False, False)

    @pytest.mark.parametrize("text", ["a -> b", "<-", "a <-> b", "x -- y", ">= 1", "<= 1", "~= 1"])
    def test_nor_arrows(self, text):
        assert (ARROW.search(text) is None, any(map(ARROW.search, parts(plain(text))))) == (False, False)

    @pytest.mark.parametrize("text", [":material/check:", ":smile:", "12:100:30", ":+1:", ":streamlit:", ":-1:"])
    def test_nor_icons(self, text):
        assert not any(re.search(r":[\w+/-]+:", part) for part in parts(plain(text)))
        assert ":material/" not in plain(text)

    @pytest.mark.parametrize("character", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    def test_what_turns_a_line_is_written_out(self, character):
        said = f"invoice{character}gpj.exe"
        written = f"invoice\\u{ord(character):04x}gpj.exe"
        assert (read(plain(said)), read(plain_lines(said)), unescape(as_written(said)).count(written)) == (
            written,
            written,
            1,
        )

    @given(text=st.text(max_size=100))
    def test_written_text_is_html_with_each_character_in_it(self, text):
        found = re.fullmatch(r"<div [^<>]*>([^<>]*)</div>", as_written(text), re.DOTALL)
        assert found is not None
        assert unescape(found[1]) == unturned(text)

    @given(text=st.text(max_size=50), length=st.integers(1, 30))
    def test_shortened_text_is_never_longer_than_asked(self, text, length):
        short = shortened(text, length)
        assert len(short) <= length
        assert short == text or short.endswith("…")

    @pytest.mark.parametrize(
        ("ms", "text"),
        [
            (0, "0 ms"),
            (999, "999 ms"),
            (1000, "1.0 s"),
            (59_940, "59.9 s"),
            (185_000, "3 min 5 s"),
            (119_999, "2 min 0 s"),
        ],
    )
    def test_a_duration_has_its_unit(self, ms, text):
        assert milliseconds(ms) == text

    def test_ordinals(self):
        numbers = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111]
        said = ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]
        assert [ordinal(number) for number in numbers] == said

    @pytest.mark.parametrize(
        ("said", "name"),
        [
            ("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36", "Chrome on Linux"),
            ("Mozilla/5.0 (Windows NT 10.0) Chrome/140.0 Safari/537.36 Edg/140.0", "Edge on Windows"),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18 Safari/604", "Safari on iPhone"),
            ("curl/8", "curl/8"),
        ],
    )
    def test_browsers_are_named_in_two_words(self, said, name):
        assert browser_name(said) == name
