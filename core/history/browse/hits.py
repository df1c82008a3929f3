"""Where a text was found, as the rows of a list show it."""

from collections.abc import Collection, Mapping
from typing import Any

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.history import search
from core.history.browse.lines import Hit
from core.ids import SessionId


def find_hits(viewer: Viewer, db: Db, text: str, ids: Collection[SessionId]) -> dict[str, Hit]:
    """Where the text was found last in each of these sessions; nothing without a text."""
    if not text.strip() or not ids:
        return {}
    return show_hits(viewer, db, text, search.newest_hits(viewer, db, text, ids))


def show_hits(viewer: Viewer, db: Db, text: str, hits: Mapping[Any, search.Hit | None]) -> dict[str, Hit]:
    """The same places with their excerpts, by the names they came with."""
    found = {name: hit for name, hit in hits.items() if hit is not None}
    shown = search.excerpts(viewer, db, text, list(found.values())) if found else {}
    return {
        name: Hit(hit.message_id, hit.conversation_id, hit.part, tuple(shown.get((hit.message_id, hit.part), ())))
        for name, hit in found.items()
    }
