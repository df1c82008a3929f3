"""Trying an agent of a running Skein, in a process of its own: its tools are called, and it may do anything."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from core.access.viewer import Viewer
from core.checking.check import Finding, Safety
from core.errors import BadInputError, ForbiddenError
from core.skein import Skein

TRIALS = 8
_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_SECONDS = 600.0


def check_apart(skein: Skein, viewer: Viewer, agent_id: str) -> Iterator[Finding]:
    """Try an agent as `check_graph` does, and yield what is found as it comes; admins only.

    BadInputError says why it could not be tried.
    """
    if not viewer.is_admin:
        raise ForbiddenError("Only an admin can try an agent: its tools are really called.")
    file, graph_id = skein.agents.find_source(agent_id)
    command = [sys.executable, "-m", "core.cli", "check-graph", graph_id, "--file", str(file), "--json"]
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(_LONGEST_SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout or ():
                if line.startswith("{"):
                    told = json.loads(line)
                    yield Finding(told["what"], Safety(told["safety"]), told["why"])
            said = process.stderr.read() if process.stderr else ""
        finally:
            timer.cancel()
            process.kill()
    if process.returncode not in (0, 1):
        raise BadInputError(said.strip().rpartition("\n")[2] or "The trial ended without saying anything.")
