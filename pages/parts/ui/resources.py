"""What outlives a rerun: the one open Skein of this process. The only place where pages may cache."""

import streamlit as st

from core.access.viewer import Viewer
from core.history.approvals import count_waiting
from core.skein import Skein, current_skein

_FRESH_SECONDS = 3.0


def get_skein() -> Skein:
    """The open Skein: the same object for every tab, the door and the engine."""
    return current_skein()


def count_waiting_of(viewer: Viewer) -> int:
    """How many approvals wait for this person, as of a few seconds ago."""
    return _count_waiting(viewer.user_id, viewer)


def forget_waiting(viewer: Viewer) -> None:
    """Count anew what waits for this person."""
    _count_waiting.clear(viewer.user_id, viewer)


@st.cache_data(ttl=_FRESH_SECONDS, max_entries=1_000, show_spinner=False)
def _count_waiting(user_id: str, _viewer: Viewer) -> int:  # noqa: ARG001 - the key of the cache
    with get_skein().database.read() as db:
        return count_waiting(_viewer, db)
