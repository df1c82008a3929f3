"""A conversation stays what it is said to be under any sequence of operations: a small model of the tree tells all.

The model is plain Python. It knows what the graph of ``tests/graphs/counting.py`` does, so it foresees not only the
shape of the tree and its branches, but each checkpoint of each thread, value by value.
"""

import itertools
import json
import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, text
from sqlmodel import col, func, select

from core.access.viewer import Viewer
from core.errors import BadInputError, BusyError, ConflictError, NotFoundError, SkeinError
from core.history import branches, positions, snapshots
from core.history.annotations import Mark, find_marks, set_note, set_star
from core.history.messages import Added, NewMessage, Turn, get_path, get_turn
from core.history.tree import find_siblings, get_tree
from core.records.housekeeper import Housekeeper
from core.records.purge import purge_branches
from core.runs import branching
from core.runs.branching import Variant
from core.runs.lineage import INTERRUPTED
from core.settings import Settings
from core.skein import Skein
from core.tables import Branch, Conversation, LlmCall, Message, Session, utc_now
from core.tables import Thread as ThreadRow
from tests.conftest import make_person, make_settings
from tests.core.support import ROOT, answered, ask, turn_at, wait_until
from tests.graphs import counting, showcase

Person = Callable[..., Viewer]
Pairs = tuple[tuple[str, str], ...]
AGENT, OTHER = "counting", "other"
WORDS = {
    "first": "beginning",
    "continue": "beside",
    "edit": "edit",
    "regenerate": "again",
    "retry": "retry",
    "fork": "fork",
    "fan_out": "answer",
}
_numbers = itertools.count()


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """The same graph as two agents, and one that a test can hold."""
    files = ROOT / "tests" / "graphs"
    graphs = {AGENT: "counting", OTHER: "counting", "held": "showcase"}
    variables = {AGENT: "counting", OTHER: "counting", "held": "held"}
    paths = {name: f"{files / file}.py:{variables[name]}" for name, file in graphs.items()}
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": paths}))
    return make_settings(tmp_path, database_url=database_url, langgraph_json=tmp_path / "langgraph.json")


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


# -- the model: what the graph does -------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """All values of a state; None is a key that nobody has written."""

    messages: Pairs = ()
    trail: tuple[str, ...] = ()
    count: int | None = None
    hint: str | None = None


@dataclass(frozen=True)
class Step:
    """One checkpoint: the state, which node is next, and before the first one the messages that wait to go in."""

    next: str
    state: State
    given: Pairs = ()
    checkpoint_id: str = field(default="", compare=False)

    def edited(self, edits: dict[str, Any]) -> "Step":
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in edits.items()}
        return replace(self, state=replace(self.state, **values))


def carry_out(start: Step) -> tuple[list[Step], str]:
    """The checkpoints that follow one from which the graph goes on, and how the run ends."""
    steps = [start]
    if start.next == "__start__":
        steps.append(Step("one", replace(start.state, messages=start.state.messages + start.given)))
    words = [said for kind, said in steps[-1].state.messages if kind == "human"][-1]
    what = "" if words in counting.MENDED else words.split()[0]
    if steps[-1].next == "one":
        if what == "early":
            return steps[1:], "failed"
        steps.append(Step("two", _after_one(steps[-1].state, words)))
    if what in ENDS_BEFORE_TWO:
        return steps[1:], ENDS_BEFORE_TWO[what]
    steps.append(Step("", _after_two(steps[-1].state, words)))
    return steps[1:], "done"


ENDS_BEFORE_TWO = {"late": "failed", "asks": "waiting", "hangs": "stopped"}


def _after_one(state: State, words: str) -> State:
    count, hint = (state.count or 0) + 1, f"{state.hint or ''}<{words}"
    return State((*state.messages, ("ai", f"one {count}")), (*state.trail, f"one {words}"), count, hint)


def _after_two(state: State, words: str) -> State:
    answer = f"two {list(state.trail)} {state.count} {state.hint}"
    return replace(state, messages=(*state.messages, ("ai", answer)), trail=(*state.trail, f"two {words}"))


# -- the model: a tree of messages --------------------------------------------------------------------------


@dataclass
class Said:
    """A message with its answer and its thread; ``origin`` is what it was forked from to be said below that."""

    message_id: str
    thread_id: str
    parent: str | None
    content: str
    kind: str
    name: str
    agent: str
    status: str
    answer: str
    steps: list[Step]
    source: tuple[str, str] | None
    origin: Step | None = None
    deleted: int | None = None

    @property
    def newest(self) -> Step:
        return self.steps[-1]

    @property
    def shown(self) -> Pairs:
        return (("human", self.content), ("ai", self._seen))

    @property
    def _seen(self) -> str:
        if self.status == "done":
            return self.answer
        return f"{self.answer}\n\n{INTERRUPTED}" if self.answer else INTERRUPTED

    def missing(self) -> Pairs:
        """What its newest state lacks of what people saw."""
        is_closed = self.status == "done" or self.newest.state.messages[-1][0] == "ai"
        return () if is_closed else (("ai", self._seen),)


@dataclass
class Line:
    """A branch."""

    branch_id: str
    name: str
    head: str
    archived: bool = False
    deleted: int | None = None


@dataclass
class Reference:
    """A conversation as it ought to be."""

    said: dict[str, Said] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    snapshots: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    looked_at: str | None = None
    calls: int = 0

    @property
    def present(self) -> list[Said]:
        return [self.said[key] for key in sorted(self.said) if self.said[key].deleted is None]

    @property
    def kept(self) -> list[Line]:
        return [self.lines[key] for key in sorted(self.lines) if self.lines[key].deleted is None]

    def below(self, parent: str | None) -> list[str]:
        return [one.message_id for one in self.present if one.parent == parent]

    def path(self, message_id: str | None) -> list[Said]:
        path: list[Said] = []
        while message_id is not None:
            path.append(self.said[message_id])
            message_id = path[-1].parent
        return path[::-1]

    def begin_under(self, parent: str | None, agent: str) -> tuple[Step | None, str | None, Pairs]:
        """The checkpoint to start below a message from, whose that is, and what is to be said on top of it."""
        path = self.path(parent)
        for place in range(len(path) - 1, -1, -1):
            if path[place].agent == agent:
                after = [pair for one in path[place + 1 :] for pair in one.shown]
                return path[place].newest, path[place].thread_id, (*path[place].missing(), *after)
        return None, None, tuple(pair for one in path for pair in one.shown)

    def free_name(self, wanted: str, first: int = 1) -> str:
        taken = {line.name for line in self.kept}
        names = (wanted if number == 1 else f"{wanted} {number}" for number in itertools.count(first))
        return next(name for name in names if name not in taken)

    def put_on_a_branch(self, new: Said, branch_id: str, wanted: str | None) -> None:
        """The branch goes on to the message, if it is one that may; otherwise it has to be a new one."""
        at_head = [line for line in self.kept if line.head == new.parent]
        if new.kind == "continue" and at_head:
            goes_on = min(at_head, key=lambda line: (line.branch_id != wanted, line.archived, line.branch_id))
            assert branch_id == goes_on.branch_id
            goes_on.head, goes_on.archived = new.message_id, False
            return
        assert branch_id not in self.lines
        self.lines[branch_id] = Line(branch_id, self._name_for(new), new.message_id)

    def _name_for(self, new: Said) -> str:
        if new.name or not self.kept:
            return self.free_name(new.name or "main")
        return self.free_name(WORDS[new.kind], first=len(self.kept) + 1)

    def own(self, line: Line) -> set[str]:
        """The messages on no other branch's path."""
        others = {one.message_id for other in self.kept if other is not line for one in self.path(other.head)}
        return {one.message_id for one in self.path(line.head)} - others

    def purge(self) -> set[str]:
        """Forget all that is deleted, and say which messages that was."""
        gone = {key for key, one in self.said.items() if one.deleted is not None}
        threads = {self.said[key].thread_id for key in gone}
        targets = gone | {key for key, line in self.lines.items() if line.deleted is not None}
        self.said = {key: one for key, one in self.said.items() if key not in gone}
        self.lines = {key: line for key, line in self.lines.items() if line.deleted is None}
        self.marks = {key: mark for key, mark in self.marks.items() if key not in targets}
        self.snapshots = {key: one for key, one in self.snapshots.items() if one[1] not in threads}
        for one in self.said.values():
            if one.source is not None and one.source[0] in threads:
                one.source = None
        return gone

    def compact(self) -> None:
        """Of what is over keep the newest checkpoint, those with a name, and those that something started from."""
        named = {(thread, checkpoint) for _, thread, checkpoint in self.snapshots.values()}
        kept = named | {one.source for one in self.said.values() if one.source is not None}
        for one in self.said.values():
            if one.status != "waiting":
                one.steps = [
                    step
                    for step in one.steps
                    if step is one.newest or (one.thread_id, step.checkpoint_id) in kept
                ]


# -- both side by side --------------------------------------------------------------------------------------


@dataclass
class Both:
    """One conversation of a Skein with its model; each operation is done to both, and compared."""

    skein: Skein
    viewer: Viewer
    model: Reference = field(default_factory=Reference)
    conversation_id: Any = None
    time: int = 0
    rows: dict[str, list[Any]] = field(default_factory=dict)

    # -- operations; ``a`` and ``b`` choose among what is there ---------------------------------------------

    def first(self, a: int, b: int, word: str) -> None:
        self.begin(self.words(word), None, agent=[AGENT, OTHER][b % 4 == 3])

    def say(self, a: int, b: int, word: str) -> None:
        """At the head of a branch, or below any message, with any or no branch in view."""
        line = pick(self.model.kept, a)
        at_head = b % 2 == 0
        parent = line.head if at_head else pick(self.model.present, b // 2).message_id
        wanted = line.branch_id if at_head or a % 3 else None
        agent = OTHER if b % 5 == 4 else self.model.said[parent].agent
        self.begin(self.words(word), parent, agent=agent, wanted=wanted)

    def edit(self, a: int, b: int, word: str) -> None:
        one = self.to_ask_again(a)
        words = self.words(word)
        self.again(one, "edit", words, lambda: branching.edit(self.engine, self.viewer, one.message_id, words))

    def regenerate(self, a: int, b: int, word: str) -> None:
        one = self.to_ask_again(a)
        begin = lambda: branching.regenerate(self.engine, self.viewer, one.message_id)  # noqa: E731
        self.again(one, "regenerate", one.content, begin)

    def retry(self, a: int, b: int, word: str) -> None:
        one = pick([one for one in self.model.present if one.status in {"failed", "stopped", "lost"}], a)
        if b % 2:
            counting.MENDED.add(one.content)
        begin = lambda: branching.retry(self.engine, self.viewer, one.thread_id)  # noqa: E731
        if one.newest.next:
            source = (one.thread_id, one.newest.checkpoint_id)
            self.carry(begin, one, "retry", start=one.newest, source=source)
        elif one.origin is None:  # otherwise see TestFaults
            self.again(one, "retry", one.content, begin)

    def fork(self, a: int, b: int, word: str) -> None:
        one = pick(self.model.present, a)
        step = pick(one.steps, b)
        edits = [{}, {}, {"trail": ["by hand"], "count": 100}, {"hint": "by hand"}][(a + b) % 4]
        name = "by hand" if b % 5 == 4 else ""
        if not step.next and step is not one.newest:
            return  # see TestFaults
        words = "" if step.next else self.words(word)
        begin = lambda: branching.fork(  # noqa: E731
            self.engine, self.viewer, one.thread_id, step.checkpoint_id, text=words, edits=edits, name=name
        )
        source = (one.thread_id, step.checkpoint_id)
        place = {"start": step, "edits": edits, "source": source, "name": name}
        if step.next:
            self.carry(begin, one, "fork", **place)
        else:
            self.carry(begin, replace(one, parent=one.message_id, content=words), "fork", origin=step, **place)

    def fork_what_is_gone(self, a: int, b: int, word: str) -> None:
        one = pick(self.model.present, a)
        gone = [key for key in self.seen.get(one.thread_id, ()) if key not in {s.checkpoint_id for s in one.steps}]
        with pytest.raises(NotFoundError):
            branching.fork(self.engine, self.viewer, one.thread_id, pick(gone, b), text="anything")

    def fan_out(self, a: int, b: int, word: str) -> None:
        parent = pick([*self.model.present, None], a)
        place = parent.message_id if parent else None
        words = self.words("done" if word == "hangs" else word)
        variants = {"left": Variant(), "right": Variant(agent_id=OTHER), "third": Variant(temperature=0.5)}
        variants = dict(list(variants.items())[: 2 + b % 2])
        new = NewMessage(words, self.conversation_id, place, agent_id=AGENT)
        begun = branching.fan_out(self.engine, self.viewer, new, variants)
        for name, variant in variants.items():
            self.expect(begun[name], self.asked(words, place, variant.agent_id or AGENT, "fan_out", name=name))
        for name in variants:
            self.meet(self.model.said[begun[name].message_id])

    def branch(self, a: int, b: int, word: str) -> None:
        name = "by hand" if b % 3 == 2 else ""
        wanted = self.model.free_name(name) if name else self.model.free_name("beside", len(self.model.kept) + 1)
        row = self.write(branches.create_branch, pick(self.model.present, a).message_id, name=name)
        self.model.lines[row.branch_id] = Line(row.branch_id, wanted, row.head_message_id)

    def rename(self, a: int, b: int, word: str) -> None:
        line, name = pick(self.model.kept, a), f"branch {b % 4}"
        if any(other.name == name for other in self.model.kept if other is not line):
            with pytest.raises(ConflictError):
                self.write(branches.rename_branch, line.branch_id, name)
        else:
            line.name = self.write(branches.rename_branch, line.branch_id, f"  {name} ")
            assert line.name == name

    def archive(self, a: int, b: int, word: str) -> None:
        line = pick(self.model.kept, a)
        line.archived = not line.archived
        self.write(branches.archive_branch, line.branch_id, archived=line.archived)

    def delete(self, a: int, b: int, word: str) -> None:
        line = pick(self.model.kept, a)
        if len(self.model.kept) == 1:
            with pytest.raises(ConflictError):
                self.write(branches.delete_branch, line.branch_id)
            return
        own, self.time = self.model.own(line), self.time + 1
        assert set(self.write(branches.delete_branch, line.branch_id)) == own
        line.deleted = self.time
        for key in own:
            self.model.said[key].deleted = self.time
        for key in own:
            with pytest.raises(NotFoundError):
                self.read(get_turn, key)

    def restore(self, a: int, b: int, word: str) -> None:
        line = pick([line for line in self.model.lines.values() if line.deleted is not None], a)
        if any(one.deleted not in {None, line.deleted} for one in self.model.path(line.head)):
            with pytest.raises(ConflictError):
                self.write(branches.restore_branch, line.branch_id)
            return
        line.name = self.model.free_name(line.name)
        self.write(branches.restore_branch, line.branch_id)
        for one in self.model.path(line.head):
            one.deleted = None
        line.deleted = None

    def purge(self, a: int, b: int, word: str) -> None:
        threads = {one.message_id: one.thread_id for one in self.model.said.values()}
        while purge_branches(self.skein.database, self.keeper._forget_thread, now=utc_now() + timedelta(minutes=2)):
            pass
        gone = self.model.purge()
        left = self.dump([threads[key] for key in gone], gone)
        assert left == dict.fromkeys(left, [])

    def snapshot(self, a: int, b: int, word: str) -> None:
        one = pick(self.model.present, a)
        step, name = pick(one.steps, b), f"snapshot {next(_numbers)}"
        newest = None if step is one.newest else step.checkpoint_id
        row = branching.snapshot(self.engine, self.viewer, one.thread_id, name, newest)
        self.model.snapshots[row.snapshot_id] = (name, one.thread_id, step.checkpoint_id)

    def unsnapshot(self, a: int, b: int, word: str) -> None:
        key = pick(self.shown_snapshots(), a)
        self.write(snapshots.delete_snapshot, key)
        del self.model.snapshots[key]

    def mark(self, a: int, b: int, word: str) -> None:
        target = pick([*(one.message_id for one in self.model.present), *(x.branch_id for x in self.model.kept)], a)
        mark = Mark(starred=b % 2 == 0, note=["", "a note"][b // 2 % 2])
        self.write(set_star, target, starred=mark.starred)
        self.write(set_note, target, mark.note)
        self.model.marks[target] = mark

    def look(self, a: int, b: int, word: str) -> None:
        line = pick(self.model.kept, a)
        self.write(positions.remember_position, self.read(branches.get_branch, line.branch_id))
        self.model.looked_at = line.branch_id

    def lose(self, a: int, b: int, word: str) -> None:
        """As if the process had been killed just before it wrote the end down."""
        one = pick([one for one in self.model.present if one.status != "waiting"], a)
        lost = text("UPDATE thread SET status = 'lost' WHERE thread_id = :thread")
        self.skein.database.write(lambda db: db.connection().execute(lost, {"thread": one.thread_id}))
        one.status = "lost"

    def compact(self, a: int, b: int, word: str) -> None:
        self.keeper.compact()
        self.model.compact()
        for one in self.model.present:
            self.compare_steps(one)

    # -- how a message is begun -----------------------------------------------------------------------------

    def begin(self, words: str, parent: str | None, *, agent: str, wanted: str | None = None) -> None:
        kind = "first" if parent is None else "continue"
        new = NewMessage(words, self.conversation_id, parent, branch_id=wanted, agent_id=agent)
        expected = self.asked(words, parent, agent, kind)
        counting.ENTERED.pop(words, None)
        added = self.engine.start(self.viewer, new)
        self.conversation_id = added.conversation_id
        self.expect(added, expected, wanted)
        self.meet(expected)

    def again(self, one: Said, kind: str, words: str, begin: Callable[[], Added]) -> None:
        """Beside a message, from what that began with."""
        if one.origin is None:
            expected = self.asked(words, one.parent, one.agent, kind)
        else:
            start = replace(one.steps[0], next="")
            raise AssertionError(start)
        self.started(begin, expected)

    def carry(
        self,
        begin: Callable[[], Added],
        one: Said,
        kind: str,
        *,
        start: Step,
        source: tuple[str, str],
        edits: dict[str, Any] | None = None,
        origin: Step | None = None,
        name: str = "",
    ) -> None:
        """From a checkpoint, with its state edited or as it is."""
        stood = start.edited(edits) if edits else start
        steps = [start, stood] if edits else [start]
        origin = stood if origin is not None else one.origin
        expected = self.run(steps, one.content, one.parent, one.agent, kind, name=name)
        expected.source, expected.origin = source, origin
        self.started(begin, expected)
