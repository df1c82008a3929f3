"""The log's writer: soon durable, never in a run's way, complete after failures and crashes."""

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from pydantic import BaseModel
from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlmodel import Session as Db
from sqlmodel import col, func, select

from core.access.viewer import Viewer
from core.calls.capture.handler import handler
from core.calls.capture.log import CallLog
from core.calls.context import THREAD_KEY, CallContext, attribute_calls
from core.calls.panels.rollups import find_disagreements
from core.calls.proof.verify import verify
from core.calls.text.search import matching
from core.database import Database
from core.errors import BusyError
from core.history.messages import NewMessage
from core.ids import UserId, new_call_id
from core.skein import Skein
from core.tables import LlmCall, LlmCallBody, LlmCallDay, LlmCallHour, LogSeal
from tests.core.support import another_skein, answered, ask, wait_until

Person = Callable[..., Viewer]
ALICE = CallContext(user_id="user_1", session_id="session_1", agent_id="assistant")


@pytest.fixture
def call_log(database: Database) -> Iterator[CallLog]:
    call_log = CallLog(database, said=lambda _db, _thread: [], bound=20)
    yield call_log
    call_log.close()


class Held(FakeListChatModel):
    """A model that answers when it is let go."""

    gate: threading.Event
    entered: threading.Event

    def _call(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: object,
    ) -> str:
        self.entered.set()
        assert self.gate.wait(20)
        return "let go"


def call_once(text: str = "hello") -> None:
    with attribute_calls(ALICE):
        FakeListChatModel(responses=["well"]).invoke(text)


def read_calls(database: Database) -> list[LlmCall]:
    with database.read() as db:
        return list(db.exec(select(LlmCall).order_by(col(LlmCall.call_id))))


def counted(database: Database) -> tuple[int, int, int]:
    """How many calls the rows, and either rollup, say there are."""
    with database.read() as db:
        return (
            db.exec(select(func.count()).select_from(LlmCall).where(LlmCall.status != "started")).one(),
            int(db.exec(select(func.coalesce(func.sum(LlmCallHour.calls), 0))).one()),
            int(db.exec(select(func.coalesce(func.sum(LlmCallDay.calls), 0))).one()),
        )


def assert_whole(database: Database, calls: int) -> None:
    """So many calls have ended, each counted once and sealed once."""
    assert counted(database) == (calls, calls, calls)
    with database.read() as db:
        assert find_disagreements(db) == []
    verdict = verify(database)
    assert (verdict.problem, verdict.calls) == ("", calls)


class Broken:
    """Makes every write to a database fail while it is switched on, as a full disk does."""

    def __init__(self, database: Database) -> None:
        self.on = False
        event.listen(database._writing, "before_cursor_execute", self._fail)

    def _fail(self, *_: object) -> None:
        if self.on:
            raise OperationalError("INSERT", {}, Exception("database or disk is full"))


class TestWriting:
    def test_a_call_that_has_begun_is_durable_within_a_quarter_of_a_second(
        self, database: Database, call_log: CallLog
    ) -> None:
        model = Held(responses=["x"], gate=threading.Event(), entered=threading.Event())
        thread = threading.Thread(target=model.invoke, args=("hello",))
        thread.start()
        assert model.entered.wait(5)
        wait_until(lambda: [call.status for call in read_calls(database)] == ["started"], seconds=2)
        with database.read() as db:
            assert "hello" in (db.exec(select(LlmCallBody)).one().prompt or "")
        model.gate.set()
        thread.join()
        assert call_log.flush()
        assert [call.status for call in read_calls(database)] == ["ok"]
        assert_whole(database, 1)

    def test_calls_that_began_and_ended_in_one_batch_are_rows_once(
        self, database: Database, call_log: CallLog
    ) -> None:
        for number in range(300):
            call_once(f"number {number}")
        assert call_log.flush()
        assert_whole(database, 300)
        with database.read() as db:
            assert db.exec(select(func.count()).select_from(LlmCallBody)).one() == 300
            assert db.exec(select(func.count()).select_from(LogSeal)).one() < 100

    def test_an_error_of_the_model_is_a_row_with_its_class(self, database: Database, call_log: CallLog) -> None:
        with pytest.raises(IndexError):
            FakeListChatModel(responses=[]).invoke("hello")
        assert call_log.flush()
        [call] = read_calls(database)
        assert (call.status, call.error_type) == ("error", "IndexError")

    def test_a_call_of_a_strange_make_is_kept_without_its_text(
        self, database: Database, call_log: CallLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from core.calls.capture import rows

        real = rows.start_body

        def start_body(call: object) -> dict[str, object]:
            if "strange" in repr(call.prompt):  # type: ignore[attr-defined]
                raise TypeError("cannot be written")
            return real(call)  # type: ignore[arg-type]

        monkeypatch.setattr(rows, "start_body", start_body)
        for text in ("one", "strange", "two"):
            call_once(text)
        assert call_log.flush()
        assert_whole(database, 3)
        assert [call.tags for call in read_calls(database)].count(["skein:reduced"]) == 1


class TestWhenCallsNeverPause:
    """What the writer does beside writing goes by the clock, and waits for no quiet moment."""

    @pytest.fixture
    def busy(self, call_log: CallLog) -> Iterator[None]:
        over = threading.Event()

        def call_on() -> None:
            while not over.is_set():
                if len(call_log._queue) < 300:
                    call_once("and another")
                else:
                    over.wait(0.001)

        thread = threading.Thread(target=call_on)
        thread.start()
        yield
        over.set()
        thread.join()

    def test_calls_are_indexed_all_the_same(self, database: Database, call_log: CallLog, busy: None) -> None:
        call_once("a quince among them")

        def is_found() -> bool:
            with database.read() as db:
                return matching(Viewer(UserId("user_1"), "alice"), db, "quince") != []

        wait_until(is_found)

    def test_what_a_run_left_open_is_ended_all_the_same(
        self, database: Database, call_log: CallLog, busy: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("core.calls.capture.log._GRACE_ON_LOOP", 0.1)
        call_log.begin_run(CallContext(user_id="user_1", session_id="session_1", thread_id="thread_1"))
        handler.on_chat_model_start(
            {}, [[HumanMessage("given up")]], run_id=uuid4(), metadata={THREAD_KEY: "thread_1"}
        )
        call_log.end_run("thread_1", "done")
        wait_until(lambda: [c.status for c in read_calls(database) if c.thread_id == "thread_1"] == ["cancelled"])


class Odd(BaseModel):
    """An answer's form that no JSON schema can tell."""

    model_config = {"arbitrary_types_allowed": True}
    lock: Callable[[], None]


class _Unstorable:
    """A value that cannot even be shown as text."""

    def __str__(self) -> str:
        raise ValueError("no text")


class TestACallThatCannotBeStoredAsItIs:
    def test_keeps_its_start_and_the_chain_holds(self, database: Database, call_log: CallLog) -> None:
        model = Held(responses=["x"], gate=threading.Event(), entered=threading.Event())
        thread = threading.Thread(target=model.invoke, args=("what was asked",))
        thread.start()
        wait_until(lambda: [call.status for call in read_calls(database)] == ["started"])
        [(observed, _)] = handler._open.values()
        observed.overheard = _Unstorable()  # type: ignore[assignment]
        model.gate.set()
        thread.join()
        assert call_log.flush()
        [call] = read_calls(database)
        assert (call.status, call.request_id) == ("ok", None)
        with database.read() as db:
            assert "what was asked" in (db.exec(select(LlmCallBody)).one().prompt or "")
        assert verify(database).problem == ""

    @pytest.mark.parametrize(
        "params",
        [
            {"response_format": Odd},
            {"response_format": {("a", "b"): 1}},
            {"temperature": 10**400},
            {"tools": [{("odd",): 1}]},
            {"tools": [threading.Lock()]},
        ],
    )
    def test_whatever_its_parameters_are_is_logged(
        self, database: Database, call_log: CallLog, params: dict[str, object]
    ) -> None:
        run_id = uuid4()
        handler.on_chat_model_start({}, [[HumanMessage("hello")]], run_id=run_id, invocation_params=params)
        handler.on_llm_error(ValueError("x"), run_id=run_id)
        assert call_log.flush()
        assert [call.status for call in read_calls(database)] == ["error"]
        assert_whole(database, 1)

    def test_with_names_too_long_for_an_index_does_not_hold_up_the_others(
        self, database: Database, call_log: CallLog
    ) -> None:
        run_id, model = uuid4(), "".join(chr(0x20000 + number * 7) for number in range(600))
        error = type("E" * 900, (Exception,), {})("x")
        handler.on_chat_model_start(
            {}, [[HumanMessage("hello")]], run_id=run_id, invocation_params={"model": model}
        )
        handler.on_llm_error(error, run_id=run_id)
        call_once("an ordinary one")
        assert call_log.flush()
        assert_whole(database, 2)


class TestAWriterThatFails:
    def test_never_breaks_a_call_and_writes_all_when_it_can_again(
        self, database: Database, call_log: CallLog
    ) -> None:
        broken = Broken(database)
        broken.on = True
        for number in range(5):
            call_once(f"number {number}")
        wait_until(lambda: call_log.state().problem is not None)
        state = call_log.state()
        assert state.pending > 0
        assert "disk is full" in (state.problem or "")
        broken.on = False
        assert call_log.flush()
        assert (call_log.state().pending, call_log.state().problem) == (0, None)
        assert_whole(database, 5)

    def test_lets_no_new_run_begin_when_too_much_waits(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        opened.call_log._bound = 4
        broken = Broken(opened.database)
        opened.call_log.require_room()
        broken.on = True
        for number in range(4):
            call_once(f"number {number}")
        with pytest.raises(BusyError, match="call log cannot be written"):
            opened.engine.start(alice, NewMessage("hello"))
        broken.on = False
        assert opened.call_log.flush()
        assert answered(opened, alice, ask(opened, alice, "hello").thread_id).status == "done"

    def test_writes_nothing_twice_when_nobody_knows_how_a_commit_went(
        self, database: Database, call_log: CallLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real, failed = database.write, []

        def write(job: Callable[[Db], object]) -> object:
            value = real(job)
            if not failed:
                failed.append(True)
                raise OperationalError("COMMIT", {}, Exception("server closed the connection"))
            return value

        monkeypatch.setattr(database, "write", write)
        for number in range(3):
            call_once(f"number {number}")
        assert call_log.flush()
        assert failed == [True]
        assert_whole(database, 3)


class TestCallsOfDeadProcesses:
    def test_are_lost_with_what_was_streamed(self, opened: Skein, person: Person, tmp_path: Path) -> None:
        alice = person("alice")
        turn = answered(opened, alice, ask(opened, alice, "hello").thread_id)
        assert opened.call_log.flush()
        [call] = read_calls(opened.database)

        def die(db: Db) -> None:
            """Put back what a process that was killed in the middle of this call would have left."""
            row = db.get_one(LlmCall, call.call_id)
            copy = LlmCall(**{**row.model_dump(), "call_id": new_call_id(), "run_id": str(uuid4())})
            copy.status, copy.ended_at, copy.body_hash, copy.cost_usd = "started", None, None, None
            body = db.get_one(LlmCallBody, call.call_id)
            db.add(copy)
            db.add(LlmCallBody(call_id=copy.call_id, prompt=body.prompt, salt="salt"))

        opened.database.write(die)
        opened.call_log.settle([turn.thread_id])
        assert opened.call_log.flush()
        lost = read_calls(opened.database)[-1]
        assert (lost.status, lost.usage_source, lost.user_id) == ("lost", "estimated", alice.user_id)
        with opened.database.read() as db:
            response = json.loads(db.get_one(LlmCallBody, lost.call_id).response or "[]")
        assert [message["content"] for message in response] == [turn.answer]
        assert_whole(opened.database, 2)

    def test_are_not_taken_from_a_process_that_is_still_at_them(
        self, database: Database, call_log: CallLog
    ) -> None:
        model = Held(responses=["x"], gate=threading.Event(), entered=threading.Event())
        thread = threading.Thread(target=model.invoke, args=("hello",))
        thread.start()
        wait_until(lambda: [call.status for call in read_calls(database)] == ["started"])
        call_log.settle(["thread_of_somebody"])
        assert call_log.flush()
        assert [call.status for call in read_calls(database)] == ["started"]
        model.gate.set()
        thread.join()
        assert call_log.flush()
        assert_whole(database, 1)


class TestTwoSkeinsInOneProcess:
    def test_have_each_the_calls_of_their_own_runs(self, opened: Skein, person: Person) -> None:
        alice = person("alice")
        with another_skein(opened.settings) as second:
            first_turn = answered(opened, alice, ask(opened, alice, "one").thread_id)
            second_turn = answered(second, alice, ask(second, alice, "two").thread_id)
            assert opened.call_log.flush()
            assert second.call_log.flush()
        calls = read_calls(opened.database)
        assert [call.thread_id for call in calls] == [first_turn.thread_id, second_turn.thread_id]
        assert_whole(opened.database, 2)


def test_closing_ends_what_is_open(database: Database) -> None:
    call_log = CallLog(database, said=lambda _db, _thread: [])
    run_id = uuid4()
    handler.on_chat_model_start({}, [[HumanMessage("hello")]], run_id=run_id)
    call_log.close()
    assert [call.status for call in read_calls(database)] == ["lost"]
    assert_whole(database, 1)
