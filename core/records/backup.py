"""Backup of both SQLite files while Skein runs, and bringing one back.

A backup is a folder: the app's database, the checkpoints, what graphs remember, and a manifest with checksums. It
holds no secret key and no exports, so sign-ins end where it is brought back. The app's file is copied first: so the
checkpoints know of each thread that it knows, and what they know beyond that, the doctor takes away.

Invariant: a folder under its final name is whole; nothing that was there before is lost when one is brought back.
"""

import hashlib
import json
import os
import shutil
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.engine import make_url

from core.database import Database
from core.errors import BadInputError, ConflictError, NotFoundError
from core.history.activity import HOUSE, record
from core.records import doctor
from core.records.doctor import Finding
from core.records.doctor.house import open_house
from core.runs.worker import require_closed
from core.settings import Settings
from core.tables import utc_now

FORMAT = "skein.backup"
VERSION = 1
APP, CHECKPOINTS, MANIFEST = "skein.db", "checkpoints.db", "manifest.json"
# What graphs remember across threads; there once a graph has remembered something.
STORE = "store.db"
_BUSY_SECONDS = 5.0
_BLOCK = 1 << 20


@dataclass(frozen=True)
class File:
    """One file of a backup."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Backup:
    """A backup: where it is, when it was made, and its files."""

    folder: Path
    made_at: str
    files: tuple[File, ...]


@dataclass(frozen=True)
class Restored:
    """What was brought back; ``kept`` are the files it took the place of, ``findings`` what the doctor mended."""

    backup: Backup
    kept: tuple[Path, ...]
    findings: tuple[Finding, ...]


def back_up(settings: Settings, out: Path) -> Backup:
    """Copy all files, as they are while others write on, into a new folder; ConflictError when it is there."""
    app, checkpoints, store = _paths(settings)
    if not app.is_file():
        raise NotFoundError(f"There is no database at {app}; please check SKEIN_DATA_DIR and SKEIN_DATABASE_URL.")
    if out.exists():
        raise ConflictError(f"There is something at {out} already; please name a folder that is not there yet.")
    _tell(settings)
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    try:
        draft.mkdir(parents=True)
        files = [_copy(app, draft / APP), _copy(checkpoints, draft / CHECKPOINTS)]
        if store.is_file():
            files.append(_copy(store, draft / STORE))
        made = Backup(out, utc_now().isoformat(), tuple(files))
        _write_manifest(draft / MANIFEST, made)
        draft.rename(out)
    except OSError as error:
        raise BadInputError(
            f"The backup cannot be written to {out} ({error.strerror}); nothing was left."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return made


def check_backup(folder: Path) -> Backup:
    """Read a backup and see that it is whole; BadInputError says what of it is not."""
    made = _read_manifest(folder)
    for file in made.files:
        path = folder / file.name
        if not path.is_file() or path.stat().st_size != file.bytes or _digest(path) != file.sha256:
            raise BadInputError(f"The backup is not whole: {file.name} is missing or changed; please take another.")
        _require_whole(path)
    return made


def restore(settings: Settings, folder: Path, *, replace: bool = False) -> Restored:
    """Bring a backup back, and let the doctor mend what the two files disagree on.

    BusyError while a Skein is open on this data folder; ConflictError when there is a database and it is not to be
    replaced. One that is replaced stays beside the new one, under another name.
    """
    made, targets = check_backup(folder), _paths(settings)
    names = [file.name for file in made.files]
    require_closed(settings)
    if any(path.exists() for path in targets) and not replace:
        raise ConflictError(f"There is a database at {targets[0]}; add --replace to put the backup in its place.")
    drafts = [path.with_name(path.name + ".restoring") for path in targets[: len(names)]]
    for name, draft in zip(names, drafts, strict=True):
        draft.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, draft)
    kept = [old for path in targets for old in _put_aside(path)]
    for draft, path in zip(drafts, targets, strict=False):
        draft.rename(path)
    with open_house(settings) as house:
        findings = doctor.mend(house)
        house.database.write(lambda db: record(db, HOUSE, "backup.restore"))
    return Restored(made, tuple(kept), tuple(findings))


def _paths(settings: Settings) -> tuple[Path, Path, Path]:
    url = make_url(settings.app_database_url)
    if url.get_backend_name() != "sqlite":
        raise BadInputError("This database is on PostgreSQL; back it up with its own tools, see docs/backup.md.")
    return Path(url.database or ""), settings.checkpoints_path, settings.store_path


def _tell(settings: Settings) -> None:
    """Record the backup before it is made, so that it knows of itself."""
    database = Database(settings.app_database_url)
    try:
        database.migrate()
        database.write(lambda db: record(db, HOUSE, "backup.make"))
    finally:
        database.close()


def _copy(source: Path, target: Path) -> File:
    """Copy a database as it was at one moment; whoever writes to it meanwhile waits for nothing."""
    with closing(_open(source)) as reading, closing(sqlite3.connect(target)) as writing:
        try:
            # All in one step: in parts it would begin anew whenever somebody writes.
            reading.backup(writing, pages=-1)
            writing.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.DatabaseError as error:
            raise BadInputError(f"The database {source.name} cannot be copied ({error}).") from None
    _require_whole(target)
    return File(target.name, target.stat().st_size, _digest(target))


def _open(path: Path) -> sqlite3.Connection:
    try:
        # Not read-only: to read a write-ahead log that a killed process left takes the right to write beside it.
        return sqlite3.connect(f"file:{_quoted(path)}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    except sqlite3.OperationalError:
        raise NotFoundError(f"The file {path} is not there; start Skein once to make it.") from None


def _quoted(path: Path) -> str:
    return path.resolve().as_uri().removeprefix("file://")


def _require_whole(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        raise BadInputError(f"The database {path.name} is damaged ({said}); please take another backup.")


def _put_aside(path: Path) -> list[Path]:
    """Give a database another name, with the write-ahead log that belongs to it."""
    if not path.exists():
        return []
    aside = path.with_name(f"{path.name}.replaced-{utc_now():%Y%m%dT%H%M%S%f}")
    for ending in ("-wal", "-shm"):
        log = path.with_name(path.name + ending)
        if log.exists():
            log.rename(aside.with_name(aside.name + ending))
    path.rename(aside)
    return [aside]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _write_manifest(path: Path, made: Backup) -> None:
    about = {"format": FORMAT, "version": VERSION, "made_at": made.made_at, "files": [*map(asdict, made.files)]}
    path.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def _read_manifest(folder: Path) -> Backup:
    try:
        about: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = tuple(File(str(one["name"]), int(one["bytes"]), str(one["sha256"])) for one in about["files"])
        made = Backup(folder, str(about["made_at"]), files)
    except OSError as error:
        raise NotFoundError(f"There is no backup at {folder} ({error.strerror}).") from None
    except (ValueError, TypeError, KeyError):
        raise BadInputError(
            f"The manifest of the backup at {folder} cannot be read; please take another."
        ) from None
    if about.get("format") != FORMAT or about.get("version") != VERSION:
        raise BadInputError("This backup is of another version of Skein; please bring it back with that one.")
    if [file.name for file in files] not in ([APP, CHECKPOINTS], [APP, CHECKPOINTS, STORE]):
        raise BadInputError(f"A backup has the files {APP} and {CHECKPOINTS}; please take another.")
    return made
