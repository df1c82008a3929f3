"""What Skein needs of Streamlit beyond its public functions, all in one place: look here first when it is updated.

Two things. What a fragment draws belongs to it: a click there waits for the fragment's run that goes on, so that
nobody could stop an answer that a fragment draws; ``of_the_page`` gives it to the page. And a run that is followed
too soon by another loses its end on the way to the browser; ``was_whole`` says whether that may have happened.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

from streamlit.runtime import get_instance
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState

_settled: "WeakKeyDictionary[AppSession, bool]" = WeakKeyDictionary()


@contextmanager
def of_the_page() -> Iterator[None]:
    """Give to the page what a fragment's run draws inside, so that a click on it runs the page, and at once."""
    with ThreadState.scoped(fragment_id=None):
        yield


def watch_tabs() -> None:
    """From now on note of each tab, when it asks for a run, whether it had got all of the runs before."""
    runtime = get_instance()
    pass_on = runtime.handle_backmsg

    def handle(session_id: str, message: Any, **more: Any) -> None:
        session = runtime.get_app_session(session_id)
        if session is not None and message.WhichOneof("type") == "rerun_script":
            session.track_settling()
            _settled[session] = session.is_settled
        pass_on(session_id, message, **more)

    runtime.handle_backmsg = handle  # type: ignore[method-assign]


def was_whole() -> bool:
    """Whether the browser had all of the page when it asked for what runs now; False where nobody knows."""
    context = get_script_run_ctx()
    session = get_instance().get_app_session(context.session_id) if context is not None else None
    return session is not None and _settled.get(session, False)
