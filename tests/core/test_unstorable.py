"""What no database can hold (NUL, half characters, NaN): it fails no run, and both databases keep the same."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlmodel import select

from core.access import accounts
from core.access.sign_in import find_viewer, sign_in
from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.proof.verify import verify
from core.errors import SkeinError
from core.history import (
    annotations,
    artifacts,
    branches,
    conversations,
    saved_views,
    search,
    sessions,
    snapshots,
    templates,
)
from core.history.activity import record
from core.history.browse.query import parse
from core.history.messages import NewMessage
from core.history.turns import Turn
from core.records import retention
from core.skein import Skein, open_skein
from core.tables import LlmCall, LlmCallBody, Session, Table, Thread, utc_now
from tests.conftest import make_person, make_settings
from tests.core.support import answered, ask, follow

GRAPH = Path(__file__).parents[1] / "graphs" / "unstorable.py"


@pytest.fixture
def skein(database_url: str, tmp_path: Path) -> Iterator[Skein]:
    (tmp_path / "langgraph.json").write_text(f'{{"graphs": {{"odd": "{GRAPH}:graph"}}}}')
    opened = open_skein(
        make_settings(tmp_path, database_url=database_url, langgraph_json=tmp_path / "langgraph.json")
    )
    yield opened
    opened.close()


@pytest.fixture
def alice(skein: Skein) -> Viewer:
    return make_person(skein, "alice")


def texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield str(name)
            yield from texts_in(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from texts_in(item)


def is_clean(value: Any) -> bool:
    return not any("\0" in text or "\ud800" in text for text in texts_in(value))


class TestWhatARunHolds:
    @pytest.mark.parametrize(
        ("text", "said"), [("values", "values abc"), ("ask", "said abc"), ("call", "said abc")]
    )
    def test_is_kept_without_it(self, skein: Skein, alice: Viewer, text: str, said: str) -> None:
        turn = ask(skein, alice, text, agent="odd")
        events = follow(skein, alice, turn.thread_id)
        done = answered(skein, alice, turn.thread_id)
        assert (done.status, done.error_message) == ("done", None)
        assert (done.answer or "").replace("\n", "").startswith(said)
        assert is_clean([one.payload for one in events])
        assert follow(skein, alice, turn.thread_id) == events
        assert skein.call_log.flush()
        with skein.database.read() as db:
            assert db.exec(select(Thread)).one().finish_reason in {None, "abc"}
            assert [row.status for row in db.exec(select(LlmCall))] == (["ok"] if text != "values" else [])
            assert is_clean([row.response for row in db.exec(select(LlmCallBody))])
        assert verify(skein.database).problem == ""

    def test_of_a_failure_is_told(self, skein: Skein, alice: Viewer) -> None:
        turn = ask(skein, alice, "fail", agent="odd")
        done = answered(skein, alice, turn.thread_id)
        assert (done.status, done.error_message) == (
            "failed",
            "The agent failed with RuntimeError: failed with abc",
        )

    def test_a_number_that_is_none_stays_one(self, skein: Skein, alice: Viewer) -> None:
        turn = ask(skein, alice, "values", agent="odd")
        answered(skein, alice, turn.thread_id)
        values = skein.engine.get_state(alice, turn.thread_id).values
        assert (values["number"], values["least"], values["many"][1]) == ("NaN", "-Infinity", "Infinity")
        graph = skein.agents.compiled("odd", skein.saver)
        kept = skein.run_on_loop(graph.aget_state({"configurable": {"thread_id": turn.thread_id}})).values
        assert math.isnan(kept["number"])
        assert kept["least"] == -math.inf
        assert math.isnan(next(iter(kept["deep"].values()))["n"])

    def test_can_be_gone_on_with(self, skein: Skein, alice: Viewer) -> None:
        first = answered(skein, alice, ask(skein, alice, "values", agent="odd").thread_id)
        second = ask(skein, alice, "ask a\0b\ud800", under=first, agent="odd")
        assert answered(skein, alice, second.thread_id).status == "done"


ODD = "odd\0 \ud800name"
TYPED: dict[str, Callable[["Place"], Any]] = {
    "an account": lambda at: accounts.create_account(
        at.boss, at.skein.database, name=ODD, password="long enough to be one", role="member"
    ),
    "a sign-in": lambda at: sign_in(at.skein.database, name=ODD, password=ODD, address=ODD, browser=ODD, days=1),
    "a title": lambda at: at.write(conversations.rename_conversation, at.turn.conversation_id, ODD),
    "the title of a session": lambda at: at.write(sessions.rename_session, at.session_id, ODD),
    "a new session": lambda at: at.write(sessions.create_session, ODD),
    "a note": lambda at: at.write(annotations.set_note, at.session_id, ODD),
    "a tag": lambda at: at.write(annotations.add_tag, at.session_id, ODD),
    "a tag to remove": lambda at: at.write(annotations.remove_tag, at.session_id, ODD),
    "a score": lambda at: at.write(annotations.set_score, at.session_id, 1, ODD),
    "a review": lambda at: at.write(annotations.set_review, at.session_id, "good", ODD),
    "a view": lambda at: saved_views.save_view(at.alice, at.skein.database, "calls", ODD, ODD),
    "a template": lambda at: at.write(
        templates.save_template, name=ODD, draft=templates.Draft(ODD, "odd", {"x": ODD}, [ODD])
    ),
    "a branch": lambda at: at.write(branches.create_branch, at.turn.message_id, name=ODD),
    "a rule of retention": lambda at: at.skein.database.write(
        lambda db: retention.add_rule(at.boss, db, retention.Rule(ODD, "archive", 9, tag=ODD, keep_tag=ODD))
    ),
    "an artifact": lambda at: at.write(
        artifacts.write_version,
        session_id=at.session_id,
        kind="result",
        name=ODD,
        content=b"x",
        media_type="text/plain",
    ),
    "a message": lambda at: at.skein.engine.start(at.alice, NewMessage(ODD, agent_id="odd")),
    "settings": lambda at: at.skein.engine.start(at.alice, NewMessage("values", agent_id="odd", config={ODD: ODD})),
    "an agent": lambda at: at.skein.engine.start(at.alice, NewMessage("x", agent_id=ODD)),
    "an act": lambda at: at.write(record, "page.open", target_id=ODD, detail={ODD: ODD}),
    "a search": lambda at: at.read(search.newest_hits, ODD, [at.session_id]),
    "an id": lambda at: at.read(sessions.get_session, ODD),
    "a conversation's id": lambda at: at.read(conversations.get_conversation, ODD),
    "a snapshot": lambda at: at.write(snapshots.create_snapshot, at.turn.thread_id, ODD, ODD),
    "a login": lambda at: find_viewer(at.skein.database, ODD),
    "a filter of calls": lambda at: CallFilter.from_query({"model": [ODD], "q": [ODD]}),
    "a query": lambda at: parse(f"{ODD} title:{ODD}", zone=ZoneInfo("UTC"), now=utc_now()),
}


@dataclass
class Place:
    skein: Skein
    alice: Viewer
    boss: Viewer
    turn: Turn
    session_id: str

    def write(self, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
        return self.skein.database.write(lambda db: function(self.alice, db, *args, **named))

    def read(self, function: Callable[..., Any], *args: Any) -> Any:
        with self.skein.database.read() as db:
            return function(self.alice, db, *args)


class TestWhatPeopleType:
    def test_is_kept_without_it_or_refused_in_a_sentence(self, skein: Skein, alice: Viewer) -> None:
        boss = make_person(skein, "boss", "admin")
        turn = answered(skein, alice, ask(skein, alice, "values", agent="odd").thread_id)
        with skein.database.read() as db:
            session_id = db.exec(select(Session.session_id)).first() or ""
        at = Place(skein, alice, boss, turn, session_id)
        failed = {}
        for what, deed in TYPED.items():
            try:
                deed(at)
            except Exception as error:
                if not isinstance(error, SkeinError) or not is_clean(str(error)):
                    failed[what] = repr(error)[:200]
        assert failed == {}
        with skein.database.read() as db:
            for table in Table.metadata.sorted_tables:
                for row in db.connection().execute(table.select()):
                    assert is_clean([*row]), table.name
        assert verify(skein.database).problem == ""
