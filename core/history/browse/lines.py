"""What the browse page's lists show: one value for each row, with all that its row needs."""

from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from core.history.browse.orders import Place

T = TypeVar("T")
STATUSES = ("queued", "running", "waiting", "done", "stopped", "failed", "lost")


@dataclass(frozen=True)
class Hit:
    """Where a text was found: the newest place of a row; ``excerpt`` is text in parts, each with whether it was
    looked for. ``part`` is "question" or "answer"."""

    message_id: str
    conversation_id: str
    part: str
    excerpt: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class SessionLine:
    """A session in the list.

    ``threads`` counts them by status (only those above 0); ``cost_usd`` is at least so much where ``unpriced``
    calls are more than 0; ``spark`` are messages in equal parts of its time. ``starred`` is the viewer's own,
    ``score`` the mean of all that the viewer may see (None without), ``verdict`` that of the newest review.
    """

    session_id: str
    user_id: str
    user_name: str
    title: str
    status: str
    created_at: datetime
    last_active_at: datetime
    agents: tuple[str, ...]
    models: tuple[str, ...]
    conversations: int
    messages: int
    branches: int
    threads: dict[str, int]
    calls: int
    failed_calls: int
    tokens: int
    cost_usd: float
    unpriced: int
    spark: tuple[int, ...]
    starred: bool = False
    tags: tuple[str, ...] = ()
    score: float | None = None
    verdict: str = ""
    hit: Hit | None = None


@dataclass(frozen=True)
class ConversationLine:
    """A conversation in the list; ``last_active_at`` is when something was last said in it."""

    conversation_id: str
    session_id: str
    session_title: str
    user_id: str
    user_name: str
    title: str
    created_at: datetime
    last_active_at: datetime
    messages: int
    branches: int
    threads: dict[str, int]
    tokens: int
    cost_usd: float
    unpriced: int
    hit: Hit | None = None


@dataclass(frozen=True)
class ThreadLine:
    """A thread in the list; ``excerpt`` is how its message begins. ``seconds`` is how long it ran, None before its
    end; ``cost_usd`` is at least so much where ``unpriced`` calls are more than 0."""

    thread_id: str
    message_id: str
    conversation_id: str
    session_id: str
    session_title: str
    user_id: str
    user_name: str
    agent_id: str
    model: str
    kind: str
    status: str
    error_message: str | None
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None
    excerpt: str
    calls: int
    tokens: int
    cost_usd: float
    unpriced: int
    hit: Hit | None = None


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some rows of a list; ``next`` and ``previous`` are the ``after`` of the pages beside it, None where none is.

    A page of conversations or threads may be short, or empty, and still have a ``next``: where few of many fit.
    """

    rows: list[T]
    next: str | None
    previous: str | None


@dataclass(frozen=True)
class Facets:
    """What there is to choose from: the most used first, at most 200 each; of what the viewer may see."""

    users: tuple[str, ...]
    agents: tuple[str, ...]
    models: tuple[str, ...]
    tags: tuple[str, ...]


Found = tuple[str, Place]
