"""A branch as a file: all of it, safe against what stands in it, and on record."""

import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from sqlalchemy import select, update

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import NotFoundError
from core.history.turns import EDITS, INPUTS, ThreadKind, Turn
from core.ids import new_message_id
from core.records.branch_export import branch_json, branch_markdown
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity, Conversation, LlmCall, Message, Thread
from tests.core.support import answered, ask, graph_settings, turn_at
from tests.core.test_call_queries import a_call, put
from tests.core.test_tree import beside

Person = Callable[..., Viewer]
START = datetime(2026, 10, 24, 21, 30, 5, tzinfo=UTC)
PAGE = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = [
    "# A heading of its own",
    "A heading\n===",
    "```python\nnever closed",
    "~~~~\n```\nstill open",
    "<!-- never closed",
    "<details><summary>hidden</summary>",
    "text <b>bold <script>alert(1)</script>",
    "</div></blockquote><h1>out</h1>",
    "line\r# after a carriage return\r\n## and more",
    "- item\n  ```\n  in a list\n</details>",
    "`` ` <i> `` `<b>` ` <u>\n` <s>",
    "| a | b |\n|---|---|\n| `x | <b>` |",
    "\\`<b>` \\<i> \\\\<u>",
    "    indented <b>\n\n\t<i>",
    "---\n***\n___",
    "<![CDATA[ x <?php y <!DOCTYPE z",
    "<https://example.org> [a](<b>) ![c](d)",
    "```html\n<b>\n```\n<b>",
    "> quoted\n# not\n> <b>",
    "1. one\n2. two\n\n<pre>",
    "```a`b\n<b>",
    "  ```\nin a fence\n```\n<b>",
    "- ```\n```\n<b>\n```\n<i>",
    "```| a |\n|---|---|\n<b>\n\n<i>",
    "",
    "\u2028# not a line\x0b\x0c# nor this",
]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


def said(skein: Skein, viewer: Viewer, text: str, under: Turn | None = None, agent: str = "echo") -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, under=under, agent=agent).thread_id)


def change(skein: Skein, model: Any, turn: Turn, **values: Any) -> None:
    table = table_of(model)
    column = table.c.conversation_id if model is Conversation else table.c.message_id
    key = turn.conversation_id if model is Conversation else turn.message_id
    skein.database.write(lambda db: db.connection().execute(update(table).where(column == key).values(**values)))


def tokens_of(page: str) -> list[Token]:
    """What a reader of Markdown makes of the page, the inside of paragraphs too."""
    return [inner for token in PAGE.parse(page) for inner in (token, *(token.children or ()))]


def outline(page: str) -> list[str]:
    """The headings that stand in the page itself, in nothing that is quoted."""
    tokens = PAGE.parse(page)
    return [
        f"{token.tag} {tokens[place + 1].content}"
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]


def quotes(page: str) -> int:
    return sum(token.type == "blockquote_open" and token.level == 0 for token in PAGE.parse(page))


def told(skein: Skein) -> list[tuple[Any, ...]]:
    table = table_of(Activity).c
    columns = (table.user_id, table.kind, table.target_id, table.session_id, table.detail)
    with skein.database.read() as db:
        query = select(*columns).where(table.kind == "branch.export").order_by(table.activity_id)
        return [tuple(row) for row in db.connection().execute(query)]


class TestMarkdown:
    def test_reads_from_the_title_to_the_last_answer(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "我喜欢红苹果")
        second = said(opened, alice, "and then?\n\nmore", first)
        beside(opened, alice, second, ThreadKind.EDIT, "on another branch")
        for turn in (first, second):
            times = {"started_at": START, "ended_at": START + timedelta(seconds=2)}
            change(opened, Thread, turn, **times)
            change(opened, Message, turn, created_at=START, answer=f"answer to {turn.content[:3]}")
        assert opened.call_log.flush()
        page = branch_markdown(alice, opened.database, second.message_id)
        assert outline(page) == [
            "h1 我喜欢红苹果",
            "h2 1. alice, 2026-10-24 21:30:05 UTC",
            "h3 Answer 1",
            "h2 2. alice, 2026-10-24 21:30:05 UTC",
            "h3 Answer 2",
        ]
        assert "\n\n> 我喜欢红苹果\n\n### Answer 1\n\n> answer to 我喜欢\n\n" in page
        assert "\n\n> and then?\n>\n> more\n\n### Answer 2\n\n> answer to and\n\n" in page
        assert (
            f"\n\nMessage `{second.message_id}`, thread `{second.thread_id}`: continue · echo · demo · done" in page
        )
        assert page.count(" · 2.0 s · 1 call · ") == 2
        assert "on another branch" not in page

    def test_says_what_it_cost_and_what_is_not_known(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "costs", agent="once")
        whose = {"user_id": alice.user_id, "thread_id": turn.thread_id}
        put(opened.database, LlmCall, a_call(**whose, cost_usd=None, usage_source="estimated"))
        first = branch_markdown(alice, opened.database, turn.message_id)
        put(
            opened.database,
            LlmCall,
            a_call(**whose, cost_usd=0.0001),
            a_call(**whose, cost_usd=0.2, model="big_one"),
        )
        second = branch_markdown(alice, opened.database, turn.message_id)
        assert "1 call · about 100 tokens in, 10 out · unpriced\n" in first
        assert "3 calls · about 300 tokens in, 30 out · at least $0.2001 (1 call unpriced)\n" in second
        assert "· once · big\\_one, gpt · " in second

    def test_says_how_an_answer_ended(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        change(opened, Message, turn, answer="half a")
        for status in ("stopped", "failed", "lost", "waiting", "running", "queued"):
            change(opened, Thread, turn, status=status, error_message="it *broke*\n# here")
            page = branch_markdown(alice, opened.database, turn.message_id)
            assert f"\n\n> half a\n\n**{status.capitalize()}.** It" in page
            assert " it \\*broke\\* \\# here\n\n" in page

    def test_says_that_an_answer_is_empty(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        change(opened, Message, turn, answer="")
        page = branch_markdown(alice, opened.database, turn.message_id)
        assert "### Answer 1\n\nThe agent ended without saying anything.\n\nMessage `" in page

    def test_code_is_kept_as_it_is(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        code = "Use `<div>` or ``<a `b` c>``:\n\n```html\n<p>`x`</p>\n```"
        change(opened, Message, turn, answer=code)
        tokens = tokens_of(branch_markdown(alice, opened.database, turn.message_id))
        kept = [token.content for token in tokens if token.type in {"code_inline", "fence"}]
        assert kept[-5:-2] == ["<div>", "<a `b` c>", "<p>`x`</p>\n"]


class TestHostileTexts:
    def test_stay_where_they_are(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "one")
        second = said(opened, alice, "two", first)
        for text in HOSTILE:
            change(opened, Message, first, content=text or " ", answer=text)
            change(opened, Thread, first, error_message=text, status="failed")
            change(opened, Conversation, first, title=text)
            check(branch_markdown(alice, opened.database, second.message_id), turns=2)

    def test_of_any_mixture_stay_where_they_are(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        pick = random.Random(7)
        parts = [
            *HOSTILE,
            "`",
            "``",
            "```",
            "~~~",
            "<",
            "\n",
            "\n\n",
            "  ",
            "|",
            "\\",
            ">",
            "-",
            "<b",
            "<!--",
            " x ",
            "    ",
        ]
        for _ in range(150):
            text = "".join(pick.choice(parts) for _ in range(pick.randrange(1, 14)))
            change(opened, Message, turn, content=text, answer=f"{text}\nend")
            check(branch_markdown(alice, opened.database, turn.message_id), turns=1)

    def test_of_any_length_are_read_in_a_moment(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        runs = " ".join("`" * length for length in range(1, 300))
        change(opened, Message, turn, content="<b> `x` " * 5_000, answer=runs)
        check(branch_markdown(alice, opened.database, turn.message_id), turns=1)

    def test_are_kept_to_the_letter_as_json(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        text = "\n".join(HOSTILE)
        change(opened, Message, turn, content=text, answer=text)
        [read] = json.loads(branch_json(alice, opened.database, turn.message_id))["turns"]
        assert (read["content"], read["answer"]) == (text, text)


def check(page: str, *, turns: int) -> None:
    """Each text is in a quote of its own, the outline is ours, and nothing is left that is HTML."""
    headings = outline(page)
    assert [heading[:2] for heading in headings] == ["h1", *["h2", "h3"] * turns]
    assert [heading[3:] for heading in headings[2::2]] == [f"Answer {place + 1}" for place in range(turns)]
    assert quotes(page) in range(turns, 2 * turns + 1)
    assert [token.content for token in tokens_of(page) if token.type in {"html_block", "html_inline"}] == []


class TestJson:
    def test_has_every_id_and_where_each_state_came_from(self, opened: Skein, alice: Viewer) -> None:
        first = said(opened, alice, "我喜欢红苹果")
        second = turn_at(opened, alice, said(opened, alice, "two", first).message_id)
        assert opened.call_log.flush()
        read = json.loads(branch_json(alice, opened.database, second.message_id))
        assert (read["format"], read["version"], read["title"]) == ("skein.branch", 1, "我喜欢红苹果")
        assert (read["user_id"], read["user_name"], read["exported_by"]["name"]) == (
            alice.user_id,
            "alice",
            "alice",
        )
        assert (read["conversation_id"], read["message_id"]) == (first.conversation_id, second.message_id)
        one, two = read["turns"]
        assert (one["content"], one["kind"], one["parent_message_id"]) == ("我喜欢红苹果", "first", None)
        assert {name: two[name] for name in ("message_id", "thread_id", "kind", "status", "parent_thread_id")} == {
            "message_id": second.message_id,
            "thread_id": second.thread_id,
            "kind": "continue",
            "status": "done",
            "parent_thread_id": first.thread_id,
        }
        assert two["source_checkpoint_id"] == second.source_checkpoint_id is not None
        assert two["created_at"] == second.created_at.isoformat().replace("+00:00", "Z")
        assert (two["models"], two["usage"]["calls"], two["usage"]["cost_usd"]) == (["demo"], 1, 0.0)
        assert (read["usage"]["messages"], read["usage"]["calls"]) == (2, 2)

    def test_has_settings_and_edits_but_no_secret(self, opened: Skein, alice: Viewer) -> None:
        turn = said(opened, alice, "one")
        key = "sk-abcdefgh12345678"
        config = {
            "model": "m",
            "api_key": key,
            "deep": [{"token": key, "note": f"use {key}"}],
            EDITS: {"notes": ["改"]},
            INPUTS: {"topic": "tea", "token": key},
        }
        change(opened, Thread, turn, config=config)
        text = branch_json(alice, opened.database, turn.message_id)
        [read] = json.loads(text)["turns"]
        assert read["config"] == {"model": "m", "api_key": "***", "deep": [{"token": "***", "note": "use ***"}]}
        assert (read[EDITS], key in text) == ({"notes": ["改"]}, False)
        assert read[INPUTS]["topic"] == "tea"


class TestOnRecord:
    def test_each_export_is_told_in_the_activity(self, opened: Skein, alice: Viewer, person: Person) -> None:
        ann = person("ann", role="analyst")
        first = said(opened, alice, "one")
        second = said(opened, alice, "two", first)
        page = branch_markdown(alice, opened.database, second.message_id)
        text = branch_json(ann, opened.database, first.message_id)
        session_id = json.loads(text)["session_id"]
        assert "- Exported by alice at 20" in page
        assert told(opened) == [
            (
                alice.user_id,
                "branch.export",
                second.message_id,
                session_id,
                {"kind": "markdown", "messages": 2, "messages_of_others": 0},
            ),
            (
                ann.user_id,
                "branch.export",
                first.message_id,
                session_id,
                {"kind": "json", "messages": 1, "messages_of_others": 1},
            ),
        ]

    @pytest.mark.parametrize("export", [branch_markdown, branch_json])
    def test_another_member_gets_nothing_and_leaves_no_trace(
        self, opened: Skein, alice: Viewer, person: Person, export: Callable[..., str]
    ) -> None:
        turn = said(opened, alice, "one")
        for viewer, message_id in ((person("mallory"), turn.message_id), (alice, new_message_id())):
            with pytest.raises(NotFoundError):
                export(viewer, opened.database, message_id)
        assert told(opened) == []
