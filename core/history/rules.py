"""Rules about tools: allow, ask or deny, for a session, a person, or everyone.

Invariant: of the rules that apply to a tool call, deny wins over ask, and ask over allow; a revoked rule stays as a
record of what it was.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import bindparam, func, insert, or_, select, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.history.activity import record
from core.history.sessions import is_there
from core.ids import RuleId, SessionId, UserId, new_rule_id
from core.tables import Approval, Session, ToolRule, User, clean_text, utc_now

Effect = Literal["allow", "ask", "deny"]
Scope = Literal["session", "user", "everyone"]
ANY = "*"
LONGEST_NAME = 200
LONGEST_WAIT_HOURS = 24 * 365
_STRENGTH: dict[str, int] = {"allow": 1, "ask": 2, "deny": 3}
_rule, _user, _approval, _session = (table_of(table) for table in (ToolRule, User, Approval, Session))


@dataclass(frozen=True)
class Rule:
    """What a run has to know of a rule; ``tool`` and ``agent_id`` "*" stand for any."""

    rule_id: RuleId
    effect: Effect
    tool: str
    agent_id: str
    expires_after_hours: int | None


@dataclass(frozen=True)
class RuleRow:
    """A rule with who made it, and how often it decided something (``uses``)."""

    rule_id: RuleId
    effect: Effect
    tool: str
    agent_id: str
    scope: Scope
    session_id: SessionId | None
    user_id: UserId | None
    expires_after_hours: int | None
    created_by: UserId
    created_by_name: str
    created_at: datetime
    revoked_by: UserId | None
    revoked_at: datetime | None
    uses: int
    last_used_at: datetime | None


def add_rule(
    viewer: Viewer,
    db: Db,
    *,
    effect: str,
    tool: str,
    agent_id: str = ANY,
    scope: str = "user",
    session_id: SessionId | None = None,
    expires_after_hours: int | None = None,
) -> RuleId:
    """Make a rule for one of the viewer's sessions, for all that they do, or, as an admin, for everyone.

    ``expires_after_hours`` is how long somebody is waited for where an ``ask`` rule applies. The same rule made
    twice is one.
    """
    _check(effect, scope, expires_after_hours)
    if scope == "everyone":
        viewer.require_admin()
    row = {
        "effect": effect,
        "tool": _name(tool, "tool"),
        "agent_id": _name(agent_id, "agent"),
        "scope": scope,
        "session_id": _own_session(viewer, db, session_id) if scope == "session" else None,
        "user_id": viewer.user_id if scope == "user" else None,
        "expires_after_hours": expires_after_hours,
    }
    same = db.connection().execute(
        select(_rule.c.rule_id).where(
            _rule.c.revoked_at.is_(None),
            *(_rule.c[name].is_not_distinct_from(value) for name, value in row.items()),
        )
    )
    if (known := same.scalar()) is not None:
        return RuleId(known)
    rule_id = new_rule_id()
    db.connection().execute(
        insert(_rule), {**row, "rule_id": rule_id, "created_by": viewer.user_id, "created_at": utc_now()}
    )
    told = {"effect": effect, "scope": scope}
    record(db, viewer, "rule.add", target_id=rule_id, session_id=session_id, detail=told)
    return rule_id


def revoke_rule(viewer: Viewer, db: Db, rule_id: RuleId) -> None:
    """Let a rule apply no longer; to revoke it twice changes nothing."""
    row = db.connection().execute(_BY_ID, {"key": rule_id}).first()
    if row is None or not (viewer.reads_all or _concerns(viewer, row)):
        raise NotFoundError("There is no such rule here; the link may be wrong.")
    if not viewer.is_admin and row.created_by != viewer.user_id:
        raise ForbiddenError("Only an admin can revoke this rule; please ask one.")
    if row.revoked_at is None:
        change = {"revoked_at": utc_now(), "revoked_by": viewer.user_id}
        db.connection().execute(update(_rule).where(_rule.c.rule_id == rule_id).values(change))
        record(db, viewer, "rule.revoke", target_id=rule_id, session_id=row.session_id)


def list_rules(viewer: Viewer, db: Db, *, revoked: bool = False) -> list[RuleRow]:
    """The rules that concern the viewer, newest first; ``revoked`` ones only when asked for."""
    query = _LISTED if revoked else _LISTED.where(_rule.c.revoked_at.is_(None))
    if not viewer.reads_all:
        own = select(_session.c.session_id).where(_session.c.user_id == viewer.user_id)
        query = query.where(
            or_(
                _rule.c.scope == "everyone",
                _rule.c.user_id == viewer.user_id,
                _rule.c.session_id.in_(own),
            )
        )
    return [RuleRow(**row._mapping) for row in db.connection().execute(query)]


def find_rules(db: Db, *, user_id: UserId, session_id: SessionId, agent_id: str) -> list[Rule]:
    """The rules in force for a run of this agent, by this person, in this session."""
    given = {"who": user_id, "where": session_id, "agent": agent_id}
    return [Rule(*row) for row in db.connection().execute(_IN_FORCE, given)]


def strongest(rules: Sequence[Rule], tool: str) -> Rule | None:
    """The rule that decides about a tool: deny wins, then ask, then allow; None where there is none."""
    found = [rule for rule in rules if rule.tool in {ANY, unicodedata.normalize("NFC", tool)}]
    return max(found, key=lambda rule: _STRENGTH[rule.effect], default=None)


def _check(effect: str, scope: str, hours: int | None) -> None:
    if effect not in get_args(Effect):
        raise BadInputError(f"A rule's effect is allow, ask or deny, not {effect[:40]!r}; choose one of them.")
    if scope not in get_args(Scope):
        raise BadInputError(f"A rule is for a session, a user or everyone, not {scope[:40]!r}; choose one of them.")
    if hours is not None and not 0 < hours <= LONGEST_WAIT_HOURS:
        raise BadInputError(f"The time to wait is between 1 and {LONGEST_WAIT_HOURS:,} hours; please change it.")


def _name(text: str, what: str) -> str:
    name = unicodedata.normalize("NFC", clean_text(text)).strip()
    if not name or len(name) > LONGEST_NAME:
        raise BadInputError(f'The {what} of a rule needs a name of 1 to {LONGEST_NAME} characters, or "*" for any.')
    return name


def _own_session(viewer: Viewer, db: Db, session_id: SessionId | None) -> SessionId:
    found = select(_session.c.user_id).where(_session.c.session_id == session_id, _session.c.status != "deleted")
    owner = db.connection().execute(found.with_for_update(read=True)).scalar()
    if session_id is None or owner is None or not viewer.may_read(owner):
        raise NotFoundError("There is no such session here; the link may be wrong.")
    if not (viewer.may_change(owner) or viewer.is_admin):
        raise ForbiddenError("This session is somebody else's; only they or an admin can make rules for it.")
    return session_id


def _concerns(viewer: Viewer, row: Any) -> bool:
    return row.scope == "everyone" or viewer.user_id in {row.user_id, row.owner_id}


_BY_ID = (
    select(_rule, _session.c.user_id.label("owner_id"))
    .outerjoin(_session, _session.c.session_id == _rule.c.session_id)
    .where(_rule.c.rule_id == bindparam("key"), is_there(_rule.c.session_id))
)
_uses = (
    select(
        _approval.c.rule_id,
        func.count().label("uses"),
        func.max(_approval.c.decided_at).label("last_used_at"),
    )
    .where(_approval.c.rule_id.is_not(None))
    .group_by(_approval.c.rule_id)
    .subquery()
)
_LISTED = (
    select(
        _rule.c.rule_id,
        _rule.c.effect,
        _rule.c.tool,
        _rule.c.agent_id,
        _rule.c.scope,
        _rule.c.session_id,
        _rule.c.user_id,
        _rule.c.expires_after_hours,
        _rule.c.created_by,
        _user.c.name.label("created_by_name"),
        _rule.c.created_at,
        _rule.c.revoked_by,
        _rule.c.revoked_at,
        func.coalesce(_uses.c.uses, 0).label("uses"),
        _uses.c.last_used_at,
    )
    .join(_user, _user.c.user_id == _rule.c.created_by)
    .outerjoin(_uses, _uses.c.rule_id == _rule.c.rule_id)
    .where(is_there(_rule.c.session_id))
    .order_by(_rule.c.created_at.desc(), _rule.c.rule_id.desc())
)
_IN_FORCE = select(
    _rule.c.rule_id, _rule.c.effect, _rule.c.tool, _rule.c.agent_id, _rule.c.expires_after_hours
).where(
    _rule.c.revoked_at.is_(None),
    _rule.c.agent_id.in_((ANY, bindparam("agent"))),
    or_(
        _rule.c.scope == "everyone",
        _rule.c.user_id == bindparam("who"),
        _rule.c.session_id == bindparam("where"),
    ),
)
