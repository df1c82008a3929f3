"""A branch as a file, from the root to one message: Markdown for people, JSON for programs.

What people and models wrote is Markdown itself and may be hostile. Each text stands in a block quote of its own, so
that no heading, fence or list of it goes beyond its end, and has its HTML made plain, since an open tag or comment
would. Invariant: the outline of the file is ours alone, and ``activity`` says who took it.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.capture.masking import hide_credentials
from core.calls.listing.sums import ThreadCalls, summarize_threads
from core.database import Database, in_parts, table_of
from core.history.activity import record
from core.history.conversations import ConversationRow, get_conversation, get_headings
from core.history.turns import EDITS, Turn, get_path
from core.ids import MessageId
from core.records.compare import Totals, total_of
from core.tables import LlmCall, utc_now

EXPORT_BRANCH = "export.branch"
FORMAT = "skein.branch"
VERSION = 1
_LONGEST_LINE = 2_000
_NOTES = {
    "queued": "It waits for its turn.",
    "running": "It is still being written.",
    "waiting": "It waits for a person's decision.",
    "stopped": "It was stopped; this is what had been said.",
    "failed": "It failed; this is what had been said.",
    "lost": "Its process ended; this is what had been said.",
}
_LINE_END = re.compile(r"\r\n|\r|\n")
_FENCE = re.compile(r"(`{3,})[^`]*$|(~{3,})")
_DOUBTFUL_FENCE = re.compile(r"[ \t>*+\-\d.)]+(?:`{3}|~{3})|(?:`{3}|~{3}).*\|")
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_SPECIAL = re.compile(r"[\\`*_\[\]<>&|~#$]")


def branch_markdown(viewer: Viewer, database: Database, message_id: MessageId) -> str:
    """The branch as a readable page; NotFoundError when the viewer may not see it."""
    branch = _take(viewer, database, message_id, "markdown")
    sections = [part for place, turn in enumerate(branch.turns, start=1) for part in _section(branch, place, turn)]
    return "\n\n".join([*_head(branch), *sections]) + "\n"


def branch_json(viewer: Viewer, database: Database, message_id: MessageId) -> str:
    """The branch with all its ids, as a JSON object with ``format`` and ``version``."""
    branch = _take(viewer, database, message_id, "json")
    return json.dumps(_to_data(branch), ensure_ascii=False, indent=2, default=_to_iso) + "\n"


@dataclass(frozen=True)
class _Branch:
    viewer: Viewer
    at: datetime
    conversation: ConversationRow
    owner: str
    turns: list[Turn]
    calls: dict[str, ThreadCalls]
    models: dict[str, list[str]]

    def totals(self, *turns: Turn) -> Totals:
        return total_of(turns or self.turns, self.calls)


def _take(viewer: Viewer, database: Database, message_id: MessageId, kind: str) -> _Branch:
    """Read the branch, and put on record that it was taken."""
    with database.read() as db:
        branch = _read(viewer, db, message_id)
    owner, count = branch.conversation.user_id, len(branch.turns)
    detail = {"kind": kind, "messages": count, "messages_of_others": count if owner != viewer.user_id else 0}
    session_id = branch.conversation.session_id
    database.write(
        lambda db: record(db, viewer, EXPORT_BRANCH, target_id=message_id, session_id=session_id, detail=detail)
    )
    return branch


def _read(viewer: Viewer, db: Db, message_id: MessageId) -> _Branch:
    turns = get_path(viewer, db, message_id)
    conversation = get_conversation(viewer, db, turns[-1].conversation_id)
    heading = get_headings(viewer, db, [conversation.conversation_id])[conversation.conversation_id]
    threads = [turn.thread_id for turn in turns]
    calls, models = summarize_threads(viewer, db, threads), _read_models(viewer, db, threads)
    return _Branch(viewer, utc_now(), conversation, heading.user_name, turns, calls, models)


def _read_models(viewer: Viewer, db: Db, threads: Sequence[str]) -> dict[str, list[str]]:
    """Which models were called in each thread."""
    models: dict[str, list[str]] = {}
    for some in in_parts(threads):
        given = {"ids": some, "all": viewer.reads_all, "owner": viewer.user_id}
        for thread_id, model in sorted(tuple(row) for row in db.connection().execute(_MODELS, given)):
            models.setdefault(thread_id, []).append(model)
    return models


# -- JSON -----------------------------------------------------------------------------------------------


def _to_data(branch: _Branch) -> dict[str, Any]:
    whose = branch.conversation
    return {
        "format": FORMAT,
        "version": VERSION,
        "exported_at": branch.at,
        "exported_by": {"user_id": branch.viewer.user_id, "name": branch.viewer.name},
        "conversation_id": whose.conversation_id,
        "session_id": whose.session_id,
        "user_id": whose.user_id,
        "user_name": branch.owner,
        "title": whose.title,
        "message_id": branch.turns[-1].message_id,
        "usage": asdict(branch.totals()),
        "turns": [_turn_data(branch, turn) for turn in branch.turns],
    }


def _turn_data(branch: _Branch, turn: Turn) -> dict[str, Any]:
    fields = asdict(turn) | {
        "config": hide_credentials(turn.settings),
        "models": branch.models.get(turn.thread_id, []),
    }
    fields |= turn.attached
    if EDITS in turn.config:
        fields[EDITS] = hide_credentials(turn.config[EDITS])
    return fields | {"usage": asdict(branch.totals(turn))}


def _to_iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


# -- Markdown -------------------------------------------------------------------------------------------


def _head(branch: _Branch) -> Iterator[str]:
    whose = branch.conversation
    yield f"# {_inline(whose.title) or 'Conversation'}"
    yield "\n".join(
        [
            f"- Conversation of {_inline(branch.owner)}: `{whose.conversation_id}`",
            f"- Branch up to message `{branch.turns[-1].message_id}`",
            f"- Exported by {_inline(branch.viewer.name)} at {_moment(branch.at)}",
            f"- {_line(_amounts(branch.totals()))}",
        ]
    )


def _section(branch: _Branch, place: int, turn: Turn) -> Iterator[str]:
    yield f"## {place}. {_inline(branch.owner)}, {_moment(turn.created_at)}"
    yield _quoted(turn.content)
    yield f"### Answer {place}"
    if turn.answer:
        yield _quoted(turn.answer)
    if turn.status in _NOTES:
        reason = f" {_inline(turn.error_message)}" if turn.error_message else ""
        yield f"**{turn.status.capitalize()}.** {_NOTES[turn.status]}{reason}"
    elif not turn.answer:
        yield "The agent ended without saying anything."
    yield f"Message `{turn.message_id}`, thread `{turn.thread_id}`: {_line(_facts(branch, turn))}"


def _facts(branch: _Branch, turn: Turn) -> Iterator[str]:
    yield turn.kind.replace("_", " ")
    yield _inline(turn.agent_id)
    yield ", ".join(map(_inline, branch.models.get(turn.thread_id, [])))
    yield turn.status
    yield from list(_amounts(branch.totals(turn)))[1:]


def _amounts(totals: Totals) -> Iterator[str]:
    yield _counted(totals.messages, "message")
    yield f"{totals.seconds:,.1f} s" if totals.seconds else ""
    yield _counted(totals.calls, "call") if totals.calls else ""
    yield f"{totals.running} running" if totals.running else ""
    yield _counted(totals.errors, "error") if totals.errors else ""
    if totals.calls:
        about = "about " if totals.estimated else ""
        yield f"{about}{totals.input_tokens:,} tokens in, {totals.output_tokens:,} out"
        yield _cost(totals)


def _cost(totals: Totals) -> str:
    if totals.cost_usd is None:
        return "unpriced" if totals.unpriced else ""
    amount = f"${f'{totals.cost_usd:,.9f}'.rstrip('0').rstrip('.')}"
    return f"at least {amount} ({_counted(totals.unpriced, 'call')} unpriced)" if totals.unpriced else amount


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _line(parts: Iterator[str]) -> str:
    return " · ".join(part for part in parts if part)


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _inline(text: str) -> str:
    """The text as words of one line: nothing in it is taken for Markdown."""
    return _SPECIAL.sub(r"\\\g<0>", " ".join(text.split()))


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in _without_html(text))


def _without_html(text: str) -> Iterator[str]:
    """The lines of a Markdown text whose tags are plain text; code in fences stays as it is.

    A fence at the very beginning of a line surely begins code, until there is one that may belong to a list or a
    table: what that does to those behind it depends on where the list ends.
    """
    fence, is_sure = "", True
    block: list[str] = []
    for line in _LINE_END.split(text):
        is_sure = is_sure and (bool(fence) or not _DOUBTFUL_FENCE.match(line))
        opening = _FENCE.match(line) if is_sure and not fence else None
        if not fence and not opening and line.strip(" \t"):
            block.append(line)
            continue
        yield from _plain_tags(block)
        yield line
        block = []
        if opening:
            fence = opening[1] or opening[2]
        elif _closes(fence, line):
            fence = ""
    yield from _plain_tags(block)


def _closes(fence: str, line: str) -> bool:
    mark = line.lstrip(" ").rstrip(" \t")
    return len(line) - len(line.lstrip(" ")) < 4 and len(mark) >= len(fence) > 0 and set(mark) == {fence[0]}


def _plain_tags(block: list[str]) -> Iterator[str]:
    """The lines of a paragraph; code inside of them is kept where each line opens and closes its own.

    Otherwise what is code depends on where the paragraph, or a cell of a table, really begins.
    """
    keeps_code = all(_is_balanced(line) for line in block)
    for line in block:
        spans = [*_CODE.finditer(line)] if keeps_code else []
        done, parts = 0, []
        for span in spans:
            parts += [_TAG.sub("&lt;", line[done : span.start()]), span[0]]
            done = span.end()
        yield "".join([*parts, _TAG.sub("&lt;", line[done:])])


def _is_balanced(line: str) -> bool:
    if len(line) > _LONGEST_LINE or "|" in line or "\\`" in line:
        return False
    return "`" not in _CODE.sub("", line)


_CALL = table_of(LlmCall).c
_MODELS = (
    select(_CALL.thread_id, _CALL.model)
    .distinct()
    .where(_CALL.thread_id.in_(bindparam("ids", expanding=True)), _CALL.model.is_not(None))
    .where(or_(bindparam("all"), _CALL.user_id == bindparam("owner")))
)
