"""The script behind every address: who is here, where they can go, and the page they asked for."""

from functools import partial
from pathlib import Path

import streamlit as st

from core.access.sign_in import sign_out
from core.access.viewer import Viewer
from core.access.web import ICON
from pages.parts.ui import state
from pages.parts.ui.draw_throttle import drawing
from pages.parts.ui.guard import known, require_viewer
from pages.parts.ui.resources import count_waiting_of, get_skein
from pages.parts.ui.text import plain

_HERE = Path(__file__).resolve().parent
_MENU, _ACCOUNT, _SIGN_OUT = "frame.menu", "Your account", "Sign out"
# The menu stays at the sidebar's bottom, below what pages draw there. Streamlit's own Stop ends only the drawing,
# never a run, so it is not shown.
_STYLE = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-frame_menu) {
  order: 99; position: sticky; bottom: 0; z-index: 2; backdrop-filter: blur(12px);
}
.st-key-frame_menu button, .st-key-chat_list button { justify-content: flex-start; }
.st-key-chat_list button { min-height: 2.1rem; padding: 0.15rem 0.6rem; }
.st-key-chat_list button > div { justify-content: flex-start; overflow: hidden; }
[data-testid="stStatusWidget"] { display: none; }
[data-testid="stMainBlockContainer"] { padding-top: 3.25rem; max-width: 60rem; }
</style>"""


def main() -> None:
    viewer = require_viewer()
    with drawing():
        _draw(viewer)


def _draw(viewer: Viewer) -> None:
    st.set_page_config(page_title="Skein", page_icon=ICON, layout="wide")
    st.logo(ICON, size="large")
    account = _page("account", _ACCOUNT, ":material/person:")
    page = st.navigation([*_pages(viewer), account])
    _draw_menu(viewer, account)
    if state.take(state.RIGHTS_CHANGED):
        st.toast("Your role was changed, so what you did last was not done; here is the page as it is now for you.")
    with known(viewer):
        page.run()


def _pages(viewer: Viewer) -> list[st.Page]:
    pages = [
        _page("chat", "Chat", ":material/forum:", default=True),
        _page("browse", "Browse", ":material/manage_search:"),
        _page("branches", "Branches", ":material/account_tree:"),
        _page("approvals", _approvals_title(viewer), ":material/front_hand:"),
        _page("live", "Running now", ":material/play_circle:"),
        _page("calls", "Calls", ":material/analytics:"),
        _page("agents", "Agents", ":material/smart_toy:"),
    ]
    if viewer.is_admin or (viewer.reads_all and get_skein().settings.open):
        pages.append(_page("databases", "Other databases", ":material/database:"))
    if viewer.is_admin:
        pages.append(_page("admin", "Accounts", ":material/group:"))
        if (_HERE / "prices.py").exists():
            pages.append(_page("prices", "Prices", ":material/payments:"))
        pages.append(_page("retention", "Retention", ":material/auto_delete:"))
    return pages


def _approvals_title(viewer: Viewer) -> str:
    waiting = count_waiting_of(viewer)
    return f"Approvals ({waiting:,})" if waiting else "Approvals"


def _page(stem: str, title: str, icon: str, *, default: bool = False) -> st.Page:
    return st.Page(_HERE / f"{stem}.py", title=title, icon=icon, default=default)


def _draw_menu(viewer: Viewer, account: st.Page) -> None:
    with st.sidebar.container(key="frame_menu"):
        st.html(_STYLE)
        st.menu_button(
            f"{plain(viewer.name)} · {viewer.role}",
            [_ACCOUNT, _SIGN_OUT],
            key=_MENU,
            icon=":material/account_circle:",
            type="tertiary",
            width="stretch",
            on_click=partial(_do, viewer, account),
        )


def _do(viewer: Viewer, account: st.Page) -> None:
    chosen = state.get(_MENU)
    if chosen == _ACCOUNT:
        st.switch_page(account)
    elif chosen == _SIGN_OUT:
        sign_out(viewer, get_skein().database)


main()
