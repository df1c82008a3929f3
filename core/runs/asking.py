"""What a run leaves to people when it pauses: approvals, what rules decide of them at once, and what time does.

Invariant: each of these is a step of the transaction that also settles the thread, so that a thread waits exactly
as long as there is something that somebody can decide.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.errors import ConflictError
from core.history.approval_steps import (
    Decided,
    count_decided_by_rules,
    withdraw,
    withdraw_waiting,
    write_asked,
    write_decision,
    write_denied,
)
from core.history.approvals import ApprovalRow
from core.history.interrupts import Asked, Decision, respond, tool_and_arguments
from core.history.rules import Rule, find_rules, strongest
from core.ids import ThreadId
from core.runs.gate import Denied
from core.runs.store import Spec
from core.runs.waiting import hold_thread, stop_waiting

# A thread that goes on has its steps counted anew: what goes round for ever must come before a person at last.
MOST_BY_RULES = 50
EXPIRED = "Nobody decided this in time."


def settle_asked(
    db: Db, spec: Spec, status: str, asked: Sequence[Asked], denied: Sequence[Denied], *, waits: timedelta | None
) -> None:
    """Write down what a run asked when it ended with this status, and what rules have decided of it.

    ``waits`` is how long somebody is waited for where no rule says so; None is for ever.
    """
    if denied:
        uses = [(one.rule_id, one.call_id, one.call.tool, one.call.arguments) for one in denied]
        write_denied(db, spec.thread_id, spec.user_id, uses)
    if status != "waiting":
        if spec.resume is not None:
            withdraw_waiting(db, spec.thread_id, by=None, reason=f"The run ended ({status}) without it.")
        return
    rules = find_rules(db, user_id=spec.user_id, session_id=spec.session_id, agent_id=spec.agent_id)
    fresh = write_asked(
        db, spec.thread_id, spec.user_id, asked, expires_after=lambda one: _waits(one, rules, default=waits)
    )
    if not rules or count_decided_by_rules(db, spec.thread_id) >= MOST_BY_RULES:
        return
    for row in fresh:
        if (decided := decide_by_rules(row, rules)) is not None:
            write_decision(db, row.approval_id, decided, told=row.arguments_hash)


def decide_by_rules(row: ApprovalRow, rules: Sequence[Rule]) -> Decided | None:
    """What rules say about an approval, when they leave nothing to a person."""
    actions = row.actions
    found = [strongest(rules, action.tool) for action in actions]
    if not actions or any(rule is None or rule.effect == "ask" for rule in found):
        return None
    sure = [rule for rule in found if rule is not None]
    denying = next((rule for rule in sure if rule.effect == "deny"), None)
    decisions = [
        Decision("refuse", reason=_DENIED) if rule.effect == "deny" else Decision("approve") for rule in sure
    ]
    if any(one.kind not in action.allowed for one, action in zip(decisions, actions, strict=True)):
        return None
    return Decided(
        decision="refuse" if denying else "approve",
        response=respond(row.value, actions, decisions),
        arguments_after=None if denying else row.arguments,
        reason=_DENIED if denying else "A rule allows this tool.",
        rule_id=(denying or sure[0]).rule_id,
    )


def stop_asking(db: Db, thread_id: ThreadId, viewer: Viewer | None, reason: str = "") -> bool:
    """End a thread that waits for a person, at a person's word; False when it does not wait."""
    if not stop_waiting(db, thread_id, status="stopped", sentence=reason or None):
        return False
    withdraw_waiting(db, thread_id, by=viewer.user_id if viewer else None, reason=reason)
    return True


def expire(db: Db, row: ApprovalRow) -> None:
    """Refuse what nobody decided in time; where the graph cannot be told so, the thread is stopped."""
    hold_thread(db, row.thread_id)
    decided = decide_by_time(row)
    try:
        if decided is not None:
            write_decision(db, row.approval_id, decided, told=row.arguments_hash)
        elif withdraw(db, row.approval_id, reason=EXPIRED):
            stop_waiting(db, row.thread_id, status="stopped", sentence=EXPIRED)
            withdraw_waiting(db, row.thread_id, by=None, reason=EXPIRED)
    except ConflictError:
        # Somebody was quicker.
        return


def decide_by_time(row: ApprovalRow) -> Decided | None:
    """A refusal for an approval whose time is over; None where its graph cannot be told of one."""
    actions = row.actions
    if not actions or any("refuse" not in action.allowed for action in actions):
        return None
    decisions = [Decision("refuse", reason=EXPIRED)] * len(actions)
    return Decided("refuse", respond(row.value, actions, decisions), reason=EXPIRED)


def _waits(asked: Asked, rules: Sequence[Rule], *, default: timedelta | None) -> timedelta | None:
    tools = tool_and_arguments(asked)[0].split(", ")
    hours = [rule.expires_after_hours for tool in tools if (rule := strongest(rules, tool)) is not None]
    told = [number for number in hours if number is not None]
    return timedelta(hours=min(told)) if told else default


_DENIED = "A rule denies this tool."
