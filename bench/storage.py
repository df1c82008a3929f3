"""Bytes per turn of a long conversation, in the checkpoints' file and in our own, with and without compaction.

One conversation is carried on turn after turn through the real engine, with the assistant (which summarises as it
goes) and the demo model without delay. Then each of its threads is compacted to its newest checkpoint, and the
space is given back. What is counted are the pages in use; the file itself is as large after the vacuum.

    python -m bench.storage --turns 200 --bytes 1024
"""

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from core.access.viewer import Viewer
from core.settings import DEMO_MODEL, load_settings
from core.skein import Skein, open_skein  # before langgraph: it sets how checkpoints are read

from core.checkpoints.compact import compact, count_checkpoints, incremental_vacuum  # isort: skip
from core.history.messages import NewMessage, get_turn_of_thread  # isort: skip
from bench.turns import make_people  # isort: skip

TARGET = 8 * 1024
WORDS = "We spoke about rivers, bridges and old maps, and each of them deserved a careful note. "


def converse(skein: Skein, person: Viewer, turns: int, size: int) -> Iterator[tuple[str, int]]:
    """Each turn's thread, and the bytes of its answer."""
    parent = conversation = None
    for number in range(turns):
        said = NewMessage(
            message(number, size),
            conversation_id=conversation,
            parent_message_id=parent,
            config={"model": DEMO_MODEL},
        )
        added = skein.engine.start(person, said)
        for _ in skein.engine.attach(person, added.thread_id):
            pass
        parent, conversation = added.message_id, added.conversation_id
        with skein.database.read() as db:
            turn = get_turn_of_thread(person, db, added.thread_id)
        yield added.thread_id, len((turn.answer or "").encode())


def message(number: int, size: int) -> str:
    """So many bytes that ask for an answer of about as many."""
    asked = f" Please answer turn {number} in {size * 10 // 44} tokens."
    return (WORDS * (size // len(WORDS) + 1))[: size - len(asked)] + asked


def used(path: Path) -> int:
    """The bytes of the pages that hold something."""
    with closing(sqlite3.connect(path)) as connection:
        count, free, size = (
            connection.execute(f"PRAGMA {what}").fetchone()[0]
            for what in ("page_count", "freelist_count", "page_size")
        )
    return (count - free) * size


def compact_all(skein: Skein, threads: Sequence[str]) -> list[float]:
    """Compact each thread, give the space back, and say how many ms each took."""
    took = []
    for thread in threads:
        began = time.perf_counter()
        skein._loop.run(compact(skein.saver, thread_id=thread))
        took.append((time.perf_counter() - began) * 1000)
    skein._loop.run(incremental_vacuum(skein.saver, 1_000_000))
    return sorted(took)


def measure(turns: int, size: int, folder: Path) -> None:
    settings = load_settings(
        data_dir=folder, demo_tokens_per_second=0, log_level="ERROR", max_runs=100, _env_file=None
    )
    skein = open_skein(settings)
    try:
        empty, ours = used(settings.checkpoints_path), used(folder / "skein.db")
        (person,) = make_people(skein, 1)
        threads, answers = zip(*converse(skein, person, turns, size), strict=True)
        before, app = used(settings.checkpoints_path), used(folder / "skein.db")
        kept = sum(skein._loop.run(count_checkpoints(skein.saver, threads)).values())
        took = compact_all(skein, threads)
        after = used(settings.checkpoints_path)
        left = sum(skein._loop.run(count_checkpoints(skein.saver, threads)).values())
    finally:
        skein.close()
    print(f"{turns} turns of {size} bytes, answers of {sum(answers) // turns} bytes on average")
    show("checkpoints as they come", before - empty, turns, f"{kept / turns:.1f} a turn")
    show("checkpoints compacted", after - empty, turns, f"{left / turns:.1f} a turn; target {TARGET} bytes")
    show("app database", app - ours, turns, "messages, events, calls, indexes")
    print(f"  the checkpoints' file after the vacuum {settings.checkpoints_path.stat().st_size / 1024:.0f} KB")
    print(f"  compacting a thread p50 {took[len(took) // 2]:.1f} ms, longest {took[-1]:.1f} ms")


def show(name: str, size: int, turns: int, note: str) -> None:
    print(f"  {name:26}{size / turns:8.0f} bytes a turn   {note}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=200)
    parser.add_argument("--bytes", type=int, default=1024)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skein-bench-") as folder:
        measure(given.turns, given.bytes, Path(folder))


if __name__ == "__main__":
    main()
