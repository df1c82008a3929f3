"""A database with so many sessions, made directly: people, sessions and what is counted of them, messages, tags.

Sessions are spread over people as they are in life: a few have thousands, most have some; most sessions are short,
a few cost much. Messages and threads have rows of their own, so that the lists of conversations and threads, and
the search, have something to look at. The same numbers give the same database.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlmodel import SQLModel

from core.database import Database, insert_rows
from core.history.browse.titles import to_title_key
from core.tables import (
    Annotation,
    Conversation,
    Message,
    Session,
    SessionFacet,
    SessionStat,
    Thread,
    User,
)

USERS = 300
DAYS = 365
AGENTS = ("assistant", "analyst", "planner", "router", "researcher", "reviewer")
MODELS = ("gpt-4o-mini", "gpt-4o", "claude-sonnet-4", "deepseek-chat", "qwen3-32b", "demo")
STATUSES = ("done", "stopped", "failed", "lost", "waiting", "queued", "running")
TAGS = ("good", "refund", "keep", "to check", "退款", "rare")
_SHARES = {"agent": (0.6, 0.2, 0.1, 0.06, 0.035, 0.005), "model": (0.45, 0.25, 0.15, 0.1, 0.045, 0.005)}
_STATUS_SHARES = (0.955, 0.02, 0.02, 0.003, 0.0018, 0.0001, 0.0001)
_TEXT = (
    "compare the cost of both branches and write a short summary of the second quarter with numbers for the board "
    "invoice refund policy delayed shipment customer asks why the report failed retry after timeout plan next week"
)
_ENGLISH = _TEXT.split()
_CHINESE = "请比较两个分支的成本和延迟然后写一份简短的总结第二季度的退款次数明显上升客户询问发货延迟的原因"
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ROWS_AT_ONCE = 5_000
Rows = Iterator[dict[str, Any]]


class MadeSessions:
    """The random choices behind a database; all arrays are in the order in which sessions were begun."""

    def __init__(self, count: int, until: datetime, seed: int = 6) -> None:
        self.count, self.random = count, np.random.default_rng(seed)
        self.start_ms = int((until - timedelta(days=DAYS)).timestamp() * 1000)
        self.user_ids = self._ids("user", np.full(USERS, self.start_ms - 1))
        self._draw_sessions()
        self._draw_messages()

    def _ids(self, kind: str, at_ms: np.ndarray) -> list[str]:
        letters = self.random.integers(0, 32, (len(at_ms), 12))
        return [
            f"{kind}_{ms:013d}_{''.join([_LETTERS[n] for n in row])}"
            for ms, row in zip(at_ms.tolist(), letters.tolist(), strict=True)
        ]

    def _draw_sessions(self) -> None:
        draw, n = self.random, self.count
        weights = 1 / np.arange(1, USERS + 1)
        self.user = draw.choice(USERS, n, p=weights / weights.sum())
        self.at_ms = np.sort(self.start_ms + (draw.random(n) * DAYS * 86_400_000).astype(np.int64))
        self.session_ids = self._ids("session", self.at_ms)
        self.agent = draw.choice(len(AGENTS), n, p=_SHARES["agent"])
        self.model = draw.choice(len(MODELS), n, p=_SHARES["model"])
        self.archived = draw.random(n) < 0.1
        self.conversations = 1 + (draw.random(n) < 0.2) + (draw.random(n) < 0.1)
        self.messages = np.minimum(draw.geometric(0.1, n), 200)
        self.tokens = (self.messages * draw.lognormal(6.6, 0.8, n)).astype(int)
        self.cost = np.where(
            self.model == 5, 0.0, self.tokens * np.array([0.3, 5, 8, 0.5, 0.2, 0])[self.model] / 1e6
        )
        self.more_ms = (draw.exponential(120_000, n) * self.messages).astype(np.int64)
        self.more_ms[draw.random(n) < 0.05] *= 300  # taken up again days later
        self.more_ms = np.minimum(self.more_ms, self.start_ms + DAYS * 86_400_000 - self.at_ms)

    def _draw_messages(self) -> None:
        draw = self.random
        self.of_session = np.repeat(np.arange(self.count), self.messages)
        self.first = np.cumsum(self.messages) - self.messages
        self.place = np.arange(len(self.of_session)) - self.first[self.of_session]
        steps = self.more_ms[self.of_session] // np.maximum(self.messages[self.of_session] - 1, 1)
        self.message_ms = self.at_ms[self.of_session] + steps * self.place
        self.message_ids = self._ids("msg", self.message_ms)
        self.status = draw.choice(len(STATUSES), len(self.of_session), p=_STATUS_SHARES)
        counts = np.zeros((self.count, len(STATUSES)), dtype=int)
        np.add.at(counts, (self.of_session, self.status), 1)
        self.threads = counts
        self.part = (self.place * self.conversations[self.of_session]) // self.messages[self.of_session]

    def tables(self) -> Iterator[tuple[type[SQLModel], Rows]]:
        """Tables and their rows, in the order in which they can be inserted."""
        yield User, self._users()
        yield Session, (self._session(n) for n in range(self.count))
        yield Conversation, (row for n in range(self.count) for row in self._conversations(n))
        yield Message, (self._message(n) for n in range(len(self.of_session)))
        yield Thread, (self._thread(n) for n in range(len(self.of_session)))
        yield SessionStat, (self._stat(n) for n in range(self.count))
        yield SessionFacet, (row for n in range(self.count) for row in self._facets(n))
        yield Annotation, (row for n in range(self.count) for row in self._annotations(n))

    def _users(self) -> Rows:
        for number, user_id in enumerate(self.user_ids):
            yield {"user_id": user_id, "name": f"person{number:03d}", "password_hash": "", "role": "member",
                   "created_at": _at(self.start_ms), "disabled_at": None}  # fmt: skip

    def _session(self, n: int) -> dict[str, Any]:
        return {"session_id": self.session_ids[n], "user_id": self.user_ids[self.user[n]], "title": self.title(n),
                "status": "archived" if self.archived[n] else "active", "template": None, "meta": {},
                "created_at": _at(self.at_ms[n]), "updated_at": _at(self.at_ms[n] + self.more_ms[n])}  # fmt: skip

    def title(self, n: int) -> str:
        return a_text(n, 4).capitalize()

    def _conversation_id(self, n: int, part: int) -> str:
        return f"conv{self.session_ids[n][7:-1]}{part}"

    def _conversations(self, n: int) -> Rows:
        for part in range(min(self.conversations[n], self.messages[n])):
            said = self.first[n] + part * self.messages[n] // self.conversations[n]
            yield {"conversation_id": self._conversation_id(n, part), "session_id": self.session_ids[n],
                   "title": a_text(n + part, 4), "created_at": _at(self.message_ms[said]),
                   "updated_at": _at(self.message_ms[said]), "deleted_at": None}  # fmt: skip

    def _message(self, n: int) -> dict[str, Any]:
        session = self.of_session[n]
        begins = n == 0 or self.of_session[n - 1] != session or self.part[n - 1] != self.part[n]
        return {"message_id": self.message_ids[n],
                "conversation_id": self._conversation_id(session, self.part[n]),
                "parent_message_id": None if begins else self.message_ids[n - 1], "content": a_text(n, 12),
                "answer": a_text(n + 5, 25), "depth": int(self.place[n]), "created_at": _at(self.message_ms[n]),
                "deleted_at": None}  # fmt: skip

    def _thread(self, n: int) -> dict[str, Any]:
        session = self.of_session[n]
        at = _at(self.message_ms[n])
        status = STATUSES[self.status[n]]
        over = status in STATUSES[:4]
        return {"thread_id": f"thread{self.message_ids[n][3:]}", "message_id": self.message_ids[n],
                "user_id": self.user_ids[self.user[session]], "kind": "first" if not self.place[n] else "continue",
                "name": "", "parent_thread_id": None, "source_checkpoint_id": None,
                "agent_id": AGENTS[self.agent[session]], "agent_version": "",
                "config": {"model": MODELS[self.model[session]]}, "status": status, "worker": None,
                "lease_epoch": 1, "lease_until": None, "error_type": None, "error_message": None,
                "finish_reason": None, "created_at": at, "started_at": at,
                "ended_at": at + timedelta(seconds=8) if over else None}  # fmt: skip

    def _stat(self, n: int) -> dict[str, Any]:
        counted = dict(zip(STATUSES, self.threads[n].tolist(), strict=True))
        messages = int(self.messages[n])
        return {"session_id": self.session_ids[n], "user_id": self.user_ids[self.user[n]],
                "status": "archived" if self.archived[n] else "active", "title": self.title(n),
                "title_key": to_title_key(self.title(n)), "created_at": _at(self.at_ms[n]),
                "last_active_at": _at(self.at_ms[n] + self.more_ms[n]), "agents": [AGENTS[self.agent[n]]],
                "models": [MODELS[self.model[n]]], "conversations": min(int(self.conversations[n]), messages),
                "messages": messages, "branches": 1 + messages // 9, **counted, "calls": messages * 2,
                "failed_calls": counted["failed"], "unpriced": 0, "tokens": int(self.tokens[n]),
                "cost_usd": float(self.cost[n]),
                "spark": [messages // 24 + (n + at) % 3 for at in range(24)]}  # fmt: skip

    def _facets(self, n: int) -> Rows:
        for kind, value in (("agent", AGENTS[self.agent[n]]), ("model", MODELS[self.model[n]])):
            yield {"kind": kind, "value": value, "session_id": self.session_ids[n]}

    def _annotations(self, n: int) -> Rows:
        """Every fifth has a tag, every 1,000th the rare one, every 50th a star, every 20th a score and a review."""
        session_id, at = self.session_ids[n], _at(self.at_ms[n])
        made = [("tag", TAGS[n // 5 % 5])] * (n % 5 == 0) + [("tag", TAGS[5])] * (n % 1000 == 3)
        made += [("star", "")] * (n % 50 == 1) + [("score", "")] * (n % 20 == 2)
        made += [("review", "good\nfine" if n % 3 else "bad\n")] * (n % 20 == 2)
        for number, (kind, content) in enumerate(made):
            yield {"annotation_id": f"note{session_id[7:-1]}{number}", "user_id": self.user_ids[0],
                   "target_id": session_id, "kind": kind, "content": content, "created_at": at, "updated_at": at,
                   "score": 1 + n % 5 if kind == "score" else None, "session_id": session_id}  # fmt: skip


def _at(ms: Any) -> datetime:
    return datetime.fromtimestamp(int(ms) // 1000, UTC) + timedelta(milliseconds=int(ms) % 1000)


def a_text(number: int, length: int) -> str:
    """English, every fourth time Chinese, with a number to tell it by."""
    if number % 4 == 0:
        start = number // 4 % len(_CHINESE)
        return (_CHINESE[start:] + _CHINESE)[: length * 3] + f"（{number}）"
    step = 1 + number % 7
    return " ".join(_ENGLISH[(number * 5 + at * step) % len(_ENGLISH)] for at in range(length)) + f" ({number})"


def generate(database: Database, count: int, until: datetime) -> None:
    """Fill an empty database; what is said waits to be indexed, nothing to be counted."""
    made = MadeSessions(count, until)
    for table, rows in made.tables():
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            database.write(_inserting(table, some))
    database.write(_forget_changes)


def _inserting(table: type[SQLModel], rows: list[dict[str, Any]]) -> Callable[[Any], None]:
    return lambda db: insert_rows(db, table, rows)


def _forget_changes(db: Any) -> None:
    db.connection().execute(text("DELETE FROM session_to_count"))
