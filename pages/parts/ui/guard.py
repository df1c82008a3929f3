"""The guard: every page's first statement asks it who is there, and so does each step that a page offers.

Invariant: the database is asked for every run, callback, fragment and download, because Streamlit itself remembers
who opened a tab for as long as the tab lives. Whoever signed out elsewhere, or was disabled, sees one sentence and
nothing else; whoever has another role than the page was drawn for has it drawn anew before anything is done.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st
from streamlit.runtime.app_session import AppSession

from core.access.sign_in import find_viewer
from core.access.viewer import Viewer
from pages.parts.ui import seam, state
from pages.parts.ui.resources import get_skein

_NO_SIDEBAR = '<style>[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"] { display: none; }</style>'


# Set by the frame for the page that it runs: who was here a moment ago, in this very run.
_of_this_run: ContextVar[Viewer | None] = ContextVar("skein_viewer", default=None)
# Who was here when this run began, and when that was: what a callback does right then need not ask again.
_at_the_start: ContextVar[tuple[Viewer | None, float]] = ContextVar("skein_viewer_at_start", default=(None, 0.0))
_START_SECONDS = 0.5


def find_here() -> Viewer | None:
    """Who is here as of a moment ago; None when nobody is, or not any more. For callbacks and fragments."""
    viewer, asked_at = _at_the_start.get()
    if viewer is not None and time.monotonic() - asked_at < _START_SECONDS:
        return viewer
    viewer = _find(st.user.get("login_id"))
    _at_the_start.set((viewer, time.monotonic()))
    return viewer


def _find(login_id: object) -> Viewer | None:
    return find_viewer(get_skein().database, login_id) if isinstance(login_id, str) else None


def _look_before_step(texts: Sequence[str] | None) -> None:
    """Draw the page anew, and do nothing else, where it was drawn for somebody with other rights."""
    drawn_for = state.get(state.DRAWN_FOR)
    if drawn_for is None:
        return
    if texts is not None:
        _at_the_start.set((None, 0.0))
    viewer = find_here()
    if viewer == drawn_for:
        return
    if viewer is not None:
        state.put(state.RIGHTS_CHANGED, True)
        state.put(state.UNSENT, "\n\n".join(texts or ()))
    st.rerun()


def _may_step(session: AppSession) -> bool:
    """Whether the page of a tab may still do what it offers; from any thread."""
    if state.DRAWN_FOR not in session.session_state:
        return False
    viewer = _find(session._user_info.get("login_id"))
    return viewer is not None and viewer == session.session_state[state.DRAWN_FOR]


seam.look_before_each_step(_look_before_step, _may_step)


@contextmanager
def known(viewer: Viewer) -> Iterator[None]:
    """Let the page that runs inside take this for the answer, instead of asking twice in one run."""
    token = _of_this_run.set(viewer)
    try:
        yield
    finally:
        _of_this_run.reset(token)


def require_viewer() -> Viewer:
    """Who is here as of now; without anybody, the page says so and stops."""
    viewer = _of_this_run.get() or _find(st.user.get("login_id"))
    if viewer is None:
        _stop("You are signed out", "Sign in again to go on; nothing is lost.", sign_in=True)
    state.put(state.DRAWN_FOR, viewer)
    return viewer


def require_admin() -> Viewer:
    """The admin who is here; for anybody else the page says so and stops."""
    viewer = require_viewer()
    if not viewer.is_admin:
        _stop("Only for admins", "Your role does not open this page; an admin can change that.")
    return viewer


def _stop(title: str, text: str, *, sign_in: bool = False) -> NoReturn:
    st.title(title)
    st.write(text)
    if sign_in:
        # The tab still shows where they could go before; and a link of Streamlit's own opens a second tab.
        st.html(_NO_SIDEBAR)
        st.html(f'<a href="{_sign_in_path()}" target="_self">Sign in</a>')
    st.stop()


def _sign_in_path() -> str:
    """The way to sign in and come back to this page, with its query."""
    query = urlencode(st.query_params.to_dict(), doseq=True)
    here = urlsplit(st.context.url or "").path or "/"
    back = f"{here}?{query}" if query else here
    return "/sign-in" if back == "/" else f"/sign-in?next={quote(back)}"
