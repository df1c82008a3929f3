"""What a thread starts from: which messages the state does not have yet, and how much of its answer was seen.

Invariant: what the model is given agrees with what people saw, also below a run that was stopped, failed or
lost: the words that were seen then stand in the state as an AI message marked as interrupted.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, BaseMessage, HumanMessage, ToolCall, ToolMessage
from langgraph.pregel import Pregel
from langgraph.types import StateSnapshot
from sqlmodel import Session as Db

from core.history.turns import ThreadKind, Turn
from core.runs.events import Event, answer_text
from core.runs.store import read_events
from core.tables import Thread, clean_text

Graph = Pregel[Any, Any, Any, Any]
INTERRUPTED = "[interrupted]"
# What may have begun in the middle of a run.
_GO_ON = (ThreadKind.FORK, ThreadKind.RETRY)


def as_messages(turns: Sequence[Turn]) -> list[AnyMessage]:
    """Turns as the messages a model expects; one without a finished answer says that it was interrupted."""
    return [message for turn in turns for message in (_human(turn), _answer(turn))]


def missing_messages(
    state: Sequence[BaseMessage],
    base: Turn,
    *,
    resumed: bool,
    after: Sequence[Turn],
    nested: Sequence[BaseMessage] = (),
    results: Mapping[str, ToolMessage] = MappingProxyType({}),
    is_taken_up: bool = False,
) -> list[AnyMessage]:
    """What to add to the state of ``base``'s newest checkpoint, so that it has all that was said up to ``after``.

    ``resumed``: base was a retry that went on from another thread's checkpoint, so that its own message stands
    in the state under that thread's id. ``after`` are turns below base that left no checkpoint of their own.
    ``nested`` are messages of subgraphs that did not come to an end, ``results`` what finished tools gave, by
    call. ``is_taken_up``: the graph has seen base's message, also where it stands in the state no more.
    """
    place = _place_of(state, base, resumed=resumed)
    if place is None and not is_taken_up:
        return [*_closing(state, results), *as_messages([base, *after])]
    said = [*(_since_a_person(state) if place is None else state[place + 1 :]), *nested]
    unsaid = _unsaid(said, base.answer)
    if _is_closed(said) and unsaid in {"", base.answer.strip()}:
        return [*_closed(nested, results), *as_messages(after)]
    return [
        *_closing(state, results),
        *_closed(nested, results),
        _answer(replace(base, answer=unsaid)),
        *as_messages(after),
    ]


def nested_messages(graph: Graph, state: StateSnapshot, key: str) -> list[BaseMessage]:
    """The messages that subgraphs at work would have given to the graph above them, had they come to an end."""
    known = {message.id for message in messages_of(state, key)}
    subgraphs = dict(graph.get_subgraphs())
    found: list[BaseMessage] = []
    for task in state.tasks:
        subgraph = subgraphs.get(task.name)
        if not isinstance(task.state, StateSnapshot) or not isinstance(subgraph, Pregel):
            continue
        output = subgraph.output_channels
        if key not in ([output] if isinstance(output, str) else output):
            continue
        found += [message for message in messages_of(task.state, key) if message.id not in known]
        found += nested_messages(subgraph, task.state, key)
    return found


def read_results(db: Db, thread_id: str) -> dict[str, ToolMessage]:
    """What the tools that finished in a thread gave, by call, also before the point that it went on from."""
    results: dict[str, ToolMessage] = {}
    teller = db.get(Thread, thread_id)
    while teller is not None:
        for event in read_events(db, teller.thread_id):
            if event.kind != "tool" or event.payload["phase"] != "end" or "waits" in event.payload:
                continue
            call_id, failed = event.payload.get("call_id"), "error" in event.payload
            text = event.payload.get("error" if failed else "result") or ""
            if call_id and call_id not in results:
                status = "error" if failed else "success"
                results[call_id] = ToolMessage(text, tool_call_id=call_id, name=event.node, status=status)
        source = teller.parent_thread_id if teller.kind in _GO_ON else None
        teller = db.get(Thread, source) if source else None
    return results


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


def read_kept(db: Db, thread_id: str, checkpoint_id: str) -> str:
    """The part of a thread's answer that goes on with its newest checkpoint, the thread's own, of this id.

    That is what people had seen until then, and what was said since by nodes that came to their end: in subgraphs
    at work, and beside what failed. They do not run again.
    """
    seen = read_seen(db, thread_id, checkpoint_id)
    events = read_events(db, thread_id)
    places = [
        place
        for place, event in enumerate(events)
        if event.kind == "state" and event.payload.get("checkpoint_id") == checkpoint_id
    ]
    since = events[places[-1] :] if places else []
    finished: set[str | None] = set()
    kept: list[Event] = []
    for event in reversed(since):
        if event.kind == "node":
            # From its end back to its begin, all that the node said is of a task that came to its end.
            if event.payload["phase"] == "end" and not {"error", "waits"} & set(event.payload):
                finished.add(event.node)
            else:
                finished.discard(event.node)
        elif event.kind == "token" and event.node in finished:
            kept.append(event)
    added = answer_text(kept[::-1])
    return seen + added if seen else added.lstrip()


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


def _since_a_person(state: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """What followed the last message of a person; all there is where a summary has taken that away."""
    humans = [place for place, message in enumerate(state) if isinstance(message, HumanMessage)]
    return state[humans[-1] + 1 :] if humans else state


def messages_of(state: StateSnapshot, key: str) -> list[BaseMessage]:
    """The messages in a state, whatever class that is."""
    values = state.values.get(key) if isinstance(state.values, Mapping) else getattr(state.values, key, None)
    return [one for one in values if isinstance(one, BaseMessage)] if isinstance(values, (list, tuple)) else []


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


def _closing(state: Sequence[BaseMessage], results: Mapping[str, ToolMessage]) -> list[AnyMessage]:
    """What to add to a state so that no call is left open, which models refuse.

    Results belong right behind their call: where that is not the end of the state any more, the message is given
    once more, without the call, and takes its own place.
    """
    others = [place for place, message in enumerate(state) if not isinstance(message, ToolMessage)]
    closing: list[AnyMessage] = []
    for message, calls in _open_calls(state):
        if others and state[others[-1]] is message:
            closing += [_result_of(call, results) for call in calls]
        else:
            closing.append(_without(message, calls))
    return closing


def _closed(messages: Sequence[BaseMessage], results: Mapping[str, ToolMessage]) -> list[AnyMessage]:
    """The messages with a result behind each call."""
    left = {id(message): calls for message, calls in _open_calls(messages)}
    closed: list[Any] = []
    behind: list[AnyMessage] = []
    for message in messages:
        if not isinstance(message, ToolMessage):
            closed += behind
            behind = [_result_of(call, results) for call in left.get(id(message), ())]
        closed.append(message)
    return [*closed, *behind]


def _open_calls(messages: Sequence[BaseMessage]) -> Iterator[tuple[AIMessage, list[ToolCall]]]:
    """The messages with tool calls that have no result, and which calls those are."""
    answered = {message.tool_call_id for message in messages if isinstance(message, ToolMessage)}
    for message in messages:
        if isinstance(message, AIMessage):
            calls = [call for call in message.tool_calls if call["id"] not in answered]
            if calls:
                yield message, calls


def _result_of(call: ToolCall, results: Mapping[str, ToolMessage]) -> ToolMessage:
    known = results.get(call["id"] or "")
    return known or ToolMessage(INTERRUPTED, tool_call_id=call["id"] or "", name=call["name"], status="error")


def _without(message: AIMessage, calls: Sequence[ToolCall]) -> AIMessage:
    """The message without these calls; one that says nothing else says that it was interrupted."""
    gone = {call["id"] for call in calls}
    kept = [call for call in message.tool_calls if call["id"] not in gone]
    words = message.text or ("" if kept else INTERRUPTED)
    return AIMessage(words, id=message.id, name=message.name, tool_calls=kept)


def _human(turn: Turn) -> HumanMessage:
    return HumanMessage(turn.content, id=turn.message_id)


def _answer(turn: Turn) -> AIMessage:
    if turn.status == "done":
        return AIMessage(turn.answer, id=f"{turn.message_id}.answer")
    text = f"{turn.answer}\n\n{INTERRUPTED}" if turn.answer else INTERRUPTED
    return AIMessage(text, id=f"{turn.message_id}.interrupted", additional_kwargs={"interrupted": turn.status})
