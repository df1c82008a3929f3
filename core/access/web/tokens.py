"""What the door signs: the cookie's login id and the one-time set-up link.

Invariant: each has its own salt, so neither can stand in for the other.
"""

from itsdangerous import BadData, URLSafeSerializer, URLSafeTimedSerializer

from core.settings import Settings

COOKIE = "skein_login"
_SETUP_SECONDS = 24 * 60 * 60
_FIRST_ADMIN = "first-admin"
_LONGEST = 300


def sign_login(login_id: str, *, secret_key: str) -> str:
    """The cookie's value for this login."""
    return str(URLSafeSerializer(secret_key, salt="skein.login").dumps(login_id))


def read_login(cookie: str, *, secret_key: str) -> str | None:
    """The login id in the cookie; None when it was not signed with our key."""
    try:
        login_id = URLSafeSerializer(secret_key, salt="skein.login").loads(cookie[:_LONGEST])
    except BadData:
        return None
    return login_id if isinstance(login_id, str) else None


def setup_link(settings: Settings, secret_key: str, *, port: int = 8501) -> str:
    """The link that makes the first admin account; good for a day, and only while there is no account."""
    base = settings.public_url.rstrip("/") or f"http://localhost:{port}"
    return f"{base}/setup?token={_setup(secret_key).dumps(_FIRST_ADMIN)}"


def is_setup_token(token: str, *, secret_key: str) -> bool:
    """Whether this token is from a set-up link of ours, not older than a day."""
    try:
        return bool(_setup(secret_key).loads(token[:_LONGEST], max_age=_SETUP_SECONDS) == _FIRST_ADMIN)
    except BadData:
        return False


def _setup(secret_key: str) -> URLSafeTimedSerializer:
    return URLSafeTimedSerializer(secret_key, salt="skein.setup")
