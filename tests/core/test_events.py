"""Events: packed into rows and expanded again they are the same, and an offset means the same everywhere."""

import itertools
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from core.access.viewer import Viewer
from core.database import upsert
from core.runs.events import (
    LARGEST_PAYLOAD,
    LONGEST_TEXT_ROW,
    Event,
    answer_text,
    expand,
    is_too_large,
    pack,
    plain,
    plain_state,
)
from core.runs.log import RunLog
from core.runs.store import read_events
from core.skein import Skein
from core.tables import RunEvent
from tests.core.support import answered, ask

NODES = st.sampled_from(["a", "b", None])
WHAT = st.one_of(
    st.tuples(st.sampled_from(["token", "aside"]), NODES, st.text(max_size=4)),
    st.tuples(
        st.sampled_from(["node", "tool", "progress", "state"]), NODES, st.dictionaries(st.text(), st.integers())
    ),
)
LOGS = st.lists(WHAT, max_size=40).map(
    lambda parts: [Event(n, n * 3, kind, node, payload) for n, (kind, node, payload) in enumerate(parts, start=1)]
)


def packed(events: list[Event]) -> list[SimpleNamespace]:
    return [SimpleNamespace(**row) for row in pack("thread", events)]


class TestPacking:
    @given(LOGS)
    def test_and_expanding_gives_the_same(self, events: list[Event]) -> None:
        assert list(expand(packed(events))) == events

    @given(LOGS)
    def test_leaves_no_two_rows_that_could_be_one(self, events: list[Event]) -> None:
        rows = packed(events)
        pairs = itertools.pairwise(rows)
        assert not [1 for a, b in pairs if a.kind in ("token", "aside") and (a.kind, a.node) == (b.kind, b.node)]

    @given(LOGS, st.integers(0, 40), st.integers(0, 40))
    def test_again_from_where_it_began_only_extends_the_last_row(
        self, events: list[Event], start: int, end: int
    ) -> None:
        """A flush that is still under way may be repeated by the run's end with more behind it."""
        first, second = packed(events[start:end]), packed(events[start:])
        stored = {row.seq: row for row in first} | {row.seq: row for row in second}
        assert list(expand(stored[seq] for seq in sorted(stored))) == events[start:]

    def test_a_long_answer_is_cut_into_rows_of_a_fair_size(self) -> None:
        events = [Event(n, n, "token", "a", "x") for n in range(1, 2_002)]
        rows = packed(events)
        assert [len(row.payload) for row in rows] == [LONGEST_TEXT_ROW] * 4 + [1]
        assert list(expand(rows)) == events


class TestOffsets:
    def test_inside_a_row_of_many_tokens(self, opened: Skein, person: Callable[..., Viewer]) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "write 3 tokens").thread_id)
        base = 1_000
        kinds = ["token"] * 5 + ["node"] + ["token"] * 3 + ["aside"] * 2
        events = [Event(base + n, n, kind, "a", f"{n}") for n, kind in enumerate(kinds, start=1)]
        rows = pack(turn.thread_id, events)
        assert len(rows) == 4
        opened.database.write(lambda db: upsert(db, RunEvent, rows))
        with opened.database.read() as db:
            for after in range(base, base + len(events) + 2):
                assert read_events(db, turn.thread_id, after=after) == events[after - base :]

    def test_a_live_log_reads_as_the_stored_one(self) -> None:
        log = RunLog()
        for n in range(10):
            log.append("token", "a", str(n))
        assert [[e.seq for e in log.after(n)] for n in (0, 9, 10, 11)] == [list(range(1, 11)), [10], [], []]

    def test_nothing_is_added_after_the_end(self) -> None:
        log = RunLog()
        log.append("token", "a", "x")
        end = log.seal({"status": "done"})
        log.append("token", "a", "too late")
        log.close(end)
        assert [(e.seq, e.kind) for e in log.after(0)] == [(1, "token"), (2, "end")]

    def test_an_upsert_puts_the_longer_row_in_place_of_the_shorter(
        self, opened: Skein, person: Callable[..., Viewer]
    ) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "write 3 tokens").thread_id)
        events = [Event(1_000 + n, n, "token", "a", f"{n}") for n in range(6)]
        for upto in (2, 4, 6):
            rows = pack(turn.thread_id, events[:upto])
            opened.database.write(lambda db, rows=rows: upsert(db, RunEvent, rows))
        with opened.database.read() as db:
            assert answer_text(read_events(db, turn.thread_id, after=999)) == "012345"


class Odd:
    def __repr__(self) -> str:
        return "odd\0\ud800"


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(exclude_categories=())),
        st.binary(),
        st.builds(Odd),
        st.just(datetime(2026, 1, 1, tzinfo=UTC)),
    ),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner) | st.tuples(inner)
    ),
    max_leaves=10,
)


class TestPlain:
    @given(ANYTHING)
    def test_whatever_it_is_both_databases_can_hold_it(self, value: Any) -> None:
        text = to_json(plain(value))
        assert b"\\u0000" not in text
        assert from_json(text) == plain(value)

    def test_what_goes_round_in_a_circle_is_named(self) -> None:
        circle: list[Any] = []
        circle.append(circle)
        assert plain(circle) == {"unreadable": "list cannot be shown (ValueError)"}

    def test_a_key_of_a_state_that_is_too_large_does_not_hide_the_others(self) -> None:
        state = plain_state({"a": "x" * LARGEST_PAYLOAD, "b": 1})
        assert (is_too_large(state["a"]), state["b"]) == (True, 1)

    def test_what_is_too_large_is_named_by_its_size(self) -> None:
        assert plain("x" * (LARGEST_PAYLOAD - 2)) == "x" * (LARGEST_PAYLOAD - 2)
        assert plain("x" * LARGEST_PAYLOAD) == {"too_large": "50,002 bytes; look at the checkpoint instead"}
