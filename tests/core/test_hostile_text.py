"""Long texts that are made to be slow: whoever sends one must not stop the house.

What takes the square of their length would take many minutes here, and be ended; what is fit takes a second or two.
"""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from langchain_core.messages import HumanMessage

import core
import pages.parts
from core.access.web.hosts import host_name, is_same_site, local_path
from core.access.web.tokens import is_setup_token, read_login
from core.agents.demo.words import answer
from core.agents.file_blocks import files_in, words_in
from core.calls.capture.exchange import _CHAT, Exchange, _read
from core.calls.capture.inline_files import without_files
from core.calls.capture.masking import hide_credentials, without_credentials
from core.calls.pricing.usage import estimate_tokens
from core.calls.stream_end import StreamEnd, until_error
from core.errors import SkeinError
from core.history.annotations import clean_tag
from core.history.artifact_content import clean_name
from core.history.artifact_refs import find_named, parse_ref
from core.history.browse.query import parse, to_text
from core.history.browse.titles import to_title_key
from core.history.differences import state_differences, word_differences
from core.history.heads import tidy_name
from core.history.task_plan import text_to_plan
from core.history.words import find_words, mark_words, snippet, to_words
from core.ids import parse_id
from core.outside import TextInPieces, find_secrets, fit_data, hide_looks, hide_secrets, know_secrets, read_failure
from core.records.telling import inline, quoted
from core.runs.events import plain, readable
from pages.parts.approvals import approval_texts
from pages.parts.chat import markdown_blocks
from pages.parts.ui import text as page_text
from tests.hostile import Found, find_patterns, fragments, repeated, try_out

SIZE, ENDED = 100_000, pytest.mark.timeout(60)
PATTERNS = [*find_patterns(core), *find_patterns(pages.parts)]
UTC = ZoneInfo("UTC")
NOW = datetime(2026, 12, 1, tzinfo=UTC)
FRAGMENTS = (
    *(
        "sk-",
        "sk-a",
        "key ",
        "key:",
        "api key ",
        "Bearer ",
        "Bearer a",
        "://",
        "://a",
        "eyJ",
        "eyJ-",
        "token=",
        "AKIA",
    ),
    *(
        "a",
        "a ",
        " ",
        "\n",
        "\r",
        '"',
        "'",
        '\\"',
        '"\\',
        "\\",
        "`",
        "```\n",
        "~~~",
        "<",
        "<a ",
        "[",
        "[x](",
        "*",
        "_",
        "|",
    ),
    *(
        "&",
        "#",
        "$",
        "-",
        "- [ ] ",
        "> ",
        "title:",
        "title:a ",
        'title:"',
        "-",
        "(",
        "词",
        "词 ",
        "é",
        "e\u0301",
        "\u200d",
    ),
    *(
        "\x1b[",
        "\x1b]",
        "1",
        "1.",
        "1,",
        "{",
        '{"a":',
        "data:",
        "data:a/b;base64,",
        "data: {}\n\n",
        "event: error\n",
    ),
    *(
        "a@1 ",
        "msg_",
        "a=b; ",
        "%41",
        "../",
        "user@",
        "www.",
        "http://a",
        "tokens ",
        "摘要",
        "summary",
        "“",
        "a'a",
        "\ufe0f",
    ),
)


def _exchange(text: str, kind: str) -> Exchange:
    content = text.encode("utf-8", "replace")
    parts = [(0.0, content[start : start + 65_536]) for start in range(0, len(content), 65_536)]
    return Exchange(_CHAT, "http://x", "/chat/completions", b"{}", kind, parts)


def _end_of(text: str) -> bool:
    end = StreamEnd()
    for _, part in _exchange(text, "").parts:
        end.hear(part)
        until_error(part)
    return end.is_whole()


FUNCTIONS: dict[str, Callable[[str], Any]] = {
    "read_failure": read_failure,
    "hide_secrets": hide_secrets,
    "hide_looks": hide_looks,
    "fit_data": lambda text: fit_data({text: [text]}),
    "find_secrets": lambda text: find_secrets({"A_KEY": text, text[:1_000]: text}),
    "readable": lambda text: readable(text, SIZE),
    "plain": plain,
    "hide_credentials": hide_credentials,
    "without_credentials": without_credentials,
    "without_files": lambda text: without_files([{"content": text}]),
    "estimate_tokens": estimate_tokens,
    "error": lambda text: str(SkeinError(text)),
    "read_stream": lambda text: _read(_exchange(text, "text/event-stream")),
    "read_answer": lambda text: _read(_exchange(text, "application/json")),
    "stream_end": _end_of,
    "parse": lambda text: to_text(parse(text, zone=UTC, now=NOW)),
    "to_title_key": to_title_key,
    "to_words": to_words,
    "find_words": find_words,
    "snippet": lambda text: snippet([text], "zz"),
    "mark_words": lambda text: mark_words(text, "zz a"),
    "word_differences": lambda text: word_differences(text[:20_000], text[1:20_000] + "x"),
    "state_differences": lambda text: state_differences({"a": text}, {"a": "x" + text}),
    "tidy_name": tidy_name,
    "clean_tag": clean_tag,
    "clean_name": clean_name,
    "parse_ref": parse_ref,
    "find_named": lambda text: find_named({"artifacts": [text]}),
    "text_to_plan": text_to_plan,
    "parse_id": parse_id,
    "inline": inline,
    "quoted": quoted,
    "files_in": lambda text: [words_in(HumanMessage(text)), files_in(HumanMessage(text))],
    "demo_answer": lambda text: answer([HumanMessage(text)]),
    "cookie": lambda text: read_login(text, secret_key="x" * 40),
    "setup_token": lambda text: is_setup_token(text, secret_key="x" * 40),
    "host": host_name,
    "same_site": lambda text: is_same_site(origin=text, referer=text, host=text),
    "local_path": local_path,
    "page_plain": page_text.plain,
    "find_cut": markdown_blocks.find_cut,
    "is_open": markdown_blocks.is_open,
    "visible": lambda text: approval_texts.visible(text, SIZE),
    "arguments_html": lambda text: approval_texts.arguments_html({"a": text}),
}


@ENDED
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_takes_them(name: str) -> None:
    forget = know_secrets(["sk-sk-sk-sk-sk-1x", "aaaaaaaaaaaaab"])
    try:
        for fragment in FRAGMENTS:
            text = (fragment * (SIZE // len(fragment) + 1))[:SIZE]
            with suppress(SkeinError, ValueError, TypeError, RecursionError):
                FUNCTIONS[name](text)
    finally:
        forget()


@ENDED
@pytest.mark.parametrize("found", PATTERNS, ids=[found.place for found in PATTERNS])
def test_an_expression_takes_them(found: Found) -> None:
    for fragment in fragments(found.pattern):
        try_out(found, repeated(fragment, SIZE, found.pattern))


@ENDED
@pytest.mark.parametrize("fragment", ["sk-", "sk-a1", "key ", "Bearer ", "://", "eyJ-", "a-"])
def test_a_megabyte_of_what_a_key_begins_with_is_hidden(fragment: str) -> None:
    assert len(read_failure(fragment * 1_000_000)) <= 2_000
    assert isinstance(hide_secrets(fragment * (1_000_000 // len(fragment))), str)


def test_a_stream_of_them_is_shown_as_it_comes() -> None:
    forget = know_secrets(["aaaaaaaaaaaaaaaaab"])
    pieces = TextInPieces()
    shown = sum(len(pieces.take("a")) for _ in range(100_000))
    forget()
    assert shown == 100_000 - len("aaaaaaaaaaaaaaaaa")
    assert json.dumps(pieces.rest()) == '"' + "a" * 17 + '"'
