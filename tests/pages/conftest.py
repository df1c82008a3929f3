"""Pages without a browser: a real Skein behind them, and a tab in which somebody is signed in."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.testing.v1 import AppTest, app_test

from core.access.viewer import Viewer
from core.ids import LoginId, new_login_id
from core.settings import Settings
from core.skein import Skein, open_skein, use_skein
from core.tables import Login, utc_now
from tests.conftest import copy_sqlite, make_person, make_settings

FRAME = Path(__file__).resolve().parents[2] / "pages" / "frame.py"
OpenTab = Callable[..., AppTest]
_WRITTEN = re.compile(r'<div class="skein-written"[^>]*>(.*)</div>', re.DOTALL)


@pytest.fixture
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Pages do not know which database there is; core's own tests ask both."""
    copy_sqlite(request, tmp_path / "data")
    return make_settings(tmp_path)


@pytest.fixture
def opened(settings: Settings) -> Iterator[Skein]:
    """The Skein of this process, which is where pages look for it."""
    skein = open_skein(settings)
    use_skein(skein)
    yield skein
    use_skein(None)
    skein.close()


@pytest.fixture(autouse=True)
def _no_caches_from_before() -> None:
    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture(autouse=True)
def _tabs_know_their_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a server's session does from one run to the next, so that a callback may switch to one of them."""
    known: dict[str, Any] = {}

    class Pages(PagesManager):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages = dict(known) or None

        def set_pages_and_resolve(self, pages: dict[str, Any], fallback_page_hash: str = "") -> Any:
            known.update(pages)
            return super().set_pages_and_resolve(pages, fallback_page_hash)

    monkeypatch.setattr(app_test, "PagesManager", Pages)


@pytest.fixture
def tab(opened: Skein) -> OpenTab:
    """Opens a tab: ``tab("ada", role="admin", conversation=...)``; without a name it is a guest's."""

    def open_tab(name: str = "", *, role: str = "member", **query: str) -> AppTest:
        at = AppTest.from_file(str(FRAME), default_timeout=20)
        at.user = {"login_id": _login(opened, name, role)} if name else {}
        for key, value in query.items():
            at.query_params[key] = value
        return at.run()

    return open_tab


def person_named(skein: Skein, name: str, role: str = "member") -> Viewer:
    from sqlmodel import select

    from core.tables import User

    with skein.database.read() as db:
        user = db.exec(select(User).where(User.name == name)).first()
    return make_person(skein, name, role) if user is None else Viewer(user.user_id, user.name, user.role)  # type: ignore[arg-type]


def _login(skein: Skein, name: str, role: str) -> LoginId:
    viewer = person_named(skein, name, role)
    login_id = new_login_id()
    login = Login(
        login_id=login_id,
        user_id=viewer.user_id,
        address="127.0.0.1",
        browser="tests",
        expires_at=utc_now() + timedelta(days=1),
    )
    skein.database.write(lambda db: db.add(login))
    return login_id


def say(at: AppTest, text: str) -> AppTest:
    return at.chat_input(key="chat.input").set_value(text).run()


def said(at: AppTest) -> list[tuple[str, str]]:
    """The transcript: who, and the first text in their bubble."""
    return [(message.name, _first_text(message)) for message in at.chat_message]


def _first_text(message: Any) -> str:
    """A question stands there as HTML, an answer as Markdown."""
    written = written_in(message)
    return written[0] if written else str(message.markdown[0].value)


def written_in(block: Any) -> list[str]:
    """What people wrote, as it is shown there."""
    found = [_WRITTEN.fullmatch(element.proto.body) for element in block.get("html")]
    return [unescape(match[1]) for match in found if match]


def texts(at: AppTest) -> str:
    """All sentences on the page, wherever they stand."""
    kinds = ("markdown", "caption", "info", "warning", "error", "success", "title", "header", "subheader", "text")
    shown = [str(element.value) for kind in kinds for element in getattr(at, kind)]
    return "\n".join([*shown, *written_in(at)])


def listed(at: AppTest) -> list[str]:
    """The conversations in the sidebar, from the top."""
    return [button.label for button in at.button if (button.key or "").startswith("chat.open.")]


def button_named(at: AppTest, label: str):
    return next(button for button in at.button if button.label == label)


def has_button(at: AppTest, label: str) -> bool:
    return any(button.label == label for button in at.button)


def opened_popover(at: AppTest, key: str) -> AppTest:
    """The tab with this popover or fold open: what is closed draws nothing."""
    at.session_state[key] = True
    return at.run()
