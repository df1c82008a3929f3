"""Keep the ids of checkpoints in the order in which they were made, whatever the clock says.

LangGraph takes a thread's newest checkpoint by its id, which is a time. A clock that was set back, or that of a
second host, would give ids behind those that a thread has already, and its newest state would silently be an old
one. Invariant: what a thread is given from here on has a greater id than all that it has.
"""

from typing import Any, Protocol, runtime_checkable

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.base import id as _ids

ids: Any = _ids


@runtime_checkable
class KnowsNewest(Protocol):
    """A saver that tells the greatest id in a thread, of all its namespaces."""

    async def agreatest_id(self, thread_id: str) -> str | None: ...


async def keep_thread_in_order(saver: BaseCheckpointSaver[Any], thread_id: str) -> None:
    """Let what is made next in this process stand behind all that this thread has; await it on the saver's loop."""
    if isinstance(saver, KnowsNewest):
        greatest = await saver.agreatest_id(thread_id)
    else:
        found = [one.checkpoint["id"] async for one in saver.alist({"configurable": {"thread_id": thread_id}})]
        greatest = max(found, default=None)
    if greatest is not None:
        keep_behind(greatest)


def keep_behind(checkpoint_id: str) -> None:
    """Let the ids that this process makes from now on be greater than this one."""
    try:
        time = ids.UUID(checkpoint_id).time
    except ValueError:
        return  # not one of LangGraph's ids: nobody can say what comes behind it
    # LangGraph never makes an id that is not behind the last one: so this is all that it takes.
    ids._last_v6_timestamp = max(ids._last_v6_timestamp or 0, time)


def is_behind(checkpoint_id: str, parent_id: str | None) -> bool:
    """Whether a checkpoint stands behind its parent, as it should."""
    return parent_id is None or checkpoint_id > parent_id
