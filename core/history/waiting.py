"""What waits in a queue is done many at once; when that fails, each alone, so that a bad one holds up no other.

Invariant: what cannot be done waits on; trouble of the database or the machine is everybody's, and is raised.
"""

from collections.abc import Callable, Sequence

import structlog

from core.errors import OutageError
from core.outages import is_passing
from core.outside import read_failure

log = structlog.get_logger("skein.history")


def do_all_or_each(
    keys: Sequence[str], work: Callable[[Sequence[str]], int], put_off: Callable[[str], object] = lambda _: None
) -> int:
    """Do the work for all of these, or else for each alone; how many were done. ``put_off`` gets each bad one."""
    try:
        return work(keys)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not keep the others
        _raise_if_not_its_own(error)
    return sum(_do_alone(key, work, put_off) for key in keys)


def _do_alone(key: str, work: Callable[[Sequence[str]], int], put_off: Callable[[str], object]) -> int:
    try:
        return work([key])
    except Exception as error:  # noqa: BLE001 - as above
        _raise_if_not_its_own(error)
        log.warning("left_waiting", target_id=key, error=type(error).__name__, text=read_failure(error, 300))
    put_off(key)
    return 0


def _raise_if_not_its_own(error: Exception) -> None:
    if isinstance(error, (OSError, OutageError)) or is_passing(error):
        raise error
