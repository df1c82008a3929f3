"""What happens in a run, as a few plain kinds of event, and how they are kept in ``run_event``.

Invariant: an event's ``seq`` is its place in the log, from 1, without gaps; it is the same live and stored, so
that "give me all after n" means the same wherever it is asked.

    token      a piece of the answer            payload: the text
    aside      a piece of another node's text   payload: the text
    node       a node began or ended            payload: phase, task, ns; at its end ms, error
    tool       a tool call began or ended       payload: phase, id, args | result | error, ms
    progress   what a node reported itself      payload: whatever it wrote
    state      a checkpoint was made            payload: checkpoint_id, ns, step, next
    waiting    the run waits for a person       payload: interrupts
    error      the run failed                   payload: type, message
    end        the run is over                  payload: status, finish_reason, usage, model
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json, to_jsonable_python

from core.tables import clean_text

EventKind = Literal["token", "aside", "node", "tool", "progress", "state", "waiting", "error", "end"]
TEXT_KINDS = frozenset({"token", "aside"})
LONGEST_TEXT_ROW = 500
LARGEST_PAYLOAD = 50_000
TOO_LARGE = "too_large"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened: ``seq`` from 1, ``at_ms`` since the run began, and what it was."""

    seq: int
    at_ms: int
    kind: EventKind
    node: str | None
    payload: Any


def pack(thread_id: str, events: Sequence[Event]) -> list[dict[str, Any]]:
    """Rows for ``run_event``: neighbouring pieces of one node's text share a row of ``[[ms, text], ...]``."""
    rows: list[dict[str, Any]] = []
    for event in events:
        if event.kind in TEXT_KINDS:
            piece = [event.at_ms, event.payload]
            last = rows[-1] if rows else None
            if _shares(last, event):
                last["payload"].append(piece)  # type: ignore[index]
                continue
            rows.append(_row(thread_id, event, [piece]))
        else:
            rows.append(_row(thread_id, event, event.payload))
    return rows


def expand(rows: Iterable[Any]) -> Iterator[Event]:
    """The events of stored rows (with seq, at_ms, kind, node, payload), one for each piece of text again."""
    for row in rows:
        if row.kind in TEXT_KINDS:
            for offset, (at_ms, text) in enumerate(row.payload):
                yield Event(row.seq + offset, at_ms, row.kind, row.node, text)
        else:
            yield Event(row.seq, row.at_ms, row.kind, row.node, row.payload)


def answer_text(events: Iterable[Event]) -> str:
    """The answer, as its tokens make it up."""
    return "".join(event.payload for event in events if event.kind == "token")


def plain(value: Any) -> Any:
    """The value as plain JSON data, whatever it was; one that is too large is named by its size instead."""
    try:
        data = _clean(
            to_jsonable_python(
                value, fallback=repr, serialize_unknown=True, inf_nan_mode="null", bytes_mode="base64"
            )
        )
        size = len(to_json(data))
    except (ValueError, TypeError, RecursionError) as error:
        return {"unreadable": f"{type(value).__name__} cannot be shown ({type(error).__name__})"}
    if size > LARGEST_PAYLOAD:
        return {TOO_LARGE: f"{size:,} bytes; look at the checkpoint instead"}
    return data


def plain_state(values: Any) -> Any:
    """A state as plain data, key by key, so that one that is too large does not hide the others."""
    return (
        {clean_text(str(name)): plain(value) for name, value in values.items()}
        if isinstance(values, dict)
        else plain(values)
    )


def is_too_large(data: Any) -> bool:
    """Whether this stands for a value that was too large to be shown."""
    return isinstance(data, dict) and data.keys() == {TOO_LARGE}


def _clean(data: Any) -> Any:
    """Plain data without the characters that no database can hold, in texts and in names alike."""
    if isinstance(data, str):
        return clean_text(data)
    if isinstance(data, dict):
        return {clean_text(str(name)): _clean(value) for name, value in data.items()}
    return [_clean(item) for item in data] if isinstance(data, list) else data


def _shares(row: dict[str, Any] | None, event: Event) -> bool:
    return (
        row is not None
        and row["kind"] == event.kind
        and row["node"] == event.node
        and len(row["payload"]) < LONGEST_TEXT_ROW
        and row["seq"] + len(row["payload"]) == event.seq
    )


def _row(thread_id: str, event: Event, payload: Any) -> dict[str, Any]:
    return {
        "thread_id": thread_id,
        "seq": event.seq,
        "at_ms": event.at_ms,
        "kind": event.kind,
        "node": event.node,
        "payload": payload,
    }
