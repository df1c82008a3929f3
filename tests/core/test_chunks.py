"""Words, thoughts and usage in chunks, in the shapes that each provider's library gives them."""

from typing import Any

import pytest

from core.calls.chunks import ChunkUsage, split_blocks, split_content

SHAPES: dict[str, tuple[Any, dict[str, Any], str, str]] = {
    "a text": ("hello", {}, "hello", ""),
    "no content": (None, {}, "", ""),
    "Claude's text": ([{"type": "text", "text": "hello", "index": 1}], {}, "hello", ""),
    "Claude's thinking": ([{"type": "thinking", "thinking": "hm", "index": 0}], {}, "", "hm"),
    "Claude's signature": ([{"type": "thinking", "thinking": "", "signature": "EqQB", "index": 0}], {}, "", ""),
    "Claude's hidden thoughts": ([{"type": "redacted_thinking", "data": "EqQB", "index": 0}], {}, "", ""),
    "Claude's tool call": ([{"type": "tool_use", "id": "t", "name": "look", "input": {}, "index": 1}], {}, "", ""),
    "its arguments": ([{"type": "input_json_delta", "partial_json": "{}", "index": 1}], {}, "", ""),
    "Gemini's text and thought": (["hello", {"type": "thinking", "thinking": "hm"}], {}, "hello", "hm"),
    "Bedrock's reasoning": (
        [{"type": "reasoning_content", "reasoning_content": {"type": "text", "text": "hm"}, "index": 0}],
        {},
        "",
        "hm",
    ),
    "Bedrock's signature": (
        [{"type": "reasoning_content", "reasoning_content": {"type": "signature", "signature": "x"}}],
        {},
        "",
        "",
    ),
    "the summary of Responses": (
        [{"type": "reasoning", "summary": [{"type": "summary_text", "index": 0, "text": "hm"}], "index": 0}],
        {},
        "",
        "hm",
    ),
    "the reasoning of an open model in Responses": (
        [{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}],
        {},
        "",
        "hm",
    ),
    "the older form of Responses": (
        [],
        {"reasoning": {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}},
        "",
        "hm",
    ),
    "the standard's reasoning": ([{"type": "reasoning", "reasoning": "hm", "index": 0}], {}, "", "hm"),
    "a refusal": ([{"type": "refusal", "refusal": "no"}], {}, "no", ""),
    "a refusal in the standard's form": (
        [{"type": "non_standard", "value": {"type": "refusal", "refusal": "no"}}],
        {},
        "no",
        "",
    ),
    "a refusal beside": ("", {"refusal": "no"}, "no", ""),
    "no refusal beside": ("hello", {"refusal": None}, "hello", ""),
    "DeepSeek's": ("", {"reasoning_content": "hm"}, "", "hm"),
    "the same in both places": ([{"type": "reasoning", "reasoning": "hm"}], {"reasoning_content": "hm"}, "", "hm"),
    "an image": ([{"type": "image_url", "image_url": {"url": "data:"}}], {}, "", ""),
    "something strange": ([7, {"type": ["text"], "text": "x"}, {"type": "text", "text": None}, {}], {}, "", ""),
}


@pytest.mark.parametrize("name", SHAPES)
def test_words_and_thoughts_never_mix(name: str) -> None:
    content, beside, words, thoughts = SHAPES[name]
    assert split_content(content, beside) == (words, thoughts)


class TestBlocks:
    def test_that_are_only_words_are_a_text(self) -> None:
        blocks = [
            {"type": "thinking", "thinking": "hm", "signature": "x"},
            {"type": "text", "text": "hello", "annotations": []},
            {"type": "tool_use", "id": "t", "name": "look", "input": {}},
        ]
        assert split_blocks(blocks) == ("hello", "hm")

    def test_that_are_more_stay_blocks_without_their_thoughts(self) -> None:
        image = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
        cited = {"type": "text", "text": "so", "annotations": [{"type": "url_citation", "url": "https://a.org"}]}
        for more in (image, cited):
            assert split_blocks([{"type": "reasoning", "reasoning": "hm"}, more]) == ([more], "hm")


class TestUsage:
    @pytest.mark.parametrize(
        ("chunks", "whole"),
        [
            ([], None),
            ([(5, 5)], None),
            ([(5, 5)] * 5, (5, 5)),
            ([(5, 1), (5, 2), (5, 3)], (5, 3)),
            ([(5, 0), (0, 0), (5, 3)], (5, 3)),
            ([(5, 0), (0, 3)], None),
            ([(5, 1), (0, 1), (0, 1)], None),
            ([(5, 3), (5, 1)], None),
            ([(5, 1), (9, 2)], None),
        ],
    )
    def test_is_the_whole_only_where_the_same_input_is_told_again(
        self, chunks: list[tuple[int, int]], whole: tuple[int, int] | None
    ) -> None:
        usage = ChunkUsage()
        for taken, said in chunks:
            usage.hear({"input_tokens": taken, "output_tokens": said})
        found = usage.whole
        assert (found and (found["input_tokens"], found["output_tokens"])) == whole
