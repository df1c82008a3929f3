"""Identifiers: ``<kind>_<unix milliseconds, 13 digits>_<12 characters of Crockford base32>``.

An id says what it names, sorts by the time it was made, and is made, parsed and checked only here.
Invariant: inside one process every new id is greater, by bytes, than every id made before it.
"""

import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NewType

from core.errors import BadInputError

UserId = NewType("UserId", str)
LoginId = NewType("LoginId", str)
SessionId = NewType("SessionId", str)
ConversationId = NewType("ConversationId", str)
MessageId = NewType("MessageId", str)
ThreadId = NewType("ThreadId", str)
CallId = NewType("CallId", str)
SealId = NewType("SealId", str)
PriceId = NewType("PriceId", str)
CorrectionId = NewType("CorrectionId", str)
ViewId = NewType("ViewId", str)
ActivityId = NewType("ActivityId", str)
BranchId = NewType("BranchId", str)
SnapshotId = NewType("SnapshotId", str)
AnnotationId = NewType("AnnotationId", str)
ApprovalId = NewType("ApprovalId", str)
RuleId = NewType("RuleId", str)
ArtifactId = NewType("ArtifactId", str)
TemplateId = NewType("TemplateId", str)
RetentionId = NewType("RetentionId", str)
ExportId = NewType("ExportId", str)

KINDS = {
    "user": "user",
    "login": "sign-in",
    "session": "session",
    "conv": "conversation",
    "msg": "message",
    "thread": "thread",
    "call": "call",
    "seal": "seal",
    "price": "price",
    "fix": "correction",
    "view": "saved view",
    "act": "activity",
    "branch": "branch",
    "snap": "snapshot",
    "note": "annotation",
    "appr": "approval",
    "rule": "rule",
    "art": "artifact",
    "tmpl": "template",
    "keep": "retention rule",
    "export": "export",
}

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 60
_PATTERN = re.compile(rf"([a-z]+)_(\d{{13}})_([{_ALPHABET}]{{12}})", re.ASCII)
_LONGEST = 40


@dataclass(frozen=True)
class ParsedId:
    """The parts of an id: what it names, and when it was made (UTC)."""

    kind: str
    made_at: datetime


class _Random:
    """Random numbers from the system, fetched many at once: each fetch costs more than all else about an id."""

    def __init__(self) -> None:
        self._forget()
        # A child process that went on with the same numbers would make the same ids.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._bytes, self._place = b"", 0

    def bits(self, count: int) -> int:
        size = (count + 7) // 8
        if self._place + size > len(self._bytes):
            self._bytes, self._place = secrets.token_bytes(4096), 0
        part = self._bytes[self._place : self._place + size]
        self._place += size
        return int.from_bytes(part, "big") >> (size * 8 - count)


class _Sequence:
    """Hands out ``(milliseconds, random)`` pairs that only ever grow, also when the clock steps back."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._random = _Random()
        self._last = (0, 0)

    def next(self) -> tuple[int, int]:
        with self._lock:
            now = int(self._clock() * 1000)
            ms, number = self._last
            if now > ms:
                # The top bit stays free, so that a burst inside one millisecond has room to count up.
                ms, number = now, self._random.bits(_RANDOM_BITS - 1)
            else:
                number += 1 + self._random.bits(16)
                if number >> _RANDOM_BITS:
                    ms, number = ms + 1, self._random.bits(_RANDOM_BITS - 1)
            self._last = (ms, number)
            return self._last

    def pass_by(self, ms: int) -> None:
        """Let nothing from here on be at or before this millisecond."""
        with self._lock:
            if self._last[0] <= ms:
                self._last = (ms + 1, self._random.bits(_RANDOM_BITS - 1))


_sequence = _Sequence()


def _encode(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(_RANDOM_BITS - 5, -1, -5))


def _new(kind: str) -> str:
    ms, number = _sequence.next()
    return f"{kind}_{ms:013d}_{_encode(number)}"


def new_user_id() -> UserId:
    return UserId(_new("user"))


def new_login_id() -> LoginId:
    return LoginId(_new("login"))


def new_session_id() -> SessionId:
    return SessionId(_new("session"))


def new_conversation_id() -> ConversationId:
    return ConversationId(_new("conv"))


def new_message_id() -> MessageId:
    return MessageId(_new("msg"))


def new_thread_id() -> ThreadId:
    return ThreadId(_new("thread"))


def new_call_id() -> CallId:
    return CallId(_new("call"))


def new_seal_id(after: str | None = None) -> SealId:
    """The id of the next seal of a chain: greater than the one before, also when that came from another clock."""
    if after is not None:
        _sequence.pass_by(int(after.split("_")[1]))
    return SealId(_new("seal"))


def new_price_id() -> PriceId:
    return PriceId(_new("price"))


def new_correction_id() -> CorrectionId:
    return CorrectionId(_new("fix"))


def new_view_id() -> ViewId:
    return ViewId(_new("view"))


def new_branch_id() -> BranchId:
    return BranchId(_new("branch"))


def new_snapshot_id() -> SnapshotId:
    return SnapshotId(_new("snap"))


def new_annotation_id() -> AnnotationId:
    return AnnotationId(_new("note"))


def new_approval_id() -> ApprovalId:
    return ApprovalId(_new("appr"))


def new_rule_id() -> RuleId:
    return RuleId(_new("rule"))


def new_artifact_id() -> ArtifactId:
    return ArtifactId(_new("art"))


def new_template_id() -> TemplateId:
    return TemplateId(_new("tmpl"))


def new_retention_id() -> RetentionId:
    return RetentionId(_new("keep"))


def new_export_id() -> ExportId:
    return ExportId(_new("export"))


def new_activity_id() -> ActivityId:
    return ActivityId(_new("act"))


def parse_id(text: str) -> ParsedId:
    """Take an id apart; BadInputError says what is wrong with one that is not well formed."""
    match = _PATTERN.fullmatch(text)
    if match is None or match[1] not in KINDS:
        raise BadInputError(f"{_shown(text)} is not an id of Skein; copy the whole id and try again.")
    return ParsedId(match[1], datetime.fromtimestamp(int(match[2]) / 1000, UTC))


def _expect(kind: str, text: str) -> str:
    found = parse_id(text).kind
    if found != kind:
        raise BadInputError(f"{_shown(text)} names a {KINDS[found]}, but a {KINDS[kind]} is needed here.")
    return text


def to_user_id(text: str) -> UserId:
    return UserId(_expect("user", text))


def to_conversation_id(text: str) -> ConversationId:
    return ConversationId(_expect("conv", text))


def to_session_id(text: str) -> SessionId:
    return SessionId(_expect("session", text))


def to_message_id(text: str) -> MessageId:
    return MessageId(_expect("msg", text))


def to_thread_id(text: str) -> ThreadId:
    return ThreadId(_expect("thread", text))


def to_call_id(text: str) -> CallId:
    return CallId(_expect("call", text))


def to_branch_id(text: str) -> BranchId:
    return BranchId(_expect("branch", text))


def to_snapshot_id(text: str) -> SnapshotId:
    return SnapshotId(_expect("snap", text))


def to_approval_id(text: str) -> ApprovalId:
    return ApprovalId(_expect("appr", text))


def to_artifact_id(text: str) -> ArtifactId:
    return ArtifactId(_expect("art", text))


def to_view_id(text: str) -> ViewId:
    return ViewId(_expect("view", text))


def _shown(text: str) -> str:
    return repr(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def to_template_id(text: str) -> TemplateId:
    return TemplateId(_expect("tmpl", text))


def to_retention_id(text: str) -> RetentionId:
    return RetentionId(_expect("keep", text))


def to_export_id(text: str) -> ExportId:
    return ExportId(_expect("export", text))
