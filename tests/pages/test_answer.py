"""How a run is drawn: tool calls at their place, what they show, lanes and bars, live and afterwards."""

import base64
import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from core.runs.events import Event
from core.skein import Skein, open_skein, use_skein
from pages.parts.chat.markdown_blocks import is_open, next_break
from pages.parts.chat.node_progress import read_share, read_text
from pages.parts.chat.run_summary import summarize
from pages.parts.chat.tool_call_view import MOST_BLOCKS
from pages.parts.chat.tool_calls import CallState, ToolCall, collect, in_order
from tests.conftest import make_settings
from tests.graphs import tooling
from tests.pages.conftest import say, texts


def events(*told: tuple[str, str | None, Any]) -> list[Event]:
    return [Event(n, n * 10, kind, node, payload) for n, (kind, node, payload) in enumerate(told, start=1)]  # type: ignore[arg-type]


def tool(phase: str, call_id: str = "c", name: str = "look_up", **more: Any) -> tuple[str, str, dict[str, Any]]:
    ids = {"id": call_id} if phase in {"call", "args"} else {"id": f"run-{call_id}", "call_id": call_id}
    return ("tool", name, {"phase": phase, **ids, **more})


CALLED = [
    ("token", "model", "Let me look."),
    tool("call", name="look_up", at=12),
    tool("args", text='{"query":'),
    tool("args", text=' "tea"}'),
    tool("start", args={"query": "tea"}, at=12),
    tool("end", result="found", ms=1_500),
    ("token", "model", "\n\nSo it is."),
    ("end", None, {"status": "done"}),
]


class TestCallsPutTogether:
    @pytest.mark.parametrize(
        ("count", "state", "text"),
        [
            (2, CallState.ASKED, ""),
            (3, CallState.ASKED, '{"query":'),
            (4, CallState.ASKED, '{"query": "tea"}'),
            (5, CallState.RUNNING, '{\n  "query": "tea"\n}'),
            (6, CallState.DONE, '{\n  "query": "tea"\n}'),
        ],
    )
    def test_come_as_far_as_their_events(self, count, state, text):
        (call,) = collect(events(*CALLED[:count]))
        assert (call.name, call.state, call.args_text) == ("look_up", state, text)

    def test_that_wait_go_on_in_the_same_place(self):
        (call,) = collect(
            events(tool("call"), tool("start", args={}), tool("end", waits=True), tool("start", args={"a": 1}))
        )
        assert (call.state, call.args) == (CallState.RUNNING, {"a": 1})

    def test_that_share_an_id_are_two_when_the_first_is_over(self):
        run = [tool("start", args={}), tool("end", result="x")]
        assert len(collect(events(*run, *run))) == 2

    def test_without_a_beginning_are_left_out(self):
        assert collect(events(tool("args", text="x"), tool("end", result="x"))) == []

    def test_stand_at_the_next_end_of_a_paragraph(self):
        call = ToolCall("a", at=8)
        assert in_order("One two three.\n\nFour.", [call]) == ["One two three.", call, "Four."]
        assert in_order("One.", [call]) == ["One.", call]
        assert in_order("", [call]) == [call]
        assert in_order("One.\n\nTwo.", []) == ["One.\n\nTwo."]
        first, second = ToolCall("a", at=0), ToolCall("b", at=0)
        assert in_order("One.", [first, second]) == [first, second, "One."]

    def test_never_stand_inside_a_fence(self):
        answer = "```\na\n\nb\n```\n\nafter"
        assert answer[next_break(answer, 5) :] == "\n\nafter"
        assert [is_open(answer[:n]) for n in (3, 8, 12)] == [True, True, False]


class TestProgress:
    @pytest.mark.parametrize(
        ("payload", "share", "text"),
        [
            ({"progress": 0.25, "text": "*half*"}, 0.25, r"\*half\*"),
            ({"progress": 7}, 1.0, ""),
            ({"done": 3, "total": 4}, 0.75, "3 of 4"),
            ({"done": 3, "total": 0}, None, r"{'done': 3, 'total': 0}"),
            ({"progress": True}, None, "True"),
            ({"progress": "half"}, None, "half"),
            ({"progress": float("nan")}, None, "nan"),
            ("reading", None, "reading"),
            ([1, 2], None, r"\[1, 2\]"),
        ],
    )
    def test_is_a_share_where_there_is_one_and_a_text_else(self, payload, share, text):
        assert read_share(payload) == share
        assert read_text(payload).replace("\\:", ":") == text


class TestARunThatWaitedSummedUp:
    RUN = (
        Event(1, 0, "node", "plan", {"phase": "start", "task": "t", "ns": []}),
        Event(2, 100, "token", "plan", "a"),
        Event(3, 150, "tool", "send", {"phase": "start", "id": "r1", "call_id": "c", "args": {}}),
        Event(4, 200, "tool", "send", {"phase": "end", "id": "r1", "call_id": "c", "waits": True}),
        Event(5, 300, "end", None, {"status": "waiting"}),
        Event(6, 900_300, "resumed", None, {"decision": "approve"}),
        Event(7, 900_400, "node", "plan", {"phase": "start", "task": "t", "ns": []}),
        Event(8, 900_450, "tool", "send", {"phase": "start", "id": "r2", "call_id": "c", "args": {}}),
        Event(9, 900_500, "tool", "send", {"phase": "end", "id": "r2", "call_id": "c", "result": "sent"}),
        Event(10, 901_100, "token", "plan", "b"),
        Event(11, 901_200, "node", "plan", {"phase": "end", "task": "t", "ns": []}),
        Event(12, 901_300, "end", None, {"status": "done"}),
    )

    def test_counts_no_waiting(self):
        summary = summarize(self.RUN)
        assert (summary.first_token_ms, summary.last_token_ms, summary.end_ms) == (100, 1_100, 1_300)
        assert (summary.waited_ms, summary.tokens_per_second) == (900_000, 1.0)

    def test_has_one_span_for_what_went_on(self):
        spans = [(span.name, span.took_ms, span.failed, span.detail) for span in summarize(self.RUN).spans]
        assert spans == [("plan", 1_100, False, None), ("send", 100, False, "sent")]

    def test_has_nothing_at_work_while_it_waits(self):
        working = [getattr(summarize(self.RUN[:n]).working, "name", None) for n in range(13)]
        assert working == [
            None,
            "plan",
            "plan",
            "send",
            "plan",
            None,
            None,
            "plan",
            "send",
            "plan",
            "plan",
            None,
            None,
        ]

    def test_is_over_when_it_is_stopped_instead(self):
        stopped = [*self.RUN[:5], Event(6, 300, "end", None, {"status": "stopped"})]
        summary = summarize(stopped)
        assert [(span.took_ms, span.failed) for span in summary.spans] == [(300, True), (50, True)]
        assert (summary.end, summary.end_ms) == ({"status": "stopped"}, 300)


def drawn(*batches: list[Event], show: str = "tokens") -> AppTest:
    at = AppTest.from_function(_draw, args=(batches, show), default_timeout=20).run()
    assert at.exception.values == []
    return at


def _draw(batches, show):
    from pages.parts.chat.answer import Show, draw_answer

    draw_answer(batches, show=Show(show))


def order(at: AppTest) -> list[str]:
    """What stands below each other on the page: texts, and tools in brackets."""
    kinds = {"markdown": lambda one: one.value, "status": lambda one: f"[{one.label.split('**')[1]}]"}
    return [kinds[one.type](one) for one in at.main.children.values() if one.type in kinds]


class TestDrawnLive:
    def test_a_call_stands_between_the_texts(self):
        at = drawn(events(*CALLED[:3]), events(*CALLED)[3:5], events(*CALLED)[5:])
        assert order(at) == ["Let me look.", r"[look\_up]", "So it is."]
        (status,) = at.status
        assert (status.state, "1.5 s" in status.label) == ("complete", True)
        assert [code.value for code in at.code] == ['{\n  "query": "tea"\n}', "found"]

    def test_while_it_is_written_its_last_words_are_seen(self):
        at = drawn(events(tool("call"), tool("args", text="a" * 5_000 + "the end")))
        (status,) = at.status
        assert status.state == "running"
        (code,) = at.code
        assert code.value.endswith("the end")
        assert len(code.value) < 700

    def test_one_that_failed_is_red(self):
        at = drawn(events(tool("start", args={}), tool("end", error="No *tea*.", ms=5)))
        (status,) = at.status
        assert status.state == "error"
        assert r":red[failed] · :red[No \*tea\*.]" in status.label

    def test_only_the_answer_is_seen_where_only_that_is_wanted(self):
        at = drawn(events(*CALLED, ("aside", "other", "psst")), show="result")
        assert order(at) == ["Let me look.\n\nSo it is."]
        assert len(at.status) == 0

    def test_a_call_in_a_fence_waits_for_its_end(self):
        at = drawn(
            events(("token", "m", "```\na\n"), tool("start", args={})),
            events(("token", "m", "b\n```"), ("end", None, {})),
        )
        assert order(at) == ["```\na\nb\n```", r"[look\_up]"]

    def test_there_are_only_so_many_blocks(self):
        calls = [tool("start", f"c{n}", args={}) for n in range(MOST_BLOCKS + 10)]
        assert len(drawn(events(*calls)).status) == MOST_BLOCKS

    def test_each_voice_has_its_lane(self):
        at = drawn(
            events(("aside", "one", "I am "), ("aside", "two", "And *me*")),
            events(("aside", "one", "one."), CALLED[0]),
        )
        assert [text.value for text in at.markdown] == ["I am one.", "And *me*", "Let me look."]
        assert [caption.value.split()[-1] for caption in at.caption] == ["one", "two"]

    def test_a_lane_keeps_to_its_last_words(self):
        at = drawn(*[events(("aside", "one", f"Word{n}. " * 50 + "\n\n")) for n in range(40)])
        shown = [text.value for text in at.markdown]
        assert "Word39" in shown[-1]
        assert sum(map(len, shown)) < 4_000

    def test_bars_are_gone_when_it_is_over(self):
        reports = events(("progress", "a", {"progress": 0.5}), ("progress", "b", {"done": 1, "total": 4}))
        assert len(drawn(reports).get("progress")) == 0
        at = AppTest.from_function(_draw_bars, args=(reports,)).run()
        assert [bar.value for bar in at.get("progress")] == [50, 25]


def _draw_bars(reports):
    import streamlit as st

    from pages.parts.chat.node_progress import Bars

    Bars(st.container()).add(reports)


def _picture() -> str:
    content = BytesIO()
    Image.new("RGB", (4, 4)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


SHOWS = [
    {"type": "table", "title": "A *title*", "columns": ["a", "b"], "rows": [[1, "x"], [None, 2], ["y", True]]},
    {"type": "chart", "spec": {"mark": "bar", "data": {"values": [{"a": 1}]}}, "note": "Left out."},
    {"type": "image", "media_type": "image/png", "base64": _picture()},
    {"type": "refused", "reason": "An image was left out: <b>no</b>."},
]


class TestDrawnAfterwards:
    def test_what_a_tool_shows_is_drawn(self):
        at = drawn(events(tool("start", args={}), tool("end", result="", shows=SHOWS)))
        assert at.dataframe[0].value.fillna("").to_dict("list") == {"a": ["1", "", "y"], "b": ["x", "2", "True"]}
        assert (len(at.get("vega_lite_chart")), len(at.get("image"))) == (1, 1)
        captions = "\n".join(caption.value for caption in at.caption)
        assert r"A \*title\*" in captions
        assert r"\<b\>no\</b\>" in captions


def answer_of(at: AppTest) -> list[str]:
    return [text.value for text in at.chat_message[1].markdown if "badge" not in text.value]


class TestOnTheChatPage:
    @pytest.fixture
    def opened(self, tmp_path: Path) -> Iterator[Skein]:
        graphs = {"tooling": {"path": f"{tooling.__file__}:tooling", "answer_nodes": ["model"]}}
        listed = tmp_path / "langgraph.json"
        listed.write_text(json.dumps({"graphs": graphs}))
        skein = open_skein(make_settings(tmp_path, langgraph_json=listed))
        use_skein(skein)
        yield skein
        use_skein(None)
        skein.close()

    def test_a_finished_answer_shows_its_calls_in_order(self, tab):
        at = say(tab("ada"), "look_up failing please")
        assert at.exception.values == []
        calls = [fold for fold in at.expander if fold.label.startswith("**")]
        assert [fold.label.split("**")[1] for fold in calls] == [r"look\_up", "failing"]
        assert ":red[failed]" in calls[1].label
        assert answer_of(at) == ["Let me look.", "So it is."]
        assert "found tea and more" in [code.value for code in at.code]

    def test_hostile_output_is_drawn_as_text(self, tab):
        at = say(tab("ada"), "hostile")
        assert at.exception.values == []
        (result,) = [code for code in at.code if "script" in code.value]
        assert (result.language, len(result.value) < 7_000) == ("plaintext", True)
        assert "script" not in texts(at) + "".join(fold.label for fold in at.expander)

    def test_pictures_and_charts_are_drawn_again_from_the_log(self, tab):
        at = say(tab("ada"), "showing picture")
        again = tab("ada", conversation=at.query_params["conversation"])
        for page in (at, again):
            assert (len(page.dataframe), len(page.get("image"))) == (1, 1)

    def test_what_was_said_beside_it_is_folded_away(self, tab):
        at = say(tab("ada"), "beside")
        (fold,) = [fold for fold in at.expander if fold.label.startswith("Said beside")]
        assert fold.label == "Said beside the answer: 2 voices"
        assert answer_of(at) == ["Let me look."]
        key = next(key for key in at.session_state.to_dict() if key.startswith("chat.asides."))
        at.session_state[key] = True
        at.run()
        assert [tab.label for tab in at.tabs] == ["aside", "aside · 2"]
