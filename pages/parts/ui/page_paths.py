"""Where the pages are, for links from one to another."""

from pathlib import Path

_PAGES = Path(__file__).resolve().parents[2]
CHAT = _PAGES / "chat.py"
CALLS = _PAGES / "calls.py"
BROWSE = _PAGES / "browse.py"
BRANCHES = _PAGES / "branches.py"
APPROVALS = _PAGES / "approvals.py"
DATABASES = _PAGES / "databases.py"
