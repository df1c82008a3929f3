"""Two branches of a conversation side by side: where they part, and what each has said, taken and left since.

Invariant: both sides are told by the same rules and only from what the viewer may read; what is not known (a price,
the time of a run that goes on, a state that is not there) is never told as nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from core.access.viewer import Viewer
from core.calls.listing.sums import ThreadCalls, add_up, summarize_threads
from core.database import Database
from core.errors import BadInputError, NotFoundError
from core.history.differences import Change, Piece, state_differences, word_differences
from core.history.turns import Turn, get_path
from core.ids import MessageId
from core.runs.engine import Engine

_NOT_SHOWN = ({"too_large"}, {"unreadable"})


@dataclass(frozen=True)
class Totals:
    """What turns took in sum; ``seconds`` is that of the runs that are over.

    ``cost_usd`` is what is known to be paid: with ``unpriced`` > 0 at least that, and None when no price is known.
    """

    messages: int
    seconds: float
    calls: int
    running: int
    errors: int
    input_tokens: int
    output_tokens: int
    estimated: int
    cost_usd: float | None
    unpriced: int


@dataclass(frozen=True)
class Side:
    """One of two branches: its last turn, the turns behind the parting (none for an ancestor), and their sums."""

    head: Turn
    turns: tuple[Turn, ...]
    totals: Totals


@dataclass(frozen=True)
class Comparison:
    """Two branches from where they part: ``fork`` is the last turn they share, None when they share none.

    ``questions`` and ``answers`` are the word differences of the two heads; ``state`` is what differs between
    their newest states, None when one of them has none, or one too large to be shown.
    """

    fork: Turn | None
    one: Side
    other: Side
    questions: tuple[Piece, ...]
    answers: tuple[Piece, ...]
    state: tuple[Change, ...] | None


def compare(viewer: Viewer, one: MessageId, other: MessageId, *, database: Database, engine: Engine) -> Comparison:
    """The branches that end in these messages; BadInputError unless both are of one conversation."""
    with database.read() as db:
        path, other_path = get_path(viewer, db, one), get_path(viewer, db, other)
        head, other_head = path[-1], other_path[-1]
        if head.conversation_id != other_head.conversation_id:
            raise BadInputError("These messages are of two conversations; please choose two of the same one.")
        shared = _shared(path, other_path)
        turns, other_turns = path[shared:], other_path[shared:]
        calls = summarize_threads(viewer, db, [turn.thread_id for turn in (*turns, *other_turns)])
    return Comparison(
        path[shared - 1] if shared else None,
        Side(head, tuple(turns), total_of(turns, calls)),
        Side(other_head, tuple(other_turns), total_of(other_turns, calls)),
        tuple(word_differences(head.content, other_head.content)),
        tuple(word_differences(head.answer, other_head.answer)),
        _compare_states(viewer, engine, head, other_head),
    )


def total_of(turns: Sequence[Turn], calls: dict[str, ThreadCalls]) -> Totals:
    """What these turns took, from the calls by thread."""
    found = add_up(calls[turn.thread_id] for turn in turns if turn.thread_id in calls)
    is_known = found.calls == 0 or found.calls > found.unpriced + found.running
    return Totals(
        messages=len(turns),
        seconds=sum((t.ended_at - t.started_at).total_seconds() for t in turns if t.started_at and t.ended_at),
        calls=found.calls,
        running=found.running,
        errors=found.errors,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        estimated=found.estimated,
        cost_usd=found.cost_usd if is_known else None,
        unpriced=found.unpriced,
    )


def _shared(path: Sequence[Turn], other: Sequence[Turn]) -> int:
    pairs = zip(path, other, strict=False)
    return len(list(takewhile(lambda pair: pair[0].message_id == pair[1].message_id, pairs)))


def _compare_states(viewer: Viewer, engine: Engine, head: Turn, other: Turn) -> tuple[Change, ...] | None:
    state = _newest_state(viewer, engine, head)
    newest = state if head.thread_id == other.thread_id else _newest_state(viewer, engine, other)
    return None if state is None or newest is None else tuple(state_differences(state, newest))


def _newest_state(viewer: Viewer, engine: Engine, turn: Turn) -> Any:
    """The values of a thread's last checkpoint; None without one, or where they cannot be shown."""
    try:
        values = engine.get_state(viewer, turn.thread_id).values
    except (BadInputError, NotFoundError):  # it left none, or its agent is no longer there to read it
        return None
    return None if isinstance(values, dict) and values.keys() in _NOT_SHOWN else values
