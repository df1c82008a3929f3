"""How a call ended, as it is stored: with its usage, its cost, and as much of its text as is to be kept.

The same for a call that reported its end, one that was given up, and one whose process is gone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.calls.capture import rows
from core.calls.capture.exchange import read_overheard, read_response
from core.calls.capture.observed import ObservedCall, partial_response
from core.calls.capture.store import Ended, Orphan
from core.calls.pricing.prices import Prices
from core.calls.pricing.usage import read_usage


@dataclass(frozen=True)
class Ending:
    """Makes ended rows; ``policy`` says by agent how much text is kept."""

    prices: Prices
    policy: Callable[[str | None], str]

    def of_call(self, call: ObservedCall) -> Ended:
        """A call of this process, whose start has been made a row and body of."""
        if call.wire is not None:
            read_response(call)
        elif call.overheard or call.usage_event:
            read_overheard(call)
        row = rows.end_row(call.row or {}, call)
        body = {**(call.body or {}), "response": rows.end_body(call)}
        policy, refused = self.policy(row["agent_id"]), rows.was_refused(call)
        rows.set_error(row, call.error, policy=policy)
        reported = read_usage(call.message, call.llm_output, whole=call.usage.whole)
        elsewhere = rows.is_counted_elsewhere(call)
        row["cost_source"] = rows.why_uncharged(call, refused=refused)
        rows.measure(row, body, reported, refused=refused, is_counted_elsewhere=elsewhere)
        rows.set_cost(row, self.prices.cost_of_call(row))
        return Ended(row, rows.keep_text(row, body, policy), started=call.stored == "start")

    def of_orphan(self, orphan: Orphan, texts: list[str], last: datetime | None) -> Ended:
        """A call whose process is gone, with the text that was streamed of it and when the last piece came."""
        began: datetime = orphan.row["created_at"]
        ended_at = last or orphan.thread_ended_at or began
        row = orphan.row | {
            "status": "lost",
            "ended_at": ended_at,
            "duration_ms": max((ended_at - began).total_seconds() * 1000, 0.0),
            "streamed": bool(texts),
        }
        said = partial_response(texts)
        body: dict[str, Any] = dict(orphan.body or {"call_id": row["call_id"], "prompt": None, "tools": None})
        body["response"] = rows.to_json(said) if said else None
        rows.measure(row, body, None, refused=False)
        rows.set_cost(row, self.prices.cost_of_call(row))
        # Without the prompt there is nothing whole to hash.
        policy = self.policy(row["agent_id"]) if orphan.body else "none"
        return Ended(row, rows.keep_text(row, body, policy if policy == "full" else "none"), started=True)
