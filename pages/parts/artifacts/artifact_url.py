"""Which artifact the chat's address names, and how a version and its file are called.

``?artifact=all`` is the list, ``?artifact=art_...`` the version that the branch has, ``&version=3`` that one.
"""

from pathlib import PurePath
from zoneinfo import ZoneInfo

import streamlit as st

from core.history.artifacts import VersionRow

ALL = "all"
_ENDINGS = {
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/csv": ".csv",
    "application/json": ".json",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "application/pdf": ".pdf",
}


def is_open() -> bool:
    """Whether the address opens the panel."""
    return bool(st.query_params.get("artifact"))


def show_artifact(artifact_id: str | None, version: int | None = None) -> None:
    """Let the address name an artifact and a version of it; None closes the panel."""
    for name, value in (("artifact", artifact_id), ("version", version)):
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = str(value)


def version_wanted() -> int | None:
    """The number of the version that the address names."""
    text = st.query_params.get("version", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def describe_version(row: VersionRow, tz: ZoneInfo) -> str:
    """A version in a line of text: its number, who made it, how and when."""
    by = f"by {row.user_name}" if row.by_hand else f"in a run of {row.user_name}"
    pending = " · the run is not over" if row.status == "pending" else ""
    return f"Version {row.version} · {by} · {row.created_at.astimezone(tz):%d %b, %H:%M}{pending}"


def file_name(row: VersionRow) -> str:
    """A name that every system takes for a file, with an ending that fits its type."""
    name = "".join("_" if char in '/\\:*?"<>|' else char for char in row.name).strip(". ") or "artifact"
    return name if PurePath(name).suffix else f"{name}{_ENDINGS.get(row.media_type, '')}"
