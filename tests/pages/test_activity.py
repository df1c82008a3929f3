"""The record of activity on the Browse page: who sees which rows, what narrows them, and where a row leads."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from streamlit.testing.v1 import AppTest

from core.history.activity_list import ActivityRow
from core.history.messages import NewMessage
from core.skein import Skein
from pages.parts.browse.activity_view import describe, lead_of, read_place
from pages.parts.ui.page_paths import BROWSE, CALLS, CHAT
from tests.core.support import answered
from tests.pages.conftest import OpenTab, person_named

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
PAGE = "/browse"


@pytest.fixture
def asked(opened: Skein, tab: OpenTab) -> str:
    """Ada has asked something; gives the session's id."""
    tab("ada")
    ada = person_named(opened, "ada")
    added = opened.engine.start(ada, NewMessage("Pears"))
    answered(opened, ada, added.thread_id)
    return added.session_id


@pytest.fixture
def activity(tab: OpenTab, asked: str):
    def show(name: str, role: str = "member", **query: str) -> AppTest:
        at = tab(name, role=role, list="activity", **query)
        at.switch_page("browse.py").run()
        assert not at.exception
        return at

    return show


def said(at: AppTest) -> list[str]:
    return [line for frame in at.dataframe for line in frame.value["What"]]


def a_row(**changes: object) -> ActivityRow:
    row = dict.fromkeys(
        ("login_id", "target_id", "target_name", "conversation_id", "session_id", "session_title", "user_name")
    )
    row |= {"activity_id": "act_1", "created_at": NOW, "user_id": "user_1", "kind": "message.send"}
    return ActivityRow(**{**row, "sentence": "Sent a message", "detail": {}, **changes})  # type: ignore[arg-type]


class TestTheTable:
    def test_shows_a_member_what_they_did_and_who_looked_at_it(self, activity, tab, opened, asked):
        tab("ana", role="analyst", session=asked).switch_page("browse.py").run()
        shown = activity("ada")
        assert said(shown) == ["Looked at somebody else's session", "Sent a message"]
        assert list(shown.dataframe[0].value["Who"]) == ["ana", "ada"]

    def test_shows_another_member_nothing_of_it(self, activity):
        assert said(activity("ben")) == []

    def test_is_narrowed_by_its_address(self, activity):
        assert said(activity("ana", "analyst", did="session.archive")) == []
        assert said(activity("ana", "analyst", did="message.send", days="1")) == ["Sent a message"]

    def test_says_what_of_the_address_it_does_not_know(self, activity):
        at = activity("ana", "analyst", did="shout", days="7000")
        assert [warning.value.split(";")[0].split(" is not")[0] for warning in at.warning] == [
            "There is no deed 'shout'",
            "The address has days='7000', which",
        ]
        assert said(at) == ["Sent a message"]

    def test_a_page_that_is_not_there_is_said(self, activity):
        at = activity("ana", "analyst", after="act_none")
        assert [warning.value.startswith("This address names no page") for warning in at.warning] == [True]


class TestThePlace:
    def test_is_what_the_address_says(self):
        place = read_place({"who": ["user_1"], "did": ["login.start"], "on": ["session_1"], "days": ["7"]}, now=NOW)
        wanted = place.wanted
        assert (wanted.users, wanted.kinds, wanted.session, wanted.target) == (
            ("user_1",),
            ("login.start",),
            "session_1",
            "",
        )
        assert (wanted.since, place.problems) == (datetime(2026, 11, 14, 8, tzinfo=UTC), ())

    def test_another_id_is_what_it_was_done_to(self):
        assert read_place({"on": [" call_1 "]}, now=NOW).wanted.target == "call_1"


class TestARow:
    @pytest.mark.parametrize(
        ("changes", "lead"),
        [
            ({"target_id": "session_1"}, (BROWSE, {"session": "session_1"})),
            ({"target_id": "conv_1"}, (CHAT, {"conversation": "conv_1"})),
            ({"target_id": "msg_1", "conversation_id": "conv_1"}, (CHAT, {"message": "msg_1"})),
            ({"target_id": "call_1"}, (CALLS, {"call": "call_1"})),
            ({"target_id": "snap_1", "detail": {"thread_id": "thread_1"}}, (BROWSE, {"thread": "thread_1"})),
            ({"target_id": "msg_1"}, (BROWSE, {"session": "session_1"})),
            ({"target_id": "tmpl_1", "session_id": None}, None),
            ({"target_id": "conv_1", "session_title": None}, None),
        ],
        ids=str,
    )
    def test_leads_to_what_it_was_done_to_while_that_is_there(self, changes, lead):
        assert lead_of(a_row(**{"session_id": "session_1", "session_title": "Pears", **changes})) == lead

    def test_reads_as_people_say_it(self):
        row = a_row(session_id="session_1", detail={"thread_id": "thread_1", "kind": "first", "with_head": None})
        assert describe(row, ZoneInfo("Asia/Shanghai")) == {
            "When": "2026-11-21 16:00:00",
            "Who": "somebody who is gone",
            "What": "Sent a message",
            "To": "",
            "Session": "(gone)",
            "More": "thread id thread_1 · kind first",
        }
