"""150 runs at once over real HTTP, with refusals, cuts and stops: each call still belongs to who made it.

Every prompt carries a nonce that only one thread of one person has. Invariants held here: a row's ids are those of
its nonce; as many requests are in the log as reached the server, but for those of calls given up; nothing is left
open; only what a bare thread called lacks ids.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from sqlmodel import select

from core.access.viewer import Viewer
from core.calls.panels.rollups import find_disagreements
from core.calls.proof.verify import verify
from core.history.turns import Turn
from core.skein import Skein, open_skein
from core.tables import LlmCall, LlmCallBody
from tests.conftest import make_person
from tests.core.support import answered, ask, graph_settings, wait_for_tokens
from tests.model_server import Behaviour, ModelServer

PEOPLE, RUNS = 6, 150
AGENTS = ("callers", "assistant", "echo", "left_behind", "assistant")
NONCE = re.compile(r"nonce:\w+")
STOPPED = re.compile(r"nonce:stop\w+")


def behave(body: dict[str, Any], headers: dict[str, str]) -> Behaviour:
    """Some requests are refused once, twice or always, some answers are cut; which ones is the same each time."""
    prompt = str(body["messages"][-1]["content"])
    if STOPPED.search(prompt):
        return Behaviour(tokens=1_000, tokens_per_second=20)
    if body.get("stop") == ["refuse-me"]:
        return Behaviour(status=400, error="refused")
    tries, chance = int(headers.get("x-stainless-retry-count", 0)), crc32(prompt.encode()) % 40
    if chance == 0 and tries == 0:
        return Behaviour(status=429, retry_after=0.01)
    if chance == 1 and tries < 2:
        return Behaviour(status=500, retry_after=0.01)
    if chance == 2 and "answer" in prompt:
        return Behaviour(status=500, retry_after=0.01)
    if chance == 3:
        return Behaviour(tokens=4, cut_after=2)
    return Behaviour(tokens=2)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer(behave=behave) as server:
        yield server


@pytest.fixture
def skein(database_url: str, tmp_path: Path, server: ModelServer) -> Iterator[Skein]:
    skein = open_skein(
        graph_settings(
            tmp_path,
            database_url,
            openai_base_url=server.base_url,
            max_runs=RUNS,
            max_runs_per_user=RUNS,
            model_timeout_seconds=60,
        )
    )
    yield skein
    skein.close()


def start_all(skein: Skein, people: list[Viewer]) -> list[tuple[Viewer, Turn]]:
    started = []
    for number in range(RUNS):
        person, agent = people[number % PEOPLE], AGENTS[number % len(AGENTS)]
        stops = agent == "echo" and number % 2
        text = f"nonce:{'stop' if stops else 'run'}{number}"
        started.append((person, ask(skein, person, text, agent=agent)))
    return started


def read_rows(skein: Skein) -> list[tuple[LlmCall, str]]:
    """All calls, each with the nonce of its prompt."""
    with skein.database.read() as db:
        rows = db.exec(select(LlmCall, LlmCallBody).where(LlmCall.call_id == LlmCallBody.call_id)).all()
    return [(call, NONCE.findall(json.loads(body.prompt or "")[-1]["content"])[0]) for call, body in rows]


@pytest.mark.timeout(300)
def test_150_runs_at_once_are_attributed_each_to_its_own(skein: Skein, server: ModelServer) -> None:
    people = [make_person(skein, f"person {number}") for number in range(PEOPLE)]
    started = start_all(skein, people)
    for person, turn in started:
        if STOPPED.match(turn.content):
            wait_for_tokens(skein, person, turn.thread_id)
            skein.engine.stop(person, turn.thread_id)
    ended = {turn.content: (person, answered(skein, person, turn.thread_id)) for person, turn in started}
    assert skein.call_log.flush(60)
    rows = read_rows(skein)
    wrong = [
        (call.call_id, nonce)
        for call, nonce in rows
        if call.attributed
        and (call.user_id, call.conversation_id, call.message_id, call.thread_id)
        != (
            ended[nonce][0].user_id,
            ended[nonce][1].conversation_id,
            ended[nonce][1].message_id,
            ended[nonce][1].thread_id,
        )
    ]
    assert wrong == []
    assert all(call.session_id for call, _ in rows if call.attributed)
    assert {call.node for call, _ in rows if not call.attributed} == {None}
    bare = sum("bare" in str(request.body["messages"][-1]["content"]) for request in server.requests)
    assert sum(not call.attributed for call, _ in rows) <= bare
    tries: Counter[str] = Counter()
    for call, nonce in rows:
        tries[nonce] += call.attempt
    reached = Counter(NONCE.findall(str(request.body["messages"][-1]["content"]))[0] for request in server.requests)
    # What a run left behind may try once more after its call was given up with the run: that try is not counted.
    given_up = {nonce for call, nonce in rows if call.status == "cancelled"}
    assert tries <= reached
    assert {nonce for nonce in reached if tries[nonce] < reached[nonce]} <= given_up
    statuses = Counter(call.status for call, _ in rows)
    assert set(statuses) == {"ok", "error", "cancelled"}
    stopped = [call.status for call, nonce in rows if STOPPED.match(nonce)]
    assert stopped == ["cancelled"] * sum(turn.status == "stopped" for _, turn in ended.values())
    assert len(stopped) == RUNS / 10
    assert max(call.attempt for call, _ in rows) == 3
    with skein.database.read() as db:
        assert find_disagreements(db) == []
    verdict = verify(skein.database)
    assert (verdict.problem, verdict.calls) == ("", len(rows))
