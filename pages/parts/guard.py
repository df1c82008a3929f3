"""The guard: every page's first statement asks it who is there.

Invariant: the database is asked on every rerun, because Streamlit itself remembers who opened a tab for as
long as the tab lives. Whoever signed out elsewhere, or was disabled, sees one sentence and nothing else.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NoReturn
from urllib.parse import quote, urlencode, urlsplit

import streamlit as st

from core.access.sign_in import find_viewer
from core.access.viewer import Viewer
from pages.parts.resources import get_skein

_NO_SIDEBAR = '<style>[data-testid="stSidebar"], [data-testid="stExpandSidebarButton"] { display: none; }</style>'


# Set by the frame for the page that it runs: who was here a moment ago, in this very run.
_of_this_run: ContextVar[Viewer | None] = ContextVar("skein_viewer", default=None)


def find_here() -> Viewer | None:
    """Who is here as of now; None when nobody is, or not any more."""
    login_id = st.user.get("login_id")
    return find_viewer(get_skein().database, login_id) if isinstance(login_id, str) else None


@contextmanager
def known(viewer: Viewer) -> Iterator[None]:
    """Let the page that runs inside take this for the answer, instead of asking twice in one run."""
    token = _of_this_run.set(viewer)
    try:
        yield
    finally:
        _of_this_run.reset(token)


def require_viewer() -> Viewer:
    """Who is here; without anybody, the page says so and stops."""
    viewer = _of_this_run.get() or find_here()
    if viewer is None:
        _stop("You are signed out", "Sign in again to go on; nothing is lost.", sign_in=True)
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
