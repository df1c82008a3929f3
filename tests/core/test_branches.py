"""Branches: which one a message goes on, what a deleted one takes with it, and where a person looked last."""

import itertools
import math
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError
from core.history import annotations, branches, positions, snapshots, stretches
from core.history.annotations import Mark
from core.history.branches import BranchRow
from core.history.messages import NewMessage
from core.history.turns import Turn
from core.ids import new_branch_id
from core.records import purge
from core.runs import branching, store
from core.runs.branching import Variant
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity, Annotation, Branch, LlmCall, Message, RunEvent, Snapshot, Thread, utc_now
from tests.core.support import answered, ask, graph_settings, reading, turn_at, wait_until, writing

Person = Callable[..., Viewer]


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


@pytest.fixture
def first(opened: Skein, alice: Viewer) -> Turn:
    return say(opened, alice, "one")


def say(skein: Skein, viewer: Viewer, text: str, under: Turn | None = None, agent: str = "echo") -> Turn:
    return answered(skein, viewer, ask(skein, viewer, text, under=under, agent=agent).thread_id)


def change(skein: Skein, viewer: Viewer, turn: Turn, text: str) -> Turn:
    added = branching.edit(skein.engine, viewer, turn.message_id, text)
    return answered(skein, viewer, added.thread_id)


def heads(skein: Skein, viewer: Viewer, turn: Turn) -> dict[str, str]:
    return {
        row.name: row.head_message_id
        for row in reading(skein, branches.list_branches, viewer, turn.conversation_id)
    }


def branch_at(skein: Skein, viewer: Viewer, turn: Turn) -> BranchRow:
    return reading(skein, branches.get_branch_below, viewer, turn.message_id)


class TestWhichBranchAMessageGoesOn:
    def test_the_first_one_begins_main_and_the_next_move_it(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        assert heads(opened, alice, first) == {"main": first.message_id}
        second = say(opened, alice, "two", first)
        assert heads(opened, alice, first) == {"main": second.message_id}

    def test_other_words_and_other_answers_begin_their_own(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        second = say(opened, alice, "two", first)
        edited = change(opened, alice, second, "two!")
        again = branching.regenerate(opened.engine, alice, second.message_id)
        assert heads(opened, alice, first) == {
            "main": second.message_id,
            "edit 2": edited.message_id,
            "again 3": again.message_id,
        }

    def test_who_comes_second_begins_another_and_takes_nothing_away(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        one, other = say(opened, alice, "two", first), say(opened, alice, "another two", first)
        assert heads(opened, alice, first) == {"main": one.message_id, "beside 2": other.message_id}

    def test_the_one_that_is_looked_at_goes_on_before_others_with_the_same_head(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        branch = writing(opened, branches.create_branch, alice, first.message_id, name="mine")
        new = NewMessage(
            "two",
            conversation_id=first.conversation_id,
            parent_message_id=first.message_id,
            branch_id=branch.branch_id,
            agent_id="echo",
        )
        added = opened.engine.start(alice, new)
        assert (added.branch_id, heads(opened, alice, first)) == (
            branch.branch_id,
            {"main": first.message_id, "mine": added.message_id},
        )

    def test_an_archived_one_is_taken_up_again_when_it_goes_on(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        main = branch_at(opened, alice, first)
        writing(opened, branches.archive_branch, alice, main.branch_id, archived=True)
        assert reading(opened, branches.get_branch, alice, main.branch_id).archived_at is not None
        say(opened, alice, "two", first)
        assert reading(opened, branches.get_branch, alice, main.branch_id).archived_at is None


class TestNames:
    def test_can_be_changed_to_any_that_is_free(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        change(opened, alice, first, "two")
        main = branch_at(opened, alice, first)
        assert writing(opened, branches.rename_branch, alice, main.branch_id, "  第一条   路 ") == "第一条 路"
        for name, error in (("", BadInputError), ("x" * 101, BadInputError), ("edit 2", ConflictError)):
            with pytest.raises(error):
                writing(opened, branches.rename_branch, alice, main.branch_id, name)
        assert set(heads(opened, alice, first)) == {"第一条 路", "edit 2"}

    def test_are_of_what_can_be_seen(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        change(opened, alice, first, "two")
        main = branch_at(opened, alice, first)
        rename = partial(writing, opened, branches.rename_branch, alice, main.branch_id)
        assert rename("Cafe\u200b\u0301 \u202eroad\x07\n1") == "Caf\u00e9 road 1"
        for name, error in (("\u200b\u202e", BadInputError), ("edit\u200b 2", ConflictError)):
            with pytest.raises(error):
                rename(name)
        new = NewMessage("?", first.conversation_id, agent_id="echo")
        begun = branching.fan_out(opened.engine, alice, new, {"a\u200b": Variant(), "\u202e": Variant()})
        for added in begun.values():
            answered(opened, alice, added.thread_id)
        assert set(heads(opened, alice, first)) == {"Caf\u00e9 road 1", "edit 2", "a", "answer 4"}

    def test_given_by_hand_do_not_get_in_the_way_of_those_given_by_themselves(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        main = branch_at(opened, alice, first)
        writing(opened, branches.rename_branch, alice, main.branch_id, "edit 2")
        change(opened, alice, first, "two")
        assert set(heads(opened, alice, first)) == {"edit 2", "edit 3"}


class TestStretches:
    def test_say_which_branch_each_part_of_a_path_was_first_on(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        second = say(opened, alice, "two", first)
        edited = change(opened, alice, second, "two!")
        last = change(opened, alice, say(opened, alice, "three", edited), "three!")
        found = reading(opened, stretches.get_stretches, alice, branch_at(opened, alice, last).branch_id)
        assert [(part.branch.name, part.first_message_id, part.messages) for part in found] == [
            ("main", first.message_id, 1),
            ("edit 2", edited.message_id, 1),
            ("edit 3", last.message_id, 1),
        ]


class TestDeleting:
    def test_takes_only_what_no_other_branch_has(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        second = say(opened, alice, "two", first)
        third = say(opened, alice, "three", second)
        edited = change(opened, alice, third, "three!")
        gone = writing(opened, branches.delete_branch, alice, branch_at(opened, alice, third).branch_id)
        assert gone == [third.message_id]
        assert heads(opened, alice, first) == {"edit 2": edited.message_id}
        with pytest.raises(NotFoundError):
            turn_at(opened, alice, third.message_id)
        assert turn_at(opened, alice, second.message_id).content == "two"

    def test_leaves_what_a_branch_without_messages_of_its_own_shares(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        branch = writing(opened, branches.create_branch, alice, first.message_id)
        assert writing(opened, branches.delete_branch, alice, branch.branch_id) == []
        assert turn_at(opened, alice, first.message_id) == first

    def test_can_be_undone_within_a_minute(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        edited = change(opened, alice, first, "one!")
        branch = branch_at(opened, alice, edited)
        writing(opened, branches.delete_branch, alice, branch.branch_id)
        writing(opened, branches.rename_branch, alice, branch_at(opened, alice, first).branch_id, branch.name)
        assert writing(opened, branches.restore_branch, alice, branch.branch_id).name == "edit 2 2"
        assert turn_at(opened, alice, edited.message_id) == edited

    def test_cannot_be_undone_later(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        branch = branch_at(opened, alice, change(opened, alice, first, "one!"))
        writing(opened, branches.delete_branch, alice, branch.branch_id)
        _backdate(opened)
        with pytest.raises(NotFoundError, match="more than a minute"):
            writing(opened, branches.restore_branch, alice, branch.branch_id)

    def test_is_refused_for_the_last_one(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        with pytest.raises(ConflictError, match="only branch"):
            writing(opened, branches.delete_branch, alice, branch_at(opened, alice, first).branch_id)

    def test_is_undone_from_the_root_down(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        second = say(opened, alice, "two", first)
        change(opened, alice, first, "kept")
        below = writing(opened, branches.create_branch, alice, second.message_id, name="below")
        third = say(opened, alice, "three", second)
        main = branch_at(opened, alice, third)
        assert main.name == "main"
        writing(opened, branches.delete_branch, alice, main.branch_id)
        writing(opened, branches.delete_branch, alice, below.branch_id)
        with pytest.raises(ConflictError, match="bring that back first"):
            writing(opened, branches.restore_branch, alice, main.branch_id)
        writing(opened, branches.restore_branch, alice, below.branch_id)
        writing(opened, branches.restore_branch, alice, main.branch_id)
        assert turn_at(opened, alice, third.message_id) == third


class TestPurging:
    def test_takes_it_all_away_but_never_the_calls(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        edited = change(opened, alice, first, "one!")
        opened.call_log.flush(5)
        branching.snapshot(opened.engine, alice, edited.thread_id, "gone")
        writing(opened, annotations.set_star, alice, edited.message_id, starred=True)
        branch = branch_at(opened, alice, edited)
        writing(opened, branches.delete_branch, alice, branch.branch_id)
        assert opened.housekeeper.purge() == 0
        _backdate(opened)
        assert opened.housekeeper.purge() == 1
        with opened.database.read() as db:
            left = [
                db.exec(select(table).where(column == key)).all()
                for table, column, key in (
                    (Branch, Branch.branch_id, branch.branch_id),
                    (Message, Message.message_id, edited.message_id),
                    (Thread, Thread.thread_id, edited.thread_id),
                    (RunEvent, RunEvent.thread_id, edited.thread_id),
                    (Snapshot, Snapshot.thread_id, edited.thread_id),
                    (Annotation, Annotation.target_id, edited.message_id),
                )
            ]
            calls = db.exec(select(LlmCall).where(LlmCall.thread_id == edited.thread_id)).all()
        assert (left, len(calls)) == ([[]] * 6, 1)
        assert opened._loop.run(opened.saver.aget_tuple({"configurable": {"thread_id": edited.thread_id}})) is None
        assert opened.engine.get_state(alice, first.thread_id).values["messages"]

    def test_that_was_cut_short_is_finished_the_next_time(
        self, opened: Skein, alice: Viewer, first: Turn, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last = change(opened, alice, first, "one!")
        ids = [last.message_id]
        for number in range(4):
            last = say(opened, alice, f"further {number}", last)
            ids.append(last.message_id)
        monkeypatch.setattr(purge, "_MESSAGES_AT_ONCE", 2)
        writing(opened, branches.delete_branch, alice, branch_at(opened, alice, last).branch_id)
        _backdate(opened)
        written = itertools.count(1)

        class CutShort:
            read = opened.database.read

            def write(self, job: Callable[[Any], Any]) -> Any:
                if next(written) == 3:
                    raise OSError("the process was killed")
                return opened.database.write(job)

        assert purge.purge_branches(CutShort(), opened.housekeeper.forget_thread) == 0  # type: ignore[arg-type]
        assert _left(opened, ids) == 3
        assert opened.housekeeper.purge() == 1
        assert _left(opened, ids) == 0

    def test_forgets_where_a_thread_came_from_when_that_is_gone(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        failed = say(opened, alice, f"early {new_branch_id()}", first, agent="script")
        retried = answered(opened, alice, branching.retry(opened.engine, alice, failed.thread_id).thread_id)
        writing(opened, branches.delete_branch, alice, branch_at(opened, alice, failed).branch_id)
        _backdate(opened)
        opened.housekeeper.purge()
        left = turn_at(opened, alice, retried.message_id)
        assert (left.parent_thread_id, left.answer) == (None, retried.answer)
        assert say(opened, alice, "further", left, agent="script").status == "done"

    def test_stops_what_runs_there_and_waits_for_its_end(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        runs = ask(opened, alice, "purge-waits", under=first, agent="held")
        change(opened, alice, first, "beside it")
        branch_id = branch_at(opened, alice, runs).branch_id
        writing(opened, branches.delete_branch, alice, branch_id)
        _backdate(opened)
        assert opened.housekeeper.purge() == 0
        _let_be(opened)
        branching.delete(opened.engine, alice, branch_id)
        _wait_for_end(opened, runs)
        _backdate(opened)
        assert opened.housekeeper.purge() == 1


class TestWhereOneLooked:
    def test_opens_next_time_until_it_is_gone(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        edited = change(opened, alice, first, "one!")
        main = branch_at(opened, alice, first)
        assert _to_open(opened, alice, first).head_message_id == edited.message_id
        writing(opened, positions.remember_position, alice, main)
        assert _to_open(opened, alice, first) == main
        writing(opened, branches.delete_branch, alice, main.branch_id)
        assert _to_open(opened, alice, first).head_message_id == edited.message_id

    def test_is_each_persons_own(self, opened: Skein, alice: Viewer, first: Turn, person: Person) -> None:
        ann, mallory = person("ann", role="analyst"), person("mallory")
        edited = change(opened, alice, first, "one!")
        main = branch_at(opened, alice, first)
        writing(opened, positions.remember_position, ann, main)
        assert (_to_open(opened, ann, first), _to_open(opened, alice, first).head_message_id) == (
            main,
            edited.message_id,
        )
        with pytest.raises(NotFoundError):
            writing(opened, positions.remember_position, mallory, main)
        assert reading(opened, positions.find_position, mallory, first.conversation_id) is None


class TestStarsAndNotes:
    def test_are_put_on_taken_off_and_kept_once(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        main = branch_at(opened, alice, first)
        for target in (first.message_id, main.branch_id):
            for _ in range(2):
                writing(opened, annotations.set_star, alice, target, starred=True)
            writing(opened, annotations.set_note, alice, target, " 重要 ")
        both = [first.message_id, main.branch_id]
        of_all = reading(opened, annotations.find_marks_in, alice, first.conversation_id)
        assert of_all == reading(opened, annotations.find_marks, alice, both)
        assert reading(opened, annotations.find_marks, alice, both) == dict.fromkeys(both, Mark(True, "重要"))
        writing(opened, annotations.set_star, alice, first.message_id, starred=False)
        writing(opened, annotations.set_note, alice, first.message_id, "")
        assert reading(opened, annotations.find_marks, alice, both) == {main.branch_id: Mark(True, "重要")}

    def test_are_their_authors_own(self, opened: Skein, alice: Viewer, first: Turn, person: Person) -> None:
        ann, mallory = person("ann", role="analyst"), person("mallory")
        writing(opened, annotations.set_note, ann, first.message_id, "look here")
        assert reading(opened, annotations.find_marks, alice, [first.message_id]) == {}
        for function, value in ((annotations.set_star, {"starred": True}), (annotations.set_note, {"note": "x"})):
            with pytest.raises(NotFoundError):
                writing(opened, function, mallory, first.message_id, **value)
        assert reading(opened, annotations.find_marks, mallory, [first.message_id]) == {}
        assert reading(opened, annotations.find_marks_in, mallory, first.conversation_id) == {}

    def test_go_on_messages_and_branches_only(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        for target, error in ((first.conversation_id, BadInputError), (new_branch_id(), NotFoundError)):
            with pytest.raises(error):
                writing(opened, annotations.set_star, alice, target, starred=True)
        with pytest.raises(BadInputError, match="2,000"):
            writing(opened, annotations.set_note, alice, first.message_id, "x" * 2001)


class TestSnapshots:
    def test_name_a_state_once(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        taken = branching.snapshot(opened.engine, alice, first.thread_id, "before lunch")
        newest = opened.engine.get_state(alice, first.thread_id)
        assert (taken.checkpoint_id, taken.message_id) == (newest.checkpoint_id, first.message_id)
        assert reading(opened, snapshots.list_snapshots, alice, first.conversation_id) == [taken]
        with pytest.raises(ConflictError, match="before lunch"):
            branching.snapshot(opened.engine, alice, first.thread_id, " before  lunch ")
        writing(opened, snapshots.delete_snapshot, alice, taken.snapshot_id)
        assert reading(opened, snapshots.list_snapshots, alice, first.conversation_id) == []

    def test_of_what_was_deleted_leave_their_names_to_others(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        edited = change(opened, alice, first, "one!")
        branching.snapshot(opened.engine, alice, edited.thread_id, "lunch")
        branching.snapshot(opened.engine, alice, edited.thread_id, "lunch 2")
        branch = branch_at(opened, alice, edited)
        writing(opened, branches.delete_branch, alice, branch.branch_id)
        branching.snapshot(opened.engine, alice, first.thread_id, "lunch")
        writing(opened, branches.restore_branch, alice, branch.branch_id)
        rows = reading(opened, snapshots.list_snapshots, alice, first.conversation_id)
        assert [(row.name, row.thread_id) for row in rows] == [
            ("lunch 3", edited.thread_id),
            ("lunch 2", edited.thread_id),
            ("lunch", first.thread_id),
        ]

    def test_have_names_that_can_be_seen(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        taken = branching.snapshot(opened.engine, alice, first.thread_id, "Cafe\u0301\u200b")
        assert taken.name == "Caf\u00e9"
        for name, error in (("\u202e", BadInputError), ("Caf\u00e9", ConflictError)):
            with pytest.raises(error):
                branching.snapshot(opened.engine, alice, first.thread_id, name)

    def test_need_a_state_and_a_name(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        with pytest.raises(NotFoundError, match="no such checkpoint"):
            branching.snapshot(opened.engine, alice, first.thread_id, "nowhere", checkpoint_id="1f000000")
        for name in ("", "x" * 101):
            with pytest.raises(BadInputError):
                branching.snapshot(opened.engine, alice, first.thread_id, name)

    def test_of_anothers_can_be_read_by_an_analyst_and_made_by_none(
        self, opened: Skein, alice: Viewer, first: Turn, person: Person
    ) -> None:
        with pytest.raises(ForbiddenError):
            branching.snapshot(opened.engine, person("ann", role="analyst"), first.thread_id, "mine")


class TestWhatCannotBeStored:
    @pytest.mark.parametrize("variant", [Variant(model="a\0b"), Variant(model="\ud800")])
    def test_in_the_choice_of_a_model_is_refused_and_nothing_begun(
        self, opened: Skein, alice: Viewer, first: Turn, variant: Variant
    ) -> None:
        new = NewMessage("?", first.conversation_id, first.message_id, agent_id="echo")
        with pytest.raises(BadInputError, match="cannot be stored; delete it"):
            branching.fan_out(opened.engine, alice, new, {"a": variant, "b": Variant()})
        assert set(heads(opened, alice, first)) == {"main"}

    @pytest.mark.parametrize("value", ["a\0b", math.inf, 10**30])
    def test_in_an_edited_state_is_refused_and_nothing_begun(
        self, opened: Skein, alice: Viewer, first: Turn, value: object
    ) -> None:
        message = {"type": "human", "content": "x", "additional_kwargs": {"a": value}}
        with pytest.raises(BadInputError, match=r"The value of 'messages' holds .* cannot be stored"):
            branching.fork(opened.engine, alice, first.thread_id, text="next", edits={"messages": [message]})
        assert set(heads(opened, alice, first)) == {"main"}


class TestWhatWasDone:
    def test_is_in_the_history_of_actions(self, opened: Skein, alice: Viewer, first: Turn) -> None:
        branch = writing(opened, branches.create_branch, alice, first.message_id)
        writing(opened, branches.rename_branch, alice, branch.branch_id, "new")
        writing(opened, branches.delete_branch, alice, branch.branch_id)
        writing(opened, branches.restore_branch, alice, branch.branch_id)
        with opened.database.read() as db:
            rows = db.exec(
                select(Activity).where(Activity.target_id == branch.branch_id).order_by(col(Activity.activity_id))
            )
            kinds = [row.kind for row in rows]
        assert kinds == ["branch.create", "branch.rename", "branch.delete", "branch.restore"]


class TestFanningOut:
    def test_answers_stand_beside_one_another_each_on_its_own_branch(
        self, opened: Skein, alice: Viewer, first: Turn
    ) -> None:
        new = NewMessage(
            "which one?", conversation_id=first.conversation_id, parent_message_id=first.message_id, agent_id="echo"
        )
        variants = {"cool": Variant(temperature=0.0), "warm": Variant(temperature=1.0), "other": Variant("script")}
        begun = branching.fan_out(opened.engine, alice, new, variants)
        turns = {name: answered(opened, alice, added.thread_id) for name, added in begun.items()}
        assert {name: (turn.name, turn.agent_id, turn.status) for name, turn in turns.items()} == {
            "cool": ("cool", "echo", "done"),
            "warm": ("warm", "echo", "done"),
            "other": ("other", "script", "done"),
        }
        assert heads(opened, alice, first) == {
            "main": first.message_id,
            **{name: turn.message_id for name, turn in turns.items()},
        }
        assert {turn.config.get("temperature") for turn in turns.values()} == {0.0, 1.0, None}

    def test_as_a_first_message_begins_one_conversation(self, opened: Skein, alice: Viewer) -> None:
        begun = branching.fan_out(
            opened.engine, alice, NewMessage("hello", agent_id="echo"), {"a": Variant(), "b": Variant()}
        )
        assert len({added.conversation_id for added in begun.values()}) == 1
        assert {added.kind for added in begun.values()} == {"fan_out"}


def _to_open(skein: Skein, viewer: Viewer, turn: Turn) -> BranchRow:
    return reading(skein, positions.get_branch_to_open, viewer, turn.conversation_id)


def _left(skein: Skein, ids: list[Any]) -> int:
    with skein.database.read() as db:
        return len(db.exec(select(Message).where(col(Message.message_id).in_(ids))).all())


def _backdate(skein: Skein) -> None:
    """Let what was deleted have been deleted two minutes ago."""
    then = utc_now() - timedelta(minutes=2)

    def job(db: Any) -> None:
        for table in (Branch, Message):
            db.execute(update(table).where(col(table.deleted_at).is_not(None)).values(deleted_at=then))

    skein.database.write(job)


def _let_be(skein: Skein) -> None:
    """As if it had not been deleted, however long ago that was."""

    def job(db: Any) -> None:
        for table in (Branch, Message):
            db.execute(update(table).values(deleted_at=None))

    skein.database.write(job)


def _wait_for_end(skein: Skein, turn: Turn) -> None:
    def ended() -> bool:
        with skein.database.read() as db:
            return store.read_status(db, turn.thread_id) == "stopped"

    wait_until(ended)
