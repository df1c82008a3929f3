"""The deeds of people that Skein keeps a record of: each kind's name, and how a person reads it.

A name is ``<what it was done to>.<what was done>``. Invariant: ``core/access/activity.py`` records no other kinds,
and a name that was recorded once is never given another meaning: sealed rows carry it for ever.
"""

from collections.abc import Mapping
from typing import Any

DEEDS = {
    "account.create": "Made an account",
    "account.disable": "Disabled an account",
    "account.enable": "Enabled an account",
    "account.erase": "Erased an account and what was its own",
    "account.password": "Changed the own password",
    "account.role": "Changed an account's role",
    "activity.export": "Downloaded the record of activity",
    "annotation.set": "Put a star, note, tag, score or review on something, or took it off",
    "approval.decide": "Decided an approval",
    "artifact.download": "Downloaded an artifact",
    "artifact.write": "Wrote a version of an artifact by hand",
    "backup.make": "Made a backup",
    "backup.restore": "Brought back a backup",
    "branch.archive": "Archived a branch",
    "branch.create": "Made a branch",
    "branch.delete": "Deleted a branch",
    "branch.export": "Downloaded a branch",
    "branch.rename": "Renamed a branch",
    "branch.restore": "Brought back a deleted branch",
    "branch.unarchive": "Took a branch out of the archive",
    "call.export": "Downloaded calls",
    "call.read": "Looked at the texts of somebody else's call",
    "call.reprice": "Priced calls anew",
    "conversation.delete": "Deleted a conversation",
    "conversation.purge": "Took away a deleted conversation for good",
    "conversation.read": "Looked at somebody else's conversation",
    "conversation.rename": "Renamed a conversation",
    "conversation.restore": "Brought back a deleted conversation",
    "database.open": "Opened another program's database",
    "doctor.mend": "Mended what the two stores disagreed on",
    "log.export_head": "Downloaded the head of the log's chain",
    "log.verify": "Verified the log",
    "login.end": "Signed out",
    "login.end_all": "Signed out everywhere",
    "login.lock": "Had to wait to sign in, after wrong passwords",
    "login.start": "Signed in",
    "message.edit": "Edited a message",
    "message.fan_out": "Asked several variants of a message",
    "message.fork": "Forked a message from a checkpoint",
    "message.regenerate": "Had a message answered anew",
    "message.retry": "Retried a message",
    "message.send": "Sent a message",
    "price.add": "Entered a price",
    "price.end": "Ended a price",
    "retention.add": "Made a retention rule",
    "retention.change": "Changed a retention rule",
    "retention.delete": "Deleted a retention rule",
    "retention.run": "Ran a retention rule",
    "rule.add": "Made a rule about a tool",
    "rule.revoke": "Revoked a rule about a tool",
    "session.archive": "Archived a session",
    "session.create": "Made a session",
    "session.delete": "Deleted a session",
    "session.export": "Exported sessions",
    "session.forget_texts": "Had the texts of a session's calls forgotten",
    "session.purge": "Took away a deleted session for good",
    "session.read": "Looked at somebody else's session",
    "session.rename": "Renamed a session",
    "session.restore": "Brought back a deleted session",
    "session.unarchive": "Took a session out of the archive",
    "snapshot.create": "Made a snapshot",
    "snapshot.delete": "Deleted a snapshot",
    "template.delete": "Deleted a template",
    "template.save": "Saved a template",
    "thread.read": "Looked into somebody else's thread",
    "thread.stop": "Stopped a run",
    "view.delete": "Deleted a saved view",
    "view.save": "Saved a view",
}


def sentence_of(kind: str, detail: Mapping[str, Any] | None = None) -> str:
    """How a person reads a deed, with what ``detail`` tells of it; an unknown one reads as it was written."""
    if kind == "annotation.set" and detail and detail.get("kind"):
        return f"{'Took off' if detail.get('removed') else 'Put on'} a {detail['kind']}"
    return DEEDS.get(kind, kind)
