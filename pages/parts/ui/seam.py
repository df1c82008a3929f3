"""What Skein needs of Streamlit beyond its public functions, all in one place: look here first when it is updated.

- What a fragment draws belongs to it: a click there waits for the fragment's run that goes on, so that nobody could
  stop an answer that a fragment draws. ``of_the_page`` gives it to the page.
- A run that is followed too soon by another loses its end on the way to the browser; ``was_whole`` says whether
  that may have happened.
- Whatever a browser asks for ends the run before it, be that about to call what a click asked for: on a busy server
  the click would be lost. ``watch_tabs`` lets each be taken before the next is passed on.
- A tab that comes back to a server which has forgotten it, or shows what was changed elsewhere, asks for nothing by
  itself; ``ask_to_run`` has its browser ask, with its own address and widgets.
- Callbacks, fragments and downloads go on with what was known when the page was drawn; ``look_before_each_step`` is
  asked before each of them whether that still holds.
- Files that pages show or offer lie under addresses which anybody may guess who has seen the same; ``holders_of``
  says whose tabs have them.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import PurePosixPath
from typing import Any
from weakref import WeakKeyDictionary

from streamlit.proto.ForwardMsg_pb2 import BackendOperationResponse, ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from streamlit.runtime import Runtime, SessionClient, get_instance
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.backend_operation_handler import BackendOperationDispatcher
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ThreadState
from streamlit.runtime.state import SessionState

_TRIGGERS = frozenset({"trigger_value", "string_trigger_value", "chat_input_value", "json_trigger_value"})
# A callback that takes longer does not keep the tab any more.
_PATIENCE_SECONDS = 10.0
# A browser asks again and again for a fragment that has a clock, until the page is drawn anew; none has this name.
_ANEW, _ANEW_SECONDS = "skein.anew", 0.1


@contextmanager
def of_the_page() -> Iterator[None]:
    """Give to the page what a fragment's run draws inside, so that a click on it runs the page, and at once."""
    with ThreadState.scoped(fragment_id=None):
        yield


Look = Callable[[Sequence[str] | None], None]
MayStep = Callable[[AppSession], bool]


def look_before_each_step(look: Look, may_step: MayStep) -> None:
    """From now on ask ``look`` before callbacks and fragments, and ``may_step`` before a download; once a process.

    ``look`` is given the texts that were sent from chat inputs, or None where a run only goes on with what the one
    before it asked for; it ends the run if nothing of it may be done.
    """
    call_callbacks, dispatch = SessionState.on_script_will_rerun, BackendOperationDispatcher.dispatch

    def take(state: SessionState, fresh: Any = None, **more: Any) -> None:
        with _tabs.calling_back() if _tabs is not None else nullcontext():
            look(_texts_of(fresh))
            call_callbacks(state, fresh, **more)

    async def dispatch_if_allowed(self: BackendOperationDispatcher, request: Any, session_id: str) -> Any:
        session = get_instance().get_app_session(session_id)
        is_allowed = session is not None and await asyncio.to_thread(may_step, session)
        if not is_allowed or not _is_offered(request, session_id):
            return BackendOperationResponse(
                request_id=request.request_id, error_msg="This is not offered to you any more; reload the page."
            )
        response = await dispatch(self, request, session_id)
        if response.deferred_file.url:
            _made.setdefault(session, set()).add(_file_id(response.deferred_file.url))
        return response

    SessionState.on_script_will_rerun = take  # type: ignore[method-assign, assignment]
    BackendOperationDispatcher.dispatch = dispatch_if_allowed  # type: ignore[method-assign]


def _texts_of(fresh: Any) -> list[str] | None:
    if fresh is None:
        return None
    return [one.chat_input_value.data for one in fresh.widgets if one.WhichOneof("value") == "chat_input_value"]


# What was made for a download when it was asked for: Streamlit itself forgets for which tab.
_made: WeakKeyDictionary[AppSession, set[str]] = WeakKeyDictionary()


def _is_offered(request: Any, session_id: str) -> bool:
    """Whether what a tab asks to have made is a download of its own page; all else is asked by the tab's own id."""
    if request.WhichOneof("payload") != "deferred_file":
        return True
    offered = get_instance().media_file_mgr._deferred_callables.get(request.deferred_file.file_id)
    return offered is not None and offered["session_id"] == session_id


def _file_id(address: str) -> str:
    return PurePosixPath(address).stem


def holders_of(path: str) -> set[str] | None:
    """The logins whose tabs show or offer the file at this address, or own the place to upload to; on the loop.

    None for an address that is neither.
    """
    match path.strip("/").split("/"):
        case ["media", name]:
            sessions = _sessions_with(_file_id(name))
        case ["_stcore", "upload_file", session_id, _]:
            sessions = {session_id}
        case _:
            return None
    runtime = get_instance()
    found = (runtime.get_app_session(session_id) for session_id in sessions)
    return {str(session._user_info.get("login_id")) for session in found if session is not None}


def _sessions_with(file_id: str) -> set[str]:
    files = get_instance().media_file_mgr
    with files._lock:
        by_session = {
            session_id: set(places.values()) for session_id, places in files._files_by_session_and_coord.items()
        }
    for session, made in list(_made.items()):
        by_session.setdefault(session.id, set()).update(made)
    return {session_id for session_id, having in by_session.items() if file_id in having}


class _Tabs:
    """What the tabs of this process ask for, passed on one after the other.

    ``_held`` has a tab from when it asks for a run of the page, or a callback of it begins, until its callbacks are
    over; what it asks for meanwhile waits there. ``_untaken`` are clicks in fragments, which wait for the run that
    goes on; where that is ended by a run of the page, they go along with that.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._pass_on, self._connect = runtime.handle_backmsg, runtime.connect_session
        self.loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._held: dict[str, list[Callable[[], None]]] = {}
        self._untaken: dict[str, dict[str, WidgetState]] = {}
        self.settled: WeakKeyDictionary[AppSession, bool] = WeakKeyDictionary()

    def handle(self, session_id: str, message: Any, **more: Any) -> None:
        """Pass on what a browser asks for, when what it asked for before has been taken; on the loop."""
        session = self._runtime.get_app_session(session_id)
        if session is None or message.WhichOneof("type") != "rerun_script":
            self._pass_on(session_id, message, **more)
            return
        if message.rerun_script.fragment_id == _ANEW:
            message.rerun_script.fragment_id, message.rerun_script.is_auto_rerun = "", False
        with self._lock:
            if session_id in self._held:
                self._held[session_id].append(partial(self.handle, session_id, message, **more))
                return
            session.track_settling()
            self.settled[session] = session.is_settled
            if message.rerun_script.fragment_id:
                self._untaken.setdefault(session_id, {}).update(_triggers_of(message))
            else:
                self._take_along(session_id, message)
                self._held[session_id] = []
                self.loop.call_later(_PATIENCE_SECONDS, self._release, session_id, self._held[session_id])
            self._pass_on(session_id, message, **more)

    def connect(
        self, client: SessionClient, user_info: Any, existing_session_id: str | None = None, **more: Any
    ) -> str:
        """Connect a tab; one that this server has forgotten is asked to have its page drawn."""
        session_id = self._connect(client, user_info, existing_session_id, **more)
        if existing_session_id and session_id != existing_session_id:
            self.ask_to_run(session_id)
        return session_id

    def ask_to_run(self, session_id: str) -> None:
        """Have a tab's browser ask for a run of the page; on the loop."""
        client = self._runtime.get_client(session_id)
        if client is not None:
            message = ForwardMsg()
            message.auto_rerun.fragment_id, message.auto_rerun.interval = _ANEW, _ANEW_SECONDS
            client.write_forward_msg(message)

    def _take_along(self, session_id: str, message: Any) -> None:
        here = {widget.id for widget in message.rerun_script.widget_states.widgets}
        for widget_id, state in self._untaken.pop(session_id, {}).items():
            if widget_id not in here:
                message.rerun_script.widget_states.widgets.append(state)

    def begin(self, session_id: str) -> None:
        """Callbacks begin: from here on nothing ends them; in the script's thread."""
        context = get_script_run_ctx()
        with self._lock:
            if context is not None and context.yield_check is not None:
                context.yield_check()
            self._held.setdefault(session_id, [])
            self._untaken.pop(session_id, None)

    def end(self, session_id: str) -> None:
        """Callbacks are over: what the tab has asked for meanwhile can be passed on."""
        with self._lock:
            waiting = self._held.get(session_id)
        if waiting is not None:
            self.loop.call_soon_threadsafe(self._release, session_id, waiting)

    @contextmanager
    def calling_back(self) -> Iterator[None]:
        """Callbacks of this thread's tab are called inside."""
        context = get_script_run_ctx()
        session_id = context.session_id if context is not None else ""
        if self._runtime.get_app_session(session_id) is None:
            yield
            return
        self.begin(session_id)
        try:
            yield
        finally:
            self.end(session_id)

    def _release(self, session_id: str, waiting: list[Callable[[], None]]) -> None:
        with self._lock:
            if self._held.get(session_id) is not waiting:
                return
            del self._held[session_id]
        for pass_on in waiting:
            pass_on()


def _triggers_of(message: Any) -> dict[str, WidgetState]:
    widgets = message.rerun_script.widget_states.widgets
    return {widget.id: widget for widget in widgets if widget.WhichOneof("value") in _TRIGGERS}


_tabs: _Tabs | None = None


def watch_tabs() -> None:
    """From now on pass on what tabs ask for one by one; to be called once, on the server's loop."""
    global _tabs  # noqa: PLW0603 - one for the process, as Streamlit's own
    runtime = get_instance()
    _tabs = _Tabs(runtime)
    runtime.handle_backmsg = _tabs.handle  # type: ignore[method-assign]
    runtime.connect_session = _tabs.connect  # type: ignore[method-assign]


def ask_to_run(session_id: str) -> None:
    """Have a tab's browser ask for a run of the page, if it is still there; from any thread."""
    if _tabs is not None:
        with suppress(RuntimeError):  # the server is about to stop
            _tabs.loop.call_soon_threadsafe(_tabs.ask_to_run, session_id)


def take_change(login_id: str, has_ended: bool) -> None:
    """End what the tabs of a login draw when it has ended, and draw those of a changed one anew; on the loop."""
    runtime = get_instance()
    for info in runtime._session_mgr.list_sessions():
        if info.session._user_info.get("login_id") != login_id:
            continue
        if has_ended:
            info.session.request_script_stop()
        else:
            ask_to_run(info.session.id)


def was_whole() -> bool:
    """Whether the browser had all of the page when it asked for what runs now; False where nobody knows."""
    context = get_script_run_ctx()
    if context is None or _tabs is None:
        return False
    session = get_instance().get_app_session(context.session_id)
    return session is not None and _tabs.settled.get(session, False)
