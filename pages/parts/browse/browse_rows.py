"""The rows of the Browse page's tables as people read them: with units, what is worst first, and never a wrong 0.

Pure functions; nothing here draws.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from unicodedata import east_asian_width
from zoneinfo import ZoneInfo

import pandas as pd
from pandas.io.formats.style import Styler

from core.history.browse.lines import ConversationLine, Hit, SessionLine, ThreadLine
from pages.parts.ui.format import count, dollars, milliseconds, total_cost
from pages.parts.ui.text import shortened

# Worst first: what somebody has to look after stands before what went well.
_COLORS = {
    "failed": "#d9485f",
    "lost": "#d9485f",
    "waiting": "#d18616",
    "running": "#4f8fd0",
    "queued": "#4f8fd0",
    "stopped": "#8a8f98",
    "done": "#2f9e6e",
}
SPARKS = 24
_FLAT = tuple(0 for _ in range(SPARKS))
_LONGEST_TITLE, _LONGEST_EXCERPT = 120, 200
_ROOM_BEFORE = 16
_PARTS = {"question": "asked", "answer": "answered"}
_KINDS = {"fan_out": "fan-out"}


def session_rows(lines: Sequence[SessionLine], tz: ZoneInfo, *, names: bool) -> Styler:
    """Sessions as the list shows them; ``names`` says whether whose they are is among it."""
    return _frame([_session_row(line, tz) for line in lines], names=names)


def conversation_rows(lines: Sequence[ConversationLine], tz: ZoneInfo, *, names: bool) -> Styler:
    return _frame([_conversation_row(line, tz) for line in lines], names=names)


def thread_rows(lines: Sequence[ThreadLine], tz: ZoneInfo, *, names: bool) -> Styler:
    return _frame([_thread_row(line, tz) for line in lines], names=names)


def describe_threads(threads: Mapping[str, int]) -> str:
    """Threads by status, those first that somebody has to look after: ``2 failed · 12 done``."""
    return " · ".join(f"{count(threads[name])} {name}" for name in _COLORS if threads.get(name))


def describe_hit(hit: Hit | None) -> str:
    """Where a text was found, with «» around it."""
    if hit is None:
        return ""
    said = "".join(f"«{text}»" if is_hit else text for text, is_hit in hit.excerpt)
    before, mark, behind = " ".join(said.split()).partition("«")
    return f"{_PARTS.get(hit.part, hit.part)}: {_end_of(before)}{mark}{behind}"


def _end_of(text: str) -> str:
    """The end of what stands before the place, so that the place itself is in sight; wide letters count twice."""
    room = _ROOM_BEFORE
    for at in range(len(text) - 1, -1, -1):
        room -= 2 if east_asian_width(text[at]) in "WF" else 1
        if room < 0:
            return f"…{text[at + 1 :]}"
    return text


def cost_of(usd: float, *, calls: int, unpriced: int) -> str:
    """What it cost; where some calls have no price it is at least so much, and never at least nothing."""
    if unpriced:
        return f"at least {dollars(usd)}" if usd else "unpriced"
    return total_cost(usd, calls=calls, unpriced=0)


def moment(at: datetime | None, tz: ZoneInfo) -> str:
    return "" if at is None else f"{at.astimezone(tz):%Y-%m-%d %H:%M}"


def title_of(title: str) -> str:
    return shortened(" ".join(title.split()), _LONGEST_TITLE) or "Untitled"


def _session_row(line: SessionLine, tz: ZoneInfo) -> dict[str, Any]:
    return {
        "Title": f"{'★ ' if line.starred else ''}{title_of(line.title)}",
        "Found": describe_hit(line.hit),
        "Threads": describe_threads(line.threads),
        "Activity": list(line.spark) or list(_FLAT),
        "Cost": cost_of(line.cost_usd, calls=line.calls, unpriced=line.unpriced),
        "Last active": moment(line.last_active_at, tz),
        "User": line.user_name,
        "Messages": count(line.messages),
        "Branches": count(line.branches),
        "Failed": count(sum(line.threads.get(name, 0) for name in ("failed", "lost"))),
        "Tokens": count(line.tokens),
        "Agents": ", ".join(line.agents),
        "Marks": _marks(line),
        "Created": moment(line.created_at, tz),
    }


def _marks(line: SessionLine) -> str:
    """What people think of it: the review's verdict, the mean score, the tags."""
    verdict = {"good": "✓ good", "bad": "✕ bad"}.get(line.verdict, "")
    score = "" if line.score is None else f"{line.score:.1f}/5"
    shelf = "archived" if line.status == "archived" else ""
    return " · ".join(part for part in (shelf, verdict, score, ", ".join(line.tags)) if part)


def _conversation_row(line: ConversationLine, tz: ZoneInfo) -> dict[str, Any]:
    return {
        "Title": title_of(line.title),
        "Found": describe_hit(line.hit),
        "Threads": describe_threads(line.threads),
        # How many calls there were is not known of a conversation.
        "Cost": cost_of(line.cost_usd, calls=sum(line.threads.values()), unpriced=line.unpriced),
        "Last active": moment(line.last_active_at, tz),
        "User": line.user_name,
        "Messages": count(line.messages),
        "Branches": count(line.branches),
        "Tokens": count(line.tokens),
        "Session": title_of(line.session_title),
        "Created": moment(line.created_at, tz),
    }


def _thread_row(line: ThreadLine, tz: ZoneInfo) -> dict[str, Any]:
    return {
        "Message": shortened(" ".join(line.excerpt.split()), _LONGEST_EXCERPT),
        "Found": describe_hit(line.hit),
        "Status": line.status,
        "Error": shortened(" ".join((line.error_message or "").split()), _LONGEST_EXCERPT),
        "Cost": cost_of(line.cost_usd, calls=line.calls, unpriced=line.unpriced),
        "Created": moment(line.created_at, tz),
        "User": line.user_name,
        "Took": milliseconds(None if line.seconds is None else line.seconds * 1_000),
        "Agent": line.agent_id,
        "Model": line.model,
        "Kind": _KINDS.get(line.kind, line.kind),
        "Tokens": count(line.tokens),
        "Session": title_of(line.session_title),
    }


def _frame(rows: list[dict[str, Any]], *, names: bool) -> Styler:
    frame = pd.DataFrame(rows)
    if not rows:
        return frame.style
    empty = [name for name in ("Found", "Error", "Marks") if name in frame and not frame[name].any()]
    hidden = [*empty, *([] if names else ["User"])]
    told = [name for name in ("Threads", "Status") if name in frame]
    return frame.drop(columns=hidden).style.map(lambda text: f"color: {_color(str(text))}", subset=told)


def _color(threads: str) -> str:
    """The colour of the worst status among them."""
    return next((color for status, color in _COLORS.items() if status in threads), "")
