"""What happens in a run, as a few plain kinds of event, and how they are kept in ``run_event``.

Invariant: an event's ``seq`` is its place in the log, from 1, without gaps; it is the same live and stored, so
that "give me all after n" means the same wherever it is asked.

    token      a piece of the answer            payload: the text
    aside      a piece of another node's text   payload: the text
    thought    a piece of what a model thought  payload: the text
    answer     the answer, where what streamed is not what the run came to; payload: all of its text
    node       a node began or ended            payload: phase, task, ns; at its end ms, error
    tool       a tool call, step by step        payload: phase, id, and by phase what is listed below
    progress   what a node reported itself      payload: whatever it wrote
    state      a checkpoint was made            payload: checkpoint_id, ns, step, next
    waiting    the run waits for a person       payload: interrupts
    error      the run failed                   payload: type, message
    resumed    a person has decided             payload: approval_id, decision, by, tool
    end        the run is over                  payload: status, finish_reason, usage, model

A run that waits has an ``end`` with that status; when it is resumed its log goes on behind it. ``node`` of an aside
is the node, or ``node · 2`` for the second one of that name that speaks at the same time. A tool call is told in
phases; its ``id`` is the call's own in the first two, the run's in the others, which name the call as ``call_id``:

    call       a model asks for it              name, at (how long the answer was by then)
    args       a piece of its arguments         text, as the model writes it
    start      it runs                          call_id, args, at
    end        it is over, or was never run     call_id, ms, result | error | waits, shows (see ``shows``)
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic_core import to_json, to_jsonable_python

from core.outside import clean_text, fit_data, fit_text, hide_known

EventKind = Literal[
    "token", "aside", "thought", "answer", "node", "tool", "progress", "state", "waiting", "error", "resumed", "end"
]
TEXT_KINDS = frozenset({"token", "aside", "thought"})
LONGEST_TEXT_ROW = 500
LARGEST_PAYLOAD = 50_000
TOO_LARGE = "too_large"
VOICE = " · "
# Escape sequences of terminals; then what else cannot be seen, or turns the direction of what is read.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]{0,1000}(?:\x07|\x1b\\)|[@-Z\\-_])")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


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
    """The answer, as its tokens make it up, or as it was set right at the end."""
    texts: list[str] = []
    for event in events:
        if event.kind == "token":
            texts.append(event.payload)
        elif event.kind == "answer":
            texts = [event.payload]
    return "".join(texts)


def readable(text: str, limit: int, *, of: int = 0) -> str:
    """The text, at most this long, without what a terminal or a database would stumble over; cut ones say so.

    ``of`` is how long it was before somebody else cut it.
    """
    size = max(len(text), of)
    # A secret that the cut goes through is found first, as a whole.
    text = hide_known(text[: 4 * limit])
    if size <= limit and text.isprintable():
        return text
    part = text[: 2 * limit].replace("\r\n", "\n").replace("\r", "\n")
    part = clean_text(_UNSEEN.sub("", _ESCAPES.sub("", part)))
    if size <= 2 * limit and len(part) <= limit:
        return part
    return f"{part[:limit]}… ({size:,} characters in all)"


def plain(value: Any) -> Any:
    """The value as plain JSON data, whatever it was; one that is too large is named by its size instead."""
    try:
        data = fit_data(
            to_jsonable_python(
                value, fallback=repr, serialize_unknown=True, inf_nan_mode="constants", bytes_mode="base64"
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
        {fit_text(str(name)): plain(value) for name, value in values.items()}
        if isinstance(values, dict)
        else plain(values)
    )


def is_too_large(data: Any) -> bool:
    """Whether this stands for a value that was too large to be shown."""
    return isinstance(data, dict) and data.keys() == {TOO_LARGE}


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
