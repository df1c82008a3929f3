"""Ids: well formed, in order, and refused with a sentence when they are not."""

import threading
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import ids
from core.errors import BadInputError
from core.ids import KINDS, parse_id

MAKERS = {
    "user": ids.new_user_id,
    "login": ids.new_login_id,
    "session": ids.new_session_id,
    "conv": ids.new_conversation_id,
    "msg": ids.new_message_id,
    "thread": ids.new_thread_id,
    "call": ids.new_call_id,
    "seal": ids.new_seal_id,
    "price": ids.new_price_id,
    "fix": ids.new_correction_id,
    "view": ids.new_view_id,
    "branch": ids.new_branch_id,
    "snap": ids.new_snapshot_id,
    "note": ids.new_annotation_id,
    "appr": ids.new_approval_id,
    "rule": ids.new_rule_id,
    "art": ids.new_artifact_id,
    "tmpl": ids.new_template_id,
    "keep": ids.new_retention_id,
    "export": ids.new_export_id,
    "act": ids.new_activity_id,
}
CHECKS = {
    "user": ids.to_user_id,
    "conv": ids.to_conversation_id,
    "msg": ids.to_message_id,
    "thread": ids.to_thread_id,
    "call": ids.to_call_id,
    "view": ids.to_view_id,
    "branch": ids.to_branch_id,
    "snap": ids.to_snapshot_id,
    "appr": ids.to_approval_id,
    "art": ids.to_artifact_id,
    "tmpl": ids.to_template_id,
    "keep": ids.to_retention_id,
    "export": ids.to_export_id,
}
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
WELL_FORMED = st.builds(
    lambda kind, ms, end: f"{kind}_{ms:013d}_{end}",
    st.sampled_from(sorted(KINDS)),
    st.integers(0, 9_999_999_999_999),
    st.text(ALPHABET, min_size=12, max_size=12),
)


class TestARoundTrip:
    @pytest.mark.parametrize("kind", sorted(KINDS))
    def test_a_new_id_says_what_it_names_and_when_it_was_made(self, kind: str) -> None:
        before = datetime.now(UTC)
        parsed = parse_id(MAKERS[kind]())
        assert parsed.kind == kind
        assert abs((parsed.made_at - before).total_seconds()) < 60

    @given(WELL_FORMED)
    def test_every_well_formed_id_is_taken_apart_exactly(self, text: str) -> None:
        kind, ms, _ = text.split("_")
        parsed = parse_id(text)
        assert (parsed.kind, round(parsed.made_at.timestamp() * 1000)) == (kind, int(ms))

    @pytest.mark.parametrize("kind", sorted(CHECKS))
    def test_the_right_kind_passes_unchanged(self, kind: str) -> None:
        made = MAKERS[kind]()
        assert CHECKS[kind](made) == made


class TestTheOrder:
    @given(st.lists(st.floats(0, 9e9), min_size=1, max_size=60))
    def test_grows_whatever_the_clock_does(self, times: list[float]) -> None:
        clock = iter(times)
        sequence = ids._Sequence(lambda: next(clock))
        made = [sequence.next() for _ in times]
        assert made == sorted(set(made))

    def test_grows_when_a_millisecond_is_full(self) -> None:
        sequence = ids._Sequence(lambda: 1.0)
        sequence._last = (1000, (1 << 60) - 3)
        made = [sequence.next() for _ in range(3)]
        assert made == sorted(set(made))
        assert all(number >> 60 == 0 for _, number in made)

    def test_grows_in_every_thread_and_no_id_is_made_twice(self) -> None:
        made: list[list[str]] = [[] for _ in range(8)]

        def make(mine: list[str]) -> None:
            mine += [ids.new_message_id() for _ in range(2_000)]

        threads = [threading.Thread(target=make, args=(mine,)) for mine in made]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(mine == sorted(mine) for mine in made)
        assert len({one for mine in made for one in mine}) == 16_000
        assert ids.new_message_id() > max(one for mine in made for one in mine)


class TestWhatIsRefused:
    @given(st.text() | WELL_FORMED.map(lambda text: text + "\n") | WELL_FORMED.map(str.upper))
    def test_anything_else_with_one_sentence(self, text: str) -> None:
        with pytest.raises(BadInputError, match="is not an id of Skein") as caught:
            parse_id(text)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 600

    @pytest.mark.parametrize(
        "text",
        [
            "memo_1700000000000_0123456789AB",
            "msg_1700000000000_0123456789AI",
            "msg_1700000000000_0123456789A",
            "msg_١٧٠٠٠٠٠٠٠٠٠٠٠_0123456789AB",
            " msg_1700000000000_0123456789AB",
            "x" * 100_000,
        ],
    )
    def test_what_is_nearly_one(self, text: str) -> None:
        with pytest.raises(BadInputError, match="copy the whole id"):
            parse_id(text)

    def test_another_kind_is_named(self) -> None:
        with pytest.raises(BadInputError, match=r"names a conversation, but a thread is needed"):
            ids.to_thread_id(ids.new_conversation_id())
