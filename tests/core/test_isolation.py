"""Nobody sees or changes what is another's: every public function of history and engine is tried as the wrong user.

A new public function fails ``test_every_public_function_is_tried`` until it is listed here.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import ForbiddenError, NotFoundError
from core.history import (
    approvals,
    artifact_rows,
    branches,
    conversations,
    excerpts,
    files,
    messages,
    opening,
    positions,
    rules,
    sessions,
    snapshots,
    stretches,
    tree,
    turns,
)
from core.history.approvals import ApprovalRow
from core.history.artifacts import Ref, download, write_version
from core.history.messages import Added, NewMessage, add_message
from core.history.snapshots import SnapshotRow
from core.history.turns import ThreadKind, Turn, get_turn
from core.ids import (
    BranchId,
    RuleId,
    SessionId,
    new_conversation_id,
    new_message_id,
    new_session_id,
    new_thread_id,
    new_view_id,
)
from core.runs import branching, decisions
from core.runs.branching import Variant
from core.runs.decisions import Decision
from core.runs.engine import Engine
from core.settings import Settings
from core.skein import Skein
from core.tables import utc_now
from tests.core.support import answered, ask, follow, graph_settings
from tests.graphs import showcase

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@dataclass(frozen=True)
class World:
    """Alice's things: what ended, what failed, what runs; and who tries to get at them."""

    skein: Skein
    alice: Viewer
    done: Turn
    failed: Turn
    runs: Turn
    first: Added
    branch_id: BranchId
    other_id: BranchId
    snapshot: SnapshotRow
    artifact: Ref
    asks: ApprovalRow
    rule_id: RuleId

    def below_done(self) -> NewMessage:
        return NewMessage(
            "mine now", conversation_id=self.done.conversation_id, parent_message_id=self.done.message_id
        )

    def tried(self, viewer: Viewer, name: str) -> Any:
        """Call the function on Alice's things as this viewer."""
        return (READS | WRITES)[name](self, viewer)

    def reading(self, function: Callable[..., Any], viewer: Viewer, *args: Any, **named: Any) -> Any:
        with self.skein.database.read() as db:
            return function(viewer, db, *args, **named)

    def writing(self, function: Callable[..., Any], viewer: Viewer, *args: Any, **named: Any) -> Any:
        return self.skein.database.write(lambda db: function(viewer, db, *args, **named))


def _attach(world: World, viewer: Viewer) -> Any:
    return [event for events in world.skein.engine.attach(viewer, world.done.thread_id) for event in events]


def _add(world: World, viewer: Viewer, **place: Any) -> Any:
    new = NewMessage("mine now", agent_id="echo", **place)
    return world.writing(add_message, viewer, new, worker="nobody", lease_until=utc_now())


def _decide(world: World, viewer: Viewer) -> Any:
    answer, told = [Decision("answer", answer="mine now")], world.asks.arguments_hash
    return decisions.decide(world.skein.engine, viewer, world.asks.approval_id, answer, arguments_hash=told)


def _write(viewer: Viewer, db: Db, session_id: SessionId) -> Ref:
    return write_version(
        viewer,
        db,
        session_id=session_id,
        kind="result",
        name="report",
        content=b"secret words",
        media_type="text/plain",
    )


# Each gives something of Alice's, or refuses.
READS: dict[str, Callable[[World, Viewer], Any]] = {
    "get_conversation": lambda w, v: w.reading(conversations.get_conversation, v, w.done.conversation_id),
    "get_headings": lambda w, v: w.reading(conversations.get_headings, v, [w.done.conversation_id]),
    "get_turn": lambda w, v: w.reading(get_turn, v, w.done.message_id),
    "get_turn_of_thread": lambda w, v: w.reading(turns.get_turn_of_thread, v, w.done.thread_id),
    "find_turn": lambda w, v: w.reading(turns.find_turn, v, w.done.message_id),
    "get_path": lambda w, v: w.reading(turns.get_path, v, w.done.message_id),
    "get_path_part": lambda w, v: w.reading(partial(turns.get_path_part, most=1), v, w.done.message_id),
    "list_path_threads": lambda w, v: w.reading(turns.list_path_threads, v, w.done.message_id),
    "get_ancestor": lambda w, v: w.reading(partial(turns.get_ancestor, depth=0), v, w.done.message_id),
    "open_branch": lambda w, v: w.reading(opening.open_branch, v, w.branch_id),
    "get_tree": lambda w, v: w.reading(tree.get_tree, v, w.done.conversation_id),
    "list_turns": lambda w, v: w.reading(turns.list_turns, v, w.done.conversation_id),
    "read_excerpts": lambda w, v: w.reading(excerpts.read_excerpts, v, w.done.conversation_id),
    "find_messages": lambda w, v: w.reading(excerpts.find_messages, v, w.done.conversation_id, "secret"),
    "branching.sibling": lambda w, v: branching.sibling(w.skein.engine, v, w.done.message_id),
    "list_fan": lambda w, v: w.reading(turns.list_fan, v, w.done.message_id),
    "list_branches": lambda w, v: w.reading(branches.list_branches, v, w.done.conversation_id),
    "get_stretches": lambda w, v: w.reading(stretches.get_stretches, v, w.branch_id),
    "get_branch": lambda w, v: w.reading(branches.get_branch, v, w.branch_id),
    "get_newest_branch": lambda w, v: w.reading(branches.get_newest_branch, v, w.done.conversation_id),
    "get_branch_below": lambda w, v: w.reading(branches.get_branch_below, v, w.done.message_id),
    "get_branch_to_open": lambda w, v: w.reading(positions.get_branch_to_open, v, w.done.conversation_id),
    "list_snapshots": lambda w, v: w.reading(snapshots.list_snapshots, v, w.done.conversation_id),
    "get_snapshot": lambda w, v: w.reading(snapshots.get_snapshot, v, w.snapshot.snapshot_id),
    "list_artifacts": lambda w, v: w.reading(artifact_rows.list_artifacts, v, w.first.session_id),
    "has_artifacts": lambda w, v: w.reading(artifact_rows.has_artifacts, v, w.first.session_id),
    "has_made_artifacts": lambda w, v: w.reading(artifact_rows.has_made_artifacts, v, w.done.thread_id) is False,
    "list_versions": lambda w, v: w.reading(artifact_rows.list_versions, v, w.artifact.artifact_id),
    "list_named": lambda w, v: w.reading(artifact_rows.list_named, v, [w.artifact]),
    "get_version": lambda w, v: w.reading(artifact_rows.get_version, v, w.artifact),
    "read_content": lambda w, v: w.reading(artifact_rows.read_content, v, w.artifact),
    "download": lambda w, v: download(v, w.skein.database, w.artifact),
    "find_shared": lambda w, v: w.reading(artifact_rows.find_shared, v, w.first.session_id, None),
    "list_files": lambda w, v: w.reading(files.list_files, v, [w.artifact]),
    "read_files": lambda w, v: [one for one in w.reading(files.read_files, v, [w.artifact]) if one],
    "get_session": lambda w, v: w.reading(sessions.get_session, v, w.first.session_id),
    "list_of_thread": lambda w, v: w.reading(approvals.list_of_thread, v, w.asks.thread_id),
    "list_of_threads": lambda w, v: w.reading(approvals.list_of_threads, v, [w.asks.thread_id]),
    "get_approval": lambda w, v: w.reading(approvals.get_approval, v, w.asks.approval_id),
    "Engine.find_asked": lambda w, v: w.skein.engine.find_asked(v, w.asks.thread_id),
    "Engine.get_state": lambda w, v: w.skein.engine.get_state(v, w.done.thread_id),
    "Engine.attach": _attach,
    "Engine.read_states": lambda w, v: w.skein.engine.read_states(v, w.done.thread_id),
}
WRITES: dict[str, Callable[[World, Viewer], Any]] = {
    "rename_conversation": lambda w, v: w.writing(
        conversations.rename_conversation, v, w.done.conversation_id, "mine now"
    ),
    "delete_conversation": lambda w, v: w.writing(conversations.delete_conversation, v, w.done.conversation_id),
    "restore_conversation": lambda w, v: w.writing(conversations.restore_conversation, v, w.done.conversation_id),
    "add_message": lambda w, v: _add(
        w, v, conversation_id=w.done.conversation_id, parent_message_id=w.done.message_id
    ),
    "Engine.start": lambda w, v: ask(w.skein, v, "mine now", under=w.done, agent="echo"),
    "add_messages": lambda w, v: w.writing(
        messages.add_messages,
        v,
        [NewMessage("a", conversation_id=w.done.conversation_id), NewMessage("b")],
        worker="nobody",
        lease_until=utc_now(),
    ),
    "Engine.start_many": lambda w, v: w.skein.engine.start_many(v, {"a": NewMessage("a"), "b": w.below_done()}),
    "branching.edit": lambda w, v: branching.edit(w.skein.engine, v, w.done.message_id, "mine now"),
    "branching.regenerate": lambda w, v: branching.regenerate(w.skein.engine, v, w.done.message_id),
    "branching.retry": lambda w, v: branching.retry(w.skein.engine, v, w.failed.thread_id),
    "branching.fork": lambda w, v: branching.fork(w.skein.engine, v, w.done.thread_id, text="mine now"),
    "branching.fan_out": lambda w, v: branching.fan_out(
        w.skein.engine, v, w.below_done(), {"a": Variant(), "b": Variant(temperature=1.0)}
    ),
    "branching.snapshot": lambda w, v: branching.snapshot(w.skein.engine, v, w.done.thread_id, new_view_id()),
    "branching.delete": lambda w, v: branching.delete(w.skein.engine, v, w.branch_id),
    "create_branch": lambda w, v: w.writing(branches.create_branch, v, w.done.message_id),
    "rename_branch": lambda w, v: w.writing(branches.rename_branch, v, w.branch_id, "mine now"),
    "archive_branch": lambda w, v: w.writing(branches.archive_branch, v, w.branch_id, archived=True),
    "delete_branch": lambda w, v: w.writing(branches.delete_branch, v, w.other_id),
    "restore_branch": lambda w, v: w.writing(branches.restore_branch, v, w.branch_id),
    "create_snapshot": lambda w, v: w.writing(
        snapshots.create_snapshot, v, w.done.thread_id, w.snapshot.checkpoint_id, new_view_id()
    ),
    "delete_snapshot": lambda w, v: w.writing(snapshots.delete_snapshot, v, w.snapshot.snapshot_id),
    "rename_session": lambda w, v: w.writing(sessions.rename_session, v, w.first.session_id, "mine now"),
    "archive_session": lambda w, v: w.writing(sessions.archive_session, v, w.first.session_id),
    "mark_deleted": lambda w, v: w.writing(sessions.mark_deleted, v, w.first.session_id),
    "restore_session": lambda w, v: w.writing(sessions.restore_session, v, w.first.session_id),
    "get_own_session": lambda w, v: w.writing(sessions.get_own_session, v, w.first.session_id),
    "revoke_rule": lambda w, v: w.writing(rules.revoke_rule, v, w.rule_id),
    "decisions.decide": _decide,
    "Engine.settle": lambda w, v: w.skein.engine.settle(v, w.asks.thread_id, lambda db: None),
    "write_version": lambda w, v: w.writing(_write, v, w.first.session_id),
    "store_files": lambda w, v: w.writing(
        files.store_files, v, w.first.session_id, [files.Attachment("mine.txt", "text/plain", b"mine now")]
    ),
    "require_own_conversation": lambda w, v: w.writing(
        conversations.require_own_conversation, v, w.done.conversation_id
    ),
    "Engine.stop": lambda w, v: w.skein.engine.stop(v, w.runs.thread_id),
}
# These give nothing where others refuse.
FINDS_NOTHING = {"get_headings", "list_named", "list_files", "read_files", "list_of_thread", "list_of_threads"}
# These give what is the viewer's own and nothing else: each has a test of its own below.
OWN = {
    "list_conversations",
    *("Engine.active", "Engine.active_everywhere"),
    "Engine.place_of",
    # In test_tree.py, test_branches.py, and in test_saved_views.py:
    "find_siblings",
    *("find_marks", "find_marks_in", "set_star", "set_note", "remember_position", "find_position"),
    # In test_annotations.py:
    *("add_tag", "remove_tag", "set_score", "set_review", "list_tags"),
    "list_happenings",  # in test_timeline.py
    *("list_templates", "get_template", "save_template", "delete_template", "draft_of_session"),
    # In test_message_search.py:
    *("matching", "matching_sessions", "newest_hits", "excerpts", "pending"),
    # In test_activity_list.py:
    *("list_activity", "list_doers", "export_activity"),
    *("save_view", "list_views", "get_view", "delete_view"),
    # In test_approvals.py:
    *("list_approvals", "count_waiting", "list_rules", "add_rule"),
    "create_session",  # in test_deletion.py
}
# These touch nobody's rows.
HARMLESS = {
    *("default_title", "clean_tag", "do_all_or_each"),
    *("hold_session", "is_there", "is_being_purged"),
    *("hold_conversation", "move_branch", "begin_branch", "free_name", "own_messages", "find_owners"),
    # Of what the caller has read already for the viewer:
    *("find_siblings_in", "read_branches", "read_stretches"),
    *("tidy_name", "claim_states", "release_states", "require_unclaimed"),
    *("Engine.stop_all", "Engine.database", "Engine.check_edits", "Engine.look"),
    # Steps of the engine's transactions, and what has no rows at all.
    *("write_asked", "write_denied", "write_decision", "mark_applied", "find_unapplied", "withdraw_waiting"),
    *(
        "list_expired",
        "list_decided",
        "settle_gone",
        "withdraw",
        "count_decided_by_rules",
        "find_rules",
        "strongest",
        "require_decider",
        "read_rows",
    ),
    *("exactly", "kind_of", "read_actions", "with_schemas", "tool_and_arguments", "as_list", "arguments_hash"),
    *("check_decisions", "check_answer", "respond", "inputs_of", "settings_of", "decisions.find_obstacle"),
    *("Engine.find_missing", "Engine.may_write_artifacts"),
    *("Engine.open", "Engine.close", "Engine.drain", "Engine.hurry", "Engine.problem"),
    # The index of words, for its own thread, the purge and the doctor.
    *("index_of", "read_entries", "index_messages", "remove_messages", "words_of", "to_ms", "mark_words"),
    *("find_words", "snippet", "to_fts5", "to_tsquery", "to_tsvector", "to_words", "fold"),
    *("resolve", "resolve_all", "settle_versions", "parse_ref", "find_named", "attached_refs", "not_found"),
    *("check_content", "clean_name", "is_text", "read_plan", "write_plan", "plan_to_text", "text_to_plan"),
    *("word_differences", "state_differences", "align", "common_start"),
}
# An admin may stop what anybody runs, and put anybody's session aside or delete it.
FOR_ADMINS = {
    "archive_session",
    "mark_deleted",
    "restore_session",
    "Engine.stop",
    "Engine.settle",
    "decisions.decide",
    "revoke_rule",
}


@pytest.fixture
def world(opened: Skein, person: Person) -> Iterator[World]:
    alice = person("alice")
    first = opened.engine.start(alice, NewMessage("secret words", agent_id="echo"))
    done = answered(opened, alice, first.thread_id)
    failed = answered(opened, alice, ask(opened, alice, "early", under=done, agent="script").thread_id)
    runs = ask(opened, alice, "runs", under=done, agent="held")
    taken = branching.snapshot(opened.engine, alice, done.thread_id, "before")
    with opened.database.read() as db:
        branch = branches.get_branch_below(alice, db, failed.message_id)
    other = opened.database.write(lambda db: branches.create_branch(alice, db, done.message_id))
    artifact = opened.database.write(lambda db: _write(alice, db, first.session_id))
    waits = opened.engine.start(alice, NewMessage("anything", agent_id="question"))
    follow(opened, alice, waits.thread_id)
    with opened.database.read() as db:
        [asks] = approvals.list_of_thread(alice, db, waits.thread_id)
    rule = opened.database.write(lambda db: rules.add_rule(alice, db, effect="ask", tool="send"))
    ids = (branch.branch_id, other.branch_id)
    yield World(opened, alice, done, failed, runs, first, *ids, taken, artifact, asks, rule)
    opened.engine.stop(alice, runs.thread_id)
    follow(opened, alice, runs.thread_id)
    for shared in (showcase.GATES, showcase.ENTERED, showcase.RAN, showcase.SEEN):
        shared.clear()


def public_functions() -> set[str]:
    """Everything that can be called from outside in the rooms that hold people's rows."""
    names = {
        name
        for path in Path(str(messages.__file__)).parent.glob("[!_]*.py")
        for name, found in vars(__import__(f"core.history.{path.stem}", fromlist=["*"])).items()
        if inspect.isfunction(found)
        and not name.startswith("_")
        and found.__module__ == f"core.history.{path.stem}"
    }
    names |= {f"Engine.{name}" for name in vars(Engine) if not name.startswith("_")}
    return names | {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in (branching, decisions)
        for name, found in vars(module).items()
        if inspect.isfunction(found) and not name.startswith("_") and found.__module__ == module.__name__
    }


def everything_of(world: World) -> list[Any]:
    return [world.tried(world.alice, name) for name in READS]


def outcomes(world: World, viewer: Viewer, names: list[str]) -> dict[str, type[Exception] | None]:
    """How each call was refused; None where it gave nothing, and was not refused."""
    found: dict[str, type[Exception] | None] = {}
    for name in names:
        try:
            given = world.tried(viewer, name)
        except (NotFoundError, ForbiddenError) as error:
            found[name] = type(error)
        else:
            found[name] = None
            assert viewer == world.alice or not given, f"{name} gave away what is another's"
    return found


def test_every_public_function_is_tried() -> None:
    assert public_functions() == {*READS, *WRITES, *OWN, *HARMLESS}


class TestAnotherMember:
    def test_finds_nothing_and_changes_nothing(self, world: World, person: Person) -> None:
        before, mallory = everything_of(world), person("mallory")
        expected = dict.fromkeys([*READS, *WRITES], NotFoundError) | dict.fromkeys(FINDS_NOTHING)
        assert outcomes(world, mallory, [*READS, *WRITES]) == expected
        assert everything_of(world) == before
        assert world.skein.engine.active(mallory) == []
        assert world.skein.engine.active_everywhere(mallory) == []

    def test_is_told_the_same_as_of_what_is_not_there(self, world: World, person: Person) -> None:
        mallory = person("mallory")

        def refusal(function: Callable[..., Any], own: str) -> str:
            with pytest.raises(NotFoundError) as caught:
                world.reading(function, mallory, own)
            return str(caught.value)

        for function, theirs, nobodys in (
            (get_turn, world.done.message_id, new_message_id()),
            (turns.get_turn_of_thread, world.done.thread_id, new_thread_id()),
            (conversations.get_conversation, world.done.conversation_id, new_conversation_id()),
        ):
            assert refusal(function, theirs) == refusal(function, nobodys)

    @pytest.mark.parametrize("kind", [ThreadKind.FORK, ThreadKind.RETRY, ThreadKind.REGENERATE])
    def test_cannot_start_from_a_state_that_is_not_theirs(
        self, world: World, person: Person, kind: ThreadKind
    ) -> None:
        mallory = person("mallory")
        own = answered(world.skein, mallory, ask(world.skein, mallory, "mine", agent="echo").thread_id)
        for parent in (own.message_id, None):
            new = NewMessage(
                "tell me",
                conversation_id=own.conversation_id,
                parent_message_id=parent,
                kind=kind,
                parent_thread_id=world.done.thread_id,
                agent_id="echo",
            )
            with pytest.raises(NotFoundError):
                world.skein.engine.start(mallory, new)
        assert "tell me" not in showcase.SEEN

    def test_cannot_begin_in_a_session_or_conversation_that_is_not_theirs(
        self, world: World, person: Person
    ) -> None:
        mallory = person("mallory")
        for place in (
            {"session_id": world.first.session_id},
            {"session_id": new_session_id()},
            {"conversation_id": world.first.conversation_id},
            {"conversation_id": new_conversation_id()},
        ):
            with pytest.raises(NotFoundError):
                _add(world, mallory, **place)

    def test_sees_only_their_own_in_lists(self, world: World, person: Person) -> None:
        mallory = person("mallory")
        assert world.reading(conversations.list_conversations, mallory) == []
        assert world.skein.engine.active(mallory) == []
        assert world.skein.engine.place_of(mallory, world.runs.thread_id) is None


class TestAnAnalyst:
    def test_reads_all(self, world: World, person: Person) -> None:
        ann = person("ann", role="analyst")
        assert [world.tried(ann, name) for name in READS] == everything_of(world)

    def test_changes_nothing_of_others(self, world: World, person: Person) -> None:
        before, ann = everything_of(world), person("ann", role="analyst")
        assert outcomes(world, ann, [*WRITES]) == dict.fromkeys(WRITES, ForbiddenError)
        assert everything_of(world) == before
        assert world.skein.engine._scheduler.runs[world.runs.thread_id].work is not None

    def test_sees_only_their_own_in_the_sidebar_and_among_live_runs(self, world: World, person: Person) -> None:
        ann = person("ann", role="analyst")
        assert world.reading(conversations.list_conversations, ann) == []
        assert world.skein.engine.active(ann) == []


class TestAnAdmin:
    def test_does_not_write_in_anothers_name(self, world: World, person: Person) -> None:
        names = sorted(WRITES.keys() - FOR_ADMINS)
        assert outcomes(world, person("root", role="admin"), names) == dict.fromkeys(names, ForbiddenError)

    def test_sees_and_stops_what_anybody_runs(self, world: World, person: Person) -> None:
        root = person("root", role="admin")
        assert [run.thread_id for run in world.skein.engine.active(root)] == [world.runs.thread_id]
        assert world.tried(root, "Engine.stop") is True
        assert answered(world.skein, root, world.runs.thread_id).status == "stopped"


class TestTheOwner:
    def test_gets_and_changes_what_is_theirs(self, world: World) -> None:
        assert all(everything_of(world))
        # In an order in which each finds what it needs.
        last = ["branching.delete", "restore_branch", "delete_conversation", "restore_conversation"]
        last += ["mark_deleted", "restore_session"]
        names = sorted(WRITES, key=lambda name: last.index(name) if name in last else -1)
        assert [name for name, outcome in outcomes(world, world.alice, names).items() if outcome] == []
