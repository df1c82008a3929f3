"""Names for tabs that say whose they are; see ``core.access.web.tabs``. To be set up once, before the seam.

Invariant: a tab that this server has forgotten, as after a restart, gets a new name, and so a page of its own.
"""

from typing import Any

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime import SessionClient, get_instance

from core.access.web.tabs import new_tab_id


def _lead_anew() -> bytes:
    message = ForwardMsg()
    message.auth_redirect.url = ""  # of all addresses the one that stands for the page itself, with its query
    return message.SerializeToString()


LEAD_ANEW = _lead_anew()
"""Has the browser open the address of its page anew."""


def name_tabs(secret_key: str) -> None:
    """From now on name new tabs for the login that opens them; on the server's loop."""
    runtime = get_instance()
    connect = runtime.connect_session

    def connect_named(
        client: SessionClient, user_info: Any, existing_session_id: str | None = None, **more: Any
    ) -> str:
        if existing_session_id and runtime._session_mgr.get_session_info(existing_session_id) is not None:
            return connect(client, user_info, existing_session_id, **more)
        name = new_tab_id(str(user_info.get("login_id")), secret_key=secret_key)
        return connect(client, user_info, session_id_override=name)

    runtime.connect_session = connect_named  # type: ignore[method-assign]
