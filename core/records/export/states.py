"""A thread's checkpoints as plain JSON, for whoever has neither LangGraph nor our code.

Invariant: nothing that a checkpoint holds is run, and nothing is dropped: a value that is no plain data is told in
words, and one that is not stored, but replayed from what was written before, is there and named so.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from core.calls.capture.masking import hide_credentials
from core.checkpoints.inspect import State
from core.checkpoints.stored import open_stored
from core.database import Database
from core.records.export.rows import plain_time

_loads = JsonPlusSerializer(allowed_msgpack_modules=None).loads_typed
# These stand beside the metadata.
_REPEATED = ("step", "source")


def read_states(database: Database, path: Path, thread_ids: Iterable[str]) -> Iterator[bytes]:
    """A line of JSON for each checkpoint of these threads, oldest first in each graph, one at a time in memory.

    ``path`` is the file of checkpoints, where the database is SQLite.
    """
    with open_stored(database, path) as stored:
        for thread_id in thread_ids:
            for one in stored.list_namespaces(thread_id):
                for checkpoint_id in stored.list_ids(thread_id, one.ns):
                    state = stored.read_state(thread_id, one.ns, checkpoint_id, loads=_loads)
                    if state is not None:
                        record = {"thread_id": thread_id, **to_record(state)}
                        yield json.dumps(record, ensure_ascii=False).encode("utf-8", "ignore") + b"\n"


def to_record(state: State) -> dict[str, Any]:
    """One checkpoint with its values and the writes beside it; ``inner`` are LangGraph's own channels."""
    about = state.checkpoint
    metadata = {name: value for name, value in about.metadata.items() if name not in _REPEATED}
    return {
        "checkpoint_ns": about.ns,
        "checkpoint_id": about.checkpoint_id,
        "parent_checkpoint_id": about.parent_checkpoint_id,
        "step": about.step,
        "source": about.source,
        "created_at": plain_time(about.created_at),
        "next": list(state.next),
        "metadata": hide_credentials(metadata),
        "values": state.values,
        "inner": {channel.name: channel.value for channel in state.channels if channel.is_inner},
        "replayed": [channel.name for channel in state.channels if channel.replayed],
        "interrupts": [
            {"id": one.interrupt_id, "node": one.node, "value": one.value, "answered": one.answered}
            for one in state.questions
        ],
        "writes": [
            {"task_id": one.task_id, "node": one.node, "channel": one.channel, "value": one.value}
            for one in state.writes
        ],
        "problem": state.problem,
    }
