"""A branch as a file, from the root to one message: Markdown for people, JSON for programs.

What people and models wrote is Markdown itself and may be hostile. Each text stands in a block quote of its own, so
that no heading, fence or list of it goes beyond its end, and has its HTML made plain, since an open tag or comment
would. Invariant: the outline of the file is ours alone, and ``activity`` says who took it.
"""

import json
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
from core.history.turns import EDITS, INPUTS, Turn, get_path
from core.ids import MessageId
from core.records.compare import Totals, total_of
from core.records.telling import NOTES, amounts, inline, joined, moment, quoted
from core.tables import LlmCall, utc_now

EXPORT_BRANCH = "branch.export"
FORMAT = "skein.branch"
VERSION = 1


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
    calls, models = summarize_threads(viewer, db, threads), read_models(viewer, db, threads)
    return _Branch(viewer, utc_now(), conversation, heading.user_name, turns, calls, models)


def read_models(viewer: Viewer, db: Db, threads: Sequence[str]) -> dict[str, list[str]]:
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
    for name in (EDITS, INPUTS):
        if name in turn.config:
            fields[name] = hide_credentials(turn.config[name])
    return fields | {"usage": asdict(branch.totals(turn))}


def _to_iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


# -- Markdown -------------------------------------------------------------------------------------------


def _head(branch: _Branch) -> Iterator[str]:
    whose = branch.conversation
    yield f"# {inline(whose.title) or 'Conversation'}"
    yield "\n".join(
        [
            f"- Conversation of {inline(branch.owner)}: `{whose.conversation_id}`",
            f"- Branch up to message `{branch.turns[-1].message_id}`",
            f"- Exported by {inline(branch.viewer.name)} at {moment(branch.at)}",
            f"- {joined(amounts(branch.totals()))}",
        ]
    )


def _section(branch: _Branch, place: int, turn: Turn) -> Iterator[str]:
    yield f"## {place}. {inline(branch.owner)}, {moment(turn.created_at)}"
    yield quoted(turn.content)
    yield f"### Answer {place}"
    if turn.answer:
        yield quoted(turn.answer)
    if turn.status in NOTES:
        reason = f" {inline(turn.error_message)}" if turn.error_message else ""
        yield f"**{turn.status.capitalize()}.** {NOTES[turn.status]}{reason}"
    elif not turn.answer:
        yield "The agent ended without saying anything."
    yield f"Message `{turn.message_id}`, thread `{turn.thread_id}`: {joined(_facts(branch, turn))}"


def _facts(branch: _Branch, turn: Turn) -> Iterator[str]:
    yield turn.kind.replace("_", " ")
    yield inline(turn.agent_id)
    yield ", ".join(map(inline, branch.models.get(turn.thread_id, [])))
    yield turn.status
    yield from list(amounts(branch.totals(turn)))[1:]


_CALL = table_of(LlmCall).c
_MODELS = (
    select(_CALL.thread_id, _CALL.model)
    .distinct()
    .where(_CALL.thread_id.in_(bindparam("ids", expanding=True)), _CALL.model.is_not(None))
    .where(or_(bindparam("all"), _CALL.user_id == bindparam("owner")))
)
