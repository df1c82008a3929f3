"""Drawing a tab anew when what it shows was changed elsewhere, without a timer in the browser.

One thread of the server looks for all tabs; where there is something new, all of the page is drawn anew, so that
nothing of it is lost. Invariant: a tab is looked after once at most, by what its page drew last; one that is gone
is forgotten.
"""

import threading
from collections.abc import Callable

from streamlit import runtime
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.parts.ui.seam import ask_to_run

Look = Callable[[], bool]
_SECONDS = 3.0
_looks: dict[str, Look] = {}
_lock = threading.Lock()
_worker: threading.Thread | None = None


def wake_when(look: Look | None) -> None:
    """Draw this tab's page anew as soon as ``look`` finds something new; None for no longer."""
    global _worker  # noqa: PLW0603 - one thread for all tabs, as long as there are some
    context = get_script_run_ctx()
    if context is None:
        return
    with _lock:
        _looks.pop(context.session_id, None)
        if look is None:
            return
        _looks[context.session_id] = look
        if _worker is None:
            _worker = threading.Thread(target=_work, name="skein-wake", daemon=True)
            _worker.start()


def _work() -> None:
    """Look for all tabs every few seconds, until there are none."""
    global _worker  # noqa: PLW0603
    pause = threading.Event()
    while True:
        pause.wait(_SECONDS)
        with _lock:
            looks = list(_looks.items())
            if not looks:
                _worker = None
                return
        for session_id, look in looks:
            if _is_over(session_id, look):
                with _lock:
                    if _looks.get(session_id) is look:
                        _looks.pop(session_id)


def _is_over(session_id: str, look: Look) -> bool:
    """Whether this tab need not be looked after any more: it is gone, or has just been asked to draw its page."""
    if not runtime.exists() or runtime.get_instance().get_app_session(session_id) is None:
        return True
    try:
        is_new = look()
    except Exception:  # noqa: BLE001 - whatever it is, the page says it when it is drawn
        is_new = True
    if is_new:
        ask_to_run(session_id)
    return is_new
