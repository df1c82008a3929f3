"""The gate: rules about tools hold in any graph, for the very calls that they are about, and nothing runs twice."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.access.viewer import Viewer
from core.history.approvals import ApprovalRow, list_of_thread
from core.history.rules import Rule, add_rule, revoke_rule, strongest
from core.ids import RuleId, ThreadId
from core.runs.decisions import Decision, decide
from core.settings import Settings
from core.skein import Skein
from tests.core.support import OnSqlite, answered, ask, follow, graph_settings, status_of

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


class Desk:
    """Alice, her rules, and what her runs ask."""

    def __init__(self, skein: Skein, viewer: Viewer, file: Path) -> None:
        self.skein, self.viewer, self.file = skein, viewer, file

    def rule(self, effect: str, tool: str) -> RuleId:
        return self.skein.database.write(lambda db: add_rule(self.viewer, db, effect=effect, tool=tool))

    def revoke(self, rule_id: RuleId) -> None:
        self.skein.database.write(lambda db: revoke_rule(self.viewer, db, rule_id))

    def run(self, agent: str, *calls: tuple[str, str]) -> ThreadId:
        """Have these tools called together, each with whom it is for; gives the thread when it stands."""
        wanted = [[tool, {"file": str(self.file)} | ({"to": to} if to else {})] for tool, to in calls]
        turn = ask(self.skein, self.viewer, json.dumps(wanted), agent=agent)
        follow(self.skein, self.viewer, turn.thread_id)
        return turn.thread_id

    def open(self, thread_id: ThreadId) -> list[ApprovalRow]:
        with self.skein.database.read() as db:
            return [row for row in list_of_thread(self.viewer, db, thread_id) if row.is_waiting]

    def decide(self, thread_id: ThreadId, *kinds: Any) -> str:
        """Decide the one thing that is asked; gives the thread's status when it stands again."""
        [row] = self.open(thread_id)
        decisions = [Decision(kind) for kind in kinds]
        decide(self.skein.engine, self.viewer, row.approval_id, decisions, arguments_hash=row.arguments_hash)
        follow(self.skein, self.viewer, thread_id)
        return status_of(self.skein, self.viewer, thread_id)

    @property
    def ran(self) -> list[str]:
        return self.file.read_text().splitlines() if self.file.exists() else []


@pytest.fixture
def desk(opened: Skein, person: Person, tmp_path: Path) -> Desk:
    return Desk(opened, person("alice"), tmp_path / "ran.txt")


class TestADecision(OnSqlite):
    def test_about_one_tool_is_not_taken_for_another(self, desk: Desk) -> None:
        first = desk.rule("ask", "look")
        thread = desk.run("ungated", ("look", ""), ("send", "ann"))
        desk.revoke(first)
        desk.rule("ask", "send")
        assert desk.decide(thread, "approve") == "waiting"
        assert desk.ran == []
        [row] = desk.open(thread)
        assert row.tool == "send"
        assert desk.decide(thread, "approve") == "done"
        assert sorted(desk.ran) == ["ann 1", "looked"]

    def test_is_for_the_arguments_it_was_about_though_the_order_changes(self, desk: Desk) -> None:
        desk.rule("ask", "send")
        thread = desk.run("side_by_side", ("send", "ann"), ("send", "bob"))
        assert desk.decide(thread, "approve", "refuse") in {"done", "failed"}
        assert desk.ran == ["ann 1"]

    def test_is_for_its_call_though_another_has_the_same_id(self, desk: Desk) -> None:
        desk.rule("ask", "send")
        thread = desk.run("same_id", ("send", "ann"), ("send", "bob"))
        assert desk.decide(thread, "refuse", "approve") == "done"
        assert desk.ran == ["bob 1"]

    def test_to_refuse_holds_when_the_rule_is_gone(self, desk: Desk) -> None:
        rule = desk.rule("ask", "send")
        thread = desk.run("ungated", ("send", "ann"))
        desk.revoke(rule)
        assert desk.decide(thread, "refuse") == "done"
        assert desk.ran == []


class TestWhatIsCalledTogether(OnSqlite):
    @pytest.mark.parametrize("agent", ["ungated", "looping"])
    def test_runs_once_each_and_only_when_all_is_decided(self, desk: Desk, agent: str) -> None:
        desk.rule("ask", "send")
        thread = desk.run(agent, ("look", ""), ("send", "ann"), ("send", "bob"))
        assert desk.ran == []
        [row] = desk.open(thread)
        assert [action.arguments["to"] for action in row.actions] == ["ann", "bob"]
        assert desk.decide(thread, "approve", "approve") == "done"
        assert sorted(desk.ran) == ["ann 1", "bob 1", "looked"]


class TestARule(OnSqlite):
    def test_is_found_whatever_form_its_name_is_written_in(self) -> None:
        rule = Rule(RuleId("rule"), "deny", "l\u00f6schen", "*", None)
        assert strongest([rule], "lo\u0308schen") == rule

    def test_does_not_mind_what_else_a_state_holds(self, desk: Desk) -> None:
        desk.rule("ask", "send")
        thread = desk.run("odd", ("send", "ann"))
        assert answered(desk.skein, desk.viewer, thread).answer == "fine"
