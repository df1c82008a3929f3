"""A process that begins a run, tells that it has, and is killed; it is given its settings and what to say.

Its standard output is for that alone: what the graph prints goes to standard error.
"""

import json
import os
import sys
import time

from sqlmodel import select

from core.access.viewer import Viewer
from core.history.messages import NewMessage
from core.ids import UserId
from core.settings import load_settings
from core.skein import open_skein
from core.tables import User

_AGENT = "checked"


def main() -> None:
    """Begin a run and wait for the end."""
    said = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print(json.dumps(_begin()), file=said, flush=True)
    time.sleep(60)


def _begin() -> list[str]:
    """The person and the thread of a run that has begun."""
    skein = open_skein(load_settings(**json.loads(sys.argv[1])))
    while skein.agents.is_loading:
        time.sleep(0.02)
    with skein.database.read() as db:
        user_id = db.exec(select(User.user_id)).one()
    viewer = Viewer(UserId(user_id), "checker")
    added = skein.engine.start(viewer, NewMessage(sys.argv[2], agent_id=_AGENT))
    for events in skein.engine.attach(viewer, added.thread_id):
        if any(event.kind == "node" for event in events):
            break
    return [user_id, added.thread_id]


if __name__ == "__main__":
    main()
