"""Token counts as providers report them, and as LangChain hands them on, in one convention."""

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk

from core.calls.pricing.usage import Usage, estimate_tokens, read_usage

# What the providers' servers send as usage, by the documentation of each, and what it means in OpenAI's convention.
RAW = {
    "OpenAI, Chat Completions": (
        {
            "prompt_tokens": 2006,
            "completion_tokens": 300,
            "total_tokens": 2306,
            "prompt_tokens_details": {"cached_tokens": 1920, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 128,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        Usage(2006, 300, 1920, None, 128),
    ),
    "OpenAI, Responses": (
        {
            "input_tokens": 328,
            "input_tokens_details": {"cached_tokens": 256},
            "output_tokens": 52,
            "output_tokens_details": {"reasoning_tokens": 20},
            "total_tokens": 380,
        },
        Usage(328, 52, 256, None, 20),
    ),
    "OpenRouter": (
        {
            "prompt_tokens": 10_339,
            "completion_tokens": 60,
            "total_tokens": 10_399,
            "cost": 0.05,
            "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 10_318},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        Usage(10_339, 60, 0, 10_318, 0),
    ),
    "Anthropic, with a cache": (
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 188,
            "cache_read_input_tokens": 1000,
            "cache_creation": {"ephemeral_5m_input_tokens": 188, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 393,
            "service_tier": "standard",
        },
        Usage(1209, 393, 1000, 188, billed={"service_tier": "standard"}),
    ),
    "Anthropic, cache fields null": (
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": None,
            "cache_read_input_tokens": None,
            "output_tokens": 3,
        },
        Usage(21, 3),
    ),
    "Anthropic, without a cache": ({"input_tokens": 21, "output_tokens": 3}, Usage(21, 3)),
    "Gemini": (
        {
            "promptTokenCount": 1200,
            "cachedContentTokenCount": 1024,
            "candidatesTokenCount": 80,
            "thoughtsTokenCount": 400,
            "totalTokenCount": 1680,
        },
        Usage(1200, 480, 1024, None, 400),
    ),
    "Gemini, all thought and nothing said": (
        {"promptTokenCount": 12, "thoughtsTokenCount": 64, "totalTokenCount": 76},
        Usage(12, 64, None, None, 64),
    ),
    "Gemini, tools of its own": (
        {
            "promptTokenCount": 20,
            "toolUsePromptTokenCount": 300,
            "candidatesTokenCount": 8,
            "totalTokenCount": 328,
        },
        Usage(320, 8),
    ),
    "Gemini, Python client": (
        {
            "prompt_token_count": 1200,
            "cached_content_token_count": None,
            "candidates_token_count": 80,
            "thoughts_token_count": 400,
            "total_token_count": 1680,
        },
        Usage(1200, 480, None, None, 400),
    ),
    "DeepSeek": (
        {
            "prompt_tokens": 1000,
            "completion_tokens": 70,
            "total_tokens": 1070,
            "prompt_cache_hit_tokens": 896,
            "prompt_cache_miss_tokens": 104,
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
        Usage(1000, 70, 896, None, 50),
    ),
    "Moonshot": (
        {"prompt_tokens": 900, "completion_tokens": 7, "total_tokens": 907, "cached_tokens": 768},
        Usage(900, 7, 768),
    ),
    "xAI, reasoning beside the completion": (
        {
            "prompt_tokens": 32,
            "completion_tokens": 9,
            "total_tokens": 135,
            "prompt_tokens_details": {"text_tokens": 32, "cached_tokens": 6},
            "completion_tokens_details": {"reasoning_tokens": 94},
        },
        Usage(32, 103, 6, None, 94),
    ),
    "vLLM": (
        {
            "prompt_tokens": 14,
            "total_tokens": 34,
            "completion_tokens": 20,
            "prompt_tokens_details": None,
            "completion_tokens_details": None,
        },
        Usage(14, 20),
    ),
    "llama.cpp": (
        {"completion_tokens": 48, "prompt_tokens": 44, "total_tokens": 92, "prompt_tokens_details": {}},
        Usage(44, 48),
    ),
    "Mistral": ({"prompt_tokens": 16, "completion_tokens": 34, "total_tokens": 50}, Usage(16, 34)),
    "Bedrock, Converse": (
        {
            "inputTokens": 30,
            "outputTokens": 628,
            "totalTokens": 1698,
            "cacheReadInputTokens": 1000,
            "cacheWriteInputTokens": 40,
        },
        Usage(1070, 628, 1000, 40),
    ),
    "Bedrock, Converse, no cache": ({"inputTokens": 30, "outputTokens": 628, "totalTokens": 658}, Usage(30, 628)),
    "LangChain's own shape": (
        {
            "input_tokens": 350,
            "output_tokens": 240,
            "total_tokens": 590,
            "input_token_details": {"cache_creation": 200, "cache_read": 100},
            "output_token_details": {"reasoning": 30},
        },
        Usage(350, 240, 100, 200, 30),
    ),
    "nothing was used": ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, Usage(0, 0)),
    "only the answer is counted": ({"prompt_tokens": None, "completion_tokens": 12}, Usage(None, 12)),
    "negative and broken numbers": (
        {
            "prompt_tokens": 7,
            "completion_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": -1},
            "completion_tokens_details": {"reasoning_tokens": 2.5},
        },
        Usage(7, 3),
    ),
}
RAW |= {
    "OpenAI, what was heard and said aloud": (
        {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 60},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 40},
        },
        Usage(100, 50, 0, None, 0, billed={"input_audio_tokens": 60, "output_audio_tokens": 40}),
    ),
    "OpenAI, pictures": (
        {
            "input_tokens": 50,
            "output_tokens": 900,
            "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
            "output_tokens_details": {"image_tokens": 900},
        },
        Usage(50, 900, billed={"input_image_tokens": 40, "output_image_tokens": 900}),
    ),
    "Anthropic, a cache for an hour and searches": (
        {
            "input_tokens": 21,
            "cache_creation_input_tokens": 188,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 88},
            "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 0},
            "output_tokens": 5,
            "service_tier": "priority",
        },
        Usage(
            209,
            5,
            0,
            188,
            billed={"cache_write_1h_tokens": 88, "web_searches": 3, "service_tier": "priority"},
        ),
    ),
    "OpenAI's shape with Anthropic's cache": (
        {
            "prompt_tokens": 1209,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 1000},
            "cache_creation_input_tokens": 188,
            "cache_read_input_tokens": 1000,
        },
        Usage(1209, 5, 1000, 188),
    ),
    "OpenAI's shape with a cache by its age": (
        {
            "prompt_tokens": 209,
            "completion_tokens": 5,
            "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 88},
        },
        Usage(209, 5, None, 188, billed={"cache_write_1h_tokens": 88}),
    ),
    "OpenAI's shape with what a cache was given": (
        {"prompt_tokens": 209, "completion_tokens": 5, "prompt_tokens_details": {"cache_creation": 188}},
        Usage(209, 5, None, 188),
    ),
    "Gemini, what was heard": (
        {
            "promptTokenCount": 100,
            "candidatesTokenCount": 8,
            "promptTokensDetails": [
                {"modality": "TEXT", "tokenCount": 40},
                {"modality": "AUDIO", "tokenCount": 60},
            ],
        },
        Usage(100, 8, billed={"input_audio_tokens": 60}),
    ),
}
NAMES = list(RAW)


class TestRawShapes:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_message_that_brings_its_providers_report(self, name):
        reported, expected = RAW[name]
        message = AIMessage("hello", response_metadata={"model_name": "m", "token_usage": reported})
        assert read_usage(message, None) == expected

    @pytest.mark.parametrize("name", NAMES)
    def test_the_output_of_the_call_brings_it(self, name):
        reported, expected = RAW[name]
        assert read_usage(AIMessage("hello"), {"usage": reported}) == expected

    @pytest.mark.parametrize("name", NAMES)
    def test_the_report_stands_among_the_other_metadata(self, name):
        reported, expected = RAW[name]
        assert read_usage(None, {**reported, "model": "m", "done": True}) == expected

    def test_ollama_puts_its_counts_beside_its_timings(self):
        metadata = {"model": "qwen3", "done": True, "eval_duration": 4, "prompt_eval_count": 26, "eval_count": 298}
        assert read_usage(AIMessage("", response_metadata=metadata), None) == Usage(26, 298)

    def test_ollama_leaves_out_a_prompt_it_remembered(self):
        assert read_usage(None, {"done": True, "eval_count": 298}) == Usage(None, 298)

    def test_groq_puts_a_streams_usage_into_a_corner(self):
        reported = {"queue_time": 0.01, "prompt_tokens": 18, "completion_tokens": 556, "total_tokens": 574}
        message = AIMessage("", response_metadata={"x_groq": {"id": "req_1", "usage": reported}})
        assert read_usage(message, None) == Usage(18, 556)

    def test_bedrocks_invocation_metrics(self):
        metrics = {"inputTokenCount": 9, "outputTokenCount": 4, "cacheReadInputTokenCount": 100}
        message = AIMessage("", response_metadata={"amazon-bedrock-invocationMetrics": metrics})
        assert read_usage(message, None) == Usage(109, 4, 100)


class TestLangChainsUsage:
    def message(self, usage: dict, metadata: dict | None = None) -> AIMessage:
        return AIMessage("hello", usage_metadata=usage, response_metadata=metadata or {})

    def test_it_is_inclusive_and_comes_before_any_raw_report(self):
        usage = {
            "input_tokens": 1209,
            "output_tokens": 393,
            "total_tokens": 1602,
            "input_token_details": {"cache_read": 1000, "cache_creation": 188},
            "output_token_details": {"reasoning": 90},
        }
        raw = {"usage": {"input_tokens": 21, "output_tokens": 393, "cache_read_input_tokens": 1000}}
        assert read_usage(self.message(usage, raw), None) == Usage(1209, 393, 1000, 188, 90)

    def test_cache_writes_that_stand_there_by_their_age_are_counted_once(self):
        details = {
            "cache_read": 10,
            "cache_creation": 0,
            "ephemeral_5m_input_tokens": 80,
            "ephemeral_1h_input_tokens": 70,
        }
        usage = {"input_tokens": 360, "output_tokens": 30, "total_tokens": 390, "input_token_details": details}
        assert read_usage(self.message(usage), None) == Usage(
            360, 30, 10, 150, billed={"cache_write_1h_tokens": 70}
        )

    @pytest.mark.parametrize("tier", ["flex", "priority"])
    def test_details_of_a_service_tier_are_found(self, tier):
        usage = {
            "input_tokens": 100,
            "output_tokens": 50,
            "total_tokens": 150,
            "input_token_details": {f"{tier}_cache_read": 60, tier: 40},
            "output_token_details": {f"{tier}_reasoning": 20, tier: 30},
        }
        assert read_usage(self.message(usage), None) == Usage(100, 50, 60, None, 20, billed={"service_tier": tier})

    def test_what_it_leaves_out_is_taken_from_the_report_of_the_same_tokens(self):
        usage = {"input_tokens": 1000, "output_tokens": 70, "total_tokens": 1070}
        raw, _ = RAW["DeepSeek"]
        assert read_usage(self.message(usage, {"token_usage": raw}), None) == Usage(1000, 70, 896, None, 50)

    def test_a_report_of_other_tokens_adds_nothing(self):
        usage = {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12}
        raw, _ = RAW["DeepSeek"]
        assert read_usage(self.message(usage, {"token_usage": raw}), None) == Usage(5, 7)

    def test_zeros_give_way_to_a_report_with_numbers(self):
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        raw, expected = RAW["Mistral"]
        assert read_usage(self.message(usage, {"token_usage": raw}), None) == expected

    def test_zeros_alone_are_zeros(self):
        usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
        assert read_usage(self.message(usage), None) == Usage(0, 0)

    def test_pieces_of_a_stream_are_added_up(self):
        pieces = [
            AIMessageChunk("a", usage_metadata={"input_tokens": 12, "output_tokens": 0, "total_tokens": 12}),
            AIMessageChunk("b", usage_metadata={"input_tokens": 0, "output_tokens": 9, "total_tokens": 9}),
        ]
        assert read_usage(pieces[0] + pieces[1], None) == Usage(12, 9)


class TestNothingUsable:
    @pytest.mark.parametrize(
        "reported",
        [
            {},
            {"prompt_tokens": None, "completion_tokens": None},
            {"prompt_tokens": -4, "completion_tokens": True},
            {"prompt_tokens": "12", "completion_tokens": 3.0},
            {"total_tokens": 90},
            {"prompt_tokens_details": {"cached_tokens": 5}},
        ],
    )
    def test_it_is_none(self, reported):
        assert read_usage(AIMessage("hello", response_metadata={"token_usage": reported}), {}) is None

    @pytest.mark.parametrize("place", [None, 7, "none", [], ["prompt_tokens"]])
    def test_strange_places_hold_nothing(self, place):
        assert read_usage(AIMessage("hello", response_metadata={"usage": place}), {"token_usage": place}) is None

    def test_neither_message_nor_output(self):
        assert read_usage(None, None) is None


class TestEstimates:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", 0),
            ("a", 1),
            ("four", 1),
            ("The quick brown fox jumps over the lazy dog.", 11),
            ("今天天气很好", 6),
            ("今天 is Monday", 2 + 3),
            ("こんにちは", 5),
            ("안녕하세요", 5),
            ("Crème brûlée", 3),
        ],
    )
    def test_four_letters_or_one_chinese_character_are_a_token(self, text, expected):
        assert estimate_tokens(text) == expected
