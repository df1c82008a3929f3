"""What a thread starts from: which messages the state does not have yet, and how much of its answer was seen.

Invariant: what the model is given agrees with what people saw, also below a run that was stopped, failed or
lost: the words that were seen then stand in the state as an AI message marked as interrupted.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage
from sqlmodel import Session as Db

from core.history.turns import ThreadKind, Turn
from core.runs.events import answer_text
from core.runs.store import read_events
from core.tables import Thread, clean_text

INTERRUPTED = "[interrupted]"
# What may have begun in the middle of a run.
_GO_ON = (ThreadKind.FORK, ThreadKind.RETRY)


def as_messages(turns: Sequence[Turn]) -> list[AnyMessage]:
    """Turns as the messages a model expects; one without a finished answer says that it was interrupted."""
    return [message for turn in turns for message in (_human(turn), _answer(turn))]


def missing_messages(
    state: Sequence[BaseMessage], base: Turn, *, resumed: bool, after: Sequence[Turn]
) -> list[AnyMessage]:
    """What to add to the state of ``base``'s newest checkpoint, so that it has all that was said up to ``after``.

    ``resumed``: base was a retry that went on from another thread's checkpoint, so that its own message stands
    in the state under that thread's id. ``after`` are turns below base that left no checkpoint of their own.
    """
    place = _place_of(state, base, resumed=resumed)
    if place is None:
        return as_messages([base, *after])
    said = state[place + 1 :]
    unsaid = _unsaid(said, base.answer)
    if _is_closed(said) and unsaid in {"", base.answer.strip()}:
        return as_messages(after)
    return [*_closing(said), _answer(replace(base, answer=unsaid)), *as_messages(after)]


def read_seen(db: Db, thread_id: str, checkpoint_id: str) -> str:
    """The part of a thread's answer that people had seen when a checkpoint was made.

    Of a state that the thread was given its source's log tells. Where none does (the source was purged, or the
    process killed before it wrote that down) it is what the thread's own log has before any later checkpoint.
    """
    teller = db.get(Thread, thread_id)
    while teller is not None:
        seen, is_told = _seen_until(db, teller.thread_id, lambda own: own == checkpoint_id)
        if is_told:
            return seen
        source = teller.parent_thread_id if teller.kind in _GO_ON else None
        teller = db.get(Thread, source) if source else None
    return _seen_until(db, thread_id, lambda own: own > checkpoint_id)[0]


def _seen_until(db: Db, thread_id: str, is_it: Callable[[str], bool]) -> tuple[str, bool]:
    """The answer up to the first checkpoint that it is, or else all of it, and whether there is one."""
    events = read_events(db, thread_id)
    for place, event in enumerate(events):
        if event.kind == "state" and is_it(event.payload.get("checkpoint_id") or ""):
            return answer_text(events[:place]), True
    return answer_text(events), False


def _place_of(state: Sequence[BaseMessage], turn: Turn, *, resumed: bool) -> int | None:
    humans = [place for place, message in enumerate(state) if isinstance(message, HumanMessage)]
    own = [place for place in humans if state[place].id == turn.message_id]
    if own:
        return own[-1]
    return humans[-1] if resumed and humans else None


def _is_closed(said: Sequence[BaseMessage]) -> bool:
    """Whether an answer stands at the end of what followed a message."""
    last = said[-1] if said else None
    return isinstance(last, AIMessage) and bool(last.text) and not last.tool_calls


def _unsaid(said: Sequence[BaseMessage], answer: str) -> str:
    """What people saw of an answer beyond the messages that stand in the state already."""
    rest = answer.strip()
    for message in said:
        if isinstance(message, AIMessage):
            rest = rest.removeprefix(clean_text(message.text).strip()).strip()
    return rest


def _closing(said: Sequence[BaseMessage]) -> list[AnyMessage]:
    """A result for each tool call that never got one: models refuse a call that is left open."""
    answered = {message.tool_call_id for message in said if isinstance(message, ToolMessage)}
    calls = [call for message in said if isinstance(message, AIMessage) for call in message.tool_calls]
    return [
        ToolMessage(INTERRUPTED, tool_call_id=call["id"] or "", name=call["name"], status="error")
        for call in calls
        if call["id"] not in answered
    ]


def _human(turn: Turn) -> HumanMessage:
    return HumanMessage(turn.content, id=turn.message_id)


def _answer(turn: Turn) -> AIMessage:
    if turn.status == "done":
        return AIMessage(turn.answer, id=f"{turn.message_id}.answer")
    text = f"{turn.answer}\n\n{INTERRUPTED}" if turn.answer else INTERRUPTED
    return AIMessage(text, id=f"{turn.message_id}.interrupted", additional_kwargs={"interrupted": turn.status})
