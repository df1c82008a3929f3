"""Databases of other programs: who may open which, and the files that admins bring along for it.

A file is named by its ``place``: `SETTING` for the one that the settings name, ``upload:<token>`` for one that was
brought along, else a path on this server. Invariant: what the settings name is read by whoever reads everything,
all else by admins only, an upload only by who brought it; and each opening is recorded, once per sign-in and file.
"""

import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import IO

from core.access.activity import record_look
from core.access.viewer import Viewer
from core.checkpoints.foreign.reading import Foreign, open_foreign
from core.database import Database
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.settings import Settings

SETTING = "setting"
_UPLOAD, _KEPT_SECONDS = "upload:", 24 * 3600
_TOKEN = re.compile(r"[0-9a-f]{16}")
_ENDS = ("-wal", "-shm")


@contextmanager
def open_other(viewer: Viewer, database: Database, settings: Settings, place: str) -> Iterator[Foreign]:
    """The file at this place, to be read; ForbiddenError for a role that may not, one sentence where it is none."""
    path = find_file(viewer, settings, place)
    with open_foreign(path) as foreign:
        # The path is words that somebody typed: the record has only what tells one file from another.
        target = f"file_{blake2b(str(foreign.path).encode(), digest_size=10).hexdigest()}"
        record_look(viewer, database, "database.open", target_id=target, owner_id=None, session_id=None)
        yield foreign


def find_file(viewer: Viewer, settings: Settings, place: str) -> Path:
    """Where the file is, if the viewer may open it."""
    if not viewer.reads_all or not (viewer.is_admin or place == SETTING):
        raise ForbiddenError("Only an admin can open another program's database; please ask one.")
    if place == SETTING:
        if settings.open is None:
            raise NotFoundError("No file is set to be opened here; an admin can name one with SKEIN_OPEN.")
        return settings.open
    if place.startswith(_UPLOAD):
        return _find_upload(viewer, settings, place.removeprefix(_UPLOAD))
    if not place.strip() or "\0" in place:
        raise BadInputError("Type the path of a SQLite file on this server.")
    return Path(place.strip())


def keep_upload(viewer: Viewer, settings: Settings, files: Mapping[str, IO[bytes]]) -> str:
    """Keep a file, with the log (``-wal``) that lies beside it if there is one, for a day; gives its place."""
    viewer.require_admin()
    _sweep(settings)
    names = {_clean(name): content for name, content in files.items() if not name.endswith("-shm")}
    main = [name for name in names if not name.endswith(_ENDS)]
    if len(main) != 1:
        raise BadInputError("Choose one SQLite file, and with it at most the log (-wal) of the same name.")
    unknown = [name for name in names if name not in (main[0], f"{main[0]}-wal")]
    if unknown:
        raise BadInputError(f"{unknown[0]} is not the log of {main[0]}: its name must be {main[0]}-wal.")
    token = secrets.token_hex(8)
    folder = _folder(settings, viewer) / token
    folder.mkdir(parents=True, mode=0o700)
    for name, content in names.items():
        with (folder / name).open("wb") as kept:
            shutil.copyfileobj(content, kept, 1_000_000)
    return _UPLOAD + token


def forget_upload(viewer: Viewer, settings: Settings, place: str) -> None:
    """Take away a file that the viewer brought along."""
    viewer.require_admin()
    token = place.removeprefix(_UPLOAD)
    if _TOKEN.fullmatch(token):
        shutil.rmtree(_folder(settings, viewer) / token, ignore_errors=True)


def _find_upload(viewer: Viewer, settings: Settings, token: str) -> Path:
    folder = _folder(settings, viewer) / token
    if not _TOKEN.fullmatch(token) or not folder.is_dir():
        raise NotFoundError("That file is no longer here: files are kept for a day; choose it again.")
    return next(path for path in folder.iterdir() if not path.name.endswith(_ENDS))


def _sweep(settings: Settings) -> None:
    """Take away what was brought along more than a day ago."""
    old = time.time() - _KEPT_SECONDS
    for folder in _kept(settings).glob("*/*"):
        if folder.stat().st_mtime < old:
            shutil.rmtree(folder, ignore_errors=True)


def _folder(settings: Settings, viewer: Viewer) -> Path:
    return _kept(settings) / str(viewer.user_id)


def _kept(settings: Settings) -> Path:
    return settings.data_dir / "opened"


def _clean(name: str) -> str:
    """A file's name without what could lead elsewhere."""
    own = re.sub(r"[^\w.-]", "_", Path(name.replace("\\", "/")).name)[-100:].lstrip(".")
    return own or "database"
