"""Deciding what a waiting thread asks: approve, edit, answer or refuse, and the thread goes on with it.

Invariant: however many tabs and processes decide at once, one decision is written, one run takes it up, and
everybody else is told what was decided.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import BadInputError, ConflictError
from core.history.activity import record
from core.history.approval_steps import Decided, mark_applied, settle_gone, write_decision
from core.history.approvals import ApprovalRow, get_approval, require_decider
from core.history.interrupts import (
    LONGEST_REASON,
    Action,
    Decision,
    check_answer,
    check_decisions,
    exactly,
    respond,
)
from core.history.rules import find_rules, strongest
from core.ids import ApprovalId
from core.runs.asking import stop_asking
from core.runs.engine import Engine
from core.runs.store import request_stop
from core.tables import clean_text

__all__ = ["Decision", "decide", "find_obstacle"]
_GONE = "What asked for this is not there any more: the agent has changed since. Retry the message to ask it anew."
_DONE = {"approve": "approved", "edit": "edited and approved", "answer": "answered", "refuse": "refused"}


def decide(
    engine: Engine,
    viewer: Viewer,
    approval_id: ApprovalId,
    decisions: Sequence[Decision],
    *,
    arguments_hash: str,
) -> ApprovalRow:
    """Decide an approval, one decision for each of its tool calls, and let its thread go on; gives the new row.

    To ``edit`` a pause is to let it go on with other values of the state: ``arguments`` are its keys and these.
    ``arguments_hash`` is that of the approval as the person saw it. ConflictError when somebody was first, when it
    asks something else by now, or when nothing asks any more; BadInputError when a decision does not fit.
    """
    row = _read(engine, viewer, approval_id)
    require_decider(viewer, row)
    _require_open(row, arguments_hash)
    cleaned = [_cleaned(decision) for decision in decisions]
    decided = _to_decided(engine, viewer, row, cleaned)
    if row.interrupt_id not in engine.find_asked(viewer, row.thread_id):
        engine.database.write(lambda db: settle_gone(db, approval_id))
        raise ConflictError(_GONE)

    def job(db: Db) -> None:
        now = get_approval(viewer, db, approval_id)
        _require_open(now, arguments_hash)
        _require_allowed(db, row, cleaned)
        write_decision(db, approval_id, decided, told=arguments_hash)
        if decided.decision == "refuse" and row.kind != "tool":
            # A graph can be told that a tool call is refused, but not that a question is.
            mark_applied(db, approval_id)
            if not stop_asking(db, row.thread_id, viewer, decided.reason):
                # It is going on just now with another decision.
                request_stop(db, row.thread_id)
        detail = {"decision": decided.decision, "thread_id": row.thread_id}
        record(db, viewer, "approval.decide", target_id=approval_id, session_id=row.session_id, detail=detail)

    engine.settle(viewer, row.thread_id, job)
    return _read(engine, viewer, approval_id)


def find_obstacle(engine: Engine, row: ApprovalRow) -> str | None:
    """Why an approval that waits cannot be decided any more, in one sentence; None when it can."""
    return engine.find_missing(row.agent_id, row.node) if row.is_waiting else None


def _read(engine: Engine, viewer: Viewer, approval_id: ApprovalId) -> ApprovalRow:
    with engine.database.read() as db:
        return get_approval(viewer, db, approval_id)


def _require_open(row: ApprovalRow, told: str) -> None:
    if row.status == "decided":
        who = row.decided_by_name or ("a rule" if row.rule_id else "the time that was set for it")
        raise ConflictError(f"This was {_DONE.get(str(row.decision), 'decided')} already, by {who}.")
    if row.status != "waiting":
        raise ConflictError("This is not asked any more; look at what the thread does now.")
    if row.arguments_hash != told:
        raise ConflictError("What is asked has changed since you saw it; look at it again, and decide then.")


def _cleaned(decision: Decision) -> Decision:
    reason = clean_text(decision.reason).strip()
    if len(reason) > LONGEST_REASON:
        raise BadInputError(f"A reason has at most {LONGEST_REASON:,} characters; this one has {len(reason):,}.")
    arguments = exactly(decision.arguments) if decision.arguments is not None else None
    return replace(decision, reason=reason, arguments=arguments, answer=exactly(decision.answer))


def _to_decided(engine: Engine, viewer: Viewer, row: ApprovalRow, decisions: Sequence[Decision]) -> Decided:
    if row.kind == "tool":
        return _about_tools(viewer, row, decisions)
    if len(decisions) != 1:
        raise BadInputError("This asks one thing; please decide about just that.")
    if row.kind == "question":
        return _about_question(viewer, row, decisions[0])
    if decisions[0].kind == "edit":
        return _with_edited_state(engine, viewer, row, decisions[0])
    return _about_pause(viewer, decisions[0])


def _about_tools(viewer: Viewer, row: ApprovalRow, decisions: Sequence[Decision]) -> Decided:
    actions = row.actions
    check_decisions(actions, decisions)
    after = [_arguments_after(action, decision) for action, decision in zip(actions, decisions, strict=True)]
    return Decided(
        _strongest([decision.kind for decision in decisions]),
        respond(row.value, actions, decisions),
        after[0] if len(after) == 1 else after,
        "; ".join(decision.reason for decision in decisions if decision.reason),
        viewer.user_id,
    )


def _arguments_after(action: Action, decision: Decision) -> dict[str, Any] | None:
    """What the tool is called with after the decision; None when it is not called."""
    if decision.kind == "edit":
        return decision.arguments
    return action.arguments if decision.kind == "approve" else None


def _about_question(viewer: Viewer, row: ApprovalRow, decision: Decision) -> Decided:
    if decision.kind == "refuse":
        return Decided("refuse", None, reason=decision.reason, decided_by=viewer.user_id)
    if decision.kind != "answer":
        raise BadInputError("This is a question; please answer it, or refuse to.")
    if decision.answer is None or decision.answer == "":
        raise BadInputError("The answer is empty; please type something.")
    check_answer(row.response_schema, decision.answer)
    return Decided("answer", decision.answer, decision.answer, decision.reason, viewer.user_id)


def _about_pause(viewer: Viewer, decision: Decision) -> Decided:
    if decision.kind not in {"approve", "refuse"}:
        raise BadInputError("The agent has paused here; let it go on, as it is or with another state, or stop it.")
    return Decided(decision.kind, None, reason=decision.reason, decided_by=viewer.user_id)


def _with_edited_state(engine: Engine, viewer: Viewer, row: ApprovalRow, decision: Decision) -> Decided:
    """Let a pause go on with these keys of the state set to other values; what they were is kept beside them."""
    edits = decision.arguments or {}
    engine.check_edits(row.agent_id, edits)
    values = engine.get_state(viewer, row.thread_id).values
    before = {key: values[key] for key in edits if isinstance(values, dict) and key in values}
    return Decided("edit", edits, {"before": before, "after": edits}, decision.reason, viewer.user_id)


def _strongest(kinds: Sequence[str]) -> str:
    """What stands for several decisions at once: the first that is no plain approval."""
    return next((kind for kind in kinds if kind != "approve"), "approve")


def _require_allowed(db: Db, row: ApprovalRow, decisions: Sequence[Decision]) -> None:
    """ConflictError when a rule denies by now what is about to be approved: deny wins over everybody."""
    rules = find_rules(db, user_id=row.user_id, session_id=row.session_id, agent_id=row.agent_id)
    for action, decision in zip(row.actions, decisions, strict=False):
        rule: Any = strongest(rules, action.tool)
        if decision.kind in {"approve", "edit"} and rule is not None and rule.effect == "deny":
            raise ConflictError(f"A rule denies the tool {action.tool!r}; refuse this, or have the rule revoked.")
