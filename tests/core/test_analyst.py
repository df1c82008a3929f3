"""The shipped analyst on both databases: which tools it takes, what they show, and whose rows they never show."""

import json
from datetime import timedelta
from typing import Any

import pytest
from langchain.tools import ToolRuntime
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import ToolMessage
from sqlmodel import update

from core.access.viewer import Viewer
from core.agents.analyst import graph
from core.agents.tools import own
from core.agents.tools.data import draw_chart, summarize_calls
from core.agents.tools.showing import MOST_ROWS, show_chart, show_table
from core.database import Database, table_of
from core.history.conversations import delete_conversation
from core.tables import Message, utc_now
from tests.core.support import OnSqlite
from tests.core.working import Work, add_calls, add_person, result_of, say, tools_called


@pytest.fixture
def alice(database: Database) -> Viewer:
    return add_person(database, "alice")


@pytest.fixture
def bob(database: Database) -> Viewer:
    """Somebody who may read all, with a secret of his own."""
    viewer = add_person(database, "bob", "admin")
    say(database, viewer, "bob's secret tea")
    return viewer


async def asked(database: Database, viewer: Viewer, text: str) -> dict[str, Any]:
    return await Work(graph, database, viewer, text).begin()


def shown(state: dict[str, Any], tool: str) -> dict[str, Any]:
    (one,) = result_of(state, tool).artifact["shows"]
    return dict(one)


def called(state: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(call["name"], call["args"]) for one in state["messages"] for call in getattr(one, "tool_calls", ())]


class TestWhichToolAnswers(OnSqlite):
    @pytest.mark.parametrize(
        ("question", "tools"),
        [
            ("How many messages did I write?", ["count_messages"]),
            ("我有多少消息?", ["count_messages"]),
            ("Please search for tea", ["search_messages"]),
            ("搜索关于茶的消息", ["search_messages"]),
            ("Which sessions do I have?", ["list_sessions"]),
            ("Sum up my calls by agent", ["summarize_calls"]),
            ("What did it cost? Draw a chart too.", ["show_costs", "draw_chart"]),
            ("每天的费用是多少钱?", ["show_costs"]),
            ("画一个图表", ["draw_chart"]),
            ("Hm.", []),
        ],
    )
    async def test_the_demo_model_takes_it_by_the_words(
        self, database: Database, alice: Viewer, question: str, tools: list[str]
    ) -> None:
        state = await asked(database, alice, question)
        assert tools_called(state) == tools
        assert [one.status for one in state["messages"] if isinstance(one, ToolMessage)] == ["success"] * len(tools)
        assert "Skein" in str(state["messages"][-1].text)

    async def test_it_chooses_and_counts_by_the_words(self, database: Database, alice: Viewer) -> None:
        state = await asked(database, alice, "Draw a chart of calls by model for 7 days")
        assert called(state) == [
            ("summarize_calls", {"by": "model", "days": 7}),
            ("draw_chart", {"what": "calls", "by": "model", "days": 7}),
        ]

    async def test_what_is_searched_for_are_the_words_that_no_tool_has(
        self, database: Database, alice: Viewer
    ) -> None:
        for question, query in [
            ("search my messages for green tea", "green tea"),
            ("搜索关于茶的消息", "茶"),
            ("search “my own words”", "my own words"),
        ]:
            state = await asked(database, alice, question)
            assert called(state) == [("search_messages", {"query": query})]


class TestMessages:
    async def test_they_are_counted_by_day(self, database: Database, alice: Viewer) -> None:
        old = say(database, alice, "long ago")
        move(database, old.message_id, days=400)
        state = await asked(database, alice, "How many messages did I write?")
        days = [(utc_now() - timedelta(days=days)).date().isoformat() for days in (400, 0)]
        assert shown(state, "count_messages")["rows"] == [[day, 1] for day in days]
        assert str(result_of(state, "count_messages").text).startswith("Messages in all: 2\n")

    def test_they_are_counted_by_agent_session_and_status(self, database: Database, alice: Viewer) -> None:
        first = say(database, alice, "one title")
        say(database, alice, "two", session_id=first.session_id)
        say(database, alice, "one title", agent_id="planner")
        with database.read() as db:
            assert own.count_messages(alice, db, "agent", since=None) == [("assistant", 2), ("planner", 1)]
            assert own.count_messages(alice, db, "session", since=None) == [("one title", 2), ("one title", 1)]
            assert own.count_messages(alice, db, "status", since=None) == [("queued", 3)]
            assert own.count_messages(alice, db, "day", since=utc_now() + timedelta(days=1)) == []

    async def test_they_are_found_by_all_their_words(self, database: Database, alice: Viewer) -> None:
        say(database, alice, "green TEA 100%")
        say(database, alice, "green grass")
        state = await asked(database, alice, "search “tea green”")
        rows = shown(state, "search_messages")["rows"]
        assert [row[2] for row in rows] == ["search “tea green”", "green TEA 100%"]
        with database.read() as db:
            assert len(own.search_messages(alice, db, "0%", since=None, limit=9)) == 1
            assert own.search_messages(alice, db, "%_", since=None, limit=9) == []

    async def test_sessions_are_listed_with_their_sizes(self, database: Database, alice: Viewer) -> None:
        first = say(database, alice, "first")
        say(database, alice, "under it", conversation_id=first.conversation_id, parent_message_id=first.message_id)
        say(database, alice, "beside it", session_id=first.session_id)
        state = await asked(database, alice, "list my sessions")
        assert [row[:3] for row in shown(state, "list_sessions")["rows"]] == [
            ["list my sessions", 1, 1],
            ["first", 2, 3],
        ]

    async def test_what_was_deleted_is_not_there(self, database: Database, alice: Viewer) -> None:
        gone = say(database, alice, "gone tea")
        database.write(lambda db: delete_conversation(alice, db, gone.conversation_id))
        with database.read() as db:
            assert own.search_messages(alice, db, "gone", since=None, limit=9) == []
            assert own.list_sessions(alice, db, limit=9) == []


class TestCalls:
    @pytest.fixture(autouse=True)
    def calls(self, database: Database, alice: Viewer, bob: Viewer) -> None:
        hers: dict[str, Any] = {"user_id": alice.user_id, "output_tokens": 5, "input_tokens": 10}
        add_calls(
            database,
            hers | {"model": "small", "cost_usd": 0.25},
            hers | {"model": "large", "cost_usd": 2.0, "status": "error"},
            hers | {"model": "new"},
            {"user_id": bob.user_id, "model": "secret", "cost_usd": 9.0},
        )

    async def test_they_are_summed_up(self, database: Database, alice: Viewer) -> None:
        state = await asked(database, alice, "Sum up my calls")
        rows = {row[0]: row[1:] for row in shown(state, "summarize_calls")["rows"]}
        assert rows["small"] == [1, 0, 15, 0.25, 0]
        assert rows["large"][:2] == [1, 1]
        assert rows["new"][3:] == [0.0, 1]
        assert set(rows) == {"small", "large", "new"}
        assert str(result_of(state, "summarize_calls").text).endswith("not in these sums: 1 calls.")

    async def test_costs_are_shown_by_day_and_model(self, database: Database, alice: Viewer) -> None:
        state = await asked(database, alice, "What did it cost?")
        today = utc_now().date().isoformat()
        rows = shown(state, "show_costs")["rows"]
        assert sorted(row[:4] for row in rows) == [
            [today, "large", 1, 2.0],
            [today, "new", 1, 0.0],
            [today, "small", 1, 0.25],
        ]
        assert str(result_of(state, "show_costs").text).startswith("Cost in all: $2.250000")

    async def test_a_chart_holds_its_values(self, database: Database, alice: Viewer) -> None:
        state = await asked(database, alice, "Draw a chart of the cost by model")
        spec = shown(state, "draw_chart")["spec"]
        assert spec["data"]["values"] == [
            {"model": "large", "cost_usd": 2.0},
            {"model": "small", "cost_usd": 0.25},
            {"model": "new", "cost_usd": 0.0},
        ]
        assert json.loads(json.dumps(spec)) == spec
        assert "url" not in json.dumps(spec)

    async def test_every_chart_can_be_drawn(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "x")
        for what in ("messages", "calls", "tokens", "cost"):
            for by in ("day", "model", "agent"):
                _, artifact = await draw_chart.coroutine(what, runtime_of(work), by, 30)
                assert len(artifact["shows"][0]["spec"]["data"]["values"]) >= 1

    async def test_every_sum_can_be_made(self, database: Database, alice: Viewer) -> None:
        work = Work(graph, database, alice, "x")
        for by in ("model", "agent", "node", "session", "day"):
            _, artifact = await summarize_calls.coroutine(runtime_of(work), by, 30)
            assert sum(row[1] for row in artifact["shows"][0]["rows"]) == 3


def runtime_of(work: Work) -> Any:
    return ToolRuntime(
        state={}, context=work.context, config={}, stream_writer=print, tool_call_id="call", store=None
    )


class TestWhoseRows:
    @pytest.mark.parametrize(
        "question",
        [
            "How many messages did I write?",
            "search “secret”",
            "list my sessions",
            "Sum up my calls",
            "What did it cost?",
            "Draw a chart of calls by model",
            "list my artifacts",
        ],
    )
    async def test_nobody_elses_are_ever_told_or_shown(
        self, database: Database, alice: Viewer, bob: Viewer, question: str
    ) -> None:
        add_calls(database, {"user_id": bob.user_id, "model": "secret", "cost_usd": 9.0})
        say(database, bob, "more secret", agent_id="secret")
        state = await asked(database, alice, question)
        told = [one for one in state["messages"] if isinstance(one, ToolMessage)]
        assert told
        for one in told:
            text = f"{one.text} {one.artifact}".replace("search “secret”", "").replace("with “secret”", "")
            assert "secret" not in text

    async def test_an_admin_too_sees_only_their_own(self, database: Database, alice: Viewer, bob: Viewer) -> None:
        add_calls(database, {"user_id": alice.user_id, "model": "hers"})
        say(database, alice, "her own words")
        state = await asked(database, bob, "Sum up my calls")
        assert shown(state, "summarize_calls")["rows"] == []
        state = await asked(database, bob, "search “her own words”")
        assert [row[2] for row in shown(state, "search_messages")["rows"]] == ["search “her own words”"]


class TestWhatIsHeard:
    async def test_a_tools_arguments_are_told_without_the_workspace(
        self, database: Database, alice: Viewer
    ) -> None:
        heard: list[Any] = []

        class Listener(BaseCallbackHandler):
            def on_tool_start(self, serialized: Any, input_str: str, **kwargs: Any) -> None:
                heard.append((kwargs["inputs"], input_str))

        work = Work(graph, database, alice, "search “tea”")
        work.config["callbacks"] = [Listener()]
        await work.begin()
        assert heard == [({"query": "tea"}, "{'query': 'tea'}")]

    async def test_its_calls_are_said_to_be_the_analysts(self, database: Database, alice: Viewer) -> None:
        names: set[Any] = set()

        class Listener(BaseCallbackHandler):
            def on_chat_model_start(self, *args: Any, **kwargs: Any) -> None:
                names.add(kwargs["metadata"]["lc_agent_name"])

        work = Work(graph, database, alice, "search “tea”")
        work.config["callbacks"] = [Listener()]
        await work.begin()
        assert names == {"analyst"}


class TestShowing:
    def test_rows_and_cells_are_limited(self) -> None:
        text, artifact = show_table("T", ["a"], [["x" * 500]] * 1_000)
        rows = artifact["shows"][0]["rows"]
        assert (len(rows), len(rows[0][0])) == (MOST_ROWS, 200)
        assert text.endswith("[950 more rows]")

    def test_what_the_model_is_told_stays_one_table(self) -> None:
        text, _ = show_table("T", ["a", "b"], [["x|y\n| z", None]])
        assert text.splitlines()[-1] == "| x\\|y \\| z |  |"

    def test_without_rows_it_is_said_so(self) -> None:
        assert show_chart("T", ["a", "b"], [])[0] == "T: there is nothing to show."


def move(database: Database, message_id: str, *, days: int) -> None:
    message = table_of(Message)
    then = utc_now() - timedelta(days=days)
    database.write(
        lambda db: (
            db.execute(update(message).where(message.c.message_id == message_id).values(created_at=then)) and None
        )
    )
