"""Where the pages are, for links from one to another."""

from pathlib import Path

CHAT = Path(__file__).resolve().parent.parent / "chat.py"
CALLS = Path(__file__).resolve().parent.parent / "calls.py"
BROWSE = Path(__file__).resolve().parent.parent / "browse.py"
BRANCHES = Path(__file__).resolve().parent.parent / "branches.py"
APPROVALS = Path(__file__).resolve().parent.parent / "approvals.py"
DATABASES = Path(__file__).resolve().parent.parent / "databases.py"
