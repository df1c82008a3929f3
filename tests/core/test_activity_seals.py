"""Activity on the chain: what people did is sealed a moment later, and whatever is done to it then shows."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import delete, func, insert, select, text, update

from core.access.activity import HOUSE, record
from core.access.deeds import DEEDS
from core.access.viewer import Viewer
from core.calls.proof import activity as sealing
from core.calls.proof.activity import seal_activity
from core.calls.proof.heads import Head, export_head, read_head
from core.calls.proof.seals import ACTIVITY, ID_BYTES, raw_columns, seal_values, split_manifest
from core.calls.proof.verify import verify, verify_log
from core.database import Database, table_of
from core.errors import ForbiddenError
from core.ids import new_activity_id, new_login_id, new_session_id, new_user_id
from core.records.export.proof import write_seals
from core.tables import Activity, ActivityToSeal, LogSeal, utc_now
from tests.core.mains import seal_deeds
from tests.core.processes import run_at_once
from tests.core.support import ROOT
from tests.core.test_seals import make_call, make_fix, run, set_call, write, write_log

ACT, WAITS, SEAL = table_of(Activity), table_of(ActivityToSeal), table_of(LogSeal)
ALICE = Viewer(new_user_id(), "alice", "member", new_login_id())
ANALYST = Viewer(new_user_id(), "ana", "analyst")


def do(database: Database, count: int = 1, kind: str = "session.rename") -> list[str]:
    """Record so many deeds; gives their ids."""

    def job(db: Any) -> list[str]:
        for number in range(count):
            session_id = new_session_id()
            record(db, ALICE, kind, target_id=session_id, session_id=session_id, detail={"messages": number})
        newest = select(ACT.c.activity_id).order_by(ACT.c.activity_id.desc()).limit(count)
        return sorted(db.connection().execute(newest).scalars())

    return database.write(job)


def sealed(database: Database, count: int = 1) -> list[str]:
    ids = do(database, count)
    assert seal_activity(database) == count
    return ids


def count_of(database: Database, table: Any) -> int:
    with database.read() as db:
        return db.connection().execute(select(func.count()).select_from(table)).scalar_one()


def is_it(activity_id: str) -> Any:
    return ACT.c.activity_id == activity_id


def slip_in(**changes: Any) -> tuple[str, Any]:
    """What somebody with the database's password adds by hand."""
    row = {"activity_id": new_activity_id(), "created_at": utc_now(), "user_id": ALICE.user_id, "detail": {}}
    row |= {"kind": "login.start", **changes}
    return row["activity_id"], insert(ACT).values(row)


class TestSealing:
    def test_takes_what_waits_and_puts_it_on_the_chain(self, database: Database) -> None:
        ids = do(database, 3)
        assert (count_of(database, WAITS), seal_activity(database), count_of(database, WAITS)) == (3, 3, 0)
        with database.read() as db:
            [seal] = db.connection().execute(select(SEAL)).all()
        assert [entry[:ID_BYTES].decode().rstrip() for entry in split_manifest(seal.manifest)] == ids
        assert (seal.first_call_id, seal.last_call_id) == (ids[0], ids[-1])

    def test_makes_no_seal_when_nothing_waits(self, database: Database) -> None:
        assert (seal_activity(database), count_of(database, SEAL)) == (0, 0)

    def test_goes_in_parts_the_oldest_first(self, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        in_twos = sealing._WAITING.limit(None).limit(2)
        monkeypatch.setattr(sealing, "_WAITING", in_twos)
        do(database, 5)
        assert [seal_activity(database) for _ in range(4)] == [2, 2, 1, 0]
        assert (verify(database).ok, verify(database).activity, verify(database).seals) == (True, 5, 3)

    def test_of_a_deed_whose_transaction_failed_has_nothing_to_seal(self, database: Database) -> None:
        def fails(db: Any) -> None:
            record(db, ALICE, "login.end")
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            database.write(fails)
        assert (count_of(database, ACT), count_of(database, WAITS)) == (0, 0)

    def test_leaves_one_that_is_gone_waiting_for_ever_as_a_trace(self, database: Database) -> None:
        gone, kept = do(database, 2)
        run(database, delete(ACT).where(is_it(gone)))
        assert (seal_activity(database), seal_activity(database), count_of(database, WAITS)) == (1, 0, 1)
        verdict = verify(database)
        assert (verdict.ok, verdict.call_id, verdict.activity) == (False, gone, 1)
        assert "deleted before a seal had it" in verdict.problem
        assert kept != gone


class TestADigest:
    def test_is_written_down_once_and_for_all(self) -> None:
        row = {
            "activity_id": "act_1795219200000_0123456789AB",
            "created_at": datetime(2026, 11, 1, 8, 30, 0, 123_456, tzinfo=UTC),
            "user_id": "user_1795219200000_0123456789AB",
            "login_id": None,
            "kind": "message.send",
            "target_id": "msg_1795219200000_0123456789AB",
            "session_id": None,
            "detail": {"thread_id": "thread_1", "kind": "first"},
        }
        written = (
            '["act_1795219200000_0123456789AB",1793521800123456,"user_1795219200000_0123456789AB",null,'
            '"message.send","msg_1795219200000_0123456789AB",null,'
            '"{\\"kind\\":\\"first\\",\\"thread_id\\":\\"thread_1\\"}"]'
        )
        assert ACTIVITY.digest(row) == hashlib.sha256(written.encode()).digest()

    def test_an_id_fits_the_manifest(self) -> None:
        assert len(new_activity_id()) <= ID_BYTES


class TestAnIntactChain:
    def test_holds_with_calls_corrections_and_activity_mixed(self, database: Database) -> None:
        log = write_log(database, 3)
        sealed(database, 2)
        write(database, [make_call()], fixes=(make_fix(log[0][1][0]["call_id"]),))
        sealed(database, 104)
        do(database, 2)
        verdict, head = verify(database), read_head(database)
        assert (verdict.problem, verdict.seals, verdict.calls, verdict.corrections) == ("", 4, 4, 1)
        assert (verdict.activity, verdict.waiting, verdict.head) == (106, 2, head)
        assert head is not None
        assert (head.seals, head.calls, head.corrections, head.activity) == (4, 4, 1, 106)

    def test_may_be_sealed_while_it_is_verified(self, database: Database) -> None:
        write_log(database, 300, 300)
        do(database, 3)

        def meanwhile(_done: int, _of: int) -> None:
            seal_activity(database)
            do(database)

        assert verify(database, progress=meanwhile).problem == ""
        assert verify(database).problem == ""

    def test_a_head_that_was_exported_before_there_was_activity_still_holds(self, database: Database) -> None:
        write_log(database, 3)
        head = read_head(database)
        assert head is not None
        said = json.loads(head.to_json())
        del said["activity"]
        old = Head.from_json(json.dumps(said))
        sealed(database, 2)
        verdict = verify(database, expected_head=old)
        assert (old, verdict.ok, verdict.activity) == (head, True, 2)

    def test_a_head_with_activity_is_read_back_as_it_was(self, database: Database) -> None:
        sealed(database, 2)
        head = read_head(database)
        assert head is not None
        assert (head.activity, Head.from_json(head.to_json())) == (2, head)


class TestWhatIsDoneToSealedActivity:
    @pytest.mark.parametrize(
        "changes",
        [
            {"user_id": "user_somebody_else"},
            {"kind": "session.delete"},
            {"created_at": datetime(2020, 1, 1, tzinfo=UTC)},
            {"session_id": None},
            {"login_id": None},
            {"target_id": "session_other"},
            {"detail": {}},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_a_changed_row_is_named(self, database: Database, changes: dict[str, Any]) -> None:
        ids = sealed(database, 3)
        run(database, update(ACT).where(is_it(ids[1])).values(**changes))
        verdict = verify(database)
        assert (verdict.ok, verdict.call_id) == (False, ids[1])
        assert f"The row of activity {ids[1]} was changed after seal {verdict.seal_id} was made." == verdict.problem

    def test_a_deleted_row_is_named(self, database: Database) -> None:
        ids = sealed(database, 3)
        run(database, delete(ACT).where(is_it(ids[2])))
        verdict = verify(database)
        assert (verdict.ok, verdict.call_id) == (False, ids[2])
        assert "was deleted" in verdict.problem

    def test_a_row_that_was_slipped_in_is_named(self, database: Database) -> None:
        sealed(database, 3)
        do(database)
        added, statement = slip_in()
        run(database, statement)
        verdict = verify(database)
        assert (verdict.ok, verdict.call_id) == (False, added)
        assert "no seal has it" in verdict.problem

    def test_a_row_that_was_slipped_in_between_sealed_ones_is_named(self, database: Database) -> None:
        first = sealed(database, 2)
        added, statement = slip_in(created_at=datetime(2020, 1, 1, tzinfo=UTC))
        sealed(database, 2)
        run(database, statement)
        assert first[0] < added
        assert (verify(database).ok, verify(database).call_id) == (False, added)

    def test_one_that_is_made_to_wait_again_shows_and_gets_no_second_seal(self, database: Database) -> None:
        [activity_id] = sealed(database)
        run(database, insert(WAITS).values(activity_id=activity_id))
        verdict = verify(database)
        assert (verdict.ok, verdict.call_id) == (False, activity_id)
        assert "a seal has it already" in verdict.problem
        assert (seal_activity(database), count_of(database, WAITS), count_of(database, SEAL)) == (0, 0, 1)
        assert (verify(database).ok, verify(database).activity) == (True, 1)

    def test_one_that_is_made_to_wait_again_hides_no_row_that_was_slipped_in(self, database: Database) -> None:
        ids = sealed(database, 3)
        added, statement = slip_in()
        run(database, statement, insert(WAITS).values(activity_id=ids[0]))
        assert (verify(database).ok, verify(database).call_id) == (False, added)
        seal_activity(database)
        assert (verify(database).ok, verify(database).call_id) == (False, added)

    def test_nor_does_one_that_is_sealed_twice(self, database: Database) -> None:
        ids = sealed(database, 3)

        def again(db: Any) -> str:
            row = db.connection().execute(select(*raw_columns(ACT)).where(is_it(ids[0]))).one()
            return seal_values(db, ACTIVITY, [row])

        _, statement = slip_in()
        run(database, statement)
        seal_id, verdict = database.write(again), verify(database)
        assert (verdict.seal_id, verdict.call_id) == (seal_id, ids[0])
        assert f"is sealed twice: seal {seal_id} has it once more" in verdict.problem

    def test_a_swap_of_two_rows_is_named(self, database: Database) -> None:
        one, other = sealed(database, 2)
        run(
            database,
            update(ACT).where(is_it(one)).values(activity_id="act_for_a_moment"),
            update(ACT).where(is_it(other)).values(activity_id=one),
            update(ACT).where(is_it("act_for_a_moment")).values(activity_id=other),
        )
        assert "the two were swapped" in verify(database).problem

    def test_an_exported_head_shows_that_the_end_was_cut_off(self, database: Database) -> None:
        sealed(database, 2)
        cut = sealed(database, 2)
        head = read_head(database)
        assert head is not None
        run(
            database,
            delete(SEAL).where(SEAL.c.seal_id == head.seal_id),
            delete(ACT).where(ACT.c.activity_id.in_(cut)),
        )
        assert verify(database).ok
        assert "The log was cut off" in verify(database, expected_head=head).problem

    def test_a_changed_call_is_still_the_one_that_is_named(self, database: Database) -> None:
        sealed(database, 2)
        [(seal_id, rows)] = write_log(database, 2)
        run(database, set_call(rows[1], node="other"))
        verdict = verify(database)
        assert (verdict.seal_id, verdict.call_id) == (seal_id, rows[1]["call_id"])


def queue(database: Database, **changes: Any) -> str:
    """Slip a row in as if it had just been recorded."""
    added, statement = slip_in(**changes)
    run(database, statement, insert(WAITS).values(activity_id=added))
    return added


class TestWhatNoSealCanTake:
    @pytest.mark.parametrize(
        "name", ["act_文", "act_" + "x" * 40, "zzz", "call_1795219200000_0123456789AB", "act_"]
    )
    def test_waits_and_is_named_and_the_rest_is_sealed(self, database: Database, name: str) -> None:
        do(database, 2)
        queue(database, activity_id=name)
        assert (seal_activity(database), seal_activity(database), count_of(database, WAITS)) == (2, 0, 1)
        verdict = verify(database)
        assert (verdict.ok, verdict.call_id, verdict.activity, verdict.waiting) == (False, name, 2, 1)
        assert "none can take it" in verdict.problem

    def test_is_paged_over_however_much_of_it_there_is(
        self, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sealing, "_WAITING", sealing._WAITING.limit(None).limit(2))
        for number in range(5):
            queue(database, activity_id=f"act_0{number}")
        do(database, 2)
        assert [seal_activity(database) for _ in range(3)] == [1, 1, 0]

    @pytest.mark.parametrize("change", ["detail = 'nope'", "kind = CAST(x'ff41' AS TEXT)", "created_at = 'noon'"])
    def test_may_be_a_row_that_sqlite_keeps_though_it_makes_no_sense(self, tmp_path: Path, change: str) -> None:
        database = Database(f"sqlite:///{tmp_path / 'lax.db'}")
        database.migrate()
        ids = do(database, 3)
        run(database, text(f"UPDATE activity SET {change} WHERE activity_id = '{ids[1]}'"))
        assert (seal_activity(database), seal_activity(database)) == (2, 0)
        assert (verify(database).ok, verify(database).call_id) == (False, ids[1])
        database.close()

    def test_one_that_waits_since_long_while_later_deeds_are_sealed_is_named(self, database: Database) -> None:
        sealed(database)
        left = queue(database, activity_id="act_1700000000000_BBBBBBBBBBBB")
        do(database)
        assert (verify(database).ok, verify(database).call_id) == (False, left)

    def test_what_waits_since_long_because_nobody_sealed_anything_is_in_order(self, database: Database) -> None:
        queue(database, activity_id="act_1700000000000_BBBBBBBBBBBB")
        do(database)
        assert (verify(database).ok, verify(database).waiting) == (True, 2)

    def test_sealed_text_that_is_not_utf_8_is_a_changed_row(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'lax.db'}")
        database.migrate()
        ids = sealed(database, 3)
        run(database, text(f"UPDATE activity SET kind = CAST(x'ff41' AS TEXT) WHERE activity_id = '{ids[2]}'"))
        assert (verify(database).ok, verify(database).call_id) == (False, ids[2])
        run(database, text("UPDATE activity SET activity_id = CAST(x'ff' AS TEXT) WHERE kind <> 'session.rename'"))
        assert (verify(database).ok, verify(database).call_id) == (False, ids[2])
        database.close()

    def test_an_id_that_is_not_utf_8_is_named(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'lax.db'}")
        database.migrate()
        do(database)
        queue(database, activity_id="act_x")
        for table in ("activity", "activity_to_seal"):
            change = f"UPDATE {table} SET activity_id = CAST(x'6163745fff' AS TEXT) WHERE activity_id = 'act_x'"
            run(database, text(change))
        assert seal_activity(database) == 1
        assert (verify(database).ok, verify(database).call_id) == (False, str(b"act_\xff"))
        database.close()


class TestAnExport:
    def test_takes_what_cannot_be_sealed_as_rows_without_a_seal(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'full.db'}")
        database.migrate()
        first = sealed(database)
        no_more = "CREATE TRIGGER no_more BEFORE INSERT ON log_seal BEGIN SELECT RAISE(ABORT, 'no more'); END"
        run(database, text(no_more))
        second, seals = do(database), list[Any]()
        proof = write_seals(database, [*first, *second], seals.append)
        assert (proof.count, proof.without, seals[0]["rows"]) == (1, frozenset(second), first)
        database.close()


class TestADowngradeAndTheUpgradeAfterIt:
    def test_leave_sealed_rows_as_they_are_and_let_the_others_wait(self, database: Database) -> None:
        do(database, kind="branch.create")
        assert seal_activity(database) == 1
        sealed(database, 2)
        waiting = do(database)
        _downgrade(database, "0005")
        database.migrate()
        with database.read() as db:
            assert list(db.connection().execute(select(WAITS.c.activity_id)).scalars()) == waiting
        assert (verify(database).problem, verify(database).activity, verify(database).waiting) == ("", 3, 1)
        assert seal_activity(database) == 1
        assert (verify(database).problem, verify(database).activity) == ("", 4)


def _downgrade(database: Database, version: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "core/migrations"))
    with database._writing.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, version)


class TestLookingAtTheProof:
    def kinds(self, database: Database) -> list[tuple[str, str]]:
        with database.read() as db:
            rows = db.connection().execute(select(ACT.c.user_id, ACT.c.kind).order_by(ACT.c.activity_id))
            return [tuple(row) for row in rows]

    def test_a_person_who_verifies_the_log_is_recorded_and_then_sealed(self, database: Database) -> None:
        write_log(database, 2)
        assert verify_log(ANALYST, database).ok
        assert self.kinds(database) == [(ANALYST.user_id, "log.verify")]
        seal_activity(database)
        assert (verify(database).ok, verify(database).activity) == (True, 1)

    def test_so_is_one_who_takes_the_head_and_no_member_may(self, database: Database) -> None:
        write_log(database, 2)
        head = read_head(database)
        assert head is not None
        assert Head.from_json(export_head(ANALYST, database, head)) == head
        with pytest.raises(ForbiddenError, match="analyst or admin"):
            export_head(ALICE, database, head)
        assert self.kinds(database) == [(ANALYST.user_id, "log.export_head")]


class TestTwoProcesses:
    def test_seal_each_deed_once_on_one_chain(self, database: Database, database_url: str) -> None:
        said = run_at_once(seal_deeds, (database_url,), (database_url,))
        while seal_activity(database):
            pass
        verdict = verify(database)
        assert (verdict.problem, verdict.activity, verdict.waiting) == ("", 80, 0)
        assert [len(words) for words in said] == [1, 1]


class TestTheNames:
    def test_each_kind_is_a_noun_and_a_deed_with_a_sentence_of_its_own(self) -> None:
        parts = [kind.split(".") for kind in DEEDS]
        assert [kind for kind, words in zip(DEEDS, parts, strict=True) if len(words) != 2 or not all(words)] == []
        assert len(set(DEEDS.values())) == len(DEEDS)

    def test_another_kind_is_not_recorded(self, database: Database) -> None:
        with pytest.raises(Exception, match="There is no deed 'shout'"):
            database.write(lambda db: record(db, HOUSE, "shout"))
        assert count_of(database, ACT) == 0
