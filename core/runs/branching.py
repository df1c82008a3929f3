"""Going another way: every way of branching is one operation, *start a new thread from a checkpoint of another*.

Plain functions over the engine. Invariant: what is branched from is never changed; a branch that cannot be begun
leaves nothing behind.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from core.access.viewer import Viewer
from core.errors import BadInputError, ConflictError, NotFoundError
from core.history.branches import delete_branch
from core.history.files import Attachment
from core.history.messages import Added, NewMessage
from core.history.snapshots import SnapshotRow, create_snapshot, delete_snapshot
from core.history.turns import (
    ATTACHMENTS,
    EDITED_AT,
    EDITS,
    INPUTS,
    UNFINISHED,
    ThreadKind,
    Turn,
    get_path,
    get_turn,
    get_turn_of_thread,
)
from core.ids import BranchId, MessageId, ThreadId
from core.runs.engine import Engine, WhenBusy
from core.runs.execute import StateStep
from core.runs.store import had_checkpoint

MOST_VARIANTS = 8
LARGEST_EDIT = 500_000


@dataclass(frozen=True)
class Variant:
    """Who is to answer one of several times: an agent, a model, a temperature; None is as it would be anyway."""

    agent_id: str | None = None
    model: str | None = None
    temperature: float | None = None


def edit(
    engine: Engine,
    viewer: Viewer,
    message_id: MessageId,
    text: str,
    *,
    files: Sequence[Attachment] | None = None,
    when_busy: WhenBusy = "refuse",
) -> Added:
    """Ask the same in other words: a sibling that starts from the same state.

    It keeps the files of the message, unless ``files`` are given, which take their place.
    """
    new = sibling(engine, viewer, message_id, ThreadKind.EDIT)
    if files is not None:
        config = {name: value for name, value in new.config.items() if name != ATTACHMENTS}
        new = replace(new, config=config, files=tuple(files))
    return engine.start(viewer, replace(new, text=text), when_busy=when_busy)


def regenerate(engine: Engine, viewer: Viewer, message_id: MessageId) -> Added:
    """Have the same words answered again: a sibling that starts from the same state."""
    return engine.start(viewer, sibling(engine, viewer, message_id))


def retry(engine: Engine, viewer: Viewer, thread_id: ThreadId) -> Added:
    """Answer the same message in a sibling that goes on from the last checkpoint of a thread that was cut short."""
    turn = _turn_of(engine, viewer, thread_id)
    if turn.status not in UNFINISHED:
        raise ConflictError("Only an answer that was stopped, failed or lost can be retried.")
    new = _beside(turn, ThreadKind.RETRY)
    source = _source_of(turn)
    if source["source_checkpoint_id"] is not None and not _is_begun(engine, viewer, turn):
        # There is nothing to go on with: it begins where it was to begin.
        _check_there(engine, viewer, source["parent_thread_id"])
        return engine.start(viewer, replace(new, **source))
    return engine.start(viewer, replace(new, parent_thread_id=turn.thread_id))


def _check_there(engine: Engine, viewer: Viewer, thread_id: ThreadId | None) -> None:
    try:
        if thread_id is not None:
            _turn_of(engine, viewer, thread_id)
            return
    except NotFoundError:
        pass
    raise NotFoundError("The state that this was to start from was deleted; ask the message again instead.")


def _is_begun(engine: Engine, viewer: Viewer, turn: Turn) -> bool:
    """Whether a retry finds something to go on with, or can begin like any message; a fork cannot."""
    if turn.started_at is None:
        return False
    if not _was_forked(turn):
        return True
    try:
        return bool(engine.get_state(viewer, turn.thread_id).next)
    except NotFoundError:
        return False


def fork(
    engine: Engine,
    viewer: Viewer,
    thread_id: ThreadId,
    checkpoint_id: str | None = None,
    *,
    text: str = "",
    edits: Mapping[str, Any] | None = None,
    name: str = "",
) -> Added:
    """Start from any checkpoint (None: the newest) of a thread that is not running, its state edited or as it was.

    In the middle of a run the new message is a sibling with the same words, and the run goes on from there; at the
    end of one ``text`` is said next. BadInputError says which of ``edits`` the graph's schema does not take.
    """
    turn = _turn_of(engine, viewer, thread_id)
    if turn.is_live:
        raise ConflictError("This answer is still being written; wait for it, or stop it first.")
    owner = _owner_of(engine, viewer, turn, checkpoint_id)
    step = engine.get_state(viewer, owner.thread_id, checkpoint_id)
    if edits:
        _check_size(edits)
        engine.check_edits(owner.agent_id, edits)
    source: dict[str, Any] = {"parent_thread_id": owner.thread_id, "source_checkpoint_id": step.checkpoint_id}
    edited = {EDITS: dict(edits), EDITED_AT: source} if edits else {}
    new = _placed(owner, step, text)
    # What is said next is another message, and brings nothing along.
    kept = owner.brought if new.parent_message_id == owner.parent_message_id else {}
    new = replace(new, **source, config=turn.settings | kept | edited, name=name)
    return engine.start(viewer, new)


def _check_size(edits: Mapping[str, Any]) -> None:
    try:
        size = len(json.dumps(edits))
    except (TypeError, ValueError, RecursionError):
        raise BadInputError(
            "The edited state must be plain data, as JSON has it, and not nested too deeply."
        ) from None
    if size > LARGEST_EDIT:
        raise BadInputError(f"The edited state has {size:,} characters; please keep it to {LARGEST_EDIT:,}.")


def _owner_of(engine: Engine, viewer: Viewer, turn: Turn, checkpoint_id: str | None) -> Turn:
    """The turn in whose run a checkpoint was made: what a thread began with is a state of one above.

    A thread's log tells which are its own; of one that it does not know the thread's beginning decides.
    """
    if checkpoint_id is None:
        return turn
    with engine.database.read() as db:
        path = get_path(viewer, db, turn.message_id)
        threads = {above.thread_id: above for above in path[:-1]}
        own: Turn | None = turn
        while own is not None and not had_checkpoint(db, own.thread_id, checkpoint_id):
            own = threads.pop(own.parent_thread_id, None) if own.parent_thread_id else None
    if own is not None:
        return own
    while checkpoint_id == turn.source_checkpoint_id and turn.parent_thread_id in threads:
        turn = threads.pop(turn.parent_thread_id)
    return turn


def _placed(turn: Turn, step: StateStep, text: str) -> NewMessage:
    """Where a message hangs that starts from this state: beside the turn in whose run it is, or after it."""
    beside = _beside(turn, ThreadKind.FORK)
    if step.next:
        if text.strip() and text != turn.content:
            raise BadInputError(
                "This state is in the middle of a run, which goes on with the same message; leave it as it is."
            )
        return beside
    if not text.strip():
        raise BadInputError("At this state nothing is left to do; type what to say next.")
    if step.source == "update" and EDITS in turn.config:
        # The state as it was edited before the message was put to it.
        return replace(beside, text=text)
    return replace(beside, text=text, parent_message_id=turn.message_id)


def fan_out(
    engine: Engine,
    viewer: Viewer,
    new: NewMessage,
    variants: Mapping[str, Variant],
    *,
    when_busy: WhenBusy = "refuse",
) -> dict[str, Added]:
    """Ask one thing of several models, temperatures or agents at once, as siblings; all of them or none."""
    if not 2 <= len(variants) <= MOST_VARIANTS:
        raise BadInputError(f"Choose 2 to {MOST_VARIANTS} models or agents to answer side by side.")
    news = {name: _variant_of(new, name, variant) for name, variant in variants.items()}
    return engine.start_many(viewer, news, when_busy=when_busy)


def delete(engine: Engine, viewer: Viewer, branch_id: BranchId) -> list[MessageId]:
    """Delete a branch with what only it has, and stop what runs there; for a minute that can be undone."""
    gone = engine.database.write(lambda db: delete_branch(viewer, db, branch_id))
    engine.stop_all(viewer, gone)
    return gone


def sibling(
    engine: Engine, viewer: Viewer, message_id: MessageId, kind: ThreadKind = ThreadKind.REGENERATE
) -> NewMessage:
    """A message as it would be asked again: under the same parent, from the state that it started from."""
    with engine.database.read() as db:
        turn = get_turn(viewer, db, message_id)
        parent = get_turn(viewer, db, turn.parent_message_id) if turn.parent_message_id else None
    new = _beside(turn, kind)
    source = _source_of(turn)
    if _was_forked(turn) and parent is not None and source["parent_thread_id"] == parent.thread_id:
        return replace(new, **source)
    return replace(new, config=turn.settings | turn.brought)


def snapshot(
    engine: Engine, viewer: Viewer, thread_id: ThreadId, name: str, checkpoint_id: str | None = None
) -> SnapshotRow:
    """Name a checkpoint (None: the newest) of a thread, so that it is kept and can be started from."""
    step = engine.get_state(viewer, thread_id, checkpoint_id)
    taken = engine.database.write(lambda db: create_snapshot(viewer, db, thread_id, step.checkpoint_id, name))
    try:
        # Once more: between looking and naming it may have been cleared away; from here on it cannot.
        engine.get_state(viewer, thread_id, step.checkpoint_id)
    except NotFoundError:
        engine.database.write(lambda db: delete_snapshot(viewer, db, taken.snapshot_id))
        raise
    return taken


def _beside(turn: Turn, kind: ThreadKind) -> NewMessage:
    return NewMessage(
        turn.content,
        conversation_id=turn.conversation_id,
        parent_message_id=turn.parent_message_id,
        kind=kind,
        agent_id=turn.agent_id,
        config=turn.config,
    )


def _source_of(turn: Turn) -> dict[str, Any]:
    """Where its state came from; where there are edits, the state that was edited."""
    own = {"parent_thread_id": turn.parent_thread_id, "source_checkpoint_id": turn.source_checkpoint_id}
    return dict(turn.config.get(EDITED_AT) or own)


def _was_forked(turn: Turn) -> bool:
    """Whether its state came from a checkpoint that somebody chose, also of what was asked again since."""
    return turn.kind == ThreadKind.FORK or EDITS in turn.config


def _variant_of(new: NewMessage, name: str, variant: Variant) -> NewMessage:
    if variant.temperature is not None and not 0 <= variant.temperature <= 2:
        raise BadInputError(f"The temperature of {name!r} is {variant.temperature:g}; it must be between 0 and 2.")
    chosen = {"model": variant.model, "temperature": variant.temperature}
    config = new.config | {key: value for key, value in chosen.items() if value is not None}
    if variant.agent_id not in {None, new.agent_id}:
        # Another agent cannot start from this one's checkpoint; it is given what was said.
        config = {name: value for name, value in config.items() if name not in {EDITS, EDITED_AT, INPUTS}}
        new = replace(new, parent_thread_id=None, source_checkpoint_id=None)
    return replace(
        new, kind=ThreadKind.FAN_OUT, name=name, agent_id=variant.agent_id or new.agent_id, config=config
    )


def _turn_of(engine: Engine, viewer: Viewer, thread_id: ThreadId) -> Turn:
    with engine.database.read() as db:
        return get_turn_of_thread(viewer, db, thread_id)
