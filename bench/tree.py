"""The picture of a conversation's tree at 20 to 10,000 messages: what the server does before a browser draws it.

Timed are the tree's skeleton from the database (``load``), the beginnings of what people said (``labels``), the
layout, the chart's option, and the option as JSON; ``server`` is load, layout and option together. Beside it, in
the same run: reading the messages whole (``whole``), and a picture made from that with a mark for each message
(``naive``: whole, layout, option). Each message and each answer is about a kilobyte, as they are in practice.

    python -m bench.tree --messages 20,1000,5000,10000
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from core.access.viewer import Viewer
from core.database import Database, insert_rows, table_of
from core.history.tree import Tree, get_tree
from core.ids import (
    ConversationId,
    MessageId,
    new_branch_id,
    new_conversation_id,
    new_message_id,
    new_session_id,
    new_thread_id,
    new_user_id,
)
from core.tables import Branch, Conversation, Message, Session, Thread, User
from pages.parts.branches.tree_layout import Layout, lay_out
from pages.parts.branches.tree_picture import draw_tree
from pages.parts.branches.tree_summary import Facts

BEGIN = datetime(2026, 3, 2, 9, tzinfo=UTC)
TEXT = "Please compare both branches and write a short summary with numbers. 请比较两个分支的成本和延迟。 "
STATUSES = ("done", "done", "done", "done", "done", "done", "done", "done", "stopped", "failed", "lost")
MODELS = ("gpt-4o-mini", "claude-sonnet-4", "demo", None)
_message, _thread = table_of(Message), table_of(Thread)


@dataclass(frozen=True, slots=True)
class Made:
    """A conversation that was made, and who may see it."""

    viewer: Viewer
    conversation_id: ConversationId
    head: MessageId
    facts: dict[MessageId, Facts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", default="20,1000,5000,10000")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    columns = ("messages", "marks", "load", "labels", "layout", "option", "server", "json", "KB", "whole", "naive")
    print("".join(f"{column:>9}" for column in columns) + f"{'load/whole':>12}{'server/naive':>14}    p50 in ms")
    with tempfile.TemporaryDirectory(prefix="skein-tree-") as folder:
        database = Database(f"sqlite:///{Path(folder) / 'tree.db'}")
        database.migrate()
        for count in map(int, arguments.messages.split(",")):
            _measure(database, make(database, count), arguments.rounds)
        database.close()


def _measure(database: Database, made: Made, rounds: int) -> None:
    with database.read() as db:
        tree = get_tree(made.viewer, db, made.conversation_id)
        layout, each = _laid_out(tree, made), _laid_out(tree, made, tree.nodes)
        option = draw_tree(tree, layout, made.facts, focus=made.head)
        load = _median(rounds, lambda: get_tree(made.viewer, db, made.conversation_id))
        labels = _median(rounds, lambda: _read_labels(db, made))
        whole = _median(rounds, lambda: _read_whole(db, made))
    laid = _median(rounds, lambda: _laid_out(tree, made))
    drawn = _median(rounds, lambda: draw_tree(tree, layout, made.facts, focus=made.head))
    text = _median(rounds, lambda: _to_json(option))
    naive = whole + _median(rounds, lambda: _laid_out(tree, made, tree.nodes))
    naive += _median(rounds, lambda: draw_tree(tree, each, made.facts, focus=made.head))
    server, size = load + laid + drawn, len(_to_json(option)) / 1024
    figures = [load, labels, laid, drawn, server, text, size, whole, naive]
    ratios = f"{load / whole:>12.2f}{server / naive:>14.2f}"
    print(f"{len(tree.nodes):>9,}{len(layout.marks):>9,}" + "".join(f"{one:>9.1f}" for one in figures) + ratios)


def _laid_out(tree: Tree, made: Made, kept: Collection[MessageId] = ()) -> Layout:
    return lay_out(tree, current=made.head, opened=frozenset(), never_collapse=kept)


def _to_json(option: dict[str, Any]) -> str:
    return json.dumps(option, separators=(",", ":"))


def _median(rounds: int, do: Callable[[], object]) -> float:
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        do()
        taken.append((time.perf_counter() - begun) * 1_000)
    return statistics.median(taken)


def _read_labels(db: Any, made: Made) -> list[Any]:
    begins = select(_message.c.message_id, func.substr(_message.c.content, 1, 80))
    return list(db.connection().execute(begins.where(_message.c.conversation_id == made.conversation_id)))


def _read_whole(db: Any, made: Made) -> list[Any]:
    """All columns of the messages and of their threads, as one would without a skeleton."""
    whole = select(_message, _thread).join(_thread, _thread.c.message_id == _message.c.message_id)
    return list(db.connection().execute(whole.where(_message.c.conversation_id == made.conversation_id)))


def make(database: Database, count: int, *, seed: int = 7) -> Made:
    """A conversation of so many messages: long lines, edits a few messages back, fans, second thoughts."""
    chance = random.Random(seed)
    user_id, session_id, conversation_id = new_user_id(), new_session_id(), new_conversation_id()
    parents = grow(count, chance)
    ids = [new_message_id() for _ in parents]
    depths: list[int] = []
    for parent in parents:
        depths.append(0 if parent is None else depths[parent] + 1)
    messages = [
        {
            "message_id": one,
            "conversation_id": conversation_id,
            "parent_message_id": None if parent is None else ids[parent],
            "content": f"Question {place}: {TEXT * 8}",
            "answer": TEXT * 10,
            "depth": depths[place],
            "created_at": BEGIN + timedelta(seconds=20 * place),
            "deleted_at": None,
        }
        for place, (one, parent) in enumerate(zip(ids, parents, strict=True))
    ]
    threads = [
        _thread_row(one, user_id, BEGIN + timedelta(seconds=20 * place), chance) for place, one in enumerate(ids)
    ]

    inner = {parent for parent in parents if parent is not None}
    leaves = [place for place in range(count) if place not in inner]
    branches = [
        _branch_row(conversation_id, ids[place], user_id, f"branch {number}")
        for number, place in enumerate(leaves, start=1)
    ]

    def job(db: Any) -> None:
        for row in (
            User(user_id=user_id, name=f"ada {user_id}"),
            Session(session_id=session_id, user_id=user_id),
            Conversation(conversation_id=conversation_id, session_id=session_id, title=f"{count:,} messages"),
        ):
            db.add(row)
            db.flush()
        insert_rows(db, Message, messages)
        insert_rows(db, Thread, threads)
        insert_rows(db, Branch, branches)

    database.write(job)
    facts = {
        one: Facts(f"Question {place}: {TEXT}"[:80], chance.choice((None, 0.0, chance.expovariate(200))), "ada")
        for place, one in enumerate(ids)
    }
    return Made(Viewer(user_id, "ada", "member"), conversation_id, ids[-1], facts)


def _branch_row(conversation_id: str, head: str, user_id: str, name: str) -> dict[str, Any]:
    return {
        "branch_id": new_branch_id(),
        "conversation_id": conversation_id,
        "head_message_id": head,
        "user_id": user_id,
        "name": name,
        "created_at": BEGIN,
        "updated_at": BEGIN,
        "archived_at": None,
        "deleted_at": None,
    }


def grow(count: int, chance: random.Random) -> list[int | None]:
    """The parent of each of so many messages, as people make them."""
    parents: list[int | None] = [None]
    branching = 0.06 + 3 / count
    while len(parents) < count:
        at: int = len(parents) - 1
        if chance.random() < branching:
            kind = chance.random()
            if kind < 0.25:
                parents.extend([at] * min(chance.randint(2, 5), count - len(parents)))
                continue
            for _ in range(chance.randint(1, 8 if kind < 0.85 else 200)):
                above = parents[at]
                at = at if above is None else above
        parents.append(at)
    return parents


def _thread_row(message_id: MessageId, user_id: str, at: datetime, chance: random.Random) -> dict[str, Any]:
    blank = dict.fromkeys(column.name for column in _thread.columns)
    return blank | {
        "thread_id": new_thread_id(),
        "message_id": message_id,
        "user_id": user_id,
        "kind": "continue",
        "name": "",
        "agent_id": chance.choice(("assistant", "assistant", "researcher", "writer")),
        "agent_version": "1",
        "config": {"model": chance.choice(MODELS), "temperature": 0.7},
        "status": chance.choice(STATUSES),
        "lease_epoch": 1,
        "created_at": at,
        "started_at": at,
        "ended_at": at + timedelta(seconds=chance.expovariate(0.2)),
    }


if __name__ == "__main__":
    main()
