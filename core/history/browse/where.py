"""A filter as conditions on ``session_stat``, and on the threads and conversations of its sessions.

Invariant: the conditions let nothing through that the viewer may not read, and look at nobody's tags, scores and
reviews but those the viewer may see.
"""

import operator
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, exists, false, func, literal, not_, or_, select, type_coerce
from sqlmodel import Session as Db

from core.access.sign_in import fold_name
from core.access.viewer import Viewer
from core.database import table_of
from core.history.browse.filters import EXPENSIVE_USD, Limit, SessionFilter
from core.history.browse.titles import to_title_key
from core.history.search import matching_sessions
from core.tables import Annotation, LlmCall, SessionStat, Thread, User, canonical_json

Condition = ColumnElement[bool]
Compare = Callable[[Any, Any], Any]

STAT = table_of(SessionStat).c
FAILED = STAT.failed + STAT.lost
_note, _user, _thread, _call = table_of(Annotation).c, table_of(User).c, table_of(Thread).c, table_of(LlmCall).c
_ENDED_BADLY = ("failed", "lost")
_MEASURES: dict[str, ColumnElement[Any]] = {
    "cost": STAT.cost_usd,
    "tokens": STAT.tokens,
    "messages": STAT.messages,
    "branches": STAT.branches,
    "conversations": STAT.conversations,
    "failed": FAILED,
}
_COMPARE: dict[str, Compare] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}


def where_of(viewer: Viewer, db: Db, wanted: SessionFilter) -> list[Condition]:
    """What a session's counts must meet to be among those wanted, and readable."""
    found = [shelf_of(STAT.status, wanted), *_owners(viewer, db, wanted), *_times(wanted), *_counts(wanted)]
    if wanted.sessions:
        found.append(one_of(STAT.session_id, wanted.sessions))
    found += _chosen(partial(_used, db, STAT.agents), wanted.agents, wanted.not_agents)
    found += _chosen(partial(_used, db, STAT.models), wanted.models, wanted.not_models)
    found += _chosen(partial(_titled, db), wanted.titles, wanted.not_titles)
    found += _notes(viewer, wanted)
    if wanted.text.strip():
        users = user_ids_of(viewer, db, wanted.users) or ()
        texts = matching_sessions(viewer, db, wanted.text, user_ids=users)
        found.append(STAT.session_id.in_(texts))
    return found


def shelf_of(column: ColumnElement[Any], wanted: SessionFilter) -> Condition:
    """The session's own state is one that is wanted; archived ones must be asked for."""
    return one_of(column, wanted.shelves or ("active",))


def user_ids_of(viewer: Viewer, db: Db, users: Sequence[str]) -> list[str] | None:
    """The ids of people given by name or id; None when nobody is given."""
    if not users:
        return None
    names = [viewer.name if name == "me" else fold_name(name) for name in users]
    known = select(_user.user_id).where(or_(_user.name.in_(names), _user.user_id.in_(list(users))))
    return list(db.connection().execute(known).scalars())


def one_of(column: ColumnElement[Any], values: Sequence[Any]) -> Condition:
    if not values:
        return false()
    return column == values[0] if len(values) == 1 else column.in_(values)


def of_thread(wanted: SessionFilter) -> list[Condition]:
    """What a thread itself must meet, beside what its session must."""
    statuses = [status for status, asked in _asked_of_thread(wanted) if asked is True]
    barred = [*wanted.not_statuses, *(status for status, asked in _asked_of_thread(wanted) if asked is False)]
    found = [one_of(_thread.status, wanted.statuses)] if wanted.statuses else []
    found += [_thread.status.in_(statuses)] if statuses else []
    found += [_thread.status.not_in(barred)] if barred else []
    found += _chosen(lambda name: _named(_thread.agent_id, name), wanted.agents, wanted.not_agents)
    return found + _chosen(_uses_model, wanted.models, wanted.not_models)


def within(column: ColumnElement[Any], since: Any, until: Any) -> list[Condition]:
    """``since <= column < until``, each where it is given."""
    found = [column >= since] if since is not None else []
    return found if until is None else [*found, column < until]


def _asked_of_thread(wanted: SessionFilter) -> Iterable[tuple[str, bool | None]]:
    return [("waiting", wanted.waits), *((status, wanted.has_errors) for status in _ENDED_BADLY)]


def _uses_model(name: str) -> Condition:
    """The thread was begun with this model, or called it."""
    called = exists().where(_call.thread_id == _thread.thread_id, _named(_call.model, name))
    return or_(_named(_thread.config["model"].as_string(), name), called.correlate(_thread.agent_id.table))


def _named(column: ColumnElement[Any], name: str) -> Condition:
    return column.startswith(name[:-1], autoescape=True) if name.endswith("*") else column == name


def _owners(viewer: Viewer, db: Db, wanted: SessionFilter) -> list[Condition]:
    found = [] if viewer.reads_all else [STAT.user_id == viewer.user_id]
    if (users := user_ids_of(viewer, db, wanted.users)) is not None:
        found.append(one_of(STAT.user_id, users))
    if barred := user_ids_of(viewer, db, wanted.not_users):
        found.append(STAT.user_id.not_in(barred))
    return found


def _times(wanted: SessionFilter) -> list[Condition]:
    created = within(STAT.created_at, wanted.created_since, wanted.created_until)
    return [*within(STAT.last_active_at, wanted.since, wanted.until), *created]


def _counts(wanted: SessionFilter) -> list[Condition]:
    found = [or_(*[STAT[status] > 0 for status in wanted.statuses])] if wanted.statuses else []
    found += [STAT[status] == 0 for status in wanted.not_statuses]
    found += _either(FAILED > 0, wanted.has_errors) + _either(STAT.waiting > 0, wanted.waits)
    found += _either(or_(FAILED > 0, STAT.cost_usd >= EXPENSIVE_USD), wanted.worrying)
    counted = [limit for limit in wanted.limits if limit.measure != "score"]
    return found + [_compared(_MEASURES[limit.measure], limit) for limit in counted]


def _notes(viewer: Viewer, wanted: SessionFilter) -> list[Condition]:
    """What people put on sessions, as far as the viewer may see it."""
    tags = _seen(viewer, "tag")
    found = [] if not wanted.tags else [_among(tags.where(one_of(_note.content, wanted.tags)))]
    found += [not_(_among(tags.where(one_of(_note.content, wanted.not_tags))))] if wanted.not_tags else []
    found += _either(_among(tags), wanted.tagged)
    reviews = _seen(viewer, "review")
    if wanted.verdicts:
        # A verdict is the first line of what is kept, its comment the rest.
        said = [_note.content.startswith(f"{verdict}\n", autoescape=True) for verdict in wanted.verdicts]
        found.append(_among(reviews.where(or_(*said))))
    found += _either(_among(reviews), wanted.reviewed)
    starred = select(_note.target_id).where(_note.kind == "star", _note.user_id == viewer.user_id)
    found += _either(_among(starred), wanted.starred)
    scores = [limit for limit in wanted.limits if limit.measure == "score"]
    if scores:
        means = _seen(viewer, "score").group_by(_note.session_id)
        found.append(_among(means.having(*[_compared(func.avg(_note.score), limit) for limit in scores])))
    return found


def _seen(viewer: Viewer, kind: str) -> Select[Any]:
    """The sessions with such annotations that the viewer may see; of those kinds that not only authors see."""
    found = select(_note.session_id).where(_note.kind == literal(kind, literal_execute=True))
    found = found.where(_note.session_id.is_not(None))
    return found if viewer.reads_all else found.where(_note.user_id == viewer.user_id)


def _among(session_ids: Select[Any]) -> Condition:
    return STAT.session_id.in_(session_ids)


def _either(condition: Condition, asked: bool | None) -> list[Condition]:
    return [] if asked is None else [condition if asked else not_(condition)]


def _chosen(matches: Callable[[str], Condition], wanted: Sequence[str], barred: Sequence[str]) -> list[Condition]:
    found = [or_(*[matches(name) for name in wanted])] if wanted else []
    return found + [not_(matches(name)) for name in barred]


def _compared(column: ColumnElement[Any], limit: Limit) -> Condition:
    value = limit.value if limit.measure in {"cost", "score"} or not limit.value.is_integer() else int(limit.value)
    return _COMPARE[limit.operator](column, value)  # type: ignore[no-any-return]


def _used(db: Db, column: ColumnElement[Any], name: str) -> Condition:
    """Whether a name, or one that begins so, stands in a list that is kept as JSON text."""
    written = canonical_json(name.removesuffix("*"))
    return _holds(db, column, written[:-1] if name.endswith("*") else written)


def _titled(db: Db, part: str) -> Condition:
    return _holds(db, STAT.title_key, to_title_key(part))


def _holds(db: Db, column: ColumnElement[Any], part: str) -> Condition:
    """Whether a text has this part, letter by letter."""
    find = func.instr if db.get_bind().dialect.name == "sqlite" else func.strpos
    return find(type_coerce(column, Text), literal(part, Text)) > 0
