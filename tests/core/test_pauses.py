"""Approvals in the older form, pauses that go on with another state, and tools that run again beside one that asks:
each gives its graph what the same graph is given bare, on the same thread, also from another process."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from core.access.viewer import Viewer
from core.checkpoints.edit import edit_state as write_edit
from core.errors import BadInputError, ConflictError, NotFoundError
from core.history.approval_steps import Decided, write_decision
from core.history.approvals import ApprovalRow
from core.history.interrupts import Decision, read_actions, with_schemas
from core.history.rules import add_rule
from core.history.turns import Turn
from core.runs.decisions import decide
from core.runs.execute import EDITED_FOR
from core.runs.scheduler import Scheduler
from core.settings import Settings
from core.skein import Skein
from tests.conftest import make_settings
from tests.core.support import ROOT, another_skein, answered, ask, status_of, wait_until
from tests.core.test_approvals import of_thread, open_of, over, settle, waiting
from tests.graphs import pausing
from tests.graphs.foreign import inbox

Person = Callable[..., Viewer]
NAMES = (
    *("inbox_one", "inbox_two", "inbox_narrow", "before", "after", "node_interrupt", "two_node_interrupts"),
    *("siblings", "tool_node", "inner_tools"),
)


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    graphs = ROOT / "tests" / "graphs"
    listed = {name: f"{graphs / 'pausing.py'}:{name}" for name in NAMES}
    listed["inbox"] = f"{graphs / 'foreign' / 'inbox.py'}:graph"
    path = tmp_path / "langgraph.json"
    path.write_text(json.dumps({"graphs": listed}))
    return make_settings(tmp_path, database_url=database_url, langgraph_json=path)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


def bare(builder: Any, response: Any) -> str:
    """What the same graph says when it is given this response without Skein."""
    graph = builder.compile(checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": str(uuid.uuid4())}}
    graph.invoke({"messages": [("human", "hi")]}, config)
    return str(graph.invoke(Command(resume=response), config)["messages"][-1].text)


ARGS = {"to": "a@example.org", "body": "Hello"}
OTHER = {"to": "b@example.org", "body": "Bye"}
OUTCOMES = [
    (Decision("approve"), {"type": "accept", "args": None}),
    (Decision("edit", arguments=OTHER), {"type": "edit", "args": {"action": "send_mail", "args": OTHER}}),
    (Decision("answer", answer="Not so fast"), {"type": "response", "args": "Not so fast"}),
    (Decision("refuse", reason="spam"), {"type": "ignore", "args": None}),
]


class TestTheOlderForm:
    def test_is_asked_as_a_tool_call_with_what_its_config_allows(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "hi", "inbox")
        [action] = row.actions
        assert (row.kind, row.tool, row.arguments) == ("tool", "send_mail", ARGS)
        assert (action.allowed, action.description) == (("approve", "edit", "answer", "refuse"), "Send this mail?")

    @pytest.mark.parametrize(("decision", "response"), OUTCOMES, ids=["accept", "edit", "respond", "ignore"])
    def test_each_decision_gives_what_the_graph_is_given_bare(
        self, opened: Skein, alice: Viewer, decision: Decision, response: dict[str, Any]
    ) -> None:
        turn, [row] = waiting(opened, alice, "hi", "inbox")
        done = settle(opened, alice, row, decision)
        assert (done.status, done.thread_id) == ("done", turn.thread_id)
        assert done.answer == bare(inbox._graph, [response])
        [row] = of_thread(opened, alice, turn)
        assert (row.decision, row.response, row.reason) == (decision.kind, [response], decision.reason)

    def test_one_alone_is_given_one_alone(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "hi", "inbox_one")
        done = settle(opened, alice, row, Decision("edit", arguments={"to": "b", "copies": 2}))
        given = {"type": "edit", "args": {"action": "send_mail", "args": {"to": "b", "copies": 2}}}
        assert done.answer == repr(given) == bare(pausing.inbox_one, given)

    def test_several_are_decided_each_and_given_in_their_order(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "hi", "inbox_two")
        assert row.tool == "send_mail, delete_mail"
        done = settle(opened, alice, row, Decision("approve"), Decision("answer", answer="keep it"))
        given = [{"type": "accept", "args": None}, {"type": "response", "args": "keep it"}]
        assert done.answer == repr(given) == bare(pausing.inbox_two, given)

    def test_nothing_is_taken_that_its_config_does_not_allow(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "hi", "inbox_narrow")
        assert row.actions[0].allowed == ("approve", "answer")
        for decision in (Decision("refuse"), Decision("edit", arguments={"to": "b"})):
            with pytest.raises(BadInputError, match="choose one of: approve, answer"):
                settle(opened, alice, row, decision)
        with pytest.raises(BadInputError, match="answer is empty"):
            settle(opened, alice, row, Decision("answer", answer=" "))
        assert status_of(opened, alice, row.thread_id) == "waiting"

    @pytest.mark.parametrize(("effect", "type_"), [("allow", "accept"), ("deny", "ignore")])
    def test_rules_decide_where_the_config_allows_it(
        self, opened: Skein, alice: Viewer, effect: str, type_: str
    ) -> None:
        opened.database.write(lambda db: add_rule(alice, db, effect=effect, tool="send_mail"))
        turn = ask(opened, alice, "hi", agent="inbox")
        wait_until(lambda: status_of(opened, alice, turn.thread_id) == "done")
        assert answered(opened, alice, turn.thread_id).answer == f"{type_}: None"
        [row] = of_thread(opened, alice, turn)
        assert (row.status, row.decided_by, row.rule_id is not None) == ("decided", None, True)

    def test_a_rule_that_denies_leaves_to_people_what_cannot_be_ignored(self, opened: Skein, alice: Viewer) -> None:
        opened.database.write(lambda db: add_rule(alice, db, effect="deny", tool="send_mail"))
        _, [row] = waiting(opened, alice, "hi", "inbox_narrow")
        with pytest.raises(ConflictError, match="A rule denies"):
            settle(opened, alice, row, Decision("approve"))
        assert settle(opened, alice, row, Decision("answer", answer="no")).status == "done"

    def test_it_is_decided_in_another_process(self, opened: Skein, settings: Settings, alice: Viewer) -> None:
        turn, [row] = waiting(opened, alice, "hi", "inbox")
        opened.close()
        with another_skein(settings) as later:
            [row] = open_of(later, alice, turn)
            assert settle(later, alice, row, Decision("approve")).answer == "accept: None"

    @pytest.mark.parametrize(
        "value",
        [
            [],
            [{}],
            "text",
            {"action_request": {"action": "x", "args": {}}},
            {"action_request": "x", "config": {}},
            {"action_request": {"action": "x", "args": [1]}, "config": {}},
            [pausing.request("x"), "text"],
        ],
    )
    def test_what_only_looks_like_it_is_a_question(self, value: Any) -> None:
        assert read_actions(value, None) == ()

    def test_arguments_are_checked_by_a_tools_schema_only_where_they_are_its_own(self) -> None:
        schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
        own, other = pausing.request("send", to="bob"), pausing.request("send", whom="bob")
        [first, second] = with_schemas([own, other], {"send": schema})
        assert (first["args_schema"], second) == (schema, other)


def sent(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def edit_state(skein: Skein, viewer: Viewer, row: ApprovalRow, **values: Any) -> Turn:
    return settle(skein, viewer, row, Decision("edit", arguments=values))


class TestAPauseWithAnotherState:
    @pytest.mark.parametrize("agent", ["before", "after"])
    def test_goes_on_in_place_with_it_and_is_on_record(self, opened: Skein, alice: Viewer, agent: str) -> None:
        turn, [row] = waiting(opened, alice, "winter", agent)
        assert (row.kind, row.node) == ("pause", "write")
        done = edit_state(opened, alice, row, topic="snow", log=["mine"])
        assert (done.status, done.thread_id, done.answer) == ("done", turn.thread_id, "1 of snow")
        values = opened.engine.get_state(alice, turn.thread_id).values
        assert (values["topic"], values["log"], values["count"]) == ("snow", ["mine", "wrote snow"], 1)
        [row] = of_thread(opened, alice, turn)
        assert (row.decision, row.decided_by_name, row.applied_at is not None) == ("edit", "alice", True)
        assert row.arguments_after == {
            "before": {"topic": "winter", "log": ["chose"]},
            "after": {"topic": "snow", "log": ["mine"]},
        }

    def test_messages_can_be_written_anew(self, opened: Skein, alice: Viewer) -> None:
        turn, [row] = waiting(opened, alice, "winter", "before")
        edit_state(opened, alice, row, messages=[{"type": "human", "content": "summer"}])
        messages = opened.engine.get_state(alice, turn.thread_id).values["messages"]
        assert [message["content"] for message in messages] == ["summer", "1 of winter"]

    @pytest.mark.parametrize(
        ("values", "sentence"),
        [
            ({"count": "many"}, "'count' does not fit"),
            ({"colour": "red"}, "'colour' is not in this agent's state"),
            ({}, "nothing to change"),
            ({"messages": [{"content": "x"}]}, "a message needs a type"),
        ],
    )
    def test_values_that_do_not_fit_are_named_and_nothing_has_happened(
        self, opened: Skein, alice: Viewer, values: dict[str, Any], sentence: str
    ) -> None:
        turn, [row] = waiting(opened, alice, "winter", "before")
        with pytest.raises(BadInputError, match=sentence):
            edit_state(opened, alice, row, **values)
        assert open_of(opened, alice, turn) == [row]
        assert settle(opened, alice, row, Decision("approve")).answer == "1 of winter"

    def test_only_the_person_and_admins_may(self, opened: Skein, alice: Viewer, person: Person) -> None:
        _, [row] = waiting(opened, alice, "winter", "before")
        with pytest.raises(NotFoundError):
            edit_state(opened, person("bob"), row, topic="snow")
        root = person("root", "admin")
        done = edit_state(opened, root, row, topic="snow")
        assert done.answer == "1 of snow"

    def test_a_question_cannot_be_edited(self, opened: Skein, alice: Viewer, tmp_path: Path) -> None:
        _, [row] = waiting(opened, alice, str(tmp_path / "lines"), "tool_node")
        with pytest.raises(BadInputError, match="This is a question"):
            edit_state(opened, alice, row, messages=[])

    def test_it_survives_a_process_that_ended_right_after_the_decision(
        self, opened: Skein, settings: Settings, alice: Viewer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        turn, [row] = waiting(opened, alice, "winter", "before")
        give_up(monkeypatch)
        decide(
            opened.engine,
            alice,
            row.approval_id,
            [Decision("edit", arguments={"topic": "snow"})],
            arguments_hash=row.arguments_hash,
        )
        opened.close()
        monkeypatch.undo()
        with another_skein(settings) as later:
            assert over(later, alice, row).answer == "1 of snow"
            [row] = of_thread(later, alice, turn)
            assert row.applied_at is not None

    def test_it_is_edited_once_where_a_process_ended_between_the_edit_and_its_run(
        self, opened: Skein, settings: Settings, alice: Viewer
    ) -> None:
        turn, [row] = waiting(opened, alice, "winter", "before")
        graph = opened.agents.compiled("before", opened.saver)

        async def edit() -> str:
            noted = {EDITED_FOR: row.approval_id}
            return await write_edit(
                graph, opened.saver, thread_id=turn.thread_id, values={"topic": "snow"}, noted=noted
            )

        opened.engine._loop.run(edit())
        decided = Decided(
            "edit", {"topic": "snow"}, {"before": {}, "after": {"topic": "snow"}}, decided_by=alice.user_id
        )
        opened.database.write(lambda db: write_decision(db, row.approval_id, decided, told=row.arguments_hash))
        opened.close()
        with another_skein(settings) as later:
            assert over(later, alice, row).answer == "1 of snow"


def give_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was claimed be run by nobody, as when the process ends just then."""
    monkeypatch.setattr(Scheduler, "admit", lambda self, run: self.runs.pop(run.spec.thread_id, None))


class TestANodeInterrupt:
    def test_pauses_with_what_it_said_and_asks_again_until_it_passes(self, opened: Skein, alice: Viewer) -> None:
        turn, [row] = waiting(opened, alice, "a long winter", "node_interrupt")
        assert (row.kind, row.node, row.said) == ("pause", "require_short", "The topic has 13 letters.")
        again = settle(opened, alice, row, Decision("approve"))
        assert again.status == "waiting"
        [first, second] = of_thread(opened, alice, turn)
        assert (first.decision, second.status, second.said) == ("approve", "waiting", row.said)
        done = edit_state(opened, alice, second, topic="snow")
        assert (done.thread_id, done.status, done.answer) == (turn.thread_id, "done", "1 of snow")
        values = opened.engine.get_state(alice, turn.thread_id).values
        assert values["log"] == ["chose", "was short", "wrote snow"]

    def test_is_none_where_it_passes(self, opened: Skein, alice: Viewer) -> None:
        turn = ask(opened, alice, "snow", agent="node_interrupt")
        assert answered(opened, alice, turn.thread_id).answer == "1 of snow"
        assert of_thread(opened, alice, turn) == []

    def test_refused_it_ends_the_run(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "a long winter", "node_interrupt")
        assert settle(opened, alice, row, Decision("refuse", reason="too long")).status == "stopped"

    def test_takes_no_answer(self, opened: Skein, alice: Viewer) -> None:
        _, [row] = waiting(opened, alice, "a long winter", "node_interrupt")
        with pytest.raises(BadInputError, match="has paused here"):
            settle(opened, alice, row, Decision("answer", answer="snow"))

    def test_two_at_once_are_two(self, opened: Skein, alice: Viewer) -> None:
        turn, rows = waiting(opened, alice, "winter", "two_node_interrupts")
        assert sorted(row.said["question"] for row in rows) == ["left is stuck", "right is stuck"]
        again = settle(opened, alice, rows[0], Decision("approve"))
        assert (again.status, len(open_of(opened, alice, turn))) == ("waiting", 2)
        done = edit_state(opened, alice, open_of(opened, alice, turn)[0], count=2)
        assert (done.status, done.answer) == ("done", "2 of winter")
        values = opened.engine.get_state(alice, turn.thread_id).values
        assert sorted(values["log"]) == ["chose", "left", "right", "wrote winter"]

    def test_goes_on_in_another_process(self, opened: Skein, settings: Settings, alice: Viewer) -> None:
        turn, _ = waiting(opened, alice, "a long winter", "node_interrupt")
        opened.close()
        with another_skein(settings) as later:
            [row] = open_of(later, alice, turn)
            assert edit_state(later, alice, row, topic="snow").answer == "1 of snow"


class TestToolsBesideOneThatAsks:
    @pytest.mark.parametrize("agent", ["siblings", "tool_node", "inner_tools"])
    def test_those_that_run_again_are_named(self, opened: Skein, alice: Viewer, tmp_path: Path, agent: str) -> None:
        file = tmp_path / "lines"
        turn, [row] = waiting(opened, alice, str(file), agent)
        assert (row.runs_again, sent(file)) == (["count"], ["counted"])
        done = settle(opened, alice, row, Decision("answer", answer="yes"))
        assert (done.answer, sent(file)) == ("counted / confirmed: yes", ["counted", "counted"])
        [row] = of_thread(opened, alice, turn)
        assert row.runs_again == ["count"]

    def test_where_a_rule_asks_none_has_run(self, opened: Skein, alice: Viewer, tmp_path: Path) -> None:
        file = tmp_path / "lines"
        opened.database.write(lambda db: add_rule(alice, db, effect="ask", tool="count"))
        turn, [row] = waiting(opened, alice, str(file), "tool_node")
        assert (row.tool, row.runs_again, sent(file)) == ("count", [], [])
        settle(opened, alice, row, Decision("approve"))
        [question] = open_of(opened, alice, turn)
        assert question.runs_again == ["count"]

    def test_where_nothing_ran_nothing_is_named(self, opened: Skein, alice: Viewer) -> None:
        for agent in ("inbox", "before", "node_interrupt"):
            _, [row] = waiting(opened, alice, "a long winter", agent)
            assert not row.runs_again
