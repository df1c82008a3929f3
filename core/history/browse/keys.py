"""The keys of the search box's language, and what each is for in a few words."""

KEYS = {
    "user": "whose: user:alice, user:me, user:alice,bob, -user:alice",
    "status": "active archived, or of one of its threads: queued running waiting done stopped failed lost",
    "agent": "used in it: agent:assistant, agent:plan*",
    "model": "used in it: model:gpt-4o, model:gpt-4*",
    "tag": 'on it or on something in it: tag:refund, -tag:"to check"',
    "title": 'a part of its title: title:invoice, title:"second quarter"',
    "session": "the session itself, by its id",
    "review": "what a person found: review:good, review:bad",
    "is": "is:starred is:archived is:reviewed is:unreviewed is:waiting is:worrying",
    "has": "has:errors has:tags",
    "after": "last active since then: after:2026-11-01, after:7d, after:yesterday",
    "before": "last active before then: before:2026-11, before:12h",
    "active": "last active: active:2026-11, active>=2026-11-01, active:2026-10..2026-11",
    "created": "the same for when it was begun: created:today, created<2026-11",
    "created-after": "begun since then",
    "created-before": "begun before then",
    "cost": "in US dollars: cost>0.5, cost:1..5",
    "tokens": "in and out: tokens>10k",
    "messages": "messages>=3",
    "branches": "branches>1",
    "conversations": "conversations>1",
    "failed": "threads that failed or were lost: failed>0",
    "score": "the mean of its scores: score<3",
}
KNOWN = tuple(KEYS)
COMPARED = ("cost", "tokens", "messages", "branches", "conversations", "failed", "score", "active", "created")
SHORTENED = {"length": "messages", "errors": "failed", "users": "user", "agents": "agent", "models": "model",
             "tags": "tag", "since": "after", "until": "before"}  # fmt: skip
