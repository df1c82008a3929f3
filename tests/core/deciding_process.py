"""A process that decides approvals, for tests that race or kill it: ``deciding_process.py <settings as JSON>``.

It says when it is ready; for each line it is given (a JSON object with viewer, approval and hash) it approves, and
says what came of it; for a line with a text it asks that, and says when the run has paused. ``dies``: it dies as
soon as a decision is committed, before anything else.
"""

import json
import os
import sys
from pathlib import Path

from core.access.viewer import Viewer
from core.errors import SkeinError
from core.history.messages import NewMessage
from core.ids import ApprovalId, UserId
from core.runs.decisions import Decision, decide
from core.runs.scheduler import Scheduler
from core.skein import open_skein
from tests.core.support import graph_settings


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def _die(*_args: object, **_more: object) -> None:
    os._exit(9)


def main(told: dict[str, object]) -> None:
    folder, url, dies = (told.pop(name) for name in ("folder", "database_url", "dies"))
    skein = open_skein(graph_settings(Path(str(folder)), str(url), **told))
    if dies:
        Scheduler.begin = _die  # type: ignore[method-assign]
    say(ready=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        viewer = Viewer(UserId(wanted["user_id"]), "alice")
        if "text" in wanted:
            added = skein.engine.start(viewer, NewMessage(wanted["text"], agent_id=wanted["agent_id"]))
            for _ in skein.engine.attach(viewer, added.thread_id):
                pass
            say(paused=added.thread_id)
            continue
        try:
            row = decide(
                skein.engine,
                viewer,
                ApprovalId(wanted["approval_id"]),
                [Decision("approve")],
                arguments_hash=wanted["arguments_hash"],
            )
        except SkeinError as error:
            say(refused=str(error))
        else:
            for _ in skein.engine.attach(viewer, row.thread_id):
                pass
            say(decided=row.approval_id)
    skein.close()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
