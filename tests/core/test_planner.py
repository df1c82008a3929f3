"""The shipped planner, run whole on both databases: its plan, its results, and what becomes of each decision."""

from typing import Any

import pytest
from langchain_core.messages import ToolMessage

from core.access.viewer import Viewer
from core.agents.planner import graph
from core.database import Database
from core.history.artifacts import find_named, list_named, parse_ref, read_content, settle_versions, write_version
from core.history.task_plan import read_plan, write_plan
from core.settings import Settings
from tests.core.working import Work, add_person, result_of, tools_called
from tests.model_server import Behaviour, ModelServer

ORDER = ["make_task_plan", "write_result", "update_task_plan", "publish_result"]
EDITED = {"type": "edit", "edited_action": {"name": "publish_result", "args": {"name": "Tea", "title": "Better"}}}


@pytest.fixture
def alice(database: Database) -> Viewer:
    return add_person(database, "alice")


def contents(work: Work, state: dict[str, Any]) -> dict[str, bytes]:
    """What the state's artifacts hold, by kind and name."""
    viewer = work.workspace.viewer
    with work.workspace.database.read() as db:
        found = list_named(viewer, db, find_named(state))
        return {f"{one.kind} {one.name}": read_content(viewer, db, one.ref) for one in found}


def last_said(state: dict[str, Any]) -> str:
    return str(state["messages"][-1].text)


class TestAWholeRunOnTheDemoModel:
    async def test_it_plans_and_works_until_it_needs_approval(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Plan a tea party: invite people, buy tea and bake a cake")
        state = await work.begin()
        assert tools_called(state) == ORDER
        plan = read_plan(contents(work, state)["task_plan Plan a tea party"])
        assert [(step.text, step.status) for step in plan.steps] == [
            ("invite people", "done"),
            ("buy tea", "done"),
            ("bake a cake", "done"),
        ]
        assert parse_ref(state["task_plan_id"]).version == 2
        (asked,) = await work.waiting()
        assert asked.value["type"] == "tool_approval"
        assert asked.value["name"] == "publish_result"
        assert asked.value["description"].startswith("Publish the result “Plan a tea party")
        assert asked.response_schema is not None

    async def test_once_approved_the_result_is_published(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Tea")
        await work.begin()
        state = await work.resume({"type": "approve"})
        held = contents(work, state)
        assert b"Written by the offline demo model" in held["file published/Tea"]
        assert len(state["result_artifact_ids"]) == 2
        assert "no language model was asked" in last_said(state)
        assert await work.waiting() == []

    async def test_edited_arguments_are_what_runs(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Tea")
        await work.begin()
        state = await work.resume(EDITED)
        assert "file published/Better" in contents(work, state)
        assert "file published/Tea" not in contents(work, state)
        assert "A person changed the arguments" in str(result_of(state, "publish_result").text)

    async def test_a_refusal_with_its_reason_is_told_and_the_run_ends(
        self, database: Database, alice: Viewer
    ) -> None:
        work = Work(graph, database, alice, "Tea")
        await work.begin()
        state = await work.resume({"type": "reject", "message": "not yet"})
        refused = result_of(state, "publish_result")
        assert (refused.status, "not yet" in str(refused.text)) == ("error", True)
        assert not any(name.startswith("file") for name in contents(work, state))
        assert last_said(state).endswith("What was not done I leave at that.")
        assert await work.waiting() == []

    async def test_an_answer_takes_the_place_of_the_tool(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Tea")
        await work.begin()
        state = await work.resume({"type": "respond", "message": "I did it myself."})
        assert str(result_of(state, "publish_result").text) == "I did it myself."
        assert not any(name.startswith("file") for name in contents(work, state))

    async def test_it_works_in_chinese_too(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "安排茶会:邀请朋友,买茶,烤蛋糕")
        state = await work.begin()
        plan = contents(work, state)["task_plan 安排茶会"]
        assert [step.text for step in read_plan(plan).steps] == ["邀请朋友", "买茶", "烤蛋糕"]
        state = await work.resume({"type": "approve"})
        assert last_said(state).startswith("这是 Skein 的离线演示模型")


class TestWhatTheThreadHas:
    async def test_what_the_state_names_is_kept_with_what_that_was_made_from(
        self, database: Database, alice: Viewer
    ) -> None:
        work = Work(graph, database, alice, "Tea")
        state = await work.begin()
        thread_id = work.added.thread_id
        database.write(lambda db: settle_versions(db, thread_id, find_named(state)))
        with database.read() as db:
            plan = parse_ref(state["task_plan_id"])
            first, second = list_named(alice, db, [plan, plan._replace(version=1)])
        assert (first.status, second.status) == ("kept", "kept")

    async def test_a_plan_changed_by_hand_is_the_one_that_is_gone_on_with(
        self, database: Database, alice: Viewer
    ) -> None:
        work = Work(graph, database, alice, "Tea")
        state = await work.begin()
        base = parse_ref(state["task_plan_id"])
        with database.read() as db:
            plan = read_plan(read_content(alice, db, base))
        by_hand = plan.model_copy(update={"title": "By hand"})
        ref = database.write(
            lambda db: write_version(
                alice,
                db,
                session_id=work.added.session_id,
                kind="task_plan",
                name="",
                content=write_plan(by_hand),
                media_type="application/json",
                artifact_id=base.artifact_id,
                base_version=base.version,
                thread_id=work.added.thread_id,
                by_hand=True,
            )
        )
        await work.resume({"type": "approve"})
        calls = [("update_task_plan", {"done": [1], "more_steps": ["pour it"]})]
        state = await ask_server(work, calls)
        changed = parse_ref(state["task_plan_id"])
        with database.read() as db:
            plan = read_plan(read_content(alice, db, changed))
            (version,) = list_named(alice, db, [changed])
        assert (plan.title, plan.steps[-1].text) == ("By hand", "pour it")
        assert version.base_version == ref.version

    async def test_what_another_branch_wrote_cannot_be_read(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Tea")
        state = await work.begin()
        database.write(lambda db: settle_versions(db, work.added.thread_id, find_named(state)))
        beside = Work(graph, database, alice, "Other", conversation_id=work.added.conversation_id)
        ref = state["result_artifact_ids"][0]
        state = await ask_server(beside, [("read_artifact", {"name": ref})])
        assert "There is no artifact called" in str(result_of(state, "read_artifact").text)

    async def test_what_another_conversation_of_the_session_wrote_can_be_read(
        self, database: Database, alice: Viewer
    ) -> None:
        work = Work(graph, database, alice, "Tea")
        state = await work.begin()
        database.write(lambda db: settle_versions(db, work.added.thread_id, find_named(state)))
        other = Work(graph, database, alice, "Read it", session_id=work.added.session_id)
        calls = [("list_artifacts", {}), ("read_artifact", {"name": state["result_artifact_ids"][0]})]
        state = await ask_server(other, calls)
        assert "Written by the offline demo model" in str(result_of(state, "read_artifact").text)
        assert "| Tea | result |" in str(result_of(state, "list_artifacts").text)

    async def test_nothing_of_another_person_can_be_read(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Tea")
        theirs = (await work.begin())["result_artifact_ids"][0]
        bob = add_person(database, "bob", "admin")
        state = await ask_server(Work(graph, database, bob, "Hm"), [("read_artifact", {"name": theirs})])
        assert result_of(state, "read_artifact").status == "error"


class TestToolsThatFail:
    @pytest.mark.parametrize(
        ("name", "arguments", "told"),
        [
            ("update_task_plan", {"done": [1]}, "There is no task plan yet"),
            ("make_task_plan", {"title": "x", "steps": []}, "Error"),
            ("make_task_plan", {"title": "x", "steps": [" "]}, "Error"),
            ("read_artifact", {"name": "no such"}, "There is no artifact called"),
            ("write_result", {"name": "\u0000", "content": "x"}, "An artifact needs a name"),
        ],
    )
    async def test_the_model_is_told_and_the_run_goes_on(
        self, database: Database, alice: Viewer, name: str, arguments: dict[str, Any], told: str
    ) -> None:
        state = await ask_server(Work(graph, database, alice, "x"), [(name, arguments)])
        result = result_of(state, name)
        assert result.status == "error"
        assert told in str(result.text)
        assert last_said(state) == "All done."

    async def test_a_step_that_is_not_there_is_named(self, database: Database, alice: Viewer) -> None:
        calls = [("make_task_plan", {"title": "x", "steps": ["a"]}), ("update_task_plan", {"done": [2]})]
        state = await ask_server(Work(graph, database, alice, "x"), calls)
        assert str(result_of(state, "update_task_plan").text) == "The plan has no step 2; its steps are 1 to 1."


class TestOnAServerOverHttp:
    async def test_a_whole_run_is_driven_by_tool_calls(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "Tea")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("make_task_plan", {"title": "Tea", "steps": ["boil", "pour"]}),
            ("write_result", {"name": "Tea", "content": "# Tea"}),
            ("update_task_plan", {"done": [1], "doing": [2]}),
            ("publish_result", {"name": "Tea", "title": "Tea"}),
        ]
        with ModelServer(behave=in_turn(calls)) as server:
            to_server(work, server)
            await work.begin()
            state = await work.resume({"type": "approve"})
            offered = [tool["function"]["name"] for tool in server.requests[0].body["tools"]]
            await work.models.aclose()
        assert set(ORDER) <= set(offered)
        assert tools_called(state) == ORDER
        assert contents(work, state)["file published/Tea"] == b"# Tea"
        assert last_said(state) == "All done."

    async def test_tools_called_at_once_are_all_named(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "x")
        together = Behaviour(
            tool_calls=(
                ("make_task_plan", {"title": "one", "steps": ["a"]}),
                ("write_result", {"name": "first", "content": "1"}),
                ("write_result", {"name": "second", "content": "2"}),
                ("publish_result", {"name": "first", "title": "x"}),
            )
        )
        with ModelServer() as server:
            server.script(together, Behaviour(text="All done."))
            to_server(work, server)
            await work.begin()
            state = await work.resume({"type": "reject"})
            await work.models.aclose()
        assert sorted(name for name in contents(work, state)) == ["result first", "result second", "task_plan one"]
        ids = [one.tool_call_id for one in state["messages"] if isinstance(one, ToolMessage)]
        assert len(set(ids)) == 4


def in_turn(calls: list[tuple[str, dict[str, Any]]]) -> Any:
    """Behaves by how many results a request holds: the next call, and after the last one an answer."""

    def behave(body: dict[str, Any], _headers: dict[str, str]) -> Behaviour:
        last = max(at for at, one in enumerate(body["messages"]) if one["role"] == "user")
        place = sum(one["role"] == "tool" for one in body["messages"][last:])
        return Behaviour(tool_calls=(calls[place],)) if place < len(calls) else Behaviour(text="All done.")

    return behave


def to_server(work: Work, server: ModelServer) -> None:
    work.use(Settings(_env_file=None, model="test-model", openai_base_url=server.base_url))


async def ask_server(work: Work, calls: list[tuple[str, dict[str, Any]]]) -> dict[str, Any]:
    """Let a model over HTTP call these tools, one after another, and give the state at the end."""
    with ModelServer(behave=in_turn(calls)) as server:
        to_server(work, server)
        state = await work.say("go on")
        await work.models.aclose()
    return state
