"""Whose page opens a websocket: asked of the real server, as a page of another one on this machine would ask it."""

from collections.abc import Iterator
from typing import Any

import pytest
from streamlit import net_util
from streamlit.proto.BackMsg_pb2 import BackMsg
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.tabs.conftest import Served


@pytest.fixture
def asked_the_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What Streamlit would ask of servers elsewhere, to find out its own address."""
    asked: list[object] = []
    for name in ("_make_blocking_http_get", "get_internal_ip", "get_external_ip"):
        monkeypatch.setattr(net_util, name, lambda *given, **_: asked.append(given))
    yield asked
    assert asked == []


def open_stream(served: Served, cookie: str, **headers: str) -> Any:
    return connect(
        f"ws://localhost:{served.port}/_stcore/stream",
        subprotocols=["streamlit", "PLACEHOLDER_AUTH_TOKEN"],  # type: ignore[list-item]
        additional_headers={"Cookie": cookie, **headers},
    )


@pytest.mark.usefixtures("asked_the_world")
class TestAWebsocket:
    @pytest.mark.parametrize(
        "origin",
        ["http://localhost:{other}", "http://localhost", "http://127.0.0.1:{port}", "http://evil.com", "null",
         "https://evil.com:{port}", "http://localhost:{port}@evil.com", "file://"],
    )  # fmt: skip
    def test_of_another_page_is_refused_before_anything_is_sent(self, served: Served, origin: str) -> None:
        _, cookie = served.make_person(f"origin {origin}")
        with pytest.raises(InvalidStatus) as refused:
            open_stream(served, cookie, Origin=origin.format(port=served.port, other=served.port + 1))
        assert refused.value.response.status_code == 403

    @pytest.mark.parametrize(
        "headers", [{}, {"Origin": "http://localhost:{port}"}, {"Origin": "http://LOCALHOST:{port}"}]
    )
    def test_of_our_own_page_or_of_no_browser_draws_the_page(self, served: Served, headers: dict[str, str]) -> None:
        _, cookie = served.make_person(f"own {headers}")
        given = {name: value.format(port=served.port) for name, value in headers.items()}
        with open_stream(served, cookie, **given) as websocket:
            ask = BackMsg()
            ask.rerun_script.query_string = ""
            websocket.send(ask.SerializeToString())
            assert websocket.recv(timeout=30)
