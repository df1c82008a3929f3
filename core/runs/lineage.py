"""What a thread starts from: whose checkpoint, and which messages the state does not have yet.

Invariant: what the model is given agrees with what people saw, also below a run that was stopped, failed or
lost: the words that were seen then stand in the state as an AI message marked as interrupted.
"""

from collections.abc import Sequence
from dataclasses import replace

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolMessage

from core.history.turns import Turn
from core.tables import clean_text

INTERRUPTED = "[interrupted]"


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


def said_since(state: Sequence[BaseMessage]) -> tuple[str, ...]:
    """What has been said since the last message of a person."""
    humans = [place for place, message in enumerate(state) if isinstance(message, HumanMessage)]
    since = state[humans[-1] + 1 :] if humans else []
    return tuple(message.text for message in since if isinstance(message, AIMessage) and message.text)


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
