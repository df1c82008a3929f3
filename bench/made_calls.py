"""A realistic call log of any size: people, sessions, turns and calls, counted by the real rollups.

Ninety days of office hours, 200 people of whom few do most (Zipf), about 30 calls per session and 4 per turn, four
agents, six models, 2% errors, lognormal times, short English and Chinese texts and some long ones. Users, sessions,
conversations, messages and threads are real rows, so that every link and label of the app works. Equal seeds make
equal logs.

    generate(database, 100_000)
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from bench.made_log import RandomLog, a_text
from core.calls.panels.rollups import count_calls
from core.calls.proof.seals import hash_body, seal
from core.database import Database, table_of
from core.tables import JsonText, LlmCall, LlmCallBody

CHUNK, SEALED = 10_000, 250
RARE = "zanzibar"


@dataclass(frozen=True)
class Made:
    """What was generated: names of people by id, and the window that holds all calls."""

    users: dict[str, str]
    since: datetime
    until: datetime


def generate(
    database: Database,
    count: int,
    *,
    days: int = 90,
    users: int = 200,
    until: datetime | None = None,
    seed: int = 1,
    bodies: bool = True,
) -> Made:
    """Write so many calls, and all that they belong to, into a migrated database."""
    until = until or datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    log = RandomLog(np.random.default_rng(seed), count, until - timedelta(days=days), days, users)
    for table, rows in log.surroundings():
        for chunk in _chunks(rows):
            _insert(database, table, chunk)
    for rows in _chunks(log.calls()):
        texts = [body_of(row) for row in rows] if bodies else []
        for row, body in zip(rows, texts, strict=False):
            row["body_hash"] = hash_body(body["salt"], body["prompt"], body["response"], body["tools"])
        _insert(database, LlmCall, rows)
        if bodies:
            _insert(database, LlmCallBody, texts)
        for start in range(0, len(rows), SEALED):
            database.write(lambda db, part=rows[start : start + SEALED]: _finish(db, part))
    return Made(dict(zip(log.user_ids, log.user_names, strict=True)), log.since, until)


def _finish(db: Any, rows: list[dict[str, Any]]) -> None:
    """What the log's writer does with a batch beside storing it."""
    seal(db, rows)
    count_calls(db, rows)


def _chunks(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    chunk: list[dict[str, Any]] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _insert(database: Database, model: Any, rows: list[dict[str, Any]]) -> None:
    table = table_of(model)
    if database.is_sqlite:
        database.write(lambda db: db.connection().execute(table.insert(), rows) and None)
    else:
        database.write(lambda db: _copy(db.connection(), table, rows))


def _copy(connection: Any, table: Any, rows: list[dict[str, Any]]) -> None:
    """PostgreSQL's own way to take many rows."""
    names = list(rows[0])
    encode = {
        name: JsonText().process_bind_param if isinstance(table.c[name].type, JsonText) else None for name in names
    }
    as_json = {name for name in names if type(rows[0][name]) in (dict, list) and encode[name] is None}
    into = f'COPY "{table.name}" ({", ".join(names)}) FROM STDIN'
    with connection.connection.cursor() as cursor, cursor.copy(into) as copy:
        for row in rows:
            copy.write_row(
                [
                    encode[name](value, connection.dialect)
                    if encode[name]
                    else json.dumps(value)
                    if name in as_json
                    else value
                    for name, value in row.items()
                ]
            )


def body_of(row: dict[str, Any]) -> dict[str, Any]:
    """What its model saw and said; one call in 10,000 speaks of Zanzibar, one in 100 is long."""
    number = int(row["run_id"][9:], 16)
    text = a_text(number, 400 if number % 100 == 0 else 14)
    if number % 10_000 == 77:
        text += f" {RARE}"
    prompt = [{"role": "user", "content": text}]
    said = None if row["status"] == "error" else [{"role": "assistant", "content": a_text(number + 3, 20)}]
    return {
        "call_id": row["call_id"],
        "prompt": json.dumps(prompt, ensure_ascii=False),
        "response": None if said is None else json.dumps(said, ensure_ascii=False),
        "tools": None,
        "salt": f"{number:032x}",
    }
