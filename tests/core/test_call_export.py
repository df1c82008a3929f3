"""The call log as a file: all that was asked for, whole or not at all, and on record."""

import csv
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing import export
from core.calls.listing.export import export_calls
from core.calls.text.search import index_calls
from core.database import Database, table_of
from core.errors import BadInputError
from core.tables import Activity, LlmCall, LlmCallBody
from tests.core.test_call_queries import ALL, SHANGHAI, START, a_body, a_call, a_person, put, put_correction

HOSTILE = ["=1+1", "+cmd|' /C calc'!A0", "-2", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", '=HYPERLINK("http://x")']
HARMLESS = ["a=1", "", "'=1", "你好，世界", 'say "hi", twice\nand more', "tab\there", "😀"]


@pytest.fixture
def alice(database: Database) -> Viewer:
    return a_person(database, "=爱丽丝")


@pytest.fixture
def boss(database: Database) -> Viewer:
    return a_person(database, "boss", "analyst")


Read = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def read(database: Database, tmp_path: Path) -> Read:
    """Exports, and reads the file again: ``read(viewer, "csv", wanted, with_bodies=True)``."""

    def run(viewer: Viewer, kind: str, wanted: CallFilter = ALL, **named: Any) -> list[dict[str, Any]]:
        path = tmp_path / f"calls.{kind}"
        count = export_calls(viewer, database, wanted, SHANGHAI, kind=kind, path=path, **named)  # type: ignore[arg-type]
        rows = rows_of(path)
        assert (count, sorted(tmp_path.glob("*.part"))) == (len(rows), [])
        return rows

    return run


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pylist()  # type: ignore[no-any-return]
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file)) if path.suffix == ".csv" else [json.loads(line) for line in file]


def told(database: Database) -> list[tuple[str, str, dict[str, Any]]]:
    table = table_of(Activity).c
    with database.read() as db:
        found = db.connection().execute(select(table.user_id, table.kind, table.detail).order_by(table.activity_id))
        return [tuple(row) for row in found]  # type: ignore[misc]


class TestWhatIsInAFile:
    def test_every_kind_has_all_columns_and_the_same_values(
        self, database: Database, alice: Viewer, boss: Viewer, read: Read
    ) -> None:
        call = a_call(user_id=alice.user_id, params={"stop": ["停", 1]}, tags=["x"], error_message="坏了", step=3)
        put(database, LlmCall, call)
        put_correction(database, call["call_id"], 1.0)
        put_correction(database, call["call_id"], 1.5)
        more = {"user_name": "=爱丽丝", "session_title": None, "corrected_cost_usd": 1.5}
        moment = {"created_at": "2026-10-24T21:00:00Z", "ended_at": "2026-10-24T21:00:00Z"}
        texts = {"params": '{"stop":["停",1]}', "tags": '["x"]'}
        whole = call | more
        assert read(boss, "jsonl") == [whole | moment]
        assert read(boss, "parquet") == [whole | texts]
        shown = {key: "" if value is None else str(value) for key, value in (whole | moment | texts).items()}
        flags = {"streamed": "true", "context_compacted": "false", "attributed": "true"}
        assert read(boss, "csv") == [shown | flags | {"user_name": "'=爱丽丝"}]

    def test_bodies_are_there_only_when_asked_for(self, database: Database, alice: Viewer, read: Read) -> None:
        calls = [a_call(user_id=alice.user_id), a_call(user_id=alice.user_id)]
        put(database, LlmCall, *calls)
        put(database, LlmCallBody, a_body(calls[1], response="not JSON"))
        without = [
            set(row) & {"prompt", "response", "tools"}
            for kind in ("csv", "jsonl", "parquet")
            for row in read(alice, kind)
        ]
        assert without == [set()] * 6
        with_them = {kind: read(alice, kind, with_bodies=True) for kind in ("csv", "jsonl", "parquet")}
        parts = {kind: [(row["prompt"], row["response"]) for row in rows] for kind, rows in with_them.items()}
        text = '[{"type":"human","content":"你好"}]'
        assert parts == {
            "csv": [(text, "not JSON"), ("", "")],
            "jsonl": [(json.loads(text), "not JSON"), (None, None)],
            "parquet": [(text, "not JSON"), (None, None)],
        }

    def test_only_what_is_wanted_comes_newest_first_across_batches(
        self, database: Database, boss: Viewer, read: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "BATCH", 7)
        calls = [
            a_call(created_at=START + timedelta(seconds=at // 3), model="qwen" if at % 4 else "gpt")
            for at in range(84)
        ]
        put(database, LlmCall, *calls)
        expected = [call["call_id"] for call in reversed(calls) if call["model"] == "qwen"]
        wanted = CallFilter(models=("qwen",))
        found = [[row["call_id"] for row in read(boss, kind, wanted)] for kind in ("csv", "jsonl", "parquet")]
        assert found == [expected] * 3

    def test_what_was_searched_for_is_exported(
        self, database: Database, boss: Viewer, read: Read, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "BATCH", 2)
        calls = [a_call(created_at=START + timedelta(seconds=at)) for at in range(9)]
        put(database, LlmCall, *calls)
        put(
            database,
            LlmCallBody,
            *[
                a_body(call, prompt=None, response=f'"{"苹果" if at % 2 else "梨"}"')
                for at, call in enumerate(calls)
            ],
        )
        while index_calls(database):
            pass
        found = [row["call_id"] for row in read(boss, "jsonl", CallFilter(text="苹果"))]
        assert found == [call["call_id"] for call in calls[1::2]][::-1]

    def test_no_call_is_a_file_with_columns_and_no_rows(self, boss: Viewer, read: Read, tmp_path: Path) -> None:
        assert [read(boss, kind) for kind in ("csv", "jsonl", "parquet")] == [[], [], []]
        names = [
            *[column.name for column in table_of(LlmCall).c],
            "user_name",
            "session_title",
            "corrected_cost_usd",
        ]
        header = (tmp_path / "calls.csv").read_text("utf-8-sig").strip().split(",")
        assert [header, pq.read_schema(tmp_path / "calls.parquet").names] == [names, names]

    def test_parquet_keeps_types_also_where_nothing_is_known(
        self, database: Database, boss: Viewer, read: Read, tmp_path: Path
    ) -> None:
        put(database, LlmCall, a_call(cost_usd=None, duration_ms=None, input_tokens=None, ended_at=None))
        read(boss, "parquet")
        schema = pq.read_schema(tmp_path / "calls.parquet")
        names = ("created_at", "ended_at", "cost_usd", "input_tokens", "streamed", "node", "corrected_cost_usd")
        kinds = [str(schema.field(name).type) for name in names]
        moment = "timestamp[us, tz=UTC]"
        assert kinds == [moment, moment, "double", "int64", "bool", "string", "double"]


class TestSpreadsheets:
    def test_no_text_is_run_as_a_formula_and_nothing_else_is_changed(
        self, database: Database, boss: Viewer, read: Read
    ) -> None:
        texts = HOSTILE + HARMLESS
        calls = [
            a_call(created_at=START - timedelta(seconds=at), error_message=text, cost_usd=-0.5)
            for at, text in enumerate(texts)
        ]
        put(database, LlmCall, *calls)
        rows = read(boss, "csv")
        assert [row["error_message"] for row in rows] == [f"'{text}" for text in HOSTILE] + HARMLESS
        assert {row["cost_usd"] for row in rows} == {"-0.5"}

    def test_no_cell_of_a_body_is_run_either(self, database: Database, boss: Viewer, read: Read) -> None:
        call = a_call(user_id=boss.user_id)
        put(database, LlmCall, call)
        put(database, LlmCallBody, a_body(call, prompt="=1", response="@1", tools="-1"))
        row = read(boss, "csv", with_bodies=True)[0]
        assert [row["prompt"], row["response"], row["tools"]] == ["'=1", "'@1", "'-1"]

    def test_a_spreadsheet_is_told_that_it_is_utf8(
        self, database: Database, boss: Viewer, read: Read, tmp_path: Path
    ) -> None:
        put(database, LlmCall, a_call(node="写作"))
        read(boss, "csv")
        raw = (tmp_path / "calls.csv").read_bytes()
        assert (raw[:3], raw.count(b"\r\n"), "写作".encode() in raw) == (b"\xef\xbb\xbf", 2, True)


class TestWhoMayExport:
    def test_a_member_gets_own_calls_whatever_they_ask_for(
        self, database: Database, alice: Viewer, boss: Viewer, read: Read
    ) -> None:
        own, nobodys, bosss = a_call(user_id=alice.user_id), a_call(attributed=False), a_call(user_id=boss.user_id)
        put(database, LlmCall, own, nobodys, bosss)
        asked = [ALL, CallFilter(users=(boss.user_id,)), CallFilter(attributed=False)]
        assert [[row["call_id"] for row in read(alice, "jsonl", wanted)] for wanted in asked] == [
            [own["call_id"]],
            [],
            [],
        ]
        assert len(read(boss, "jsonl")) == 3


class TestActivity:
    def test_an_export_is_one_row_with_its_filter_and_whose_bodies_were_in_it(
        self, database: Database, alice: Viewer, boss: Viewer, read: Read
    ) -> None:
        calls = [
            a_call(user_id=alice.user_id),
            a_call(user_id=boss.user_id),
            a_call(),
            a_call(user_id=alice.user_id),
        ]
        put(database, LlmCall, *calls)
        put(database, LlmCallBody, *[a_body(call) for call in calls[:3]])
        read(boss, "csv", CallFilter(models=("gpt",)))
        read(boss, "jsonl", with_bodies=True)
        read(alice, "parquet", with_bodies=True)
        names = ("kind", "filter", "calls", "bodies", "bodies_of_others")
        expected = [
            (boss, ("csv", {"models": ["gpt"]}, 4, 0, 0)),
            (boss, ("jsonl", {}, 4, 3, 2)),
            (alice, ("parquet", {}, 2, 1, 0)),
        ]
        assert told(database) == [
            (who.user_id, "call.export", dict(zip(names, detail, strict=True))) for who, detail in expected
        ]


class TestNotToTheEnd:
    @pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
    def test_a_cancelled_export_leaves_what_was_there_and_no_trace(
        self, database: Database, boss: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
    ) -> None:
        monkeypatch.setattr(export, "BATCH", 3)
        put(database, LlmCall, *[a_call() for _ in range(10)])
        old, counts = tmp_path / f"old.{kind}", []
        old.write_text("as it was")

        def progress(count: int) -> None:
            counts.append(count)
            if count > 5:
                raise KeyboardInterrupt

        for path in (old, tmp_path / f"new.{kind}"):
            with pytest.raises(KeyboardInterrupt):
                export_calls(boss, database, ALL, SHANGHAI, kind=kind, path=path, progress=progress)  # type: ignore[arg-type]
        left = [path.name for path in tmp_path.iterdir() if not path.name.startswith("skein.db")]
        assert (counts, left, old.read_text(), told(database)) == ([3, 6, 3, 6], [old.name], "as it was", [])

    def test_calls_that_begin_meanwhile_are_left_out_and_none_comes_twice(
        self, database: Database, boss: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(export, "BATCH", 4)
        calls = [a_call(created_at=START + timedelta(seconds=at)) for at in range(19)]
        put(database, LlmCall, *calls)
        later: datetime = START + timedelta(hours=1)
        path = tmp_path / "calls.jsonl"
        export_calls(
            boss,
            database,
            ALL,
            SHANGHAI,
            kind="jsonl",
            path=path,
            progress=lambda _: put(database, LlmCall, a_call(created_at=later)),
        )
        assert [row["call_id"] for row in rows_of(path)] == [call["call_id"] for call in reversed(calls)]

    def test_a_kind_or_a_folder_that_there_is_not_is_refused(
        self, database: Database, boss: Viewer, tmp_path: Path
    ) -> None:
        with pytest.raises(BadInputError, match="csv or jsonl or parquet"):
            export_calls(boss, database, ALL, SHANGHAI, kind="xlsx", path=tmp_path / "x")  # type: ignore[arg-type]
        with pytest.raises(BadInputError, match="no folder"):
            export_calls(boss, database, ALL, SHANGHAI, kind="csv", path=tmp_path / "nowhere" / "x.csv")
        assert told(database) == []
