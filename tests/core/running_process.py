"""A process that runs what it is told, for tests that kill it: ``running_process.py <settings as JSON> <text>...``

It prints one JSON line for each run that it starts, and one for each token of the first, with the time.
"""

import json
import sys
import threading
import time
from pathlib import Path

from core.access.viewer import Viewer
from core.history.messages import NewMessage
from core.ids import UserId
from core.skein import open_skein
from tests.core.support import graph_settings


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main(told: dict[str, object], texts: list[str]) -> None:
    folder, url, user = (str(told.pop(name)) for name in ("folder", "database_url", "user_id"))
    skein = open_skein(graph_settings(Path(folder), url, **told))
    viewer = Viewer(UserId(user), "alice")
    started = [skein.engine.start(viewer, NewMessage(text)) for text in texts]
    for added in started:
        say(thread_id=added.thread_id, message_id=added.message_id)
    for events in skein.engine.attach(viewer, started[0].thread_id):
        for event in events:
            if event.kind == "token":
                say(at=time.time(), text=event.payload)
    threading.Event().wait()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), sys.argv[2:])
