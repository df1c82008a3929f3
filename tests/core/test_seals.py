"""The chain of seals: a digest is one everywhere; whatever is done to a sealed log shows, and is named."""

import hashlib
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from sqlalchemy import Column as SaColumn
from sqlalchemy import MetaData, String, delete, insert, select, text, update
from sqlalchemy import Table as SaTable
from typer.testing import CliRunner

from core.access.viewer import Viewer
from core.calls.proof.heads import Head, read_head
from core.calls.proof.seals import (
    CALLS,
    CORRECTIONS,
    ID_BYTES,
    RowForm,
    digest_of,
    hash_body,
    hash_seal,
    seal,
)
from core.calls.proof.verify import Verdict, verify, verify_log
from core.cli import app
from core.database import Database, table_of
from core.errors import BadInputError, ForbiddenError
from core.ids import new_call_id, new_correction_id, new_seal_id, new_user_id
from core.tables import CostCorrection, LlmCall, LlmCallBody, LogSeal, clean_text
from tests.core.mains import seal_calls
from tests.core.processes import run_at_once

Row = dict[str, Any]
CALL, BODY, FIX, SEAL = (table_of(model) for model in (LlmCall, LlmCallBody, CostCorrection, LogSeal))
NUMBERS = count(1)
AT = datetime(2026, 11, 1, 8, 30, 0, 123_456, tzinfo=UTC)


def make_call(**changes: Any) -> Row:
    number = next(NUMBERS)
    row = dict.fromkeys(column.name for column in CALL.columns)
    row |= {
        "call_id": new_call_id(),
        "run_id": f"run-{number}",
        "created_at": AT + timedelta(seconds=number),
        "ended_at": AT + timedelta(seconds=number, microseconds=7),
        "user_id": f"user-{number}",
        "operation": "chat",
        "model": "模型",
        "params": {"seed": 3, "stop": ["\n"]},
        "streamed": True,
        "status": "ok",
        "attempt": 1,
        "duration_ms": 1_234.5678,
        "input_tokens": 100 + number,
        "output_tokens": 20,
        "cost_usd": 0.00123,
        "context_compacted": False,
        "attributed": True,
        "tags": ["a", "b"],
    }
    return row | changes


def make_body(row: Row, *, prompt: str = '[{"role":"user"}]') -> Row:
    """A body for the row, which is told its hash."""
    body = {
        "call_id": row["call_id"],
        "prompt": prompt,
        "response": "[]",
        "tools": None,
        "salt": f"{row['run_id']}",
    }
    row["body_hash"] = hash_body(body["salt"], body["prompt"], body["response"], body["tools"])
    return body


def make_fix(call_id: str) -> Row:
    row = dict.fromkeys(column.name for column in FIX.columns)
    given = {"correction_id": new_correction_id(), "call_id": call_id, "created_at": AT, "cost_usd": 0.5}
    return row | given | {"cost_source": "own", "reason": "a new price"}


def write(database: Database, rows: list[Row], *, bodies: bool = True, fixes: tuple[Row, ...] = ()) -> str:
    """Store the rows, with bodies and corrections, under one seal; gives the seal's id."""
    texts = [make_body(row) for row in rows] if bodies else []

    def job(db: Any) -> str:
        for table, added in ((CALL, rows), (BODY, texts), (FIX, list(fixes))):
            if added:
                db.connection().execute(insert(table), added)
        return seal(db, rows, fixes)

    return database.write(job)


def write_log(database: Database, *sizes: int) -> list[tuple[str, list[Row]]]:
    """One seal of so many calls each; gives their ids and rows."""
    log = []
    for size in sizes:
        rows = [make_call() for _ in range(size)]
        log.append((write(database, rows), rows))
    return log


def run(database: Database, *statements: Any) -> None:
    """What somebody with the database's password does."""
    database.write(lambda db: [db.connection().execute(one) for one in statements] and None)


def named(verdict: Verdict) -> tuple[bool, str | None, str | None]:
    return verdict.ok, verdict.seal_id, verdict.call_id


def set_call(row: Row, **changes: Any) -> Any:
    return update(CALL).where(CALL.c.call_id == row["call_id"]).values(**changes)


def read_back(database: Database, call_id: str) -> Row:
    with database.read() as db:
        return dict(db.connection().execute(select(CALL).where(CALL.c.call_id == call_id)).mappings().one())


ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=30)
NASTY = st.one_of(ANY_TEXT, st.sampled_from(["a\0b", "\ud800", "x\udfffy\0", "好" * 5_000, "\\u0000", "", '"\\']))
ANY_FLOAT = st.one_of(
    st.floats(), st.integers(-(2**53), 2**53), st.sampled_from([-0.0, 0.0, 1e300, 5e-324, math.nan, math.inf, 0.1])
)
ANY_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), NASTY),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NASTY, inner, max_size=3)),
    max_leaves=6,
)
ANY_TIME = st.datetimes(
    min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - a bound has none
    max_value=datetime(2200, 1, 1),  # noqa: DTZ001 - a bound has none
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=45))]),
)
# Tokens are added up in an index, whose sum must fit too.
SMALL = st.integers(-(2**30), 2**30)


class TestADigest:
    @given(
        texts=st.fixed_dictionaries(
            {
                # What a call's row holds as text was cleaned by whoever wrote it.
                name: st.none() | NASTY.map(clean_text)
                for name in ("node", "error_message", "model", "response_id", "checkpoint_ns")
            }
        ),
        numbers=st.fixed_dictionaries(
            {name: st.none() | ANY_FLOAT for name in ("temperature", "cost_usd", "duration_ms", "ttft_ms")}
        ),
        wholes=st.fixed_dictionaries({name: st.none() | SMALL for name in ("input_tokens", "step", "http_status")}),
        flags=st.fixed_dictionaries({name: st.booleans() for name in ("streamed", "attributed")}),
        times=st.fixed_dictionaries({"created_at": ANY_TIME, "ended_at": st.none() | ANY_TIME}),
        params=st.dictionaries(NASTY, ANY_JSON, max_size=4),
        tags=st.lists(NASTY, max_size=3),
    )
    @example(
        texts={"node": "a\u2028好"},
        numbers={"cost_usd": -0.0, "ttft_ms": 1e300, "duration_ms": 5, "temperature": math.nan},
        wholes={"max_tokens": 100.0},
        flags={},
        times={},
        params={"\ud800b": 1, "c": 2, "\ud801": 3, "": 4, "nul": "\0"},
        tags=["好\udc00"],
    )
    @limits(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    def test_is_the_same_before_a_row_is_stored_and_read_back(
        self, database: Database, params: Any, tags: Any, **groups: Row
    ) -> None:
        row = make_call(params=params, tags=tags)
        for group in groups.values():
            row |= group
        write(database, [row], bodies=False)
        with database.read() as db:
            query = text("SELECT * FROM llm_call WHERE call_id = :id")
            kept = db.connection().execute(query, {"id": row["call_id"]}).mappings().one()
        assert digest_of(read_back(database, row["call_id"])) == digest_of(row)
        assert CALLS.digest_values([kept[name] for name in CALLS.names]) == digest_of(row)

    def test_changes_with_every_column(self) -> None:
        row = make_call()
        digests = {digest_of(row | {name: other_value(column)}) for name, column in CALL.columns.items()}
        assert len(digests | {digest_of(row)}) == len(CALL.columns) + 1

    def test_tells_a_missing_text_from_an_empty_one_and_its_neighbour(self) -> None:
        rows = [{}, {"node": ""}, {"agent_key": ""}, {"node": "null"}, {"body_hash": ""}]
        row = make_call()
        assert len({digest_of(row | changes) for changes in rows}) == len(rows)

    def test_does_not_change_when_a_column_is_added_later(self) -> None:
        later = SaTable("llm_call", MetaData(), *[SaColumn(c.name, c.type) for c in CALL.columns])
        later.append_column(SaColumn("added_later", String))
        row = make_call(body_hash="f" * 64)
        form = RowForm(later)
        assert form.digest({**row, "added_later": None}) == digest_of(row)
        assert form.digest({**row, "added_later": ""}) != digest_of(row)

    def test_is_written_down_once_and_for_all(self) -> None:
        row = make_call(call_id="call_1795219200000_0123456789AB", run_id="r", user_id="u", input_tokens=7)
        row |= {"created_at": AT, "ended_at": AT, "cost_usd": -0.0, "body_hash": "ab"}
        nulls = {number: "null," * number for number in range(1, 11)}
        written = (
            '["call_1795219200000_0123456789AB","r",null,1793521800123456,1793521800123456,"u",'
            f'{nulls[9]}"chat",{nulls[2]}"模型",{nulls[6]}'
            '"{\\"seed\\":3,\\"stop\\":[\\"\\\\n\\"]}",1,"ok",'
            f'{nulls[4]}1,{nulls[2]}1234.5678,7,20,{nulls[4]}0.0,{nulls[3]}0,1,"[\\"a\\",\\"b\\"]","ab"]'
        )
        assert digest_of(row) == hashlib.sha256(written.encode()).digest()

    def test_of_a_correction_is_written_down_once_and_for_all(self) -> None:
        fix = make_fix("call_1795219200000_0123456789AB") | {"correction_id": "fix_1795219200000_0123456789AB"}
        written = (
            '["fix_1795219200000_0123456789AB","call_1795219200000_0123456789AB",1793521800123456,'
            'null,null,0.5,null,"own","a new price"]'
        )
        assert CORRECTIONS.digest(fix) == hashlib.sha256(written.encode()).digest()

    def test_ids_of_calls_and_corrections_fit_the_manifest(self) -> None:
        assert max(len(new_call_id()), len(new_correction_id())) == ID_BYTES


class TestAHashOfABody:
    def test_tells_apart_what_stands_where(self) -> None:
        bodies = [("s", "ab", "c", None), ("s", "a", "bc", None), ("s", "ab", None, "c"), ("s", "ab", "c", "")]
        bodies += [("sa", "b", "c", None), ("s", None, "2:ab1:c", None), ("s", "", "ab1:c", None)]
        assert len({hash_body(*body) for body in bodies}) == len(bodies)

    def test_is_that_of_the_text_a_database_keeps(self) -> None:
        assert hash_body("s", "a\0b\ud800", "好", None) == hash_body("s", "ab", "好", None)


class TestAnIntactLog:
    def test_holds_with_all_its_seals_calls_corrections_and_texts(self, database: Database) -> None:
        log = write_log(database, 250, 1, 120, 3, *[2] * 110)
        write(database, [make_call()], fixes=(make_fix(log[0][1][0]["call_id"]), make_fix(log[1][1][0]["call_id"])))
        write(database, [], fixes=(make_fix(log[0][1][5]["call_id"]),))
        heard: list[tuple[int, int]] = []
        verdict = verify(database, progress=lambda done, of: heard.append((done, of)))
        head = read_head(database)
        assert head is not None
        assert verdict == Verdict(head, seals=116, calls=595, corrections=3, bodies=595, bodies_absent=0)
        assert (head.seals, head.calls, head.corrections) == (116, 595, 3)
        assert heard[-1] == (598, 598)
        assert heard == sorted(heard)

    def test_holds_while_it_is_empty(self, database: Database) -> None:
        assert verify(database) == Verdict(None, 0, 0, 0, 0, 0)
        assert read_head(database) is None

    def test_holds_without_the_texts_that_were_deleted_emptied_or_never_kept(self, database: Database) -> None:
        [(_, rows)] = write_log(database, 5)
        write(database, [make_call()], bodies=False)
        run(
            database,
            delete(BODY).where(BODY.c.call_id == rows[0]["call_id"]),
            update(BODY).where(BODY.c.call_id == rows[1]["call_id"]).values(prompt=None, response=None, tools=None),
        )
        verdict = verify(database)
        assert (verdict.ok, verdict.calls, verdict.bodies, verdict.bodies_absent) == (True, 6, 3, 2)

    def test_calls_that_have_only_started_need_no_seal(self, database: Database) -> None:
        write_log(database, 3)
        run(database, insert(CALL).values(make_call(status="started", ended_at=None)))
        assert verify(database).ok

    def test_may_grow_while_it_is_verified(self, database: Database) -> None:
        write_log(database, 300, 300)
        head = read_head(database)
        verdict = verify(database, progress=lambda _done, _of: write_log(database, 2) and None)
        assert (verdict.ok, verdict.calls, verdict.head) == (True, 600, head)
        assert (verify(database, expected_head=head).ok, verify(database).calls > 600) == (True, True)

    def test_seals_of_one_transaction_follow_one_another(self, database: Database) -> None:
        rows = [make_call() for _ in range(6)]

        def job(db: Any) -> None:
            db.connection().execute(insert(CALL), rows)
            for at in (0, 2, 4):
                seal(db, rows[at : at + 2])

        database.write(job)
        assert (verify(database).ok, verify(database).seals) == (True, 3)

    def test_a_seal_of_nothing_is_refused(self, database: Database) -> None:
        with pytest.raises(BadInputError, match="at least one"):
            database.write(lambda db: seal(db, []))


def other_value(column: Any) -> Any:
    """A value of the column's kind that no row of these tests has."""
    if column.name == "status":
        return "cancelled"
    kinds = {datetime: AT - timedelta(microseconds=1), float: 9.5, int: 77, bool: None, dict: {"seed": 4}}
    return kinds.get(_python_type(column), "other") if _python_type(column) is not bool else not _default(column)


def _python_type(column: Any) -> type:
    if column.name in {"params", "tags"}:
        return dict
    return datetime if column.name.endswith("_at") else column.type.python_type


def _default(column: Any) -> bool:
    return bool(make_call()[column.name])


class TestAChangedRow:
    def test_is_named_whatever_column_was_changed(self, database: Database) -> None:
        log = write_log(database, 3, 4)
        seal_id, row = log[1][0], log[1][1][2]
        for name, column in CALL.columns.items():
            if name == "call_id":
                continue
            run(database, set_call(row, **{name: other_value(column)}))
            assert (name, named(verify(database))) == (name, (False, seal_id, row["call_id"]))
            run(database, set_call(row, **{name: row[name]}))
        assert verify(database).ok

    @pytest.mark.parametrize(
        "changes",
        [
            {"cost_usd": 0.00123 + 1e-9},
            {"duration_ms": math.nextafter(1_234.5678, 2_000)},
            {"created_at": AT},
            {"error_message": ""},
            {"params": {"seed": 3, "stop": ["\n", "\n"]}},
            {"status": "started"},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_is_named_however_little_was_changed(self, database: Database, changes: Row) -> None:
        [_, (seal_id, rows)] = write_log(database, 2, 3)
        run(database, set_call(rows[1], **changes))
        verdict = verify(database)
        assert named(verdict) == (False, seal_id, rows[1]["call_id"])
        assert verdict.problem == f"The row of call {rows[1]['call_id']} was changed after seal {seal_id} was made."

    @pytest.mark.parametrize(
        "change",
        [
            "cost_usd = x'302e3030313233'",
            "cost_usd = 'much'",
            "input_tokens = input_tokens + 0.5",
            "attributed = 2",
            "params = '{'",
            "created_at = 'yesterday'",
            "model = 'a' || char(0)",
            "node = x'ff'",
            "node = CAST(x'ff41' AS TEXT)",
        ],
    )
    def test_is_named_when_sqlite_keeps_what_no_such_column_should_hold(self, tmp_path: Path, change: str) -> None:
        database = Database(f"sqlite:///{tmp_path / 'lax.db'}")
        database.migrate()
        [(seal_id, rows)] = write_log(database, 3)
        run(database, text(f"UPDATE llm_call SET {change} WHERE call_id = '{rows[1]['call_id']}'"))
        assert named(verify(database)) == (False, seal_id, rows[1]["call_id"])
        database.close()

    def test_the_first_is_named_where_there_are_several(self, database: Database) -> None:
        log = write_log(database, 3, 3, 3)
        run(database, *[set_call(rows[1], node="other") for _, rows in log[1:]], delete(SEAL).where(_is(log[2])))
        assert named(verify(database)) == (False, log[1][0], log[1][1][1]["call_id"])

    def test_a_changed_correction_is_named(self, database: Database) -> None:
        [(_, rows)] = write_log(database, 2)
        fix = make_fix(rows[0]["call_id"])
        seal_id = write(database, [], fixes=(fix,))
        run(database, update(FIX).values(cost_usd=0.4))
        verdict = verify(database)
        assert named(verdict) == (False, seal_id, fix["correction_id"])
        assert "The row of correction fix_" in verdict.problem


def _is(sealed: tuple[str, list[Row]]) -> Any:
    return SEAL.c.seal_id == sealed[0]


class TestADeletedRow:
    def test_is_named(self, database: Database) -> None:
        [_, (seal_id, rows), _] = write_log(database, 3, 3, 3)
        run(database, delete(CALL).where(CALL.c.call_id == rows[0]["call_id"]))
        verdict = verify(database)
        assert named(verdict) == (False, seal_id, rows[0]["call_id"])
        assert "was deleted" in verdict.problem


class TestSwappedRows:
    @pytest.mark.parametrize("other_seal", [False, True])
    def test_are_named_with_whose_content_it_is(self, database: Database, other_seal: bool) -> None:
        log = write_log(database, 3, 3)
        first, second = log[0][1][1], log[1 if other_seal else 0][1][2]
        content = [{name: value for name, value in row.items() if name != "call_id"} for row in (first, second)]
        run(database, set_call(first, **content[1]), set_call(second, **content[0]))
        verdict = verify(database)
        assert named(verdict) == (False, log[0][0], first["call_id"])
        assert f"for call {second['call_id']}: the two were swapped" in verdict.problem


class TestAChangedText:
    @pytest.mark.parametrize("column", ["prompt", "response", "tools", "salt"])
    def test_is_named(self, database: Database, column: str) -> None:
        [_, (seal_id, rows)] = write_log(database, 2, 3)
        run(database, update(BODY).where(BODY.c.call_id == rows[1]["call_id"]).values({column: "other"}))
        verdict = verify(database)
        assert named(verdict) == (False, seal_id, rows[1]["call_id"])
        assert "The texts of call" in verdict.problem
        assert "were changed" in verdict.problem

    def test_one_that_is_not_utf_8_is_named(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'lax.db'}")
        database.migrate()
        [(seal_id, rows)] = write_log(database, 3)
        where = f"WHERE call_id = '{rows[1]['call_id']}'"
        run(database, text(f"UPDATE llm_call_body SET prompt = CAST(x'ff41' AS TEXT) {where}"))
        assert named(verify(database)) == (False, seal_id, rows[1]["call_id"])
        database.close()

    def test_one_that_was_added_later_is_named(self, database: Database) -> None:
        row = make_call()
        seal_id = write(database, [row], bodies=False)
        run(database, insert(BODY).values(make_body(dict(row))))
        verdict = verify(database)
        assert named(verdict) == (False, seal_id, row["call_id"])
        assert "were added" in verdict.problem


class TestARowThatNoSealHas:
    def test_an_ended_call_is_named(self, database: Database) -> None:
        write_log(database, 3)
        row = make_call()
        write_log(database, 3)
        run(database, insert(CALL).values(row))
        verdict = verify(database)
        assert named(verdict) == (False, None, row["call_id"])
        assert "no seal has it" in verdict.problem

    def test_a_correction_is_named(self, database: Database) -> None:
        [(_, rows)] = write_log(database, 3)
        fix = make_fix(rows[0]["call_id"])
        run(database, insert(FIX).values(fix))
        assert named(verify(database)) == (False, None, fix["correction_id"])

    def test_a_call_that_is_sealed_twice_is_noticed(self, database: Database) -> None:
        [(_, rows)] = write_log(database, 3)
        database.write(lambda db: seal(db, rows[:1]))
        assert "sealed twice" in verify(database).problem

    def test_one_is_named_also_when_another_that_is_sealed_twice_makes_the_numbers_fit(
        self, database: Database
    ) -> None:
        [(_, rows)] = write_log(database, 3)
        run(database, insert(CALL).values(make_call()))
        again = database.write(lambda db: seal(db, rows[:1]))
        assert named(verify(database)) == (False, again, rows[0]["call_id"])


class TestAChangedSeal:
    def test_a_removed_one_breaks_the_chain_at_the_next(self, database: Database) -> None:
        log = write_log(database, 2, 2, 2, 2)
        run(database, delete(SEAL).where(_is(log[1])))
        verdict = verify(database)
        assert named(verdict) == (False, log[2][0], None)
        assert f"between seal {log[0][0]} and seal {log[2][0]}" in verdict.problem

    def test_a_removed_first_one_breaks_it_at_the_beginning(self, database: Database) -> None:
        log = write_log(database, 2, 2)
        run(database, delete(SEAL).where(_is(log[0])))
        verdict = verify(database)
        assert named(verdict) == (False, log[1][0], None)
        assert "between the beginning and" in verdict.problem

    def test_a_manifest_made_anew_is_named_with_its_own_hash_or_without(self, database: Database) -> None:
        log = write_log(database, 2, 3, 2)
        row = log[1][1][1]
        run(database, set_call(row, node="forged"))
        entries = {one["call_id"]: digest_of(one) for one in [*log[1][1], row | {"node": "forged"}]}
        manifest = b"".join(key.encode() + entries[key] for key in sorted(entries))
        run(database, update(SEAL).where(_is(log[1])).values(manifest=manifest))
        verdict = verify(database)
        assert named(verdict) == (False, log[1][0], None)
        assert "its list of rows" in verdict.problem
        rows_hash = hashlib.sha256(manifest).hexdigest()
        run(database, update(SEAL).where(_is(log[1])).values(rows_hash=rows_hash))
        assert "its hash does not fit" in verify(database).problem
        run(database, update(SEAL).where(_is(log[1])).values(hash=self.hash_of(database, log[1][0])))
        verdict = verify(database)
        assert named(verdict) == (False, log[2][0], None)
        assert "The chain is broken" in verdict.problem

    @pytest.mark.parametrize("column", ["prev_hash", "rows_hash", "hash", "first_call_id", "last_call_id"])
    def test_whatever_of_it_is_changed_is_noticed(self, database: Database, column: str) -> None:
        log = write_log(database, 2, 2, 2)
        run(database, update(SEAL).where(_is(log[1])).values({column: "0" * 64}))
        assert named(verify(database)) == (False, log[1][0], None)

    def test_a_changed_time_is_noticed(self, database: Database) -> None:
        log = write_log(database, 2, 2)
        run(database, update(SEAL).where(_is(log[1])).values(sealed_at=AT))
        assert named(verify(database)) == (False, log[1][0], None)

    @pytest.mark.parametrize(
        "change", ["sealed_at = 'noon'", "manifest = 'rows'", "hash = x'00'", "hash = CAST(x'ff' AS TEXT)"]
    )
    def test_what_makes_no_sense_is_noticed(self, tmp_path: Path, change: str) -> None:
        database = Database(f"sqlite:///{tmp_path / 'lax.db'}")
        database.migrate()
        log = write_log(database, 2, 2)
        run(database, text(f"UPDATE log_seal SET {change} WHERE seal_id = '{log[1][0]}'"))
        assert named(verify(database)) == (False, log[1][0], None)
        database.close()

    @staticmethod
    def hash_of(database: Database, seal_id: str) -> str:
        names = ("prev_hash", "seal_id", "rows_hash", "first_call_id", "last_call_id", "sealed_at")
        with database.read() as db:
            query = select(*[SEAL.c[name] for name in names]).where(SEAL.c.seal_id == seal_id)
            return hash_seal(**db.connection().execute(query).mappings().one())


class TestAgainstAnExportedHead:
    def test_a_cut_off_tail_shows_with_the_head_and_only_with_it(self, database: Database) -> None:
        log = write_log(database, 3, 3, 3)
        head = read_head(database)
        gone = [row["call_id"] for row in log[2][1]]
        run(database, delete(SEAL).where(_is(log[2])), delete(CALL).where(CALL.c.call_id.in_(gone)))
        assert verify(database).ok
        verdict = verify(database, expected_head=head)
        assert named(verdict) == (False, log[2][0], None)
        assert "it had 3 seals, and 2 are left" in verdict.problem

    def test_a_log_of_which_nothing_is_left_shows(self, database: Database) -> None:
        [(seal_id, _)] = write_log(database, 3)
        head = read_head(database)
        run(database, delete(SEAL), delete(CALL))
        assert (verify(database).ok, named(verify(database, expected_head=head))) == (True, (False, seal_id, None))

    def test_a_chain_made_anew_shows(self, database: Database) -> None:
        write_log(database, 3, 3)
        head = read_head(database)
        assert head is not None
        run(database, delete(SEAL))
        with database.read() as db:
            kept = [dict(row) for row in db.connection().execute(select(CALL)).mappings()]
        for at in range(0, len(kept), 2):
            database.write(lambda db, at=at: seal(db, kept[at : at + 2]))
        assert verify(database).ok
        verdict = verify(database, expected_head=head)
        assert not verdict.ok
        assert f"The chain was made anew: seal {head.seal_id}" in verdict.problem

    def test_a_log_that_has_grown_since_holds(self, database: Database) -> None:
        heads = []
        for size in (2, 3, 4):
            write_log(database, size)
            heads.append(read_head(database))
        assert [verify(database, expected_head=head).ok for head in heads] == [True, True, True]

    def test_a_head_survives_its_file(self, database: Database) -> None:
        write_log(database, 2)
        head = read_head(database)
        assert head is not None
        assert Head.from_json(head.to_json()) == head

    @pytest.mark.parametrize(
        "damage",
        [
            {"seal_id": "call_1795219200000_0123456789AB"},
            {"seal_id": 3},
            {"hash": "F" * 64},
            {"hash": None},
            {"seals": -1},
            {"calls": "3"},
            {"corrections": True},
            {"sealed_at": "noon"},
            {"sealed_at": "2026-11-01T08:00:00"},
            {"more": 1},
        ],
    )
    def test_a_damaged_file_is_refused(self, damage: Row) -> None:
        said = json.loads(Head(new_seal_id(), "0" * 64, 1, 2, 3, AT).to_json())
        with pytest.raises(BadInputError, match="no exported head"):
            Head.from_json(json.dumps(said | damage))

    @pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"seal_id":', "null", "[" * 100_000])
    def test_what_is_no_such_file_at_all_is_refused(self, text: str) -> None:
        with pytest.raises(BadInputError, match="no exported head"):
            Head.from_json(text)


class TestTwoProcesses:
    def test_keep_one_chain(self, database: Database, database_url: str) -> None:
        run_at_once(seal_calls, (database_url,), (database_url,))
        verdict = verify(database)
        assert (verdict.problem, verdict.seals, verdict.calls) == ("", 50, 150)


class TestWhoMayVerify:
    def test_analysts_and_admins_may_and_members_not(self, database: Database) -> None:
        write_log(database, 2)
        people = {role: Viewer(new_user_id(), role, role) for role in ("member", "analyst", "admin")}
        with pytest.raises(ForbiddenError, match="analyst or admin"):
            verify_log(people["member"], database)
        assert [verify_log(people[role], database).calls for role in ("analyst", "admin")] == [2, 2]


class TestTheCommands:
    @pytest.fixture(autouse=True)
    def in_this_database(self, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("SKEIN_DATABASE_URL", database_url)

    @staticmethod
    def say(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        return result.exit_code, result.output

    def test_a_log_that_holds_ends_with_0_and_says_so(self, database: Database) -> None:
        write_log(database, 3, 3)
        code, output = self.say("verify-log")
        assert code == 0
        assert "The call log holds: 2 seals, 6 calls, 0 corrections, 0 acts of people" in output

    def test_one_that_does_not_ends_with_1_and_names_seal_and_row(self, database: Database) -> None:
        [(seal_id, rows)] = write_log(database, 3)
        run(database, set_call(rows[1], node="other"))
        code, output = self.say("verify-log")
        assert code == 1
        assert f"The row of call {rows[1]['call_id']} was changed after seal {seal_id} was made." in output

    def test_an_exported_head_shows_a_cut_off_tail(self, database: Database, tmp_path: Path) -> None:
        log = write_log(database, 3, 3)
        kept = tmp_path / "head.json"
        assert self.say("log-head", "--out", kept)[0] == 0
        assert Head.from_json(kept.read_text()) == read_head(database)
        assert self.say("verify-log", "--head", kept)[0] == 0
        gone = [row["call_id"] for row in log[1][1]]
        run(database, delete(SEAL).where(_is(log[1])), delete(CALL).where(CALL.c.call_id.in_(gone)))
        assert self.say("verify-log")[0] == 0
        code, output = self.say("verify-log", "--head", kept)
        assert (code, f"The log was cut off: seal {log[1][0]}" in output) == (1, True)

    def test_the_head_is_printed_as_json(self, database: Database) -> None:
        write_log(database, 3)
        code, output = self.say("log-head")
        assert (code, Head.from_json(output)) == (0, read_head(database))

    def test_what_cannot_be_done_ends_with_2_and_a_sentence(self, database: Database, tmp_path: Path) -> None:
        damaged = tmp_path / "damaged.json"
        damaged.write_text("{}")
        assert self.say("log-head") == (2, "The call log has no seal yet; export its head once a call has ended.\n")
        assert self.say("verify-log", "--head", damaged)[0] == 2
        assert self.say("verify-log", "--head", tmp_path / "none.json")[0] == 2
        write_log(database, 1)
        assert self.say("log-head", "--out", tmp_path / "no" / "folder.json")[0] == 2


def test_a_database_without_a_log_is_no_log_that_holds(
    monkeypatch: pytest.MonkeyPatch, empty_database_url: str, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SKEIN_DATABASE_URL", empty_database_url)
    code, output = TestTheCommands.say("verify-log")
    said = "There is no database" if "sqlite" in empty_database_url else "The call log cannot be read"
    assert (code, said in output) == (2, True)
    assert list(tmp_path.glob("*.db")) == []
