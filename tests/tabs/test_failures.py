"""A page whose database fails, or that fails itself: the tab gets a sentence, and is whole again afterwards."""

from collections.abc import Callable

import pytest
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection

from core.errors import DamageError, OutageError
from tests.tabs.conftest import Served
from tests.tabs.test_own_tabs import come


def draw(socket: ClientConnection) -> str:
    """Ask for the page; gives all that comes of it."""
    ask = BackMsg()
    ask.rerun_script.query_string = ""
    socket.send(ask.SerializeToString())
    said = []
    while True:
        message = ForwardMsg.FromString(socket.recv(timeout=30))  # type: ignore[arg-type]
        said.append(str(message))
        if message.WhichOneof("type") == "script_finished":
            return "\n".join(said)


def failing(error: Exception) -> Callable[..., object]:
    def fail(*_args: object, **_named: object) -> object:
        raise error

    return fail


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OutageError("The database does not answer; please try again in a moment."), "does not answer"),
        (DamageError("A database of this server is damaged (malformed); see docs/backup.md."), "is damaged"),
        (RuntimeError("nobody's business"), "Something went wrong here"),
    ],
)
def test_is_a_sentence_on_the_page_and_passes(
    served: Served, monkeypatch: pytest.MonkeyPatch, error: Exception, sentence: str
) -> None:
    _, cookie = served.make_person(f"failing {type(error).__name__}")
    with come(served.port, cookie) as socket:
        assert sentence not in draw(socket)
        with monkeypatch.context() as patch:
            patch.setattr(served.skein.database, "read", failing(error))
            said = draw(socket)
        assert sentence in said
        assert "nobody's business" not in said
        assert "Traceback" not in said
        assert sentence not in draw(socket)
