"""Accounts: the first admin, and what admins then do for everybody else.

Invariant: there is always an enabled admin. Nobody can disable or demote themselves, and whoever acts is
checked again inside the transaction, so two admins cannot remove each other at the same moment.
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from core.access import passwords, sign_in
from core.access.activity import record
from core.access.viewer import Viewer
from core.database import Database
from core.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError, SignInError
from core.ids import UserId, new_user_id
from core.tables import ROLES, Login, SignInFailure, User, utc_now

_ERASED = "erased-"


@dataclass(frozen=True)
class Account:
    """An account as admins see it; ``disabled_at`` is None while it may sign in."""

    user_id: UserId
    name: str
    role: str
    created_at: datetime
    disabled_at: datetime | None


def has_accounts(database: Database) -> bool:
    """Whether there is any account yet."""
    with database.read() as session:
        return _any_account(session)


def create_first_admin(database: Database, *, name: str, password: str) -> Viewer:
    """Make the first account, an admin; ConflictError when there is an account already."""
    user = _new_user(name=name, password=password, role="admin")

    def job(session: Session) -> Viewer:
        if not database.is_sqlite:
            # Two processes may be asked at the same moment; SQLite's one writer needs no lock.
            session.execute(text('LOCK TABLE "user" IN SHARE ROW EXCLUSIVE MODE'))
        if _any_account(session):
            raise ConflictError("The first account was made already; please sign in with it.")
        session.add(User(**user))
        viewer = Viewer(UserId(user["user_id"]), user["name"], "admin")
        record(session, viewer, "account.create", target_id=viewer.user_id, detail={"role": "admin"})
        return viewer

    return database.write(job)


def create_account(viewer: Viewer, database: Database, *, name: str, password: str, role: str) -> Account:
    """Make an account (admins only); ConflictError when the name is taken."""
    viewer.require_admin()
    _require_role(role)
    user = _new_user(name=name, password=password, role=role)

    def job(session: Session) -> Account:
        _lock_admin(session, viewer)
        row = User(**user)
        session.add(row)
        try:
            session.flush()
        except IntegrityError:
            raise ConflictError(
                f"There is an account named {row.name} already; please choose another name."
            ) from None
        record(session, viewer, "account.create", target_id=row.user_id, detail={"role": role})
        return _to_account(row)

    return database.write(job)


def list_accounts(viewer: Viewer, database: Database) -> list[Account]:
    """All accounts by name (admins only)."""
    viewer.require_admin()
    with database.read() as session:
        return [_to_account(user) for user in session.exec(select(User).order_by(col(User.name)))]


def find_name(db: Session, user_id: str) -> str:
    """What a person is called, who may be read of by whoever asks; "" when there is no such account."""
    return db.exec(select(User.name).where(User.user_id == user_id)).first() or ""


def set_disabled(viewer: Viewer, database: Database, *, user_id: str, disabled: bool) -> Account:
    """Disable an account, which ends its logins, or enable it again (admins only, not oneself)."""
    _require_other(viewer, user_id, "disable your own account")

    def job(session: Session) -> Account:
        user = _lock_admin(session, viewer, user_id)
        if disabled:
            user.disabled_at = user.disabled_at or utc_now()
            sign_in.end_logins(session, user_id=user_id)
        else:
            user.disabled_at = None
        record(session, viewer, "account.disable" if disabled else "account.enable", target_id=user_id)
        return _to_account(user)

    return database.write(job)


def erase_account(viewer: Viewer, database: Database, *, user_id: str) -> Account:
    """Take name, password and sign-ins from an account, for ever (admins only, not oneself); twice changes nothing.

    The row stays, disabled, for what goes on to name it.
    """
    _require_other(viewer, user_id, "erase your own account")

    def job(session: Session) -> Account:
        user = _lock_admin(session, viewer, user_id)
        if not is_erased(user.name):
            record(session, viewer, "account.erase", target_id=user_id)
        session.execute(delete(SignInFailure).where(col(SignInFailure.name) == user.name))
        session.execute(delete(Login).where(col(Login.user_id) == user_id))
        user.name, user.password_hash, user.role = f"{_ERASED}{user_id[-12:].lower()}", "", "member"
        user.disabled_at = user.disabled_at or utc_now()
        return _to_account(user)

    return database.write(job)


def is_erased(name: str) -> bool:
    """Whether an account of this name was erased."""
    return name.startswith(_ERASED)


def set_role(viewer: Viewer, database: Database, *, user_id: str, role: str) -> Account:
    """Give an account another role, from its next rerun on (admins only, not oneself)."""
    _require_other(viewer, user_id, "change your own role")
    _require_role(role)

    def job(session: Session) -> Account:
        user = _lock_admin(session, viewer, user_id)
        detail = {"before": user.role, "role": role}
        user.role = role
        record(session, viewer, "account.role", target_id=user_id, detail=detail)
        return _to_account(user)

    return database.write(job)


def change_password(viewer: Viewer, database: Database, *, old: str, new: str) -> None:
    """Replace the viewer's password and end their other logins; wrong guesses wait as at sign-in."""
    passwords.require_usable(new)
    address = _address_of(viewer, database)
    known = sign_in.count_attempt(database, name=viewer.name, address=address)
    if not passwords.is_right(old, password_hash=known):
        raise BadInputError("The current password is wrong; please type it again.")
    new_hash = passwords.hash_password(new)

    def job(session: Session) -> None:
        user = session.exec(select(User).where(User.user_id == viewer.user_id).with_for_update()).one()
        if user.disabled_at is not None:
            raise SignInError("This account was disabled; please ask an admin.")
        if user.password_hash != known:
            raise ConflictError("The password was changed elsewhere a moment ago; please try again.")
        user.password_hash = new_hash
        sign_in.forgive(session, name=viewer.name, address=address)
        sign_in.end_logins(session, user_id=viewer.user_id, but=viewer.login_id)
        record(session, viewer, "account.password", target_id=viewer.user_id)

    database.write(job)


def _any_account(session: Session) -> bool:
    return session.exec(select(User.user_id).limit(1)).first() is not None


def _new_user(*, name: str, password: str, role: str) -> dict[str, Any]:
    """The columns of a new account; hashing happens here, outside of any transaction."""
    name = _checked_name(name)
    return {
        "user_id": new_user_id(),
        "name": name,
        "password_hash": passwords.hash_password(password),
        "role": role,
    }


def _checked_name(typed: str) -> str:
    name = sign_in.fold_name(typed)
    if not 1 <= len(name) <= sign_in.LONGEST_NAME:
        raise BadInputError(f"Please choose a name of 1 to {sign_in.LONGEST_NAME} characters.")
    if any(unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn"} for character in name):
        raise BadInputError("Please choose a name without invisible characters.")
    return name


def _require_role(role: str) -> None:
    if role not in ROLES:
        raise BadInputError(f"There is no such role; please choose one of {', '.join(ROLES)}.")


def _require_other(viewer: Viewer, user_id: str, deed: str) -> None:
    viewer.require_admin()
    if user_id == viewer.user_id:
        raise BadInputError(f"You cannot {deed}; please ask another admin.")


def _lock_admin(session: Session, viewer: Viewer, target_id: str | None = None) -> User:
    """Hold the rows of who acts and on whom, always in the same order; returns the target's."""
    wanted = {viewer.user_id, target_id or viewer.user_id}
    query = select(User).where(col(User.user_id).in_(wanted)).order_by(col(User.user_id)).with_for_update()
    found = {user.user_id: user for user in session.exec(query)}
    actor, target = found.get(viewer.user_id), found.get(target_id or viewer.user_id)
    if actor is None or actor.disabled_at is not None or actor.role != "admin":
        raise ForbiddenError("You are no longer an admin; please ask one.")
    if target is None:
        raise NotFoundError("There is no such account; please reload the list.")
    return target


def _address_of(viewer: Viewer, database: Database) -> str:
    with database.read() as session:
        login = session.get(Login, viewer.login_id) if viewer.login_id else None
        return login.address if login else ""


def _to_account(user: User) -> Account:
    return Account(UserId(user.user_id), user.name, user.role, user.created_at, user.disabled_at)
