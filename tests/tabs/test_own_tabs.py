"""A tab that comes back: to the login that opened it, to another one, to nobody."""

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import get_instance
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from core.access.sign_in import sign_out
from tests.browser.live_server import wait_until
from tests.tabs.conftest import Served


def come(port: int, cookie: str, tab_id: str = "") -> ClientConnection:
    protocols = ["streamlit", "PLACEHOLDER_AUTH_TOKEN", *([tab_id] if tab_id else [])]
    return connect(
        f"ws://localhost:{port}/_stcore/stream",
        subprotocols=protocols,  # type: ignore[arg-type]
        additional_headers={"Cookie": cookie, "Origin": f"http://localhost:{port}"},
        max_size=None,
    )


def open_page(socket: ClientConnection) -> str:
    """Ask for the page, and give the tab's name that comes with it."""
    ask = BackMsg()
    ask.rerun_script.query_string = ""
    socket.send(ask.SerializeToString())
    while (message := hear(socket)).WhichOneof("type") != "new_session":
        pass
    return str(message.new_session.initialize.session_id)


def hear(socket: ClientConnection) -> ForwardMsg:
    return ForwardMsg.FromString(socket.recv(timeout=30))  # type: ignore[arg-type]


def assert_led_anew(socket: ClientConnection) -> None:
    """It is told to open its address anew, and nothing else, whatever it asks for."""
    message = hear(socket)
    assert (message.WhichOneof("type"), message.auth_redirect.url) == ("auth_redirect", "")
    with pytest.raises(ConnectionClosed):
        socket.recv(timeout=30)


def forget(name: str) -> None:
    """Have the server forget a tab that has left, once it knows that it has, and that its page is drawn."""
    sessions = get_instance()._session_mgr._session_storage._cache
    wait_until(lambda: name in sessions and sessions[name].session._scriptrunner is None)
    del sessions[name]


class TestATab:
    def test_that_comes_back_to_its_login_goes_on_where_it_was(self, served: Served) -> None:
        _, cookie = served.make_person("comes back")
        with come(served.port, cookie) as socket:
            name = open_page(socket)
        with come(served.port, cookie, name) as socket:
            assert open_page(socket) == name

    def test_that_the_server_has_forgotten_gets_a_page_of_its_own(self, served: Served) -> None:
        _, cookie = served.make_person("was forgotten")
        with come(served.port, cookie) as socket:
            name = open_page(socket)
        forget(name)
        with come(served.port, cookie, name) as socket:
            again = open_page(socket)
        assert again != name
        with come(served.port, cookie, again) as socket:
            assert open_page(socket) == again

    @pytest.mark.parametrize("is_forgotten", [True, False])
    def test_of_another_login_is_led_anew_and_never_heard(self, served: Served, is_forgotten: bool) -> None:
        _, cookie = served.make_person(f"first {is_forgotten}")
        _, other = served.make_person(f"second {is_forgotten}")
        with come(served.port, cookie) as socket:
            name = open_page(socket)
        if is_forgotten:
            forget(name)
        with come(served.port, other, name) as socket:
            assert_led_anew(socket)

    def test_of_the_same_person_who_signed_in_anew_is_led_anew(self, served: Served) -> None:
        viewer, cookie = served.make_person("twice")
        with come(served.port, cookie) as socket:
            name = open_page(socket)
        again = served.sign_in(viewer)
        with come(served.port, again, name) as socket:
            assert_led_anew(socket)

    @pytest.mark.parametrize("name", ["made-up", "x", "a-" + "0" * 32])
    def test_with_a_made_up_name_is_led_anew(self, served: Served, name: str) -> None:
        _, cookie = served.make_person(f"made up {name}")
        with come(served.port, cookie, name) as socket:
            assert_led_anew(socket)

    def test_that_is_signed_out_is_led_anew(self, served: Served) -> None:
        viewer, cookie = served.make_person("signs out")
        with come(served.port, cookie) as socket:
            name = open_page(socket)
        sign_out(viewer, served.skein.database)
        with come(served.port, cookie, name) as socket:
            assert_led_anew(socket)
        with come(served.port, "", "") as socket:
            assert_led_anew(socket)
