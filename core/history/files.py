"""Files that people attach to a message: artifacts of its session, named in its thread's config.

Invariant: a config names exact versions, which never change, so whoever asks again gives the model the same files;
what is read back is what this viewer may read, and nothing in its place when it is gone.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import BadInputError, NotFoundError
from core.history.artifact_refs import Ref, parse_ref
from core.history.artifact_rows import VersionRow, get_version, list_named, read_content
from core.history.artifacts import write_version
from core.history.turns import ATTACHMENTS
from core.ids import SessionId

MOST_FILES = 5


@dataclass(frozen=True)
class Attachment:
    """A file that was checked, with the bytes that are kept and that a model is given."""

    name: str
    media_type: str
    content: bytes


def store_files(viewer: Viewer, db: Db, session_id: SessionId, files: Sequence[Attachment]) -> list[Ref]:
    """Keep them as artifacts of the session, in the caller's transaction; gives their names in the same order."""
    if len(files) > MOST_FILES:
        raise BadInputError(f"At most {MOST_FILES} files go with a message; please leave some out.")
    return [
        write_version(
            viewer,
            db,
            session_id=session_id,
            kind="file",
            name=file.name,
            content=file.content,
            media_type=file.media_type,
            by_hand=True,
        )
        for file in files
    ]


def attached_refs(config: Mapping[str, Any]) -> list[Ref]:
    """The files that a thread's config names, but for what is no name."""
    named = config.get(ATTACHMENTS)
    return [ref for text in (named if isinstance(named, list) else ()) if (ref := _find_ref(text)) is not None]


def list_files(viewer: Viewer, db: Db, refs: Iterable[Ref]) -> dict[Ref, VersionRow]:
    """What is known of those of these files that are there for the viewer, without what they hold."""
    return {row.ref: row for row in list_named(viewer, db, refs)}


def read_files(viewer: Viewer, db: Db, refs: Collection[Ref]) -> list[Attachment | None]:
    """These files with what they hold; None in the place of one that is not there for this viewer."""
    return [_read(viewer, db, ref) for ref in refs]


def _read(viewer: Viewer, db: Db, ref: Ref) -> Attachment | None:
    try:
        row = get_version(viewer, db, ref)
        return Attachment(row.name, row.media_type, read_content(viewer, db, ref))
    except NotFoundError:
        return None


def _find_ref(text: Any) -> Ref | None:
    try:
        return parse_ref(text) if isinstance(text, str) else None
    except BadInputError:
        return None
