"""Where in the inspector somebody is: thread, graph, checkpoint and view, all of it in the address.

Invariant: what the address says and cannot be understood costs one sentence, and the rest still holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pages.parts.ui.address import change

STATE, CHANGES, WRITES, JSON, EVENTS = "state", "changes", "writes", "json", "events"
VIEWS = {STATE: "State", CHANGES: "What changed", WRITES: "Writes", JSON: "JSON", EVENTS: "Events"}
# Not "view", by which a page's address names a view that somebody saved.
OWN = ("thread", "checkpoint", "ns", "look", "event")


@dataclass(frozen=True)
class Place:
    """``checkpoint`` is "" for the newest; ``after`` is the last event of the page before."""

    checkpoint: str = ""
    ns: str = ""
    view: str = STATE
    after: int = 0
    problems: tuple[str, ...] = ()


def read_place(query: Mapping[str, list[str]]) -> Place:
    """What an address means."""
    problems: list[str] = []
    view, after = _first(query, "look") or STATE, _first(query, "event") or "0"
    if view not in VIEWS:
        problems.append(f"The address has look={view[:40]!r}, which is not known; write one of {', '.join(VIEWS)}.")
    if not (after.isascii() and after.isdecimal() and len(after) < 10):
        problems.append(f"The address has event={after[:40]!r}, which is no number; here are the first events.")
        after = "0"
    return Place(
        checkpoint=_first(query, "checkpoint"),
        ns=_first(query, "ns"),
        view=view if view in VIEWS else STATE,
        after=int(after),
        problems=tuple(problems),
    )


def go(**changes: str) -> None:
    """Change the address; "" takes a parameter out. Another graph begins with its newest state."""
    if "ns" in changes:
        changes.setdefault("checkpoint", "")
    change({name: [value] if value else [] for name, value in changes.items()})


def open_thread(thread_id: str, checkpoint_id: str = "") -> None:
    """Look into another thread, at this state or its newest."""
    at = [checkpoint_id] if checkpoint_id else []
    change({"thread": [thread_id], "checkpoint": at}, without=OWN)


def leave() -> None:
    """Back to where one came from: the session that is open, or else the list."""
    change({}, without=OWN)


def open_session(session_id: str) -> None:
    """Leave for the session."""
    change({"session": [session_id]}, without=OWN)


def _first(query: Mapping[str, list[str]], name: str) -> str:
    return (query.get(name) or [""])[0]
