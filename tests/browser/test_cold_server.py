"""A server that nobody has used yet: every address, asked without a browser, by whoever may not see it.

Until somebody has drawn the first page, Streamlit would run a page's file for its bare name; AppTest cannot show
that, so these tests speak HTTP and Streamlit's websocket with a server that was started a moment ago. The member's
first request is the first of all that its server gets for a page.
"""

from collections.abc import Iterator
from typing import NamedTuple

import httpx
import pytest
from sqlmodel import select
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from core.access.accounts import create_first_admin
from core.database import Database
from core.history.messages import NewMessage
from core.skein import open_skein
from core.tables import LlmCall
from tests.browser.live_server import ADMIN, PASSWORD, ROOT, LiveServer
from tests.conftest import make_settings

pytestmark = pytest.mark.browser

PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
PARTS = sorted(f"{path.parent.name}/{path.stem}" for path in (ROOT / "pages" / "parts").glob("*/*.py"))
PATHS = ["/", *(f"/{stem}" for stem in PAGES), *(f"/parts/{stem}" for stem in PARTS), "/pages/admin.py", "/admin/"]
ADMINS_ONLY = ("Members see their own work", "First password", "Create account")
SECRET = "the quince is ripe"


class OfTheAdmin(NamedTuple):
    """What the admin has on the server."""

    conversation_id: str
    message_id: str
    thread_id: str
    call_id: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cold")


@pytest.fixture(scope="module")
def of_the_admin(folder) -> OfTheAdmin:
    """A conversation that was held before the server was started."""
    skein = open_skein(make_settings(folder))
    try:
        ann = create_first_admin(skein.database, name=ADMIN, password=PASSWORD)
        added = skein.engine.start(ann, NewMessage(SECRET))
        list(skein.engine.attach(ann, added.thread_id))
    finally:
        skein.close()  # the call is written by then
    database = Database(make_settings(folder).app_database_url)
    try:
        with database.read() as db:
            call = db.exec(select(LlmCall)).one()
    finally:
        database.close()
    return OfTheAdmin(added.conversation_id, added.message_id, added.thread_id, call.call_id)


@pytest.fixture(scope="module")
def cold(folder, of_the_admin) -> Iterator[LiveServer]:
    with LiveServer(folder, tokens_per_second=0) as server:
        yield server


def cookie_header(server: LiveServer, name: str, role: str = "member") -> dict[str, str]:
    cookie = server.cookie_of(name, role)
    return {"Cookie": f"{cookie['name']}={cookie['value']}"}


def ask_for(server: LiveServer, headers: dict[str, str], *, page: str = "", query: str = "") -> str:
    """All that the server says to a tab that asks for this page, up to the end of its script."""
    request = BackMsg()
    request.rerun_script.page_name = page
    request.rerun_script.query_string = query
    said: list[str] = []
    with connect(
        f"ws://localhost:{server.port}/_stcore/stream",
        additional_headers=headers,
        subprotocols=["streamlit"],
        max_size=None,
    ) as socket:
        socket.send(request.SerializeToString())
        while True:
            message = ForwardMsg.FromString(socket.recv(timeout=30))
            said.append(str(message))
            if message.WhichOneof("type") == "script_finished":
                return "\n".join(said)


def is_led_to_the_door(server: LiveServer, headers: dict[str, str]) -> bool:
    """Whether the line says no more than that the address is to be opened anew."""
    with connect(f"ws://localhost:{server.port}/_stcore/stream", additional_headers=headers) as socket:
        message = ForwardMsg.FromString(socket.recv(timeout=30))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
    return message.WhichOneof("type") == "auth_redirect"


class TestAGuestOnAColdServer:
    def test_every_address_leads_to_the_door_and_a_line_says_no_more(self, own_server: LiveServer):
        with httpx.Client(base_url=own_server.base_url) as client:
            pages = {path: client.get(path, headers={"Accept": "text/html"}) for path in PATHS}
            other = {path: client.get(path, headers={"Accept": "*/*"}).status_code for path in PATHS}
        assert {path: (got.status_code, got.headers["location"]) for path, got in pages.items()} == dict.fromkeys(
            PATHS, (303, "/setup")
        )
        assert other == dict.fromkeys(PATHS, 401)
        forged = {"X-Skein-Login": "login_1795214478774_4CW9G9F475EY", "Cookie": "skein_login=forged"}
        assert all(is_led_to_the_door(own_server, headers) for headers in ({}, forged))


class TestAMemberOnAColdServer:
    def test_the_first_request_of_all_for_the_admin_page_shows_none_of_it(self, cold: LiveServer):
        member = cookie_header(cold, "mia")
        assert [mark for mark in ADMINS_ONLY if mark in ask_for(cold, member, page="admin")] == []

    def test_no_file_name_brings_up_the_admin_page(self, cold: LiveServer):
        member, admin = cookie_header(cold, "mia"), cookie_header(cold, "root", "admin")
        names = [*PAGES, *PARTS, *(f"parts/{stem}" for stem in PARTS), "admin.py", "pages/admin"]
        said = {name: ask_for(cold, member, page=name) for name in names}
        assert {name for name, text in said.items() for mark in ADMINS_ONLY if mark in text} == set()
        # The same question by an admin is answered, so the marks looked for are the right ones.
        answered = ask_for(cold, admin, page="admin")
        assert [mark for mark in ADMINS_ONLY if mark in answered] == list(ADMINS_ONLY)

    def test_metrics_are_for_admins_and_not_there_for_others(self, cold: LiveServer):
        member, admin = cookie_header(cold, "mia"), cookie_header(cold, "root", "admin")
        asked = [
            httpx.get(f"{cold.base_url}/_stcore/metrics", headers=headers).status_code
            for headers in ({}, member, admin)
        ]
        assert asked == [404, 404, 200]


class TestSomebodyElsesConversation:
    def test_a_deep_link_says_that_there_is_no_such_thing(self, cold: LiveServer, of_the_admin: OfTheAdmin):
        ben = cookie_header(cold, "ben")
        by_conversation = ask_for(cold, ben, query=f"conversation={of_the_admin.conversation_id}")
        by_message = ask_for(cold, ben, query=f"message={of_the_admin.message_id}")
        assert ("There is no such conversation here" in by_conversation, SECRET in by_conversation) == (True, False)
        assert ("There is no such" in by_message, SECRET in by_message) == (True, False)

    def test_nor_is_there_a_call_or_the_thread_of_one(self, cold: LiveServer, of_the_admin: OfTheAdmin):
        call_id, thread_id = of_the_admin.call_id, of_the_admin.thread_id
        ben = cookie_header(cold, "ben")
        by_call = ask_for(cold, ben, page="calls", query=f"call={call_id}")
        by_thread = ask_for(cold, ben, page="calls", query=f"thread={thread_id}&window=all")
        by_text = ask_for(cold, ben, page="calls", query="text=quince&window=all")
        assert ("There is no such call" in by_call, SECRET in by_call) == (True, False)
        assert [
            SECRET in said or ("tokens" in said.lower() and call_id in said) for said in (by_thread, by_text)
        ] == [
            False,
            False,
        ]
