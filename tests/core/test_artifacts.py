"""Artifacts: what a run writes and its state names, what a person writes, what a session shares, and races."""

import hashlib
import time
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError
from core.history import artifacts, branches, conversations
from core.history.artifact_content import check_content, clean_name
from core.history.artifacts import Ref, find_named, parse_ref, settle_versions, write_version
from core.history.messages import NewMessage
from core.history.task_plan import Step, TaskPlan, plan_to_text, read_plan, text_to_plan, write_plan
from core.history.turns import Turn
from core.ids import (
    SessionId,
    ThreadId,
    new_approval_id,
    new_artifact_id,
    new_session_id,
    new_thread_id,
)
from core.records import purge
from core.runs import branching
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity, Approval, Artifact, ArtifactVersion, utc_now
from tests.core.support import answered, ask, graph_settings, wait_until

Person = Callable[..., Viewer]
PNG = b"\x89PNG\r\n\x1a\nand more"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


class Desk:
    """A session of Alice's with one conversation, and short ways to write and read in it."""

    def __init__(self, skein: Skein, viewer: Viewer) -> None:
        self.skein, self.viewer = skein, viewer
        self.turn = self.say("one")
        self.session_id = self.session_of(self.turn)

    def say(self, text: str, under: Turn | None = None) -> Turn:
        # What comes first is known by the millisecond in an id: nobody writes and sends within one.
        now = time.time_ns() // 1_000_000
        wait_until(lambda: time.time_ns() // 1_000_000 > now)
        return answered(
            self.skein, self.viewer, ask(self.skein, self.viewer, text, under=under, agent="echo").thread_id
        )

    def say_apart(self, text: str) -> Turn:
        """Begin another conversation of the session."""
        new = NewMessage(text, session_id=self.session_id, agent_id="echo")
        return answered(self.skein, self.viewer, self.skein.engine.start(self.viewer, new).thread_id)

    def session_of(self, turn: Turn) -> SessionId:
        with self.skein.database.read() as db:
            found = conversations.get_conversation(self.viewer, db, turn.conversation_id)
            return found.session_id

    def write(self, text: str = "text", *, viewer: Viewer | None = None, **given: Any) -> Ref:
        chosen: dict[str, Any] = {
            "session_id": self.session_id,
            "kind": "result",
            "name": "report",
            "content": text.encode(),
            "media_type": "text/markdown",
            **given,
        }
        return self.skein.database.write(lambda db: write_version(viewer or self.viewer, db, **chosen))

    def change(self, ref: Ref, text: str, **given: Any) -> Ref:
        return self.write(text, artifact_id=ref.artifact_id, base_version=ref.version, **given)

    def settle(self, thread_id: ThreadId, *named: Ref) -> None:
        self.skein.database.write(lambda db: settle_versions(db, thread_id, named))

    def made(self, turn: Turn, text: str = "text", **given: Any) -> Ref:
        """A version that the turn's run wrote, and its state names."""
        ref = self.write(text, thread_id=turn.thread_id, **given)
        self.settle(turn.thread_id, ref)
        return ref

    def reading(self, function: Callable[..., Any], *args: Any, viewer: Viewer | None = None) -> Any:
        with self.skein.database.read() as db:
            return function(viewer or self.viewer, db, *args)

    def resolve(self, ref: Ref, *turns: Turn) -> Ref:
        with self.skein.database.read() as db:
            return artifacts.resolve(db, ref, [turn.thread_id for turn in turns])

    def text(self, ref: Ref) -> str:
        return self.reading(artifacts.read_content, ref).decode()

    def listed(self) -> list[Ref]:
        return [row.newest.ref for row in self.reading(artifacts.list_artifacts, self.session_id)]

    def shared(self, turn: Turn | None) -> list[Ref]:
        conversation_id = turn.conversation_id if turn else None
        return [row.ref for row in self.reading(artifacts.find_shared, self.session_id, conversation_id)]

    def statuses(self, ref: Ref) -> dict[int, str]:
        table = table_of(ArtifactVersion)
        query = select(table.c.version, table.c.status).where(table.c.artifact_id == ref.artifact_id)
        with self.skein.database.read() as db:
            return dict(db.connection().execute(query.order_by(table.c.version)).all())


@pytest.fixture
def desk(opened: Skein, person: Person) -> Desk:
    return Desk(opened, person("alice"))


class TestNames:
    def test_are_read_as_they_are_written(self) -> None:
        ref = Ref(new_artifact_id(), 12)
        assert parse_ref(str(ref)) == ref

    @pytest.mark.parametrize(
        "text",
        ["", "art_1@2", "@1", "{id}", "{id}@", "{id}@0", "{id}@01", "{id}@-1", "{id}@1 ", "{id}@１", "{id}@1@2"],
    )
    def test_that_are_none_are_refused(self, text: str) -> None:
        with pytest.raises(BadInputError):
            parse_ref(text.format(id=new_artifact_id()))

    def test_of_another_kind_are_refused(self) -> None:
        with pytest.raises(BadInputError, match="artifact"):
            parse_ref(f"{new_thread_id()}@1")

    def test_are_found_in_a_state(self) -> None:
        plan, one, two = (Ref(new_artifact_id(), number) for number in (1, 2, 3))
        values = {"task_plan_id": str(plan), "result_artifact_ids": [str(one), str(two)], "messages": ["art_1@1"]}
        assert find_named(values) == {plan, one, two}

    @pytest.mark.parametrize(
        "values",
        [
            None,
            "text",
            {},
            {"task_plan_id": None, "result_artifact_ids": None},
            {"task_plan_id": 3, "result_artifact_ids": "art_1@1"},
            {"task_plan_id": "nonsense", "result_artifact_ids": [1, None, {}, "x@1"]},
        ],
    )
    def test_are_not_found_where_there_are_none(self, values: Any) -> None:
        assert find_named(values) == set()


class TestWriting:
    def test_keeps_all_that_is_told_of_a_version(self, desk: Desk) -> None:
        ref = desk.write("héllo", thread_id=desk.turn.thread_id)
        row = desk.reading(artifacts.get_version, ref)
        assert (row.ref, row.kind, row.name, row.session_id) == (ref, "result", "report", desk.session_id)
        assert (row.thread_id, row.message_id) == (desk.turn.thread_id, desk.turn.message_id)
        assert (row.conversation_id, row.user_name) == (desk.turn.conversation_id, "alice")
        assert (row.by_hand, row.status, row.base_version) == (False, "pending", None)
        assert (row.size, row.hash) == (6, hashlib.sha256("héllo".encode()).hexdigest())
        assert (row.media_type, desk.text(ref)) == ("text/markdown", "héllo")

    def test_numbers_versions_from_one_up_and_changes_none(self, desk: Desk) -> None:
        first = desk.write("one")
        second = desk.change(first, "two")
        assert (first.version, second) == (1, Ref(first.artifact_id, 2))
        assert (desk.text(first), desk.text(second)) == ("one", "two")

    def test_keeps_the_name_of_the_first_version(self, desk: Desk) -> None:
        ref = desk.change(desk.write("one"), "two", name="another name")
        assert desk.reading(artifacts.get_version, ref).name == "report"

    def test_by_hand_is_kept_at_once_and_recorded(self, desk: Desk) -> None:
        ref = desk.write("mine", thread_id=desk.turn.thread_id, by_hand=True)
        attached = desk.write("text", kind="file")
        rows = [desk.reading(artifacts.get_version, each) for each in (ref, attached)]
        assert [(row.by_hand, row.status) for row in rows] == [(True, "kept")] * 2
        table = table_of(Activity)
        query = select(table.c.detail).where(table.c.kind == "artifact.write").order_by(table.c.activity_id)
        with desk.skein.database.read() as db:
            assert list(db.connection().execute(query).scalars()) == [{"ref": str(ref)}, {"ref": str(attached)}]

    def test_of_what_does_not_fit_is_refused_and_leaves_nothing(self, desk: Desk) -> None:
        for given in ({"content": b"\xff"}, {"name": " "}, {"base_version": 1}):
            with pytest.raises(BadInputError):
                desk.write(**given)
        with desk.skein.database.read() as db:
            counts = [
                db.connection().execute(select(func.count()).select_from(table_of(table))).scalar()
                for table in (Artifact, ArtifactVersion)
            ]
        assert counts == [0, 0]

    def test_keeps_names_and_text_of_any_language(self, desk: Desk) -> None:
        ref = desk.write("写一首诗 👩‍👩‍👧\0", name=" 计划 👩‍👩‍👧\ud800\n")
        assert desk.reading(artifacts.get_version, ref).name == "计划 👩‍👩‍👧"
        assert desk.text(ref) == "写一首诗 👩‍👩‍👧\0"

    def test_takes_any_bytes_for_what_is_only_downloaded(self, desk: Desk) -> None:
        data = bytes(range(256)) * 40
        ref = desk.write(kind="file", content=data, media_type="application/octet-stream")
        assert desk.reading(artifacts.read_content, ref) == data

    def test_of_another_kind_than_the_artifact_is_refused(self, desk: Desk) -> None:
        ref = desk.write("one")
        with pytest.raises(BadInputError, match="is a result, not a file"):
            desk.change(ref, "two", kind="file")

    def test_from_what_is_not_there_is_refused(self, desk: Desk) -> None:
        ref, elsewhere = desk.write("one"), Desk(desk.skein, desk.viewer)
        for given in (
            {"artifact_id": new_artifact_id()},
            {"artifact_id": ref.artifact_id, "base_version": 2},
            {"artifact_id": ref.artifact_id, "session_id": elsewhere.session_id},
            {"thread_id": new_thread_id()},
            {"thread_id": elsewhere.turn.thread_id},
            {"session_id": new_session_id()},
        ):
            with pytest.raises(NotFoundError):
                desk.write("two", **given)
        assert [row.version for row in desk.reading(artifacts.list_versions, ref.artifact_id)] == [1]


class TestWhatAnArtifactMayHold:
    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"content": b"x" * 10_000_001}, "10 MB"),
            ({"kind": "poem"}, "task_plan, result, file"),
            ({"media_type": "text/html"}, "text/markdown"),
            ({"media_type": "image/svg+xml"}, "image/png"),
            ({"content": b"\xff\xfe"}, "UTF-8"),
            ({"content": b"<script>", "media_type": "image/png"}, "image/png"),
            ({"content": b"RIFF0000WAVE", "media_type": "image/webp"}, "image/webp"),
            ({"content": b"<html>", "media_type": "application/pdf"}, "application/pdf"),
            ({"kind": "task_plan"}, "application/json"),
            ({"kind": "task_plan", "media_type": "application/json", "content": b"{}"}, "title"),
        ],
    )
    def test_is_not_this(self, given: dict[str, Any], said: str) -> None:
        with pytest.raises(BadInputError, match=said):
            check_content(**{"kind": "result", "content": b"text", "media_type": "text/plain", **given})

    @pytest.mark.parametrize(
        ("content", "media_type"),
        [
            (b"x" * 10_000_000, "text/plain"),
            (b"", "text/csv"),
            (b"not json, and shown as it is", "application/json"),
            (PNG, "image/png"),
            (b"RIFF\n\0\0\0WEBP", "image/webp"),
            (b"GIF89a", "image/gif"),
            (bytes(range(256)), "application/octet-stream"),
        ],
    )
    def test_is_this(self, content: bytes, media_type: str) -> None:
        check_content("file", content, media_type)

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("  a \n b\tc ", "a b c"),
            ("a\x1b[31m\x07b\0", "a[31mb"),
            ("invoice\u202egpj.exe", "invoicegpj.exe"),
            (unicodedata.normalize("NFD", "Zürich.md"), "Zürich.md"),
            ("a\ud800b", "ab"),
            ("x" * 200, "x" * 200),
        ],
    )
    def test_has_its_name_cleaned(self, given: str, kept: str) -> None:
        assert clean_name(given) == kept

    @pytest.mark.parametrize("given", ["", " \n\t\0 ", "x" * 201])
    def test_has_a_name(self, given: str) -> None:
        with pytest.raises(BadInputError, match="1 to 200"):
            clean_name(given)


class TestByHandFromTheSameVersion:
    def test_only_the_first_is_taken(self, desk: Desk) -> None:
        ref = desk.made(desk.turn)
        after = {"thread_id": desk.turn.thread_id, "by_hand": True}
        desk.change(ref, "first", **after)
        with pytest.raises(ConflictError, match="version 2 was made from version 1"):
            desk.change(ref, "second", **after)

    def test_both_are_taken_on_different_branches(self, desk: Desk) -> None:
        ref = desk.made(desk.turn)
        left, right = desk.say("left", under=desk.turn), desk.say("right", under=desk.turn)
        refs = [desk.change(ref, turn.content, thread_id=turn.thread_id, by_hand=True) for turn in (left, right)]
        assert [desk.resolve(ref, desk.turn, turn) for turn in (left, right)] == refs

    def test_a_run_may_write_from_it_too(self, desk: Desk) -> None:
        ref = desk.made(desk.turn)
        desk.change(ref, "by hand", thread_id=desk.turn.thread_id, by_hand=True)
        assert desk.change(ref, "by a run", thread_id=desk.say("two", under=desk.turn).thread_id).version == 3


class TestWhenARunIsOver:
    def test_what_its_state_names_is_kept_with_what_that_was_made_from_and_the_rest_dropped(
        self, desk: Desk
    ) -> None:
        one = desk.write("one", thread_id=desk.turn.thread_id)
        two = desk.change(one, "two", thread_id=desk.turn.thread_id)
        three = desk.change(two, "three", thread_id=desk.turn.thread_id)
        assert set(desk.statuses(one).values()) == {"pending"}
        assert (desk.listed(), desk.shared(None)) == ([], [])
        assert desk.reading(artifacts.has_artifacts, desk.session_id) is True
        desk.settle(desk.turn.thread_id, two)
        assert desk.statuses(one) == {1: "kept", 2: "kept", 3: "dropped"}
        assert (desk.listed(), desk.shared(None)) == ([two], [two])
        assert [row.version for row in desk.reading(artifacts.list_versions, one.artifact_id)] == [1, 2]
        assert desk.text(three) == "three"

    def test_a_second_time_changes_nothing(self, desk: Desk) -> None:
        one = desk.write("one", thread_id=desk.turn.thread_id)
        two = desk.write("two", thread_id=desk.turn.thread_id)
        desk.settle(desk.turn.thread_id, one)
        desk.settle(desk.turn.thread_id)
        assert (desk.statuses(one), desk.statuses(two)) == ({1: "kept"}, {1: "dropped"})

    def test_nothing_of_another_run_or_by_hand_is_touched(self, desk: Desk) -> None:
        other = desk.say("two", under=desk.turn)
        theirs = desk.write("theirs", thread_id=other.thread_id)
        mine = desk.write("mine", thread_id=desk.turn.thread_id, by_hand=True)
        desk.settle(desk.turn.thread_id, theirs)
        assert (desk.statuses(theirs), desk.statuses(mine)) == ({1: "pending"}, {1: "kept"})

    def test_a_fork_of_an_early_checkpoint_keeps_what_that_names(self, desk: Desk) -> None:
        early = desk.write("early", thread_id=desk.turn.thread_id)
        late = desk.change(early, "late", thread_id=desk.turn.thread_id)
        desk.settle(desk.turn.thread_id, late)
        fork = desk.say("from there", under=desk.turn)
        desk.settle(fork.thread_id, early)
        assert desk.statuses(early) == {1: "kept", 2: "kept"}

    def test_a_state_cannot_keep_what_another_session_dropped(self, desk: Desk) -> None:
        dropped, elsewhere = desk.write("one", thread_id=desk.turn.thread_id), Desk(desk.skein, desk.viewer)
        desk.settle(desk.turn.thread_id)
        elsewhere.settle(elsewhere.turn.thread_id, dropped, Ref(new_artifact_id(), 1))
        assert desk.statuses(dropped) == {1: "dropped"}


class TestWhatGoesInItsPlace:
    def test_is_the_version_itself_when_nobody_wrote_by_hand(self, desk: Desk) -> None:
        ref = desk.made(desk.turn)
        desk.change(ref, "by a run", thread_id=desk.turn.thread_id)
        assert desk.resolve(ref, desk.turn) == ref

    def test_is_the_last_of_those_made_by_hand_one_from_another(self, desk: Desk) -> None:
        ref, after = desk.made(desk.turn), {"thread_id": desk.turn.thread_id, "by_hand": True}
        second = desk.change(ref, "two", **after)
        third = desk.change(second, "three", **after)
        later = desk.say("on", under=desk.turn)
        fourth = desk.change(third, "four", thread_id=later.thread_id, by_hand=True)
        assert desk.resolve(ref, desk.turn) == third
        assert desk.resolve(ref, desk.turn, later) == fourth
        assert desk.resolve(second, later) == second

    def test_is_not_what_was_made_after_another_thread(self, desk: Desk) -> None:
        ref, other = desk.made(desk.turn), desk.say("other", under=desk.turn)
        desk.change(ref, "two", thread_id=other.thread_id, by_hand=True)
        assert (desk.resolve(ref, desk.turn), desk.resolve(ref)) == (ref, ref)

    def test_is_not_what_was_made_when_the_line_had_gone_on(self, desk: Desk) -> None:
        ref, later = desk.made(desk.turn), desk.say("on", under=desk.turn)
        elsewhere = desk.change(ref, "after the first", thread_id=desk.turn.thread_id, by_hand=True)
        assert (desk.resolve(ref, desk.turn, later), desk.resolve(ref, desk.turn)) == (ref, elsewhere)

    def test_is_found_for_many_at_once(self, desk: Desk) -> None:
        refs = [desk.made(desk.turn, str(number)) for number in range(3)]
        changed = desk.change(refs[1], "by hand", thread_id=desk.turn.thread_id, by_hand=True)
        with desk.skein.database.read() as db:
            found = artifacts.resolve_all(db, refs, [desk.turn.thread_id])
            assert artifacts.resolve_all(db, [], [desk.turn.thread_id]) == {}
        assert found == {refs[0]: refs[0], refs[1]: changed, refs[2]: refs[2]}


class TestWhatASessionShares:
    def test_a_new_conversation_sees_the_newest_that_others_kept(self, desk: Desk) -> None:
        ref = desk.made(desk.turn, "one")
        newest = desk.change(ref, "two", thread_id=desk.turn.thread_id)
        desk.settle(desk.turn.thread_id, newest)
        desk.change(newest, "not over yet", thread_id=desk.turn.thread_id)
        another = desk.say_apart("hello")
        assert (desk.shared(None), desk.shared(another)) == ([newest], [newest])

    def test_versions_of_its_own_branches_do_not_appear(self, desk: Desk) -> None:
        ref = desk.made(desk.turn)
        branch = desk.say("other way", under=desk.turn)
        later = desk.change(ref, "two", thread_id=branch.thread_id)
        desk.settle(branch.thread_id, later)
        desk.change(later, "three", thread_id=branch.thread_id, by_hand=True)
        assert desk.shared(desk.turn) == []

    def test_of_what_both_made_it_sees_the_newest_of_the_other(self, desk: Desk) -> None:
        ref, another = desk.made(desk.turn), desk.say_apart("hello")
        mine = desk.change(ref, "mine", thread_id=another.thread_id)
        desk.settle(another.thread_id, mine)
        assert (desk.shared(another), desk.shared(desk.turn)) == ([ref], [mine])

    def test_what_was_attached_is_there_for_all(self, desk: Desk) -> None:
        attached = desk.write("text", kind="file")
        assert (desk.shared(None), desk.shared(desk.turn)) == ([attached], [attached])

    def test_nothing_of_another_session(self, desk: Desk) -> None:
        desk.made(desk.turn)
        elsewhere = Desk(desk.skein, desk.viewer)
        assert (elsewhere.shared(None), elsewhere.listed()) == ([], [])
        assert desk.reading(artifacts.has_artifacts, elsewhere.session_id) is False

    def test_what_a_deleted_branch_made_is_not_shared_and_what_a_deleted_conversation_made_is(
        self, desk: Desk
    ) -> None:
        branch = desk.say("other way", under=desk.turn)
        aside = desk.say("aside", under=desk.turn)
        desk.made(aside)
        kept = desk.made(branch)
        delete_branch_of(desk, aside)
        assert desk.shared(None) == [kept]
        desk.skein.database.write(
            lambda db: conversations.delete_conversation(desk.viewer, db, desk.turn.conversation_id)
        )
        assert desk.shared(None) == [kept]


def delete_branch_of(desk: Desk, turn: Turn) -> None:
    with desk.skein.database.read() as db:
        branch = branches.get_branch_below(desk.viewer, db, turn.message_id)
    branching.delete(desk.skein.engine, desk.viewer, branch.branch_id)


class TestAnotherPerson:
    def test_finds_nothing_and_writes_nothing(self, desk: Desk, person: Person) -> None:
        ref, mallory = desk.made(desk.turn), person("mallory")
        for function, args in (
            (artifacts.list_artifacts, (desk.session_id,)),
            (artifacts.has_artifacts, (desk.session_id,)),
            (artifacts.list_versions, (ref.artifact_id,)),
            (artifacts.get_version, (ref,)),
            (artifacts.read_content, (ref,)),
            (artifacts.find_shared, (desk.session_id, None)),
        ):
            with pytest.raises(NotFoundError):
                desk.reading(function, *args, viewer=mallory)
        assert desk.reading(artifacts.list_named, [ref], viewer=mallory) == []
        with pytest.raises(NotFoundError):
            desk.write("theirs", viewer=mallory)
        with pytest.raises(NotFoundError):
            desk.change(ref, "theirs", viewer=mallory)

    def test_cannot_write_a_version_of_anothers_artifact_from_their_own_session(
        self, desk: Desk, person: Person
    ) -> None:
        ref, theirs = desk.made(desk.turn), Desk(desk.skein, person("mallory"))
        with pytest.raises(NotFoundError):
            theirs.change(ref, "theirs")

    def test_is_told_the_same_as_of_what_is_not_there(self, desk: Desk, person: Person) -> None:
        mallory, said = person("mallory"), []
        for ref in (desk.made(desk.turn), Ref(new_artifact_id(), 1)):
            with pytest.raises(NotFoundError) as caught:
                desk.reading(artifacts.read_content, ref, viewer=mallory)
            said.append(str(caught.value))
        assert said[0] == said[1]

    @pytest.mark.parametrize("role", ["analyst", "admin"])
    def test_who_reads_all_reads_and_does_not_write(self, desk: Desk, person: Person, role: str) -> None:
        ref, ann = desk.made(desk.turn), person("ann", role=role)
        assert desk.reading(artifacts.read_content, ref, viewer=ann) == b"text"
        assert [row.newest.ref for row in desk.reading(artifacts.list_artifacts, desk.session_id, viewer=ann)] == [
            ref
        ]
        with pytest.raises(ForbiddenError):
            desk.change(ref, "theirs", viewer=ann)


class TestTwoAtOnce:
    def test_each_gets_a_number_of_its_own(self, desk: Desk) -> None:
        ref = desk.write("one")
        others = [Database(desk.skein.settings.app_database_url) for _ in range(3)]

        def write(place: int) -> int:
            def job(db: Any) -> Ref:
                return write_version(
                    desk.viewer,
                    db,
                    session_id=desk.session_id,
                    kind="result",
                    name="report",
                    content=f"{place}".encode(),
                    media_type="text/plain",
                    artifact_id=ref.artifact_id,
                )

            return others[place % 3].write(job).version

        with ThreadPoolExecutor(12) as pool:
            numbers = list(pool.map(write, range(24)))
        for other in others:
            other.close()
        assert sorted(numbers) == list(range(2, 26))

    def test_of_two_who_change_the_same_version_by_hand_one_is_told(self, desk: Desk) -> None:
        ref, others = desk.made(desk.turn), [Database(desk.skein.settings.app_database_url) for _ in range(2)]

        def change(database: Database) -> str:
            try:
                database.write(
                    lambda db: write_version(
                        desk.viewer,
                        db,
                        session_id=desk.session_id,
                        kind="result",
                        name="report",
                        content=b"mine",
                        media_type="text/plain",
                        artifact_id=ref.artifact_id,
                        base_version=1,
                        thread_id=desk.turn.thread_id,
                        by_hand=True,
                    )
                )
            except ConflictError:
                return "told"
            return "taken"

        with ThreadPoolExecutor(2) as pool:
            outcomes = sorted(pool.map(change, others))
        for other in others:
            other.close()
        assert outcomes == ["taken", "told"]


class TestPurging:
    def _purge(self, desk: Desk) -> int:
        later = utc_now() + timedelta(minutes=2)
        return purge.purge_branches(desk.skein.database, desk.skein.housekeeper.forget_thread, now=later)

    def test_keeps_what_the_runs_kept_without_their_thread_and_drops_the_rest(self, desk: Desk) -> None:
        gone = desk.say("other way", under=desk.turn)
        kept = desk.made(gone)
        pending = desk.write("not over", thread_id=gone.thread_id)
        by_hand = desk.change(kept, "by hand", thread_id=gone.thread_id, by_hand=True)
        desk.made(desk.say("this way", under=desk.turn))
        delete_branch_of(desk, gone)
        assert self._purge(desk) == 1
        rows = desk.reading(artifacts.list_named, [kept, pending, by_hand])
        assert {row.ref: (row.status, row.thread_id, row.message_id) for row in rows} == {
            kept: ("kept", None, None),
            pending: ("dropped", None, None),
            by_hand: ("dropped", None, None),
        }
        assert kept in desk.listed()
        assert kept not in desk.shared(desk.turn)

    def test_takes_the_approvals_of_the_thread_with_it(self, desk: Desk) -> None:
        gone, stays = desk.say("other way", under=desk.turn), desk.say("this way", under=desk.turn)
        for turn in (gone, stays):
            self._add_approval(desk, turn)
        delete_branch_of(desk, gone)
        assert self._purge(desk) == 1
        with desk.skein.database.read() as db:
            left = db.connection().execute(select(table_of(Approval).c.thread_id)).scalars().all()
        assert left == [stays.thread_id]

    def _add_approval(self, desk: Desk, turn: Turn) -> None:
        row = Approval(
            approval_id=new_approval_id(),
            thread_id=turn.thread_id,
            user_id=desk.viewer.user_id,
            interrupt_id="one",
            kind="question",
            arguments_hash="",
            status="decided",
        )
        desk.skein.database.write(lambda db: db.add(row))


class TestATaskPlan:
    PLAN = TaskPlan(title="Move house", steps=[Step(text="Pack"), Step(text="Drive", status="doing")])

    def test_is_read_as_it_was_written(self) -> None:
        assert read_plan(write_plan(self.PLAN)) == self.PLAN

    def test_is_read_as_people_write_it(self) -> None:
        text = plan_to_text(self.PLAN)
        assert text == "Move house\n[ ] Pack\n[~] Drive"
        assert text_to_plan(text) == self.PLAN
        assert text_to_plan("  Move house \n\n- [ ] Pack\n * [~]Drive\n".replace(" *", "*")) == self.PLAN

    @pytest.mark.parametrize(
        ("text", "said"), [("", "title"), ("t\nPack", "'Pack' is no step"), ("t\n[?] a", "mark")]
    )
    def test_that_people_wrote_wrongly_is_refused_with_the_line(self, text: str, said: str) -> None:
        with pytest.raises(BadInputError, match=said):
            text_to_plan(text)

    def test_is_written_as_an_artifact(self, desk: Desk) -> None:
        ref = desk.write(
            kind="task_plan", name="plan", content=write_plan(self.PLAN), media_type="application/json"
        )
        assert read_plan(desk.reading(artifacts.read_content, ref)) == self.PLAN

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"", "the plan"),
            (b"[]", "the plan"),
            (b'{"steps": []}', "title"),
            (b'{"title": " "}', "title"),
            (b'{"title": "t", "steps": [{"text": "a", "status": "late"}]}', "steps.0.status"),
            (b'{"title": "t", "steps": [{"text": "a", "by": "me"}]}', "steps.0.by"),
            (b'{"title": "t", "steps": [' + b",".join([b'{"text": "a"}'] * 201) + b"]}", "steps"),
            (b"\xff", "the plan"),
            (b" " * 1_000_001, "1,000,000"),
        ],
    )
    def test_that_is_none_is_refused_with_the_place(self, content: bytes, said: str) -> None:
        with pytest.raises(BadInputError, match=said):
            read_plan(content)
