"""A conversation stays what it is said to be under any sequence of operations: a small model of the tree tells all.

The model is plain Python. It knows what the graph of ``tests/graphs/counting.py`` does, so it foresees not only the
shape of the tree and its branches, but each checkpoint of each thread, value by value.
"""

import itertools
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import bindparam, text
from sqlmodel import func, select

from core.access.viewer import Viewer
from core.errors import ConflictError, NotFoundError
from core.history import branches, positions, snapshots
from core.history.annotations import Mark, find_marks, set_note, set_star
from core.history.messages import Added, NewMessage, get_path, get_turn
from core.history.tree import find_siblings, get_tree
from core.records.housekeeper import Housekeeper
from core.records.purge import purge_branches
from core.runs import branching
from core.runs.branching import Variant
from core.runs.lineage import INTERRUPTED
from core.settings import Settings
from core.skein import Skein
from core.tables import LlmCall, utc_now
from tests.conftest import make_settings
from tests.core.support import ROOT, answered
from tests.graphs import counting

Person = Callable[..., Viewer]
T = TypeVar("T")
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
    """One checkpoint: the state, which node is next, and before the first one the messages that wait to go in.

    ``anew`` is what a fork writes: the state once more, perhaps edited, for the step to begin anew from. ``above``
    is what a thread starts from without its own message in it.
    """

    next: str
    state: State
    given: Pairs = ()
    checkpoint_id: str = ""
    anew: bool = False
    above: bool = False

    def edited(self, edits: dict[str, Any]) -> "Step":
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in edits.items()}
        return replace(self, state=replace(self.state, **values), checkpoint_id="", anew=True)


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


@dataclass(frozen=True)
class Origin:
    """A checkpoint that something is said next to, edited or not, and whose that is."""

    step: Step
    thread_id: str
    edits: dict[str, Any] = field(default_factory=dict)


@dataclass
class Said:
    """A message with its answer and its thread.

    ``origin`` is there when the message, or the one that it repeats, was forked to be said below a state that was
    chosen; ``source`` is the checkpoint that the thread starts from, ``went_on`` whether in the middle of a run.
    """

    parent: str | None
    content: str
    kind: str
    agent: str
    name: str = ""
    message_id: str = ""
    thread_id: str = ""
    status: str = "done"
    answer: str = ""
    steps: list[Step] = field(default_factory=list)
    source: tuple[str, str] | None = None
    origin: Origin | None = None
    went_on: bool = False
    deleted: int | None = None

    @property
    def newest(self) -> Step:
        return self.steps[-1]

    @property
    def seen(self) -> str:
        """The answer as people see it."""
        if self.status == "done":
            return self.answer
        return f"{self.answer}\n\n{INTERRUPTED}" if self.answer else INTERRUPTED

    def missing(self) -> Pairs:
        """What its newest state lacks of what people saw."""
        is_closed = self.status == "done" or self.newest.state.messages[-1][0] == "ai"
        return () if is_closed else (("ai", self.seen),)


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

    # -- what a new message starts from ---------------------------------------------------------------------

    def under(self, new: Said) -> Said:
        """Start from the nearest message above that the same agent answered, with all that was said since."""
        path = self.path(new.parent)
        bases = [place for place, one in enumerate(path) if one.agent == new.agent]
        after = path[bases[-1] + 1 :] if bases else path
        given = tuple(pair for one in after for pair in (("human", one.content), ("ai", one.seen)))
        if not bases:
            return self._said_after(new, [], given)
        base = path[bases[-1]]
        new.source = (base.thread_id, base.newest.checkpoint_id)
        return self._said_after(new, [base.newest], (*base.missing(), *given))

    def at(self, new: Said, origin: Origin) -> Said:
        """Start from a checkpoint: go on in the middle of its run, or say the message after it."""
        new.source = (origin.thread_id, origin.step.checkpoint_id)
        new.went_on = bool(origin.step.next)
        is_anew = bool(origin.edits) or (new.went_on and new.kind == "fork" and not origin.step.anew)
        steps = [origin.step, *([origin.step.edited(origin.edits)] if is_anew else [])]
        if new.went_on:
            steps = [replace(step, above=False) for step in steps]
            return self._carried_out(new, steps[:-1], steps[-1])
        return self._said_after(new, steps, ())

    def _said_after(self, new: Said, above: list[Step], given: Pairs) -> Said:
        state = above[-1].state if above else State()
        told = Step("__start__", state, (*given, ("human", new.content)))
        return self._carried_out(new, [replace(step, above=True) for step in above], told)

    def _carried_out(self, new: Said, before: list[Step], start: Step) -> Said:
        after, status = carry_out(start)
        self.calls += status == "done" and new.content.startswith("calls") and new.content not in counting.MENDED
        steps = [*before, start, *after]
        return replace(new, status=status, answer=_answer(steps[-1].state), steps=steps)

    # -- which branch it is on ------------------------------------------------------------------------------

    def free_name(self, wanted: str, first: int = 1) -> str:
        taken = {line.name for line in self.kept}
        names = (wanted if number == 1 else f"{wanted} {number}" for number in itertools.count(first))
        return next(name for name in names if name not in taken)

    def name_for(self, kind: str, wanted: str) -> str:
        if wanted or not self.kept:
            return self.free_name(wanted or "main")
        return self.free_name(WORDS[kind], len(self.kept) + 1)

    def put_on_a_branch(self, new: Said, branch_id: str, wanted: str | None) -> None:
        """The branch goes on to the message, if it is one that may; otherwise it has to be a new one."""
        at_head = [line for line in self.kept if line.head == new.parent]
        if new.kind == "continue" and at_head:
            goes_on = min(at_head, key=lambda line: (line.branch_id != wanted, line.archived, line.branch_id))
            assert branch_id == goes_on.branch_id
            goes_on.head, goes_on.archived = new.message_id, False
            return
        assert branch_id not in self.lines
        self.lines[branch_id] = Line(branch_id, self.name_for(new.kind, new.name), new.message_id)

    def own(self, line: Line) -> set[str]:
        """The messages on no other branch's path."""
        others = {one.message_id for other in self.kept if other is not line for one in self.path(other.head)}
        return {one.message_id for one in self.path(line.head)} - others

    def to_open(self) -> str:
        if self.looked_at in {line.branch_id for line in self.kept}:
            return str(self.looked_at)
        newest = self.present[-1].message_id
        return min((line.archived, line.branch_id) for line in self.kept if line.head == newest)[1]

    # -- what goes ------------------------------------------------------------------------------------------

    def purge(self) -> list[Said]:
        """Forget all that is deleted, and say which messages that was."""
        gone = {key: one for key, one in self.said.items() if one.deleted is not None}
        threads = {one.thread_id for one in gone.values()}
        targets = gone.keys() | {key for key, line in self.lines.items() if line.deleted is not None}
        self.said = {key: one for key, one in self.said.items() if key not in gone}
        self.lines = {key: line for key, line in self.lines.items() if line.deleted is None}
        self.marks = {key: mark for key, mark in self.marks.items() if key not in targets}
        self.snapshots = {key: one for key, one in self.snapshots.items() if one[1] not in threads}
        for one in self.said.values():
            if one.source is not None and one.source[0] in threads:
                one.source = None
        return list(gone.values())

    def compact(self) -> list[tuple[Said, str]]:
        """Of what is done keep the newest checkpoint, those with a name, and those that something started from."""
        kept = {(thread, checkpoint) for _, thread, checkpoint in self.snapshots.values()}
        kept |= {one.source for one in self.said.values() if one.source is not None}
        gone = []
        for one in self.said.values():
            for step in one.steps[:-1] if one.status == "done" else ():
                if (one.thread_id, step.checkpoint_id) not in kept:
                    gone.append((one, step.checkpoint_id))
                    one.steps = [other for other in one.steps if other is not step]
        return gone


def _answer(state: State) -> str:
    """What was said since the last message of a person."""
    place = max(place for place, (kind, _) in enumerate(state.messages) if kind == "human")
    return "\n\n".join(said for _, said in state.messages[place + 1 :])


# -- both side by side --------------------------------------------------------------------------------------


class NothingToChooseError(Exception):
    """An operation needs something that is not there just now."""


def pick(items: Collection[T], number: int) -> T:
    if not items:
        raise NothingToChooseError
    return list(items)[number % len(items)]


BRANCHING = {"first", "say", "edit", "regenerate", "retry", "fork", "fan_out", "branch"}
Rows = dict[tuple[str, str], list[Any]]


class Store:
    """Every row that tells of a message, as it is stored, by table and message or thread."""

    def __init__(self, skein: Skein) -> None:
        self._skein = skein
        self._file = sqlite3.connect(skein.settings.checkpoints_path) if skein.database.is_sqlite else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def read(self, said: Collection[Said]) -> Rows:
        messages, threads = [one.message_id for one in said], [one.thread_id for one in said]
        rows: Rows = {}
        with self._skein.database.read() as db:
            for table, key, owners in (
                ("message", "message_id", messages),
                ("thread", "message_id", messages),
                ("run_event", "thread_id", threads),
                *((table, "thread_id", threads) for table in ([] if self._file else POSTGRES_TABLES)),
            ):
                query = text(f"SELECT {key}, t.* FROM {table} t WHERE {key} IN :owners")
                found = db.connection().execute(query.bindparams(bindparam("owners", owners, expanding=True)))
                collect(rows, table, found)
        for table in ("checkpoints", "writes") if self._file else ():
            holes = ",".join("?" * len(threads))
            query = f"SELECT thread_id, t.* FROM {table} t WHERE thread_id IN ({holes})"
            collect(rows, table, self._file.execute(query, threads))  # type: ignore[union-attr]
        return {owner: sorted(found, key=repr) for owner, found in rows.items()}


POSTGRES_TABLES = [f"skein_checkpoints.{name}" for name in ("checkpoints", "checkpoint_blobs", "checkpoint_writes")]


def collect(rows: Rows, table: str, found: Iterable[Any]) -> None:
    for owner, *row in found:
        rows.setdefault((table, owner), []).append(row)


class Both:
    """One conversation of a Skein with its model: each operation is done to both, and they are compared."""

    def __init__(self, skein: Skein, viewer: Viewer, keeper: Housekeeper, store: Store) -> None:
        self.skein, self.viewer, self.keeper, self.store = skein, viewer, keeper, store
        self.engine = skein.engine
        self.model = Reference()
        self.conversation_id: Any = None
        self.deletions = 0
        self.cleared: list[tuple[Said, str]] = []
        self.rows: Rows = {}

    def read(self, function: Callable[..., T], *args: Any) -> T:
        with self.skein.database.read() as db:
            return function(self.viewer, db, *args)

    def write(self, function: Callable[..., T], *args: Any, **named: Any) -> T:
        return self.skein.database.write(lambda db: function(self.viewer, db, *args, **named))

    def do(self, what: str, a: int, b: int, word: str) -> None:
        try:
            getattr(self, what)(a, b, word)
        except NothingToChooseError:
            return
        rows = self.store.read(self.model.said.values())
        if what in BRANCHING:
            assert {owner: rows[owner] for owner in self.rows} == self.rows
        self.rows = rows
        self.compare()

    # -- operations; ``a`` and ``b`` choose among what is there ---------------------------------------------

    def first(self, a: int, b: int, word: str) -> None:
        self._say(words(word), None, [AGENT, OTHER][b % 4 == 3], None)

    def say(self, a: int, b: int, word: str) -> None:
        """At the head of a branch, or below any message with any branch, or none, in view."""
        line = pick(self.model.kept, a)
        if b % 2:
            parent = self.to_go_on_from(b // 2)
            self._say(words(word), parent, parent.agent, [line.branch_id, None][a % 3 == 0])
        else:
            parent = self.model.said[line.head]
            if is_left_alone(parent):
                raise NothingToChooseError
            self._say(words(word), parent, OTHER if b % 10 == 0 else parent.agent, line.branch_id)

    def edit(self, a: int, b: int, word: str) -> None:
        one, said = self.to_ask_again(a), words(word)
        self._again(one, Said(one.parent, said, "edit", one.agent), branching.edit, one.message_id, said)

    def regenerate(self, a: int, b: int, word: str) -> None:
        one = self.to_ask_again(a)
        new = Said(one.parent, one.content, "regenerate", one.agent)
        self._again(one, new, branching.regenerate, one.message_id)

    def retry(self, a: int, b: int, word: str) -> None:
        one = pick([one for one in self.model.present if one.status in UNFINISHED], a)
        if one.origin is not None and not one.newest.next:
            raise NothingToChooseError  # see TestFaults
        if b % 2:
            counting.MENDED.add(one.content)
        new = Said(one.parent, one.content, "retry", one.agent, origin=one.origin)
        if one.newest.next:
            new = self.model.at(new, Origin(one.newest, one.thread_id))
        else:
            self.stand_on_own(one.parent, one.agent)
            new = self.model.under(new)
        self._begin(new, branching.retry, one.thread_id)

    def fork(self, a: int, b: int, word: str) -> None:
        one = pick(self.model.present, a)
        step = pick(one.steps, b)
        if step.above:
            raise NothingToChooseError  # see TestFaults
        edits = [{}, {}, {"trail": ["by hand"], "count": 100}, {"hint": "by hand"}][(a + b) % 4]
        origin, name = Origin(step, one.thread_id, edits), "by hand" if b % 5 == 4 else ""
        place, said = (one.parent, one.content) if step.next else (one.message_id, words(word))
        new = Said(place, said, "fork", one.agent, name, origin=one.origin if step.next else origin)
        given = {"text": "" if step.next else said, "edits": edits, "name": name}
        self._begin(self.model.at(new, origin), branching.fork, one.thread_id, step.checkpoint_id, **given)

    def fork_from_what_is_cleared(self, a: int, b: int, word: str) -> None:
        one, checkpoint = pick(self.cleared, a)
        with pytest.raises(NotFoundError):
            branching.fork(self.engine, self.viewer, one.thread_id, checkpoint, text="anything")

    def fan_out(self, a: int, b: int, word: str) -> None:
        parent = self.to_go_on_from(a // 2) if a % 2 else None
        place, said = parent.message_id if parent else None, words("done" if word == "hangs" else word)
        variants = {"left": Variant(), "right": Variant(agent_id=OTHER), "third": Variant(temperature=0.5)}
        variants = dict(list(variants.items())[: 2 + b % 2])
        new = NewMessage(said, self.conversation_id, place, agent_id=AGENT)
        for agent in (AGENT, OTHER):
            self.stand_on_own(place, agent)
        expected = {
            name: self.model.under(Said(place, said, "fan_out", variant.agent_id or AGENT, name))
            for name, variant in variants.items()
        }
        begun = branching.fan_out(self.engine, self.viewer, new, variants)
        assert list(begun) == list(variants)
        for name, one in expected.items():
            self._place(one, begun[name], None)
        for one in expected.values():
            self._meet(one)

    def branch(self, a: int, b: int, word: str) -> None:
        one, name = pick(self.model.present, a), "by hand" if b % 3 == 2 else ""
        wanted = self.model.name_for("continue", name)
        row = self.write(branches.create_branch, one.message_id, name=name)
        self.model.lines[row.branch_id] = Line(row.branch_id, wanted, one.message_id)

    def rename(self, a: int, b: int, word: str) -> None:
        line, name = pick(self.model.kept, a), f"branch {b % 4}"
        if any(other.name == name for other in self.model.kept if other is not line):
            with pytest.raises(ConflictError):
                self.write(branches.rename_branch, line.branch_id, name)
        else:
            assert self.write(branches.rename_branch, line.branch_id, f"  {name} ") == name
            line.name = name

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
        own = self.model.own(line)
        assert set(self.write(branches.delete_branch, line.branch_id)) == own
        self.deletions += 1
        for gone in (line, *(self.model.said[key] for key in own)):
            gone.deleted = self.deletions
        for key in own:
            with pytest.raises(NotFoundError):
                self.read(get_turn, key)

    def restore(self, a: int, b: int, word: str) -> None:
        line = pick([line for line in self.model.lines.values() if line.deleted is not None], a)
        path = self.model.path(line.head)
        if any(one.deleted not in {None, line.deleted} for one in path):
            with pytest.raises(ConflictError):
                self.write(branches.restore_branch, line.branch_id)
            return
        line.name = self.model.free_name(line.name)
        self.write(branches.restore_branch, line.branch_id)
        for back in (line, *path):
            back.deleted = None

    def purge(self, a: int, b: int, word: str) -> None:
        later = utc_now() + timedelta(minutes=2)
        while purge_branches(self.skein.database, self.keeper._forget_thread, now=later):
            pass
        gone = self.model.purge()
        assert self.store.read(gone) == {}
        self.cleared = [(one, checkpoint) for one, checkpoint in self.cleared if one not in gone]
        self.compare_calls()

    def snapshot(self, a: int, b: int, word: str) -> None:
        one = pick(self.model.present, a)
        step, name = pick(one.steps, b), f"snapshot {next(_numbers)}"
        at = None if step is one.newest else step.checkpoint_id
        row = branching.snapshot(self.engine, self.viewer, one.thread_id, name, at)
        self.model.snapshots[row.snapshot_id] = (name, one.thread_id, step.checkpoint_id)

    def unsnapshot(self, a: int, b: int, word: str) -> None:
        key = pick(self.shown_snapshots(), a)
        self.write(snapshots.delete_snapshot, key)
        del self.model.snapshots[key]

    def mark(self, a: int, b: int, word: str) -> None:
        mark, target = Mark(starred=b % 2 == 0, note=["", "a note"][b // 2 % 2]), pick(self.targets(), a)
        self.write(set_star, target, starred=mark.starred)
        self.write(set_note, target, mark.note)
        self.model.marks[target] = mark

    def look(self, a: int, b: int, word: str) -> None:
        self.model.looked_at = pick(self.model.kept, a).branch_id
        self.write(positions.remember_position, self.read(branches.get_branch, self.model.looked_at))

    def lose(self, a: int, b: int, word: str) -> None:
        """As if the process had been killed just before it wrote the end down."""
        one = pick([one for one in self.model.present if one.status != "waiting"], a)
        lost = text("UPDATE thread SET status = 'lost' WHERE thread_id = :thread")
        self.skein.database.write(lambda db: db.connection().execute(lost, {"thread": one.thread_id}))
        one.status = "lost"

    def compact(self, a: int, b: int, word: str) -> None:
        self.keeper.compact()
        self.cleared += self.model.compact()
        for one in self.model.present:
            self.compare_steps(one)

    # -- what to choose from, as long as TestFaults holds ---------------------------------------------------

    def to_ask_again(self, number: int) -> Said:
        fit = [one for one in self.model.present if one.origin is None or self.is_fork_below(one)]
        one = pick(fit, number)
        self.stand_on_own(one.parent, one.agent)
        return one

    def is_fork_below(self, one: Said) -> bool:
        return one.kind == "fork" and not one.went_on

    def to_go_on_from(self, number: int) -> Said:
        return pick([one for one in self.model.present if not is_left_alone(one)], number)

    def stand_on_own(self, parent: str | None, agent: str) -> None:
        bases = [one for one in self.model.path(parent) if one.agent == agent]
        if bases and is_left_alone(bases[-1]):
            raise NothingToChooseError

    # -- how a message is begun and followed ----------------------------------------------------------------

    def _say(self, said: str, parent: Said | None, agent: str, wanted: str | None) -> None:
        place = parent.message_id if parent else None
        self.stand_on_own(place, agent)
        new = NewMessage(said, self.conversation_id, place, branch_id=wanted, agent_id=agent)
        one = self.model.under(Said(place, said, "continue" if parent else "first", agent))
        self._place(one, self.engine.start(self.viewer, new), wanted)
        self._meet(one)

    def _again(self, one: Said, new: Said, begin: Callable[..., Added], *args: Any) -> None:
        new.origin = one.origin
        self._begin(self.model.at(new, one.origin) if one.origin else self.model.under(new), begin, *args)

    def _begin(self, new: Said, begin: Callable[..., Added], *args: Any, **named: Any) -> None:
        counting.ENTERED.pop(new.content, None)
        self._place(new, begin(self.engine, self.viewer, *args, **named), None)
        self._meet(new)

    def _place(self, new: Said, added: Added, wanted: str | None) -> None:
        self.conversation_id = added.conversation_id
        new.message_id, new.thread_id = added.message_id, added.thread_id
        self.model.said[new.message_id] = new
        self.model.put_on_a_branch(new, added.branch_id, wanted)

    def _meet(self, one: Said) -> None:
        """Carry the run to its end, and learn the ids of the checkpoints that were foreseen."""
        if one.status == "stopped":
            entered = counting.ENTERED.setdefault(one.content, threading.Event())
            assert entered.wait(10)
            self.engine.stop(self.viewer, one.thread_id)
        turn = answered(self.skein, self.viewer, one.thread_id)
        source = (turn.parent_thread_id, turn.source_checkpoint_id) if turn.source_checkpoint_id else None
        assert (turn.status, turn.answer, source) == (one.status, one.answer, one.source)
        ids = self.compare_steps(one)
        one.steps = [replace(step, checkpoint_id=own) for step, own in zip(one.steps, ids, strict=True)]

    # -- comparing ------------------------------------------------------------------------------------------

    def compare(self) -> None:
        self.compare_shape()
        self.compare_branches()
        assert self.read(find_marks, self.targets()) == {
            key: mark for key, mark in self.model.marks.items() if mark != Mark() and key in self.targets()
        }
        assert {
            row.snapshot_id: (row.name, row.thread_id, row.checkpoint_id)
            for row in self.read(snapshots.list_snapshots, self.conversation_id)
            if row.message_id in {one.message_id for one in self.model.present}  # see TestFaults
        } == self.shown_snapshots()

    def compare_shape(self) -> None:
        tree, present = self.read(get_tree, self.conversation_id), self.model.present
        assert [
            (x.message_id, x.parent_message_id, x.depth, x.thread_id, x.kind, x.name, x.agent_id, x.status)
            for x in tree.nodes.values()
        ] == sorted(
            (
                (
                    x.message_id,
                    x.parent,
                    len(self.model.path(x.parent)),
                    x.thread_id,
                    x.kind,
                    x.name,
                    x.agent,
                    x.status,
                )
                for x in present
            ),
            key=lambda row: (row[2], row[0]),
        )
        for parent in [None, *(one.message_id for one in present)]:
            assert tree.children(parent) == self.model.below(parent)

    def compare_branches(self) -> None:
        rows = self.read(branches.list_branches, self.conversation_id)
        assert [(row.branch_id, row.name, row.head_message_id, row.archived_at is not None) for row in rows] == [
            (line.branch_id, line.name, line.head, line.archived) for line in self.model.kept
        ]
        heads = {row.head_message_id for row in rows}
        assert {one.message_id for one in self.model.present if not self.model.below(one.message_id)} <= heads
        for head in heads:
            self.compare_path(head)
        assert self.read(positions.get_branch_to_open, self.conversation_id).branch_id == self.model.to_open()

    def compare_path(self, head: str) -> None:
        path, expected = self.read(get_path, head), self.model.path(head)
        assert [(turn.message_id, turn.content, turn.answer, turn.status, turn.depth) for turn in path] == [
            (one.message_id, one.content, one.answer, one.status, depth) for depth, one in enumerate(expected)
        ]
        siblings = self.read(find_siblings, [turn.message_id for turn in path])
        assert siblings == {one.message_id: self.model.below(one.parent) for one in expected}

    def compare_steps(self, one: Said) -> list[str]:
        """Every checkpoint of a thread, and gives their ids."""
        states = self.engine.read_states(self.viewer, one.thread_id)
        assert [(step.next, to_state(step.values)) for step in states] == [
            ((step.next,) if step.next else (), step.state) for step in one.steps
        ]
        known = [step.checkpoint_id for step in one.steps]
        ids = [step.checkpoint_id for step in states]
        assert all(own == found for own, found in zip(known, ids, strict=True) if own)
        return ids

    def compare_calls(self) -> None:
        assert self.skein.call_log.flush()
        query = select(func.count()).select_from(LlmCall).where(LlmCall.conversation_id == self.conversation_id)
        with self.skein.database.read() as db:
            assert db.exec(query).one() == self.model.calls

    def compare_all(self) -> None:
        """What does not change with every operation: the state of every message, and the record of calls."""
        for one in self.model.present:
            self.compare_steps(one)
            newest = self.engine.get_state(self.viewer, one.thread_id)
            assert (newest.checkpoint_id, to_state(newest.values)) == (one.newest.checkpoint_id, one.newest.state)
        self.compare_calls()

    def shown_snapshots(self) -> dict[str, tuple[str, str, str]]:
        threads = {one.thread_id for one in self.model.present}
        return {key: one for key, one in self.model.snapshots.items() if one[1] in threads}

    def targets(self) -> list[str]:
        return [*(one.message_id for one in self.model.present), *(line.branch_id for line in self.model.kept)]


UNFINISHED = {"stopped", "failed", "lost"}


def is_left_alone(one: Said) -> bool:
    """A root that went on from what is purged since, and was cut short again: see TestFaults."""
    return one.went_on and one.parent is None and one.source is None and one.status != "done"


def words(word: str) -> str:
    return f"{word} {next(_numbers)}"


def to_state(values: Any) -> State:
    said = tuple((message["type"], message["content"]) for message in values["messages"])
    return State(said, tuple(values["trail"]), values.get("count"), values.get("hint"))


OPERATIONS = [
    *["say"] * 6,
    *["edit", "regenerate", "retry", "fork", "fork", "fork", "fan_out"] * 2,
    *["delete", "restore"] * 2,
    *["first", "branch", "rename", "archive", "purge", "snapshot", "snapshot", "unsnapshot", "mark", "look"],
    *["lose", "compact", "fork_from_what_is_cleared"],
]
NUMBER = st.integers(0, 99)
WORD = st.sampled_from(["done", "done", "calls", "early", "late", "asks", "hangs"])
OPERATION = st.tuples(st.sampled_from(OPERATIONS), NUMBER, NUMBER, WORD)


@pytest.fixture
def begin(opened: Skein, alice: Viewer) -> Iterator[Callable[[], Both]]:
    """A conversation with its model, as many as are wanted."""
    keeper = Housekeeper(
        database=opened.database, saver=opened.saver, loop=opened._loop, compact_after=timedelta(0)
    )
    store = Store(opened)
    yield lambda: Both(opened, alice, keeper, store)
    store.close()
    counting.MENDED.clear()
    counting.ENTERED.clear()


class TestAnySequence:
    @hypothesis_settings(
        max_examples=18,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(operations=st.lists(OPERATION, min_size=8, max_size=24))
    def test_leaves_the_conversation_as_the_model_says(
        self, begin: Callable[[], Both], operations: list[tuple[str, int, int, str]]
    ) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        for operation in operations:
            both.do(*operation)
        both.compare_all()
