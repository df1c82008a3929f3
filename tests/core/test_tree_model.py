"""A conversation stays what it is said to be under any sequence of operations: a small model of the tree tells all.

The model is plain Python. It knows what the graph of ``tests/graphs/counting.py`` does, so it foresees not only the
shape of the tree and its branches, but each checkpoint of each thread, value by value.
"""

import itertools
import json
import sqlite3
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import String, bindparam, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import func, select

from core.access.viewer import Viewer
from core.errors import BadInputError, BusyError, ConflictError, NotFoundError, SkeinError
from core.history import branches, positions, snapshots
from core.history.annotations import Mark, find_marks, set_note, set_star
from core.history.messages import Added, NewMessage
from core.history.tree import find_siblings, get_tree
from core.history.turns import Turn, get_path, get_turn
from core.ids import new_message_id
from core.records.housekeeper import Housekeeper
from core.records.purge import purge_branches
from core.runs import branching
from core.runs.branching import Variant
from core.runs.lineage import INTERRUPTED
from core.settings import Settings
from core.skein import Skein
from core.tables import Branch, Conversation, LlmCall, Message, Session, utc_now
from core.tables import Thread as ThreadRow
from tests.conftest import make_settings
from tests.core.support import ROOT, OnSqlite, another_skein, answered, ask, wait_until
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
    """The same graph as two agents."""
    path = f"{ROOT / 'tests' / 'graphs' / 'counting.py'}:counting"
    (tmp_path / "langgraph.json").write_text(json.dumps({"graphs": {AGENT: path, OTHER: path}}))
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
    chosen; ``begins_at`` is that of a fork of any state, and of what was asked again with the same edits.
    ``source`` is the checkpoint that the thread starts from, ``went_on`` whether in the middle of a run.
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
    source: tuple[str | None, str] | None = None
    origin: Origin | None = None
    begins_at: Origin | None = None
    went_on: bool = False
    deleted: int | None = None

    @property
    def newest(self) -> Step:
        return self.steps[-1]

    @property
    def edited_at(self) -> Origin | None:
        return self.begins_at if self.begins_at and self.begins_at.edits else None

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

    def is_gone(self, thread_id: str) -> bool:
        return thread_id not in {one.thread_id for one in self.present}

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

    def at(self, new: Said, origin: Origin, *, resumes: bool = False) -> Said:
        """Start from a checkpoint: go on in the middle of its run, or say the message after it."""
        new.source = (origin.thread_id, origin.step.checkpoint_id)
        new.went_on = bool(origin.step.next)
        is_anew = bool(origin.edits) or (new.went_on and not resumes and not origin.step.anew)
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
        return self.newest_of(self.kept)

    def newest_of(self, lines: list[Line]) -> str:
        """The branch with the newest end, archived ones last."""
        heads = sorted({line.head for line in lines}, reverse=True)
        return min(lines, key=lambda line: (line.archived, heads.index(line.head), line.branch_id)).branch_id

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
                one.source = (None, one.source[1])
        return list(gone.values())

    def compact(self) -> list[tuple[Said, Step]]:
        """Of what is done keep the newest checkpoint, those with a name, and those that something started from."""
        kept = {(thread, checkpoint) for _, thread, checkpoint in self.snapshots.values()}
        kept |= {one.source for one in self.said.values() if one.source is not None}
        gone = []
        for one in self.said.values():
            for step in one.steps[:-1] if one.status == "done" else ():
                if (one.thread_id, step.checkpoint_id) not in kept:
                    gone.append((one, step))
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
                found = db.connection().execute(
                    query.bindparams(bindparam("owners", owners, String, expanding=True))
                )
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
        self.cleared: list[tuple[Said, Step]] = []
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
            parent = pick(self.model.present, b // 2)
            self._say(words(word), parent, parent.agent, [line.branch_id, None][a % 3 == 0])
        else:
            parent = self.model.said[line.head]
            self._say(words(word), parent, OTHER if b % 10 == 0 else parent.agent, line.branch_id)

    def edit(self, a: int, b: int, word: str) -> None:
        one, said = self.to_ask_again(a), words(word)
        self._again(one, Said(one.parent, said, "edit", one.agent), branching.edit, one.message_id, said)

    def regenerate(self, a: int, b: int, word: str) -> None:
        one = self.to_ask_again(a)
        new = Said(one.parent, one.content, "regenerate", one.agent)
        self._again(one, new, branching.regenerate, one.message_id)

    def retry(self, a: int, b: int, word: str) -> None:
        """Go on with what is left; where nothing is, a fork begins anew from the state that was chosen."""
        one = pick([one for one in self.model.present if one.status in UNFINISHED], a)
        if b % 2:
            counting.MENDED.add(one.content)
        new = Said(one.parent, one.content, "retry", one.agent, origin=one.origin, begins_at=one.edited_at)
        if one.newest.next:
            new = self.model.at(new, Origin(one.newest, one.thread_id), resumes=True)
        elif one.begins_at is None:
            new = self.model.under(new)
        elif self.model.is_gone(one.begins_at.thread_id):
            with pytest.raises(NotFoundError):
                branching.retry(self.engine, self.viewer, one.thread_id)
            return
        else:
            new = self.model.at(new, one.begins_at)
        self._begin(new, branching.retry, one.thread_id)

    def fork(self, a: int, b: int, word: str) -> None:
        one = pick(self.model.present, a)
        step = pick(one.steps, b)
        if step.above and step.anew:
            raise NothingToChooseError  # see TestWhatWasFoundLater
        chosen, one = one, self.whose(one, step)
        edits = [{}, {}, {"trail": ["by hand"], "count": 100}, {"hint": "by hand"}][(a + b) % 4]
        origin, name = Origin(step, one.thread_id, edits), "by hand" if b % 5 == 4 else ""
        place, said = (one.parent, one.content) if step.next else (one.message_id, words(word))
        below = one.origin if step.next else origin
        new = Said(place, said, "fork", one.agent, name, origin=below, begins_at=origin)
        given = {"text": "" if step.next else said, "edits": edits, "name": name}
        self._begin(self.model.at(new, origin), branching.fork, chosen.thread_id, step.checkpoint_id, **given)

    def fork_from_what_is_cleared(self, a: int, b: int, word: str) -> None:
        """What a thread began with is still there, in the thread that it came from."""
        fit = [(one, step) for one, step in self.cleared if one.deleted is None and not (step.anew and step.above)]
        one, step = pick([(one, step) for one, step in fit if not is_begun_with(one, step)], a)
        with pytest.raises(NotFoundError, match="cleared away"):
            branching.fork(self.engine, self.viewer, one.thread_id, step.checkpoint_id, text="anything")

    def fan_out(self, a: int, b: int, word: str) -> None:
        parent = pick(self.model.present, a // 2) if a % 2 else None
        place, said = parent.message_id if parent else None, words("done" if word == "hangs" else word)
        variants = {"left": Variant(), "right": Variant(agent_id=OTHER), "third": Variant(temperature=0.5)}
        variants = dict(list(variants.items())[: 2 + b % 2])
        new = NewMessage(said, self.conversation_id, place, agent_id=AGENT)
        expected = {
            name: self.model.under(Said(place, said, "fan_out", variant.agent_id or AGENT, name))
            for name, variant in variants.items()
        }
        begun = branching.fan_out(self.engine, self.viewer, new, variants)
        assert list(begun) == list(variants)
        for name, one in expected.items():
            self.place(one, begun[name], None)
        for one in expected.values():
            self.meet(one)

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
        assert set(branching.delete(self.engine, self.viewer, line.branch_id)) == own
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
        while purge_branches(self.skein.database, self.keeper.forget_thread, now=later):
            pass
        targets = self.model.said.keys() | self.model.lines.keys()
        gone = self.model.purge()
        assert self.store.read(gone) == {}
        targets -= self.model.said.keys() | self.model.lines.keys()
        assert self.read(find_marks, targets) == {}
        self.cleared = [(one, step) for one, step in self.cleared if one not in gone]
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

    # -- what to choose from ---------------------------------------------------------------------------------

    def to_ask_again(self, number: int) -> Said:
        return pick(self.model.present, number)

    def whose(self, one: Said, step: Step) -> Said:
        """The message in whose run a checkpoint was made: what a thread begins with may be of one above."""
        while is_begun_with(one, step):
            above = [other for other in self.model.path(one.parent) if other.thread_id == one.source[0]]
            if not above:
                return one
            one = above[0]
        return one

    # -- how a message is begun and followed ----------------------------------------------------------------

    def _say(self, said: str, parent: Said | None, agent: str, wanted: str | None) -> None:
        place = parent.message_id if parent else None
        new = NewMessage(said, self.conversation_id, place, branch_id=wanted, agent_id=agent)
        one = self.model.under(Said(place, said, "continue" if parent else "first", agent))
        self.place(one, self.engine.start(self.viewer, new), wanted)
        self.meet(one)

    def _again(self, one: Said, new: Said, begin: Callable[..., Added], *args: Any) -> None:
        new.origin, new.begins_at = one.origin, one.edited_at if one.origin else None
        self._begin(self.model.at(new, one.origin) if one.origin else self.model.under(new), begin, *args)

    def _begin(self, new: Said, begin: Callable[..., Added], *args: Any, **named: Any) -> None:
        counting.ENTERED.pop(new.content, None)
        self.place(new, begin(self.engine, self.viewer, *args, **named), None)
        self.meet(new)

    def place(self, new: Said, added: Added, wanted: str | None) -> None:
        self.conversation_id = added.conversation_id
        new.message_id, new.thread_id = added.message_id, added.thread_id
        self.model.said[new.message_id] = new
        self.model.put_on_a_branch(new, added.branch_id, wanted)

    def meet(self, one: Said) -> None:
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
            through = [line for line in self.model.kept if one in self.model.path(line.head)]
            below = self.read(branches.get_branch_below, one.message_id)
            assert below.branch_id == self.model.newest_of(through)
        self.compare_calls()

    def shown_snapshots(self) -> dict[str, tuple[str, str, str]]:
        threads = {one.thread_id for one in self.model.present}
        return {key: one for key, one in self.model.snapshots.items() if one[1] in threads}

    def targets(self) -> list[str]:
        return [*(one.message_id for one in self.model.present), *(line.branch_id for line in self.model.kept)]


UNFINISHED = {"stopped", "failed", "lost"}


def is_begun_with(one: Said, step: Step) -> bool:
    return one.source is not None and one.source[1] == step.checkpoint_id


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
# A branch is deleted, then the one that it grew from; only the other way round are they brought back.
GROWN_ON_ONE_ANOTHER = [
    ("branch", 0, 0, ""),
    ("say", 0, 2, "done"),
    ("first", 0, 0, "done"),
    ("delete", 0, 0, ""),
    ("delete", 0, 0, ""),
    ("restore", 0, 0, ""),
    ("restore", 1, 0, ""),
    ("restore", 0, 0, ""),
]
MARKED_AND_PURGED = [
    ("edit", 0, 0, "calls"),
    ("mark", 1, 0, ""),
    ("mark", 3, 2, ""),
    ("snapshot", 1, 0, ""),
    ("delete", 1, 0, ""),
    ("purge", 0, 0, ""),
]


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
    @pytest.mark.timeout(400)  # to find the shortest sequence that fails takes a while
    @hypothesis_settings(
        derandomize=True,
        max_examples=18,
        deadline=None,
        print_blob=True,
        phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
    @given(operations=st.lists(OPERATION, min_size=8, max_size=24))
    @example(operations=GROWN_ON_ONE_ANOTHER)
    @example(operations=MARKED_AND_PURGED)
    def test_leaves_the_conversation_as_the_model_says(
        self, begin: Callable[[], Both], operations: list[tuple[str, int, int, str]]
    ) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        for operation in operations:
            both.do(*operation)
        both.compare_all()


# -- many at once -------------------------------------------------------------------------------------------


def at_once(job: Callable[[int], T], times: int = 20) -> list[T]:
    """Do it so many times, each on a thread of its own, all from the same moment on."""
    barrier = threading.Barrier(times)

    def do(number: int) -> T:
        barrier.wait(10)
        return job(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(do, range(times)))


class TestTwentyThreads:
    @pytest.mark.parametrize("place", [-1, 2])
    def test_fork_one_parent_into_twenty_children(self, begin: Callable[[], Both], place: int) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        (parent,) = both.model.present
        step = parent.steps[place]
        origin, said = Origin(step, parent.thread_id), parent.content if step.next else words("done")
        begun = at_once(
            lambda _: branching.fork(
                both.engine, both.viewer, parent.thread_id, step.checkpoint_id, text="" if step.next else said
            )
        )
        above = parent.parent if step.next else parent.message_id
        for added in sorted(begun, key=lambda added: added.message_id):
            new = both.model.at(Said(above, said, "fork", AGENT, origin=None if step.next else origin), origin)
            both.place(new, added, None)
        for new in both.model.present[1:]:
            both.meet(new)
        assert len(both.model.below(above)) == 20 + (above is None)
        assert both.store.read([parent]) == both.rows
        both.compare()
        both.compare_all()

    def test_go_on_from_one_head_and_only_one_moves_the_branch(self, begin: Callable[[], Both]) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        (parent,), (main,) = both.model.present, both.model.kept
        new = NewMessage("", both.conversation_id, parent.message_id, branch_id=main.branch_id, agent_id=AGENT)
        texts = [words("done") for _ in range(20)]
        begun = at_once(lambda number: both.engine.start(both.viewer, replace(new, text=texts[number])))
        for said, added in sorted(zip(texts, begun, strict=True), key=lambda pair: pair[1].message_id):
            both.place(both.model.under(Said(parent.message_id, said, "continue", AGENT)), added, main.branch_id)
        assert [added.branch_id for added in begun].count(main.branch_id) == 1
        assert len({line.name for line in both.model.kept}) == len(both.model.kept) == 20
        for one in both.model.present[1:]:
            both.meet(one)
        both.compare()


class TestSeveralMessages:
    """`start_many` writes all of them or none."""

    def counts(self, skein: Skein) -> list[int]:
        with skein.database.read() as db:
            tables = (Session, Conversation, Message, ThreadRow, Branch)
            return [db.exec(select(func.count()).select_from(table)).one() for table in tables]

    def refused(self, skein: Skein, viewer: Viewer, news: dict[str, NewMessage]) -> SkeinError:
        """What it says, when it has left nothing behind."""
        before = self.counts(skein)
        with pytest.raises(SkeinError) as caught:
            skein.engine.start_many(viewer, news)
        assert self.counts(skein) == before
        assert skein.engine.active(viewer) == []
        return caught.value

    @pytest.mark.parametrize("bad", [Variant(agent_id="nobody"), Variant(temperature=9.0)])
    @pytest.mark.parametrize("is_first", [True, False])
    def test_are_not_begun_when_one_variant_is_bad(
        self, opened: Skein, alice: Viewer, bad: Variant, is_first: bool
    ) -> None:
        root = answered(opened, alice, ask(opened, alice, words("done"), agent=AGENT).thread_id)
        place = () if is_first else (root.conversation_id, root.message_id)
        before = self.counts(opened)
        with pytest.raises(SkeinError):
            branching.fan_out(
                opened.engine, alice, NewMessage("many", *place, agent_id=AGENT), {"good": Variant(), "bad": bad}
            )
        assert self.counts(opened) == before
        assert opened.engine.active(alice) == []

    def test_are_not_begun_when_the_last_one_has_no_place(self, opened: Skein, alice: Viewer) -> None:
        one, other = (
            answered(opened, alice, ask(opened, alice, words("done"), agent=AGENT).thread_id) for _ in "12"
        )
        good = NewMessage("good", one.conversation_id, one.message_id, agent_id=AGENT)
        bad = NewMessage("bad", other.conversation_id, one.message_id, agent_id=AGENT)
        gone = NewMessage("bad", one.conversation_id, new_message_id(), agent_id=AGENT)
        empty = NewMessage(" ", one.conversation_id, one.message_id, agent_id=AGENT)
        first = NewMessage("a first message", agent_id=AGENT)
        assert isinstance(self.refused(opened, alice, {"good": good, "bad": bad}), BadInputError)
        assert isinstance(self.refused(opened, alice, {"good": good, "bad": gone}), NotFoundError)
        assert isinstance(self.refused(opened, alice, {"first": first, "bad": empty}), BadInputError)

    def test_are_not_begun_when_they_are_more_than_can_wait(self, opened: Skein, alice: Viewer) -> None:
        news = {str(number): NewMessage(words("done"), agent_id=AGENT) for number in range(60)}
        assert isinstance(self.refused(opened, alice, news), BusyError)


# -- what random sequences found ----------------------------------------------------------------------------


def begun(skein: Skein, viewer: Viewer, word: str, under: Turn | None = None) -> Turn:
    """A message that was asked and answered, be it badly."""
    return answered(skein, viewer, ask(skein, viewer, words(word), under=under, agent=AGENT).thread_id)


def state_of(skein: Skein, viewer: Viewer, turn: Turn) -> State:
    return to_state(skein.engine.get_state(viewer, turn.thread_id).values)


def people(skein: Skein, viewer: Viewer, turn: Turn) -> tuple[list[str], list[str]]:
    """What people said, as the path shows it, and as the state has it."""
    with skein.database.read() as db:
        path = get_path(viewer, db, turn.message_id)
    messages = state_of(skein, viewer, turn).messages
    return [one.content for one in path], [said for kind, said in messages if kind == "human"]


def delete(skein: Skein, viewer: Viewer, turn: Turn) -> None:
    with skein.database.read() as db:
        branch = branches.get_branch_below(viewer, db, turn.message_id)
    branching.delete(skein.engine, viewer, branch.branch_id)


@pytest.fixture
def settled(opened: Skein, alice: Viewer) -> Callable[[Added], Turn]:
    return lambda added: answered(opened, alice, added.thread_id)


class TestWhatRandomSequencesFound(OnSqlite):
    @pytest.mark.parametrize(("place", "count"), [(-1, 101), (2, 100)])
    def test_a_fork_that_never_ran_is_retried_from_where_it_was_to_start(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn], place: int, count: int
    ) -> None:
        root = begun(opened, alice, "done")
        step = opened.engine.read_states(alice, root.thread_id)[place]
        busy = [ask(opened, alice, words("hangs"), agent=AGENT) for _ in range(4)]
        said = "" if step.next else words("done")
        forked = branching.fork(
            opened.engine, alice, root.thread_id, step.checkpoint_id, text=said, edits={"count": 100}
        )
        opened.engine.stop(alice, forked.thread_id)
        for turn in busy:
            wait_until(lambda turn=turn: turn.content in counting.ENTERED)
            opened.engine.stop(alice, turn.thread_id)
        retried = settled(branching.retry(opened.engine, alice, settled(forked).thread_id))
        assert (retried.status, state_of(opened, alice, retried).count) == ("done", count)

    @pytest.mark.parametrize("word", ["done", "late"])
    def test_a_fork_of_what_a_thread_began_with_knows_what_is_shown_above_it(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn], word: str
    ) -> None:
        child = begun(opened, alice, "done", under=begun(opened, alice, word))
        step = opened.engine.read_states(alice, child.thread_id)[0]
        said = "" if step.next else words("done")
        forked = branching.fork(opened.engine, alice, child.thread_id, step.checkpoint_id, text=said)
        shown, known = people(opened, alice, settled(forked))
        assert known == shown

    def test_below_a_retry_nothing_is_said_twice_when_the_first_try_is_purged(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn]
    ) -> None:
        root = begun(opened, alice, "late")
        retried = settled(branching.retry(opened.engine, alice, root.thread_id))
        assert retried.status == "failed"
        delete(opened, alice, root)
        purge_branches(opened.database, opened.housekeeper.forget_thread, now=utc_now() + timedelta(minutes=2))
        shown, known = people(opened, alice, begun(opened, alice, "done", under=retried))
        assert known == shown

    def test_another_agent_beside_a_fork_is_given_the_transcript_and_no_checkpoint(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn]
    ) -> None:
        root = begun(opened, alice, "done")
        forked = settled(
            branching.fork(opened.engine, alice, root.thread_id, text=words("done"), edits={"count": 100})
        )
        new = branching.sibling(opened.engine, alice, forked.message_id)
        variants = {"same": Variant(), "other": Variant(agent_id=OTHER)}
        fan = branching.fan_out(opened.engine, alice, new, variants)
        counts = {name: state_of(opened, alice, settled(added)).count for name, added in fan.items()}
        assert counts == {"same": 101, "other": 1}

    def test_a_snapshot_goes_out_of_sight_with_its_message(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn]
    ) -> None:
        root = begun(opened, alice, "done")
        edited = settled(branching.edit(opened.engine, alice, root.message_id, words("done")))
        branching.snapshot(opened.engine, alice, edited.thread_id, "kept")
        delete(opened, alice, edited)
        with opened.database.read() as db:
            assert snapshots.list_snapshots(alice, db, root.conversation_id) == []

    def test_a_deleted_run_that_does_not_end_keeps_no_other_branch_from_being_purged(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn]
    ) -> None:
        root, later = begun(opened, alice, "done"), utc_now() + timedelta(minutes=2)
        settled(branching.edit(opened.engine, alice, root.message_id, words("done")))
        third = settled(branching.edit(opened.engine, alice, root.message_id, words("done")))
        hanging = ask(opened, alice, words("hangs"), under=root, agent=AGENT)
        wait_until(lambda: hanging.content in counting.ENTERED)

        def delete_three(db: Any) -> None:
            above = branches.create_branch(alice, db, root.message_id)
            ends = [branches.get_branch_below(alice, db, one.message_id) for one in (hanging, third)]
            for branch in (ends[0], above, ends[1]):
                branches.delete_branch(alice, db, branch.branch_id)

        opened.database.write(delete_three)
        try:
            purge_branches(opened.database, opened.housekeeper.forget_thread, now=later)
        except IntegrityError as error:
            raise AssertionError("the round was cut short") from error
        finally:
            opened.engine.stop_all(alice, [hanging.message_id])
        with opened.database.read() as db:
            assert db.get(Message, third.message_id) is None


class TestWhatWasFoundLater(OnSqlite):
    """Sequences that came upon faults."""

    @pytest.mark.parametrize("again", [branching.regenerate, lambda *args: branching.edit(*args, words("done"))])
    def test_what_was_asked_again_starts_from_the_edited_state_when_it_is_asked_once_more(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn], again: Callable[..., Added]
    ) -> None:
        root, count = begun(opened, alice, "done"), {"count": 100}
        forked = branching.fork(opened.engine, alice, root.thread_id, text=words("done"), edits=count)
        once = again(opened.engine, alice, settled(forked).message_id)
        twice = again(opened.engine, alice, settled(once).message_id)
        counts = [state_of(opened, alice, settled(added)).count for added in (forked, once, twice)]
        assert counts == [101, 101, 101]

    def test_a_fork_that_was_lost_at_its_end_is_retried_from_the_edited_state(
        self, opened: Skein, alice: Viewer, begin: Callable[[], Both], settled: Callable[[Added], Turn]
    ) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        both.fork(0, 3, "done")  # with edits, below the first message
        forked = both.model.present[-1]
        assert forked.newest.state.hint == f"by hand<{forked.content}"
        both.lose(1, 0, "")
        retried = settled(branching.retry(opened.engine, alice, forked.thread_id))
        assert state_of(opened, alice, retried).hint == forked.newest.state.hint

    @pytest.mark.parametrize("number", range(3))
    def test_a_fork_of_a_step_that_was_lost_at_its_end_is_retried_from_that_step_with_its_edits(
        self, begin: Callable[[], Both], number: int
    ) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        both.do("fork", number, 2, "")  # without edits, or with others each time
        both.do("lose", 1, 0, "")
        both.do("retry", 0, 0, "")
        _, forked, retried = both.model.present
        assert (retried.answer, retried.source) == (forked.answer, forked.source)
        assert both.read(get_turn, retried.message_id).answer.startswith("one 1\n\ntwo ")

    @pytest.mark.parametrize("operation", [("edit", 2, 0, "done"), ("regenerate", 2, 0, ""), ("retry", 0, 0, "")])
    def test_a_retry_of_an_edited_fork_is_asked_again_from_the_edited_state(
        self, begin: Callable[[], Both], operation: tuple[str, int, int, str]
    ) -> None:
        both = begin()
        both.do("first", 0, 0, "done")
        both.do("fork", 0, 3, "late")  # with edits, below the first message
        both.do("retry", 0, 1, "")
        retried = both.model.present[-1]
        assert retried.status == "done"
        if operation[0] == "retry":
            both.do("lose", 2, 0, "")
            operation = ("retry", 1, 0, "")
        both.do(*operation)
        again = both.read(get_turn, both.model.present[-1].message_id)
        assert (again.status, "by hand<" in again.answer) == ("done", True)

    def test_a_fork_of_an_edited_state_knows_what_is_shown_above_it(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn]
    ) -> None:
        root = begun(opened, alice, "done")
        forked = settled(
            branching.fork(opened.engine, alice, root.thread_id, text=words("done"), edits={"count": 100})
        )
        edited = opened.engine.read_states(alice, forked.thread_id)[1]
        assert (edited.next, edited.values["count"]) == ((), 100)
        again = branching.fork(opened.engine, alice, forked.thread_id, edited.checkpoint_id, text=words("done"))
        shown, known = people(opened, alice, settled(again))
        assert known == shown
        assert state_of(opened, alice, settled(again)).count == 101

    def test_a_snapshot_of_what_a_fork_began_with_can_be_started_from_when_its_source_is_deleted(
        self, opened: Skein, alice: Viewer, settled: Callable[[Added], Turn]
    ) -> None:
        root = begun(opened, alice, "done")
        step = opened.engine.read_states(alice, root.thread_id)[2]
        forked = settled(branching.fork(opened.engine, alice, root.thread_id, step.checkpoint_id))
        kept = branching.snapshot(opened.engine, alice, forked.thread_id, "kept", step.checkpoint_id)
        delete(opened, alice, root)
        again = settled(branching.fork(opened.engine, alice, kept.thread_id, kept.checkpoint_id))
        assert state_of(opened, alice, again) == state_of(opened, alice, forked)

    def test_a_fork_of_an_edited_state_that_was_cleared_away_says_so(
        self, opened: Skein, alice: Viewer, begin: Callable[[], Both], settled: Callable[[Added], Turn]
    ) -> None:
        root = begun(opened, alice, "done")
        forked = settled(
            branching.fork(opened.engine, alice, root.thread_id, text=words("done"), edits={"count": 100})
        )
        edited = opened.engine.read_states(alice, forked.thread_id)[1]
        begin().keeper.compact()
        with pytest.raises(NotFoundError, match="cleared away"):
            branching.fork(opened.engine, alice, forked.thread_id, edited.checkpoint_id, text=words("done"))


class TestTwoProcesses:
    """They share a PostgreSQL database; SQLite has one writer."""

    def race(self, one: Skein, other: Skein, job: Callable[[Any], T]) -> T:
        """What the second one gets, when both do it, and the first has done it but not committed yet."""
        done = threading.Event()
        waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")

        def is_awaited() -> bool:
            with one.database.read() as db:
                return bool(db.connection().execute(waiting).scalar_one())

        def first(db: Any) -> None:
            job(db)
            done.set()
            wait_until(is_awaited)

        before = one.database.submit(first)
        assert done.wait(10)
        try:
            return other.database.write(job)
        finally:
            before.result(10)

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    @pytest.mark.parametrize("what", ["create", "rename", "snapshot"])
    def test_that_want_the_same_name_are_told_so_or_get_another(
        self, opened: Skein, alice: Viewer, settings: Settings, what: str
    ) -> None:
        root = begun(opened, alice, "done")
        with opened.database.read() as db:
            main = branches.get_newest_branch(alice, db, root.conversation_id)
        beside = opened.database.write(lambda db: branches.create_branch(alice, db, root.message_id))
        free = iter([main.branch_id, beside.branch_id])
        checkpoint = opened.engine.get_state(alice, root.thread_id).checkpoint_id
        jobs: dict[str, Callable[[Any], Any]] = {
            "create": lambda db: branches.create_branch(alice, db, root.message_id).name,
            "rename": lambda db: branches.rename_branch(alice, db, next(free), "same"),
            "snapshot": lambda db: snapshots.create_snapshot(alice, db, root.thread_id, checkpoint, "same"),
        }
        with another_skein(settings) as other:
            try:
                found = self.race(opened, other, jobs[what])
            except ConflictError:
                found = "refused"
            except IntegrityError as error:
                raise AssertionError("the database's own error came out") from error
        assert found == ("beside 4" if what == "create" else "refused")
