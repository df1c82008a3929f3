"""Where in other programs' databases somebody is: file, thread, graph, checkpoint and view, all in the address."""

from collections.abc import Mapping
from dataclasses import dataclass

from pages.parts.ui.address import change

MESSAGES, STATE, CHANGES, WRITES, JSON = "messages", "state", "changes", "writes", "json"
VIEWS = {
    STATE: "State",
    MESSAGES: "Messages",
    CHANGES: "What changed",
    WRITES: "Writes",
    JSON: "JSON",
}
# What goes when something before it changes: another thread has other checkpoints.
_INSIDE = {
    "file": ("q", "after", "thread", "ns", "checkpoint", "before", "view"),
    "q": ("after",),
    "thread": ("ns", "checkpoint", "before"),
    "ns": ("checkpoint", "before"),
}


@dataclass(frozen=True)
class Place:
    """``thread`` is None for the list; ``checkpoint`` is "" for the newest of the page that ``before`` begins."""

    file: str = ""
    search: str = ""
    after: str | None = None
    thread: str | None = None
    ns: str = ""
    checkpoint: str = ""
    before: str | None = None
    view: str = STATE


def read_place(query: Mapping[str, list[str]]) -> Place:
    """What an address means; an unknown view is the first."""
    found = {name: values[0] for name, values in query.items() if values}
    view = found.get("view", STATE)
    return Place(
        found.get("file", ""),
        found.get("q", ""),
        found.get("after"),
        found.get("thread"),
        found.get("ns", ""),
        found.get("checkpoint", ""),
        found.get("before"),
        view if view in VIEWS else STATE,
    )


def go(**changes: str) -> None:
    """Change the address; "" takes a parameter out, and what was inside of it goes too."""
    inside = {name for changed in changes for name in _INSIDE.get(changed, ()) if name not in changes}
    change({name: [value] if value else [] for name, value in changes.items()}, without=inside)
