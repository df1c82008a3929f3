"""Passwords: hashed with argon2id, and only here.

Invariant: checking a password takes the same work whether or not there is an account, and only a few
checks run at a time, because each one takes 64 MiB of memory on purpose.
"""

import os
import secrets
import threading
import unicodedata
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from core.errors import BadInputError

SHORTEST, LONGEST = 8, 1000

# Each takes four threads of its own: half of the processors are left to all else.
AT_ONCE = max(1, min(4, (os.cpu_count() or 1) // 2))
_hasher = PasswordHasher()
_at_once = threading.BoundedSemaphore(AT_ONCE)


def require_usable(password: str) -> None:
    """BadInputError when a new password is too short or too long."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadInputError(f"Please choose a password of {SHORTEST} to {LONGEST} characters.")


def hash_password(password: str) -> str:
    """Hash a new password; BadInputError when it is too short or too long."""
    require_usable(password)
    with _at_once:
        return _hasher.hash(_to_bytes(password))


def is_right(password: str, *, password_hash: str | None) -> bool:
    """Whether the password fits the hash; without one (no such account) the same work, and False."""
    with _at_once:
        try:
            _hasher.verify(password_hash or _decoy(), _to_bytes(password[: LONGEST + 1]))
        except (VerificationError, InvalidHashError):
            return False
    return password_hash is not None


def is_outdated(password_hash: str) -> bool:
    """Whether the hash was made with weaker parameters than today's."""
    return _hasher.check_needs_rehash(password_hash)


@cache
def _decoy() -> str:
    return _hasher.hash(secrets.token_bytes(32))


def _to_bytes(password: str) -> bytes:
    # The same word typed on two keyboards may come as different code points.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
