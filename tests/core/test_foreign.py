"""Files that LangGraph programs outside Skein wrote, and files that were made to do harm."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import ormsgpack
import pytest
from sqlmodel import select

from core.access.viewer import Viewer
from core.checkpoints.foreign import opening
from core.checkpoints.foreign.branches import count_branches, to_stretches
from core.checkpoints.foreign.reading import Foreign, open_foreign
from core.checkpoints.foreign.threads import list_threads
from core.checkpoints.foreign.told import find_messages
from core.checkpoints.foreign.unpacking import Bounds
from core.checkpoints.foreign.values import load
from core.checkpoints.inspect import State
from core.errors import BadInputError, BusyError, ForbiddenError, NotFoundError, SkeinError
from core.records.others import SETTING, find_file, forget_upload, keep_upload, open_other
from core.tables import Activity
from tests.conftest import make_settings

PROGRAM = Path(__file__).with_name("foreign_program.py")
TABLES = """
CREATE TABLE checkpoints (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '',
    checkpoint_id TEXT NOT NULL, parent_checkpoint_id TEXT, type TEXT, checkpoint BLOB, metadata BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id));
CREATE TABLE writes (thread_id TEXT NOT NULL, checkpoint_ns TEXT NOT NULL DEFAULT '', checkpoint_id TEXT NOT NULL,
    task_id TEXT NOT NULL, idx INTEGER NOT NULL, channel TEXT NOT NULL, type TEXT, value BLOB,
    PRIMARY KEY (thread_id, checkpoint_ns, checkpoint_id, task_id, idx));
"""


def run_program(path: Path, *more: str) -> None:
    subprocess.run(
        [sys.executable, str(PROGRAM), str(path), *more], check=True, capture_output=True, cwd=path.parent
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("foreign") / "agent.sqlite"
    run_program(path)
    return path


@pytest.fixture(scope="module")
def left_open(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file whose program ended without closing it: all that it wrote waits in the log beside it."""
    path = tmp_path_factory.mktemp("crashed") / "crashed.sqlite"
    run_program(path, "crash")
    return path


@pytest.fixture
def crashed(left_open: Path, tmp_path: Path) -> Path:
    """The same, for the test alone."""
    shutil.copytree(left_open.parent, tmp_path / "crashed")
    return tmp_path / "crashed" / left_open.name


@pytest.fixture
def foreign(written: Path) -> Iterator[Foreign]:
    with open_foreign(written) as foreign:
        yield foreign


def newest(foreign: Foreign, thread_id: str, ns: str = "") -> State:
    [line] = foreign.list_checkpoints(thread_id, ns, limit=1)
    return foreign.read_state(thread_id, ns, line.checkpoint_id)


def folder_of(path: Path) -> dict[str, str]:
    return {one.name: sha256(one.read_bytes()).hexdigest() for one in path.parent.iterdir() if one.is_file()}


def read_all(path: Path) -> None:
    """Everything that the page could ask of a file."""
    with open_foreign(path) as foreign:
        page = list_threads(foreign)
        for line in page.lines:
            for one in foreign.list_namespaces(line.thread_id):
                foreign.list_stretches(line.thread_id, one.ns)
                for checkpoint in foreign.list_checkpoints(line.thread_id, one.ns):
                    foreign.read_state(line.thread_id, one.ns, checkpoint.checkpoint_id)


def make(path: Path, *rows: tuple[Any, ...], sql: str = TABLES) -> Path:
    """A file with these rows of ``checkpoints``: (thread, id, parent, type, checkpoint, metadata)."""
    with closing(sqlite3.connect(path)) as file:
        file.executescript(sql)
        file.executemany("INSERT INTO checkpoints VALUES (?, '', ?, ?, ?, ?, ?)", rows)
        file.commit()
    return path


def packed(**values: Any) -> bytes:
    return ormsgpack.packb({"v": 4, "id": "x", "channel_values": values, "channel_versions": {}})


class TestAFileOfAnotherProgram:
    def test_its_threads_are_listed_newest_first(self, foreign: Foreign):
        page = list_threads(foreign)
        assert [line.thread_id for line in page.lines] == ["pickled", "delta/日志", "chat-1"]
        assert (page.order, page.known, page.next) == ("newest", 3, None)

    def test_a_line_tells_of_checkpoints_branches_and_words(self, foreign: Foreign):
        line = list_threads(foreign, search="CHAT").lines[0]
        own = foreign.connection.execute(
            "SELECT count(*), count(DISTINCT checkpoint_ns) FROM checkpoints WHERE thread_id = 'chat-1'"
        ).fetchone()
        assert (line.checkpoints, line.subgraphs) == (own[0], own[1] - 1)
        assert (line.branches, line.messages, line.words) == (2, 2, "你好")
        assert line.first_at is not None
        assert line.last_at is not None
        assert line.first_at < line.last_at

    def test_its_classes_become_their_fields(self, foreign: Foreign):
        values = newest(foreign, "chat-1").values
        order = {"(class)": "__main__.Order", "number": 7, "items": ["tea", "茶"]}
        assert values["order"] == order | {"placed_at": "2026-01-02T00:00:00+00:00"}
        colour = {"(class)": "__main__.Colour", "value": "red"}
        assert values["customer"] == {"(class)": "__main__.Customer", "name": "Ada", "colour": colour}

    def test_its_messages_are_told(self, foreign: Foreign):
        said = find_messages(newest(foreign, "chat-1").values)
        assert [(one.role, one.text) for one in said] == [("user", "你好"), ("assistant", "You said: 你好")]

    def test_a_question_waits_and_the_next_node_is_known(self, foreign: Foreign):
        state = newest(foreign, "chat-1")
        assert state.next == ("ask",)
        [question] = state.questions
        assert (question.node, question.value, question.answered) == (
            "ask",
            {"question": "May I?", "order": 7},
            False,
        )

    def test_a_fork_shows_as_two_ways_from_one(self, foreign: Foreign):
        first, *ways = foreign.list_stretches("chat-1")
        assert [(way.parent, way.depth) for way in ways] == [(0, 1), (0, 1)]
        assert sum(len(one.checkpoint_ids) for one in (first, *ways)) == len(foreign.list_checkpoints("chat-1"))

    def test_a_subgraph_has_checkpoints_of_its_own(self, foreign: Foreign):
        subgraphs = [one for one in foreign.list_namespaces("chat-1") if one.ns]
        assert all(one.ns.startswith("sub:") for one in subgraphs)
        assert newest(foreign, "chat-1", subgraphs[0].ns).values["done"] == ["inner"]

    def test_what_was_sent_to_nodes_is_named(self, foreign: Foreign):
        states = [
            foreign.read_state("chat-1", "", line.checkpoint_id) for line in foreign.list_checkpoints("chat-1")
        ]
        assert ("work", "work") in {tuple(write.node for write in state.writes) for state in states} or any(
            "work" in state.next for state in states
        )

    def test_a_delta_channel_is_put_together(self, foreign: Foreign):
        state = newest(foreign, "delta/日志")
        [channel] = [one for one in state.channels if one.name == "messages"]
        assert channel.replayed
        assert [one["content"] for one in channel.value] == [
            "line 0",
            "logged 1",
            "line 1",
            "logged 3",
            "line 2",
            "logged 5",
        ]

    def test_a_pickled_value_is_a_marked_place_and_never_loaded(self, foreign: Foreign, written: Path):
        assert "pickled" in newest(foreign, "pickled").problem
        assert not (written.parent / "pickle-was-loaded").exists()

    def test_checkpoints_come_page_by_page(self, foreign: Foreign):
        whole = foreign.list_checkpoints("chat-1")
        first = foreign.list_checkpoints("chat-1", limit=4)
        rest = foreign.list_checkpoints("chat-1", before=first[-1].checkpoint_id)
        assert [*first, *rest] == whole

    def test_nothing_of_it_is_imported(self, written: Path):
        before = set(sys.modules)
        read_all(written)
        assert {name for name in set(sys.modules) - before if "foreign_program" in name} == set()

    def test_what_is_not_there_is_not_found(self, foreign: Foreign):
        with pytest.raises(NotFoundError, match="There is no thread"):
            foreign.list_namespaces("nobody")
        with pytest.raises(NotFoundError, match="There is no checkpoint"):
            foreign.read_state("chat-1", "", "x")


class TestNothingIsLeftBehind:
    def test_a_closed_file_is_read_without_a_trace(self, written: Path):
        before = folder_of(written)
        read_all(written)
        assert folder_of(written) == before
        assert list(before) == [written.name]

    @pytest.mark.parametrize("with_index", [True, False])
    def test_what_waits_in_the_log_is_read_and_the_log_stays(self, crashed: Path, *, with_index: bool):
        path = crashed
        if not with_index:
            path.with_name("crashed.sqlite-shm").unlink()
        before = folder_of(path)
        assert f"{path.name}-wal" in before
        with open_foreign(path) as foreign:
            assert len(list_threads(foreign).lines) == 3
        after = folder_of(path)
        # The index is memory that all who read the log share; it holds nothing of the database.
        assert {name: after[name] for name in after if not name.endswith("-shm")} == {
            name: before[name] for name in before if not name.endswith("-shm")
        }
        assert set(after) == set(before)

    def test_a_file_that_is_being_written_is_read_as_it_is(self, crashed: Path):
        path = crashed
        with closing(sqlite3.connect(path)) as writer:
            writer.execute("UPDATE checkpoints SET thread_id = 'renamed' WHERE thread_id = 'pickled'")
            writer.commit()
            with open_foreign(path) as foreign:
                writer.execute("DELETE FROM checkpoints")
                writer.commit()
                assert list_threads(foreign).lines[0].thread_id == "renamed"
            with open_foreign(path) as foreign:
                assert list_threads(foreign).lines == []

    def test_a_statement_that_writes_is_refused(self, foreign: Foreign):
        for sql in (
            "DELETE FROM checkpoints",
            "CREATE TABLE x(a)",
            "ATTACH ':memory:' AS y",
            "PRAGMA journal_mode",
        ):
            with pytest.raises(SkeinError):
                foreign.rows(sql)


class TestNoDatabaseOfLangGraph:
    def test_each_gets_its_sentence(self, tmp_path: Path):
        empty, text = tmp_path / "empty.db", tmp_path / "text.db"
        empty.touch()
        text.write_bytes(os.urandom(5000))
        other = make_other(tmp_path / "other.db", "CREATE TABLE customers(a); CREATE TABLE orders(a)")
        bare = make_other(tmp_path / "bare.db", "CREATE TABLE x(a); DROP TABLE x")
        near = make_other(tmp_path / "near.db", "CREATE TABLE checkpoints(a, b)")
        wide = make_other(tmp_path / "wide.db", f"PRAGMA encoding='UTF-16'; {TABLES}")
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        for path, sentence in (
            (tmp_path / "none.db", "There is no file"),
            (tmp_path, "is a folder"),
            (pipe, "not a regular file"),
            (empty, "is empty"),
            (text, "is not a SQLite database, or it is encrypted"),
            (other, "it has no table checkpoints, but 'customers', 'orders'"),
            (bare, "without any tables"),
            (near, "another program wrote it"),
            (wide, "keeps its text as UTF-16"),
            (Path("a\0b"), "cannot be opened"),
            (Path("x" * 5000), "cannot be opened"),
        ):
            with pytest.raises(SkeinError, match=sentence), open_foreign(path):
                pass

    def test_a_file_that_may_not_be_read_is_said_to_be_so(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def refuse(self: Path, *given: object, **more: object) -> None:
            raise PermissionError

        monkeypatch.setattr(opening.Path, "open", refuse)  # whoever runs the tests may be root
        path = make(tmp_path / "x.db")
        with pytest.raises(BadInputError, match="may not read"), open_foreign(path):
            pass

    def test_a_damaged_file_never_ends_in_anything_but_a_sentence(self, tmp_path: Path, written: Path):
        whole = written.read_bytes()
        seen = 0
        for place in range(100, len(whole), len(whole) // 60):
            path = tmp_path / "damaged.db"
            path.write_bytes(whole[:place] + b"\xff\x00\x13" * 20 + whole[place + 60 :])
            seen += ends_well(path)
            path.write_bytes(whole[:place])
            seen += ends_well(path)
        assert seen > 20  # some damage shows, and some is only in values


def make_other(path: Path, sql: str) -> Path:
    with closing(sqlite3.connect(path)) as file:
        file.executescript(sql)
    return path


def ends_well(path: Path) -> bool:
    """Whether a sentence came instead of the content; any other error fails the test."""
    try:
        read_all(path)
    except SkeinError as error:
        return str(error).endswith(".")
    return False


class TestFilesMadeToDoHarm:
    def test_what_computes_when_it_is_read_is_not_opened(self, tmp_path: Path):
        columns = "thread_id TEXT, checkpoint_ns TEXT, checkpoint_id TEXT, parent_checkpoint_id, type, checkpoint"
        loop = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i"
        for name, sql in {
            "view": f"CREATE VIEW checkpoints AS {loop} AS thread_id, 1 AS checkpoint_id, 2 AS checkpoint FROM n",
            "virtual": "CREATE VIRTUAL TABLE checkpoints USING fts5(thread_id, checkpoint_id, checkpoint)",
            "generated": f"CREATE TABLE checkpoints ({columns}, "
            "metadata BLOB GENERATED ALWAYS AS (zeroblob(900000000)) VIRTUAL)",
            "writes": f"CREATE TABLE checkpoints ({columns}, metadata); CREATE VIEW writes AS SELECT 1 AS a",
        }.items():
            path = make_other(tmp_path / f"{name}.db", sql)
            with pytest.raises(BadInputError, match="compute"), open_foreign(path):
                pass

    def test_triggers_and_indexes_on_expressions_do_nothing(self, tmp_path: Path):
        sql = (
            f"{TABLES} CREATE TABLE hit(a); CREATE INDEX i ON checkpoints(hex(checkpoint));"
            "CREATE TRIGGER t AFTER INSERT ON checkpoints BEGIN INSERT INTO hit VALUES (1); END;"
        )
        path = make(tmp_path / "x.db", ("t", "1", None, "msgpack", packed(a=1), b"{}"), sql=sql)
        before = folder_of(path)
        read_all(path)
        assert folder_of(path) == before

    def test_a_name_in_a_value_is_never_called(self, tmp_path: Path):
        mark = tmp_path / "called"
        call = ["os", "system", f"touch {mark}"]
        extensions = [ormsgpack.packb(ormsgpack.Ext(code, ormsgpack.packb(call))) for code in range(8)]
        constructor = json.dumps({"lc": 2, "type": "constructor", "id": call[:2], "args": call[2:]}).encode()
        langchain = json.dumps({"lc": 1, "type": "constructor", "id": ["subprocess", "run"], "kwargs": {}}).encode()
        pickled = b"cos\nsystem\n(S'touch " + str(mark).encode() + b"'\ntR."
        rows = [("t", str(n), None, "msgpack", value, b"{}") for n, value in enumerate(extensions)]
        rows += [("t", "a", None, "json", constructor, constructor), ("t", "b", None, "json", langchain, None)]
        rows += [("t", "c", None, "pickle", pickled, None), ("t", "d", None, None, b"\x80" + pickled, None)]
        before = set(sys.modules)
        read_all(make(tmp_path / "x.db", *rows))
        assert not mark.exists()
        assert "antigravity" not in set(sys.modules) - before

    @pytest.mark.parametrize(
        "value",
        [
            b"\xdd\xff\xff\xff\xff" + b"\x90" * 3_000_000,  # very many empty lists
            b"\x91" * 3_000_000,  # lists in lists
            b"\x81\xa1a" * 1_000_000,  # mappings in mappings
            b"\x81" * 1_000_000,  # mappings as keys
            b"\xdf\xff\xff\xff\xff",  # a size that nothing stands behind
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            b"\xc1",
            b"",
        ],
        ids=[
            "wide",
            "deep",
            "deep names",
            "deep keys",
            "claims",
            "claims text",
            "claims bytes",
            "unused",
            "nothing",
        ],
    )
    def test_a_bomb_is_read_no_further_than_its_bounds_and_is_marked(self, value: bytes):
        bounds = Bounds()
        shown = str(load("msgpack", value, bounds))
        # A mapping that is met at the bound still reads the value of its last name.
        assert bounds.values >= -bounds.depth
        assert "(cut)" in shown or "unreadable" in shown

    def test_json_that_is_too_deep_or_too_large_is_marked(self):
        for value in (b"[" * 200_000, b"1" * 5_000, b"[[]," * 1_500_000 + b"1", b"\xff", b"{"):
            assert "unreadable" in load("json", value, Bounds())

    def test_deep_objects_inside_objects_are_cut(self):
        value = b"\xc0"
        for _ in range(2_000):
            value = ormsgpack.packb(ormsgpack.Ext(0, b"\x93\xa1a\xa1b" + value))
        assert "(cut)" in str(load("msgpack", value, Bounds()))

    def test_a_huge_value_is_told_by_its_size(self, tmp_path: Path):
        path = make(tmp_path / "x.db", ("t", "1", None, "msgpack", b"", b"{}"))
        with closing(sqlite3.connect(path)) as file:
            file.execute("UPDATE checkpoints SET checkpoint = zeroblob(70000000)")
            file.execute("INSERT INTO writes VALUES ('t', '', '1', 'a', 0, 'c', 'bytes', zeroblob(70000000))")
            file.commit()
        with open_foreign(path) as foreign:
            assert list_threads(foreign).lines[0].size_bytes == 140_000_000
            state = foreign.read_state("t", "", "1")
        assert "too large (70,000,000 bytes)" in state.problem
        assert "too large (70,000,000 bytes)" in str(state.writes[0].value)
        assert state.writes[0].size_bytes == 70_000_000

    def test_wrong_types_in_any_column_are_marked_places(self, tmp_path: Path):
        odd: list[Any] = [
            None,
            10**12,
            -1,
            1.5,
            "text",
            b"\xff\xfe",
            b"",
            "\ud800".encode("utf-8", "surrogatepass"),
        ]
        sql = TABLES.replace("NOT NULL", "")
        path = tmp_path / "odd.db"
        with closing(sqlite3.connect(path)) as file:
            file.executescript(sql)
            good: list[Any] = ["t", "", "1", None, "msgpack", packed(a=1), b"{}"]
            for column in range(7):
                for number, value in enumerate(odd):
                    row = [*good[:2], f"{column}.{number}", *good[3:]]
                    row[column] = value
                    file.execute("INSERT OR IGNORE INTO checkpoints VALUES (?, ?, ?, ?, ?, ?, ?)", row)
            row = ["t", "", "1", "task", 0, "c", "msgpack", b"\x01"]
            for column in range(8):
                for number, value in enumerate(odd):
                    changed = [*row[:3], f"{column}.{number}", *row[4:]]
                    changed[column] = value
                    file.execute("INSERT OR IGNORE INTO writes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", changed)
            file.execute("INSERT INTO checkpoints VALUES (CAST(x'FF41' AS TEXT), '', '1', NULL, NULL, NULL, NULL)")
            file.commit()
        with open_foreign(path) as foreign:
            ids = [line.thread_id for line in list_threads(foreign).lines]
            for line in foreign.list_checkpoints("t"):
                foreign.read_state("t", "", line.checkpoint_id) if line.checkpoint_id in {
                    "4.1",
                    "5.1",
                    "6.5",
                } else None
            state = foreign.read_state("t", "", "4.4")
        assert "t" in ids
        assert "\ufffdA" in ids
        assert "does not know ('text'" in state.problem

    def test_parents_in_a_circle_end(self, tmp_path: Path):
        about = json.dumps({"counters_since_delta_snapshot": {"messages": [1, 1]}})
        rows = [("t", "a", "b", "msgpack", packed(), about), ("t", "b", "a", "msgpack", packed(), about)]
        with open_foreign(make(tmp_path / "x.db", *rows)) as foreign:
            [stretch] = foreign.list_stretches("t")
            assert (stretch.checkpoint_ids, stretch.problem) == (("a", "b"), "its parents go round in a circle")
            assert foreign.read_state("t", "", "a").values == {"messages": None}

    def test_a_statement_without_end_is_given_up(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(opening, "SECONDS_IN_ALL", 0.3)
        rows = [("t", str(number), None, "msgpack", packed(), b"{}") for number in range(400)]
        with (
            open_foreign(make(tmp_path / "x.db", *rows)) as foreign,
            pytest.raises(BusyError, match="took too long"),
        ):
            foreign.rows("SELECT count(*) FROM checkpoints a, checkpoints b, checkpoints c, checkpoints d")

    def test_secrets_and_encrypted_values_are_not_shown(self):
        secret = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(["pydantic.types", "SecretStr", "s3cret"])))
        assert "s3cret" not in str(load("msgpack", secret, Bounds()))
        assert "encrypted ('msgpack+aes'" in str(load("msgpack+aes", b"123", Bounds()))


class TestOldFiles:
    def test_before_subgraphs_and_kinds(self, tmp_path: Path):
        path = tmp_path / "old.db"
        said = {
            "lc": 1,
            "type": "constructor",
            "id": ["langchain", "schema", "messages", "HumanMessage"],
            "kwargs": {"content": "hello", "type": "human"},
        }
        state = json.dumps({"v": 1, "ts": "2024-05-01T00:00:01+00:00", "channel_values": {"messages": [said]}})
        with closing(sqlite3.connect(path)) as file:
            file.execute(
                "CREATE TABLE checkpoints (thread_id TEXT NOT NULL, thread_ts TEXT NOT NULL, parent_ts TEXT, "
                "checkpoint BLOB, metadata BLOB, PRIMARY KEY (thread_id, thread_ts))"
            )
            file.execute(
                "INSERT INTO checkpoints VALUES ('t', '2024-05-01T00:00:01+00:00', NULL, ?, ?)",
                (state.encode(), b'{"source": "loop", "step": 3}'),
            )
            file.commit()
        with open_foreign(path) as foreign:
            assert foreign.about().is_old
            [line] = list_threads(foreign).lines
            assert (line.words, line.messages, str(line.last_at)) == ("hello", 1, "2024-05-01 00:00:01+00:00")
            assert newest(foreign, "t").checkpoint.step == 3

    def test_writes_without_a_path(self, tmp_path: Path):
        path = make(tmp_path / "x.db", ("t", "1", None, "json", b'{"channel_values": {"a": 1}}', b"{}"))
        with closing(sqlite3.connect(path)) as file:
            file.execute("INSERT INTO writes VALUES ('t', '', '1', 'task', 0, 'a', 'json', '2')")
            file.commit()
        with open_foreign(path) as foreign:
            state = newest(foreign, "t")
        assert (state.values, [write.value for write in state.writes]) == ({"a": 1}, [2])


class TestManyThreads:
    def test_pages_follow_each_other_in_both_orders(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        rows = [(f"t{n:03}", f"{n * 7 % 100:03}", None, "msgpack", packed(), b"{}") for n in range(100)]
        with open_foreign(make(tmp_path / "x.db", *rows)) as foreign:
            assert [line.thread_id for line in pages(foreign)] == [
                row[0] for row in sorted(rows, key=lambda row: row[1], reverse=True)
            ]
            monkeypatch.setattr("core.checkpoints.foreign.threads.MOST_SORTED", 50)
            assert [line.thread_id for line in pages(foreign)] == [row[0] for row in rows]


def pages(foreign: Foreign) -> list[Any]:
    lines, after = [], None
    while True:
        page = list_threads(foreign, after=after, limit=7)
        lines += page.lines
        if page.next is None:
            return lines
        after = page.next


class TestStretches:
    def test_a_tree_is_told_in_order(self):
        rows = [("1", None), ("2", "1"), ("3", "2"), ("4", "1"), ("5", "4"), ("6", "gone")]
        told = [(one.checkpoint_ids, one.parent, one.depth, one.problem) for one in to_stretches(rows)]
        assert told == [
            (("1",), None, 0, ""),
            (("2", "3"), 0, 1, ""),
            (("4", "5"), 0, 1, ""),
            (("6",), None, 0, "its parent is not in the file"),
        ]
        assert count_branches(rows) == 3

    @pytest.mark.timeout(30)
    def test_long_and_wide_ones_do_not_hang(self):
        line = [(f"{n:06}", f"{n - 1:06}" if n else None) for n in range(20_000)]
        star = [(f"{n:06}", "000000" if n else None) for n in range(20_000)]
        assert len(to_stretches(line)) == 1
        assert len(to_stretches(star)) == 20_000


class TestWhoMayOpen:
    ADMIN, ANALYST, MEMBER = (Viewer(f"user_{role}", role, role) for role in ("admin", "analyst", "member"))  # type: ignore[arg-type]

    def test_roles(self, tmp_path: Path, written: Path):
        settings = make_settings(tmp_path, open=written)
        assert find_file(self.ANALYST, settings, SETTING) == written
        assert find_file(self.ADMIN, settings, str(written)) == written
        for viewer, place in ((self.MEMBER, SETTING), (self.MEMBER, str(written)), (self.ANALYST, str(written))):
            with pytest.raises(ForbiddenError):
                find_file(viewer, settings, place)

    def test_an_empty_setting_is_none(self, tmp_path: Path):
        assert make_settings(tmp_path, open="").open is None
        with pytest.raises(NotFoundError, match="SKEIN_OPEN"):
            find_file(self.ADMIN, make_settings(tmp_path), SETTING)

    def test_an_upload_is_its_owners_alone_and_read_with_its_log(self, tmp_path: Path, crashed: Path):
        log = crashed.with_name(f"{crashed.name}-wal")
        settings = make_settings(tmp_path)
        files = {"..\\..//x.sqlite": BytesIO(crashed.read_bytes()), "x.sqlite-wal": BytesIO(log.read_bytes())}
        place = keep_upload(self.ADMIN, settings, files)
        with open_foreign(find_file(self.ADMIN, settings, place)) as foreign:
            assert len(list_threads(foreign).lines) == 3
        other = Viewer("user_other", "other", "admin")  # type: ignore[arg-type]
        with pytest.raises(NotFoundError):
            find_file(other, settings, place)
        forget_upload(self.ADMIN, settings, place)
        with pytest.raises(NotFoundError):
            find_file(self.ADMIN, settings, place)

    def test_an_upload_is_one_database(self, tmp_path: Path):
        settings = make_settings(tmp_path)
        with pytest.raises(ForbiddenError):
            keep_upload(self.ANALYST, settings, {"a.db": BytesIO(b"x")})
        for names in ((), ("a.db", "b.db"), ("a.db", "b.db-wal"), ("a.db-wal",)):
            with pytest.raises(BadInputError):
                keep_upload(self.ADMIN, settings, {name: BytesIO(b"x") for name in names})

    def test_uploads_go_after_a_day(self, tmp_path: Path):
        settings = make_settings(tmp_path)
        old = keep_upload(self.ADMIN, settings, {"a.db": BytesIO(b"x")})
        os.utime(find_file(self.ADMIN, settings, old).parent, (0, 0))
        kept = keep_upload(self.ADMIN, settings, {"b.db": BytesIO(b"x")})
        assert find_file(self.ADMIN, settings, kept).name == "b.db"
        with pytest.raises(NotFoundError):
            find_file(self.ADMIN, settings, old)

    def test_each_opening_is_recorded_once(self, opened: Any, person: Any, written: Path, tmp_path: Path):
        admin = person("ann", role="admin")
        copied = Path(shutil.copy(written, tmp_path / "copy.sqlite"))
        for path in (written, written, copied):
            with open_other(admin, opened.database, opened.settings, str(path)):
                pass
        with opened.database.read() as db:
            rows = db.exec(select(Activity).where(Activity.kind == "database.open")).all()
        assert [row.user_id for row in rows] == [admin.user_id] * 2
        assert all(str(written) not in str(row.model_dump()) for row in rows)
