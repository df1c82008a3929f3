"""LangSmith's own tracing, switched on by its variables, goes on working beside the call log."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.core.support import ROOT

_RUN = """
import sys
from langchain_core.language_models import FakeListChatModel
from langchain_core.tracers.langchain import wait_for_all_tracers
from sqlmodel import select
from core.calls.capture.log import CallLog
from core.database import Database
from core.tables import LlmCall

database = Database(sys.argv[1])
database.migrate()
log = CallLog(database, said=lambda db, thread: [])
FakeListChatModel(responses=["well"]).invoke("traced twice")
wait_for_all_tracers()
log.close()
with database.read() as db:
    print([call.status for call in db.exec(select(LlmCall))])
database.close()
"""


def test_both_see_the_same_call(tmp_path: Path) -> None:
    received: list[bytes] = []

    class Tracing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            received.append(self._read())
            self._answer({})

        def _read(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"]))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def _answer(self, found: dict[str, object]) -> None:
            body = json.dumps(found).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Tracing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    tracing = {
        "LANGSMITH_TRACING": "true",
        "LANGSMITH_API_KEY": "lsv2-none",
        "LANGSMITH_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "LANGSMITH_DISABLE_RUN_COMPRESSION": "true",
    }
    ran = subprocess.run(
        [sys.executable, "-c", _RUN, f"sqlite:///{tmp_path / 'skein.db'}"],
        cwd=ROOT,
        env=os.environ | tracing,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    server.shutdown()
    server.server_close()
    assert ran.stdout.strip() == "['ok']"
    assert any(b"traced twice" in body for body in received), ran.stderr
