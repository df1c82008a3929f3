"""What is said of an approval: its sentences, and what was asked as text that nothing in it can break out of.

Pure functions. Invariant: what tools, models and people wrote is escaped, its control characters are made visible,
and it is bounded before it is copied, so that ten million characters cost no more than a page.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from html import escape
from typing import Any

from core.history.approvals import ApprovalRow
from pages.parts.branches.branch_list import ago
from pages.parts.ui.text import shortened

SHORT, LONG = 300, 20_000
_MOST_LINES = 25
_DEEPEST = 8
# Control characters, and the invisible ones that turn the direction of a text or hide in it.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff]")
_QUESTIONS, _OPTIONS = ("question", "message", "prompt"), ("options", "choices")
_MOST_OPTIONS = 24
_BY_PERSON = {
    "approve": "{who} approved {what}",
    "edit": "{who} approved {what} with other arguments",
    "answer": "{who} answered {what}",
    "refuse": "{who} refused {what}",
}
_BY_RULE = {**_BY_PERSON, "approve": "A rule allowed {what}", "refuse": "A rule denied {what}"}
_BY_TIME = dict.fromkeys(_BY_PERSON, "Nobody decided in time about {what}")
_UNDECIDED = {
    "superseded": "{what} was asked anew, in other words",
    "gone": "{what} is not asked any more",
    "withdrawn": "{what} was withdrawn",
}
_PAUSES = {
    "approve": "{who} let it go on",
    "edit": "{who} let it go on with another state",
    "refuse": "{who} stopped it",
}


def visible(text: str, most: int = LONG) -> str:
    """The text with what cannot be seen in it written out; says how much longer it was."""
    shown = _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text[:most].replace("\r\n", "\n"))
    return shown if len(text) <= most else f"{shown}… ({len(text):,} characters)"


def bounded(value: Any, most: int = LONG) -> Any:
    """A copy of plain data with about that many characters at most; what is left out is said in its place."""
    return _copy(value, [most], _DEEPEST)


def _copy(value: Any, left: list[int], depth: int) -> Any:
    if isinstance(value, str):
        shown = visible(value, max(left[0], 0))
        left[0] -= len(shown)
        return shown
    if not isinstance(value, dict | list):
        left[0] -= 4
        return value
    if depth == 0:
        return f"… ({len(value):,} inside)"
    return _copy_dict(value, left, depth - 1) if isinstance(value, dict) else _copy_list(value, left, depth - 1)


def _copy_dict(value: dict[str, Any], left: list[int], depth: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for name, inner in value.items():
        if left[0] <= 0:
            return {**copy, "…": f"{len(value) - len(copy):,} more"}
        key = _copy(str(name), left, 0)
        copy[key] = _copy(inner, left, depth)
    return copy


def _copy_list(value: list[Any], left: list[int], depth: int) -> list[Any]:
    copy: list[Any] = []
    for inner in value:
        if left[0] <= 0:
            return [*copy, f"… {len(value) - len(copy):,} more"]
        left[0] -= 2
        copy.append(_copy(inner, left, depth))
    return copy


def as_json(value: Any, most: int = LONG) -> str:
    """The data as JSON to read, bounded."""
    return json.dumps(bounded(value, most), ensure_ascii=False, indent=2, default=str)


def in_a_line(value: Any) -> str:
    """A value as short text: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return visible(value, SHORT)
    return shortened(json.dumps(bounded(value, SHORT), ensure_ascii=False, default=str), SHORT)


def is_whole(arguments: Mapping[str, Any]) -> bool:
    """Whether the short form tells all."""
    return len(arguments) <= _MOST_LINES and all(
        len(value) <= SHORT if isinstance(value, str) else not isinstance(value, dict | list) or not value
        for value in arguments.values()
    )


def arguments_html(arguments: Mapping[str, Any]) -> str:
    """The arguments as a list of names and values; every character of theirs is escaped."""
    names = list(arguments)
    rows = [f"<dt>{_cell(name)}</dt><dd>{_cell(arguments[name])}</dd>" for name in names[:_MOST_LINES]]
    if len(names) > _MOST_LINES:
        rows.append(f"<dt>…</dt><dd>{len(names) - _MOST_LINES:,} more</dd>")
    return f'<dl class="skein-arguments">{"".join(rows)}</dl>'


def _cell(value: Any) -> str:
    return escape(in_a_line(value)) or "<i>empty</i>"


# -- questions ----------------------------------------------------------------------------------------------


def question_of(value: Any) -> str:
    """What a question says in words; "" when it has none of the usual keys."""
    if isinstance(value, str):
        return value
    if isinstance(value, Mapping):
        return next((str(value[key]) for key in _QUESTIONS if isinstance(value.get(key), str)), "")
    return ""


def options_of(value: Any) -> list[Any]:
    """The answers that a question offers; none when it offers none, or no list of plain values."""
    if not isinstance(value, Mapping):
        return []
    found = next((value[key] for key in _OPTIONS if isinstance(value.get(key), list)), [])
    return found[:_MOST_OPTIONS] if all(isinstance(one, str | int | float) for one in found) else []


def rest_of(value: Any) -> Any:
    """What a question holds beside its words and options; None when there is nothing."""
    if isinstance(value, str) or value is None:
        return None
    if not isinstance(value, Mapping):
        return value
    said, offered = question_of(value), options_of(value)
    rest = {
        name: inner
        for name, inner in value.items()
        if not (name in _QUESTIONS and inner == said) and not (name in _OPTIONS and offered)
    }
    return rest or None


def edits_of(row: ApprovalRow) -> tuple[Any, Any] | None:
    """The arguments before and after, where a person changed some; what was not approved has none after.

    Of a pause it is what was edited of the state.
    """
    if row.kind == "pause":
        after = row.arguments_after
        return (after["before"], after["after"]) if isinstance(after, dict) else None
    before = [action.arguments for action in row.actions]
    after = row.arguments_after if len(before) > 1 else [row.arguments_after]
    if not before or not isinstance(after, list) or len(after) != len(before):
        return None
    used = [old if new is None else new for old, new in zip(before, after, strict=True)]
    if used == before:
        return None
    return (before, used) if len(before) > 1 else (before[0], used[0])


# -- sentences ----------------------------------------------------------------------------------------------


def what(row: ApprovalRow) -> str:
    """What is asked about, in a few words."""
    if row.kind == "tool":
        return shortened(visible(row.tool, 120), 120) or "a tool"
    return "the pause" if row.kind == "pause" else "the question"


def asking(row: ApprovalRow) -> str:
    """Who wants what: planner wants to use publish_result."""
    agent = visible(row.agent_id, 80)
    if row.kind == "tool":
        return f"{agent} wants to use {what(row)}"
    if row.kind == "pause":
        return f"{agent} pauses and says why" if row.said is not None else f"{agent} pauses before it goes on"
    return f"{agent} asks"


def decided(row: ApprovalRow) -> str:
    """What became of it, as a sentence without its end: alice approved publish_result."""
    who = row.decided_by_name or ("A rule" if row.rule_id else "The time")
    about = what(row)
    if row.status != "decided":
        sentence = _UNDECIDED.get(row.status, "{what} waits").format(what=about)
        by = f" by {row.decided_by_name}" if row.status == "withdrawn" and row.decided_by_name else ""
        return f"{sentence[:1].upper()}{sentence[1:]}{by}" if row.kind != "tool" else f"{sentence}{by}"
    if row.kind == "pause" and row.decided_by_name:
        return _PAUSES.get(row.decision or "", "{who} decided").format(who=who)
    sentences = _BY_RULE if row.rule_id else _BY_TIME
    if row.decided_by_name:
        sentences = _BY_PERSON
    return sentences.get(row.decision or "", "{who} decided about {what}").format(who=who, what=about)


def matches(row: ApprovalRow, words: str) -> bool:
    """Whether every word stands somewhere in what an approval is about."""
    told = " ".join(
        (row.tool, row.agent_id, row.title, row.question, row.reason, row.user_name, row.decided_by_name or "")
    ).casefold()
    return all(word in told for word in words.casefold().split())


def since(row: ApprovalRow, now: datetime) -> str:
    """When it was decided, or since when it waits."""
    return ago(row.decided_at or row.waiting_since, now)


def ahead(moment: datetime, now: datetime) -> str:
    """In how long that will be, in its largest unit."""
    seconds = (moment - now).total_seconds()
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"in {seconds / size:,.0f} {unit}"
    return "in less than a minute" if seconds > 0 else "now"
