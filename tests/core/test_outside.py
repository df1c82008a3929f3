"""What comes from outside: secrets in it are kept and shown nowhere, and its length is no burden."""

import json
import logging
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
import structlog
from sqlalchemy.engine import make_url
from sqlmodel import select

from core.calls.filters import CallFilter
from core.calls.listing.export import export_calls
from core.calls.proof.verify import verify
from core.errors import BadInputError
from core.history.artifacts import Ref, download, write_version
from core.history.sessions import create_session
from core.ids import SessionId
from core.logs import open_logs
from core.outside import (
    TextInPieces,
    find_secrets,
    fit_data,
    fit_text,
    hide_known_in,
    hide_looks,
    hide_secrets,
    know_secrets,
    looks_secret,
    read_failure,
)
from core.records.backup import back_up
from core.records.export.sessions import export_sessions
from core.runs.events import Event
from core.skein import Skein, open_skein
from core.tables import LlmCall, LlmCallBody, Session, Thread, to_json
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask, follow
from tests.model_server import Behaviour, ModelServer

KEY = "sk-canary-Zq81LmPw20Xt"
GRAPH = '''
import logging, os, threading
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

KEY = os.environ["LEAK_API_KEY"]

@tool
def reach(place: str) -> str:
    """Reach a place."""
    logging.getLogger("team").error("%s was refused with %s", place, KEY)
    raise RuntimeError(f"Incorrect API key provided: {KEY}")

def fail(state):
    try:
        raise ValueError(KEY)
    except ValueError:
        logging.getLogger("team").exception("it failed")
        raise RuntimeError(f"{{'Authorization': 'Bearer {KEY}'}}")

def call(state):
    calls = [{"name": "reach", "args": {"place": "there"}, "id": "call_1"}]
    return {"messages": [AIMessage("", tool_calls=calls)]}

async def ask(state):
    return {"messages": [await ChatOpenAI(model="m", base_url=os.environ["LEAK_URL"], api_key=KEY,
        max_retries=0).ainvoke(state["messages"])]}

async def spell(state):
    return {"messages": [await FakeListChatModel(responses=[f"It is {KEY}, as sk-canary shows: sk"]).ainvoke("x")]}

inner = StateGraph(MessagesState).add_node("deep", fail).add_edge(START, "deep").compile()
builder = StateGraph(MessagesState)
for name, node in {"call": call, "node": fail, "inner": inner, "ask": ask, "spell": spell,
                   "tools": ToolNode([reach], handle_tool_errors=False),
                   "forgiving": ToolNode([reach], handle_tool_errors=True)}.items():
    builder.add_node(name, node)
builder.add_conditional_edges(START, lambda state: {"tool": "call", "handled": "call"}.get(
    state["messages"][-1].content, state["messages"][-1].content))
builder.add_conditional_edges(
    "call", lambda state: "tools" if state["messages"][-2].content == "tool" else "forgiving")
graph = builder.compile()
'''


@pytest.fixture
def server() -> Iterator[ModelServer]:
    def behave(body: dict[str, Any], headers: dict[str, str]) -> Behaviour:
        given = headers["authorization"].removeprefix("Bearer ")
        asked = str(body["messages"][-1]["content"])
        if "middle" in asked:
            return Behaviour(tokens=6, error_after=3, error=f"The key {given} was revoked")
        if "event" in asked:
            return Behaviour(tokens=6, error_after=3, error_event=json.dumps({"error": {"message": given}}))
        if "header" in asked:
            return Behaviour(text="all well", headers=(("x-request-id", f"req-{given}"), ("x-key", given)))
        if "says" in asked:
            return Behaviour(text=f"the key is {given} indeed")
        return Behaviour(status=401, error=f"Incorrect API key provided: {given}", error_code="invalid_api_key")

    with ModelServer(behave=behave) as opened:
        yield opened


@pytest.fixture
def leaking(
    server: ModelServer, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Skein]:
    monkeypatch.setenv("LEAK_API_KEY", KEY)
    monkeypatch.setenv("LEAK_URL", server.base_url)
    (tmp_path / "leaking.py").write_text(GRAPH)
    listed = tmp_path / "langgraph.json"
    assistant = f"{Path(__file__).parents[2]}/core/agents/assistant.py:graph"
    listed.write_text(json.dumps({"graphs": {"leaking": "./leaking.py:graph", "assistant": assistant}}))
    settings = make_settings(
        tmp_path,
        database_url=database_url,
        langgraph_json=listed,
        openai_api_key=KEY,
        openai_base_url=server.base_url,
        model_max_retries=0,
        log_level="DEBUG",
    )
    skein = open_skein(settings)
    yield skein
    skein.close()


def everything_stored(skein: Skein) -> bytes:
    """All that is in the databases of a Skein, as bytes that a text can be searched in."""
    if skein.database.is_sqlite:
        files = [path for path in skein.settings.data_dir.parent.rglob("*.db*") if path.is_file()]
        assert len(files) >= 3
        return b"".join(path.read_bytes() for path in files)
    url = make_url(skein.settings.app_database_url).set(drivername="postgresql")
    found = []
    with psycopg.connect(url.render_as_string(hide_password=False)) as connection:
        tables = connection.execute(
            "SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) FROM information_schema.tables "
            "WHERE table_schema IN ('public', 'skein_checkpoints')"
        ).fetchall()
        assert len(tables) > 30
        connection.execute("SET bytea_output = 'escape'")
        for (table,) in tables:
            found += [row[0] for row in connection.execute(f"SELECT t::text FROM {table} t")]
    return "\n".join(found).encode()


def places_of(text: str, stored: bytes) -> list[bytes]:
    """What stands around a text, wherever it stands."""
    return [stored[max(found.start() - 200, 0) : found.end() + 50] for found in re.finditer(text.encode(), stored)]


CASES = {
    ("assistant", "no"): "failed",
    ("assistant", "in the middle"): "failed",
    ("assistant", "an event"): "failed",
    ("assistant", "a header"): "done",
    ("assistant", "says it"): "done",
    ("leaking", "ask"): "failed",
    ("leaking", "tool"): "failed",
    ("leaking", "handled"): "done",
    ("leaking", "node"): "failed",
    ("leaking", "inner"): "failed",
    ("leaking", "spell"): "done",
}


class TestAKeyThatIsEchoed:
    def test_is_nowhere(
        self, leaking: Skein, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        alice, boss = make_person(leaking, "alice"), make_person(leaking, "boss", "admin")
        shown: list[Event] = []
        for (agent, text), status in CASES.items():
            turn = ask(leaking, alice, text, agent=agent)
            shown += follow(leaking, alice, turn.thread_id)
            assert (agent, text, answered(leaking, alice, turn.thread_id).status) == (agent, text, status)
        assert leaking.call_log.flush()
        with leaking.database.read() as db:
            ids = [SessionId(one) for one in db.exec(select(Session.session_id))]
            failed = [one.error_message for one in db.exec(select(Thread)) if one.status == "failed"]
        assert "Incorrect API key provided: ***" in str(failed)

        assert KEY not in repr(shown)
        assert "***" in repr(shown)
        stored = everything_stored(leaking)
        assert places_of(KEY, stored) == []
        assert places_of(KEY[3:], stored) == []

        exported = tmp_path / "export.zip"
        export_sessions(alice, leaking.database, leaking.settings.checkpoints_path, ids, exported)
        with zipfile.ZipFile(exported) as file:
            assert [name for name in file.namelist() if KEY.encode() in file.read(name)] == []
        calls = tmp_path / "calls.jsonl"
        export_calls(
            boss, leaking.database, CallFilter(), ZoneInfo("UTC"), kind="jsonl", path=calls, with_bodies=True
        )
        assert KEY not in calls.read_text()
        if leaking.database.is_sqlite:
            back_up(leaking.settings, tmp_path / "backup")
            assert [path for path in (tmp_path / "backup").iterdir() if KEY.encode() in path.read_bytes()] == []
        assert verify(leaking.database).problem == ""

        logged = "".join(capfd.readouterr())
        assert "run_failed" in logged
        assert KEY not in logged
        assert "was refused with ***" in caplog.text
        assert KEY not in caplog.text

    @pytest.mark.parametrize(
        ("agent", "text", "shown"),
        [
            ("assistant", "says it", "the key is *** indeed"),
            ("leaking", "spell", "It is ***, as sk-canary shows: sk"),
        ],
    )
    def test_leaves_the_rest_of_what_was_said(self, leaking: Skein, agent: str, text: str, shown: str) -> None:
        alice = make_person(leaking, "alice")
        turn = ask(leaking, alice, text, agent=agent)
        events = follow(leaking, alice, turn.thread_id)
        assert "".join(one.payload for one in events if one.kind == "token") == shown
        assert [one for one in events if one.kind == "answer"] == []
        assert answered(leaking, alice, turn.thread_id).answer == shown
        assert leaking.call_log.flush()
        with leaking.database.read() as db:
            assert shown in (db.exec(select(LlmCallBody)).one().response or "")
            assert db.exec(select(LlmCall)).one().status == "ok"

    def test_is_in_no_artifact(self, leaking: Skein) -> None:
        alice = make_person(leaking, "alice")

        def write(db: Any) -> Ref:
            session_id = create_session(alice, db, "work")
            content = f"the key is {KEY}".encode()
            given = {"kind": "result", "name": "x", "content": content, "media_type": "text/plain"}
            return write_version(alice, db, session_id=session_id, **given)

        ref = leaking.database.write(write)
        assert download(alice, leaking.database, ref) == b"the key is " + b"*" * len(KEY)


@pytest.fixture
def known() -> Iterator[None]:
    forget = know_secrets([KEY, "hunter2", "postgres"])
    yield
    forget()


@pytest.mark.usefixtures("known")
class TestWhatIsKnown:
    def test_is_hidden_in_all_that_is_kept(self) -> None:
        assert fit_text(f"a {KEY}\0 b \ud800") == "a *** b "
        assert fit_data({KEY: [f"{KEY}!", 1, None, ("x",)]}) == {"***": ["***!", 1, None, ["x"]]}
        assert to_json({"a": KEY}) == '{"a": "***"}'
        assert hide_known_in(b"\xb6" + KEY.encode()) == b"\xb6" + b"*" * len(KEY)
        assert str(BadInputError(f"no {KEY}")) == "no ***"

    def test_is_hidden_in_errors_alone_where_it_is_a_word_like_others(self) -> None:
        assert fit_text("postgres of hunter2") == "postgres of hunter2"
        assert read_failure("postgres of hunter2") == "*** of ***"

    @pytest.mark.parametrize("size", range(1, len(KEY) + 3))
    def test_is_hidden_wherever_a_stream_cuts_it(self, size: int) -> None:
        text = f"{KEY} sk-can sk-sk-canary {KEY}{KEY}s and sk-canary-Zq"
        pieces = TextInPieces()
        shown = [pieces.take(text[start : start + size]) for start in range(0, len(text), size)]
        assert "".join([*shown, pieces.rest()]) == "*** sk-can sk-sk-canary ******s and sk-canary-Zq"
        assert "sk-canary-Z" not in "".join(shown)

    @pytest.mark.parametrize("most", range(1, 60))
    def test_is_hidden_wherever_a_long_error_is_cut(self, most: int) -> None:
        said = read_failure(f"{KEY} is wrong, and so is {KEY} " + "x" * 100, most)
        assert len(said) <= most
        assert "sk-" not in said

    def test_is_hidden_until_it_is_known_no_more(self) -> None:
        forget = know_secrets([KEY])
        forget()
        assert fit_text(KEY) == "***"

    def test_is_hidden_as_it_stands_in_json_and_in_an_address(self) -> None:
        forget = know_secrets(['a"b/c d-1234567'])
        try:
            assert to_json('a"b/c d-1234567') == '"***"'
            assert fit_text("http://x/?key=a%22b%2Fc%20d-1234567") == "http://x/?key=***"
        finally:
            forget()


class TestWhatLooksLikeASecret:
    @pytest.mark.parametrize(
        "text",
        [
            "Incorrect API key provided: tiger-lily",
            "Incorrect API key provided: sk-proj-tiger1lily",
            "{'api_key': 'tiger-lily'}",
            '{"Authorization": "Bearer tiger-lily"}',
            "authorization: basic tiger-lily",
            "X-Api-Key: tiger-lily",
            "OPENAI_API_KEY=tiger-lily",
            "password = tiger-lily",
            "Bearer tiger-lily-2026",
            "ghp_tigerlily2026tigerlily",
            "AIzatigerlily2026",
            "eyJtigerlilytigerlily.tigerlily.tigerlily",
            "postgresql://me:tiger-lily@host/x",
            "token: tigerlily",
        ],
    )
    def test_is_hidden_in_an_error(self, text: str) -> None:
        assert "tiger" not in hide_secrets(text)
        assert "lily" not in hide_secrets(text)

    @pytest.mark.parametrize(
        "text",
        [
            "key_performance_indicator_of_the_year",
            "KeyError: 'messages'",
            "the key: short",
            "monkey: banana-bread",
            "A token is a word; basic english",
            "Bearer of bad news",
            "https://example.org/a@b",
        ],
    )
    def test_words_that_only_speak_of_one_stay(self, text: str) -> None:
        assert hide_secrets(text) == text
        assert hide_looks(text) == text

    def test_an_error_that_cannot_be_asked_says_so(self) -> None:
        class OddError(Exception):
            def __str__(self) -> str:
                raise ValueError

        assert read_failure(OddError()) == "OddError cannot be shown (ValueError)"

    def test_a_variable_holds_one_by_its_name_or_its_looks(self, tmp_path: Path) -> None:
        variables = {
            "OPENAI_API_KEY": "abcd",
            "githubToken": "tiger-lily",
            "PGPASSWORD": "tiger",
            "DB": "postgresql://me:lily@host/x",
            "OTHER": "sk-tiger-lily-2026",
            "SHORT_KEY": "abc",
            "MONKEY": "banana-bread",
            "SSH_AUTH_SOCK": "/tmp/x.sock",
            "KEY_FILE": "/keys/x.pem",
            "A_KEY": str(tmp_path),
            "COLOUR": "tiger-lily",
        }
        assert find_secrets(variables) == ["abcd", "tiger-lily", "tiger", "lily", "sk-tiger-lily-2026"]
        assert not looks_secret("key_performance_indicator")


class TestWhatIsLogged:
    def test_shows_no_secret_in_a_line_or_a_traceback(self, capsys: pytest.CaptureFixture[str]) -> None:
        forget = know_secrets([KEY])
        open_logs("INFO")
        formatted = []
        handler = logging.Handler()
        handler.emit = lambda record: formatted.append(logging.Formatter().format(record))  # type: ignore[method-assign]
        logger = logging.getLogger("somebody")
        logger.addHandler(handler)
        try:
            try:
                raise ValueError(KEY)
            except ValueError:
                logger.exception("refused %s", KEY)
                structlog.get_logger("skein").exception("refused", text=KEY)
        finally:
            logger.removeHandler(handler)
            forget()
        printed = capsys.readouterr().out
        assert KEY not in str(formatted)
        assert KEY not in printed
        assert "refused ***" in formatted[0]
        assert "ValueError: ***" in formatted[0]
        assert "ValueError: ***" in printed
