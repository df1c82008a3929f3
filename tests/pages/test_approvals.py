"""Approvals as people see and decide them: in the chat, at the desk, by rules; and what others may not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select
from streamlit.testing.v1 import AppTest

from core.access.accounts import set_disabled, set_role
from core.access.viewer import Viewer
from core.history.approvals import ApprovalRow, get_approval, list_approvals, list_of_thread
from core.history.interrupts import Decision
from core.history.rules import RuleRow, add_rule, list_rules
from core.history.turns import Turn
from core.ids import new_approval_id
from core.runs.decisions import decide
from core.settings import Settings
from core.skein import Skein
from core.tables import Approval
from pages.parts.approvals.approval_fields import SCOPES
from pages.parts.approvals.approval_texts import bounded, options_of, question_of, rest_of
from pages.parts.ui.resources import count_waiting_of
from tests.conftest import make_settings
from tests.core.support import ROOT, answered, ask, follow, status_of, turn_at, wait_until
from tests.pages.conftest import OpenTab, person_named, texts

GRAPHS = ROOT / "tests" / "graphs"
AGENTS = {
    "asking": ("per_call", "question", "wish", "paused", "several"),
    "reviewing": ("reviewed", "hostile", "odd"),
}
Waiting = Callable[..., tuple[Turn, ApprovalRow]]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The graphs that ask, and those that ask in ways a page has to stand; no others, which takes time."""
    listed = {name: f"{GRAPHS / file}.py:{name}" for file, names in AGENTS.items() for name in names}
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": listed}))
    return make_settings(tmp_path, langgraph_json=path)


@pytest.fixture
def ada(opened: Skein) -> Viewer:
    return person_named(opened, "ada")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "sent.txt"


@pytest.fixture
def waiting(opened: Skein, ada: Viewer, file: Path) -> Waiting:
    """A turn that waits, and the first thing it asks: ``waiting("per_call")``, ``waiting("question", text)``."""

    def wait(agent: str = "per_call", text: str = "", viewer: Viewer = ada) -> tuple[Turn, ApprovalRow]:
        turn = ask(opened, viewer, text or sending(file), agent=agent)
        follow(opened, viewer, turn.thread_id)
        assert status_of(opened, viewer, turn.thread_id) == "waiting"
        return turn, rows_of(opened, viewer, turn)[0]

    return wait


def sending(file: Path, to: str = "bob") -> str:
    return "send " + json.dumps({"to": to, "file": str(file)})


def sent(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def rows_of(skein: Skein, viewer: Viewer, turn: Turn) -> list[ApprovalRow]:
    with skein.database.read() as db:
        return list_of_thread(viewer, db, turn.thread_id)


def now_of(skein: Skein, viewer: Viewer, row: ApprovalRow) -> ApprovalRow:
    with skein.database.read() as db:
        return get_approval(viewer, db, row.approval_id)


def rules_of(skein: Skein, viewer: Viewer) -> list[RuleRow]:
    with skein.database.read() as db:
        return list_rules(viewer, db)


def key(row: ApprovalRow, name: str) -> str:
    return f"approvals.widget.{row.approval_id}.{name}"


def keys(at: AppTest, row: ApprovalRow) -> set[str]:
    """Which buttons of its form are there."""
    prefix = key(row, "")
    return {button.key.removeprefix(prefix) for button in at.button if (button.key or "").startswith(prefix)}


def press(at: AppTest, row: ApprovalRow, name: str) -> AppTest:
    return clean(at.button(key=key(row, name)).click().run())


def clean(at: AppTest) -> AppTest:
    assert at.exception.values == []
    return at


def desk(tab: OpenTab, name: str = "ada", role: str = "member", /, **query: str) -> AppTest:
    return clean(_at_page(tab(name, role=role, **query), query))


def _at_page(at: AppTest, query: dict[str, str]) -> AppTest:
    """The page with this address."""
    at.switch_page("approvals.py")
    for name, value in query.items():
        at.query_params[name] = value
    return at.run()


class TestInTheChat:
    def chat(self, tab: OpenTab, turn: Turn, name: str = "ada", role: str = "member") -> AppTest:
        return clean(tab(name, role=role, conversation=turn.conversation_id))

    def test_what_waits_stands_where_the_answer_will_be(self, tab, waiting, file) -> None:
        turn, row = waiting()
        at = self.chat(tab, turn)
        shown = texts(at)
        assert "wants to use send" in shown
        assert keys(at, row) == {"approve", "edit", "answer", "refuse", "stop"}
        assert "The agent waits for a person's decision." not in shown
        assert any(str(file) in html.value for html in at.get("html"))

    def test_approving_lets_the_answer_go_on_and_leaves_a_line(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = press(self.chat(tab, turn), row, "approve")
        assert sent(file) == ["bob 1"]
        assert turn_at(opened, ada, turn.message_id).status == "done"
        assert [fold.label for fold in at.expander if "approved send" in fold.label] == [
            "ada approved send, just now"
        ]
        assert keys(at, row) == set()

    def test_a_tab_sends_one_decision_however_often_it_is_clicked(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = self.chat(tab, turn)
        at.session_state["approvals.sent"] = [row.approval_id]
        at = press(at, row, "approve")
        assert (now_of(opened, ada, row).status, sent(file), len(at.warning)) == ("waiting", [], 0)

    def test_a_turn_decided_elsewhere_is_drawn_so(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = self.chat(tab, turn)
        decide(opened.engine, ada, row.approval_id, [Decision("approve")], arguments_hash=row.arguments_hash)
        assert "ada approved send" in " ".join(fold.label for fold in clean(at.run()).expander)

    def test_an_analyst_sees_it_and_decides_nothing(self, tab, waiting) -> None:
        turn, row = waiting()
        at = self.chat(tab, turn, "ann", "analyst")
        assert "wants to use send" in texts(at)
        assert "Only ada or an admin can decide this." in texts(at)
        assert keys(at, row) == set()

    def test_another_member_sees_nothing_of_it(self, tab, waiting) -> None:
        turn, _ = waiting()
        assert "send" not in texts(self.chat(tab, turn, "ben"))

    def test_the_list_of_conversations_shows_which_one_waits(self, tab, waiting) -> None:
        turn, _ = waiting()
        at = self.chat(tab, turn)
        opener = at.button(key=f"chat.open.{turn.conversation_id}")
        assert opener.proto.icon == ":material/front_hand:"

    def test_stopping_withdraws_it(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = press(self.chat(tab, turn), row, "stop")
        assert (now_of(opened, ada, row).status, sent(file)) == ("withdrawn", [])
        assert "send was withdrawn by ada, just now" in [fold.label for fold in at.expander]


class TestEveryOutcome:
    def test_refusing_tells_the_agent_why(self, tab, waiting, opened, ada, file) -> None:
        _, row = waiting()
        at = press(desk(tab), row, "refuse")
        at.text_area(key=key(row, "refuse.0.field")).set_value("not on a Sunday")
        at = press(at, row, "send.refuse")
        now = now_of(opened, ada, row)
        assert (now.decision, now.reason, sent(file)) == ("refuse", "not on a Sunday", [])
        assert "not on a Sunday" in answered(opened, ada, row.thread_id).answer
        assert "You refused send; the run goes on." in [note.value for note in at.success]

    def test_going_back_decides_nothing(self, tab, waiting, opened, ada) -> None:
        _, row = waiting()
        at = press(press(desk(tab), row, "refuse"), row, "back.refuse")
        assert (now_of(opened, ada, row).status, "approve" in keys(at, row)) == ("waiting", True)

    def test_edited_arguments_are_used_and_what_was_before_is_kept(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = press(desk(tab), row, "edit")
        to = next(one for one in at.text_input if one.value == "bob")
        to.set_value("carol")
        at = press(at, row, "send.edit")
        answered(opened, ada, turn.thread_id)
        now = now_of(opened, ada, row)
        assert sent(file) == ["carol 1"]
        assert (now.decision, now.arguments["to"], now.arguments_after["to"]) == ("edit", "bob", "carol")

    def test_arguments_that_do_not_fit_are_said_and_stay_as_typed(self, tab, waiting, opened, ada, file) -> None:
        _, row = waiting("reviewed", "look_up 1")
        at = press(desk(tab), row, "edit")
        typed(at, "Query").set_value("x")
        at = press(at, row, "send.edit")
        assert ["at least 3" in error.value for error in at.error] == [True]
        assert typed(at, "Query").value == "x"
        assert now_of(opened, ada, row).status == "waiting"

    def test_a_tool_can_be_answered_in_its_place(self, tab, waiting, opened, ada, file) -> None:
        _, row = waiting()
        at = press(desk(tab), row, "answer")
        at = press(at, row, "send.answer")
        assert "The answer is empty; please type one." in [error.value for error in at.error]
        at.text_area(key=key(row, "answer.0.field")).set_value("I sent it by hand")
        press(at, row, "send.answer")
        now = now_of(opened, ada, row)
        assert (now.decision, sent(file)) == ("answer", [])
        assert "I sent it by hand" in json.dumps(now.response)

    def test_several_calls_get_a_decision_each_and_are_sent_together(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("reviewed", "look_up 2")
        at = desk(tab)
        assert "send.several" not in keys(at, row)
        at.button_group(key=key(row, "choice.0")).set_value("approve").run()
        at = clean(at.button_group(key=key(row, "choice.1")).set_value("refuse").run())
        at.text_area(key=key(row, "refuse.1.field")).set_value("once is enough")
        at = press(at, row, "send.several")
        assert answered(opened, ada, row.thread_id).answer == "approve, reject: once is enough"
        assert "You decided about 2 tool calls; the run goes on." in [note.value for note in at.success]
        assert now_of(opened, ada, row).reason == "once is enough"

    def test_several_calls_can_be_approved_at_once(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("reviewed", "look_up 3")
        press(desk(tab), row, "approve")
        assert answered(opened, ada, row.thread_id).answer == "approve, approve, approve"

    @pytest.mark.parametrize("place", [0, 1])
    def test_an_option_answers_a_question(self, tab, waiting, opened, ada, place) -> None:
        _, row = waiting("question", "the door")
        at = desk(tab)
        assert "Which one, for the door?" in texts(at)
        press(at, row, f"option.{place}")
        assert answered(opened, ada, row.thread_id).answer == f"You chose {('red', 'green')[place]}."

    def test_a_question_is_answered_in_own_words_or_as_data(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("question", "the door")
        at = desk(tab)
        at.text_area(key=key(row, "answer.field")).set_value("[1, 2")
        at.toggle(key=key(row, "answer.json")).set_value(True)
        at = press(at, row, "send.question")
        assert [error.value[:15] for error in at.error] == ["This is no JSON"]
        at.text_area(key=key(row, "answer.field")).set_value("[1, 2]")
        press(at, row, "send.question")
        assert now_of(opened, ada, row).response == [1, 2]

    def test_a_question_with_a_schema_is_a_form(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("wish", "go on")
        at = desk(tab)
        typed(at, "Name").set_value("pears")
        typed(at, "Count").set_value(3)
        press(at, row, "send.question")
        assert answered(opened, ada, row.thread_id).answer == "3 of pears."

    def test_a_question_can_be_refused_which_ends_the_run(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("question", "the door")
        at = press(desk(tab), row, "refuse")
        assert "The agent cannot go on without an answer" in texts(at)
        at.text_area(key=key(row, "refuse.0.field")).set_value("no idea")
        press(at, row, "send.refuse")
        assert (now_of(opened, ada, row).decision, now_of(opened, ada, row).reason) == ("refuse", "no idea")
        assert status_of(opened, ada, row.thread_id) == "stopped"

    @pytest.mark.parametrize(
        ("name", "status", "lines"), [("approve", "done", ["bob 1"]), ("refuse", "stopped", [])]
    )
    def test_a_pause_goes_on_or_ends(self, tab, waiting, opened, ada, file, name, status, lines) -> None:
        _, row = waiting("paused", json.dumps([["send", {"to": "bob", "file": str(file)}]]))
        at = desk(tab)
        assert "pauses before it goes on" in texts(at)
        press(at, row, name)
        follow(opened, ada, row.thread_id)
        assert (status_of(opened, ada, row.thread_id), sent(file)) == (status, lines)

    def test_one_of_several_interrupts_is_answered_and_the_others_wait_on(self, tab, waiting, opened, ada) -> None:
        turn, first = waiting("several", "go on")
        at = desk(tab)
        at.text_area(key=key(first, "answer.field")).set_value("1")
        press(at, first, "send.question")
        follow(opened, ada, turn.thread_id)
        rest = [row for row in rows_of(opened, ada, turn) if row.is_waiting]
        assert len(rest) == 2
        assert all("send.question" in keys(at.run(), row) for row in rest)

    def test_a_value_of_no_known_form_is_shown_and_answered(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("odd", "go on")
        at = desk(tab)
        assert any("depth" in code.value for code in at.code)
        at.text_area(key=key(row, "answer.field")).set_value("fine")
        press(at, row, "send.question")
        assert answered(opened, ada, row.thread_id).answer == "fine"


class TestTooLate:
    def test_whoever_comes_second_is_told_who_was_first_and_keeps_what_was_typed(
        self, tab, waiting, opened, ada, file
    ) -> None:
        _, row = waiting()
        at = press(desk(tab), row, "refuse")
        root = person_named(opened, "root", "admin")
        decide(opened.engine, root, row.approval_id, [Decision("approve")], arguments_hash=row.arguments_hash)
        at.text_area(key=key(row, "refuse.0.field")).set_value("a long reason")
        at = press(at, row, "send.refuse")
        assert ["root approved send" in warning.value for warning in at.warning] == [True]
        assert "a long reason" in [code.value for code in at.code]
        at = clean(at.run())
        assert "a long reason" in [code.value for code in at.code]
        at = clean(at.button(key="approvals.widget.dismiss").click().run())
        assert len(at.warning) == 0
        assert now_of(opened, ada, row).decision == "approve"

    def test_arguments_that_changed_are_not_approved_by_the_old_page(self, tab, waiting, opened, ada, file) -> None:
        _, row = waiting()
        at = desk(tab)
        change(opened, row, arguments_hash="0" * 64)
        at = press(at, row, "approve")
        assert any("has changed since you saw it" in warning.value for warning in at.warning)
        assert (now_of(opened, ada, row).status, sent(file)) == ("waiting", [])

    def test_a_node_that_is_gone_is_said_in_place_of_the_buttons_with_a_way_out(
        self, tab, waiting, opened, ada
    ) -> None:
        turn, row = waiting()
        change(opened, row, node="once_upon_a_time")
        at = desk(tab)
        assert keys(at, row) == {"retry", "stop"}
        at = press(at, row, "retry")
        with opened.database.read() as db:
            again = list_approvals(ada, db)
        assert turn_at(opened, ada, turn.message_id).status == "stopped"
        assert [one.thread_id for one in again] != [turn.thread_id]


class TestRules:
    @pytest.mark.parametrize(
        ("name", "role", "scopes"),
        [("ada", "member", ["session", "user"]), ("root", "admin", ["session", "user", "everyone"])],
    )
    def test_always_allow_is_offered_for_whom_one_may(self, tab, waiting, opened, name, role, scopes) -> None:
        _, row = waiting(viewer=person_named(opened, name, role))
        menu = desk(tab, name, role).menu_button(key=key(row, "always"))
        assert menu.options == [f"Always allow it {SCOPES[scope]}" for scope in scopes]

    @pytest.mark.parametrize("scope", ["session", "user"])
    def test_always_allow_approves_and_does_not_ask_again(self, tab, waiting, opened, ada, file, scope) -> None:
        turn, row = waiting()
        at = desk(tab)
        at = clean(at.menu_button(key=key(row, "always")).click(f"Always allow it {SCOPES[scope]}").run())
        assert f"From now on send is always allowed {SCOPES[scope]}." in at.success[0].value
        answered(opened, ada, turn.thread_id)
        again = ask(opened, ada, sending(file, "bea"), under=turn, agent="per_call")
        wait_until(lambda: status_of(opened, ada, again.thread_id) == "done")
        assert sent(file) == ["bob 1", "bea 1"]
        assert [(rule.effect, rule.tool, rule.agent_id, rule.scope) for rule in rules_of(opened, ada)] == [
            ("allow", "send", "per_call", scope)
        ]

    def test_an_admin_makes_no_rule_for_themselves_on_anothers_approval(self, tab, waiting) -> None:
        _, row = waiting()
        at = desk(tab, "root", "admin", who="all")
        assert at.menu_button(key=key(row, "always")).options == [
            "Always allow it in this session",
            "Always allow it for everyone",
        ]

    def test_always_deny_refuses_this_and_the_next_one(self, tab, waiting, opened, ada, file) -> None:
        _, row = waiting()
        at = press(desk(tab), row, "refuse")
        at.selectbox(key=key(row, "scope")).set_value("user")
        at = press(at, row, "send.refuse")
        assert "From now on send is always denied for me." in at.success[0].value
        again = ask(opened, ada, sending(file, "bea"), agent="per_call")
        wait_until(lambda: status_of(opened, ada, again.thread_id) == "done")
        assert sent(file) == []
        decided = desk(tab, tab="decided")
        assert "A rule denied send" in " ".join(fold.label for fold in decided.expander)

    def test_a_rule_is_added_listed_and_revoked(self, tab, opened, ada) -> None:
        at = desk(tab, tab="rules")
        assert "There is no rule yet" in texts(at)
        at.selectbox(key="approvals.new.tool").set_value("send")
        at.button_group(key="approvals.new.effect").set_value("deny")
        at = clean(at.button(key="approvals.new.add").click().run())
        assert ["deny send" in note.value for note in at.success] == [True]
        assert "**send** for every agent, for me" in texts(at)
        assert "not used" in texts(at)
        [rule] = rules_of(opened, ada)
        at = clean(at.button(key=f"approvals.revoke.{rule.rule_id}").click().run())
        assert (rules_of(opened, ada), "is revoked" in texts(at)) == ([], True)
        assert "revoked just now" in texts(clean(at.toggle(key="approvals.revoked").set_value(True).run()))

    def test_a_member_makes_no_rule_for_everyone_and_revokes_none_of_an_admin(self, tab, opened) -> None:
        root = person_named(opened, "root", "admin")
        rule_id = opened.database.write(lambda db: add_rule(root, db, effect="deny", tool="send", scope="everyone"))
        at = desk(tab, tab="rules")
        assert at.button_group(key="approvals.new.scope").options == ["me"]
        assert "for everyone" in texts(at)
        assert f"approvals.revoke.{rule_id}" not in {button.key for button in at.button}

    def test_a_rule_that_asks_may_say_for_how_long(self, tab) -> None:
        at = desk(tab, tab="rules")
        at.number_input(key="approvals.new.hours").set_value(24)
        at = clean(at.button(key="approvals.new.add").click().run())
        assert "waits at most 24 h" in texts(at)


class TestTheDesk:
    def test_it_is_empty_at_first(self, tab) -> None:
        assert "Nothing waits for a decision." in texts(desk(tab))
        assert "Nothing was decided yet" in texts(desk(tab, tab="decided"))

    def test_the_oldest_stands_first_with_what_led_there(self, tab, waiting) -> None:
        for name in ("question one", "question two"):
            waiting("question", name)
        shown = texts(desk(tab))
        assert 0 <= shown.index("for question one?") < shown.index("for question two?")
        assert "ada said:" in shown

    def test_the_navigation_counts_what_waits(self, tab, waiting, opened, ada) -> None:
        waiting("question", "one")
        _, row = waiting("question", "two")
        assert count_waiting_of(ada) == 2
        press(desk(tab), row, "option.0")
        assert (count_waiting_of(ada), count_waiting_of(person_named(opened, "ben"))) == (1, 0)

    def test_nobody_else_finds_it(self, tab, waiting) -> None:
        _, row = waiting()
        for role in ("member", "analyst"):
            at = desk(tab, f"a_{role}", role, who="all")
            assert "approvals.place.who" not in {group.key for group in at.button_group}
            assert ("Nothing waits" in texts(at), keys(at, row)) == (True, set())

    def test_a_link_opens_one_alone_for_whom_it_is_there(self, tab, waiting) -> None:
        _, row = waiting()
        waiting("question", "another")
        at = desk(tab, approval=row.approval_id)
        assert ("wants to use send" in texts(at), "another" in texts(at)) == (True, False)
        at = clean(at.button(key="approvals.all").click().run())
        assert "another" in texts(at)
        assert "There is no such approval here" in texts(desk(tab, "ben", approval=row.approval_id))
        assert keys(desk(tab, "ann", "analyst", approval=row.approval_id), row) == set()

    @pytest.mark.parametrize("named", ["nonsense", "appr_1795214478774_4CW9G9F475EY", "<script>"])
    def test_a_link_that_leads_nowhere_is_one_sentence(self, tab, named) -> None:
        assert len(desk(tab, approval=named).warning) == 1

    def test_an_admin_sees_everyones_and_decides(self, tab, waiting, opened, ada, file) -> None:
        _, row = waiting()
        assert "Nothing waits" in texts(desk(tab, "root", "admin"))
        at = desk(tab, "root", "admin", who="all")
        assert "asked by ada" in texts(at)
        press(at, row, "approve")
        now = now_of(opened, ada, row)
        follow(opened, ada, row.thread_id)
        assert (now.decision, now.decided_by_name, sent(file)) == ("approve", "root", ["bob 1"])

    def test_it_is_narrowed_by_words_agent_tool_and_person(self, tab, waiting, opened) -> None:
        _, mine = waiting()
        _, other = waiting("question", "the gate", person_named(opened, "ben"))
        at = desk(tab, "root", "admin", who="all")
        narrowed = [("agent", "question"), ("person", "ben")]
        for name, value in narrowed:
            at = clean(at.selectbox(key=f"approvals.place.{name}").set_value(value).run())
            assert (keys(at, mine), keys(at, other) != set()) == (set(), True)
            at = clean(at.selectbox(key=f"approvals.place.{name}").set_value(None).run())
        at = clean(at.text_input(key="approvals.place.find").set_value("GATE ben").run())
        assert (keys(at, mine), keys(at, other) != set()) == (set(), True)
        at = clean(at.text_input(key="approvals.place.find").set_value("nowhere").run())
        assert "Nothing that waits fits this filter." in texts(at)

    def test_what_was_decided_is_listed_the_newest_first_with_all_of_it(self, tab, waiting, opened, ada) -> None:
        for place, name in enumerate(("the first", "the second")):
            _, row = waiting("question", name)
            press(desk(tab), row, f"option.{place}")
        at = desk(tab, tab="decided")
        assert [fold.label.split(" · ")[1] for fold in folds(at)] == ["the second", "the first"]
        at = clean(at.text_input(key="approvals.place.find").set_value("first").run())
        assert [fold.label.split(" · ")[1] for fold in folds(at)] == ["the first"]
        at = desk(tab, approval=row.approval_id)
        assert row.approval_id in [code.value for code in at.code]
        assert "What the agent was given" in texts(at)
        assert "green" in texts(at)

    def test_a_thousand_are_paged(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("question", "many")
        copy(opened, row, 999)
        at = desk(tab)
        assert len({button.key for button in at.button if (button.key or "").endswith(".option.0")}) == 10
        assert "1–10 of 1,000" in texts(at)
        at = clean(at.pagination(key="approvals.page.waiting").set_value(13).run())
        assert "121–130 of 1,000" in texts(at)


class TestHostileArguments:
    def test_nothing_in_them_is_html_or_markdown_and_nothing_is_boundless(self, tab, waiting) -> None:
        _, row = waiting("hostile", "go on")
        at = desk(tab)
        [table] = [html.value for html in at.get("html") if "skein-arguments" in html.value and "<dl" in html.value]
        assert "<script" not in table
        assert "&lt;script&gt;" in table
        assert "\\u202e" in table
        assert "\\u0007" in table
        assert "2,000,000 characters" in table
        assert len(table) < 20_000
        assert all(len(str(element.value)) < 50_000 for kind in KINDS for element in getattr(at, kind))
        assert "![pixel]" not in "".join(element.value for element in at.markdown)
        assert keys(at, row) == {"approve", "edit", "refuse", "stop"}

    def test_arguments_too_large_to_edit_are_refused_with_a_sentence(self, tab, waiting, opened, ada) -> None:
        _, row = waiting("hostile", "go on")
        at = press(press(desk(tab), row, "edit"), row, "send.edit")
        assert any("too large to be edited" in error.value for error in at.error)
        assert now_of(opened, ada, row).status == "waiting"


class TestTexts:
    def test_a_copy_is_bounded_however_large_or_deep_the_data_is(self) -> None:
        deep: Any = "end"
        for _ in range(200):
            deep = {"in": deep}
        data = {"long": "x" * 1_000_000, "wide": list(range(1_000_000)), "deep": deep}
        assert len(json.dumps(bounded(data, 5_000))) < 8_000
        assert len(json.dumps(bounded({"deep": deep}, 5_000))) < 1_000

    def test_small_data_is_copied_as_it_is(self) -> None:
        data = {"a": [1, 2.5, None, True, {"b": "两 words"}], "c": {}}
        assert bounded(data) == data

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ({"question": "may I?", "options": ["yes", "no"]}, ("may I?", ["yes", "no"], None)),
            ({"message": "so?", "choices": [1, 2]}, ("so?", [1, 2], None)),
            ({"prompt": "so?", "draft": "text"}, ("so?", [], {"draft": "text"})),
            ("may I?", ("may I?", [], None)),
            ([1, 2], ("", [], [1, 2])),
            ({"options": [{"a": 1}]}, ("", [], {"options": [{"a": 1}]})),
            (None, ("", [], None)),
        ],
    )
    def test_a_question_is_read_from_what_graphs_usually_ask(self, value, expected) -> None:
        assert (question_of(value), options_of(value), rest_of(value)) == expected


KINDS = ("markdown", "caption", "text", "code", "info", "warning", "error")


def folds(at: AppTest) -> list[Any]:
    return [fold for fold in at.expander if "answered" in fold.label]


def typed(at: AppTest, label: str) -> Any:
    return next(
        one for kind in (at.text_input, at.number_input, at.text_area) for one in kind if label in one.label
    )


def change(skein: Skein, row: ApprovalRow, **values: Any) -> None:
    """Put something else into the row, as time and other versions of a graph might have."""
    query = update(Approval).where(col(Approval.approval_id) == row.approval_id).values(**values)
    skein.database.write(lambda db: db.exec(query))


def copy(skein: Skein, row: ApprovalRow, times: int) -> None:
    def job(db: Any) -> None:
        found = db.exec(select(Approval).where(col(Approval.approval_id) == row.approval_id)).one().model_dump()
        for number in range(times):
            db.add(Approval(**{**found, "approval_id": new_approval_id(), "interrupt_id": f"copy {number}"}))

    skein.database.write(job)


class TestRightsThatEnd:
    def test_a_disabled_admin_approves_nothing_in_an_open_tab(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = clean(tab("root", role="admin", conversation=turn.conversation_id))
        change_account(opened, "root", disabled=True)
        assert "You are signed out" in texts(press(at, row, "approve"))
        assert (now_of(opened, ada, row).status, sent(file)) == ("waiting", [])

    def test_a_former_admin_approves_nothing_and_reads_no_more(self, tab, waiting, opened, ada, file) -> None:
        turn, row = waiting()
        at = clean(tab("root", role="admin", conversation=turn.conversation_id))
        assert str(file) in " ".join(html.value for html in at.get("html"))
        change_account(opened, "root", role="member")
        press(at, row, "approve")
        assert (now_of(opened, ada, row).status, sent(file)) == ("waiting", [])
        assert str(file) not in " ".join(html.value for html in at.get("html"))
        assert "Your role was changed" in at.toast[0].value

    def test_who_was_made_an_admin_has_the_page_drawn_first(self, tab, waiting, opened, ada) -> None:
        turn, row = waiting()
        at = clean(tab("ada", conversation=turn.conversation_id))
        change_account(opened, "ada", role="admin")
        press(at, row, "approve")
        assert now_of(opened, ada, row).status == "waiting"
        press(at, row, "approve")
        assert now_of(opened, ada, row).status == "decided"


def change_account(skein: Skein, name: str, *, disabled: bool = False, role: str = "") -> None:
    admin, user_id = person_named(skein, "another admin", "admin"), person_named(skein, name).user_id
    if disabled:
        set_disabled(admin, skein.database, user_id=user_id, disabled=True)
    else:
        set_role(admin, skein.database, user_id=user_id, role=role)
