"""What a process does when it is asked to end: first it waits for what runs, and serves on meanwhile.

Invariant: a second signal is never waited with; it does at once what the first would have done.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_SEEN_SECONDS = 0.5  # for pages to draw how the last answer ended


def drain_first(drain: Callable[[], None], hurry: Callable[[], None]) -> None:
    """Have SIGTERM and Ctrl+C call ``drain`` before they do what they did; once more, ``hurry`` at once.

    Only where the main thread calls it, which alone may: elsewhere somebody else takes care of signals.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    asked, insisted = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        try:
            drain()
            insisted.wait(_SEEN_SECONDS)
        finally:
            os.kill(os.getpid(), number)

    def take(number: int, frame: FrameType | None) -> None:
        if not asked.is_set():
            asked.set()
            print("\n  Skein waits for what runs to come to its end; once more ends it at once.\n", flush=True)
            threading.Thread(target=wait, args=(number,), name="skein-drain", daemon=True).start()
            return
        insisted.set()
        hurry()
        then = before[signal.Signals(number)]
        if callable(then):
            then(number, frame)

    for number in _SIGNALS:
        signal.signal(number, take)
