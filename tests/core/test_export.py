"""Sessions as a file to hand over: all that the viewer may read, and a change of anything in it is named."""

import base64
import hashlib
import io
import json
import shutil
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from sqlalchemy import delete, select, update
from typer.testing import CliRunner

from core import cli
from core.access.accounts import set_role
from core.access.viewer import Viewer
from core.calls.proof.heads import read_head
from core.database import table_of
from core.errors import BadInputError, BusyError, NotFoundError
from core.history.annotations import add_tag, set_note
from core.history.artifacts import write_version
from core.history.conversations import delete_conversation
from core.history.messages import NewMessage
from core.history.sessions import mark_deleted
from core.ids import SessionId, new_call_id, new_correction_id, new_session_id
from core.outside import know_secrets
from core.records.erasure import erase_user
from core.records.export import check_export as checker
from core.records.export import command, jobs
from core.records.export.jobs import Exports, Job
from core.records.export.rows import FORMS
from core.records.export.sessions import Summary, export_sessions, sha256_of_checker
from core.records.export.work_folder import work_folder
from core.runs import branching, decisions
from core.runs.decisions import Decision
from core.settings import Settings
from core.skein import Skein
from core.tables import Activity, CostCorrection, LlmCall, LlmCallBody, Session, Thread, utc_now
from tests.core.support import ROOT, OnSqlite, answered, ask, follow, graph_settings, wait_until

Person = Callable[..., Viewer]
HOSTILE = "</blockquote><script>alert(1)</script> # no heading\n\n# heading\n```\nopen"
SECRET = "sk-test-0123456789abcdef"


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return graph_settings(tmp_path, database_url)


@pytest.fixture
def alice(person: Person) -> Viewer:
    return person("alice")


@pytest.fixture
def boss(person: Person) -> Viewer:
    return person("boss", "analyst")


@pytest.fixture
def session_id(opened: Skein, alice: Viewer) -> SessionId:
    """What was really said and done: two branches, a failure, an approval, an artifact, a deleted conversation."""
    first = opened.engine.start(alice, NewMessage(HOSTILE, agent_id="showcase"))
    turn = answered(opened, alice, first.thread_id)
    second = answered(opened, alice, ask(opened, alice, "第二个问题", under=turn, agent="echo").thread_id)
    other = branching.edit(opened.engine, alice, second.message_id, "otherwise").thread_id
    answered(opened, alice, other)
    answered(opened, alice, ask(opened, alice, "fail now", under=turn, agent="showcase").thread_id)
    decided(opened, alice, first.session_id)
    gone = opened.engine.start(
        alice, NewMessage("a secret to forget", agent_id="echo", session_id=first.session_id)
    )
    answered(opened, alice, gone.thread_id)
    opened.database.write(lambda db: delete_conversation(alice, db, gone.conversation_id))
    opened.database.write(
        lambda db: write_version(
            alice,
            db,
            session_id=first.session_id,
            kind="result",
            name="report",
            content=b"# done",
            media_type="text/markdown",
            by_hand=True,
        )
    )
    opened.database.write(lambda db: add_tag(alice, db, first.session_id, "for-the-audit"))
    opened.database.write(lambda db: set_note(alice, db, turn.message_id, "only mine"))
    assert opened.call_log.flush()
    return first.session_id


def decided(skein: Skein, viewer: Viewer, session_id: SessionId) -> None:
    """Let an agent ask something, and answer it."""
    asks = skein.engine.start(viewer, NewMessage("anything", agent_id="question", session_id=session_id))
    follow(skein, viewer, asks.thread_id)
    with skein.database.read() as db:
        [row] = decisions_of(viewer, db, asks.thread_id)
    decisions.decide(
        skein.engine, viewer, row.approval_id, [Decision("answer", answer="yes")], arguments_hash=row.arguments_hash
    )
    answered(skein, viewer, asks.thread_id)


def decisions_of(viewer: Viewer, db: Any, thread_id: Any) -> Any:
    from core.history.approvals import list_of_thread

    return list_of_thread(viewer, db, thread_id)


def exported(skein: Skein, viewer: Viewer, ids: list[SessionId], out: Path, **more: Any) -> Summary:
    return export_sessions(viewer, skein.database, skein.settings.checkpoints_path, ids, out, **more)


def checked(path: Path, *more: str) -> tuple[int, str]:
    """What the checker says when it is alone: without packages, and without the export's own folder in its path."""
    script = Path(checker.__file__)
    run = subprocess.run(
        [sys.executable, "-I", "-S", str(script), str(path), *more], capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    return run.returncode, run.stdout


def verdict(path: Path, sha256: str | None = None) -> str:
    """What the checker says, in this process; "" when all of it holds."""
    try:
        checker.check(path, sha256)
    except checker.BrokenError as broken:
        return str(broken)
    return ""


def rows(path: Path, table: str) -> list[dict[str, Any]]:
    with zipfile.ZipFile(path) as file:
        return [json.loads(line) for line in file.read(f"tables/{table}.jsonl").splitlines()]


def read(path: Path, name: str) -> bytes:
    with zipfile.ZipFile(path) as file:
        return file.read(name)


class TestWhatIsInIt:
    def test_everything_of_a_session_and_the_checker_holds(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        code, said = checked(made.path, "--sha256", made.sha256)
        assert (code, said.splitlines()[-1]) == (
            0,
            f"The SHA-256 of manifest.json is {made.sha256}: the one that was told.",
        )
        counts = {name: made.rows[name] for name in ("session", "conversation", "message", "thread", "approval")}
        assert counts == {"session": 1, "conversation": 2, "message": 5, "thread": 5, "approval": 1}
        assert {row["status"] for row in rows(made.path, "thread")} == {"done", "failed"}
        assert made.rows["llm_call"] == len(rows(made.path, "llm_call")) > made.rows["llm_call_body"] > 0
        assert {row["kind"] for row in rows(made.path, "activity")} >= {"message.send", "message.edit"}
        assert [row["content"] for row in rows(made.path, "annotation")] == ["for-the-audit", "only mine"]
        assert {row["name"] for row in rows(made.path, "user")} == {"alice"}
        [version] = rows(made.path, "artifact_version")
        assert read(made.path, version["file"]) == b"# done"
        with zipfile.ZipFile(made.path) as file:
            assert not [name for name in file.namelist() if name.endswith(".py")]

    def test_what_was_deleted_is_not_in_it_nor_what_says_where_it_ran(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        with zipfile.ZipFile(made.path) as file:
            holding = [name for name in file.namelist() if b"a secret to forget" in file.read(name)]
        assert holding == []
        assert [
            key for key in rows(made.path, "thread")[0] if key in {"worker", "lease_epoch", "lease_until"}
        ] == []
        assert set(rows(made.path, "user")[0]) == {"user_id", "name"}

    def test_parquet_has_the_same_rows(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        for form in FORMS:
            kept = pq.read_table(io.BytesIO(read(made.path, f"tables/{form.name}.parquet"))).to_pylist()
            assert [_plainly(row, dict(form.columns)) for row in kept] == rows(made.path, form.name)

    def test_states_are_those_of_the_checkpoints(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        states = [json.loads(line) for line in read(made.path, "checkpoints.jsonl").splitlines()]
        assert len(states) == made.checkpoints
        for thread in rows(made.path, "thread"):
            if thread["status"] != "done":
                continue
            steps = opened.engine.read_states(alice, thread["thread_id"])
            own = [one for one in states if (one["thread_id"], one["checkpoint_ns"]) == (thread["thread_id"], "")]
            assert [one["checkpoint_id"] for one in own] == [step.checkpoint_id for step in steps]
            assert own[-1]["values"]["messages"] == steps[-1].values["messages"]
            assert (own[-1]["next"], own[-1]["problem"]) == ([], "")
        assert {one["checkpoint_ns"].split(":")[0] for one in states} == {"", "nested"}
        assert [one["interrupts"] for one in states if one["interrupts"]] != []

    def test_pages_show_every_text_and_none_of_it_as_markup(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        html = read(made.path, f"readable/{session_id}.html").decode()
        page = read(made.path, f"readable/{session_id}.md").decode()
        assert "<script" not in html
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
        assert "default-src 'none'" in html
        tokens = MarkdownIt("commonmark", {"html": True}).parse(page)
        headings = [
            tokens[place + 1].content
            for place, token in enumerate(tokens)
            if token.type == "heading_open" and token.level == 0
        ]
        assert [title for title in headings if title.startswith(("heading", "no heading"))] == []
        assert [title for title in headings if title in {"Artifacts", "Who did what"}] == [
            "Artifacts",
            "Who did what",
        ]
        assert "第二个问题" in page
        assert "第二个问题" in html
        assert "Approval" in page

    def test_secrets_of_ours_are_nowhere(self, opened: Skein, alice: Viewer, tmp_path: Path) -> None:
        added = opened.engine.start(alice, NewMessage(f"my key is {SECRET}", agent_id="echo"))
        answered(opened, alice, added.thread_id)
        assert opened.call_log.flush()
        opened.database.write(
            lambda db: db.connection().execute(
                update(table_of(Thread)).values(config={"headers": {"Authorization": "Bearer abcdef123456"}})
            )
        )
        forget = know_secrets([SECRET])
        try:
            made = exported(opened, alice, [added.session_id], tmp_path / "x.zip")
        finally:
            forget()
        with zipfile.ZipFile(made.path) as file:
            assert [name for name in file.namelist() if SECRET.encode() in file.read(name)] == []
        assert [row["config"] for row in rows(made.path, "thread")] == [{"headers": "***"}]
        assert verdict(made.path, made.sha256) == ""

    def test_what_is_on_record_says_who_took_it_and_proves_the_manifest(
        self, opened: Skein, alice: Viewer, boss: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, boss, [session_id], tmp_path / "x.zip")
        table = table_of(Activity).c
        query = select(table.user_id, table.session_id, table.detail).where(table.kind == "session.export")
        with opened.database.read() as db:
            told = [tuple(row) for row in db.connection().execute(query)]
        detail = {"sessions": 1, "bytes": made.bytes, "sha256": made.sha256}
        assert told == [(boss.user_id, session_id, detail)]
        again = exported(opened, alice, [session_id], tmp_path / "again.zip")
        assert [row["kind"] for row in rows(again.path, "activity")][-1] == "session.export"
        assert verdict(again.path) == ""

    def test_a_call_that_has_not_ended_is_told_to_have_no_seal(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        call_id = new_call_id()
        started = {"call_id": call_id, "run_id": "r", "session_id": session_id, "user_id": alice.user_id}
        opened.database.write(lambda db: db.add(LlmCall(**started)))
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        assert json.loads(read(made.path, "manifest.json"))["unsealed"]["llm_call"] == [call_id]
        assert verdict(made.path) == ""

    def test_several_sessions_are_in_one_file(
        self, opened: Skein, alice: Viewer, boss: Viewer, session_id: SessionId, person: Person, tmp_path: Path
    ) -> None:
        bob = person("bob")
        added = opened.engine.start(bob, NewMessage("mine", agent_id="echo"))
        answered(opened, bob, added.thread_id)
        assert opened.call_log.flush()
        told: list[tuple[int, int]] = []
        made = exported(
            opened,
            boss,
            [session_id, added.session_id],
            tmp_path / "x.zip",
            progress=lambda done, of, _step: told.append((done, of)),
        )
        assert [row["session_id"] for row in rows(made.path, "session")] == [session_id, added.session_id]
        assert {row["name"] for row in rows(made.path, "user")} == {"alice", "bob"}
        assert told == [(0, 2), (1, 2), (2, 2), (2, 2)]
        assert (made.gone, verdict(made.path)) == ((), "")


def _plainly(row: dict[str, Any], kinds: dict[str, str]) -> dict[str, Any]:
    """A row of Parquet as it stands in the lines."""
    return {name: None if value is None else _told(value, kinds[name]) for name, value in row.items()}


def _told(value: Any, kind: str) -> Any:
    if kind == "time":
        return value.isoformat().replace("+00:00", "Z")
    return json.loads(value) if kind == "json" else value


class TestWhoMay:
    def test_another_member_finds_nothing_and_no_file_is_left(
        self, opened: Skein, session_id: SessionId, person: Person, tmp_path: Path
    ) -> None:
        (tmp_path / "out").mkdir()
        for ids in ([session_id], [new_session_id()]):
            with pytest.raises(NotFoundError):
                exported(opened, person(f"eve{ids[0][-4:]}"), ids, tmp_path / "out" / "x.zip")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_deleted_session_is_not_found(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        table = table_of(Session)
        opened.database.write(lambda db: db.connection().execute(update(table).values(status="deleted")))
        with pytest.raises(NotFoundError):
            exported(opened, alice, [session_id], tmp_path / "x.zip")

    def test_an_analyst_gets_shared_annotations_and_nobodys_notes(
        self, opened: Skein, boss: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, boss, [session_id], tmp_path / "x.zip")
        assert [row["kind"] for row in rows(made.path, "annotation")] == ["tag"]
        page = read(made.path, f"readable/{session_id}.md").decode()
        assert ("only mine" in page, "for-the-audit" in page) == (False, True)

    def test_when_it_is_cut_short_no_file_is_left(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        class EnoughError(Exception):
            pass

        def enough(_done: int, _of: int, step: str) -> None:
            if step == "Packing the file":
                raise EnoughError

        (tmp_path / "out").mkdir()
        with pytest.raises(EnoughError):
            exported(opened, alice, [session_id], tmp_path / "out" / "x.zip", progress=enough)
        assert list((tmp_path / "out").iterdir()) == []


# -- what the checker finds -----------------------------------------------------------------------------


def rewritten(
    path: Path, change: Callable[[str, bytes], bytes | None], *, more: dict[str, bytes] | None = None
) -> Path:
    """The same zip, written as Skein writes it, with each file as ``change`` gives it; None leaves it out."""
    target = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            content = change(info.filename, old.read(info.filename))
            if content is not None:
                _put(new, info, info.filename, content)
        for name, content in (more or {}).items():
            _put(new, old.infolist()[0], name, content)
    return target


def _put(target: zipfile.ZipFile, like: zipfile.ZipInfo, name: str, content: bytes) -> None:
    info = zipfile.ZipInfo(name, like.date_time)
    info.create_system, info.external_attr = like.create_system, like.external_attr
    info.compress_type = like.compress_type
    target.writestr(info, content)


def on(name: str, change: Callable[[bytes], bytes | None]) -> Callable[[str, bytes], bytes | None]:
    return lambda found, content: change(content) if found == name else content


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


def with_row(index: int, change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """A file of lines with one row changed, in place."""

    def run(content: bytes) -> bytes:
        lines = [json.loads(line) for line in content.splitlines()]
        change(lines[index])
        return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)

    return run


def without_row(index: int) -> Callable[[bytes], bytes]:
    def run(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        del lines[index]
        return b"".join(lines)

    return run


def with_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """The zip whose manifest was changed and whose checksums were made to fit again, as a forger would."""
    with zipfile.ZipFile(path) as file:
        contents = {name: file.read(name) for name in file.namelist()}
    manifest = json.loads(contents["manifest.json"])
    for one in manifest["files"]:
        content = contents.get(one["path"], b"")
        one |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change(manifest)
    text = (json.dumps(manifest, ensure_ascii=False, indent=1) + "\n").encode()
    source = path.rename(path.with_name("source.zip"))
    target = rewritten(source, on("manifest.json", lambda _: text))
    return target.rename(path)


def keep(_manifest: dict[str, Any]) -> None:
    """A forger who makes the checksums fit, and nothing else."""


class TestChanges(OnSqlite):
    """On one database: what a file says no longer knows where it came from."""

    @pytest.fixture
    def made(self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path) -> Summary:
        opened.database.write(lambda db: _correct(db, session_id))
        return exported(opened, alice, [session_id], tmp_path / "x.zip")

    def test_one_byte_in_every_file_is_found_and_named(self, made: Summary) -> None:
        with zipfile.ZipFile(made.path) as file:
            names = [name for name in file.namelist() if file.getinfo(name).file_size]
        assert len({Path(name).suffix for name in names}) == 6
        for name in names:
            found = verdict(rewritten(made.path, on(name, flipped)), made.sha256)
            assert found != "", name
            assert name in found or "_" in found, found
            if "/" in name and "tables/" not in name:
                assert name in found

    def test_one_byte_anywhere_in_the_zip_is_found_or_changes_no_file(self, made: Summary) -> None:
        whole = made.path.read_bytes()
        with zipfile.ZipFile(made.path) as file:
            before = {name: file.read(name) for name in file.namelist()}
        target = made.path.with_name("bytes.zip")
        missed = []
        for at in [*range(0, len(whole), 997), *range(len(whole) - 400, len(whole)), *range(120)]:
            target.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            if verdict(target, made.sha256) == "":
                missed.append(at)
        for at in missed:  # bits behind the end of a compressed stream, which unpack to the same
            target.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            with zipfile.ZipFile(target) as file:
                assert {name: file.read(name) for name in file.namelist()} == before
        assert len(missed) <= 2

    def test_a_file_added_or_removed_is_named(self, made: Summary) -> None:
        added = rewritten(made.path, lambda _, content: content, more={"tables/more.jsonl": b"{}\n"})
        assert verdict(added) == "tables/more.jsonl was added: manifest.json does not list it."
        fewer = rewritten(made.path, on("tables/message.jsonl", lambda _: None))
        assert verdict(fewer) == "tables/message.jsonl was removed: manifest.json lists it."
        assert verdict(rewritten(made.path, on("manifest.json", lambda _: None))).startswith(
            "There is no manifest.json"
        )

    def test_something_put_between_the_files_is_found(self, made: Summary) -> None:
        with zipfile.ZipFile(made.path, "a") as file:
            file.comment = b"more"
        assert "beside its files" in verdict(made.path)

    @pytest.mark.parametrize("claimed", [None, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE])
    def test_something_put_before_the_files_is_found_whatever_sizes_they_claim(
        self, made: Summary, claimed: int | None
    ) -> None:
        before = io.BytesIO()
        with zipfile.ZipFile(before, "w") as file:
            file.writestr("tables/llm_call.jsonl", "forged")
        whole = bytearray(before.getvalue().partition(b"PK\x01\x02")[0] + made.path.read_bytes())
        if claimed is not None:
            struct.pack_into("<L", whole, whole.index(b"PK\x01\x02") + 24, claimed)
        made.path.write_bytes(whole)
        with zipfile.ZipFile(made.path) as file:
            assert "manifest.json" in file.namelist()
        assert verdict(made.path, made.sha256).startswith("The zip was changed at ")

    def test_values_of_another_kind_are_a_change_also_when_they_come_to_the_same(self, made: Summary) -> None:
        row = rows(made.path, "llm_call")[0]
        others: list[dict[str, Any]] = [
            {"input_tokens": row["input_tokens"] + 0.99},
            {"input_tokens": float(row["input_tokens"])},
            {"input_tokens": str(row["input_tokens"])},
            {"attempt": True},
            {"streamed": 1.9 if row["streamed"] else 0.5},
            {"streamed": int(row["streamed"])},
            {"duration_ms": str(row["duration_ms"])},
        ]
        for other in others:
            change = with_row(0, lambda one, other=other: one.update(other))
            changed = with_manifest(rewritten(exact(made), on("tables/llm_call.jsonl", change)), keep)
            assert verdict(changed).startswith(f"The row of call {row['call_id']} was changed after"), other

    def test_columns_that_change_places_in_the_manifest_are_named(self, made: Summary) -> None:
        def exchange(row: dict[str, Any]) -> None:
            row["input_tokens"], row["output_tokens"] = row["output_tokens"], row["input_tokens"]

        def rename(manifest: dict[str, Any]) -> None:
            form = manifest["sealed"]["llm_call"]
            one, other = form.index(["input_tokens", "whole"]), form.index(["output_tokens", "whole"])
            form[one], form[other] = form[other], form[one]

        changed = rewritten(made.path, on("tables/llm_call.jsonl", with_row(0, exchange)))
        assert "names other columns" in verdict(with_manifest(changed, rename))

    @pytest.mark.parametrize(
        ("table", "column", "value"),
        [
            ("llm_call", "model", "another"),
            ("llm_call", "input_tokens", 1_000_000),
            ("llm_call", "cost_usd", 0.25),
            ("llm_call", "streamed", "flip"),
            ("llm_call", "tags", ["x"]),
            ("llm_call", "ended_at", "2026-01-01T00:00:00Z"),
            ("llm_call", "ended_at", None),
            ("llm_call", "body_hash", None),
            ("activity", "kind", "message.retry"),
            ("activity", "detail", {"more": 1}),
            ("activity", "user_id", "user_1795254892000_000000000000"),
            ("cost_correction", "cost_usd", 9.0),
        ],
    )
    def test_a_changed_row_is_named_also_when_the_checksums_were_made_to_fit(
        self, made: Summary, table: str, column: str, value: Any
    ) -> None:
        row = rows(made.path, table)[0]
        row_id = next(iter(row.values()))
        value = not row[column] if value == "flip" else value
        change = with_row(0, lambda one: one.update({column: value}))
        changed = rewritten(made.path, on(f"tables/{table}.jsonl", change))
        noun = {"llm_call": "call", "cost_correction": "correction", "activity": "activity"}[table]
        sentence = f"The row of {noun} {row_id} was changed after seal "
        assert verdict(changed).startswith(sentence)
        code, said = checked(with_manifest(changed, keep))
        assert (code, sentence in said) == (1, True)

    def test_a_row_removed_put_in_or_taken_twice_is_named(self, made: Summary) -> None:
        row = rows(made.path, "activity")[0]
        name = "tables/activity.jsonl"
        removed = with_manifest(rewritten(made.path, on(name, without_row(0))), keep)
        assert verdict(removed) == "tables/activity.jsonl has {} rows, not {}.".format(
            made.rows["activity"] - 1, made.rows["activity"]
        )
        fits = with_manifest(removed, lambda m: m["tables"]["activity"].update(rows=made.rows["activity"] - 1))
        assert verdict(fits).startswith(f"The row {row['activity_id']} was removed: seal ")
        twice = rewritten(made.path, on(name, lambda content: content + content.splitlines(keepends=True)[0]))
        assert "no seal has it so: it was put there" in verdict(with_manifest(twice, keep))
        other = row | {"activity_id": row["activity_id"][:-1] + ("0" if row["activity_id"][-1] != "0" else "1")}
        put = rewritten(made.path, on(name, lambda content: content + json.dumps(other).encode() + b"\n"))
        assert f"activity {other['activity_id']}" in verdict(with_manifest(put, keep))

    def test_changed_texts_of_a_call_are_named(self, made: Summary) -> None:
        call_id = rows(made.path, "llm_call_body")[0]["call_id"]
        change = with_row(0, lambda one: one.update(response="[]"))
        changed = with_manifest(rewritten(made.path, on("tables/llm_call_body.jsonl", change)), keep)
        assert verdict(changed) == f"The texts of call {call_id} were changed after its seal was made."

    def test_a_changed_file_of_an_artifact_is_named(self, made: Summary) -> None:
        [version] = rows(made.path, "artifact_version")
        changed = with_manifest(rewritten(made.path, on(version["file"], flipped)), keep)
        assert f"the file of artifact {version['artifact_id']}@1, is not what its version says" in verdict(changed)

    def test_a_changed_or_missing_seal_is_named(self, made: Summary) -> None:
        seals = [json.loads(line) for line in read(made.path, "seals.jsonl").splitlines()]
        assert len(seals) >= 3
        one = seals[1]["seal_id"]

        def after(change: Callable[[bytes], bytes]) -> str:
            return verdict(with_manifest(rewritten(exact(made), on("seals.jsonl", change)), keep))

        assert after(with_row(1, lambda seal: seal.update(rows_hash="0" * 64))).startswith(
            f"Seal {one} was changed"
        )
        assert after(with_row(1, lambda seal: seal.update(sealed_at="2026-01-01T00:00:00Z"))).startswith(
            f"Seal {one} "
        )
        assert after(with_row(1, _change_list)).startswith(f"Seal {one} was changed: its list of rows")
        assert after(without_row(1)).startswith(f"The chain is broken between seal {seals[0]['seal_id']} and seal ")
        assert after(without_row(-1)).startswith("seals.jsonl does not end with the head")
        assert after(with_row(1, lambda seal: seal.update(manifest=None))).startswith("The list of rows of seal")

    def test_a_manifest_that_was_made_anew_is_found_by_its_sha256(self, made: Summary) -> None:
        change = with_row(0, lambda one: one.update(content="never said"))
        forged = with_manifest(rewritten(made.path, on("tables/message.jsonl", change)), keep)
        assert verdict(forged) == ""
        code, said = checked(forged, "--sha256", made.sha256)
        assert (code, said.startswith("The export does not hold. manifest.json was changed: its SHA-256 is ")) == (
            1,
            True,
        )

    def test_nonsense_anywhere_is_one_sentence(self, made: Summary) -> None:
        for name in ("manifest.json", "seals.jsonl", "tables/llm_call.jsonl", "tables/artifact_version.jsonl"):
            for content in (b"", b"[]\n", b"{}\n", b"\xff\xfe\n", b"[" * 20_000, b'{"seal_id": []}\n', b"1e999\n"):
                broken = rewritten(made.path, on(name, lambda _, content=content: content))
                code, said = checked(broken)
                assert (code, said.count("\n")) in {(1, 1), (2, 1)}, (name, content, said)
        made.path.write_bytes(b"no zip")
        assert checked(made.path)[0] == 1
        assert checked(made.path.with_name("nothing.zip"))[0] == 2


def exact(made: Summary) -> Path:
    """A copy, so that the one before it was changed is there for the next change."""
    return Path(shutil.copy(made.path, made.path.with_name("copy.zip")))


def _change_list(seal: dict[str, Any]) -> None:
    seal["manifest"] = base64.b64encode(flipped(base64.b64decode(seal["manifest"] or "AAAA"))).decode()


def _correct(db: Any, session_id: SessionId) -> None:
    """Judge the cost of the session's first call anew, sealed as a re-pricing would."""
    from core.calls.proof.seals import seal

    table = table_of(LlmCall).c
    call_id = db.connection().execute(select(table.call_id).where(table.session_id == session_id)).scalars().first()
    row = CostCorrection(correction_id=new_correction_id(), call_id=call_id, cost_usd=0.5, reason="a test")
    db.add(row)
    seal(db, [], [row.model_dump()])


class TestHostileFiles(OnSqlite):
    """Whatever file an auditor is given, the checker says one plain sentence, and exits with a failure."""

    @pytest.fixture
    def made(self, opened: Skein, alice: Viewer, tmp_path: Path) -> Summary:
        begun = opened.engine.start(alice, NewMessage("short", agent_id="echo"))
        answered(opened, alice, begun.thread_id)
        assert opened.call_log.flush()
        return exported(opened, alice, [begun.session_id], tmp_path / "x.zip")

    def refuses(self, path: Path, capsys: pytest.CaptureFixture[str], *more: str) -> str:
        """That it is refused in one line of plain text; gives that."""
        code = checker.main([str(path), *more])
        out, err = capsys.readouterr()
        assert (code in (1, 2), out.count("\n"), err) == (True, 1, ""), (code, out, err)
        assert out[:-1].isprintable()
        return out

    def test_a_byte_changed_anywhere_is_found(self, made: Summary, capsys: pytest.CaptureFixture[str]) -> None:
        whole = made.path.read_bytes()
        contents = contents_of(made.path)
        assert contents is not None
        for at in range(0, len(whole), max(1, len(whole) // 400)):
            for change in (1, 0xFF):
                made.path.write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
                # Behind a compressed stream are bits that unpack to the same.
                if contents_of(made.path) != contents:
                    self.refuses(made.path, capsys, "--sha256", made.sha256)
                else:
                    checker.main([str(made.path)])
                    capsys.readouterr()

    def test_a_cut_anywhere_is_found(self, made: Summary, capsys: pytest.CaptureFixture[str]) -> None:
        whole = made.path.read_bytes()
        for at in [*range(0, len(whole), max(1, len(whole) // 200)), *range(len(whole) - 100, len(whole))]:
            made.path.write_bytes(whole[:at])
            self.refuses(made.path, capsys)
            made.path.write_bytes(whole[at:] if at else b"")
            self.refuses(made.path, capsys)

    def test_other_json_is_refused(self, made: Summary, capsys: pytest.CaptureFixture[str]) -> None:
        values = ["null", "[]", "{}", "true", "1e999", '"x"', "[" * 100_000, "9" * 5_000, '{"files": {"a": 1}}']
        for name in ("manifest.json", "seals.jsonl", "tables/activity.jsonl", "tables/artifact_version.jsonl"):
            for value in values:
                changed = rewritten(made.path, on(name, lambda _, value=value: f"{value}\n".encode()))
                self.refuses(changed, capsys)
        original = json.loads(read(made.path, "manifest.json"))
        for key in ("format", "version", "sealed", "files", "seals", "tables"):
            for value in (None, [], {}, 1, "x", [1], [{}], [None], {"head": []}):
                if original[key] != value:
                    text = json.dumps(original | {key: value}).encode()
                    changed = rewritten(made.path, on("manifest.json", lambda _, text=text: text))
                    self.refuses(changed, capsys)

    def test_a_name_is_shown_plainly_and_leads_nowhere_else(
        self, made: Summary, capsys: pytest.CaptureFixture[str]
    ) -> None:
        names = ["\x1b[2J\x1b[32mThe export holds", "a\nThe export holds: 9 files", "\u202egnp.exe", "x" * 5_000]
        names += ["/etc/passwd", "../outside", "a/../../outside", "C:/windows", "a\\b", "folder/"]
        for name in names:
            changed = rewritten(made.path, lambda _, content: content, more={name: b"x"})
            assert len(self.refuses(changed, capsys)) < 1_000

    def test_a_link_an_encrypted_file_and_one_that_is_there_twice_are_refused(
        self, made: Summary, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        link = tmp_path / "link.zip"
        shutil.copy(made.path, link)
        with zipfile.ZipFile(link, "a") as file:
            info = zipfile.ZipInfo("link")
            info.create_system, info.external_attr = 3, 0o120777 << 16
            file.writestr(info, "/etc/passwd")
        assert "is no plain file" in self.refuses(link, capsys)
        with zipfile.ZipFile(made.path) as file:
            first = file.infolist()[0]
        whole = bytearray(made.path.read_bytes())
        whole[first.header_offset + 6] |= 1
        whole[whole.index(b"PK\x01\x02") + 8] |= 1
        encrypted = tmp_path / "encrypted.zip"
        encrypted.write_bytes(whole)
        self.refuses(encrypted, capsys)
        twice = tmp_path / "twice.zip"
        shutil.copy(made.path, twice)
        with zipfile.ZipFile(twice, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("README.txt", "another")
        assert "is in the zip twice" in self.refuses(twice, capsys)

    def test_one_that_unpacks_to_very_much_is_not_unpacked(
        self, made: Summary, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        def bomb(info: zipfile.ZipInfo, target: zipfile.ZipFile) -> None:
            with target.open(info, "w") as file:
                for _ in range(100):
                    file.write(bytes(1_000_000))

        large = tmp_path / "large.zip"
        with zipfile.ZipFile(large, "w", zipfile.ZIP_DEFLATED) as file:
            info = zipfile.ZipInfo("manifest.json", (2026, 1, 1, 0, 0, 0))
            info.create_system, info.external_attr, info.compress_type = 3, 0o100644 << 16, zipfile.ZIP_DEFLATED
            bomb(info, file)
        assert "unpacks to 100,000,000" in self.refuses(large, capsys)
        assert "unpacks to" not in self.refuses(large, capsys, "--most", "100000000")
        # One that says less of itself than it unpacks to.
        whole = large.read_bytes()
        large.write_bytes(whole.replace((100_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little")))
        self.refuses(large, capsys)
        assert checker.main([str(made.path)]) == 0

    def test_what_is_no_file_is_refused(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        (tmp_path / "empty").write_bytes(b"")
        (tmp_path / "folder").mkdir()
        (tmp_path / "text").write_text("PK\x03\x04 no zip")
        for name in ("empty", "folder", "text", "missing"):
            self.refuses(tmp_path / name, capsys)


def contents_of(path: Path) -> dict[str, bytes] | None:
    """What a zip unpacks to; None where it cannot be unpacked."""
    try:
        with zipfile.ZipFile(path) as file:
            return {one: file.read(one) for one in file.namelist()}
    except Exception:
        return None


class TestTheChecker:
    def test_its_sha256_stands_in_the_docs(self) -> None:
        told, place = (ROOT / "docs" / "check_export.sha256").read_text().split()
        assert (ROOT / place, told) == (Path(checker.__file__), sha256_of_checker())

    def test_it_has_the_columns_of_the_sealed_tables(self) -> None:
        """A column more is another version: raise both VERSIONs, and let the checker know the new columns."""
        assert {form.name: form.columns for form in FORMS if form.is_sealed} == checker.COLUMNS

    def test_it_says_plainly_when_the_manifest_was_not_compared_and_refuses_what_is_no_sha256(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        code, said = checked(made.path)
        assert (code, "manifest.json itself was not compared with a number kept elsewhere" in said) == (0, True)
        for told in ("", made.sha256[:-1], made.sha256 + "0", "sha256:" + made.sha256, "g" * 64):
            code, said = checked(made.path, "--sha256", told)
            assert (code, "is no SHA-256" in said) == (2, True), told
        assert checked(made.path, "--sha256", f" {made.sha256.upper()}")[0] == 0

    def test_the_longer_form_of_large_files_is_compared_as_strictly(
        self,
        opened: Skein,
        alice: Viewer,
        session_id: SessionId,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Where "large" begins at 5 KB instead of 2 GB, and "many" at 10 files."""
        monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 5_000)
        monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 10)
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        whole = made.path.read_bytes()
        assert whole.count(b"PK\x06\x06") == 1
        assert verdict(made.path, made.sha256) == ""
        made_by = whole.index(b"PK\x06\x06") + 12  # no reader of zips looks at these
        needed, padding = whole.rindex(b"PK\x01\x02") + 6, whole.index(b"PK\x06\x06") + 14
        for at in (made_by, needed, padding):
            made.path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
            with zipfile.ZipFile(made.path) as file:
                assert file.testzip() is None
            assert verdict(made.path, made.sha256).startswith("The zip was changed"), at

    def test_it_also_checks_the_folder_that_it_was_unpacked_to(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        folder = tmp_path / "unpacked"
        with zipfile.ZipFile(made.path) as file:
            file.extractall(folder)
        assert checked(folder)[0] == 0
        (folder / "more.txt").write_text("hidden")
        assert verdict(folder) == "more.txt was added: manifest.json does not list it."
        (folder / "more.txt").unlink()
        (folder / "README.txt").write_bytes(flipped((folder / "README.txt").read_bytes()))
        assert verdict(folder) == "README.txt was changed: manifest.json has another SHA-256 for it."

    def test_it_compares_a_head_that_was_kept_elsewhere(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        head = read_head(opened.database)
        assert head is not None
        kept = tmp_path / "head.json"
        with zipfile.ZipFile(made.path) as file:
            seals = [json.loads(line) for line in file.read("seals.jsonl").splitlines()]
        told = json.loads(head.to_json()) | {"seal_id": seals[-1]["seal_id"], "hash": seals[-1]["hash"]}
        kept.write_text(json.dumps(told))
        assert checked(made.path, "--head", str(kept))[0] == 0
        kept.write_text(json.dumps(told | {"hash": "0" * 64}))
        code, said = checked(made.path, "--head", str(kept))
        assert (code, f"the exported head {told['seal_id']} is not on it" in said) == (1, True)
        kept.write_text(json.dumps(told | {"seal_id": "seal_9999999999999_000000000000"}))
        assert checked(made.path, "--head", str(kept))[0] == 2

    def test_a_row_that_was_changed_in_the_database_before_is_named(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        exported(opened, alice, [session_id], tmp_path / "before.zip")
        table = table_of(Activity)
        with opened.database.read() as db:
            query = (
                select(table.c.activity_id).where(table.c.session_id == session_id).order_by(table.c.activity_id)
            )
            activity_id = db.connection().execute(query).scalars().first()
        change = update(table).where(table.c.activity_id == activity_id).values(kind="message.retry")
        opened.database.write(lambda db: db.connection().execute(change))
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        code, said = checked(made.path, "--sha256", made.sha256)
        assert (code, f"The row of activity {activity_id} was changed after seal " in said) == (1, True)

    def test_texts_that_were_deleted_for_good_do_not_break_it(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        opened.database.write(lambda db: db.connection().execute(delete(table_of(LlmCallBody))))
        made = exported(opened, alice, [session_id], tmp_path / "x.zip")
        assert (made.rows["llm_call_body"], checked(made.path)[0]) == (0, 0)


class TestJobs:
    def test_it_is_made_in_the_background_and_waits_for_its_owner(
        self, opened: Skein, alice: Viewer, session_id: SessionId
    ) -> None:
        export_id = opened.exports.start(alice, [session_id])
        wait_until(lambda: opened.exports.status(alice, export_id).is_over)
        job = opened.exports.status(alice, export_id)
        assert (job.state, job.done, job.of, job.error) == ("ready", 1, 1, "")
        assert job.path is not None
        assert verdict(job.path, job.summary.sha256 if job.summary else None) == ""
        assert job.path.parent.stat().st_mode & 0o077 == 0
        assert [one.export_id for one in opened.exports.list_exports(alice)] == [export_id]

    def test_it_is_nobody_elses(
        self, opened: Skein, alice: Viewer, boss: Viewer, person: Person, session_id: SessionId
    ) -> None:
        export_id = opened.exports.start(boss, [session_id])
        wait_until(lambda: opened.exports.status(boss, export_id).is_over)
        demoted = Viewer(boss.user_id, boss.name, "member")
        for other in (alice, person("root", "admin"), demoted):
            assert opened.exports.list_exports(other) == []
            for tried in (opened.exports.status, opened.exports.forget):
                with pytest.raises(NotFoundError):
                    tried(other, export_id)
        with pytest.raises(NotFoundError):
            opened.exports.start(person("eve"), [session_id])
        with pytest.raises(BadInputError):
            opened.exports.start(alice, [])

    def test_its_file_goes_when_it_is_removed_a_day_old_or_the_process_ends(
        self, opened: Skein, alice: Viewer, session_id: SessionId
    ) -> None:
        paths = [ready(opened.exports, alice, session_id).path for _ in range(3)]
        first, second, third = (path for path in paths if path is not None)
        newest = opened.exports.list_exports(alice)
        opened.exports.forget(alice, newest[2].export_id)
        assert (first.exists(), second.exists(), third.exists()) == (False, True, True)
        opened.exports.tidy(now=utc_now() + timedelta(hours=23))
        assert (second.exists(), third.exists()) == (True, True)
        opened.exports.tidy(now=utc_now() + timedelta(hours=25))
        assert (second.exists(), third.exists(), opened.exports.list_exports(alice)) == (False, False, [])
        last = ready(opened.exports, alice, session_id).path
        opened.exports.close()
        assert last is not None
        assert not last.exists()

    def test_the_next_process_takes_away_what_a_killed_one_left_and_no_living_ones(
        self, opened: Skein, alice: Viewer, session_id: SessionId
    ) -> None:
        folder = opened.settings.data_dir / "exports" / "sessions"
        kept = ready(opened.exports, alice, session_id).path
        left = folder / "process-dead"
        left.mkdir()
        (left / "skein-export.zip").write_bytes(b"left behind")
        (folder / "process-dead.lock").touch()
        another = Exports(database=opened.database, checkpoints=opened.settings.checkpoints_path, folder=folder)
        another.open()
        try:
            assert kept is not None
            assert (left.exists(), kept.exists()) == (False, True)
        finally:
            another.close()

    def test_it_goes_when_a_session_of_it_is_deleted(
        self, opened: Skein, alice: Viewer, boss: Viewer, session_id: SessionId
    ) -> None:
        asked_for, listed, tidied, read_out = (ready(opened.exports, boss, session_id) for _ in range(4))
        assert opened.exports.read_file(boss, read_out.export_id) == read_out.path.read_bytes()
        opened.database.write(lambda db: mark_deleted(alice, db, session_id))
        with pytest.raises(NotFoundError):
            opened.exports.status(boss, asked_for.export_id)
        with pytest.raises(NotFoundError):
            opened.exports.read_file(boss, read_out.export_id)
        assert (asked_for.path.exists(), read_out.path.exists()) == (False, False)
        opened.exports.tidy()
        assert (tidied.path.exists(), listed.path.exists()) == (False, False)
        assert opened.exports.list_exports(boss) == []

    def test_it_goes_with_the_role_that_it_was_made_with(self, opened: Skein, boss: Viewer, person: Person) -> None:
        added = opened.engine.start(boss, NewMessage("mine", agent_id="echo"))
        answered(opened, boss, added.thread_id)
        made = ready(opened.exports, boss, added.session_id)
        set_role(person("root", "admin"), opened.database, user_id=boss.user_id, role="member")
        assert opened.exports.list_exports(boss) == []
        assert not made.path.exists()
        own = ready(opened.exports, Viewer(boss.user_id, boss.name), added.session_id)
        assert own.state == "ready"

    def test_it_goes_with_the_account(
        self, opened: Skein, alice: Viewer, boss: Viewer, person: Person, session_id: SessionId
    ) -> None:
        own, of_another = ready(opened.exports, alice, session_id), ready(opened.exports, boss, session_id)
        erase_user(person("root", "admin"), opened.database, opened.housekeeper.forget_thread, alice.user_id)
        opened.exports.tidy()
        assert (own.path.exists(), of_another.path.exists()) == (False, False)

    def test_a_person_keeps_so_many_and_the_oldest_goes(
        self,
        opened: Skein,
        alice: Viewer,
        boss: Viewer,
        session_id: SessionId,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(jobs, "MOST_KEPT", 2)
        others = ready(opened.exports, boss, session_id)
        first, second, third = (ready(opened.exports, alice, session_id) for _ in range(3))
        wait_until(lambda: not first.path.exists())
        kept = [one.export_id for one in opened.exports.list_exports(alice)]
        assert kept == [third.export_id, second.export_id]
        assert others.path.exists()

    def test_one_can_be_stopped_and_too_many_at_once_are_refused(
        self, opened: Skein, alice: Viewer, session_id: SessionId, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import threading

        begun, go_on = threading.Event(), threading.Event()

        def slowly(*args: Any, **named: Any) -> Summary:
            begun.set()
            assert go_on.wait(10)
            return export_sessions(*args, **named)

        monkeypatch.setattr(jobs, "export_sessions", slowly)
        ids = [opened.exports.start(alice, [session_id]) for _ in range(jobs.MOST_PER_USER)]
        assert begun.wait(10)
        with pytest.raises(BusyError):
            opened.exports.start(alice, [session_id])
        for one in ids:
            opened.exports.forget(alice, one)
        go_on.set()
        wait_until(lambda: opened.exports.list_exports(alice) == [])
        folder = opened.settings.data_dir / "exports" / "sessions"
        assert [path for path in folder.rglob("*") if path.suffix == ".zip"] == []

    def test_one_that_fails_says_so_and_the_next_is_made(
        self, opened: Skein, alice: Viewer, session_id: SessionId, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_args: Any, **_named: Any) -> Summary:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(jobs, "export_sessions", full)
            failed = ready(opened.exports, alice, session_id)
        sentence = "The export could not be written (No space left on device); please try again."
        assert (failed.state, failed.error, failed.path) == ("failed", sentence, None)
        assert ready(opened.exports, alice, session_id).state == "ready"


def ready(exports: Exports, viewer: Viewer, session_id: SessionId) -> Job:
    export_id = exports.start(viewer, [session_id])
    wait_until(lambda: exports.status(viewer, export_id).is_over)
    return exports.status(viewer, export_id)


class TestTheCommand:
    def test_it_exports_beside_a_running_skein_and_tells_the_sha256(
        self, opened: Skein, session_id: SessionId, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "load_settings", lambda: opened.settings)
        out = tmp_path / "handed-over.zip"
        code, said = run_command(session_id, "--out", str(out))
        assert hashlib.sha256(Path(checker.__file__).read_bytes()).hexdigest() in said
        sha256 = hashlib.sha256(read(out, "manifest.json")).hexdigest()
        assert (code, f"The SHA-256 of its manifest is {sha256};" in said) == (0, True)
        assert checked(out, "--sha256", sha256)[0] == 0
        holds = CliRunner().invoke(cli.app, ["check-export", str(out), "--sha256", sha256])
        assert (holds.exit_code, holds.output.startswith("The export holds: ")) == (0, True)
        out.write_bytes(flipped(out.read_bytes()))
        assert CliRunner().invoke(cli.app, ["check-export", str(out)]).exit_code == 1

    @pytest.mark.parametrize("where", ["user:alice status:done", "user:alice messages>0", "kingfisher"])
    def test_it_finds_what_was_said_just_before(
        self, opened: Skein, alice: Viewer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        monkeypatch.setattr(command, "load_settings", lambda: opened.settings)
        opened.background.close()
        answered(opened, alice, ask(opened, alice, "the kingfisher", agent="echo").thread_id)
        code, said = run_command("--where", where, "--out", str(tmp_path / "x.zip"))
        assert (code, said.startswith("1 sessions")) == (0, True), said

    def test_what_a_killed_one_left_goes_with_the_next(
        self, opened: Skein, alice: Viewer, session_id: SessionId, tmp_path: Path
    ) -> None:
        folder = tmp_path / "out"
        folder.mkdir()
        script = (
            "import os, sys; from pathlib import Path; from core.records.export.work_folder import work_folder\n"
            "with work_folder(Path(sys.argv[1])) as folder:\n"
            "    (folder / 'llm_call.jsonl').write_text('half'); os.kill(os.getpid(), 9)"
        )
        killed = subprocess.run([sys.executable, "-c", script, str(folder)], cwd=ROOT, check=False)
        assert (killed.returncode, len(list(folder.rglob("llm_call.jsonl")))) == (-9, 1)
        with work_folder(folder) as other:
            exported(opened, alice, [session_id], folder / "x.zip")
            assert other.is_dir()
        assert [path.name for path in folder.iterdir()] == ["x.zip"]

    def test_what_cannot_be_is_one_sentence(
        self, opened: Skein, session_id: SessionId, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "load_settings", lambda: opened.settings)
        tries = [
            (),
            (session_id, "--where", "user:alice"),
            ("session_1",),
            (new_session_id(),),
            ("--where", "nonsense:1"),
            (session_id, "--out", str(tmp_path)),
            (session_id, "--out", str(tmp_path / "missing" / "x.zip")),
        ]
        found = [run_command(*arguments) for arguments in tries]
        assert [(code, said.count("\n")) for code, said in found] == [(2, 1)] * len(tries)


def run_command(*arguments: str) -> tuple[int, str]:
    import typer

    app = typer.Typer()
    app.command()(command.export)
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.output
