"""The key that signs cookies and the set-up link: from the settings, else a file that is made once.

Invariant: all processes over one data folder use the same key, also when they start at the same moment.
"""

import contextlib
import os
import secrets
from pathlib import Path

from core.errors import SettingsError
from core.settings import Settings

_SHORTEST = 32


def load_secret_key(settings: Settings) -> str:
    """The secret key; the file ``secret.key`` in the data folder is made, for its owner only, when needed."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    path = settings.data_dir / "secret.key"
    try:
        key = _read(path) if path.exists() else _make(path)
    except OSError as error:
        raise SettingsError(
            f"The secret key {path} cannot be read or made ({error.strerror}); "
            "please check SKEIN_DATA_DIR, or set SKEIN_SECRET_KEY."
        ) from None
    if len(key) < _SHORTEST:
        raise SettingsError(f"The secret key {path} is damaged; delete it, and everybody signs in anew.")
    return key


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()


def _make(path: Path) -> str:
    """Write the key under another name first and link it: whoever is second reads what the first wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
    return _read(path)
