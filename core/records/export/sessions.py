"""Export sessions: everything of them that the viewer may read, in one zip that anybody can check.

Sessions are written one after another, each from one consistent view of the database, so that neither memory nor a
transaction grows with their number; states of threads that are still running may be newer than their rows.
Invariant: the file is there only when it is whole, and ``activity`` says who took it, with the manifest's SHA-256.
"""

import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sqlalchemy import bindparam, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, in_parts, table_of
from core.errors import BadInputError, NotFoundError
from core.history.activity import record
from core.ids import SessionId
from core.outside import hide_known_in
from core.records.export.bundle import Bundle, Lines, TableFiles
from core.records.export.proof import Proof, write_seals
from core.records.export.readable import write_pages
from core.records.export.rows import (
    CONTENTS,
    FORMS,
    PEOPLE,
    PERSON_COLUMNS,
    THREAD_IDS,
    Form,
    Row,
    file_of,
    list_people,
    plain_time,
)
from core.records.export.states import read_states
from core.records.export.work_folder import work_folder
from core.tables import Session, utc_now

FORMAT, VERSION = "skein.export", 1
EXPORT = "session.export"
CHECKER = Path(__file__).parent / "check_export.py"
"""The program that checks an export; it is no part of one, since whoever forges one would forge it too."""
_HERE = Path(__file__).parent
_RECORDS_AT_ONCE = 100
_session = table_of(Session)

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Summary:
    """A finished export: where it is, what is in it, and the SHA-256 of its manifest, to be kept elsewhere.

    ``gone`` are sessions that were deleted while it was made.
    """

    path: Path
    sessions: int
    rows: dict[str, int]
    checkpoints: int
    files: int
    bytes: int
    sha256: str
    head: Row | None
    gone: tuple[SessionId, ...] = ()


def export_sessions(
    viewer: Viewer,
    database: Database,
    checkpoints: Path,
    session_ids: Sequence[SessionId],
    out: Path,
    *,
    progress: Progress | None = None,
) -> Summary:
    """Write these sessions into a zip; NotFoundError before that when one is not the viewer's to read.

    ``checkpoints`` is the file of checkpoints, where the database is SQLite (``Settings.checkpoints_path``).
    ``progress`` is told (sessions done, sessions in all, what is being done); when it raises, no file is left.
    """
    ids = list(dict.fromkeys(session_ids))
    if not ids:
        raise BadInputError("There is no session to export; please choose at least one.")
    if not out.parent.is_dir():
        raise BadInputError(f"There is no folder {out.parent} to write the export to; please choose another.")
    with database.read() as db:
        require_readable(viewer, db, ids)
    with work_folder(out.parent) as folder:
        work = _Work(viewer, database, checkpoints, folder, progress or (lambda _done, _of, _step: None))
        summary = work.run(ids, out)
        _record(viewer, database, summary, [one for one in ids if one not in summary.gone])
        (folder / "export.zip").replace(out)
    return summary


def sha256_of_checker() -> str:
    """The SHA-256 of the program that checks an export, by which an auditor knows it."""
    return hashlib.sha256(CHECKER.read_bytes()).hexdigest()


def require_readable(viewer: Viewer, db: Db, ids: Sequence[SessionId]) -> set[str]:
    """Whose these sessions are; NotFoundError when one is not there for this viewer."""
    owners: dict[str, str] = {}
    for some in in_parts(ids):
        owners.update(tuple(row) for row in db.connection().execute(_OWNERS, {"ids": some}))
    missing = [one for one in ids if one not in owners or not viewer.may_read(owners[one])]
    if missing:
        more = f", nor {len(missing) - 1:,} others" if len(missing) > 1 else ""
        raise NotFoundError(
            f"There is no session {missing[0]!r:.60} here{more}; it may have been deleted, or the link is wrong."
        )
    return set(owners.values())


def _record(viewer: Viewer, database: Database, summary: Summary, ids: Sequence[SessionId]) -> None:
    """One row for each session, so that its owner sees who took it."""
    detail = {"sessions": summary.sessions, "bytes": summary.bytes, "sha256": summary.sha256}

    def add(some: Sequence[SessionId], db: Db) -> None:
        for one in some:
            record(db, viewer, EXPORT, target_id=one, session_id=one, detail=detail)

    for at in range(0, len(ids), _RECORDS_AT_ONCE):
        database.write(partial(add, ids[at : at + _RECORDS_AT_ONCE]))


@dataclass
class _Work:
    """One export in the making."""

    viewer: Viewer
    database: Database
    path: Path
    folder: Path
    progress: Progress
    made_at: datetime = field(default_factory=utc_now)
    people: set[str] = field(default_factory=set)
    sealed_ids: set[str] = field(default_factory=set)
    started: list[str] = field(default_factory=list)
    gone: list[SessionId] = field(default_factory=list)

    def run(self, ids: Sequence[SessionId], out: Path) -> Summary:
        with ExitStack() as stack:
            path = self.folder / "export.zip"
            self.bundle = Bundle(path, self.folder, made_at=self.made_at)
            stack.callback(self.bundle.close)
            self.tables = {form.name: self.bundle.open_table(form.name, form.columns) for form in (*FORMS, PEOPLE)}
            self.checkpoints = self.bundle.open_lines("checkpoints.jsonl")
            seals = self.bundle.open_lines("seals.jsonl")
            for table in self.tables.values():
                stack.callback(table.close)
            for lines in (self.checkpoints, seals):
                stack.callback(lines.close)
            for done, session_id in enumerate(ids):
                self.progress(done, len(ids), "Writing the sessions")
                self._write_session(session_id)
            self.progress(len(ids), len(ids), "Collecting the seals")
            proof = write_seals(self.database, self.sealed_ids, lambda seal: seals.write(_to_line(seal)))
            self._write_people()
            self.progress(len(ids), len(ids), "Packing the file")
            self._pack(seals)
            sha256 = self.bundle.finish(self._manifest(len(ids), proof))
            rows = {name: table.lines.count for name, table in self.tables.items()}
            counts = (rows, self.checkpoints.count, len(self.bundle.files) + 1, path.stat().st_size)
            return Summary(out, len(ids) - len(self.gone), *counts, sha256, proof.head, tuple(self.gone))

    # -- a session --------------------------------------------------------------------------------------

    def _write_session(self, session_id: SessionId) -> None:
        with self.database.read() as db:
            try:
                require_readable(self.viewer, db, [session_id])
            except NotFoundError:
                self.gone.append(session_id)
                return
            for form in FORMS:
                self._write_rows(db, form, session_id)
            given = {"session": session_id}
            for artifact_id, number, media_type, content in db.connection().execute(CONTENTS, given):
                self.bundle.add(file_of(artifact_id, number, media_type), bytes(content))
            thread_ids = list(db.connection().execute(THREAD_IDS, given).scalars())
            for name, page in write_pages(self.viewer, db, session_id, self.made_at):
                self.bundle.add(name, hide_known_in(page.encode("utf-8", "ignore")))
        for line in read_states(self.database, self.path, thread_ids):
            self.checkpoints.write(hide_known_in(line))

    def _write_rows(self, db: Db, form: Form, session_id: SessionId) -> None:
        table = self.tables[form.name]
        for row in form.read(self.viewer, db, session_id):
            self.people.update(one for name in PERSON_COLUMNS if isinstance(one := row.get(name), str))
            if form.is_sealed:
                self._note(form, row)
                table.write(row, _to_line(row))
            else:
                self._write_clean(table, row, texts=form.texts)

    def _note(self, form: Form, row: Row) -> None:
        row_id = str(row[form.columns[0][0]])
        if row.get("status") == "started":  # a call gets its seal when it ends, over what it is then
            self.started.append(row_id)
        else:
            self.sealed_ids.add(row_id)

    def _write_clean(self, table: TableFiles, row: Row, *, texts: Collection[str] = ()) -> None:
        """Write a row without known secrets; where a seal has its ``texts`` as they were, it goes without them."""
        line = _to_line(row)
        cleaned = hide_known_in(line)
        if cleaned != line:
            row = json.loads(cleaned) | dict.fromkeys(texts)
            cleaned = _to_line(row)
        table.write(row, cleaned)

    # -- the rest ---------------------------------------------------------------------------------------

    def _write_people(self) -> None:
        with self.database.read() as db:
            for person in list_people(db, self.people):
                self._write_clean(self.tables[PEOPLE.name], person)

    def _pack(self, seals: Lines) -> None:
        for name, table in self.tables.items():
            table.close()
            self.bundle.add_file(f"tables/{name}.jsonl", table.lines.path)
            self.bundle.add_file(f"tables/{name}.parquet", table.parquet_path)
        for lines in (self.checkpoints, seals):
            lines.close()
            self.bundle.add_file(lines.path.name, lines.path)
        self.bundle.add("README.txt", (_HERE / "README.txt").read_bytes())

    def _manifest(self, sessions: int, proof: Proof) -> Row:
        return {
            "format": FORMAT,
            "version": VERSION,
            "made_at": plain_time(self.made_at),
            "made_by": {"user_id": self.viewer.user_id, "name": self.viewer.name, "role": self.viewer.role},
            "skein": _skein_version(),
            "sessions": sessions - len(self.gone),
            "gone": list(self.gone),
            "checkpoints": self.checkpoints.count,
            "tables": {name: {"rows": table.lines.count} for name, table in self.tables.items()},
            "sealed": {form.name: form.columns for form in FORMS if form.is_sealed},
            "unsealed": self._unsealed(proof),
            "seals": {"count": proof.count, "head": proof.head},
        }

    def _unsealed(self, proof: Proof) -> dict[str, list[str]]:
        """The rows that no seal has: calls that had not ended, and what was not on the chain."""
        without = [*self.started, *proof.without]
        prefixes = {"call": "llm_call", "fix": "cost_correction", "act": "activity"}
        return {
            name: sorted(one for one in without if one.partition("_")[0] == prefix)
            for prefix, name in prefixes.items()
        }


def _to_line(row: Any) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "ignore") + b"\n"


def _skein_version() -> str:
    try:
        return version("skein")
    except PackageNotFoundError:
        return "from source"


_OWNERS = select(_session.c.session_id, _session.c.user_id).where(
    _session.c.session_id.in_(bindparam("ids", expanding=True)), _session.c.status != "deleted"
)
