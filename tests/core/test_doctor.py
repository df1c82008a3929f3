"""The doctor: everything it can find is broken on purpose, found by name, mended, and then well."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from core.calls.text.search import index_calls
from core.history import search
from core.history.browse.counting import count_changed
from core.ids import MessageId, new_annotation_id, new_approval_id, new_call_id, new_message_id, new_session_id
from core.records import doctor
from core.records.doctor.house import House, open_house
from core.settings import Settings
from core.skein import open_skein
from core.tables import utc_now
from tests.conftest import _create, copy_sqlite, make_person
from tests.core.support import answered, ask, graph_settings
from tests.core.test_deletion import Place

SECRET = "zanzibarquux"
LONG_AGO = "2026-01-02 03:04:05.000000"


@dataclass
class World:
    """A Skein that was used and is closed, with both its stores open for the doctor."""

    house: House
    place: Place
    plain: str

    def sql(self, statement: str, **given: Any) -> list[Any]:
        """Do something to the app's database that its keys would not allow, as another program might."""
        engine = create_engine(self.house.database.url)
        try:
            with engine.begin() as connection:
                if not self.house.database.is_sqlite:
                    connection.execute(text("SET session_replication_role = replica"))
                done = connection.execute(text(statement), given)
                return list(done.scalars()) if done.returns_rows else []
        finally:
            engine.dispose()

    def kinds(self) -> dict[str, tuple[str, ...]]:
        return {found.kind: found.ids for found in doctor.examine(self.house)}

    def mended(self) -> dict[str, tuple[str, ...]]:
        """What is left after mending; some things come to light only when others are mended."""
        for _ in range(3):
            doctor.mend(self.house)
        return self.kinds()


# One house of each kind is broken and mended by all these tests, one after another.
@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("doctor")
    url = copy_sqlite(request, folder)
    if request.param == "postgresql":
        template = request.getfixturevalue("postgres_template")
        url = _create(request.getfixturevalue("postgres"), "skein_doctor", template=template)
    settings = graph_settings(folder, url)
    place, plain = _live(settings)
    with open_house(settings) as house:
        _age(house)
        for chore in (count_changed, search.index_messages, index_calls):
            while chore(house.database):
                pass
        yield World(house, place, plain)


def _live(settings: Settings) -> tuple[Place, str]:
    skein = open_skein(settings)
    try:
        alice = make_person(skein, "alice")
        place = Place(skein, alice)
        return place, answered(skein, alice, ask(skein, alice, "plain", agent="echo").thread_id).thread_id
    finally:
        skein.close()


def _age(house: House) -> None:
    """Let it all have been long ago, but for what sorts by time."""
    for table, column in (("thread", "ended_at"), ("artifact_version", "created_at")):
        house.write(text(f"UPDATE {table} SET {column} = :at"), {"at": LONG_AGO})
    house.write(text("INSERT INTO session_to_count (session_id) SELECT session_id FROM session"))


# --- the breakages: each gives the ids that are to be found -------------------------------------------------------


def _forgets_row_of_thread(world: World) -> list[str]:
    other = "thread_1700000000000_ABCDEFGHJKMN"
    house = world.house
    house.loop.run(
        house.saver.aput(
            {"configurable": {"thread_id": other, "checkpoint_ns": ""}},
            {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}},  # type: ignore[typeddict-item]
            {},
            {},
        )
    )
    return [other]


def _runs_by_nobody(world: World) -> list[str]:
    world.sql("UPDATE thread SET status = 'running', lease_until = NULL WHERE thread_id = :t", t=world.plain)
    return [world.plain]


def _queued_by_nobody(world: World) -> list[str]:
    world.sql(
        "UPDATE thread SET status = 'queued', lease_until = :at, worker = 'gone' WHERE thread_id = :t",
        t=world.plain,
        at=LONG_AGO,
    )
    return [world.plain]


def _waits_for_nothing(world: World) -> list[str]:
    world.sql("UPDATE thread SET status = 'waiting' WHERE thread_id = :t", t=world.plain)
    return [world.plain]


def _waits_without_state(world: World) -> list[str]:
    waits = world.place.waits.thread_id
    world.sql("UPDATE thread SET status = 'waiting' WHERE thread_id = :t", t=waits)
    world.sql("UPDATE approval SET status = 'waiting' WHERE thread_id = :t", t=waits)
    world.house.forget_thread(waits)
    return [waits]


def _approval_of_ended(world: World) -> list[str]:
    approval_id = new_approval_id()
    world.sql(
        "INSERT INTO approval (approval_id, thread_id, user_id, interrupt_id, node, kind, tool, arguments_hash, "
        "status, waiting_since, reason) VALUES (:a, :t, :u, 'x', '', 'tool', 'send', '', 'waiting', :at, '')",
        a=approval_id,
        t=world.plain,
        u=world.place.owner.user_id,
        at=LONG_AGO,
    )
    return [approval_id]


def _unsettled_version(world: World) -> list[str]:
    ref = world.place.artifact
    world.sql(
        "UPDATE artifact_version SET status = 'pending', thread_id = NULL WHERE artifact_id = :a",
        a=ref.artifact_id,
    )
    return [str(ref)]


def _loses_thread(world: World) -> list[str]:
    _delete_thread(world)
    return [_message_of_fork(world)]


def _delete_thread(world: World) -> None:
    fork = world.place.fork.thread_id
    world.house.forget_thread(fork)
    world.sql("UPDATE thread SET parent_thread_id = NULL WHERE parent_thread_id = :t", t=fork)
    for table in ("run_event", "snapshot", "approval", "artifact_version", "thread"):
        world.sql(f"DELETE FROM {table} WHERE thread_id = :t", t=fork)


def _message_of_fork(world: World) -> MessageId:
    return world.place.fork.message_id


def _loses_message(world: World) -> list[str]:
    """A thread whose message is gone."""
    message = world.sql("SELECT message_id FROM thread WHERE thread_id = :t", t=world.plain)[0]
    world.sql(
        "UPDATE thread SET message_id = :new WHERE thread_id = :t", t=world.plain, new=(new := new_message_id())
    )
    world.sql("DELETE FROM branch WHERE head_message_id = :m", m=message)
    return [f"thread.message_id={new}"]


def _loses_user(world: World) -> list[str]:
    user_id = world.place.owner.user_id
    world.sql('DELETE FROM "user" WHERE user_id = :u', u=user_id)
    return [
        f"{name}.user_id={user_id}"
        for name in ("session", "thread", "branch", "snapshot", "approval", "annotation", "artifact_version")
    ]


def _artifact_without_session(world: World) -> list[str]:
    gone = new_session_id()
    world.sql(
        "INSERT INTO artifact (artifact_id, session_id, kind, name, created_at) "
        "VALUES ('art_1700000000000_ABCDEFGHJKMN', :s, 'file', 'x', :at)",
        s=gone,
        at=LONG_AGO,
    )
    return [f"artifact.session_id={gone}"]


def _artifact_without_version(world: World) -> list[str]:
    world.sql(
        "INSERT INTO artifact (artifact_id, session_id, kind, name, created_at) "
        "VALUES ('art_1700000000000_ABCDEFGHJKMN', :s, 'file', 'x', :at)",
        s=world.place.session_id,
        at=LONG_AGO,
    )
    return ["art_1700000000000_ABCDEFGHJKMN"]


def _events_without_thread(world: World) -> list[str]:
    world.sql(
        "INSERT INTO run_event (thread_id, seq, at_ms, kind) VALUES ('thread_none', 1, 0, 'end')",
    )
    return ["run_event.thread_id=thread_none"]


def _branch_with_deleted_head(world: World) -> list[str]:
    found = world.sql(
        "SELECT branch_id FROM branch WHERE head_message_id = :m", m=_message_of_fork(world)
    ) or world.sql("SELECT branch_id FROM branch ORDER BY branch_id LIMIT 1")
    head = world.sql("SELECT head_message_id FROM branch WHERE branch_id = :b", b=found[0])
    world.sql("UPDATE message SET deleted_at = :at WHERE message_id = :m", m=head[0], at=LONG_AGO)
    return found


def _end_without_branch(world: World) -> list[str]:
    branch = world.sql("SELECT branch_id FROM branch WHERE deleted_at IS NULL ORDER BY branch_id LIMIT 1")[0]
    head = world.sql("SELECT head_message_id FROM branch WHERE branch_id = :b", b=branch)
    world.sql("DELETE FROM branch WHERE head_message_id = :m", m=head[0])
    return head


def _shown_in_deleted(world: World) -> list[str]:
    world.sql("UPDATE session SET status = 'deleted' WHERE session_id = :s", s=world.place.session_id)
    world.sql("UPDATE session SET updated_at = :at WHERE session_id = :s", s=world.place.session_id, at=utc_now())
    return world.sql(
        "SELECT conversation_id FROM conversation WHERE session_id = :s AND deleted_at IS NULL",
        s=world.place.session_id,
    )


def _annotation_on_nothing(world: World) -> list[str]:
    note = new_annotation_id()
    world.sql(
        "INSERT INTO annotation (annotation_id, user_id, target_id, kind, content, created_at, updated_at) "
        "VALUES (:a, :u, :m, 'note', 'x', :at, :at)",
        a=note,
        u=world.place.owner.user_id,
        m=new_message_id(),
        at=LONG_AGO,
    )
    return [note]


def _texts_without_call(world: World) -> list[str]:
    call = new_call_id()
    world.sql("INSERT INTO llm_call_body (call_id, prompt, salt) VALUES (:c, '[]', '')", c=call)
    return [call]


def _rollup(world: World) -> list[str]:
    world.sql("UPDATE llm_call_day SET calls = calls + 1")
    return [str(day) for day in sorted(set(world.sql("SELECT day FROM llm_call_day")))]


def _rollup_gone(world: World) -> list[str]:
    days = sorted(set(world.sql("SELECT day FROM llm_call_day")))
    world.sql("DELETE FROM llm_call_hour")
    return [str(day) for day in days]


def _count_of_session(world: World) -> list[str]:
    world.sql("UPDATE session_stat SET messages = messages + 7 WHERE session_id = :s", s=world.place.session_id)
    return [world.place.session_id]


def _count_of_nothing(world: World) -> list[str]:
    world.sql(
        "UPDATE session_stat SET session_id = 'session_none' WHERE session_id = "
        "(SELECT session_id FROM session_stat ORDER BY session_id LIMIT 1)"
    )
    return []


def _message_not_indexed(world: World) -> list[str]:
    message = world.place.turn.message_id
    world.sql("DELETE FROM message_search WHERE message_id = :m", m=message)
    return [message]


def _message_indexed_wrong(world: World) -> list[str]:
    message = world.place.turn.message_id
    world.sql("UPDATE message SET content = 'quite another thing 别的' WHERE message_id = :m", m=message)
    return [message]


def _index_of_nothing(world: World) -> list[str]:
    gone = new_message_id()
    world.sql("INSERT INTO message_search (position, message_id, part) VALUES (7, :m, 'question')", m=gone)
    return [gone]


def _call_not_indexed(world: World) -> list[str]:
    call = world.sql("SELECT call_id FROM llm_call_search ORDER BY call_id LIMIT 1")
    world.sql("DELETE FROM llm_call_search WHERE call_id = :c", c=call[0])
    return call


def _call_indexed_wrong(world: World) -> list[str]:
    call = world.sql("SELECT call_id FROM llm_call_search ORDER BY call_id LIMIT 1")
    said = '[{"role": "user", "content": "quite another thing"}]'
    world.sql("UPDATE llm_call_body SET prompt = :p, response = NULL WHERE call_id = :c", p=said, c=call[0])
    return call


Break = Callable[[World], list[str]]
BREAKS: list[tuple[str, Break]] = [
    ("checkpoints-without-thread", _forgets_row_of_thread),
    ("stuck-run", _runs_by_nobody),
    ("approval-of-ended-run", _approval_of_ended),
    ("version-unsettled", _unsettled_version),
    ("orphan", _artifact_without_session),
    ("orphan", _events_without_thread),
    ("artifact-without-version", _artifact_without_version),
    ("annotation-on-nothing", _annotation_on_nothing),
    ("texts-without-call", _texts_without_call),
    ("rollup-differs", _rollup),
    ("rollup-differs", _rollup_gone),
    ("session-count-differs", _count_of_session),
    ("session-count-differs", _count_of_nothing),
    ("message-index-differs", _message_not_indexed),
    ("message-index-differs", _index_of_nothing),
    ("message-index-differs", _message_indexed_wrong),
    ("call-index-differs", _call_not_indexed),
    ("call-index-differs", _call_indexed_wrong),
    ("end-without-branch", _end_without_branch),
    ("branch-without-head", _branch_with_deleted_head),
    ("orphan", _loses_user),
    ("stuck-run", _queued_by_nobody),
    ("waiting-for-nothing", _waits_for_nothing),
    ("waiting-without-state", _waits_without_state),
    ("message-without-thread", _loses_thread),
    ("orphan", _loses_message),
    ("deleted-but-shown", _shown_in_deleted),
]


def test_nothing_is_wrong_with_what_was_only_used(world: World) -> None:
    assert world.kinds() == {}


@pytest.mark.parametrize(("kind", "break_it"), BREAKS, ids=[broken.__name__[1:] for _, broken in BREAKS])
def test_what_is_broken_is_found_and_mended(world: World, kind: str, break_it: Break) -> None:
    assert kind not in world.kinds()
    expected = break_it(world)
    found = world.kinds()[kind]
    assert set(expected) <= set(found)
    left = world.mended()
    assert kind not in left
    assert set(left) <= {"thread-without-state"}


def test_every_check_is_broken_here() -> None:
    broken_apart = {"thread-without-state", "state-out-of-order", "seal-without-activity", "purge-unfinished"}
    assert {kind for kind, _ in BREAKS} | broken_apart == {check.kind for check in doctor.CHECKS}


async def _put_behind(saver: Any, thread_id: str) -> None:
    """Store a state as a clock that was set back would have it: with an id before its parent's."""
    newest = await saver.aget_tuple({"configurable": {"thread_id": thread_id}})
    behind = {**newest.checkpoint, "id": f"0{newest.checkpoint['id'][1:]}"}
    under = {"configurable": {**newest.config["configurable"], "checkpoint_ns": ""}}
    await saver.aput(under, behind, newest.metadata, {})


class TestWhatIsOnlyTold:
    """Last, for it stays broken."""

    def test_a_state_that_counts_as_older_than_its_parent_is_told_of(self, world: World) -> None:
        thread_id = world.place.turn.thread_id
        assert doctor.examine(world.house, kinds=["state-out-of-order"]) == []
        world.house.loop.run(_put_behind(world.house.saver, thread_id))
        [found] = doctor.examine(world.house, kinds=["state-out-of-order"])
        assert (list(found.ids), found.mendable) == ([thread_id], False)

    def test_a_state_that_is_gone_cannot_be_brought_back(self, world: World) -> None:
        world.sql("UPDATE thread SET status = 'done' WHERE thread_id = :t", t=world.place.turn.thread_id)
        world.house.forget_thread(world.place.turn.thread_id)
        [found] = doctor.examine(world.house, kinds=["thread-without-state"])
        assert (world.place.turn.thread_id in found.ids, found.mendable) == (True, False)

    def test_an_act_that_is_gone_from_the_record_is_told(self, world: World) -> None:
        world.sql("INSERT INTO activity_to_seal (activity_id) VALUES ('act_none')")
        [found] = doctor.examine(world.house, kinds=["seal-without-activity"])
        assert (found.ids, found.mendable) == (("act_none",), False)
        assert doctor.mend(world.house, kinds=["seal-without-activity"]) == [found]
        world.sql("DELETE FROM activity_to_seal WHERE activity_id = 'act_none'")

    def test_a_purge_that_never_ended_is_finished(self, world: World) -> None:
        session_id = world.place.session_id
        world.sql(
            "UPDATE session SET status = 'deleted', updated_at = :at WHERE session_id = :s",
            s=session_id,
            at=LONG_AGO,
        )
        assert world.kinds()["purge-unfinished"] == (session_id,)
        world.mended()
        assert world.sql("SELECT count(*) FROM session WHERE session_id = :s", s=session_id) == [0]


def test_what_was_mended_is_told_in_the_record(world: World) -> None:
    told = "SELECT count(*) FROM activity WHERE kind = 'doctor.mend' AND user_id = 'skein'"
    [before], (_, break_it) = world.sql(told), BREAKS[0]
    break_it(world)
    world.mended()
    assert world.sql(told)[0] > before
