"""The Viewer: a signed-in person as the rest of core sees them.

Invariant: every read and write of another room takes a Viewer first, and asks it, and only it, what is allowed.
"""

from dataclasses import dataclass

from core.errors import ForbiddenError
from core.ids import LoginId, UserId


@dataclass(frozen=True)
class Viewer:
    """A person with a role; ``login_id`` is the sign-in they came by (None from a script or a test)."""

    user_id: UserId
    name: str
    role: str = "member"
    login_id: LoginId | None = None

    @property
    def reads_all(self) -> bool:
        """Analysts and admins read everybody's rows."""
        return self.role in {"analyst", "admin"}

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"

    def may_read(self, owner_id: str) -> bool:
        return self.reads_all or owner_id == self.user_id

    def may_change(self, owner_id: str) -> bool:
        return owner_id == self.user_id

    def require_admin(self) -> None:
        """ForbiddenError for everybody but admins."""
        if not self.is_admin:
            raise ForbiddenError("Only an admin can do this; please ask one.")
