"""Where on the Branches page somebody is: everything that its address says, read once per rerun.

Invariant: the address is the one state of the page, so that reload, Back and a shared link give the same view; a
parameter that cannot be understood costs one sentence, and the rest still holds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import streamlit as st

from core.errors import BadInputError
from core.ids import (
    BranchId,
    ConversationId,
    MessageId,
    to_branch_id,
    to_conversation_id,
    to_message_id,
)
from pages.parts.branches.tree_colours import ColourBy

TREE, LIST = "tree", "list"
VIEWS = {TREE: "Tree", LIST: "List"}
# What ``compare`` and ``checkpoint`` say before there is an id to name.
CHOOSE, LAST = "choose", "last"
T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """What the address says; ``problems`` are sentences about what in it could not be understood."""

    conversation_id: ConversationId | None = None
    branch_id: BranchId | None = None
    node: MessageId | None = None
    compare: MessageId | None = None
    is_choosing: bool = False
    checkpoint: str = ""
    colour: ColourBy = ColourBy.STATUS
    find: str = ""
    view: str = TREE
    opened: frozenset[MessageId] = frozenset()
    problems: tuple[str, ...] = ()

    @property
    def names_anything(self) -> bool:
        return bool(self.conversation_id or self.branch_id or self.node)


def read_place(query: Mapping[str, list[str]], *, view: str = TREE) -> Place:
    """What an address means; ``view`` is how the tree is shown where it does not say."""
    problems: list[str] = []
    chosen = _Chosen(query, problems)
    compare = chosen.first("compare")
    opened = (chosen.read(value, to_message_id) for value in query.get("open", []))
    return Place(
        conversation_id=chosen.an_id("conversation", to_conversation_id),
        branch_id=chosen.an_id("branch", to_branch_id),
        node=chosen.an_id("node", to_message_id),
        compare=None if compare == CHOOSE else chosen.an_id("compare", to_message_id),
        is_choosing=compare == CHOOSE,
        checkpoint=chosen.first("checkpoint"),
        colour=ColourBy(chosen.one_of("colour", [colour.value for colour in ColourBy], ColourBy.STATUS)),
        find=chosen.first("find"),
        view=chosen.one_of("view", list(VIEWS), view),
        opened=frozenset(message_id for message_id in opened if message_id),
        problems=tuple(problems),
    )


@dataclass(frozen=True)
class _Chosen:
    query: Mapping[str, list[str]]
    problems: list[str]

    def first(self, name: str) -> str:
        return (self.query.get(name) or [""])[0]

    def an_id(self, name: str, parse: Callable[[str], T]) -> T | None:
        return self.read(self.first(name), parse) if name in self.query else None

    def read(self, value: str, parse: Callable[[str], T]) -> T | None:
        try:
            return parse(value)
        except BadInputError as error:
            self.problems.append(str(error))
            return None

    def one_of(self, name: str, known: list[str], default: str) -> str:
        value = self.first(name) or default
        if value in known:
            return value
        names = ", ".join(known)
        self.problems.append(f"The address has {name}={value[:40]!r}, which is not known; write one of {names}.")
        return default


def address() -> dict[str, list[str]]:
    """The address's parameters as they are now."""
    return {name: st.query_params.get_all(name) for name in st.query_params}


def go(**changes: str | None) -> None:
    """Change the address; None takes a parameter out. Another message or branch ends the time machine."""
    if changes.keys() & {"node", "branch"} and "checkpoint" not in changes:
        changes["checkpoint"] = None
    for name, value in changes.items():
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def open_machine(checkpoint_id: str = LAST, **changes: str) -> None:
    """Open the time machine at a state, perhaps at another message."""
    go(checkpoint=checkpoint_id, **changes)


def choose(message_id: MessageId, *, is_choosing: bool) -> None:
    """Go to a message, or compare it with the one that is there."""
    if is_choosing:
        go(compare=message_id)
    else:
        go(node=message_id)


def open_run(first: MessageId) -> None:
    """Show a run of messages one by one."""
    st.query_params["open"] = [*st.query_params.get_all("open"), first]
