"""Sign-in: a name and a password become a login, and a login id becomes a Viewer again on every rerun.

Invariant: an attempt is counted as failed *before* its password is checked, and taken back when it was
right, so neither many attempts at once nor a restart gets round the waiting time.
"""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Update, bindparam, delete, update
from sqlmodel import Session, col, select

from core.access import passwords
from core.access.activity import record
from core.access.viewer import Viewer
from core.database import Database
from core.errors import BusyError, SignInError
from core.ids import LoginId, UserId, new_login_id
from core.prepared import Prepared
from core.tables import Login, SignInFailure, User, utc_now

FREE_FAILURES = 5
LONGEST_WAIT = 60.0
LONGEST_NAME = 64

_FORGOTTEN_AFTER = timedelta(days=1)
_LONGEST_BROWSER = 300
_MOST_AT_ONCE = 500


@dataclass(frozen=True)
class SignedIn:
    """One sign-in that is still good: where and when it was made."""

    login_id: LoginId
    address: str
    browser: str
    created_at: datetime
    is_current: bool


def fold_name(text: str) -> str:
    """The one form of an account name: whatever case, width or spacing it was typed in."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def sign_in(database: Database, *, name: str, password: str, address: str, browser: str, days: float) -> Viewer:
    """Make a login that lasts for so many days; SignInError when name or password is wrong.

    BusyError says how long to wait after too many failures of this name from this address.
    """
    name = fold_name(name)[: LONGEST_NAME + 1]
    password_hash = count_attempt(database, name=name, address=address)
    if not passwords.is_right(password, password_hash=password_hash):
        _tell_of_lock(database, name=name, address=address)
        raise SignInError("Name or password is wrong; please check both and try again.")
    newer = passwords.hash_password(password) if passwords.is_outdated(password_hash or "") else password_hash

    def job(session: Session) -> Viewer:
        user = session.exec(select(User).where(User.name == name).with_for_update()).one()
        if user.disabled_at is not None:
            raise SignInError("This account is disabled; please ask an admin to enable it.")
        if user.password_hash != password_hash:
            raise SignInError("The password was changed a moment ago; please use the new one.")
        user.password_hash = newer or ""
        forgive(session, name=name, address=address)
        return _open_login(session, user, address=address, browser=browser, days=days)

    return database.write(job)


def find_viewer(database: Database, login_id: str) -> Viewer | None:
    """Who this login is, as of now; None once it was ended, has expired, or the account was disabled."""
    row = database.find(_GOOD_LOGIN, {"key": login_id, "now": utc_now()})
    return None if row is None else Viewer(UserId(row[0]), row[1], row[2], LoginId(login_id))


def find_viewers(database: Database, login_ids: Sequence[LoginId]) -> dict[LoginId, Viewer]:
    """Who these logins are, as of now; without those that have ended, expired, or lost their account."""
    found: dict[LoginId, Viewer] = {}
    query = (
        select(Login.login_id, User.user_id, User.name, User.role)
        .join(User, col(User.user_id) == Login.user_id)
        .where(col(Login.ended_at).is_(None), Login.expires_at > utc_now(), col(User.disabled_at).is_(None))
    )
    with database.read() as session:
        for start in range(0, len(login_ids), _MOST_AT_ONCE):
            some = login_ids[start : start + _MOST_AT_ONCE]
            for login_id, user_id, name, role in session.exec(query.where(col(Login.login_id).in_(some))):
                found[LoginId(login_id)] = Viewer(UserId(user_id), name, role, LoginId(login_id))
    return found


def find_again(database: Database, viewer: Viewer) -> Viewer | None:
    """The viewer with the rights of now; None once the login has ended or the account was disabled.

    One without a login comes from a script: it is whoever it says, unless the account of that id is disabled.
    """
    if viewer.login_id is not None:
        return find_viewer(database, viewer.login_id)
    with database.read() as session:
        user = session.get(User, viewer.user_id)
    if user is None:
        return viewer
    return replace(viewer, role=user.role) if user.disabled_at is None else None


def sign_out(viewer: Viewer, database: Database) -> None:
    """End the login the viewer came by."""

    def job(session: Session) -> None:
        ended = session.connection().execute(_ending(viewer.user_id).where(col(Login.login_id) == viewer.login_id))
        if ended.rowcount:
            record(session, viewer, "login.end", target_id=viewer.login_id)

    database.write(job)


def sign_out_everywhere(viewer: Viewer, database: Database) -> None:
    """End all the viewer's logins, in every browser."""

    def job(session: Session) -> None:
        end_logins(session, user_id=viewer.user_id)
        record(session, viewer, "login.end_all", target_id=viewer.user_id)

    database.write(job)


def list_logins(viewer: Viewer, database: Database) -> list[SignedIn]:
    """The viewer's logins that are still good, newest first."""
    query = (
        select(Login)
        .where(Login.user_id == viewer.user_id, col(Login.ended_at).is_(None), Login.expires_at > utc_now())
        .order_by(col(Login.created_at).desc(), col(Login.login_id).desc())
    )
    with database.read() as session:
        return [_to_signed_in(login, viewer) for login in session.exec(query)]


def count_attempt(database: Database, *, name: str, address: str) -> str | None:
    """Count one more attempt and return the account's password hash; BusyError while it has to wait."""

    def job(session: Session) -> str | None:
        key = (SignInFailure.name == name, SignInFailure.address == address)
        row = session.exec(select(SignInFailure).where(*key).with_for_update()).first()
        now = utc_now()
        if row is None:
            _forget_old(session, now)
            row = SignInFailure(name=name, address=address, last_at=now)
        _require_waited(row, now)
        row.failures, row.last_at = row.failures + 1, now
        session.add(row)
        return session.exec(select(User.password_hash).where(User.name == name)).first()

    return database.write(job)


def forgive(session: Session, *, name: str, address: str) -> None:
    """Forget the failures of this name from this address: the last attempt was right."""
    session.execute(
        delete(SignInFailure).where(col(SignInFailure.name) == name, col(SignInFailure.address) == address)
    )


def end_logins(session: Session, *, user_id: str, but: str | None = None) -> None:
    """End all logins of one person, but perhaps the one they are using."""
    ended = _ending(user_id)
    session.execute(ended if but is None else ended.where(col(Login.login_id) != but))


def seconds_to_wait(failures: int) -> float:
    """How long after the last of so many failures in a row to wait: 0, then 1, 2, 4 ... 60."""
    if failures < FREE_FAILURES:
        return 0.0
    return min(2.0 ** min(failures - FREE_FAILURES, 10), LONGEST_WAIT)


def _tell_of_lock(database: Database, *, name: str, address: str) -> None:
    """Record with the account that somebody has to wait now; who knows what they typed where there is none."""

    def job(session: Session) -> None:
        user = session.exec(select(User).where(User.name == name)).first()
        row = session.get(SignInFailure, (name, address))
        if user is not None and row is not None and seconds_to_wait(row.failures) > 0:
            viewer = Viewer(UserId(user.user_id), user.name, user.role)
            record(session, viewer, "login.lock", target_id=user.user_id, detail={"failures": row.failures})

    database.write(job)


def _require_waited(row: SignInFailure, now: datetime) -> None:
    # A clock that was set back must not make anybody wait longer than the rule says.
    passed = max((now - row.last_at).total_seconds(), 0.0)
    left = seconds_to_wait(row.failures) - passed
    if left > 0:
        raise BusyError(f"Too many attempts failed; please try again in {math.ceil(left)} s.")


def _forget_old(session: Session, now: datetime) -> None:
    session.execute(delete(SignInFailure).where(col(SignInFailure.last_at) < now - _FORGOTTEN_AFTER))


def _open_login(session: Session, user: User, *, address: str, browser: str, days: float) -> Viewer:
    login = Login(
        login_id=new_login_id(),
        user_id=user.user_id,
        address=address,
        browser=browser[:_LONGEST_BROWSER],
        expires_at=utc_now() + timedelta(days=days),
    )
    session.add(login)
    viewer = Viewer(UserId(user.user_id), user.name, user.role, LoginId(login.login_id))
    record(session, viewer, "login.start", target_id=login.login_id)
    return viewer


def _ending(user_id: str) -> Update:
    return (
        update(Login).where(col(Login.user_id) == user_id, col(Login.ended_at).is_(None)).values(ended_at=utc_now())
    )


def _to_signed_in(login: Login, viewer: Viewer) -> SignedIn:
    return SignedIn(
        LoginId(login.login_id),
        login.address,
        login.browser,
        login.created_at,
        login.login_id == viewer.login_id,
    )


# It is asked for every rerun of every tab.
_GOOD_LOGIN = Prepared(
    select(User.user_id, User.name, User.role)
    .join(Login, col(Login.user_id) == User.user_id)
    .where(
        Login.login_id == bindparam("key"),
        col(Login.ended_at).is_(None),
        Login.expires_at > bindparam("now"),
        col(User.disabled_at).is_(None),
    )
)
