"""What this process logs: lines of its own by structlog, and those of the libraries by ``logging``.

Invariant: no line, and no traceback, shows a secret, whoever logs it and whatever handler writes it.
"""

import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any

import structlog

from core.outside import read_failure

_LONGEST_LINE = 20_000
_USUAL = tuple(structlog.get_config()["processors"])


class _Record(logging.LogRecord):
    """A line of a library's, whose text and traceback are read as what comes from outside."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.exc_info and self.exc_info[0] is not None:
            # Every formatter takes it from here, where it is.
            self.exc_text = _read_traceback(self.exc_info[1])

    def getMessage(self) -> str:  # noqa: N802 - the name that logging gives it
        return read_failure(super().getMessage(), _LONGEST_LINE)


def open_logs(level: str) -> None:
    """Have all lines pass here from now on; calling it again changes the level."""
    structlog.configure(
        processors=[*_USUAL[:-1], _clean, _USUAL[-1]],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level)),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    logging.setLogRecordFactory(_Record)


def hide_in_tracebacks() -> None:
    """Print what nobody caught, in this thread or another, without secrets; for a process that is Skein."""
    sys.excepthook = _print_uncaught
    threading.excepthook = _print_uncaught_of_thread


def _print_uncaught(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    print(_read_traceback(error), file=sys.stderr, flush=True)


def _print_uncaught_of_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_type is not SystemExit:
        name = told.thread.name if told.thread is not None else "a thread"
        print(f"Exception in {name}:\n{_read_traceback(told.exc_value)}", file=sys.stderr, flush=True)


def _clean(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if found := event.pop("exc_info", None):
        error = found if isinstance(found, BaseException) else sys.exc_info()[1]
        event["exception"] = _read_traceback(error)
    for name, value in event.items():
        if isinstance(value, str | BaseException):
            event[name] = read_failure(value, _LONGEST_LINE)
    return event


def _read_traceback(error: BaseException | None) -> str:
    try:
        text = "".join(traceback.format_exception(error))
    except Exception as failure:  # noqa: BLE001 - what a stranger's exception does when it is asked for its text
        text = f"{type(error).__name__} cannot be shown ({type(failure).__name__})"
    return read_failure(text, _LONGEST_LINE).rstrip("\n")
