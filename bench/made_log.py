"""The random choices behind a generated call log, and the rows that follow from them."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.database import table_of
from core.tables import Conversation, LlmCall, Message, Session, Thread, User

CALLS_PER_SESSION = 30
CALLS_PER_TURN = 4
AGENTS = {
    "assistant": ["conversation", "summarize", "tools"],
    "researcher": ["plan", "search", "read", "report"],
    "writer": ["outline", "draft", "revise"],
    "reviewer": ["review", "score"],
}
# name: provider, dollars per million tokens in and out (None: no price), median ms, milliseconds to the first token
MODELS = {
    "gpt-4o-mini": ("openai", 0.15, 0.60, 1_400, 380),
    "gpt-4o": ("openai", 2.50, 10.0, 3_200, 520),
    "claude-sonnet-4": ("anthropic", 3.00, 15.0, 4_100, 900),
    "deepseek-chat": ("deepseek", 0.27, 1.10, 5_600, 1_100),
    "qwen3-32b-local": ("openai-compatible", None, None, 7_500, 260),
    "demo": ("skein-demo", 0.0, 0.0, 240, 15),
}
ERRORS = {
    "RateLimitError": (429, "Rate limit reached; the server asks to wait."),
    "APITimeoutError": (None, "Request timed out."),
    "InternalServerError": (500, "The server had an error."),
    "APIConnectionError": (None, "Connection error."),
    "BadRequestError": (400, "The context is longer than the model allows."),
}
TEXT = (
    "the report shows a clear rise of cost in the second quarter while latency stayed flat and errors fell after "
    "the change of the retry policy please compare both branches and write a short summary with numbers"
)
WORDS = TEXT.split()
CHINESE = "请比较两个分支的成本和延迟，然后写一份简短的总结。第二季度的调用次数明显上升，错误率下降。"
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class RandomLog:
    """The random choices behind one log; all arrays of calls are in the order of time."""

    def __init__(self, random: np.random.Generator, count: int, since: datetime, days: int, users: int) -> None:
        self.random, self.since = random, since
        self.start_ms = int(since.timestamp() * 1000)
        self.user_names = [f"person{number:03d}" for number in range(1, users + 1)]
        self.user_ids = self._ids("user", np.full(users, self.start_ms - 86_400_000))
        self._draw_sessions(max(count // CALLS_PER_SESSION, 1), days)
        self._draw_turns(max(count // CALLS_PER_TURN, 1))
        self._draw_calls(count, self.start_ms + days * 86_400_000 - 1)

    def _ids(self, kind: str, at_ms: np.ndarray) -> list[str]:
        letters = self.random.integers(0, 32, (len(at_ms), 12))
        return [
            f"{kind}_{ms:013d}_{''.join([_LETTERS[n] for n in row])}"
            for ms, row in zip(at_ms.tolist(), letters.tolist(), strict=True)
        ]

    def _draw_sessions(self, sessions: int, days: int) -> None:
        users = len(self.user_ids)
        weights = 1 / np.arange(1, users + 1)
        self.session_user = self.random.choice(users, sessions, p=weights / weights.sum())
        hours = np.arange(days * 24)
        local = (hours + int(self.since.timestamp() // 3600) + 8) % 168  # UTC+8; hour 0 of 1970 was a Thursday
        office = np.isin(local % 24, range(9, 19)) * 1.0 + 0.06
        office[np.isin((local // 24 + 3) % 7, (5, 6))] *= 0.15
        hour = self.random.choice(hours, sessions, p=office / office.sum())
        at = (hour + self.random.random(sessions)) * 3_600_000
        self.session_ms = np.sort(self.start_ms + at.astype(np.int64))
        self.session_ids = self._ids("session", self.session_ms)
        self.conversation_ids = self._ids("conv", self.session_ms)
        self.session_agent = self.random.choice(len(AGENTS), sessions, p=[0.6, 0.2, 0.12, 0.08])
        self.session_model = self.random.choice(len(MODELS), sessions, p=[0.45, 0.2, 0.15, 0.1, 0.05, 0.05])

    def _draw_turns(self, turns: int) -> None:
        self.turn_session = np.sort(self.random.integers(0, len(self.session_ids), turns))
        first = np.searchsorted(self.turn_session, np.arange(len(self.session_ids)))
        self.turn_depth = np.arange(turns) - first[self.turn_session]
        gaps = self.random.exponential(150_000, turns)
        total = np.cumsum(gaps)
        since_first = total - total[first[self.turn_session]]
        self.turn_ms = self.session_ms[self.turn_session] + since_first.astype(np.int64)
        self.message_ids = self._ids("msg", self.turn_ms)
        self.thread_ids = self._ids("thread", self.turn_ms)

    def _draw_calls(self, count: int, last_ms: int) -> None:
        turn = self.random.integers(0, len(self.turn_ms), count)
        ms = np.minimum(self.turn_ms[turn] + self.random.exponential(6_000, count).astype(np.int64), last_ms)
        order = np.argsort(ms, kind="stable")
        self.call_turn, self.call_ms = turn[order], ms[order]
        session = self.turn_session[self.call_turn]
        other = self.random.random(count) < 0.1
        model = np.where(other, 0, self.session_model[session])
        speed = np.array([[row[3], row[4]] for row in MODELS.values()])[model]
        self.call_model, self.call_agent = model.tolist(), self.session_agent[session].tolist()
        self.duration = speed[:, 0] * self.random.lognormal(0, 0.7, count)
        self.ttft = np.minimum(speed[:, 1] * self.random.lognormal(0, 0.5, count), self.duration * 0.95)
        self.tokens_in = self.random.lognormal(6.6, 0.9, count).astype(int) + 12
        self.tokens_out = self.random.lognormal(5.0, 0.8, count).astype(int) + 1
        self.cached = np.where(self.random.random(count) < 0.3, self.tokens_in * 3 // 4, 0)
        self.luck = self.random.random(count)
        self.extra = self.random.integers(0, 1 << 30, count)

    def surroundings(self) -> Iterator[tuple[Any, Iterator[dict[str, Any]]]]:
        """Tables and rows of all that calls belong to, in the order in which they can be inserted."""
        made = [_at(self.start_ms - 86_400_000)] * len(self.user_ids)
        yield (
            User,
            (
                {
                    "user_id": u,
                    "name": n,
                    "password_hash": "",
                    "role": "member",
                    "created_at": at,
                    "disabled_at": None,
                }
                for u, n, at in zip(self.user_ids, self.user_names, made, strict=True)
            ),
        )
        yield Session, (self._session(number) for number in range(len(self.session_ids)))
        yield Conversation, (self._conversation(number) for number in range(len(self.session_ids)))
        yield Message, (self._message(number) for number in range(len(self.turn_ms)))
        yield Thread, (self._thread(number) for number in range(len(self.turn_ms)))

    def _session(self, number: int) -> dict[str, Any]:
        at = _at(int(self.session_ms[number]))
        return {
            "session_id": self.session_ids[number],
            "user_id": self.user_ids[self.session_user[number]],
            "title": _words(number, 4).capitalize(),
            "status": "active",
            "template": None,
            "meta": {},
            "created_at": at,
            "updated_at": at,
        }

    def _conversation(self, number: int) -> dict[str, Any]:
        at = _at(int(self.session_ms[number]))
        return {
            "conversation_id": self.conversation_ids[number],
            "session_id": self.session_ids[number],
            "title": _words(number, 4).capitalize(),
            "created_at": at,
            "updated_at": at,
            "deleted_at": None,
        }

    def _message(self, number: int) -> dict[str, Any]:
        depth = int(self.turn_depth[number])
        return {
            "message_id": self.message_ids[number],
            "conversation_id": self.conversation_ids[self.turn_session[number]],
            "parent_message_id": self.message_ids[number - 1] if depth else None,
            "content": a_text(number, 12),
            "answer": a_text(number + 5, 25),
            "depth": depth,
            "created_at": _at(int(self.turn_ms[number])),
            "deleted_at": None,
        }

    def _thread(self, number: int) -> dict[str, Any]:
        session, first = self.turn_session[number], not self.turn_depth[number]
        at = _at(int(self.turn_ms[number]))
        return {
            "thread_id": self.thread_ids[number],
            "message_id": self.message_ids[number],
            "user_id": self.user_ids[self.session_user[session]],
            "kind": "first" if first else "continue",
            "name": "",
            "parent_thread_id": None if first else self.thread_ids[number - 1],
            "agent_id": list(AGENTS)[self.session_agent[session]],
            "agent_version": "",
            "config": {"model": list(MODELS)[self.session_model[session]]},
            "status": "done",
            "lease_epoch": 1,
            "created_at": at,
            "started_at": at,
            "ended_at": at + timedelta(seconds=8),
        }

    def calls(self) -> Iterator[dict[str, Any]]:
        """Rows of ``llm_call``, first to last."""
        empty = {column.name: None for column in table_of(LlmCall).columns}
        for start in range(0, len(self.call_ms), 10_000):
            ids = self._ids("call", self.call_ms[start : start + 10_000])
            for offset, call_id in enumerate(ids):
                yield {**empty, "call_id": call_id, **self._call(start + offset)}

    def _call(self, n: int) -> dict[str, Any]:
        agent = list(AGENTS)[self.call_agent[n]]
        extra, luck = int(self.extra[n]), float(self.luck[n])
        nodes = AGENTS[agent]
        duration = float(self.duration[n])
        at = _at(int(self.call_ms[n])) + timedelta(microseconds=extra % 1000)
        row = {
            "run_id": f"{extra:08x}-{n:024x}",
            "created_at": at,
            "ended_at": at + timedelta(milliseconds=duration),
            "agent_id": agent,
            "agent_key": agent,
            "node": nodes[min(int(math.log2(1 + extra % 15)), len(nodes) - 1)],
            "step": 1 + extra % 4,
            "operation": "chat",
            "temperature": 0.0,
            "params": {},
            "streamed": True,
            "status": "ok",
            "finish_reason": "stop",
            "attempt": 1,
            "queue_ms": 0.4,
            "ttft_ms": float(self.ttft[n]),
            "duration_ms": duration,
            "context_compacted": False,
            "tags": [],
            **self._money(n),
        }
        row |= (
            self._ids_of(int(self.call_turn[n]))
            if luck < 0.995
            else {"attributed": False, "agent_id": None, "agent_key": None, "node": None}
        )
        return row | self._trouble(luck, extra, row)

    def _ids_of(self, turn: int) -> dict[str, Any]:
        session = self.turn_session[turn]
        return {
            "user_id": self.user_ids[self.session_user[session]],
            "session_id": self.session_ids[session],
            "conversation_id": self.conversation_ids[session],
            "message_id": self.message_ids[turn],
            "thread_id": self.thread_ids[turn],
            "checkpoint_ns": "",
            "attributed": True,
        }

    def _money(self, n: int) -> dict[str, Any]:
        name = list(MODELS)[self.call_model[n]]
        provider, price_in, price_out = MODELS[name][:3]
        tokens_in, tokens_out, cached = int(self.tokens_in[n]), int(self.tokens_out[n]), int(self.cached[n])
        cost = None
        if price_in is not None:
            cost = ((tokens_in - cached) * price_in + cached * price_in / 4 + tokens_out * price_out) / 1e6
        return {
            "provider": provider,
            "base_url": None,
            "model": name,
            "response_model": name,
            "input_tokens": tokens_in,
            "output_tokens": tokens_out,
            "cache_read_tokens": cached,
            "reasoning_tokens": 0,
            "usage_source": "model",
            "cost_usd": cost,
            "cost_source": "unpriced" if cost is None else "own" if cost else "free",
        }

    def _trouble(self, luck: float, extra: int, row: dict[str, Any]) -> dict[str, Any]:
        """What differs in a call that did not end well: 2% errors, a few stopped by a person or lost."""
        if luck >= 0.028:
            return {}
        partial = {"usage_source": "estimated", "finish_reason": None}
        if luck >= 0.02:
            return {**partial, "status": "lost" if luck >= 0.027 else "cancelled"}
        name = list(ERRORS)[min(int(math.log2(1 + extra % 31)), len(ERRORS) - 1)]
        return {
            **dict.fromkeys(("ttft_ms", "input_tokens", "output_tokens", "cache_read_tokens", "usage_source")),
            "status": "error",
            "error_type": name,
            "http_status": ERRORS[name][0],
            "error_message": ERRORS[name][1],
            "finish_reason": None,
            "attempt": 3,
            "cost_usd": None,
            "cost_source": "unpriced",
        }


def _at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC) + timedelta(milliseconds=ms % 1000)


def _words(number: int, length: int) -> str:
    return " ".join(WORDS[(number * 7 + step * (1 + number % 5)) % len(WORDS)] for step in range(length))


def a_text(number: int, length: int) -> str:
    """English, every fourth time Chinese, with a number to tell it by."""
    if number % 4:
        return f"{_words(number, length)} ({number})"
    start = number % len(CHINESE)
    return (CHINESE[start:] + CHINESE * (length // 20))[: length * 3] + f"（{number}）"
