"""Sending what was decided about an approval, and saying what came of it.

Invariant: a tab sends one decision for an approval, for exactly the arguments that it showed (their hash goes
along); what was typed for one that came too late is kept.
"""

import json
from collections.abc import Sequence
from typing import Any

from core.access.viewer import Viewer
from core.errors import ConflictError, NotFoundError, SkeinError
from core.history.approvals import ApprovalRow, get_approval
from core.history.interrupts import Decision
from core.history.rules import add_rule
from core.runs.branching import retry
from core.runs.decisions import decide
from core.skein import Skein
from pages.parts.approvals.approval_fields import SCOPES, widget_key
from pages.parts.approvals.approval_outcome import is_sent, mark_sent, tell
from pages.parts.approvals.approval_texts import decided, what
from pages.parts.ui import state
from pages.parts.ui.open_branch import go_to
from pages.parts.ui.resources import forget_waiting

_DONE = {
    "approve": "You approved {what}",
    "edit": "You approved {what} with other arguments",
    "answer": "You answered {what}",
    "refuse": "You refused {what}",
}
_EFFECTS = {"approve": "allow", "refuse": "deny"}
_PAST = {"allow": "allowed", "deny": "denied"}


def send(
    skein: Skein, viewer: Viewer, row: ApprovalRow, decisions: Sequence[Decision], *, scope: str | None = None
) -> str:
    """Decide, and have said what came of it; gives the sentence of what has to be typed in another way, or ""."""
    if is_sent(row):
        return ""
    try:
        decide(skein.engine, viewer, row.approval_id, decisions, arguments_hash=row.arguments_hash)
    except (ConflictError, NotFoundError) as error:
        tell(row, str(error), is_problem=True, draft=_typed(decisions))
        return ""
    except SkeinError as error:
        return str(error)
    finally:
        forget_waiting(viewer)
    mark_sent(row)
    state.take(widget_key(row, "opened"))
    tell(row, _told(row, decisions) + _add_rules(skein, viewer, row, decisions, scope))
    return ""


def send_at_once(skein: Skein, viewer: Viewer, row: ApprovalRow, decision: Decision, *, times: int = 1) -> None:
    """For a button that needs nothing typed."""
    if problem := send(skein, viewer, row, [decision] * times):
        tell(row, problem, is_problem=True)


def is_too_late(skein: Skein, viewer: Viewer, row: ApprovalRow) -> bool:
    """Whether it has been decided since it was drawn: that is said then, and what was typed is kept.

    Its form is not drawn any more, so that nobody would hear of what is wrong in it.
    """
    try:
        with skein.database.read() as db:
            now = get_approval(viewer, db, row.approval_id)
    except SkeinError:
        return False
    if now.is_waiting or is_sent(row):
        return False
    tell(now, f"This came too late: {decided(now)}.", is_problem=True, draft=_in_form(now))
    return True


def _in_form(row: ApprovalRow) -> str:
    """What the widgets of a form hold."""
    held = state.approvals_typed(row.approval_id)
    return "\n\n".join(value if isinstance(value, str) else f"{name}: {value}" for name, value in held.items())


def stop(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    """End the run that waits; nobody decides it any more."""
    try:
        skein.engine.stop(viewer, row.thread_id)
    except SkeinError as error:
        tell(row, str(error), is_problem=True)
    else:
        tell(row, "The run was stopped; nothing waits in it any more.")
    forget_waiting(viewer)


def start_anew(skein: Skein, viewer: Viewer, row: ApprovalRow) -> None:
    """End the run that can never be resumed, and answer its message again from its last state."""
    try:
        skein.engine.stop(viewer, row.thread_id)
        go_to(retry(skein.engine, viewer, row.thread_id))
    except SkeinError as error:
        tell(row, str(error), is_problem=True)
    forget_waiting(viewer)


def _typed(decisions: Sequence[Decision]) -> str:
    """What a person typed for these decisions."""
    parts = [part for one in decisions for part in (one.arguments, one.answer, one.reason) if part]
    return "\n\n".join(
        part if isinstance(part, str) else json.dumps(part, ensure_ascii=False, indent=2) for part in parts
    )


def _told(row: ApprovalRow, decisions: Sequence[Decision]) -> str:
    if row.kind != "tool" and decisions[0].kind == "refuse":
        return "The run was stopped; what had been said is kept."
    if row.kind == "pause":
        return "The run goes on with the edited state." if decisions[0].kind == "edit" else "The run goes on."
    if len(decisions) > 1:
        return f"You decided about {len(decisions)} tool calls; the run goes on."
    return f"{_DONE[decisions[0].kind].format(what=what(row))}; the run goes on."


def _add_rules(
    skein: Skein, viewer: Viewer, row: ApprovalRow, decisions: Sequence[Decision], scope: str | None
) -> str:
    """Let the decisions hold from now on, and say so; "" where they are for once."""
    if scope is None:
        return ""
    pairs = zip(row.actions, decisions, strict=True)
    rules = {action.tool: _EFFECTS[one.kind] for action, one in pairs if one.kind in _EFFECTS}
    place = {"scope": scope, "session_id": row.session_id if scope == "session" else None}

    def job(db: Any) -> None:
        for tool, effect in rules.items():
            add_rule(viewer, db, effect=effect, tool=tool, agent_id=row.agent_id, **place)

    try:
        skein.database.write(job)
    except SkeinError as error:
        return f" But no rule was made: {error}"
    said = " and ".join(f"{tool} is always {_PAST[effect]}" for tool, effect in rules.items())
    return f" From now on {said} {SCOPES[scope]}." if said else ""
