"""What the chat's branch has of the session's artifacts: named by its head's state, or shared by the session.

Invariant: later versions of another branch are not on the shelf; without any artifact it costs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import NotFoundError, SkeinError
from core.history.artifacts import (
    Ref,
    VersionRow,
    find_named,
    find_shared,
    list_named,
    resolve_all,
)
from core.history.turns import ENDED, Turn, get_path_part, list_path_threads
from core.ids import ThreadId
from core.skein import Skein
from pages.parts.ui.open_branch import Opened


@dataclass(frozen=True)
class Shelf:
    """The version that a branch has of each artifact: its own, and beside them what the session shares."""

    named: Sequence[VersionRow] = ()
    shared: Sequence[VersionRow] = ()
    threads: Sequence[ThreadId] = ()
    may_edit: bool = False
    problem: str = ""

    def __len__(self) -> int:
        return len(self.named) + len(self.shared)

    @property
    def thread_id(self) -> ThreadId | None:
        """The branch's last thread: what is made by hand is made after it."""
        return self.threads[-1] if self.threads else None

    def find(self, artifact_id: str) -> VersionRow | None:
        """The version of an artifact that the branch has."""
        return next((row for row in (*self.named, *self.shared) if row.artifact_id == artifact_id), None)


def read_shelf(skein: Skein, viewer: Viewer, opened: Opened) -> Shelf:
    """What the opened branch has; it can be edited by its owner when its answer is complete."""
    conversation, head, session_id = opened.conversation, opened.head, opened.session_id
    if session_id is None:
        return Shelf()
    if conversation is None or head is None:
        with skein.database.read() as db:
            return Shelf(shared=find_shared(viewer, db, session_id, None))
    if not opened.has_artifacts:
        return Shelf()
    values, problem = _newest_state(skein, viewer, head)
    named = find_named(values)
    with skein.database.read() as db:
        threads = list_path_threads(viewer, db, head.message_id)
        own = _in_place(viewer, db, named, threads)
        shared = find_shared(viewer, db, conversation.session_id, conversation.conversation_id)
        known = {row.artifact_id for row in own}
        others = _in_place(viewer, db, [row.ref for row in shared if row.artifact_id not in known], threads)
    is_own = conversation.user_id == viewer.user_id
    may_edit = is_own and head.status in ENDED and not problem
    return Shelf(own, others, threads, may_edit=may_edit, problem=problem)


def _in_place(viewer: Viewer, db: Db, refs: Any, threads: Sequence[ThreadId]) -> list[VersionRow]:
    """The newest of these by hand on the branch; of one artifact in two versions the newer."""
    resolved: dict[str, Ref] = {}
    for ref in sorted(set(resolve_all(db, list(refs), threads).values())):
        resolved[ref.artifact_id] = ref
    return list_named(viewer, db, resolved.values())


def _newest_state(skein: Skein, viewer: Viewer, head: Turn) -> tuple[Any, str]:
    """The values of the head's newest state (of the turn before where it has none yet), or why there are none."""
    with skein.database.read() as db:
        last = get_path_part(viewer, db, head.message_id, most=2)
    for turn in reversed(last):
        try:
            return skein.engine.get_state(viewer, turn.thread_id).values, ""
        except NotFoundError:
            continue
        except SkeinError as error:
            return None, str(error)
    return None, ""


def of_branch(shelf: Shelf, versions: Sequence[VersionRow]) -> list[VersionRow]:
    """Of an artifact's versions those that led to the one the branch has, and those its own runs made."""
    own = shelf.find(versions[0].artifact_id) if versions else None
    if own is None:
        return list(versions)
    known = {row.version: row for row in (*versions, own)}
    led: set[int] = set()
    number: int | None = own.version
    while number is not None and number in known:
        led.add(number)
        number = known[number].base_version
    is_own = {row.version for row in known.values() if row.thread_id in shelf.threads and not row.by_hand}
    return [known[version] for version in sorted(led | is_own)]
