"""The text of a PDF, read by a process of its own: such a file can be made to take all of time and memory.

Invariant: whatever a file holds, reading it ends in ``LONGEST_SECONDS``, takes bounded memory there, and costs this
process nothing but the wait. Run as a program it reads a PDF from its input and says as JSON what it found.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

from core.errors import BadInputError

MOST_PAGES = 200
MOST_CHARACTERS = 400_000
LONGEST_SECONDS = 20
_MOST_MEMORY = 1_500_000_000
_MOST_KEPT = 16
_ROOT = Path(__file__).resolve().parents[2]
# All else of the environment may hold secrets, which are no business of whoever reads a stranger's file.
_PASSED = ("PATH", "PYTHONPATH", "SYSTEMROOT", "LANG", "LC_ALL", "TMPDIR", "TEMP")
_PROBLEMS = {
    "encrypted": "is locked with a password; please save it without one and attach that.",
    "broken": "is a broken PDF; please save it anew and attach that.",
    "endless": "is too complicated to be read; please save it anew, or attach its text.",
}
_turns = BoundedSemaphore(2)
# What was read last, by the hash of the file: it is checked first, and given to a model right after.
_recent: dict[bytes, str] = {}


def read_pdf(content: bytes) -> str:
    """The text of the first pages, each under its number, with a note where that is not all.

    BadInputError, beginning with the verb, says why it cannot be read.
    """
    key = hashlib.sha256(content).digest()
    text = _recent.get(key)
    if text is None:
        text = _told(_found_in(content))
        _recent[key] = text
        while len(_recent) > _MOST_KEPT:
            _recent.pop(next(iter(_recent), b""), None)
    return text


def _found_in(content: bytes) -> dict[str, Any]:
    environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
    with _turns:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "core.agents.pdf_text"],
                input=content,
                capture_output=True,
                timeout=LONGEST_SECONDS,
                cwd=_ROOT,
                env=environment,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"problem": "endless"}
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        return {"problem": "endless"}  # it was ended for what it took
    return found


def _told(found: dict[str, Any]) -> str:
    if "problem" in found:
        raise BadInputError(_PROBLEMS[found["problem"]])
    pages: list[str] = found["pages"]
    if not any(page.strip() for page in pages):
        return f"[No text is in these {found['count']} pages; they may be pictures of text.]"
    text = "\n\n".join(f"[Page {number}]\n{page.strip()}" for number, page in enumerate(pages, start=1))
    if len(pages) < found["count"]:
        text += f"\n\n[Only the first {len(pages)} of {found['count']} pages were read.]"
    return text


# -- in the process of its own --------------------------------------------------------------------------


def main() -> None:
    """Read a PDF from the input and write what was found."""
    _limit()
    found = _read(sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(found).encode())


def _limit() -> None:
    try:
        import resource  # noqa: PLC0415 - not there on Windows, where the time alone is limited
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST_SECONDS, LONGEST_SECONDS))


def _read(content: bytes) -> dict[str, Any]:
    from pypdf import PasswordType, PdfReader  # noqa: PLC0415 - only this process needs it

    try:
        reader = PdfReader(io.BytesIO(content))
        if reader.is_encrypted and reader.decrypt("") is PasswordType.NOT_DECRYPTED:
            return {"problem": "encrypted"}
        count = len(reader.pages)
        return {"count": count, "pages": _pages(reader, count)} if count else {"problem": "broken"}
    except MemoryError:
        return {"problem": "endless"}
    except Exception as error:  # noqa: BLE001 - a broken file fails in many ways
        # Without a library for it the newer ciphers cannot be undone, password or not.
        return {"problem": "encrypted" if type(error).__name__ == "DependencyError" else "broken"}


def _pages(reader: Any, count: int) -> list[str]:
    pages: list[str] = []
    for number in range(min(count, MOST_PAGES)):
        try:
            text = reader.pages[number].extract_text()
        except Exception:  # noqa: BLE001 - one broken page must not take the others away
            text = "[This page could not be read.]"
        pages.append(text.encode("utf-8", "ignore").decode())
        if sum(map(len, pages)) > MOST_CHARACTERS:
            break
    return pages


if __name__ == "__main__":
    main()
